package state

import (
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// How the in-sync set of a leader changes (F§3.4, F§2.12). One change of a partition is in flight at a time:
//
//	             a follower caught up, fell behind, or lost records
//	committed ───────────────────────────────────────────────────────▶ proposed ─── asked again ──┐
//	    ▲  ▲                                                            │  │  ▲                  │
//	    │  └───────────── the controller wrote it ──────────────────────┘  │  └──────────────────┘
//	    ├──────────────── a member may not join (yet) ─────────────────────┤
//	    │                                                                  ▼ the controller knows another state
//	    └──────────────── the next LeaderAndIsr ──────────────────────── stuck
//
// In proposed and stuck the maximal ISR counts, because the controller may have written the change. It also counts if a member may not join and a
// request before the one that was refused has not been answered: that may still arrive, and the member may join then. So the leader fences it: it has
// the controller write a new version of the committed set.

// ISRChange is a leader's wish to change the in-sync replicas of a partition (F§2.12).
type ISRChange struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// LeaderEpoch is the epoch in which the broker leads.
	LeaderEpoch cluster.LeaderEpoch
	// PartitionEpoch is the version of the state that the change starts from.
	PartitionEpoch cluster.PartitionEpoch
	// ISR holds the new in-sync replicas.
	ISR []cluster.BrokerID
	// Epochs holds their registrations, in the same order; [cluster.NoBrokerEpoch] is not checked (KIP-903).
	Epochs []cluster.BrokerEpoch
	// Fence asks for a new version of the state with the set that there is, which ISR repeats.
	Fence bool
}

// ISRResult is the controller's answer to an [ISRChange].
type ISRResult struct {
	// Code is [kerr.None] or the reason of the refusal.
	Code kerr.Code
	// LeaderEpoch, PartitionEpoch and ISR are the state that holds now, when Code is none. With INVALID_UPDATE_VERSION they may be there as well.
	LeaderEpoch    cluster.LeaderEpoch
	PartitionEpoch cluster.PartitionEpoch
	ISR            []cluster.BrokerID
}

// refusedPause is how long a leader waits after a member was refused before it proposes anything again.
const refusedPause = time.Second

// idle reports whether a change may be proposed.
func (l *Leadership) idle(now time.Time) bool { return l.proposed == nil && !now.Before(l.notBefore) }

// expanded returns the ISR with a replica that may join it; nil if it may not. It must have everything up to the high watermark and to the start of
// the leader's epoch, so that it has everything that was ever acknowledged (KAFKA-7128), and see mayJoin.
func (l *Leadership) expanded(id cluster.BrokerID, watermark cluster.Offset, s *Surroundings) []cluster.BrokerID {
	r := l.remote(id)
	if r == nil || !l.idle(s.Now) || slices.Contains(l.isr, id) || r.logEnd < watermark || r.logEnd < l.epochStart || !l.mayJoin(id, s) {
		return nil
	}
	return append(slices.Clone(l.isr), id)
}

// Shrunk returns the ISR without the members that have not been level with the leader for too long, and without those that have lost records: a
// member whose log ends below the high watermark cannot have been one with that log. nil if nobody has to leave.
func (l *Leadership) Shrunk(watermark, logEnd cluster.Offset, s *Surroundings) []cluster.BrokerID {
	if !l.idle(s.Now) {
		return nil
	}
	keep := make([]cluster.BrokerID, 0, len(l.isr))
	for _, id := range l.isr {
		if r := l.remote(id); id == l.self || r != nil && r.caughtUp(logEnd, s.Now, s.MaxLag) && !r.lost(watermark) {
			keep = append(keep, id)
		}
	}
	if len(keep) == len(l.isr) {
		return nil
	}
	return keep
}

// lost reports whether the replica's log has turned out to end below what every in-sync replica must have.
func (p progress) lost(watermark cluster.Offset) bool {
	return p.logEnd != cluster.UnknownOffset && p.logEnd < watermark
}

// Propose makes isr, which is what Fetched or Shrunk returned, the set that the controller is to be asked for.
// Who joins does so under the registration of its last fetch: after another it may have lost what made it eligible (KIP-903).
func (l *Leadership) Propose(isr []cluster.BrokerID) {
	l.settled()
	l.proposed, l.joining = isr, nil
	for _, id := range isr {
		if r := l.remote(id); r != nil && !slices.Contains(l.isr, id) {
			l.joining = append(l.joining, member{id, r.brokerEpoch})
		}
	}
}

// settled notes that nothing is proposed and nothing that was can still be done.
func (l *Leadership) settled() {
	l.proposed, l.asked, l.doubtful, l.fencing = nil, false, false, false
}

// Change is the proposal as the controller is asked for it; false when there is nothing to ask. Every change that is returned counts as sent.
func (l *Leadership) Change(tp cluster.TopicPartition) (ISRChange, bool) {
	if l.proposed == nil || l.stuck {
		return ISRChange{}, false
	}
	l.doubtful = l.doubtful || l.asked
	l.asked = true
	c := ISRChange{TopicPartition: tp, LeaderEpoch: l.epoch, PartitionEpoch: l.partitionEpoch, ISR: l.proposed, Fence: l.fencing}
	if l.fencing {
		c.ISR = l.isr
	}
	for _, id := range c.ISR {
		epoch := cluster.NoBrokerEpoch
		for _, m := range l.joining {
			if m.id == id {
				epoch = m.epoch
			}
		}
		c.Epochs = append(c.Epochs, epoch)
	}
	return c, true
}

// Answered enters the controller's answer to a change. It does nothing if that is not the change in flight. again asks for the same change to
// be sent once more.
func (l *Leadership) Answered(c *ISRChange, r *ISRResult, now time.Time) (again bool) {
	want := l.proposed
	if l.fencing {
		want = l.isr
	}
	if l.epoch != c.LeaderEpoch || l.partitionEpoch != c.PartitionEpoch || l.proposed == nil || l.fencing != c.Fence || !slices.Equal(want, c.ISR) {
		return false
	}
	l.asked = false
	switch r.Code {
	case kerr.None:
		if r.LeaderEpoch != l.epoch || r.PartitionEpoch < l.partitionEpoch {
			l.stuck = true // a state of before or after this leadership
			return false
		}
		l.isr, l.partitionEpoch = slices.Clone(r.ISR), r.PartitionEpoch
		l.settled()
	case kerr.IneligibleReplica, kerr.OperationNotAttempted:
		l.notBefore = now.Add(refusedPause)
		if l.doubtful {
			l.fencing = true
			return true
		}
		l.settled()
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.FencedLeaderEpoch, kerr.InvalidRequest, kerr.NewLeaderElected:
		l.stuck = true
	case kerr.InvalidUpdateVersion:
		if r.LeaderEpoch != l.epoch || r.PartitionEpoch <= l.partitionEpoch {
			l.doubtful = true
			return true
		}
		// Nobody but this leader changes the state in its epoch: an earlier request of its own has arrived after a later one was refused. What is
		// written counts; asked with the old version, the controller would refuse for ever (KAFKA-2729).
		l.isr, l.partitionEpoch = slices.Clone(r.ISR), r.PartitionEpoch
		l.settled()
	default:
		l.doubtful = true
		// InvalidUpdateVersion without a state among them: the controller's write may have failed in a way that only asking again can tell, and the version that
		// goes with it keeps that harmless.
		return true
	}
	return false
}
