package controller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/controller/channel"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// world is ZooKeeper as the controller sees it, for several brokers, with one-shot watches and faults. It is safe for concurrent use.
type world struct {
	mu         sync.Mutex
	zxid       int64
	brokers    map[cluster.BrokerID]state.Broker
	topics     map[string]state.Topic
	configs    map[string]map[string]string
	states     map[cluster.TopicPartition]state.LeaderAndISR
	deletions  map[string]bool
	moves      state.ReassignmentsRequested
	elections  state.ElectionsRequested
	logDirs    []cluster.BrokerID
	epoch      cluster.ControllerEpoch
	controller *fakeSession // who holds /controller
	watches    []*fakeWatch
	commits    int // how many steps were committed

	// commitFault says what happens to a commit: nil, an error instead of it, or lost = applied with unknown outcomes. readFault is
	// an error of any read.
	commitFault func(ops []state.Op) (lost bool, err error)
	readFault   func(what string) error
}

func newWorld() *world {
	return &world{
		brokers: map[cluster.BrokerID]state.Broker{}, topics: map[string]state.Topic{}, configs: map[string]map[string]string{},
		states: map[cluster.TopicPartition]state.LeaderAndISR{}, deletions: map[string]bool{},
		commitFault: func([]state.Op) (bool, error) { return false, nil }, readFault: func(string) error { return nil },
	}
}

// fakeWatch is a queue of changes with the set of what is watched.
type fakeWatch struct {
	w     *world
	armed map[Change]bool
	queue []Change
	ready chan struct{}
}

func (w *world) newWatch() *fakeWatch {
	f := &fakeWatch{w: w, armed: map[Change]bool{}, ready: make(chan struct{}, 1)}
	w.watches = append(w.watches, f)
	return f
}

func (f *fakeWatch) Ready() <-chan struct{} { return f.ready }

func (f *fakeWatch) Take() []Change {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	out := f.queue
	f.queue = nil
	return out
}

func (f *fakeWatch) Close() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.watches = slices.DeleteFunc(f.w.watches, func(o *fakeWatch) bool { return o == f })
}

func (f *fakeWatch) pushLocked(ch Change) {
	f.queue = append(f.queue, ch)
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// fireLocked tells those who watch, once.
func (w *world) fireLocked(ch Change) {
	for _, f := range w.watches {
		if f.armed[ch] {
			delete(f.armed, ch)
			f.pushLocked(ch)
		}
	}
}

// change changes the world and fires watches.
func (w *world) change(f func(), ch ...Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	for _, c := range ch {
		w.fireLocked(c)
	}
}

// register registers a broker anew.
func (w *world) register(id cluster.BrokerID) {
	w.change(func() {
		w.zxid++
		w.brokers[id] = state.Broker{
			ID: id, Epoch: cluster.BrokerEpoch(w.zxid), Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "h", Port: 9092}},
		}
	}, Change{Kind: BrokersChange})
}

// unregister ends a registration.
func (w *world) unregister(id cluster.BrokerID) {
	w.change(func() { delete(w.brokers, id) }, Change{Kind: BrokersChange})
}

// snapshot returns the states.
func (w *world) snapshot() map[cluster.TopicPartition]state.LeaderAndISR {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.states)
}

// fakeSession is a session of one broker.
type fakeSession struct {
	*fakeWatch
	id    cluster.BrokerID
	over  bool
	hangs chan struct{} // when set, commits hang until it is closed
}

func (w *world) session(id cluster.BrokerID) *fakeSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &fakeSession{fakeWatch: w.newWatch(), id: id}
}

// expire ends the session: what it owns vanishes.
func (s *fakeSession) expire() {
	s.w.change(func() { s.over = true })
	s.w.mu.Lock()
	mine := s.w.controller == s
	if mine {
		s.w.controller = nil
	}
	s.w.mu.Unlock()
	if mine {
		s.w.change(func() {}, Change{Kind: ControllerNodeChange})
	}
}

func (s *fakeSession) Live() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return !s.over
}

