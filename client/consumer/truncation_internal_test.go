package consumer

import (
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/wire"
)

func TestWhereHistoriesPart(t *testing.T) {
	h := history{}.note(2, 10).note(2, 15).note(3, 20).note(5, 30)
	for _, c := range []struct {
		name  string
		epoch cluster.LeaderEpoch
		end   cluster.Offset
		want  cluster.Offset
	}{
		{"the last epoch is shorter", 5, 33, 33},
		{"an epoch in the middle, to its end", 3, 30, 30},
		{"an epoch in the middle, shorter", 3, 25, 25},
		{"an epoch that was never read, between two: what is later is not in the log", 4, 40, 30},
		{"an epoch in the middle that goes on at the leader", 3, 50, 30},
		{"an epoch before all", 1, 100, 10},
		{"an epoch before all that ends early", 1, 4, 4},
	} {
		if got := h.divergence(wire.EpochEnd{Epoch: c.epoch, EndOffset: c.end}); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := h.before(30); got.last() != 3 || len(got) != 2 {
		t.Errorf("before 30: %v", got)
	}
	if got := h.before(10).last(); got != cluster.NoLeaderEpoch {
		t.Errorf("before everything: epoch %d", got)
	}
	for e := range cluster.LeaderEpoch(100) {
		h = h.note(10+e, cluster.Offset(100+e))
	}
	if len(h) != maxHistory || h.last() != 109 {
		t.Errorf("%d entries, the last of epoch %d", len(h), h.last())
	}
	if got := h.divergence(wire.EpochEnd{Epoch: 3, EndOffset: 50}); got != 10 {
		t.Errorf("an epoch that was forgotten: %d, want 10, the start of everything", got)
	}
}
