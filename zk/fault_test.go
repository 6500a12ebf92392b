package zk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHungServerCostsNeitherTheSessionNorMuchTime(t *testing.T) {
	for _, m := range []mode{mute, halfway} {
		newLab(t, func(t *testing.T, l *lab) {
			a, b := l.relay("a"), l.relay("b")
			c := l.open("a:2181,b:2181")
			s := c.Session()
			if _, err := s.Create(t.Context(), "/e", nil, Ephemeral); err != nil {
				t.Fatal(err)
			}
			hung := a
			if b.requests() > 0 {
				hung = b
			}
			hung.set(m)
			began := time.Now()
			if err := s.Sync(t.Context(), "/"); err != nil { // a read: repeated over reconnections
				t.Fatalf("the session did not get over a hung server: %v", err)
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("it took %v of 6 s to get to the other server", d)
			}
			if c.Session() != s || !s.Live() || s.Suspect() {
				t.Error("the session is not what it was")
			}
			if _, ok, err := s.Exists(t.Context(), "/e"); !ok || err != nil {
				t.Errorf("the ephemeral node is gone: %v", err)
			}
			l.shut(c, a, b)
		})
	}
}

// TestAHungServerIsLeftAloneWhileTheOthersElect lets a session's server hang, and the others refuse everybody until they have elected a leader: the time that is left of the session
// must go to them.
func TestAHungServerIsLeftAloneWhileTheOthersElect(t *testing.T) {
	const notice = 3 * time.Second // half of the session timeout
	for _, election := range []time.Duration{notice, 3500 * time.Millisecond, 4100 * time.Millisecond} {
		newLab(t, func(t *testing.T, l *lab) {
			relays := map[string]*relay{"a": l.relay("a"), "b": l.relay("b"), "c": l.relay("c")}
			c := l.open("a:2181,b:2181,c:2181")
			s := c.Session()
			if err := s.Sync(t.Context(), "/"); err != nil {
				t.Fatal(err)
			}
			var others []*relay
			for _, r := range relays {
				if r.requests() > 0 {
					r.set(mute)
				} else {
					r.set(refuse)
					others = append(others, r)
				}
			}
			began := time.Now()
			time.AfterFunc(election, func() {
				for _, r := range others {
					r.set(pass)
				}
			})
			if err := s.Sync(t.Context(), "/"); err != nil { // a read: repeated over reconnections
				t.Errorf("others lead after %v, and the session did not get to them: %v", election, err)
			}
			if d := time.Since(began); len(others) != 2 || d > election+500*time.Millisecond || c.Session() != s {
				t.Errorf("others (%d) lead after %v, and it took %v to get to them", len(others), election, d)
			}
			l.shut(c, relays["a"], relays["b"], relays["c"])
		})
	}
}

func TestOpenGetsPastAServerThatAcceptsAndSaysNothing(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		a, b := l.relay("a"), l.relay("b")
		a.set(mute)
		began := time.Now()
		c := l.open("a:2181,b:2181")
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		l.shut(c, a, b)
	})
}

