package commitlog

import (
	"context"
	"math"
	"sync"
	"time"
)

// throttle spreads IO over time so that it stays below a rate, on average over a second. It is safe for concurrent use; whoever comes
// while others wait is put behind them.
type throttle struct {
	mu   sync.Mutex // held for a few instructions
	rate float64    // bytes per second; math.Inf(1) means no limit
	next time.Time  // when the budget is balanced again
}

// maxPause bounds what one piece of work can cost.
const maxPause = time.Hour

// burst is how much time's budget may be saved up.
const burst = time.Second

// set changes the rate; 0 means no limit.
func (t *throttle) set(rate float64) {
	if rate <= 0 || rate >= math.MaxFloat64 {
		rate = math.Inf(1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate
}

// reserve takes n bytes from the budget and returns how long to wait before they may be used.
func (t *throttle) reserve(now time.Time, n int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if math.IsInf(t.rate, 1) {
		return 0
	}
	if oldest := now.Add(-burst); t.next.Before(oldest) {
		t.next = oldest
	}
	t.next = t.next.Add(time.Duration(min(float64(n)/t.rate, maxPause.Seconds()) * float64(time.Second)))
	return t.next.Sub(now)
}

// wait takes n bytes from the budget, and waits until they may be used. The error is that of ctx.
func (t *throttle) wait(ctx context.Context, n int) error {
	d := t.reserve(time.Now(), n)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
