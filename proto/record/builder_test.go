package record_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ottla/ottla/proto/record"
	"pgregory.net/rapid"
)

func TestBuilderStopsAtItsLimit(t *testing.T) {
	value := make([]byte, 100)
	b := record.NewBuilder(nil, 1000)
	for b.Append(1, nil, value, nil) {
	}
	full := b.EstimatedSize()
	if full > 1000 || full < 1000-108 {
		t.Errorf("the batch is full with %d bytes of 1000", full)
	}
	if !b.Append(1, nil, make([]byte, 1000-full-8), nil) || b.EstimatedSize() != 1000 {
		t.Errorf("a record that just fits was not taken: %d bytes", b.EstimatedSize())
	}
	if b.Append(1, nil, nil, nil) || b.EstimatedSize() != 1000 {
		t.Error("a record was taken beyond the limit")
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, batch)); got != b.Count() || len(batch) != 1000 {
		t.Errorf("batch of %d bytes with %d records, the builder counted %d", len(batch), got, b.Count())
	}
}

func TestBuilderTakesOneRecordOfAnySize(t *testing.T) {
	b := record.NewBuilder(make([]byte, 0, 200), 200)
	value := bytes.Repeat([]byte("x"), 10_000)
	if !b.Append(5, []byte("k"), value, nil) {
		t.Fatal("a first record larger than the limit was refused")
	}
	if b.Append(5, nil, nil, nil) {
		t.Error("a second record was taken beyond the limit")
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, batch); len(got) != 1 || !bytes.Equal(got[0].Value, value) {
		t.Errorf("%d records", len(got))
	}
}

func TestBuilderIsEmptyAfterReset(t *testing.T) {
	buf := make([]byte, 0, 4096)
	b := record.NewBuilder(buf, 4096)
	if _, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false); err == nil {
		t.Error("an empty batch was finished")
	}
	b.Append(100, nil, []byte("first"), nil)
	b.Append(50, nil, []byte("second"), nil)
	first, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	if &first[0] != &buf[:1][0] {
		t.Error("the batch is not in the buffer that was given")
	}
	// With another buffer the first batch stays what it is.
	b.Reset(make([]byte, 0, 4096))
	if b.Count() != 0 || b.EstimatedSize() != record.HeaderSize || b.MaxTimestamp() != record.NoTimestamp {
		t.Errorf("after Reset: %d records, %d bytes, max timestamp %d", b.Count(), b.EstimatedSize(), b.MaxTimestamp())
	}
	b.Append(7, nil, []byte("third"), nil)
	second, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Record{{Offset: 0, Timestamp: 100, Value: []byte("first")}, {Offset: 1, Timestamp: 50, Value: []byte("second")}}
	if diff := diffRecords(want, read(t, first)); diff != "" {
		t.Errorf("first batch (-want +got):\n%s", diff)
	}
	if diff := diffRecords([]record.Record{{Timestamp: 7, Value: []byte("third")}}, read(t, second)); diff != "" {
		t.Errorf("second batch (-want +got):\n%s", diff)
	}
	if first.MaxTimestamp() != 100 || second.MaxTimestamp() != 7 {
		t.Errorf("max timestamps %d and %d", first.MaxTimestamp(), second.MaxTimestamp())
	}
}

