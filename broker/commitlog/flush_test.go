package commitlog

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// slowSyncs is a memory disk on which fsync takes a second.
func slowSyncs(count *vfs.Counter) vfs.FS {
	return vfs.Inject(vfs.NewMem(), count, vfs.OnBase("*.log", vfs.OnOps(vfs.Latency(time.Second), vfs.OpSync)))
}

// advance lets virtual time pass, and everything that is due in it happen.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestConcurrentAppendsShareAnFsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count vfs.Counter
		cfg := DefaultConfig()
		cfg.FlushMessages = 1
		l := newLogOn(t, slowSyncs(&count), cfg)
		before, began := count.Count(vfs.OpSync), time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				info, err := l.AppendAsLeader(batchOf(t, int64(i), "value"), 0)
				if err != nil {
					t.Error(err)
				}
				if l.RecoveryPoint() <= info.LastOffset {
					t.Errorf("offset %d was acknowledged, the recovery point is %d", info.LastOffset, l.RecoveryPoint())
				}
			})
		}
		wg.Wait()
		// The first one syncs alone or with a few, all the others share the next.
		if syncs, took := count.Count(vfs.OpSync)-before, time.Since(began); syncs > 3 || took > 2*time.Second {
			t.Errorf("50 appends took %d fsyncs and %v", syncs, took)
		}
	})
}

func TestAnFsyncHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count vfs.Counter
		l := newLogOn(t, slowSyncs(&count), DefaultConfig())
		appendValues(t, l, 0, 1, "first")
		done := make(chan error, 1)
		go func() { done <- l.Flush() }()
		synctest.Wait() // the fsync is under way
		began := time.Now()
		appendValues(t, l, 0, 2, "second")
		must(t, l.Roll())
		appendValues(t, l, 0, 3, "third")
		if _, err := readAll(l); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("appends, a roll and reads waited %v for somebody's fsync", waited)
		}
		must(t, <-done)
		if rp := l.RecoveryPoint(); rp != 1 {
			t.Errorf("recovery point %d, want 1: the fsync began before the second append", rp)
		}
	})
}

func TestFlushMessagesCountsRecords(t *testing.T) {
	var count vfs.Counter
	cfg := DefaultConfig()
	cfg.FlushMessages = 5
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), &count), cfg)
	for i, want := range []cluster.Offset{0, 0, 6, 6, 6, 12} {
		appendValues(t, l, 0, 1, "two", "records")
		if rp := l.RecoveryPoint(); rp != want {
			t.Errorf("after append %d the recovery point is %d, want %d", i, rp, want)
		}
	}
}

func TestBackgroundLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := DefaultConfig()
		cfg.FlushMs = 10_000
		cfg.FileDeleteDelayMs = 30_000
		m := openOn(t, mem, cfg)
		m.Start()
		m.Start() // once is enough
		defer closeManager(t, m)
		l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
		must(t, err)
		appendValues(t, l, 0, 1, "a")
		advance(9 * time.Second)
		if rp := l.RecoveryPoint(); rp != 0 {
			t.Errorf("recovery point %d before flush.ms has passed", rp)
		}
		advance(3 * time.Second)
		if rp := l.RecoveryPoint(); rp != 1 {
			t.Errorf("recovery point %d after flush.ms has passed", rp)
		}
		appendValues(t, l, 0, 1, "b")
		must(t, l.Roll())
		synctest.Wait()
		if rp := l.RecoveryPoint(); rp != 2 {
			t.Errorf("recovery point %d after a roll, want 2: the old segment is flushed in the background", rp)
		}
		must(t, l.AdvanceLogStart(1))
		advance(time.Minute)
		for name, want := range map[string]string{recoveryPointFile: "0\n1\norders 3 2\n", logStartFile: "0\n1\norders 3 1\n"} {
			if got, err := vfs.ReadFile(mem, "/logs/"+name); err != nil || string(got) != want {
				t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
			}
		}
		must(t, m.Delete(orders))
		deleted := func() (n int) {
			entries, err := mem.ReadDir("/logs")
			must(t, err)
			for _, e := range entries {
				if e.IsDir() {
					if kind, tp := parseDirName(e.Name()); kind != dirDelete || tp != orders {
						t.Errorf("directory %s", e.Name())
					}
					n++
				}
			}
			return n
		}
		advance(29 * time.Second)
		if deleted() != 1 {
			t.Error("the deleted partition was removed before file.delete.delay.ms")
		}
		advance(3 * time.Second)
		if deleted() != 0 {
			t.Error("the deleted partition is still there after file.delete.delay.ms")
		}
	})
}

