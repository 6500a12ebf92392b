package commitlog

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// logDir is one of log.dirs: its lock, its checkpoints, and the logs in it. It is online until an error of its disk.
type logDir struct {
	path string
	fs   vfs.FS
	log  hclog.Logger
	lock io.Closer // nil when the directory is offline from the start

	// onFail is called once, when the directory goes offline. It must not block.
	onFail func(d *logDir, err error)
	failed atomic.Pointer[StorageError]
	// onDamage is told of segments that are found to be damaged. It must not block.
	onDamage func(tp cluster.TopicPartition, segment cluster.Offset)

	mu      sync.Mutex // guards what follows; never held over IO
	logs    map[cluster.TopicPartition]*Log
	pending map[*Log]bool           // logs that asked for a flush
	doomed  map[string]time.Time    // directories to remove, and when
	marks   map[string]offsetsByLog // what the checkpoints say on disk, by file; the inner maps are never changed
	busy    int                     // creations under way, for placement
	wake    chan struct{}           // capacity 1: there is something to flush

	trash trash // removed segments

	appends appends // to logs of the directory, under way

	ckptMu turn // held while checkpoints of the directory are collected and written, over IO
}

// offsetsByLog is the content of a checkpoint.
type offsetsByLog = map[cluster.TopicPartition]cluster.Offset

func newLogDir(path string, fsys vfs.FS, logger hclog.Logger, onFail func(*logDir, error), onDamage func(cluster.TopicPartition, cluster.Offset)) *logDir {
	return &logDir{
		path: path, fs: fsys, log: logger, onFail: onFail, onDamage: onDamage,
		logs: map[cluster.TopicPartition]*Log{}, pending: map[*Log]bool{}, doomed: map[string]time.Time{},
		marks: map[string]offsetsByLog{}, wake: make(chan struct{}, 1), ckptMu: newTurn(),
	}
}

// online returns nil while the directory is in use, and afterwards the error that took it offline.
func (d *logDir) online() error {
	if e := d.failed.Load(); e != nil {
		return e
	}
	return nil
}

// fail takes the directory offline: all its logs are fenced, nothing is written to it any more. It returns the first error.
func (d *logDir) fail(op string, err error) error {
	if scarce(err) {
		return &StorageError{Dir: d.path, Op: op, Err: err}
	}
	return d.failHard(op, err)
}

// failHard is fail for errors in the middle of a change, whatever their cause.
func (d *logDir) failHard(op string, err error) error {
	e := &StorageError{Dir: d.path, Op: op, Err: err}
	if !d.failed.CompareAndSwap(nil, e) {
		return d.failed.Load()
	}
	d.log.Error("log directory is offline", "dir", d.path, "op", op, "error", err)
	for _, l := range d.list() {
		l.fence(e)
	}
	d.onFail(d, e)
	return e
}

// hooks connect a log to the directory.
func (d *logDir) hooks() logHooks {
	return logHooks{
		appends:    &d.appends,
		failed:     func(err *StorageError) { _ = d.failHard(err.Op, err.Err) },
		rolled:     d.requestFlush,
		checkpoint: func(*Log) error { return d.writeRecoveryPoints() },
		startLowered: func(l *Log) error {
			if start, ok := d.mark(logStartFile, l.tp); !ok || start <= l.LogStartOffset() {
				return nil
			}
			return d.writeLogStarts()
		},
		discard:        d.discard,
		cleanedLowered: func(l *Log, to cluster.Offset) error { return d.lowerCleaned(l.tp, to) },
		damaged:        func(l *Log, base cluster.Offset) { d.onDamage(l.tp, base) },
	}
}

// list returns the logs in the directory, in no order.
func (d *logDir) list() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.logs))
}

// requestFlush asks the background loop to flush a log. It does not wait.
func (d *logDir) requestFlush(l *Log) {
	d.mu.Lock()
	d.pending[l] = true
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// takePending returns the logs that asked for a flush.
func (d *logDir) takePending() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := slices.Collect(maps.Keys(d.pending))
	clear(d.pending)
	return list
}

// writeRecoveryPoints writes recovery-point-offset-checkpoint. Points are collected and written under one lock, so that an
// older collection never overwrites a newer one.
func (d *logDir) writeRecoveryPoints() error {
	return d.writeCheckpoint(recoveryPointFile, func(l *Log) (cluster.Offset, bool) { return l.RecoveryPoint(), true })
}

// writeLogStarts writes log-start-offset-checkpoint, for the logs that begin within their first segment.
func (d *logDir) writeLogStarts() error {
	return d.writeCheckpoint(logStartFile, func(l *Log) (cluster.Offset, bool) {
		start := l.LogStartOffset()
		return start, start > (*l.segments.Load())[0].base
	})
}

