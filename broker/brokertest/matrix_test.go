package brokertest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
)

// row is one fault against three brokers: broker 1 leads, 2 and 0 follow, 0 is the controller.
type row struct {
	// settings go over the brokers' own.
	settings map[string]string
	// bad does it and ends it.
	bad func(t *testing.T, c *Cluster, o *observer)
	// most is how long nothing may be acknowledged.
	most time.Duration
}

// run does what a row says under load, wants all replicas in sync and the same afterwards, and judges the history.
func (r row) run(t *testing.T) {
	bubble(t, func(t *testing.T) {
		within(t, disturbed(t, byThree, r.settings, func(c *Cluster, o *observer) {
			r.bad(t, c, o)
			o.awaitISR(events, 0, 1, 2)
		}), r.most)
	})
}

func runAll(t *testing.T, rows map[string]row) {
	for name, r := range rows {
		t.Run(name, r.run)
	}
}

// kafkas are the settings that leave all timing to ZooKeeper, and let a session be over within 6 s.
var kafkas = map[string]string{"ottla.early.failover.enable": "false", "zookeeper.session.timeout.ms": "6000", "replica.lag.time.max.ms": "5000", "replica.socket.timeout.ms": "3000"}

// quick are the settings with which a session is over within 6 s.
var quick = map[string]string{"zookeeper.session.timeout.ms": "6000"}

// unmoved wants the leader of before, in its epoch.
func (o *observer) unmoved(before cluster.LeaderEpoch) {
	o.t.Helper()
	if s := o.state(events); s.LeaderEpoch != before {
		o.t.Errorf("the leader epoch was %d, and the partition is %+v", before, s)
	}
}

// unplug cuts a broker from hosts for a while.
func unplug(c *Cluster, id int, d time.Duration, hosts ...string) {
	for _, h := range hosts {
		c.Network().Cut(host(id), h)
	}
	<-time.After(d)
	for _, h := range hosts {
		c.Network().Heal(host(id), h)
	}
}

// deafen keeps what one host sends to another from arriving for a while.
func deafen(c *Cluster, from, to string, d time.Duration) {
	c.Network().CutOneWay(from, to)
	<-time.After(d)
	c.Network().Heal(from, to)
}

