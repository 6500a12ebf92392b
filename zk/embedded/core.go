package embedded

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/embedded/watch"
	"github.com/ottla/ottla/zk/jute"
)

type cmdKind uint8

const (
	cmdConnect cmdKind = iota // the first frame of a connection
	cmdRequest                // any later frame
	cmdWord                   // a four-letter word
	cmdGone                   // the connection has ended; nothing follows
)

// command is what a connection hands to the core.
type command struct {
	c    *conn
	kind cmdKind
	body []byte
	at   time.Time // when it arrived
}

// core owns the state of the server. All its methods run in its one goroutine.
type core struct {
	s        *Server
	cfg      *Config
	log      hclog.Logger
	tree     *tree.Tree
	watches  *watch.Set[*conn]
	sessions sessionTable
	conns    map[*conn]struct{} // those that have sent anything
	wal      *wal
	held     heldQueue
	nextReap time.Duration // server clock
	alarm    *time.Timer
	alarmAt  time.Duration // server clock, when alarm goes off
	failed   error
}

// heldFrame is a frame that may be sent once its zxid is durable.
type heldFrame struct {
	c     *conn
	frame []byte
	zxid  int64
	last  bool // end the connection behind it
	reply *request
}

// heldQueue is the frames that wait for the disk, in order; zxids never fall.
type heldQueue struct {
	frames []heldFrame
	head   int
	bytes  int
}

func (q *heldQueue) push(f heldFrame) {
	q.frames = append(q.frames, f)
	q.bytes += len(f.frame)
}

func (q *heldQueue) empty() bool { return q.head == len(q.frames) }

// pop returns the first frame if it may be sent.
func (q *heldQueue) pop(durable int64) (heldFrame, bool) {
	if q.empty() || q.frames[q.head].zxid > durable {
		return heldFrame{}, false
	}
	f := q.frames[q.head]
	q.frames[q.head] = heldFrame{}
	q.bytes -= len(f.frame)
	if q.head++; q.empty() {
		q.frames, q.head = q.frames[:0], 0
	} else if q.head > 1024 && q.head > len(q.frames)/2 {
		n := copy(q.frames, q.frames[q.head:])
		clear(q.frames[n:])
		q.frames, q.head = q.frames[:n], 0
	}
	return f, true
}

func newCore(s *Server, t *tree.Tree) *core {
	k := &core{
		s: s, cfg: &s.cfg, log: s.log, tree: t, watches: watch.New[*conn](), conns: make(map[*conn]struct{}),
		wal: newWAL(t.LastZxid()), nextReap: s.cfg.ReapInterval,
	}
	k.sessions.init(s.cfg.TickTime, t.LastSession())
	for _, rec := range t.Sessions() {
		// After a restart every session has its whole timeout again (Z§11).
		k.sessions.add(&session{id: rec.ID, timeout: time.Duration(rec.TimeoutMs) * time.Millisecond, heard: s.since()})
	}
	return k
}

// run serves until the server is to stop, nil, or its disk fails.
func (k *core) run() error {
	k.alarm = time.NewTimer(0)
	defer k.alarm.Stop()
	for k.failed == nil {
		k.setAlarm()
		in := k.s.in
		if k.wal.pending()+k.held.bytes > k.cfg.Limits.MaxPending {
			in = nil
		}
		select {
		case cmd := <-in:
			k.handle(cmd)
			k.drain()
		case d := <-k.wal.results:
			k.logged(d)
		case err := <-k.wal.snapshots:
			k.snapshotDone(err)
		case <-k.alarm.C:
			k.alarmAt = 0
			k.tick()
		case <-k.s.stop:
			return k.end()
		}
		k.flush()
	}
	return k.failed
}

// drain takes what else is waiting, so that one group commit carries all of it.
func (k *core) drain() {
	for range cap(k.s.in) {
		select {
		case cmd := <-k.s.in:
			k.handle(cmd)
		default:
			return
		}
	}
}

func (k *core) handle(cmd command) {
	c := cmd.c
	if cmd.kind == cmdGone {
		k.gone(c)
		return
	}
	if c.state == connClosed {
		return
	}
	k.conns[c] = struct{}{}
	k.s.stats.received.Add(1)
	c.stats.received++
	switch cmd.kind {
	case cmdConnect:
		k.connect(c, cmd.body)
	case cmdWord:
		k.word(c, string(cmd.body))
	case cmdRequest:
		k.request(c, cmd)
	case cmdGone:
	}
}

// gone forgets a connection. Its session lives on (Z§11).
func (k *core) gone(c *conn) {
	c.state = connClosed
	delete(k.conns, c)
	k.watches.Drop(c)
	if ss := c.session; ss != nil && ss.conn == c {
		ss.heard = max(ss.heard, time.Duration(c.heard.Load()))
		ss.conn = nil
	}
	c.session = nil
}

// drop ends a connection without a word.
func (k *core) drop(c *conn) {
	c.state = connClosed
	c.kill()
}

// emit sends a frame to a client as soon as everything that it could show is durable.
func (k *core) emit(c *conn, frame []byte, rq *request, last bool) {
	f := heldFrame{c: c, frame: frame, zxid: k.tree.LastZxid(), last: last, reply: rq}
	if last {
		c.state = connClosed
	}
	if k.held.empty() && f.zxid <= k.wal.durable {
		k.deliver(f)
		return
	}
	k.held.push(f)
}

