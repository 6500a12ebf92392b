package producer

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/wire"
)

// sender is the outbox for one broker. Its goroutine, run, is the only one that takes batches from partitions and sends them; the readers of
// its streams hand over the answers. The lock guards the lists; it is taken after a partition's lock, never before.
type sender struct {
	producer *Producer
	broker   cluster.BrokerID
	wake     chan struct{} // capacity 1
	unacked  atomic.Int32  // requests in flight

	mu      sync.Mutex
	ready   []*partition
	waiting []*partition // for a moment in time
	rescan  bool         // look at waiting before its time

	// Only for run.
	link  *link
	until time.Time // the earliest moment that a partition in waiting waits for
	req   wire.ProduceRequest
	round uint64 // counts requests that were collected
}

func newSender(p *Producer, id cluster.BrokerID) *sender {
	return &sender{producer: p, broker: id, wake: make(chan struct{}, 1)}
}

// push puts a partition on the list of those to send from.
func (s *sender) push(p *partition) {
	s.mu.Lock()
	s.ready = append(s.ready, p)
	s.mu.Unlock()
	s.notify()
}

func (s *sender) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hurry makes run look at what lingers.
func (s *sender) hurry() {
	s.mu.Lock()
	s.rescan = true
	s.mu.Unlock()
	s.notify()
}

// run is the sender's goroutine. It ends when the producer is aborted.
func (s *sender) run() {
	defer func() {
		if s.link != nil {
			s.link.close()
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if s.producer.ctx.Err() != nil {
			return
		}
		now := time.Now()
		s.review(now)
		if s.free() {
			s.dropBroken()
			if batches := s.collect(now); len(batches) > 0 {
				s.transmit(batches)
				continue
			}
		}
		var alarm <-chan time.Time
		if !s.until.IsZero() {
			timer.Reset(time.Until(s.until))
			alarm = timer.C
		}
		select {
		case <-s.wake:
		case <-alarm:
		case <-s.producer.ctx.Done():
			return
		}
	}
}

// dropBroken lets go of a stream that has ended. What was unanswered on it is back in the queues then, in front of what comes later.
func (s *sender) dropBroken() {
	if s.link != nil && s.link.broken() {
		s.link.close()
		s.link = nil
	}
}

// free reports whether another request may be sent.
func (s *sender) free() bool { return int(s.unacked.Load()) < s.producer.cfg.maxInFlight }

// eager reports whether nothing may linger now: somebody flushes, or waits for memory.
func (s *sender) eager() bool {
	return s.producer.flushing.Load() > 0 || s.producer.mem.waiting.Load() > 0
}

// review moves partitions whose time has come to the ready list.
func (s *sender) review(now time.Time) {
	s.mu.Lock()
	due := s.rescan || !s.until.IsZero() && !now.Before(s.until)
	s.rescan = false
	if due {
		s.ready = append(s.ready, s.waiting...)
		clear(s.waiting)
		s.waiting = s.waiting[:0]
		s.until = time.Time{}
	}
	s.mu.Unlock()
}

// collect takes at most one batch from each ready partition, until the request is full, and returns them sealed, ordered by topic.
func (s *sender) collect(now time.Time) []*batch {
	eager := s.eager()
	s.round++
	var batches []*batch
	var later []*partition // have more than this request may hold of them
	size := 0
	for size < s.producer.cfg.maxRequestSize && len(batches) < wire.MaxPartitionsPerRequest/2 {
		p := s.pop()
		if p == nil {
			break
		}
		p.mu.Lock()
		if p.sender != s {
			p.mu.Unlock()
			continue // moved to another broker
		}
		if p.round == s.round {
			// Its batch is in this request already, and since then it was filled and put on the list again. A request may hold one batch
			// of each partition only.
			later = append(later, p)
			p.mu.Unlock()
			continue
		}
		p.place = idle
		b, at := p.nextLocked(now, eager)
		if b == nil {
			if !at.IsZero() {
				p.place = lingering
				s.putOff(p, at)
			}
			p.mu.Unlock()
			s.producer.deliver(p)
			continue
		}
		if size > 0 && size+b.size() > s.producer.cfg.maxRequestSize {
			p.requeueLocked(b)
			p.place = ready
			later = append(later, p)
			p.mu.Unlock()
			break
		}
		if s.producer.cfg.idempotent && !b.numbered {
			p.numbers.number(b)
		}
		p.flying = append(p.flying, b)
		p.round = s.round
		b.attempts++
		b.taken = b.size()
		if p.hasDataLocked() && len(p.flying) < p.limitLocked() {
			p.place = ready
			later = append(later, p)
		}
		p.mu.Unlock()
		size += b.taken
		batches = append(batches, b)
	}
	if len(later) > 0 {
		s.mu.Lock()
		s.ready = append(later, s.ready...)
		s.mu.Unlock()
	}
	return s.seal(batches)
}

func (s *sender) pop() *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		return nil
	}
	p := s.ready[0]
	s.ready[0] = nil
	if s.ready = s.ready[1:]; len(s.ready) == 0 {
		s.ready = nil
	}
	return p
}