// theController returns who is the controller.
func theController(c *Cluster, brokers int) int {
	for {
		for id := range brokers {
			if b := c.Broker(id); b != nil && b.IsController() {
				return id
			}
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestZooKeeperComesAndGoes has brokers without ZooKeeper. Producers go on as long as those in sync live, since nobody can change who that is.
func TestZooKeeperComesAndGoes(t *testing.T) {
	unseen := 500 * time.Millisecond
	runAll(t, map[string]row{
		"a restart within the sessions": {nil, func(t *testing.T, c *Cluster, o *observer) {
			before := o.state(events).LeaderEpoch
			for range 2 {
				c.StopZooKeeper(t)
				<-time.After(5 * time.Second)
				c.StartZooKeeper(t)
				<-time.After(3 * time.Second)
			}
			o.unmoved(before)
			if !c.Broker(0).IsController() {
				t.Error("the controller was replaced")
			}
		}, unseen},
		"away for longer than the sessions": {quick, func(t *testing.T, c *Cluster, o *observer) {
			c.StopZooKeeper(t)
			<-time.After(15 * time.Second)
			c.StartZooKeeper(t)
			o.renew(c)
			createTopic(t, c.Client(t), "later", 1, nil)
		}, 2500 * time.Millisecond},
		"mute, and back within the sessions": {nil, func(t *testing.T, c *Cluster, o *observer) {
			before := o.state(events).LeaderEpoch
			for id := range 3 {
				c.Network().Cut(host(id), zookeeperHost)
			}
			<-time.After(8 * time.Second)
			for id := range 3 {
				c.Network().Heal(host(id), zookeeperHost)
			}
			<-time.After(8 * time.Second)
			o.unmoved(before)
		}, unseen},
		"away, and the leader is killed": {quick, func(t *testing.T, c *Cluster, o *observer) {
			c.StopZooKeeper(t)
			<-time.After(time.Second)
			c.Kill(t, 1)
			<-time.After(15 * time.Second)
			c.StartZooKeeper(t)
			o.renew(c)
			o.awaitISR(events, 0, 2)
			again(t, c, 1)
		}, 25 * time.Second},
		"away, and the controller is killed": {quick, func(t *testing.T, c *Cluster, o *observer) {
			c.StopZooKeeper(t)
			c.Kill(t, 0)
			<-time.After(15 * time.Second)
			c.StartZooKeeper(t)
			o.renew(c)
			o.awaitISR(events, 1, 2)
			again(t, c, 0)
		}, 25 * time.Second},
	})
}

// renew gives the observer a session of after ZooKeeper was away.
func (o *observer) renew(c *Cluster) {
	o.t.Helper()
	o.s = look(o.t, c)
}

// savedSession returns what a broker keeps to end its own session with.
func savedSession(t *testing.T, c *Cluster, id int) (session int64, password []byte) {
	t.Helper()
	data, err := vfs.ReadFile(c.Disk(id), "/logs/.zookeeper-session")
	if err != nil {
		t.Fatal(err)
	}
	var saved struct {
		ID       int64
		Password []byte
	}
	if err := json.Unmarshal(data, &saved); err != nil {
		t.Fatal(err)
	}
	return saved.ID, saved.Password
}

// TestASessionEnds takes a session away, or keeps its broker and ZooKeeper from hearing each other until it is over, while everybody sees everybody else.
func TestASessionEnds(t *testing.T) {
	rows := map[string]row{}
	for name, id := range map[string]int{"the controller's": 0, "the leader's": 1} {
		rows[name+", closed by force"] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
			_, before, _ := registered(t, o.s, cluster.BrokerID(id))
			session, password := savedSession(t, c, id)
			closing := zk.Config{Connect: zookeeperAddr, Dial: zkDialer(c.Network().Dialer("observer"))}
			for zk.CloseSession(t.Context(), closing, session, password) != nil {
				<-time.After(10 * time.Millisecond) // the broker has taken its session back in this very moment
			}
			start := time.Now()
			for {
				if _, now, ok := registered(t, o.s, cluster.BrokerID(id)); ok && now.Czxid > before.Czxid {
					break
				}
				<-time.After(10 * time.Millisecond)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("registered again after %v", d)
			}
		}, 2500 * time.Millisecond}
		rows[name+", does not hear ZooKeeper"] = row{quick, func(t *testing.T, c *Cluster, o *observer) { deafen(c, zookeeperHost, host(id), 10*time.Second) }, 2500 * time.Millisecond}
		rows[name+", is not heard by ZooKeeper"] = row{quick, func(t *testing.T, c *Cluster, o *observer) { deafen(c, host(id), zookeeperHost, 10*time.Second) }, 2500 * time.Millisecond}
	}
	runAll(t, rows)
}

// TestAFreezeBeyondTheSession has Kafka's own timing: a leader and a controller that come back after their sessions are over, with requests that they took
// before still under way.
func TestAFreezeBeyondTheSession(t *testing.T) {
	rows := map[string]row{}
	for name, id := range map[string]int{"controller": 0, "leader": 1} {
		rows[name] = row{kafkas, func(t *testing.T, c *Cluster, o *observer) {
			thaw := freeze(c, id, 3)
			<-time.After(12 * time.Second)
			if s := o.state(events); int(s.Leader) == id || slices.Contains(s.ISR, cluster.BrokerID(id)) {
				t.Errorf("without %d the partition is %+v", id, s)
			}
			thaw()
		}, 9 * time.Second}
	}
	runAll(t, rows)
}

// TestLinksBetweenBrokers cuts single links, in one direction or both, and makes all of them slow.
func TestLinksBetweenBrokers(t *testing.T) {
	rows := map[string]row{}
	for _, link := range [][2]int{{0, 1}, {1, 0}, {1, 2}, {2, 1}, {0, 2}, {2, 0}} {
		from, to, most, long := host(link[0]), host(link[1]), 3*time.Second, 8*time.Second
		if link[0]+link[1] == 1 {
			most, long = 25*time.Second, 24*time.Second // the leader and the controller: 2 reaches both and takes no side, until a session's time has passed
		}
		stable := func(t *testing.T, o *observer) { // and not one controller after the other
			if e, _, err := store.New(o.s, store.NewOwnSessions()).ControllerEpoch(t.Context()); err != nil || e > 3 {
				t.Errorf("controller epoch %d, %v", e, err)
			}
		}
		rows[from+" does not reach "+to] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
			deafen(c, from, to, long)
			stable(t, o)
		}, most}
		if link == [2]int{0, 1} {
			rows[from+" and "+to+" do not reach each other"] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
				unplug(c, link[0], long, to)
				stable(t, o)
			}, most}
		}
	}
	rows["all slow"] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
		before := o.state(events)
		for i := range 200 { // between 100 and 300 ms, another one every 100 ms
			for from := range 3 {
				for to := range 3 {
					c.Network().SetDelay(host(from), host(to), time.Duration(100+(i*37+from*71+to*113)%200)*time.Millisecond)
				}
			}
			<-time.After(100 * time.Millisecond)
		}
		if s := o.state(events); s.LeaderEpoch != before.LeaderEpoch || len(s.ISR) != 3 {
			t.Errorf("%+v became %+v", before, s)
		}
		for from := range 3 {
			for to := range 3 {
				c.Network().SetDelay(host(from), host(to), 0)
			}
		}
	}, 2 * time.Second}
	runAll(t, rows)
}

