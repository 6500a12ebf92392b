package commitlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// history is what a workload did, and what it may rely on.
type history struct {
	recs    []rec // as the log would read if everything had succeeded, with what was under way at the end
	acked   int   // so many of them were acknowledged
	durable int   // so many of them must survive a power cut
	start   int   // the log start was moved here at most
	floor   int   // a truncation to here was under way: everything behind may be gone or not
}

// workload appends, rolls, flushes, checkpoints and truncates until an error.
type workload struct {
	h     history
	fsync bool // flush.messages=1
}

func (w *workload) run(t testing.TB, fsys vfs.FS) error {
	cfg := smallConfig()
	if w.fsync {
		cfg.FlushMessages = 1
	}
	m, err := tryOpen(fsys, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(context.Background()) }()
	if off := m.OfflineDirs(); len(off) > 0 {
		return off["/logs"]
	}
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, cfg)
	if err != nil {
		return err
	}
	step := func(err error) error {
		if err == nil && w.h.acked < len(w.h.recs) {
			w.h.acked = len(w.h.recs)
			if w.fsync {
				w.h.durable = w.h.acked
			}
		}
		return err
	}
	for epoch := range cluster.LeaderEpoch(3) {
		for i := range 9 {
			if err := step(w.append(t, l, epoch, i)); err != nil {
				return err
			}
		}
		if err := l.Flush(); err != nil {
			return err
		}
		w.h.durable = w.h.acked
		if err := m.dirs[0].checkpoint(); err != nil {
			return err
		}
		// Records are deleted, and the power may fail before that is on disk, or the segments' names are.
		w.h.start = len(w.h.recs) - 12
		if err := l.AdvanceLogStart(cluster.Offset(w.h.start)); err != nil {
			return err
		}
		if epoch == 2 {
			m.retain(m.dirs[0], time.UnixMilli(0), func(*Config) bool { return true })
		}
		if err := w.truncate(l, cluster.Offset(len(w.h.recs)-5)); err != nil {
			return err
		}
	}
	if err := l.Roll(); err != nil {
		return err
	}
	if err := step(w.append(t, l, 3, 0)); err != nil {
		return err
	}
	if err := m.Close(context.Background()); err != nil {
		return err
	}
	w.h.durable = w.h.acked
	return nil
}

func (w *workload) append(t testing.TB, l *Log, epoch cluster.LeaderEpoch, i int) error {
	var values []string
	n := len(w.h.recs)
	for j := range 1 + i%3 {
		v := fmt.Sprintf("value %d of epoch %d", n+j, epoch)
		values = append(values, v)
		w.h.recs = append(w.h.recs, rec{Offset: int64(n + j), Value: v, Time: int64(1000 + n + j), Epoch: int32(epoch)})
	}
	// One batch in three comes from nobody in particular, one from an idempotent producer, one from a transactional one, whose
	// transactions span truncations and end one way or the other.
	var err error
	switch id := cluster.ProducerID(n % 3); {
	case id == 0:
		_, err = l.AppendAsLeader(batchOf(t, int64(1000+n), values...), epoch)
	default:
		_, err = l.AppendAsLeader(numberedBatch(t, int64(1000+n), id, 0, lastOf(l, id).LastSequence+1, id == 2, values...), epoch)
	}
	if err != nil || i%4 != 3 || lastOf(l, 2).TxnFirstOffset < 0 {
		return err
	}
	m := record.Marker{Type: record.MarkerType(n / 2 % 2), ProducerID: 2, Timestamp: int64(1000 + len(w.h.recs))}
	w.h.recs = append(w.h.recs, rec{Offset: int64(len(w.h.recs)), Value: "\x00\x00\x00\x00\x00\x00", Time: m.Timestamp, Epoch: int32(epoch)})
	_, err = l.AppendAsCoordinator(record.ControlBatch(m), epoch)
	return err
}

