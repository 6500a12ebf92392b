package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// scenario is something a broker does with ZooKeeper, in which each single write may go wrong.
type scenario struct {
	name string
	// prepare sets the scene, without faults.
	prepare func(t *testing.T, st *Store)
	// act is the thing. It must succeed although a request or a reply is lost.
	act func(ctx context.Context, st *Store) error
	// check looks at the result with another session. st is the actor's store.
	check func(t *testing.T, other, st *Store)
}

// actor keeps what an act found out, for its check.
type actor struct {
	epoch cluster.BrokerEpoch
	tx    *FencedTx
	claim znode.ProducerIDBlock
	ids   []cluster.BrokerID
}

const manyStates = 250 // several transactions

func scenarios() []scenario {
	var a actor
	states := func(leader cluster.BrokerID, epoch cluster.LeaderEpoch, expected cluster.PartitionEpoch) []StateWrite {
		var writes []StateWrite
		for _, tp := range tps("t", manyStates) {
			writes = append(writes, StateWrite{Partition: tp, State: state(leader, epoch), Expected: expected})
		}
		return writes
	}
	settled := func(results []StateResult, err error, want cluster.PartitionEpoch) error {
		for _, r := range results {
			if err == nil && (r.Err != nil || r.Epoch != want) {
				err = fmt.Errorf("result %+v, want epoch %d", r, want)
			}
		}
		return err
	}
	controller := func(t *testing.T, st *Store) {
		a.tx = elect(t, st, 1)
		must(t, st.CreateTopic(t.Context(), "t", topicOf(manyStates), nil))
	}
	withStates := func(t *testing.T, st *Store) {
		controller(t, st)
		_, err := a.tx.CreateStates(t.Context(), states(1, 0, 0))
		must(t, err)
	}
	toDelete := func(t *testing.T, st *Store) {
		withStates(t, st)
		must(t, st.RequestTopicDeletion(t.Context(), "t"))
	}
	// as puts the elected transaction on the faulty store of the act.
	as := func(st *Store) *FencedTx {
		tx := *a.tx
		tx.st = st
		return &tx
	}
	checkStates := func(leader cluster.BrokerID, epoch cluster.PartitionEpoch) func(t *testing.T, other, st *Store) {
		return func(t *testing.T, other, _ *Store) {
			got, err := other.PartitionStates(t.Context(), tps("t", manyStates))
			must(t, err)
			for tp, s := range got {
				if s.Leader != leader || s.Epoch != epoch {
					t.Errorf("%s: %+v, want leader %d at epoch %d", tp, s, leader, epoch)
				}
			}
			if len(got) != manyStates {
				t.Errorf("%d states", len(got))
			}
		}
	}
	topic := topicOf(2)
	return []scenario{
		{
			name: "register",
			act: func(ctx context.Context, st *Store) (err error) {
				a.epoch, err = st.RegisterBroker(ctx, 1, broker(9092))
				return err
			},
			check: func(t *testing.T, other, st *Store) {
				stat, ok, err := other.s.Exists(t.Context(), znode.BrokerPath(1))
				must(t, err)
				if !ok || stat.EphemeralOwner != st.s.ID() || cluster.BrokerEpoch(stat.Czxid) != a.epoch {
					t.Errorf("registration %v %+v, epoch returned %d", ok, stat, a.epoch)
				}
				brokers, err := other.Brokers(t.Context(), nil)
				if err != nil || len(brokers) != 1 {
					t.Errorf("brokers %v %v", brokers, err)
				}
			},
		},
		{
			name: "elect",
			act: func(ctx context.Context, st *Store) (err error) {
				a.tx, _, err = st.Elect(ctx, 1, 1)
				if err == nil && a.tx == nil {
					err = errors.New("not elected, although nobody else is there")
				}
				return err
			},
			check: func(t *testing.T, other, st *Store) {
				info, ok, err := other.Controller(t.Context(), nil)
				if err != nil || !ok || info.Owner != st.s.ID() || info.Broker != 1 {
					t.Errorf("controller %+v %v %v", info, ok, err)
				}
				epoch, _, err := other.ControllerEpoch(t.Context())
				if err != nil || epoch != a.tx.Epoch() || epoch != 1 {
					t.Errorf("epoch %d, the winner's %d, want 1: %v", epoch, a.tx.Epoch(), err)
				}
				tx := *a.tx
				tx.st = other
				if _, err := tx.Do(t.Context(), zk.SetOp(znode.BrokerIDs, nil, -1)); err != nil {
					t.Errorf("the winner cannot write: %v", err)
				}
			},
		},
		{
			name: "create states", prepare: controller,
			act: func(ctx context.Context, st *Store) error {
				results, err := as(st).CreateStates(ctx, states(1, 0, 0))
				return settled(results, err, 0)
			},
			check: checkStates(1, 0),
		},
		{
			name: "set states", prepare: withStates,
			act: func(ctx context.Context, st *Store) error {
				results, err := as(st).SetStates(ctx, states(2, 1, 0))
				return settled(results, err, 1)
			},
			check: checkStates(2, 1),
		},
		{
			name: "set one state", prepare: withStates,
			act: func(ctx context.Context, st *Store) error {
				epoch, err := st.SetState(ctx, StateWrite{Partition: tps("t", 1)[0], State: state(2, 1), Expected: 0})
				if err == nil && epoch != 1 {
					err = fmt.Errorf("epoch %d", epoch)
				}
				return err
			},
			check: func(t *testing.T, other, _ *Store) {
				got, err := other.PartitionStates(t.Context(), tps("t", 1))
				if s := got[tps("t", 1)[0]]; err != nil || s.Leader != 2 || s.Epoch != 1 {
					t.Errorf("state %+v %v", s, err)
				}
			},
		},
		{
			name: "create topic",
			act: func(ctx context.Context, st *Store) error {
				return st.CreateTopic(ctx, "t", topic, map[string]string{"a": "b"})
			},
			check: func(t *testing.T, other, _ *Store) {
				got, err := other.ReadTopics(t.Context(), nil, []string{"t"})
				if err != nil || got["t"].ID != topic.ID || got["t"].Version != 0 {
					t.Errorf("topic %+v %v", got, err)
				}
				config, err := other.Config(t.Context(), znode.Entity{Type: znode.TopicEntity, Name: "t"})
				if err != nil || config["a"] != "b" {
					t.Errorf("configuration %v %v", config, err)
				}
			},
		},
		{
			name: "delete topic", prepare: toDelete,
			act: func(ctx context.Context, st *Store) error { return as(st).DeleteTopic(ctx, "t") },
			check: func(t *testing.T, other, _ *Store) {
				names, err := other.Topics(t.Context(), nil)
				if err != nil || len(names) != 0 {
					t.Errorf("topics %v %v", names, err)
				}
				if _, ok, err := other.s.Exists(t.Context(), "/config/topics/t"); ok || err != nil {
					t.Errorf("configuration left: %v", err)
				}
			},
		},
		{
			name: "set config",
			act: func(ctx context.Context, st *Store) error {
				e := znode.Entity{Type: znode.UserEntity, Name: "u", Client: "c"}
				if err := st.SetConfig(ctx, e, map[string]string{"a": "b"}); err != nil {
					return err
				}
				return st.SetConfig(ctx, e, nil)
			},
			check: func(t *testing.T, other, _ *Store) {
				names, _, err := other.s.Children(t.Context(), "/config/users")
				if err != nil || len(names) != 0 {
					t.Errorf("left %v %v", names, err)
				}
				changes, err := other.ConfigChanges(t.Context(), nil, -1)
				if err != nil || len(changes) < 2 || len(changes) > 3 {
					t.Errorf("notifications %v %v", changes, err)
				}
			},
		},
		{
			name: "claim producer ids",
			act: func(ctx context.Context, st *Store) (err error) {
				a.claim, err = st.ClaimProducerIDs(ctx, 1)
				return err
			},
			check: func(t *testing.T, other, _ *Store) {
				next, err := other.ClaimProducerIDs(t.Context(), 2)
				if err != nil || a.claim.Start != 0 || next.Start != a.claim.End+1 {
					t.Errorf("claimed %+v, then %+v %v", a.claim, next, err)
				}
			},
		},
		{
			name: "admin nodes", prepare: controller,
			act: func(ctx context.Context, st *Store) error {
				tx := as(st)
				if err := tx.SetReassignments(ctx, []znode.Reassignment{{Partition: tps("t", 1)[0], Replicas: []cluster.BrokerID{1}}}); err != nil {
					return err
				}
				if err := tx.SetReassignments(ctx, nil); err != nil {
					return err
				}
				for want := range int32(2) {
					if version, err := tx.SetFeature(ctx, znode.Feature{Levels: map[string]int16{}}, want-1); err != nil || version != want {
						return fmt.Errorf("feature version %d: %w", version, err)
					}
				}
				if _, err := tx.SetTopic(ctx, "t", topicOf(1)); err != nil {
					return err
				}
				return tx.Resign(ctx)
			},
			check: func(t *testing.T, other, _ *Store) {
				if moves, err := other.Reassignments(t.Context(), nil); moves != nil || err != nil {
					t.Errorf("reassignments %v %v", moves, err)
				}
				if _, version, ok, err := other.Feature(t.Context(), nil); !ok || version != 1 || err != nil {
					t.Errorf("feature %d %v %v", version, ok, err)
				}
				if info, ok, err := other.Controller(t.Context(), nil); ok || err != nil {
					t.Errorf("controller %+v %v", info, err)
				}
			},
		},
		{
			name: "tool nodes", prepare: controller,
			act: func(ctx context.Context, st *Store) error {
				topics, err := st.ReadTopics(ctx, nil, []string{"t"})
				if err != nil {
					return err
				}
				if err := st.AddPartitions(ctx, "t", topics["t"], [][]cluster.BrokerID{{1, 2}, {2, 3}}); err != nil {
					return err
				}
				if err := st.RequestReassignments(ctx, []znode.Reassignment{{Partition: tps("t", 1)[0], Replicas: []cluster.BrokerID{2}}}); err != nil {
					return err
				}
				return st.RequestPreferredElections(ctx, tps("t", 2))
			},
			check: func(t *testing.T, other, _ *Store) {
				topics, err := other.ReadTopics(t.Context(), nil, []string{"t"})
				if got := topics["t"]; err != nil || len(got.Replicas) != manyStates+2 || !slices.Equal(got.Replicas[manyStates+1], []cluster.BrokerID{2, 3}) || got.Version != 1 {
					t.Errorf("topic %+v %v", got, err)
				}
				if moves, err := other.Reassignments(t.Context(), nil); len(moves) != 1 || err != nil {
					t.Errorf("reassignments %v %v", moves, err)
				}
				if elections, err := other.PreferredElections(t.Context(), nil); len(elections) != 2 || err != nil {
					t.Errorf("elections %v %v", elections, err)
				}
			},
		},
		{
			name: "generate ids",
			act: func(ctx context.Context, st *Store) error {
				a.ids = nil
				for range 3 {
					id, err := st.NextBrokerID(ctx, 1000)
					if err != nil {
						return err
					}
					a.ids = append(a.ids, id)
				}
				return nil
			},
			check: func(t *testing.T, _, _ *Store) {
				if !slices.IsSorted(a.ids) || len(slices.Compact(slices.Clone(a.ids))) != 3 || a.ids[0] <= 1000 {
					t.Errorf("ids %v", a.ids)
				}
			},
		},
	}
}

