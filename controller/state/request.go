package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// Request is an order for one broker (F§2.10). The sender adds the controller's id and epoch. Requests for one broker are sent
// strictly in the order in which the machine gives them out.
type Request struct {
	// Broker is the receiver.
	Broker cluster.BrokerID
	// BrokerEpoch is the registration of the receiver that the order is meant for.
	BrokerEpoch cluster.BrokerEpoch
	// Body is one of the three orders. It is immutable and may be shared by the requests for several brokers.
	Body Body
}

// Body is what a [Request] orders: [*BecomeRequest], [*MetadataRequest] or [*StopRequest].
type Body interface {
	body()
	String() string
}

// BecomeRequest is a LeaderAndIsr request: it makes a broker leader or follower of partitions.
type BecomeRequest struct {
	// Partitions by topic and number.
	Partitions []BecomePartition
	// Leaders holds the leaders that the partitions mention, those that are registered, by id.
	Leaders []Broker
}

// BecomePartition is the state of one partition in a [BecomeRequest].
type BecomePartition struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// TopicID is the topic's id, zero when unknown.
	TopicID cluster.TopicID
	// State is the content and the version of the state znode.
	State LeaderAndISR
	// Assignment holds the replicas.
	Assignment Assignment
	// New is true for a replica that is just being created.
	New bool
}

// MetadataRequest is an UpdateMetadata request: partitions that changed, and all brokers.
type MetadataRequest struct {
	// Partitions by topic and number; empty when only the list of brokers is news.
	Partitions []MetadataPartition
	// Brokers holds all registered brokers by id.
	Brokers []Broker
}

// MetadataPartition is what clients get to know of a partition.
type MetadataPartition struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// TopicID is the topic's id, zero when unknown.
	TopicID cluster.TopicID
	// State is the content and the version of the state znode; its leader is [cluster.LeaderDeleting] when the topic is being
	// deleted.
	State LeaderAndISR
	// Replicas holds all replicas, the preferred leader first.
	Replicas []cluster.BrokerID
	// Offline holds the replicas that cannot serve.
	Offline []cluster.BrokerID
}

// StopRequest is a StopReplica request.
type StopRequest struct {
	// Partitions by topic and number.
	Partitions []StopPartition
}

// StopPartition says how to stop one replica.
type StopPartition struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// LeaderEpoch fences the order: [cluster.LeaderEpochDeleting] when the topic is being deleted, [cluster.NoLeaderEpoch]
	// when unknown (KIP-570).
	LeaderEpoch cluster.LeaderEpoch
	// Delete is true when the log is to be deleted too.
	Delete bool
}

func (*BecomeRequest) body()   {}
func (*MetadataRequest) body() {}
func (*StopRequest) body()     {}

// String returns the order as transcripts show it.
func (r *BecomeRequest) String() string {
	var s strings.Builder
	s.WriteString("leader-and-isr")
	for _, p := range r.Partitions {
		fmt.Fprintf(&s, " [%s %s pe=%d replicas=%s", p.Partition, p.State, p.State.PartitionEpoch, p.Assignment)
		if p.New {
			s.WriteString(" new")
		}
		s.WriteString("]")
	}
	return s.String()
}

// String returns the order as transcripts show it.
func (r *MetadataRequest) String() string {
	var s strings.Builder
	s.WriteString("update-metadata brokers=")
	for i, b := range r.Brokers {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, "%d", b.ID)
	}
	for _, p := range r.Partitions {
		fmt.Fprintf(&s, " [%s %s replicas=%s", p.Partition, p.State, joinIDs(p.Replicas))
		if len(p.Offline) > 0 {
			fmt.Fprintf(&s, " offline=%s", joinIDs(p.Offline))
		}
		s.WriteString("]")
	}
	return s.String()
}

// String returns the order as transcripts show it.
func (r *StopRequest) String() string {
	var s strings.Builder
	s.WriteString("stop-replica")
	for _, p := range r.Partitions {
		fmt.Fprintf(&s, " [%s epoch=%d", p.Partition, p.LeaderEpoch)
		if p.Delete {
			s.WriteString(" delete")
		}
		s.WriteString("]")
	}
	return s.String()
}

// batch collects the requests of one transition, so that each broker gets at most one of each kind.
type batch struct {
	become          map[cluster.BrokerID]map[cluster.TopicPartition]BecomePartition
	stop            map[cluster.BrokerID]map[cluster.TopicPartition]StopPartition
	metadata        map[cluster.TopicPartition]MetadataPartition
	metadataBrokers map[cluster.BrokerID]struct{}
	metadataToAll   bool
}

