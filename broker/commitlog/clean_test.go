package commitlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// kv is a record with a key. An empty value is a tombstone.
type kv struct{ key, value string }

// keyed builds a batch.
func keyed(t fataler, codec record.Codec, ts int64, kvs ...kv) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for i, r := range kvs {
		var value []byte
		if r.value != "" {
			value = []byte(r.value)
		}
		b.Append(ts+int64(i), []byte(r.key), value, nil)
	}
	batch, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
	must(t, err)
	return batch
}

// row is a record of a compacted log.
type row struct {
	offset     int64
	key, value string
	time       int64
}

// rows reads a log from an offset on, as a consumer does: in small pieces, whatever is where.
func rows(l *Log, from cluster.Offset) ([]row, error) {
	var p pool
	var got []row
	for next := from; next < l.LogEndOffset(); {
		f, err := l.Read(next, 200, l.LogEndOffset(), true, &p)
		if err != nil {
			return got, err
		}
		if f.Buf == nil || f.NextOffset <= next {
			return got, fmt.Errorf("read at %d of %d found nothing", next, l.LogEndOffset())
		}
		rs, err := decodeRows(f.Data, int64(next))
		if err != nil {
			return got, err
		}
		got = append(got, rs...)
		next = f.NextOffset
		p.Put(f.Buf)
	}
	return got, nil
}

// decodeRows decodes the records of batches from an offset on.
func decodeRows(data []byte, from int64) (got []row, err error) {
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return got, err
		}
		if !b.CheckCRC() {
			return got, fmt.Errorf("batch %d fails its checksum", b.BaseOffset())
		}
		for r, err := range b.Records(nil) {
			if err != nil {
				return got, err
			}
			if r.Offset >= from && !b.IsControl() {
				got = append(got, row{r.Offset, string(r.Key), string(r.Value), r.Timestamp})
			}
		}
		data = rest
	}
	return got, nil
}

// compacting is a log that is compacted when a test says so.
type compacting struct {
	aging
	all []row // whatever was appended
	c   *cleaner
}

func compactConfig() Config {
	cfg := smallConfig()
	cfg.CleanupPolicy = "compact"
	cfg.MinCleanableDirtyRatio = 0
	cfg.DeleteRetentionMs = 10_000
	return cfg
}

func newCompacting(t testing.TB, cfg Config) *compacting {
	t.Helper()
	a := &compacting{aging: aging{mem: vfs.NewMem(), now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}}
	a.open(t, a.mem)
	t.Cleanup(func() { _ = a.m.Close(context.Background()) })
	a.c = &cleaner{m: a.m}
	return a
}

func (a *compacting) append(t fataler, codec record.Codec, kvs ...kv) {
	t.Helper()
	info, err := a.l.AppendAsLeader(keyed(t, codec, a.now.UnixMilli(), kvs...), 0)
	must(t, err)
	for i, r := range kvs {
		a.all = append(a.all, row{int64(info.FirstOffset) + int64(i), r.key, r.value, a.now.UnixMilli() + int64(i)})
	}
}

// compact rolls, flushes, and compacts until there is nothing more to do.
func (a *compacting) compact(t fataler) {
	t.Helper()
	must(t, a.l.Roll())
	must(t, a.l.Flush())
	a.rounds(t)
}

func (a *compacting) rounds(t fataler) {
	t.Helper()
	for n := 0; a.c.next(context.Background()); n++ {
		if n > 1000 {
			t.Fatal("the cleaner does not come to an end")
		}
	}
	if u := a.m.Uncleanable(); len(u) > 0 {
		t.Fatal("uncleanable: ", u)
	}
	must(t, a.l.Err())
}

