package embedded

import (
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

func (k *core) exists(c *conn, rq *request) {
	var r jute.PathWatchRequest
	if !k.decode(c, rq, &r) {
		return
	}
	stat, code := k.tree.Exists(&c.caller, r.Path)
	if r.Watch && (code == jute.OK || code == jute.NoNode) {
		k.watches.AddData(r.Path, c)
	}
	k.reply(c, rq, code, stat.Encode)
}

func (k *core) getData(c *conn, rq *request) {
	var r jute.PathWatchRequest
	if !k.decode(c, rq, &r) {
		return
	}
	res := k.readData(c, &r)
	k.reply(c, rq, res.code, res.body)
}

func (k *core) readData(c *conn, r *jute.PathWatchRequest) opResult {
	data, stat, code := k.tree.Data(&c.caller, r.Path)
	if r.Watch && code == jute.OK {
		k.watches.AddData(r.Path, c)
	}
	return opResult{op: jute.OpGetData, code: code, size: len(data), body: func(e *jute.Encoder) {
		e.Buffer(data)
		stat.Encode(e)
	}}
}

func (k *core) getChildren(c *conn, rq *request) {
	var r jute.PathWatchRequest
	if !k.decode(c, rq, &r) {
		return
	}
	res := k.readChildren(c, &r, rq.op == jute.OpGetChildren2)
	k.reply(c, rq, res.code, res.body)
}

func (k *core) readChildren(c *conn, r *jute.PathWatchRequest, withStat bool) opResult {
	names, stat, code := k.tree.Children(&c.caller, r.Path)
	if r.Watch && code == jute.OK {
		k.watches.AddChild(r.Path, c)
	}
	size := 0
	for _, name := range names {
		size += 16 + len(name)
	}
	return opResult{op: jute.OpGetChildren, code: code, size: size, body: func(e *jute.Encoder) {
		e.Strings(names)
		if withStat {
			stat.Encode(e)
		}
	}}
}

// multiRead answers several getData and getChildren at once; each has its own code (Z§7). One that asks for more than
// may be queued for a client, as by naming a large node often, is a system error.
func (k *core) multiRead(c *conn, rq *request) {
	ops, err := jute.DecodeMulti(rq.body)
	if err != nil || !allOf(ops, isRead) {
		k.reply(c, rq, jute.MarshallingError, nil)
		return
	}
	results := make([]opResult, len(ops))
	size := 0
	for i, op := range ops {
		r, _ := op.Record.(*jute.PathWatchRequest)
		if op.Op == jute.OpGetData {
			results[i] = k.readData(c, r)
		} else {
			results[i] = k.readChildren(c, r, false)
		}
		if size += results[i].size; size > k.cfg.Limits.HardQueue {
			k.reply(c, rq, jute.SystemError, nil)
			return
		}
	}
	k.reply(c, rq, jute.OK, func(e *jute.Encoder) { encodeResults(e, results, true) })
}

func (k *core) getACL(c *conn, rq *request) {
	var r jute.PathRequest
	if !k.decode(c, rq, &r) {
		return
	}
	acl, stat, code := k.tree.ACL(&c.caller, r.Path)
	k.reply(c, rq, code, func(e *jute.Encoder) {
		e.ACLs(acl)
		stat.Encode(e)
	})
}

// getEphemerals lists the client's own ephemeral nodes under a prefix, which is a string and not a path.
func (k *core) getEphemerals(c *conn, rq *request) {
	var r jute.PathRequest
	if !k.decode(c, rq, &r) {
		return
	}
	k.reply(c, rq, jute.OK, func(e *jute.Encoder) { e.Strings(k.tree.Ephemerals(&c.caller, r.Path)) })
}

func (k *core) getAllChildrenNumber(c *conn, rq *request) {
	var r jute.PathRequest
	if !k.decode(c, rq, &r) {
		return
	}
	n, code := k.tree.DescendantCount(&c.caller, r.Path)
	k.reply(c, rq, code, func(e *jute.Encoder) { e.Int(int32(n)) })
}

// whoAmI lists the identities of the connection; of a digest only the user's name.
func (k *core) whoAmI(c *conn, rq *request) {
	k.reply(c, rq, jute.OK, func(e *jute.Encoder) {
		e.Int(int32(len(c.caller.IDs)))
		for _, id := range c.caller.IDs {
			user := id.ID
			if id.Scheme == "digest" {
				user, _, _ = strings.Cut(user, ":")
			}
			e.String(id.Scheme)
			e.String(user)
		}
	})
}
