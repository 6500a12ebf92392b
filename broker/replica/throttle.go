package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
)

// ThrottledReplicas are a topic's lists of replicas whose copying is throttled (F§3.10).
type ThrottledReplicas struct {
	// Leader is leader.replication.throttled.replicas, Follower is follower.replication.throttled.replicas: "*" or partition:broker items.
	Leader, Follower []string
}

// throttle is one of the two limits of a broker on the copying of throttled replicas: what it sends to followers, and what it fetches from
// leaders. Its methods are safe for concurrent use.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex
	quota state.Quota
}

func newThrottle(now func() time.Time, windows int, size time.Duration) *throttle {
	return &throttle{now: now, quota: state.NewQuota(windows, size)}
}

func (t *throttle) set(limit int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quota.SetLimit(limit)
}

func (t *throttle) add(bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quota.Add(t.now(), int64(bytes))
}

// exceeded reports whether replicas have to wait, and for how long before it is worth looking again.
func (t *throttle) exceeded() (pause time.Duration, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if !t.quota.Exceeded(now) {
		return 0, false
	}
	return t.quota.Pause(now), true
}

// SetReplicationRates limits what is sent to throttled followers and fetched into throttled replicas, in bytes per second
// (leader.replication.throttled.rate, follower.replication.throttled.rate), from now on.
func (m *Manager) SetReplicationRates(leader, follower int64) {
	m.env.sending.set(leader)
	m.env.fetching.set(follower)
}

// throttled is which sides of a partition this broker's lists name.
type throttled struct{ leader, follower atomic.Bool }

func (p *Partition) setThrottled(lists ThrottledReplicas) {
	p.throttled.leader.Store(state.ThrottledHere(lists.Leader, p.tp.Partition, p.env.self))
	p.throttled.follower.Store(state.ThrottledHere(lists.Follower, p.tp.Partition, p.env.self))
}

// withheld reports whether a follower gets no records now: it is not in sync, this replica is throttled, and the limit is exceeded.
func (p *Partition) withheld(id cluster.BrokerID) bool {
	if !p.throttled.leader.Load() {
		return false
	}
	p.mu.Lock()
	inSync := p.lead != nil && p.lead.InISR(id)
	p.mu.Unlock()
	if inSync {
		return false
	}
	_, exceeded := p.env.sending.exceeded()
	return exceeded
}

// Sent notes that so many bytes of records have been sent to a follower.
func (p *Partition) Sent(bytes int) {
	if bytes > 0 && p.throttled.leader.Load() {
		p.env.sending.add(bytes)
	}
}