// verify compares a compacted log with what was appended: everything that is there was appended like that, in order; the last of
// each key is there, except tombstones that were seen by a round before horizon; and from clean on everything is.
func (a *compacting) verify(l *Log, clean cluster.Offset, horizon int64) error {
	got, err := rows(l, l.LogStartOffset())
	if err != nil {
		return err
	}
	last := map[string]row{}
	for _, r := range a.all {
		if r.offset < int64(l.LogEndOffset()) {
			last[r.key] = r
		}
	}
	before, there := int64(-1), map[int64]bool{}
	for _, r := range got {
		if r.offset <= before {
			return fmt.Errorf("offset %d comes after %d", r.offset, before)
		}
		before = r.offset
		if r != a.all[r.offset] {
			return fmt.Errorf("record %+v, was appended as %+v", r, a.all[r.offset])
		}
		there[r.offset] = true
	}
	for _, r := range last {
		if !there[r.offset] && (r.value != "" || r.time > horizon) {
			return fmt.Errorf("the last record of its key is gone: %+v", r)
		}
	}
	for _, r := range a.all {
		if r.offset >= int64(clean) && r.offset < int64(l.LogEndOffset()) && !there[r.offset] {
			return fmt.Errorf("record %+v is gone, nothing from %d on was cleaned", r, clean)
		}
	}
	return nil
}

func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			a := newCompacting(t, compactConfig())
			for i := range 200 {
				a.append(t, codec, kv{fmt.Sprint("k", i%10), fmt.Sprint("value ", i)}, kv{fmt.Sprint("k", i%7), fmt.Sprint("again ", i)})
			}
			size := a.l.Size()
			a.compact(t)
			must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
			got, err := rows(a.l, 0)
			must(t, err)
			if len(got) != 10 {
				t.Errorf("%d records are left of 10 keys: %v", len(got), got)
			}
			if a.l.LogEndOffset() != 400 || a.l.LogStartOffset() != 0 {
				t.Errorf("the log is from %d to %d, want 0 to 400", a.l.LogStartOffset(), a.l.LogEndOffset())
			}
			s := a.m.Stats().Cleaner
			if s.Rounds == 0 || s.Failed+s.Interrupted > 0 || s.RecordsAfter != 10 || s.BytesBefore != size {
				t.Errorf("stats %+v, the log had %d bytes", s, size)
			}
			if at, ok := a.m.dirs[0].mark(cleanerOffsetFile, orders); !ok || at != 400 {
				t.Errorf("cleaner-offset-checkpoint says %d, want 400", at)
			}
			if a.c.next(t.Context()) {
				t.Error("a clean log is compacted again")
			}
			a.reopens(t)
			before := len(a.l.Segments())
			a.append(t, codec, kv{"k1", "the next round makes one of small segments"})
			a.compact(t)
			if n := len(a.l.Segments()); n > before/3 {
				t.Errorf("%d segments are left of %d", n, before)
			}
			must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
			a.reopens(t)
		})
	}
}

// reopens compares the log with itself after every kind of restart.
func (a *compacting) reopens(t testing.TB) {
	t.Helper()
	want, err := rows(a.l, a.l.LogStartOffset())
	must(t, err)
	names := a.names(t)
	for _, n := range names {
		if strings.HasSuffix(n, swapSuffix) || strings.HasSuffix(n, cleanedSuffix) {
			t.Errorf("%s was left behind", n)
		}
	}
	must(t, a.l.Flush())
	for name, disk := range map[string]*vfs.Mem{"power cut": a.mem.CrashClone(vfs.CrashOptions{}), "process death": a.mem.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})} {
		m := openOn(t, disk, a.cfg)
		l, ok := m.Get(orders)
		if !ok {
			t.Fatalf("%s: the log is gone", name)
		}
		got, err := rows(l, l.LogStartOffset())
		if err != nil || !slices.Equal(got, want) || l.LogEndOffset() != a.l.LogEndOffset() || l.Recovery().Cut {
			t.Errorf("after a %s the log ends at %d with %d records (%v, %+v), want %d with %d", name, l.LogEndOffset(), len(got), err, l.Recovery(), a.l.LogEndOffset(), len(want))
		}
		closeManager(t, m)
	}
}

// TestCompactionCompressesAtTheTopicsLevel compares logs that differ in nothing but the level at which compaction writes.
func TestCompactionCompressesAtTheTopicsLevel(t *testing.T) {
	size := func(typ string, level int) int64 {
		cfg := compactConfig()
		cfg.SegmentBytes = 1 << 20
		a := newCompacting(t, cfg)
		for i := range 40 {
			var kvs []kv
			for n := range 20 {
				kvs = append(kvs, kv{fmt.Sprint("k", i*10+n), fmt.Sprintf(`{"id":%d,"name":"customer %d"}`, i*7919%1000, n*104729%977)})
			}
			a.append(t, record.Zstd, kvs...)
		}
		cfg.CompressionType, cfg.CompressionLevel = typ, level
		a.l.SetConfig(cfg)
		a.compact(t)
		must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
		return a.l.Size()
	}
	fast, usual, best, other := size("zstd", 1), size("producer", 0), size("zstd", 19), size("gzip", 9)
	if fast <= best || other != usual {
		t.Errorf("%d bytes at level 1, %d at level 19, %d without a level, %d in a topic of another codec", fast, best, usual, other)
	}
}

