package embedded

import (
	"time"

	"github.com/ottla/ottla/zk/jute"
)

// request is one request of a client with a session.
type request struct {
	xid  int32
	op   jute.Op
	body *jute.Decoder
	at   time.Time
	zxid int64 // of the reply
}

// handler carries out one kind of request and answers it.
type handler func(k *core, c *conn, rq *request)

// handlers is every operation that a client may ask for (Z§4). What is not here is answered with Unimplemented and the
// end of the connection: sasl, createSession, and check outside of a multi, which in Apache's server writes a log that
// it cannot read again.
var handlers map[jute.Op]handler

func init() {
	handlers = map[jute.Op]handler{
		jute.OpCreate:            (*core).create,
		jute.OpCreate2:           (*core).create,
		jute.OpCreateContainer:   (*core).create,
		jute.OpCreateTTL:         (*core).create,
		jute.OpDelete:            (*core).delete,
		jute.OpSetData:           (*core).setData,
		jute.OpSetACL:            (*core).setACL,
		jute.OpMulti:             (*core).multi,
		jute.OpMultiRead:         (*core).multiRead,
		jute.OpExists:            (*core).exists,
		jute.OpGetData:           (*core).getData,
		jute.OpGetACL:            (*core).getACL,
		jute.OpGetChildren:       (*core).getChildren,
		jute.OpGetChildren2:      (*core).getChildren,
		jute.OpGetEphemerals:     (*core).getEphemerals,
		jute.OpGetAllChildrenNum: (*core).getAllChildrenNumber,
		jute.OpSync:              (*core).sync,
		jute.OpPing:              (*core).ping,
		jute.OpAuth:              (*core).auth,
		jute.OpWhoAmI:            (*core).whoAmI,
		jute.OpSetWatches:        (*core).setWatches,
		jute.OpSetWatches2:       (*core).setWatches,
		jute.OpAddWatch:          (*core).addWatch,
		jute.OpCheckWatches:      (*core).checkWatches,
		jute.OpRemoveWatches:     (*core).removeWatches,
		jute.OpReconfig:          (*core).reconfig,
		jute.OpDeleteContainer:   (*core).deleteContainer,
		jute.OpCloseSession:      (*core).closeRequest,
	}
}

// request carries out one frame of a connection that has had its handshake.
func (k *core) request(c *conn, cmd command) {
	if c.state != connOpen {
		k.drop(c)
		return
	}
	d := jute.NewDecoder(cmd.body)
	var h jute.RequestHeader
	if h.Decode(d); d.Err() != nil {
		k.drop(c)
		return
	}
	rq := &request{xid: h.Xid, op: h.Op, body: d, at: cmd.at}
	handle := handlers[h.Op]
	if handle == nil {
		k.refuse(c, rq, jute.Unimplemented, -1)
		return
	}
	handle(k, c, rq)
	if k.watches.Weight(c) > k.cfg.Limits.MaxWatchBytes {
		k.log.Warn("client has too many watches, disconnected", "client", c.remote)
		k.drop(c)
	}
}

// decode reads the request's record; if it is too short that is answered and false returned (Z§1).
func (k *core) decode(c *conn, rq *request, r jute.Record) bool {
	if r.Decode(rq.body); rq.body.Err() == nil {
		return true
	}
	k.reply(c, rq, jute.MarshallingError, nil)
	return false
}

// reply answers a request; body, which may be nil, appends what follows the header if code is OK.
func (k *core) reply(c *conn, rq *request, code jute.Code, body func(e *jute.Encoder)) {
	rq.zxid = k.tree.LastZxid()
	k.emit(c, replyFrame(rq.xid, rq.zxid, code, body), rq, false)
}

// refuse answers a request with an error and ends the connection.
func (k *core) refuse(c *conn, rq *request, code jute.Code, zxid int64) {
	rq.zxid = zxid
	k.emit(c, replyFrame(rq.xid, zxid, code, nil), rq, true)
}

func replyFrame(xid int32, zxid int64, code jute.Code, body func(e *jute.Encoder)) []byte {
	e := jute.NewEncoder(make([]byte, 0, 96))
	at := e.BeginFrame()
	h := jute.ReplyHeader{Xid: xid, Zxid: zxid, Err: code}
	h.Encode(e)
	if code == jute.OK && body != nil {
		body(e)
	}
	e.EndFrame(at)
	return e.Bytes()
}

func (k *core) ping(c *conn, rq *request) {
	rq.xid = jute.XidPing
	k.reply(c, rq, jute.OK, nil)
}

// sync is a barrier: like every reply, its own comes after all that was asked before.
func (k *core) sync(c *conn, rq *request) {
	var r jute.PathRequest
	if !k.decode(c, rq, &r) {
		return
	}
	k.reply(c, rq, jute.OK, r.Encode)
}

// reconfig is refused as by every standalone server.
func (k *core) reconfig(c *conn, rq *request) {
	var r jute.ReconfigRequest
	if !k.decode(c, rq, &r) {
		return
	}
	k.reply(c, rq, jute.ReconfigDisabled, nil)
}

// deleteContainer is for the server's own reaper; clients get BadArguments.
func (k *core) deleteContainer(c *conn, rq *request) { k.reply(c, rq, jute.BadArguments, nil) }

// closeRequest ends the client's session. Its own events come before the reply, and the connection ends behind it.
func (k *core) closeRequest(c *conn, rq *request) {
	k.closeSession(c.session)
	rq.zxid = k.tree.LastZxid()
	k.emit(c, replyFrame(rq.xid, rq.zxid, jute.OK, nil), rq, true)
}
