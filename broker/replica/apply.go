package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// orderRefused is logged when an order is not carried out, as a whole or for a partition.
const orderRefused = "order of the controller refused"

// refusals logs which partitions of an order it was not carried out for, unless it had been before.
type refusals struct {
	log    hclog.Logger
	sender Sender
	text   string
	lines  sparing
}

func (r *refusals) outcome(o PartitionOutcome, e cluster.LeaderEpoch, err error) {
	if o.Code != kerr.None && !errors.Is(err, state.ErrCarriedOut) && r.lines.next() {
		r.log.Warn(r.text, "partition", o.TopicPartition.String(), "code", o.Code.Name(), "controller", int32(r.sender.ControllerID),
			"controller-epoch", int32(r.sender.ControllerEpoch), "leader-epoch", int32(e), "error", err)
	}
}

func (r *refusals) end() { r.lines.end(r.log, r.text) }

// ApplyLeaderAndISR carries out an order that assigns roles (F§2.10). code is for the whole order; if it is not [kerr.None] nothing was
// done. Otherwise there is an outcome for each partition, in order; an order that was carried out already is answered with
// STALE_CONTROLLER_EPOCH. The first order starts the loop that notes high watermarks.
func (m *Manager) ApplyLeaderAndISR(order LeaderAndISR) (code kerr.Code, outcomes []PartitionOutcome) {
	m.readTopics(order.Partitions)
	m.orders.Lock()
	defer m.orders.Unlock()
	if code := m.admitLocked(order.Sender); code != kerr.None {
		return code, nil
	}
	outcomes = make([]PartitionOutcome, len(order.Partitions))
	opened := m.openLocked(order.Partitions)
	note := refusals{log: m.cfg.Logger, sender: order.Sender, text: orderRefused}
	for i := range order.Partitions {
		s := &order.Partitions[i]
		code, err := codeOf(opened[i]), opened[i]
		if err == nil {
			code, err = m.applyLocked(s)
		}
		outcomes[i] = PartitionOutcome{s.TopicPartition, code}
		note.outcome(outcomes[i], s.LeaderEpoch, err)
	}
	note.end()
	m.forgetLost(order.Partitions, outcomes)
	if m.fetchers != nil {
		m.fetchers.settle()
		m.alterer.begin()
		m.repairs.begin()
	}
	m.checkpoints.begin(m.cfg.HWCheckpointInterval, m.checkpoint, m.cfg.Logger)
	return kerr.None, outcomes
}

func (m *Manager) admitLocked(s Sender) kerr.Code {
	if m.closed {
		return kerr.StaleBrokerEpoch
	}
	code := m.fence.Admit(s, m.cfg.BrokerEpoch())
	if code != kerr.None {
		m.cfg.Logger.Warn(orderRefused, "code", code.Name(), "controller", int32(s.ControllerID),
			"controller-epoch", int32(s.ControllerEpoch), "latest-controller-epoch", int32(m.fence.ControllerEpoch), "broker-epoch", int64(s.BrokerEpoch))
	}
	return code
}

// logsAtOnce is how many logs one order opens, creates or deletes at a time. Each takes a few syncs of the disk, of which file systems carry out many
// together.
const logsAtOnce = 32

// openLocked opens or creates the logs of the partitions that this broker did not hold until now, and returns the errors in
// order. What it may not open is left to applyLocked, which says why.
func (m *Manager) openLocked(partitions []PartitionState) []error {
	errs := make([]error, len(partitions))
	begun := make(map[cluster.TopicPartition]struct{})
	var opening errgroup.Group
	opening.SetLimit(logsAtOnce)
	for i := range partitions {
		s := &partitions[i]
		if _, twice := begun[s.TopicPartition]; twice || m.lookUp(s.TopicPartition) != nil {
			continue
		}
		if code, err := m.judge(nil, s); code != kerr.None || err != nil || m.judgeLost(s) != nil {
			continue
		}
		begun[s.TopicPartition] = struct{}{}
		opening.Go(func() error {
			_, errs[i] = m.create(s)
			return nil
		})
	}
	_ = opening.Wait() // each error is its partition's
	return errs
}

