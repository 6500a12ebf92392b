package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestALeaderIsKilledAndNothingAcknowledgedIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		w := load(t, cl, "r")
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
		w.judge(cl)
		settled(t, c, events, 0, 1, 2)
	})
}

func TestAFollowerIsKilledAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		w := load(t, cl, "r")
		<-time.After(2 * time.Second)
		c.Kill(t, 2)
		o.awaitISR(events, 0, 1)
		<-time.After(20 * time.Second)
		c.Restart(t, 2)
		o.awaitISR(events, 0, 1, 2)
		w.flawless(cl)
		settled(t, c, events, 0, 1, 2)
	})
}

func TestTheLeaderLeavesOutWhoFallsBehindAndTakesBackWhoCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{
			"replica.lag.time.max.ms": "4000", "replica.socket.timeout.ms": "2000", "ottla.early.failover.enable": "false",
		}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 3)
		o := observe(t, c)
		w := load(t, cl, "r")
		<-time.After(time.Second)
		before := o.state(events)
		cut(c, 1, 3)
		start := time.Now()
		o.awaitISR(events, 1, 2)
		if d := time.Since(start); d < 4*time.Second || d > 7*time.Second {
			t.Errorf("left out after %v", d)
		}
		if s := o.state(events); s.Leader != 1 || s.LeaderEpoch != before.LeaderEpoch {
			t.Errorf("a change of the in-sync set made %+v of %+v", s, before)
		}
		for i := range 10 {
			w.Send("s", events, fmt.Sprint("s", i))
		}
		acked(t, cl, "s", 10, producer.DeliveryTimeout(5*time.Second), producer.RequestTimeout(4*time.Second))
		heal(c, 1, 3)
		o.awaitISR(events, 1, 2, 3)
		w.flawless(cl)
		settled(t, c, events, 1, 2, 3)
	})
}

func TestALeaderCutFromItsFollowersAcknowledgesNothingMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{
			"replica.lag.time.max.ms": "4000", "replica.socket.timeout.ms": "2000", "ottla.early.failover.enable": "false",
		}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 3)
		o := observe(t, c)
		w := load(t, cl, "r")
		<-time.After(time.Second)
		cut(c, 1, 2, 3)
		o.awaitISR(events, 1)
		<-time.After(time.Second) // until the leader has heard of it too
		p, err := producer.New(cl, producer.Retries(0))
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Send(t.Context(), producer.Record{Topic: "events", Partition: producer.To(0), Value: []byte("no")})
		if !errors.Is(err, kerr.NotEnoughReplicas) {
			t.Errorf("a record for a leader without followers: %v", err)
		}
		p.Close(t.Context())
		heal(c, 1, 2, 3)
		o.awaitISR(events, 1, 2, 3)
		<-time.After(2 * time.Second)
		w.judge(cl)
		settled(t, c, events, 1, 2, 3)
	})
}

// TestADivergentTailIsCutByEpoch lets an old leader come back with records that nobody else has.
func TestADivergentTailIsCutByEpoch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2, 3)
		o := observe(t, c)
		acked(t, cl, "a", 50)
		cut(c, 1, 2, 3)
		acked(t, cl, "lost", 20, producer.WithAcks(producer.AcksLeader))
		c.Kill(t, 1)
		heal(c, 1, 2, 3)
		o.awaitISR(events, 2, 3)
		acked(t, cl, "b", 30) // fewer than were lost, so that the old leader's log is the longer one
		c.Restart(t, 1)
		o.awaitISR(events, 1, 2, 3)
		acked(t, cl, "c", 5)
		wantRecords(t, readAll(t, cl, "events"), slices.Concat(numbered("a", 50), numbered("b", 30), numbered("c", 5))...)
		settled(t, c, events, 1, 2, 3)
	})
}

// TestAFollowerKeepsWhatLiesAboveItsHighWatermark is the loss that leader epochs were made against (KAFKA-1211, KIP-101): a follower that cut its log at
// its high watermark, which trails the leader's, would have nothing to show when it is elected next.
func TestAFollowerKeepsWhatLiesAboveItsHighWatermark(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 3)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		acked(t, cl, "b", 1) // acknowledged, and no follower has heard of it yet
		cut(c, 2, 3)
		c.Kill(t, 1)
		o.awaitISR(events, 2, 3)
		<-time.After(time.Second)
		if s := o.state(events); s.Leader != 2 {
			t.Fatalf("led by %d", s.Leader)
		}
		c.Kill(t, 2) // 3 has not been able to fetch from it
		heal(c, 2, 3)
		for start := time.Now(); o.state(events).Leader != 3; <-time.After(100 * time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatalf("the partition is %+v", o.state(events))
			}
		}
		c.Restart(t, 1)
		c.Restart(t, 2)
		o.awaitISR(events, 1, 2, 3)
		wantRecords(t, readAll(t, cl, "events"), append(numbered("a", 10), "b0")...)
		settled(t, c, events, 1, 2, 3)
	})
}

