package record

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ottla/ottla/proto/kerr"
)

// Validation is what a leader demands of a batch before it appends it. Start from [DefaultValidation]. A Validation is
// only read, and may serve many goroutines.
type Validation struct {
	// MaxMessageBytes is max.message.bytes: the largest size of a whole batch as it came, compressed or not.
	MaxMessageBytes int
	// RequireKeys refuses null keys: cleanup.policy contains compact.
	RequireKeys bool
	// TimestampType is message.timestamp.type. With LogAppendTime the records' own timestamps are not looked at, and the
	// caller stamps the batch with [Batch.SetLogAppendTime] afterwards.
	TimestampType TimestampType
	// Now is the leader's clock in milliseconds.
	Now int64
	// BeforeMaxMs and AfterMaxMs are message.timestamp.before.max.ms and message.timestamp.after.max.ms (KIP-937): how
	// far a record's timestamp may lie before and after Now. math.MaxInt64 means that it may lie anywhere.
	BeforeMaxMs, AfterMaxMs int64
	// AllowNoTimestamp takes records with the timestamp -1, whatever the limits, as Kafka's brokers do.
	AllowNoTimestamp bool
	// AllowBaseOffset takes a base offset other than 0. Clients send 0.
	AllowBaseOffset bool
	// AllowControl takes transaction markers. Clients must not send them.
	AllowControl bool
	// AllowNoSequence takes batches with a producer id and the base sequence -1. Coordinators write them, clients must not.
	AllowNoSequence bool
	// Limits bound decompression.
	Limits Limits
}

// DefaultValidation is what Kafka demands of a client under its default settings: 1 MiB and a little, any timestamp from
// 1970 on, no markers.
func DefaultValidation() Validation {
	return Validation{MaxMessageBytes: 1048588, BeforeMaxMs: math.MaxInt64, AfterMaxMs: math.MaxInt64}
}

// Info is what Validate learned about a batch. Of a batch that is refused, only RecordErrors are filled in.
type Info struct {
	// Codec is the batch's compression.
	Codec Codec
	// Count is the number of records, which is also the number of offsets the batch takes.
	Count int32
	// MaxTimestamp is the largest timestamp of a record in milliseconds; [NoTimestamp] under LogAppendTime, where it is for
	// the caller to choose.
	MaxTimestamp int64
	// MaxTimestampDelta is the offset delta of the first record that has MaxTimestamp; the last record's under
	// LogAppendTime.
	MaxTimestampDelta int32
	// UncompressedSize is the size of the records in bytes, without the header and after decompression.
	UncompressedSize int64
	// Rewritten says that Validate corrected the batch's maximum timestamp, and with it its CRC.
	Rewritten bool
	// RecordErrors name the records that are the reason for INVALID_TIMESTAMP or, in a compacted topic, INVALID_RECORD: the
	// first [MaxRecordErrors] of them. Empty when the batch as such is wrong.
	RecordErrors []RecordError
}

// MaxRecordErrors is how many of a batch's bad records Validate names.
const MaxRecordErrors = 32

// RecordError says which record of a batch was refused, and why (KIP-467).
type RecordError struct {
	// Index is the record's position in the batch, from 0.
	Index int32
	// Message is for the producer's logs.
	Message string
}

