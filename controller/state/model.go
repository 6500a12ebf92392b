package state

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// Broker is a registered broker: the content of /brokers/ids/<id> and the czxid of that node.
type Broker struct {
	// ID is the broker's id.
	ID cluster.BrokerID
	// Epoch is the czxid of the registration: it grows whenever the broker registers anew.
	Epoch cluster.BrokerEpoch
	// Since is the epoch of the first registration of the broker's process, if that has registered again after the end of a session; 0 otherwise.
	Since cluster.BrokerEpoch
	// Endpoints holds the addresses that the broker advertises.
	Endpoints []cluster.Endpoint
	// Rack is the rack that the broker stands in, "" for none.
	Rack string
}

// began returns the epoch at which the broker's process first registered. What it had appended then it still has.
func (b Broker) began() cluster.BrokerEpoch {
	if b.Since > 0 {
		return b.Since
	}
	return b.Epoch
}

// sameAddress reports whether nothing changed that other brokers have to know.
func (b Broker) sameAddress(other Broker) bool {
	return slices.Equal(b.Endpoints, other.Endpoints) && b.Rack == other.Rack
}

// Assignment says which brokers hold a partition: one entry of /brokers/topics/<topic>.
type Assignment struct {
	// Replicas holds all replicas, the preferred leader first. During a reassignment the target comes first, then the rest.
	Replicas []cluster.BrokerID
	// Adding holds the replicas that a reassignment adds, nil outside of one.
	Adding []cluster.BrokerID
	// Removing holds the replicas that a reassignment removes, nil outside of one.
	Removing []cluster.BrokerID
}

// Reassigning reports whether a reassignment of the partition is under way (KIP-455).
func (a Assignment) Reassigning() bool { return len(a.Adding) > 0 || len(a.Removing) > 0 }

// Target returns the replicas that remain when the reassignment is complete.
func (a Assignment) Target() []cluster.BrokerID { return without(a.Replicas, a.Removing...) }

// clone returns a copy that shares no slices.
func (a Assignment) clone() Assignment {
	return Assignment{Replicas: slices.Clone(a.Replicas), Adding: slices.Clone(a.Adding), Removing: slices.Clone(a.Removing)}
}

// String returns the replicas, with those that come and go marked by + and -.
func (a Assignment) String() string {
	var s []string
	for _, id := range a.Replicas {
		switch {
		case slices.Contains(a.Adding, id):
			s = append(s, "+"+strconv.Itoa(int(id)))
		case slices.Contains(a.Removing, id):
			s = append(s, "-"+strconv.Itoa(int(id)))
		default:
			s = append(s, strconv.Itoa(int(id)))
		}
	}
	return strings.Join(s, ",")
}

// RecoveryState says whether the leader of a partition still recovers from an unclean election. Numbers are in znodes and on
// the wire.
type RecoveryState int8

// The recovery states of KIP-704.
const (
	// Recovered is the ordinary state.
	Recovered RecoveryState = 0
	// Recovering is the state after an unclean election, until the leader says that it has recovered.
	Recovering RecoveryState = 1
)

// LeaderAndISR is the content of a partition's state znode together with the node's version. It is a value; its slice is
// never changed once it is set.
type LeaderAndISR struct {
	// Leader is the leading broker or [cluster.NoBroker].
	Leader cluster.BrokerID
	// LeaderEpoch grows with every election and with every change that the controller makes.
	LeaderEpoch cluster.LeaderEpoch
	// ISR holds the in-sync replicas; it is never empty.
	ISR []cluster.BrokerID
	// Recovery is Recovering after an unclean election.
	Recovery RecoveryState
	// ControllerEpoch is the epoch of the controller that wrote the state.
	ControllerEpoch cluster.ControllerEpoch
	// PartitionEpoch is the znode's version. In an [Op] that writes the state it has no meaning.
	PartitionEpoch cluster.PartitionEpoch
}

// Same reports whether two states have the same content, whatever their znode versions.
func (l LeaderAndISR) Same(other LeaderAndISR) bool {
	return l.Leader == other.Leader && l.LeaderEpoch == other.LeaderEpoch && slices.Equal(l.ISR, other.ISR) &&
		l.Recovery == other.Recovery && l.ControllerEpoch == other.ControllerEpoch
}

