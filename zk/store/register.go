package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// ErrBrokerIDTaken means that another session holds the registration of this broker id: another process, or an earlier
// one of this broker that was killed and whose session has not expired yet. At start this is fatal: taking the node away
// could leave two brokers with one id. It is a zk.ErrNodeExists.
var ErrBrokerIDTaken error = brokerIDTaken{}

// brokerIDTaken is the type of ErrBrokerIDTaken.
type brokerIDTaken struct{}

// Error says what is the matter.
func (brokerIDTaken) Error() string {
	return "the broker id is registered by another session; if an earlier process of this broker was killed, its session has not expired yet"
}

// Is makes it a zk.ErrNodeExists.
func (brokerIDTaken) Is(target error) bool { return target == zk.ErrNodeExists }

// AddressTakenError means that another broker advertises an address of this one.
type AddressTakenError struct {
	// Address is host:port.
	Address string
	// Broker advertises it.
	Broker cluster.BrokerID
}

// Error names address and broker, in Kafka's words.
func (e *AddressTakenError) Error() string {
	return fmt.Sprintf("configured end points %s in advertised listeners are already registered by broker %d", e.Address, e.Broker)
}

// CreatePersistentPaths makes the nodes that every broker expects to be there, with null data (F§1.1).
func (st *Store) CreatePersistentPaths(ctx context.Context) error {
	return each(ctx, len(znode.PersistentPaths()), func(ctx context.Context, i int) error {
		return st.s.CreateAll(ctx, znode.PersistentPaths()[i], nil)
	})
}

// ClusterID returns the cluster's id. ok is false when no broker has given it one yet.
func (st *Store) ClusterID(ctx context.Context) (id string, ok bool, err error) {
	data, _, err := st.s.Get(ctx, znode.ClusterIDPath)
	if errors.Is(err, zk.ErrNoNode) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the cluster id: %w", err)
	}
	id, err = znode.DecodeClusterID(znode.ClusterIDPath, data)
	return id, err == nil, err
}

// EnsureClusterID returns the cluster's id, and gives the cluster the proposed one when it has none. Of several brokers
// that do this at once the first wins, and all return its id.
func (st *Store) EnsureClusterID(ctx context.Context, proposed string) (string, error) {
	id, ok, err := st.ClusterID(ctx)
	if err != nil || ok {
		return id, err
	}
	if err := st.s.CreateAll(ctx, znode.ClusterIDPath, znode.EncodeClusterID(proposed)); err != nil {
		return "", fmt.Errorf("store the cluster id: %w", err)
	}
	id, ok, err = st.ClusterID(ctx)
	if err == nil && !ok {
		err = fmt.Errorf("the cluster id has vanished right after it was stored")
	}
	return id, err
}

// EnsureBrokerSecret returns the secret that the cluster's brokers share, and the proposed one when they have none yet. Of several brokers that do
// this at once the first wins, and all return its secret. With a watcher it sets the watch on the node.
func (st *Store) EnsureBrokerSecret(ctx context.Context, r Reader, proposed string) (string, error) {
	data, ok, err := st.created(ctx, r, znode.BrokerSecretPath)
	if err == nil && !ok {
		if err = st.s.CreateAll(ctx, znode.BrokerSecretPath, znode.EncodeBrokerSecret(proposed)); err == nil {
			data, ok, err = st.created(ctx, r, znode.BrokerSecretPath)
		}
	}
	if err != nil {
		return "", fmt.Errorf("agree on the brokers' secret: %w", err)
	}
	if !ok {
		return "", fmt.Errorf("the brokers' secret has vanished right after it was stored")
	}
	return znode.DecodeBrokerSecret(znode.BrokerSecretPath, data)
}

// Time returns the time of day by ZooKeeper's clock: that of the server that leads. It writes a node, because only a write is dated.
func (st *Store) Time(ctx context.Context) (time.Time, error) {
	stat, err := st.touch(ctx, znode.ClockPath)
	if err != nil {
		return time.Time{}, fmt.Errorf("read ZooKeeper's clock: %w", err)
	}
	return time.UnixMilli(stat.Mtime), nil
}

