package zktest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/zk/jute"
)

// Run checks a server. Every check works below a node of its own, so they can run on one server one after the other.
func Run(t *testing.T, s Server) {
	for _, check := range []struct {
		name string
		run  func(t *testing.T, s Server)
	}{
		{"an empty server", emptyServer},
		{"handshake", handshake},
		{"hostile handshakes", hostileHandshakes},
		{"headers and xids", headers},
		{"stat arithmetic", statArithmetic},
		{"sequence numbers", sequenceNumbers},
		{"create refuses", createRefuses},
		{"delete refuses", deleteRefuses},
		{"set refuses", setRefuses},
		{"paths", paths},
		{"null and empty data", nullData},
		{"ephemerals", ephemerals},
		{"create with stat", createWithStat},
		{"watches fire", watchesFire},
		{"watches of missing nodes", watchesOfMissing},
		{"watches across connections", watchesAcross},
		{"persistent watches", persistentWatches},
		{"remove and check watches", removeWatches},
		{"set watches", setWatches},
		{"multi", multi},
		{"failed multi", multiFails},
		{"multi read", multiRead},
		{"access lists", accessLists},
		{"authentication", authentication},
		{"read-only extras", extras},
		{"session expiry", sessionExpiry},
		{"session reattach", sessionReattach},
		{"close session", closeSession},
		{"frames", frames},
		{"malformed requests", malformed},
		{"pipelining", pipelining},
		{"four-letter words", fourLetterWords},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, s) })
	}
}

// want compares and fails with got and want.
func want[T any](t testing.TB, what string, got, want T, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// room makes a node for a check.
func room(t testing.TB, s Server) (*Client, string) {
	t.Helper()
	c := s.Connect(t)
	return c, c.MustCreate("/room-", []byte("r"), jute.ModePersistentSequential)
}

func emptyServer(t *testing.T, s Server) {
	c := s.Connect(t)
	for path, kids := range map[string][]string{"/zookeeper": {"config", "quota"}, "/zookeeper/quota": {}} {
		names, stat, code := c.Children(path, false)
		want(t, path+" code", code, jute.OK)
		want(t, path+" children", len(names), len(kids))
		want(t, path+" cversion", stat.Cversion, -int32(len(kids)))
		want(t, path+" czxid, ctime", [2]int64{stat.Czxid, stat.Ctime}, [2]int64{})
	}
	want(t, "cversion of /zookeeper/config", c.MustStat("/zookeeper/config").Aversion, -1)
	_, code := c.Set("/zookeeper/config", []byte("x"), -1)
	want(t, "setData of /zookeeper/config", code, jute.NoAuth)
	for _, p := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		want(t, "delete "+p, c.Delete(p, -1), jute.BadArguments)
	}
}

func handshake(t *testing.T, s Server) {
	ms := int32(s.Tick / time.Millisecond)
	for asked, given := range map[int32]int32{-5: 2 * ms, 0: 2 * ms, 2*ms - 1: 2 * ms, 5 * ms: 5 * ms, 20*ms + 1: 20 * ms} {
		c := s.Open(t)
		r := c.Handshake(jute.ConnectRequest{TimeoutMs: asked})
		want(t, fmt.Sprintf("timeout for %d", asked), r.TimeoutMs, given)
		want(t, "password length", len(r.Password), 16)
		want(t, "read-only byte for a client that sent none", r.HasReadOnly, false)
		if r.SessionID <= 0 {
			t.Errorf("session id %x", r.SessionID)
		}
		c.EndSession()
	}
	c := s.Open(t)
	r := c.Handshake(jute.ConnectRequest{TimeoutMs: 5 * ms, Password: make([]byte, 16), HasReadOnly: true})
	want(t, "read-only byte for a client that sent one", [2]bool{r.HasReadOnly, r.ReadOnly}, [2]bool{true, false})

	// What comes in one packet with the handshake is kept.
	p := s.Open(t)
	var e jute.Encoder
	at := e.BeginFrame()
	(&jute.ConnectRequest{TimeoutMs: 5 * ms}).Encode(&e)
	e.EndFrame(at)
	at = e.BeginFrame()
	(&jute.RequestHeader{Xid: 1, Op: jute.OpExists}).Encode(&e)
	(&jute.PathWatchRequest{Path: "/"}).Encode(&e)
	e.EndFrame(at)
	p.SendRaw(e.Bytes())
	p.ReadFrame()
	want(t, "reply to a request sent with the handshake", p.Receive().Err, jute.OK)
}

func hostileHandshakes(t *testing.T, s Server) {
	owner := s.Connect(t)
	owner.Ping()
	wrong := append([]byte(nil), owner.Password...)
	wrong[3] ^= 1
	refused := append(append(make([]byte, 16), 0, 0, 0, 16), make([]byte, 16)...)
	for name, rq := range map[string]jute.ConnectRequest{
		"unknown session": {SessionID: 0x1234, Password: make([]byte, 16), TimeoutMs: 5000},
		"wrong password":  {SessionID: owner.Session, Password: wrong, TimeoutMs: 5000},
		"no password":     {SessionID: owner.Session, TimeoutMs: 5000},
	} {
		if s.Apache && name != "unknown session" {
			continue // cuts the rightful owner's connection
		}
		for _, readOnly := range []bool{false, true} {
			c := s.Open(t)
			rq.HasReadOnly = readOnly
			c.SendRecord(&rq)
			body := refused
			if readOnly {
				body = append(bytes.Clone(refused), 0)
			}
			want(t, name, c.ReadFrame(), body)
			c.ExpectEnd(patience)
		}
	}
	want(t, "ping of the owner after strangers knocked", owner.Ping().Err, jute.OK)

	ahead := s.Open(t)
	ahead.SendRecord(&jute.ConnectRequest{LastZxidSeen: owner.LastZxid + 1<<32, TimeoutMs: 5000})
	ahead.ExpectEnd(patience)

	short := s.Open(t)
	short.SendRaw([]byte{0, 0, 0, 3, 1, 2, 3})
	short.ExpectEnd(patience)
}

