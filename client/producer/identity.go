package producer

import (
	"context"
	"fmt"
	"sync"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// identities is where the partitions get the producer's id from. Its lock is taken after a partition's.
type identities struct {
	mu     sync.Mutex
	id     cluster.ProducerID // NoProducerID while there is none
	asking bool               // a goroutine asks the brokers for one
	err    error              // why asking has failed the last time
}

// identity returns the producer's id. If there is none but the one that is spent for the partition that asks, it sees to another one; all
// partitions are offered to their senders when it has come. It is called by senders only.
func (p *Producer) identity(spent cluster.ProducerID) (cluster.ProducerID, bool) {
	i := &p.ids
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id >= 0 && i.id != spent {
		return i.id, true
	}
	i.id = cluster.NoProducerID
	if !i.asking {
		i.asking = true
		p.wait.Go(p.identify)
	}
	return cluster.NoProducerID, false
}

// identify asks any broker for a producer id until there is an answer that will not change. If that is an error, it fails all that waits.
func (p *Producer) identify() {
	for {
		id, err := p.initProducerID()
		if p.ctx.Err() != nil {
			return
		}
		again := err != nil && client.Retriable(err)
		i := &p.ids
		i.mu.Lock()
		i.asking, i.err = again, err
		if err == nil {
			i.id = id
		}
		i.mu.Unlock()
		switch {
		case err == nil:
			p.cfg.logger.Debug("the producer has an id", "producer-id", id)
			p.eachPartition((*partition).offerLocked)
			return
		case again:
			p.cfg.logger.Warn("no broker gives this producer an id, asking again", "error", err)
		default:
			p.failUnnumbered(err)
			return
		}
	}
}

// initProducerID asks for an id, for as long as the client tries such calls.
func (p *Producer) initProducerID() (cluster.ProducerID, error) {
	id := cluster.NoProducerID
	err := p.cl.Do(p.ctx, client.AnyBroker, "init producer id", func(ctx context.Context, api *client.API) error {
		res, err := api.Transactions.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{})
		if err != nil {
			return err
		}
		if code := kerr.Code(res.GetErrorCode()); code != kerr.None {
			return code.With(res.GetErrorMessage())
		}
		if res.GetProducerId() < 0 || res.GetProducerEpoch() != 0 {
			return kerr.UnknownServerError.With(fmt.Sprintf("the broker answers with the producer id %d and the epoch %d", res.GetProducerId(), res.GetProducerEpoch()))
		}
		id = cluster.ProducerID(res.GetProducerId())
		return nil
	})
	return id, err
}

// failUnnumbered fails everything that waits for a producer id. What comes later asks again.
func (p *Producer) failUnnumbered(err error) {
	p.eachPartition(func(part *partition) {
		if part.numbers.id < 0 && len(part.flying) == 0 {
			part.drainLocked(fmt.Errorf("no producer id, which enable.idempotence needs: %w", err))
		}
	})
	p.deliverAll()
}

// whyUnnumbered returns why there is no producer id, or nil.
func (p *Producer) whyUnnumbered() error {
	p.ids.mu.Lock()
	defer p.ids.mu.Unlock()
	return p.ids.err
}

// eachPartition calls f with every partition, locked.
func (p *Producer) eachPartition(f func(*partition)) {
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			part.mu.Lock()
			f(part)
			part.mu.Unlock()
		}
	}
}
