package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

// fetcher copies partitions from one leader: one goroutine, one fetch session. A request is sent when everything of the previous answer is
// appended, because that is what it tells the leader. add, remove and hurry are safe for concurrent use; the rest belongs to run.
type fetcher struct {
	env      *environment
	settings FetchSettings
	epoch    func() cluster.BrokerEpoch
	leader   Leader
	log      hclog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	wake     chan struct{} // has a token when there are changes

	mu        sync.Mutex
	changes   map[cluster.TopicPartition]*task // what is new; nil for a partition that leaves
	interrupt context.CancelFunc               // ends the request under way, if it waits for news; nil when there is none

	tasks    map[cluster.TopicPartition]*task
	order    []*task // tasks by name
	forget   []cluster.TopicPartition
	failures int // of requests in a row

	over, delayed sparing // lines logged about the answer being digested
}

// task is a partition to copy.
type task struct {
	p *Partition
	state.Pursuit
	inSync bool // it had everything up to the leader's high watermark after the last answer
	ready  bool // nothing of an earlier role is under way, and the log's tail is settled
}

func newFetcher(ctx context.Context, env *environment, s FetchSettings, epoch func() cluster.BrokerEpoch, leader Leader, log hclog.Logger) *fetcher {
	f := &fetcher{
		env: env, settings: s, epoch: epoch, leader: leader, log: log, wake: make(chan struct{}, 1),
		tasks: make(map[cluster.TopicPartition]*task),
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// add makes the fetcher copy a partition in a leader epoch, with the next request.
func (f *fetcher) add(p *Partition, epoch cluster.LeaderEpoch) {
	f.change(p.tp, &task{p: p, Pursuit: state.Pursuit{Epoch: epoch}})
}

// remove makes the fetcher leave a partition.
func (f *fetcher) remove(tp cluster.TopicPartition) { f.change(tp, nil) }

func (f *fetcher) change(tp cluster.TopicPartition, t *task) {
	f.mu.Lock()
	if f.changes == nil {
		f.changes = make(map[cluster.TopicPartition]*task)
	}
	f.changes[tp] = t
	f.mu.Unlock()
}

// hurry makes changes count at once: a request under way that waits for news of other partitions is given up for new ones.
func (f *fetcher) hurry() {
	f.mu.Lock()
	if f.addedLocked() && f.interrupt != nil {
		f.interrupt()
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// addedLocked reports whether there is a partition to add.
func (f *fetcher) addedLocked() bool {
	for _, t := range f.changes {
		if t != nil {
			return true
		}
	}
	return false
}

// takeChanges enters what add and remove have asked for.
func (f *fetcher) takeChanges() {
	f.mu.Lock()
	changes := f.changes
	f.changes = nil
	f.mu.Unlock()
	if changes == nil {
		return
	}
	for tp, t := range changes {
		old := f.tasks[tp]
		switch {
		case t == nil && old != nil:
			f.drop(old)
		case t != nil:
			if old != nil {
				t.InSession = old.InSession
			}
			f.tasks[tp] = t
		}
	}
	f.sort()
}

// drop leaves a partition. The caller sorts afterwards.
func (f *fetcher) drop(t *task) {
	if t.InSession {
		f.forget = append(f.forget, t.p.tp)
	}
	delete(f.tasks, t.p.tp)
}

func (f *fetcher) sort() { f.order = cluster.InOrder(f.tasks) }

// run copies until the fetcher is stopped.
func (f *fetcher) run() {
	defer f.leader.Close()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for f.ctx.Err() == nil {
		f.takeChanges()
		req, active, next := f.plan(f.env.now())
		if active == 0 {
			// The session would only answer for what it must forget: end it.
			f.lose()
			f.rest(timer, next)
			continue
		}
		res, err := f.exchange(req)
		switch {
		case err == nil:
			f.failures = 0
			f.digest(res)
		case errors.Is(err, errInterrupted):
			f.lose()
		default:
			f.lose()
			if f.ctx.Err() != nil {
				return
			}
			f.failures++
			d := state.Pause(f.failures, f.settings.Backoff)
			if f.failures == 1 {
				f.log.Info("cannot fetch from the leader, trying again", "partitions", len(f.tasks), "error", err)
			}
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-f.ctx.Done():
			}
		}
	}
}

// rest waits for changes, and until next if that is not zero.
func (f *fetcher) rest(timer *time.Timer, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer.Reset(next.Sub(f.env.now()))
		due = timer.C
		defer timer.Stop()
	}
	select {
	case <-due:
	case <-f.wake:
	case <-f.ctx.Done():
	}
}

// lose ends the session.
func (f *fetcher) lose() {
	f.leader.Reset()
	f.forget = nil
	for _, t := range f.order {
		t.Lost()
	}
}

// maxPlaced bounds how many partitions one request sets or forgets. More that are new to the session come with the next request. Those that the session
// has and that do not stand where the leader takes them to stand must not wait for that, because each request says that all was appended that was sent: if
// there are more of them, the session ends, and another one begins.
const maxPlaced = 2000

// plan builds the next request and returns how many partitions are copied, and when the first of those that wait is due; zero if none does.
func (f *fetcher) plan(now time.Time) (req *peer.FetchRequest, active int, next time.Time) {
	req = &peer.FetchRequest{
		BrokerEpoch: f.epoch(), MaxWait: f.settings.MaxWait, MinBytes: f.settings.MinBytes, MaxBytes: f.settings.MaxBytes,
		PartitionMaxBytes: f.settings.PartitionMaxBytes,
	}
	dropped, partial, misplaced := false, false, false
	for _, t := range f.order {
		if !t.p.follows(t.Epoch) {
			f.drop(t)
			dropped = true
			continue
		}
		if pause, held := t.held(); held && t.Active(now) {
			t.DueAt = now.Add(pause)
		}
		if !t.ready && t.Active(now) {
			f.prepare(t, now)
		}
		if !t.Active(now) {
			if t.InSession {
				f.forget = append(f.forget, t.p.tp)
				t.Lost()
			}
			if !t.Failed && (next.IsZero() || t.DueAt.Before(next)) {
				next = t.DueAt
			}
			continue
		}
		active++
		if t.Placed && t.LogStart == t.p.log.LogStartOffset() {
			continue
		}
		if len(req.Set) == maxPlaced {
			partial = true
			misplaced = misplaced || t.InSession && !t.Placed
			continue
		}
		f.place(t, req)
	}
	if dropped {
		f.sort()
	}
	if misplaced || len(f.forget) > maxPlaced {
		f.lose()
		return f.plan(now) // nothing is in the session now
	}
	req.Forget, f.forget = f.forget, nil
	switch {
	case partial:
		req.MaxWait = 0
	case !next.IsZero():
		req.MaxWait = min(req.MaxWait, max(next.Sub(now), time.Millisecond))
	}
	return req, active, next
}

// lookAgain is how long to wait for what is under way in an earlier role of a partition. It rarely takes long, but the disk may stall.
const lookAgain = 20 * time.Millisecond

// prepare makes a partition ready to be copied, or puts it off.
func (f *fetcher) prepare(t *task, now time.Time) {
	err := errNotFollowing
	if t.p.gate.idle() {
		err = t.p.settleTail(t.Epoch)
	}
	switch {
	case err == nil:
		t.ready = true
	case errors.Is(err, errNotFollowing):
		t.DueAt = now.Add(lookAgain)
	default:
		f.failed(t, err)
	}
}

// held reports whether the partition has to wait because it is throttled and the limit is exceeded, and for how long. One that is in sync need not
// (F§3.10).
func (t *task) held() (time.Duration, bool) {
	if t.inSync || !t.p.throttled.follower.Load() {
		return 0, false
	}
	return t.p.env.fetching.exceeded()
}

// place puts a partition into the request.
func (f *fetcher) place(t *task, req *peer.FetchRequest) {
	t.InSession, t.Placed, t.LogStart = true, true, t.p.log.LogStartOffset()
	req.Set = append(req.Set, peer.FetchPosition{
		TopicPartition: t.p.tp, TopicID: *t.p.topicID.Load(), CurrentLeaderEpoch: t.Epoch,
		Offset: t.p.log.LogEndOffset(), LastFetchedEpoch: t.p.log.LatestEpoch(), LogStart: t.LogStart,
	})
}

// errInterrupted says that a request was given up because there is more to ask for.
var errInterrupted = errors.New("interrupted")

// exchange sends a request and waits for the answer, or for more to ask for.
func (f *fetcher) exchange(req *peer.FetchRequest) (*wire.FetchResponse, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.mu.Lock()
	if f.addedLocked() {
		f.mu.Unlock()
		return nil, errInterrupted
	}
	f.interrupt = cancel
	f.mu.Unlock()
	res, err := f.leader.Fetch(ctx, req)
	f.mu.Lock()
	f.interrupt = nil
	f.mu.Unlock()
	if err != nil && ctx.Err() != nil && f.ctx.Err() == nil {
		return nil, errInterrupted
	}
	return res, err
}

// digest carries out what an answer asks for, one partition after the other; what goes wrong with one does not concern the others (KAFKA-5758).
func (f *fetcher) digest(res *wire.FetchResponse) {
	for i := range res.Topics {
		topic := &res.Topics[i]
		for j := range topic.Partitions {
			a := &topic.Partitions[j]
			t := f.tasks[cluster.TopicPartition{Topic: topic.Name, Partition: a.Index}]
			if t == nil || !t.Placed {
				continue
			}
			f.react(t, a)
		}
	}
	f.over.end(f.log, epochOver)
	f.delayed.end(f.log, cannotCopy)
}

// What is logged about single partitions of an answer.
const (
	epochOver  = "the leader epoch is over, waiting for the controller"
	cannotCopy = "cannot copy a partition, trying again"
)

func (f *fetcher) react(t *task, a *wire.FetchPartition) {
	var err error
	switch state.ReactionTo(a.ErrorCode, a.Diverging != nil) {
	case state.Take:
		if err = t.p.replicate(t.Epoch, a); err == nil {
			t.Went()
			if t.p.throttled.follower.Load() {
				t.p.env.fetching.add(len(a.Records))
			}
			t.inSync = a.HighWatermark <= t.p.log.LogEndOffset()
			return
		}
	case state.CutOff:
		var progress bool
		if progress, err = t.p.diverged(t.Epoch, EpochEnd{Epoch: a.Diverging.Epoch, End: a.Diverging.EndOffset}); err == nil && progress {
			t.Again()
			return
		}
	case state.AskEnds:
		if err = f.reconcile(t); err == nil {
			// It is due at once, but a leader that keeps saying so must not be asked in a tight loop.
			t.BackOff(f.env.now(), f.settings.Backoff)
			return
		}
	case state.GiveUp:
		if f.over.next() {
			f.log.Info(epochOver, "partition", t.p.tp.String(), "leader-epoch", int32(t.Epoch))
		}
		t.GiveUp()
		return
	case state.TryLater:
		err = a.ErrorCode
	}
	f.failed(t, err)
}

// failed deals with an error of one partition.
func (f *fetcher) failed(t *task, err error) {
	if errors.Is(err, errNotFollowing) {
		t.Again() // plan drops it
		return
	}
	if t.Failures == 0 && f.delayed.next() {
		f.log.Info(cannotCopy, "partition", t.p.tp.String(), "leader-epoch", int32(t.Epoch), "error", err)
	}
	if err != nil && t.p.checkStorage(err) == kerr.KafkaStorageError && t.p.state.Load().Role == state.Offline {
		t.GiveUp()
		return
	}
	t.BackOff(f.env.now(), f.settings.Backoff)
}

// reconcile asks the leader where its log begins and ends, and brings this one there.
func (f *fetcher) reconcile(t *task) error {
	start, end, err := f.leader.Ends(f.ctx, t.p.tp, t.Epoch)
	if err != nil {
		return err
	}
	return t.p.reconcile(t.Epoch, start, end)
}

// fetcherKey names a fetcher.
type fetcherKey struct {
	leader cluster.BrokerID
	index  int
}

// fetchers are the fetchers of a broker. Its methods are safe for concurrent use.
type fetchers struct {
	m      *Manager
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	perLeader int // num.replica.fetchers
	running   map[fetcherKey]*fetcher
	of        map[cluster.TopicPartition]following
	count     map[fetcherKey]int
	closed    bool
	alive     sync.WaitGroup
}

// following says who copies a partition, and in which leader epoch.
type following struct {
	fetcherKey
	p     *Partition
	epoch cluster.LeaderEpoch
}

func newFetchers(m *Manager) *fetchers {
	s := &fetchers{
		m: m, perLeader: m.cfg.Fetch.Fetchers,
		running: make(map[fetcherKey]*fetcher), of: make(map[cluster.TopicPartition]following), count: make(map[fetcherKey]int),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// assign makes the right fetcher, and no other, copy a partition from its leader, when settle is called.
func (s *fetchers) assign(p *Partition, leader cluster.BrokerID, epoch cluster.LeaderEpoch) {
	if leader == cluster.NoBroker {
		s.unassign(p.tp)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	key := fetcherKey{leader, state.FetcherIndex(p.tp, s.perLeader)}
	if old, ok := s.of[p.tp]; !ok || old.fetcherKey != key {
		s.unassignLocked(p.tp)
		s.count[key]++
	}
	s.of[p.tp] = following{key, p, epoch}
	f := s.running[key]
	if f == nil {
		log := s.m.cfg.Logger.With("leader", int32(leader), "fetcher", key.index)
		f = newFetcher(s.ctx, &s.m.env, s.m.cfg.Fetch, s.m.cfg.BrokerEpoch, s.m.cfg.Peers.Leader(leader), log)
		s.running[key] = f
		s.alive.Go(f.run)
	}
	f.add(p, epoch)
}

// unassign makes nobody copy a partition, when settle is called. What is under way is refused by the partition itself.
func (s *fetchers) unassign(tp cluster.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unassignLocked(tp)
}

func (s *fetchers) unassignLocked(tp cluster.TopicPartition) {
	old, ok := s.of[tp]
	if !ok {
		return
	}
	delete(s.of, tp)
	s.count[old.fetcherKey]--
	s.running[old.fetcherKey].remove(tp)
}

// settle makes what was assigned count, and ends the fetchers that have nothing to copy (F§2.10).
func (s *fetchers) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, f := range s.running {
		f.hurry()
		if s.count[key] == 0 {
			f.cancel()
			delete(s.running, key)
			delete(s.count, key)
		}
	}
}

// resize spreads the partitions of each leader over another number of fetchers. The caller holds Manager.orders. No fetcher begins before all have
// ended: two that copy one partition in the same leader epoch could undo what the other has appended.
func (s *fetchers) resize(perLeader int) {
	s.mu.Lock()
	if s.closed || perLeader == s.perLeader {
		s.mu.Unlock()
		return
	}
	s.m.cfg.Logger.Info("spreading partitions over another number of fetchers for each leader", "from", s.perLeader, "to", perLeader, "partitions", len(s.of))
	s.perLeader = perLeader
	all := s.of
	for _, f := range s.running {
		f.cancel()
	}
	s.of = make(map[cluster.TopicPartition]following, len(all))
	clear(s.running)
	clear(s.count)
	s.mu.Unlock()
	s.alive.Wait()
	for _, a := range all {
		s.assign(a.p, a.leader, a.epoch)
	}
	s.settle()
}

// close ends all fetchers and waits for them.
func (s *fetchers) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.alive.Wait()
}
