package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// zooKeeperConfigs changes settings by writing ZooKeeper, as kafka-configs --zookeeper of Kafka 2.8 does.
type zooKeeperConfigs struct {
	client *zk.Client
	store  *store.Store
	std    streams
}

// openZooKeeperConfigs connects to ZooKeeper.
func openZooKeeperConfigs(ctx context.Context, connect string, std streams, log hclog.Logger) (configStore, error) {
	c, err := openZooKeeper(ctx, connect, log)
	if err != nil {
		return nil, err
	}
	return &zooKeeperConfigs{c, store.New(c.Session(), nil), std}, nil
}

// close ends the session.
func (z *zooKeeperConfigs) close() { closeZooKeeper(z.client) }

// entity returns the node of an entity.
func (t configTarget) entity() znode.Entity {
	e := znode.Entity{Type: znode.EntityType(t.typ), Name: t.name}
	if t.name == "" {
		e.Name = znode.DefaultEntity
	}
	return e
}

// quoted names an entity in messages.
func (t configTarget) quoted() string {
	if t.name == "" {
		return "default " + t.singular()
	}
	return fmt.Sprintf("%s '%s'", t.singular(), t.name)
}

// describe prints the settings of one or of all entities.
func (z *zooKeeperConfigs) describe(ctx context.Context, t configTarget, _ bool) error {
	targets := []configTarget{t}
	if !t.given {
		targets = nil
		all, err := z.store.Configs(ctx, znode.EntityType(t.typ))
		if err != nil {
			return err
		}
		for e := range all {
			targets = append(targets, configTarget{t.typ, strings.TrimPrefix(e.Name, znode.DefaultEntity), true})
		}
		slices.SortFunc(targets, func(a, b configTarget) int { return strings.Compare(a.name, b.name) })
	}
	for _, t := range targets {
		settings, err := z.store.Config(ctx, t.entity())
		if err != nil {
			return err
		}
		var pairs []string
		for _, name := range sortedNames(settings) {
			pairs = append(pairs, name+"="+settings[name])
		}
		fmt.Fprintf(z.std.out, "Configs for %s are %s\n", t.quoted(), strings.Join(pairs, ","))
	}
	return nil
}

// alter changes the settings of an entity.
func (z *zooKeeperConfigs) alter(ctx context.Context, t configTarget, add config.Properties, remove []string) error {
	before, err := z.store.Config(ctx, t.entity())
	if err != nil {
		return err
	}
	if err := missing(func(name string) bool { _, ok := before[name]; return ok }, remove); err != nil {
		return err
	}
	var changes []config.Change
	for _, name := range sortedNames(add) {
		changes = append(changes, config.Change{Name: name, Operation: config.Set, Value: add[name]})
	}
	for _, name := range remove {
		changes = append(changes, config.Change{Name: name, Operation: config.Delete})
	}
	var after map[string]string
	if t.typ == topicsType {
		after, err = z.alterTopic(ctx, t, before, changes)
	} else {
		after, err = z.alterBroker(ctx, t, before, changes)
	}
	if err != nil {
		return err
	}
	if err := z.store.SetConfig(ctx, t.entity(), after); err != nil {
		return err
	}
	fmt.Fprintf(z.std.out, "Completed updating config for entity: %s.\n", t.quoted())
	return nil
}

func (z *zooKeeperConfigs) alterTopic(ctx context.Context, t configTarget, before map[string]string, changes []config.Change) (map[string]string, error) {
	if err := cluster.ValidateTopicName(t.name); err != nil {
		return nil, err
	}
	topics, err := z.store.Topics(ctx, nil)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(topics, t.name) {
		return nil, kerr.UnknownTopicOrPartition.With("Topic '" + t.name + "' does not exist.")
	}
	return new(config.Server).AlterTopic(t.name, before, changes)
}

// alterBroker refuses while the broker that would have to judge the settings is running.
func (z *zooKeeperConfigs) alterBroker(ctx context.Context, t configTarget, before map[string]string, changes []config.Change) (map[string]string, error) {
	ids, err := z.store.BrokerIDs(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range changes {
		names = append(names, c.Name)
	}
	const info = "Broker configuration operations using ZooKeeper are only supported if the affected broker is not running."
	refusal := fmt.Sprintf("requirement failed: --bootstrap-server option must be specified to update broker configs Set(%s). %s", strings.Join(names, ", "), info)
	place := config.DynamicDefaultBroker
	if t.name != "" {
		place = config.DynamicBroker
		id, err := strconv.ParseInt(t.name, 10, 32)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, cluster.BrokerID(id)) {
			return nil, userError(refusal)
		}
	} else if len(ids) > 0 {
		return nil, userError(refusal)
	}
	return config.AlterOffline(before, changes, place)
}
