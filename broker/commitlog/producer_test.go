package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// numberedBatch builds a batch of a producer with a record for each value, with timestamps ts, ts+1, ….
func numberedBatch(t fataler, ts int64, id cluster.ProducerID, epoch int16, seq int32, txn bool, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for i, v := range values {
		b.Append(ts+int64(i), []byte("key"), []byte(v), nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, int64(id), epoch, seq, txn)
	must(t, err)
	return batch
}

func markerBatch(typ record.MarkerType, ts int64, id cluster.ProducerID, epoch int16, coordinator int32) record.Batch {
	return record.ControlBatch(record.Marker{Type: typ, ProducerID: int64(id), ProducerEpoch: epoch, CoordinatorEpoch: coordinator, Timestamp: ts})
}

// lastOf returns what a log remembers of a producer.
func lastOf(l *Log, id cluster.ProducerID) producers.Entry {
	for _, e := range l.Producers() {
		if e.ProducerID == id {
			return e
		}
	}
	return producers.Entry{ProducerID: id, LastSequence: -1, LastOffset: -1, CoordinatorEpoch: -1, TxnFirstOffset: -1}
}

// produce appends one batch of the producer with the sequence number that is next in the log.
func produce(t fataler, l *Log, id cluster.ProducerID, txn bool, values ...string) AppendInfo {
	t.Helper()
	last := lastOf(l, id)
	b := numberedBatch(t, 1000+int64(l.LogEndOffset()), id, last.Epoch, record.AddSequence(max(last.LastSequence, -1), 1), txn, values...)
	if last.LastSequence < 0 {
		b = numberedBatch(t, 1000+int64(l.LogEndOffset()), id, last.Epoch, 0, txn, values...)
	}
	info, err := l.AppendAsLeader(b, max(l.LatestEpoch(), 0))
	must(t, err)
	return info
}

// end appends a marker for the producer.
func end(t fataler, l *Log, id cluster.ProducerID, typ record.MarkerType) cluster.Offset {
	t.Helper()
	info, err := l.AppendAsCoordinator(markerBatch(typ, 1000+int64(l.LogEndOffset()), id, lastOf(l, id).Epoch, 1), max(l.LatestEpoch(), 0))
	must(t, err)
	return info.LastOffset
}

// wholeLog applies all batches of a log, from its first segment on, to a state that knows of no snapshots.
func wholeLog(l *Log) (state *producers.State, index []producers.AbortedTxn, err error) {
	state = &producers.State{}
	for _, seg := range *l.segments.Load() {
		err := seg.eachProducerBatch(seg.base, math.MaxInt64, func(f *producers.Facts) error {
			if a := state.Apply(f); a.Aborted {
				index = append(index, a.Entry)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return state, index, nil
}

// checkProducers compares what a log knows of its producers with what its batches say.
func checkProducers(l *Log) error {
	state, index, err := wholeLog(l)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(state.Entries(), l.Producers()); diff != "" {
		return fmt.Errorf("producers (-batches +log):\n%s", diff)
	}
	leo := l.LogEndOffset()
	if got, want := l.LastStableOffset(leo), state.LastStable(leo, l.LogStartOffset()); got != want {
		return fmt.Errorf("last stable offset is %d, want %d", got, want)
	}
	var whole []producers.AbortedTxn
	for _, seg := range *l.segments.Load() {
		if whole, _, err = seg.txn.collect(whole, 0, math.MaxInt64); err != nil {
			return err
		}
	}
	if diff := cmp.Diff(index, whole); diff != "" {
		return fmt.Errorf("transaction index (-batches +log):\n%s", diff)
	}
	to := l.LastStableOffset(leo)
	for _, from := range []cluster.Offset{0, to / 3, to / 2, max(to-3, 0)} {
		got, err := l.AbortedTransactions(from, to)
		want := slices.DeleteFunc(slices.Clone(index), func(a producers.AbortedTxn) bool { return a.LastOffset < from || a.FirstOffset >= to })
		if diff := cmp.Diff(want, append([]producers.AbortedTxn{}, got...)); (diff != "" && len(want)+len(got) > 0) || err != nil {
			return fmt.Errorf("aborted in %d to %d: %v\n%s", from, to, err, diff)
		}
	}
	return checkSnapshots(l)
}

// checkProducersOf is checkProducers for a log that has lost its first segments: the producers of the batches that are left are known as
// those batches say.
func checkProducersOf(l *Log) error {
	state, _, err := wholeLog(l)
	if err != nil {
		return err
	}
	for _, want := range state.Entries() {
		got := lastOf(l, want.ProducerID)
		if want.LastOffset >= 0 && (got.LastOffset != want.LastOffset || got.LastSequence != want.LastSequence || got.Epoch != want.Epoch) {
			return fmt.Errorf("producer %+v, the batches say %+v", got, want)
		}
	}
	return nil
}

// checkSnapshots sees that every snapshot in the directory is the state at its offset, as far as snapshots go.
func checkSnapshots(l *Log) error {
	list, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	segments := *l.segments.Load()
	for _, at := range list {
		if at > l.LogEndOffset() {
			return fmt.Errorf("a snapshot of offset %d, the log ends at %d", at, l.LogEndOffset())
		}
		if at < segments[0].base {
			continue
		}
		got, err := l.readSnapshot(at)
		if err != nil {
			return err
		}
		if got == nil {
			continue // damaged, which only costs time
		}
		want, err := l.replay(&producers.State{}, segments, segments[0].base, at)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want.Entries(), got.Entries()); diff != "" {
			return fmt.Errorf("snapshot of offset %d (-batches +snapshot):\n%s", at, diff)
		}
	}
	return nil
}

func codeOf(err error) kerr.Code {
	if err == nil {
		return kerr.None
	}
	return kerr.CodeOf(err)
}

func TestDuplicatesAreAnsweredAndNotAppended(t *testing.T) {
	for _, typ := range []record.TimestampType{record.CreateTime, record.LogAppendTime} {
		t.Run(typ.String(), func(t *testing.T) {
			cfg := smallConfig()
			cfg.TimestampType = typ
			l, _ := newLog(t, cfg)
			appendValues(t, l, 0, 5, "not numbered")
			var first []AppendInfo
			batch := func(i int) record.Batch {
				return numberedBatch(t, int64(1000+i), 7, 0, int32(2*i), false, fmt.Sprint("a", i), strings.Repeat("b", 200))
			}
			for i := range 7 {
				info, err := l.AppendAsLeader(batch(i), 0)
				must(t, err)
				if info.Duplicate {
					t.Fatalf("batch %d is a duplicate", i)
				}
				first = append(first, info)
			}
			size, leo, signal := l.Size(), l.LogEndOffset(), l.AppendSignal()
			for i := range 7 {
				info, err := l.AppendAsLeader(batch(i), 3)
				if i < 2 {
					if kerr.CodeOf(err) != kerr.OutOfOrderSequenceNumber {
						t.Errorf("batch %d, too old to be remembered: %v", i, err)
					}
					continue
				}
				want := first[i]
				want.Duplicate = true
				if diff := cmp.Diff(want, info); diff != "" || err != nil {
					t.Errorf("batch %d again: %v (-want +got):\n%s", i, err, diff)
				}
			}
			select {
			case <-signal:
				t.Error("a duplicate woke the readers")
			default:
			}
			if l.Size() != size || l.LogEndOffset() != leo || l.LatestEpoch() != 0 {
				t.Errorf("the log has %d bytes to %d, had %d to %d; epochs %v", l.Size(), l.LogEndOffset(), size, leo, l.EpochEntries())
			}
			if typ == record.LogAppendTime {
				return // readAll compares record times
			}
			_, err := checkAll(l)
			must(t, err)
		})
	}
}

func TestADuplicateIsDurableWhenTheFirstOneMustBe(t *testing.T) {
	cfg := smallConfig()
	cfg.FlushMessages = 1
	sw := &vfs.Toggle{Inner: vfs.OnBase("*.log", vfs.OnOps(vfs.Fail(errors.New("input/output error")), vfs.OpSync))}
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), sw), cfg)
	b := numberedBatch(t, 1, 7, 0, 0, false, "x")
	again := slices.Clone(b)
	sw.Set(true)
	if _, err := l.AppendAsLeader(b, 0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("append without fsync: %v", err)
	}
	if info, err := l.AppendAsLeader(again, 0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("the duplicate of a batch that is perhaps not on disk: %+v, %v", info, err)
	}
}

func TestRefusedBatchesLeaveNoTrace(t *testing.T) {
	l, _ := newLog(t, smallConfig())
	produce(t, l, 7, true, "a", "b")
	marker := markerBatch(record.Abort, 1, 9, 3, 5)
	_, err := l.AppendAsCoordinator(marker, 0)
	must(t, err)
	leo, known := l.LogEndOffset(), l.Producers()
	for name, tt := range map[string]struct {
		err  error
		want kerr.Code
	}{
		"gap":                   {second(l.AppendAsLeader(numberedBatch(t, 1, 7, 0, 5, true, "x"), 0)), kerr.OutOfOrderSequenceNumber},
		"outside a transaction": {second(l.AppendAsLeader(numberedBatch(t, 1, 7, 0, 2, false, "x"), 0)), kerr.InvalidTxnState},
		"old epoch":             {second(l.AppendAsLeader(numberedBatch(t, 1, 9, 2, 0, false, "x"), 0)), kerr.InvalidProducerEpoch},
		"new epoch, not from 0": {second(l.AppendAsLeader(numberedBatch(t, 1, 9, 4, 1, false, "x"), 0)), kerr.OutOfOrderSequenceNumber},
		"old marker":            {second(l.AppendAsCoordinator(markerBatch(record.Abort, 1, 9, 2, 9), 0)), kerr.InvalidProducerEpoch},
		"old coordinator":       {second(l.AppendAsCoordinator(markerBatch(record.Abort, 1, 9, 3, 4), 0)), kerr.TransactionCoordinatorFenced},
		"marker from a client":  {second(l.AppendAsLeader(markerBatch(record.Abort, 1, 9, 3, 5), 0)), kerr.InvalidRecord},
		"no sequence":           {second(l.AppendAsLeader(numberedBatch(t, 1, 9, 3, -1, false, "x"), 0)), kerr.InvalidRecord},
	} {
		if codeOf(tt.err) != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
		}
	}
	if l.LogEndOffset() != leo {
		t.Errorf("the log ends at %d, want %d", l.LogEndOffset(), leo)
	}
	if diff := cmp.Diff(known, l.Producers()); diff != "" {
		t.Errorf("what is known of producers changed:\n%s", diff)
	}
	_, err = l.AppendAsCoordinator(numberedBatch(t, 1, 9, 3, -1, true, "an offset commit"), 0)
	must(t, err)
	_, err = checkAll(l)
	must(t, err)
}

