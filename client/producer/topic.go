package producer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	keyed "github.com/ottla/ottla/proto/partition"
)

// maxGrownBatch is what batches may grow to: the default of message.max.bytes, less its overhead.
const maxGrownBatch = 1 << 20

// topic is a topic that records have been sent to. The list of partitions only grows and is replaced whole.
type topic struct {
	producer *Producer
	name     string
	parts    atomic.Pointer[[]*partition]
	led      atomic.Pointer[[]int32] // indexes of partitions with a leader
	sticky   atomic.Int32
	modest   atomic.Bool // a broker has refused a grown batch: never grow again
}

// largest is the size that batches may grow to.
func (t *topic) largest() int {
	cfg := &t.producer.cfg
	if !cfg.adaptiveBatch || t.modest.Load() {
		return cfg.batchSize
	}
	return max(cfg.batchSize, min(cfg.maxRequestSize, maxGrownBatch, int(min(cfg.bufferMemory/4, maxGrownBatch))))
}

func (t *topic) isSticky(i int32) bool { return t.sticky.Load() == i }

// choose returns the partition for a record, or nil when the record names one that is not there.
func (t *topic) choose(r *Record) *partition {
	parts := *t.parts.Load()
	switch {
	case r.Partition != 0:
		if i := int(r.Partition) - 1; i >= 0 && i < len(parts) {
			return parts[i]
		}
		return nil
	case r.Key != nil && !t.producer.cfg.ignoreKeys:
		return parts[keyed.ForKey(r.Key, int32(len(parts)))]
	}
	return parts[t.sticky.Load()]
}

// pickSticky chooses the partition for the next records without a key: at random among those with a leader, the shorter the queue
// the likelier; another one than the present if there is one (KIP-480, KIP-794, F§9.2).
func (t *topic) pickSticky(present int32) {
	parts := *t.parts.Load()
	led := *t.led.Load()
	if len(led) == 0 {
		t.sticky.Store(rand.Int32N(int32(len(parts))))
		return
	}
	queues := make([]int32, len(led))
	for i, p := range led {
		queues[i] = parts[p].backlog.Load()
	}
	var next int32
	if t.producer.cfg.adaptivePick {
		next = led[weighted(queues, rand.Int32N)]
	} else {
		next = led[rand.IntN(len(led))]
	}
	if next == present && len(led) > 1 {
		next = led[(indexOf(led, present)+1)%len(led)]
	}
	t.sticky.Store(next)
}

func indexOf(led []int32, p int32) int {
	for i, q := range led {
		if q == p {
			return i
		}
	}
	return 0
}

// weighted draws an index so that index i has the weight longest+1-queues[i] (KIP-794). random returns a number below its argument.
func weighted(queues []int32, random func(int32) int32) int {
	var longest, sum int32
	for _, q := range queues {
		longest = max(longest, q)
	}
	for _, q := range queues {
		sum += longest + 1 - q
	}
	r := random(sum)
	for i, q := range queues {
		if r -= longest + 1 - q; r < 0 {
			return i
		}
	}
	return len(queues) - 1
}

// lookup returns a topic that was sent to before.
func (p *Producer) lookup(name string) *topic { return (*p.topics.Load())[name] }

// join waits for a topic's metadata, for up to MaxBlock, until it has more than the given partition.
func (p *Producer) join(ctx context.Context, name string, index int32) (*topic, error) {
	fail := func(err error) (*topic, error) {
		return nil, &client.Error{Op: "send to topic " + name, Broker: cluster.NoBroker, Err: err}
	}
	if err := cluster.ValidateTopicName(name); err != nil {
		return fail(kerr.InvalidTopicException.With(err.Error()))
	}
	patience := time.NewTimer(p.cfg.maxBlock)
	defer patience.Stop()
	p.cl.Track(name, true)
	for {
		changed := p.cl.MetadataChanged()
		reason := error(kerr.UnknownTopicOrPartition)
		if meta, ok := p.cl.CachedTopic(name); ok {
			switch {
			case meta.Err != kerr.None && !meta.Err.Retriable():
				return fail(meta.Err.Err())
			case meta.Err != kerr.None:
				reason = meta.Err
			case int(index) < len(meta.Partitions):
				return p.adopt(meta)
			default:
				reason = kerr.UnknownTopicOrPartition.With(fmt.Sprintf("the topic has %d partitions, there is no partition %d", len(meta.Partitions), index))
			}
			p.cl.RequestRefresh()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fail(fmt.Errorf("%w while waiting for metadata: %w", context.Cause(ctx), reason))
		case <-p.ctx.Done():
			return fail(client.ErrClosed)
		case <-patience.C:
			return fail(fmt.Errorf("topic %s not present in metadata after %d ms: %w", name, p.cfg.maxBlock.Milliseconds(), reason))
		}
	}
}

// adopt makes a topic out of its metadata, or brings it up to date.
func (p *Producer) adopt(meta *client.Topic) (*topic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.aborted {
		return nil, client.ErrClosed
	}
	t := p.lookup(meta.Name)
	if t == nil {
		t = &topic{producer: p, name: meta.Name}
		t.parts.Store(&[]*partition{})
	}
	parts := *t.parts.Load()
	for i := len(parts); i < len(meta.Partitions); i++ {
		parts = append(parts[:i:i], newPartition(t, int32(i)))
	}
	var led []int32
	for _, m := range meta.Partitions {
		if m.Leader >= 0 {
			led = append(led, m.Index)
		}
	}
	t.led.Store(&led)
	t.parts.Store(&parts)
	if known := *p.topics.Load(); known[meta.Name] == nil {
		t.pickSticky(-1)
		fresh := make(map[string]*topic, len(known)+1)
		for n, o := range known {
			fresh[n] = o
		}
		fresh[meta.Name] = t
		p.topics.Store(&fresh)
	}
	for _, part := range parts {
		part.mu.Lock()
		p.assignLocked(part)
		part.mu.Unlock()
	}
	return t, nil
}
