package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// NewSession takes part in the election in a new ZooKeeper session, in which the broker is registered already. It does not block.
func (c *Controller) NewSession(s *zk.Session, st *store.Store) {
	c.Join(NewZooKeeper(s, st, c.cfg.BrokerID, c.log))
}

// NewZooKeeper returns the controller's view of a session, for the broker of that id. The logger, which may be nil, hears of nodes
// that cannot be understood.
func NewZooKeeper(s *zk.Session, st *store.Store, id cluster.BrokerID, log hclog.Logger) Session {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &session{hints: hints{w: s.Watch(), resync: ControllerNodeChange}, s: s, st: st, id: id, log: log}
}

// hints turns the events of a watcher into changes.
type hints struct {
	w      *zk.Watcher
	resync ChangeKind // what a reconnection puts in doubt
}

// Ready implements [Watch].
func (h hints) Ready() <-chan struct{} { return h.w.Ready() }

// Close ends the watches.
func (h hints) Close() { h.w.Close() }

// Take implements [Watch].
func (h hints) Take() []Change {
	var out []Change
	for _, e := range h.w.Take() {
		if ch, ok := h.change(e); ok {
			out = append(out, ch)
		}
	}
	return out
}

// change says which part of the cluster an event concerns.
func (h hints) change(e zk.Event) (Change, bool) {
	topic, isTopic := strings.CutPrefix(e.Path, znode.BrokerTopics+"/")
	switch {
	case e.Type == zk.EventResync:
		return Change{Kind: h.resync}, true
	case e.Path == znode.ControllerPath:
		return Change{Kind: ControllerNodeChange}, true
	case e.Path == znode.BrokerIDs || strings.HasPrefix(e.Path, znode.BrokerIDs+"/"):
		return Change{Kind: BrokersChange}, true
	case e.Path == znode.BrokerTopics:
		return Change{Kind: TopicsChange}, true
	case isTopic:
		return Change{Kind: TopicNodeChange, Topic: topic}, true
	case e.Path == znode.DeleteTopics:
		return Change{Kind: DeletionsChange}, true
	case e.Path == znode.ReassignPartitions:
		return Change{Kind: ReassignmentsChange}, true
	case e.Path == znode.PreferredReplicaElection:
		return Change{Kind: ElectionsChange}, true
	case e.Path == znode.LogDirEventNotification:
		return Change{Kind: LogDirsChange}, true
	}
	return Change{}, false
}

// session implements [Session].
type session struct {
	hints
	s   *zk.Session
	st  *store.Store
	id  cluster.BrokerID
	log hclog.Logger
}

// Live implements [Session].
func (s *session) Live() bool { return s.s.Live() }

// ActiveController implements [Session].
func (s *session) ActiveController(ctx context.Context) (cluster.BrokerID, bool, error) {
	info, ok, err := s.st.Controller(ctx, s.w)
	if err != nil || !ok {
		return cluster.NoBroker, false, meaning(err)
	}
	if info.Broker != cluster.NoBroker {
		return info.Broker, true, nil
	}
	s.log.Error("the controller's node cannot be understood; delete it unless somebody is controller", "path", znode.ControllerPath)
	if info.Owner == s.s.ID() {
		return s.id, true, nil
	}
	return cluster.NoBroker, true, nil
}

// Elect implements [Session].
func (s *session) Elect(ctx context.Context, nowMs int64) (Power, cluster.BrokerID, error) {
	return s.elected(s.st.Elect(ctx, s.id, nowMs))
}

// Depose implements [Session].
func (s *session) Depose(ctx context.Context, old cluster.BrokerID, nowMs int64) (Power, cluster.BrokerID, error) {
	return s.elected(s.st.Depose(ctx, s.id, old, nowMs))
}

// elected turns the outcome of an election into power.
func (s *session) elected(tx *store.FencedTx, info store.ControllerInfo, err error) (Power, cluster.BrokerID, error) {
	if err != nil || tx == nil {
		return nil, info.Broker, meaning(err)
	}
	return &power{hints: hints{w: s.s.Watch(), resync: EverythingChange}, session: s, tx: tx}, s.id, nil
}

