package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/controller/channel"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// reign is the time for which this broker is controller: its power, what it knows, and its senders. It belongs to the event loop.
type reign struct {
	power    Power
	machine  *state.Machine
	channels Channels
	log      hclog.Logger

	rebalance *time.Timer // nil when leadership is not rebalanced
	doubted   bool        // it was reported that brokers know a later epoch although nobody else is controller
}

// begin takes over in Kafka's order (F§2.3).
func (c *Controller) begin(ctx context.Context, power Power) {
	r := &reign{power: power, log: c.log.With("epoch", power.Epoch())}
	r.log.Info("elected controller")
	r.machine = state.New(state.Options{
		ControllerID: c.cfg.BrokerID, Epoch: power.Epoch(), UncleanElection: c.cfg.UncleanElection(), DeleteTopics: c.cfg.DeleteTopics,
	})
	r.channels = c.cfg.Channels(channel.Config{
		ControllerID:   c.cfg.BrokerID,
		Epoch:          power.Epoch(),
		Listener:       c.cfg.InterBrokerListener,
		Dial:           c.cfg.Dial,
		Token:          c.cfg.Token,
		RequestTimeout: c.cfg.RequestTimeout,
		Logger:         c.log.Named("channel"),
		Answer: func(e state.Event) {
			c.queue.put(event{name: "answer", run: func(ctx context.Context) {
				c.inReign(ctx, r, func(ctx context.Context) error { return c.drive(ctx, r, e) })
			}})
		},
		Deposed: func() { c.queue.put(event{name: "deposed", run: func(ctx context.Context) { c.deposed(ctx, r) }}) },
	})
	c.reign = r
	c.active.Store(true)
	c.inReign(ctx, r, func(ctx context.Context) error {
		if err := c.failover(ctx, r); err != nil {
			return err
		}
		c.rebalanceAfter(r, rebalanceFirst)
		if v := c.seen.Load(); v != nil {
			// Who did not answer before this reign began may not be heard of again soon.
			return c.drive(ctx, r, c.contactEvent(v, v.Suspects(c.cfg.Now(), c.cfg.SessionTimeout)))
		}
		return nil
	})
}

// failover reads the cluster and starts the machine with it. Each read sets its watches, so that no change after it is missed.
func (c *Controller) failover(ctx context.Context, r *reign) error {
	if err := r.power.Sync(ctx); err != nil {
		return fmt.Errorf("catch up with ZooKeeper: %w", err)
	}
	if err := r.power.SetUpFeatures(ctx); err != nil {
		return fmt.Errorf("set up the features: %w", err)
	}
	if _, _, err := r.power.LogDirEvents(ctx); err != nil {
		return fmt.Errorf("watch for log directory failures: %w", err)
	}
	if err := r.power.DeleteAllNotifications(ctx); err != nil {
		return fmt.Errorf("remove old notifications: %w", err)
	}
	var e state.Failover
	var err error
	if e.Brokers, err = r.power.Brokers(ctx); err != nil {
		return fmt.Errorf("read the brokers: %w", err)
	}
	// Before the topics: who asks for a deletion has seen the topic, so that it is among those that are read afterwards.
	if e.Deletions, err = r.power.Deletions(ctx); err != nil {
		return fmt.Errorf("read the topics to delete: %w", err)
	}
	names, err := r.power.TopicNames(ctx)
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	if e.Topics, err = r.power.Topics(ctx, names); err != nil {
		return fmt.Errorf("read the assignments: %w", err)
	}
	var tps []cluster.TopicPartition
	for _, t := range e.Topics {
		for index := range t.Assignments {
			tps = append(tps, cluster.TopicPartition{Topic: t.Name, Partition: index})
		}
	}
	if e.States, e.Written, err = r.power.States(ctx, tps); err != nil {
		return fmt.Errorf("read the partition states: %w", err)
	}
	if e.Reassignments, _, err = r.power.Reassignments(ctx); err != nil {
		return fmt.Errorf("read the reassignments asked for in ZooKeeper: %w", err)
	}
	if e.Elections, err = r.power.Elections(ctx); err != nil {
		return fmt.Errorf("read the elections asked for in ZooKeeper: %w", err)
	}
	return c.drive(ctx, r, e)
}

