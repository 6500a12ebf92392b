package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// formatAssignments returns assignments as transcripts show them.
func formatAssignments(of map[int32]Assignment) string {
	var s []string
	for _, index := range slices.Sorted(maps.Keys(of)) {
		s = append(s, fmt.Sprintf("%d:%s", index, of[index]))
	}
	return strings.Join(s, " ")
}

// handle starts the topics that appeared and forgets those that vanished (F§2.7). A topic that this controller deletes is gone
// from the model before its node vanishes; one that vanishes otherwise was removed by hand.
func (e TopicChange) handle(m *Machine) {
	names := make(map[string]bool, len(e.Names))
	for _, name := range e.Names {
		names[name] = true
	}
	var markers []string
	for _, t := range m.sortedTopics() {
		if !names[t.name] {
			m.note(Warn, "a topic's node has vanished, the topic is forgotten", "topic", t.name)
			m.removeTopic(t)
			if t.queued {
				markers = append(markers, t.name)
			}
		}
	}
	m.dropMarkers(markers)
	var created []*partition
	for _, added := range e.Added {
		if m.HasTopic(added.Name) {
			continue
		}
		created = append(created, m.learnTopic(added)...)
		if len(added.Assignments) == 0 {
			m.note(Warn, "a topic has no partitions, or its node cannot be understood", "topic", added.Name)
			continue
		}
		m.note(Info, "a topic was created", "topic", added.Name, "id", added.ID, "assignment", formatAssignments(added.Assignments))
	}
	if len(created) > 0 {
		m.partitionsCreated(created)
	}
}

// learnTopic puts a topic into the model, with its partitions as NonExistent, and schedules writing its id back if it had none.
func (m *Machine) learnTopic(read Topic) []*partition {
	t := m.addTopic(read.Name, read.ID)
	for _, index := range slices.Sorted(maps.Keys(read.Assignments)) {
		a, bad := read.Assignments[index].sound()
		if bad {
			m.note(Error, "a topic's node contradicts itself, it is read as far as it makes sense", "topic", read.Name, "partition", index,
				"assignment", read.Assignments[index], "read-as", a)
		}
		t.addPartition(index, a)
	}
	if read.NewID {
		m.rewriteTopic(t.name, read.ID, read.Assignments)
	}
	return t.partitions
}

// rewriteTopic schedules writing a topic's node.
func (m *Machine) rewriteTopic(name string, id cluster.TopicID, assignments map[int32]Assignment) {
	m.rewriteTopics([]Op{setTopic(name, id, assignments)}, func(int, Result) {})
}

// setTopic is the write of a topic's node.
func setTopic(name string, id cluster.TopicID, assignments map[int32]Assignment) Op {
	return Op{Kind: SetTopic, Partition: cluster.TopicPartition{Topic: name}, TopicID: id, Assignments: assignments}
}

// rewriteTopics schedules writing topics' nodes and calls done for each, by its place in writes. A write whose reply was lost is
// repeated: nobody else writes these nodes in this reign, and what is written is the same. What could not be written, or perhaps was not,
// is brought into line with the model at the end of later events.
func (m *Machine) rewriteTopics(writes []Op, done func(i int, r Result)) {
	places := make([]int, len(writes))
	for i := range places {
		places[i] = i
	}
	m.rewriteSome(writes, places, done, 1)
}

// rewriteSome is rewriteTopics for the writes at the given places.
func (m *Machine) rewriteSome(writes []Op, places []int, done func(i int, r Result), attempt int) {
	m.commit(func() []Op {
		ops := make([]Op, len(places))
		for n, i := range places {
			ops[n] = writes[i]
		}
		return ops
	}, func(ops []Op, results []Result) {
		var again []int
		for n, r := range results {
			if r.Outcome == Unknown && attempt < maxAttempts {
				again = append(again, places[n])
				continue
			}
			name := ops[n].Partition.Topic
			delete(m.unsaved, name)
			if r.Outcome != Done {
				m.note(Error, "could not write the topic's node", "topic", name, "outcome", r)
			}
			if r.Outcome == Unknown || r.Outcome == Failed {
				m.unsaved[name] = true
			}
			done(places[n], r)
		}
		m.rewriteSome(writes, again, done, attempt+1)
	})
}

// saveTopics schedules writing the topics' nodes that may not hold what the model does.
func (m *Machine) saveTopics() {
	var writes []Op
	for _, name := range slices.Sorted(maps.Keys(m.unsaved)) {
		if t, ok := m.topics[name]; ok {
			writes = append(writes, setTopic(name, t.id, t.allAssignments()))
		} else {
			delete(m.unsaved, name)
		}
	}
	m.rewriteTopics(writes, func(int, Result) {})
}

// allAssignments returns the assignments of a topic's partitions, to be changed by the caller.
func (t *topic) allAssignments() map[int32]Assignment {
	all := make(map[int32]Assignment, len(t.partitions))
	for _, p := range t.partitions {
		all[p.tp.Partition] = p.assignment
	}
	return all
}

// partitionsCreated brings new partitions up (onNewPartitionCreation).
func (m *Machine) partitionsCreated(ps []*partition) {
	var rs []replica
	for _, p := range ps {
		for _, id := range p.assignment.Replicas {
			rs = append(rs, replica{p, id})
		}
	}
	m.movePartitions(ps, NewPartition, 0, nil)
	m.moveReplicas(rs, NewReplica)
	m.movePartitions(ps, OnlinePartition, ElectOffline, nil)
	m.moveReplicas(rs, OnlineReplica)
}

// handle starts partitions that were added. While the topic is being deleted the addition is undone instead. Partitions that are
// missing from the node are not removed.
func (e PartitionsModified) handle(m *Machine) {
	t, ok := m.topics[e.Topic.Name]
	if !ok {
		return
	}
	var added []int32
	for _, index := range slices.Sorted(maps.Keys(e.Topic.Assignments)) {
		if i, ok := t.find(index); !ok || !t.queued && len(t.partitions[i].assignment.Replicas) == 0 {
			added = append(added, index)
		}
	}
	if len(added) == 0 {
		return
	}
	if t.queued {
		m.note(Warn, "the topic is being deleted, no partitions can be added", "topic", t.name)
		m.rewriteTopic(t.name, t.id, t.allAssignments())
		return
	}
	if t.id.IsZero() && !e.Topic.ID.IsZero() { // its node could not be understood until now
		m.addTopic(t.name, e.Topic.ID)
		if e.Topic.NewID {
			m.rewriteTopic(t.name, t.id, e.Topic.Assignments)
		}
	}
	var created []*partition
	for _, index := range added {
		a, _ := e.Topic.Assignments[index].sound()
		created = append(created, t.addPartition(index, Assignment{Replicas: a.Replicas}))
	}
	m.note(Info, "partitions were added", "topic", t.name, "count", len(created))
	m.partitionsCreated(created)
}
