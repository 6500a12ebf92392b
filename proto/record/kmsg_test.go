package record_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ottla/ottla/proto/record"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// codecs are all there are.
var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

// foreign is a batch as franz-go's message package, generated from Kafka's schema, sees it.
type foreign struct {
	kmsg.RecordBatch
	records []kmsg.Record
}

// readForeign decodes a batch without any code of this package. Gzip goes through the standard library, the others through
// franz-go's decompressor.
func readForeign(p []byte) (foreign, error) {
	var f foreign
	if err := f.ReadFrom(p); err != nil {
		return f, fmt.Errorf("read batch: %w", err)
	}
	if want := crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)); uint32(f.CRC) != want {
		return f, fmt.Errorf("crc is %#x, want %#x", uint32(f.CRC), want)
	}
	if int(f.Length)+12 != len(p) {
		return f, fmt.Errorf("length field is %d in a batch of %d bytes", f.Length, len(p))
	}
	raw := f.Records
	var err error
	switch codec := f.Attributes & 7; codec {
	case 0:
	case 1:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(raw)); err == nil {
			raw, err = io.ReadAll(r)
		}
	default:
		raw, err = foreignDecompressor().Decompress(raw, kgo.CompressionCodecType(codec))
	}
	if err != nil {
		return f, fmt.Errorf("decompress: %w", err)
	}
	for len(raw) > 0 {
		size, n := binary.Varint(raw)
		if n <= 0 || size < 0 || size > int64(len(raw)-n) {
			return f, errors.New("record length")
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:n+int(size)]); err != nil {
			return f, fmt.Errorf("read record %d: %w", len(f.records), err)
		}
		raw = raw[n+int(size):]
		f.records = append(f.records, r)
	}
	if len(f.records) != int(f.NumRecords) {
		return f, fmt.Errorf("%d records, header says %d", len(f.records), f.NumRecords)
	}
	return f, nil
}

// asRecords is what an iterator over the same batch must yield.
func (f foreign) asRecords() []record.Record {
	var out []record.Record
	for _, r := range f.records {
		rec := record.Record{
			Offset:     f.FirstOffset + int64(r.OffsetDelta),
			Timestamp:  f.FirstTimestamp + r.TimestampDelta64,
			Key:        r.Key,
			Value:      r.Value,
			Attributes: r.Attributes,
		}
		if f.Attributes&8 != 0 {
			rec.Timestamp = f.MaxTimestamp
		}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, record.Header{Key: h.Key, Value: h.Value})
		}
		out = append(out, rec)
	}
	return out
}

