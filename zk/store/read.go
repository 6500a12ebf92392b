package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// Reads of many nodes go many at a time. A node that cannot be decoded does not stop them: all that could be read is
// returned, together with an error that joins a [*znode.CorruptError] for each bad node. Any other error returns nothing.

// BrokerInfo is a live broker.
type BrokerInfo struct {
	// ID is the broker's id.
	ID cluster.BrokerID
	// Epoch is the czxid of the registration: it differs for every registration of a broker.
	Epoch cluster.BrokerEpoch
	// Version is the version of the registration: it grows when listeners change.
	Version int32
	// Broker is the registration.
	znode.Broker
}

// BrokerIDs lists the live brokers in ascending order. With a watcher it sets the watch on their coming and going.
func (st *Store) BrokerIDs(ctx context.Context, r Reader) ([]cluster.BrokerID, error) {
	names, err := children(ctx, st.reader(r), znode.BrokerIDs)
	if err != nil {
		return nil, fmt.Errorf("list the brokers: %w", err)
	}
	var bad corruption
	var ids []cluster.BrokerID
	for _, name := range names {
		id, err := znode.ParseBrokerID(name)
		if err != nil {
			_ = bad.note(err) // it is one
			continue
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, bad.err()
}

// Brokers reads all live brokers. Of one whose registration cannot be decoded only id, epoch and version are known, and its node is in the error. With
// a watcher it sets the watch on their coming and going and on each registration.
func (st *Store) Brokers(ctx context.Context, r Reader) (map[cluster.BrokerID]BrokerInfo, error) {
	ids, err := st.BrokerIDs(ctx, r)
	var bad corruption
	if err := bad.note(err); err != nil {
		return nil, err
	}
	got, err := readAll(ctx, ids, func(ctx context.Context, id cluster.BrokerID) (BrokerInfo, bool, error) {
		path := znode.BrokerPath(id)
		data, stat, ok, err := get(ctx, st.reader(r), path)
		if err != nil || !ok {
			return BrokerInfo{}, false, err
		}
		b, err := znode.DecodeBroker(path, data)
		return BrokerInfo{ID: id, Epoch: cluster.BrokerEpoch(stat.Czxid), Version: stat.Version, Broker: b}, true, err
	})
	if err := bad.note(err); err != nil {
		return nil, fmt.Errorf("read the brokers: %w", err)
	}
	return got, bad.err()
}

// Topics lists the topics in alphabetical order. With a watcher it sets the watch on their coming and going.
func (st *Store) Topics(ctx context.Context, r Reader) ([]string, error) {
	names, err := children(ctx, st.reader(r), znode.BrokerTopics)
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	return names, nil
}

// TopicInfo is a topic's assignment.
type TopicInfo struct {
	// Topic is the assignment.
	znode.Topic
	// Version is the node's version.
	Version int32
}

// ReadTopics reads the assignments of the named topics; those that do not exist are left out. With a watcher it sets the
// watch on each.
func (st *Store) ReadTopics(ctx context.Context, r Reader, names []string) (map[string]TopicInfo, error) {
	got, err := readAll(ctx, names, func(ctx context.Context, name string) (TopicInfo, bool, error) {
		path := znode.TopicPath(name)
		data, stat, ok, err := get(ctx, st.reader(r), path)
		if err != nil || !ok {
			return TopicInfo{}, false, err
		}
		t, err := znode.DecodeTopic(path, data)
		return TopicInfo{Topic: t, Version: stat.Version}, err == nil, err
	})
	if err != nil {
		return got, fmt.Errorf("read the topics: %w", err)
	}
	return got, nil
}

// StateInfo is a partition's state.
type StateInfo struct {
	// PartitionState is the content.
	znode.PartitionState
	// Epoch is the partition epoch: the node's version.
	Epoch cluster.PartitionEpoch
	// Written is the zxid of the transaction that wrote the content. It compares with the czxids of other nodes.
	Written int64
}

// PartitionStates reads the states of the given partitions; those without one are left out.
func (st *Store) PartitionStates(ctx context.Context, tps []cluster.TopicPartition) (map[cluster.TopicPartition]StateInfo, error) {
	got, err := readAll(ctx, tps, st.state)
	if err != nil {
		return got, fmt.Errorf("read the partition states: %w", err)
	}
	return got, nil
}

// state reads one partition's state.
func (st *Store) state(ctx context.Context, tp cluster.TopicPartition) (StateInfo, bool, error) {
	path := znode.PartitionStatePath(tp)
	data, stat, ok, err := get(ctx, st.s, path)
	if err != nil || !ok {
		return StateInfo{}, false, err
	}
	s, err := znode.DecodePartitionState(path, data)
	return StateInfo{PartitionState: s, Epoch: cluster.PartitionEpoch(stat.Version), Written: stat.Mzxid}, err == nil, err
}

// PendingDeletions lists the topics whose deletion has been asked for, in alphabetical order.
func (st *Store) PendingDeletions(ctx context.Context, r Reader) ([]string, error) {
	names, err := children(ctx, st.reader(r), znode.DeleteTopics)
	if err != nil {
		return nil, fmt.Errorf("list the topics to delete: %w", err)
	}
	return names, nil
}

// Reassignments reads what was asked for through /admin/reassign_partitions. With a watcher, and when there is nothing, it
// sets the watch on the node's creation.
func (st *Store) Reassignments(ctx context.Context, r Reader) ([]znode.Reassignment, error) {
	data, ok, err := st.created(ctx, r, znode.ReassignPartitions)
	if err != nil || !ok {
		return nil, err
	}
	return znode.DecodeReassignments(znode.ReassignPartitions, data)
}

// PreferredElections reads what was asked for through /admin/preferred_replica_election. With a watcher, and when there is
// nothing, it sets the watch on the node's creation.
func (st *Store) PreferredElections(ctx context.Context, r Reader) ([]cluster.TopicPartition, error) {
	data, ok, err := st.created(ctx, r, znode.PreferredReplicaElection)
	if err != nil || !ok {
		return nil, err
	}
	return znode.DecodePreferredElection(znode.PreferredReplicaElection, data)
}

// created looks for a node, so that a watcher hears of its creation, and reads it.
func (st *Store) created(ctx context.Context, r Reader, path string) ([]byte, bool, error) {
	_, ok, err := st.reader(r).Exists(ctx, path)
	if err != nil || !ok {
		return nil, false, err
	}
	data, _, ok, err := get(ctx, st.reader(r), path)
	return data, ok, err
}

// LogDirEvents reads which brokers have lost a log directory, and the paths to delete once that is dealt with. A
// notification that cannot be read is in paths as well. With a watcher it sets the watch on new ones.
func (st *Store) LogDirEvents(ctx context.Context, r Reader) (brokers []cluster.BrokerID, paths []string, err error) {
	paths, got, err := notifications(ctx, st, r, znode.LogDirEventNotification, znode.DecodeLogDirEvent)
	for _, path := range paths {
		if id, ok := got[path]; ok {
			brokers = append(brokers, id)
		}
	}
	return brokers, paths, err
}

// notifications reads the sequential children of a node in order.
func notifications[T any](ctx context.Context, st *Store, r Reader, parent string, decode func(string, []byte) (T, error)) ([]string, map[string]T, error) {
	names, err := children(ctx, st.reader(r), parent)
	if err != nil {
		return nil, nil, fmt.Errorf("list the notifications: %w", err)
	}
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = parent + "/" + name
	}
	got, err := readAll(ctx, paths, func(ctx context.Context, path string) (T, bool, error) {
		data, _, ok, err := get(ctx, st.s, path)
		if err != nil || !ok {
			var none T
			return none, false, err
		}
		v, err := decode(path, data)
		return v, err == nil, err
	})
	return paths, got, err
}

// Feature reads the finalized features. ok is false when there are none. With a watcher it sets the watch on the node.
func (st *Store) Feature(ctx context.Context, r Reader) (f znode.Feature, version int32, ok bool, err error) {
	_, ok, err = st.reader(r).Exists(ctx, znode.FeaturePath)
	if err != nil || !ok {
		return znode.Feature{}, -1, false, err
	}
	data, stat, ok, err := get(ctx, st.reader(r), znode.FeaturePath)
	if err != nil || !ok {
		return znode.Feature{}, -1, false, err
	}
	f, err = znode.DecodeFeature(znode.FeaturePath, data)
	return f, stat.Version, err == nil, err
}

// CorruptPaths lists the nodes that could not be decoded, from the error of a read of many nodes.
func CorruptPaths(err error) []string {
	switch e := err.(type) {
	case *znode.CorruptError:
		return []string{e.Path}
	case interface{ Unwrap() error }:
		return CorruptPaths(e.Unwrap())
	case interface{ Unwrap() []error }:
		var paths []string
		for _, one := range e.Unwrap() {
			paths = append(paths, CorruptPaths(one)...)
		}
		return paths
	}
	return nil
}

// children lists the children of a node in alphabetical order. A missing node has none.
func children(ctx context.Context, r Reader, path string) ([]string, error) {
	names, _, err := r.Children(ctx, path)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

// get reads a node. ok is false when it does not exist.
func get(ctx context.Context, r Reader, path string) (data []byte, stat zk.Stat, ok bool, err error) {
	data, stat, err = r.Get(ctx, path)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, zk.Stat{}, false, nil
	}
	return data, stat, err == nil, err
}

// readAll reads something for each key, many at a time. Keys without a value are left out, corrupt ones reported; what is known of those is returned
// if read says that it is a value.
func readAll[K comparable, V any](ctx context.Context, keys []K, read func(context.Context, K) (V, bool, error)) (map[K]V, error) {
	var mu sync.Mutex
	var bad corruption
	out := make(map[K]V, len(keys))
	err := each(ctx, len(keys), func(ctx context.Context, i int) error {
		v, ok, err := read(ctx, keys[i])
		if err != nil {
			if err := bad.note(err); err != nil {
				return err
			}
		}
		if ok {
			mu.Lock()
			defer mu.Unlock()
			out[keys[i]] = v
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, bad.err()
}
