package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/ottla/ottla/proto/kerr"
)

// Sizes in bytes. They follow from the format and do not change.
const (
	// HeaderSize is the size of a batch without records; no batch is smaller.
	HeaderSize = 61
	// LogOverhead is the size of the part of the header that [Peek] needs: base offset and length. The length field
	// counts the bytes after it.
	LogOverhead = 12
	// MaxRecordOverhead is the most that one record without headers adds to its key and value: five varints of up to 5
	// bytes (length, offset delta, key length, value length, header count), one of up to 10 (timestamp delta) and the
	// attributes.
	MaxRecordOverhead = 5*maxVarintLen + maxVarlongLen + 1
	// Magic is the format version that this package reads and writes.
	Magic = 2
)

// Positions of the header's fields. On disk and on the wire: do not change.
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	baseTimestampAt   = 27
	maxTimestampAt    = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	baseSequenceAt    = 53
	countAt           = 57
)

// Attribute bits. On disk and on the wire: do not change.
const (
	codecMask         int16 = 0x07
	logAppendTimeBit  int16 = 1 << 3
	transactionalBit  int16 = 1 << 4
	controlBit        int16 = 1 << 5
	deleteHorizonBit  int16 = 1 << 6
	knownAttributes         = codecMask | logAppendTimeBit | transactionalBit | controlBit | deleteHorizonBit
	minBatchLength          = HeaderSize - LogOverhead
	headerUpToMagic         = magicAt + 1
	noSequence        int32 = -1
	noProducerID      int64 = -1
	noProducerEpoch   int16 = -1
	unknownLeader     int32 = -1
	maxSequenceNumber int32 = math.MaxInt32
)

// NoTimestamp is the timestamp of a record that has none, and the maximum timestamp of a batch without records.
const NoTimestamp int64 = -1

// castagnoli is the polynomial of the format's checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TimestampType says whose clock a batch's timestamps come from (message.timestamp.type, KIP-32).
type TimestampType int8

const (
	// CreateTime means that every record carries the time its producer gave it.
	CreateTime TimestampType = 0
	// LogAppendTime means that all records of a batch have the time at which the leader appended it: the batch's
	// maximum timestamp. The records' own numbers are left as the producer wrote them and mean nothing.
	LogAppendTime TimestampType = 1
)

// String returns the value of message.timestamp.type: CreateTime or LogAppendTime.
func (t TimestampType) String() string {
	switch t {
	case CreateTime:
		return "CreateTime"
	case LogAppendTime:
		return "LogAppendTime"
	}
	return fmt.Sprintf("TimestampType(%d)", int8(t))
}

// Batch is exactly one whole batch: header and records, nothing after. [Split] and [Builder.Finish] make one.
// The accessors read the header in place and allocate nothing; they need at least [HeaderSize] bytes and panic on less.
// They believe what is written: a batch from a peer may claim anything until [Validate] accepted it.
//
// A Batch may be read by many goroutines at once. The Set methods write into it and need it alone.
type Batch []byte

// BaseOffset is the offset of the first record that the batch was built with. Compaction keeps it when it removes that record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[baseOffsetAt:])) }

// LastOffset is the offset of the last record that the batch was built with.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the batch: LastOffset + 1.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// Length is the size in bytes that the header claims for the whole batch, base offset and length field included. For a
// whole batch it is len(b).
func (b Batch) Length() int { return LogOverhead + int(int32(binary.BigEndian.Uint32(b[lengthAt:]))) }

// PartitionLeaderEpoch is the epoch of the leader that appended the batch; -1 in a batch that no leader has seen.
func (b Batch) PartitionLeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[leaderEpochAt:])) }

// Magic is the format version, 2.
func (b Batch) Magic() int8 { return int8(b[magicAt]) }

// CRC is the checksum that the header holds.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcAt:]) }

// Attributes is the bit field from which Codec, TimestampType, IsTransactional, IsControl and HasDeleteHorizon read.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[attributesAt:])) }

// Codec is the compression of the records. Values above [Zstd] are in no specification.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & codecMask) }

// TimestampType says whose clock the timestamps come from.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&logAppendTimeBit != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&transactionalBit != 0 }

// IsControl reports whether the batch holds a transaction marker instead of a user's records; see [ParseMarker].
func (b Batch) IsControl() bool { return b.Attributes()&controlBit != 0 }

