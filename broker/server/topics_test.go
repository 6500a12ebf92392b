package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// controller records what it is asked for, and does it.
type controller struct {
	created  []TopicSpec
	deleted  []string
	timeout  time.Duration
	validate bool
	err      error
}

func (c *controller) CreateTopics(_ context.Context, topics []TopicSpec, timeout time.Duration, validateOnly bool) []TopicResult {
	c.created, c.timeout, c.validate = append(c.created, topics...), timeout, validateOnly
	var results []TopicResult
	for _, t := range topics {
		results = append(results, TopicResult{Name: t.Name, ID: cluster.TopicID{15: 3}, Err: c.err, NumPartitions: 4, ReplicationFactor: 2})
	}
	return results
}

func (c *controller) DeleteTopics(_ context.Context, names []string, timeout time.Duration) []TopicResult {
	c.deleted, c.timeout = append(c.deleted, names...), timeout
	var results []TopicResult
	for _, n := range names {
		results = append(results, TopicResult{Name: n, Err: c.err})
	}
	return results
}

func TestCreateTopics(t *testing.T) {
	ctl := &controller{}
	w := newWorld(t, func(d *Deps) { d.Topics = ctl })
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	res, err := client.CreateTopics(context.Background(), &ottlapb.CreateTopicsRequest{TimeoutMs: 1500, ValidateOnly: true, Topics: []*ottlapb.CreatableTopic{
		{Name: "twice", NumPartitions: 1, ReplicationFactor: 1},
		{Name: "good", NumPartitions: 4, ReplicationFactor: 2, Configs: []*ottlapb.ConfigEntry{{Name: "retention.ms", Value: "5"}}},
		{Name: "twice", NumPartitions: 2, ReplicationFactor: 1},
		{Name: "../etc", NumPartitions: 1, ReplicationFactor: 1},
		{Name: strings.Repeat("x", 250), NumPartitions: 1, ReplicationFactor: 1},
		{Name: "placed", NumPartitions: -1, ReplicationFactor: -1, Assignments: []*ottlapb.ReplicaAssignment{{PartitionIndex: 0, BrokerIds: []int32{2, 1}}, {PartitionIndex: 1, BrokerIds: []int32{1, 2}}}},
		{Name: "both", NumPartitions: 2, ReplicationFactor: -1, Assignments: []*ottlapb.ReplicaAssignment{{PartitionIndex: 0, BrokerIds: []int32{2, 1}}}},
		{Name: "again", NumPartitions: -1, ReplicationFactor: -1, Assignments: []*ottlapb.ReplicaAssignment{{BrokerIds: []int32{1}}, {BrokerIds: []int32{1}}}},
		{Name: "config-twice", Configs: []*ottlapb.ConfigEntry{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Topics {
		got = append(got, fmt.Sprintf("%.8s %s %d/%d", r.Name, kerr.Code(r.ErrorCode).Name(), r.NumPartitions, r.ReplicationFactor))
		if r.ErrorCode != 0 && r.ErrorMessage == "" || r.ErrorCode == 0 && len(r.TopicId) != 16 {
			t.Errorf("%s: message %q, topic id %x", r.Name, r.ErrorMessage, r.TopicId)
		}
	}
	expect := []string{
		"twice INVALID_REQUEST -1/-1", "good NONE 4/2", "twice INVALID_REQUEST -1/-1", "../etc INVALID_TOPIC_EXCEPTION -1/-1", "xxxxxxxx INVALID_TOPIC_EXCEPTION -1/-1",
		"placed NONE 4/2", "both INVALID_REQUEST -1/-1", "again INVALID_REPLICA_ASSIGNMENT -1/-1", "config-t INVALID_CONFIG -1/-1",
	}
	if diff := cmp.Diff(expect, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	asked := []TopicSpec{
		{Name: "good", NumPartitions: 4, ReplicationFactor: 2, Configs: map[string]string{"retention.ms": "5"}},
		{Name: "placed", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 1}, 1: {1, 2}}},
	}
	if diff := cmp.Diff(asked, ctl.created); diff != "" || ctl.timeout != 1500*time.Millisecond || !ctl.validate {
		t.Errorf("the controller was asked with timeout %v, validate %v for (-want +got):\n%s", ctl.timeout, ctl.validate, diff)
	}
	ctl.err = kerr.TopicAlreadyExists.With("Topic 'good' already exists.")
	res, err = client.CreateTopics(context.Background(), &ottlapb.CreateTopicsRequest{TimeoutMs: -1, Topics: []*ottlapb.CreatableTopic{{Name: "good", NumPartitions: 1, ReplicationFactor: 1}}})
	if err != nil || kerr.Code(res.Topics[0].ErrorCode) != kerr.TopicAlreadyExists || res.Topics[0].ErrorMessage != "Topic 'good' already exists." || len(res.Topics[0].TopicId) != 0 {
		t.Errorf("%v, %v", res, err)
	}
}

func TestDeleteTopics(t *testing.T) {
	ctl := &controller{}
	w := newWorld(t, func(d *Deps) { d.Topics = ctl })
	res, err := ottlapb.NewTopicServiceClient(w.dial("")).DeleteTopics(context.Background(), &ottlapb.DeleteTopicsRequest{TopicNames: []string{"a", "b", "a", cluster.GroupMetadataTopic, "c"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Topics {
		got = append(got, r.Name+" "+kerr.Code(r.ErrorCode).Name())
	}
	if diff := cmp.Diff([]string{"a INVALID_REQUEST", "b NONE", "a INVALID_REQUEST", "__consumer_offsets INVALID_TOPIC_EXCEPTION", "c NONE"}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "c"}, ctl.deleted); diff != "" {
		t.Errorf("the controller was asked for (-want +got):\n%s", diff)
	}
}

func TestABrokerThatIsNotTheController(t *testing.T) {
	w := newWorld(t)
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	created, err := client.CreateTopics(context.Background(), &ottlapb.CreateTopicsRequest{Topics: []*ottlapb.CreatableTopic{{Name: "a"}}})
	if err != nil || kerr.Code(created.Topics[0].ErrorCode) != kerr.NotController {
		t.Errorf("create: %v, %v", created, err)
	}
	deleted, err := client.DeleteTopics(context.Background(), &ottlapb.DeleteTopicsRequest{TopicNames: []string{"a"}})
	if err != nil || kerr.Code(deleted.Topics[0].ErrorCode) != kerr.NotController {
		t.Errorf("delete: %v, %v", deleted, err)
	}
}

// settings describes the same for every topic.
type settings struct{}

func (settings) DescribeTopic(name string) ([]ConfigEntry, error) {
	if name == "broken" {
		return nil, kerr.KafkaStorageError
	}
	return []ConfigEntry{
		{Name: "retention.ms", Value: "5", Source: ottlapb.ConfigSource_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG, Synonyms: []ConfigSynonym{{Name: "log.retention.ms", Value: "7", Source: ottlapb.ConfigSource_CONFIG_SOURCE_STATIC_BROKER_CONFIG}}},
		{Name: "cleanup.policy", Value: "delete", Source: ottlapb.ConfigSource_CONFIG_SOURCE_DEFAULT_CONFIG},
	}, nil
}

func (settings) DescribeBrokerDefaults() ([]ConfigEntry, error) {
	return []ConfigEntry{{Name: "log.retention.ms", Value: "9", Source: ottlapb.ConfigSource_CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER_CONFIG}}, nil
}

func (settings) DescribeBroker() ([]ConfigEntry, error) {
	return []ConfigEntry{{Name: "ssl.key.password", Value: "secret", Sensitive: true, ReadOnly: true, Synonyms: []ConfigSynonym{{Name: "ssl.key.password", Value: "secret"}}}}, nil
}

func TestDescribeConfigs(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.Configs = settings{} })
	w.topic("orders", 1)
	w.topic("broken", 1)
	const topic, broker = ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC, ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	res, err := client.DescribeConfigs(context.Background(), &ottlapb.DescribeConfigsRequest{IncludeSynonyms: true, Resources: []*ottlapb.ConfigResource{
		{Type: topic, Name: "orders"}, {Type: topic, Name: "orders", ConfigNames: []string{"cleanup.policy", "no.such"}}, {Type: broker, Name: "1"},
		{Type: topic, Name: "nowhere"}, {Type: topic, Name: "a/b"}, {Type: topic, Name: "broken"}, {Type: broker, Name: "2"}, {Type: broker, Name: "x"}, {Type: 8, Name: "1"}, {Name: "orders"}, {Type: broker},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Results {
		line := r.Name + " " + kerr.Code(r.ErrorCode).Name()
		for _, e := range r.Entries {
			line += fmt.Sprintf(" %s=%q(%d,%v,%v)", e.Name, e.Value, e.Source, e.ReadOnly, e.IsSensitive)
			for _, y := range e.Synonyms {
				line += fmt.Sprintf("<%s=%q(%d)", y.Name, y.Value, y.Source)
			}
		}
		got = append(got, line)
	}
	expect := []string{
		`orders NONE cleanup.policy="delete"(5,false,false) retention.ms="5"(1,false,false)<log.retention.ms="7"(4)`,
		`orders NONE cleanup.policy="delete"(5,false,false)`,
		`1 NONE ssl.key.password=""(0,true,true)<ssl.key.password=""(0)`,
		"nowhere UNKNOWN_TOPIC_OR_PARTITION", "a/b INVALID_TOPIC_EXCEPTION", "broken KAFKA_STORAGE_ERROR", "2 INVALID_REQUEST", "x INVALID_REQUEST", "1 INVALID_REQUEST", "orders INVALID_REQUEST",
		` NONE log.retention.ms="9"(3,false,false)`,
	}
	if diff := cmp.Diff(expect, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
