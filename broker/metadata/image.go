// Package metadata holds a broker's picture of the cluster: which brokers live, who the controller is, and who leads which
// partition (F§10.1).
//
// The picture is an [Image]: an immutable value that is replaced as a whole. A [Cache] holds the current one. Only the
// controller's UpdateMetadata requests change it, through [Cache.Apply]; everything that answers clients reads it without a
// lock. A reader takes one Image and uses it to the end of its work, so that it never sees half of a change.
//
// The picture may be old: it is what the controller said last, not what ZooKeeper holds now. Nothing here does IO or logs.
package metadata

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// Broker is a registered broker as the controller described it.
type Broker struct {
	// ID is the broker's id.
	ID cluster.BrokerID
	// Endpoints holds the addresses that the broker advertises, one for each of its listeners.
	Endpoints []cluster.Endpoint
	// Rack is the rack that the broker says it stands in, "" for none.
	Rack string
}

// Endpoint returns the address of the broker on the listener of that name.
func (b Broker) Endpoint(listener string) (cluster.Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return cluster.Endpoint{}, false
}

// Partition is the state of one partition. It is immutable; slices in it must not be changed.
type Partition struct {
	// Leader is the leading broker, [cluster.NoBroker] when there is none. It may name a dead broker.
	Leader cluster.BrokerID
	// LeaderEpoch counts the elections of the partition.
	LeaderEpoch cluster.LeaderEpoch
	// ISR holds the in-sync replicas.
	ISR []cluster.BrokerID
	// Replicas holds all assigned replicas, the preferred leader first.
	Replicas []cluster.BrokerID
	// Offline holds the replicas that are on dead brokers or failed disks.
	Offline []cluster.BrokerID
	// ControllerEpoch is the epoch of the controller that wrote the state.
	ControllerEpoch cluster.ControllerEpoch
	// PartitionEpoch is the ZooKeeper version of the partition's state.
	PartitionEpoch cluster.PartitionEpoch
}

// Topic is a topic with the partitions that are known of it. It is immutable.
type Topic struct {
	// Name is the topic's name.
	Name string
	// ID tells this topic from an earlier one of the same name; zero when unknown.
	ID cluster.TopicID
	// Partitions is indexed by partition number. An element is nil when nothing is known of that partition yet.
	Partitions []*Partition
}

// Partition returns the partition of that number.
func (t *Topic) Partition(index int32) (*Partition, bool) {
	if index < 0 || int(index) >= len(t.Partitions) || t.Partitions[index] == nil {
		return nil, false
	}
	return t.Partitions[index], true
}

// Image is one picture of the cluster. It is immutable: slices and pointers that it returns are shared and must not be
// changed. It is safe for concurrent use.
type Image struct {
	clusterID    string
	controllerID cluster.BrokerID
	brokers      []Broker                   // sorted by id
	brokerIndex  map[cluster.BrokerID]int   // position in brokers
	topics       map[string]*Topic          // by name
	names        []string                   // sorted
	ids          map[cluster.TopicID]*Topic // topics whose id is known
	partitions   int                        // known partitions of all topics
}

// ClusterID returns the id of the cluster; "" before it is known.
func (i *Image) ClusterID() string { return i.clusterID }

// ControllerID returns the broker that sent the last update, [cluster.NoBroker] before the first.
func (i *Image) ControllerID() cluster.BrokerID { return i.controllerID }

// Brokers returns the live brokers in the order of their ids.
func (i *Image) Brokers() []Broker { return i.brokers }

// Broker returns a live broker.
func (i *Image) Broker(id cluster.BrokerID) (Broker, bool) {
	n, ok := i.brokerIndex[id]
	if !ok {
		return Broker{}, false
	}
	return i.brokers[n], true
}

// IsLive reports whether the broker is among the live ones.
func (i *Image) IsLive(id cluster.BrokerID) bool {
	_, ok := i.brokerIndex[id]
	return ok
}

// Topics returns the names of all topics in byte order.
func (i *Image) Topics() []string { return i.names }

// Topic returns the topic of that name.
func (i *Image) Topic(name string) (*Topic, bool) {
	t, ok := i.topics[name]
	return t, ok
}

// TopicByID returns the topic of that id.
func (i *Image) TopicByID(id cluster.TopicID) (*Topic, bool) {
	t, ok := i.ids[id]
	return t, ok
}

// Partition returns what is known of one partition.
func (i *Image) Partition(tp cluster.TopicPartition) (*Partition, bool) {
	t, ok := i.topics[tp.Topic]
	if !ok {
		return nil, false
	}
	return t.Partition(tp.Partition)
}

// PartitionCount returns the number of partitions that are known, of all topics together.
func (i *Image) PartitionCount() int { return i.partitions }

// withBrokers returns the broker list sorted by id, the last of several with one id kept, and its index.
func withBrokers(brokers []Broker) ([]Broker, map[cluster.BrokerID]int) {
	sorted := slices.Clone(brokers)
	slices.SortStableFunc(sorted, func(a, b Broker) int { return int(a.ID) - int(b.ID) })
	out := sorted[:0]
	for _, b := range sorted {
		if n := len(out); n > 0 && out[n-1].ID == b.ID {
			out[n-1] = b
			continue
		}
		out = append(out, b)
	}
	index := make(map[cluster.BrokerID]int, len(out))
	for n, b := range out {
		index[b.ID] = n
	}
	return out, index
}
