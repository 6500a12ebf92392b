package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/proto/cluster"
)

// OpenManager locks all log directories, checks whose they are, and loads all logs, those that were not closed properly with
// recovery (F§4.9). Directories are worked on side by side, each by RecoveryThreads goroutines.
//
// A directory whose disk fails is offline from then on; only if all are, OpenManager fails. Errors that are not about a disk
// also fail it: a directory that is locked (vfs.ErrLocked), of another cluster or broker (*InconsistentMetaError), or with
// something in it that is no partition; a partition that is in two directories. Cancelling ctx stops the loading; the next
// start then recovers.
func OpenManager(ctx context.Context, cfg ManagerConfig) (*Manager, error) {
	cfg = cfg.withDefaults()
	if len(cfg.Dirs) == 0 {
		return nil, errors.New("open log directories: none configured")
	}
	m := &Manager{logs: map[cluster.TopicPartition]placed{}, claims: map[cluster.TopicPartition]chan struct{}{}}
	if cfg.HighWatermark == nil {
		cfg.HighWatermark = m.savedHW
	}
	m.cfg = cfg
	m.idle = newIdleFiles(cfg.IdleFiles)
	m.SetProducerIDExpiration(cfg.ProducerIDExpiration)
	m.clean.init(cfg.Cleaner)
	m.stopCtx, m.stop = context.WithCancel(context.Background())
	for _, path := range cfg.Dirs {
		m.dirs = append(m.dirs, newLogDir(path, cfg.FS, cfg.Logger, m.dirFailed, cfg.OnDamage))
	}
	if err := m.open(ctx); err != nil {
		m.stop()
		return nil, errors.Join(err, m.release())
	}
	return m, nil
}

