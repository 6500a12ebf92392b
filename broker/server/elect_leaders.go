package server

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ElectLeaders hands elections to the controller (F§2.9, KIP-460). A partition that is named more than once is answered once.
func (s *Server) ElectLeaders(ctx context.Context, req *ottlapb.ElectLeadersRequest) (*ottlapb.ElectLeadersResponse, error) {
	tps, err := s.namedPartitions(req.GetTopics())
	if err != nil {
		return nil, err
	}
	ask := state.ElectLeaders{All: req.GetAllPartitions(), Partitions: tps}
	switch req.GetElectionType() {
	case ottlapb.ElectionType_ELECTION_TYPE_PREFERRED:
	case ottlapb.ElectionType_ELECTION_TYPE_UNCLEAN:
		ask.Unclean = true
	default:
		return &ottlapb.ElectLeadersResponse{
			ErrorCode: int32(kerr.InvalidRequest), ErrorMessage: fmt.Sprintf("The election type %d is unknown.", req.GetElectionType()),
		}, nil
	}
	if s.deps.Partitions == nil {
		return &ottlapb.ElectLeadersResponse{ErrorCode: int32(kerr.NotController), ErrorMessage: kerr.NotController.Message()}, nil
	}
	results, err := s.deps.Partitions.ElectLeaders(ctx, ask, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout))
	if err != nil {
		code, message := outcome(err)
		return &ottlapb.ElectLeadersResponse{ErrorCode: int32(code), ErrorMessage: message}, nil
	}
	res := &ottlapb.ElectLeadersResponse{}
	for _, r := range results {
		res.Partitions = append(res.Partitions, partitionOutcome(r.Partition, electionError(r, ask.Unclean)))
	}
	return res, nil
}

// electionError returns the error of an election that was refused, with Kafka's text.
func electionError(r state.ElectResult, unclean bool) error {
	switch r.Code {
	case kerr.UnknownTopicOrPartition:
		return r.Code.With("The partition does not exist.")
	case kerr.InvalidTopicException:
		return r.Code.With("The topic is being deleted")
	case kerr.PreferredLeaderNotAvailable, kerr.EligibleLeadersNotAvailable:
		strategy := "PreferredReplicaPartitionLeaderElectionStrategy"
		if unclean {
			strategy = "OfflinePartitionLeaderElectionStrategy(true)"
		}
		return r.Code.With(fmt.Sprintf("Failed to elect leader for partition %s under strategy %s", r.Partition, strategy))
	}
	return r.Code.Err()
}

// namedPartitions returns the partitions of a request, each once, in the order in which they are first named.
func (s *Server) namedPartitions(topics []*ottlapb.TopicPartitions) ([]cluster.TopicPartition, error) {
	n := len(topics)
	for _, t := range topics {
		n += len(t.GetPartitions())
	}
	if limit := 10 * s.limits.Entries; n > limit {
		return nil, tooMany("topics and partitions", n, limit)
	}
	var tps []cluster.TopicPartition
	seen := make(map[cluster.TopicPartition]bool, n)
	for _, t := range topics {
		for _, index := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetTopic(), Partition: index}
			if !seen[tp] {
				seen[tp] = true
				tps = append(tps, tp)
			}
		}
	}
	return tps, nil
}

// partitionOutcome encodes what came of one partition.
func partitionOutcome(tp cluster.TopicPartition, err error) *ottlapb.PartitionOutcome {
	code, message := outcome(err)
	return &ottlapb.PartitionOutcome{Topic: tp.Topic, Index: tp.Partition, ErrorCode: int32(code), ErrorMessage: message}
}