func TestMarkersKeepTheirFormUnderOtherCompression(t *testing.T) {
	cfg := smallConfig()
	cfg.CompressionType = "gzip"
	l, _ := newLog(t, cfg)
	produce(t, l, 7, true, "a")
	end(t, l, 7, record.Abort)
	got, err := l.AbortedTransactions(0, 2)
	if want := []producers.AbortedTxn{{ProducerID: 7, FirstOffset: 0, LastOffset: 1, LastStableOffset: 2}}; !cmp.Equal(want, got) || err != nil {
		t.Errorf("aborted: %+v, %v", got, err)
	}
}

func TestFollowersKnowWhatTheirLeaderKnows(t *testing.T) {
	leader, _ := newLog(t, smallConfig())
	follower, _ := newLog(t, smallConfig())
	for i := range 12 {
		produce(t, leader, 7, false, "a")
		produce(t, leader, 8, true, "b", strings.Repeat("c", 60*(i%3)))
		if i%3 == 2 {
			end(t, leader, 8, record.MarkerType(i/3%2))
		}
		appendValues(t, leader, 0, 1, "d")
		var p pool
		f, err := leader.Read(follower.LogEndOffset(), 10_000, math.MaxInt64, true, &p)
		must(t, err)
		_, err = follower.AppendAsFollower(f.Data)
		must(t, err)
	}
	for follower.LogEndOffset() < leader.LogEndOffset() {
		var p pool
		f, err := leader.Read(follower.LogEndOffset(), 10_000, math.MaxInt64, true, &p)
		must(t, err)
		_, err = follower.AppendAsFollower(f.Data)
		must(t, err)
	}
	if diff := cmp.Diff(leader.Producers(), follower.Producers()); diff != "" {
		t.Errorf("producers (-leader +follower):\n%s", diff)
	}
	want, _ := leader.AbortedTransactions(0, leader.LogEndOffset())
	got, err := follower.AbortedTransactions(0, leader.LogEndOffset())
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(want) != 2 {
		t.Errorf("aborted, %d of them (-leader +follower): %v\n%s", len(want), err, diff)
	}
	if diff := cmp.Diff(leader.Segments(), follower.Segments()); diff != "" {
		t.Errorf("segments (-leader +follower):\n%s", diff)
	}
	must(t, checkProducers(leader))
	must(t, checkProducers(follower))
	// Fail-over: what the leader took is not taken again.
	last := lastOf(leader, 7)
	info, err := follower.AppendAsLeader(numberedBatch(t, 1, 7, 0, last.LastSequence, false, "a"), 1)
	if err != nil || !info.Duplicate || info.LastOffset != last.LastOffset {
		t.Errorf("retry at the new leader: %+v, %v", info, err)
	}
}

