package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// registrar keeps the broker registered in /brokers/ids through all of its ZooKeeper sessions, and tells the controller of each.
//
// Its hooks are called by one goroutine, one after the other, and the next session is not begun before Expired has returned; start runs
// in another goroutine, and a guard in one more. They take turns.
type registrar struct {
	broker *Broker
	own    *store.OwnSessions
	dir    string // where the session is saved
	remove func()
	guards sync.WaitGroup  // one for each session that is not over
	life   context.Context // of the guards; stop ends it
	end    context.CancelFunc

	current atomic.Pointer[store.Store]
	epoch   atomic.Int64

	turn       chan struct{}       // a token for whoever's turn it is; what follows belongs to that one
	started    bool                // start was called: from now on every session is registered
	session    *zk.Session         // the current one
	began      cluster.BrokerEpoch // the first registration of this process, 0 before
	registered chan struct{}       // closed once the broker was registered for the first time
}

func newRegistrar(b *Broker, own *store.OwnSessions, dir string) *registrar {
	r := &registrar{broker: b, own: own, dir: dir, registered: make(chan struct{}), turn: make(chan struct{}, 1)}
	r.life, r.end = context.WithCancel(context.Background())
	r.epoch.Store(int64(cluster.NoBrokerEpoch))
	defer r.pass() // the first turn is this function's
	session, remove := b.zk.OnSession(zk.Hooks{Expired: r.expired, New: r.renewed})
	r.remove = remove
	r.adoptLocked(session)
	return r
}

// pass ends a turn.
func (r *registrar) pass() { r.turn <- struct{}{} }

// store returns the operations on the current session.
func (r *registrar) store() *store.Store { return r.current.Load() }

// brokerEpoch returns the czxid of the current registration, NoBrokerEpoch while there is none.
func (r *registrar) brokerEpoch() cluster.BrokerEpoch { return cluster.BrokerEpoch(r.epoch.Load()) }

func (r *registrar) adoptLocked(s *zk.Session) {
	r.session = s
	r.current.Store(store.New(s, r.own))
}

// start registers the broker for the first time. If the session ends meanwhile, the next one is registered instead.
func (r *registrar) start(ctx context.Context) error {
	<-r.turn
	r.started = true
	err := r.registerLocked(ctx)
	r.pass()
	if err == nil || !errors.Is(err, zk.ErrSessionExpired) {
		return err
	}
	select {
	case <-r.registered:
		return nil
	case <-r.broker.done:
		return r.broker.Err()
	case <-ctx.Done():
		return fmt.Errorf("register broker %d: %w", r.broker.id, errors.Join(ctx.Err(), err))
	}
}

// expired is told that the session is over: everything that rests on it ends before the next begins.
func (r *registrar) expired(*zk.Session) {
	<-r.turn
	started := r.started
	r.epoch.Store(int64(cluster.NoBrokerEpoch))
	r.pass()
	r.broker.log.Warn("the ZooKeeper session is over; registering again with the next one")
	if started {
		r.broker.controller.SessionExpired()
	}
}

// registerPause is how long to wait before the broker is registered again after an attempt that ZooKeeper did not answer.
const registerPause = time.Second

// renewed is told of the next session. It tries to register for as long as the session lasts: a ZooKeeper that hangs up on everybody, because all come
// back at once, must not end all brokers. An answer that says no does.
func (r *registrar) renewed(s *zk.Session) {
	<-r.turn
	defer r.pass()
	r.adoptLocked(s)
	if !r.started {
		return
	}
	for {
		err := r.registerLocked(context.Background())
		if err == nil || errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrClosed) {
			return
		}
		if !unanswered(err) {
			r.broker.fail(err)
			return
		}
		r.broker.log.Warn("could not register again; trying again", "error", err, "retry-in", registerPause)
		select {
		case <-time.After(registerPause):
		case <-s.Done():
			return
		}
	}
}

// unanswered reports whether an operation has failed because ZooKeeper gave no answer.
func unanswered(err error) bool {
	var op *zk.OpError
	return errors.As(err, &op) && op.Class != zk.Definite
}

// registerLocked writes /brokers/ids/<id> in the current session and starts the controller's part of it.
func (r *registrar) registerLocked(ctx context.Context) error {
	b := r.broker
	if err := saveSession(b.cfg.FS, r.dir, b.cfg.Settings.String("zookeeper.connect"), r.session); err != nil {
		b.log.Warn("after a crash this broker will have to wait until its session expires", "error", err)
	}
	if err := r.writeLocked(ctx); err != nil {
		return err
	}
	b.controller.NewSession(r.session, r.store())
	select {
	case <-r.registered:
	default:
		close(r.registered)
	}
	s := r.session
	r.guards.Go(func() { r.guard(s) })
	return nil
}

// writeLocked writes /brokers/ids/<id> in the current session.
func (r *registrar) writeLocked(ctx context.Context) error {
	b := r.broker
	epoch, err := r.store().RegisterBroker(ctx, b.id, b.registration(b.clock.Now(), r.began))
	if err != nil {
		return fmt.Errorf("register broker %d in ZooKeeper: %w", b.id, err)
	}
	r.epoch.Store(int64(epoch))
	if r.began == 0 {
		r.began = epoch
	}
	b.log.Info(fmt.Sprintf("Registered broker %d at path /brokers/ids/%d", b.id, b.id), "epoch", epoch, "addresses", fmt.Sprint(b.listeners.advertised))
	return nil
}

// guard writes the registration again if it vanishes while its session lasts, because somebody has deleted it by hand: a broker that nobody knows would go
// on serving what others lead by then.
func (r *registrar) guard(s *zk.Session) {
	w := s.Watch()
	defer w.Close()
	for {
		var again <-chan time.Time
		_, there, err := w.Exists(r.life, znode.BrokerPath(r.broker.id))
		if err == nil && !there {
			r.broker.log.Warn("the registration in ZooKeeper has vanished; registering again")
			err = r.restore(r.life, s)
		}
		switch {
		case s.Err() != nil || r.life.Err() != nil:
			return
		case err != nil && !unanswered(err):
			r.broker.fail(err)
			return
		case err != nil:
			again = time.After(registerPause)
		}
		select {
		case <-w.Ready():
			w.Take()
		case <-again:
		case <-s.Done():
			return
		case <-r.life.Done():
			return
		}
	}
}

// restore writes the registration again in the same session.
func (r *registrar) restore(ctx context.Context, s *zk.Session) error {
	select {
	case <-r.turn:
		defer r.pass()
	case <-s.Done():
		return nil
	case <-ctx.Done():
		return nil
	}
	if r.session != s {
		return nil
	}
	return r.writeLocked(ctx)
}

// stop lets later sessions go unregistered. The registration itself ends with the session, after everything else has stopped, so that
// the controller of a broker that stops does not take its own broker for dead.
func (r *registrar) stop(context.Context) error {
	r.remove()
	r.end()
	r.guards.Wait()
	return nil
}

// registration is the content of /brokers/ids/<id> (F§1.4). began is the first registration of this process, if there was one: a controller that was not there
// when the session ended sees from it that nothing was lost.
func (b *Broker) registration(now time.Time, began cluster.BrokerEpoch) znode.Broker {
	return znode.Broker{
		Endpoints: b.listeners.endpoints(),
		JMXPort:   -1,
		Timestamp: now.UnixMilli(),
		Rack:      b.cfg.Settings.String("broker.rack"),
		Since:     began,
	}
}
