package server

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// alterations notes what it is asked for and answers with err.
type alterations struct {
	asked []string
	err   error
}

func (a *alterations) note(what string, changes []ConfigChange, validateOnly bool) error {
	a.asked = append(a.asked, fmt.Sprint(what, " ", changes, " ", validateOnly))
	return a.err
}

func (a *alterations) AlterTopic(_ context.Context, name string, changes []ConfigChange, validateOnly bool) error {
	return a.note("topic "+name, changes, validateOnly)
}

func (a *alterations) AlterBroker(_ context.Context, changes []ConfigChange, validateOnly bool) error {
	return a.note("this broker", changes, validateOnly)
}

func (a *alterations) AlterBrokerDefaults(_ context.Context, changes []ConfigChange, validateOnly bool) error {
	return a.note("all brokers", changes, validateOnly)
}

func TestIncrementalAlterConfigs(t *testing.T) {
	asked := &alterations{}
	w := newWorld(t, func(d *Deps) { d.Alterer = asked })
	w.topic("orders", 1)
	const topic, broker = ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC, ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER
	const set, remove = ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SET, ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_DELETE
	one := func(name string, op ottlapb.AlterConfigOperation) []*ottlapb.AlterableConfig {
		return []*ottlapb.AlterableConfig{{Name: name, Operation: op, Value: "1"}}
	}
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	res, err := client.IncrementalAlterConfigs(t.Context(), &ottlapb.IncrementalAlterConfigsRequest{ValidateOnly: true, Resources: []*ottlapb.AlterableConfigResource{
		{Type: topic, Name: "orders", Configs: append(one("b", set), one("a", remove)...)},
		{Type: broker, Name: "1", Configs: one("a", set)},
		{Type: broker, Configs: one("a", set)},
		{Type: topic, Name: "nowhere", Configs: one("a", set)},
		{Type: topic, Configs: one("a", set)},
		{Type: broker, Name: "2", Configs: one("a", set)},
		{Type: broker, Name: "x", Configs: one("a", set)},
		{Type: 8, Name: "1", Configs: one("a", set)},
		{Type: topic, Name: "twice"}, {Type: topic, Name: "twice"},
		{Type: topic, Name: "dup", Configs: append(one("a", set), one("a", remove)...)},
		{Type: topic, Name: "ops", Configs: append(one("b", 0), one("a", 9)...)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Results {
		got = append(got, fmt.Sprintf("%d %s %s: %s", r.Type, r.Name, kerr.Code(r.ErrorCode).Name(), r.ErrorMessage))
	}
	want := []string{
		"2 orders NONE: ", "4 1 NONE: ", "4  NONE: ",
		"2 nowhere UNKNOWN_TOPIC_OR_PARTITION: The topic 'nowhere' does not exist.",
		"2  INVALID_REQUEST: Default topic resources are not allowed.",
		"4 2 INVALID_REQUEST: Unexpected broker id, expected 1, but received 2",
		"4 x INVALID_REQUEST: Broker id must be an integer, but it is: x",
		"8 1 INVALID_REQUEST: Unknown resource type 8",
		"2 twice INVALID_REQUEST: Each resource must appear at most once.", "2 twice INVALID_REQUEST: Each resource must appear at most once.",
		"2 dup INVALID_REQUEST: Error due to duplicate config keys",
		"2 ops INVALID_REQUEST: Unknown operations on: a, b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"topic orders [{b ALTER_CONFIG_OPERATION_SET 1} {a ALTER_CONFIG_OPERATION_DELETE 1}] true",
		"this broker [{a ALTER_CONFIG_OPERATION_SET 1}] true", "all brokers [{a ALTER_CONFIG_OPERATION_SET 1}] true",
	}, asked.asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}

	asked.err = kerr.InvalidConfig.With("Unknown topic config name: a")
	res, err = client.IncrementalAlterConfigs(t.Context(), &ottlapb.IncrementalAlterConfigsRequest{Resources: []*ottlapb.AlterableConfigResource{{Type: topic, Name: "orders"}}})
	if err != nil || kerr.Code(res.Results[0].ErrorCode) != kerr.InvalidConfig || res.Results[0].ErrorMessage != "Unknown topic config name: a" {
		t.Errorf("%v, %v", res, err)
	}
	many := make([]*ottlapb.AlterableConfig, 10_001)
	for i := range many {
		many[i] = &ottlapb.AlterableConfig{}
	}
	_, err = client.IncrementalAlterConfigs(t.Context(), &ottlapb.IncrementalAlterConfigsRequest{Resources: []*ottlapb.AlterableConfigResource{{Type: topic, Name: "orders", Configs: many}}})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("10001 settings: %v", err)
	}
}

func TestDeleteRecordsAnswersEachPartition(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	w.topic("compacted", 1)
	w.topic("waiting", 0)
	w.place(at("waiting", 0), self, self, 2)
	w.place(at("elsewhere", 0), 2, 2)
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	req := func(timeoutMs int32, partitions ...cluster.TopicPartition) *ottlapb.DeleteRecordsRequest {
		r := &ottlapb.DeleteRecordsRequest{TimeoutMs: timeoutMs}
		for _, tp := range partitions {
			r.Topics = append(r.Topics, &ottlapb.DeleteRecordsTopic{Name: tp.Topic, Partitions: []*ottlapb.DeleteRecordsPartition{{Index: tp.Partition, Offset: -1}}})
		}
		return r
	}
	before := time.Now()
	res, err := client.DeleteRecords(t.Context(), req(50, at("orders", 0), at("compacted", 0), at("waiting", 0), at("elsewhere", 0), at("nowhere", 0), at("orders", 7),
		at(cluster.GroupMetadataTopic, 0), at("twice", 0), at("twice", 0)))
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(before); d < 50*time.Millisecond {
		t.Errorf("answered after %v, and a follower has not fetched", d)
	}
	var got []string
	for _, topic := range res.Topics {
		for _, p := range topic.Partitions {
			got = append(got, fmt.Sprintf("%s-%d %s %d", topic.Name, p.Index, kerr.Code(p.ErrorCode).Name(), p.LowWatermark))
		}
	}
	want := []string{
		"orders-0 NONE 0", "compacted-0 POLICY_VIOLATION -1", "waiting-0 REQUEST_TIMED_OUT -1", "elsewhere-0 NOT_LEADER_OR_FOLLOWER -1",
		"nowhere-0 UNKNOWN_TOPIC_OR_PARTITION -1", "orders-7 UNKNOWN_TOPIC_OR_PARTITION -1", "__consumer_offsets-0 INVALID_TOPIC_EXCEPTION -1",
		"twice-0 INVALID_REQUEST -1", "twice-0 INVALID_REQUEST -1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// A server that closes does not wait for followers.
	ended := make(chan error)
	go func() {
		_, err := client.DeleteRecords(context.Background(), req(600_000, at("waiting", 0)))
		ended <- err
	}()
	p := w.held(at("waiting", 0))
	for p.Watchers() == 0 {
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	w.srv.Close()
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("when the server closes: %v", err)
	}
}

// directories are two log directories, one of them offline.
type directories struct{}

func (directories) DescribeLogDirs() []LogDir {
	return []LogDir{
		{Path: "/a", Replicas: []LogDirReplica{{at("orders", 0), 10, 0}, {at("orders", 2), 20, 3}, {at("users", 0), 30, 0}}},
		{Path: "/b", Offline: true},
	}
}

func TestDescribeLogDirs(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.LogDirs = directories{} })
	client := ottlapb.NewTopicServiceClient(w.dial(""))
	for _, row := range []struct {
		req  *ottlapb.DescribeLogDirsRequest
		want string
	}{
		{&ottlapb.DescribeLogDirsRequest{AllTopics: true}, "/a NONE orders-0 10 0 orders-2 20 3 users-0 30 0 /b KAFKA_STORAGE_ERROR"},
		{&ottlapb.DescribeLogDirsRequest{Topics: []*ottlapb.DescribableLogDirTopic{{Name: "orders", Partitions: []int32{2, 5}}}}, "/a NONE orders-2 20 3 /b KAFKA_STORAGE_ERROR"},
		{&ottlapb.DescribeLogDirsRequest{}, "/a NONE /b KAFKA_STORAGE_ERROR"},
	} {
		res, err := client.DescribeLogDirs(t.Context(), row.req)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range res.Results {
			got += fmt.Sprintf(" %s %s", d.LogDir, kerr.Code(d.ErrorCode).Name())
			for _, topic := range d.Topics {
				for _, p := range topic.Partitions {
					got += fmt.Sprintf(" %s-%d %d %d", topic.Name, p.Index, p.Size, p.OffsetLag)
				}
			}
		}
		if got != " "+row.want {
			t.Errorf("%v:\n got%s\nwant %s", row.req, got, row.want)
		}
	}
}
