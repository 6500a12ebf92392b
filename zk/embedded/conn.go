package embedded

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/jute"
)

// conn is one client connection. Its reader and writer goroutines and the core share it: the fields say who owns what.
type conn struct {
	s      *Server
	nc     net.Conn
	remote string // address for people
	host   string // the address without port: identity of scheme ip, and what MaxClientCnxns counts
	dead   chan struct{}
	once   sync.Once
	eof    chan struct{} // closed when the client, after a four-letter word, has nothing more to say

	// Set by the reader, read by the core.
	heard   atomic.Int64 // server clock, ns, when the last frame arrived
	waiting atomic.Int64 // requests that have arrived and are not answered yet

	// Owned by the core.
	state   connState
	session *session
	caller  tree.Caller
	stats   connStats

	out outQueue
}

type connState uint8

const (
	connNew    connState = iota // nothing arrived yet
	connOpen                    // has a session
	connClosed                  // refused, or closing: whatever else arrives is ignored
)

// outQueue is what is to be sent to one client.
type outQueue struct {
	mu      sync.Mutex
	buf     []byte
	sending int  // bytes that the writer has taken
	last    bool // close once the queue is empty

	wake    chan struct{} // capacity 1: there is something to do
	drained chan struct{} // capacity 1: something has been sent
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, dead: make(chan struct{}), eof: make(chan struct{})}
	if a := nc.RemoteAddr(); a != nil {
		c.remote = a.String()
	}
	c.host = c.remote
	if host, _, err := net.SplitHostPort(c.remote); err == nil {
		c.host = host
	}
	c.caller.IDs = []tree.ID{{Scheme: "ip", ID: c.host}}
	c.caller.SkipACL = s.cfg.SkipACL
	c.out.wake = make(chan struct{}, 1)
	c.out.drained = make(chan struct{}, 1)
	c.stats.since = time.Now()
	return c
}

// kill ends the connection at once. Anybody may call it, any number of times.
func (c *conn) kill() {
	c.once.Do(func() {
		close(c.dead)
		_ = c.nc.Close()
	})
}

// finish ends the connection when everything queued has been sent, for which the client has the given time.
func (c *conn) finish(within time.Duration) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(within))
	c.out.mu.Lock()
	c.out.last = true
	c.out.mu.Unlock()
	c.poke()
}

func (c *conn) poke() {
	select {
	case c.out.wake <- struct{}{}:
	default:
	}
}

// send queues a frame for the client. An event, which the client has not asked for now, disconnects it instead if too
// much waits already. Replies need no such limit: the reader takes no more requests while SoftQueue is exceeded, so what
// can still come are the replies to the few requests that the core has in its queue.
func (c *conn) send(frame []byte, event bool) {
	c.out.mu.Lock()
	over := event && len(c.out.buf)+c.out.sending > c.s.cfg.Limits.HardQueue
	if !over && !c.out.last {
		c.out.buf = append(c.out.buf, frame...)
	}
	c.out.mu.Unlock()
	if over {
		c.s.log.Warn("client does not read its replies, disconnected", "client", c.remote)
		c.kill()
		return
	}
	c.poke()
}

// queued returns the number of bytes that are not sent yet.
func (c *conn) queued() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.buf) + c.out.sending
}

// writeLoop sends what is queued until the connection ends.
func (c *conn) writeLoop() {
	defer c.kill()
	var spare []byte
	for {
		select {
		case <-c.out.wake:
		case <-c.dead:
			return
		}
		for {
			c.out.mu.Lock()
			buf, last := c.out.buf, c.out.last
			c.out.buf, c.out.sending = spare[:0], len(buf)
			c.out.mu.Unlock()
			if len(buf) == 0 {
				spare = buf
				if last {
					c.linger()
					return
				}
				break
			}
			if _, err := c.nc.Write(buf); err != nil {
				return
			}
			if spare = buf; cap(spare) > readBuffer {
				spare = nil // a large reply must not stay for the connection's life
			}
			c.wrote()
		}
	}
}

// wrote tells the reader that the queue has become shorter. A client that takes what is queued for it is alive, even if
// its pings wait behind a full queue.
func (c *conn) wrote() {
	c.out.mu.Lock()
	over := c.out.sending > c.s.cfg.Limits.SoftQueue
	c.out.sending = 0
	c.out.mu.Unlock()
	if over {
		c.heard.Store(int64(c.s.since()))
	}
	select {
	case c.out.drained <- struct{}{}:
	default:
	}
}

// linger ends the sending direction and waits a moment for the client to close its own. Closing at once would, if
// unread requests are in the receive buffer, reset the connection and could take the last reply with it.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerGrace))
	select {
	case <-c.dead:
	case <-c.eof:
	case <-c.s.halt:
	}
}

const readBuffer = 4 << 10

// readLoop cuts frames and hands them to the core until the connection ends.
func (c *conn) readLoop() {
	defer func() {
		c.kill()
		c.hand(command{c: c, kind: cmdGone})
	}()
	_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.Limits.HandshakeTimeout))
	in := bufio.NewReaderSize(c.nc, readBuffer)
	for kind := cmdConnect; ; kind = cmdRequest {
		body, word, err := c.readFrame(in, kind == cmdConnect)
		if err != nil {
			if errors.Is(err, jute.ErrFrameSize) {
				c.s.log.Debug("frame refused", "client", c.remote, "error", err)
			}
			return
		}
		c.heard.Store(int64(c.s.since()))
		if word {
			kind = cmdWord
		}
		if kind == cmdConnect {
			_ = c.nc.SetReadDeadline(time.Time{})
		}
		if !c.hand(command{c: c, kind: kind, body: body, at: time.Now()}) {
			return
		}
		if kind == cmdWord {
			c.discard(in)
			return
		}
		if !c.waitForRoom() {
			return
		}
	}
}

// readFrame reads one frame; the very first four bytes of a connection may be a four-letter word instead.
func (c *conn) readFrame(in *bufio.Reader, first bool) (body []byte, word bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, false, err
	}
	if first && isWord(string(head[:])) {
		return head[:], true, nil
	}
	n := int32(binary.BigEndian.Uint32(head[:]))
	if n < 0 || int(n) > c.s.cfg.Limits.MaxFrame {
		return nil, false, jute.ErrFrameSize
	}
	body, err = jute.ReadBody(in, int(n))
	return body, false, err
}

// hand gives a command to the core. It reports false if the core has ended.
func (c *conn) hand(cmd command) bool {
	c.waiting.Add(1)
	select {
	case c.s.in <- cmd:
		return true
	case <-c.s.halt:
		return false
	}
}

// waitForRoom holds the reader back while too much is queued for the client. It reports false if the connection ended.
func (c *conn) waitForRoom() bool {
	for c.queued() > c.s.cfg.Limits.SoftQueue {
		select {
		case <-c.out.drained:
		case <-c.dead:
			return false
		}
	}
	return true
}

// discard reads whatever still comes behind a four-letter word, and leaves it to the writer to end the connection: the
// client may have closed its direction before it has the answer.
func (c *conn) discard(in *bufio.Reader) {
	_, _ = io.Copy(io.Discard, in)
	close(c.eof)
	<-c.dead
}
