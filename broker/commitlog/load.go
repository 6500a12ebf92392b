package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// logOptions is what a log is opened with.
type logOptions struct {
	fs     vfs.FS
	idle   *idleFiles
	dir    string
	tp     cluster.TopicPartition
	config Config
	now    func() time.Time
	expiry func() time.Time // by which records and producers grow old
	logger hclog.Logger
	hooks  logHooks

	// clean says that the log was closed properly before.
	clean bool
	// point is the recovery point from the checkpoint.
	point cluster.Offset
	// start is the log start offset from the checkpoint; 0 when there is none.
	start cluster.Offset
	// cleaned is the cleaner's first dirty offset: below it, segments may have gaps between them.
	cleaned cluster.Offset
	// progress is told of what is scanned; nil means nobody wants to know.
	progress *progress
	// producerExpiration is producer.id.expiration.ms, shared by all logs.
	producerExpiration *atomic.Int64
}

// loader holds what is known while a log is being opened.
type loader struct {
	*logOptions
	l        *Log
	segments []*segment
	epochs   []EpochEntry
	// epochsLost says that leader-epoch-checkpoint is missing or damaged.
	epochsLost bool
	// snapshots are the offsets of the producer snapshots that were found, in rising order.
	snapshots []cluster.Offset
	// rebuilt is the state below the segment at hand, if the transaction index of the one before it was built again.
	rebuilt *producers.State
	// scanning says that the producers' state is that of everything before the segment at hand, from which on all are scanned.
	scanning bool
	// toScan and scanned count the segments that a scan goes through.
	toScan, scanned int
	info            RecoveryInfo
}

// openLog opens the log in a directory that exists, in the order of F§4.9: leftover files, segments and their indexes,
// recovery, the ends of the log, epochs.
func openLog(o logOptions) (*Log, error) {
	l := &Log{appendMu: newTurn(), tp: o.tp, fs: o.fs, idle: o.idle, dir: o.dir, now: o.now, expiry: o.expiry, opened: time.Now(), log: o.logger, hooks: o.hooks}
	l.cfg.Store(&o.config)
	if o.progress == nil {
		o.progress = new(progress)
	}
	l.epochs = epochCache{fs: o.fs, dir: o.dir}
	l.producers = producerMemory{expirationMs: o.producerExpiration, lastSnapshot: cluster.UnknownOffset, state: &producers.State{}}
	d := &loader{logOptions: &o, l: l, info: RecoveryInfo{Unclean: !o.clean, CutAt: cluster.UnknownOffset}}
	err := d.load()
	o.progress.segments.Add(int64(d.scanned - d.toScan))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load log %s: %w", o.dir, err), d.closeAll())
	}
	return l, nil
}

func (d *loader) load() error {
	if err := d.readTopicID(); err != nil {
		return err
	}
	if err := d.findSegments(); err != nil {
		return err
	}
	if err := d.readEpochs(); err != nil {
		return err
	}
	if err := d.dropBelowStart(); err != nil {
		return err
	}
	end, err := d.loadSegments()
	if err != nil {
		return err
	}
	if len(d.segments) > 0 && end < d.start {
		d.logger.Warn("log ends before its log start offset and begins anew there", "partition", d.tp.String(), "log-end-offset", end, "log-start-offset", d.start)
		if err := errors.Join(d.drop(0), d.forgetProducers()); err != nil {
			return err
		}
	}
	if len(d.segments) == 0 {
		if end, err = d.begin(); err != nil {
			return err
		}
	}
	return d.finish(end)
}

