package znode

import (
	"math"
	"strconv"

	"github.com/ottla/ottla/proto/cluster"
)

// Reassignment asks for one partition to be moved: one entry of /admin/reassign_partitions (F§1.7).
type Reassignment struct {
	// Partition is what moves.
	Partition cluster.TopicPartition
	// Replicas is where to, the preferred leader first.
	Replicas []cluster.BrokerID
}

// reassignmentJSON is one entry as it stands in the node.
type reassignmentJSON struct {
	Topic     *string            `json:"topic"`
	Partition *int32             `json:"partition"`
	Replicas  []cluster.BrokerID `json:"replicas"`
}

// EncodeReassignments returns the content of /admin/reassign_partitions.
func EncodeReassignments(list []Reassignment) []byte {
	w := struct {
		Version    int32              `json:"version"`
		Partitions []reassignmentJSON `json:"partitions"`
	}{1, make([]reassignmentJSON, len(list))}
	for i := range list {
		r := &list[i]
		w.Partitions[i] = reassignmentJSON{&r.Partition.Topic, &r.Partition.Partition, ids(r.Replicas)}
	}
	return marshal(w)
}

// DecodeReassignments reads /admin/reassign_partitions.
func DecodeReassignments(path string, data []byte) ([]Reassignment, error) {
	var w struct {
		Partitions []reassignmentJSON `json:"partitions"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return nil, err
	}
	if w.Partitions == nil {
		return nil, missing(path, "partitions")
	}
	out := make([]Reassignment, len(w.Partitions))
	for i, r := range w.Partitions {
		tp, err := partitionRef{r.Topic, r.Partition}.tp(path, i)
		if err != nil {
			return nil, err
		}
		if r.Replicas == nil {
			return nil, corrupt(path, "entry %d of partitions has no replicas", i)
		}
		if err := checkIDs(path, "replicas", r.Replicas); err != nil {
			return nil, err
		}
		out[i] = Reassignment{Partition: tp, Replicas: r.Replicas}
	}
	return out, nil
}

// EncodePreferredElection returns the content of /admin/preferred_replica_election.
func EncodePreferredElection(tps []cluster.TopicPartition) []byte { return encodePartitions(tps) }

// DecodePreferredElection reads /admin/preferred_replica_election.
func DecodePreferredElection(path string, data []byte) ([]cluster.TopicPartition, error) {
	return decodePartitions(path, data)
}

// EncodeISRChange returns the content of a notification below /isr_change_notification.
func EncodeISRChange(tps []cluster.TopicPartition) []byte { return encodePartitions(tps) }

// DecodeISRChange reads a notification below /isr_change_notification.
func DecodeISRChange(path string, data []byte) ([]cluster.TopicPartition, error) {
	return decodePartitions(path, data)
}

// LogDirFailure is the only event that log directory notifications report.
const LogDirFailure int32 = 1

// EncodeLogDirEvent returns the content of a notification that a broker has lost a log directory.
func EncodeLogDirEvent(broker cluster.BrokerID) []byte {
	return marshal(struct {
		Version int32            `json:"version"`
		Broker  cluster.BrokerID `json:"broker"`
		Event   int32            `json:"event"`
	}{1, broker, LogDirFailure})
}

// DecodeLogDirEvent reads which broker has lost a log directory.
func DecodeLogDirEvent(path string, data []byte) (cluster.BrokerID, error) {
	var w struct {
		Broker *cluster.BrokerID `json:"broker"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return 0, err
	}
	if w.Broker == nil {
		return 0, missing(path, "broker")
	}
	if *w.Broker < 0 {
		return 0, corrupt(path, "broker is %d, ids start at 0", *w.Broker)
	}
	return *w.Broker, nil
}

// ProducerIDBlockSize is how many producer ids a broker claims at once.
const ProducerIDBlockSize = 1000

// ProducerIDBlock is a range of producer ids that one broker hands out: the content of /latest_producer_id_block (F§1.8).
type ProducerIDBlock struct {
	// Broker is who claimed the block.
	Broker cluster.BrokerID
	// Start is the first id.
	Start cluster.ProducerID
	// End is the last id, inclusive.
	End cluster.ProducerID
}

// Next returns the block that broker claims after b. ok is false when the ids are used up.
func (b ProducerIDBlock) Next(broker cluster.BrokerID) (next ProducerIDBlock, ok bool) {
	if b.End > math.MaxInt64-ProducerIDBlockSize {
		return ProducerIDBlock{}, false
	}
	return ProducerIDBlock{Broker: broker, Start: b.End + 1, End: b.End + ProducerIDBlockSize}, true
}

// Encode returns version 1. The bounds are strings.
func (b ProducerIDBlock) Encode() []byte {
	return marshal(struct {
		Version int32            `json:"version"`
		Broker  cluster.BrokerID `json:"broker"`
		Start   textInt          `json:"block_start"`
		End     textInt          `json:"block_end"`
	}{1, b.Broker, textInt(b.Start), textInt(b.End)})
}

