package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
)

func TestTopicFlagsAreCheckedTogether(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--bootstrap-server b:1", "Command must include exactly one action: --list, --describe, --create, --alter or --delete"},
		{"--bootstrap-server b:1 --list --describe", "Command must include exactly one action: --list, --describe, --create, --alter or --delete"},
		{"--list", `Missing required argument "[bootstrap-server]"`},
		{"--list --bootstrap-server b:1 --zookeeper z:1", "Only one of --bootstrap-server or --zookeeper must be specified"},
		{"--create --bootstrap-server b:1", `Missing required argument "[topic]"`},
		{"--delete --bootstrap-server b:1", `Missing required argument "[topic]"`},
		{"--alter --bootstrap-server b:1 --topic t", `Missing required argument "[partitions]"`},
		{"--create --zookeeper z:1 --topic t --partitions 1", `Missing required argument "[replication-factor]"`},
		{"--create --zookeeper z:1 --topic t --replica-assignment 0", ""},
		{"--create --bootstrap-server b:1 --topic t --replica-assignment 0 --partitions 1", `Option "[replica-assignment]" can't be used with option "[partitions]"`},
		{"--list --bootstrap-server b:1 --config a=b", `Option "[config]" can't be used with option "[list]"`},
		{"--create --bootstrap-server b:1 --topic t --delete-config a", `Option "[delete-config]" can't be used with option "[create]"`},
		{"--describe --bootstrap-server b:1 --under-replicated-partitions --unavailable-partitions", `Option "[under-replicated-partitions]" can't be used with option "[unavailable-partitions]"`},
		{"--describe --bootstrap-server b:1 --if-not-exists", `Option "[if-not-exists]" can't be used with option "[describe]"`},
		{"--list --bootstrap-server b:1 --if-exists", `Option "[if-exists]" can't be used with option "[list]"`},
		{"--create --bootstrap-server b:1 --topic t --exclude-internal", `Option "[exclude-internal]" can't be used with option "[create]"`},
		{"--list --zookeeper z:1 --command-config f", `Option "[command-config]" can't be used with option "[zookeeper]"`},
		{"--list --bootstrap-server b:1 --topic-id AAAAAAAAAAAAAAAAAAAAAQ", `Option "[topic-id]" can't be used with option "[list]"`},
		{"--describe --zookeeper z:1 --topic-id AAAAAAAAAAAAAAAAAAAAAQ", `Option "[topic-id]" can't be used with option "[zookeeper]"`},
		{"--alter --bootstrap-server b:1 --topic t --partitions 2 --config a=b", `Option combination "[bootstrap-server],[config]" can't be used with option "[alter]" (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)`},
		{"--alter --bootstrap-server b:1 --topic t --partitions 2 --delete-config a", `Option "[delete-config]" can't be used with option "[bootstrap-server]"`},
		{"--alter --bootstrap-server b:1 --topic t --partitions 2 --replication-factor 2", `Option "[replication-factor]" can't be used with option "[alter]"`},
		{"--alter --bootstrap-server b:1 --topic t --partitions 2 --replica-assignment 1,2 --if-exists", ""},
		{"--alter --zookeeper z:1 --topic t --config a=b --delete-config c --partitions 2 --replica-assignment 1,2", ""},
		{"--describe --zookeeper z:1 --under-min-isr-partitions", `Option "[under-min-isr-partitions]" can't be used with option "[zookeeper]"`},
		{"--describe --zookeeper z:1 --at-min-isr-partitions", `Option "[at-min-isr-partitions]" can't be used with option "[zookeeper]"`},
		{"--describe --bootstrap-server b:1 --if-exists", `Missing required argument "[topic]"`},
		{"--describe --bootstrap-server b:1 --partition-size-limit-per-response 10", ""},
		{"--create --bootstrap-server b:1 --topic t --partitions 3 --replication-factor 1 --config a=b --if-not-exists", ""},
	} {
		f := newTopicFlags()
		if err := f.set.Parse(strings.Fields(c.line)); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		got := ""
		if err := f.check(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestNewTopicFromFlags(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--partitions 0", "The partitions must be greater than 0"},
		{"--replication-factor 0", "The replication factor must be between 1 and 32767 inclusive"},
		{"--replication-factor 32768", "The replication factor must be between 1 and 32767 inclusive"},
		{"--config x", `requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`},
		{"--config nope=1", "Unknown topic config name: nope"},
		{"--config retention.ms=abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
		{"--replica-assignment 0:0", "Partition replica lists may not contain duplicate entries: 0"},
		{"--replica-assignment 1:2:2:1:3", "Partition replica lists may not contain duplicate entries: 2,1"},
		{"--replica-assignment 0,1:2", "Partition 1 has different replication factor: [1, 2]"},
		{"--replica-assignment x", `For input string: "x"`},
		{"--replica-assignment 0:1,1:2 --config cleanup.policy=compact", ""},
	} {
		f := newTopicFlags()
		if err := f.set.Parse(append([]string{"--create", "--topic", "t"}, strings.Fields(c.line)...)); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		topic, err := f.newTopic()
		got := ""
		if err != nil {
			got = text(err)
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
		if c.want == "" {
			want := map[int32][]cluster.BrokerID{0: {0, 1}, 1: {1, 2}}
			if diff := cmp.Diff(want, topic.assignment); diff != "" || topic.config["cleanup.policy"] != "compact" || topic.partitions != -1 {
				t.Errorf("%+v %s", topic, diff)
			}
		}
	}
}

func TestIncludeList(t *testing.T) {
	for _, c := range []struct {
		raw, name string
		want      bool
	}{
		{"orders", "orders", true}, {"orders", "orders2", false}, {"orders,users", "users", true}, {"ord.*", "orders", true},
		{" a , b ", "b", true}, {`"quoted"`, "quoted", true}, {"a|b", "ab", false},
	} {
		match, err := includeList(c.raw)
		if err != nil || match(c.name) != c.want {
			t.Errorf("%q matches %q: %v, %v", c.raw, c.name, !c.want, err)
		}
	}
	if _, err := includeList("a(b"); err == nil || err.Error() != "a(b is an invalid regex." {
		t.Errorf("got %v", err)
	}
}

// fixedTopics is a store with topics that do not change.
type fixedTopics []topicView

func (f fixedTopics) create(context.Context, newTopic) error                  { return nil }
func (f fixedTopics) names(context.Context) ([]topicName, error)              { return nil, nil }
func (f fixedTopics) alter(context.Context, []string, topicChange) error      { return nil }
func (f fixedTopics) remove(context.Context, string) error                    { return nil }
func (f fixedTopics) close()                                                  {}
func (f fixedTopics) describe(context.Context, []string) ([]topicView, error) { return f, nil }

func TestDescribeOutput(t *testing.T) {
	id, err := cluster.ParseTopicID("8kQDAYfRQiSQdTqsbRZ9sg")
	if err != nil {
		t.Fatal(err)
	}
	ids := func(n ...cluster.BrokerID) []cluster.BrokerID { return n }
	store := fixedTopics{
		{name: "plain", minISR: 1, partitions: []partitionView{{index: 0, leader: 3, leaderAlive: true, replicas: ids(3), isr: ids(3)}}, deleting: true},
		{name: "orders", id: id, minISR: 2, overrides: []override{{"retention.ms", "1000"}, {"segment.bytes", "1073741824"}}, partitions: []partitionView{
			{index: 0, leader: 1, leaderAlive: true, replicas: ids(1, 2, 3), isr: ids(1, 2, 3)},
			{index: 1, leader: cluster.NoBroker, replicas: ids(2, 3, 1, 4), isr: ids(2), adding: ids(4), removing: ids(1)},
			{index: 2, leader: 9, replicas: ids(9, 1, 2), isr: ids(9, 1)},
		}},
	}
	const (
		header = "Topic: orders\tTopicId: 8kQDAYfRQiSQdTqsbRZ9sg\tPartitionCount: 3\tReplicationFactor: 3\tConfigs: retention.ms=1000,segment.bytes=1073741824\n"
		p0     = "\tTopic: orders\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\n"
		p1     = "\tTopic: orders\tPartition: 1\tLeader: none\tReplicas: 2,3,1,4\tIsr: 2\tAdding Replicas: 4\tRemoving Replicas: 1\n"
		p2     = "\tTopic: orders\tPartition: 2\tLeader: 9\tReplicas: 9,1,2\tIsr: 9,1\n"
		plain  = "Topic: plain\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: \tMarkedForDeletion: true\n\tTopic: plain\tPartition: 0\tLeader: 3\tReplicas: 3\tIsr: 3\tMarkedForDeletion: true\n"
	)
	for flag, want := range map[string]string{
		"":                              header + p0 + p1 + p2 + plain,
		"--under-replicated-partitions": p1 + p2,
		"--unavailable-partitions":      p1 + p2,
		"--under-min-isr-partitions":    p1,
		"--at-min-isr-partitions":       p2 + "\tTopic: plain\tPartition: 0\tLeader: 3\tReplicas: 3\tIsr: 3\tMarkedForDeletion: true\n",
		"--topics-with-overrides":       header,
	} {
		f := newTopicFlags()
		if err := f.set.Parse(strings.Fields("--describe " + flag)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := f.print(context.Background(), store, nil, streams{out: &out}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", flag, diff)
		}
	}
}