func TestTombstonesGoAfterTheirHorizon(t *testing.T) {
	a := newCompacting(t, compactConfig())
	a.append(t, record.None, kv{"a", "1"}, kv{"b", "1"})
	a.append(t, record.None, kv{"a", ""})
	a.compact(t)
	want := []string{"b=1", "a="}
	look := func(what string) {
		t.Helper()
		got, err := rows(a.l, 0)
		must(t, err)
		var text []string
		for _, r := range got {
			if r.key != "x" {
				text = append(text, r.key+"="+r.value)
			}
		}
		if !slices.Equal(text, want) {
			t.Fatalf("%s: %v, want %v", what, text, want)
		}
	}
	look("after the first round")
	dirty := func() { a.append(t, record.None, kv{"x", "more"}); a.compact(t) }
	a.now = a.now.Add(10_000*time.Millisecond - 1)
	dirty()
	look("just before the horizon")
	a.now = a.now.Add(time.Millisecond)
	dirty()
	want = []string{"b=1"}
	look("at the horizon")
	a.reopens(t)
}

func TestWhatIsNotCompacted(t *testing.T) {
	fill := func(a *compacting) {
		for i := range 60 {
			a.append(t, record.None, kv{"k", strings.Repeat("v", 50) + fmt.Sprint(i)})
			a.now = a.now.Add(time.Second)
		}
	}
	untouched := func(t *testing.T, a *compacting, from cluster.Offset) {
		t.Helper()
		must(t, a.verify(a.l, from, math.MinInt64))
	}
	t.Run("the active segment", func(t *testing.T) {
		a := newCompacting(t, compactConfig())
		fill(a)
		must(t, a.l.Flush())
		active := a.l.active().base
		a.rounds(t)
		untouched(t, a, active)
		if got, _ := rows(a.l, 0); len(got) != int(60-active)+1 {
			t.Errorf("%d records are left, %d of them in the active segment", len(got), 60-active)
		}
	})
	t.Run("beyond the high watermark", func(t *testing.T) {
		a := newCompacting(t, compactConfig())
		fill(a)
		limit := a.l.Segments()[3]
		a.hw = limit + 1
		a.compact(t)
		untouched(t, a, limit)
		if got, _ := rows(a.l, 0); len(got) >= 60 {
			t.Error("nothing was compacted")
		}
		b := newCompacting(t, compactConfig())
		fill(b)
		b.hw = cluster.UnknownOffset
		b.compact(t)
		untouched(t, b, 0)
	})
	t.Run("what is not flushed", func(t *testing.T) {
		a := newCompacting(t, compactConfig())
		fill(a)
		must(t, a.l.Roll())
		a.rounds(t)
		untouched(t, a, 0)
	})
	t.Run("younger than min.compaction.lag.ms", func(t *testing.T) {
		cfg := compactConfig()
		cfg.MinCompactionLagMs = 30_000
		a := newCompacting(t, cfg)
		fill(a)
		a.compact(t)
		got, err := rows(a.l, 0)
		must(t, err)
		if len(got) < 30 || len(got) > 45 {
			t.Errorf("%d records are left, the last 30 are too young and the others have one key", len(got))
		}
		must(t, a.verify(a.l, 32, math.MinInt64))
	})
	t.Run("below min.cleanable.dirty.ratio", func(t *testing.T) {
		cfg := compactConfig()
		cfg.MinCleanableDirtyRatio = 1
		a := newCompacting(t, cfg)
		fill(a)
		a.compact(t)
		untouched(t, a, 0)
		cfg.MaxCompactionLagMs = 59_000 // the oldest record is 60 seconds old
		a.l.SetConfig(cfg)
		a.rounds(t)
		if got, _ := rows(a.l, 0); len(got) != 1 {
			t.Errorf("%d records of one key are left although max.compaction.lag.ms has passed", len(got))
		}
	})
	t.Run("a log that is not to be compacted", func(t *testing.T) {
		cfg := compactConfig()
		cfg.CleanupPolicy = "delete"
		a := newCompacting(t, cfg)
		fill(a)
		a.compact(t)
		untouched(t, a, 0)
	})
}

