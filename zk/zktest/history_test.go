package zktest_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/jute"
	"github.com/ottla/ottla/zk/zktest"
	"github.com/ottla/ottla/zk/zktest/history"
)

// minute bounds the search for an order that explains a history.
const minute = time.Minute

// play has several clients send random requests at the same time, each n, and returns the history.
func play(t *testing.T, s zktest.Server, seed uint64, n int) []history.Op {
	t.Helper()
	var r history.Recorder
	var playing sync.WaitGroup
	paths := []string{fmt.Sprintf("/history-%d-a", seed), fmt.Sprintf("/history-%d-b", seed)}
	for id := range 4 {
		p, c := r.NewPlayer(id, seed, paths...), s.Connect(t)
		playing.Go(func() {
			if !p.Play(c, n, nil) {
				t.Errorf("client %d: the connection has ended", id)
			}
		})
	}
	playing.Wait()
	return r.History()
}

// requests is how many requests each client sends.
func requests() int {
	if os.Getenv("OTTLA_LONG_TESTS") != "" {
		return 10_000
	}
	return 400
}

func testHistories(t *testing.T, s zktest.Server) {
	for seed := range uint64(2) {
		h := play(t, s, seed, requests())
		if err := history.Linearizable(h, minute); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err := history.Sequential(h); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		counts := map[jute.Code]int{}
		for _, o := range h {
			counts[o.Code]++
		}
		for _, code := range []jute.Code{jute.OK, jute.NoNode, jute.NodeExists, jute.BadVersion} {
			if counts[code] == 0 {
				t.Errorf("seed %d: no request ended with %v: %v", seed, code, counts)
			}
		}
	}
}

func TestHistoriesOfEmbedded(t *testing.T) { testHistories(t, startEmbedded(t)) }

func TestHistoriesOfApache(t *testing.T) { testHistories(t, startApache(t)) }

// TestAStaleReadIsFoundOut answers one synced read in a true history from an earlier state of the node, and lets one
// client see an earlier state than before.
func TestAStaleReadIsFoundOut(t *testing.T) {
	truth := play(t, startEmbedded(t), 9, 400)
	for _, kind := range []history.Kind{history.SyncedRead, history.Read} {
		h := slices.Clone(truth)
		if !makeStale(h, kind) {
			t.Fatalf("no %v to change", kind)
		}
		var err error
		if kind == history.SyncedRead {
			err = history.Linearizable(h, minute)
		} else {
			err = history.Sequential(h)
		}
		if err == nil {
			t.Errorf("a stale %v is not found out", kind)
		}
	}
}

// makeStale gives the last read of a kind the answer of the same client's first read of that node, if it was another.
func makeStale(h []history.Op, kind history.Kind) bool {
	for i, o := range slices.Backward(h) {
		if o.Kind != kind || o.Code != jute.OK {
			continue
		}
		for _, first := range h[:i] {
			if first.Kind == kind && first.Client == o.Client && first.Path == o.Path && first.Code == jute.OK && first.Got != o.Got {
				h[i].Got, h[i].Stat = first.Got, first.Stat
				return true
			}
		}
	}
	return false
}
