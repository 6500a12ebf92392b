package replica

import (
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

// pursuit is a follower's account of one partition that it copies from one leader in one leader epoch: where the partition stands in the leader's
// fetch session, and when to try again after an error. Pure; the fetcher's goroutine owns it.
//
//	           set                      any error
//	waiting ─────────▶ in the session ─────────────▶ waiting, until dueAt
//	   ▲                  │      │
//	   └── session lost ──┘      └── FENCED_LEADER_EPOCH, failed disk ──▶ failed, until the next order
type pursuit struct {
	// epoch is the leader epoch in which the broker follows.
	epoch cluster.LeaderEpoch
	// inSession is true while the leader's session has the partition, and placed while it is to stay where it is there.
	inSession, placed bool
	// logStart is what the session knows of the log's start.
	logStart cluster.Offset
	// dueAt is when the partition is to be fetched again; zero for at once.
	dueAt time.Time
	// failures in a row.
	failures int
	// failed is true when there is no use in trying again.
	failed bool
}

// active reports whether the partition is to be fetched now.
func (f *pursuit) active(now time.Time) bool { return !f.failed && !now.Before(f.dueAt) }

// lost notes that the session is gone.
func (f *pursuit) lost() { f.inSession, f.placed = false, false }

// backOff puts the partition off after an error.
func (f *pursuit) backOff(now time.Time, longest time.Duration) {
	f.placed = false
	f.failures++
	f.dueAt = now.Add(pause(f.failures, longest))
}

// giveUp waits for the controller's next order.
func (f *pursuit) giveUp() { f.placed, f.failed = false, true }

// again places the partition anew with the next request.
func (f *pursuit) again() { f.placed = false }

// went notes that all is well.
func (f *pursuit) went() { f.failures = 0 }

// firstPause is the first pause after a failure. Roles reach brokers one after the other, so a leader often only needs a moment.
const firstPause = 50 * time.Millisecond

// pause returns how long to wait after n failures in a row: it doubles up to replica.fetch.backoff.ms.
func pause(n int, longest time.Duration) time.Duration {
	d := firstPause
	for i := 1; i < n && d < longest; i++ {
		d *= 2
	}
	return min(d, longest)
}

// reaction is what a follower does about a leader's answer.
type reaction uint8

const (
	take     reaction = iota // append the records
	truncate                 // cut off what the leader does not have
	askEnds                  // the position is outside the leader's log
	giveUp                   // this leader epoch is over
	tryLater                 // the leader cannot serve the partition now
)

// reactionTo returns what to do about a leader's answer (F§3.3).
func reactionTo(a *wire.FetchPartition) reaction {
	switch a.ErrorCode {
	case kerr.None:
		if a.Diverging != nil {
			return truncate
		}
		return take
	case kerr.OffsetOutOfRange:
		return askEnds
	case kerr.FencedLeaderEpoch:
		return giveUp
	default:
		return tryLater
	}
}

// truncationPoint returns where a follower's log is to end, given what the leader says of the largest epoch that is not above the follower's last
// one, what the follower's log says of that same epoch, its high watermark, and where it ends (F§3.5, KIP-279). If the follower does not know the
// epoch, the result only leads to the next, lower epoch to compare.
func truncationPoint(leaders, own EpochEnd, watermark, logEnd cluster.Offset) cluster.Offset {
	switch {
	case leaders.End == cluster.UnknownOffset:
		return min(watermark, logEnd)
	case own.End == cluster.UnknownOffset:
		return min(leaders.End, logEnd)
	case own.Epoch != leaders.Epoch:
		return min(own.End, logEnd)
	default:
		return min(own.End, leaders.End, logEnd)
	}
}

// fetcherIndex returns which of a leader's fetchers copies a partition, as in Kafka: Java's hash of the topic's name decides, so that all
// replicas of a partition agree (F§3.2, F§9.4).
func fetcherIndex(tp cluster.TopicPartition, fetchers int) int {
	var h int32
	for _, c := range []byte(tp.Topic) { // names of topics are ASCII
		h = 31*h + int32(c)
	}
	n := 31*h + tp.Partition
	if n < 0 {
		n = max(-n, 0) // the least number has no opposite
	}
	return int(n) % max(fetchers, 1)
}
