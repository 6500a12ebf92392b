package controller

import (
	"context"
	"sync"
)

// event is one thing for the event loop to deal with.
type event struct {
	name    string
	run     func(ctx context.Context)
	dropped func() // called instead of run when the event is cleared; may be nil
	ended   func() // called after run or dropped; may be nil
}

// drop ends an event that will not be run.
func (e event) drop() {
	if e.dropped != nil {
		e.dropped()
	}
	if e.ended != nil {
		e.ended()
	}
}

// queue is the loop's queue: first in, first out, without bound. It is safe for concurrent use.
type queue struct {
	wake chan struct{} // has a token when there is something to take

	mu     sync.Mutex
	events []event
	closed bool
	cancel context.CancelFunc // ends the context of the event that runs
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds an event. After close it is dropped.
func (q *queue) put(e event) {
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	if closed {
		e.drop()
		return
	}
	q.signal()
}

// clearAndPut drops everything that waits, ends the event that runs, and makes e the next (F§2.1).
func (q *queue) clearAndPut(e event) {
	q.mu.Lock()
	old, closed, cancel := q.events, q.closed, q.cancel
	q.events = nil
	if !closed {
		q.events = []event{e}
	}
	q.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	for _, o := range old {
		o.drop()
	}
	if closed {
		e.drop()
		return
	}
	q.signal()
}

// close drops everything and makes the loop end.
func (q *queue) close() {
	q.mu.Lock()
	old, cancel := q.events, q.cancel
	q.events, q.closed = nil, true
	q.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	for _, o := range old {
		o.drop()
	}
	q.signal()
}

// signal wakes the loop.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the next event with a context that ends when the event is overtaken by clearAndPut or close. ok is false when
// nothing waits, closed is true after close.
func (q *queue) take() (e event, ctx context.Context, ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return event{}, nil, false, true
	}
	if len(q.events) == 0 {
		return event{}, nil, false, false
	}
	e = q.events[0]
	q.events[0] = event{}
	q.events = q.events[1:]
	ctx, q.cancel = context.WithCancel(context.Background())
	return e, ctx, true, false
}

// finished releases the context of the event that ran.
func (q *queue) finished() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancel()
	q.cancel = nil
}

// loop is the controller's goroutine: the only one that touches the machine.
func (c *Controller) loop() {
	defer close(c.done)
	defer func() {
		c.leave("the broker stops")
		c.publish()
	}()
	for {
		// What watches saw takes its place in the queue before the next event runs: who asks all the time must not keep it away.
		session, reign := c.watches()
		select {
		case <-session:
			c.enqueue(c.session.Take())
		case <-reign:
			c.enqueue(c.reign.power.Take())
		default:
		}
		e, ctx, ok, closed := c.queue.take()
		switch {
		case closed:
			return
		case ok:
			c.log.Trace("event", "name", e.name)
			e.run(ctx)
			c.queue.finished()
			if e.ended != nil {
				e.ended()
			}
			continue
		}
		c.publish()
		select {
		case <-session:
			c.enqueue(c.session.Take())
		case <-reign:
			c.enqueue(c.reign.power.Take())
		case <-c.queue.wake:
		}
	}
}

// watches returns what tells that watches have fired: of the session, and of the reign.
func (c *Controller) watches() (session, reign <-chan struct{}) {
	if c.session != nil {
		session = c.session.Ready()
	}
	if c.reign != nil {
		reign = c.reign.power.Ready()
	}
	return session, reign
}

// enqueue puts watches that fired into the queue, each kind once.
func (c *Controller) enqueue(changes []Change) {
	seen := make(map[Change]bool, len(changes))
	for _, ch := range changes {
		if seen[ch] {
			continue
		}
		seen[ch] = true
		c.queue.put(event{name: "change", run: func(ctx context.Context) { c.changed(ctx, ch) }})
	}
}

// publish updates the numbers for gauges.
func (c *Controller) publish() {
	s := Stats{}
	if c.reign != nil {
		s = Stats{Active: true, Epoch: c.reign.power.Epoch(), Counts: c.reign.machine.Counts()}
	}
	c.stats.Store(&s)
}
