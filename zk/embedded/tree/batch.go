package tree

import (
	"bytes"
	"fmt"

	"github.com/ottla/ottla/zk/jute"
)

// MaxTTLMs is the longest time to live of a node: 2^40-1 ms (Z§4).
const MaxTTLMs = 1<<40 - 1

// Change is one thing that happened to a node, as watches see it.
type Change struct {
	Event     jute.EventType // created, deleted or data changed
	Path      string
	Parent    string     // for created and deleted: whose children changed; "" for data changed
	ACL       []jute.ACL // of the node, before a delete
	ParentACL []jute.ACL
}

// Batch is one transaction in the making. Each operation is applied to the tree at once, so that the next one sees it;
// exactly one of Commit and Rollback must end the batch, and only one batch may be open at a time.
type Batch struct {
	tree    *Tree
	zxid    int64
	now     int64
	ops     []Op
	changes []Change
	undo    []func()
}

// Begin opens a transaction with the given zxid and time in milliseconds since 1970.
func (t *Tree) Begin(zxid, nowMs int64) *Batch { return &Batch{tree: t, zxid: zxid, now: nowMs} }

// Empty reports whether nothing would be logged: no operation was accepted, or only checks.
func (b *Batch) Empty() bool { return len(b.ops) == 0 }

// Commit ends the batch. The transaction is to be made durable before anybody learns of it.
func (b *Batch) Commit() (Txn, []Change) {
	b.tree.lastZxid = b.zxid
	return Txn{Zxid: b.zxid, TimeMs: b.now, Ops: b.ops}, b.changes
}

// Rollback takes everything back, sequence counters included (Z§7).
func (b *Batch) Rollback() {
	for i := len(b.undo) - 1; i >= 0; i-- {
		b.undo[i]()
	}
	b.ops, b.changes, b.undo = nil, nil, nil
}

// CreateLimits are the parts of the configuration that create depends on.
type CreateLimits struct {
	AllowTTL bool // extendedTypesEnabled
}

// kindOf turns an opcode and a create mode into the kind of node (Z§4, Z§5).
func kindOf(op jute.Op, r *jute.CreateRequest, lim CreateLimits) (Kind, jute.Code) {
	switch {
	case r.Mode < jute.ModePersistent || r.Mode > jute.ModeSequentialTTL:
		return 0, jute.BadArguments
	case r.Mode.TTL() && !lim.AllowTTL:
		return 0, jute.Unimplemented
	case r.Mode.TTL() != (op == jute.OpCreateTTL):
		return 0, jute.BadArguments
	case op == jute.OpCreateTTL:
		if r.TTLMs < 1 || r.TTLMs > MaxTTLMs {
			return 0, jute.BadArguments
		}
		return TTL, jute.OK
	case op == jute.OpCreateContainer || r.Mode == jute.ModeContainer:
		return Container, jute.OK
	case r.Mode.Ephemeral():
		return Ephemeral, jute.OK
	default:
		return Persistent, jute.OK
	}
}

// Create does create, create2, createContainer and createTTL and returns the final path, with the number of a
// sequential node, and the new node's Stat. The order of checks is Apache's (Z§5).
func (b *Batch) Create(who *Caller, op jute.Op, r *jute.CreateRequest, lim CreateLimits) (string, jute.Stat, jute.Code) {
	fail := func(code jute.Code) (string, jute.Stat, jute.Code) { return "", jute.Stat{}, code }
	kind, code := kindOf(op, r, lim)
	if code != jute.OK {
		return fail(code)
	}
	if !rooted(r.Path) {
		return fail(jute.BadArguments)
	}
	acl, code := who.fixACL(r.ACL)
	if code != jute.OK {
		return fail(code)
	}
	parent, code := b.parentFor(who, r.Path, jute.PermCreate)
	if code != jute.OK {
		return fail(code)
	}
	path := r.Path
	if r.Mode.Sequential() {
		path = fmt.Sprintf("%s%010d", path, parent.creates)
	}
	if !ValidPath(path) {
		return fail(jute.BadArguments)
	}
	if b.tree.nodes[path] != nil {
		return fail(jute.NodeExists)
	}
	if parent.kind == Ephemeral {
		return fail(jute.NoChildrenForEphemerals)
	}
	o := Op{Kind: OpCreate, Path: path, Data: bytes.Clone(r.Data), ACL: acl, NodeKind: kind}
	switch kind {
	case Ephemeral:
		o.Owner = who.Session
	case TTL:
		o.Owner = r.TTLMs
	case Persistent, Container:
	}
	n := b.create(&o, parent)
	return path, n.stat(), jute.OK
}

// parentFor finds the parent of a node that is to be created or deleted and checks a permission on it.
func (b *Batch) parentFor(who *Caller, path string, perm int32) (*node, jute.Code) {
	if path == rootPath {
		// Only create comes here with the root: it has no parent but it exists.
		return nil, jute.NodeExists
	}
	return b.tree.lookup(who, parentOf(path), perm)
}

func (b *Batch) create(o *Op, parent *node) *node {
	t := b.tree
	n := &node{
		path: o.Path, data: o.Data, acl: shareACL(o.ACL), kind: o.NodeKind, owner: o.Owner,
		czxid: b.zxid, mzxid: b.zxid, pzxid: b.zxid, ctime: b.now, mtime: b.now,
	}
	creates, pzxid := parent.creates, parent.pzxid
	t.insert(n)
	parent.creates++
	parent.pzxid = b.zxid
	b.ops = append(b.ops, *o)
	b.changes = append(b.changes, Change{
		Event: jute.EventNodeCreated, Path: n.path, Parent: parent.path, ACL: n.acl, ParentACL: parent.acl,
	})
	b.undo = append(b.undo, func() {
		t.remove(n)
		parent.creates, parent.pzxid = creates, pzxid
	})
	return n
}

