package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// model is a log that is nothing but a list, with what a power cut must not take.
type model struct {
	t   *rapid.T
	cfg Config
	mem *vfs.Mem
	m   *Manager
	l   *Log

	batches []modelBatch
	start   cluster.Offset
	saved   cluster.Offset // a log start that is on disk
	trimmed bool           // segments were removed from the beginning, and producers may be known of which no batch is left
	durable cluster.Offset // everything below survives a power cut
	epoch   cluster.LeaderEpoch
	clock   int64
}

type modelBatch struct {
	first cluster.Offset
	recs  []rec
}

func (s *model) end() cluster.Offset {
	if n := len(s.batches); n > 0 {
		return s.batches[n-1].first + cluster.Offset(len(s.batches[n-1].recs))
	}
	return s.start
}

func (s *model) open() {
	m, err := OpenManager(context.Background(), managerConfig(s.mem, s.cfg))
	s.must(err)
	s.m = m
	l, ok := m.Get(orders)
	if !ok {
		l, err = m.GetOrCreate(orders, cluster.TopicID{}, true, s.cfg)
		s.must(err)
	}
	s.l = l
}

func (s *model) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *model) append(t *rapid.T) {
	b := modelBatch{first: s.end()}
	var values []string
	if rapid.IntRange(0, 4).Draw(t, "new epoch") == 0 {
		s.epoch++
	}
	s.clock += rapid.Int64Range(-20, 60).Draw(t, "clock")
	s.clock = max(s.clock, 0)
	for i := range rapid.IntRange(1, 4).Draw(t, "records") {
		v := strings.Repeat("v", rapid.IntRange(0, 120).Draw(t, "size"))
		values = append(values, v)
		b.recs = append(b.recs, rec{Offset: int64(b.first) + int64(i), Value: v, Time: s.clock + int64(i), Epoch: int32(s.epoch)})
	}
	batch := batchOf(t, s.clock, values...)
	if id := cluster.ProducerID(rapid.IntRange(0, 3).Draw(t, "producer")); id > 0 { // 1 is idempotent, 2 and 3 are transactional
		last := lastOf(s.l, id)
		batch = numberedBatch(t, s.clock, id, last.Epoch, last.LastSequence+1, id > 1, values...)
	}
	info, err := s.l.AppendAsLeader(batch, s.epoch)
	s.must(err)
	if info.FirstOffset != b.first || info.LastOffset != b.first+cluster.Offset(len(b.recs))-1 {
		t.Fatalf("appended as %d..%d, want from %d", info.FirstOffset, info.LastOffset, b.first)
	}
	s.batches = append(s.batches, b)
	if s.cfg.FlushMessages == 1 {
		s.durable = s.end()
	}
}

// mark ends a transaction of a producer, if it has one or not.
func (s *model) mark(t *rapid.T) {
	id := cluster.ProducerID(rapid.IntRange(2, 3).Draw(t, "producer"))
	epoch := lastOf(s.l, id).Epoch + int16(rapid.IntRange(0, 1).Draw(t, "fence"))
	typ := record.MarkerType(rapid.IntRange(0, 1).Draw(t, "marker"))
	b := modelBatch{first: s.end()}
	b.recs = []rec{{Offset: int64(b.first), Value: "\x00\x00\x00\x00\x00\x01", Time: s.clock, Epoch: int32(s.epoch)}}
	_, err := s.l.AppendAsCoordinator(markerBatch(typ, s.clock, id, epoch, 1), s.epoch)
	s.must(err)
	s.batches = append(s.batches, b)
	if s.cfg.FlushMessages == 1 {
		s.durable = s.end()
	}
}

// again sends the last batch of a producer once more.
func (s *model) again(t *rapid.T) {
	last := lastOf(s.l, 1)
	if last.LastOffset < 0 {
		return
	}
	info, err := s.l.AppendAsLeader(numberedBatch(t, s.clock, 1, last.Epoch, last.LastSequence-last.OffsetDelta, false, make([]string, last.OffsetDelta+1)...), s.epoch)
	s.must(err)
	if !info.Duplicate || info.LastOffset != last.LastOffset {
		t.Fatalf("the last batch again: %+v, want a duplicate of offset %d", info, last.LastOffset)
	}
}

func (s *model) flush(*rapid.T) {
	s.must(s.l.Flush())
	s.durable = s.end()
}

func (s *model) truncate(t *rapid.T) {
	to := cluster.Offset(rapid.Int64Range(int64(s.start), int64(s.end())).Draw(t, "truncate to"))
	s.must(s.l.Truncate(to))
	for len(s.batches) > 0 && s.end() > to {
		s.batches = s.batches[:len(s.batches)-1]
	}
	if n := len(s.batches); n == 0 || s.end() < s.start {
		s.start = s.l.LogEndOffset()
	}
	s.durable, s.saved = min(s.durable, s.end()), min(s.saved, s.start)
	if e := s.l.LatestEpoch(); e >= 0 && rapid.Bool().Draw(t, "unclean election") {
		s.epoch = max(s.epoch, e) + 1
	}
}

