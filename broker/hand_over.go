package broker

import (
	"context"
	"time"

	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
)

// peers are the other brokers as package replica wants to see them.
type peers struct{ *peer.Peers }

// Leader implements replica.Peers.
func (p peers) Leader(id cluster.BrokerID) replica.Leader { return p.Peers.Leader(id) }

// handOver asks the controller to move this broker's leaderships to other brokers before it stops (F§2.11). It asks again while some are left, and
// then leaves them: what cannot be moved, or no controller that answers, must not keep a broker from stopping. Alone in the cluster it does nothing,
// because there is nobody to hand anything to.
func (b *Broker) handOver(ctx context.Context) error {
	s := b.settings.current()
	if !s.Bool("controlled.shutdown.enable") {
		return nil
	}
	start := time.Now()
	retries := s.Int("controlled.shutdown.max.retries")
	backoff := s.Milliseconds("controlled.shutdown.retry.backoff.ms")
	for attempt := 0; attempt < max(retries, 1) && ctx.Err() == nil; attempt++ {
		if len(b.metadata.Image().Brokers()) < 2 {
			return nil
		}
		asked := b.metadata.Image().ControllerID()
		left, err := b.peers.ControlledShutdown(ctx, b.registrar.brokerEpoch())
		switch {
		case err != nil:
			b.log.Warn("leaderships could not be handed over", "attempt", attempt+1, "error", err)
		case len(left) > 0:
			b.log.Warn("leaderships are left that no other broker can take", "attempt", attempt+1, "partitions", len(left), "first", left[0].String())
		default:
			b.log.Info("leaderships are handed over", "took", time.Since(start).Round(time.Millisecond))
			return nil
		}
		if attempt+1 < retries {
			b.pauseUnlessNews(ctx, backoff, asked)
		}
	}
	b.log.Warn("stopping without having handed over all leaderships")
	return nil
}

// pauseUnlessNews waits for d, the end of ctx, or another controller than the one that was asked.
func (b *Broker) pauseUnlessNews(ctx context.Context, d time.Duration, asked cluster.BrokerID) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := b.metadata.Changed()
		if b.metadata.Image().ControllerID() != asked {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
