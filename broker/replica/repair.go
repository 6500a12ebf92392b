package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// repairer replaces segments that were found to be damaged by what other replicas have of them, one after the other, and tries again until it has
// succeeded or the segment is gone. What a replica has of a batch is the same everywhere once it is replicated, so nobody's role changes meanwhile. Its
// goroutine is its own; the other methods are safe for concurrent use.
type repairer struct {
	m    *Manager
	wake chan struct{} // has a token when there is a new wound

	mu      sync.Mutex
	wounds  map[wound]*care
	treated cluster.TopicPartition // the partition that is being repaired
	give    context.CancelFunc     // ends that; nil when there is none

	start  sync.Once
	cancel context.CancelFunc
	done   chan struct{}
}

// wound is a damaged segment.
type wound struct {
	tp   cluster.TopicPartition
	base cluster.Offset
}

// care is how the repair of a wound stands.
type care struct {
	attempts int
	due      time.Time
	hopeless bool // those who ask are told that there is damage
	over     bool // it is repaired; until due there may be somebody who has read what was there before
}

func newRepairer(m *Manager) *repairer {
	return &repairer{m: m, wake: make(chan struct{}, 1), wounds: make(map[wound]*care)}
}

// push notes that a segment was found to be damaged. It neither blocks nor looks at the log.
func (r *repairer) push(w wound) {
	r.mu.Lock()
	c, known := r.wounds[w]
	if !known || c.over {
		r.wounds[w] = &care{due: r.m.cfg.Now()}
	}
	r.mu.Unlock()
	if known && !c.over {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// heals reports whether a partition has a damaged segment that can be expected to be repaired.
func (r *repairer) heals(tp cluster.TopicPartition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w, c := range r.wounds {
		if w.tp == tp && !c.hopeless && len(r.sources(tp)) > 0 {
			return true
		}
	}
	return false
}

// leave forgets a partition whose log is to be deleted.
func (r *repairer) leave(tp cluster.TopicPartition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.wounds {
		if w.tp == tp {
			delete(r.wounds, w)
		}
	}
	if r.give != nil && r.treated == tp {
		r.give()
	}
}

// begin starts the goroutine unless it runs or was stopped.
func (r *repairer) begin() {
	r.start.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel, r.done = cancel, make(chan struct{})
		go r.run(ctx)
	})
}

// stop ends the goroutine and waits for it. It never starts again.
func (r *repairer) stop() {
	r.start.Do(func() {})
	if r.cancel != nil {
		r.cancel()
		<-r.done
	}
}

