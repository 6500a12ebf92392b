package embedded

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/jute"
)

// session is the part of a session that lives in memory; the durable part is in the tree. The core owns it.
type session struct {
	id      int64
	timeout time.Duration // as negotiated by the present or last connection
	heard   time.Duration // server clock: when anything was last heard; a live connection may know better
	bucket  int64
	conn    *conn // nil while no connection has it
}

// lastHeard is when the client was last heard, on the server clock. A client whose request waits for the core or for the
// disk counts as being heard right now: the delay is ours, not the client's.
func (ss *session) lastHeard(now time.Duration) time.Duration {
	if ss.conn == nil {
		return ss.heard
	}
	if ss.conn.waiting.Load() > 0 {
		return now
	}
	return max(ss.heard, time.Duration(ss.conn.heard.Load()))
}

// sessionTable finds expired sessions in ticks: a session last heard at h with timeout t expires at the first multiple
// of the tick after h+t (Z§11). Sessions are filed under the tick at which they would expire; when it comes, those that
// were heard in the meantime are filed anew. So hearing from a session costs nothing. The core owns it.
type sessionTable struct {
	tick    time.Duration
	byID    map[int64]*session
	buckets map[int64]map[*session]struct{}
	looked  int64 // the last tick that was looked at
	lastID  int64
}

func (t *sessionTable) init(tick time.Duration, lastID int64) {
	t.tick = tick
	t.byID = make(map[int64]*session)
	t.buckets = make(map[int64]map[*session]struct{})
	// 40 bits of the clock, then 16 bits to count; the top byte stays 0. Never below what was handed out before.
	clock := int64(uint64(time.Now().UnixMilli()) << 24 >> 8)
	t.lastID = max(clock, lastID)
}

func (t *sessionTable) count() int { return len(t.byID) }

func (t *sessionTable) newID() int64 {
	t.lastID++
	return t.lastID
}

func (t *sessionTable) add(ss *session) {
	if len(t.byID) == 0 {
		t.looked = int64(ss.heard / t.tick) // nobody looks while there are no sessions
	}
	t.byID[ss.id] = ss
	t.file(ss, ss.heard)
}

func (t *sessionTable) remove(ss *session) {
	delete(t.byID, ss.id)
	t.unfile(ss)
}

func (t *sessionTable) file(ss *session, heard time.Duration) {
	ss.bucket = int64((heard+ss.timeout)/t.tick) + 1
	at := t.buckets[ss.bucket]
	if at == nil {
		at = make(map[*session]struct{})
		t.buckets[ss.bucket] = at
	}
	at[ss] = struct{}{}
}

func (t *sessionTable) unfile(ss *session) {
	at := t.buckets[ss.bucket]
	delete(at, ss)
	if len(at) == 0 {
		delete(t.buckets, ss.bucket)
	}
}

// refile files a session again, as when its timeout has changed.
func (t *sessionTable) refile(ss *session, heard time.Duration) {
	t.unfile(ss)
	ss.heard = heard
	t.file(ss, heard)
}

// nextTick returns when expired should be called next, on the server clock.
func (t *sessionTable) nextTick() time.Duration { return time.Duration(t.looked+1) * t.tick }

// expired returns the sessions whose time is over, by id, having looked at all ticks up to now. If more than a tick has gone
// by unlooked, this process was stopped, or too busy to read what clients sent: then every session begins anew.
func (t *sessionTable) expired(now time.Duration) []*session {
	current := int64(now / t.tick)
	paused := current > t.looked+2
	var due, out []*session
	for b := t.looked + 1; b <= current; b++ {
		for ss := range t.buckets[b] {
			due = append(due, ss)
		}
	}
	t.looked = max(t.looked, current)
	for _, ss := range due {
		heard := ss.lastHeard(now)
		if paused {
			heard = now
		}
		if t.refile(ss, heard); ss.bucket <= current {
			out = append(out, ss)
		}
	}
	slices.SortFunc(out, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	return out
}

// connect answers the first frame of a connection (Z§2).
func (k *core) connect(c *conn, body []byte) {
	var rq jute.ConnectRequest
	d := jute.NewDecoder(body)
	rq.Decode(d)
	if d.Err() != nil {
		k.drop(c)
		return
	}
	if rq.LastZxidSeen > k.tree.LastZxid() {
		k.log.Warn("a client has seen a later zxid than this server, refused: was the data directory wiped?",
			"client", c.remote, "seen", fmt.Sprintf("0x%x", rq.LastZxidSeen), "last", fmt.Sprintf("0x%x", k.tree.LastZxid()))
		k.drop(c)
		return
	}
	timeout := min(max(time.Duration(rq.TimeoutMs)*time.Millisecond, k.cfg.MinSessionTimeout), k.cfg.MaxSessionTimeout)
	ss, password := k.openSession(&rq, timeout)
	reply := jute.ConnectResponse{HasReadOnly: rq.HasReadOnly, Password: make([]byte, 16)}
	if ss == nil && rq.SessionID == 0 {
		k.drop(c) // "expired" would be an odd answer to who has none yet
		return
	}
	if ss == nil {
		k.log.Info("session cannot be taken up", "session", fmt.Sprintf("0x%x", rq.SessionID), "client", c.remote)
		k.emit(c, encodeFrame(&reply), nil, true)
		return
	}
	if old := ss.conn; old != nil {
		k.drop(old)
		k.gone(old)
	}
	ss.timeout, ss.conn = timeout, c
	k.sessions.refile(ss, k.s.since())
	c.state, c.session, c.caller.Session = connOpen, ss, ss.id
	opened := &request{op: jute.OpCreateSession, at: time.Now(), zxid: k.tree.LastZxid()}
	reply.TimeoutMs, reply.SessionID, reply.Password = int32(timeout/time.Millisecond), ss.id, password[:]
	k.emit(c, encodeFrame(&reply), opened, false)
}

// openSession finds or makes the session that a client asks for; nil if it has expired, which also covers a wrong
// password (that must not disturb the rightful owner) and a new session beyond the limit.
func (k *core) openSession(rq *jute.ConnectRequest, timeout time.Duration) (*session, [16]byte) {
	if rq.SessionID != 0 {
		ss, rec := k.sessions.byID[rq.SessionID], k.tree.Session(rq.SessionID)
		if ss == nil || rec == nil || subtle.ConstantTimeCompare(rec.Password[:], rq.Password) != 1 {
			return nil, [16]byte{}
		}
		return ss, rec.Password
	}
	if k.sessions.count() >= k.cfg.Limits.MaxSessions {
		k.log.Warn("too many sessions, a new one refused", "sessions", k.sessions.count())
		return nil, [16]byte{}
	}
	rec := tree.Session{ID: k.sessions.newID(), TimeoutMs: int32(timeout / time.Millisecond)}
	_, _ = rand.Read(rec.Password[:]) // never fails
	k.transact(func(b *tree.Batch) bool {
		b.CreateSession(rec)
		return true
	})
	ss := &session{id: rec.ID, timeout: timeout, heard: k.s.since()}
	k.sessions.add(ss)
	return ss, rec.Password
}

// closeSession ends a session: its ephemeral nodes go, with their events.
func (k *core) closeSession(ss *session) {
	k.sessions.remove(ss)
	k.transact(func(b *tree.Batch) bool {
		b.CloseSession(ss.id)
		return true
	})
}

// encodeFrame makes a frame of a record without a header.
func encodeFrame(r jute.Record) []byte {
	var e jute.Encoder
	at := e.BeginFrame()
	r.Encode(&e)
	e.EndFrame(at)
	return e.Bytes()
}
