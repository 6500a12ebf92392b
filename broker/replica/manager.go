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
	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
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
	// Lost knows the replicas that were lost with a disk; nil means that none was.
	Lost LostReplicas
	// Metadata is the broker's picture of the cluster, which UpdateMetadata orders change.
	Metadata *metadata.Cache
	// ReadTopic makes TopicConfig and MinISR know a topic's settings as they are now, before one of its logs is opened: a topic of that name
	// may have been deleted and created again. It may wait for others; nil means that they always know.
	ReadTopic func(topic string)
	// TopicConfig returns a topic's effective settings for its logs, as last read; nil means Kafka's defaults. It must not wait for anything.
	TopicConfig func(topic string) commitlog.Config
	// MinISR returns a topic's effective min.insync.replicas, as last read; nil means 1. It must not wait for anything.
	MinISR func(topic string) int
	// Throttled returns a topic's throttled replicas, as last read; nil means none. It must not wait for anything.
	Throttled func(topic string) ThrottledReplicas
	// QuotaWindows and QuotaWindow are replication.quota.window.num and replication.quota.window.size.seconds; 0 means 11 windows of 1 s. The limits
	// are set by [Manager.SetReplicationRates].
	QuotaWindows int
	QuotaWindow  time.Duration
	// HWCheckpointInterval is replica.high.watermark.checkpoint.interval.ms; 0 means 5 s.
	HWCheckpointInterval time.Duration
	// MaxLag is replica.lag.time.max.ms; 0 means 30 s.
	MaxLag time.Duration
	// Stalled tells whether another broker says that its disk stalls; nil means that none does. It must not wait for anything.
	Stalled func(cluster.BrokerID) bool
	// NearestReplica sends consumers that name their rack to an in-sync replica there (replica.selector.class, KIP-392).
	NearestReplica bool
	// Peers are the other brokers; nil means that there are none: nothing is copied, and in-sync sets stay as the controller orders.
	Peers Peers
	// Fetch says how leaders are followed.
	Fetch FetchSettings
	// Now measures intervals, so its times have a monotonic reading; nil means time.Now.
	Now func() time.Time
	// Logger is where the manager reports; nil means nowhere.
	Logger hclog.Logger
}

// LostReplicas are the replicas that were in sync when this broker's disk turned out to be new, and that nobody may be led by. It is safe for concurrent
// use.
type LostReplicas interface {
	// Has reports whether a replica of that topic was lost.
	Has(cluster.TopicPartition, cluster.TopicID) bool
	// Forget notes that some are to be copied from others.
	Forget(...cluster.TopicPartition)
	// AskForRoles makes the controller send the broker its roles again. It does not block.
	AskForRoles()
}

// FetchSettings says how a follower fetches. Zero values mean Kafka's defaults.
type FetchSettings struct {
	// Fetchers is num.replica.fetchers, for each leader; see [Manager.SetFetchers].
	Fetchers int
	// MaxWait is replica.fetch.wait.max.ms.
	MaxWait time.Duration
	// MinBytes is replica.fetch.min.bytes.
	MinBytes int
	// MaxBytes is replica.fetch.response.max.bytes, PartitionMaxBytes is replica.fetch.max.bytes.
	MaxBytes, PartitionMaxBytes int
	// Backoff is replica.fetch.backoff.ms: the longest pause after a failure.
	Backoff time.Duration
}

func (s FetchSettings) withDefaults() FetchSettings {
	if s.Fetchers <= 0 {
		s.Fetchers = 1
	}
	if s.MaxWait <= 0 {
		s.MaxWait = 500 * time.Millisecond
	}
	if s.MinBytes <= 0 {
		s.MinBytes = 1
	}
	if s.MaxBytes <= 0 {
		s.MaxBytes = 10 << 20
	}
	if s.PartitionMaxBytes <= 0 {
		s.PartitionMaxBytes = 1 << 20
	}
	if s.Backoff <= 0 {
		s.Backoff = time.Second
	}
	return s
}

