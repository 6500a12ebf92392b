package producers

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var goldenEntries = []Entry{
	{ProducerID: 1, Epoch: 2, LastSequence: 3, LastOffset: 40, OffsetDelta: 4, Timestamp: 1700000000000, CoordinatorEpoch: -1, TxnFirstOffset: 36},
	{ProducerID: 0x0102030405060708, Epoch: 0x7ffe, LastSequence: -1, LastOffset: -1, OffsetDelta: 0, Timestamp: -1, CoordinatorEpoch: 9, TxnFirstOffset: -1},
}

// The bytes are written out by hand from F§4.6, the checksums computed with another implementation of CRC-32C.
const goldenSnapshot = `
	0001  CRC0CRC0  00000002
	0000000000000001 0002 00000003 0000000000000028 00000004 0000018bcfe56800 ffffffff 0000000000000024
	0102030405060708 7ffe ffffffff ffffffffffffffff 00000000 ffffffffffffffff 00000009 ffffffffffffffff`

// crc32c is CRC-32C bit by bit.
func crc32c(p []byte) uint32 {
	crc := ^uint32(0)
	for _, b := range p {
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78&-(crc&1)
		}
	}
	return ^crc
}

func TestSnapshotBytes(t *testing.T) {
	golden := unhex(t, strings.ReplaceAll(goldenSnapshot, "CRC0CRC0", "00000000"))
	binary.BigEndian.PutUint32(golden[2:], crc32c(golden[6:]))
	if got := EncodeSnapshot(goldenEntries); !bytes.Equal(got, golden) {
		t.Errorf("encoded:\n%x, want\n%x", got, golden)
	}
	got, err := DecodeSnapshot(golden)
	if diff := cmp.Diff(goldenEntries, got); diff != "" || err != nil {
		t.Errorf("decoded: %v\n%s", err, diff)
	}
	// The empty snapshot, which every log without idempotent producers has: CRC-32C of four zeros is 48674bc7.
	if got, want := EncodeSnapshot(nil), unhex(t, "0001 48674bc7 00000000"); !bytes.Equal(got, want) {
		t.Errorf("empty snapshot is %x, want %x", got, want)
	}
}

func TestDamagedSnapshots(t *testing.T) {
	whole := EncodeSnapshot(goldenEntries)
	for n := range whole {
		if _, err := DecodeSnapshot(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(whole))
		}
	}
	for bit := range len(whole) * 8 {
		p := bytes.Clone(whole)
		p[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeSnapshot(p); err == nil {
			t.Errorf("bit %d may be wrong", bit)
		}
	}
	if _, err := DecodeSnapshot(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a byte may follow")
	}
	sealed := func(p []byte) []byte {
		binary.BigEndian.PutUint32(p[2:], crc32.Checksum(p[6:], castagnoli))
		return p
	}
	for name, p := range map[string][]byte{
		"version 0":            sealed(unhex(t, "0000 00000000 00000000")),
		"version 2":            sealed(unhex(t, "0002 00000000 00000000")),
		"a count below 0":      sealed(unhex(t, "0001 00000000 ffffffff")),
		"a huge count":         sealed(unhex(t, "0001 00000000 7fffffff")),
		"more than it says":    sealed(append(unhex(t, "0001 00000000 00000000"), make([]byte, snapshotEntrySize)...)),
		"zeros":                make([]byte, 10),
		"zeros for an entry":   make([]byte, 10+snapshotEntrySize),
		"an entry that is cut": sealed(append(unhex(t, "0001 00000000 00000001"), make([]byte, snapshotEntrySize-1)...)),
	} {
		if e, err := DecodeSnapshot(p); err == nil {
			t.Errorf("%s: decoded as %v", name, e)
		}
	}
}

