package producer

import (
	"errors"
	"fmt"
	"slices"
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
		a.err = code.With(text)
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
	newLeader := false
	if a.hint {
		newLeader = p.cl.NoteLeader(b.part.id(), a.leader, a.epoch)
	}
	code := kerr.CodeOf(a.err)
	if code.InvalidMetadata() && !newLeader && p.ctx.Err() == nil {
		p.cl.RequestRefresh()
	}
	if (code == kerr.MessageTooLarge || code == kerr.RecordListTooLarge) && b.count > 1 && p.splitUp(b) {
		p.cfg.logger.Warn("the broker refuses a batch as too large, sending it in two halves", "topic-partition", b.part.id(), "records", b.count, "error", a.err)
		return
	}
	err := a.err
	switch {
	case !client.Retriable(err):
	case p.ctx.Err() != nil:
		err = client.ErrClosed
	case b.attempts > p.cfg.retries:
		if p.cfg.retries > 0 {
			err = fmt.Errorf("gave up after %d retries: %w", p.cfg.retries, err)
		}
	default:
		attempt := b.attempts
		if p.again(b, newLeader) { // b is not ours any more
			p.cfg.logger.Debug("sending a batch again", "topic-partition", b.part.id(), "attempt", attempt+1, "error", err)
			return
		}
		err = p.timedOut(err)
	}
	p.land(b, a, &client.Error{Op: "produce to", Broker: s.broker, TopicPartition: b.part.id(), Err: err})
}

// timedOut is the error of batches that had no success before the delivery timeout; last is what happened last, or nil.
func (p *Producer) timedOut(last error) error {
	if last == nil {
		return kerr.RequestTimedOut.With(fmt.Sprintf("not delivered within %v", p.cfg.deliveryTimeout))
	}
	return fmt.Errorf("not delivered within %v: %w", p.cfg.deliveryTimeout, last)
}

// again puts a batch back at the head of its partition's queue, unless its time is over or it has its outcome. A new leader that is known is
// tried at once, anything else after a back-off.
func (p *Producer) again(b *batch, newLeader bool) bool {
	part := b.part
	part.mu.Lock()
	defer part.mu.Unlock()
	now := time.Now()
	if b.reported || part.dead != nil || !now.Before(b.created.Add(p.cfg.deliveryTimeout)) {
		return false
	}
	part.notBefore = now
	if !newLeader && !part.moved {
		part.notBefore = now.Add(p.cfg.backoff.Wait(b.attempts))
	}
	part.queue = slices.Insert(part.queue, 0, b)
	part.backlog.Add(1) // landLocked takes one off
	part.landLocked(b)
	if newLeader {
		p.assignLocked(part)
	}
	part.offerLocked()
	return true
}

// splitUp replaces a batch that is in flight by two halves at the head of the queue. It reports false if that cannot be done.
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
	part.queue = slices.Insert(part.queue, 0, halves[0], halves[1])
	part.backlog.Add(2)
	part.landLocked(b)
	part.offerLocked()
	return true
}

// land gives a batch that was in flight its outcome, if it does not have one already, and lets the partition's next batch go.
func (p *Producer) land(b *batch, a answer, err error) {
	part := b.part
	part.mu.Lock()
	first := !b.reported
	b.reported = true
	part.mu.Unlock()
	bytes := b.size()
	b.free(p.mem)
	if first {
		p.report(b, a.base, a.appendTime, bytes, err)
	}
	part.mu.Lock()
	part.landLocked(b)
	if first {
		part.finishLocked(b.count)
	}
	part.offerLocked()
	part.mu.Unlock()
}

// drainLocked takes everything off a partition that is not in flight, marked as reported, for conclude.
func (p *partition) drainLocked() []*batch {
	p.closeLocked()
	doomed := p.queue
	p.queue = nil
	p.backlog.Add(-int32(len(doomed)))
	for _, b := range doomed {
		b.reported = true
	}
	return doomed
}

// conclude fails batches that are marked as reported. The first flying of them are in flight: their buffers stay until they land.
func (p *Producer) conclude(doomed []*batch, flying int, err error) {
	for i, b := range doomed {
		bytes := b.taken
		if i >= flying {
			bytes = b.size()
			b.free(p.mem)
		}
		p.report(b, cluster.UnknownOffset, -1, bytes, &client.Error{Op: "produce to", Broker: cluster.NoBroker, TopicPartition: b.part.id(), Err: err})
		b.part.mu.Lock()
		b.part.finishLocked(b.count)
		b.part.mu.Unlock()
	}
}

// report tells everybody who wants to know about the outcome of a batch. No lock is held.
func (p *Producer) report(b *batch, base cluster.Offset, appendTime int64, bytes int, err error) {
	p.live.Add(-1)
	if err != nil && !errors.Is(err, client.ErrClosed) {
		p.cfg.logger.Warn("records were not delivered", "topic-partition", b.part.id(), "records", b.count, "error", err)
	}
	res := Result{Topic: b.part.topic.name, Partition: b.part.index, Offset: cluster.UnknownOffset}
	for _, c := range b.calls {
		if err != nil {
			c.f(res, err)
			continue
		}
		r := res
		if base >= 0 {
			r.Offset = base + cluster.Offset(c.index)
		}
		r.Timestamp = time.UnixMilli(c.timestamp)
		if appendTime >= 0 {
			r.Timestamp = time.UnixMilli(appendTime)
		}
		c.f(r, nil)
	}
	if p.cfg.onBatch != nil {
		if err != nil {
			base = cluster.UnknownOffset
		}
		p.cfg.onBatch(BatchReport{
			TopicPartition: b.part.id(), Records: b.count, Bytes: bytes, Attempts: b.attempts, BaseOffset: base,
			Created: b.created, Done: time.Now(), Err: err,
		})
	}
	b.dropCalls()
}
