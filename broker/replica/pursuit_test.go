package replica

import (
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

func TestReactionsToAnswers(t *testing.T) {
	for _, c := range []struct {
		code      kerr.Code
		diverging bool
		want      reaction
	}{
		{kerr.None, false, take},
		{kerr.None, true, truncate},
		{kerr.OffsetOutOfRange, false, askEnds},
		{kerr.FencedLeaderEpoch, false, giveUp},
		{kerr.UnknownLeaderEpoch, false, tryLater},
		{kerr.NotLeaderOrFollower, false, tryLater},
		{kerr.UnknownTopicOrPartition, false, tryLater},
		{kerr.UnknownTopicID, false, tryLater},
		{kerr.InconsistentTopicID, false, tryLater},
		{kerr.KafkaStorageError, false, tryLater},
		{kerr.Code(9999), false, tryLater},
	} {
		a := &wire.FetchPartition{ErrorCode: c.code}
		if c.diverging {
			a.Diverging = &wire.EpochEnd{}
		}
		if got := reactionTo(a); got != c.want {
			t.Errorf("%v, diverging %v: reaction %d, want %d", c.code, c.diverging, got, c.want)
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
		if got := truncationPoint(c.leaders, c.own, 50, 100); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	want := []time.Duration{50, 100, 200, 400, 800, 1000, 1000}
	for i, w := range want {
		if got := pause(i+1, time.Second); got != w*time.Millisecond {
			t.Errorf("pause %d: %v, want %v", i+1, got, w*time.Millisecond)
		}
	}
	if got := pause(1_000_000, 7*time.Millisecond); got != 7*time.Millisecond {
		t.Errorf("pause of at most 7 ms: %v", got)
	}
}

// TestFetchersAreChosenAsInKafka has Kafka's own examples (F§3.2), and a name whose hash is the least number.
func TestFetchersAreChosenAsInKafka(t *testing.T) {
	for tp, want := range map[cluster.TopicPartition]int{
		{Topic: "test", Partition: 0}: 2, {Topic: "test", Partition: 1}: 3, {Topic: "orders", Partition: 3}: 2,
	} {
		if got := fetcherIndex(tp, 4); got != want {
			t.Errorf("%s of 4 fetchers: %d, want %d", tp, got, want)
		}
	}
	var h int32
	for _, c := range []byte("polygenelubricants") {
		h = 31*h + int32(c)
	}
	for p := range int32(2000) {
		if got := fetcherIndex(cluster.TopicPartition{Topic: "polygenelubricants", Partition: p}, 7); got < 0 || got > 6 {
			t.Fatalf("partition %d: fetcher %d of 7", p, got)
		}
	}
	if got := fetcherIndex(cluster.TopicPartition{Topic: "t"}, 0); got != 0 {
		t.Errorf("fetcher %d of none", got)
	}
}
