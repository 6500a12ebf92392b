package commitlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// busy returns a disk with a log of several segments to which idempotent and transactional producers wrote, closed properly or
// not. It begins with the only batch of producer 5 and ends with an open transaction of producer 3.
func busy(t testing.TB, clean bool) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	m := openOn(t, mem, smallConfig())
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, smallConfig())
	must(t, err)
	produce(t, l, 5, false, "early, and never again")
	for i := range 24 {
		produce(t, l, 1, false, fmt.Sprint("idempotent ", i))
		produce(t, l, 2, true, fmt.Sprint("transactional ", i), "and more")
		if i%4 == 3 {
			end(t, l, 2, record.Abort)
		}
	}
	produce(t, l, 3, true, "open")
	must(t, l.Flush())
	must(t, m.dirs[0].checkpoint())
	if clean {
		closeManager(t, m)
	} else {
		mem.Kill()
		_ = m.release()
	}
	return mem
}

func snapshotNames(t testing.TB, fsys vfs.FS) (names []string) {
	t.Helper()
	entries, err := fsys.ReadDir(logDirName)
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), snapshotSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSnapshotsAreTakenAtRollsAndAtTheEnd(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ := m.Get(orders)
	var want []string
	for _, base := range l.Segments()[1:] {
		want = append(want, segmentName(base, snapshotSuffix))
	}
	want = append(want, segmentName(l.LogEndOffset(), snapshotSuffix))
	if diff := cmp.Diff(want, snapshotNames(t, mem.CrashClone(vfs.CrashOptions{}))); diff != "" {
		t.Errorf("snapshots on disk (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, snapshotNames(t, mem)); diff != "" || len(want) < 5 {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
	_, err := checkAll(l)
	must(t, err)
}

func TestSnapshotsAreDurableWithTheNextFlush(t *testing.T) {
	l, mem := newLog(t, smallConfig())
	produce(t, l, 7, false, "a")
	must(t, l.Roll())
	produce(t, l, 7, false, "b")
	must(t, l.Flush())
	data, err := vfs.ReadFile(mem.CrashClone(vfs.CrashOptions{}), segmentPath(1, snapshotSuffix))
	must(t, err)
	if entries, err := producers.DecodeSnapshot(data); err != nil || len(entries) != 1 {
		t.Errorf("on disk are %v, %v", entries, err)
	}
}

func TestAnUnchangedLogGetsNoNewSnapshot(t *testing.T) {
	mem := busy(t, true)
	fault := vfs.OnBase("*"+snapshotSuffix, vfs.OnOps(vfs.Fail(errors.New("input/output error")), vfs.OpWrite))
	closeManager(t, openOn(t, vfs.Inject(mem, fault), smallConfig()))
}

func TestALogWithoutProducersHasEmptySnapshots(t *testing.T) {
	mem := filled(t, smallConfig())
	m := openOn(t, mem, smallConfig())
	closeManager(t, m)
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ := m.Get(orders)
	names := snapshotNames(t, mem)
	if len(names) != len(l.Segments()) {
		t.Errorf("snapshots %v for segments %v", names, l.Segments())
	}
	for _, name := range names {
		data, err := vfs.ReadFile(mem, logDirName+"/"+name)
		if want := "000148674bc700000000"; hex.EncodeToString(data) != want || err != nil {
			t.Errorf("%s holds %x (%v), want %s", name, data, err, want)
		}
	}
}

func TestAnEmptyLogHasNoSnapshot(t *testing.T) {
	mem := vfs.NewMem()
	for range 2 {
		m := openOn(t, mem, smallConfig())
		_, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, smallConfig())
		must(t, err)
		closeManager(t, m)
	}
	if names := snapshotNames(t, mem); len(names) > 0 {
		t.Errorf("snapshots %v", names)
	}
}

// TestFilesOfProducersAreKafkas compares the bytes of both files with bytes that were written out by hand (F§4.5, F§4.6).
func TestFilesOfProducersAreKafkas(t *testing.T) {
	mem := vfs.NewMem()
	m := openOn(t, mem, DefaultConfig())
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, DefaultConfig())
	must(t, err)
	_, err = l.AppendAsLeader(numberedBatch(t, 0x1000, 7, 2, 5, true, "a", "b"), 0) // 0, 1
	must(t, err)
	_, err = l.AppendAsLeader(numberedBatch(t, 0x2000, 9, 0, 0, true, "c"), 0) // 2
	must(t, err)
	_, err = l.AppendAsCoordinator(markerBatch(record.Abort, 0x3000, 7, 3, 6), 0) // 3
	must(t, err)
	closeManager(t, m)
	snapshot, err := vfs.ReadFile(mem, segmentPath(4, snapshotSuffix))
	must(t, err)
	const entries = "00000002" +
		"0000000000000007" + "0003" + "ffffffff" + "ffffffffffffffff" + "00000000" + "0000000000003000" + "00000006" + "ffffffffffffffff" +
		"0000000000000009" + "0000" + "00000000" + "0000000000000002" + "00000000" + "0000000000002000" + "ffffffff" + "0000000000000002"
	if got := hex.EncodeToString(snapshot); got[:4] != "0001" || got[12:] != entries {
		t.Errorf("snapshot is %s, want %s behind the checksum", got, entries)
	}
	index, err := vfs.ReadFile(mem, segmentPath(0, txnIndexSuffix))
	must(t, err)
	const want = "0000" + "0000000000000007" + "0000000000000000" + "0000000000000003" + "0000000000000002"
	if got := hex.EncodeToString(index); got != want {
		t.Errorf("transaction index is %s, want %s", got, want)
	}
}

