package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/embedded/txlog"
	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
)

// world is a server on a disk and a network in memory.
type world struct {
	t    *testing.T
	net  *memnet.Network
	cfg  embedded.Config
	zk   *embedded.Server
	addr string
}

const tick = 500 * time.Millisecond

// newWorld starts a server on the given file system.
func newWorld(t *testing.T, fs vfs.FS, change ...func(*embedded.Config)) *world {
	t.Helper()
	w := &world{t: t, net: memnet.New(), addr: "zk:2181"}
	w.cfg = embedded.Config{DataDir: "/data", FS: fs, TickTime: tick, Whitelist4lw: []string{"*"}}
	for _, f := range change {
		f(&w.cfg)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.zk.Close() }) // inside the bubble, also when the test has failed
	return w
}

func (w *world) start() error {
	ln, err := w.net.Listen(w.addr)
	if err != nil {
		return err
	}
	w.cfg.Listener = ln
	w.zk, err = embedded.Start(w.cfg)
	return err
}

// restart ends the server and starts one on another disk.
func (w *world) restart(fs vfs.FS) error {
	_ = w.zk.Close()
	w.cfg.FS = fs
	return w.start()
}

func (w *world) from(host string) zktest.Server {
	dial := w.net.Dialer(host)
	return zktest.Server{
		Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, w.addr) },
		Tick: tick,
	}
}

func (w *world) connect() *zktest.Client {
	w.t.Helper()
	return w.from("client").Connect(w.t)
}

// reattach takes up a session after a restart.
func (w *world) reattach(c *zktest.Client) *zktest.Client {
	w.t.Helper()
	again := w.from("client").Open(w.t)
	r := again.Handshake(jute.ConnectRequest{SessionID: c.Session, Password: c.Password, LastZxidSeen: c.LastZxid, TimeoutMs: 5000})
	if r.SessionID != c.Session {
		w.t.Fatalf("session 0x%x cannot be taken up after a restart", c.Session)
	}
	return again
}

func (w *world) close() {
	w.t.Helper()
	if err := w.zk.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func TestARestartKeepsNodesAndSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld(t, fs)
		c := w.connect()
		dir := c.MustCreate("/dir", []byte("data"), jute.ModePersistent)
		c.MustCreate(dir+"/e", []byte("eph"), jute.ModeEphemeral)
		c.MustCreate(dir+"/s-", nil, jute.ModePersistentSequential)
		gone := w.connect()
		gone.MustCreate(dir+"/gone", nil, jute.ModeEphemeral)
		gone.EndSession()
		before := []jute.Stat{c.MustStat(dir), c.MustStat(dir + "/e")}
		if err := w.restart(fs); err != nil {
			t.Fatal(err)
		}
		again := w.reattach(c)
		if after := []jute.Stat{again.MustStat(dir), again.MustStat(dir + "/e")}; after[0] != before[0] || after[1] != before[1] {
			t.Errorf("stats before %+v, after %+v", before, after)
		}
		if p := again.MustCreate(dir+"/s-", nil, jute.ModePersistentSequential); p != dir+"/s-0000000003" {
			t.Errorf("next sequential node %s", p)
		}
		if again.LastZxid != c.LastZxid+1 {
			t.Errorf("zxid 0x%x after 0x%x", again.LastZxid, c.LastZxid)
		}
		w.close()
	})
}

func TestAfterARestartASessionHasItsWholeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld(t, fs)
		c := w.connect() // 5 s
		c.MustCreate("/e", nil, jute.ModeEphemeral)
		pass(4 * time.Second)
		if err := w.restart(fs); err != nil {
			t.Fatal(err)
		}
		pass(4 * time.Second)
		if _, code := w.connect().Exists("/e", false); code != jute.OK {
			t.Errorf("the ephemeral is gone 4 s after the restart: %v", code)
		}
		pass(2 * time.Second)
		if _, code := w.connect().Exists("/e", false); code != jute.NoNode {
			t.Errorf("the ephemeral is there 6 s after the restart: %v", code)
		}
		w.close()
	})
}

