package server

import (
	"context"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// CreatePartitions hands topics that are to have more partitions to the controller (F§2.7, KIP-195). A name that comes twice fails in all
// its places.
func (s *Server) CreatePartitions(ctx context.Context, req *ottlapb.CreatePartitionsRequest) (*ottlapb.CreatePartitionsResponse, error) {
	if n := len(req.GetTopics()); n > s.limits.Entries {
		return nil, tooMany("topics", n, s.limits.Entries)
	}
	entries := 0
	for _, t := range req.GetTopics() {
		entries += len(t.GetAssignments())
		for _, a := range t.GetAssignments() {
			entries += len(a.GetBrokerIds())
		}
	}
	if limit := 10 * s.limits.Entries; entries > limit {
		return nil, tooMany("assignments", entries, limit)
	}
	results := make([]TopicResult, len(req.GetTopics()))
	twice := duplicates(len(results), func(i int) string { return req.Topics[i].GetName() })
	var topics []state.MorePartitions
	var places []int // in results, of each topic
	for i, t := range req.GetTopics() {
		results[i].Name = t.GetName()
		switch {
		case twice[t.GetName()]:
			results[i].Err = kerr.InvalidRequest.With("Duplicate topic in request.")
		case s.deps.Partitions == nil:
			results[i].Err = kerr.NotController
		default:
			more := state.MorePartitions{Topic: t.GetName(), Count: t.GetCount()}
			for _, a := range t.GetAssignments() {
				more.Assignments = append(more.Assignments, brokerIDs(a.GetBrokerIds()))
			}
			topics, places = append(topics, more), append(places, i)
		}
	}
	if len(topics) > 0 {
		for i, r := range s.deps.Partitions.CreatePartitions(ctx, topics, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout), req.GetValidateOnly()) {
			results[places[i]] = r
		}
	}
	res := &ottlapb.CreatePartitionsResponse{}
	for _, r := range results {
		code, message := outcome(r.Err)
		res.Topics = append(res.Topics, &ottlapb.CreatablePartitionsResult{Name: r.Name, ErrorCode: int32(code), ErrorMessage: message})
	}
	return res, nil
}
