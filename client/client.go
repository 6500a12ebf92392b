package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// DefaultPort is appended to bootstrap addresses that have no port.
const DefaultPort = "9092"

// Client is a connection to a cluster. All methods are safe for concurrent use. Get one from [Dial] and end it with [Client.Close], after the
// producers and consumers on it.
type Client struct {
	cfg       config
	bootstrap []string
	conns     *conns
	meta      *metadata

	ctx    context.Context // the client's lifetime
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// Dial connects to the cluster that the bootstrap addresses belong to: "host:port,host:port"; a missing port is 9092. It returns once one
// of them has listed the brokers. When none does, the error says for each address why, in words fit for a terminal; [BootstrapTimeout]
// makes it go on trying. ctx bounds Dial only, not the life of the client.
func Dial(ctx context.Context, bootstrap string, opts ...Option) (*Client, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	addrs, err := parseBootstrap(bootstrap)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, bootstrap: addrs, conns: newConns(&cfg), meta: newMetadata()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.firstContact(ctx); err != nil {
		c.cancel()
		c.conns.close()
		return nil, err
	}
	c.wait.Go(c.refreshLoop)
	return c, nil
}

// parseBootstrap splits a list of addresses and completes each.
func parseBootstrap(s string) ([]string, error) {
	var addrs []string
	for a := range strings.SplitSeq(s, ",") {
		a = strings.TrimSpace(a)
		if a == "" {
			continue
		}
		if strings.Contains(a, "://") {
			return nil, fmt.Errorf("parse bootstrap servers %q: %q is a URL, want host:port", s, a)
		}
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			var ae *net.AddrError
			if !errors.As(err, &ae) || ae.Err != "missing port in address" {
				return nil, fmt.Errorf("parse bootstrap servers %q: %w", s, err)
			}
			host, port = strings.Trim(a, "[]"), DefaultPort
		}
		if host == "" {
			host = "localhost"
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("parse bootstrap servers %q: no address given, want host:port,host:port", s)
	}
	return addrs, nil
}

// firstContact asks the bootstrap addresses in turn until one lists the brokers.
func (c *Client) firstContact(ctx context.Context) error {
	deadline := time.Now().Add(c.cfg.bootstrapTimeout)
	for attempt := 1; ; attempt++ {
		err := c.refresh(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !Retriable(err) || !time.Now().Before(deadline) {
			return fmt.Errorf("connect to bootstrap servers %s: %w; is the broker running?", strings.Join(c.bootstrap, ","), err)
		}
		c.cfg.logger.Warn("no bootstrap server answers, trying again", "bootstrap-servers", strings.Join(c.bootstrap, ","), "error", err)
		if err := Sleep(ctx, min(c.cfg.backoff.Wait(attempt), time.Until(deadline))); err != nil {
			return fmt.Errorf("connect to bootstrap servers %s: %w", strings.Join(c.bootstrap, ","), err)
		}
	}
}

// Close ends the client and its connections. Streams of producers and consumers that are still open fail; close those first.
// Closing again does nothing.
func (c *Client) Close() error {
	c.cancel()
	c.wait.Wait()
	return c.conns.close()
}

// ClusterID returns the id of the cluster (the content of /cluster/id).
func (c *Client) ClusterID() string { return c.meta.view.Load().clusterID }

// RequestTimeout returns the wait for one answer that the client was dialled with; producers and consumers take it as their default.
func (c *Client) RequestTimeout() time.Duration { return c.cfg.requestTimeout }

// MetadataMaxAge returns the age at which metadata is fetched again that the client was dialled with (metadata.max.age.ms).
func (c *Client) MetadataMaxAge() time.Duration { return c.cfg.metadataMaxAge }

// Brokers returns the live brokers by id, from metadata that may be as old as [MetadataMaxAge].
func (c *Client) Brokers(ctx context.Context) ([]Broker, error) {
	v := c.meta.view.Load()
	if len(v.brokers) == 0 {
		if err := c.Refresh(ctx); err != nil {
			return nil, &Error{Op: "list brokers", Broker: cluster.NoBroker, Err: err}
		}
		v = c.meta.view.Load()
	}
	return append([]Broker(nil), v.brokers...), nil
}
