package controller

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// real is a ZooKeeper server in memory with brokers on it, of which only the controllers are real.
type real struct {
	t       *testing.T
	net     *memnet.Network
	server  *embedded.Server
	d       *delivery
	members map[cluster.BrokerID]*member
}

// member is one broker: its ZooKeeper client and its controller.
type member struct {
	client     *zk.Client
	controller *Controller
	store      *store.Store
	remove     func()
}

// withZooKeeper runs a test with brokers 1 to n.
func withZooKeeper(t *testing.T, n int, test func(r *real)) {
	synctest.Test(t, func(t *testing.T) {
		r := &real{t: t, net: memnet.New(), d: &delivery{caches: map[cluster.BrokerID]*metadata.Cache{}}, members: map[cluster.BrokerID]*member{}}
		l, err := r.net.Listen("zk:2181")
		r.must(err)
		r.server, err = embedded.Start(embedded.Config{DataDir: "/zk", FS: vfs.NewMem(), Listener: l, MaxClientCnxns: -1})
		r.must(err)
		defer func() {
			for id := range r.members {
				r.stop(id)
			}
			r.must(r.server.Close())
		}()
		for id := cluster.BrokerID(1); id <= cluster.BrokerID(n); id++ {
			r.start(id)
			r.settle() // so that 1 is elected
		}
		test(r)
	})
}

func (r *real) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// settle lets virtual time pass until everything that is under way has happened.
func (r *real) settle() {
	<-time.After(3 * time.Second)
	synctest.Wait()
}

// start starts a broker, as the composition does: register in each session, then tell the controller.
func (r *real) start(id cluster.BrokerID) {
	r.t.Helper()
	dial := r.net.Dialer(fmt.Sprint("broker-", id))
	client, err := zk.Open(r.t.Context(), zk.Config{
		Connect: "zk:2181/kafka", CreateChroot: true, SessionTimeout: 6 * time.Second,
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
	})
	r.must(err)
	r.d.mu.Lock()
	r.d.caches[id] = metadata.NewCache()
	cache := r.d.caches[id]
	r.d.mu.Unlock()
	m := &member{client: client, controller: New(Config{
		BrokerID: id, Metadata: cache, InterBrokerListener: "PLAINTEXT", DeleteTopics: true, Channels: r.d.channels, Random: func(int) int { return 0 },
	})}
	own := store.NewOwnSessions()
	enter := func(s *zk.Session) {
		m.store = store.New(s, own)
		if err := m.store.CreatePersistentPaths(context.Background()); err != nil {
			r.t.Error(err)
		}
		endpoints := []cluster.Endpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: fmt.Sprint("h", id), Port: 9092}}
		if _, err := m.store.RegisterBroker(context.Background(), id, znode.Broker{Endpoints: endpoints, JMXPort: -1}); err != nil {
			r.t.Error(err)
		}
		m.controller.NewSession(s, m.store)
	}
	session, remove := client.OnSession(zk.Hooks{Expired: func(*zk.Session) { m.controller.SessionExpired() }, New: enter})
	m.remove = remove
	enter(session)
	r.members[id] = m
}

// stop stops a broker in order.
func (r *real) stop(id cluster.BrokerID) {
	r.t.Helper()
	m := r.members[id]
	delete(r.members, id)
	m.remove()
	r.must(m.controller.Close(context.Background()))
	r.must(m.client.Close(context.Background()))
}

