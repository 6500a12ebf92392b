package replica

import (
	"context"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

func TestAThrottledFollowerGetsNothingWhileTheLimitIsExceeded(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2, 3)
	s := b.state(self, 0, self, 2, 3)
	s.ISR = []cluster.BrokerID{self, 2}
	if code := b.order(s); code != kerr.None {
		t.Fatal(code)
	}
	p := b.held()
	b.add(p, 5, AcksLeader)
	wants := func(what string, id cluster.BrokerID, next cluster.Offset) {
		t.Helper()
		if res, got := read(p, follower(id), from(0)); got != next || res.Code != kerr.None || res.LogEnd != 5 {
			t.Errorf("%s: follower %d reads up to %d, %v; want %d", what, id, got, res.Code, next)
		}
	}
	b.m.SetReplicationRates(1000, state.Unlimited)
	p.Sent(100000)
	wants("not on the list", 3, 5)
	p.setThrottled(ThrottledReplicas{Leader: []string{"0:1"}, Follower: []string{"0:2"}})
	wants("nothing was sent since", 3, 5)
	p.Sent(100000)
	wants("the limit is exceeded", 3, 0)
	wants("the limit is exceeded, and it is in sync", 2, 5)
	if res, got := read(p, consumer(), from(0)); got != p.HighWatermark() || res.Code != kerr.None {
		t.Errorf("a consumer reads up to %d, %v", got, res.Code)
	}
	b.m.SetReplicationRates(1_000_000, state.Unlimited)
	wants("a higher limit", 3, 5)
	b.m.SetReplicationRates(1000, state.Unlimited)
	wants("the lower one again", 3, 0)
	b.now = b.now.Add(12 * time.Second)
	wants("its windows are over", 3, 5)
}

func TestAThrottledPartitionWaitsAndTheOthersDoNot(t *testing.T) {
	play(t, nil, func(s *stage) {
		other := cluster.TopicPartition{Topic: "orders", Partition: 1}
		st := s.b.state(2, 5, 1, 2, 3)
		st.TopicPartition, st.IsNew = other, true
		x := s.next()
		s.order(st)
		<-x.ctx.Done() // the new partition does not wait for news of the old one
		x = s.next()
		if len(x.req.Set) != 2 {
			t.Fatalf("sets %+v", x.req.Set)
		}
		s.m.SetReplicationRates(state.Unlimited, 1000)
		s.p.setThrottled(ThrottledReplicas{Follower: []string{"*"}})
		batch := sent(t, 0, 40, 5)
		s.m.env.fetching.add(2000 - len(batch))
		x.say(wire.FetchPartition{Records: batch, HighWatermark: 100})
		x = s.next()
		if len(x.req.Forget) != 1 || x.req.Forget[0] != orders0 || len(x.req.Set) != 0 || x.req.MaxWait <= 0 {
			t.Fatalf("over the limit: forgets %v, sets %v, waits %v", x.req.Forget, x.req.Set, x.req.MaxWait)
		}
		// The leader has news of the other one, again and again, and that goes on.
		for i := range cluster.Offset(5) {
			x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: "orders", Partitions: []wire.FetchPartition{
				{Index: 1, FetchOffset: i, Records: sent(t, i, 1, 5), HighWatermark: i + 1},
			}}}}
			if x = s.next(); len(x.req.Set) != 0 {
				t.Fatalf("the throttled partition is back after %d answers", i)
			}
		}
		<-time.After(2 * time.Second)
		x.answer <- &wire.FetchResponse{}
		x = s.next()
		s.placed(x, 40, 5)
		// In sync it is not throttled any more.
		s.m.env.fetching.add(1_000_000)
		x.say(wire.FetchPartition{FetchOffset: 40, Records: sent(t, 40, 60, 5), HighWatermark: 100})
		if x = s.next(); len(x.req.Forget) != 0 {
			t.Errorf("in sync: forgets %v", x.req.Forget)
		}
		x.answer <- context.Canceled
	})
}
