package replica

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Config is what a [Manager] needs. BrokerID, Logs and Metadata are required.
type Config struct {
	// BrokerID is this broker.
	BrokerID cluster.BrokerID
	// BrokerEpoch returns the broker's current registration; [cluster.NoBrokerEpoch] while it has none. nil means that orders are not
	// compared with it.
	BrokerEpoch func() cluster.BrokerEpoch
	// Logs are the logs on this broker's disks. The manager does not close them.
	Logs *commitlog.Manager
	// Metadata is the broker's picture of the cluster, which UpdateMetadata orders change.
	Metadata *metadata.Cache
	// ReadTopic makes TopicConfig and MinISR know a topic's settings as they are now, before one of its logs is opened: a topic of that name
	// may have been deleted and created again. It may wait for others; nil means that they always know.
	ReadTopic func(topic string)
	// TopicConfig returns a topic's effective settings for its logs, as last read; nil means Kafka's defaults. It must not wait for anything.
	TopicConfig func(topic string) commitlog.Config
	// MinISR returns a topic's effective min.insync.replicas, as last read; nil means 1. It must not wait for anything.
	MinISR func(topic string) int
	// HWCheckpointInterval is replica.high.watermark.checkpoint.interval.ms; 0 means 5 s.
	HWCheckpointInterval time.Duration
	// MaxLag is replica.lag.time.max.ms; 0 means 30 s.
	MaxLag time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger is where the manager reports; nil means nowhere.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.BrokerEpoch == nil {
		c.BrokerEpoch = func() cluster.BrokerEpoch { return cluster.NoBrokerEpoch }
	}
	if c.ReadTopic == nil {
		c.ReadTopic = func(string) {}
	}
	if c.TopicConfig == nil {
		c.TopicConfig = func(string) commitlog.Config { return commitlog.DefaultConfig() }
	}
	if c.MinISR == nil {
		c.MinISR = func(string) int { return 1 }
	}
	if c.HWCheckpointInterval <= 0 {
		c.HWCheckpointInterval = 5 * time.Second
	}
	if c.MaxLag <= 0 {
		c.MaxLag = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Manager holds the partitions of a broker (Kafka's ReplicaManager). It is safe for concurrent use.
type Manager struct {
	cfg Config
	env environment

	// orders is held while an order of the controller is carried out, over the disk IO that it takes.
	orders sync.Mutex
	fence  orderFence
	closed bool

	mu         sync.RWMutex
	partitions map[cluster.TopicPartition]*Partition

	checkpoints checkpointLoop

	// settings is held while settings are looked up and handed to a log, so that the latest win.
	settings sync.Mutex
}

// New returns a manager without partitions: the controller's first LeaderAndIsr order brings them. Logs that are on disk keep the
// high watermarks that were noted for them.
func New(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	m := &Manager{cfg: cfg, partitions: make(map[cluster.TopicPartition]*Partition)}
	m.env = environment{
		self: cfg.BrokerID, now: cfg.Now, maxLag: cfg.MaxLag, logger: cfg.Logger,
		alive: func(id cluster.BrokerID) bool { return cfg.Metadata.Image().IsLive(id) },
	}
	return m
}

// Partition returns a partition that this broker holds. Otherwise the code is NOT_LEADER_OR_FOLLOWER for a partition that is known to
// exist elsewhere, INVALID_TOPIC_EXCEPTION for a name that no topic can have, and UNKNOWN_TOPIC_OR_PARTITION (F§8, 3 against 6). A partition
// whose disk has failed is returned: its methods answer KAFKA_STORAGE_ERROR.
func (m *Manager) Partition(tp cluster.TopicPartition) (*Partition, kerr.Code) {
	if p := m.lookUp(tp); p != nil {
		return p, kerr.None
	}
	if _, ok := m.cfg.Metadata.Image().Partition(tp); ok {
		return nil, kerr.NotLeaderOrFollower
	}
	if cluster.ValidateTopicName(tp.Topic) != nil {
		return nil, kerr.InvalidTopicException
	}
	return nil, kerr.UnknownTopicOrPartition
}

func (m *Manager) lookUp(tp cluster.TopicPartition) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.partitions[tp]
}

func (m *Manager) all() []*Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]*Partition, 0, len(m.partitions))
	for _, p := range m.partitions {
		list = append(list, p)
	}
	return list
}

