// Package txn is the room of the transaction coordinator. So far it hands out the ids of producers that do without transactions: it claims
// blocks of them in ZooKeeper, ahead of need, so that nobody who asks for an id waits for one (KIP-98, F§1.8; Kafka's
// ProducerIdManager).
package txn

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk/znode"
)

// Claim takes the next block of producer ids for this broker. A block that was returned belongs to the caller alone; after an error a block may be
// lost, which is harmless. It is not called twice at once.
type Claim func(ctx context.Context) (znode.ProducerIDBlock, error)

// Waits. Those who ask wait for a block no longer than patience, and try again later: the coordination service may be away for long.
const (
	patience     = time.Second
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// ProducerIDs hands out producer ids, each of them once in the life of the cluster. It is safe for concurrent use.
type ProducerIDs struct {
	claim  Claim
	log    hclog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	ids      ids
	claiming bool          // a goroutine is after another block
	news     chan struct{} // closed when a block has come, and replaced
	err      error         // why the last attempt to claim failed; nil once it has succeeded
}

// NewProducerIDs returns a source of ids, which claims its first block at once: then producers can begin when the coordination service is away.
func NewProducerIDs(claim Claim, log hclog.Logger) *ProducerIDs {
	p := &ProducerIDs{claim: claim, log: log, news: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.claiming = true
	p.wait.Go(p.fetch)
	return p
}

// Next returns an id that nobody has. When there is none within a second, the error has the code COORDINATOR_LOAD_IN_PROGRESS, which clients
// repeat; after Close it is COORDINATOR_NOT_AVAILABLE. Otherwise it is that of ctx.
func (p *ProducerIDs) Next(ctx context.Context) (cluster.ProducerID, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		id, news, ok := p.take()
		if ok {
			return id, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return cluster.NoProducerID, context.Cause(ctx)
		case <-p.ctx.Done():
			return cluster.NoProducerID, kerr.CoordinatorNotAvailable
		case <-limit.C:
			return cluster.NoProducerID, p.none()
		}
	}
}

// take hands out an id and sees to it that there is always another block. Without an id it returns what is closed when one has come.
func (p *ProducerIDs) take() (cluster.ProducerID, <-chan struct{}, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := p.ids.take()
	if p.ids.hungry() && !p.claiming && p.ctx.Err() == nil {
		p.claiming = true
		p.wait.Go(p.fetch)
	}
	return id, p.news, ok
}

// none is the answer when there is no id.
func (p *ProducerIDs) none() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return kerr.CoordinatorLoadInProgress.With("no producer ids are left, and claiming more has failed so far: " + p.err.Error())
	}
	return kerr.CoordinatorLoadInProgress.With("no producer ids are left, more are being claimed")
}

// fetch claims a block, however often it takes.
func (p *ProducerIDs) fetch() {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		block, err := p.claim(p.ctx)
		p.mu.Lock()
		if p.err = err; err == nil {
			p.ids.add(block)
			p.claiming = false
			close(p.news)
			p.news = make(chan struct{})
			p.mu.Unlock()
			p.log.Debug("claimed producer ids", "from", block.Start, "to", block.End)
			return
		}
		p.mu.Unlock()
		if p.ctx.Err() != nil {
			return
		}
		p.log.Warn("claiming a block of producer ids failed, trying again", "in", backoff, "error", err)
		t := time.NewTimer(backoff)
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			return
		}
	}
}

// Close ends the claiming, and all calls of Next that wait.
func (p *ProducerIDs) Close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wait.Wait()
}
