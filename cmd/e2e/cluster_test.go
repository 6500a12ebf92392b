package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/zktest/apachezk"
	"github.com/ottla/ottla/zk/znode"
)

// subject is a server process that is killed, stopped, paused and started again on the same data, with its output in a file.
type subject struct {
	t       *testing.T
	name    string
	command []string
	out     *os.File

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// newSubject makes a process that is not started yet.
func newSubject(t *testing.T, dir, name string, command ...string) *subject {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	v := &subject{t: t, name: name, command: command, out: out}
	t.Cleanup(func() { v.send(syscall.SIGKILL); v.await(10 * time.Second); out.Close() })
	return v
}

// start starts the process if it does not run.
func (v *subject) start() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.runningLocked() {
		return
	}
	cmd := exec.Command(v.command[0], v.command[1:]...)
	cmd.Stdout, cmd.Stderr = v.out, v.out
	if err := cmd.Start(); err != nil {
		v.t.Fatalf("start %s: %v", v.name, err)
	}
	done := make(chan struct{})
	v.cmd, v.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
}

func (v *subject) runningLocked() bool {
	if v.cmd == nil {
		return false
	}
	select {
	case <-v.done:
		return false
	default:
		return true
	}
}

func (v *subject) running() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.runningLocked()
}

// send sends a signal if the process runs.
func (v *subject) send(s syscall.Signal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.runningLocked() {
		_ = v.cmd.Process.Signal(s) // it may have ended this moment
	}
}

