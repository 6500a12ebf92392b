// Package brokertest runs brokers and an embedded ZooKeeper in one process, on memory disks and a memory network: no ports, no files, ready in
// milliseconds. It is what Ottla's own tests use, and it is for the tests of programs that talk to Ottla:
//
//	func TestMyService(t *testing.T) {
//		c := brokertest.Start(t, brokertest.Options{})
//		cl := c.Client(t)
//		…
//	}
//
// Inside a testing/synctest bubble all timeouts follow virtual time. Every broker can be stopped, killed as by kill -9, cut from power, and
// started again on what its disk then holds; the network between any two hosts can be cut and slowed. Hosts are named "broker-0",
// "broker-1", …, "zookeeper" and "client".
//
// A Cluster is safe for concurrent use, except that the life of one broker (Stop, Kill, PowerCut, Restart) belongs to one goroutine at a time.
package brokertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/embedded"
)

const (
	zookeeperHost = "zookeeper"
	zookeeperAddr = zookeeperHost + ":2181"
	clientHost    = "client"
	brokerPort    = "9092"
	// patience bounds every start and stop.
	patience = 30 * time.Second
)

// Options says what to start. The zero value is one broker with Kafka's defaults.
type Options struct {
	// Brokers is the number of brokers, with ids from 0; 0 means 1.
	Brokers int
	// Settings are broker settings, as in server.properties; they go over the test cluster's own.
	Settings map[string]string
	// BrokerSettings returns what goes over Settings for one broker; nil means nothing.
	BrokerSettings func(id int) map[string]string
	// Logger is where everything logs to; nil means nowhere.
	Logger hclog.Logger
}

// Cluster is a running cluster. Use [Start].
type Cluster struct {
	net      *memnet.Network
	settings map[string]string
	each     func(id int) map[string]string
	logger   hclog.Logger

	zkDisk *vfs.Mem
	zk     *embedded.Server
	nodes  []*node
}

// node is one broker's machine: its disk, and the broker that runs on it, if any.
type node struct {
	id    int
	disk  *vfs.Mem
	fault atomic.Pointer[vfs.Injector] // nil for none
	ahead atomic.Int64                 // by how much its wall clock is ahead, in nanoseconds

	mu     sync.Mutex
	broker *broker.Broker // nil while it is down; guarded by mu
}

// Start starts ZooKeeper and the brokers, and stops everything when the test ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{net: memnet.New(), settings: o.Settings, each: o.BrokerSettings, logger: o.Logger, zkDisk: vfs.NewMem()}
	if c.logger == nil {
		c.logger = hclog.NewNullLogger()
	}
	t.Cleanup(func() { c.close(t) })
	c.startZooKeeper(t)
	for i := range max(o.Brokers, 1) {
		c.nodes = append(c.nodes, &node{id: i, disk: vfs.NewMem()})
		c.Restart(t, i)
	}
	c.assemble(t)
	return c
}

// assemble waits until every broker knows all of them, so that whoever is asked first can place topics on all.
func (c *Cluster) assemble(t testing.TB) {
	t.Helper()
	if len(c.nodes) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range c.nodes {
		if err := c.awaitAll(ctx, n.id); err != nil {
			t.Fatalf("broker %d does not know all brokers: %v", n.id, err)
		}
	}
}

// awaitAll waits until a broker knows all brokers.
func (c *Cluster) awaitAll(ctx context.Context, id int) error {
	conn, err := dial.Connect(net.JoinHostPort(host(id), brokerPort), dial.ClientOptions{Dial: c.Dialer()})
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		res, err := ottlapb.NewMetadataServiceClient(conn).DescribeCluster(ctx, &ottlapb.DescribeClusterRequest{})
		if err != nil {
			return err
		}
		if len(res.GetBrokers()) == len(c.nodes) {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Cluster) startZooKeeper(t testing.TB) {
	t.Helper()
	l, err := c.net.Listen(zookeeperAddr)
	if err != nil {
		t.Fatal(err)
	}
	c.zk, err = embedded.Start(embedded.Config{DataDir: "/zookeeper", FS: c.zkDisk, Listener: l, MaxClientCnxns: -1, Logger: c.logger.Named("zookeeper")})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) close(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if n.running() != nil {
			c.Stop(t, n.id)
		}
	}
	if c.zk != nil {
		if err := c.zk.Close(); err != nil {
			t.Errorf("stop ZooKeeper: %v", err)
		}
	}
}

// Inject implements vfs.Injector: what [Cluster.DiskFault] has asked for.
func (n *node) Inject(c vfs.Call) vfs.Fault {
	if in := n.fault.Load(); in != nil {
		return (*in).Inject(c)
	}
	return vfs.Fault{}
}

// now is the machine's wall clock.
func (n *node) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

func (n *node) running() *broker.Broker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.broker
}

func (n *node) set(b *broker.Broker) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broker = b
}

func host(id int) string { return fmt.Sprintf("broker-%d", id) }

// Bootstrap returns the addresses of all brokers, as --bootstrap-server takes them.
func (c *Cluster) Bootstrap() string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, net.JoinHostPort(host(n.id), brokerPort))
	}
	return strings.Join(addrs, ",")
}

// Dialer returns what connects from the host "client" to the cluster.
func (c *Cluster) Dialer() dial.Dialer { return c.net.Dialer(clientHost) }

