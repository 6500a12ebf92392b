package state

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Event is something that happened in the cluster, with all that had to be read to know it.
type Event interface {
	handle(m *Machine)
}

// Topic is a topic as /brokers/topics/<t> describes it.
type Topic struct {
	// Name is the topic's name.
	Name string
	// ID is the topic's id. A topic written by an old tool has none; whoever read it makes one up.
	ID cluster.TopicID
	// NewID is true when ID is made up and has to be written back.
	NewID bool
	// Assignments holds the replicas of each partition.
	Assignments map[int32]Assignment
}

// Failover begins a reign: everything that was read after the watches were armed (F§2.3 steps 4 to 11). It must be the first
// event and come only once.
type Failover struct {
	// Brokers holds all registered brokers.
	Brokers []Broker
	// Topics holds all topics.
	Topics []Topic
	// States holds the state of each partition that has one.
	States map[cluster.TopicPartition]LeaderAndISR
	// Written holds the zxid at which each of States was written. A broker whose registration is younger has registered again since, and no
	// controller has dealt with that. A state without entry counts as younger than all registrations.
	Written map[cluster.TopicPartition]cluster.BrokerEpoch
	// Deletions holds the children of /admin/delete_topics.
	Deletions []string
	// Reassignments is what /admin/reassign_partitions holds.
	Reassignments ReassignmentsRequested
	// Elections is what /admin/preferred_replica_election holds.
	Elections ElectionsRequested
}

// BrokerChange says which brokers are registered now: the children of /brokers/ids have changed (F§2.6).
type BrokerChange struct {
	// Brokers holds all registered brokers.
	Brokers []Broker
}

// BrokerModified says that a registered broker rewrote its registration, for example with other addresses.
type BrokerModified struct {
	// Broker is the new content. Another epoch than the one known is left to BrokerChange.
	Broker Broker
}

// TopicChange says which topics there are now: the children of /brokers/topics have changed (F§2.7).
type TopicChange struct {
	// Names holds all topics.
	Names []string
	// Added describes the topics among Names that [Machine.HasTopic] does not know. One that could not be read is left out; it is
	// not known then. One that could not be understood has neither partitions nor an id: it can be deleted, and it is there once it has been repaired.
	Added []Topic
}

// PartitionsModified says that /brokers/topics/<t> was rewritten, usually with more partitions.
type PartitionsModified struct {
	// Topic is the new content.
	Topic Topic
}

// TopicDeletion says which topics are to be deleted: the children of /admin/delete_topics have changed.
type TopicDeletion struct {
	// Names holds the children.
	Names []string
}

// LogDirFailure says that log directories of brokers have failed: the brokers are asked for each replica what became of it.
type LogDirFailure struct {
	// Brokers holds the brokers that said so.
	Brokers []cluster.BrokerID
}

// UncleanElectionEnabled says that unclean.leader.election.enable was switched on while running.
type UncleanElectionEnabled struct {
	// Topic is the topic whose override was set, "" when the brokers' default was.
	Topic string
}

// UncleanElectionDisabled says that the brokers' default of unclean.leader.election.enable was switched off while running.
type UncleanElectionDisabled struct{}

// PartitionError is a broker's answer for one partition.
type PartitionError struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Code is [kerr.None] or what went wrong.
	Code kerr.Code
}

// BecomeResponse is a broker's answer to a [BecomeRequest].
type BecomeResponse struct {
	// Broker is the broker that answered.
	Broker cluster.BrokerID
	// BrokerEpoch is the epoch that the request carried; answers to an earlier registration are ignored.
	BrokerEpoch cluster.BrokerEpoch
	// Code is the answer for the whole request.
	Code kerr.Code
	// Partitions holds the answers for each partition.
	Partitions []PartitionError
}

// StopResponse is a broker's answer to a [StopRequest].
type StopResponse struct {
	// Request is what was asked.
	Request *StopRequest
	// Broker is the broker that answered.
	Broker cluster.BrokerID
	// BrokerEpoch is the epoch that the request carried; answers to an earlier registration are ignored.
	BrokerEpoch cluster.BrokerEpoch
	// Code is the answer for the whole request.
	Code kerr.Code
	// Partitions holds the answers for each partition. One that is missing counts as failed.
	Partitions []PartitionError
}
