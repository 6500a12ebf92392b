package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

func TestBoot(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		st := e.store(t, place)
		must(t, st.CreatePersistentPaths(ctx)) // again
		for _, path := range znode.PersistentPaths() {
			if data, _, err := st.s.Get(ctx, path); err != nil || data != nil {
				t.Errorf("%s: %q %v, want null", path, data, err)
			}
		}
		if id, ok, err := st.ClusterID(ctx); ok || err != nil {
			t.Errorf("cluster id %q %v %v before there is one", id, ok, err)
		}
		for _, proposed := range []string{"first", "second"} {
			if id, err := st.EnsureClusterID(ctx, proposed); id != "first" || err != nil {
				t.Errorf("propose %s: %q %v", proposed, id, err)
			}
		}
		w := st.s.(*zk.Session).Watch()
		defer w.Close()
		for _, proposed := range []string{"first", "second"} {
			if s, err := st.EnsureBrokerSecret(ctx, w, proposed); s != "first" || err != nil {
				t.Errorf("propose the secret %s: %q %v", proposed, s, err)
			}
		}
		must(t, st.s.Delete(ctx, znode.BrokerSecretPath, zk.AnyVersion))
		<-w.Ready()
		if s, err := st.EnsureBrokerSecret(ctx, nil, "third"); s != "third" || err != nil {
			t.Errorf("after the node was deleted: %q %v", s, err)
		}
		for want := cluster.BrokerID(1001); want < 1004; want++ {
			if id, err := st.NextBrokerID(ctx, 1000); id != want || err != nil {
				t.Errorf("generated id %d %v, want %d", id, err, want)
			}
		}
	})
}

func TestTheTimeIsZooKeepers(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		st := e.store(t, e.chroot())
		var last time.Time
		for range 3 {
			before := time.Now().Add(-time.Second)
			got, err := st.Time(t.Context())
			must(t, err)
			if got.Before(before) || got.After(time.Now().Add(time.Second)) || got.Before(last) {
				t.Errorf("it is %v, was %v, and here it is %v", got, last, before)
			}
			last = got
		}
	})
}

func TestRegisterBroker(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		one, two := e.store(t, place), e.store(t, place)
		w := two.s.(*zk.Session).Watch()
		if ids, err := two.BrokerIDs(ctx, w); err != nil || len(ids) != 0 {
			t.Fatal(ids, err)
		}
		first, err := one.RegisterBroker(ctx, 1, broker(9092))
		must(t, err)
		if ev, err := w.Next(ctx); err != nil || ev != (zk.Event{Type: zk.EventChildrenChanged, Path: znode.BrokerIDs}) {
			t.Errorf("event %v %v", ev, err)
		}
		again, err := one.RegisterBroker(ctx, 1, broker(9093))
		if err != nil || again != first {
			t.Errorf("registered twice in one session: epochs %d and %d, %v", first, again, err)
		}
		if _, err := two.RegisterBroker(ctx, 1, broker(1)); !errors.Is(err, ErrBrokerIDTaken) || !errors.Is(err, zk.ErrNodeExists) {
			t.Errorf("another session's id: %v", err)
		}
		var taken *AddressTakenError
		if _, err := two.RegisterBroker(ctx, 2, broker(9093)); !errors.As(err, &taken) || taken.Broker != 1 || taken.Address != "h:9093" {
			t.Errorf("another broker's address: %v", err)
		}
		_, err = two.RegisterBroker(ctx, 2, broker(9094))
		must(t, err)
		got, err := two.Brokers(ctx, nil)
		must(t, err)
		if len(got) != 2 || got[1].Epoch != first || got[1].Endpoints[0].Port != 9093 || got[1].Version != 2 {
			t.Errorf("brokers %+v", got)
		}
	})
}

func TestALeftoverOfAnEarlierOwnSessionIsReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		old := e.store(t, place)
		first, err := old.RegisterBroker(ctx, 1, broker(9092))
		must(t, err)
		elect(t, old, 1)
		// The process knows of its earlier session, which the server has not expired yet.
		own := NewOwnSessions(old.s.ID())
		st := New(e.client(t, place).Session(), own)
		second, err := st.RegisterBroker(ctx, 1, broker(9092))
		if err != nil || second <= first {
			t.Fatalf("epochs %d then %d, %v", first, second, err)
		}
		tx, _, err := st.Elect(ctx, 1, 5)
		if err != nil || tx == nil || tx.Epoch() != 2 {
			t.Fatalf("election over a leftover: %+v %v", tx, err)
		}
		info, ok, err := st.Controller(ctx, nil)
		if err != nil || !ok || info.Owner != st.s.ID() {
			t.Errorf("controller %+v %v %v", info, ok, err)
		}
	})
}

