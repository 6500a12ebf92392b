package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Line is a connection to one broker for pings alone, so that no bulk delays them. It belongs to one goroutine.
type Line struct {
	peers   *Peers
	id      cluster.BrokerID
	link    *link       // nil before the first ping
	refused atomic.Bool // the last attempt to connect was refused, or ended without a word from the other side
}

// Line returns a line to a broker; nothing is connected yet. The caller closes it.
func (p *Peers) Line(id cluster.BrokerID) *Line { return &Line{peers: p, id: id} }

// Ping implements [contact.Line].
func (l *Line) Ping(ctx context.Context, r contact.Report) error {
	if l.link == nil {
		addr, err := l.peers.address(l.id)
		if err != nil {
			return fmt.Errorf("ping broker %d: %w", l.id, err)
		}
		if l.link, err = l.peers.connectWith(addr, l.dial); err != nil {
			return fmt.Errorf("ping broker %d: %w", l.id, err)
		}
	}
	req := &ottlapb.PingRequest{BrokerId: int32(l.peers.cfg.BrokerID), DiskStalled: r.Stalled}
	for _, s := range r.Lost {
		req.Silent = append(req.Silent, &ottlapb.SilentBroker{BrokerId: int32(s.Broker), Refused: s.Loss == contact.Refused})
	}
	res, err := ottlapb.NewPeerServiceClient(l.link.conn).Ping(ctx, req)
	switch code := status.Code(err); {
	case err == nil && cluster.BrokerID(res.GetBrokerId()) != l.id:
		return fmt.Errorf("ping broker %d at %s: broker %d answers", l.id, l.link.addr, res.GetBrokerId())
	case err == nil:
		return nil
	case code == codes.Unavailable && l.refused.Load():
		return fmt.Errorf("ping broker %d at %s: %w", l.id, l.link.addr, contact.ErrRefused)
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled:
		return fmt.Errorf("ping broker %d at %s: %w", l.id, l.link.addr, err)
	}
	return nil // an answer all the same, from a broker that does not know the call or has no room for it
}

// dial connects and notes whether that was refused.
func (l *Line) dial(ctx context.Context, addr string) (net.Conn, error) {
	dial := l.peers.cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	conn, err := dial(ctx, addr)
	l.refused.Store(errors.Is(err, syscall.ECONNREFUSED))
	if err != nil {
		return nil, err
	}
	return &greeting{Conn: conn, line: l}, nil
}

// greeting is a connection that notes if it ends before anything was received: a proxy in front of a broker that is gone accepts connections, and
// can only hang up. A broker that is frozen says nothing, and neither does its system.
type greeting struct {
	net.Conn
	line  *Line
	heard atomic.Bool // anything
}

// Read implements net.Conn.
func (g *greeting) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.heard.Store(true)
	}
	g.note(err)
	return n, err
}

// Write implements net.Conn. When the other side hangs up at once, it is the first to notice.
func (g *greeting) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	g.note(err)
	return n, err
}

// note looks at how the connection ended.
func (g *greeting) note(err error) {
	if !g.heard.Load() && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		g.line.refused.Store(true)
	}
}

// Broken implements [contact.Line].
func (l *Line) Broken(ctx context.Context) {
	if l.link == nil || !l.link.conn.WaitForStateChange(ctx, connectivity.Ready) {
		<-ctx.Done()
	}
}

// Close implements [contact.Line].
func (l *Line) Close() {
	if l.link != nil {
		l.link.close()
		l.link = nil
	}
}
