package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// CreateTopic makes a topic: its configuration and its assignment, in one transaction, so that no orphaned configuration
// stays behind as it can with Kafka. The controller's watch on the topics does the rest. It is not fenced: any broker may
// do it. A topic of that name is *kerr.Error with code TopicAlreadyExists; its configuration is left alone.
//
// t.ID should be set: it is the token by which a lost reply is recognised.
func (st *Store) CreateTopic(ctx context.Context, topic string, t znode.Topic, config map[string]string) error {
	if err := cluster.ValidateTopicName(topic); err != nil {
		return kerr.InvalidTopicException.With(err.Error())
	}
	path, data := znode.TopicPath(topic), t.Encode()
	configPath, configData := znode.Entity{Type: znode.TopicEntity, Name: topic}.Path(), znode.EncodeConfig(config)
	_, leftover, err := st.s.Exists(ctx, configPath)
	for range attempts {
		if err != nil {
			break
		}
		ops := []zk.Op{zk.CreateOp(configPath, configData, zk.Persistent), zk.CreateOp(path, data, zk.Persistent)}
		if leftover {
			ops[0] = zk.SetOp(configPath, configData, zk.AnyVersion)
		}
		if _, err = st.s.Multi(ctx, ops...); err == nil {
			return nil
		}
		if zk.ClassOf(err) != zk.Definite && !unknown(ctx, err) {
			break
		}
		var have []byte
		var exists bool
		cause := err
		have, _, exists, err = get(ctx, st.s, path)
		if err != nil {
			break
		}
		if exists {
			if unknown(ctx, cause) && !t.ID.IsZero() && bytes.Equal(have, data) {
				return nil
			}
			return kerr.TopicAlreadyExists.With(fmt.Sprintf("Topic '%s' already exists.", topic))
		}
		// Not there: the configuration came or went in between, a parent is missing, or the attempt was lost.
		if errors.Is(cause, zk.ErrNoNode) && !leftover {
			err = fmt.Errorf("the parent nodes are missing: %w", cause)
			break
		}
		_, leftover, err = st.s.Exists(ctx, configPath)
	}
	if err == nil {
		err = fmt.Errorf("no outcome after %d attempts", attempts)
	}
	return fmt.Errorf("create topic %s: %w", topic, err)
}

// AddPartitions gives a topic more partitions, behind those of before, in their order, the preferred leader of each first. It writes only over what has
// been read, and is not fenced, as with the tool of Kafka 2.8: the controller's watch on the topic does the rest. A topic that has changed since is
// zk.ErrBadVersion, one that is gone zk.ErrNoNode.
func (st *Store) AddPartitions(ctx context.Context, topic string, before TopicInfo, replicas [][]cluster.BrokerID) error {
	after := before.Topic
	after.Replicas = maps.Clone(before.Replicas)
	if after.Replicas == nil {
		after.Replicas = map[int32][]cluster.BrokerID{}
	}
	for i, list := range replicas {
		after.Replicas[int32(len(before.Replicas)+i)] = list
	}
	path, data := znode.TopicPath(topic), after.Encode()
	var err error
	for range attempts {
		if _, err = st.s.Set(ctx, path, data, before.Version); err == nil {
			return nil
		}
		if !unknown(ctx, err) {
			break
		}
		// Lost, or done: then it is there in the next version.
		have, stat, ok, lookErr := get(ctx, st.s, path)
		if lookErr != nil {
			err = lookErr
			break
		}
		if ok && stat.Version == before.Version+1 && bytes.Equal(have, data) {
			return nil
		}
	}
	return fmt.Errorf("add %d partitions to topic %s: %w", len(replicas), topic, err)
}

// RequestTopicDeletion asks the controller to delete a topic. Asking twice is the same as asking once.
func (st *Store) RequestTopicDeletion(ctx context.Context, topic string) error {
	if err := st.s.CreateAll(ctx, znode.DeleteTopicPath(topic), nil); err != nil {
		return fmt.Errorf("ask for the deletion of topic %s: %w", topic, err)
	}
	return nil
}

// RequestReassignments asks the controller to move partitions, by making /admin/reassign_partitions (F§1.7). While an earlier request is being worked on, the
// node is there: zk.ErrNodeExists. After a lost reply the request may be made twice, which is the same as once.
func (st *Store) RequestReassignments(ctx context.Context, moves []znode.Reassignment) error {
	return st.request(ctx, "reassignments", znode.ReassignPartitions, znode.EncodeReassignments(moves))
}

// RequestPreferredElections asks the controller to elect the preferred leaders of partitions, by making /admin/preferred_replica_election (F§1.7). While an
// earlier request is being worked on, the node is there: zk.ErrNodeExists. After a lost reply the request may be made twice, which is the same as once.
func (st *Store) RequestPreferredElections(ctx context.Context, partitions []cluster.TopicPartition) error {
	return st.request(ctx, "preferred elections", znode.PreferredReplicaElection, znode.EncodePreferredElection(partitions))
}

