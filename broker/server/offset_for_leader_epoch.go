package server

import (
	"context"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// OffsetForLeaderEpoch tells where leader epochs ended (KIP-101, KIP-320, F§3.5).
func (s *Server) OffsetForLeaderEpoch(ctx context.Context, req *ottlapb.OffsetForLeaderEpochRequest) (*ottlapb.OffsetForLeaderEpochResponse, error) {
	n := len(req.GetTopics())
	for _, t := range req.GetTopics() {
		n += len(t.GetPartitions())
	}
	if n > s.limits.Entries {
		return nil, tooMany("topics and partitions", n, s.limits.Entries)
	}
	if _, err := s.reader(ctx, req.GetReplicaId(), cluster.NoBrokerEpoch); err != nil {
		return nil, err
	}
	res := &ottlapb.OffsetForLeaderEpochResponse{}
	for _, t := range req.GetTopics() {
		result := &ottlapb.OffsetForLeaderTopicResult{Name: t.GetName()}
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			end := replica.EpochEnd{Epoch: cluster.NoLeaderEpoch, End: cluster.UnknownOffset}
			held, code := s.deps.Replicas.Partition(tp)
			if code == kerr.None {
				end, code = held.EndOffsetForEpoch(cluster.LeaderEpoch(p.GetCurrentLeaderEpoch()), cluster.LeaderEpoch(p.GetLeaderEpoch()))
			}
			result.Partitions = append(result.Partitions, &ottlapb.OffsetForLeaderPartitionResult{
				Index: p.GetIndex(), ErrorCode: int32(code), End: &ottlapb.EpochEndOffset{Epoch: int32(end.Epoch), EndOffset: int64(end.End)},
			})
		}
		res.Topics = append(res.Topics, result)
	}
	return res, nil
}
