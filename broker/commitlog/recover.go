package commitlog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// recoverChunk is how much of a segment recovery reads at a time, in bytes.
const recoverChunk = 1 << 20

// loadSegments takes over the segments, those that are not known to be good after a scan, and returns the log end offset.
func (d *loader) loadSegments() (end cluster.Offset, err error) {
	for i := 0; i < len(d.segments); i++ {
		s, last := d.segments[i], i == len(d.segments)-1
		s.keep()
		if err := s.measure(); err != nil {
			return 0, err
		}
		if i > 0 && s.base != end {
			if cut, err := d.cutAtGap(i, end); err != nil || cut {
				return end, err
			}
		}
		// Segments that end before the recovery point were sealed and synced, indexes included, before it moved there.
		trusted := d.clean || !last && d.segments[i+1].base < d.point
		if trusted {
			end, err = d.loadTrusted(s, i)
			var corrupt *CorruptionError
			if last && errors.As(err, &corrupt) {
				trusted, err = false, nil // closed properly, and yet its tail is not what was closed
				d.info.Unclean = true
			}
		}
		if err == nil && !trusted {
			if err := d.scanFrom(i); err != nil {
				return 0, err
			}
			if d.toScan == 0 {
				d.toScan = len(d.segments) - i
				d.progress.segments.Add(int64(d.toScan))
			}
			var whole bool
			if end, whole, err = d.recoverSegment(s, last); err == nil && !whole {
				return end, d.drop(i + 1)
			}
			if err == nil && !last {
				err = d.l.takeSnapshot(d.segments[i+1].base)
			}
		}
		if err != nil {
			return 0, err
		}
		if !last {
			if err := s.release(); err != nil {
				return 0, err
			}
			s.free()
		}
	}
	return end, nil
}

// cutAtGap ends the log before segment i if it does not continue the one before it, and reports whether it did.
func (d *loader) cutAtGap(i int, end cluster.Offset) (bool, error) {
	s := d.segments[i]
	if s.base > end && (d.clean || end < d.point || end < d.cleaned) {
		return false, nil
	}
	reason := fmt.Sprintf("segment %s does not continue the one before, which ends at %d", s.log.path, end)
	d.logger.Warn("log is cut", "partition", d.tp.String(), "log-end-offset", end, "reason", reason)
	d.info.Cut, d.info.CutAt, d.info.Reason = true, end, reason
	return true, d.drop(i)
}

// loadTrusted takes over a segment that was synced or closed properly, and returns where it ends. Only the last one is looked
// at; of the others the next base is the end. Indexes that are missing or damaged are built again, without judging the
// batches: a segment that was known to be good is not cut on the evidence of one replica.
func (d *loader) loadTrusted(s *segment, i int) (cluster.Offset, error) {
	loadTxnIndex := d.loadTxnIndex
	for _, x := range [...]*index{s.idx, s.tidx} {
		err := x.load(s.size.Load())
		if err == nil {
			continue
		}
		if !rebuildable(err) {
			return 0, err
		}
		d.logger.Warn("indexes are built again", "segment", s.log.path, "reason", err)
		if err := d.rebuild(s); err != nil {
			return 0, err
		}
		loadTxnIndex = d.rebuildTxnIndex // if one is gone, all may be
		break
	}
	if err := loadTxnIndex(s, i); err != nil {
		return 0, err
	}
	if d.epochsLost {
		if err := d.collectEpochs(s); err != nil {
			return 0, err
		}
	}
	if i < len(d.segments)-1 {
		if s.tidx.count > 0 {
			s.setMaxTime(timePoint{ts: s.tidx.last.key, offset: cluster.Offset(s.tidx.last.val)})
		}
		return d.segments[i+1].base, nil
	}
	end, err := s.learnTail(s.size.Load() == 0)
	return max(end, s.base), err
}

// rebuild makes the indexes of a segment anew from its batch headers.
func (d *loader) rebuild(s *segment) error {
	if err := s.startIndexes(&d.config); err != nil {
		return err
	}
	buf := make([]byte, record.HeaderSize)
	err := d.eachHeader(s, buf, func(b record.Batch, pos int64) error {
		return s.indexSized(b, b.Length(), pos, d.config.IndexIntervalBytes)
	})
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) {
		d.logger.Error("segment is damaged", "segment", s.log.path, "error", err)
		err = nil
	}
	if err != nil {
		return err
	}
	s.unsynced.Store(true)
	return s.sealIndexes()
}

// collectEpochs enters the leader epochs of a segment's batches.
func (d *loader) collectEpochs(s *segment) error {
	buf := make([]byte, record.HeaderSize)
	err := d.eachHeader(s, buf, func(b record.Batch, _ int64) error {
		d.seeEpoch(b)
		return nil
	})
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) {
		return nil // whoever reads there is told
	}
	return err
}

