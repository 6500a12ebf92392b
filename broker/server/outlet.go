package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"

	"github.com/ottla/ottla/proto/wire"
)

// outlet watches over the answers of one stream. gRPC takes an answer before it is written, and SendMsg blocks only when much has piled
// up, so a reader that does not read could keep a broker's memory for ever. The outlet lends the buffers of answers, knows which of them are
// not written yet, enters them into the process's budget, and closes the connection when nothing moves for too long.
//
// It implements mem.BufferPool and commitlog.BufferSource, and is safe for concurrent use: gRPC gives buffers back from its own goroutine.
type outlet struct {
	budget  *budget
	timeout time.Duration
	hangUp  func()

	mu      sync.Mutex
	timer   *time.Timer
	lent    int   // buffers that were not given back
	bytes   int64 // their size, as entered into the budget
	sending bool  // a SendMsg is under way
}

// newOutlet returns the outlet of the stream that ctx belongs to. It outlives the stream for as long as buffers are not given back.
func (s *Server) newOutlet(ctx context.Context) *outlet {
	c := connOf(ctx)
	return &outlet{budget: s.underWay, timeout: s.limits.WriteTimeout, hangUp: func() {
		if c == nil {
			s.log.Warn("a reader does not read, and its connection cannot be closed from here", "timeout", s.limits.WriteTimeout)
			return
		}
		s.log.Warn("closing a connection because its reader does not read", "remote", c.RemoteAddr().String(), "timeout", s.limits.WriteTimeout)
		c.Close()
	}}
}

// send calls f, which sends an answer, under the deadline.
func (o *outlet) send(f func() error) error {
	o.note(func() { o.sending = true })
	err := f()
	o.note(func() { o.sending = false })
	return err
}

// Get lends a buffer of this length.
func (o *outlet) Get(length int) *[]byte {
	b := wire.Pool.Get(length)
	if counted(b) {
		size := int64(cap(*b))
		o.budget.add(size)
		o.lend(size)
	}
	return b
}

// lend notes that a buffer is lent which was entered into the budget.
func (o *outlet) lend(size int64) { o.note(func() { o.lent++; o.bytes += size }) }

// Put takes a buffer back.
func (o *outlet) Put(b *[]byte) {
	if counted(b) {
		size := int64(cap(*b))
		o.note(func() {
			size = min(size, o.bytes) // 0 for a buffer that was written off
			o.lent, o.bytes = max(o.lent-1, 0), o.bytes-size
		})
		o.budget.add(-size)
	}
	wire.Pool.Put(b)
}

// rationed is an outlet that lends to consumers: nothing while the budget is used up. What many streams begin to read at the same time would
// otherwise exceed it by an answer each. It belongs to one goroutine, but for Put.
type rationed struct {
	*outlet
	refused bool // Get has lent nothing since this was cleared
}

// Get lends a buffer of this length; nil when the budget is used up.
func (r *rationed) Get(length int) *[]byte {
	if mem.IsBelowBufferPoolingThreshold(length) {
		return r.outlet.Get(length)
	}
	if !r.budget.take(int64(length)) { // before there is a buffer
		r.refused = true
		return nil
	}
	b := wire.Pool.Get(length)
	size := int64(cap(*b))
	r.budget.add(size - int64(length))
	r.lend(size)
	return b
}

// counted reports whether gRPC will give the buffer back: it leaves small ones to the garbage collector.
func counted(b *[]byte) bool { return !mem.IsBelowBufferPoolingThreshold(cap(*b)) }

// note enters a change, which is a sign of life, and sets the deadline anew if anything is still under way.
func (o *outlet) note(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
	switch {
	case o.lent == 0 && !o.sending:
		if o.timer != nil {
			o.timer.Stop()
		}
	case o.timer == nil:
		o.timer = time.AfterFunc(o.timeout, o.expired)
	default:
		o.timer.Reset(o.timeout)
	}
}

// expired closes the connection if anything is still under way, and writes the buffers off: gRPC drops those of a connection that has
// failed without giving them back.
func (o *outlet) expired() {
	o.mu.Lock()
	stuck, lost := o.lent > 0 || o.sending, o.bytes
	o.lent, o.bytes = 0, 0
	o.mu.Unlock()
	o.budget.add(-lost)
	if stuck {
		o.hangUp()
	}
}

// connOf returns the connection that a call came over; nil unless it was accepted by a [Listener].
func connOf(ctx context.Context) *conn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	a, ok := p.Addr.(*connAddr)
	if !ok {
		return nil
	}
	return a.conn
}
