package commitlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// ManagerConfig says where logs are and how they are kept.
type ManagerConfig struct {
	// FS is the file system; nil means vfs.OS.
	FS vfs.FS
	// Dirs is log.dirs: at least one directory. Missing ones are created.
	Dirs []string
	// Locks are the locks of Dirs, if they are held already: the manager takes them over. nil means to lock Dirs.
	Locks *DirLocks
	// Defaults are the settings of topics that TopicConfig does not know.
	Defaults Config
	// TopicConfig returns a topic's settings when its logs are loaded; nil means Defaults for all.
	TopicConfig func(topic string) Config
	// BrokerID and ClusterID must agree with meta.properties of every directory that has one, and are written to all. NoBroker
	// and "" take what is there and write nothing.
	BrokerID  cluster.BrokerID
	ClusterID string
	// RecoveryThreads is num.recovery.threads.per.data.dir: how many logs of a directory are loaded, and closed, at a time; 0
	// means 1.
	RecoveryThreads int
	// CheckpointInterval is log.flush.offset.checkpoint.interval.ms, StartCheckpointInterval is
	// log.flush.start.offset.checkpoint.interval.ms; 0 means a minute.
	CheckpointInterval, StartCheckpointInterval time.Duration
	// FlushCheckInterval is how often flush.ms is looked at (log.flush.scheduler.interval.ms), and deleted partitions whose
	// delay is over are removed; 0 means a second.
	FlushCheckInterval time.Duration
	// RetentionInterval is log.retention.check.interval.ms: how often old segments are looked for; 0 means five minutes.
	RetentionInterval time.Duration
	// HighWatermark returns a partition's high watermark, beyond which nothing is deleted or compacted; UnknownOffset while it is
	// not known. It is called by the background loops, without locks. nil means what replication-offset-checkpoint says.
	HighWatermark func(cluster.TopicPartition) cluster.Offset
	// ProducerIDExpiration is producer.id.expiration.ms: how long a producer is remembered after its last batch; 0 means a day.
	// See also Manager.SetProducerIDExpiration.
	ProducerIDExpiration time.Duration
	// ProducerIDExpirationCheckInterval is producer.id.expiration.check.interval.ms: how often producers are looked for that have
	// expired; 0 means ten minutes.
	ProducerIDExpirationCheckInterval time.Duration
	// IdleFiles is how many files of segments that are not being written stay open at a time, in all directories together; 0 means
	// a quarter of what the process may have open, from 256 to 8192. Segments that are written, or are not on disk yet, are not
	// counted: they have three or four files each.
	IdleFiles int
	// Cleaner is about compaction.
	Cleaner CleanerConfig
	// Logger takes the room's messages; nil means none.
	Logger hclog.Logger
	// Now is the time of day: what records are stamped with, and what their timestamps are checked against; nil means time.Now. Intervals are measured by the
	// monotonic clock, whatever this says.
	Now func() time.Time
	// Expiry is the time of day that records, tombstones and producers grow old by; nil means Now. It may be behind Now while the clock may be wrong.
	Expiry func() time.Time
	// OnDirFailure is called once for each directory that goes offline, in a goroutine of its own; nil means nobody wants to
	// know. It must return when the broker shuts down, because Close waits for it.
	OnDirFailure func(dir string, err error)
	// OnDamage is called with the base offset of a segment of which somebody has read bytes that cannot be what was written, each time; nil means nobody
	// wants to know. It must not block nor call the log. See Manager.BeginRepair.
	OnDamage func(tp cluster.TopicPartition, segment cluster.Offset)
}

