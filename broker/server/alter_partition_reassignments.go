package server

import (
	"context"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// AlterPartitionReassignments hands moves to the controller (F§2.8, KIP-455). A partition that comes twice fails in all its places.
func (s *Server) AlterPartitionReassignments(ctx context.Context, req *ottlapb.AlterPartitionReassignmentsRequest) (*ottlapb.AlterPartitionReassignmentsResponse, error) {
	entries := len(req.GetPartitions())
	for _, p := range req.GetPartitions() {
		entries += len(p.GetReplicas())
	}
	if limit := 10 * s.limits.Entries; entries > limit {
		return nil, tooMany("partitions and replicas", entries, limit)
	}
	if s.deps.Partitions == nil {
		return &ottlapb.AlterPartitionReassignmentsResponse{ErrorCode: int32(kerr.NotController), ErrorMessage: kerr.NotController.Message()}, nil
	}
	tps := make([]cluster.TopicPartition, len(req.GetPartitions()))
	for i, p := range req.GetPartitions() {
		tps[i] = cluster.TopicPartition{Topic: p.GetTopic(), Partition: p.GetIndex()}
	}
	twice := duplicates(len(tps), func(i int) cluster.TopicPartition { return tps[i] })
	results := make([]error, len(tps))
	var moves []state.Move
	var places []int // in results, of each move
	for i, p := range req.GetPartitions() {
		if twice[tps[i]] {
			results[i] = kerr.InvalidRequest.With("The partition is named more than once.")
			continue
		}
		moves, places = append(moves, state.Move{Partition: tps[i], Replicas: brokerIDs(p.GetReplicas()), Cancel: p.GetCancel()}), append(places, i)
	}
	done, err := s.deps.Partitions.AlterReassignments(ctx, moves, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout))
	if err != nil {
		code, message := outcome(err)
		return &ottlapb.AlterPartitionReassignmentsResponse{ErrorCode: int32(code), ErrorMessage: message}, nil
	}
	for i, r := range done {
		results[places[i]] = r.Err
	}
	res := &ottlapb.AlterPartitionReassignmentsResponse{}
	for i, err := range results {
		res.Partitions = append(res.Partitions, partitionOutcome(tps[i], err))
	}
	return res, nil
}
