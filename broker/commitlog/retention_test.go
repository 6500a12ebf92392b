package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// withoutLimits never deletes anything by itself.
func withoutLimits() Config {
	cfg := smallConfig()
	cfg.RetentionMs, cfg.RetentionBytes = -1, -1
	return cfg
}

func TestDeletable(t *testing.T) {
	// Three closed segments of 100 bytes with the times 1000, 2000, 3000, and an active one.
	usual := []agedSegment{{next: 10, size: 100, time: 1000}, {next: 20, size: 100, time: 2000}, {next: 30, size: 100, time: 3000}, {next: 40, size: 100, time: 4000, last: true}}
	const now = 5000
	for _, tc := range []struct {
		name     string
		segments []agedSegment
		cfg      Config
		start    cluster.Offset
		hw       cluster.Offset
		want     int
	}{
		{"nothing is old", usual, Config{CleanupPolicy: "delete", RetentionMs: 10_000, RetentionBytes: -1}, 0, 40, 0},
		{"older than retention.ms", usual, Config{CleanupPolicy: "delete", RetentionMs: 2500, RetentionBytes: -1}, 0, 40, 2},
		{"exactly retention.ms old is kept", usual, Config{CleanupPolicy: "delete", RetentionMs: 3000, RetentionBytes: -1}, 0, 40, 1},
		{"everything, also the active one", usual, Config{CleanupPolicy: "delete", RetentionMs: 0, RetentionBytes: -1}, 0, 40, 4},
		{"not above the high watermark", usual, Config{CleanupPolicy: "delete", RetentionMs: 0, RetentionBytes: -1}, 0, 29, 2},
		{"up to the high watermark", usual, Config{CleanupPolicy: "delete", RetentionMs: 0, RetentionBytes: -1}, 0, 30, 3},
		{"high watermark unknown", usual, Config{CleanupPolicy: "delete", RetentionMs: 0, RetentionBytes: 0}, 0, -1, 0},
		{"no limit", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: -1}, 0, 40, 0},
		{"too many bytes", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: 250}, 0, 40, 1},
		{"never below retention.bytes", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: 301}, 0, 40, 0},
		{"retention.bytes 0", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: 0}, 0, 40, 4},
		{"time and then size", usual, Config{CleanupPolicy: "delete", RetentionMs: 3500, RetentionBytes: 200}, 0, 40, 2},
		{"before the log start", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: -1}, 20, 40, 2},
		{"within the third segment", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: -1}, 29, 40, 2},
		{"log start at the end", usual, Config{CleanupPolicy: "delete", RetentionMs: -1, RetentionBytes: -1}, 40, 40, 3},
		{"compacted: neither time nor size", usual, Config{CleanupPolicy: "compact", RetentionMs: 0, RetentionBytes: 0}, 0, 40, 0},
		{"compacted: before the log start", usual, Config{CleanupPolicy: "compact", RetentionMs: 0, RetentionBytes: 0}, 10, 40, 1},
		{"compacted and deleted", usual, Config{CleanupPolicy: "compact,delete", RetentionMs: 2500, RetentionBytes: -1}, 0, 40, 2},
		{"a time in the far future pins everything after it",
			[]agedSegment{{next: 10, size: 100, time: 1000}, {next: 20, size: 100, time: math.MaxInt64 - 1}, {next: 30, size: 100, time: 1000}},
			Config{CleanupPolicy: "delete", RetentionMs: 1, RetentionBytes: -1}, 0, 40, 1},
		{"a time in the far past is old", []agedSegment{{next: 10, size: 100, time: 0}, {next: 20, size: 100, time: 4999}}, Config{CleanupPolicy: "delete", RetentionMs: 4000, RetentionBytes: -1}, 0, 40, 1},
		{"an empty active segment stays", []agedSegment{{next: 10, size: 0, time: 0, last: true}}, Config{CleanupPolicy: "delete", RetentionMs: 0, RetentionBytes: 0}, 0, 40, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := agedLog{start: tc.start, highWatermark: tc.hw}
			for _, s := range tc.segments {
				l.size += s.size
			}
			n, err := deletable(l, &tc.cfg, now, func(i int) (agedSegment, bool, error) {
				if i == len(tc.segments) {
					return agedSegment{}, false, nil
				}
				return tc.segments[i], true, nil
			})
			if err != nil || n != tc.want {
				t.Errorf("%d segments may go (%v), want %d", n, err, tc.want)
			}
		})
	}
	boom := errors.New("boom")
	if n, err := deletable(agedLog{}, &Config{}, 0, func(int) (agedSegment, bool, error) { return agedSegment{}, false, boom }); n != 0 || !errors.Is(err, boom) {
		t.Errorf("%d, %v", n, err)
	}
}

