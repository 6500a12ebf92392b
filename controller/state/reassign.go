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

// beginning is a reassignment that is about to begin: its first steps lead from one assignment to another.
type beginning struct {
	p        *partition
	to       Assignment
	unneeded []cluster.BrokerID // replicas of now that to does not have
	failed   bool
}

// beginMoves schedules U3, U1, U2 and what follows. failed hears of those that did not begin, by their place.
func (m *Machine) beginMoves(bs []beginning, failed func(i int, err error)) {
	var leave []replica
	for i := range bs {
		b := &bs[i]
		b.unneeded = without(b.p.assignment.Replicas, b.to.Replicas...)
		for _, id := range b.unneeded {
			leave = append(leave, replica{b.p, id})
		}
	}
	m.stopReplicas(leave)
	m.then(func() {
		for i := range bs {
			if b := &bs[i]; b.p.inSync(b.unneeded) {
				b.failed = true
				failed(i, kerr.UnknownServerError.With("Replicas of the reassignment before could not be taken out of the in-sync set."))
			}
		}
		m.raiseBeforeEnds(bs, failed)
		m.then(func() { m.writeBeginnings(bs, failed) })
	})
}

// raiseBeforeEnds schedules raising the leader epochs of partitions whose reassignments end with U1. Nobody hears of it before U1 is written.
func (m *Machine) raiseBeforeEnds(bs []beginning, failed func(i int, err error)) {
	at := make(map[*partition]int)
	var ends []*partition
	for i, b := range bs {
		if p := b.p; !b.failed && p.leadership != nil && p.assignment.Reassigning() && !b.to.Reassigning() {
			at[p] = i
			ends = append(ends, p)
		}
	}
	m.raiseEpoch(ends, func(p *partition) { delete(at, p) })
	m.then(func() {
		for _, p := range ends {
			if i, unwritten := at[p]; unwritten {
				bs[i].failed = true
				failed(i, kerr.UnknownServerError.With("The leader epoch could not be raised in ZooKeeper."))
			}
		}
	})
}

// writeBeginnings schedules U1 and U2, and what follows for those that are written.
func (m *Machine) writeBeginnings(bs []beginning, failed func(i int, err error)) {
	next := make(map[*partition]Assignment)
	at := make(map[*partition]int, len(bs))
	for i, b := range bs {
		at[b.p] = i
		if !b.failed && !b.to.equal(b.p.assignment) {
			next[b.p] = b.to
		}
	}
	m.assign(next, func(p *partition, r Result) {
		i := at[p]
		if r.Outcome == Done {
			m.note(Info, "a reassignment begins", "partition", p.tp, "from", bs[i].p.assignment, "to", bs[i].to)
			p.assignment = bs[i].to // U2
			return
		}
		bs[i].failed = true
		failed(i, kerr.UnknownServerError.With(fmt.Sprintf("The assignment could not be written to ZooKeeper: %s.", r)))
	})
	m.then(func() {
		var begun, refused []*partition
		var leave, back []replica
		for _, b := range bs {
			if _, changed := next[b.p]; !b.failed && !changed && !b.p.assignment.Reassigning() {
				continue // it is where it should be
			}
			for _, id := range b.unneeded {
				switch r := (replica{b.p, id}); {
				case !b.failed:
					leave = append(leave, r)
				case m.online(b.p, id):
					back = append(back, r)
				}
			}
			if b.failed {
				refused = append(refused, b.p)
				m.sendBecome(b.p.assignment.Replicas, b.p, false) // the epoch may have been raised
			} else {
				begun = append(begun, b.p)
			}
		}
		m.moveReplicas(back, OnlineReplica)
		m.recall(back)
		m.then(func() { m.replaceLeaders(refused) })
		m.forgetReplicas(leave) // the rest of U3
		m.then(func() { m.proceed(begun) })
		m.then(func() { m.settleAsked(m.isWhereAsked) })
	})
}

