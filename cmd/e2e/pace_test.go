package e2e

import (
	"sync"
	"time"
)

// pace measures the longest time between two successes. The zero value has not begun; all methods may be called concurrently.
type pace struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	steps   int
}

// step notes a success.
func (p *pace) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notedLocked()
	p.steps++
}

// notedLocked takes the time since the last success, or since the lap began, into account.
func (p *pace) notedLocked() {
	now := time.Now()
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

// count returns the number of successes so far.
func (p *pace) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.steps
}

// lap returns the longest time without a success since the last lap, and begins another.
func (p *pace) lap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notedLocked()
	longest := p.longest
	p.longest = 0
	return longest
}
