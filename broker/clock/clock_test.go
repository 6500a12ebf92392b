package clock

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// machine is a machine whose clock, and ZooKeeper's, a test sets.
type machine struct {
	ahead, zk atomic.Int64 // by how much the clocks are ahead, in nanoseconds
	mute      atomic.Bool
	asked     atomic.Int64
	clock     *Clock

	mu  sync.Mutex
	log bytes.Buffer
}

func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(p)
}

// said returns what was logged since the last call.
func (m *machine) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.log.Reset()
	return m.log.String()
}

func (m *machine) ask(ctx context.Context) (time.Time, error) {
	m.asked.Add(1)
	if m.mute.Load() {
		<-ctx.Done()
		return time.Time{}, ctx.Err()
	}
	return time.Now().Add(time.Duration(m.zk.Load())), nil
}

// started returns a machine whose clock is being looked at, until the test ends.
func started(t *testing.T, ahead time.Duration) *machine {
	m := &machine{}
	m.ahead.Store(int64(ahead))
	wall := func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }
	m.clock = New(Config{Wall: wall, Ask: m.ask, Logger: hclog.New(&hclog.LoggerOptions{Output: m, Level: hclog.Info})})
	if err := m.clock.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.clock.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

// want compares what the clock says with the truth.
func (m *machine) want(t *testing.T, now, expiry time.Duration) {
	t.Helper()
	truth := time.Now()
	if got := m.clock.Now(); !got.Equal(truth.Add(now)) {
		t.Errorf("the clock is %v ahead, want %v", got.Sub(truth), now)
	}
	if got := m.clock.Expiry(); !got.Equal(truth.Add(expiry)) {
		t.Errorf("things expire %v ahead, want %v", got.Sub(truth), expiry)
	}
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAJumpIsToldWithinTenSecondsAndOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t, 0)
		pass(time.Hour)
		if s, n := m.said(), m.asked.Load(); s != "" || n != 1 {
			t.Errorf("all is well, ZooKeeper was asked %d times, and the log says %s", n, s)
		}
		m.mute.Store(true) // the worst case
		m.ahead.Store(int64(far))
		m.want(t, 0, 0)
		pass(10 * time.Second)
		if s := m.said(); !strings.Contains(s, "[WARN]") || !strings.Contains(s, "the clock of this machine was set") || !strings.Contains(s, "jump=192h0m0s") || !strings.Contains(s, "deadline") {
			t.Errorf("the log says %q", s)
		}
		m.want(t, 0, 0)
		pass(50 * time.Minute)
		if s := m.said(); s != "" {
			t.Errorf("it was told already: %s", s)
		}
		m.mute.Store(false)
		pass(10 * time.Minute)
		if s := m.said(); strings.Count(s, "[WARN]") != 1 || !strings.Contains(s, "zookeeper=2000-01-01T") {
			t.Errorf("after an hour the log says %q", s)
		}
		m.want(t, 0, 0)
		m.ahead.Store(0)
		pass(10 * time.Second)
		if s := m.said(); !strings.Contains(s, "right again") {
			t.Errorf("the clock was set right, and the log says %q", s)
		}
		n := m.asked.Load()
		pass(time.Hour)
		if m.asked.Load() != n {
			t.Error("ZooKeeper is asked although all is well")
		}
	})
}

func TestWhatZooKeeperConfirmsCountsForExpiryAnHourLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t, 0)
		pass(time.Minute)
		m.ahead.Store(int64(far))
		m.zk.Store(int64(far))
		pass(10 * time.Second)
		m.want(t, far, 0)
		if s := m.said(); !strings.Contains(s, "[WARN]") || !strings.Contains(s, "confirms it") {
			t.Errorf("the log says %q", s)
		}
		pass(time.Hour)
		m.want(t, far, far)
		if s := m.said(); !strings.Contains(s, "expire by the clock of this machine again") {
			t.Errorf("the log says %q", s)
		}
	})
}

func TestAStartWithAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t, far)
		m.want(t, far, 0)
		if s := m.said(); !strings.Contains(s, "[WARN]") || !strings.Contains(s, "differ") || !strings.Contains(s, "difference=192h0m0s") {
			t.Errorf("the log says %q", s)
		}
		pass(3 * time.Hour)
		m.want(t, far, 0)
		if s := m.said(); strings.Count(s, "[WARN]") != 2 && strings.Count(s, "[WARN]") != 3 {
			t.Errorf("in three hours the log says %q", s)
		}
		m.ahead.Store(0)
		pass(10 * time.Second)
		m.want(t, 0, 0)

		m = started(t, -24*time.Hour)
		m.want(t, -24*time.Hour, -24*time.Hour)
	})
}

func TestCheckNeedsAnAnswer(t *testing.T) {
	boom := errors.New("boom")
	c := New(Config{Ask: func(context.Context) (time.Time, error) { return time.Time{}, boom }})
	if err := c.Check(t.Context()); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}