func (m *Manager) open(ctx context.Context) error {
	locks := m.cfg.Locks
	if locks == nil {
		var err error
		if locks, err = LockDirs(m.cfg.FS, m.cfg.Dirs); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		d.acquire(locks)
	}
	if err := m.checkMeta(); err != nil {
		return err
	}
	errs := make([]error, len(m.dirs))
	var wg sync.WaitGroup
	for i, d := range m.dirs {
		if d.online() == nil {
			wg.Go(func() { errs[i] = m.loadDir(ctx, d) })
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if offline := m.OfflineDirs(); len(offline) == len(m.dirs) {
		return fmt.Errorf("open log directories: all are offline: %w", m.dirs[0].online())
	}
	return nil
}

// dirFailed tells the owner that a directory is offline. It is called with all sorts of locks held, so it only starts a goroutine.
func (m *Manager) dirFailed(d *logDir, err error) {
	m.tasks.Go(func() { m.cfg.OnDirFailure(d.path, err) })
}

// acquire takes over the lock of the directory, or the reason why there is none.
func (d *logDir) acquire(locks *DirLocks) {
	lock, failure, ok := locks.take(d.path)
	if !ok {
		_ = d.fail(failure.op, failure.err)
		return
	}
	d.lock = lock
}

// InconsistentMetaError says that meta.properties of a directory names another cluster or broker than it should. The broker
// must not start (Kafka classes InconsistentClusterIdException and InconsistentBrokerIdException).
type InconsistentMetaError struct {
	// Dir is the log directory.
	Dir string
	// Key is cluster.id or broker.id.
	Key string
	// Got is what the file says, Want what it should say.
	Got, Want string
}

// Error names directory, key and both values.
func (e *InconsistentMetaError) Error() string {
	return fmt.Sprintf("%s of %s is %s, want %s", e.Key, filepath.Join(e.Dir, metaFile), e.Got, e.Want)
}

// checkMeta compares meta.properties of all directories with each other and with the configuration, and then writes it to all.
func (m *Manager) checkMeta() error {
	want := MetaProperties{ClusterID: m.cfg.ClusterID, BrokerID: m.cfg.BrokerID}
	for _, d := range m.dirs {
		if d.online() != nil {
			continue
		}
		got, ok, err := ReadMetaProperties(d.fs, d.path)
		if err != nil {
			_ = d.fail("read meta.properties", err)
			continue
		}
		if !ok {
			continue
		}
		if want.ClusterID == "" {
			want.ClusterID = got.ClusterID
		} else if got.ClusterID != "" && got.ClusterID != want.ClusterID {
			return &InconsistentMetaError{Dir: d.path, Key: "cluster.id", Got: got.ClusterID, Want: want.ClusterID}
		}
		if want.BrokerID < 0 {
			want.BrokerID = got.BrokerID
		} else if got.BrokerID >= 0 && got.BrokerID != want.BrokerID {
			return &InconsistentMetaError{Dir: d.path, Key: "broker.id", Got: fmt.Sprint(got.BrokerID), Want: fmt.Sprint(want.BrokerID)}
		}
	}
	if m.cfg.ClusterID == "" || m.cfg.BrokerID < 0 {
		return nil
	}
	for _, d := range m.dirs {
		if d.online() != nil {
			continue
		}
		if err := WriteMetaProperties(d.fs, d.path, want, m.cfg.Now()); err != nil {
			_ = d.fail("write meta.properties", err)
		}
	}
	return nil
}

// takeMarker reports whether the directory was closed properly, and removes the sign of it for good, before anything else is
// done: a crash from here on is an unclean stop (KAFKA-10471).
func (d *logDir) takeMarker() (clean bool, err error) {
	path := filepath.Join(d.path, cleanShutdownFile)
	if _, err := d.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := d.fs.Remove(path); err != nil {
		return false, err
	}
	return true, d.fs.SyncDir(d.path)
}

// readMarks reads the checkpoints. Damaged ones count as empty, except the high watermarks, without which no replica may
// speak for its log (F§4.2).
func (d *logDir) readMarks() error {
	for _, name := range [...]string{recoveryPointFile, logStartFile, highWatermarkFile, cleanerOffsetFile} {
		offsets, err := readOffsets(d.fs, d.path, name)
		var corrupt *CorruptionError
		if errors.As(err, &corrupt) && name != highWatermarkFile {
			d.log.Warn("checkpoint is damaged and counts as empty", "dir", d.path, "error", err)
			offsets, err = offsetsByLog{}, nil
		}
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.marks[name] = offsets
		d.mu.Unlock()
	}
	return nil
}

// loadDir loads all logs of a directory. Errors of the disk take it offline; others are returned.
func (m *Manager) loadDir(ctx context.Context, d *logDir) error {
	clean, err := d.takeMarker()
	if err != nil {
		_ = d.fail("look for the clean shutdown marker", err)
		return nil
	}
	if err := d.readMarks(); err != nil {
		_ = d.fail("read checkpoints", err)
		return nil
	}
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		_ = d.fail("list the log directory", err)
		return nil
	}
	var tps []cluster.TopicPartition
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		switch kind, tp := parseDirName(e.Name()); kind {
		case dirLog:
			tps = append(tps, tp)
		case dirDelete:
			delay := min(m.cfg.TopicConfig(tp.Topic).FileDeleteDelayMs, maxDeleteDelayMs)
			d.doom(e.Name(), time.Now().Add(time.Duration(delay)*time.Millisecond))
		case dirFuture, dirStray:
			d.log.Warn("directory is left alone", "dir", filepath.Join(d.path, e.Name()))
		default:
			return fmt.Errorf("load log directory %s: %q is not the directory of a partition", d.path, e.Name())
		}
	}
	if !clean && len(tps) > 0 {
		d.log.Info("recovering logs, because the directory was not closed properly", "dir", d.path, "logs", len(tps), "threads", m.cfg.RecoveryThreads)
	}
	started := time.Now()
	if err := m.loadLogs(ctx, d, tps, clean); err != nil {
		return err
	}
	d.log.Info("loaded log directory", "dir", d.path, "logs", len(tps), "clean", clean, "took", time.Since(started))
	return nil
}

// loadLogs loads the logs of a directory with RecoveryThreads goroutines.
func (m *Manager) loadLogs(ctx context.Context, d *logDir, tps []cluster.TopicPartition, clean bool) error {
	var p progress
	p.logs.Store(int64(len(tps)))
	defer p.watch(d)()
	work := make(chan cluster.TopicPartition)
	errs := make([]error, m.cfg.RecoveryThreads)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for tp := range work {
				if errs[i] == nil && d.online() == nil {
					errs[i] = m.loadLog(d, tp, clean, &p)
				}
			}
		})
	}
	for _, tp := range tps {
		if ctx.Err() != nil {
			break
		}
		work <- tp
	}
	close(work)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("load log directory %s: %w", d.path, err)
	}
	return errors.Join(errs...)
}

