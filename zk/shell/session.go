package shell

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// Dialer connects to a server.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// maxReply bounds a reply: children of very large nodes are long lists.
const maxReply = 64 << 20

// pauseAfterRound is how long a session rests when no server could be reached.
const pauseAfterRound = time.Second

// minPatience is how long at least a server has to take up a session.
const minPatience = time.Second

// sessionState is the state of a session, in the words of ZooKeeper's client.
type sessionState string

const (
	connecting sessionState = "CONNECTING"
	connected  sessionState = "CONNECTED"
	authFailed sessionState = "AUTH_FAILED"
	closed     sessionState = "CLOSED"
)

// alive reports whether the session may still answer.
func (s sessionState) alive() bool { return s == connecting || s == connected }

// event is what the user is told: a change of the session, or of a node.
type event struct {
	state string // SyncConnected, Disconnected, Expired, Closed, AuthFailed
	kind  string // None for the session
	path  string // null for the session
}

// session is one ZooKeeper session over one connection at a time. It reconnects until it is closed, expires, or fails to authenticate.
//
// Its methods are for one goroutine, that of the commands; what they share with the session's own goroutines is under mu.
type session struct {
	target   connectString
	timeout  time.Duration
	readOnly bool
	dial     Dialer
	tell     func(event) // called by the session's goroutine, never with mu held
	cancel   context.CancelFunc
	done     chan struct{} // closed when the session's goroutine has ended

	mu       sync.Mutex
	state    sessionState
	changed  chan struct{} // closed and replaced when state or failures change
	failures int           // rounds through all servers without a connection
	nc       net.Conn      // while connected
	xid      int32
	pending  []*call // sent and not answered, in order
	auths    []jute.AuthRequest
	watches  watchSet
	id       int64
	password []byte
	zxid     int64 // the highest seen
	idle     time.Duration
	closing  bool
}

// call is a request on its way.
type call struct {
	xid   int32
	reply chan reply // takes one
	// onReply runs before the reply is handed over and before later frames are read.
	onReply func(code jute.Code)
}

// reply is the answer to a call.
type reply struct {
	code jute.Code
	body *jute.Decoder
}

// errNotConnected means that the session is over.
var errNotConnected = errors.New("Not connected") //lint:ignore ST1005 it is what ZooKeeper's client prints

// openSession starts a session; it connects in the background.
func openSession(target connectString, timeout time.Duration, readOnly bool, dial Dialer, tell func(event)) *session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{
		target: target, timeout: timeout, readOnly: readOnly, dial: dial, tell: tell, cancel: cancel,
		done: make(chan struct{}), state: connecting, changed: make(chan struct{}), password: make([]byte, 16),
	}
	go s.run(ctx)
	return s
}

// run keeps the session connected until its end.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	end := event{state: "Closed", kind: "None"}
	defer func() { s.tell(end) }()
	for next := 0; ; next++ {
		addr := s.target.hosts[next%len(s.target.hosts)]
		nc, err := s.connect(ctx, addr)
		switch {
		case ctx.Err() != nil || s.isClosing():
			if nc != nil {
				_ = nc.Close()
			}
			s.end(closed)
			return
		case errors.Is(err, errExpired):
			end.state = "Expired"
			s.end(closed)
			return
		case err != nil:
			if (next+1)%len(s.target.hosts) == 0 {
				s.noServer()
				select {
				case <-ctx.Done():
				case <-time.After(pauseAfterRound):
				}
			}
			continue
		}
		s.tell(event{state: "SyncConnected", kind: "None"})
		s.up(nc)
		failedAuth := s.receive(nc)
		why := jute.ConnectionLoss
		if failedAuth {
			why = jute.AuthFailed
		}
		s.down(nc, why)
		switch {
		case failedAuth:
			end.state = "AuthFailed"
			s.end(authFailed)
			return
		case s.isClosing():
			s.end(closed)
			return
		}
		s.tell(event{state: "Disconnected", kind: "None"})
	}
}

// errExpired is the answer of a server that does not know the session any more.
var errExpired = errors.New("session expired")

