package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// BufferSource lends buffers. It has the methods of grpc's mem.BufferPool, so that one can be passed. It must be safe for
// concurrent use.
type BufferSource interface {
	// Get returns a buffer of exactly this length, whose content is arbitrary, or nil: then nothing is read, and the caller knows why.
	Get(length int) *[]byte
	// Put takes a buffer back.
	Put(buf *[]byte)
}

// Fetched is what Read found: whole batches, back to back. The receiver owns Buf and returns it to the source that it came from.
type Fetched struct {
	// Buf is the buffer that Data lies in; nil when there is no data.
	Buf *[]byte
	// Data is the batches. It aliases Buf.
	Data []byte
	// FirstOffset is the base offset of the first batch, which may be below the offset asked for; without data it is the
	// offset asked for.
	FirstOffset cluster.Offset
	// NextOffset is the offset after the last batch; without data it is the offset asked for.
	NextOffset cluster.Offset
	// LogStartOffset and LogEndOffset are the ends of the log when it was read.
	LogStartOffset, LogEndOffset cluster.Offset
}

// Read returns whole batches, beginning with the one that contains from, or the first after it, up to about maxBytes and from
// one segment. Batches that begin at upTo or later are left out: pass the high watermark, the last stable offset or the log
// end offset. If the first batch alone is larger than maxBytes, it is returned when minOneBatch is set, and nothing
// otherwise. Nothing is not an error.
//
// Errors: OFFSET_OUT_OF_RANGE (a *kerr.Error) below the log start or beyond the log end; a *CorruptionError when the segment
// is damaged; a *StorageError when it cannot be read.
//
// Read takes no lock that a writer holds over IO, except during a truncation. It makes one read of the file in the usual
// case that it continues where an earlier one ended.
func (l *Log) Read(from cluster.Offset, maxBytes int, upTo cluster.Offset, minOneBatch bool, buf BufferSource) (Fetched, error) {
	for {
		// A truncation changes files that readers may be looking at. It makes cuts odd before and even after; a reader that
		// saw any of that throws away what it has and looks again.
		cuts := l.cuts.Load()
		if cuts%2 != 0 {
			l.awaitCut()
			continue
		}
		list := *l.segments.Load()
		f, err := l.readOnce(list, cuts, readRequest{log: l, from: from, maxBytes: maxBytes, upTo: upTo, minOne: minOneBatch, buf: buf})
		if l.cuts.Load() == cuts && !(gone(err) && l.moved(list)) {
			return f, l.readError(err)
		}
		if f.Buf != nil {
			buf.Put(f.Buf)
		}
	}
}

// gone reports whether an error may come from a segment that was removed while it was read.
func gone(err error) bool { return errors.Is(err, fs.ErrClosed) || errors.Is(err, fs.ErrNotExist) }

// awaitCut waits for the truncation that is under way.
func (l *Log) awaitCut() {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
}

// moved reports whether the list of segments is not the current one: then a closed file only means that a segment is gone.
func (l *Log) moved(list []*segment) bool {
	return !slices.Equal(*l.segments.Load(), list)
}

// readError gives errors of reading their type. A failed read does not fence the log: what was written is not in doubt.
func (l *Log) readError(err error) error {
	if err == nil {
		return nil // before the variables that the rest puts on the heap
	}
	var coded *kerr.Error
	var corrupt *CorruptionError
	switch {
	case errors.As(err, &corrupt):
		l.reportDamage(corrupt)
		return err
	case errors.As(err, &coded):
		return err
	case errors.Is(err, fs.ErrClosed):
		return &StorageError{Dir: l.dir, Op: "read", Err: errClosed}
	default:
		return &StorageError{Dir: l.dir, Op: "read", Err: err}
	}
}

// readRequest is what Read was asked for.
type readRequest struct {
	log      *Log
	from     cluster.Offset
	maxBytes int
	upTo     cluster.Offset
	minOne   bool
	buf      BufferSource
}

// readOnce is Read without regard to truncations.
func (l *Log) readOnce(list []*segment, cuts uint64, r readRequest) (Fetched, error) {
	end, start := l.LogEndOffset(), l.LogStartOffset()
	f := Fetched{FirstOffset: r.from, NextOffset: r.from, LogStartOffset: start, LogEndOffset: end}
	if r.from < start || r.from > end {
		return f, kerr.OffsetOutOfRange.With(fmt.Sprintf("offset %d of %s is out of range %d to %d", r.from, l.tp, start, end))
	}
	r.upTo = min(r.upTo, end)
	for i := segmentFor(list, r.from); i < len(list) && r.from < r.upTo; i++ {
		seg := list[i]
		pos, ok := l.places.find(seg, r.from, cuts)
		if !ok {
			at, exists, err := seg.locate(r.from)
			if err != nil {
				return f, err
			}
			if !exists {
				continue // the records between from and the next segment were compacted away
			}
			pos = at.pos
		}
		run, err := r.read(seg, pos, &f)
		if run > 0 {
			l.places.note(place{seg: seg, cuts: cuts, offset: f.NextOffset, pos: pos + int64(run)})
		}
		return f, err
	}
	return f, nil
}

