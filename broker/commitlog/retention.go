package commitlog

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Retention removes whole segments from the beginning of a log (F§4.10). What a power cut may leave decides its order:
//
//  1. the log start offset moves up, in memory;
//  2. log-start-offset-checkpoint says so, on disk, for all logs of the directory at once;
//  3. the segments before it leave the list that readers look at, and their files are renamed to .deleted;
//  4. after file.delete.delay.ms the files are removed.
//
// Whichever of the renames a power cut takes back, the loader drops segments that end at or before the log start offset of
// the checkpoint, so that a segment that came back alone is never taken for the beginning of the log.

// retentionDelay is how long after its start a broker looks for segments to delete for the first time, as Kafka does
// (InitialTaskDelayMs).
const retentionDelay = 30 * time.Second

// agedSegment is what retention must know of a segment.
type agedSegment struct {
	next cluster.Offset // the base of the segment after it; the log end offset for the active one
	size int64
	time int64 // its largest timestamp, or its file's time if its records have none, in milliseconds
	last bool  // it is the active one
}

// agedLog is what retention must know of a log.
type agedLog struct {
	size          int64
	start         cluster.Offset
	highWatermark cluster.Offset
}

// deletable returns how many of a log's segments, from the oldest on, may be deleted. Segments are asked for one by one
// until the first that is kept. Rules are applied one after another: by time, by size, by log start offset; each goes on
// where the one before stopped, and only the last counts for logs whose policy does not contain delete. A segment that ends
// beyond the high watermark is kept in any case, and so is an active one that is empty.
func deletable(l agedLog, cfg *Config, now int64, segment func(i int) (agedSegment, bool, error)) (n int, err error) {
	excess := l.size - cfg.RetentionBytes
	rules := []func(s *agedSegment) bool{
		func(s *agedSegment) bool { return cfg.RetentionMs >= 0 && now-s.time > cfg.RetentionMs },
		func(s *agedSegment) bool { return cfg.RetentionBytes >= 0 && excess-s.size >= 0 },
		func(s *agedSegment) bool { return !s.last && s.next <= l.start },
	}
	if !cfg.Deletes() {
		rules = rules[2:]
	}
	for {
		s, ok, err := segment(n)
		if err != nil || !ok {
			return n, err
		}
		if s.next > l.highWatermark || s.last && s.size == 0 {
			return n, nil
		}
		for len(rules) > 0 && !rules[0](&s) {
			rules = rules[1:]
		}
		if len(rules) == 0 {
			return n, nil
		}
		excess -= s.size
		n++
	}
}

// aged describes segment i of a list.
func (l *Log) aged(list []*segment, i int) (s agedSegment, ok bool, err error) {
	if i >= len(list) {
		return s, false, nil
	}
	seg := list[i]
	s = agedSegment{next: l.LogEndOffset(), size: seg.size.Load(), last: i == len(list)-1, time: seg.confirmedTime().ts}
	if !s.last {
		s.next = list[i+1].base
	}
	if s.time < 0 {
		s.time, err = seg.modified()
	}
	return s, true, err
}

