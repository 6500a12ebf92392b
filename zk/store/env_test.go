package store

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/zktest/apachezk"
	"github.com/ottla/ottla/zk/znode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs a test against the embedded server and against Apache ZooKeeper.
func onBoth(t *testing.T, test func(t *testing.T, e *env)) {
	t.Run("embedded", func(t *testing.T) { test(t, &env{addr: startEmbedded(t)}) })
	t.Run("apache", func(t *testing.T) { test(t, &env{addr: apachezk.Start(t)}) })
}

// startEmbedded starts an embedded server on a disk in memory.
func startEmbedded(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := embedded.Start(embedded.Config{DataDir: "/zk", FS: vfs.NewMem(), Listener: l, TickTime: 100 * time.Millisecond, MaxSessionTimeout: time.Minute, MaxClientCnxns: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// sessionTimeout is long enough for a machine that is busy with other tests.
const sessionTimeout = 20 * time.Second

// env is one server.
type env struct {
	addr   string
	spaces atomic.Int64
}

// chroot returns a place in the tree that nobody has used.
func (e *env) chroot() string { return fmt.Sprintf("%s/t%d", e.addr, e.spaces.Add(1)) }

// client opens a client for the length of the test.
func (e *env) client(t testing.TB, connect string) *zk.Client {
	t.Helper()
	c, err := zk.Open(t.Context(), zk.Config{Connect: connect, SessionTimeout: sessionTimeout, CreateChroot: true, MaxInFlight: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// store opens a session of its own at a place and makes the persistent nodes.
func (e *env) store(t testing.TB, connect string) *Store {
	t.Helper()
	st := New(e.client(t, connect).Session(), nil)
	if err := st.CreatePersistentPaths(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// broker returns a registration.
func broker(port int32) znode.Broker {
	return znode.Broker{
		Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "h", Port: port}}, JMXPort: -1,
	}
}

// state returns a partition state.
func state(leader cluster.BrokerID, epoch cluster.LeaderEpoch) znode.PartitionState {
	return znode.PartitionState{Leader: leader, LeaderEpoch: epoch, ISR: []cluster.BrokerID{leader}}
}

// topicOf returns an assignment to broker 1.
func topicOf(partitions int) znode.Topic {
	t := znode.Topic{ID: cluster.NewTopicID(), Replicas: map[int32][]cluster.BrokerID{}}
	for p := range partitions {
		t.Replicas[int32(p)] = []cluster.BrokerID{1}
	}
	return t
}

// tps returns the first partitions of a topic.
func tps(topic string, n int) []cluster.TopicPartition {
	list := make([]cluster.TopicPartition, n)
	for p := range list {
		list[p] = cluster.TopicPartition{Topic: topic, Partition: int32(p)}
	}
	return list
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// elect makes a broker controller.
func elect(t testing.TB, st *Store, id cluster.BrokerID) *FencedTx {
	t.Helper()
	tx, _, err := st.Elect(t.Context(), id, 1)
	must(t, err)
	if tx == nil {
		t.Fatal("somebody else is controller")
	}
	return tx
}

// fault is what happens to one write.
type fault int

const (
	lostRequest fault = iota // it never arrives
	lostReply                // it is applied, the answer is lost
	expiry                   // it is applied, the answer is lost, and the session is over
)

func (f fault) String() string {
	return [...]string{"lost request", "lost reply", "expiry"}[f]
}

// faulty lets one write of a session go wrong: the one with number at, counted from 0.
type faulty struct {
	*zk.Session
	addr string
	kind fault
	at   int

	mu   sync.Mutex
	seen int
}

// hit reports whether the fault has been met.
func (f *faulty) hit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen > f.at
}

// write counts a write and lets it go wrong if it is its turn.
func (f *faulty) write(ctx context.Context, op, path string, apply func() error) error {
	f.mu.Lock()
	mine := f.seen == f.at
	f.seen++
	f.mu.Unlock()
	if !mine {
		return apply()
	}
	lost := &zk.OpError{Op: op, Path: path, Class: zk.Ambiguous, Err: fmt.Errorf("connection reset")}
	if f.kind == lostRequest {
		return lost
	}
	_ = apply() // whatever the answer was
	if f.kind == expiry {
		err := zk.CloseSession(ctx, zk.Config{Connect: f.addr, SessionTimeout: sessionTimeout}, f.ID(), f.Password())
		if err != nil {
			panic(err)
		}
		<-f.Done()
		lost.Err = zk.ErrSessionExpired
	}
	return lost
}

func (f *faulty) Create(ctx context.Context, path string, data []byte, flags zk.Flags) (created string, err error) {
	err = f.write(ctx, "create", path, func() error {
		created, err = f.Session.Create(ctx, path, data, flags)
		return err
	})
	return created, err
}

func (f *faulty) Set(ctx context.Context, path string, data []byte, version int32) (stat zk.Stat, err error) {
	err = f.write(ctx, "set", path, func() error {
		stat, err = f.Session.Set(ctx, path, data, version)
		return err
	})
	return stat, err
}

func (f *faulty) Delete(ctx context.Context, path string, version int32) error {
	return f.write(ctx, "delete", path, func() error { return f.Session.Delete(ctx, path, version) })
}

func (f *faulty) Multi(ctx context.Context, ops ...zk.Op) (results []zk.Result, err error) {
	err = f.write(ctx, "multi", ops[0].Path(), func() error {
		results, err = f.Session.Multi(ctx, ops...)
		return err
	})
	return results, err
}