// readLocked checks a read and sets a watch on behalf of f.
func (s *fakeSession) readLocked(what string, f *fakeWatch, ch Change) error {
	if s.over {
		return ErrOver
	}
	if err := s.w.readFault(what); err != nil {
		return err
	}
	if f != nil {
		f.armed[ch] = true
	}
	return nil
}

func (s *fakeSession) ActiveController(context.Context) (cluster.BrokerID, bool, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.readLocked("controller", s.fakeWatch, Change{Kind: ControllerNodeChange}); err != nil || s.w.controller == nil {
		return cluster.NoBroker, false, err
	}
	return s.w.controller.id, true, nil
}

func (s *fakeSession) Elect(context.Context, int64) (Power, cluster.BrokerID, error) {
	return s.elect(cluster.NoBroker)
}

func (s *fakeSession) Depose(_ context.Context, old cluster.BrokerID, _ int64) (Power, cluster.BrokerID, error) {
	return s.elect(old)
}

func (s *fakeSession) elect(old cluster.BrokerID) (Power, cluster.BrokerID, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.over {
		return nil, cluster.NoBroker, ErrOver
	}
	if s.w.controller != nil && s.w.controller != s && (old == cluster.NoBroker || s.w.controller.id != old) {
		return nil, s.w.controller.id, nil
	}
	s.w.controller = s
	s.w.epoch++
	s.w.fireLocked(Change{Kind: ControllerNodeChange})
	return &fakePower{fakeWatch: s.w.newWatch(), s: s, epoch: s.w.epoch}, s.id, nil
}

func (s *fakeSession) Topics(context.Context) ([]string, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return slices.Sorted(maps.Keys(s.w.topics)), s.readLocked("all topics", nil, Change{})
}

func (s *fakeSession) CreateTopic(_ context.Context, t state.Topic, config map[string]string) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.readLocked("create", nil, Change{}); err != nil {
		return err
	}
	if _, ok := s.w.topics[t.Name]; ok {
		return kerr.TopicAlreadyExists
	}
	s.w.topics[t.Name], s.w.configs[t.Name] = t, config
	s.w.fireLocked(Change{Kind: TopicsChange})
	return nil
}

func (s *fakeSession) RequestDeletion(_ context.Context, topic string) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.readLocked("request deletion", nil, Change{}); err != nil {
		return err
	}
	s.w.deletions[topic] = true
	s.w.fireLocked(Change{Kind: DeletionsChange})
	return nil
}

// fakePower is what an elected session can do.
type fakePower struct {
	*fakeWatch
	s     *fakeSession
	epoch cluster.ControllerEpoch
}

func (p *fakePower) Epoch() cluster.ControllerEpoch { return p.epoch }

func (p *fakePower) read(what string, ch Change, f func()) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err := p.s.readLocked(what, p.fakeWatch, ch); err != nil {
		return err
	}
	f()
	return nil
}

func (p *fakePower) Sync(context.Context) error { return p.read("sync", Change{}, func() {}) }

func (p *fakePower) SetUpFeatures(context.Context) error { return p.write(func() {}) }

func (p *fakePower) Brokers(context.Context) (out []state.Broker, err error) {
	err = p.read("brokers", Change{Kind: BrokersChange}, func() { out = slices.Collect(maps.Values(p.w.brokers)) })
	return out, err
}

func (p *fakePower) TopicNames(context.Context) (out []string, err error) {
	err = p.read("topic names", Change{Kind: TopicsChange}, func() { out = slices.Sorted(maps.Keys(p.w.topics)) })
	return out, err
}

func (p *fakePower) Topics(_ context.Context, names []string) (out []state.Topic, err error) {
	for _, name := range names {
		err = errors.Join(err, p.read("topics", Change{Kind: TopicNodeChange, Topic: name}, func() {
			if t, ok := p.w.topics[name]; ok {
				out = append(out, t)
			}
		}))
	}
	return out, err
}

