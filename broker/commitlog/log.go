package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Log is one partition on disk. It is safe for concurrent use: appends, rolls and truncations take turns under the append
// lock; readers work on an immutable list of segments and wait neither for a writer nor for an fsync. Logs are made by
// [Manager].
//
// Invariants: log start offset ≤ recovery point ≤ log end offset, except that the log start may be beyond the recovery point
// when it was moved by hand; the segments' bases rise strictly, the last segment is active, there is always one.
type Log struct {
	tp     cluster.TopicPartition
	fs     vfs.FS
	idle   *idleFiles
	dir    string
	now    func() time.Time
	expiry func() time.Time // by which producers grow old
	opened time.Time        // for the monotonic time
	log    hclog.Logger
	hooks  logHooks

	cfg     atomic.Pointer[Config]
	topicID atomic.Pointer[cluster.TopicID]

	// appendMu is the append lock. It is held over IO: writes, rolls, truncations, but never over an fsync of data, except
	// in a truncation and in a roll that leaves a gap.
	appendMu turn

	segments atomic.Pointer[[]*segment] // replaced whole under appendMu
	start    atomic.Int64               // log start offset
	leo      atomic.Int64               // log end offset, stored after everything below it is readable
	cuts     atomic.Uint64              // odd while a truncation is under way, see Read
	signal   atomic.Pointer[chan struct{}]
	failed   atomic.Pointer[StorageError]
	epochs   epochCache
	flush    flusher
	places   placeCache
	// producers is what is remembered of idempotent and transactional producers.
	producers producerMemory
	recovery  RecoveryInfo // constant after loading
}

// logHooks is how a log speaks to the directory that it is in. They are called with the append lock held or not, and must
// not call the log.
type logHooks struct {
	// appends counts the appends under way.
	appends *appends
	// failed reports that the disk must not be trusted any more.
	failed func(err *StorageError)
	// rolled asks for a flush in the background.
	rolled func(l *Log)
	// checkpoint writes the recovery points of the directory's logs to disk, now.
	checkpoint func(l *Log) error
	// startLowered writes the log start offsets of the directory's logs to disk if this log's is lower than what is there.
	startLowered func(l *Log) error
	// cleanedLowered writes on disk that nothing from an offset on is clean, if cleaner-offset-checkpoint says otherwise.
	cleanedLowered func(l *Log, to cluster.Offset) error
	// discard takes over segments that have left the log, and removes their files, under their new names, after
	// file.delete.delay.ms.
	discard func(l *Log, segments []*segment, files []string)
	// damaged reports a segment that was found to be damaged.
	damaged func(l *Log, base cluster.Offset)
}

// RecoveryInfo says what loading a log found.
type RecoveryInfo struct {
	// Unclean says that the log was not closed properly: it was scanned from the recovery point on, and may be shorter than
	// it was.
	Unclean bool
	// Cut says that bytes were removed because they were torn, damaged or unreachable. A replica whose log end offset is now
	// below its high watermark has lost what it had acknowledged.
	Cut bool
	// CutAt is the log end offset after the cut; UnknownOffset when nothing was cut.
	CutAt cluster.Offset
	// SegmentsScanned is how many segments were read from end to end.
	SegmentsScanned int
	// Reason says what was found there, empty when nothing was cut or only zeros were.
	Reason string
}

// TopicPartition names the partition.
func (l *Log) TopicPartition() cluster.TopicPartition { return l.tp }

// Dir returns the partition's directory.
func (l *Log) Dir() string { return l.dir }

// LogDir returns the log directory that the partition's directory is in: one of log.dirs.
func (l *Log) LogDir() string { return filepath.Dir(l.dir) }

// TopicID returns the id in partition.metadata; zero when it is not known.
func (l *Log) TopicID() cluster.TopicID {
	if id := l.topicID.Load(); id != nil {
		return *id
	}
	return cluster.TopicID{}
}

// Recovery says what loading this log found.
func (l *Log) Recovery() RecoveryInfo { return l.recovery }

// Config returns the settings in force.
func (l *Log) Config() Config { return *l.cfg.Load() }