// recall schedules new leader epochs for the partitions of replicas that were stopped and are to go on: they take no role again in the one that they know.
func (m *Machine) recall(rs []replica) {
	var ps []*partition
	for _, r := range rs {
		if r.p.leadership != nil && !slices.Contains(ps, r.p) {
			ps = append(ps, r.p)
		}
	}
	m.batched(func() { m.raiseEpoch(ps, func(p *partition) { m.sendBecome(p.assignment.Replicas, p, false) }) })
}

// isWhereAsked reports whether nothing is left to do for an entry of /admin/reassign_partitions.
func (m *Machine) isWhereAsked(move Move) bool {
	p, ok := m.partition(move.Partition)
	return ok && !p.assignment.Reassigning() && slices.Equal(p.assignment.Replicas, move.Replicas)
}

// assign schedules writing the topics' nodes with other assignments for some partitions, and calls done for each of those.
func (m *Machine) assign(next map[*partition]Assignment, done func(p *partition, r Result)) {
	var writes []Op
	var of [][]*partition
	for _, t := range m.sortedTopics() {
		var changed []*partition
		for _, p := range t.partitions {
			if _, ok := next[p]; ok {
				changed = append(changed, p)
			}
		}
		if len(changed) == 0 {
			continue
		}
		all := t.allAssignments()
		for _, p := range changed {
			all[p.tp.Partition] = next[p]
		}
		writes, of = append(writes, setTopic(t.name, t.id, all)), append(of, changed)
	}
	m.rewriteTopics(writes, func(i int, r Result) {
		for _, p := range of[i] {
			done(p, r)
		}
	})
}

// inSync reports whether one of the brokers is in sync.
func (p *partition) inSync(ids []cluster.BrokerID) bool {
	return p.leadership != nil && slices.ContainsFunc(ids, func(id cluster.BrokerID) bool { return slices.Contains(p.leadership.ISR, id) })
}

// newOn reports whether a replica that a reassignment adds may begin with an empty log while a log directory of its broker is offline. One that is in
// sync may not, as when the next controller goes on with a reassignment: what it has may be there, and without it it would lead with nothing.
func (p *partition) newOn(id cluster.BrokerID) bool { return !p.inSync([]cluster.BrokerID{id}) }

// stopReplicas schedules taking replicas out of the in-sync sets, those that are not out of them already.
func (m *Machine) stopReplicas(rs []replica) {
	m.moveReplicas(slices.DeleteFunc(slices.Clone(rs), func(r replica) bool { return !r.state().CanBecome(OfflineReplica) }), OfflineReplica)
}

// forgetReplicas schedules deleting replicas that were stopped. Their brokers' answers are not waited for: a broker that cannot be
// reached keeps the log (F§2.8 B5).
func (m *Machine) forgetReplicas(rs []replica) {
	rs = slices.DeleteFunc(slices.Clone(rs), func(r replica) bool { return r.state() != OfflineReplica })
	for _, target := range []ReplicaState{ReplicaDeletionStarted, ReplicaDeletionSuccessful, NonExistentReplica} {
		m.moveReplicas(rs, target)
	}
}

// caughtUp reports whether phase B of a reassignment can be gone through: all of the target is in sync, and one of it can lead.
func (m *Machine) caughtUp(p *partition) bool {
	if !p.assignment.Reassigning() {
		return true
	}
	target := p.assignment.Target()
	return p.leadership != nil && len(without(target, p.leadership.ISR...)) == 0 &&
		slices.ContainsFunc(target, func(id cluster.BrokerID) bool { return m.online(p, id) })
}

// proceed goes on with reassignments: phase B for those that have caught up, phase A for the others (onPartitionReassignment).
func (m *Machine) proceed(ps []*partition) {
	var wait, finish []*partition
	for _, p := range ps {
		p.begun = true
		m.ineligible(p.topic, "a reassignment is under way")
		if m.caughtUp(p) {
			finish = append(finish, p)
		} else {
			wait = append(wait, p)
		}
	}
	m.catchUp(wait)
	m.finish(finish)
}

