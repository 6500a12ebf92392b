package state

import (
	"maps"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// handle compares what is registered with what was, by id and epoch: a broker that came back between two looks has the same id
// and a higher epoch (F§2.6, KAFKA-1120). New brokers start, bounced ones fail and start, dead ones fail, in this order.
func (e BrokerChange) handle(m *Machine) {
	now := make(map[cluster.BrokerID]Broker, len(e.Brokers))
	for _, b := range e.Brokers {
		now[b.ID] = b
	}
	var added, bounced, dead []cluster.BrokerID
	for _, id := range slices.Sorted(maps.Keys(now)) {
		switch known, ok := m.brokers[id]; {
		case !ok:
			added = append(added, id)
			m.sender(AddSender, now[id])
		case now[id].Epoch > known.Epoch:
			bounced = append(bounced, id)
			m.gone[id] = struct{}{}
			m.sender(RemoveSender, known)
			m.sender(AddSender, now[id])
		}
	}
	for _, id := range m.brokerIDs() {
		if _, ok := now[id]; !ok {
			dead = append(dead, id)
			m.gone[id] = struct{}{}
			m.sender(RemoveSender, m.brokers[id])
		}
	}
	if len(added)+len(bounced)+len(dead) > 0 {
		m.note(Info, "brokers have changed", "new", joinIDs(added), "bounced", joinIDs(bounced), "dead", joinIDs(dead))
	}
	up := func(ids []cluster.BrokerID) {
		for _, id := range ids {
			m.brokers[id] = now[id]
		}
		m.brokersStarted(ids)
	}
	down := func(ids []cluster.BrokerID) {
		for _, id := range ids {
			delete(m.brokers, id)
			delete(m.gone, id)
		}
		m.forget(ids)
		m.brokersFailed(ids)
	}
	if len(added) > 0 {
		m.then(func() { up(added) })
	}
	if len(bounced) > 0 {
		m.then(func() { down(bounced) })
		m.then(func() { up(bounced) })
	}
	if len(dead) > 0 {
		m.then(func() { down(dead) })
	}
	for _, b := range e.Brokers {
		m.then(func() { BrokerModified{Broker: b}.handle(m) })
	}
}

// handle tells everybody about new addresses.
func (e BrokerModified) handle(m *Machine) {
	known, ok := m.brokers[e.Broker.ID]
	if !ok || known.Epoch != e.Broker.Epoch || known.sameAddress(e.Broker) {
		return
	}
	m.brokers[e.Broker.ID] = e.Broker
	m.sender(MoveSender, e.Broker)
	m.note(Info, "a broker has changed its addresses", "broker", e.Broker.ID)
	m.sendMetadataToAll()
}

// brokersStarted deals with brokers that registered (onBrokerStartup): the others hear of them, they hear of everything, their
// replicas start, and what waited for them is tried again. They are in m.brokers already.
func (m *Machine) brokersStarted(ids []cluster.BrokerID) {
	for _, t := range m.topics {
		for _, p := range t.partitions {
			for _, id := range ids {
				delete(p.failedDirs, id)
			}
		}
	}
	m.then(func() { m.sendMetadata(without(m.brokerIDs(), ids...)) })
	m.then(func() {
		m.sendMetadata(ids, m.partitionsWhere(func(p *partition) bool { return p.leadership != nil && !p.topic.queued })...)
	})
	rs := m.replicasOn(ids)
	m.moveReplicas(rs, OnlineReplica)
	m.tryOnline(nil)
	m.resumeMoves(func(p *partition) bool {
		return slices.ContainsFunc(p.assignment.Target(), func(id cluster.BrokerID) bool { return slices.Contains(ids, id) })
	})
	m.then(func() { m.resumeDeletion(topicsOf(rs)) })
}

// brokersFailed deals with brokers whose registration ended (onBrokerFailure). They are no longer in m.brokers.
func (m *Machine) brokersFailed(ids []cluster.BrokerID) {
	for _, id := range ids {
		delete(m.shuttingDown, id)
	}
	for _, t := range m.topics {
		for _, p := range t.partitions {
			for _, id := range ids {
				delete(p.failedDirs, id)
			}
		}
	}
	m.replicasFailed(m.replicasOn(ids))
}

// replicasFailed deals with replicas that cannot serve any longer, because of their broker or their disk: partitions that they
// led get another leader, then they leave the ISRs (onReplicasBecomeOffline).
func (m *Machine) replicasFailed(rs []replica) {
	var deleting, others []replica
	for _, r := range rs {
		if r.p.leaving() {
			deleting = append(deleting, r)
		} else {
			others = append(others, r)
		}
	}
	t := new(tally)
	m.movePartitions(m.partitionsWhere(func(p *partition) bool {
		return p.leadership != nil && !m.led(p) && !p.leaving()
	}), OfflinePartition, 0, nil)
	m.tryOnline(t)
	m.moveReplicas(others, OfflineReplica)
	if len(deleting) > 0 {
		m.then(func() { m.failDeletion(deleting) })
	}
	m.then(func() {
		if len(others) == 0 && t.elected == 0 {
			m.sendMetadataToAll() // nothing else has told the brokers who is gone
		}
	})
}

// handle finds out which replicas a failed log directory took along: each broker is sent its roles again and answers
// KAFKA_STORAGE_ERROR for those it lost.
func (e LogDirFailure) handle(m *Machine) {
	m.moveReplicas(m.replicasOn(e.Brokers), OnlineReplica)
}

// handle notes which replicas are on failed log directories and deals with those that were not before. A leader whose log is of a later epoch than
// ZooKeeper knows cannot begin to lead; it gets a later one.
func (e BecomeResponse) handle(m *Machine) {
	b, ok := m.brokers[e.Broker]
	if !ok || b.Epoch != e.BrokerEpoch {
		return
	}
	if e.Code != kerr.None {
		m.note(Error, "a broker refused LeaderAndIsr", "broker", e.Broker, "error", e.Code.Name())
		return
	}
	var failed []replica
	var fenced []*partition
	for _, pe := range e.Partitions {
		p, ok := m.partition(pe.Partition)
		if !ok || !slices.Contains(p.assignment.Replicas, e.Broker) {
			continue // what is said of a replica that was taken away since must not hold up a deletion
		}
		leads := p.leadership != nil && p.leadership.Leader == e.Broker
		switch pe.Code {
		case kerr.None:
			delete(p.failedDirs, e.Broker)
			if leads {
				p.fenced = 0
			}
		case kerr.FencedLeaderEpoch:
			if leads {
				fenced = append(fenced, p)
			}
		case kerr.KafkaStorageError:
			if _, known := p.failedDirs[e.Broker]; !known {
				if p.failedDirs == nil {
					p.failedDirs = make(map[cluster.BrokerID]struct{})
				}
				p.failedDirs[e.Broker] = struct{}{}
				failed = append(failed, replica{p, e.Broker})
			}
		case kerr.StaleControllerEpoch: // an order that was repeated
		default:
			m.note(Warn, "a broker refused its role in a partition", "partition", p.tp, "broker", e.Broker, "error", pe.Code.Name())
		}
	}
	if len(failed) > 0 {
		m.note(Warn, "replicas are on failed log directories", "broker", e.Broker, "replicas", len(failed))
		m.replicasFailed(failed)
	}
	m.overtake(fenced)
}

// overtake raises the leader epochs of partitions whose leaders' logs are of later ones, which happens after ZooKeeper was restored from a backup. How
// much later is not known: each step is twice as large as the one before.
func (m *Machine) overtake(ps []*partition) {
	for _, p := range ps {
		m.note(Error, "the leader's log is of a later epoch than ZooKeeper knows, which has lost what it knew; the leader epoch is raised", "partition", p.tp, "state", *p.leadership)
	}
	m.batched(func() {
		m.updateStates(ps, update{
			decide: func(p *partition, current LeaderAndISR) (LeaderAndISR, bool) {
				current.LeaderEpoch += 1 << min(p.fenced, 30)
				return current, true
			},
			done: func(p *partition) {
				p.fenced++
				m.sendBecome(p.assignment.Replicas, p, false)
			},
		})
	})
}

// handle counts from the next election on.
func (UncleanElectionDisabled) handle(m *Machine) { m.opts.UncleanElection = false }

// handle tries again to elect where there is no leader.
func (e UncleanElectionEnabled) handle(m *Machine) {
	if e.Topic == "" {
		m.opts.UncleanElection = true
		m.tryOnline(nil)
		return
	}
	m.movePartitions(m.partitionsWhere(func(p *partition) bool {
		return p.tp.Topic == e.Topic && (p.state == OfflinePartition || p.state == NewPartition) && !p.leaving()
	}), OnlinePartition, ElectOffline, nil)
}

// topicsOf returns the topics that replicas belong to, by name.
func topicsOf(rs []replica) []*topic {
	var out []*topic
	seen := make(map[*topic]bool)
	for _, r := range rs {
		if !seen[r.p.topic] {
			seen[r.p.topic] = true
			out = append(out, r.p.topic)
		}
	}
	slices.SortFunc(out, func(a, b *topic) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out
}
