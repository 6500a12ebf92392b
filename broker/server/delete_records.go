package server

import (
	"context"
	"time"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// DeleteRecords moves the beginning of partitions up (F§3.9) and waits until the live followers have followed. A partition that comes twice is
// answered with INVALID_REQUEST in all its places.
func (s *Server) DeleteRecords(ctx context.Context, req *ottlapb.DeleteRecordsRequest) (*ottlapb.DeleteRecordsResponse, error) {
	var all []cluster.TopicPartition
	for _, t := range req.GetTopics() {
		for _, p := range t.GetPartitions() {
			all = append(all, cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()})
		}
	}
	if n := len(all) + len(req.GetTopics()); n > s.limits.Entries {
		return nil, tooMany("topics and partitions", n, s.limits.Entries)
	}
	twice := duplicates(len(all), func(i int) cluster.TopicPartition { return all[i] })
	results := make(map[*ottlapb.DeleteRecordsPartitionResult]replica.Deletion, len(all))
	res := &ottlapb.DeleteRecordsResponse{}
	for _, t := range req.GetTopics() {
		result := &ottlapb.DeleteRecordsTopicResult{Name: t.GetName()}
		res.Topics = append(res.Topics, result)
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			r := &ottlapb.DeleteRecordsPartitionResult{Index: p.GetIndex(), LowWatermark: -1}
			result.Partitions = append(result.Partitions, r)
			d, err := replica.Deletion{}, error(kerr.InvalidRequest)
			if !twice[tp] {
				d, err = s.deleteRecords(tp, cluster.Offset(p.GetOffset()))
			}
			if err != nil {
				code, message := outcome(err)
				r.ErrorCode, r.ErrorMessage = int32(code), message
				continue
			}
			results[r] = d
		}
	}
	return res, s.awaitDeletions(ctx, results, clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout))
}

func (s *Server) deleteRecords(tp cluster.TopicPartition, before cluster.Offset) (replica.Deletion, error) {
	if cluster.IsInternalTopic(tp.Topic) {
		return replica.Deletion{}, kerr.InvalidTopicException.With("Cannot delete records of internal topic " + tp.Topic)
	}
	p, code := s.deps.Replicas.Partition(tp)
	if code != kerr.None {
		return replica.Deletion{}, code
	}
	return p.DeleteRecords(before)
}

// awaitDeletions fills the results in. All wait for the same moment.
func (s *Server) awaitDeletions(ctx context.Context, results map[*ottlapb.DeleteRecordsPartitionResult]replica.Deletion, timeout time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	expired := make(chan struct{})
	timer := time.AfterFunc(timeout, func() { close(expired) })
	defer timer.Stop()
	signal := replica.NewSignal()
	for r, d := range results {
		low, code, err := d.Await(ctx, signal, expired)
		if err != nil {
			if s.closing.Err() != nil {
				return goingAway()
			}
			return ended(err)
		}
		r.LowWatermark = int64(low)
		if code != kerr.None {
			r.ErrorCode, r.ErrorMessage = int32(code), code.Message()
		}
	}
	return nil
}
