package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// zooKeeperTopics manages topics by reading and writing ZooKeeper, as kafka-topics --zookeeper of Kafka 2.8 does (ZookeeperTopicService).
type zooKeeperTopics struct {
	client *zk.Client
	store  *store.Store
	std    streams
	racks  state.RackMode
}

// openZooKeeperTopics connects to ZooKeeper.
func openZooKeeperTopics(ctx context.Context, connect string, racks state.RackMode, std streams, log hclog.Logger) (topicStore, error) {
	c, err := openZooKeeper(ctx, connect, log)
	if err != nil {
		return nil, err
	}
	s := c.Session()
	return &zooKeeperTopics{c, store.New(s, store.NewOwnSessions(s.ID())), std, racks}, nil
}

// close ends the session.
func (z *zooKeeperTopics) close() { closeZooKeeper(z.client) }

// create places the replicas and writes the topic; the controller does the rest.
func (z *zooKeeperTopics) create(ctx context.Context, t newTopic) error {
	if err := cluster.ValidateTopicName(t.name); err != nil {
		return err
	}
	existing, err := z.store.Topics(ctx, nil)
	if err != nil {
		return err
	}
	for _, name := range existing {
		switch {
		case name == t.name && t.ifNotExists:
			return errNothingDone
		case name == t.name:
			return kafkaError("Topic '%s' already exists.", t.name)
		case cluster.TopicNamesCollide(name, t.name):
			return kafkaError("Topic '%s' collides with existing topics: %s", t.name, name)
		}
	}
	if t.assignment == nil {
		if t.assignment, err = z.place(ctx, t); err != nil {
			return err
		}
	}
	err = z.store.CreateTopic(ctx, t.name, znode.Topic{ID: cluster.NewTopicID(), Replicas: t.assignment}, t.config)
	if t.ifNotExists && errors.Is(err, kerr.TopicAlreadyExists) {
		return errNothingDone
	}
	return err
}

// place spreads the replicas over the live brokers.
func (z *zooKeeperTopics) place(ctx context.Context, t newTopic) (map[int32][]cluster.BrokerID, error) {
	brokers, err := z.store.Brokers(ctx, nil)
	if err != nil {
		return nil, err
	}
	racks := racksOf(brokers)
	if z.racks == state.RackEnforced {
		if err := allRacksOrNone(racks); err != nil {
			return nil, err
		}
	}
	p := state.Placement{Brokers: racks, Partitions: int(t.partitions), ReplicationFactor: int(t.factor), Racks: z.racks}
	if n := len(p.Brokers); n > 0 {
		p.Start, p.Shift = rand.IntN(n), rand.IntN(n)
	}
	lists, err := state.Place(p)
	if err != nil {
		return nil, err
	}
	m := make(map[int32][]cluster.BrokerID, len(lists))
	for i, list := range lists {
		m[int32(i)] = list
	}
	return m, nil
}

// names lists the topics, and which of them wait for their deletion.
func (z *zooKeeperTopics) names(ctx context.Context) ([]topicName, error) {
	topics, err := z.store.Topics(ctx, nil)
	if err != nil {
		return nil, err
	}
	pending, err := z.store.PendingDeletions(ctx, nil)
	if err != nil {
		return nil, err
	}
	slices.Sort(topics)
	names := make([]topicName, len(topics))
	for i, t := range topics {
		names[i] = topicName{name: t, deleting: slices.Contains(pending, t)}
	}
	return names, nil
}

// alter changes settings and adds partitions, one topic after the other (ZookeeperTopicService.alterTopic).
func (z *zooKeeperTopics) alter(ctx context.Context, names []string, change topicChange) error {
	for _, name := range names {
		if len(change.set)+len(change.unset) > 0 {
			if err := z.alterSettings(ctx, name, change); err != nil {
				return err
			}
		}
		if change.partitions < 0 {
			continue
		}
		if cluster.IsInternalTopic(name) {
			return kafkaError("The number of partitions for the internal topic %s cannot be changed.", name)
		}
		fmt.Fprintln(z.std.out, "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected")
		if err := z.addPartitions(ctx, name, change); err != nil {
			return err
		}
		fmt.Fprintln(z.std.out, "Adding partitions succeeded!")
	}
	return nil
}

