// Package memnet is a network in memory: listeners, dialers and connections that behave like TCP on loopback, and faults that TCP on
// loopback cannot show on demand. It needs no ports, and it works inside a testing/synctest bubble, where delays and deadlines
// follow virtual time. Tests and demos use it; so may programs that embed a broker.
//
// Every dialer belongs to a named host, so that links between hosts can be cut and slowed. A connection buffers up to [BufferSize]
// bytes each way; a writer that is ahead of its reader by more than that waits.
//
// Everything is safe for concurrent use.
package memnet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// BufferSize is how many bytes a connection holds in each direction before a writer waits.
const BufferSize = 256 << 10

// Network is a set of hosts that can reach each other. Use [New].
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     map[*conn]struct{}
	cut       map[link]bool
	delay     map[link]time.Duration
	nextPort  int
}

// link is a direction between two hosts.
type link struct{ from, to string }

// New returns a network without hosts; hosts come to be by being named.
func New() *Network {
	return &Network{
		listeners: map[string]*listener{},
		conns:     map[*conn]struct{}{},
		cut:       map[link]bool{},
		delay:     map[link]time.Duration{},
		nextPort:  32768,
	}
}

// Addr is host:port in a [Network].
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return "memnet" }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }

// Listen opens a listener on host:port; port 0 picks a free one. The error for a taken address satisfies errors.Is(err, syscall.EADDRINUSE).
func (n *Network) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for port == "0" {
		n.nextPort++
		if _, taken := n.listeners[net.JoinHostPort(host, strconv.Itoa(n.nextPort))]; !taken {
			port = strconv.Itoa(n.nextPort)
		}
	}
	addr = net.JoinHostPort(host, port)
	if _, taken := n.listeners[addr]; taken {
		return nil, &net.OpError{Op: "listen", Net: "memnet", Addr: Addr(addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{net: n, addr: Addr(addr), backlog: make(chan *conn, 128), done: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dialer returns a function that connects from the given host to host:port addresses. A connection to an address where nobody
// listens fails with syscall.ECONNREFUSED at once; one over a cut link waits until its context ends, as over a firewall that drops.
func (n *Network) Dialer(from string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, from, addr) }
}

func (n *Network) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "memnet", Addr: Addr(addr), Err: err}
	}
	n.mu.Lock()
	if n.cut[link{from, host}] || n.cut[link{host, from}] {
		n.mu.Unlock()
		<-ctx.Done()
		return fail(ctx.Err())
	}
	l, ok := n.listeners[addr]
	if !ok {
		n.mu.Unlock()
		return fail(syscall.ECONNREFUSED)
	}
	n.nextPort++
	local := Addr(net.JoinHostPort(from, strconv.Itoa(n.nextPort)))
	there, back := newPipe(n.delay[link{from, host}]), newPipe(n.delay[link{host, from}])
	near := &conn{net: n, in: back, out: there, local: local, remote: l.addr, from: from, to: host}
	far := &conn{net: n, in: there, out: back, local: l.addr, remote: local, from: host, to: from}
	near.peer, far.peer = far, near
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case l.backlog <- far:
		return near, nil
	case <-l.done:
		near.reset()
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		near.reset()
		return fail(ctx.Err())
	}
}

// Cut drops everything between the two hosts, both ways, as a cable pulled out: bytes on their way and bytes written from now on do
// not arrive, and nobody is told. They arrive after [Network.Heal].
func (n *Network) Cut(a, b string) {
	n.setCut(a, b, true)
	n.setCut(b, a, true)
}

// CutOneWay is Cut in one direction: what from sends does not arrive, and what to sends does. No new connection comes about either way.
func (n *Network) CutOneWay(from, to string) { n.setCut(from, to, true) }

// Heal undoes [Network.Cut] and [Network.CutOneWay], in both directions.
func (n *Network) Heal(a, b string) {
	n.setCut(a, b, false)
	n.setCut(b, a, false)
}

func (n *Network) setCut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = cut
	for c := range n.conns {
		if c.from == from && c.to == to {
			c.out.hold(cut)
		}
	}
}

// SetDelay makes bytes from one host to the other arrive d later, for connections there are and for later ones.
func (n *Network) SetDelay(from, to string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[link{from, to}] = d
	for c := range n.conns {
		if c.from == from && c.to == to {
			c.out.setDelay(d)
		}
	}
}

// Reset breaks all connections between the two hosts: both ends get syscall.ECONNRESET, as when a process is killed.
func (n *Network) Reset(a, b string) {
	n.resetWhere(func(c *conn) bool { return c.from == a && c.to == b || c.from == b && c.to == a })
}

// Kill ends a host as kill -9 ends a process: its listeners are gone and all its connections are reset.
func (n *Network) Kill(host string) {
	n.mu.Lock()
	for addr, l := range n.listeners {
		if h, _, _ := net.SplitHostPort(addr); h == host {
			delete(n.listeners, addr)
			l.once.Do(func() { close(l.done) })
		}
	}
	n.mu.Unlock()
	n.resetWhere(func(c *conn) bool { return c.from == host || c.to == host })
}

func (n *Network) resetWhere(match func(*conn) bool) {
	n.mu.Lock()
	var hit []*conn
	for c := range n.conns {
		if match(c) {
			hit = append(hit, c)
		}
	}
	n.mu.Unlock()
	for _, c := range hit {
		c.reset()
	}
}

// listener implements net.Listener.
type listener struct {
	net     *Network
	addr    Addr
	backlog chan *conn
	done    chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.net.mu.Lock()
	if l.net.listeners[string(l.addr)] == l {
		delete(l.net.listeners, string(l.addr))
	}
	l.net.mu.Unlock()
	l.once.Do(func() { close(l.done) })
	for {
		select {
		case c := <-l.backlog:
			c.reset()
		default:
			return nil
		}
	}
}
