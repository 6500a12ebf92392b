package server

import (
	"context"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ListPartitionReassignments shows the moves that the controller has under way (KIP-455).
func (s *Server) ListPartitionReassignments(ctx context.Context, req *ottlapb.ListPartitionReassignmentsRequest) (*ottlapb.ListPartitionReassignmentsResponse, error) {
	tps, err := s.namedPartitions(req.GetTopics())
	if err != nil {
		return nil, err
	}
	if s.deps.Partitions == nil {
		return &ottlapb.ListPartitionReassignmentsResponse{ErrorCode: int32(kerr.NotController), ErrorMessage: kerr.NotController.Message()}, nil
	}
	ask := state.ListReassignments{All: req.GetAllPartitions(), Partitions: tps}
	moves, err := s.deps.Partitions.ListReassignments(ctx, ask, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout))
	if err != nil {
		code, message := outcome(err)
		return &ottlapb.ListPartitionReassignmentsResponse{ErrorCode: int32(code), ErrorMessage: message}, nil
	}
	res := &ottlapb.ListPartitionReassignmentsResponse{}
	for _, m := range moves {
		res.Partitions = append(res.Partitions, &ottlapb.OngoingReassignment{
			Topic: m.Partition.Topic, Index: m.Partition.Partition, Replicas: numbers(m.Assignment.Replicas),
			AddingReplicas: numbers(m.Assignment.Adding), RemovingReplicas: numbers(m.Assignment.Removing),
		})
	}
	return res, nil
}

// numbers returns broker ids as they travel.
func numbers(ids []cluster.BrokerID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
