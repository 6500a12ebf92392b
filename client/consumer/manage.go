package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// manage is the manager, the consumer's own goroutine from New to Close: whenever something has changed it compares every partition with what
// should be and mends the difference.
func (c *Consumer) manage() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed := c.cl.MetadataChanged()
		next := c.reconcile(time.Now())
		var alarm <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			alarm = timer.C
		}
		select {
		case <-c.kick:
		case <-changed:
		case <-alarm:
		case <-c.ctx.Done():
			return
		}
	}
}

// reconcile puts every partition where it belongs and returns when to look again, or zero if only news can change anything.
func (c *Consumer) reconcile(now time.Time) (next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return time.Time{}
	}
	parts := make([]*part, 0, len(c.parts))
	for _, p := range c.parts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, compareParts)
	lookups := map[lookup][]*part{}
	for _, p := range parts {
		if now.Before(p.notBefore) {
			if next.IsZero() || p.notBefore.Before(next) {
				next = p.notBefore
			}
			continue
		}
		switch {
		case p.stage == seeking:
			// One leader that does not answer must not hold up the others' partitions, nor its own when another one leads.
			if leader := c.leaderOf(p); !p.resolving || leader != p.asked && leader >= 0 {
				p.resolving, p.asked = true, leader
				p.lookup++
				key := lookup{p.byTime, leader}
				lookups[key] = append(lookups[key], p)
			}
		case p.wanted(now):
			c.placeLocked(p, now)
			if p.replica >= 0 && p.replicaT.After(now) && (next.IsZero() || p.replicaT.Before(next)) {
				next = p.replicaT
			}
		}
	}
	for key, ps := range lookups {
		c.lookUpLocked(ps, key.byTime)
	}
	return next
}

// lookup is what one lookup is about: partitions by time or not, of one leader.
type lookup struct {
	byTime bool
	leader cluster.BrokerID
}

// leaderOf returns a partition's leader as far as it is known.
func (c *Consumer) leaderOf(p *part) cluster.BrokerID {
	if t, ok := c.cl.CachedTopic(p.tp.Topic); ok && int(p.tp.Partition) < len(t.Partitions) {
		return t.Partitions[p.tp.Partition].Leader
	}
	return cluster.NoBroker
}

// wondering asks for metadata from time to time while a lookup is late, until stop is called.
func (c *Consumer) wondering() (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	c.wait.Go(func() {
		for client.Sleep(ctx, doubtAfter) == nil {
			c.cl.RequestRefresh()
		}
	})
	return cancel
}

// placeLocked puts a partition that should be fetched into the session of the right broker.
func (c *Consumer) placeLocked(p *part, now time.Time) {
	meta, ok := c.cl.CachedTopic(p.tp.Topic)
	switch {
	case !ok:
		return // it is on its way
	case meta.Err != kerr.None && !meta.Err.Retriable():
		c.failLocked(p, meta.Err)
		return
	case meta.Err != kerr.None || int(p.tp.Partition) >= len(meta.Partitions):
		c.retryLocked(p, now)
		return
	}
	if !p.topic.IsZero() && !meta.ID.IsZero() && p.topic != meta.ID {
		c.outOfRangeLocked(p, kerr.OffsetOutOfRange.With(fmt.Sprintf("offset %d is of an earlier topic of this name: it was deleted and created again", p.fetch)))
		return
	}
	m := meta.Partitions[p.tp.Partition]
	target := m.Leader
	if p.replica >= 0 && !p.mayReadFrom(p.replica, &m, now) {
		p.replica = cluster.NoBroker
	}
	if p.replica >= 0 {
		target = p.replica
	}
	switch {
	case target < 0:
		c.detachLocked(p)
		c.retryLocked(p, now)
	case p.on != nil && p.on.broker == target && p.epoch == m.LeaderEpoch:
	default:
		c.detachLocked(p)
		p.epoch, p.placed = m.LeaderEpoch, meta.ID
		c.attachLocked(p, target)
	}
}

// mayReadFrom reports whether to go on reading from a replica that the leader has named. It is asked again after metadata.max.age.ms, and when
// that replica is gone (KIP-392).
func (p *part) mayReadFrom(id cluster.BrokerID, m *client.Partition, now time.Time) bool {
	return now.Before(p.replicaT) && slices.Contains(m.Replicas, id) && !slices.Contains(m.Offline, id)
}

// retryLocked looks for better metadata and comes back to the partition after a back-off.
func (c *Consumer) retryLocked(p *part, now time.Time) {
	p.attempts++
	p.notBefore = now.Add(c.cfg.backoff.Wait(p.attempts))
	c.cl.RequestRefresh()
	c.poke()
}

// attachLocked puts a partition into the session of a broker.
func (c *Consumer) attachLocked(p *part, id cluster.BrokerID) {
	f := c.fetchers[id]
	if f == nil {
		f = newFetcher(c, id)
		c.fetchers[id] = f
		c.wait.Go(f.run)
	}
	p.on = f
	f.session[p.tp] = p
	f.dirty[p.tp] = p
	delete(f.forgotten, p.tp)
	f.notify()
}

// detachLocked takes a partition out of the session that it is in.
func (c *Consumer) detachLocked(p *part) {
	f := p.on
	if f == nil {
		return
	}
	p.on = nil
	delete(f.session, p.tp)
	delete(f.dirty, p.tp)
	f.forgotten[p.tp] = struct{}{}
	f.notify()
}

// lookUpLocked finds the positions of partitions by timestamp in a goroutine of its own.
func (c *Consumer) lookUpLocked(ps []*part, byTime bool) {
	at := make(map[cluster.TopicPartition]int64, len(ps))
	generations, numbers := make(map[*part]uint64, len(ps)), make(map[*part]uint64, len(ps))
	for _, p := range ps {
		at[p.tp] = p.at
		generations[p], numbers[p] = p.generation.Load(), p.lookup
	}
	stop := c.wondering()
	c.wait.Go(func() {
		defer stop()
		found := c.cl.TryListOffsets(c.ctx, c.cfg.isolation, at)
		if byTime {
			c.fallBack(found)
		}
		if c.ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range ps {
			if p.generation.Load() != generations[p] || p.lookup != numbers[p] {
				continue // sought elsewhere meanwhile, or asked for elsewhere
			}
			c.foundLocked(p, found[p.tp])
		}
		c.changedLocked()
		c.poke()
	})
}

// fallBack replaces the results of lookups by time that found nothing by the end of the partition.
func (c *Consumer) fallBack(found map[cluster.TopicPartition]client.OffsetResult) {
	ends := map[cluster.TopicPartition]int64{}
	for tp, r := range found {
		if r.Err == nil && r.Offset < 0 {
			ends[tp] = client.Latest
		}
	}
	for tp, r := range c.cl.TryListOffsets(c.ctx, c.cfg.isolation, ends) {
		found[tp] = r
	}
}

// persistent is how many failures in a row are worth a line in the log.
const persistent = 5

// foundLocked takes the result of a lookup.
func (c *Consumer) foundLocked(p *part, r client.OffsetResult) {
	switch {
	case r.Err == nil && r.Offset >= 0:
		p.startAt(r.Offset)
	case r.Err == nil:
		c.failLocked(p, kerr.UnknownServerError.With("the broker knows no offset for the partition"))
	case client.Retriable(r.Err):
		if p.attempts == persistent {
			c.cfg.logger.Warn("still cannot look up where to start", "topic-partition", p.tp, "error", r.Err)
		}
		p.resolving = false
		c.retryLocked(p, time.Now())
	default:
		c.failLocked(p, r.Err)
	}
}
