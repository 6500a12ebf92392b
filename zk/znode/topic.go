package znode

import (
	"maps"
	"slices"
	"strconv"

	"github.com/ottla/ottla/proto/cluster"
)

// Topic is the content of /brokers/topics/<topic> (F§1.5). While a partition is being reassigned, Replicas holds the full
// set, target replicas first and those on their way out last; Adding and Removing name the difference and hold only
// partitions with a list that is not empty.
type Topic struct {
	// ID is the topic's id. Zero for topics made before Kafka 2.8 gave them one.
	ID cluster.TopicID
	// Replicas lists each partition's replicas, the preferred leader first.
	Replicas map[int32][]cluster.BrokerID
	// Adding lists the replicas that a reassignment brings in.
	Adding map[int32][]cluster.BrokerID
	// Removing lists the replicas that a reassignment takes out.
	Removing map[int32][]cluster.BrokerID
}

// Partitions returns the partition numbers in ascending order.
func (t Topic) Partitions() []int32 { return slices.Sorted(maps.Keys(t.Replicas)) }

// Encode returns version 3 of the assignment. A topic without an id is written without the key.
func (t Topic) Encode() []byte {
	w := struct {
		Version    int32                         `json:"version"`
		ID         string                        `json:"topic_id,omitempty"`
		Partitions map[string][]cluster.BrokerID `json:"partitions"`
		Adding     map[string][]cluster.BrokerID `json:"adding_replicas"`
		Removing   map[string][]cluster.BrokerID `json:"removing_replicas"`
	}{Version: 3, Partitions: byText(t.Replicas, true), Adding: byText(t.Adding, false), Removing: byText(t.Removing, false)}
	if !t.ID.IsZero() {
		w.ID = t.ID.String()
	}
	return marshal(w)
}

// byText spells the partition numbers as JSON keys. Empty lists are kept only where asked.
func byText(in map[int32][]cluster.BrokerID, keepEmpty bool) map[string][]cluster.BrokerID {
	out := make(map[string][]cluster.BrokerID, len(in))
	for p, replicas := range in {
		if len(replicas) > 0 || keepEmpty {
			out[strconv.Itoa(int(p))] = ids(replicas)
		}
	}
	return out
}

