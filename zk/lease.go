package zk

import (
	"sync"
	"time"
)

// lease is a process's own knowledge of how long its session lasts at least: the session timeout, counted from the moment
// the last answered request was sent. The server counts from the moment it received that request, so its clock runs out
// later, whatever the network does. Time is measured by the monotonic clock.
//
// Safe for concurrent use.
type lease struct {
	mu       sync.Mutex
	timeout  time.Duration
	answered time.Time     // when the last answered request was sent; zero before the session exists
	suspect  chan struct{} // closed while suspect
	doubt    bool          // suspect is closed
}

// newLease returns a lease that has not begun.
func newLease() *lease { return &lease{suspect: make(chan struct{})} }

// begin starts or renews the lease with what the server granted in a handshake sent at the given time.
func (l *lease) begin(timeout time.Duration, sent time.Time) {
	l.mu.Lock()
	l.timeout = timeout
	l.mu.Unlock()
	l.extend(sent)
}

// extend counts from a later request. It ends a doubt.
func (l *lease) extend(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent.After(l.answered) {
		l.answered = sent
	}
	if l.doubt && time.Since(l.answered) < l.suspectAfterLocked() {
		l.doubt, l.suspect = false, make(chan struct{})
	}
}

// suspectAfterLocked is how long nothing may be answered before the session is in doubt.
func (l *lease) suspectAfterLocked() time.Duration { return l.timeout * 2 / 3 }

// check notes what the clock says and returns how long the lease lasts still, and when to check next.
func (l *lease) check(now time.Time) (left, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	silent := now.Sub(l.answered)
	left = l.timeout - silent
	if silent < l.suspectAfterLocked() {
		return left, l.suspectAfterLocked() - silent
	}
	if !l.doubt {
		l.doubt = true
		close(l.suspect)
	}
	return left, left
}

// left returns how long the lease lasts still. It is negative or zero once the lease has ended.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.timeout - time.Since(l.answered)
}

// inDoubt reports whether nothing has been answered for two thirds of the session timeout.
func (l *lease) inDoubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.answered) >= l.suspectAfterLocked()
}

// doubts returns a channel that is closed while the session is in doubt.
func (l *lease) doubts() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suspect
}

// granted returns the session timeout.
func (l *lease) granted() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.timeout
}
