package state

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// ReplicaState is where one replica of a partition stands in its life (F§2.5). Numbers are those of Kafka's metrics.
//
//	NonExistent ──created──▶ New ──▶ Online ◀──broker back──┐
//	     ▲                    │        │                    │
//	     │                    └─lost─▶ Offline ◀──retry── DeletionIneligible
//	     │                             │                    ▲
//	     │                             └─stopped─▶ DeletionStarted ──failed, dead──┘ (also from Offline)
//	     │                                             │
//	     └────────────topic done──── DeletionSuccessful ◀──deleted
type ReplicaState uint8

// The states of a replica.
const (
	// NewReplica was assigned and not started yet.
	NewReplica ReplicaState = 1
	// OnlineReplica was started; its broker leads or follows.
	OnlineReplica ReplicaState = 2
	// OfflineReplica was stopped, or its broker died.
	OfflineReplica ReplicaState = 3
	// ReplicaDeletionStarted was told to delete its log.
	ReplicaDeletionStarted ReplicaState = 4
	// ReplicaDeletionSuccessful has deleted its log.
	ReplicaDeletionSuccessful ReplicaState = 5
	// ReplicaDeletionIneligible cannot delete its log now: its broker is dead or answered with an error.
	ReplicaDeletionIneligible ReplicaState = 6
	// NonExistentReplica is not assigned, or gone.
	NonExistentReplica ReplicaState = 7
)

// ReplicaStates holds all states.
var ReplicaStates = [...]ReplicaState{
	NewReplica, OnlineReplica, OfflineReplica, ReplicaDeletionStarted, ReplicaDeletionSuccessful, ReplicaDeletionIneligible, NonExistentReplica,
}

// replicaMoves lists for each target the states that it may follow.
var replicaMoves = [...][]ReplicaState{
	NewReplica:                {NonExistentReplica},
	OnlineReplica:             {NewReplica, OnlineReplica, OfflineReplica, ReplicaDeletionIneligible},
	OfflineReplica:            {NewReplica, OnlineReplica, OfflineReplica, ReplicaDeletionIneligible},
	ReplicaDeletionStarted:    {OfflineReplica},
	ReplicaDeletionSuccessful: {ReplicaDeletionStarted},
	ReplicaDeletionIneligible: {OfflineReplica, ReplicaDeletionStarted},
	NonExistentReplica:        {ReplicaDeletionSuccessful},
}

// String returns Kafka's name of the state.
func (s ReplicaState) String() string {
	names := [...]string{
		NewReplica: "NewReplica", OnlineReplica: "OnlineReplica", OfflineReplica: "OfflineReplica",
		ReplicaDeletionStarted: "ReplicaDeletionStarted", ReplicaDeletionSuccessful: "ReplicaDeletionSuccessful",
		ReplicaDeletionIneligible: "ReplicaDeletionIneligible", NonExistentReplica: "NonExistentReplica",
	}
	if int(s) < len(names) && names[s] != "" {
		return names[s]
	}
	return fmt.Sprintf("ReplicaState(%d)", uint8(s))
}

// CanBecome reports whether the transition from s to target is allowed.
func (s ReplicaState) CanBecome(target ReplicaState) bool {
	return int(target) < len(replicaMoves) && slices.Contains(replicaMoves[target], s)
}

// moveReplicas makes those of the replicas transition that may; the others are noted and left alone. Brokers are dealt with one
// after the other, as each may change the ISR of the same partitions.
func (m *Machine) moveReplicas(rs []replica, target ReplicaState) {
	m.batched(func() {
		byBroker := slices.Clone(rs)
		slices.SortStableFunc(byBroker, func(a, b replica) int { return int(a.id) - int(b.id) })
		for len(byBroker) > 0 {
			n := 1
			for n < len(byBroker) && byBroker[n].id == byBroker[0].id {
				n++
			}
			of := byBroker[:n]
			byBroker = byBroker[n:]
			m.then(func() { m.moveReplicasOfOne(of, target) })
		}
	})
}

// moveReplicasOfOne makes the replicas of one broker transition.
func (m *Machine) moveReplicasOfOne(rs []replica, target ReplicaState) {
	var valid []replica
	for _, r := range rs {
		if !r.state().CanBecome(target) {
			m.note(Error, "the replica cannot make this transition", "partition", r.p.tp, "broker", r.id, "from", r.state(), "to", target)
			continue
		}
		valid = append(valid, r)
	}
	if target == OfflineReplica {
		m.takeOffline(valid)
		return
	}
	for _, r := range valid {
		m.moveReplica(r, target)
	}
}

// moveReplica makes one replica transition to any state but Offline.
func (m *Machine) moveReplica(r replica, target ReplicaState) {
	switch target {
	case NewReplica:
		if r.p.leadership != nil {
			if r.p.leadership.Leader == r.id {
				m.note(Error, "the replica cannot start as new, it is the leader", "partition", r.p.tp, "broker", r.id)
				return
			}
			m.sendBecome([]cluster.BrokerID{r.id}, r.p, r.p.newOn(r.id))
		}
	case OnlineReplica:
		if r.state() != NewReplica {
			m.sendBecome([]cluster.BrokerID{r.id}, r.p, false)
		} else if !slices.Contains(r.p.assignment.Replicas, r.id) {
			m.note(Error, "the replica is not in the assignment, it is added", "partition", r.p.tp, "broker", r.id)
			r.p.assignment.Replicas = append(slices.Clip(r.p.assignment.Replicas), r.id)
		}
	case ReplicaDeletionStarted:
		m.sendStop(r, true)
	case NonExistentReplica:
		r.p.assignment = Assignment{
			Replicas: without(r.p.assignment.Replicas, r.id),
			Adding:   without(r.p.assignment.Adding, r.id),
			Removing: without(r.p.assignment.Removing, r.id),
		}
	}
	r.set(target)
}

// takeOffline stops the replicas of one broker and takes them out of the ISRs. The last member of an ISR stays in it, so that a
// clean election is possible when it comes back.
func (m *Machine) takeOffline(rs []replica) {
	var led []*partition
	of := make(map[*partition]replica, len(rs))
	for _, r := range rs {
		m.sendStop(r, false)
		if r.p.leadership != nil {
			led = append(led, r.p)
			of[r.p] = r
			continue
		}
		m.sendMetadataToAll(r.p)
		r.set(OfflineReplica)
	}
	offline := func(p *partition) {
		r := of[p]
		r.set(OfflineReplica)
		if !p.leaving() {
			m.sendBecome(without(p.assignment.Replicas, r.id), p, false)
		}
	}
	m.updateStates(led, update{
		decide: func(p *partition, current LeaderAndISR) (LeaderAndISR, bool) {
			r := of[p]
			if !slices.Contains(current.ISR, r.id) {
				offline(p) // nothing to write
				return LeaderAndISR{}, false
			}
			next := current
			next.LeaderEpoch++
			if next.Leader == r.id {
				next.Leader = cluster.NoBroker
			}
			if len(current.ISR) > 1 {
				next.ISR = without(current.ISR, r.id)
			}
			return next, true
		},
		done: offline,
	})
}
