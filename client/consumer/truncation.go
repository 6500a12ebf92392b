package consumer

import (
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

// TruncationError says that records which this consumer has given out are gone: the leader was elected without them, as
// unclean.leader.election.enable allows, or has lost them. It is given out, in a client.Error, without a reset policy ([ResetNone]); the
// partition then waits for a seek, to Divergent to read everything that has taken their place. [kerr.OffsetOutOfRange] is its code, as in Kafka
// (LogTruncationException, KIP-320).
type TruncationError struct {
	// Position is the offset of the record that would have been next.
	Position cluster.Offset
	// Divergent is the first offset at which the log may hold another record than the one that was given out.
	Divergent cluster.Offset
	// Epoch is the largest leader epoch that the leader's log and the records given out may have in common.
	Epoch cluster.LeaderEpoch
}

// Error names the offsets.
func (e *TruncationError) Error() string {
	return fmt.Sprintf("the log was truncated: records from offset %d to %d were read and are gone or replaced (leader epoch %d ends there)", e.Divergent, e.Position-1, e.Epoch)
}

// Unwrap returns the code.
func (e *TruncationError) Unwrap() error { return kerr.OffsetOutOfRange }

// history is the leader epochs of the records that were fetched since the position was set, and where each began; the latest last. Pure.
type history []epochStart

type epochStart struct {
	epoch cluster.LeaderEpoch
	start cluster.Offset
}

// maxHistory bounds a history. What is forgotten is remembered as belonging to the epoch after it, which makes a divergence begin too early
// rather than too late.
const maxHistory = 16

// note adds a batch.
func (h history) note(epoch cluster.LeaderEpoch, start cluster.Offset) history {
	if n := len(h); n > 0 && h[n-1].epoch == epoch {
		return h
	}
	if len(h) == maxHistory {
		first := h[0].start
		h = append(h[:0], h[1:]...)
		h[0].start = first
	}
	return append(h, epochStart{epoch, start})
}

// before returns the history of the records below an offset.
func (h history) before(o cluster.Offset) history {
	n := len(h)
	for n > 0 && h[n-1].start >= o {
		n--
	}
	return h[:n]
}

// last returns the epoch of the last record.
func (h history) last() cluster.LeaderEpoch {
	if len(h) == 0 {
		return cluster.NoLeaderEpoch
	}
	return h[len(h)-1].epoch
}

// divergence returns the first offset at which what was fetched may differ from a log in which the largest epoch that is not above the last
// one's ends as the leader says (F§3.5): records of later epochs are not in it.
func (h history) divergence(leaders wire.EpochEnd) cluster.Offset {
	for _, e := range h {
		if e.epoch > leaders.Epoch {
			return min(e.start, leaders.EndOffset)
		}
	}
	return leaders.EndOffset
}

// divergedLocked deals with a leader that does not have everything that was fetched. Records that were not given out are fetched again. If some were
// given out, the caller is told where there is no reset policy; with any policy reading goes on where the logs part, as in Kafka.
func (c *Consumer) divergedLocked(p *part, leaders wire.EpochEnd) {
	position, fetched := cluster.Offset(p.position.Load()), p.fetch
	to := max(p.epochs.divergence(leaders), 0)
	c.detachLocked(p)
	if to < position && c.cfg.reset == ResetNone {
		p.bump()
		c.failLocked(p, &TruncationError{Position: position, Divergent: to, Epoch: leaders.Epoch})
		return
	}
	if to < position {
		c.cfg.logger.Warn("the log was truncated: records that were read are gone, going on where it differs", "topic-partition", p.tp,
			"position", int64(position), "to", int64(to), "leader-epoch", int32(leaders.Epoch))
	} else {
		c.cfg.logger.Info("the log was truncated: records that were fetched and not read yet are fetched again", "topic-partition", p.tp,
			"position", int64(position), "fetched", int64(fetched), "truncated-to", int64(to))
	}
	common, topic := p.epochs.before(min(to, position)), p.topic
	p.startAt(min(to, position))
	p.epochs, p.topic = common, topic
	c.changedLocked()
	c.poke()
}