func TestDamagedProducerFilesAreBuiltAgain(t *testing.T) {
	segmentsOf := func(mem *vfs.Mem) []cluster.Offset {
		m := openOn(t, mem.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll}), smallConfig())
		defer closeManager(t, m)
		l, _ := m.Get(orders)
		return append(l.Segments(), l.LogEndOffset())
	}
	flip := func(i int) func([]byte) []byte { return func(p []byte) []byte { p[i] ^= 0x10; return p } }
	changes := map[string]func([]byte) []byte{
		"nothing":      func(p []byte) []byte { return p },
		"gone":         nil,
		"empty":        func([]byte) []byte { return nil },
		"torn":         func(p []byte) []byte { return p[:len(p)-1] },
		"zeros":        func(p []byte) []byte { return make([]byte, len(p)) },
		"zeros behind": func(p []byte) []byte { return append(p, make([]byte, 46)...) },
		"flipped head": flip(0),
		"flipped body": flip(12),
		"twice":        func(p []byte) []byte { return append(p, p...) },
		"another's": func([]byte) []byte {
			return producers.EncodeSnapshot([]producers.Entry{{ProducerID: 1, LastOffset: 1 << 40, TxnFirstOffset: -1}})
		},
		"much too large":   func([]byte) []byte { return bytes.Repeat([]byte{0x7f}, 1<<20) },
		"a huge count":     func([]byte) []byte { return []byte{0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff} },
		"its own negative": func(p []byte) []byte { return append(p[:2:2], bytes.Repeat([]byte{0xff}, len(p)-2)...) },
	}
	for _, clean := range []bool{true, false} {
		disk := busy(t, clean)
		bases := segmentsOf(disk)
		var files []string
		for i, base := range bases {
			for _, suffix := range []string{snapshotSuffix, txnIndexSuffix} {
				path := segmentPath(base, suffix)
				if _, err := disk.Stat(path); err == nil && (i < 3 || i > len(bases)-3) {
					files = append(files, path)
				}
			}
		}
		if len(files) < 5 {
			t.Fatalf("only the files %v", files)
		}
		for i, file := range files {
			for j, name := range slices.Sorted(maps.Keys(changes)) {
				change := changes[name]
				if !longTests() && i%3 != j%3 {
					continue
				}
				if strings.HasSuffix(file, txnIndexSuffix) && (name == "gone" || name == "empty") {
					continue // in a segment that is trusted this looks as if nothing had been aborted
				}
				damaged := disk.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
				if change == nil {
					must(t, damaged.Remove(file))
				} else {
					edit(t, damaged, file, change)
				}
				for round := range 2 { // what was repaired is good the next time
					m := openOn(t, damaged, smallConfig())
					l, _ := m.Get(orders)
					if _, err := checkAll(l); err != nil {
						t.Errorf("clean %t, %s of %s, start %d: %v", clean, name, file, round, err)
					}
					if first, ok := l.OpenTransaction(3, 0); !ok || first != l.LogEndOffset()-1 {
						t.Errorf("clean %t, %s of %s: the open transaction began at %d", clean, name, file, first)
					}
					if round == 0 && l.LogEndOffset() != bases[len(bases)-1] {
						t.Errorf("clean %t, %s of %s: the log ends at %d, want %d", clean, name, file, l.LogEndOffset(), bases[len(bases)-1])
					}
					closeManager(t, m)
				}
			}
		}
	}
}

