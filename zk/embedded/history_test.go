package embedded_test

import (
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
	"github.com/ottla/ottla/zk/zktest/history"
)

// TestKilledServersLeaveOneOrder records what concurrent clients see of a real server that is killed and started again,
// while they keep their sessions, and checks that one order explains it: writes and synced reads are linearizable and
// plain reads sequentially consistent, over all restarts.
func TestKilledServersLeaveOneOrder(t *testing.T) {
	histories := 2
	switch {
	case os.Getenv("OTTLA_LONG_TESTS") != "":
		histories = 40
	case testing.Short():
		histories = 1
	}
	for range histories {
		seed := uint64(time.Now().UnixNano())
		h := playThroughKills(t, seed)
		unanswered := 0
		for _, o := range h {
			if o.Return == 0 {
				unanswered++
			}
		}
		t.Logf("seed %d: %d requests, %d without an answer", seed, len(h), unanswered)
		if err := history.Linearizable(h, time.Minute); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err := history.Sequential(h); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// playThroughKills plays with four clients through five kills.
func playThroughKills(t *testing.T, seed uint64) []history.Op {
	t.Helper()
	d := newDaemon(t, "snapCount=50\n")
	rng := rand.New(rand.NewPCG(seed, 0))
	var r history.Recorder
	players, clients := make([]*history.Player, 4), make([]*zktest.Client, 4)
	for i := range players {
		players[i] = r.NewPlayer(i, seed, "/a", "/b", "/c")
	}
	for range 5 {
		l := d.run()
		fatal, answers := 20+rng.Int64N(200), new(atomic.Int64)
		var playing, killing sync.WaitGroup
		for i := range players { // all of them, before the first plays: then the server may be killed
			if clients[i] != nil {
				clients[i] = d.reattach(clients[i])
			} else {
				clients[i] = d.Open(t)
				clients[i].Handshake(jute.ConnectRequest{TimeoutMs: 10_000})
			}
		}
		for i, p := range players {
			playing.Go(func() {
				p.Play(clients[i], 10_000, func() {
					if answers.Add(1) == fatal {
						killing.Go(l.kill)
					}
				})
			})
		}
		playing.Wait()
		killing.Wait()
	}
	last := d.run()
	defer last.kill()
	for i, p := range players {
		if !p.ReadAll(d.reattach(clients[i])) {
			t.Error("the last reads were not answered")
		}
	}
	return r.History()
}
