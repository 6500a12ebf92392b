package shell

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/jute"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen collects what a shell prints, to both streams.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// take returns what was printed since the last call.
func (s *screen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

// lab is a server in memory, in virtual time, and a person at a shell.
type lab struct {
	t      *testing.T
	net    *memnet.Network
	server *embedded.Server
	keys   *io.PipeWriter
	screen *screen
	code   chan int
}

// newLab starts a shell and carries out the test.
func newLab(t *testing.T, connect string, test func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: memnet.New(), screen: &screen{}, code: make(chan int, 1)}
		l.start(vfs.NewMem())
		in, keys := io.Pipe()
		l.keys = keys
		dial := l.net.Dialer("me")
		go func() {
			l.code <- Run(t.Context(), Config{
				Connect: connect, Timeout: 6 * time.Second, Wait: true, Prompt: true, In: in, Out: l.screen, Err: l.screen, Location: time.UTC, Version: "v",
				Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
			})
		}()
		synctest.Wait()
		defer func() {
			_ = keys.Close()
			<-l.code
			_ = l.server.Close()
		}()
		test(l)
	})
}

// start starts the server.
func (l *lab) start(disk vfs.FS) {
	l.t.Helper()
	ln, err := l.net.Listen("zk:2181")
	if err != nil {
		l.t.Fatal(err)
	}
	l.server, err = embedded.Start(embedded.Config{DataDir: "/zk", FS: disk, Listener: ln, TickTime: 500 * time.Millisecond, MaxClientCnxns: -1})
	if err != nil {
		l.t.Fatal(err)
	}
}

// see checks what was printed since the last look.
func (l *lab) see(want string) {
	l.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, l.screen.take()); diff != "" {
		l.t.Fatalf("(-want +got):\n%s", diff)
	}
}

