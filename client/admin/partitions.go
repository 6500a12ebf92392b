package admin

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// MorePartitions says how many partitions a topic is to have.
type MorePartitions struct {
	// Topic is its name.
	Topic string
	// Count of partitions in all, more than there are now.
	Count int32
	// Assignments places the new partitions by hand, in their order, the preferred leader of each first; empty lets the controller place them.
	Assignments [][]cluster.BrokerID
}

// CreatePartitions gives topics more partitions (KIP-195) and returns the outcomes in the order of the topics. When an answer is lost, asking again can
// find what the first request has created: that is INVALID_PARTITIONS.
func (a *Admin) CreatePartitions(ctx context.Context, topics []MorePartitions, o CreateOptions) ([]TopicResult, error) {
	req := &ottlapb.CreatePartitionsRequest{TimeoutMs: a.timeoutMs(o.Timeout), ValidateOnly: o.ValidateOnly}
	for _, t := range topics {
		more := &ottlapb.CreatablePartitions{Name: t.Topic, Count: t.Count}
		for i, ids := range t.Assignments {
			more.Assignments = append(more.Assignments, &ottlapb.ReplicaAssignment{PartitionIndex: int32(i), BrokerIds: numbers(ids)})
		}
		req.Topics = append(req.Topics, more)
	}
	var resp *ottlapb.CreatePartitionsResponse
	err := a.onController(ctx, "create partitions", func(ctx context.Context, api *client.API) (bool, error) {
		r, err := api.Topics.CreatePartitions(ctx, req)
		if err != nil {
			return false, err
		}
		resp = r
		return allNotController(r.GetTopics()), nil
	})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Topic
	}
	return topicResults(names, resp.GetTopics()), nil
}

// ElectionType says who may be elected.
type ElectionType = ottlapb.ElectionType

// The election types.
const (
	// PreferredElection elects the first replica of the assignment, if it is in sync.
	PreferredElection = ottlapb.ElectionType_ELECTION_TYPE_PREFERRED
	// UncleanElection elects the first live replica, in sync or not, of a partition without leader: records may be lost.
	UncleanElection = ottlapb.ElectionType_ELECTION_TYPE_UNCLEAN
)

// ElectLeaders elects leaders (KIP-460) and returns the outcome of each partition. With nil partitions it elects for all that there are, and those that needed
// no election are left out. timeout is how long the controller waits until it knows of the leaders itself; 0 means [DefaultTimeout].
func (a *Admin) ElectLeaders(ctx context.Context, typ ElectionType, partitions []cluster.TopicPartition, timeout time.Duration) (map[cluster.TopicPartition]error, error) {
	req := &ottlapb.ElectLeadersRequest{
		ElectionType: typ, AllPartitions: partitions == nil, Topics: byTopic(partitions), TimeoutMs: a.timeoutMs(timeout),
	}
	var resp *ottlapb.ElectLeadersResponse
	err := a.onController(ctx, "elect leaders", func(ctx context.Context, api *client.API) (elsewhere bool, err error) {
		resp, err = api.Partitions.ElectLeaders(ctx, req)
		return notController(resp, err), err
	})
	if err != nil {
		return nil, err
	}
	if err := errorOf(resp.GetErrorCode(), resp.GetErrorMessage()); err != nil {
		return nil, err
	}
	return outcomes(partitions, resp.GetPartitions()), nil
}

// AlterReassignments begins to move partitions to the given replicas, the preferred leader of each first; nil replicas cancel the move that is under way (KIP-455).
// It returns the outcome of each partition: nil means that the move has begun.
func (a *Admin) AlterReassignments(ctx context.Context, to map[cluster.TopicPartition][]cluster.BrokerID) (map[cluster.TopicPartition]error, error) {
	req := &ottlapb.AlterPartitionReassignmentsRequest{TimeoutMs: a.timeoutMs(0)}
	partitions := slices.SortedFunc(maps.Keys(to), cluster.TopicPartition.Compare)
	for _, tp := range partitions {
		req.Partitions = append(req.Partitions, &ottlapb.PartitionReassignment{
			Topic: tp.Topic, Index: tp.Partition, Replicas: numbers(to[tp]), Cancel: to[tp] == nil,
		})
	}
	var resp *ottlapb.AlterPartitionReassignmentsResponse
	err := a.onController(ctx, "alter reassignments", func(ctx context.Context, api *client.API) (elsewhere bool, err error) {
		resp, err = api.Partitions.AlterPartitionReassignments(ctx, req)
		return notController(resp, err), err
	})
	if err != nil {
		return nil, err
	}
	if err := errorOf(resp.GetErrorCode(), resp.GetErrorMessage()); err != nil {
		return nil, err
	}
	return outcomes(partitions, resp.GetPartitions()), nil
}

