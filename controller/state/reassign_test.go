package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// powerCut is what a controller panics with when it dies in the middle of a commit.
type powerCut struct{}

// cutting is an env whose first controller dies at one of its operations.
type cutting struct {
	*env
	t    *testing.T
	left int  // operations before the death
	rest bool // what stands beside the operation in its step is written all the same
	dead bool

	before  map[cluster.TopicPartition]LeaderAndISR
	deleted map[replicaName]bool // replicas whose brokers were told last to delete their logs
}

type replicaName struct {
	broker cluster.BrokerID
	tp     cluster.TopicPartition
}

func newCutting(t *testing.T, cut int, rest bool) *cutting {
	c := &cutting{env: newEnv(), t: t, left: cut, rest: rest, deleted: map[replicaName]bool{}}
	c.check = func(s Step) {
		if v := c.violations(c.before); len(v) > 0 {
			t.Fatalf("cut at %d: %v\n%s", cut, v, c.log.String())
		}
		c.before = maps.Clone(c.states)
		for _, r := range s.Requests {
			switch body := r.Body.(type) {
			case *BecomeRequest:
				for _, p := range body.Partitions {
					delete(c.deleted, replicaName{r.Broker, p.Partition})
				}
			case *StopRequest:
				for _, p := range body.Partitions {
					if p.Delete {
						c.deleted[replicaName{r.Broker, p.Partition}] = true
					}
				}
			}
		}
		if c.left >= 0 && c.left < len(s.Ops) { // one of these is the last thing that this controller tries
			for i, op := range s.Ops {
				if i < c.left || rest && i > c.left {
					c.apply(op)
				}
			}
			c.left = -1
			panic(powerCut{})
		}
		if c.left >= 0 {
			c.left -= len(s.Ops)
		}
	}
	return c
}

// run does something unless the controller is dead or dies over it; then another takes over.
func (c *cutting) run(f func()) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case powerCut{}:
			c.dead = true
			c.logf("the controller is dead")
			c.before = maps.Clone(c.states)
			c.failover()
		default:
			panic(p)
		}
	}()
	f()
}

// copies lets every leader say that all assigned replicas are in sync.
func (c *cutting) copies() {
	for _, tp := range slices.SortedFunc(maps.Keys(c.states), cluster.TopicPartition.Compare) {
		s := c.states[tp]
		if s.Leader >= 0 {
			c.run(func() {
				c.handle(AlterPartition{Broker: s.Leader, BrokerEpoch: c.brokers[s.Leader].Epoch, Partitions: []AlterRequest{
					{Partition: tp, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch, ISR: c.topics[tp.Topic].Assignments[tp.Partition].Replicas},
				}})
			})
		}
	}
}

// TestAControllerThatDiesAtAnyOperationOfAReassignment lets reassignments begin, be replaced, be cancelled and end, with a controller that
// dies at its first operation, its second, and so on: the next one always finishes, and no replica that counts is deleted.
func TestAControllerThatDiesAtAnyOperationOfAReassignment(t *testing.T) {
	tp := func(i int32) cluster.TopicPartition { return cluster.TopicPartition{Topic: "t", Partition: i} }
	move := func(i int32, to ...cluster.BrokerID) Move {
		return Move{Partition: tp(i), Replicas: to, Cancel: len(to) == 0}
	}
	for _, rest := range []bool{false, true} {
		died := 0
		for cut := 0; ; cut++ {
			c := newCutting(t, cut, rest)
			c.register(1, 2, 3, 4, 5, 6)
			c.addTopic("t", map[int32][]cluster.BrokerID{0: {1, 2, 3}, 1: {2, 3, 1}, 2: {3, 1, 2}, 3: {1, 2}})
			c.run(c.failover)
			c.run(func() {
				c.handle(AlterReassignments{Moves: []Move{move(0, 4, 5, 6), move(1, 2, 4), move(2, 3, 4, 5), move(3, 1)}})
			})
			c.run(func() { c.handle(AlterReassignments{Moves: []Move{move(1), move(2, 6, 3)}}) })
			c.run(func() {
				c.moves = ReassignmentsRequested{Exists: true, Moves: []Move{move(3, 6, 5), move(9, 1)}}
				c.handle(c.moves)
			})
			c.run(func() { c.handle(AddPartitions{Topics: []MorePartitions{{Topic: "t", Count: 5}}}) }) // refused while something moves
			c.copies()
			c.run(func() { c.handle(AddPartitions{Topics: []MorePartitions{{Topic: "t", Count: 5}}}) })
			if died = cut; !c.dead {
				break
			}
			for range 3 {
				c.copies()
				for c.respond(func(cluster.BrokerID, cluster.TopicPartition) kerr.Code { return kerr.None }) {
				}
			}
			c.finished(cut, map[int32][][]cluster.BrokerID{
				0: {{1, 2, 3}, {4, 5, 6}}, 1: {{2, 3, 1}, {2, 4}, {2, 4, 3, 1}}, 2: {{3, 1, 2}, {3, 4, 5}, {6, 3}}, 3: {{1, 2}, {1}, {6, 5}},
			})
		}
		t.Logf("%d deaths", died)
		if died < 30 {
			t.Fatalf("the controller died only %d times: the operations are not what they were", died)
		}
	}
}

