// Package tree is the state that an embedded ZooKeeper server keeps and can prove on disk: the nodes with their data,
// access lists and Stat arithmetic, and the table of sessions that are alive. It is a pure state machine: requests and
// the time come in, result codes, log records and changes (for watches) come out. It does no IO, starts no goroutine,
// reads no clock and logs nothing. A Tree is owned by one goroutine.
//
// Changes are made through a Batch, one per transaction:
//
//	b := t.Begin(zxid, nowMs)
//	path, stat, code := b.Create(caller, request)     // or Delete, SetData, …; each sees the ones before it
//	if code != jute.OK { b.Rollback() } else { txn, changes := b.Commit() }
//
// A batch applies at once and remembers how to undo: that is what makes a multi atomic. What Commit returns is a
// record of what was decided (final names, resolved access lists), so that Replay needs no permission checks, and the
// list of changes in order, from which the owner fires watches.
//
// The rules are those of the fact sheet Z§4 (codes and order of checks), Z§5 (Stat), Z§7 (multi), Z§9 (paths) and Z§10
// (access lists).
package tree

import (
	"sort"

	"github.com/ottla/ottla/zk/jute"
)

// Kind says what ends a node besides delete.
type Kind uint8

// The kinds. They are on disk; do not change.
const (
	Persistent Kind = 0 // nothing
	Ephemeral  Kind = 1 // its session
	Container  Kind = 2 // the reaper, once it has had children and has none
	TTL        Kind = 3 // the reaper, once it has no children and its data is older than the time to live
)

// node is one znode. Data and ACL slices are immutable: a change replaces them.
type node struct {
	path     string
	data     []byte
	acl      []jute.ACL
	parent   *node            // nil for the root
	children map[string]*node // by last component; nil while there are none
	czxid    int64
	mzxid    int64
	pzxid    int64
	ctime    int64
	mtime    int64
	owner    int64 // session of an ephemeral; time to live in ms of a TTL node
	version  int32
	aversion int32
	creates  int32 // children ever created: the sequence number of the next sequential child
	kind     Kind
}

func (n *node) stat() jute.Stat {
	s := jute.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Aversion: n.aversion, Cversion: 2*n.creates - int32(len(n.children)),
		DataLength: int32(len(n.data)), NumChildren: int32(len(n.children)), Pzxid: n.pzxid,
	}
	if n.kind == Ephemeral {
		s.EphemeralOwner = n.owner
	}
	return s
}

// Session is the durable part of a session: what must survive a restart.
type Session struct {
	ID        int64 // above 0
	TimeoutMs int32 // as first negotiated
	Password  [16]byte
}

// Tree holds the nodes and the sessions. Create one with New or Load.
type Tree struct {
	nodes       map[string]*node
	ephemerals  map[int64]map[string]*node // by session
	reapable    map[string]*node           // containers and TTL nodes
	sessions    map[int64]*Session
	lastZxid    int64
	lastSession int64 // highest session id ever handed out
	bytes       int64 // of paths and data
}

// Paths that exist on every server and cannot be deleted.
const (
	rootPath   = "/"
	zkPath     = "/zookeeper"
	quotaPath  = "/zookeeper/quota"
	configPath = "/zookeeper/config"
)

func undeletable(p string) bool {
	return p == rootPath || p == zkPath || p == quotaPath || p == configPath
}

// New returns the tree of an empty server: the root, /zookeeper, /zookeeper/quota and /zookeeper/config, none of which
// counts as a create of its parent (Z§5).
func New() *Tree {
	t := empty()
	t.insert(&node{path: rootPath, data: []byte{}, acl: openACL})
	t.insert(&node{path: zkPath, data: []byte{}, acl: openACL})
	t.insert(&node{path: quotaPath, data: []byte{}, acl: openACL})
	t.insert(&node{path: configPath, data: []byte{}, acl: readOnlyACL, aversion: -1})
	return t
}

func empty() *Tree {
	return &Tree{
		nodes:      make(map[string]*node),
		ephemerals: make(map[int64]map[string]*node),
		reapable:   make(map[string]*node),
		sessions:   make(map[int64]*Session),
	}
}

// insert puts a node under its parent, which must exist unless the node is the root. Stats do not move.
func (t *Tree) insert(n *node) {
	t.nodes[n.path] = n
	if n.path != rootPath {
		n.parent = t.nodes[parentOf(n.path)]
		if n.parent.children == nil {
			n.parent.children = make(map[string]*node)
		}
		n.parent.children[nameOf(n.path)] = n
	}
	switch n.kind {
	case Ephemeral:
		owned := t.ephemerals[n.owner]
		if owned == nil {
			owned = make(map[string]*node)
			t.ephemerals[n.owner] = owned
		}
		owned[n.path] = n
	case Container, TTL:
		t.reapable[n.path] = n
	case Persistent:
	}
	t.bytes += int64(len(n.path) + len(n.data))
}

// remove is the opposite of insert.
func (t *Tree) remove(n *node) {
	delete(t.nodes, n.path)
	if n.parent != nil {
		delete(n.parent.children, nameOf(n.path))
		if len(n.parent.children) == 0 {
			n.parent.children = nil
		}
	}
	switch n.kind {
	case Ephemeral:
		owned := t.ephemerals[n.owner]
		delete(owned, n.path)
		if len(owned) == 0 {
			delete(t.ephemerals, n.owner)
		}
	case Container, TTL:
		delete(t.reapable, n.path)
	case Persistent:
	}
	t.bytes -= int64(len(n.path) + len(n.data))
}

// LastZxid returns the zxid of the last committed transaction, 0 if there was none.
func (t *Tree) LastZxid() int64 { return t.lastZxid }

// LastSession returns the highest session id that was ever created, 0 if there was none.
func (t *Tree) LastSession() int64 { return t.lastSession }

// NodeCount returns the number of nodes, the pre-made ones included.
func (t *Tree) NodeCount() int { return len(t.nodes) }

// EphemeralCount returns the number of ephemeral nodes.
func (t *Tree) EphemeralCount() int {
	n := 0
	for _, owned := range t.ephemerals {
		n += len(owned)
	}
	return n
}

// DataSize returns the bytes of all paths and data.
func (t *Tree) DataSize() int64 { return t.bytes }

// Session returns a live session; nil if there is none of that id. The result must not be changed.
func (t *Tree) Session(id int64) *Session { return t.sessions[id] }

// Sessions returns the live sessions ordered by id.
func (t *Tree) Sessions() []*Session {
	out := make([]*Session, 0, len(t.sessions))
	for _, s := range t.sessions {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// EphemeralsOf returns the paths of a session's ephemeral nodes, sorted.
func (t *Tree) EphemeralsOf(session int64) []string {
	owned := t.ephemerals[session]
	out := make([]string, 0, len(owned))
	for p := range owned {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

// SessionsWithEphemerals returns the ids of the sessions that own ephemeral nodes, ascending.
func (t *Tree) SessionsWithEphemerals() []int64 {
	out := make([]int64, 0, len(t.ephemerals))
	for id := range t.ephemerals {
		out = append(out, id)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}
