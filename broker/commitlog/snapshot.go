package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Snapshots of the producers' state are a cache: <offset>.snapshot spares the replay of what is below offset (F§4.6). One that is
// damaged or missing only costs time, so they are written without an fsync and become durable with the next flush. One that is
// whole and wrong would be a disaster: a retry would be appended twice, or a batch refused that must not be. What keeps them right:
// a snapshot never speaks of batches that are not in the log, because whoever shortens the log removes the snapshots beyond
// its new end, durably, before anything else is appended; and one from before the first segment is not used, because the batches
// after it are gone. Batches below the log start offset count as long as they are there: a producer whose records were deleted is
// not forgotten for that (KAFKA-7190).

// takeSnapshot writes the state of everything below an offset, unless a snapshot of it exists or there is nothing to say.
func (l *Log) takeSnapshot(at cluster.Offset) error {
	m := &l.producers
	if at <= m.lastSnapshot {
		return nil
	}
	m.mu.Lock()
	entries := m.state.Entries()
	m.mu.Unlock()
	if len(entries) == 0 && at == l.LogStartOffset() {
		return nil
	}
	if err := writeUnsynced(l.fs, l.snapshotPath(at), producers.EncodeSnapshot(entries)); err != nil {
		return fmt.Errorf("write the producer snapshot of offset %d: %w", at, err)
	}
	m.lastSnapshot = at
	m.mu.Lock()
	m.unsynced = append(m.unsynced, at)
	m.mu.Unlock()
	l.flush.names.Store(true)
	return nil
}

func (l *Log) snapshotPath(at cluster.Offset) string {
	return filepath.Join(l.dir, segmentName(at, snapshotSuffix))
}

func writeUnsynced(fsys vfs.FS, name string, data []byte) (err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteAt(data, 0)
	return err
}

// syncSnapshots makes the content of new snapshots durable. The caller has the turn to flush.
func (l *Log) syncSnapshots() error {
	m := &l.producers
	m.mu.Lock()
	list := m.unsynced
	m.unsynced = nil
	m.mu.Unlock()
	for i, at := range list {
		h := newHandle(l.fs, nil, l.snapshotPath(at), newTurn())
		err := h.sync()
		if err := errors.Join(err, h.close()); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been removed
			m.mu.Lock()
			m.unsynced = append(m.unsynced, list[i:]...)
			m.mu.Unlock()
			return err
		}
	}
	return nil
}

