package producers

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

const day = 24 * 3600 * 1000

// log appends to a state as a leader would and hands out offsets.
type log struct {
	t    *testing.T
	s    State
	next cluster.Offset
}

func data(id cluster.ProducerID, epoch int16, first, n int32) Facts {
	last := noSequence
	if first >= 0 {
		last = record.AddSequence(first, n-1)
	}
	return Facts{ProducerID: id, Epoch: epoch, FirstSequence: first, LastSequence: last, LastOffset: cluster.Offset(n - 1)}
}

func txn(id cluster.ProducerID, epoch int16, first, n int32) Facts {
	f := data(id, epoch, first, n)
	f.Transactional = true
	return f
}

func marker(kind Kind, id cluster.ProducerID, epoch int16, coordinator int32) Facts {
	return Facts{ProducerID: id, Epoch: epoch, Kind: kind, Transactional: true, FirstSequence: -1, LastSequence: -1, CoordinatorEpoch: coordinator}
}

func (l *log) at(f Facts) Facts {
	n := f.LastOffset - f.FirstOffset
	f.FirstOffset, f.LastOffset = l.next, l.next+n
	if f.Timestamp == 0 {
		f.Timestamp = 1000 + int64(l.next)
	}
	return f
}

// add applies what the log has already decided to take.
func (l *log) add(f Facts) Applied {
	f = l.at(f)
	l.next = f.LastOffset + 1
	return l.s.Apply(&f)
}

// offer checks, and applies if there is no reason not to.
func (l *log) offer(f Facts, from Origin) (Duplicate, bool, kerr.Code) {
	l.t.Helper()
	f = l.at(f)
	dup, is, err := l.s.Check(&f, from)
	if err == nil && !is {
		l.next = f.LastOffset + 1
		if a := l.s.Apply(&f); a.Stale && from != Replication {
			l.t.Errorf("%+v was taken and is stale", f)
		}
	}
	if err == nil {
		return dup, is, kerr.None
	}
	return dup, is, kerr.CodeOf(err)
}