// Topics implements [Session].
func (s *session) Topics(ctx context.Context) ([]string, error) {
	names, err := s.st.Topics(ctx, nil)
	return names, meaning(err)
}

// CreateTopic implements [Session].
func (s *session) CreateTopic(ctx context.Context, t state.Topic, config map[string]string) error {
	return meaning(s.st.CreateTopic(ctx, t.Name, toNode(t.ID, t.Assignments), config))
}

// RequestDeletion implements [Session].
func (s *session) RequestDeletion(ctx context.Context, topic string) error {
	return meaning(s.st.RequestTopicDeletion(ctx, topic))
}

// meaning puts this package's errors in front of those of ZooKeeper that mean the same.
func meaning(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrControllerMoved):
		return fmt.Errorf("%w: %w", ErrMoved, err)
	case errors.Is(err, zk.ErrSessionExpired), errors.Is(err, zk.ErrClosed):
		return fmt.Errorf("%w: %w", ErrOver, err)
	}
	return err
}

// power implements [Power].
type power struct {
	hints
	session *session
	tx      *store.FencedTx
	known   map[cluster.BrokerID]state.Broker // as last read
}

// Epoch implements [Power].
func (p *power) Epoch() cluster.ControllerEpoch { return p.tx.Epoch() }

// Sync implements [Power].
func (p *power) Sync(ctx context.Context) error { return meaning(p.session.st.Sync(ctx)) }

// SetUpFeatures implements [Power]. No feature is finalized in a cluster of this kind; the node says that they could be.
func (p *power) SetUpFeatures(ctx context.Context) error {
	_, _, ok, err := p.session.st.Feature(ctx, nil)
	if err != nil || ok {
		return p.tolerate(err)
	}
	_, err = p.tx.SetFeature(ctx, znode.Feature{Status: znode.FeaturesEnabled}, -1)
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return meaning(err)
}

// tolerate turns complaints about single nodes into log lines: one bad node must not stop a cluster.
func (p *power) tolerate(err error) error {
	var corrupt *znode.CorruptError
	if errors.As(err, &corrupt) {
		p.session.log.Error("a node cannot be understood and is left out", "error", err)
		return nil
	}
	return meaning(err)
}

// Brokers implements [Power]. A broker whose registration has become unreadable stays what it was.
func (p *power) Brokers(ctx context.Context) ([]state.Broker, error) {
	infos, err := p.session.st.Brokers(ctx, p.w)
	if err := p.tolerate(err); err != nil {
		return nil, err
	}
	now := make(map[cluster.BrokerID]state.Broker, len(infos))
	for id, info := range infos {
		b := state.Broker{ID: id, Epoch: info.Epoch, Since: info.Since, Endpoints: info.Endpoints, Rack: info.Rack}
		if len(b.Endpoints) == 0 {
			if b = p.known[id]; b.Epoch != info.Epoch {
				continue
			}
		}
		now[id] = b
	}
	p.known = now
	return slices.Collect(maps.Values(now)), nil
}

// TopicNames implements [Power].
func (p *power) TopicNames(ctx context.Context) ([]string, error) {
	names, err := p.session.st.Topics(ctx, p.w)
	return names, meaning(err)
}

// Topics implements [Power].
func (p *power) Topics(ctx context.Context, names []string) ([]state.Topic, error) {
	infos, err := p.session.st.ReadTopics(ctx, p.w, names)
	unreadable := store.CorruptPaths(err)
	if err := p.tolerate(err); err != nil {
		return nil, err
	}
	out := make([]state.Topic, 0, len(infos))
	for _, name := range names {
		info, ok := infos[name]
		if !ok {
			if slices.Contains(unreadable, znode.TopicPath(name)) {
				out = append(out, state.Topic{Name: name})
			}
			continue
		}
		t := state.Topic{Name: name, ID: info.ID, Assignments: make(map[int32]state.Assignment, len(info.Replicas))}
		if t.ID.IsZero() {
			t.ID, t.NewID = cluster.NewTopicID(), true
		}
		for index, replicas := range info.Replicas {
			t.Assignments[index] = state.Assignment{Replicas: replicas, Adding: info.Adding[index], Removing: info.Removing[index]}
		}
		out = append(out, t)
	}
	return out, nil
}

