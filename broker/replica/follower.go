package replica

// follow makes this broker a follower of whoever leads now, or of nobody while there is no leader (F§3.2). Those who wait for the
// watermark of a leader learn that it leads no more.
func (p *Partition) follow(s *PartitionState) {
	p.yield(&standing{role: following, leader: s.Leader, epoch: s.LeaderEpoch, partitionEpoch: s.PartitionEpoch})
}

// stop ends the partition's role and keeps its epoch.
func (p *Partition) stop() {
	old := p.state.Load()
	p.yield(&standing{role: stopped, leader: old.leader, epoch: old.epoch, partitionEpoch: old.partitionEpoch})
}

// yield replaces the standing by one that does not lead, after appends in progress have ended.
func (p *Partition) yield(next *standing) {
	p.gate.Lock()
	p.mu.Lock()
	p.lead = nil
	p.mu.Unlock()
	p.become(next)
	p.gate.Unlock()
	p.watchers.tell(everything)
}