// do types a line and checks what comes of it, up to the next prompt, which is left out.
func (l *lab) do(line, want string) {
	l.t.Helper()
	if _, err := io.WriteString(l.keys, line+"\n"); err != nil {
		l.t.Fatal(err)
	}
	synctest.Wait()
	got := l.screen.take()
	if i := strings.LastIndex(got, "[zk: "); i >= 0 {
		got = got[:i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Fatalf("%s (-want +got):\n%s", line, diff)
	}
}

const (
	connectedEvent    = "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null\n"
	disconnectedEvent = "\nWATCHER::\n\nWatchedEvent state:Disconnected type:None path:null\n"
)

func TestAPersonSeesAPrompt(t *testing.T) {
	newLab(t, "zk:2181", func(l *lab) {
		l.see("Connecting to zk:2181\n" + connectedEvent + "Welcome to ZooKeeper!\nJLine support is disabled\n[zk: zk:2181(CONNECTED) 0] ")
		l.do("create /a 1", "Created /a\n")
		l.do("   ", "")
		l.do("get /a", "1\n")
		l.do("redo 1", "1\n")
		l.do("redo 3", "Command index out of range\n")
		l.do("redo x", "For input string: \"x\"\n")
		l.do("history", "0 - create /a 1\n1 - get /a\n2 - get /a\n3 - redo 3\n4 - redo x\n5 - history\n")
		l.do("quit", "\nWATCHER::\n\nWatchedEvent state:Closed type:None path:null\n")
	})
}

func TestWatchesOutliveAConnection(t *testing.T) {
	newLab(t, "zk:2181", func(l *lab) {
		l.screen.take()
		l.do("addauth digest bob:pw", "")
		l.do("create /a 1 auth::cdrwa", "Created /a\n")
		l.do("get -w /a", "1\n")
		l.do("stat -w /b", "Node does not exist: /b\n")
		l.do("ls -w /", "[a, zookeeper]\n")
		l.do("addWatch /tree", "")

		l.net.Reset("me", "zk")
		l.see(disconnectedEvent + connectedEvent)

		watched := func(kind, path string) string {
			return fmt.Sprintf("\nWATCHER::\n\nWatchedEvent state:SyncConnected type:%s path:%s\n", kind, path)
		}
		l.do("set /a 2", watched("NodeDataChanged", "/a")) // bob is still bob
		l.do("set /a 3", "")
		l.do("create /b 1", watched("NodeCreated", "/b")+watched("NodeChildrenChanged", "/")+"Created /b\n")
		l.do("create /tree 1", watched("NodeCreated", "/tree")+"Created /tree\n")
		l.do("create /tree/x 1", watched("NodeCreated", "/tree/x")+"Created /tree/x\n")
		l.do("removewatches /tree", watched("PersistentWatchRemoved", "/tree"))
		l.do("create /tree/y 1", "Created /tree/y\n")
	})
}

func TestASessionThatIsGone(t *testing.T) {
	newLab(t, "zk:2181", func(l *lab) {
		l.screen.take()
		l.do("create -e /e 1", "Created /e\n")
		l.net.Cut("me", "zk")
		<-time.After(time.Minute)
		l.see(disconnectedEvent)
		l.do("ls /", "")
		<-time.After(10 * time.Second)
		if got := l.screen.take(); !strings.HasPrefix(got, "KeeperErrorCode = ConnectionLoss for /\n") {
			t.Errorf("without a server: %q", got)
		}
		l.net.Heal("me", "zk")
		<-time.After(10 * time.Second)
		l.see("\nWATCHER::\n\nWatchedEvent state:Expired type:None path:null\n")
		l.do("ls /", "Not connected\n")
		l.do("connect", connectedEvent)
		l.do("ls /", "[zookeeper]\n")
	})
}

func TestPathsAreBelowTheChroot(t *testing.T) {
	newLab(t, "zk:2181", func(l *lab) {
		l.screen.take()
		l.do("create /root x", "Created /root\n")
		l.do("connect zk:2181/root", "\nWATCHER::\n\nWatchedEvent state:Closed type:None path:null\n"+connectedEvent)
		l.do("create -e /in x", "Created /in\n")
		l.do("create -s /in x", "Created /in0000000001\n")
		l.do("getEphemerals", "[/in]\n")
		l.do("ls -R /", "/\n/in\n/in0000000001\n")
		l.do("get -w /in", "x\n")
		l.do("deleteall /in", "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDeleted path:/in\n")
		l.do("get /", "x\n")
		l.do("connect zk:2181/ro//ot", "Invalid path string \"/ro//ot\" caused by empty node name specified @4\n")
	})
}

func TestWhereToConnect(t *testing.T) {
	for in, want := range map[string]connectString{
		"a":             {[]string{"a:2181"}, ""},
		"a:1,b:2/x/y":   {[]string{"a:1", "b:2"}, "/x/y"},
		"[::1]:5, ::2/": {[]string{"[::1]:5", "[::2]:2181"}, ""},
	} {
		got, err := parseConnect(in)
		if err != nil || !cmp.Equal(want, got, cmp.AllowUnexported(connectString{})) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	if _, err := parseConnect("/x"); err == nil {
		t.Error("no server")
	}
}

func TestPathsInAndOutOfAChroot(t *testing.T) {
	c := connectString{chroot: "/k"}
	for local, server := range map[string]string{"/": "/k", "/a": "/k/a", "/a/b": "/k/a/b"} {
		if got := c.onServer(local); got != server {
			t.Errorf("%s on the server: %s", local, got)
		}
		if got := c.local(server); got != local {
			t.Errorf("%s locally: %s", server, got)
		}
	}
	if got := c.local("/kind"); got != "/kind" {
		t.Error(got)
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{`create -s -t 5 "/a b" 'x'`, `ls -sRw /`, `set -v-1 /x --`, `"`, `'a"b`, `get -`, `reconfig -add= -remove`, "\x00\xff", `/`, `create /\ud800 /.. /.`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := splitLine(line)
		for _, c := range commands {
			if a, err := parseArguments(args, c); err == nil {
				for _, p := range a.rest {
					_ = checkPath(p)
					_ = checkNewPath(p, true)
				}
				_, _ = a.version()
			}
		}
		s := &shell{cfg: Config{Out: io.Discard, Err: io.Discard}.withDefaults()}
		s.parseACL(line)
		if q, err := parseQuota([]byte(line)); err == nil {
			if again, err := parseQuota([]byte(q.String())); err != nil || again.String() != q.String() {
				t.Errorf("quota %q read again is %v, %v", q, again, err)
			}
		}
		_, _ = parseConnect(line)
		clientConfig(line)
		memberLines(line)
	})
}

// FuzzServer lets a server answer every request with the same bytes.
func FuzzServer(f *testing.F) {
	var e jute.Encoder
	e.Strings([]string{"a", "b"})
	(&jute.Stat{}).Encode(&e)
	f.Add(e.Bytes(), uint32(0))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff}, uint32(0))
	f.Add([]byte{}, uint32(0xffffff9b))
	f.Fuzz(func(t *testing.T, body []byte, code uint32) {
		for _, command := range []string{"ls /a", "ls -R /a", "get -s /a", "getAcl /a", "getEphemerals", "getAllChildrenNumber /a", "whoami", "create -s /a", "listquota /a", "config -s -c", "removewatches /a", "sync /a"} {
			Run(t.Context(), Config{Connect: "fake", Command: strings.Fields(command), Out: io.Discard, Err: io.Discard, Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go serveFuzz(theirs, body, jute.Code(code))
				return ours, nil
			}})
		}
	})
}

// serveFuzz grants a session and answers a few requests.
func serveFuzz(nc net.Conn, body []byte, code jute.Code) {
	defer func() { _ = nc.Close() }()
	if _, err := jute.ReadFrame(nc, 1<<20); err != nil {
		return
	}
	send := func(r jute.Record, more []byte) {
		var e jute.Encoder
		at := e.BeginFrame()
		r.Encode(&e)
		e.Raw(more)
		e.EndFrame(at)
		_, _ = nc.Write(e.Bytes())
	}
	send(&jute.ConnectResponse{TimeoutMs: 6000, SessionID: 1, Password: make([]byte, 16)}, nil)
	for range 20 {
		p, err := jute.ReadFrame(nc, 1<<20)
		if err != nil {
			return
		}
		var h jute.RequestHeader
		h.Decode(jute.NewDecoder(p))
		if h.Op == jute.OpCloseSession {
			send(&jute.ReplyHeader{Xid: h.Xid}, nil)
			return
		}
		send(&jute.ReplyHeader{Xid: jute.XidNotification}, body)
		send(&jute.ReplyHeader{Xid: h.Xid, Err: code}, body)
	}
}