// TestLinksToClients loses what clients send to the leader, or what it answers, for longer than a request may take.
func TestLinksToClients(t *testing.T) {
	runAll(t, map[string]row{
		"answers are lost":  {nil, func(t *testing.T, c *Cluster, o *observer) { deafen(c, host(1), clientHost, 45*time.Second) }, time.Minute},
		"requests are lost": {nil, func(t *testing.T, c *Cluster, o *observer) { deafen(c, clientHost, host(1), 45*time.Second) }, time.Minute},
	})
}

// TestDisksThatStall lets writes and fsyncs of the leader, or of a follower, take 20 s. The others go on without it.
func TestDisksThatStall(t *testing.T) {
	rows := map[string]row{}
	for name, id := range map[string]int{"leader": 1, "follower": 2} {
		rows[name] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
			c.DiskFault(id, vfs.OnOps(vfs.Latency(20*time.Second), vfs.OpWrite, vfs.OpSync))
			<-time.After(time.Second)
			c.DiskFault(id, nil)
			<-time.After(20 * time.Second)
		}, 3 * time.Second}
	}
	runAll(t, rows)
}

// TestAnIslandOfTheLeaderAndItsClients has producers on both sides of a cut. Nobody in the island is told that a record is written once the others may have
// chosen another leader, and everybody agrees afterwards.
func TestAnIslandOfTheLeaderAndItsClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const outside = "outside"
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, byThree...)
		o := observe(t, c)
		w := load(t, cl, "in")
		w.produce(c.Client(t, client.Dialer(c.Network().Dialer(outside))), "out", 1)
		<-time.After(3 * time.Second)
		n := c.Network()
		for _, h := range []string{host(0), host(2)} {
			n.Cut(clientHost, h)
		}
		before := w.Acknowledged("in")
		unplug(c, 1, 2500*time.Millisecond, host(0), host(2), zookeeperHost, outside)
		out := w.Acknowledged("out")
		unplug(c, 1, 20*time.Second, host(0), host(2), zookeeperHost, outside)
		if n := w.Acknowledged("in"); n > before+3 {
			t.Errorf("in the island, %d records were acknowledged", n-before)
		}
		if n := w.Acknowledged("out"); n < out+900 {
			t.Errorf("outside, %d records were acknowledged in 20 s", n-out)
		}
		for _, h := range []string{host(0), host(2)} {
			n.Heal(clientHost, h)
		}
		o.awaitISR(events, 0, 1, 2)
		<-time.After(3 * time.Second)
		w.flawless(cl)
		settled(t, c, events, 0, 1, 2)
	})
}

// TestKillsThatChaseTheLeaderAndTheController kills whoever leads, then whoever is controller, as soon as the last victim is in sync again.
func TestKillsThatChaseTheLeaderAndTheController(t *testing.T) {
	runAll(t, map[string]row{"ten times": {nil, func(t *testing.T, c *Cluster, o *observer) {
		for i := range 10 {
			victim := int(o.state(events).Leader)
			if i%2 == 1 {
				victim = theController(c, 3)
			}
			c.Kill(t, victim)
			o.awaitISR(events, without(byThree, victim)...)
			<-time.After(time.Second)
			again(t, c, victim)
			o.awaitISR(events, 0, 1, 2)
		}
	}, 3 * time.Second}})
}
