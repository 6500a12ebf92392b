package main

import (
	"context"
	"maps"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// zooKeeperMover moves partitions by leaving a request in ZooKeeper, as kafka-reassign-partitions --zookeeper of Kafka 2.8 does.
type zooKeeperMover struct {
	client *zk.Client
	store  *store.Store
}

// openZooKeeperMover connects to ZooKeeper.
func openZooKeeperMover(ctx context.Context, connect string, log hclog.Logger) (*zooKeeperMover, error) {
	c, err := openZooKeeper(ctx, connect, log)
	if err != nil {
		return nil, err
	}
	return &zooKeeperMover{c, store.New(c.Session(), nil)}, nil
}

func (z *zooKeeperMover) close() { closeZooKeeper(z.client) }

func (z *zooKeeperMover) brokers(ctx context.Context) ([]state.BrokerRack, error) {
	brokers, err := z.store.Brokers(ctx, nil)
	if err != nil {
		return nil, err
	}
	return racksOf(brokers), nil
}

func (z *zooKeeperMover) assignments(ctx context.Context, topics []string) (assignment, error) {
	read, err := z.store.ReadTopics(ctx, nil, topics)
	if err != nil {
		return nil, err
	}
	found := assignment{}
	for name, t := range read {
		for index, replicas := range t.Replicas {
			found[cluster.TopicPartition{Topic: name, Partition: index}] = replicas
		}
	}
	return found, nil
}

// moving lists the moves that were asked for through ZooKeeper and are not done. What was asked for at the brokers is not among them.
func (z *zooKeeperMover) moving(ctx context.Context) (map[cluster.TopicPartition]admin.Reassignment, error) {
	requests, err := z.store.Reassignments(ctx, nil)
	if err != nil {
		return nil, err
	}
	moves := map[cluster.TopicPartition]admin.Reassignment{}
	for _, r := range requests {
		moves[r.Partition] = admin.Reassignment{Replicas: r.Replicas}
	}
	return moves, nil
}

func (z *zooKeeperMover) move(ctx context.Context, to assignment) (map[cluster.TopicPartition]error, error) {
	var moves []znode.Reassignment
	for _, tp := range sortedPartitions(to) {
		moves = append(moves, znode.Reassignment{Partition: tp, Replicas: to[tp]})
	}
	return nil, z.store.RequestReassignments(ctx, moves)
}

// configure changes dynamic settings; running brokers hear of it. Without a difference nothing is written.
func (z *zooKeeperMover) configure(ctx context.Context, changes []settingsChange) error {
	for _, c := range changes {
		before, err := z.store.Config(ctx, c.target.entity())
		if err != nil {
			return err
		}
		after := maps.Clone(before)
		if after == nil {
			after = map[string]string{}
		}
		maps.Copy(after, c.set)
		for _, name := range c.unset {
			delete(after, name)
		}
		if maps.Equal(before, after) {
			continue
		}
		if err := z.store.SetConfig(ctx, c.target.entity(), after); err != nil {
			return err
		}
	}
	return nil
}
