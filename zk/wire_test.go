package zk

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scripted is a server that grants a session to everybody, answers pings, and answers requests as the test says.
type scripted struct {
	answer func(xid, op int32) [][]byte // frames, without lengths; nil closes the connection
}

// dial is a Dialer that connects to the server.
func (s *scripted) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go s.serve(far)
	return near, nil
}

func (s *scripted) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	hello, err := readFrame(c, maxHandshake)
	if err != nil {
		return
	}
	reply := make([]byte, 36)
	copy(reply[4:8], hello[12:16]) // the timeout asked for
	binary.BigEndian.PutUint64(reply[8:], 7)
	binary.BigEndian.PutUint32(reply[16:], 16)
	if writeFrame(c, reply) != nil {
		return
	}
	for {
		frame, err := readFrame(c, maxFrame)
		if err != nil {
			return
		}
		xid, op := int32(binary.BigEndian.Uint32(frame)), int32(binary.BigEndian.Uint32(frame[4:]))
		frames := [][]byte{replyFrame(xid, 0, nil)}
		if op != opPing && op != opClose {
			frames = s.answer(xid, op)
		}
		if frames == nil {
			return
		}
		for _, f := range frames {
			if writeFrame(c, f) != nil {
				return
			}
		}
	}
}

// replyFrame returns header and body of an answer.
func replyFrame(xid, code int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(xid))
	b = binary.BigEndian.AppendUint64(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, body...)
}

// u32 returns numbers in a row.
func u32(numbers ...int32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}

// do runs the operation with the given code.
func do(ctx context.Context, s *Session, op int32) error {
	switch op {
	case opCreate:
		return second(s.Create(ctx, "/a", nil, Persistent))
	case opExists:
		return third(s.Exists(ctx, "/a"))
	case opGet:
		return third(s.Get(ctx, "/a"))
	case opSet:
		return second(s.Set(ctx, "/a", nil, 0))
	case opDelete:
		return s.Delete(ctx, "/a", 0)
	case opSync:
		return s.Sync(ctx, "/a")
	case opChildren:
		return third(s.Children(ctx, "/a"))
	}
	return second(s.Multi(ctx, SetOp("/a", nil, 0), DeleteOp("/b", 0)))
}