func TestAppendSignal(t *testing.T) {
	l, _ := newLog(t, DefaultConfig())
	first := l.AppendSignal()
	if l.AppendSignal() != first {
		t.Error("two channels for the same append")
	}
	select {
	case <-first:
		t.Error("closed before any append")
	default:
	}
	appendValues(t, l, 0, 1, "x")
	<-first
	next := l.AppendSignal()
	_, err := l.AppendAsFollower(numbered(t, 1, 0, "y"))
	must(t, err)
	<-next
}

// TestReadersSeeWholeBatches runs readers against appends, rolls and truncations (C28). Batch values repeat their own offset, so a reader
// notices when it is given anything that was not there.
func TestReadersSeeWholeBatches(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 2000
	l, _ := newLog(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			var p pool
			next := cluster.Offset(0)
			for ctx.Err() == nil {
				f, err := l.Read(next, 200+i*300, math.MaxInt64, i%2 == 0, &p)
				if err != nil || f.Buf == nil {
					next = 0 // truncated away, or at the end
					continue
				}
				rs, err := records(f.Data)
				if err != nil {
					t.Errorf("read at %d: %v", next, err)
					return
				}
				for _, r := range rs {
					if !strings.HasPrefix(r.Value, fmt.Sprintf("%d/%d ", r.Offset, r.Epoch)) {
						t.Errorf("offset %d of epoch %d holds %q", r.Offset, r.Epoch, r.Value)
						return
					}
				}
				p.Put(f.Buf)
				next = f.NextOffset
				if _, _, err := l.OffsetForTimestamp(int64(next), math.MaxInt64); err != nil {
					t.Errorf("time lookup: %v", err)
					return
				}
			}
			if n := p.outstanding(); n > 0 {
				t.Errorf("%d buffers were not returned", n)
			}
		})
	}
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for epoch := range rounds {
		for range 20 {
			off := l.LogEndOffset()
			appendValues(t, l, cluster.LeaderEpoch(epoch), int64(off), fmt.Sprintf("%d/%d %s", off, epoch, strings.Repeat("x", 20+int(off)%60)))
		}
		switch {
		case epoch%10 == 9:
			must(t, l.TruncateFullyAndStartAt(cluster.Offset(epoch%3)*20))
		case epoch%2 == 1:
			must(t, l.Truncate(l.LogEndOffset()-15))
		}
	}
	cancel()
	wg.Wait()
	if _, err := checkAll(l); err != nil {
		t.Error(err)
	}
}

// TestAReaderNoticesATruncation lets a slow read begin before a truncation and get its bytes after other batches have taken the
// place.
func TestAReaderNoticesATruncation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &vfs.Toggle{Inner: vfs.OnBase("*.log", vfs.OnOps(vfs.Latency(time.Second), vfs.OpRead))}
		l := newLogOn(t, vfs.Inject(vfs.NewMem(), slow), DefaultConfig())
		appendValues(t, l, 0, 1, "short")
		appendValues(t, l, 0, 2, "old")
		var p pool
		f, err := l.Read(0, 10, 1, true, &p) // the log knows now where offset 1 is
		must(t, err)
		p.Put(f.Buf)
		slow.Set(true)
		type answer struct {
			f   Fetched
			err error
		}
		answers := make(chan answer)
		go func() {
			f, err := l.Read(1, 1000, math.MaxInt64, true, &p)
			answers <- answer{f, err}
		}()
		synctest.Wait() // the read of the file is under way
		slow.Set(false)
		must(t, l.Truncate(0))
		appendValues(t, l, 1, 3, strings.Repeat("a longer value", 20))
		appendValues(t, l, 1, 4, "new")
		a := <-answers
		must(t, a.err)
		rs, err := records(a.f.Data)
		if err != nil || len(rs) != 1 || rs[0] != (rec{1, "new", 4, 1}) {
			t.Errorf("read %v, %v; want the new record", rs, err)
		}
		p.Put(a.f.Buf)
		if n := p.outstanding(); n > 0 {
			t.Errorf("%d buffers were not returned", n)
		}
	})
}