// TestTransactionIndexComesBackWithTheOthers sees that a segment that has lost its indexes gets all of them again.
func TestTransactionIndexComesBackWithTheOthers(t *testing.T) {
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		mem := busy(t, true)
		entries, err := mem.ReadDir(logDirName)
		must(t, err)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), suffix) || strings.HasSuffix(e.Name(), txnIndexSuffix) {
				must(t, mem.Remove(logDirName+"/"+e.Name()))
			}
		}
		m := openOn(t, mem, smallConfig())
		l, _ := m.Get(orders)
		if _, err := checkAll(l); err != nil {
			t.Errorf("without %s: %v", suffix, err)
		}
		closeManager(t, m)
	}
}

func TestSnapshotsThatSpeakOfAnotherLogAreRemoved(t *testing.T) {
	for _, clean := range []bool{true, false} {
		disk := busy(t, clean)
		m := openOn(t, disk.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll}), smallConfig())
		l, _ := m.Get(orders)
		bases, leo := l.Segments(), l.LogEndOffset()
		closeManager(t, m)
		// A lie that nothing but its offset gives away.
		lie := producers.EncodeSnapshot([]producers.Entry{{ProducerID: 1, Epoch: 9, LastSequence: 1, LastOffset: 0, CoordinatorEpoch: -1, TxnFirstOffset: -1}})
		beyond, between := segmentPath(leo+1, snapshotSuffix), segmentPath(bases[2]+1, snapshotSuffix)
		for _, path := range []string{beyond, between} {
			must(t, vfs.WriteFileAtomic(disk, path, lie, filePerm))
		}
		m = openOn(t, disk, smallConfig())
		l, _ = m.Get(orders)
		_, err := checkAll(l)
		must(t, err)
		after := disk.CrashClone(vfs.CrashOptions{})
		for _, path := range []string{beyond, between} {
			if _, err := after.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("clean %t: %s is there after the start: %v", clean, path, err)
			}
		}
		closeManager(t, m)
	}
}

