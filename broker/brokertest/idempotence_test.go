package brokertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk/znode"
)

// producerID asks a broker for a producer id, until it has one.
func producerID(t *testing.T, cl *client.Client, broker int) int64 {
	t.Helper()
	var id int64
	err := cl.Do(t.Context(), client.OnBroker(cluster.BrokerID(broker)), "init producer id", func(ctx context.Context, api *client.API) error {
		res, err := api.Transactions.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{})
		if err != nil {
			return err
		}
		if res.ProducerEpoch != 0 && res.ErrorCode == 0 {
			return fmt.Errorf("epoch %d", res.ProducerEpoch)
		}
		id = res.ProducerId
		return kerr.Code(res.ErrorCode).Err()
	})
	if err != nil {
		t.Fatalf("producer id of broker %d: %v", broker, err)
	}
	return id
}

// TestProducerIDsAreNeverGivenTwice asks all brokers, which come, go and lose their sessions meanwhile.
func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		seen := map[int64]bool{}
		ask := func(n int, brokers ...int) {
			t.Helper()
			for range n {
				for _, b := range brokers {
					id := producerID(t, cl, b)
					if seen[id] || id < 0 {
						t.Fatalf("broker %d gave id %d, again", b, id)
					}
					seen[id] = true
				}
			}
		}
		ask(1, 0, 1, 2)
		data, _, err := look(t, c).Get(t.Context(), znode.LatestProducerIDBlock)
		if err != nil || string(data) != `{"version":1,"broker":2,"block_start":"2000","block_end":"2999"}` {
			t.Errorf("the last of the first blocks is %s, %v", data, err)
		}
		ask(1001, 0)
		ask(150, 1, 2)
		c.Kill(t, 0)
		c.Restart(t, 0)
		ask(10, 0, 1)
		c.Network().Cut("broker-1", zookeeperHost)
		ask(830, 1) // what it has left of its block
		<-time.After(time.Minute)
		c.Network().Heal("broker-1", zookeeperHost)
		c.StopZooKeeper(t)
		c.StartZooKeeper(t)
		ask(500, 1, 2)
	})
}

// TestProducerIDsWithoutZooKeeper wants those that the broker has left, and then an answer that clients repeat rather than none.
func TestProducerIDsWithoutZooKeeper(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "60000"}})
		cl := c.Client(t, client.APITimeout(10*time.Second))
		producerID(t, cl, 0) // the first block is there
		c.StopZooKeeper(t)
		for range znode.ProducerIDBlockSize - 1 {
			producerID(t, cl, 0)
		}
		answered := kerr.None
		err := cl.Do(t.Context(), client.AnyBroker, "init producer id", func(ctx context.Context, api *client.API) error {
			res, err := api.Transactions.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{})
			if err != nil {
				return err
			}
			answered = kerr.Code(res.ErrorCode)
			return answered.Err()
		})
		if err == nil || answered != kerr.CoordinatorLoadInProgress {
			t.Errorf("the broker answered %v, and in the end %v", answered, err)
		}
		c.StartZooKeeper(t)
		producerID(t, cl, 0)
	})
}

// TestTheNextLeaderKnowsWhatTheLastOneAppended kills the leader when it has appended and replicated five batches in flight, and before the producer
// hears of it. The next leader answers the retries with the places that they have already.
func TestTheNextLeaderKnowsWhatTheLastOneAppended(t *testing.T) {
	for name, end := range map[string]func(c *Cluster, t testing.TB){
		"killed":  func(c *Cluster, t testing.TB) { c.Kill(t, 1) },
		"stopped": func(c *Cluster, t testing.TB) { c.Stop(t, 1) },
		"killed, and back with its disk": func(c *Cluster, t testing.TB) {
			c.Kill(t, 1)
			c.Restart(t, 1)
		},
		"cut off": func(c *Cluster, t testing.TB) {
			cut(c, 1, 0, 2)
			c.Network().Cut(host(1), zookeeperHost)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Settings: map[string]string{"zookeeper.session.timeout.ms": "6000", "replica.lag.time.max.ms": "5000"}})
				cl := c.Client(t, client.RequestTimeout(10*time.Second))
				replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
				attempts := 0
				p, err := producer.New(cl, producer.BatchSize(512), producer.AdaptiveBatching(false), producer.Linger(time.Second), producer.OnBatch(func(b producer.BatchReport) {
					attempts = max(attempts, b.Attempts)
				}))
				if err != nil {
					t.Fatal(err)
				}
				h := history.New(time.Now)
				put := func(first, last int) {
					for i := first; i <= last; i++ {
						s := h.Send("p", events, fmt.Sprint("r", i))
						err := p.SendAsync(t.Context(), producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: fmt.Append(nil, "r", i)}, func(r producer.Result, err error) {
							if err != nil || r.Offset != cluster.Offset(i) {
								t.Errorf("record %d is said to be at %d, %v", i, r.Offset, err)
								return
							}
							s.Acked(r.Offset)
						})
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				put(0, 0)
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.Network().SetDelay(host(1), clientHost, time.Hour) // what the leader answers
				put(1, 200)
				<-time.After(3 * time.Second)
				end(c, t)
				c.Network().SetDelay(host(1), clientHost, 0)
				put(201, 300)
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if attempts < 2 {
					t.Error("nothing was sent again")
				}
				last := h.Final(events)
				got := readAll(t, cl, events.Topic)
				for i, v := range got {
					last.Got(events, cluster.Offset(i), v)
				}
				wantRecords(t, got, numbered("r", 301)...)
				if r, err := h.Check(history.Options{Idempotent: true}); err != nil || len(r.Anomalies) > 0 || r.Acked != 301 {
					t.Error(r, err)
				}
			})
		})
	}
}
