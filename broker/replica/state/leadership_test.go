package state

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

var epochZero = time.UnixMilli(1_700_000_000_000)

func at(seconds int) time.Time { return epochZero.Add(time.Duration(seconds) * time.Second) }

func everyoneIsAlive(cluster.BrokerID) bool { return true }

func quietly(now time.Time) *Surroundings {
	return &Surroundings{Now: now, MaxLag: 30 * time.Second, MinISR: 1, Alive: everyoneIsAlive}
}

func TestAReplicaIsCaughtUp(t *testing.T) {
	fetch := func(second int, offset, leaderEnd cluster.Offset) Mark {
		return Mark{Offset: offset, LeaderEnd: leaderEnd, At: at(second), BrokerEpoch: cluster.NoBrokerEpoch}
	}
	for _, c := range []struct {
		name       string
		inISR      bool
		fetches    []Mark
		caughtUpAt time.Time
	}{
		{"at the start of an epoch if it is in the ISR", true, nil, at(0)},
		{"never before its first fetch if it is not", false, nil, time.Time{}},
		{"when it asks for the leader's end", false, []Mark{fetch(10, 100, 100)}, at(10)},
		{"not when it lags behind at its first fetch", false, []Mark{fetch(10, 99, 100)}, time.Time{}},
		{"since its previous fetch when it has reached what the leader had then", false, []Mark{fetch(10, 50, 100), fetch(20, 100, 200)}, at(10)},
		{"not when it falls short of what the leader had at the previous fetch", false, []Mark{fetch(10, 50, 100), fetch(20, 99, 200)}, time.Time{}},
		{"always one fetch ago while the leader keeps moving", false, []Mark{fetch(1, 0, 10), fetch(2, 10, 20), fetch(3, 20, 30), fetch(4, 30, 40)}, at(3)},
		{"and stays so when it then stops", false, []Mark{fetch(1, 10, 10), fetch(9, 10, 500), fetch(10, 20, 600)}, at(1)},
	} {
		p := newProgress(c.inISR, at(0))
		for _, f := range c.fetches {
			p = p.fetched(f)
		}
		if !p.caughtUpAt.Equal(c.caughtUpAt) {
			t.Errorf("%s: caught up at %v, want %v", c.name, p.caughtUpAt, c.caughtUpAt)
		}
	}
}

func TestLagIsMeasuredInTimeOnly(t *testing.T) {
	p := newProgress(true, at(0)).fetched(Mark{Offset: 10, LeaderEnd: 10, At: at(5)})
	const lag = 30 * time.Second
	if !p.caughtUp(1_000_000, at(35), lag) {
		t.Error("a replica that was level 30 s ago does not count as caught up")
	}
	if p.caughtUp(1_000_000, at(36), lag) {
		t.Error("a replica that was level 31 s ago counts as caught up")
	}
	if !p.caughtUp(10, at(10_000), lag) {
		t.Error("an idle replica whose log ends where the leader's does counts as lagging")
	}
}

func TestAFetchFromBeforeARestartIsStale(t *testing.T) {
	p := newProgress(true, at(0)).fetched(Mark{Offset: 10, LeaderEnd: 10, At: at(1), BrokerEpoch: 7})
	if !p.stale(Mark{BrokerEpoch: 6}) || p.stale(Mark{BrokerEpoch: 7}) || p.stale(Mark{BrokerEpoch: 8}) || p.stale(Mark{BrokerEpoch: -1}) {
		t.Error("only fetches of an earlier registration are stale")
	}
	p = p.fetched(Mark{Offset: 4, LeaderEnd: 100, At: at(2), BrokerEpoch: 8})
	if !p.caughtUpAt.IsZero() {
		t.Errorf("after its restart the replica still counts as caught up at %v", p.caughtUpAt)
	}
	if p.logEnd != 4 {
		t.Errorf("log end %d, want 4", p.logEnd)
	}
}

func ids(n ...cluster.BrokerID) []cluster.BrokerID { return n }

