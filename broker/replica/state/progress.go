package state

import (
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// progress is what a leader knows of one other replica: how far its log reaches and when it was last level with the leader (F§3.4,
// Kafka's class Replica). It is a value; fetched returns the next one.
//
// Invariant: caughtUpAt ≤ fetchedAt.
type progress struct {
	// logEnd is the offset of the replica's last fetch, which is its log end; unknown until it has fetched in this leader epoch.
	logEnd cluster.Offset
	// logStart is the replica's first offset as of its last fetch.
	logStart cluster.Offset
	// fetchedAt is the time of the last fetch; zero for none.
	fetchedAt time.Time
	// caughtUpAt is the latest time at which the replica had everything that the leader had; zero for never.
	caughtUpAt time.Time
	// leaderEnd is where the leader's log ended at the last fetch.
	leaderEnd cluster.Offset
	// brokerEpoch is the replica's registration as of its last fetch; unknown if it did not say.
	brokerEpoch cluster.BrokerEpoch
}

// newProgress is what a leader knows at the start of its epoch: members of the ISR get the benefit of the doubt.
func newProgress(inISR bool, now time.Time) progress {
	p := progress{logEnd: cluster.UnknownOffset, logStart: cluster.UnknownOffset, brokerEpoch: cluster.NoBrokerEpoch}
	if inISR {
		p.caughtUpAt = now
	}
	return p
}

// Mark is one fetch of a replica, as the leader sees it.
type Mark struct {
	// Offset that was asked for: the replica has everything below it.
	Offset cluster.Offset
	// LogStart of the replica.
	LogStart cluster.Offset
	// LeaderEnd is the leader's log end, read before the data.
	LeaderEnd cluster.Offset
	// At is the time of the fetch.
	At time.Time
	// BrokerEpoch is the replica's registration; unknown if it did not say.
	BrokerEpoch cluster.BrokerEpoch
}

// stale reports whether the fetch was sent before the replica's last restart that the leader knows of.
func (p progress) stale(m Mark) bool {
	return m.BrokerEpoch != cluster.NoBrokerEpoch && m.BrokerEpoch < p.brokerEpoch
}

// fetched returns the progress after a fetch that is not stale. A replica that always gets to where the leader was at its previous
// fetch counts as caught up since then, however fast the leader moves on. A replica that comes back under another registration
// starts over: its log may have lost its tail (KIP-903).
func (p progress) fetched(m Mark) progress {
	if m.BrokerEpoch != cluster.NoBrokerEpoch && m.BrokerEpoch != p.brokerEpoch && p.brokerEpoch != cluster.NoBrokerEpoch {
		p = newProgress(false, m.At)
	}
	switch {
	case m.Offset >= m.LeaderEnd:
		p.caughtUpAt = later(p.caughtUpAt, m.At)
	case !p.fetchedAt.IsZero() && m.Offset >= p.leaderEnd:
		p.caughtUpAt = later(p.caughtUpAt, p.fetchedAt)
	}
	p.logEnd, p.logStart, p.leaderEnd, p.fetchedAt = m.Offset, m.LogStart, m.LeaderEnd, m.At
	if m.BrokerEpoch != cluster.NoBrokerEpoch {
		p.brokerEpoch = m.BrokerEpoch
	}
	return p
}

// caughtUp reports whether the replica has the leader's whole log, or had it no longer than maxLag ago. There is no criterion of
// how many records it lacks.
func (p progress) caughtUp(leaderEnd cluster.Offset, now time.Time, maxLag time.Duration) bool {
	return p.logEnd == leaderEnd || now.Sub(p.caughtUpAt) <= maxLag
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