func TestMalformedAnswersCostTheConnectionAndNothingElse(t *testing.T) {
	stat := make([]byte, statSize)
	for _, c := range []struct {
		name   string
		op     int32
		frames func(xid int32) [][]byte
		want   error // nil: the operation succeeds
		class  Class
	}{
		{"good create", opCreate, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, append(u32(2), "/a"...))} }, nil, OK},
		{"good set", opSet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, stat)} }, nil, OK},
		{"an event before the answer", opSet, func(xid int32) [][]byte {
			return [][]byte{replyFrame(xidEvent, 0, append(u32(3, 3, 2), "/a"...)), replyFrame(xid, 0, stat)}
		}, nil, OK},
		{"refusal", opSet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, -103, nil)} }, ErrBadVersion, Definite},
		{"unnamed refusal", opSet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, -127, nil)} }, ErrAmbiguous, Ambiguous},
		{"short frame", opSet, func(int32) [][]byte { return [][]byte{u32(1, 2)} }, ErrAmbiguous, Ambiguous},
		{"empty frame", opSet, func(int32) [][]byte { return [][]byte{{}} }, ErrAmbiguous, Ambiguous},
		{"short stat", opSet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, stat[:67])} }, ErrAmbiguous, Ambiguous},
		{"null string", opCreate, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, u32(-1))} }, ErrAmbiguous, Ambiguous},
		{"long string", opCreate, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, u32(1<<30))} }, ErrAmbiguous, Ambiguous},
		{"null children", opChildren, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, append(u32(-1), stat...))} }, errMalformed, NotSent},
		{"many children", opChildren, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, append(u32(1<<30), stat...))} }, errMalformed, NotSent},
		{"data beyond the frame", opGet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, append(u32(99), stat...))} }, errMalformed, NotSent},
		{"a foreign answer", opSet, func(xid int32) [][]byte { return [][]byte{replyFrame(xid+1, 0, stat)} }, ErrAmbiguous, Ambiguous},
		{"a broken event", opSet, func(int32) [][]byte { return [][]byte{replyFrame(xidEvent, 0, u32(3, 3, 77))} }, ErrAmbiguous, Ambiguous},
		{"multi without an end", opMulti, func(xid int32) [][]byte { return [][]byte{replyFrame(xid, 0, append(u32(opDelete), 0))} }, ErrAmbiguous, Ambiguous},
		{"multi with too few results", opMulti, func(xid int32) [][]byte {
			return [][]byte{replyFrame(xid, 0, append(append(u32(-1), 1), u32(-1)...))}
		}, ErrAmbiguous, Ambiguous},
		{"multi with a strange result", opMulti, func(xid int32) [][]byte {
			return [][]byte{replyFrame(xid, 0, append(append(u32(42), 0), u32(0)...))}
		}, ErrAmbiguous, Ambiguous},
		{"hangup", opDelete, func(int32) [][]byte { return nil }, ErrAmbiguous, Ambiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &scripted{answer: func(xid, _ int32) [][]byte { return c.frames(xid) }}
				client, err := Open(t.Context(), Config{Connect: "zk", Dial: srv.dial})
				if err != nil {
					t.Fatal(err)
				}
				s := client.Session()
				err = do(t.Context(), s, c.op)
				if c.want == errMalformed && err != nil { // the library hides the reason from the caller
					c.want = nil
				} else if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if ClassOf(err) != c.class {
					t.Errorf("class %v, want %v: %v", ClassOf(err), c.class, err)
				}
				if !s.Live() || client.Session() != s {
					t.Error("the session did not survive")
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestHandshakesThatCannotBe(t *testing.T) {
	whole := make([]byte, 36)
	binary.BigEndian.PutUint32(whole[16:], 16)
	for name, reply := range map[string][]byte{
		"refused":       whole,
		"short":         whole[:19],
		"long password": append(append([]byte{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9}, u32(500)...), whole[20:]...),
		"no timeout":    append(append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, u32(16)...), whole[20:]...),
		"too long":      make([]byte, 4000),
		"empty":         {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dials := 0
				dial := func(context.Context, string, string) (net.Conn, error) {
					dials++
					near, far := net.Pipe()
					go func() {
						if _, err := readFrame(far, maxHandshake); err == nil {
							_ = writeFrame(far, reply)
						}
						_, _ = readFrame(far, maxHandshake)
						_ = far.Close()
					}()
					return near, nil
				}
				began := time.Now()
				_, err := Open(t.Context(), Config{Connect: "zk", Dial: dial, ConnectTimeout: 10 * time.Second})
				if err == nil || time.Since(began) > 13*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if dials < 5 || dials > 45 {
					t.Errorf("%d attempts in 10 s: too eager or too shy", dials)
				}
			})
		})
	}
}

