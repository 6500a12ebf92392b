package producer

import (
	"math"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

func TestSequenceNumbersWrap(t *testing.T) {
	for _, c := range []struct {
		from int32
		n    int
		want int32
	}{{0, 1, 1}, {math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 4, 2}} {
		if got := advance(c.from, c.n); got != c.want {
			t.Errorf("%d and %d are %d, want %d", c.from, c.n, got, c.want)
		}
	}
}

// TestTheLastEpochIsFollowedByAnotherID uses the epochs of an id up.
func TestTheLastEpochIsFollowedByAnotherID(t *testing.T) {
	p := &Producer{cfg: config{idempotent: true}}
	p.ids.id, p.ids.asking = 7, true // nobody answers in this test
	part := newPartition(&topic{producer: p, name: "t"}, 0)
	part.queue = []*batch{{part: part, first: 10, count: 3}}
	choose := func(want cluster.ProducerID, epoch int16, ok bool) {
		t.Helper()
		if _, got := part.chooseLocked(time.Now()); got != ok || part.numbers.id != want || part.numbers.epoch != epoch && ok {
			t.Fatalf("id %d, epoch %d, %v, want %d, %d, %v", part.numbers.id, part.numbers.epoch, got, want, epoch, ok)
		}
	}
	choose(7, 0, true)
	for epoch := range math.MaxInt16 {
		part.numbers.gap = 5 // the batch before has failed for good
		choose(7, int16(epoch)+1, true)
	}
	part.numbers.gap = 5
	choose(cluster.NoProducerID, 0, false)
	if p.ids.id != cluster.NoProducerID {
		t.Errorf("the producer still has id %d", p.ids.id)
	}
	p.ids.id = 9
	choose(9, 0, true)
	part.numbers.number(part.queue[0])
	if b := part.queue[0]; b.id != 9 || b.epoch != 0 || b.sequence != 0 || part.numbers.next != 3 {
		t.Errorf("the batch has %d/%d, %d", b.id, b.epoch, b.sequence)
	}
}
