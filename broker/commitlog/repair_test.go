package commitlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// wounded is a log, another replica's log with the same records, and what the owner was told of damage.
type wounded struct {
	m       *Manager
	l       *Log
	peer    *Log
	told    []cluster.Offset
	records int
}

// newWounded fills both logs with records of two leader epochs, in segments that are on disk.
func newWounded(t testing.TB, fsys vfs.FS, cfg Config) (w *wounded, err error) {
	t.Helper()
	w = &wounded{peer: newLogOn(t, vfs.NewMem(), cfg)}
	mc := managerConfig(fsys, cfg)
	mc.OnDamage = func(tp cluster.TopicPartition, base cluster.Offset) { w.told = append(w.told, base) }
	if w.m, err = OpenManager(t.Context(), mc); err != nil {
		return w, err
	}
	if w.l, err = w.m.GetOrCreate(orders, cluster.TopicID{}, true, cfg); err != nil {
		return w, err
	}
	for i := range 40 {
		b := batchOf(t, int64(1000+10*i), fmt.Sprint("value ", i, strings.Repeat("x", 30)), "second")
		b.SetBaseOffset(int64(2 * i))
		b.SetPartitionLeaderEpoch(int32(3 + i/20))
		for _, l := range []*Log{w.peer, w.l} {
			if _, err := l.AppendAsFollower(b); err != nil {
				return w, err
			}
		}
		w.records += 2
	}
	if err := w.l.Flush(); err != nil {
		return w, err
	}
	return w, w.m.dirs[0].writeRecoveryPoints()
}

// flip damages the n-th batch of a segment at a byte.
func (w *wounded) flip(t testing.TB, segment, batch, at int) (base cluster.Offset) {
	t.Helper()
	s := (*w.l.segments.Load())[segment]
	pos := int64(0)
	buf := make([]byte, record.HeaderSize)
	for range batch {
		b, err := s.header(buf, pos)
		must(t, err)
		pos += int64(b.Length())
	}
	f, err := s.log.get()
	must(t, err)
	p := make([]byte, 1)
	_, err = f.ReadAt(p, pos+int64(at))
	must(t, err)
	p[0] ^= 0x04
	_, err = f.WriteAt(p, pos+int64(at))
	must(t, err)
	return s.base
}

// mend repairs a segment from the other log, as long as it can.
func (w *wounded) mend(ctx context.Context, base cluster.Offset, from *Log) (err error) {
	r, err := w.m.BeginRepair(ctx, orders, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.End()) }()
	p := new(pool)
	for {
		next, to, more := r.Wants()
		if !more {
			return r.Commit()
		}
		var errs []error
		for _, l := range []*Log{w.l, from} {
			if l == w.l && !r.Dense() {
				continue
			}
			f, err := l.Read(next, 250, l.LogEndOffset(), true, p)
			if err == nil {
				err = r.Append(f.Data)
			}
			if now, _, _ := r.Wants(); now != next {
				errs = nil
				break
			}
			errs = append(errs, err)
		}
		if now, to2, more := r.Wants(); now == next && more {
			return fmt.Errorf("nobody has %d to %d (%d): %w", next, to, to2, errors.Join(errs...))
		}
	}
}

// bytesOf returns what is in all segments.
func bytesOf(t testing.TB, l *Log) (out []byte) {
	t.Helper()
	for _, s := range *l.segments.Load() {
		p := make([]byte, s.size.Load())
		_, err := s.log.ReadAt(p, 0)
		must(t, err)
		out = append(out, p...)
	}
	return out
}

// Where fields of a batch are, in bytes.
const (
	ofOffset, ofLength, ofEpoch, ofMagic, ofCount, ofRecords = 7, 10, 15, 16, 60, 65
)

func TestADamagedSegmentIsRepaired(t *testing.T) {
	for _, segment := range []int{0, 2, -1} {
		for _, at := range []int{ofOffset, ofLength, ofEpoch, ofMagic, ofCount, ofRecords} {
			t.Run(fmt.Sprintf("segment %d, byte %d", segment, at), func(t *testing.T) {
				w, err := newWounded(t, vfs.NewMem(), smallConfig())
				must(t, err)
				defer closeManager(t, w.m)
				n := segment
				if n < 0 {
					n += len(w.l.Segments())
				}
				base := w.flip(t, n, 0, at)
				there, err := w.l.CheckSegment(base)
				var corrupt *CorruptionError
				if !there || !errors.As(err, &corrupt) {
					t.Fatalf("the segment is said to be: there %t, %v", there, err)
				}
				epochs := w.l.EpochEntries()
				must(t, w.mend(t.Context(), base, w.peer))
				if !bytes.Equal(bytesOf(t, w.l), bytesOf(t, w.peer)) {
					t.Error("the log differs from the other one")
				}
				got, err := checkAll(w.l)
				must(t, err)
				if len(got) != w.records || !slices.Equal(epochs, w.l.EpochEntries()) {
					t.Errorf("%d records of %d, epochs %v", len(got), w.records, w.l.EpochEntries())
				}
				appendValues(t, w.l, 5, 9000, "and on it goes")
				_, err = checkAll(w.l)
				must(t, err)
			})
		}
	}
}

