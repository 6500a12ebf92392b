package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gozk "github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"
)

// Session is one ZooKeeper session. It begins when a server grants it and ends once, for good: when a server says that it
// has expired, when its lease ends, or when its client is closed. In between, connections come and go.
//
//	           granted             server says so, lease ended, Close
//	connecting ───────▶ live ─────────────────────────────────────────▶ over
//
// Safe for concurrent use. Made by a [Client].
type Session struct {
	cfg    Config
	chroot string
	gen    uint64
	log    hclog.Logger
	conn   *gozk.Conn
	opened chan struct{} // closed once conn is set
	hangup chan struct{} // holds a token for whoever closes conn; closed once that is done
	hosts  *hosts
	lease  *lease
	watch  registry
	slots  chan struct{} // one token per operation in flight

	ready chan struct{}   // closed when the session has been granted
	life  context.Context // ends with the session
	kill  context.CancelFunc
	over  atomic.Bool // the dial gate: set, under mu, just before life ends
	wg    sync.WaitGroup

	mu       sync.Mutex
	who      identity
	link     link
	err      error         // why the session is over
	active   int           // operations under way
	draining bool          // no more of them
	idle     chan struct{} // closed when none is under way, once draining
}

// identity is what a session is known by to the servers.
type identity struct {
	id       int64
	password []byte
}

// link is how a session stands with the network.
type link struct {
	wire *wireConn // the current connection
	mute int       // servers in a row that did not answer the attempt to connect or the handshake; those that refuse do not count
	err  error     // why the last attempt to connect failed
}

// newSession starts to ask for a session. It returns at once.
func newSession(cfg Config, addrs []string, chroot string, gen uint64) (*Session, error) {
	s := &Session{
		cfg: cfg, chroot: chroot, gen: gen, log: cfg.Logger.With("session", gen),
		opened: make(chan struct{}), lease: newLease(), slots: make(chan struct{}, cfg.MaxInFlight),
		ready: make(chan struct{}), hangup: make(chan struct{}, 1),
	}
	s.hangup <- struct{}{}
	s.life, s.kill = context.WithCancel(context.Background())
	s.hosts = newHosts(addrs, s.over.Load)
	s.watch.init()
	conn, events, err := gozk.Connect(addrs, cfg.SessionTimeout,
		gozk.WithDialer(s.dial), gozk.WithHostProvider(s.hosts), gozk.WithEventCallback(s.onEvent),
		gozk.WithLogger(libraryLog{s.log}), gozk.WithLogInfo(false), gozk.WithMaxBufferSize(maxFrame))
	if err != nil {
		s.kill()
		return nil, fmt.Errorf("connect to zookeeper at %s: %w", cfg.Connect, err)
	}
	s.conn = conn
	close(s.opened)
	s.wg.Go(func() {
		for range events { // the callback has seen them; the channel's end is the end of the library's main goroutine
		}
	})
	s.wg.Go(s.keepLease)
	return s, nil
}

// Gen counts the sessions of a client, from 1.
func (s *Session) Gen() uint64 { return s.gen }

// ID returns the session's id: the ephemeralOwner of the ephemeral nodes it creates.
func (s *Session) ID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.id
}

// Password returns what, together with the id, gives power over the session. See [CloseSession].
func (s *Session) Password() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.who.password)
}

// Timeout returns the session timeout that the server granted.
func (s *Session) Timeout() time.Duration { return s.lease.granted() }

// Done returns a channel that is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.life.Done() }

// Err returns why the session is over: [ErrSessionExpired], [ErrLeaseEnded] or [ErrClosed]. It is nil before.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Live reports whether the session is not over by the clock's word. After the process has been stopped for longer than
// the session timeout it is false at once, before any timer has run; so whoever acts on the strength of the session, as
// controller or as a leader, asks right before acting.
func (s *Session) Live() bool { return !s.over.Load() && s.lease.left() > 0 }

// LeaseLeft returns how long the session lasts at least. Zero or less when it is over.
func (s *Session) LeaseLeft() time.Duration {
	if s.over.Load() {
		return 0
	}
	return s.lease.left()
}

// Suspect reports whether nothing has been answered for two thirds of the session timeout. A broker in doubt takes no new
// leaderships and is not ready.
func (s *Session) Suspect() bool { return s.over.Load() || s.lease.inDoubt() }

// SuspectSignal returns a channel that is closed while the session is in doubt. Ask again for a new one once it is no more.
func (s *Session) SuspectSignal() <-chan struct{} { return s.lease.doubts() }

