package producers

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// model answers every question by going over the whole log again. It is checked against State, which never looks back.
type model struct {
	s     *State
	log   []Facts
	end   cluster.Offset
	index []AbortedTxn
	now   int64
	hw    cluster.Offset

	forgotten map[cluster.ProducerID]int // by producer: what is before this place of the log has expired
	restored  int                        // of what is before this place, only the last batch of a producer is remembered
	undone    int                        // markers before this place are not remembered
	snapshots []modelSnapshot
}

type modelSnapshot struct {
	bytes     []byte
	at        int
	end       cluster.Offset
	forgotten map[cluster.ProducerID]int
}

// look derives what is to be remembered of a producer from the log up to a place.
func (m *model) look(id cluster.ProducerID, upTo int) *producer {
	var p *producer
	for i := m.forgotten[id]; i < upTo; i++ {
		if i == m.restored {
			p.reload()
		}
		f := m.log[i]
		if f.ProducerID != id || f.irrelevant() {
			continue
		}
		if p == nil {
			p = &producer{epoch: f.Epoch, coordinatorEpoch: -1, txnFirst: -1}
		}
		if p.epoch != f.Epoch {
			p.epoch, p.batches = f.Epoch, nil
		}
		p.timestamp = f.Timestamp
		if f.Kind != Data {
			p.coordinatorEpoch, p.txnFirst = f.CoordinatorEpoch, -1
			continue
		}
		p.batches = append(p.batches, batch{f.LastSequence, int32(f.LastOffset - f.FirstOffset), f.LastOffset, f.Timestamp})
		if f.Transactional && p.txnFirst < 0 {
			p.txnFirst = f.FirstOffset
		}
	}
	if upTo == m.restored {
		p.reload()
	}
	if p != nil && len(p.batches) > BatchesKept {
		p.batches = p.batches[len(p.batches)-BatchesKept:]
	}
	return p
}

// reload leaves what a snapshot holds.
func (p *producer) reload() {
	if p != nil && len(p.batches) > 0 {
		p.batches = p.batches[len(p.batches)-1:]
		p.batches[0].timestamp = p.timestamp
	}
}

// outcome is the table of F§4.12, read top to bottom.
func (m *model) outcome(f *Facts, from Origin) (Duplicate, bool, kerr.Code) {
	p := m.look(f.ProducerID, len(m.log))
	if p == nil || from == Replication {
		return Duplicate{}, false, kerr.None
	}
	if f.Kind == Data && from == Client && f.Epoch == p.epoch {
		for _, b := range p.batches {
			first := (int64(b.lastSequence) - int64(b.delta) + 1<<31) % (1 << 31)
			if int64(f.FirstSequence) == first && f.LastSequence == b.lastSequence {
				return Duplicate{b.lastOffset - cluster.Offset(b.delta), b.lastOffset, b.timestamp}, true, kerr.None
			}
		}
	}
	want := int32(0)
	if n := len(p.batches); n > 0 && f.Epoch == p.epoch {
		want = int32((int64(p.batches[n-1].lastSequence) + 1) % (1 << 31))
	}
	switch {
	case f.Epoch < p.epoch:
		return Duplicate{}, false, kerr.InvalidProducerEpoch
	case f.Kind != Data && f.CoordinatorEpoch < p.coordinatorEpoch:
		return Duplicate{}, false, kerr.TransactionCoordinatorFenced
	case f.Kind == Data && from == Client && f.FirstSequence != want:
		return Duplicate{}, false, kerr.OutOfOrderSequenceNumber
	case f.Kind == Data && !f.Transactional && p.txnFirst >= 0:
		return Duplicate{}, false, kerr.InvalidTxnState
	}
	return Duplicate{}, false, kerr.None
}

// transactions lists all transactions of the log up to a place; marker is -1 for those that are open.
func (m *model) transactions(upTo int) (list []doneTxn, ids []cluster.ProducerID, at []int) {
	open := map[cluster.ProducerID]int{}
	for i, f := range m.log[:upTo] {
		if f.irrelevant() {
			continue
		}
		j, isOpen := open[f.ProducerID]
		switch {
		case f.Kind == Data && f.Transactional && !isOpen:
			open[f.ProducerID] = len(list)
			list, ids, at = append(list, doneTxn{f.FirstOffset, -1}), append(ids, f.ProducerID), append(at, -1)
		case f.Kind != Data && isOpen:
			list[j].marker, at[j] = f.LastOffset, i
			delete(open, f.ProducerID)
		}
	}
	return list, ids, at
}

