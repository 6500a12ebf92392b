package brokertest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// bubble runs a test with virtual time. A hang is a failure at once, with the stacks of everybody.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func createTopic(t *testing.T, cl *client.Client, name string, partitions int32, configs map[string]string) {
	t.Helper()
	res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: configs}}, admin.CreateOptions{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
}

// send produces n records "<prefix><i>" to partition 0 and waits for every answer.
func send(t *testing.T, cl *client.Client, topic, prefix string, n int) {
	t.Helper()
	p, err := producer.New(cl)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		err := p.SendAsync(t.Context(), producer.Record{Topic: topic, Partition: producer.To(0), Value: fmt.Appendf(nil, "%s%d", prefix, i)}, func(_ producer.Result, err error) {
			if err != nil {
				t.Errorf("send %d: %v", i, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// readAll reads partition 0 from the start to its end, and checks that offsets are dense.
func readAll(t *testing.T, cl *client.Client, topic string) []string {
	t.Helper()
	tp := cluster.TopicPartition{Topic: topic}
	ends, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
	if err != nil || ends[tp].Err != nil {
		t.Fatal(err, ends[tp].Err)
	}
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.Assign(tp); err != nil {
		t.Fatal(err)
	}
	var got []string
	if ends[tp].Offset == 0 {
		return nil
	}
	for r, err := range c.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if int(r.Offset) != len(got) {
			t.Fatalf("offset %d follows %d records", r.Offset, len(got))
		}
		if got = append(got, string(r.Value)); r.Offset+1 == ends[tp].Offset {
			break
		}
	}
	return got
}

func wantRecords(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

func TestTheMainJob(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		if !c.Broker(0).IsController() {
			t.Error("the only broker is not the controller")
		}
		createTopic(t, cl, "events", 3, nil)
		send(t, cl, "events", "n", 1000)
		wantRecords(t, readAll(t, cl, "events"), numbered("n", 1000)...)
	})
}

func TestABrokerThatStopsAndStartsHasEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		send(t, cl, "events", "a", 100)
		c.Stop(t, 0)
		c.Restart(t, 0)
		send(t, cl, "events", "b", 100)
		wantRecords(t, readAll(t, cl, "events"), append(numbered("a", 100), numbered("b", 100)...)...)
	})
}
