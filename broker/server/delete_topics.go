package server

import (
	"context"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// DeleteTopics hands names to the controller (F§2.7). A name that comes twice fails in all its places; the coordinators' topics cannot be
// deleted.
func (s *Server) DeleteTopics(ctx context.Context, req *ottlapb.DeleteTopicsRequest) (*ottlapb.DeleteTopicsResponse, error) {
	if n := len(req.GetTopicNames()); n > s.limits.Entries {
		return nil, tooMany("topics", n, s.limits.Entries)
	}
	results := make([]TopicResult, len(req.GetTopicNames()))
	twice := duplicates(len(results), func(i int) string { return req.TopicNames[i] })
	var names []string
	var places []int // in results, of each name
	for i, name := range req.GetTopicNames() {
		results[i].Name = name
		switch {
		case twice[name]:
			results[i].Err = kerr.InvalidRequest.With("Duplicate topic name.")
		case cluster.IsInternalTopic(name):
			results[i].Err = kerr.InvalidTopicException.With("Topic " + name + " is internal and cannot be deleted.")
		case s.deps.Topics == nil:
			results[i].Err = kerr.NotController
		default:
			names, places = append(names, name), append(places, i)
		}
	}
	if len(names) > 0 {
		for i, r := range s.deps.Topics.DeleteTopics(ctx, names, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout)) {
			results[places[i]] = r
		}
	}
	res := &ottlapb.DeleteTopicsResponse{}
	for _, r := range results {
		code, message := outcome(r.Err)
		res.Topics = append(res.Topics, &ottlapb.DeletableTopicResult{Name: r.Name, ErrorCode: int32(code), ErrorMessage: message})
	}
	return res, nil
}
