package brokertest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// TestThrottledReplicasCatchUpAtTheirRate lets a replica catch up with a megabyte at 100,000 bytes a second, throttled at the leader or at the follower, while
// a topic that is not throttled is copied at once; then the rate is raised.
func TestThrottledReplicasCatchUpAtTheirRate(t *testing.T) {
	for _, side := range []string{"leader", "follower"} {
		t.Run(side, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{
					"zookeeper.session.timeout.ms": "6000", "replica.fetch.max.bytes": "50000",
				}})
				cl := c.Client(t)
				throttled := map[string]string{"leader.replication.throttled.replicas": "0:1", "follower.replication.throttled.replicas": "0:2"}
				replicated(t, cl, throttled, 1, 2)
				res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
					Name: "free", Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1, 2}},
				}}, admin.CreateOptions{Timeout: 30 * time.Second})
				if err != nil || res[0].Err != nil {
					t.Fatal(err, res)
				}
				free := cluster.TopicPartition{Topic: "free"}
				o := observe(t, c)
				limited := map[string]string{"leader": "1", "follower": "2"}[side]
				setting := side + ".replication.throttled.rate"
				mustAlter(t, cl, brokerResource, limited, setting+"=100000")
				c.Stop(t, 2)
				fill(t, cl, "events", 1_000_000)
				fill(t, cl, "free", 1_000_000)
				c.Restart(t, 2)
				began := time.Now()
				o.awaitISR(free, 1, 2)
				if d := time.Since(began); d > 2*time.Second {
					t.Errorf("the topic that is not throttled was in sync after %v", d)
				}
				<-time.After(5*time.Second - time.Since(began))
				if got := len(onDisk(t, c, events, 2)); got < 300_000 || got > 750_000 {
					t.Errorf("%d bytes were copied within 5 s", got)
				}
				mustAlter(t, cl, brokerResource, limited, setting+"=10000000")
				began = time.Now()
				o.awaitISR(events, 1, 2)
				if d := time.Since(began); d > 2*time.Second {
					t.Errorf("with the higher rate it was in sync after %v", d)
				}
				// In sync, it keeps up whatever the rate.
				mustAlter(t, cl, brokerResource, limited, setting+"=1")
				began = time.Now()
				fill(t, cl, "events", 300_000)
				if d := time.Since(began); d > time.Second {
					t.Errorf("writing to replicas that are in sync took %v", d)
				}
				settled(t, c, events, 1, 2)
			})
		})
	}
}

// fill writes so many bytes to partition 0 of a topic, in batches of 10 kB that all replicas in sync must have.
func fill(t *testing.T, cl *client.Client, topic string, size int) {
	t.Helper()
	p, err := producer.New(cl, producer.WithAcks(producer.AcksAll), producer.Linger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	value := bytes.Repeat([]byte("v"), 10_000)
	for i := range size / len(value) {
		if _, err := p.Send(t.Context(), producer.Record{Topic: topic, Partition: producer.To(0), Key: fmt.Append(nil, i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
}
