package embedded_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

// daemon is where a server runs as a process of its own, on a real disk, one process after the other.
type daemon struct {
	t      testing.TB
	addr   string
	config string // the file
	zktest.Server
}

func newDaemon(t testing.TB, properties string) *daemon {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, addr: ln.Addr().String()}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d.config = filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("dataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\ntickTime=%d\n%s",
		filepath.Join(dir, "data"), ln.Addr().(*net.TCPAddr).Port, tick.Milliseconds(), properties)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Server = zktest.Server{Tick: tick, Dial: func(ctx context.Context) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, "tcp", d.addr)
	}}
	return d
}

// life is one process of a daemon.
type life struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts the process and does not wait until it serves.
func (d *daemon) launch() *life {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	l := &life{cmd: exec.Command(self, "start-foreground", d.config), ended: make(chan struct{})}
	l.cmd.Env = append(os.Environ(), serverEnv+"=1")
	if testing.Verbose() {
		l.cmd.Stderr = os.Stderr
	}
	if err := l.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { _ = l.cmd.Wait(); close(l.ended) }()
	d.t.Cleanup(l.kill)
	return l
}

// run starts the process and waits until it serves.
func (d *daemon) run() *life {
	d.t.Helper()
	l := d.launch()
	if err := d.AwaitReady(30*time.Second, l.ended); err != nil {
		d.t.Fatal(err)
	}
	return l
}

// kill ends the process at once and waits for its end.
func (l *life) kill() {
	_ = l.cmd.Process.Kill()
	<-l.ended
}

// reattach takes up the session of a client whose connection is gone.
func (d *daemon) reattach(c *zktest.Client) *zktest.Client {
	d.t.Helper()
	again := d.Open(d.t)
	r := again.Handshake(jute.ConnectRequest{
		SessionID: c.Session, Password: c.Password, LastZxidSeen: c.LastZxid, TimeoutMs: int32(c.Timeout.Milliseconds()),
	})
	if r.SessionID != c.Session {
		d.t.Fatalf("session 0x%x cannot be taken up", c.Session)
	}
	again.LastZxid = c.LastZxid
	return again
}

