package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// zooKeeperTimeout is how long the tools wait for ZooKeeper, and the timeout of their session.
const zooKeeperTimeout = 30 * time.Second

// zooKeeperTopics manages topics by reading and writing ZooKeeper, as kafka-topics --zookeeper of Kafka 2.8 does (ZookeeperTopicService).
type zooKeeperTopics struct {
	client *zk.Client
	store  *store.Store
	std    streams
	racks  state.RackMode
}

// openZooKeeperTopics connects to ZooKeeper.
func openZooKeeperTopics(ctx context.Context, connect string, racks state.RackMode, std streams, log hclog.Logger) (topicStore, error) {
	c, err := zk.Open(ctx, zk.Config{Connect: connect, SessionTimeout: zooKeeperTimeout, ConnectTimeout: zooKeeperTimeout, Logger: log})
	if err != nil {
		return nil, err
	}
	s := c.Session()
	return &zooKeeperTopics{c, store.New(s, store.NewOwnSessions(s.ID())), std, racks}, nil
}

// close ends the session.
func (z *zooKeeperTopics) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = z.client.Close(ctx) // the session ends by itself otherwise
}

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
	p := state.Placement{Partitions: int(t.partitions), ReplicationFactor: int(t.factor), Racks: z.racks}
	for id, b := range brokers {
		p.Brokers = append(p.Brokers, state.BrokerRack{ID: id, Rack: b.Rack})
	}
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

// describe reads assignments, partition states, overrides and live brokers.
func (z *zooKeeperTopics) describe(ctx context.Context, names []string) ([]topicView, error) {
	topics, err := z.store.ReadTopics(ctx, nil, names)
	if err != nil {
		return nil, err
	}
	ids, err := z.store.BrokerIDs(ctx, nil)
	if err != nil {
		return nil, err
	}
	pending, err := z.store.PendingDeletions(ctx, nil)
	if err != nil {
		return nil, err
	}
	var tps []cluster.TopicPartition
	for name, t := range topics {
		for _, p := range t.Partitions() {
			tps = append(tps, cluster.TopicPartition{Topic: name, Partition: p})
		}
	}
	states, err := z.store.PartitionStates(ctx, tps)
	if err != nil {
		return nil, err
	}
	var views []topicView
	for name, t := range topics {
		v := topicView{name: name, id: t.ID, minISR: 1, deleting: slices.Contains(pending, name)}
		overrides, err := z.store.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: name})
		if err != nil {
			return nil, err
		}
		for key, value := range overrides {
			v.overrides = append(v.overrides, override{key, value})
		}
		slices.SortFunc(v.overrides, func(a, b override) int { return strings.Compare(a.name, b.name) })
		if n := number(overrides["min.insync.replicas"]); n > 0 {
			v.minISR = n
		}
		for _, index := range t.Partitions() {
			s, known := states[cluster.TopicPartition{Topic: name, Partition: index}]
			p := partitionView{index: index, leader: cluster.NoBroker, replicas: t.Replicas[index], adding: t.Adding[index], removing: t.Removing[index]}
			if known {
				p.leader, p.isr = s.Leader, s.ISR
			}
			p.leaderAlive = slices.Contains(ids, p.leader)
			v.partitions = append(v.partitions, p)
		}
		views = append(views, v)
	}
	return views, nil
}