// String returns a short form for notes and transcripts.
func (l LeaderAndISR) String() string {
	s := fmt.Sprintf("leader=%d epoch=%d isr=%s ctl=%d", l.Leader, l.LeaderEpoch, joinIDs(l.ISR), l.ControllerEpoch)
	if l.Recovery == Recovering {
		s += " recovering"
	}
	return s
}

// joinIDs returns broker ids with commas between them.
func joinIDs(ids []cluster.BrokerID) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = strconv.Itoa(int(id))
	}
	return strings.Join(s, ",")
}

// without returns ids in their order except those of drop, as a new slice.
func without(ids []cluster.BrokerID, drop ...cluster.BrokerID) []cluster.BrokerID {
	out := make([]cluster.BrokerID, 0, len(ids))
	for _, id := range ids {
		if !slices.Contains(drop, id) {
			out = append(out, id)
		}
	}
	return out
}

// model is what the controller knows (F§2.2). It belongs to one [Machine].
type model struct {
	brokers      map[cluster.BrokerID]Broker   // registered, including those that shut down
	shuttingDown map[cluster.BrokerID]struct{} // registered and on their way out
	gone         map[cluster.BrokerID]struct{} // still in brokers, but known to have ended that registration: nothing is sent
	contact      Contact                       // which brokers do not answer, as last told
	topics       map[string]*topic
	ids          map[cluster.TopicID]*topic // topics whose id is known
	unsaved      map[string]bool            // topics whose nodes may hold another assignment than the model
	asked        []Move                     // what /admin/reassign_partitions holds, as far as it is not settled
}

func newModel() model {
	return model{
		brokers:      make(map[cluster.BrokerID]Broker),
		shuttingDown: make(map[cluster.BrokerID]struct{}),
		gone:         make(map[cluster.BrokerID]struct{}),
		topics:       make(map[string]*topic),
		ids:          make(map[cluster.TopicID]*topic),
		unsaved:      make(map[string]bool),
	}
}

// topic is a topic and what is known of its deletion (F§2.7).
type topic struct {
	name       string
	id         cluster.TopicID
	partitions []*partition // sorted by number
	queued     bool         // deletion was asked for
	started    bool         // brokers were told to forget the topic
	ineligible bool         // deletion must wait: for a dead replica, a reassignment, or after an error
}

// partition is a partition, its leadership, and the states of both machines.
type partition struct {
	tp         cluster.TopicPartition
	topic      *topic
	assignment Assignment
	state      PartitionState
	leadership *LeaderAndISR                     // nil before the state znode exists
	replicas   map[cluster.BrokerID]ReplicaState // absent = NonExistentReplica
	failedDirs map[cluster.BrokerID]struct{}     // replicas whose log directory failed
	begun      bool                              // this controller has worked at a reassignment of it
	fenced     uint                              // how often in a row the leader's log was of a later epoch
}

// leaving reports whether nothing is done for the partition any more, because its topic is to be deleted. One that is being reassigned goes
// on as ever: the deletion waits for the end of that.
func (p *partition) leaving() bool { return p.topic.queued && !p.assignment.Reassigning() }

// misled reports whether the leader is one that is not assigned or not in sync. No controller writes that, and brokers refuse such a role.
func (p *partition) misled() bool {
	l := p.leadership
	return l != nil && l.Leader != cluster.NoBroker && (!slices.Contains(p.assignment.Replicas, l.Leader) || !slices.Contains(l.ISR, l.Leader))
}

// replica is one replica of one partition.
type replica struct {
	p  *partition
	id cluster.BrokerID
}

// state returns the replica's state in its machine.
func (r replica) state() ReplicaState {
	if s, ok := r.p.replicas[r.id]; ok {
		return s
	}
	return NonExistentReplica
}

// set writes the replica's state.
func (r replica) set(s ReplicaState) {
	if s == NonExistentReplica {
		delete(r.p.replicas, r.id)
		return
	}
	r.p.replicas[r.id] = s
}

// addTopic returns the topic of that name, made if it is not known.
func (m *model) addTopic(name string, id cluster.TopicID) *topic {
	t, ok := m.topics[name]
	if !ok {
		t = &topic{name: name}
		m.topics[name] = t
	}
	if !id.IsZero() {
		t.id = id
		m.ids[id] = t
	}
	return t
}

