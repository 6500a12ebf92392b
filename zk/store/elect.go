package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// ControllerInfo is who /controller names.
type ControllerInfo struct {
	// Broker is the elected broker; [cluster.NoBroker] when the node is there and cannot be understood.
	Broker cluster.BrokerID
	// Owner is the session that holds the node.
	Owner int64
	// Version is the node's version.
	Version int32
	// czxid is the transaction of the election.
	czxid int64
}

// Controller reads who is controller. ok is false when nobody is. A node that cannot be understood is somebody's all the same. With a watcher it sets the watch on the node's creation,
// change and deletion.
func (st *Store) Controller(ctx context.Context, r Reader) (info ControllerInfo, ok bool, err error) {
	_, ok, err = st.reader(r).Exists(ctx, znode.ControllerPath)
	if err != nil || !ok {
		return ControllerInfo{Broker: cluster.NoBroker}, false, err
	}
	data, stat, ok, err := get(ctx, st.reader(r), znode.ControllerPath)
	if err != nil || !ok {
		return ControllerInfo{Broker: cluster.NoBroker}, false, err
	}
	c, err := znode.DecodeController(znode.ControllerPath, data)
	if err != nil {
		c.Broker = cluster.NoBroker
	}
	return ControllerInfo{Broker: c.Broker, Owner: stat.EphemeralOwner, Version: stat.Version, czxid: stat.Czxid}, true, nil
}

// epochInfo is the content of /controller_epoch with what is needed of its stat.
type epochInfo struct {
	epoch   cluster.ControllerEpoch
	version int32 // -1: the node does not exist
	mzxid   int64
}

// ControllerEpoch reads the epoch of the last election and the version of its node; the version is -1 when there was none.
func (st *Store) ControllerEpoch(ctx context.Context) (cluster.ControllerEpoch, int32, error) {
	e, err := st.epoch(ctx)
	return e.epoch, e.version, err
}

// epoch reads /controller_epoch.
func (st *Store) epoch(ctx context.Context) (epochInfo, error) {
	data, stat, ok, err := get(ctx, st.s, znode.ControllerEpochPath)
	if err != nil || !ok {
		return epochInfo{version: -1}, err
	}
	e, err := znode.DecodeControllerEpoch(znode.ControllerEpochPath, data)
	return epochInfo{epoch: e, version: stat.Version, mzxid: stat.Mzxid}, err
}

// Elect tries to make the broker controller (F§1.3). now is written into the node, in milliseconds since 1970.
//
//   - Won: the transaction returned is the controller's power to write, under the new epoch.
//   - Somebody is controller already: no transaction, no error, and who it is.
//   - Lost to somebody at the same time: [ErrControllerMoved]. The watch on /controller tells what comes next.
//
// The election is one transaction: create /controller, raise /controller_epoch from the version that was read. After a lost
// reply it is recognised as won when this session owns /controller and both nodes carry the same transaction id: then no
// other transaction can have written them.
//
// A /controller that an own session still holds, an earlier one or this one after it has resigned, is a leftover: it is
// deleted in the same transaction, so that each reign has an epoch of its own.
func (st *Store) Elect(ctx context.Context, me cluster.BrokerID, now int64) (*FencedTx, ControllerInfo, error) {
	return st.elect(ctx, me, cluster.NoBroker, now)
}

// Depose is [Store.Elect] that takes the place of old, if that is still the controller: its node is deleted in the same transaction. Should anybody
// be elected meanwhile, the transaction fails on the version of /controller_epoch, which was read first.
func (st *Store) Depose(ctx context.Context, me, old cluster.BrokerID, now int64) (*FencedTx, ControllerInfo, error) {
	return st.elect(ctx, me, old, now)
}

// elect makes me controller, in place of nobody or of old.
func (st *Store) elect(ctx context.Context, me, old cluster.BrokerID, now int64) (*FencedTx, ControllerInfo, error) {
	none := ControllerInfo{Broker: cluster.NoBroker}
	for range attempts {
		e, err := st.ensureEpoch(ctx)
		if err != nil {
			return nil, none, fmt.Errorf("elect broker %d controller: %w", me, err)
		}
		current, taken, err := st.Controller(ctx, nil)
		if err != nil {
			return nil, none, fmt.Errorf("elect broker %d controller: %w", me, err)
		}
		if taken && !st.own.Has(current.Owner) && (old == cluster.NoBroker || current.Broker != old) {
			return nil, current, nil
		}
		var ops []zk.Op
		if taken {
			ops = append(ops, zk.DeleteOp(znode.ControllerPath, current.Version))
		}
		ops = append(ops,
			zk.CreateOp(znode.ControllerPath, znode.Controller{Broker: me, Timestamp: now}.Encode(), zk.Ephemeral),
			zk.SetOp(znode.ControllerEpochPath, znode.EncodeControllerEpoch(e.epoch+1), e.version))
		results, err := st.s.Multi(ctx, ops...)
		if err == nil {
			tx := &FencedTx{st: st, broker: me, epoch: e.epoch + 1, version: results[len(results)-1].Stat.Version}
			return tx, ControllerInfo{Broker: me, Owner: st.s.ID()}, nil
		}
		if !unknown(ctx, err) && zk.ClassOf(err) != zk.Definite {
			return nil, none, fmt.Errorf("elect broker %d controller: %w", me, err)
		}
		tx, open, lookErr := st.recognise(ctx, me, e)
		switch {
		case lookErr != nil:
			return nil, none, fmt.Errorf("elect broker %d controller: %w", me, lookErr)
		case tx != nil:
			return tx, ControllerInfo{Broker: me, Owner: st.s.ID()}, nil
		case !open:
			return nil, none, fmt.Errorf("elect broker %d controller: %w: %w", me, ErrControllerMoved, err)
		}
	}
	return nil, none, fmt.Errorf("elect broker %d controller: no outcome after %d attempts: %w", me, attempts, ErrControllerMoved)
}

