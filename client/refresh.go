package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// metadataTimeout bounds the wait for one broker's answer, so that a broker that hangs does not keep the others from being asked.
const metadataTimeout = 5 * time.Second

// RequestRefresh asks for new metadata without waiting for it. Requests that come together are answered together; fetches that follow each
// other keep a distance that grows while nothing improves.
func (c *Client) RequestRefresh() {
	select {
	case c.meta.wake <- struct{}{}:
	default:
	}
}

// MetadataChanged returns a channel that is closed when metadata has been fetched, or could not be, or a hint has changed it. Take the
// channel before looking at the metadata.
func (c *Client) MetadataChanged() <-chan struct{} {
	c.meta.mu.Lock()
	defer c.meta.mu.Unlock()
	return c.meta.changed
}

// Refresh fetches new metadata, together with everybody else who wants some, and waits for it.
func (c *Client) Refresh(ctx context.Context) error {
	c.meta.mu.Lock()
	ch := c.meta.changed
	c.meta.mu.Unlock()
	c.RequestRefresh()
	select {
	case <-ch:
		c.meta.mu.Lock()
		defer c.meta.mu.Unlock()
		return c.meta.lastErr
	case <-c.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Track keeps the metadata of a topic from now on. With create, brokers that allow it create the topic when they are asked for it.
func (c *Client) Track(topic string, create bool) {
	c.meta.mu.Lock()
	was, known := c.meta.tracked[topic]
	c.meta.tracked[topic] = was || create
	c.meta.mu.Unlock()
	if !known {
		c.RequestRefresh()
	}
}

// CachedTopic returns what is known of a topic now; ok is false for topics that are not tracked or not fetched yet.
func (c *Client) CachedTopic(name string) (t *Topic, ok bool) {
	t, ok = c.meta.view.Load().topics[name]
	return t, ok
}

// NoteLeader takes a broker's hint about the leader of a partition and reports whether it was news. Hints with an epoch that is not newer
// than what is known are ignored (KIP-951).
func (c *Client) NoteLeader(tp cluster.TopicPartition, leader cluster.BrokerID, epoch cluster.LeaderEpoch) bool {
	return leader >= 0 && c.meta.noteLeader(tp, leader, epoch)
}

// Topic returns the description of a topic, from the cache if it is there. While the topic is unknown it waits, fetching metadata again and
// again, until ctx ends. It does not create the topic unless somebody tracks it with create. Errors that waiting cannot mend come at once.
func (c *Client) Topic(ctx context.Context, name string) (*Topic, error) {
	fail := func(err error) (*Topic, error) {
		return nil, &Error{Op: fmt.Sprintf("look up topic %q", name), Broker: cluster.NoBroker, Err: err}
	}
	if err := cluster.ValidateTopicName(name); err != nil {
		return fail(kerr.InvalidTopicException.With(err.Error()))
	}
	for {
		ch := c.MetadataChanged()
		reason := error(kerr.UnknownTopicOrPartition)
		if t, ok := c.CachedTopic(name); ok {
			if t.Err == kerr.None && len(t.Partitions) > 0 {
				return t, nil
			}
			if t.Err != kerr.None {
				reason = t.Err
			}
			if !Retriable(reason) {
				return fail(reason)
			}
			c.RequestRefresh()
		}
		c.Track(name, false)
		select {
		case <-ch:
		case <-c.ctx.Done():
			return fail(ErrClosed)
		case <-ctx.Done():
			c.meta.mu.Lock()
			if c.meta.lastErr != nil {
				reason = c.meta.lastErr
			}
			c.meta.mu.Unlock()
			return fail(fmt.Errorf("%w: %w", context.Cause(ctx), reason))
		}
	}
}

// refreshLoop is the metadata refresher, the client's only goroutine. It ends with the client.
func (c *Client) refreshLoop() {
	age := time.NewTimer(c.cfg.metadataMaxAge)
	defer age.Stop()
	failures := 0
	for {
		select {
		case <-c.meta.wake:
		case <-age.C:
		case <-c.ctx.Done():
			return
		}
		err := c.refresh(c.ctx)
		if c.ctx.Err() != nil {
			return
		}
		if err != nil {
			c.cfg.logger.Warn("cannot refresh metadata", "error", err)
		}
		if err != nil || c.meta.wanting() {
			failures++
		} else {
			failures = 0
		}
		age.Reset(c.cfg.metadataMaxAge)
		if Sleep(c.ctx, c.cfg.backoff.Wait(max(failures, 1))) != nil {
			return
		}
	}
}

// wanting reports whether a tracked topic cannot be used yet, or not all of it, so that fetching again at once would hardly help.
func (m *metadata) wanting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.view.Load()
	for name := range m.tracked {
		t, ok := v.topics[name]
		if !ok || t.Err != kerr.None || slices.ContainsFunc(t.Partitions, func(p Partition) bool { return p.Leader < 0 }) {
			return true
		}
	}
	return false
}

// hedge is how long a broker may take to answer until the next one is asked as well: one that is frozen must not hold everything up.
const hedge = 200 * time.Millisecond

// refresh fetches metadata once: it asks the known brokers in random order and then the bootstrap addresses until one answers. The next is asked
// when one has failed, and also when one is slow.
func (c *Client) refresh(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel() // who is asked and not needed any more
	next := c.candidates()
	answers := make(chan error, len(next))
	asked, reasons := 0, []error(nil)
	ask := func() {
		addr := next[0]
		next = next[1:]
		asked++
		asking.Go(func() {
			err := c.fetchMetadata(ctx, addr)
			c.meta.noteAnswer(addr, err == nil)
			answers <- err
		})
	}
	slow := time.NewTimer(hedge)
	defer slow.Stop()
	for len(reasons) < asked || len(next) > 0 && ctx.Err() == nil {
		if len(reasons) == asked {
			ask()
			slow.Reset(hedge)
		}
		select {
		case err := <-answers:
			if err == nil {
				c.meta.finish(nil)
				c.conns.retire(c.knownAddrs())
				return nil
			}
			reasons = append(reasons, err)
			if errors.Is(err, ErrClosed) {
				next = nil
			}
		case <-slow.C:
			if len(next) > 0 && ctx.Err() == nil {
				ask()
				slow.Reset(hedge)
			}
		}
	}
	err := joinReasons(reasons)
	c.meta.finish(err)
	return err
}

// candidates lists the addresses to ask, each once: those last that did not answer when they were last asked.
func (c *Client) candidates() []string {
	addrs := c.meta.view.Load().addrs()
	for _, a := range c.bootstrap {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return c.meta.mutesLast(addrs)
}

func (c *Client) knownAddrs() map[string]bool {
	known := map[string]bool{}
	for _, a := range c.candidates() {
		known[a] = true
	}
	return known
}

// fetchMetadata asks one address. Topics that may be created by asking are asked for separately, because the permission is given per request.
func (c *Client) fetchMetadata(ctx context.Context, addr string) error {
	cc, err := c.conns.get(addr, LaneControl)
	if err != nil {
		return err
	}
	var plain, create []string
	v := c.meta.view.Load()
	c.meta.mu.Lock()
	for name, may := range c.meta.tracked {
		if t, ok := v.topics[name]; may && (!ok || t.Err != kerr.None) {
			create = append(create, name)
		} else {
			plain = append(plain, name)
		}
	}
	c.meta.mu.Unlock()
	if len(create) > 0 {
		if err := c.askMetadata(ctx, cc, addr, create, true); err != nil {
			return err
		}
		if len(plain) == 0 {
			return nil
		}
	}
	return c.askMetadata(ctx, cc, addr, plain, false)
}

func (c *Client) askMetadata(ctx context.Context, cc *grpc.ClientConn, addr string, topics []string, create bool) error {
	actx, cancel := context.WithTimeout(ctx, min(metadataTimeout, c.cfg.requestTimeout))
	defer cancel()
	r, err := ottlapb.NewMetadataServiceClient(cc).Metadata(actx, &ottlapb.MetadataRequest{Topics: topics, AllowAutoTopicCreation: create})
	if err != nil {
		return Transport(ctx, addr, err)
	}
	if len(r.GetBrokers()) == 0 {
		return &TransportError{Addr: addr, Code: kerr.LeaderNotAvailable, Cause: errNoBrokers}
	}
	c.meta.apply(r)
	return nil
}

// errNoBrokers is what a broker that has not joined its cluster yet amounts to. It will have in a moment, so the code that goes with it is a
// retriable one (BROKER_NOT_AVAILABLE is not).
var errNoBrokers = errors.New("the broker does not know any broker of its cluster yet")

// reasons is several errors in one line; errors.Is finds each.
type reasons []error

func joinReasons(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return reasons(errs)
}

// Error returns the errors in one line, each text once.
func (r reasons) Error() string {
	var texts []string
	seen := map[string]bool{}
	for _, e := range r {
		if s := e.Error(); !seen[s] {
			seen[s] = true
			texts = append(texts, s)
		}
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (r reasons) Unwrap() []error { return r }