// TestATruncationVouchesForTheSegmentsBefore cuts the power after a truncation that moved the recovery point up: the indexes of the segments that were
// sealed before it must be on disk.
func TestATruncationVouchesForTheSegmentsBefore(t *testing.T) {
	cfg := smallConfig()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	appendValues(t, l, 1, 1000, "a")
	must(t, l.Flush())
	must(t, l.Roll()) // the batch is on disk, the time index entry that sealing adds is not
	appendValues(t, l, 1, 2000, "b")
	appendValues(t, l, 1, 3000, "c")
	must(t, l.Truncate(2))
	must(t, m.dirs[0].checkpoint())
	disk := mem.CrashClone(vfs.CrashOptions{Data: vfs.KeepNone, Names: vfs.KeepAll})
	_ = m.release()
	m = openOn(t, disk, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if at, found, err := l.OffsetForTimestamp(0, l.LogEndOffset()); err != nil || !found || at.Offset != 0 {
		t.Errorf("the first record is %+v (%v, %v), want offset 0", at, found, err)
	}
}

// TestATruncationBelowTheSavedLogStart must not let the next recovery empty the log.
func TestATruncationBelowTheSavedLogStart(t *testing.T) {
	for name, cut := range map[string]func(*Log) error{
		"truncate": func(l *Log) error { return l.Truncate(30) },
		"restart":  func(l *Log) error { return l.TruncateFullyAndStartAt(30) },
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			cfg := DefaultConfig()
			cfg.FlushMessages = 1
			m := openOn(t, mem, cfg)
			l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
			must(t, err)
			for range 50 {
				appendValues(t, l, 0, 1, "x")
			}
			must(t, l.AdvanceLogStart(40))
			must(t, m.dirs[0].checkpoint())
			must(t, cut(l))
			if off := appendValues(t, l, 1, 2, "durable"); off != 30 {
				t.Errorf("append after the cut got offset %d", off)
			}
			m = openOn(t, mem.CrashClone(vfs.CrashOptions{}), cfg)
			defer closeManager(t, m)
			l, _ = m.Get(orders)
			if l.LogStartOffset() > 30 || l.LogEndOffset() != 31 {
				t.Errorf("after a power cut the log is from %d to %d", l.LogStartOffset(), l.LogEndOffset())
			}
		})
	}
}

// TestASlowDiskStopsNoClock makes every operation of the disk slow: whoever waits for somebody else's must let virtual time go on.
func TestASlowDiskStopsNoClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		m := openOn(t, vfs.Inject(mem, vfs.Latency(10*time.Millisecond)), smallConfig())
		m.Start()
		var wg sync.WaitGroup
		for i := range 6 {
			tp := tpOf("t", i%2)
			wg.Go(func() {
				cfg := smallConfig()
				cfg.FlushMessages = int64(1 + i%3)
				l, err := m.GetOrCreate(tp, cluster.TopicID{1}, true, cfg)
				if err != nil {
					t.Error(err)
					return
				}
				for n := range 20 {
					if _, err := l.AppendAsLeader(batchOf(t, 1, "value"), cluster.LeaderEpoch(n)); err != nil {
						t.Error(err)
					}
					if n == 10 && i == 0 {
						if err := l.Truncate(l.LogEndOffset() / 2); err != nil {
							t.Error(err)
						}
					}
					var p pool
					if _, err := l.Read(0, 100, math.MaxInt64, true, &p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		must(t, m.Delete(tpOf("t", 0)))
		closeManager(t, m)
	})
}

// TestNewLeaderWritesNothing: a broker may come to lead thousands of partitions at once.
func TestNewLeaderWritesNothing(t *testing.T) {
	var count vfs.Counter
	m, err := tryOpen(vfs.Inject(vfs.NewMem(), &count), smallConfig())
	must(t, err)
	defer func() { must(t, m.Close(t.Context())) }()
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, smallConfig())
	must(t, err)
	before := count.Mutations()
	must(t, l.AssignEpoch(5, 0))
	if n := count.Mutations() - before; n != 0 || l.LatestEpoch() != 5 {
		t.Errorf("noting epoch %d changed the disk %d times", l.LatestEpoch(), n)
	}
}
