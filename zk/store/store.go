// Package store holds what a broker and a controller do in ZooKeeper, as typed operations: register, elect, read a whole
// cluster, write partition states, create and delete topics, change configurations.
//
// It promises two things. Whatever a controller writes is one transaction with a check of /controller_epoch, so that a
// controller that has been replaced without knowing cannot write at all: [FencedTx] is the only way. And no operation
// trusts a lost reply: an outcome that the session reports as unknown is settled by reading what is there, or the operation
// is one that may be repeated without harm, and its comment says why.
//
// A [Store] belongs to one session. When the session is over every operation fails, and the owner makes a Store of the
// next session.
//
// Everything is safe for concurrent use. Sources: F§1 (layout, races), F§2.3 (failover), reliability rules for unknown
// outcomes; Kafka's KafkaZkClient.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// Session is what a Store needs of a ZooKeeper session. [*zk.Session] has it; tests put faults in between.
type Session interface {
	ID() int64
	Create(ctx context.Context, path string, data []byte, flags zk.Flags) (string, error)
	CreateAll(ctx context.Context, path string, data []byte) error
	Get(ctx context.Context, path string) ([]byte, zk.Stat, error)
	Exists(ctx context.Context, path string) (zk.Stat, bool, error)
	Children(ctx context.Context, path string) ([]string, zk.Stat, error)
	Set(ctx context.Context, path string, data []byte, version int32) (zk.Stat, error)
	Delete(ctx context.Context, path string, version int32) error
	Sync(ctx context.Context, path string) error
	Multi(ctx context.Context, ops ...zk.Op) ([]zk.Result, error)
}

// Reader reads nodes. A [*zk.Session] just reads; a [*zk.Watcher] sets a watch on everything it reads.
type Reader interface {
	Get(ctx context.Context, path string) ([]byte, zk.Stat, error)
	Exists(ctx context.Context, path string) (zk.Stat, bool, error)
	Children(ctx context.Context, path string) ([]string, zk.Stat, error)
}

// ErrControllerMoved means that another controller has been elected, or that the election was lost. A controller that gets
// it resigns at once; the watch on /controller tells the rest.
var ErrControllerMoved = errors.New("another controller has been elected")

// OwnSessions are the ids of all ZooKeeper sessions that this broker ever had: those of this process, and the previous
// process's if it is known to be gone. A node that one of them owns is the broker's own leftover. An id is noted before
// anything is created under it, so that a lost reply cannot hide it (KAFKA-14845).
//
// One per process. Safe for concurrent use.
type OwnSessions struct {
	mu  sync.Mutex
	ids map[int64]struct{}
}

// NewOwnSessions returns a set with the given ids.
func NewOwnSessions(ids ...int64) *OwnSessions {
	o := &OwnSessions{ids: make(map[int64]struct{})}
	for _, id := range ids {
		o.Add(id)
	}
	return o
}

// Add notes a session. The id 0, which is nobody's, is ignored.
func (o *OwnSessions) Add(id int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id != 0 {
		o.ids[id] = struct{}{}
	}
}

// Has reports whether the session is or was the broker's own.
func (o *OwnSessions) Has(id int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.ids[id]
	return ok
}

// Store is one session's access to the cluster's state.
type Store struct {
	s   Session
	own *OwnSessions
	// claim holds the right to claim producer ids, as a token that is in the channel or with one caller.
	claim chan struct{}
}

// New returns the store of a session and notes the session in own. own may be nil for tools, which own nothing.
func New(s Session, own *OwnSessions) *Store {
	if own == nil {
		own = NewOwnSessions()
	}
	own.Add(s.ID())
	st := &Store{s: s, own: own, claim: make(chan struct{}, 1)}
	st.claim <- struct{}{}
	return st
}

// Limits of one transaction and of what is asked for at once. The session bounds what is in flight.
const (
	// maxTxOps is the largest number of operations in a transaction besides the fence.
	maxTxOps = 100
	// maxTxBytes is the size at which a transaction is full.
	maxTxBytes = 512 << 10
	// parallel is how many requests are prepared at once.
	parallel = 64
	// attempts bounds repetitions. Reads wait for the session to be connected again, so each takes its time.
	attempts = 20
)

// unknown reports whether an error leaves open what happened, and it makes sense to look.
func unknown(ctx context.Context, err error) bool {
	return errors.Is(err, zk.ErrAmbiguous) && ctx.Err() == nil && !errors.Is(err, zk.ErrSessionExpired) && !errors.Is(err, zk.ErrClosed)
}

// each runs fn for 0..n-1, many at a time, until one fails.
func each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			return fn(ctx, i)
		})
	}
	return g.Wait()
}

// reader returns r, or the session when there is none.
func (st *Store) reader(r Reader) Reader {
	if r == nil {
		return st.s
	}
	return r
}

// Sync makes later reads see all that has been written by anybody so far. Before a controller reads its state it must.
func (st *Store) Sync(ctx context.Context) error { return st.s.Sync(ctx, znode.Root) }

// corruption collects faults of single nodes while a bulk read goes on.
type corruption struct {
	mu   sync.Mutex
	errs []error
}

// note keeps the error if it is a node's fault, and returns any other.
func (c *corruption) note(err error) error {
	var fault *znode.CorruptError
	if !errors.As(err, &fault) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	return nil
}

// err returns all faults as one error.
func (c *corruption) err() error { return errors.Join(c.errs...) }

// set writes data to a node whatever its version, and makes the node if it is missing. Repeating it is harmless: the last
// writer wins anyhow.
func (st *Store) set(ctx context.Context, path string, data []byte) error {
	var err error
	for range attempts {
		_, err = st.s.Set(ctx, path, data, zk.AnyVersion)
		if errors.Is(err, zk.ErrNoNode) {
			if err = st.s.CreateAll(ctx, path, data); err == nil {
				var have []byte
				have, _, err = st.s.Get(ctx, path) // it may have been made by somebody else, with other data
				if err == nil && string(have) == string(data) {
					return nil
				}
				continue
			}
		}
		if !unknown(ctx, err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// remove deletes a node that may be gone already.
func (st *Store) remove(ctx context.Context, path string) error {
	var err error
	for range attempts {
		err = st.s.Delete(ctx, path, zk.AnyVersion)
		if err == nil || errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		if !unknown(ctx, err) {
			break
		}
	}
	return fmt.Errorf("delete %s: %w", path, err)
}

// notify creates a sequential notification. Repeating it after an unknown outcome may leave two, which is harmless: a
// notification only makes its readers look.
func (st *Store) notify(ctx context.Context, prefix string, data []byte) error {
	var err error
	for range attempts {
		if _, err = st.s.Create(ctx, prefix, data, zk.Sequential); err == nil || !unknown(ctx, err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("notify at %s: %w", prefix, err)
	}
	return nil
}