func TestLastStableOffsetOfALog(t *testing.T) {
	l, _ := newLog(t, smallConfig())
	stable := func(hw, want cluster.Offset) {
		t.Helper()
		if got := l.LastStableOffset(hw); got != want {
			t.Errorf("last stable offset at high watermark %d is %d, want %d", hw, got, want)
		}
	}
	appendValues(t, l, 0, 1, "a", "b")
	stable(0, 0)
	stable(2, 2)
	produce(t, l, 7, true, "c", "d") // 2, 3
	stable(2, 2)
	stable(4, 2)
	if first, ok := l.OpenTransaction(7, 0); first != 2 || !ok {
		t.Errorf("open transaction: %d, %t", first, ok)
	}
	produce(t, l, 8, false, "e") // 4
	stable(5, 2)
	end(t, l, 7, record.Commit) // 5
	stable(5, 2)
	must(t, l.Truncate(5)) // the marker was not replicated, and is lost
	stable(5, 2)
	end(t, l, 7, record.Abort)
	must(t, l.AdvanceLogStart(3))
	stable(5, 3)
	stable(6, 6)
	must(t, l.Roll())
	produce(t, l, 8, true, "f") // 6
	end(t, l, 8, record.Commit) // 7
	must(t, l.Roll())
	produce(t, l, 8, false, "g", "h") // 8, 9
	appendValues(t, l, 0, 1, "i")
	must(t, l.Truncate(10)) // from here on the snapshot is used, which does not know of the last transaction
	stable(7, 6)
	stable(8, 8)
	l.ExpireProducers(time.UnixMilli(math.MaxInt64))
	if l.ExpireProducers(time.UnixMilli(math.MaxInt64)); !l.producers.state.Empty() {
		t.Error("transactions that were replicated are remembered")
	}
	must(t, l.TruncateFullyAndStartAt(10))
	stable(10, 10)
	if n := len(l.Producers()); n != 0 {
		t.Errorf("%d producers are known of an empty log", n)
	}
}

