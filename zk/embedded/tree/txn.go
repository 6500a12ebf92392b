package tree

import (
	"fmt"

	"github.com/ottla/ottla/zk/jute"
)

// OpKind is the kind of a logged operation.
type OpKind uint8

// The kinds of logged operations. They are on disk; do not change.
const (
	OpCreate        OpKind = 1
	OpDelete        OpKind = 2
	OpSetData       OpKind = 3
	OpSetACL        OpKind = 4
	OpCreateSession OpKind = 5
	OpCloseSession  OpKind = 6
)

// Op is one decided operation of a transaction.
//
// On disk it is the kind byte followed by, in jute encoding:
//
//	create         path ustring | data buffer | acl vector | node kind byte | owner long (session, or TTL in ms)
//	delete         path ustring
//	setData        path ustring | data buffer
//	setACL         path ustring | acl vector
//	createSession  id long | timeout ms int | password 16 bytes
//	closeSession   id long
type Op struct {
	Kind     OpKind     // which operation
	Path     string     // final path of the node
	Data     []byte     // nil is null
	ACL      []jute.ACL // resolved access list
	NodeKind Kind       // of a created node
	Owner    int64      // session of an ephemeral; time to live in ms of a TTL node
	Session  Session    // of createSession and closeSession
}

// Txn is one transaction: what a log record holds. On disk: zxid long | time ms long | count int | operations.
type Txn struct {
	Zxid   int64 // one above the transaction before
	TimeMs int64 // wall clock, ms since 1970
	Ops    []Op  // in the order of carrying out
}

// Encode appends the transaction.
func (x *Txn) Encode(e *jute.Encoder) {
	e.Long(x.Zxid)
	e.Long(x.TimeMs)
	e.Int(int32(len(x.Ops)))
	for i := range x.Ops {
		x.Ops[i].encode(e)
	}
}

func (o *Op) encode(e *jute.Encoder) {
	e.Raw([]byte{byte(o.Kind)})
	switch o.Kind {
	case OpCreate:
		e.String(o.Path)
		e.Buffer(o.Data)
		e.ACLs(o.ACL)
		e.Raw([]byte{byte(o.NodeKind)})
		e.Long(o.Owner)
	case OpDelete:
		e.String(o.Path)
	case OpSetData:
		e.String(o.Path)
		e.Buffer(o.Data)
	case OpSetACL:
		e.String(o.Path)
		e.ACLs(o.ACL)
	case OpCreateSession:
		o.Session.encode(e)
	case OpCloseSession:
		e.Long(o.Session.ID)
	}
}

func (s *Session) encode(e *jute.Encoder) {
	e.Long(s.ID)
	e.Int(s.TimeoutMs)
	e.Raw(s.Password[:])
}

// DecodeTxn reads one transaction. Data slices are copies.
func DecodeTxn(d *jute.Decoder) (Txn, error) {
	x := Txn{Zxid: d.Long(), TimeMs: d.Long()}
	n := d.Count(5)
	x.Ops = make([]Op, 0, n)
	for range n {
		var o Op
		if err := o.decode(d); err != nil {
			return Txn{}, err
		}
		x.Ops = append(x.Ops, o)
	}
	return x, d.Err()
}

func (o *Op) decode(d *jute.Decoder) error {
	o.Kind = OpKind(byteOf(d))
	switch o.Kind {
	case OpCreate:
		o.Path = d.String()
		o.Data = cloneData(d.Buffer())
		o.ACL = shareACL(d.ACLs())
		o.NodeKind = Kind(byteOf(d))
		o.Owner = d.Long()
		if o.NodeKind > TTL {
			return fmt.Errorf("unknown node kind %d in a transaction", o.NodeKind)
		}
	case OpDelete:
		o.Path = d.String()
	case OpSetData:
		o.Path = d.String()
		o.Data = cloneData(d.Buffer())
	case OpSetACL:
		o.Path = d.String()
		o.ACL = shareACL(d.ACLs())
	case OpCreateSession:
		o.Session = decodeSession(d)
	case OpCloseSession:
		o.Session.ID = d.Long()
	default:
		if d.Err() == nil {
			return fmt.Errorf("unknown kind %d of operation in a transaction", o.Kind)
		}
	}
	return d.Err()
}

func decodeSession(d *jute.Decoder) Session {
	s := Session{ID: d.Long(), TimeoutMs: d.Int()}
	for i := range s.Password {
		s.Password[i] = byteOf(d)
	}
	return s
}

func byteOf(d *jute.Decoder) byte {
	p := d.Fixed(1)
	if p == nil {
		return 0
	}
	return p[0]
}

// cloneData copies a buffer and keeps null and empty apart.
func cloneData(p []byte) []byte {
	if p == nil {
		return nil
	}
	return append(make([]byte, 0, len(p)), p...)
}

// Replay applies a logged transaction. Its zxid must follow the last one; anything that does not fit the tree is an
// error, after which the tree must not be used: the log and the snapshot do not belong together.
func (t *Tree) Replay(x *Txn) error {
	if x.Zxid != t.lastZxid+1 {
		return fmt.Errorf("transaction 0x%x does not follow 0x%x", x.Zxid, t.lastZxid)
	}
	b := t.Begin(x.Zxid, x.TimeMs)
	for i := range x.Ops {
		if err := b.replay(&x.Ops[i]); err != nil {
			return fmt.Errorf("transaction 0x%x, operation %d: %w", x.Zxid, i, err)
		}
	}
	b.Commit()
	return nil
}

func (b *Batch) replay(o *Op) error {
	t := b.tree
	n := t.nodes[o.Path]
	switch o.Kind {
	case OpCreate:
		parent := t.nodes[parentOf(o.Path)]
		if !ValidPath(o.Path) || n != nil || parent == nil || (o.NodeKind == Ephemeral && t.sessions[o.Owner] == nil) {
			return fmt.Errorf("create %q does not fit the tree", displayable(o.Path))
		}
		b.create(o, parent)
	case OpDelete:
		if n == nil || len(n.children) > 0 || n.parent == nil {
			return fmt.Errorf("delete %q does not fit the tree", displayable(o.Path))
		}
		b.delete(n)
	case OpSetData:
		if n == nil {
			return fmt.Errorf("set %q does not fit the tree", displayable(o.Path))
		}
		b.setData(o, n)
	case OpSetACL:
		if n == nil {
			return fmt.Errorf("set acl %q does not fit the tree", displayable(o.Path))
		}
		b.setACL(o, n)
	case OpCreateSession:
		if t.sessions[o.Session.ID] != nil {
			return fmt.Errorf("session 0x%x created twice", o.Session.ID)
		}
		b.CreateSession(o.Session)
	case OpCloseSession:
		if t.sessions[o.Session.ID] == nil {
			return fmt.Errorf("session 0x%x closed but not open", o.Session.ID)
		}
		b.CloseSession(o.Session.ID)
	default:
		return fmt.Errorf("unknown operation %d", o.Kind)
	}
	return nil
}
