package server

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

func (w *world) listOffsets(replicaID, isolation int32, tp cluster.TopicPartition, partitions ...*ottlapb.ListOffsetsPartition) ([]*ottlapb.ListOffsetsPartitionResult, error) {
	w.t.Helper()
	for _, p := range partitions {
		p.Index = tp.Partition
	}
	res, err := ottlapb.NewFetchServiceClient(w.dial("")).ListOffsets(context.Background(), &ottlapb.ListOffsetsRequest{
		ReplicaId: replicaID, IsolationLevel: isolation, Topics: []*ottlapb.ListOffsetsTopic{{Name: tp.Topic, Partitions: partitions}},
	})
	if err != nil {
		return nil, err
	}
	return res.Topics[0].Partitions, nil
}

func TestListOffsets(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	w.place(orders0, self, self, 2) // leader epoch 1
	w.place(at("elsewhere", 0), 2, 2)
	p := w.producer(w.dial(""))
	p.put(orders0, "a", "b", "c") // timestamps 1000 to 1002
	w.fetcher(w.dial("")).ask(asReplica(2, want(0, 3, orders0)))
	p.put(orders0, "d")
	for _, c := range []struct {
		name      string
		replica   int32
		isolation int32
		tp        cluster.TopicPartition
		timestamp int64
		epoch     int32
		want      kerr.Code
		offset    int64
		time      int64
	}{
		{"latest", -1, 0, orders0, -1, -1, kerr.None, 3, -1},
		{"latest stable", -1, 1, orders0, -1, -1, kerr.None, 3, -1},
		{"latest for a follower", 2, 0, orders0, -1, -1, kerr.None, 4, -1},
		{"earliest", -1, 0, orders0, -2, -1, kerr.None, 0, -1},
		{"by time", -1, 0, orders0, 1001, -1, kerr.None, 1, 1001},
		{"by time, too late", -1, 0, orders0, 5000, -1, kerr.None, -1, -1},
		{"an unknown special", -1, 0, orders0, -6, -1, kerr.InvalidRequest, -1, -1},
		{"the smallest number", -1, 0, orders0, -1 << 63, -1, kerr.InvalidRequest, -1, -1},
		{"isolation level 7", -1, 7, orders0, -1, -1, kerr.InvalidRequest, -1, -1},
		{"isolation level 256", -1, 256, orders0, -1, -1, kerr.InvalidRequest, -1, -1},
		{"an old leader epoch", -1, 0, orders0, -1, 0, kerr.FencedLeaderEpoch, -1, -1},
		{"a future leader epoch", -1, 0, orders0, -1, 2, kerr.UnknownLeaderEpoch, -1, -1},
		{"another broker's partition", -1, 0, at("elsewhere", 0), -1, -1, kerr.NotLeaderOrFollower, -1, -1},
		{"an unknown topic", -1, 0, at("nowhere", 0), -1, -1, kerr.UnknownTopicOrPartition, -1, -1},
		{"an impossible topic", -1, 0, at("a b", 0), -1, -1, kerr.InvalidTopicException, -1, -1},
		{"partition -1", -1, 0, at("orders", -1), -1, -1, kerr.UnknownTopicOrPartition, -1, -1},
	} {
		got, err := w.listOffsets(c.replica, c.isolation, c.tp, &ottlapb.ListOffsetsPartition{Timestamp: c.timestamp, CurrentLeaderEpoch: c.epoch})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r := got[0]; kerr.Code(r.ErrorCode) != c.want || r.Offset != c.offset || r.Timestamp != c.time {
			t.Errorf("%s: %v, want %v, offset %d, timestamp %d", c.name, r, c.want, c.offset, c.time)
		}
	}
	got, err := w.listOffsets(-1, 0, orders0, &ottlapb.ListOffsetsPartition{Timestamp: -1, CurrentLeaderEpoch: -1}, &ottlapb.ListOffsetsPartition{Timestamp: -2, CurrentLeaderEpoch: -1})
	if err != nil || kerr.Code(got[0].ErrorCode) != kerr.InvalidRequest || kerr.Code(got[1].ErrorCode) != kerr.InvalidRequest {
		t.Errorf("the same partition twice: %v, %v", got, err)
	}
	_, err = w.listOffsets(9, 0, orders0, &ottlapb.ListOffsetsPartition{Timestamp: -1})
	wantStatus(t, err, codes.PermissionDenied)
	_, err = w.listOffsets(-3, 0, orders0, &ottlapb.ListOffsetsPartition{Timestamp: -1})
	wantStatus(t, err, codes.InvalidArgument)
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	p.put(orders0, "a", "b")
	w.place(orders0, self, self) // leader epoch 1
	p.put(orders0, "c")
	w.place(at("elsewhere", 0), 2, 2)
	client := ottlapb.NewFetchServiceClient(w.dial(""))
	for _, c := range []struct {
		name    string
		tp      cluster.TopicPartition
		current int32
		asked   int32
		want    kerr.Code
		epoch   int32
		end     int64
	}{
		{"an epoch that is over", orders0, -1, 0, kerr.None, 0, 2},
		{"the current epoch", orders0, 1, 1, kerr.None, 1, 3},
		{"an epoch to come", orders0, -1, 5, kerr.None, -1, -1},
		{"epoch -1", orders0, -1, -1, kerr.None, -1, -1},
		{"the largest number", orders0, -1, 1<<31 - 1, kerr.None, -1, -1},
		{"asked by somebody behind the times", orders0, 0, 0, kerr.FencedLeaderEpoch, -1, -1},
		{"asked by somebody ahead of the times", orders0, 9, 0, kerr.UnknownLeaderEpoch, -1, -1},
		{"another broker's partition", at("elsewhere", 0), -1, 0, kerr.NotLeaderOrFollower, -1, -1},
		{"an unknown partition", at("orders", 7), -1, 0, kerr.UnknownTopicOrPartition, -1, -1},
	} {
		res, err := client.OffsetForLeaderEpoch(context.Background(), &ottlapb.OffsetForLeaderEpochRequest{ReplicaId: -1, Topics: []*ottlapb.OffsetForLeaderTopic{{
			Name: c.tp.Topic, Partitions: []*ottlapb.OffsetForLeaderPartition{{Index: c.tp.Partition, CurrentLeaderEpoch: c.current, LeaderEpoch: c.asked}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if r := res.Topics[0].Partitions[0]; kerr.Code(r.ErrorCode) != c.want || r.End.GetEpoch() != c.epoch || r.End.GetEndOffset() != c.end {
			t.Errorf("%s: %v, want %v, epoch %d, end %d", c.name, r, c.want, c.epoch, c.end)
		}
	}
	_, err := client.OffsetForLeaderEpoch(context.Background(), &ottlapb.OffsetForLeaderEpochRequest{ReplicaId: 9})
	wantStatus(t, err, codes.PermissionDenied)
}
