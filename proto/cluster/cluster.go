// Package cluster holds the nouns that every room of Ottla shares: broker ids, topic partitions, offsets and the
// several epochs. Each number is a type of its own, so that a leader epoch can never be passed where a controller
// epoch is meant; mixing them up is the commonest bug of re-implementations.
//
// Everything here is an immutable value and safe for concurrent use. The package imports nothing but the standard
// library and decides nothing about a cluster.
package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// BrokerID identifies a broker: the configuration key broker.id and the last element of /brokers/ids/<id>.
// Valid ids are 0 and up; -1 means "none".
type BrokerID int32

// NoBroker is the absent broker: a partition without a leader, an unknown controller.
const NoBroker BrokerID = -1

// Offset is the position of a record in a partition's log. The first record has offset 0. All ends (log end offset,
// high watermark, last stable offset) are exclusive: the offset of the next record.
type Offset int64

// UnknownOffset is the offset that is not known yet, or does not exist.
const UnknownOffset Offset = -1

// LeaderEpoch counts the elections of one partition. It is stored in the partition's state znode, stamped on every
// record batch, and fences fetches and truncation. The first leader has epoch 0; -1 means unknown.
type LeaderEpoch int32

// NoLeaderEpoch is the leader epoch that is unknown or not checked.
const NoLeaderEpoch LeaderEpoch = -1

// LeaderEpochDeleting is the leader epoch that a StopReplica request carries for a topic that is being deleted.
const LeaderEpochDeleting LeaderEpoch = -2

// LeaderDeleting is the leader that UpdateMetadata names for a partition whose topic is being deleted. A broker that
// receives it drops the partition from its metadata.
const LeaderDeleting BrokerID = -2

// ControllerEpoch counts controller elections in a cluster: the content of /controller_epoch. The first controller
// has epoch 1.
type ControllerEpoch int32

// BrokerEpoch identifies one registration of a broker: the czxid of its /brokers/ids/<id> node. It grows with every
// registration. -1 means unknown.
type BrokerEpoch int64

// NoBrokerEpoch is the broker epoch that is unknown or not checked.
const NoBrokerEpoch BrokerEpoch = -1

// PartitionEpoch is the ZooKeeper version of a partition's state znode. Every write of the node moves it, those that
// change the in-sync replicas as well as elections.
type PartitionEpoch int32

// ProducerID identifies an idempotent or transactional producer. -1 means none.
type ProducerID int64

// NoProducerID is the id in batches of producers that are not idempotent.
const NoProducerID ProducerID = -1

// TopicPartition names one partition of one topic. It is comparable and serves as a map key.
type TopicPartition struct {
	// Topic is the topic's name.
	Topic string
	// Partition counts from 0.
	Partition int32
}

// String returns the form that Kafka prints and names directories by: topic, a dash, partition.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// InOrder returns the values of a map in the order of their topic partitions; nil when there are none.
func InOrder[V any](of map[TopicPartition]V) []V {
	if len(of) == 0 {
		return nil
	}
	out := make([]V, 0, len(of))
	for _, tp := range slices.SortedFunc(maps.Keys(of), TopicPartition.Compare) {
		out = append(out, of[tp])
	}
	return out
}

// Compare orders topic partitions by topic, then by partition number. It returns -1, 0 or 1.
func (tp TopicPartition) Compare(other TopicPartition) int {
	if c := strings.Compare(tp.Topic, other.Topic); c != 0 {
		return c
	}
	switch {
	case tp.Partition < other.Partition:
		return -1
	case tp.Partition > other.Partition:
		return 1
	}
	return 0
}

// ParseTopicPartition is the inverse of [TopicPartition.String]: it splits at the last dash, because topic names may
// contain dashes. The topic's name is not checked, see [ValidateTopicName].
func ParseTopicPartition(s string) (TopicPartition, error) {
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return TopicPartition{}, fmt.Errorf("parse topic-partition %q: want <topic>-<partition>", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 31)
	if err != nil {
		return TopicPartition{}, fmt.Errorf("parse topic-partition %q: the partition %q is not a number from 0 to 2147483647", s, s[i+1:])
	}
	return TopicPartition{Topic: s[:i], Partition: int32(n)}, nil
}

// Endpoint is an address at which a broker can be reached, under the name of one of its listeners.
type Endpoint struct {
	// Listener is the listener's name, for example PLAINTEXT or INTERNAL.
	Listener string
	// SecurityProtocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
	SecurityProtocol string
	// Host is a name or an address without brackets.
	Host string
	// Port is a TCP port.
	Port int32
}

// Addr returns host:port as net.Dial takes it.
func (e Endpoint) Addr() string {
	if strings.Contains(e.Host, ":") {
		return "[" + e.Host + "]:" + strconv.Itoa(int(e.Port))
	}
	return e.Host + ":" + strconv.Itoa(int(e.Port))
}

// String returns the form of advertised.listeners and of the broker registration: LISTENER://host:port.
func (e Endpoint) String() string { return e.Listener + "://" + e.Addr() }