func headers(t *testing.T, s Server) {
	c, dir := room(t, s)
	created := c.LastZxid
	for _, xid := range []int32{7, -2, 0} {
		c.SendXid(xid, jute.OpPing, nil)
		r := c.Receive()
		want(t, "xid of a ping's reply", r.Xid, jute.XidPing)
		if r.Zxid < created {
			t.Errorf("ping: zxid %x, %x was seen before", r.Zxid, created)
		}
	}
	c.SendXid(jute.XidAuth, jute.OpAuth, (&jute.AuthRequest{Scheme: "digest", Auth: []byte("bob:pw")}).Encode)
	want(t, "auth reply", c.Receive().ReplyHeader, jute.ReplyHeader{Xid: jute.XidAuth})
	stat := c.MustStat(dir)
	want(t, "czxid of the node and zxid of the reply that created it", stat.Czxid, created)
	r := c.Call(jute.OpSync, &jute.PathRequest{Path: "/no/such/path"})
	want(t, "sync of a missing path", r.Err, jute.OK)
	want(t, "sync echoes", r.Body.String(), "/no/such/path")

	for _, op := range []jute.Op{99, jute.OpCreateSession, 55} {
		if s.Apache && op == jute.OpCreateSession {
			continue // it makes a second session of it and answers as to a handshake
		}
		bad := s.Connect(t)
		xid := bad.Send(op, &jute.PathRequest{Path: "/"})
		want(t, fmt.Sprintf("reply to op %d", op), bad.Receive().ReplyHeader,
			jute.ReplyHeader{Xid: xid, Zxid: -1, Err: jute.Unimplemented})
		bad.ExpectEnd(patience)
	}
	if !s.Apache { // there it leaves a log that the server cannot read again
		bad := s.Connect(t)
		want(t, "check outside of a multi",
			bad.Call(jute.OpCheck, &jute.PathVersionRequest{Path: "/", Version: -1}).Err, jute.Unimplemented)
		bad.ExpectEnd(patience)
	}
	want(t, "reconfig", c.Call(jute.OpReconfig, &jute.ReconfigRequest{CurConfigID: -1}).Err, jute.ReconfigDisabled)
	c.SendXid(1000, jute.OpDeleteContainer, func(e *jute.Encoder) { e.Raw([]byte(dir)) })
	want(t, "deleteContainer by a client", c.Receive().Err, jute.BadArguments)
}

func frames(t *testing.T, s Server) {
	c, dir := room(t, s)
	const overhead = 8 + 4 + 4 + 4 // header, path length, data length, version
	data := make([]byte, jute.DefaultMaxFrame-overhead-len(dir))
	stat, code := c.Set(dir, data, -1)
	want(t, "a request of exactly jute.maxbuffer", code, jute.OK)
	want(t, "length", int(stat.DataLength), len(data))
	got, _, _ := c.Get(dir, false)
	want(t, "length read back", len(got), len(data))
	c.SendRaw([]byte{0, 0x10, 0, 0})
	c.ExpectEnd(patience)
	negative := s.Connect(t)
	negative.SendRaw([]byte{0xff, 0xff, 0xff, 0xff})
	negative.ExpectEnd(patience)
}

func malformed(t *testing.T, s Server) {
	c, dir := room(t, s)
	short := func(op jute.Op, body ...byte) {
		t.Helper()
		c.xid++
		c.SendXid(c.xid, op, func(e *jute.Encoder) { e.Raw(body) })
		r := c.Receive()
		want(t, fmt.Sprintf("op %d with % x", op, body), []int32{r.Xid, int32(r.Err)}, []int32{c.xid, int32(jute.MarshallingError)})
	}
	short(jute.OpCreate)
	short(jute.OpCreate, 0, 0, 0, 1, '/', 0, 0, 0, 0, 0x40, 0, 0, 0) // 2^30 access list entries
	short(jute.OpSetData, 0, 0, 0, 9, '/')
	short(jute.OpDelete, 0, 0, 0, 1, '/')
	short(jute.OpGetData, 0, 0, 0, 1, '/')
	short(jute.OpMulti, 0, 0, 0, 1)
	// Whatever lies behind the record is ignored.
	c.xid++
	c.SendXid(c.xid, jute.OpExists, func(e *jute.Encoder) {
		(&jute.PathWatchRequest{Path: dir}).Encode(e)
		e.Raw([]byte("rubbish"))
	})
	want(t, "a request with bytes left over", c.Receive().Err, jute.OK)
}

func pipelining(t *testing.T, s Server) {
	c, dir := room(t, s)
	const n = 300
	for i := range n {
		c.Send(jute.OpCreate, &jute.CreateRequest{Path: fmt.Sprintf("%s/%03d", dir, i), ACL: OpenACL()})
		c.Send(jute.OpExists, &jute.PathWatchRequest{Path: fmt.Sprintf("%s/%03d", dir, i)})
	}
	first := c.xid - 2*n
	zxid := int64(0)
	for i := range int32(2 * n) {
		r := c.Receive()
		if r.Xid != first+i+1 || r.Err != jute.OK || r.Zxid < zxid {
			t.Fatalf("reply %d: %+v, last zxid %x", i, r.ReplyHeader, zxid)
		}
		zxid = r.Zxid
	}
}
