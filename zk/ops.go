package zk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gozk "github.com/go-zookeeper/zk"
)

// AnyVersion makes Set and Delete unconditional.
const AnyVersion int32 = -1

// Flags choose the kind of node to create.
type Flags int32

// The kinds of nodes. Ephemeral and Sequential can be combined.
const (
	// Persistent nodes stay until deleted.
	Persistent Flags = 0
	// Ephemeral nodes vanish with the session.
	Ephemeral Flags = 1
	// Sequential nodes get a number of ten digits appended to their path.
	Sequential Flags = 2
)

// Stat is what ZooKeeper knows about a node besides its data (Z§5).
type Stat struct {
	// Czxid is the transaction that created the node. For a broker's registration it is the broker epoch.
	Czxid int64
	// Mzxid is the transaction that set the data last.
	Mzxid int64
	// Pzxid is the transaction that changed the children last.
	Pzxid int64
	// Ctime is when the node was created, in milliseconds since 1970 by the server's clock.
	Ctime int64
	// Mtime is when the data was set last, in milliseconds since 1970 by the server's clock.
	Mtime int64
	// EphemeralOwner is the session of an ephemeral node, 0 for others.
	EphemeralOwner int64
	// Version counts the settings of the data.
	Version int32
	// Cversion counts the changes of the children.
	Cversion int32
	// Aversion counts the changes of the access rules.
	Aversion int32
	// DataLength is the size of the data in bytes.
	DataLength int32
	// NumChildren is the number of children.
	NumChildren int32
}

// toStat copies the library's form.
func toStat(s *gozk.Stat) Stat {
	if s == nil {
		return Stat{}
	}
	return Stat{
		Czxid: s.Czxid, Mzxid: s.Mzxid, Pzxid: s.Pzxid, Ctime: s.Ctime, Mtime: s.Mtime, EphemeralOwner: s.EphemeralOwner,
		Version: s.Version, Cversion: s.Cversion, Aversion: s.Aversion, DataLength: s.DataLength, NumChildren: s.NumChildren,
	}
}

// readAttempts is how often a read is tried over reconnections before its error is returned. It is bounded for the case
// that the read itself makes the server drop the connection.
const readAttempts = 8

// outcome is what an operation brought back.
type outcome[T any] struct {
	value T
	err   error
}

// call runs one operation of the library, which knows no contexts, in a goroutine of its own. A caller that leaves early
// leaves the operation running; whatever it was to return is dropped, and for a write the outcome is unknown.
func call[T any](ctx context.Context, s *Session, op, path string, fn func(*gozk.Conn) (T, error)) (T, error) {
	var none T
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return none, failure(op, path, NotSent, ctx.Err())
	case <-s.life.Done():
		return none, failure(op, path, NotSent, s.Err())
	}
	if err := s.usable(ctx); err != nil {
		<-s.slots
		return none, failure(op, path, NotSent, err)
	}
	result := make(chan outcome[T], 1)
	started := s.operate(func() {
		v, err := fn(s.conn)
		<-s.slots
		result <- outcome[T]{v, err}
	})
	if !started {
		<-s.slots
		err := s.Err()
		if err == nil { // in a moment
			err = ErrClosed
		}
		return none, failure(op, path, NotSent, err)
	}
	var got outcome[T]
	select {
	case got = <-result:
	case <-ctx.Done():
		return none, failure(op, path, Ambiguous, ctx.Err())
	case <-s.life.Done():
		select {
		case got = <-result:
		default:
			return none, failure(op, path, Ambiguous, s.Err())
		}
	}
	if got.err == nil {
		return got.value, nil
	}
	class, err := classify(got.err)
	if over := s.Err(); over != nil && class == Ambiguous {
		err = over
	}
	return none, failure(op, path, class, err)
}

// usable reports why nothing may be sent, if so.
func (s *Session) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.Live() {
		s.end(ErrLeaseEnded) // the first end counts, this one comes before its timer at the most
		return s.Err()
	}
	return nil
}

// read runs a read, again and again over reconnections.
func read[T any](ctx context.Context, s *Session, op, path string, fn func(*gozk.Conn) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		v, err := call(ctx, s, op, path, fn)
		if err == nil || ClassOf(err) != Ambiguous {
			return v, err
		}
		if ctx.Err() != nil || s.over.Load() || attempt == readAttempts {
			var failed *OpError
			if errors.As(err, &failed) {
				failed.Class = NotSent // a read leaves nothing behind
			}
			return v, err
		}
	}
}

// prepare checks a path and the size of the data.
func prepare(op, path string, data []byte) error {
	if err := validatePath(path); err != nil {
		return failure(op, path, NotSent, err)
	}
	if len(data) > MaxDataSize {
		return failure(op, path, NotSent, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), MaxDataSize))
	}
	return nil
}

// Create makes a node and returns its path, which differs from the given one for sequential nodes. data may be nil: null.
func (s *Session) Create(ctx context.Context, path string, data []byte, flags Flags) (string, error) {
	if err := prepare("create", path, data); err != nil {
		return "", err
	}
	full, acl := s.full(path), gozk.WorldACL(gozk.PermAll)
	created, err := call(ctx, s, "create", path, func(c *gozk.Conn) (string, error) {
		return c.Create(full, data, int32(flags), acl)
	})
	if err != nil {
		return "", err
	}
	return s.strip(created), nil
}

