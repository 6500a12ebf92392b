package replica

import (
	"slices"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Sender says who gives an order, and to which registration of this broker.
type Sender struct {
	// ControllerID is the broker that sends.
	ControllerID cluster.BrokerID
	// ControllerEpoch of the sender.
	ControllerEpoch cluster.ControllerEpoch
	// BrokerEpoch of the receiver as the sender knows it; [cluster.NoBrokerEpoch] is not checked.
	BrokerEpoch cluster.BrokerEpoch
}

func (s Sender) fenced() sender { return sender{s.ControllerEpoch, s.BrokerEpoch} }

// LeaderAndISR assigns roles (F§2.10).
type LeaderAndISR struct {
	Sender
	// Partitions holds the new states. The slices in it are kept and must not be changed afterwards.
	Partitions []PartitionState
}

// PartitionState is the state of one partition as the controller wrote it to ZooKeeper.
type PartitionState struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// TopicID is the topic's id; zero when unknown.
	TopicID cluster.TopicID
	// Leader is [cluster.NoBroker] when there is none.
	Leader cluster.BrokerID
	// LeaderEpoch must be higher than the one that the broker knows.
	LeaderEpoch cluster.LeaderEpoch
	// PartitionEpoch is the version of the state in ZooKeeper.
	PartitionEpoch cluster.PartitionEpoch
	// ISR holds the in-sync replicas.
	ISR []cluster.BrokerID
	// Replicas holds all replicas, those being added and removed included.
	Replicas []cluster.BrokerID
	// IsNew is true for a partition that was just created.
	IsNew bool
}

// malformed reports a state that no controller can mean: it names a leader or in-sync replicas that are not assigned, or nobody at all.
func (s *PartitionState) malformed() bool {
	if s.TopicPartition.Partition < 0 || s.LeaderEpoch < 0 || len(s.Replicas) == 0 || len(s.ISR) == 0 {
		return true
	}
	for _, id := range s.ISR {
		if !slices.Contains(s.Replicas, id) {
			return true
		}
	}
	if s.Leader == cluster.NoBroker {
		return false
	}
	return !slices.Contains(s.Replicas, s.Leader) || !slices.Contains(s.ISR, s.Leader)
}

// PartitionOutcome is the answer for one partition of an order.
type PartitionOutcome struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// Code is [kerr.None] when the order was carried out.
	Code kerr.Code
}

// UpdateMetadata carries news of the cluster.
type UpdateMetadata struct {
	Sender
	// Update is what changed.
	Update metadata.Update
}

// StopReplica ends roles.
type StopReplica struct {
	Sender
	// Partitions to stop.
	Partitions []StopPartition
}

// StopPartition names a replica to stop.
type StopPartition struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// LeaderEpoch of the state; [cluster.NoLeaderEpoch] and [cluster.LeaderEpochDeleting] are not compared.
	LeaderEpoch cluster.LeaderEpoch
	// Delete asks for the log to be deleted as well.
	Delete bool
}

// outdated reports whether the order is older than a broker's state of the partition.
func (s *StopPartition) outdated(own cluster.LeaderEpoch) bool {
	return s.LeaderEpoch != cluster.NoLeaderEpoch && s.LeaderEpoch != cluster.LeaderEpochDeleting && s.LeaderEpoch < own
}