// deleteRecords moves the log start offset up. It is durable with the next checkpoint.
func (s *model) deleteRecords(t *rapid.T) {
	s.start = cluster.Offset(rapid.Int64Range(int64(s.start), int64(s.end())).Draw(t, "delete records before"))
	s.must(s.l.AdvanceLogStart(s.start))
}

func (s *model) checkpoint(*rapid.T) {
	s.must(s.m.dirs[0].checkpoint())
	s.saved = s.start
}

// retain removes the segments whose records are all deleted.
func (s *model) retain(*rapid.T) {
	s.m.retain(s.m.dirs[0], time.UnixMilli(s.clock), func(*Config) bool { return true })
	s.must(s.l.Err())
	if s.adoptFirst() {
		s.saved = s.start // before segments went
	}
}

// adoptFirst notices that segments were removed from the beginning.
func (s *model) adoptFirst() (removed bool) {
	first := s.l.Segments()[0]
	if first > s.start {
		s.t.Fatalf("the first segment begins at %d, the log at %d", first, s.start)
	}
	for len(s.batches) > 0 && s.batches[0].first < first {
		s.trimmed, removed = true, true
		s.batches = s.batches[1:]
	}
	return removed
}

func (s *model) restart(t *rapid.T) {
	s.start = cluster.Offset(rapid.Int64Range(0, int64(s.end())+50).Draw(t, "start at"))
	s.must(s.l.TruncateFullyAndStartAt(s.start))
	s.batches, s.durable, s.saved, s.trimmed = nil, s.start, min(s.saved, s.start), false
}

func (s *model) reopen(t *rapid.T) {
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		s.must(s.m.Close(context.Background()))
		s.durable, s.saved = s.end(), s.start
		s.open()
		s.adoptFirst()
	case 1:
		s.mem.Kill()
		_ = s.m.release()
		s.open()
		s.adoptStart()
	default:
		crashed := s.mem.CrashClone(vfs.CrashOptions{Seed: rapid.Uint64().Draw(t, "seed"), Data: vfs.KeepRandom, Names: vfs.KeepRandom})
		_ = s.m.release()
		s.mem = crashed
		s.open()
		for len(s.batches) > 0 && s.end() > s.l.LogEndOffset() {
			s.batches = s.batches[:len(s.batches)-1]
		}
		s.adoptStart()
		if s.end() < s.durable {
			t.Fatalf("log ends at %d, %d was durable: %+v", s.l.LogEndOffset(), s.durable, s.l.Recovery())
		}
	}
}

// adoptStart takes over a log start offset that fell back to one that was saved.
func (s *model) adoptStart() {
	start := s.l.LogStartOffset()
	if start > s.start && start != s.saved || start < s.saved && start < s.l.LogEndOffset() {
		s.t.Fatalf("log start %d, want %d or the saved %d", start, s.start, s.saved)
	}
	if s.start = start; s.end() < start { // everything was below it
		s.batches = nil
	}
	s.adoptFirst()
}

func (s *model) check(t *rapid.T) {
	got, err := readAll(s.l)
	check := checkProducers
	if s.trimmed {
		check = checkProducersOf
	}
	s.must(errors.Join(err, checkDense(s.l, got), checkLookups(s.l, got), checkEpochs(s.l, got), check(s.l)))
	if s.l.LogEndOffset() != s.end() || s.l.LogStartOffset() != s.start {
		t.Fatalf("log is from %d to %d, want %d to %d; segments %v", s.l.LogStartOffset(), s.l.LogEndOffset(), s.start, s.end(), s.l.Segments())
	}
	i := 0
	for _, b := range s.batches {
		for _, r := range b.recs {
			if r.Offset < int64(s.start) {
				continue
			}
			if i >= len(got) || got[i] != r {
				t.Fatalf("record %d differs from %+v", i, r)
			}
			i++
		}
	}
	// Followers are told the truth about epochs.
	for e := range s.epoch + 1 {
		last := cluster.UnknownOffset
		for _, r := range got {
			if r.Epoch <= int32(e) {
				last = cluster.Offset(r.Offset)
			}
		}
		if _, end, ok := s.l.EndOffsetForEpoch(e); ok && last >= 0 && end != last+1 {
			t.Fatalf("epoch %d ends at %d, want %d: %v", e, end, last+1, s.l.EpochEntries())
		}
	}
}

func TestLogIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := smallConfig()
		cfg.SegmentBytes = rapid.IntRange(700, 3000).Draw(t, "segment.bytes")
		cfg.IndexIntervalBytes = rapid.SampledFrom([]int{0, 100, 500, 4096}).Draw(t, "index.interval.bytes")
		cfg.SegmentIndexBytes = rapid.SampledFrom([]int{4, 60, 1024}).Draw(t, "segment.index.bytes")
		cfg.SegmentMs = rapid.SampledFrom([]int64{100, math.MaxInt64 / 2}).Draw(t, "segment.ms")
		cfg.FlushMessages = rapid.SampledFrom([]int64{1, 10, math.MaxInt64}).Draw(t, "flush.messages")
		cfg.RetentionMs = -1
		cfg.Preallocate = rapid.Bool().Draw(t, "preallocate")
		s := &model{t: t, cfg: cfg, mem: vfs.NewMem()}
		s.open()
		defer func() { _ = s.m.release() }()
		actions := map[string]func(*rapid.T){
			"append":      s.append,
			"append more": func(t *rapid.T) { s.append(t); s.append(t); s.append(t) },
			"flush":       s.flush,
			"mark":        s.mark,
			"again":       s.again,
			"roll":        func(*rapid.T) { s.must(s.l.Roll()) },
			"truncate":    s.truncate,
			"restart":     s.restart,
			"reopen":      s.reopen,
			"checkpoint":  s.checkpoint,
			"delete":      s.deleteRecords,
			"retain":      s.retain,
			"":            s.check,
		}
		t.Repeat(actions)
	})
}