// HasDeleteHorizon reports whether the cleaner has put a time into the base timestamp after which the batch's tombstones
// and markers may go (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&deleteHorizonBit != 0 }

// DeleteHorizon is the time in milliseconds after which the batch's tombstones and markers may go; ok is false when the
// cleaner has not set one.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	if !b.HasDeleteHorizon() {
		return NoTimestamp, false
	}
	return b.BaseTimestamp(), true
}

// LastOffsetDelta is LastOffset - BaseOffset. Compaction keeps it when it removes the last record.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[lastOffsetDeltaAt:]))
}

// BaseTimestamp is the number that the records' timestamp deltas count from: the first record's timestamp, or the delete
// horizon. Milliseconds.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[baseTimestampAt:])) }

// MaxTimestamp is the largest timestamp of a record, or the append time of all of them, in milliseconds.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[maxTimestampAt:])) }

// ProducerID identifies the idempotent or transactional producer; -1 means none.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[producerIDAt:])) }

// HasProducerID reports whether the batch comes from an idempotent or transactional producer.
func (b Batch) HasProducerID() bool { return b.ProducerID() > noProducerID }

// ProducerEpoch tells instances of one producer id apart; -1 means none.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[producerEpochAt:])) }

// BaseSequence is the first record's sequence number; -1 means none.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[baseSequenceAt:])) }

// LastSequence is the sequence number of the last record that the batch was built with; -1 when there are none.
// Sequence numbers wrap from 2147483647 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == noSequence {
		return noSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// Count is the number of records. It is 0 only in a batch that compaction emptied and kept for its sequence numbers.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[countAt:])) }

// RecordsSize is the size in bytes of everything after the header, compressed if there is a codec.
func (b Batch) RecordsSize() int { return len(b) - HeaderSize }

// AddSequence returns the sequence number n records after seq. Both are 0 or more; numbers wrap from 2147483647 to 0.
func AddSequence(seq, n int32) int32 {
	if seq > maxSequenceNumber-n {
		return n - (maxSequenceNumber - seq) - 1
	}
	return seq + n
}

// SetBaseOffset numbers the batch. The field lies outside the CRC.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(offset))
}

// SetPartitionLeaderEpoch writes the epoch of the leader that appends the batch. The field lies outside the CRC.
func (b Batch) SetPartitionLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(epoch))
}

// SetLogAppendTime gives all records the time now, in milliseconds: it sets the timestamp type and the maximum timestamp
// and computes the CRC again. The records' own timestamp deltas are left alone.
func (b Batch) SetLogAppendTime(now int64) {
	b.setTimestamps(b.Attributes()|logAppendTimeBit, now)
}

// SetMaxTimestamp writes the largest timestamp of the records, in milliseconds, into a batch with [CreateTime]. The CRC is
// computed again, but only if the batch says something else now.
func (b Batch) SetMaxTimestamp(ms int64) {
	b.setTimestamps(b.Attributes()&^logAppendTimeBit, ms)
}

func (b Batch) setTimestamps(attributes int16, maxTimestamp int64) {
	if b.Attributes() == attributes && b.MaxTimestamp() == maxTimestamp {
		return
	}
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(attributes))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(maxTimestamp))
	b.setCRC()
}

// SetProducer stamps the batch with a producer's id, epoch and first sequence number and computes the CRC again. A
// producer uses it for batches that wait to be sent when its epoch is raised and their numbering starts over (KIP-360).
func (b Batch) SetProducer(id int64, epoch int16, baseSequence int32) {
	binary.BigEndian.PutUint64(b[producerIDAt:], uint64(id))
	binary.BigEndian.PutUint16(b[producerEpochAt:], uint16(epoch))
	binary.BigEndian.PutUint32(b[baseSequenceAt:], uint32(baseSequence))
	b.setCRC()
}

// CheckCRC reports whether the bytes from the attributes to the end have the checksum that the header holds.
func (b Batch) CheckCRC() bool { return crc32.Checksum(b[attributesAt:], castagnoli) == b.CRC() }

func (b Batch) setCRC() {
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
}

// String describes the batch in one line, for logs and failing tests.
func (b Batch) String() string {
	if len(b) < HeaderSize {
		return fmt.Sprintf("batch of %d bytes", len(b))
	}
	return fmt.Sprintf("batch offsets %d..%d, %d records, %d bytes, %s, epoch %d, %s max %d, producer %d/%d sequence %d, transactional %t, control %t",
		b.BaseOffset(), b.LastOffset(), b.Count(), len(b), b.Codec(), b.PartitionLeaderEpoch(), b.TimestampType(),
		b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional(), b.IsControl())
}

