package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// handle queues topics for deletion (F§2.7). Markers for topics that do not exist, and all markers when deletion is switched
// off, are removed.
func (e TopicDeletion) handle(m *Machine) { m.enqueueDeletions(e.Names) }

// enqueueDeletions queues the topics and starts what can start.
func (m *Machine) enqueueDeletions(names []string) {
	var drop []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		t, ok := m.topics[name]
		if !ok || !m.opts.DeleteTopics {
			drop = append(drop, name)
			continue
		}
		if !t.queued {
			m.note(Info, "a topic is to be deleted", "topic", name)
			t.queued = true
		}
		if t.reassigning() {
			m.ineligible(t, "a reassignment is under way")
		}
	}
	m.dropMarkers(drop)
	m.then(m.continueDeletions)
}

// dropMarkers schedules removing deletion markers that have no meaning any more.
func (m *Machine) dropMarkers(names []string) {
	m.commit(func() []Op {
		var ops []Op
		for _, name := range names {
			ops = append(ops, Op{Kind: DeleteMarker, Partition: cluster.TopicPartition{Topic: name}})
		}
		return ops
	}, func(ops []Op, results []Result) {
		for i, r := range results {
			if r.Outcome != Done && r.Outcome != NoNode {
				m.note(Error, "could not remove the deletion marker", "topic", ops[i].Partition.Topic, "outcome", r)
			}
		}
	})
}

// ineligible makes a topic's deletion wait.
func (m *Machine) ineligible(t *topic, reason string) {
	if t.queued && !t.ineligible {
		t.ineligible = true
		m.note(Info, "the deletion of a topic has to wait", "topic", t.name, "reason", reason)
	}
}

// resumeDeletion tries again to delete those of the topics that waited.
func (m *Machine) resumeDeletion(ts []*topic) {
	any := false
	for _, t := range ts {
		if t.queued {
			t.ineligible = t.reassigning()
			any = true
		}
	}
	if any {
		m.continueDeletions()
	}
}

// failDeletion deals with replicas of topics being deleted that cannot delete their logs now. Those whose logs are gone already
// do not hold anything up; those that were not told yet only make the topic wait.
func (m *Machine) failDeletion(rs []replica) {
	var failed []replica
	for _, r := range rs {
		if r.state().CanBecome(ReplicaDeletionIneligible) {
			failed = append(failed, r)
		}
	}
	m.moveReplicas(failed, ReplicaDeletionIneligible)
	m.then(func() {
		for _, r := range rs {
			if r.state() != ReplicaDeletionSuccessful {
				m.ineligible(r.p.topic, "a replica could not be deleted")
			}
		}
	})
	m.then(m.continueDeletions)
}

// count returns how many of the topic's replicas are in state s, and how many there are.
func (t *topic) count(s ReplicaState) (in, all int) {
	for _, r := range t.replicas() {
		all++
		if r.state() == s {
			in++
		}
	}
	return in, all
}

// continueDeletions finishes the deletions whose replicas are all gone, and starts or repeats those that nothing holds up
// (resumeDeletions).
func (m *Machine) continueDeletions() {
	var retry []replica
	var start []*topic
	for _, t := range m.sortedTopics() {
		if !t.queued {
			continue
		}
		successful, all := t.count(ReplicaDeletionSuccessful)
		started, _ := t.count(ReplicaDeletionStarted)
		if successful == all {
			m.completeDeletion(t)
			continue
		}
		if started > 0 || t.ineligible {
			continue
		}
		for _, r := range t.replicas() {
			if r.state() == ReplicaDeletionIneligible {
				retry = append(retry, r)
			}
		}
		start = append(start, t)
	}
	m.moveReplicas(retry, OfflineReplica)
	if len(start) > 0 {
		m.then(func() { m.startDeletion(start) })
	}
}

// completeDeletion removes a topic whose logs are all deleted.
func (m *Machine) completeDeletion(t *topic) {
	var rs []replica
	for _, r := range t.replicas() {
		if r.state() == ReplicaDeletionSuccessful {
			rs = append(rs, r)
		}
	}
	m.moveReplicas(rs, NonExistentReplica)
	m.removeNodes(t, 1)
}