// applyLocked gives one partition its role.
func (m *Manager) applyLocked(s *PartitionState) (kerr.Code, error) {
	p := m.lookUp(s.TopicPartition)
	if code, err := m.judge(p, s); code != kerr.None || err != nil {
		return code, err
	}
	if p != nil && s.LeaderEpoch == p.LeaderEpoch() {
		return m.adoptTopicID(p, s)
	}
	if err := m.judgeLost(s); err != nil {
		return kerr.KafkaStorageError, err
	}
	if p == nil {
		var err error
		if p, err = m.create(s); err != nil {
			return codeOf(err), err
		}
	} else if err := m.adopt(p, s); err != nil {
		return codeOf(err), err
	}
	if s.Leader != m.cfg.BrokerID {
		p.follow(s)
		if m.fetchers != nil {
			m.fetchers.assign(p, s.Leader, s.LeaderEpoch)
		}
		m.cfg.Logger.Debug("following", "partition", s.TopicPartition.String(), "leader", int32(s.Leader), "leader-epoch", int32(s.LeaderEpoch))
		return kerr.None, nil
	}
	if latest := p.log.LatestEpoch(); s.LeaderEpoch < latest {
		// Appending in an earlier epoch than the log's last would make what lies before look like a damaged tail. ZooKeeper can only be behind the logs when
		// it has lost what it knew; the controller then raises the leader epoch.
		return kerr.FencedLeaderEpoch, fmt.Errorf("leader epoch %d, but the log has records of leader epoch %d: ZooKeeper knows less than before, was a backup of it restored?", s.LeaderEpoch, latest)
	}
	m.stopFetching(p)
	p.due = nil
	if err := p.leadFrom(s); errors.Is(err, commitlog.ErrBusy) {
		m.leadLater(p, s)
		return kerr.None, nil
	} else if err != nil {
		return p.checkStorage(err), err
	}
	m.cfg.Logger.Debug("leading", "partition", s.TopicPartition.String(), "leader-epoch", int32(s.LeaderEpoch), "high-watermark", int64(p.HighWatermark()))
	return kerr.None, nil
}

// leadLater carries an order to lead out when what is under way at the partition's log has ended, unless another order comes first. With a disk that works that
// is at once.
func (m *Manager) leadLater(p *Partition, s *PartitionState) {
	p.due = s
	go func() {
		select {
		case <-p.gate.drained():
		case <-m.quit:
			return
		}
		p.log.AwaitTurn()
		m.orders.Lock()
		defer m.orders.Unlock()
		if m.closed || p.due != s {
			return
		}
		if code, err := m.applyLocked(s); code != kerr.None {
			m.cfg.Logger.Warn("cannot begin to lead", "partition", p.tp.String(), "leader-epoch", int32(s.LeaderEpoch), "code", code.Name(), "error", err)
		}
		if m.fetchers != nil {
			m.fetchers.settle()
		}
	}()
}

// judgeLost returns why a replica that was lost with its disk does not get a role. To the controller its disk has failed: others are elected, if
// any may be.
func (m *Manager) judgeLost(s *PartitionState) error {
	if m.cfg.Lost == nil || !state.LostRefuses(m.cfg.BrokerID, s) || !m.cfg.Lost.Has(s.TopicPartition, s.TopicID) {
		return nil
	}
	return fmt.Errorf("the records of %s are on no disk of this broker, which was in sync: to lead without them would empty the other replicas %v; "+
		"if no other one is in sync, an unclean election accepts the loss of what only this broker had", s.TopicPartition, s.Replicas)
}

// forgetLost forgets replicas that were lost and are to be copied from others.
func (m *Manager) forgetLost(partitions []PartitionState, outcomes []PartitionOutcome) {
	if m.cfg.Lost == nil {
		return
	}
	var tps []cluster.TopicPartition
	for i := range partitions {
		if s := &partitions[i]; outcomes[i].Code == kerr.None && state.LostIsOver(m.cfg.BrokerID, s) && m.cfg.Lost.Has(s.TopicPartition, s.TopicID) {
			tps = append(tps, s.TopicPartition)
		}
	}
	if len(tps) > 0 {
		m.cfg.Lost.Forget(tps...)
	}
}

// stopFetching makes nobody copy a partition any more.
func (m *Manager) stopFetching(p *Partition) {
	if m.fetchers != nil {
		m.fetchers.unassign(p.tp)
	}
}

// judge decides whether a state may be applied to p, which is nil for a partition that this broker does not hold.
func (m *Manager) judge(p *Partition, s *PartitionState) (kerr.Code, error) {
	if p == nil {
		return state.Judge(m.cfg.BrokerID, nil, cluster.TopicID{}, s)
	}
	return state.Judge(m.cfg.BrokerID, p.state.Load(), *p.topicID.Load(), s)
}

// readTopics reads the settings of topics of which logs are about to be opened, each once. It may wait for ZooKeeper, and is called without
// the lock on orders, for which Close waits.
func (m *Manager) readTopics(partitions []PartitionState) {
	done := make(map[string]struct{})
	for i := range partitions {
		topic := partitions[i].TopicPartition.Topic
		if _, ok := done[topic]; ok || m.lookUp(partitions[i].TopicPartition) != nil {
			continue
		}
		done[topic] = struct{}{}
		m.cfg.ReadTopic(topic)
	}
}

// create opens or creates the log of a partition that this broker did not hold until now.
func (m *Manager) create(s *PartitionState) (*Partition, error) {
	tp := s.TopicPartition
	log, err := m.cfg.Logs.GetOrCreate(tp, s.TopicID, s.IsNew, m.cfg.TopicConfig(tp.Topic))
	if err != nil && codeOf(err) != kerr.KafkaStorageError {
		return nil, fmt.Errorf("open log of %s: %w", tp, err)
	}
	mark, _ := m.cfg.Logs.ReadHW(tp)
	p := newPartition(&m.env, tp, log, mark, m.cfg.MinISR(tp.Topic))
	m.mu.Lock()
	m.partitions[tp] = p
	m.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", tp, err)
	}
	// Settings that changed after the log was opened with the old ones, and before the partition could be found, count from here on.
	m.configure(tp.Topic, log)
	m.configurePartition(p)
	return p, nil
}

