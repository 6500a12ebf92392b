package commitlog

import (
	"testing"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// TestTimesAreFoundWithoutATimeIndex restarts a log whose time indexes have no room for a single entry.
func TestTimesAreFoundWithoutATimeIndex(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentIndexBytes = 4
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	for i, value := range []string{"a", "b", "c"} {
		appendValues(t, l, 1, int64(1000*i), value)
		must(t, l.Roll())
	}
	closeManager(t, m)
	m = openOn(t, mem, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	for ts, want := range map[int64]int64{0: 0, 1: 1, 1000: 1, 1001: 2, 2000: 2} {
		if at, found, err := l.OffsetForTimestamp(ts, l.LogEndOffset()); err != nil || !found || int64(at.Offset) != want {
			t.Errorf("at time %d there is %+v (%v, %v), want offset %d", ts, at, found, err, want)
		}
	}
}
