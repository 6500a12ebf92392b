package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ottla/ottla/broker/commitlog/compact"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// errInterrupted ends a round because something else came first: the log was truncated, deleted or closed, or its first segments
// were. Another round begins anew.
var errInterrupted = errors.New("interrupted")

// errTooManyKeys says that not even one batch fits into the memory for keys.
var errTooManyKeys = errors.New("log.cleaner.dedupe.buffer.size is too small")

// errOutputTooLarge says that batches became larger when they were compressed again, and a segment with them larger than can be.
var errOutputTooLarge = errors.New("the compacted segment would be too large")

// cleaner is a thread's memory. It belongs to one goroutine.
type cleaner struct {
	m     *Manager
	table compact.OffsetMap
	dec   *record.Decompressor // nil: the usual limits

	read  []byte // of the file at hand
	plain []byte // the batch at hand, decompressed
	kept  []byte // what stays of it
	again []byte // and compressed again
	out   []byte // batches that wait to be written
	io    int    // how much is read or written at a time, in bytes
}

// rest gives memory back that is not needed while there is nothing to do.
func (c *cleaner) rest() { *c = cleaner{m: c.m} }

// ioBytes is how much a thread reads or writes at a time.
func (c *cleaner) ioBytes() int {
	cfg := c.m.clean.config()
	return max(cfg.IOBufferBytes/max(cfg.Threads, 1)/2, minIOBuffer)
}

// round is one compaction of one log.
type round struct {
	c      *cleaner
	ctx    context.Context
	l      *Log
	cfg    *Config
	filter *compact.Filter

	end                         cluster.Offset // everything before is clean afterwards
	keys, keyless               int
	bytesRead                   int64
	bytesBefore, bytesAfter     int64
	recordsBefore, recordsAfter int64
	utilization                 float64
	took                        time.Duration
}

