// Package zktest is a conformance suite for servers of the ZooKeeper protocol. Run speaks the raw protocol to a server
// and checks bytes, codes, Stats, events and their order against what Apache ZooKeeper 3.8 was observed to do; the
// same suite runs on Apache's server and on package embedded, so that neither the sheet of facts nor the embedded server
// can drift. Client, the suite's plain client, and Play, which compares two servers under random requests, may be used
// by other tests.
//
// Where a server is known to differ on purpose, the check says so and asks Server.Apache.
package zktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// Server is a server under test. It should be empty and belong to the suite alone.
type Server struct {
	// Dial connects to it.
	Dial func(ctx context.Context) (net.Conn, error)
	// Tick is its tickTime; session timeouts are between 2 and 20 ticks. It should be short, as 500 ms.
	Tick time.Duration
	// Apache tells that it is Apache's 3.8.0, with the quirks that others need not have.
	Apache bool
}

// patience bounds every wait for a server's answer.
const patience = 20 * time.Second

// Client is a plain client: one connection, one request at a time, nothing behind the caller's back (no pings, no
// reconnects). It is owned by one goroutine. Failures of the connection fail the test, except where noted.
type Client struct {
	t        testing.TB
	nc       net.Conn
	xid      int32
	Session  int64         // id given in the handshake
	Password []byte        // given in the handshake
	Timeout  time.Duration // negotiated
	LastZxid int64         // of the last reply

	events []jute.WatcherEvent // arrived, not asked for yet
	apache bool                // some of its error replies have a body, which clients pass over
}

// Reply is a server's answer.
type Reply struct {
	jute.ReplyHeader
	Body   *jute.Decoder       // what follows the header
	Events []jute.WatcherEvent // that arrived before it
}

// Open connects without a handshake. The connection is closed at the end of the test.
func (s Server) Open(t testing.TB) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := s.Dial(ctx)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	c := &Client{t: t, nc: nc, apache: s.Apache}
	t.Cleanup(func() { _ = nc.Close() })
	return c
}

// Connect opens a connection with a new session of ten ticks.
func (s Server) Connect(t testing.TB) *Client {
	t.Helper()
	c := s.Open(t)
	if r := c.Handshake(jute.ConnectRequest{TimeoutMs: int32(10 * s.Tick / time.Millisecond)}); r.SessionID == 0 {
		t.Fatal("no session was given")
	}
	return c
}

// Handshake sends a connect request and returns the answer.
func (c *Client) Handshake(rq jute.ConnectRequest) jute.ConnectResponse {
	c.t.Helper()
	c.SendRecord(&rq)
	body := c.ReadFrame()
	var r jute.ConnectResponse
	d := jute.NewDecoder(body)
	if r.Decode(d); d.Err() != nil || d.Len() != 0 {
		c.t.Fatalf("connect response % x: %v, %d bytes left", body, d.Err(), d.Len())
	}
	c.Session, c.Password, c.Timeout = r.SessionID, r.Password, time.Duration(r.TimeoutMs)*time.Millisecond
	return r
}

// SendRecord sends a frame that holds one record.
func (c *Client) SendRecord(r jute.Record) {
	c.t.Helper()
	var e jute.Encoder
	at := e.BeginFrame()
	r.Encode(&e)
	e.EndFrame(at)
	c.SendRaw(e.Bytes())
}

// SendRaw sends bytes as they are.
func (c *Client) SendRaw(p []byte) {
	c.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(p); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// ReadFrame reads the body of the next frame.
func (c *Client) ReadFrame() []byte {
	c.t.Helper()
	body, err := c.TryFrame(patience)
	if err != nil {
		c.t.Fatalf("read a frame: %v", err)
	}
	return body
}

// TryFrame reads the body of the next frame, or returns the error of the connection.
func (c *Client) TryFrame(within time.Duration) ([]byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(within))
	return jute.ReadFrame(c.nc, 64<<20)
}

// ReadAll reads to the end of the connection.
func (c *Client) ReadAll() []byte {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	p, err := io.ReadAll(c.nc)
	if err != nil {
		c.t.Fatalf("read to the end: %v (got %q)", err, p)
	}
	return p
}

// ExpectEnd checks that the server closes the connection, within the given time, without sending anything more.
func (c *Client) ExpectEnd(within time.Duration) {
	c.t.Helper()
	body, err := c.TryFrame(within)
	var timeout net.Error
	switch {
	case err == nil:
		c.t.Fatalf("the connection is not closed, a frame came: % x", body)
	case errors.As(err, &timeout) && timeout.Timeout():
		c.t.Fatalf("the connection is not closed after %v", within)
	}
}

// Send sends a request without waiting for the answer, and returns its xid.
func (c *Client) Send(op jute.Op, r jute.Record) int32 {
	c.t.Helper()
	c.xid++
	c.SendXid(c.xid, op, func(e *jute.Encoder) {
		if r != nil {
			r.Encode(e)
		}
	})
	return c.xid
}