// FuzzIndex puts arbitrary bytes in the place of index files: whatever they say, reads find the right records.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(make([]byte, 80), make([]byte, 120))
	f.Add([]byte{0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 2, 0}, []byte{0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 4})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}, []byte("0123456789ab0123456789ab"))
	base := filled(f, smallConfig())
	m := openOn(f, base, smallConfig())
	closeManager(f, m)
	f.Fuzz(func(t *testing.T, index, timeIndex []byte) {
		disk := base.CrashClone(vfs.CrashOptions{})
		edit(t, disk, segmentPath(0, indexSuffix), func([]byte) []byte { return index })
		edit(t, disk, segmentPath(0, timeIndexSuffix), func([]byte) []byte { return timeIndex })
		m := openOn(t, disk, smallConfig())
		defer closeManager(t, m)
		l, _ := m.Get(orders)
		got, err := readAll(l)
		must(t, err)
		must(t, checkDense(l, got))
		if len(got) != 30 {
			t.Fatalf("%d records, want 30", len(got))
		}
		var p pool
		for off := range cluster.Offset(30) {
			fetched, err := l.Read(off, 1, 30, true, &p)
			if err != nil || fetched.FirstOffset != off {
				t.Fatalf("read at %d found %d: %v", off, fetched.FirstOffset, err)
			}
			if _, _, err := l.OffsetForTimestamp(int64(1000+off), 30); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzCheckpoint decodes arbitrary bytes; what is accepted comes out the same again.
func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\norders 0 4711\norders 1 99\n"))
	f.Add([]byte("0\n2\n0 0\n4 4711\n"))
	f.Add([]byte("0\n0\n"))
	f.Add([]byte("0\n1\norders 0 99999999999999999999\n"))
	f.Add([]byte("0\n99999999\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if offsets, err := decodeOffsets(data); err == nil {
			again, err := decodeOffsets(encodeOffsets(offsets))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(offsets) {
				t.Errorf("%v became %v: %v", offsets, again, err)
			}
		}
		if epochs, err := decodeEpochs(data); err == nil {
			again, err := decodeEpochs(encodeEpochs(epochs))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(epochs) {
				t.Errorf("%v became %v: %v", epochs, again, err)
			}
		}
		_, _ = decodeMetaProperties(data)
		_, _ = decodePartitionMetadata(data)
	})
}

// FuzzRecover opens a log whose only segment is arbitrary bytes: it never fails, keeps only whole batches, and goes on.
func FuzzRecover(f *testing.F) {
	good := numbered(f, 0, 0, "a b", 2, 0, "c", 3, 1, "d e f")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(good[:len(good):len(good)], make([]byte, 100)...))
	f.Add(numbered(f, 0, 5, "a", 1, 4, "b"))
	f.Add(numbered(f, 7, 0, "a", 3, 0, "b"))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		mem := vfs.NewMem()
		must(t, mem.MkdirAll(logDirName, 0o755))
		must(t, vfs.WriteFileAtomic(mem, segmentPath(0, logSuffix), data, 0o644))
		m := openOn(t, mem, DefaultConfig())
		l, _ := m.Get(orders)
		if l.Size() > int64(len(data)) {
			t.Errorf("%d bytes of %d are good", l.Size(), len(data))
		}
		var p pool
		for next := cluster.Offset(0); next < l.LogEndOffset(); {
			f, err := l.Read(next, 1000, math.MaxInt64, true, &p)
			if err != nil || f.NextOffset <= next {
				t.Fatalf("read at %d of %d goes on at %d: %v", next, l.LogEndOffset(), f.NextOffset, err)
			}
			next = f.NextOffset
		}
		if l.LogEndOffset() < math.MaxInt32 {
			end := l.LogEndOffset()
			if off := appendValues(t, l, math.MaxInt32, 1, "next"); off != end {
				t.Errorf("the next append got offset %d, want %d", off, end)
			}
		}
		end, size := l.LogEndOffset(), l.Size()
		closeManager(t, m)
		m = openOn(t, mem, DefaultConfig())
		defer closeManager(t, m)
		if l, _ := m.Get(orders); l.LogEndOffset() != end || l.Size() != size || l.Recovery().Cut {
			t.Errorf("after a clean stop the log ends at %d with %d bytes, want %d with %d", l.LogEndOffset(), l.Size(), end, size)
		}
	})
}