// drive takes the machine through one event: plan, commit, apply, send, until it is dealt with. An error leaves the machine in the
// middle; the reign must then end.
func (c *Controller) drive(ctx context.Context, r *reign, e state.Event) error {
	return c.driveForReply(ctx, r, e, func(any) {})
}

// driveForReply is drive for events that have a reply. It hands the reply out as soon as there is one: an event may go on after it.
func (c *Controller) driveForReply(ctx context.Context, r *reign, e state.Event, answer func(reply any)) error {
	step := r.machine.Handle(e)
	for {
		if !c.session.Live() {
			return ErrOver // a pause may have made this controller a thing of the past: it must not send
		}
		for _, s := range step.Senders {
			switch s.Kind {
			case state.AddSender:
				r.channels.Add(s.Broker)
			case state.RemoveSender:
				r.channels.Remove(s.Broker.ID)
			case state.MoveSender:
				r.channels.Move(s.Broker)
			}
		}
		r.report(step.Notes)
		for _, req := range step.Requests {
			r.channels.Send(req)
		}
		if step.Reply != nil {
			answer(step.Reply)
		}
		if step.Done {
			return nil
		}
		results, err := r.power.Commit(ctx, step.Ops)
		if err != nil {
			return fmt.Errorf("commit %d operations: %w", len(step.Ops), err)
		}
		step = r.machine.Apply(results)
	}
}

// maxAlike is how many notes of one text are logged for one step: a broker may take a hundred thousand partitions with it.
const maxAlike = 20

