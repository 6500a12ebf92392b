package embedded_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

func TestASilentConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem())
		began := time.Now()
		w.from("client").Open(t).ExpectEnd(time.Minute)
		half := w.from("client").Open(t)
		half.SendRaw([]byte{0, 0, 0, 44, 0}) // a handshake that never ends
		half.ExpectEnd(time.Minute)
		if took := time.Since(began); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("closed after %v for both", took)
		}
		w.close()
	})
}

func TestConnectionsFromOneAddressAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) {
			c.MaxClientCnxns = 3
			c.Limits.MaxConnections = 5
		})
		a := []*zktest.Client{w.from("a").Connect(t), w.from("a").Connect(t), w.from("a").Connect(t)}
		w.from("a").Open(t).ExpectEnd(time.Minute)
		w.from("b").Connect(t)
		w.from("b").Connect(t)
		w.from("c").Open(t).ExpectEnd(time.Minute) // five in all
		a[0].EndSession()
		a[0].Close()
		synctest.Wait()
		w.from("a").Connect(t).Ping()
		w.close()
	})
}

// TestAClientThatDoesNotRead is stopped from asking more, and delays nobody.
func TestAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) {
			c.Limits.SoftQueue, c.Limits.HardQueue = 1<<20, 8<<20
		})
		c, other := w.connect(), w.connect()
		c.MustCreate("/big", make([]byte, 500_000), jute.ModePersistent)
		const asked = 100 // 50 MB of answers
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range asked {
				c.Send(jute.OpGetData, &jute.PathWatchRequest{Path: "/big"})
			}
		}()
		synctest.Wait()
		if took := quickPing(other); took > time.Second {
			t.Errorf("another client's ping took %v", took)
		}
		for i := range asked {
			if r := c.Receive(); r.Err != jute.OK || len(r.Body.Buffer()) != 500_000 {
				t.Fatalf("answer %d: %v", i, r.Err)
			}
		}
		<-sent
		w.close()
	})
}

func quickPing(c *zktest.Client) time.Duration {
	began := time.Now()
	c.Ping()
	return time.Since(began)
}

// TestAFloodOfEventsToOneThatDoesNotRead ends its connection at the hard limit.
func TestAFloodOfEventsToOneThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) {
			c.Limits.SoftQueue, c.Limits.HardQueue = 16<<10, 64<<10
		})
		deaf, c := w.connect(), w.connect()
		long := "/" + strings.Repeat("x", 1000)
		c.MustCreate(long, nil, jute.ModePersistent)
		deaf.Call(jute.OpAddWatch, &jute.AddWatchRequest{Path: long})
		for range 600 { // 600 kB; the network holds 256 KiB
			c.Set(long, nil, -1)
		}
		for {
			if _, err := deaf.TryFrame(time.Minute); err != nil {
				break
			}
		}
		if r := c.Ping(); r.Err != jute.OK {
			t.Error(r.Err)
		}
		w.close()
	})
}

func TestCloseDoesNotWaitForADeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem())
		c := w.connect()
		c.MustCreate("/big", make([]byte, 900_000), jute.ModePersistent)
		for range 3 {
			c.Send(jute.OpGetData, &jute.PathWatchRequest{Path: "/big"})
		}
		synctest.Wait()
		began := time.Now()
		w.close()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("close took %v", took)
		}
	})
}

func TestReapingAndTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) { c.ExtendedTypes = true })
		c := w.connect()
		ttl := &jute.CreateRequest{Path: "/ttl", ACL: zktest.OpenACL(), Mode: jute.ModeTTL, TTLMs: 20_000, HasTTL: true}
		if r := c.Call(jute.OpCreateTTL, ttl); r.Err != jute.OK {
			t.Fatal(r.Err)
		}
		ttl.TTLMs = 1 << 40
		if r := c.Call(jute.OpCreateTTL, ttl); r.Err != jute.BadArguments {
			t.Errorf("a TTL beyond the limit: %v", r.Err)
		}
		c.MustCreate("/box", nil, jute.ModeContainer)
		c.MustCreate("/box/x", nil, jute.ModePersistent)
		c.MustCreate("/never", nil, jute.ModeContainer)
		c.Delete("/box/x", -1)
		c.Exists("/box", true)
		for range 61 {
			pass(time.Second)
			c.Ping()
		}
		for path, want := range map[string]jute.Code{"/ttl": jute.NoNode, "/box": jute.NoNode, "/never": jute.OK} {
			if _, code := c.Exists(path, false); code != want {
				t.Errorf("%s after the first round: %v", path, code)
			}
		}
		w.close()
	})
}

func TestSuperAndSkippedAccessLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) { c.SuperDigest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=" })
		c := w.connect()
		nobody := []jute.ACL{{Perms: 31, Scheme: "digest", ID: "x:y"}}
		if r := c.Call(jute.OpCreate, &jute.CreateRequest{Path: "/p", ACL: nobody}); r.Err != jute.OK {
			t.Fatal(r.Err)
		}
		if _, _, code := c.Get("/p", false); code != jute.NoAuth {
			t.Errorf("without super: %v", code)
		}
		c.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte("super:test")})
		if _, _, code := c.Get("/p", false); code != jute.OK {
			t.Errorf("with super: %v", code)
		}
		w.cfg.SkipACL = true
		if err := w.restart(w.cfg.FS); err != nil {
			t.Fatal(err)
		}
		if _, _, code := w.connect().Get("/p", false); code != jute.OK {
			t.Errorf("with skipACL: %v", code)
		}
		w.close()
	})
}

func TestIdentitiesOfAConnectionAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem())
		c := w.connect()
		for i := 0; ; i++ {
			r := c.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte{byte(i), byte(i >> 8), ':'}})
			if r.Err == jute.AuthFailed && i > 40 {
				break
			}
			if r.Err != jute.OK || i > 1000 {
				t.Fatalf("identity %d: %v", i, r.Err)
			}
		}
		c.ExpectEnd(time.Minute)
		w.close()
	})
}

func TestLittleRequestsCannotHoldMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) {
			c.Limits.HardQueue, c.Limits.MaxWatchBytes, c.Limits.MaxSessions = 4<<20, 1<<20, 4
		})
		c := w.connect()
		c.MustCreate("/big", make([]byte, 1_000_000), jute.ModePersistent)
		reads := make([]jute.MultiOp, 1000) // a gigabyte
		for i := range reads {
			reads[i] = jute.MultiOp{Op: jute.OpGetData, Record: &jute.PathWatchRequest{Path: "/big"}}
		}
		if r, _ := c.Multi(jute.OpMultiRead, reads...); r.Err != jute.SystemError {
			t.Errorf("reading a gigabyte: %v", r.Err)
		}
		if r := c.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: make([]byte, 100_000)}); r.Err != jute.AuthFailed {
			t.Errorf("a long identity: %v", r.Err)
		}
		c = w.connect()
		for i := range 60 {
			c.Call(jute.OpAuth, &jute.AuthRequest{Scheme: "digest", Auth: []byte(strings.Repeat("x", 900) + string(rune('0'+i)) + ":")})
		}
		acl := make([]jute.ACL, 31)
		for i := range acl {
			acl[i] = jute.ACL{Perms: int32(i + 1), Scheme: "auth"}
		}
		if r := c.Call(jute.OpCreate, &jute.CreateRequest{Path: "/acl", ACL: acl}); r.Err != jute.InvalidACL {
			t.Errorf("an access list that expands to megabytes: %v", r.Err)
		}
		watcher := w.connect()
		for i := range 3 {
			watcher.Send(jute.OpExists, &jute.PathWatchRequest{Path: strings.Repeat("x", 400_000+i), Watch: true})
		}
		for {
			if _, err := watcher.TryFrame(time.Minute); err != nil {
				break
			}
		}
		w.connect()
		fifth := w.from("client").Open(t)
		fifth.SendRecord(&jute.ConnectRequest{TimeoutMs: 5000})
		fifth.ExpectEnd(time.Minute)
		w.close()
	})
}

func TestWordsOutsideTheWhitelist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewMem(), func(c *embedded.Config) { c.Whitelist4lw = nil })
		for word, want := range map[string]string{
			"ruok": "ruok is not executed because it is not in the whitelist.\n", "srvr": "Zookeeper version: ",
		} {
			nc, err := w.from("client").Dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(nc, word); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(got), want) {
				t.Errorf("%s: %q, %v", word, got, err)
			}
			_ = nc.Close()
		}
		w.close()
	})
}

// FuzzConnection sends arbitrary bytes after a handshake: the server must live on.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x0b"))
	f.Add([]byte("\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01/\x01"))
	f.Add([]byte("\x00\x00\x00\x1e\x00\x00\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\xff\xff\xff\xff\x00\x00\x00\x01/"))
	s, err := embedded.Start(embedded.Config{DataDir: "/data", FS: vfs.NewMem(), Addr: "127.0.0.1:0", TickTime: tick, MaxClientCnxns: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	target := zktest.Server{Tick: tick, Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.Addr().String())
	}}
	f.Fuzz(func(t *testing.T, p []byte) {
		c := target.Connect(t)
		c.SendRaw(p)
		c.Close()
		well := target.Connect(t)
		if r := well.Ping(); r.Err != jute.OK {
			t.Fatal(r.Err)
		}
		well.EndSession()
		well.Close()
	})
}

