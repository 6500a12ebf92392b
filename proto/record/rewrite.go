package record

import (
	"fmt"
	"math"

	"github.com/ottla/ottla/proto/kerr"
)

// Recompress returns a batch with the same records and the same header as b, except for the codec, its length and its CRC.
// A leader does so when the topic's compression.type is not producer. The new batch is written over dst, which is enlarged
// if need be and must not overlap b, which is only read. The error is a [*CorruptError], or an unknown codec or level.
func (d *Decompressor) Recompress(dst []byte, b Batch, codec Codec, level int) (Batch, error) {
	d = d.orDefault()
	raw := []byte(b[HeaderSize:])
	if b.Codec() != None {
		in, err := openInflater(b.Codec(), raw, d.limits.maxDecompressed(), false)
		if err != nil {
			return nil, decompressError(b.Codec(), err)
		}
		defer in.release()
		if raw, err = in.appendTo(in.buf[:0], d.limits.maxDecompressed()); err != nil {
			return nil, decompressError(b.Codec(), err)
		}
		if cap(raw) <= maxPooled {
			in.buf = raw[:cap(raw)]
		}
	}
	out, err := Compress(append(dst[:0], b[:HeaderSize]...), raw, codec, level)
	if err != nil {
		return nil, err
	}
	h := b.header()
	h.attributes = h.attributes&^codecMask | int16(codec)
	return h.finish(out)
}

// Retention says what compaction keeps of a batch.
type Retention struct {
	// Keep reports whether a record stays. The record is as in [Iterator.Record].
	Keep func(*Record) bool
	// DeleteHorizon is the time in milliseconds after which the batch's tombstones and markers may go, to be written into
	// a batch that has none yet (KIP-534); [NoTimestamp] writes none.
	DeleteHorizon int64
	// KeepEmpty keeps the header of a batch none of whose records stays: the last batch of a producer that is still
	// active, for its sequence numbers, and the last batch of a cleaned log, for its offsets.
	KeepEmpty bool
}

// Retain returns what compaction keeps of b, and how many records those are: b itself when it loses nothing and gets no
// delete horizon, a nil batch when nothing stays, and otherwise a new batch with the same base offset, last offset, leader
// epoch, producer fields and codec (Kafka class MemoryRecords, method filterTo). The records that stay keep their offsets and
// timestamps. dst is scratch memory, which must not overlap b: it is enlarged if need be, and the new batch is in it unless
// it is compressed. The error is a [*CorruptError].
func (d *Decompressor) Retain(dst []byte, b Batch, r Retention) (Batch, int, error) {
	h := b.header()
	setHorizon := r.DeleteHorizon != NoTimestamp && !b.HasDeleteHorizon()
	if setHorizon {
		h.attributes |= deleteHorizonBit
		h.baseTimestamp = r.DeleteHorizon
	}
	build := Builder{limit: math.MaxInt32}
	build.Reset(dst)
	var it Iterator
	it.Reset(b, d)
	for it.Next() {
		rec := it.Record()
		if !r.Keep(rec) {
			continue
		}
		timestamp := rec.Timestamp
		if it.batch.logAppend {
			// What the producer wrote means nothing any more; the append time is in the header.
			timestamp = h.maxTimestamp
		}
		if build.count == 0 {
			if h.attributes&deleteHorizonBit == 0 {
				h.baseTimestamp = timestamp
			}
			build.baseTimestamp = h.baseTimestamp
		}
		if !build.append(int32(rec.Offset-h.baseOffset), rec.Attributes, timestamp, rec.Key, rec.Value, rec.Headers) {
			return nil, 0, corrupt(kerr.InvalidRecord, "records of %v do not fit a batch", b)
		}
	}
	if err := it.Err(); err != nil {
		return nil, 0, err
	}
	switch {
	case build.count == 0:
		if !r.KeepEmpty {
			return nil, 0, nil
		}
		h.count = 0
		h.attributes &^= codecMask | deleteHorizonBit
		h.baseTimestamp = NoTimestamp
		out, err := h.finish(build.buf)
		return out, 0, err
	case build.count == h.count && !setHorizon:
		return b, int(h.count), nil
	}
	h.count = build.count
	if !it.batch.logAppend {
		h.maxTimestamp = build.maxTimestamp
	}
	out := build.buf
	if codec := b.Codec(); codec != None {
		var err error
		if out, err = Compress(make([]byte, HeaderSize, len(b)), out[HeaderSize:], codec, DefaultLevel); err != nil {
			return nil, 0, err
		}
	}
	batch, err := h.finish(out)
	return batch, int(h.count), err
}

// header reads a whole header.
func (b Batch) header() header {
	return header{
		baseOffset:      b.BaseOffset(),
		leaderEpoch:     b.PartitionLeaderEpoch(),
		attributes:      b.Attributes(),
		lastOffsetDelta: b.LastOffsetDelta(),
		baseTimestamp:   b.BaseTimestamp(),
		maxTimestamp:    b.MaxTimestamp(),
		producerID:      b.ProducerID(),
		producerEpoch:   b.ProducerEpoch(),
		baseSequence:    b.BaseSequence(),
		count:           b.Count(),
	}
}

// finish makes a batch of p: room for the header and the records as they are to be.
func (h *header) finish(p []byte) (Batch, error) {
	if len(p) > math.MaxInt32 {
		return nil, fmt.Errorf("finish record batch: %w", kerr.RecordListTooLarge.With(fmt.Sprintf("%d bytes do not fit the length field", len(p))))
	}
	b := Batch(p[:len(p):len(p)])
	h.put(b)
	return b, nil
}