// touch writes a node without content, and creates it if needed.
func (st *Store) touch(ctx context.Context, path string) (stat zk.Stat, err error) {
	for range attempts {
		if stat, err = st.s.Set(ctx, path, []byte{}, zk.AnyVersion); err == nil {
			return stat, nil
		}
		if errors.Is(err, zk.ErrNoNode) {
			if err = st.s.CreateAll(ctx, path, nil); err == nil {
				continue
			}
		}
		if !unknown(ctx, err) {
			break
		}
	}
	return stat, err
}

// NextBrokerID generates an id above reservedMax (reserved.broker.max.id) for a broker with broker.id=-1. Each call writes
// /brokers/seqid, whose version is the source: a lost reply costs a number, nothing else.
func (st *Store) NextBrokerID(ctx context.Context, reservedMax cluster.BrokerID) (cluster.BrokerID, error) {
	stat, err := st.touch(ctx, znode.BrokerSeqID)
	if err != nil {
		return 0, fmt.Errorf("generate a broker id: %w", err)
	}
	return reservedMax + cluster.BrokerID(stat.Version), nil
}

// RegisterBroker makes the broker known to the cluster for the life of the session and returns the broker epoch: the czxid
// of the registration. It does so in one transaction that creates the node and then sets it, because only a set returns
// the czxid.
//
// If the node is there already it depends on whose it is (F§1.4): this session's, then an earlier reply was lost and the
// registration stands; an earlier session's of this broker, then ZooKeeper has told of the expiry before removing the node,
// which is now deleted and made anew; anybody else's, then [ErrBrokerIDTaken].
//
// Another broker that advertises one of the addresses is an [*AddressTakenError].
func (st *Store) RegisterBroker(ctx context.Context, id cluster.BrokerID, b znode.Broker) (cluster.BrokerEpoch, error) {
	if err := st.checkAddresses(ctx, id, b); err != nil {
		return cluster.NoBrokerEpoch, fmt.Errorf("register broker %d: %w", id, err)
	}
	path, data := znode.BrokerPath(id), b.Encode()
	var err error
	for range attempts {
		var results []zk.Result
		results, err = st.s.Multi(ctx, zk.CreateOp(path, nil, zk.Ephemeral), zk.SetOp(path, data, 0))
		if err == nil {
			return cluster.BrokerEpoch(results[1].Stat.Czxid), nil
		}
		if !errors.Is(err, zk.ErrNodeExists) && !unknown(ctx, err) {
			break
		}
		epoch, settled, lookErr := st.settleRegistration(ctx, id, data)
		if lookErr != nil {
			err = lookErr
			break
		}
		if settled {
			return epoch, nil
		}
	}
	return cluster.NoBrokerEpoch, fmt.Errorf("register broker %d: %w", id, err)
}

// settleRegistration looks at the node after a registration that did not clearly succeed. It reports whether the
// registration stands; otherwise, without an error, the way is free for another attempt.
func (st *Store) settleRegistration(ctx context.Context, id cluster.BrokerID, data []byte) (cluster.BrokerEpoch, bool, error) {
	path := znode.BrokerPath(id)
	have, stat, err := st.s.Get(ctx, path)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case stat.EphemeralOwner == st.s.ID():
		if !bytes.Equal(have, data) { // registered earlier in this session, with other listeners
			if err := st.set(ctx, path, data); err != nil {
				return 0, false, err
			}
		}
		return cluster.BrokerEpoch(stat.Czxid), true, nil
	case !st.own.Has(stat.EphemeralOwner):
		return 0, false, fmt.Errorf("owner 0x%x: %w", stat.EphemeralOwner, ErrBrokerIDTaken)
	}
	err = st.s.Delete(ctx, path, stat.Version)
	if err == nil || errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrBadVersion) || unknown(ctx, err) {
		return 0, false, nil // gone, or looked at again
	}
	return 0, false, err
}

// checkAddresses refuses addresses that another registered broker advertises.
func (st *Store) checkAddresses(ctx context.Context, id cluster.BrokerID, b znode.Broker) error {
	brokers, err := st.Brokers(ctx, nil)
	var corrupt corruption
	if err := corrupt.note(err); err != nil {
		return err // a registration that cannot be read does not stand in the way
	}
	for other, info := range brokers {
		if other == id {
			continue
		}
		for _, mine := range b.Endpoints {
			if slices.ContainsFunc(info.Endpoints, func(e cluster.Endpoint) bool { return e.Addr() == mine.Addr() }) {
				return &AddressTakenError{Address: mine.Addr(), Broker: other}
			}
		}
	}
	return nil
}
