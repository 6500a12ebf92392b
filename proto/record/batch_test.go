package record_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// golden is a batch byte by byte, as docs/formats/record-batch.md explains it. Its checksum was computed independently.
const golden = `
	00000000 00000000   base offset 0
	00000047            length 71
	ffffffff            leader epoch -1
	02                  magic
	c981433c            crc
	0010                attributes: transactional
	00000001            last offset delta
	0000018b cfe56800   base timestamp 1700000000000
	0000018b cfe56805   max timestamp 1700000000005
	00000000 00001267   producer id 4711
	0003                producer epoch
	00000009            base sequence
	00000002            count
	12 00 00 00 02 6b 04 7631 00                     record 0: key k, value v1, no headers
	16 00 0a 02 01 01 02 02 68 04 00ff               record 1: null, null, header h
`

func goldenBatch(t testing.TB) record.Batch {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(golden) {
		for _, word := range strings.Fields(line) {
			if _, err := hex.DecodeString(word); err != nil {
				break
			}
			digits.WriteString(word)
		}
	}
	p, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// goldenRecords are the golden batch's.
var goldenRecords = []record.Record{
	{Offset: 0, Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v1")},
	{Offset: 1, Timestamp: 1_700_000_000_005, Headers: []record.Header{{Key: "h", Value: []byte{0, 0xff}}}},
}

func TestGoldenBatch(t *testing.T) {
	want := goldenBatch(t)
	b := record.NewBuilder(nil, 1000)
	for _, r := range goldenRecords {
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	if b.EstimatedSize() != len(want) || b.Count() != 2 || b.MaxTimestamp() != 1_700_000_000_005 {
		t.Errorf("builder says %d bytes, %d records up to %d", b.EstimatedSize(), b.Count(), b.MaxTimestamp())
	}
	got, err := b.Finish(record.None, record.DefaultLevel, 4711, 3, 9, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("built  %x\nwanted %x", []byte(got), []byte(want))
	}
	if diff := diffRecords(goldenRecords, read(t, want)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if f, err := readForeign(want); err != nil {
		t.Errorf("an independent decoder refuses the golden batch: %v", err)
	} else if diff := diffRecords(goldenRecords, f.asRecords()); diff != "" {
		t.Errorf("an independent decoder reads other records (-want +got):\n%s", diff)
	}
}

func TestAccessors(t *testing.T) {
	b := goldenBatch(t)
	b.SetBaseOffset(100)
	b.SetPartitionLeaderEpoch(7)
	type facts struct {
		Base, Last, Next, BaseTS, MaxTS, PID         int64
		Length, Records                              int
		Epoch, LastDelta, Seq, LastSeq, Count        int32
		Magic                                        int8
		Attributes, PEpoch                           int16
		Codec                                        record.Codec
		Type                                         record.TimestampType
		Transactional, Control, Horizon, HasPID, CRC bool
	}
	got := facts{b.BaseOffset(), b.LastOffset(), b.NextOffset(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(),
		b.Length(), b.RecordsSize(), b.PartitionLeaderEpoch(), b.LastOffsetDelta(), b.BaseSequence(), b.LastSequence(), b.Count(),
		b.Magic(), b.Attributes(), b.ProducerEpoch(), b.Codec(), b.TimestampType(), b.IsTransactional(), b.IsControl(),
		b.HasDeleteHorizon(), b.HasProducerID(), b.CheckCRC()}
	want := facts{100, 101, 102, 1_700_000_000_000, 1_700_000_000_005, 4711, 83, 22, 7, 1, 9, 10, 2, 2, 0x10, 3,
		record.None, record.CreateTime, true, false, false, true, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accessors (-want +got):\n%s", diff)
	}
}

// TestOnlyOffsetAndLeaderEpochAreOutsideTheChecksum flips every bit of a batch: the checksum notices all of them but those a
// leader writes, and the length and magic that come before it.
func TestOnlyOffsetAndLeaderEpochAreOutsideTheChecksum(t *testing.T) {
	b := goldenBatch(t)
	for at := range b {
		for bit := range 8 {
			b[at] ^= 1 << bit
			if outside := at < 17; b.CheckCRC() != outside {
				t.Errorf("byte %d bit %d flipped: checksum good is %t", at, bit, !outside)
			}
			b[at] ^= 1 << bit
		}
	}
	b.SetBaseOffset(math.MaxInt64)
	b.SetPartitionLeaderEpoch(math.MaxInt32)
	if !b.CheckCRC() {
		t.Error("numbering a batch broke its checksum")
	}
	if diff := cmp.Diff(goldenBatch(t)[17:], b[17:]); diff != "" {
		t.Errorf("numbering a batch changed more than it should: %s", diff)
	}
}

func TestSetLogAppendTime(t *testing.T) {
	b := goldenBatch(t)
	b.SetLogAppendTime(1_800_000_000_000)
	if !b.CheckCRC() || b.TimestampType() != record.LogAppendTime || b.MaxTimestamp() != 1_800_000_000_000 || b.BaseTimestamp() != 1_700_000_000_000 {
		t.Errorf("after SetLogAppendTime: %v, checksum good %t", b, b.CheckCRC())
	}
	for _, rec := range read(t, b) {
		if rec.Timestamp != 1_800_000_000_000 {
			t.Errorf("record %d has the timestamp %d, not the append time", rec.Offset, rec.Timestamp)
		}
	}
	if f, err := readForeign(b); err != nil || f.Attributes != 0x18 || f.MaxTimestamp != 1_800_000_000_000 {
		t.Errorf("an independent decoder reads attributes %#x, max timestamp %d, error %v", f.Attributes, f.MaxTimestamp, err)
	}
	b.SetMaxTimestamp(1_700_000_000_005)
	if diff := cmp.Diff(goldenBatch(t), b); diff != "" {
		t.Errorf("SetMaxTimestamp did not undo SetLogAppendTime:\n%s", diff)
	}
	crc := b.CRC() + 1
	b[20]++ // the checksum's last byte
	b.SetMaxTimestamp(1_700_000_000_005)
	if b.CRC() != crc {
		t.Error("SetMaxTimestamp computed the checksum although nothing had changed")
	}
}

func TestSetProducer(t *testing.T) {
	b := goldenBatch(t)
	b.SetProducer(-1, -1, -1)
	if !b.CheckCRC() || b.HasProducerID() || b.ProducerEpoch() != -1 || b.BaseSequence() != -1 || b.LastSequence() != -1 {
		t.Errorf("without a producer: %v", b)
	}
	b.SetProducer(4711, 3, 9)
	if diff := cmp.Diff(goldenBatch(t), b); diff != "" {
		t.Errorf("with the first producer again:\n%s", diff)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	for _, tc := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {0, 1, 1}, {5, math.MaxInt32 - 5, math.MaxInt32}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0},
		{math.MaxInt32 - 2, 5, 2}, {math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := record.AddSequence(tc.seq, tc.n); got != tc.want {
			t.Errorf("%d records after %d: %d, want %d", tc.n, tc.seq, got, tc.want)
		}
	}
	b := goldenBatch(t)
	b.SetProducer(1, 0, math.MaxInt32)
	if b.LastSequence() != 0 {
		t.Errorf("the last of two records from 2147483647 on has the sequence number %d", b.LastSequence())
	}
}

func TestSplit(t *testing.T) {
	b := goldenBatch(t)
	two := append(bytes.Clone(b), b...)
	first, rest, err := record.Split(two)
	if err != nil || !bytes.Equal(first, b) || !bytes.Equal(rest, b) || cap(first) != len(b) {
		t.Fatalf("split of two batches: %v, %d bytes left, capacity %d", err, len(rest), cap(first))
	}
	if second, rest, err := record.Split(rest); err != nil || !bytes.Equal(second, b) || len(rest) != 0 {
		t.Fatalf("split of the second batch: %v, %d bytes left", err, len(rest))
	}
	for n := range b {
		if _, rest, err := record.Split(b[:n]); err != io.ErrUnexpectedEOF || len(rest) != n {
			t.Fatalf("split of the first %d bytes: %v, %d bytes left", n, err, len(rest))
		}
	}
	with := func(at int, bytes ...byte) []byte {
		p := append([]byte(nil), b...)
		copy(p[at:], bytes)
		return p
	}
	for _, tc := range []struct {
		name string
		p    []byte
		code kerr.Code
	}{
		{"length 0", with(8, 0, 0, 0, 0), kerr.CorruptMessage},
		{"length 48", with(8, 0, 0, 0, 48), kerr.CorruptMessage},
		{"length 48 in 12 bytes", with(8, 0, 0, 0, 48)[:12], kerr.CorruptMessage},
		{"length -1", with(8, 0xff, 0xff, 0xff, 0xff), kerr.CorruptMessage},
		{"smallest length", with(8, 0x80, 0, 0, 0), kerr.CorruptMessage},
		{"magic 0", with(16, 0), kerr.UnsupportedForMessageFormat},
		{"magic 1", with(16, 1), kerr.UnsupportedForMessageFormat},
		{"magic 3", with(16, 3), kerr.CorruptMessage},
		{"magic -1", with(16, 0xff), kerr.CorruptMessage},
		{"zeros", make([]byte, 100), kerr.UnsupportedForMessageFormat},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, rest, err := record.Split(tc.p)
			var corrupt *record.CorruptError
			if !errors.As(err, &corrupt) || kerr.CodeOf(err) != tc.code || !errors.Is(err, tc.code) || len(rest) != len(tc.p) {
				t.Errorf("got %v with code %v and %d bytes left, want a CorruptError with %v and all", err, kerr.CodeOf(err), len(rest), tc.code)
			}
		})
	}
	if _, _, err := record.Split(with(8, 0x7f, 0xff, 0xff, 0xff)); err != io.ErrUnexpectedEOF {
		t.Errorf("a length of 2147483647: %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestPeek(t *testing.T) {
	b := goldenBatch(t)
	if _, ok := record.Peek(b[:11]); ok {
		t.Error("11 bytes are enough to know the size")
	}
	if size, ok := record.Peek(b[:12]); !ok || size != len(b) {
		t.Errorf("size %d, %t, want %d", size, ok, len(b))
	}
	b[8] = 0xff
	if size, ok := record.Peek(b); !ok || size >= record.HeaderSize {
		t.Errorf("negative length: size %d, %t", size, ok)
	}
}

func TestStringNamesWhatMatters(t *testing.T) {
	got := goldenBatch(t).String()
	for _, part := range []string{"offsets 0..1", "2 records", "83 bytes", "producer 4711/3 sequence 9", "transactional true"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not say %q", got, part)
		}
	}
	if got := record.Batch("short").String(); got != "batch of 5 bytes" {
		t.Errorf("a batch of 5 bytes describes itself as %q", got)
	}
}
