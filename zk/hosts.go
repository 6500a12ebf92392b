package zk

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Pauses between attempts at one server. They double from the first to the second, which is short beside the second or so that an ensemble takes to elect a leader: nothing can be
// written meanwhile, and a server that refuses costs little.
const (
	minHostPause = 50 * time.Millisecond
	maxHostPause = 250 * time.Millisecond
)

// hosts chooses which server to try next, and when. It replaces the library's provider, which resolves names once, and
// waits a whole second after each round even when there is only one server.
//
// Of the servers that have rested, the one after the last in the list comes first; each attempt that does not lead to a session doubles its rest, with
// jitter; one that does not answer at all rests longer than one that refuses; none is ever given up.
type hosts struct {
	stopped func() bool // true once the session is over

	mu      sync.Mutex
	list    []*host
	current *host
	wait    time.Time // when current may be dialled
}

// host is one server.
type host struct {
	addr     string
	failures int
	rested   time.Time // when it may be tried again
}

// newHosts returns the servers in random order, so that the processes of a cluster spread over an ensemble.
func newHosts(addrs []string, stopped func() bool) *hosts {
	h := &hosts{stopped: stopped}
	for _, i := range rand.Perm(len(addrs)) {
		h.list = append(h.list, &host{addr: addrs[i]})
	}
	return h
}

// Init implements the library's HostProvider. The list is known already.
func (h *hosts) Init([]string) error { return nil }

// Len returns the number of servers.
func (h *hosts) Len() int { return len(h.list) }

// Next chooses a server. It reports the end of a round, on which the library looks whether it should quit, only when it
// should: once the session is over.
func (h *hosts) Next() (addr string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	ready := func(x *host) time.Time {
		if x.rested.Before(now) {
			return now
		}
		return x.rested
	}
	after := slices.Index(h.list, h.current) + 1 // 0 when there is none yet
	best := h.list[after%len(h.list)]
	for i := range h.list {
		if candidate := h.list[(after+i)%len(h.list)]; ready(candidate).Before(ready(best)) {
			best = candidate
		}
	}
	h.current, h.wait = best, best.rested
	pause := min(minHostPause<<min(best.failures, 10), maxHostPause)
	pause += rand.N(pause / 4)
	best.failures++
	best.rested = ready(best).Add(pause)
	return best.addr, h.stopped()
}

// Connected notes that the current server has granted the session. If it drops the connection at once there is still a
// short rest.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		h.current.failures = 0
		h.current.rested = time.Now().Add(minHostPause)
	}
}

// silent notes that the current server does not answer. Where there are others it rests for so long at least.
func (h *hosts) silent(rest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(rest); h.current != nil && len(h.list) > 1 && h.current.rested.Before(until) {
		h.current.rested = until
	}
}

// pause waits until the server chosen last may be dialled.
func (h *hosts) pause(ctx context.Context) error {
	h.mu.Lock()
	wait := h.wait
	h.mu.Unlock()
	d := time.Until(wait)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// latest returns the address of the server chosen last.
func (h *hosts) latest() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current.addr
}
