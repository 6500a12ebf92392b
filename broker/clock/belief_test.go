package clock

import (
	"testing"
	"time"
)

const (
	day = 24 * time.Hour
	far = 8 * day
)

// noon is some time of day; monotonic times in tests count from it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestBelief(t *testing.T) {
	silent := time.Duration(1 << 62) // ZooKeeper does not answer
	type look struct {
		after     time.Duration // since the look before
		wall, zk  time.Duration // by how much the clocks are ahead of the truth
		want      verdict
		now, aged time.Duration // by how much what is believed, and what things expire by, is ahead of the truth
	}
	for name, looks := range map[string][]look{
		"small corrections are followed":                    {{time.Minute, 4 * time.Minute, silent, nothing, 4 * time.Minute, 4 * time.Minute}, {time.Minute, 8 * time.Minute, silent, nothing, 8 * time.Minute, 8 * time.Minute}},
		"a jump that nobody confirms, and back":             {{time.Minute, far, silent, jumped, 0, 0}, {2 * time.Hour, far, 0, jumped, 0, 0}, {time.Minute, 0, 0, agrees, 0, 0}, {time.Minute, 0, silent, nothing, 0, 0}},
		"a jump back that nobody confirms, and forth":       {{time.Minute, -day, silent, jumped, 0, 0}, {2 * time.Hour, -day, 0, jumped, 0, 0}, {time.Minute, 0, silent, nothing, 0, 0}, {time.Minute, 0, 0, agrees, 0, 0}},
		"a jump forward that ZooKeeper shares":              {{time.Minute, far, far, believed, far, 0}, {59 * time.Minute, far, silent, nothing, far, 0}, {time.Minute, far, silent, released, far, far}},
		"a mistake that ZooKeeper shares, and both go back": {{time.Minute, far, far, believed, far, 0}, {50 * time.Minute, 0, 0, believed, 0, 0}, {time.Minute, 0, silent, nothing, 0, 0}, {time.Hour, 0, silent, nothing, 0, 0}},
		"a jump back that ZooKeeper confirms":               {{time.Minute, -day, -day, believed, -day, -day}},
		"doubt puts the hour off":                           {{time.Minute, far, far, believed, far, 0}, {30 * time.Minute, far + day, far, jumped, far, 0}, {time.Hour, far, silent, nothing, far, 0}, {time.Minute, far, far, agrees, far, 0}, {time.Hour, far, silent, released, far, far}},
		"ahead of ZooKeeper from the start":                 {{0, far, 0, differs, far, 0}, {2 * time.Hour, far, silent, nothing, far, 0}, {0, 0, 0, believed, 0, 0}},
		"ZooKeeper was the wrong one":                       {{0, 0, -day, differs, 0, -day}, {2 * time.Hour, 0, 0, agrees, 0, -day}, {time.Hour, 0, silent, released, 0, 0}},
		"behind ZooKeeper from the start":                   {{0, -day, 0, differs, -day, -day}, {time.Minute, 0, 0, believed, 0, -day}, {time.Hour, 0, silent, released, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b := belief{now: noon.Add(looks[0].wall)}
			if looks[0].after > 0 {
				b.now = noon
			}
			var at time.Duration
			for i, l := range looks {
				at += l.after
				truth := noon.Add(at)
				wall, answer := truth.Add(l.wall), time.Time{}
				if l.zk != silent {
					answer = truth.Add(l.zk)
				}
				next, got := b.step(wall, at, answer)
				b = next
				now := b.read(wall, at)
				aged := now.Add(-b.behind)
				if got != l.want || !now.Equal(truth.Add(l.now)) || !aged.Equal(truth.Add(l.aged)) {
					t.Errorf("look %d: verdict %d, %v ahead, things expire %v ahead; want %d, %v, %v", i, got, now.Sub(truth), aged.Sub(truth), l.want, l.now, l.aged)
				}
			}
		})
	}
}

// TestNothingExpiresBetweenTwoLooks reads the clock right after a jump, when nobody has looked at it yet.
func TestNothingExpiresBetweenTwoLooks(t *testing.T) {
	b := belief{now: noon}
	for _, ahead := range []time.Duration{far, -day, Tolerance + 1, -Tolerance - 1} {
		if got := b.read(noon.Add(time.Second+ahead), time.Second); !got.Equal(noon.Add(time.Second)) {
			t.Errorf("%v ahead: %v", ahead, got)
		}
	}
	if got := b.read(noon.Add(Tolerance), 0); !got.Equal(noon.Add(Tolerance)) {
		t.Errorf("a small correction: %v", got)
	}
}