func (w *workload) truncate(l *Log, to cluster.Offset) error {
	w.h.floor = int(to)
	err := l.Truncate(to)
	if err == nil {
		w.h.recs = w.h.recs[:l.LogEndOffset()]
		w.h.acked = len(w.h.recs)
	}
	w.h.durable = min(w.h.durable, int(to), len(w.h.recs)) // mid-batch: the batch goes as a whole
	if err == nil {
		w.h.durable = min(w.h.durable, len(w.h.recs))
		w.h.floor = 0
	} else {
		w.h.durable = min(w.h.durable, int(to)-2)
	}
	return err
}

// check opens the disk as a new process does, compares what is there with the history, and sees that life goes on.
func (h *history) check(t testing.TB, fsys vfs.FS, durable int) error {
	m, err := tryOpen(fsys, smallConfig())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(context.Background()) }()
	if off := m.OfflineDirs(); len(off) > 0 {
		return off["/logs"]
	}
	l, ok := m.Get(orders)
	if !ok {
		if durable > 0 {
			return fmt.Errorf("the log is gone, with %d durable records", durable)
		}
		return nil
	}
	got, err := checkTrimmed(l)
	if err != nil {
		return fmt.Errorf("%w (segments %v, recovery %+v)", err, l.Segments(), l.Recovery())
	}
	start, leo := int(l.LogStartOffset()), l.LogEndOffset()
	if int(leo) < durable || int(leo) > len(h.recs) || start > h.start {
		return fmt.Errorf("the log is from %d to %d; records to %d were durable, %d were ever appended, the log began at %d (segments %v, recovery %+v)",
			start, leo, durable, len(h.recs), h.start, l.Segments(), l.Recovery())
	}
	for i, r := range got {
		if r != h.recs[start+i] {
			return fmt.Errorf("record %d is %+v, want %+v", start+i, r, h.recs[start+i])
		}
	}
	if err := retry(t, l, 1); err != nil {
		return err
	}
	if off := appendValues(t, l, 9, 9999, "life goes on"); off != leo {
		return fmt.Errorf("the next append got offset %d, want %d", off, leo)
	}
	if err := m.Close(context.Background()); err != nil {
		return err
	}
	return h.checkReopened(fsys, int(leo)+1)
}

// retry sends a producer's last batch once more.
func retry(t testing.TB, l *Log, id cluster.ProducerID) error {
	last := lastOf(l, id)
	if last.LastOffset < 0 {
		return nil
	}
	values := make([]string, last.OffsetDelta+1)
	info, err := l.AppendAsLeader(numberedBatch(t, 1, id, last.Epoch, last.LastSequence-last.OffsetDelta, false, values...), 9)
	if err != nil || !info.Duplicate || info.LastOffset != last.LastOffset {
		return fmt.Errorf("retry of sequence %d of producer %d: %+v, %w; want a duplicate of offset %d", last.LastSequence, id, info, err, last.LastOffset)
	}
	return nil
}

// checkReopened opens once more, after a clean close.
func (h *history) checkReopened(fsys vfs.FS, want int) error {
	m, err := tryOpen(fsys, smallConfig())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(context.Background()) }()
	l, _ := m.Get(orders)
	got, err := checkTrimmed(l)
	if err == nil && (int(l.LogEndOffset()) != want || l.Recovery().Unclean) {
		err = fmt.Errorf("after a clean close there are %d records up to %d, want %d; recovery %+v", len(got), l.LogEndOffset(), want, l.Recovery())
	}
	return err
}

// longTests says that the environment asks for long tests: every crash point, every outcome.
func longTests() bool { return os.Getenv("OTTLA_LONG_TESTS") != "" }