func TestASmallMapTakesSeveralRounds(t *testing.T) {
	cfg := compactConfig()
	cfg.SegmentBytes = 2000
	a := newCompacting(t, cfg)
	a.m.clean.cfg.DedupeBufferBytes = 24 * 40
	for i := range 300 {
		a.append(t, record.None, kv{fmt.Sprint("k", i%100), fmt.Sprint(i)})
	}
	a.compact(t)
	must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
	if s := a.m.Stats().Cleaner; s.Rounds < 4 || s.MaxBufferUtilization > 1 {
		t.Errorf("stats %+v", s)
	}
	// A batch that does not fit at all is nothing to try again and again.
	var many []kv
	for i := range 50 {
		many = append(many, kv{fmt.Sprint("m", i), "v"})
	}
	a.append(t, record.None, many...)
	must(t, a.l.Roll())
	must(t, a.l.Flush())
	for a.c.next(t.Context()) {
	}
	if err := a.m.Uncleanable()[orders]; !errors.Is(err, errTooManyKeys) || a.m.Stats().Cleaner.Uncleanable != 1 {
		t.Errorf("uncleanable because of %v", err)
	}
	must(t, a.l.Err())
	must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
}

func TestADamagedLogIsNotCompacted(t *testing.T) {
	a := newCompacting(t, compactConfig())
	for i := range 60 {
		a.append(t, record.None, kv{"k", strings.Repeat("v", 50) + fmt.Sprint(i)})
	}
	must(t, a.l.Roll())
	must(t, a.l.Flush())
	f, err := (*a.l.segments.Load())[1].log.get()
	must(t, err)
	_, err = f.WriteAt([]byte{0xff}, 100)
	must(t, err)
	before := a.names(t)
	for a.c.next(t.Context()) {
	}
	var corrupt *CorruptionError
	if err := a.m.Uncleanable()[orders]; !errors.As(err, &corrupt) {
		t.Errorf("uncleanable because of %v", err)
	}
	if after := a.names(t); !slices.Equal(after, before) {
		t.Errorf("files %v, were %v", after, before)
	}
	must(t, a.l.Err())
}

func TestCompactionGivesWay(t *testing.T) {
	a := newCompacting(t, compactConfig())
	for i := range 100 {
		a.append(t, record.None, kv{"k", strings.Repeat("v", 50) + fmt.Sprint(i)})
	}
	must(t, a.l.Roll())
	must(t, a.l.Flush())
	j, ok := a.m.dirtiest(a.now)
	if !ok {
		t.Fatal("nothing to do")
	}
	t.Run("to a truncation", func(t *testing.T) {
		must(t, a.l.Truncate(90))
		a.all = a.all[:90]
		if _, err := a.c.clean(t.Context(), j, a.now); !errors.Is(err, errInterrupted) {
			t.Errorf("a round that began before a truncation: %v", err)
		}
		must(t, a.verify(a.l, 0, math.MinInt64))
	})
	t.Run("to the end of the process", func(t *testing.T) {
		must(t, a.l.Roll())
		must(t, a.l.Flush())
		j, _ := a.m.dirtiest(a.now)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.c.clean(ctx, j, a.now); !errors.Is(err, errInterrupted) {
			t.Errorf("a round that is cancelled: %v", err)
		}
		must(t, a.verify(a.l, 0, math.MinInt64))
	})
	t.Run("to a deletion", func(t *testing.T) {
		j, _ := a.m.dirtiest(a.now)
		must(t, a.m.Delete(orders))
		if _, err := a.c.clean(t.Context(), j, a.now); !errors.Is(err, errInterrupted) {
			t.Errorf("a round of a log that is gone: %v", err)
		}
		if off := a.m.OfflineDirs(); len(off) > 0 {
			t.Error(off)
		}
	})
}

