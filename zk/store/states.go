package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// StateWrite is one partition state to write.
type StateWrite struct {
	// Partition is whose state.
	Partition cluster.TopicPartition
	// State is what to write. A controller's epoch is put in by its [FencedTx].
	State znode.PartitionState
	// Expected is the partition epoch that the state must have now. Not used for creation.
	Expected cluster.PartitionEpoch
}

// StateResult is how one write ended.
type StateResult struct {
	// Partition is whose state.
	Partition cluster.TopicPartition
	// Epoch is the new partition epoch when Err is nil.
	Epoch cluster.PartitionEpoch
	// Err is nil, a [*ConflictError], or the error that ended the whole call before this write was settled.
	Err error
}

// ConflictError means that the state was not as expected, so it was not written.
type ConflictError struct {
	// Partition is whose state.
	Partition cluster.TopicPartition
	// Current is what is there instead, nil when there is nothing.
	Current *StateInfo
}

// Error says what is there.
func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("write the state of %s: the partition does not exist", e.Partition)
	}
	return fmt.Sprintf("write the state of %s: it has partition epoch %d, leader %d and leader epoch %d",
		e.Partition, e.Current.Epoch, e.Current.Leader, e.Current.LeaderEpoch)
}

// absent is the partition epoch of a state that does not exist: creating it leads to 0.
const absent cluster.PartitionEpoch = -1

// SetStates writes partition states, each only if its partition epoch is the expected one. They go in transactions of up to
// a hundred, many at a time. One that conflicts does not keep the others from being written. Lost replies are settled by
// reading back: a state is taken for written when it has the content and the epoch that the write leads to.
//
// The results are in the order of writes. The error is not nil when the fence was lost, the session or ctx ended; then the
// results tell what is known, and carry the error where nothing is.
func (tx *FencedTx) SetStates(ctx context.Context, writes []StateWrite) ([]StateResult, error) {
	return tx.write(ctx, writes, false)
}

// CreateStates writes the first states of new partitions, and the parent nodes they need. Expected is not used. A partition
// that has a state already conflicts, unless it is the very state to write; so does one whose topic does not exist. For
// the rest see [FencedTx.SetStates].
func (tx *FencedTx) CreateStates(ctx context.Context, writes []StateWrite) ([]StateResult, error) {
	topics := make(map[string]struct{})
	for _, w := range writes {
		topics[w.Partition.Topic] = struct{}{}
	}
	names := make([]string, 0, len(topics))
	for name := range topics {
		names = append(names, name)
	}
	err := each(ctx, len(names), func(ctx context.Context, i int) error {
		_, err := tx.repeat(ctx, zk.CreateOp(znode.PartitionsPath(names[i]), nil, zk.Persistent))
		if errors.Is(err, zk.ErrNodeExists) || errors.Is(err, zk.ErrNoNode) {
			return nil // without its topic each partition will conflict
		}
		return err
	})
	if err != nil {
		results := make([]StateResult, len(writes))
		for i, w := range writes {
			results[i] = StateResult{Partition: w.Partition, Err: err}
		}
		return results, fmt.Errorf("create partitions: %w", err)
	}
	return tx.write(ctx, writes, true)
}

// stateItem is one write on its way.
type stateItem struct {
	index  int // in the caller's list
	write  StateWrite
	create bool
	parent bool // the partition's node is known to exist
	data   []byte
}

// ops returns the operations of the write.
func (it *stateItem) ops() []zk.Op {
	path := znode.PartitionStatePath(it.write.Partition)
	if !it.create {
		return []zk.Op{zk.SetOp(path, it.data, int32(it.write.Expected))}
	}
	state := zk.CreateOp(path, it.data, zk.Persistent)
	if it.parent {
		return []zk.Op{state}
	}
	return []zk.Op{zk.CreateOp(znode.PartitionPath(it.write.Partition), nil, zk.Persistent), state}
}

// judge compares what is there with what was to be written. written: the write was applied. open: nothing has changed, the
// write may be tried again. Neither: conflict.
func (it *stateItem) judge(current *StateInfo) (written, open bool) {
	epoch := absent
	if current != nil {
		epoch = current.Epoch
	}
	switch epoch {
	case it.write.Expected:
		return false, true
	case it.write.Expected + 1:
		return current.Equal(it.write.State), false
	}
	return false, false
}

// write runs all writes in transactions of their own size.
func (tx *FencedTx) write(ctx context.Context, writes []StateWrite, create bool) ([]StateResult, error) {
	b := &stateBatch{tx: tx, results: make([]StateResult, len(writes))}
	var chunks [][]*stateItem
	ops, size := maxTxOps, 0
	for i, w := range writes {
		w.State.ControllerEpoch = tx.epoch
		if create {
			w.Expected = absent
		}
		it := &stateItem{index: i, write: w, create: create, data: w.State.Encode()}
		b.results[i] = StateResult{Partition: w.Partition, Err: errUnsettled}
		mine := it.ops()
		bytes := 0
		for _, op := range mine {
			bytes += op.Size()
		}
		if ops+len(mine) > maxTxOps || size+bytes > maxTxBytes {
			chunks, ops, size = append(chunks, nil), 0, 0
		}
		last := len(chunks) - 1
		chunks[last] = append(chunks[last], it)
		ops, size = ops+len(mine), size+bytes
	}
	err := each(ctx, len(chunks), func(ctx context.Context, i int) error { return b.settle(ctx, chunks[i]) })
	if err == nil {
		return b.results, nil
	}
	for i := range b.results {
		if errors.Is(b.results[i].Err, errUnsettled) {
			b.results[i].Err = err
		}
	}
	return b.results, fmt.Errorf("write partition states: %w", err)
}