// controllers returns the brokers that believe to be controller.
func (r *real) controllers() []cluster.BrokerID {
	var out []cluster.BrokerID
	for id, m := range r.members {
		if m.controller.IsActive() {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (r *real) equal(what string, got, want any) {
	r.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		r.t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// states reads the states of a topic's partitions, short: leader/epoch/isr/controller epoch.
func (r *real) states(id cluster.BrokerID, topic string, n int32) []string {
	r.t.Helper()
	var tps []cluster.TopicPartition
	for index := range n {
		tps = append(tps, cluster.TopicPartition{Topic: topic, Partition: index})
	}
	got, err := r.members[id].store.PartitionStates(context.Background(), tps)
	r.must(err)
	var out []string
	for _, tp := range tps {
		if s, ok := got[tp]; ok {
			out = append(out, fmt.Sprintf("%d/%d/%v/%d", s.Leader, s.LeaderEpoch, s.ISR, s.ControllerEpoch))
		}
	}
	return out
}

func TestOnZooKeeperTopicsLiveAndDie(t *testing.T) {
	withZooKeeper(t, 3, func(r *real) {
		r.equal("controllers", r.controllers(), []cluster.BrokerID{1})
		c := r.members[1].controller
		got := c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 3, ReplicationFactor: 2, Configs: map[string]string{"retention.ms": "1"}}}, time.Minute, false)
		r.equal("outcome", outcomes(got), []string{"a: 3 x 2 id=true"})
		r.equal("states", r.states(2, "a", 3), []string{"1/0/[1 2]/1", "2/0/[2 3]/1", "3/0/[3 1]/1"})
		r.equal("exists", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: TOPIC_ALREADY_EXISTS: Topic 'a' already exists."})

		// Another broker asks for a topic by writing its nodes.
		r.must(r.members[3].controller.AutoCreateTopic(ctx, auto("b")))
		r.settle()
		r.equal("states", r.states(2, "b", 1), []string{"1/0/[1]/1"})

		// Somebody adds a partition by hand.
		info, err := r.members[3].store.ReadTopics(ctx, nil, []string{"b"})
		r.must(err)
		topic := info["b"].Topic
		topic.Replicas[1] = []cluster.BrokerID{3, 2}
		_, err = r.members[3].client.Session().Set(ctx, znode.TopicPath("b"), topic.Encode(), zk.AnyVersion)
		r.must(err)
		r.settle()
		r.equal("states", r.states(2, "b", 2), []string{"1/0/[1]/1", "3/0/[3 2]/1"})

		r.equal("outcome", outcomes(c.DeleteTopics(ctx, []string{"a", "b"}, time.Minute)), []string{"a: -1 x -1 id=false", "b: -1 x -1 id=false"})
		r.settle()
		names, err := r.members[2].store.Topics(ctx, nil)
		r.must(err)
		r.equal("topics", len(names), 0)
		pending, err := r.members[2].store.PendingDeletions(ctx, nil)
		r.must(err)
		r.equal("pending", len(pending), 0)
		config, err := r.members[2].store.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: "a"})
		r.must(err)
		r.equal("config", len(config), 0)
	})
}

func TestOnZooKeeperTheControllerStopsAndComesBack(t *testing.T) {
	withZooKeeper(t, 3, func(r *real) {
		r.members[1].controller.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 2, ReplicationFactor: 3}}, time.Minute, false)
		r.stop(1)
		r.settle()
		active := r.controllers()
		if len(active) != 1 {
			t.Fatalf("controllers: %v", active)
		}
		r.equal("states", r.states(2, "a", 2), []string{"2/2/[2 3]/2", "2/1/[2 3]/2"})
		r.start(1)
		r.settle()
		r.equal("controllers", r.controllers(), active)
		r.equal("active id at 1", r.members[1].controller.ActiveID(), active[0])
		img := r.d.caches[1].Image()
		r.equal("brokers in metadata of 1", len(img.Brokers()), 3)
		r.equal("partitions in metadata of 1", img.PartitionCount(), 2)
	})
}