func TestATruncationBelowWhatIsCleanIsNoted(t *testing.T) {
	a := newCompacting(t, compactConfig())
	for i := range 100 {
		a.append(t, record.None, kv{fmt.Sprint("k", i%3), strings.Repeat("v", 50) + fmt.Sprint(i)})
	}
	a.compact(t)
	must(t, a.l.Truncate(98))
	if at, _ := a.m.dirs[0].mark(cleanerOffsetFile, orders); at > a.l.LogEndOffset() {
		t.Errorf("clean up to %d, the log ends at %d", at, a.l.LogEndOffset())
	}
}

// readThrough reads the log while it is being compacted: in order, as appended, and of each key the last or one that came since.
func (a *compacting) readThrough() error {
	end := int64(a.l.LogEndOffset())
	got, err := rows(a.l, 0)
	if err != nil {
		return err
	}
	before, seen := int64(-1), map[string]int64{}
	for _, r := range got {
		if r.offset <= before || r != a.all[r.offset] {
			return fmt.Errorf("record %+v after offset %d, was appended as %+v", r, before, a.all[r.offset])
		}
		before, seen[r.key] = r.offset, r.offset
	}
	for _, r := range a.all[:end] {
		if seen[r.key] < r.offset {
			return fmt.Errorf("the last record of %s that was seen has offset %d, there was one at %d", r.key, seen[r.key], r.offset)
		}
	}
	return nil
}

func TestReadersDoNotNoticeCompaction(t *testing.T) {
	readWhileCompacting(t, newCompacting(t, compactConfig()))
}

