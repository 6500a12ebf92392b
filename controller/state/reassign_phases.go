package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// How reassignments go on: phase A, in which the new replicas copy, and phase B, in which the old ones leave (F§2.8).

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
