package contact

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// phase is a time in which the oldest append waits ever longer, or none waits.
type phase struct {
	ms    int
	waits bool
}

// TestADiskStalls looks every 100 ms, and wants to know when what is seen changes.
func TestADiskStalls(t *testing.T) {
	for name, tc := range map[string]struct {
		phases []phase
		want   []int
	}{
		"works":                       {[]phase{{60000, false}}, nil},
		"takes its time":              {[]phase{{1000, false}, {1900, true}, {100, false}, {1900, true}, {60000, false}}, nil},
		"stalls for 5 s":              {[]phase{{1000, false}, {5000, true}, {60000, false}}, []int{3000, 11000}},
		"stalls for long":             {[]phase{{1000, false}, {90000, true}, {60000, false}}, []int{3000, 121000}},
		"stalls again before its end": {[]phase{{1000, false}, {5000, true}, {3000, false}, {3000, true}, {60000, false}}, []int{3000, 23000}},
		"takes its time in the end":   {[]phase{{1000, false}, {5000, true}, {2000, false}, {1500, true}, {60000, false}}, []int{3000, 11000}},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk{patience: 2 * time.Second, longest: 30 * time.Second}
			var got []int
			ms := 0
			for _, p := range tc.phases {
				for i := 0; i < p.ms; i += 100 {
					var wait time.Duration
					if p.waits {
						wait = time.Duration(i) * time.Millisecond
					}
					if d.look(at(ms), wait) {
						got = append(got, ms)
					}
					ms += 100
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("changes at %v, want %v", got, tc.want)
			}
		})
	}
	d := disk{longest: 30 * time.Second}
	if d.look(at(0), time.Hour) || d.stalled {
		t.Error("a disk stalls that is not to be judged")
	}
}

// TestEverybodyHearsOfADiskThatStalls: its broker says so, and nobody says so of a broker that does not answer or has registered anew.
func TestEverybodyHearsOfADiskThatStalls(t *testing.T) {
	l := newTestLedger(1, 2)
	l.disk = disk{patience: 2 * time.Second, longest: 30 * time.Second}
	if l.own().Stalled || !l.disk.look(at(0), 2*time.Second) || !l.own().Stalled {
		t.Error("it does not say so of itself")
	}
	if !l.hear(2, Report{Stalled: true}) || l.hear(2, Report{Stalled: true}) || l.hear(7, Report{Stalled: true}) {
		t.Error("news is what is new, from those who are watched")
	}
	if got := l.view(at(0)).Stalled; !slices.Equal(got, []cluster.BrokerID{0, 2}) {
		t.Errorf("stalled: %v", got)
	}
	l.refused(2, at(0))
	l.refused(2, at(0))
	if got := l.view(at(0)).Stalled; !slices.Equal(got, []cluster.BrokerID{0}) {
		t.Errorf("stalled, with a broker that is gone: %v", got)
	}
	l.answered(2, at(10))
	l.watch([]cluster.BrokerID{1})
	l.watch([]cluster.BrokerID{1, 2})
	if got := l.view(at(10)).Stalled; !slices.Equal(got, []cluster.BrokerID{0}) {
		t.Errorf("stalled, with a broker that has registered anew: %v", got)
	}
	l.hear(1, Report{Stalled: true})
	if !l.hear(1, Report{}) || slices.Contains(l.view(at(20)).Stalled, 1) {
		t.Error("that it is over is no news")
	}
}