// crashPoints yields the numbers below total at which a test strikes: all of them when the environment asks for long tests,
// otherwise about some, evenly spread, from a random one on.
func crashPoints(t testing.TB, total, some int) iter.Seq[int] {
	t.Helper()
	first, stride := 0, 1
	if !longTests() {
		stride = max(total/some, 1)
		first = rand.IntN(stride)
	}
	t.Logf("%d operations, struck at every %d from %d on", total, stride, first)
	return func(yield func(int) bool) {
		for n := first; n < total; n += stride {
			if !yield(n) {
				return
			}
		}
	}
}

// disks returns outcomes of a power cut to examine: all of them when the environment asks for long tests, otherwise a random one and one of
// the others in turn with n.
func disks(mem *vfs.Mem, n int) map[string]*vfs.Mem {
	outcomes := map[string]vfs.CrashOptions{
		"nothing unsynced kept":        {},
		"names kept, content lost":     {Names: vfs.KeepAll},
		"content kept, new names lost": {Data: vfs.KeepAll},
		"everything kept":              {Data: vfs.KeepAll, Names: vfs.KeepAll},
	}
	order := []string{"nothing unsynced kept", "names kept, content lost", "content kept, new names lost", "everything kept"}
	seeds, long := 1, longTests()
	if long {
		seeds = 20
	}
	all := map[string]*vfs.Mem{}
	for i, name := range order {
		if long || i == n%len(order) {
			all[name] = mem.CrashClone(outcomes[name])
		}
	}
	for s := range seeds {
		seed := uint64(n*100 + s)
		all[fmt.Sprintf("seed %d", seed)] = mem.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
	}
	return all
}

func TestPowerCutAfterEveryWrite(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		t.Run(fmt.Sprintf("flush.messages=1 is %v", fsync), func(t *testing.T) {
			t.Parallel()
			var count vfs.Counter
			w := workload{fsync: fsync}
			must(t, w.run(t, vfs.Inject(vfs.NewMem(), &count)))
			total := count.Mutations()
			if total < 100 {
				t.Fatalf("the workload changes the disk only %d times", total)
			}
			for n := range crashPoints(t, total+1, 50) {
				mem := vfs.NewMem()
				w := workload{fsync: fsync}
				err := w.run(t, vfs.Inject(mem, vfs.PowerCut(n)))
				if (err == nil) != (n == total) {
					t.Fatalf("cut after %d of %d operations: %v", n, total, err)
				}
				for name, disk := range disks(mem, n) {
					if err := w.h.check(t, disk, w.h.durable); err != nil {
						t.Fatalf("cut after %d operations, %s: %v", n, name, err)
					}
				}
			}
		})
	}
}

// TestProcessDeathAfterEveryWrite is a cut of the process only: the system keeps what was written, so everything that was
// acknowledged survives whatever the flush policy.
func TestProcessDeathAfterEveryWrite(t *testing.T) {
	var count vfs.Counter
	w := workload{}
	must(t, w.run(t, vfs.Inject(vfs.NewMem(), &count)))
	for n := range crashPoints(t, count.Mutations(), 50) {
		mem := vfs.NewMem()
		w := workload{}
		if err := w.run(t, vfs.Inject(mem, vfs.PowerCut(n))); err == nil {
			t.Fatalf("death after %d operations went unnoticed", n)
		}
		mem.Kill()
		durable := w.h.acked
		if w.h.floor > 0 {
			durable = min(durable, w.h.floor-2)
		}
		if err := w.h.check(t, mem, durable); err != nil {
			t.Fatalf("death after %d operations: %v", n, err)
		}
	}
}

