package server

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ListOffsets finds offsets by time, and the ends of partitions (F§3.8). A partition that comes twice is answered with INVALID_REQUEST in all its
// places, as is every partition under an isolation level that does not exist.
func (s *Server) ListOffsets(ctx context.Context, req *ottlapb.ListOffsetsRequest) (*ottlapb.ListOffsetsResponse, error) {
	var all []cluster.TopicPartition
	for _, t := range req.GetTopics() {
		for _, p := range t.GetPartitions() {
			all = append(all, cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()})
		}
	}
	if n := len(all) + len(req.GetTopics()); n > s.limits.Entries {
		return nil, tooMany("topics and partitions", n, s.limits.Entries)
	}
	reader, err := s.reader(ctx, req.GetReplicaId(), cluster.NoBrokerEpoch)
	if err != nil {
		return nil, err
	}
	reader.Isolation = replica.Isolation(int8(req.GetIsolationLevel()))
	var refusal error
	if int32(reader.Isolation) != req.GetIsolationLevel() || !reader.Isolation.Valid() {
		refusal = kerr.InvalidRequest.With(fmt.Sprintf("isolation level %d does not exist", req.GetIsolationLevel()))
	}
	twice := duplicates(len(all), func(i int) cluster.TopicPartition { return all[i] })
	res := &ottlapb.ListOffsetsResponse{}
	for _, t := range req.GetTopics() {
		result := &ottlapb.ListOffsetsTopicResult{Name: t.GetName()}
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			r := &ottlapb.ListOffsetsPartitionResult{Index: p.GetIndex(), Timestamp: -1, Offset: -1, LeaderEpoch: -1}
			found, err := replica.ListedOffset{}, refusal
			switch {
			case err != nil:
			case twice[tp]:
				err = kerr.InvalidRequest
			default:
				found, err = s.listOffset(&reader, tp, p.GetTimestamp(), cluster.LeaderEpoch(p.GetCurrentLeaderEpoch()))
			}
			if err != nil {
				code, _ := outcome(err)
				r.ErrorCode = int32(code)
			} else {
				r.Timestamp, r.Offset, r.LeaderEpoch = found.Timestamp, int64(found.Offset), int32(found.LeaderEpoch)
			}
			result.Partitions = append(result.Partitions, r)
		}
		res.Topics = append(res.Topics, result)
	}
	return res, nil
}

func (s *Server) listOffset(r *replica.Reader, tp cluster.TopicPartition, timestamp int64, epoch cluster.LeaderEpoch) (replica.ListedOffset, error) {
	p, code := s.deps.Replicas.Partition(tp)
	if code != kerr.None {
		return replica.ListedOffset{}, code
	}
	return p.ListOffset(r, timestamp, epoch)
}

// reader decides who is asking: a consumer, or a follower if the number is a live broker's and the caller is a broker. What a follower is told
// and believed is not for everybody: its fetches move the high watermark.
func (s *Server) reader(ctx context.Context, replicaID int32, brokerEpoch cluster.BrokerEpoch) (replica.Reader, error) {
	r, err := s.claimed(replicaID, brokerEpoch)
	if err != nil || r.Replica == cluster.NoBroker {
		return r, err
	}
	return r, s.fromBroker(ctx, readingAsReplica)
}

// claimed returns who a caller says to be, which remains to be shown.
func (s *Server) claimed(replicaID int32, brokerEpoch cluster.BrokerEpoch) (replica.Reader, error) {
	r := replica.Reader{Replica: cluster.BrokerID(replicaID), BrokerEpoch: brokerEpoch}
	switch {
	case r.Replica == cluster.NoBroker:
		r.BrokerEpoch = cluster.NoBrokerEpoch
	case r.Replica < 0:
		return r, malformed("replica id %d does not exist", replicaID)
	case r.Replica == s.deps.BrokerID || !s.deps.Metadata.Image().IsLive(r.Replica):
		return r, forbidden(kerr.ClusterAuthorizationFailed, "replica id %d is not another live broker", replicaID)
	}
	return r, nil
}
