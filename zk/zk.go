// Package zk holds one ZooKeeper session at a time for a process, and tells the truth about it.
//
// It wraps github.com/go-zookeeper/zk and is the only package that imports it. That library keeps a connection, and after
// its session has expired it opens another one without a word and runs in it what was queued for the first; it waits many
// session timeouts for a mute server; it believes in a session that it cannot reach; it drops events. A coordinated broker
// can afford none of this, so here
//
//   - one [Session] is one ZooKeeper session and is never used again once it is over: nothing is dialled any more, every
//     operation fails, and the [Client] makes the next one only after all owners have heard of the end;
//   - the session's life is measured by a lease of our own, from the sending of the last request that was answered: it ends
//     before or when the server's does, also while nothing can be reached;
//   - every failed operation says whether it was refused, never sent, or may have been applied ([Class]). Reads are repeated
//     over reconnections, writes never: only the caller can tell whether repeating is harmless;
//   - watch events queue up without bound and without loss, and a reconnection, after which no watch can be relied on,
//     is an event itself ([EventResync]);
//   - every frame of a server is checked before the library sees it, because the library trusts lengths and would panic.
//
// Paths are relative to the chroot of the connect string, which the library does not know: it is put before paths on the
// way out and taken off replies and events.
//
// Goroutines: the library's three per session, one for the lease, one per operation in flight, and the client's supervisor.
// All end with [Client.Close]. Sources: F§1 (Kafka), Z§2–§7, §15 (ZooKeeper).
package zk

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Dialer opens a connection to a server. addr is host:port as written in the connect string: names are resolved by the
// dialer, at every dial.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Config says where ZooKeeper is and how to talk to it.
type Config struct {
	// Connect is zookeeper.connect: host:port pairs separated by commas, and optionally a chroot after the last one
	// (h1:2181,h2:2181/kafka). The port is 2181 when left out.
	Connect string
	// SessionTimeout is zookeeper.session.timeout.ms: what is asked for. The server may grant another, see
	// [Session.Timeout]. 0 means [DefaultSessionTimeout].
	SessionTimeout time.Duration
	// ConnectTimeout is zookeeper.connection.timeout.ms: how long Open waits for the first session. 0 means SessionTimeout.
	ConnectTimeout time.Duration
	// MaxInFlight is zookeeper.max.in.flight.requests: how many operations may be on their way at once; more wait.
	// 0 means [DefaultMaxInFlight].
	MaxInFlight int
	// Dial connects to a server, for example with TLS. nil means plain TCP.
	Dial Dialer
	// CreateChroot makes Open create the chroot if it is missing. Brokers do, tools do not.
	CreateChroot bool
	// Logger receives what happens to the connection. nil means silence.
	Logger hclog.Logger
}

// Kafka's defaults.
const (
	// DefaultSessionTimeout is the default of zookeeper.session.timeout.ms.
	DefaultSessionTimeout = 18 * time.Second
	// DefaultMaxInFlight is the default of zookeeper.max.in.flight.requests.
	DefaultMaxInFlight = 10
)

// MaxDataSize is the largest number of data bytes that one operation, or one Multi in all, may carry. A server closes the
// connection on requests above its jute.maxbuffer (1,048,575 bytes), and a client that repeats such a request never gets
// anywhere; so they are refused here.
const MaxDataSize = 1_000_000

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = DefaultSessionTimeout
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = c.SessionTimeout
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// defaultPort is where ZooKeeper listens.
const defaultPort = "2181"

// parseConnect splits a connect string into addresses and the chroot ("" when there is none).
func parseConnect(connect string) (addrs []string, chroot string, err error) {
	hosts := connect
	if i := strings.IndexByte(connect, '/'); i >= 0 {
		hosts, chroot = connect[:i], connect[i:]
	}
	if chroot == "/" {
		chroot = ""
	}
	if err := validatePath(chroot + "/x"); err != nil {
		return nil, "", fmt.Errorf("parse the connect string %q: the chroot %q is not a path", connect, chroot)
	}
	for host := range strings.SplitSeq(hosts, ",") {
		host = strings.TrimSpace(host)
		if host == "" {
			continue
		}
		addr, err := withPort(host)
		if err != nil {
			return nil, "", fmt.Errorf("parse the connect string %q: %w", connect, err)
		}
		addrs = append(addrs, addr)
	}
	if len(addrs) == 0 {
		return nil, "", fmt.Errorf("parse the connect string %q: it names no server", connect)
	}
	return addrs, chroot, nil
}

// withPort adds the default port to a host that has none. IPv6 addresses stand in brackets.
func withPort(host string) (string, error) {
	if strings.HasSuffix(host, "]") || !strings.Contains(host, ":") {
		host += ":" + defaultPort
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return "", err
	}
	if name == "" || port == "" {
		return "", fmt.Errorf("the server %q wants a host and a port", host)
	}
	return host, nil
}

// validatePath refuses what a server would: paths that do not start with a slash, end with one, or have empty, "." or
// ".." elements or control characters (Z§9).
func validatePath(path string) error {
	if path == "/" {
		return nil
	}
	if !strings.HasPrefix(path, "/") {
		return ErrInvalidPath
	}
	for element := range strings.SplitSeq(path[1:], "/") {
		if element == "" || element == "." || element == ".." {
			return ErrInvalidPath
		}
	}
	for _, r := range path {
		if r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0 {
			return ErrInvalidPath
		}
	}
	return nil
}

// libraryLog passes the library's messages on, at debug level: the session reports what matters itself.
type libraryLog struct{ log hclog.Logger }

// Printf implements the library's logger.
func (l libraryLog) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