func TestOpenFailsInTimeAndSaysWhy(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		a := l.relay("a")
		a.set(mute)
		for _, c := range []struct{ connect, want string }{
			{"nobody:2181", "connection refused"},
			{"a:2181", "no session within 3s"},
		} {
			began, cfg := time.Now(), l.config(c.connect)
			cfg.ConnectTimeout = 3 * time.Second
			_, err := Open(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.connect) {
				t.Errorf("%s: %v, want %q", c.connect, err, c.want)
			}
			if d := time.Since(began); d > 6*time.Second {
				t.Errorf("%s: it took %v", c.connect, d)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Open(ctx, l.config("a:2181")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := Open(t.Context(), l.config("")); err == nil {
			t.Error("no servers, no error")
		}
		a.close()
	})
}

func TestTheLeaseEndsWithinTheSessionTimeoutAndNothingQueuedOutlivesIt(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c := l.open("zk:2181")
		s := c.Session()
		if _, err := s.Create(t.Context(), "/e", nil, Ephemeral); err != nil {
			t.Fatal(err)
		}
		var news []uint64
		c.OnSession(Hooks{New: func(s *Session) { news = append(news, s.Gen()) }})
		answered := time.Now()
		l.net.Cut("me", "zk")
		doubt := s.SuspectSignal()
		if _, err := s.Create(t.Context(), "/lost", nil, Persistent); ClassOf(err) != Ambiguous || errors.Is(err, ErrSessionExpired) {
			t.Errorf("a write over a dead connection: %v (%v)", err, ClassOf(err))
		}
		// A write that waits for a connection when the end comes must not run in the next session.
		failed := make(chan error, 1)
		go func() {
			_, err := s.Create(t.Context(), "/late", nil, Persistent)
			failed <- err
		}()
		<-doubt
		if d := time.Since(answered); d < 3900*time.Millisecond || d > 4100*time.Millisecond {
			t.Errorf("in doubt after %v, want two thirds of 6 s", d)
		}
		if !s.Live() || !s.Suspect() {
			t.Errorf("in doubt: live %v, suspect %v", s.Live(), s.Suspect())
		}
		<-s.Done()
		if d := time.Since(answered); d > 6*time.Second {
			t.Errorf("over after %v, want 6 s at the most", d)
		}
		if !errors.Is(s.Err(), ErrLeaseEnded) || !errors.Is(s.Err(), ErrSessionExpired) || s.Live() || s.LeaseLeft() > 0 {
			t.Errorf("the end: %v, live %v, left %v", s.Err(), s.Live(), s.LeaseLeft())
		}
		if err := <-failed; ClassOf(err) != Ambiguous || !errors.Is(err, ErrSessionExpired) {
			t.Errorf("the write: %v (%v)", err, ClassOf(err))
		}
		if _, err := s.Create(t.Context(), "/later", nil, Persistent); ClassOf(err) != NotSent || !errors.Is(err, ErrSessionExpired) {
			t.Errorf("a write after the end: %v (%v)", err, ClassOf(err))
		}
		l.net.Heal("me", "zk")
		l.net.Reset("me", "zk") // what was held in the network is lost
		deadline := time.Now().Add(3 * time.Second)
		for c.Session() == s {
			if time.Now().After(deadline) {
				t.Fatal("no new session after 3 s")
			}
			<-time.After(10 * time.Millisecond) // virtual
		}
		next := c.Session()
		synctest.Wait()
		if len(news) != 1 || news[0] != 2 {
			t.Errorf("reports of new sessions: %v", news)
		}
		// The old session was closed by the new one's client, before the server would have expired it.
		for _, path := range []string{"/e", "/lost", "/late", "/later"} {
			if _, ok, err := next.Exists(t.Context(), path); ok || err != nil {
				t.Errorf("%s is there: %v", path, err)
			}
		}
		l.shut(c)
	})
}

func TestAPauseIsNoticedBeforeAnyTimerRuns(t *testing.T) {
	l := newLease()
	l.begin(6*time.Second, time.Now().Add(-7*time.Second)) // as after a process was stopped for seven seconds
	s := &Session{lease: l}
	if s.Live() || !s.Suspect() || s.LeaseLeft() > 0 {
		t.Errorf("live %v, suspect %v, left %v", s.Live(), s.Suspect(), s.LeaseLeft())
	}
	l.extend(time.Now())
	if !s.Live() || s.Suspect() {
		t.Errorf("answered again: live %v, suspect %v", s.Live(), s.Suspect())
	}
	l.extend(time.Now().Add(-time.Hour)) // an older request's answer changes nothing
	if !s.Live() {
		t.Error("an old answer shortened the lease")
	}
}

func TestNothingIsSentAfterAPause(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c := l.open("zk:2181")
		s := c.Session()
		s.lease.mu.Lock()
		s.lease.answered = time.Now().Add(-s.lease.timeout) // as after a stop of the process; the server has not noticed yet, and no timer has run
		s.lease.mu.Unlock()
		if _, err := s.Create(t.Context(), "/late", nil, Ephemeral); !errors.Is(err, ErrSessionExpired) || ClassOf(err) != NotSent {
			t.Errorf("created: %v", err)
		}
		if !errors.Is(s.Err(), ErrLeaseEnded) {
			t.Errorf("the session: %v", s.Err())
		}
		<-time.After(5 * time.Second)
		if next := c.Session(); next == s {
			t.Error("there is no next session")
		} else if _, there, err := next.Exists(t.Context(), "/late"); there || err != nil {
			t.Errorf("the node is there: %v, %v", there, err)
		}
		l.shut(c)
	})
}