func TestRestoreRefusesWhatCannotBe(t *testing.T) {
	good := Entry{ProducerID: 7, Epoch: 1, LastSequence: 3, LastOffset: 40, OffsetDelta: 3, Timestamp: 5, CoordinatorEpoch: -1, TxnFirstOffset: 20}
	if _, err := Restore([]Entry{good}, 41, 0, day); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(e *Entry){
		"no id":                           func(e *Entry) { e.ProducerID = -1 },
		"no epoch":                        func(e *Entry) { e.Epoch = -1 },
		"a batch beyond the snapshot":     func(e *Entry) { e.LastOffset = 41 },
		"a batch below -1":                func(e *Entry) { e.LastOffset = -2 },
		"a batch from before offset 0":    func(e *Entry) { e.OffsetDelta = 41 },
		"a batch backwards":               func(e *Entry) { e.OffsetDelta = -1 },
		"a transaction beyond":            func(e *Entry) { e.TxnFirstOffset = 41 },
		"a transaction below -1":          func(e *Entry) { e.TxnFirstOffset = -2 },
		"a transaction of two producers":  func(e *Entry) { e.ProducerID = 8 },
		"the same producer a second time": func(e *Entry) { e.TxnFirstOffset = 30 },
		"the same producer without one":   func(e *Entry) { e.TxnFirstOffset = -1 },
	} {
		e := good
		damage(&e)
		if s, err := Restore([]Entry{good, e}, 41, 0, day); err == nil {
			t.Errorf("%s: restored as %+v", name, s.Entries())
		}
	}
}

func TestRestoreLeavesOutTheExpired(t *testing.T) {
	entries := []Entry{
		{ProducerID: 1, LastSequence: 3, LastOffset: 4, OffsetDelta: 3, Timestamp: 1000, CoordinatorEpoch: -1, TxnFirstOffset: -1},
		{ProducerID: 2, LastSequence: 3, LastOffset: 8, OffsetDelta: 3, Timestamp: 1001, CoordinatorEpoch: -1, TxnFirstOffset: -1},
		{ProducerID: 3, LastSequence: 3, LastOffset: 12, OffsetDelta: 3, Timestamp: 0, CoordinatorEpoch: -1, TxnFirstOffset: 9},
	}
	s, err := Restore(entries, 13, 1000+day, day)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries[1:], s.Entries()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if got := s.LastStable(13, 0); got != 9 {
		t.Errorf("last stable offset is %d, want 9", got)
	}
}

