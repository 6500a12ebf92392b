package state

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Unlimited is the rate without a limit: the default of leader.replication.throttled.rate and follower.replication.throttled.rate.
const Unlimited = math.MaxInt64

// ThrottledHere reports whether a list of throttled replicas (leader.replication.throttled.replicas, follower.replication.throttled.replicas) names
// this broker's replica of a partition: "*" is all, "partition:broker" one. Items that are neither name nothing.
func ThrottledHere(list []string, partition int32, broker cluster.BrokerID) bool {
	for _, item := range list {
		if item == "*" {
			return true
		}
		p, b, ok := strings.Cut(item, ":")
		if !ok {
			continue
		}
		pn, errP := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
		bn, errB := strconv.ParseInt(strings.TrimSpace(b), 10, 32)
		if errP == nil && errB == nil && int32(pn) == partition && cluster.BrokerID(bn) == broker {
			return true
		}
	}
	return false
}

// Quota measures the bytes of throttled replicas as Kafka does (F§3.10, ReplicationQuotaManager over a SimpleRate): the sum over the last windows,
// divided by the time since the oldest of them began, and by one window at least. Pure; the owner serialises calls.
type Quota struct {
	limit   int64
	size    time.Duration // of a window
	windows []window      // the latest last
	most    int
}

type window struct {
	start time.Time
	bytes int64
}

// NewQuota returns a quota without a limit that measures over so many windows (replication.quota.window.num) of a size
// (replication.quota.window.size.seconds); values that make no sense mean Kafka's 11 of a second.
func NewQuota(windows int, size time.Duration) Quota {
	if windows <= 0 {
		windows = 11
	}
	if size <= 0 {
		size = time.Second
	}
	return Quota{limit: Unlimited, size: size, most: windows}
}

// SetLimit sets the limit in bytes per second.
func (q *Quota) SetLimit(limit int64) { q.limit = limit }

// Add notes bytes of a throttled replica, in sync or not, limited or not.
func (q *Quota) Add(now time.Time, bytes int64) {
	q.forget(now)
	if n := len(q.windows); n == 0 || now.Sub(q.windows[n-1].start) >= q.size {
		q.windows = append(q.windows, window{start: now})
	}
	q.windows[len(q.windows)-1].bytes += bytes
}

// forget drops windows that are too old, and too many.
func (q *Quota) forget(now time.Time) {
	drop := 0
	for drop < len(q.windows) && (now.Sub(q.windows[drop].start) >= time.Duration(q.most)*q.size || len(q.windows)-drop > q.most) {
		drop++
	}
	q.windows = append(q.windows[:0], q.windows[drop:]...)
}

// Rate returns the bytes per second.
func (q *Quota) Rate(now time.Time) float64 {
	q.forget(now)
	if len(q.windows) == 0 {
		return 0
	}
	var sum int64
	for _, w := range q.windows {
		sum += w.bytes
	}
	return float64(sum) / max(now.Sub(q.windows[0].start), q.size).Seconds()
}

// Exceeded reports whether replicas that are not in sync have to wait.
func (q *Quota) Exceeded(now time.Time) bool {
	return q.limit != Unlimited && q.Rate(now) > float64(q.limit)
}

// Pause returns when to look again while the quota is exceeded: when the rate will have fallen to the limit if nothing is added, within a window's
// time, and at least a hundredth of it.
func (q *Quota) Pause(now time.Time) time.Duration {
	least, most := q.size/100, q.size
	rate := q.Rate(now)
	if len(q.windows) == 0 || q.limit <= 0 {
		return most
	}
	elapsed := max(now.Sub(q.windows[0].start), q.size)
	needed := rate / float64(q.limit) * float64(elapsed)
	return min(max(time.Duration(min(needed, float64(elapsed+most)))-now.Sub(q.windows[0].start), least), most)
}
