package zk

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk/embedded"
)

// lab is a ZooKeeper server in memory, on host "zk", and relays before it.
type lab struct {
	t   *testing.T
	net *memnet.Network
}

// newLab runs a test with a server inside a bubble of virtual time.
func newLab(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: memnet.New()}
		ln, err := l.net.Listen("zk:2181")
		if err != nil {
			t.Fatal(err)
		}
		srv, err := embedded.Start(embedded.Config{DataDir: "/zk", FS: vfs.NewMem(), Listener: ln, TickTime: 500 * time.Millisecond, MaxClientCnxns: -1})
		if err != nil {
			t.Fatal(err)
		}
		test(t, l)
		_ = srv.Close()
	})
}

// config returns a configuration for a client on host "me".
func (l *lab) config(connect string) Config {
	dial := l.net.Dialer("me")
	return Config{
		Connect: connect, SessionTimeout: 6 * time.Second,
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
	}
}

// open opens a client and leaves it to the test to close it.
func (l *lab) open(connect string) *Client {
	l.t.Helper()
	c, err := Open(l.t.Context(), l.config(connect))
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// shut closes a client and whatever else is given.
func (l *lab) shut(c *Client, relays ...*relay) {
	l.t.Helper()
	if err := c.Close(context.Background()); err != nil {
		l.t.Errorf("close: %v", err)
	}
	for _, r := range relays {
		r.close()
	}
}

// mode is what a relay does with what it gets.
type mode int

const (
	pass    mode = iota // forward both ways
	mute                // accept connections and requests, forward nothing
	halfway             // forward requests, swallow answers
	refuse              // accept connections and close them, as a server that knows no leader does
)

// relay stands between a client and the server and can fail in ways that a network cannot.
type relay struct {
	lab *lab
	ln  net.Listener

	mu    sync.Mutex
	mode  mode
	conns map[net.Conn]struct{}
	seen  int                             // requests forwarded, without handshakes and pings
	drop  func(n int, op int32) bool      // whether to break the connection instead of forwarding the answer to request n
	spoil func(op int32, p []byte) []byte // changes answers
	wg    sync.WaitGroup
}

// relay starts a relay on the given host.
func (l *lab) relay(host string) *relay {
	l.t.Helper()
	ln, err := l.net.Listen(host + ":2181")
	if err != nil {
		l.t.Fatal(err)
	}
	r := &relay{lab: l, ln: ln, conns: make(map[net.Conn]struct{})}
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	return r
}

// set changes the mode, for connections there are as well.
func (r *relay) set(m mode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = m
}

// get returns the mode.
func (r *relay) get() mode {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mode
}

// requests returns how many requests were forwarded.
func (r *relay) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// breakAll closes all connections.
func (r *relay) breakAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

// close stops the relay.
func (r *relay) close() {
	_ = r.ln.Close()
	r.breakAll()
	r.wg.Wait()
}

// serve forwards one connection.
func (r *relay) serve(client net.Conn) {
	if r.get() == refuse {
		_ = client.Close()
		return
	}
	server, err := r.lab.net.Dialer("relay")(context.Background(), "zk:2181")
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns[client], r.conns[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	defer func() {
		_ = client.Close()
		_ = server.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, client)
		delete(r.conns, server)
	}()
	var mu sync.Mutex
	asked := make(map[int32][2]int) // number and opcode by xid
	r.wg.Go(func() {
		defer func() { _ = server.Close() }()
		for first := true; ; first = false {
			frame, err := readFrame(client, maxFrame)
			if err != nil || r.get() == mute && !discard(client) {
				return
			}
			if !first {
				xid, op := int32(binary.BigEndian.Uint32(frame)), int32(binary.BigEndian.Uint32(frame[4:]))
				r.mu.Lock()
				if op != opPing {
					mu.Lock()
					asked[xid] = [2]int{r.seen, int(op)}
					mu.Unlock()
					r.seen++
				}
				r.mu.Unlock()
			}
			if writeFrame(server, frame) != nil {
				return
			}
		}
	})
	for first := true; ; first = false {
		frame, err := readFrame(server, maxFrame)
		if err != nil {
			return
		}
		if r.get() != pass {
			continue
		}
		if xid := int32(binary.BigEndian.Uint32(frame)); !first && xid >= 0 {
			mu.Lock()
			q, known := asked[xid]
			mu.Unlock()
			r.mu.Lock()
			drop, spoil := r.drop, r.spoil
			r.mu.Unlock()
			if known && drop != nil && drop(q[0], int32(q[1])) {
				return
			}
			if known && spoil != nil {
				frame = spoil(int32(q[1]), frame)
			}
		}
		if writeFrame(client, frame) != nil {
			return
		}
	}
}

// discard reads a connection to its end. It returns false, for the sake of its one caller.
func discard(c net.Conn) bool {
	_, _ = io.Copy(io.Discard, c)
	return false
}

// writeFrame writes a frame with its length.
func writeFrame(w io.Writer, body []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}