// Reassignment is a move that is under way.
type Reassignment struct {
	// Replicas holds all that hold the partition now, those that come and those that go included.
	Replicas []cluster.BrokerID
	// Adding holds those that are to hold it and did not before.
	Adding []cluster.BrokerID
	// Removing holds those that are to give it up.
	Removing []cluster.BrokerID
}

// ListReassignments returns the moves that are under way (KIP-455): of the given partitions, or of all when partitions is nil.
func (a *Admin) ListReassignments(ctx context.Context, partitions []cluster.TopicPartition) (map[cluster.TopicPartition]Reassignment, error) {
	req := &ottlapb.ListPartitionReassignmentsRequest{AllPartitions: partitions == nil, Topics: byTopic(partitions), TimeoutMs: a.timeoutMs(0)}
	var resp *ottlapb.ListPartitionReassignmentsResponse
	err := a.onController(ctx, "list reassignments", func(ctx context.Context, api *client.API) (elsewhere bool, err error) {
		resp, err = api.Partitions.ListPartitionReassignments(ctx, req)
		return notController(resp, err), err
	})
	if err != nil {
		return nil, err
	}
	if err := errorOf(resp.GetErrorCode(), resp.GetErrorMessage()); err != nil {
		return nil, err
	}
	moves := make(map[cluster.TopicPartition]Reassignment, len(resp.GetPartitions()))
	for _, p := range resp.GetPartitions() {
		moves[cluster.TopicPartition{Topic: p.GetTopic(), Partition: p.GetIndex()}] = Reassignment{
			Replicas: brokers(p.GetReplicas()), Adding: brokers(p.GetAddingReplicas()), Removing: brokers(p.GetRemovingReplicas()),
		}
	}
	return moves, nil
}

// notController reports whether the answer as a whole is NOT_CONTROLLER.
func notController(resp interface{ GetErrorCode() int32 }, err error) bool {
	return err == nil && kerr.Code(resp.GetErrorCode()) == kerr.NotController
}

// byTopic groups partitions.
func byTopic(partitions []cluster.TopicPartition) []*ottlapb.TopicPartitions {
	var out []*ottlapb.TopicPartitions
	topics := map[string]*ottlapb.TopicPartitions{}
	for _, tp := range partitions {
		t := topics[tp.Topic]
		if t == nil {
			t = &ottlapb.TopicPartitions{Topic: tp.Topic}
			topics[tp.Topic] = t
			out = append(out, t)
		}
		t.Partitions = append(t.Partitions, tp.Partition)
	}
	return out
}

// outcomes sorts an answer by partition; a partition that was asked for and is left out has an error.
func outcomes(asked []cluster.TopicPartition, answer []*ottlapb.PartitionOutcome) map[cluster.TopicPartition]error {
	out := make(map[cluster.TopicPartition]error, len(answer))
	for _, tp := range asked {
		out[tp] = kerr.UnknownServerError.With("the controller's answer leaves the partition out")
	}
	for _, p := range answer {
		out[cluster.TopicPartition{Topic: p.GetTopic(), Partition: p.GetIndex()}] = errorOf(p.GetErrorCode(), p.GetErrorMessage())
	}
	return out
}

func numbers(ids []cluster.BrokerID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}

func brokers(ids []int32) []cluster.BrokerID {
	out := make([]cluster.BrokerID, len(ids))
	for i, id := range ids {
		out[i] = cluster.BrokerID(id)
	}
	return out
}