// aging is a manager whose clock, settings and high watermark a test moves.
type aging struct {
	mem *vfs.Mem
	now time.Time
	hw  cluster.Offset
	cfg Config
	m   *Manager
	l   *Log
}

func (a *aging) open(t fataler, fsys vfs.FS) {
	t.Helper()
	mc := managerConfig(fsys, a.cfg)
	mc.Now = func() time.Time { return a.now }
	mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return a.hw }
	m, err := OpenManager(context.Background(), mc)
	must(t, err)
	a.m = m
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, a.cfg)
	must(t, err)
	a.l = l
}

func newAging(t testing.TB, cfg Config) *aging {
	t.Helper()
	a := &aging{mem: vfs.NewMem(), now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}
	a.open(t, a.mem)
	t.Cleanup(func() { _ = a.m.Close(context.Background()) })
	return a
}

func (a *aging) retain() { a.m.retain(a.m.dirs[0], a.now, func(*Config) bool { return true }) }

// fill appends n batches, a second apart, of about 150 bytes each.
func (a *aging) fill(t testing.TB, n int) {
	t.Helper()
	for range n {
		appendValues(t, a.l, 0, a.now.UnixMilli(), strings.Repeat("v", 80))
		a.now = a.now.Add(time.Second)
	}
}

func (a *aging) names(t testing.TB) (names []string) {
	t.Helper()
	entries, err := a.mem.ReadDir(a.l.Dir())
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRetentionDeletesOldSegments(t *testing.T) {
	cfg := withoutLimits()
	a := newAging(t, cfg)
	a.fill(t, 20)
	segments := a.l.Segments()
	if len(segments) < 4 {
		t.Fatalf("segments %v", segments)
	}
	var p pool
	before, err := a.l.Read(0, 1000, 100, true, &p)
	must(t, err)
	old := (*a.l.segments.Load())[0]

	a.retain()
	if got := a.l.Segments(); !slices.Equal(got, segments) {
		t.Fatalf("without limits segments are %v, were %v", got, segments)
	}
	cfg.RetentionMs = a.now.UnixMilli() - (*a.l.segments.Load())[1].maxTime().ts - 1 // the first two are older
	a.l.SetConfig(cfg)
	a.hw = segments[1] // all of the first segment is replicated
	a.retain()
	if got := a.l.Segments(); !slices.Equal(got, segments[1:]) {
		t.Fatalf("segments are %v, were %v", got, segments)
	}
	if a.l.LogStartOffset() != segments[1] {
		t.Errorf("log start %d, want %d", a.l.LogStartOffset(), segments[1])
	}
	if _, err := a.l.Read(0, 1000, 100, true, &p); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("read before the log start: %v", err)
	}
	// A reader that found the segment before can go on.
	run, _, err := old.readRun(make([]byte, len(before.Data)), 0, 1000, 100)
	if err != nil || run.next != before.NextOffset {
		t.Errorf("a reader that holds the segment got %+v, %v", run, err)
	}
	if names := a.names(t); !slices.Contains(names, "00000000000000000000.log.deleted") || slices.Contains(names, "00000000000000000000.log") {
		t.Errorf("files %v", names)
	}
	a.m.dirs[0].emptyTrash(time.Now().Add(59 * time.Second))
	if !slices.Contains(a.names(t), "00000000000000000000.log.deleted") {
		t.Error("files were removed before file.delete.delay.ms")
	}
	open := a.mem.OpenFiles()
	a.m.dirs[0].emptyTrash(time.Now().Add(60 * time.Second))
	for _, name := range a.names(t) {
		if strings.HasSuffix(name, ".deleted") {
			t.Errorf("%s is still there", name)
		}
	}
	if now := a.mem.OpenFiles(); now >= open {
		t.Errorf("%d files are open, %d were before", now, open)
	}
	if got := a.m.Stats(); got.SegmentsDeleted != 1 || got.BytesDeleted < 400 {
		t.Errorf("stats %+v", got)
	}
	if _, err := checkAll(a.l); err != nil {
		t.Error(err)
	}
}

