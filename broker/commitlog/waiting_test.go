package commitlog

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// TestHowLongAppendsWait looks ten times a second, as the broker does.
func TestHowLongAppendsWait(t *testing.T) {
	now := time.Unix(1000, 0)
	var a appends
	pass := func(d time.Duration) (wait time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(100 * time.Millisecond)
			wait = a.look(now)
		}
		return wait
	}
	want := func(what string, got, least, most time.Duration) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s: %v, want %v to %v", what, got, least, most)
		}
	}
	want("nothing is under way", pass(time.Minute), 0, 0)
	first := a.enter()
	pass(300 * time.Millisecond)
	second := a.enter()
	want("one of two, after 20 s", pass(20*time.Second), 20*time.Second, 20300*time.Millisecond)
	for range 300 { // others come and go
		s := a.enter()
		pass(100 * time.Millisecond)
		a.leave(s)
	}
	want("with others, after 50 s", pass(100*time.Millisecond), 50*time.Second, 50400*time.Millisecond)
	now = now.Add(time.Hour)
	want("the process was stopped for an hour", a.look(now), 50*time.Second, 51*time.Second)
	a.leave(first)
	want("the second one", pass(100*time.Millisecond), 50*time.Second, 51*time.Second)
	a.leave(second)
	want("it is over", pass(100*time.Millisecond), 0, 0)
	third := a.enter()
	want("the next one", pass(time.Second), 800*time.Millisecond, time.Second)
	a.leave(third)
	if n := testing.AllocsPerRun(100, func() { a.leave(a.enter()) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWhatAppendsWaitFor has disks that hold up writes, or fsyncs: those that appends wait for count, and the others do not.
func TestWhatAppendsWaitFor(t *testing.T) {
	for name, tc := range map[string]struct {
		ops   vfs.Op
		flush int64
		waits bool
	}{
		"a write":                       {vfs.OpWrite, 1000, true},
		"an fsync after each append":    {vfs.OpSync, 1, true},
		"an fsync that nobody asks for": {vfs.OpSync, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := &vfs.Toggle{Inner: vfs.OnOps(vfs.Latency(5*time.Second), tc.ops)}
				cfg := DefaultConfig()
				cfg.FlushMessages = tc.flush
				m := openOn(t, vfs.Inject(vfs.NewMem(), slow), cfg)
				defer closeManager(t, m)
				l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
				must(t, err)
				slow.Set(true)
				var appending sync.WaitGroup
				appending.Go(func() { appendValues(t, l, 1, 1000, "a"); must(t, l.Roll()) })
				longest := time.Duration(0)
				for range 40 {
					<-time.After(100 * time.Millisecond)
					dir, wait := m.LongestWait(time.Now())
					longest = max(longest, wait)
					if wait > 0 && dir != "/logs" {
						t.Errorf("waiting for %q", dir)
					}
				}
				if waits := longest > 3*time.Second; waits != tc.waits {
					t.Errorf("the longest wait is %v", longest)
				}
				appending.Wait()
				slow.Set(false)
				if _, wait := m.LongestWait(time.Now()); wait > 0 {
					t.Errorf("when it is over: %v", wait)
				}
			})
		})
	}
}