func (m *model) stable(hw, start cluster.Offset) cluster.Offset {
	lso := cluster.Offset(math.MaxInt64)
	list, _, at := m.transactions(len(m.log))
	for i, t := range list {
		if t.marker < 0 || t.marker >= hw && at[i] >= m.undone {
			lso = min(lso, t.first)
		}
	}
	return min(max(lso, start), hw)
}

// aborted builds the transaction index from nothing but the log.
func (m *model) aborted() []AbortedTxn {
	var index []AbortedTxn
	list, ids, at := m.transactions(len(m.log))
	for i, t := range list {
		if t.marker < 0 || m.log[at[i]].Kind != AbortMarker {
			continue
		}
		entry := AbortedTxn{ids[i], t.first, t.marker, t.marker + 1}
		for j, other := range list {
			if j != i && other.first < t.marker && (other.marker < 0 || other.marker > t.marker) {
				entry.LastStableOffset = min(entry.LastStableOffset, other.first)
			}
		}
		index = append(index, entry)
	}
	slices.SortFunc(index, func(a, b AbortedTxn) int { return int(a.LastOffset - b.LastOffset) })
	return index
}

func (m *model) apply(f Facts) {
	if a := m.s.Apply(&f); a.Aborted {
		m.index = append(m.index, a.Entry)
	}
	m.log = append(m.log, f)
	m.end = f.LastOffset + 1
}

func (m *model) draw(t *rapid.T) Facts {
	id := cluster.ProducerID(rapid.Int64Range(0, 3).Draw(t, "id"))
	p := m.look(id, len(m.log))
	m.now += rapid.Int64Range(0, 20).Draw(t, "ms")
	if p == nil {
		p = &producer{epoch: int16(rapid.IntRange(0, 3).Draw(t, "first epoch")), coordinatorEpoch: -1, txnFirst: -1}
		if rapid.Bool().Draw(t, "near the end of numbers") {
			p.batches = []batch{{lastSequence: math.MaxInt32 - 4}}
		}
	}
	f := Facts{ProducerID: id, Epoch: p.epoch, Timestamp: m.now, FirstSequence: -1, LastSequence: -1, FirstOffset: m.end + cluster.Offset(rapid.IntRange(0, 1).Draw(t, "hole"))}
	f.LastOffset = f.FirstOffset
	switch rapid.IntRange(0, 9).Draw(t, "epoch") {
	case 0:
		f.Epoch++
	case 1:
		f.Epoch = max(f.Epoch-1, 0)
	}
	if rapid.IntRange(0, 3).Draw(t, "marker") == 0 {
		f.Kind = rapid.SampledFrom([]Kind{CommitMarker, AbortMarker, AbortMarker, Opaque}).Draw(t, "kind")
		f.CoordinatorEpoch = max(p.coordinatorEpoch+int32(rapid.IntRange(-1, 1).Draw(t, "coordinator")), 0)
		return f
	}
	f.Transactional = p.txnFirst >= 0
	if rapid.IntRange(0, 3).Draw(t, "transactional") == 0 {
		f.Transactional = !f.Transactional
	}
	n := int32(rapid.IntRange(1, 3).Draw(t, "records"))
	if len(p.batches) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
		b := rapid.SampledFrom(p.batches).Draw(t, "earlier batch")
		n, f.FirstSequence = b.delta+1, b.firstSequence()
	} else if f.FirstSequence = record.AddSequence(max(p.lastSequence(), 0), 1); p.lastSequence() < 0 || f.Epoch != p.epoch {
		f.FirstSequence = 0
	}
	if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
		f.FirstSequence = record.AddSequence(f.FirstSequence, 1)
	}
	f.LastOffset += cluster.Offset(n - 1)
	f.LastSequence = record.AddSequence(f.FirstSequence, n-1)
	return f
}

