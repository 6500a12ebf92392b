package compact

import (
	"fmt"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// LastRecord says what must stay of a producer that is remembered.
type LastRecord struct {
	// Offset is the last offset of its last batch of data; UnknownOffset when only a marker is known.
	Offset cluster.Offset
	// Epoch is its producer epoch.
	Epoch int16
}

// LastRecords returns what must stay of the producers that a log remembers.
func LastRecords(entries []producers.Entry) map[cluster.ProducerID]LastRecord {
	last := make(map[cluster.ProducerID]LastRecord, len(entries))
	for i := range entries {
		last[entries[i].ProducerID] = LastRecord{Offset: entries[i].LastOffset, Epoch: entries[i].Epoch}
	}
	return last
}

// Indexer reads the dirty part of a log into a map. It belongs to one goroutine.
type Indexer struct {
	table *OffsetMap
	txns  txns
	it    record.Iterator
	from  cluster.Offset
}

// NewIndexer returns an indexer of records from an offset on. The aborted transactions are those that overlap the dirty part.
func NewIndexer(table *OffsetMap, from cluster.Offset, aborted []producers.AbortedTxn) *Indexer {
	return &Indexer{table: table, from: from, txns: newTxns(aborted)}
}

// Add enters a batch, which must not be compressed. ok is false, and nothing was entered, when the map may not have the room. The
// error is a [*record.CorruptError].
func (x *Indexer) Add(b record.Batch) (ok bool, err error) {
	if b.IsControl() {
		_, _, err := x.txns.control(b)
		return err == nil, err
	}
	if int(b.Count()) > x.table.Room() {
		return false, nil
	}
	if x.txns.data(b) {
		return true, nil // records that do not count hide nothing
	}
	x.it.Reset(b, nil)
	for x.it.Next() {
		r := x.it.Record()
		if r.Key != nil && r.Offset >= int64(x.from) {
			x.table.Put(r.Key, cluster.Offset(r.Offset))
		}
	}
	return true, x.it.Err()
}

// Filter decides which records of a log stay. It sees all batches from the log start on, in order. It belongs to one goroutine.
type Filter struct {
	table *OffsetMap
	txns  txns
	end   cluster.Offset
	last  map[cluster.ProducerID]LastRecord
	old   int64
	until int64
	it    record.Iterator
	keep  []bool
}

// FilterConfig is what a Filter goes by.
type FilterConfig struct {
	// Table knows the last offsets of the keys of all records from the first dirty offset to End.
	Table *OffsetMap
	// End is the offset after the last record that is in Table. Records from there on stay.
	End cluster.Offset
	// Aborted are the aborted transactions that overlap what is copied.
	Aborted []producers.AbortedTxn
	// Last says what must stay of the producers that are remembered.
	Last map[cluster.ProducerID]LastRecord
	// Now is the time from which DeleteRetentionMs, delete.retention.ms, counts for tombstones that are found now. Expiry is the time by which those found
	// earlier are judged. All are in milliseconds.
	Now, Expiry, DeleteRetentionMs int64
}

// NewFilter returns a filter for one round.
func NewFilter(c FilterConfig) *Filter {
	horizon := c.Now + c.DeleteRetentionMs
	if horizon < c.Now {
		horizon = 1<<63 - 1
	}
	return &Filter{table: c.Table, txns: newTxns(c.Aborted), end: c.End, last: c.Last, old: c.Expiry, until: horizon}
}

// Verdict says what becomes of a batch.
type Verdict struct {
	// Drop says that nothing of the batch stays. AsItIs says that all of it does, unchanged. Otherwise Retention says what does.
	Drop, AsItIs bool
	// Retention is what [record.Decompressor.Retain] takes. It is valid until the next batch.
	Retention record.Retention
	// Kept is how many records stay.
	Kept int
	// Keyless is how many records were dropped because they have no key.
	Keyless int
	// Aborted, if not nil, is to go into the transaction index of the segment that the batch goes to.
	Aborted *producers.AbortedTxn
}

// Batch judges a batch, which must not be compressed. edge says that the batch is the last one of the segment to be written: it stays
// even if it is empty. The error is a [*record.CorruptError].
func (f *Filter) Batch(b record.Batch, edge bool) (v Verdict, err error) {
	var discard, useless bool
	if b.IsControl() {
		if useless, v.Aborted, err = f.txns.control(b); err != nil {
			return v, fmt.Errorf("marker at offset %d: %w", b.BaseOffset(), err)
		}
		discard = useless && f.passed(b)
	} else {
		discard = f.txns.data(b)
	}
	tombstones, err := f.records(b, discard, &v)
	if err != nil {
		return v, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	keepEmpty := edge || b.NextOffset() == int64(f.end) || f.lastOfProducer(b)
	horizon := record.NoTimestamp
	if (tombstones || useless) && v.Kept > 0 && !b.HasDeleteHorizon() {
		horizon = f.until
	}
	switch {
	case v.Kept == 0 && !keepEmpty:
		v.Drop = true
	case v.Kept == int(b.Count()) && horizon == record.NoTimestamp:
		v.AsItIs = true
	default:
		i := 0
		v.Retention = record.Retention{DeleteHorizon: horizon, KeepEmpty: true, Keep: func(*record.Record) bool {
			i++
			return f.keep[i-1]
		}}
	}
	return v, nil
}

// records decides about each record of a batch, and reports whether tombstones are among those that stay.
func (f *Filter) records(b record.Batch, discard bool, v *Verdict) (tombstones bool, err error) {
	f.keep = f.keep[:0]
	passed := f.passed(b)
	f.it.Reset(b, nil)
	for f.it.Next() {
		r := f.it.Record()
		var keep bool
		switch {
		case discard:
		case b.IsControl():
			keep = true
		case r.Offset >= int64(f.end):
			keep = true
		case r.Key == nil:
			v.Keyless++
		default:
			last, known := f.table.Last(r.Key)
			keep = (!known || r.Offset >= int64(last)) && (r.Value != nil || !passed)
		}
		if keep {
			v.Kept++
			tombstones = tombstones || r.Value == nil && !b.IsControl()
		}
		f.keep = append(f.keep, keep)
	}
	return tombstones, f.it.Err()
}

// passed reports whether the delete horizon of a batch is over.
func (f *Filter) passed(b record.Batch) bool {
	return b.HasDeleteHorizon() && b.BaseTimestamp() <= f.old
}

// lastOfProducer reports whether a batch is what a producer that is remembered is known by.
func (f *Filter) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	last, ok := f.last[cluster.ProducerID(b.ProducerID())]
	if !ok {
		return false
	}
	if last.Offset >= 0 {
		return b.LastOffset() == int64(last.Offset)
	}
	return b.IsControl() && b.ProducerEpoch() == last.Epoch
}
