package commitlog

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Roll closes the active segment and begins a new one at the log end offset. An empty active segment stays.
func (l *Log) Roll() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("roll"); err != nil {
		return err
	}
	if l.active().size.Load() == 0 {
		return nil
	}
	return l.rollLocked(l.LogEndOffset(), l.cfg.Load(), l.now())
}

// rollFor begins the segment that a batch needs. Its base is the log end offset, so that bases follow each other without
// gaps and recovery can tell that a segment has lost its tail. Only when the batch is farther away than an index can
// express, the base is the batch's first offset.
func (l *Log) rollFor(b record.Batch, cfg *Config, now time.Time) error {
	base := l.LogEndOffset()
	if b.LastOffset()-int64(base) > math.MaxInt32 {
		base = cluster.Offset(b.BaseOffset())
		if err := l.bridge(base); err != nil {
			return err
		}
	}
	return l.rollLocked(base, cfg, now)
}

// bridge makes a gap before a new segment legitimate: everything before it is on disk, and the recovery point on disk
// lies behind it.
func (l *Log) bridge(base cluster.Offset) error {
	l.flush.take()
	defer l.flush.end()
	if err := l.syncAll(); err != nil {
		return l.fail("roll", err)
	}
	l.flush.point.Store(int64(base))
	if err := l.hooks.checkpoint(l); err != nil {
		return l.fail("roll", err)
	}
	return nil
}

// rollLocked puts a new active segment behind the others. The new files are created first: being out of descriptors then
// changes nothing. An active segment that is empty gives way.
func (l *Log) rollLocked(base cluster.Offset, cfg *Config, now time.Time) error {
	list := *l.segments.Load()
	old := list[len(list)-1]
	if old.size.Load() == 0 {
		if old.base == base {
			if err := old.startIndexes(cfg); err != nil {
				return l.fail("roll", err)
			}
			return nil
		}
		return l.replaceEmpty(base, cfg, now)
	}
	if err := l.takeSnapshot(base); err != nil {
		return l.fail("roll", err)
	}
	fresh, err := createSegment(l.fs, l.idle, l.dir, base, cfg, now)
	if err != nil {
		return l.fail("roll", err)
	}
	if err := old.seal(); err != nil {
		return l.failHard("roll", errors.Join(err, fresh.close()))
	}
	l.flush.names.Store(true)
	l.setSegments(append(slices.Clone(list), fresh))
	l.hooks.rolled(l)
	return nil
}

// replaceEmpty moves an empty active segment to another base.
func (l *Log) replaceEmpty(base cluster.Offset, cfg *Config, now time.Time) error {
	list := *l.segments.Load()
	old := list[len(list)-1]
	if err := l.takeSnapshot(base); err != nil {
		return l.fail("roll", err)
	}
	fresh, err := createSegment(l.fs, l.idle, l.dir, base, cfg, now)
	if err != nil {
		return l.fail("roll", err)
	}
	l.flush.names.Store(true)
	l.setSegments(append(slices.Clone(list[:len(list)-1]), fresh))
	if err := old.remove(); err != nil {
		return l.failHard("roll", err)
	}
	return nil
}

func (l *Log) setSegments(list []*segment) { l.segments.Store(&list) }
