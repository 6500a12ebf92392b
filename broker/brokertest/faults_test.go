package brokertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// look opens a ZooKeeper session of the test's own.
func look(t *testing.T, c *Cluster) *zk.Session {
	t.Helper()
	dial := c.Network().Dialer("observer")
	cl, err := zk.Open(t.Context(), zk.Config{Connect: zookeeperAddr, Dial: zkDialer(dial)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cl.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return cl.Session()
}

func registered(t *testing.T, s *zk.Session, id cluster.BrokerID) (znode.Broker, zk.Stat, bool) {
	t.Helper()
	data, stat, err := s.Get(t.Context(), znode.BrokerPath(id))
	if err != nil {
		return znode.Broker{}, stat, false
	}
	b, err := znode.DecodeBroker(znode.BrokerPath(id), data)
	if err != nil {
		t.Fatal(err)
	}
	return b, stat, true
}

func epochs(t *testing.T, s *zk.Session) (controller cluster.ControllerEpoch, broker int64) {
	t.Helper()
	e, _, err := store.New(s, store.NewOwnSessions()).ControllerEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, stat, ok := registered(t, s, 0)
	if !ok {
		t.Fatal("broker 0 is not registered")
	}
	return e, stat.Czxid
}

func TestAKilledBrokerIsBackBeforeItsSessionWouldHaveExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		send(t, cl, "events", "a", 500)
		before := time.Now()
		c.Kill(t, 0)
		c.Restart(t, 0)
		if d := time.Since(before); d > 2*time.Second {
			t.Errorf("back after %v", d)
		}
		send(t, cl, "events", "b", 500)
		wantRecords(t, readAll(t, cl, "events"), append(numbered("a", 500), numbered("b", 500)...)...)
	})
}

// TestPowerCutsLoseNothingThatWasPromised cuts the power of a broker while a producer runs. With flush.messages=1 an ack means "on
// disk": everything acknowledged must be there. Without it, the log must still be a prefix of what was sent.
func TestPowerCutsLoseNothingThatWasPromised(t *testing.T) {
	for seed := range int64(6) {
		for _, flush := range []bool{true, false} {
			t.Run(fmt.Sprintf("seed %d, flush.messages=1 %v", seed, flush), func(t *testing.T) {
				bubble(t, func(t *testing.T) { powerCut(t, seed, flush) })
			})
		}
	}
}

func powerCut(t *testing.T, seed int64, flush bool) {
	c := Start(t, Options{})
	cl := c.Client(t)
	configs := map[string]string{"segment.bytes": "4096", "index.interval.bytes": "100"}
	if flush {
		configs["flush.messages"] = "1"
	}
	createTopic(t, cl, "events", 1, configs)
	p, err := producer.New(cl, producer.Retries(0), producer.BatchSize(200))
	if err != nil {
		t.Fatal(err)
	}
	acked := make(chan int, 10_000)
	failed := make(chan struct{}, 10_000)
	sent := 0
	for ; sent < 400+int(seed)*37; sent++ {
		if err := p.SendAsync(t.Context(), producer.Record{Topic: "events", Value: fmt.Appendf(nil, "r%d", sent)}, func(r producer.Result, err error) {
			if err != nil {
				failed <- struct{}{}
				return
			}
			acked <- int(r.Offset)
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 + int(seed)*13 {
		select {
		case <-acked:
		case <-failed:
			t.Fatal("a record failed before the power was cut")
		}
	}
	c.PowerCut(t, 0, vfs.CrashOptions{Seed: uint64(seed), Data: vfs.KeepRandom, Names: vfs.KeepRandom})
	p.Close(t.Context())
	close(acked)
	top := 199 + int(seed)*13
	for o := range acked {
		top = max(top, o)
	}
	c.Restart(t, 0)
	got := readAll(t, c.Client(t), "events")
	wantRecords(t, got, numbered("r", sent)[:len(got)]...)
	if flush && len(got) <= top {
		t.Fatalf("offset %d was acknowledged as on disk, and the log ends at %d", top, len(got))
	}
}

func TestABrokerOutlivesItsZooKeeperSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		send(t, cl, "events", "a", 10)
		s := look(t, c)
		controllerBefore, brokerBefore := epochs(t, s)
		c.Network().Cut("broker-0", zookeeperHost)
		send(t, cl, "events", "b", 10) // it goes on serving
		<-time.After(time.Minute)
		if _, _, ok := registered(t, s, 0); ok {
			t.Fatal("the registration outlived the session")
		}
		c.Network().Heal("broker-0", zookeeperHost)
		for ok := false; !ok; _, _, ok = registered(t, s, 0) {
			<-time.After(time.Second)
		}
		createTopic(t, cl, "later", 1, nil)
		controllerAfter, brokerAfter := epochs(t, s)
		if controllerAfter <= controllerBefore || brokerAfter <= brokerBefore {
			t.Errorf("controller epoch %d → %d, broker epoch %d → %d: both must grow", controllerBefore, controllerAfter, brokerBefore, brokerAfter)
		}
		send(t, cl, "events", "c", 10)
		wantRecords(t, readAll(t, cl, "events"), append(append(numbered("a", 10), numbered("b", 10)...), numbered("c", 10)...)...)
	})
}