// TestEveryLostRequestAndReplyIsSettled lets each write of each scenario go wrong in turn, until a run needs no more writes
// than had their turn.
func TestEveryLostRequestAndReplyIsSettled(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	for _, s := range scenarios() {
		for _, kind := range []fault{lostRequest, lostReply} {
			t.Run(s.name+"/"+kind.String(), func(t *testing.T) {
				for at := 0; ; at++ {
					place := e.chroot()
					other := e.store(t, place)
					c := e.client(t, place)
					if s.prepare != nil {
						s.prepare(t, New(c.Session(), nil))
					}
					f := &faulty{Session: c.Session(), addr: e.addr, kind: kind, at: at}
					st := New(f, nil)
					if err := s.act(t.Context(), st); err != nil {
						t.Fatalf("write %d: %v", at, err)
					}
					s.check(t, other, st)
					must(t, c.Close(t.Context()))
					if t.Failed() {
						t.Fatalf("that was with a fault at write %d", at)
					}
					if !f.hit() {
						if at == 0 {
							t.Fatal("the scenario writes nothing")
						}
						return
					}
				}
			})
		}
	}
}

// watched lets something happen after each transaction of a session.
type watched struct {
	*faulty
	after func()
}

func (w *watched) Multi(ctx context.Context, ops ...zk.Op) ([]zk.Result, error) {
	defer w.after()
	return w.faulty.Multi(ctx, ops...)
}

