package jute

// CreateRequest is the body of create, create2, createContainer and, with a time to live behind it, createTTL.
type CreateRequest struct {
	Path  string     // without the number of a sequential node
	Data  []byte     // nil is null, which getData gives back as null
	ACL   []ACL      // must not be empty
	Mode  CreateMode // kind of node
	TTLMs int64      // encoded and decoded only if HasTTL
	// HasTTL selects the record of createTTL. The caller sets it before decoding.
	HasTTL bool
}

// Encode implements Record.
func (r *CreateRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Buffer(r.Data)
	e.ACLs(r.ACL)
	e.Int(int32(r.Mode))
	if r.HasTTL {
		e.Long(r.TTLMs)
	}
}

// Decode implements Record.
func (r *CreateRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Data = d.Buffer()
	r.ACL = d.ACLs()
	r.Mode = CreateMode(d.Int())
	if r.HasTTL {
		r.TTLMs = d.Long()
	}
}

// PathVersionRequest is the body of delete and check. Version -1 means any.
type PathVersionRequest struct {
	Path    string // of the node
	Version int32  // of its data; -1 means any
}

// Encode implements Record.
func (r *PathVersionRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Int(r.Version)
}

// Decode implements Record.
func (r *PathVersionRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Version = d.Int()
}

// PathWatchRequest is the body of exists, getData, getChildren and getChildren2.
type PathWatchRequest struct {
	Path  string // of the node
	Watch bool   // whether to leave a one-shot watch
}

// Encode implements Record.
func (r *PathWatchRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Bool(r.Watch)
}

// Decode implements Record.
func (r *PathWatchRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Watch = d.Bool()
}

// PathRequest is the body of getACL, sync, getEphemerals and getAllChildrenNumber.
type PathRequest struct {
	Path string // of the node, or a prefix
}

// Encode implements Record.
func (r *PathRequest) Encode(e *Encoder) { e.String(r.Path) }

// Decode implements Record.
func (r *PathRequest) Decode(d *Decoder) { r.Path = d.String() }

// SetDataRequest is the body of setData. Version -1 means any.
type SetDataRequest struct {
	Path    string // of the node
	Data    []byte // nil is null
	Version int32  // of its data; -1 means any
}

// Encode implements Record.
func (r *SetDataRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Buffer(r.Data)
	e.Int(r.Version)
}

// Decode implements Record.
func (r *SetDataRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Data = d.Buffer()
	r.Version = d.Int()
}

// SetACLRequest is the body of setACL. Version is compared with the node's aversion; -1 means any.
type SetACLRequest struct {
	Path    string // of the node
	ACL     []ACL  // must not be empty
	Version int32  // of its access list; -1 means any
}

// Encode implements Record.
func (r *SetACLRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.ACLs(r.ACL)
	e.Int(r.Version)
}

// Decode implements Record.
func (r *SetACLRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.ACL = d.ACLs()
	r.Version = d.Int()
}

// PathTypeRequest is the body of checkWatches and removeWatches.
type PathTypeRequest struct {
	Path string      // that is watched
	Type WatcherType // which watches are meant
}

// Encode implements Record.
func (r *PathTypeRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Int(int32(r.Type))
}

// Decode implements Record.
func (r *PathTypeRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Type = WatcherType(d.Int())
}

// AddWatchRequest is the body of addWatch.
type AddWatchRequest struct {
	Path string       // to watch; the node need not exist
	Mode AddWatchMode // with or without what is below
}

// Encode implements Record.
func (r *AddWatchRequest) Encode(e *Encoder) {
	e.String(r.Path)
	e.Int(int32(r.Mode))
}

// Decode implements Record.
func (r *AddWatchRequest) Decode(d *Decoder) {
	r.Path = d.String()
	r.Mode = AddWatchMode(d.Int())
}

// AuthRequest is the body of auth.
type AuthRequest struct {
	Type   int32  // 0
	Scheme string // "digest" or "ip"
	Auth   []byte // "user:password" of a digest
}

