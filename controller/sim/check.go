package sim

import (
	"slices"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// history is what is known of a partition from outside: what a cluster has promised and may never take back.
type history struct {
	id cluster.TopicID
	// committed holds the records that lay below the high watermark of a leader at some time.
	committed []entry
	values    map[int]bool // of committed
	// leaders says who was elected in each leader epoch.
	leaders map[cluster.LeaderEpoch]cluster.BrokerID
	// lossy is the last leader epoch whose leader may have less than what is committed: after an unclean election, or when the only replica in sync
	// has lost its tail. pending is true until that leader leads; what is promised before by leaders of earlier epochs counts no longer.
	lossy   cluster.LeaderEpoch
	pending bool
	// deleted is up to where records were to be deleted. Nothing is promised of what lies before: the leader has forgotten the epochs, so a replica that was not
	// there may have something else, until it begins where the leader does, and again after a crash.
	deleted cluster.Offset
	// moved is true once a reassignment has begun.
	moved bool
}

func (w *world) forgetTopic(name string) {
	for tp := range w.histories {
		if tp.Topic == name {
			delete(w.histories, tp)
			delete(w.wanted, tp)
		}
	}
}

// history returns that of a partition that is there under that id; nil if it is not, or is to be deleted.
func (w *world) history(tp cluster.TopicPartition, id cluster.TopicID) *history {
	h := w.histories[tp]
	if h == nil || h.id != id || w.zk.deletions[tp.Topic] {
		return nil
	}
	return h
}

// checkWrite looks at what a controller has written to a state.
func (w *world) checkWrite(r *reign, tp cluster.TopicPartition, old *state.LeaderAndISR, s state.LeaderAndISR) {
	t := w.zk.topics[tp.Topic]
	replicas := t.Assignments[tp.Partition].Replicas
	h := w.history(tp, t.ID)
	if h == nil && w.zk.deletions[tp.Topic] {
		return
	}
	if h == nil {
		h = &history{id: t.ID, values: map[int]bool{}, leaders: map[cluster.LeaderEpoch]cluster.BrokerID{}, lossy: cluster.NoLeaderEpoch}
		w.histories[tp] = h
	}
	if len(s.ISR) == 0 {
		w.violated("somebody is in sync", "%s: %s", tp, s)
	}
	if s.Leader != cluster.NoBroker && !slices.Contains(s.ISR, s.Leader) {
		w.violated("the leader is in sync", "%s: %s", tp, s)
	}
	for _, id := range s.ISR {
		if !slices.Contains(replicas, id) {
			w.violated("who is in sync is assigned", "%s: %s, assigned are %v", tp, s, replicas)
		}
	}
	if s.ControllerEpoch != r.epoch {
		w.violated("states name who wrote them", "%s: %s was written by the controller of epoch %d", tp, s, r.epoch)
	}
	if s.Leader != cluster.NoBroker {
		if other, ok := h.leaders[s.LeaderEpoch]; ok && other != s.Leader {
			w.violated("an epoch has one leader", "%s has leaders %d and %d in epoch %d", tp, other, s.Leader, s.LeaderEpoch)
		}
		h.leaders[s.LeaderEpoch] = s.Leader
	}
	if old == nil {
		return
	}
	if s.LeaderEpoch < old.LeaderEpoch || s.ControllerEpoch < old.ControllerEpoch || s.PartitionEpoch <= old.PartitionEpoch {
		w.violated("epochs never fall", "%s: %s pe=%d after %s pe=%d", tp, s, s.PartitionEpoch, old, old.PartitionEpoch)
	}
	if s.LeaderEpoch > old.LeaderEpoch {
		w.report.Elections++
	}
	if epoch, failed := r.failed[w.place(tp, s.Leader)]; failed && s.Leader != old.Leader && epoch == r.knows[s.Leader] {
		w.violated("nobody is elected whose disk has failed", "%s: %s after %s, and broker %d has said that it cannot", tp, s, old, s.Leader)
	}
	for _, id := range s.ISR {
		// Who joins under a registration that is younger than the power cut has to have caught up since.
		if l := w.broker(id).logs[tp]; l != nil && !slices.Contains(old.ISR, id) && r.knows[id] > l.lostIn {
			l.lost = false
		}
	}
	if s.Leader != cluster.NoBroker && !slices.Contains(old.ISR, s.Leader) {
		if !w.zk.uncleanEver[t.ID] {
			w.violated("leaders come from the in-sync set", "%s: %s after %s", tp, s, old)
		}
		h.lossy, h.pending = s.LeaderEpoch, true
	}
}

// holds reports whether a log has everything that is committed from its start on, and notes how far it agrees.
func (h *history) holds(l *log) bool {
	if h.lossy == cluster.NoLeaderEpoch {
		l.agreed = max(l.agreed, min(int(l.start), len(h.committed)))
	}
	for l.agreed < len(h.committed) && l.agreed < len(l.entries) {
		own, other := l.entries[l.agreed], h.committed[l.agreed]
		if own != other && own.value != 0 && other.value != 0 && l.agreed >= int(h.deleted) { // 0: it was deleted before it was copied
			break
		}
		l.agreed++
	}
	return l.agreed == len(h.committed)
}

// rewrite makes a leader's log the history, where something may be lost.
func (w *world) rewrite(h *history, l *log) {
	h.holds(l)
	for _, e := range h.committed[l.agreed:] {
		delete(h.values, e.value)
	}
	h.committed = slices.Clone(h.committed[:l.agreed])
	for i, e := range l.entries[:l.agreed] { // what was deleted elsewhere counts as the same, and may be something else here
		if was := h.committed[i]; e.value != 0 && was != e {
			delete(h.values, was.value)
			h.committed[i], h.values[e.value] = e, true
		}
	}
	for _, b := range w.brokers {
		for _, other := range b.logs {
			if other.id == h.id {
				other.agreed = min(other.agreed, len(h.committed))
			}
		}
	}
}

// superseded reports whether another leader than that of an epoch was elected since.
func (h *history) superseded(leader cluster.BrokerID, in cluster.LeaderEpoch) bool {
	for e, other := range h.leaders {
		if e > in && other != leader {
			return true
		}
	}
	return false
}

// checkLead looks at a broker that begins to lead.
func (w *world) checkLead(p *part, s *replica.PartitionState) {
	h := w.history(p.tp, p.log.id)
	if h == nil {
		return
	}
	if elected, ok := h.leaders[s.LeaderEpoch]; !ok || elected != p.b.id {
		w.violated("only who was elected leads", "broker %d leads %s in epoch %d, for which %d was elected", p.b.id, p.tp, s.LeaderEpoch, elected)
	}
	if h.superseded(p.b.id, s.LeaderEpoch) {
		return // another one leads already; this one will not commit anything that the other does not have
	}
	if h.pending && s.LeaderEpoch >= h.lossy {
		h.pending = false
		w.rewrite(h, p.log)
	}
	if !h.holds(p.log) {
		// A replica that has lost its tail in a power cut may lead only if there was no other, or if the controller that elected it did not know
		// that it had come back, and was deposed before it did.
		if !p.log.lost || len(s.ISR) > 1 && !slices.Contains(w.zk.ignored[p.tp], p.b.id) {
			w.violated("who leads has everything that is committed", "broker %d leads %s in epoch %d with %d of %d records", p.b.id, p.tp, s.LeaderEpoch, p.log.agreed, len(h.committed))
			return
		}
		h.lossy = s.LeaderEpoch
		w.rewrite(h, p.log)
	}
	p.log.lost = false
}

// checkCommit enters a leader's high watermark into the history.
func (w *world) checkCommit(p *part) {
	h := w.history(p.tp, p.log.id)
	if h == nil || p.standing.Epoch < h.lossy || h.pending {
		return
	}
	h.holds(p.log)
	n := int(p.watermark)
	if n > len(p.log.entries) {
		w.violated("the high watermark lies within the log", "broker %d, %s: %d of %d", p.b.id, p.tp, n, len(p.log.entries))
		return
	}
	if p.log.agreed < min(n, len(h.committed)) {
		w.violated("logs are the same below the high watermark", "broker %d leads %s in epoch %d with %v at %d, where %v is committed",
			p.b.id, p.tp, p.standing.Epoch, p.log.entries[p.log.agreed], p.log.agreed, h.committed[p.log.agreed])
		return
	}
	for _, e := range p.log.entries[min(len(h.committed), n):n] {
		if h.values[e.value] && e.value != 0 {
			w.violated("no record is there twice", "%s: %d", p.tp, e.value)
		}
		h.values[e.value] = true
		h.committed = append(h.committed, e)
		w.report.Committed++
	}
	h.holds(p.log)
}

// checkFetched looks at a fetch that a leader has counted. The replica's log has not lost anything since if the leader knows its registration.
func (w *world) checkFetched(p *part, from cluster.BrokerID, f *fetch) {
	l := w.broker(from).logs[p.tp]
	h := w.history(p.tp, p.log.id)
	if l != nil && h != nil && f.brokerEpoch == w.broker(from).epoch && w.broker(from).up && h.holds(l) {
		l.lost = false
	}
}

// checkCut looks at a follower that is about to cut its log. One that still follows the leader of an earlier epoch may cut off what has been committed
// since, as it is not in sync: if it were, checkInSync would notice.
func (w *world) checkCut(p *part, to cluster.Offset) {
	h := w.history(p.tp, p.log.id)
	if h == nil || h.pending || p.standing.Epoch < w.zk.states[p.tp].LeaderEpoch {
		return
	}
	h.holds(p.log)
	if int(max(to, p.log.base, h.deleted)) < p.log.agreed {
		w.violated("what is committed is not cut off", "broker %d cuts %s to %d, and what it has is committed up to %d", p.b.id, p.tp, to, p.log.agreed)
	}
}

// checkAck looks at a produce request with acks=all that is answered without an error.
func (w *world) checkAck(p *part, x wait) {
	w.report.Acked++
	h := w.history(p.tp, p.log.id)
	if h == nil || h.pending || p.standing.Epoch < h.lossy {
		return
	}
	at := int(x.required) - 1
	if at >= len(h.committed) || h.committed[at].value != x.value {
		w.violated("what is acknowledged is committed", "broker %d acknowledges %d at %d of %s", p.b.id, x.value, at, p.tp)
		return
	}
	copies, doubtful := 0, false
	for _, b := range w.brokers {
		if l := b.logs[p.tp]; l != nil && (l.id == h.id || l.id.IsZero()) {
			doubtful = doubtful || l.lost
			if at < len(l.entries) && (l.entries[at].value == x.value || at < int(l.start)) {
				copies++
			}
		}
	}
	// A reassignment may have left fewer replicas than the leader knows of, or added one that it does not know of.
	enough := min(p.standing.EffectiveMinISR(w.plan.minISR), len(w.zk.topics[p.tp.Topic].Assignments[p.tp.Partition].Target()))
	// Or taken one away before the leader hears of it.
	unaware := h.moved && p.standing.Epoch < w.zk.states[p.tp].LeaderEpoch
	if copies < enough && !doubtful && !unaware {
		w.violated("what is acknowledged has enough copies", "broker %d acknowledges %d at %d of %s, which %d brokers have", p.b.id, x.value, at, p.tp, copies)
	}
}

// settle answers what is decided after a step, and looks at everything that must hold at any time.
func (w *world) settle() {
	for _, b := range w.brokers {
		if !b.up {
			continue
		}
		for _, p := range b.parts {
			p.decide()
			if p.seenEpoch == p.standing.Epoch && p.watermark < p.seenWatermark {
				w.violated("the high watermark never falls within an epoch", "broker %d, %s: from %d to %d in epoch %d", b.id, p.tp, p.seenWatermark, p.watermark, p.seenEpoch)
			}
			p.seenEpoch, p.seenWatermark = p.standing.Epoch, p.watermark
			w.checkFollower(p)
			w.checkStart(p)
		}
	}
	for _, name := range w.zk.topicNames() {
		if w.zk.deletions[name] {
			continue
		}
		for index := range w.zk.topics[name].Assignments {
			w.checkInSync(cluster.TopicPartition{Topic: name, Partition: index})
		}
	}
}

// checkFollower looks at what consumers may read from a replica that does not lead.
func (w *world) checkFollower(p *part) {
	h := w.history(p.tp, p.log.id)
	if h == nil || h.lossy != cluster.NoLeaderEpoch || p.log.lost || p.leads() {
		return
	}
	h.holds(p.log)
	if int(p.watermark) > p.log.agreed {
		w.violated("logs are the same below the high watermark", "broker %d has high watermark %d of %s, and what it has is committed up to %d", p.b.id, p.watermark, p.tp, p.log.agreed)
	}
}

// checkInSync is the invariant StrongIsr of the published specifications: whoever is in sync has everything that is below any leader's high
// watermark.
func (w *world) checkInSync(tp cluster.TopicPartition) {
	s, ok := w.zk.states[tp]
	h := w.history(tp, w.zk.topics[tp.Topic].ID)
	if !ok || h == nil || h.pending {
		return
	}
	for _, b := range w.brokers {
		if !slices.Contains(s.ISR, b.id) {
			continue
		}
		switch l := b.logs[tp]; {
		case len(h.committed) == 0 || l != nil && l.id.IsZero() && l.lost:
		case l == nil || l.id != h.id:
			w.violated("who is in sync has everything that is committed", "broker %d has no log of %s, of which %d records are committed", b.id, tp, len(h.committed))
		case !h.holds(l) && !l.lost:
			w.violated("who is in sync has everything that is committed", "broker %d has %d of the %d records of %s: %s", b.id, l.agreed, len(h.committed), tp, s)
		}
	}
}
