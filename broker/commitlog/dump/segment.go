package dump

//lint:file-ignore ST1005 the texts are those of Kafka's tool and are printed as they are

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"

	"github.com/ottla/ottla/proto/record"
)

// Where things are in a batch of any version. On disk: do not change (F§4.4).
const (
	lengthAt      = 8
	overhead      = 12 // offset and length, which the length does not count
	magicAt       = 16
	upToMagic     = 17
	coveredAt     = 21 // from here on the checksum of a batch covers everything
	minLength     = 14 // of the smallest record of version 0
	magicTwo      = 2
	legacyCRCAt   = 12
	legacyAttrsAt = 17
	legacyTimeAt  = 18
	legacyMin     = 26 // header of a record of version 1 that is looked at
)

// Bounds on the memory that a batch may take, in bytes, when its records are shown.
const (
	maxBatch        = 128 << 20
	maxDecompressed = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is the header of a batch in a segment. Of versions before 2 only magic, size and at mean something.
type head struct {
	record.Batch        // the header alone
	magic        int8   // version
	at           int64  // position in the file
	size         int64  // of the whole batch
	legacy       []byte // the header of an older version
}

// next reads the header at a position. ok is false where no whole batch is left before end. buf takes the header.
func (s *source) next(at, end int64, buf *[record.HeaderSize]byte) (h head, ok bool, err error) {
	if at >= end-upToMagic {
		return h, false, nil
	}
	p := buf[:min(int64(len(buf)), end-at)]
	if err := s.read(p, at); err != nil {
		return h, false, err
	}
	length := int64(int32(binary.BigEndian.Uint32(p[lengthAt:])))
	if length < minLength {
		return h, false, fmt.Errorf("Found record size %d smaller than minimum record overhead (%d) in file %s.", length, minLength, absolute(s.name)) //nolint:staticcheck,revive // Kafka's words
	}
	if at > end-overhead-length {
		return h, false, nil
	}
	h = head{magic: int8(p[magicAt]), at: at, size: overhead + length}
	switch {
	case h.magic < magicTwo && h.size >= legacyMin:
		h.legacy = p[:legacyMin]
	case h.magic < magicTwo || h.size < record.HeaderSize:
		return h, false, fmt.Errorf("%s: a batch of version %d at %d has %d bytes, fewer than its header", absolute(s.name), h.magic, at, h.size)
	default:
		h.Batch = record.Batch(p)
	}
	return h, true, nil
}

// checksum computes a checksum over a part of the file, in pieces.
func (s *source) checksum(table *crc32.Table, from, to int64) (uint32, error) {
	var sum uint32
	buf := make([]byte, min(to-from, 64<<10))
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		if err := s.read(p, from); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, table, p)
		from += int64(len(p))
	}
	return sum, nil
}

// segment dumps a .log file.
func (d *dumper) segment(ctx context.Context, name string) error {
	for _, note := range d.Notes {
		d.printf("%s\n", note)
	}
	base, err := baseOffset(name)
	if err != nil {
		return err
	}
	d.printf("Log starting offset: %d\n", base)
	s, err := d.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	end := min(s.size, int64(d.MaxBytes))
	var buf [record.HeaderSize]byte
	var at int64
	last := int64(-1)
	for ctx.Err() == nil {
		h, ok, err := s.next(at, end, &buf)
		if err != nil {
			d.complain("%v", err)
		}
		if !ok {
			break
		}
		if err := d.batch(s, &h); err != nil {
			return err
		}
		if d.Deep {
			if err := d.records(s, &h, &last); err != nil {
				d.complain("%v", err)
			}
		}
		at += h.size
	}
	if at < end && d.MaxBytes == DefaultMaxBytes && ctx.Err() == nil {
		d.printf("Found %d invalid bytes at the end of %s\n", end-at, filepath.Base(name))
	}
	return ctx.Err()
}

// batch prints the line of a batch.
func (d *dumper) batch(s *source, h *head) error {
	if h.legacy != nil {
		return d.legacyBatch(s, h)
	}
	sum, err := s.checksum(castagnoli, h.at+coveredAt, h.at+h.size)
	if err != nil {
		return err
	}
	horizon := "OptionalLong.empty"
	if ms, ok := h.DeleteHorizon(); ok {
		horizon = fmt.Sprintf("OptionalLong[%d]", ms)
	}
	d.printf("baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s",
		h.BaseOffset(), h.LastOffset(), h.Count(), h.BaseSequence(), h.LastSequence(), h.ProducerID(), h.ProducerEpoch(), h.PartitionLeaderEpoch(),
		h.IsTransactional(), h.IsControl(), horizon)
	d.printf(" position: %d %s: %d size: %d magic: %d compresscodec: %s crc: %d isvalid: %t\n",
		h.at, h.TimestampType(), h.MaxTimestamp(), h.size, h.magic, h.Codec(), h.CRC(), sum == h.CRC())
	return nil
}