// SendXid sends a request with a given xid and body.
func (c *Client) SendXid(xid int32, op jute.Op, body func(e *jute.Encoder)) {
	c.t.Helper()
	var e jute.Encoder
	at := e.BeginFrame()
	h := jute.RequestHeader{Xid: xid, Op: op}
	h.Encode(&e)
	if body != nil {
		body(&e)
	}
	e.EndFrame(at)
	c.SendRaw(e.Bytes())
}

// Receive reads until a reply and returns it with the events that came before.
func (c *Client) Receive() Reply {
	c.t.Helper()
	for {
		body := c.ReadFrame()
		d := jute.NewDecoder(body)
		var r Reply
		if r.ReplyHeader.Decode(d); d.Err() != nil {
			c.t.Fatalf("reply % x: %v", body, d.Err())
		}
		if r.Xid == jute.XidNotification {
			c.event(d)
			continue
		}
		if r.Err != jute.OK && d.Len() != 0 && !c.apache {
			c.t.Fatalf("an error reply has a body of %d bytes", d.Len())
		}
		if r.Zxid > 0 {
			c.LastZxid = r.Zxid
		}
		r.Body, r.Events = d, c.events
		c.events = nil
		return r
	}
}

func (c *Client) event(d *jute.Decoder) {
	c.t.Helper()
	var w jute.WatcherEvent
	if w.Decode(d); d.Err() != nil || d.Len() != 0 || w.State != jute.EventStateConnected {
		c.t.Fatalf("event %+v: %v, %d bytes left", w, d.Err(), d.Len())
	}
	c.events = append(c.events, w)
}

// Call sends a request and returns its reply, whose xid it checks.
func (c *Client) Call(op jute.Op, r jute.Record) Reply {
	c.t.Helper()
	xid := c.Send(op, r)
	reply := c.Receive()
	if reply.Xid != xid && op != jute.OpPing {
		c.t.Fatalf("reply to xid %d, wanted %d", reply.Xid, xid)
	}
	return reply
}

// NextEvent waits for an event. Only events may arrive.
func (c *Client) NextEvent() jute.WatcherEvent {
	c.t.Helper()
	for len(c.events) == 0 {
		body := c.ReadFrame()
		d := jute.NewDecoder(body)
		var h jute.ReplyHeader
		if h.Decode(d); d.Err() != nil || h.Xid != jute.XidNotification {
			c.t.Fatalf("an event was wanted, got % x", body)
		}
		c.event(d)
	}
	w := c.events[0]
	c.events = c.events[1:]
	return w
}

// Close ends the connection, not the session.
func (c *Client) Close() { _ = c.nc.Close() }

// The rest are requests in short.

// OpenACL is world:anyone with all permissions.
func OpenACL() []jute.ACL {
	return []jute.ACL{{Perms: jute.PermAll, Scheme: "world", ID: "anyone"}}
}

// Create creates a node with an open ACL and returns the reply's code and the final path.
func (c *Client) Create(path string, data []byte, mode jute.CreateMode) (string, jute.Code) {
	c.t.Helper()
	r := c.Call(jute.OpCreate, &jute.CreateRequest{Path: path, Data: data, ACL: OpenACL(), Mode: mode})
	if r.Err != jute.OK {
		return "", r.Err
	}
	return r.Body.String(), jute.OK
}

// MustCreate creates a node and returns its path.
func (c *Client) MustCreate(path string, data []byte, mode jute.CreateMode) string {
	c.t.Helper()
	p, code := c.Create(path, data, mode)
	if code != jute.OK {
		c.t.Fatalf("create %s: %v", path, code)
	}
	return p
}

// Delete deletes a node.
func (c *Client) Delete(path string, version int32) jute.Code {
	c.t.Helper()
	return c.Call(jute.OpDelete, &jute.PathVersionRequest{Path: path, Version: version}).Err
}

// Set writes a node's data.
func (c *Client) Set(path string, data []byte, version int32) (jute.Stat, jute.Code) {
	c.t.Helper()
	return c.stat(c.Call(jute.OpSetData, &jute.SetDataRequest{Path: path, Data: data, Version: version}))
}

// Exists asks for a node's Stat.
func (c *Client) Exists(path string, watch bool) (jute.Stat, jute.Code) {
	c.t.Helper()
	return c.stat(c.Call(jute.OpExists, &jute.PathWatchRequest{Path: path, Watch: watch}))
}

// MustStat returns the Stat of a node that exists.
func (c *Client) MustStat(path string) jute.Stat {
	c.t.Helper()
	s, code := c.Exists(path, false)
	if code != jute.OK {
		c.t.Fatalf("exists %s: %v", path, code)
	}
	return s
}

// Get reads a node's data.
func (c *Client) Get(path string, watch bool) ([]byte, jute.Stat, jute.Code) {
	c.t.Helper()
	r := c.Call(jute.OpGetData, &jute.PathWatchRequest{Path: path, Watch: watch})
	if r.Err != jute.OK {
		return nil, jute.Stat{}, r.Err
	}
	data := r.Body.Buffer()
	s, _ := c.stat(r)
	return data, s, jute.OK
}