func (r *repairer) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for ctx.Err() == nil {
		w, c, at := r.next()
		var due <-chan time.Time
		if c != nil {
			if wait := at.Sub(r.m.cfg.Now()); wait > 0 {
				timer.Reset(wait)
				due = timer.C
			} else {
				r.treat(ctx, w, c)
				continue
			}
		}
		select {
		case <-due:
		case <-r.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next returns the wound that is due first; no care if there is none.
func (r *repairer) next() (first wound, c *care, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w, of := range r.wounds {
		if c == nil || of.due.Before(at) {
			first, c, at = w, of, of.due
		}
	}
	return first, c, at
}

const (
	// afterwards is how long reads of what was there before a repair may take.
	afterwards = time.Second
	// patience is after how many failed attempts those who ask are told that there is damage: three seconds.
	patience = 6
	// remind is after how many more of them it is logged again: ten minutes.
	remind = 20
)

// errNobodyLives says that there is nobody to ask.
var errNobodyLives = errors.New("no other replica is alive")

// treat tries to repair a segment, and notes what came of it.
func (r *repairer) treat(ctx context.Context, w wound, c *care) {
	ctx, give := context.WithCancel(ctx)
	defer give()
	r.mu.Lock()
	if c.over {
		if r.wounds[w] == c {
			delete(r.wounds, w)
		}
		r.mu.Unlock()
		return
	}
	r.treated, r.give = w.tp, give
	r.mu.Unlock()
	err := r.repair(ctx, w, c.attempts == 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.give = nil
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		c.over, c.hopeless, c.due = true, false, r.m.cfg.Now().Add(afterwards)
		return
	}
	c.attempts++
	c.due = r.m.cfg.Now().Add(state.RepairPause(c.attempts))
	told := c.hopeless
	c.hopeless = errors.Is(err, errNobodyLives) || c.attempts >= patience
	if c.hopeless && ctx.Err() == nil && (!told || c.attempts%remind == 0) {
		r.m.cfg.Logger.Error("a damaged segment cannot be repaired now; trying again", "partition", w.tp.String(), "segment", int64(w.base), "attempt", c.attempts, "error", err)
	}
}

// repair repairs a segment, if it is damaged: what was found may have been a fault of the memory.
func (r *repairer) repair(ctx context.Context, w wound, first bool) error {
	p := r.m.lookUp(w.tp)
	if p == nil || p.log == nil || p.log.Err() != nil {
		return fs.ErrNotExist
	}
	if len(r.sources(w.tp)) == 0 {
		return errNobodyLives
	}
	begun := r.m.cfg.Now()
	there, damage := p.log.CheckSegment(w.base)
	if !there {
		return nil
	}
	if damage == nil {
		r.m.cfg.Logger.Warn("what was read of a segment was damaged, and the segment is not", "partition", w.tp.String(), "segment", int64(w.base))
		return nil
	}
	if kerr.CodeOf(damage) != kerr.CorruptMessage {
		return damage
	}
	if first {
		r.m.cfg.Logger.Warn("a segment is damaged; taking what is damaged from other replicas", "partition", w.tp.String(), "error", damage)
	}
	rep, err := r.m.cfg.Logs.BeginRepair(ctx, w.tp, w.base)
	if err != nil {
		return err
	}
	defer func() {
		if err := rep.End(); err != nil {
			r.m.cfg.Logger.Warn("what a repair has left behind cannot be removed", "partition", w.tp.String(), "error", err)
		}
	}()
	if _, to, _ := rep.Wants(); p.HighWatermark() < to {
		return fmt.Errorf("the high watermark is %d and the segment ends at %d", p.HighWatermark(), to)
	}
	s := r.open(p, rep.Dense())
	defer s.close()
	for {
		if _, _, more := rep.Wants(); !more {
			break
		}
		if err := s.fill(ctx, rep); err != nil {
			return err
		}
	}
	if err := rep.Commit(); err != nil {
		return err
	}
	r.m.cfg.Logger.Warn("a damaged segment is repaired", "partition", w.tp.String(), "segment", int64(w.base), "bytes-from-others", s.bytes, "took", r.m.cfg.Now().Sub(begun).Round(time.Millisecond))
	return nil
}

// sources returns whom to ask for records of a partition.
func (r *repairer) sources(tp cluster.TopicPartition) []cluster.BrokerID {
	image := r.m.cfg.Metadata.Image()
	known, ok := image.Partition(tp)
	if !ok {
		return nil
	}
	return state.RepairSources(r.m.cfg.BrokerID, known.Leader, known.ISR, known.Replicas, image.IsLive)
}

// sources are whom one repair may read from. They belong to one goroutine.
type sources struct {
	p      *Partition
	own    bool // what is whole in this broker's own log counts
	others []cluster.BrokerID
	open   map[cluster.BrokerID]Leader
	peers  Peers
	bytes  int
}

func (r *repairer) open(p *Partition, own bool) *sources {
	return &sources{p: p, own: own, others: r.sources(p.tp), open: make(map[cluster.BrokerID]Leader), peers: r.m.cfg.Peers}
}

func (s *sources) close() {
	for _, l := range s.open {
		l.Close()
	}
}

// fill takes the next batches from the first who has them.
func (s *sources) fill(ctx context.Context, rep *commitlog.Repair) error {
	before, to, _ := rep.Wants()
	progress := func() bool {
		now, _, more := rep.Wants()
		return now != before || !more
	}
	if s.own {
		if f, err := s.p.log.Read(before, repairBytes, to, true, heap{}); err == nil {
			_ = rep.Append(f.Data) // what it refuses is what is missing
			if progress() {
				return nil
			}
		}
	}
	errs := []error{fmt.Errorf("nobody has what is missing from offset %d on", before)}
	for _, id := range s.others {
		records, err := s.read(ctx, id, before)
		if err == nil {
			if err = rep.Append(records); progress() {
				s.bytes += len(records)
				return nil
			}
			if err == nil {
				err = fmt.Errorf("broker %d has nothing from offset %d on", id, before)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const (
	// repairBytes is how much is read at a time.
	repairBytes = 1 << 20
	// repairTimeout bounds a read from another replica.
	repairTimeout = 5 * time.Second
	// repairWait is how long another replica may wait for records to be there: its high watermark may be a moment behind.
	repairWait = 500 * time.Millisecond
)

// read reads from another replica as a consumer would, in the leader epoch in which this one stands. The records can be used until the next read.
func (s *sources) read(ctx context.Context, id cluster.BrokerID, from cluster.Offset) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	way := s.open[id]
	if way == nil {
		way = s.peers.Leader(id)
		s.open[id] = way
	}
	res, err := way.Fetch(ctx, &peer.FetchRequest{
		AsConsumer: true, MaxWait: repairWait, MinBytes: 1, MaxBytes: repairBytes, PartitionMaxBytes: repairBytes,
		Set: []peer.FetchPosition{{
			TopicPartition: s.p.tp, TopicID: *s.p.topicID.Load(), CurrentLeaderEpoch: s.p.LeaderEpoch(), Offset: from,
			LastFetchedEpoch: cluster.NoLeaderEpoch, LogStart: cluster.UnknownOffset,
		}},
	})
	if err != nil {
		return nil, err
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("broker %d answers for another partition", id)
	}
	a := &res.Topics[0].Partitions[0]
	if a.ErrorCode != kerr.None {
		return nil, fmt.Errorf("read from broker %d at offset %d: %w", id, from, a.ErrorCode)
	}
	return a.Records, nil
}

// heap is a source of buffers that nobody takes back.
type heap struct{}

func (heap) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (heap) Put(*[]byte)       {}

// Damaged is told that a segment of a partition was found to be damaged, by its base offset, and has it repaired. It does not block.
func (m *Manager) Damaged(tp cluster.TopicPartition, segment cluster.Offset) {
	if m.repairs != nil {
		m.repairs.push(wound{tp, segment})
	}
}

// readCode returns the code for a client whose read has failed. What is being repaired is asked for again; what cannot be is damaged.
func (p *Partition) readCode(err error) kerr.Code {
	code := p.checkStorage(err)
	if code == kerr.CorruptMessage && p.env.heals != nil && p.env.heals(p.tp) {
		return kerr.KafkaStorageError
	}
	return code
}
