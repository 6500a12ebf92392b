package replica

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// role is what a broker is to a partition that it holds.
//
//	          LeaderAndIsr, leader = self                LeaderAndIsr, leader ≠ self
//	stopped ───────────────────────────────▶ leading ◀────────────────────────────▶ following
//	   ▲                                        │                                       │
//	   └──────────── StopReplica, Close ────────┴───────────────────────────────────────┤
//	                                            └────── the log's disk fails ───────────▶ offline (for good)
type role uint8

const (
	stopped role = iota
	leading
	following
	offline
)

// standing is a partition's place in the cluster. It is immutable and replaced as a whole.
type standing struct {
	role role
	// leader is the leading broker, [cluster.NoBroker] when there is none or it is not known.
	leader cluster.BrokerID
	// epoch is the leader epoch, [cluster.NoLeaderEpoch] before the first order.
	epoch cluster.LeaderEpoch
	// partitionEpoch is the version of the state in ZooKeeper.
	partitionEpoch cluster.PartitionEpoch
	// term counts how often this broker began to lead. It stays the same over elections that the leader wins again.
	term uint64
	// isr and maximalISR are the numbers of members; 0 unless leading.
	isr, maximalISR int
}

// refusal is the code for a request that only a leader can serve.
func (s *standing) refusal() kerr.Code {
	switch s.role {
	case leading:
		return kerr.None
	case offline:
		return kerr.KafkaStorageError
	default:
		return kerr.NotLeaderOrFollower
	}
}

// environment is what all partitions of a broker share. Immutable.
type environment struct {
	self   cluster.BrokerID
	now    func() time.Time
	maxLag time.Duration
	alive  func(cluster.BrokerID) bool
	alter  func(*Partition) // asks the controller for what the partition proposes, without blocking; nil when nobody can be asked
	logger hclog.Logger
}

// Partition is one replica on this broker: a log, the broker's role, and the high watermark. It is safe for concurrent use.
type Partition struct {
	tp      cluster.TopicPartition
	topicID atomic.Pointer[cluster.TopicID]
	env     *environment
	log     *commitlog.Log // nil if it could not be opened; the partition is then offline

	// gate is held shared over an append and exclusively over a change of role, so that no batch is appended under an epoch that
	// is over. Both do disk IO meanwhile.
	gate  sync.RWMutex
	state atomic.Pointer[standing]

	// watermark is the high watermark. It is written with mu held. Whoever needs watermark and standing to belong together loads the
	// watermark first.
	watermark atomic.Int64
	// minISR is the topic's min.insync.replicas.
	minISR atomic.Int32

	watchers watchers

	mu   sync.Mutex
	lead *leadership // nil unless leading
}

// newPartition returns a stopped partition whose high watermark is the checkpoint, brought into the log's bounds. A nil log makes it
// offline.
func newPartition(env *environment, tp cluster.TopicPartition, log *commitlog.Log, checkpoint cluster.Offset, minISR int) *Partition {
	p := &Partition{tp: tp, env: env, log: log}
	p.minISR.Store(int32(minISR))
	p.topicID.Store(&cluster.TopicID{})
	s := &standing{role: stopped, leader: cluster.NoBroker, epoch: cluster.NoLeaderEpoch}
	if log == nil {
		s.role = offline
	} else {
		id := log.TopicID()
		p.topicID.Store(&id)
		p.watermark.Store(int64(min(max(checkpoint, log.LogStartOffset()), log.LogEndOffset())))
	}
	p.state.Store(s)
	return p
}

// TopicPartition returns the partition's name.
func (p *Partition) TopicPartition() cluster.TopicPartition { return p.tp }

// HighWatermark returns the offset up to which consumers may read, exclusive.
func (p *Partition) HighWatermark() cluster.Offset { return cluster.Offset(p.watermark.Load()) }

// LogEndOffset returns the offset that the next record gets; unknown if the log could not be opened.
func (p *Partition) LogEndOffset() cluster.Offset {
	if p.log == nil {
		return cluster.UnknownOffset
	}
	return p.log.LogEndOffset()
}

// LeaderEpoch returns the epoch of the last order, [cluster.NoLeaderEpoch] before the first.
func (p *Partition) LeaderEpoch() cluster.LeaderEpoch { return p.state.Load().epoch }

// Leads reports whether this broker leads the partition.
func (p *Partition) Leads() bool { return p.state.Load().role == leading }

// Watch registers the signal for news. Each Watch needs an Unwatch.
func (p *Partition) Watch(s *Signal, n News) { p.watchers.add(s, n) }

// Unwatch takes one registration of the signal back.
func (p *Partition) Unwatch(s *Signal) { p.watchers.remove(s) }

// Watchers returns how many registrations there are.
func (p *Partition) Watchers() int { return int(p.watchers.count.Load()) }

// stable returns the offset up to which read_committed consumers may read, given the high watermark. Nothing is ever undecided yet:
// batches of transactions are refused.
func (p *Partition) stable(watermark cluster.Offset) cluster.Offset { return watermark }

// checkStorage takes the partition offline if err is a storage error after which the log is fenced, and returns the code for the
// client. A full disk fences nothing: it may have room again.
func (p *Partition) checkStorage(err error) kerr.Code {
	if !errors.Is(err, kerr.KafkaStorageError) {
		return kerr.CodeOf(err)
	}
	if p.state.Load().role == stopped { // and its log is being deleted
		return kerr.NotLeaderOrFollower
	}
	if p.log.Err() != nil {
		p.fail()
	}
	return kerr.KafkaStorageError
}

// fail takes the partition offline for good. It does not wait for appends: those fail by themselves.
func (p *Partition) fail() {
	for {
		old := p.state.Load()
		if old.role == offline {
			return
		}
		next := *old
		next.role, next.isr, next.maximalISR = offline, 0, 0
		if p.state.CompareAndSwap(old, &next) {
			break
		}
	}
	p.env.logger.Error("partition is offline because its disk failed", "partition", p.tp.String())
	p.watchers.tell(everything)
}

// become replaces the standing, unless the partition is offline. The caller holds gate exclusively.
func (p *Partition) become(next *standing) bool {
	for {
		old := p.state.Load()
		if old.role == offline {
			return false
		}
		next.term = old.term
		if next.role == leading && old.role != leading {
			next.term++
		}
		if p.state.CompareAndSwap(old, next) {
			return true
		}
	}
}