// TestAnEpochWrittenByHandIsNoElection loses the request of an election, in a session that owns /controller from an earlier reign, and raises the epoch by
// hand as the election would have.
func TestAnEpochWrittenByHandIsNoElection(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	place := e.chroot()
	other := e.store(t, place)
	c := e.client(t, place)
	elect(t, New(c.Session(), nil), 1)
	st := New(&watched{&faulty{Session: c.Session(), addr: e.addr, kind: lostRequest}, func() {
		_, err := other.s.Set(t.Context(), znode.ControllerEpochPath, []byte("2"), zk.AnyVersion)
		must(t, err)
	}}, nil)
	if tx, _, err := st.Elect(t.Context(), 1, 1); tx != nil || !errors.Is(err, ErrControllerMoved) {
		t.Errorf("elected %v, %v", tx, err)
	}
}

// TestATopicThatIsMadeAgainAtOnceOutlivesTheDeletionOfTheOld makes a topic anew after each write of its deletion, until that succeeds, while one
// of those writes loses its reply.
func TestATopicThatIsMadeAgainAtOnceOutlivesTheDeletionOfTheOld(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	for at := 0; ; at++ {
		place := e.chroot()
		other := e.store(t, place)
		c := e.client(t, place)
		f := &faulty{Session: c.Session(), addr: e.addr, kind: lostReply, at: at}
		made := 0
		again := topicOf(1)
		st := New(&watched{f, func() {
			err := other.CreateTopic(t.Context(), "t", again, map[string]string{"retention.ms": "7"})
			if err == nil {
				made++
			} else if !errors.Is(err, kerr.TopicAlreadyExists) {
				t.Errorf("create: %v", err)
			}
		}}, nil)
		tx := elect(t, New(c.Session(), nil), 1)
		must(t, other.CreateTopic(t.Context(), "t", topicOf(3), map[string]string{"flush.ms": "5"}))
		_, err := tx.CreateStates(t.Context(), []StateWrite{{Partition: tps("t", 1)[0], State: state(1, 0)}})
		must(t, err)
		must(t, other.RequestTopicDeletion(t.Context(), "t"))
		tx.st = st
		for range 2 {
			must(t, tx.DeleteTopic(t.Context(), "t"))
		}
		got, err := other.ReadTopics(t.Context(), nil, []string{"t"})
		must(t, err)
		config, err := other.Config(t.Context(), znode.Entity{Type: znode.TopicEntity, Name: "t"})
		must(t, err)
		pending, err := other.PendingDeletions(t.Context(), nil)
		must(t, err)
		if made != 1 || got["t"].ID != again.ID || config["retention.ms"] != "7" || len(config) != 1 || len(pending) != 0 {
			t.Fatalf("fault at write %d: made %d times, topic %+v, settings %v, to be deleted %v", at, made, got["t"], config, pending)
		}
		must(t, c.Close(t.Context()))
		if !f.hit() {
			return
		}
	}
}

