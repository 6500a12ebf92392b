package brokertest

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
)

// frozen holds up everything that changes the disk until a point in time, as fsfreeze does. Reads go on.
func frozen(until time.Time) vfs.Injector {
	return vfs.InjectorFunc(func(c vfs.Call) vfs.Fault {
		if !c.Op.Mutates() {
			return vfs.Fault{}
		}
		return vfs.Fault{Delay: max(0, time.Until(until))}
	})
}

// stall freezes the disks of brokers for a while, and waits until it is over.
func stall(c *Cluster, d time.Duration, ids ...int) {
	end := time.Now().Add(d)
	for _, id := range ids {
		c.DiskFault(id, frozen(end))
	}
	<-time.After(d)
	for _, id := range ids {
		c.DiskFault(id, nil)
	}
}

// meanwhile runs f in the middle of a stall of the given length.
func meanwhile(c *Cluster, d time.Duration, f func(), ids ...int) {
	done := make(chan struct{})
	go func() { stall(c, d, ids...); close(done) }()
	<-time.After(d / 2)
	f()
	<-done
}

// TestALeaderWhoseDiskStallsGivesWay freezes the disk of the leader for 40 s. Another broker leads within three seconds, also if the one with the disk is the
// controller; the one with the disk goes on to answer and to take orders, and copies in the end what it has missed.
func TestALeaderWhoseDiskStallsGivesWay(t *testing.T) {
	for name, replicas := range map[string][]cluster.BrokerID{"leader": byThree, "leader and controller": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				within(t, disturbed(t, replicas, nil, func(c *Cluster, o *observer) {
					id := int(replicas[0])
					meanwhile(c, 40*time.Second, func() {
						if s := o.state(events); s.Leader == replicas[0] || slices.Contains(s.ISR, replicas[0]) {
							t.Errorf("with a stalled disk: %+v", s)
						}
						if !c.Broker(0).IsController() {
							t.Error("broker 0 is not the controller any more")
						}
						if topics := askAbout(t, c, id, events.Topic); topics.Leader == replicas[0] {
							t.Errorf("the broker with the stalled disk says that it leads: %+v", topics)
						}
					}, id)
					o.awaitISR(events, 0, 1, 2)
				}), 3*time.Second)
			})
		})
	}
}

// askAbout returns what one broker says of partition 0 of a topic.
func askAbout(t *testing.T, c *Cluster, id int, topic string) client.Partition {
	t.Helper()
	n := c.Network()
	for other := range 3 {
		if other != id {
			n.Cut(clientHost+"-x", host(other))
		}
	}
	cl := c.Client(t, client.Dialer(n.Dialer(clientHost+"-x")))
	info, err := cl.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return info.Partitions[0]
}

// TestAFollowerWhoseDiskStallsHoldsNobodyUp leaves it out of the in-sync set until its disk works and it has caught up.
func TestAFollowerWhoseDiskStallsHoldsNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			meanwhile(c, 40*time.Second, func() {
				if s := o.state(events); s.Leader != 1 || slices.Contains(s.ISR, 2) {
					t.Errorf("with the stalled disk of broker 2: %+v", s)
				}
			}, 2)
			o.awaitISR(events, 0, 1, 2)
		}), 3*time.Second)
	})
}

// TestOneOfTwoDirectoriesStalls moves everything that the broker leads where others are in sync. What only it has in the other directory goes on.
func TestOneOfTwoDirectoriesStalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, map[string]string{"log.dirs": "/a,/b"}, func(c *Cluster, o *observer) {
			cl := c.Client(t)
			res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
				Name: other.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1}},
			}}, admin.CreateOptions{Timeout: time.Minute})
			if err != nil || res[0].Err != nil {
				t.Fatal(err, res)
			}
			send(t, cl, other.Topic, "a", 10)
			dir := dirOf(t, c, events, 1)
			if dir == dirOf(t, c, other, 1) {
				t.Fatalf("both topics are in %s", dir)
			}
			end := time.Now().Add(40 * time.Second)
			c.DiskFault(1, below(dir, frozen(end)))
			<-time.After(10 * time.Second)
			if s := o.state(events); s.Leader == 1 || slices.Contains(s.ISR, 1) {
				t.Errorf("with a stalled directory: %+v", s)
			}
			start := time.Now()
			send(t, cl, other.Topic, "b", 10)
			wantRecords(t, readAll(t, cl, other.Topic), append(numbered("a", 10), numbered("b", 10)...)...)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("in the directory that works, ten records took %v", d)
			}
			<-time.After(time.Until(end))
			c.DiskFault(1, nil)
			o.awaitISR(events, 0, 1, 2)
		}), 3*time.Second)
	})
}

// TestAllDisksStall is what shared storage does. Nobody can append, and everybody goes on afterwards.
func TestAllDisksStall(t *testing.T) {
	for name, ids := range map[string][]int{"three": {0, 1, 2}, "leader and one follower": {1, 2}, "both followers": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
					stall(c, 40*time.Second, ids...)
					o.awaitISR(events, 0, 1, 2)
				}), 43*time.Second)
			})
		})
	}
}

// TestShortStallsMoveNobody has disks that take their time, as disks do.
func TestShortStallsMoveNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		settings map[string]string
		stall    time.Duration
	}{
		"shorter than the bound": {nil, 1500 * time.Millisecond},
		"switched off":           {map[string]string{"ottla.early.failover.disk.stall.ms": "0"}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				within(t, disturbed(t, byThree, tc.settings, func(c *Cluster, o *observer) {
					before := o.state(events).LeaderEpoch
					for _, id := range []int{1, 2, 1, 1} {
						stall(c, tc.stall, id)
						<-time.After(time.Second)
					}
					o.unmoved(before)
				}), tc.stall+time.Second)
			})
		})
	}
}

// TestAFlappingDisk stalls every few seconds for a minute. The leadership moves once, and the broker is in sync again when the disk has been well for a while.
func TestAFlappingDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, nil, func(c *Cluster, o *observer) {
			before := o.state(events).LeaderEpoch
			for range 12 {
				stall(c, 3*time.Second, 1)
				<-time.After(2 * time.Second)
			}
			if s := o.state(events); s.LeaderEpoch > before+1 || slices.Contains(s.ISR, 1) {
				t.Errorf("after a minute, the leader epoch was %d before: %+v", before, s)
			}
			o.awaitISR(events, 0, 1, 2)
		}), 3*time.Second)
	})
}

// TestALeaderDiesWhileAnotherDiskStalls leaves the broker with the disk as the only one in sync besides one, under min.insync.replicas=2: it is not left out.
func TestALeaderDiesWhileAnotherDiskStalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, quick, func(c *Cluster, o *observer) {
			done := make(chan struct{})
			go func() { stall(c, 20*time.Second, 2); close(done) }()
			<-time.After(5 * time.Second)
			o.awaitISR(events, 0, 1)
			c.Kill(t, 1)
			<-done
			o.awaitISR(events, 0, 2)
			again(t, c, 1)
			o.awaitISR(events, 0, 1, 2)
		}), 17*time.Second)
	})
}
