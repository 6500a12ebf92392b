package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// Contact says which brokers do not answer at the moment, although ZooKeeper holds their registrations to be alive. It replaces what the
// Contact before it said. An election may choose any in-sync replica at any time, so a mistake costs an election and never a record.
type Contact struct {
	// Suspects holds the brokers that answer to nobody who could tell. They stay registered and are sent orders, but they are not elected.
	Suspects []cluster.BrokerID
	// Unreached holds the brokers that do not answer to the controller, or are late. Those that are not suspects as well may be fine: they cannot be told
	// anything, so nothing that they lead is changed and nothing is given to them.
	Unreached []cluster.BrokerID
	// Late holds those of Unreached whose answer is late and may yet come, or that were lost so shortly ago that others may not have noticed. No set in sync is chosen that relies on one of them: a controller that is cut off
	// itself loses the others one after the other, and must not take the first that is lost for the only one.
	Late []cluster.BrokerID
	// Broken holds the pairs of brokers between which nothing passes.
	Broken []Link
	// MinISR is min.insync.replicas of all topics that do not override it; less than 1 means 1.
	MinISR int
	// TopicMinISR holds min.insync.replicas of the topics that do.
	TopicMinISR map[string]int
}

// Link is a way between two brokers, in either direction.
type Link struct {
	// From gets no answer from To.
	From, To cluster.BrokerID
}

// handle gives every partition whose leader and in-sync replicas do not reach each other the leader and the in-sync set that do. It leaves
// alone what would be no better afterwards: where fewer than min.insync.replicas would be in sync.
//
// What is said of a broker that is not registered is of the process that was: the one that registers next is another.
func (e Contact) handle(m *Machine) {
	unregistered := func(id cluster.BrokerID) bool { return !m.registered(id) }
	e.Suspects = slices.DeleteFunc(slices.Clone(e.Suspects), unregistered)
	e.Unreached = slices.DeleteFunc(slices.Clone(e.Unreached), unregistered)
	before := m.contact.Suspects
	m.contact = e
	for _, id := range e.Suspects {
		if !slices.Contains(before, id) {
			m.note(Warn, "a broker does not answer, its leaderships move", "broker", id)
		}
	}
	var back []cluster.BrokerID
	for _, id := range before {
		if !slices.Contains(e.Suspects, id) {
			m.note(Info, "a broker answers again", "broker", id)
			back = append(back, id)
		}
	}
	if len(back) > 0 {
		m.moveReplicas(m.replicasOn(back), OnlineReplica) // what was created without them is news
	}
	if len(e.Suspects) == 0 && len(e.Broken) == 0 {
		return
	}
	m.batched(func() {
		chosen := make(map[*partition]Election)
		m.updateStates(m.partitionsWhere(func(p *partition) bool {
			if p.leadership == nil || p.state != OnlinePartition || p.leaving() {
				return false
			}
			_, ok := m.reconnect(p, *p.leadership)
			return ok
		}), update{
			decide: func(p *partition, current LeaderAndISR) (LeaderAndISR, bool) {
				e, ok := m.reconnect(p, current)
				chosen[p] = e
				return e.State, ok
			},
			done: func(p *partition) { m.sendBecome(chosen[p].Recipients, p, false) },
		})
	})
}

// reconnect chooses a leader for a partition as it is known.
func (m *Machine) reconnect(p *partition, current LeaderAndISR) (Election, bool) {
	minISR, ok := m.contact.TopicMinISR[p.tp.Topic]
	if !ok {
		minISR = m.contact.MinISR
	}
	c := m.candidate(p, current)
	return Reconnect(c, m.contact, minISR)
}

// Reconnect chooses the leader that reaches the most in-sync replicas, and leaves out of the in-sync set those that it does not reach. On equal
// terms the leader stays, then the order of the assignment decides. It returns false if nothing is to change, if the new set would
// have fewer than minISR members, if the leader is to be left alone because only the controller does not reach it, and if it is not known yet
// whether a member of the new set answers.
func Reconnect(c Candidate, e Contact, minISR int) (Election, bool) {
	leader := c.State.Leader
	suspected := func(id cluster.BrokerID) bool { return slices.Contains(e.Suspects, id) }
	unreached := func(id cluster.BrokerID) bool { return slices.Contains(e.Unreached, id) }
	if leader == cluster.NoBroker || unreached(leader) && !suspected(leader) {
		return Election{}, false
	}
	reached := func(from cluster.BrokerID) []cluster.BrokerID {
		var isr []cluster.BrokerID
		for _, id := range c.State.ISR {
			if id == from || c.Online(id) && !suspected(id) && !e.broken(from, id) {
				isr = append(isr, id)
			}
		}
		return isr
	}
	best := cluster.NoBroker
	var isr []cluster.BrokerID
	for _, id := range append([]cluster.BrokerID{leader}, c.Assignment.Replicas...) {
		if !slices.Contains(c.State.ISR, id) || !c.Online(id) || suspected(id) || unreached(id) {
			continue
		}
		if r := reached(id); len(r) > len(isr) {
			best, isr = id, r
		}
	}
	if best == cluster.NoBroker || len(isr) < max(minISR, 1) || best == leader && len(isr) == len(c.State.ISR) {
		return Election{}, false
	}
	if slices.ContainsFunc(isr, func(id cluster.BrokerID) bool { return slices.Contains(e.Late, id) }) {
		return Election{}, false
	}
	var recipients []cluster.BrokerID
	for _, id := range c.Assignment.Replicas {
		if c.Online(id) {
			recipients = append(recipients, id)
		}
	}
	return Election{State: c.next(best, isr, c.State.Recovery), Recipients: recipients}, true
}

// broken reports whether nothing passes between two brokers.
func (e Contact) broken(a, b cluster.BrokerID) bool {
	return slices.Contains(e.Broken, Link{a, b}) || slices.Contains(e.Broken, Link{b, a})
}

// suspected reports whether a broker answers to nobody.
func (m *Machine) suspected(id cluster.BrokerID) bool { return slices.Contains(m.contact.Suspects, id) }

// untold reports whether a broker does not answer to the controller, and that is not news that may change in a moment.
func (m *Machine) untold(id cluster.BrokerID) bool {
	return slices.Contains(m.contact.Unreached, id) && !slices.Contains(m.contact.Late, id)
}

// forget ends what was said of brokers whose registration has ended: the next one is another process.
func (m *Machine) forget(ids []cluster.BrokerID) {
	m.contact.Suspects = without(m.contact.Suspects, ids...)
	m.contact.Unreached = without(m.contact.Unreached, ids...)
}