func TestElection(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		one, two := e.store(t, place), e.store(t, place)
		if _, version, err := one.ControllerEpoch(ctx); version != -1 || err != nil {
			t.Errorf("epoch version %d %v before any election", version, err)
		}
		tx := elect(t, one, 1)
		if tx.Epoch() != 1 || tx.Broker() != 1 {
			t.Errorf("first epoch %d of broker %d", tx.Epoch(), tx.Broker())
		}
		w := two.s.(*zk.Session).Watch()
		if info, ok, err := two.Controller(ctx, w); err != nil || !ok || info.Broker != 1 {
			t.Errorf("controller %+v %v %v", info, ok, err)
		}
		if other, info, err := two.Elect(ctx, 2, 1); other != nil || err != nil || info.Broker != 1 {
			t.Errorf("second election: %v %+v %v", other, info, err)
		}
		must(t, tx.Resign(ctx))
		if ev, err := w.Next(ctx); err != nil || ev != (zk.Event{Type: zk.EventDeleted, Path: znode.ControllerPath}) {
			t.Errorf("event %v %v", ev, err)
		}
		tx2 := elect(t, two, 2)
		if tx2.Epoch() != 2 {
			t.Errorf("second epoch %d", tx2.Epoch())
		}
		if _, err := tx.Do(ctx, zk.CreateOp("/zombie", nil, zk.Persistent)); !errors.Is(err, ErrControllerMoved) {
			t.Errorf("the deposed controller wrote: %v", err)
		}
		must(t, tx.Resign(ctx)) // does not touch the other's
		if info, ok, _ := one.Controller(ctx, nil); !ok || info.Broker != 2 {
			t.Errorf("a deposed controller's resignation removed its successor: %+v %v", info, ok)
		}
		// A session that still holds /controller after resigning in memory only gets a new epoch.
		if tx3 := elect(t, two, 2); tx3.Epoch() != 3 {
			t.Errorf("re-elected with epoch %d", tx3.Epoch())
		}
		if _, err := tx2.Do(ctx, zk.CreateOp("/zombie", nil, zk.Persistent)); !errors.Is(err, ErrControllerMoved) {
			t.Errorf("the earlier reign wrote: %v", err)
		}
	})
}

func TestAControllerIsDeposed(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		one, two, three := e.store(t, place), e.store(t, place), e.store(t, place)
		tx := elect(t, one, 1)
		if other, info, err := two.Depose(ctx, 2, 7, 1); other != nil || err != nil || info.Broker != 1 {
			t.Errorf("in place of another than the controller: %v %+v %v", other, info, err)
		}
		tx2, info, err := two.Depose(ctx, 2, 1, 1)
		if err != nil || tx2 == nil || tx2.Epoch() != 2 || info.Broker != 2 {
			t.Fatalf("deposed: %v %+v %v", tx2, info, err)
		}
		if _, err := tx.Do(ctx, zk.CreateOp("/zombie", nil, zk.Persistent)); !errors.Is(err, ErrControllerMoved) {
			t.Errorf("the deposed controller wrote: %v", err)
		}
		if err := tx.Resign(ctx); err != nil {
			t.Errorf("resigning once more: %v", err)
		}
		if other, info, err := three.Depose(ctx, 3, 1, 1); other != nil || err != nil || info.Broker != 2 {
			t.Errorf("too late: %v %+v %v", other, info, err)
		}
		must(t, tx2.Resign(ctx))
		if tx3, _, err := three.Depose(ctx, 3, 2, 1); err != nil || tx3 == nil || tx3.Epoch() != 3 {
			t.Errorf("nobody is controller: %v %v", tx3, err)
		}
	})
}