// TestPowerCutDuringRecovery cuts the power while the next start recovers from a first cut.
func TestPowerCutDuringRecovery(t *testing.T) {
	mem := vfs.NewMem()
	w := workload{fsync: true}
	if err := w.run(t, vfs.Inject(mem, vfs.PowerCut(150))); err == nil {
		t.Fatal("the cut went unnoticed")
	}
	first := mem.CrashClone(vfs.CrashOptions{Seed: 7, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
	for n := 0; ; n++ {
		disk := first.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
		m, err := tryOpen(vfs.Inject(disk, vfs.PowerCut(n)), smallConfig())
		if err == nil {
			_ = m.release()
		}
		for name, again := range disks(disk, n) {
			if err := w.h.check(t, again, w.h.durable); err != nil {
				t.Fatalf("cut after %d operations of recovery, %s: %v", n, name, err)
			}
		}
		if err == nil && len(m.OfflineDirs()) == 0 {
			return
		}
	}
}

func TestErrorAtEveryOperation(t *testing.T) {
	boom := errors.New("input/output error")
	kinds := map[string]vfs.Injector{
		"fails":       vfs.Fail(boom),
		"short write": vfs.Short(17, boom),
	}
	for name, fault := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := 0
			counting := vfs.InjectorFunc(func(vfs.Call) vfs.Fault { total++; return vfs.Fault{} })
			w := workload{fsync: true}
			must(t, w.run(t, vfs.Inject(vfs.NewMem(), counting)))
			for n := range crashPoints(t, total, 45) {
				hit := false
				mark := vfs.InjectorFunc(func(c vfs.Call) vfs.Fault {
					f := fault.Inject(c)
					hit = f.Err != nil
					return f
				})
				mem := vfs.NewMem()
				w := workload{fsync: true}
				err := w.run(t, vfs.Inject(mem, vfs.OnIndex(n, mark)))
				if err != nil && !hit {
					t.Fatalf("no fault at operation %d, and yet: %v", n, err)
				}
				if err != nil && !errors.Is(err, boom) && !errors.Is(err, kerr.KafkaStorageError) {
					t.Fatalf("fault at operation %d is reported as %v", n, err)
				}
				for name, disk := range disks(mem, n) {
					if err := w.h.check(t, disk, w.h.durable); err != nil {
						t.Fatalf("fault at operation %d, then a power cut, %s: %v", n, name, err)
					}
				}
			}
		})
	}
}

func TestNothingIsAppendedAfterAFailure(t *testing.T) {
	boom := errors.New("input/output error")
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		t.Run(op.String(), func(t *testing.T) {
			sw := &vfs.Toggle{Inner: vfs.OnBase("*.log", vfs.OnOps(vfs.Fail(boom), op))}
			var count vfs.Counter
			cfg := smallConfig()
			cfg.FlushMessages = 1
			l := newLogOn(t, vfs.Inject(vfs.NewMem(), sw, &count), cfg)
			appendValues(t, l, 0, 1, "good")
			sw.Set(true)
			_, err := l.AppendAsLeader(batchOf(t, 2, "bad"), 0)
			var storage *StorageError
			if !errors.As(err, &storage) || !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, boom) || kerr.CodeOf(err) != kerr.KafkaStorageError {
				t.Fatalf("append on a failing disk: %v", err)
			}
			sw.Set(false) // the disk seems to be well again; it must not be believed
			before := count.Mutations()
			for name, err := range map[string]error{
				"leader append":   second(l.AppendAsLeader(batchOf(t, 3, "later"), 0)),
				"follower append": second(l.AppendAsFollower(batchOf(t, 3, "later"))),
				"flush":           l.Flush(),
				"roll":            l.Roll(),
				"truncate":        l.Truncate(0),
				"restart":         l.TruncateFullyAndStartAt(5),
				"epoch":           l.AssignEpoch(7, 1),
			} {
				if name == "flush" && l.RecoveryPoint() == l.LogEndOffset() {
					continue
				}
				if !errors.Is(err, kerr.KafkaStorageError) {
					t.Errorf("%s after the failure: %v", name, err)
				}
			}
			if after := count.Mutations(); after != before {
				t.Errorf("the disk was changed %d times after the failure", after-before)
			}
			if got, err := readAll(l); err != nil || len(got) == 0 || got[0].Value != "good" {
				t.Errorf("reading what was good: %v, %v", got, err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }
