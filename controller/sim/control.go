package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/controller/channel"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// reign is a controller: what package controller makes of a [Machine], one step at a time. It goes on after it was deposed, until it notices.
type reign struct {
	b       *broker
	session int64
	epoch   cluster.ControllerEpoch
	m       Machine
	knows   map[cluster.BrokerID]cluster.BrokerEpoch // the registrations that the machine knows
	failed  map[place]cluster.BrokerEpoch            // replicas on failed disks that it knows, and the registrations that said so

	changes  change // watches that have fired
	queue    []item
	read     int // how much of failover is read
	failover state.Failover
	busy     bool
	current  item
	ops      []state.Op
	results  []state.Result
	senders  map[cluster.BrokerID]*sender
	tries    int // attempts of all senders
	over     bool
}

// item is something for a controller to deal with; look makes it look at /controller.
type item struct {
	event state.Event
	look  bool
	reply func(reply any, ok bool) // nil when nobody waits
}

// sender delivers the orders of a reign to one broker, in order, each until it is answered.
type sender struct {
	r     *reign
	to    cluster.BrokerID
	queue []queued // the first is being delivered
	sent  bool     // the first is on its way
}

// queued is an order in the queue of a sender.
type queued struct {
	body  state.Body
	epoch cluster.BrokerEpoch
	seq   int // the latest attempt
}

// foldAt is the length at which a queue is folded.
const foldAt = 6

// readings is how many reads a failover takes.
const readings = 4

func (w *world) newReign(b *broker, epoch cluster.ControllerEpoch) *reign {
	w.report.Reigns++
	return &reign{
		b: b, session: b.session, epoch: epoch, senders: map[cluster.BrokerID]*sender{},
		knows: map[cluster.BrokerID]cluster.BrokerEpoch{}, failed: map[place]cluster.BrokerEpoch{},
		m: w.rules.NewMachine(state.Options{ControllerID: b.id, Epoch: epoch, DeleteTopics: true}),
	}
}

// place is a replica of a partition.
type place struct {
	tp    cluster.TopicPartition
	topic cluster.TopicID
	id    cluster.BrokerID
}

func (w *world) place(tp cluster.TopicPartition, id cluster.BrokerID) place {
	return place{tp, w.zk.topics[tp.Topic].ID, id}
}

// idle reports whether the reign has nothing to do but wait.
func (r *reign) idle() bool {
	return r.read == readings && !r.busy && len(r.queue) == 0 && r.changes == 0
}

// resign ends the reign. Nothing is written.
func (r *reign) resign(why string) {
	r.b.w.trace("    controller %d of epoch %d resigns: %s", r.b.id, r.epoch, why)
	r.over = true
	r.b.reign = nil
	if r.busy && r.current.reply != nil {
		r.current.reply(nil, false)
	}
	for _, i := range r.queue {
		if i.reply != nil {
			i.reply(nil, false)
		}
	}
}

// advance makes the reign do one thing. fault decides about a lost reply of ZooKeeper, n what is done next.
func (r *reign) advance(fault, n uint16) {
	w := r.b.w
	alive := w.zk.sessions[r.session]
	switch {
	case r.read < readings || r.busy && len(r.results) < len(r.ops):
		if !alive {
			r.resign("its session has expired")
			return
		}
	case r.idle():
		return
	}
	switch {
	case r.read < readings:
		r.readNext()
	case r.busy && len(r.results) < len(r.ops):
		r.commitNext(fault)
	case r.busy:
		r.digest(r.m.Apply(r.results), n)
	default:
		r.takeNext(n)
	}
}

// readNext reads a part of what a failover needs. Things may change meanwhile; the watches are armed.
func (r *reign) readNext() {
	z := r.b.w.zk
	switch r.read {
	case 0:
		r.forgetDirs()
		r.failover.Brokers = z.registered()
	case 1:
		r.failover.Deletions = z.toDelete()
	case 2:
		for _, name := range z.topicNames() {
			r.failover.Topics = append(r.failover.Topics, z.topics[name])
		}
	case 3:
		r.failover.Reassignments = z.requested()
		r.failover.States, r.failover.Written = map[cluster.TopicPartition]state.LeaderAndISR{}, maps.Clone(z.written)
		for _, t := range r.failover.Topics {
			for index := range t.Assignments {
				tp := cluster.TopicPartition{Topic: t.Name, Partition: index}
				if s, ok := z.states[tp]; ok {
					r.failover.States[tp] = s
				}
			}
		}
	}
	r.read++
	if r.read == readings {
		r.handle(item{event: r.failover}, 1)
	}
}