func TestOneOfManyWinsTheElection(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		e.store(t, place)
		const n = 8
		stores := make([]*Store, n)
		for i := range stores {
			stores[i] = New(e.client(t, place).Session(), nil)
		}
		won, lost := make(chan cluster.BrokerID, n), make(chan error, n)
		for i, st := range stores {
			go func() {
				tx, _, err := st.Elect(ctx, cluster.BrokerID(i), 1)
				if tx != nil {
					won <- cluster.BrokerID(i)
				}
				lost <- err
			}()
		}
		for range n {
			if err := <-lost; err != nil && !errors.Is(err, ErrControllerMoved) {
				t.Error(err)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d winners", len(won))
		}
		info, ok, err := stores[0].Controller(ctx, nil)
		if winner := <-won; err != nil || !ok || info.Broker != winner {
			t.Errorf("controller %+v, winner %d, %v", info, winner, err)
		}
		if epoch, _, _ := stores[0].ControllerEpoch(ctx); epoch != 1 {
			t.Errorf("epoch %d after one election", epoch)
		}
	})
}

func TestPartitionStates(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		st := e.store(t, e.chroot())
		tx := elect(t, st, 1)
		const n = 333
		must(t, st.CreateTopic(ctx, "t", topicOf(n), nil))
		parts := tps("t", n)
		writes := make([]StateWrite, n)
		for i, tp := range parts {
			writes[i] = StateWrite{Partition: tp, State: state(1, 0)}
		}
		for range 2 { // the second time it finds what it would write
			results, err := tx.CreateStates(ctx, writes)
			must(t, err)
			for i, r := range results {
				if r.Err != nil || r.Epoch != 0 || r.Partition != parts[i] {
					t.Fatalf("result %d: %+v", i, r)
				}
			}
		}
		for i := range writes {
			writes[i] = StateWrite{Partition: parts[i], State: state(2, 1), Expected: 0}
		}
		stale := []int{0, 5, 17, 99, 100, 101, 250, 332}
		for _, i := range stale {
			writes[i].Expected = 7
		}
		writes = append(writes, StateWrite{Partition: cluster.TopicPartition{Topic: "gone", Partition: 0}, State: state(1, 1)})
		results, err := tx.SetStates(ctx, writes)
		must(t, err)
		var conflicts []int
		for i, r := range results[:n] {
			var conflict *ConflictError
			switch {
			case errors.As(r.Err, &conflict):
				conflicts = append(conflicts, i)
				if conflict.Current == nil || conflict.Current.Epoch != 0 || conflict.Current.Leader != 1 {
					t.Errorf("conflict %d: %+v", i, conflict.Current)
				}
			case r.Err != nil || r.Epoch != 1:
				t.Fatalf("result %d: %+v", i, r)
			}
		}
		if !slices.Equal(conflicts, stale) {
			t.Errorf("conflicts %v, want %v", conflicts, stale)
		}
		var conflict *ConflictError
		if !errors.As(results[n].Err, &conflict) || conflict.Current != nil {
			t.Errorf("a partition that does not exist: %+v", results[n])
		}
		got, err := st.PartitionStates(ctx, append(parts, cluster.TopicPartition{Topic: "gone"}))
		must(t, err)
		if len(got) != n || got[parts[1]].Leader != 2 || got[parts[1]].Epoch != 1 || got[parts[1]].ControllerEpoch != 1 || got[parts[0]].Leader != 1 {
			t.Errorf("%d states, %+v, %+v", len(got), got[parts[1]], got[parts[0]])
		}
		results, err = tx.CreateStates(ctx, []StateWrite{{Partition: parts[0], State: state(9, 0)}, {Partition: cluster.TopicPartition{Topic: "gone"}, State: state(1, 0)}})
		must(t, err)
		if !errors.As(results[0].Err, &conflict) || conflict.Current == nil || !errors.As(results[1].Err, &conflict) || conflict.Current != nil {
			t.Errorf("create over a state, and without a topic: %+v", results)
		}
		// The leader's own way.
		epoch, err := st.SetState(ctx, StateWrite{Partition: parts[1], State: state(2, 1), Expected: 1})
		if err != nil || epoch != 2 {
			t.Errorf("SetState: %d %v", epoch, err)
		}
		if _, err = st.SetState(ctx, StateWrite{Partition: parts[1], State: state(3, 1), Expected: 1}); !errors.As(err, &conflict) || conflict.Current.Epoch != 2 {
			t.Errorf("stale SetState: %v", err)
		}
		elect(t, st, 1)
		results, err = tx.SetStates(ctx, writes)
		if !errors.Is(err, ErrControllerMoved) {
			t.Errorf("deposed: %v", err)
		}
		for _, r := range results {
			if r.Err == nil {
				t.Fatalf("deposed, but written: %+v", r)
			}
		}
	})
}