// clean compacts a log: it reads the dirty part into the offset map, as far as that has room, and then rewrites everything before,
// group by group. The error is errInterrupted, a *record.CorruptError or *CorruptionError, errTooManyKeys, or that of a disk; after one that is a
// *StorageError the log may be fenced.
func (c *cleaner) clean(ctx context.Context, j *judged, expiry time.Time) (round, error) {
	cfg := j.log.cfg.Load()
	c.io = c.ioBytes()
	r := round{c: c, ctx: ctx, l: j.log, cfg: cfg, end: j.work.FirstDirty}
	err := r.run(j, expiry)
	if err != nil && (j.log.cuts.Load() != j.cuts || j.log.Err() != nil || ctx.Err() != nil || gone(err) && j.log.moved(j.list)) {
		err = fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return r, err
}

func (r *round) run(j *judged, expiry time.Time) error {
	if j.work.Reset {
		j.dir.log.Warn("cleaner offset is beyond the log end offset; the whole log counts as not cleaned", "partition", r.l.tp.String(), "cleaned", int64(j.facts.Cleaned), "log-end-offset", int64(j.facts.End))
	}
	if err := r.index(j); err != nil {
		return fmt.Errorf("read the keys of %s: %w", r.l.tp, err)
	}
	n := 0 // segments to rewrite
	for n < len(j.list)-1 && j.list[n].base < r.end {
		n++
	}
	// The last of these segments may go beyond the map's end, and all of it is copied.
	aborted, err := r.l.AbortedTransactions(j.list[0].base, j.list[n].base)
	if err != nil {
		return err
	}
	r.filter = compact.NewFilter(compact.FilterConfig{
		Table: &r.c.table, End: r.end, Aborted: aborted, Last: compact.LastRecords(r.l.Producers()),
		Now: r.l.now().UnixMilli(), Expiry: expiry.UnixMilli(), DeleteRetentionMs: r.cfg.DeleteRetentionMs,
	})
	for i := 0; i < n; {
		size := compact.Group(j.facts.Segments[i:n], r.cfg.segmentBytes(), int64(max(r.cfg.SegmentIndexBytes, 2*timeEntrySize)))
		if err := r.rewrite(j, j.list[i:i+size]); err != nil {
			return err
		}
		i += size
	}
	if err := r.l.fs.SyncDir(r.l.dir); err != nil {
		return r.l.fail("compact", err)
	}
	return r.checkpoint(j)
}

// checkpoint writes down how far the log is clean, unless it was truncated.
func (r *round) checkpoint(j *judged) error {
	r.l.appendMu.Lock()
	defer r.l.appendMu.Unlock()
	if err := r.l.usable("compact"); err != nil {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	if r.l.cuts.Load() != j.cuts {
		return errInterrupted
	}
	if err := j.dir.writeCleaned(r.l.tp, r.end); err != nil {
		return j.dir.fail("write cleaner offsets", err)
	}
	return nil
}

// index reads keys into the offset map, and sets end to where it stopped.
func (r *round) index(j *judged) error {
	w := &j.work
	pool := r.c.m.clean.config()
	r.c.table.Reset(int64(w.FirstUncleanable-w.FirstDirty), pool.DedupeBufferBytes/int64(max(pool.Threads, 1)), pool.LoadFactor)
	aborted, err := r.l.AbortedTransactions(w.FirstDirty, w.FirstUncleanable)
	if err != nil {
		return err
	}
	x := compact.NewIndexer(&r.c.table, w.FirstDirty, aborted)
	for i, seg := range j.list {
		next := j.facts.Segments[i].Next
		if next <= w.FirstDirty {
			continue
		}
		if next > w.FirstUncleanable {
			break
		}
		full := false
		err := r.each(seg, func(b, plain record.Batch, _ bool) (bool, error) {
			if cluster.Offset(b.LastOffset()) < w.FirstDirty {
				return true, nil
			}
			ok, err := x.Add(plain)
			if err != nil {
				return false, err
			}
			if !ok {
				if r.c.table.Len() == 0 {
					return false, fmt.Errorf("%w: it has room for %d keys, a batch has %d", errTooManyKeys, r.c.table.Room(), b.Count())
				}
				full = true
				return false, nil
			}
			r.end = cluster.Offset(b.NextOffset())
			return true, nil
		})
		if err != nil {
			return err
		}
		if full {
			break
		}
		r.end = next // also where the last batch ends before it
	}
	r.keys, r.utilization = r.c.table.Len(), r.c.table.Utilization()
	return nil
}

// each visits the batches of a segment, as they are and decompressed, until visit does not want more. last is true for the last one. A batch is valid
// until visit returns.
func (r *round) each(seg *segment, visit func(b, plain record.Batch, last bool) (more bool, err error)) error {
	w := &walk{s: seg, end: seg.base, epoch: cluster.NoLeaderEpoch, chunk: r.c.io, buf: r.c.read[:0]}
	defer func() {
		if r.c.read = w.buf; cap(r.c.read) > maxIdleBuffer {
			r.c.read = nil
		}
	}()
	errEnough := errors.New("enough")
	err := w.run(func(b record.Batch, pos int64) error {
		if err := r.l.usable("compact"); err != nil {
			return fmt.Errorf("%w: %w", errInterrupted, err)
		}
		if err := r.c.m.clean.throttle.wait(r.ctx, len(b)); err != nil {
			return err
		}
		r.bytesRead += int64(len(b))
		plain := b
		if b.Codec() != record.None {
			var err error
			if plain, err = r.c.dec.Recompress(r.c.plain, b, record.None, record.DefaultLevel); err != nil {
				return fmt.Errorf("batch at offset %d of %s: %w", b.BaseOffset(), seg.log.path, err)
			}
			r.c.plain = larger(r.c.plain, plain)
		}
		more, err := visit(b, plain, pos+int64(len(b)) == w.size)
		if err == nil && !more {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	if err == nil && w.pos < w.size {
		return &CorruptionError{File: seg.log.path, Position: w.pos, Reason: w.reason}
	}
	return err
}

// maxIdleBuffer is the size of the largest buffer that a thread keeps from one segment to the next.
const maxIdleBuffer = 4 << 20

// rewrite makes one segment of a group, and puts it in the place of them.
func (r *round) rewrite(j *judged, group []*segment) error {
	out, err := r.create(group)
	if err == nil {
		err = r.copy(out, group)
	}
	if err == nil {
		err = r.finish(out, group[len(group)-1])
	}
	if err != nil {
		return errors.Join(r.writeError(err), r.discard(out))
	}
	if err := r.l.swap(out, group, j.cuts); err != nil {
		if errors.Is(err, errInterrupted) {
			err = errors.Join(err, r.discard(out))
		}
		return err
	}
	for _, s := range group {
		r.bytesBefore += s.size.Load()
	}
	r.bytesAfter += out.size.Load()
	return nil
}

// outputError is an error of the files that are being written.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// writeError decides what an error means. A disk that cannot be written is not to be trusted any more; one that is full may have space
// again later.
func (r *round) writeError(err error) error {
	var out *outputError
	if errors.As(err, &out) && !errors.Is(err, syscall.ENOSPC) && !gone(err) && r.l.Err() == nil {
		return r.l.fail("compact", err)
	}
	return err
}

// create makes the files of the output, with the suffix .cleaned.
func (r *round) create(group []*segment) (*segment, error) {
	out := newSegment(r.l.fs, r.l.idle, r.l.dir, group[0].base)
	for _, h := range out.handles() {
		h.path += cleanedSuffix
		h.keep() // until it has its final name, see swap
	}
	if _, err := out.log.open(os.O_RDWR | os.O_CREATE | os.O_TRUNC); err != nil {
		return out, &outputError{err}
	}
	if err := out.startIndexes(r.cfg); err != nil {
		return out, &outputError{err}
	}
	return out, nil
}

// copy writes what stays of a group.
func (r *round) copy(out *segment, group []*segment) error {
	r.c.out = r.c.out[:0]
	for i, seg := range group {
		err := r.each(seg, func(b, plain record.Batch, last bool) (bool, error) {
			v, err := r.filter.Batch(plain, last && i == len(group)-1)
			if err != nil {
				return false, err
			}
			r.recordsBefore += int64(b.Count())
			r.recordsAfter += int64(v.Kept)
			r.keyless += v.Keyless
			if v.Aborted != nil {
				if _, err := out.txn.append(*v.Aborted); err != nil {
					return false, &outputError{err}
				}
			}
			switch {
			case v.Drop:
				return true, nil
			case !v.AsItIs:
				if b, err = r.shrink(b, plain, &v); err != nil {
					return false, err
				}
			}
			return true, r.put(out, b)
		})
		if err != nil {
			return err
		}
	}
	return r.flush(out)
}

// shrink returns what stays of a batch, in the codec that it was in.
func (r *round) shrink(b, plain record.Batch, v *compact.Verdict) (record.Batch, error) {
	kept, _, err := r.c.dec.Retain(r.c.kept, plain, v.Retention)
	if err != nil {
		return nil, err
	}
	r.c.kept = larger(r.c.kept, kept)
	if v.Kept == 0 || b.Codec() == record.None {
		return kept, nil
	}
	if kept, err = r.c.dec.Recompress(r.c.again, kept, b.Codec(), r.cfg.levelOf(b.Codec())); err != nil {
		return nil, err
	}
	r.c.again = larger(r.c.again, kept)
	return kept, nil
}

// larger returns the buffer that can hold more, to be used again.
func larger(a, b []byte) []byte {
	if cap(b) > cap(a) {
		return b[:0]
	}
	return a
}

// put adds a batch to the output.
func (r *round) put(out *segment, b record.Batch) error {
	pos := out.size.Load() + int64(len(r.c.out))
	if pos+int64(len(b)) > math.MaxInt32 {
		return fmt.Errorf("%w: %d bytes and %d more", errOutputTooLarge, pos, len(b))
	}
	if err := out.index(b, pos, r.cfg.IndexIntervalBytes); err != nil {
		return &outputError{err}
	}
	r.c.out = append(r.c.out, b...)
	if len(r.c.out) >= r.c.io {
		return r.flush(out)
	}
	return nil
}

// flush writes what waits.
func (r *round) flush(out *segment) error {
	n := len(r.c.out)
	if n == 0 {
		return nil
	}
	if err := r.c.m.clean.throttle.wait(r.ctx, n); err != nil {
		return err
	}
	f, err := out.log.get()
	if err != nil {
		return &outputError{err}
	}
	if _, err := f.WriteAt(r.c.out, out.size.Load()); err != nil {
		return &outputError{err}
	}
	out.publish(n)
	if r.c.out = r.c.out[:0]; cap(r.c.out) > maxIdleBuffer {
		r.c.out = nil
	}
	return nil
}

// finish makes the output durable, under its .cleaned names, with the time of the last segment that it is made of.
func (r *round) finish(out, last *segment) error {
	mtime, err := last.log.ModTime()
	if err != nil {
		return err
	}
	if err := out.sealIndexes(); err != nil {
		return &outputError{err}
	}
	f, err := out.log.get()
	if err != nil {
		return &outputError{err}
	}
	if err := f.Chtimes(mtime); err != nil {
		return &outputError{err}
	}
	out.unsynced.Store(true)
	if err := out.syncSealed(); err != nil {
		return &outputError{err}
	}
	// From here on a .cleaned or .swap of the .log file says that the indexes beside it are not those of the original.
	if err := r.l.fs.SyncDir(r.l.dir); err != nil {
		return &outputError{err}
	}
	return nil
}

// discard removes output that is not to be used, unless the directory has failed or is another's by now.
func (r *round) discard(out *segment) error {
	err := out.close()
	if r.l.Err() != nil {
		return err
	}
	for _, h := range out.handles() {
		err = errors.Join(err, removeFile(r.l.fs, h.path))
	}
	return err
}

// swap puts a segment in the place of those that it was made of. The order is what lets the loader finish or undo it after a
// power cut (see settleLeftovers):
//
//	all .cleaned files become .swap                   from here on the loader finishes it
//	the originals become .deleted                     then nothing that overlaps the output can come back
//	the .log.swap file becomes .log                   from here on it is done
//	the indexes lose their .swap                      if that is lost, the loader does it
//
// with the directory synced between any two. Readers go on with the files that they have open, or look again.
func (l *Log) swap(out *segment, group []*segment, cuts uint64) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("compact"); err != nil {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	list := *l.segments.Load()
	at, ok := stillThere(list, group)
	if !ok || l.cuts.Load() != cuts {
		return fmt.Errorf("%w: segments were removed meanwhile", errInterrupted)
	}
	done := l.settle(group)
	defer done()
	for _, h := range out.handles() {
		h.path = strings.TrimSuffix(h.path, cleanedSuffix)
	}
	files := out.handles()
	defer func() {
		for _, h := range files {
			h.free()
		}
	}()
	err := l.renameOutput(out, cleanedSuffix, swapSuffix, files[:])
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return l.failHard("compact", errors.Join(err, out.close()))
	}
	l.setSegments(slices.Concat(list[:at], []*segment{out}, list[at+len(group):]))
	for _, s := range group {
		for _, h := range s.handles() {
			h.forbid()
		}
	}
	names, err := l.markDeleted(group, group[1:], list[at+len(group)])
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err == nil {
		err = l.renameOutput(out, swapSuffix, "", []*handle{out.log})
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err == nil {
		err = l.renameOutput(out, swapSuffix, "", files[:3])
	}
	l.hooks.discard(l, group, names)
	if err != nil {
		return l.failHard("compact", err)
	}
	l.flush.names.Store(true)
	return nil
}

// renameOutput renames files of a segment from one suffix to another.
func (l *Log) renameOutput(out *segment, from, to string, handles []*handle) error {
	for _, h := range handles {
		if h == out.txn.handle && !out.txn.exists.Load() {
			continue
		}
		if err := l.fs.Rename(h.path+from, h.path+to); err != nil {
			return err
		}
	}
	return nil
}
