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
		{"the first controller is believed", Sender{1, 3, own}, kerr.None, 3},
		{"the same one again", Sender{1, 3, own}, kerr.None, 3},
		{"one that does not say which registration it means", Sender{1, 3, cluster.NoBrokerEpoch}, kerr.None, 3},
		{"an order for an earlier registration", Sender{1, 4, own - 1}, kerr.StaleBrokerEpoch, 3},
		{"an order for a registration that this broker has not learned of yet", Sender{1, 4, own + 1}, kerr.None, 4},
		{"a deposed controller", Sender{1, 3, own}, kerr.StaleControllerEpoch, 4},
		{"the earlier registration is noticed before the deposed controller", Sender{1, 3, own - 1}, kerr.StaleBrokerEpoch, 4},
		{"the next controller", Sender{1, 9, own}, kerr.None, 9},
	} {
		if got := f.Admit(c.s, own); got != c.want || f.ControllerEpoch != c.seen {
			t.Errorf("%s: got %v with epoch %d, want %v with epoch %d", c.name, got, f.ControllerEpoch, c.want, c.seen)
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
