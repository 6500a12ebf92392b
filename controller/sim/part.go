package sim

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/broker/epoch"
	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// part is a replica on a running broker.
type part struct {
	b         *broker
	tp        cluster.TopicPartition
	log       *log
	standing  replica.Standing
	watermark cluster.Offset
	account   *replica.Leadership // nil unless it leads
	pursuit   *replica.Pursuit    // nil unless it copies somebody
	asked     int                 // the request whose answer it waits for, 0 for none
	late      []int               // requests of earlier roles, whose answers may still come
	waits     []wait

	// What the checks know.
	seenEpoch     cluster.LeaderEpoch
	seenWatermark cluster.Offset
}

// wait is a produce request that is not answered.
type wait struct {
	term     uint64
	required cluster.Offset
	value    int
}

func (p *part) leads() bool { return p.standing.Role == replica.Leading }

func (p *part) surroundings() *replica.Surroundings {
	return &replica.Surroundings{
		Now: p.b.w.now, MaxLag: maxLag, MinISR: p.b.w.plan.minISR, Alive: func(id cluster.BrokerID) bool { return p.b.alive[id] },
	}
}

// lead makes the broker leader in a new epoch.
func (p *part) lead(s *replica.PartitionState) {
	w := p.b.w
	p.log.epochs = epoch.Assign(p.log.epochs, s.LeaderEpoch, p.log.end())
	p.account = w.rules.Lead(p.b.id, s, p.log.end(), w.now)
	p.standing = p.account.Standing().After(&p.standing)
	p.pursuit = nil
	p.outgrow()
	w.trace("    broker %d leads %s in epoch %d, log end %d", p.b.id, p.tp, s.LeaderEpoch, p.log.end())
	w.checkLead(p, s)
	p.moveWatermark()
}

// follow makes the broker follow.
func (p *part) follow(s *replica.PartitionState) {
	w := p.b.w
	p.yield(replica.Standing{Role: replica.Following, Leader: s.Leader, Epoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch})
	if to, cut := w.rules.SettleTail(p.log.latest(), p.watermark, p.log.end()); cut {
		p.truncate(to, "before it follows")
	}
	p.pursuit = nil
	p.outgrow()
	if s.Leader != cluster.NoBroker {
		p.pursuit = &replica.Pursuit{Epoch: s.LeaderEpoch}
	}
	w.trace("    broker %d follows %d in epoch %d of %s, log end %d", p.b.id, s.Leader, s.LeaderEpoch, p.tp, p.log.end())
}

// outgrow makes the request under way one of an earlier role.
func (p *part) outgrow() {
	if p.asked != 0 {
		p.late, p.asked = append(p.late, p.asked), 0
	}
}

// yield takes another role than that of a leader.
func (p *part) yield(next replica.Standing) {
	p.account = nil
	p.standing = next.After(&p.standing)
}

// moveWatermark moves the leader's high watermark.
func (p *part) moveWatermark() {
	if p.account == nil {
		return
	}
	p.watermark = p.b.w.rules.HighWatermark(p.account, p.watermark, p.log.end(), p.surroundings())
	p.b.w.checkCommit(p)
}

// propose makes isr the proposal unless it is nil.
func (p *part) propose(isr []cluster.BrokerID) {
	if isr == nil {
		return
	}
	p.b.w.trace("    broker %d wants %v in sync for %s, not %v", p.b.id, isr, p.tp, p.account.ISR())
	p.b.w.rules.Propose(p.account, isr)
	p.count()
	p.b.push(p)
}

// count makes the standing tell how many replicas are in sync.
func (p *part) count() {
	if p.account != nil && p.leads() {
		p.standing = p.account.Standing().After(&p.standing)
	}
}

// produce appends a record.
func (p *part) produce(all bool) {
	w := p.b.w
	if p.standing.AdmitAppend(all, w.plan.minISR) != kerr.None {
		return
	}
	w.value++
	p.log.append(entry{p.standing.Epoch, w.value})
	if w.out != nil {
		w.trace("    broker %d appends %d to %s at %d, acks=all %v", p.b.id, w.value, p.tp, p.log.end()-1, all)
	}
	if all {
		p.waits = append(p.waits, wait{p.standing.Term, p.log.end(), w.value})
	}
	p.moveWatermark()
}

