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
	// Stalled holds the brokers that say that their own disk stalls. They are sent orders too, but cannot append: they are neither elected nor kept in sync where
	// enough others are.
	Stalled []cluster.BrokerID
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
	e.Stalled = slices.DeleteFunc(slices.Clone(e.Stalled), unregistered)
	e.Unreached = slices.DeleteFunc(slices.Clone(e.Unreached), unregistered)
	before := m.contact
	m.contact = e
	m.noteChange(before.Suspects, e.Suspects, "a broker does not answer, its leaderships move", "a broker answers again")
	m.noteChange(before.Stalled, e.Stalled, "a broker says that its disk stalls, its leaderships move", "a broker's disk does not stall any more")
	var back []cluster.BrokerID
	for _, id := range before.avoided() {
		if !e.avoids(id) {
			back = append(back, id)
		}
	}
	if len(back) > 0 {
		m.moveReplicas(m.replicasOn(back), OnlineReplica) // what was created without them is news
	}
	if len(e.avoided()) == 0 && len(e.Broken) == 0 {
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

// noteChange notes which brokers are new in a list, and which are not in it any more.
func (m *Machine) noteChange(before, now []cluster.BrokerID, came, left string) {
	for _, id := range now {
		if !slices.Contains(before, id) {
			m.note(Warn, came, "broker", id)
		}
	}
	for _, id := range before {
		if !slices.Contains(now, id) {
			m.note(Info, left, "broker", id)
		}
	}
}

// avoids reports whether a broker is to lead nothing if others can, because it is suspected or stalls.
func (e Contact) avoids(id cluster.BrokerID) bool {
	return slices.Contains(e.Suspects, id) || slices.Contains(e.Stalled, id)
}

// avoided returns the brokers that are to lead nothing if others can, in order.
func (e Contact) avoided() []cluster.BrokerID {
	all := slices.Concat(e.Suspects, e.Stalled)
	slices.Sort(all)
	return slices.Compact(all)
}

// minISR returns min.insync.replicas of a topic.
func (e Contact) minISR(topic string) int {
	if n, ok := e.TopicMinISR[topic]; ok {
		return max(n, 1)
	}
	return max(e.MinISR, 1)
}

// reconnect chooses a leader for a partition as it is known.
func (m *Machine) reconnect(p *partition, current LeaderAndISR) (Election, bool) {
	return Reconnect(m.candidate(p, current), m.contact, m.contact.minISR(p.tp.Topic))
}

// Reconnect chooses the leader that reaches the most in-sync replicas, and leaves out of the in-sync set those that it does not reach. On equal
// terms the leader stays, then the order of the assignment decides. Brokers that are suspected or stall neither lead nor stay in sync. It returns false if nothing is to change, if the new set would
// have fewer than minISR members, if the leader is to be left alone because only the controller does not reach it, and if it is not known yet
// whether a member of the new set answers.
func Reconnect(c Candidate, e Contact, minISR int) (Election, bool) {
	leader := c.State.Leader
	unreached := func(id cluster.BrokerID) bool { return slices.Contains(e.Unreached, id) }
	if leader == cluster.NoBroker || unreached(leader) && !e.avoids(leader) {
		return Election{}, false
	}
	reached := func(from cluster.BrokerID) []cluster.BrokerID {
		var isr []cluster.BrokerID
		for _, id := range c.State.ISR {
			if id == from || c.Online(id) && !e.avoids(id) && !e.broken(from, id) {
				isr = append(isr, id)
			}
		}
		return isr
	}
	best := cluster.NoBroker
	var isr []cluster.BrokerID
	for _, id := range append([]cluster.BrokerID{leader}, c.Assignment.Replicas...) {
		if !slices.Contains(c.State.ISR, id) || !c.Online(id) || e.avoids(id) || unreached(id) {
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

// avoided reports whether a broker is to lead nothing if others can.
func (m *Machine) avoided(id cluster.BrokerID) bool { return m.contact.avoids(id) }

// untold reports whether a broker does not answer to the controller, and that is not news that may change in a moment.
func (m *Machine) untold(id cluster.BrokerID) bool {
	return slices.Contains(m.contact.Unreached, id) && !slices.Contains(m.contact.Late, id)
}

// forget ends what was said of brokers whose registration has ended: the next one is another process.
func (m *Machine) forget(ids []cluster.BrokerID) {
	m.contact.Suspects = without(m.contact.Suspects, ids...)
	m.contact.Stalled = without(m.contact.Stalled, ids...)
	m.contact.Unreached = without(m.contact.Unreached, ids...)
}