func (m *model) append(t *rapid.T) {
	f := m.draw(t)
	from := rapid.SampledFrom([]Origin{Client, Client, Client, Client, Coordinator, Replication}).Draw(t, "origin")
	if f.Kind != Data && from == Client {
		from = Coordinator
	}
	wantDup, wantIs, want := m.outcome(&f, from)
	if f.Kind == Opaque {
		wantDup, wantIs, want = Duplicate{}, false, kerr.None
	}
	dup, is, err := m.s.Check(&f, from)
	code := kerr.None
	if err != nil {
		code = kerr.CodeOf(err)
	}
	if dup != wantDup || is != wantIs || code != want {
		t.Fatalf("%v %+v: got %+v %t %v, want %+v %t %v", from, f, dup, is, code, wantDup, wantIs, want)
	}
	if code == kerr.None && !is {
		m.apply(f)
	}
}

func (m *model) replicate(t *rapid.T) {
	m.hw = cluster.Offset(rapid.Int64Range(int64(m.hw), int64(m.end)).Draw(t, "high watermark"))
	if rapid.Bool().Draw(t, "tell") {
		m.s.Replicated(m.hw)
	}
}

func (m *model) expire(t *rapid.T) {
	ms := rapid.Int64Range(1, 200).Draw(t, "expiration")
	for id := range cluster.ProducerID(4) {
		if p := m.look(id, len(m.log)); p != nil && p.txnFirst < 0 && m.now-p.timestamp >= ms {
			m.forgotten[id] = len(m.log)
		}
	}
	m.s.Expire(m.now, ms)
}

func (m *model) snapshot(*rapid.T) {
	m.snapshots = append(m.snapshots, modelSnapshot{EncodeSnapshot(m.s.Entries()), len(m.log), m.end, maps.Clone(m.forgotten)})
}

