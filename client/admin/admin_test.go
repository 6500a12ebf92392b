package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/brokertest"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/internal/exampletb"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleAdmin_CreateTopics() {
	t := exampletb.New()
	defer t.Close()
	cl := brokertest.Start(t, brokertest.Options{}).Client(t)

	ctx := context.Background()
	a := admin.New(cl)
	results, err := a.CreateTopics(ctx, []admin.NewTopic{
		{Name: "orders", Partitions: 3, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "60000"}},
		{Name: "no/good", Partitions: 1, ReplicationFactor: 1},
	}, admin.CreateOptions{})
	if err != nil {
		log.Panic(err)
	}
	for _, r := range results {
		fmt.Println(r.Name, r.Partitions, errors.Is(r.Err, kerr.InvalidTopicException))
	}
	topics, err := a.ListTopics(ctx)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(len(topics), "topic:", topics[0].Name)
	// Output:
	// orders 3 false
	// no/good -1 true
	// 1 topic: orders
}

// start returns an admin client of a fake cluster.
func start(t *testing.T, fc *fakecluster.Cluster, opts ...client.Option) *admin.Admin {
	t.Helper()
	cl, err := client.Dial(t.Context(), fc.Bootstrap(), append([]client.Option{client.Dialer(fc.Dialer())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return admin.New(cl)
}

func TestTopicsAreCreatedDescribedAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		a := start(t, fc)
		created, err := a.CreateTopics(t.Context(), []admin.NewTopic{
			{Name: "b", Partitions: 2, ReplicationFactor: 1},
			{Name: "a", Assignments: map[int32][]cluster.BrokerID{0: {1}, 1: {2}, 2: {3}}},
			{Name: "b"},
		}, admin.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r := created[1]; r.Err != nil || r.Name != "a" || r.Partitions != 3 || r.ReplicationFactor != 1 || r.ID.IsZero() {
			t.Errorf("created %+v", r)
		}
		if r, err := a.CreateTopics(t.Context(), []admin.NewTopic{{Name: "a"}}, admin.CreateOptions{}); err != nil || !errors.Is(r[0].Err, kerr.TopicAlreadyExists) || r[0].Partitions != -1 {
			t.Errorf("a topic that exists: %+v, %v", r, err)
		}
		if r, err := a.CreateTopics(t.Context(), []admin.NewTopic{{Name: "c", Partitions: 1}}, admin.CreateOptions{ValidateOnly: true}); err != nil || r[0].Err != nil || !r[0].ID.IsZero() {
			t.Errorf("validate only: %+v, %v", r, err)
		}
		topics, err := a.ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(topics) != 2 || topics[0].Name != "a" || len(topics[0].Partitions) != 3 || topics[1].Name != "b" {
			t.Errorf("topics are %+v", topics)
		}
		described, err := a.DescribeTopics(t.Context(), []string{"x", "b"})
		if err != nil || len(described) != 2 || described[0].Err != kerr.UnknownTopicOrPartition || described[1].Err != kerr.None {
			t.Errorf("described %+v, %v", described, err)
		}
		if none, err := a.DescribeTopics(t.Context(), nil); err != nil || none != nil {
			t.Errorf("nothing described: %v, %v", none, err)
		}
		deleted, err := a.DeleteTopics(t.Context(), []string{"b", "x"}, time.Second)
		if err != nil || deleted[0] != (admin.TopicResult{Name: "b"}) || !errors.Is(deleted[1].Err, kerr.UnknownTopicOrPartition) {
			t.Errorf("deleted %+v, %v", deleted, err)
		}
	})
}

func TestTheControllerIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		a := start(t, fc)
		fc.SetController(3)
		if r, err := a.CreateTopics(t.Context(), []admin.NewTopic{{Name: "a"}}, admin.CreateOptions{}); err != nil || r[0].Err != nil {
			t.Errorf("create: %+v, %v", r, err)
		}
		fc.SetController(2)
		if r, err := a.DeleteTopics(t.Context(), []string{"a"}, 0); err != nil || r[0].Err != nil {
			t.Errorf("delete: %+v, %v", r, err)
		}
		if n := fc.Count("create-topics"); n < 2 {
			t.Errorf("%d requests to create", n)
		}
	})
}

func TestACallThatNobodyAnswersFailsAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		a := start(t, fc, client.APITimeout(5*time.Second))
		fc.OnAdmin = func(cluster.BrokerID, string) kerr.Code { return kerr.NotController }
		begin := time.Now()
		_, err := a.CreateTopics(t.Context(), []admin.NewTopic{{Name: "a"}}, admin.CreateOptions{})
		if !errors.Is(err, kerr.NotController) || time.Since(begin) != 5*time.Second {
			t.Errorf("no controller: %v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.DeleteTopics(ctx, []string{"a"}, 0); err == nil {
			t.Error("delete: no error although the context has ended")
		}
		fc.Kill(1)
		if _, err := a.ListTopics(t.Context()); !errors.Is(err, kerr.NetworkException) {
			t.Errorf("no broker: %v", err)
		}
	})
}

func TestOneTopicsErrorIsNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		a := start(t, fc)
		fc.OnAdmin = func(_ cluster.BrokerID, topic string) kerr.Code {
			if topic == "bad" {
				return kerr.PolicyViolation
			}
			return kerr.None
		}
		r, err := a.CreateTopics(t.Context(), []admin.NewTopic{{Name: "bad"}, {Name: "good"}}, admin.CreateOptions{})
		if err != nil || !errors.Is(r[0].Err, kerr.PolicyViolation) || r[1].Err != nil {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestClusterConfigsAndOffsetsAreDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 1)
		tp := cluster.TopicPartition{Topic: "orders"}
		fc.Fill(tp, 0, 1, 7, record.None)
		a := start(t, fc)
		got, err := a.DescribeCluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := admin.Cluster{ID: "fake-cluster", Controller: 1, Brokers: []client.Broker{{ID: 1, Host: "b1", Port: 9092, Rack: "r1"}, {ID: 2, Host: "b2", Port: 9092, Rack: "r1"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cluster (-want +got):\n%s", diff)
		}
		topic, broker := ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC, ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER
		configs, err := a.DescribeConfigs(t.Context(), []admin.ConfigResource{{Type: broker, Name: "2"}, {Type: topic, Name: "orders"}, {Type: broker, Name: "x"}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if e := configs[0].Entries; len(e) != 1 || e[0].Value != "b2" || !e[0].ReadOnly || len(e[0].Synonyms) != 1 {
			t.Errorf("broker 2 says %+v", configs[0])
		}
		if e := configs[1].Entries; len(e) != 1 || e[0].Name != "retention.ms" || e[0].Source != ottlapb.ConfigSource_CONFIG_SOURCE_DEFAULT_CONFIG {
			t.Errorf("topic says %+v", configs[1])
		}
		if !errors.Is(configs[2].Err, kerr.InvalidRequest) {
			t.Errorf("broker x: %v", configs[2].Err)
		}
		offsets, err := a.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
		if err != nil || offsets[tp].Offset != 7 {
			t.Errorf("offsets %+v, %v", offsets, err)
		}
	})
}
