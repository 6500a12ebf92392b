package sim

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// trim deletes records that the broker leads, up to the high watermark at most (DeleteRecords, F§3.9).
func (p *part) trim(n uint16) {
	if p.standing.Refusal() != kerr.None || p.watermark <= p.log.start {
		return
	}
	to := p.log.start + 1 + cluster.Offset(n)%(p.watermark-p.log.start)
	p.b.w.trace("    broker %d deletes what is before %d of %s, high watermark %d", p.b.id, to, p.tp, p.watermark)
	if h := p.b.w.history(p.tp, p.log.id); h != nil {
		h.deleted = max(h.deleted, to)
	}
	p.log.start = to
}

// restart makes a follower's log begin anew where the leader's does.
func (p *part) restart(to cluster.Offset) {
	w := p.b.w
	w.trace("    broker %d starts over with %s at %d, the log ended at %d", p.b.id, p.tp, to, p.log.end())
	w.checkCut(p, to)
	p.log.restart(to)
	p.clamp()
}

// checkStart looks at where a replica's log begins: within what the replica knows to be committed, and where nothing lies before that was not to be
// deleted.
func (w *world) checkStart(p *part) {
	if p.log.start > p.watermark {
		w.violated("a log begins below its high watermark", "broker %d, %s: begins at %d, high watermark %d", p.b.id, p.tp, p.log.start, p.watermark)
	}
	h := w.history(p.tp, p.log.id)
	if h != nil && !h.pending && h.lossy == cluster.NoLeaderEpoch && !p.log.lost && p.log.start > h.deleted {
		w.violated("what is not to be deleted stays", "broker %d, %s: begins at %d, what is before %d was to be deleted", p.b.id, p.tp, p.log.start, h.deleted)
	}
}