// Deletions implements [Power].
func (p *power) Deletions(ctx context.Context) ([]string, error) {
	names, err := p.session.st.PendingDeletions(ctx, p.w)
	return names, meaning(err)
}

// Reassignments implements [Power].
func (p *power) Reassignments(ctx context.Context) (e state.ReassignmentsRequested, ok bool, err error) {
	list, err := p.session.st.Reassignments(ctx, p.w)
	var corrupt *znode.CorruptError
	if errors.As(err, &corrupt) {
		return e, false, p.tolerate(err)
	}
	e.Exists = list != nil
	for _, r := range list {
		e.Moves = append(e.Moves, state.Move{Partition: r.Partition, Replicas: r.Replicas})
	}
	return e, err == nil, meaning(err)
}

// Elections implements [Power].
func (p *power) Elections(ctx context.Context) (state.ElectionsRequested, error) {
	tps, err := p.session.st.PreferredElections(ctx, p.w)
	var corrupt *znode.CorruptError
	if errors.As(err, &corrupt) {
		return state.ElectionsRequested{Exists: true}, p.tolerate(err)
	}
	return state.ElectionsRequested{Exists: tps != nil, Partitions: tps}, meaning(err)
}

// LogDirEvents implements [Power].
func (p *power) LogDirEvents(ctx context.Context) ([]cluster.BrokerID, []string, error) {
	brokers, paths, err := p.session.st.LogDirEvents(ctx, p.w)
	return brokers, paths, p.tolerate(err)
}

// DeleteNotifications implements [Power].
func (p *power) DeleteNotifications(ctx context.Context, paths []string) error {
	return meaning(p.tx.DeleteNotifications(ctx, paths...))
}

// DeleteAllNotifications implements [Power].
func (p *power) DeleteAllNotifications(ctx context.Context) error {
	return meaning(p.tx.DeleteAllNotifications(ctx))
}

// Resign implements [Power].
func (p *power) Resign(ctx context.Context) error { return meaning(p.tx.Resign(ctx)) }

// States implements [Power].
func (p *power) States(ctx context.Context, tps []cluster.TopicPartition) (
	states map[cluster.TopicPartition]state.LeaderAndISR, written map[cluster.TopicPartition]cluster.BrokerEpoch, err error,
) {
	infos, err := p.session.st.PartitionStates(ctx, tps)
	if err := p.tolerate(err); err != nil {
		return nil, nil, err
	}
	states = make(map[cluster.TopicPartition]state.LeaderAndISR, len(infos))
	written = make(map[cluster.TopicPartition]cluster.BrokerEpoch, len(infos))
	for tp, info := range infos {
		states[tp], written[tp] = fromNode(info), cluster.BrokerEpoch(info.Written)
	}
	return states, written, nil
}

// fromNode and toNode convert between nodes and the machine's nouns.
func fromNode(info store.StateInfo) state.LeaderAndISR {
	return state.LeaderAndISR{
		Leader: info.Leader, LeaderEpoch: info.LeaderEpoch, ISR: info.ISR, Recovery: state.RecoveryState(info.Recovery),
		ControllerEpoch: info.ControllerEpoch, PartitionEpoch: info.Epoch,
	}
}

func toNode(id cluster.TopicID, of map[int32]state.Assignment) znode.Topic {
	t := znode.Topic{ID: id, Replicas: make(map[int32][]cluster.BrokerID, len(of))}
	for index, a := range of {
		t.Replicas[index] = a.Replicas
		if len(a.Adding) > 0 {
			if t.Adding == nil {
				t.Adding = make(map[int32][]cluster.BrokerID)
			}
			t.Adding[index] = a.Adding
		}
		if len(a.Removing) > 0 {
			if t.Removing == nil {
				t.Removing = make(map[int32][]cluster.BrokerID)
			}
			t.Removing[index] = a.Removing
		}
	}
	return t
}