// TestKill9 kills a real server on a real disk while clients keep writes in flight, starts it again and looks at every
// node. Each client's requests are carried out in order, so what is there must be what some first part of them has left,
// and that part must not be shorter than what was acknowledged. With OTTLA_LONG_TESTS it does so a hundred times.
func TestKill9(t *testing.T) {
	rounds := 6
	switch {
	case os.Getenv("OTTLA_LONG_TESTS") != "":
		rounds = 100
	case testing.Short():
		rounds = 2
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := &killHistory{t: t, d: newDaemon(t, "snapCount=100\n"), rng: rand.New(rand.NewPCG(seed, 0)), known: map[string]string{}}
	for i := range 3 {
		h.streams = append(h.streams, &stream{name: string(rune('x' + i)), state: newStreamState()})
	}
	for round := range rounds {
		if round%3 == 2 {
			h.killAtStart()
		}
		l := h.d.run()
		if round == 0 {
			h.begin()
		} else {
			h.check(round)
		}
		h.endOneSession(round)
		h.load(l)
	}
	h.d.run()
	h.check(rounds)
	t.Logf("%d kills, %d acknowledged requests, %d sequential nodes, last zxid 0x%x", rounds, h.acked, len(h.known), h.zxid)
}

// killHistory is everything that one run of TestKill9 knows.
type killHistory struct {
	t       *testing.T
	d       *daemon
	rng     *rand.Rand
	streams []*stream
	known   map[string]string // sequential nodes whose existence is certain, with their data
	zxid    int64             // the highest that any client has seen
	acked   int
	ended   *zktest.Client // of the last session that was closed
}

// killAtStart kills a process somewhere between its start and its first answer.
func (h *killHistory) killAtStart() {
	l := h.d.launch()
	select {
	case <-time.After(time.Duration(h.rng.Int64N(int64(25 * time.Millisecond)))):
	case <-l.ended:
		h.t.Fatal("the server does not start")
	}
	l.kill()
}

// begin makes the nodes that the streams write to.
func (h *killHistory) begin() {
	for i, st := range h.streams {
		c := h.d.Open(h.t)
		c.Handshake(jute.ConnectRequest{TimeoutMs: 10_000})
		if i == 0 {
			c.MustCreate("/q", nil, jute.ModePersistent)
		}
		for _, path := range []string{"", "/a", "/b"} {
			c.MustCreate("/"+st.name+path, []byte("-1"), jute.ModePersistent)
		}
		st.c = c
	}
}

// endOneSession opens and closes a session with an ephemeral node, which must not be there any more afterwards.
func (h *killHistory) endOneSession(round int) {
	h.ended = h.d.Connect(h.t)
	h.ended.MustCreate(fmt.Sprintf("/gone-%d", round), nil, jute.ModeEphemeral)
	h.zxid = max(h.zxid, h.ended.EndSession().Zxid)
}

// load lets all clients write until the process is killed, which happens at a random acknowledgement.
func (h *killHistory) load(l *life) {
	var acks atomic.Int64
	var killing, loading sync.WaitGroup
	fatal := 1 + h.rng.Int64N(600)
	for _, st := range h.streams {
		loading.Go(func() {
			st.load(func() {
				if acks.Add(1) == fatal {
					killing.Go(l.kill)
				}
			})
		})
	}
	loading.Wait()
	killing.Wait()
	h.acked += int(acks.Load())
	for _, st := range h.streams {
		h.zxid = max(h.zxid, st.zxid)
		if st.err != nil {
			h.t.Fatalf("client %s: %v", st.name, st.err)
		}
	}
}

// check looks at what is there after a restart.
func (h *killHistory) check(round int) {
	h.t.Helper()
	if zxid := h.d.Connect(h.t).Ping().Zxid; zxid < h.zxid {
		h.t.Fatalf("round %d: zxid 0x%x after 0x%x", round, zxid, h.zxid)
	}
	refused := h.d.Open(h.t)
	if r := refused.Handshake(jute.ConnectRequest{SessionID: h.ended.Session, Password: h.ended.Password}); r.SessionID != 0 {
		h.t.Fatalf("round %d: a closed session is alive", round)
	}
	for _, st := range h.streams {
		st.c = h.d.reattach(st.c)
	}
	if _, code := h.streams[0].c.Exists(fmt.Sprintf("/gone-%d", round-1), false); code != jute.NoNode {
		h.t.Fatalf("round %d: the ephemeral node of a closed session: %v", round, code)
	}
	found := h.sequential(round)
	for _, st := range h.streams {
		got := st.look(h.t, found[st.name])
		if why := st.settle(got); why != "" {
			h.t.Fatalf("round %d, client %s: %d requests acknowledged, %d sent since the last start: %s", round, st.name, st.answered, len(st.sent), why)
		}
		st.sent, st.answered = nil, 0
	}
}

// sequential reads the sequential nodes, which must be numbered without a gap, and returns the number of each client's
// request: the index of the request is what its node holds.
func (h *killHistory) sequential(round int) map[string]map[int]string {
	h.t.Helper()
	c := h.streams[0].c
	names, _, code := c.Children("/q", false)
	if code != jute.OK {
		h.t.Fatal(code)
	}
	slices.Sort(names)
	for i, name := range names {
		if want := fmt.Sprintf("s-%010d", i); name != want {
			h.t.Fatalf("round %d: node %d is %s, not %s", round, i, name, want)
		}
		if h.known[name] != "" {
			continue
		}
		data, _, code := c.Get("/q/"+name, false)
		if code != jute.OK {
			h.t.Fatal(code)
		}
		h.known[name] = string(data)
	}
	if len(names) != len(h.known) {
		h.t.Fatalf("round %d: %d sequential nodes, %d before", round, len(names), len(h.known))
	}
	found := map[string]map[int]string{}
	for name, data := range h.known {
		who, index, _ := strings.Cut(data, ":")
		i, err := strconv.Atoi(index)
		if err != nil {
			h.t.Fatalf("%s holds %q", name, data)
		}
		if found[who] == nil {
			found[who] = map[int]string{}
		}
		if other := found[who][i]; other != "" {
			h.t.Fatalf("round %d: request %s was carried out as %s and as %s", round, data, other, name)
		}
		found[who][i] = name
	}
	return found
}

// streamState is what a client's requests have left: numbers are the indexes of the requests that did it.
type streamState struct {
	value      int            // of the client's node
	pair       int            // of its two nodes that are written together
	ephemerals map[int]int64  // with their czxid, or 0 if that is not known
	sequential map[int]string // with their name, or "" if that is not known
}

func newStreamState() streamState {
	return streamState{value: -1, pair: -1, ephemerals: map[int]int64{}, sequential: map[int]string{}}
}

// streamOp is one request.
type streamOp struct {
	index  int
	kind   int
	victim int    // index of the ephemeral node to delete
	zxid   int64  // of the answer, 0 while there is none
	path   string // in the answer
}

// stream is one client and what it knows. It is owned by one goroutine at a time.
type stream struct {
	name     string
	c        *zktest.Client
	state    streamState // after everything before sent
	sent     []streamOp  // since the last start, in order
	answered int         // how many of them
	next     int         // index of the next request
	own      []int       // ephemeral nodes that no request in sent deletes
	zxid     int64       // the highest seen
	err      error       // an answer that cannot be
}

const streamKinds = 5

// inFlight is how many requests a client keeps without an answer.
const inFlight = 32

// load keeps requests in flight until the connection ends; acked is called at every answer.
func (st *stream) load(acked func()) {
	st.own = slices.Sorted(maps.Keys(st.state.ephemerals))
	for range inFlight {
		st.send()
	}
	for {
		body, err := st.c.TryFrame(20 * time.Second)
		if err != nil {
			return
		}
		if st.err = st.take(jute.NewDecoder(body)); st.err != nil {
			return
		}
		acked()
		st.send()
	}
}

// send sends the next request.
func (st *stream) send() {
	op := streamOp{index: st.next, kind: st.next % streamKinds}
	st.next++
	node, data := "/"+st.name, []byte(strconv.Itoa(op.index))
	code, create := jute.OpCreate, &jute.CreateRequest{ACL: zktest.OpenACL(), Data: data}
	var rq jute.Record = create
	switch {
	case op.kind == 1:
		create.Path, create.Mode = node+"/e-"+strconv.Itoa(op.index), jute.ModeEphemeral
		st.own = append(st.own, op.index)
	case op.kind == 2:
		create.Path, create.Mode = "/q/s-", jute.ModePersistentSequential
		create.Data = []byte(st.name + ":" + strconv.Itoa(op.index))
	case op.kind == 3:
		code, rq = jute.OpMulti, multiRecord{
			{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: node + "/a", Data: data, Version: -1}},
			{Op: jute.OpSetData, Record: &jute.SetDataRequest{Path: node + "/b", Data: data, Version: -1}},
		}
	case op.kind == 4 && len(st.own) > 3:
		op.victim, st.own = st.own[0], st.own[1:]
		code, rq = jute.OpDelete, &jute.PathVersionRequest{Path: node + "/e-" + strconv.Itoa(op.victim), Version: -1}
	default:
		op.kind = 0
		code, rq = jute.OpSetData, &jute.SetDataRequest{Path: node, Data: data, Version: -1}
	}
	st.sent = append(st.sent, op)
	st.c.TrySend(code, rq)
}