// TestSnapshotsBeyondACutAreGoneForGood sees that a recovery that shortens the log leaves no snapshot of what it took away, also
// none that comes back with the next power cut.
func TestSnapshotsBeyondACutAreGoneForGood(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	l, _ := m.Get(orders)
	leo, last := l.LogEndOffset(), l.active().base
	mem.Kill()
	_ = m.release()
	edit(t, mem, segmentPath(last, logSuffix), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if l.LogEndOffset() >= leo {
		t.Fatalf("the log ends at %d, want less than %d", l.LogEndOffset(), leo)
	}
	if _, err := mem.CrashClone(vfs.CrashOptions{}).Stat(segmentPath(leo, snapshotSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("snapshot of offset %d: %v; the log ends at %d", leo, err, l.LogEndOffset())
	}
	must(t, checkProducers(l))
}

// TestSnapshotsFromBeforeTheFirstSegmentAreNotUsed removes the oldest segments as retention does, and all snapshots but one of
// theirs: between it and the first segment there are batches that nobody knows.
func TestSnapshotsFromBeforeTheFirstSegmentAreNotUsed(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	l, _ := m.Get(orders)
	bases := l.Segments()
	closeManager(t, m)
	for _, name := range snapshotNames(t, mem) { // the second of which knows producer 5
		if name != segmentName(bases[1], snapshotSuffix) {
			must(t, mem.Remove(logDirName+"/"+name))
		}
	}
	for _, base := range bases[:3] {
		must(t, mem.Remove(segmentPath(base, logSuffix)))
	}
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if l.LogStartOffset() != bases[3] {
		t.Fatalf("the log starts at %d, want %d", l.LogStartOffset(), bases[3])
	}
	state, _, err := wholeLog(l)
	must(t, err)
	if diff := cmp.Diff(state.Entries(), l.Producers()); diff != "" {
		t.Errorf("producers (-batches +log):\n%s", diff)
	}
	if names := snapshotNames(t, mem); len(names) > 0 {
		t.Errorf("snapshots %v, want none", names)
	}
}

// TestTruncationTakesSnapshotsWithIt is C23: the log grows again beyond a snapshot that spoke of what was truncated.
func TestTruncationTakesSnapshotsWithIt(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	l, _ := m.Get(orders)
	leo, middle := l.LogEndOffset(), l.Segments()[3]
	must(t, l.Truncate(middle+1))
	must(t, checkProducers(l))
	after := mem.CrashClone(vfs.CrashOptions{})
	for _, name := range snapshotNames(t, after) {
		if at, _, _ := parseSegmentName(name); at > l.LogEndOffset() {
			t.Errorf("%s is on disk, the log ends at %d", name, l.LogEndOffset())
		}
	}
	for l.LogEndOffset() < leo+5 {
		produce(t, l, 1, false, "other")
		produce(t, l, 4, false, "another")
	}
	mem.Kill()
	_ = m.release()
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	_, err := checkAll(l)
	must(t, err)
}

func TestProducersOutliveTheirRecords(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	l, _ := m.Get(orders)
	end(t, l, 3, record.Commit)
	end(t, l, 2, record.Commit)
	last := lastOf(l, 1)
	must(t, l.AdvanceLogStart(l.LogEndOffset()))
	must(t, m.dirs[0].checkpoint())
	closeManager(t, m)
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if got := lastOf(l, 1); got != last {
		t.Errorf("producer 1 is %+v, was %+v", got, last)
	}
	if got := l.LastStableOffset(l.LogEndOffset()); got != l.LogEndOffset() {
		t.Errorf("last stable offset is %d", got)
	}
	must(t, retry(t, l, 1))
}

func TestWhatADamagedSegmentSaysOfProducersIsForgotten(t *testing.T) {
	mem := busy(t, true)
	m := openOn(t, mem, smallConfig())
	l, _ := m.Get(orders)
	bases := l.Segments()
	closeManager(t, m)
	for _, name := range snapshotNames(t, mem) {
		must(t, mem.Remove(logDirName+"/"+name))
	}
	edit(t, mem, segmentPath(bases[2], logSuffix), func(b []byte) []byte { b[16] = 9; return b })
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	want, err := l.replay(&producers.State{}, (*l.segments.Load())[3:], bases[3], l.LogEndOffset())
	must(t, err)
	if diff := cmp.Diff(want.Entries(), l.Producers()); diff != "" || len(want.Entries()) != 3 {
		t.Errorf("producers (-undamaged +log):\n%s", diff)
	}
}

func TestErrorsOfTheTransactionIndexFenceTheLog(t *testing.T) {
	boom := errors.New("input/output error")
	sw := &vfs.Toggle{Inner: vfs.OnBase("*"+txnIndexSuffix, vfs.OnOps(vfs.Fail(boom), vfs.OpWrite))}
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), sw), smallConfig())
	produce(t, l, 7, true, "a")
	sw.Set(true)
	_, err := l.AppendAsCoordinator(markerBatch(record.Abort, 1, 7, 0, 1), 0)
	var storage *StorageError
	if !errors.As(err, &storage) || !errors.Is(err, boom) || l.Err() == nil {
		t.Errorf("abort without an index: %v, fenced by %v", err, l.Err())
	}
	if l.LogEndOffset() != 1 || l.LastStableOffset(1) != 0 {
		t.Errorf("the log ends at %d, last stable offset %d", l.LogEndOffset(), l.LastStableOffset(1))
	}
}