// removeNodes schedules removing a topic's nodes. It is repeated while replies are lost: a topic whose logs are deleted has nothing to wait for.
func (m *Machine) removeNodes(t *topic, attempt int) {
	m.commit(func() []Op {
		return []Op{{Kind: DeleteTopic, Partition: cluster.TopicPartition{Topic: t.name}}}
	}, func(_ []Op, results []Result) {
		if r := results[0]; r.Outcome == Unknown && attempt < maxAttempts {
			m.removeNodes(t, attempt+1)
			return
		} else if r.Outcome != Done && r.Outcome != NoNode {
			m.note(Error, "could not remove the topic's nodes, it is tried again with the next deletion", "topic", t.name, "outcome", r)
			return
		}
		m.removeTopic(t)
		m.note(Info, "a topic was deleted", "topic", t.name)
	})
}

// startDeletion makes brokers forget the topics, stops their replicas and has their logs deleted (onTopicDeletion). Replicas on
// dead brokers make their topic wait until the broker is back.
func (m *Machine) startDeletion(ts []*topic) {
	var unseen, all []*partition
	for _, t := range ts {
		if !t.started {
			unseen = append(unseen, t.partitions...)
		}
		all = append(all, t.partitions...)
	}
	m.movePartitions(slices.DeleteFunc(slices.Clone(unseen), func(p *partition) bool { return p.state == NonExistentPartition }), OfflinePartition, 0, nil)
	m.movePartitions(unseen, NonExistentPartition, 0, nil)
	m.then(func() {
		for _, t := range ts {
			t.started = true
		}
		m.sendMetadataToAll(all...)
	})
	m.then(func() { m.deleteReplicas(ts) })
}

// deleteReplicas sends the replicas of the topics through Offline and DeletionStarted, dead ones to Ineligible.
func (m *Machine) deleteReplicas(ts []*topic) {
	var dead, alive []replica
	var wait []*topic
	for _, t := range ts {
		for _, r := range t.replicas() {
			switch {
			case r.state() == ReplicaDeletionSuccessful:
			case m.live(r.id): // a broker whose disk failed says so, one whose disk was replaced has nothing to delete
				alive = append(alive, r)
			default:
				if len(wait) == 0 || wait[len(wait)-1] != t {
					wait = append(wait, t)
				}
				if r.state().CanBecome(ReplicaDeletionIneligible) {
					dead = append(dead, r)
				}
			}
		}
	}
	m.moveReplicas(dead, ReplicaDeletionIneligible)
	m.moveReplicas(alive, OfflineReplica)
	m.moveReplicas(alive, ReplicaDeletionStarted)
	m.then(func() {
		for _, t := range wait {
			m.ineligible(t, "a replica is on a dead broker")
		}
	})
}

// handle goes on with deletions after a broker answered.
func (e StopResponse) handle(m *Machine) {
	b, ok := m.brokers[e.Broker]
	if !ok || b.Epoch != e.BrokerEpoch {
		return
	}
	codes := make(map[cluster.TopicPartition]kerr.Code, len(e.Partitions))
	for _, pe := range e.Partitions {
		codes[pe.Partition] = pe.Code
	}
	var deleted, failed []replica
	for _, sp := range e.Request.Partitions {
		p, ok := m.partition(sp.Partition)
		if !ok || !sp.Delete {
			continue
		}
		r := replica{p, e.Broker}
		if r.state() != ReplicaDeletionStarted {
			continue // something else has happened to it since
		}
		code, ok := codes[sp.Partition]
		switch {
		case e.Code != kerr.None:
			code = e.Code
		case !ok:
			code = kerr.UnknownServerError
		}
		if code != kerr.None {
			m.note(Warn, "a broker could not delete a replica", "partition", p.tp, "broker", e.Broker, "error", code.Name())
			failed = append(failed, r)
			continue
		}
		deleted = append(deleted, r)
	}
	if len(failed) > 0 {
		m.failDeletion(failed)
	}
	if len(deleted) > 0 {
		m.moveReplicas(deleted, ReplicaDeletionSuccessful)
		m.then(m.continueDeletions)
	}
}