func (c ManagerConfig) withDefaults() ManagerConfig {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.TopicConfig == nil {
		defaults := c.Defaults
		c.TopicConfig = func(string) Config { return defaults }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Expiry == nil {
		c.Expiry = c.Now
	}
	if c.OnDirFailure == nil {
		c.OnDirFailure = func(string, error) {}
	}
	if c.OnDamage == nil {
		c.OnDamage = func(cluster.TopicPartition, cluster.Offset) {}
	}
	if c.RetentionInterval <= 0 {
		c.RetentionInterval = 5 * time.Minute
	}
	if c.ProducerIDExpiration <= 0 {
		c.ProducerIDExpiration = 24 * time.Hour
	}
	if c.ProducerIDExpirationCheckInterval <= 0 {
		c.ProducerIDExpirationCheckInterval = 10 * time.Minute
	}
	if c.IdleFiles <= 0 {
		c.IdleFiles = min(max(vfs.FileLimit()/4, 256), 8192)
	}
	c.RecoveryThreads = max(c.RecoveryThreads, 1)
	if c.CheckpointInterval <= 0 {
		c.CheckpointInterval = time.Minute
	}
	if c.StartCheckpointInterval <= 0 {
		c.StartCheckpointInterval = time.Minute
	}
	if c.FlushCheckInterval <= 0 {
		c.FlushCheckInterval = time.Second
	}
	return c
}

// Manager owns the log directories of a broker and all logs in them. It is safe for concurrent use.
//
//	OpenManager (locks, markers, recovery) → Start (background loops) → Close (flush, checkpoints, markers)
//
// A directory whose disk fails goes offline alone (KIP-112): its logs are fenced, OnDirFailure is told, the others go on.
type Manager struct {
	cfg  ManagerConfig
	dirs []*logDir // constant after OpenManager

	mu     sync.RWMutex // guards logs; never held over IO
	logs   map[cluster.TopicPartition]placed
	claims map[cluster.TopicPartition]chan struct{} // creations and deletions under way

	reserving sync.Mutex // makes creations choose their directories one after the other

	stats counters
	clean cleanerPool
	idle  *idleFiles
	// producerExpiration is producer.id.expiration.ms. All logs look at it.
	producerExpiration atomic.Int64

	loops   sync.WaitGroup // one for each directory
	tasks   sync.WaitGroup // calls of OnDirFailure
	stop    context.CancelFunc
	stopCtx context.Context
	once    sync.Once // Start
	closing sync.Once
}

// maxDeleteDelayMs keeps file.delete.delay.ms within a time.Duration.
const maxDeleteDelayMs = 1 << 40

// placed is a log and the directory that it is in.
type placed struct {
	log *Log
	dir *logDir
}

// Get returns a log, if there is one.
func (m *Manager) Get(tp cluster.TopicPartition) (*Log, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, ok := m.logs[tp]
	return p.log, ok
}

// Logs returns all logs, sorted by topic and partition; also fenced ones.
func (m *Manager) Logs() []*Log {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]*Log, 0, len(m.logs))
	for _, p := range m.logs {
		list = append(list, p.log)
	}
	slices.SortFunc(list, func(a, b *Log) int { return a.tp.Compare(b.tp) })
	return list
}

// SetProducerIDExpiration changes producer.id.expiration.ms, which is a dynamic setting of the broker. It counts from the next
// check on.
func (m *Manager) SetProducerIDExpiration(d time.Duration) {
	m.producerExpiration.Store(d.Milliseconds())
}

// Dirs returns log.dirs.
func (m *Manager) Dirs() []string {
	list := make([]string, len(m.dirs))
	for i, d := range m.dirs {
		list[i] = d.path
	}
	return list
}

// OfflineDirs returns the directories that have failed, with their errors.
func (m *Manager) OfflineDirs() map[string]error {
	offline := map[string]error{}
	for _, d := range m.dirs {
		if err := d.online(); err != nil {
			offline[d.path] = err
		}
	}
	return offline
}

