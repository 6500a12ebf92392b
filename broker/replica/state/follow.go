package state

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// EpochEnd says where a leader epoch ended.
type EpochEnd struct {
	// Epoch is [cluster.NoLeaderEpoch] when undefined.
	Epoch cluster.LeaderEpoch
	// End is the offset after the epoch's last record; [cluster.UnknownOffset] when undefined.
	End cluster.Offset
}

// NoEpochEnd is undefined: a log has no epoch that is as low.
var NoEpochEnd = EpochEnd{cluster.NoLeaderEpoch, cluster.UnknownOffset}

// Diverging compares a follower's position with the leader's log (F§3.5, KIP-595): last is the epoch of the follower's last record, offset where
// its log ends, and own the largest epoch of the leader's log that is not above last. It returns own, up to which the follower can at most agree, and
// true if the follower has something that the leader has not.
func Diverging(last cluster.LeaderEpoch, offset cluster.Offset, own EpochEnd) (EpochEnd, bool, kerr.Code) {
	switch {
	case last == cluster.NoLeaderEpoch:
		return EpochEnd{}, false, kerr.None
	case own == NoEpochEnd:
		return EpochEnd{}, false, kerr.OffsetOutOfRange
	case own.Epoch < last || own.End < offset:
		return own, true, kerr.None
	}
	return EpochEnd{}, false, kerr.None
}

// TruncationPoint returns where a follower's log is to end, given what the leader says of the largest epoch that is not above the follower's last
// one, what the follower's log says of that same epoch, its high watermark, and where it ends (F§3.5, KIP-279). If the follower does not know the
// epoch, the result only leads to the next, lower epoch to compare.
func TruncationPoint(leaders, own EpochEnd, watermark, logEnd cluster.Offset) cluster.Offset {
	switch {
	case leaders.End == cluster.UnknownOffset:
		return min(watermark, logEnd)
	case own.End == cluster.UnknownOffset:
		return min(leaders.End, logEnd)
	case own.Epoch != leaders.Epoch:
		return min(own.End, logEnd)
	default:
		return min(own.End, leaders.End, logEnd)
	}
}

// Reconcile returns where a follower's log that ends at own is to end or to begin, given where the leader's log begins and ends, after the
// leader said OFFSET_OUT_OF_RANGE (F§3.3): cut means to truncate to that offset, restart to drop everything and begin there. Everything is dropped
// only if the leader's log begins beyond the follower's (KAFKA-2143).
func Reconcile(start, end, own cluster.Offset) (to cluster.Offset, cut, restart bool) {
	switch {
	case end < own:
		return end, true, false
	case start > own:
		return start, false, true
	}
	return own, false, false
}

// SettleTail returns where a log without leader epochs is to be cut before its broker follows: nothing could find out where it parts from the
// leader's, so what is not known to be replicated goes (F§3.3). It returns false if nothing has to go.
func SettleTail(latest cluster.LeaderEpoch, watermark, logEnd cluster.Offset) (cluster.Offset, bool) {
	if latest != cluster.NoLeaderEpoch || watermark >= logEnd {
		return logEnd, false
	}
	return watermark, true
}

// Raised returns a follower's high watermark after the leader has told its own: as far as the log reaches. It does not fall here: what this
// follower knows to be replicated stays so, even if a new leader does not know it yet.
func Raised(current, leaders, logStart, logEnd cluster.Offset) cluster.Offset {
	return max(current, min(leaders, logEnd), logStart)
}

// RaisedStart returns where a follower's log is to begin after the leader has told where its own does: not beyond the follower's high watermark, as what
// lies above may be cut off (F§3.9). It returns false if it begins there, or later, already.
func RaisedStart(current, leaders, watermark cluster.Offset) (cluster.Offset, bool) {
	start := min(leaders, watermark)
	return start, start > current
}

// Clamped returns a high watermark brought back into the log, after a restart or a truncation.
func Clamped(current, logStart, logEnd cluster.Offset) cluster.Offset {
	return min(max(current, logStart), logEnd)
}
