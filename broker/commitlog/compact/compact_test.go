package compact

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

func TestOffsetMapIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var m OffsetMap
	for _, keys := range []int64{5000, 100, 20_000, 10} {
		m.Reset(keys, 1<<30, 0.9)
		if m.Room() < int(keys) || m.Bytes() > 5*max(keys, minSlots)*SlotSize {
			t.Fatalf("room for %d of %d keys in %d bytes", m.Room(), keys, m.Bytes())
		}
		want := map[string]cluster.Offset{}
		for i := range keys {
			key := fmt.Sprint(rng.IntN(int(keys)))
			m.Put([]byte(key), cluster.Offset(i))
			want[key] = cluster.Offset(i)
		}
		if m.Len() != len(want) {
			t.Fatalf("%d keys, want %d", m.Len(), len(want))
		}
		for key, offset := range want {
			if got, ok := m.Last([]byte(key)); !ok || got != offset {
				t.Fatalf("%s is at %d (%v), want %d", key, got, ok, offset)
			}
		}
		if _, ok := m.Last([]byte("never seen")); ok {
			t.Fatal("a key that was never put is there")
		}
	}
	m.Reset(math.MaxInt64, 24*1000, 0.9)
	if m.Bytes() > 24*1000 || m.Room() != 900 {
		t.Errorf("%d bytes for %d keys, want at most 24000 for 900", m.Bytes(), m.Room())
	}
	for i := range 900 {
		m.Put(fmt.Append(nil, i), 7)
	}
	if m.Room() != 0 || m.Utilization() != 1 {
		t.Errorf("room for %d more, %v used", m.Room(), m.Utilization())
	}
	m.Put([]byte("1"), 3)
	if at, _ := m.Last([]byte("1")); at != 7 {
		t.Errorf("an earlier offset replaced a later one: %d", at)
	}
	var none OffsetMap
	if _, ok := none.Last([]byte("x")); ok || none.Utilization() != 0 {
		t.Error("the zero map knows something")
	}
	m.Reset(10, 24, 0.9)
	if m.Room() != 0 {
		t.Errorf("room for %d in one slot, where a search would not end", m.Room())
	}
}

// three are closed segments of 100 bytes with ten offsets each, and an active one.
func three() []Segment {
	return []Segment{
		{Base: 0, Next: 10, Size: 100, MaxTime: 1000, FirstTime: 900},
		{Base: 10, Next: 20, Size: 100, MaxTime: 2000, FirstTime: 1900},
		{Base: 20, Next: 30, Size: 100, MaxTime: 3000, FirstTime: 2900},
		{Base: 30, Next: 40, Size: 1000, MaxTime: 3500},
	}
}