func TestRetentionOfEverythingLeavesAnEmptySegmentAtTheEnd(t *testing.T) {
	cfg := withoutLimits()
	cfg.RetentionMs = 1000
	a := newAging(t, cfg)
	a.fill(t, 10)
	end := a.l.LogEndOffset()
	a.now = a.now.Add(time.Hour)
	a.retain()
	if got := a.l.Segments(); !slices.Equal(got, []cluster.Offset{end}) || a.l.LogStartOffset() != end || a.l.LogEndOffset() != end {
		t.Fatalf("segments %v, log from %d to %d, want all of it at %d", got, a.l.LogStartOffset(), a.l.LogEndOffset(), end)
	}
	a.retain() // and nothing more happens
	a.fill(t, 1)
	if got, err := checkAll(a.l); err != nil || len(got) != 1 || got[0].Offset != int64(end) {
		t.Errorf("%v, %v", got, err)
	}
	// All of it survives a power cut that loses every name and byte that was not synced.
	crashed := a.mem.CrashClone(vfs.CrashOptions{})
	m := openOn(t, crashed, cfg)
	defer closeManager(t, m)
	l, ok := m.Get(orders)
	if !ok || l.LogStartOffset() != end {
		t.Errorf("after a power cut the log starts at %d, want %d", l.LogStartOffset(), end)
	}
}

func TestRetentionBySizeAndFileTime(t *testing.T) {
	cfg := withoutLimits()
	cfg.RetentionBytes = 1200
	a := newAging(t, cfg)
	a.fill(t, 20)
	a.retain()
	oldest := (*a.l.segments.Load())[0].size.Load()
	if n := a.l.Size(); n < 1200 || n-oldest >= 1200 {
		t.Errorf("%d bytes are left, the oldest segment has %d of them; want 1200 and less than a segment more", n, oldest)
	}
	// A segment whose records have no time is as old as its file.
	cfg = withoutLimits()
	cfg.RetentionMs = 1000
	a.l.SetConfig(cfg)
	s := (*a.l.segments.Load())[0]
	s.setMaxTime(timePoint{ts: -1})
	f, err := s.log.get()
	must(t, err)
	must(t, f.Chtimes(a.now))
	before := a.l.Segments()
	a.retain()
	if !slices.Equal(a.l.Segments(), before) {
		t.Errorf("segments %v, were %v: a new file is not old", a.l.Segments(), before)
	}
	must(t, f.Chtimes(a.now.Add(-1001*time.Millisecond)))
	a.retain()
	if a.l.Segments()[0] == before[0] {
		t.Error("a file that is old enough was kept")
	}
}

func TestDeletedRecordsGoWithTheirSegments(t *testing.T) {
	cfg := withoutLimits()
	cfg.CleanupPolicy = "compact"
	a := newAging(t, cfg)
	a.fill(t, 20)
	segments := a.l.Segments()
	must(t, a.l.AdvanceLogStart(segments[2]+1))
	a.retain()
	if got := a.l.Segments(); !slices.Equal(got, segments[2:]) || a.l.LogStartOffset() != segments[2]+1 {
		t.Errorf("segments %v, log start %d, want %v and %d", got, a.l.LogStartOffset(), segments[2:], segments[2]+1)
	}
	got, err := readAll(a.l)
	if err != nil || got[0].Offset != int64(segments[2]+1) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSegmentsGoOnlyBelowTheLogStartOnDisk moves the log start on while retention is under way: between its checkpoint and the renames.
func TestSegmentsGoOnlyBelowTheLogStartOnDisk(t *testing.T) {
	a := newAging(t, withoutLimits())
	a.fill(t, 30)
	bases := a.l.Segments()
	must(t, a.l.AdvanceLogStart(bases[2]))
	must(t, a.m.dirs[0].writeLogStarts())
	must(t, a.l.AdvanceLogStart(bases[4]))
	saved, _ := a.m.dirs[0].mark(logStartFile, orders)
	n, _, err := a.l.dropExpired(saved)
	if err != nil || n != 2 || a.l.Segments()[0] != bases[2] {
		t.Errorf("%d segments went (%v), and %v are there of %v; the log start on disk is %d", n, err, a.l.Segments(), bases, saved)
	}
}

func TestRetentionRunsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := withoutLimits()
		cfg.RetentionMs = 1000
		mc := managerConfig(vfs.NewMem(), cfg)
		mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return math.MaxInt64 }
		m, err := OpenManager(t.Context(), mc)
		must(t, err)
		defer closeManager(t, m)
		l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
		must(t, err)
		m.Start()
		appendValues(t, l, 0, time.Now().UnixMilli(), "old")
		<-time.After(retentionDelay - time.Second)
		synctest.Wait()
		if l.LogStartOffset() != 0 {
			t.Error("retention began before its time")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if l.LogStartOffset() != 1 {
			t.Errorf("log start %d, want 1", l.LogStartOffset())
		}
		appendValues(t, l, 0, time.Now().UnixMilli(), "old too")
		<-time.After(5 * time.Minute)
		synctest.Wait()
		if l.LogStartOffset() != 2 {
			t.Errorf("log start %d, want 2", l.LogStartOffset())
		}
	})
}