// request makes a node that asks the controller for something.
func (st *Store) request(ctx context.Context, what, path string, data []byte) error {
	var err error
	lost := false
	for range attempts {
		if _, err = st.s.Create(ctx, path, data, zk.Persistent); err == nil {
			return nil
		}
		if lost && errors.Is(err, zk.ErrNodeExists) {
			have, _, ok, lookErr := get(ctx, st.s, path)
			if lookErr == nil && ok && bytes.Equal(have, data) {
				return nil
			}
		}
		if !unknown(ctx, err) {
			break
		}
		lost = true
	}
	return fmt.Errorf("ask for %s: %w", what, err)
}

// NotifyLogDirFailure tells the controller that a log directory of the broker has failed.
func (st *Store) NotifyLogDirFailure(ctx context.Context, broker cluster.BrokerID) error {
	return st.notify(ctx, znode.LogDirEventPrefix, znode.EncodeLogDirEvent(broker))
}

// SetTopic replaces a topic's assignment and returns the node's new version. Only the controller writes assignments, so
// repeating it after a lost reply is harmless.
func (tx *FencedTx) SetTopic(ctx context.Context, topic string, t znode.Topic) (int32, error) {
	results, err := tx.repeat(ctx, zk.SetOp(znode.TopicPath(topic), t.Encode(), zk.AnyVersion))
	if err != nil {
		return -1, fmt.Errorf("write the assignment of topic %s: %w", topic, err)
	}
	return results[0].Stat.Version, nil
}

