package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// preface is what every HTTP/2 connection, and so every gRPC connection without TLS, begins with: the first bytes of the method PRI.
const preface = "PRI "

// plainAnswer is what a browser or curl gets that speaks HTTP/1 to a broker.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"This is an Ottla broker. It speaks gRPC (HTTP/2), not HTTP/1.\n" +
	"Try: grpcurl -plaintext <host:port> list\n"

// ListenerConfig says how a [Listener] treats connections.
type ListenerConfig struct {
	// Name is the listener's name, for example PLAINTEXT. Metadata answers for it.
	Name string
	// HandshakeTimeout is how long a connection may take to show its protocol. Default 10 s.
	HandshakeTimeout time.Duration
	// MaxPending bounds the connections that have not shown their protocol yet; more are not accepted meanwhile. Default 1024.
	MaxPending int
	// Logger is where refused connections are reported; nil means nowhere.
	Logger hclog.Logger
}

// Listener lets several protocols share a port: it looks at the first bytes of each connection and hands those that speak gRPC to
// whoever calls Accept. It refuses the others so that their users understand why. One connection never waits for another. It
// implements net.Listener.
type Listener struct {
	inner net.Listener
	cfg   ListenerConfig

	grpc    chan net.Conn
	pending chan struct{} // a token for each connection that is looked at
	quit    chan struct{}
	once    sync.Once
	running sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // being looked at
	err  error                 // why the loop ended
	done chan struct{}         // closed when it did
}

// Listen starts to accept connections from inner, which then belongs to the Listener.
func Listen(inner net.Listener, cfg ListenerConfig) *Listener {
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = 10 * time.Second
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = 1024
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	l := &Listener{
		inner: inner, cfg: cfg,
		grpc: make(chan net.Conn), pending: make(chan struct{}, cfg.MaxPending), quit: make(chan struct{}),
		open: make(map[net.Conn]struct{}), done: make(chan struct{}), err: net.ErrClosed,
	}
	l.running.Add(1)
	go l.run()
	return l
}

// Accept returns the next connection that speaks gRPC.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.grpc:
		return c, nil
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		return nil, l.err
	case <-l.quit:
		return nil, net.ErrClosed
	}
}

// Addr returns the address of the inner listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops accepting, closes the connections that were not handed out, and waits for the Listener's goroutines. Connections that were handed
// out stay open.
func (l *Listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.quit)
		err = l.inner.Close()
		l.mu.Lock()
		for c := range l.open {
			c.Close()
		}
		l.mu.Unlock()
	})
	l.running.Wait()
	return err
}

// run accepts. An error that passes, such as too many open files, is tried again after a pause.
func (l *Listener) run() {
	defer l.running.Done()
	defer close(l.done)
	const pause, longest = 5 * time.Millisecond, time.Second
	wait := pause
	for {
		select {
		case l.pending <- struct{}{}:
		case <-l.quit:
			return
		}
		c, err := l.inner.Accept()
		if err == nil {
			wait = pause
			l.running.Add(1)
			go l.look(c)
			continue
		}
		<-l.pending
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
		l.cfg.Logger.Warn("accept failed, trying again", "error", err, "pause", wait)
		select {
		case <-time.After(wait):
		case <-l.quit:
			return
		}
		wait = min(2*wait, longest)
	}
}

// look reads the first bytes of a connection and decides.
func (l *Listener) look(raw net.Conn) {
	defer l.running.Done()
	defer func() { <-l.pending }()
	if !l.keep(raw) {
		raw.Close()
		return
	}
	var first [len(preface)]byte
	_ = raw.SetDeadline(time.Now().Add(l.cfg.HandshakeTimeout))
	n, err := io.ReadFull(raw, first[:])
	l.forget(raw)
	if err != nil || string(first[:]) != preface {
		l.refuse(raw, first[:n], err)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	c := &conn{Conn: raw, rest: first[:]}
	c.addr = connAddr{Addr: raw.RemoteAddr(), conn: c, listener: l.cfg.Name}
	select {
	case l.grpc <- c:
	case <-l.quit:
		raw.Close()
	}
}

// keep notes a connection so that Close can end it, and returns false if that has happened already.
func (l *Listener) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.quit:
		return false
	default:
	}
	l.open[c] = struct{}{}
	return true
}

func (l *Listener) forget(c net.Conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
}

// refuse closes a connection that does not speak gRPC and says why where somebody can read it.
func (l *Listener) refuse(c net.Conn, first []byte, err error) {
	defer c.Close()
	what := protocolOf(first)
	switch {
	case len(first) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)):
		return // a health check that only connects
	case err != nil && what == "":
		l.cfg.Logger.Debug("connection ended before it showed its protocol", "remote", c.RemoteAddr().String(), "error", err)
		return
	case what == "HTTP/1":
		_, _ = io.WriteString(c, plainAnswer)
	case what == "":
		what = "unknown"
	}
	l.cfg.Logger.Info("connection refused: the protocol on this port is gRPC", "remote", c.RemoteAddr().String(), "protocol", what)
}

// protocolOf guesses a protocol by its first four bytes; "" when there is nothing to go by.
func protocolOf(b []byte) string {
	if len(b) < len(preface) {
		return ""
	}
	switch string(b) {
	case "GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "PATC", "TRAC", "CONN":
		return "HTTP/1"
	}
	switch {
	case b[0] == 0x16 && b[1] == 0x03:
		return "TLS"
	case b[0] == 0 && b[1] < 0x10: // a length of less than 1 MiB, big-endian
		return "Kafka"
	}
	return ""
}

// conn is a connection whose first bytes were read already.
type conn struct {
	net.Conn
	rest []byte // read, and not handed on yet; only the reader's goroutine touches it
	addr connAddr
}

// Read returns the bytes that were looked at, and then the connection's.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// RemoteAddr returns the peer's address. Through it a call finds the connection that it came over.
func (c *conn) RemoteAddr() net.Addr { return &c.addr }

// connAddr is an address that leads to the connection.
type connAddr struct {
	net.Addr
	conn     *conn
	listener string
}
