package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/embedded/txlog"
	"github.com/ottla/ottla/zk/jute"
)

// Server is a running server. All methods are safe for concurrent use.
type Server struct {
	cfg   Config
	log   hclog.Logger
	ln    net.Listener
	store *txlog.Store
	began time.Time

	in       chan command  // requests, to the core
	stop     chan struct{} // closed by Close: end gracefully
	halt     chan struct{} // closed by the core when it has ended: nobody takes commands any more
	done     chan struct{} // closed when everything has ended
	stopOnce sync.Once
	conns    sync.WaitGroup // readers and writers
	alive    atomic.Int64   // connections
	stats    counters

	mu     sync.Mutex // guards the fields below
	perIP  map[string]int
	open   map[*conn]struct{}
	failed error
	closed bool // no new connection may be added
}

// Start recovers the state from the data directory and serves clients until Close. When it returns, the server is
// ready for connections. A directory in use is an error that is vfs.ErrLocked; a damaged one a *txlog.CorruptError.
func Start(cfg Config) (*Server, error) {
	s, err := start(cfg)
	if err != nil && cfg.Listener != nil {
		return nil, errors.Join(err, cfg.Listener.Close())
	}
	return s, err
}

func start(cfg Config) (_ *Server, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("zookeeper configuration: %w", err)
	}
	store, err := txlog.Open(txlog.Options{
		FS: cfg.FS, DataDir: cfg.DataDir, LogDir: cfg.DataLogDir, NoSync: cfg.NoSync, Retain: cfg.Retain,
	})
	if err != nil {
		return nil, fmt.Errorf("open zookeeper data: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	began := time.Now()
	rec := &recovery{}
	report, err := store.Recover(rec)
	if err != nil {
		return nil, fmt.Errorf("recover zookeeper data: %w", err)
	}
	for _, note := range report.Notes {
		cfg.Logger.Warn("an older snapshot was used", "because", note)
	}
	if cfg.Listener == nil {
		var lc net.ListenConfig
		if cfg.Listener, err = lc.Listen(context.Background(), "tcp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("listen for zookeeper clients: %w", err)
		}
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, ln: cfg.Listener, store: store, began: began,
		in: make(chan command, 64), stop: make(chan struct{}), halt: make(chan struct{}), done: make(chan struct{}),
		perIP: make(map[string]int), open: make(map[*conn]struct{}),
	}
	s.log.Info("zookeeper server started", "address", s.ln.Addr(), "data-dir", cfg.DataDir,
		"zxid", fmt.Sprintf("0x%x", report.Last), "nodes", rec.tree.NodeCount(), "sessions", len(rec.tree.Sessions()),
		"replayed-frames", report.Frames, "cut-bytes", report.Truncated, "took", time.Since(began))
	go s.run(newCore(s, rec.tree))
	return s, nil
}

// recovery rebuilds the tree from what the store reads.
type recovery struct{ tree *tree.Tree }

// Initial implements txlog.Replayer.
func (r *recovery) Initial() []byte {
	e := jute.NewEncoder(nil)
	tree.New().Encode(e)
	return e.Bytes()
}

// Load implements txlog.Replayer.
func (r *recovery) Load(zxid int64, state []byte) error {
	t, err := tree.Load(jute.NewDecoder(state))
	if err != nil {
		return err
	}
	if t.LastZxid() != zxid {
		return fmt.Errorf("a state of zxid 0x%x in the snapshot of 0x%x", t.LastZxid(), zxid)
	}
	r.tree = t
	return nil
}

// Replay implements txlog.Replayer.
func (r *recovery) Replay(payload []byte) error {
	for d := jute.NewDecoder(payload); d.Len() > 0; {
		x, err := tree.DecodeTxn(d)
		if err != nil {
			return err
		}
		if err := r.tree.Replay(&x); err != nil {
			return err
		}
	}
	return nil
}

// run is the server's life: it starts the accept loop, the log and the core, and takes everything down in order.
func (s *Server) run(k *core) {
	defer close(s.done)
	var accepting sync.WaitGroup
	accepting.Go(s.accept)
	logging := make(chan struct{})
	go func() {
		defer close(logging)
		k.wal.run(s)
	}()
	err := k.run()
	close(s.halt)
	if cerr := s.ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
		s.log.Warn("closing the listener failed", "error", cerr)
	}
	s.closeConns(err == nil)
	accepting.Wait()
	s.conns.Wait()
	close(k.wal.jobs)
	<-logging
	if cerr := s.store.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close zookeeper data: %w", cerr)
	}
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	if err != nil {
		s.log.Error("zookeeper server failed", "error", err)
	} else {
		s.log.Info("zookeeper server stopped")
	}
}

// accept takes connections until the listener closes.
func (s *Server) accept() {
	delay := time.Duration(0)
	for {
		nc, err := s.ln.Accept()
		if err == nil {
			delay = 0
			s.admit(nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			s.shutdown()
			return
		}
		// Out of descriptors, or a connection that was gone before it was taken: wait a little, then go on.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.log.Warn("accepting a connection failed", "error", err, "retry-in", delay)
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
		case <-s.halt:
			pause.Stop()
			return
		}
	}
}

// admit starts serving a connection, unless there are too many: those are closed at once (Z§2).
func (s *Server) admit(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	full := s.closed || len(s.open) >= s.cfg.Limits.MaxConnections ||
		(s.cfg.MaxClientCnxns > 0 && s.perIP[c.host] >= s.cfg.MaxClientCnxns)
	if !full {
		s.open[c] = struct{}{}
		s.perIP[c.host]++
		s.alive.Add(1)
		s.conns.Add(2)
	}
	s.mu.Unlock()
	if full {
		s.log.Warn("too many connections, one refused", "from", c.remote)
		_ = nc.Close()
		return
	}
	go func() {
		defer s.conns.Done()
		c.readLoop()
		s.release(c)
	}()
	go func() {
		defer s.conns.Done()
		c.writeLoop()
	}()
}

// release takes a connection off the books.
func (s *Server) release(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.perIP[c.host]--; s.perIP[c.host] == 0 {
		delete(s.perIP, c.host)
	}
	s.alive.Add(-1)
}

// closeConns ends all connections; gracefully means that what is queued for them is still sent.
func (s *Server) closeConns(gracefully bool) {
	s.mu.Lock()
	s.closed = true
	open := make([]*conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		if gracefully {
			c.finish(stopGrace)
		} else {
			c.kill()
		}
	}
}

// shutdown asks the core to end.
func (s *Server) shutdown() { s.stopOnce.Do(func() { close(s.stop) }) }

// Addr returns the address that clients connect to.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close stops the server: no more requests, everything decided is made durable and answered, connections are closed,
// sessions stay alive for the next start. It waits for the end and returns what Err returns.
func (s *Server) Close() error {
	s.shutdown()
	<-s.done
	return s.Err()
}

// Done is closed when the server has ended, by Close or by a failure of its disk.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server ended: nil while it runs and after a clean stop.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// since is the server's clock: time since the start, monotonic.
func (s *Server) since() time.Duration { return time.Since(s.began) }
