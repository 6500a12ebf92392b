package commitlog

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// filesWhileWritten is how many files a segment that is appended to has open: .log and two indexes.
const filesWhileWritten = 3

// TestOpenFilesStayBelowTheLimit reads many partitions of five segments from several goroutines, with room for few of their files.
// OTTLA_LONG_TESTS=1 makes it 2,000 partitions.
func TestOpenFilesStayBelowTheLimit(t *testing.T) {
	partitions, rounds := 100, 300
	if longTests() {
		partitions, rounds = 2000, 2000
	}
	const segments, readers, limit = 5, 4, 40
	disk := vfs.NewMem()
	mc := managerConfig(disk, smallConfig())
	mc.IdleFiles = limit
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	defer func() { closeManager(t, m) }()
	tp := func(p int) cluster.TopicPartition { return cluster.TopicPartition{Topic: "many", Partition: int32(p)} }
	most := func() int { return partitions*filesWhileWritten + limit + readers + 1 } // and the lock of the directory
	check := func(when string) {
		t.Helper()
		if n := disk.OpenFiles(); n > most() {
			t.Fatalf("%s: %d files are open, want at most %d", when, n, most())
		}
	}
	for p := range partitions {
		l, err := m.GetOrCreate(tp(p), cluster.TopicID{}, true, mc.Defaults)
		must(t, err)
		for s := range segments {
			if s > 0 {
				must(t, l.Roll())
			}
			for i := range 2 {
				appendValues(t, l, 0, int64(10*s+i), fmt.Sprint(p, " ", 2*s+i))
			}
		}
		must(t, l.Flush())
	}
	check("after writing")
	read := func() error {
		var pool pool
		for i := range rounds {
			p, at := rand.IntN(partitions), rand.IntN(2*segments)
			l, _ := m.Get(tp(p))
			f, err := l.Read(cluster.Offset(at), 1, math.MaxInt64, true, &pool)
			if err != nil {
				return err
			}
			got, err := records(f.Data)
			if err != nil || len(got) != 1 || got[0].Value != fmt.Sprint(p, " ", at) {
				return fmt.Errorf("partition %d at offset %d: %v, %w", p, at, got, err)
			}
			pool.Put(f.Buf)
			ts, ok, err := l.OffsetForTimestamp(got[0].Time, math.MaxInt64)
			if err != nil || !ok || ts.Offset != cluster.Offset(at) {
				return fmt.Errorf("partition %d: time %d is at %+v, %t, %w", p, got[0].Time, ts, ok, err)
			}
			if i%20 != 0 {
				continue // counting takes long
			}
			if n := disk.OpenFiles(); n > most() {
				return fmt.Errorf("%d files are open, want at most %d", n, most())
			}
		}
		return nil
	}
	everybody := func() {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, readers)
		for i := range errs {
			wg.Go(func() { errs[i] = read() })
		}
		wg.Wait()
		for _, err := range errs {
			must(t, err)
		}
	}
	everybody()
	s := m.Stats().Files
	if s.Idle > limit || s.Limit != limit || s.Closed == 0 || s.Opened < s.Closed {
		t.Errorf("stats %+v", s)
	}
	closeManager(t, m)
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
	m, err = OpenManager(t.Context(), mc)
	must(t, err)
	check("after opening again")
	everybody()
}

// TestReadersKeepWhatIsDeleted reads segments that have left the log, after their files were closed to make room, until their files
// are removed.
func TestReadersKeepWhatIsDeleted(t *testing.T) {
	cfg := withoutLimits()
	cfg.RetentionBytes = 0
	a := newAging(t, cfg)
	a.fill(t, 20)
	must(t, a.l.Flush())
	old := slices.Clone((*a.l.segments.Load())[:3])
	a.retain()
	if a.l.LogStartOffset() <= old[2].base {
		t.Fatal("retention removed nothing")
	}
	look := func() (err error) {
		for _, s := range old {
			a.m.idle.mu.Lock()
			closeAll(a.m.idle.shrink(0, nil))
			a.m.idle.mu.Unlock()
			at, ok, lookErr := s.locate(s.base + 1)
			if lookErr == nil && (!ok || at.base > s.base+1) {
				lookErr = fmt.Errorf("segment %d: found %+v, %t", s.base, at, ok)
			}
			if lookErr != nil {
				err = lookErr
			}
		}
		return err
	}
	must(t, look())
	a.now = a.now.Add(time.Hour)
	a.m.dirs[0].emptyTrash(time.Now().Add(time.Hour))
	if err := look(); !gone(err) {
		t.Errorf("when the files are removed: %v", err)
	}
}

// TestOutOfDescriptorsOthersMakeRoom has a process that may open no more files: those that are idle are closed.
func TestOutOfDescriptorsOthersMakeRoom(t *testing.T) {
	disk := vfs.NewMem()
	var most atomic.Int64
	most.Store(math.MaxInt64)
	scarcity := vfs.InjectorFunc(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpOpen && !strings.HasSuffix(c.Path, snapshotSuffix) && int64(disk.OpenFiles()) >= most.Load() {
			return vfs.Fault{Err: syscall.EMFILE}
		}
		return vfs.Fault{}
	})
	l := newLogOn(t, vfs.Inject(disk, scarcity), smallConfig())
	for i := range 60 {
		appendValues(t, l, 0, int64(i), "some value that takes its room")
	}
	must(t, l.Flush())
	for _, s := range *l.segments.Load() {
		if s != l.active() {
			must(t, s.release())
		}
	}
	most.Store(int64(disk.OpenFiles()) + filesWhileWritten)
	if n := len(l.Segments()); n < 10 {
		t.Fatal("only segments ", n)
	}
	got, err := checkAll(l)
	if err != nil || len(got) != 60 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// TestTheClockSparesWhatIsUsed lets one file be used again and again while others come and go.
