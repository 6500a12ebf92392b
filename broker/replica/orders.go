package replica

import (
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Sender says who gives an order, and to which registration of this broker.
type Sender = state.Sender

// LeaderAndISR assigns roles (F§2.10).
type LeaderAndISR struct {
	Sender
	// Partitions holds the new states. The slices in it are kept and must not be changed afterwards.
	Partitions []PartitionState
}

// PartitionState is the state of one partition as the controller wrote it to ZooKeeper.
type PartitionState = state.PartitionState

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
type StopPartition = state.StopPartition