// readTimeout is how long a silent server is waited for: longer than the pause between pings (a third of the session
// timeout), and short enough to reach another server within the lease.
func (s *Session) readTimeout() time.Duration {
	if t := s.lease.granted(); t > 0 {
		return t / 2
	}
	return s.cfg.SessionTimeout / 2
}

// timeouts bound an attempt to connect, and the handshake: briefly at first, since a server that hangs would otherwise cost the session although others are
// well, and longer after each that was not answered in time, since creating a session takes a busy ensemble its time. Attempts to connect get longer half as fast:
// one that began at a bad moment is over sooner when it is given up and begun again than when the system repeats it.
func (s *Session) timeouts() (connect, handshake time.Duration) {
	s.mu.Lock()
	mute := s.link.mute
	s.mu.Unlock()
	base := min(max(s.cfg.SessionTimeout/6, 250*time.Millisecond), time.Second)
	bound := func(doubled int) time.Duration { return max(min(base<<min(doubled, 5), s.cfg.SessionTimeout/2), base) }
	return bound(mute / 2), bound(mute)
}

// silent implements wireOwner: the server is left alone for a while, so that while the others elect a leader, which takes them a second or so, most of the lease that is
// left is not spent on one that does not answer.
func (s *Session) silent(handshake bool) {
	s.hosts.silent(s.readTimeout() / 2)
	if handshake {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.link.mute++
	}
}

// dial is the library's dialer. It is the gate: after the end of the session nothing is dialled any more.
func (s *Session) dial(network, addr string, _ time.Duration) (net.Conn, error) {
	conn, err := s.dialOne(s.life, network, addr)
	if err != nil {
		s.mu.Lock()
		s.link.err = err
		s.mu.Unlock()
	}
	return conn, err
}

// dialOne rests, dials and wraps the connection.
func (s *Session) dialOne(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := s.hosts.pause(ctx); err != nil {
		return nil, ErrClosed
	}
	connect, handshake := s.timeouts()
	dialCtx, cancel := context.WithTimeout(ctx, connect)
	defer cancel()
	conn, err := s.cfg.Dial(dialCtx, network, addr)
	if err != nil {
		if errors.Is(dialCtx.Err(), context.DeadlineExceeded) {
			s.silent(true)
		}
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	wire, err := newWireConn(conn, s, handshake)
	if err != nil {
		_ = conn.Close() // the connection is of no use, its own fate neither
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		_ = conn.Close()
		return nil, ErrClosed
	}
	s.link.wire = wire
	return wire, nil
}

// handshaken implements wireOwner: the server's answer decides about the session's identity.
func (s *Session) handshaken(r handshakeReply, sent time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.mute = 0
	switch {
	case r.id == 0 && s.who.id == 0:
		return errors.New("the server refuses to grant a session")
	case r.id == 0:
		return nil // the library reports the expiry
	case s.who.id != 0 && s.who.id != r.id:
		return fmt.Errorf("the server grants session 0x%x instead of 0x%x", r.id, s.who.id)
	case s.over.Load():
		return ErrClosed
	}
	s.who.id, s.who.password = r.id, r.password
	s.lease.begin(time.Duration(r.timeoutMs)*time.Millisecond, sent)
	return nil
}

// answered implements wireOwner.
func (s *Session) answered(sent time.Time) { s.lease.extend(sent) }

// watching implements wireOwner.
func (s *Session) watching(path string, children bool) bool {
	return s.watch.wanted(watchKey{path, children})
}

// onEvent is called by the library, synchronously and in order. It must not block.
func (s *Session) onEvent(e gozk.Event) {
	switch {
	case e.State == gozk.StateExpired && e.Type == gozk.EventSession:
		s.end(ErrSessionExpired)
	case e.State == gozk.StateHasSession && e.Type == gozk.EventSession:
		s.onConnected(e.Server)
	case e.State == gozk.StateDisconnected && e.Type == gozk.EventSession:
		s.log.Debug("disconnected", "server", e.Server)
	case e.Type >= gozk.EventNodeCreated && e.Type <= gozk.EventNodeChildrenChanged:
		s.watch.fire(EventType(e.Type), e.Path, s.strip)
	}
}

// onConnected is called when a server has granted the session, or has taken it up again.
func (s *Session) onConnected(server string) {
	select {
	case <-s.ready:
		s.log.Info("reconnected", "server", server)
		s.watch.resync()
	default:
		s.log.Info("session established", "server", server, "id", fmt.Sprintf("0x%x", s.ID()), "timeout", s.Timeout())
		close(s.ready)
	}
}

// keepLease ends the session when its lease ends.
func (s *Session) keepLease() {
	select {
	case <-s.ready:
	case <-s.life.Done():
		return
	}
	for {
		left, next := s.lease.check(time.Now())
		if left <= 0 {
			s.end(ErrLeaseEnded)
			return
		}
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-s.life.Done():
			t.Stop()
			return
		}
	}
}

