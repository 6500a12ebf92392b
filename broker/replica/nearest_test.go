package replica

import (
	"testing"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
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
		l := &leadership{self: 1, isr: c.isr, remotes: c.remotes}
		if got := l.nearest(c.rack, c.offset, where); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestALeaderSendsConsumersToTheNearestReplica(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.cache.Apply(metadata.Update{Brokers: []metadata.Broker{
		{ID: self, Rack: "a", Endpoints: []cluster.Endpoint{{Listener: "OUT"}}}, {ID: 2, Rack: "b", Endpoints: []cluster.Endpoint{{Listener: "OUT"}}},
	}})
	p := b.lead(3, self, 2)
	b.add(p, 5, AcksLeader)
	read(p, follower(2), from(5))
	near := &Reader{Replica: cluster.NoBroker, BrokerEpoch: cluster.NoBrokerEpoch, Rack: "b", Listener: "OUT"}
	if res, next := read(p, near, from(0)); res.Preferred != cluster.NoBroker || next != 5 {
		t.Errorf("without replica.selector.class: sent to %d, read up to %d", res.Preferred, next)
	}
	p.env.nearest = true
	if res, next := read(p, near, from(0)); res.Preferred != 2 || next != 0 || res.Code != kerr.None || res.HighWatermark != 5 {
		t.Errorf("sent to %d, read up to %d, %v, high watermark %d", res.Preferred, next, res.Code, res.HighWatermark)
	}
	inside := *near
	inside.Listener = "IN"
	for name, r := range map[string]*Reader{"no rack": consumer(), "a follower": {Replica: 2, BrokerEpoch: cluster.NoBrokerEpoch, Rack: "b", Listener: "OUT"}, "another listener": &inside} {
		if res, next := read(p, r, from(0)); res.Preferred != cluster.NoBroker || next != 5 {
			t.Errorf("%s: sent to %d, read up to %d", name, res.Preferred, next)
		}
	}
	if res, _ := read(p, near, from(6)); res.Code != kerr.OffsetOutOfRange || res.Preferred != cluster.NoBroker {
		t.Errorf("beyond the end: %v, sent to %d", res.Code, res.Preferred)
	}
	old := from(0)
	old.CurrentLeaderEpoch = 2
	if res, _ := read(p, near, old); res.Code != kerr.FencedLeaderEpoch {
		t.Errorf("an old leader epoch: %v", res.Code)
	}
}
