package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestOrdersToLeadAndFollow(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	other := cluster.TopicID{9: 8}
	change := func(s PartitionState, f func(*PartitionState)) PartitionState { f(&s); return s }
	for _, c := range []struct {
		name  string
		state PartitionState
		want  kerr.Code
		leads bool
		epoch cluster.LeaderEpoch // afterwards
	}{
		{"an impossible state: no replicas", change(b.state(self, 0, self), func(s *PartitionState) { s.Replicas = nil }), kerr.InvalidRequest, false, -1},
		{"an impossible state: no in-sync replicas", change(b.state(self, 0, self), func(s *PartitionState) { s.ISR = nil }), kerr.InvalidRequest, false, -1},
		{"an impossible state: the leader is no replica", b.state(9, 0, self, 2), kerr.InvalidRequest, false, -1},
		{"an impossible state: the leader is not in sync", change(b.state(self, 0, self, 2), func(s *PartitionState) { s.ISR = ids(2) }), kerr.InvalidRequest, false, -1},
		{"a negative partition", change(b.state(self, 0, self), func(s *PartitionState) { s.TopicPartition.Partition = -1 }), kerr.InvalidRequest, false, -1},
		{"a name that leads out of the directory", change(b.state(self, 0, self), func(s *PartitionState) { s.TopicPartition.Topic = "../etc" }), kerr.InvalidTopicException, false, -1},
		{"somebody else's partition", b.state(2, 0, 2, 3), kerr.UnknownTopicOrPartition, false, -1},
		{"lead", b.state(self, 3, self, 2), kerr.None, true, 3},
		{"the same again", b.state(self, 3, self, 2), kerr.StaleControllerEpoch, true, 3},
		{"an older epoch", b.state(2, 2, self, 2), kerr.StaleControllerEpoch, true, 3},
		{"another topic of this name", change(b.state(2, 4, self, 2), func(s *PartitionState) { s.TopicID = other }), kerr.InconsistentTopicID, true, 3},
		{"an impossible state does not end the role", b.state(9, 9, self, 2), kerr.InvalidRequest, true, 3},
		{"follow", b.state(2, 4, self, 2), kerr.None, false, 4},
		{"follow nobody", b.state(cluster.NoBroker, 5, self, 2), kerr.None, false, 5},
		{"lead again", b.state(self, 6, self, 2), kerr.None, true, 6},
		{"an epoch may be left out", b.state(self, 8, self, 2), kerr.None, true, 8},
		{"an in-sync broker is no replica any more", change(b.state(self, 9, self, 2), func(s *PartitionState) { s.ISR = ids(self, 2, 9) }), kerr.None, true, 9},
	} {
		if got := b.order(c.state); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		p, code := b.m.Partition(orders0)
		switch {
		case c.epoch < 0 && code == kerr.None:
			t.Errorf("%s: the partition is held", c.name)
		case c.epoch >= 0 && (p.Leads() != c.leads || p.LeaderEpoch() != c.epoch):
			t.Errorf("%s: leads %v in epoch %d, want %v in %d", c.name, p.Leads(), p.LeaderEpoch(), c.leads, c.epoch)
		}
	}
	if got := b.logs.Logs(); len(got) != 1 {
		t.Errorf("%d logs on disk, want 1", len(got))
	}
}

func TestAnEqualEpochOnlyFillsInTheTopicID(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	id := b.id
	b.id = cluster.TopicID{}
	p := b.lead(3, self)
	if got := b.order(b.state(self, 3, self)); got != kerr.StaleControllerEpoch {
		t.Errorf("without an id: %v", got)
	}
	b.id = id
	if got := b.order(b.state(self, 3, self)); got != kerr.None {
		t.Errorf("with the id: %v", got)
	}
	if p.log.TopicID() != id {
		t.Errorf("the log has topic id %v, want %v", p.log.TopicID(), id)
	}
	if got := b.order(b.state(self, 3, self)); got != kerr.StaleControllerEpoch {
		t.Errorf("with the id again: %v", got)
	}
}

func TestOrdersOfTheWrongSenderChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		sender Sender
		want   kerr.Code
	}{
		{"a deposed controller", Sender{ControllerID: 2, ControllerEpoch: 4, BrokerEpoch: 100}, kerr.StaleControllerEpoch},
		{"an order for an earlier registration", Sender{ControllerID: 2, ControllerEpoch: 9, BrokerEpoch: 99}, kerr.StaleBrokerEpoch},
	} {
		b := startBroker(t, vfs.NewMem())
		p := b.lead(0, self, 2)
		b.cache.Apply(metadata.Update{ControllerID: self})
		if code, outcomes := b.m.ApplyLeaderAndISR(LeaderAndISR{c.sender, []PartitionState{b.state(2, 7, self, 2)}}); code != c.want || outcomes != nil {
			t.Errorf("%s: LeaderAndIsr answered with %v, %v", c.name, code, outcomes)
		}
		if code, outcomes := b.m.ApplyStopReplica(StopReplica{c.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: -2, Delete: true}}}); code != c.want || outcomes != nil {
			t.Errorf("%s: StopReplica answered with %v, %v", c.name, code, outcomes)
		}
		if code := b.m.ApplyUpdateMetadata(UpdateMetadata{c.sender, metadata.Update{ControllerID: 2}}); code != c.want {
			t.Errorf("%s: UpdateMetadata answered with %v", c.name, code)
		}
		if !p.Leads() || p.LeaderEpoch() != 0 || b.cache.Image().ControllerID() != self {
			t.Errorf("%s: leads %v in epoch %d, controller %d", c.name, p.Leads(), p.LeaderEpoch(), b.cache.Image().ControllerID())
		}
		// And it is not remembered.
		if code, _ := b.m.ApplyLeaderAndISR(LeaderAndISR{b.sender, nil}); code != kerr.None {
			t.Errorf("%s: afterwards the true controller is refused with %v", c.name, code)
		}
		b.stop()
	}
}

func TestWhatWasGivenUpChangesNothingWhenItArrivesAfterAll(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	first, second := b.id, cluster.TopicID{9: 8}
	nth := func(n int64) Sender {
		s := b.sender
		s.Sequence = n
		return s
	}
	old := b.state(self, 0, self)
	deletion := []StopPartition{{TopicPartition: orders0, LeaderEpoch: cluster.LeaderEpochDeleting, Delete: true}}
	b.m.ApplyLeaderAndISR(LeaderAndISR{nth(2), []PartitionState{old}}) // attempt 1 was given up
	b.m.ApplyUpdateMetadata(UpdateMetadata{nth(3), metadata.Update{ControllerID: self}})
	b.m.ApplyStopReplica(StopReplica{nth(5), deletion}) // attempt 4 was given up
	late := func() {
		t.Helper()
		if code, outcomes := b.m.ApplyLeaderAndISR(LeaderAndISR{nth(1), []PartitionState{old}}); code != kerr.StaleControllerEpoch || outcomes != nil {
			t.Errorf("a late LeaderAndIsr was answered with %v, %v", code, outcomes)
		}
		if code := b.m.ApplyUpdateMetadata(UpdateMetadata{nth(1), metadata.Update{ControllerID: 2}}); code != kerr.StaleControllerEpoch {
			t.Errorf("a late UpdateMetadata was answered with %v", code)
		}
		if code, outcomes := b.m.ApplyStopReplica(StopReplica{nth(4), deletion}); code != kerr.StaleControllerEpoch || outcomes != nil {
			t.Errorf("a late StopReplica was answered with %v, %v", code, outcomes)
		}
	}
	late()
	if _, ok := b.logs.Get(orders0); ok {
		t.Fatal("a log of a deleted topic has come back")
	}
	b.id = second
	b.m.ApplyLeaderAndISR(LeaderAndISR{nth(6), []PartitionState{b.state(self, 0, self)}})
	late()
	log, ok := b.logs.Get(orders0)
	if !ok || log.TopicID() != second || b.cache.Image().ControllerID() != self {
		t.Errorf("the log of the new topic %v is there: %v; topic %v was before", second, ok, first)
	}
}

func TestOneBadPartitionDoesNotSpoilAnOrder(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	bad, good := b.state(9, 0, self), b.state(self, 0, self)
	bad.TopicPartition.Partition, good.TopicPartition.Partition = 1, 2
	code, outcomes := b.m.ApplyLeaderAndISR(LeaderAndISR{b.sender, []PartitionState{b.state(self, 0, self), bad, good}})
	if code != kerr.None || len(outcomes) != 3 {
		t.Fatalf("answered with %v, %v", code, outcomes)
	}
	for i, want := range []kerr.Code{kerr.None, kerr.InvalidRequest, kerr.None} {
		if outcomes[i].Code != want || outcomes[i].TopicPartition.Partition != int32(i) {
			t.Errorf("outcome %d is %v, want %v", i, outcomes[i], want)
		}
	}
}

