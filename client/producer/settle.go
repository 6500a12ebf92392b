package producer

import (
	"fmt"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// answer is what happened to a batch that was sent.
type answer struct {
	err        error // nil: written
	base       cluster.Offset
	appendTime int64 // -1: the records keep their own timestamps
	leader     cluster.BrokerID
	epoch      cluster.LeaderEpoch
	hint       bool // leader and epoch are set
	absent     bool // with an error: this attempt did not bring the batch into the log
}

func answerOf(p *ottlapb.PartitionProduceResult) answer {
	a := answer{base: cluster.Offset(p.GetBaseOffset()), appendTime: p.GetLogAppendTimeMs()}
	if code := kerr.Code(p.GetErrorCode()); code != kerr.None {
		text := p.GetErrorMessage()
		if rs := p.GetRecordErrors(); len(rs) > 0 {
			if text == "" {
				text = code.Message()
			}
			text += fmt.Sprintf(" (record %d of the batch: %s)", rs[0].GetBatchIndex(), rs[0].GetMessage())
		}
		a.err, a.absent = code.With(text), refusal(code)
	}
	if l := p.GetCurrentLeader(); l != nil {
		a.leader, a.epoch, a.hint = cluster.BrokerID(l.GetLeaderId()), cluster.LeaderEpoch(l.GetLeaderEpoch()), true
	}
	return a
}

// settle decides what becomes of a batch that has its answer: done, sent again, split, or failed. s is the sender that had it.
func (p *Producer) settle(s *sender, b *batch, a answer) {
	if a.err == nil {
		p.land(b, a, nil)
		return
	}
	part := b.part
	moved := a.hint && p.cl.NoteLeader(part.id(), a.leader, a.epoch)
	if a.hint && !moved && a.leader != s.broker {
		moved = p.leaderOf(part) == a.leader // another batch brought the news
	}
	code := kerr.CodeOf(a.err)
	if code.InvalidMetadata() && !moved && p.ctx.Err() == nil {
		p.cl.RequestRefresh()
	}
	v := byTheCode
	if p.cfg.idempotent {
		part.mu.Lock()
		v = part.judgeLocked(b, code, a.absent)
		part.mu.Unlock()
	}
	switch {
	case v == inTheLog:
		p.land(b, answer{base: cluster.UnknownOffset, appendTime: -1}, nil)
		return
	case (code == kerr.MessageTooLarge || code == kerr.RecordListTooLarge) && b.count > 1:
		if p.tooLarge(b, a) {
			return
		}
	}
	err := a.err
	switch {
	case v == byTheCode && !client.Retriable(err):
	case p.ctx.Err() != nil:
		err = client.ErrClosed
	case b.attempts > p.cfg.retries:
		if p.cfg.retries > 0 {
			err = fmt.Errorf("gave up after %d retries: %w", p.cfg.retries, err)
		}
	default:
		attempt := b.attempts
		if p.again(b, moved) { // b is not ours any more
			p.cfg.logger.Debug("sending a batch again", "topic-partition", part.id(), "attempt", attempt+1, "error", err)
			return
		}
		err = p.timedOut(err)
	}
	p.land(b, a, &client.Error{Op: "produce to", Broker: s.broker, TopicPartition: part.id(), Err: err})
}

// leaderOf returns a partition's leader as far as it is known.
func (p *Producer) leaderOf(part *partition) cluster.BrokerID {
	if t, ok := p.cl.CachedTopic(part.topic.name); ok && int(part.index) < len(t.Partitions) {
		return t.Partitions[part.index].Leader
	}
	return cluster.NoBroker
}

// tooLarge splits a batch that was found too large. It reports false if that does not help, or cannot be done. With idempotence a batch that may be
// in the log must not be split: its halves would not be recognised. When it is the connection that finds a request too large, nothing is known
// about the batches in it, so each is sent once more, alone, before it is split.
func (p *Producer) tooLarge(b *batch, a answer) bool {
	if p.cfg.idempotent && b.doubt {
		if a.absent {
			return false
		}
		if !b.large {
			b.large = true
			return p.again(b, false)
		}
	}
	if !p.splitUp(b) {
		return false
	}
	p.cfg.logger.Warn("the broker refuses a batch as too large, sending it in two halves", "topic-partition", b.part.id(), "records", b.count, "error", a.err)
	return true
}

// timedOut is the error of batches that had no success before the delivery timeout; last is what happened last, or nil.
func (p *Producer) timedOut(last error) error {
	if last == nil {
		return kerr.RequestTimedOut.With(fmt.Sprintf("not delivered within %v", p.cfg.deliveryTimeout))
	}
	return fmt.Errorf("not delivered within %v: %w", p.cfg.deliveryTimeout, last)
}

// again puts a batch back at its place in its partition's queue, unless its time is over or it has its outcome. A new leader that is known is
// tried at once, anything else after a back-off.
func (p *Producer) again(b *batch, moved bool) bool {
	part := b.part
	part.mu.Lock()
	defer part.mu.Unlock()
	now := time.Now()
	if b.reported || part.dead != nil || !now.Before(b.created.Add(p.cfg.deliveryTimeout)) {
		return false
	}
	part.notBefore = now
	if !moved && !part.moved {
		part.notBefore = now.Add(p.cfg.backoff.Wait(b.attempts))
	}
	part.requeueLocked(b)
	part.backlog.Add(1) // landLocked takes one off
	part.landLocked(b)
	if moved {
		p.assignLocked(part)
	}
	part.offerLocked()
	return true
}

// splitUp replaces a batch that is in flight by two halves in its place in the queue. It reports false if that cannot be done.
func (p *Producer) splitUp(b *batch) bool {
	part := b.part
	part.mu.Lock()
	defer part.mu.Unlock()
	if b.reported || part.dead != nil {
		return false
	}
	if len(b.data) > p.cfg.batchSize {
		part.topic.modest.Store(true)
		part.target = p.cfg.batchSize
	}
	halves, err := b.split(&p.cfg)
	if err != nil {
		return false
	}
	b.reported = true
	b.free(p.mem)
	p.live.Add(1) // two batches for one
	part.requeueLocked(halves[0])
	part.requeueLocked(halves[1])
	part.backlog.Add(2)
	part.landLocked(b)
	part.offerLocked()
	return true
}

// land gives a batch that was in flight its outcome, if it does not have one already, and lets the partition's next batch go.
func (p *Producer) land(b *batch, a answer, err error) {
	part := b.part
	bytes := b.size()
	part.mu.Lock()
	if err != nil {
		part.missedLocked(b)
	} else if p.cfg.idempotent {
		for _, found := range part.acknowledgedLocked(b, time.Now()) {
			part.concludeLocked(outcome{batch: found, base: cluster.UnknownOffset, appendTime: -1, bytes: found.size()})
			found.free(p.mem)
		}
	}
	part.landLocked(b)
	if !b.reported {
		part.concludeLocked(outcome{batch: b, base: a.base, appendTime: a.appendTime, bytes: bytes, err: err})
	}
	b.free(p.mem)
	part.offerLocked()
	part.mu.Unlock()
	p.deliver(part)
}

// drainLocked fails everything of a partition that is not in flight.
func (p *partition) drainLocked(err error) {
	p.closeLocked()
	for _, b := range p.queue {
		p.failLocked(b, err)
	}
	p.backlog.Add(-int32(len(p.queue)))
	p.queue = nil
}