// TestClosingWhileOperationsBegin closes clients that are busy. The library does not survive requests that come in the moment of its Close; a session has to.
func TestClosingWhileOperationsBegin(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		for range 200 {
			c := l.open("zk:2181")
			s := c.Session()
			var busy sync.WaitGroup
			for range 8 {
				busy.Go(func() {
					for {
						if _, _, err := s.Exists(t.Context(), "/"); err != nil {
							return
						}
					}
				})
			}
			l.shut(c)
			busy.Wait()
		}
	})
}

func TestDoubtEndsWhenTheServerAnswersAgain(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c := l.open("zk:2181")
		s := c.Session()
		l.net.Cut("me", "zk")
		<-s.SuspectSignal()
		l.net.Heal("me", "zk")
		if err := s.Sync(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.SuspectSignal():
			t.Error("still in doubt")
		default:
		}
		if s.Suspect() || !s.Live() || c.Session() != s {
			t.Error("the session did not recover")
		}
		<-time.After(time.Hour) // virtual: pings keep it alive
		if !s.Live() || s.Suspect() || c.Session() != s {
			t.Error("an idle session did not last an hour")
		}
		l.shut(c)
	})
}

// TestALostReplyToEveryOperation breaks the connection instead of forwarding the answer to request n, for every n of a
// series: writes must come back as unknown and applied, reads must not notice.
func TestALostReplyToEveryOperation(t *testing.T) {
	type step struct {
		write bool
		run   func(ctx context.Context, s *Session) error
	}
	steps := []step{
		{true, func(ctx context.Context, s *Session) error { return second(s.Create(ctx, "/a", nil, Ephemeral)) }},
		{false, func(ctx context.Context, s *Session) error { return third(s.Get(ctx, "/a")) }},
		{true, func(ctx context.Context, s *Session) error { return second(s.Set(ctx, "/a", []byte("1"), 0)) }},
		{false, func(ctx context.Context, s *Session) error { return third(s.Exists(ctx, "/a")) }},
		{true, func(ctx context.Context, s *Session) error {
			return second(s.Multi(ctx, CheckOp("/a", 1), CreateOp("/b", nil, Persistent)))
		}},
		{false, func(ctx context.Context, s *Session) error { return third(s.Children(ctx, "/")) }},
		{true, func(ctx context.Context, s *Session) error { return s.Delete(ctx, "/b", 0) }},
		{false, func(ctx context.Context, s *Session) error { return s.Sync(ctx, "/") }},
	}
	for n := range steps {
		newLab(t, func(t *testing.T, l *lab) {
			r := l.relay("a")
			c := l.open("a:2181")
			s := c.Session()
			dropped := false
			r.mu.Lock()
			r.drop = func(i int, _ int32) bool {
				hit := i == n && !dropped
				dropped = dropped || hit
				return hit
			}
			r.mu.Unlock()
			for i, st := range steps {
				err := st.run(t.Context(), s)
				if i == n && st.write {
					if ClassOf(err) != Ambiguous || !errors.Is(err, ErrAmbiguous) {
						t.Errorf("step %d: %v (%v), want an unknown outcome", i, err, ClassOf(err))
					}
				} else if err != nil {
					t.Errorf("reply %d lost, step %d: %v", n, i, err)
				}
			}
			if !dropped || c.Session() != s || !s.Live() {
				t.Errorf("reply %d lost: dropped %v, same session %v", n, dropped, c.Session() == s)
			}
			l.shut(c, r)
		})
	}
}

func TestACallerLeavesWhenItsContextEnds(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		r := l.relay("a")
		cfg := l.config("a:2181")
		cfg.MaxInFlight = 2
		c, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Session()
		r.set(halfway)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		errs := make(chan error, 5)
		for i := range 5 {
			go func() {
				_, err := s.Create(ctx, fmt.Sprintf("/n%d", i), nil, Persistent)
				errs <- err
			}()
		}
		classes := make(map[Class]int)
		for range 5 {
			err := <-errs
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			classes[ClassOf(err)]++
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("left after %v", d)
		}
		if classes[Ambiguous] != 2 || classes[NotSent] != 3 || r.requests() != 2 {
			t.Errorf("classes %v, %d requests sent; two may be in flight", classes, r.requests())
		}
		if _, _, err := s.Get(ctx, "/"); ClassOf(err) != NotSent {
			t.Errorf("a read whose context is over: %v", err)
		}
		r.set(pass)
		names, _, err := s.Children(t.Context(), "/")
		if err != nil || len(names) != 3 { // with /zookeeper
			t.Errorf("nodes %v %v", names, err)
		}
		l.shut(c, r)
	})
}