// FuzzRequest sends one well-framed request with an arbitrary operation and body: the server must answer it or end the
// connection, live on, and be able to start again on what it has written.
func FuzzRequest(f *testing.F) {
	seeds := map[jute.Op]jute.Record{
		jute.OpCreate:        &jute.CreateRequest{Path: "/f", Data: []byte("x"), ACL: zktest.OpenACL()},
		jute.OpCreateTTL:     &jute.CreateRequest{Path: "/f/t", ACL: zktest.OpenACL(), Mode: jute.ModeTTL, TTLMs: 1000, HasTTL: true},
		jute.OpDelete:        &jute.PathVersionRequest{Path: "/f", Version: -1},
		jute.OpSetData:       &jute.SetDataRequest{Path: "/f", Version: -1},
		jute.OpSetACL:        &jute.SetACLRequest{Path: "/f", ACL: []jute.ACL{{Perms: 31, Scheme: "ip", ID: "10.0.0.0/8"}}, Version: -1},
		jute.OpGetData:       &jute.PathWatchRequest{Path: "/f", Watch: true},
		jute.OpAuth:          &jute.AuthRequest{Scheme: "digest", Auth: []byte("a:b")},
		jute.OpAddWatch:      &jute.AddWatchRequest{Path: "/", Mode: jute.AddWatchPersistentRecursive},
		jute.OpSetWatches2:   &jute.SetWatchesRequest{Data: []string{"/f"}, Exist: []string{"/g"}, Child: []string{"/"}, V2: true},
		jute.OpRemoveWatches: &jute.PathTypeRequest{Path: "/", Type: jute.WatcherAny},
		jute.OpMulti: multiRecord{
			{Op: jute.OpCreate, Record: &jute.CreateRequest{Path: "/m-", ACL: zktest.OpenACL(), Mode: jute.ModePersistentSequential}},
			{Op: jute.OpCheck, Record: &jute.PathVersionRequest{Path: "/", Version: 0}},
		},
		jute.OpMultiRead: multiRecord{{Op: jute.OpGetData, Record: &jute.PathWatchRequest{Path: "/"}}},
		jute.OpReconfig:  &jute.ReconfigRequest{},
		jute.OpCheck:     &jute.PathVersionRequest{Path: "/", Version: -1},
	}
	for op, r := range seeds {
		var e jute.Encoder
		r.Encode(&e)
		f.Add(int32(op), e.Bytes())
	}
	network, disk := memnet.New(), vfs.NewMem()
	start := func() *embedded.Server {
		ln, err := network.Listen("zk:2181")
		if err != nil {
			f.Fatal(err)
		}
		s, err := embedded.Start(embedded.Config{
			DataDir: "/data", FS: disk, Listener: ln, TickTime: tick, MaxClientCnxns: -1, SnapCount: 100, ExtendedTypes: true,
		})
		if err != nil {
			f.Fatalf("no start on what is on the disk: %v", err)
		}
		return s
	}
	server, count := start(), 0
	restart := func(t testing.TB) {
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		server = start()
	}
	f.Cleanup(func() {
		restart(f)
		if err := server.Close(); err != nil {
			f.Error(err)
		}
	})
	dial := network.Dialer("client")
	target := zktest.Server{Tick: tick, Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, "zk:2181") }}
	f.Fuzz(func(t *testing.T, op int32, body []byte) {
		if count++; count%500 == 0 {
			restart(t)
		}
		c := target.Connect(t)
		c.SendXid(1, jute.Op(op), func(e *jute.Encoder) { e.Raw(body) })
		for {
			frame, err := c.TryFrame(20 * time.Second)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("neither an answer nor the end of the connection: %v", err)
			}
			var h jute.ReplyHeader
			if h.Decode(jute.NewDecoder(frame)); err != nil || h.Xid != jute.XidNotification {
				break
			}
		}
		c.Close()
		well := target.Connect(t)
		if r := well.Ping(); r.Err != jute.OK {
			t.Fatal(r.Err)
		}
		well.EndSession()
	})
}

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := embedded.Start(embedded.Config{DataDir: dir, Addr: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSet measures writes of one client that waits for each, and of one that keeps 64 in flight.
func BenchmarkSet(b *testing.B) {
	for name, depth := range map[string]int{"one at a time": 1, "64 in flight": 64} {
		b.Run(name, func(b *testing.B) {
			s, err := embedded.Start(embedded.Config{DataDir: b.TempDir(), Addr: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			target := zktest.Server{Tick: 3 * time.Second, Dial: func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", s.Addr().String())
			}}
			c := target.Connect(b)
			c.MustCreate("/a", nil, jute.ModePersistent)
			rq := &jute.SetDataRequest{Path: "/a", Data: make([]byte, 100), Version: -1}
			inFlight := 0
			b.ReportAllocs()
			for b.Loop() {
				c.Send(jute.OpSetData, rq)
				if inFlight++; inFlight == depth {
					c.Receive()
					inFlight--
				}
			}
			for ; inFlight > 0; inFlight-- {
				c.Receive()
			}
		})
	}
}
