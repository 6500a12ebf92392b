// Package channel carries the controller's orders to the brokers: one queue, one goroutine and one connection for each broker,
// strictly in order (F§2.10).
//
// An order is repeated every 100 ms, over new connections if need be, until the broker has answered or is removed; nothing
// overtakes it meanwhile. What piles up behind it is folded into a few orders to the same effect, so that memory is bounded by the size
// of the cluster and not by the length of an outage. Brokers take repeated orders without harm, tell by the broker epoch in each whether it is meant
// for this registration of theirs, and by its number whether it is an attempt that was given up and arrives after a later one. The controller sends to
// itself the same way, also when it is the only broker.
//
// gRPC stays in here: the controller sees [Senders] through an interface, and a simulator puts something else in its place.
package channel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
)

// retryBackoff is the time between two attempts of one order, as in Kafka.
const retryBackoff = 100 * time.Millisecond

// DefaultRequestTimeout is the default of controller.socket.timeout.ms.
const DefaultRequestTimeout = 30 * time.Second

// Config is what the senders of one reign share.
type Config struct {
	// ControllerID is this broker.
	ControllerID cluster.BrokerID
	// Epoch is the controller epoch that all orders carry.
	Epoch cluster.ControllerEpoch
	// Listener is the name of the listener that orders are sent to.
	Listener string
	// Dial opens connections; nil means TCP.
	Dial dial.Dialer
	// Token returns what proves to brokers that the controller belongs to the cluster; nil gives no proof.
	Token func() string
	// RequestTimeout is how long one attempt may take; 0 means DefaultRequestTimeout.
	RequestTimeout time.Duration
	// Logger reports what fails; nil means nothing does.
	Logger hclog.Logger
	// Answer takes the answers to LeaderAndIsr and StopReplica orders. It is called by several goroutines and must not block.
	Answer func(state.Event)
	// Deposed is called, by several goroutines, when a broker says that there is a newer controller. It must not block.
	Deposed func()
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Answer == nil {
		c.Answer = func(state.Event) {}
	}
	if c.Deposed == nil {
		c.Deposed = func() {}
	}
	return c
}

// Senders holds the sender of each broker during one reign. Its methods belong to one goroutine.
type Senders struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	tries   atomic.Int64 // attempts so far
	senders map[cluster.BrokerID]*sender

	lastBody  state.Body // the body that last was encoded for: it is often sent to all brokers
	lastOrder *order
}

// New returns senders without brokers.
func New(cfg Config) *Senders {
	s := &Senders{cfg: cfg.withDefaults(), senders: make(map[cluster.BrokerID]*sender)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Add starts a sender for a broker. An older one of the same broker ends with what it had queued.
func (s *Senders) Add(b state.Broker) {
	s.Remove(b.ID)
	snd := &sender{cfg: s.cfg, tries: &s.tries, id: b.ID, wake: make(chan struct{}, 1), log: s.cfg.Logger.With("broker", b.ID)}
	snd.setAddr(b)
	ctx, cancel := context.WithCancel(s.ctx)
	snd.cancel = cancel
	s.senders[b.ID] = snd
	s.running.Go(func() { snd.run(ctx) })
}

// Remove ends the sender of a broker and drops what it had queued.
func (s *Senders) Remove(id cluster.BrokerID) {
	if snd, ok := s.senders[id]; ok {
		snd.cancel()
		delete(s.senders, id)
	}
}

// Move makes the sender of a broker use its new address from the next attempt on.
func (s *Senders) Move(b state.Broker) {
	if snd, ok := s.senders[b.ID]; ok {
		snd.setAddr(b)
	}
}

// Send queues an order. It does not block. An order for a broker without sender is dropped.
func (s *Senders) Send(r state.Request) {
	snd, ok := s.senders[r.Broker]
	if !ok {
		s.cfg.Logger.Warn("an order for a broker that is not registered is dropped", "broker", r.Broker)
		return
	}
	if s.lastBody != r.Body {
		s.lastBody, s.lastOrder = r.Body, &order{body: r.Body, listener: s.cfg.Listener}
	}
	snd.push(queued{order: s.lastOrder, epoch: r.BrokerEpoch})
}

// Close ends all senders, drops what they had queued, and waits until they are gone: no callback comes after it.
func (s *Senders) Close() {
	s.cancel()
	s.running.Wait()
	clear(s.senders)
	s.lastBody, s.lastOrder = nil, nil
}

// queued is an order in the queue of one broker.
type queued struct {
	order *order
	epoch cluster.BrokerEpoch
}

// addr returns where a broker takes orders.
func addr(b state.Broker, listener string) (string, error) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e.Addr(), nil
		}
	}
	return "", fmt.Errorf("broker %d has no endpoint for listener %s", b.ID, listener)
}
