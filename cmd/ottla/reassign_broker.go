package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// brokerMover moves partitions at the brokers.
type brokerMover struct {
	client *client.Client
	admin  *admin.Admin
}

// openBrokerMover connects to the brokers.
func openBrokerMover(ctx context.Context, f *reassignFlags, log hclog.Logger) (*brokerMover, error) {
	cl, _, err := dialAdmin(ctx, f.bootstrap.Text(), f.commandConfig, "reassign-partitions-tool", log)
	if err != nil {
		return nil, err
	}
	return &brokerMover{cl, admin.New(cl)}, nil
}

func (b *brokerMover) close() { _ = b.client.Close() }

func (b *brokerMover) brokers(ctx context.Context) ([]state.BrokerRack, error) {
	c, err := b.admin.DescribeCluster(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]state.BrokerRack, len(c.Brokers))
	for i, broker := range c.Brokers {
		list[i] = state.BrokerRack{ID: broker.ID, Rack: broker.Rack}
	}
	return list, nil
}

func (b *brokerMover) assignments(ctx context.Context, topics []string) (assignment, error) {
	described, err := b.admin.DescribeTopics(ctx, topics)
	if err != nil {
		return nil, err
	}
	found := assignment{}
	for _, t := range described {
		if t.Err == kerr.UnknownTopicOrPartition {
			continue
		}
		if t.Err != kerr.None {
			return nil, t.Err.Err()
		}
		for _, p := range t.Partitions {
			found[cluster.TopicPartition{Topic: t.Name, Partition: p.Index}] = p.Replicas
		}
	}
	return found, nil
}

func (b *brokerMover) moving(ctx context.Context) (map[cluster.TopicPartition]admin.Reassignment, error) {
	return b.admin.ListReassignments(ctx, nil)
}

func (b *brokerMover) move(ctx context.Context, to assignment) (map[cluster.TopicPartition]error, error) {
	return b.admin.AlterReassignments(ctx, to)
}

// configure changes dynamic settings. Brokers that are down can do nothing: the others are changed first, then those are an error.
func (b *brokerMover) configure(ctx context.Context, changes []settingsChange) error {
	live, err := b.brokers(ctx)
	if err != nil {
		return err
	}
	var alterations []admin.ConfigAlteration
	var down []string
	for _, c := range changes {
		if c.target.typ == brokersType && !slices.ContainsFunc(live, func(l state.BrokerRack) bool { return strconv.Itoa(int(l.ID)) == c.target.name }) {
			down = append(down, c.target.name)
			continue
		}
		typ, _ := c.target.resourceType()
		a := admin.ConfigAlteration{Type: typ, Name: c.target.name}
		for _, name := range sortedNames(c.set) {
			a.Changes = append(a.Changes, admin.ConfigChange{Name: name, Op: admin.SetConfig, Value: c.set[name]})
		}
		for _, name := range c.unset {
			a.Changes = append(a.Changes, admin.ConfigChange{Name: name, Op: admin.DeleteConfig})
		}
		alterations = append(alterations, a)
	}
	outcomes, err := b.admin.AlterConfigs(ctx, alterations, false)
	if err := firstError(append([]error{err}, outcomes...)...); err != nil {
		return err
	}
	if len(down) > 0 {
		return fmt.Errorf("broker %s is not running, and its throttle stays as it is; run the command again when it is back, or use kafka-configs.sh --zookeeper", down[0])
	}
	return nil
}

// dirMoves looks in which log directories replicas lie.
func (b *brokerMover) dirMoves(ctx context.Context, wanted map[replicaOf]string) (map[replicaOf]dirMove, error) {
	lying := map[replicaOf]dirMove{}
	asked := map[cluster.BrokerID]bool{}
	for _, r := range sortedReplicas(wanted) {
		if asked[r.broker] {
			continue
		}
		asked[r.broker] = true
		dirs, err := b.admin.DescribeLogDirs(ctx, r.broker)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			for _, replica := range dir.Replicas {
				at := replicaOf{replica.TopicPartition, r.broker}
				move := lying[at]
				if replica.Future {
					move.future = dir.Path
				} else {
					move.current = dir.Path
				}
				lying[at] = move
			}
		}
	}
	return lying, nil
}
