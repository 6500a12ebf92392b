package replica

import "sync"

// gate lets whoever works on a partition's log pass, and keeps them out while the partition begins to lead. What is under way may have to wait for a disk
// that stalls, so nobody who changes a role waits for it: they learn whether there is anything, and when that is over. The zero value is open.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   chan struct{} // closed when the gate opens; nil while it is open
	empty  chan struct{} // closed when nobody is inside any more; nil if nobody wants to know
}

// enter waits until the gate is open, and passes. Each enter needs a leave.
func (g *gate) enter() {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.inside++
		}
		g.mu.Unlock()
		if shut == nil {
			return
		}
		<-shut
	}
}

// tryEnter passes if the gate is open.
func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		return false
	}
	g.inside++
	return true
}

// leave takes an enter back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// close shuts the gate and reports whether nobody is inside.
func (g *gate) close() (empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
	return g.inside == 0
}

// open lets everybody pass again.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// idle reports whether nobody is inside.
func (g *gate) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside == 0
}

// drained returns a channel that is closed when nobody is inside.
func (g *gate) drained() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty == nil {
		g.empty = make(chan struct{})
		if g.inside == 0 {
			ch := g.empty
			close(ch)
			g.empty = nil
			return ch
		}
	}
	return g.empty
}
