package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// changesKept is how long notifications of changes stay in ZooKeeper (ZkNodeChangeNotificationListener's expiration).
const changesKept = 15 * time.Minute

// changesRetry is how long to wait after settings could not be read.
const changesRetry = time.Second

// dynamics puts changes of settings in force while the broker runs (F§1.6). Whoever changes something writes it to /config/<type>/<name> and
// leaves a numbered notification in /config/changes. For each notification with a number above the last one the entity is read again and what it
// says now is applied; so nothing is lost when notifications arrive late, twice, or together. With a new session, when notifications may have come and
// gone unseen, everything is read.
//
// One goroutine does all of it. It is the only one that changes the broker's settings.
type dynamics struct {
	settings *settings
	own      *store.OwnSessions
	log      hclog.Logger
	// secret is read again with the settings; it has a watch of its own.
	secret *secret
	// topicsChanged is told that the overrides of topics have changed; without any, that all topics may be affected.
	topicsChanged func(topics ...string)
	// brokerChanged is told that the broker's settings have changed.
	brokerChanged func(before, after *config.Server)

	sessions chan *zk.Session // the next session; capacity 1
	asked    chan applyNow
	stop     context.CancelFunc
	done     chan struct{}
}

// applyNow asks for an entity to be read and applied without waiting for its notification.
type applyNow struct {
	entity znode.Entity
	done   chan struct{}
}

// openDynamics starts following changes.
func (b *Broker) openDynamics(context.Context) error {
	d := &dynamics{
		settings: b.settings, own: b.registrar.own, log: b.log.Named("settings"), secret: &b.secret,
		topicsChanged: b.topicsChanged, brokerChanged: b.settingsChanged,
		sessions: make(chan *zk.Session, 1), asked: make(chan applyNow), done: make(chan struct{}),
	}
	session, remove := b.zk.OnSession(zk.Hooks{New: d.renewed})
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go d.run(ctx, session)
	b.dynamics = d
	b.onClose(func(context.Context) error {
		remove()
		stop()
		<-d.done
		return nil
	})
	return nil
}

// topicsChanged hands the settings of topics to their logs, and lets the controller elect where that has become possible.
func (b *Broker) topicsChanged(topics ...string) {
	b.replicas.TopicConfigChanged(topics...)
	if len(topics) == 0 {
		topics = b.settings.overriding("unclean.leader.election.enable")
	}
	for _, topic := range topics {
		if b.settings.current().EffectiveTopic(b.settings.overrides(topic)).UncleanLeaderElection {
			b.controller.UncleanElectionEnabled(topic)
		}
	}
}

// settingsChanged puts what has changed of the broker's settings in force. Those that are defaults of topics reach the logs by topicsChanged.
func (b *Broker) settingsChanged(before, after *config.Server) {
	const unclean = "unclean.leader.election.enable"
	switch was, is := before.Bool(unclean), after.Bool(unclean); {
	case !was && is:
		b.controller.UncleanElectionEnabled("")
	case was && !is:
		b.controller.UncleanElectionDisabled()
	}
	b.logs.SetCleaner(cleanerConfig(after))
	b.logs.SetProducerIDExpiration(after.Milliseconds("producer.id.expiration.ms"))
	b.replicas.SetFetchers(after.Int("num.replica.fetchers"))
	b.throttle(after)
}

// throttle puts the rates in force at which throttled replicas are copied.
func (b *Broker) throttle(s *config.Server) {
	b.replicas.SetReplicationRates(s.Long("leader.replication.throttled.rate"), s.Long("follower.replication.throttled.rate"))
}

// renewed is told of the next session.
func (d *dynamics) renewed(s *zk.Session) {
	select {
	case <-d.sessions: // one that was over before anybody looked
	default:
	}
	d.sessions <- s // zk calls one hook at a time
}

func (d *dynamics) run(ctx context.Context, session *zk.Session) {
	defer close(d.done)
	for {
		d.follow(ctx, session)
		select {
		case session = <-d.sessions:
		case <-ctx.Done():
			return
		}
	}
}

