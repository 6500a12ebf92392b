package producer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/kerr"
)

// budget is the memory that batches may take, in bytes. Those who wait for some are served in the order in which they came, so that large
// batches are not starved by small ones. It is safe for concurrent use.
type budget struct {
	total   int64
	waiting atomic.Int32 // how many wait, for those who want to know without the lock

	mu    sync.Mutex
	free  int64
	queue []*claim
}

type claim struct {
	bytes   int64
	granted chan struct{}
}

func newBudget(total int64) *budget { return &budget{total: total, free: total} }

// take reserves n bytes, waiting for up to patience. onWait is called once before waiting. closed ends the wait with ErrClosed.
func (b *budget) take(ctx context.Context, closed <-chan struct{}, n int64, patience time.Duration, onWait func()) error {
	if n > b.total {
		return kerr.MessageTooLarge.With(fmt.Sprintf("a batch of %d bytes does not fit the producer's buffer memory of %d bytes", n, b.total))
	}
	b.mu.Lock()
	if b.free >= n && len(b.queue) == 0 {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	c := &claim{bytes: n, granted: make(chan struct{})}
	b.queue = append(b.queue, c)
	b.waiting.Add(1)
	b.mu.Unlock()
	onWait()
	t := time.NewTimer(patience)
	defer t.Stop()
	var err error
	select {
	case <-c.granted:
		return nil
	case <-closed:
		err = client.ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-t.C:
		err = kerr.RequestTimedOut.With(fmt.Sprintf("no room for a batch of %d bytes in the buffer memory of %d bytes within %v", n, b.total, patience))
	}
	if b.withdraw(c) {
		return err
	}
	return nil // granted at the last moment
}

// try reserves n bytes if that is possible at once.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free < n || len(b.queue) > 0 {
		return false
	}
	b.free -= n
	return true
}

// withdraw removes a claim and reports whether it was still waiting.
func (b *budget) withdraw(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.queue {
		if o == c {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.waiting.Add(-1)
			b.grantLocked() // whoever stood behind c may fit
			return true
		}
	}
	return false
}

// give returns n bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	b.free += n
	b.grantLocked()
	b.mu.Unlock()
}

func (b *budget) grantLocked() {
	for len(b.queue) > 0 && b.queue[0].bytes <= b.free {
		c := b.queue[0]
		b.queue = b.queue[1:]
		b.free -= c.bytes
		b.waiting.Add(-1)
		close(c.granted)
	}
}

// used returns the bytes that are reserved now.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
