package producers

import (
	"cmp"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// openTxn is a transaction that has data in the partition and no marker.
type openTxn struct {
	first cluster.Offset
	id    cluster.ProducerID
}

func (t openTxn) compare(other openTxn) int { return cmp.Compare(t.first, other.first) }

// doneTxn is a transaction that has a marker, which may not be replicated. Transactions are added in the order of their markers
// and leave in the same order, when the high watermark passes. One that began after a later one is left out: as long as it
// would count, the later one counts more. So both offsets rise.
type doneTxn struct {
	first, marker cluster.Offset
}

// begin notes an open transaction. In a log it begins after all others.
func (s *State) begin(t openTxn) {
	i := len(s.open)
	if i > 0 && s.open[i-1].first >= t.first {
		i, _ = slices.BinarySearchFunc(s.open, t, openTxn.compare)
	}
	s.open = slices.Insert(s.open, i, t)
}

// complete moves a transaction from open to done, and returns the last stable offset that the partition has once the marker is
// replicated: the first offset of the earliest transaction that is still open, otherwise the offset after the marker.
func (s *State) complete(first, marker cluster.Offset) (stable cluster.Offset) {
	if i, ok := slices.BinarySearchFunc(s.open, openTxn{first: first}, openTxn.compare); ok {
		s.open = slices.Delete(s.open, i, i+1)
	}
	s.pushDone(doneTxn{first: first, marker: marker})
	if len(s.open) > 0 {
		return s.open[0].first
	}
	return marker + 1
}

func (s *State) pushDone(t doneTxn) {
	n := len(s.done)
	for n > 0 && s.done[n-1].first >= t.first {
		n--
	}
	s.done = append(s.done[:n], t)
}

// FirstUnstable returns the first offset of the earliest transaction that is open, or whose marker is not below the high
// watermark. ok is false when there is none.
func (s *State) FirstUnstable(hw cluster.Offset) (first cluster.Offset, ok bool) {
	if len(s.open) > 0 {
		first, ok = s.open[0].first, true
	}
	i, _ := slices.BinarySearchFunc(s.done, hw, func(t doneTxn, hw cluster.Offset) int { return cmp.Compare(t.marker, hw) })
	if i < len(s.done) && (!ok || s.done[i].first < first) {
		first, ok = s.done[i].first, true
	}
	return first, ok
}

// LastStable returns the last stable offset: below it everything is decided and replicated (F§4.13). It is the high watermark,
// or the first unstable offset if that is lower; but not below the log start offset, as long as the high watermark is not.
func (s *State) LastStable(hw, logStart cluster.Offset) cluster.Offset {
	first, ok := s.FirstUnstable(hw)
	if !ok {
		return hw
	}
	return min(hw, max(first, logStart))
}

// Replicated forgets completed transactions whose markers are below the high watermark. It must be told from time to time, or
// the state grows by a few bytes with each transaction.
func (s *State) Replicated(hw cluster.Offset) {
	i, _ := slices.BinarySearchFunc(s.done, hw, func(t doneTxn, hw cluster.Offset) int { return cmp.Compare(t.marker, hw) })
	s.done = slices.Delete(s.done, 0, i)
}

// Inherit takes over from the state before a truncation what a snapshot does not hold: transactions that are completed by
// markers below the new end of the log and that are perhaps not replicated.
func (s *State) Inherit(old *State, end cluster.Offset) {
	all := slices.Clone(s.done)
	for _, t := range old.done {
		if t.marker < end {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b doneTxn) int { return cmp.Compare(a.marker, b.marker) })
	s.done = nil
	for _, t := range all {
		s.pushDone(t)
	}
}