// follow applies changes until the session is over.
func (d *dynamics) follow(ctx context.Context, session *zk.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{dynamics: d, store: store.New(session, d.own), watcher: session.Watch(), last: -1}
	defer f.watcher.Close()
	for {
		var again <-chan time.Time
		if err := f.step(ctx); err != nil {
			if ctx.Err() != nil || session.Err() != nil {
				return
			}
			d.log.Warn("cannot read changed settings, trying again", "error", err)
			again = time.After(changesRetry)
		}
		select {
		case <-f.watcher.Ready():
			f.watcher.Take() // an event says no more than that it is time to look
		case <-again:
		case a := <-d.asked:
			if err := f.apply(ctx, a.entity); err != nil {
				d.log.Warn("cannot apply a change at once; its notification will", "entity", a.entity.String(), "error", err)
			}
			close(a.done)
		case <-session.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// await asks for an entity to be applied and waits until it is. It gives up when ctx ends: the entity's notification is on its way in any case.
func (d *dynamics) await(ctx context.Context, e znode.Entity) {
	a := applyNow{e, make(chan struct{})}
	select {
	case d.asked <- a:
	case <-d.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-a.done:
	case <-ctx.Done():
	}
}

// follower follows changes through one session.
type follower struct {
	*dynamics
	store   *store.Store
	watcher *zk.Watcher

	loaded bool  // everything was read in this session
	last   int64 // the number of the last notification that was applied
}

// step applies what there is to apply, sets the watch on what comes next, and removes old notifications.
func (f *follower) step(ctx context.Context) error {
	if err := f.readSecret(ctx); err != nil {
		return err
	}
	changes, err := f.store.ConfigChanges(ctx, f.watcher, f.last)
	if err != nil && !f.settings.reportCorruption(err) {
		return err
	}
	if !f.loaded { // everything that the notifications so far are about is read now
		if err := f.load(ctx); err != nil {
			return err
		}
		f.loaded = true
	} else {
		var applied []znode.Entity
		for _, c := range changes {
			if slices.Contains(applied, c.Entity) {
				continue
			}
			if err := f.apply(ctx, c.Entity); err != nil {
				return err
			}
			applied = append(applied, c.Entity)
		}
	}
	newest := int64(0) // by ZooKeeper's clock, as the others: this machine's may be wrong
	for _, c := range changes {
		f.last, newest = max(f.last, c.Seq), max(newest, c.Created)
	}
	if err := f.store.PurgeConfigChanges(ctx, newest-changesKept.Milliseconds()); err != nil {
		return fmt.Errorf("remove old notifications of changed settings: %w", err)
	}
	return nil
}

// readSecret reads the brokers' secret. One that cannot be understood is left out: the one before goes on.
func (f *follower) readSecret(ctx context.Context) error {
	err := f.secret.read(ctx, f.store, f.watcher)
	var corrupt *znode.CorruptError
	if errors.As(err, &corrupt) {
		f.log.Error("the brokers' secret in ZooKeeper cannot be understood, the one before goes on; delete the node, and a new one is made", "error", err)
		return nil
	}
	return err
}

// load reads and applies everything.
func (f *follower) load(ctx context.Context) error {
	before, after, err := f.settings.readBroker(ctx, f.store)
	if err != nil {
		return err
	}
	f.brokerChanged(before, after)
	if err := f.settings.readTopics(ctx, f.store); err != nil {
		return err
	}
	f.topicsChanged()
	return nil
}

// apply reads one entity and puts what it says in force.
func (f *follower) apply(ctx context.Context, e znode.Entity) error {
	switch {
	case e.Type == znode.TopicEntity && e.Name != znode.DefaultEntity:
		values, err := f.settings.readTopic(ctx, f.store, e.Name)
		if err != nil {
			return err
		}
		f.log.Info("Processing override for entityPath: "+e.RelativePath(), "config", values)
		f.topicsChanged(e.Name)
	case e == f.settings.ownEntity() || e == sharedEntity:
		before, after, err := f.settings.readBroker(ctx, f.store)
		if err != nil {
			return err
		}
		f.log.Info("Processing override for entityPath: " + e.RelativePath())
		f.brokerChanged(before, after)
		f.topicsChanged()
	}
	return nil
}

// unknownOutcome reports whether a write to ZooKeeper may have happened although it failed.
func unknownOutcome(err error) bool {
	return errors.Is(err, zk.ErrAmbiguous) || errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, context.DeadlineExceeded)
}
