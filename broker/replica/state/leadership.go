package state

import (
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Leadership is a leader's account of its partition in one leader epoch: who belongs to it, how far each has come, and where the
// high watermark may stand (F§3.4). Pure: no clock, lock or log; the owner serialises calls.
//
// Invariant: remotes holds one entry for each of replicas other than self.
type Leadership struct {
	// self is the leader.
	self cluster.BrokerID
	// replicas are all assigned brokers, self among them.
	replicas []cluster.BrokerID
	// isr is the in-sync set that ZooKeeper has.
	isr []cluster.BrokerID
	// proposed is the in-sync set that the controller has been asked for and has not answered yet; nil when nothing is in flight.
	proposed []cluster.BrokerID
	// joining is who is in proposed and not in isr, with the registration that it had when it was found to be in sync.
	joining []member
	// asked means that the controller has been sent what is proposed and has not answered, doubtful that an earlier request with the same version of the
	// state may still be carried out. fencing means that what is asked for is a new version instead of proposed.
	asked, doubtful, fencing bool
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

// member is a replica under a registration.
type member struct {
	id    cluster.BrokerID
	epoch cluster.BrokerEpoch
}

// Lead begins the leader epoch of s at time now, with a log that ends at logEnd.
func Lead(self cluster.BrokerID, s *PartitionState, logEnd cluster.Offset, now time.Time) *Leadership {
	l := newLeadership(self, s.Replicas, s.ISR, logEnd, now)
	l.epoch, l.partitionEpoch = s.LeaderEpoch, s.PartitionEpoch
	return l
}

func newLeadership(self cluster.BrokerID, replicas, isr []cluster.BrokerID, logEnd cluster.Offset, now time.Time) *Leadership {
	l := &Leadership{self: self, replicas: slices.Clone(replicas), isr: slices.Clone(isr), epochStart: logEnd}
	for _, id := range replicas {
		if id != self {
			l.remotes = append(l.remotes, remote{id, newProgress(slices.Contains(isr, id), now)})
		}
	}
	return l
}

// Standing is that of the leader.
func (l *Leadership) Standing() Standing {
	return Standing{
		Role: Leading, Leader: l.self, Epoch: l.epoch, PartitionEpoch: l.partitionEpoch, ISR: len(l.isr), MaximalISR: l.MaximalSize(),
		Replicas: len(l.replicas),
	}
}

// Epoch is the leader epoch.
func (l *Leadership) Epoch() cluster.LeaderEpoch { return l.epoch }

// EpochStart is where the log ended when the epoch began. What consumers could read from the leader before may lie above the high watermark
// until that has reached it.
func (l *Leadership) EpochStart() cluster.Offset { return l.epochStart }

// PartitionEpoch is the version of the state that ISR is from.
func (l *Leadership) PartitionEpoch() cluster.PartitionEpoch { return l.partitionEpoch }

// ISR is the committed set: the one that ZooKeeper has. It must not be changed.
func (l *Leadership) ISR() []cluster.BrokerID { return l.isr }

// Assigned reports whether a broker is one of the other replicas.
func (l *Leadership) Assigned(id cluster.BrokerID) bool { return l.remote(id) != nil }

// InISR reports whether a replica belongs to the committed set.
func (l *Leadership) InISR(id cluster.BrokerID) bool { return slices.Contains(l.isr, id) }

// inMaximal reports whether a replica belongs to the maximal ISR: the committed set together with the proposed one. So an addition
// counts as soon as it is proposed, and a removal only once it is committed.
func (l *Leadership) inMaximal(id cluster.BrokerID) bool {
	return slices.Contains(l.isr, id) || slices.Contains(l.proposed, id)
}

// MaximalSize returns how many replicas the maximal ISR has.
func (l *Leadership) MaximalSize() int {
	n := len(l.isr)
	for _, id := range l.proposed {
		if !slices.Contains(l.isr, id) {
			n++
		}
	}
	return n
}

// remote returns the account of another replica, or nil if it is not assigned.
func (l *Leadership) remote(id cluster.BrokerID) *remote {
	for i := range l.remotes {
		if l.remotes[i].id == id {
			return &l.remotes[i]
		}
	}
	return nil
}

// underMinISR reports whether fewer replicas are in sync than min.insync.replicas asks for. A partition with fewer replicas than
// that cannot do better than all of them.
func (l *Leadership) underMinISR(minISR int) bool {
	return len(l.isr) < min(minISR, len(l.replicas))
}

// Surroundings is what the high watermark depends on besides the replicas' progress.
type Surroundings struct {
	// Now is the time.
	Now time.Time
	// MaxLag is replica.lag.time.max.ms.
	MaxLag time.Duration
	// MinISR is the topic's min.insync.replicas.
	MinISR int
	// Alive tells whether a broker is registered.
	Alive func(cluster.BrokerID) bool
	// Stalled tells whether a broker says that its disk stalls; nil means that none does.
	Stalled func(cluster.BrokerID) bool
}

// mayJoin reports whether a broker may join the in-sync set, if it is level: it is alive, and its disk does not stall unless it is needed for
// min.insync.replicas.
func (l *Leadership) mayJoin(id cluster.BrokerID, s *Surroundings) bool {
	return s.Alive(id) && (s.Stalled == nil || l.underMinISR(s.MinISR) || !s.Stalled(id))
}

// HighWatermark returns where the high watermark may stand, given where it stands and where the leader's log ends: at the least log
// end of all replicas that are in the maximal ISR, or level with the leader and may join, since those are about to. It never falls, and does
// not move while too few replicas are in sync (KIP-966), nor while one is in sync that is not assigned any more: at the end of a reassignment, until the
// controller has taken it out, the next controller may elect it.
func (l *Leadership) HighWatermark(current, logEnd cluster.Offset, s *Surroundings) cluster.Offset {
	if l.underMinISR(s.MinISR) || slices.ContainsFunc(l.isr, func(id cluster.BrokerID) bool { return id != l.self && !l.Assigned(id) }) {
		return current
	}
	least := logEnd
	for i := range l.remotes {
		r := &l.remotes[i]
		if r.logEnd < least && (l.inMaximal(r.id) || r.caughtUp(logEnd, s.Now, s.MaxLag) && l.mayJoin(r.id, s)) {
			least = r.logEnd
		}
	}
	return max(current, least)
}

// LowWatermark returns where the earliest of the replicas begins that are alive, given where the leader's log does; unknown while one of
// them has not fetched yet.
func (l *Leadership) LowWatermark(logStart cluster.Offset, alive func(cluster.BrokerID) bool) cluster.Offset {
	least := logStart
	for i := range l.remotes {
		if r := &l.remotes[i]; r.logStart < least && alive(r.id) {
			least = r.logStart
		}
	}
	return least
}

// Fetched enters a fetch of another replica into the account, given where the high watermark stands and where the leader's log ends. ok is false
// if the fetch means nothing: the broker is not assigned, or has restarted since. startMoved tells that the replica's log start is another. isr is
// what the fetch calls for: that the replica joins the in-sync set, or that it leaves it because it has lost records; nil for neither.
func (l *Leadership) Fetched(id cluster.BrokerID, m Mark, watermark, logEnd cluster.Offset, s *Surroundings) (isr []cluster.BrokerID, startMoved, ok bool) {
	r := l.remote(id)
	if r == nil || r.stale(m) {
		return nil, false, false
	}
	startMoved = m.LogStart != r.logStart
	r.progress = r.fetched(m)
	switch {
	case !l.InISR(id):
		isr = l.expanded(id, watermark, s)
	case r.lost(watermark):
		isr = l.Shrunk(watermark, logEnd, s)
	}
	return isr, startMoved, true
}