func (k *core) deliver(f heldFrame) {
	if f.reply != nil {
		k.note(f.c, f.reply)
		f.c.heard.Store(int64(k.s.since()))
		f.c.waiting.Add(-1)
	}
	k.s.stats.sent.Add(1)
	f.c.stats.sent++
	if f.frame != nil {
		f.c.send(f.frame, f.reply == nil && !f.last)
	}
	if f.last {
		f.c.finish(finishGrace)
	}
}

// transact runs one transaction. If change reports success the transaction is logged and watches fire; otherwise
// everything that it did is undone. It reports whether the tree has changed.
func (k *core) transact(change func(b *tree.Batch) bool) bool {
	b := k.tree.Begin(k.tree.LastZxid()+1, time.Now().UnixMilli())
	if !change(b) {
		b.Rollback()
		return false
	}
	if b.Empty() {
		return true // a multi of checks alone
	}
	txn, changes := b.Commit()
	k.wal.add(&txn)
	k.fire(changes)
	return true
}

// fire sends the events of a transaction, before its reply.
func (k *core) fire(changes []tree.Change) {
	for i := range changes {
		ch := &changes[i]
		var frame []byte
		var of jute.EventType
		k.watches.Change(ch.Event, ch.Path, ch.Parent, func(c *conn, event jute.EventType, path string) {
			acl := ch.ACL
			if event == jute.EventNodeChildrenChanged {
				acl = ch.ParentACL
			}
			if c.state != connOpen || !c.caller.Allowed(acl, jute.PermRead) {
				return
			}
			if frame == nil || of != event {
				frame, of = eventFrame(event, path), event
			}
			k.emit(c, frame, nil, false)
		})
	}
}

func eventFrame(event jute.EventType, path string) []byte {
	e := jute.NewEncoder(make([]byte, 0, 40+len(path)))
	at := e.BeginFrame()
	h := jute.ReplyHeader{Xid: jute.XidNotification, Zxid: -1}
	h.Encode(e)
	w := jute.WatcherEvent{Type: event, State: jute.EventStateConnected, Path: path}
	w.Encode(e)
	e.EndFrame(at)
	return e.Bytes()
}

// flush gives the log what has gathered, if it is idle; with it goes a snapshot when one is due.
func (k *core) flush() {
	if k.wal.busy || k.wal.empty() || k.failed != nil {
		return
	}
	var state []byte
	if !k.wal.snapshotting &&
		(k.wal.sinceSnapshot >= int64(k.cfg.SnapCount) || k.wal.bytesSinceSnapshot >= k.cfg.Limits.SnapBytes) {
		state = k.encodeState()
	}
	k.wal.submit(state)
}

// encodeState writes down the whole tree while the core stands still.
func (k *core) encodeState() []byte {
	e := jute.NewEncoder(make([]byte, 0, int(k.tree.DataSize())+128*k.tree.NodeCount()+28*k.sessions.count()+64))
	k.tree.Encode(e)
	return e.Bytes()
}

// logged learns that a group commit has ended, and lets go what waited for it.
func (k *core) logged(d logResult) {
	k.wal.finished(d)
	if d.err != nil {
		k.fail(d.err)
		return
	}
	if d.took > slowSyncThreshold {
		k.log.Warn("the transaction log is slow", "took", d.took, "bytes", d.bytes)
	}
	for {
		f, ok := k.held.pop(k.wal.durable)
		if !ok {
			return
		}
		k.deliver(f)
	}
}

func (k *core) snapshotDone(err error) {
	k.wal.snapshotting = false
	if err != nil {
		k.fail(err)
	}
}

// fail stops the server: memory is ahead of a disk that no longer takes writes.
func (k *core) fail(err error) {
	if k.failed == nil {
		k.failed = fmt.Errorf("zookeeper data: %w", err)
	}
}

// end makes everything durable, answers it, and marks the log as cleanly stopped.
func (k *core) end() error {
	for k.failed == nil && (k.wal.busy || !k.wal.empty() || k.wal.snapshotting) {
		k.flush()
		select {
		case d := <-k.wal.results:
			k.logged(d)
		case err := <-k.wal.snapshots:
			k.snapshotDone(err)
		}
	}
	if k.failed != nil {
		return k.failed
	}
	k.wal.seal()
	if d := <-k.wal.results; d.err != nil {
		k.fail(d.err)
	}
	return k.failed
}

// setAlarm sees to it that the core looks at its clocks in time: at every tick while there are sessions, and when it is
// time to reap.
func (k *core) setAlarm() {
	at := k.nextReap
	if k.sessions.count() > 0 {
		at = min(at, k.sessions.nextTick())
	}
	if at != k.alarmAt {
		k.alarmAt = at
		k.alarm.Reset(at - k.s.since())
	}
}

// tick expires sessions and reaps nodes whose time has come.
func (k *core) tick() {
	now := k.s.since()
	for _, ss := range k.sessions.expired(now) {
		k.log.Info("session expired", "session", fmt.Sprintf("0x%x", ss.id), "timeout", ss.timeout)
		k.closeSession(ss)
		if ss.conn != nil {
			k.drop(ss.conn)
		}
	}
	if now < k.nextReap {
		return
	}
	k.nextReap = now + k.cfg.ReapInterval
	for _, path := range k.tree.Reapable(time.Now().UnixMilli(), reapBatch) {
		k.transact(func(b *tree.Batch) bool { return b.Reap(path) })
	}
}