// multiRecord encodes the body of a multi.
type multiRecord []jute.MultiOp

// Encode implements jute.Record.
func (m multiRecord) Encode(e *jute.Encoder) { jute.EncodeMulti(e, m) }

// Decode implements jute.Record; it is never called.
func (m multiRecord) Decode(*jute.Decoder) {}

// take reads the answer to the oldest request without one.
func (st *stream) take(d *jute.Decoder) error {
	var h jute.ReplyHeader
	h.Decode(d)
	if st.answered == len(st.sent) {
		return fmt.Errorf("an answer too many: %+v", h)
	}
	op := &st.sent[st.answered]
	switch {
	case h.Err != jute.OK:
		return fmt.Errorf("request %+v: %w", *op, h.Err)
	case h.Zxid <= st.zxid:
		return fmt.Errorf("request %+v: zxid 0x%x after 0x%x", *op, h.Zxid, st.zxid)
	}
	switch op.kind {
	case 1, 2:
		op.path = d.String()
	case 3:
		var first jute.MultiHeader
		if first.Decode(d); first.Err != jute.OK {
			return fmt.Errorf("request %+v: %w", *op, first.Err)
		}
	}
	if d.Err() != nil {
		return d.Err()
	}
	op.zxid, st.zxid, st.c.LastZxid = h.Zxid, h.Zxid, h.Zxid
	st.answered++
	return nil
}

// apply carries a request out on what is expected.
func (s *streamState) apply(op streamOp) {
	switch op.kind {
	case 0:
		s.value = op.index
	case 1:
		s.ephemerals[op.index] = op.zxid
	case 2:
		s.sequential[op.index] = strings.TrimPrefix(op.path, "/q/")
	case 3:
		s.pair = op.index
	case 4:
		delete(s.ephemerals, op.victim)
	}
}

