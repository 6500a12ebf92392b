package replica

import "github.com/ottla/ottla/proto/cluster"

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
	id := p.lead.Nearest(r.Rack, offset, func(id cluster.BrokerID) (string, bool) { return p.env.place(id, r.Listener) })
	if id == p.env.self {
		return cluster.NoBroker
	}
	return id
}