// TestALastBatchWithAnotherOffset has no batch behind it in its segment that shows what is wrong.
func TestALastBatchWithAnotherOffset(t *testing.T) {
	w, err := newWounded(t, vfs.NewMem(), smallConfig())
	must(t, err)
	defer closeManager(t, w.m)
	base := w.flip(t, 1, int(w.l.Segments()[2]-w.l.Segments()[1])/2-1, ofOffset-1)
	_, err = w.l.CheckSegment(base)
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) {
		t.Errorf("the segment is said to be: %v", err)
	}
	must(t, w.mend(t.Context(), base, w.peer))
	_, err = checkAll(w.l)
	must(t, err)
}

func TestReadingTellsOfDamage(t *testing.T) {
	w, err := newWounded(t, vfs.NewMem(), smallConfig())
	must(t, err)
	defer closeManager(t, w.m)
	base := w.flip(t, 1, 2, ofRecords)
	got, err := readAll(w.l)
	if err == nil || len(got) == 0 || cluster.Offset(len(got)) != base+4 {
		t.Errorf("%d records and %v; segment %d has two batches before the damage", len(got), err, base)
	}
	if !slices.Contains(w.told, base) {
		t.Errorf("told of %v, damaged is %d", w.told, base)
	}
}

func TestARepairBeginsWhereTheLogDoes(t *testing.T) {
	w, err := newWounded(t, vfs.NewMem(), smallConfig())
	must(t, err)
	defer closeManager(t, w.m)
	base := w.flip(t, 1, 2, ofRecords)
	for _, l := range []*Log{w.l, w.peer} {
		must(t, l.AdvanceLogStart(base+3)) // within a batch
	}
	must(t, w.mend(t.Context(), base, w.peer))
	got, err := checkTrimmed(w.l)
	must(t, err)
	if len(got) != w.records-int(base)-3 {
		t.Errorf("%d records", len(got))
	}
}

// TestWhatIsNotMissingIsRefused offers batches that are not those that were lost. The damaged segment stays.
func TestWhatIsNotMissingIsRefused(t *testing.T) {
	cfg := smallConfig()
	w, err := newWounded(t, vfs.NewMem(), cfg)
	must(t, err)
	defer closeManager(t, w.m)
	base := w.flip(t, 1, 0, ofRecords)
	before := bytesOf(t, w.l)
	good, err := w.peer.Read(base, 200, math.MaxInt64, true, new(pool))
	must(t, err)
	for name, spoil := range map[string]func(b record.Batch){
		"of another epoch":  func(b record.Batch) { b.SetPartitionLeaderEpoch(7) },
		"at a later offset": func(b record.Batch) { b.SetBaseOffset(b.BaseOffset() + 1) },
		"at an earlier one": func(b record.Batch) { b.SetBaseOffset(b.BaseOffset() - 1) },
		"damaged":           func(b record.Batch) { b[ofRecords] ^= 1 },
		"far away":          func(b record.Batch) { b.SetBaseOffset(1 << 40) },
	} {
		r, err := w.m.BeginRepair(t.Context(), orders, base)
		must(t, err)
		b, _, err := record.Split(slices.Clone(good.Data))
		must(t, err)
		spoil(b)
		if err := r.Append(b); err == nil {
			t.Errorf("a batch %s is taken", name)
		}
		if next, _, more := r.Wants(); next != base || !more {
			t.Errorf("a batch %s: %d is wanted next, more %t", name, next, more)
		}
		if _, err := w.m.BeginRepair(t.Context(), orders, base); !errors.Is(err, ErrRepairBusy) {
			t.Errorf("a second repair: %v", err)
		}
		must(t, r.End())
	}
	if !bytes.Equal(before, bytesOf(t, w.l)) {
		t.Error("the log has changed")
	}
	if _, err := w.m.BeginRepair(t.Context(), orders, base+1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a segment that is not there: %v", err)
	}
}