// TestPowerCutDuringRetention cuts the power after every write of a log that grows, ages and is deleted.
func TestPowerCutDuringRetention(t *testing.T) {
	run := func(t testing.TB, mem *vfs.Mem, fsys vfs.FS) (a *aging, err error) {
		cfg := withoutLimits()
		cfg.RetentionBytes = 1500
		cfg.FlushMessages = 1
		a = &aging{mem: mem, now: time.UnixMilli(1_000_000), hw: math.MaxInt64, cfg: cfg}
		mc := managerConfig(fsys, cfg)
		mc.Now = func() time.Time { return a.now }
		mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return a.l.RecoveryPoint() }
		if a.m, err = OpenManager(t.Context(), mc); err != nil {
			return a, err
		}
		defer func() { _ = a.m.Close(context.Background()) }()
		if a.l, err = a.m.GetOrCreate(orders, cluster.TopicID{}, true, cfg); err != nil {
			return a, err
		}
		for i := range 40 {
			if _, err := a.l.AppendAsLeader(batchOf(t, a.now.UnixMilli(), strings.Repeat("v", 80)), 0); err != nil {
				return a, err
			}
			if i%7 == 6 {
				a.now = a.now.Add(time.Hour)
				a.retain()
				a.m.dirs[0].emptyTrash(time.Now().Add(time.Hour))
			}
			if err := a.l.Err(); err != nil {
				return a, err
			}
		}
		return a, a.m.Close(context.Background())
	}
	var count vfs.Counter
	mem := vfs.NewMem()
	_, err := run(t, mem, vfs.Inject(mem, &count))
	must(t, err)
	total := count.Mutations()
	for n := range crashPoints(t, total, 50) {
		mem := vfs.NewMem()
		a, err := run(t, mem, vfs.Inject(mem, vfs.PowerCut(n)))
		if err == nil {
			t.Fatalf("cut after %d operations went unnoticed", n)
		}
		for name, disk := range disks(mem, n) {
			if err := a.checkAfter(t, disk); err != nil {
				t.Fatalf("cut after %d of %d operations, %s: %v", n, total, name, err)
			}
		}
	}
}

// checkAfter opens what a power cut left: everything that was acknowledged and not deleted is there, without a hole.
func (a *aging) checkAfter(t testing.TB, disk *vfs.Mem) error {
	m, err := tryOpen(disk, a.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(context.Background()) }()
	if off := m.OfflineDirs(); len(off) > 0 {
		return off["/logs"]
	}
	l, ok := m.Get(orders)
	if !ok {
		if a.l != nil && a.l.RecoveryPoint() > 0 {
			return errors.New("the log is gone")
		}
		return nil
	}
	if a.l == nil {
		return nil
	}
	got, err := readAll(l)
	if err := errors.Join(err, checkDense(l, got), checkLookups(l, got)); err != nil {
		return fmt.Errorf("%w (segments %v, recovery %+v)", err, l.Segments(), l.Recovery())
	}
	if l.LogStartOffset() > a.l.LogStartOffset() || l.LogEndOffset() < a.l.RecoveryPoint() {
		return fmt.Errorf("the log is from %d to %d, want everything of %d to %d (%+v)", l.LogStartOffset(), l.LogEndOffset(), a.l.LogStartOffset(), a.l.RecoveryPoint(), l.Recovery())
	}
	return nil
}