// connect makes a connection and takes up the session on it.
func (s *session) connect(ctx context.Context, addr string) (net.Conn, error) {
	patience := max(s.timeout/time.Duration(3*len(s.target.hosts)), minPatience) // so that there is time for another before the session expires
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc, err := s.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	s.mu.Lock()
	rq := jute.ConnectRequest{
		LastZxidSeen: s.zxid, TimeoutMs: int32(s.timeout / time.Millisecond), SessionID: s.id, Password: s.password, ReadOnly: s.readOnly, HasReadOnly: true,
	}
	s.mu.Unlock()
	var e jute.Encoder
	at := e.BeginFrame()
	rq.Encode(&e)
	e.EndFrame(at)
	var r jute.ConnectResponse
	if _, err = nc.Write(e.Bytes()); err == nil {
		var body []byte
		if body, err = jute.ReadFrame(nc, maxReply); err == nil {
			d := jute.NewDecoder(body)
			r.Decode(d)
			err = d.Err()
		}
	}
	if err == nil && (r.SessionID == 0 || r.TimeoutMs <= 0) {
		err = errExpired
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	s.mu.Lock()
	s.id, s.password, s.idle = r.SessionID, r.Password, time.Duration(r.TimeoutMs)*time.Millisecond
	s.mu.Unlock()
	return nc, nil
}

// up makes a connection the current one and restores what the server forgets with a connection.
func (s *session) up(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nc, s.failures = nc, 0
	for i := range s.auths {
		s.send(jute.XidAuth, jute.OpAuth, &s.auths[i])
	}
	if rq := s.watches.request(s.zxid); rq != nil {
		s.send(jute.XidSetWatches, jute.OpSetWatches2, rq)
	}
	s.change(connected)
}

// down ends the use of a connection. What was under way may or may not have been done; why is its error.
func (s *session) down(nc net.Conn, why jute.Code) {
	_ = nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nc = nil
	lost := s.pending
	s.pending = nil
	for _, c := range lost {
		c.reply <- reply{code: why}
	}
	if s.state == connected {
		s.change(connecting)
	}
}

// noServer notes that no server could be reached.
func (s *session) noServer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.change(s.state)
}

// end makes the state final.
func (s *session) end(state sessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(state)
}

// change sets the state and wakes who waits for a change. mu is held.
func (s *session) change(state sessionState) {
	s.state = state
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// current returns the state.
func (s *session) current() sessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// awaitConnected waits for the first connection.
func (s *session) awaitConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		s.mu.Lock()
		state, changed := s.state, s.changed
		s.mu.Unlock()
		switch state {
		case connected:
			return nil
		case closed, authFailed:
			return errNotConnected
		case connecting:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &resultError{code: jute.ConnectionLoss}
		}
	}
}

// receive reads frames until the connection ends, and pings meanwhile. It reports whether the server refused to authenticate.
func (s *session) receive(nc net.Conn) (refused bool) {
	stop := make(chan struct{})
	var pinger sync.WaitGroup
	defer pinger.Wait()
	defer close(stop)
	pinger.Go(func() {
		tick := time.NewTicker(max(s.idle/3, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mu.Lock()
				s.send(jute.XidPing, jute.OpPing, nil)
				s.mu.Unlock()
			case <-stop:
				return
			}
		}
	})
	for {
		_ = nc.SetReadDeadline(time.Now().Add(s.idle * 2 / 3))
		body, err := jute.ReadFrame(nc, maxReply)
		if err != nil {
			return refused
		}
		d := jute.NewDecoder(body)
		var h jute.ReplyHeader
		if h.Decode(d); d.Err() != nil {
			return refused
		}
		switch h.Xid {
		case jute.XidNotification:
			s.notified(d)
		case jute.XidAuth:
			refused = refused || h.Err != jute.OK // the server closes the connection next
		case jute.XidPing, jute.XidSetWatches:
		default:
			if !s.answered(h, d) {
				return refused
			}
		}
	}
}

