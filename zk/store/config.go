package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// Config reads an entity's dynamic configuration. An entity without any has an empty one.
func (st *Store) Config(ctx context.Context, e znode.Entity) (map[string]string, error) {
	data, _, ok, err := get(ctx, st.s, e.Path())
	if err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", e, err)
	}
	if !ok {
		return map[string]string{}, nil
	}
	return znode.DecodeConfig(e.Path(), data)
}

// Configs reads the configurations of all entities of a type, for users also those of users/<user>/clients/<client>.
// Corrupt ones are left out and reported, as with all reads of many nodes.
func (st *Store) Configs(ctx context.Context, t znode.EntityType) (map[znode.Entity]map[string]string, error) {
	entities, err := st.entities(ctx, t)
	var bad corruption
	if err := bad.note(err); err != nil {
		return nil, fmt.Errorf("list the configurations of %s: %w", t, err)
	}
	got, err := readAll(ctx, entities, func(ctx context.Context, e znode.Entity) (map[string]string, bool, error) {
		data, _, ok, err := get(ctx, st.s, e.Path())
		if err != nil || !ok {
			return nil, false, err
		}
		config, err := znode.DecodeConfig(e.Path(), data)
		return config, err == nil, err
	})
	if err := bad.note(err); err != nil {
		return nil, fmt.Errorf("read the configurations of %s: %w", t, err)
	}
	return got, bad.err()
}

// entities lists the entities of a type.
func (st *Store) entities(ctx context.Context, t znode.EntityType) ([]znode.Entity, error) {
	parent := znode.ConfigTypePath(t)
	names, err := children(ctx, st.s, parent)
	if err != nil {
		return nil, err
	}
	var bad corruption
	var list []znode.Entity
	add := func(parent, relative string) {
		e, err := znode.ParseEntity(relative)
		if err != nil {
			_ = bad.note(&znode.CorruptError{Path: parent, Err: err})
			return
		}
		list = append(list, e)
	}
	for _, name := range names {
		add(parent, string(t)+"/"+name)
		if t != znode.UserEntity {
			continue
		}
		clients, err := children(ctx, st.s, parent+"/"+name+"/clients")
		if err != nil {
			return nil, err
		}
		for _, client := range clients {
			add(parent+"/"+name, string(t)+"/"+name+"/clients/"+client)
		}
	}
	return list, bad.err()
}

// SetConfig replaces an entity's configuration and notifies the brokers. An empty configuration of a user, client or
// address removes the node, and the parents that are then without content. The last writer wins; repeating is harmless.
func (st *Store) SetConfig(ctx context.Context, e znode.Entity, config map[string]string) error {
	var err error
	quota := e.Type == znode.UserEntity || e.Type == znode.ClientEntity || e.Type == znode.IPEntity
	if quota && len(config) == 0 {
		err = st.removeConfig(ctx, e)
	} else {
		err = st.set(ctx, e.Path(), znode.EncodeConfig(config))
	}
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", e, err)
	}
	return st.notify(ctx, znode.ConfigChangePrefix, znode.EncodeConfigChange(e))
}

// removeConfig deletes an entity's node; if something is below it, it is emptied instead. Of a user's client, the parents
// follow as far as they hold nothing else.
func (st *Store) removeConfig(ctx context.Context, e znode.Entity) error {
	err := st.remove(ctx, e.Path())
	if errors.Is(err, zk.ErrNotEmpty) {
		return st.set(ctx, e.Path(), znode.EncodeConfig(nil))
	}
	if err != nil || e.Client == "" {
		return err
	}
	user := znode.Entity{Type: e.Type, Name: e.Name}
	if err := st.remove(ctx, user.Path()+"/"+string(znode.ClientEntity)); err != nil {
		return ignore(err, zk.ErrNotEmpty)
	}
	config, err := st.Config(ctx, user)
	if err != nil || len(config) > 0 {
		return err
	}
	return ignore(st.remove(ctx, user.Path()), zk.ErrNotEmpty)
}

// ignore drops one kind of error.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// ConfigChange is one notification that a configuration has changed. It says which; what it is now is to be read.
type ConfigChange struct {
	// Seq is the number that ZooKeeper gave the notification. Later ones have larger numbers.
	Seq int64
	// Path is the notification's node.
	Path string
	// Created is the time of the notification by ZooKeeper's clock, in milliseconds since 1970.
	Created int64
	// Entity is what has changed.
	Entity znode.Entity
}