func TestTheHighWatermark(t *testing.T) {
	const unknown = cluster.UnknownOffset
	for _, c := range []struct {
		name            string
		replicas, isr   []cluster.BrokerID
		proposed        []cluster.BrokerID
		ends            map[cluster.BrokerID]cluster.Offset // log ends; 9 is the leader
		caughtUp        []cluster.BrokerID                  // outside the ISR
		dead            cluster.BrokerID
		minISR          int
		current, expect cluster.Offset
	}{
		{name: "a single replica moves at once", replicas: ids(9), isr: ids(9), ends: map[cluster.BrokerID]cluster.Offset{9: 10}, expect: 10},
		{name: "the slowest in-sync replica decides", replicas: ids(9, 1, 2), isr: ids(9, 1, 2), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 7, 2: 8}, expect: 7},
		{name: "a replica that has not fetched yet holds it", replicas: ids(9, 1), isr: ids(9, 1), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: unknown}, current: 3, expect: 3},
		{name: "a replica outside the ISR does not count", replicas: ids(9, 1, 2), isr: ids(9, 1), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 9, 2: 4}, expect: 9},
		{name: "unless it is level and about to join", replicas: ids(9, 1, 2), isr: ids(9, 1), caughtUp: ids(2), dead: -1, ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 9, 2: 8}, expect: 8},
		{name: "but not when it is dead", replicas: ids(9, 1, 2), isr: ids(9, 1), caughtUp: ids(2), dead: 2, ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 9, 2: 8}, expect: 9},
		{name: "a proposed addition counts at once", replicas: ids(9, 1, 2), isr: ids(9, 1), proposed: ids(9, 1, 2), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 9, 2: 6}, expect: 6},
		{name: "a proposed removal does not count yet", replicas: ids(9, 1, 2), isr: ids(9, 1, 2), proposed: ids(9, 1), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 9, 2: 6}, expect: 6},
		{name: "it never falls", replicas: ids(9, 1), isr: ids(9, 1), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 2}, current: 5, expect: 5},
		{name: "it stands still below min.insync.replicas", replicas: ids(9, 1, 2), isr: ids(9), minISR: 2, ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 1, 2: 1}, current: 1, expect: 1},
		{name: "it stands still while a broker is in sync that is no replica any more", replicas: ids(9, 1), isr: ids(9, 1, 2), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 7}, current: 3, expect: 3},
		{name: "until that is taken out", replicas: ids(9, 1), isr: ids(9, 1), ends: map[cluster.BrokerID]cluster.Offset{9: 10, 1: 7}, current: 3, expect: 7},
		{name: "min.insync.replicas above the number of replicas means all", replicas: ids(9), isr: ids(9), minISR: 3, ends: map[cluster.BrokerID]cluster.Offset{9: 10}, expect: 10},
	} {
		l := newLeadership(9, c.replicas, c.isr, 0, at(-1000))
		l.proposed = c.proposed
		for i := range l.remotes {
			r := &l.remotes[i]
			r.logEnd = c.ends[r.id]
			if slices.Contains(c.caughtUp, r.id) {
				r.caughtUpAt = at(0)
			}
		}
		s := &Surroundings{Now: at(1), MaxLag: 30 * time.Second, MinISR: c.minISR, Alive: func(id cluster.BrokerID) bool { return id != c.dead }}
		if got := l.HighWatermark(c.current, c.ends[9], s); got != c.expect {
			t.Errorf("%s: got %d, want %d", c.name, got, c.expect)
		}
	}
}

// dumbHighWatermark says the same by definition: collect everybody who counts, sort, take the first.
func dumbHighWatermark(l *Leadership, current, logEnd cluster.Offset, s *Surroundings) cluster.Offset {
	set := map[cluster.BrokerID]bool{}
	for _, id := range l.isr {
		set[id] = true
	}
	if len(set) < s.MinISR && len(set) < len(l.replicas) {
		return current
	}
	for _, id := range l.proposed {
		set[id] = true
	}
	ends := map[cluster.BrokerID]cluster.Offset{l.self: logEnd}
	for _, r := range l.remotes {
		ends[r.id] = r.logEnd
		level := r.logEnd == logEnd || s.Now.Sub(r.caughtUpAt) <= s.MaxLag
		if level && s.Alive(r.id) {
			set[r.id] = true
		}
	}
	set[l.self] = true
	var all []cluster.Offset
	for id := range set {
		all = append(all, ends[id])
	}
	slices.Sort(all)
	if all[0] < current {
		return current
	}
	return all[0]
}

func TestTheHighWatermarkIsWhatItsDefinitionSays(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	for seed := range uint64(rounds) {
		rnd := rand.New(rand.NewPCG(seed, 42))
		replicas := ids(0, 1, 2, 3, 4)[:1+rnd.IntN(5)]
		subset := func() []cluster.BrokerID {
			s := ids(0)
			for _, id := range replicas[1:] {
				if rnd.IntN(2) == 0 {
					s = append(s, id)
				}
			}
			return s
		}
		l := newLeadership(0, replicas, subset(), 0, at(0))
		if rnd.IntN(2) == 0 {
			l.proposed = subset()
		}
		logEnd := cluster.Offset(rnd.IntN(8))
		now := 0
		for range rnd.IntN(12) {
			now += rnd.IntN(20)
			logEnd += cluster.Offset(rnd.IntN(3))
			if len(l.remotes) > 0 {
				r := &l.remotes[rnd.IntN(len(l.remotes))]
				r.progress = r.fetched(Mark{Offset: cluster.Offset(rnd.IntN(int(logEnd) + 1)), LeaderEnd: logEnd, At: at(now)})
			}
		}
		dead := cluster.BrokerID(rnd.IntN(6))
		s := &Surroundings{Now: at(now + rnd.IntN(40)), MaxLag: 30 * time.Second, MinISR: rnd.IntN(4), Alive: func(id cluster.BrokerID) bool { return id != dead }}
		current := cluster.Offset(rnd.IntN(4))
		current = min(current, logEnd)
		got, want := l.HighWatermark(current, logEnd, s), dumbHighWatermark(l, current, logEnd, s)
		if got != want {
			t.Fatalf("seed %d: got %d, want %d\n%+v\ncurrent %d, log end %d, %+v", seed, got, want, l, current, logEnd, s)
		}
		if got < current || got > logEnd {
			t.Fatalf("seed %d: high watermark %d left [%d, %d]", seed, got, current, logEnd)
		}
		if n := l.MaximalSize(); n < len(l.isr) || n > len(replicas) {
			t.Fatalf("seed %d: maximal ISR of %d members, committed %d, replicas %d", seed, n, len(l.isr), len(replicas))
		}
	}
}

func TestMovingTheHighWatermarkAllocatesNothing(t *testing.T) {
	l := newLeadership(0, ids(0, 1, 2), ids(0, 1, 2), 0, at(0))
	s := quietly(at(1))
	if n := testing.AllocsPerRun(100, func() { l.HighWatermark(0, 10, s) }); n != 0 {
		t.Errorf("allocates %v times", n)
	}
}
