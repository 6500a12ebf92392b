package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// A damaged segment is replaced by one with the same records, of which each batch is whole and of the leader epoch that this log knows for its
// offset. One leader epoch has one leader, and that gave each offset once: whoever has such a batch has the one that was lost. So a repair takes
// nothing away and needs no role: where the log ends, what it knows of epochs and producers, and who is in sync stay as they are. The new segment
// takes the place of the old one as that of a compaction does, see swap; a power cut leaves one of the two.

// ErrRepairBusy says that the log is being compacted or repaired. It is to be tried again.
var ErrRepairBusy = errors.New("the log is being compacted or repaired")

// reportDamage tells the owner which segment is damaged, if the file is one.
func (l *Log) reportDamage(e *CorruptionError) {
	if base, suffix, ok := parseSegmentName(filepath.Base(e.File)); ok && suffix == logSuffix {
		l.hooks.damaged(l, base)
	}
}

// CheckSegment reads the segment that has, or had, that base from end to end. The error is a *CorruptionError when it is damaged: it has a
// batch that fails its checksum, that does not follow the one before, or that is of another leader epoch than the log knows for it. there is false if there is
// no such segment any more. Safe for concurrent use, waits for no writer.
func (l *Log) CheckSegment(base cluster.Offset) (there bool, err error) {
	for {
		cuts := l.cuts.Load()
		if cuts%2 != 0 {
			l.awaitCut()
			continue
		}
		list := *l.segments.Load()
		i := slices.IndexFunc(list, func(s *segment) bool { return s.base == base })
		if i < 0 {
			return false, nil
		}
		err := l.check(list, i)
		if l.cuts.Load() == cuts && !(gone(err) && l.moved(list)) {
			var corrupt *CorruptionError
			if errors.As(err, &corrupt) {
				return true, err
			}
			return true, l.readError(err)
		}
	}
}

// check is CheckSegment without regard to truncations, for segment i of a list.
func (l *Log) check(list []*segment, i int) error {
	s, epochs, start := list[i], l.EpochEntries(), l.LogStartOffset()
	w := &walk{s: s, end: s.base, epoch: cluster.NoLeaderEpoch}
	var wrong error
	err := w.run(func(b record.Batch, pos int64) error {
		if first := cluster.Offset(b.BaseOffset()); first >= start {
			if reason := otherEpoch(epochs, b); reason != "" {
				wrong = &CorruptionError{File: s.log.path, Position: pos, Reason: reason}
				return wrong
			}
		}
		return nil
	})
	if err == nil && w.pos < w.size {
		return &CorruptionError{File: s.log.path, Position: w.pos, Reason: w.reason}
	}
	if err == nil && i < len(list)-1 && w.end > list[i+1].base {
		return &CorruptionError{File: s.log.path, Position: w.pos, Reason: fmt.Sprintf("it ends at offset %d, and the next segment begins at %d", w.end, list[i+1].base)}
	}
	return err
}

// otherEpoch returns how the leader epoch of a batch differs from what the log knows; nothing if it does not.
func otherEpoch(epochs []EpochEntry, b record.Batch) string {
	want := epoch.At(epochs, cluster.Offset(b.BaseOffset()))
	if got := cluster.LeaderEpoch(b.PartitionLeaderEpoch()); got != want && want != cluster.NoLeaderEpoch {
		return fmt.Sprintf("batch %d is of leader epoch %d, where the log has epoch %d", b.BaseOffset(), got, want)
	}
	return ""
}

// Repair makes a segment that takes the place of a damaged one. It belongs to one goroutine; End it.
//
//	BeginRepair → Append, as long as Wants says that something is missing → Commit → End
type Repair struct {
	round
	dir   *logDir
	group []*segment // what is replaced
	out   *segment
	cuts  uint64
	dense bool // there are no gaps between offsets
	next  cluster.Offset
	to    cluster.Offset
	put   bool // something was appended
	over  bool // everything was
	done  func()
	swept bool // out is in the log, or gone
}

// maxRepair is the most bytes that may have to be replaced together. A segment cannot be larger.
const maxRepair = math.MaxInt32

// BeginRepair begins to replace the segment with that base. If it is the active one, another is begun.
//
// In a log that is compacted everything before goes with it, up to where the log was clean: replicas are compacted at different times, and a deletion that one
// has forgotten already must not meet a record that another still has. Then all of that has to fit into one segment.
//
// The error is [ErrRepairBusy] while the log is compacted; fs.ErrNotExist if there is no such segment any more.
func (m *Manager) BeginRepair(ctx context.Context, tp cluster.TopicPartition, base cluster.Offset) (*Repair, error) {
	m.mu.RLock()
	p, ok := m.logs[tp]
	m.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("repair a segment of %s: %w", tp, errSegmentGone)
	}
	done, ok := m.clean.seize(p.log)
	if !ok {
		return nil, ErrRepairBusy
	}
	r, err := m.beginRepair(ctx, p, base)
	if err != nil {
		done()
		return nil, fmt.Errorf("repair segment %d of %s: %w", base, tp, err)
	}
	r.done = done
	return r, nil
}