func TestTopics(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		st := e.store(t, e.chroot())
		tx := elect(t, st, 1)
		w := st.s.(*zk.Session).Watch()
		if names, err := st.Topics(ctx, w); len(names) != 0 || err != nil {
			t.Fatal(names, err)
		}
		want := topicOf(3)
		must(t, st.CreateTopic(ctx, "b", want, map[string]string{"retention.ms": "5"}))
		if ev, err := w.Next(ctx); err != nil || ev.Path != znode.BrokerTopics {
			t.Errorf("event %v %v", ev, err)
		}
		if err := st.CreateTopic(ctx, "b", topicOf(1), nil); !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Errorf("created twice: %v", err)
		}
		if config, err := st.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: "b"}); err != nil || config["retention.ms"] != "5" {
			t.Errorf("a refused creation changed the configuration: %v %v", config, err)
		}
		if err := st.CreateTopic(ctx, "../x", topicOf(1), nil); kerr.CodeOf(err) != kerr.InvalidTopicException {
			t.Errorf("illegal name: %v", err)
		}
		// An orphaned configuration, as Kafka may leave it, is overwritten.
		must(t, st.s.CreateAll(ctx, "/config/topics/a", []byte(`{"version":1,"config":{"x":"y"}}`)))
		must(t, st.CreateTopic(ctx, "a", topicOf(1), nil))
		if config, err := st.Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: "a"}); err != nil || len(config) != 0 {
			t.Errorf("orphaned configuration: %v %v", config, err)
		}
		names, err := st.Topics(ctx, nil)
		if err != nil || !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("topics %v %v", names, err)
		}
		got, err := st.ReadTopics(ctx, w, append(names, "gone"))
		must(t, err)
		want.Adding, want.Removing = map[int32][]cluster.BrokerID{}, map[int32][]cluster.BrokerID{}
		if len(got) != 2 || !cmp.Equal(got["b"].Topic, want) {
			t.Errorf("topics: %s", cmp.Diff(want, got["b"].Topic))
		}
		version, err := tx.SetTopic(ctx, "b", topicOf(4))
		if err != nil || version != 1 {
			t.Errorf("SetTopic: %d %v", version, err)
		}
		if err := st.AddPartitions(ctx, "b", got["b"], [][]cluster.BrokerID{{1}}); !errors.Is(err, zk.ErrBadVersion) {
			t.Errorf("partitions on top of what has changed: %v", err)
		}
		got, err = st.ReadTopics(ctx, nil, []string{"b"})
		must(t, err)
		must(t, st.AddPartitions(ctx, "b", got["b"], [][]cluster.BrokerID{{2, 1}}))
		if got, err = st.ReadTopics(ctx, nil, []string{"b"}); err != nil || !slices.Equal(got["b"].Replicas[4], []cluster.BrokerID{2, 1}) {
			t.Errorf("after adding a partition: %+v %v", got["b"], err)
		}
		_, err = tx.CreateStates(ctx, []StateWrite{{Partition: tps("b", 1)[0], State: state(1, 0)}})
		must(t, err)
		must(t, st.RequestTopicDeletion(ctx, "b"))
		must(t, st.RequestTopicDeletion(ctx, "b"))
		must(t, st.RequestTopicDeletion(ctx, "never"))
		if pending, err := st.PendingDeletions(ctx, nil); err != nil || !slices.Equal(pending, []string{"b", "never"}) {
			t.Errorf("pending %v %v", pending, err)
		}
		must(t, tx.DeletePendingDeletion(ctx, "never", "unheard-of"))
		for range 2 {
			must(t, tx.DeleteTopic(ctx, "b"))
		}
		for _, path := range []string{"/brokers/topics/b", "/config/topics/b", "/admin/delete_topics/b"} {
			if _, ok, err := st.s.Exists(ctx, path); ok || err != nil {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
		if pending, err := st.PendingDeletions(ctx, nil); err != nil || len(pending) != 0 {
			t.Errorf("pending %v %v", pending, err)
		}
		must(t, tx.DeleteTopic(ctx, "a"))
		if names, err := st.Topics(ctx, nil); err != nil || !slices.Contains(names, "a") {
			t.Errorf("a topic whose deletion nobody asked for is gone: %v %v", names, err)
		}
		must(t, st.RequestTopicDeletion(ctx, "a"))
		elect(t, st, 1)
		if err := tx.DeleteTopic(ctx, "a"); !errors.Is(err, ErrControllerMoved) {
			t.Errorf("deposed: %v", err)
		}
	})
}