// readTopicID reads partition.metadata.
func (d *loader) readTopicID() error {
	path := filepath.Join(d.dir, partitionFile)
	data, err := vfs.ReadFile(d.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := decodePartitionMetadata(data)
	if err != nil {
		return &CorruptionError{File: path, Reason: err.Error()}
	}
	d.l.topicID.Store(&id)
	return nil
}

// findSegments settles leftovers of work that a stop interrupted, and lists the segments.
func (d *loader) findSegments() error {
	entries, err := d.fs.ReadDir(d.dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if names, err = d.settleLeftovers(names); err != nil {
		return err
	}
	logs, orphans := map[cluster.Offset]bool{}, []string{}
	for _, name := range names {
		switch base, suffix, ok := parseSegmentName(name); {
		case ok && suffix == logSuffix:
			logs[base] = true
		case ok && suffix == snapshotSuffix:
			d.snapshots = append(d.snapshots, base)
		}
	}
	slices.Sort(d.snapshots)
	for _, name := range names {
		base, suffix, ok := parseSegmentName(name)
		if ok && !logs[base] && (suffix == indexSuffix || suffix == timeIndexSuffix || suffix == txnIndexSuffix) {
			orphans = append(orphans, name)
		}
	}
	if err := d.removeNames(orphans); err != nil {
		return err
	}
	for _, base := range slices.Sorted(maps.Keys(logs)) {
		d.segments = append(d.segments, newSegment(d.fs, d.idle, d.dir, base))
	}
	return nil
}

// removeNames removes files of the directory for good.
func (d *loader) removeNames(names []string) error {
	for _, name := range names {
		if err := removeFile(d.fs, filepath.Join(d.dir, name)); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return d.fs.SyncDir(d.dir)
}

// settleLeftovers finishes or undoes what the suffix of a file says was going on (F§4.1, F§4.9), and returns the names that
// are then there:
//
//	.deleted  removal had begun              → removed
//	.cleaned  output that is not complete    → removed
//	.swap     complete output                → takes the place of the segments that it covers; but removed when there is a
//	                                           .cleaned of the same or a smaller base: then more output was to come. Indexes
//	                                           are taken over, too: if their .log has no .swap any more, it has its final name
//	.tmp      a file that was being replaced → removed
func (d *loader) settleLeftovers(names []string) ([]string, error) {
	var dead, swaps, rest []string
	unfinished := cluster.UnknownOffset // smallest base of a .cleaned
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, deletedSuffix), strings.HasSuffix(name, tmpSuffix):
			dead = append(dead, name)
		case strings.HasSuffix(name, cleanedSuffix):
			dead = append(dead, name)
			if base, _, ok := parseSegmentName(name); ok && (unfinished < 0 || base < unfinished) {
				unfinished = base
			}
		case strings.HasSuffix(name, swapSuffix):
			swaps = append(swaps, name)
		default:
			rest = append(rest, name)
		}
	}
	var done, indexes []string
	for _, name := range swaps {
		switch base, suffix, ok := parseSegmentName(name); {
		case !ok || unfinished >= 0 && base >= unfinished:
			dead = append(dead, name)
		case suffix == logSuffix+swapSuffix:
			done = append(done, name)
		default:
			indexes = append(indexes, name)
		}
	}
	if err := d.removeNames(dead); err != nil {
		return nil, err
	}
	var err error
	if len(done) > 0 {
		if rest, err = d.swapIn(done, rest); err != nil {
			return nil, err
		}
	}
	return d.finishNames(indexes, rest)
}

// finishNames takes the .swap off names, durably, and returns all names that are then there.
func (d *loader) finishNames(swaps, rest []string) ([]string, error) {
	for _, name := range swaps {
		final := strings.TrimSuffix(name, swapSuffix)
		if err := d.fs.Rename(filepath.Join(d.dir, name), filepath.Join(d.dir, final)); err != nil {
			return nil, err
		}
		if !slices.Contains(rest, final) {
			rest = append(rest, final)
		}
	}
	if len(swaps) == 0 {
		return rest, nil
	}
	return rest, d.fs.SyncDir(d.dir)
}

// swapIn puts complete cleaner output in the place of the segments that it covers. Until the originals are gone for good the
// output keeps its .swap name, so that this can be done again after a power cut.
func (d *loader) swapIn(swaps, rest []string) ([]string, error) {
	from, to := cluster.UnknownOffset, cluster.UnknownOffset
	for _, name := range swaps {
		base, _, _ := parseSegmentName(name)
		end, err := d.swapEnd(name, base)
		if err != nil {
			return nil, err
		}
		if from < 0 || base < from {
			from = base
		}
		to = max(to, end)
	}
	var covered, names []string
	for _, name := range rest {
		base, suffix, ok := parseSegmentName(name)
		if ok && suffix != snapshotSuffix && base >= from && base < to {
			covered = append(covered, name)
		} else {
			names = append(names, name)
		}
	}
	if err := d.removeNames(covered); err != nil {
		return nil, err
	}
	return d.finishNames(swaps, names)
}