// Validate checks everything about a batch that a leader must know before it appends it: that b is exactly one batch,
// whole and undamaged, of this format, not too large; that its header makes sense; and every single record, decompressed
// if need be (F§4.8, Kafka classes UnifiedLog and LogValidator). It assigns nothing, except that under CreateTime it
// corrects a maximum timestamp that is not the records' ([Info].Rewritten). The caller needs b alone.
//
// The error is a [*kerr.Error] with the code that the producer gets:
//
//	CORRUPT_MESSAGE                 not a batch, damaged, length field wrong
//	UNSUPPORTED_FOR_MESSAGE_FORMAT  message formats 0 and 1
//	UNSUPPORTED_COMPRESSION_TYPE    codecs 5 to 7
//	MESSAGE_TOO_LARGE               larger than MaxMessageBytes
//	INVALID_TIMESTAMP               a record's timestamp is out of range; LogAppendTime set by the client
//	INVALID_RECORD                  everything else: header and records disagree, more than one batch, decompressed size
//	                                beyond the limit, missing key, …
//
// Memory does not grow with the number of records nor with what they decompress to: a compressed batch is checked while
// it is being decompressed. Only a snappy block, at most 22 times the batch's size, is decompressed as a whole.
func Validate(b Batch, v *Validation) (Info, error) {
	if err := checkFrame(b, v); err != nil {
		return Info{}, err
	}
	if err := checkHeader(b, v); err != nil {
		return Info{}, err
	}
	c := newChecker(b, v)
	var err *kerr.Error
	if codec := b.Codec(); codec == None {
		w := window{buf: b[HeaderSize:], eof: true}
		err = c.run(&w)
	} else {
		err = c.runCompressed(codec, b[HeaderSize:], v.Limits)
	}
	if err == nil {
		err = c.verdict()
	}
	if err != nil {
		return Info{RecordErrors: c.recordErrors}, err
	}
	info := Info{
		Codec:             b.Codec(),
		Count:             c.count,
		MaxTimestamp:      c.maxTimestamp,
		MaxTimestampDelta: c.maxTimestampDelta,
		UncompressedSize:  c.size,
	}
	if v.TimestampType == LogAppendTime {
		info.MaxTimestamp, info.MaxTimestampDelta = NoTimestamp, c.count-1
	} else if b.MaxTimestamp() != c.maxTimestamp {
		b.SetMaxTimestamp(c.maxTimestamp)
		info.Rewritten = true
	}
	return info, nil
}

func refuse(code kerr.Code, format string, args ...any) *kerr.Error {
	return code.With(fmt.Sprintf(format, args...))
}

// checkFrame checks what can be known without understanding the batch: format, size, checksum.
func checkFrame(b Batch, v *Validation) error {
	if len(b) >= headerUpToMagic && b[magicAt] != Magic {
		e := magicError(int8(b[magicAt]))
		return e.Code.With(e.Reason)
	}
	if len(b) < HeaderSize {
		return refuse(kerr.CorruptMessage, "%d bytes cannot hold a record batch, whose header alone has %d", len(b), HeaderSize)
	}
	switch size := b.Length(); {
	case size < HeaderSize || size > len(b):
		return refuse(kerr.CorruptMessage, "batch length field says %d bytes in all, there are %d", size, len(b))
	case size < len(b):
		if second, _, err := Split(b[size:]); err == nil {
			return refuse(kerr.InvalidRecord, "a second batch of %d bytes follows the first: produce requests hold exactly one per partition", len(second))
		}
		return refuse(kerr.CorruptMessage, "batch length field says %d bytes in all, there are %d", size, len(b))
	}
	if !v.AllowBaseOffset && b.BaseOffset() != 0 {
		return refuse(kerr.InvalidRecord, "base offset is %d, clients send 0", b.BaseOffset())
	}
	if len(b) > v.MaxMessageBytes {
		return refuse(kerr.MessageTooLarge, "the record batch size is %d bytes which exceeds the maximum configured value of %d", len(b), v.MaxMessageBytes)
	}
	if !b.CheckCRC() {
		return refuse(kerr.CorruptMessage, "record is corrupt: the stored crc is %d, the computed one differs", b.CRC())
	}
	return nil
}

// checkHeader checks the header's fields against each other and against what clients may set.
func checkHeader(b Batch, v *Validation) error {
	count := b.Count()
	attributes := b.Attributes()
	switch {
	case !b.Codec().Valid():
		return refuse(kerr.UnsupportedCompressionType, "attributes name the compression codec %d, which does not exist", b.Codec())
	case attributes&^knownAttributes != 0:
		return refuse(kerr.InvalidRecord, "attributes %#x have bits without a meaning", uint16(attributes))
	case b.HasDeleteHorizon():
		return refuse(kerr.InvalidRecord, "attributes have the delete horizon bit, which only the log cleaner sets")
	case b.IsControl() && !v.AllowControl:
		return refuse(kerr.InvalidRecord, "clients are not allowed to write control records")
	case b.IsControl() && count != 1:
		return refuse(kerr.InvalidRecord, "control batch has %d records instead of one", count)
	case count <= 0:
		return refuse(kerr.InvalidRecord, "record count is %d", count)
	case b.LastOffsetDelta() != count-1:
		return refuse(kerr.InvalidRecord, "last offset delta is %d in a batch of %d records", b.LastOffsetDelta(), count)
	case b.BaseOffset() < 0 || b.BaseOffset() > math.MaxInt64-int64(count):
		return refuse(kerr.InvalidRecord, "base offset %d leaves no room for %d records", b.BaseOffset(), count)
	case b.TimestampType() == LogAppendTime:
		return refuse(kerr.InvalidTimestamp, "invalid timestamp type: producers must not set it to LogAppendTime")
	}
	return checkProducer(b, v)
}

