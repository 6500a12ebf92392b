package state

import (
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

func TestTheNearestReplica(t *testing.T) {
	racks := map[cluster.BrokerID]string{1: "a", 2: "b", 3: "b", 4: "b"}
	where := func(id cluster.BrokerID) (string, bool) { r, ok := racks[id]; return r, ok }
	at := func(end cluster.Offset, caughtUp time.Duration) progress {
		return progress{logEnd: end, logStart: 5, caughtUpAt: epochZero.Add(caughtUp)}
	}
	for _, c := range []struct {
		name    string
		rack    string
		offset  cluster.Offset
		isr     []cluster.BrokerID
		remotes []remote
		want    cluster.BrokerID
	}{
		{"no rack", "", 10, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 1},
		{"the leader's rack", "a", 10, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 1},
		{"a rack without a replica", "c", 10, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 1},
		{"the only one there", "b", 10, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 2},
		{"it is not in sync", "b", 10, []cluster.BrokerID{1}, []remote{{2, at(20, 0)}}, 1},
		{"it has not fetched yet", "b", 10, []cluster.BrokerID{1, 2}, []remote{{2, newProgress(true, epochZero)}}, 1},
		{"it ends where the reader is", "b", 20, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 2},
		{"it ends before", "b", 21, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 1},
		{"it begins where the reader is", "b", 5, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 2},
		{"it begins after", "b", 4, []cluster.BrokerID{1, 2}, []remote{{2, at(20, 0)}}, 1},
		{"it cannot be reached", "b", 10, []cluster.BrokerID{1, 5}, []remote{{5, at(20, 0)}}, 1},
		{"the one that has most", "b", 10, []cluster.BrokerID{1, 2, 3, 4}, []remote{{2, at(20, time.Second)}, {3, at(21, 0)}, {4, at(20, time.Second)}}, 3},
		{"the one that was level last", "b", 10, []cluster.BrokerID{1, 2, 3, 4}, []remote{{2, at(20, 0)}, {3, at(20, time.Second)}, {4, at(20, 0)}}, 3},
		{"the one with the largest id", "b", 10, []cluster.BrokerID{1, 2, 3, 4}, []remote{{4, at(20, 0)}, {2, at(20, 0)}, {3, at(20, 0)}}, 4},
	} {
		l := &Leadership{self: 1, isr: c.isr, remotes: c.remotes}
		if got := l.Nearest(c.rack, c.offset, where); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