// TestPowerCutAfterEveryWrite runs one history and cuts the power after each operation that changes the disk, with
// three fates of what was not synced. Whatever was acknowledged must be there after the restart, and nothing torn.
func TestPowerCutAfterEveryWrite(t *testing.T) {
	var counter vfs.Counter
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.Inject(vfs.NewMem(), &counter), snapEvery(5))
		writeNumbers(w, 0)
		w.close()
	})
	total := counter.Mutations()
	if total < 50 {
		t.Fatalf("the history has only %d writes", total)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 0; n < total; n += step {
		for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll, vfs.KeepRandom} {
			synctest.Test(t, func(t *testing.T) { cutAndCheck(t, n, keep) })
		}
	}
}

func snapEvery(n int) func(*embedded.Config) {
	return func(c *embedded.Config) { c.SnapCount = n }
}

// writeNumbers writes numbers to a node, one after the other, until the server ends; it returns the last acknowledged one,
// and the sessions that were given.
func writeNumbers(w *world, from int) (acked int, c *zktest.Client) {
	acked = from - 1
	dial, err := w.from("client").Dial(context.Background())
	if err != nil {
		return acked, nil
	}
	_ = dial.Close()
	c = w.from("client").Open(w.t)
	rq := jute.ConnectRequest{TimeoutMs: 5000}
	c.SendRecord(&rq)
	body, err := c.TryFrame(time.Minute)
	if err != nil {
		return acked, nil
	}
	var r jute.ConnectResponse
	r.Decode(jute.NewDecoder(body))
	c.Session, c.Password = r.SessionID, r.Password
	for i := from; i < from+40; i++ {
		op := jute.OpSetData
		var rec jute.Record = &jute.SetDataRequest{Path: "/n", Data: []byte(strconv.Itoa(i)), Version: -1}
		if i == 0 {
			op = jute.OpCreate
			rec = &jute.CreateRequest{Path: "/n", Data: []byte("0"), ACL: zktest.OpenACL()}
		} else if i%7 == 3 {
			op = jute.OpCreate
			rec = &jute.CreateRequest{Path: fmt.Sprintf("/e-%d", i), ACL: zktest.OpenACL(), Mode: jute.ModeEphemeral}
		}
		if !c.TrySend(op, rec) {
			return acked, c
		}
		body, err := c.TryFrame(time.Minute)
		if err != nil {
			return acked, c
		}
		var h jute.ReplyHeader
		h.Decode(jute.NewDecoder(body))
		if h.Err != jute.OK {
			w.t.Fatalf("operation %d: %v", i, h.Err)
		}
		c.LastZxid = h.Zxid
		acked = i
	}
	return acked, c
}

func cutAndCheck(t *testing.T, n int, keep vfs.Keep) {
	mem := vfs.NewMem()
	w := &world{t: t, net: memnet.New(), addr: "zk:2181"}
	w.cfg = embedded.Config{DataDir: "/data", FS: vfs.Inject(mem, vfs.PowerCut(n)), TickTime: tick, SnapCount: 5}
	acked, c := -1, (*zktest.Client)(nil)
	if err := w.start(); err == nil {
		acked, c = writeNumbers(w, 0)
		_ = w.zk.Close()
	}
	mem.Kill()
	clone := mem.CrashClone(vfs.CrashOptions{Seed: uint64(n), Data: keep, Names: keep})
	w.cfg.FS = clone
	w.net = memnet.New()
	if err := w.start(); err != nil {
		t.Fatalf("cut after write %d, keep %d: no start: %v", n, keep, err)
	}
	defer w.close()
	if c == nil || acked < 0 {
		w.connect().MustCreate("/fresh", nil, jute.ModePersistent)
		return
	}
	again := w.reattach(c)
	data, _, code := again.Get("/n", false)
	if code != jute.OK {
		t.Fatalf("cut after write %d, keep %d: %d acknowledged, but the node is gone: %v", n, keep, acked, code)
	}
	got, err := strconv.Atoi(string(data))
	want := acked
	if acked%7 == 3 {
		want--
	}
	if err != nil || got < want || got > acked+1 {
		t.Fatalf("cut after write %d, keep %d: %d acknowledged, %q read", n, keep, acked, data)
	}
	for i := 3; i <= acked; i += 7 {
		if st := again.MustStat(fmt.Sprintf("/e-%d", i)); st.EphemeralOwner != c.Session {
			t.Fatalf("cut after write %d, keep %d: owner of /e-%d is 0x%x", n, keep, i, st.EphemeralOwner)
		}
	}
	// Life goes on, through another restart.
	again.MustCreate("/after", nil, jute.ModePersistent)
	if err := w.restart(clone.CrashClone(vfs.CrashOptions{})); err != nil {
		t.Fatalf("cut after write %d, keep %d: no second start: %v", n, keep, err)
	}
	w.reattach(again).MustStat("/after")
}

