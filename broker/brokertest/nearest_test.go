package brokertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
)

// startRacks starts brokers 0 to 2 in racks r0 to r2 that send consumers to the replica in their rack.
func startRacks(t *testing.T) *Cluster {
	t.Helper()
	return Start(t, Options{
		Brokers: 3, Logger: testLogger(t),
		Settings:       map[string]string{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector", "zookeeper.session.timeout.ms": "6000"},
		BrokerSettings: func(id int) map[string]string { return map[string]string{"broker.rack": fmt.Sprint("r", id)} },
	})
}

// follow returns a reader of the topic events, from the beginning, in a rack, on a host of its own.
func follow(t *testing.T, c *Cluster, hostName, rack string) func(n int) []string {
	t.Helper()
	cl, err := client.Dial(t.Context(), c.Bootstrap(), client.Dialer(c.Network().Dialer(hostName)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest), consumer.Rack(rack))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		cl.Close()
	})
	if err := r.Assign(events); err != nil {
		t.Fatal(err)
	}
	return func(n int) []string {
		var got []string
		for rec, err := range r.Records(t.Context()) {
			if err != nil {
				t.Fatalf("after %d records: %v", len(got), err)
			}
			if got = append(got, string(rec.Value)); len(got) == n {
				break
			}
		}
		return got
	}
}

func TestConsumersReadFromTheReplicaInTheirRack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := startRacks(t)
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		acked(t, cl, "a", 10)
		near := follow(t, c, "near", "r2")
		wantRecords(t, near(10), numbered("a", 10)...)
		// From here on the consumer cannot reach the leader, and need not.
		c.Network().Cut("near", host(1))
		acked(t, cl, "b", 10)
		wantRecords(t, near(10), numbered("b", 10)...)
		c.Network().Heal("near", host(1))
		// The replica goes away, and the leader serves.
		c.Stop(t, 2)
		acked(t, cl, "c", 10)
		wantRecords(t, near(10), numbered("c", 10)...)
		c.Restart(t, 2)
		<-time.After(6 * time.Minute) // metadata.max.age.ms, and it is asked again
		c.Network().Cut("near", host(1))
		acked(t, cl, "d", 10)
		wantRecords(t, near(10), numbered("d", 10)...)
		// The leadership moves to the replica that is read from.
		c.Network().Heal("near", host(1))
		c.Stop(t, 1)
		acked(t, cl, "e", 10)
		wantRecords(t, near(10), numbered("e", 10)...)
	})
}

// TestAFollowerHearsOfTheHighWatermarkSoon wants the last record of a burst to be readable from a follower without waiting for the next one.
func TestAFollowerHearsOfTheHighWatermarkSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := startRacks(t)
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		acked(t, cl, "a", 1)
		near := follow(t, c, "near", "r2")
		wantRecords(t, near(1), "a0")
		c.Network().SetDelay(host(1), host(0), 5*time.Millisecond)
		p, err := producer.New(cl, producer.WithAcks(producer.AcksAll), producer.Linger(0))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		for i := range 5 {
			value := fmt.Sprint("b", i)
			if _, err := p.Send(t.Context(), producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			wantRecords(t, near(1), value)
			if d := time.Since(began); d > 50*time.Millisecond {
				t.Errorf("%s could be read after %v", value, d)
			}
			<-time.After(700 * time.Millisecond)
		}
	})
}
