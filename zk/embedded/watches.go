package embedded

import (
	"slices"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/embedded/watch"
	"github.com/ottla/ottla/zk/jute"
)

// setWatches takes up the watches of a client that has reconnected: those whose change it has missed fire at once, in
// the order of its lists, the others are registered. The events come before the reply (Z§6).
func (k *core) setWatches(c *conn, rq *request) {
	r := jute.SetWatchesRequest{V2: rq.op == jute.OpSetWatches2}
	if !k.decode(c, rq, &r) {
		return
	}
	missed := func(seen tree.Seen, event jute.EventType, path string) {
		if !seen.Exists || c.caller.Allowed(seen.ACL, jute.PermRead) {
			k.emit(c, eventFrame(event, path), nil, false)
		}
	}
	for _, path := range r.Data {
		switch seen := k.tree.Look(path); {
		case !seen.Exists:
			missed(seen, jute.EventNodeDeleted, path)
		case seen.Mzxid > r.RelativeZxid:
			missed(seen, jute.EventNodeDataChanged, path)
		default:
			k.watches.AddData(path, c)
		}
	}
	for _, path := range r.Exist {
		if seen := k.tree.Look(path); seen.Exists {
			missed(seen, jute.EventNodeCreated, path)
		} else {
			k.watches.AddData(path, c)
		}
	}
	for _, path := range r.Child {
		switch seen := k.tree.Look(path); {
		case !seen.Exists:
			missed(seen, jute.EventNodeDeleted, path)
		case seen.Pzxid > r.RelativeZxid:
			missed(seen, jute.EventNodeChildrenChanged, path)
		default:
			k.watches.AddChild(path, c)
		}
	}
	for _, path := range r.Persistent {
		k.watches.AddPersistent(path, c, false)
	}
	for _, path := range r.Recursive {
		k.watches.AddPersistent(path, c, true)
	}
	k.reply(c, rq, jute.OK, nil)
}

func (k *core) addWatch(c *conn, rq *request) {
	var r jute.AddWatchRequest
	if !k.decode(c, rq, &r) {
		return
	}
	if r.Mode != jute.AddWatchPersistent && r.Mode != jute.AddWatchPersistentRecursive {
		k.reply(c, rq, jute.MarshallingError, nil)
		return
	}
	k.watches.AddPersistent(r.Path, c, r.Mode == jute.AddWatchPersistentRecursive)
	k.reply(c, rq, jute.OK, func(e *jute.Encoder) { e.Int(0) })
}

func (k *core) checkWatches(c *conn, rq *request) {
	k.withWatches(c, rq, func(r *jute.PathTypeRequest) bool { return k.watches.Has(r.Path, c, r.Type) })
}

func (k *core) removeWatches(c *conn, rq *request) {
	k.withWatches(c, rq, func(r *jute.PathTypeRequest) bool { return k.watches.Remove(r.Path, c, r.Type) })
}

func (k *core) withWatches(c *conn, rq *request, found func(r *jute.PathTypeRequest) bool) {
	var r jute.PathTypeRequest
	if !k.decode(c, rq, &r) {
		return
	}
	switch {
	case !watch.ValidType(r.Type):
		k.reply(c, rq, jute.BadArguments, nil)
	case !found(&r):
		k.reply(c, rq, jute.NoWatcher, nil)
	default:
		k.reply(c, rq, jute.OK, nil)
	}
}

// auth adds an identity to the connection. The reply's zxid is 0; a failure ends the connection (Z§10).
func (k *core) auth(c *conn, rq *request) {
	var r jute.AuthRequest
	if !k.decode(c, rq, &r) {
		return
	}
	var ids []tree.ID
	switch {
	case len(r.Auth) > maxAuthBytes:
	case r.Scheme == "digest":
		id := tree.DigestID(r.Auth)
		ids = append(ids, tree.ID{Scheme: "digest", ID: id})
		if k.cfg.SuperDigest != "" && id == k.cfg.SuperDigest {
			ids = append(ids, tree.ID{Scheme: "super"})
		}
	case r.Scheme == "ip":
		ids = append(ids, tree.ID{Scheme: "ip", ID: c.host})
	}
	for _, id := range ids {
		if !slices.Contains(c.caller.IDs, id) {
			c.caller.IDs = append(c.caller.IDs, id)
		}
	}
	if ids == nil || len(c.caller.IDs) > maxIdentities {
		k.log.Warn("authentication failed", "client", c.remote, "scheme", r.Scheme)
		k.refuse(c, rq, jute.AuthFailed, 0)
		return
	}
	k.emit(c, replyFrame(rq.xid, 0, jute.OK, nil), rq, false)
}