// GetOrCreate returns the log of a partition, which it creates if needed in the online directory with the fewest logs
// (F§4.1). isNew says that the replica is known to be a new one; otherwise, while a directory is offline, the log may be
// there, and nothing is created: KAFKA_STORAGE_ERROR. A topic id that is not zero is written to partition.metadata when it
// becomes known; another one than before is INCONSISTENT_TOPIC_ID. The settings are put in force also for a log that
// exists.
func (m *Manager) GetOrCreate(tp cluster.TopicPartition, id cluster.TopicID, isNew bool, cfg Config) (*Log, error) {
	if err := cluster.ValidateTopicName(tp.Topic); err != nil {
		return nil, kerr.InvalidTopicException.With(err.Error())
	}
	if tp.Partition < 0 {
		return nil, kerr.UnknownTopicOrPartition.With(fmt.Sprintf("partition %d of topic %s", tp.Partition, tp.Topic))
	}
	done := m.claim(tp)
	defer done()
	if l, ok := m.Get(tp); ok {
		if err := l.setTopicID(id); err != nil {
			return nil, err
		}
		l.SetConfig(cfg)
		return l, nil
	}
	if offline := m.OfflineDirs(); !isNew && len(offline) > 0 {
		return nil, kerr.KafkaStorageError.With(fmt.Sprintf("the log of %s may be in a directory that is offline", tp))
	}
	return m.create(tp, id, cfg)
}

// claim waits until nobody else creates or deletes the log of this partition, and keeps others from it until done.
func (m *Manager) claim(tp cluster.TopicPartition) (done func()) {
	for {
		m.mu.Lock()
		wait, taken := m.claims[tp]
		if !taken {
			ch := make(chan struct{})
			m.claims[tp] = ch
			m.mu.Unlock()
			return func() {
				m.mu.Lock()
				delete(m.claims, tp)
				m.mu.Unlock()
				close(ch)
			}
		}
		m.mu.Unlock()
		<-wait
	}
}

// create makes the directory and the first segment of a log, in the best directory that works.
func (m *Manager) create(tp cluster.TopicPartition, id cluster.TopicID, cfg Config) (*Log, error) {
	var errs []error
	tried := make(map[*logDir]bool)
	for d := m.reserve(tried); d != nil; d = m.reserve(tried) {
		l, err := m.createIn(d, tp, id, cfg)
		if err == nil {
			return l, nil
		}
		tried[d] = true
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, kerr.KafkaStorageError.With(fmt.Sprintf("create the log of %s: no log directory is online", tp))
	}
	return nil, errors.Join(errs...)
}

// reserve returns the directory with the fewest logs, the first in log.dirs among equals, of those that are online and were not tried, and counts a log that is
// about to be created there. It returns nil if there is none.
func (m *Manager) reserve(tried map[*logDir]bool) *logDir {
	m.reserving.Lock()
	defer m.reserving.Unlock()
	var best *logDir
	fewest := 0
	for _, d := range m.dirs {
		if tried[d] || d.online() != nil {
			continue
		}
		d.mu.Lock()
		n := len(d.logs) + d.busy
		d.mu.Unlock()
		if best == nil || n < fewest {
			best, fewest = d, n
		}
	}
	if best != nil {
		best.reserve(1)
	}
	return best
}

// createIn creates a log in a directory that counts it as one that is about to be created.
func (m *Manager) createIn(d *logDir, tp cluster.TopicPartition, id cluster.TopicID, cfg Config) (l *Log, err error) {
	defer func() {
		if err != nil {
			d.reserve(-1)
		}
	}()
	if err = d.purge(tp); err == nil {
		l, err = m.makeLog(d, filepath.Join(d.path, tp.String()), tp, cfg)
	}
	if err != nil {
		return nil, d.fail("create a log", err)
	}
	if err := l.setTopicID(id); err != nil {
		return nil, errors.Join(err, l.abandon())
	}
	m.add(d, l, 1)
	if err := d.online(); err != nil { // it failed before the log was in its list
		l.fence(err)
	}
	return l, nil
}