// TestATruncationEndsARepair cuts the log while what was below the cut is repaired.
func TestATruncationEndsARepair(t *testing.T) {
	w, err := newWounded(t, vfs.NewMem(), smallConfig())
	must(t, err)
	defer closeManager(t, w.m)
	base := w.flip(t, 1, 2, ofRecords)
	r, err := w.m.BeginRepair(t.Context(), orders, base)
	must(t, err)
	must(t, w.l.Truncate(70))
	for {
		next, _, more := r.Wants()
		if !more {
			break
		}
		f, err := w.peer.Read(next, 200, math.MaxInt64, true, new(pool))
		must(t, err)
		must(t, r.Append(f.Data))
	}
	if err := r.Commit(); !errors.Is(err, errInterrupted) {
		t.Errorf("the repair went on: %v", err)
	}
	must(t, r.End())
	must(t, w.mend(t.Context(), base, w.peer))
	_, err = checkAll(w.l)
	must(t, err)
}

// TestRepairOfACompactedLog finds damage while compacting. What the other replica has takes the place of everything up to where this log was clean, and both can
// be compacted again.
func TestRepairOfACompactedLog(t *testing.T) {
	for name, segment := range map[string]int{"where it is clean": 0, "where it is dirty": -4} {
		t.Run(name, func(t *testing.T) {
			cfg := compactConfig()
			a, b := newCompacting(t, cfg), newCompacting(t, cfg)
			var told []cluster.Offset
			a.m.dirs[0].onDamage = func(_ cluster.TopicPartition, base cluster.Offset) { told = append(told, base) }
			fill := func(a *compacting, from, to int) {
				for i := from; i < to; i++ {
					r := kv{fmt.Sprint("k", i%7), strings.Repeat("v", 50) + fmt.Sprint(i)}
					if i%10 == 9 {
						r.value = ""
					}
					a.append(t, record.None, r)
				}
			}
			for _, x := range []*compacting{a, b} {
				fill(x, 0, 60)
				if x == a {
					x.compact(t) // and b knows more
				}
				fill(x, 60, 90)
				must(t, x.l.Roll())
				must(t, x.l.Flush())
			}
			w := &wounded{m: a.m, l: a.l, peer: b.l}
			n := (segment + len(a.l.Segments())) % len(a.l.Segments())
			base := w.flip(t, n, 0, ofRecords-5)
			for a.c.next(t.Context()) {
			}
			if len(a.m.Uncleanable()) != 1 || !slices.Contains(told, base) {
				t.Fatalf("uncleanable %v, told of %v, damaged is %d", a.m.Uncleanable(), told, base)
			}
			must(t, w.mend(t.Context(), base, b.l))
			if u := a.m.Uncleanable(); len(u) > 0 {
				t.Errorf("uncleanable: %v", u)
			}
			if at, _ := a.m.dirs[0].mark(cleanerOffsetFile, orders); at != 0 {
				t.Errorf("clean up to %d, and the other replica was not", at)
			}
			must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
			a.rounds(t)
			must(t, a.verify(a.l, a.l.LogEndOffset(), math.MinInt64))
		})
	}
}

// repairWork fills a log, damages it and repairs it, until an error.
func repairWork(t testing.TB, mem *vfs.Mem, fsys vfs.FS) (w *wounded, base cluster.Offset, err error) {
	cfg := smallConfig()
	cfg.FileDeleteDelayMs = 0
	w, err = newWounded(t, fsys, cfg)
	if w.m != nil {
		defer func() { err = errors.Join(err, w.m.Close(context.Background())) }()
	}
	if err != nil {
		return w, -1, err
	}
	s := (*w.l.segments.Load())[2]
	f, err := mem.OpenFile(s.log.path, 2, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{0xaa}, ofRecords)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	if err := w.mend(t.Context(), s.base, w.peer); err != nil {
		return w, s.base, err
	}
	w.m.dirs[0].emptyTrash(w.m.cfg.Now())
	return w, s.base, errors.Join(w.l.Err(), w.m.dirs[0].online())
}