func TestJudge(t *testing.T) {
	const now = 5000
	usual := Log{Segments: three(), End: 40, Cleaned: -1, Limit: 40, MinDirtyRatio: 0.5, MaxLagMs: math.MaxInt64}
	for _, tc := range []struct {
		name string
		log  func(l *Log)
		want Work
		due  bool
	}{
		{"never cleaned", func(*Log) {}, Work{FirstDirty: 0, FirstUncleanable: 30, DirtyBytes: 300}, true},
		{"half clean, and the ratio must be exceeded", func(l *Log) { l.Cleaned = 10; l.MinDirtyRatio = 2.0 / 3 }, Work{FirstDirty: 10, FirstUncleanable: 30, CleanBytes: 100, DirtyBytes: 200}, false},
		{"dirty enough", func(l *Log) { l.Cleaned = 10; l.MinDirtyRatio = 0.66 }, Work{FirstDirty: 10, FirstUncleanable: 30, CleanBytes: 100, DirtyBytes: 200}, true},
		{"within a segment", func(l *Log) { l.Cleaned = 15 }, Work{FirstDirty: 15, FirstUncleanable: 30, CleanBytes: 100, DirtyBytes: 200}, true},
		{"all clean", func(l *Log) { l.Cleaned = 30; l.MinDirtyRatio = 0 }, Work{FirstDirty: 30, FirstUncleanable: 30, CleanBytes: 300}, false},
		{"not beyond the limit", func(l *Log) { l.Limit = 29 }, Work{FirstUncleanable: 20, DirtyBytes: 200}, true},
		{"up to the limit", func(l *Log) { l.Limit = 20 }, Work{FirstUncleanable: 20, DirtyBytes: 200}, true},
		{"limit unknown", func(l *Log) { l.Limit = -1; l.MinDirtyRatio = 0 }, Work{}, false},
		{"limit below what is clean", func(l *Log) { l.Limit = 5; l.Cleaned = 20; l.MinDirtyRatio = 0 }, Work{FirstDirty: 20, FirstUncleanable: 20, CleanBytes: 200}, false},
		{"too young", func(l *Log) { l.MinLagMs = 3001 }, Work{FirstUncleanable: 10, DirtyBytes: 100}, true},
		{"just old enough", func(l *Log) { l.MinLagMs = 3000 }, Work{FirstUncleanable: 20, DirtyBytes: 200}, true},
		{"clean ones may be young", func(l *Log) { l.MinLagMs = 3001; l.Cleaned = 20; l.MinDirtyRatio = 0 }, Work{FirstDirty: 20, FirstUncleanable: 20, CleanBytes: 200}, false},
		{"overdue", func(l *Log) { l.Cleaned = 20; l.MinDirtyRatio = 1; l.MaxLagMs = 2099 }, Work{FirstDirty: 20, FirstUncleanable: 30, CleanBytes: 200, DirtyBytes: 100, Overdue: true}, true},
		{"not yet overdue", func(l *Log) { l.Cleaned = 20; l.MinDirtyRatio = 1; l.MaxLagMs = 2100 }, Work{FirstDirty: 20, FirstUncleanable: 30, CleanBytes: 200, DirtyBytes: 100}, false},
		{"log start beyond the checkpoint", func(l *Log) { l.Cleaned = 5; l.Start = 12 }, Work{FirstDirty: 12, FirstUncleanable: 30, CleanBytes: 100, DirtyBytes: 200}, true},
		{"checkpoint beyond the end", func(l *Log) { l.Cleaned = 41 }, Work{FirstUncleanable: 30, DirtyBytes: 300, Reset: true}, true},
		{"one segment", func(l *Log) { l.Segments = l.Segments[3:] }, Work{FirstUncleanable: 30}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := usual
			tc.log(&l)
			got, due := Judge(&l, now)
			if got != tc.want || due != tc.due {
				t.Errorf("%+v, %v; want %+v, %v", got, due, tc.want, tc.due)
			}
		})
	}
	half, most, late := &Work{CleanBytes: 1, DirtyBytes: 1}, &Work{CleanBytes: 1, DirtyBytes: 9}, &Work{CleanBytes: 9, DirtyBytes: 1, Overdue: true}
	if !Dirtier(most, half) || Dirtier(half, most) || !Dirtier(late, most) || Dirtier(most, late) || Dirtier(half, half) {
		t.Error("order of logs")
	}
}

func TestGroup(t *testing.T) {
	list := three()[:3]
	far := []Segment{{Base: 0, Next: 10, Size: 1}, {Base: 10, Next: math.MaxInt32 + 1, Size: 1}, {Base: math.MaxInt32 + 1, Next: math.MaxInt32 + 2, Size: 1}}
	empty := []Segment{{Base: 0, Next: math.MaxInt32 + 5}, {Base: math.MaxInt32 + 5, Next: math.MaxInt32 + 6}}
	indexed := []Segment{{Next: 1, IndexSize: 8}, {Base: 1, Next: 2, IndexSize: 8}, {Base: 2, Next: 3, TimeIndexSize: 24}}
	for _, tc := range []struct {
		name         string
		segments     []Segment
		bytes, index int64
		want         int
	}{
		{"all", list, 300, 100, 3},
		{"no larger than segment.bytes", list, 299, 100, 2},
		{"one in any case", list, 10, 0, 1},
		{"no more than segment.index.bytes", indexed, 1000, 15, 1},
		{"time index", indexed, 1000, 23, 2},
		{"indexes fit", indexed, 1000, 24, 3},
		{"offsets that an index can express", far, 1000, 100, 2},
		{"segments without bytes have no offsets", empty, 1000, 100, 2},
	} {
		if got := Group(tc.segments, tc.bytes, tc.index); got != tc.want {
			t.Errorf("%s: %d segments, want %d", tc.name, got, tc.want)
		}
	}
}

