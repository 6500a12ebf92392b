package record

import (
	"iter"

	"github.com/ottla/ottla/proto/kerr"
)

// Record is one record as a reader sees it.
type Record struct {
	// Offset is the record's position in its partition.
	Offset int64
	// Timestamp is in milliseconds: the record's own, or the batch's append time; [NoTimestamp] when it has none.
	Timestamp int64
	// Key is nil when the record has none; an empty key is not nil. It aliases the batch, or the buffer that the batch was
	// decompressed into.
	Key []byte
	// Value is nil when the record has none (a tombstone in a compacted topic). It aliases as Key does.
	Value []byte
	// Headers are in the producer's order; nil when there are none. Keys may repeat.
	Headers []Header
	// Attributes are the record's own eight flags, none of which has a meaning yet.
	Attributes int8
}

// Header is a name and a value that travel with a record.
type Header struct {
	// Key is the name. It is UTF-8 by convention; brokers keep whatever bytes a producer wrote, as Kafka's do.
	Key string
	// Value may be nil.
	Value []byte
}

// Iterator reads a batch's records one after another:
//
//	var it record.Iterator
//	it.Reset(batch, nil)
//	for it.Next() {
//		use(it.Record())
//	}
//	if err := it.Err(); err != nil { … }
//
// Next allocates nothing for a record without headers, and for headers one slice per some dozens of them and a string per
// name that differs from the previous record's. Records of an uncompressed batch alias the batch. A compressed batch is
// decompressed once, by Reset, into one newly allocated buffer, which the records alias: they stay valid for as long as
// somebody holds them, and hold the whole buffer in memory.
//
// An Iterator may be reset and used again. It belongs to one goroutine.
type Iterator struct {
	rec   Record
	p     []byte // the records, uncompressed
	pos   int
	left  int32 // records still to come
	prev  int64 // offset delta of the record before
	batch batchFacts
	names headerNames
	err   error
}

// batchFacts is what the records of a batch are relative to.
type batchFacts struct {
	baseOffset      int64
	baseTimestamp   int64
	appendTime      int64
	logAppend       bool
	lastOffsetDelta int32
}

// Reset starts the iteration of b from its first record. b must be at least [HeaderSize] long, as Split guarantees; nothing
// else about it is believed. dec decompresses; nil stands for one with the default [Limits].
func (it *Iterator) Reset(b Batch, dec *Decompressor) {
	*it = Iterator{names: it.names, prev: -1, left: b.Count(), batch: batchFacts{
		baseOffset:      b.BaseOffset(),
		baseTimestamp:   b.BaseTimestamp(),
		appendTime:      b.MaxTimestamp(),
		logAppend:       b.TimestampType() == LogAppendTime,
		lastOffsetDelta: b.LastOffsetDelta(),
	}}
	if it.left < 0 {
		it.fail(corrupt(kerr.InvalidRecord, "record count %d is negative", it.left))
		return
	}
	if b.Codec() == None {
		it.p = b[HeaderSize:]
		return
	}
	p, err := dec.orDefault().Records(nil, b)
	if err != nil {
		it.fail(err)
		return
	}
	it.p = p
}

// Next moves to the next record and reports whether there is one. After false, Err tells whether the batch was read to
// its end.
func (it *Iterator) Next() bool {
	if it.left == 0 || it.err != nil {
		return it.end()
	}
	it.left--
	p := it.p
	size, i := varint(p, it.pos)
	if i < 0 || size < 0 || int(size) > len(p)-i {
		return it.malformed("length", i)
	}
	p = p[:i+int(size)]
	it.pos = len(p)
	if i == len(p) {
		return it.malformed("attributes", truncated)
	}
	it.rec.Attributes = int8(p[i])
	timestampDelta, i := varlong(p, i+1)
	if i < 0 {
		return it.malformed("timestamp delta", i)
	}
	offsetDelta, i := varint(p, i)
	if i < 0 || int64(offsetDelta) <= it.prev || offsetDelta > it.batch.lastOffsetDelta {
		return it.badOffset(offsetDelta, i)
	}
	it.prev = int64(offsetDelta)
	it.rec.Offset = it.batch.baseOffset + int64(offsetDelta)
	it.rec.Timestamp = it.batch.baseTimestamp + timestampDelta
	if it.batch.logAppend {
		it.rec.Timestamp = it.batch.appendTime
	}
	if it.rec.Key, i = field(p, i); i < 0 {
		return it.malformed("key", i)
	}
	if it.rec.Value, i = field(p, i); i < 0 {
		return it.malformed("value", i)
	}
	if i == len(p)-1 && p[i] == 0 {
		it.rec.Headers = nil
		return true
	}
	return it.headers(p, i)
}

