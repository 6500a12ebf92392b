package main

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// brokerTopics manages topics at the brokers.
type brokerTopics struct {
	client  *client.Client
	admin   *admin.Admin
	timeout time.Duration
}

// dialAdmin connects with the settings of a --command-config file; bootstrap wins over the file's servers. The duration is default.api.timeout.ms.
func dialAdmin(ctx context.Context, bootstrap string, file *flags.Option, clientID string, log hclog.Logger) (*client.Client, time.Duration, error) {
	properties, err := fileProperties(file)
	if err != nil {
		return nil, 0, err
	}
	return dialWith(ctx, bootstrap, properties, clientID, log)
}

// dialWith connects with the settings of an admin client; bootstrap wins over their servers. The duration is default.api.timeout.ms.
func dialWith(ctx context.Context, bootstrap string, properties config.Properties, clientID string, log hclog.Logger) (*client.Client, time.Duration, error) {
	properties["bootstrap.servers"] = bootstrap
	if properties["client.id"] == "" {
		properties["client.id"] = clientID
	}
	settings, warnings, err := config.LoadAdmin(properties)
	if err != nil {
		return nil, 0, err
	}
	warnAll(log, warnings)
	options := append(connectionOptions(settings.Connection, settings.APITimeout, log), client.APITimeout(settings.APITimeout))
	cl, err := client.Dial(ctx, bootstrap, options...)
	return cl, settings.APITimeout, err
}

// openBrokerTopics connects to the brokers.
func openBrokerTopics(ctx context.Context, bootstrap string, file *flags.Option, log hclog.Logger) (topicStore, error) {
	cl, timeout, err := dialAdmin(ctx, bootstrap, file, "adminclient-1", log)
	if err != nil {
		return nil, err
	}
	return &brokerTopics{cl, admin.New(cl), timeout}, nil
}

// close ends the connection.
func (b *brokerTopics) close() { _ = b.client.Close() }

// create creates a topic.
func (b *brokerTopics) create(ctx context.Context, t newTopic) error {
	results, err := b.admin.CreateTopics(ctx, []admin.NewTopic{{
		Name: t.name, Partitions: t.partitions, ReplicationFactor: t.factor, Assignments: t.assignment, Configs: t.config,
	}}, admin.CreateOptions{Timeout: b.timeout})
	if err != nil {
		return err
	}
	if err = results[0].Err; t.ifNotExists && errors.Is(err, kerr.TopicAlreadyExists) {
		return errNothingDone
	}
	return err
}

// names lists the topics.
func (b *brokerTopics) names(ctx context.Context) ([]topicName, error) {
	topics, err := b.admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]topicName, len(topics))
	for i, t := range topics {
		names[i] = topicName{name: t.Name, id: t.ID}
	}
	return names, nil
}

// alter gives topics more partitions. The other changes are refused when the options are checked.
func (b *brokerTopics) alter(ctx context.Context, names []string, change topicChange) error {
	if len(names) == 0 {
		return nil
	}
	topics, err := b.admin.DescribeTopics(ctx, names)
	if err != nil {
		return err
	}
	wanted := make([]admin.MorePartitions, len(topics))
	for i, t := range topics {
		if t.Err != kerr.None {
			return t.Err.Err()
		}
		wanted[i] = admin.MorePartitions{Topic: t.Name, Count: change.partitions, Assignments: change.added(len(t.Partitions))}
	}
	results, err := b.admin.CreatePartitions(ctx, wanted, admin.CreateOptions{Timeout: b.timeout})
	if err != nil {
		return err
	}
	for _, r := range results {
		err = firstError(err, r.Err)
	}
	return err
}

// remove deletes a topic.
func (b *brokerTopics) remove(ctx context.Context, name string) error {
	results, err := b.admin.DeleteTopics(ctx, []string{name}, b.timeout)
	if err != nil {
		return err
	}
	return results[0].Err
}

// describe asks for partitions, settings and live brokers.
func (b *brokerTopics) describe(ctx context.Context, names []string) ([]topicView, error) {
	if len(names) == 0 {
		return nil, nil
	}
	topics, err := b.admin.DescribeTopics(ctx, names)
	if err != nil {
		return nil, err
	}
	brokers, err := b.admin.DescribeCluster(ctx)
	if err != nil {
		return nil, err
	}
	alive := map[cluster.BrokerID]bool{}
	for _, broker := range brokers.Brokers {
		alive[broker.ID] = true
	}
	resources := make([]admin.ConfigResource, len(names))
	for i, name := range names {
		resources[i] = admin.ConfigResource{Type: ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC, Name: name}
	}
	configs, err := b.admin.DescribeConfigs(ctx, resources, false)
	if err != nil {
		return nil, err
	}
	byName := map[string]admin.ConfigResult{}
	for _, c := range configs {
		byName[c.Name] = c
	}
	moves, err := b.moves(ctx, topics)
	if err != nil {
		return nil, err
	}
	var views []topicView
	for _, t := range topics {
		if t.Err == kerr.UnknownTopicOrPartition {
			continue // deleted since it was listed
		}
		if t.Err != kerr.None {
			return nil, t.Err.Err()
		}
		c := byName[t.Name]
		if c.Err != nil && !errors.Is(c.Err, kerr.UnknownTopicOrPartition) {
			return nil, c.Err
		}
		v := topicView{name: t.Name, id: t.ID}
		v.settings(c.Entries)
		for _, p := range t.Partitions {
			move := moves[cluster.TopicPartition{Topic: t.Name, Partition: p.Index}]
			v.partitions = append(v.partitions, partitionView{
				index: p.Index, leader: max(p.Leader, cluster.NoBroker), leaderAlive: alive[p.Leader], replicas: p.Replicas, isr: p.ISR,
				adding: move.Adding, removing: move.Removing,
			})
		}
		views = append(views, v)
	}
	return views, nil
}

// moves asks which partitions of the topics are being moved. A cluster that does not tell, or not this user, is no reason to show nothing.
func (b *brokerTopics) moves(ctx context.Context, topics []client.Topic) (map[cluster.TopicPartition]admin.Reassignment, error) {
	partitions := []cluster.TopicPartition{}
	for _, t := range topics {
		for _, p := range t.Partitions {
			partitions = append(partitions, cluster.TopicPartition{Topic: t.Name, Partition: p.Index})
		}
	}
	moves, err := b.admin.ListReassignments(ctx, partitions)
	if errors.Is(err, kerr.UnsupportedVersion) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, nil
	}
	return moves, err
}

// settings picks what is not a default, and the minimum of replicas in sync.
func (t *topicView) settings(entries []admin.ConfigEntry) {
	for _, e := range entries {
		if e.Name == "min.insync.replicas" {
			t.minISR = number(e.Value)
		}
		if e.Source != ottlapb.ConfigSource_CONFIG_SOURCE_DEFAULT_CONFIG && !e.Sensitive {
			t.overrides = append(t.overrides, override{e.Name, e.Value})
		}
	}
}
