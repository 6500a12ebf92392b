package replica

import (
	"fmt"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Timestamps with a special meaning in [Partition.ListOffset] (F§3.8).
const (
	// LatestTimestamp asks for the offset after the last record that the reader may see.
	LatestTimestamp = -1
	// EarliestTimestamp asks for the first offset.
	EarliestTimestamp = -2
	// MaxTimestamp asks for the record with the largest timestamp (KIP-734).
	MaxTimestamp = -3
	// EarliestLocalTimestamp asks for the first offset on local disk, which is the first offset.
	EarliestLocalTimestamp = -4
	// LatestTieredTimestamp asks for the end of what is in tiered storage: no offset, because there is none.
	LatestTieredTimestamp = -5
)

// ListedOffset is an answer of [Partition.ListOffset]. Unknown parts are -1.
type ListedOffset struct {
	// Offset found.
	Offset cluster.Offset
	// Timestamp of the record at that offset in milliseconds, if it was looked up by time.
	Timestamp int64
	// LeaderEpoch of the record at that offset.
	LeaderEpoch cluster.LeaderEpoch
}

var nothingListed = ListedOffset{Offset: cluster.UnknownOffset, Timestamp: -1, LeaderEpoch: cluster.NoLeaderEpoch}

// ListOffset looks up an offset by time, or an end of the partition (F§3.8). Only a leader knows. The error carries a [kerr.Code]:
// OFFSET_NOT_AVAILABLE while a new leader's high watermark has not reached the start of its epoch, because what consumers could read from the
// leader before may lie above it (KIP-207).
func (p *Partition) ListOffset(r *Reader, timestamp int64, current cluster.LeaderEpoch) (ListedOffset, error) {
	for {
		st, code := p.admit(current, false)
		if code != kerr.None {
			return nothingListed, code
		}
		found, err := p.listAs(st, r, timestamp)
		if p.state.Load().Leads(st.Epoch) {
			return found, err
		}
	}
}

// listAs looks an offset up for a reader that was admitted under a standing.
func (p *Partition) listAs(st *state.Standing, r *Reader, timestamp int64) (ListedOffset, error) {
	watermark := p.HighWatermark()
	bound := p.log.LogEndOffset()
	var unavailable error
	if !r.isFollower() {
		bound = p.bound(r, watermark)
		if start, leads := p.epochStart(); leads && bound < start {
			unavailable = kerr.OffsetNotAvailable
		}
	}
	switch {
	case timestamp == LatestTimestamp:
		if unavailable != nil {
			return nothingListed, unavailable
		}
		return ListedOffset{bound, -1, st.Epoch}, nil
	case timestamp == EarliestTimestamp || timestamp == EarliestLocalTimestamp:
		start := p.log.LogStartOffset()
		return ListedOffset{start, -1, epoch.At(p.log.EpochEntries(), start)}, nil
	case timestamp == LatestTieredTimestamp:
		return nothingListed, nil
	case timestamp < 0 && timestamp != MaxTimestamp:
		return nothingListed, kerr.InvalidRequest.With(fmt.Sprintf("timestamp %d has no meaning", timestamp))
	}
	found, err := p.search(timestamp, bound)
	if err != nil {
		code := p.readCode(err)
		return nothingListed, code.With(fmt.Sprintf("look up timestamp %d in %s: %v", timestamp, p.tp, err))
	}
	if found == nothingListed && unavailable != nil {
		return nothingListed, unavailable
	}
	return found, nil
}
