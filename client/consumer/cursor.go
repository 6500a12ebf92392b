package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// chunk is what one answer says about one partition: records, or an error, or that the position has to be reset.
type chunk struct {
	part       *part
	generation uint64 // of the part when it was fetched
	data       []byte // whole batches
	from, end  cluster.Offset
	high       cluster.Offset
	aborted    []wire.Aborted
	last       *fetcher // set in the last chunk of an answer: reading it to the end gives the fetcher's credit back
	err        error
	reset      bool
}

// stale reports whether the partition has been somewhere else since.
func (ch *chunk) stale() bool { return ch.part.generation.Load() != ch.generation }

// whole returns the whole batches at the front of data, and the offset after the last of them. note is told of each. The error says why the rest
// is not one.
func whole(data []byte, note func(record.Batch)) (batches []byte, end cluster.Offset, err error) {
	rest := data
	for len(rest) > 0 {
		b, r, err := record.Split(rest)
		if err != nil {
			return data[:len(data)-len(rest)], end, err
		}
		note(b)
		end, rest = cluster.Offset(b.NextOffset()), r
	}
	return data, end, nil
}

// corruptAt is the error for records that cannot be read.
func corruptAt(at cluster.Offset, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = kerr.CorruptMessage.With("the broker sent a part of a batch only")
	}
	return fmt.Errorf("records at offset %d cannot be read: %w", at, err)
}

// cursor walks over the records of a chunk. It belongs to one goroutine.
//
// The record under the cursor is rec. Positions are moved on before a record is given out: whoever stops in the middle goes on with the
// record after it.
type cursor struct {
	chunk    chunk
	rest     []byte // batches not begun yet
	next     cluster.Offset
	it       record.Iterator
	inBatch  bool
	batchEnd cluster.Offset
	active   bool

	rec Record // topic, partition and the batch's fields are set per batch

	committed bool // leave out aborted transactions
	checkCRCs bool
	aborted   []wire.Aborted // by first offset; those not begun yet
	rolled    map[int64]bool // producers whose transaction here is aborted
}

// start puts the cursor on a chunk, in front of its first record.
func (k *cursor) start(ch chunk, cfg *config) {
	k.chunk, k.rest, k.next = ch, ch.data, ch.from
	k.inBatch, k.active = false, true
	k.committed = cfg.isolation == client.ReadCommitted
	k.checkCRCs = cfg.checkCRCs
	k.rec = Record{Topic: ch.part.tp.Topic, Partition: ch.part.tp.Partition}
	k.aborted, k.rolled = nil, nil
	if k.committed && len(ch.aborted) > 0 {
		k.aborted = slices.SortedFunc(slices.Values(ch.aborted), func(a, b wire.Aborted) int { return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1)) })
		k.rolled = map[int64]bool{}
	}
}

// advance moves to the next record that is to be given out. It returns false at the end of the chunk and with an error.
func (k *cursor) advance() (bool, error) {
	for {
		if !k.inBatch {
			if ok, err := k.begin(); !ok || err != nil {
				return false, err
			}
		}
		for k.it.Next() {
			r := k.it.Record()
			if cluster.Offset(r.Offset) < k.next {
				continue // the batch begins before the position
			}
			k.next = cluster.Offset(r.Offset) + 1
			k.rec.Offset = cluster.Offset(r.Offset)
			k.rec.Timestamp = time.UnixMilli(r.Timestamp)
			k.rec.Key, k.rec.Value, k.rec.Headers = r.Key, r.Value, r.Headers
			return true, nil
		}
		if err := k.it.Err(); err != nil {
			return false, corruptAt(k.next, err)
		}
		k.inBatch = false
		k.next = max(k.next, k.batchEnd) // compaction leaves gaps behind the last record
	}
}

// begin enters the next batch with records for the caller; false at the end of the chunk.
func (k *cursor) begin() (bool, error) {
	for len(k.rest) > 0 {
		b, rest, err := record.Split(k.rest)
		if err != nil {
			return false, corruptAt(k.next, err)
		}
		end := cluster.Offset(b.NextOffset())
		if end <= k.next {
			k.rest = rest
			continue
		}
		if k.checkCRCs && !b.CheckCRC() {
			return false, corruptAt(k.next, kerr.CorruptMessage.With(fmt.Sprintf("the batch at offset %d does not match its checksum", b.BaseOffset())))
		}
		k.rest = rest
		if k.invisible(b) {
			k.next = end
			continue
		}
		k.it.Reset(b, nil)
		k.inBatch, k.batchEnd = true, end
		k.rec.TimestampType = b.TimestampType()
		k.rec.LeaderEpoch = cluster.LeaderEpoch(b.PartitionLeaderEpoch())
		return true, nil
	}
	k.next = max(k.next, k.chunk.end)
	return false, nil
}

// invisible reports whether a batch is not for applications: control batches, and with read_committed those of aborted transactions (F§4.13).
func (k *cursor) invisible(b record.Batch) bool {
	for len(k.aborted) > 0 && int64(k.aborted[0].FirstOffset) <= b.LastOffset() {
		k.rolled[int64(k.aborted[0].ProducerID)] = true
		k.aborted = k.aborted[1:]
	}
	if b.IsControl() {
		if k.rolled[b.ProducerID()] && isAbort(b) {
			delete(k.rolled, b.ProducerID())
		}
		return true
	}
	return b.IsTransactional() && k.rolled[b.ProducerID()]
}

// isAbort reports whether a control batch ends an aborted transaction: its record's key is version and type, 0 for abort (F§4.4).
func isAbort(b record.Batch) bool {
	var it record.Iterator
	it.Reset(b, nil)
	if !it.Next() {
		return false
	}
	key := it.Record().Key
	return len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}
