package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// change is something that a controller watches.
type change uint8

const (
	brokersChange change = 1 << iota
	topicsChange
	nodesChange // topics were rewritten
	deletionsChange
	movesChange
	dirsChange // log directories have failed

	everyChange = brokersChange | topicsChange | nodesChange | deletionsChange | movesChange | dirsChange
)

// zookeeper is what the cluster keeps in ZooKeeper. Everything that happens to it is one step.
type zookeeper struct {
	w        *world
	zxid     int64
	sessions map[int64]bool // those that live

	brokers    map[cluster.BrokerID]registration
	controller registration // who holds /controller; session 0 for nobody
	epoch      cluster.ControllerEpoch
	topics     map[string]state.Topic
	states     map[cluster.TopicPartition]state.LeaderAndISR
	written    map[cluster.TopicPartition]cluster.BrokerEpoch // zxids of states
	ignored    map[cluster.TopicPartition][]cluster.BrokerID  // brokers in sync of whose latest registration the writer did not know
	deletions  map[string]bool
	configs    map[string]map[string]string
	dirNews    map[cluster.BrokerID]bool // who has said that a log directory has failed
	moves      []state.Move              // what /admin/reassign_partitions holds, nil when it is not there
	created    byte                      // topics so far, for their ids

	uncleanEver map[cluster.TopicID]bool // topics that allowed unclean elections at some time
}

// registration is an ephemeral node.
type registration struct {
	id      cluster.BrokerID
	session int64
	epoch   cluster.BrokerEpoch // its czxid
	since   cluster.BrokerEpoch // the first czxid of the process, 0 if this is it
}

func newZookeeper(w *world) *zookeeper {
	return &zookeeper{
		w: w, sessions: map[int64]bool{}, brokers: map[cluster.BrokerID]registration{}, topics: map[string]state.Topic{},
		states: map[cluster.TopicPartition]state.LeaderAndISR{}, written: map[cluster.TopicPartition]cluster.BrokerEpoch{},
		ignored: map[cluster.TopicPartition][]cluster.BrokerID{}, deletions: map[string]bool{}, dirNews: map[cluster.BrokerID]bool{}, configs: map[string]map[string]string{},
		uncleanEver: map[cluster.TopicID]bool{},
	}
}

// connect makes a session.
func (z *zookeeper) connect() int64 {
	z.zxid++
	z.sessions[z.zxid] = true
	return z.zxid
}

// expire ends a session and removes what it has left.
func (z *zookeeper) expire(session int64) {
	if !z.sessions[session] {
		return
	}
	delete(z.sessions, session)
	z.zxid++
	for _, b := range z.w.brokers {
		if r, ok := z.brokers[b.id]; ok && r.session == session {
			delete(z.brokers, b.id)
			z.changed(brokersChange)
		}
	}
	if z.controller.session == session {
		z.controller = registration{}
	}
}

// register makes a broker's node. since is the first registration of its process, 0 if this is it.
func (z *zookeeper) register(id cluster.BrokerID, session int64, since cluster.BrokerEpoch) cluster.BrokerEpoch {
	z.zxid++
	z.brokers[id] = registration{id, session, cluster.BrokerEpoch(z.zxid), since}
	z.changed(brokersChange)
	return cluster.BrokerEpoch(z.zxid)
}

// elect makes a broker controller if nobody is.
func (z *zookeeper) elect(id cluster.BrokerID, session int64) (cluster.ControllerEpoch, bool) {
	if z.controller.session != 0 || !z.sessions[session] {
		return 0, false
	}
	z.zxid++
	z.epoch++
	z.controller = registration{id: id, session: session}
	return z.epoch, true
}

// dethrone is an operator who deletes /controller.
func (z *zookeeper) dethrone() { z.controller = registration{} }

func (z *zookeeper) exists(topic string) bool {
	_, ok := z.topics[topic]
	return ok
}

// changed fires watches. A controller that is deposed and whose session lives still has its watches.
func (z *zookeeper) changed(c change) {
	for _, b := range z.w.brokers {
		if b.reign != nil {
			b.reign.changes |= c
		}
	}
}

// registered returns all brokers by id.
func (z *zookeeper) registered() []state.Broker {
	var out []state.Broker
	for _, b := range z.w.brokers {
		if r, ok := z.brokers[b.id]; ok {
			out = append(out, state.Broker{ID: b.id, Epoch: r.epoch, Since: r.since})
		}
	}
	return out
}

// topicNames returns all topics by name.
func (z *zookeeper) topicNames() []string { return slices.Sorted(maps.Keys(z.topics)) }

// partitions returns all partitions, by topic and number.
func (z *zookeeper) partitions() []cluster.TopicPartition {
	var out []cluster.TopicPartition
	for _, name := range z.topicNames() {
		for index := range int32(len(z.topics[name].Assignments)) {
			out = append(out, cluster.TopicPartition{Topic: name, Partition: index})
		}
	}
	return out
}