// findFirstEpochs adds the leader epochs of batches between the log start and where the first known epoch begins, or the log ends, if
// there are such: the list may have been written when the log began later.
func (d *loader) findFirstEpochs(start, end cluster.Offset) error {
	if len(d.epochs) > 0 {
		end = d.epochs[0].StartOffset
	}
	if end <= start {
		return nil
	}
	errEnough := errors.New("enough")
	var first []EpochEntry
	buf := make([]byte, record.HeaderSize)
	for _, s := range d.segments {
		err := d.eachHeader(s, buf, func(b record.Batch, _ int64) error {
			if cluster.Offset(b.BaseOffset()) >= end {
				return errEnough
			}
			if cluster.Offset(b.LastOffset()) >= start {
				first = epoch.Assign(first, cluster.LeaderEpoch(b.PartitionLeaderEpoch()), max(cluster.Offset(b.BaseOffset()), start))
			}
			return nil
		})
		var corrupt *CorruptionError
		if errors.Is(err, errEnough) || errors.As(err, &corrupt) {
			break
		}
		if err != nil {
			return err
		}
	}
	for _, e := range d.epochs {
		first = epoch.Assign(first, e.Epoch, e.StartOffset)
	}
	d.epochs = first
	return nil
}

// seeEpoch enters the leader epoch of a batch, if it is a new one.
func (d *loader) seeEpoch(b record.Batch) {
	if e := cluster.LeaderEpoch(b.PartitionLeaderEpoch()); len(d.epochs) == 0 || e > d.epochs[len(d.epochs)-1].Epoch {
		d.epochs = epoch.Assign(d.epochs, e, cluster.Offset(b.BaseOffset()))
	}
}

// eachHeader walks the batch headers of a segment.
func (d *loader) eachHeader(s *segment, buf []byte, visit func(b record.Batch, pos int64) error) error {
	for pos, size := int64(0), s.size.Load(); pos < size; {
		b, err := s.header(buf, pos)
		if err != nil {
			return err
		}
		if err := visit(b, pos); err != nil {
			return err
		}
		pos += int64(b.Length())
	}
	return nil
}

// recoverSegment scans a segment batch by batch, builds its indexes again, and cuts it before the first byte that is not
// good. It returns where the segment ends, and whether all of it was good.
func (d *loader) recoverSegment(s *segment, last bool) (end cluster.Offset, whole bool, err error) {
	if err := errors.Join(s.startIndexes(&d.config), s.txn.reset()); err != nil {
		return 0, false, err
	}
	s.hasFirst, s.sinceIndex = false, 0
	s.setMaxTime(timePoint{ts: record.NoTimestamp, offset: s.base})
	size := s.size.Load()
	w := &walk{s: s, end: s.base, epoch: cluster.NoLeaderEpoch}
	if len(d.epochs) > 0 {
		w.epoch = epoch.At(d.epochs, s.base)
	}
	err = w.run(func(b record.Batch, pos int64) error {
		d.progress.bytes.Add(int64(len(b)))
		d.seeEpoch(b)
		if err := d.seeProducer(s, b); err != nil {
			return err
		}
		return s.indexSized(b, len(b), pos, d.config.IndexIntervalBytes)
	})
	if err != nil {
		return 0, false, err
	}
	s.unsynced.Store(true)
	d.scanned++
	d.progress.segments.Add(-1)
	whole = w.pos == size
	if !whole {
		if err := d.cutSegment(s, w); err != nil {
			return 0, false, err
		}
	}
	if !last && whole {
		if err := s.seal(); err != nil {
			return 0, false, err
		}
	}
	return w.end, whole, nil
}

// cutSegment removes what is behind the last good batch.
func (d *loader) cutSegment(s *segment, w *walk) error {
	f, err := s.log.get()
	if err != nil {
		return err
	}
	zeros, err := zeroFrom(f, w.pos, s.size.Load())
	if err != nil {
		return err
	}
	if !zeros {
		d.info.Reason = w.reason
		d.logger.Warn("log is cut", "partition", d.tp.String(), "segment", s.log.path, "position", w.pos, "bytes-lost", s.size.Load()-w.pos, "log-end-offset", w.end, "reason", w.reason)
	}
	d.info.Cut, d.info.CutAt = true, w.end
	if err := f.Truncate(w.pos); err != nil {
		return err
	}
	s.size.Store(w.pos)
	return f.Sync()
}