// TestAnExpiryAtEveryWriteLeavesAClusterThatTheNextSessionCanTakeOver ends the session at each write of a start: register,
// get elected, write states. Whatever was reached, the next session of the same broker must get there.
func TestAnExpiryAtEveryWriteLeavesAClusterThatTheNextSessionCanTakeOver(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	start := func(ctx context.Context, st *Store) (cluster.BrokerEpoch, error) {
		epoch, err := st.RegisterBroker(ctx, 1, broker(9092))
		if err != nil {
			return epoch, err
		}
		tx, _, err := st.Elect(ctx, 1, 1)
		if err != nil {
			return epoch, err
		}
		if tx == nil {
			return epoch, errors.New("somebody else is controller")
		}
		if err := st.CreateTopic(ctx, "t", topicOf(150), nil); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return epoch, err
		}
		var writes []StateWrite
		for _, tp := range tps("t", 150) {
			writes = append(writes, StateWrite{Partition: tp, State: state(1, 0)})
		}
		results, err := tx.CreateStates(ctx, writes)
		for _, r := range results {
			var conflict *ConflictError
			if err == nil && r.Err != nil && !(errors.As(r.Err, &conflict) && conflict.Current != nil && conflict.Current.Leader == 1) {
				err = r.Err
			}
		}
		return epoch, err
	}
	for at := 0; ; at++ {
		place := e.chroot()
		other := e.store(t, place)
		own := NewOwnSessions()
		c := e.client(t, place)
		f := &faulty{Session: c.Session(), addr: e.addr, kind: expiry, at: at}
		_, err := start(t.Context(), New(f, own))
		if !f.hit() {
			must(t, err)
			if at < 5 {
				t.Fatalf("a start takes %d writes only", at)
			}
			return
		}
		if !errors.Is(err, zk.ErrSessionExpired) {
			t.Fatalf("expiry at write %d: %v", at, err)
		}
		next := e.client(t, place).Session()
		epoch, err := start(t.Context(), New(next, own))
		if err != nil {
			t.Fatalf("after an expiry at write %d: %v", at, err)
		}
		brokers, err := other.Brokers(t.Context(), nil)
		if err != nil || len(brokers) != 1 || brokers[1].Epoch != epoch {
			t.Fatalf("after an expiry at write %d: %+v, epoch %d, %v", at, brokers, epoch, err)
		}
		got, err := other.PartitionStates(t.Context(), tps("t", 150))
		if err != nil || len(got) != 150 {
			t.Fatalf("after an expiry at write %d: %d states, %v", at, len(got), err)
		}
	}
}

