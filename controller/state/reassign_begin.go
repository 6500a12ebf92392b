package state

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// How reassignments begin, are overridden and cancelled: what has to be written before anything else happens (U1 to U3 of F§2.8).

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
