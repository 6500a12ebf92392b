package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// relays stand in front of the brokers' inter-broker listeners, so that brokers on loopback can be cut off from each other while ZooKeeper and
// clients reach all of them. Who has connected is told by /proc, for Linux only, and asked while somebody is cut off and not before: it takes tens of milliseconds of
// a processor. It is safe for concurrent use.
type relays struct {
	ctx context.Context
	pid func(id int) int // of a broker, 0 while it is down

	mu    sync.Mutex
	cut   int           // the broker that is cut off, -1 for none
	moved chan struct{} // closed and replaced when cut changes
}

func newRelays(ctx context.Context, pid func(int) int) *relays {
	return &relays{ctx: ctx, pid: pid, cut: -1, moved: make(chan struct{})}
}

// isolate drops everything between a broker and the others, as a pulled cable; -1 ends that, and what was sent meanwhile arrives.
func (r *relays) isolate(id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = id
	close(r.moved)
	r.moved = make(chan struct{})
}

// pass waits until something may pass between two brokers. It returns false at the end of the run.
func (r *relays) pass(from func() int, b int) bool {
	for {
		r.mu.Lock()
		cut, moved := r.cut, r.moved
		r.mu.Unlock()
		held := false
		if cut >= 0 {
			a := from()
			held = a != b && (cut == a || cut == b)
		}
		if !held {
			return r.ctx.Err() == nil
		}
		select {
		case <-moved:
		case <-r.ctx.Done():
			return false
		}
	}
}

// serve relays to a broker's port and returns where.
func (r *relays) serve(id, port int) (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	context.AfterFunc(r.ctx, func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.relay(c, id, port)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (r *relays) relay(near net.Conn, id, port int) {
	defer near.Close()
	from := sync.OnceValue(func() int { return r.owner(near.RemoteAddr().(*net.TCPAddr).Port) })
	if !r.pass(from, id) {
		return
	}
	far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil { // refused there is refused here
		_ = near.(*net.TCPConn).SetLinger(0)
		return
	}
	defer far.Close()
	var both sync.WaitGroup
	both.Go(func() { r.pump(far, near, from, id) })
	both.Go(func() { r.pump(near, far, from, id) })
	both.Wait()
}

// pump copies one direction; the end of either ends both.
func (r *relays) pump(to, from net.Conn, a func() int, b int) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !r.pass(a, b) {
			err = context.Canceled
		}
		if n > 0 && err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = to.(*net.TCPConn).SetLinger(0)
			}
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// owner returns the broker whose socket has this local port, -1 if it is no broker's.
func (r *relays) owner(port int) int {
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			f := strings.Fields(line)
			if len(f) < 10 {
				continue
			}
			_, local, _ := strings.Cut(f[1], ":")
			if p, err := hex.DecodeString(local); err == nil && len(p) == 2 && int(p[0])<<8|int(p[1]) == port {
				inode = f[9]
			}
		}
	}
	if inode == "" {
		return -1
	}
	for id := range brokersInCluster {
		pid := r.pid(id)
		if pid == 0 {
			continue
		}
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		if slices.ContainsFunc(links, func(l string) bool {
			to, err := os.Readlink(l)
			return err == nil && bytes.Equal([]byte(to), []byte("socket:["+inode+"]"))
		}) {
			return id
		}
	}
	return -1
}
