package metadata_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
)

func broker(id cluster.BrokerID) metadata.Broker {
	return metadata.Broker{ID: id, Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "h", Port: 9092 + int32(id)}}}
}

func partition(topic string, n int32, leader cluster.BrokerID, id cluster.TopicID) metadata.PartitionUpdate {
	return metadata.PartitionUpdate{
		TopicPartition: cluster.TopicPartition{Topic: topic, Partition: n},
		TopicID:        id,
		Partition:      metadata.Partition{Leader: leader, LeaderEpoch: 3, ISR: []cluster.BrokerID{leader}, Replicas: []cluster.BrokerID{leader}},
	}
}

// leaders is the picture in short: leader by topic partition.
func leaders(i *metadata.Image) map[string]cluster.BrokerID {
	out := map[string]cluster.BrokerID{}
	for _, name := range i.Topics() {
		t, _ := i.Topic(name)
		for n := range t.Partitions {
			tp := cluster.TopicPartition{Topic: name, Partition: int32(n)}
			if p, ok := i.Partition(tp); ok {
				out[tp.String()] = p.Leader
			}
		}
	}
	return out
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func TestBrokersAreReplacedWholesaleAndPartitionsAreADelta(t *testing.T) {
	c := metadata.NewCache()
	c.Apply(metadata.Update{
		ControllerID: 1,
		Brokers:      []metadata.Broker{broker(3), broker(1), broker(2)},
		Partitions:   []metadata.PartitionUpdate{partition("b", 0, 1, cluster.TopicID{}), partition("a", 1, 2, cluster.TopicID{}), partition("a", 0, 3, cluster.TopicID{})},
	})
	first := c.Image()
	check(t, "brokers", first.Brokers(), []metadata.Broker{broker(1), broker(2), broker(3)})
	check(t, "topics", first.Topics(), []string{"a", "b"})
	check(t, "leaders", leaders(first), map[string]cluster.BrokerID{"a-0": 3, "a-1": 2, "b-0": 1})

	c.Apply(metadata.Update{ControllerID: 2, Brokers: []metadata.Broker{broker(2)}, Partitions: []metadata.PartitionUpdate{partition("a", 0, 2, cluster.TopicID{})}})
	second := c.Image()
	check(t, "brokers", second.Brokers(), []metadata.Broker{broker(2)})
	check(t, "leaders", leaders(second), map[string]cluster.BrokerID{"a-0": 2, "a-1": 2, "b-0": 1})
	check(t, "controller", second.ControllerID(), 2)
	check(t, "broker 1 is live", second.IsLive(1), false)
	check(t, "partitions", second.PartitionCount(), 3)

	check(t, "the first image still has its leaders", leaders(first), map[string]cluster.BrokerID{"a-0": 3, "a-1": 2, "b-0": 1})
	check(t, "the first image still has its controller", first.ControllerID(), 1)
}

func TestLeaderMinusTwoRemovesThePartitionAndAnEmptyTopicVanishes(t *testing.T) {
	c := metadata.NewCache()
	id := cluster.TopicID{1: 1}
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 0, 1, id), partition("a", 1, 1, id)}})
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 1, cluster.LeaderDeleting, id)}})
	check(t, "leaders", leaders(c.Image()), map[string]cluster.BrokerID{"a-0": 1})
	topic, _ := c.Image().Topic("a")
	check(t, "length", len(topic.Partitions), 1)

	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 0, cluster.LeaderDeleting, id)}})
	if _, ok := c.Image().Topic("a"); ok {
		t.Fatal("a topic without partitions is still there")
	}
	if _, ok := c.Image().TopicByID(id); ok {
		t.Fatal("a topic without partitions is still found by its id")
	}
	check(t, "topics", len(c.Image().Topics()), 0)
}

func TestANewTopicIDReplacesTheOldTopic(t *testing.T) {
	c := metadata.NewCache()
	before, after := cluster.TopicID{1: 1}, cluster.TopicID{1: 2}
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 0, 1, before), partition("a", 1, 1, before)}})
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 0, 2, after)}})
	check(t, "leaders", leaders(c.Image()), map[string]cluster.BrokerID{"a-0": 2})
	if _, ok := c.Image().TopicByID(before); ok {
		t.Fatal("the old id is still known")
	}
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition("a", 0, cluster.LeaderDeleting, before)}})
	check(t, "the end of the old topic leaves the new one", leaders(c.Image()), map[string]cluster.BrokerID{"a-0": 2})
}

func TestUnknownAndImpossiblePartitions(t *testing.T) {
	c := metadata.NewCache()
	c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{
		partition("a", -1, 1, cluster.TopicID{}), partition("a", metadata.MaxPartition+1, 1, cluster.TopicID{}), partition("b", 2, 1, cluster.TopicID{}),
		partition("c", 7, cluster.LeaderDeleting, cluster.TopicID{}),
	}})
	check(t, "leaders", leaders(c.Image()), map[string]cluster.BrokerID{"b-2": 1})
	for _, n := range []int32{-1, 0, 1, 3} {
		if _, ok := c.Image().Partition(cluster.TopicPartition{Topic: "b", Partition: n}); ok {
			t.Fatalf("partition %d is known", n)
		}
	}
}

func TestChangedWakesAtTheNextUpdate(t *testing.T) {
	c := metadata.NewCache()
	changed := c.Changed()
	select {
	case <-changed:
		t.Fatal("changed before anything was applied")
	default:
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			changed := c.Changed()
			if _, ok := c.Image().Topic("z"); ok {
				return
			}
			<-changed
		}
	})
	for _, name := range []string{"x", "y", "z"} {
		c.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{partition(name, 0, 1, cluster.TopicID{})}})
	}
	wg.Wait()
	<-changed
	c.SetClusterID("id")
	check(t, "cluster id", c.Image().ClusterID(), "id")
	c.Apply(metadata.Update{ControllerID: 4})
	check(t, "cluster id after an update", c.Image().ClusterID(), "id")
}

func TestEndpointOfAListener(t *testing.T) {
	b := metadata.Broker{Endpoints: []cluster.Endpoint{{Listener: "A", Host: "a"}, {Listener: "B", Host: "b"}}}
	e, ok := b.Endpoint("B")
	check(t, "found", ok, true)
	check(t, "host", e.Host, "b")
	_, ok = b.Endpoint("C")
	check(t, "found", ok, false)
}

func BenchmarkPartition(b *testing.B) {
	c := metadata.NewCache()
	var u metadata.Update
	for n := range int32(1000) {
		u.Partitions = append(u.Partitions, partition("orders", n, 1, cluster.TopicID{}))
	}
	c.Apply(u)
	tp := cluster.TopicPartition{Topic: "orders", Partition: 500}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Image().Partition(tp); !ok {
			b.Fatal("not found")
		}
	}
}