func TestADiskThatFailsStopsTheServer(t *testing.T) {
	broken := errors.New("the disk is broken")
	for name, op := range map[string]vfs.Op{"write": vfs.OpWrite, "sync": vfs.OpSync} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(broken), op)}
				mem := vfs.NewMem()
				w := newWorld(t, vfs.Inject(mem, fault))
				c := w.connect()
				reader := w.connect()
				c.MustCreate("/a", []byte("old"), jute.ModePersistent)
				reader.Get("/a", true)
				fault.Set(true)
				c.Send(jute.OpSetData, &jute.SetDataRequest{Path: "/a", Data: []byte("new"), Version: -1})
				c.ExpectEnd(time.Minute)      // no reply
				reader.ExpectEnd(time.Minute) // no event
				<-w.zk.Done()
				if err := w.zk.Err(); !errors.Is(err, broken) {
					t.Errorf("the server ended with %v", err)
				}
				if err := w.zk.Close(); !errors.Is(err, broken) {
					t.Errorf("close returns %v", err)
				}
				if n := mem.OpenFiles(); n != 0 {
					t.Errorf("%d files are still open", n)
				}
			})
		})
	}
}

func TestAFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	for budget := int64(3000); budget < 6000; budget += 131 {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewMem()
			w := newWorld(t, vfs.Inject(mem, vfs.DiskFull(budget)))
			acked, c := writeNumbers(w, 0)
			_ = w.zk.Close()
			if c == nil {
				return
			}
			if err := w.restart(mem); err != nil {
				t.Fatalf("budget %d: %v", budget, err)
			}
			data, _, _ := w.reattach(c).Get("/n", false)
			if got, _ := strconv.Atoi(string(data)); acked >= 0 && acked%7 != 3 && got < acked {
				t.Errorf("budget %d: %d acknowledged, %q read", budget, acked, data)
			}
			w.close()
		})
	}
}

// TestNothingIsSeenBeforeItIsDurable slows the disk down: neither the reply, nor an event, nor a read by another client
// may show a change before the sync has ended, and many waiting writes share one sync.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &vfs.Toggle{Inner: vfs.OnOps(vfs.Latency(time.Second), vfs.OpSync)}
		var counter vfs.Counter
		w := newWorld(t, vfs.Inject(vfs.NewMem(), slow, &counter))
		c, reader := w.connect(), w.connect()
		c.MustCreate("/a", []byte("old"), jute.ModePersistent)
		reader.Get("/a", true)
		slow.Set(true)
		began, syncs := time.Now(), counter.Count(vfs.OpSync)
		for i := range 100 {
			c.Send(jute.OpSetData, &jute.SetDataRequest{Path: "/a", Data: []byte(strconv.Itoa(i)), Version: -1})
		}
		synctest.Wait()
		reader.Send(jute.OpGetData, &jute.PathWatchRequest{Path: "/a"})
		event := reader.NextEvent()
		if took := time.Since(began); event.Type != jute.EventNodeDataChanged || took < time.Second {
			t.Errorf("event %+v after %v, the sync takes 1s", event, took)
		}
		r := reader.Receive()
		if data := r.Body.Buffer(); string(data) != "99" || time.Since(began) < 2*time.Second {
			t.Errorf("read %q after %v", data, time.Since(began))
		}
		for i := range 100 {
			if r := c.Receive(); r.Err != jute.OK {
				t.Fatalf("write %d: %v", i, r.Err)
			}
		}
		if n := counter.Count(vfs.OpSync) - syncs; n > 3 {
			t.Errorf("%d syncs for 100 writes", n)
		}
		slow.Set(false)
		w.close()
	})
}

