package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

// Lane is a kind of traffic. Each lane has a connection of its own to every broker: one connection has one writer and one reader, and
// what queues behind a megabyte of records waits for it.
type Lane int8

// The lanes.
const (
	// LaneControl carries metadata, offset lookups, admin calls and, later, group heartbeats.
	LaneControl Lane = iota
	// LaneProduce carries produce streams.
	LaneProduce
	// LaneFetch carries fetch streams.
	LaneFetch
)

// String returns the lane's name.
func (l Lane) String() string { return [...]string{"control", "produce", "fetch"}[l] }

type connKey struct {
	addr string
	lane Lane
}

type connEntry struct {
	cc   *grpc.ClientConn
	idle int // refreshes in a row that did not know the address
}

// conns is the set of open connections, by address and lane. The mutex guards everything below it; it is not held while connecting, because
// gRPC connects with the first call.
type conns struct {
	opts dial.ClientOptions

	mu     sync.Mutex
	open   map[connKey]*connEntry
	closed bool
}

func newConns(cfg *config) *conns {
	return &conns{
		opts: dial.ClientOptions{Dial: cfg.dialer, ClientID: cfg.clientID, MaxMessageBytes: cfg.maxMessageBytes},
		open: map[connKey]*connEntry{},
	}
}

func (c *conns) get(addr string, lane Lane) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	k := connKey{addr, lane}
	if e, ok := c.open[k]; ok {
		return e.cc, nil
	}
	cc, err := dial.Connect(addr, c.opts)
	if err != nil {
		return nil, err
	}
	c.open[k] = &connEntry{cc: cc}
	return cc, nil
}

// retire closes connections to addresses that two metadata answers in a row did not name: the broker is gone or has moved. A single
// answer is not believed, because a broker that is registering anew is missing for a moment.
func (c *conns) retire(known map[string]bool) {
	var gone []*grpc.ClientConn
	c.mu.Lock()
	for k, e := range c.open {
		if known[k.addr] {
			e.idle = 0
			continue
		}
		if e.idle++; e.idle >= 2 {
			gone = append(gone, e.cc)
			delete(c.open, k)
		}
	}
	c.mu.Unlock()
	for _, cc := range gone {
		_ = cc.Close() // closing can only fail because it is closed
	}
}

func (c *conns) close() error {
	c.mu.Lock()
	open := c.open
	c.open, c.closed = nil, true
	c.mu.Unlock()
	var errs []error
	for _, e := range open {
		errs = append(errs, e.cc.Close())
	}
	return errors.Join(errs...)
}

// conn returns the connection to a broker for a lane, and the broker's address.
func (c *Client) conn(id cluster.BrokerID, lane Lane) (*grpc.ClientConn, string, error) {
	b, ok := c.meta.view.Load().broker(id)
	if !ok {
		c.RequestRefresh()
		return nil, "", kerr.NetworkException.With(fmt.Sprintf("broker %d is not in the metadata", id))
	}
	cc, err := c.conns.get(b.Addr(), lane)
	if err == nil && cc.GetState() == connectivity.TransientFailure {
		// Whoever asks has a reason to think that the broker is back, such as being told that it leads, and pauses between attempts itself.
		cc.ResetConnectBackoff()
	}
	return cc, b.Addr(), err
}

// OpenProduce opens a produce stream to a broker and returns it with the broker's address. The stream ends when ctx does. Errors of the
// stream itself become readable through [Transport].
func (c *Client) OpenProduce(ctx context.Context, id cluster.BrokerID) (*wire.ProduceStream, string, error) {
	cc, addr, err := c.conn(id, LaneProduce)
	if err != nil {
		return nil, addr, err
	}
	s, err := wire.OpenProduce(ctx, cc)
	return s, addr, Transport(ctx, addr, err)
}

// OpenFetch opens a fetch session to a broker and returns it with the broker's address. The session ends when ctx does.
func (c *Client) OpenFetch(ctx context.Context, id cluster.BrokerID) (*wire.FetchStream, string, error) {
	cc, addr, err := c.conn(id, LaneFetch)
	if err != nil {
		return nil, addr, err
	}
	s, err := wire.OpenFetch(ctx, cc)
	return s, addr, Transport(ctx, addr, err)
}