func (d *logDir) writeCheckpoint(name string, of func(*Log) (cluster.Offset, bool)) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := d.online(); err != nil {
		return err
	}
	offsets := offsetsByLog{}
	for _, l := range d.list() {
		if o, ok := of(l); ok {
			offsets[l.tp] = o
		}
	}
	return d.replaceCheckpoint(name, offsets)
}

// replaceCheckpoint writes a checkpoint and remembers what it says. The caller holds ckptMu.
func (d *logDir) replaceCheckpoint(name string, offsets offsetsByLog) error {
	if err := writeOffsets(d.fs, d.path, name, offsets); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marks[name] = offsets
	return nil
}

// mark returns what a checkpoint on disk says of a partition.
func (d *logDir) mark(name string, tp cluster.TopicPartition) (cluster.Offset, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.marks[name][tp]
	return o, ok
}

// purge removes from all checkpoints what they say of a partition, before a new log of that name is created: it must not
// inherit the offsets of one that was deleted.
func (d *logDir) purge(tp cluster.TopicPartition) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	for _, name := range [...]string{recoveryPointFile, logStartFile, highWatermarkFile, cleanerOffsetFile} {
		if _, ok := d.mark(name, tp); !ok {
			continue
		}
		d.mu.Lock()
		offsets := maps.Clone(d.marks[name])
		d.mu.Unlock()
		delete(offsets, tp)
		if err := d.replaceCheckpoint(name, offsets); err != nil {
			return err
		}
	}
	return nil
}

// reserve counts creations that are about to begin; a negative n those that came to nothing.
func (d *logDir) reserve(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy += n
}

// checkpoint writes both checkpoints.
func (d *logDir) checkpoint() error {
	if err := d.checkpointRecoveryPoints(); err != nil {
		return err
	}
	return d.checkpointLogStarts()
}

// checkpointRecoveryPoints writes recovery-point-offset-checkpoint; an error takes the directory offline.
func (d *logDir) checkpointRecoveryPoints() error {
	if err := d.writeRecoveryPoints(); err != nil {
		return d.fail("write recovery points", err)
	}
	return nil
}

// checkpointLogStarts writes log-start-offset-checkpoint; an error takes the directory offline.
func (d *logDir) checkpointLogStarts() error {
	if err := d.writeLogStarts(); err != nil {
		return d.fail("write log start offsets", err)
	}
	return nil
}

// flush flushes logs until the directory fails.
func (d *logDir) flush(logs []*Log) {
	for _, l := range logs {
		if err := l.Flush(); err != nil && d.online() == nil && l.Err() == nil {
			d.log.Warn("flush put off", "partition", l.tp.String(), "error", err)
		}
	}
}

// flushDue flushes the logs whose flush.ms has passed.
func (d *logDir) flushDue() {
	var due []*Log
	for _, l := range d.list() {
		if l.flushDue() {
			due = append(due, l)
		}
	}
	d.flush(due)
}

// doom marks a directory for removal.
func (d *logDir) doom(name string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doomed[name] = at
}

// removeDoomed removes the directories whose time has come.
func (d *logDir) removeDoomed(now time.Time) {
	d.mu.Lock()
	var due []string
	for name, at := range d.doomed {
		if !at.After(now) {
			due = append(due, name)
		}
	}
	d.mu.Unlock()
	slices.Sort(due)
	for _, name := range due {
		if d.online() != nil {
			return
		}
		err := d.fs.RemoveAll(filepath.Join(d.path, name))
		if err == nil {
			err = d.fs.SyncDir(d.path)
		}
		if err != nil {
			_ = d.fail("remove a deleted partition", err)
			return
		}
		d.mu.Lock()
		delete(d.doomed, name)
		d.mu.Unlock()
		d.log.Info("removed deleted partition", "dir", filepath.Join(d.path, name))
	}
}

// closeLogs closes all logs with several goroutines, because each waits for its fsyncs, until stop says why not to go on.
func (d *logDir) closeLogs(threads int, stop func() error) error {
	logs := d.list()
	errs := make([]error, threads)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(len(logs)); n = next.Add(1) {
				if err := stop(); err != nil {
					errs[i] = errors.Join(errs[i], fmt.Errorf("close %s: %w", d.path, err))
					return
				}
				errs[i] = errors.Join(errs[i], logs[n-1].Close())
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// shut closes all logs and leaves the directory as a clean stop leaves it: checkpoints, and at the very end the marker. Without
// the marker the next start recovers, so an error before it loses nothing.
func (d *logDir) shut(threads int, stop func() error) error {
	if err := d.closeLogs(threads, stop); err != nil || d.online() != nil {
		return err
	}
	if err := d.checkpoint(); err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(d.fs, filepath.Join(d.path, cleanShutdownFile), []byte(cleanShutdownFormat), filePerm); err != nil {
		return d.fail("write the clean shutdown marker", err)
	}
	return nil
}
