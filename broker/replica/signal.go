package replica

import (
	"slices"
	"sync"
	"sync/atomic"
)

// News is what a [Signal] can be told about a partition. A change of role, a failed disk and the end of the partition are always told.
type News uint8

const (
	// WatermarkMoved is of interest to consumers and to produce requests with acks=all.
	WatermarkMoved News = 1 << iota
	// EndMoved is of interest to followers: the log has grown.
	EndMoved
	// StartMoved is of interest to those who wait for deleted records to be gone from the followers too.
	StartMoved

	everything = WatermarkMoved | EndMoved | StartMoved
)

// Signal wakes one goroutine that waits for news of any number of partitions. To wait for a condition:
//
//	p.Watch(signal, replica.WatermarkMoved)
//	defer p.Unwatch(signal)
//	for !condition() {
//		select {
//		case <-signal.C():
//		case <-ctx.Done(): …
//		}
//	}
//
// News that arrives between the look and the select is kept, so none is lost; several pieces of news may arrive as one, and news that is
// older than the last look may arrive late. Its methods are safe for concurrent use, but only one goroutine should receive from C.
type Signal struct{ c chan struct{} }

// NewSignal returns a signal that is not registered anywhere.
func NewSignal() *Signal { return &Signal{c: make(chan struct{}, 1)} }

// C returns the channel that holds a value when there is news.
func (s *Signal) C() <-chan struct{} { return s.c }

// Wake leaves a piece of news. It never blocks.
func (s *Signal) Wake() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// watchers are the signals registered with one partition. The zero value has none. Its mutex is held while signals are woken,
// which cannot block.
type watchers struct {
	count atomic.Int32 // len(list), so that appends to a partition that nobody watches pass by

	mu   sync.Mutex
	list []watcher
}

type watcher struct {
	signal *Signal
	news   News
}

func (w *watchers) add(s *Signal, n News) {
	w.mu.Lock()
	w.list = append(w.list, watcher{s, n})
	w.count.Store(int32(len(w.list)))
	w.mu.Unlock()
}

// remove forgets one registration of the signal.
func (w *watchers) remove(s *Signal) {
	w.mu.Lock()
	if i := slices.IndexFunc(w.list, func(x watcher) bool { return x.signal == s }); i >= 0 {
		w.list = slices.Delete(w.list, i, i+1)
	}
	w.count.Store(int32(len(w.list)))
	w.mu.Unlock()
}

// tell wakes the signals that want to know any of n. A signal that is added while tell runs may or may not be woken: it looks
// after it was added, and what it then sees includes what this news is about.
func (w *watchers) tell(n News) {
	if n == 0 || w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	for _, x := range w.list {
		if x.news&n != 0 {
			x.signal.Wake()
		}
	}
	w.mu.Unlock()
}