// adopt notes the topic id if p did not have one.
func (m *Manager) adopt(p *Partition, s *PartitionState) error {
	if s.TopicID.IsZero() || !p.topicID.Load().IsZero() {
		return nil
	}
	if _, err := m.cfg.Logs.GetOrCreate(p.tp, s.TopicID, false, m.cfg.TopicConfig(p.tp.Topic)); err != nil {
		return fmt.Errorf("note topic id %s of %s: %w", s.TopicID, p.tp, err)
	}
	m.configure(p.tp.Topic, p.log) // GetOrCreate may have handed over older ones than those that counted
	id := s.TopicID
	p.topicID.Store(&id)
	return nil
}

// adoptTopicID answers an order that is not new but tells the topic id.
func (m *Manager) adoptTopicID(p *Partition, s *PartitionState) (kerr.Code, error) {
	if err := m.adopt(p, s); err != nil {
		return p.checkStorage(err), err
	}
	return kerr.None, nil
}

// ApplyUpdateMetadata changes the broker's picture of the cluster (F§2.10).
func (m *Manager) ApplyUpdateMetadata(order UpdateMetadata) kerr.Code {
	m.orders.Lock()
	defer m.orders.Unlock()
	if code := m.admitLocked(order.Sender); code != kerr.None {
		return code
	}
	m.cfg.Metadata.Apply(order.Update)
	m.askForLost(order.Update.Partitions)
	return kerr.None
}

// askForLost asks for roles if a replica that was lost, and that the controller takes for one on a failed disk, can be copied from another one now.
func (m *Manager) askForLost(partitions []metadata.PartitionUpdate) {
	if m.cfg.Lost == nil {
		return
	}
	for i := range partitions {
		p := &partitions[i]
		if p.Partition.Leader >= 0 && !slices.Contains(p.Partition.ISR, m.cfg.BrokerID) && m.cfg.Lost.Has(p.TopicPartition, p.TopicID) {
			m.cfg.Lost.AskForRoles()
			return
		}
	}
}

// ApplyStopReplica ends roles, and deletes logs where it is asked to (F§2.10 rule 4). code is for the whole order; if it is not
// [kerr.None] nothing was done. A partition that is not held is no error.
func (m *Manager) ApplyStopReplica(order StopReplica) (code kerr.Code, outcomes []PartitionOutcome) {
	m.orders.Lock()
	defer m.orders.Unlock()
	if code := m.admitLocked(order.Sender); code != kerr.None {
		return code, nil
	}
	outcomes = make([]PartitionOutcome, len(order.Partitions))
	note := refusals{log: m.cfg.Logger, sender: order.Sender, text: "replica not stopped"}
	errs := make([]error, len(order.Partitions))
	var deleting errgroup.Group
	deleting.SetLimit(logsAtOnce)
	for i := range order.Partitions {
		s := &order.Partitions[i]
		outcomes[i].TopicPartition = s.TopicPartition
		if outcomes[i].Code, errs[i] = m.stopLocked(s); outcomes[i].Code == kerr.None && s.Delete {
			deleting.Go(func() error {
				outcomes[i].Code, errs[i] = m.deleteLog(s.TopicPartition)
				return nil
			})
		}
	}
	_ = deleting.Wait() // each error is its partition's
	for i := range outcomes {
		note.outcome(outcomes[i], order.Partitions[i].LeaderEpoch, errs[i])
	}
	note.end()
	if m.cfg.Lost != nil {
		var gone []cluster.TopicPartition
		for i := range order.Partitions {
			if order.Partitions[i].Delete && outcomes[i].Code == kerr.None {
				gone = append(gone, order.Partitions[i].TopicPartition)
			}
		}
		m.cfg.Lost.Forget(gone...)
	}
	if m.fetchers != nil {
		m.fetchers.settle()
	}
	return kerr.None, outcomes
}

func (m *Manager) stopLocked(s *StopPartition) (kerr.Code, error) {
	if p := m.lookUp(s.TopicPartition); p != nil {
		if code, err := state.JudgeStop(p.state.Load(), s); code != kerr.None {
			return code, err
		}
		m.stopFetching(p)
		p.stop()
		if s.Delete {
			m.mu.Lock()
			delete(m.partitions, s.TopicPartition)
			m.mu.Unlock()
		}
	}
	return kerr.None, nil
}

// deleteLog deletes the log of a partition that is not held any more. One that is not there is no error.
func (m *Manager) deleteLog(tp cluster.TopicPartition) (kerr.Code, error) {
	if _, ok := m.cfg.Logs.Get(tp); !ok {
		return kerr.None, nil
	}
	if m.repairs != nil {
		m.repairs.leave(tp)
	}
	if err := m.cfg.Logs.Delete(tp); err != nil {
		return codeOf(err), fmt.Errorf("delete log of %s: %w", tp, err)
	}
	return kerr.None, nil
}