// Children lists a node's children.
func (c *Client) Children(path string, watch bool) ([]string, jute.Stat, jute.Code) {
	c.t.Helper()
	r := c.Call(jute.OpGetChildren2, &jute.PathWatchRequest{Path: path, Watch: watch})
	if r.Err != jute.OK {
		return nil, jute.Stat{}, r.Err
	}
	names := r.Body.Strings()
	s, _ := c.stat(r)
	return names, s, jute.OK
}

// Ping sends a ping; its reply shows that all earlier requests have been carried out.
func (c *Client) Ping() Reply {
	c.t.Helper()
	return c.Call(jute.OpPing, nil)
}

// EndSession closes the session and checks that the connection ends behind the reply.
func (c *Client) EndSession() Reply {
	c.t.Helper()
	r := c.Call(jute.OpCloseSession, nil)
	c.ExpectEnd(patience)
	return r
}

// stat reads a Stat that ends a reply.
func (c *Client) stat(r Reply) (jute.Stat, jute.Code) {
	c.t.Helper()
	if r.Err != jute.OK {
		return jute.Stat{}, r.Err
	}
	var s jute.Stat
	if s.Decode(r.Body); r.Body.Err() != nil || r.Body.Len() != 0 {
		c.t.Fatalf("stat: %v, %d bytes left", r.Body.Err(), r.Body.Len())
	}
	return s, jute.OK
}

// OpResult is the result of one operation of a multi.
type OpResult struct {
	Op   jute.Op   // type word of the result
	Err  jute.Code // of this operation
	Path string    // of creates
	Stat jute.Stat
	Data []byte
	Kids []string
}

// Multi sends a multi or multiRead and decodes the results.
func (c *Client) Multi(op jute.Op, ops ...jute.MultiOp) (Reply, []OpResult) {
	c.t.Helper()
	c.xid++
	c.SendXid(c.xid, op, func(e *jute.Encoder) { jute.EncodeMulti(e, ops) })
	r := c.Receive()
	if r.Xid != c.xid {
		c.t.Fatalf("reply to xid %d, wanted %d", r.Xid, c.xid)
	}
	if r.Err != jute.OK {
		return r, nil
	}
	results, err := decodeResults(r.Body)
	if err != nil {
		c.t.Fatalf("multi response: %v", err)
	}
	return r, results
}

func decodeResults(d *jute.Decoder) ([]OpResult, error) {
	var out []OpResult
	for {
		var h jute.MultiHeader
		h.Decode(d)
		if d.Err() != nil {
			return nil, d.Err()
		}
		if h.Done {
			if h != jute.MultiEnd || d.Len() != 0 {
				return nil, fmt.Errorf("end header %+v, %d bytes left", h, d.Len())
			}
			return out, nil
		}
		r := OpResult{Op: h.Op, Err: h.Err}
		switch h.Op {
		case jute.OpCreate:
			r.Path = d.String()
		case jute.OpCreate2:
			r.Path = d.String()
			r.Stat.Decode(d)
		case jute.OpSetData:
			r.Stat.Decode(d)
		case jute.OpGetData:
			r.Data = d.Buffer()
			r.Stat.Decode(d)
		case jute.OpGetChildren:
			r.Kids = d.Strings()
		case jute.OpError:
			if code := jute.Code(d.Int()); code != h.Err {
				return nil, fmt.Errorf("error %d in the header, %d in the body", h.Err, code)
			}
		default:
		}
		out = append(out, r)
	}
}

// AwaitReady waits until the server answers the four-letter word srvr with its mode, which a server that still starts
// does not. It gives up when ended is closed.
func (s Server) AwaitReady(within time.Duration, ended <-chan struct{}) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	retry := time.NewTicker(2 * time.Millisecond)
	defer retry.Stop()
	var last error
	for {
		if last = s.ready(); last == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-deadline.C:
			return fmt.Errorf("not ready after %v: %w", within, last)
		case <-ended:
			return fmt.Errorf("the server has ended: %w", last)
		}
	}
}

func (s Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	nc, err := s.Dial(ctx)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := nc.Write([]byte("srvr")); err != nil {
		return err
	}
	answer, err := io.ReadAll(nc)
	if err != nil {
		return err
	}
	if !strings.Contains(string(answer), "Mode:") {
		return fmt.Errorf("srvr answers %q", answer)
	}
	return nil
}

// TrySend sends a request and reports whether the connection took it.
func (c *Client) TrySend(op jute.Op, r jute.Record) bool {
	c.xid++
	var e jute.Encoder
	at := e.BeginFrame()
	h := jute.RequestHeader{Xid: c.xid, Op: op}
	h.Encode(&e)
	r.Encode(&e)
	e.EndFrame(at)
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.nc.Write(e.Bytes())
	return err == nil
}