// writeForeign encodes records without any code of this package, with the given header fields as a start.
func writeForeign(t testing.TB, start kmsg.RecordBatch, codec record.Codec, recs []record.Record) []byte {
	t.Helper()
	var raw []byte
	for i, r := range recs {
		k := kmsg.Record{
			Attributes:       r.Attributes,
			TimestampDelta64: r.Timestamp - start.FirstTimestamp,
			OffsetDelta:      int32(r.Offset - start.FirstOffset),
			Key:              r.Key,
			Value:            r.Value,
		}
		k.TimestampDelta = int32(k.TimestampDelta64)
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		// The length is a varint in front: encode once to learn it.
		body := k.AppendTo(nil)[1:]
		k.Length = int32(len(body))
		raw = k.AppendTo(raw)
		start.MaxTimestamp = max(start.MaxTimestamp, r.Timestamp)
		start.LastOffsetDelta = int32(i)
	}
	start.NumRecords = int32(len(recs))
	start.Magic = 2
	start.Attributes |= int16(codec)
	start.Records = compressForeign(t, codec, raw)
	start.Length = int32(49 + len(start.Records))
	p := start.AppendTo(nil)
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// foreignCompressors are franz-go's, by codec.
var foreignCompressors = sync.OnceValue(func() map[record.Codec]kgo.Compressor {
	m := map[record.Codec]kgo.Compressor{}
	for codec, as := range map[record.Codec]kgo.CompressionCodec{
		record.Snappy: kgo.SnappyCompression(), record.LZ4: kgo.Lz4Compression(), record.Zstd: kgo.ZstdCompression(),
	} {
		c, err := kgo.DefaultCompressor(as)
		if err != nil {
			panic(err)
		}
		m[codec] = c
	}
	return m
})

// foreignDecompressor is franz-go's.
var foreignDecompressor = sync.OnceValue(func() kgo.Decompressor { return kgo.DefaultDecompressor() })

// compressForeign compresses with franz-go, gzip with the standard library.
func compressForeign(t testing.TB, codec record.Codec, raw []byte) []byte {
	t.Helper()
	if codec == record.None {
		return raw
	}
	var buf bytes.Buffer
	if codec == record.Gzip {
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	out, used := foreignCompressors()[codec].Compress(&buf, raw)
	if int8(used) != int8(codec) {
		t.Fatalf("franz-go compressed with %d, want %d", used, codec)
	}
	return bytes.Clone(out)
}

// samples are records with everything a record can have.
func samples() []record.Record {
	recs := []record.Record{
		{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v")},
		{Timestamp: 1_700_000_000_500, Value: []byte("no key")},
		{Timestamp: 1_699_999_999_000, Key: []byte("tombstone")},
		{Timestamp: 1_700_000_000_001, Key: []byte{}, Value: []byte{}},
		{Timestamp: 1_700_000_000_002, Value: bytes.Repeat([]byte("long "), 14_000)},
		{Timestamp: 1_700_000_000_003, Key: []byte("h"), Value: []byte("headers"), Headers: []record.Header{
			{Key: "a", Value: []byte("1")}, {Key: "", Value: []byte{}}, {Key: "null"}, {Key: "größe", Value: bytes.Repeat([]byte{7}, 300)},
		}},
	}
	for i := range 300 {
		recs = append(recs, record.Record{Timestamp: 1_700_000_000_100 + int64(i), Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i*i),
			Headers: []record.Header{{Key: "trace", Value: []byte{byte(i)}}}})
	}
	for i := range recs {
		recs[i].Offset = int64(i)
	}
	return recs
}

// build makes a batch of recs with this package.
func build(t testing.TB, codec record.Codec, recs []record.Record) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, 1<<30)
	for _, r := range recs {
		if !b.Append(r.Timestamp, r.Key, r.Value, r.Headers) {
			t.Fatalf("record at %d was not taken", r.Offset)
		}
	}
	batch, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// read returns all records of a batch.
func read(t testing.TB, b record.Batch) []record.Record {
	t.Helper()
	var out []record.Record
	for rec, err := range b.Records(nil) {
		if err != nil {
			t.Fatalf("read %v: %v", b, err)
		}
		out = append(out, rec)
	}
	return out
}

// diffRecords is cmp.Diff for records, without its price when there is nothing to say.
func diffRecords(want, got []record.Record) string {
	if slices.EqualFunc(want, got, func(a, b record.Record) bool {
		return a.Offset == b.Offset && a.Timestamp == b.Timestamp && a.Attributes == b.Attributes && same(a.Key, b.Key) && same(a.Value, b.Value) &&
			slices.EqualFunc(a.Headers, b.Headers, func(a, b record.Header) bool { return a.Key == b.Key && same(a.Value, b.Value) })
	}) {
		return ""
	}
	return cmp.Diff(want, got)
}

// same tells null from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// anyBatch is a validation that objects to nothing a producer may do.
func anyBatch() *record.Validation {
	v := record.DefaultValidation()
	v.MaxMessageBytes = 1 << 30
	return &v
}

func TestBatchIsReadAlikeByAnIndependentDecoder(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			want := samples()
			batch := build(t, codec, want)
			f, err := readForeign(batch)
			if err != nil {
				t.Fatal(err)
			}
			if diff := diffRecords(want, f.asRecords()); diff != "" {
				t.Errorf("kmsg reads other records (-want +got):\n%s", diff)
			}
			if diff := diffRecords(want, read(t, batch)); diff != "" {
				t.Errorf("the iterator reads other records (-want +got):\n%s", diff)
			}
			got := kmsg.RecordBatch{FirstOffset: f.FirstOffset, PartitionLeaderEpoch: f.PartitionLeaderEpoch, Attributes: f.Attributes,
				LastOffsetDelta: f.LastOffsetDelta, FirstTimestamp: f.FirstTimestamp, MaxTimestamp: f.MaxTimestamp,
				ProducerID: f.ProducerID, ProducerEpoch: f.ProducerEpoch, FirstSequence: f.FirstSequence}
			header := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Attributes: int16(codec), LastOffsetDelta: int32(len(want) - 1),
				FirstTimestamp: want[0].Timestamp, MaxTimestamp: 1_700_000_000_500, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
			if diff := cmp.Diff(header, got); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			info, err := record.Validate(batch, anyBatch())
			if err != nil {
				t.Fatal(err)
			}
			if info.Rewritten || info.MaxTimestampDelta != 1 || info.Count != int32(len(want)) {
				t.Errorf("validation says %+v", info)
			}
		})
	}
}

func TestBatchOfAnIndependentEncoderIsReadAlike(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			want := samples()
			start := kmsg.RecordBatch{PartitionLeaderEpoch: -1, FirstTimestamp: want[0].Timestamp, ProducerID: 4711, ProducerEpoch: 3, FirstSequence: 9}
			p := writeForeign(t, start, codec, want)
			batch, rest, err := record.Split(p)
			if err != nil || len(rest) != 0 {
				t.Fatalf("split: %v, %d bytes left", err, len(rest))
			}
			info, err := record.Validate(batch, anyBatch())
			if err != nil {
				t.Fatal(err)
			}
			if info.Rewritten {
				t.Error("the maximum timestamp was right and was rewritten")
			}
			if diff := diffRecords(want, read(t, batch)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if batch.ProducerID() != 4711 || batch.ProducerEpoch() != 3 || batch.BaseSequence() != 9 || batch.Codec() != codec {
				t.Errorf("header: %v", batch)
			}
			if codec == record.None {
				b := record.NewBuilder(nil, 1<<30)
				for _, r := range want {
					b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
				}
				own, err := b.Finish(codec, record.DefaultLevel, 4711, 3, 9, false)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(own, p) {
					t.Error("the builder's bytes differ from the independent encoder's")
				}
			}
		})
	}
}