// errUnsettled marks results that are still to come.
var errUnsettled = errors.New("not settled")

// stateBatch is a set of writes under way. Each result is written by the goroutine of its chunk alone.
type stateBatch struct {
	tx      *FencedTx
	results []StateResult
}

// maxRefusals is how many writes of one transaction may be taken out, one after the other, before the rest go singly: a
// transaction names only the first that is refused.
const maxRefusals = 3

// settle runs one transaction again and again until each of its writes has an outcome.
func (b *stateBatch) settle(ctx context.Context, items []*stateItem) error {
	refusals := 0
	for range attempts + maxTxOps {
		if len(items) == 0 {
			return nil
		}
		if refusals > maxRefusals && len(items) > 1 {
			return each(ctx, len(items), func(ctx context.Context, i int) error { return b.settle(ctx, items[i:i+1]) })
		}
		var ops []zk.Op
		var owner []*stateItem // of each operation
		for _, it := range items {
			for _, op := range it.ops() {
				ops, owner = append(ops, op), append(owner, it)
			}
		}
		results, err := b.tx.Do(ctx, ops...)
		var refused *zk.MultiError
		switch {
		case err == nil:
			b.applied(owner, results)
			return nil
		case unknown(ctx, err):
			if items, err = b.lookAll(ctx, items); err != nil {
				return err
			}
		case errors.As(err, &refused) && !errors.Is(err, ErrControllerMoved):
			refusals++
			it := owner[refused.Index]
			done, lookErr := b.look(ctx, it, refused.Err)
			if lookErr != nil {
				return lookErr
			}
			if done {
				items = slices.DeleteFunc(slices.Clone(items), func(x *stateItem) bool { return x == it })
			}
		default:
			return err
		}
	}
	return fmt.Errorf("no outcome after many attempts, the first partition is %s", items[0].write.Partition)
}

// applied notes the success of a whole transaction.
func (b *stateBatch) applied(owner []*stateItem, results []zk.Result) {
	for i, it := range owner {
		epoch := cluster.PartitionEpoch(results[i].Stat.Version) // of a created node: 0
		b.results[it.index] = StateResult{Partition: it.write.Partition, Epoch: epoch}
	}
}

// lookAll reads back after an unknown outcome and returns the writes that are to be tried again.
func (b *stateBatch) lookAll(ctx context.Context, items []*stateItem) ([]*stateItem, error) {
	done := make([]bool, len(items))
	err := each(ctx, len(items), func(ctx context.Context, i int) error {
		var err error
		done[i], err = b.look(ctx, items[i], nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	var rest []*stateItem
	for i, it := range items {
		if !done[i] {
			rest = append(rest, it)
		}
	}
	return rest, nil
}

// look reads a partition's state and settles its write if it can. refusal is the server's answer to the write, nil when
// there was none.
func (b *stateBatch) look(ctx context.Context, it *stateItem, refusal error) (done bool, err error) {
	tp := it.write.Partition
	if err := b.tx.st.s.Sync(ctx, znode.PartitionStatePath(tp)); err != nil {
		return false, err
	}
	info, ok, err := b.tx.st.state(ctx, tp)
	var current *StateInfo
	var corrupt *znode.CorruptError
	switch {
	case errors.As(err, &corrupt):
		b.results[it.index].Err = err
		return true, nil
	case err != nil:
		return false, err
	case ok:
		current = &info
	}
	written, open := it.judge(current)
	if open && errors.Is(refusal, zk.ErrNodeExists) {
		it.parent = true // only the partition's own node can have been in the way
		return false, nil
	}
	if open && !errors.Is(refusal, zk.ErrNoNode) {
		return false, nil
	}
	b.results[it.index] = StateResult{Partition: tp, Epoch: it.write.Expected + 1}
	if !written {
		b.results[it.index] = StateResult{Partition: tp, Err: &ConflictError{Partition: tp, Current: current}}
	}
	return true, nil
}

// SetState writes one partition state without the fence, as a leader does with inter.broker.protocol.version below 2.7. The state's controller epoch is written as given.
func (st *Store) SetState(ctx context.Context, w StateWrite) (cluster.PartitionEpoch, error) {
	it := &stateItem{write: w, data: w.State.Encode()}
	path := znode.PartitionStatePath(w.Partition)
	var err error
	for range attempts {
		var stat zk.Stat
		if stat, err = st.s.Set(ctx, path, it.data, int32(w.Expected)); err == nil {
			return cluster.PartitionEpoch(stat.Version), nil
		}
		if !unknown(ctx, err) && !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
			break
		}
		if err = st.s.Sync(ctx, path); err != nil {
			break
		}
		info, ok, lookErr := st.state(ctx, w.Partition)
		if lookErr != nil {
			err = lookErr
			break
		}
		var current *StateInfo
		if ok {
			current = &info
		}
		written, open := it.judge(current)
		if written {
			return info.Epoch, nil
		}
		if err = (&ConflictError{Partition: w.Partition, Current: current}); !open {
			return absent, err
		}
	}
	return absent, fmt.Errorf("write the state of %s: %w", w.Partition, err)
}
