package record

import (
	"errors"
	"fmt"
	"math"
)

// maxRecordSize keeps the length of a batch with one record within its 32-bit field.
const maxRecordSize = math.MaxInt32 - LogOverhead - HeaderSize - MaxRecordOverhead

// Builder is a batch that is being filled: a producer's open batch, or one that a broker writes to a topic of its own.
// Records go into one buffer in their final form. Append allocates only when it has to grow that buffer, which does not
// happen with a buffer whose capacity is the limit unless a single record is larger.
//
//	b := record.NewBuilder(buf, 16384)
//	b.Append(ms, key, value, nil)
//	batch, err := b.Finish(record.None, record.DefaultLevel, id, epoch, sequence, false)
//
// A Builder belongs to one goroutine.
type Builder struct {
	buf             []byte // HeaderSize bytes of room, then the records
	out             []byte // the finished batch, if it is compressed
	limit           int
	count           int32
	lastOffsetDelta int32
	baseTimestamp   int64
	maxTimestamp    int64
}

// NewBuilder returns an empty builder that fills buf (its capacity is what counts; nil is fine) with a batch of at most
// limit bytes before compression, header included. A first record is taken even if it alone exceeds the limit.
func NewBuilder(buf []byte, limit int) *Builder {
	b := &Builder{limit: limit}
	b.Reset(buf)
	return b
}

// Reset makes the builder empty, with buf as its buffer; nil keeps the one it has. Batches that Finish returned may have
// to be given up before, see there.
func (b *Builder) Reset(buf []byte) {
	if buf == nil {
		buf = b.buf
	}
	if cap(buf) < HeaderSize {
		buf = make([]byte, HeaderSize, max(HeaderSize, min(b.limit, 512)))
	}
	b.buf = buf[:HeaderSize]
	b.count = 0
	b.lastOffsetDelta = -1
	b.baseTimestamp = NoTimestamp
	b.maxTimestamp = NoTimestamp
}

// Append adds a record; the timestamp is in milliseconds, a nil key or value is null, header keys should be UTF-8.
// Nothing that is passed is kept. It returns false, and adds nothing, when the batch would grow beyond its limit and is not
// empty, or when the record is so large that no batch can hold it (2 GiB).
func (b *Builder) Append(timestampMs int64, key, value []byte, headers []Header) bool {
	if b.count == 0 {
		b.baseTimestamp = timestampMs
	}
	return b.append(b.lastOffsetDelta+1, 0, timestampMs, key, value, headers)
}

// append adds a record with any offset delta beyond the last, relative to the base timestamp that is set already.
func (b *Builder) append(offsetDelta int32, attributes int8, timestampMs int64, key, value []byte, headers []Header) bool {
	timestampDelta := zigzag64(timestampMs - b.baseTimestamp)
	size := 1 + uvarintLen(timestampDelta) + uvarintLen(zigzag32(offsetDelta)) + fieldLen(key) + fieldLen(value) + 1
	if len(headers) != 0 {
		size += headersLen(headers) - 1
	}
	start := len(b.buf)
	end := start + uvarintLen(uint64(size)<<1) + size
	if end > b.limit && b.count > 0 || size > maxRecordSize || offsetDelta < 0 {
		return false
	}
	if end > cap(b.buf) {
		b.grow(end)
	}
	p := b.buf[:end]
	i := putUvarint(p, start, uint64(size)<<1)
	p[i] = byte(attributes)
	i = putUvarint(p, i+1, timestampDelta)
	i = putUvarint(p, i, zigzag32(offsetDelta))
	i = putField(p, i, key)
	i = putField(p, i, value)
	if len(headers) == 0 {
		p[i] = 0
	} else {
		putHeaders(p, i, headers)
	}
	b.buf = p
	if timestampMs > b.maxTimestamp || b.count == 0 {
		b.maxTimestamp = timestampMs
	}
	b.lastOffsetDelta = offsetDelta
	b.count++
	return true
}

