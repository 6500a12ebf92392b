package state

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// PartitionState is where a partition stands in its life (F§2.5). Numbers are those of Kafka's metrics.
//
//	NonExistent ──created──▶ New ──first leader──▶ Online ◀──elected── Offline
//	     ▲                    │                      │                  ▲ │
//	     │                    └──────leader lost─────┴──────────────────┘ │
//	     └───────────────────────────deleted──────────────────────────────┘
//
// Online to Online is an election while the leader lives. New without a live replica stays New and is tried again whenever a
// broker comes.
type PartitionState uint8

// The states of a partition.
const (
	// NewPartition was created and never had a leader.
	NewPartition PartitionState = 0
	// OnlinePartition has a leader.
	OnlinePartition PartitionState = 1
	// OfflinePartition had a leader and lost it.
	OfflinePartition PartitionState = 2
	// NonExistentPartition is not created yet, or deleted.
	NonExistentPartition PartitionState = 3
)

// PartitionStates holds all states.
var PartitionStates = [...]PartitionState{NewPartition, OnlinePartition, OfflinePartition, NonExistentPartition}

// partitionMoves lists for each target the states that it may follow.
var partitionMoves = [...][]PartitionState{
	NewPartition:         {NonExistentPartition},
	OnlinePartition:      {NewPartition, OnlinePartition, OfflinePartition},
	OfflinePartition:     {NewPartition, OnlinePartition, OfflinePartition},
	NonExistentPartition: {OfflinePartition},
}