// DecodeTopic reads any version of the assignment.
func DecodeTopic(path string, data []byte) (Topic, error) {
	var w struct {
		ID         *string                       `json:"topic_id"`
		Partitions map[string][]cluster.BrokerID `json:"partitions"`
		Adding     map[string][]cluster.BrokerID `json:"adding_replicas"`
		Removing   map[string][]cluster.BrokerID `json:"removing_replicas"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return Topic{}, err
	}
	if w.Partitions == nil {
		return Topic{}, missing(path, "partitions")
	}
	var t Topic
	var err error
	if w.ID != nil {
		if t.ID, err = cluster.ParseTopicID(*w.ID); err != nil {
			return Topic{}, corrupt(path, "topic_id: %w", err)
		}
	}
	if t.Replicas, err = byNumber(path, "partitions", w.Partitions); err != nil {
		return Topic{}, err
	}
	if t.Adding, err = byNumber(path, "adding_replicas", w.Adding); err != nil {
		return Topic{}, err
	}
	if t.Removing, err = byNumber(path, "removing_replicas", w.Removing); err != nil {
		return Topic{}, err
	}
	return t, nil
}

// byNumber is the inverse of byText.
func byNumber(path, key string, in map[string][]cluster.BrokerID) (map[int32][]cluster.BrokerID, error) {
	out := make(map[int32][]cluster.BrokerID, len(in))
	for text, replicas := range in {
		p, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, corrupt(path, "%s has the key %.40q, want a partition number", key, text)
		}
		if err := checkIDs(path, key, replicas); err != nil {
			return nil, err
		}
		if _, twice := out[int32(p)]; twice {
			return nil, corrupt(path, "%s has partition %d twice", key, p)
		}
		out[int32(p)] = ids(replicas)
	}
	return out, nil
}

// LeaderRecoveryState tells whether a leader elected uncleanly has finished recovering.
type LeaderRecoveryState int8

// The leader recovery states (KIP-704).
const (
	// Recovered is the ordinary state; it is not written.
	Recovered LeaderRecoveryState = 0
	// Recovering marks a partition whose leader came from outside the in-sync replicas.
	Recovering LeaderRecoveryState = 1
)

// PartitionState is the content of /brokers/topics/<topic>/partitions/<partition>/state (F§1.5). The partition epoch is
// not in it: it is the node's version.
type PartitionState struct {
	// ControllerEpoch is that of the controller that wrote the state last.
	ControllerEpoch cluster.ControllerEpoch
	// Leader is the leading broker, or [cluster.NoBroker].
	Leader cluster.BrokerID
	// LeaderEpoch counts elections.
	LeaderEpoch cluster.LeaderEpoch
	// ISR are the in-sync replicas. Never empty in a sound cluster.
	ISR []cluster.BrokerID
	// Recovery is [Recovering] after an unclean election until the leader says otherwise.
	Recovery LeaderRecoveryState
}

// Equal reports whether two states say the same, with the same order of in-sync replicas.
func (s PartitionState) Equal(o PartitionState) bool {
	return s.ControllerEpoch == o.ControllerEpoch && s.Leader == o.Leader && s.LeaderEpoch == o.LeaderEpoch &&
		s.Recovery == o.Recovery && slices.Equal(s.ISR, o.ISR)
}

// Encode returns version 1.
func (s PartitionState) Encode() []byte {
	return marshal(struct {
		Version         int32                   `json:"version"`
		ControllerEpoch cluster.ControllerEpoch `json:"controller_epoch"`
		Leader          cluster.BrokerID        `json:"leader"`
		LeaderEpoch     cluster.LeaderEpoch     `json:"leader_epoch"`
		ISR             []cluster.BrokerID      `json:"isr"`
		Recovery        LeaderRecoveryState     `json:"leader_recovery_state,omitempty"`
	}{1, s.ControllerEpoch, s.Leader, s.LeaderEpoch, ids(s.ISR), s.Recovery})
}

// DecodePartitionState reads a state. All keys but leader_recovery_state are required.
func DecodePartitionState(path string, data []byte) (PartitionState, error) {
	var w struct {
		ControllerEpoch *cluster.ControllerEpoch `json:"controller_epoch"`
		Leader          *cluster.BrokerID        `json:"leader"`
		LeaderEpoch     *cluster.LeaderEpoch     `json:"leader_epoch"`
		ISR             []cluster.BrokerID       `json:"isr"`
		Recovery        LeaderRecoveryState      `json:"leader_recovery_state"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return PartitionState{}, err
	}
	switch {
	case w.ControllerEpoch == nil:
		return PartitionState{}, missing(path, "controller_epoch")
	case w.Leader == nil:
		return PartitionState{}, missing(path, "leader")
	case w.LeaderEpoch == nil:
		return PartitionState{}, missing(path, "leader_epoch")
	case w.ISR == nil:
		return PartitionState{}, missing(path, "isr")
	case *w.Leader < cluster.NoBroker:
		return PartitionState{}, corrupt(path, "leader is %d, want -1 or a broker id", *w.Leader)
	case *w.LeaderEpoch < 0:
		return PartitionState{}, corrupt(path, "leader_epoch is %d, want 0 or more", *w.LeaderEpoch)
	case w.Recovery != Recovered && w.Recovery != Recovering:
		return PartitionState{}, corrupt(path, "leader_recovery_state is %d, want 0 or 1", w.Recovery)
	}
	if err := checkIDs(path, "isr", w.ISR); err != nil {
		return PartitionState{}, err
	}
	return PartitionState{
		ControllerEpoch: *w.ControllerEpoch, Leader: *w.Leader, LeaderEpoch: *w.LeaderEpoch, ISR: w.ISR, Recovery: w.Recovery,
	}, nil
}
