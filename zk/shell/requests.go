package shell

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/zk/jute"
)

// watchOn returns what notes a watch once a reply shows that the server did.
func (s *session) watchOn(watch bool, kind watchKind, path string) func(jute.Code) {
	if !watch {
		return nil
	}
	return func(code jute.Code) {
		if code == jute.OK {
			s.watches.add(kind, path)
		}
	}
}

// get reads a node's data; nil when it is null.
func (s *session) get(ctx context.Context, path string, watch bool) ([]byte, jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return nil, jute.Stat{}, err
	}
	full := s.target.onServer(path)
	d, err := s.do(ctx, jute.OpGetData, &jute.PathWatchRequest{Path: full, Watch: watch}, path, s.watchOn(watch, dataWatch, full))
	if err != nil {
		return nil, jute.Stat{}, err
	}
	data := d.Buffer()
	stat, err := decodeStat(d)
	return data, stat, err
}

// exists reads a node's Stat. Its watch is kept for a missing node, too.
func (s *session) exists(ctx context.Context, path string, watch bool) (jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return jute.Stat{}, err
	}
	full := s.target.onServer(path)
	d, err := s.do(ctx, jute.OpExists, &jute.PathWatchRequest{Path: full, Watch: watch}, path, func(code jute.Code) {
		switch {
		case watch && code == jute.OK:
			s.watches.add(dataWatch, full)
		case watch && code == jute.NoNode:
			s.watches.add(existWatch, full)
		}
	})
	if err != nil {
		return jute.Stat{}, err
	}
	return decodeStat(d)
}

// children lists a node's children.
func (s *session) children(ctx context.Context, path string, watch bool) ([]string, jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return nil, jute.Stat{}, err
	}
	full := s.target.onServer(path)
	d, err := s.do(ctx, jute.OpGetChildren2, &jute.PathWatchRequest{Path: full, Watch: watch}, path, s.watchOn(watch, childWatch, full))
	if err != nil {
		return nil, jute.Stat{}, err
	}
	names := d.Strings()
	stat, err := decodeStat(d)
	return names, stat, err
}

// create makes a node and returns its path.
func (s *session) create(ctx context.Context, path string, data []byte, acl []jute.ACL, mode jute.CreateMode, ttlMs int64) (string, error) {
	if err := checkNewPath(path, mode.Sequential()); err != nil {
		return "", err
	}
	if len(acl) == 0 {
		return "", &resultError{code: jute.InvalidACL}
	}
	op := jute.OpCreate
	switch {
	case mode == jute.ModeContainer:
		op = jute.OpCreateContainer
	case mode.TTL():
		op = jute.OpCreateTTL
	}
	rq := &jute.CreateRequest{Path: s.target.onServer(path), Data: data, ACL: acl, Mode: mode, HasTTL: mode.TTL(), TTLMs: ttlMs}
	d, err := s.do(ctx, op, rq, path, nil)
	if err != nil {
		return "", err
	}
	made := d.String()
	if d.Err() != nil {
		return "", badReply(d.Err())
	}
	return s.target.local(made), nil
}

// set writes a node's data.
func (s *session) set(ctx context.Context, path string, data []byte, version int32) (jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return jute.Stat{}, err
	}
	d, err := s.do(ctx, jute.OpSetData, &jute.SetDataRequest{Path: s.target.onServer(path), Data: data, Version: version}, path, nil)
	if err != nil {
		return jute.Stat{}, err
	}
	return decodeStat(d)
}

// remove deletes a node.
func (s *session) remove(ctx context.Context, path string, version int32) error {
	if err := checkPath(path); err != nil {
		return err
	}
	_, err := s.do(ctx, jute.OpDelete, &jute.PathVersionRequest{Path: s.target.onServer(path), Version: version}, path, nil)
	return err
}

// removeAll deletes nodes in one transaction.
func (s *session) removeAll(ctx context.Context, paths []string) error {
	var ops multi
	for _, p := range paths {
		ops = append(ops, jute.MultiOp{Op: jute.OpDelete, Record: &jute.PathVersionRequest{Path: s.target.onServer(p), Version: -1}})
	}
	d, err := s.do(ctx, jute.OpMulti, ops, "", nil)
	if err != nil {
		return err
	}
	for {
		var h jute.MultiHeader
		if h.Decode(d); d.Err() != nil {
			return badReply(d.Err())
		}
		switch {
		case h.Done:
			return nil
		case h.Op == jute.OpError && h.Err != jute.OK:
			return &resultError{code: h.Err}
		case h.Op == jute.OpError:
			d.Int()
		}
	}
}

// multi is the body of a transaction.
type multi []jute.MultiOp

// Encode implements [jute.Record].
func (m multi) Encode(e *jute.Encoder) { jute.EncodeMulti(e, m) }

// Decode implements [jute.Record]. Only servers read requests.
func (m multi) Decode(*jute.Decoder) {}

