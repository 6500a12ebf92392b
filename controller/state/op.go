package state

import (
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
)

// OpKind is a kind of [Op].
type OpKind uint8

// The kinds of ops.
const (
	// CreateState creates the nodes of a new partition: /brokers/topics/<t>/partitions, …/<p> and …/<p>/state with State.
	CreateState OpKind = iota + 1
	// SetState writes the state node if its version is still Version.
	SetState
	// ReadState reads the state node.
	ReadState
	// ReadTopicConfig reads the overrides in /config/topics/<t>.
	ReadTopicConfig
	// SetTopic rewrites /brokers/topics/<t> with TopicID and Assignments.
	SetTopic
	// DeleteTopic removes everything below /brokers/topics/<t> and /config/topics/<t>, then both together with /admin/delete_topics/<t>.
	DeleteTopic
	// DeleteMarker removes /admin/delete_topics/<t>.
	DeleteMarker
	// SetReassignments rewrites /admin/reassign_partitions with Moves, and deletes it when there are none.
	SetReassignments
	// DeletePreferredElection removes /admin/preferred_replica_election.
	DeletePreferredElection
)

// Op is a read or a write of ZooKeeper. Writes are fenced: each is committed together with a check of /controller_epoch.
type Op struct {
	// Kind says what to do.
	Kind OpKind
	// Partition is the partition concerned; ops on topics use only its Topic.
	Partition cluster.TopicPartition
	// State is the content for CreateState and SetState. Its PartitionEpoch has no meaning.
	State LeaderAndISR
	// Version is the version that SetState expects.
	Version cluster.PartitionEpoch
	// TopicID is the id for SetTopic.
	TopicID cluster.TopicID
	// Assignments is the content for SetTopic.
	Assignments map[int32]Assignment
	// Moves is the content for SetReassignments.
	Moves []Move
}

// String returns the op as transcripts show it.
func (o Op) String() string {
	switch o.Kind {
	case CreateState:
		return fmt.Sprintf("create-state %s %s", o.Partition, o.State)
	case SetState:
		return fmt.Sprintf("set-state %s %s version=%d", o.Partition, o.State, o.Version)
	case ReadState:
		return fmt.Sprintf("read-state %s", o.Partition)
	case ReadTopicConfig:
		return fmt.Sprintf("read-topic-config %s", o.Partition.Topic)
	case SetTopic:
		return fmt.Sprintf("set-topic %s %s", o.Partition.Topic, formatAssignments(o.Assignments))
	case DeleteTopic:
		return fmt.Sprintf("delete-topic %s", o.Partition.Topic)
	case DeleteMarker:
		return fmt.Sprintf("delete-marker %s", o.Partition.Topic)
	case SetReassignments:
		s := "set-reassignments"
		for _, move := range o.Moves {
			s += fmt.Sprintf(" %s:%s", move.Partition, joinIDs(move.Replicas))
		}
		return s
	case DeletePreferredElection:
		return "delete-preferred-election"
	}
	return fmt.Sprintf("op %d", o.Kind)
}

// Outcome is how an [Op] ended. A write that was refused because this controller is deposed, or a session that expired, is
// no outcome: the machine ends with the reign.
type Outcome uint8

// The outcomes.
const (
	// Done means that the write is applied, or that the read succeeded.
	Done Outcome = iota + 1
	// BadVersion means that the node has another version than expected; nothing was written.
	BadVersion
	// NodeExists means that the node to create is there already; nothing was written.
	NodeExists
	// NoNode means that the node, or its parent, does not exist; nothing was written.
	NoNode
	// Unknown means that the reply was lost: the write may or may not be applied.
	Unknown
	// Failed means that nothing was written or read, for the reason in Result.Reason.
	Failed
	// TooLarge means that the content does not fit into a node; nothing was written.
	TooLarge
)

