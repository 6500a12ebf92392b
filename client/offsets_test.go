package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

func TestListOffsetsAsksEveryLeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		fc.CreateTopic("orders", 3)
		at := map[cluster.TopicPartition]int64{}
		for i := range int32(3) {
			tp := cluster.TopicPartition{Topic: "orders", Partition: i}
			fc.Fill(tp, 100, 2, 5, record.None) // timestamps 100 to 109
			at[tp] = []int64{client.Latest, client.Earliest, 107}[i]
		}
		cl := dialFake(t, fc)
		got, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, at)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []client.OffsetResult{{Offset: 10, Timestamp: -1}, {Offset: 0, Timestamp: -1}, {Offset: 7, Timestamp: 107}} {
			if r := got[cluster.TopicPartition{Topic: "orders", Partition: int32(i)}]; r != want {
				t.Errorf("partition %d: got %+v, want %+v", i, r, want)
			}
		}
	})
}

func TestListOffsetsFollowsALeaderThatMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 1)
		tp := cluster.TopicPartition{Topic: "orders"}
		cl := dialFake(t, fc)
		if _, err := cl.Topic(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		fc.SetLeader(tp, 2)
		got, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
		if err != nil || got[tp].Err != nil || got[tp].Offset != 0 || got[tp].LeaderEpoch != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestListOffsetsGivesEachPartitionItsOwnOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 2)
		fc.OnListOffsets = func(c fakecluster.Call) *fakecluster.Act {
			if c.TopicPartition.Partition == 1 {
				return &fakecluster.Act{Code: kerr.TopicAuthorizationFailed}
			}
			return nil
		}
		cl := dialFake(t, fc, client.APITimeout(10*time.Second))
		good, bad, missing := cluster.TopicPartition{Topic: "orders"}, cluster.TopicPartition{Topic: "orders", Partition: 1}, cluster.TopicPartition{Topic: "orders", Partition: 9}
		start := time.Now()
		got, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{good: client.Latest, bad: client.Latest, missing: client.Latest})
		if err != nil || len(got) != 3 {
			t.Fatalf("got %v, %v", got, err)
		}
		if got[good].Err != nil || !errors.Is(got[bad].Err, kerr.TopicAuthorizationFailed) || !errors.Is(got[missing].Err, kerr.UnknownTopicOrPartition) {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %v for a partition that does not exist", took)
		}
		if n := fc.Count("list-offsets orders-1"); n != 1 {
			t.Errorf("asked %d times although the answer was final", n)
		}
	})
}

func TestListOffsetsEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnListOffsets = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Code: kerr.OffsetNotAvailable} }
		cl := dialFake(t, fc)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := cl.ListOffsets(ctx, client.ReadUncommitted, map[cluster.TopicPartition]int64{{Topic: "orders"}: client.Latest})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kerr.OffsetNotAvailable) {
			t.Errorf("got %v", err)
		}
	})
}