// finished wants everything where it was before or where it was to be, and nothing left over.
func (c *cutting) finished(cut int, allowed map[int32][][]cluster.BrokerID) {
	c.t.Helper()
	fail := func(format string, args ...any) {
		c.t.Helper()
		c.t.Fatalf("cut at %d: %s\n%s", cut, fmt.Sprintf(format, args...), c.log.String())
	}
	if c.moves.Exists {
		fail("/admin/reassign_partitions is left: %v", c.moves)
	}
	for _, p := range c.m.Partitions() {
		index := p.Partition.Partition
		node := c.topics[p.Partition.Topic].Assignments[index]
		if !p.Assignment.equal(node) || p.Assignment.Reassigning() {
			fail("%s is assigned to %s, in the node to %s", p.Partition, p.Assignment, node)
		}
		if want, ok := allowed[index]; ok && !slices.ContainsFunc(want, func(ids []cluster.BrokerID) bool { return slices.Equal(ids, node.Replicas) }) {
			fail("%s ended at %s", p.Partition, node)
		}
		isr := slices.Clone(p.Leadership.ISR)
		if slices.Sort(isr); !slices.Equal(isr, slices.Sorted(slices.Values(node.Replicas))) || !slices.Contains(isr, p.Leadership.Leader) {
			fail("%s on %s is %s", p.Partition, node, p.Leadership)
		}
		for _, id := range node.Replicas {
			if c.deleted[replicaName{id, p.Partition}] {
				fail("broker %d was told to delete %s, which is on %s", id, p.Partition, node)
			}
		}
	}
}

// The leader must hear of the end in a new leader epoch: it takes nothing else. Until that is written the reassignment is not over.
func TestAReassignmentIsNotOverBeforeItsLeaderCanHearOfIt(t *testing.T) {
	e := newEnv()
	for _, line := range []string{"register 1,2,3", "topic t 0:1,2", "failover", "alter 1 t-0 1", "reassign t-0:1,3"} {
		e.run(strings.Fields(line))
	}
	tp := cluster.TopicPartition{Topic: "t"}
	began := e.states[tp].LeaderEpoch
	e.fault = func(op Op) string {
		if op.Kind == SetState && op.State.LeaderEpoch > began {
			return "fail"
		}
		return ""
	}
	e.run(strings.Fields("alter 1 t-0 1,3"))
	if a := e.topics["t"].Assignments[0]; !a.Reassigning() || !e.m.Partitions()[0].Assignment.equal(a) {
		t.Fatalf("the node says %s, and the leader was not told\n%s", a, e.log.String())
	}
	e.fault = func(Op) string { return "" }
	for _, line := range []string{"brokers ~3", "alter 1 t-0 1,3"} {
		e.run(strings.Fields(line))
	}
	if a, s := e.topics["t"].Assignments[0], e.states[tp]; a.Reassigning() || s.LeaderEpoch == began {
		t.Fatalf("it does not go on: %s, %s\n%s", a, s, e.log.String())
	}
}

// A replica that was stopped for a reassignment that then could not begin goes on in a new leader epoch: it takes no role again in the one that it knows.
func TestAReplicaGoesOnAfterAReassignmentThatCouldNotBegin(t *testing.T) {
	e := newEnv()
	for _, line := range []string{"register 1,2,3,4", "topic t 0:1,2", "failover", "reassign t-0:1,2,3"} {
		e.run(strings.Fields(line))
	}
	tp := cluster.TopicPartition{Topic: "t"}
	e.fault = func(op Op) string {
		if op.Kind == SetTopic {
			return "fail"
		}
		return ""
	}
	e.sent = nil
	e.run(strings.Fields("reassign t-0:1,2,4"))
	stopped, goesOn := cluster.NoLeaderEpoch, cluster.NoLeaderEpoch
	for _, r := range e.sent {
		switch body := r.Body.(type) {
		case *StopRequest:
			stopped = body.Partitions[0].LeaderEpoch
		case *BecomeRequest:
			if r.Broker == 3 {
				goesOn = body.Partitions[0].State.LeaderEpoch
			}
		}
	}
	if stopped < 0 || goesOn <= stopped || e.states[tp].LeaderEpoch != goesOn {
		t.Fatalf("broker 3 was stopped in leader epoch %d and got its role back in %d\n%s", stopped, goesOn, e.log.String())
	}
}

// TestAssignmentsThatContradictThemselves reads what a topic's node should never hold.
func TestAssignmentsThatContradictThemselves(t *testing.T) {
	ids := func(n ...cluster.BrokerID) []cluster.BrokerID { return n }
	for _, tt := range []struct {
		a    Assignment
		want string
		bad  bool
	}{
		{Assignment{Replicas: ids(1, 2, 3)}, "1,2,3", false},
		{Assignment{Replicas: ids(4, 1, 2), Adding: ids(4), Removing: ids(1)}, "+4,-1,2", false},
		{Assignment{Replicas: ids(1, 2, 1)}, "1,2", true},
		{Assignment{Replicas: ids(1, 2), Adding: ids(3), Removing: ids(4)}, "1,2", true},
		{Assignment{Replicas: ids(1, 2), Removing: ids(1, 2)}, "1,2", true},
		{Assignment{Replicas: ids(1, 2), Adding: ids(1, 2)}, "1,2", true},
		{Assignment{Replicas: ids(1, 2), Adding: ids(1), Removing: ids(1)}, "+1,2", true},
		{Assignment{}, "", false},
	} {
		got, bad := tt.a.sound()
		if got.String() != tt.want || bad != tt.bad {
			t.Errorf("%+v is read as %s, wrong %t; want %s, %t", tt.a, got, bad, tt.want, tt.bad)
		}
	}
}
