// Package controller is the controller of a cluster: the broker that won the election decides who leads which partition, notices
// brokers that come and go, and creates and deletes topics (F§2).
//
// Every broker has a [Controller]; at most one of them is active. The decisions are made by the pure machine in package
// state; this package is the shell around it: one goroutine that takes one event after the other and for each does
//
//	plan → commit (fenced, through zk/store) → apply → send (through package channel)
//
// Events are watches that fired, answers of brokers, and the beginnings and ends of ZooKeeper sessions. A watch is a hint: the
// handler reads again, which sets the watch again, and the machine compares with what it knew. After a reconnection, when no
// watch can be relied on, everything is read again.
//
// A reign ends when a write is refused by its fence, when the session ends, when another broker is named in /controller, or
// when anything unexpected happens: the machine is thrown away, the senders stop, and nothing is written (F§2.4). The next
// reign begins from what is in ZooKeeper. Ending is always safe, at any point.
//
// Topics are created and deleted by the goroutine of the request (create.go, delete.go): it checks, writes the nodes that ask
// for it, and waits for the broker's own metadata. The event loop sees the nodes through its watches like anybody's.
package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/controller/channel"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
)

// Channels carries the machine's orders to the brokers during one reign. Its methods are called by one goroutine and do not
// block, but for Close, which waits until no callback can come any more. [channel.Senders] is the real one.
type Channels interface {
	// Add starts sending to a broker, Remove ends it, Move changes the address.
	Add(state.Broker)
	Remove(cluster.BrokerID)
	Move(state.Broker)
	// Send queues an order.
	Send(state.Request)
	// Close ends all sending.
	Close()
}

// Config is what a controller is made of.
type Config struct {
	// BrokerID is this broker.
	BrokerID cluster.BrokerID
	// Metadata is this broker's picture of the cluster: new topics are placed on its brokers, and requests wait for it to change.
	Metadata *metadata.Cache
	// Dial opens connections to brokers; nil means TCP.
	Dial dial.Dialer
	// Token returns what proves to brokers that orders come from a broker of the cluster; nil gives no proof.
	Token func() string
	// InterBrokerListener is the name of the listener that orders are sent to.
	InterBrokerListener string
	// Logger reports; nil means nothing does.
	Logger hclog.Logger
	// Now measures intervals, so its times have a monotonic reading; nil means time.Now.
	Now func() time.Time
	// TimeOfDay is what /controller is dated with; nil means Now.
	TimeOfDay func() time.Time
	// NumPartitions is num.partitions; 0 means 1.
	NumPartitions int
	// ReplicationFactor is default.replication.factor; 0 means 1.
	ReplicationFactor int
	// DeleteTopics is delete.topic.enable.
	DeleteTopics bool
	// UncleanElection returns unclean.leader.election.enable as it is when a reign begins; nil means false. Changes during a reign are for
	// UncleanElectionEnabled and UncleanElectionDisabled to tell.
	UncleanElection func() bool
	// MinISR returns min.insync.replicas as it is at the moment, of all topics that do not override it and of those that do; nil means 1. It must
	// not block.
	MinISR func() (all int, overrides map[string]int)
	// LearnTopics makes MinISR know the overrides of topics that have none of their replicas here: of all topics (nil) when a reign begins, then of
	// those that are created. nil means that MinISR knows anyway. The event loop waits for it.
	LearnTopics func(ctx context.Context, topics []string)
	// SessionTimeout is zookeeper.session.timeout.ms: how long a broker may be out of reach of the controller alone; 0 means 18 s.
	SessionTimeout time.Duration
	// RebalanceInterval is leader.imbalance.check.interval.seconds if auto.leader.rebalance.enable is on; 0 means never.
	RebalanceInterval time.Duration
	// ImbalancePercentage is leader.imbalance.per.broker.percentage.
	ImbalancePercentage int
	// RequestTimeout is controller.socket.timeout.ms; 0 means its default, 30 s.
	RequestTimeout time.Duration
	// ValidateTopicConfig checks the overrides of a new topic; its errors carry a code. nil accepts everything.
	ValidateTopicConfig func(map[string]string) error
	// Random returns a number in [0, n), for the placement of replicas; nil means math/rand.
	Random func(n int) int
	// Channels makes the senders of a reign; nil means gRPC.
	Channels func(channel.Config) Channels
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.Metadata == nil {
		c.Metadata = metadata.NewCache()
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TimeOfDay == nil {
		c.TimeOfDay = c.Now
	}
	if c.NumPartitions <= 0 {
		c.NumPartitions = 1
	}
	if c.ReplicationFactor <= 0 {
		c.ReplicationFactor = 1
	}
	if c.UncleanElection == nil {
		c.UncleanElection = func() bool { return false }
	}
	if c.LearnTopics == nil {
		c.LearnTopics = func(context.Context, []string) {}
	}
	if c.MinISR == nil {
		c.MinISR = func() (int, map[string]int) { return 1, nil }
	}
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = 18 * time.Second
	}
	if c.ValidateTopicConfig == nil {
		c.ValidateTopicConfig = func(map[string]string) error { return nil }
	}
	if c.Random == nil {
		c.Random = rand.IntN
	}
	if c.Channels == nil {
		c.Channels = func(cfg channel.Config) Channels { return channel.New(cfg) }
	}
	return c
}

