package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// lostFile, in the first log directory, holds lostReplicas over restarts. It is not there while there are none.
const lostFile = ".lost-replicas"

// lostReplicas are the replicas that ZooKeeper calls in sync and that are on none of this broker's disks, because a log directory was empty when the
// broker started: a disk was replaced, or is not mounted. To lead such a partition would make its other replicas begin anew with nothing (KAFKA-15495), so
// the broker takes no part in it until another one leads and this one has left the in-sync set. Safe for concurrent use; the file is written with the lock held.
type lostReplicas struct {
	fs   vfs.FS
	path string
	log  hclog.Logger
	ask  func() // for the broker's roles

	mu       sync.Mutex
	replicas map[cluster.TopicPartition]cluster.TopicID
}

// lostReplica is one in lostFile, which holds a list of them.
type lostReplica struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	TopicID   []byte `json:"topic_id"`
}

// openLost finds out what was lost, before and now.
func (b *Broker) openLost(ctx context.Context, st *store.Store) error {
	dirs := b.dirs.Dirs()
	var err error
	if b.lost, err = readLost(b.cfg.FS, dirs[0], b.log.Named("lost")); err != nil {
		return err
	}
	b.lost.ask = b.askForRoles
	for _, dir := range dirs {
		if _, known, err := commitlog.ReadMetaProperties(b.cfg.FS, dir); err != nil {
			return err
		} else if !known {
			return b.lost.expect(ctx, st, b.id)
		}
	}
	return nil
}

// readLost reads what was lost before.
func readLost(fsys vfs.FS, dir string, log hclog.Logger) (*lostReplicas, error) {
	l := &lostReplicas{fs: fsys, path: filepath.Join(dir, lostFile), log: log, replicas: map[cluster.TopicPartition]cluster.TopicID{}}
	data, err := vfs.ReadFile(fsys, l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var saved []lostReplica
	if err == nil {
		err = json.Unmarshal(data, &saved)
	}
	if err != nil {
		return nil, fmt.Errorf("read which replicas were lost with a disk: %w; delete %s to start without knowing, and with the danger that other replicas are emptied", err, l.path)
	}
	for _, r := range saved {
		var id cluster.TopicID
		copy(id[:], r.TopicID)
		l.replicas[cluster.TopicPartition{Topic: r.Topic, Partition: r.Partition}] = id
	}
	return l, nil
}

// expect notes every replica that ZooKeeper calls in sync at this broker, which has an empty log directory, until settle knows which of them are in
// another directory. It must be called before the directory stops to look empty, and while the broker is not registered.
func (l *lostReplicas) expect(ctx context.Context, st *store.Store, self cluster.BrokerID) error {
	corrupt := func(err error) bool {
		var c *znode.CorruptError
		if errors.As(err, &c) {
			l.log.Error("nodes in ZooKeeper that cannot be read are left out", "error", err)
			return true
		}
		return false
	}
	names, err := st.Topics(ctx, nil)
	if err != nil {
		return err
	}
	topics, err := st.ReadTopics(ctx, nil, names)
	if err != nil && !corrupt(err) {
		return err
	}
	var mine []cluster.TopicPartition
	for name, t := range topics {
		for n, replicas := range t.Replicas {
			if len(replicas) > 1 && slices.Contains(replicas, self) {
				mine = append(mine, cluster.TopicPartition{Topic: name, Partition: n})
			}
		}
	}
	states, err := st.PartitionStates(ctx, mine)
	if err != nil && !corrupt(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for tp, s := range states {
		if slices.Contains(s.ISR, self) {
			l.replicas[tp] = topics[tp.Topic].ID
		}
	}
	return l.saveLocked()
}

// settle forgets the replicas that are on a disk, now that all logs are open: on another one, or on the one that was missing and is back. Nobody has made
// an empty log of one since: the broker takes no part in it while it is lost.
func (l *lostReplicas) settle(logs *commitlog.Manager) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.replicas) == 0 {
		return nil
	}
	for tp := range l.replicas {
		if _, ok := logs.Get(tp); ok {
			delete(l.replicas, tp)
		}
	}
	if n := len(l.replicas); n > 0 {
		l.log.Error("a log directory was empty, and replicas that are in sync are on no other one: this broker takes no part in them until others lead them, so that their records are not lost too",
			"replicas", n, "listed-in", l.path)
	}
	return l.saveLocked()
}

// Has reports whether a replica of that topic was lost.
func (l *lostReplicas) Has(tp cluster.TopicPartition, id cluster.TopicID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.replicas[tp]
	return ok && (known == id || known.IsZero() || id.IsZero())
}

// Forget notes that replicas need not be kept from leading any more.
func (l *lostReplicas) Forget(tps ...cluster.TopicPartition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.replicas)
	for _, tp := range tps {
		delete(l.replicas, tp)
	}
	if len(l.replicas) == before {
		return
	}
	if err := l.saveLocked(); err != nil { // what the file says too much makes the next process careful
		l.log.Warn("cannot note which replicas are lost no more", "error", err)
	}
}

// AskForRoles makes the controller send the broker its roles again.
func (l *lostReplicas) AskForRoles() { l.ask() }

func (l *lostReplicas) saveLocked() error {
	var err error
	if len(l.replicas) == 0 {
		if err = l.fs.Remove(l.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		saved := make([]lostReplica, 0, len(l.replicas))
		for tp, id := range l.replicas {
			saved = append(saved, lostReplica{tp.Topic, tp.Partition, id[:]})
		}
		slices.SortFunc(saved, func(a, b lostReplica) int {
			return cluster.TopicPartition{Topic: a.Topic, Partition: a.Partition}.Compare(cluster.TopicPartition{Topic: b.Topic, Partition: b.Partition})
		})
		var data []byte
		if data, err = json.MarshalIndent(saved, "", " "); err == nil {
			err = vfs.WriteFileAtomic(l.fs, l.path, append(data, '\n'), 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("note which replicas were lost with a disk in %s: %w", l.path, err)
	}
	return nil
}