func TestOrdersToStop(t *testing.T) {
	stop := func(b *broker, epoch cluster.LeaderEpoch, remove bool) kerr.Code {
		code, outcomes := b.m.ApplyStopReplica(StopReplica{b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: epoch, Delete: remove}}})
		if code != kerr.None || len(outcomes) != 1 {
			b.t.Fatalf("answered with %v, %v", code, outcomes)
		}
		return outcomes[0].Code
	}
	for _, c := range []struct {
		name   string
		epoch  cluster.LeaderEpoch
		remove bool
		want   kerr.Code
		leads  bool
		onDisk bool
	}{
		{"an older epoch stops nothing", 4, false, kerr.FencedLeaderEpoch, true, true},
		{"an older epoch removes nothing", 4, true, kerr.FencedLeaderEpoch, true, true},
		{"the same epoch stops", 5, false, kerr.None, false, true},
		{"a newer epoch stops", 6, false, kerr.None, false, true},
		{"no epoch stops", -1, false, kerr.None, false, true},
		{"the same epoch removes", 5, true, kerr.None, false, false},
		{"the deletion of a topic removes", cluster.LeaderEpochDeleting, true, kerr.None, false, false},
	} {
		b := startBroker(t, vfs.NewMem())
		p := b.lead(5, self)
		b.add(p, 3, AcksLeader)
		if got := stop(b, c.epoch, c.remove); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if p.Leads() != c.leads {
			t.Errorf("%s: leads %v", c.name, p.Leads())
		}
		if _, ok := b.logs.Get(orders0); ok != c.onDisk {
			t.Errorf("%s: on disk %v", c.name, ok)
		}
		b.stop()
	}
	t.Run("a partition that is not held", func(t *testing.T) {
		b := startBroker(t, vfs.NewMem())
		if got := stop(b, 0, false); got != kerr.None {
			t.Errorf("stop: %v", got)
		}
		if got := stop(b, 0, true); got != kerr.None {
			t.Errorf("remove: %v", got)
		}
	})
	t.Run("a log that was never held is removed", func(t *testing.T) {
		disk := vfs.NewMem()
		b := startBroker(t, disk)
		b.lead(5, self)
		b.stop()
		b = startBroker(t, disk)
		if got := stop(b, cluster.LeaderEpochDeleting, true); got != kerr.None {
			t.Errorf("remove: %v", got)
		}
		if _, ok := b.logs.Get(orders0); ok {
			t.Error("the log is still there")
		}
	})
	t.Run("a topic can be created again after its deletion", func(t *testing.T) {
		b := startBroker(t, vfs.NewMem())
		old := b.lead(5, self)
		b.add(old, 3, AcksLeader)
		stop(b, cluster.LeaderEpochDeleting, true)
		if _, err := old.Append(batchOf(t, 1, 0), AcksLeader); kerr.CodeOf(err) != kerr.NotLeaderOrFollower {
			t.Errorf("append to the old one: %v", err)
		}
		b.id = cluster.TopicID{1: 1}
		p := b.lead(0, self)
		if a := b.add(p, 1, AcksAll); a.Info.FirstOffset != 0 {
			t.Errorf("the first offset of the new topic is %d", a.Info.FirstOffset)
		}
	})
}

