package producer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// Partition says where a record goes. The zero value leaves the choice to the producer; see [To].
type Partition int32

// To is partition n, counting from 0. A negative n is refused when the record is sent.
func To(n int32) Partition {
	if n < 0 {
		return -1
	}
	return Partition(n + 1)
}

// Record is what a producer writes.
type Record struct {
	// Topic is required.
	Topic string
	// Partition is chosen by the producer if it is zero: by the key if there is one (murmur2 as Kafka's clients do, F§9.1), and otherwise
	// one after another, a batch's worth at a time (KIP-794).
	Partition Partition
	// Key may be nil; an empty key is not nil.
	Key []byte
	// Value may be nil, which deletes the key in compacted topics.
	Value []byte
	// Headers may be nil.
	Headers []record.Header
	// Timestamp is the current time if it is zero. It is written with millisecond precision.
	Timestamp time.Time
}

// Result says where a record is.
type Result struct {
	// Topic it was written to.
	Topic string
	// Partition it was written to.
	Partition int32
	// Offset is [cluster.UnknownOffset] with [AcksNone]. With idempotence it can be unknown in rare cases: the record turned out to be in the log
	// already, and the broker does not know any more where.
	Offset cluster.Offset
	// Timestamp is the record's own, or the broker's for topics with LogAppendTime.
	Timestamp time.Time
}

// Producer writes records. All methods are safe for concurrent use.
type Producer struct {
	cl  *client.Client
	cfg config
	mem *budget
	ids identities

	ctx    context.Context // ends when the producer is aborted
	cancel context.CancelFunc
	wait   sync.WaitGroup

	topics   atomic.Pointer[map[string]*topic] // replaced under mu
	closed   atomic.Bool                       // no more records are taken
	flushing atomic.Int32                      // flushes that are going on: nothing lingers
	live     atomic.Int64                      // batches without an outcome
	busy     chan struct{}                     // capacity 1: the housekeeper has something to look at
	waiters  sync.Pool                         // of *waiter

	mu      sync.Mutex
	aborted bool

	out struct { // guarded by its own lock, which is taken after a partition's
		sync.Mutex
		senders map[cluster.BrokerID]*sender
		aborted bool
	}
}

// New returns a producer on cl. Options that contradict each other are an error. The producer must be closed before the client.
func New(cl *client.Client, opts ...Option) (*Producer, error) {
	cfg, err := newConfig(cl, opts)
	if err != nil {
		return nil, err
	}
	p := &Producer{cl: cl, cfg: cfg, mem: newBudget(cfg.bufferMemory), busy: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ids.id = cluster.NoProducerID
	p.topics.Store(&map[string]*topic{})
	p.waiters.New = newWaiter
	p.out.senders = map[cluster.BrokerID]*sender{}
	p.wait.Go(p.housekeeping)
	if cfg.idempotent {
		p.ids.asking = true
		p.wait.Go(p.identify)
	}
	return p, nil
}

// SendAsync hands a record over and returns without waiting for the answer. It waits for the topic's metadata and for buffer memory, at most
// [MaxBlock] each. The record is copied; the caller may use its slices again at once.
//
// An error means that the record was not accepted, and f is not called. Otherwise f, if it is not nil, is called exactly once with the
// outcome, for the records of one partition in order, from a goroutine of the producer: it must not block, in particular not in Flush
// or Close, and not in sending more when buffer memory may be used up.
func (p *Producer) SendAsync(ctx context.Context, r Record, f func(Result, error)) error {
	if p.closed.Load() {
		return client.ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t := p.lookup(r.Topic); t != nil {
		if part := t.choose(&r); part != nil {
			part.mu.Lock()
			ok := part.appendLocked(&r, f)
			part.mu.Unlock()
			if ok {
				return nil
			}
			return p.sendSlow(ctx, part, r, f)
		}
	}
	if r.Partition < 0 {
		return &client.Error{Op: "send to topic " + r.Topic, Broker: cluster.NoBroker, Err: kerr.InvalidRequest.With("the record's partition is negative")}
	}
	t, err := p.join(ctx, r.Topic, max(0, int32(r.Partition)-1))
	if err != nil {
		return err
	}
	return p.sendSlow(ctx, t.choose(&r), r, f)
}

// sendSlow adds a record that the open batch has no room for, or for which there is no open batch: it reserves memory for a new one.
func (p *Producer) sendSlow(ctx context.Context, part *partition, r Record, f func(Result, error)) error {
	need := record.HeaderSize + record.UncompressedSize(r.Key, r.Value, r.Headers)
	if need > p.cfg.maxRequestSize {
		return &client.Error{Op: "send to", Broker: cluster.NoBroker, TopicPartition: part.id(), Err: kerr.MessageTooLarge.With(fmt.Sprintf(
			"the message is %d bytes when serialized which is larger than %d, which is the value of max.request.size", need, p.cfg.maxRequestSize))}
	}
	part.mu.Lock()
	size := max(need, part.target)
	part.mu.Unlock()
	if small := max(need, p.cfg.batchSize); size > small && !p.mem.try(int64(size)) {
		size = small // memory is short: no growing
	} else if size > small {
		return p.sendInto(part, size, r, f)
	}
	if err := p.mem.take(ctx, p.ctx.Done(), int64(size), p.cfg.maxBlock, p.hurry); err != nil {
		return &client.Error{Op: "send to", Broker: cluster.NoBroker, TopicPartition: part.id(), Err: err}
	}
	return p.sendInto(part, size, r, f)
}

// sendInto opens a batch of the given size, which has been reserved, and adds the record to it.
func (p *Producer) sendInto(part *partition, size int, r Record, f func(Result, error)) error {
	part.mu.Lock()
	if part.dead != nil {
		part.mu.Unlock()
		p.mem.give(int64(size))
		return part.dead
	}
	if part.appendLocked(&r, f) { // somebody else has opened a batch meanwhile
		part.mu.Unlock()
		p.mem.give(int64(size))
		return nil
	}
	part.closeLocked()
	part.open = newBatch(part, size)
	p.born(1)
	ok := part.appendLocked(&r, f)
	part.offerLocked()
	part.mu.Unlock()
	if !ok {
		return &client.Error{Op: "send to", Broker: cluster.NoBroker, TopicPartition: part.id(), Err: kerr.MessageTooLarge}
	}
	return nil
}

// waiter is a Send that waits. The callback is made once, because every closure is an allocation. The pool of waiters is the producer's own:
// channels must not wander between synctest bubbles.
type waiter struct {
	ch       chan waiterResult
	callback func(Result, error)
}

// waiterResult is what a waiter waits for.
type waiterResult struct {
	result Result
	err    error
}

func newWaiter() any {
	w := &waiter{ch: make(chan waiterResult, 1)}
	w.callback = func(r Result, err error) { w.ch <- waiterResult{r, err} }
	return w
}

// Send writes a record and waits for the answer. When ctx ends first, the record may still be written.
func (p *Producer) Send(ctx context.Context, r Record) (Result, error) {
	w := p.waiters.Get().(*waiter)
	if err := p.SendAsync(ctx, r, w.callback); err != nil {
		p.waiters.Put(w)
		return Result{}, err
	}
	select {
	case o := <-w.ch:
		p.waiters.Put(w)
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx) // w is lost: its answer is still to come
	}
}

// Flush waits until everything that was accepted before has its outcome, and its callbacks have run. Nothing lingers meanwhile. It returns
// an error only when ctx ends first.
func (p *Producer) Flush(ctx context.Context) error {
	p.flushing.Add(1)
	defer p.flushing.Add(-1)
	p.hurry()
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			done := part.flush()
			if done == nil {
				continue
			}
			select {
			case <-done:
			case <-ctx.Done():
				return fmt.Errorf("flush: %w", context.Cause(ctx))
			}
		}
	}
	return nil
}