// sendBecome adds a partition to the LeaderAndIsr requests of the brokers, and to the UpdateMetadata requests of all.
func (m *Machine) sendBecome(ids []cluster.BrokerID, p *partition, isNew bool) {
	if p.leadership == nil {
		return
	}
	if m.batch.become == nil {
		m.batch.become = make(map[cluster.BrokerID]map[cluster.TopicPartition]BecomePartition)
	}
	for _, id := range ids {
		if id < 0 {
			continue
		}
		of := m.batch.become[id]
		if of == nil {
			of = make(map[cluster.TopicPartition]BecomePartition)
			m.batch.become[id] = of
		}
		of[p.tp] = BecomePartition{
			Partition: p.tp, TopicID: p.topic.id, State: *p.leadership, Assignment: p.assignment, New: isNew || of[p.tp].New,
		}
	}
	m.sendMetadataToAll(p)
}

// sendMetadata adds partitions to the UpdateMetadata requests and the brokers to their receivers. Partitions without a state are
// left out. sendMetadataToAll sends to every registered broker.
func (m *Machine) sendMetadata(ids []cluster.BrokerID, ps ...*partition) {
	if m.batch.metadataBrokers == nil {
		m.batch.metadataBrokers = make(map[cluster.BrokerID]struct{})
	}
	for _, id := range ids {
		m.batch.metadataBrokers[id] = struct{}{}
	}
	if m.batch.metadata == nil {
		m.batch.metadata = make(map[cluster.TopicPartition]MetadataPartition, len(ps))
	}
	for _, p := range ps {
		if p.leadership == nil {
			continue
		}
		s := *p.leadership
		if p.topic.queued {
			s.Leader, s.LeaderEpoch = cluster.LeaderDeleting, cluster.LeaderEpochDeleting
		}
		var offline []cluster.BrokerID
		for _, id := range p.assignment.Replicas {
			if !m.online(p, id) {
				offline = append(offline, id)
			}
		}
		m.batch.metadata[p.tp] = MetadataPartition{
			Partition: p.tp, TopicID: p.topic.id, State: s, Replicas: p.assignment.Replicas, Offline: offline,
		}
	}
}

// sendMetadataToAll adds partitions to the UpdateMetadata requests of all brokers.
func (m *Machine) sendMetadataToAll(ps ...*partition) {
	m.batch.metadataToAll = true
	m.sendMetadata(nil, ps...)
}

// sendStop adds a replica to the StopReplica request of its broker.
func (m *Machine) sendStop(r replica, deleteLog bool) {
	if r.id < 0 {
		return
	}
	epoch := cluster.NoLeaderEpoch
	switch {
	case r.p.topic.queued:
		epoch = cluster.LeaderEpochDeleting
	case r.p.leadership != nil:
		epoch = r.p.leadership.LeaderEpoch
	}
	if m.batch.stop == nil {
		m.batch.stop = make(map[cluster.BrokerID]map[cluster.TopicPartition]StopPartition)
	}
	of := m.batch.stop[r.id]
	if of == nil {
		of = make(map[cluster.TopicPartition]StopPartition)
		m.batch.stop[r.id] = of
	}
	of[r.p.tp] = StopPartition{Partition: r.p.tp, LeaderEpoch: epoch, Delete: deleteLog}
}

// flush turns the batch into requests: LeaderAndIsr first, then UpdateMetadata, then StopReplica, each by broker. Brokers that are
// not registered get none.
func (b *batch) flush(m *Machine) {
	if m.hold > 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(b.become)) {
		if !m.registered(id) {
			continue
		}
		req := &BecomeRequest{Partitions: cluster.InOrder(b.become[id])}
		leaders := make(map[cluster.BrokerID]struct{})
		for _, p := range req.Partitions {
			leaders[p.State.Leader] = struct{}{}
		}
		for _, leader := range slices.Sorted(maps.Keys(leaders)) {
			if broker, ok := m.brokers[leader]; ok {
				req.Leaders = append(req.Leaders, broker)
			}
		}
		m.request(id, req)
	}
	if b.metadataToAll {
		b.metadataBrokers = make(map[cluster.BrokerID]struct{}, len(m.brokers))
		for id := range m.brokers {
			b.metadataBrokers[id] = struct{}{}
		}
	}
	if len(b.metadataBrokers) > 0 {
		req := &MetadataRequest{Partitions: cluster.InOrder(b.metadata), Brokers: m.brokerList()}
		for _, id := range slices.Sorted(maps.Keys(b.metadataBrokers)) {
			if m.registered(id) {
				m.request(id, req)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.stop)) {
		if m.registered(id) {
			m.request(id, &StopRequest{Partitions: cluster.InOrder(b.stop[id])})
		}
	}
	*b = batch{}
}

// request adds a request to the output, unless the registration that it is meant for is known to have ended.
func (m *Machine) request(id cluster.BrokerID, body Body) {
	if _, ok := m.gone[id]; ok {
		return
	}
	m.out.Requests = append(m.out.Requests, Request{Broker: id, BrokerEpoch: m.brokers[id].Epoch, Body: body})
}
