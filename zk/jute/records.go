package jute

// Record is a jute record: something that is encoded field by field. Decode leaves its findings in the decoder's
// error; the receiver is then undefined.
type Record interface {
	Encode(e *Encoder)
	Decode(d *Decoder)
}

// StatSize is the encoded size of a Stat in bytes.
const StatSize = 68

// Stat is what clients see of a node besides data and ACL (Z§5).
type Stat struct {
	Czxid          int64 // zxid that created the node
	Mzxid          int64 // zxid of the last change of data
	Ctime          int64 // creation, milliseconds since 1970
	Mtime          int64 // last change of data, milliseconds since 1970
	Version        int32 // changes of data
	Cversion       int32 // creates plus deletes of children
	Aversion       int32 // changes of the ACL
	EphemeralOwner int64 // owning session, 0 for nodes that are not ephemeral
	DataLength     int32 // bytes of data, 0 for null
	NumChildren    int32 // children there are now
	Pzxid          int64 // zxid of the last change of the children's list
}

// Encode implements Record.
func (s *Stat) Encode(e *Encoder) {
	e.Long(s.Czxid)
	e.Long(s.Mzxid)
	e.Long(s.Ctime)
	e.Long(s.Mtime)
	e.Int(s.Version)
	e.Int(s.Cversion)
	e.Int(s.Aversion)
	e.Long(s.EphemeralOwner)
	e.Int(s.DataLength)
	e.Int(s.NumChildren)
	e.Long(s.Pzxid)
}

// Decode implements Record.
func (s *Stat) Decode(d *Decoder) {
	s.Czxid = d.Long()
	s.Mzxid = d.Long()
	s.Ctime = d.Long()
	s.Mtime = d.Long()
	s.Version = d.Int()
	s.Cversion = d.Int()
	s.Aversion = d.Int()
	s.EphemeralOwner = d.Long()
	s.DataLength = d.Int()
	s.NumChildren = d.Int()
	s.Pzxid = d.Long()
}

// Permission bits of an ACL entry (Z§10).
const (
	PermRead   int32 = 1
	PermWrite  int32 = 2
	PermCreate int32 = 4
	PermDelete int32 = 8
	PermAdmin  int32 = 16
	PermAll    int32 = 31
)

// ACL is one entry of an access list: permission bits for an identity.
type ACL struct {
	Perms  int32  // Perm bits
	Scheme string // "world", "auth", "digest", "ip", …
	ID     string // in the form of the scheme
}

// Encode implements Record.
func (a *ACL) Encode(e *Encoder) {
	e.Int(a.Perms)
	e.String(a.Scheme)
	e.String(a.ID)
}

// Decode implements Record.
func (a *ACL) Decode(d *Decoder) {
	a.Perms = d.Int()
	a.Scheme = d.String()
	a.ID = d.String()
}

// ACLs appends an access list.
func (e *Encoder) ACLs(acl []ACL) {
	e.Int(int32(len(acl)))
	for i := range acl {
		acl[i].Encode(e)
	}
}

// ACLs reads an access list; null reads as empty.
func (d *Decoder) ACLs() []ACL {
	n := d.Count(12)
	if n == 0 {
		return nil
	}
	out := make([]ACL, n)
	for i := range out {
		out[i].Decode(d)
	}
	return out
}

// ConnectRequest is the first frame of a connection (Z§2). It has no header.
type ConnectRequest struct {
	ProtocolVersion int32  // 0
	LastZxidSeen    int64  // the highest zxid in any reply that the client has had; a server that is behind refuses
	TimeoutMs       int32  // wished; the server puts it between its bounds
	SessionID       int64  // 0 for a new session
	Password        []byte // of the session
	ReadOnly        bool   // whether a read-only server will do
	HasReadOnly     bool   // whether the last byte was there; old clients and go-zookeeper leave it out
}

// Encode implements Record.
func (r *ConnectRequest) Encode(e *Encoder) {
	e.Int(r.ProtocolVersion)
	e.Long(r.LastZxidSeen)
	e.Int(r.TimeoutMs)
	e.Long(r.SessionID)
	e.Buffer(r.Password)
	if r.HasReadOnly {
		e.Bool(r.ReadOnly)
	}
}

