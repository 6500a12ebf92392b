package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a wait that doubles with every failed attempt, with jitter (KIP-580).
type Backoff struct {
	// First is the wait before the first retry.
	First time.Duration
	// Max is the longest wait, before jitter.
	Max time.Duration
}

// DefaultBackoff is Kafka's: 100 ms to 1 s.
var DefaultBackoff = Backoff{First: 100 * time.Millisecond, Max: time.Second}

// jitter is the part of a wait that is random, as in Kafka's ExponentialBackoff.
const jitter = 0.2

// Wait returns how long to wait before retry number attempt, counting from 1: First doubled attempt-1 times, at most Max, give or take 20 %.
func (b Backoff) Wait(attempt int) time.Duration {
	d := b.First
	for range min(attempt-1, 30) {
		if d >= b.Max {
			break
		}
		d *= 2
	}
	d = min(d, b.Max)
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

// Sleep waits for d or until ctx ends, and returns why ctx ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
