package commitlog

import (
	"errors"
	"slices"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// scanFrom prepares the state for a scan that begins with segment i: that of everything before it. Snapshots beyond are removed:
// whether what they speak of is still there is what the scan is to find out.
func (d *loader) scanFrom(i int) error {
	if d.scanning {
		return nil
	}
	base := d.segments[i].base
	kept, err := d.l.keepSnapshots(d.snapshots, func(at cluster.Offset) bool { return at <= base })
	if err != nil {
		return err
	}
	if len(kept) < len(d.snapshots) {
		if err := d.fs.SyncDir(d.dir); err != nil {
			return err
		}
	}
	d.snapshots = kept
	state, err := d.l.rebuildState(d.segments[:i], d.snapshots, d.segments[0].base, base)
	if err != nil {
		return err
	}
	d.l.producers.replace(state)
	d.scanning = true
	return nil
}

// seeProducer enters a batch of a segment that is scanned into state and transaction index.
func (d *loader) seeProducer(s *segment, b record.Batch) error {
	if !b.HasProducerID() {
		return nil
	}
	return d.l.noteProducer(s, b)
}

// loadTxnIndex takes over the transaction index of a segment that is trusted. A damaged one is built again.
func (d *loader) loadTxnIndex(s *segment, i int) error {
	err := s.txn.load()
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) {
		d.rebuilt = nil
		return err
	}
	d.logger.Warn("transaction index is built again", "segment", s.log.path, "reason", err)
	return d.rebuildTxnIndex(s, i)
}

// rebuildTxnIndex builds the transaction index of a segment from the batches.
func (d *loader) rebuildTxnIndex(s *segment, i int) error {
	state := d.rebuilt // the segments before this one may just have been worked on, too
	if d.rebuilt = nil; state == nil {
		var err error
		if state, err = d.l.rebuildState(d.segments[:i], d.snapshots, d.segments[0].base, s.base); err != nil {
			return err
		}
	}
	err := s.rebuildTxnIndex(state)
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) {
		return nil // whoever reads there is told
	}
	d.rebuilt = state
	return err
}

// forgetProducers drops everything that is known, because the log begins anew.
func (d *loader) forgetProducers() error {
	var err error
	d.snapshots, err = d.l.keepSnapshots(d.snapshots, func(cluster.Offset) bool { return false })
	d.l.producers.replace(&producers.State{})
	d.scanning = true
	return err // begin makes it durable
}

// finishProducers brings the state to the log's end and removes the snapshots that are of no use: beyond the end, before the
// first segment, and between the bases of segments, except the newest one (F§4.6). The removal is durable when it returns.
func (d *loader) finishProducers(end cluster.Offset) error {
	start := d.segments[0].base
	if !d.scanning {
		state, err := d.l.rebuildState(d.segments, d.snapshots, start, end)
		if err != nil {
			return err
		}
		d.l.producers.replace(state)
	}
	there, err := d.l.snapshotOffsets() // also those that the scan has written
	if err != nil {
		return err
	}
	newest := cluster.UnknownOffset
	for _, at := range there {
		if at >= start && at <= end {
			newest = max(newest, at)
		}
	}
	kept, err := d.l.keepSnapshots(there, func(at cluster.Offset) bool {
		base := func(s *segment, at cluster.Offset) int { return int(min(max(s.base-at, -1), 1)) }
		_, isBase := slices.BinarySearchFunc(d.segments, at, base)
		return isBase || at == newest
	})
	if err != nil || len(kept) == len(there) {
		return err
	}
	return d.fs.SyncDir(d.dir)
}
