package producer

import (
	"time"
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
			doomed, flying, due := part.expireLocked(now, p.cfg.deliveryTimeout)
			part.mu.Unlock()
			if !due.IsZero() && due.Before(next) {
				next = due
			}
			p.conclude(doomed, flying, p.timedOut(nil))
		}
	}
	return next, true
}

// expireLocked marks the batches whose time is over as reported and returns them in order, those in flight first, with their number, and when
// the next one's time is over.
func (p *partition) expireLocked(now time.Time, patience time.Duration) (doomed []*batch, flying int, due time.Time) {
	for _, b := range p.flying {
		if b.reported {
			continue
		}
		if at := b.created.Add(patience); now.Before(at) {
			return doomed, len(doomed), at
		}
		b.reported = true
		doomed = append(doomed, b)
	}
	flying = len(doomed)
	for len(p.queue) > 0 || p.open != nil {
		if len(p.queue) == 0 {
			if at := p.open.created.Add(patience); now.Before(at) {
				return doomed, flying, at
			}
			p.closeLocked()
		}
		b := p.queue[0]
		if at := b.created.Add(patience); now.Before(at) {
			return doomed, flying, at
		}
		b.reported = true
		p.queue = p.queue[1:]
		p.backlog.Add(-1)
		doomed = append(doomed, b)
	}
	return doomed, flying, time.Time{}
}