// confirmedTime returns the largest timestamp. It may be from the time index on disk, which can be damaged: if the batch that it names does not have it, all
// batches are asked. A segment that cannot be read is as old as the index says.
func (s *segment) confirmedTime() timePoint {
	p := s.maxTime()
	if p.ts < 0 {
		return p
	}
	if at, ok, err := s.locate(p.offset); err != nil || ok && at.maxTS == p.ts {
		return p
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	peak := timePoint{ts: record.NoTimestamp, offset: s.base}
	_, _, err := s.scan(0, buf[:], func(f found) bool {
		if f.maxTS > peak.ts {
			peak = timePoint{ts: f.maxTS, offset: f.last}
		}
		return false
	})
	if err != nil {
		return p
	}
	s.peakMu.Lock()
	defer s.peakMu.Unlock()
	if s.peak == p {
		s.peak = peak
	}
	return s.peak
}

// modified returns when the .log file was written last, in milliseconds.
func (s *segment) modified() (int64, error) {
	t, err := s.log.ModTime()
	return t.UnixMilli(), err
}

// expire moves the log start offset to the first segment that retention keeps, and reports whether there are segments to
// remove now. expiry is the time that records grow old by. The active segment is closed first when it is to go, too.
func (l *Log) expire(highWatermark cluster.Offset, expiry time.Time) (bool, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("apply retention"); err != nil {
		return false, err
	}
	cfg, list := l.cfg.Load(), *l.segments.Load()
	facts := agedLog{size: l.Size(), start: l.LogStartOffset(), highWatermark: highWatermark}
	n, err := deletable(facts, cfg, expiry.UnixMilli(), func(i int) (agedSegment, bool, error) { return l.aged(list, i) })
	if err != nil || n == 0 {
		return false, l.readError(err)
	}
	if n == len(list) {
		if err := l.rollLocked(l.LogEndOffset(), cfg, l.now()); err != nil {
			return false, err
		}
		list = *l.segments.Load()
	}
	l.start.Store(max(l.start.Load(), int64(list[n].base)))
	return true, nil
}

// dropExpired removes the segments that end at or before start, the log start offset that is on disk; the one in memory may be
// ahead of it. It returns how many they are and what they hold, in bytes.
func (l *Log) dropExpired(start cluster.Offset) (segments int, bytes int64, err error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("apply retention"); err != nil {
		return 0, 0, err
	}
	list := *l.segments.Load()
	for segments+1 < len(list) && list[segments+1].base <= start {
		bytes += list[segments].size.Load()
		segments++
	}
	if segments == 0 {
		return 0, 0, nil
	}
	if err := l.epochs.replace(epoch.From(l.epochs.list(), start)); err != nil {
		return 0, 0, l.fail("apply retention", err)
	}
	gone := list[:segments:segments]
	done := l.settle(gone)
	defer done()
	l.setSegments(slices.Clone(list[segments:]))
	names, err := l.markDeleted(gone, gone, list[segments])
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	l.hooks.discard(l, gone, names)
	if err != nil {
		return 0, 0, l.failHard("apply retention", err)
	}
	return segments, bytes, nil
}

// settle keeps flushes away from segments that are about to lose their names, if they have anything to flush.
func (l *Log) settle(segs []*segment) (done func()) {
	if !slices.ContainsFunc(segs, func(s *segment) bool { return s.unsynced.Load() }) {
		return func() {}
	}
	l.flush.take()
	for _, s := range segs {
		s.unsynced.Store(false)
		s.free()
	}
	return l.flush.end
}

// markDeleted renames the files of segments to .deleted and returns the new names. The snapshots of what producers had done before
// other segments go with them, if there is one of the segment after them.
func (l *Log) markDeleted(segs, snapshots []*segment, after *segment) (names []string, err error) {
	rename := func(s *segment, suffix string, h *handle) error {
		path := filepath.Join(l.dir, segmentName(s.base, suffix))
		err := l.fs.Rename(path, path+deletedSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		names = append(names, path+deletedSuffix)
		if err == nil && h != nil {
			h.moved(path + deletedSuffix) // for readers who came before
		}
		return err
	}
	for _, s := range segs {
		err := errors.Join(rename(s, logSuffix, s.log), rename(s, indexSuffix, s.idx.handle),
			rename(s, timeIndexSuffix, s.tidx.handle), rename(s, txnIndexSuffix, s.txn.handle))
		if err != nil {
			return names, err
		}
	}
	_, err = l.fs.Stat(filepath.Join(l.dir, segmentName(after.base, snapshotSuffix)))
	if errors.Is(err, fs.ErrNotExist) {
		return names, nil
	}
	for _, s := range snapshots {
		if err == nil {
			err = rename(s, snapshotSuffix, nil)
		}
	}
	return names, err
}

// trash holds segments that have left their logs. Their files have new names, and stay open for readers who came before.
type trash struct {
	mu    sync.Mutex // guards items; never held over IO
	items []discarded
}

// discarded is what was removed from a log at one time.
type discarded struct {
	log      *Log
	segments []*segment
	files    []string
	at       time.Time // when to remove the files
}

func (t *trash) add(d discarded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items = append(t.items, d)
}

// take removes and returns the items that match.
func (t *trash) take(match func(*discarded) bool) (taken []discarded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items = slices.DeleteFunc(t.items, func(d discarded) bool {
		if match(&d) {
			taken = append(taken, d)
			return true
		}
		return false
	})
	return taken
}

// close closes the files.
func (d *discarded) close() error {
	var errs []error
	for _, s := range d.segments {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// discard takes over segments that have left a log, until file.delete.delay.ms has passed.
func (d *logDir) discard(l *Log, segs []*segment, files []string) {
	delay := time.Duration(min(l.cfg.Load().FileDeleteDelayMs, maxDeleteDelayMs)) * time.Millisecond
	d.trash.add(discarded{log: l, segments: segs, files: files, at: time.Now().Add(delay)})
}

// emptyTrash removes the files whose time has come.
func (d *logDir) emptyTrash(now time.Time) {
	for _, item := range d.trash.take(func(t *discarded) bool { return !t.at.After(now) }) {
		err := item.close()
		for _, name := range item.files {
			err = errors.Join(err, removeFile(d.fs, name))
		}
		if err != nil && d.online() == nil {
			_ = d.fail("remove deleted segments", err)
		}
	}
}

// dropTrash closes the files of a log's removed segments, or of all logs', and leaves them where they are.
func (d *logDir) dropTrash(l *Log) error {
	var errs []error
	for _, item := range d.trash.take(func(t *discarded) bool { return l == nil || t.log == l }) {
		errs = append(errs, item.close())
	}
	return errors.Join(errs...)
}

// retain applies retention to the logs of a directory that match, at a time of [ManagerConfig.Expiry].
func (m *Manager) retain(d *logDir, expiry time.Time, match func(*Config) bool) {
	var due []*Log
	for _, l := range d.list() {
		if !match(l.cfg.Load()) {
			continue
		}
		found, err := l.expire(m.cfg.HighWatermark(l.tp), expiry)
		if err != nil && d.online() == nil && l.Err() == nil {
			d.log.Warn("retention put off", "partition", l.tp.String(), "error", err)
		}
		if found {
			due = append(due, l)
		}
	}
	if len(due) == 0 || d.online() != nil {
		return
	}
	if err := d.writeLogStarts(); err != nil {
		_ = d.fail("write log start offsets", err)
		return
	}
	for _, l := range due {
		start, _ := d.mark(logStartFile, l.tp)
		segments, bytes, err := l.dropExpired(start)
		if err != nil {
			if d.online() == nil && l.Err() == nil {
				d.log.Warn("retention put off", "partition", l.tp.String(), "error", err)
			}
			continue
		}
		m.stats.deleted(segments, bytes)
		d.log.Info("deleted old segments", "partition", l.tp.String(), "segments", segments, "bytes", bytes, "log-start-offset", int64(l.LogStartOffset()))
	}
}
