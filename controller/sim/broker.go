package sim

import (
	"slices"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// broker is what package replica makes of its decisions, one step at a time, with its part of the session and of the election.
type broker struct {
	w       *world
	id      cluster.BrokerID
	up      bool
	session int64
	epoch   cluster.BrokerEpoch // its registration as it knows it
	began   cluster.BrokerEpoch // the first of its process

	logs  map[cluster.TopicPartition]*log           // on disk
	marks map[cluster.TopicPartition]cluster.Offset // on disk: high watermarks

	broken [dirs]bool // disks that have failed

	// What a crash takes.
	fence   replica.Fence
	latest  cluster.ControllerEpoch // what the fence must not fall below
	attempt int64                   // of that controller, the same
	parts   []*part                 // by name
	alive   map[cluster.BrokerID]bool
	boss    cluster.BrokerID // who is controller, as far as it knows
	pending []*part          // with a change to ask for
	asked   *wishes          // what the controller is being asked
	leaving bool
	untold  bool // the controller has not been told of a disk that has failed
	reign   *reign
}

func newBroker(w *world, id cluster.BrokerID) *broker {
	return &broker{w: w, id: id, logs: map[cluster.TopicPartition]*log{}, marks: map[cluster.TopicPartition]cluster.Offset{}}
}

// start begins a process: an earlier session of the broker ends, its logs are read, it registers.
func (b *broker) start() {
	b.w.zk.expire(b.session)
	b.up, b.leaving, b.untold = true, false, false
	b.fence, b.latest, b.attempt, b.parts, b.alive, b.pending, b.asked = replica.Fence{}, 0, 0, nil, nil, nil, nil
	b.began = 0
	b.join()
	b.began = b.epoch
	b.w.trace("    broker %d starts, its epoch is %d", b.id, b.epoch)
}

// join registers in a new session.
func (b *broker) join() {
	b.session = b.w.zk.connect()
	b.epoch = b.w.zk.register(b.id, b.session, b.began)
	b.boss = b.w.zk.controller.id
}

// expired reports whether the broker's session is over and the broker does not know.
func (b *broker) expired() bool { return b.up && !b.w.zk.sessions[b.session] }

// renew makes the broker notice that its session is over.
func (b *broker) renew() {
	if b.reign != nil {
		b.reign.resign("its session has expired")
	}
	b.join()
	b.w.trace("    broker %d registers again, its epoch is %d", b.id, b.epoch)
}

// expire ends the broker's session, which the broker does not notice.
func (b *broker) expire() {
	b.w.trace("    the session of broker %d expires", b.id)
	b.w.zk.expire(b.session)
}

// mayElect reports whether there is an election to take part in, or the result of one to hear of.
func (b *broker) mayElect() bool {
	z := b.w.zk
	return b.up && (z.controller.session == 0 && z.sessions[b.session] || b.boss != z.controller.id || b.reign != nil && b.reign.epoch != z.epoch)
}

// elect takes part in the election.
func (b *broker) elect() {
	if b.reign != nil {
		b.reign.look() // its watch on /controller fires
	}
	if b.reign != nil {
		return
	}
	if epoch, ok := b.w.zk.elect(b.id, b.session); ok {
		b.w.trace("    broker %d is elected controller, epoch %d", b.id, epoch)
		b.reign = b.w.newReign(b, epoch)
	}
	b.boss = b.w.zk.controller.id
}

// crash ends the process. A power cut takes from each log some of what is not flushed.
func (b *broker) crash(powerCut bool, n uint16) {
	b.w.trace("    broker %d crashes, power cut %v", b.id, powerCut)
	b.up = false
	if b.reign != nil {
		b.reign.over, b.reign = true, nil
	}
	for _, tp := range b.held() {
		l := b.logs[tp]
		if b.broken[l.dir] {
			continue
		}
		if !powerCut {
			l.load()
			continue
		}
		to := l.durable + cluster.Offset(int(n)%int(l.end()-l.durable+1))
		if to < l.end() {
			b.w.trace("    %s: %d of %d records remain", tp, to, l.end())
			l.drop(to, b.w.rules.EpochsBefore)
			l.lost, l.lostIn = true, b.epoch
		}
		l.load()
	}
}

// held returns the partitions that have a log, by name.
func (b *broker) held() []cluster.TopicPartition {
	out := make([]cluster.TopicPartition, 0, len(b.logs))
	for tp := range b.logs {
		out = append(out, tp)
	}
	slices.SortFunc(out, cluster.TopicPartition.Compare)
	return out
}

// flush makes everything durable and notes the high watermarks.
func (b *broker) flush() {
	for _, l := range b.logs {
		if !b.broken[l.dir] {
			l.durable = l.end()
			l.save(b.w.step%3 == 0)
		}
	}
	for _, p := range b.parts {
		if !b.broken[p.log.dir] {
			b.marks[p.tp] = p.watermark
		}
	}
}

// part returns a partition that the broker holds.
func (b *broker) part(tp cluster.TopicPartition) *part {
	i, ok := b.find(tp)
	if !ok {
		return nil
	}
	return b.parts[i]
}

func (b *broker) find(tp cluster.TopicPartition) (int, bool) {
	return slices.BinarySearchFunc(b.parts, tp, func(p *part, tp cluster.TopicPartition) int { return p.tp.Compare(tp) })
}

// obey carries out an order and answers.
func (b *broker) obey(o *order) (kerr.Code, state.Event) {
	sender := replica.Sender{ControllerID: o.s.r.b.id, ControllerEpoch: o.s.r.epoch, BrokerEpoch: o.epoch, Sequence: int64(o.id)}
	code := b.w.rules.Admit(&b.fence, sender, b.epoch)
	if code == kerr.None {
		if sender.ControllerEpoch < b.latest || sender.BrokerEpoch < b.epoch {
			b.w.violated("old orders change nothing", "broker %d of epoch %d obeys controller %d of epoch %d, which means its epoch %d, after one of epoch %d",
				b.id, b.epoch, sender.ControllerID, sender.ControllerEpoch, sender.BrokerEpoch, b.latest)
		}
		if sender.ControllerEpoch == b.latest && sender.Sequence < b.attempt {
			b.w.violated("old orders change nothing", "broker %d obeys attempt %d of controller %d after attempt %d", b.id, sender.Sequence, sender.ControllerID, b.attempt)
		}
		b.latest, b.attempt = max(b.latest, sender.ControllerEpoch), sender.Sequence
		b.boss = sender.ControllerID
	}
	switch body := o.body.(type) {
	case *state.BecomeRequest:
		e := state.BecomeResponse{Broker: b.id, BrokerEpoch: o.epoch, Code: code}
		if code == kerr.None {
			for i := range body.Partitions {
				e.Partitions = append(e.Partitions, state.PartitionError{Partition: body.Partitions[i].Partition, Code: b.become(&body.Partitions[i])})
			}
		}
		return code, e
	case *state.StopRequest:
		e := state.StopResponse{Request: body, Broker: b.id, BrokerEpoch: o.epoch, Code: code}
		if code == kerr.None {
			for _, s := range body.Partitions {
				e.Partitions = append(e.Partitions, state.PartitionError{Partition: s.Partition, Code: b.stop(s)})
			}
		}
		return code, e
	case *state.MetadataRequest:
		if code == kerr.None {
			b.alive = make(map[cluster.BrokerID]bool, len(body.Brokers))
			for _, other := range body.Brokers {
				b.alive[other.ID] = true
			}
		}
	}
	return code, nil
}

// become gives a partition its role.
func (b *broker) become(order *state.BecomePartition) kerr.Code {
	s := &replica.PartitionState{
		TopicPartition: order.Partition, TopicID: order.TopicID, Leader: order.State.Leader, LeaderEpoch: order.State.LeaderEpoch,
		PartitionEpoch: order.State.PartitionEpoch, ISR: order.State.ISR, Replicas: order.Assignment.Replicas, IsNew: order.New,
	}
	p := b.part(s.TopicPartition)
	var own *replica.Standing
	var known cluster.TopicID
	if p != nil {
		own, known = &p.standing, p.log.id
	}
	if code, err := b.w.rules.Judge(b.id, own, known, s); code != kerr.None || err != nil {
		return code
	}
	if p == nil {
		l, ok := b.open(s)
		if l.id != s.TopicID {
			return kerr.InconsistentTopicID
		}
		p = &part{b: b, tp: s.TopicPartition, log: l, standing: replica.NewStanding()}
		p.watermark = replica.Clamped(b.marks[p.tp], l.start, l.end())
		i, _ := b.find(p.tp)
		b.parts = slices.Insert(b.parts, i, p)
		if !ok {
			p.fail()
			return kerr.KafkaStorageError
		}
	}
	if s.LeaderEpoch < p.standing.Epoch {
		b.w.violated("a replica's leader epoch never falls", "%s on broker %d goes from epoch %d to %d", p.tp, b.id, p.standing.Epoch, s.LeaderEpoch)
	}
	switch {
	case s.Leader != b.id:
		p.follow(s)
	case s.LeaderEpoch < p.log.latest():
		return kerr.FencedLeaderEpoch // of a controller that is not the latest
	default:
		p.lead(s)
	}
	return kerr.None
}

// stop ends a role and deletes the log if that is asked for.
func (b *broker) stop(o state.StopPartition) kerr.Code {
	s := replica.StopPartition{TopicPartition: o.Partition, LeaderEpoch: o.LeaderEpoch, Delete: o.Delete}
	if p := b.part(s.TopicPartition); p != nil {
		if code, _ := b.w.rules.JudgeStop(&p.standing, &s); code != kerr.None {
			return code
		}
		old := p.standing
		p.yield(replica.Standing{Role: replica.Stopped, Leader: old.Leader, Epoch: old.Epoch, PartitionEpoch: old.PartitionEpoch})
		p.pursuit = nil
		if s.Delete {
			i, _ := b.find(p.tp)
			p.decide()
			b.parts = slices.Delete(b.parts, i, i+1)
		}
	}
	if l, ok := b.logs[s.TopicPartition]; s.Delete && ok && !b.broken[l.dir] {
		delete(b.logs, s.TopicPartition)
		delete(b.marks, s.TopicPartition)
	}
	return kerr.None
}

// prepareToStop asks the controller to take the broker's leaderships away (F§2.11).
func (b *broker) prepareToStop() {
	b.leaving = true
	if b.boss >= 1 {
		b.w.send(b.id, b.boss, &farewell{b.epoch})
	}
}

// farewell is a ControlledShutdown request.
type farewell struct{ epoch cluster.BrokerEpoch }

// String implements body.
func (*farewell) String() string { return "controlled shutdown" }

func (f *farewell) arrive(w *world, to *broker, m *message) {
	if to.reign == nil {
		return // NOT_CONTROLLER: the broker asks again
	}
	to.reign.queue = append(to.reign.queue, item{
		event: state.ControlledShutdown{Broker: m.from, BrokerEpoch: f.epoch},
		reply: func(reply any, ok bool) {
			if ok {
				w.send(to.id, m.from, &goodbye{f.epoch, reply.(state.ShutdownReply)})
			}
		},
	})
}

// goodbye is the controller's answer to a farewell.
type goodbye struct {
	epoch cluster.BrokerEpoch
	reply state.ShutdownReply
}

// String implements body.
func (g *goodbye) String() string { return "controlled shutdown: " + g.reply.Code.Name() }

func (g *goodbye) arrive(w *world, to *broker, _ *message) {
	if !to.leaving || to.epoch != g.epoch || g.reply.Code != kerr.None || len(g.reply.Remaining) > 0 {
		return
	}
	w.trace("    broker %d stops", to.id)
	to.flush()
	to.crash(false, 0)
	w.zk.expire(to.session)
}
