package zktest_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/ottla/ottla/zk/zktest"
)

// TestTheSameAsApache plays random requests on the embedded server and on Apache's and compares every answer and event.
// OTTLA_PLAY_SEEDS sets the number of games.
func TestTheSameAsApache(t *testing.T) {
	apache, ours := startApache(t), startEmbedded(t)
	games := uint64(6)
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_PLAY_SEEDS"), 10, 32); err == nil {
		games = n
	}
	for seed := range games {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { zktest.Play(t, ours, apache, seed, 600) })
	}
}