// removeTopic forgets a topic with all that belongs to it.
func (m *model) removeTopic(t *topic) {
	delete(m.topics, t.name)
	if m.ids[t.id] == t {
		delete(m.ids, t.id)
	}
}

// find returns the position of a partition in t.partitions, or where it would go.
func (t *topic) find(index int32) (int, bool) {
	i := sort.Search(len(t.partitions), func(i int) bool { return t.partitions[i].tp.Partition >= index })
	return i, i < len(t.partitions) && t.partitions[i].tp.Partition == index
}

// addPartition makes a partition known, in state NonExistent.
func (t *topic) addPartition(index int32, a Assignment) *partition {
	i, ok := t.find(index)
	if ok {
		t.partitions[i].assignment = a.clone()
		return t.partitions[i]
	}
	p := &partition{
		tp:         cluster.TopicPartition{Topic: t.name, Partition: index},
		topic:      t,
		assignment: a.clone(),
		state:      NonExistentPartition,
		replicas:   make(map[cluster.BrokerID]ReplicaState, len(a.Replicas)),
	}
	t.partitions = slices.Insert(t.partitions, i, p)
	return p
}

// reassigning reports whether a partition of the topic is being reassigned.
func (t *topic) reassigning() bool {
	return slices.ContainsFunc(t.partitions, func(p *partition) bool { return p.assignment.Reassigning() })
}

// replicas returns all replicas of the topic that exist for the replica machine or in the assignment.
func (t *topic) replicas() []replica {
	var out []replica
	for _, p := range t.partitions {
		for _, id := range p.assignment.Replicas {
			out = append(out, replica{p, id})
		}
	}
	return out
}

// partition returns a partition that is known.
func (m *model) partition(tp cluster.TopicPartition) (*partition, bool) {
	t, ok := m.topics[tp.Topic]
	if !ok {
		return nil, false
	}
	i, ok := t.find(tp.Partition)
	if !ok {
		return nil, false
	}
	return t.partitions[i], true
}

// sortedTopics returns all topics by name.
func (m *model) sortedTopics() []*topic {
	out := make([]*topic, 0, len(m.topics))
	for _, name := range slices.Sorted(maps.Keys(m.topics)) {
		out = append(out, m.topics[name])
	}
	return out
}

// partitionsWhere returns the partitions that f accepts, by topic and number.
func (m *model) partitionsWhere(f func(*partition) bool) []*partition {
	var out []*partition
	for _, t := range m.sortedTopics() {
		for _, p := range t.partitions {
			if f(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// replicasOn returns the replicas that are assigned to the brokers, by topic, partition and assignment order.
func (m *model) replicasOn(ids []cluster.BrokerID) []replica {
	var out []replica
	for _, t := range m.sortedTopics() {
		for _, r := range t.replicas() {
			if slices.Contains(ids, r.id) {
				out = append(out, r)
			}
		}
	}
	return out
}

// registered reports whether the broker is registered, shutting down or not: requests are sent to it.
func (m *model) registered(id cluster.BrokerID) bool {
	_, ok := m.brokers[id]
	return ok
}

// live reports whether the broker is registered and not shutting down.
func (m *model) live(id cluster.BrokerID) bool {
	_, leaving := m.shuttingDown[id]
	return m.registered(id) && !leaving
}

// online reports whether a replica may serve: its broker is live and its log directory works (F§2.2).
func (m *model) online(p *partition, id cluster.BrokerID) bool {
	_, failed := p.failedDirs[id]
	return m.live(id) && !failed
}

// led reports whether the partition has a leader, and that one may serve.
func (m *model) led(p *partition) bool {
	return p.leadership != nil && m.online(p, p.leadership.Leader) && !p.misled()
}

// onlineReplicas returns the assigned replicas that may serve, in assignment order.
func (m *model) onlineReplicas(p *partition) []cluster.BrokerID {
	var out []cluster.BrokerID
	for _, id := range p.assignment.Replicas {
		if m.online(p, id) {
			out = append(out, id)
		}
	}
	return out
}

// brokerIDs returns the registered brokers by id.
func (m *model) brokerIDs() []cluster.BrokerID { return slices.Sorted(maps.Keys(m.brokers)) }

// brokerList returns the registered brokers by id.
func (m *model) brokerList() []Broker {
	out := make([]Broker, 0, len(m.brokers))
	for _, id := range m.brokerIDs() {
		out = append(out, m.brokers[id])
	}
	return out
}
