// Package contact finds out which brokers answer, long before ZooKeeper notices that one does not.
//
// Every broker pings every other one a few times a second, on connections of their own, and says in each ping which brokers do not answer to it, and whether its
// own disk stalls.
// So each has its own view and that of the others ([View]), and can tell a broker that is gone from one that only itself cannot reach. What
// is to be done about it is for others to decide: the controller moves leaderships, and the other brokers replace a controller
// that is gone.
//
// The judgement is in ledger.go and view.go, which are pure. A [Watch] is the shell: one goroutine for the clock and one for each broker.
package contact

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
)

// ErrRefused says that nobody listens at a broker's address.
var ErrRefused = errors.New("connection refused")

// Line is a connection to one broker, made when it is needed. It belongs to one goroutine.
type Line interface {
	// Ping sends what this broker says and waits for the sign of life, or until ctx ends. The error is [ErrRefused] if nobody listens; any
	// answer, even an error of the other side, is a sign of life and no error.
	Ping(ctx context.Context, r Report) error
	// Broken returns when the connection has ended, or when ctx ends.
	Broken(ctx context.Context)
	// Close ends the connection.
	Close()
}

// Config is what a [Watch] is made of. All fields but Waiting and Logger are required.
type Config struct {
	// Self is this broker.
	Self cluster.BrokerID
	// Metadata names the brokers to watch.
	Metadata *metadata.Cache
	// Open returns a line to a broker; nothing is connected yet.
	Open func(id cluster.BrokerID) Line
	// Interval is the time from an answer to the next ping.
	Interval time.Duration
	// Patience is how long a ping may stay without answer until the broker is silent: a pause that is shorter goes unnoticed.
	Patience time.Duration
	// HoldDown is how long after having been silent a broker cannot be silent again.
	HoldDown time.Duration
	// Waiting returns how long the oldest append that waits for this broker's disk has been waiting, and the directory; nil means that nobody is asked. It is
	// called often, by one goroutine, and must not block.
	Waiting func(now time.Time) (dir string, wait time.Duration)
	// Stall is how long an append may wait until the disk counts as stalled; 0 means for ever.
	Stall time.Duration
	// Changed is told of every change of what is seen and of who is watched, when a doubt has ended, and every Repeat while anything is lost. It is called by one goroutine and must not block.
	Changed func(*View)
	// Logger reports; nil means nothing does.
	Logger hclog.Logger
}

// Repeat is how often a view in which something is lost, or stalls, is told again, for what could not be done about it the first time.
const Repeat = 2 * time.Second

const (
	// looks is how often per Interval the clock is looked at.
	looks = 2
	// starved is the gap between two looks above which this broker was not itself.
	starved = 500 * time.Millisecond
	// again is the pause after a ping that failed at once.
	again = 50 * time.Millisecond
)

// Watch keeps an eye on all other brokers. It is safe for concurrent use.
type Watch struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	alive  sync.WaitGroup
	news   chan struct{} // has a token when what is seen has changed

	mu      sync.Mutex
	ledger  *ledger
	pingers map[cluster.BrokerID]*pinger

	stalled atomic.Pointer[[]cluster.BrokerID] // View.Stalled of the latest view, for Stalled
}

// New starts watching. [Watch.Close] ends it.
func New(cfg Config) *Watch {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	w := &Watch{
		cfg: cfg, news: make(chan struct{}, 1), pingers: make(map[cluster.BrokerID]*pinger),
		ledger: newLedger(cfg.Self, cfg.Patience, cfg.HoldDown, 2*cfg.Interval, max(starved, 2*cfg.Interval)),
	}
	w.ledger.disk = disk{patience: cfg.Stall, longest: cfg.HoldDown}
	w.stalled.Store(new([]cluster.BrokerID))
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.alive.Go(w.run)
	return w
}

// Close ends the watch and waits until it has: no callback comes after it.
func (w *Watch) Close() {
	w.cancel()
	w.alive.Wait()
}

// Stalled reports whether a broker says that its disk stalls.
func (w *Watch) Stalled(id cluster.BrokerID) bool { return slices.Contains(*w.stalled.Load(), id) }

// Heard takes what another broker says in its ping.
func (w *Watch) Heard(from cluster.BrokerID, r Report) {
	w.mu.Lock()
	news := w.ledger.hear(from, r)
	w.mu.Unlock()
	if news {
		w.tell()
	}
}