// String returns Kafka's name of the state.
func (s PartitionState) String() string {
	names := [...]string{"NewPartition", "OnlinePartition", "OfflinePartition", "NonExistentPartition"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("PartitionState(%d)", uint8(s))
}

// CanBecome reports whether the transition from s to target is allowed.
func (s PartitionState) CanBecome(target PartitionState) bool {
	return int(target) < len(partitionMoves) && slices.Contains(partitionMoves[target], s)
}

// tally counts what a transition to Online achieved.
type tally struct {
	elected int // partitions that got a leader or a new leader epoch
}

// movePartitions makes those of the partitions transition that may; the others are noted and left alone. A transition to Online
// initialises partitions that are new and elects for the others with the strategy; one that fails leaves the partition as it
// was. t may be nil.
func (m *Machine) movePartitions(ps []*partition, target PartitionState, s Strategy, t *tally) {
	if t == nil {
		t = new(tally)
	}
	m.batched(func() {
		var fresh, elect []*partition
		for _, p := range ps {
			switch {
			case !p.state.CanBecome(target):
				m.note(Error, "the partition cannot make this transition", "partition", p.tp, "from", p.state, "to", target)
			case target != OnlinePartition:
				p.state = target
			case p.state == NewPartition:
				fresh = append(fresh, p)
			default:
				elect = append(elect, p)
			}
		}
		if len(fresh) > 0 {
			m.initialise(fresh, t, 1)
		}
		if len(elect) > 0 {
			m.elect(elect, s, t)
		}
	})
}

// tryOnline schedules elections for all partitions that are offline or new, except those whose topic is to be deleted.
func (m *Machine) tryOnline(t *tally) {
	m.then(func() {
		m.movePartitions(m.partitionsWhere(func(p *partition) bool {
			return (p.state == OfflinePartition || p.state == NewPartition) && !p.leaving()
		}), OnlinePartition, ElectOffline, t)
	})
}

// initialise gives new partitions their first leader: the first assigned replica that is online and can be told; all that are online are in
// sync. The state must not exist.
func (m *Machine) initialise(ps []*partition, t *tally, attempt int) {
	var written []*partition
	m.commit(func() []Op {
		var ops []Op
		for _, p := range ps {
			online := m.onlineReplicas(p)
			if answering := without(online, m.contact.avoided()...); len(answering) > 0 {
				online = answering // the others hear of it when they answer again
			}
			if len(online) == 0 {
				m.note(Warn, "none of the partition's replicas is online, it stays without leader", "partition", p.tp, "replicas", joinIDs(p.assignment.Replicas))
				continue
			}
			written = append(written, p)
			ops = append(ops, Op{Kind: CreateState, Partition: p.tp, State: LeaderAndISR{
				Leader: m.candidate(p, LeaderAndISR{}).answeringFirst(online)[0], ISR: online, ControllerEpoch: m.opts.Epoch,
			}})
		}
		return ops
	}, func(ops []Op, results []Result) {
		var unsure []pending
		for i, r := range results {
			switch r.Outcome {
			case Done:
				m.initialised(written[i], ops[i].State, r.Version, t)
			case NodeExists, Unknown:
				unsure = append(unsure, pending{written[i], ops[i]})
			default:
				m.note(Error, "could not create the partition's state", "partition", ops[i].Partition, "outcome", r)
			}
		}
		m.adopt(unsure, t, attempt)
	})
}

// initialised brings a partition online whose first state is written.
func (m *Machine) initialised(p *partition, s LeaderAndISR, version cluster.PartitionEpoch, t *tally) {
	s.PartitionEpoch = version
	m.learn(p, s)
	p.state = OnlinePartition
	t.elected++
	m.sendBecome(s.ISR, p, true)
}

// adopt reads the states of new partitions whose creation was refused because there is one, or whose reply was lost. A state
// that is just what was to be written is this controller's own; another one is taken over like at a failover. If there is
// none, it is created anew.
func (m *Machine) adopt(unsure []pending, t *tally, attempt int) {
	if len(unsure) == 0 {
		return
	}
	m.commit(func() []Op {
		ops := make([]Op, len(unsure))
		for i, w := range unsure {
			ops[i] = Op{Kind: ReadState, Partition: w.p.tp}
		}
		return ops
	}, func(_ []Op, results []Result) {
		var elect, again []*partition
		for i, r := range results {
			w := unsure[i]
			switch {
			case r.Outcome == NoNode && attempt < maxAttempts:
				again = append(again, w.p)
			case r.Outcome != Done:
				m.note(Error, "could not read the partition's state", "partition", w.p.tp, "outcome", r)
			case r.State.Same(w.op.State):
				m.initialised(w.p, w.op.State, r.State.PartitionEpoch, t)
			default:
				m.note(Warn, "a new partition has a state already", "partition", w.p.tp, "state", r.State)
				m.learn(w.p, r.State)
				w.p.state = OfflinePartition
				elect = append(elect, w.p)
			}
		}
		if len(again) > 0 {
			m.initialise(again, t, attempt+1)
		}
		if len(elect) > 0 {
			m.elect(elect, ElectOffline, t)
		}
	})
}

// elect schedules an election for each of the partitions. For those that have no live replica in sync the topic's
// configuration is read first: it may allow an unclean election.
func (m *Machine) elect(ps []*partition, s Strategy, t *tally) {
	unclean := make(map[string]bool) // topics whose setting is known
	failed := make(map[string]bool)  // topics whose setting could not be read
	if s == ElectOffline {
		m.readUnclean(ps, unclean, failed)
	}
	recipients := make(map[*partition]Election)
	m.updateStates(ps, update{
		decide: func(p *partition, current LeaderAndISR) (LeaderAndISR, bool) {
			c := m.candidate(p, current)
			c.Unclean = unclean[p.tp.Topic]
			e, ok := Elect(s, c)
			if !ok {
				m.note(Error, "no leader can be elected", "partition", p.tp, "strategy", s, "state", current, "online", joinIDs(m.onlineReplicas(p)),
					"config-unreadable", failed[p.tp.Topic])
				return LeaderAndISR{}, false
			}
			recipients[p] = e
			return e.State, true
		},
		done: func(p *partition) {
			e := recipients[p]
			if e.Unclean {
				m.note(Warn, "unclean leader election, records may be lost", "partition", p.tp, "leader", e.State.Leader)
			}
			p.state = OnlinePartition
			t.elected++
			m.sendBecome(e.Recipients, p, false)
		},
	})
}

// candidate describes a partition to an election.
func (m *Machine) candidate(p *partition, current LeaderAndISR) Candidate {
	return Candidate{
		Assignment: p.assignment,
		State:      current,
		Online:     func(id cluster.BrokerID) bool { return m.online(p, id) },
		Suspected:  m.avoided,
		Untold:     m.untold,
		ShuttingDown: func(id cluster.BrokerID) bool {
			_, ok := m.shuttingDown[id]
			return ok
		},
	}
}

// readUnclean schedules reading unclean.leader.election.enable for the topics where it decides.
func (m *Machine) readUnclean(ps []*partition, unclean, failed map[string]bool) {
	m.commit(func() []Op {
		topics := make(map[string]struct{})
		for _, p := range ps {
			online := m.onlineReplicas(p)
			inSync := p.leadership != nil && slices.ContainsFunc(online, func(id cluster.BrokerID) bool { return slices.Contains(p.leadership.ISR, id) })
			if len(online) > 0 && !inSync {
				topics[p.tp.Topic] = struct{}{}
			}
		}
		var ops []Op
		for _, name := range slices.Sorted(maps.Keys(topics)) {
			ops = append(ops, Op{Kind: ReadTopicConfig, Partition: cluster.TopicPartition{Topic: name}})
		}
		return ops
	}, func(ops []Op, results []Result) {
		for i, r := range results {
			name := ops[i].Partition.Topic
			switch value := r.Config["unclean.leader.election.enable"]; {
			case r.Outcome != Done && r.Outcome != NoNode:
				failed[name] = true
				m.note(Error, "could not read the topic's configuration", "topic", name, "outcome", r)
			case value == "true":
				unclean[name] = true
			case value == "":
				unclean[name] = m.opts.UncleanElection
			}
		}
	})
}
