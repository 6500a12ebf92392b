package state

import (
	"testing"
	"time"
)

func TestThrottledReplicasAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string
		want bool
	}{
		{"nothing", nil, false},
		{"all", []string{"*"}, true},
		{"this one", []string{"0:1", "3:7"}, true},
		{"blanks", []string{" 3 : 7 "}, true},
		{"another broker's", []string{"3:8"}, false},
		{"another partition", []string{"4:7"}, false},
		{"nonsense", []string{"3", "3:", ":7", "x:7", "99999999999:7"}, false},
	} {
		if got := ThrottledHere(c.list, 3, 7); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAQuotaIsMeasuredOverItsWindows(t *testing.T) {
	at := func(ms int) time.Time { return epochZero.Add(time.Duration(ms) * time.Millisecond) }
	q := NewQuota(3, time.Second)
	if q.Rate(at(0)) != 0 || q.Exceeded(at(0)) {
		t.Error("an unused quota has a rate")
	}
	q.Add(at(0), 1000)
	if q.Exceeded(at(0)) {
		t.Error("exceeded without a limit")
	}
	q.SetLimit(500)
	for _, c := range []struct {
		ms       int
		rate     float64
		exceeded bool
	}{{0, 1000, true}, {500, 1000, true}, {1000, 1000, true}, {1999, 1000 / 1.999, true}, {2000, 500, false}, {2999, 1000 / 2.999, false}, {3000, 0, false}} {
		if got := q.Rate(at(c.ms)); got < c.rate-0.01 || got > c.rate+0.01 || q.Exceeded(at(c.ms)) != c.exceeded {
			t.Errorf("after %d ms: rate %v, exceeded %v; want %v, %v", c.ms, got, q.Exceeded(at(c.ms)), c.rate, c.exceeded)
		}
	}
	q.Add(at(10000), 600)
	q.Add(at(10900), 600) // the same window
	q.Add(at(11000), 300)
	q.Add(at(12500), 300)
	if got, want := q.Rate(at(12500)), 1800/2.5; got != want {
		t.Errorf("three windows: %v, want %v", got, want)
	}
	q.Add(at(12999), 0)
	if got, want := q.Rate(at(13000)), 600.0/2; got != want {
		t.Errorf("the first window is over: %v, want %v", got, want)
	}
	q.SetLimit(0)
	if !q.Exceeded(at(13000)) {
		t.Error("a limit of nothing is not exceeded")
	}
}

func TestAPauseIsUntilTheRateHasFallen(t *testing.T) {
	q := NewQuota(11, time.Second)
	q.SetLimit(1000)
	q.Add(epochZero, 1500)
	if d := q.Pause(epochZero); d != time.Second {
		t.Errorf("a pause of %v, want one window", d) // 1.5 s, and it looks again after 1 s
	}
	now := epochZero.Add(time.Second)
	if d := q.Pause(now); d != 500*time.Millisecond {
		t.Errorf("a pause of %v, want 500ms", d)
	}
	now = now.Add(q.Pause(now))
	if q.Exceeded(now) {
		t.Errorf("still %v bytes per second after the pause", q.Rate(now))
	}
	q.Add(now, 10)
	if d := q.Pause(now); d < 10*time.Millisecond {
		t.Errorf("a pause of %v only", d)
	}
}

// TestAQuotaKeepsItsRate sends as much as it may for a minute, in pieces of several sizes.
func TestAQuotaKeepsItsRate(t *testing.T) {
	for _, piece := range []int64{1, 100, 5000} {
		q := NewQuota(11, time.Second)
		q.SetLimit(1000)
		now, sent := epochZero, int64(0)
		for now.Sub(epochZero) < time.Minute {
			if q.Exceeded(now) {
				now = now.Add(q.Pause(now))
				continue
			}
			q.Add(now, piece)
			sent += piece
			now = now.Add(100 * time.Microsecond)
		}
		if sent < 58_000-piece || sent > 66_000+2*piece {
			t.Errorf("pieces of %d: %d bytes in a minute at 1000 a second", piece, sent)
		}
	}
}
