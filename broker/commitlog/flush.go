package commitlog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// flusher lets many goroutines share one fsync. Whoever finds it idle syncs everything that was appended so far; those
// who come meanwhile wait for that to end, and then one of them syncs once more for all.
//
//	idle --begin--> busy --end--> idle, and all who waited look again
//
// A truncation also takes the turn, so that no sync ends after it and claims offsets that are gone.
type flusher struct {
	point atomic.Int64 // recovery point: everything below is on disk

	// names says that files were created whose names are not durable.
	names atomic.Bool
	// last is when the last flush ended, counted from when the log was opened, in nanoseconds: the wall clock may be set back.
	last atomic.Int64

	mu   sync.Mutex
	busy chan struct{} // closed when the one who is busy is done; nil when idle
}

// begin takes the turn if it is free. Otherwise it returns a channel that is closed when it is worth another try.
func (f *flusher) begin() (wait <-chan struct{}, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy != nil {
		return f.busy, false
	}
	f.busy = make(chan struct{})
	return nil, true
}

// take waits for the turn.
func (f *flusher) take() {
	for {
		wait, mine := f.begin()
		if mine {
			return
		}
		<-wait
	}
}

// end gives the turn back.
func (f *flusher) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.busy)
	f.busy = nil
}

// Flush makes everything that was appended before the call durable. The fsync happens outside the append lock; concurrent
// calls share it. An error fences the log: an fsync is never tried again.
func (l *Log) Flush() error { return l.flushTo(l.LogEndOffset()) }

// flushTo makes everything below target durable. A target that a truncation removed meanwhile needs nothing.
func (l *Log) flushTo(target cluster.Offset) error {
	for {
		if err := l.usable("flush"); err != nil {
			return err
		}
		if l.RecoveryPoint() >= min(target, l.LogEndOffset()) {
			return nil
		}
		wait, mine := l.flush.begin()
		if !mine {
			<-wait
			continue
		}
		err := l.syncAll()
		l.flush.end()
		if err != nil {
			return l.fail("flush", err)
		}
	}
}

// syncAll makes everything durable that was appended before it began, and moves the recovery point. The caller has the turn.
func (l *Log) syncAll() error {
	// The end is read before the list of segments: a segment that is appended to after this line need not be in the list.
	end := l.LogEndOffset()
	point := l.RecoveryPoint()
	list := *l.segments.Load()
	for _, s := range list[:len(list)-1] {
		if err := s.syncSealed(); err != nil {
			return err
		}
	}
	if active := list[len(list)-1]; active.base < end {
		if err := active.log.sync(); err != nil {
			return err
		}
	}
	if err := l.epochs.sync(); err != nil {
		return err
	}
	if err := l.syncSnapshots(); err != nil {
		return err
	}
	if l.flush.names.Swap(false) {
		if err := l.fs.SyncDir(l.dir); err != nil {
			l.flush.names.Store(true)
			return err
		}
	}
	if end > point {
		l.flush.point.Store(int64(end))
	}
	l.flush.last.Store(int64(time.Since(l.opened)))
	return nil
}

// flushDue reports whether flush.ms has passed with records waiting to be flushed.
func (l *Log) flushDue() bool {
	ms := l.cfg.Load().FlushMs
	return l.LogEndOffset() > l.RecoveryPoint() && (time.Since(l.opened)-time.Duration(l.flush.last.Load())).Milliseconds() >= ms
}

// flushAfterAppend applies flush.messages.
func (l *Log) flushAfterAppend(end cluster.Offset) error {
	if int64(l.LogEndOffset()-l.RecoveryPoint()) < l.cfg.Load().FlushMessages {
		return nil
	}
	return l.flushTo(end)
}