func TestFinishMayBeRepeated(t *testing.T) {
	for _, codec := range codecs {
		b := record.NewBuilder(nil, 4096)
		b.Append(1, nil, []byte("a"), nil)
		for sequence := range int32(3) {
			batch, err := b.Finish(codec, record.DefaultLevel, 9, 1, sequence, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := record.Validate(batch, anyBatch()); err != nil || batch.BaseSequence() != sequence {
				t.Errorf("%s: finished as %v: %v", codec, batch, err)
			}
		}
		if _, err := b.Finish(9, record.DefaultLevel, 9, 1, 0, false); err == nil {
			t.Error("a codec that does not exist was used")
		}
	}
}

// TestExtremeTimestampsSurvive: deltas wrap in the builder and wrap back in the iterator.
func TestExtremeTimestampsSurvive(t *testing.T) {
	b := record.NewBuilder(nil, 4096)
	times := []int64{math.MaxInt64, math.MinInt64, -1, 0, math.MinInt64 + 1, math.MaxInt64}
	for _, ts := range times {
		b.Append(ts, nil, nil, nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, rec := range read(t, batch) {
		got = append(got, rec.Timestamp)
	}
	if diff := cmp.Diff(times, got); diff != "" {
		t.Errorf("timestamps (-want +got):\n%s", diff)
	}
}

func TestMaxTimestampMayBeNegative(t *testing.T) {
	b := record.NewBuilder(nil, 4096)
	for _, ts := range []int64{-9, -5, -7} {
		b.Append(ts, nil, nil, nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil || batch.MaxTimestamp() != -5 || batch.BaseTimestamp() != -9 || b.MaxTimestamp() != -5 {
		t.Errorf("%v, %v", batch, err)
	}
}

// anyBytes is nil, empty or something.
func anyBytes(max int) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, max).Draw(t, "bytes")
	})
}

// anyRecords are as wild as a producer can make them.
func anyRecords() *rapid.Generator[[]record.Record] {
	return rapid.Custom(func(t *rapid.T) []record.Record {
		recs := make([]record.Record, rapid.IntRange(1, 40).Draw(t, "records"))
		for i := range recs {
			recs[i] = record.Record{
				Offset:    int64(i),
				Timestamp: rapid.Int64Range(0, math.MaxInt64).Draw(t, "timestamp"),
				Key:       anyBytes(200).Draw(t, "key"),
				Value:     anyBytes(3000).Draw(t, "value"),
			}
			for range rapid.IntRange(0, 3).Draw(t, "headers") {
				recs[i].Headers = append(recs[i].Headers, record.Header{Key: string(anyBytes(5).Draw(t, "name")), Value: anyBytes(100).Draw(t, "header")})
			}
		}
		return recs
	})
}

func TestWhatIsBuiltIsRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := anyRecords().Draw(rt, "records")
		codec := rapid.SampledFrom(codecs).Draw(rt, "codec")
		b := record.NewBuilder(nil, 1<<30)
		for _, r := range want {
			before := b.EstimatedSize()
			if !b.Append(r.Timestamp, r.Key, r.Value, r.Headers) {
				rt.Fatal("a record was not taken")
			}
			grown := b.EstimatedSize() - before
			if bound := record.UncompressedSize(r.Key, r.Value, r.Headers); grown > bound {
				rt.Fatalf("a record took %d bytes, at most %d were announced", grown, bound)
			}
		}
		batch, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
		if err != nil {
			rt.Fatal(err)
		}
		if codec == record.None && len(batch) != b.EstimatedSize() {
			rt.Fatalf("%d bytes, estimated were %d", len(batch), b.EstimatedSize())
		}
		if _, err := record.Validate(batch, anyBatch()); err != nil {
			rt.Fatal(err)
		}
		f, err := readForeign(batch)
		if err != nil {
			rt.Fatal(err)
		}
		for name, got := range map[string][]record.Record{"iterator": read(t, batch), "independent decoder": f.asRecords()} {
			if diff := diffRecords(want, got); diff != "" {
				rt.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestAppendDoesNotAllocate(t *testing.T) {
	b := record.NewBuilder(make([]byte, 0, 1<<20), 1<<20)
	key, value := []byte("key"), make([]byte, 100)
	headers := []record.Header{{Key: "trace", Value: []byte("1234567890")}}
	ts := int64(1_700_000_000_000)
	if n := testing.AllocsPerRun(1000, func() {
		ts++
		if !b.Append(ts, key, value, headers) {
			b.Reset(nil)
		}
	}); n != 0 {
		t.Errorf("Append allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Finish(record.None, record.DefaultLevel, 1, 0, 0, false); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Finish allocates %v times", n)
	}
}
