package replica

import (
	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Isolation is up to where a consumer reads.
type Isolation int8

const (
	// ReadUncommitted reads up to the high watermark.
	ReadUncommitted Isolation = 0
	// ReadCommitted reads up to the last stable offset.
	ReadCommitted Isolation = 1
)

// Valid reports whether i is one of the two.
func (i Isolation) Valid() bool { return i == ReadUncommitted || i == ReadCommitted }

// Reader is who asks for records or offsets.
type Reader struct {
	// Replica is the follower's broker id; [cluster.NoBroker] for a consumer. That it is a broker is for the caller to know.
	Replica cluster.BrokerID
	// BrokerEpoch is the follower's registration; [cluster.NoBrokerEpoch] when it does not say, and for a consumer.
	BrokerEpoch cluster.BrokerEpoch
	// Isolation of a consumer.
	Isolation Isolation
	// Rack that a consumer stands in; "" for one that reads from leaders only (KIP-392).
	Rack string
	// Listener is the listener that a consumer came to: it can reach replicas that have an address there.
	Listener string
}

func (r *Reader) isFollower() bool { return r.Replica >= 0 }

// Position is where a reader stands in a partition.
type Position struct {
	// Offset to read from.
	Offset cluster.Offset
	// CurrentLeaderEpoch is the leader epoch that the reader knows; [cluster.NoLeaderEpoch] is not checked.
	CurrentLeaderEpoch cluster.LeaderEpoch
	// LastFetchedEpoch is the leader epoch of the reader's last record; [cluster.NoLeaderEpoch] when there is none.
	LastFetchedEpoch cluster.LeaderEpoch
	// LogStart is a follower's first offset.
	LogStart cluster.Offset
}

// ReadResult is the answer to a read. All offsets are from one moment: nothing at or above the bound that applied to the reader then
// is in Fetched.
type ReadResult struct {
	// Code is the outcome; with an error only LogStart may be known.
	Code kerr.Code
	// Fetched holds the records. The caller gives its buffer back.
	Fetched commitlog.Fetched
	// HighWatermark, LastStable, LogStart and LogEnd are the partition's ends; unknown (-1) with an error.
	HighWatermark, LastStable, LogStart, LogEnd cluster.Offset
	// Preferred is the replica that the consumer should read from instead, [cluster.NoBroker] for none. There are no records then.
	Preferred cluster.BrokerID
	// Diverging is set when what the reader has differs from this log: a follower must truncate. There are no records then.
	Diverging *EpochEnd
}

// EpochEnd says where a leader epoch ended.
type EpochEnd = state.EpochEnd

func failedRead(code kerr.Code) ReadResult {
	return ReadResult{
		Code: code, HighWatermark: cluster.UnknownOffset, LastStable: cluster.UnknownOffset, LogStart: cluster.UnknownOffset, LogEnd: cluster.UnknownOffset,
		Preferred: cluster.NoBroker,
	}
}

// admit checks what every reading request is checked for first (F§3.5): the leader epoch, then the role. mayFollow lets a follower serve
// the request as well.
func (p *Partition) admit(epoch cluster.LeaderEpoch, mayFollow bool) (*state.Standing, kerr.Code) {
	st := p.state.Load()
	return st, st.Admit(epoch, mayFollow)
}

func (p *Partition) bound(r *Reader, watermark cluster.Offset) cluster.Offset {
	if r.Isolation == ReadCommitted {
		return p.stable(watermark)
	}
	return watermark
}

// ReadSize bounds what one read returns.
type ReadSize struct {
	// MaxBytes is the most that is returned.
	MaxBytes int
	// MinOneBatch returns the first batch even if it is larger than MaxBytes.
	MinOneBatch bool
	// Report makes a follower's read its report as well: it has everything below the position.
	Report bool
}

// Read reads whole batches from a position on (F§3.7). A position between the reader's bound and the log end is not an error: there is
// nothing yet. Buffers come from pool.
//
// A throttled follower that is not in sync gets no records while the limit is exceeded (F§3.10); the caller tells what it has sent by
// [Partition.Sent].
//
// A follower reports how far it has come by reading (F§3.4), once for each request that it sends: a request that is looked at again
// because there is news reports nothing new. A replica that is not assigned is refused with UNKNOWN_TOPIC_OR_PARTITION, and a read that
// fails reports nothing.
func (p *Partition) Read(r *Reader, pos *Position, size ReadSize, pool commitlog.BufferSource) ReadResult {
	for {
		st, code := p.admit(pos.CurrentLeaderEpoch, r.Rack != "" && !r.isFollower())
		if code != kerr.None {
			return failedRead(code)
		}
		if r.isFollower() && !p.assigned(r.Replica) {
			return failedRead(kerr.UnknownTopicOrPartition)
		}
		res, end := p.readAs(st, r, pos, size, pool)
		if now := p.state.Load(); now.Role != st.Role || now.Epoch != st.Epoch {
			// What was read may be another leader's, from behind a place at which the log was cut meanwhile: nothing that the reader can append.
			if res.Fetched.Buf != nil {
				pool.Put(res.Fetched.Buf)
			}
			continue
		}
		if size.Report && r.isFollower() && res.Code == kerr.None && res.Diverging == nil {
			p.report(r, pos, st.Epoch, end)
		}
		return res
	}
}

// readAs reads for a reader that was admitted under a standing, and returns where the log ended before.
func (p *Partition) readAs(st *state.Standing, r *Reader, pos *Position, size ReadSize, pool commitlog.BufferSource) (ReadResult, cluster.Offset) {
	// The watermark before the end: the end only grows, so the watermark stays below it.
	watermark := p.HighWatermark()
	end := p.log.LogEndOffset()
	res := ReadResult{HighWatermark: watermark, LastStable: p.stable(watermark), LogStart: p.log.LogStartOffset(), LogEnd: end, Preferred: cluster.NoBroker}
	if pos.Offset < res.LogStart { // whatever it has read, nothing here goes on from there
		return outOfRange(res.LogStart), end
	}
	// The epochs before the end: a follower whose log is longer than this one must truncate by epoch (KIP-595, KAFKA-2143).
	// A consumer that says what it has read last learns in the same way that it has been truncated (KIP-320).
	if pos.LastFetchedEpoch != cluster.NoLeaderEpoch {
		d, diverging, code := state.Diverging(pos.LastFetchedEpoch, pos.Offset, p.epochEnd(pos.LastFetchedEpoch))
		if code != kerr.None {
			return failedRead(code), end
		}
		if diverging {
			res.Diverging = &d
			return res, end
		}
	}
	if pos.Offset > end {
		return outOfRange(res.LogStart), end
	}
	if st.Role == state.Leading {
		if res.Preferred = p.preferred(r, pos.Offset); res.Preferred != cluster.NoBroker {
			return res, end
		}
	}
	bound := end
	if r.isFollower() && pos.Offset < end && p.withheld(r.Replica) {
		bound = pos.Offset
	}
	if !r.isFollower() {
		bound = min(p.bound(r, watermark), end)
	}
	if pos.Offset < bound && (size.MaxBytes > 0 || size.MinOneBatch) {
		fetched, err := p.log.Read(pos.Offset, size.MaxBytes, bound, size.MinOneBatch, pool)
		if err != nil {
			if code := p.readCode(err); code != kerr.OffsetOutOfRange {
				p.env.logger.Warn("read failed", "partition", p.tp.String(), "offset", int64(pos.Offset), "error", err)
				return failedRead(code), end
			}
			return outOfRange(p.log.LogStartOffset()), end
		}
		res.Fetched = fetched
	}
	return res, end
}

func outOfRange(logStart cluster.Offset) ReadResult {
	res := failedRead(kerr.OffsetOutOfRange)
	res.LogStart = logStart
	return res
}

// report enters a follower's successful read into the leader's account.
func (p *Partition) report(r *Reader, pos *Position, epoch cluster.LeaderEpoch, leaderEnd cluster.Offset) {
	p.watchers.tell(p.noteFetch(r.Replica, epoch, state.Mark{
		Offset: pos.Offset, LogStart: pos.LogStart, LeaderEnd: leaderEnd, At: p.env.now(), BrokerEpoch: r.BrokerEpoch,
	}))
}

// epochEnd returns the largest leader epoch of the log that is not above the one asked for and the offset at which it ended, both undefined if
// there is none.
func (p *Partition) epochEnd(asked cluster.LeaderEpoch) EpochEnd {
	epoch, end, ok := p.log.EndOffsetForEpoch(asked)
	if !ok {
		return state.NoEpochEnd
	}
	return EpochEnd{Epoch: epoch, End: end}
}

// EndOffsetForEpoch returns the largest leader epoch that is not above the one asked for and the offset at which it ended (KIP-101), both
// undefined if there is none. Only a leader knows.
func (p *Partition) EndOffsetForEpoch(current, asked cluster.LeaderEpoch) (EpochEnd, kerr.Code) {
	if _, code := p.admit(current, false); code != kerr.None {
		return state.NoEpochEnd, code
	}
	return p.epochEnd(asked), kerr.None
}
