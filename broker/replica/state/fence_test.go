package state

import (
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestOrdersOfOldControllersAndForOldRegistrationsAreRefused(t *testing.T) {
	const own = 50
	f := Fence{}
	for _, c := range []struct {
		name string
		s    Sender
		want kerr.Code
		seen cluster.ControllerEpoch
	}{
		{"the first controller is believed", Sender{1, 3, own, 0}, kerr.None, 3},
		{"the same one again", Sender{1, 3, own, 0}, kerr.None, 3},
		{"one that does not say which registration it means", Sender{1, 3, cluster.NoBrokerEpoch, 0}, kerr.None, 3},
		{"an order for an earlier registration", Sender{1, 4, own - 1, 0}, kerr.StaleBrokerEpoch, 3},
		{"an order for a registration that this broker has not learned of yet", Sender{1, 4, own + 1, 0}, kerr.None, 4},
		{"a deposed controller", Sender{1, 3, own, 0}, kerr.StaleControllerEpoch, 4},
		{"the earlier registration is noticed before the deposed controller", Sender{1, 3, own - 1, 0}, kerr.StaleBrokerEpoch, 4},
		{"the next controller", Sender{1, 9, own, 0}, kerr.None, 9},
	} {
		if got := f.Admit(c.s, own); got != c.want || f.ControllerEpoch != c.seen {
			t.Errorf("%s: got %v with epoch %d, want %v with epoch %d", c.name, got, f.ControllerEpoch, c.want, c.seen)
		}
	}
}

func TestAttemptsThatWereGivenUpAreRefused(t *testing.T) {
	const own = 50
	f := Fence{}
	for _, c := range []struct {
		name string
		s    Sender
		want kerr.Code
	}{
		{"the first attempt", Sender{1, 3, own, 7}, kerr.None},
		{"a later one", Sender{1, 3, own, 9}, kerr.None},
		{"that one again", Sender{1, 3, own, 9}, kerr.None},
		{"the one between, which was given up", Sender{1, 3, own, 8}, kerr.StaleControllerEpoch},
		{"one without a number", Sender{1, 3, own, 0}, kerr.None},
		{"and it changes nothing", Sender{1, 3, own, 8}, kerr.StaleControllerEpoch},
		{"the next controller begins anew", Sender{1, 4, own, 1}, kerr.None},
		{"an order for an earlier registration does not count", Sender{1, 4, own - 1, 5}, kerr.StaleBrokerEpoch},
		{"nor does one of a deposed controller", Sender{1, 3, own, 20}, kerr.StaleControllerEpoch},
		{"so this one passes", Sender{1, 4, own, 2}, kerr.None},
	} {
		if got := f.Admit(c.s, own); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestLeaderEpochsAreCompared(t *testing.T) {
	for _, c := range []struct {
		asked, own cluster.LeaderEpoch
		want       kerr.Code
	}{
		{-1, 5, kerr.None}, {5, 5, kerr.None}, {4, 5, kerr.FencedLeaderEpoch}, {6, 5, kerr.UnknownLeaderEpoch},
		{0, 5, kerr.FencedLeaderEpoch}, {-7, 5, kerr.FencedLeaderEpoch}, {1<<31 - 1, 5, kerr.UnknownLeaderEpoch},
	} {
		if got := EpochCheck(c.asked, c.own); got != c.want {
			t.Errorf("EpochCheck(%d, %d) = %v, want %v", c.asked, c.own, got, c.want)
		}
	}
}

func TestAReplicaThatWasLostMustNotLeadUntilItHasLeftTheInSyncSet(t *testing.T) {
	ids := func(n ...cluster.BrokerID) []cluster.BrokerID { return n }
	for _, c := range []struct {
		name            string
		s               PartitionState
		refused, isOver bool
	}{
		{"it is to lead", PartitionState{Leader: 1, ISR: ids(1), Replicas: ids(1, 2)}, true, false},
		{"nobody leads", PartitionState{Leader: cluster.NoBroker, ISR: ids(1), Replicas: ids(1, 2)}, true, false},
		{"another leads and does not know yet", PartitionState{Leader: 2, ISR: ids(1, 2), Replicas: ids(1, 2)}, true, false},
		{"another leads", PartitionState{Leader: 2, ISR: ids(2), Replicas: ids(1, 2)}, false, true},
		{"there is no other", PartitionState{Leader: 1, ISR: ids(1), Replicas: ids(1)}, false, false},
		{"the partition is new", PartitionState{Leader: 1, ISR: ids(1, 2), Replicas: ids(1, 2), IsNew: true}, false, true},
	} {
		if got := LostRefuses(1, &c.s); got != c.refused {
			t.Errorf("%s: refused %t", c.name, got)
		}
		if got := LostIsOver(1, &c.s); got != c.isOver {
			t.Errorf("%s: over %t", c.name, got)
		}
	}
}