// Partitions returns how many partitions a topic has, waiting for its metadata as sending does.
func (p *Producer) Partitions(ctx context.Context, topicName string) (int, error) {
	t := p.lookup(topicName)
	if t == nil {
		var err error
		if t, err = p.join(ctx, topicName, 0); err != nil {
			return 0, err
		}
	}
	return len(*t.parts.Load()), nil
}

// BufferedBytes returns how much of the buffer memory is in use.
func (p *Producer) BufferedBytes() int64 { return p.mem.used() }

// Close refuses further records, waits until all accepted ones have their outcome, and stops the producer. When ctx ends first, the
// rest fails with [client.ErrClosed] and Close returns ctx's error; what was on its way then may still be written. Closing again
// waits the same way.
func (p *Producer) Close(ctx context.Context) error {
	p.closed.Store(true)
	err := p.Flush(ctx)
	p.abort()
	return err
}

// abort ends all goroutines and fails everything that has no outcome yet.
func (p *Producer) abort() {
	p.mu.Lock()
	p.aborted = true
	p.mu.Unlock()
	p.out.Lock()
	p.out.aborted = true
	p.out.Unlock()
	p.eachPartition(func(part *partition) { part.dead = client.ErrClosed })
	p.cancel()
	p.wait.Wait() // what was in flight has its outcome now; what stood behind it follows
	p.eachPartition(func(part *partition) { part.drainLocked(client.ErrClosed) })
	p.deliverAll()
}

// born counts batches that want an outcome.
func (p *Producer) born(n int64) {
	if p.live.Add(n) == n {
		p.nudge()
	}
}

// nudge wakes the housekeeper.
func (p *Producer) nudge() {
	select {
	case p.busy <- struct{}{}:
	default:
	}
}

// hurry makes all senders look again at what lingers.
func (p *Producer) hurry() {
	p.out.Lock()
	defer p.out.Unlock()
	for _, s := range p.out.senders {
		s.hurry()
	}
}

// assignLocked gives a partition to the sender of its leader, as soon as nothing of it is in flight any more: otherwise batches could
// overtake each other on two streams. The partition is locked.
func (p *Producer) assignLocked(part *partition) {
	meta, ok := p.cl.CachedTopic(part.topic.name)
	if !ok || int(part.index) >= len(meta.Partitions) {
		return // nothing better is known; the present leader will say so
	}
	var s *sender
	if leader := meta.Partitions[part.index].Leader; leader >= 0 {
		s = p.senderOf(leader)
	}
	if s == part.sender {
		part.moved = false
		return
	}
	if len(part.flying) > 0 {
		part.moved = true
		return
	}
	if s != nil && part.sender != nil {
		part.notBefore = time.Time{} // what was waited for may be this
	}
	part.sender = s
	part.place = idle
	part.round = 0 // the other sender counts for itself
	part.moveLocked()
	part.offerLocked()
}

// senderOf returns the sender for a broker; nil when the producer is being stopped.
func (p *Producer) senderOf(id cluster.BrokerID) *sender {
	p.out.Lock()
	defer p.out.Unlock()
	if s, ok := p.out.senders[id]; ok {
		return s
	}
	if p.out.aborted {
		return nil
	}
	s := newSender(p, id)
	p.out.senders[id] = s
	p.wait.Go(s.run)
	return s
}
