package replica

import (
	"errors"
	"fmt"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
)

// leadFrom makes this broker the partition's leader in a new epoch (F§3.2): the epoch is noted at the log's end, the account of the other
// replicas starts afresh, and the high watermark moves if it can. The error is [commitlog.ErrBusy] while something of an earlier role is under way at the log:
// then the gate stays shut, so that it soon ends unless the disk stalls, and leadFrom is to be called again when it has.
func (p *Partition) leadFrom(s *PartitionState) error {
	if err := p.beginLeading(s); err != nil {
		return err
	}
	p.watchers.tell(everything)
	return nil
}

func (p *Partition) beginLeading(s *PartitionState) error {
	if !p.gate.close() {
		return commitlog.ErrBusy
	}
	end := p.log.LogEndOffset()
	err := p.log.AssignEpoch(s.LeaderEpoch, end)
	if errors.Is(err, commitlog.ErrBusy) {
		return err
	}
	defer p.gate.open()
	if err != nil {
		return fmt.Errorf("note leader epoch %d of %s at offset %d: %w", s.LeaderEpoch, p.tp, end, err)
	}
	l := state.Lead(p.env.self, s, end, p.env.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lead = l
	if p.become(l.Standing()) {
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
	next := p.lead.HighWatermark(current, p.log.LogEndOffset(), &s)
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
	return p.lead.EpochStart(), true
}

// noteFetch enters a follower's fetch into the account and returns what is news because of it. It does nothing if the partition is no
// longer led under that epoch, if the follower is not assigned, or if it has restarted since.
func (p *Partition) noteFetch(id cluster.BrokerID, epoch cluster.LeaderEpoch, m state.Mark) News {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil || !p.state.Load().Leads(epoch) {
		return 0
	}
	s := p.surroundings()
	isr, startMoved, ok := p.lead.Fetched(id, m, p.HighWatermark(), p.log.LogEndOffset(), &s)
	if !ok {
		return 0
	}
	var news News
	if startMoved {
		news = StartMoved
	}
	if p.proposeLocked(isr) {
		p.env.alter(p)
	}
	if p.advanceLocked() {
		news |= WatermarkMoved
	}
	return news
}

// assigned reports whether a broker is one of the other replicas of the partition that this broker leads.
func (p *Partition) assigned(id cluster.BrokerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lead != nil && p.lead.Assigned(id)
}