// zeroFrom reports whether a file holds only zeros from one position to another: a tail that was reserved and never written.
func zeroFrom(f io.ReaderAt, from, to int64) (bool, error) {
	buf := make([]byte, 64<<10)
	zeros := make([]byte, len(buf))
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		if n, err := f.ReadAt(p, from); err != nil && n < len(p) {
			return false, err
		}
		if !bytes.Equal(p, zeros[:len(p)]) {
			return false, nil
		}
		from += int64(len(p))
	}
	return true, nil
}

// walk scans a segment for batches that are whole, undamaged, and continue each other.
type walk struct {
	s      *segment
	pos    int64          // everything before is good
	end    cluster.Offset // the offset after the last good batch
	epoch  cluster.LeaderEpoch
	reason string // why the walk ended before the end of the file

	chunk int    // how much is read at a time; 0 means recoverChunk
	buf   []byte // bytes of the file from at on
	at    int64
	size  int64
}

// run visits every good batch. The batch is valid until visit returns.
func (w *walk) run(visit func(b record.Batch, pos int64) error) error {
	w.size = w.s.size.Load()
	for w.pos < w.size {
		b, err := w.next(w.s.log)
		if err != nil {
			return err
		}
		if b == nil {
			return nil
		}
		if w.reason = w.check(b); w.reason != "" {
			return nil
		}
		if err := visit(b, w.pos); err != nil {
			return err
		}
		w.pos += int64(len(b))
		w.end = cluster.Offset(b.LastOffset()) + 1
		w.epoch = max(w.epoch, cluster.LeaderEpoch(b.PartitionLeaderEpoch()))
	}
	return nil
}

// next returns the bytes of the batch at pos; nil, and a reason, when there is none.
func (w *walk) next(f io.ReaderAt) (record.Batch, error) {
	head, err := w.bytes(f, record.HeaderSize)
	if err != nil || head == nil {
		return nil, err
	}
	n := int64(record.Batch(head).Length())
	if n < record.HeaderSize {
		w.reason = fmt.Sprintf("a batch of %d bytes", n)
		return nil, nil
	}
	p, err := w.bytes(f, n)
	if err != nil || p == nil {
		return nil, err
	}
	b, _, err := record.Split(p)
	if err != nil {
		w.reason = err.Error()
		return nil, nil
	}
	return b, nil
}

// bytes returns n bytes from pos; nil, and a reason, when the file ends before.
func (w *walk) bytes(f io.ReaderAt, n int64) ([]byte, error) {
	if n > w.size-w.pos {
		w.reason = fmt.Sprintf("%d bytes are left of %d", w.size-w.pos, n)
		return nil, nil
	}
	if off := w.pos - w.at; off >= 0 && off+n <= int64(len(w.buf)) {
		return w.buf[off : off+n], nil
	}
	want := min(max(n, int64(cmp.Or(w.chunk, recoverChunk))), w.size-w.pos)
	if int64(cap(w.buf)) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.at = w.buf[:want], w.pos
	if got, err := f.ReadAt(w.buf, w.pos); err != nil && (got < len(w.buf) || !errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", want, w.pos, w.s.log.path, err)
	}
	return w.buf[:n], nil
}

// check returns why a batch is not good, and nothing if it is.
func (w *walk) check(b record.Batch) string {
	first, last := cluster.Offset(b.BaseOffset()), cluster.Offset(b.LastOffset())
	switch {
	case !b.CheckCRC():
		return fmt.Sprintf("batch %d fails its checksum", first)
	case first < w.end || last < first:
		return fmt.Sprintf("batch has offsets %d..%d, want %d or more", first, last, w.end)
	case last-w.s.base > math.MaxInt32 || w.pos > math.MaxInt32:
		return fmt.Sprintf("batch ends at offset %d, too far from the segment's base", last)
	case b.PartitionLeaderEpoch() >= 0 && cluster.LeaderEpoch(b.PartitionLeaderEpoch()) < w.epoch:
		return fmt.Sprintf("batch %d has leader epoch %d after %d", first, b.PartitionLeaderEpoch(), w.epoch)
	}
	return ""
}

// sealIndexes writes out and trims both indexes.
func (s *segment) sealIndexes() error {
	if err := s.indexTime(); err != nil {
		return err
	}
	if err := s.idx.seal(); err != nil {
		return err
	}
	return s.tidx.seal()
}

// startIndexes makes both indexes empty and preallocated.
func (s *segment) startIndexes(cfg *Config) error {
	for _, x := range [...]*index{s.idx, s.tidx} {
		if err := x.release(); err != nil {
			return err
		}
		if _, err := x.open(os.O_RDWR | os.O_CREATE | os.O_TRUNC); err != nil {
			return err
		}
		if err := x.reset(nil, cfg.SegmentIndexBytes); err != nil {
			return err
		}
	}
	return nil
}
