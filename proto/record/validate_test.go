package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// hostile is a batch that no leader may append, and what its producer is told.
type hostile struct {
	name string
	// row is the case's number in the catalogue of bad inputs that the project tests against.
	row  int
	p    []byte
	v    func(*record.Validation)
	code kerr.Code
	text string // part of the message
}

// field16, field32 and field64 return a copy of the golden batch with one header field replaced and the checksum corrected.
func field16(t testing.TB, at int, v int16) []byte {
	p := bytes.Clone(goldenBatch(t))
	binary.BigEndian.PutUint16(p[at:], uint16(v))
	return seal(p)
}

func field32(t testing.TB, at int, v int32) []byte {
	p := bytes.Clone(goldenBatch(t))
	binary.BigEndian.PutUint32(p[at:], uint32(v))
	return seal(p)
}

func field64(t testing.TB, at int, v int64) []byte {
	p := bytes.Clone(goldenBatch(t))
	binary.BigEndian.PutUint64(p[at:], uint64(v))
	return seal(p)
}

// raw returns a copy of the golden batch with bytes replaced and nothing corrected.
func raw(t testing.TB, at int, with ...byte) []byte {
	p := bytes.Clone(goldenBatch(t))
	copy(p[at:], with)
	return p
}

// hostileBatches are wrong as a whole.
func hostileBatches(t testing.TB) []hostile {
	good := goldenBatch(t)
	return []hostile{
		{"nothing", 27, nil, nil, kerr.CorruptMessage, "0 bytes"},
		{"empty", 27, []byte{}, nil, kerr.CorruptMessage, "0 bytes"},
		{"one byte", 28, good[:1], nil, kerr.CorruptMessage, "1 bytes"},
		{"12 bytes", 28, good[:12], nil, kerr.CorruptMessage, "12 bytes"},
		{"60 bytes", 28, good[:60], nil, kerr.CorruptMessage, "60 bytes"},
		{"last byte missing", 29, good[:len(good)-1], nil, kerr.CorruptMessage, "83 bytes in all, there are 82"},
		{"one byte too many", 29, append(bytes.Clone(good), 0), nil, kerr.CorruptMessage, "83 bytes in all, there are 84"},
		{"61 bytes too many", 29, append(bytes.Clone(good), make([]byte, 61)...), nil, kerr.CorruptMessage, "there are 144"},
		{"length -1", 29, raw(t, 8, 0xff, 0xff, 0xff, 0xff), nil, kerr.CorruptMessage, "length"},
		{"length -2147483648", 29, raw(t, 8, 0x80, 0, 0, 0), nil, kerr.CorruptMessage, "length"},
		{"length 2147483647", 29, raw(t, 8, 0x7f, 0xff, 0xff, 0xff), nil, kerr.CorruptMessage, "length"},
		{"length 0", 29, raw(t, 8, 0, 0, 0, 0), nil, kerr.CorruptMessage, "length"},
		{"length 48", 29, raw(t, 8, 0, 0, 0, 48), nil, kerr.CorruptMessage, "length"},
		{"length one less", 29, raw(t, 8, 0, 0, 0, 70), nil, kerr.CorruptMessage, "82 bytes in all"},
		{"checksum wrong", 30, raw(t, 20, good[20]^1), nil, kerr.CorruptMessage, "crc"},
		{"value damaged", 30, raw(t, 69, 'x'), nil, kerr.CorruptMessage, "crc"},
		{"magic 3", 31, raw(t, 16, 3), nil, kerr.CorruptMessage, "version 3"},
		{"magic -1", 31, raw(t, 16, 0xff), nil, kerr.CorruptMessage, "version -1"},
		{"magic 0", 31, raw(t, 16, 0), nil, kerr.UnsupportedForMessageFormat, "version 0"},
		{"magic 1 in 34 bytes", 31, raw(t, 16, 1)[:34], nil, kerr.UnsupportedForMessageFormat, "version 1"},
		{"two batches", 32, append(bytes.Clone(good), good...), nil, kerr.InvalidRecord, "second batch"},
		{"base offset 1", 32, raw(t, 7, 1), nil, kerr.InvalidRecord, "base offset is 1"},
		{"base offset -1", 32, raw(t, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), nil, kerr.InvalidRecord, "base offset is -1"},
		{"base offset -1 where any is fine", 32, raw(t, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
			func(v *record.Validation) { v.AllowBaseOffset = true }, kerr.InvalidRecord, "leaves no room"},
		{"base offset at the end of all numbers", 32, raw(t, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
			func(v *record.Validation) { v.AllowBaseOffset = true }, kerr.InvalidRecord, "leaves no room"},
		{"last offset delta -1", 33, field32(t, 23, -1), nil, kerr.InvalidRecord, "last offset delta is -1"},
		{"last offset delta 0 of two", 33, field32(t, 23, 0), nil, kerr.InvalidRecord, "last offset delta is 0"},
		{"last offset delta 2 of two", 33, field32(t, 23, 2), nil, kerr.InvalidRecord, "last offset delta is 2"},
		{"last offset delta 2147483647", 33, field32(t, 23, math.MaxInt32), nil, kerr.InvalidRecord, "last offset delta"},
		{"count 0", 34, field32(t, 57, 0), nil, kerr.InvalidRecord, "count is 0"},
		{"count -1", 34, field32(t, 57, -1), nil, kerr.InvalidRecord, "count is -1"},
		{"count -2147483648", 34, field32(t, 57, math.MinInt32), nil, kerr.InvalidRecord, "count is -2147483648"},
		{"count 2147483647", 34, forge(t, record.None, math.MaxInt32, good[61:]), nil, kerr.InvalidRecord, "record 2 of 2147483647: length does not fit"},
		{"count 2147483647, gzip", 34, forge(t, record.Gzip, math.MaxInt32, good[61:]), nil, kerr.InvalidRecord, "record 2 of 2147483647: length does not fit"},
		{"header alone with count 1", 34, forge(t, record.None, 1, nil), nil, kerr.InvalidRecord, "record 0 of 1: length does not fit"},
		{"control bit", 41, field16(t, 21, 0x30), nil, kerr.InvalidRecord, "control"},
		{"transaction marker", 41, record.ControlBatch(record.Marker{Type: record.Commit, ProducerID: 1}), nil, kerr.InvalidRecord, "control"},
		{"control batch of two records", 41, field16(t, 21, 0x30), func(v *record.Validation) { v.AllowControl = true }, kerr.InvalidRecord, "2 records instead of one"},
		{"transactional without producer id", 42, field64(t, 43, -1), nil, kerr.InvalidRecord, "without a producer id"},
		{"producer id without sequence", 43, field32(t, 53, -1), nil, kerr.InvalidRecord, "sequence number -1"},
		{"producer id with sequence -2147483648", 43, field32(t, 53, math.MinInt32), nil, kerr.InvalidRecord, "sequence"},
		{"coordinator's batch with sequence -2", 43, field32(t, 53, -2), func(v *record.Validation) { v.AllowNoSequence = true }, kerr.InvalidRecord, "sequence number -2"},
		{"producer id without epoch", 43, field16(t, 51, -1), nil, kerr.InvalidRecord, "epoch -1"},
		{"producer id -2", 43, field64(t, 43, -2), nil, kerr.InvalidRecord, "producer id is -2"},
		{"codec 5", 44, field16(t, 21, 0x15), nil, kerr.UnsupportedCompressionType, "codec"},
		{"codec 6", 44, field16(t, 21, 6), nil, kerr.UnsupportedCompressionType, "codec"},
		{"codec 7", 44, field16(t, 21, 7), nil, kerr.UnsupportedCompressionType, "codec"},
		{"attribute bit 7", 44, field16(t, 21, 0x80), nil, kerr.InvalidRecord, "bits without a meaning"},
		{"attribute bit 15", 44, field16(t, 21, math.MinInt16), nil, kerr.InvalidRecord, "bits without a meaning"},
		{"delete horizon bit", 44, field16(t, 21, 0x50), nil, kerr.InvalidRecord, "delete horizon"},
		{"larger than max.message.bytes", 48, good, func(v *record.Validation) { v.MaxMessageBytes = len(good) - 1 }, kerr.MessageTooLarge, "83 bytes"},
		{"too large, and damaged as well", 48, raw(t, 20, good[20]^1), func(v *record.Validation) { v.MaxMessageBytes = 82 }, kerr.MessageTooLarge, "83 bytes"},
		{"null key in a compacted topic", 51, good, func(v *record.Validation) { v.RequireKeys = true }, kerr.InvalidRecord, "record 1: compacted topic"},
		{"LogAppendTime from a client", 53, field16(t, 21, 0x18), nil, kerr.InvalidTimestamp, "LogAppendTime"},
		{"LogAppendTime from a client of such a topic", 53, field16(t, 21, 0x18), func(v *record.Validation) { v.TimestampType = record.LogAppendTime }, kerr.InvalidTimestamp, "LogAppendTime"},
	}
}

func TestHostileBatches(t *testing.T) {
	for _, tc := range hostileBatches(t) {
		t.Run(fmt.Sprintf("row %d, %s", tc.row, tc.name), func(t *testing.T) { tc.check(t, tc.p) })
	}
}

// check validates p, which must be refused as the case says, and be left as it was.
func (tc hostile) check(t *testing.T, p []byte) {
	t.Helper()
	v := anyBatch()
	if tc.v != nil {
		tc.v(v)
	}
	before := bytes.Clone(p)
	_, err := record.Validate(p, v)
	var kafka *kerr.Error
	if !errors.As(err, &kafka) || kafka.Code != tc.code {
		t.Fatalf("got %v, want %v", err, tc.code)
	}
	if !strings.Contains(kafka.Message, tc.text) {
		t.Errorf("the message %q does not say %q", kafka.Message, tc.text)
	}
	if !bytes.Equal(p, before) {
		t.Error("a refused batch was changed")
	}
}

// hostileRecord is what comes where record number 1 should be, in a batch of count records.
type hostileRecord struct {
	name string
	row  int
	p    []byte
	text string
}

// rec puts the record's length in front of a body.
func rec(body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(varints(int64(len(all))), all...)
}

// hostileRecords are wrong by themselves.
func hostileRecords() []hostileRecord {
	start := varints(0, 0, 1) // attributes, timestamp delta, offset delta
	nulls := varints(-1, -1)
	over := func(n int) []byte { return append(bytes.Repeat([]byte{0x80}, n-1), 0) } // zero in n bytes
	return []hostileRecord{
		{"missing", 34, nil, "length does not fit"},
		{"offset delta 0 again", 35, rec(varints(0, 0, 0), nulls, varints(0)), "offset delta 0"},
		{"offset delta 2", 35, rec(varints(0, 0, 2), nulls, varints(0)), "offset delta 2"},
		{"offset delta -1", 35, rec(varints(0, 0, -1), nulls, varints(0)), "offset delta -1"},
		{"offset delta 2147483647", 35, rec(varints(0, 0, math.MaxInt32), nulls, varints(0)), "offset delta 2147483647"},
		{"length in six bytes", 36, append(over(6), make([]byte, 20)...), "length is an overlong"},
		{"length of 33 bits", 36, append(varints(1<<33), make([]byte, 20)...), "length is an overlong"},
		{"timestamp in eleven bytes", 36, rec([]byte{0}, over(11), varints(1), nulls, varints(0)), "timestamp delta is an overlong"},
		{"offset in six bytes", 36, rec(varints(0, 0), over(6), nulls, varints(0)), "offset delta is an overlong"},
		{"key length in six bytes", 36, rec(start, over(6), varints(0, 0)), "key is an overlong"},
		{"value length in six bytes", 36, rec(start, varints(0), over(6), varints(0)), "value is an overlong"},
		{"header count in six bytes", 36, rec(start, nulls, over(6)), "header count is an overlong"},
		{"length -1", 37, append(varints(-1), make([]byte, 20)...), "length does not fit"},
		{"length -2147483648", 37, append(varints(math.MinInt32), make([]byte, 20)...), "length does not fit"},
		{"length 0", 37, append(varints(0), make([]byte, 20)...), "attributes does not fit"},
		{"length past the end", 37, append(varints(2000), start...), "does not fit"},
		{"length 2147483647", 37, append(varints(math.MaxInt32), start...), "does not fit"},
		{"ends after the attributes", 37, rec([]byte{0}), "timestamp delta does not fit"},
		{"ends in the timestamp", 37, rec([]byte{0, 0x80}), "timestamp delta does not fit"},
		{"ends after the timestamp", 37, rec(varints(0, 0)), "offset delta does not fit"},
		{"ends after the offset", 37, rec(start), "key does not fit"},
		{"ends after the key", 37, rec(start, varints(-1)), "value does not fit"},
		{"ends after the value", 37, rec(start, nulls), "header count does not fit"},
		{"bytes after the headers", 37, rec(start, nulls, varints(0, 0)), "end does not fit"},
		{"one byte after the last record", 37, append(rec(start, nulls, varints(0)), 0), "bytes follow the last"},
		{"a third record of two", 37, append(rec(start, nulls, varints(0)), rec(varints(0, 0, 2), nulls, varints(0))...), "bytes follow the last"},
		{"key length -2", 38, rec(start, varints(-2, -1, 0)), "key does not fit"},
		{"key length -2147483648", 38, rec(start, varints(math.MinInt32, -1, 0)), "key does not fit"},
		{"key past the record", 38, append(rec(start, varints(10), []byte("12345")), make([]byte, 20)...), "key does not fit"},
		{"key length 2147483647", 38, rec(start, varints(math.MaxInt32, -1, 0)), "key does not fit"},
		{"value length -2", 38, rec(start, varints(-1, -2, 0)), "value does not fit"},
		{"value past the record", 38, append(rec(start, varints(-1, 4), []byte("123")), make([]byte, 20)...), "value does not fit"},
		{"value length 2147483647", 38, rec(start, varints(-1, math.MaxInt32, 0)), "value does not fit"},
		{"value takes the header count", 38, rec(start, varints(-1, 1), []byte{0}), "header count does not fit"},
		{"header count -1", 39, rec(start, nulls, varints(-1)), "header count does not fit"},
		{"header count 2147483647", 39, rec(start, nulls, varints(math.MaxInt32)), "header count does not fit"},
		{"header count 2 with one header", 39, rec(start, nulls, varints(2, 0, -1)), "header count does not fit"},
		{"header count 2 with one long header", 39, rec(start, nulls, varints(2, 3), []byte("abc"), varints(-1)), "header key does not fit"},
		{"header key null", 39, rec(start, nulls, varints(1, -1, -1)), "header key does not fit"},
		{"header key of -5 bytes", 39, rec(start, nulls, varints(1, -5, -1)), "header key does not fit"},
		{"header key past the record", 39, rec(start, nulls, varints(1, 9), []byte("12345678")), "header key does not fit"},
		{"header value missing", 39, rec(start, nulls, varints(1, 1), []byte("k")), "header value does not fit"},
		{"header value of -2 bytes", 39, rec(start, nulls, varints(1, 0, -2)), "header value does not fit"},
		{"header value past the record", 39, rec(start, nulls, varints(1, 0, 5), []byte("1234")), "header value does not fit"},
		{"header value 2147483647", 39, rec(start, nulls, varints(1, 0, math.MaxInt32)), "header value does not fit"},
	}
}

// TestHostileRecords puts each bad record after a short and after a long good one, the latter so long that a compressed
// batch is no longer seen as a whole, and with each codec.
func TestHostileRecords(t *testing.T) {
	for _, good := range []int{0, 100 << 10} {
		first := rec(varints(0, 0, 0, -1, int64(good)), make([]byte, good), varints(0))
		for i, tc := range hostileRecords() {
			for j, codec := range codecs {
				if good > 0 && j > 0 && j != 1+i%4 {
					continue // one codec each is enough, all of them take long
				}
				t.Run(fmt.Sprintf("row %d, %s, %s, after %d", tc.row, tc.name, codec, good), func(t *testing.T) {
					p := forge(t, codec, 2, append(bytes.Clone(first), tc.p...))
					hostile{code: kerr.InvalidRecord, text: tc.text}.check(t, p)
					// A reader must not take it either.
					var it record.Iterator
					it.Reset(p, nil)
					for it.Next() {
					}
					if it.Err() == nil {
						t.Error("the iterator reads it without an error")
					}
				})
			}
		}
	}
}

// TestLargeHostileRecords has records that are themselves too large to be seen as a whole when compressed.
func TestLargeHostileRecords(t *testing.T) {
	big := make([]byte, 200<<10)
	size := int64(len(big))
	start := varints(0, 0, 0)
	for _, tc := range []struct {
		name, text string
		p          []byte
	}{
		{"value past the record", "value does not fit", rec(start, varints(-1, size+1), big)},
		{"value takes the next record", "value does not fit", append(rec(start, varints(-1, size+1), big), rec(varints(0, 0, 1, -1, -1, 0))...)},
		{"record past the end", "value does not fit", rec(start, varints(-1, size), big, varints(0))[:size]},
		{"bytes after the headers", "end does not fit", rec(start, varints(-1, size), big, varints(0, 0))},
		{"bytes after the record", "bytes follow", append(rec(start, varints(-1, size), big, varints(0)), 1)},
		{"header count", "header count does not fit", rec(start, varints(size), big, varints(-1, 5))},
		{"header count -1", "header count does not fit", rec(start, varints(size), big, varints(-1, -1))},
		{"header key null", "header key does not fit", rec(start, varints(size), big, varints(-1, 1, -1, -1))},
		{"header value past the record", "header value does not fit", rec(start, varints(size), big, varints(-1, 2, 0), varints(size), big, varints(0, 9))},
		{"header key overlong", "header key is an overlong", rec(start, varints(size), big, varints(-1, 1), bytes.Repeat([]byte{0x80}, 6))},
		{"offset delta 1", "offset delta 1", rec(varints(0, 0, 1, -1, size), big, varints(0))},
		{"key length -2", "key does not fit", rec(start, varints(-2, size), big, varints(0))},
	} {
		for _, codec := range codecs {
			t.Run(tc.name+", "+codec.String(), func(t *testing.T) {
				text := tc.text
				if codec == record.None && tc.name == "record past the end" {
					text = "does not fit"
				}
				hostile{code: kerr.InvalidRecord, text: text}.check(t, forge(t, codec, 1, tc.p))
			})
		}
	}
}

// TestHeaderKeysNeedNotBeUTF8: Kafka's brokers do not look at them, so neither does this one (row 40).
func TestHeaderKeysNeedNotBeUTF8(t *testing.T) {
	want := []record.Record{{Timestamp: 1, Headers: []record.Header{{Key: "\xff\xfe", Value: []byte("v")}}}}
	batch := build(t, record.None, want)
	if _, err := record.Validate(batch, anyBatch()); err != nil {
		t.Fatal(err)
	}
	if diff := diffRecords(want, read(t, batch)); diff != "" {
		t.Error(diff)
	}
}

// TestNestedCompressionIsOpaque (row 47).
func TestNestedCompressionIsOpaque(t *testing.T) {
	inner := build(t, record.Gzip, samples())
	want := []record.Record{{Timestamp: 1, Value: inner}}
	batch := build(t, record.Gzip, want)
	if _, err := record.Validate(batch, anyBatch()); err != nil {
		t.Fatal(err)
	}
	if diff := diffRecords(want, read(t, batch)); diff != "" {
		t.Error(diff)
	}
}

// TestLeaderEpochOfAClientDoesNotMatter: it is overwritten (row 55).
func TestLeaderEpochOfAClientDoesNotMatter(t *testing.T) {
	b := goldenBatch(t)
	b.SetPartitionLeaderEpoch(math.MaxInt32)
	if _, err := record.Validate(b, anyBatch()); err != nil {
		t.Error(err)
	}
}

func TestTimestampRange(t *testing.T) {
	const now, hour = int64(1_700_000_000_000), int64(3_600_000)
	limited := func(v *record.Validation) { v.Now, v.BeforeMaxMs, v.AfterMaxMs = now, 24*hour, hour }
	for _, tc := range []struct {
		name string
		ts   int64
		v    func(*record.Validation)
		code kerr.Code
	}{
		{"now", now, limited, kerr.None},
		{"earliest", now - 24*hour, limited, kerr.None},
		{"too early", now - 24*hour - 1, limited, kerr.InvalidTimestamp},
		{"latest", now + hour, limited, kerr.None},
		{"too late", now + hour + 1, limited, kerr.InvalidTimestamp},
		{"1970 with limits", 0, limited, kerr.InvalidTimestamp},
		{"no limits: 1970", 0, nil, kerr.None},
		{"no limits: year 9999", 253402300799999, nil, kerr.None},
		{"limits: year 9999", 253402300799999, limited, kerr.InvalidTimestamp},
		{"no limits: end of all numbers", math.MaxInt64, nil, kerr.None},
		{"limits: end of all numbers", math.MaxInt64, limited, kerr.InvalidTimestamp},
		{"none", -1, nil, kerr.InvalidTimestamp},
		{"none where that is fine", -1, func(v *record.Validation) { limited(v); v.AllowNoTimestamp = true }, kerr.None},
		{"negative", -2, func(v *record.Validation) { v.AllowNoTimestamp = true }, kerr.InvalidTimestamp},
		{"beginning of all numbers", math.MinInt64, nil, kerr.InvalidTimestamp},
		{"beginning of all numbers, limits", math.MinInt64, limited, kerr.InvalidTimestamp},
		{"before.max 0, after.max 0", now, func(v *record.Validation) { v.Now, v.BeforeMaxMs, v.AfterMaxMs = now, 0, 0 }, kerr.None},
		{"before.max 0, a millisecond old", now - 1, func(v *record.Validation) { v.Now, v.BeforeMaxMs, v.AfterMaxMs = now, 0, 0 }, kerr.InvalidTimestamp},
		{"LogAppendTime does not look", math.MinInt64, func(v *record.Validation) { limited(v); v.TimestampType = record.LogAppendTime }, kerr.None},
		{"the leader's clock at the end of all numbers", 5, func(v *record.Validation) { v.Now = math.MaxInt64 }, kerr.None},
	} {
		for _, codec := range codecs {
			t.Run(tc.name+", "+codec.String(), func(t *testing.T) {
				v := anyBatch()
				if tc.v != nil {
					tc.v(v)
				}
				batch := build(t, codec, []record.Record{{Timestamp: tc.ts, Value: []byte("v")}})
				if _, err := record.Validate(batch, v); kerr.CodeOf(err) != tc.code {
					t.Errorf("got %v, want %v", err, tc.code)
				}
			})
		}
	}
}

// TestTimestampOverflowIsRefused: base and delta may be sound each and overflow together.
func TestTimestampOverflowIsRefused(t *testing.T) {
	for _, tc := range []struct{ base, delta int64 }{
		{math.MaxInt64, 1}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, -1}, {math.MinInt64, math.MinInt64}, {-2, math.MinInt64},
	} {
		p := forge(t, record.None, 1, rec([]byte{0}, varints(tc.delta, 0, -1, -1, 0)))
		binary.BigEndian.PutUint64(p[27:], uint64(tc.base))
		info, err := record.Validate(seal(p), anyBatch())
		if kerr.CodeOf(err) != kerr.InvalidTimestamp || len(info.RecordErrors) != 1 || !strings.Contains(info.RecordErrors[0].Message, "does not fit 64 bits") {
			t.Errorf("base %d and delta %d: %v, %v", tc.base, tc.delta, err, info.RecordErrors)
		}
	}
}

// TestMaxTimestampIsCorrected (row 54).
func TestMaxTimestampIsCorrected(t *testing.T) {
	for _, codec := range codecs {
		for _, lie := range []int64{0, -1, math.MaxInt64, math.MinInt64, 1_700_000_000_499} {
			p := build(t, codec, samples())
			honest := bytes.Clone(p)
			binary.BigEndian.PutUint64(p[35:], uint64(lie))
			info, err := record.Validate(seal(p), anyBatch())
			if err != nil || !info.Rewritten || info.MaxTimestamp != 1_700_000_000_500 || info.MaxTimestampDelta != 1 {
				t.Errorf("%s: %+v, %v", codec, info, err)
			}
			if !bytes.Equal(p, honest) {
				t.Errorf("%s: after correction of %d the batch is %v", codec, lie, p)
			}
		}
	}
	// Under LogAppendTime it is the caller who sets it.
	p := field64(t, 35, 5)
	v := anyBatch()
	v.TimestampType = record.LogAppendTime
	info, err := record.Validate(p, v)
	if err != nil || info.Rewritten || info.MaxTimestamp != record.NoTimestamp || info.MaxTimestampDelta != 1 {
		t.Errorf("LogAppendTime: %+v, %v", info, err)
	}
}

func TestRecordErrorsNameTheRecords(t *testing.T) {
	recs := samples()
	v := anyBatch()
	v.RequireKeys = true
	want := []record.RecordError{{1, "compacted topic cannot accept message without key"}, {4, "compacted topic cannot accept message without key"}}
	for _, codec := range codecs {
		info, err := record.Validate(build(t, codec, recs), v)
		if kerr.CodeOf(err) != kerr.InvalidRecord {
			t.Errorf("%s: %v", codec, err)
		}
		if diff := cmp.Diff(want, info.RecordErrors); diff != "" {
			t.Errorf("%s (-want +got):\n%s", codec, diff)
		}
	}
	// A bad timestamp decides the code, whatever else is wrong.
	recs[2].Timestamp = -5
	info, err := record.Validate(build(t, record.None, recs), v)
	if kerr.CodeOf(err) != kerr.InvalidTimestamp || len(info.RecordErrors) != 3 || info.RecordErrors[1].Index != 2 {
		t.Errorf("%v, %v", err, info.RecordErrors)
	}
	// There may be a great many.
	for i := range recs {
		recs[i].Key = nil
	}
	info, err = record.Validate(build(t, record.None, recs[3:]), v)
	if kerr.CodeOf(err) != kerr.InvalidRecord || len(info.RecordErrors) != record.MaxRecordErrors || !strings.Contains(err.Error(), "303 record errors") {
		t.Errorf("%v, %d named", err, len(info.RecordErrors))
	}
}

func TestMarkersAreAllowedToTheCoordinator(t *testing.T) {
	v := anyBatch()
	v.AllowControl, v.RequireKeys, v.AllowBaseOffset = true, true, true
	b := record.ControlBatch(record.Marker{Type: record.Abort, ProducerID: 5, ProducerEpoch: 2, CoordinatorEpoch: 9, Timestamp: 77})
	b.SetBaseOffset(1 << 40)
	info, err := record.Validate(b, v)
	if err != nil || info.MaxTimestamp != 77 || info.Count != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestFirstOfEqualTimestampsCounts: the time index wants the first record that has the largest timestamp.
func TestFirstOfEqualTimestampsCounts(t *testing.T) {
	for _, codec := range codecs {
		batch := build(t, codec, []record.Record{{Timestamp: 5}, {Timestamp: 9}, {Timestamp: 9}, {Timestamp: 1}})
		if info, err := record.Validate(batch, anyBatch()); err != nil || info.MaxTimestamp != 9 || info.MaxTimestampDelta != 1 {
			t.Errorf("%s: %+v, %v", codec, info, err)
		}
	}
}

func TestInfoDescribesTheBatch(t *testing.T) {
	recs := samples()
	raw := int64(len(build(t, record.None, recs)) - record.HeaderSize)
	for _, codec := range codecs {
		info, err := record.Validate(build(t, codec, recs), anyBatch())
		if err != nil {
			t.Fatal(err)
		}
		want := record.Info{Codec: codec, Count: int32(len(recs)), MaxTimestamp: 1_700_000_000_500, MaxTimestampDelta: 1, UncompressedSize: raw}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Errorf("%s (-want +got):\n%s", codec, diff)
		}
	}
}

func TestValidateDoesNotAllocatePerRecord(t *testing.T) {
	recs := samples()
	for i := range 5000 {
		recs = append(recs, record.Record{Timestamp: int64(i), Key: []byte("key"), Value: []byte("value")})
	}
	v := anyBatch()
	for _, codec := range codecs {
		batch := build(t, codec, recs)
		allowed := 0.0
		if codec != record.None {
			allowed = 50 // pools that have just been emptied; the race detector does so at random
		}
		if n := testing.AllocsPerRun(50, func() {
			if _, err := record.Validate(batch, v); err != nil {
				t.Fatal(err)
			}
		}); n > allowed {
			t.Errorf("%s: validating %d records allocates %v times", codec, len(recs), n)
		}
	}
}
