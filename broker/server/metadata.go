package server

import (
	"context"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Metadata lists brokers, topics and leaders from this broker's picture of the cluster (F§10.1). It creates topics that do not exist if
// both the request and the broker allow it.
func (s *Server) Metadata(ctx context.Context, req *ottlapb.MetadataRequest) (*ottlapb.MetadataResponse, error) {
	if n := len(req.GetTopics()); n > s.limits.Entries {
		return nil, tooMany("topics", n, s.limits.Entries)
	}
	image := s.deps.Metadata.Image()
	names := req.GetTopics()
	if req.GetAllTopics() {
		names = image.Topics()
	}
	listener := s.listenerOf(ctx)
	res := &ottlapb.MetadataResponse{
		Brokers: nodes(image, listener), ClusterId: image.ClusterID(), ControllerId: int32(image.ControllerID()),
		Topics: make([]*ottlapb.TopicMetadata, 0, len(names)),
	}
	for _, name := range names {
		t := describeTopic(image, listener, name)
		if kerr.Code(t.ErrorCode) == kerr.UnknownTopicOrPartition && req.GetAllowAutoTopicCreation() && !req.GetAllTopics() {
			t.ErrorCode = int32(s.autoCreate(ctx, name))
		}
		res.Topics = append(res.Topics, t)
	}
	return res, nil
}

// listenerOf returns the name of the listener that a call came to.
func (s *Server) listenerOf(ctx context.Context) string {
	if c := connOf(ctx); c != nil && c.addr.listener != "" {
		return c.addr.listener
	}
	return s.deps.Listener
}

// autoCreate starts the creation of a topic and returns what the client is told: LEADER_NOT_AVAILABLE if it may hope.
func (s *Server) autoCreate(ctx context.Context, name string) kerr.Code {
	if s.deps.AutoCreate == nil {
		return kerr.UnknownTopicOrPartition
	}
	if !s.creating.add(name) {
		return kerr.UnknownTopicOrPartition // by another request, just now
	}
	defer s.creating.remove(name)
	err := s.deps.AutoCreate(ctx, name)
	switch code := kerr.CodeOf(err); code {
	case kerr.None, kerr.TopicAlreadyExists:
		return kerr.LeaderNotAvailable
	default:
		s.log.Warn("automatic creation of a topic failed", "topic", name, "error", err)
		return code
	}
}

// nodes lists the brokers that have an address on the listener.
func nodes(image *metadata.Image, listener string) []*ottlapb.Node {
	list := make([]*ottlapb.Node, 0, len(image.Brokers()))
	for _, b := range image.Brokers() {
		if e, ok := b.Endpoint(listener); ok {
			list = append(list, &ottlapb.Node{Id: int32(b.ID), Host: e.Host, Port: e.Port, Rack: b.Rack})
		}
	}
	return list
}

// describeTopic returns what is known of a topic, or the error for a name that is illegal or unknown.
func describeTopic(image *metadata.Image, listener, name string) *ottlapb.TopicMetadata {
	t, ok := image.Topic(name)
	if !ok {
		code := kerr.UnknownTopicOrPartition
		if cluster.ValidateTopicName(name) != nil {
			code = kerr.InvalidTopicException
		}
		return &ottlapb.TopicMetadata{Name: name, ErrorCode: int32(code), IsInternal: cluster.IsInternalTopic(name)}
	}
	res := &ottlapb.TopicMetadata{Name: name, IsInternal: cluster.IsInternalTopic(name), Partitions: make([]*ottlapb.PartitionMetadata, 0, len(t.Partitions))}
	if !t.ID.IsZero() {
		res.TopicId = t.ID[:]
	}
	for index, p := range t.Partitions {
		if p != nil {
			res.Partitions = append(res.Partitions, describePartition(image, listener, int32(index), p))
		}
	}
	return res
}

// describePartition describes a partition. A leader that clients cannot reach is none.
func describePartition(image *metadata.Image, listener string, index int32, p *metadata.Partition) *ottlapb.PartitionMetadata {
	res := &ottlapb.PartitionMetadata{
		Index: index, LeaderId: int32(p.Leader), LeaderEpoch: int32(p.LeaderEpoch),
		Replicas: brokerNumbers(p.Replicas), Isr: brokerNumbers(p.ISR), OfflineReplicas: brokerNumbers(p.Offline),
	}
	leader, ok := image.Broker(p.Leader)
	if !ok {
		res.ErrorCode, res.LeaderId = int32(kerr.LeaderNotAvailable), int32(cluster.NoBroker)
		return res
	}
	if _, ok := leader.Endpoint(listener); !ok {
		res.ErrorCode, res.LeaderId = int32(kerr.ListenerNotFound), int32(cluster.NoBroker)
	}
	return res
}

func brokerNumbers(ids []cluster.BrokerID) []int32 {
	list := make([]int32, len(ids))
	for i, id := range ids {
		list[i] = int32(id)
	}
	return list
}

func brokerIDs(numbers []int32) []cluster.BrokerID {
	list := make([]cluster.BrokerID, len(numbers))
	for i, n := range numbers {
		list[i] = cluster.BrokerID(n)
	}
	return list
}
