package commitlog

import (
	"sync/atomic"
	"time"
)

// appends knows how long the appends to the logs of a directory have been under way, at the price of two atomic additions for each. Time is cut into
// slots: an append counts in the slot in which it began until it ends, so the oldest slot that is not empty holds the one that has waited longest. The
// slots form a ring; while the oldest one is not empty it is not used again, and the current one goes on.
//
// enter and leave are safe for concurrent use; look has one caller at a time.
type appends struct {
	current atomic.Uint32
	slots   [slots]atomic.Int64

	ended  [slots]time.Time // when each slot was current last; not of the current one
	looked time.Time
}

const (
	slots = 8
	// asleep is the time between two looks above which the process was not running: what was under way has not waited meanwhile.
	asleep = 500 * time.Millisecond
)

// enter notes that an append begins. What it returns is for leave.
func (a *appends) enter() (slot uint32) {
	slot = a.current.Load()
	a.slots[slot].Add(1)
	return slot
}

// leave notes that an append has ended, whatever came of it.
func (a *appends) leave(slot uint32) { a.slots[slot].Add(-1) }

// look returns how long the oldest append that is under way has been so, at least: the time since the look after it began. It is to be called much more
// often than anybody is to be found waiting, and begins a new slot.
func (a *appends) look(now time.Time) time.Duration {
	if gap := now.Sub(a.looked); !a.looked.IsZero() && gap > asleep {
		for i := range a.ended {
			a.ended[i] = a.ended[i].Add(gap)
		}
	}
	a.looked = now
	current := a.current.Load()
	if next := (current + 1) % slots; a.slots[next].Load() == 0 {
		a.ended[current] = now
		current = next
		a.current.Store(current)
	}
	for i := uint32(1); i < slots; i++ {
		if s := (current + i) % slots; a.slots[s].Load() > 0 {
			return now.Sub(a.ended[s])
		}
	}
	return 0
}

// LongestWait returns the directory with the append that has been under way for the longest time, and that time, which may be short by the time since the
// look before: appends wait for their own write and fsync, and for whoever holds their log up. Flushes in the background that hold no append up do not count. Call it
// several times a second, from one goroutine.
func (m *Manager) LongestWait(now time.Time) (dir string, wait time.Duration) {
	for _, d := range m.dirs {
		if w := d.appends.look(now); w > wait && d.online() == nil {
			dir, wait = d.path, w
		}
	}
	return dir, wait
}