func TestTheClockSparesWhatIsUsed(t *testing.T) {
	disk := vfs.NewMem()
	idle := newIdleFiles(3)
	handles := make([]*handle, 10)
	for i := range handles {
		name := fmt.Sprint("/", i)
		must(t, vfs.WriteFileAtomic(disk, name, []byte{byte(i)}, filePerm))
		handles[i] = newHandle(disk, idle, name, newTurn())
	}
	kept := handles[9]
	kept.keep()
	read := func(i int) {
		t.Helper()
		var p [1]byte
		if _, err := handles[i].ReadAt(p[:], 0); err != nil || p[0] != byte(i) {
			t.Fatalf("file %d: %v, %v", i, p, err)
		}
	}
	read(9)
	for range 3 {
		for i := 1; i < 9; i++ {
			read(0)
			read(i)
		}
	}
	opened := idle.stats().Opened
	read(0)
	read(9)
	if s := idle.stats(); s.Opened != opened || s.Idle != 3 || disk.OpenFiles() != 4 {
		t.Errorf("%+v, had opened %d; %d files are open", s, opened, disk.OpenFiles())
	}
	kept.free()
	if s := idle.stats(); s.Idle != 3 || disk.OpenFiles() != 3 {
		t.Errorf("%+v, %d files are open", s, disk.OpenFiles())
	}
	for _, h := range handles {
		must(t, h.release())
		read(int(h.path[1] - '0'))
		must(t, h.close())
		must(t, h.close())
	}
	if s := idle.stats(); s.Idle != 0 || disk.OpenFiles() != 0 {
		t.Errorf("%+v, %d files are open", s, disk.OpenFiles())
	}
}

// TestCompactionWithoutRoomForFiles lets readers, the cleaner and retention work with hardly any idle files.
func TestCompactionWithoutRoomForFiles(t *testing.T) {
	a := newCompacting(t, compactConfig())
	must(t, a.m.Close(context.Background()))
	mc := managerConfig(a.mem, a.cfg)
	mc.IdleFiles, mc.Now, mc.HighWatermark = 1, func() time.Time { return a.now }, func(cluster.TopicPartition) cluster.Offset { return a.hw }
	var err error
	a.m, err = OpenManager(t.Context(), mc)
	must(t, err)
	a.l, _ = a.m.Get(orders)
	a.c = &cleaner{m: a.m}
	readWhileCompacting(t, a)
	if s := a.m.Stats().Files; s.Idle > 1 || s.Closed == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestIndexesAreOpenedWhenThereIsSomethingToWrite: of a partition that nobody has written much to since the segment began, or the start, one file is open.
func TestIndexesAreOpenedWhenThereIsSomethingToWrite(t *testing.T) {
	disk := vfs.NewMem()
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.SegmentIndexBytes, cfg.IndexIntervalBytes = 1<<20, 1<<20, 1
	m := openOn(t, disk, cfg)
	before := disk.OpenFiles()
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, cfg)
	must(t, err)
	appendValues(t, l, 0, 1, "little")
	if n := disk.OpenFiles() - before; n != 1 {
		t.Errorf("%d files are open of a new partition", n)
	}
	must(t, m.release()) // as if killed
	m = openOn(t, disk, cfg)
	l, _ = m.Get(orders)
	if n := disk.OpenFiles() - before - m.idle.stats().Idle; n != 1 {
		t.Errorf("%d files are open after recovery of a partition without index entries that may not be closed", n)
	}
	for i := range 2 * tailEntries {
		appendValues(t, l, 0, int64(2+i), "little")
	}
	if n := disk.OpenFiles() - before; n != filesWhileWritten {
		t.Errorf("%d files are open of a partition that was written to", n)
	}
	must(t, m.Close(t.Context()))
	m = openOn(t, disk, cfg)
	if n := disk.OpenFiles() - before - m.idle.stats().Idle; n != 1 {
		t.Errorf("%d files are open after a start that may not be closed", n)
	}
	must(t, m.release()) // as if killed
	killed := openOn(t, disk, cfg)
	if n := disk.OpenFiles() - before - killed.idle.stats().Idle; n != filesWhileWritten {
		t.Errorf("%d files are open after recovery that may not be closed: what was built again is not on disk", n)
	}
	l, _ = killed.Get(orders)
	appendValues(t, l, 0, 1000, "little")
	if got, err := checkAll(l); err != nil || len(got) != 2+2*tailEntries {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// TestIndexEntriesAreLeftOutWithoutDescriptors appends on while no file can be opened: the indexes have a gap, and nothing else is amiss.
func TestIndexEntriesAreLeftOutWithoutDescriptors(t *testing.T) {
	disk := vfs.NewMem()
	out := &vfs.Toggle{Inner: vfs.OnBase("*index", vfs.OnOps(vfs.Fail(syscall.EMFILE), vfs.OpOpen))}
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.SegmentIndexBytes, cfg.IndexIntervalBytes = 1<<20, 1<<20, 1
	l := newLogOn(t, vfs.Inject(disk, out), cfg)
	out.Set(true)
	for i := range 2 * tailEntries {
		appendValues(t, l, 0, int64(i), "little")
	}
	out.Set(false)
	for i := range 2 * tailEntries {
		appendValues(t, l, 0, int64(2*tailEntries+i), "little")
	}
	must(t, l.Flush())
	if got, err := checkAll(l); err != nil || len(got) != 4*tailEntries || l.Err() != nil {
		t.Errorf("%d records, %v, %v", len(got), err, l.Err())
	}
}