// decide answers the produce requests that are decided.
func (p *part) decide() {
	if len(p.waits) == 0 {
		return
	}
	w := p.b.w
	p.waits = slices.DeleteFunc(p.waits, func(x wait) bool {
		code, done := w.rules.Outcome(&p.standing, x.term, p.watermark, x.required, w.plan.minISR)
		if done && w.out != nil {
			w.trace("    broker %d answers for %d at %d of %s: %s", p.b.id, x.value, x.required-1, p.tp, code.Name())
		}
		if done && code == kerr.None {
			w.checkAck(p, x)
		}
		return done
	})
}

// truncate cuts the log.
func (p *part) truncate(to cluster.Offset, why string) {
	w := p.b.w
	if to < p.log.end() {
		w.trace("    broker %d cuts %s from %d to %d, %s", p.b.id, p.tp, p.log.end(), to, why)
		w.checkCut(p, to)
	}
	p.log.cut(to, w.rules.EpochsBefore)
	p.clamp()
}

// clamp brings the high watermark back into the log after it was cut.
func (p *part) clamp() {
	p.watermark = replica.Clamped(p.watermark, p.log.start, p.log.end())
	p.seenWatermark = min(p.seenWatermark, p.watermark)
}

// mayFetch reports whether the follower may send a request now.
func (p *part) mayFetch() bool {
	return p.pursuit != nil && p.asked == 0 && p.pursuit.Active(p.b.w.now)
}

// fetch asks the leader for records.
func (p *part) fetch() {
	p.asked = p.b.w.send(p.b.id, p.standing.Leader, &fetch{
		tp: p.tp, id: p.log.id, epoch: p.pursuit.Epoch, offset: p.log.end(), last: p.log.latest(), start: p.log.start, brokerEpoch: p.b.epoch,
	})
}

// forgetFetch gives up waiting for an answer: the session is lost.
func (p *part) forgetFetch() {
	p.asked = 0
	if p.pursuit != nil {
		p.pursuit.Lost()
	}
}

// fetch is a follower's request.
type fetch struct {
	tp          cluster.TopicPartition
	id          cluster.TopicID
	epoch       cluster.LeaderEpoch
	offset      cluster.Offset
	last        cluster.LeaderEpoch
	start       cluster.Offset // of the follower's log
	brokerEpoch cluster.BrokerEpoch
	ends        bool // asks where the leader's log ends, and for nothing else
}

// String implements body.
func (f *fetch) String() string {
	if f.ends {
		return fmt.Sprintf("ends of %s, epoch %d", f.tp, f.epoch)
	}
	return fmt.Sprintf("fetch %s from %d, epoch %d, last %d, broker epoch %d", f.tp, f.offset, f.epoch, f.last, f.brokerEpoch)
}

func (f *fetch) arrive(w *world, to *broker, m *message) {
	w.send(to.id, m.from, to.serve(f, m))
}

// serve answers a follower.
func (b *broker) serve(f *fetch, m *message) *fetched {
	w := b.w
	a := &fetched{tp: f.tp, epoch: f.epoch, offset: f.offset, of: m.seq, ends: f.ends}
	p := b.part(f.tp)
	switch {
	case p == nil:
		a.code = kerr.UnknownTopicOrPartition
		return a
	case p.log.id != f.id:
		a.code = kerr.InconsistentTopicID
		return a
	}
	if a.code = w.rules.AdmitFetch(&p.standing, f.epoch); a.code != kerr.None {
		return a
	}
	if !p.account.Assigned(m.from) {
		a.code = kerr.UnknownTopicOrPartition
		return a
	}
	a.watermark, a.start, a.end = p.watermark, p.log.start, p.log.end()
	if f.ends {
		return a
	}
	if f.offset < a.start {
		a.code = kerr.OffsetOutOfRange
		return a
	}
	own := replica.NoEpochEnd
	if e, o, ok := w.rules.EpochEnd(p.log.live(), f.last, a.end); ok {
		own = replica.EpochEnd{Epoch: e, End: o}
	}
	if a.parts, a.diverging, a.code = w.rules.Diverging(f.last, f.offset, own); a.code != kerr.None || a.diverging {
		return a
	}
	if f.offset > a.end {
		a.code = kerr.OffsetOutOfRange
		return a
	}
	const most = 5
	a.entries = p.log.entries[f.offset:min(a.end, f.offset+most)]
	isr, _, ok := p.account.Fetched(m.from, w.rules.Mark(replica.Mark{Offset: f.offset, LogStart: f.start, LeaderEnd: a.end, At: w.now, BrokerEpoch: f.brokerEpoch}),
		p.watermark, a.end, p.surroundings())
	if ok {
		w.checkFetched(p, m.from, f)
		p.propose(isr)
		p.moveWatermark()
	}
	return a
}