// noProducerIDBlock precedes the first block: its Next starts at 0.
var noProducerIDBlock = ProducerIDBlock{Broker: cluster.NoBroker, Start: -1, End: -1}

// DecodeProducerIDBlock reads the block that was claimed last. For a node without data claimed is false, and the block is
// the one whose Next is the first of all.
func DecodeProducerIDBlock(path string, data []byte) (block ProducerIDBlock, claimed bool, err error) {
	if len(data) == 0 {
		return noProducerIDBlock, false, nil
	}
	var w struct {
		Broker *cluster.BrokerID `json:"broker"`
		Start  *textInt          `json:"block_start"`
		End    *textInt          `json:"block_end"`
	}
	if err := unmarshal(path, data, &w); err != nil {
		return ProducerIDBlock{}, false, err
	}
	switch {
	case w.Broker == nil:
		return ProducerIDBlock{}, false, missing(path, "broker")
	case w.Start == nil:
		return ProducerIDBlock{}, false, missing(path, "block_start")
	case w.End == nil:
		return ProducerIDBlock{}, false, missing(path, "block_end")
	case *w.Start < 0 || *w.End < *w.Start:
		return ProducerIDBlock{}, false, corrupt(path, "the block %d to %d is not a range", *w.Start, *w.End)
	}
	return ProducerIDBlock{*w.Broker, cluster.ProducerID(*w.Start), cluster.ProducerID(*w.End)}, true, nil
}

// DelegationToken is the content of /delegation_token/tokens/<id> (F§1.8). Principals are plain; the codec encodes them.
type DelegationToken struct {
	// ID is the token's id.
	ID string
	// Owner is <type>:<name>.
	Owner string
	// Requester is who asked for the token, usually the owner.
	Requester string
	// Renewers may extend the token.
	Renewers []string
	// Issued is in milliseconds since 1970.
	Issued int64
	// Expiry is in milliseconds since 1970.
	Expiry int64
	// Max is the latest possible expiry in milliseconds since 1970.
	Max int64
}

// tokenJSON is a token as it stands in the node.
type tokenJSON struct {
	Version   int32    `json:"version"`
	Owner     *string  `json:"owner"`
	Requester *string  `json:"tokenRequester,omitempty"`
	Renewers  []string `json:"renewers"`
	Issued    *int64   `json:"issueTimestamp"`
	Max       *int64   `json:"maxTimestamp"`
	Expiry    *int64   `json:"expiryTimestamp"`
	ID        *string  `json:"tokenId"`
}

// Encode returns version 3.
func (t DelegationToken) Encode() []byte {
	owner, requester := Sanitize(t.Owner), Sanitize(t.Requester)
	w := tokenJSON{3, &owner, &requester, make([]string, len(t.Renewers)), &t.Issued, &t.Max, &t.Expiry, &t.ID}
	for i, r := range t.Renewers {
		w.Renewers[i] = Sanitize(r)
	}
	return marshal(w)
}

// DecodeDelegationToken reads versions 1 to 3. Before version 3 the owner is the requester.
func DecodeDelegationToken(path string, data []byte) (DelegationToken, error) {
	var w tokenJSON
	if err := unmarshal(path, data, &w); err != nil {
		return DelegationToken{}, err
	}
	if w.Version < 1 || w.Version > 3 {
		return DelegationToken{}, corrupt(path, "the version is %d, want 1 to 3", w.Version)
	}
	if w.Owner == nil || w.ID == nil || w.Issued == nil || w.Max == nil || w.Expiry == nil {
		return DelegationToken{}, corrupt(path, "owner, tokenId or a timestamp is missing")
	}
	if w.Requester == nil {
		w.Requester = w.Owner
	}
	t := DelegationToken{ID: *w.ID, Issued: *w.Issued, Max: *w.Max, Expiry: *w.Expiry, Renewers: make([]string, len(w.Renewers))}
	var err error
	if t.Owner, err = Desanitize(*w.Owner); err == nil {
		t.Requester, err = Desanitize(*w.Requester)
	}
	for i := range w.Renewers {
		if err == nil {
			t.Renewers[i], err = Desanitize(w.Renewers[i])
		}
	}
	if err != nil {
		return DelegationToken{}, corrupt(path, "%w", err)
	}
	return t, nil
}

// EncodeConsumerOffset returns an old protocol's committed offset: plain ASCII digits.
func EncodeConsumerOffset(o cluster.Offset) []byte { return strconv.AppendInt(nil, int64(o), 10) }

// DecodeConsumerOffset reads plain ASCII digits.
func DecodeConsumerOffset(path string, data []byte) (cluster.Offset, error) {
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0, corrupt(path, "want an offset, got %.40q", data)
	}
	return cluster.Offset(n), nil
}