// Record returns the record that Next moved to. The pointer is good until the following Next or Reset; the slices and
// strings in the record are good for longer, see [Iterator].
func (it *Iterator) Record() *Record { return &it.rec }

// Err returns nil after a whole batch was read, and otherwise what stopped the iteration: a [*CorruptError], [ErrTooLarge]
// or both.
func (it *Iterator) Err() error { return it.err }

// field decodes a length and as many bytes at p[i]; length -1 is nil. The slice it returns has no spare capacity.
func field(p []byte, i int) ([]byte, int) {
	size, i := varint(p, i)
	if i < 0 {
		return nil, i
	}
	if size < 0 {
		if size == -1 {
			return nil, i
		}
		return nil, truncated
	}
	if int(size) > len(p)-i {
		return nil, truncated
	}
	end := i + int(size)
	return p[i:end:end], end
}

// headers decodes the end of a record from its header count on.
func (it *Iterator) headers(p []byte, i int) bool {
	count, i := varint(p, i)
	// A header takes at least two bytes, so a count beyond that is a lie, and nothing is allocated for it.
	if i < 0 || count < 0 || int(count) > (len(p)-i)/2 {
		return it.malformed("header count", i)
	}
	it.rec.Headers = it.names.take(int(count), int(it.left)+1)
	for n := range it.rec.Headers {
		key, next := field(p, i)
		if next < 0 || key == nil {
			return it.malformed("header key", next)
		}
		value, next := field(p, next)
		if next < 0 {
			return it.malformed("header value", next)
		}
		it.rec.Headers[n] = Header{Key: it.names.name(n, key), Value: value}
		i = next
	}
	if i != len(p) {
		return it.malformed("end", truncated)
	}
	return true
}

// headerNames gives out the slices and strings of headers.
type headerNames struct {
	slab []Header // not given out yet
	prev []string // names of an earlier record's headers, by position
}

// take returns n headers that nobody else has, or nil. As many records are still to come, this one included, and may well
// have as many headers each.
func (h *headerNames) take(n, records int) []Header {
	if n == 0 {
		return nil
	}
	if n > len(h.slab) {
		h.slab = make([]Header, max(n, min(n*min(records, headerSlab), headerSlab)))
	}
	got := h.slab[:n:n]
	h.slab = h.slab[n:]
	return got
}

// name returns key as a string: the same one as the previous time when the n-th header of the records is always called so.
func (h *headerNames) name(n int, key []byte) string {
	if n < len(h.prev) {
		if h.prev[n] == string(key) {
			return h.prev[n]
		}
		h.prev[n] = string(key)
		return h.prev[n]
	}
	name := string(key)
	if n < maxRememberedNames {
		h.prev = append(h.prev, name)
	}
	return name
}

// headerSlab is how many headers are allocated at a time, if there is use for them.
const headerSlab = 64

// maxRememberedNames bounds what a hostile record makes an iterator keep.
const maxRememberedNames = 32

// end is Next without a record.
func (it *Iterator) end() bool {
	it.rec = Record{}
	if it.err == nil && it.pos < len(it.p) {
		it.fail(corrupt(kerr.InvalidRecord, "%d bytes follow the last record", len(it.p)-it.pos))
	}
	return false
}

func (it *Iterator) fail(err error) {
	it.rec = Record{}
	it.left = 0
	it.p, it.pos = nil, 0
	it.err = err
}

// malformed ends the iteration at a record of which part cannot be right.
func (it *Iterator) malformed(part string, why int) bool {
	if why == overlong {
		it.fail(corrupt(kerr.InvalidRecord, "record after offset delta %d: %s is an overlong number", it.prev, part))
	} else {
		it.fail(corrupt(kerr.InvalidRecord, "record after offset delta %d: %s does not fit the bytes", it.prev, part))
	}
	return false
}

func (it *Iterator) badOffset(delta int32, i int) bool {
	if i < 0 {
		return it.malformed("offset delta", i)
	}
	it.fail(corrupt(kerr.InvalidRecord, "offset delta %d follows %d in a batch whose last is %d", delta, it.prev, it.batch.lastOffsetDelta))
	return false
}

// Records is the batch's records for a range statement, with the rules of [Iterator]:
//
//	for rec, err := range batch.Records(nil) { … }
//
// After an error, with which the record is empty, there are no more. dec decompresses; nil stands for one with the
// default [Limits].
func (b Batch) Records(dec *Decompressor) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var it Iterator
		it.Reset(b, dec)
		for it.Next() {
			if !yield(it.rec, nil) {
				return
			}
		}
		if it.err != nil {
			yield(Record{}, it.err)
		}
	}
}
