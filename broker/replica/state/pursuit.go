package state

import (
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Pursuit is a follower's account of one partition that it copies from one leader in one leader epoch: where the partition stands in the leader's
// fetch session, and when to try again after an error. Pure; the fetcher's goroutine owns it.
//
//	           set                      any error
//	waiting ─────────▶ in the session ─────────────▶ waiting, until dueAt
//	   ▲                  │      │
//	   └── session lost ──┘      └── FENCED_LEADER_EPOCH, failed disk ──▶ failed, until the next order
type Pursuit struct {
	// Epoch is the leader epoch in which the broker follows.
	Epoch cluster.LeaderEpoch
	// InSession is true while the leader's session has the partition, and Placed while it is to stay where it is there.
	InSession, Placed bool
	// LogStart is what the session knows of the log's start.
	LogStart cluster.Offset
	// DueAt is when the partition is to be fetched again; zero for at once.
	DueAt time.Time
	// Failures in a row.
	Failures int
	// Failed is true when there is no use in trying again.
	Failed bool
}

// Active reports whether the partition is to be fetched now.
func (f *Pursuit) Active(now time.Time) bool { return !f.Failed && !now.Before(f.DueAt) }

// Lost notes that the session is gone.
func (f *Pursuit) Lost() { f.InSession, f.Placed = false, false }

// BackOff puts the partition off after an error.
func (f *Pursuit) BackOff(now time.Time, longest time.Duration) {
	f.Placed = false
	f.Failures++
	f.DueAt = now.Add(Pause(f.Failures, longest))
}

// GiveUp waits for the controller's next order.
func (f *Pursuit) GiveUp() { f.Placed, f.Failed = false, true }

// Again places the partition anew with the next request.
func (f *Pursuit) Again() { f.Placed = false }

// Went notes that all is well.
func (f *Pursuit) Went() { f.Failures = 0 }

// FirstPause is the first pause after a failure. Roles reach brokers one after the other, so a leader often only needs a moment.
const FirstPause = 50 * time.Millisecond

// Pause returns how long to wait after n failures in a row: it doubles up to replica.fetch.backoff.ms.
func Pause(n int, longest time.Duration) time.Duration {
	d := FirstPause
	for i := 1; i < n && d < longest; i++ {
		d *= 2
	}
	return min(d, longest)
}

// Reaction is what a follower does about a leader's answer.
type Reaction uint8

// The reactions.
const (
	// Take appends the records.
	Take Reaction = iota
	// CutOff cuts off what the leader does not have.
	CutOff
	// AskEnds asks where the leader's log begins and ends: the position is outside of it.
	AskEnds
	// GiveUp waits for the controller: this leader epoch is over.
	GiveUp
	// TryLater waits a moment: the leader cannot serve the partition now.
	TryLater
)

// ReactionTo returns what to do about a leader's answer, given its code and whether it says where the logs part (F§3.3).
func ReactionTo(code kerr.Code, diverging bool) Reaction {
	switch code {
	case kerr.None:
		if diverging {
			return CutOff
		}
		return Take
	case kerr.OffsetOutOfRange:
		return AskEnds
	case kerr.FencedLeaderEpoch:
		return GiveUp
	default:
		return TryLater
	}
}

// FetcherIndex returns which of a leader's fetchers copies a partition, as in Kafka: Java's hash of the topic's name decides, so that all
// replicas of a partition agree (F§3.2, F§9.4).
func FetcherIndex(tp cluster.TopicPartition, fetchers int) int {
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