// loadLog loads one log. An error of the disk takes the directory offline.
func (m *Manager) loadLog(d *logDir, tp cluster.TopicPartition, clean bool, p *progress) error {
	started := time.Now()
	point, _ := d.mark(recoveryPointFile, tp)
	start, _ := d.mark(logStartFile, tp)
	cleaned, _ := d.mark(cleanerOffsetFile, tp)
	l, err := openLog(logOptions{
		fs: d.fs, idle: m.idle, dir: filepath.Join(d.path, tp.String()), tp: tp, config: m.cfg.TopicConfig(tp.Topic),
		now: m.cfg.Now, expiry: m.cfg.Expiry, logger: d.log, hooks: d.hooks(), clean: clean, point: point, start: start, cleaned: cleaned, progress: p,
		producerExpiration: &m.producerExpiration,
	})
	if err != nil {
		_ = d.fail("load a log", err)
		return nil
	}
	if other, ok := m.placedIn(tp); ok {
		return errors.Join(fmt.Errorf("load log directory %s: partition %s is also in %s", d.path, tp, other.path), l.abandon())
	}
	left := p.logs.Add(-1)
	level := hclog.Debug
	if !clean {
		level = hclog.Info
	}
	d.log.Log(level, "loaded log", "partition", tp.String(), "segments", len(l.Segments()), "segments-scanned", l.recovery.SegmentsScanned,
		"log-start-offset", int64(l.LogStartOffset()), "log-end-offset", int64(l.LogEndOffset()), "took", time.Since(started), "remaining-logs", left)
	if err := d.lowerCleaned(tp, l.LogEndOffset()); err != nil {
		_ = d.fail("write cleaner offsets", err)
	}
	m.add(d, l, 0)
	if err := d.online(); err != nil {
		l.fence(err)
	}
	return nil
}

// placedIn returns the directory that a log is in.
func (m *Manager) placedIn(tp cluster.TopicPartition) (*logDir, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, ok := m.logs[tp]
	return p.dir, ok
}

// Start starts the background loops: one for each directory, so that a slow disk holds up no other. Each flushes the segments
// that were rolled and the logs whose flush.ms has passed, writes the checkpoints of recovery points and log starts, and
// removes deleted partitions and segments, and applies retention. The cleaner's threads work for all directories.
func (m *Manager) Start() {
	m.once.Do(func() {
		for _, d := range m.dirs {
			if d.online() == nil {
				m.loops.Go(func() { m.run(d) })
			}
		}
		m.startCleaners()
	})
}

// run is the loop of a directory, until Close or until it fails.
func (m *Manager) run(d *logDir) {
	flush := time.NewTicker(m.cfg.FlushCheckInterval)
	defer flush.Stop()
	checkpoint := time.NewTicker(m.cfg.CheckpointInterval)
	defer checkpoint.Stop()
	starts := time.NewTicker(m.cfg.StartCheckpointInterval)
	defer starts.Stop()
	expiry := time.NewTicker(m.cfg.ProducerIDExpirationCheckInterval)
	defer expiry.Stop()
	retention := time.NewTimer(retentionDelay)
	defer retention.Stop()
	for d.online() == nil {
		select {
		case <-m.stopCtx.Done():
			return
		case <-d.wake:
			d.flush(d.takePending())
		case <-flush.C:
			now := time.Now()
			d.flushDue()
			d.removeDoomed(now)
			d.emptyTrash(now)
		case <-expiry.C:
			d.expireProducers(m.cfg.Expiry())
		case <-checkpoint.C:
			_ = d.checkpointRecoveryPoints() // an error has taken the directory offline
		case <-starts.C:
			_ = d.checkpointLogStarts()
		case <-retention.C:
			m.retain(d, m.cfg.Expiry(), func(*Config) bool { return true })
			retention.Reset(m.cfg.RetentionInterval)
		}
	}
}

// Close stops the loops, makes every log durable, and leaves the directories as a clean stop leaves them: checkpoints and, at
// the very end, the marker that spares the next start its recovery. High watermarks must be written before. When ctx ends
// first, the directories that are not done get no marker. The locks are released in any case, and the logs are unusable
// afterwards. Only the first call does anything.
func (m *Manager) Close(ctx context.Context) (err error) {
	m.closing.Do(func() {
		m.stop()
		m.once.Do(func() {}) // no Start after this
		m.clean.stop()
		m.loops.Wait()
		errs := make([]error, len(m.dirs))
		var wg sync.WaitGroup
		for i, d := range m.dirs {
			wg.Go(func() { errs[i] = d.shut(m.cfg.RecoveryThreads, ctx.Err) })
		}
		wg.Wait()
		err = errors.Join(errors.Join(errs...), m.release())
	})
	return err
}

// release closes whatever is still open, releases the locks, and waits for all goroutines.
func (m *Manager) release() error {
	var errs []error
	for _, d := range m.dirs {
		for _, l := range d.list() {
			errs = append(errs, l.abandon())
		}
		errs = append(errs, d.dropTrash(nil))
		if d.lock != nil {
			errs = append(errs, d.lock.Close())
		}
	}
	m.tasks.Wait()
	return errors.Join(errs...)
}