// legacyBatch prints the line of a message of the versions before 2 (message.format.version below 0.11).
func (d *dumper) legacyBatch(s *source, h *head) error {
	sum, err := s.checksum(crc32.IEEETable, h.at+magicAt, h.at+h.size)
	if err != nil {
		return err
	}
	p := h.legacy
	attributes := p[legacyAttrsAt]
	kind, timestamp := "NoTimestampType", int64(record.NoTimestamp)
	if h.magic == 1 {
		kind, timestamp = record.CreateTime.String(), int64(binary.BigEndian.Uint64(p[legacyTimeAt:]))
		if attributes&8 != 0 {
			kind = record.LogAppendTime.String()
		}
	}
	crc := binary.BigEndian.Uint32(p[legacyCRCAt:])
	d.printf("offset: %d position: %d %s: %d size: %d magic: %d compresscodec: %s crc: %d isvalid: %t\n",
		int64(binary.BigEndian.Uint64(p)), h.at, kind, timestamp, h.size, h.magic, record.Codec(attributes&7), crc, crc == sum)
	return nil
}

// load reads a whole batch. It is valid until the next call.
func (d *dumper) load(s *source, h *head) (record.Batch, error) {
	if h.legacy != nil {
		return nil, fmt.Errorf("%s: the batch at %d has the message format version %d, whose records cannot be shown", absolute(s.name), h.at, h.magic)
	}
	if h.size > maxBatch {
		return nil, fmt.Errorf("%s: the batch at %d has %d bytes; records of batches above %d bytes are not shown", absolute(s.name), h.at, h.size, maxBatch)
	}
	if int64(cap(d.buf)) < h.size {
		d.buf = make([]byte, h.size)
	}
	p := d.buf[:h.size]
	if err := s.read(p, h.at); err != nil {
		return nil, err
	}
	return record.Batch(p), nil
}

// records prints the records of a batch. last is the offset of the record before, -1 at first.
func (d *dumper) records(s *source, h *head, last *int64) error {
	b, err := d.load(s, h)
	if err != nil {
		return err
	}
	var it record.Iterator
	it.Reset(b, d.dec)
	for it.Next() {
		r := it.Record()
		if *last >= 0 && r.Offset != *last+1 {
			d.discontinued.add(absolute(s.name), *last, r.Offset)
		}
		*last = r.Offset
		d.record(b, r)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%s: records of the batch at %d: %w", absolute(s.name), h.at, err)
	}
	return nil
}

// record prints the line of a record.
func (d *dumper) record(b record.Batch, r *record.Record) {
	prefix := "| "
	if !d.SkipMetadata {
		sequence := b.BaseSequence()
		if sequence >= 0 {
			sequence = record.AddSequence(sequence, int32(r.Offset-b.BaseOffset()))
		} else {
			sequence = -1
		}
		names := make([]string, len(r.Headers))
		for i := range r.Headers {
			names[i] = javaText([]byte(r.Headers[i].Key))
		}
		d.printf("%soffset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]",
			prefix, r.Offset, b.TimestampType(), r.Timestamp, sizeOf(r.Key), sizeOf(r.Value), sequence, strings.Join(names, ","))
		if b.IsControl() {
			d.printf("%s", control(r))
		}
		prefix = " "
	}
	var err error
	if d.Contents && !b.IsControl() {
		var t Text
		if t, err = d.Decoder(r); t.HasKey {
			d.printf("%skey: %s", prefix, t.Key)
		}
		if t.HasPayload {
			d.printf(" payload: %s", t.Payload)
		}
	}
	d.printf("\n")
	if err != nil {
		d.complain("%v", err)
	}
}

// sizeOf is the length of a key or value; -1 for none.
func sizeOf(p []byte) int {
	if p == nil {
		return -1
	}
	return len(p)
}

// controlTypes are the names of control records (Kafka class ControlRecordType).
var controlTypes = []string{"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"}

// control says what a control record is.
func control(r *record.Record) string {
	if len(r.Key) < 4 {
		return fmt.Sprintf(" controlType: UNKNOWN (a key of %d bytes)", len(r.Key))
	}
	kind := int16(binary.BigEndian.Uint16(r.Key[2:]))
	switch {
	case kind < 0 || int(kind) >= len(controlTypes):
		return fmt.Sprintf(" controlType: UNKNOWN(%d)", kind)
	case kind > int16(record.Commit):
		return fmt.Sprintf(" controlType: %s(%d)", controlTypes[kind], kind)
	case len(r.Value) < 6:
		return fmt.Sprintf(" endTxnMarker: %s (a value of %d bytes)", controlTypes[kind], len(r.Value))
	default:
		return fmt.Sprintf(" endTxnMarker: %s coordinatorEpoch: %d", controlTypes[kind], int32(binary.BigEndian.Uint32(r.Value[2:])))
	}
}