// DeleteTopic removes everything about a topic: first what is below its nodes, then in one transaction its assignment, its configuration and the request
// for its deletion. So an interrupted deletion is found and finished by the next controller, and a topic that is made under the same name as soon as
// that can be done loses nothing. Without the request nothing is removed: the deletion is complete, and what is there under that name is another topic.
func (tx *FencedTx) DeleteTopic(ctx context.Context, topic string) error {
	err := tx.deleteTopic(ctx, znode.DeleteTopicPath(topic), znode.TopicPath(topic), znode.Entity{Type: znode.TopicEntity, Name: topic}.Path())
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// deleteTopic removes the nodes with all that is below them, at last the nodes themselves together, as long as the first is there.
func (tx *FencedTx) deleteTopic(ctx context.Context, request string, others ...string) error {
	var err error
	for range attempts {
		var last []zk.Op
		for _, root := range append([]string{request}, others...) {
			_, there, lookErr := tx.st.s.Exists(ctx, root)
			if lookErr != nil {
				return lookErr
			}
			if !there && root == request {
				return nil
			}
			if !there {
				continue
			}
			if err := tx.deleteBelow(ctx, root); err != nil {
				return err
			}
			last = append(last, zk.DeleteOp(root, zk.AnyVersion))
		}
		_, err = tx.Do(ctx, last...)
		if !unknown(ctx, err) && (errors.Is(err, ErrControllerMoved) || !errors.Is(err, zk.ErrNoNode) && !errors.Is(err, zk.ErrNotEmpty)) {
			return err // or nil
		}
	}
	return err
}

// DeletePendingDeletion withdraws requests for deletion: of topics that do not exist, or that may not be deleted.
func (tx *FencedTx) DeletePendingDeletion(ctx context.Context, topics ...string) error {
	paths := make([]string, len(topics))
	for i, t := range topics {
		paths[i] = znode.DeleteTopicPath(t)
	}
	return tx.deleteAll(ctx, paths)
}

// SetReassignments rewrites /admin/reassign_partitions to what is left, and deletes it when nothing is.
func (tx *FencedTx) SetReassignments(ctx context.Context, left []znode.Reassignment) error {
	if len(left) == 0 {
		return tx.deleteAll(ctx, []string{znode.ReassignPartitions})
	}
	data := znode.EncodeReassignments(left)
	var err error
	for range attempts {
		_, err = tx.repeat(ctx, zk.SetOp(znode.ReassignPartitions, data, zk.AnyVersion))
		if errors.Is(err, zk.ErrNoNode) {
			_, err = tx.Do(ctx, zk.CreateOp(znode.ReassignPartitions, data, zk.Persistent))
		}
		if !errors.Is(err, zk.ErrNodeExists) && !unknown(ctx, err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write what is left to reassign: %w", err)
	}
	return nil
}

// DeletePreferredElection removes /admin/preferred_replica_election.
func (tx *FencedTx) DeletePreferredElection(ctx context.Context) error {
	return tx.deleteAll(ctx, []string{znode.PreferredReplicaElection})
}

// DeleteNotifications removes notifications that have been dealt with. paths come from [Store.LogDirEvents].
func (tx *FencedTx) DeleteNotifications(ctx context.Context, paths ...string) error {
	return tx.deleteAll(ctx, paths)
}

// DeleteAllNotifications empties both notification directories, as a new controller does: it reads everything anyway.
func (tx *FencedTx) DeleteAllNotifications(ctx context.Context) error {
	var paths []string
	for _, parent := range []string{znode.LogDirEventNotification, znode.ISRChangeNotification} {
		names, err := children(ctx, tx.st.s, parent)
		if err != nil {
			return fmt.Errorf("list the notifications: %w", err)
		}
		for _, name := range names {
			paths = append(paths, parent+"/"+name)
		}
	}
	return tx.deleteAll(ctx, paths)
}

// SetFeature writes the finalized features if their node has the given version; -1 creates it. It returns the new version.
// After a lost reply the node is taken for written when it has the content and the version that the write leads to.
func (tx *FencedTx) SetFeature(ctx context.Context, f znode.Feature, version int32) (int32, error) {
	data := f.Encode()
	op := zk.SetOp(znode.FeaturePath, data, version)
	if version < 0 {
		op = zk.CreateOp(znode.FeaturePath, data, zk.Persistent)
	}
	var err error
	for range attempts {
		if _, err = tx.Do(ctx, op); err == nil {
			return version + 1, nil
		}
		if !unknown(ctx, err) {
			break
		}
		have, stat, ok, lookErr := get(ctx, tx.st.s, znode.FeaturePath)
		if lookErr != nil {
			err = lookErr
			break
		}
		if ok && stat.Version == version+1 && bytes.Equal(have, data) {
			return version + 1, nil
		}
	}
	return -1, fmt.Errorf("write the features: %w", err)
}

// deleteBelow removes everything below a node, the deepest first. Nodes that come into being meanwhile are found by listing again.
func (tx *FencedTx) deleteBelow(ctx context.Context, root string) error {
	var err error
	for range attempts {
		var levels [][]string
		if levels, err = tx.tree(ctx, root); err != nil {
			return err
		}
		for _, paths := range slices.Backward(levels[min(1, len(levels)):]) {
			if err = tx.deleteAll(ctx, paths); err != nil {
				break
			}
		}
		if !errors.Is(err, zk.ErrNotEmpty) {
			return err
		}
	}
	return err
}

// tree lists a node and what is below it, by depth. A missing node is an empty tree.
func (tx *FencedTx) tree(ctx context.Context, root string) ([][]string, error) {
	_, ok, err := tx.st.s.Exists(ctx, root)
	if err != nil || !ok {
		return nil, err
	}
	levels := [][]string{{root}}
	for {
		parents := levels[len(levels)-1]
		below, err := readAll(ctx, parents, func(ctx context.Context, path string) ([]string, bool, error) {
			names, err := children(ctx, tx.st.s, path)
			return names, len(names) > 0, err
		})
		if err != nil {
			return nil, err
		}
		var next []string
		for parent, names := range below {
			for _, name := range names {
				next = append(next, parent+"/"+name)
			}
		}
		if len(next) == 0 {
			return levels, nil
		}
		levels = append(levels, next)
	}
}

// deleteAll removes nodes that do not depend on each other, in transactions of up to a hundred, many at a time. Nodes that
// are gone already count as removed, which also settles lost replies.
func (tx *FencedTx) deleteAll(ctx context.Context, paths []string) error {
	chunks := slices.Collect(slices.Chunk(paths, maxTxOps))
	err := each(ctx, len(chunks), func(ctx context.Context, i int) error { return tx.deleteChunk(ctx, chunks[i]) })
	if err != nil {
		return fmt.Errorf("delete %s: %w", strings.Join(paths[:min(len(paths), 3)], ", "), err)
	}
	return nil
}

// deleteChunk removes nodes in one transaction, and singly when too many are gone already.
func (tx *FencedTx) deleteChunk(ctx context.Context, paths []string) error {
	gone := 0
	for range attempts + maxTxOps {
		if len(paths) == 0 {
			return nil
		}
		if gone > maxRefusals && len(paths) > 1 {
			return each(ctx, len(paths), func(ctx context.Context, i int) error { return tx.deleteChunk(ctx, paths[i:i+1]) })
		}
		ops := make([]zk.Op, len(paths))
		for i, path := range paths {
			ops[i] = zk.DeleteOp(path, zk.AnyVersion)
		}
		_, err := tx.Do(ctx, ops...)
		var refused *zk.MultiError
		switch {
		case err == nil:
			return nil
		case unknown(ctx, err):
		case errors.As(err, &refused) && errors.Is(err, zk.ErrNoNode) && !errors.Is(err, ErrControllerMoved):
			gone++
			paths = slices.Delete(slices.Clone(paths), refused.Index, refused.Index+1)
		default:
			return err
		}
	}
	return fmt.Errorf("no outcome after many attempts")
}
