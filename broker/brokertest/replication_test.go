package brokertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/znode"
)

var events = cluster.TopicPartition{Topic: "events"}

// replicated creates the topic events with one partition on the given brokers, the first of them leading.
func replicated(t *testing.T, cl *client.Client, configs map[string]string, replicas ...cluster.BrokerID) {
	t.Helper()
	res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
		Name: events.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: replicas}, Configs: configs,
	}}, admin.CreateOptions{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
}

// state reads the partition's state from ZooKeeper.
func (o *observer) state(tp cluster.TopicPartition) znode.PartitionState {
	o.t.Helper()
	path := znode.PartitionStatePath(tp)
	data, stat, err := o.s.Get(o.t.Context(), path)
	if err != nil {
		o.t.Fatal(err)
	}
	_ = stat
	s, err := znode.DecodePartitionState(path, data)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// awaitISR waits until the partition's in-sync replicas are these, in any order.
func (o *observer) awaitISR(tp cluster.TopicPartition, want ...cluster.BrokerID) {
	o.t.Helper()
	slices.Sort(want)
	for range 600 {
		got := slices.Clone(o.state(tp).ISR)
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	o.t.Fatalf("in-sync replicas of %s are %v, want %v", tp, o.state(tp).ISR, want)
}

// history is what a producer was told: which values were acknowledged, at which offsets.
type history struct {
	mu    sync.Mutex
	acked map[string]cluster.Offset
	order []string
	errs  []error
}

// load sends numbered records, one after the other is acknowledged or has failed for good, until stopped.
func load(t *testing.T, cl *client.Client, prefix string, opts ...producer.Option) (stop func() *history) {
	t.Helper()
	h := &history{acked: map[string]cluster.Offset{}}
	p, err := producer.New(cl, append([]producer.Option{producer.WithAcks(producer.AcksAll)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			value := fmt.Sprint(prefix, i)
			_ = p.SendAsync(ctx, producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: []byte(value)}, func(r producer.Result, err error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				if err != nil {
					h.errs = append(h.errs, err)
					return
				}
				h.acked[value] = r.Offset
				h.order = append(h.order, value)
			})
			<-time.After(5 * time.Millisecond)
		}
	})
	return func() *history {
		cancel()
		wg.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close the producer: %v", err)
		}
		return h
	}
}

// check reads the partition and compares: everything that was acknowledged is there, where the producer was told, in the order in which it was
// sent, and offsets are dense.
func (h *history) check(t *testing.T, cl *client.Client) {
	t.Helper()
	got := readAll(t, cl, events.Topic)
	place := map[string]cluster.Offset{}
	for i, v := range got {
		if _, twice := place[v]; !twice {
			place[v] = cluster.Offset(i)
		}
	}
	lost := 0
	for v, at := range h.acked {
		if int(at) >= len(got) || got[at] != v {
			if lost++; lost <= 5 {
				t.Errorf("%s was acknowledged at offset %d and is not there", v, at)
			}
		}
	}
	last := cluster.Offset(-1)
	for _, v := range h.order {
		if place[v] < last {
			t.Errorf("%s at offset %d was acknowledged after the record at %d", v, place[v], last)
			break
		}
		last = place[v]
	}
	if len(h.acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d acknowledged, %d failed, %d in the log, %d lost", len(h.acked), len(h.errs), len(got), lost)
}

func TestALeaderIsKilledAndNothingAcknowledgedIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		stop := load(t, cl, "r")
		<-time.After(2 * time.Second)
		c.Kill(t, 1)
		<-time.After(30 * time.Second)
		if s := o.state(events); s.Leader != 2 {
			t.Errorf("led by %d", s.Leader)
		}
		o.awaitISR(events, 0, 2)
		c.Restart(t, 1)
		o.awaitISR(events, 0, 1, 2)
		<-time.After(2 * time.Second)
		stop().check(t, cl)
	})
}