func TestManyReconnectionsLeakNothingAndResyncEachTime(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c := l.open("zk:2181")
		s := c.Session()
		w := s.Watch()
		rearm := func() {
			for i := range 20 {
				if _, _, err := w.Exists(t.Context(), fmt.Sprintf("/n%d", i)); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := w.Children(t.Context(), "/"); err != nil {
				t.Fatal(err)
			}
		}
		rearm()
		synctest.Wait()
		before := runtime.NumGoroutine()
		for i := range 300 {
			l.net.Reset("me", "zk")
			if e, err := w.Next(t.Context()); err != nil || e.Type != EventResync {
				t.Fatalf("reconnection %d: %v %v", i, e, err)
			}
			if n := len(s.watch.keys); n != 0 {
				t.Fatalf("reconnection %d: %d watches of the old connection are remembered", i, n)
			}
			rearm()
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+2 {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		if n := len(s.watch.keys); n != 21 {
			t.Errorf("%d watches are remembered, want 21", n)
		}
		if c.Session() != s {
			t.Error("the session was lost")
		}
		if _, err := s.Create(t.Context(), "/n7", nil, Persistent); err != nil {
			t.Fatal(err)
		}
		got := map[Event]bool{}
		for range 2 {
			e, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got[e] = true
		}
		if !got[Event{EventCreated, "/n7"}] || !got[Event{EventChildrenChanged, "/"}] {
			t.Errorf("events %v", got)
		}
		w.Close()
		if len(s.watch.keys) != 0 {
			t.Error("a closed watcher is remembered")
		}
		l.shut(c)
	})
}

func TestAWatchThatFiresWhileAwayIsMadeUpForByTheResync(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c, other := l.open("zk:2181"), l.open("zk:2181")
		w := c.Session().Watch()
		if _, _, err := w.Children(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Exists(t.Context(), "/x"); err != nil {
			t.Fatal(err)
		}
		l.net.Cut("me", "zk")
		l.net.Reset("me", "zk")
		l.net.Heal("me", "zk")
		if err := other.Session().CreateAll(t.Context(), "/x", nil); err != nil {
			t.Fatal(err)
		}
		for {
			e, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == EventResync {
				break
			}
		}
		if _, ok, err := w.Exists(t.Context(), "/x"); !ok || err != nil {
			t.Errorf("re-read after the resync: %v %v", ok, err)
		}
		l.shut(c)
		l.shut(other)
	})
}

func TestCloseEndsTheSessionOnTheServer(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		other := l.open("zk:2181")
		w := other.Session().Watch()
		c := l.open("zk:2181")
		s := c.Session()
		if _, err := s.Create(t.Context(), "/e", nil, Ephemeral); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Exists(t.Context(), "/e"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l.shut(c)
		if e, err := w.Next(t.Context()); err != nil || e != (Event{EventDeleted, "/e"}) || time.Since(began) > time.Second {
			t.Errorf("event %v %v after %v", e, err, time.Since(began))
		}
		if !errors.Is(s.Err(), ErrClosed) {
			t.Errorf("the session's end: %v", s.Err())
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		if _, _, err := s.Get(t.Context(), "/"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		// A server that does not answer delays the end no longer than the context says, and a little.
		l.net.Cut("me", "zk")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		_ = other.Close(ctx)
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("closing without a server took %v", d)
		}
		l.net.Heal("me", "zk")
	})
}