func TestAbortedTransactionsAcrossSegments(t *testing.T) {
	l, mem := newLog(t, smallConfig())
	// Producer 1 keeps a transaction open over everything; others come and go.
	produce(t, l, 1, true, "long")
	for i := range 30 {
		id := cluster.ProducerID(2 + i%3)
		produce(t, l, id, true, strings.Repeat("x", 50), "y")
		if i%5 == 0 {
			appendValues(t, l, 0, 1, strings.Repeat("z", 100))
		}
		end(t, l, id, record.MarkerType(i%2))
	}
	end(t, l, 1, record.Abort)
	_, index, err := wholeLog(l)
	must(t, err)
	if len(l.Segments()) < 5 || len(index) != 16 {
		t.Fatalf("segments %v, %d aborted", l.Segments(), len(index))
	}
	leo := l.LogEndOffset()
	for from := range leo {
		for _, to := range []cluster.Offset{from, from + 1, from + 10, leo} {
			to = min(to, leo)
			got, err := l.AbortedTransactions(from, to)
			must(t, err)
			var want []producers.AbortedTxn
			for _, a := range index {
				if a.LastOffset >= from && a.FirstOffset < to {
					want = append(want, a)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("aborted in %d to %d (-want +got):\n%s", from, to, diff)
			}
		}
	}
	if _, err := mem.Stat(segmentPath(0, txnIndexSuffix)); err != nil {
		t.Errorf("the first segment has no transaction index: %v", err)
	}
}

func TestSearchForAbortedTransactionsStops(t *testing.T) {
	cfg := smallConfig()
	sw := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(errors.New("input/output error")), vfs.OpRead)}
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), vfs.OnBase("*6.txnindex", sw)), cfg)
	for l.LogEndOffset() < 6 {
		produce(t, l, 7, true, "x")
		end(t, l, 7, record.Abort)
	}
	must(t, l.Roll())
	produce(t, l, 7, true, "x")
	end(t, l, 7, record.Abort)
	sw.Set(true)
	if list, err := l.AbortedTransactions(2, 6); len(list) != 2 || err != nil {
		t.Errorf("aborted in 2 to 6: %v, %v", list, err)
	}
	if list, err := l.AbortedTransactions(2, 8); err == nil {
		t.Errorf("aborted in 2 to 8 without the last index: %v", list)
	}
}