// fetched is the leader's answer to a follower.
type fetched struct {
	tp         cluster.TopicPartition
	epoch      cluster.LeaderEpoch
	offset     cluster.Offset
	of         int
	ends       bool
	code       kerr.Code
	diverging  bool
	parts      replica.EpochEnd
	entries    []entry
	watermark  cluster.Offset
	start, end cluster.Offset // of the leader's log
}

// String implements body.
func (a *fetched) String() string {
	switch {
	case a.code != kerr.None:
		return fmt.Sprintf("answer to #%d: %s", a.of, a.code.Name())
	case a.diverging:
		return fmt.Sprintf("answer to #%d: the logs of %s part in epoch %d at %d", a.of, a.tp, a.parts.Epoch, a.parts.End)
	case a.ends:
		return fmt.Sprintf("answer to #%d: %s reaches from %d to %d", a.of, a.tp, a.start, a.end)
	}
	return fmt.Sprintf("answer to #%d: %d records of %s from %d, high watermark %d", a.of, len(a.entries), a.tp, a.offset, a.watermark)
}

func (a *fetched) arrive(_ *world, to *broker, m *message) {
	p := to.part(a.tp)
	if p == nil {
		return
	}
	switch i := slices.Index(p.late, a.of); {
	case p.asked == a.of:
		p.asked = 0
	case i >= 0:
		p.late = slices.Delete(p.late, i, i+1)
	default:
		return
	}
	p.digest(a, m.from)
}

// digest carries out an answer. The account of the pursuit is only of interest if it is still the same.
func (p *part) digest(a *fetched, leader cluster.BrokerID) {
	w := p.b.w
	pursuit := &replica.Pursuit{Epoch: a.epoch}
	if p.pursuit != nil && p.pursuit.Epoch == a.epoch {
		pursuit = p.pursuit
	}
	reaction := replica.ReactionTo(a.code, a.diverging)
	if reaction == replica.GiveUp {
		pursuit.GiveUp()
		return
	}
	if reaction == replica.TryLater {
		pursuit.BackOff(w.now, backoff)
		return
	}
	if !w.rules.Follows(&p.standing, a.epoch) {
		return
	}
	switch {
	case a.ends:
		switch to, cut, restart := w.rules.Reconcile(a.start, a.end, p.log.end()); {
		case cut:
			p.truncate(to, "where the leader's log ends")
		case restart:
			p.restart(to)
		}
	case reaction == replica.CutOff:
		end, latest := p.log.end(), p.log.latest()
		own := replica.NoEpochEnd
		if e, o, ok := epoch.End(p.log.live(), a.parts.Epoch, end); ok {
			own = replica.EpochEnd{Epoch: e, End: o}
		}
		p.truncate(w.rules.TruncationPoint(a.parts, own, p.watermark, end), "as the leader says")
		if p.log.end() == end && p.log.latest() == latest {
			pursuit.BackOff(w.now, backoff) // nothing was cut
			return
		}
		pursuit.Again()
	case reaction == replica.AskEnds && p.asked == 0:
		p.asked = w.send(p.b.id, leader, &fetch{tp: p.tp, id: p.log.id, epoch: a.epoch, ends: true})
	case reaction == replica.Take:
		if a.offset != p.log.end() {
			pursuit.BackOff(w.now, backoff)
			return
		}
		for _, e := range a.entries {
			if e.epoch < p.log.latest() {
				w.violated("epochs rise along a log", "%s on broker %d gets a record of epoch %d after one of epoch %d", p.tp, p.b.id, e.epoch, p.log.latest())
			}
		}
		p.log.append(a.entries...)
		p.watermark = replica.Raised(p.watermark, a.watermark, p.log.start, p.log.end())
		if start, moved := w.rules.RaisedStart(p.log.start, a.start, p.watermark); moved {
			p.log.start = start
		}
		pursuit.Went()
	}
}

// push notes that a partition has a change to ask the controller for.
func (b *broker) push(p *part) {
	if !slices.Contains(b.pending, p) {
		b.pending = append(b.pending, p)
	}
}