func (p *fakePower) Deletions(context.Context) (out []string, err error) {
	err = p.read("deletions", Change{Kind: DeletionsChange}, func() { out = slices.Sorted(maps.Keys(p.w.deletions)) })
	return out, err
}

func (p *fakePower) Reassignments(context.Context) (e state.ReassignmentsRequested, ok bool, err error) {
	err = p.read("reassignments", Change{Kind: ReassignmentsChange}, func() { e = p.w.moves })
	return e, true, err
}

func (p *fakePower) Elections(context.Context) (e state.ElectionsRequested, err error) {
	err = p.read("elections", Change{Kind: ElectionsChange}, func() { e = p.w.elections })
	return e, err
}

func (p *fakePower) LogDirEvents(context.Context) (out []cluster.BrokerID, paths []string, err error) {
	err = p.read("log dirs", Change{Kind: LogDirsChange}, func() {
		out = slices.Clone(p.w.logDirs)
		paths = make([]string, len(out))
	})
	return out, paths, err
}

func (p *fakePower) States(_ context.Context, tps []cluster.TopicPartition) (
	map[cluster.TopicPartition]state.LeaderAndISR, map[cluster.TopicPartition]cluster.BrokerEpoch, error,
) {
	out := map[cluster.TopicPartition]state.LeaderAndISR{}
	return out, nil, p.read("states", Change{}, func() {
		for _, tp := range tps {
			if s, ok := p.w.states[tp]; ok {
				out[tp] = s
			}
		}
	})
}

// write does something under the fence.
func (p *fakePower) write(f func()) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	switch {
	case p.s.over:
		return ErrOver
	case p.w.epoch != p.epoch:
		return ErrMoved
	}
	f()
	return nil
}

func (p *fakePower) DeleteNotifications(context.Context, []string) error {
	return p.write(func() { p.w.logDirs = nil })
}

func (p *fakePower) DeleteAllNotifications(context.Context) error {
	return p.write(func() { p.w.logDirs = nil })
}

func (p *fakePower) Resign(context.Context) error {
	return p.write(func() {
		if p.w.controller == p.s {
			p.w.controller = nil
			p.w.fireLocked(Change{Kind: ControllerNodeChange})
		}
	})
}

func (p *fakePower) Commit(ctx context.Context, ops []state.Op) ([]state.Result, error) {
	p.w.mu.Lock()
	hangs, fault := p.s.hangs, p.w.commitFault
	p.w.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	lost, err := fault(ops)
	if err != nil {
		return nil, err
	}
	results := make([]state.Result, len(ops))
	do := p.write
	if ops[0].Kind == state.ReadState || ops[0].Kind == state.ReadTopicConfig {
		do = func(f func()) error { return p.read("commit", Change{}, f) } // reads are not fenced
	}
	err = do(func() {
		p.w.commits++
		for i, op := range ops {
			results[i] = p.w.applyLocked(op)
			if lost && (op.Kind == state.SetState || op.Kind == state.CreateState) {
				results[i] = state.Result{Outcome: state.Unknown}
			}
		}
	})
	return results, err
}

