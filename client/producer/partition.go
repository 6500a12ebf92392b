package producer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// place says where a partition stands with its sender.
type place int8

const (
	idle      place = iota // not on a list: nothing to send, or waiting for an answer, or without a leader
	lingering              // on the sender's list of partitions that wait for a moment in time
	ready                  // on the sender's list of partitions to send from
)

// partition is one partition's outbox. The lock is held for the encoding of one record at most; it is taken before a sender's
// lock, never after.
type partition struct {
	topic *topic
	index int32

	backlog atomic.Int32 // closed batches and batches in flight, for the partitioner

	mu        sync.Mutex
	open      *batch   // takes records
	queue     []*batch // closed, in order; the first is sent next
	flying    []*batch // sent, not answered, in order
	sender    *sender  // of the leader; nil while there is none. Changes only while nothing is in flight
	moved     bool     // the leader has changed while something was in flight
	place     place    // on the lists of sender
	round     uint64   // the sender's request that last took a batch
	notBefore time.Time
	target    int   // size of the next batch
	sticky    int   // bytes appended since this became the sticky partition
	dead      error // set when the producer is closed: no more batches

	numbers numbering // with idempotence

	outcomes      []outcome  // not told yet, in the order of the batches
	spareOutcomes [1]outcome // room for the usual case
	delivering    bool       // a goroutine tells them

	accepted uint64 // records taken
	finished uint64 // records with an outcome; they finish in order
	waiters  []flushWaiter
}

type flushWaiter struct {
	upTo uint64
	done chan struct{}
}

func newPartition(t *topic, index int32) *partition {
	return &partition{
		topic: t, index: index, target: t.producer.cfg.batchSize,
		numbers: numbering{id: cluster.NoProducerID, spent: cluster.NoProducerID},
	}
}

func (p *partition) id() cluster.TopicPartition {
	return cluster.TopicPartition{Topic: p.topic.name, Partition: p.index}
}

// appendLocked adds a record to the open batch if there is one and it fits.
func (p *partition) appendLocked(r *Record, f func(Result, error)) bool {
	b := p.open
	if b == nil {
		return false
	}
	before := b.builder.EstimatedSize()
	if !b.append(r, f) {
		return false
	}
	p.accepted++
	if p.topic.isSticky(p.index) {
		p.sticky += b.builder.EstimatedSize() - before
		if p.sticky >= 2*int(b.reserved) {
			p.switchStickyLocked()
		}
	}
	return true
}

// switchStickyLocked moves the topic's keyless records to another partition. It is called at batch boundaries, once a batch's worth has
// gone here (KIP-794).
func (p *partition) switchStickyLocked() {
	p.sticky = 0
	p.topic.pickSticky(p.index)
}

// closeLocked closes the open batch.
func (p *partition) closeLocked() {
	b := p.open
	if b == nil {
		return
	}
	p.open = nil
	p.queue = append(p.queue, b)
	p.backlog.Add(1)
	if p.topic.isSticky(p.index) && p.sticky >= int(b.reserved)/2 {
		p.switchStickyLocked()
	}
	// Full while an earlier batch is still on its way: larger batches will catch up.
	if len(p.flying)+len(p.queue) > 1 {
		p.target = min(p.target*4, p.topic.largest())
	}
}

// nextLocked takes the batch to send now, or says why there is none: from when on to ask again, or zero if only news can change it. eager
// takes the open batch although it might still linger.
func (p *partition) nextLocked(now time.Time, eager bool) (b *batch, at time.Time) {
	cfg := &p.topic.producer.cfg
	if len(p.flying) >= p.limitLocked() {
		return nil, time.Time{}
	}
	if now.Before(p.notBefore) && p.hasDataLocked() {
		return nil, p.notBefore
	}
	p.notBefore = time.Time{}
	place := 0
	if cfg.idempotent && p.hasDataLocked() {
		var ok bool
		if place, ok = p.chooseLocked(now); !ok {
			return nil, time.Time{}
		}
	}
	if place < len(p.queue) {
		b = p.queue[place]
		if place == 0 {
			p.queue = p.queue[1:]
		} else {
			p.queue = slices.Delete(p.queue, place, place+1)
		}
		return b, time.Time{}
	}
	if p.open == nil || cfg.idempotent && len(p.flying) > 0 {
		return nil, time.Time{} // what is not full waits for the answer to what is under way, and grows
	}
	if at = p.open.created.Add(cfg.linger); now.Before(at) && !eager {
		return nil, at
	}
	b = p.open
	p.open = nil
	p.backlog.Add(1)
	size := b.builder.EstimatedSize()
	if p.topic.isSticky(p.index) && p.sticky >= int(b.reserved) {
		p.switchStickyLocked()
	}
	if size < p.target/4 {
		p.target = max(p.target/4, cfg.batchSize)
	}
	return b, time.Time{}
}

func (p *partition) hasDataLocked() bool { return p.open != nil || len(p.queue) > 0 }

// offerLocked tells the sender that there may be something to send.
func (p *partition) offerLocked() {
	if p.place == ready || !p.hasDataLocked() || len(p.flying) >= p.limitLocked() {
		return
	}
	if p.sender == nil {
		p.topic.producer.nudge() // somebody has to look for a leader
		return
	}
	if p.place == lingering && (len(p.queue) == 0 || !p.notBefore.IsZero() && time.Now().Before(p.notBefore)) {
		return // its time comes
	}
	p.place = ready
	p.sender.push(p)
}

// requeueLocked puts a batch that was taken back at its place: batches of a partition keep their order.
func (p *partition) requeueLocked(b *batch) {
	at := slices.IndexFunc(p.queue, func(q *batch) bool { return q.first > b.first })
	if at < 0 {
		at = len(p.queue)
	}
	p.queue = slices.Insert(p.queue, at, b)
}

// landLocked takes a batch off the list of those in flight, and moves the partition to another sender if that had to wait for it.
func (p *partition) landLocked(b *batch) {
	if i := slices.Index(p.flying, b); i >= 0 {
		p.flying = slices.Delete(p.flying, i, i+1)
	}
	p.backlog.Add(-1)
	if p.moved && len(p.flying) == 0 {
		p.moved = false
		p.topic.producer.assignLocked(p)
	}
}

// finishLocked counts records that have their outcome.
func (p *partition) finishLocked(n int) {
	p.finished += uint64(n)
	for len(p.waiters) > 0 && p.waiters[0].upTo <= p.finished {
		close(p.waiters[0].done)
		p.waiters = p.waiters[1:]
	}
}

// flush returns a channel that is closed when everything accepted so far is finished; nil if it is already.
func (p *partition) flush() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finished >= p.accepted {
		return nil
	}
	w := flushWaiter{upTo: p.accepted, done: make(chan struct{})}
	p.waiters = append(p.waiters, w)
	return w.done
}
