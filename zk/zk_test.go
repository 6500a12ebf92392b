package zk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/zk/zktest/apachezk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open connects to a server for the length of the test.
func open(t *testing.T, cfg Config) *Client {
	t.Helper()
	if testing.Verbose() {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// testWriter sends log lines to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	fmt.Print("    " + string(p))
	return len(p), nil
}

func TestApacheOperationsBelowAChroot(t *testing.T) {
	addr := apachezk.Start(t)
	ctx := t.Context()
	c := open(t, Config{Connect: addr + "/kafka/a", SessionTimeout: 10 * time.Second, CreateChroot: true})
	s := c.Session()
	if s.ID() == 0 || len(s.Password()) != 16 || s.Timeout() != 10*time.Second {
		t.Errorf("session %x, password of %d bytes, timeout %v", s.ID(), len(s.Password()), s.Timeout())
	}
	if err := s.CreateAll(ctx, "/x/y/z", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateAll(ctx, "/x/y/z", []byte("other")); err != nil {
		t.Fatal(err)
	}
	data, st, err := s.Get(ctx, "/x/y/z")
	if err != nil || string(data) != "v" || st.Version != 0 {
		t.Errorf("get: %q %+v %v", data, st, err)
	}
	if data, _, err := s.Get(ctx, "/x"); err != nil || data != nil {
		t.Errorf("a parent holds %q (nil %v), want null: %v", data, data == nil, err)
	}
	if st, err = s.Set(ctx, "/x/y/z", []byte{}, 0); err != nil || st.Version != 1 {
		t.Errorf("set: %+v %v", st, err)
	}
	if data, _, err := s.Get(ctx, "/x/y/z"); err != nil || data == nil || len(data) != 0 {
		t.Errorf("empty data came back as %q (nil %v): %v", data, data == nil, err)
	}
	path, err := s.Create(ctx, "/x/seq_", nil, Sequential)
	if err != nil || path != "/x/seq_0000000001" {
		t.Errorf("sequential: %q %v", path, err)
	}
	names, _, err := s.Children(ctx, "/")
	if err != nil || !cmp.Equal(names, []string{"x"}) {
		t.Errorf("children of the chroot: %v %v", names, err)
	}
	if err := s.Sync(ctx, "/"); err != nil {
		t.Error(err)
	}
	refusals := []struct {
		name string
		err  error
		want error
	}{
		{"create", second(s.Create(ctx, "/x", nil, Persistent)), ErrNodeExists},
		{"create without parent", second(s.Create(ctx, "/q/r", nil, Persistent)), ErrNoNode},
		{"get", third(s.Get(ctx, "/nope")), ErrNoNode},
		{"set", second(s.Set(ctx, "/x/y/z", nil, 7)), ErrBadVersion},
		{"delete", s.Delete(ctx, "/x", AnyVersion), ErrNotEmpty},
	}
	for _, r := range refusals {
		if !errors.Is(r.err, r.want) || ClassOf(r.err) != Definite {
			t.Errorf("%s: %v (%v), want %v", r.name, r.err, ClassOf(r.err), r.want)
		}
	}
	for _, path := range []string{"", "x", "/x/", "//x", "/./x", "/a/..", "/a\x00b"} {
		if _, _, err := s.Get(ctx, path); !errors.Is(err, ErrInvalidPath) || ClassOf(err) != NotSent {
			t.Errorf("path %q: %v", path, err)
		}
	}
	if _, err := s.Create(ctx, "/big", make([]byte, MaxDataSize+1), Persistent); !errors.Is(err, ErrTooLarge) || ClassOf(err) != NotSent {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.Create(ctx, "/big", make([]byte, MaxDataSize-1000), Persistent); err != nil {
		t.Errorf("as large as allowed: %v", err)
	}
	// Seen without the chroot.
	plain := open(t, Config{Connect: addr, SessionTimeout: 10 * time.Second}).Session()
	if _, ok, err := plain.Exists(ctx, "/kafka/a/x/y/z"); err != nil || !ok {
		t.Errorf("the chroot is not where it should be: %v %v", ok, err)
	}
}

// second and third drop the results before an error.
func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestApacheMulti(t *testing.T) {
	c := open(t, Config{Connect: apachezk.Start(t) + "/m", SessionTimeout: 10 * time.Second, CreateChroot: true})
	s, ctx := c.Session(), t.Context()
	res, err := s.Multi(ctx, CreateOp("/a", nil, Ephemeral), SetOp("/a", []byte("1"), 0), CheckOp("/a", 1), CreateOp("/b", nil, Persistent), DeleteOp("/b", 0))
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Path != "/a" || res[1].Stat.EphemeralOwner != s.ID() || res[1].Stat.Czxid == 0 || len(res) != 5 {
		t.Errorf("results %+v", res)
	}
	_, err = s.Multi(ctx, CheckOp("/a", 1), CreateOp("/c", nil, Persistent), SetOp("/a", nil, 9), DeleteOp("/nope", 0))
	var refused *MultiError
	if !errors.As(err, &refused) || refused.Index != 2 || !errors.Is(err, ErrBadVersion) || ClassOf(err) != Definite {
		t.Errorf("refusal: %v", err)
	}
	if _, ok, _ := s.Exists(ctx, "/c"); ok {
		t.Error("a refused multi was applied")
	}
	if _, err = s.Multi(ctx, SetOp("/a", make([]byte, MaxDataSize/2), -1), SetOp("/a", make([]byte, MaxDataSize/2), -1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestApacheWatchesFireOnceForEachWhoAsked(t *testing.T) {
	c := open(t, Config{Connect: apachezk.Start(t) + "/w", SessionTimeout: 10 * time.Second, CreateChroot: true})
	s, ctx := c.Session(), t.Context()
	w1, w2 := s.Watch(), s.Watch()
	if _, ok, err := w1.Exists(ctx, "/n"); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := w2.Children(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	expect := func(w *Watcher, want Event) {
		t.Helper()
		got, err := w.Next(ctx)
		if err != nil || got != want {
			t.Fatalf("event %+v %v, want %+v", got, err, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CreateAll(ctx, "/n", nil))
	expect(w1, Event{EventCreated, "/n"})
	expect(w2, Event{EventChildrenChanged, "/"})
	for range 3 { // asking again sets no second watch
		must(third(w1.Get(ctx, "/n")))
		must(third(w2.Get(ctx, "/n")))
	}
	must(third(w2.Children(ctx, "/n")))
	must(second(s.Set(ctx, "/n", nil, -1)))
	expect(w1, Event{EventDataChanged, "/n"})
	expect(w2, Event{EventDataChanged, "/n"})
	must(s.Delete(ctx, "/n", -1))
	expect(w2, Event{EventDeleted, "/n"})
	must(s.Sync(ctx, "/"))
	if q := append(w1.Take(), w2.Take()...); len(q) != 0 {
		t.Errorf("more events: %v", q)
	}
}

func TestApacheSessionsEndAndNewOnesBegin(t *testing.T) {
	srv := apachezk.StartServer(t)
	c := open(t, Config{Connect: srv.Addr(), SessionTimeout: 10 * time.Second})
	ctx := t.Context()
	first := c.Session()
	if _, err := first.Create(ctx, "/e", nil, Ephemeral); err != nil {
		t.Fatal(err)
	}
	type report struct {
		kind string
		gen  uint64
	}
	reports := make(chan report, 10)
	acknowledge := make(chan struct{})
	current, remove := c.OnSession(Hooks{
		Expired: func(old *Session) {
			reports <- report{"expired", old.Gen()}
			<-acknowledge
		},
		New: func(s *Session) { reports <- report{"new", s.Gen()} },
	})
	defer remove()
	if current != first {
		t.Fatal("not the current session")
	}
	w := first.Watch()

	// Somebody with id and password closes the session: to us that is an expiry.
	if err := CloseSession(ctx, Config{Connect: srv.Addr(), SessionTimeout: 10 * time.Second}, first.ID(), first.Password()); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	if !errors.Is(first.Err(), ErrSessionExpired) || first.Live() || !first.Suspect() {
		t.Errorf("after the end: %v, live %v, suspect %v", first.Err(), first.Live(), first.Suspect())
	}
	if got := <-reports; got != (report{"expired", 1}) {
		t.Fatalf("report %v", got)
	}
	if _, err := first.Create(ctx, "/late", nil, Ephemeral); !errors.Is(err, ErrSessionExpired) || ClassOf(err) != NotSent {
		t.Errorf("an operation on a dead session: %v (%v)", err, ClassOf(err))
	}
	for {
		e, err := w.Next(ctx)
		if errors.Is(err, ErrSessionExpired) {
			break
		}
		if err != nil || e.Type != EventResync {
			t.Fatalf("watcher after the end: %v %v", e, err)
		}
	}
	if c.Session() != first {
		t.Error("a new session was made before the end of the old one was acknowledged")
	}
	close(acknowledge)
	if got := <-reports; got != (report{"new", 2}) {
		t.Fatalf("report %v", got)
	}
	s := c.Session()
	if s.Gen() != 2 || s.ID() == first.ID() || !s.Live() {
		t.Errorf("new session: gen %d, id %x", s.Gen(), s.ID())
	}
	for _, path := range []string{"/e", "/late"} {
		if _, ok, err := s.Exists(ctx, path); ok || err != nil {
			t.Errorf("%s: there %v, %v", path, ok, err)
		}
	}
}

func TestApacheSessionOutlivesARestartAndResyncsWatches(t *testing.T) {
	srv := apachezk.StartServer(t)
	c := open(t, Config{Connect: srv.Addr(), SessionTimeout: 10 * time.Second})
	s, ctx := c.Session(), t.Context()
	if err := s.CreateAll(ctx, "/n", nil); err != nil {
		t.Fatal(err)
	}
	w := s.Watch()
	if err := third(w.Get(ctx, "/n")); err != nil {
		t.Fatal(err)
	}
	srv.Kill()
	if err := srv.Run(); err != nil {
		t.Fatal(err)
	}
	if e, err := w.Next(ctx); err != nil || e.Type != EventResync {
		t.Fatalf("event %v %v, want a resync", e, err)
	}
	if err := third(w.Get(ctx, "/n")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(ctx, "/n", []byte("x"), -1); err != nil {
		t.Fatal(err)
	}
	if e, err := w.Next(ctx); err != nil || e != (Event{EventDataChanged, "/n"}) {
		t.Errorf("after the resync: %v %v", e, err)
	}
}

func TestApacheFrozenEndsTheSessionHereAndTheNextOneTakesOver(t *testing.T) {
	srv := apachezk.StartServer(t)
	c := open(t, Config{Connect: srv.Addr(), SessionTimeout: 2 * time.Second})
	s := c.Session()
	if _, err := s.Create(t.Context(), "/e", nil, Ephemeral); err != nil {
		t.Fatal(err)
	}
	made := make(chan *Session, 1)
	_, remove := c.OnSession(Hooks{New: func(s *Session) {
		select {
		case made <- s:
		default:
		}
	}})
	defer remove()
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	<-s.Done()
	if !errors.Is(s.Err(), ErrLeaseEnded) || time.Since(began) > 5*time.Second {
		t.Errorf("over after %v: %v", time.Since(began), s.Err())
	}
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	next := <-made
	if _, ok, err := next.Exists(t.Context(), "/e"); ok || err != nil {
		t.Errorf("the old session's node is still there: %v", err)
	}
}