// SetConfig changes the settings. They count from the next append on.
func (l *Log) SetConfig(cfg Config) { l.cfg.Store(&cfg) }

// LogStartOffset is the offset of the first record that can be read.
func (l *Log) LogStartOffset() cluster.Offset { return cluster.Offset(l.start.Load()) }

// LogEndOffset is the offset that the next record gets.
func (l *Log) LogEndOffset() cluster.Offset { return cluster.Offset(l.leo.Load()) }

// RecoveryPoint is the first offset that is not known to be on disk.
func (l *Log) RecoveryPoint() cluster.Offset { return cluster.Offset(l.flush.point.Load()) }

// Size returns the bytes of all segments' batches.
func (l *Log) Size() int64 {
	var n int64
	for _, s := range *l.segments.Load() {
		n += s.size.Load()
	}
	return n
}

// Segments returns the base offsets of the segments, oldest first.
func (l *Log) Segments() []cluster.Offset {
	list := *l.segments.Load()
	bases := make([]cluster.Offset, len(list))
	for i, s := range list {
		bases[i] = s.base
	}
	return bases
}

// Err returns the error that fenced the log, nil while it is well.
func (l *Log) Err() error {
	if e := l.failed.Load(); e != nil {
		return e
	}
	return nil
}

// LatestEpoch is the last leader epoch in the log; NoLeaderEpoch when there is none.
func (l *Log) LatestEpoch() cluster.LeaderEpoch { return l.epochs.latest() }

// EpochEntries returns where each leader epoch begins, oldest first. The caller must not change it.
func (l *Log) EpochEntries() []EpochEntry { return l.epochs.live(l.LogStartOffset()) }

// EndOffsetForEpoch returns the largest epoch in the log that is not above e, and the offset at which it ends. ok is false,
// and both values are -1, when the log cannot say (F§3.5).
func (l *Log) EndOffsetForEpoch(e cluster.LeaderEpoch) (at cluster.LeaderEpoch, end cluster.Offset, ok bool) {
	return epoch.End(l.EpochEntries(), e, l.LogEndOffset())
}

// AssignEpoch notes that an epoch begins at start: a new leader calls it with its log end offset before it appends (F§3.2). It does no IO: the
// epoch is on disk when the first batch that is appended under it is. It does not wait either: [ErrBusy] says that something that waits for the disk
// holds the append lock, and [Log.AwaitTurn] when to try again.
func (l *Log) AssignEpoch(e cluster.LeaderEpoch, start cluster.Offset) error {
	if !l.appendMu.TryLock() {
		return ErrBusy
	}
	defer l.appendMu.Unlock()
	if err := l.usable("assign a leader epoch"); err != nil {
		return err
	}
	l.epochs.assign(e, start)
	return nil
}

// AwaitTurn waits until whoever holds the append lock now has given it back.
func (l *Log) AwaitTurn() {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
}

