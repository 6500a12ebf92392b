package tree

import (
	"fmt"
	"sort"

	"github.com/ottla/ottla/zk/jute"
)

// Encode appends the whole state, in jute encoding:
//
//	last zxid long | last session long
//	count int | sessions: id long, timeout ms int, password 16 bytes
//	count int | nodes, parents before children, siblings by name:
//	  path ustring | data buffer | acl vector | kind byte | owner long | czxid long | mzxid long | pzxid long |
//	  ctime long | mtime long | version int | aversion int | creates int
//
// The output depends on the state alone, so two servers with the same state write the same bytes.
func (t *Tree) Encode(e *jute.Encoder) {
	e.Long(t.lastZxid)
	e.Long(t.lastSession)
	sessions := t.Sessions()
	e.Int(int32(len(sessions)))
	for _, s := range sessions {
		s.encode(e)
	}
	e.Int(int32(len(t.nodes)))
	t.nodes[rootPath].encode(e)
}

func (n *node) encode(e *jute.Encoder) {
	e.String(n.path)
	e.Buffer(n.data)
	e.ACLs(n.acl)
	e.Raw([]byte{byte(n.kind)})
	e.Long(n.owner)
	e.Long(n.czxid)
	e.Long(n.mzxid)
	e.Long(n.pzxid)
	e.Long(n.ctime)
	e.Long(n.mtime)
	e.Int(n.version)
	e.Int(n.aversion)
	e.Int(n.creates)
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		n.children[name].encode(e)
	}
}

// minNode is the least number of bytes that a node takes in a snapshot.
const minNode = 4 + 4 + 4 + 1 + 6*8 + 3*4

// Load reads a state that Encode has written. Anything that is not a sound tree is an error.
func Load(d *jute.Decoder) (*Tree, error) {
	t := empty()
	t.lastZxid = d.Long()
	t.lastSession = d.Long()
	for range d.Count(28) {
		s := decodeSession(d)
		if t.sessions[s.ID] != nil {
			return nil, fmt.Errorf("session 0x%x is twice in the snapshot", s.ID)
		}
		t.sessions[s.ID] = &s
	}
	for range d.Count(minNode) {
		if err := t.loadNode(d); err != nil {
			return nil, err
		}
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("read snapshot: %w", d.Err())
	}
	for _, p := range []string{rootPath, zkPath, quotaPath, configPath} {
		if t.nodes[p] == nil {
			return nil, fmt.Errorf("the snapshot lacks %s", p)
		}
	}
	return t, nil
}

func (t *Tree) loadNode(d *jute.Decoder) error {
	n := &node{
		path: d.String(), data: cloneData(d.Buffer()), acl: shareACL(d.ACLs()), kind: Kind(byteOf(d)), owner: d.Long(),
		czxid: d.Long(), mzxid: d.Long(), pzxid: d.Long(), ctime: d.Long(), mtime: d.Long(),
		version: d.Int(), aversion: d.Int(), creates: d.Int(),
	}
	switch {
	case d.Err() != nil:
		return fmt.Errorf("read snapshot: %w", d.Err())
	case !ValidPath(n.path) || t.nodes[n.path] != nil || n.kind > TTL,
		n.path != rootPath && t.nodes[parentOf(n.path)] == nil:
		return fmt.Errorf("node %q of the snapshot does not fit the tree", displayable(n.path))
	case n.kind == Ephemeral && t.sessions[n.owner] == nil:
		return fmt.Errorf("node %q of the snapshot belongs to session 0x%x, which is not alive", displayable(n.path), n.owner)
	}
	t.insert(n)
	return nil
}