func TestLookupsOfAbortedTransactionsBesideTruncations(t *testing.T) {
	l, _ := newLog(t, smallConfig())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				leo := l.LogEndOffset()
				got, err := l.AbortedTransactions(0, leo)
				if err != nil {
					t.Errorf("aborted in 0 to %d: %v", leo, err)
					return
				}
				for i, a := range got {
					if a.ProducerID != 7 || a.LastOffset != a.FirstOffset+1 || i > 0 && a.FirstOffset <= got[i-1].FirstOffset {
						t.Errorf("entry %d is %+v", i, a)
						return
					}
				}
				l.LastStableOffset(leo)
			}
		})
	}
	for range 40 {
		for range 10 {
			produce(t, l, 7, true, strings.Repeat("x", 100))
			end(t, l, 7, record.Abort)
		}
		must(t, l.Truncate(l.LogEndOffset()/4*2))
	}
	close(stop)
	wg.Wait()
	_, err := checkAll(l)
	must(t, err)
}

func TestProducersExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := managerConfig(mem, smallConfig())
		cfg.ProducerIDExpiration = time.Hour
		m, err := OpenManager(t.Context(), cfg)
		must(t, err)
		m.Start()
		l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, smallConfig())
		must(t, err)
		now := time.Now().UnixMilli()
		for id, txn := range map[cluster.ProducerID]bool{1: false, 2: true} {
			_, err = l.AppendAsLeader(numberedBatch(t, now, id, 0, 0, txn, "x"), 0)
			must(t, err)
		}
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		if wait(59 * time.Minute); len(l.Producers()) != 2 {
			t.Errorf("after 59 minutes: %+v", l.Producers())
		}
		if wait(12 * time.Minute); len(l.Producers()) != 1 || l.Producers()[0].ProducerID != 2 {
			t.Errorf("after 71 minutes: %+v", l.Producers())
		}
		_, err = l.AppendAsLeader(numberedBatch(t, now, 1, 0, 4711, false, "any sequence"), 0)
		must(t, err)
		_, err = l.AppendAsCoordinator(markerBatch(record.Commit, now, 2, 0, 1), 0)
		must(t, err)
		m.SetProducerIDExpiration(10 * time.Hour)
		if wait(time.Hour); len(l.Producers()) != 2 {
			t.Errorf("with a longer expiration: %+v", l.Producers())
		}
		closeManager(t, m)
		m, err = OpenManager(t.Context(), cfg)
		must(t, err)
		defer closeManager(t, m)
		if l, _ := m.Get(orders); len(l.Producers()) != 0 {
			t.Errorf("expired producers came back from the snapshot: %+v", l.Producers())
		}
	})
}

func TestNoProducerNoAllocation(t *testing.T) {
	l, _ := newLog(t, DefaultConfig())
	for name, batch := range map[string]record.Batch{
		"not numbered":  batchOf(t, 1, "x"),
		"of a producer": numberedBatch(t, 1, 7, 0, 0, false, "x"),
	} {
		seq := int32(0)
		n := testing.AllocsPerRun(200, func() {
			if batch.HasProducerID() {
				batch.SetProducer(7, 0, seq)
				seq++
			}
			batch.SetBaseOffset(0)
			if _, err := l.AppendAsLeader(batch, 0); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations per append", name, n)
		}
	}
}