func (m *Manager) beginRepair(ctx context.Context, p placed, base cluster.Offset) (*Repair, error) {
	l := p.log
	if list := *l.segments.Load(); list[len(list)-1].base == base {
		if err := l.Roll(); err != nil {
			return nil, err
		}
	}
	// A segment may have lost its tail only where recovery does not look for it.
	if err := l.Flush(); err != nil {
		return nil, err
	}
	cfg := l.cfg.Load()
	r := &Repair{dir: p.dir, cuts: l.cuts.Load(), round: round{c: &cleaner{m: m, io: recoverChunk}, ctx: ctx, l: l, cfg: cfg}}
	list := *l.segments.Load()
	i := slices.IndexFunc(list, func(s *segment) bool { return s.base == base })
	if i < 0 || r.cuts%2 != 0 {
		return nil, errSegmentGone
	}
	if i == len(list)-1 {
		return nil, errors.New("nothing can be told apart in an active segment without batches")
	}
	cleaned, compacted := p.dir.mark(cleanerOffsetFile, l.tp)
	r.group, r.dense = list[i:i+1], !compacted && !cfg.Compacts()
	if !r.dense {
		for i < len(list)-2 && list[i+1].base < cleaned {
			i++
		}
		r.group = list[:i+1]
	}
	first := r.group[0].base
	r.to = list[i+1].base
	r.next = max(first, l.LogStartOffset())
	var size int64
	for _, s := range r.group {
		size += s.size.Load()
	}
	if size > maxRepair || r.to-first > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes in %d segments would have to be replaced together, and one segment cannot hold them", size, len(r.group))
	}
	if synced, _ := p.dir.mark(recoveryPointFile, l.tp); synced < r.to {
		if err := p.dir.writeRecoveryPoints(); err != nil {
			return nil, p.dir.fail("write recovery points", err)
		}
	}
	out, err := r.create(r.group)
	if err != nil {
		return nil, errors.Join(r.writeError(err), r.discard(out))
	}
	r.out = out
	return r, nil
}

// Wants returns the offset from which batches are missing, and the end of what is replaced. more is false when nothing is missing.
func (r *Repair) Wants() (next, to cluster.Offset, more bool) {
	return r.next, r.to, !r.over && r.next < r.to
}

// Dense reports whether offsets follow each other without gaps, so that also this log's own batches may be appended: what is missing between them shows.
func (r *Repair) Dense() bool { return r.dense }

// Append takes over batches that a replica has from where something is missing on. Each is checked. After an error those before the one that is refused are
// there, and another source may go on behind them.
func (r *Repair) Append(batches []byte) error {
	epochs := r.l.EpochEntries()
	for rest := batches; len(rest) > 0; {
		if err := r.l.usable("repair"); err != nil {
			return fmt.Errorf("%w: %w", errInterrupted, err)
		}
		b, more, err := record.Split(rest)
		if incomplete(err) {
			return nil
		}
		if err != nil {
			return err
		}
		rest = more
		first, last := cluster.Offset(b.BaseOffset()), cluster.Offset(b.LastOffset())
		if first >= r.to && r.put && (!r.dense || r.next == r.to) {
			r.over = true
			return nil
		}
		if reason := r.refuse(b, first, last, epochs); reason != "" {
			return errors.New(reason)
		}
		if err := r.round.put(r.out, b); err != nil {
			return err
		}
		r.next, r.put = last+1, true
	}
	return nil
}

// refuse returns why a batch cannot be one of those that are missing; nothing if it can.
func (r *Repair) refuse(b record.Batch, first, last cluster.Offset, epochs []EpochEntry) string {
	begins := first >= r.next || !r.put && last >= r.next && first >= r.group[0].base // the log's start may lie within a batch
	switch {
	case !b.CheckCRC():
		return fmt.Sprintf("batch %d fails its checksum", first)
	case last < first || !begins || last >= r.to:
		return fmt.Sprintf("the batch has offsets %d..%d, wanted are %d to %d", first, last, r.next, r.to)
	case r.dense && first > r.next:
		return fmt.Sprintf("the batch begins at %d, and there is nothing from %d on before it", first, r.next)
	case first >= r.l.LogStartOffset():
		return otherEpoch(epochs, b)
	}
	return ""
}

// Commit puts the new segment in the place of the damaged one, durably. The log's high watermark must have reached the end that Wants returned: only then
// everybody in sync has the same records there.
func (r *Repair) Commit() error {
	err := r.flush(r.out)
	for _, s := range r.group {
		if err == nil {
			err = r.copyAborted(s)
		}
	}
	if err == nil {
		err = r.finish(r.out, r.group[len(r.group)-1])
	}
	if err == nil && !r.dense { // the other replica may have been compacted less
		err = r.l.hooks.cleanedLowered(r.l, r.group[0].base)
	}
	if err != nil {
		return r.writeError(err)
	}
	if err := r.l.swap(r.out, r.group, r.cuts); err != nil {
		r.swept = !errors.Is(err, errInterrupted)
		return err
	}
	r.swept = true
	r.c.m.clean.mended(r.l)
	return nil
}

// copyAborted takes over what is known of aborted transactions.
func (r *Repair) copyAborted(s *segment) error {
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	for i := range s.txn.count.Load() {
		a, err := s.txn.entry(buf[:], i)
		if err != nil {
			return err
		}
		if _, err := r.out.txn.append(a); err != nil {
			return &outputError{err}
		}
	}
	return nil
}

// End gives up what was not committed. It must be called.
func (r *Repair) End() error {
	defer r.done()
	if r.swept {
		return nil
	}
	r.swept = true
	return r.discard(r.out)
}

// errSegmentGone says that there is nothing to repair any more.
var errSegmentGone = fmt.Errorf("there is no such segment any more: %w", fs.ErrNotExist)
