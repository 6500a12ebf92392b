package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// AlterPartition is a leader's wish to change the in-sync replicas of partitions (F§2.12, KIP-497). Its reply is an
// [AlterReply].
type AlterPartition struct {
	// Broker is the leader that asks.
	Broker cluster.BrokerID
	// BrokerEpoch is the leader's registration.
	BrokerEpoch cluster.BrokerEpoch
	// Partitions holds the changes.
	Partitions []AlterRequest
}

// AlterRequest is the wish for one partition.
type AlterRequest struct {
	// Partition names the partition. If its Topic is empty, TopicID names the topic.
	Partition cluster.TopicPartition
	// TopicID is the topic's id, zero when the topic is named.
	TopicID cluster.TopicID
	// LeaderEpoch is the epoch in which the broker leads.
	LeaderEpoch cluster.LeaderEpoch
	// PartitionEpoch is the version of the state that the change starts from.
	PartitionEpoch cluster.PartitionEpoch
	// ISR holds the new in-sync replicas.
	ISR []cluster.BrokerID
	// ISREpochs holds the registrations of the brokers in ISR, in the same order; nil when the leader does not know them. A
	// [cluster.NoBrokerEpoch] is not checked (KIP-903).
	ISREpochs []cluster.BrokerEpoch
	// Recovery is the new recovery state.
	Recovery RecoveryState
	// Fence asks for a new version of the state with the set in sync that there is, which ISR repeats: what was asked for with the old version cannot be
	// done any more.
	Fence bool
}

// AlterReply answers [AlterPartition].
type AlterReply struct {
	// Code is the answer for the whole request: none, or STALE_BROKER_EPOCH. Partitions is then empty.
	Code kerr.Code
	// Partitions holds the answers in the order of the request.
	Partitions []AlterResult
}

// AlterResult answers for one partition.
type AlterResult struct {
	// Partition names the partition.
	Partition cluster.TopicPartition
	// Code is [kerr.None] or the reason of the refusal.
	Code kerr.Code
	// State is the state that holds now, when Code is none, and when it is INVALID_UPDATE_VERSION because the leader's version is an old one.
	State LeaderAndISR
}

// handle checks every wish, writes those that pass, and tells everybody (F§2.12).
func (e AlterPartition) handle(m *Machine) {
	reply := AlterReply{Partitions: make([]AlterResult, len(e.Partitions))}
	if b, ok := m.brokers[e.Broker]; !ok || b.Epoch != e.BrokerEpoch {
		m.out.Reply = AlterReply{Code: kerr.StaleBrokerEpoch}
		return
	}
	var valid []int // in e.Partitions
	var behind []*partition
	of := make(map[int]*partition, len(e.Partitions))
	taken := make(map[*partition]bool)
	for i, r := range e.Partitions {
		p, code := m.checkAlter(e.Broker, r)
		reply.Partitions[i] = AlterResult{Partition: r.Partition, Code: code}
		if p == nil {
			continue
		}
		reply.Partitions[i].Partition = p.tp
		switch {
		case code == kerr.NotController:
			behind = append(behind, p)
		case code == kerr.InvalidUpdateVersion:
			reply.Partitions[i].State = *p.leadership
		case code != kerr.None:
		case !r.Fence && m.wish(e.Broker, p, r).Same(withController(*p.leadership, 0)):
			reply.Partitions[i].State = *p.leadership // a repeated request
		case taken[p]:
			reply.Partitions[i].Code = kerr.InvalidRequest
		default:
			taken[p] = true
			valid, of[i] = append(valid, i), p
		}
	}
	m.commit(func() []Op {
		ops := make([]Op, len(valid))
		for n, i := range valid {
			next := withController(m.wish(e.Broker, of[i], e.Partitions[i]), m.opts.Epoch)
			ops[n] = Op{Kind: SetState, Partition: of[i].tp, State: next, Version: of[i].leadership.PartitionEpoch}
		}
		return ops
	}, func(ops []Op, results []Result) {
		var unsure []int
		for n, r := range results {
			i := valid[n]
			switch r.Outcome {
			case Done:
				m.altered(of[i], ops[n].State, r.Version, &reply.Partitions[i])
			case BadVersion, Unknown:
				reply.Partitions[i].Code = kerr.InvalidUpdateVersion
				unsure = append(unsure, n)
			default:
				reply.Partitions[i].Code = kerr.UnknownServerError
				m.note(Error, "could not write the in-sync replicas", "partition", of[i].tp, "outcome", r)
			}
		}
		m.resolveAlter(unsure, ops, func(n int) (*partition, *AlterResult) { return of[valid[n]], &reply.Partitions[valid[n]] })
	})
	m.refresh(behind)
	m.then(func() { m.out.Reply = reply })
}

// refresh schedules reading the states of partitions of which a leader knows more than this controller. If there is a newer
// controller that is of no use; if a write's outcome could not be found out, it is what ends the disagreement (KAFKA-14154).
func (m *Machine) refresh(ps []*partition) {
	m.commit(func() []Op {
		ops := make([]Op, len(ps))
		for i, p := range ps {
			ops[i] = Op{Kind: ReadState, Partition: p.tp}
		}
		return ops
	}, func(_ []Op, results []Result) {
		for i, r := range results {
			if r.Outcome == Done && r.State.PartitionEpoch > ps[i].leadership.PartitionEpoch {
				m.note(Warn, "a leader knew a newer state", "partition", ps[i].tp, "state", r.State)
				m.learn(ps[i], r.State)
				m.sendMetadataToAll(ps[i])
			}
		}
	})
}

