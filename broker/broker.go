// Package broker puts the rooms of a broker together: it opens them in order, keeps the broker registered in ZooKeeper, and closes them in
// reverse.
//
// # Order
//
// Starting (F§7.17): lock the log directories, end the previous process's ZooKeeper session, connect to ZooKeeper and create the persistent
// paths, agree on the cluster id and the broker id, compare the clock with ZooKeeper's, load and recover the logs, bind the listeners, register the broker, start the
// controller, and only then answer clients. Closing goes the other way: hand leaderships over to other brokers, stop answering, demote the replicas, checkpoint and
// close the logs, resign, take the registration away, close the ZooKeeper session.
//
// # Sessions
//
// A broker lives through many ZooKeeper sessions. When one ends, the controller resigns before the next begins; with the next one the
// broker registers again, which gives it a new broker epoch, and takes part in the election again. Meanwhile it goes on serving.
//
// The id and password of the current session are kept in the first log directory. A broker that was killed and starts again proves with
// them that the old session was its own and ends it, instead of failing until it expires: only the holder of the password can do
// that, and the lock of the directory proves that the old process is gone.
//
// A [Broker] is safe for concurrent use.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/clock"
	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/txn"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/controller"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/zk"
)

// Config says how to start a broker.
type Config struct {
	// Settings are the broker's settings; required.
	Settings *config.Server
	// FS is where the log directories are; nil means the operating system's files.
	FS vfs.FS
	// Listen opens the listeners; nil means TCP.
	Listen func(addr string) (net.Listener, error)
	// Dial connects to other brokers; nil means TCP.
	Dial dial.Dialer
	// DialZooKeeper connects to ZooKeeper; nil means TCP.
	DialZooKeeper zk.Dialer
	// Now is the machine's wall clock; nil means time.Now. What records are dated with, and what is deleted by its age, goes by it as far as it is believed
	// (package broker/clock). Timeouts and intervals go by the monotonic clock, whatever this says.
	Now func() time.Time
	// HostName is what a listener without a host is advertised as; "" means the machine's name.
	HostName string
	// Logger is where the rooms log to; nil means nowhere.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Listen == nil {
		c.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Broker is a running broker. Use [Start].
type Broker struct {
	cfg    Config
	log    hclog.Logger
	id     cluster.BrokerID
	closed []func(context.Context) error // what Close does, last first

	clusterID   string
	clock       *clock.Clock
	dirs        *commitlog.DirLocks
	lost        *lostReplicas
	zk          *zk.Client
	settings    *settings
	dynamics    *dynamics
	logs        *commitlog.Manager
	peers       *peer.Peers
	replicas    *replica.Manager
	roles       atomic.Pointer[replica.Manager] // replicas, for the background work that begins before it is there
	metadata    *metadata.Cache
	controller  *controller.Controller
	secret      secret
	producerIDs *txn.ProducerIDs
	listeners   *listeners
	registrar   *registrar
	contacts    *contact.Watch // nil unless ottla.early.failover.enable
	dirLost     chan struct{}  // has a token when a log directory has failed and the controller is to be told

	closeOnce sync.Once
	closeErr  error
	done      chan struct{}
	failOnce  sync.Once
	failed    error
}

// stage is a step of starting that leaves something to undo.
type stage struct {
	name string
	run  func(context.Context) error
}

// Start starts a broker and returns when it is registered and answers clients. ctx bounds the start only. The errors are for an operator:
// each says what could not be done with which values, and what would help.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	b := &Broker{cfg: cfg.withDefaults(), done: make(chan struct{}), dirLost: make(chan struct{}, 1), metadata: metadata.NewCache()}
	b.log = b.cfg.Logger
	start := time.Now()
	for _, s := range []stage{
		{"identity", b.openIdentity},
		{"clock", b.openClock},
		{"logs", b.openLogs},
		{"listeners", b.openListeners},
		{"replicas", b.openReplicas},
		{"controller", b.openController},
		{"failures of log directories", b.openDirNews},
		{"dynamic settings", b.openDynamics},
		{"producer ids", b.openProducerIDs},
		{"contacts", b.openContacts},
		{"serving", b.serve},
	} {
		if err := s.run(ctx); err != nil {
			b.log.Debug("start failed", "stage", s.name, "error", err)
			_ = b.Close(context.WithoutCancel(ctx)) // what was opened so far; the error that matters is err
			return nil, err
		}
	}
	b.log.Info("the broker is ready", "took", time.Since(start).Round(time.Millisecond))
	b.log.Info(fmt.Sprintf("[KafkaServer id=%d] started", b.id)) // Kafka's very line, because scripts wait for it (F§7.17)
	return b, nil
}

// onClose adds something for Close to do before everything that was added earlier.
func (b *Broker) onClose(f func(context.Context) error) { b.closed = append(b.closed, f) }

// ID returns the broker's id.
func (b *Broker) ID() cluster.BrokerID { return b.id }

// Endpoints returns the addresses that the broker advertises, in the order of advertised.listeners.
func (b *Broker) Endpoints() []cluster.Endpoint { return b.listeners.endpoints() }

// IsController reports whether this broker is the controller at this moment.
func (b *Broker) IsController() bool { return b.controller.IsActive() }

// Done is closed when the broker has failed by itself or was closed; [Broker.Err] then tells which.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Err returns why the broker failed by itself: all its log directories are offline, or another broker took its id. nil while it runs and
// after an orderly Close.
func (b *Broker) Err() error {
	select {
	case <-b.done:
		return b.failed
	default:
		return nil
	}
}

// fail ends the broker by itself; the owner is to call Close and leave.
func (b *Broker) fail(err error) {
	b.failOnce.Do(func() {
		b.log.Error("this broker cannot go on", "error", err)
		b.failed = err
		close(b.done)
	})
}

// Close stops the broker in order: clients get no answers any more, logs are flushed and marked clean, the registration is taken away. ctx
// bounds how long calls under way may take. Calling it again returns the same error.
func (b *Broker) Close(ctx context.Context) error {
	b.closeOnce.Do(func() {
		var errs []error
		for i := len(b.closed) - 1; i >= 0; i-- {
			if err := b.closed[i](ctx); err != nil {
				errs = append(errs, err)
			}
		}
		b.closeErr = errors.Join(errs...)
		b.failOnce.Do(func() { close(b.done) })
		b.log.Info(fmt.Sprintf("[KafkaServer id=%d] shut down completed", b.id))
	})
	return b.closeErr
}
