package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// brokersInCluster is how many brokers a cluster of processes has, with ids from 0.
const brokersInCluster = 3

// processes is an embedded ZooKeeper and brokers, each a process of its own, on loopback.
type processes struct {
	dir, binary string
	zooKeeper   *exec.Cmd
	relays      *relays
	brokers     [brokersInCluster]*process
}

// process is one broker.
type process struct {
	id       int
	props    string // its server.properties
	port     int    // for clients
	internal int    // for brokers
	cmd      *exec.Cmd
	pid      atomic.Int64 // 0 while it is down
}

// startProcesses starts everything. tick is ZooKeeper's tickTime in ms, extra are settings of the brokers, a line each. With relayed, brokers can be cut off
// from each other.
func startProcesses(ctx context.Context, dir, binary string, tick int, relayed bool, extra string) (*processes, error) {
	p := &processes{dir: dir, binary: binary}
	p.relays = newRelays(ctx, func(id int) int {
		if b := p.brokers[id]; b != nil {
			return int(b.pid.Load())
		}
		return 0
	})
	zkPort, err := freePort()
	if err != nil {
		return nil, err
	}
	zk := filepath.Join(dir, "zookeeper.properties")
	if err := os.WriteFile(zk, fmt.Appendf(nil, "dataDir=%s/zk\nclientPort=%d\ntickTime=%d\nmaxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n", dir, zkPort, tick), 0o600); err != nil {
		return nil, err
	}
	if p.zooKeeper, err = p.run("zookeeper", "zookeeper", zk); err != nil {
		return nil, err
	}
	if err := awaitPort(fmt.Sprintf("127.0.0.1:%d", zkPort), time.Now().Add(20*time.Second)); err != nil {
		return p, fmt.Errorf("start ZooKeeper: %w", err)
	}
	for id := range p.brokers {
		b := &process{id: id, props: filepath.Join(dir, fmt.Sprintf("broker-%d.properties", id))}
		if b.port, err = freePort(); err != nil {
			return p, err
		}
		if b.internal, err = freePort(); err != nil {
			return p, err
		}
		advertised := b.internal
		if relayed {
			if advertised, err = p.relays.serve(id, b.internal); err != nil {
				return p, err
			}
		}
		p.brokers[id] = b
		if err := os.WriteFile(b.props, fmt.Appendf(nil, `broker.id=%d
listeners=CLIENT://127.0.0.1:%d,INTERNAL://127.0.0.1:%d
advertised.listeners=CLIENT://127.0.0.1:%d,INTERNAL://127.0.0.1:%d
listener.security.protocol.map=CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT
inter.broker.listener.name=INTERNAL
log.dirs=%s
zookeeper.connect=127.0.0.1:%d
min.insync.replicas=2
default.replication.factor=3
%s
`, id, b.port, b.internal, b.port, advertised, logDir(dir, id), zkPort, extra), 0o600); err != nil {
			return p, err
		}
		if err := p.start(ctx, id); err != nil {
			return p, err
		}
	}
	return p, nil
}

// run starts a process whose output goes to a file of that name.
func (p *processes) run(name string, args ...string) (*exec.Cmd, error) {
	out, err := os.OpenFile(filepath.Join(p.dir, name+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(p.binary, args...)
	cmd.Env = append(os.Environ(), "LOG_DIR="+p.logs(name))
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, cmd.Start()
}

// logs returns the directory in which the process of that name keeps its log.
func (p *processes) logs(name string) string { return filepath.Join(p.dir, name+"-log") }

// start starts a broker and waits until it says that it serves.
func (p *processes) start(ctx context.Context, id int) error {
	b := p.brokers[id]
	cmd, err := p.run(fmt.Sprintf("broker-%d", id), "broker", b.props)
	if err != nil {
		return err
	}
	b.cmd = cmd
	b.pid.Store(int64(cmd.Process.Pid))
	conn, err := grpc.NewClient(b.addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	until := time.Now().Add(60 * time.Second)
	for {
		res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && res.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("broker %d does not serve: %v, %w", id, res.GetStatus(), err)
		}
		conn.ResetConnectBackoff()
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *process) addr() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// signal sends a signal to a broker; one that ends it is waited for.
func (p *processes) signal(id int, s syscall.Signal) error {
	b := p.brokers[id]
	err := b.cmd.Process.Signal(s)
	if err == nil && (s == syscall.SIGKILL || s == syscall.SIGTERM) {
		_ = b.cmd.Wait() // killed is an error to it
		b.pid.Store(0)
	}
	return err
}

// close ends all processes.
func (p *processes) close() {
	for _, b := range p.brokers {
		if b != nil && b.pid.Load() != 0 {
			_ = b.cmd.Process.Signal(syscall.SIGCONT)
			_ = b.cmd.Process.Signal(syscall.SIGKILL)
			_ = b.cmd.Wait()
		}
	}
	if p.zooKeeper != nil {
		_ = p.zooKeeper.Process.Signal(syscall.SIGTERM)
		_ = p.zooKeeper.Wait()
	}
}

// bootstrap returns the clients' addresses of all brokers.
func (p *processes) bootstrap() string {
	s := ""
	for _, b := range p.brokers {
		s += "," + b.addr()
	}
	return s[1:]
}

// errFault says that a fault could not be made.
var errFault = errors.New("the fault did not come about")