func TestSequenceRules(t *testing.T) {
	tests := []struct {
		name   string
		before []Facts
		batch  Facts
		from   Origin
		want   kerr.Code
		dup    *Duplicate
	}{
		{name: "an unknown producer begins with 0", batch: data(7, 0, 0, 3)},
		{name: "an unknown producer begins anywhere", batch: data(7, 3, 4711, 3)},
		{name: "no producer id, no rules", before: []Facts{data(7, 0, 0, 3)}, batch: data(-1, -1, -1, 3)},
		{name: "the next sequence", before: []Facts{data(7, 0, 0, 3)}, batch: data(7, 0, 3, 1)},
		{name: "a gap", before: []Facts{data(7, 0, 0, 3)}, batch: data(7, 0, 4, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "other producers do not matter", before: []Facts{data(7, 0, 0, 3), data(8, 5, 100, 9)}, batch: data(7, 0, 3, 1)},
		{name: "a duplicate of the last batch", before: []Facts{data(7, 0, 0, 3), data(7, 0, 3, 2)}, batch: data(7, 0, 3, 2), dup: &Duplicate{3, 4, 1003}},
		{name: "a duplicate of an earlier batch", before: []Facts{data(7, 0, 0, 3), data(7, 0, 3, 2)}, batch: data(7, 0, 0, 3), dup: &Duplicate{0, 2, 1000}},
		{name: "a duplicate of the fifth batch back", before: []Facts{data(7, 0, 0, 1), data(7, 0, 1, 1), data(7, 0, 2, 1), data(7, 0, 3, 1), data(7, 0, 4, 1)}, batch: data(7, 0, 0, 1), dup: &Duplicate{0, 0, 1000}},
		{name: "a duplicate of the sixth batch back", before: []Facts{data(7, 0, 0, 1), data(7, 0, 1, 1), data(7, 0, 2, 1), data(7, 0, 3, 1), data(7, 0, 4, 1), data(7, 0, 5, 1)}, batch: data(7, 0, 0, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "the begin of an earlier batch", before: []Facts{data(7, 0, 0, 3)}, batch: data(7, 0, 0, 2), want: kerr.OutOfOrderSequenceNumber},
		{name: "two earlier batches in one", before: []Facts{data(7, 0, 0, 3), data(7, 0, 3, 2)}, batch: data(7, 0, 0, 5), want: kerr.OutOfOrderSequenceNumber},
		{name: "an earlier batch of another epoch is no duplicate", before: []Facts{data(7, 0, 0, 3), data(7, 1, 0, 1)}, batch: data(7, 0, 0, 3), want: kerr.InvalidProducerEpoch},
		{name: "an older epoch", before: []Facts{data(7, 2, 0, 3)}, batch: data(7, 1, 3, 1), want: kerr.InvalidProducerEpoch},
		{name: "an older epoch from a coordinator", before: []Facts{data(7, 2, 0, 3)}, batch: data(7, 1, -1, 1), from: Coordinator, want: kerr.InvalidProducerEpoch},
		{name: "an older epoch in the log", before: []Facts{data(7, 2, 0, 3)}, batch: data(7, 1, 3, 1), from: Replication},
		{name: "a newer epoch begins with 0", before: []Facts{data(7, 2, 0, 3)}, batch: data(7, 3, 0, 1)},
		{name: "a newer epoch does not go on", before: []Facts{data(7, 2, 0, 3)}, batch: data(7, 3, 3, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "after the largest sequence comes 0", before: []Facts{data(7, 0, math.MaxInt32-1, 2)}, batch: data(7, 0, 0, 1)},
		{name: "after the largest sequence comes not the largest plus one", before: []Facts{data(7, 0, math.MaxInt32-1, 2)}, batch: data(7, 0, math.MinInt32, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "a batch across the largest sequence", before: []Facts{data(7, 0, math.MaxInt32-1, 3)}, batch: data(7, 0, 1, 1)},
		{name: "a duplicate across the largest sequence", before: []Facts{data(7, 0, math.MaxInt32-1, 5)}, batch: data(7, 0, math.MaxInt32-1, 5), dup: &Duplicate{0, 4, 1000}},
		{name: "a duplicate that ends at the largest sequence", before: []Facts{data(7, 0, math.MaxInt32-4, 5)}, batch: data(7, 0, math.MaxInt32-4, 5), dup: &Duplicate{0, 4, 1000}},
		{name: "a duplicate in replication is in the log", before: []Facts{data(7, 0, 0, 3)}, batch: data(7, 0, 0, 3), from: Replication},
		{name: "a gap in replication is in the log", before: []Facts{data(7, 0, 0, 3)}, batch: data(7, 0, 9, 3), from: Replication},
		{name: "a coordinator has no sequences", before: []Facts{data(7, 0, -1, 1)}, batch: data(7, 0, -1, 1), from: Coordinator},
		{name: "after a marker of the same epoch it goes on", before: []Facts{txn(7, 0, 0, 3), marker(CommitMarker, 7, 0, 1)}, batch: data(7, 0, 3, 1)},
		{name: "after a marker of the same epoch it does not begin again", before: []Facts{txn(7, 0, 0, 3), marker(CommitMarker, 7, 0, 1)}, batch: data(7, 0, 0, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "a marker of the same epoch forgets no batch", before: []Facts{txn(7, 0, 0, 3), marker(CommitMarker, 7, 0, 1)}, batch: txn(7, 0, 0, 3), dup: &Duplicate{0, 2, 1000}},
		{name: "a marker of a higher epoch fences", before: []Facts{txn(7, 0, 0, 3), marker(AbortMarker, 7, 1, 1)}, batch: txn(7, 0, 3, 1), want: kerr.InvalidProducerEpoch},
		{name: "a marker of a higher epoch begins anew", before: []Facts{txn(7, 0, 0, 3), marker(AbortMarker, 7, 1, 1)}, batch: txn(7, 1, 0, 1)},
		{name: "a marker of a higher epoch forgets the sequence", before: []Facts{txn(7, 0, 0, 3), marker(AbortMarker, 7, 1, 1)}, batch: txn(7, 1, 3, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "after nothing but a marker it begins with 0", before: []Facts{marker(AbortMarker, 7, 1, 1)}, batch: txn(7, 1, 5, 1), want: kerr.OutOfOrderSequenceNumber},
		{name: "a marker of an older epoch", before: []Facts{txn(7, 2, 0, 3)}, batch: marker(AbortMarker, 7, 1, 9), from: Coordinator, want: kerr.InvalidProducerEpoch},
		{name: "a marker of an older coordinator", before: []Facts{marker(AbortMarker, 7, 1, 9)}, batch: marker(AbortMarker, 7, 1, 8), from: Coordinator, want: kerr.TransactionCoordinatorFenced},
		{name: "a marker of an older coordinator in the log", before: []Facts{marker(AbortMarker, 7, 1, 9)}, batch: marker(AbortMarker, 7, 1, 8), from: Replication},
		{name: "the older epoch goes before the older coordinator", before: []Facts{marker(AbortMarker, 7, 1, 9)}, batch: marker(AbortMarker, 7, 0, 8), from: Coordinator, want: kerr.InvalidProducerEpoch},
		{name: "a marker of the same coordinator, again", before: []Facts{txn(7, 0, 0, 1), marker(CommitMarker, 7, 0, 9)}, batch: marker(CommitMarker, 7, 0, 9), from: Coordinator},
		{name: "coordinator epochs are each producer's own", before: []Facts{marker(AbortMarker, 8, 1, 9)}, batch: marker(AbortMarker, 7, 1, 8), from: Coordinator},
		{name: "data outside the open transaction", before: []Facts{txn(7, 0, 0, 3)}, batch: data(7, 0, 3, 1), want: kerr.InvalidTxnState},
		{name: "data outside the open transaction in the log", before: []Facts{txn(7, 0, 0, 3)}, batch: data(7, 0, 3, 1), from: Replication},
		{name: "a transaction goes on under a new epoch", before: []Facts{txn(7, 0, 0, 3)}, batch: txn(7, 1, 0, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &log{t: t}
			for _, f := range tt.before {
				l.add(f)
			}
			end, before := l.next, l.s.Entries()
			dup, is, code := l.offer(tt.batch, tt.from)
			if code != tt.want {
				t.Fatalf("code is %v, want %v", code, tt.want)
			}
			if is != (tt.dup != nil) {
				t.Fatalf("duplicate %t (%+v), want %+v", is, dup, tt.dup)
			}
			if is && dup != *tt.dup {
				t.Errorf("duplicate of %+v, want %+v", dup, *tt.dup)
			}
			if taken := code == kerr.None && !is; !taken {
				if diff := cmp.Diff(before, l.s.Entries()); diff != "" || l.next != end {
					t.Errorf("a batch that was not taken changed the state:\n%s", diff)
				}
			}
		})
	}
}

func TestErrorsNameTheNumbersThatDisagree(t *testing.T) {
	l := &log{t: t}
	l.add(data(7, 2, 0, 3))
	f := l.at(data(7, 2, 9, 1))
	_, _, err := l.s.Check(&f, Client)
	var e *kerr.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T", err)
	}
	if want := "producer id 7 at offset 3 has the sequence number 9, the last seen is 2"; e.Message != want {
		t.Errorf("message is %q, want %q", e.Message, want)
	}
}

func TestEmptyAndUnknownControlBatchesChangeNothing(t *testing.T) {
	l := &log{t: t}
	l.add(txn(7, 0, 0, 3))
	before := l.s.Entries()
	l.add(Facts{ProducerID: 7, Epoch: 9, Kind: Opaque, Transactional: true})
	l.add(Facts{ProducerID: 7, Epoch: -1, Kind: Data, Transactional: true})
	if diff := cmp.Diff(before, l.s.Entries()); diff != "" {
		t.Errorf("the state changed:\n%s", diff)
	}
}

func TestStaleBatchesAreReportedAndCount(t *testing.T) {
	l := &log{t: t}
	if l.add(data(7, 2, 0, 3)).Stale {
		t.Error("the first batch is stale")
	}
	if !l.add(data(7, 1, 0, 3)).Stale {
		t.Error("an older producer epoch is not stale")
	}
	l.add(marker(CommitMarker, 7, 1, 5))
	if !l.add(marker(CommitMarker, 7, 1, 4)).Stale {
		t.Error("an older coordinator epoch is not stale")
	}
	want := []Entry{{ProducerID: 7, Epoch: 1, LastSequence: 2, LastOffset: 5, OffsetDelta: 2, Timestamp: 1007, CoordinatorEpoch: 4, TxnFirstOffset: -1}}
	if diff := cmp.Diff(want, l.s.Entries()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestLastStableOffset(t *testing.T) {
	l := &log{t: t}
	stable := func(hw, start, want cluster.Offset) {
		t.Helper()
		if got := l.s.LastStable(hw, start); got != want {
			t.Errorf("last stable offset at high watermark %d, log start %d is %d, want %d", hw, start, got, want)
		}
	}
	l.add(data(1, 0, 0, 10)) // 0..9
	stable(10, 0, 10)
	stable(4, 0, 4)
	l.add(txn(2, 0, 0, 5)) // 10..14
	l.add(txn(3, 0, 0, 5)) // 15..19
	stable(20, 0, 10)
	stable(10, 0, 10)
	stable(7, 0, 7)
	stable(20, 12, 12)                   // the transaction's first records were deleted
	stable(8, 12, 8)                     // a follower that has not caught up with the deletion
	l.add(marker(CommitMarker, 3, 0, 1)) // 20
	stable(21, 0, 10)
	l.add(marker(CommitMarker, 2, 0, 1)) // 21
	stable(22, 0, 22)
	stable(21, 0, 10) // 2's marker is not replicated
	stable(20, 0, 10)
	l.s.Replicated(21)
	stable(22, 0, 22)
	stable(21, 0, 10)
	l.add(txn(2, 0, 5, 1))              // 22
	l.add(marker(AbortMarker, 2, 0, 1)) // 23
	stable(23, 0, 22)
	stable(24, 0, 24)
	l.s.Replicated(24)
	if !cmp.Equal(len(l.s.done), 0) {
		t.Errorf("%d completed transactions are remembered after their replication", len(l.s.done))
	}
}

func TestWhatHasBeenReplicatedIsForgotten(t *testing.T) {
	l := &log{t: t}
	hung := txn(99, 0, 0, 1)
	l.add(hung)
	for i := range int32(1000) {
		l.add(txn(1, 0, i, 1))
		l.add(marker(CommitMarker, 1, 0, 1))
		l.s.Replicated(l.next)
		if n := len(l.s.done) + len(l.s.open); n != 1 {
			t.Fatalf("after %d transactions %d are remembered", i+1, n)
		}
	}
	if got := l.s.LastStable(l.next, 0); got != 0 {
		t.Errorf("last stable offset is %d in spite of the open transaction", got)
	}
}

func TestAbortedTransactionsGoIntoTheIndex(t *testing.T) {
	l := &log{t: t}
	l.add(txn(1, 0, 0, 5)) // 0..4
	l.add(txn(2, 0, 0, 5)) // 5..9
	if a := l.add(marker(AbortMarker, 3, 0, 1)); a.Aborted {
		t.Errorf("a transaction without data was entered: %+v", a)
	}
	a := l.add(marker(AbortMarker, 2, 1, 1)) // 11
	if want := (AbortedTxn{ProducerID: 2, FirstOffset: 5, LastOffset: 11, LastStableOffset: 0}); !a.Aborted || a.Entry != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	if a := l.add(marker(AbortMarker, 2, 1, 1)); a.Aborted { // the coordinator repeats itself
		t.Errorf("a transaction was aborted twice: %+v", a)
	}
	l.add(txn(4, 0, 0, 1)) // 13
	a = l.add(marker(AbortMarker, 1, 0, 1))
	if want := (AbortedTxn{ProducerID: 1, FirstOffset: 0, LastOffset: 14, LastStableOffset: 13}); !a.Aborted || a.Entry != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	if a := l.add(marker(CommitMarker, 4, 0, 1)); a.Aborted {
		t.Errorf("a committed transaction was entered: %+v", a)
	}
	l.add(txn(4, 0, 1, 1)) // 16
	a = l.add(marker(AbortMarker, 4, 0, 1))
	if want := (AbortedTxn{ProducerID: 4, FirstOffset: 16, LastOffset: 17, LastStableOffset: 18}); a.Entry != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
}

func TestOpenTransaction(t *testing.T) {
	l := &log{t: t}
	l.add(data(1, 0, 0, 5))
	l.add(txn(2, 3, 0, 5))
	for _, tt := range []struct {
		id    cluster.ProducerID
		epoch int16
		want  cluster.Offset
	}{{1, 0, -1}, {2, 3, 5}, {2, 4, -1}, {2, 2, -1}, {9, 0, -1}} {
		if got, ok := l.s.OpenTransaction(tt.id, tt.epoch); got != tt.want || ok != (tt.want >= 0) {
			t.Errorf("open transaction of %d/%d is %d (%t), want %d", tt.id, tt.epoch, got, ok, tt.want)
		}
	}
}

// A producer of old records, a mirror or a backfill, keeps its sequence numbers while it writes.
func TestAProducerThatWritesIsNotForgottenHoweverOldItsRecordsAre(t *testing.T) {
	l := &log{t: t}
	old := func(f Facts) Facts { f.Timestamp = 5; return f }
	l.add(old(data(1, 0, 0, 1)))
	for i := range int32(3) {
		if n := l.s.ExpireSilent(5+10*day, day); n != 0 {
			t.Fatalf("forgotten after %d batches", i+1)
		}
		l.add(old(data(1, 0, i+1, 1)))
	}
	l.s.ExpireSilent(5+10*day, day)
	if n := l.s.ExpireSilent(5+day-1, day); n != 0 {
		t.Error("forgotten before its time")
	}
	if n := l.s.ExpireSilent(5+10*day, day); n != 1 || l.s.Len() != 0 {
		t.Error("a silent one is remembered")
	}
}

func TestExpiry(t *testing.T) {
	l := &log{t: t}
	old := func(f Facts, ts int64) Facts { f.Timestamp = ts; return f }
	l.add(old(data(1, 0, 0, 1), 1000))
	l.add(old(data(2, 0, 0, 1), 1001))
	l.add(old(txn(3, 0, 0, 1), 10))
	l.add(old(data(4, 0, 0, 1), 10))
	l.add(old(marker(AbortMarker, 4, 0, 1), 2000)) // KAFKA-9144: a marker counts as use
	l.add(old(data(5, 0, 0, 1), math.MinInt64))
	if n := l.s.Expire(1000+day-1, day); n != 1 {
		t.Errorf("%d expired, want only the one without time", n)
	}
	if n := l.s.Expire(1000+day, day); n != 1 {
		t.Errorf("%d expired, want 1", n)
	}
	if n := l.s.Expire(math.MaxInt64, day); n != 2 || l.s.Len() != 1 {
		t.Errorf("%d expired and %d are left, want all but the one with an open transaction", n, l.s.Len())
	}
	if _, _, code := l.offer(data(1, 0, 4711, 1), Client); code != kerr.None {
		t.Errorf("an expired producer got %v", code)
	}
	l.add(old(marker(AbortMarker, 3, 0, 1), 10))
	if l.s.Expire(1000+2*day, day); l.s.Len() != 0 {
		t.Errorf("%d are left after the transaction's end", l.s.Len())
	}
	if l.s.Empty() {
		t.Error("the state is empty although a marker may not be replicated")
	}
	l.s.Replicated(l.next)
	if !l.s.Empty() {
		t.Error("the state is not empty")
	}
}

func TestTruncationKeepsWhatIsCompletedBelowIt(t *testing.T) {
	var all []Facts
	l := &log{t: t}
	add := func(f Facts) {
		all = append(all, l.at(f))
		l.add(f)
	}
	add(txn(1, 0, 0, 10))              // 0..9
	add(marker(CommitMarker, 1, 0, 1)) // 10
	add(txn(2, 0, 0, 9))               // 11..19
	snapshot, snapEnd := l.s.Entries(), l.next
	add(marker(CommitMarker, 2, 0, 1)) // 20
	add(txn(1, 0, 10, 5))              // 21..25
	add(marker(CommitMarker, 1, 0, 1)) // 26

	s, err := Restore(snapshot, snapEnd, 0, day)
	if err != nil {
		t.Fatal(err)
	}
	const end = 26
	for _, f := range all {
		if f.FirstOffset >= snapEnd && f.LastOffset < end {
			s.Apply(&f)
		}
	}
	if got := s.LastStable(8, 0); got != 8 {
		t.Errorf("before: last stable offset is %d", got)
	}
	if got := s.LastStable(10, 0); got != 10 {
		t.Errorf("the snapshot is expected to lack the first transaction: last stable offset is %d", got)
	}
	s.Inherit(&l.s, end)
	for hw, want := range map[cluster.Offset]cluster.Offset{5: 0, 10: 0, 11: 11, 20: 11, 21: 21, 26: 21} {
		if got := s.LastStable(hw, 0); got != want {
			t.Errorf("at high watermark %d the last stable offset is %d, want %d", hw, got, want)
		}
	}
}

func TestNothingIsAllocatedForAProducerThatGoesOn(t *testing.T) {
	l := &log{t: t}
	seq := int32(0)
	step := func() {
		f := l.at(data(7, 0, seq, 3))
		if _, _, err := l.s.Check(&f, Client); err != nil {
			t.Fatal(err)
		}
		l.s.Apply(&f)
		seq += 3
		l.next = f.LastOffset + 1
	}
	for range BatchesKept {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

func TestFactsOf(t *testing.T) {
	b := record.NewBuilder(nil, math.MaxInt32)
	for i := range int64(3) {
		b.Append(100-i, nil, []byte("v"), nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, 7, 2, math.MaxInt32, true)
	if err != nil {
		t.Fatal(err)
	}
	batch.SetBaseOffset(40)
	got, err := FactsOf(batch[:record.HeaderSize])
	want := Facts{ProducerID: 7, Epoch: 2, Kind: Data, Transactional: true, FirstSequence: math.MaxInt32, LastSequence: 1, FirstOffset: 40, LastOffset: 42, Timestamp: 100}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("data: %v\n%s", err, diff)
	}
	for kind, typ := range map[Kind]record.MarkerType{CommitMarker: record.Commit, AbortMarker: record.Abort, Opaque: 7} {
		m := record.ControlBatch(record.Marker{Type: typ, ProducerID: 7, ProducerEpoch: 2, CoordinatorEpoch: 9, Timestamp: 55})
		m.SetBaseOffset(43)
		got, err := FactsOf(m)
		want := Facts{ProducerID: 7, Epoch: 2, Kind: kind, Transactional: true, FirstSequence: -1, LastSequence: -1, FirstOffset: 43, LastOffset: 43, Timestamp: 55, CoordinatorEpoch: 9}
		if kind == Opaque {
			want.CoordinatorEpoch = 0
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", typ, err, diff)
		}
	}
	broken := record.ControlBatch(record.Marker{Type: record.Abort, ProducerID: 7})
	for i := record.HeaderSize; i < len(broken); i++ {
		broken[i] = 0xff
	}
	if got, err := FactsOf(broken); err == nil || got.Kind != Opaque {
		t.Errorf("a broken marker is %+v, %v", got, err)
	}
}