// tell makes run call Changed.
func (w *Watch) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// run is the watch's clock.
func (w *Watch) run() {
	look := time.NewTicker(max(w.cfg.Interval/looks, time.Millisecond))
	defer look.Stop()
	var told time.Time
	doubts := false // in what was told last
	for {
		changed := w.cfg.Metadata.Changed()
		w.follow(w.cfg.Metadata.Image())
		select {
		case <-changed:
			continue
		case <-w.news:
		case <-look.C:
			stall := w.lookAtDisk()
			w.mu.Lock()
			news := w.ledger.look(time.Now()) || stall
			v := w.ledger.view(time.Now())
			w.mu.Unlock()
			lost := len(v.Own)+len(v.Told)+len(v.Stalled) > 0
			switch {
			case news:
				w.spread()
			case doubts && len(v.Doubtful) == 0:
			case !lost || time.Since(told) < Repeat:
				continue
			}
		case <-w.ctx.Done():
			return
		}
		told = time.Now()
		w.mu.Lock()
		v := w.ledger.view(told)
		w.mu.Unlock()
		doubts = len(v.Doubtful) > 0
		w.stalled.Store(&v.Stalled)
		w.cfg.Changed(v)
	}
}

// lookAtDisk judges this broker's own disk and reports whether that changes what is seen.
func (w *Watch) lookAtDisk() (changed bool) {
	if w.cfg.Waiting == nil {
		return false
	}
	now := time.Now()
	dir, wait := w.cfg.Waiting(now)
	w.mu.Lock()
	changed = w.ledger.disk.look(now, wait)
	stalled := w.ledger.disk.stalled
	w.mu.Unlock()
	switch {
	case changed && stalled:
		w.cfg.Logger.Error("the disk stalls, this broker gives its leaderships away", "dir", dir, "append-waiting", wait.Round(time.Millisecond))
	case changed:
		w.cfg.Logger.Info("the disk does not stall any more")
	}
	return changed
}

// follow watches the brokers that are registered now, and no others.
func (w *Watch) follow(image *metadata.Image) {
	var ids []cluster.BrokerID
	for _, b := range image.Brokers() {
		ids = append(ids, b.ID)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ledger.watch(ids) {
		return
	}
	for id, p := range w.pingers {
		if w.ledger.peers[id] == nil {
			p.cancel()
			delete(w.pingers, id)
		}
	}
	for id := range w.ledger.peers {
		if w.pingers[id] == nil {
			p := &pinger{watch: w, id: id}
			p.ctx, p.cancel = context.WithCancel(w.ctx)
			w.pingers[id] = p
			w.alive.Go(p.run)
		}
	}
	w.tell() // who was lost may be lost no more, because another process registers
}

// spread makes all brokers hear at once of what this one sees.
func (w *Watch) spread() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pingers {
		if p.hurry != nil {
			p.hurry()
		}
	}
}

// pinger pings one broker.
type pinger struct {
	watch  *Watch
	id     cluster.BrokerID
	ctx    context.Context
	cancel context.CancelFunc
	hurry  context.CancelFunc // ends the pause before the next ping; guarded by watch.mu
}

// run pings until the broker is no longer watched.
func (p *pinger) run() {
	var line Line
	defer func() {
		if line != nil {
			line.Close()
		}
	}()
	for p.ctx.Err() == nil {
		if line == nil {
			line = p.watch.cfg.Open(p.id)
		}
		err := p.ping(line)
		if err == nil {
			p.rest(line, p.watch.cfg.Interval)
			continue
		}
		line.Close()
		line = nil
		p.rest(nil, again)
	}
}

// ping asks once and enters the outcome.
func (p *pinger) ping(line Line) error {
	w := p.watch
	w.mu.Lock()
	w.ledger.asked(p.id, time.Now())
	report := w.ledger.own()
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, w.cfg.Patience)
	err := line.Ping(ctx, report)
	cancel()
	if p.ctx.Err() != nil {
		return err
	}
	w.mu.Lock()
	changed := false
	switch {
	case err == nil:
		changed = w.ledger.answered(p.id, time.Now())
	case errors.Is(err, ErrRefused):
		changed = w.ledger.refused(p.id, time.Now())
	}
	w.mu.Unlock()
	if changed {
		w.cfg.Logger.Debug("contact has changed", "broker", p.id, "error", err)
		w.spread()
		w.tell()
	}
	return err
}

// rest waits for d, until the connection breaks, or until there is news to spread.
func (p *pinger) rest(line Line, d time.Duration) {
	ctx, cancel := context.WithTimeout(p.ctx, d)
	defer cancel()
	p.watch.mu.Lock()
	p.hurry = cancel
	p.watch.mu.Unlock()
	if line != nil {
		line.Broken(ctx)
	} else {
		<-ctx.Done()
	}
	p.watch.mu.Lock()
	p.hurry = nil
	p.watch.mu.Unlock()
}
