package contact

import "time"

// disk is a broker's account of its own disk. Pure, like the [ledger] that it is a part of.
//
//	            an append has waited for patience
//	working ───────────────────────────────────────▶ stalled
//	   ▲                                                │
//	   └────────────────────────────────────────────────┘ none waits any more for as long as the stall lasted, at most longest
//
// So a disk that stalls now and then is given no leaderships in between.
type disk struct {
	patience time.Duration // 0 for ever
	longest  time.Duration // until a stall that is over counts no more

	stalled bool
	began   time.Time // when the stall began
	over    time.Time // when it was found to be over; zero while it goes on
}

// look judges the disk, given how long the oldest append has been waiting for it, and reports whether that changes what is seen.
func (d *disk) look(now time.Time, wait time.Duration) (changed bool) {
	switch {
	case d.patience <= 0:
	case wait >= d.patience:
		d.over = time.Time{}
		if !d.stalled {
			d.stalled, d.began, changed = true, now.Add(-wait), true
		}
	case !d.stalled:
	case d.over.IsZero():
		d.over = now
	case now.Sub(d.over) >= min(d.over.Sub(d.began), d.longest):
		d.stalled, changed = false, true
	}
	return changed
}
