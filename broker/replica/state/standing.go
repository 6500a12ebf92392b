package state

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Role is what a broker is to a partition that it holds.
//
//	          LeaderAndIsr, leader = self                LeaderAndIsr, leader ≠ self
//	Stopped ───────────────────────────────▶ Leading ◀────────────────────────────▶ Following
//	   ▲                                        │                                       │
//	   └──────────── StopReplica, Close ────────┴───────────────────────────────────────┤
//	                                            └────── the log's disk fails ───────────▶ Offline (for good)
type Role uint8

// The roles.
const (
	// Stopped has no role: before the first order, and after the last.
	Stopped Role = iota
	// Leading appends, and serves clients and followers.
	Leading
	// Following copies the leader, if there is one.
	Following
	// Offline can do nothing: its disk has failed.
	Offline
)

// Standing is a replica's place in the cluster. It is a value: a change makes another.
type Standing struct {
	// Role is what the broker is to the partition.
	Role Role
	// Leader is the leading broker, [cluster.NoBroker] when there is none or it is not known.
	Leader cluster.BrokerID
	// Epoch is the leader epoch, [cluster.NoLeaderEpoch] before the first order.
	Epoch cluster.LeaderEpoch
	// PartitionEpoch is the version of the state in ZooKeeper.
	PartitionEpoch cluster.PartitionEpoch
	// Term counts how often this broker began to lead. It stays the same over elections that the leader wins again.
	Term uint64
	// ISR and MaximalISR are the numbers of members, Replicas that of all replicas; 0 unless Leading.
	ISR, MaximalISR, Replicas int
}

// NewStanding is that of a replica that no order has named yet.
func NewStanding() Standing {
	return Standing{Role: Stopped, Leader: cluster.NoBroker, Epoch: cluster.NoLeaderEpoch}
}

// After returns the standing with the term that it gets when it follows another.
func (s Standing) After(old *Standing) Standing {
	s.Term = old.Term
	if s.Role == Leading && old.Role != Leading {
		s.Term++
	}
	return s
}

// Follows reports whether the replica follows in that leader epoch. What a leader sends counts only as long as it does.
func (s *Standing) Follows(epoch cluster.LeaderEpoch) bool {
	return s.Role == Following && s.Epoch == epoch
}

// Leads reports whether the replica leads in that leader epoch. What followers report counts only as long as it does.
func (s *Standing) Leads(epoch cluster.LeaderEpoch) bool {
	return s.Role == Leading && s.Epoch == epoch
}

// Refusal is the code for a request that only a leader can serve.
func (s *Standing) Refusal() kerr.Code {
	switch s.Role {
	case Leading:
		return kerr.None
	case Offline:
		return kerr.KafkaStorageError
	default:
		return kerr.NotLeaderOrFollower
	}
}

// Admit checks what every reading request is checked for first (F§3.5): the leader epoch that the client knows, then the role. mayFollow lets a
// follower serve the request as well.
func (s *Standing) Admit(epoch cluster.LeaderEpoch, mayFollow bool) kerr.Code {
	if s.Role == Offline {
		return kerr.KafkaStorageError
	}
	if code := EpochCheck(epoch, s.Epoch); code != kerr.None {
		return code
	}
	if mayFollow && s.Role == Following {
		return kerr.None
	}
	return s.Refusal()
}

// EffectiveMinISR returns how many replicas have to be in sync for acks=all, given min.insync.replicas: all of them if there are fewer than that
// (Partition.effectiveMinIsr, KIP-966).
func (s *Standing) EffectiveMinISR(minISR int) int { return min(minISR, s.Replicas) }

// AdmitAppend checks a produce request (F§3.6): is the replica the leader, and for acks=all, are enough replicas in sync, given min.insync.replicas.
func (s *Standing) AdmitAppend(acksAll bool, minISR int) kerr.Code {
	if code := s.Refusal(); code != kerr.None {
		return code
	}
	if acksAll && s.ISR < s.EffectiveMinISR(minISR) {
		return kerr.NotEnoughReplicas
	}
	return kerr.None
}

// Outcome says what becomes of a batch with acks=all that was appended in a term of s, and false while it is not decided yet: required is the
// offset after its last record. The watermark must have been read before s: if the term is still the same, it belongs to it.
//
// NOT_LEADER_OR_FOLLOWER means that the leadership was interrupted: another leader may have put another batch at these offsets.
// NOT_ENOUGH_REPLICAS_AFTER_APPEND means that the batch is in the log, but too few replicas were in sync when the high watermark passed it,
// given min.insync.replicas.
func Outcome(s *Standing, term uint64, watermark, required cluster.Offset, minISR int) (kerr.Code, bool) {
	if code := s.Refusal(); code != kerr.None {
		return code, true
	}
	if s.Term != term {
		return kerr.NotLeaderOrFollower, true
	}
	if watermark < required {
		return kerr.None, false
	}
	if s.MaximalISR < s.EffectiveMinISR(minISR) {
		return kerr.NotEnoughReplicasAfterAppend, true
	}
	return kerr.None, true
}
