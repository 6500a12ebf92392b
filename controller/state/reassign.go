package state

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// A reassignment moves a partition from its original replicas (ORS) to target replicas (TRS), in the steps of F§2.8. What is asked for
// stands in the topic's node as RS = TRS ++ (ORS not in TRS), AR = TRS \ ORS and RR = ORS \ TRS before anything else happens (U1), so
// that the next controller can go on from there. Then everybody hears of it and the new replicas begin to copy (phase A). When all of
// the target is in sync the leadership moves into the target, the old replicas stop and are deleted, and the node holds TRS alone
// (phase B). Completion is looked for at the end of every event in which the state of such a partition has changed.
//
// Two steps come earlier than in Kafka. Replicas that an overriding or cancelled reassignment had added leave the in-sync set before
// the node forgets them (U3 before U1), so that no in-sync replica is ever one that is not assigned. And before the node holds an assignment that nothing
// more is to be done about, as after a cancellation, the leader epoch is raised: if this controller gets no further, the next one sees nothing
// to go on with, and what it tells the leader of the assignment must not be in the epoch that the leader knows already.

// Move is a wish to reassign one partition.
type Move struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Replicas holds the brokers that are to hold it, the preferred leader first.
	Replicas []cluster.BrokerID
	// Cancel ends the reassignment that is under way; Replicas is then ignored.
	Cancel bool
}

// AlterReassignments begins, overrides and cancels reassignments (KIP-455). Its reply is a [MoveReply].
type AlterReassignments struct {
	// Moves holds the wishes, one for each partition.
	Moves []Move
}

// MoveReply answers [AlterReassignments].
type MoveReply struct {
	// Partitions holds the answers in the order of the request.
	Partitions []MoveResult
}

// MoveResult answers for one partition.
type MoveResult struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Err is nil when the reassignment has begun, or is complete already, else a [*kerr.Error] with Kafka's text.
	Err error
}

// ReassignmentsRequested says what /admin/reassign_partitions holds. Entries that are under way are left alone, those that cannot be
// done are noted and taken out of the node, which is deleted when it is empty.
type ReassignmentsRequested struct {
	// Exists is false when there is no such node.
	Exists bool
	// Moves holds the entries; the last one of a partition counts.
	Moves []Move
}

// ListReassignments asks which reassignments are under way. Its reply is a [ListReply].
type ListReassignments struct {
	// All asks for all of them; Partitions is then ignored.
	All bool
	// Partitions names the partitions.
	Partitions []cluster.TopicPartition
}

// ListReply answers [ListReassignments].
type ListReply struct {
	// Partitions holds those that are being reassigned, by topic and number.
	Partitions []OngoingMove
}

// OngoingMove is a reassignment that is under way.
type OngoingMove struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Assignment holds its replicas, those that come and those that go.
	Assignment Assignment
}

// origin returns the replicas from which a reassignment started.
func (a Assignment) origin() []cluster.BrokerID { return without(a.Replicas, a.Adding...) }

// reassignTo returns the assignment that begins a reassignment to target, from where the one that is under way started.
func (a Assignment) reassignTo(target []cluster.BrokerID) Assignment {
	origin := a.origin()
	return Assignment{
		Replicas: append(slices.Clone(target), without(origin, target...)...),
		Adding:   without(target, origin...),
		Removing: without(origin, target...),
	}
}

// equal reports whether two assignments are the same.
func (a Assignment) equal(b Assignment) bool {
	return slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.Adding, b.Adding) && slices.Equal(a.Removing, b.Removing)
}

// sound returns the assignment without what cannot be: a replica twice, replicas that come or go and are not assigned, or a
// reassignment that leaves none. It reports whether something was wrong.
func (a Assignment) sound() (Assignment, bool) {
	var out Assignment
	for _, id := range a.Replicas {
		if !slices.Contains(out.Replicas, id) {
			out.Replicas = append(out.Replicas, id)
		}
	}
	for _, id := range out.Replicas {
		adding := slices.Contains(a.Adding, id)
		if adding {
			out.Adding = append(out.Adding, id)
		}
		if slices.Contains(a.Removing, id) && !adding {
			out.Removing = append(out.Removing, id)
		}
	}
	if len(out.Target()) == 0 {
		out.Removing = nil
	}
	if len(out.origin()) == 0 {
		out.Adding = nil
	}
	return out, len(out.Replicas) != len(a.Replicas) || len(out.Adding) != len(a.Adding) || len(out.Removing) != len(a.Removing)
}

// handle checks every wish and begins those that pass. The last wish counts, wherever it comes from: what
// /admin/reassign_partitions says of the partition is taken out there.
func (e AlterReassignments) handle(m *Machine) {
	reply := MoveReply{Partitions: make([]MoveResult, len(e.Moves))}
	var begin []beginning
	var places []int // in reply, of each of begin
	taken := make(map[*partition]bool)
	for i, move := range e.Moves {
		reply.Partitions[i].Partition = move.Partition
		p, to, err := m.checkMove(move)
		switch {
		case err != nil:
			reply.Partitions[i].Err = err
		case taken[p]:
			reply.Partitions[i].Err = kerr.InvalidRequest.With("The partition is named more than once.")
		default:
			taken[p] = true
			begin, places = append(begin, beginning{p: p, to: to}), append(places, i)
		}
	}
	m.settleAsked(func(move Move) bool {
		p, ok := m.partition(move.Partition)
		return ok && taken[p]
	})
	m.beginMoves(begin, func(n int, err error) { reply.Partitions[places[n]].Err = err })
	m.then(func() { m.out.Reply = reply })
}

