package sim

import (
	"fmt"
	"slices"
	"time"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
)

// Once the faults have stopped a cluster has this much time to recover, in rounds.
const (
	round     = 20 * time.Millisecond
	maxRounds = 1000
)

// heal stops all faults and demands that the cluster recovers: every partition has a leader and all its replicas in sync, deletions end, requests
// are answered, and new records are acknowledged.
func (w *world) heal() {
	w.trace("the faults stop")
	w.calm = true
	clear(w.cut)
	for _, b := range w.brokers {
		if b.up && b.leaving {
			b.crash(false, 0)
		}
		if !b.up {
			b.repair(w.repairs(b))
			b.start()
		}
	}
	w.timeOut()
	if r := w.activeReign(); r != nil {
		r.suspect(0, 0, 0)
	}
	if !w.recover("leaders leave disks that have failed", w.unled) {
		return
	}
	for _, b := range w.brokers {
		if slices.Contains(b.broken[:], true) {
			b.crash(false, 0)
			b.repair(1 + w.repairs(b)%3)
			b.start()
		}
	}
	w.timeOut()
	if !w.recover("the cluster recovers", w.missing) {
		return
	}
	for _, p := range w.replicasWhere((*part).leads) {
		p.produce(true)
	}
	w.recover("the cluster goes on", w.missing)
}

// timeOut makes everybody give up waiting for answers.
func (w *world) timeOut() {
	for _, b := range w.brokers {
		for _, p := range b.parts {
			p.forgetFetch()
		}
		if b.asked != nil {
			b.forgetAlter()
		}
	}
	for _, s := range w.senders(func(*sender) bool { return true }) {
		s.sent = false
	}
}

// repairs says what an operator does about broken disks in the end.
func (w *world) repairs(b *broker) uint16 { return uint16(w.plan.seed) + uint16(b.id) }

// recover goes round and round until everything is as it should be. It returns false after a violation.
func (w *world) recover(invariant string, lacks func() string) bool {
	for n := range maxRounds {
		if n%100 == 99 {
			w.sweep()
		}
		w.goRound()
		if w.failure != nil {
			return false
		}
		if lacks() == "" {
			return true
		}
	}
	w.violated(invariant, "after %v: %s", maxRounds*round, lacks())
	return false
}

// sweep is an operator who removes the replicas that a reassignment has left behind, as nobody else does: a broker that could not be reached when it was
// to delete one keeps it (F§2.8, B5), and cannot take part in a topic of the same name that is created later.
func (w *world) sweep() {
	for _, b := range w.brokers {
		left := slices.DeleteFunc(b.held(), func(tp cluster.TopicPartition) bool {
			t := w.zk.topics[tp.Topic]
			return t.ID == b.logs[tp].id && slices.Contains(t.Assignments[tp.Partition].Replicas, b.id)
		})
		if len(left) == 0 {
			continue
		}
		w.trace("    an operator removes %v from broker %d", left, b.id)
		b.crash(false, 0)
		for _, tp := range left {
			delete(b.logs, tp)
			delete(b.marks, tp)
		}
		b.start()
	}
	w.timeOut()
}

// goRound lets everybody do what there is to do.
func (w *world) goRound() {
	w.now = w.now.Add(round)
	do := func(f func()) {
		if w.failure == nil {
			w.step++
			f()
			w.settle()
		}
	}
	for _, b := range w.brokers {
		if b.expired() {
			do(b.renew)
		}
		do(b.elect)
		if b.mayTell() {
			do(b.tell)
		}
		if w.now.UnixMilli()%(maxLag.Milliseconds()/2) < round.Milliseconds() {
			do(b.dropLaggards)
		}
	}
	for _, b := range w.brokers {
		for b.reign != nil && !b.reign.idle() && w.failure == nil {
			do(func() { b.reign.advance(999, 1) })
		}
		if b.mayAlter() {
			do(func() { b.alter(true) })
		}
	}
	for _, s := range w.senders(func(s *sender) bool { return len(s.queue) > 0 && !s.sent }) {
		do(s.send)
	}
	for _, p := range w.replicasWhere((*part).mayFetch) {
		do(p.fetch)
	}
	for n := len(w.net); n > 0 && len(w.net) > 0; n-- {
		do(func() { w.deliver(0, false) })
	}
}

// missing says what is not as it should be; "" when everything is.
func (w *world) missing() string {
	if len(w.zk.deletions) > 0 {
		return fmt.Sprintf("topics are to be deleted: %v", w.zk.toDelete())
	}
	for _, b := range w.brokers {
		switch {
		case b.asked != nil || len(b.pending) > 0:
			return fmt.Sprintf("broker %d wants other in-sync sets", b.id)
		case b.reign != nil && !b.reign.idle():
			return fmt.Sprintf("controller %d is busy", b.id)
		}
		for _, p := range b.parts {
			if len(p.waits) > 0 {
				return fmt.Sprintf("%d produce requests of %s wait at broker %d", len(p.waits), p.tp, b.id)
			}
		}
	}
	if len(w.senders(func(s *sender) bool { return len(s.queue) > 0 })) > 0 {
		return "orders are on their way"
	}
	if w.zk.moves != nil {
		return fmt.Sprintf("reassignments are asked for: %v", w.zk.moves)
	}
	for _, tp := range w.zk.partitions() {
		a := w.zk.topics[tp.Topic].Assignments[tp.Partition]
		if want, ok := w.wanted[tp]; a.Reassigning() || ok && !slices.Equal(a.Replicas, want) {
			return fmt.Sprintf("%s is on %s and wanted on %v", tp, a, want)
		}
		if why := w.lacks(tp, a.Replicas); why != "" {
			return why
		}
	}
	return ""
}

// lacks says what a partition lacks.
func (w *world) lacks(tp cluster.TopicPartition, replicas []cluster.BrokerID) string {
	s, ok := w.zk.states[tp]
	if !ok || s.Leader == cluster.NoBroker {
		return fmt.Sprintf("%s has no leader", tp)
	}
	for _, id := range replicas {
		p := w.broker(id).part(tp)
		switch {
		case !slices.Contains(s.ISR, id):
			return fmt.Sprintf("broker %d is not in sync for %s: %s", id, tp, s)
		case p == nil:
			return fmt.Sprintf("broker %d does not know of %s", id, tp)
		case p.standing.Epoch != s.LeaderEpoch || id == s.Leader && !p.leads() || id != s.Leader && p.standing.Role != replica.Following:
			return fmt.Sprintf("broker %d is in epoch %d of %s: %s", id, p.standing.Epoch, tp, s)
		}
	}
	leader := w.broker(s.Leader).part(tp)
	for _, id := range replicas {
		p := w.broker(id).part(tp)
		from := max(p.log.start, leader.log.start)
		if h := w.histories[tp]; h != nil {
			from = min(max(from, h.deleted), leader.log.end())
		}
		if p.log.end() != leader.log.end() || !slices.Equal(p.log.entries[from:], leader.log.entries[from:]) {
			return fmt.Sprintf("broker %d has another log of %s than leader %d", id, tp, s.Leader)
		}
		if p.log.start < leader.log.start {
			return fmt.Sprintf("%s begins at %d on broker %d, and at %d on leader %d", tp, p.log.start, id, leader.log.start, s.Leader)
		}
		if p.watermark != leader.log.end() {
			return fmt.Sprintf("the high watermark of %s is %d of %d on broker %d", tp, p.watermark, leader.log.end(), id)
		}
	}
	return ""
}