func TestErrorsOfReadingTheTransactionIndexAreReported(t *testing.T) {
	boom := errors.New("input/output error")
	sw := &vfs.Toggle{Inner: vfs.OnBase("*"+txnIndexSuffix, vfs.OnOps(vfs.Fail(boom), vfs.OpRead))}
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), sw), smallConfig())
	produce(t, l, 7, true, "a")
	end(t, l, 7, record.Abort)
	sw.Set(true)
	var storage *StorageError
	if _, err := l.AbortedTransactions(0, 2); !errors.As(err, &storage) || !errors.Is(err, boom) || l.Err() != nil {
		t.Errorf("lookup on a failing disk: %v, fenced by %v", err, l.Err())
	}
	sw.Set(false)
	if list, err := l.AbortedTransactions(0, 2); len(list) != 1 || err != nil {
		t.Errorf("lookup afterwards: %v, %v", list, err)
	}
}

// FuzzProducerFiles puts arbitrary bytes in the place of snapshot and transaction index: the log opens and knows what its
// batches say, unless the bytes are good ones.
func FuzzProducerFiles(f *testing.F) {
	base := busy(f, false)
	snapshot, err := vfs.ReadFile(base, segmentPath(firstRoll(f, base), snapshotSuffix))
	must(f, err)
	f.Add(snapshot, []byte{}, true)
	f.Add(snapshot[:20], make([]byte, 34), false)
	f.Add([]byte{}, bytes.Repeat([]byte{0, 1}, 17), true)
	f.Fuzz(func(t *testing.T, snapshot, index []byte, clean bool) {
		disk := base.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
		at := firstRoll(t, disk)
		if entries, err := producers.DecodeSnapshot(snapshot); err == nil {
			if _, err := producers.Restore(entries, at, 0, 1<<60); err == nil {
				return
			}
		}
		if n, _, err := producers.CheckTxnIndex(index, 0); err == nil && n == 0 && clean {
			return
		}
		must(t, vfs.WriteFileAtomic(disk, segmentPath(at, snapshotSuffix), snapshot, filePerm))
		if clean {
			must(t, vfs.WriteFileAtomic(disk, "/logs/"+cleanShutdownFile, nil, filePerm))
		}
		must(t, vfs.WriteFileAtomic(disk, segmentPath(0, txnIndexSuffix), index, filePerm))
		m := openOn(t, disk, smallConfig())
		defer func() { _ = m.Close(context.Background()) }()
		l, _ := m.Get(orders)
		state, _, err := wholeLog(l)
		must(t, err)
		if diff := cmp.Diff(state.Entries(), l.Producers()); diff != "" {
			t.Errorf("producers (-batches +log):\n%s", diff)
		}
	})
}

// firstRoll returns the base of the second segment.
func firstRoll(t testing.TB, mem *vfs.Mem) cluster.Offset {
	t.Helper()
	entries, err := mem.ReadDir(logDirName)
	must(t, err)
	var bases []cluster.Offset
	for _, e := range entries {
		if base, suffix, ok := parseSegmentName(e.Name()); ok && suffix == logSuffix {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases[1]
}
