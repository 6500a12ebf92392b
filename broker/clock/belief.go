package clock

import "time"

const (
	// Tolerance is by how much clocks may differ and still agree.
	Tolerance = 5 * time.Minute
	// Grace is how long nothing expires by a clock that was set forward, although ZooKeeper's agrees.
	Grace = time.Hour
)

// belief is what is known of the time of day. Monotonic times are counted from any fixed moment.
type belief struct {
	at     time.Duration // monotonic, when it was now
	now    time.Time
	behind time.Duration // by how much the time that things expire by is behind
	doubt  bool          // the wall clock has jumped, or differs from ZooKeeper's, and nothing has settled it
	agreed time.Duration // monotonic, since when there is no doubt
}

// verdict is what a look at the clocks has shown.
type verdict int8

const (
	nothing  verdict = iota
	jumped           // the wall clock has left the time that has passed, and ZooKeeper's does not confirm it
	differs          // the wall clock goes with the time that has passed, and ZooKeeper's says something else
	believed         // the wall clock has jumped, and ZooKeeper's confirms it
	agrees           // the doubt is over
	released         // things expire by the clock again
)

// steady is the time of day by the time that has passed.
func (b *belief) steady(at time.Duration) time.Time { return b.now.Add(at - b.at) }

// left reports whether the wall clock has left the time that has passed.
func (b *belief) left(wall time.Time, at time.Duration) bool {
	return away(wall.Sub(b.steady(at))) > Tolerance
}

// read is the time of day: the wall clock's, unless that has left the time that has passed.
func (b *belief) read(wall time.Time, at time.Duration) time.Time {
	if b.left(wall, at) {
		return b.steady(at)
	}
	return wall
}

// step is what to believe after a look at the clocks; answer is ZooKeeper's time, zero when it was not asked or did not answer.
func (b *belief) step(wall time.Time, at time.Duration, answer time.Time) (belief, verdict) {
	next := *b
	confirmed := !answer.IsZero() && away(wall.Sub(answer)) <= Tolerance
	if b.left(wall, at) {
		if !confirmed {
			next.doubt = true
			return next, jumped
		}
		next.behind = max(0, b.behind+wall.Sub(b.steady(at)))
		next.now, next.at, next.doubt, next.agreed = wall, at, false, at
		return next, believed
	}
	next.now, next.at = wall, at
	switch {
	case confirmed && b.doubt:
		next.doubt, next.agreed = false, at
		return next, agrees
	case !answer.IsZero() && !confirmed:
		next.doubt, next.behind = true, max(b.behind, wall.Sub(answer))
		return next, differs
	case !b.doubt && b.behind > 0 && at-b.agreed >= Grace:
		next.behind = 0
		return next, released
	}
	return next, nothing
}

// away is how far from zero a difference is.
func away(d time.Duration) time.Duration { return max(d, -d) }