// Peers are the other brokers of the cluster.
type Peers interface {
	// Leader returns a way to a leading broker, for one goroutine.
	Leader(id cluster.BrokerID) Leader
	// AlterPartition asks the active controller once to change in-sync replicas, as the broker that is registered under epoch.
	AlterPartition(ctx context.Context, epoch cluster.BrokerEpoch, changes []state.ISRChange) ([]state.ISRResult, error)
}

// Leader is the way to a leading broker: a fetch session on a connection. *peer.Leader is what a broker uses.
type Leader interface {
	// Fetch sends a request and waits for its answer, which can be used until the next Fetch. After an error the session is gone.
	Fetch(ctx context.Context, req *peer.FetchRequest) (*wire.FetchResponse, error)
	// Ends returns where the leader's log of a partition begins and ends.
	Ends(ctx context.Context, tp cluster.TopicPartition, epoch cluster.LeaderEpoch) (start, end cluster.Offset, err error)
	// Reset ends the session.
	Reset()
	// Close ends the session and the connection.
	Close()
}

func (c Config) withDefaults() Config {
	c.Fetch = c.Fetch.withDefaults()
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
	if c.Throttled == nil {
		c.Throttled = func(string) ThrottledReplicas { return ThrottledReplicas{} }
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
	fence  state.Fence
	closed bool
	quit   chan struct{} // closed when closed is set

	mu         sync.RWMutex
	partitions map[cluster.TopicPartition]*Partition

	checkpoints checkpointLoop
	fetchers    *fetchers // nil without peers
	alterer     *alterer  // nil without peers
	repairs     *repairer // nil without peers

	// settings is held while settings are looked up and handed to a log, so that the latest win.
	settings sync.Mutex
}

// New returns a manager without partitions: the controller's first LeaderAndIsr order brings them. Logs that are on disk keep the
// high watermarks that were noted for them.
func New(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	m := &Manager{cfg: cfg, quit: make(chan struct{}), partitions: make(map[cluster.TopicPartition]*Partition)}
	m.env = environment{
		self: cfg.BrokerID, stalled: cfg.Stalled, now: cfg.Now, maxLag: cfg.MaxLag, logger: cfg.Logger,
		alive: func(id cluster.BrokerID) bool { return cfg.Metadata.Image().IsLive(id) },
		place: func(id cluster.BrokerID, listener string) (string, bool) {
			b, live := cfg.Metadata.Image().Broker(id)
			_, reachable := b.Endpoint(listener)
			return b.Rack, live && reachable
		},
		nearest: cfg.NearestReplica,
		sending: newThrottle(cfg.Now, cfg.QuotaWindows, cfg.QuotaWindow), fetching: newThrottle(cfg.Now, cfg.QuotaWindows, cfg.QuotaWindow),
	}
	if cfg.Peers != nil {
		m.fetchers, m.alterer = newFetchers(m), newAlterer(m)
		m.repairs = newRepairer(m)
		m.env.alter, m.env.heals = func(p *Partition) { m.alterer.push(p) }, m.repairs.heals
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
		if st := p.state.Load(); st.Role == state.Leading || st.Role == state.Following {
			leader, epoch, ok = st.Leader, st.Epoch, true
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
	p.setThrottled(m.cfg.Throttled(p.tp.Topic))
	m.settings.Unlock()
	if p.advance() {
		p.watchers.tell(WatermarkMoved)
	}
}

// SetFetchers changes num.replica.fetchers: over how many fetchers the partitions of each leader are spread. It waits until the present ones have ended.
func (m *Manager) SetFetchers(perLeader int) {
	m.orders.Lock()
	defer m.orders.Unlock()
	if m.fetchers != nil {
		m.fetchers.resize(max(perLeader, 1))
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
	close(m.quit)
	if m.fetchers != nil {
		m.fetchers.close()
		m.alterer.stop()
		m.repairs.stop()
	}
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
	marks := make(map[*commitlog.Log]cluster.Offset)
	for _, log := range m.cfg.Logs.Logs() {
		tp := log.TopicPartition()
		if p := m.lookUp(tp); p != nil && p.log == log {
			marks[log] = p.HighWatermark()
		} else if mark, ok := m.cfg.Logs.ReadHW(tp); ok {
			marks[log] = mark
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
