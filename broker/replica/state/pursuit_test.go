package state

import (
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestReactionsToAnswers(t *testing.T) {
	for _, c := range []struct {
		code      kerr.Code
		diverging bool
		want      Reaction
	}{
		{kerr.None, false, Take},
		{kerr.None, true, CutOff},
		{kerr.OffsetOutOfRange, false, AskEnds},
		{kerr.FencedLeaderEpoch, false, GiveUp},
		{kerr.UnknownLeaderEpoch, false, TryLater},
		{kerr.NotLeaderOrFollower, false, TryLater},
		{kerr.UnknownTopicOrPartition, false, TryLater},
		{kerr.UnknownTopicID, false, TryLater},
		{kerr.InconsistentTopicID, false, TryLater},
		{kerr.KafkaStorageError, false, TryLater},
		{kerr.Code(9999), false, TryLater},
	} {
		if got := ReactionTo(c.code, c.diverging); got != c.want {
			t.Errorf("%v, diverging %v: reaction %d, want %d", c.code, c.diverging, got, c.want)
		}
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	want := []time.Duration{50, 100, 200, 400, 800, 1000, 1000}
	for i, w := range want {
		if got := Pause(i+1, time.Second); got != w*time.Millisecond {
			t.Errorf("pause %d: %v, want %v", i+1, got, w*time.Millisecond)
		}
	}
	if got := Pause(1_000_000, 7*time.Millisecond); got != 7*time.Millisecond {
		t.Errorf("pause of at most 7 ms: %v", got)
	}
}

// TestFetchersAreChosenAsInKafka has Kafka's own examples (F§3.2), and a name whose hash is the least number.
func TestFetchersAreChosenAsInKafka(t *testing.T) {
	for tp, want := range map[cluster.TopicPartition]int{
		{Topic: "test", Partition: 0}: 2, {Topic: "test", Partition: 1}: 3, {Topic: "orders", Partition: 3}: 2,
	} {
		if got := FetcherIndex(tp, 4); got != want {
			t.Errorf("%s of 4 fetchers: %d, want %d", tp, got, want)
		}
	}
	var h int32
	for _, c := range []byte("polygenelubricants") {
		h = 31*h + int32(c)
	}
	for p := range int32(2000) {
		if got := FetcherIndex(cluster.TopicPartition{Topic: "polygenelubricants", Partition: p}, 7); got < 0 || got > 6 {
			t.Fatalf("partition %d: fetcher %d of 7", p, got)
		}
	}
	if got := FetcherIndex(cluster.TopicPartition{Topic: "t"}, 0); got != 0 {
		t.Errorf("fetcher %d of none", got)
	}
}