// Delete does delete. Version -1 means any.
func (b *Batch) Delete(who *Caller, path string, version int32) jute.Code {
	if !rooted(path) || undeletable(path) {
		return jute.BadArguments
	}
	if _, code := b.parentFor(who, path, jute.PermDelete); code != jute.OK {
		return code
	}
	n := b.tree.nodes[path]
	switch {
	case n == nil:
		return jute.NoNode
	case version != -1 && version != n.version:
		return jute.BadVersion
	case len(n.children) > 0:
		return jute.NotEmpty
	}
	b.ops = append(b.ops, Op{Kind: OpDelete, Path: path})
	b.delete(n)
	return jute.OK
}

// Reap deletes a container or TTL node if it is still due; it reports whether it was.
func (b *Batch) Reap(path string) bool {
	n := b.tree.reapable[path]
	if n == nil || len(n.children) > 0 {
		return false
	}
	b.ops = append(b.ops, Op{Kind: OpDelete, Path: path})
	b.delete(n)
	return true
}

func (b *Batch) delete(n *node) {
	t, parent := b.tree, n.parent
	pzxid := parent.pzxid
	t.remove(n)
	parent.pzxid = b.zxid
	b.changes = append(b.changes, Change{
		Event: jute.EventNodeDeleted, Path: n.path, Parent: parent.path, ACL: n.acl, ParentACL: parent.acl,
	})
	b.undo = append(b.undo, func() {
		t.insert(n)
		parent.pzxid = pzxid
	})
}

// SetData does setData and returns the node's new Stat. Version -1 means any.
func (b *Batch) SetData(who *Caller, r *jute.SetDataRequest) (jute.Stat, jute.Code) {
	if !ValidPath(r.Path) {
		return jute.Stat{}, jute.BadArguments
	}
	n, code := b.tree.lookup(who, r.Path, jute.PermWrite)
	if code != jute.OK {
		return jute.Stat{}, code
	}
	if r.Version != -1 && r.Version != n.version {
		return jute.Stat{}, jute.BadVersion
	}
	o := Op{Kind: OpSetData, Path: r.Path, Data: bytes.Clone(r.Data)}
	b.setData(&o, n)
	return n.stat(), jute.OK
}

func (b *Batch) setData(o *Op, n *node) {
	t := b.tree
	data, version, mzxid, mtime := n.data, n.version, n.mzxid, n.mtime
	t.bytes += int64(len(o.Data) - len(data))
	n.data, n.mzxid, n.mtime = o.Data, b.zxid, b.now
	n.version++
	b.ops = append(b.ops, *o)
	b.changes = append(b.changes, Change{Event: jute.EventNodeDataChanged, Path: n.path, ACL: n.acl})
	b.undo = append(b.undo, func() {
		t.bytes += int64(len(data) - len(o.Data))
		n.data, n.version, n.mzxid, n.mtime = data, version, mzxid, mtime
	})
}

// SetACL does setACL and returns the node's new Stat. The version is compared with aversion; -1 means any.
func (b *Batch) SetACL(who *Caller, r *jute.SetACLRequest) (jute.Stat, jute.Code) {
	if !ValidPath(r.Path) {
		return jute.Stat{}, jute.BadArguments
	}
	acl, code := who.fixACL(r.ACL)
	if code != jute.OK {
		return jute.Stat{}, code
	}
	n, code := b.tree.lookup(who, r.Path, jute.PermAdmin)
	if code != jute.OK {
		return jute.Stat{}, code
	}
	if r.Version != -1 && r.Version != n.aversion {
		return jute.Stat{}, jute.BadVersion
	}
	o := Op{Kind: OpSetACL, Path: r.Path, ACL: acl}
	b.setACL(&o, n)
	return n.stat(), jute.OK
}

func (b *Batch) setACL(o *Op, n *node) {
	acl, aversion := n.acl, n.aversion
	n.acl = shareACL(o.ACL)
	n.aversion++
	b.ops = append(b.ops, *o)
	b.undo = append(b.undo, func() { n.acl, n.aversion = acl, aversion })
}

// Check does check, which exists only inside a multi: the version of a node, with READ permission. Nothing is logged.
func (b *Batch) Check(who *Caller, path string, version int32) jute.Code {
	if !ValidPath(path) {
		return jute.BadArguments
	}
	n, code := b.tree.lookup(who, path, jute.PermRead)
	if code != jute.OK {
		return code
	}
	if version != -1 && version != n.version {
		return jute.BadVersion
	}
	return jute.OK
}

// CreateSession adds a session. Its id must be new.
func (b *Batch) CreateSession(s Session) {
	t := b.tree
	last := t.lastSession
	t.sessions[s.ID] = &s
	t.lastSession = max(last, s.ID)
	b.ops = append(b.ops, Op{Kind: OpCreateSession, Session: s})
	b.undo = append(b.undo, func() {
		delete(t.sessions, s.ID)
		t.lastSession = last
	})
}

// CloseSession ends a session and deletes its ephemeral nodes, all with this transaction's zxid (Z§11).
func (b *Batch) CloseSession(id int64) {
	t := b.tree
	s := t.sessions[id]
	delete(t.sessions, id)
	b.ops = append(b.ops, Op{Kind: OpCloseSession, Session: Session{ID: id}})
	b.undo = append(b.undo, func() {
		if s != nil {
			t.sessions[id] = s
		}
	})
	for _, p := range t.EphemeralsOf(id) {
		b.delete(t.nodes[p])
	}
}
