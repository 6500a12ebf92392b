package commitlog

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// A truncation first lowers the recovery point on disk, then removes segments from the last one down, then cuts the segment
// that contains the offset, and syncs each step. A power cut in between leaves a log that is too long, or that has a hole
// above the recovery point, where recovery ends it.

// Truncate removes all records from offset to on (F§4.9). The log ends at to afterwards, or at the beginning of the batch
// that contains to, because batches are not split: look at LogEndOffset. Truncating at or beyond the end removes nothing but
// leader epochs that begin there. A log of which nothing is left has no epochs, even if records of them were deleted before its start: a follower
// that named one would be told for ever where it ends. It is durable when it returns; an error fences the log.
func (l *Log) Truncate(to cluster.Offset) error {
	if to < 0 {
		return fmt.Errorf("truncate %s to %d: offsets begin at 0", l.tp, to)
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("truncate"); err != nil {
		return err
	}
	if leo := l.LogEndOffset(); to >= leo {
		if err := l.epochs.replace(epoch.Before(l.epochs.live(l.LogStartOffset()), leo)); err != nil {
			return l.fail("truncate", err)
		}
		return nil
	}
	if (*l.segments.Load())[0].base > to {
		return l.restartAtLocked(to)
	}
	// The batch that contains the offset goes as a whole, and before it there may be a gap: only the base of the segment is
	// certainly not beyond the new end.
	list := *l.segments.Load()
	keep := segmentFor(list, to) + 1
	return l.cutting(list[keep-1].base, func(synced bool) error { return l.truncateLocked(to, list, keep, synced) })
}

// TruncateFullyAndStartAt removes everything and makes the log begin, empty, at an offset: when a follower's log lies wholly
// outside its leader's (F§4.9). It is durable when it returns; an error fences the log.
func (l *Log) TruncateFullyAndStartAt(offset cluster.Offset) error {
	if offset < 0 {
		return fmt.Errorf("truncate %s and start at %d: offsets begin at 0", l.tp, offset)
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("truncate"); err != nil {
		return err
	}
	return l.restartAtLocked(offset)
}

func (l *Log) restartAtLocked(offset cluster.Offset) error {
	// Whichever of the old segments a power cut brings back, none of them may count as known to be good.
	lowest := min(offset, (*l.segments.Load())[0].base)
	return l.cutting(lowest, func(bool) error { return l.startAtLocked(offset) })
}

// cutting runs a change that readers must not see half of, with the recovery point on disk at most point. It tells the change
// whether everything below point is on disk.
func (l *Log) cutting(point cluster.Offset, change func(synced bool) error) error {
	l.flush.take()
	defer l.flush.end()
	synced := l.RecoveryPoint() >= point
	if l.RecoveryPoint() > point {
		l.flush.point.Store(int64(point))
		if err := l.hooks.checkpoint(l); err != nil {
			return l.fail("truncate", err)
		}
	}
	if err := l.hooks.cleanedLowered(l, point); err != nil {
		return l.fail("truncate", err)
	}
	l.cuts.Add(1)
	defer l.cuts.Add(1)
	if err := change(synced); err != nil {
		return l.failHard("truncate", err)
	}
	return nil
}

// truncateLocked removes what is at or after an offset that lies within the last of the segments to keep.
func (l *Log) truncateLocked(to cluster.Offset, list []*segment, keep int, synced bool) error {
	for i := len(list) - 1; i >= keep; i-- {
		if err := list[i].remove(); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	l.flush.names.Store(false)
	last := list[keep-1]
	end, err := last.truncate(to, l.cfg.Load())
	if err != nil {
		return err
	}
	if end < 0 { // the segment is empty now
		end = last.base
	}
	last.begin(l.cfg.Load(), l.now())
	if err := l.truncateProducers(list[:keep], end); err != nil {
		return err
	}
	if err := l.epochs.replace(epoch.Before(l.epochs.live(l.LogStartOffset()), end)); err != nil {
		return err
	}
	l.setSegments(slices.Clone(list[:keep]))
	l.leo.Store(int64(end))
	if err := l.lowerStart(end); err != nil {
		return err
	}
	if synced { // and what is left of the last segment was synced just now
		// The recovery point says of the segments before that their indexes are on disk too.
		for _, s := range list[:keep-1] {
			if err := s.syncSealed(); err != nil {
				return err
			}
		}
		l.flush.point.Store(int64(end))
	}
	return nil
}

// truncateProducers makes what is remembered of producers that of a log that ends at end, within the last of its segments. No
// snapshot of what is gone is left on disk when it returns.
func (l *Log) truncateProducers(segments []*segment, end cluster.Offset) error {
	if err := segments[len(segments)-1].txn.truncate(end); err != nil {
		return err
	}
	snapshots, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	kept, err := l.keepSnapshots(snapshots, func(at cluster.Offset) bool { return at <= end })
	if err != nil {
		return err
	}
	if len(kept) < len(snapshots) {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	return l.reloadProducers(segments, kept, end)
}

// lowerStart moves the log start offset down to the end of what is left, on disk too: a log that ended below the start in the
// checkpoint would be emptied by the next recovery, with all that is appended from now on.
func (l *Log) lowerStart(end cluster.Offset) error {
	l.start.Store(min(l.start.Load(), int64(end)))
	return l.hooks.startLowered(l)
}

// startAtLocked replaces all segments by an empty one.
func (l *Log) startAtLocked(offset cluster.Offset) error {
	snapshots, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	if _, err := l.keepSnapshots(snapshots, func(cluster.Offset) bool { return false }); err != nil {
		return err
	}
	list := *l.segments.Load()
	for _, s := range slices.Backward(list) {
		if err := s.remove(); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if err := l.epochs.replace(nil); err != nil {
		return err
	}
	fresh, err := createSegment(l.fs, l.idle, l.dir, offset, l.cfg.Load(), l.now())
	if err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	l.flush.names.Store(false)
	l.producers.replace(&producers.State{})
	l.setSegments([]*segment{fresh})
	if err := l.lowerStart(offset); err != nil {
		return err
	}
	l.start.Store(int64(offset))
	l.flush.point.Store(int64(offset))
	l.leo.Store(int64(offset))
	return nil
}

// truncate removes the batch that contains an offset and everything after it, makes the rest durable, and makes the segment
// active. It returns the offset after the last batch that remains; -1 when none does.
func (s *segment) truncate(to cluster.Offset, cfg *Config) (end cluster.Offset, err error) {
	s.keep()
	size := s.size.Load()
	if at, ok, err := s.locate(to); err != nil {
		return 0, err
	} else if ok {
		size = at.pos
	}
	offsets, err := s.idx.all()
	if err != nil {
		return 0, err
	}
	times, err := s.tidx.all()
	if err != nil {
		return 0, err
	}
	f, err := s.log.get()
	if err != nil {
		return 0, err
	}
	if err := f.Truncate(size); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	s.size.Store(size)
	s.reserved, s.sinceIndex = 0, 0
	s.unsynced.Store(true)
	// An entry of either index belongs to a batch that is still there if its offset is below to and the batch's start is
	// below size.
	offsets = slices.DeleteFunc(offsets, func(e indexEntry) bool { return e.key >= int64(to) || e.val >= size })
	times = slices.DeleteFunc(times, func(e indexEntry) bool { return e.val >= int64(to) })
	if err := s.idx.reset(offsets, cfg.SegmentIndexBytes); err != nil {
		return 0, err
	}
	if err := s.tidx.reset(times, cfg.SegmentIndexBytes); err != nil {
		return 0, err
	}
	return s.learnTail(size == 0)
}

// learnTail finds the end offset and the largest timestamp of a segment whose indexes are right, by reading the headers
// after the last entries. It returns -1 for an empty segment.
func (s *segment) learnTail(empty bool) (end cluster.Offset, err error) {
	s.hasFirst = false
	s.setMaxTime(timePoint{ts: record.NoTimestamp, offset: s.base})
	if empty {
		return cluster.UnknownOffset, nil
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	first, err := s.header(buf[:], 0)
	if err != nil {
		return 0, err
	}
	s.hasFirst, s.firstTS = true, first.MaxTimestamp()
	peak := timePoint{ts: record.NoTimestamp, offset: s.base}
	var from int64
	if s.tidx.count > 0 {
		peak = timePoint{ts: s.tidx.last.key, offset: cluster.Offset(s.tidx.last.val)}
		if from, err = s.hint(peak.offset, buf[:]); err != nil {
			return 0, err
		}
	}
	_, _, err = s.scan(from, buf[:], func(f found) bool {
		if f.maxTS > peak.ts {
			peak = timePoint{ts: f.maxTS, offset: f.last}
		}
		end = f.last + 1
		return false
	})
	if err != nil {
		return 0, err
	}
	s.setMaxTime(peak)
	return end, nil
}
