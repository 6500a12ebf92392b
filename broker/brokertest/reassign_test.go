package brokertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// move begins to move the partition events-0.
func move(t *testing.T, cl *client.Client, to ...cluster.BrokerID) {
	t.Helper()
	var err error
	for range 30 { // the controller may be on its way
		var res map[cluster.TopicPartition]error
		if res, err = admin.New(cl).AlterReassignments(t.Context(), map[cluster.TopicPartition][]cluster.BrokerID{events: to}); err == nil {
			err = res[events]
		}
		if err == nil {
			return
		}
		<-time.After(time.Second)
	}
	t.Fatalf("move to %v: %v", to, err)
}

// replicas reads a partition's assignment from ZooKeeper.
func (o *observer) replicas(tp cluster.TopicPartition) (replicas []cluster.BrokerID, moving bool) {
	o.t.Helper()
	data, _, err := o.s.Get(o.t.Context(), znode.TopicPath(tp.Topic))
	if err != nil {
		o.t.Fatal(err)
	}
	topic, err := znode.DecodeTopic(znode.TopicPath(tp.Topic), data)
	if err != nil {
		o.t.Fatal(err)
	}
	return topic.Replicas[tp.Partition], len(topic.Adding[tp.Partition])+len(topic.Removing[tp.Partition]) > 0
}

// awaitMoved waits until a partition is on these brokers and all of them are in sync.
func (o *observer) awaitMoved(tp cluster.TopicPartition, want ...cluster.BrokerID) {
	o.t.Helper()
	for range 1200 {
		if got, moving := o.replicas(tp); !moving && slices.Equal(got, want) {
			o.awaitISR(tp, slices.Clone(want)...)
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	got, moving := o.replicas(tp)
	o.t.Fatalf("%s is on %v (moving: %t), want %v; %+v", tp, got, moving, want, o.state(tp))
}

// awaitGone waits until nothing of a topic is on a broker's disk.
func awaitGone(t *testing.T, c *Cluster, topic string, ids ...int) {
	t.Helper()
	var left []string
	for range 300 {
		left = left[:0]
		for _, id := range ids {
			list, err := c.Disk(id).ReadDir("/logs")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if strings.HasPrefix(e.Name(), topic) {
					left = append(left, fmt.Sprintf("broker %d has %s", id, e.Name()))
				}
			}
		}
		if len(left) == 0 {
			return
		}
		<-time.After(time.Second) // up to file.delete.delay.ms and more
	}
	t.Errorf("left on disk: %v", left)
}

// TestBrokersComeAndGoUnderLoad adds a broker, moves a partition to it, moves the partition off another one, and stops that.
func TestBrokersComeAndGoUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "16384"}, 0, 1, 2)
		o := observe(t, c)
		w := load(t, cl, "r")
		<-time.After(2 * time.Second)
		if id := c.Add(t); id != 3 {
			t.Fatalf("the new broker is %d", id)
		}
		move(t, cl, 3, 1, 2)
		o.awaitMoved(events, 3, 1, 2)
		if s := o.state(events); s.Leader == 0 {
			t.Errorf("the leadership is left behind: %+v", s)
		}
		<-time.After(time.Second)
		c.Stop(t, 0)
		<-time.After(time.Second)
		c.Restart(t, 0)
		move(t, cl, 1, 0)
		o.awaitMoved(events, 1, 0)
		<-time.After(time.Second)
		w.flawless(cl)
		settled(t, c, events, 0, 1)
		awaitGone(t, c, "events", 2, 3)
	})
}

// TestMovesUnderLeaderAndControllerKills moves a partition here and there, from a seed, while brokers are killed: the leader, the controller,
// and whoever it hits. OTTLA_SEEDS is how many seeds to try, OTTLA_SEED a single one.
func TestMovesUnderLeaderAndControllerKills(t *testing.T) {
	first, seeds := uint64(0), uint64(2)
	if testing.Short() {
		seeds = 1
	}
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { moveAbout(t, seed) })
		})
	}
}

func moveAbout(t *testing.T, seed uint64) {
	const brokers = 5
	rnd := rand.New(rand.NewPCG(seed, 11))
	c := Start(t, Options{Brokers: brokers, Logger: testLogger(t), Settings: map[string]string{
		"zookeeper.session.timeout.ms": "6000", "replica.lag.time.max.ms": "5000", "replica.socket.timeout.ms": "3000",
	}})
	cl := c.Client(t)
	replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "16384"}, 0, 1, 2)
	o := observe(t, c)
	w := load(t, cl, "r")
	pause := func(most time.Duration) { <-time.After(time.Duration(rnd.Int64N(int64(most)))) }
	var to []cluster.BrokerID
	for range 6 {
		pause(time.Second)
		to = to[:0]
		for _, i := range rnd.Perm(brokers)[:3] {
			to = append(to, cluster.BrokerID(i))
		}
		t.Logf("move to %v", to)
		move(t, cl, to...)
		if rnd.IntN(3) > 0 {
			pause(50 * time.Millisecond)
		}
		victim := rnd.IntN(brokers)
		switch leader := int(o.state(events).Leader); {
		case rnd.IntN(3) == 0 && leader >= 0:
			victim = leader
		case rnd.IntN(2) == 0:
			for id := range brokers {
				if b := c.Broker(id); b != nil && b.IsController() {
					victim = id
				}
			}
		}
		t.Logf("kill %d", victim)
		c.Kill(t, victim)
		pause(10 * time.Second)
		again(t, c, victim)
		o.awaitMoved(events, to...)
	}
	<-time.After(3 * time.Second)
	w.judge(cl)
	var have []int // a broker that was dead when it was told to delete its log keeps it, as in Kafka: the others are not looked at
	for _, id := range to {
		have = append(have, int(id))
	}
	settled(t, c, events, have...)
}

