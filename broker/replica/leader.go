package replica

import (
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
)

// lead makes this broker the partition's leader in a new epoch (F§3.2): the epoch is noted at the log's end, the account of the other
// replicas starts afresh, and the high watermark moves if it can.
func (p *Partition) leadFrom(s *PartitionState) error {
	if err := p.beginLeading(s); err != nil {
		return err
	}
	p.watchers.tell(everything)
	return nil
}

func (p *Partition) beginLeading(s *PartitionState) error {
	p.gate.Lock()
	defer p.gate.Unlock()
	end := p.log.LogEndOffset()
	if err := p.log.AssignEpoch(s.LeaderEpoch, end); err != nil {
		return fmt.Errorf("note leader epoch %d of %s at offset %d: %w", s.LeaderEpoch, p.tp, end, err)
	}
	l := newLeadership(p.env.self, s.Replicas, s.ISR, end, p.env.now())
	l.epoch, l.partitionEpoch = s.LeaderEpoch, s.PartitionEpoch
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lead = l
	next := &standing{
		role: leading, leader: p.env.self, epoch: s.LeaderEpoch, partitionEpoch: s.PartitionEpoch,
		isr: len(l.isr), maximalISR: l.maximalSize(),
	}
	if p.become(next) {
		p.advanceLocked()
	}
	return nil
}

// advance moves the high watermark to where it may stand now and reports whether it moved.
func (p *Partition) advance() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.advanceLocked()
}

func (p *Partition) advanceLocked() bool {
	if p.lead == nil {
		return false
	}
	s := p.surroundings()
	current := cluster.Offset(p.watermark.Load())
	next := p.lead.highWatermark(current, p.log.LogEndOffset(), &s)
	p.watermark.Store(int64(next))
	return next > current
}

// epochStart returns where the log ended when the current leader epoch began, and false unless this broker leads.
func (p *Partition) epochStart() (cluster.Offset, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil {
		return 0, false
	}
	return p.lead.epochStart, true
}

// noteFetch enters a follower's fetch into the account and returns what is news because of it. It does nothing if the partition is no
// longer led under that epoch, if the follower is not assigned, or if it has restarted since.
func (p *Partition) noteFetch(id cluster.BrokerID, epoch cluster.LeaderEpoch, m fetchMark) News {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st := p.state.Load(); p.lead == nil || st.role != leading || st.epoch != epoch {
		return 0
	}
	r := p.lead.remote(id)
	if r == nil || r.stale(m) {
		return 0
	}
	var news News
	if m.logStart != r.logStart {
		news = StartMoved
	}
	r.progress = r.fetched(m)
	if p.proposeFor(r) {
		p.env.alter(p)
	}
	if p.advanceLocked() {
		news |= WatermarkMoved
	}
	return news
}

// proposeFor proposes what the fetch of a replica calls for: that it joins the in-sync set, or that it leaves it because it has lost
// records. The caller holds mu.
func (p *Partition) proposeFor(r *remote) bool {
	watermark := p.HighWatermark()
	s := p.surroundings()
	switch {
	case !p.lead.inISR(r.id):
		return p.proposeLocked(p.lead.expanded(r.id, watermark, &s))
	case r.lost(watermark):
		return p.proposeLocked(p.lead.shrunk(watermark, p.log.LogEndOffset(), &s))
	}
	return false
}

// assigned reports whether a broker is one of the other replicas of the partition that this broker leads.
func (p *Partition) assigned(id cluster.BrokerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lead != nil && p.lead.remote(id) != nil
}
