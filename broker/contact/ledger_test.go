package contact

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// at is a moment of the tests' clock.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func newTestLedger(ids ...cluster.BrokerID) *ledger {
	l := newLedger(0, 1600*time.Millisecond, 30*time.Second, 400*time.Millisecond, 500*time.Millisecond)
	l.watch(ids)
	return l
}

// lookUntil looks every 100 ms and returns the first moment in [from, to] at which something changed.
func (l *ledger) lookUntil(from, to int) (when int, ok bool) {
	for ms := from; ms <= to; ms += 100 {
		if l.look(at(ms)) {
			return ms, true
		}
	}
	return 0, false
}

func TestWhoDoesNotAnswerForThePatienceIsSilent(t *testing.T) {
	l := newTestLedger(0, 1, 2)
	l.asked(1, at(0))
	if when, ok := l.lookUntil(0, 1500); ok {
		t.Fatalf("lost after %d ms", when)
	}
	l.asked(1, at(1550)) // repeating the question makes no difference
	if when, ok := l.lookUntil(1600, 5000); !ok || when != 1600 {
		t.Fatalf("silent after %d, %v", when, ok)
	}
	if got := l.own().Lost; !slices.Equal(got, []Lost{{1, Silent}}) {
		t.Fatalf("lost %v", got)
	}
	if !l.answered(1, at(5100)) || l.answered(1, at(5200)) || len(l.own().Lost) != 0 {
		t.Fatal("an answer is news once")
	}
}

func TestAPauseThatIsAnsweredInTimeIsNoLoss(t *testing.T) {
	l := newTestLedger(1)
	l.asked(1, at(0))
	l.lookUntil(0, 1500)
	l.answered(1, at(1501))
	l.asked(1, at(1700))
	if when, ok := l.lookUntil(1600, 3200); ok {
		t.Fatalf("lost after %d ms", when)
	}
}

func TestWhoWasFrozenItselfBlamesNobody(t *testing.T) {
	l := newTestLedger(1)
	l.look(at(0))
	l.asked(1, at(0))
	if l.look(at(9000)) { // frozen for nine seconds
		t.Fatal("lost by the clock of one who slept")
	}
	if when, ok := l.lookUntil(9100, 20000); !ok || when != 10600 {
		t.Fatalf("silent at %d, %v; want the patience after waking", when, ok)
	}
}

func TestTwoRefusalsInARowAreALoss(t *testing.T) {
	l := newTestLedger(1)
	l.asked(1, at(0))
	if l.refused(1, at(0)) {
		t.Fatal("lost after one refusal")
	}
	l.answered(1, at(10))
	l.asked(1, at(20))
	if l.refused(1, at(0)) || !l.refused(1, at(0)) || l.refused(1, at(0)) {
		t.Fatal("the second refusal in a row is the news")
	}
	if got := l.own().Lost; !slices.Equal(got, []Lost{{1, Refused}}) {
		t.Fatalf("lost %v", got)
	}
	// Frozen first, then killed: that is news as well.
	l = newTestLedger(1)
	l.asked(1, at(0))
	l.lookUntil(0, 1600)
	if l.refused(1, at(0)); !l.refused(1, at(0)) || l.own().Lost[0].Loss != Refused || !l.view(at(1_000_000)).Since[1].Equal(at(0)) {
		t.Fatalf("%v since %v", l.own(), l.view(at(1_000_000)).Since[1])
	}
}

func TestTheHoldDownIsForSilenceOnly(t *testing.T) {
	l := newTestLedger(1)
	l.asked(1, at(0))
	l.lookUntil(0, 1600)
	l.answered(1, at(2000))
	l.asked(1, at(2200))
	if when, ok := l.lookUntil(2200, 31900); ok {
		t.Fatalf("silent again at %d", when)
	}
	if when, ok := l.lookUntil(32000, 32500); !ok || when != 32000 {
		t.Fatalf("silent again at %d, %v", when, ok)
	}
	l.answered(1, at(32600))
	if l.refused(1, at(0)); !l.refused(1, at(0)) {
		t.Fatal("a process that is gone is gone")
	}
	l.answered(1, at(32700))
	l.asked(1, at(80000))
	if _, ok := l.lookUntil(80000, 81600); !ok {
		t.Fatal("a refusal counts against later silence")
	}
}