func TestAdminNodesAndNotifications(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		st := e.store(t, e.chroot())
		tx := elect(t, st, 1)
		w := st.s.(*zk.Session).Watch()
		moves, err := st.Reassignments(ctx, w)
		if moves != nil || err != nil {
			t.Fatal(moves, err)
		}
		want := []znode.Reassignment{{Partition: tps("t", 1)[0], Replicas: []cluster.BrokerID{2}}}
		must(t, tx.SetReassignments(ctx, want))
		if ev, err := w.Next(ctx); err != nil || ev != (zk.Event{Type: zk.EventCreated, Path: znode.ReassignPartitions}) {
			t.Errorf("event %v %v", ev, err)
		}
		must(t, tx.SetReassignments(ctx, want))
		if moves, err = st.Reassignments(ctx, nil); err != nil || !cmp.Equal(moves, want) {
			t.Errorf("reassignments %v %v", moves, err)
		}
		if err := st.RequestReassignments(ctx, want); !errors.Is(err, zk.ErrNodeExists) {
			t.Errorf("a request besides another: %v", err)
		}
		must(t, tx.SetReassignments(ctx, nil))
		must(t, tx.SetReassignments(ctx, nil))
		must(t, st.RequestReassignments(ctx, want))
		if moves, err = st.Reassignments(ctx, nil); err != nil || !cmp.Equal(moves, want) {
			t.Errorf("requested reassignments %v %v", moves, err)
		}
		must(t, st.RequestPreferredElections(ctx, tps("t", 2)))
		if err := st.RequestPreferredElections(ctx, tps("t", 1)); !errors.Is(err, zk.ErrNodeExists) {
			t.Errorf("a request besides another: %v", err)
		}
		if got, err := st.PreferredElections(ctx, nil); err != nil || len(got) != 2 {
			t.Errorf("elections %v %v", got, err)
		}
		must(t, tx.DeletePreferredElection(ctx))
		must(t, st.NotifyLogDirFailure(ctx, 3))
		must(t, st.NotifyLogDirFailure(ctx, 4))
		brokers, paths, err := st.LogDirEvents(ctx, nil)
		if err != nil || !slices.Equal(brokers, []cluster.BrokerID{3, 4}) || len(paths) != 2 {
			t.Errorf("log dir events %v %v %v", brokers, paths, err)
		}
		must(t, tx.DeleteNotifications(ctx, paths[0]))
		for range 250 {
			must(t, st.NotifyLogDirFailure(ctx, 3))
		}
		isrChange, err := st.s.Create(ctx, znode.ISRChangePrefix, znode.EncodeISRChange(tps("t", 2)), zk.Sequential) // of a broker that writes states itself
		must(t, err)
		must(t, tx.DeleteAllNotifications(ctx))
		if _, paths, err = st.LogDirEvents(ctx, nil); len(paths) != 0 || err != nil {
			t.Errorf("left: %v %v", paths, err)
		}
		if _, there, err := st.s.Exists(ctx, isrChange); there || err != nil {
			t.Errorf("left: %s %v", isrChange, err)
		}
		if _, version, ok, err := st.Feature(ctx, w); ok || version != -1 || err != nil {
			t.Errorf("feature before there is one: %v %d %v", ok, version, err)
		}
		f := znode.Feature{Status: znode.FeaturesEnabled, Levels: map[string]int16{"x": 2}}
		for want := range int32(3) {
			if version, err := tx.SetFeature(ctx, f, want-1); err != nil || version != want {
				t.Errorf("SetFeature: %d %v", version, err)
			}
		}
		if got, version, ok, err := st.Feature(ctx, nil); !ok || version != 2 || err != nil || !cmp.Equal(got, f) {
			t.Errorf("feature %v %d %v %v", got, version, ok, err)
		}
		if _, err := tx.SetFeature(ctx, f, 0); !errors.Is(err, zk.ErrBadVersion) {
			t.Errorf("stale feature: %v", err)
		}
	})
}

