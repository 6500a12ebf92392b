package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// ask hands an event to the machine and returns its reply. The error carries NOT_CONTROLLER when this broker is not the
// controller or ceases to be meanwhile (the event may then have had effects, or not), and REQUEST_TIMED_OUT when ctx ends first. What then has
// not begun is left undone: after ZooKeeper was away for a while there may be much that its senders have asked for again since.
func (c *Controller) ask(ctx context.Context, name string, e state.Event) (any, error) {
	type answer struct {
		reply any
		err   error
	}
	answered := make(chan answer, 1) // one is sent, whoever still waits
	refuse := func() { answered <- answer{err: kerr.NotController.Err()} }
	c.queue.put(event{name: name, dropped: refuse, run: func(loop context.Context) {
		r := c.reign
		if r == nil || ctx.Err() != nil { // nobody waits: what is not done yet is not done at all
			refuse()
			return
		}
		replied := false
		c.inReign(loop, r, func(loop context.Context) error {
			return c.driveForReply(loop, r, e, func(reply any) {
				replied = true
				answered <- answer{reply: reply}
			})
		})
		if !replied {
			refuse()
		}
	}})
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, kerr.RequestTimedOut.Err()
	}
}

// AlterPartition changes in-sync replicas as their leaders ask (F§2.12). It is the same leader's turn to ask again after anything
// but success. Without a reply to the contents, its code is NOT_CONTROLLER or REQUEST_TIMED_OUT.
func (c *Controller) AlterPartition(ctx context.Context, req state.AlterPartition) state.AlterReply {
	reply, err := c.ask(ctx, "alter partition", req)
	if err != nil {
		return state.AlterReply{Code: kerr.CodeOf(err)}
	}
	out := reply.(state.AlterReply)
	for _, p := range out.Partitions {
		if p.Code == kerr.NotController {
			// A leader has seen a state that this controller has not: perhaps there is another one (KAFKA-14154).
			c.queue.put(event{name: "a leader knows more", run: c.controllerChanged})
			break
		}
	}
	return out
}

// ControlledShutdown prepares for the stop of a broker: its leaderships move away, and it leaves the ISRs (F§2.11). It returns the
// partitions that it still leads though others hold them too; the broker asks again while there are any. The error carries
// NOT_CONTROLLER, STALE_BROKER_EPOCH, BROKER_NOT_AVAILABLE or REQUEST_TIMED_OUT.
func (c *Controller) ControlledShutdown(ctx context.Context, id cluster.BrokerID, epoch cluster.BrokerEpoch) ([]cluster.TopicPartition, error) {
	reply, err := c.ask(ctx, "controlled shutdown", state.ControlledShutdown{Broker: id, BrokerEpoch: epoch})
	if err != nil {
		return nil, fmt.Errorf("prepare for the shutdown of broker %d: %w", id, err)
	}
	out := reply.(state.ShutdownReply)
	if out.Code != kerr.None {
		return nil, fmt.Errorf("prepare for the shutdown of broker %d: %w", id, out.Code.Err())
	}
	return out.Remaining, nil
}

// ElectLeaders elects as asked for and waits up to timeout until the new leaders are in this broker's metadata (F§2.9). A leader
// that is not there by then has the code REQUEST_TIMED_OUT; it is elected all the same. The error carries NOT_CONTROLLER or
// REQUEST_TIMED_OUT.
func (c *Controller) ElectLeaders(ctx context.Context, req state.ElectLeaders, timeout time.Duration) ([]state.ElectResult, error) {
	reply, err := c.ask(ctx, "elect leaders", req)
	if err != nil {
		return nil, fmt.Errorf("elect leaders: %w", err)
	}
	results := reply.(state.ElectReply).Partitions
	timer := time.NewTimer(max(timeout, 0))
	defer timer.Stop()
	for {
		changed := c.cfg.Metadata.Changed()
		image := c.cfg.Metadata.Image()
		var missing []int
		for i, r := range results {
			if p, ok := image.Partition(r.Partition); r.Code == kerr.None && (!ok || p.Leader != r.Leader) {
				missing = append(missing, i)
			}
		}
		if len(missing) == 0 {
			return results, nil
		}
		select {
		case <-changed:
			continue
		case <-timer.C:
		case <-ctx.Done():
		}
		for _, i := range missing {
			results[i].Code, results[i].Leader = kerr.RequestTimedOut, cluster.NoBroker
		}
		return results, nil
	}
}

// UncleanElectionEnabled says that unclean.leader.election.enable was switched on while running: for a topic, or for all when
// topic is empty. Partitions without leader elect. It does not block; on a broker that is not the controller it does nothing.
func (c *Controller) UncleanElectionEnabled(topic string) {
	c.queue.put(event{name: "unclean election enabled", run: func(ctx context.Context) {
		if r := c.reign; r != nil {
			c.inReign(ctx, r, func(ctx context.Context) error { return c.drive(ctx, r, state.UncleanElectionEnabled{Topic: topic}) })
		}
	}})
}

// UncleanElectionDisabled says that the default of unclean.leader.election.enable was switched off while running. It does not block; on a
// broker that is not the controller it does nothing.
func (c *Controller) UncleanElectionDisabled() {
	c.queue.put(event{name: "unclean election disabled", run: func(ctx context.Context) {
		if r := c.reign; r != nil {
			c.inReign(ctx, r, func(ctx context.Context) error { return c.drive(ctx, r, state.UncleanElectionDisabled{}) })
		}
	}})
}

// rebalanceFirst is how long after its beginning a reign looks for the first time whether leadership is where it should be.
const rebalanceFirst = 5 * time.Second

// rebalanceAfter looks after d, and then at every interval.
func (c *Controller) rebalanceAfter(r *reign, d time.Duration) {
	if c.cfg.RebalanceInterval <= 0 {
		return
	}
	r.rebalance = time.AfterFunc(d, func() {
		c.queue.put(event{name: "rebalance", run: func(ctx context.Context) {
			c.inReign(ctx, r, func(ctx context.Context) error {
				c.rebalanceAfter(r, c.cfg.RebalanceInterval)
				return c.drive(ctx, r, state.Rebalance{Percentage: c.cfg.ImbalancePercentage})
			})
		}})
	})
}