func TestPowerCutsOfFollowers(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "8192", "index.interval.bytes": "200"}, 1, 2, 0)
				o := observe(t, c)
				w := load(t, cl, "r")
				for _, id := range []int{2, 0, 2} { // 0 is the controller as well
					<-time.After(time.Second)
					c.PowerCut(t, id, vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
					<-time.After(100 * time.Millisecond)
					c.Restart(t, id)
					o.awaitISR(events, 0, 1, 2)
				}
				w.judge(cl)
				settled(t, c, events, 0, 1, 2)
			})
		})
	}
}

func TestARollingRestartFailsNoProduceRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		w := load(t, cl, "r")
		for range 2 {
			for id := range 3 {
				<-time.After(time.Second)
				before := time.Now()
				c.Stop(t, id)
				if d := time.Since(before); d > 3*time.Second {
					t.Errorf("broker %d took %v to stop", id, d)
				}
				if s := o.state(events); int(s.Leader) == id || slices.Contains(s.ISR, cluster.BrokerID(id)) {
					t.Errorf("broker %d has stopped and the partition is %+v", id, s)
				}
				c.Restart(t, id)
				o.awaitISR(events, 0, 1, 2)
			}
		}
		// The bound is wide: how long it takes is for benchmarks to say, and now and then a follower sits out a back-off or two.
		if r := w.flawless(cl); r.Gap > 15*time.Second {
			t.Errorf("nothing was acknowledged for %v", r.Gap)
		}
		settled(t, c, events, 0, 1, 2)
	})
}

// TestAFollowerBelowTheLeadersStartBeginsThere deletes records while a follower is away, in the middle of a batch.
func TestAFollowerBelowTheLeadersStartBeginsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1"}, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 5)
		c.Stop(t, 2)
		o.awaitISR(events, 1)
		send(t, cl, "events", "b", 100) // in few batches
		res, err := admin.New(cl).DeleteRecords(t.Context(), map[cluster.TopicPartition]cluster.Offset{events: 57}, time.Minute)
		if err != nil || res[events].Err != nil {
			t.Fatal(err, res[events].Err)
		}
		c.Restart(t, 2)
		o.awaitISR(events, 1, 2)
		c.Stop(t, 1)
		ends, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{events: client.Earliest})
		if err != nil || ends[events].Offset != 57 {
			t.Errorf("the new leader's log begins at %d, %v", ends[events].Offset, err)
		}
		ends, err = cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{events: client.Latest})
		if err != nil || ends[events].Offset != 105 {
			t.Errorf("the new leader's log ends at %d, %v", ends[events].Offset, err)
		}
	})
}

func TestManyPartitionsOverManyFetchers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{
			"num.replica.fetchers": "3", "default.replication.factor": "3", "min.insync.replicas": "2", "zookeeper.session.timeout.ms": "6000",
		}})
		cl := c.Client(t)
		const n = 40
		res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{Name: "events", Partitions: n, ReplicationFactor: -1}}, admin.CreateOptions{Timeout: time.Minute})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		everywhere := func(prefix string) {
			p, err := producer.New(cl)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 10 * n {
				if err := p.SendAsync(t.Context(), producer.Record{Topic: "events", Partition: producer.To(int32(i % n)), Value: fmt.Appendf(nil, "%s%d", prefix, i)}, func(_ producer.Result, err error) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		everywhere("a")
		c.Kill(t, 1)
		everywhere("b")
		c.Restart(t, 1)
		o := observe(t, c)
		for i := range int32(n) {
			o.awaitISR(cluster.TopicPartition{Topic: "events", Partition: i}, 0, 1, 2)
		}
		everywhere("c")
		for i := range int32(n) {
			settled(t, c, cluster.TopicPartition{Topic: "events", Partition: i}, 0, 1, 2)
		}
	})
}
