package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// fakePartitions notes what it is asked.
type fakePartitions struct {
	more     []state.MorePartitions
	validate bool
	timeout  time.Duration

	elect   state.ElectLeaders
	elected []state.ElectResult
	err     error

	moves   []state.Move
	moved   []state.MoveResult
	list    state.ListReassignments
	ongoing []state.OngoingMove
}

func (f *fakePartitions) AlterReassignments(_ context.Context, moves []state.Move, timeout time.Duration) ([]state.MoveResult, error) {
	f.moves, f.timeout = moves, timeout
	return f.moved, f.err
}

func (f *fakePartitions) ListReassignments(_ context.Context, req state.ListReassignments, timeout time.Duration) ([]state.OngoingMove, error) {
	f.list, f.timeout = req, timeout
	return f.ongoing, f.err
}

func (f *fakePartitions) CreatePartitions(_ context.Context, topics []state.MorePartitions, timeout time.Duration, validateOnly bool) []TopicResult {
	f.more, f.timeout, f.validate = topics, timeout, validateOnly
	var results []TopicResult
	for _, t := range topics {
		results = append(results, TopicResult{Name: t.Topic, Err: f.err})
	}
	return results
}

func (f *fakePartitions) ElectLeaders(_ context.Context, req state.ElectLeaders, timeout time.Duration) ([]state.ElectResult, error) {
	f.elect, f.timeout = req, timeout
	return f.elected, f.err
}

func partitionsWorld(t *testing.T, f *fakePartitions) *world {
	return newWorld(t, func(d *Deps) { d.Partitions = f })
}

// outcomeLines returns outcomes, one line for each.
func outcomeLines(list []*ottlapb.PartitionOutcome) []string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s-%d %s %s", p.Topic, p.Index, kerr.Code(p.ErrorCode).Name(), p.ErrorMessage))
	}
	return out
}