// makeLog creates and opens a new log; its names are durable.
func (m *Manager) makeLog(d *logDir, path string, tp cluster.TopicPartition, cfg Config) (*Log, error) {
	if err := d.fs.MkdirAll(path, dirPerm); err != nil {
		return nil, err
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return nil, err
	}
	return openLog(logOptions{
		fs: d.fs, idle: m.idle, dir: path, tp: tp, config: cfg, now: m.cfg.Now, expiry: m.cfg.Expiry, logger: d.log, hooks: d.hooks(), clean: true,
		producerExpiration: &m.producerExpiration,
	})
}

// add enters a log for which the directory has counted reserved creations.
func (m *Manager) add(d *logDir, l *Log, reserved int) {
	d.mu.Lock()
	d.logs[l.tp] = l
	d.busy -= reserved
	d.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[l.tp] = placed{log: l, dir: d}
}

// Delete removes a log: its directory gets a name that ends in -delete at once, and is removed from disk by the background
// loop after file.delete.delay.ms (F§4.1). Whoever still uses the Log gets errors. A partition without a log is no error;
// one in an offline directory is a *StorageError, and its files stay.
func (m *Manager) Delete(tp cluster.TopicPartition) error {
	done := m.claim(tp)
	defer done()
	m.mu.RLock()
	p, ok := m.logs[tp]
	m.mu.RUnlock()
	if !ok {
		return nil
	}
	if err := p.dir.online(); err != nil {
		return err
	}
	p.log.retire()
	m.clean.await(p.log)
	name := deleteDirName(tp)
	if err := p.dir.fs.Rename(p.log.dir, filepath.Join(p.dir.path, name)); err != nil {
		return p.dir.fail("rename a partition for deletion", err)
	}
	m.mu.Lock()
	delete(m.logs, tp)
	m.mu.Unlock()
	p.dir.mu.Lock()
	delete(p.dir.logs, tp)
	delete(p.dir.pending, p.log)
	p.dir.mu.Unlock()
	if err := errors.Join(p.dir.fs.SyncDir(p.dir.path), p.log.abandon(), p.dir.dropTrash(p.log)); err != nil {
		return p.dir.fail("rename a partition for deletion", err)
	}
	delay := time.Duration(min(p.log.cfg.Load().FileDeleteDelayMs, maxDeleteDelayMs)) * time.Millisecond
	p.dir.doom(name, time.Now().Add(delay))
	m.cfg.Logger.Info("deleted log", "partition", tp.String(), "dir", filepath.Join(p.dir.path, name))
	return nil
}

// ReadHW returns a partition's high watermark as replication-offset-checkpoint has it; ok is false when it is not there.
func (m *Manager) ReadHW(tp cluster.TopicPartition) (hw cluster.Offset, ok bool) {
	m.mu.RLock()
	p, here := m.logs[tp]
	m.mu.RUnlock()
	if !here {
		return 0, false
	}
	return p.dir.mark(highWatermarkFile, tp)
}

// HighWatermarks returns all high watermarks as the checkpoints of the online directories have them.
func (m *Manager) HighWatermarks() map[cluster.TopicPartition]cluster.Offset {
	all := offsetsByLog{}
	for _, d := range m.dirs {
		d.mu.Lock()
		for tp, hw := range d.marks[highWatermarkFile] {
			all[tp] = hw
		}
		d.mu.Unlock()
	}
	return all
}

// WriteHWCheckpoint replaces the high watermarks of all logs, each in the replication-offset-checkpoint of the directory that it is in. A log that was
// deleted meanwhile is left out: what was said of it must not become what is said of the next log of that name. Directories that are offline are passed
// over; an error takes a directory offline and does not keep the others from being written.
func (m *Manager) WriteHWCheckpoint(hws map[*Log]cluster.Offset) error {
	var errs []error
	for _, d := range m.dirs {
		if d.online() != nil {
			continue
		}
		err := d.writeCheckpoint(highWatermarkFile, func(l *Log) (cluster.Offset, bool) {
			hw, ok := hws[l]
			return hw, ok
		})
		if err != nil {
			errs = append(errs, d.fail("write high watermarks", err))
		}
	}
	return errors.Join(errs...)
}
