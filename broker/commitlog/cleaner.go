package commitlog

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ottla/ottla/broker/commitlog/compact"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// CleanerConfig is about compaction (F§6.1, log.cleaner.*).
type CleanerConfig struct {
	// Threads is log.cleaner.threads: how many logs are compacted at a time; 0 means that none is, as with
	// log.cleaner.enable=false.
	Threads int
	// DedupeBufferBytes is log.cleaner.dedupe.buffer.size: the memory in bytes for the offsets of keys, of all threads
	// together; 0 means 128 MiB. A round that finds more keys than fit takes several rounds.
	DedupeBufferBytes int64
	// LoadFactor is log.cleaner.io.buffer.load.factor: how full that memory gets, from 0 to 1; 0 means 0.9.
	LoadFactor float64
	// IOBufferBytes is log.cleaner.io.buffer.size: the memory in bytes for reading and writing, of all threads together; 0 means
	// 512 KiB. Larger batches get more while they are at hand.
	IOBufferBytes int
	// MaxBytesPerSecond is log.cleaner.io.max.bytes.per.second: what all threads together read and write; 0 means without limit.
	MaxBytesPerSecond float64
	// Backoff is log.cleaner.backoff.ms: how long a thread that found nothing to do waits; 0 means 15 seconds.
	Backoff time.Duration
}

func (c CleanerConfig) withDefaults() CleanerConfig {
	if c.DedupeBufferBytes <= 0 {
		c.DedupeBufferBytes = 128 << 20
	}
	if c.LoadFactor <= 0 || c.LoadFactor >= 1 {
		c.LoadFactor = 0.9
	}
	if c.IOBufferBytes <= 0 {
		c.IOBufferBytes = 512 << 10
	}
	if c.Backoff <= 0 {
		c.Backoff = 15 * time.Second
	}
	return c
}

// minIOBuffer is the least that a thread reads or writes at a time, in bytes.
const minIOBuffer = 16 << 10

// cleanerPool is what the cleaner's threads share.
type cleanerPool struct {
	throttle throttle

	mu          sync.Mutex // guards what follows; never held over IO
	cfg         CleanerConfig
	started     bool // and not stopped
	running     int  // threads
	busy        map[*Log]chan struct{}
	uncleanable map[*Log]error
	stats       CleanerStats
}

func (p *cleanerPool) init(cfg CleanerConfig) {
	p.cfg = cfg.withDefaults()
	p.throttle.set(p.cfg.MaxBytesPerSecond)
	p.busy, p.uncleanable = map[*Log]chan struct{}{}, map[*Log]error{}
}

// config returns the settings in force.
func (p *cleanerPool) config() CleanerConfig {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg
}

// SetCleaner changes the settings of compaction, which are dynamic settings of the broker. Rounds under way go on with the memory
// that they have; threads that are too many end after theirs.
func (m *Manager) SetCleaner(cfg CleanerConfig) {
	cfg = cfg.withDefaults()
	m.clean.throttle.set(cfg.MaxBytesPerSecond)
	m.clean.mu.Lock()
	defer m.clean.mu.Unlock()
	m.clean.cfg = cfg
	m.startCleanersLocked()
}

// startCleaners starts the cleaner's threads.
func (m *Manager) startCleaners() {
	m.clean.mu.Lock()
	defer m.clean.mu.Unlock()
	m.clean.started = true
	m.startCleanersLocked()
}

// startCleanersLocked starts as many threads as are missing.
func (m *Manager) startCleanersLocked() {
	for p := &m.clean; p.started && p.running < p.cfg.Threads; p.running++ {
		m.loops.Go(m.runCleaner)
	}
}

// stop keeps new threads from being started.
func (p *cleanerPool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = false
}

// surplus reports whether the calling thread is one too many, and is to end.
func (p *cleanerPool) surplus() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running <= p.cfg.Threads {
		return false
	}
	p.running--
	return true
}

// await waits until nobody compacts a log any more, which must be unusable already.
func (p *cleanerPool) await(l *Log) {
	p.mu.Lock()
	done := p.busy[l]
	delete(p.uncleanable, l)
	p.mu.Unlock()
	if done != nil {
		<-done
	}
}

// take marks a log as being compacted, unless it is or cannot be.
func (p *cleanerPool) take(l *Log) (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uncleanable[l] != nil {
		return nil, false
	}
	return p.seizeLocked(l)
}

// seize is take for somebody who does not mind that the log cannot be compacted.
func (p *cleanerPool) seize(l *Log) (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seizeLocked(l)
}