// catchUp is phase A: everybody hears of the reassignment in a new leader epoch, and the new replicas begin.
func (m *Machine) catchUp(ps []*partition) {
	var led, fresh []*partition
	var adding []replica
	for _, p := range ps {
		if p.leadership == nil {
			fresh = append(fresh, p)
		} else {
			led = append(led, p)
		}
		for _, id := range p.assignment.Adding {
			if r := (replica{p, id}); r.state() == NonExistentReplica {
				adding = append(adding, r)
			}
		}
	}
	m.batched(func() {
		m.raiseEpoch(led, func(p *partition) {
			m.sendBecome(p.assignment.origin(), p, false)
			for _, id := range p.assignment.Adding {
				m.sendBecome([]cluster.BrokerID{id}, p, p.newOn(id))
			}
		})
		m.moveReplicas(adding, NewReplica)
	})
	m.then(func() {
		m.replaceLeaders(led)
		// A partition that never had a leader finds one among the new replicas.
		fresh = slices.DeleteFunc(fresh, func(p *partition) bool { return len(m.onlineReplicas(p)) == 0 })
		m.movePartitions(fresh, OnlinePartition, ElectOffline, nil)
	})
}

// replaceLeaders schedules elections where there is no leader and one can be had.
func (m *Machine) replaceLeaders(ps []*partition) {
	m.movePartitions(slices.DeleteFunc(slices.Clone(ps), func(p *partition) bool {
		return p.leadership == nil || m.led(p) || !p.inSync(m.onlineReplicas(p)) || p.leaving()
	}), OnlinePartition, ElectOffline, nil)
}

// raiseEpoch schedules writing the states with the next leader epoch, and done for each that is written.
func (m *Machine) raiseEpoch(ps []*partition, done func(p *partition)) {
	m.updateStates(ps, update{
		decide: func(_ *partition, current LeaderAndISR) (LeaderAndISR, bool) {
			current.LeaderEpoch++
			return current, true
		},
		done: done,
	})
}

// finish is phase B. What fails on the way leaves the reassignment as it stands in the topic's node, to be tried again when
// something changes.
func (m *Machine) finish(ps []*partition) {
	if len(ps) == 0 {
		return
	}
	full := make(map[*partition]Assignment, len(ps))
	var adding []replica
	for _, p := range ps {
		m.finished[p] = true
		full[p] = p.assignment
		for _, id := range p.assignment.Adding {
			if r := (replica{p, id}); r.state() == NewReplica || r.state() == OfflineReplica && m.online(p, id) {
				adding = append(adding, r)
			}
		}
	}
	m.moveReplicas(adding, OnlineReplica) // B1
	before := make(map[*partition]cluster.LeaderEpoch, len(ps))
	m.then(func() {
		for _, p := range ps {
			before[p] = epochOf(p)
			p.assignment = Assignment{Replicas: p.assignment.Target()} // B2
		}
		m.leadInTarget(ps)
	})
	m.then(func() { m.leaveOrigin(ps, full, before) })
}

// leadInTarget is B3: the leadership moves into the target if it is not there, else everybody hears of the new assignment.
func (m *Machine) leadInTarget(ps []*partition) {
	var elect, raise []*partition
	for _, p := range ps {
		switch {
		case p.leadership == nil:
		case slices.Contains(p.assignment.Replicas, p.leadership.Leader) && m.online(p, p.leadership.Leader):
			raise = append(raise, p)
		default:
			elect = append(elect, p)
		}
	}
	m.movePartitions(elect, OnlinePartition, ElectReassign, nil)
	m.batched(func() {
		m.raiseEpoch(raise, func(p *partition) { m.sendBecome(p.assignment.Replicas, p, false) })
	})
}

