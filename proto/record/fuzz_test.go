package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// seeds are good batches with each codec and all hostile ones.
func seeds(f *testing.F) [][]byte {
	var all [][]byte
	for _, codec := range codecs {
		all = append(all, build(f, codec, samples()[:4]))
	}
	for _, tc := range hostileRecords() {
		all = append(all, forge(f, record.None, 2, append(rec(varints(0, 0, 0, -1, -1, 0)), tc.p...)))
	}
	for _, tc := range hostileBatches(f) {
		all = append(all, tc.p)
	}
	for _, p := range hostileStreams(f) {
		all = append(all, p)
	}
	return append(all, record.ControlBatch(record.Marker{Type: record.Abort, ProducerID: 1}))
}

func FuzzSplit(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
		f.Add(append(bytes.Clone(p), p...))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		rest := p
		for len(rest) > 0 {
			before := rest
			first, after, err := record.Split(rest)
			if err != nil {
				var corrupt *record.CorruptError
				if err != io.ErrUnexpectedEOF && !errors.As(err, &corrupt) {
					t.Fatalf("error of another kind: %v", err)
				}
				if !bytes.Equal(after, before) || first != nil {
					t.Fatal("bytes were taken together with an error")
				}
				return
			}
			size, ok := record.Peek(rest)
			if !ok || size != len(first) || size < record.HeaderSize || first.Length() != size || len(first)+len(after) != len(before) || first.Magic() != record.Magic {
				t.Fatalf("split %d bytes into %d and %d, peeked %d", len(before), len(first), len(after), size)
			}
			_ = first.String()
			rest = after
		}
	})
}

// bounded validates with limits that keep a fuzzer quick.
func bounded() *record.Validation {
	v := anyBatch()
	v.Limits.MaxDecompressed = 1 << 20
	return v
}

// FuzzValidate checks bytes as they are, with length and checksum corrected, and with the records compressed. What is
// accepted must be read alike by the iterator and by an independent decoder, and compression must not change the verdict.
func FuzzValidate(f *testing.F) {
	for i, p := range seeds(f) {
		f.Add(p, uint8(i))
	}
	f.Fuzz(func(t *testing.T, p []byte, which uint8) {
		check := func(p record.Batch) error {
			info, err := record.Validate(p, bounded())
			if err != nil {
				var kafka *kerr.Error
				if !errors.As(err, &kafka) || kafka.Code == kerr.None {
					t.Fatalf("error without a code: %v", err)
				}
				return err
			}
			if info.Count != p.Count() || !p.CheckCRC() || info.MaxTimestamp != p.MaxTimestamp() {
				t.Fatalf("accepted as %+v: %v", info, p)
			}
			agree(t, p)
			if _, err := record.Validate(bytes.Clone(p), bounded()); err != nil {
				t.Fatalf("accepted once, refused the second time: %v", err)
			}
			return nil
		}
		_ = check(bytes.Clone(p))
		if len(p) < record.HeaderSize {
			return
		}
		sealed := bytes.Clone(p)
		sealed[16] = record.Magic
		clear(sealed[:8])
		err := check(seal(sealed))
		if record.Batch(sealed).Codec() != record.None {
			return
		}
		// The same records, compressed: seen piece by piece instead of as a whole.
		codec := codecs[1:][int(which)%(len(codecs)-1)]
		packed, cerr := record.Compress(bytes.Clone(sealed[:record.HeaderSize]), sealed[record.HeaderSize:], codec, record.DefaultLevel)
		if cerr != nil {
			t.Fatal(cerr)
		}
		binary.BigEndian.PutUint16(packed[21:], uint16(record.Batch(packed).Attributes())|uint16(codec))
		if perr := check(seal(packed)); kerr.CodeOf(perr) != kerr.CodeOf(err) {
			t.Fatalf("uncompressed: %v; %s: %v", err, codec, perr)
		}
	})
}

// FuzzIterate reads anything that Split lets through.
func FuzzIterate(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	dec := record.NewDecompressor(record.Limits{MaxDecompressed: 1 << 20})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, _, err := record.Split(p)
		if err != nil {
			return
		}
		var it record.Iterator
		it.Reset(b, dec)
		n, last := int32(0), int64(-1)
		for it.Next() {
			r := it.Record()
			if delta := r.Offset - b.BaseOffset(); delta <= last || delta > int64(b.LastOffsetDelta()) {
				t.Fatalf("record %d has the offset delta %d after %d", n, delta, last)
			} else {
				last = delta
			}
			n++
		}
		var corrupt *record.CorruptError
		if it.Err() == nil && n != b.Count() || it.Err() != nil && !errors.As(it.Err(), &corrupt) {
			t.Fatalf("%d records of %d, error %v", n, b.Count(), it.Err())
		}
		_, _ = record.ParseMarker(b)
		if kept, n, err := dec.Retain(nil, b, record.Retention{Keep: func(r *record.Record) bool { return r.Offset%2 == 0 }, DeleteHorizon: 1, KeepEmpty: true}); err == nil {
			again := 0
			for _, err := range kept.Records(dec) {
				if err != nil {
					t.Fatalf("what was kept cannot be read: %v", err)
				}
				again++
			}
			if again != n {
				t.Fatalf("%d records kept, %d read", n, again)
			}
		}
	})
}

// FuzzDecompress feeds codecs with anything, and with what they made themselves.
func FuzzDecompress(f *testing.F) {
	for _, p := range seeds(f) {
		if len(p) > record.HeaderSize {
			f.Add(uint8(record.Batch(p).Codec()), p[record.HeaderSize:])
		}
	}
	const limit = 1 << 20
	dec := record.NewDecompressor(record.Limits{MaxDecompressed: limit})
	f.Fuzz(func(t *testing.T, c uint8, p []byte) {
		codec := codecs[int(c)%len(codecs)]
		whole, err := dec.Records(nil, regionOf(t, codec, p))
		if len(whole) > limit {
			t.Fatalf("%d bytes beyond the limit", len(whole)-limit)
		}
		appended, err2 := dec.Records([]byte("x"), regionOf(t, codec, p))
		if (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(appended[1:], whole) || string(appended[:1]) != "x" {
			t.Fatalf("two ways to decompress: %d bytes, %v; %d bytes, %v", len(whole), err, len(appended), err2)
		}
		packed, err := record.Compress(nil, p, codec, record.DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := dec.Records(nil, regionOf(t, codec, packed)); len(p) <= limit && (err != nil || !bytes.Equal(back, p)) {
			t.Fatalf("compressed and decompressed: %d bytes of %d, %v", len(back), len(p), err)
		}
	})
}
