package server

import (
	"context"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// LeaderAndIsr takes the controller's order to lead or to follow (F§2.10).
func (s *Server) LeaderAndIsr(_ context.Context, req *ottlapb.LeaderAndIsrRequest) (*ottlapb.LeaderAndIsrResponse, error) {
	n := 0
	for _, t := range req.GetTopics() {
		n += len(t.GetPartitions())
		for _, p := range t.GetPartitions() {
			n += (len(p.GetIsr()) + len(p.GetReplicas())) / 16
		}
	}
	if n > s.limits.OrderEntries {
		return nil, tooMany("partitions", n, s.limits.OrderEntries)
	}
	order := replica.LeaderAndISR{
		Sender:     sender(req),
		Partitions: make([]replica.PartitionState, 0, n),
	}
	for _, t := range req.GetTopics() {
		id, err := topicID(t.GetTopicId())
		if err != nil {
			return nil, err
		}
		for _, p := range t.GetPartitions() {
			order.Partitions = append(order.Partitions, replica.PartitionState{
				TopicPartition: cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()},
				TopicID:        id,
				Leader:         cluster.BrokerID(p.GetLeaderId()),
				LeaderEpoch:    cluster.LeaderEpoch(p.GetLeaderEpoch()),
				PartitionEpoch: cluster.PartitionEpoch(p.GetPartitionEpoch()),
				ISR:            brokerIDs(p.GetIsr()),
				Replicas:       brokerIDs(p.GetReplicas()),
				IsNew:          p.GetIsNew(),
			})
		}
	}
	code, outcomes := s.deps.Replicas.ApplyLeaderAndISR(order)
	return &ottlapb.LeaderAndIsrResponse{ErrorCode: int32(code), Partitions: partitionErrors(outcomes)}, nil
}

// orderRequest is what all orders have in common.
type orderRequest interface {
	GetControllerId() int32
	GetControllerEpoch() int32
	GetBrokerEpoch() int64
	GetSequence() int64
}

func sender(req orderRequest) replica.Sender {
	return replica.Sender{
		ControllerID: cluster.BrokerID(req.GetControllerId()), ControllerEpoch: cluster.ControllerEpoch(req.GetControllerEpoch()),
		BrokerEpoch: cluster.BrokerEpoch(req.GetBrokerEpoch()), Sequence: req.GetSequence(),
	}
}

// topicID decodes an optional topic id.
func topicID(b []byte) (cluster.TopicID, error) {
	var id cluster.TopicID
	if len(b) != 0 && len(b) != len(id) {
		return id, malformed("a topic id has 16 bytes, not %d", len(b))
	}
	copy(id[:], b)
	return id, nil
}

func partitionErrors(outcomes []replica.PartitionOutcome) []*ottlapb.PartitionError {
	list := make([]*ottlapb.PartitionError, len(outcomes))
	for i, o := range outcomes {
		list[i] = &ottlapb.PartitionError{Topic: o.TopicPartition.Topic, Index: o.TopicPartition.Partition, ErrorCode: int32(o.Code)}
	}
	return list
}