func TestConfigs(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		st := e.store(t, e.chroot())
		topic := znode.Entity{Type: znode.TopicEntity, Name: "t"}
		user := znode.Entity{Type: znode.UserEntity, Name: "a b"}
		both := znode.Entity{Type: znode.UserEntity, Name: "a b", Client: znode.DefaultEntity}
		ip := znode.Entity{Type: znode.IPEntity, Name: "1.2.3.4"}
		if config, err := st.Config(ctx, topic); err != nil || config == nil || len(config) != 0 {
			t.Errorf("no configuration: %v %v", config, err)
		}
		w := st.s.(*zk.Session).Watch()
		if changes, err := st.ConfigChanges(ctx, w, -1); len(changes) != 0 || err != nil {
			t.Fatal(changes, err)
		}
		must(t, st.SetConfig(ctx, topic, map[string]string{"a": "1"}))
		if ev, err := w.Next(ctx); err != nil || ev.Path != znode.ConfigChanges {
			t.Errorf("event %v %v", ev, err)
		}
		must(t, st.SetConfig(ctx, topic, map[string]string{"a": "2"}))
		must(t, st.SetConfig(ctx, user, map[string]string{"q": "1"}))
		must(t, st.SetConfig(ctx, both, map[string]string{"q": "2"}))
		must(t, st.SetConfig(ctx, ip, map[string]string{"c": "3"}))
		got, err := st.Configs(ctx, znode.UserEntity)
		must(t, err)
		if diff := cmp.Diff(map[znode.Entity]map[string]string{user: {"q": "1"}, both: {"q": "2"}}, got); diff != "" {
			t.Error(diff)
		}
		changes, err := st.ConfigChanges(ctx, nil, 1)
		must(t, err)
		var entities []znode.Entity
		for i, c := range changes {
			if c.Seq != int64(i+2) || c.Created == 0 {
				t.Errorf("change %+v", c)
			}
			entities = append(entities, c.Entity)
		}
		if !slices.Equal(entities, []znode.Entity{user, both, ip}) {
			t.Errorf("changed %v", entities)
		}
		// Quota nodes without content go, with parents that are empty then.
		must(t, st.SetConfig(ctx, user, nil))
		if names, _, err := st.s.Children(ctx, "/config/users"); err != nil || len(names) != 1 {
			t.Errorf("a user with a client was removed: %v %v", names, err)
		}
		must(t, st.SetConfig(ctx, both, nil))
		must(t, st.SetConfig(ctx, ip, nil))
		for _, parent := range []string{"/config/users", "/config/ips"} {
			if names, _, err := st.s.Children(ctx, parent); err != nil || len(names) != 0 {
				t.Errorf("left below %s: %v %v", parent, names, err)
			}
		}
		must(t, st.SetConfig(ctx, topic, nil))
		if _, ok, err := st.s.Exists(ctx, topic.Path()); err != nil || !ok {
			t.Errorf("a topic's node is to stay: %v %v", ok, err)
		}
		last := changes[len(changes)-1]
		must(t, st.PurgeConfigChanges(ctx, last.Created))
		left, err := st.ConfigChanges(ctx, nil, -1)
		if err != nil || len(left) == 0 || left[0].Created < last.Created {
			t.Errorf("left %v %v", left, err)
		}
		must(t, st.PurgeConfigChanges(ctx, time.Now().Add(time.Hour).UnixMilli()))
		if left, err = st.ConfigChanges(ctx, nil, -1); err != nil || len(left) != 0 {
			t.Errorf("left %v %v", left, err)
		}
	})
}

func TestProducerIDsAreClaimedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		ctx, place := t.Context(), e.chroot()
		stores := []*Store{e.store(t, place), e.store(t, place)}
		const n = 40
		blocks, errs := make(chan znode.ProducerIDBlock, n), make(chan error, n)
		for i := range n {
			go func() {
				b, err := stores[i%2].ClaimProducerIDs(ctx, cluster.BrokerID(i%2))
				blocks <- b
				errs <- err
			}()
		}
		starts := make(map[cluster.ProducerID]bool)
		for range n {
			must(t, <-errs)
			starts[(<-blocks).Start] = true
		}
		for i := range n {
			if !starts[cluster.ProducerID(i*znode.ProducerIDBlockSize)] {
				t.Errorf("the block at %d was not handed out: %v", i*znode.ProducerIDBlockSize, slices.Sorted(maps.Keys(starts)))
			}
		}
	})
}

