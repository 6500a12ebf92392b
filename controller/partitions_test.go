package controller

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// placed is a topic of one partition on the given brokers.
func placed(name string, ids ...cluster.BrokerID) TopicSpec {
	return TopicSpec{Name: name, NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: ids}}
}

// inSync lets the leader of t-0 say who is in sync.
func (p *party) inSync(c *Controller, ids ...cluster.BrokerID) {
	p.t.Helper()
	tp := cluster.TopicPartition{Topic: "t"}
	s := p.snapshot()[tp]
	p.world.mu.Lock()
	epoch := p.brokers[s.Leader].Epoch
	p.world.mu.Unlock()
	reply := c.AlterPartition(ctx, state.AlterPartition{Broker: s.Leader, BrokerEpoch: epoch, Partitions: []state.AlterRequest{
		{Partition: tp, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch, ISR: ids},
	}})
	if reply.Code != kerr.None || reply.Partitions[0].Code != kerr.None {
		p.t.Fatalf("in sync %v: %+v", ids, reply)
	}
	synctest.Wait()
}

func TestMorePartitions(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{placed("t", 1, 2), placed("u", 2, 3)}, time.Minute, false)
		got := c.CreatePartitions(ctx, []state.MorePartitions{{Topic: "t", Count: 3}, {Topic: "u", Count: 1}, {Topic: "v", Count: 1}}, time.Minute, false)
		p.equal("results", outcomes(got), []string{
			"t: 3 x -1 id=false", "u: INVALID_PARTITIONS: Topic already has 1 partitions.", "v: UNKNOWN_TOPIC_OR_PARTITION: The topic 'v' does not exist.",
		})
		p.equal("in metadata", areLed(must(p.caches[1].Image().Topic("t")), 0, 3), true)
		p.equal("checked only", outcomes(c.CreatePartitions(ctx, []state.MorePartitions{{Topic: "u", Count: 2}}, time.Minute, true)), []string{"u: 2 x -1 id=false"})
		synctest.Wait() // the numbers come after the answer
		p.equal("partitions", c.Stats().Counts.Partitions, 4)
		// Nobody who could lead answers.
		p.mute[1] = true
		p.equal("no news", outcomes(c.CreatePartitions(ctx, []state.MorePartitions{{Topic: "u", Count: 2}}, time.Second, false)), []string{"u: REQUEST_TIMED_OUT: The request timed out."})
		synctest.Wait()
		p.equal("partitions", c.Stats().Counts.Partitions, 5)
		for _, r := range p.controllers[2].CreatePartitions(ctx, []state.MorePartitions{{Topic: "t", Count: 9}}, time.Second, false) {
			p.equal("not the controller", errors.Is(r.Err, kerr.NotController), true)
		}
	})
}

func TestAMoveOutlivesItsController(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		tp := cluster.TopicPartition{Topic: "t"}
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{placed("t", 1, 2)}, time.Minute, false)
		results, err := c.AlterReassignments(ctx, []state.Move{{Partition: tp, Replicas: []cluster.BrokerID{3, 2}}, {Partition: cluster.TopicPartition{Topic: "u"}}}, time.Minute)
		p.equal("begun", err == nil && results[0].Err == nil && errors.Is(results[1].Err, kerr.UnknownTopicOrPartition), true)
		moves, err := c.ListReassignments(ctx, state.ListReassignments{All: true}, time.Minute)
		p.equal("error", err, nil)
		p.equal("moves", moves, []state.OngoingMove{{Partition: tp, Assignment: state.Assignment{
			Replicas: []cluster.BrokerID{3, 2, 1}, Adding: []cluster.BrokerID{3}, Removing: []cluster.BrokerID{1},
		}}})
		p.sessions[1].expire()
		c.SessionExpired()
		synctest.Wait()
		p.equal("controllers", len(p.active()), 1)
		next := p.controllers[p.active()[0]]
		moves, err = next.ListReassignments(ctx, state.ListReassignments{Partitions: []cluster.TopicPartition{tp}}, 0)
		p.equal("goes on", err == nil && len(moves) == 1, true)
		p.inSync(next, 1, 2, 3)
		moves, err = next.ListReassignments(ctx, state.ListReassignments{All: true}, time.Minute)
		p.equal("is complete", err == nil && len(moves) == 0, true)
		s := p.snapshot()[tp]
		p.equal("leader", s.Leader, cluster.BrokerID(3))
		if _, err := c.AlterReassignments(ctx, nil, time.Minute); !errors.Is(err, kerr.NotController) {
			t.Errorf("the old controller: %v", err)
		}
		if _, err := c.ListReassignments(ctx, state.ListReassignments{}, time.Minute); !errors.Is(err, kerr.NotController) {
			t.Errorf("the old controller: %v", err)
		}
	})
}

func TestNodesOfOldToolsAreSeen(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		tp := cluster.TopicPartition{Topic: "t"}
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{placed("t", 1, 2)}, time.Minute, false)
		for _, to := range [][]cluster.BrokerID{{2, 3}, {3, 1}} { // the watch is there again for the second
			p.change(func() {
				p.moves = state.ReassignmentsRequested{Exists: true, Moves: []state.Move{{Partition: tp, Replicas: to}}}
			}, Change{Kind: ReassignmentsChange})
			synctest.Wait()
			p.inSync(c, 1, 2, 3)
			p.equal("moved to", p.topics["t"].Assignments[0].Replicas, to)
			p.equal("node", p.moves.Exists, false)
		}
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(3))
		p.inSync(c, 3, 1)
		p.unregister(3)
		synctest.Wait()
		p.register(3)
		synctest.Wait()
		p.inSync(c, 1, 3)
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(1))
		p.change(func() {
			p.elections = state.ElectionsRequested{Exists: true, Partitions: []cluster.TopicPartition{tp}}
		}, Change{Kind: ElectionsChange})
		synctest.Wait()
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(3))
		p.equal("node", p.elections.Exists, false)
	})
}