// report logs the notes of a step.
func (r *reign) report(notes []state.Note) {
	levels := [...]hclog.Level{state.Info: hclog.Info, state.Warn: hclog.Warn, state.Error: hclog.Error}
	count := make(map[string]int)
	for _, n := range notes {
		if count[n.Text]++; count[n.Text] <= maxAlike {
			r.log.Log(levels[n.Level], n.Text, n.Pairs...)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(count)) {
		if more := count[text] - maxAlike; more > 0 {
			r.log.Warn("more of the same was not logged", "text", text, "count", more)
		}
	}
}

// inReign does something that belongs to a reign, unless that has ended, and ends it when f fails (F§1.3 step 6).
func (c *Controller) inReign(ctx context.Context, r *reign, f func(ctx context.Context) error) {
	if c.reign != r {
		return
	}
	err := f(ctx)
	switch {
	case err == nil:
	case errors.Is(err, ErrMoved):
		c.resign("another controller was elected: " + err.Error())
		c.controllerChanged(ctx)
	case errors.Is(err, ErrOver) || ctx.Err() != nil:
		c.resign(err.Error())
	default:
		r.log.Error("the controller cannot go on and resigns", "error", err)
		power := r.power
		c.resign(err.Error())
		if err := power.Resign(ctx); err != nil && !errors.Is(err, ErrMoved) {
			r.log.Warn("could not delete /controller", "error", err)
		}
		c.setActiveID(cluster.NoBroker)
		c.holding = true // others go first: what made this controller fail may not trouble them
		c.electLater("takes part in the next election after a while", err)
	}
}

// resign ends the reign. Nothing is written.
func (c *Controller) resign(reason string) {
	r := c.reign
	if r == nil {
		return
	}
	c.active.Store(false)
	c.reign = nil
	if r.rebalance != nil {
		r.rebalance.Stop()
	}
	r.channels.Close()
	r.power.Close()
	r.log.Info("no longer controller", "reason", reason)
}

// deposed is told that a broker knows a later controller epoch than the reign's. Mostly there is another controller then. If there is none, brokers remember
// what ZooKeeper does not know any more, and take no orders until somebody does something about it.
func (c *Controller) deposed(ctx context.Context, r *reign) {
	if c.reign != r {
		return
	}
	synced := r.power.Sync(ctx) == nil // else a server that lags may still name this broker
	c.controllerChanged(ctx)
	if synced && c.reign == r && !r.doubted {
		r.doubted = true
		r.log.Error("brokers know a later controller epoch than ZooKeeper, which has lost what it knew: write a larger number into /controller_epoch and delete /controller, or restart all brokers")
	}
}

// changed deals with a watch that fired, or everything after a reconnection.
func (c *Controller) changed(ctx context.Context, ch Change) {
	switch ch.Kind {
	case ControllerNodeChange:
		c.controllerChanged(ctx)
		return
	case EverythingChange:
		c.controllerChanged(ctx)
	}
	if r := c.reign; r != nil {
		c.inReign(ctx, r, func(ctx context.Context) error { return c.reread(ctx, r, ch) })
	}
}

// reread reads what may have changed, which sets the watches again, and hands it to the machine.
func (c *Controller) reread(ctx context.Context, r *reign, ch Change) error {
	switch ch.Kind {
	case EverythingChange:
		return c.rereadAll(ctx, r)
	case BrokersChange:
		brokers, err := r.power.Brokers(ctx)
		if err != nil {
			return fmt.Errorf("read the brokers: %w", err)
		}
		return c.drive(ctx, r, state.BrokerChange{Brokers: brokers})
	case TopicsChange:
		return c.rereadTopics(ctx, r)
	case TopicNodeChange:
		return c.rereadTopicNodes(ctx, r, []string{ch.Topic})
	case DeletionsChange:
		names, err := r.power.Deletions(ctx)
		if err != nil {
			return fmt.Errorf("read the topics to delete: %w", err)
		}
		if slices.ContainsFunc(names, func(name string) bool { return !r.machine.HasTopic(name) }) {
			// Perhaps it was created just now, and its own event comes later: the wish must not be taken for a mistake.
			if err := c.rereadTopics(ctx, r); err != nil {
				return err
			}
		}
		return c.drive(ctx, r, state.TopicDeletion{Names: names})
	case ReassignmentsChange:
		e, ok, err := r.power.Reassignments(ctx)
		if err != nil {
			return fmt.Errorf("read the reassignments asked for in ZooKeeper: %w", err)
		}
		if !ok {
			return nil
		}
		return c.drive(ctx, r, e)
	case ElectionsChange:
		e, err := r.power.Elections(ctx)
		if err != nil {
			return fmt.Errorf("read the elections asked for in ZooKeeper: %w", err)
		}
		return c.drive(ctx, r, e)
	case LogDirsChange:
		brokers, paths, err := r.power.LogDirEvents(ctx)
		if err != nil || len(paths) == 0 {
			return err
		}
		if err := c.drive(ctx, r, state.LogDirFailure{Brokers: brokers}); err != nil {
			return err
		}
		return r.power.DeleteNotifications(ctx, paths)
	}
	return nil
}

// rereadTopics compares the list of topics with what the machine knows.
func (c *Controller) rereadTopics(ctx context.Context, r *reign) error {
	names, err := r.power.TopicNames(ctx)
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	var unknown []string
	for _, name := range names {
		if !r.machine.HasTopic(name) {
			unknown = append(unknown, name)
		}
	}
	added, err := r.power.Topics(ctx, unknown)
	if err != nil {
		return fmt.Errorf("read the assignments: %w", err)
	}
	if len(unknown) > 0 {
		c.cfg.LearnTopics(ctx, unknown)
	}
	return c.drive(ctx, r, state.TopicChange{Names: names, Added: added})
}

// rereadTopicNodes looks for partitions that were added.
func (c *Controller) rereadTopicNodes(ctx context.Context, r *reign, names []string) error {
	topics, err := r.power.Topics(ctx, names)
	if err != nil {
		return fmt.Errorf("read the assignments: %w", err)
	}
	for _, t := range topics {
		if !r.machine.HasTopic(t.Name) {
			// Perhaps its node could not be understood before.
			if err := c.rereadTopics(ctx, r); err != nil {
				return err
			}
		}
		if err := c.drive(ctx, r, state.PartitionsModified{Topic: t}); err != nil {
			return err
		}
	}
	return nil
}

// rereadAll reads everything that is watched: after a reconnection no watch can be relied on.
func (c *Controller) rereadAll(ctx context.Context, r *reign) error {
	known := r.machine.Topics()
	for _, kind := range []ChangeKind{BrokersChange, TopicsChange} {
		if err := c.reread(ctx, r, Change{Kind: kind}); err != nil {
			return err
		}
	}
	if err := c.rereadTopicNodes(ctx, r, known); err != nil {
		return err
	}
	for _, kind := range []ChangeKind{DeletionsChange, ReassignmentsChange, ElectionsChange, LogDirsChange} {
		if err := c.reread(ctx, r, Change{Kind: kind}); err != nil {
			return err
		}
	}
	return nil
}
