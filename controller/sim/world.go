package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// maxLag is replica.lag.time.max.ms, backoff replica.fetch.backoff.ms.
const (
	maxLag  = time.Second
	backoff = 200 * time.Millisecond
)

// world is a simulated cluster. Nothing in it happens by itself: whoever makes a decision makes it happen.
type world struct {
	rules   Rules
	plan    plan
	out     *strings.Builder // nil unless what happens is to be told
	now     time.Time
	step    int
	zk      *zookeeper
	brokers []*broker // by id, from 1
	net     []*message
	cut     map[[2]cluster.BrokerID]bool
	seq     int // of what is sent
	value   int // of the last record
	calm    bool

	histories map[cluster.TopicPartition]*history
	wanted    map[cluster.TopicPartition][]cluster.BrokerID // where reassignments are to lead, of those that are known to have begun last
	asked     int                                           // wishes to reassign so far
	latest    map[cluster.TopicPartition]int                // the last wish
	failure   *Failure
	report    Report
}

func newWorld(rules Rules, p plan, out *strings.Builder) *world {
	w := &world{
		rules: rules, plan: p, out: out, now: time.UnixMilli(1_700_000_000_000), cut: map[[2]cluster.BrokerID]bool{},
		histories: map[cluster.TopicPartition]*history{}, wanted: map[cluster.TopicPartition][]cluster.BrokerID{},
		latest: map[cluster.TopicPartition]int{},
	}
	w.zk = newZookeeper(w)
	for i := range p.brokers {
		w.brokers = append(w.brokers, newBroker(w, cluster.BrokerID(i+1)))
	}
	w.trace("%d brokers, min.insync.replicas=%d, unclean elections %v, power cuts %v", p.brokers, p.minISR, p.unclean, p.powerCuts)
	for _, b := range w.brokers {
		b.start()
	}
	w.createTopic(w.topicName(0), uint16(p.seed))
	return w
}

// trace notes what happens.
func (w *world) trace(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, format+"\n", args...)
	}
}

// violated notes that an invariant is broken. The first counts.
func (w *world) violated(invariant, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{Invariant: invariant, Detail: fmt.Sprintf(format, args...)}
		w.trace("VIOLATED %s: %s", invariant, w.failure.Detail)
	}
}

func (w *world) broker(id cluster.BrokerID) *broker { return w.brokers[id-1] }

// brokersWhere returns the brokers that f accepts, by id.
func (w *world) brokersWhere(f func(*broker) bool) []*broker {
	var out []*broker
	for _, b := range w.brokers {
		if f(b) {
			out = append(out, b)
		}
	}
	return out
}

