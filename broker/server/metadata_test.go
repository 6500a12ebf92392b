package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

func (w *world) metadata(req *ottlapb.MetadataRequest) (*ottlapb.MetadataResponse, error) {
	w.t.Helper()
	return ottlapb.NewMetadataServiceClient(w.dial("")).Metadata(context.Background(), req)
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	w.place(at("orders", 0), 1, 1, 2)
	w.place(at("orders", 1), 2, 2, 1)
	w.place(at("dead", 0), 9, 9, 1)
	w.place(at("leaderless", 0), -1, 2, 1)
	w.place(at(cluster.GroupMetadataTopic, 0), 3, 3)
	hidden := metadata.Update{ControllerID: 3, Brokers: append(w.cache.Image().Brokers(), metadata.Broker{ID: 4, Endpoints: []cluster.Endpoint{{Listener: "INTERNAL", Host: "h", Port: 1}}})}
	w.cache.Apply(hidden)
	w.place(at("hidden", 0), 4, 4)

	brokers := []*ottlapb.Node{
		{Id: 1, Host: "host-1", Port: 9092, Rack: "rack-1"}, {Id: 2, Host: "host-2", Port: 9092, Rack: "rack-2"}, {Id: 3, Host: "host-3", Port: 9092, Rack: "rack-3"},
	}
	id := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}
	topics := map[string]*ottlapb.TopicMetadata{
		"orders": {Name: "orders", TopicId: id, Partitions: []*ottlapb.PartitionMetadata{
			{Index: 0, LeaderId: 1, Replicas: []int32{1, 2}, Isr: []int32{1, 2}}, {Index: 1, LeaderId: 2, Replicas: []int32{2, 1}, Isr: []int32{2, 1}},
		}},
		"dead": {Name: "dead", TopicId: id, Partitions: []*ottlapb.PartitionMetadata{
			{ErrorCode: int32(kerr.LeaderNotAvailable), LeaderId: -1, Replicas: []int32{9, 1}, Isr: []int32{9, 1}},
		}},
		"leaderless": {Name: "leaderless", TopicId: id, Partitions: []*ottlapb.PartitionMetadata{
			{ErrorCode: int32(kerr.LeaderNotAvailable), LeaderId: -1, Replicas: []int32{2, 1}, Isr: []int32{2, 1}},
		}},
		"hidden": {Name: "hidden", TopicId: id, Partitions: []*ottlapb.PartitionMetadata{
			{ErrorCode: int32(kerr.ListenerNotFound), LeaderId: -1, Replicas: []int32{4}, Isr: []int32{4}},
		}},
		cluster.GroupMetadataTopic: {Name: cluster.GroupMetadataTopic, TopicId: id, IsInternal: true, Partitions: []*ottlapb.PartitionMetadata{{LeaderId: 3, Replicas: []int32{3}, Isr: []int32{3}}}},
		"nowhere":                  {Name: "nowhere", ErrorCode: int32(kerr.UnknownTopicOrPartition)},
		"..":                       {Name: "..", ErrorCode: int32(kerr.InvalidTopicException)},
		"":                         {Name: "", ErrorCode: int32(kerr.InvalidTopicException)},
	}
	for _, c := range []struct {
		name string
		req  *ottlapb.MetadataRequest
		want []string
	}{
		{"nothing asked for: brokers only", &ottlapb.MetadataRequest{}, nil},
		{"in the order asked for", &ottlapb.MetadataRequest{Topics: []string{"orders", "nowhere", "dead", "..", "hidden", "", "leaderless"}}, []string{"orders", "nowhere", "dead", "..", "hidden", "", "leaderless"}},
		{"all, by name", &ottlapb.MetadataRequest{AllTopics: true, Topics: []string{"nowhere"}, AllowAutoTopicCreation: true}, []string{cluster.GroupMetadataTopic, "dead", "hidden", "leaderless", "orders"}},
	} {
		got, err := w.metadata(c.req)
		if err != nil {
			t.Fatal(err)
		}
		expect := &ottlapb.MetadataResponse{Brokers: brokers, ClusterId: "cluster-of-tests", ControllerId: 3}
		for _, name := range c.want {
			expect.Topics = append(expect.Topics, topics[name])
		}
		if diff := cmp.Diff(expect, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(c.req.Topics) == 0 || c.req.AllTopics {
			continue
		}
		described, err := ottlapb.NewTopicServiceClient(w.dial("")).DescribeTopics(context.Background(), &ottlapb.DescribeTopicsRequest{TopicNames: c.req.Topics})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expect.Topics, described.Topics, protocmp.Transform()); diff != "" {
			t.Errorf("%s, described (-want +got):\n%s", c.name, diff)
		}
	}
	info, err := ottlapb.NewMetadataServiceClient(w.dial("")).DescribeCluster(context.Background(), &ottlapb.DescribeClusterRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&ottlapb.DescribeClusterResponse{ClusterId: "cluster-of-tests", ControllerId: 3, Brokers: brokers}, info, protocmp.Transform()); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
}