func TestCreatePartitions(t *testing.T) {
	f := &fakePartitions{err: kerr.InvalidPartitions.With("Topic already has 3 partitions.")}
	client := ottlapb.NewTopicServiceClient(partitionsWorld(t, f).dial(""))
	req := &ottlapb.CreatePartitionsRequest{TimeoutMs: 1500, ValidateOnly: true, Topics: []*ottlapb.CreatablePartitions{
		{Name: "twice", Count: 2}, {Name: "a", Count: 3},
		{Name: "b", Count: 2, Assignments: []*ottlapb.ReplicaAssignment{{PartitionIndex: 7, BrokerIds: []int32{2, 1}}, {}}}, {Name: "twice", Count: 3},
	}}
	res, err := client.CreatePartitions(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Topics {
		got = append(got, fmt.Sprintf("%s %s %s", r.Name, kerr.Code(r.ErrorCode).Name(), r.ErrorMessage))
	}
	want := []string{
		"twice INVALID_REQUEST Duplicate topic in request.", "a INVALID_PARTITIONS Topic already has 3 partitions.",
		"b INVALID_PARTITIONS Topic already has 3 partitions.", "twice INVALID_REQUEST Duplicate topic in request.",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	asked := []state.MorePartitions{{Topic: "a", Count: 3}, {Topic: "b", Count: 2, Assignments: [][]cluster.BrokerID{{2, 1}, {}}}}
	if d := cmp.Diff(asked, f.more); d != "" || !f.validate || f.timeout != 1500*time.Millisecond {
		t.Errorf("asked (-want +got):\n%s\nvalidate %t, timeout %v", d, f.validate, f.timeout)
	}
	if res, err := client.CreatePartitions(t.Context(), &ottlapb.CreatePartitionsRequest{}); err != nil || len(res.Topics) != 0 {
		t.Errorf("nothing asked: %v, %v", res, err)
	}
	if _, err := client.CreatePartitions(t.Context(), &ottlapb.CreatePartitionsRequest{Topics: make([]*ottlapb.CreatablePartitions, 10_001)}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("too many topics: %v", err)
	}
	wide := &ottlapb.CreatablePartitions{Name: "w", Assignments: []*ottlapb.ReplicaAssignment{{BrokerIds: make([]int32, 100_001)}}}
	if _, err := client.CreatePartitions(t.Context(), &ottlapb.CreatePartitionsRequest{Topics: []*ottlapb.CreatablePartitions{wide}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("too many brokers: %v", err)
	}
}

func TestElectLeaders(t *testing.T) {
	f := &fakePartitions{elected: []state.ElectResult{
		{Partition: at("a", 0), Leader: 2}, {Partition: at("a", 1), Code: kerr.ElectionNotNeeded}, {Partition: at("b", 0), Code: kerr.UnknownTopicOrPartition},
		{Partition: at("b", 1), Code: kerr.PreferredLeaderNotAvailable}, {Partition: at("c", 0), Code: kerr.InvalidTopicException}, {Partition: at("c", 1), Code: kerr.RequestTimedOut},
	}}
	client := ottlapb.NewPartitionServiceClient(partitionsWorld(t, f).dial(""))
	req := &ottlapb.ElectLeadersRequest{ElectionType: ottlapb.ElectionType_ELECTION_TYPE_PREFERRED, TimeoutMs: 3_600_000, Topics: []*ottlapb.TopicPartitions{
		{Topic: "a", Partitions: []int32{0, 1, 0}}, {Topic: "b", Partitions: []int32{0, 1}}, {Topic: "a", Partitions: []int32{1}},
	}}
	res, err := client.ElectLeaders(t.Context(), req)
	if err != nil || res.ErrorCode != 0 {
		t.Fatal(err, res)
	}
	want := []string{
		"a-0 NONE ", "a-1 ELECTION_NOT_NEEDED Leader election not needed for topic partition.", "b-0 UNKNOWN_TOPIC_OR_PARTITION The partition does not exist.",
		"b-1 PREFERRED_LEADER_NOT_AVAILABLE Failed to elect leader for partition b-1 under strategy PreferredReplicaPartitionLeaderElectionStrategy",
		"c-0 INVALID_TOPIC_EXCEPTION The topic is being deleted", "c-1 REQUEST_TIMED_OUT The request timed out.",
	}
	if d := cmp.Diff(want, outcomeLines(res.Partitions)); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	asked := state.ElectLeaders{Partitions: []cluster.TopicPartition{at("a", 0), at("a", 1), at("b", 0), at("b", 1)}}
	if d := cmp.Diff(asked, f.elect); d != "" || f.timeout != 10*time.Minute {
		t.Errorf("asked (-want +got):\n%s\ntimeout %v", d, f.timeout)
	}
	f.elected = []state.ElectResult{{Partition: at("b", 1), Code: kerr.EligibleLeadersNotAvailable}}
	res, err = client.ElectLeaders(t.Context(), &ottlapb.ElectLeadersRequest{ElectionType: ottlapb.ElectionType_ELECTION_TYPE_UNCLEAN, AllPartitions: true})
	if err != nil || !f.elect.All || !f.elect.Unclean {
		t.Fatal(err, f.elect)
	}
	want = []string{"b-1 ELIGIBLE_LEADERS_NOT_AVAILABLE Failed to elect leader for partition b-1 under strategy OfflinePartitionLeaderElectionStrategy(true)"}
	if d := cmp.Diff(want, outcomeLines(res.Partitions)); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	for _, typ := range []ottlapb.ElectionType{0, 7} {
		if res, err := client.ElectLeaders(t.Context(), &ottlapb.ElectLeadersRequest{ElectionType: typ, AllPartitions: true}); err != nil || kerr.Code(res.ErrorCode) != kerr.InvalidRequest {
			t.Errorf("election type %d: %v, %v", typ, res, err)
		}
	}
	f.err = fmt.Errorf("elect leaders: %w", kerr.NotController.Err())
	if res, err := client.ElectLeaders(t.Context(), req); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController || res.ErrorMessage == "" {
		t.Errorf("%v, %v", res, err)
	}
	big := &ottlapb.TopicPartitions{Topic: "a", Partitions: make([]int32, 100_001)}
	if _, err := client.ElectLeaders(t.Context(), &ottlapb.ElectLeadersRequest{ElectionType: 1, Topics: []*ottlapb.TopicPartitions{big}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("too many partitions: %v", err)
	}
}

func TestWithoutAControllerNobodyChangesPartitions(t *testing.T) {
	w := newWorld(t)
	topics, partitions := ottlapb.NewTopicServiceClient(w.dial("")), ottlapb.NewPartitionServiceClient(w.dial(""))
	more, err := topics.CreatePartitions(t.Context(), &ottlapb.CreatePartitionsRequest{Topics: []*ottlapb.CreatablePartitions{{Name: "a", Count: 2}}})
	if err != nil || kerr.Code(more.Topics[0].ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", more, err)
	}
	if res, err := partitions.ElectLeaders(t.Context(), &ottlapb.ElectLeadersRequest{ElectionType: 1}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
	if res, err := partitions.AlterPartitionReassignments(t.Context(), &ottlapb.AlterPartitionReassignmentsRequest{}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
	if res, err := partitions.ListPartitionReassignments(t.Context(), &ottlapb.ListPartitionReassignmentsRequest{}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
}

func TestAlterPartitionReassignments(t *testing.T) {
	f := &fakePartitions{moved: []state.MoveResult{{Partition: at("a", 0)}, {Partition: at("a", 1), Err: kerr.InvalidReplicaAssignment.With("no")}, {Partition: at("b", 0), Err: kerr.NoReassignmentInProgress.Err()}}}
	client := ottlapb.NewPartitionServiceClient(partitionsWorld(t, f).dial(""))
	req := &ottlapb.AlterPartitionReassignmentsRequest{TimeoutMs: 1500, Partitions: []*ottlapb.PartitionReassignment{
		{Topic: "a", Index: 2, Replicas: []int32{1}}, {Topic: "a", Index: 0, Replicas: []int32{4, 5}}, {Topic: "a", Index: 1}, {Topic: "a", Index: 2, Cancel: true}, {Topic: "b", Cancel: true},
	}}
	res, err := client.AlterPartitionReassignments(t.Context(), req)
	if err != nil || res.ErrorCode != 0 {
		t.Fatal(err, res)
	}
	want := []string{
		"a-2 INVALID_REQUEST The partition is named more than once.", "a-0 NONE ", "a-1 INVALID_REPLICA_ASSIGNMENT no",
		"a-2 INVALID_REQUEST The partition is named more than once.", "b-0 NO_REASSIGNMENT_IN_PROGRESS No partition reassignment is in progress.",
	}
	if d := cmp.Diff(want, outcomeLines(res.Partitions)); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	asked := []state.Move{{Partition: at("a", 0), Replicas: []cluster.BrokerID{4, 5}}, {Partition: at("a", 1), Replicas: []cluster.BrokerID{}}, {Partition: at("b", 0), Replicas: []cluster.BrokerID{}, Cancel: true}}
	if d := cmp.Diff(asked, f.moves); d != "" || f.timeout != 1500*time.Millisecond {
		t.Errorf("asked (-want +got):\n%s\ntimeout %v", d, f.timeout)
	}
	f.err = fmt.Errorf("alter reassignments: %w", kerr.RequestTimedOut.Err())
	if res, err := client.AlterPartitionReassignments(t.Context(), req); err != nil || kerr.Code(res.ErrorCode) != kerr.RequestTimedOut || len(res.Partitions) != 0 {
		t.Errorf("%v, %v", res, err)
	}
	big := &ottlapb.PartitionReassignment{Topic: "a", Replicas: make([]int32, 100_001)}
	if _, err := client.AlterPartitionReassignments(t.Context(), &ottlapb.AlterPartitionReassignmentsRequest{Partitions: []*ottlapb.PartitionReassignment{big}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("too many replicas: %v", err)
	}
}

func TestListPartitionReassignments(t *testing.T) {
	f := &fakePartitions{ongoing: []state.OngoingMove{{Partition: at("a", 1), Assignment: state.Assignment{
		Replicas: []cluster.BrokerID{4, 2, 1}, Adding: []cluster.BrokerID{4}, Removing: []cluster.BrokerID{1},
	}}}}
	client := ottlapb.NewPartitionServiceClient(partitionsWorld(t, f).dial(""))
	res, err := client.ListPartitionReassignments(t.Context(), &ottlapb.ListPartitionReassignmentsRequest{Topics: []*ottlapb.TopicPartitions{{Topic: "a", Partitions: []int32{1, 1, 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := &ottlapb.ListPartitionReassignmentsResponse{Partitions: []*ottlapb.OngoingReassignment{
		{Topic: "a", Index: 1, Replicas: []int32{4, 2, 1}, AddingReplicas: []int32{4}, RemovingReplicas: []int32{1}},
	}}
	if d := cmp.Diff(want, res, protocmp.Transform()); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	if d := cmp.Diff(state.ListReassignments{Partitions: []cluster.TopicPartition{at("a", 1), at("a", 0)}}, f.list); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	if _, err := client.ListPartitionReassignments(t.Context(), &ottlapb.ListPartitionReassignmentsRequest{AllPartitions: true}); err != nil || !f.list.All {
		t.Errorf("%v, %+v", err, f.list)
	}
	f.err = kerr.NotController.Err()
	if res, err := client.ListPartitionReassignments(t.Context(), &ottlapb.ListPartitionReassignmentsRequest{AllPartitions: true}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
}
