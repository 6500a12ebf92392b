package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// number returns a number from the environment, for "make sim".
func number(t *testing.T, name string, otherwise uint64) (n uint64, given bool) {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// steps is how many things happen to a cluster before the faults stop. Many short lives show more than a long one.
const steps = 400

// TestClustersKeepTheirPromises simulates many clusters. OTTLA_SIM_SEED and OTTLA_SIM_STEPS simulate one again, and tell all that happens;
// OTTLA_SIM_TOTAL is how many steps are to be made in all otherwise, and OTTLA_SIM_FROM the first seed.
func TestClustersKeepTheirPromises(t *testing.T) {
	seed, again := number(t, "OTTLA_SIM_SEED", 0)
	length, _ := number(t, "OTTLA_SIM_STEPS", steps)
	o := Options{Seed: seed, Steps: int(length), Rules: Real()}
	if again {
		r, trace := Trace(o)
		t.Log(trace)
		if r.Failure != nil {
			t.Fatal(r.Failure)
		}
		return
	}
	o.Seed, _ = number(t, "OTTLA_SIM_FROM", 0)
	from := o.Seed
	total, _ := number(t, "OTTLA_SIM_TOTAL", 250_000)
	if testing.Short() {
		total = 50_000
	}
	var sum Report
	for ; sum.Steps < int(total); o.Seed++ {
		r := Run(o)
		if r.Failure != nil {
			t.Fatalf("seed %d: %s", o.Seed, r.Failure)
		}
		sum.Steps += r.Steps
		sum.Acked += r.Acked
		sum.Committed += r.Committed
		sum.Elections += r.Elections
		sum.Reigns += r.Reigns
		sum.Moves += r.Moves
		sum.Failures += r.Failures
	}
	t.Logf("%d clusters, %d steps: %d records committed, %d acknowledged, %d elections, %d controllers, %d reassignments, %d failed disks",
		o.Seed-from, sum.Steps, sum.Committed, sum.Acked, sum.Elections, sum.Reigns, sum.Moves, sum.Failures)
	for name, n := range map[string]int{"acknowledged records": sum.Acked, "elections": sum.Elections, "controllers": sum.Reigns} {
		if n < sum.Steps/500 {
			t.Errorf("only %d %s in %d steps: too little happens to find anything", n, name, sum.Steps)
		}
	}
	if sum.Moves < sum.Steps/5000 || sum.Failures < sum.Steps/5000 {
		t.Errorf("only %d reassignments and %d failed disks in %d steps", sum.Moves, sum.Failures, sum.Steps)
	}
}

func TestTheSameSeedIsTheSameStory(t *testing.T) {
	for seed := range uint64(20) {
		o := Options{Seed: seed, Steps: steps, Rules: Real()}
		first, story := Trace(o)
		if second, again := Trace(o); again != story || second != first {
			t.Fatalf("seed %d: two runs differ", seed)
		}
		if plain := Run(o); plain != first {
			t.Fatalf("seed %d: %+v when it is not told, %+v when it is", seed, plain, first)
		}
	}
}

func TestAFailureIsToldInShort(t *testing.T) {
	rules := Real()
	rules.Outcome = func(*replica.Standing, uint64, cluster.Offset, cluster.Offset, int) (kerr.Code, bool) {
		return kerr.None, true
	}
	for seed := uint64(0); ; seed++ {
		f := Run(Options{Seed: seed, Steps: steps, Rules: rules}).Failure
		if f == nil {
			continue
		}
		short := f.shrink()
		if short.Invariant != f.Invariant || len(short.schedule) > 40 || len(short.schedule) > len(f.schedule) {
			t.Errorf("%d of %d decisions for %q, found for %q", len(short.schedule), len(f.schedule), short.Invariant, f.Invariant)
		}
		told := f.String()
		for _, want := range []string{f.Invariant, "make sim SEED=" + strconv.FormatUint(seed, 10), "VIOLATED " + f.Invariant} {
			if !strings.Contains(told, want) {
				t.Errorf("%q is not in what is told:\n%s", want, told)
			}
		}
		return
	}
}
