package client_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestTopicWaitsUntilTheTopicExists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl := dialFake(t, fc)
		timer := time.AfterFunc(5*time.Second, func() { fc.CreateTopic("orders", 3) })
		defer timer.Stop()
		start := time.Now()
		topic, err := cl.Topic(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("found the topic after %v", took)
		}
		if len(topic.Partitions) != 3 || topic.ID.IsZero() || topic.Partitions[2].Leader != 1 {
			t.Errorf("topic is %+v", topic)
		}
		if n := fc.Count("metadata"); n > 12 {
			t.Errorf("asked %d times in 5 s", n)
		}
	})
}

func TestTopicEndsWithItsContextAndSaysWhatIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := cl.Topic(ctx, "orders")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), `"orders"`) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTopicWithAnIllegalNameFailsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cl := dialFake(t, fakecluster.New(t, 1))
		for _, name := range []string{"", "..", "a/b", strings.Repeat("x", 250)} {
			if _, err := cl.Topic(t.Context(), name); !errors.Is(err, kerr.InvalidTopicException) {
				t.Errorf("topic %q: got %v", name, err)
			}
		}
	})
}

func TestTopicFailsAtOnceWhenWaitingCannotHelp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.OnMetadata = func(_ cluster.BrokerID, r *ottlapb.MetadataResponse) error {
			for _, topic := range r.Topics {
				topic.ErrorCode = int32(kerr.TopicAuthorizationFailed)
			}
			return nil
		}
		cl := dialFake(t, fc)
		start := time.Now()
		_, err := cl.Topic(t.Context(), "secret")
		if !errors.Is(err, kerr.TopicAuthorizationFailed) || time.Since(start) > time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestOnlyTrackWithCreateCreatesTopics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.AutoCreate = 2
		cl := dialFake(t, fc)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := cl.Topic(ctx, "read-only"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("asking for a topic: got %v", err)
		}
		cl.Track("wanted", true)
		if topic, err := cl.Topic(t.Context(), "wanted"); err != nil || len(topic.Partitions) != 2 {
			t.Errorf("got %v, %v", topic, err)
		}
		if topic, ok := cl.CachedTopic("read-only"); !ok || topic.Err != kerr.UnknownTopicOrPartition {
			t.Errorf("the other topic is %+v", topic)
		}
	})
}

func TestRefreshesThatComeTogetherAreOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		cl := dialFake(t, fc)
		before := fc.Count("metadata")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := cl.Topic(t.Context(), "orders"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if n := fc.Count("metadata") - before; n > 3 {
			t.Errorf("100 callers made %d requests", n)
		}
	})
}

func TestMetadataIsFetchedAgainAtItsMaximumAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl := dialFake(t, fc, client.MetadataMaxAge(time.Minute))
		before := fc.Count("metadata")
		if err := client.Sleep(t.Context(), 10*time.Minute+time.Second); err != nil {
			t.Fatal(err)
		}
		if n := fc.Count("metadata") - before; n < 9 || n > 11 {
			t.Errorf("%d requests in 10 minutes at a maximum age of one", n)
		}
		_ = cl
	})
}

func TestMetadataComesFromTheBootstrapServersWhenAllKnownBrokersAreGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl, err := client.Dial(t.Context(), "b1,b2", client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		fc.Kill(1)
		fc.Start(2)
		if err := cl.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if brokers, _ := cl.Brokers(t.Context()); len(brokers) != 1 || brokers[0].ID != 2 {
			t.Errorf("brokers are %v", brokers)
		}
	})
}

func TestOlderLeaderEpochsAreNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 1)
		tp := cluster.TopicPartition{Topic: "orders"}
		fc.SetLeader(tp, 2) // epoch 1
		cl := dialFake(t, fc)
		if _, err := cl.Topic(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		fc.OnMetadata = func(_ cluster.BrokerID, r *ottlapb.MetadataResponse) error {
			for _, topic := range r.Topics {
				topic.Partitions[0].LeaderId, topic.Partitions[0].LeaderEpoch = 1, 0
			}
			return nil
		}
		if err := cl.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if topic, _ := cl.CachedTopic("orders"); topic.Partitions[0].Leader != 2 {
			t.Errorf("believed a broker that is behind: %+v", topic.Partitions[0])
		}
	})
}

func TestLeaderHintsAreTakenIfTheyAreNews(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 1)
		cl := dialFake(t, fc)
		if _, err := cl.Topic(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		tp := cluster.TopicPartition{Topic: "orders"}
		for _, c := range []struct {
			tp     cluster.TopicPartition
			leader cluster.BrokerID
			epoch  cluster.LeaderEpoch
			want   bool
		}{
			{tp, 2, 0, false},  // not newer
			{tp, 9, 5, false},  // nobody knows that broker
			{tp, -1, 5, false}, // no leader is no hint
			{cluster.TopicPartition{Topic: "orders", Partition: 7}, 2, 5, false},
			{cluster.TopicPartition{Topic: "orders", Partition: -1}, 2, 5, false},
			{cluster.TopicPartition{Topic: "other"}, 2, 5, false},
			{tp, 2, 5, true},
			{tp, 1, 4, false},
		} {
			if got := cl.NoteLeader(c.tp, c.leader, c.epoch); got != c.want {
				t.Errorf("hint %v leader %d epoch %d: news is %v, want %v", c.tp, c.leader, c.epoch, got, c.want)
			}
		}
		if topic, _ := cl.CachedTopic("orders"); topic.Partitions[0].Leader != 2 || topic.Partitions[0].LeaderEpoch != 5 {
			t.Errorf("partition is %+v", topic.Partitions[0])
		}
	})
}

func TestRefreshTellsWhyItFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl := dialFake(t, fc)
		fc.OnMetadata = func(cluster.BrokerID, *ottlapb.MetadataResponse) error {
			return status.Error(codes.PermissionDenied, "not you")
		}
		err := cl.Refresh(t.Context())
		if !errors.Is(err, kerr.ClusterAuthorizationFailed) || client.Retriable(err) || !strings.Contains(err.Error(), "not you") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := cl.Refresh(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
	})
}

func TestTopicOfPutsPartitionsInTheirPlaces(t *testing.T) {
	topic := client.TopicOf(&ottlapb.TopicMetadata{Name: "x", TopicId: []byte{1, 2, 3}, Partitions: []*ottlapb.PartitionMetadata{
		{Index: 2, LeaderId: 7, LeaderEpoch: 3, Replicas: []int32{7, 8}, Isr: []int32{7}, OfflineReplicas: []int32{8}},
		{Index: -5, LeaderId: 1}, {Index: 1 << 30, LeaderId: 1},
	}})
	if len(topic.Partitions) != 3 {
		t.Fatalf("%d partitions", len(topic.Partitions))
	}
	if p := topic.Partitions[2]; p.Leader != 7 || p.LeaderEpoch != 3 || len(p.Replicas) != 2 || len(p.ISR) != 1 || len(p.Offline) != 1 {
		t.Errorf("partition 2 is %+v", p)
	}
	if p := topic.Partitions[0]; p.Leader != cluster.NoBroker || p.Err != kerr.LeaderNotAvailable || p.Index != 0 {
		t.Errorf("a partition that is missing in the answer is %+v", p)
	}
}
