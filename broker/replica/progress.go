package replica

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

// fetchMark is one fetch of a replica, as the leader sees it.
type fetchMark struct {
	// offset that was asked for: the replica has everything below it.
	offset cluster.Offset
	// logStart of the replica.
	logStart cluster.Offset
	// leaderEnd is the leader's log end, read before the data.
	leaderEnd cluster.Offset
	// at is the time of the fetch.
	at time.Time
	// brokerEpoch is the replica's registration; unknown if it did not say.
	brokerEpoch cluster.BrokerEpoch
}

// stale reports whether the fetch was sent before the replica's last restart that the leader knows of.
func (p progress) stale(m fetchMark) bool {
	return m.brokerEpoch != cluster.NoBrokerEpoch && m.brokerEpoch < p.brokerEpoch
}

// fetched returns the progress after a fetch that is not stale. A replica that always gets to where the leader was at its previous
// fetch counts as caught up since then, however fast the leader moves on. A replica that comes back under another registration
// starts over: its log may have lost its tail (KIP-903).
func (p progress) fetched(m fetchMark) progress {
	if m.brokerEpoch != cluster.NoBrokerEpoch && m.brokerEpoch != p.brokerEpoch && p.brokerEpoch != cluster.NoBrokerEpoch {
		p = newProgress(false, m.at)
	}
	switch {
	case m.offset >= m.leaderEnd:
		p.caughtUpAt = later(p.caughtUpAt, m.at)
	case !p.fetchedAt.IsZero() && m.offset >= p.leaderEnd:
		p.caughtUpAt = later(p.caughtUpAt, p.fetchedAt)
	}
	p.logEnd, p.logStart, p.leaderEnd, p.fetchedAt = m.offset, m.logStart, m.leaderEnd, m.at
	if m.brokerEpoch != cluster.NoBrokerEpoch {
		p.brokerEpoch = m.brokerEpoch
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
