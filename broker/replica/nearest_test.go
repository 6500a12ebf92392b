package replica

import (
	"testing"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

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