// look reads what is there of a client's nodes.
func (st *stream) look(t *testing.T, sequential map[int]string) streamState {
	t.Helper()
	got := newStreamState()
	number := func(path string) int {
		data, _, code := st.c.Get("/"+st.name+path, false)
		n, err := strconv.Atoi(string(data))
		if code != jute.OK || err != nil {
			t.Fatalf("/%s%s: %q, %v", st.name, path, data, code)
		}
		return n
	}
	got.value, got.pair = number(""), number("/a")
	if b := number("/b"); b != got.pair {
		t.Fatalf("half of a multi: %d and %d", got.pair, b)
	}
	names, _, code := st.c.Children("/"+st.name, false)
	if code != jute.OK {
		t.Fatal(code)
	}
	for _, name := range names {
		if index, ok := strings.CutPrefix(name, "e-"); ok {
			i, _ := strconv.Atoi(index)
			stat := st.c.MustStat("/" + st.name + "/" + name)
			if stat.EphemeralOwner != st.c.Session {
				t.Fatalf("%s belongs to 0x%x, not to 0x%x", name, stat.EphemeralOwner, st.c.Session)
			}
			got.ephemerals[i] = stat.Czxid
		}
	}
	maps.Copy(got.sequential, sequential)
	return got
}

// settle finds out how many of the requests have been carried out and takes got as the state after them. If there is no
// such number, it says how got differs from what is there after the acknowledged ones.
func (st *stream) settle(got streamState) string {
	want := st.state
	want.ephemerals, want.sequential = maps.Clone(want.ephemerals), maps.Clone(want.sequential)
	for _, op := range st.sent[:st.answered] {
		want.apply(op)
	}
	least := want.differs(got)
	for n := st.answered; ; n++ {
		if want.differs(got) == "" {
			st.state = got
			return ""
		}
		if n == len(st.sent) {
			return least
		}
		want.apply(st.sent[n])
	}
}

// differs says in what got is not what is wanted.
func (s *streamState) differs(got streamState) string {
	if s.value != got.value || s.pair != got.pair {
		return fmt.Sprintf("values %d and %d, wanted %d and %d", got.value, got.pair, s.value, s.pair)
	}
	for i, czxid := range s.ephemerals {
		if is, ok := got.ephemerals[i]; !ok || czxid != 0 && czxid != is {
			return fmt.Sprintf("ephemeral %d: czxid 0x%x, wanted 0x%x", i, is, czxid)
		}
	}
	last := ""
	for _, i := range slices.Sorted(maps.Keys(s.sequential)) {
		name, is := s.sequential[i], got.sequential[i]
		if is == "" || name != "" && name != is || is <= last {
			return fmt.Sprintf("sequential node %d: %q behind %q, wanted %q", i, is, last, name)
		}
		last = is
	}
	if len(s.ephemerals) != len(got.ephemerals) || len(s.sequential) != len(got.sequential) {
		return fmt.Sprintf("%d ephemerals and %d sequential nodes, wanted %d and %d",
			len(got.ephemerals), len(got.sequential), len(s.ephemerals), len(s.sequential))
	}
	return ""
}

// TestALossIsNoticed shows that the check above can fail.
func TestALossIsNoticed(t *testing.T) {
	ops := []streamOp{{index: 0, zxid: 5}, {index: 1, kind: 1, zxid: 6}, {index: 2, kind: 2, zxid: 7, path: "/q/s-0000000000"}, {index: 5}}
	for name, tt := range map[string]struct {
		change func(got *streamState)
		ok     bool
	}{
		"nothing more than was acknowledged": {func(*streamState) {}, true},
		"one request more":                   {func(got *streamState) { got.value = 5 }, true},
		"a lost write":                       {func(got *streamState) { got.value = -1 }, false},
		"a lost ephemeral":                   {func(got *streamState) { delete(got.ephemerals, 1) }, false},
		"an ephemeral made anew":             {func(got *streamState) { got.ephemerals[1] = 8 }, false},
		"a lost sequential node":             {func(got *streamState) { delete(got.sequential, 2) }, false},
		"another sequence number":            {func(got *streamState) { got.sequential[2] = "s-0000000001" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := stream{state: newStreamState(), sent: ops, answered: 3}
			got := newStreamState()
			for _, op := range ops[:3] {
				got.apply(op)
			}
			tt.change(&got)
			if why := st.settle(got); (why == "") != tt.ok {
				t.Errorf("found: %q", why)
			}
		})
	}
}