// toDelete returns the topics that are to be deleted, by name.
func (z *zookeeper) toDelete() []string { return slices.Sorted(maps.Keys(z.deletions)) }

// createTopic makes a topic's node.
func (z *zookeeper) createTopic(name string, replicas [][]cluster.BrokerID, config map[string]string) {
	z.created++
	t := state.Topic{Name: name, ID: cluster.TopicID{1, z.created}, Assignments: map[int32]state.Assignment{}}
	for i, r := range replicas {
		t.Assignments[int32(i)] = state.Assignment{Replicas: r}
	}
	z.topics[name], z.configs[name] = t, config
	z.changed(topicsChange)
}

// deleteTopic asks for a deletion.
func (z *zookeeper) deleteTopic(name string) {
	z.w.trace("    topic %s is to be deleted", name)
	z.deletions[name] = true
	z.changed(deletionsChange)
}

// commit does an op of the controller that leads r. ok is false when the fence refuses.
func (z *zookeeper) commit(r *reign, op state.Op) (res state.Result, ok bool) {
	if op.Kind != state.ReadState && op.Kind != state.ReadTopicConfig {
		if !z.w.rules.MayWrite(r.epoch, z.epoch) {
			return state.Result{}, false
		}
		if r.epoch != z.epoch {
			z.w.violated("a deposed controller changes nothing", "the controller of epoch %d wrote %s, the epoch is %d", r.epoch, op, z.epoch)
		}
	}
	name := op.Partition.Topic
	t, exists := z.topics[name]
	current, has := z.states[op.Partition]
	switch op.Kind {
	case state.CreateState:
		switch _, assigned := t.Assignments[op.Partition.Partition]; {
		case !exists || !assigned:
			return state.Result{Outcome: state.NoNode}, true
		case has:
			return state.Result{Outcome: state.NodeExists}, true
		}
		z.write(r, op.Partition, nil, op.State, 0)
		return state.Result{Outcome: state.Done}, true
	case state.SetState:
		switch {
		case !has:
			return state.Result{Outcome: state.NoNode}, true
		case !z.w.rules.Matches(op.Version, current.PartitionEpoch):
			return state.Result{Outcome: state.BadVersion}, true
		}
		z.write(r, op.Partition, &current, op.State, current.PartitionEpoch+1)
		if op.Version != current.PartitionEpoch {
			z.w.violated("no update is lost", "%s was written over version %d with %s, which knew version %d", op.Partition, current.PartitionEpoch, op.State, op.Version)
		}
		return state.Result{Outcome: state.Done, Version: current.PartitionEpoch + 1}, true
	case state.ReadState:
		if !has {
			return state.Result{Outcome: state.NoNode}, true
		}
		return state.Result{Outcome: state.Done, State: current}, true
	case state.ReadTopicConfig:
		return state.Result{Outcome: state.Done, Config: z.configs[name]}, true
	case state.SetTopic:
		if !exists {
			return state.Result{Outcome: state.NoNode}, true
		}
		z.topics[name] = state.Topic{Name: name, ID: op.TopicID, Assignments: maps.Clone(op.Assignments)}
		z.w.checkAssignments(t, z.topics[name])
		z.changed(nodesChange)
	case state.SetReassignments:
		z.moves = slices.Clone(op.Moves)
		if len(z.moves) == 0 {
			z.moves = nil
		}
		z.changed(movesChange)
	case state.DeleteTopic:
		if !z.deletions[name] {
			return state.Result{Outcome: state.Done}, true
		}
		z.w.forgetTopic(name)
		delete(z.topics, name)
		delete(z.configs, name)
		delete(z.deletions, name)
		maps.DeleteFunc(z.ignored, func(tp cluster.TopicPartition, _ []cluster.BrokerID) bool { return tp.Topic == name })
		maps.DeleteFunc(z.states, func(tp cluster.TopicPartition, _ state.LeaderAndISR) bool { return tp.Topic == name })
		z.changed(topicsChange | deletionsChange)
	case state.DeleteMarker:
		if !z.deletions[name] {
			return state.Result{Outcome: state.NoNode}, true
		}
		delete(z.deletions, name)
		z.changed(deletionsChange)
	default:
		panic(fmt.Sprintf("simulation: it does not know how to do %s", op))
	}
	return state.Result{Outcome: state.Done}, true
}

// write sets a state.
func (z *zookeeper) write(r *reign, tp cluster.TopicPartition, old *state.LeaderAndISR, s state.LeaderAndISR, version cluster.PartitionEpoch) {
	z.zxid++
	s.PartitionEpoch = version
	z.states[tp], z.written[tp] = s, cluster.BrokerEpoch(z.zxid)
	z.ignored[tp] = slices.DeleteFunc(slices.Clone(s.ISR), func(id cluster.BrokerID) bool {
		now, ok := z.brokers[id]
		return !slices.Contains(z.ignored[tp], id) && (!ok || r.knows[id] >= now.epoch)
	})
	z.w.trace("    zookeeper: %s is %s pe=%d", tp, s, version)
	z.w.checkWrite(r, tp, old, s)
}