// handle begins with an event.
func (r *reign) handle(i item, n uint16) {
	w := r.b.w
	if w.out != nil {
		w.trace("    controller %d of epoch %d: %T", r.b.id, r.epoch, i.event)
	}
	r.busy, r.current = true, i
	switch e := i.event.(type) {
	case state.Failover:
		r.learn(e.Brokers)
	case state.BrokerChange:
		r.learn(e.Brokers)
	case state.BecomeResponse:
		for _, p := range e.Partitions {
			switch at := w.place(p.Partition, e.Broker); p.Code {
			case kerr.KafkaStorageError:
				r.failed[at] = e.BrokerEpoch
			case kerr.None:
				delete(r.failed, at)
			}
		}
	}
	r.digest(r.m.Handle(i.event), n)
}

// learn notes what the machine is told of registrations.
func (r *reign) learn(brokers []state.Broker) {
	for _, b := range brokers {
		r.knows[b.ID] = b.Epoch
	}
}

// commitNext does one op of a step. What is written to /admin/reassign_partitions is written again when the reply is lost (zk/store).
func (r *reign) commitNext(fault uint16) {
	w := r.b.w
	op := r.ops[len(r.results)]
	lossy := !w.calm && fault%1000 < w.plan.lostReply && op.Kind != state.ReadState && op.Kind != state.ReadTopicConfig &&
		op.Kind != state.SetReassignments
	if lossy && fault%2 == 0 {
		w.trace("    %s is lost on the way", op)
		r.results = append(r.results, state.Result{Outcome: state.Unknown})
		return
	}
	res, ok := w.zk.commit(r, op)
	if !ok {
		r.resign("another one was elected")
		return
	}
	if w.out != nil {
		w.trace("    %s: %s", op, res)
	}
	if lossy && res.Outcome == state.Done {
		w.trace("    and the reply is lost")
		res = state.Result{Outcome: state.Unknown}
	}
	r.results = append(r.results, res)
}

// digest does what a step asks for and prepares its ops. A controller whose session has expired may notice before it sends.
func (r *reign) digest(s state.Step, n uint16) {
	w := r.b.w
	if !w.zk.sessions[r.session] && n%2 == 0 {
		r.resign("its session has expired")
		return
	}
	for _, c := range s.Senders {
		switch c.Kind {
		case state.AddSender:
			r.senders[c.Broker.ID] = &sender{r: r, to: c.Broker.ID}
		case state.RemoveSender:
			delete(r.senders, c.Broker.ID)
		}
	}
	if w.out != nil {
		for _, note := range s.Notes {
			w.trace("    %s", note)
		}
	}
	for _, req := range s.Requests {
		if stop, ok := req.Body.(*state.StopRequest); ok {
			for _, p := range stop.Partitions {
				if p.Delete {
					w.checkDeletion(r, req.Broker, p.Partition)
				}
			}
		}
		snd, ok := r.senders[req.Broker]
		if !ok {
			w.violated("orders go to registered brokers", "controller %d has an order for broker %d, which has no sender: %s", r.b.id, req.Broker, req.Body)
			continue
		}
		snd.push(queued{body: req.Body, epoch: req.BrokerEpoch})
	}
	r.ops, r.results = s.Ops, r.results[:0]
	r.busy = !s.Done
	if reply := r.current.reply; s.Reply != nil && reply != nil {
		r.current.reply = nil // the event may go on after it
		reply(s.Reply, true)
	}
}