// LeaderHint returns the leader of a partition and its epoch as far as this broker knows: from the last order or from the metadata, whichever
// is newer. ok is false when it knows nothing.
func (m *Manager) LeaderHint(tp cluster.TopicPartition) (leader cluster.BrokerID, epoch cluster.LeaderEpoch, ok bool) {
	leader, epoch = cluster.NoBroker, cluster.NoLeaderEpoch
	if p := m.lookUp(tp); p != nil {
		if st := p.state.Load(); st.role == leading || st.role == following {
			leader, epoch, ok = st.leader, st.epoch, true
		}
	}
	if known, found := m.cfg.Metadata.Image().Partition(tp); found && known.LeaderEpoch > epoch {
		leader, epoch, ok = known.Leader, known.LeaderEpoch, true
	}
	return leader, epoch, ok
}

// TopicConfigChanged makes the logs of a topic take over its settings as Config's functions now return them; without a topic the logs of all
// topics.
func (m *Manager) TopicConfigChanged(topics ...string) {
	for _, log := range m.cfg.Logs.Logs() {
		tp := log.TopicPartition()
		if len(topics) > 0 && !slices.Contains(topics, tp.Topic) {
			continue
		}
		m.configure(tp.Topic, log)
		if p := m.lookUp(tp); p != nil && p.log == log {
			m.configurePartition(p)
		}
	}
}

// configure hands a topic's settings to a log.
func (m *Manager) configure(topic string, log *commitlog.Log) {
	m.settings.Lock()
	defer m.settings.Unlock()
	log.SetConfig(m.cfg.TopicConfig(topic))
}

// configurePartition hands a topic's settings to a partition.
func (m *Manager) configurePartition(p *Partition) {
	m.settings.Lock()
	p.minISR.Store(int32(m.cfg.MinISR(p.tp.Topic)))
	m.settings.Unlock()
	if p.advance() {
		p.watchers.tell(WatermarkMoved)
	}
}

// DirFailed takes every partition offline whose log is in that log directory, an element of log.dirs.
func (m *Manager) DirFailed(dir string) {
	for _, p := range m.all() {
		if p.log != nil && filepath.Clean(p.log.LogDir()) == filepath.Clean(dir) {
			p.fail()
		}
	}
}

// Close ends all roles, so that whoever waits for a partition is answered with NOT_LEADER_OR_FOLLOWER, and notes the high watermarks. Orders that
// come later are refused. It must be called before the logs are closed; calling it again does nothing.
func (m *Manager) Close(ctx context.Context) error {
	m.checkpoints.stop()
	m.orders.Lock()
	defer m.orders.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	for _, p := range m.all() {
		p.stop()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("close replica manager: %w", err)
	}
	return m.checkpoint()
}

// checkpoint notes the high watermarks of all logs on this broker's disks. A log that no order has named yet keeps the one it has.
func (m *Manager) checkpoint() error {
	marks := make(map[cluster.TopicPartition]cluster.Offset)
	for _, log := range m.cfg.Logs.Logs() {
		tp := log.TopicPartition()
		if p := m.lookUp(tp); p != nil && p.log == log {
			marks[tp] = p.HighWatermark()
		} else if mark, ok := m.cfg.Logs.ReadHW(tp); ok {
			marks[tp] = mark
		}
	}
	if err := m.cfg.Logs.WriteHWCheckpoint(marks); err != nil {
		return fmt.Errorf("note high watermarks: %w", err)
	}
	return nil
}

// codeOf returns the code that err carries, looking through the log's storage errors.
func codeOf(err error) kerr.Code {
	if errors.Is(err, kerr.KafkaStorageError) {
		return kerr.KafkaStorageError
	}
	return kerr.CodeOf(err)
}
