package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

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

// malformed reports a state that no controller can mean: it names a leader that is not assigned or not in sync, or nobody at all. In-sync replicas
// that are not assigned any more are what the end of a reassignment looks like, until the controller has taken them out (F§2.8, B3).
func (s *PartitionState) malformed() bool {
	if s.TopicPartition.Partition < 0 || s.LeaderEpoch < 0 || len(s.Replicas) == 0 || len(s.ISR) == 0 {
		return true
	}
	if s.Leader == cluster.NoBroker {
		return false
	}
	return !slices.Contains(s.Replicas, s.Leader) || !slices.Contains(s.ISR, s.Leader)
}

// ErrCarriedOut says that the replica has the state already. A new controller repeats all states, so this is no sign of trouble.
var ErrCarriedOut = errors.New("carried out already")

// Judge decides whether a broker may apply a state that a LeaderAndIsr order names (F§2.10 rule 3). own and known are the replica's standing and
// topic id; own is nil for a partition that the broker does not hold. A state with the epoch that own has passes only if it can fill in the
// topic id. The error explains the code; it may be nil.
func Judge(self cluster.BrokerID, own *Standing, known cluster.TopicID, s *PartitionState) (kerr.Code, error) {
	if err := cluster.ValidateTopicName(s.TopicPartition.Topic); err != nil {
		return kerr.InvalidTopicException, err
	}
	if s.malformed() {
		return kerr.InvalidRequest, fmt.Errorf("impossible state: leader %d, in-sync replicas %v, replicas %v, leader epoch %d", s.Leader, s.ISR, s.Replicas, s.LeaderEpoch)
	}
	if own != nil {
		switch {
		case own.Role == Offline:
			return kerr.KafkaStorageError, nil
		case !known.IsZero() && !s.TopicID.IsZero() && known != s.TopicID:
			return kerr.InconsistentTopicID, fmt.Errorf("topic id %s, have %s", s.TopicID, known)
		}
	}
	if !slices.Contains(s.Replicas, self) {
		return kerr.UnknownTopicOrPartition, fmt.Errorf("broker %d is not among the replicas %v", self, s.Replicas)
	}
	if own == nil {
		return kerr.None, nil
	}
	switch {
	case s.LeaderEpoch == own.Epoch && (s.TopicID.IsZero() || !known.IsZero()):
		return kerr.StaleControllerEpoch, ErrCarriedOut
	case s.LeaderEpoch < own.Epoch:
		return kerr.StaleControllerEpoch, fmt.Errorf("leader epoch %d, have %d", s.LeaderEpoch, own.Epoch)
	}
	return kerr.None, nil
}

// LostRefuses reports whether a broker must refuse a state although it is the latest one, given that it had the partition in sync and has lost its
// disk: as long as it is in sync it can be elected, and it must not be. A partition without other replicas has nothing left to protect.
func LostRefuses(self cluster.BrokerID, s *PartitionState) bool {
	return !LostIsOver(self, s) && len(s.Replicas) > 1
}

// LostIsOver reports whether a state shows that a replica which was lost need not be kept from anything any more: the broker is not in sync, so that
// it copies before it can be elected, or the partition is new.
func LostIsOver(self cluster.BrokerID, s *PartitionState) bool {
	return s.IsNew || !slices.Contains(s.ISR, self)
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

// JudgeStop decides whether a broker may stop a replica that it holds (F§2.10 rule 4, KIP-570). The error explains the code; it may be nil.
func JudgeStop(own *Standing, s *StopPartition) (kerr.Code, error) {
	if own.Role == Offline {
		return kerr.KafkaStorageError, nil
	}
	if s.LeaderEpoch != cluster.NoLeaderEpoch && s.LeaderEpoch != cluster.LeaderEpochDeleting && s.LeaderEpoch < own.Epoch {
		return kerr.FencedLeaderEpoch, fmt.Errorf("leader epoch %d, have %d", s.LeaderEpoch, own.Epoch)
	}
	return kerr.None, nil
}