// segmentFor returns the index of the segment that covers an offset: the last one whose base is not above it.
func segmentFor(list []*segment, offset cluster.Offset) int {
	lo, hi := 0, len(list)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; list[mid].base <= offset {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// read reads batches from a position of a segment into f and returns how many bytes they have.
func (r readRequest) read(seg *segment, pos int64, f *Fetched) (int, error) {
	want, most := r.maxBytes, r.maxBytes
	if r.minOne {
		want = max(want, record.HeaderSize)
	}
	for {
		n := int(min(int64(want), seg.size.Load()-pos))
		if n < record.HeaderSize {
			return 0, nil
		}
		b := r.buf.Get(n)
		if b == nil {
			return 0, nil
		}
		run, first, err := seg.readRun((*b)[:n], pos, most, r.upTo)
		if err == nil && run.bytes > 0 {
			f.Buf, f.Data, f.FirstOffset, f.NextOffset = b, (*b)[:run.bytes], run.first, run.next
			return run.bytes, nil
		}
		r.buf.Put(b)
		if err == nil && first > 0 && r.log.beyond(run.first) {
			err = &CorruptionError{File: seg.log.path, Position: pos, Reason: fmt.Sprintf("a batch at offset %d, behind the end of the log", run.first)}
		}
		if err != nil || !r.minOne || first <= most {
			return 0, err
		}
		want, most = first, first // once more, for the whole of a first batch that is too large
	}
}

// beyond reports whether an offset that a batch in the log says to have is behind the log's end, where none is. An append that is just being published
// is waited for.
func (l *Log) beyond(o cluster.Offset) bool {
	if o < l.LogEndOffset() {
		return false
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	return o >= l.LogEndOffset()
}

// batchRun is a run of whole batches at the beginning of a buffer.
type batchRun struct {
	bytes       int
	first, next cluster.Offset
}

// readRun fills p from a position and returns the whole batches in it, up to the first that is damaged, and the size of the first one whether it is
// whole or not. The error is a *CorruptionError when the first one is damaged itself.
func (s *segment) readRun(p []byte, pos int64, maxBytes int, upTo cluster.Offset) (run batchRun, first int, err error) {
	if n, err := s.log.ReadAt(p, pos); err != nil && (n < len(p) || !errors.Is(err, io.EOF)) {
		return run, 0, fmt.Errorf("read %d bytes at %d of %s: %w", len(p), pos, s.log.path, err)
	}
	var before batchRun // without the last batch
	for rest := p; len(rest) >= record.HeaderSize; rest = p[run.bytes:] {
		b := record.Batch(rest)
		size := b.Length()
		damaged := func(from batchRun, format string, args ...any) (batchRun, int, error) {
			if from.bytes > 0 {
				return from, first, nil // the next read begins there
			}
			return from, 0, &CorruptionError{File: s.log.path, Position: pos, Reason: fmt.Sprintf(format, args...)}
		}
		switch {
		case size < record.HeaderSize || b.Magic() != record.Magic:
			return damaged(run, "a batch of %d bytes and format %d", size, b.Magic())
		case run.bytes > 0 && cluster.Offset(b.BaseOffset()) < run.next: // one of the two has a wrong offset
			return damaged(before, "the batch has offsets %d..%d, and the next one begins at %d", before.next, run.next-1, b.BaseOffset())
		case run.bytes == 0 && size > len(rest):
			if end := s.size.Load(); pos+int64(size) > end { // what is published is whole batches
				return damaged(run, "a batch of %d bytes, %d before the end of the segment", size, end-pos)
			}
		}
		if first == 0 {
			first, run.first = size, cluster.Offset(b.BaseOffset())
		}
		if cluster.Offset(b.BaseOffset()) >= upTo || size > len(rest) || run.bytes+size > maxBytes {
			return run, first, nil
		}
		if b = b[:size]; !b.CheckCRC() || b.LastOffsetDelta() < 0 {
			return damaged(run, "batch %d fails its checksum", b.BaseOffset())
		}
		before = run
		run.bytes += size
		run.next = cluster.Offset(b.LastOffset()) + 1
	}
	return run, first, nil
}

// placeCache remembers where reads ended, so that the reads that continue there need not ask the index. It is a cache of a
// few slots and may forget anything at any time.
type placeCache struct {
	mu    sync.Mutex // held for a few instructions, never over IO
	slots [8]place
}

// place says that the batch that begins at offset, or the first after it, is at pos of the segment, if there is one. It holds
// only as long as the log's count of truncations is cuts.
type place struct {
	seg    *segment
	cuts   uint64
	offset cluster.Offset
	pos    int64
}

func (c *placeCache) slot(offset cluster.Offset) *place {
	return &c.slots[uint64(offset)*0x9e3779b97f4a7c15>>61]
}

// find returns the position for an offset, if it is remembered.
func (c *placeCache) find(seg *segment, offset cluster.Offset, cuts uint64) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.slot(offset); p.seg == seg && p.offset == offset && p.cuts == cuts {
		// At the end of the segment there may never come anything, and the next segment goes on.
		return p.pos, p.pos < seg.size.Load()
	}
	return 0, false
}

// note remembers a position.
func (c *placeCache) note(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.slot(p.offset) = p
}
