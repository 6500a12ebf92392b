package tree

import (
	"sort"
	"strings"

	"github.com/ottla/ottla/zk/jute"
)

// lookup finds a node and checks a permission on it.
func (t *Tree) lookup(who *Caller, path string, perm int32) (*node, jute.Code) {
	n := t.nodes[path]
	if n == nil {
		return nil, jute.NoNode
	}
	if !who.Allowed(n.acl, perm) {
		return nil, jute.NoAuth
	}
	return n, jute.OK
}

// Exists answers exists: NoNode, or READ needed on a node that is there (Z§4).
func (t *Tree) Exists(who *Caller, path string) (jute.Stat, jute.Code) {
	n, code := t.lookup(who, path, jute.PermRead)
	if code != jute.OK {
		return jute.Stat{}, code
	}
	return n.stat(), jute.OK
}

// Data answers getData. The slice is shared and must not be changed; nil is null.
func (t *Tree) Data(who *Caller, path string) ([]byte, jute.Stat, jute.Code) {
	n, code := t.lookup(who, path, jute.PermRead)
	if code != jute.OK {
		return nil, jute.Stat{}, code
	}
	return n.data, n.stat(), jute.OK
}

// ACL answers getACL: READ or ADMIN needed; without ADMIN the digests are hidden.
func (t *Tree) ACL(who *Caller, path string) ([]jute.ACL, jute.Stat, jute.Code) {
	n, code := t.lookup(who, path, jute.PermRead|jute.PermAdmin)
	if code != jute.OK {
		return nil, jute.Stat{}, code
	}
	return who.redactACL(n.acl), n.stat(), jute.OK
}

// Children answers getChildren and getChildren2: the last components, sorted.
func (t *Tree) Children(who *Caller, path string) ([]string, jute.Stat, jute.Code) {
	n, code := t.lookup(who, path, jute.PermRead)
	if code != jute.OK {
		return nil, jute.Stat{}, code
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, n.stat(), jute.OK
}

// DescendantCount answers getAllChildrenNumber: every node below path; for "/" every node but the root.
func (t *Tree) DescendantCount(who *Caller, path string) (int, jute.Code) {
	n, code := t.lookup(who, path, jute.PermRead)
	if code != jute.OK {
		return 0, code
	}
	if path == rootPath {
		return len(t.nodes) - 1, jute.OK
	}
	count := 0
	stack := []*node{n}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		count += len(top.children)
		for _, c := range top.children {
			if c.children != nil {
				stack = append(stack, c)
			}
		}
	}
	return count, jute.OK
}

// Ephemerals answers getEphemerals: the caller's own ephemeral nodes whose path begins with prefix, sorted.
func (t *Tree) Ephemerals(who *Caller, prefix string) []string {
	var out []string
	for _, p := range t.EphemeralsOf(who.Session) {
		if strings.HasPrefix(p, prefix) {
			out = append(out, p)
		}
	}
	return out
}

// Seen is what setWatches needs to know of a node: whether it is there, and the zxids of its last changes.
type Seen struct {
	Exists bool       // whether there is a node
	Mzxid  int64      // zxid of the last change of its data
	Pzxid  int64      // zxid of the last change of its children's list
	ACL    []jute.ACL // shared, must not be changed
}

// Look returns what setWatches needs to know of a path, without any permission.
func (t *Tree) Look(path string) Seen {
	n := t.nodes[path]
	if n == nil {
		return Seen{}
	}
	return Seen{Exists: true, Mzxid: n.mzxid, Pzxid: n.pzxid, ACL: n.acl}
}

// Reapable returns the paths of containers and TTL nodes that are due at nowMs, sorted, at most limit of them: without
// children, and for a container with a child in the past, for a TTL node with data older than its time to live (Z§5).
func (t *Tree) Reapable(nowMs int64, limit int) []string {
	var out []string
	for p, n := range t.reapable {
		if len(n.children) > 0 {
			continue
		}
		if (n.kind == Container && n.creates > 0) || (n.kind == TTL && nowMs-n.mtime > n.owner) {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	if len(out) > limit {
		out = out[:limit]
	}
	return out
}