// TestOldToolsMovePartitionsAndElect asks for both the way of old tools: by nodes in ZooKeeper.
func TestOldToolsMovePartitionsAndElect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"auto.leader.rebalance.enable": "false"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 0, 1)
		acked(t, cl, "a", 10)
		o := observe(t, c)
		gone := func(path string) {
			t.Helper()
			for range 600 {
				if _, ok, err := o.s.Exists(t.Context(), path); err == nil && !ok {
					return
				}
				<-time.After(100 * time.Millisecond)
			}
			t.Fatalf("%s is still there", path)
		}
		create := func(path, data string) {
			t.Helper()
			if _, err := o.s.Create(t.Context(), path, []byte(data), zk.Persistent); err != nil {
				t.Fatal(err)
			}
		}
		create("/admin/reassign_partitions", `{"version":1,"partitions":[{"topic":"events","partition":0,"replicas":[1,2]},{"topic":"none","partition":0,"replicas":[1]}]}`)
		o.awaitMoved(events, 1, 2)
		gone("/admin/reassign_partitions")
		create("/admin/reassign_partitions", `{"version":1,"partitions":[{"topic":"events","partition":0,"replicas":[2,1]}]}`)
		o.awaitMoved(events, 2, 1)
		gone("/admin/reassign_partitions")
		if s := o.state(events); s.Leader != 1 {
			t.Fatalf("another order has moved the leadership: %+v", s)
		}
		for range 2 {
			create("/admin/preferred_replica_election", `{"version":1,"partitions":[{"topic":"events","partition":0},{"topic":"none","partition":3}]}`)
			gone("/admin/preferred_replica_election")
			if s := o.state(events); s.Leader != 2 {
				t.Fatalf("after the election: %+v", s)
			}
		}
		acked(t, cl, "b", 10)
		wantRecords(t, readAll(t, cl, "events"), append(numbered("a", 10), numbered("b", 10)...)...)
		settled(t, c, events, 1, 2)
		awaitGone(t, c, "events", 0)
	})
}

// TestADeletionWaitsForADeadReplica deletes a topic while one of its brokers is down, and makes it again when that is back.
func TestADeletionWaitsForADeadReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		acked(t, cl, "a", 10)
		o := observe(t, c)
		c.Kill(t, 2)
		o.awaitISR(events, 1)
		if res, err := admin.New(cl).DeleteTopics(t.Context(), []string{"events"}, 5*time.Second); err != nil || res[0].Err != nil {
			t.Fatal(err, res) // it is gone for clients
		}
		<-time.After(time.Minute)
		for _, path := range []string{znode.TopicPath("events"), znode.DeleteTopicPath("events")} {
			if _, ok, err := o.s.Exists(t.Context(), path); err != nil || !ok {
				t.Fatalf("%s does not wait for the dead replica: %v", path, err)
			}
		}
		c.Restart(t, 2)
		for _, path := range []string{znode.DeleteTopicPath("events"), znode.TopicPath("events")} {
			for ok, n := true, 0; ok && n < 600; n++ {
				var err error
				if _, ok, err = o.s.Exists(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				<-time.After(100 * time.Millisecond)
			}
		}
		awaitGone(t, c, "events", 1, 2)
		replicated(t, cl, nil, 2, 1)
		acked(t, cl, "b", 10)
		wantRecords(t, readAll(t, cl, "events"), numbered("b", 10)...)
	})
}

// TestMovesAreRefusedAndCancelled tries what cannot be done, and ends a move to a broker that has died.
func TestMovesAreRefusedAndCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		a := admin.New(cl)
		replicated(t, cl, nil, 0, 1)
		o := observe(t, c)
		w := load(t, cl, "r")
		none := cluster.TopicPartition{Topic: "none"}
		for _, to := range [][]cluster.BrokerID{{}, {1, 1}, {1, 9}, nil} {
			res, err := a.AlterReassignments(t.Context(), map[cluster.TopicPartition][]cluster.BrokerID{events: to, none: {1}})
			if err != nil || res[events] == nil || res[none] == nil {
				t.Errorf("to %v: %v, %v", to, err, res)
			}
		}
		// A follower that cannot reach its leader does not catch up.
		cut(c, 2, 0, 1)
		move(t, cl, 2, 1)
		moves, err := a.ListReassignments(t.Context(), nil)
		if err != nil || len(moves) != 1 || !slices.Equal(moves[events].Adding, []cluster.BrokerID{2}) || !slices.Equal(moves[events].Removing, []cluster.BrokerID{0}) {
			t.Fatalf("%v, %v", moves, err)
		}
		if res, err := a.CreatePartitions(t.Context(), []admin.MorePartitions{{Topic: "events", Count: 2}}, admin.CreateOptions{}); err != nil || res[0].Err == nil {
			t.Errorf("more partitions meanwhile: %v, %v", err, res)
		}
		res, err := a.AlterReassignments(t.Context(), map[cluster.TopicPartition][]cluster.BrokerID{events: nil})
		if err != nil || res[events] != nil {
			t.Fatal(err, res)
		}
		heal(c, 2, 0, 1)
		o.awaitMoved(events, 1, 0)
		if moves, err := a.ListReassignments(t.Context(), nil); err != nil || len(moves) != 0 {
			t.Fatalf("%v, %v", moves, err)
		}
		<-time.After(time.Second)
		w.flawless(cl)
		awaitGone(t, c, "events", 2)
		if _, err := a.ListReassignments(t.Context(), []cluster.TopicPartition{none}); err != nil {
			t.Error(err)
		}
	})
}
