package state

import (
	"maps"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// handle builds the model and starts everything in Kafka's order (F§2.3 steps 4 to 11): brokers learn of each other, replicas
// start or leave, partitions without leader elect, deletions go on.
func (e Failover) handle(m *Machine) {
	for _, b := range e.Brokers {
		m.brokers[b.ID] = b
	}
	for _, id := range m.brokerIDs() {
		m.sender(AddSender, m.brokers[id])
	}
	for _, read := range e.Topics {
		m.learnTopic(read)
	}
	for _, t := range m.topics {
		for _, p := range t.partitions {
			if s, ok := e.States[p.tp]; ok {
				p.leadership = &s
			}
		}
	}
	var unknown []string
	for _, name := range slices.Sorted(slices.Values(e.Deletions)) {
		t, ok := m.topics[name]
		if !ok || !m.opts.DeleteTopics {
			unknown = append(unknown, name)
			continue
		}
		t.queued = true
		t.ineligible = t.reassigning() || slices.ContainsFunc(t.replicas(), func(r replica) bool { return !m.online(r.p, r.id) })
	}
	m.note(Info, "the controller takes over", "brokers", joinIDs(m.brokerIDs()), "topics", len(m.topics))
	m.dropMarkers(unknown)
	m.then(func() { m.sendMetadataToAll() })
	m.then(func() { m.returned(e.Written) })
	m.then(m.startReplicas)
	m.then(m.startPartitions)
	m.then(func() { e.Reassignments.handle(m) })
	m.resumeMoves(func(p *partition) bool { return !p.begun })
	m.then(m.continueDeletions)
	m.then(func() { e.Elections.handle(m) })
}

// returned deals with the in-sync replicas that have been started again since their partition's state was written, while nobody was controller. One that
// has only lost its session has all it had, and is none of them. They
// may have lost their tails, so they are not in sync until they have caught up, and a leader among them must not go on in its epoch: what it
// appended before and what it appends now would not be told apart (KIP-101). The same happens to a broker that bounces during a reign; if
// nobody else is in sync, the leader, or else the first of them, stays.
func (m *Machine) returned(written map[cluster.TopicPartition]cluster.BrokerEpoch) {
	remain := func(p *partition, s LeaderAndISR) []cluster.BrokerID {
		at, ok := written[p.tp]
		if !ok {
			return s.ISR
		}
		return slices.DeleteFunc(slices.Clone(s.ISR), func(id cluster.BrokerID) bool { return m.registered(id) && m.brokers[id].began() > at })
	}
	m.updateStates(m.partitionsWhere(func(p *partition) bool {
		return p.leadership != nil && !p.leaving() && len(remain(p, *p.leadership)) < len(p.leadership.ISR)
	}), update{
		decide: func(p *partition, current LeaderAndISR) (LeaderAndISR, bool) {
			next := current
			next.ISR = remain(p, current)
			switch {
			case len(next.ISR) == len(current.ISR):
				return LeaderAndISR{}, false
			case len(next.ISR) == 0 && slices.Contains(current.ISR, current.Leader):
				next.ISR = []cluster.BrokerID{current.Leader}
			case len(next.ISR) == 0:
				next.ISR = current.ISR[:1:1]
			}
			m.note(Info, "in-sync replicas have restarted while there was no controller", "partition", p.tp, "state", current, "remain", joinIDs(next.ISR))
			if !m.online(p, next.Leader) || !slices.Contains(next.ISR, next.Leader) {
				if e, ok := Elect(ElectOffline, m.candidate(p, next)); ok {
					return e.State, true
				}
				next.Leader = cluster.NoBroker
			}
			next.LeaderEpoch++
			return next, true
		},
		done: func(*partition) {}, // the roles are given out next
	})
}

// startReplicas gives every replica its first state and starts, or takes out of the ISRs, those that can, or cannot, serve.
func (m *Machine) startReplicas() {
	var online, offline []replica
	for _, t := range m.sortedTopics() {
		for _, r := range t.replicas() {
			if m.online(r.p, r.id) {
				r.set(OnlineReplica)
				online = append(online, r)
			} else {
				// Ineligible so that a deletion in progress waits for it; any other way on goes through Offline.
				r.set(ReplicaDeletionIneligible)
				offline = append(offline, r)
			}
		}
	}
	m.moveReplicas(online, OnlineReplica)
	m.moveReplicas(offline, OfflineReplica)
}

// startPartitions gives every partition its first state and tries to elect where there is no leader.
func (m *Machine) startPartitions() {
	for _, t := range m.topics {
		for _, p := range t.partitions {
			switch {
			case p.leadership == nil:
				p.state = NewPartition
			case m.led(p):
				p.state = OnlinePartition
			default:
				p.state = OfflinePartition
			}
		}
	}
	m.tryOnline(nil)
}

// HasTopic reports whether the topic is known.
func (m *Machine) HasTopic(name string) bool {
	_, ok := m.topics[name]
	return ok
}

// Topics returns the names of all known topics, sorted.
func (m *Machine) Topics() []string { return slices.Sorted(maps.Keys(m.topics)) }

// IsDeleting reports whether the deletion of the topic was asked for and is not complete.
func (m *Machine) IsDeleting(name string) bool {
	t, ok := m.topics[name]
	return ok && t.queued
}

// Brokers returns the registered brokers by id.
func (m *Machine) Brokers() []Broker { return m.brokerList() }

// Partitions returns all known partitions, by topic and number, with their assignments and, where there is one, their state.
func (m *Machine) Partitions() []PartitionInfo {
	var out []PartitionInfo
	for _, p := range m.partitionsWhere(func(*partition) bool { return true }) {
		info := PartitionInfo{Partition: p.tp, Assignment: p.assignment, State: p.state, Replicas: maps.Clone(p.replicas)}
		if p.leadership != nil {
			info.Leadership, info.HasLeadership = *p.leadership, true
		}
		out = append(out, info)
	}
	return out
}

// PartitionInfo describes one partition.
type PartitionInfo struct {
	// Partition names it.
	Partition cluster.TopicPartition
	// Assignment holds its replicas.
	Assignment Assignment
	// State is where it stands.
	State PartitionState
	// Leadership is its state znode, if HasLeadership.
	Leadership LeaderAndISR
	// HasLeadership is false before the first leader.
	HasLeadership bool
	// Replicas holds the states of its replicas.
	Replicas map[cluster.BrokerID]ReplicaState
}

// Counts are numbers for gauges.
type Counts struct {
	// Brokers counts the registered brokers.
	Brokers int
	// Topics counts the topics.
	Topics int
	// Partitions counts the partitions.
	Partitions int
	// Offline counts the partitions that have no online leader and are not being deleted.
	Offline int
	// Unpreferred counts the partitions whose leader is not their preferred replica and that are not being deleted.
	Unpreferred int
	// Deleting counts the topics whose deletion was asked for.
	Deleting int
	// Ineligible counts the topics whose deletion has to wait.
	Ineligible int
}

// Counts computes the numbers by looking at every partition.
func (m *Machine) Counts() Counts {
	c := Counts{Brokers: len(m.brokers), Topics: len(m.topics)}
	for _, t := range m.topics {
		c.Partitions += len(t.partitions)
		if t.queued {
			c.Deleting++
			if t.ineligible {
				c.Ineligible++
			}
			continue
		}
		for _, p := range t.partitions {
			if !m.led(p) {
				c.Offline++
			}
			if p.leadership == nil || len(p.assignment.Replicas) == 0 || p.leadership.Leader != p.assignment.Replicas[0] {
				c.Unpreferred++
			}
		}
	}
	return c
}
