// Package znode knows where Kafka keeps things in ZooKeeper and how it spells them: a function for every path and a type
// for every JSON form, with an encoder that writes what Kafka 3.9 writes and a decoder that reads what any Kafka since 0.8
// wrote. It is the single place that knows; docs/formats/znodes.md shows the same with examples.
//
// Encoders write compact JSON (no spaces), with keys in the order of Kafka's documentation. Nothing depends on that order:
// Kafka itself writes from hash maps. Decoders take keys in any order, ignore unknown ones, and accept every version that
// carries what is asked for. What they cannot read they refuse with a [*CorruptError] that names the znode and the fault.
//
// All paths are relative to the chroot of zookeeper.connect; the session layer (package zk) adds and strips it.
//
// The package is pure: no IO, no clock, no randomness. Everything is safe for concurrent use.
// The rules are those of F§1 (Kafka fact sheet) and of kafka.zk.ZkData.
package znode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/ottla/ottla/proto/cluster"
)

// CorruptError reports a znode whose content cannot be read. The znode is left alone: only an operator can tell what it
// was meant to say.
type CorruptError struct {
	// Path is the znode, relative to the chroot.
	Path string
	// Err says what is wrong with the content.
	Err error
}

// Error names the znode and the fault.
func (e *CorruptError) Error() string { return fmt.Sprintf("read znode %s: %v", e.Path, e.Err) }

// Unwrap returns the fault.
func (e *CorruptError) Unwrap() error { return e.Err }

// corrupt wraps what is wrong with the znode at path.
func corrupt(path, format string, args ...any) error {
	return &CorruptError{Path: path, Err: fmt.Errorf(format, args...)}
}

// marshal returns compact JSON. Unlike json.Marshal it leaves '<', '>' and '&' as they are, as Kafka does. The values
// that this package passes always can be encoded, so a failure is a broken invariant.
func marshal(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("znode: encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// unmarshal reads a JSON object. Anything else, null and nothing included, is an error that names the path.
func unmarshal(path string, data []byte, v any) error {
	switch trimmed := bytes.TrimSpace(data); {
	case len(trimmed) == 0:
		return corrupt(path, "it is empty, want a JSON object")
	case trimmed[0] != '{':
		return corrupt(path, "want a JSON object, it starts with %.20q", trimmed)
	}
	if err := json.Unmarshal(data, v); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return corrupt(path, "not JSON at byte %d: %w", syntax.Offset, err)
		}
		return corrupt(path, "not the expected JSON: %w", err)
	}
	return nil
}

// missing is the error of a required key that is not there.
func missing(path, key string) error { return corrupt(path, "the key %q is missing", key) }

// textInt is a 64-bit number that Kafka writes as a JSON string ("1729850000000"). A plain number is accepted as well,
// because other writers get this wrong.
type textInt int64

// MarshalJSON writes the number as a string.
func (n textInt) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

// UnmarshalJSON reads a string or a number.
func (n *textInt) UnmarshalJSON(data []byte) error {
	text := string(data)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("want a number of milliseconds or an id in quotes, got %.40q", text)
	}
	*n = textInt(v)
	return nil
}

// ids turns broker ids into a slice that encodes as [] when empty, never as null.
func ids(in []cluster.BrokerID) []cluster.BrokerID {
	if in == nil {
		return []cluster.BrokerID{}
	}
	return in
}

// checkIDs refuses negative broker ids under the given key.
func checkIDs(path, key string, in []cluster.BrokerID) error {
	for _, id := range in {
		if id < 0 {
			return corrupt(path, "%s holds the broker id %d, ids start at 0", key, id)
		}
	}
	return nil
}

// partitionRef is one partition as the admin and notification nodes spell it.
type partitionRef struct {
	Topic     *string `json:"topic"`
	Partition *int32  `json:"partition"`
}

// tp checks the reference and returns it as a value.
func (r partitionRef) tp(path string, i int) (cluster.TopicPartition, error) {
	switch {
	case r.Topic == nil:
		return cluster.TopicPartition{}, corrupt(path, "entry %d of partitions has no topic", i)
	case r.Partition == nil:
		return cluster.TopicPartition{}, corrupt(path, "entry %d of partitions has no partition", i)
	case *r.Partition < 0:
		return cluster.TopicPartition{}, corrupt(path, "entry %d of partitions has the partition %d", i, *r.Partition)
	}
	return cluster.TopicPartition{Topic: *r.Topic, Partition: *r.Partition}, nil
}

// partitionRefs is the JSON of a list of partitions, for nodes that carry nothing else.
type partitionRefs struct {
	Version    int32          `json:"version"`
	Partitions []partitionRef `json:"partitions"`
}

// encodePartitions writes {"version":1,"partitions":[{"topic":"t","partition":0}]}.
func encodePartitions(tps []cluster.TopicPartition) []byte {
	w := partitionRefs{Version: 1, Partitions: make([]partitionRef, len(tps))}
	for i := range tps {
		w.Partitions[i] = partitionRef{Topic: &tps[i].Topic, Partition: &tps[i].Partition}
	}
	return marshal(w)
}

// decodePartitions is the inverse of encodePartitions.
func decodePartitions(path string, data []byte) ([]cluster.TopicPartition, error) {
	var w partitionRefs
	if err := unmarshal(path, data, &w); err != nil {
		return nil, err
	}
	if w.Partitions == nil {
		return nil, missing(path, "partitions")
	}
	tps := make([]cluster.TopicPartition, len(w.Partitions))
	for i, r := range w.Partitions {
		tp, err := r.tp(path, i)
		if err != nil {
			return nil, err
		}
		tps[i] = tp
	}
	return tps, nil
}
