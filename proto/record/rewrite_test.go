package record_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// stamped is a batch in a log: with offsets, a leader epoch and a producer.
func stamped(t *testing.T, codec record.Codec) record.Batch {
	t.Helper()
	b := build(t, codec, samples())
	b.SetProducer(4711, 3, 9)
	b.SetBaseOffset(1_000_000)
	b.SetPartitionLeaderEpoch(6)
	return b
}

// shared is the part of a header that rewriting a batch keeps.
func shared(b record.Batch) string {
	return fmt.Sprint(b.BaseOffset(), b.LastOffset(), b.PartitionLeaderEpoch(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.TimestampType())
}

func TestRecompress(t *testing.T) {
	var d *record.Decompressor
	var dst []byte
	for _, from := range codecs {
		for _, to := range codecs {
			b := stamped(t, from)
			want := read(t, b)
			before := bytes.Clone(b)
			got, err := d.Recompress(dst, b, to, record.DefaultLevel)
			if err != nil {
				t.Fatalf("%s to %s: %v", from, to, err)
			}
			dst = got
			if got.Codec() != to || !got.CheckCRC() || got.Length() != len(got) || shared(got) != shared(b) || got.Count() != b.Count() || got.MaxTimestamp() != b.MaxTimestamp() {
				t.Errorf("%s to %s: %v became %v", from, to, b, got)
			}
			if diff := diffRecords(want, read(t, got)); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", from, to, diff)
			}
			if !bytes.Equal(b, before) {
				t.Errorf("%s to %s: the source changed", from, to)
			}
		}
	}
	if _, err := d.Recompress(nil, stamped(t, record.None), record.Gzip, 77); err == nil {
		t.Error("a level that does not exist was used")
	}
	small := record.NewDecompressor(record.Limits{MaxDecompressed: 100})
	if _, err := small.Recompress(nil, stamped(t, record.Zstd), record.None, 0); kerr.CodeOf(err) != kerr.InvalidRecord {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestRetain(t *testing.T) {
	var d *record.Decompressor
	some := func(r *record.Record) bool { return r.Offset%3 == 1 }
	for _, codec := range codecs {
		for _, logAppend := range []bool{false, true} {
			b := stamped(t, codec)
			if logAppend {
				b.SetLogAppendTime(1_800_000_000_000)
			}
			var want []record.Record
			newest := int64(0)
			for _, r := range read(t, b) {
				if some(&r) {
					want = append(want, r)
					newest = max(newest, r.Timestamp)
				}
			}
			for _, horizon := range []int64{record.NoTimestamp, 1_900_000_000_000} {
				t.Run(fmt.Sprintf("%s, append time %t, horizon %d", codec, logAppend, horizon), func(t *testing.T) {
					got, n, err := d.Retain(nil, b, record.Retention{Keep: some, DeleteHorizon: horizon})
					if err != nil {
						t.Fatal(err)
					}
					if diff := diffRecords(want, read(t, got)); diff != "" || n != len(want) {
						t.Errorf("%d records (-want +got):\n%s", n, diff)
					}
					if shared(got) != shared(b) || got.Codec() != codec || !got.CheckCRC() || got.Length() != len(got) || got.MaxTimestamp() != newest {
						t.Errorf("%v became %v", b, got)
					}
					if at, ok := got.DeleteHorizon(); ok != (horizon >= 0) || at != horizon {
						t.Errorf("delete horizon %d, %t", at, ok)
					}
					if f, err := readForeign(got); err != nil || len(f.records) != len(want) {
						t.Errorf("an independent decoder: %d records, %v", len(f.records), err)
					}
					// A second pass keeps the horizon of the first.
					again, _, err := d.Retain(nil, got, record.Retention{Keep: func(r *record.Record) bool { return r.Offset%2 == 0 }, DeleteHorizon: 5})
					if at, ok := again.DeleteHorizon(); err != nil || !ok || horizon >= 0 && at != horizon || horizon < 0 && at != 5 {
						t.Errorf("second pass: delete horizon %d, %t, %v", at, ok, err)
					}
				})
			}
		}
	}
}

func TestRetainAllOrNothing(t *testing.T) {
	var d *record.Decompressor
	all := func(*record.Record) bool { return true }
	none := func(*record.Record) bool { return false }
	for _, codec := range codecs {
		b := stamped(t, codec)
		got, n, err := d.Retain(nil, b, record.Retention{Keep: all, DeleteHorizon: record.NoTimestamp})
		if err != nil || n != len(samples()) || &got[0] != &b[0] {
			t.Errorf("%s: a batch that loses nothing was rewritten: %d, %v", codec, n, err)
		}
		if got, n, err = d.Retain(nil, b, record.Retention{Keep: none, DeleteHorizon: record.NoTimestamp}); got != nil || n != 0 || err != nil {
			t.Errorf("%s: nothing to keep: %v, %d, %v", codec, got, n, err)
		}
		got, n, err = d.Retain(nil, b, record.Retention{Keep: none, DeleteHorizon: record.NoTimestamp, KeepEmpty: true})
		if err != nil || n != 0 || len(got) != record.HeaderSize || got.Count() != 0 || shared(got) != shared(b) || got.LastSequence() != b.LastSequence() ||
			!got.CheckCRC() || got.Codec() != record.None || got.MaxTimestamp() != b.MaxTimestamp() {
			t.Errorf("%s: an empty batch kept: %v, %d, %v", codec, got, n, err)
		}
		if recs := read(t, got); len(recs) != 0 {
			t.Errorf("%s: an empty batch has records: %v", codec, recs)
		}
		if got, _, err := d.Retain(nil, forge(t, codec, 1, []byte{1}), record.Retention{Keep: all}); err == nil || got != nil {
			t.Errorf("%s: a broken batch was kept", codec)
		}
	}
}
