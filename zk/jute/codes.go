package jute

import "strconv"

// Op is the type word of a request header: which operation is asked for (Z§4).
type Op int32

// The operations. Codes are on the wire; do not change.
const (
	OpNotification      Op = 0
	OpCreate            Op = 1
	OpDelete            Op = 2
	OpExists            Op = 3
	OpGetData           Op = 4
	OpSetData           Op = 5
	OpGetACL            Op = 6
	OpSetACL            Op = 7
	OpGetChildren       Op = 8
	OpSync              Op = 9
	OpPing              Op = 11
	OpGetChildren2      Op = 12
	OpCheck             Op = 13
	OpMulti             Op = 14
	OpCreate2           Op = 15
	OpReconfig          Op = 16
	OpCheckWatches      Op = 17
	OpRemoveWatches     Op = 18
	OpCreateContainer   Op = 19
	OpDeleteContainer   Op = 20
	OpCreateTTL         Op = 21
	OpMultiRead         Op = 22
	OpAuth              Op = 100
	OpSetWatches        Op = 101
	OpSASL              Op = 102
	OpGetEphemerals     Op = 103
	OpGetAllChildrenNum Op = 104
	OpSetWatches2       Op = 105
	OpAddWatch          Op = 106
	OpWhoAmI            Op = 107
	OpCreateSession     Op = -10
	OpCloseSession      Op = -11
	OpError             Op = -1
)

// Xids with a meaning of their own (Z§3); all other xids are the client's counter and are echoed.
const (
	// XidNotification marks a watch event, the only frame that a server sends unasked.
	XidNotification int32 = -1
	// XidPing marks the reply to a ping, whatever xid the request had.
	XidPing int32 = -2
	// XidAuth is what the Java client sends with auth.
	XidAuth int32 = -4
	// XidSetWatches is what the Java client sends with setWatches.
	XidSetWatches int32 = -8
)

// EventStateConnected is the state word of every watch event that a server sends: SyncConnected.
const EventStateConnected int32 = 3

// opNames are the four-letter names by which ZooKeeper's "cons" command shows operations.
var opNames = map[Op]string{
	OpNotification: "NOTI", OpCreate: "CREA", OpDelete: "DELE", OpExists: "EXIS", OpGetData: "GETD", OpSetData: "SETD",
	OpGetACL: "GETA", OpSetACL: "SETA", OpGetChildren: "GETC", OpSync: "SYNC", OpPing: "PING", OpGetChildren2: "GETC",
	OpCheck: "CHEC", OpMulti: "MULT", OpCreate2: "CREA", OpReconfig: "RECO", OpCheckWatches: "CHKW",
	OpRemoveWatches: "REMW", OpCreateContainer: "CREC", OpDeleteContainer: "DELC", OpCreateTTL: "CRET",
	OpMultiRead: "MULR", OpAuth: "AUTH", OpSetWatches: "SETW", OpSASL: "SASL", OpGetEphemerals: "GETE",
	OpGetAllChildrenNum: "GETN", OpSetWatches2: "STW2", OpAddWatch: "ADDW", OpWhoAmI: "WHOA", OpCreateSession: "SESS",
	OpCloseSession: "CLOS", OpError: "ERRO",
}

// ShortName returns a name of four capital letters, "UNKN" for unknown operations.
func (o Op) ShortName() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return "UNKN"
}

// Code is the err word of a reply header (Z§4). Codes other than OK implement error.
type Code int32

// The result codes. They are on the wire; do not change.
const (
	OK                      Code = 0
	SystemError             Code = -1
	RuntimeInconsistency    Code = -2
	DataInconsistency       Code = -3
	ConnectionLoss          Code = -4
	MarshallingError        Code = -5
	Unimplemented           Code = -6
	OperationTimeout        Code = -7
	BadArguments            Code = -8
	APIError                Code = -100
	NoNode                  Code = -101
	NoAuth                  Code = -102
	BadVersion              Code = -103
	NoChildrenForEphemerals Code = -108
	NodeExists              Code = -110
	NotEmpty                Code = -111
	SessionExpired          Code = -112
	InvalidACL              Code = -114
	AuthFailed              Code = -115
	SessionMoved            Code = -118
	NoWatcher               Code = -121
	ReconfigDisabled        Code = -123
)

var codeNames = map[Code]string{
	OK: "ok", SystemError: "system error", RuntimeInconsistency: "runtime inconsistency",
	DataInconsistency: "data inconsistency", ConnectionLoss: "connection loss", MarshallingError: "marshalling error",
	Unimplemented: "unimplemented", OperationTimeout: "operation timeout", BadArguments: "bad arguments",
	APIError: "api error", NoNode: "no node", NoAuth: "not authorised", BadVersion: "bad version",
	NoChildrenForEphemerals: "ephemerals have no children", NodeExists: "node exists", NotEmpty: "not empty",
	SessionExpired: "session expired", InvalidACL: "invalid acl", AuthFailed: "authentication failed",
	SessionMoved: "session moved", NoWatcher: "no watcher", ReconfigDisabled: "reconfig disabled",
}

// Error names the code, as in "no node (-101)".
func (c Code) Error() string {
	name, ok := codeNames[c]
	if !ok {
		name = "unknown code"
	}
	return name + " (" + strconv.Itoa(int(c)) + ")"
}

// EventType says what happened in a watch event (Z§6).
type EventType int32

// The event types. They are on the wire; do not change.
const (
	EventNodeCreated         EventType = 1
	EventNodeDeleted         EventType = 2
	EventNodeDataChanged     EventType = 3
	EventNodeChildrenChanged EventType = 4
)

// CreateMode is the flags word of a create request (Z§5).
type CreateMode int32

// The create modes. They are on the wire; do not change.
const (
	ModePersistent           CreateMode = 0
	ModeEphemeral            CreateMode = 1
	ModePersistentSequential CreateMode = 2
	ModeEphemeralSequential  CreateMode = 3
	ModeContainer            CreateMode = 4
	ModeTTL                  CreateMode = 5
	ModeSequentialTTL        CreateMode = 6
)

// Sequential reports whether the server appends a number to the path.
func (m CreateMode) Sequential() bool {
	return m == ModePersistentSequential || m == ModeEphemeralSequential || m == ModeSequentialTTL
}

// Ephemeral reports whether the node ends with its session.
func (m CreateMode) Ephemeral() bool { return m == ModeEphemeral || m == ModeEphemeralSequential }

// TTL reports whether the node has a time to live.
func (m CreateMode) TTL() bool { return m == ModeTTL || m == ModeSequentialTTL }

// WatcherType names the kind of watch in checkWatches and removeWatches requests (Z§4).
type WatcherType int32

// The watcher types. They are on the wire; do not change.
const (
	WatcherChildren            WatcherType = 1
	WatcherData                WatcherType = 2
	WatcherAny                 WatcherType = 3
	WatcherPersistent          WatcherType = 4
	WatcherPersistentRecursive WatcherType = 5
)

// AddWatchMode is the mode word of an addWatch request.
type AddWatchMode int32

// The modes of addWatch. They are on the wire; do not change.
const (
	AddWatchPersistent          AddWatchMode = 0
	AddWatchPersistentRecursive AddWatchMode = 1
)
