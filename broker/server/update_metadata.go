package server

import (
	"context"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// UpdateMetadata takes the controller's news of the cluster (F§2.10).
func (s *Server) UpdateMetadata(_ context.Context, req *ottlapb.UpdateMetadataRequest) (*ottlapb.UpdateMetadataResponse, error) {
	n := len(req.GetLiveBrokers())
	for _, t := range req.GetTopics() {
		n += len(t.GetPartitions())
	}
	if n > s.limits.OrderEntries {
		return nil, tooMany("partitions and brokers", n, s.limits.OrderEntries)
	}
	order := replica.UpdateMetadata{
		Sender: sender(req),
		Update: metadata.Update{ControllerID: cluster.BrokerID(req.GetControllerId())},
	}
	for _, b := range req.GetLiveBrokers() {
		broker := metadata.Broker{ID: cluster.BrokerID(b.GetId()), Rack: b.GetRack()}
		for _, e := range b.GetEndpoints() {
			broker.Endpoints = append(broker.Endpoints, cluster.Endpoint{
				Listener: e.GetListener(), SecurityProtocol: e.GetSecurityProtocol(), Host: e.GetHost(), Port: e.GetPort(),
			})
		}
		order.Update.Brokers = append(order.Update.Brokers, broker)
	}
	for _, t := range req.GetTopics() {
		id, err := topicID(t.GetTopicId())
		if err != nil {
			return nil, err
		}
		for _, p := range t.GetPartitions() {
			order.Update.Partitions = append(order.Update.Partitions, metadata.PartitionUpdate{
				TopicPartition: cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()},
				TopicID:        id,
				Partition: metadata.Partition{
					Leader:          cluster.BrokerID(p.GetLeaderId()),
					LeaderEpoch:     cluster.LeaderEpoch(p.GetLeaderEpoch()),
					ISR:             brokerIDs(p.GetIsr()),
					Replicas:        brokerIDs(p.GetReplicas()),
					Offline:         brokerIDs(p.GetOfflineReplicas()),
					ControllerEpoch: cluster.ControllerEpoch(p.GetControllerEpoch()),
					PartitionEpoch:  cluster.PartitionEpoch(p.GetPartitionEpoch()),
				},
			})
		}
	}
	return &ottlapb.UpdateMetadataResponse{ErrorCode: int32(s.deps.Replicas.ApplyUpdateMetadata(order))}, nil
}