// acl reads a node's access list.
func (s *session) acl(ctx context.Context, path string) ([]jute.ACL, jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return nil, jute.Stat{}, err
	}
	d, err := s.do(ctx, jute.OpGetACL, &jute.PathRequest{Path: s.target.onServer(path)}, path, nil)
	if err != nil {
		return nil, jute.Stat{}, err
	}
	list := d.ACLs()
	stat, err := decodeStat(d)
	return list, stat, err
}

// setACL replaces a node's access list.
func (s *session) setACL(ctx context.Context, path string, acl []jute.ACL, version int32) (jute.Stat, error) {
	if err := checkPath(path); err != nil {
		return jute.Stat{}, err
	}
	if len(acl) == 0 {
		return jute.Stat{}, &resultError{code: jute.InvalidACL}
	}
	d, err := s.do(ctx, jute.OpSetACL, &jute.SetACLRequest{Path: s.target.onServer(path), ACL: acl, Version: version}, path, nil)
	if err != nil {
		return jute.Stat{}, err
	}
	return decodeStat(d)
}

// sync waits until the server has caught up with the leader.
func (s *session) sync(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	_, err := s.do(ctx, jute.OpSync, &jute.PathRequest{Path: s.target.onServer(path)}, path, nil)
	return err
}

// addWatch leaves a persistent watch.
func (s *session) addWatch(ctx context.Context, path string, mode jute.AddWatchMode) error {
	if err := checkPath(path); err != nil {
		return err
	}
	kind := persistentWatch
	if mode == jute.AddWatchPersistentRecursive {
		kind = recursiveWatch
	}
	full := s.target.onServer(path)
	_, err := s.do(ctx, jute.OpAddWatch, &jute.AddWatchRequest{Path: full, Mode: mode}, path, s.watchOn(true, kind, full))
	return err
}

// removeWatches ends watches of a path and returns the names of the events about that. With local it also forgets them when the server cannot be asked.
func (s *session) removeWatches(ctx context.Context, path string, t jute.WatcherType, local bool) ([]string, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	full := s.target.onServer(path)
	_, err := s.do(ctx, jute.OpRemoveWatches, &jute.PathTypeRequest{Path: full, Type: t}, path, nil)
	if err != nil && !(local && isCode(err, jute.ConnectionLoss)) {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches.remove(t, full), nil
}

// ephemerals lists the session's ephemeral nodes whose paths begin with prefix.
func (s *session) ephemerals(ctx context.Context, prefix string) ([]string, error) {
	if err := checkPath(prefix); err != nil {
		return nil, err
	}
	d, err := s.do(ctx, jute.OpGetEphemerals, &jute.PathRequest{Path: s.target.onServer(prefix)}, prefix, nil)
	if err != nil {
		return nil, err
	}
	paths := d.Strings()
	for i, p := range paths {
		paths[i] = s.target.local(p)
	}
	return paths, badReply(d.Err())
}

// countAll counts all nodes below a path.
func (s *session) countAll(ctx context.Context, path string) (int32, error) {
	if err := checkPath(path); err != nil {
		return 0, err
	}
	d, err := s.do(ctx, jute.OpGetAllChildrenNum, &jute.PathRequest{Path: s.target.onServer(path)}, path, nil)
	if err != nil {
		return 0, err
	}
	n := d.Int()
	return n, badReply(d.Err())
}

// identity is what a server takes the client for.
type identity struct{ scheme, user string }

// whoAmI asks for the identities of the connection.
func (s *session) whoAmI(ctx context.Context) ([]identity, error) {
	d, err := s.do(ctx, jute.OpWhoAmI, nil, "", nil)
	if err != nil {
		return nil, err
	}
	ids := make([]identity, d.Count(8))
	for i := range ids {
		ids[i] = identity{d.String(), d.String()}
	}
	return ids, badReply(d.Err())
}

// config reads the configuration of the ensemble, which has its place outside of any chroot.
func (s *session) config(ctx context.Context, watch bool) ([]byte, jute.Stat, error) {
	const path = "/zookeeper/config"
	d, err := s.do(ctx, jute.OpGetData, &jute.PathWatchRequest{Path: path, Watch: watch}, path, s.watchOn(watch, dataWatch, path))
	if err != nil {
		return nil, jute.Stat{}, err
	}
	data := d.Buffer()
	stat, err := decodeStat(d)
	return data, stat, err
}

// reconfigure changes the members of the ensemble and returns its configuration.
func (s *session) reconfigure(ctx context.Context, rq *jute.ReconfigRequest) ([]byte, jute.Stat, error) {
	d, err := s.do(ctx, jute.OpReconfig, rq, "", nil)
	if err != nil {
		return nil, jute.Stat{}, err
	}
	data := d.Buffer()
	stat, err := decodeStat(d)
	return data, stat, err
}

// decodeStat reads the Stat that ends a reply.
func decodeStat(d *jute.Decoder) (jute.Stat, error) {
	var stat jute.Stat
	stat.Decode(d)
	return stat, badReply(d.Err())
}

// badReply says of an error of decoding what it is about.
func badReply(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read the server's reply: %w", err)
}