// AppendSignal returns a channel that is closed at the next append. To wait for news take the channel first and look at
// LogEndOffset second.
func (l *Log) AppendSignal() <-chan struct{} {
	for {
		if ch := l.signal.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if l.signal.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

// wake closes the channel of AppendSignal, if anybody asked for it.
func (l *Log) wake() {
	if l.signal.Load() == nil {
		return
	}
	if ch := l.signal.Swap(nil); ch != nil {
		close(*ch)
	}
}

// active returns the segment that is appended to.
func (l *Log) active() *segment {
	list := *l.segments.Load()
	return list[len(list)-1]
}

// usable returns why nothing may be written to the log, if it may not.
func (l *Log) usable(op string) error {
	if e := l.failed.Load(); e != nil {
		return &StorageError{Dir: l.dir, Op: op, Err: e.Err}
	}
	return nil
}

// fail fences the log, takes its directory offline, and returns the error to report. Being out of file descriptors is not
// the disk's fault and fences nothing: callers use fail where nothing has been changed by halves.
func (l *Log) fail(op string, err error) error {
	if scarce(err) {
		return &StorageError{Dir: l.dir, Op: op, Err: err}
	}
	return l.failHard(op, err)
}

// failHard is fail for errors in the middle of a change, whatever their cause.
func (l *Log) failHard(op string, err error) error {
	e := &StorageError{Dir: l.dir, Op: op, Err: err}
	if l.failed.CompareAndSwap(nil, e) {
		l.log.Error("log is fenced", "partition", l.tp.String(), "op", op, "error", err)
		l.hooks.failed(e)
	}
	return e
}

// fence makes the log refuse everything because its directory has failed.
func (l *Log) fence(cause error) {
	e := &StorageError{Dir: l.dir, Op: "use a log whose directory is offline", Err: cause}
	l.failed.CompareAndSwap(nil, e)
}

// setTopicID writes partition.metadata when the id becomes known. A different id than the known one is
// INCONSISTENT_TOPIC_ID.
func (l *Log) setTopicID(id cluster.TopicID) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	known := l.TopicID()
	switch {
	case id.IsZero() || id == known:
		return nil
	case !known.IsZero():
		return kerr.InconsistentTopicID.With(fmt.Sprintf("partition %s in %s has topic id %s, and the topic has %s: the log is of another topic of that name. "+
			"If nobody needs it, stop the broker and remove the directory", l.tp, l.dir, known, id))
	}
	if err := l.usable("write the topic id"); err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(l.fs, filepath.Join(l.dir, partitionFile), encodePartitionMetadata(id), filePerm); err != nil {
		return l.fail("write the topic id", err)
	}
	l.topicID.Store(&id)
	return nil
}

// AdvanceLogStart moves the log start offset up: after DeleteRecords, or because the leader's moved (F§3.9). Records below it
// can no longer be read; their files stay until retention removes them. The next checkpoint makes it durable: until then a stop
// that is not an orderly one brings them back. Moving down does nothing. Beyond the log end
// offset it is OFFSET_OUT_OF_RANGE.
func (l *Log) AdvanceLogStart(to cluster.Offset) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("move the log start offset"); err != nil {
		return err
	}
	if leo := l.LogEndOffset(); to > leo {
		return kerr.OffsetOutOfRange.With(fmt.Sprintf("log start offset %d of %s would be beyond the log end offset %d", to, l.tp, leo))
	}
	if to <= l.LogStartOffset() {
		return nil
	}
	l.start.Store(int64(to))
	return nil
}

// Close makes everything durable, trims the files and closes them. A log that failed is only closed. Readers get errors
// afterwards.
func (l *Log) Close() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if e := l.failed.Load(); e != nil {
		_ = l.closeFilesLocked() // a disk that has failed has been reported already
		return nil
	}
	err := l.settleLocked()
	l.failed.CompareAndSwap(nil, &StorageError{Dir: l.dir, Op: "use a log after Close", Err: errClosed})
	l.wake()
	return errors.Join(err, l.closeFilesLocked())
}

// settleLocked seals the active segment and syncs everything.
func (l *Log) settleLocked() error {
	if err := l.active().seal(); err != nil {
		return l.fail("close", err)
	}
	if err := l.takeSnapshot(l.LogEndOffset()); err != nil {
		return l.fail("close", err)
	}
	l.flush.take()
	defer l.flush.end()
	if err := l.syncAll(); err != nil {
		return l.fail("close", err)
	}
	// An empty active segment was left out, and its indexes were trimmed just now.
	if err := l.active().syncSealed(); err != nil {
		return l.fail("close", err)
	}
	return nil
}

// closeFilesLocked closes all descriptors.
func (l *Log) closeFilesLocked() error {
	var errs []error
	for _, s := range *l.segments.Load() {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// retire makes the log unusable and waits until nobody writes or syncs any more, so that its directory can be renamed without
// anybody taking the missing files for a failure of the disk.
func (l *Log) retire() {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.flush.take()
	defer l.flush.end()
	l.failed.CompareAndSwap(nil, &StorageError{Dir: l.dir, Op: "use a log after Close or Delete", Err: errClosed})
	l.wake()
}

// abandon makes the log unusable and closes its files without writing anything.
func (l *Log) abandon() error {
	l.retire()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	return l.closeFilesLocked()
}