// starve leaves a process that runs no more file descriptors than it has open, until undo.
func (v *subject) starve() (undo func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.runningLocked() {
		return func() {}, nil
	}
	pid := strconv.Itoa(v.cmd.Process.Pid)
	prlimit := func(args ...string) (string, error) {
		out, err := exec.Command("prlimit", append(args, "--pid", pid)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	before, err := prlimit("--nofile", "--output", "SOFT", "--noheadings")
	if err != nil {
		return nil, fmt.Errorf("prlimit: %w: %s", err, before)
	}
	open, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return nil, err
	}
	if out, err := prlimit(fmt.Sprintf("--nofile=%d:", len(open))); err != nil {
		return nil, fmt.Errorf("prlimit: %w: %s", err, out)
	}
	return func() { _, _ = prlimit("--nofile=" + before + ":") }, nil // it may have ended meanwhile
}

// await waits for the end of the process and returns its exit code, -1 after a signal.
func (v *subject) await(limit time.Duration) (code int, ok bool) {
	v.mu.Lock()
	cmd, done := v.cmd, v.done
	v.mu.Unlock()
	if cmd == nil {
		return 0, true
	}
	select {
	case <-done:
		return cmd.ProcessState.ExitCode(), true
	case <-time.After(limit):
		return 0, false
	}
}

// Run, Kill, Freeze and Thaw make a subject of ZooKeeper what apachezk.Server is.
func (v *subject) Run() error    { v.start(); return nil }
func (v *subject) Kill()         { v.send(syscall.SIGKILL); v.await(10 * time.Second) }
func (v *subject) Freeze() error { v.send(syscall.SIGSTOP); return nil }
func (v *subject) Thaw() error   { v.send(syscall.SIGCONT); return nil }

// zooKeeper is one server, the embedded one or Apache's.
type zooKeeper interface {
	Run() error
	Kill()
	Freeze() error
	Thaw() error
}

// tortured is a cluster of three brokers under torture.
type tortured struct {
	t         *testing.T
	dir       string
	lab       *lab      // nil when everything is on the loopback interface
	zookeeper zooKeeper // nil when it is an ensemble
	zkAddr    string
	brokers   []*subject // 0 is broker 1
	addrs     []string
	bin       string

	mu     sync.Mutex
	states map[cluster.TopicPartition]znode.PartitionState
	boss   cluster.BrokerID
	seenAt time.Time // when the older of them began to be read
}

// zookeeperNode is ZooKeeper's number in the lab; brokers have their ids.
const zookeeperNode = 4

// newCluster starts ZooKeeper and three brokers.
func newCluster(t *testing.T, dir string, l *lab, session time.Duration) *tortured {
	t.Helper()
	c := &tortured{t: t, dir: dir, lab: l, bin: ottla(t)}
	zkHost := c.host(zookeeperNode)
	if os.Getenv("OTTLA_TORTURE_ZOOKEEPER") == "apache" {
		var inside []string
		if l != nil {
			inside = l.inside(zookeeperNode)
		}
		s := apachezk.StartServerAt(t, zkHost, inside...)
		c.zookeeper, c.zkAddr = s, s.Addr()
	} else {
		c.zkAddr = net.JoinHostPort(zkHost, c.port(2181))
		_, port, err := net.SplitHostPort(c.zkAddr)
		if err != nil {
			t.Fatal(err)
		}
		props := writeFile(t, "zookeeper.properties", "dataDir="+filepath.Join(dir, "zookeeper"), "clientPort="+port, "clientPortAddress="+zkHost, "tickTime=500", "maxClientCnxns=0", "admin.enableServer=false")
		c.zookeeper = c.process(zookeeperNode, "zookeeper", "zookeeper", props)
		if err := c.zookeeper.Run(); err != nil {
			t.Fatal(err)
		}
	}
	c.startBrokers(session)
	return c
}

// startBrokers starts three brokers.
func (c *tortured) startBrokers(session time.Duration) {
	c.t.Helper()
	for id := 1; id <= 3; id++ {
		addr := net.JoinHostPort(c.host(id), c.port(9092))
		name := fmt.Sprintf("broker-%d", id)
		props := writeFile(c.t, name+".properties", "broker.id="+strconv.Itoa(id), "listeners=PLAINTEXT://"+addr, "log.dirs="+filepath.Join(c.dir, name), "zookeeper.connect="+c.zkAddr,
			fmt.Sprintf("zookeeper.session.timeout.ms=%d", session.Milliseconds()), "replica.lag.time.max.ms=4000", "replica.socket.timeout.ms=2000", "controller.socket.timeout.ms=3000",
			"auto.create.topics.enable=false")
		c.addrs = append(c.addrs, addr)
		c.brokers = append(c.brokers, c.process(id, name, "broker", props))
		c.brokers[id-1].start()
	}
}

// host is the address of a node of the lab, or of the loopback interface.
func (c *tortured) host(node int) string {
	if c.lab == nil {
		return "127.0.0.1"
	}
	return c.lab.host(node)
}

// port is the usual port where a node has its own address, and otherwise one that is free.
func (c *tortured) port(usual int) string {
	if c.lab == nil {
		usual = freePort(c.t)
	}
	return strconv.Itoa(usual)
}

// process makes a process of the binary at a node.
func (c *tortured) process(node int, name string, args ...string) *subject {
	command := append([]string{c.bin}, args...)
	if c.lab != nil {
		command = append(c.lab.inside(node), command...)
	}
	return newSubject(c.t, c.dir, name, command...)
}

// watch reads the states of partitions and who the controller is, again and again until ctx ends, and returns what it makes of them.
func (c *tortured) watch(ctx context.Context, partitions []cluster.TopicPartition, replicas ...cluster.BrokerID) *history.Cluster {
	seen := &history.Cluster{}
	var z *zk.Client
	for ctx.Err() == nil {
		if z == nil {
			var err error
			if z, err = zk.Open(ctx, zk.Config{Connect: c.zkAddr, SessionTimeout: 10 * time.Second}); err != nil {
				z = nil
				continue
			}
		}
		c.look(ctx, z, seen, partitions, replicas)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if z != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = z.Close(closing)
	}
	return seen
}

// look reads everything once; where ZooKeeper does not answer it leaves things as they were.
func (c *tortured) look(ctx context.Context, z *zk.Client, seen *history.Cluster, partitions []cluster.TopicPartition, replicas []cluster.BrokerID) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	start, s := time.Now(), z.Session()
	epoch := func() (cluster.ControllerEpoch, bool) {
		data, _, err := s.Get(ctx, znode.ControllerEpochPath)
		if err != nil {
			return 0, false
		}
		e, err := znode.DecodeControllerEpoch(znode.ControllerEpochPath, data)
		return e, err == nil
	}
	boss := cluster.NoBroker
	before, ok := epoch()
	if !ok {
		return
	}
	if data, _, err := s.Get(ctx, znode.ControllerPath); err == nil {
		if d, err := znode.DecodeController(znode.ControllerPath, data); err == nil {
			boss = d.Broker
		}
	}
	after, ok := epoch()
	if !ok {
		return
	}
	if before == after {
		seen.Controller(boss, after)
	}
	states := map[cluster.TopicPartition]znode.PartitionState{}
	for _, tp := range partitions {
		data, _, err := s.Get(ctx, znode.PartitionStatePath(tp))
		if err != nil {
			return
		}
		d, err := znode.DecodePartitionState(znode.PartitionStatePath(tp), data)
		if err != nil {
			c.t.Errorf("the state of %s: %v", tp, err)
			return
		}
		seen.Partition(tp, history.State{Leader: d.Leader, LeaderEpoch: d.LeaderEpoch, ControllerEpoch: d.ControllerEpoch, ISR: d.ISR}, replicas...)
		states[tp] = d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states, c.boss, c.seenAt = states, boss, start
}

// whole reports whether all replicas were in sync, with a leader and a controller, at some time after the given one.
func (c *tortured) whole(since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.states) == 0 || c.seenAt.Before(since) || c.boss == cluster.NoBroker {
		return false
	}
	for _, s := range c.states {
		if s.Leader == cluster.NoBroker || len(s.ISR) < 3 {
			return false
		}
	}
	return true
}

// find returns the id of the broker in a role, and a peer of it.
func (c *tortured) find(f fault) (id, peer int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.states[tortureTopic(f.partition)]
	id = f.number + 1
	switch f.role {
	case controller:
		if c.boss != cluster.NoBroker {
			id = int(c.boss)
		}
	case leader:
		if s.Leader != cluster.NoBroker {
			id = int(s.Leader)
		}
	case follower:
		if id == int(s.Leader) {
			id = id%3 + 1
		}
	}
	return id, (id+f.number%2)%3 + 1
}