// ConfigChanges reads the notifications with a number above after, in ascending order; -1 reads all. With a watcher it sets
// the watch on new ones. Those that vanish meanwhile are old and left out.
func (st *Store) ConfigChanges(ctx context.Context, r Reader, after int64) ([]ConfigChange, error) {
	names, err := children(ctx, st.reader(r), znode.ConfigChanges)
	if err != nil {
		return nil, fmt.Errorf("list the configuration changes: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		n, ok := znode.Sequence(name)
		return !ok || n <= after
	})
	got, err := readAll(ctx, names, func(ctx context.Context, name string) (ConfigChange, bool, error) {
		path := znode.ConfigChanges + "/" + name
		data, stat, ok, err := get(ctx, st.s, path)
		if err != nil || !ok {
			return ConfigChange{}, false, err
		}
		e, err := znode.DecodeConfigChange(path, data)
		seq, _ := znode.Sequence(name)
		return ConfigChange{Seq: seq, Path: path, Created: stat.Ctime, Entity: e}, err == nil, err
	})
	var bad corruption
	if err := bad.note(err); err != nil {
		return nil, fmt.Errorf("read the configuration changes: %w", err)
	}
	changes := make([]ConfigChange, 0, len(got))
	for _, c := range got {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b ConfigChange) int {
		if a.Seq != b.Seq {
			return int(min(max(a.Seq-b.Seq, -1), 1))
		}
		return strings.Compare(a.Path, b.Path)
	})
	return changes, bad.err()
}

// PurgeConfigChanges deletes the notifications made before the given time, in milliseconds since 1970 by ZooKeeper's clock.
// Every broker does that after reading them; the first to come succeeds.
func (st *Store) PurgeConfigChanges(ctx context.Context, before int64) error {
	names, err := children(ctx, st.s, znode.ConfigChanges)
	if err != nil {
		return fmt.Errorf("list the configuration changes: %w", err)
	}
	return each(ctx, len(names), func(ctx context.Context, i int) error {
		path := znode.ConfigChanges + "/" + names[i]
		stat, ok, err := st.s.Exists(ctx, path)
		if err != nil || !ok || stat.Ctime >= before {
			return err
		}
		return st.remove(ctx, path)
	})
}

// ClaimProducerIDs takes the next block of producer ids for a broker. It writes only over what it has read. After a lost
// reply it reads back: a block that names this broker and has the bounds it tried to write is its own. For that to be true
// a broker must not claim twice at once, so concurrent calls go one after the other.
func (st *Store) ClaimProducerIDs(ctx context.Context, broker cluster.BrokerID) (znode.ProducerIDBlock, error) {
	const path = znode.LatestProducerIDBlock
	select {
	case <-st.claim:
		defer func() { st.claim <- struct{}{} }()
	case <-ctx.Done():
		return znode.ProducerIDBlock{}, fmt.Errorf("claim producer ids for broker %d: %w", broker, ctx.Err())
	}
	var tried *znode.ProducerIDBlock
	var err error
	for failures := 0; failures < attempts; { // losing to another broker is no failure: somebody gets on
		data, stat, ok, getErr := get(ctx, st.s, path)
		if err = getErr; err != nil {
			break
		}
		if !ok {
			failures++
			if err = st.s.CreateAll(ctx, path, nil); err != nil {
				break
			}
			continue
		}
		last, claimed, decodeErr := znode.DecodeProducerIDBlock(path, data)
		if err = decodeErr; err != nil {
			break
		}
		if claimed && tried != nil && last == *tried {
			return last, nil
		}
		next, ok := last.Next(broker)
		if !ok {
			err = fmt.Errorf("all producer ids up to %d are used up", last.End)
			break
		}
		if _, err = st.s.Set(ctx, path, next.Encode(), stat.Version); err == nil {
			return next, nil
		}
		if unknown(ctx, err) {
			failures++
			tried = &next
		} else if !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
			break
		}
	}
	if err == nil {
		err = fmt.Errorf("no outcome after %d attempts", attempts)
	}
	return znode.ProducerIDBlock{}, fmt.Errorf("claim producer ids for broker %d: %w", broker, err)
}
