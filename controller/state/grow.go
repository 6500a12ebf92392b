package state

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// MaxPartitions bounds the partitions of a topic, before an assignment is computed that ZooKeeper could not hold anyway: a node
// holds a mebibyte.
const MaxPartitions = 100_000

// AddPartitions asks for more partitions of topics (F§2.7, KIP-195). Its reply is an [AddReply].
type AddPartitions struct {
	// Topics holds the wishes, one for each topic.
	Topics []MorePartitions
	// ValidateOnly checks everything and changes nothing.
	ValidateOnly bool
}

// MorePartitions says how many partitions a topic is to have.
type MorePartitions struct {
	// Topic is its name.
	Topic string
	// Count of partitions in all, more than there are now.
	Count int32
	// Assignments places the new partitions by hand, in their order, the preferred leader of each first; empty lets the machine place
	// them.
	Assignments [][]cluster.BrokerID
}

// AddReply answers [AddPartitions].
type AddReply struct {
	// Topics holds the answers in the order of the request.
	Topics []AddResult
}

// AddResult answers for one topic.
type AddResult struct {
	// Topic is its name.
	Topic string
	// Before is how many partitions it had.
	Before int32
	// Err is nil or a [*kerr.Error] with Kafka's text.
	Err error
}

// handle checks every wish and writes the assignments of those that pass; the new partitions then start like those of a new topic.
func (e AddPartitions) handle(m *Machine) {
	reply := AddReply{Topics: make([]AddResult, len(e.Topics))}
	var writes []Op
	var places []int // in reply, of each write
	var created []*partition
	taken := make(map[string]bool, len(e.Topics))
	for i, more := range e.Topics {
		result := &reply.Topics[i]
		result.Topic = more.Topic
		placed, err := m.placeMore(more, result)
		switch {
		case err != nil:
			result.Err = err
		case taken[more.Topic]:
			result.Err = kerr.InvalidRequest.With("Duplicate topic in request.")
		case !e.ValidateOnly:
			all := m.topics[more.Topic].allAssignments()
			for n, replicas := range placed {
				all[result.Before+int32(n)] = Assignment{Replicas: replicas}
			}
			writes, places = append(writes, setTopic(more.Topic, m.topics[more.Topic].id, all)), append(places, i)
		}
		taken[more.Topic] = true
	}
	m.rewriteTopics(writes, func(n int, r Result) {
		more, result := e.Topics[places[n]], &reply.Topics[places[n]]
		if result.Err = notWritten(r, more); result.Err != nil {
			return
		}
		t := m.topics[more.Topic]
		for index := result.Before; index < more.Count; index++ {
			created = append(created, t.addPartition(index, writes[n].Assignments[index]))
		}
		m.note(Info, "partitions were added", "topic", t.name, "count", more.Count-result.Before)
	})
	m.then(func() {
		if len(created) > 0 {
			m.partitionsCreated(created)
		}
	})
	m.then(func() { m.out.Reply = reply })
}

// notWritten returns the error of a topic whose node was not written, nil if it was.
func notWritten(r Result, more MorePartitions) error {
	switch r.Outcome {
	case Done:
		return nil
	case NoNode:
		return kerr.UnknownTopicOrPartition.With(fmt.Sprintf("The topic '%s' does not exist.", more.Topic))
	case TooLarge:
		return kerr.InvalidPartitions.With(fmt.Sprintf("The assignment of topic '%s' with %d partitions does not fit into its ZooKeeper node.", more.Topic, more.Count))
	}
	return kerr.UnknownServerError.With(fmt.Sprintf("The assignment of topic '%s' could not be written to ZooKeeper: %s.", more.Topic, r))
}

// placeMore checks one wish in Kafka's order and returns the replicas of the new partitions. It fills in result.Before.
func (m *Machine) placeMore(more MorePartitions, result *AddResult) ([][]cluster.BrokerID, error) {
	t, ok := m.topics[more.Topic]
	switch {
	case ok && t.queued:
		return nil, kerr.InvalidTopicException.With("The topic is queued for deletion.")
	case !ok || len(t.partitions) == 0:
		return nil, kerr.UnknownTopicOrPartition.With(fmt.Sprintf("The topic '%s' does not exist.", more.Topic))
	case t.reassigning():
		return nil, kerr.ReassignmentInProgress.With(fmt.Sprintf("A partition reassignment is in progress for the topic '%s'.", more.Topic))
	}
	before := int32(len(t.partitions))
	result.Before = before
	switch {
	case more.Count < before:
		return nil, kerr.InvalidPartitions.With(fmt.Sprintf("Topic currently has %d partitions, which is higher than the requested %d.", before, more.Count))
	case more.Count == before:
		return nil, kerr.InvalidPartitions.With(fmt.Sprintf("Topic already has %d partitions.", before))
	case more.Count > MaxPartitions:
		return nil, kerr.InvalidPartitions.With(fmt.Sprintf("Number of partitions must not be larger than %d.", MaxPartitions))
	case t.partitions[before-1].tp.Partition != before-1:
		return nil, kerr.UnknownServerError.With(fmt.Sprintf("Unexpected existing replica assignment for topic '%s', the partitions are not numbered from 0 without gaps.", more.Topic))
	}
	first := t.partitions[0].assignment.Replicas
	if len(more.Assignments) > 0 {
		return more.Assignments, m.checkMore(more, before, len(first))
	}
	brokers := make([]BrokerRack, 0, len(m.brokers))
	for _, b := range m.brokerList() {
		brokers = append(brokers, BrokerRack{ID: b.ID, Rack: b.Rack})
	}
	return PlaceAdded(brokers, first, int(before), int(more.Count-before), RackEnforced)
}

// checkMore checks new partitions that are placed by hand: known brokers, as many lists as partitions, and as many replicas in each
// as the first partition has.
func (m *Machine) checkMore(more MorePartitions, before int32, factor int) error {
	refuse := func(format string, args ...any) error {
		return kerr.InvalidReplicaAssignment.With(fmt.Sprintf(format, args...))
	}
	var unknown []cluster.BrokerID
	for _, replicas := range more.Assignments {
		for _, id := range replicas {
			if !m.registered(id) && !slices.Contains(unknown, id) {
				unknown = append(unknown, id)
			}
		}
	}
	if len(unknown) > 0 {
		return refuse("Unknown broker(s) in replica assignment: %s.", joinIDs(unknown))
	}
	if n := int(more.Count - before); len(more.Assignments) != n {
		return refuse("Increasing the number of partitions by %d but %d assignments provided.", n, len(more.Assignments))
	}
	for i, replicas := range more.Assignments {
		index := int(before) + i
		switch twice := repeated(replicas); {
		case len(replicas) == 0:
			return refuse("Cannot have replication factor of 0 for partition id %d.", index)
		case twice:
			return refuse("Duplicate brokers not allowed in replica assignment: %s for partition id %d.", joinIDs(replicas), index)
		case len(replicas) != factor:
			return refuse("Inconsistent replication factor between partitions, partition 0 has %d while partition %d has replication factor %d.", factor, index, len(replicas))
		}
	}
	return nil
}

// repeated reports whether an id comes twice.
func repeated(ids []cluster.BrokerID) bool {
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return true
		}
	}
	return false
}
