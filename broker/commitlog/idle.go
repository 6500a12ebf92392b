package commitlog

import (
	"sync"

	"github.com/ottla/ottla/broker/vfs"
)

// idleFiles bounds how many files of segments that nobody writes are open at a time, of all logs of a manager together. When
// there are too many, those that have not been used for longest are closed, by the clock algorithm: a hand goes round, passes
// over what was used since it came by last, and closes what was not. They are opened again when needed.
//
// Handles that are kept (handle.keep) are not in the ring and do not count: what is appended to, or not yet on disk, stays
// open. A nil *idleFiles has no bound. It is safe for concurrent use.
type idleFiles struct {
	limit int

	mu   sync.Mutex // guards what follows, and ring and kept of the handles; never held over IO
	hand *handle    // the next to be looked at; nil when the ring is empty
	n    int        // handles in the ring

	opened, closed int64 // files opened, and closed to make room
}

// scarceShed is how many files are closed at once when the process has no descriptors left.
const scarceShed = 64

func newIdleFiles(limit int) *idleFiles { return &idleFiles{limit: max(limit, 1)} }

// admit takes over a handle's file, which was opened just now, and closes others to make room.
func (p *idleFiles) admit(h *handle, f *vfs.File) {
	if p == nil {
		h.file.Store(f)
		return
	}
	p.mu.Lock()
	p.opened++
	h.file.Store(f)
	var victims []vfs.File
	if h.kept == 0 {
		p.link(h)
		victims = p.shrink(p.limit, h)
	}
	p.mu.Unlock()
	closeAll(victims)
}

// take takes a handle's file away, to be closed by the caller; nil when it is not open.
func (p *idleFiles) take(h *handle) *vfs.File {
	if p == nil {
		return h.file.Swap(nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlink(h)
	return h.file.Swap(nil)
}

// keep exempts a handle, until free is called as often.
func (p *idleFiles) keep(h *handle) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h.kept++
	p.unlink(h)
}

// free ends what keep began.
func (p *idleFiles) free(h *handle) {
	if p == nil {
		return
	}
	p.mu.Lock()
	var victims []vfs.File
	if h.kept--; h.kept == 0 && h.file.Load() != nil {
		p.link(h)
		victims = p.shrink(p.limit, h)
	}
	p.mu.Unlock()
	closeAll(victims)
}

// shed closes some files because the process has too many of whatever kind. It returns how many.
func (p *idleFiles) shed() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	victims := p.shrink(max(p.n-scarceShed, 0), nil)
	p.mu.Unlock()
	closeAll(victims)
	return len(victims)
}

// link puts a handle where the hand comes last.
func (p *idleFiles) link(h *handle) {
	if p.hand == nil {
		h.prev, h.next, p.hand = h, h, h
	} else {
		h.prev, h.next = p.hand.prev, p.hand
		h.prev.next, h.next.prev = h, h
	}
	h.used.Store(false) // what is used only once is the first to go
	p.n++
}

// unlink takes a handle out of the ring, if it is in it.
func (p *idleFiles) unlink(h *handle) {
	if h.next == nil {
		return
	}
	if p.hand == h {
		p.hand = h.next
	}
	if h.next == h {
		p.hand = nil
	}
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
	p.n--
}

// shrink takes files out until n are left, but not that of spare, for the caller to close without the lock. Whoever uses one of
// them just now opens it again.
func (p *idleFiles) shrink(n int, spare *handle) (victims []vfs.File) {
	for p.n > n {
		h := p.hand
		if h == spare || h.used.Load() {
			h.used.Store(false)
			p.hand = h.next
			continue
		}
		p.unlink(h)
		victims = append(victims, *h.file.Swap(nil))
		p.closed++
	}
	return victims
}

// closeAll closes files that nothing was written to since they were synced.
func closeAll(files []vfs.File) {
	for _, f := range files {
		_ = f.Close() // nothing of them is in doubt
	}
}

// FileStats says how many files of segments are open, apart from those that are being written.
type FileStats struct {
	// Idle is how many are open now, Limit how many at most.
	Idle, Limit int
	// Opened counts files that were opened, also those that are being written; Closed those that were closed to make room.
	Opened, Closed int64
}

func (p *idleFiles) stats() FileStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return FileStats{Idle: p.n, Limit: p.limit, Opened: p.opened, Closed: p.closed}
}
