package replica

import (
	"errors"
	"fmt"

	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// follow makes this broker a follower of whoever leads now, or of nobody while there is no leader (F§3.2). Those who wait for the
// watermark of a leader learn that it leads no more.
func (p *Partition) follow(s *PartitionState) {
	p.yield(state.Standing{Role: state.Following, Leader: s.Leader, Epoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch})
}

// stop ends the partition's role and keeps its epoch.
func (p *Partition) stop() {
	old := p.state.Load()
	p.yield(state.Standing{Role: state.Stopped, Leader: old.Leader, Epoch: old.Epoch, PartitionEpoch: old.PartitionEpoch})
}

// yield replaces the standing by one that does not lead. It does not wait for appends in progress: a disk that stalls may hold them up for long.
func (p *Partition) yield(next state.Standing) {
	p.due = nil
	p.mu.Lock()
	p.lead = nil
	p.become(next)
	p.mu.Unlock()
	p.gate.open()
	p.watchers.tell(everything)
}

// errNotFollowing says that the partition has got another role or leader epoch meanwhile.
var errNotFollowing = errors.New("the partition does not follow in that leader epoch any more")

// follows reports whether the partition follows in that leader epoch.
func (p *Partition) follows(epoch cluster.LeaderEpoch) bool {
	return p.state.Load().Follows(epoch)
}

// asFollower runs f if the partition follows in that leader epoch. The log is f's alone among those that pass the gate: a later role waits until f, which does
// disk IO, has ended.
func (p *Partition) asFollower(epoch cluster.LeaderEpoch, f func() error) error {
	if !p.gate.tryEnter() {
		return errNotFollowing
	}
	defer p.gate.leave()
	if !p.follows(epoch) {
		return errNotFollowing
	}
	return f()
}

// replicate takes over what the leader of that epoch has sent: its records as they are, and what it says of the high watermark and of the log's
// start (F§3.3). The records are not needed any more when it returns.
func (p *Partition) replicate(epoch cluster.LeaderEpoch, sent *wire.FetchPartition) error {
	var news News
	err := p.asFollower(epoch, func() error {
		if end := p.log.LogEndOffset(); sent.FetchOffset != end {
			return fmt.Errorf("the leader answers for offset %d, and the log of %s ends at %d", sent.FetchOffset, p.tp, end)
		}
		if len(sent.Records) > 0 {
			if err := p.appendReplicated(sent.Records); err != nil {
				return err
			}
			news |= EndMoved
		}
		if p.raiseWatermark(sent.HighWatermark) {
			news |= WatermarkMoved
		}
		if start, moved := state.RaisedStart(p.log.LogStartOffset(), sent.LogStartOffset, p.HighWatermark()); moved {
			news |= StartMoved
			return p.log.AdvanceLogStart(start)
		}
		return nil
	})
	p.watchers.tell(news)
	return err
}

// appendReplicated appends batches of the leader. A log that is empty because it begins where the leader's does begins a little earlier if the
// leader's start lies within a batch: batches are not split.
func (p *Partition) appendReplicated(records []byte) error {
	_, err := p.log.AppendAsFollower(records)
	if kerr.CodeOf(err) != kerr.OffsetOutOfRange || p.log.LogStartOffset() != p.log.LogEndOffset() {
		return err
	}
	first, _, splitErr := record.Split(records)
	if splitErr != nil || cluster.Offset(first.LastOffset()) < p.log.LogEndOffset() {
		return err
	}
	if err := p.log.TruncateFullyAndStartAt(cluster.Offset(first.BaseOffset())); err != nil {
		return err
	}
	_, err = p.log.AppendAsFollower(records)
	return err
}

// raiseWatermark moves the high watermark up to the leader's and reports whether it moved.
func (p *Partition) raiseWatermark(leaders cluster.Offset) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := cluster.Offset(p.watermark.Load())
	next := state.Raised(current, leaders, p.log.LogStartOffset(), p.log.LogEndOffset())
	p.watermark.Store(int64(next))
	return next > current
}

// clampWatermark brings the high watermark back into the log after it was cut.
func (p *Partition) clampWatermark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := cluster.Offset(p.watermark.Load())
	p.watermark.Store(int64(state.Clamped(current, p.log.LogStartOffset(), p.log.LogEndOffset())))
}

// diverged cuts off what the leader of that epoch does not have, given where it says that the logs part at the latest (F§3.5). It returns false
// if there was nothing to cut, which no correct leader makes happen.
func (p *Partition) diverged(epoch cluster.LeaderEpoch, leaders EpochEnd) (progress bool, err error) {
	err = p.asFollower(epoch, func() error {
		end, latest, watermark := p.log.LogEndOffset(), p.log.LatestEpoch(), p.HighWatermark()
		to := state.TruncationPoint(leaders, p.epochEnd(leaders.Epoch), watermark, end)
		p.noteTruncation(to, end, watermark, leaders)
		if err := p.log.Truncate(to); err != nil {
			return err
		}
		p.clampWatermark()
		progress = p.log.LogEndOffset() != end || p.log.LatestEpoch() != latest
		return nil
	})
	if progress {
		p.watchers.tell(everything)
	}
	return progress, err
}

func (p *Partition) noteTruncation(to, end, watermark cluster.Offset, leaders EpochEnd) {
	report := p.env.logger.Info
	if to < watermark {
		report = p.env.logger.Warn // only an unclean election can bring this about
	}
	report("truncating to what the leader has", "partition", p.tp.String(), "from", int64(end), "to", int64(to), "high-watermark", int64(watermark),
		"leader-says-epoch", int32(leaders.Epoch), "ends-at", int64(leaders.End))
}

// reconcile brings the log to where the leader of that epoch, whose log reaches from start to end, can serve it again after it said
// OFFSET_OUT_OF_RANGE (F§3.3).
func (p *Partition) reconcile(epoch cluster.LeaderEpoch, start, end cluster.Offset) error {
	err := p.asFollower(epoch, func() error {
		own := p.log.LogEndOffset()
		to, cut, restart := state.Reconcile(start, end, own)
		switch {
		case cut:
			p.noteTruncation(to, own, p.HighWatermark(), EpochEnd{Epoch: cluster.NoLeaderEpoch, End: end})
			if err := p.log.Truncate(to); err != nil {
				return err
			}
		case restart:
			p.env.logger.Warn("the leader's log begins beyond this one; starting over there", "partition", p.tp.String(), "end", int64(own), "leaders-start", int64(start))
			if err := p.log.TruncateFullyAndStartAt(to); err != nil {
				return err
			}
		}
		p.clampWatermark()
		return nil
	})
	p.watchers.tell(everything)
	return err
}

// settleTail prepares a log without leader epochs for following. What was under way in an earlier role has ended.
func (p *Partition) settleTail(epoch cluster.LeaderEpoch) error {
	return p.asFollower(epoch, func() error {
		to, cut := state.SettleTail(p.log.LatestEpoch(), p.HighWatermark(), p.log.LogEndOffset())
		if !cut {
			return nil
		}
		return p.log.Truncate(to)
	})
}
