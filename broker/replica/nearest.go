package replica

import (
	"github.com/ottla/ottla/proto/cluster"
)

// located says in which rack a broker stands; false for one that the reader cannot reach.
type located func(cluster.BrokerID) (rack string, ok bool)

// nearest returns the replica that a consumer in a rack should read from that stands at offset (KIP-392, RackAwareReplicaSelector): the leader if
// it is in that rack, else the in-sync replica there that has come furthest and has the offset, else the leader. Of several that are
// level, it is the one that was level with the leader last, then the one with the largest id. Replicas that are not in sync are never chosen: a
// consumer would fall behind with them.
func (l *leadership) nearest(rack string, offset cluster.Offset, where located) cluster.BrokerID {
	in := func(id cluster.BrokerID) bool {
		r, ok := where(id)
		return ok && r == rack
	}
	if rack == "" || in(l.self) {
		return l.self
	}
	var best *remote
	for i := range l.remotes {
		r := &l.remotes[i]
		if l.inISR(r.id) && r.logStart <= offset && offset <= r.logEnd && in(r.id) && (best == nil || best.before(r)) {
			best = r
		}
	}
	if best == nil {
		return l.self
	}
	return best.id
}

// before reports whether another replica is to be preferred.
func (r *remote) before(other *remote) bool {
	if r.logEnd != other.logEnd {
		return r.logEnd < other.logEnd
	}
	if !r.caughtUpAt.Equal(other.caughtUpAt) {
		return r.caughtUpAt.Before(other.caughtUpAt)
	}
	return r.id < other.id
}

// preferred returns the replica that a consumer should read from instead of this one, which leads; [cluster.NoBroker] if it should stay.
func (p *Partition) preferred(r *Reader, offset cluster.Offset) cluster.BrokerID {
	if !p.env.nearest || r.Rack == "" || r.isFollower() {
		return cluster.NoBroker
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil {
		return cluster.NoBroker
	}
	id := p.lead.nearest(r.Rack, offset, func(id cluster.BrokerID) (string, bool) { return p.env.place(id, r.Listener) })
	if id == p.env.self {
		return cluster.NoBroker
	}
	return id
}
