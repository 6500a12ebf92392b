// Package epoch is the arithmetic of leader epochs: a log keeps a list of the offsets at which its epochs begin, and whoever compares two logs asks
// such a list where an epoch ended (F§3.5, KIP-101, KIP-279). Pure: lists are values, and never changed in place.
package epoch

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// Entry says at which offset a leader epoch begins. In a list, epochs and offsets rise strictly.
type Entry struct {
	// Epoch is the leader epoch.
	Epoch cluster.LeaderEpoch
	// StartOffset is the offset of the first record of the epoch.
	StartOffset cluster.Offset
}

// Assign returns entries with one more: nothing changes if it is the last one's epoch; otherwise entries at the end with a
// higher or equal epoch or offset make way.
func Assign(entries []Entry, epoch cluster.LeaderEpoch, start cluster.Offset) []Entry {
	n := len(entries)
	if epoch < 0 || n > 0 && entries[n-1].Epoch == epoch {
		return entries
	}
	for n > 0 && (entries[n-1].Epoch >= epoch || entries[n-1].StartOffset >= start) {
		n--
	}
	return append(slices.Clone(entries[:n]), Entry{Epoch: epoch, StartOffset: start})
}

// Before returns the entries that begin before an offset.
func Before(entries []Entry, end cluster.Offset) []Entry {
	n := len(entries)
	for n > 0 && entries[n-1].StartOffset >= end {
		n--
	}
	return entries[:n:n]
}

// From drops the entries that end at or before an offset; the one that covers it then begins there.
func From(entries []Entry, start cluster.Offset) []Entry {
	i := 0
	for i < len(entries) && entries[i].StartOffset <= start {
		i++
	}
	if i == 0 {
		return entries
	}
	kept := slices.Clone(entries[i-1:])
	kept[0].StartOffset = start
	return kept
}

// End answers what OffsetsForLeaderEpoch asks: the largest epoch that is not above the one requested, and where
// it ends; the last one ends at logEnd. ok is false when the question has no answer (the "undefined" of F§3.5).
func End(entries []Entry, epoch cluster.LeaderEpoch, logEnd cluster.Offset) (cluster.LeaderEpoch, cluster.Offset, bool) {
	n := len(entries)
	if epoch < 0 || n == 0 {
		return cluster.NoLeaderEpoch, cluster.UnknownOffset, false
	}
	if entries[n-1].Epoch == epoch {
		return epoch, logEnd, true
	}
	higher := slices.IndexFunc(entries, func(e Entry) bool { return e.Epoch > epoch })
	switch higher {
	case -1:
		return cluster.NoLeaderEpoch, cluster.UnknownOffset, false
	case 0:
		return epoch, entries[0].StartOffset, true
	default:
		return entries[higher-1].Epoch, entries[higher].StartOffset, true
	}
}

// At returns the epoch of the record at an offset; NoLeaderEpoch when it is before all entries.
func At(entries []Entry, offset cluster.Offset) cluster.LeaderEpoch {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].StartOffset <= offset {
			return entries[i].Epoch
		}
	}
	return cluster.NoLeaderEpoch
}