func TestOnZooKeeperTheControllerLosesItsConnection(t *testing.T) {
	withZooKeeper(t, 3, func(r *real) {
		r.members[1].controller.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 3}}, time.Minute, false)

		// A short cut: the session lives on, and what changed meanwhile is found.
		r.net.Cut("broker-1", "zk")
		<-time.After(2 * time.Second)
		r.must(r.members[2].controller.AutoCreateTopic(ctx, auto("b")))
		<-time.After(time.Second)
		r.equal("controllers", r.controllers(), []cluster.BrokerID{1})
		r.net.Heal("broker-1", "zk")
		r.net.Reset("broker-1", "zk")
		r.settle()
		r.equal("controllers", r.controllers(), []cluster.BrokerID{1})
		r.equal("states", r.states(2, "b", 1), []string{"1/0/[1]/1"})

		// A long one: the others go on without it, under a new epoch, and it knows by itself that it is over.
		r.net.Cut("broker-1", "zk")
		<-time.After(20 * time.Second)
		active := r.controllers()
		if len(active) != 1 || active[0] == 1 {
			t.Fatalf("controllers: %v", active)
		}
		r.equal("states", r.states(2, "a", 1), []string{"2/2/[2 3]/2"})
		r.net.Heal("broker-1", "zk")
		<-time.After(20 * time.Second)
		r.equal("controllers", r.controllers(), active)
		r.equal("active id at 1", r.members[1].controller.ActiveID(), active[0])
		r.equal("brokers", r.members[active[0]].controller.Stats().Counts.Brokers, 3)
	})
}

func TestOnZooKeeperBadNodesDoNotStopTheController(t *testing.T) {
	withZooKeeper(t, 2, func(r *real) {
		s := r.members[2].client.Session()
		r.must(s.CreateAll(ctx, znode.TopicPath("garbage"), []byte("{")))
		r.must(s.CreateAll(ctx, znode.DeleteTopicPath("nothing"), nil))
		r.settle()
		c := r.members[1].controller
		r.equal("outcome", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: 1 x 1 id=true"})
		_, there, err := s.Exists(ctx, znode.DeleteTopicPath("nothing"))
		r.must(err)
		r.equal("marker of a topic that does not exist", there, false)

		// A topic without id, as an old tool writes it, gets one. A failover reads the same mess.
		r.must(s.CreateAll(ctx, znode.TopicPath("old"), []byte(`{"version":1,"partitions":{"0":[2]}}`)))
		r.settle()
		info, err := r.members[2].store.ReadTopics(ctx, nil, []string{"old"})
		r.must(err)
		r.equal("has an id", info["old"].ID.IsZero(), false)
		r.stop(1)
		r.settle()
		r.equal("controllers", r.controllers(), []cluster.BrokerID{2})
		r.equal("states", r.states(2, "old", 1), []string{"2/0/[2]/1"})
	})
}

func TestOnZooKeeperConflictsAreResolved(t *testing.T) {
	withZooKeeper(t, 3, func(r *real) {
		r.members[1].controller.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 3}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		// The leader changes the ISR itself, as with an old inter.broker.protocol.version.
		_, err := r.members[1].store.SetState(ctx, store.StateWrite{Partition: tp, State: znode.PartitionState{
			ControllerEpoch: 1, Leader: 1, ISR: []cluster.BrokerID{1, 3},
		}})
		r.must(err)
		r.stop(3)
		r.settle()
		r.equal("states", r.states(2, "a", 1), []string{"1/1/[1]/1"})
		info := r.d.log[len(r.d.log)-1]
		if m, ok := info.Body.(*state.MetadataRequest); !ok || len(m.Brokers) != 2 {
			t.Fatalf("the last order is %s", info.Body)
		}
	})
}

// A broker that restarts while nobody is controller may have lost records: it must not go on in the epoch in which it led before.
func TestOnZooKeeperARestartWithoutControllerIsNoticed(t *testing.T) {
	withZooKeeper(t, 1, func(r *real) {
		r.members[1].controller.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 1}}, time.Minute, false)
		r.equal("states", r.states(1, "a", 1), []string{"1/0/[1]/1"})
		r.stop(1)
		r.settle()
		r.start(1)
		r.settle()
		r.equal("states", r.states(1, "a", 1), []string{"1/1/[1]/2"})
	})
}
