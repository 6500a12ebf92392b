package state

import (
	"testing"

	"github.com/ottla/ottla/proto/cluster"
)

func TestWhereAFollowersLogBegins(t *testing.T) {
	for _, c := range []struct {
		name                        string
		current, leaders, watermark cluster.Offset
		want                        cluster.Offset
		moves                       bool
	}{
		{"where the leader's does", 3, 7, 10, 7, true},
		{"not beyond what is known to be replicated", 3, 7, 5, 5, true},
		{"it never goes back", 7, 3, 10, 3, false},
		{"nothing is news", 7, 7, 10, 7, false},
		{"the watermark is where it begins", 5, 9, 5, 5, false},
	} {
		if got, moves := RaisedStart(c.current, c.leaders, c.watermark); moves != c.moves || moves && got != c.want {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, moves, c.want, c.moves)
		}
	}
}

func TestTruncationPoints(t *testing.T) {
	const none = cluster.NoLeaderEpoch
	const unknown = cluster.UnknownOffset
	for _, c := range []struct {
		name         string
		leaders, own EpochEnd
		want         cluster.Offset
	}{
		{"both know the epoch, the leader has less of it", EpochEnd{3, 70}, EpochEnd{3, 90}, 70},
		{"both know the epoch, the follower has less of it", EpochEnd{3, 90}, EpochEnd{3, 70}, 70},
		{"the leader has more than the log holds", EpochEnd{3, 200}, EpochEnd{3, 150}, 100},
		{"the follower does not know the epoch: on to the one before (KIP-279)", EpochEnd{3, 70}, EpochEnd{2, 60}, 60},
		{"and that may be beyond what the leader has of it", EpochEnd{3, 70}, EpochEnd{2, 80}, 80},
		{"the leader knows nothing", EpochEnd{none, unknown}, EpochEnd{none, unknown}, 50},
		{"the follower has no epochs so low", EpochEnd{3, 70}, EpochEnd{none, unknown}, 70},
	} {
		if got := TruncationPoint(c.leaders, c.own, 50, 100); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
