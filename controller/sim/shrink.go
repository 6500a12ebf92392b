package sim

import (
	"fmt"
	"slices"
	"strings"
)

// shrinkSteps bounds the work of looking for a shorter schedule.
const shrinkSteps = 3_000_000

// String tells what went wrong, how to see it again, and the shortest way there that was found.
func (f *Failure) String() string {
	short := f.shrink()
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s\n", f.Invariant, f.Detail)
	fmt.Fprintf(&out, "again: make sim SEED=%d STEPS=%d\n", f.Options.Seed, f.Options.Steps)
	fmt.Fprintf(&out, "%d of %d decisions are enough:\n\n", len(short.schedule), len(f.schedule))
	play(f.Options, f.Options.plan(), replay(short.schedule), &out)
	return out.String()
}

// replay returns a source with the decisions of a schedule.
func replay(schedule []decision) func() (decision, bool) {
	i := 0
	return func() (decision, bool) {
		if i == len(schedule) {
			return decision{}, false
		}
		i++
		return schedule[i-1], true
	}
}

// shrink takes pieces out of the schedule, large ones first, as long as the same invariant is broken without them.
func (f *Failure) shrink() *Failure {
	best, work := f, 0
	for size := len(best.schedule) / 2; size > 0; {
		shorter := false
		for at := 0; at < len(best.schedule) && work < shrinkSteps; {
			without := slices.Delete(slices.Clone(best.schedule), at, min(at+size, len(best.schedule)))
			r := play(f.Options, f.Options.plan(), replay(without), nil)
			work += r.Steps
			if r.Failure != nil && r.Failure.Invariant == f.Invariant {
				best, shorter = r.Failure, true
			} else {
				at += size
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	return best
}
