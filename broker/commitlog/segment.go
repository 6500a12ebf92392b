package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Reservation of disk blocks ahead of the end of an active segment, in bytes: as much again as there is already, so that small
// partitions stay small, within these bounds.
const (
	minReserve = 256 << 10
	maxReserve = 64 << 20
)

// segment is a run of batches in a .log file with its two indexes. The last segment of a log is active: one goroutine
// appends to it under the log's append lock. The others are sealed and do not change.
//
// Readers look at size, the indexes and the time point below, all of which are published after the bytes they speak of.
type segment struct {
	fs   vfs.FS
	dir  string
	base cluster.Offset
	log  *handle
	idx  *index // .index
	tidx *index // .timeindex
	txn  *txnIndex

	// size is the number of valid bytes in the .log file. Zeros or garbage of a failed append may follow on disk.
	size atomic.Int64
	// unsynced says that the files may differ from what is on disk because the segment is or was active.
	unsynced atomic.Bool
	// kept says that the files are kept open, see keep.
	kept atomic.Bool

	// Of the appending goroutine.
	reserved   int64     // bytes of the file that have blocks
	sinceIndex int       // bytes appended since the last index entry
	firstTS    int64     // max timestamp of the first batch, for rolling by time
	hasFirst   bool      // firstTS is known
	created    time.Time // for rolling by time when there are no timestamps
	jitterMs   int64     // taken off segment.ms

	peakMu sync.Mutex
	peak   timePoint // the largest timestamp
}

// timePoint is a timestamp and the last offset of the first batch that has it.
type timePoint struct {
	ts     int64
	offset cluster.Offset
}

// newSegment names a segment's files without touching them.
func newSegment(fsys vfs.FS, idle *idleFiles, dir string, base cluster.Offset) *segment {
	opening, writing := newTurn(), newTurn()
	file := func(suffix string) *handle {
		return newHandle(fsys, idle, filepath.Join(dir, segmentName(base, suffix)), opening)
	}
	return &segment{
		fs:   fsys,
		dir:  dir,
		base: base,
		log:  file(logSuffix),
		idx:  newIndex(file(indexSuffix), writing, base, offsetEntrySize),
		tidx: newIndex(file(timeIndexSuffix), writing, base, timeEntrySize),
		txn:  newTxnIndex(file(txnIndexSuffix), base),
		peak: timePoint{ts: record.NoTimestamp, offset: base},
	}
}

