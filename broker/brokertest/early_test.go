package brokertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
)

// disturbed runs a producer against a cluster while something bad happens, and returns the longest time between two acknowledgements. The topic has
// the given replicas, the first of them leading, and needs two in sync. There are as many brokers as it takes, and broker 0 is the controller.
func disturbed(t *testing.T, replicas []cluster.BrokerID, settings map[string]string, bad func(c *Cluster, o *observer)) time.Duration {
	t.Helper()
	brokers := 3
	if slices.Contains(replicas, 3) {
		brokers = 4
	}
	c := Start(t, Options{Brokers: brokers, Logger: testLogger(t), Settings: settings})
	cl := c.Client(t)
	replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, replicas...)
	o := observe(t, c)
	w := load(t, cl, "r")
	<-time.After(3 * time.Second)
	bad(c, o)
	<-time.After(5 * time.Second)
	inSync := o.state(events).ISR
	gap := w.flawless(cl).Gap
	settled(t, c, events, numbers(inSync)...)
	return gap
}

// numbers returns broker ids as the handles of a cluster take them.
func numbers(ids []cluster.BrokerID) (out []int) {
	for _, id := range ids {
		out = append(out, int(id))
	}
	return out
}

// within fails the test if nothing was acknowledged for longer.
func within(t *testing.T, gap, most time.Duration) {
	t.Helper()
	t.Logf("nothing was acknowledged for %v", gap)
	if gap > most {
		t.Errorf("nothing was acknowledged for %v, want %v at most", gap, most)
	}
}

// byThree and byFour are replicas led by broker 1, in clusters of three and of four.
var byThree, byFour = []cluster.BrokerID{1, 2, 0}, []cluster.BrokerID{1, 2, 3}

func TestAKilledLeaderIsReplacedWithinASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			c.Kill(t, 1)
			<-time.After(5 * time.Second)
			if _, _, ok := registered(t, o.s, 1); !ok {
				t.Error("ZooKeeper has noticed by itself: this test is about what happens before")
			}
			o.awaitISR(events, 2, 0)
		}), time.Second)
	})
}

func TestAKilledFollowerHoldsNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			c.Kill(t, 2)
			o.awaitISR(events, 1, 0)
		}), time.Second)
	})
}

// awaitController waits until a broker is controller and returns how long that took.
func awaitController(c *Cluster, ids ...int) time.Duration {
	start := time.Now()
	for !slices.ContainsFunc(ids, func(id int) bool { return c.Broker(id).IsController() }) {
		<-time.After(10 * time.Millisecond)
	}
	return time.Since(start)
}

func TestAKilledControllerIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			c.Kill(t, 0)
			if d := awaitController(c, 1, 2); d > 3*time.Second {
				t.Errorf("a new controller after %v", d)
			}
			o.awaitISR(events, 1, 2)
			if s := o.state(events); s.Leader != 1 {
				t.Errorf("led by %d", s.Leader)
			}
		}), time.Second)
	})
}

func TestAKilledControllerThatLeadsIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, []cluster.BrokerID{0, 1, 2}, nil, func(c *Cluster, o *observer) {
			c.Kill(t, 0)
			o.awaitISR(events, 1, 2)
		}), time.Second)
	})
}

// freeze makes a broker unreachable for everybody, as SIGSTOP does; what it has received it still works on.
func freeze(c *Cluster, id int, brokers int) (thaw func()) {
	others := []string{zookeeperHost, clientHost}
	for i := range brokers {
		if i != id {
			others = append(others, host(i))
		}
	}
	for _, h := range others {
		c.Network().Cut(host(id), h)
	}
	return func() {
		for _, h := range others {
			c.Network().Heal(host(id), h)
		}
	}
}

func TestAFrozenLeaderIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			thaw := freeze(c, 1, 3)
			<-time.After(10 * time.Second)
			if s := o.state(events); s.Leader != 2 {
				t.Errorf("led by %d", s.Leader)
			}
			thaw()
			o.awaitISR(events, 0, 1, 2)
		}), 2500*time.Millisecond)
	})
}

func TestAFrozenControllerThatLeadsIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, []cluster.BrokerID{0, 1, 2}, nil, func(c *Cluster, o *observer) {
			thaw := freeze(c, 0, 3)
			<-time.After(10 * time.Second)
			if s := o.state(events); s.Leader != 1 {
				t.Errorf("led by %d", s.Leader)
			}
			thaw()
			o.awaitISR(events, 0, 1, 2)
			for c.Broker(0).IsController() { // until ZooKeeper has told it, on its next connection
				<-time.After(100 * time.Millisecond)
			}
		}), 2500*time.Millisecond)
	})
}

func TestALeaderCutFromItsFollowersButNotFromZooKeeperIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas []cluster.BrokerID
		leader   int
		others   []int
	}{
		"and the controller is one of them":   {byThree, 1, []int{0, 2}},
		"and the controller reaches everyone": {byFour, 1, []int{2, 3}},
		"and it is the controller":            {[]cluster.BrokerID{0, 1, 2}, 0, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				within(t, disturbed(t, tc.replicas, nil, func(c *Cluster, o *observer) {
					cut(c, tc.leader, tc.others...)
					<-time.After(10 * time.Second)
					if s := o.state(events); int(s.Leader) == tc.leader {
						t.Errorf("led by %d", s.Leader)
					}
					heal(c, tc.leader, tc.others...)
					o.awaitISR(events, slices.Clone(tc.replicas)...)
				}), 2500*time.Millisecond)
			})
		})
	}
}