// end closes the session's gate for good. Only the first call counts. It does not block.
func (s *Session) end(err error) {
	if s.finish(err, func() {
		<-s.opened
		s.dropConn()
		s.hangUp() // up to three seconds, for a farewell that nobody hears
	}) {
		s.log.Warn("session over", "reason", err)
	}
}

// hangUp closes the library's connection and waits until that is done, whoever does it. The library would make the second caller wait for a mutex,
// and virtual time with it.
func (s *Session) hangUp() {
	if _, first := <-s.hangup; first {
		s.drain()
		s.conn.Close()
		close(s.hangup)
	}
}

// drainTimeout is how long operations under way are waited for before the library's connection is closed.
const drainTimeout = 500 * time.Millisecond

// drain lets no operation begin any more and waits for those under way, as far as they end in time. A request that the library takes up in the moment of
// its Close, and cannot write, is answered three times into a channel for two, and its main goroutine never ends.
func (s *Session) drain() {
	s.mu.Lock()
	idle := make(chan struct{})
	s.draining, s.idle = true, idle
	if s.active == 0 {
		close(idle)
	}
	s.mu.Unlock()
	t := time.NewTimer(drainTimeout)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}

// operationEnded counts an operation that operate has begun.
func (s *Session) operationEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active--; s.active == 0 && s.draining {
		close(s.idle)
	}
}

// finish marks the session as over and reports whether it was not before. If so it starts then, unless that is nil: before anybody can know, so that whoever
// waits for the session's goroutines waits for this one too.
func (s *Session) finish(err error, then func()) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	if then != nil {
		s.wg.Go(then)
	}
	s.err = err
	s.over.Store(true)
	s.mu.Unlock()
	s.kill()
	s.watch.wake()
	return true
}

// dropConn closes the current connection.
func (s *Session) dropConn() {
	s.mu.Lock()
	wire := s.link.wire
	s.mu.Unlock()
	if wire != nil {
		_ = wire.Close() // closing twice, or a dead connection, is no news
	}
}

// close ends the session on the server as well, which removes its ephemeral nodes, and waits for all goroutines. When ctx
// ends first, the connection is dropped and the server finds out after the session timeout.
func (s *Session) close(ctx context.Context) error {
	farewell := make(chan struct{})
	if !s.goWhileLive(func() {
		defer close(farewell)
		<-s.opened
		s.hangUp()
	}) {
		close(farewell) // there is nobody left to take leave of
	}
	var err error
	select {
	case <-farewell:
	case <-ctx.Done():
		err = fmt.Errorf("close the zookeeper session: %w", ctx.Err())
	}
	if s.finish(ErrClosed, nil) {
		s.log.Debug("session closed")
	}
	s.dropConn()
	s.wg.Wait()
	return err
}

// abandon ends the session without a farewell and waits for all goroutines, a second or so.
func (s *Session) abandon() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return s.close(ctx)
}

// goWhileLive starts a goroutine that close waits for, unless the session is over.
func (s *Session) goWhileLive(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return false
	}
	s.wg.Go(f)
	return true
}

// operate starts the goroutine of an operation, unless the session is over or about to be closed.
func (s *Session) operate(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() || s.draining {
		return false
	}
	s.active++
	s.wg.Go(func() {
		defer s.operationEnded()
		f()
	})
	return true
}

// full puts the chroot before a path.
func (s *Session) full(path string) string {
	if path == "/" && s.chroot != "" {
		return s.chroot
	}
	return s.chroot + path
}

// strip takes the chroot off a path. Paths outside of it cannot come from the server.
func (s *Session) strip(path string) string {
	if s.chroot == "" {
		return path
	}
	rest, ok := strings.CutPrefix(path, s.chroot)
	if ok && rest == "" {
		return "/"
	}
	return rest
}

// lastDialError returns why the last attempt to connect failed, for the error of Open.
func (s *Session) lastDialError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.err
}
