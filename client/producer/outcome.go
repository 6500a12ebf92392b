package producer

import (
	"errors"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
)

// outcome is what became of a batch, before everybody who wants to know has been told. They are told in the order of the records, whatever order
// the outcomes become known in.
type outcome struct {
	batch      *batch
	base       cluster.Offset // UnknownOffset if nobody knows
	appendTime int64          // -1: the records keep their own timestamps
	bytes      int
	err        error // nil: written
}

// concludeLocked gives a batch its outcome.
func (p *partition) concludeLocked(o outcome) {
	o.batch.reported = true
	at := len(p.outcomes)
	for at > 0 && p.outcomes[at-1].batch.first > o.batch.first {
		at--
	}
	p.outcomes = slices.Insert(p.outcomes, at, o)
}

// failLocked is concludeLocked for a batch that is not in flight, and gives its memory back.
func (p *partition) failLocked(b *batch, err error) {
	p.missedLocked(b)
	p.concludeLocked(outcome{batch: b, base: cluster.UnknownOffset, appendTime: -1, bytes: b.size(), err: p.failure(err)})
	b.free(p.topic.producer.mem)
}

// failure is the error of records that failed without an answer.
func (p *partition) failure(err error) error {
	return &client.Error{Op: "produce to", Broker: cluster.NoBroker, TopicPartition: p.id(), Err: err}
}

// tellableLocked takes the first outcome off the list, unless a batch before it has none yet.
func (p *partition) tellableLocked() (outcome, bool) {
	if len(p.outcomes) == 0 {
		return outcome{}, false
	}
	o := p.outcomes[0]
	if len(p.queue) > 0 && p.queue[0].first < o.batch.first {
		return outcome{}, false
	}
	for _, b := range p.flying {
		if !b.reported && b.first < o.batch.first {
			return outcome{}, false
		}
	}
	p.outcomes[0] = outcome{}
	if p.outcomes = p.outcomes[1:]; len(p.outcomes) == 0 {
		p.outcomes = p.spareOutcomes[:0]
	}
	return o, true
}

// deliver tells everybody about the outcomes of a partition, one goroutine at a time. No lock is held.
func (p *Producer) deliver(part *partition) {
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.delivering {
		return // the one that is at it will see to the rest
	}
	part.delivering = true
	for {
		o, ok := part.tellableLocked()
		if !ok {
			part.delivering = false
			return
		}
		part.mu.Unlock()
		p.report(&o)
		part.mu.Lock()
		part.finishLocked(o.batch.count)
	}
}

// deliverAll is deliver for all partitions.
func (p *Producer) deliverAll() {
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			p.deliver(part)
		}
	}
}

// report tells everybody who wants to know about the outcome of a batch.
func (p *Producer) report(o *outcome) {
	b := o.batch
	p.live.Add(-1)
	if o.err != nil && !errors.Is(o.err, client.ErrClosed) {
		p.cfg.logger.Warn("records were not delivered", "topic-partition", b.part.id(), "records", b.count, "error", o.err)
	}
	res := Result{Topic: b.part.topic.name, Partition: b.part.index, Offset: cluster.UnknownOffset}
	for _, c := range b.calls {
		if o.err != nil {
			c.f(res, o.err)
			continue
		}
		r := res
		if o.base >= 0 {
			r.Offset = o.base + cluster.Offset(c.index)
		}
		r.Timestamp = time.UnixMilli(c.timestamp)
		if o.appendTime >= 0 {
			r.Timestamp = time.UnixMilli(o.appendTime)
		}
		c.f(r, nil)
	}
	if p.cfg.onBatch != nil {
		base := o.base
		if o.err != nil {
			base = cluster.UnknownOffset
		}
		p.cfg.onBatch(BatchReport{
			TopicPartition: b.part.id(), Records: b.count, Bytes: o.bytes, Attempts: b.attempts, BaseOffset: base,
			Created: b.created, Done: time.Now(), Err: o.err,
		})
	}
	b.dropCalls()
}
