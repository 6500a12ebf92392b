package fakecluster

import (
	"context"
	"math"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

// numbered is what a partition remembers of an idempotent producer (F§4.12).
type numbered struct {
	epoch   int16
	batches []numberedBatch // the last five, oldest first
}

// numberedBatch is one of the batches that are remembered.
type numberedBatch struct {
	first, last int32
	offset      cluster.Offset
}

// InitProducerId gives a new id, from 4000 on.
func (s *services) InitProducerId(context.Context, *ottlapb.InitProducerIdRequest) (*ottlapb.InitProducerIdResponse, error) {
	c := s.cluster
	n := c.count("init-producer-id")
	if c.OnInitProducerID != nil {
		if err := c.OnInitProducerID(n); err != nil {
			code := kerr.CodeOf(err)
			if code == kerr.UnknownServerError {
				return nil, err
			}
			return &ottlapb.InitProducerIdResponse{ErrorCode: int32(code), ProducerId: -1, ProducerEpoch: -1}, nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	return &ottlapb.InitProducerIdResponse{ProducerId: 3999 + c.lastID}, nil
}

// produceLocked appends a batch of a client unless its sequence numbers say that it is there already, or is not the next one.
func (p *partition) produceLocked(b record.Batch) (cluster.Offset, kerr.Code) {
	if !b.HasProducerID() {
		return p.appendLocked(b), kerr.None
	}
	first, last := b.BaseSequence(), b.LastSequence()
	known := p.producers[b.ProducerID()]
	switch {
	case known == nil:
		known = &numbered{epoch: b.ProducerEpoch()}
	case b.ProducerEpoch() < known.epoch:
		return -1, kerr.InvalidProducerEpoch
	case b.ProducerEpoch() > known.epoch:
		if first != 0 {
			return -1, kerr.OutOfOrderSequenceNumber
		}
		known = &numbered{epoch: b.ProducerEpoch()}
	default:
		for _, have := range known.batches {
			if have.first == first && have.last == last {
				return have.offset, kerr.None
			}
		}
		if n := len(known.batches); n > 0 && first != (known.batches[n-1].last+1)&math.MaxInt32 {
			return -1, kerr.OutOfOrderSequenceNumber
		}
	}
	at := p.appendLocked(b)
	known.batches = append(known.batches, numberedBatch{first, last, at})
	known.batches = known.batches[max(0, len(known.batches)-5):]
	if p.producers == nil {
		p.producers = map[int64]*numbered{}
	}
	p.producers[b.ProducerID()] = known
	return at, kerr.None
}

// ForgetProducers makes a partition forget all idempotent producers, as after their expiry.
func (c *Cluster) ForgetProducers(tp cluster.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partLocked(tp).producers = nil
}

// RememberLastBatches makes a partition remember the last batch of each producer only, as a replica does that comes back with a snapshot.
func (c *Cluster) RememberLastBatches(tp cluster.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.partLocked(tp).producers {
		k.batches = k.batches[max(0, len(k.batches)-1):]
	}
}

// LoseBatches takes the last n batches off a partition's log, as an unclean election does.
func (c *Cluster) LoseBatches(tp cluster.TopicPartition, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partLocked(tp)
	rest := p.batches[:max(0, len(p.batches)-n)]
	p.batches, p.end, p.producers = nil, p.start, nil
	for _, b := range rest {
		p.end = cluster.Offset(b.BaseOffset())
		if _, code := p.produceLocked(b); code != kerr.None {
			c.tb.Errorf("the log of %v holds a batch that is refused with %v", tp, code)
		}
	}
}

// SetProducerEpoch makes a partition believe that it has seen an epoch of a producer.
func (c *Cluster) SetProducerEpoch(tp cluster.TopicPartition, id int64, epoch int16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partLocked(tp)
	if p.producers == nil {
		p.producers = map[int64]*numbered{}
	}
	p.producers[id] = &numbered{epoch: epoch}
}
