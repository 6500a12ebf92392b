package channel

import (
	"maps"
	"slices"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// foldAt is the length at which a queue is folded: a broker that does not answer must not make the controller remember every event
// since, and when it answers again it wants the state and not the history.
const foldAt = 64

// Fold returns at most four orders that leave a broker as the given ones would. Of each partition remain the last LeaderAndIsr,
// what stopped it before that, and what stopped it after; of the metadata the last state of each partition and the last list of
// brokers. A replica that was new in an order that is dropped is new in the one that remains, and a deletion is never forgotten.
func Fold(bodies []state.Body) []state.Body {
	become := make(map[cluster.TopicPartition]state.BecomePartition)
	leaders := make(map[cluster.BrokerID]state.Broker)
	before := make(map[cluster.TopicPartition]state.StopPartition) // stops before the last become
	after := make(map[cluster.TopicPartition]state.StopPartition)  // stops after it, or without any
	metadata := make(map[cluster.TopicPartition]state.MetadataPartition)
	var brokers *state.MetadataRequest // the last one
	for _, b := range bodies {
		switch b := b.(type) {
		case *state.BecomeRequest:
			for _, p := range b.Partitions {
				p.New = p.New || become[p.Partition].New
				become[p.Partition] = p
				if s, ok := after[p.Partition]; ok {
					before[p.Partition] = lastStop(before, s)
					delete(after, p.Partition)
				}
			}
			for _, l := range b.Leaders {
				leaders[l.ID] = l
			}
		case *state.StopRequest:
			for _, p := range b.Partitions {
				after[p.Partition] = lastStop(after, p)
			}
		case *state.MetadataRequest:
			brokers = b
			for _, p := range b.Partitions {
				metadata[p.Partition] = p
			}
		}
	}
	var out []state.Body
	if len(before) > 0 {
		out = append(out, &state.StopRequest{Partitions: cluster.InOrder(before)})
	}
	if len(become) > 0 {
		r := &state.BecomeRequest{Partitions: cluster.InOrder(become)}
		for _, id := range slices.Sorted(maps.Keys(leaders)) {
			r.Leaders = append(r.Leaders, leaders[id])
		}
		out = append(out, r)
	}
	if brokers != nil {
		out = append(out, &state.MetadataRequest{Partitions: cluster.InOrder(metadata), Brokers: brokers.Brokers})
	}
	if len(after) > 0 {
		out = append(out, &state.StopRequest{Partitions: cluster.InOrder(after)})
	}
	return out
}

// lastStop returns what remains of a stop and the one noted before it: the later, unless only the earlier deletes.
func lastStop(noted map[cluster.TopicPartition]state.StopPartition, s state.StopPartition) state.StopPartition {
	if old, ok := noted[s.Partition]; ok && old.Delete && !s.Delete {
		return old
	}
	return s
}