// Decode implements Record.
func (r *ConnectRequest) Decode(d *Decoder) {
	r.ProtocolVersion = d.Int()
	r.LastZxidSeen = d.Long()
	r.TimeoutMs = d.Int()
	r.SessionID = d.Long()
	r.Password = d.Buffer()
	if r.HasReadOnly = d.Err() == nil && d.Len() > 0; r.HasReadOnly {
		r.ReadOnly = d.Bool()
	}
}

// ConnectResponse answers a ConnectRequest. SessionID 0 means that the session has expired.
type ConnectResponse struct {
	ProtocolVersion int32  // 0
	TimeoutMs       int32  // negotiated
	SessionID       int64  // 0 when the session has expired
	Password        []byte // 16 bytes, needed to take the session up again
	ReadOnly        bool   // whether the server is read-only
	HasReadOnly     bool   // written only if the request had the byte
}

// Encode implements Record.
func (r *ConnectResponse) Encode(e *Encoder) {
	e.Int(r.ProtocolVersion)
	e.Int(r.TimeoutMs)
	e.Long(r.SessionID)
	e.Buffer(r.Password)
	if r.HasReadOnly {
		e.Bool(r.ReadOnly)
	}
}

// Decode implements Record.
func (r *ConnectResponse) Decode(d *Decoder) {
	r.ProtocolVersion = d.Int()
	r.TimeoutMs = d.Int()
	r.SessionID = d.Long()
	r.Password = d.Buffer()
	if r.HasReadOnly = d.Err() == nil && d.Len() > 0; r.HasReadOnly {
		r.ReadOnly = d.Bool()
	}
}

// RequestHeader opens every frame of a client after the first.
type RequestHeader struct {
	Xid int32 // the client's counter, or one of the special xids
	Op  Op    // what is asked for
}

// Encode implements Record.
func (h *RequestHeader) Encode(e *Encoder) {
	e.Int(h.Xid)
	e.Int(int32(h.Op))
}

// Decode implements Record.
func (h *RequestHeader) Decode(d *Decoder) {
	h.Xid = d.Int()
	h.Op = Op(d.Int())
}

// ReplyHeader opens every frame of a server after the first. A body follows only if Err is OK.
type ReplyHeader struct {
	Xid  int32 // of the request, or one of the special xids
	Zxid int64 // of the write, or of the last one before a read
	Err  Code  // OK or what is wrong
}

// Encode implements Record.
func (h *ReplyHeader) Encode(e *Encoder) {
	e.Int(h.Xid)
	e.Long(h.Zxid)
	e.Int(int32(h.Err))
}

// Decode implements Record.
func (h *ReplyHeader) Decode(d *Decoder) {
	h.Xid = d.Int()
	h.Zxid = d.Long()
	h.Err = Code(d.Int())
}

// WatcherEvent is the body of a notification.
type WatcherEvent struct {
	Type  EventType // what happened
	State int32     // always EventStateConnected
	Path  string    // of the node that was watched, without any chroot
}

// Encode implements Record.
func (w *WatcherEvent) Encode(e *Encoder) {
	e.Int(int32(w.Type))
	e.Int(w.State)
	e.String(w.Path)
}

// Decode implements Record.
func (w *WatcherEvent) Decode(d *Decoder) {
	w.Type = EventType(d.Int())
	w.State = d.Int()
	w.Path = d.String()
}

// MultiHeader stands before each operation and each result of a multi, and once more, with Done set, at the end (Z§7).
type MultiHeader struct {
	Op   Op   // OpError for a failed operation and at the end
	Done bool // the end
	Err  Code // -1 in requests and at the end
}

// MultiEnd is the header that ends a multi.
var MultiEnd = MultiHeader{Op: OpError, Done: true, Err: -1}

// Encode implements Record.
func (h *MultiHeader) Encode(e *Encoder) {
	e.Int(int32(h.Op))
	e.Bool(h.Done)
	e.Int(int32(h.Err))
}

// Decode implements Record.
func (h *MultiHeader) Decode(d *Decoder) {
	h.Op = Op(d.Int())
	h.Done = d.Bool()
	h.Err = Code(d.Int())
}