// batch builds an uncompressed batch.
func batch(t *testing.T, base int64, id int64, txn bool, kvs ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for i := 0; i < len(kvs); i += 2 {
		var key, value []byte
		if kvs[i] != "" {
			key = []byte(kvs[i])
		}
		if kvs[i+1] != "" {
			value = []byte(kvs[i+1])
		}
		b.Append(1000, key, value, nil)
	}
	seq, epoch := int32(0), int16(0)
	if id < 0 {
		seq, epoch = -1, -1
	}
	out, err := b.Finish(record.None, record.DefaultLevel, id, epoch, seq, txn)
	if err != nil {
		t.Fatal(err)
	}
	out.SetBaseOffset(base)
	return out
}

func TestFilter(t *testing.T) {
	var table OffsetMap
	table.Reset(100, 1<<20, 0.9)
	x := NewIndexer(&table, 5, []producers.AbortedTxn{{ProducerID: 3, FirstOffset: 8, LastOffset: 9}})
	for _, b := range []record.Batch{
		batch(t, 0, -1, false, "before", "the first dirty offset", "", "", "", "", "", "", "", "", "k", "1"), // k at 5
		batch(t, 6, -1, false, "k", "2", "gone", ""),                                                         // k at 6, gone at 7
		batch(t, 8, 3, true, "k", "aborted"),
	} {
		if ok, err := x.Add(b); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	if _, ok := table.Last([]byte("before")); ok || table.Len() != 2 {
		t.Errorf("%d keys are known", table.Len())
	}
	const now = 50_000
	f := NewFilter(FilterConfig{Table: &table, End: 10, Now: now, Expiry: now, DeleteRetentionMs: 100,
		Aborted: []producers.AbortedTxn{{ProducerID: 3, FirstOffset: 8, LastOffset: 9}},
		Last:    map[cluster.ProducerID]LastRecord{5: {Offset: 1}}})
	judge := func(name string, b record.Batch, edge bool, want string) record.Batch {
		t.Helper()
		v, err := f.Batch(b, edge)
		if err != nil {
			t.Fatal(err)
		}
		got, out := "", b
		switch {
		case v.Drop:
			got = "drop"
		case v.AsItIs:
			got = "as it is"
		default:
			var dec *record.Decompressor
			if out, _, err = dec.Retain(nil, b, v.Retention); err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprintf("%d of %d", v.Kept, b.Count())
			if h, ok := out.DeleteHorizon(); ok {
				got += fmt.Sprintf(" until %d", h)
			}
		}
		if v.Keyless > 0 {
			got += fmt.Sprintf(", %d without key", v.Keyless)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		return out
	}
	judge("a key that is not in the map", batch(t, 0, -1, false, "other", "1"), false, "as it is")
	judge("the last of an active producer", batch(t, 1, 5, false, "k", "0"), false, "0 of 1")
	judge("of another producer", batch(t, 1, 6, false, "k", "0"), false, "drop")
	judge("the last of a segment", batch(t, 2, -1, false, "k", "0"), true, "0 of 1")
	judge("one of two", batch(t, 4, -1, false, "unique", "1", "k", "1"), false, "1 of 2")
	judge("without a key", batch(t, 4, -1, false, "", "1"), false, "drop, 1 without key")
	tomb := judge("the first round sets the horizon", batch(t, 6, -1, false, "k", "2", "gone", ""), false, "2 of 2 until 50100")
	judge("the next leaves it", tomb, false, "as it is")
	f.old = 50_099
	judge("until it is there", tomb, false, "as it is")
	f.old = 50_100
	judge("and then the tombstone goes", tomb, false, "1 of 2 until 50100")
	judge("aborted", batch(t, 8, 3, true, "k", "aborted"), false, "drop")
	marker := record.ControlBatch(record.Marker{Type: record.Abort, ProducerID: 3})
	marker.SetBaseOffset(9)
	judge("the last of the round: a marker that is of use", marker, false, "as it is")
	judge("beyond the map", batch(t, 10, -1, false, "k", "0"), false, "as it is")
	bad := batch(t, 11, -1, false, "k", "0")
	bad[record.HeaderSize] = 0x7f
	if _, err := f.Batch(bad, false); err == nil {
		t.Error("a damaged batch is judged")
	}
	x.table.Reset(1, 48, 0.9)
	if ok, err := x.Add(batch(t, 20, -1, false, "a", "1", "b", "1")); ok || err != nil {
		t.Errorf("a batch that does not fit: %v, %v", ok, err)
	}
}