func TestARestartOfZooKeeperGoesUnnoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		s := look(t, c)
		controllerBefore, brokerBefore := epochs(t, s)
		c.StopZooKeeper(t)
		send(t, cl, "events", "a", 10)
		c.StartZooKeeper(t)
		createTopic(t, cl, "later", 1, nil)
		controllerAfter, brokerAfter := epochs(t, look(t, c))
		if controllerAfter != controllerBefore || brokerAfter != brokerBefore {
			t.Errorf("controller epoch %d → %d, broker epoch %d → %d: the session was not kept", controllerBefore, controllerAfter, brokerBefore, brokerAfter)
		}
		wantRecords(t, readAll(t, cl, "events"), numbered("a", 10)...)
	})
}

func TestTheRegistrationIsKafkas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"broker.rack": "r1"}})
		s := look(t, c)
		b, stat, ok := registered(t, s, 0)
		if !ok || stat.EphemeralOwner == 0 {
			t.Fatalf("registered %v, owner %x", ok, stat.EphemeralOwner)
		}
		want := cluster.Endpoint{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "broker-0", Port: 9092}
		if len(b.Endpoints) != 1 || b.Endpoints[0] != want || b.Rack != "r1" {
			t.Fatalf("registered as %+v", b)
		}
		for _, p := range []string{"/consumers", "/brokers/ids", "/brokers/topics", "/config/changes", "/admin/delete_topics", "/brokers/seqid", "/isr_change_notification",
			"/latest_producer_id_block", "/log_dir_event_notification", "/config/topics", "/config/clients", "/config/users", "/config/brokers", "/config/ips", "/cluster/id", "/controller", "/controller_epoch"} {
			if _, ok, err := s.Exists(t.Context(), p); err != nil || !ok {
				t.Errorf("%s: %v, %v", p, ok, err)
			}
		}
		createTopic(t, c.Client(t), "events", 2, map[string]string{"retention.ms": "1000"})
		for path, want := range map[string]string{
			"/brokers/topics/events/partitions/1/state": `{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]}`,
			"/config/topics/events":                     `{"version":1,"config":{"retention.ms":"1000"}}`,
			"/controller_epoch":                         `1`,
		} {
			data, _, err := s.Get(t.Context(), path)
			if err != nil || len(data) != len(want) {
				t.Errorf("%s holds %s, %v; want the like of %s", path, data, err, want)
			}
		}
	})
}

// TestARegistrationThatIsDeletedByHandComesBack deletes a broker's registration under its feet. Nobody else can do its work.
func TestARegistrationThatIsDeletedByHandComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 2})
		cl := c.Client(t)
		replicated(t, cl, nil, 1)
		acked(t, cl, "a", 20)
		s := look(t, c)
		for _, id := range []cluster.BrokerID{1, 0} { // 0 is the controller
			_, before, _ := registered(t, s, id)
			if err := s.Delete(t.Context(), znode.BrokerPath(id), zk.AnyVersion); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
			if _, after, ok := registered(t, s, id); !ok || after.Czxid <= before.Czxid || after.EphemeralOwner != before.EphemeralOwner {
				t.Errorf("broker %d: registered %v, %+v after %+v", id, ok, after, before)
			}
			acked(t, cl, fmt.Sprint("b", id), 20)
		}
		if !c.Broker(0).IsController() {
			t.Error("the controller is another one")
		}
	})
}

