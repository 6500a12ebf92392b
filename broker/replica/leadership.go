package replica

import (
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// leadership is a leader's account of its partition in one leader epoch: who belongs to it, how far each has come, and where the
// high watermark may stand (F§3.4). Pure: no clock, lock or log; the owner serialises calls.
//
// Invariant: remotes holds one entry for each of replicas other than self.
type leadership struct {
	// self is the leader.
	self cluster.BrokerID
	// replicas are all assigned brokers, self among them.
	replicas []cluster.BrokerID
	// isr is the in-sync set that ZooKeeper has.
	isr []cluster.BrokerID
	// proposed is the in-sync set that the controller has been asked for and has not answered yet; nil when nothing is in flight.
	proposed []cluster.BrokerID
	// stuck means that the controller knows another state: what was proposed counts until the next order.
	stuck bool
	// notBefore is when the next change may be proposed at the earliest.
	notBefore time.Time
	// epoch is the leader epoch, and partitionEpoch the version of the state that isr is from.
	epoch          cluster.LeaderEpoch
	partitionEpoch cluster.PartitionEpoch
	// epochStart is where the log ended when the epoch began.
	epochStart cluster.Offset
	// remotes are the other replicas.
	remotes []remote
}

// remote is another replica of a leader.
type remote struct {
	id cluster.BrokerID
	progress
}

// newLeadership begins a leader epoch at time now with a log that ends at logEnd.
func newLeadership(self cluster.BrokerID, replicas, isr []cluster.BrokerID, logEnd cluster.Offset, now time.Time) *leadership {
	l := &leadership{self: self, replicas: slices.Clone(replicas), isr: slices.Clone(isr), epochStart: logEnd}
	for _, id := range replicas {
		if id != self {
			l.remotes = append(l.remotes, remote{id, newProgress(slices.Contains(isr, id), now)})
		}
	}
	return l
}

// inISR reports whether a replica belongs to the committed set.
func (l *leadership) inISR(id cluster.BrokerID) bool { return slices.Contains(l.isr, id) }

// inMaximal reports whether a replica belongs to the maximal ISR: the committed set together with the proposed one. So an addition
// counts as soon as it is proposed, and a removal only once it is committed.
func (l *leadership) inMaximal(id cluster.BrokerID) bool {
	return slices.Contains(l.isr, id) || slices.Contains(l.proposed, id)
}

// maximalSize returns how many replicas the maximal ISR has.
func (l *leadership) maximalSize() int {
	n := len(l.isr)
	for _, id := range l.proposed {
		if !slices.Contains(l.isr, id) {
			n++
		}
	}
	return n
}

// remote returns the account of another replica, or nil if it is not assigned.
func (l *leadership) remote(id cluster.BrokerID) *remote {
	for i := range l.remotes {
		if l.remotes[i].id == id {
			return &l.remotes[i]
		}
	}
	return nil
}

// underMinISR reports whether fewer replicas are in sync than min.insync.replicas asks for. A partition with fewer replicas than
// that cannot do better than all of them.
func (l *leadership) underMinISR(minISR int) bool {
	return len(l.isr) < min(minISR, len(l.replicas))
}

// surroundings is what the high watermark depends on besides the replicas' progress.
type surroundings struct {
	// now is the time.
	now time.Time
	// maxLag is replica.lag.time.max.ms.
	maxLag time.Duration
	// minISR is the topic's min.insync.replicas.
	minISR int
	// alive tells whether a broker is registered.
	alive func(cluster.BrokerID) bool
}

// highWatermark returns where the high watermark may stand, given where it stands and where the leader's log ends: at the least log
// end of all replicas that are in the maximal ISR, or level with the leader and alive, since those are about to join. It never falls, and does
// not move while too few replicas are in sync (KIP-966).
func (l *leadership) highWatermark(current, logEnd cluster.Offset, s *surroundings) cluster.Offset {
	if l.underMinISR(s.minISR) {
		return current
	}
	least := logEnd
	for i := range l.remotes {
		r := &l.remotes[i]
		if r.logEnd < least && (l.inMaximal(r.id) || r.caughtUp(logEnd, s.now, s.maxLag) && s.alive(r.id)) {
			least = r.logEnd
		}
	}
	return max(current, least)
}

// lowWatermark returns where the earliest of the replicas begins that are alive, given where the leader's log does; unknown while one of
// them has not fetched yet.
func (l *leadership) lowWatermark(logStart cluster.Offset, alive func(cluster.BrokerID) bool) cluster.Offset {
	least := logStart
	for i := range l.remotes {
		if r := &l.remotes[i]; r.logStart < least && alive(r.id) {
			least = r.logStart
		}
	}
	return least
}