// wish returns the state that a leader asks for, without a controller epoch.
func (m *Machine) wish(leader cluster.BrokerID, p *partition, r AlterRequest) LeaderAndISR {
	s := withController(*p.leadership, 0)
	s.Leader, s.ISR, s.Recovery = leader, slices.Clone(r.ISR), r.Recovery
	return s
}

// withController returns the state as written by the controller of that epoch.
func withController(s LeaderAndISR, epoch cluster.ControllerEpoch) LeaderAndISR {
	s.ControllerEpoch = epoch
	return s
}

// altered notes a change that was written.
func (m *Machine) altered(p *partition, s LeaderAndISR, version cluster.PartitionEpoch, r *AlterResult) {
	s.PartitionEpoch = version
	m.learn(p, s)
	r.Code, r.State = kerr.None, s
	m.sendMetadataToAll(p)
}

// resolveAlter reads the states whose writes conflicted or whose replies were lost. A write that was applied counts; otherwise
// what was read becomes known, and the leader has to ask again.
func (m *Machine) resolveAlter(unsure []int, written []Op, of func(n int) (*partition, *AlterResult)) {
	if len(unsure) == 0 {
		return
	}
	m.commit(func() []Op {
		ops := make([]Op, len(unsure))
		for i, n := range unsure {
			ops[i] = Op{Kind: ReadState, Partition: written[n].Partition}
		}
		return ops
	}, func(_ []Op, results []Result) {
		for i, r := range results {
			p, result := of(unsure[i])
			want := written[unsure[i]]
			switch {
			case r.Outcome != Done:
				m.note(Error, "could not read the partition's state", "partition", p.tp, "outcome", r)
			case r.State.PartitionEpoch == want.Version+1 && r.State.Same(want.State):
				m.altered(p, want.State, r.State.PartitionEpoch, result)
			default:
				m.learn(p, r.State)
			}
		}
	})
}

// checkAlter checks one wish in Kafka's order. p is nil when the partition is not known. A topic that is to be deleted has no ISRs any
// more, except while its deletion waits for the end of a reassignment: that end needs them.
func (m *Machine) checkAlter(broker cluster.BrokerID, r AlterRequest) (p *partition, code kerr.Code) {
	tp := r.Partition
	if tp.Topic == "" {
		t, ok := m.ids[r.TopicID]
		if !ok {
			return nil, kerr.UnknownTopicID
		}
		tp.Topic = t.name
	}
	p, ok := m.partition(tp)
	if !ok || p.leadership == nil || p.leaving() {
		return nil, kerr.UnknownTopicOrPartition
	}
	now := p.leadership
	switch {
	case r.PartitionEpoch > now.PartitionEpoch || r.LeaderEpoch > now.LeaderEpoch:
		return p, kerr.NotController // the leader has seen more than this controller, which must be a thing of the past
	case r.LeaderEpoch < now.LeaderEpoch:
		return p, kerr.FencedLeaderEpoch
	case !r.Fence && now.Leader == broker && slices.Equal(r.ISR, now.ISR) && r.Recovery == now.Recovery:
		return p, kerr.None
	case r.PartitionEpoch < now.PartitionEpoch:
		return p, kerr.InvalidUpdateVersion
	case r.Recovery == Recovering && (len(r.ISR) > 1 || now.Recovery == Recovered):
		return p, kerr.InvalidRequest
	case now.Leader != broker:
		return p, kerr.InvalidRequest
	case r.Fence && slices.Equal(r.ISR, now.ISR):
		return p, kerr.None // whether the members are eligible makes no difference
	case r.Fence || !validISR(p, broker, r.ISR):
		return p, kerr.InvalidRequest
	}
	for i, id := range r.ISR {
		stale := i < len(r.ISREpochs) && r.ISREpochs[i] != cluster.NoBrokerEpoch && r.ISREpochs[i] != m.brokers[id].Epoch
		if !m.online(p, id) || stale || !slices.Contains(now.ISR, id) && m.wouldLeave(p, r.ISR, id) {
			return p, kerr.IneligibleReplica
		}
	}
	return p, kerr.None
}

// wouldLeave reports whether a broker that joins to make this ISR would have to leave it again at once: it does not answer, or its disk stalls and the others
// are enough.
func (m *Machine) wouldLeave(p *partition, isr []cluster.BrokerID, id cluster.BrokerID) bool {
	if slices.Contains(m.contact.Suspects, id) {
		return true
	}
	return slices.Contains(m.contact.Stalled, id) && len(without(isr, m.contact.avoided()...)) >= m.contact.minISR(p.tp.Topic)
}

// validISR reports whether a list may be the ISR of a partition that the broker leads: assigned replicas, none twice, the leader
// among them.
func validISR(p *partition, leader cluster.BrokerID, isr []cluster.BrokerID) bool {
	for i, id := range isr {
		if !slices.Contains(p.assignment.Replicas, id) || slices.Contains(isr[:i], id) {
			return false
		}
	}
	return slices.Contains(isr, leader)
}
