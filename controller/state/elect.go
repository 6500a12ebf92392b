package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// ElectLeaders asks for elections by hand (F§2.9, KIP-460). Its reply is an [ElectReply].
type ElectLeaders struct {
	// Unclean elects a replica that is out of sync where there is no leader; false gives leadership back to preferred replicas.
	Unclean bool
	// All asks for all partitions; Partitions is then ignored, and partitions that need no election are not in the reply.
	All bool
	// Partitions names the partitions.
	Partitions []cluster.TopicPartition
}

// ElectReply answers [ElectLeaders].
type ElectReply struct {
	// Partitions holds the answers in the order of the request, or by topic and number.
	Partitions []ElectResult
}

// ElectResult answers for one partition.
type ElectResult struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Code is [kerr.None] or the reason why there was no election.
	Code kerr.Code
	// Leader is the leader that was elected, when Code is none.
	Leader cluster.BrokerID
}

// ElectionsRequested says what /admin/preferred_replica_election holds: elections of preferred replicas, as old tools ask for them. The
// node is deleted when they are done.
type ElectionsRequested struct {
	// Exists is false when there is no such node.
	Exists bool
	// Partitions names the partitions; empty when the node could not be understood.
	Partitions []cluster.TopicPartition
}

// handle elects and deletes the node.
func (e ElectionsRequested) handle(m *Machine) {
	if !e.Exists {
		return
	}
	m.electLeaders(ElectLeaders{Partitions: e.Partitions}, func(reply ElectReply) {
		for _, r := range reply.Partitions {
			if r.Code != kerr.None && r.Code != kerr.ElectionNotNeeded {
				m.note(Warn, "a preferred election that is asked for in ZooKeeper cannot be done", "partition", r.Partition, "error", r.Code.Name())
			}
		}
	})
	m.commit(func() []Op { return []Op{{Kind: DeletePreferredElection}} }, func(_ []Op, results []Result) {
		if r := results[0]; r.Outcome != Done && r.Outcome != NoNode {
			m.note(Error, "could not remove the request for preferred elections", "outcome", r)
		}
	})
}

// handle elects where an election is needed.
func (e ElectLeaders) handle(m *Machine) {
	m.electLeaders(e, func(reply ElectReply) { m.out.Reply = reply })
}

// electLeaders schedules the elections that are needed, and done with what came of all that was asked.
func (m *Machine) electLeaders(e ElectLeaders, done func(ElectReply)) {
	tps := e.Partitions
	if e.All {
		tps = nil
		for _, p := range m.partitionsWhere(func(p *partition) bool { return !p.topic.queued }) {
			tps = append(tps, p.tp)
		}
	}
	strategy, unavailable := ElectPreferred, kerr.PreferredLeaderNotAvailable
	if e.Unclean {
		strategy, unavailable = ElectUnclean, kerr.EligibleLeadersNotAvailable
	}
	var elect []*partition
	var results []ElectResult
	before := make(map[*partition]cluster.LeaderEpoch)
	for _, tp := range tps {
		p, code := m.checkElect(tp, e.Unclean)
		if e.All && code == kerr.ElectionNotNeeded {
			continue
		}
		results = append(results, ElectResult{Partition: tp, Code: code, Leader: cluster.NoBroker})
		if _, twice := before[p]; code == kerr.None && !twice {
			elect = append(elect, p)
			before[p] = epochOf(p)
		}
	}
	m.movePartitions(elect, OnlinePartition, strategy, nil)
	m.then(func() {
		for i := range results {
			p, ok := m.partition(results[i].Partition)
			if results[i].Code != kerr.None || !ok {
				continue
			}
			if epochOf(p) == before[p] {
				results[i].Code = unavailable
				continue
			}
			results[i].Leader = p.leadership.Leader
		}
		done(ElectReply{Partitions: results})
	})
}

// epochOf returns the leader epoch of a partition, that of no leader before the first.
func epochOf(p *partition) cluster.LeaderEpoch {
	if p.leadership == nil {
		return cluster.NoLeaderEpoch
	}
	return p.leadership.LeaderEpoch
}