func (p *cleanerPool) seizeLocked(l *Log) (done func(), ok bool) {
	if p.busy[l] != nil {
		return nil, false
	}
	ch := make(chan struct{})
	p.busy[l] = ch
	return func() {
		p.mu.Lock()
		delete(p.busy, l)
		p.mu.Unlock()
		close(ch)
	}, true
}

// mended makes a log cleanable again.
func (p *cleanerPool) mended(l *Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.uncleanable, l)
}

// free reports whether take would succeed.
func (p *cleanerPool) free(l *Log) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy[l] == nil && p.uncleanable[l] == nil
}

// giveUp marks a log as uncleanable, until the broker starts again.
func (p *cleanerPool) giveUp(l *Log, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uncleanable[l] = err
}

// judged is a log that is to be compacted.
type judged struct {
	log   *Log
	dir   *logDir
	list  []*segment
	facts compact.Log
	work  compact.Work
	cuts  uint64
}

// runCleaner is a thread of the cleaner, until Close or until there are too many.
func (m *Manager) runCleaner() {
	c := &cleaner{m: m}
	wait := time.NewTimer(m.clean.config().Backoff)
	defer wait.Stop()
	for !m.clean.surplus() {
		select {
		case <-m.stopCtx.Done():
			return
		case <-wait.C:
		}
		for c.next(m.stopCtx) {
			if m.stopCtx.Err() != nil {
				return
			}
		}
		wait.Reset(m.clean.config().Backoff)
	}
}

// next compacts the log that needs it most, and reports whether there may be more to do at once.
func (c *cleaner) next(ctx context.Context) bool {
	m := c.m
	expiry := m.cfg.Expiry()
	j, ok := m.dirtiest(expiry)
	if !ok {
		c.rest()
		return false
	}
	done, ok := m.clean.take(j.log)
	if !ok {
		return true // another thread was quicker
	}
	defer done()
	started := time.Now()
	r, err := c.clean(ctx, j, expiry)
	r.took = time.Since(started)
	m.cleaned(j, &r, err)
	return err == nil
}

// cleaned notes how a round went.
func (m *Manager) cleaned(j *judged, r *round, err error) {
	l := j.log
	m.clean.mu.Lock()
	m.clean.stats.add(r, err)
	m.clean.mu.Unlock()
	var damaged *record.CorruptError
	var corrupt *CorruptionError
	switch {
	case err == nil:
		j.dir.log.Info("compacted log", "partition", l.tp.String(), "from", int64(j.work.FirstDirty), "to", int64(r.end), "bytes-read", r.bytesRead,
			"bytes-before", r.bytesBefore, "bytes-after", r.bytesAfter, "records-before", r.recordsBefore, "records-after", r.recordsAfter, "keys", r.keys, "took", r.took)
		if r.keyless > 0 {
			j.dir.log.Warn("compaction dropped records without a key", "partition", l.tp.String(), "records", r.keyless)
		}
	case errors.Is(err, errInterrupted):
		j.dir.log.Debug("compaction interrupted", "partition", l.tp.String(), "reason", err)
	case errors.As(err, &damaged), errors.As(err, &corrupt), errors.Is(err, errTooManyKeys), errors.Is(err, errOutputTooLarge):
		m.clean.giveUp(l, err)
		j.dir.log.Error("log cannot be compacted, and will not be until it is repaired or the broker starts again", "partition", l.tp.String(), "error", err)
		if corrupt != nil {
			l.reportDamage(corrupt)
		}
	default:
		j.dir.log.Warn("compaction put off", "partition", l.tp.String(), "error", err)
	}
}

// dirtiest returns the log to compact next, if there is one, at a time of [ManagerConfig.Expiry].
func (m *Manager) dirtiest(expiry time.Time) (best *judged, ok bool) {
	var dirtiest float64
	for _, d := range m.dirs {
		if d.online() != nil {
			continue
		}
		for _, l := range d.list() {
			if !l.cfg.Load().Compacts() || !m.clean.free(l) || l.Err() != nil {
				continue
			}
			j, due, err := m.judge(d, l, expiry)
			if err != nil {
				d.log.Warn("log cannot be looked at for compaction", "partition", l.tp.String(), "error", err)
				continue
			}
			dirtiest = max(dirtiest, j.work.Ratio())
			if due && (best == nil || compact.Dirtier(&j.work, &best.work)) {
				best = j
			}
		}
	}
	m.clean.mu.Lock()
	m.clean.stats.MaxDirtyRatio = dirtiest
	m.clean.mu.Unlock()
	return best, best != nil
}

