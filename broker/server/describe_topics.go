package server

import (
	"context"

	"github.com/ottla/ottla/proto/ottlapb"
)

// DescribeTopics describes topics from this broker's picture of the cluster. It never creates any.
func (s *Server) DescribeTopics(ctx context.Context, req *ottlapb.DescribeTopicsRequest) (*ottlapb.DescribeTopicsResponse, error) {
	if n := len(req.GetTopicNames()); n > s.limits.Entries {
		return nil, tooMany("topics", n, s.limits.Entries)
	}
	image := s.deps.Metadata.Image()
	names := req.GetTopicNames()
	if req.GetAllTopics() {
		names = image.Topics()
	}
	res := &ottlapb.DescribeTopicsResponse{Topics: make([]*ottlapb.TopicMetadata, 0, len(names))}
	listener := s.listenerOf(ctx)
	for _, name := range names {
		res.Topics = append(res.Topics, describeTopic(image, listener, name))
	}
	return res, nil
}