// notified passes an event on if it concerns anybody.
func (s *session) notified(d *jute.Decoder) {
	var w jute.WatcherEvent
	if w.Decode(d); d.Err() != nil {
		return
	}
	s.mu.Lock()
	wanted := s.watches.fire(w.Type, w.Path)
	s.mu.Unlock()
	names := map[jute.EventType]string{
		jute.EventNodeCreated: "NodeCreated", jute.EventNodeDeleted: "NodeDeleted", jute.EventNodeDataChanged: "NodeDataChanged",
		jute.EventNodeChildrenChanged: "NodeChildrenChanged",
	}
	if name, ok := names[w.Type]; ok && wanted {
		s.tell(event{state: "SyncConnected", kind: name, path: s.target.local(w.Path)})
	}
}

// answered hands a reply to the oldest call. It reports whether that is the one it belongs to; otherwise the connection is of no use.
func (s *session) answered(h jute.ReplyHeader, d *jute.Decoder) bool {
	s.mu.Lock()
	if len(s.pending) == 0 || s.pending[0].xid != h.Xid {
		s.mu.Unlock()
		return false
	}
	c := s.pending[0]
	s.pending = s.pending[1:]
	s.zxid = max(s.zxid, h.Zxid)
	if c.onReply != nil {
		c.onReply(h.Err)
	}
	s.mu.Unlock()
	c.reply <- reply{h.Err, d}
	return true
}

// send writes a request to the current connection, if there is one. mu is held. A connection that does not take it ends, which its reader notices.
func (s *session) send(xid int32, op jute.Op, r jute.Record) {
	if s.nc == nil {
		return
	}
	var e jute.Encoder
	at := e.BeginFrame()
	h := jute.RequestHeader{Xid: xid, Op: op}
	h.Encode(&e)
	if r != nil {
		r.Encode(&e)
	}
	e.EndFrame(at)
	_ = s.nc.SetWriteDeadline(time.Now().Add(s.idle))
	if _, err := s.nc.Write(e.Bytes()); err != nil {
		_ = s.nc.Close()
	}
}

// do sends a request and waits for its answer. path is what a refusal is said to be about. onReply runs with mu held, see call.
func (s *session) do(ctx context.Context, op jute.Op, r jute.Record, path string, onReply func(jute.Code)) (*jute.Decoder, error) {
	c := &call{reply: make(chan reply, 1), onReply: onReply}
	s.mu.Lock()
	for failures := s.failures; s.nc == nil; {
		changed := s.changed
		switch {
		case !s.state.alive():
			s.mu.Unlock()
			return nil, errNotConnected
		case s.failures != failures:
			s.mu.Unlock()
			return nil, &resultError{jute.ConnectionLoss, path}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s.mu.Lock()
	}
	s.xid++
	c.xid = s.xid
	s.pending = append(s.pending, c)
	s.send(c.xid, op, r)
	s.mu.Unlock()
	select {
	case got := <-c.reply:
		if got.code != jute.OK {
			return nil, &resultError{got.code, path}
		}
		return got.body, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// authenticate adds an identity to this connection and to later ones. A server that refuses ends the session.
func (s *session) authenticate(scheme string, auth []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auths = append(s.auths, jute.AuthRequest{Scheme: scheme, Auth: auth})
	s.send(jute.XidAuth, jute.OpAuth, &s.auths[len(s.auths)-1])
}

// closeTimeout bounds the wait for a server's answer to the end of a session.
const closeTimeout = 3 * time.Second

// close ends the session, on the server too if there is a connection, and waits until everything of it has ended.
func (s *session) close(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	up := s.nc != nil
	s.mu.Unlock()
	if up {
		ctx, cancel := context.WithTimeout(ctx, closeTimeout)
		_, _ = s.do(ctx, jute.OpCloseSession, nil, "", nil) // without an answer the session expires
		cancel()
	}
	s.cancel()
	s.mu.Lock()
	if s.nc != nil {
		_ = s.nc.Close()
	}
	s.mu.Unlock()
	<-s.done
}
