package consumer

import (
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// stage is where a partition stands:
//
//	seeking ──offset known──► fetching ◄──resume── paused
//	   ▲  ▲                      │ │
//	   │  └──out of range────────┘ └──error that only the caller can mend──► stuck
//	   └──────────────────────────seek──────────────────────────────────────────┘
type stage int8

const (
	seeking  stage = iota // the offset has to be looked up by part.at
	fetching              // the position is known and the partition is, or should be, in a session
	stuck                 // an error was given out; waits for a seek
)

// part is one assigned partition. Fields are guarded by the consumer's lock unless they are atomic.
type part struct {
	tp cluster.TopicPartition

	generation atomic.Uint64 // moves with everything that makes fetched records stale
	position   atomic.Int64  // the next record to give out; -1 while seeking
	high       atomic.Int64  // high watermark; -1 until known

	stage     stage
	paused    bool
	at        int64            // while seeking: a timestamp, or client.Latest, client.Earliest
	byTime    bool             // at was asked for by SeekToTimestamp: fall back to the end
	resolving bool             // a lookup is going on
	asked     cluster.BrokerID // who is asked, the leader as the metadata named it
	lookup    uint64           // numbers the lookups: what an earlier one finds does not count
	attempts  int              // failures in a row
	notBefore time.Time

	fetch    cluster.Offset      // the next offset to fetch
	epoch    cluster.LeaderEpoch // as declared to the broker
	placed   cluster.TopicID     // the topic's id, likewise; zero when unknown
	topic    cluster.TopicID     // of the topic that the position belongs to: a broker has answered for it; zero until then
	epochs   history             // of the records before fetch
	on       *fetcher            // in whose session the partition is
	declared uint64              // the request of that session that declared fetch last
	replica  cluster.BrokerID    // the broker to read from instead of the leader (KIP-392)
	replicaT time.Time           // until when; the leader is asked again then
}

// bump makes everything that was fetched stale.
func (p *part) bump() { p.generation.Add(1) }

// startAt sets the position.
func (p *part) startAt(o cluster.Offset) {
	p.bump()
	p.stage = fetching
	p.fetch = o
	p.epochs, p.topic = p.epochs[:0], cluster.TopicID{}
	p.position.Store(int64(o))
	p.resolving, p.attempts, p.notBefore = false, 0, time.Time{}
}

// lookUp makes the position unknown until it is looked up.
func (p *part) lookUp(at int64, byTime bool) {
	p.bump()
	p.stage = seeking
	p.at, p.byTime = at, byTime
	p.topic = cluster.TopicID{}
	p.position.Store(-1)
	p.resolving, p.attempts, p.notBefore = false, 0, time.Time{}
}

// wanted reports whether the partition should be in a session now.
func (p *part) wanted(now time.Time) bool {
	return p.stage == fetching && !p.paused && !now.Before(p.notBefore)
}
