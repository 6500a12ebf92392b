package channel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// warnEvery is how often an order that cannot be delivered is reported, in attempts: at 100 ms each, about twice a minute.
const warnEvery = 300

// sender delivers orders to one broker. push and setAddr are safe for concurrent use; the rest belongs to run.
type sender struct {
	cfg    Config
	tries  *atomic.Int64 // attempts of all senders of the reign
	id     cluster.BrokerID
	log    hclog.Logger
	cancel context.CancelFunc
	wake   chan struct{} // has a token when queue is not empty

	mu      sync.Mutex
	queue   []queued
	addr    string
	addrErr error // the broker has no address on the listener

	conn     *grpc.ClientConn // nil before the first attempt
	connAddr string           // what conn was made for
}

// push queues an order.
func (s *sender) push(q queued) {
	s.mu.Lock()
	s.queue = append(s.queue, q)
	if len(s.queue) > foldAt {
		s.foldLocked(q.epoch)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// foldLocked replaces what is queued by a few orders to the same effect.
func (s *sender) foldLocked(epoch cluster.BrokerEpoch) {
	bodies := make([]state.Body, len(s.queue))
	for i, q := range s.queue {
		bodies[i] = q.order.body
	}
	s.queue = nil
	for _, b := range Fold(bodies) {
		s.queue = append(s.queue, queued{order: &order{body: b, listener: s.cfg.Listener}, epoch: epoch})
	}
}

// setAddr says where the broker is.
func (s *sender) setAddr(b state.Broker) {
	a, err := addr(b, s.cfg.Listener)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr, s.addrErr = a, err
}

// pop takes the next order off the queue, waiting for one. It returns false when the sender ends.
func (s *sender) pop(ctx context.Context) (queued, bool) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 && ctx.Err() == nil {
			q := s.queue[0]
			s.queue[0] = queued{}
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return q, true
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
			return queued{}, false
		}
	}
}

// run delivers orders until ctx ends.
func (s *sender) run(ctx context.Context) {
	defer s.disconnect()
	for {
		q, ok := s.pop(ctx)
		if !ok {
			return
		}
		for _, c := range q.order.calls() {
			if !s.deliver(ctx, c, q.epoch) {
				return
			}
		}
	}
}

// deliver repeats one call until it is answered. It returns false when the sender ends.
func (s *sender) deliver(ctx context.Context, c call, epoch cluster.BrokerEpoch) bool {
	for attempt := 0; ; attempt++ {
		err := s.attempt(ctx, c, epoch)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if attempt%warnEvery == 0 {
			s.log.Warn("could not deliver an order, it is repeated", "order", c.name(), "attempt", attempt+1, "error", err)
		}
		timer := time.NewTimer(retryBackoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// attempt makes one call and digests the answer.
func (s *sender) attempt(ctx context.Context, c call, epoch cluster.BrokerEpoch) error {
	client, err := s.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	code, answer, err := c.do(ctx, client, header{s.cfg.ControllerID, s.cfg.Epoch, s.id, epoch, s.tries.Add(1)})
	if err != nil {
		return err
	}
	if code != kerr.None {
		s.log.Warn("a broker has refused an order", "order", c.name(), "error", code.Name(), "broker-epoch", epoch)
	}
	if code == kerr.StaleControllerEpoch {
		s.cfg.Deposed()
	}
	if answer != nil {
		s.cfg.Answer(answer)
	}
	return nil
}

// connect returns a client on a connection to the broker's current address.
func (s *sender) connect() (ottlapb.ControlServiceClient, error) {
	s.mu.Lock()
	a, err := s.addr, s.addrErr
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if s.conn == nil || s.connAddr != a {
		s.disconnect()
		conn, err := dial.Connect(a, dial.ClientOptions{Dial: s.cfg.Dial, ConnectTimeout: dial.BrokerConnectTimeout, ClientID: fmt.Sprintf("controller-%d", s.cfg.ControllerID), BrokerToken: s.cfg.Token})
		if err != nil {
			return nil, err
		}
		s.conn, s.connAddr = conn, a
	}
	return ottlapb.NewControlServiceClient(s.conn), nil
}

// disconnect closes the connection.
func (s *sender) disconnect() {
	if s.conn != nil {
		_ = s.conn.Close() // it only fails if it is closed already
		s.conn = nil
	}
}
