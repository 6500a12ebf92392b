package replica

import (
	"context"
	"sync"
	"time"

	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Pauses between two requests to the controller after a failure (F§3.4); they double from the first to the last.
const (
	firstAlterPause = 50 * time.Millisecond
	lastAlterPause  = time.Second
)

// alterer asks the controller to change in-sync replicas: one request of this broker is in flight at a time, with all the changes that have come
// together meanwhile. It also looks at intervals who has fallen behind. Its goroutine is its own; push is safe for concurrent use.
type alterer struct {
	m    *Manager
	wake chan struct{}

	mu      sync.Mutex
	pending map[*Partition]struct{}

	start  sync.Once
	cancel context.CancelFunc
	done   chan struct{}
}

func newAlterer(m *Manager) *alterer {
	return &alterer{m: m, wake: make(chan struct{}, 1), pending: make(map[*Partition]struct{})}
}

// push notes that a partition has a change to ask for.
func (a *alterer) push(ps ...*Partition) {
	a.mu.Lock()
	for _, p := range ps {
		a.pending[p] = struct{}{}
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *alterer) take() []*Partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	ps := make([]*Partition, 0, len(a.pending))
	for p := range a.pending {
		ps = append(ps, p)
	}
	clear(a.pending)
	return ps
}

// begin starts the goroutine unless it runs or was stopped.
func (a *alterer) begin() {
	a.start.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		a.cancel, a.done = cancel, make(chan struct{})
		go a.run(ctx)
	})
}

// stop ends the goroutine and waits for it. It never starts again.
func (a *alterer) stop() {
	a.start.Do(func() {})
	if a.cancel != nil {
		a.cancel()
		<-a.done
	}
}

func (a *alterer) run(ctx context.Context) {
	defer close(a.done)
	every := max(a.m.cfg.MaxLag/2, time.Millisecond)
	look := time.NewTicker(every)
	defer look.Stop()
	lastLook := a.m.cfg.Now()
	pause := time.NewTimer(time.Hour)
	pause.Stop()
	defer pause.Stop()
	var delay time.Duration // 0 unless the last request failed
	for {
		wake := a.wake
		if delay > 0 {
			wake = nil // and the pause goes on
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			// A broker that was frozen itself cannot tell who was late (KAFKA-8733): everybody gets another interval.
			now := a.m.cfg.Now()
			if now.Sub(lastLook) <= 2*every {
				a.shrink()
			}
			lastLook = now
			continue
		case <-pause.C:
		case <-wake:
		}
		if a.ask(ctx) {
			delay = 0
			continue
		}
		delay = min(max(2*delay, firstAlterPause), lastAlterPause)
		pause.Reset(delay)
	}
}

// shrink proposes to leave out of the in-sync sets who has fallen behind.
func (a *alterer) shrink() {
	for _, p := range a.m.all() {
		if p.proposeShrink() {
			a.push(p)
		}
	}
}

// ask sends one request with the changes of all partitions that want one, and returns false if some of them have to be asked for again.
func (a *alterer) ask(ctx context.Context) bool {
	var changes []state.ISRChange
	var of []*Partition
	ps := a.take()
	for i, p := range ps {
		if len(changes) == maxChanges {
			a.push(ps[i:]...)
			break
		}
		if c, ok := p.isrChange(); ok {
			changes, of = append(changes, c), append(of, p)
		}
	}
	if len(changes) == 0 {
		return true
	}
	results, err := a.m.cfg.Peers.AlterPartition(ctx, a.m.cfg.BrokerEpoch(), changes)
	if err != nil {
		if ctx.Err() == nil {
			a.m.cfg.Logger.Debug("in-sync replicas could not be changed, asking again", "partitions", len(changes), "error", err)
		}
		a.push(of...)
		return false
	}
	done := true
	for i, p := range of {
		if p.isrAnswered(&changes[i], &results[i]) {
			a.push(p)
			done = false
		}
	}
	return done
}

// maxChanges bounds the partitions of one request.
const maxChanges = 5000

// surroundings is what the arithmetic needs to know besides the replicas' progress.
func (p *Partition) surroundings() state.Surroundings {
	return state.Surroundings{Now: p.env.now(), MaxLag: p.env.maxLag, MinISR: int(p.minISR.Load()), Alive: p.env.alive, Stalled: p.env.stalled}
}

// proposeShrink proposes an in-sync set without those that have fallen behind, and reports whether there is anything to ask for.
func (p *Partition) proposeShrink() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil {
		return false
	}
	s := p.surroundings()
	return p.proposeLocked(p.lead.Shrunk(p.HighWatermark(), p.log.LogEndOffset(), &s))
}

// proposeLocked makes isr the proposal unless it is nil.
func (p *Partition) proposeLocked(isr []cluster.BrokerID) bool {
	if isr == nil || p.env.alter == nil || p.state.Load().Role != state.Leading {
		return false
	}
	p.lead.Propose(isr)
	p.countLocked()
	p.env.logger.Info("proposing other in-sync replicas", "partition", p.tp.String(), "from", numbers(p.lead.ISR()), "to", numbers(isr),
		"leader-epoch", int32(p.lead.Epoch()), "partition-epoch", int32(p.lead.PartitionEpoch()))
	return true
}

func (p *Partition) isrChange() (state.ISRChange, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil {
		return state.ISRChange{}, false
	}
	return p.lead.Change(p.tp)
}

// isrAnswered enters the controller's answer and reports whether to ask again.
func (p *Partition) isrAnswered(c *state.ISRChange, r *state.ISRResult) (again bool) {
	p.mu.Lock()
	if p.lead == nil {
		p.mu.Unlock()
		return false
	}
	again = p.lead.Answered(c, r, p.env.now())
	p.countLocked()
	p.advanceLocked()
	p.mu.Unlock()
	p.env.logger.Debug("answer about in-sync replicas", "partition", p.tp.String(), "asked", numbers(c.ISR), "code", r.Code.Name(),
		"isr", numbers(r.ISR), "partition-epoch", int32(r.PartitionEpoch))
	if r.Code != kerr.None && !again {
		p.env.logger.Warn("the controller refused other in-sync replicas", "partition", p.tp.String(), "asked", numbers(c.ISR), "code", r.Code.Name())
	}
	p.watchers.tell(WatermarkMoved) // and those who wait look at the number of in-sync replicas too
	return again
}

// countLocked makes the standing tell how many replicas are in sync.
func (p *Partition) countLocked() {
	for {
		old := p.state.Load()
		if old.Role != state.Leading || p.lead == nil {
			return
		}
		next := p.lead.Standing().After(old)
		if p.state.CompareAndSwap(old, &next) {
			return
		}
	}
}

func numbers(ids []cluster.BrokerID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