// alterSettings changes the settings of a topic.
func (z *zooKeeperTopics) alterSettings(ctx context.Context, name string, change topicChange) error {
	fmt.Fprint(z.std.out, "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases.\n"+
		"         Going forward, please use kafka-configs.sh for this functionality\n")
	entity := znode.Entity{Type: znode.TopicEntity, Name: name}
	settings, err := z.store.Config(ctx, entity)
	if err != nil {
		return err
	}
	after := maps.Clone(settings)
	if after == nil {
		after = map[string]string{}
	}
	maps.Copy(after, change.set)
	for _, key := range change.unset {
		delete(after, key)
	}
	if err := config.ValidateTopicConfig(after); err != nil {
		return err
	}
	if err := z.store.SetConfig(ctx, entity, after); err != nil {
		return err
	}
	fmt.Fprintf(z.std.out, "Updated config for topic %s.\n", name)
	return nil
}

// addPartitions writes the assignment of further partitions; the controller does the rest.
func (z *zooKeeperTopics) addPartitions(ctx context.Context, name string, change topicChange) error {
	topics, err := z.store.ReadTopics(ctx, nil, []string{name})
	if err != nil {
		return err
	}
	topic, ok := topics[name]
	if !ok {
		return kafkaError("The topic %s does not exist", name)
	}
	brokers, err := z.store.Brokers(ctx, nil)
	if err != nil {
		return err
	}
	lists, err := furtherPartitions(name, topic.Topic, brokers, change)
	if err != nil {
		return err
	}
	return z.store.AddPartitions(ctx, name, topic, lists)
}

// furtherPartitions places the partitions that a topic is to get (AdminZkClient.addPartitions).
func furtherPartitions(name string, topic znode.Topic, brokers map[cluster.BrokerID]store.BrokerInfo, change topicChange) ([][]cluster.BrokerID, error) {
	existing := len(topic.Replicas)
	first, ok := topic.Replicas[0]
	if !ok {
		return nil, kafkaError("Unexpected existing replica assignment for topic '%s', partition id 0 is missing.", name)
	}
	// What a reassignment brings or takes does not count: a new partition is to have as many replicas as the topic is meant to have.
	first = slices.DeleteFunc(slices.Clone(first), func(id cluster.BrokerID) bool { return slices.Contains(topic.Adding[0], id) })
	more := int(change.partitions) - existing
	if more <= 0 {
		return nil, kafkaError("The number of partitions for a topic can only be increased. Topic %s currently has %d partitions, %d would not be an increase.",
			name, existing, change.partitions)
	}
	if lists := change.added(existing); len(lists) > 0 {
		return lists, checkReplicas(lists, more, existing, len(first), brokers)
	}
	racks := racksOf(brokers)
	if err := allRacksOrNone(racks); err != nil {
		return nil, err
	}
	return state.PlaceAdded(racks, first, existing, more, state.RackEnforced)
}

// racksOf lists brokers with their racks.
func racksOf(brokers map[cluster.BrokerID]store.BrokerInfo) []state.BrokerRack {
	list := make([]state.BrokerRack, 0, len(brokers))
	for id, b := range brokers {
		list = append(list, state.BrokerRack{ID: id, Rack: b.Rack})
	}
	return list
}

// checkReplicas judges replicas that were given by hand.
func checkReplicas(lists [][]cluster.BrokerID, more, existing, factor int, brokers map[cluster.BrokerID]store.BrokerInfo) error {
	if len(lists) != more {
		return kafkaError("Increasing the number of partitions by %d but %d assignments provided.", more, len(lists))
	}
	for i, list := range lists {
		for _, id := range list {
			if _, live := brokers[id]; !live {
				return kafkaError("Unknown broker(s) in replica assignment: %d.", id)
			}
		}
		if len(list) != factor {
			return kafkaError("Inconsistent replication factor between partitions, partition 0 has %d while partitions [%d] have replication factors [%d], respectively.", factor, existing+i, len(list))
		}
	}
	return nil
}

// remove asks the controller to delete a topic.
func (z *zooKeeperTopics) remove(ctx context.Context, name string) error {
	if cluster.IsInternalTopic(name) {
		return kafkaError("Topic %s is a kafka internal topic and is not allowed to be marked for deletion.", name)
	}
	pending, err := z.store.PendingDeletions(ctx, nil)
	if err != nil {
		return err
	}
	if slices.Contains(pending, name) {
		fmt.Fprintf(z.std.out, "Topic %s is already marked for deletion.\n", name)
		return nil
	}
	if err := z.store.RequestTopicDeletion(ctx, name); err != nil {
		return err
	}
	fmt.Fprintf(z.std.out, "Topic %s is marked for deletion.\nNote: This will have no impact if delete.topic.enable is not set to true.\n", name)
	return nil
}