// grow makes room for n bytes in all.
func (b *Builder) grow(n int) {
	grown := make([]byte, len(b.buf), max(n, min(2*cap(b.buf), b.limit)))
	copy(grown, b.buf)
	b.buf = grown
}

// EstimatedSize is the size in bytes that the batch has now, header included and before compression.
func (b *Builder) EstimatedSize() int { return len(b.buf) }

// Count is the number of records.
func (b *Builder) Count() int { return int(b.count) }

// MaxTimestamp is the largest timestamp of a record so far; [NoTimestamp] when there are no records.
func (b *Builder) MaxTimestamp() int64 { return b.maxTimestamp }

// errEmpty is what Finish says without records.
var errEmpty = errors.New("finish record batch: it has no records")

// Finish writes the header and returns the whole batch, with base offset 0 and leader epoch -1, as a client sends it.
// codec compresses the records at level ([DefaultLevel], or see [Codec.CheckLevel]). Producers without idempotence pass
// -1, -1, -1 and false.
//
// The batch aliases a buffer of the builder: the one that was passed to NewBuilder or Reset (or that replaced it) if codec
// is [None], and another one that the builder keeps otherwise. It is valid until the next Finish, Append or Reset, except
// that a Reset with a new buffer leaves an uncompressed batch to its holder.
//
// Finish may be called again, for example with another sequence number. It fails without records, with an unknown codec
// or level, and for a batch beyond 2 GiB.
func (b *Builder) Finish(codec Codec, level int, producerID int64, epoch int16, sequence int32, transactional bool) (Batch, error) {
	if b.count == 0 {
		return nil, errEmpty
	}
	batch := b.buf
	if codec != None {
		out, err := Compress(append(b.out[:0], b.buf[:HeaderSize]...), b.buf[HeaderSize:], codec, level)
		if err != nil {
			return nil, fmt.Errorf("finish record batch of %d records: %w", b.count, err)
		}
		b.out, batch = out, out
	}
	h := header{
		leaderEpoch:     unknownLeader,
		attributes:      int16(codec),
		lastOffsetDelta: b.lastOffsetDelta,
		baseTimestamp:   b.baseTimestamp,
		maxTimestamp:    b.maxTimestamp,
		producerID:      producerID,
		producerEpoch:   epoch,
		baseSequence:    sequence,
		count:           b.count,
	}
	if transactional {
		h.attributes |= transactionalBit
	}
	return h.finish(batch)
}

// UncompressedSize is the most that a record adds to a batch, in bytes.
func UncompressedSize(key, value []byte, headers []Header) int {
	return MaxRecordOverhead - 3*maxVarintLen + fieldLen(key) + fieldLen(value) + headersLen(headers)
}

// fieldLen is the encoded size of a key or value.
func fieldLen(v []byte) int {
	if v == nil {
		return 1
	}
	return uvarintLen(uint64(len(v))<<1) + len(v)
}

// putField writes a key or value at p[i].
func putField(p []byte, i int, v []byte) int {
	if v == nil {
		p[i] = 1 // -1 in zig-zag
		return i + 1
	}
	i = putUvarint(p, i, uint64(len(v))<<1)
	return i + copy(p[i:], v)
}

// headersLen is the encoded size of a record's headers, their count included.
func headersLen(headers []Header) int {
	n := uvarintLen(uint64(len(headers)) << 1)
	for i := range headers {
		h := &headers[i]
		n += uvarintLen(uint64(len(h.Key))<<1) + len(h.Key) + fieldLen(h.Value)
	}
	return n
}

// putHeaders writes headers and their count at p[i].
func putHeaders(p []byte, i int, headers []Header) {
	i = putUvarint(p, i, uint64(len(headers))<<1)
	for n := range headers {
		h := &headers[n]
		i = putUvarint(p, i, uint64(len(h.Key))<<1)
		i += copy(p[i:], h.Key)
		i = putField(p, i, h.Value)
	}
}
