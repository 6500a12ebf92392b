package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

// process runs a server as a process of its own and returns how to end it at once.
func process(t *testing.T, dir, addr string) (zktest.Server, func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("dataDir=%s\nclientPort=%s\nclientPortAddress=%s\ntickTime=%d\nsnapCount=100\n",
		filepath.Join(dir, "data"), port, host, tick.Milliseconds())
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "start-foreground", cfg)
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	kill := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(kill)
	s := zktest.Server{Tick: tick, Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
	if err := s.AwaitReady(30*time.Second, ended); err != nil {
		t.Fatal(err)
	}
	return s, kill
}

// TestKill9 kills a real server on a real disk in the middle of pipelined writes, several times.
func TestKill9(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	acked := -1
	for round := range 4 {
		s, kill := process(t, dir, addr)
		c := s.Connect(t)
		if round == 0 {
			c.MustCreate("/n", nil, jute.ModePersistent)
		} else {
			data, _, code := c.Get("/n", false)
			got, err := strconv.Atoi(string(data))
			if code != jute.OK || err != nil || got < acked {
				t.Fatalf("round %d: %d acknowledged, %q read (%v)", round, acked, data, code)
			}
			acked = got
		}
		next := acked + 1
		for range 64 {
			c.TrySend(jute.OpSetData, &jute.SetDataRequest{Path: "/n", Data: []byte(strconv.Itoa(next)), Version: -1})
			next++
		}
		for stop := acked + 250 + 70*round; ; {
			body, err := c.TryFrame(20 * time.Second)
			if err != nil {
				break
			}
			var h jute.ReplyHeader
			if h.Decode(jute.NewDecoder(body)); h.Err != jute.OK {
				t.Fatal(h.Err)
			}
			if acked++; acked == stop {
				go kill()
			}
			c.TrySend(jute.OpSetData, &jute.SetDataRequest{Path: "/n", Data: []byte(strconv.Itoa(next)), Version: -1})
			next++
		}
		kill()
	}
}

func TestASnapshotThatFailsStopsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no room for snapshots")
		fault := &vfs.Toggle{Inner: vfs.OnBase("snapshot.*", vfs.Fail(broken))}
		mem := vfs.NewMem()
		w := newWorld(t, vfs.Inject(mem, fault), snapEvery(10))
		c := w.connect()
		fault.Set(true)
		for i := range 20 {
			if !c.TrySend(jute.OpCreate, &jute.CreateRequest{Path: fmt.Sprintf("/%d", i), ACL: zktest.OpenACL()}) {
				break
			}
		}
		<-w.zk.Done()
		if err := w.zk.Err(); !errors.Is(err, broken) {
			t.Errorf("the server ended with %v", err)
		}
		if err := w.restart(mem); err != nil {
			t.Fatalf("no start on the disk as it was left: %v", err)
		}
	})
}