func TestAbortedTxnBytes(t *testing.T) {
	a := AbortedTxn{ProducerID: 0x0102030405060708, FirstOffset: 0x1112131415161718, LastOffset: 0x2122232425262728, LastStableOffset: 0x1222324252627282}
	golden := unhex(t, "0000 0102030405060708 1112131415161718 2122232425262728 1222324252627282")
	if len(golden) != AbortedTxnSize {
		t.Fatalf("golden entry has %d bytes", len(golden))
	}
	if got := a.AppendTo([]byte{9}); !bytes.Equal(got[1:], golden) || got[0] != 9 {
		t.Errorf("encoded %x, want %x", got, golden)
	}
	got, err := DecodeAbortedTxn(golden)
	if got != a || err != nil {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestTxnIndexCheck(t *testing.T) {
	index := func(list ...AbortedTxn) (p []byte) {
		for _, a := range list {
			p = a.AppendTo(p)
		}
		return p
	}
	first, second := AbortedTxn{7, 5, 110, 111}, AbortedTxn{8, 90, 120, 100}
	good := index(first, second)
	if n, last, err := CheckTxnIndex(good, 100); n != 2 || last != second || err != nil {
		t.Errorf("checked as %d, %+v, %v", n, last, err)
	}
	if n, _, err := CheckTxnIndex(nil, 100); n != 0 || err != nil {
		t.Errorf("an empty index is checked as %d, %v", n, err)
	}
	for name, p := range map[string][]byte{
		"a torn entry":               good[:len(good)-1],
		"zeros at the end":           append(bytes.Clone(good), make([]byte, AbortedTxnSize)...),
		"zeros":                      make([]byte, AbortedTxnSize),
		"another version":            append([]byte{0, 1}, good[2:]...),
		"out of order":               index(second, first),
		"an entry twice":             index(first, first),
		"an entry of the one before": index(AbortedTxn{7, 5, 99, 100}),
		"no producer":                index(AbortedTxn{-1, 5, 110, 111}),
		"a negative offset":          index(AbortedTxn{7, -5, 110, 111}),
		"backwards":                  index(AbortedTxn{7, 110, 110, 111}),
		"stable beyond its end":      index(AbortedTxn{7, 5, 110, 112}),
		"stable below zero":          index(AbortedTxn{7, 5, 110, -1}),
		"stable at the end of all":   index(AbortedTxn{7, 5, 110, math.MinInt64}),
	} {
		if n, _, err := CheckTxnIndex(p, 100); err == nil {
			t.Errorf("%s: %d entries are taken", name, n)
		}
	}
}

func TestOverlap(t *testing.T) {
	a := AbortedTxn{ProducerID: 7, FirstOffset: 10, LastOffset: 20, LastStableOffset: 15}
	for _, tt := range []struct {
		from, to cluster.Offset
		want     bool
	}{{0, 10, false}, {0, 11, true}, {10, 11, true}, {12, 14, true}, {20, 30, true}, {21, 30, false}} {
		if got := a.Overlaps(tt.from, tt.to); got != tt.want {
			t.Errorf("offsets %d to %d overlap: %t", tt.from, tt.to, got)
		}
	}
	if a.EndsSearch(16) || !a.EndsSearch(15) {
		t.Error("a search ends at the last stable offset")
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(EncodeSnapshot(nil), int64(0))
	f.Add(EncodeSnapshot(goldenEntries), int64(41))
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x7f\xff\xff\xff"), int64(10))
	f.Fuzz(func(t *testing.T, p []byte, end int64) {
		if len(p) >= snapshotHeaderSize { // behind the checksum is where it gets interesting
			p = bytes.Clone(p)
			binary.BigEndian.PutUint32(p[crcAt:], crc32.Checksum(p[coveredAt:], castagnoli))
		}
		entries, err := DecodeSnapshot(p)
		if err != nil {
			return
		}
		if again := EncodeSnapshot(entries); !bytes.Equal(again, p) {
			t.Fatalf("%x is encoded as %x", p, again)
		}
		s, err := Restore(entries, cluster.Offset(end), 0, math.MaxInt64)
		if err != nil {
			return
		}
		// Whatever is restored must stand use, and be what was stored.
		got := map[cluster.ProducerID]Entry{}
		for _, e := range s.Entries() {
			got[e.ProducerID] = e
		}
		for _, e := range entries {
			if e.LastOffset < 0 {
				e.LastSequence, e.OffsetDelta = noSequence, 0
			}
			if diff := cmp.Diff(e, got[e.ProducerID]); diff != "" && (e.TxnFirstOffset >= 0 || !expired(e.Timestamp, 0, math.MaxInt64)) {
				t.Fatalf("restored (-want +got):\n%s", diff)
			}
		}
		next := cluster.Offset(end)
		for _, e := range entries {
			for _, facts := range []Facts{txn(e.ProducerID, e.Epoch, 0, 1), marker(AbortMarker, e.ProducerID, e.Epoch, e.CoordinatorEpoch)} {
				facts.FirstOffset, facts.LastOffset = next, next
				_, _, _ = s.Check(&facts, Client)
				s.Apply(&facts)
				if next++; next < 0 {
					return
				}
			}
		}
		if _, ok := s.FirstUnstable(next); ok {
			t.Fatal("a transaction is open after all were aborted")
		}
	})
}

func FuzzTxnIndex(f *testing.F) {
	f.Add(AbortedTxn{8, 90, 120, 100}.AppendTo(AbortedTxn{7, 5, 110, 111}.AppendTo(nil)), int64(100))
	f.Add(make([]byte, AbortedTxnSize), int64(0))
	f.Fuzz(func(t *testing.T, p []byte, base int64) {
		n, last, err := CheckTxnIndex(p, cluster.Offset(base))
		if err != nil {
			return
		}
		if n*AbortedTxnSize != len(p) {
			t.Fatalf("%d entries in %d bytes", n, len(p))
		}
		var again []byte
		for i := range n {
			a, err := DecodeAbortedTxn(p[i*AbortedTxnSize:])
			if err != nil {
				t.Fatalf("entry %d was checked: %v", i, err)
			}
			if i == n-1 && a != last {
				t.Fatalf("last entry is %+v, want %+v", last, a)
			}
			again = a.AppendTo(again)
		}
		if !bytes.Equal(again, p) {
			t.Fatalf("%x is encoded as %x", p, again)
		}
	})
}
