package zk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	gozk "github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"
)

// Hooks are what an owner wants to hear about sessions. Both are called by the client's one supervising goroutine, one at a
// time, in the order of registration. They may block and may use the session; once its Done is closed they should return.
type Hooks struct {
	// Expired is called when a session is over, except by Close. The next session is not asked for before every Expired has
	// returned, so that nothing of the old one can be taken for the new one's (F§1.4).
	Expired func(old *Session)
	// New is called with the next session, after every Expired has returned.
	New func(s *Session)
}

// Client makes one [Session] after another: never two at a time, and never one that lives on after its end. It tries for
// ever; what it cannot repair is somebody else's to notice, by [Session.Live] and [Session.SuspectSignal].
//
// Safe for concurrent use.
type Client struct {
	cfg    Config
	addrs  []string
	chroot string
	log    hclog.Logger
	cancel context.CancelFunc
	done   chan struct{}  // closed when the supervisor has ended
	ending sync.WaitGroup // sessions that are over and whose goroutines still run

	mu      sync.Mutex
	current *Session
	hooks   []*Hooks
	closed  bool
}

// Open connects to ZooKeeper and waits for the first session, at most for ConnectTimeout. With CreateChroot it then makes
// sure that the chroot exists.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	addrs, chroot, err := parseConnect(cfg.Connect)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.withDefaults(), addrs: addrs, chroot: chroot, done: make(chan struct{})}
	c.log = c.cfg.Logger
	s, err := c.first(ctx)
	if err != nil {
		return nil, err
	}
	c.current = s
	life, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.supervise(life, s)
	return c, nil
}

// first waits for the first session.
func (c *Client) first(ctx context.Context) (*Session, error) {
	wait, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	s, err := newSession(c.cfg, c.addrs, c.chroot, 1)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ready:
		if !c.cfg.CreateChroot || c.chroot == "" {
			return s, nil
		}
		if err = s.createChroot(wait); err == nil {
			return s, nil
		}
	case <-wait.Done():
		err = fmt.Errorf("connect to zookeeper at %s: no session within %v", c.cfg.Connect, c.cfg.ConnectTimeout)
		if ctx.Err() != nil {
			err = fmt.Errorf("connect to zookeeper at %s: %w", c.cfg.Connect, ctx.Err())
		}
		if cause := s.lastDialError(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	}
	_ = s.abandon() // the error at hand is the one to tell
	return nil, err
}

// createChroot makes the chroot and its ancestors, with null data. Their paths are not relative to the chroot itself.
func (s *Session) createChroot(ctx context.Context) error {
	for i := 1; i <= len(s.chroot); i++ {
		if i < len(s.chroot) && s.chroot[i] != '/' {
			continue
		}
		path := s.chroot[:i]
		for attempt := 1; ; attempt++ {
			_, err := call(ctx, s, "create", path, func(c *gozk.Conn) (string, error) {
				return c.Create(path, nil, int32(Persistent), gozk.WorldACL(gozk.PermAll))
			})
			if err == nil || errors.Is(err, ErrNodeExists) {
				break
			}
			if ClassOf(err) != Ambiguous || attempt == readAttempts {
				return fmt.Errorf("create the chroot: %w", err)
			}
		}
	}
	return nil
}

// supervise waits for the end of each session and makes the next.
func (c *Client) supervise(life context.Context, s *Session) {
	defer close(c.done)
	for {
		select {
		case <-s.life.Done():
		case <-life.Done():
		}
		if life.Err() != nil {
			return
		}
		for _, h := range c.owners() {
			if h.Expired != nil {
				h.Expired(s)
			}
		}
		c.ending.Go(s.wg.Wait) // its goroutines take up to seconds to end by themselves
		next := c.next(life, s)
		if next == nil {
			return
		}
		s = next
		for _, h := range c.succeed(next) {
			if h.New != nil {
				h.New(next)
			}
		}
	}
}

// owners returns the hooks of this moment.
func (c *Client) owners() []*Hooks {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Hooks(nil), c.hooks...)
}

// succeed makes the session the current one and returns the hooks of the same moment.
func (c *Client) succeed(s *Session) []*Hooks {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = s
	return append([]*Hooks(nil), c.hooks...)
}

// next makes the session after old, for as long as it takes. It returns nil when the client is closed.
func (c *Client) next(life context.Context, old *Session) *Session {
	s, err := newSession(c.cfg, c.addrs, c.chroot, old.gen+1)
	if err != nil {
		c.log.Error("cannot make a session", "error", err) // the library refuses nothing but an empty list of servers
		return nil
	}
	select {
	case <-s.ready:
	case <-life.Done():
		_ = s.abandon() // the client is closed
		return nil
	}
	if errors.Is(old.Err(), ErrLeaseEnded) {
		c.bury(life, old, s.hosts.latest())
	}
	return s
}

// bury closes a session that only its lease has ended: the servers may keep it, with its ephemeral nodes, for a while yet.
// It asks the server that has just granted the next session, since that one answers. It is an attempt to be faster, nothing
// depends on it.
func (c *Client) bury(life context.Context, old *Session, addr string) {
	cfg := c.cfg
	cfg.Connect = addr
	if err := CloseSession(life, cfg, old.ID(), old.Password()); err != nil {
		c.log.Info("the previous session is left to expire", "error", err)
	}
}

// Session returns the current session. Between the end of one and the beginning of the next it is the one that is over.
func (c *Client) Session() *Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// OnSession registers an owner. It returns the session of this moment, of which the owner hears no New: every later change
// is reported. If that session is over already, only the New of the next may follow. remove ends the reports; a call that
// is under way may still be running when it returns.
func (c *Client) OnSession(h Hooks) (current *Session, remove func()) {
	entry := &h
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = append(c.hooks, entry)
	return c.current, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, e := range c.hooks {
			if e == entry {
				c.hooks = append(c.hooks[:i:i], c.hooks[i+1:]...)
				return
			}
		}
	}
}

// Close ends the session, on the server too, so that its ephemeral nodes vanish at once, and waits for all goroutines. If
// ctx ends before the server has answered, the session is left to expire and the context's error is returned. No hook is
// called, but one that is running is waited for.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.done
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	err := c.Session().close(ctx)
	<-c.done
	if last := c.Session(); last.Err() == nil { // it became current in this very moment
		err = last.close(ctx)
	}
	c.ending.Wait()
	return err
}
