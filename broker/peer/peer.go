// Package peer makes the calls that a broker makes to other brokers: it pings them, follows leaders on Fetch streams, asks them where their logs
// end, and asks the active controller to change in-sync replicas and to prepare for a shutdown.
//
// gRPC stays in here. Callers see plain values, errors that carry a [kerr.Code] where a broker answered one, and contexts that bound every
// call. Nothing here decides: who leads, what to fetch and what an answer means is for package replica.
//
// Each follower stream has a connection of its own, and the controller another, so that bulk never delays changes of in-sync sets. Addresses come
// from the broker's picture of the cluster at every attempt, so a broker that comes back elsewhere is found.
package peer

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
)

// Config says who calls and how. BrokerID and Metadata are required.
type Config struct {
	// BrokerID is this broker.
	BrokerID cluster.BrokerID
	// Metadata is the broker's picture of the cluster: addresses, and who is the controller.
	Metadata *metadata.Cache
	// Listener is the name of the listener on which brokers talk to each other.
	Listener string
	// Dial opens connections; nil means TCP.
	Dial dial.Dialer
	// Token returns what proves to other brokers that this one belongs to the cluster; nil gives no proof.
	Token func() string
	// LeaderTimeout is how long a leader may take for an answer (replica.socket.timeout.ms); 0 means 30 s. The time for which it may hold a
	// fetch back comes on top.
	LeaderTimeout time.Duration
	// ControllerTimeout is how long the controller may take for an answer (controller.socket.timeout.ms); 0 means 30 s.
	ControllerTimeout time.Duration
}

// DefaultTimeout is the default of both timeouts, as in Kafka.
const DefaultTimeout = 30 * time.Second

// Peers calls the other brokers of a cluster. It is safe for concurrent use. Close it when everything opened from it is closed.
type Peers struct {
	cfg Config

	mu         sync.Mutex
	controller *link // to the last controller that was called; nil before the first call
}

// New returns Peers; nothing is connected yet.
func New(cfg Config) *Peers {
	if cfg.LeaderTimeout <= 0 {
		cfg.LeaderTimeout = DefaultTimeout
	}
	if cfg.ControllerTimeout <= 0 {
		cfg.ControllerTimeout = DefaultTimeout
	}
	return &Peers{cfg: cfg}
}

// Close closes the connection to the controller.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.controller != nil {
		p.controller.close()
		p.controller = nil
	}
}

// address returns where a broker can be reached now.
func (p *Peers) address(id cluster.BrokerID) (string, error) {
	b, ok := p.cfg.Metadata.Image().Broker(id)
	if !ok {
		return "", fmt.Errorf("broker %d is not alive", id)
	}
	e, ok := b.Endpoint(p.cfg.Listener)
	if !ok {
		return "", fmt.Errorf("broker %d has no endpoint for listener %s", id, p.cfg.Listener)
	}
	return e.Addr(), nil
}

// link is a connection to one address.
type link struct {
	addr string
	conn *grpc.ClientConn
}

func (p *Peers) connect(addr string) (*link, error) { return p.connectWith(addr, p.cfg.Dial) }

func (p *Peers) connectWith(addr string, d dial.Dialer) (*link, error) {
	conn, err := dial.Connect(addr, dial.ClientOptions{Dial: d, ConnectTimeout: dial.BrokerConnectTimeout, ClientID: fmt.Sprintf("broker-%d", p.cfg.BrokerID), BrokerToken: p.cfg.Token})
	if err != nil {
		return nil, err
	}
	return &link{addr, conn}, nil
}

func (w *link) close() { _ = w.conn.Close() } // it only fails if it is closed already