// header is everything in a batch's header that is not computed from the records' bytes.
type header struct {
	baseOffset      int64
	leaderEpoch     int32
	attributes      int16
	lastOffsetDelta int32
	baseTimestamp   int64
	maxTimestamp    int64
	producerID      int64
	producerEpoch   int16
	baseSequence    int32
	count           int32
}

// put writes the header, length and CRC included, over the first bytes of b, which is the whole batch.
func (h *header) put(b Batch) {
	binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(h.baseOffset))
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-LogOverhead))
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(h.leaderEpoch))
	b[magicAt] = Magic
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(h.attributes))
	binary.BigEndian.PutUint32(b[lastOffsetDeltaAt:], uint32(h.lastOffsetDelta))
	binary.BigEndian.PutUint64(b[baseTimestampAt:], uint64(h.baseTimestamp))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(h.maxTimestamp))
	binary.BigEndian.PutUint64(b[producerIDAt:], uint64(h.producerID))
	binary.BigEndian.PutUint16(b[producerEpochAt:], uint16(h.producerEpoch))
	binary.BigEndian.PutUint32(b[baseSequenceAt:], uint32(h.baseSequence))
	binary.BigEndian.PutUint32(b[countAt:], uint32(h.count))
	b.setCRC()
}

// CorruptError says that bytes are not a batch, or that a batch's records are not what its header says. Its Code tells
// what a broker answers; errors.Is(err, kerr.CorruptMessage) works.
type CorruptError struct {
	// Code is CORRUPT_MESSAGE, UNSUPPORTED_FOR_MESSAGE_FORMAT, UNSUPPORTED_COMPRESSION_TYPE or INVALID_RECORD.
	Code kerr.Code
	// Reason says what is wrong, with the numbers that disagree.
	Reason string
	// Cause is the error of a decompressor, or nil.
	Cause error
}

// Error returns the reason and the cause.
func (e *CorruptError) Error() string {
	if e.Cause != nil {
		return "record batch: " + e.Reason + ": " + e.Cause.Error()
	}
	return "record batch: " + e.Reason
}

// Unwrap returns the code and the cause.
func (e *CorruptError) Unwrap() []error {
	if e.Cause != nil {
		return []error{e.Code, e.Cause}
	}
	return []error{e.Code}
}

func corrupt(code kerr.Code, format string, args ...any) *CorruptError {
	return &CorruptError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Peek returns the size in bytes of the whole batch that p starts with, from its first 12 bytes; ok is false when there are
// fewer. In hostile or damaged bytes the size may be anything, also negative: only a size of [HeaderSize] or more can be
// a batch.
func Peek(p []byte) (size int, ok bool) {
	if len(p) < LogOverhead {
		return 0, false
	}
	return Batch(p).Length(), true
}

// Split takes one whole batch off the front of p. Both results alias p, and first has no spare capacity. The error is
// io.ErrUnexpectedEOF when p ends before the batch does (also when p is empty), and a [*CorruptError] when p cannot be the
// beginning of a batch: impossible length or other format version. Neither CRC nor records are looked at.
func Split(p []byte) (first Batch, rest []byte, err error) {
	size, ok := Peek(p)
	if !ok {
		return nil, p, io.ErrUnexpectedEOF
	}
	if len(p) >= headerUpToMagic && p[magicAt] != Magic {
		return nil, p, magicError(int8(p[magicAt]))
	}
	if size < HeaderSize {
		return nil, p, corrupt(kerr.CorruptMessage, "length field %d is less than the smallest batch's %d", size-LogOverhead, minBatchLength)
	}
	if size > len(p) {
		return nil, p, io.ErrUnexpectedEOF
	}
	return Batch(p[:size:size]), p[size:], nil
}

// magicError is the error for a format version other than 2: versions 0 and 1 exist, but not here.
func magicError(magic int8) *CorruptError {
	if magic == 0 || magic == 1 {
		return corrupt(kerr.UnsupportedForMessageFormat, "message format version %d is not supported, only version %d is", magic, Magic)
	}
	return corrupt(kerr.CorruptMessage, "message format version %d does not exist", magic)
}
