package controller

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// Contact tells which brokers answer and which do not, whenever that changes and again while somebody does not. The active controller then moves
// leaderships away from those that are as good as dead; the others see to it that there is a controller that answers. It does not block. A later
// view replaces one that was not looked at yet.
func (c *Controller) Contact(v *contact.View) {
	c.seen.Store(v)
	if c.looking.Swap(true) {
		return // an event is on its way already
	}
	// An event that is dropped with its session loses nothing: the next reign begins with the latest view.
	c.queue.put(event{name: "contact", run: c.contactChanged, dropped: func() { c.looking.Store(false) }})
}

// contactChanged acts on the latest view.
func (c *Controller) contactChanged(ctx context.Context) {
	c.looking.Store(false)
	v := c.seen.Load()
	if c.session == nil {
		return
	}
	suspects := v.Suspects(c.cfg.Now(), c.cfg.SessionTimeout)
	if r := c.reign; r != nil {
		c.inReign(ctx, r, func(ctx context.Context) error { return c.drive(ctx, r, c.contactEvent(v, suspects)) })
		return
	}
	active := c.ActiveID()
	if !slices.Contains(suspects, active) {
		return
	}
	// On this broker's word alone it gets the time that a broker gets that ZooKeeper does not hear of: else two that do not reach each other would take the place
	// from each other without end.
	if others := v.Suspects(c.cfg.Now(), math.MaxInt64); !slices.Contains(others, active) && c.cfg.Now().Sub(c.activeSince) < c.cfg.SessionTimeout {
		return
	}
	c.depose(ctx, active)
}

// contactEvent is the view as the machine wants to hear it.
func (c *Controller) contactEvent(v *contact.View, suspects []cluster.BrokerID) state.Contact {
	e := state.Contact{Suspects: suspects, Stalled: v.Stalled, Unreached: slices.Clone(v.Doubtful), Late: v.Doubtful}
	for id := range v.Own {
		e.Unreached = append(e.Unreached, id)
	}
	slices.Sort(e.Unreached)
	e.Unreached = slices.Compact(e.Unreached)
	for _, pair := range v.Broken() {
		e.Broken = append(e.Broken, state.Link{From: pair[0], To: pair[1]})
	}
	e.MinISR, e.TopicMinISR = c.cfg.MinISR()
	return e
}

// depose takes the controller's place: a broker that answers to nobody cannot rule, and its session may last long. It is always safe. The election raises
// /controller_epoch, on whose version every write of the old controller depends, and brokers refuse its orders once they have heard of
// the new one.
func (c *Controller) depose(ctx context.Context, old cluster.BrokerID) {
	if c.holding || old == cluster.NoBroker || old == c.cfg.BrokerID {
		return
	}
	start := time.Now()
	power, id, err := c.session.Depose(ctx, old, c.cfg.TimeOfDay().UnixMilli())
	switch {
	case errors.Is(err, ErrMoved):
		c.log.Debug("another broker has replaced the controller", "old", old, "error", err)
	case err != nil:
		c.log.Warn("could not replace the controller that does not answer", "old", old, "error", err)
	case power == nil:
		c.setActiveID(id)
	default:
		c.log.Warn("the controller does not answer and is replaced", "old", old, "took", time.Since(start).Round(time.Millisecond))
		c.setActiveID(c.cfg.BrokerID)
		c.begin(ctx, power)
	}
}