// putOff lists a partition for later.
func (s *sender) putOff(p *partition, at time.Time) {
	s.mu.Lock()
	s.waiting = append(s.waiting, p)
	s.mu.Unlock()
	if s.until.IsZero() || at.Before(s.until) {
		s.until = at
	}
}

// seal finishes the batches: header, checksum, compression. No lock is held. A batch that cannot be finished fails.
func (s *sender) seal(batches []*batch) []*batch {
	sealed := batches[:0]
	for _, b := range batches {
		if err := b.seal(&s.producer.cfg); err != nil {
			s.producer.settle(s, b, answer{err: err, absent: true})
			continue
		}
		sealed = append(sealed, b)
	}
	slices.SortStableFunc(sealed, func(a, b *batch) int { return strings.Compare(a.part.topic.name, b.part.topic.name) })
	return sealed
}

// transmit sends batches as one request, on a new stream if there is none.
func (s *sender) transmit(batches []*batch) {
	if s.link == nil {
		l, err := s.connect()
		if err != nil {
			s.fail(batches, err, true)
			return
		}
		s.link = l
	}
	s.link.send(batches)
}

// request fills the wire form of a request, which holds the batches' buffers until it is forgotten and may then be used again. The batches must not be on a
// link's list yet: the link's reader may settle what is on it at any moment.
func (s *sender) request(batches []*batch) *wire.ProduceRequest {
	r := &s.req
	r.Acks = int32(s.producer.cfg.acks)
	r.TimeoutMs = int32(min(s.producer.cfg.requestTimeout.Milliseconds(), 1<<31-1))
	topics := r.Topics[:0]
	for _, b := range batches {
		name := b.part.topic.name
		if n := len(topics); n == 0 || topics[n-1].Name != name {
			if n < cap(topics) {
				topics = topics[:n+1]
				topics[n].Name, topics[n].Partitions = name, topics[n].Partitions[:0]
			} else {
				topics = append(topics, wire.ProduceTopic{Name: name})
			}
		}
		t := &topics[len(topics)-1]
		b.owner.Ref()
		t.Partitions = append(t.Partitions, wire.ProducePartition{Index: b.part.index, Records: b.data, Owner: b.owner})
	}
	r.Topics = topics
	return r
}

// forget drops the references of the last request.
func (s *sender) forget() {
	for i := range s.req.Topics {
		for _, p := range s.req.Topics[i].Partitions {
			p.Owner.Free()
		}
		clear(s.req.Topics[i].Partitions)
	}
	s.req.Topics = s.req.Topics[:0]
}

// fail gives all batches of a request the same error. absent says that the request was not sent.
func (s *sender) fail(batches []*batch, err error, absent bool) {
	for _, b := range batches {
		s.producer.settle(s, b, answer{err: err, absent: absent})
	}
}