// checkProducer checks the fields of idempotent and transactional producers.
func checkProducer(b Batch, v *Validation) error {
	id, epoch, sequence := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	switch {
	case id < noProducerID:
		return refuse(kerr.InvalidRecord, "producer id is %d", id)
	case id == noProducerID && b.IsTransactional():
		return refuse(kerr.InvalidRecord, "transactional batch without a producer id")
	case id == noProducerID:
		return nil
	case epoch < 0:
		return refuse(kerr.InvalidRecord, "producer id %d has the epoch %d", id, epoch)
	case sequence < 0 && !b.IsControl() && !(v.AllowNoSequence && sequence == noSequence):
		return refuse(kerr.InvalidRecord, "invalid sequence number %d in record batch with producer id %d", sequence, id)
	}
	return nil
}

// checker goes over the records of one batch. Its methods neither keep nor change what they are shown.
type checker struct {
	count         int32
	next          int32 // offset delta that must come next, also the record's index
	baseTimestamp int64
	requireKeys   bool
	checkTimes    bool
	noTimestamp   bool  // -1 is fine
	earliest      int64 // of a record's timestamp
	latest        int64

	maxTimestamp      int64
	maxTimestampDelta int32
	size              int64

	badTimes     int
	badRecords   int // badTimes included
	recordErrors []RecordError
}

func newChecker(b Batch, v *Validation) checker {
	c := checker{
		count:         b.Count(),
		baseTimestamp: b.BaseTimestamp(),
		requireKeys:   v.RequireKeys,
		checkTimes:    v.TimestampType == CreateTime,
		noTimestamp:   v.AllowNoTimestamp,
		earliest:      max(0, v.Now-min(v.BeforeMaxMs, v.Now)),
		latest:        v.Now + min(v.AfterMaxMs, math.MaxInt64-max(v.Now, 0)),
		maxTimestamp:  math.MinInt64,
	}
	return c
}

// run checks the records in w, which must be all that w holds.
func (c *checker) run(w *window) *kerr.Error {
	for c.next < c.count {
		body, ok := w.record()
		var err *kerr.Error
		switch {
		case ok:
			err = c.record(body)
		default:
			err = c.pieces(w)
		}
		if err != nil {
			return err
		}
		c.next++
	}
	if rest, err := w.rest(); err != nil {
		return c.unreadable(err)
	} else if rest {
		return refuse(kerr.InvalidRecord, "bytes follow the last of %d records", c.count)
	}
	c.size = w.total()
	return nil
}

// record checks one record, of which p is everything after the length.
func (c *checker) record(p []byte) *kerr.Error {
	if len(p) == 0 {
		return c.malformed("attributes", truncated)
	}
	timestampDelta, i := varlong(p, 1)
	if i < 0 {
		return c.malformed("timestamp delta", i)
	}
	offsetDelta, i := varint(p, i)
	if i < 0 {
		return c.malformed("offset delta", i)
	}
	if offsetDelta != c.next {
		return c.badOffset(offsetDelta)
	}
	keySize, i := varint(p, i)
	if i < 0 || keySize < -1 || int(keySize) > len(p)-i {
		return c.malformed("key", i)
	}
	i += max(int(keySize), 0)
	valueSize, i := varint(p, i)
	if i < 0 || valueSize < -1 || int(valueSize) > len(p)-i {
		return c.malformed("value", i)
	}
	i += max(int(valueSize), 0)
	if i != len(p)-1 || p[i] != 0 {
		if err := c.headers(p, i); err != nil {
			return err
		}
	}
	c.fields(timestampDelta, keySize < 0)
	return nil
}

