package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// zooValue is the size of the nodes' data in bytes.
const zooValue = 100

// zooMeasure is one kind of load.
type zooMeasure struct {
	what     string
	node     string  // name of the node that it works on or below
	op       jute.Op // create, setData or getData
	requests int     // in all, at scale 1
	inFlight int     // requests without an answer at a time; 1 measures latencies
}

var zooMeasures = []zooMeasure{
	{"create, one at a time", "create", jute.OpCreate, 3000, 1},
	{"set, one at a time", "set", jute.OpSetData, 3000, 1},
	{"get, one at a time", "get", jute.OpGetData, 10_000, 1},
	{"create, 16 in flight", "create16", jute.OpCreate, 20_000, 16},
	{"create, 256 in flight", "create256", jute.OpCreate, 50_000, 256},
	{"set, 256 in flight", "set256", jute.OpSetData, 50_000, 256},
	{"get, 256 in flight", "get256", jute.OpGetData, 100_000, 256},
}

// request returns the i-th request of a load.
func (m zooMeasure) request(node string, i int) jute.Record {
	switch m.op {
	case jute.OpCreate:
		return &jute.CreateRequest{Path: node + "/" + strconv.Itoa(i), Data: make([]byte, zooValue), ACL: anybody}
	case jute.OpSetData:
		return &jute.SetDataRequest{Path: node, Data: make([]byte, zooValue), Version: -1}
	default:
		return &jute.PathWatchRequest{Path: node}
	}
}

var anybody = []jute.ACL{{Perms: jute.PermAll, Scheme: "world", ID: "anyone"}}

// zooConn is a plain client: what it costs is the same for every server, and little. It is owned by one goroutine, except
// that another may send while it receives.
type zooConn struct {
	nc  net.Conn
	in  *bufio.Reader
	out *bufio.Writer
	enc jute.Encoder
	xid int32
}

// dialZoo connects with a new session of the longest timeout, and creates the node that the load works on.
func dialZoo(ctx context.Context, addr, node string) (*zooConn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &zooConn{nc: nc, in: bufio.NewReaderSize(nc, 64<<10), out: bufio.NewWriterSize(nc, 64<<10)}
	if err := c.handshake(node); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *zooConn) handshake(node string) error {
	at := c.enc.BeginFrame()
	(&jute.ConnectRequest{TimeoutMs: 60_000, Password: make([]byte, 16), HasReadOnly: true}).Encode(&c.enc)
	c.enc.EndFrame(at)
	if err := c.flush(); err != nil {
		return err
	}
	if _, err := jute.ReadFrame(c.in, jute.DefaultMaxFrame); err != nil {
		return err
	}
	if err := c.send(jute.OpCreate, &jute.CreateRequest{Path: node, Data: make([]byte, zooValue), ACL: anybody}); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.receive()
}

// send appends a request to what the next flush sends.
func (c *zooConn) send(op jute.Op, r jute.Record) error {
	c.xid++
	at := c.enc.BeginFrame()
	(&jute.RequestHeader{Xid: c.xid, Op: op}).Encode(&c.enc)
	r.Encode(&c.enc)
	c.enc.EndFrame(at)
	_, err := c.out.Write(c.enc.Bytes())
	c.enc.Reset(c.enc.Bytes()[:0])
	return err
}

func (c *zooConn) flush() error {
	if c.enc.Len() > 0 {
		if _, err := c.out.Write(c.enc.Bytes()); err != nil {
			return err
		}
		c.enc.Reset(c.enc.Bytes()[:0])
	}
	return c.out.Flush()
}

// receive reads the next reply, which must not be an error.
func (c *zooConn) receive() error {
	body, err := jute.ReadFrame(c.in, jute.DefaultMaxFrame)
	if err != nil {
		return err
	}
	var h jute.ReplyHeader
	d := jute.NewDecoder(body)
	if h.Decode(d); d.Err() != nil {
		return d.Err()
	}
	if h.Err != jute.OK {
		return fmt.Errorf("request %d: %v", h.Xid, h.Err)
	}
	return nil
}

// oneByOne sends a request when the one before it is answered.
func oneByOne(ctx context.Context, addr string, m zooMeasure, node string, n int) (zooSample, error) {
	c, err := dialZoo(ctx, addr, node)
	if err != nil {
		return zooSample{}, err
	}
	defer c.nc.Close()
	took := make([]time.Duration, n)
	began := time.Now()
	for i := range n {
		at := time.Now()
		if err := c.send(m.op, m.request(node, i)); err != nil {
			return zooSample{}, err
		}
		if err := c.flush(); err != nil {
			return zooSample{}, err
		}
		if err := c.receive(); err != nil {
			return zooSample{}, err
		}
		took[i] = time.Since(at)
	}
	s := zooSample{perSecond: float64(n) / time.Since(began).Seconds()}
	slices.Sort(took)
	s.p50, s.p99 = took[n/2], took[n*99/100]
	return s, nil
}

// pipelined keeps a number of requests in flight on one connection. Requests leave together when no more may be sent.
func pipelined(ctx context.Context, addr string, m zooMeasure, node string, n int) (zooSample, error) {
	c, err := dialZoo(ctx, addr, node)
	if err != nil {
		return zooSample{}, err
	}
	defer c.nc.Close()
	room := make(chan struct{}, m.inFlight)
	sent := make(chan error, 1)
	began := time.Now()
	go func() {
		sent <- func() error {
			for i := range n {
				select {
				case room <- struct{}{}:
				default:
					if err := c.flush(); err != nil {
						return err
					}
					room <- struct{}{}
				}
				if err := c.send(m.op, m.request(node, i)); err != nil {
					return err
				}
			}
			return c.flush()
		}()
	}()
	for range n {
		if err := c.receive(); err != nil {
			return zooSample{}, err // closing the connection ends the sender, unless it waits for room: the program ends then anyway
		}
		<-room
	}
	s := zooSample{perSecond: float64(n) / time.Since(began).Seconds()}
	return s, <-sent
}
