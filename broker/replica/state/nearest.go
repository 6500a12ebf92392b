package state

import (
	"github.com/ottla/ottla/proto/cluster"
)

// Located says in which rack a broker stands; false for one that the reader cannot reach.
type Located func(cluster.BrokerID) (rack string, ok bool)

// Nearest returns the replica that a consumer in a rack should read from that stands at offset (KIP-392, RackAwareReplicaSelector): the leader if
// it is in that rack, else the in-sync replica there that has come furthest and has the offset, else the leader. Of several that are
// level, it is the one that was level with the leader last, then the one with the largest id. Replicas that are not in sync are never chosen: a
// consumer would fall behind with them.
func (l *Leadership) Nearest(rack string, offset cluster.Offset, where Located) cluster.BrokerID {
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
		if l.InISR(r.id) && r.logStart <= offset && offset <= r.logEnd && in(r.id) && (best == nil || best.before(r)) {
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