// String returns the outcome's name.
func (o Outcome) String() string {
	names := [...]string{"none", "done", "bad-version", "node-exists", "no-node", "unknown", "failed", "too-large"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Result is what came of an [Op].
type Result struct {
	// Outcome is how it ended. The other fields have a meaning only as said.
	Outcome Outcome
	// Version is the node's version after SetState and CreateState, when Done.
	Version cluster.PartitionEpoch
	// State is what ReadState found, when Done; its PartitionEpoch is the node's version.
	State LeaderAndISR
	// Config holds the overrides that ReadTopicConfig found, when Done.
	Config map[string]string
	// Reason explains Failed.
	Reason string
}

// String returns the outcome and the reason.
func (r Result) String() string {
	if r.Outcome == Failed {
		return "failed: " + r.Reason
	}
	return r.Outcome.String()
}

// update is a conditional write of many state nodes: decide computes what each is to become, done hears of those that were
// written, none of those where decide said no or the write failed.
type update struct {
	decide func(p *partition, current LeaderAndISR) (LeaderAndISR, bool)
	done   func(p *partition)
}

// updateStates schedules u for the partitions. The known states are tried first; where the version has moved, or the reply was
// lost, the node is read and, unless it holds just what was to be written, u decides anew. Trying first what is known is safe
// because the write is conditional on the version of the node that the known state was read from (F§2.5 reads always).
func (m *Machine) updateStates(ps []*partition, u update) { m.attempt(ps, u, 1) }

func (m *Machine) attempt(ps []*partition, u update, attempt int) {
	var written []*partition
	m.commit(func() []Op {
		var ops []Op
		for _, p := range ps {
			if op, ok := m.planUpdate(p, u); ok {
				ops, written = append(ops, op), append(written, p)
			}
		}
		return ops
	}, func(ops []Op, results []Result) {
		var unsure []pending
		for i, r := range results {
			switch r.Outcome {
			case Done:
				m.written(written[i], ops[i].State, r.Version, u)
			case BadVersion, Unknown:
				unsure = append(unsure, pending{written[i], ops[i]})
			default:
				m.note(Error, "could not write the partition's state", "partition", ops[i].Partition, "state", ops[i].State, "outcome", r)
			}
		}
		m.resolve(unsure, u, attempt)
	})
}

// planUpdate returns the write of one partition.
func (m *Machine) planUpdate(p *partition, u update) (Op, bool) {
	if p.leadership == nil {
		m.note(Error, "the partition has no state", "partition", p.tp)
		return Op{}, false
	}
	if p.leadership.ControllerEpoch > m.opts.Epoch {
		m.note(Error, "the partition's state was written by a newer controller", "partition", p.tp, "controller-epoch", p.leadership.ControllerEpoch)
		return Op{}, false
	}
	next, ok := u.decide(p, *p.leadership)
	if !ok {
		return Op{}, false
	}
	if next.LeaderEpoch < 0 {
		m.note(Error, "no leader epoch can follow that of the partition; its state has to be corrected in ZooKeeper", "partition", p.tp, "state", *p.leadership)
		return Op{}, false
	}
	next.ControllerEpoch = m.opts.Epoch
	return Op{Kind: SetState, Partition: p.tp, State: next, Version: p.leadership.PartitionEpoch}, true
}

// written notes the new state of a partition.
func (m *Machine) written(p *partition, s LeaderAndISR, version cluster.PartitionEpoch, u update) {
	s.PartitionEpoch = version
	m.learn(p, s)
	u.done(p)
}

// pending is a write whose outcome has to be read.
type pending struct {
	p  *partition
	op Op
}

// resolve reads the states whose writes conflicted or whose replies were lost, and tries again where it has to.
func (m *Machine) resolve(unsure []pending, u update, attempt int) {
	if len(unsure) == 0 {
		return
	}
	if attempt >= maxAttempts {
		m.note(Error, "gave up on writing partition states after repeated conflicts", "partitions", len(unsure), "first", unsure[0].p.tp)
		return
	}
	m.commit(func() []Op {
		ops := make([]Op, len(unsure))
		for i, w := range unsure {
			ops[i] = Op{Kind: ReadState, Partition: w.p.tp}
		}
		return ops
	}, func(_ []Op, results []Result) {
		var again []*partition
		for i, r := range results {
			w := unsure[i]
			if r.Outcome != Done {
				m.note(Error, "could not read the partition's state", "partition", w.p.tp, "outcome", r)
				continue
			}
			if r.State.PartitionEpoch == w.op.Version+1 && r.State.Same(w.op.State) {
				m.written(w.p, w.op.State, r.State.PartitionEpoch, u) // the write was applied, its reply was lost
				continue
			}
			if r.State.PartitionEpoch != w.op.Version {
				m.note(Warn, "the partition's state was changed by another", "partition", w.p.tp, "state", r.State)
			}
			m.learn(w.p, r.State)
			again = append(again, w.p)
		}
		if len(again) > 0 {
			m.attempt(again, u, attempt+1)
		}
	})
}
