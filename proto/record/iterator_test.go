package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// seal corrects length and checksum of a batch that a test has put together or changed.
func seal(p []byte) record.Batch {
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// forge is a batch with the given bytes for records, compressed by an independent encoder, and count for their number.
func forge(t testing.TB, codec record.Codec, count int32, records []byte) record.Batch {
	t.Helper()
	p := append(bytes.Clone(build(t, record.None, goldenRecords)[:record.HeaderSize]), compressForeign(t, codec, records)...)
	binary.BigEndian.PutUint16(p[21:], uint16(codec))
	binary.BigEndian.PutUint32(p[23:], uint32(count-1))
	binary.BigEndian.PutUint32(p[57:], uint32(count))
	return seal(p)
}

// inside reports whether part is memory of whole.
func inside(part, whole []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	from := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	return at >= from && at+uintptr(len(part)) <= from+uintptr(len(whole))
}

func TestRecordsAliasTheBatchOrOneBuffer(t *testing.T) {
	for _, codec := range codecs {
		batch := build(t, codec, samples())
		kept := read(t, batch)
		low, high := kept[0].Key, kept[0].Key
		total := 0
		for _, r := range kept {
			for _, p := range [][]byte{r.Key, r.Value} {
				if codec == record.None && len(p) > 0 && !inside(p, batch) {
					t.Fatalf("a record of an uncompressed batch was copied")
				}
				if len(p) == 0 {
					continue
				}
				if cap(p) != len(p) {
					t.Fatalf("%s: an append to a key or value would overwrite what follows it", codec)
				}
				if uintptr(unsafe.Pointer(&p[0])) > uintptr(unsafe.Pointer(&high[0])) {
					high = p
				}
				total += len(p)
			}
		}
		if span := int(uintptr(unsafe.Pointer(&high[0]))-uintptr(unsafe.Pointer(&low[0]))) + len(high); codec != record.None && (span < total || span > 2*total) {
			t.Errorf("%s: %d bytes of records are spread over %d", codec, total, span)
		}
		// Reading other batches must not disturb records that somebody kept.
		for range 3 {
			read(t, build(t, codec, samples()[3:9]))
		}
		if diff := diffRecords(samples(), kept); diff != "" {
			t.Errorf("%s: records changed after they were read (-want +got):\n%s", codec, diff)
		}
	}
}

func TestIteratorToleratesTheGapsOfCompaction(t *testing.T) {
	batch := build(t, record.None, samples()[:4])
	batch.SetBaseOffset(1000)
	kept, n, err := (*record.Decompressor)(nil).Retain(nil, batch, record.Retention{DeleteHorizon: record.NoTimestamp,
		Keep: func(r *record.Record) bool { return r.Offset == 1001 || r.Offset == 1002 }})
	if err != nil || n != 2 {
		t.Fatalf("%d records kept, %v", n, err)
	}
	var offsets []int64
	for _, r := range read(t, kept) {
		offsets = append(offsets, r.Offset)
	}
	if diff := cmp.Diff([]int64{1001, 1002}, offsets); diff != "" {
		t.Error(diff)
	}
}

func TestIteratorMayBeUsedAgain(t *testing.T) {
	var it record.Iterator
	for _, codec := range append(codecs, codecs...) {
		it.Reset(build(t, codec, samples()), nil)
		n := 0
		for it.Next() {
			n++
		}
		if it.Err() != nil || n != len(samples()) {
			t.Errorf("%s: %d records, %v", codec, n, it.Err())
		}
		if it.Next() || it.Record().Value != nil {
			t.Errorf("%s: there is a record after the last", codec)
		}
		it.Reset(forge(t, codec, 1, []byte{1}), nil)
		if it.Next() || it.Err() == nil {
			t.Errorf("%s: a broken batch has records", codec)
		}
	}
}

func TestRangeStopsWhenToldTo(t *testing.T) {
	n := 0
	for range build(t, record.None, samples()).Records(nil) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d records", n)
	}
	n = 0
	for rec, err := range forge(t, record.None, 2, varints(6, 0, 0, 0, -1, -1, 0)[:7]).Records(nil) {
		if n++; n == 2 && (err == nil || rec.Value != nil) {
			t.Errorf("the second, missing record: %v, %v", rec, err)
		}
	}
	if n != 2 {
		t.Errorf("%d rounds for one record and one error", n)
	}
}

// varints encodes numbers one after another. The attributes byte of a record is a number too as long as it is 0.
func varints(numbers ...int64) []byte {
	var p []byte
	for _, n := range numbers {
		p = binary.AppendVarint(p, n)
	}
	return p
}

// TestIteratorRefusesNonsense covers what a reader checks by itself; everything that Validate refuses in records is in the
// hostile table.
func TestIteratorRefusesNonsense(t *testing.T) {
	rec := func(delta int64) []byte { return varints(6, 0, 0, delta, -1, -1, 0) }
	for _, tc := range []struct {
		name  string
		count int32
		raw   []byte
		good  int // records before the error
	}{
		{"negative count", -1, nil, 0},
		{"more records than there are", 3, append(rec(0), rec(1)...), 2},
		{"fewer records than there are", 1, append(rec(0), rec(1)...), 1},
		{"offsets repeat", 2, append(rec(0), rec(0)...), 1},
		{"offsets go back", 2, append(rec(1), rec(0)...), 1},
		{"offset beyond the last", 2, append(rec(0), rec(2)...), 1},
		{"negative offset", 1, rec(-1), 0},
	} {
		for _, codec := range codecs {
			t.Run(fmt.Sprintf("%s, %s", tc.name, codec), func(t *testing.T) {
				var it record.Iterator
				it.Reset(forge(t, codec, tc.count, tc.raw), nil)
				n := 0
				for it.Next() {
					n++
				}
				var corrupt *record.CorruptError
				if !errors.As(it.Err(), &corrupt) || !errors.Is(it.Err(), kerr.InvalidRecord) || n != tc.good {
					t.Errorf("%d records, then %v; want %d and a CorruptError", n, it.Err(), tc.good)
				}
			})
		}
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	plain := samples()[:5]
	for i := range 200 {
		plain = append(plain, record.Record{Timestamp: int64(i), Key: []byte("key"), Value: []byte("value")})
	}
	batch := build(t, record.None, plain)
	var it record.Iterator
	if n := testing.AllocsPerRun(100, func() {
		it.Reset(batch, nil)
		for it.Next() {
		}
	}); n != 0 {
		t.Errorf("iterating %d records without headers allocates %v times", len(plain), n)
	}
	withHeaders := samples()[6:]
	batch = build(t, record.None, withHeaders)
	if n := testing.AllocsPerRun(100, func() {
		it.Reset(batch, nil)
		for it.Next() {
		}
	}); n > float64(len(withHeaders))/32 {
		t.Errorf("iterating %d records with a header each allocates %v times", len(withHeaders), n)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
}
