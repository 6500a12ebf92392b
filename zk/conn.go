package zk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// wireOwner is what a wireConn tells its session, and asks.
type wireOwner interface {
	// handshaken reports the server's answer to the handshake that was sent at the given time. An error drops the connection.
	handshaken(r handshakeReply, sent time.Time) error
	// answered reports that a request sent at the given time has been answered.
	answered(sent time.Time)
	// silent reports that the server has said nothing for longer than it may: to the handshake, or after it.
	silent(handshake bool)
	// watching reports whether somebody wants a watch set by a read of this path (with the chroot).
	watching(path string, children bool) bool
	// readTimeout is how long a silent server is waited for.
	readTimeout() time.Duration
}

// wireConn lies between the library and the network. It sees whole frames, since the library writes each request with one
// call and reads a length before a body, and uses that to
//
//   - bound the handshake, for which the library waits ten times the read timeout, and the silence after it;
//   - learn session id, password and timeout, which the library does not tell, and which requests have been answered;
//   - refuse frames that would make the library panic or allocate without end;
//   - set the watch flag of reads on behalf of a [Watcher]. The library's own watches are not used: it re-registers them on
//     reconnecting from a position that it reads without synchronization, keeps unfired ones for ever, and logs a failure
//     to set them only.
//
// Reads and writes are called by one goroutine each, as the library does.
type wireConn struct {
	net.Conn
	owner     wireOwner
	handshake time.Duration // bound on the handshake

	// For the reader.
	in      *bufio.Reader
	pending []byte // what of the current frame has not been read

	mu          sync.Mutex
	established bool          // the handshake has been answered
	connectSent time.Time     // when the handshake was sent; zero before
	inFlight    []sentRequest // unanswered requests, oldest first: answers come in the order of requests
	pings       []time.Time   // when the unanswered pings were sent; their answers may overtake
}

// sentRequest is a request without an answer.
type sentRequest struct {
	xid, op int32
	at      time.Time
}

// newWireConn wraps a fresh connection and starts the clock of its handshake.
func newWireConn(conn net.Conn, owner wireOwner, handshake time.Duration) (*wireConn, error) {
	if err := conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return nil, fmt.Errorf("set the deadline of the handshake: %w", err)
	}
	return &wireConn{
		Conn: conn, owner: owner, handshake: handshake,
		in: bufio.NewReaderSize(conn, 32<<10),
	}, nil
}

// SetReadDeadline shortens the library's deadlines. Until the handshake is answered they do not count at all.
func (c *wireConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline does the same for writes.
func (c *wireConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(t, c.Conn.SetWriteDeadline)
}

// setDeadline applies the rule of both directions.
func (c *wireConn) setDeadline(t time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	established := c.established
	c.mu.Unlock()
	if !established {
		return nil
	}
	if limit := time.Now().Add(c.owner.readTimeout()); !t.IsZero() && t.After(limit) {
		t = limit
	}
	return set(t)
}

// Write sends one frame: the handshake first, then requests.
func (c *wireConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	first := c.connectSent.IsZero()
	if first {
		c.connectSent = time.Now()
	}
	c.mu.Unlock()
	if first {
		return c.Conn.Write(p)
	}
	r, err := parseRequest(p)
	if err != nil {
		return 0, err
	}
	out := p
	if r.path != "" && c.owner.watching(r.path, r.op == opChildren) {
		out = bytes.Clone(p)
		out[len(out)-1] = 1
	}
	c.mu.Lock()
	if r.op == opPing {
		c.pings = append(c.pings, time.Now())
	} else {
		c.inFlight = append(c.inFlight, sentRequest{xid: r.xid, op: r.op, at: time.Now()})
	}
	c.mu.Unlock()
	return c.Conn.Write(out)
}

// Read serves the bytes of frames that have been read and checked whole.
func (c *wireConn) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		if err := c.nextFrame(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// nextFrame reads a frame, checks it and notes what it tells.
func (c *wireConn) nextFrame() error {
	var head [4]byte
	_, err := io.ReadFull(c.in, head[:])
	c.mu.Lock()
	established := c.established
	c.mu.Unlock()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.owner.silent(!established)
		}
		return err
	}
	n, low, high := int(binary.BigEndian.Uint32(head[:])), replyHeaderSize, maxFrame
	if !established {
		low, high = 1, maxHandshake
	}
	if n < low || n > high {
		return fmt.Errorf("%w: a frame of %d bytes, want %d to %d", errMalformed, n, low, high)
	}
	// Grown as the bytes come: a length alone must not cost memory.
	var frame bytes.Buffer
	frame.Write(head[:])
	if _, err := io.CopyN(&frame, c.in, int64(n)); err != nil {
		return err
	}
	if established {
		err = c.onReply(frame.Bytes()[4:])
	} else {
		err = c.onHandshake(frame.Bytes()[4:])
	}
	if err != nil {
		return err
	}
	c.pending = frame.Bytes()
	return nil
}

// onHandshake takes the answer to the handshake.
func (c *wireConn) onHandshake(body []byte) error {
	r, err := parseHandshake(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	sent := c.connectSent
	c.mu.Unlock()
	if err := c.owner.handshaken(r, sent); err != nil {
		return err
	}
	c.mu.Lock()
	c.established = true
	c.mu.Unlock()
	return c.Conn.SetDeadline(time.Time{}) // from here on the library's deadlines count
}

// onReply takes an answer or an event.
func (c *wireConn) onReply(body []byte) error {
	xid := int32(binary.BigEndian.Uint32(body))
	code := int32(binary.BigEndian.Uint32(body[12:]))
	if err := c.checkForgotten(); err != nil {
		return err
	}
	switch xid {
	case xidEvent:
		return checkEvent(body[replyHeaderSize:])
	case xidPing:
		c.mu.Lock()
		if len(c.pings) == 0 {
			c.mu.Unlock()
			return nil
		}
		sent := c.pings[0]
		c.pings = c.pings[1:]
		c.mu.Unlock()
		c.owner.answered(sent)
		return nil
	}
	c.mu.Lock()
	if len(c.inFlight) == 0 || c.inFlight[0].xid != xid {
		c.mu.Unlock()
		return fmt.Errorf("%w: an answer to request %d, which is not the one to be answered next", errMalformed, xid)
	}
	r := c.inFlight[0]
	c.inFlight = c.inFlight[1:]
	c.mu.Unlock()
	if code == 0 {
		if err := checkReply(r.op, body[replyHeaderSize:]); err != nil {
			return err
		}
	}
	c.owner.answered(r.at)
	return nil
}

// checkForgotten gives up a connection on which the server answers pings but not a request: the caller, and the place that
// the request takes among those in flight, would wait for ever.
func (c *wireConn) checkForgotten() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inFlight) == 0 {
		return nil
	}
	if waited := time.Since(c.inFlight[0].at); waited > 2*c.owner.readTimeout() {
		return fmt.Errorf("request %d (opcode %d) has had no answer for %v", c.inFlight[0].xid, c.inFlight[0].op, waited)
	}
	return nil
}