func readWhileCompacting(t *testing.T, a *compacting) {
	t.Helper()
	for i := range 300 {
		a.append(t, record.None, kv{fmt.Sprint("k", i%20), strings.Repeat("v", 30) + fmt.Sprint(i)})
	}
	must(t, a.l.Roll())
	must(t, a.l.Flush())
	for _, s := range (*a.l.segments.Load())[:5] {
		must(t, s.release()) // readers will open some files only now
	}
	for i := range 20 { // so that readers find them here, too
		a.all = append(a.all, row{int64(300 + i), a.all[i].key, a.all[i].value, 1})
	}
	stop, failed := make(chan struct{}), make(chan error, 4)
	for range cap(failed) {
		go func() {
			for {
				err := a.readThrough()
				select {
				case <-stop:
					failed <- err
					return
				default:
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for i := range 20 {
		a.rounds(t)
		a.m.dirs[0].emptyTrash(time.Now().Add(time.Hour))
		_, err := a.l.AppendAsLeader(keyed(t, record.None, 1, kv{a.all[i].key, a.all[i].value}), 0)
		must(t, err)
		must(t, a.l.Roll())
		must(t, a.l.Flush())
	}
	close(stop)
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// cleanModel is a log that is compacted at random, and a consumer that reads on.
type cleanModel struct {
	compacting
	t       *rapid.T
	codecs  []record.Codec
	horizon int64
	pos     cluster.Offset
	seen    map[string]row
	clean   cluster.Offset
}

func (s *cleanModel) appendSome(t *rapid.T) {
	var kvs []kv
	for range rapid.IntRange(1, 4).Draw(t, "records") {
		r := kv{key: fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key"))}
		if rapid.IntRange(0, 3).Draw(t, "tombstone") > 0 {
			r.value = strings.Repeat("v", rapid.IntRange(1, 90).Draw(t, "size")) + fmt.Sprint(len(s.all))
		}
		kvs = append(kvs, r)
	}
	codec := rapid.SampledFrom(s.codecs).Draw(t, "codec")
	if n := len(keyed(t, codec, s.now.UnixMilli(), kvs...)); n > s.cfg.SegmentBytes {
		_, err := s.l.AppendAsLeader(keyed(t, codec, s.now.UnixMilli(), kvs...), 0)
		if !errors.Is(err, kerr.RecordListTooLarge) {
			t.Fatalf("a batch of %d bytes in segments of %d: %v", n, s.cfg.SegmentBytes, err)
		}
		return
	}
	s.append(t, codec, kvs...)
	// Each record of a batch is a millisecond younger than the one before: none is of the future when the log is compacted.
	s.now = s.now.Add(time.Duration(rapid.IntRange(len(kvs)-1, 3000).Draw(t, "ms")) * time.Millisecond)
}

func (s *cleanModel) round(t *rapid.T) {
	if rapid.Bool().Draw(t, "roll") {
		must(t, s.l.Roll())
	}
	if rapid.Bool().Draw(t, "flush") {
		must(t, s.l.Flush())
	}
	s.hw = cluster.Offset(rapid.Int64Range(0, int64(s.l.LogEndOffset())).Draw(t, "high watermark"))
	s.m.clean.cfg.DedupeBufferBytes = int64(rapid.SampledFrom([]int{24 * 10, 24 * 20, 1 << 20}).Draw(t, "dedupe buffer"))
	s.c = &cleaner{m: s.m}
	s.rounds(t)
	s.horizon = s.now.UnixMilli() - s.cfg.DeleteRetentionMs
	if at, ok := s.m.dirs[0].mark(cleanerOffsetFile, orders); ok {
		s.clean = max(s.clean, at)
	}
	s.m.dirs[0].emptyTrash(time.Now().Add(time.Hour))
}

// consume reads a piece: the records must come in order, and be those that were appended.
func (s *cleanModel) consume(t *rapid.T) {
	if s.pos >= s.l.LogEndOffset() {
		return
	}
	var p pool
	f, err := s.l.Read(s.pos, rapid.IntRange(1, 500).Draw(t, "bytes"), s.l.LogEndOffset(), true, &p)
	must(t, err)
	if f.NextOffset <= s.pos {
		t.Fatalf("the consumer is stuck at %d of %d", s.pos, s.l.LogEndOffset())
	}
	got, err := decodeRows(f.Data, int64(s.pos))
	must(t, err)
	for _, r := range got {
		if r != s.all[r.offset] {
			t.Fatalf("consumed %+v, was appended as %+v", r, s.all[r.offset])
		}
		s.seen[r.key] = r
	}
	s.pos = f.NextOffset
}

func (s *cleanModel) restart(t *rapid.T) {
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		must(t, s.m.Close(context.Background()))
	case 1:
		s.mem.Kill()
		_ = s.m.release()
	default:
		crashed := s.mem.CrashClone(vfs.CrashOptions{Seed: rapid.Uint64().Draw(t, "seed"), Data: vfs.KeepRandom, Names: vfs.KeepRandom})
		durable := s.l.RecoveryPoint()
		_ = s.m.release()
		s.mem = crashed
		s.open(t, s.mem)
		if s.l.LogEndOffset() < durable {
			t.Fatalf("the log ends at %d, %d was durable: %+v", s.l.LogEndOffset(), durable, s.l.Recovery())
		}
		s.all = s.all[:s.l.LogEndOffset()]
		s.pos, s.seen = s.l.LogStartOffset(), map[string]row{}
		s.c = &cleaner{m: s.m}
		return
	}
	s.open(t, s.mem)
	s.c = &cleaner{m: s.m}
}

func (s *cleanModel) check(t *rapid.T) {
	must(t, s.verify(s.l, s.clean, s.horizon))
	list := *s.l.segments.Load()
	for i, seg := range list[:len(list)-1] {
		buf := make([]byte, scratchSize)
		end := seg.base
		_, _, err := seg.scan(0, buf, func(f found) bool { end = f.last + 1; return false })
		if err != nil || end != list[i+1].base {
			t.Fatalf("segment %d ends at %d (%v), the next begins at %d", seg.base, end, err, list[i+1].base)
		}
	}
}

func TestCompactionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := compactConfig()
		cfg.SegmentBytes = rapid.IntRange(300, 3000).Draw(t, "segment.bytes")
		cfg.SegmentIndexBytes = rapid.SampledFrom([]int{60, 1024}).Draw(t, "segment.index.bytes")
		cfg.DeleteRetentionMs = rapid.SampledFrom([]int64{0, 5000, math.MaxInt64}).Draw(t, "delete.retention.ms")
		cfg.FileDeleteDelayMs = rapid.SampledFrom([]int64{0, 60_000}).Draw(t, "file.delete.delay.ms")
		s := &cleanModel{t: t, codecs: []record.Codec{record.None, record.Snappy}, seen: map[string]row{}, horizon: math.MinInt64}
		s.aging = aging{mem: vfs.NewMem(), now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}
		s.open(t, s.mem)
		defer func() { _ = s.m.Close(context.Background()) }()
		s.c = &cleaner{m: s.m}
		t.Repeat(map[string]func(*rapid.T){
			"append":  s.appendSome,
			"append2": s.appendSome,
			"append3": s.appendSome,
			"compact": s.round,
			"consume": s.consume,
			"restart": s.restart,
			"":        s.check,
		})
		// The consumer that reads to the end knows the last of every key.
		for s.pos < s.l.LogEndOffset() {
			s.consume(t)
		}
		last := map[string]row{}
		for _, r := range s.all {
			last[r.key] = r
		}
		for key, r := range last {
			if s.seen[key] != r && (r.value != "" || r.time > s.horizon) {
				t.Fatalf("the consumer knows %+v of %s, the last is %+v", s.seen[key], key, r)
			}
		}
	})
}

// cleanWork appends, compacts and goes on, until an error.
func cleanWork(t testing.TB, mem *vfs.Mem, fsys vfs.FS) (a *compacting, durable int, err error) {
	cfg := compactConfig()
	cfg.DeleteRetentionMs = 1
	cfg.FileDeleteDelayMs = 0
	cfg.SegmentBytes = 500
	a = &compacting{aging: aging{mem: mem, now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}}
	mc := managerConfig(fsys, cfg)
	mc.Now = func() time.Time { return a.now }
	mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return a.hw }
	if a.m, err = OpenManager(t.Context(), mc); err != nil {
		return a, 0, err
	}
	defer func() { _ = a.m.Close(context.Background()) }()
	if off := a.m.OfflineDirs(); len(off) > 0 {
		return a, 0, off["/logs"]
	}
	if a.l, err = a.m.GetOrCreate(orders, cluster.TopicID{}, true, cfg); err != nil {
		return a, 0, err
	}
	a.c = &cleaner{m: a.m}
	for i := range 4 {
		for n := range 12 {
			r := kv{fmt.Sprint("k", n%5), fmt.Sprint("value ", i, n, strings.Repeat("x", 40))}
			if n%6 == 5 {
				r.value = ""
			}
			a.all = append(a.all, row{int64(len(a.all)), r.key, r.value, a.now.UnixMilli()})
			if _, err := a.l.AppendAsLeader(keyed(t, record.None, a.now.UnixMilli(), r), 0); err != nil {
				return a, durable, err
			}
		}
		if err := errors.Join(a.l.Roll(), a.l.Flush()); err != nil {
			return a, durable, err
		}
		durable = len(a.all)
		for a.c.next(t.Context()) {
		}
		a.now = a.now.Add(time.Second)
		a.m.dirs[0].emptyTrash(time.Now().Add(time.Hour))
		if err := errors.Join(a.l.Err(), a.m.dirs[0].online()); err != nil {
			return a, durable, err
		}
		if f := a.m.Stats().Cleaner.Failed; f > 0 {
			return a, durable, errors.New("a round failed")
		}
	}
	return a, durable, a.m.Close(context.Background())
}

// survives opens a disk and checks that nothing is lost, and that compaction goes on.
func (a *compacting) survives(t testing.TB, disk *vfs.Mem, durable int) error {
	b := &compacting{aging: aging{mem: disk, now: a.now, hw: math.MaxInt64, cfg: a.cfg}, all: slices.Clone(a.all)}
	m, err := tryOpen(disk, a.cfg)
	if err != nil {
		return err
	}
	_ = m.Close(context.Background())
	b.open(t, disk)
	defer func() { _ = b.m.Close(context.Background()) }()
	if off := b.m.OfflineDirs(); len(off) > 0 {
		return off["/logs"]
	}
	b.c = &cleaner{m: b.m}
	if int(b.l.LogEndOffset()) < durable || int(b.l.LogEndOffset()) > len(a.all) {
		return fmt.Errorf("the log ends at %d, %d records were durable of %d: segments %v, files %v", b.l.LogEndOffset(), durable, len(a.all), b.l.Segments(), b.names(t))
	}
	b.all = b.all[:b.l.LogEndOffset()]
	if err := b.verify(b.l, b.l.LogEndOffset(), a.now.UnixMilli()); err != nil {
		return err
	}
	for _, n := range b.names(t) {
		if strings.HasSuffix(n, swapSuffix) || strings.HasSuffix(n, cleanedSuffix) || strings.HasSuffix(n, deletedSuffix) {
			return fmt.Errorf("%s was left behind", n)
		}
	}
	if len(b.all) == 0 {
		return nil
	}
	b.append(t, record.None, kv{"k1", "life goes on"})
	if err := errors.Join(b.l.Roll(), b.l.Flush()); err != nil {
		return err
	}
	for b.c.next(t.Context()) {
	}
	if u := b.m.Uncleanable(); len(u) > 0 {
		return fmt.Errorf("uncleanable: %v", u)
	}
	return b.verify(b.l, b.l.LogEndOffset(), b.now.UnixMilli())
}

func TestPowerCutDuringCompaction(t *testing.T) {
	var count vfs.Counter
	mem := vfs.NewMem()
	a, _, err := cleanWork(t, mem, vfs.Inject(mem, &count))
	must(t, err)
	if s := a.m.Stats().Cleaner; s.Rounds < 4 {
		t.Fatalf("only %d rounds", s.Rounds)
	}
	total := count.Mutations()
	for n := range crashPoints(t, total, 50) {
		mem := vfs.NewMem()
		a, durable, err := cleanWork(t, mem, vfs.Inject(mem, vfs.PowerCut(n)))
		if err == nil {
			t.Fatalf("cut after %d operations went unnoticed", n)
		}
		for name, disk := range disks(mem, n) {
			if err := a.survives(t, disk, durable); err != nil {
				t.Fatalf("cut after %d of %d operations, %s: %v", n, total, name, err)
			}
		}
	}
}

func TestErrorAtEveryOperationOfCompaction(t *testing.T) {
	boom := errors.New("input/output error")
	total := 0
	counting := vfs.InjectorFunc(func(vfs.Call) vfs.Fault { total++; return vfs.Fault{} })
	mem := vfs.NewMem()
	_, _, err := cleanWork(t, mem, vfs.Inject(mem, counting))
	must(t, err)
	for n := range crashPoints(t, total, 40) {
		mem := vfs.NewMem()
		var hit vfs.Call
		fault := vfs.InjectorFunc(func(c vfs.Call) vfs.Fault { hit = c; return vfs.Fault{Err: boom} })
		a, durable, _ := cleanWork(t, mem, vfs.Inject(mem, vfs.OnIndex(n, fault)))
		if open := mem.OpenFiles(); open > 0 {
			t.Fatalf("error at operation %d (%s of %s): %d files are open after Close", n, hit.Op, hit.Path, open)
		}
		for name, disk := range disks(mem, n) {
			if err := a.survives(t, disk, durable); err != nil {
				t.Fatalf("error at operation %d, then a power cut, %s: %v", n, name, err)
			}
		}
	}
}

func TestAFullDiskPutsCompactionOff(t *testing.T) {
	full := &vfs.Toggle{Inner: vfs.OnBase("*.cleaned", vfs.OnOps(vfs.Fail(syscall.ENOSPC), vfs.OpWrite))}
	a := &compacting{aging: aging{mem: vfs.NewMem(), now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: compactConfig()}}
	a.open(t, vfs.Inject(a.mem, full))
	defer closeManager(t, a.m)
	a.c = &cleaner{m: a.m}
	for i := range 100 {
		a.append(t, record.None, kv{fmt.Sprint("k", i%3), strings.Repeat("v", 50) + fmt.Sprint(i)})
	}
	full.Set(true)
	before := maps.Collect(slices.All(a.l.Segments()))
	a.compact(t)
	if after := maps.Collect(slices.All(a.l.Segments()[:len(before)])); !maps.Equal(before, after) {
		t.Error("segments changed")
	}
	for _, n := range a.names(t) {
		if strings.HasSuffix(n, cleanedSuffix) {
			t.Errorf("%s was left on the full disk", n)
		}
	}
	full.Set(false)
	a.rounds(t)
	must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
	if got, _ := rows(a.l, 0); len(got) != 3 {
		t.Errorf("%d records of 3 keys", len(got))
	}
}
