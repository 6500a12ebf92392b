package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// illegible collects what in ZooKeeper cannot be understood: it concerns the topic that it belongs to, and not the others.
type illegible struct {
	faults []error
	topics map[string]bool // those concerned
}

// note keeps an error about nodes that cannot be understood, and returns any other.
func (i *illegible) note(err error) error {
	paths := store.CorruptPaths(err)
	if err == nil || len(paths) == 0 {
		return err
	}
	i.faults = append(i.faults, err)
	for _, path := range paths {
		for _, parent := range []string{znode.BrokerTopics, znode.ConfigTypePath(znode.TopicEntity)} {
			if rest, ok := strings.CutPrefix(path, parent+"/"); ok {
				name, _, _ := strings.Cut(rest, "/")
				i.topics[name] = true
			}
		}
	}
	return nil
}

// describe reads assignments, partition states, overrides and live brokers. Topics of which something cannot be understood are left out and reported: the error names them, and comes
// with the views of the others.
func (z *zooKeeperTopics) describe(ctx context.Context, names []string) ([]topicView, error) {
	bad := illegible{topics: map[string]bool{}}
	topics, err := z.store.ReadTopics(ctx, nil, names)
	if err := bad.note(err); err != nil {
		return nil, err
	}
	ids, err := z.store.BrokerIDs(ctx, nil)
	if err := bad.note(err); err != nil {
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
	if err := bad.note(err); err != nil {
		return nil, err
	}
	var views []topicView
	for name, t := range topics {
		overrides, err := z.store.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: name})
		if err := bad.note(err); err != nil {
			return nil, err
		}
		if bad.topics[name] {
			continue
		}
		views = append(views, viewOf(name, t.Topic, overrides, states, ids, slices.Contains(pending, name)))
	}
	if len(bad.faults) == 0 {
		return views, nil
	}
	for line := range strings.Lines(errors.Join(bad.faults...).Error()) {
		fmt.Fprintln(z.std.err, strings.TrimRight(line, "\n"))
	}
	return views, kafkaError("Left out what cannot be understood: %s", strings.Join(slices.Sorted(maps.Keys(bad.topics)), ", "))
}

// viewOf puts together what is known of a topic.
func viewOf(name string, t znode.Topic, overrides map[string]string, states map[cluster.TopicPartition]store.StateInfo, live []cluster.BrokerID, deleting bool) topicView {
	v := topicView{name: name, id: t.ID, minISR: 1, deleting: deleting}
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
		p.leaderAlive = slices.Contains(live, p.leader)
		v.partitions = append(v.partitions, p)
	}
	return v
}