// FuzzServer lets a server answer one request with anything: the library must not be brought to panic.
func FuzzServer(f *testing.F) {
	stat := make([]byte, statSize)
	f.Add(opGet, int32(0), append(u32(1), append([]byte("x"), stat...)...))
	f.Add(opChildren, int32(0), append(append(u32(1, 1), 'a'), stat...))
	f.Add(opMulti, int32(0), append(append(append(append(u32(opSet), 0), u32(0)...), stat...), append(append(u32(-1), 1), u32(-1)...)...))
	f.Add(opMulti, int32(0), append(append(append(u32(-1), 0), u32(-103, -103)...), append(append(u32(-1), 1), u32(-1)...)...))
	f.Add(opCreate, int32(-110), []byte{})
	f.Add(opSync, int32(0), u32(0))
	f.Add(opExists, int32(-101), stat)
	f.Fuzz(func(t *testing.T, op, code int32, body []byte) {
		ops := []int32{opCreate, opExists, opGet, opSet, opDelete, opSync, opChildren, opMulti}
		op = ops[uint32(op)%uint32(len(ops))]
		asked := 0
		srv := &scripted{answer: func(xid, _ int32) [][]byte {
			if asked++; asked > 1 {
				return nil
			}
			return [][]byte{replyFrame(xid, code, body)}
		}}
		synctest.Test(t, func(t *testing.T) {
			client, err := Open(t.Context(), Config{Connect: "zk", Dial: srv.dial})
			if err != nil {
				t.Fatal(err)
			}
			_ = do(t.Context(), client.Session(), op)
			if err := client.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

// FuzzHandshake reads handshakes of every form.
func FuzzHandshake(f *testing.F) {
	f.Add(make([]byte, 36))
	f.Add(make([]byte, 37))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseHandshake(body)
		if err == nil && len(r.password) > len(body) {
			t.Fatalf("a password of %d bytes out of %d", len(r.password), len(body))
		}
	})
}

// FuzzConnect reads connect strings of every form.
func FuzzConnect(f *testing.F) {
	for _, s := range []string{"h", "h:1,i/chroot", "[::1]:2,[::2]", "/x", ",", "h:1/a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, connect string) {
		addrs, chroot, err := parseConnect(connect)
		if err != nil {
			return
		}
		if len(addrs) == 0 || chroot == "/" || strings.HasSuffix(chroot, "/") {
			t.Fatalf("%q: %v %q", connect, addrs, chroot)
		}
		for _, a := range addrs {
			if _, _, err := net.SplitHostPort(a); err != nil {
				t.Fatalf("%q: %v", connect, err)
			}
		}
	})
}

func TestParseConnect(t *testing.T) {
	for _, c := range []struct {
		connect string
		addrs   []string
		chroot  string
		bad     bool
	}{
		{connect: "localhost", addrs: []string{"localhost:2181"}},
		{connect: "a:1, b ,c:3/kafka/x", addrs: []string{"a:1", "b:2181", "c:3"}, chroot: "/kafka/x"},
		{connect: "a:1/", addrs: []string{"a:1"}},
		{connect: "[::1],[::2]:7", addrs: []string{"[::1]:2181", "[::2]:7"}},
		{connect: "", bad: true},
		{connect: "/x", bad: true},
		{connect: "a:1/x/", bad: true},
		{connect: "a:1/x//y", bad: true},
		{connect: "a:1/x,b:2/y:3", addrs: []string{"a:1"}, chroot: "/x,b:2/y:3"}, // as Java's client: everything after the first slash
		{connect: "::1", bad: true},
		{connect: ":2181", bad: true},
		{connect: "a:", bad: true},
	} {
		addrs, chroot, err := parseConnect(c.connect)
		if (err != nil) != c.bad || !c.bad && (!cmp.Equal(addrs, c.addrs) || chroot != c.chroot) {
			t.Errorf("%q: %v %q %v", c.connect, addrs, chroot, err)
		}
		if err != nil && !strings.Contains(err.Error(), "connect string") {
			t.Errorf("%q: %v", c.connect, err)
		}
	}
}

func TestHostsRestAndTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		h := newHosts([]string{"a", "b"}, func() bool { return over })
		first, _ := h.Next()
		second, _ := h.Next()
		if first == second {
			t.Errorf("the same server twice: %s", first)
		}
		var waited []time.Duration
		for range 14 {
			began := time.Now()
			h.Next()
			if err := h.pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			waited = append(waited, time.Since(began))
		}
		if waited[0] > 70*time.Millisecond || waited[12]+waited[13] < maxHostPause || waited[12]+waited[13] > maxHostPause*5/4 {
			t.Errorf("waited %v", waited)
		}
		h.Connected()
		at := h.current.addr
		<-time.After(time.Minute)
		began := time.Now()
		if next, retry := h.Next(); next == at || retry || h.pause(t.Context()) != nil || time.Since(began) > 0 {
			t.Errorf("after a loss: %s again, or late, or %v", next, retry)
		}
		over = true
		if _, retry := h.Next(); !retry {
			t.Error("the end was not reported")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.pause(ctx); err == nil {
			t.Error("a pause outlived its context")
		}
		if h.Len() != 2 || h.Init(nil) != nil {
			t.Error("the list changed")
		}
	})
}

func TestErrorTexts(t *testing.T) {
	err := failure("set", "/a", Ambiguous, errors.New("reset"))
	if got := err.Error(); got != "zookeeper set /a: outcome unknown: reset" {
		t.Error(got)
	}
	if ClassOf(nil) != OK || ClassOf(errors.New("x")) != Ambiguous {
		t.Error("classes of other errors")
	}
	var names []string
	for c := OK; c <= Ambiguous; c++ {
		names = append(names, c.String())
	}
	for _, e := range []EventType{EventCreated, EventDeleted, EventDataChanged, EventChildrenChanged, EventResync, 0} {
		names = append(names, e.String())
	}
	if got := strings.Join(names, ","); got != "ok,definite,not sent,ambiguous,created,deleted,data changed,children changed,resync,unknown" {
		t.Error(got)
	}
}