// dropLaggards proposes to leave out of the in-sync sets who has fallen behind.
func (b *broker) dropLaggards() {
	for _, p := range b.parts {
		if p.account != nil {
			p.propose(p.account.Shrunk(p.watermark, p.log.end(), p.surroundings()))
		}
	}
}

// mayAlter reports whether the broker has something to ask for and may ask.
func (b *broker) mayAlter() bool { return b.up && b.asked == nil && len(b.pending) > 0 }

// alter asks the controller to change in-sync sets: one request of the broker at a time. look makes the broker find out who is controller.
func (b *broker) alter(look bool) {
	if look {
		b.boss = b.w.zk.controller.id
	}
	if b.boss < 1 {
		return
	}
	req := &wishes{epoch: b.epoch}
	for _, p := range b.pending {
		if p.account == nil || b.part(p.tp) != p {
			continue
		}
		if c, ok := b.w.rules.Change(p.account, p.tp); ok {
			req.changes, req.of = append(req.changes, c), append(req.of, p)
		}
	}
	b.pending = nil
	if len(req.changes) > 0 {
		b.asked = req
		b.w.send(b.id, b.boss, req)
	}
}

// forgetAlter gives up waiting for the controller's answer, and asks again.
func (b *broker) forgetAlter() {
	for _, p := range b.asked.of {
		b.push(p)
	}
	b.asked = nil
}

// wishes is an AlterPartition request.
type wishes struct {
	epoch   cluster.BrokerEpoch
	changes []replica.ISRChange
	of      []*part
}

// String implements body.
func (r *wishes) String() string {
	s := "alter"
	for _, c := range r.changes {
		s += fmt.Sprintf(" [%s epoch=%d pe=%d isr=%v epochs=%v fence=%v]", c.TopicPartition, c.LeaderEpoch, c.PartitionEpoch, c.ISR, c.Epochs, c.Fence)
	}
	return s
}

func (r *wishes) arrive(w *world, to *broker, m *message) {
	answer := func(reply any, ok bool) {
		a := &granted{req: r, code: kerr.NotController}
		if ok {
			a.code, a.results = reply.(state.AlterReply).Code, reply.(state.AlterReply).Partitions
		}
		w.send(to.id, m.from, a)
	}
	if to.reign == nil {
		answer(nil, false)
		return
	}
	e := state.AlterPartition{Broker: m.from, BrokerEpoch: r.epoch}
	for _, c := range r.changes {
		e.Partitions = append(e.Partitions, state.AlterRequest{
			Partition: c.TopicPartition, LeaderEpoch: c.LeaderEpoch, PartitionEpoch: c.PartitionEpoch, ISR: c.ISR, ISREpochs: c.Epochs, Fence: c.Fence,
		})
	}
	reign := to.reign
	reign.queue = append(reign.queue, item{event: e, reply: func(reply any, ok bool) {
		answer(reply, ok)
		if ok && slices.ContainsFunc(reply.(state.AlterReply).Partitions, func(p state.AlterResult) bool { return p.Code == kerr.NotController }) {
			reign.queue = append(reign.queue, item{look: true})
		}
	}})
}

// granted is the controller's answer to wishes.
type granted struct {
	req     *wishes
	code    kerr.Code
	results []state.AlterResult
}

// String implements body.
func (a *granted) String() string {
	s := "altered: " + a.code.Name()
	for _, r := range a.results {
		s += fmt.Sprintf(" [%s %s %s pe=%d]", r.Partition, r.Code.Name(), r.State, r.State.PartitionEpoch)
	}
	return s
}

func (a *granted) arrive(w *world, to *broker, _ *message) {
	if to.asked != a.req {
		return
	}
	if a.code != kerr.None {
		to.forgetAlter()
		return
	}
	to.asked = nil
	for i, p := range a.req.of {
		if p.account == nil || to.part(p.tp) != p {
			continue
		}
		r := replica.ISRResult{
			Code: a.results[i].Code, LeaderEpoch: a.results[i].State.LeaderEpoch, PartitionEpoch: a.results[i].State.PartitionEpoch, ISR: a.results[i].State.ISR,
		}
		again := w.rules.Answered(p.account, &a.req.changes[i], &r, w.now)
		p.count()
		p.moveWatermark()
		if again {
			to.push(p)
		}
	}
}
