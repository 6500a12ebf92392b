package server

import (
	"context"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// StopReplica takes the controller's order to stop serving replicas, and to delete them (F§2.10).
func (s *Server) StopReplica(_ context.Context, req *ottlapb.StopReplicaRequest) (*ottlapb.StopReplicaResponse, error) {
	if n := len(req.GetPartitions()); n > s.limits.OrderEntries {
		return nil, tooMany("partitions", n, s.limits.OrderEntries)
	}
	order := replica.StopReplica{
		Sender:     sender(req),
		Partitions: make([]replica.StopPartition, 0, len(req.GetPartitions())),
	}
	for _, p := range req.GetPartitions() {
		order.Partitions = append(order.Partitions, replica.StopPartition{
			TopicPartition: cluster.TopicPartition{Topic: p.GetTopic(), Partition: p.GetIndex()},
			LeaderEpoch:    cluster.LeaderEpoch(p.GetLeaderEpoch()),
			Delete:         p.GetDeletePartition(),
		})
	}
	code, outcomes := s.deps.Replicas.ApplyStopReplica(order)
	return &ottlapb.StopReplicaResponse{ErrorCode: int32(code), Partitions: partitionErrors(outcomes)}, nil
}