func TestTwoBrokersOneControllerAndTheOtherTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 2, Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		if !c.Broker(0).IsController() || c.Broker(1).IsController() {
			t.Fatal("the first broker is not the controller, or the second is")
		}
		cl := c.Client(t)
		createTopic(t, cl, "events", 4, nil)
		c.Kill(t, 0)
		for !c.Broker(1).IsController() {
			<-time.After(time.Second)
		}
		createTopic(t, cl, "later", 1, nil)
		if e, _, err := store.New(look(t, c), store.NewOwnSessions()).ControllerEpoch(t.Context()); err != nil || e != 2 {
			t.Errorf("controller epoch %d, %v; want 2", e, err)
		}
	})
}

// TestZooKeeperIsRestoredFromABackup writes an old partition state back. The leader's log is of a later leader epoch then; what it holds and what it takes
// afterwards must outlive a power cut all the same.
func TestZooKeeperIsRestoredFromABackup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		const path = "/brokers/topics/events/partitions/0/state"
		backup, _, err := look(t, c).Get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		want := numbered("a", 50)
		send(t, cl, "events", "a", 50)
		for _, prefix := range []string{"b", "c", "d", "e", "f"} {
			c.Kill(t, 0)
			c.Restart(t, 0)
			send(t, cl, "events", prefix, 50)
			want = append(want, numbered(prefix, 50)...)
		}
		c.Stop(t, 0)
		if _, err := look(t, c).Set(t.Context(), path, backup, zk.AnyVersion); err != nil {
			t.Fatal(err)
		}
		c.Restart(t, 0)
		send(t, cl, "events", "g", 50)
		want = append(want, numbered("g", 50)...)
		c.Kill(t, 0)
		c.Restart(t, 0)
		wantRecords(t, readAll(t, cl, "events"), want...)
		send(t, cl, "events", "h", 50)
		wantRecords(t, readAll(t, cl, "events"), append(want, numbered("h", 50)...)...)
	})
}

// TestStartsThatMustFail wants one clear line for each.
func TestStartsThatMustFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		start := func(settings config.Properties) error {
			n := &node{id: 1, disk: vfs.NewMem()}
			return c.start(n, settings)
		}
		for name, tc := range map[string]struct {
			settings config.Properties
			want     string
		}{
			"the id of a live broker":      {config.Properties{"broker.id": "0"}, "0"},
			"the address of a live broker": {config.Properties{"advertised.listeners": "PLAINTEXT://broker-0:9092"}, "broker-0:9092"},
			"no ZooKeeper there":           {config.Properties{"zookeeper.connect": "nowhere:1", "zookeeper.connection.timeout.ms": "3000"}, "connect to ZooKeeper at nowhere:1"},
			"a taken port":                 {config.Properties{"listeners": "PLAINTEXT://broker-0:9092"}, "the port is taken"},
		} {
			err := start(tc.settings)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		n := c.nodes[0]
		if err := c.start(&node{id: 1, disk: n.disk}, nil); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("log directories of a live broker: %v", err)
		}
		c.Stop(t, 0)
		if err := c.start(&node{id: 1, disk: n.disk}, nil); err == nil || !strings.Contains(err.Error(), "does not match") {
			t.Errorf("log directories of another broker: %v", err)
		}
		if err := c.start(&node{id: 0, disk: n.disk}, config.Properties{"zookeeper.connect": zookeeperAddr + "/other"}); err == nil || !strings.Contains(err.Error(), "wrong cluster") {
			t.Errorf("another cluster: %v", err)
		}
	})
}

// TestABrokerThatStopsWithoutZooKeeperIsBackAtOnce stops a broker that cannot say farewell to ZooKeeper, which keeps the session for a while. The next
// process ends it, as after a crash.
func TestABrokerThatStopsWithoutZooKeeperIsBackAtOnce(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in the session's time": 0, "after it, by the broker's own clock": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "18000"}})
				c.Network().Cut(host(0), zookeeperHost)
				<-time.After(wait)
				c.Stop(t, 0)
				c.Network().Heal(host(0), zookeeperHost)
				if err := c.TryRestart(0); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