// leaveOrigin is B4 to B8: the replicas that are not in the target stop and are deleted, the topic's node says so, and everybody
// hears of it. before holds the leader epochs before B3: nobody takes a new assignment in the epoch that it knows.
func (m *Machine) leaveOrigin(ps []*partition, full map[*partition]Assignment, before map[*partition]cluster.LeaderEpoch) {
	restore := func(p *partition, reason string) {
		m.note(Error, "a reassignment cannot be completed now", "partition", p.tp, "reason", reason)
		p.assignment = full[p]
		delete(full, p)
		m.sendBecome(p.assignment.Replicas, p, false) // what was written on the way, if anything, is news
	}
	var leave []replica
	for _, p := range ps {
		switch l := p.leadership; {
		case l == nil:
		case l.Leader != cluster.NoBroker && !slices.Contains(p.assignment.Replicas, l.Leader):
			restore(p, "no replica of the target could be elected")
			continue
		case l.LeaderEpoch == before[p]:
			restore(p, "the leader epoch could not be raised in ZooKeeper")
			continue
		}
		for _, id := range full[p].Removing {
			leave = append(leave, replica{p, id})
		}
	}
	m.stopReplicas(leave) // B4
	m.then(func() {
		next := make(map[*partition]Assignment)
		var back []replica
		for _, p := range ps {
			switch before, ok := full[p]; {
			case !ok:
			case p.inSync(before.Removing):
				restore(p, "a replica could not be taken out of the in-sync set")
				for _, id := range before.Removing {
					back = append(back, replica{p, id})
				}
			case before.Reassigning():
				next[p] = p.assignment
			}
		}
		back = slices.DeleteFunc(back, func(r replica) bool { return !m.online(r.p, r.id) })
		m.moveReplicas(back, OnlineReplica)
		m.recall(back)
		m.forgetReplicas(slices.DeleteFunc(leave, func(r replica) bool { _, ok := full[r.p]; return !ok })) // B5
		m.assign(next, func(*partition, Result) {})                                                         // B6, repeated with later events if need be
		m.then(func() { m.movesComplete(ps, full) })
	})
}

// movesComplete is B7 and B8, for the partitions that are in full.
func (m *Machine) movesComplete(ps []*partition, full map[*partition]Assignment) {
	ps = slices.DeleteFunc(slices.Clone(ps), func(p *partition) bool { _, ok := full[p]; return !ok })
	var rs []replica
	for _, p := range ps {
		rs = append(rs, replica{p: p})
		m.note(Info, "a reassignment is complete", "partition", p.tp, "replicas", p.assignment)
	}
	m.settleAsked(m.isWhereAsked)
	m.then(func() {
		if len(ps) > 0 {
			m.sendMetadataToAll(ps...)
		}
	})
	m.then(func() { m.resumeDeletion(topicsOf(rs)) })
}

// learn notes a partition's state. Whether that completes a reassignment is looked at when the event is dealt with.
func (m *Machine) learn(p *partition, s LeaderAndISR) {
	p.leadership = &s
	if p.assignment.Reassigning() {
		m.touched = append(m.touched, p)
	}
}

// finishTouched schedules phase B of those reassignments that have caught up in this event. Each is tried once in an event.
func (m *Machine) finishTouched() {
	ps := m.touched
	m.touched = nil
	var finish []*partition
	for _, p := range ps {
		if known, ok := m.partition(p.tp); ok && known == p && !m.finished[p] && p.assignment.Reassigning() && m.caughtUp(p) {
			m.finished[p] = true
			finish = append(finish, p)
		}
	}
	m.finish(finish)
}

// resumeMoves goes on with the reassignments that f accepts.
func (m *Machine) resumeMoves(f func(*partition) bool) {
	m.then(func() {
		m.proceed(m.partitionsWhere(func(p *partition) bool { return p.assignment.Reassigning() && f(p) }))
	})
}