func TestAnotherBrokersConflictIsNotTakenForALostReply(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	place := e.chroot()
	other := e.store(t, place)
	tx := elect(t, other, 2)
	must(t, other.CreateTopic(t.Context(), "t", topicOf(1), nil))
	tp := tps("t", 1)[0]
	_, err := tx.CreateStates(t.Context(), []StateWrite{{Partition: tp, State: state(1, 0)}})
	must(t, err)
	// The request of one is lost, and before it looks another has written: same epoch, other content.
	f := &faulty{Session: e.client(t, place).Session(), kind: lostRequest}
	st := New(&between{faulty: f, then: func() {
		_, err := other.SetState(t.Context(), StateWrite{Partition: tp, State: state(9, 1), Expected: 0})
		must(t, err)
	}}, nil)
	var conflict *ConflictError
	if _, err := st.SetState(t.Context(), StateWrite{Partition: tp, State: state(3, 1), Expected: 0}); !errors.As(err, &conflict) || conflict.Current.Leader != 9 {
		t.Errorf("%v, want a conflict with leader 9", err)
	}
	// The same with a topic's creation: same name, other id.
	f = &faulty{Session: e.client(t, place).Session(), kind: lostRequest}
	st = New(&between{faulty: f, then: func() { must(t, other.CreateTopic(t.Context(), "u", topicOf(1), nil)) }}, nil)
	if err := st.CreateTopic(t.Context(), "u", topicOf(1), nil); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("%v, want TopicAlreadyExists", err)
	}
	// And with an election: somebody else was faster.
	must(t, tx.Resign(t.Context()))
	f = &faulty{Session: e.client(t, place).Session(), kind: lostRequest}
	st = New(&between{faulty: f, then: func() { elect(t, other, 2) }}, nil)
	if tx, _, err := st.Elect(t.Context(), 1, 1); !errors.Is(err, ErrControllerMoved) || tx != nil {
		t.Errorf("%v %v, want a lost election", tx, err)
	}
}

// between lets something happen right after the write that goes wrong.
type between struct {
	*faulty
	then func()
	done bool
}

func (b *between) after(err error) {
	if errors.Is(err, zk.ErrAmbiguous) && !b.done {
		b.done = true
		b.then()
	}
}

func (b *between) Set(ctx context.Context, path string, data []byte, version int32) (zk.Stat, error) {
	stat, err := b.faulty.Set(ctx, path, data, version)
	b.after(err)
	return stat, err
}

func (b *between) Multi(ctx context.Context, ops ...zk.Op) ([]zk.Result, error) {
	results, err := b.faulty.Multi(ctx, ops...)
	b.after(err)
	return results, err
}

func TestACancelledCallerLeavesAtOnceAndLooksForNothing(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	st := e.store(t, e.chroot())
	tx := elect(t, st, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := tx.SetStates(ctx, []StateWrite{{Partition: tps("t", 1)[0], State: state(1, 0)}})
	if !errors.Is(err, context.Canceled) || results[0].Err == nil {
		t.Errorf("%v %v", results, err)
	}
	if _, err := st.RegisterBroker(ctx, 1, broker(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