func TestTopicsAreCreatedOnDemand(t *testing.T) {
	var mu sync.Mutex
	created := map[string]int{}
	w := newWorld(t, func(d *Deps) {
		d.AutoCreate = func(_ context.Context, topic string) error {
			mu.Lock()
			defer mu.Unlock()
			created[topic]++
			switch topic {
			case "crowded":
				return kerr.InvalidReplicationFactor
			case "raced":
				return fmt.Errorf("create: %w", kerr.TopicAlreadyExists)
			case "broken":
				return errors.New("no route to ZooKeeper")
			}
			return nil
		}
	})
	w.topic("orders", 1)
	for _, c := range []struct {
		topic string
		allow bool
		want  kerr.Code
		calls int
	}{
		{"orders", true, kerr.None, 0},
		{"fresh", true, kerr.LeaderNotAvailable, 1},
		{"raced", true, kerr.LeaderNotAvailable, 1},
		{"crowded", true, kerr.InvalidReplicationFactor, 1},
		{"broken", true, kerr.UnknownServerError, 1},
		{"forbidden", false, kerr.UnknownTopicOrPartition, 0},
		{"a/b", true, kerr.InvalidTopicException, 0},
		{"", true, kerr.InvalidTopicException, 0},
		{strings.Repeat("x", 250), true, kerr.InvalidTopicException, 0},
	} {
		got, err := w.metadata(&ottlapb.MetadataRequest{Topics: []string{c.topic}, AllowAutoTopicCreation: c.allow})
		if err != nil {
			t.Fatal(err)
		}
		if code := kerr.Code(got.Topics[0].ErrorCode); code != c.want || created[c.topic] != c.calls {
			t.Errorf("%q: %v after %d attempts to create it, want %v after %d", c.topic, code, created[c.topic], c.want, c.calls)
		}
	}
	if _, err := w.metadata(&ottlapb.MetadataRequest{AllTopics: true, Topics: []string{"never"}, AllowAutoTopicCreation: true}); err != nil || created["never"] != 0 {
		t.Errorf("asking for all topics created one (%v)", err)
	}
}

func TestATopicIsNotCreatedTwiceAtATime(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(d *Deps) {
		d.AutoCreate = func(context.Context, string) error {
			begun <- struct{}{}
			<-goOn
			return nil
		}
	})
	req := &ottlapb.MetadataRequest{Topics: []string{"fresh"}, AllowAutoTopicCreation: true}
	first := make(chan kerr.Code, 1)
	go func() {
		got, err := w.srv.Metadata(context.Background(), req)
		if err != nil {
			t.Error(err)
		}
		first <- kerr.Code(got.Topics[0].ErrorCode)
	}()
	<-begun
	got, err := w.metadata(req)
	if err != nil {
		t.Fatal(err)
	}
	if code := kerr.Code(got.Topics[0].ErrorCode); code != kerr.UnknownTopicOrPartition {
		t.Errorf("meanwhile: %v", code)
	}
	close(goOn)
	if code := <-first; code != kerr.LeaderNotAvailable {
		t.Errorf("the first: %v", code)
	}
}

func TestEndlessListsAreRefused(t *testing.T) {
	w := newWorld(t)
	million, names := make([]string, 1_000_000), make([]string, 20_000)
	partitions := make([]*ottlapb.ListOffsetsPartition, 20_000)
	records := make([]*ottlapb.PublishRecord, 20_000)
	for i := range partitions {
		partitions[i], records[i] = &ottlapb.ListOffsetsPartition{}, &ottlapb.PublishRecord{}
	}
	ctx, cc := context.Background(), w.dial("")
	topics, meta, fetch := ottlapb.NewTopicServiceClient(cc), ottlapb.NewMetadataServiceClient(cc), ottlapb.NewFetchServiceClient(cc)
	for name, call := range map[string]func() error{
		"metadata": func() error { _, err := meta.Metadata(ctx, &ottlapb.MetadataRequest{Topics: million}); return err },
		"describe": func() error {
			_, err := topics.DescribeTopics(ctx, &ottlapb.DescribeTopicsRequest{TopicNames: names})
			return err
		},
		"delete": func() error {
			_, err := topics.DeleteTopics(ctx, &ottlapb.DeleteTopicsRequest{TopicNames: names})
			return err
		},
		"configs": func() error {
			_, err := topics.DescribeConfigs(ctx, &ottlapb.DescribeConfigsRequest{Resources: []*ottlapb.ConfigResource{{ConfigNames: names}}})
			return err
		},
		"create": func() error {
			_, err := topics.CreateTopics(ctx, &ottlapb.CreateTopicsRequest{Topics: make([]*ottlapb.CreatableTopic, 20_000)})
			return err
		},
		"assignment": func() error {
			_, err := topics.CreateTopics(ctx, &ottlapb.CreateTopicsRequest{Topics: []*ottlapb.CreatableTopic{{Name: "x", Assignments: []*ottlapb.ReplicaAssignment{{BrokerIds: make([]int32, 200_000)}}}}})
			return err
		},
		"list": func() error {
			_, err := fetch.ListOffsets(ctx, &ottlapb.ListOffsetsRequest{ReplicaId: -1, Topics: []*ottlapb.ListOffsetsTopic{{Partitions: partitions}}})
			return err
		},
		"publish": func() error {
			_, err := ottlapb.NewRecordServiceClient(cc).Publish(ctx, &ottlapb.PublishRequest{Records: records})
			return err
		},
		"orders": func() error {
			_, err := ottlapb.NewControlServiceClient(cc).LeaderAndIsr(ctx, &ottlapb.LeaderAndIsrRequest{Topics: []*ottlapb.LeaderAndIsrTopic{{Partitions: make([]*ottlapb.LeaderAndIsrPartition, 1_000_000)}}})
			return err
		},
	} {
		err := call()
		wantStatus(t, err, codes.InvalidArgument)
		if err != nil && !strings.Contains(err.Error(), "INVALID_REQUEST") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