// TestAStalledDiskExpiresNobody: while requests wait for the server's own disk, clients cannot be blamed for silence.
func TestAStalledDiskExpiresNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &vfs.Toggle{Inner: vfs.OnOps(vfs.Latency(15*time.Second), vfs.OpSync)}
		w := newWorld(t, vfs.Inject(vfs.NewMem(), slow), func(c *embedded.Config) { c.Limits.MaxPending = 1 })
		c, other := w.connect(), w.connect() // 5 s each
		slow.Set(true)
		c.Send(jute.OpCreate, &jute.CreateRequest{Path: "/a", ACL: zktest.OpenACL()})
		c.Send(jute.OpCreate, &jute.CreateRequest{Path: "/b", ACL: zktest.OpenACL()})
		for range 100 { // more than the core's queue holds
			c.Send(jute.OpPing, nil)
		}
		synctest.Wait()
		other.Send(jute.OpPing, nil)
		synctest.Wait()
		slow.Set(false)
		for range 102 {
			if r := c.Receive(); r.Err != jute.OK {
				t.Fatal(r.Err)
			}
		}
		other.Receive()
		if r := other.Ping(); r.Err != jute.OK {
			t.Error(r.Err)
		}
		w.close()
	})
}

func TestTheDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	cfg := embedded.Config{DataDir: dir, Addr: "127.0.0.1:0"}
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(cfg); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second server on the same directory: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = embedded.Start(cfg); err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestApachesDataIsNotOverlooked(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data/version-2", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(fs, "/data/version-2/snapshot.0", []byte("ZKSN"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(embedded.Config{DataDir: "/data", FS: fs, Addr: "127.0.0.1:0"})
	if !errors.Is(err, txlog.ErrForeignData) {
		t.Errorf("started beside Apache's data: %v", err)
	}
}

func TestSnapshotsArePurgedWithTheirLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		w := newWorld(t, fs, snapEvery(10))
		c := w.connect()
		c.MustCreate("/n", nil, jute.ModePersistent)
		for i := range 200 {
			c.Set("/n", bytes.Repeat([]byte("x"), i), -1)
			if i%20 == 0 {
				synctest.Wait() // let snapshots be written
			}
		}
		w.close()
		entries, err := fs.ReadDir("/data/embedded-1")
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, e := range entries {
			kind, _, _ := bytes.Cut([]byte(e.Name()), []byte("."))
			count[string(kind)]++
		}
		if count["snapshot"] != 3 || count["log"] < 3 || count["log"] > 5 {
			t.Errorf("files: %v", count)
		}
		if err := w.restart(fs); err != nil {
			t.Fatal(err)
		}
		if st := w.reattach(c).MustStat("/n"); st.Version != 200 {
			t.Errorf("version %d", st.Version)
		}
		w.close()
	})
}

func TestASnapshotThatFailsStopsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no room for snapshots")
		fault := &vfs.Toggle{Inner: vfs.OnBase("snapshot.*", vfs.Fail(broken))}
		mem := vfs.NewMem()
		w := newWorld(t, vfs.Inject(mem, fault), snapEvery(10))
		c := w.connect()
		fault.Set(true)
		for i := range 20 {
			if !c.TrySend(jute.OpCreate, &jute.CreateRequest{Path: fmt.Sprintf("/%d", i), ACL: zktest.OpenACL()}) {
				break
			}
		}
		<-w.zk.Done()
		if err := w.zk.Err(); !errors.Is(err, broken) {
			t.Errorf("the server ended with %v", err)
		}
		if err := w.restart(mem); err != nil {
			t.Fatalf("no start on the disk as it was left: %v", err)
		}
	})
}