// replicasWhere returns the replicas of running brokers that f accepts, by broker and partition.
func (w *world) replicasWhere(f func(*part) bool) []*part {
	var out []*part
	for _, b := range w.brokers {
		for _, p := range b.parts {
			if b.up && f(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// do makes a decision. It returns false if the decision makes no sense at the moment and changed nothing.
func (w *world) do(d decision) bool {
	act := w.choose(d)
	if act == nil {
		return false
	}
	w.step++
	if w.out != nil {
		w.trace("%d: %s", w.step, kindNames[d.kind])
	}
	act()
	return true
}

// choose returns what a decision means at the moment; nil for nothing.
func (w *world) choose(d decision) func() {
	up := func(b *broker) bool { return b.up }
	switch d.kind {
	case doDeliver:
		if n := len(w.net); n > 0 {
			i := int(d.a) % n
			if w.net[i].held && d.c%16 > 0 {
				return nil
			}
			return func() { w.deliver(i, d.b%1000 < w.plan.duplicates) }
		}
	case doDrop:
		if n := len(w.net); n > 0 {
			return func() { w.drop(int(d.a) % n) }
		}
	case doHold:
		if n := len(w.net); n > 0 {
			m := w.net[int(d.a)%n]
			return func() { m.held = true }
		}
	case doFetch:
		return act(w.replicasWhere((*part).mayFetch), d.a, (*part).fetch)
	case doControl:
		return act(w.brokersWhere(func(b *broker) bool { return b.up && b.reign != nil && !b.reign.idle() }), d.a, func(b *broker) { b.reign.advance(d.b, d.c) })
	case doSend:
		return act(w.senders(func(s *sender) bool { return len(s.queue) > 0 && (!s.sent || d.b%8 == 0) }), d.a, (*sender).send)
	case doAlter:
		return act(w.brokersWhere((*broker).mayAlter), d.a, func(b *broker) { b.alter(d.b%4 == 0) })
	case doLag:
		return act(w.brokersWhere(up), d.a, (*broker).dropLaggards)
	case doTick:
		return func() { w.now = w.now.Add(time.Duration(1+d.a%300) * time.Millisecond) }
	case doProduce:
		return act(w.replicasWhere((*part).leads), d.a, func(p *part) { p.produce(d.b%4 > 0) })
	case doFlush:
		return act(w.brokersWhere(up), d.a, (*broker).flush)
	case doForgetFetch:
		return act(w.replicasWhere(func(p *part) bool { return p.asked != 0 }), d.a, (*part).forgetFetch)
	case doForgetAlter:
		return act(w.brokersWhere(func(b *broker) bool { return b.up && b.asked != nil }), d.a, (*broker).forgetAlter)
	}
	return w.chooseFault(d)
}

// chooseFault is choose for the rarer kinds.
func (w *world) chooseFault(d decision) func() {
	up := func(b *broker) bool { return b.up }
	switch d.kind {
	case doCrash:
		return act(w.brokersWhere(up), d.a, func(b *broker) { b.crash(w.plan.powerCuts && d.b%2 == 0, d.c) })
	case doRestart:
		return act(w.brokersWhere(func(b *broker) bool { return !b.up }), d.a, func(b *broker) {
			b.repair(d.b)
			b.start()
		})
	case doExpire:
		return act(w.brokersWhere(func(b *broker) bool { return w.zk.sessions[b.session] }), d.a, (*broker).expire)
	case doNotice:
		return act(w.brokersWhere((*broker).expired), d.a, (*broker).renew)
	case doElect:
		return act(w.brokersWhere((*broker).mayElect), d.a, (*broker).elect)
	case doDethrone:
		if w.zk.controller.session != 0 {
			return w.zk.dethrone
		}
	case doCreate:
		if name := w.topicName(d.a); !w.zk.exists(name) {
			return func() { w.createTopic(name, d.b) }
		}
	case doDelete:
		return act(w.zk.topicNames(), d.a, w.zk.deleteTopic)
	case doGrow:
		if r, name := w.activeReign(), w.topicName(d.a); r != nil && len(w.zk.topics[name].Assignments) == 1 {
			return func() {
				r.queue = append(r.queue, item{event: state.AddPartitions{Topics: []state.MorePartitions{{Topic: name, Count: 2}}}})
			}
		}
	case doShutdown:
		return act(w.brokersWhere(func(b *broker) bool { return b.up && b.boss >= 1 }), d.a, (*broker).prepareToStop)
	case doBallot:
		if r := w.activeReign(); r != nil {
			return func() { r.ballot(d.a) }
		}
	case doSuspect:
		if r := w.activeReign(); r != nil {
			return func() { r.suspect(d.a, d.b, d.c) }
		}
	case doCut:
		if a, b := cluster.BrokerID(1+int(d.a)%len(w.brokers)), cluster.BrokerID(1+int(d.b)%len(w.brokers)); a != b {
			return func() {
				w.trace("    nothing passes from %d to %d", a, b)
				w.cut[[2]cluster.BrokerID{a, b}] = true
			}
		}
	case doMend:
		if len(w.cut) > 0 {
			return func() { clear(w.cut) }
		}
	case doMove:
		return act(w.zk.partitions(), d.a, func(tp cluster.TopicPartition) { w.move(tp, d.b, d.c) })
	case doCancel:
		return act(w.zk.partitions(), d.a, w.cancel)
	case doFail:
		if b := w.broker(cluster.BrokerID(1 + int(d.a)%len(w.brokers))); b.up && !b.broken[d.b%dirs] {
			return func() { b.failDisk(int(d.b % dirs)) }
		}
	case doTell:
		return act(w.brokersWhere((*broker).mayTell), d.a, (*broker).tell)
	case doTrim:
		return act(w.replicasWhere((*part).leads), d.a, func(p *part) { p.trim(d.b) })
	case doUnclean:
		return act(w.zk.topicNames(), d.a, func(name string) { w.allowUnclean(name, d.b%2 == 0) })
	}
	return nil
}

// act returns f with one of a list; nil when there is none.
func act[T any](list []T, n uint16, f func(T)) func() {
	if len(list) == 0 {
		return nil
	}
	one := list[int(n)%len(list)]
	return func() { f(one) }
}

// topicName returns one of a few names.
func (w *world) topicName(n uint16) string { return fmt.Sprint("t", int(n)%w.plan.topics) }

// createTopic makes a topic.
func (w *world) createTopic(name string, rest uint16) {
	partitions := 1 + int(rest%2)
	var replicas [][]cluster.BrokerID
	for i := range partitions {
		var ids []cluster.BrokerID
		for j := range min(3, w.plan.brokers) {
			ids = append(ids, cluster.BrokerID(1+(int(rest)/2+i+j)%w.plan.brokers))
		}
		if rest%5 == 4 && len(ids) > 2 {
			ids = ids[:2]
		}
		replicas = append(replicas, ids)
	}
	config := map[string]string{}
	w.trace("    topic %s is created: %v", name, replicas)
	w.zk.createTopic(name, replicas, config)
	if w.plan.unclean {
		w.allowUnclean(name, true)
	}
}

// unclean is the setting that allows elections of replicas out of sync.
const unclean = "unclean.leader.election.enable"

// allowUnclean changes the setting of a topic and tells the controller.
func (w *world) allowUnclean(name string, on bool) {
	w.trace("    %s of %s is %v", unclean, name, on)
	w.zk.configs[name] = map[string]string{unclean: fmt.Sprint(on)}
	if !on {
		return
	}
	w.zk.uncleanEver[w.zk.topics[name].ID] = true
	if r := w.activeReign(); r != nil {
		r.queue = append(r.queue, item{event: state.UncleanElectionEnabled{Topic: name}})
	}
}

// ballot asks for elections.
func (r *reign) ballot(n uint16) {
	e := state.Event(state.ElectLeaders{All: true})
	switch {
	case n%5 == 0:
		e = state.Rebalance{}
	case n%5 == 1 && r.b.w.plan.unclean:
		e = state.ElectLeaders{Unclean: true, All: true}
	}
	r.queue = append(r.queue, item{event: e})
}

// suspect tells the controller that some brokers do not answer, and that disks stall, whether that is so or not.
func (r *reign) suspect(suspects, unreached, broken uint16) {
	e := state.Contact{MinISR: r.b.w.plan.minISR}
	for i, b := range r.b.w.brokers {
		switch suspects >> (3 * i) & 7 {
		case 7:
			e.Suspects = append(e.Suspects, b.id)
		case 6:
			e.Stalled = append(e.Stalled, b.id)
		}
		if unreached>>(2*i)&3 == 3 {
			e.Unreached = append(e.Unreached, b.id)
		}
		if other := r.b.w.brokers[(i+1)%len(r.b.w.brokers)]; broken>>(2*i)&3 == 3 {
			e.Broken = append(e.Broken, state.Link{From: b.id, To: other.id})
		}
	}
	r.b.w.trace("    suspects %v, stalled %v, unreached %v, broken %v", e.Suspects, e.Stalled, e.Unreached, e.Broken)
	r.queue = append(r.queue, item{event: e})
}

// activeReign returns the reign of whoever holds /controller, nil if there is none.
func (w *world) activeReign() *reign {
	for _, b := range w.brokers {
		if b.up && b.reign != nil && b.reign.epoch == w.zk.epoch && w.zk.controller.session == b.reign.session {
			return b.reign
		}
	}
	return nil
}
