package server

import (
	"context"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Controller takes what brokers ask of the active controller. *controller.Controller is what a broker uses; one that is not active answers
// NOT_CONTROLLER.
type Controller interface {
	// AlterPartition changes in-sync replicas as their leaders ask (F§2.12).
	AlterPartition(ctx context.Context, req state.AlterPartition) state.AlterReply
	// ControlledShutdown prepares for the stop of a broker and returns the partitions that it still leads (F§2.11).
	ControlledShutdown(ctx context.Context, id cluster.BrokerID, epoch cluster.BrokerEpoch) ([]cluster.TopicPartition, error)
}

// AlterPartition takes leaders' wishes to change in-sync replicas (F§2.12, KIP-497).
func (s *Server) AlterPartition(ctx context.Context, req *ottlapb.AlterPartitionRequest) (*ottlapb.AlterPartitionResponse, error) {
	n := 0
	for _, t := range req.GetTopics() {
		n += len(t.GetPartitions())
		for _, p := range t.GetPartitions() {
			n += len(p.GetNewIsr()) / 16
		}
	}
	if n > s.limits.OrderEntries {
		return nil, tooMany("partitions", n, s.limits.OrderEntries)
	}
	if s.deps.Controller == nil {
		return &ottlapb.AlterPartitionResponse{ErrorCode: int32(kerr.NotController)}, nil
	}
	ask := state.AlterPartition{
		Broker: cluster.BrokerID(req.GetBrokerId()), BrokerEpoch: cluster.BrokerEpoch(req.GetBrokerEpoch()),
		Partitions: make([]state.AlterRequest, 0, n),
	}
	var results []*ottlapb.AlterPartitionResult
	for _, t := range req.GetTopics() {
		id, err := topicID(t.GetTopicId())
		if err != nil {
			return nil, err
		}
		for _, p := range t.GetPartitions() {
			ask.Partitions = append(ask.Partitions, alterWish(t.GetName(), id, p))
			results = append(results, &ottlapb.AlterPartitionResult{Topic: t.GetName(), TopicId: t.GetTopicId(), Index: p.GetIndex()})
		}
	}
	reply := s.deps.Controller.AlterPartition(ctx, ask)
	if reply.Code != kerr.None {
		return &ottlapb.AlterPartitionResponse{ErrorCode: int32(reply.Code)}, nil
	}
	for i, r := range reply.Partitions {
		results[i].ErrorCode = int32(r.Code)
		if r.Code != kerr.None && r.Code != kerr.InvalidUpdateVersion {
			continue
		}
		results[i].LeaderId, results[i].LeaderEpoch = int32(r.State.Leader), int32(r.State.LeaderEpoch)
		results[i].LeaderRecoveryState, results[i].PartitionEpoch = int32(r.State.Recovery), int32(r.State.PartitionEpoch)
		for _, id := range r.State.ISR {
			results[i].Isr = append(results[i].Isr, int32(id))
		}
	}
	return &ottlapb.AlterPartitionResponse{Partitions: results}, nil
}

// alterWish decodes the wish for one partition.
func alterWish(topic string, id cluster.TopicID, p *ottlapb.AlterPartitionWish) state.AlterRequest {
	r := state.AlterRequest{
		Partition: cluster.TopicPartition{Topic: topic, Partition: p.GetIndex()}, TopicID: id,
		LeaderEpoch: cluster.LeaderEpoch(p.GetLeaderEpoch()), PartitionEpoch: cluster.PartitionEpoch(p.GetPartitionEpoch()), Fence: p.GetFence(),
	}
	if p.GetLeaderRecoveryState() != 0 {
		r.Recovery = state.Recovering
	}
	for _, m := range p.GetNewIsr() {
		r.ISR = append(r.ISR, cluster.BrokerID(m.GetBrokerId()))
		r.ISREpochs = append(r.ISREpochs, cluster.BrokerEpoch(m.GetBrokerEpoch()))
	}
	return r
}
