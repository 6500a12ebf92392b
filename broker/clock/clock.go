// Package clock is the time of day that a broker goes by. A machine's clock can be set wrongly by hand, by a time server or by a hypervisor, and what is
// eight days old by such a clock is deleted for good.
//
// A [Clock] compares the wall clock with the monotonic one, which nobody can set. As long as they agree, the wall clock counts, small corrections included.
// When the wall clock leaves the time that has passed by more than [Tolerance], the broker goes on by the time that has passed, as if nothing had happened,
// until ZooKeeper's clock confirms the new time. What is confirmed is believed at once, but nothing expires by it for an hour ([Grace]), because
// machines that are wrong together confirm each other. At the start there is no time that has passed; then ZooKeeper's clock is asked, and if it is behind,
// things expire by that one until both agree.
//
// Whatever measures how long something takes has no business here: it goes by the monotonic clock, time.Now and time.Since.
package clock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// interval is how often the clock is looked at.
	interval = 5 * time.Second
	// answerWithin bounds how long ZooKeeper may take to say the time.
	answerWithin = 2 * time.Second
	// repeat is how often a doubt is told again.
	repeat = time.Hour
)

// Config says what a Clock goes by.
type Config struct {
	// Wall is the machine's wall clock; nil means time.Now. Only the time of day counts of what it returns.
	Wall func() time.Time
	// Ask returns the time of day by ZooKeeper's clock; required.
	Ask func(context.Context) (time.Time, error)
	// Logger takes warnings; nil means none.
	Logger hclog.Logger
}

// Clock is the time of day. Now and Expiry may be called by anybody at any time; Check and Run take turns.
type Clock struct {
	cfg    Config
	origin time.Time // of the monotonic time
	belief atomic.Pointer[belief]
	told   time.Duration // when the last doubt was logged; of Check and Run
	off    time.Duration // and by how much the clock was off then
}

// New returns a clock that believes the wall clock. Call Check before anything is judged by its age.
func New(cfg Config) *Clock {
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	c := &Clock{cfg: cfg, origin: time.Now()}
	c.belief.Store(&belief{now: c.wall()})
	return c
}

// wall returns the time of day by the machine's clock, without a monotonic reading.
func (c *Clock) wall() time.Time { return c.cfg.Wall().Round(0) }

// passed is the monotonic time.
func (c *Clock) passed() time.Duration { return time.Since(c.origin) }

// Now returns the time of day: what records are dated with, and what their timestamps are checked against. It has no monotonic reading.
func (c *Clock) Now() time.Time {
	b := c.belief.Load()
	return b.read(c.wall(), c.passed())
}

// Expiry returns the time of day that things grow old by: what is deleted by its age is deleted by this. It is Now, or before it while it is not certain
// that the clock is right.
func (c *Clock) Expiry() time.Time {
	b := c.belief.Load()
	return b.read(c.wall(), c.passed()).Add(-b.behind)
}

// Check asks ZooKeeper for the time, compares, and logs what is wrong.
func (c *Clock) Check(ctx context.Context) error {
	at := c.passed()
	answer, err := c.cfg.Ask(ctx)
	if err != nil {
		return fmt.Errorf("ask ZooKeeper for the time, to compare the clocks: %w", err)
	}
	if c.passed()-at < Tolerance { // else the answer is old
		c.look(answer, nil)
	}
	return nil
}

// Run looks at the clock until ctx ends.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if b := c.belief.Load(); !b.doubt && !b.left(c.wall(), c.passed()) {
			c.look(time.Time{}, nil)
			continue
		}
		asking, cancel := context.WithTimeout(ctx, answerWithin)
		err := c.Check(asking)
		cancel()
		if err != nil && ctx.Err() == nil {
			c.look(time.Time{}, err)
		}
	}
}

// look takes the next step with what ZooKeeper answered, if it did; failure is why it did not although it was asked.
func (c *Clock) look(answer time.Time, failure error) {
	at := c.passed()
	wall := c.wall()
	if c.passed()-at > time.Second {
		return // the process stood still between the two readings
	}
	before := c.belief.Load()
	next, what := before.step(wall, at, answer)
	c.belief.Store(&next)
	c.tell(what, before, wall, at, answer, failure)
}

// tell logs what is new, and doubts again once an hour.
func (c *Clock) tell(what verdict, before *belief, wall time.Time, at time.Duration, answer time.Time, failure error) {
	steady := before.steady(at)
	facts := []any{"clock", stamp(wall)}
	switch {
	case !answer.IsZero():
		facts = append(facts, "zookeeper", stamp(answer))
	case failure != nil:
		facts = append(facts, "zookeeper", failure.Error())
	}
	switch what {
	case jumped, differs:
		off := wall.Sub(steady)
		if what == differs {
			off = wall.Sub(answer)
		}
		if c.told > 0 && at-c.told < repeat && away(off-c.off) <= Tolerance {
			return
		}
		c.told, c.off = max(at, 1), off
		if what == jumped {
			c.cfg.Logger.Warn("the clock of this machine was set, and ZooKeeper's does not confirm it: going on by the time that has passed, and nothing expires by the jump. "+
				"Set the clock right, or ZooKeeper's if that is the wrong one", append(facts, "jump", off.Round(time.Second), "believed", stamp(steady))...)
			return
		}
		c.cfg.Logger.Warn("the clocks of this machine and of ZooKeeper differ: until they agree, records and producers expire by the earlier of the two. Set the wrong one right",
			append(facts, "difference", off.Round(time.Second))...)
	case believed:
		c.told = 0
		c.cfg.Logger.Warn("the clock of this machine was set, and ZooKeeper's confirms it. If it was set forward, nothing expires by the jump within the next hour: set both back before then if this is a mistake",
			append(facts, "jump", wall.Sub(steady).Round(time.Second))...)
	case agrees:
		if c.told > 0 {
			c.cfg.Logger.Info("the clock of this machine is right again", facts...)
		}
		c.told = 0
	case released:
		c.cfg.Logger.Info("records and producers expire by the clock of this machine again", facts...)
	}
}

// stamp formats a time of day for the log.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