// takeNext begins with the next event, or with what a watch tells.
func (r *reign) takeNext(n uint16) {
	if r.changes == 0 || len(r.queue) > 0 && n%3 == 0 {
		i := r.queue[0]
		r.queue = r.queue[1:]
		if i.look {
			r.look()
			return
		}
		r.handle(i, n)
		return
	}
	z := r.b.w.zk
	if !z.sessions[r.session] {
		r.resign("its session has expired")
		return
	}
	for c := change(1); c < everyChange; c <<= 1 {
		if r.changes&c == 0 {
			continue
		}
		r.changes &^= c
		switch c {
		case brokersChange:
			r.handle(item{event: state.BrokerChange{Brokers: z.registered()}}, n)
		case topicsChange:
			r.handle(item{event: r.topics()}, n)
		case nodesChange:
			for _, name := range z.topicNames() {
				if r.m.HasTopic(name) {
					r.queue = append(r.queue, item{event: state.PartitionsModified{Topic: z.topics[name]}})
				}
			}
		case deletionsChange:
			names := z.toDelete()
			if slices.ContainsFunc(names, func(name string) bool { return !r.m.HasTopic(name) }) {
				r.queue = slices.Insert(r.queue, 0, item{event: state.TopicDeletion{Names: names}})
				r.handle(item{event: r.topics()}, n)
				return
			}
			r.handle(item{event: state.TopicDeletion{Names: names}}, n)
		case movesChange:
			r.handle(item{event: z.requested()}, n)
		case dirsChange:
			e := state.LogDirFailure{Brokers: slices.Sorted(maps.Keys(z.dirNews))}
			r.forgetDirs()
			if len(e.Brokers) > 0 {
				r.handle(item{event: e}, n)
			}
		}
		return
	}
}

// requested reads /admin/reassign_partitions.
func (z *zookeeper) requested() state.ReassignmentsRequested {
	return state.ReassignmentsRequested{Exists: z.moves != nil, Moves: slices.Clone(z.moves)}
}

// forgetDirs empties /log_dir_event_notification, unless the fence refuses.
func (r *reign) forgetDirs() {
	if z := r.b.w.zk; z.epoch == r.epoch {
		clear(z.dirNews)
	}
}

// topics reads the list of topics and those that are not known.
func (r *reign) topics() state.TopicChange {
	z := r.b.w.zk
	e := state.TopicChange{Names: z.topicNames()}
	for _, name := range e.Names {
		if !r.m.HasTopic(name) {
			e.Added = append(e.Added, z.topics[name])
		}
	}
	return e
}

// look sees whether there is another controller.
func (r *reign) look() {
	z := r.b.w.zk
	switch {
	case !z.sessions[r.session]:
		r.resign("its session has expired")
	case z.controller.session != r.session || z.epoch != r.epoch:
		r.resign("another one was elected")
	}
}

// push queues an order.
func (s *sender) push(q queued) {
	s.queue = append(s.queue, q)
	if len(s.queue) <= foldAt {
		return
	}
	var bodies []state.Body
	for _, q := range s.queue[1:] {
		bodies = append(bodies, q.body)
	}
	s.queue = s.queue[:1]
	for _, b := range channel.Fold(bodies) {
		s.queue = append(s.queue, queued{body: b, epoch: q.epoch})
	}
}

// send puts the first order on its way, perhaps again.
func (s *sender) send() {
	w := s.r.b.w
	q := &s.queue[0]
	s.sent = true
	s.r.tries++
	q.seq = s.r.tries
	w.send(s.r.b.id, s.to, &order{s: s, id: q.seq, epoch: q.epoch, body: q.body})
}

// senders returns the senders that f accepts.
func (w *world) senders(f func(*sender) bool) []*sender {
	var out []*sender
	for _, b := range w.brokers {
		if !b.up || b.reign == nil {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(b.reign.senders)) {
			if s := b.reign.senders[id]; f(s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// order is an attempt to deliver an order.
type order struct {
	s     *sender
	id    int
	epoch cluster.BrokerEpoch
	body  state.Body
}

// String implements body.
func (o *order) String() string {
	return fmt.Sprintf("order %d ctl=%d broker-epoch=%d %s", o.id, o.s.r.epoch, o.epoch, o.body)
}

func (o *order) arrive(w *world, to *broker, _ *message) {
	code, event := to.obey(o)
	w.send(to.id, o.s.r.b.id, &obeyed{o, code, event})
}

// obeyed is the answer to an order.
type obeyed struct {
	o     *order
	code  kerr.Code
	event state.Event
}

// String implements body.
func (a *obeyed) String() string { return fmt.Sprintf("answer to order %d: %s", a.o.id, a.code.Name()) }

func (a *obeyed) arrive(_ *world, _ *broker, _ *message) {
	s := a.o.s
	if s.r.over || s.r.senders[s.to] != s || len(s.queue) == 0 || s.queue[0].seq != a.o.id {
		return // nobody waits for it any more
	}
	s.queue, s.sent = s.queue[1:], false
	if a.code == kerr.StaleControllerEpoch {
		s.r.queue = append(s.r.queue, item{look: true})
	}
	if a.event != nil {
		s.r.queue = append(s.r.queue, item{event: a.event})
	}
}
