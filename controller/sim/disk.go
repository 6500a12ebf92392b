package sim

import (
	"fmt"
	"slices"

	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
)

// dirs is how many log directories a broker has, each on a disk of its own.
const dirs = 2

// failDisk makes a disk of a running broker fail: its replicas are offline for good, and the controller is to be told. Without any disk the process ends.
func (b *broker) failDisk(dir int) {
	b.w.trace("    log directory %d of broker %d fails", dir, b.id)
	b.w.report.Failures++
	b.broken[dir] = true
	if !slices.Contains(b.broken[:], false) {
		b.crash(false, 0)
		return
	}
	for _, p := range b.parts {
		if p.log.dir == dir {
			p.fail()
		}
	}
	b.untold = true
}

// fail makes a replica offline.
func (p *part) fail() {
	offline := p.standing
	offline.Role, offline.ISR, offline.MaximalISR, offline.Replicas = replica.Offline, 0, 0, 0
	p.standing = offline.After(&p.standing)
	p.account, p.pursuit = nil, nil
	p.outgrow()
}

// mayTell reports whether the broker has news of a disk for the controller.
func (b *broker) mayTell() bool { return b.up && b.untold && b.w.zk.sessions[b.session] }

// tell makes a node in /log_dir_event_notification (F§1.7).
func (b *broker) tell() {
	b.untold = false
	b.w.zk.dirNews[b.id] = true
	b.w.zk.changed(dirsChange)
}

// repair does something about broken disks before the broker starts again, as n says: one may be as before, or a new one without anything, or still broken.
func (b *broker) repair(n uint16) {
	for dir := range b.broken {
		if !b.broken[dir] || n%4 == 0 && slices.Contains(b.broken[:], false) {
			continue
		}
		b.broken[dir] = false
		if n%4 == 1 {
			for _, tp := range b.held() {
				if l := b.logs[tp]; l.dir == dir {
					l.load()
				}
			}
			continue
		}
		b.w.trace("    log directory %d of broker %d is a new disk", dir, b.id)
		for _, tp := range b.held() {
			if l := b.logs[tp]; l.dir == dir {
				b.logs[tp] = &log{dir: dir, lost: l.lost || l.end() > 0, lostIn: b.epoch}
				delete(b.marks, tp)
			}
		}
	}
}

// open returns the log of a partition that gets its role, made if need be. ok is false if it is, or may be, on a disk that has failed.
func (b *broker) open(s *replica.PartitionState) (l *log, ok bool) {
	l, known := b.logs[s.TopicPartition]
	switch {
	case known && !b.broken[l.dir]:
		if l.id.IsZero() {
			l.id = s.TopicID
		}
		return l, true
	case !s.IsNew && slices.Contains(b.broken[:], true):
		return &log{id: s.TopicID, dir: slices.Index(b.broken[:], true)}, false
	}
	var load [dirs]int
	for _, other := range b.logs {
		load[other.dir]++
	}
	l = &log{id: s.TopicID}
	if b.broken[0] || !b.broken[1] && load[1] < load[0] {
		l.dir = 1
	}
	b.logs[s.TopicPartition] = l
	return l, true
}

// works reports whether the broker runs and could serve a replica that it has.
func (b *broker) works(tp cluster.TopicPartition) bool {
	p := b.part(tp)
	l := b.logs[tp]
	return b.up && (p == nil || p.standing.Role != replica.Offline) && (l == nil && !slices.Contains(b.broken[:], true) || l != nil && !b.broken[l.dir])
}

// unled says which partition is not led by a replica on a disk that works, although there is one in sync; "" when there is none.
func (w *world) unled() string {
	for _, tp := range w.zk.partitions() {
		s, ok := w.zk.states[tp]
		could := slices.ContainsFunc(s.ISR, func(id cluster.BrokerID) bool { return w.broker(id).works(tp) })
		if !ok || !could || w.zk.deletions[tp.Topic] {
			continue
		}
		if s.Leader == cluster.NoBroker || !w.broker(s.Leader).works(tp) {
			return fmt.Sprintf("%s is led on a disk that has failed, or by nobody: %s", tp, s)
		}
		if p := w.broker(s.Leader).part(tp); p == nil || !p.leads() || p.standing.Epoch != s.LeaderEpoch {
			return fmt.Sprintf("broker %d does not lead %s: %s", s.Leader, tp, s)
		}
	}
	return ""
}
