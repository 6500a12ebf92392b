package broker

import (
	"context"
	"time"

	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk/znode"
)

// alterTimeout bounds a change of settings, and applyTimeout how long its answer waits until this broker works with it.
const (
	alterTimeout = 30 * time.Second
	applyTimeout = 5 * time.Second
)

// alterer answers IncrementalAlterConfigs: it reads what is in ZooKeeper, makes the changes if all of them are valid, writes it back, and waits until
// this broker works with it. Of two brokers that change a topic at one moment the last wins, as in Kafka; the requests of one broker take turns.
type alterer struct {
	settings *settings
	dynamics *dynamics
	turn     chan struct{} // whose holder may change settings; capacity 1
}

func newAlterer(s *settings, d *dynamics) *alterer {
	return &alterer{settings: s, dynamics: d, turn: make(chan struct{}, 1)}
}

// AlterTopic implements server.Alterer.
func (a *alterer) AlterTopic(ctx context.Context, name string, changes []server.ConfigChange, validateOnly bool) error {
	return a.alter(ctx, topicEntity(name), validateOnly, func(ctx context.Context) (map[string]string, error) {
		overrides, err := a.settings.store().Config(ctx, topicEntity(name))
		if err != nil {
			return nil, err
		}
		return a.settings.current().AlterTopic(name, overrides, changesOf(changes))
	})
}

// AlterBroker implements server.Alterer.
func (a *alterer) AlterBroker(ctx context.Context, changes []server.ConfigChange, validateOnly bool) error {
	return a.alter(ctx, a.settings.ownEntity(), validateOnly, func(ctx context.Context) (map[string]string, error) {
		own, shared, err := a.brokers(ctx)
		if err != nil {
			return nil, err
		}
		return a.settings.current().AlterBroker(own, shared, changesOf(changes))
	})
}

// AlterBrokerDefaults implements server.Alterer.
func (a *alterer) AlterBrokerDefaults(ctx context.Context, changes []server.ConfigChange, validateOnly bool) error {
	return a.alter(ctx, sharedEntity, validateOnly, func(ctx context.Context) (map[string]string, error) {
		own, shared, err := a.brokers(ctx)
		if err != nil {
			return nil, err
		}
		return a.settings.current().AlterBrokerDefaults(own, shared, changesOf(changes))
	})
}

// brokers reads the dynamic settings of this broker and of all.
func (a *alterer) brokers(ctx context.Context) (own, shared map[string]string, err error) {
	if own, err = a.settings.store().Config(ctx, a.settings.ownEntity()); err != nil {
		return nil, nil, err
	}
	shared, err = a.settings.store().Config(ctx, sharedEntity)
	return own, shared, err
}

// alter writes what after returns, unless it returns an error or nothing is to be written.
func (a *alterer) alter(ctx context.Context, e znode.Entity, validateOnly bool, after func(context.Context) (map[string]string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return kerr.RequestTimedOut.With("Other changes of settings are under way.")
	}
	values, err := after(ctx)
	if err != nil && unknownOutcome(err) { // between two sessions, for example
		a.settings.log.Warn("settings cannot be changed while ZooKeeper does not answer", "entity", e.String(), "error", err)
		return kerr.RequestTimedOut.With("ZooKeeper cannot be reached at the moment; the settings have not changed.")
	}
	if err == nil && !validateOnly {
		err = a.settings.store().SetConfig(ctx, e, values)
	}
	switch {
	case err != nil && unknownOutcome(err):
		a.settings.log.Warn("a change of settings has no known outcome", "entity", e.String(), "error", err)
		return kerr.RequestTimedOut.With("ZooKeeper did not answer in time; the settings may or may not have changed.")
	case err != nil:
		return err
	case !validateOnly:
		ctx, cancel := context.WithTimeout(ctx, applyTimeout)
		defer cancel()
		a.dynamics.await(ctx, e)
	}
	return nil
}

// changesOf translates changes. The operations have the same numbers.
func changesOf(in []server.ConfigChange) []config.Change {
	out := make([]config.Change, len(in))
	for i, c := range in {
		out[i] = config.Change{Name: c.Name, Operation: config.Operation(c.Operation), Value: c.Value}
	}
	return out
}