// Network returns the network, for faults.
func (c *Cluster) Network() *memnet.Network { return c.net }

// Disk returns the disk of a broker, for looking at and for damaging while the broker is down.
func (c *Cluster) Disk(id int) *vfs.Mem { return c.nodes[id].disk }

// DiskFault lets in decide about every operation on a broker's disk from now on, also after a restart; nil ends that.
func (c *Cluster) DiskFault(id int, in vfs.Injector) {
	if in == nil {
		c.nodes[id].fault.Store(nil)
		return
	}
	c.nodes[id].fault.Store(&in)
}

// SetClock sets the wall clock of a broker's machine ahead of the others', or behind them if d is negative, also while the broker is down. Timeouts and
// intervals do not change.
func (c *Cluster) SetClock(id int, d time.Duration) { c.nodes[id].ahead.Store(int64(d)) }

// NewDisk gives a broker that is down an empty disk.
func (c *Cluster) NewDisk(id int) { c.nodes[id].disk = vfs.NewMem() }

// Broker returns a broker, nil while it is down.
func (c *Cluster) Broker(id int) *broker.Broker { return c.nodes[id].running() }

// Client returns a client of the cluster on the host "client", or on the one that [client.Dialer] says. It is closed when the test ends.
func (c *Cluster) Client(t testing.TB, opts ...client.Option) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl, err := client.Dial(ctx, c.Bootstrap(), append([]client.Option{client.Dialer(c.Dialer())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cl.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return cl
}

// Restart starts a broker that is down, on what its disk holds, and waits until it answers.
func (c *Cluster) Restart(t testing.TB, id int) {
	t.Helper()
	if err := c.TryRestart(id); err != nil {
		t.Fatalf("start broker %d: %v", id, err)
	}
}

// Add starts one more broker, on an empty disk, and waits until all know it. It returns its id.
func (c *Cluster) Add(t testing.TB) int {
	t.Helper()
	id := len(c.nodes)
	c.nodes = append(c.nodes, &node{id: id, disk: vfs.NewMem()})
	c.Restart(t, id)
	c.assemble(t)
	return id
}

// TryRestart is Restart for brokers that may refuse to start.
func (c *Cluster) TryRestart(id int) error { return c.start(c.nodes[id], nil) }

// start starts a broker on a node; extra goes over all other settings.
func (c *Cluster) start(n *node, extra config.Properties) error {
	given := config.Properties{
		"broker.id":         strconv.Itoa(n.id),
		"zookeeper.connect": zookeeperAddr,
		"listeners":         "PLAINTEXT://" + net.JoinHostPort(host(n.id), brokerPort),
		"log.dirs":          "/logs",
	}
	maps.Copy(given, c.settings)
	if c.each != nil {
		maps.Copy(given, c.each(n.id))
	}
	maps.Copy(given, extra)
	settings, _, err := config.NewServer(given)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	from := c.net.Dialer(host(n.id))
	b, err := broker.Start(ctx, broker.Config{
		Settings:      settings,
		FS:            vfs.Inject(n.disk, n),
		Listen:        c.net.Listen,
		Dial:          from,
		DialZooKeeper: zkDialer(from),
		Now:           n.now,
		HostName:      host(n.id),
		Logger:        c.logger.Named(host(n.id)),
	})
	if err != nil {
		return err
	}
	n.set(b)
	return nil
}

func zkDialer(d dial.Dialer) zk.Dialer {
	return func(ctx context.Context, _, addr string) (net.Conn, error) { return d(ctx, addr) }
}

// Stop stops a broker in order, as SIGTERM does.
func (c *Cluster) Stop(t testing.TB, id int) {
	t.Helper()
	b := c.nodes[id].running()
	c.nodes[id].set(nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("stop broker %d: %v", id, err)
	}
}

// Kill ends a broker as kill -9 does: its connections break, and its disk keeps everything that was written, synced or not.
func (c *Cluster) Kill(t testing.TB, id int) {
	t.Helper()
	c.end(id, vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
}

// PowerCut ends a broker as a power cut does: what was not synced is kept or lost as the options say.
func (c *Cluster) PowerCut(t testing.TB, id int, o vfs.CrashOptions) {
	t.Helper()
	c.end(id, o)
}

// end takes the broker's network away, and then its disk: what it acknowledged before is on the disk that is kept, as far as the options say, and nothing
// that its goroutines still do until they end can reach anybody.
func (c *Cluster) end(id int, o vfs.CrashOptions) {
	n := c.nodes[id]
	dead, old := n.running(), n.disk
	c.net.Kill(host(id))
	c.net.Cut(host(id), zookeeperHost)
	n.disk = old.CrashClone(o)
	old.Kill()
	n.set(nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = dead.Close(ctx) // it fails to write and to say goodbye, as it should
	c.net.Heal(host(id), zookeeperHost)
	c.net.Reset(host(id), zookeeperHost)
}

// StopZooKeeper kills the ZooKeeper server; StartZooKeeper starts it again on its disk.
func (c *Cluster) StopZooKeeper(t testing.TB) {
	t.Helper()
	c.net.Kill(zookeeperHost)
	if err := c.zk.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("stop ZooKeeper: %v", err)
	}
	c.zk = nil
}

// StartZooKeeper starts ZooKeeper again after StopZooKeeper.
func (c *Cluster) StartZooKeeper(t testing.TB) {
	t.Helper()
	c.startZooKeeper(t)
}