// snapshotOffsets lists the snapshots in the directory, in rising order.
func (l *Log) snapshotOffsets() ([]cluster.Offset, error) {
	entries, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var list []cluster.Offset
	for _, e := range entries {
		if at, suffix, ok := parseSegmentName(e.Name()); ok && suffix == snapshotSuffix {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list, nil
}

// keepSnapshots removes the snapshots of a list that are not to be kept, and returns the others. The removal is durable after
// SyncDir.
func (l *Log) keepSnapshots(list []cluster.Offset, keep func(cluster.Offset) bool) ([]cluster.Offset, error) {
	var kept []cluster.Offset
	for _, at := range list {
		if keep(at) {
			kept = append(kept, at)
		} else if err := removeFile(l.fs, l.snapshotPath(at)); err != nil {
			return nil, err
		}
	}
	l.producers.lastSnapshot = cluster.UnknownOffset
	if n := len(kept); n > 0 {
		l.producers.lastSnapshot = kept[n-1]
	}
	return kept, nil
}

// rebuildState returns the state of everything below end: from the newest good one of the snapshots (in rising order) between first,
// the base of the first segment, and end, and from the batches after it. The segments must be all those before end. Damaged snapshots are removed.
func (l *Log) rebuildState(segments []*segment, snapshots []cluster.Offset, first, end cluster.Offset) (*producers.State, error) {
	for _, at := range slices.Backward(snapshots) {
		if at > end || at < first {
			continue
		}
		state, err := l.readSnapshot(at)
		if err != nil {
			return nil, err
		}
		if state != nil {
			return l.replay(state, segments, at, end)
		}
	}
	return l.replay(&producers.State{}, segments, first, end)
}

// readSnapshot returns the state that a snapshot holds; nil when it is damaged or gone.
func (l *Log) readSnapshot(at cluster.Offset) (*producers.State, error) {
	path := l.snapshotPath(at)
	data, err := vfs.ReadFile(l.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := producers.DecodeSnapshot(data)
	if err == nil {
		var state *producers.State
		if state, err = producers.Restore(entries, at, l.expiry().UnixMilli(), l.producers.expirationMs.Load()); err == nil {
			return state, nil
		}
	}
	l.log.Warn("producer snapshot is damaged and removed", "file", path, "error", err)
	return nil, removeFile(l.fs, path)
}

// replay applies the batches between two offsets to a state. Where a segment is damaged the state cannot be known: it begins anew
// with the next segment, because a producer that is not known is believed, and one that is known wrongly is refused.
func (l *Log) replay(state *producers.State, segments []*segment, from, end cluster.Offset) (*producers.State, error) {
	if len(segments) == 0 {
		return state, nil
	}
	for _, seg := range segments[segmentFor(segments, from):] {
		if seg.base >= end {
			break
		}
		err := seg.eachProducerBatch(from, end, func(f *producers.Facts) error {
			state.Apply(f)
			return nil
		})
		var corrupt *CorruptionError
		if errors.As(err, &corrupt) {
			l.log.Error("segment is damaged; what it says of producers is lost", "segment", seg.log.path, "error", err)
			state = &producers.State{}
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return state, nil
}

// eachProducerBatch visits the batches of the segment that have a producer id, from one offset (included) to another (excluded).
// Of data only headers are read. The facts are valid until visit returns.
func (s *segment) eachProducerBatch(from, end cluster.Offset, visit func(*producers.Facts) error) error {
	var pos int64
	if from > s.base {
		at, ok, err := s.locate(from)
		if err != nil || !ok {
			return err
		}
		pos = at.pos
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	for size := s.size.Load(); pos < size; {
		b, err := s.header(buf[:], pos)
		if err != nil {
			return err
		}
		if cluster.Offset(b.BaseOffset()) >= end {
			return nil
		}
		n := int64(b.Length())
		if b.HasProducerID() {
			if b.IsControl() {
				if b, err = s.whole(pos, n); err != nil {
					return err
				}
			}
			facts, _ := producers.FactsOf(b) // a marker that cannot be read changes nothing, as when it was appended
			if err := visit(&facts); err != nil {
				return err
			}
		}
		pos += n
	}
	return nil
}

// whole reads a batch of n bytes.
func (s *segment) whole(pos, n int64) (record.Batch, error) {
	p := make([]byte, n)
	if _, err := s.log.ReadAt(p, pos); err != nil {
		return nil, fmt.Errorf("read a batch of %d bytes at %d of %s: %w", n, pos, s.log.path, err)
	}
	return p, nil
}

// rebuildTxnIndex makes the transaction index of a segment anew, given the state of everything below the segment.
func (s *segment) rebuildTxnIndex(state *producers.State) error {
	if err := s.txn.reset(); err != nil {
		return err
	}
	s.unsynced.Store(true)
	return s.eachProducerBatch(s.base, math.MaxInt64, func(f *producers.Facts) error {
		if done := state.Apply(f); done.Aborted {
			_, err := s.txn.append(done.Entry)
			return err
		}
		return nil
	})
}

// reloadProducers makes the state that of a log that was shortened to end.
func (l *Log) reloadProducers(segments []*segment, snapshots []cluster.Offset, end cluster.Offset) error {
	m := &l.producers
	m.mu.Lock()
	old, empty := m.state, m.state.Empty()
	m.mu.Unlock()
	if empty {
		return nil // then it was empty at any time before, or what it held had expired
	}
	state, err := l.rebuildState(segments, snapshots, segments[0].base, end)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	state.Inherit(old, end)
	m.state = state
	return nil
}