// TestShortPausesMoveNobody freezes every broker in turn, again and again, for less than it takes to be missed.
func TestShortPausesMoveNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			before := o.state(events)
			for i := range 12 {
				thaw := freeze(c, i%3, 3)
				<-time.After(1490 * time.Millisecond)
				thaw()
				<-time.After(time.Duration(300+130*i) * time.Millisecond)
			}
			if s := o.state(events); s.LeaderEpoch != before.LeaderEpoch || len(s.ISR) != 3 {
				t.Errorf("%+v became %+v", before, s)
			}
			if !c.Broker(0).IsController() {
				t.Error("the controller was replaced")
			}
		})
	})
}

// TestABrokerThatIsCutOffMovesNobody takes a follower, then the controller, away from the others; what leads among those that see each other stays.
func TestABrokerThatIsCutOffMovesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, map[string]string{"ottla.early.failover.hold.down.ms": "0"}, func(c *Cluster, o *observer) {
			for _, id := range []int{2, 0} {
				before := o.state(events)
				cut(c, id, (id+1)%3, (id+2)%3)
				<-time.After(5 * time.Second)
				if s := o.state(events); s.Leader != before.Leader || len(s.ISR) != 2 {
					t.Errorf("without %d, %+v became %+v", id, before, s)
				}
				heal(c, id, (id+1)%3, (id+2)%3)
				o.awaitISR(events, 0, 1, 2)
			}
		}), 2500*time.Millisecond)
	})
}

// TestWithoutEarlyMovesZooKeeperIsTheBound has the timing of Kafka: the session timeout, which ZooKeeper rounds up to its next tick (2 s).
func TestWithoutEarlyMovesZooKeeperIsTheBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, map[string]string{"ottla.early.failover.enable": "false", "zookeeper.session.timeout.ms": "6000"}, func(c *Cluster, o *observer) {
			c.Kill(t, 1)
			<-time.After(3 * time.Second)
			if s := o.state(events); s.Leader != 1 {
				t.Errorf("led by %d", s.Leader)
			}
			o.awaitISR(events, 2, 0)
		}), 8*time.Second+500*time.Millisecond)
	})
}

// TestALeaderThatLostItsTailAndIsBackAtOnceDoesNotLead cuts the power of a leader whose disk then has nothing that was not synced, and starts it again
// before anybody can have missed it: it registers under another epoch, and is in sync again only when it has caught up (KIP-966).
func TestALeaderThatLostItsTailAndIsBackAtOnceDoesNotLead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			for range 2 {
				leader := o.state(events).Leader
				c.PowerCut(t, int(leader), vfs.CrashOptions{Names: vfs.KeepAll})
				c.Restart(t, int(leader))
				if s := o.state(events); s.Leader == leader {
					t.Errorf("broker %d has lost records and leads: %+v", leader, s)
				}
				o.awaitISR(events, 0, 1, 2)
			}
		})
	})
}

// TestABrokerWithoutAnIDGetsOneForEver starts brokers with broker.id=-1.
func TestABrokerWithoutAnIDGetsOneForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		n := &node{id: 1, disk: vfs.NewMem()}
		given := config.Properties{"broker.id": "-1"}
		for range 2 {
			if err := c.start(n, given); err != nil {
				t.Fatal(err)
			}
			if id := n.running().ID(); id != 1001 {
				t.Errorf("id %d", id)
			}
			if err := n.running().Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		given["broker.id.generation.enable"] = "false"
		if err := c.start(&node{id: 2, disk: vfs.NewMem()}, given); err == nil || !strings.Contains(err.Error(), "broker.id must be greater than or equal to 0") {
			t.Errorf("without an id and without leave to get one: %v", err)
		}
	})
}

// TestTheControllerMindsTheInSyncReplicasThatATopicWants cuts a leader from its follower. The topic wants both of them in sync, and the controller has no
// replica of it, so that it must find out about that setting.
func TestTheControllerMindsTheInSyncReplicasThatATopicWants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		before := o.state(events)
		cut(c, 1, 2)
		<-time.After(5 * time.Second)
		if after := o.state(events); after.LeaderEpoch != before.LeaderEpoch || len(after.ISR) != 2 {
			t.Errorf("the partition was %+v and is %+v", before, after)
		}
		heal(c, 1, 2)
		acked(t, cl, "b", 10)
		settled(t, c, events, 1, 2)
	})
}

// TestAKilledFollowerLeavesTheLeaderThatIsController: the controller knows of itself that it answers.
func TestAKilledFollowerLeavesTheLeaderThatIsController(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, []cluster.BrokerID{0, 1, 2}, nil, func(c *Cluster, o *observer) {
			c.Kill(t, 1)
			o.awaitISR(events, 0, 2)
			if s := o.state(events); s.Leader != 0 {
				t.Errorf("led by %d", s.Leader)
			}
		}), time.Second)
	})
}
