package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// ErrNotAssigned is the reason when something is asked about a partition that is not assigned.
var ErrNotAssigned = errors.New("the partition is not assigned to this consumer")

// Consumer reads the partitions that are assigned to it. See the package comment for what is safe for concurrent use.
type Consumer struct {
	cl  *client.Client
	cfg config

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	kick    chan struct{} // capacity 1: the manager has something to do
	arrived chan struct{} // capacity 1: something is in queue

	cursor  cursor     // of whoever holds reading
	reading sync.Mutex // held by Records and Poll while they run

	mu       sync.Mutex // guards what follows, and parts and fetchers; not held over anything that waits
	parts    map[cluster.TopicPartition]*part
	fetchers map[cluster.BrokerID]*fetcher
	queue    []chunk
	rackless time.Time     // until when no broker is told the rack
	changed  chan struct{} // closed when a position has become known, or an assignment has changed
	closed   bool
}

// New returns a consumer on cl without any partitions. It must be closed before the client.
func New(cl *client.Client, opts ...Option) (*Consumer, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		cl: cl, cfg: cfg,
		kick: make(chan struct{}, 1), arrived: make(chan struct{}, 1), changed: make(chan struct{}),
		parts: map[cluster.TopicPartition]*part{}, fetchers: map[cluster.BrokerID]*fetcher{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wait.Go(c.manage)
	return c, nil
}

// Assign replaces the assignment. Partitions that were assigned before keep their positions, the others start where [OffsetReset] says unless
// a seek follows. The partitions need not exist yet.
func (c *Consumer) Assign(tps ...cluster.TopicPartition) error {
	for _, tp := range tps {
		if err := cluster.ValidateTopicName(tp.Topic); err != nil {
			return &client.Error{Op: "assign", Broker: cluster.NoBroker, TopicPartition: tp, Err: kerr.InvalidTopicException.With(err.Error())}
		}
		if tp.Partition < 0 {
			return &client.Error{Op: "assign", Broker: cluster.NoBroker, TopicPartition: tp, Err: kerr.UnknownTopicOrPartition}
		}
		c.cl.Track(tp.Topic, c.cfg.autoCreate)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return client.ErrClosed
	}
	keep := make(map[cluster.TopicPartition]*part, len(tps))
	for _, tp := range tps {
		if p, ok := c.parts[tp]; ok {
			keep[tp] = p
			continue
		}
		if _, twice := keep[tp]; twice {
			continue
		}
		p := &part{tp: tp, replica: cluster.NoBroker}
		p.high.Store(-1)
		c.resetLocked(p)
		keep[tp] = p
	}
	for tp, p := range c.parts {
		if keep[tp] == nil {
			p.bump()
			c.detachLocked(p)
		}
	}
	c.parts = keep
	c.changedLocked()
	c.poke()
	return nil
}

// AssignTopics assigns every partition that the topics have now. It waits for their metadata until ctx ends.
func (c *Consumer) AssignTopics(ctx context.Context, topics ...string) error {
	var tps []cluster.TopicPartition
	for _, name := range topics {
		if err := cluster.ValidateTopicName(name); err != nil {
			return &client.Error{Op: "assign topic " + name, Broker: cluster.NoBroker, Err: kerr.InvalidTopicException.With(err.Error())}
		}
		c.cl.Track(name, c.cfg.autoCreate)
		t, err := c.cl.Topic(ctx, name)
		if err != nil {
			return err
		}
		for i := range t.Partitions {
			tps = append(tps, cluster.TopicPartition{Topic: name, Partition: int32(i)})
		}
	}
	return c.Assign(tps...)
}

// Assignment returns the assigned partitions in order.
func (c *Consumer) Assignment() []cluster.TopicPartition {
	return c.list(func(*part) bool { return true })
}

func (c *Consumer) list(want func(*part) bool) []cluster.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	tps := make([]cluster.TopicPartition, 0, len(c.parts))
	for tp, p := range c.parts {
		if want(p) {
			tps = append(tps, tp)
		}
	}
	slices.SortFunc(tps, cluster.TopicPartition.Compare)
	return tps
}

// each calls f with the given partitions, or with all if none are given, in order, under the lock, after it has made sure that all are assigned.
func (c *Consumer) each(op string, tps []cluster.TopicPartition, f func(*part)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return client.ErrClosed
	}
	var parts []*part
	for _, tp := range tps {
		p, ok := c.parts[tp]
		if !ok {
			return &client.Error{Op: op, Broker: cluster.NoBroker, TopicPartition: tp, Err: ErrNotAssigned}
		}
		parts = append(parts, p)
	}
	if len(tps) == 0 {
		for _, p := range c.parts {
			parts = append(parts, p)
		}
		slices.SortFunc(parts, func(a, b *part) int { return a.tp.Compare(b.tp) })
	}
	for _, p := range parts {
		f(p)
	}
	c.changedLocked()
	c.poke()
	return nil
}

// Seek makes offset the next record of a partition. Whether it exists turns out when it is fetched; see [OffsetReset].
func (c *Consumer) Seek(tp cluster.TopicPartition, offset cluster.Offset) error {
	if offset < 0 {
		return &client.Error{Op: "seek", Broker: cluster.NoBroker, TopicPartition: tp, Err: kerr.InvalidRequest.With(fmt.Sprintf("offset %d is negative", offset))}
	}
	return c.each("seek", []cluster.TopicPartition{tp}, func(p *part) {
		c.detachLocked(p)
		p.startAt(offset)
	})
}

