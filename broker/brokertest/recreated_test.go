package brokertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// recreate deletes the topic events and creates it again.
func recreate(t *testing.T, cl *client.Client, replicas ...cluster.BrokerID) {
	t.Helper()
	res, err := admin.New(cl).DeleteTopics(t.Context(), []string{events.Topic}, time.Minute)
	if err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
	for {
		res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
			Name: events.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: replicas},
		}}, admin.CreateOptions{Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(res[0].Err, kerr.TopicAlreadyExists) { // its nodes are being removed
			if res[0].Err != nil {
				t.Fatal(res[0].Err)
			}
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestATopicThatIsMadeAgainIsAnotherOne lets a producer and consumers go on with a topic that is deleted and created again (KAFKA-12257). The consumers'
// positions are those of the old topic: they are out of range, and auto.offset.reset counts.
func TestATopicThatIsMadeAgainIsAnotherOne(t *testing.T) {
	for name, tc := range map[string]struct {
		elections, records int
		replicas           []cluster.BrokerID
	}{
		"in the same leader epoch":             {0, 5, []cluster.BrokerID{2, 1}},
		"in the same leader epoch and longer":  {0, 30, []cluster.BrokerID{2, 1}},
		"in an earlier leader epoch":           {2, 5, []cluster.BrokerID{2, 1}},
		"with the same leader":                 {0, 5, []cluster.BrokerID{1, 2}},
		"with the same leader and longer":      {0, 30, []cluster.BrokerID{1, 2}},
		"with the same leader, as long as was": {0, 20, []cluster.BrokerID{1}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
				cl := c.Client(t)
				replicated(t, cl, nil, 1, 2)
				o := observe(t, c)
				for range tc.elections {
					c.Stop(t, 1)
					c.Restart(t, 1)
					o.awaitISR(events, 1, 2)
				}
				p, err := producer.New(cl)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close(t.Context())
				write := func(prefix string, n int) {
					t.Helper()
					for _, v := range numbered(prefix, n) {
						if _, err := p.Send(t.Context(), producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: []byte(v)}); err != nil {
							t.Fatal(err)
						}
					}
				}
				write("a", 20)
				readers := map[consumer.Reset]*consumer.Consumer{}
				next := func(reset consumer.Reset, n int) (got []string, err error) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					for rec, err := range readers[reset].Records(ctx) {
						if err != nil {
							return got, err
						}
						if got = append(got, string(rec.Value)); len(got) == n {
							break
						}
					}
					return got, nil
				}
				for _, reset := range []consumer.Reset{consumer.ResetEarliest, consumer.ResetLatest, consumer.ResetNone} {
					r, err := consumer.New(cl, consumer.OffsetReset(reset))
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close(t.Context())
					_ = r.Assign(events)
					_ = r.Seek(events, 0)
					readers[reset] = r
					got, err := next(reset, 20)
					if err != nil {
						t.Fatal(err)
					}
					wantRecords(t, got, numbered("a", 20)...)
				}
				recreate(t, cl, tc.replicas...)
				write("b", tc.records)
				<-time.After(5 * time.Second)
				got, err := next(consumer.ResetEarliest, tc.records)
				if err != nil {
					t.Fatal(err)
				}
				wantRecords(t, got, numbered("b", tc.records)...)
				if got, err := next(consumer.ResetNone, 1); !errors.Is(err, kerr.OffsetOutOfRange) {
					t.Errorf("without a policy: %v, %v", got, err)
				}
				go func() {
					<-time.After(time.Second)
					write("c", 3)
				}()
				if got, err = next(consumer.ResetLatest, 3); err != nil {
					t.Fatal(err)
				}
				wantRecords(t, got, numbered("c", 3)...)
			})
		})
	}
}