func TestPartitionsThatAreNotHere(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.cache.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{{TopicPartition: cluster.TopicPartition{Topic: "elsewhere"}, Partition: metadata.Partition{Leader: 2, LeaderEpoch: 7}}}})
	for _, c := range []struct {
		topic     string
		partition int32
		want      kerr.Code
	}{
		{"elsewhere", 0, kerr.NotLeaderOrFollower},
		{"elsewhere", 1, kerr.UnknownTopicOrPartition},
		{"elsewhere", -1, kerr.UnknownTopicOrPartition},
		{"elsewhere", 1<<31 - 1, kerr.UnknownTopicOrPartition},
		{"nowhere", 0, kerr.UnknownTopicOrPartition},
		{"", 0, kerr.InvalidTopicException},
		{"..", 0, kerr.InvalidTopicException},
		{"a/b", 0, kerr.InvalidTopicException},
	} {
		if _, got := b.m.Partition(cluster.TopicPartition{Topic: c.topic, Partition: c.partition}); got != c.want {
			t.Errorf("%q-%d: %v, want %v", c.topic, c.partition, got, c.want)
		}
	}
	if leader, epoch, ok := b.m.LeaderHint(cluster.TopicPartition{Topic: "elsewhere"}); leader != 2 || epoch != 7 || !ok {
		t.Errorf("hint: leader %d in epoch %d, %v", leader, epoch, ok)
	}
	if _, _, ok := b.m.LeaderHint(cluster.TopicPartition{Topic: "nowhere"}); ok {
		t.Error("there is a hint for a topic that nobody knows")
	}
}

func TestTheHintIsTheNewestNews(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.order(b.state(2, 4, self, 2))
	known := func(leader cluster.BrokerID, epoch cluster.LeaderEpoch) {
		b.cache.Apply(metadata.Update{Partitions: []metadata.PartitionUpdate{{TopicPartition: orders0, Partition: metadata.Partition{Leader: leader, LeaderEpoch: epoch}}}})
	}
	known(3, 3)
	if leader, epoch, _ := b.m.LeaderHint(orders0); leader != 2 || epoch != 4 {
		t.Errorf("with older metadata: leader %d in epoch %d", leader, epoch)
	}
	known(3, 5)
	if leader, epoch, _ := b.m.LeaderHint(orders0); leader != 3 || epoch != 5 {
		t.Errorf("with newer metadata: leader %d in epoch %d", leader, epoch)
	}
}

// A topic of many partitions is created and deleted while the disk syncs for several of them at a time, and what fails is told of the right one.
func TestOrdersForManyPartitionsWaitForTheDiskTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, bad, pause = 200, 7, 10 * time.Millisecond
		b := startBroker(t, vfs.Inject(vfs.NewMem(), vfs.OnOps(vfs.Latency(pause), vfs.OpSync, vfs.OpSyncDir)))
		states, stops := make([]PartitionState, n), make([]StopPartition, n)
		for i := range n {
			states[i] = b.state(self, 0, self)
			states[i].TopicPartition.Partition = int32(i)
			stops[i] = StopPartition{TopicPartition: states[i].TopicPartition, LeaderEpoch: cluster.LeaderEpochDeleting, Delete: true}
		}
		if _, err := b.logs.GetOrCreate(states[bad].TopicPartition, cluster.TopicID{9: 9}, true, commitlog.DefaultConfig()); err != nil {
			t.Fatal(err)
		}
		b.order(states[0]) // is held already
		start := time.Now()
		code, outcomes := b.m.ApplyLeaderAndISR(LeaderAndISR{b.sender, append(states[:n:n], states[3], states[bad])})
		if took := time.Since(start); code != kerr.None || took > n*pause {
			t.Errorf("created with %v in %v", code, took)
		}
		for i, o := range outcomes[:n] {
			want := kerr.None
			switch i {
			case 0:
				want = outcomes[0].Code // it was carried out before
			case bad:
				want = kerr.InconsistentTopicID
			}
			if o.Code != want || o.TopicPartition != states[i].TopicPartition {
				t.Errorf("outcome %d is %v, want %v", i, o, want)
			}
			if p, _ := b.m.Partition(o.TopicPartition); (i != bad) != (p != nil && p.Leads()) {
				t.Errorf("partition %d is led: %v", i, i == bad)
			}
		}
		if o := outcomes[n+1]; o.Code != kerr.InconsistentTopicID {
			t.Errorf("the second time: %v", o)
		}
		start = time.Now()
		code, outcomes = b.m.ApplyStopReplica(StopReplica{b.sender, stops})
		if took := time.Since(start); code != kerr.None || took > n*pause/2 {
			t.Errorf("deleted with %v in %v", code, took)
		}
		for i, o := range outcomes {
			if o.Code != kerr.None || o.TopicPartition != stops[i].TopicPartition {
				t.Errorf("deletion: outcome %d is %v", i, o)
			}
			if _, ok := b.logs.Get(o.TopicPartition); ok {
				t.Errorf("the log of partition %d is still there", i)
			}
		}
		b.stop()
	})
}