// Encode implements Record.
func (r *AuthRequest) Encode(e *Encoder) {
	e.Int(r.Type)
	e.String(r.Scheme)
	e.Buffer(r.Auth)
}

// Decode implements Record.
func (r *AuthRequest) Decode(d *Decoder) {
	r.Type = d.Int()
	r.Scheme = d.String()
	r.Auth = d.Buffer()
}

// SetWatchesRequest is the body of setWatches and, with V2, of setWatches2: what a client watched before it reconnected.
type SetWatchesRequest struct {
	RelativeZxid int64    // the last zxid that the client has seen
	Data         []string // paths watched by getData, and by exists on nodes that were there
	Exist        []string // paths watched by exists on nodes that were missing
	Child        []string // paths watched by getChildren
	Persistent   []string // only setWatches2
	Recursive    []string // only setWatches2
	V2           bool     // selects the record of setWatches2; the caller sets it before decoding
}

// Encode implements Record.
func (r *SetWatchesRequest) Encode(e *Encoder) {
	e.Long(r.RelativeZxid)
	e.Strings(r.Data)
	e.Strings(r.Exist)
	e.Strings(r.Child)
	if r.V2 {
		e.Strings(r.Persistent)
		e.Strings(r.Recursive)
	}
}

// Decode implements Record.
func (r *SetWatchesRequest) Decode(d *Decoder) {
	r.RelativeZxid = d.Long()
	r.Data = d.Strings()
	r.Exist = d.Strings()
	r.Child = d.Strings()
	if r.V2 {
		r.Persistent = d.Strings()
		r.Recursive = d.Strings()
	}
}

// ReconfigRequest is the body of reconfig, which a standalone server always refuses.
type ReconfigRequest struct {
	Joining     string // servers to add
	Leaving     string // servers to remove
	NewMembers  string // the whole new list instead
	CurConfigID int64  // the version to change; -1 means any
}

// Encode implements Record.
func (r *ReconfigRequest) Encode(e *Encoder) {
	e.String(r.Joining)
	e.String(r.Leaving)
	e.String(r.NewMembers)
	e.Long(r.CurConfigID)
}

// Decode implements Record.
func (r *ReconfigRequest) Decode(d *Decoder) {
	r.Joining = d.String()
	r.Leaving = d.String()
	r.NewMembers = d.String()
	r.CurConfigID = d.Long()
}

// MultiOp is one operation of a multi or multiRead: the operation, and the record that belongs to it.
type MultiOp struct {
	Op     Op     // which operation
	Record Record // its record
}

// NewMultiRecord returns an empty record for op inside a multi or multiRead, nil if op is not allowed there.
func NewMultiRecord(op Op) Record {
	switch op {
	case OpCreate, OpCreate2, OpCreateContainer:
		return new(CreateRequest)
	case OpCreateTTL:
		return &CreateRequest{HasTTL: true}
	case OpDelete, OpCheck:
		return new(PathVersionRequest)
	case OpSetData:
		return new(SetDataRequest)
	case OpGetData, OpGetChildren:
		return new(PathWatchRequest)
	default:
		return nil
	}
}

// EncodeMulti appends the body of a multi or multiRead request.
func EncodeMulti(e *Encoder, ops []MultiOp) {
	for _, op := range ops {
		h := MultiHeader{Op: op.Op, Err: -1}
		h.Encode(e)
		op.Record.Encode(e)
	}
	end := MultiEnd
	end.Encode(e)
}

// DecodeMulti reads the body of a multi or multiRead request. An operation that has no place in either, or a body
// without an end, is an error.
func DecodeMulti(d *Decoder) ([]MultiOp, error) {
	var ops []MultiOp
	for {
		var h MultiHeader
		h.Decode(d)
		if d.Err() != nil {
			return nil, d.Err()
		}
		if h.Done {
			return ops, nil
		}
		rec := NewMultiRecord(h.Op)
		if rec == nil {
			return nil, Unimplemented
		}
		if rec.Decode(d); d.Err() != nil {
			return nil, d.Err()
		}
		ops = append(ops, MultiOp{Op: h.Op, Record: rec})
	}
}
