package replica

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// environment is what all partitions of a broker share. Immutable.
type environment struct {
	self   cluster.BrokerID
	now    func() time.Time
	maxLag time.Duration
	alive  func(cluster.BrokerID) bool
	// stalled is whether a broker says that its disk stalls; nil means that none does.
	stalled func(cluster.BrokerID) bool
	// place tells the rack of a live broker that has an address on a listener; nearest is whether consumers are sent to a replica in their rack.
	place   func(id cluster.BrokerID, listener string) (rack string, ok bool)
	nearest bool
	// sending limits what throttled followers are sent, fetching what is fetched into throttled replicas.
	sending, fetching *throttle
	alter             func(*Partition)                  // asks the controller for what the partition proposes, without blocking; nil when nobody can be asked
	heals             func(cluster.TopicPartition) bool // whether what is damaged there can be expected to be repaired; nil when nobody repairs
	logger            hclog.Logger
}

// Partition is one replica on this broker: a log, the broker's role, and the high watermark. It is safe for concurrent use.
type Partition struct {
	tp      cluster.TopicPartition
	topicID atomic.Pointer[cluster.TopicID]
	env     *environment
	log     *commitlog.Log // nil if it could not be opened; the partition is then offline

	// gate is passed by whoever changes the log, before the standing is looked at. A change of role first puts the new standing in place, so that nothing more
	// is begun under an epoch that is over; what is under way counts as having come before. The new role changes the log only when nobody is left inside.
	gate  gate
	state atomic.Pointer[state.Standing]

	// due is the order to lead that waits until the log can be changed; guarded by Manager.orders.
	due *PartitionState

	// watermark is the high watermark. It is written with mu held. Whoever needs watermark and standing to belong together loads the
	// watermark first.
	watermark atomic.Int64
	// minISR is the topic's min.insync.replicas.
	minISR atomic.Int32

	throttled throttled
	watchers  watchers

	mu   sync.Mutex
	lead *state.Leadership // nil unless leading
}

// newPartition returns a stopped partition whose high watermark is the checkpoint, brought into the log's bounds. A nil log makes it
// offline.
func newPartition(env *environment, tp cluster.TopicPartition, log *commitlog.Log, checkpoint cluster.Offset, minISR int) *Partition {
	p := &Partition{tp: tp, env: env, log: log}
	p.minISR.Store(int32(minISR))
	p.topicID.Store(&cluster.TopicID{})
	s := state.NewStanding()
	if log == nil {
		s.Role = state.Offline
	} else {
		id := log.TopicID()
		p.topicID.Store(&id)
		p.watermark.Store(int64(state.Clamped(checkpoint, log.LogStartOffset(), log.LogEndOffset())))
	}
	p.state.Store(&s)
	return p
}

// TopicPartition returns the partition's name.
func (p *Partition) TopicPartition() cluster.TopicPartition { return p.tp }

// IsOf reports whether the partition can be one of the topic with that id: it does not know its own, the caller does not, or both are the same.
func (p *Partition) IsOf(id cluster.TopicID) bool {
	own := *p.topicID.Load()
	return own.IsZero() || id.IsZero() || own == id
}

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
func (p *Partition) LeaderEpoch() cluster.LeaderEpoch { return p.state.Load().Epoch }

// Leads reports whether this broker leads the partition.
func (p *Partition) Leads() bool { return p.state.Load().Role == state.Leading }

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
	if p.state.Load().Role == state.Stopped { // and its log is being deleted
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
		if old.Role == state.Offline {
			return
		}
		next := *old
		next.Role, next.ISR, next.MaximalISR, next.Replicas = state.Offline, 0, 0, 0
		if p.state.CompareAndSwap(old, &next) {
			break
		}
	}
	p.gate.open()
	p.env.logger.Error("partition is offline because its disk failed", "partition", p.tp.String())
	p.watchers.tell(everything)
}

// become replaces the standing, unless the partition is offline. The caller holds Manager.orders.
func (p *Partition) become(next state.Standing) bool {
	for {
		old := p.state.Load()
		if old.Role == state.Offline {
			return false
		}
		successor := next.After(old)
		if p.state.CompareAndSwap(old, &successor) {
			return true
		}
	}
}