// judge collects what is to be known of a log, and says whether it is to be compacted now.
func (m *Manager) judge(d *logDir, l *Log, expiry time.Time) (j *judged, due bool, err error) {
	cfg := l.cfg.Load()
	j = &judged{log: l, dir: d, cuts: l.cuts.Load()}
	hw := min(m.cfg.HighWatermark(l.tp), l.LogEndOffset())
	if hw < 0 || j.cuts%2 != 0 {
		return j, false, nil
	}
	j.list = *l.segments.Load()
	synced, _ := d.mark(recoveryPointFile, l.tp)
	if sealed := len(j.list) > 1 && synced < j.list[len(j.list)-1].base; sealed && synced < l.RecoveryPoint() {
		// What has been flushed since the last checkpoint may be compacted as soon as that is on disk.
		if err := d.writeRecoveryPoints(); err != nil {
			return j, false, d.fail("write recovery points", err)
		}
		synced, _ = d.mark(recoveryPointFile, l.tp)
	}
	cleaned, ok := d.mark(cleanerOffsetFile, l.tp)
	if !ok {
		cleaned = cluster.UnknownOffset
	}
	j.facts = compact.Log{
		Start: l.LogStartOffset(), End: l.LogEndOffset(), Cleaned: cleaned, Limit: min(l.LastStableOffset(hw), synced),
		MinDirtyRatio: cfg.MinCleanableDirtyRatio, MinLagMs: cfg.MinCompactionLagMs, MaxLagMs: cfg.MaxCompactionLagMs,
	}
	for i := range j.list {
		s, err := l.compactable(j.list, i, cfg)
		if err != nil {
			return j, false, l.readError(err)
		}
		j.facts.Segments = append(j.facts.Segments, s)
	}
	j.work, due = compact.Judge(&j.facts, expiry.UnixMilli())
	return j, due, nil
}

// compactable describes segment i of a list.
func (l *Log) compactable(list []*segment, i int, cfg *Config) (s compact.Segment, err error) {
	seg := list[i]
	s = compact.Segment{Base: seg.base, Next: l.LogEndOffset(), Size: seg.size.Load(), MaxTime: seg.maxTime().ts}
	if i == len(list)-1 {
		return s, nil // the active one is not looked at
	}
	s.Next = list[i+1].base
	s.IndexSize, s.TimeIndexSize = seg.idx.fileCount.Load()*offsetEntrySize, seg.tidx.fileCount.Load()*timeEntrySize
	if s.MaxTime < 0 && cfg.MinCompactionLagMs > 0 {
		if s.MaxTime, err = seg.modified(); err != nil {
			return s, err
		}
	}
	if cfg.MaxCompactionLagMs < math.MaxInt64 && s.Size > 0 {
		buf := scratch.Get().(*[scratchSize]byte)
		defer scratch.Put(buf)
		b, err := seg.header(buf[:], 0)
		if err != nil {
			return s, err
		}
		s.FirstTime = timeOf(b)
	}
	return s, nil
}

// lowerCleaned writes on disk that nothing of a partition from an offset on is clean, if the checkpoint says otherwise.
func (d *logDir) lowerCleaned(tp cluster.TopicPartition, to cluster.Offset) error {
	if at, ok := d.mark(cleanerOffsetFile, tp); !ok || at <= to {
		return nil
	}
	return d.writeCleaned(tp, to)
}

// writeCleaned changes cleaner-offset-checkpoint.
func (d *logDir) writeCleaned(tp cluster.TopicPartition, at cluster.Offset) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := d.online(); err != nil {
		return err
	}
	d.mu.Lock()
	offsets := maps.Clone(d.marks[cleanerOffsetFile])
	d.mu.Unlock()
	if offsets == nil {
		offsets = offsetsByLog{}
	}
	offsets[tp] = at
	return d.replaceCheckpoint(cleanerOffsetFile, offsets)
}

// Uncleanable returns the partitions that cannot be compacted, with the reasons. Segments that are damaged make a log uncleanable,
// and batches with more keys than the cleaner has memory for.
func (m *Manager) Uncleanable() map[cluster.TopicPartition]error {
	m.clean.mu.Lock()
	defer m.clean.mu.Unlock()
	list := map[cluster.TopicPartition]error{}
	for l, err := range m.clean.uncleanable {
		list[l.tp] = err
	}
	return list
}

// stillThere reports whether segments are where they were, one after another and closed, in the list of now.
func stillThere(now, group []*segment) (at int, ok bool) {
	at = slices.Index(now, group[0])
	if at < 0 || at+len(group) >= len(now) {
		return at, false
	}
	return at, slices.Equal(now[at:at+len(group)], group)
}