// truncate cuts the log anywhere, as a follower does, or nowhere, as a restart does, and builds the state anew.
func (m *model) truncate(t *rapid.T) {
	keep := len(m.log)
	restart := rapid.Bool().Draw(t, "restart")
	if !restart {
		keep = rapid.IntRange(0, len(m.log)).Draw(t, "keep")
	}
	m.log = m.log[:keep]
	m.end = 0
	if keep > 0 {
		m.end = m.log[keep-1].LastOffset + 1
	}
	m.hw = min(m.hw, m.end)
	m.index = slices.DeleteFunc(m.index, func(a AbortedTxn) bool { return a.LastOffset >= m.end })
	m.snapshots = slices.DeleteFunc(m.snapshots, func(s modelSnapshot) bool { return s.at > keep })

	old, ms := m.s, rapid.Int64Range(1, 2000).Draw(t, "expiration")
	m.s, m.restored, m.forgotten = &State{}, 0, map[cluster.ProducerID]int{}
	if n := len(m.snapshots); n > 0 {
		snap := m.snapshots[n-1]
		entries, err := DecodeSnapshot(snap.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if m.s, err = Restore(entries, snap.end, m.now, ms); err != nil {
			t.Fatal(err)
		}
		m.restored, m.forgotten = snap.at, maps.Clone(snap.forgotten)
		for id := range cluster.ProducerID(4) {
			if p := m.look(id, snap.at); p != nil && p.txnFirst < 0 && m.now-p.timestamp >= ms {
				m.forgotten[id] = snap.at
			}
		}
	}
	m.index = slices.DeleteFunc(m.index, func(a AbortedTxn) bool {
		return m.restored < len(m.log) && a.LastOffset >= m.log[m.restored].FirstOffset
	})
	for _, f := range m.log[m.restored:] {
		if a := m.s.Apply(&f); a.Aborted {
			m.index = append(m.index, a.Entry)
		}
	}
	if restart {
		m.undone = m.restored
	} else {
		m.undone = min(m.undone, m.restored) // what is replayed is remembered again
		m.s.Inherit(old, m.end)
	}
}

func (m *model) check(t *rapid.T) {
	var want []Entry
	for id := range cluster.ProducerID(4) {
		p := m.look(id, len(m.log))
		if p == nil {
			continue
		}
		e := Entry{ProducerID: id, Epoch: p.epoch, LastSequence: -1, LastOffset: -1, Timestamp: p.timestamp, CoordinatorEpoch: p.coordinatorEpoch, TxnFirstOffset: p.txnFirst}
		if n := len(p.batches); n > 0 {
			e.LastSequence, e.LastOffset, e.OffsetDelta = p.batches[n-1].lastSequence, p.batches[n-1].lastOffset, p.batches[n-1].delta
		}
		want = append(want, e)
		if first, ok := m.s.OpenTransaction(id, p.epoch); first != p.txnFirst || ok != (first >= 0) {
			t.Fatalf("producer %d has a transaction open since %d, want %d", id, first, p.txnFirst)
		}
	}
	got := m.s.Entries()
	if len(got) == 0 {
		got = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
	for hw := m.hw; hw <= m.end; hw++ {
		start := rapid.Int64Range(0, int64(m.end)).Draw(t, "log start")
		if got, want := m.s.LastStable(hw, cluster.Offset(start)), m.stable(hw, cluster.Offset(start)); got != want {
			t.Fatalf("last stable offset at high watermark %d, log start %d is %d, want %d", hw, start, got, want)
		}
		if hw-m.hw > 5 {
			break
		}
	}
	all := m.aborted()
	if diff := cmp.Diff(all, slices.Clone(m.index)); diff != "" && len(all)+len(m.index) > 0 {
		t.Fatalf("transaction index (-want +got):\n%s", diff)
	}
	m.checkSearch(t, all)
}

// checkSearch compares a search that stops early with one that does not, for consumers that read up to the last stable offset.
func (m *model) checkSearch(t *rapid.T, all []AbortedTxn) {
	to := cluster.Offset(rapid.Int64Range(0, int64(m.stable(m.end, 0))).Draw(t, "to"))
	from := cluster.Offset(rapid.Int64Range(0, int64(to)).Draw(t, "from"))
	var want, got []AbortedTxn
	for _, a := range all {
		if a.LastOffset >= from && a.FirstOffset < to {
			want = append(want, a)
		}
	}
	for _, a := range m.index {
		if a.Overlaps(from, to) {
			got = append(got, a)
		}
		if a.EndsSearch(to) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("aborted in %d to %d (-want +got):\n%s", from, to, diff)
	}
}

func TestStateIsWhatTheWholeLogSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{s: &State{}, forgotten: map[cluster.ProducerID]int{}, now: 1000}
		t.Repeat(map[string]func(*rapid.T){
			"append":    m.append,
			"append 2":  m.append,
			"append 3":  m.append,
			"append 4":  m.append,
			"replicate": m.replicate,
			"expire":    m.expire,
			"snapshot":  m.snapshot,
			"truncate":  m.truncate,
			"":          m.check,
		})
	})
}

func BenchmarkCheckAndApply(b *testing.B) {
	var s State
	for id := range cluster.ProducerID(10_000) {
		f := data(id, 0, 0, 1)
		s.Apply(&f)
	}
	f := data(0, 0, 0, 10)
	seq := int32(1)
	b.ReportAllocs()
	for b.Loop() {
		f.ProducerID = cluster.ProducerID(5000)
		f.FirstSequence, f.LastSequence = seq, record.AddSequence(seq, 9)
		if _, _, err := s.Check(&f, Client); err != nil {
			b.Fatal(err)
		}
		s.Apply(&f)
		seq = record.AddSequence(seq, 10)
	}
}

func BenchmarkTransactions(b *testing.B) {
	var s State
	for id := range cluster.ProducerID(10_000) { // all of them open
		f := txn(id, 0, 0, 1)
		f.FirstOffset, f.LastOffset = cluster.Offset(id), cluster.Offset(id)
		s.Apply(&f)
	}
	next := cluster.Offset(10_000)
	b.ReportAllocs()
	for b.Loop() {
		id := cluster.ProducerID(5000)
		end := marker(CommitMarker, id, 0, 0)
		end.FirstOffset, end.LastOffset = next, next
		s.Apply(&end)
		begin := txn(id, 0, 0, 1)
		begin.FirstOffset, begin.LastOffset = next+1, next+1
		s.Apply(&begin)
		next += 2
		s.Replicated(next)
		_ = s.LastStable(next, 0)
	}
}