// Controller is this broker's part in the election, and the controller while it is elected. It is safe for concurrent use.
type Controller struct {
	cfg   Config
	log   hclog.Logger
	queue *queue
	done  chan struct{} // closed when the loop has ended

	current  atomic.Pointer[Session] // the session that requests work in, nil without one
	active   atomic.Bool
	activeID atomic.Int32
	stats    atomic.Pointer[Stats]
	seen     atomic.Pointer[contact.View] // who answers, the latest view; nil before the first
	looking  atomic.Bool                  // an event to look at it waits

	// What follows belongs to the event loop.
	session     Session // nil between sessions
	reign       *reign  // nil while not active
	retry       *time.Timer
	holding     bool      // after a failed reign: no election before retry fires
	activeSince time.Time // since when the controller is known, see contactChanged
}

// Stats are numbers for gauges, as of the last event that was handled.
type Stats struct {
	// Active is true on the broker that is controller.
	Active bool
	// Epoch is the epoch of this controller's reign, 0 when not active.
	Epoch cluster.ControllerEpoch
	// Counts holds the numbers of brokers, topics and partitions; zero when not active.
	Counts state.Counts
}

// New returns a controller without a session: it waits for [Controller.NewSession]. [Controller.Close] ends it.
func New(cfg Config) *Controller {
	c := &Controller{cfg: cfg.withDefaults(), queue: newQueue(), done: make(chan struct{})}
	c.log = c.cfg.Logger
	c.activeID.Store(int32(cluster.NoBroker))
	c.stats.Store(&Stats{})
	go c.loop()
	return c
}

// Join takes part in the election in a new session, in which the broker is registered already. It does not block. The
// controller closes s when the session is over or the controller is closed.
func (c *Controller) Join(s Session) {
	c.queue.put(event{name: "new session", run: func(ctx context.Context) { c.join(ctx, s) }, dropped: s.Close})
}

// SessionExpired ends what rests on the current session: it drops all waiting events, resigns, and returns when that is done.
// Nothing is written. It must be called before another session is made.
func (c *Controller) SessionExpired() {
	handled := make(chan struct{})
	c.current.Store(nil)
	c.queue.clearAndPut(event{name: "session expired", run: func(context.Context) { c.leave("the session is over") }, ended: func() { close(handled) }})
	<-handled
}

// Close resigns and waits until the event loop has ended, or ctx is done. /controller stays until the session ends: close the
// session right after.
func (c *Controller) Close(ctx context.Context) error {
	c.current.Store(nil)
	c.queue.close()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the controller: %w", ctx.Err())
	}
}

// IsActive reports whether this broker is the controller, as far as it knows.
func (c *Controller) IsActive() bool { return c.active.Load() }

// ActiveID returns the broker that /controller named when it was last read, [cluster.NoBroker] when it named none.
func (c *Controller) ActiveID() cluster.BrokerID { return cluster.BrokerID(c.activeID.Load()) }

// Stats returns the numbers as of the last event.
func (c *Controller) Stats() Stats { return *c.stats.Load() }

// join begins with a new session.
func (c *Controller) join(ctx context.Context, s Session) {
	c.leave("the session is over")
	c.session = s
	c.current.Store(&s)
	c.elect(ctx)
}

// leave ends what rests on the session, if there is one.
func (c *Controller) leave(reason string) {
	c.resign(reason)
	c.setActiveID(cluster.NoBroker)
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
	if c.retry != nil {
		c.retry.Stop()
	}
	c.holding = false
}

// setActiveID remembers who is controller.
func (c *Controller) setActiveID(id cluster.BrokerID) {
	if old := c.activeID.Swap(int32(id)); old != int32(id) && id != cluster.NoBroker {
		c.activeSince = c.cfg.Now()
		c.log.Info("the controller is known", "controller", id)
	}
}

// elect looks who is controller and, if nobody is, tries to become it (F§1.3). Looking sets the watch on /controller.
func (c *Controller) elect(ctx context.Context) {
	if c.session == nil || c.reign != nil || c.holding {
		return
	}
	id, ok, err := c.session.ActiveController(ctx)
	if err != nil {
		c.electLater("could not read who is controller", err)
		return
	}
	if ok && id != c.cfg.BrokerID {
		c.setActiveID(id)
		return
	}
	// Nobody, or what an earlier session or reign of this broker has left behind.
	power, id, err := c.session.Elect(ctx, c.cfg.TimeOfDay().UnixMilli())
	switch {
	case errors.Is(err, ErrMoved):
		c.log.Debug("lost the election", "error", err)
		// The node that won was created after the watch was set, so that an event is on its way.
	case err != nil:
		c.electLater("could not take part in the election", err)
	case power == nil:
		c.setActiveID(id)
	default:
		c.setActiveID(c.cfg.BrokerID)
		c.begin(ctx, power)
	}
}

// electRetry is how long to wait before another election after one that failed for a reason that may last.
const electRetry = time.Second

// electLater tries again after a while, unless the session is over: then the next one begins with an election.
func (c *Controller) electLater(text string, err error) {
	if c.session == nil || !c.session.Live() {
		c.log.Info(text, "error", err)
		return
	}
	c.log.Warn(text, "error", err, "retry-in", electRetry)
	if c.retry != nil {
		c.retry.Stop()
	}
	c.retry = time.AfterFunc(electRetry, func() {
		c.queue.put(event{name: "elect", run: func(ctx context.Context) {
			c.holding = false
			c.elect(ctx)
		}})
	})
}

// controllerChanged is told that /controller was created, changed or deleted.
func (c *Controller) controllerChanged(ctx context.Context) {
	if c.session == nil {
		return
	}
	id, ok, err := c.session.ActiveController(ctx)
	if err != nil {
		c.electLater("could not read who is controller", err)
		return
	}
	if !ok {
		id = cluster.NoBroker
	}
	if c.reign != nil && id != c.cfg.BrokerID {
		c.resign(fmt.Sprintf("broker %d is the controller now", id))
	}
	c.setActiveID(id)
	c.elect(ctx)
}