// handle lists.
func (e ListReassignments) handle(m *Machine) {
	reply := ListReply{}
	add := func(p *partition) {
		if p.assignment.Reassigning() {
			reply.Partitions = append(reply.Partitions, OngoingMove{p.tp, p.assignment})
		}
	}
	if e.All {
		for _, p := range m.partitionsWhere(func(*partition) bool { return true }) {
			add(p)
		}
	} else {
		for _, tp := range slices.SortedFunc(slices.Values(e.Partitions), cluster.TopicPartition.Compare) {
			if p, ok := m.partition(tp); ok {
				add(p)
			}
		}
	}
	m.out.Reply = reply
}

// handle begins what the node asks for.
func (e ReassignmentsRequested) handle(m *Machine) {
	m.asked = nil
	if !e.Exists {
		return
	}
	last := make(map[cluster.TopicPartition]int, len(e.Moves))
	for i, move := range e.Moves {
		last[move.Partition] = i
	}
	var begin []beginning
	refused := make(map[cluster.TopicPartition]bool)
	for i, move := range e.Moves {
		if last[move.Partition] != i {
			m.note(Warn, "a reassignment that is asked for twice in ZooKeeper counts once", "partition", move.Partition, "ignored", joinIDs(move.Replicas))
			continue
		}
		m.asked = append(m.asked, move)
		if p, ok := m.partition(move.Partition); ok && p.assignment.Reassigning() && slices.Equal(p.assignment.Target(), move.Replicas) {
			continue // under way
		}
		p, to, err := m.checkMove(move)
		if err != nil {
			m.note(Warn, "a reassignment that is asked for in ZooKeeper cannot be done", "partition", move.Partition, "replicas", joinIDs(move.Replicas), "error", err)
			refused[move.Partition] = true
			continue
		}
		begin = append(begin, beginning{p: p, to: to})
	}
	m.beginMoves(begin, func(n int, err error) { refused[begin[n].p.tp] = true })
	m.then(func() {
		if len(refused) > 0 || len(m.asked) == 0 {
			m.dropAsked(func(move Move) bool { return refused[move.Partition] })
		}
	})
}

// settleAsked takes entries out of /admin/reassign_partitions if there are any to take out.
func (m *Machine) settleAsked(settled func(Move) bool) {
	if slices.ContainsFunc(m.asked, settled) {
		m.dropAsked(settled)
	}
}

// dropAsked schedules writing /admin/reassign_partitions without the entries that are settled.
func (m *Machine) dropAsked(settled func(Move) bool) {
	m.asked = slices.DeleteFunc(slices.Clone(m.asked), settled)
	left := m.asked
	m.commit(func() []Op { return []Op{{Kind: SetReassignments, Moves: left}} }, func(_ []Op, results []Result) {
		if r := results[0]; r.Outcome != Done {
			m.note(Error, "could not write what is left to reassign, entries may be looked at again", "left", len(left), "outcome", r)
		}
	})
}

// checkMove checks one wish in Kafka's order and returns the assignment that it leads to.
func (m *Machine) checkMove(move Move) (*partition, Assignment, error) {
	refuse := func(format string, args ...any) (*partition, Assignment, error) {
		return nil, Assignment{}, kerr.InvalidReplicaAssignment.With(fmt.Sprintf(format, args...))
	}
	p, ok := m.partition(move.Partition)
	if !ok || p.topic.queued || len(p.assignment.Replicas) == 0 {
		return nil, Assignment{}, kerr.UnknownTopicOrPartition.With("The partition does not exist.")
	}
	target := move.Replicas
	switch {
	case move.Cancel && !p.assignment.Reassigning():
		return nil, Assignment{}, kerr.NoReassignmentInProgress.Err()
	case move.Cancel:
		target = p.assignment.origin()
	case len(target) == 0:
		return refuse("Empty replica list specified in partition reassignment.")
	case repeated(target):
		return refuse("Duplicate replica ids in partition reassignment replica list: %s", joinIDs(target))
	case slices.ContainsFunc(target, func(id cluster.BrokerID) bool { return id < 0 }):
		return refuse("Invalid broker id in replica list: %s", joinIDs(target))
	}
	to := p.assignment.reassignTo(target)
	if slices.ContainsFunc(to.Adding, func(id cluster.BrokerID) bool { return !m.live(id) }) {
		live := slices.DeleteFunc(m.brokerIDs(), func(id cluster.BrokerID) bool { return !m.live(id) })
		return refuse("Replica assignment has brokers that are not alive. Replica list: %s, live broker list: %s", joinIDs(to.Adding), joinIDs(live))
	}
	if p.leadership != nil && len(without(p.leadership.ISR, without(p.assignment.Replicas, to.Replicas...)...)) == 0 {
		return refuse("Unable to revert partition assignment for %s because it would require an unclean leader election: the in-sync replicas %s are new ones.",
			p.tp, joinIDs(p.leadership.ISR))
	}
	return p, to, nil
}

// isWhereAsked reports whether nothing is left to do for an entry of /admin/reassign_partitions.
func (m *Machine) isWhereAsked(move Move) bool {
	p, ok := m.partition(move.Partition)
	return ok && !p.assignment.Reassigning() && slices.Equal(p.assignment.Replicas, move.Replicas)
}
