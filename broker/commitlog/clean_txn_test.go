package commitlog

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// txnLog is a compacted log with transactions, and what a read_committed consumer must find in it.
type txnLog struct {
	compacting
	open      map[int64][]row // undecided records by producer
	sequences map[int64]int32
	committed map[string]row // the last committed record of each key
	forbidden map[int64]bool // offsets of aborted records
}

// replicate appends a batch as a leader would have numbered it.
func (s *txnLog) replicate(t fataler, b record.Batch) cluster.Offset {
	t.Helper()
	b.SetBaseOffset(int64(s.l.LogEndOffset()))
	b.SetPartitionLeaderEpoch(0)
	info, err := s.l.AppendAsFollower(b)
	must(t, err)
	return info.FirstOffset
}

// write appends records of a producer's transaction.
func (s *txnLog) write(t fataler, id int64, kvs ...kv) {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for _, r := range kvs {
		b.Append(s.now.UnixMilli(), []byte(r.key), []byte(r.value), nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, id, 0, s.sequences[id], true)
	must(t, err)
	s.sequences[id] += int32(len(kvs))
	first := s.replicate(t, batch)
	for i, r := range kvs {
		s.open[id] = append(s.open[id], row{int64(first) + int64(i), r.key, r.value, s.now.UnixMilli()})
	}
}

// end appends a marker.
func (s *txnLog) end(t fataler, id int64, how record.MarkerType) {
	t.Helper()
	s.replicate(t, record.ControlBatch(record.Marker{Type: how, ProducerID: id, Timestamp: s.now.UnixMilli()}))
	for _, r := range s.open[id] {
		if how == record.Abort {
			s.forbidden[r.offset] = true
		} else if r.offset > s.committed[r.key].offset || s.committed[r.key].key == "" {
			s.committed[r.key] = r
		}
	}
	delete(s.open, id)
}

// consume reads like a read_committed consumer (F§4.13): up to the last stable offset, without what the index calls aborted.
func (s *txnLog) consume(t fataler) map[string]row {
	t.Helper()
	var p pool
	got := map[string]row{}
	stable := s.l.LastStableOffset(s.l.LogEndOffset())
	for next := cluster.Offset(0); next < stable; {
		f, err := s.l.Read(next, 300, stable, true, &p)
		must(t, err)
		if f.NextOffset <= next {
			t.Fatal("stuck at ", next)
		}
		aborted, err := s.l.AbortedTransactions(next, f.NextOffset)
		must(t, err)
		slices.SortFunc(aborted, func(a, b producers.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
		active := map[int64]bool{}
		for data := f.Data; len(data) > 0; {
			b, rest, err := record.Split(data)
			must(t, err)
			data = rest
			for len(aborted) > 0 && int64(aborted[0].FirstOffset) <= b.LastOffset() {
				active[int64(aborted[0].ProducerID)] = true
				aborted = aborted[1:]
			}
			if b.IsControl() {
				if b.Count() > 0 {
					delete(active, b.ProducerID())
				}
				continue
			}
			if b.IsTransactional() && active[b.ProducerID()] {
				continue
			}
			for r, err := range b.Records(nil) {
				must(t, err)
				if s.forbidden[r.Offset] {
					t.Fatal("aborted record at offset ", r.Offset, " is seen as committed; log ", s.batches(t))
				}
				got[string(r.Key)] = row{r.Offset, string(r.Key), string(r.Value), r.Timestamp}
			}
		}
		next = f.NextOffset
	}
	return got
}

func newTxnLog(t fataler, cfg Config) *txnLog {
	t.Helper()
	s := &txnLog{open: map[int64][]row{}, sequences: map[int64]int32{}, committed: map[string]row{}, forbidden: map[int64]bool{}}
	s.aging = aging{mem: vfs.NewMem(), now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}
	s.aging.open(t, s.mem)
	s.c = &cleaner{m: s.m}
	return s
}

// batches describes the log's batches.
func (s *txnLog) batches(t fataler) (list []string) {
	t.Helper()
	for _, seg := range *s.l.segments.Load() {
		w := &walk{s: seg, end: seg.base, epoch: -1}
		must(t, w.run(func(b record.Batch, _ int64) error {
			what := "data"
			if b.IsControl() && b.Count() > 0 {
				m, err := record.ParseMarker(b)
				must(t, err)
				what = m.Type.String()
			}
			list = append(list, fmt.Sprintf("%d:%d-%d %s/%d", b.ProducerID(), b.BaseOffset(), b.LastOffset(), what, b.Count()))
			return nil
		}))
	}
	return list
}

func TestMarkersGoAfterTheirTransactions(t *testing.T) {
	cfg := compactConfig()
	cfg.SegmentBytes = 1 << 20
	s := newTxnLog(t, cfg)
	defer closeManager(t, s.m)
	s.write(t, 1, kv{"a", "1"}, kv{"b", "1"}) // 0, 1: replaced later
	s.end(t, 1, record.Commit)                // 2
	s.write(t, 2, kv{"a", "aborted"})         // 3
	s.end(t, 2, record.Abort)                 // 4
	s.write(t, 3, kv{"a", "3"})               // 5
	s.end(t, 3, record.Commit)                // 6
	s.write(t, 1, kv{"b", "4"})               // 7
	s.end(t, 1, record.Commit)                // 8
	s.write(t, 2, kv{"c", "5"})               // 9
	s.end(t, 2, record.Commit)                // 10
	s.write(t, 4, kv{"x", "edge"})            // 11: the last batch of the segment stays in any case
	s.end(t, 4, record.Commit)                // 12
	look := func(what string, want ...string) {
		t.Helper()
		if got := fmt.Sprint(s.batches(t)); got != fmt.Sprint(want) {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
		for key, r := range s.committed {
			if got := s.consume(t)[key]; got != r {
				t.Errorf("%s: a consumer finds %+v, want %+v", what, got, r)
			}
		}
	}
	dirty := func() {
		s.write(t, 4, kv{"x", "edge"})
		s.end(t, 4, record.Commit)
		s.compact(t)
	}
	s.compact(t)
	look("the first round takes the data away", "1:2-2 COMMIT/1", "2:4-4 ABORT/1", "3:5-5 data/1", "3:6-6 COMMIT/1", "1:7-7 data/1",
		"1:8-8 COMMIT/1", "2:9-9 data/1", "2:10-10 COMMIT/1", "4:11-11 data/1", "4:12-12 COMMIT/1")
	if aborted, err := s.l.AbortedTransactions(0, 5); err != nil || len(aborted) != 1 || aborted[0].LastOffset != 4 {
		t.Errorf("aborted transactions %+v, %v", aborted, err)
	}
	s.now = s.now.Add(time.Hour)
	dirty()
	look("the second round gives the markers their horizon", "1:2-2 COMMIT/1", "2:4-4 ABORT/1", "3:5-5 data/1", "3:6-6 COMMIT/1", "1:7-7 data/1",
		"1:8-8 COMMIT/1", "2:9-9 data/1", "2:10-10 COMMIT/1", "4:12-12 COMMIT/1", "4:13-13 data/1", "4:14-14 COMMIT/1")
	if aborted, err := s.l.AbortedTransactions(0, 5); err != nil || len(aborted) != 0 {
		t.Errorf("aborted transactions %+v, %v", aborted, err)
	}
	s.now = s.now.Add(time.Duration(cfg.DeleteRetentionMs) * time.Millisecond)
	dirty()
	look("and the third takes them away", "3:5-5 data/1", "3:6-6 COMMIT/1", "1:7-7 data/1",
		"1:8-8 COMMIT/1", "2:9-9 data/1", "2:10-10 COMMIT/1", "4:12-12 COMMIT/1", "4:14-14 COMMIT/1", "4:15-15 data/1", "4:16-16 COMMIT/1")
	s.reopens(t)
}

func TestTheLastBatchOfAProducerStays(t *testing.T) {
	s := newTxnLog(t, compactConfig())
	defer closeManager(t, s.m)
	s.write(t, 7, kv{"a", "1"})
	s.end(t, 7, record.Commit)
	s.write(t, 8, kv{"a", "2"})
	s.end(t, 8, record.Commit)
	s.append(t, record.None, kv{"z", "1"})
	s.compact(t)
	got := fmt.Sprint(s.batches(t))
	if want := "[7:0-0 data/0 7:1-1 COMMIT/1 8:2-2 data/1 8:3-3 COMMIT/1 -1:4-4 data/1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Its state can be built again from what is left.
	before := fmt.Sprint(s.l.Producers())
	state, err := s.l.rebuildState(*s.l.segments.Load(), nil, 0, s.l.LogEndOffset())
	must(t, err)
	if after := fmt.Sprint(state.Entries()); after != before {
		t.Errorf("producers %s, were %s", after, before)
	}
	// And once the producer is forgotten, its batch goes.
	s.l.producers.expirationMs.Store(1)
	s.l.ExpireProducers(s.now.Add(time.Hour))
	s.l.ExpireProducers(s.now.Add(time.Hour))
	s.append(t, record.None, kv{"z", "2"})
	s.compact(t)
	if got := s.batches(t); got[0] != "7:1-1 COMMIT/1" {
		t.Errorf("got %v", got)
	}
}

func TestCompactionOfTransactionsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := compactConfig()
		cfg.SegmentBytes = rapid.IntRange(400, 2000).Draw(t, "segment.bytes")
		cfg.DeleteRetentionMs = rapid.SampledFrom([]int64{0, 3000}).Draw(t, "delete.retention.ms")
		s := newTxnLog(t, cfg)
		defer func() { _ = s.m.Close(t.Context()) }()
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			id := rapid.Int64Range(1, 4).Draw(t, "producer")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				s.write(t, id, kv{fmt.Sprint("k", rapid.IntRange(0, 4).Draw(t, "key")), fmt.Sprint("v", s.l.LogEndOffset())})
			case 2, 3:
				s.end(t, id, rapid.SampledFrom([]record.MarkerType{record.Commit, record.Abort}).Draw(t, "how"))
			case 4:
				s.m.clean.cfg.DedupeBufferBytes = int64(rapid.SampledFrom([]int{24 * 4, 1 << 20}).Draw(t, "dedupe buffer"))
				s.c = &cleaner{m: s.m}
				s.compact(t)
			case 5:
				s.now = s.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			}
			stable := s.l.LastStableOffset(s.l.LogEndOffset())
			got := s.consume(t)
			for key, r := range s.committed {
				if r.offset < int64(stable) && got[key].offset < r.offset {
					t.Fatalf("a consumer finds %+v, want %+v or later; log %v", got[key], r, s.batches(t))
				}
			}
		}
	})
}