func TestCloseSession(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c, other := l.open("zk:2181"), l.open("zk:2181")
		s := c.Session()
		if _, err := s.Create(t.Context(), "/e", nil, Ephemeral); err != nil {
			t.Fatal(err)
		}
		id, password := s.ID(), s.Password()
		wrong := append([]byte(nil), password...)
		wrong[3] ^= 1
		exists := func() bool {
			_, ok, err := other.Session().Exists(t.Context(), "/e")
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		cfg := l.config("zk:2181")
		if err := CloseSession(t.Context(), cfg, id, wrong); err != nil || !exists() {
			t.Errorf("with a wrong password: %v, there %v", err, exists())
		}
		began := time.Now()
		if err := CloseSession(t.Context(), cfg, id, password); err != nil || exists() {
			t.Errorf("with the password: %v, there %v", err, exists())
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		if err := CloseSession(t.Context(), cfg, id, password); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := CloseSession(t.Context(), cfg, 0, password); err == nil {
			t.Error("session 0: no error")
		}
		r := l.relay("a")
		r.set(mute)
		began = time.Now()
		if err := CloseSession(t.Context(), l.config("a:2181,nobody:2181"), id, password); err == nil || time.Since(began) > 4*time.Second {
			t.Errorf("no server answers: %v after %v", err, time.Since(began))
		}
		r.close()
		l.shut(c)
		l.shut(other)
	})
}

// unanswered is a connection that ends right before the answer to closeSession.
type unanswered struct {
	net.Conn
	closing bool
}

func (u *unanswered) Write(p []byte) (int, error) {
	u.closing = len(p) == 12 // a header and nothing else
	return u.Conn.Write(p)
}

func (u *unanswered) Read(p []byte) (int, error) {
	if !u.closing {
		return u.Conn.Read(p)
	}
	if _, err := io.ReadFull(u.Conn, make([]byte, 4+replyHeaderSize)); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func TestALostAnswerToCloseSessionIsAskedForAgain(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		c := l.open("zk:2181")
		id, password := c.Session().ID(), c.Session().Password()
		cfg := l.config("zk:2181")
		dial, dialled := cfg.Dial, 0
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if dialled++; dialled == 1 && err == nil {
				conn = &unanswered{Conn: conn}
			}
			return conn, err
		}
		if err := CloseSession(t.Context(), cfg, id, password); err != nil {
			t.Errorf("after %d connections: %v", dialled, err)
		}
		if dialled != 2 {
			t.Errorf("%d connections, want 2", dialled)
		}
		l.shut(c)
	})
}

func TestTheServerDecidesAboutTheTimeoutAndClosingCallsNoHook(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		cfg := l.config("zk:2181")
		cfg.SessionTimeout = 100 * time.Millisecond
		cfg.ConnectTimeout = 5 * time.Second
		c, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Session()
		if got := s.Timeout(); got != time.Second { // two ticks
			t.Errorf("timeout %v, want the server's minimum of 1 s", got)
		}
		<-time.After(time.Minute)
		if !s.Live() || c.Session() != s {
			t.Error("the session was not kept alive at the granted pace")
		}
		called := false
		_, remove := c.OnSession(Hooks{Expired: func(*Session) { t.Error("a removed owner was called") }})
		remove()
		c.OnSession(Hooks{Expired: func(*Session) { called = true }, New: func(*Session) { called = true }})
		l.shut(c)
		if called {
			t.Error("Close called a hook")
		}
	})
}

func TestAWatchStormLosesAndRepeatsNothing(t *testing.T) {
	newLab(t, func(t *testing.T, l *lab) {
		const n = 4000
		c, other := l.open("zk:2181"), l.open("zk:2181")
		w := c.Session().Watch()
		for i := range n {
			if _, _, err := w.Exists(t.Context(), fmt.Sprintf("/n%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < n; i += 100 {
			var ops []Op
			for k := range 100 {
				ops = append(ops, CreateOp(fmt.Sprintf("/n%d", i+k), nil, Persistent))
			}
			if _, err := other.Session().Multi(t.Context(), ops...); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Session().Sync(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		<-w.Ready()
		seen := make(map[Event]int)
		for _, e := range w.Take() {
			seen[e]++
		}
		for i := range n {
			if got := seen[Event{EventCreated, fmt.Sprintf("/n%d", i)}]; got != 1 {
				t.Fatalf("node %d: %d events", i, got)
			}
		}
		if len(seen) != n {
			t.Errorf("%d different events", len(seen))
		}
		l.shut(c)
		l.shut(other)
	})
}
