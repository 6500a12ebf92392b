package sim

import (
	"slices"
	"testing"
	"time"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// A leader and a controller talk, with nothing between them. It takes so much to come about that simulations find it once in ten thousand clusters.
func TestARequestThatWasGivenUpDoesNotLetAReplicaJoinThatTheLeaderHasGoneOnWithout(t *testing.T) {
	tp := cluster.TopicPartition{Topic: "t"}
	held := state.LeaderAndISR{Leader: 1, LeaderEpoch: 3, ISR: []cluster.BrokerID{1}, ControllerEpoch: 1, PartitionEpoch: 5} // in ZooKeeper
	m := state.New(state.Options{ControllerID: 1, Epoch: 2})
	handle := func(e state.Event) (reply any) {
		for step := m.Handle(e); ; {
			if step.Reply != nil {
				reply = step.Reply
			}
			if step.Done {
				return reply
			}
			results := make([]state.Result, len(step.Ops))
			for i, op := range step.Ops {
				if op.Kind != state.SetState || op.Version != held.PartitionEpoch {
					t.Fatalf("%s, held is %s", op, held)
				}
				held = op.State
				held.PartitionEpoch = op.Version + 1
				results[i] = state.Result{Outcome: state.Done, Version: held.PartitionEpoch}
			}
			step = m.Apply(results)
		}
	}
	handle(state.Failover{
		Brokers: []state.Broker{{ID: 1, Epoch: 10}, {ID: 2, Epoch: 20}},
		Topics:  []state.Topic{{Name: "t", ID: cluster.TopicID{1}, Assignments: map[int32]state.Assignment{0: {Replicas: []cluster.BrokerID{1, 2}}}}},
		States:  map[cluster.TopicPartition]state.LeaderAndISR{tp: held}, Written: map[cluster.TopicPartition]cluster.BrokerEpoch{tp: 30},
	})
	now := time.UnixMilli(1_700_000_000_000)
	around := func() *replica.Surroundings {
		return &replica.Surroundings{Now: now, MaxLag: time.Second, MinISR: 1, Alive: func(cluster.BrokerID) bool { return true }}
	}
	l := replica.Lead(1, &replica.PartitionState{
		TopicPartition: tp, Leader: 1, LeaderEpoch: 3, PartitionEpoch: 5, ISR: []cluster.BrokerID{1}, Replicas: []cluster.BrokerID{1, 2},
	}, 10, now)
	ask := func(c replica.ISRChange) *replica.ISRResult {
		r := handle(state.AlterPartition{Broker: 1, BrokerEpoch: 10, Partitions: []state.AlterRequest{{
			Partition: tp, LeaderEpoch: c.LeaderEpoch, PartitionEpoch: c.PartitionEpoch, ISR: c.ISR, ISREpochs: c.Epochs, Fence: c.Fence,
		}}}).(state.AlterReply).Partitions[0]
		return &replica.ISRResult{Code: r.Code, LeaderEpoch: r.State.LeaderEpoch, PartitionEpoch: r.State.PartitionEpoch, ISR: r.State.ISR}
	}

	isr, _, _ := l.Fetched(2, replica.Mark{Offset: 10, LeaderEnd: 10, At: now, BrokerEpoch: 20}, 10, 10, around())
	l.Propose(isr)
	late, _ := l.Change(tp) // is on its way for long
	c, _ := l.Change(tp)
	handle(state.Contact{Suspects: []cluster.BrokerID{2}})
	r := ask(c)
	if r.Code != kerr.IneligibleReplica || !l.Answered(&c, r, now) {
		t.Fatalf("a replica that does not answer may join: %v", r.Code)
	}
	now = now.Add(time.Minute)
	if got := l.HighWatermark(10, 15, around()); got != 10 {
		t.Fatalf("high watermark %d: the replica may join yet", got)
	}
	c, _ = l.Change(tp)
	if r = ask(c); l.Answered(&c, r, now) || l.HighWatermark(10, 15, around()) != 15 {
		t.Fatalf("the leader cannot go on: %+v", r)
	}
	handle(state.Contact{})
	if r = ask(late); r.Code != kerr.InvalidUpdateVersion || !slices.Equal(held.ISR, []cluster.BrokerID{1}) {
		t.Errorf("the answer is %v, in sync are %v, and broker 2 has 10 of 15 records", r.Code, held.ISR)
	}
}