// SeekToBeginning makes the first record there is the next one, for all partitions if none are given. It does not wait.
func (c *Consumer) SeekToBeginning(tps ...cluster.TopicPartition) error {
	return c.seekBy(tps, client.Earliest, false)
}

// SeekToEnd makes the record that will be written next the next one, for all partitions if none are given. It does not wait: what is
// written before the end has been looked up is skipped.
func (c *Consumer) SeekToEnd(tps ...cluster.TopicPartition) error {
	return c.seekBy(tps, client.Latest, false)
}

// SeekToTimestamp makes the first record with that timestamp or a later one the next one, or the end if there is none, for all partitions
// if none are given. It does not wait.
func (c *Consumer) SeekToTimestamp(t time.Time, tps ...cluster.TopicPartition) error {
	return c.seekBy(tps, max(0, t.UnixMilli()), true)
}

func (c *Consumer) seekBy(tps []cluster.TopicPartition, at int64, byTime bool) error {
	return c.each("seek", tps, func(p *part) {
		c.detachLocked(p)
		p.lookUp(at, byTime)
	})
}

// Position returns the offset of the next record that the caller gets of a partition. It waits, until ctx ends, while that has to be looked
// up.
func (c *Consumer) Position(ctx context.Context, tp cluster.TopicPartition) (cluster.Offset, error) {
	for {
		c.mu.Lock()
		p, ok := c.parts[tp]
		changed, closed := c.changed, c.closed
		known := ok && p.stage != seeking && p.position.Load() >= 0
		c.mu.Unlock()
		switch {
		case closed:
			return cluster.UnknownOffset, client.ErrClosed
		case !ok:
			return cluster.UnknownOffset, &client.Error{Op: "position of", Broker: cluster.NoBroker, TopicPartition: tp, Err: ErrNotAssigned}
		case known:
			return cluster.Offset(p.position.Load()), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return cluster.UnknownOffset, &client.Error{Op: "position of", Broker: cluster.NoBroker, TopicPartition: tp, Err: context.Cause(ctx)}
		case <-c.ctx.Done():
		}
	}
}

// HighWatermark returns the end of a partition as far as consumers may read, from the last answer of its broker; false while there was none.
func (c *Consumer) HighWatermark(tp cluster.TopicPartition) (cluster.Offset, bool) {
	c.mu.Lock()
	p, ok := c.parts[tp]
	c.mu.Unlock()
	if !ok || p.high.Load() < 0 {
		return cluster.UnknownOffset, false
	}
	return cluster.Offset(p.high.Load()), true
}

// Pause stops the given partitions, or all, from being fetched and given out, until [Consumer.Resume]. What was fetched and not given out is
// dropped and fetched again later.
func (c *Consumer) Pause(tps ...cluster.TopicPartition) error {
	return c.each("pause", tps, func(p *part) {
		if p.paused {
			return
		}
		p.paused = true
		c.detachLocked(p)
		p.bump()
	})
}

// Resume undoes [Consumer.Pause].
func (c *Consumer) Resume(tps ...cluster.TopicPartition) error {
	return c.each("resume", tps, func(p *part) {
		if p.paused && p.stage == fetching {
			p.fetch = cluster.Offset(p.position.Load())
			p.epochs = p.epochs.before(p.fetch)
		}
		p.paused = false
	})
}

// Paused returns the partitions that are paused, in order.
func (c *Consumer) Paused() []cluster.TopicPartition {
	return c.list(func(p *part) bool { return p.paused })
}

// Close stops the consumer. Records and Poll end with [client.ErrClosed]. It waits for the consumer's goroutines until ctx ends.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.changedLocked()
		c.queue = nil
		for _, p := range c.parts {
			p.bump()
		}
	}
	c.mu.Unlock()
	c.cancel()
	done := make(chan struct{})
	go func() {
		c.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close consumer: %w", context.Cause(ctx))
	}
}

// changedLocked wakes those who wait for positions.
func (c *Consumer) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// poke makes the manager look at everything.
func (c *Consumer) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// resetLocked makes a partition start where OffsetReset says.
func (c *Consumer) resetLocked(p *part) {
	switch c.cfg.reset {
	case ResetEarliest:
		p.lookUp(client.Earliest, false)
	case ResetLatest:
		p.lookUp(client.Latest, false)
	default:
		p.lookUp(client.Latest, false)
		p.stage = stuck
		c.failLocked(p, kerr.OffsetOutOfRange.With("the partition has no position and there is no offset reset policy"))
	}
}

// failLocked queues an error of a partition, which waits for a seek from now on.
func (c *Consumer) failLocked(p *part, err error) {
	c.detachLocked(p)
	p.stage = stuck
	broker := cluster.NoBroker
	c.enqueueLocked(chunk{part: p, generation: p.generation.Load(), err: &client.Error{Op: "fetch", Broker: broker, TopicPartition: p.tp, Err: err}})
	c.changedLocked()
}

func (c *Consumer) enqueueLocked(ch chunk) {
	c.queue = append(c.queue, ch)
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func compareParts(a, b *part) int { return a.tp.Compare(b.tp) }