// createSegment makes the files of an empty active segment. An empty file of that name is replaced. The names are durable
// after SyncDir.
func createSegment(fsys vfs.FS, idle *idleFiles, dir string, base cluster.Offset, cfg *Config, now time.Time) (*segment, error) {
	s := newSegment(fsys, idle, dir, base)
	s.keep()
	if fi, err := fsys.Stat(s.log.path); err == nil {
		if fi.Size() > 0 {
			return nil, fmt.Errorf("create segment %s: %w with %d bytes", s.log.path, fs.ErrExist, fi.Size())
		}
		if err := s.removeFiles(); err != nil {
			return nil, err
		}
	}
	f, err := s.log.open(os.O_RDWR | os.O_CREATE | os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := s.startIndexes(cfg); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if cfg.Preallocate {
		n := cfg.segmentBytes()
		err := f.Preallocate(n)
		if err == nil {
			err = f.Truncate(n)
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.reserved = n
	}
	s.begin(cfg, now)
	s.unsynced.Store(true)
	if err := s.restIndexes(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// begin sets what an active segment needs to know for rolling by time.
func (s *segment) begin(cfg *Config, now time.Time) {
	s.created = now
	if most := min(cfg.SegmentJitterMs, cfg.SegmentMs); most > 0 {
		s.jitterMs = rand.Int64N(most)
	}
}

// maxTime returns the largest timestamp and where it is.
func (s *segment) maxTime() timePoint {
	s.peakMu.Lock()
	defer s.peakMu.Unlock()
	return s.peak
}

func (s *segment) setMaxTime(p timePoint) {
	s.peakMu.Lock()
	defer s.peakMu.Unlock()
	s.peak = p
}

// rollFacts is what shouldRoll must know about a batch.
type rollFacts struct {
	size         int   // bytes
	pending      int64 // bytes that go into the segment before it
	first        bool  // nothing is in the segment, nor pending
	maxTimestamp int64
	lastOffset   cluster.Offset
}

// shouldRoll reports whether a batch must go into a new segment (F§4.7, Kafka class LogSegment).
func (s *segment) shouldRoll(f rollFacts, cfg *Config, now time.Time) bool {
	size := s.size.Load() + f.pending
	if size > 0 && size > cfg.segmentBytes()-int64(f.size) {
		return true
	}
	if f.lastOffset-s.base > math.MaxInt32 {
		return true
	}
	if f.first {
		return false
	}
	if s.waited(f.maxTimestamp, now) > cfg.segmentMs()-s.jitterMs {
		return true
	}
	return s.idx.count >= s.idx.max || s.tidx.count >= s.tidx.max-1
}

// waited returns how many milliseconds the segment has been open, by the clock of the records if they have one.
func (s *segment) waited(ts int64, now time.Time) int64 {
	if s.hasFirst && s.firstTS >= 0 {
		return ts - s.firstTS
	}
	return now.Sub(s.created).Milliseconds()
}

// write stores whole batches at the end of the segment, with one write, and returns where. They are not readable before
// index has been called for each and publish at the end. An error that is errNoSpace has written nothing.
func (s *segment) write(p []byte, limit int64) (pos int64, err error) {
	f, err := s.log.get()
	if err != nil {
		return 0, err
	}
	pos = s.size.Load()
	if err := s.reserve(f, pos+int64(len(p)), limit); err != nil {
		return 0, err
	}
	n, err := f.WriteAt(p, pos)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return 0, fmt.Errorf("write %d bytes at %d of %s: %w", len(p), pos, s.log.path, err)
	}
	return pos, nil
}

// reserve makes sure that the first n bytes of the file have blocks, and reserves more on the way, up to limit.
func (s *segment) reserve(f vfs.File, n, limit int64) error {
	if n <= s.reserved {
		return nil
	}
	ahead := min(max(n, minReserve), maxReserve)
	want := max(n, min(n+ahead, limit))
	err := f.Preallocate(want)
	if errors.Is(err, syscall.ENOSPC) && want > n {
		want = n
		err = f.Preallocate(want)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return errNoSpace
	}
	if err != nil {
		return fmt.Errorf("reserve %d bytes of %s: %w", want, s.log.path, err)
	}
	s.reserved = want
	return nil
}

// index enters a batch that was written at pos into the indexes, in the order of Kafka: the entry is for this batch and only
// when more than index.interval.bytes were appended before it since the last one (F§4.5).
func (s *segment) index(b record.Batch, pos int64, interval int) error {
	return s.indexSized(b, len(b), pos, interval)
}

// indexSized is index for a batch of which only the header may be there.
func (s *segment) indexSized(b record.Batch, size int, pos int64, interval int) error {
	last, ts := cluster.Offset(b.LastOffset()), timeOf(b)
	if !s.hasFirst {
		s.hasFirst, s.firstTS = true, ts
	}
	if p := s.maxTime(); ts > p.ts {
		s.setMaxTime(timePoint{ts: ts, offset: last})
	}
	if s.sinceIndex > interval {
		if s.idx.count < s.idx.max {
			if err := s.idx.append(indexEntry{key: int64(last), val: pos}); err != nil {
				return err
			}
		}
		if s.tidx.count < s.tidx.max-1 {
			if err := s.indexTime(); err != nil {
				return err
			}
		}
		s.sinceIndex = 0
	}
	s.sinceIndex += size
	return nil
}

// timeOf returns the largest timestamp of a batch. One that compaction has emptied still says what it once was, which is nobody's any more.
func timeOf(b record.Batch) int64 {
	if b.Count() == 0 {
		return record.NoTimestamp
	}
	return b.MaxTimestamp()
}

// indexTime enters the largest timestamp into the time index if it is not there yet. One slot is kept for the roll.
func (s *segment) indexTime() error {
	p := s.maxTime()
	if p.ts < 0 || s.tidx.count > 0 && p.ts <= s.tidx.last.key {
		return nil
	}
	return s.tidx.append(indexEntry{key: p.ts, val: int64(p.offset)})
}

// publish makes n more bytes readable.
func (s *segment) publish(n int) { s.size.Add(int64(n)) }

// seal closes the segment for appending: last time index entry, files trimmed to what is valid. It does not sync.
func (s *segment) seal() error {
	if err := s.sealIndexes(); err != nil {
		return err
	}
	f, err := s.log.get()
	if err != nil {
		return err
	}
	s.reserved = 0
	return f.Truncate(s.size.Load())
}

// syncSealed makes a sealed segment durable, once after it was last active. After that its files need not be open.
func (s *segment) syncSealed() error {
	if !s.unsynced.Load() {
		return nil
	}
	s.keep()
	for _, h := range [...]*handle{s.log, s.idx.handle, s.tidx.handle} {
		if err := h.sync(); err != nil {
			return err
		}
	}
	if err := s.txn.syncIfExists(); err != nil {
		return err
	}
	s.unsynced.Store(false)
	s.free()
	return nil
}

// keep keeps the files open, once they are, because they are being written or are not yet on disk.
func (s *segment) keep() {
	if !s.kept.Swap(true) {
		s.log.keep()
		s.txn.keep()
	}
	s.idx.hold()
	s.tidx.hold()
}

// free ends what keep began: from now on the files are closed when there are too many.
func (s *segment) free() {
	if s.kept.Swap(false) {
		s.log.free()
		s.txn.free()
	}
	s.idx.rest()
	s.tidx.rest()
}

// restIndexes closes the index files of a segment that is appended to, until there is something to write to them: a broker may have thousands of
// partitions that nobody writes much to. Nothing in them may be waiting for a sync.
func (s *segment) restIndexes() error {
	for _, x := range [...]*index{s.idx, s.tidx} {
		x.rest()
		if err := x.release(); err != nil {
			return err
		}
	}
	return nil
}

// handles are the files of a segment, the .log file last.
func (s *segment) handles() [4]*handle {
	return [...]*handle{s.idx.handle, s.tidx.handle, s.txn.handle, s.log}
}

// release closes the descriptors; they are opened again when needed.
func (s *segment) release() error {
	return errors.Join(s.log.release(), s.idx.release(), s.tidx.release(), s.txn.release())
}

// close closes the files for good, without writing anything.
func (s *segment) close() error {
	return errors.Join(s.log.close(), s.idx.close(), s.tidx.close(), s.txn.close())
}

// removeFiles removes the segment's files and whatever belongs to it. The removal is durable after SyncDir. The .log file goes
// last: what remains after a power cut is a segment whose indexes are built again, not indexes without a segment.
func (s *segment) removeFiles() error {
	for _, suffix := range [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix, logSuffix} {
		if err := removeFile(s.fs, filepath.Join(s.dir, segmentName(s.base, suffix))); err != nil {
			return err
		}
	}
	return nil
}

// remove closes the segment and removes its files.
func (s *segment) remove() error {
	if err := s.close(); err != nil {
		return err
	}
	return s.removeFiles()
}

// header reads the header of the batch at pos. The result aliases buf. The error is a *CorruptionError when there is none.
func (s *segment) header(buf []byte, pos int64) (record.Batch, error) {
	size := s.size.Load()
	corrupt := func(format string, args ...any) error {
		return &CorruptionError{File: s.log.path, Position: pos, Reason: fmt.Sprintf(format, args...)}
	}
	if pos < 0 || pos > size-record.HeaderSize {
		return nil, corrupt("a batch header of %d bytes in a segment of %d", record.HeaderSize, size)
	}
	if _, err := s.log.ReadAt(buf[:record.HeaderSize], pos); err != nil {
		return nil, fmt.Errorf("read a batch header at %d of %s: %w", pos, s.log.path, err)
	}
	b := record.Batch(buf[:record.HeaderSize])
	if n := int64(b.Length()); n < record.HeaderSize || pos+n > size || b.Magic() != record.Magic {
		return nil, corrupt("a batch of %d bytes and format %d in a segment of %d bytes", n, b.Magic(), size)
	}
	return b, nil
}

// hint returns a position from which to look for an offset. The index is believed only if the batch that it points to ends
// with the offset that it says; otherwise the search starts at the segment's beginning.
func (s *segment) hint(target cluster.Offset, buf []byte) (int64, error) {
	e, ok, err := s.idx.lookup(int64(target))
	if err != nil || !ok {
		return 0, err
	}
	b, err := s.header(buf, e.val)
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) || err == nil && b.LastOffset() != e.key {
		return 0, nil
	}
	return e.val, err
}

// found is the place of a batch.
type found struct {
	pos         int64
	size        int
	base, last  cluster.Offset
	maxTS       int64
	leaderEpoch cluster.LeaderEpoch
}

// locate returns the first batch whose last offset is at least target. ok is false when the segment ends before.
func (s *segment) locate(target cluster.Offset) (at found, ok bool, err error) {
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	pos, err := s.hint(target, buf[:])
	if err != nil {
		return at, false, err
	}
	return s.scan(pos, buf[:], func(f found) bool { return f.last >= target })
}

// scan walks batch headers from pos and stops at the first batch that match accepts.
func (s *segment) scan(pos int64, buf []byte, match func(found) bool) (at found, ok bool, err error) {
	for size := s.size.Load(); pos < size; {
		b, err := s.header(buf, pos)
		if err != nil {
			return at, false, err
		}
		at = found{
			pos: pos, size: b.Length(), base: cluster.Offset(b.BaseOffset()), last: cluster.Offset(b.LastOffset()),
			maxTS: timeOf(b), leaderEpoch: cluster.LeaderEpoch(b.PartitionLeaderEpoch()),
		}
		if match(at) {
			return at, true, nil
		}
		pos += int64(at.size)
	}
	return found{}, false, nil
}