// swapEnd returns the offset after the last batch of a .swap file, at least the one after its base.
func (d *loader) swapEnd(name string, base cluster.Offset) (end cluster.Offset, err error) {
	s := newSegment(d.fs, d.idle, d.dir, base)
	s.log = newHandle(d.fs, d.idle, filepath.Join(d.dir, name), newTurn())
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.measure(); err != nil {
		return 0, err
	}
	end = base + 1
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	_, _, err = s.scan(0, buf[:], func(f found) bool {
		end = max(end, f.last+1)
		return false
	})
	return end, err
}

// measure takes the size of the file as the size of the segment.
func (s *segment) measure() error {
	f, err := s.log.get()
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	s.size.Store(size)
	return nil
}

// readEpochs reads leader-epoch-checkpoint. A damaged one is built again from the batches.
func (d *loader) readEpochs() error {
	path := filepath.Join(d.dir, leaderEpochFile)
	data, err := vfs.ReadFile(d.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		d.epochsLost = true
		return nil
	}
	if err != nil {
		return err
	}
	if d.epochs, err = decodeEpochs(data); err != nil {
		d.logger.Warn("leader epochs are damaged and built again", "file", path, "error", err)
		d.epochsLost = true
	}
	d.l.epochs.load(d.epochs)
	return nil
}

// begin makes the first segment of an empty log.
func (d *loader) begin() (cluster.Offset, error) {
	s, err := createSegment(d.fs, d.idle, d.dir, d.start, &d.config, d.now())
	if err != nil {
		return 0, err
	}
	d.segments = []*segment{s}
	return d.start, d.fs.SyncDir(d.dir)
}

// drop removes the segments from index i on, from the last one down, for good.
func (d *loader) drop(i int) error {
	if i >= len(d.segments) {
		return nil
	}
	for _, s := range slices.Backward(d.segments[i:]) {
		if err := s.remove(); err != nil {
			return err
		}
	}
	d.segments = d.segments[:i]
	return d.fs.SyncDir(d.dir)
}

// dropBelowStart removes the segments that end at or before the log start offset. Retention renames such segments after it has
// written the offset, and a power cut may bring some of them back, not necessarily all.
func (d *loader) dropBelowStart() error {
	var names []string
	for len(d.segments) > 1 && d.segments[1].base <= d.start {
		for _, suffix := range [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix} {
			names = append(names, segmentName(d.segments[0].base, suffix))
		}
		d.segments = d.segments[1:]
	}
	return d.removeNames(names)
}

// finish makes the last segment active and publishes what was found.
func (d *loader) finish(end cluster.Offset) error {
	active := d.segments[len(d.segments)-1]
	active.keep()
	if err := errors.Join(active.idx.activate(d.config.SegmentIndexBytes), active.tidx.activate(d.config.SegmentIndexBytes)); err != nil {
		return err
	}
	if d.clean || active.idx.count+active.tidx.count == 0 { // otherwise they were built just now, and not synced
		if err := active.restIndexes(); err != nil {
			return err
		}
	}
	active.begin(&d.config, d.now())
	active.unsynced.Store(true)
	for _, s := range d.segments[:len(d.segments)-1] {
		if err := s.release(); err != nil {
			return err
		}
		s.free()
	}
	l := d.l
	l.setSegments(d.segments)
	l.leo.Store(int64(end))
	start := max(d.start, d.segments[0].base)
	l.start.Store(int64(start))
	if err := d.finishProducers(end); err != nil {
		return err
	}
	point := end
	if !d.clean {
		point = min(max(d.point, start), end)
	}
	l.flush.point.Store(int64(point))
	l.flush.names.Store(!d.clean)
	l.flush.last.Store(int64(time.Since(l.opened)))
	l.recovery = d.info
	l.recovery.SegmentsScanned = d.scanned
	d.epochs = epoch.From(epoch.Before(d.epochs, end), start)
	if err := d.findFirstEpochs(start, end); err != nil {
		return err
	}
	return l.epochs.replace(d.epochs)
}

func (d *loader) closeAll() error {
	var errs []error
	for _, s := range d.segments {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
