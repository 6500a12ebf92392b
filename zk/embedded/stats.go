package embedded

import (
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// counters are the server's statistics for four-letter words.
type counters struct {
	received atomic.Int64
	sent     atomic.Int64
	latency  latencies // the core's
}

// latencies gathers how long replies took, in milliseconds.
type latencies struct {
	min, max, total int64
	count           int64
}

func (l *latencies) add(ms int64) {
	if l.count == 0 || ms < l.min {
		l.min = ms
	}
	l.max = max(l.max, ms)
	l.total += ms
	l.count++
}

func (l *latencies) avg() float64 {
	if l.count == 0 {
		return 0
	}
	return float64(l.total) / float64(l.count)
}

// connStats are the statistics of one connection. The core owns them.
type connStats struct {
	since    time.Time
	received int64
	sent     int64
	lastOp   jute.Op
	lastXid  int32
	lastZxid int64
	lastAt   time.Time // of the last reply
	lastMs   int64
	latency  latencies
}

// note takes a reply into the statistics, at the moment it is sent.
func (k *core) note(c *conn, rq *request) {
	now := time.Now()
	ms := now.Sub(rq.at).Milliseconds()
	k.s.stats.latency.add(ms)
	st := &c.stats
	st.latency.add(ms)
	st.lastOp, st.lastXid, st.lastZxid, st.lastAt, st.lastMs = rq.op, rq.xid, rq.zxid, now, ms
}