// headers checks the end of a record from its header count on.
func (c *checker) headers(p []byte, i int) *kerr.Error {
	count, i := varint(p, i)
	if i < 0 || count < 0 || int(count) > (len(p)-i)/2 {
		return c.malformed("header count", i)
	}
	for range count {
		var size int32
		size, i = varint(p, i)
		if i < 0 || size < 0 || int(size) > len(p)-i {
			return c.malformed("header key", i)
		}
		size, i = varint(p, i+int(size))
		if i < 0 || size < -1 || int(size) > len(p)-i {
			return c.malformed("header value", i)
		}
		i += max(int(size), 0)
	}
	if i != len(p) {
		return c.malformed("end", truncated)
	}
	return nil
}

// fields judges a well-formed record's timestamp and key.
func (c *checker) fields(timestampDelta int64, nullKey bool) {
	if nullKey && c.requireKeys {
		c.refuseRecord("compacted topic cannot accept message without key")
		return
	}
	if !c.checkTimes {
		return
	}
	timestamp := c.baseTimestamp + timestampDelta
	overflow := (c.baseTimestamp^timestamp)&(timestampDelta^timestamp) < 0
	if timestamp > c.maxTimestamp {
		c.maxTimestamp = timestamp
		c.maxTimestampDelta = c.next
	}
	if timestamp >= c.earliest && timestamp <= c.latest && !overflow || timestamp == NoTimestamp && c.noTimestamp {
		return
	}
	c.badTimes++
	if overflow {
		c.refuseRecord("timestamp delta %d from base timestamp %d does not fit 64 bits", timestampDelta, c.baseTimestamp)
		return
	}
	c.refuseRecord("timestamp %d is out of range: it should be within [%d, %d]", timestamp, c.earliest, c.latest)
}

// refuseRecord notes that the record at hand is the reason to refuse the batch.
func (c *checker) refuseRecord(format string, args ...any) {
	c.badRecords++
	if len(c.recordErrors) < MaxRecordErrors {
		c.recordErrors = append(c.recordErrors, RecordError{Index: c.next, Message: fmt.Sprintf(format, args...)})
	}
}

// verdict turns the refused records into the batch's error. Timestamps go first, as in Kafka.
func (c *checker) verdict() *kerr.Error {
	if c.badRecords == 0 {
		return nil
	}
	if c.badTimes > 0 {
		return kerr.InvalidTimestamp.With("one or more records have been rejected due to invalid timestamp")
	}
	var b strings.Builder
	for _, e := range c.recordErrors[:min(3, len(c.recordErrors))] {
		fmt.Fprintf(&b, "; record %d: %s", e.Index, e.Message)
	}
	return refuse(kerr.InvalidRecord, "one or more records have been rejected due to %d record errors in total, showing at most the first three%s",
		c.badRecords, b.String())
}

func (c *checker) badOffset(delta int32) *kerr.Error {
	return refuse(kerr.InvalidRecord, "record %d has the offset delta %d: a producer numbers from 0 without gaps", c.next, delta)
}

// malformed is the error for a record of which part cannot be right.
func (c *checker) malformed(part string, why int) *kerr.Error {
	if why == overlong {
		return refuse(kerr.InvalidRecord, "record %d of %d: %s is an overlong number", c.next, c.count, part)
	}
	return refuse(kerr.InvalidRecord, "record %d of %d: %s does not fit the bytes", c.next, c.count, part)
}

// unreadable is the error for compressed records that cannot be decompressed. It is INVALID_RECORD and not
// CORRUPT_MESSAGE: the checksum was right, so the producer would send the same again.
func (c *checker) unreadable(err error) *kerr.Error {
	reason := err.Error()
	if e, ok := errors.AsType[*CorruptError](err); ok {
		reason = e.Reason
	}
	return refuse(kerr.InvalidRecord, "record %d of %d cannot be decompressed: %s", c.next, c.count, reason)
}