// CreateAll makes a persistent node and its missing ancestors, those with null data. A node that exists already is success,
// its data is left alone; so an unknown outcome is resolved by trying again.
func (s *Session) CreateAll(ctx context.Context, path string, data []byte) error {
	for attempt := 1; ; attempt++ {
		_, err := s.Create(ctx, path, data, Persistent)
		switch {
		case err == nil, errors.Is(err, ErrNodeExists):
			return nil
		case errors.Is(err, ErrNoNode) && strings.Count(path, "/") > 1:
			if err := s.CreateAll(ctx, path[:strings.LastIndexByte(path, '/')], nil); err != nil {
				return err
			}
		case ClassOf(err) == Ambiguous && ctx.Err() == nil && !s.over.Load():
		default:
			return err
		}
		if attempt == readAttempts {
			return err
		}
	}
}

// data is a node's data with its stat.
type data struct {
	bytes []byte
	stat  Stat
}

// Get returns a node's data: nil for null, empty for empty.
func (s *Session) Get(ctx context.Context, path string) ([]byte, Stat, error) {
	return s.get(ctx, path, nil)
}

// get reads data and sets a watch for w if there is one.
func (s *Session) get(ctx context.Context, path string, w *Watcher) ([]byte, Stat, error) {
	if err := prepare("get", path, nil); err != nil {
		return nil, Stat{}, err
	}
	full := s.full(path)
	d, err := read(ctx, s, "get", path, func(c *gozk.Conn) (data, error) {
		s.armFor(w, watchKey{full, false})
		b, st, err := c.Get(full)
		if err != nil {
			return data{}, err
		}
		return data{b, toStat(st)}, nil
	})
	return d.bytes, d.stat, err
}

// armFor notes what a watcher wants, right before each attempt of its read.
func (s *Session) armFor(w *Watcher, k watchKey) {
	if w != nil {
		s.watch.arm(k, w)
	}
}

// presence is whether a node is there.
type presence struct {
	stat Stat
	ok   bool
}

// Exists reports whether a node is there.
func (s *Session) Exists(ctx context.Context, path string) (Stat, bool, error) {
	return s.exists(ctx, path, nil)
}

// exists looks for a node and sets a watch for w if there is one.
func (s *Session) exists(ctx context.Context, path string, w *Watcher) (Stat, bool, error) {
	if err := prepare("exists", path, nil); err != nil {
		return Stat{}, false, err
	}
	full := s.full(path)
	p, err := read(ctx, s, "exists", path, func(c *gozk.Conn) (presence, error) {
		s.armFor(w, watchKey{full, false})
		ok, st, err := c.Exists(full)
		if err != nil || !ok {
			return presence{}, err
		}
		return presence{toStat(st), true}, nil
	})
	return p.stat, p.ok, err
}

// listing is a node's children with its stat.
type listing struct {
	names []string
	stat  Stat
}

// Children lists the names of a node's children, in no order.
func (s *Session) Children(ctx context.Context, path string) ([]string, Stat, error) {
	return s.children(ctx, path, nil)
}

// children lists children and sets a watch for w if there is one.
func (s *Session) children(ctx context.Context, path string, w *Watcher) ([]string, Stat, error) {
	if err := prepare("children", path, nil); err != nil {
		return nil, Stat{}, err
	}
	full := s.full(path)
	l, err := read(ctx, s, "children", path, func(c *gozk.Conn) (listing, error) {
		s.armFor(w, watchKey{full, true})
		names, st, err := c.Children(full)
		if err != nil {
			return listing{}, err
		}
		return listing{names, toStat(st)}, nil
	})
	return l.names, l.stat, err
}

// Set replaces a node's data if its version is the given one, or [AnyVersion]. The stat returned is the new one.
func (s *Session) Set(ctx context.Context, path string, data []byte, version int32) (Stat, error) {
	if err := prepare("set", path, data); err != nil {
		return Stat{}, err
	}
	full := s.full(path)
	return call(ctx, s, "set", path, func(c *gozk.Conn) (Stat, error) {
		st, err := c.Set(full, data, version)
		if err != nil {
			return Stat{}, err
		}
		return toStat(st), nil
	})
}

// Delete removes a node without children if its version is the given one, or [AnyVersion].
func (s *Session) Delete(ctx context.Context, path string, version int32) error {
	if err := prepare("delete", path, nil); err != nil {
		return err
	}
	full := s.full(path)
	_, err := call(ctx, s, "delete", path, func(c *gozk.Conn) (struct{}, error) {
		return struct{}{}, c.Delete(full, version)
	})
	return err
}

// Sync makes later reads of this session see everything that any session had written when Sync was called. Otherwise a
// server that lags behind its ensemble may answer reads with the past.
func (s *Session) Sync(ctx context.Context, path string) error {
	if err := prepare("sync", path, nil); err != nil {
		return err
	}
	full := s.full(path)
	_, err := read(ctx, s, "sync", path, func(c *gozk.Conn) (struct{}, error) {
		_, err := c.Sync(full)
		return struct{}{}, err
	})
	return err
}