// survives opens a disk: everything is there, but for what was damaged, and that can be repaired.
func (w *wounded) survives(t testing.TB, disk *vfs.Mem, base cluster.Offset) error {
	m, err := tryOpen(disk, smallConfig())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(context.Background()) }()
	l, ok := m.Get(orders)
	if base < 0 && (!ok || int(l.LogEndOffset()) <= w.records) {
		return nil // the fault came before the log was filled
	}
	if !ok || int(l.LogEndOffset()) != w.records {
		return fmt.Errorf("the log ends at %d, want %d", l.LogEndOffset(), w.records)
	}
	got, err := readAll(l)
	var corrupt *CorruptionError
	if err != nil && (!errors.As(err, &corrupt) || len(got) != int(base)) {
		return fmt.Errorf("behind %d records of %d, damaged from %d on: %w", len(got), w.records, base, err)
	}
	again := &wounded{m: m, l: l, peer: w.peer}
	if err != nil {
		if err := again.mend(t.Context(), base, w.peer); err != nil {
			return err
		}
	}
	if !bytes.Equal(bytesOf(t, l), bytesOf(t, w.peer)) {
		return errors.New("the log differs from the other one")
	}
	_, err = checkAll(l)
	return err
}

func TestPowerCutDuringRepair(t *testing.T) {
	var count vfs.Counter
	mem := vfs.NewMem()
	w, base, err := repairWork(t, mem, vfs.Inject(mem, &count))
	must(t, err)
	must(t, w.survives(t, mem.CrashClone(vfs.CrashOptions{}), base))
	total := count.Mutations()
	for n := range crashPoints(t, total, 60) {
		mem := vfs.NewMem()
		w, base, err := repairWork(t, mem, vfs.Inject(mem, vfs.PowerCut(n)))
		if err == nil {
			t.Fatalf("cut after %d operations went unnoticed", n)
		}
		for name, disk := range disks(mem, n) {
			if err := w.survives(t, disk, base); err != nil {
				t.Fatalf("cut after %d of %d operations, %s: %v", n, total, name, err)
			}
		}
	}
}

func TestErrorAtEveryOperationOfRepair(t *testing.T) {
	boom := errors.New("input/output error")
	total := 0
	mem := vfs.NewMem()
	_, _, err := repairWork(t, mem, vfs.Inject(mem, vfs.InjectorFunc(func(vfs.Call) vfs.Fault { total++; return vfs.Fault{} })))
	must(t, err)
	for n := range crashPoints(t, total, 60) {
		mem := vfs.NewMem()
		w, base, _ := repairWork(t, mem, vfs.Inject(mem, vfs.OnIndex(n, vfs.Fail(boom))))
		if open := mem.OpenFiles(); open > 0 {
			t.Fatalf("error at operation %d: %d files are open after Close", n, open)
		}
		for name, disk := range disks(mem, n) {
			if err := w.survives(t, disk, base); err != nil {
				t.Fatalf("error at operation %d, then a power cut, %s: %v", n, name, err)
			}
		}
	}
}

// TestADamagedTimeIndexDeletesNothing spoils the last entry of each time index. Retention and questions by time go by the batches.
func TestADamagedTimeIndexDeletesNothing(t *testing.T) {
	for name, bit := range map[string]byte{"earlier": 0x80, "later": 0x40} {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig()
			cfg.RetentionMs = 1_000_000
			mem := vfs.NewMem()
			w, err := newWounded(t, mem, cfg)
			must(t, err)
			closeManager(t, w.m)
			for _, s := range (*w.l.segments.Load())[:len(w.l.Segments())-1] {
				f, err := mem.OpenFile(s.tidx.path, 2, 0)
				must(t, err)
				size, err := f.Size()
				must(t, err)
				p := make([]byte, 1)
				_, err = f.ReadAt(p, size-timeEntrySize+7) // of the timestamp
				must(t, err)
				p[0] ^= bit
				_, err = f.WriteAt(p, size-timeEntrySize+7)
				must(t, errors.Join(err, f.Close()))
			}
			w.m = openOn(t, mem, cfg)
			defer closeManager(t, w.m)
			w.l, _ = w.m.Get(orders)
			for _, s := range (*w.l.segments.Load())[:len(w.l.Segments())-1] {
				buf := make([]byte, record.HeaderSize)
				want := timePoint{ts: record.NoTimestamp}
				_, _, err := s.scan(0, buf, func(f found) bool {
					if f.maxTS > want.ts {
						want = timePoint{ts: f.maxTS, offset: f.last}
					}
					return false
				})
				must(t, err)
				if got := s.confirmedTime(); got != want {
					t.Errorf("segment %d is of %+v, want %+v", s.base, got, want)
				}
			}
			got, err := readAll(w.l)
			must(t, err)
			must(t, checkLookups(w.l, got))
		})
	}
}
