package sim

import (
	"slices"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// move asks for a reassignment: of the controller, or with the node that Kafka's older tools write, if there is none.
func (w *world) move(tp cluster.TopicPartition, set, turn uint16) {
	n := len(w.brokers)
	var target []cluster.BrokerID
	for i := range n {
		id := 1 + (i+int(turn))%n
		if mask := 1 + int(set)%(1<<n-1); mask&(1<<(id-1)) != 0 {
			target = append(target, cluster.BrokerID(id))
		}
	}
	move := state.Move{Partition: tp, Replicas: target}
	w.trace("    %s is to be on %v", tp, target)
	if turn%64 < 8 {
		if w.zk.moves == nil {
			w.wish(tp)
			w.zk.moves = []state.Move{move}
			w.zk.changed(movesChange)
		}
		return
	}
	if r := w.activeReign(); r != nil {
		r.reassign(move)
	}
}

// wish counts a wish to reassign. Until it is answered nobody knows what becomes of the partition.
func (w *world) wish(tp cluster.TopicPartition) int {
	delete(w.wanted, tp)
	w.asked++
	w.latest[tp] = w.asked
	return w.asked
}

// cancel asks the controller to give a reassignment up.
func (w *world) cancel(tp cluster.TopicPartition) {
	if r := w.activeReign(); r != nil {
		r.reassign(state.Move{Partition: tp, Cancel: true})
	}
}

// reassign hands a wish to a controller. Where it is to lead is known if the controller says that it has begun, and was not deposed before that.
func (r *reign) reassign(move state.Move) {
	w := r.b.w
	n := w.wish(move.Partition)
	r.queue = append(r.queue, item{event: state.AlterReassignments{Moves: []state.Move{move}}, reply: func(reply any, ok bool) {
		if !ok || r.epoch != w.zk.epoch {
			return
		}
		if err := reply.(state.MoveReply).Partitions[0].Err; err != nil {
			w.trace("    %s", err)
		} else if !move.Cancel && w.zk.moves == nil && n == w.latest[move.Partition] {
			w.wanted[move.Partition] = move.Replicas
		}
	}})
}

// checkAssignments looks at what a controller writes to a topic's node: the lists agree with each other, and who is in sync stays assigned.
func (w *world) checkAssignments(before, t state.Topic) {
	within := func(ids, of []cluster.BrokerID) bool {
		return !slices.ContainsFunc(ids, func(id cluster.BrokerID) bool { return !slices.Contains(of, id) })
	}
	for index, a := range t.Assignments {
		tp := cluster.TopicPartition{Topic: t.Name, Partition: index}
		sorted := slices.Sorted(slices.Values(a.Replicas))
		both := slices.ContainsFunc(a.Adding, func(id cluster.BrokerID) bool { return slices.Contains(a.Removing, id) })
		if len(slices.Compact(sorted)) != len(a.Replicas) || len(a.Target()) == 0 || both || !within(a.Adding, a.Replicas) || !within(a.Removing, a.Replicas) {
			w.violated("assignments make sense", "%s is assigned to %s, adding %v, removing %v", tp, a, a.Adding, a.Removing)
		}
		if s, ok := w.zk.states[tp]; ok && !within(s.ISR, a.Replicas) {
			w.violated("who is in sync is assigned", "%s: %s, assigned are %s", tp, s, a)
		}
		if h := w.histories[tp]; h != nil && a.Reassigning() {
			h.moved = true
		}
		if old := before.Assignments[index]; old.Reassigning() && !a.Reassigning() {
			w.report.Moves++
		}
	}
}

// checkDeletion looks at a controller's order to delete a replica of a topic that stays: all of the target has to be in sync, so that what the replica
// holds is not needed any more.
func (w *world) checkDeletion(r *reign, id cluster.BrokerID, tp cluster.TopicPartition) {
	t := w.zk.topics[tp.Topic]
	a, ok := t.Assignments[tp.Partition]
	s := w.zk.states[tp]
	if r.epoch != w.zk.epoch || !ok || w.zk.deletions[tp.Topic] || !slices.Contains(a.Replicas, id) && !slices.Contains(s.ISR, id) {
		return
	}
	lacking := slices.ContainsFunc(a.Target(), func(id cluster.BrokerID) bool { return !slices.Contains(s.ISR, id) })
	if lacking || !slices.Contains(a.Removing, id) || slices.Contains(s.ISR, id) {
		w.violated("a replica goes when the others have what it has", "broker %d is to delete %s, which is assigned to %s: %s", id, tp, a, s)
	}
}