func (w *world) applyLocked(op state.Op) state.Result {
	name := op.Partition.Topic
	current, has := w.states[op.Partition]
	switch op.Kind {
	case state.CreateState:
		if has {
			return state.Result{Outcome: state.NodeExists}
		}
		s := op.State
		s.PartitionEpoch = 0
		w.states[op.Partition] = s
	case state.SetState:
		if current.PartitionEpoch != op.Version {
			return state.Result{Outcome: state.BadVersion}
		}
		s := op.State
		s.PartitionEpoch = op.Version + 1
		w.states[op.Partition] = s
		return state.Result{Outcome: state.Done, Version: s.PartitionEpoch}
	case state.ReadState:
		if !has {
			return state.Result{Outcome: state.NoNode}
		}
		return state.Result{Outcome: state.Done, State: current}
	case state.ReadTopicConfig:
		return state.Result{Outcome: state.Done, Config: w.configs[name]}
	case state.SetTopic:
		w.topics[name] = state.Topic{Name: name, ID: op.TopicID, Assignments: op.Assignments}
		w.fireLocked(Change{Kind: TopicNodeChange, Topic: name})
	case state.DeleteTopic:
		delete(w.topics, name)
		delete(w.configs, name)
		delete(w.deletions, name)
		maps.DeleteFunc(w.states, func(tp cluster.TopicPartition, _ state.LeaderAndISR) bool { return tp.Topic == name })
		w.fireLocked(Change{Kind: TopicsChange})
		w.fireLocked(Change{Kind: TopicNodeChange, Topic: name})
		w.fireLocked(Change{Kind: DeletionsChange})
	case state.SetReassignments:
		w.moves = state.ReassignmentsRequested{Exists: len(op.Moves) > 0, Moves: slices.Clone(op.Moves)}
		w.fireLocked(Change{Kind: ReassignmentsChange})
	case state.DeletePreferredElection:
		w.elections = state.ElectionsRequested{}
		w.fireLocked(Change{Kind: ElectionsChange})
	case state.DeleteMarker:
		delete(w.deletions, name)
		w.fireLocked(Change{Kind: DeletionsChange})
	}
	return state.Result{Outcome: state.Done}
}

// delivery is what all fake channels of a world deliver: every order, and to the caches of brokers that have one. Answers are always
// good.
type delivery struct {
	mu     sync.Mutex
	log    []sent
	caches map[cluster.BrokerID]*metadata.Cache
	mute   map[cluster.BrokerID]bool // brokers that never get anything
}

type sent struct {
	from  cluster.BrokerID
	epoch cluster.ControllerEpoch
	state.Request
}

// fakeChannels delivers at once.
type fakeChannels struct {
	d      *delivery
	cfg    channel.Config
	known  map[cluster.BrokerID]bool
	closed bool
}

func (d *delivery) channels(cfg channel.Config) Channels {
	return &fakeChannels{d: d, cfg: cfg, known: map[cluster.BrokerID]bool{}}
}

func (f *fakeChannels) Add(b state.Broker)         { f.known[b.ID] = true }
func (f *fakeChannels) Remove(id cluster.BrokerID) { delete(f.known, id) }
func (f *fakeChannels) Move(state.Broker)          {}
func (f *fakeChannels) Close()                     { f.closed = true }

func (f *fakeChannels) Send(r state.Request) {
	if f.closed || !f.known[r.Broker] {
		panic("an order through a closed or unknown sender")
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.mute[r.Broker] {
		return
	}
	f.d.log = append(f.d.log, sent{f.cfg.ControllerID, f.cfg.Epoch, r})
	switch body := r.Body.(type) {
	case *state.MetadataRequest:
		if cache := f.d.caches[r.Broker]; cache != nil {
			cache.Apply(toUpdate(f.cfg.ControllerID, body))
		}
	case *state.StopRequest:
		e := state.StopResponse{Request: body, Broker: r.Broker, BrokerEpoch: r.BrokerEpoch}
		for _, p := range body.Partitions {
			e.Partitions = append(e.Partitions, state.PartitionError{Partition: p.Partition})
		}
		f.cfg.Answer(e)
	}
}

func toUpdate(controller cluster.BrokerID, r *state.MetadataRequest) metadata.Update {
	u := metadata.Update{ControllerID: controller}
	for _, b := range r.Brokers {
		u.Brokers = append(u.Brokers, metadata.Broker{ID: b.ID, Endpoints: b.Endpoints, Rack: b.Rack})
	}
	for _, p := range r.Partitions {
		u.Partitions = append(u.Partitions, metadata.PartitionUpdate{TopicPartition: p.Partition, TopicID: p.TopicID, Partition: metadata.Partition{
			Leader: p.State.Leader, LeaderEpoch: p.State.LeaderEpoch, ISR: p.State.ISR, Replicas: p.Replicas, Offline: p.Offline,
		}})
	}
	return u
}