// checkElect says whether a partition needs an election.
func (m *Machine) checkElect(tp cluster.TopicPartition, unclean bool) (*partition, kerr.Code) {
	p, ok := m.partition(tp)
	switch {
	case !ok:
		return nil, kerr.UnknownTopicOrPartition
	case p.topic.queued:
		return p, kerr.InvalidTopicException
	case unclean:
		if p.leadership != nil && m.live(p.leadership.Leader) && !p.misled() {
			return p, kerr.ElectionNotNeeded
		}
		return p, kerr.None
	case p.leadership == nil || len(p.assignment.Replicas) == 0:
		return p, kerr.PreferredLeaderNotAvailable
	case p.leadership.Leader == p.assignment.Replicas[0]:
		return p, kerr.ElectionNotNeeded
	case !m.preferable(p):
		return p, kerr.PreferredLeaderNotAvailable
	}
	return p, kerr.None
}

// preferable reports whether the preferred replica of a partition could lead it.
func (m *Machine) preferable(p *partition) bool {
	head := p.assignment.Replicas[0]
	return m.online(p, head) && !m.avoided(head) && !m.untold(head) && slices.Contains(p.leadership.ISR, head)
}

// Rebalance gives leadership back to preferred replicas, broker by broker, where too much of it has moved away (F§2.9).
type Rebalance struct {
	// Percentage is leader.imbalance.per.broker.percentage: brokers that miss more than this share of the partitions that prefer
	// them get them back.
	Percentage int
}

// handle looks at each broker.
func (e Rebalance) handle(m *Machine) {
	preferring := make(map[cluster.BrokerID][]*partition)
	for _, p := range m.partitionsWhere(func(p *partition) bool { return !p.topic.queued && len(p.assignment.Replicas) > 0 }) {
		head := p.assignment.Replicas[0]
		preferring[head] = append(preferring[head], p)
	}
	for _, id := range m.brokerIDs() {
		var away []*partition
		for _, p := range preferring[id] {
			if p.leadership != nil && p.leadership.Leader != id {
				away = append(away, p)
			}
		}
		if len(away)*100 <= e.Percentage*len(preferring[id]) {
			continue
		}
		back := slices.DeleteFunc(away, func(p *partition) bool { return p.assignment.Reassigning() || !m.preferable(p) })
		if len(back) > 0 {
			m.note(Info, "preferred leaders are elected", "broker", id, "partitions", len(back))
			m.movePartitions(back, OnlinePartition, ElectPreferred, nil)
		}
	}
}

// ControlledShutdown says that a broker wants to stop: leadership is to move away from it before it does (F§2.11). Its reply is a
// [ShutdownReply].
type ControlledShutdown struct {
	// Broker is the broker that wants to stop.
	Broker cluster.BrokerID
	// BrokerEpoch is its registration, [cluster.NoBrokerEpoch] when unknown.
	BrokerEpoch cluster.BrokerEpoch
}

// ShutdownReply answers [ControlledShutdown].
type ShutdownReply struct {
	// Code is none, STALE_BROKER_EPOCH or BROKER_NOT_AVAILABLE.
	Code kerr.Code
	// Remaining holds the partitions with several replicas that the broker still leads; it asks again while there are any.
	Remaining []cluster.TopicPartition
}

// handle moves what the broker leads to others and takes it out of the ISRs of what it follows. From now on it counts as not live,
// until its registration ends.
func (e ControlledShutdown) handle(m *Machine) {
	b, ok := m.brokers[e.Broker]
	switch {
	case !ok:
		m.out.Reply = ShutdownReply{Code: kerr.BrokerNotAvailable}
		return
	case e.BrokerEpoch != cluster.NoBrokerEpoch && e.BrokerEpoch < b.Epoch:
		m.out.Reply = ShutdownReply{Code: kerr.StaleBrokerEpoch}
		return
	}
	m.note(Info, "a broker shuts down", "broker", e.Broker)
	m.shuttingDown[e.Broker] = struct{}{}
	var led []*partition
	var followed []replica
	for _, r := range m.replicasOn([]cluster.BrokerID{e.Broker}) {
		switch p := r.p; {
		case len(p.assignment.Replicas) < 2 || p.leadership == nil || p.leaving():
		case p.leadership.Leader == e.Broker:
			led = append(led, p)
		default:
			followed = append(followed, r)
		}
	}
	m.movePartitions(led, OnlinePartition, ElectShutdown, nil)
	m.then(func() {
		for _, r := range followed {
			m.sendStop(r, false)
		}
	})
	m.moveReplicas(followed, OfflineReplica)
	m.then(func() {
		reply := ShutdownReply{}
		for _, p := range m.partitionsWhere(func(p *partition) bool {
			return p.leadership != nil && p.leadership.Leader == e.Broker && len(p.assignment.Replicas) > 1
		}) {
			reply.Remaining = append(reply.Remaining, p.tp)
		}
		m.out.Reply = reply
	})
}