func TestCorruptNodesAreReportedAndDoNotHideTheOthers(t *testing.T) {
	e := &env{addr: startEmbedded(t)}
	ctx := t.Context()
	st := e.store(t, e.chroot())
	tx := elect(t, st, 1)
	names := []string{"good1", "good2"}
	for _, name := range names {
		must(t, st.CreateTopic(ctx, name, topicOf(1), map[string]string{"a": "b"}))
		_, err := tx.CreateStates(ctx, []StateWrite{{Partition: tps(name, 1)[0], State: state(1, 0)}})
		must(t, err)
	}
	_, err := st.RegisterBroker(ctx, 1, broker(1))
	must(t, err)
	for _, path := range []string{
		"/brokers/topics/bad", "/brokers/topics/bad/partitions/0/state", "/brokers/ids/7", "/brokers/ids/seven", "/config/topics/bad",
		znode.ConfigChangePrefix + "0000000099", znode.LogDirEventPrefix + "0000000099",
	} {
		must(t, st.s.CreateAll(ctx, path, []byte(`{"broken`)))
	}
	check := func(what string, n, want int, err error, paths ...string) {
		t.Helper()
		if n != want || err == nil {
			t.Errorf("%s: %d good ones, want %d; error %v", what, n, want, err)
			return
		}
		for _, path := range paths {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%s: the error does not name %s: %v", what, path, err)
			}
		}
	}
	topics, err := st.ReadTopics(ctx, nil, append(names, "bad"))
	check("topics", len(topics), 2, err, "/brokers/topics/bad")
	if paths := CorruptPaths(err); !slices.Equal(paths, []string{"/brokers/topics/bad"}) {
		t.Errorf("corrupt paths %v", paths)
	}
	states, err := st.PartitionStates(ctx, []cluster.TopicPartition{{Topic: "good1"}, {Topic: "bad"}, {Topic: "good2"}})
	check("states", len(states), 2, err, "/brokers/topics/bad/partitions/0/state")
	brokers, err := st.Brokers(ctx, nil)
	check("brokers", len(brokers), 2, err, "/brokers/ids/7", "seven")
	if b := brokers[7]; b.ID != 7 || b.Epoch <= 0 || len(b.Endpoints) != 0 {
		t.Errorf("of a corrupt registration is known: %+v", b)
	}
	configs, err := st.Configs(ctx, znode.TopicEntity)
	check("configs", len(configs), 2, err, "/config/topics/bad")
	changes, err := st.ConfigChanges(ctx, nil, -1)
	check("config changes", len(changes), 0, err, "config_change_0000000099")
	_, paths, err := st.LogDirEvents(ctx, nil)
	check("log dir events", len(paths), 1, err, "log_dir_event_0000000099")
	results, err := tx.SetStates(ctx, []StateWrite{
		{Partition: cluster.TopicPartition{Topic: "bad"}, State: state(1, 1), Expected: 5}, {Partition: tps("good1", 1)[0], State: state(1, 1)},
	})
	var corrupt *znode.CorruptError
	if err != nil || !errors.As(results[0].Err, &corrupt) || results[1].Err != nil {
		t.Errorf("write next to a corrupt state: %+v %v", results, err)
	}
	if _, err := st.RegisterBroker(ctx, 2, broker(2)); err != nil {
		t.Errorf("a corrupt registration of another keeps a broker from registering: %v", err)
	}
}

func TestErrorsNameWhatWasDone(t *testing.T) {
	c := &ConflictError{Partition: cluster.TopicPartition{Topic: "t", Partition: 3}}
	if got := c.Error(); !strings.Contains(got, "t-3") || !strings.Contains(got, "does not exist") {
		t.Error(got)
	}
	c.Current = &StateInfo{PartitionState: state(4, 5), Epoch: 6}
	if got := c.Error(); !strings.Contains(got, "partition epoch 6, leader 4 and leader epoch 5") {
		t.Error(got)
	}
	if got := fmt.Sprint(&AddressTakenError{Address: "h:1", Broker: 9}); !strings.Contains(got, "h:1") || !strings.Contains(got, "broker 9") {
		t.Error(got)
	}
}