// ensureEpoch reads /controller_epoch and makes it, with 0, before the very first election.
func (st *Store) ensureEpoch(ctx context.Context) (epochInfo, error) {
	e, err := st.epoch(ctx)
	if err != nil || e.version >= 0 {
		return e, err
	}
	// Whoever creates it writes the same; a node that is there already is fine.
	if err := st.s.CreateAll(ctx, znode.ControllerEpochPath, znode.EncodeControllerEpoch(0)); err != nil {
		return e, err
	}
	e, err = st.epoch(ctx)
	if err == nil && e.version < 0 {
		err = fmt.Errorf("%s has vanished right after it was created", znode.ControllerEpochPath)
	}
	return e, err
}

// recognise finds out how an election with a lost or negative reply has ended. before is the epoch it started from. It
// returns the transaction when it was won. open means that nothing has happened: the attempt was not applied, and nobody
// else was elected.
func (st *Store) recognise(ctx context.Context, me cluster.BrokerID, before epochInfo) (tx *FencedTx, open bool, err error) {
	if err := st.s.Sync(ctx, znode.ControllerPath); err != nil {
		return nil, false, err
	}
	e, err := st.epoch(ctx)
	if err != nil {
		return nil, false, err
	}
	if e.version == before.version {
		return nil, true, nil
	}
	c, ok, err := st.Controller(ctx, nil)
	if err != nil || !ok {
		return nil, false, err
	}
	if c.Owner == st.s.ID() && c.Broker == me && e.epoch == before.epoch+1 && c.czxid == e.mzxid {
		return &FencedTx{st: st, broker: me, epoch: e.epoch, version: e.version}, false, nil
	}
	return nil, false, nil
}

// FencedTx is the power of one elected controller to write. Every transaction carries a check of the version that
// /controller_epoch got by its election; the first election after it makes them all fail with [ErrControllerMoved].
//
// Safe for concurrent use. Made by [Store.Elect].
type FencedTx struct {
	st      *Store
	broker  cluster.BrokerID
	epoch   cluster.ControllerEpoch
	version int32
}

// Epoch returns the controller's epoch.
func (tx *FencedTx) Epoch() cluster.ControllerEpoch { return tx.epoch }

// Broker returns the broker that was elected.
func (tx *FencedTx) Broker() cluster.BrokerID { return tx.broker }

// Do applies the operations under the fence, all or none. The results, and the index of a [*zk.MultiError], are those of the
// given operations. An unknown outcome is the caller's to settle.
func (tx *FencedTx) Do(ctx context.Context, ops ...zk.Op) ([]zk.Result, error) {
	fenced := append([]zk.Op{zk.CheckOp(znode.ControllerEpochPath, tx.version)}, ops...)
	results, err := tx.st.s.Multi(ctx, fenced...)
	if err == nil {
		return results[1:], nil
	}
	var refused *zk.MultiError
	if !errors.As(err, &refused) {
		return nil, err
	}
	if refused.Index == 0 {
		return nil, fmt.Errorf("write under controller epoch %d: %w: %w", tx.epoch, ErrControllerMoved, refused.Err)
	}
	return nil, &zk.OpError{
		Op: "multi", Path: ops[refused.Index-1].Path(), Class: zk.Definite,
		Err: &zk.MultiError{Index: refused.Index - 1, Err: refused.Err},
	}
}

// repeat applies operations that may be applied twice without harm, until the outcome is known.
func (tx *FencedTx) repeat(ctx context.Context, ops ...zk.Op) ([]zk.Result, error) {
	var results []zk.Result
	var err error
	for range attempts {
		if results, err = tx.Do(ctx, ops...); err == nil || !unknown(ctx, err) {
			break
		}
	}
	return results, err
}

// Resign deletes /controller so that another is elected, unless that has happened already. It is what a controller does
// that finds itself unable to go on.
func (tx *FencedTx) Resign(ctx context.Context) error {
	_, err := tx.repeat(ctx, zk.DeleteOp(znode.ControllerPath, zk.AnyVersion))
	if err == nil || errors.Is(err, zk.ErrNoNode) || errors.Is(err, ErrControllerMoved) {
		return nil
	}
	return fmt.Errorf("resign as controller: %w", err)
}
