package producer

import (
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// housekeeping is the producer's own goroutine, from New until the producer is aborted. It follows the metadata, which gives partitions to the
// senders of their leaders, and fails batches whose delivery timeout has passed.
func (p *Producer) housekeeping() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var alarm <-chan time.Time
	for {
		changed := p.cl.MetadataChanged()
		p.follow()
		next, any := p.expire(time.Now())
		switch {
		case any:
			timer.Reset(time.Until(next))
			alarm = timer.C
		default:
			alarm = nil // until a batch is born
		}
		select {
		case <-changed:
		case <-alarm:
		case <-p.busy:
		case <-p.ctx.Done():
			return
		}
	}
}

// follow brings all topics up to date with the metadata. While records wait for a leader it asks for newer metadata; the client paces that.
func (p *Producer) follow() {
	defer func() {
		if p.stranded() {
			p.cl.RequestRefresh()
		}
	}()
	for name := range *p.topics.Load() {
		if meta, ok := p.cl.CachedTopic(name); ok && len(meta.Partitions) > 0 {
			if _, err := p.adopt(meta); err != nil {
				return
			}
		}
	}
}

// stranded reports whether a partition without a leader has something to send.
func (p *Producer) stranded() bool {
	if p.live.Load() == 0 {
		return false
	}
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			part.mu.Lock()
			stranded := part.sender == nil && part.hasDataLocked()
			part.mu.Unlock()
			if stranded {
				return true
			}
		}
	}
	return false
}

// expire fails the batches whose time is over and returns when the next one's will be. Batches of a partition are all younger than the one
// before, so the search ends at the first that has time left.
func (p *Producer) expire(now time.Time) (next time.Time, any bool) {
	if p.live.Load() == 0 {
		return time.Time{}, false
	}
	next = now.Add(p.cfg.deliveryTimeout)
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			part.mu.Lock()
			n, due := part.expireLocked(now, p.cfg.deliveryTimeout)
			part.mu.Unlock()
			if !due.IsZero() && due.Before(next) {
				next = due
			}
			if n > 0 {
				p.deliver(part)
			}
		}
	}
	return next, true
}

// expireLocked fails the batches whose time is over and returns their number, and when the next one's time is over. Those in flight keep their
// buffers until they land.
func (p *partition) expireLocked(now time.Time, patience time.Duration) (n int, due time.Time) {
	var last error
	if p.topic.producer.cfg.idempotent && p.numbers.id < 0 {
		last = p.topic.producer.whyUnnumbered()
	}
	late := p.topic.producer.timedOut(last)
	for _, b := range p.flying {
		if b.reported {
			continue
		}
		if at := b.created.Add(patience); now.Before(at) {
			return n, at
		}
		p.concludeLocked(outcome{batch: b, base: cluster.UnknownOffset, appendTime: -1, bytes: b.taken, err: p.failure(late)})
		n++
	}
	for len(p.queue) > 0 || p.open != nil {
		if len(p.queue) == 0 {
			if at := p.open.created.Add(patience); now.Before(at) {
				return n, at
			}
			p.closeLocked()
		}
		b := p.queue[0]
		if at := b.created.Add(patience); now.Before(at) {
			return n, at
		}
		p.queue = p.queue[1:]
		p.backlog.Add(-1)
		p.failLocked(b, late)
		n++
	}
	return n, time.Time{}
}