func TestWhatALostBrokerSaidDoesNotCount(t *testing.T) {
	l := newTestLedger(1, 2)
	if !l.hear(1, Report{Lost: []Lost{{2, Silent}}}) || l.hear(1, Report{Lost: []Lost{{2, Silent}}}) || l.hear(7, Report{Lost: []Lost{{2, Silent}}}) {
		t.Fatal("news is what is new, from those who are watched")
	}
	if l.view(at(1_000_000)).Told[1][2] != Silent {
		t.Fatal("not told")
	}
	l.refused(1, at(0))
	l.refused(1, at(0))
	if len(l.view(at(1_000_000)).Told) != 0 {
		t.Fatal("told by the dead")
	}
	l.watch([]cluster.BrokerID{2})
	l.watch([]cluster.BrokerID{1, 2})
	if v := l.view(at(1_000_000)); len(v.Told) != 0 || len(v.Own) != 0 {
		t.Fatalf("a broker that registers again begins with %+v", v)
	}
}

func TestADoubtIsALateAnswerOrARefusal(t *testing.T) {
	l := newTestLedger(1, 2)
	l.asked(1, at(0))
	l.asked(2, at(0))
	if got := l.view(at(99)).Doubtful; len(got) != 0 {
		t.Fatal(got)
	}
	l.refused(2, at(0))
	if got := l.view(at(99)).Doubtful; !slices.Equal(got, []cluster.BrokerID{2}) {
		t.Fatal(got)
	}
	if got := l.view(at(100)).Doubtful; !slices.Equal(got, []cluster.BrokerID{1, 2}) {
		t.Fatal(got)
	}
	l.refused(2, at(110)) // and is lost, of which the others may not have heard yet
	l.answered(1, at(120))
	if got := l.view(at(200)).Doubtful; !slices.Equal(got, []cluster.BrokerID{2}) {
		t.Fatal(got)
	}
	if got := l.view(at(510)).Doubtful; len(got) != 0 {
		t.Fatal(got)
	}
}

// TestSuspects reads who sees what: "0: 2s 3r" says that to broker 0, which judges, 2 is silent and 3 refuses connections.
func TestSuspects(t *testing.T) {
	for _, tc := range []struct{ name, brokers, sees, want string }{
		{"nobody is lost", "0 1 2", "0:", ""},
		{"on its own word a silent broker is not judged", "0 1 2", "0: 2s", ""},
		{"nor one that refuses", "0 1 2", "0: 2r", ""},
		{"another broker agrees", "0 1 2", "0: 2s, 1: 2s", "2"},
		{"in its own way", "0 1 2", "0: 2r, 1: 2s", "2"},
		{"on the word of others alone nobody is judged", "0 1 2", "0:, 1: 2s", ""},
		{"the one that is cut off judges nobody", "0 1 2", "0: 1s 2s", ""},
		{"of two brokers, a silent one", "0 1", "0: 1s", ""},
		{"of two brokers, one that refuses", "0 1", "0: 1r", "1"},
		{"all others refuse", "0 1 2", "0: 1r 2r", "1 2"},
		{"one refuses, one is silent: a witness is missing", "0 1 2", "0: 1r 2s", ""},
		{"two of four are no majority", "0 1 2 3", "0: 2s 3s, 1: 2s 3s", ""},
		{"but enough for a refusal", "0 1 2 3", "0: 3r, 1: 3r", "3"},
		{"three of four are one", "0 1 2 3", "0: 3s, 1: 3s, 2: 3s", "3"},
		{"two of five are none", "0 1 2 3 4", "0: 4s, 1: 4s", ""},
		{"after a session's time the own word has to do", "0 1 2", "0: 2S", "2"},
		{"for two as well", "0 1", "0: 1S", "1"},
		{"unless nobody answers", "0 1 2", "0: 1S 2S", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := at(100_000)
			v := &View{Own: map[cluster.BrokerID]Loss{}, Since: map[cluster.BrokerID]time.Time{}, Told: map[cluster.BrokerID]map[cluster.BrokerID]Loss{}}
			for _, f := range strings.Fields(tc.brokers) {
				v.Brokers = append(v.Brokers, cluster.BrokerID(f[0]-'0'))
			}
			for _, part := range strings.Split(tc.sees, ",") {
				from, what, _ := strings.Cut(strings.TrimSpace(part), ":")
				of := map[cluster.BrokerID]Loss{}
				for _, f := range strings.Fields(what) {
					id := cluster.BrokerID(f[0] - '0')
					of[id] = map[byte]Loss{'s': Silent, 'S': Silent, 'r': Refused}[f[1]]
					if from == "0" {
						v.Since[id] = now.Add(-2 * time.Second)
						if f[1] == 'S' {
							v.Since[id] = now.Add(-18 * time.Second)
						}
					}
				}
				if from == "0" {
					v.Own = of
				} else {
					v.Told[cluster.BrokerID(from[0]-'0')] = of
				}
			}
			got := strings.Trim(fmt.Sprint(v.Suspects(now, 18*time.Second)), "[]")
			if got != tc.want {
				t.Errorf("suspects %q, want %q", got, tc.want)
			}
		})
	}
}
