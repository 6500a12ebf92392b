package server

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// CreateTopics hands topics to the controller (F§2.7). A name that comes twice fails in all its places, and what a single topic's
// entry contradicts itself in is found here; the rest is for the controller to check.
func (s *Server) CreateTopics(ctx context.Context, req *ottlapb.CreateTopicsRequest) (*ottlapb.CreateTopicsResponse, error) {
	if n := len(req.GetTopics()); n > s.limits.Entries {
		return nil, tooMany("topics", n, s.limits.Entries)
	}
	entries := 0
	for _, t := range req.GetTopics() {
		entries += len(t.GetAssignments()) + len(t.GetConfigs())
		for _, a := range t.GetAssignments() {
			entries += len(a.GetBrokerIds())
		}
	}
	if limit := 10 * s.limits.Entries; entries > limit {
		return nil, tooMany("assignments and settings", entries, limit)
	}
	results := make([]TopicResult, len(req.GetTopics()))
	twice := duplicates(len(results), func(i int) string { return req.Topics[i].GetName() })
	var specs []TopicSpec
	var places []int // in results, of each spec
	for i, t := range req.GetTopics() {
		results[i].Name = t.GetName()
		spec, err := topicSpec(t)
		switch {
		case twice[t.GetName()]:
			results[i].Err = kerr.InvalidRequest.With("Duplicate topic name.")
		case err != nil:
			results[i].Err = err
		case s.deps.Topics == nil:
			results[i].Err = kerr.NotController
		default:
			specs, places = append(specs, spec), append(places, i)
		}
	}
	if len(specs) > 0 {
		for i, r := range s.deps.Topics.CreateTopics(ctx, specs, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout), req.GetValidateOnly()) {
			results[places[i]] = r
		}
	}
	return &ottlapb.CreateTopicsResponse{Topics: createdTopics(results)}, nil
}

// topicSpec decodes a topic to create.
func topicSpec(t *ottlapb.CreatableTopic) (TopicSpec, error) {
	spec := TopicSpec{Name: t.GetName(), NumPartitions: t.GetNumPartitions(), ReplicationFactor: t.GetReplicationFactor()}
	if err := cluster.ValidateTopicName(spec.Name); err != nil {
		return spec, kerr.InvalidTopicException.With(err.Error())
	}
	for _, a := range t.GetAssignments() {
		if spec.Assignments == nil {
			spec.Assignments = make(map[int32][]cluster.BrokerID, len(t.GetAssignments()))
		}
		if _, ok := spec.Assignments[a.GetPartitionIndex()]; ok {
			return spec, kerr.InvalidReplicaAssignment.With(fmt.Sprintf("Partition %d is assigned twice.", a.GetPartitionIndex()))
		}
		spec.Assignments[a.GetPartitionIndex()] = brokerIDs(a.GetBrokerIds())
	}
	if spec.Assignments != nil && (spec.NumPartitions != -1 || spec.ReplicationFactor != -1) {
		return spec, kerr.InvalidRequest.With("Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.")
	}
	for _, c := range t.GetConfigs() {
		if spec.Configs == nil {
			spec.Configs = make(map[string]string, len(t.GetConfigs()))
		}
		if _, ok := spec.Configs[c.GetName()]; ok {
			return spec, kerr.InvalidConfig.With(fmt.Sprintf("Setting %s is given twice.", c.GetName()))
		}
		spec.Configs[c.GetName()] = c.GetValue()
	}
	return spec, nil
}

func createdTopics(results []TopicResult) []*ottlapb.CreatableTopicResult {
	list := make([]*ottlapb.CreatableTopicResult, len(results))
	for i, r := range results {
		code, message := outcome(r.Err)
		list[i] = &ottlapb.CreatableTopicResult{Name: r.Name, ErrorCode: int32(code), ErrorMessage: message, NumPartitions: -1, ReplicationFactor: -1}
		if code == kerr.None {
			list[i].NumPartitions, list[i].ReplicationFactor = r.NumPartitions, r.ReplicationFactor
			if !r.ID.IsZero() {
				list[i].TopicId = r.ID[:]
			}
		}
	}
	return list
}

// duplicates returns the keys that occur more than once among n.
func duplicates[K comparable](n int, key func(int) K) map[K]bool {
	seen := make(map[K]bool, n)
	twice := make(map[K]bool)
	for i := range n {
		if seen[key(i)] {
			twice[key(i)] = true
		}
		seen[key(i)] = true
	}
	return twice
}
