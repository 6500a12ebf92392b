package commitlog

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// AppendInfo says what an append did.
type AppendInfo struct {
	// FirstOffset and LastOffset are the offsets of the first and last record that was appended. When a follower had
	// nothing to append, LastOffset is FirstOffset - 1.
	FirstOffset, LastOffset cluster.Offset
	// LogAppendTime is the time in milliseconds that the records got; -1 when they keep their own (CreateTime).
	LogAppendTime int64
	// MaxTimestamp is the largest timestamp of the records in milliseconds; -1 when they have none.
	MaxTimestamp int64
	// LogStartOffset is the log start offset at the time of the append.
	LogStartOffset cluster.Offset
	// RecordErrors name the records because of which a batch was refused (KIP-467). Only with an error.
	RecordErrors []record.RecordError
	// Duplicate says that an idempotent producer sent the batch before: nothing was appended, and offsets and times are those of
	// the first time (F§4.12).
	Duplicate bool
}

// AppendAsLeader validates a batch from a client, numbers it, stamps it with the leader's epoch, and appends it. The batch is
// changed in place; the caller needs it alone until the call returns, and the log keeps no reference to it. Under
// flush.messages=1 it is durable when the call returns.
//
// Errors of the client are [*kerr.Error] with the code that the producer gets (F§4.8). Errors of the disk are
// [*StorageError]; after one the log refuses every append and its directory is offline, unless nothing was written because
// the disk is full.
//
// A batch of an idempotent producer that the log has already is not appended again: the result says Duplicate, and where it is.
// One that does not continue what the log has of its producer is refused: OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH,
// INVALID_TXN_STATE (F§4.12).
func (l *Log) AppendAsLeader(batch record.Batch, epoch cluster.LeaderEpoch) (AppendInfo, error) {
	return l.appendFrom(batch, epoch, producers.Client)
}

// AppendAsCoordinator is AppendAsLeader for batches of a group or transaction coordinator of this broker: it takes transaction
// markers, and batches with a producer id and no sequence numbers. It never finds duplicates. A marker of a producer epoch or
// coordinator epoch that is over is refused: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED (F§4.13).
func (l *Log) AppendAsCoordinator(batch record.Batch, epoch cluster.LeaderEpoch) (AppendInfo, error) {
	return l.appendFrom(batch, epoch, producers.Coordinator)
}

func (l *Log) appendFrom(batch record.Batch, epoch cluster.LeaderEpoch, from producers.Origin) (AppendInfo, error) {
	cfg := l.cfg.Load()
	now := l.now()
	batch, info, err := prepare(batch, cfg, now.UnixMilli(), from)
	if err != nil {
		return info, err
	}
	slot := l.hooks.appends.enter()
	defer l.hooks.appends.leave(slot)
	info, err = l.appendPrepared(batch, epoch, cfg, now, from, info)
	if err != nil {
		return info, err
	}
	if !info.Duplicate {
		l.wake()
	}
	return info, l.flushAfterAppend(info.LastOffset + 1)
}

// prepare validates a batch and, where compression.type says so, compresses it anew. It needs no lock.
func prepare(b record.Batch, cfg *Config, now int64, from producers.Origin) (record.Batch, AppendInfo, error) {
	info := AppendInfo{FirstOffset: cluster.UnknownOffset, LastOffset: cluster.UnknownOffset, LogAppendTime: record.NoTimestamp}
	v := record.DefaultValidation()
	v.MaxMessageBytes = cfg.MaxMessageBytes
	v.RequireKeys = cfg.Compacts()
	v.AllowNoTimestamp = true
	v.AllowControl, v.AllowNoSequence = from == producers.Coordinator, from == producers.Coordinator
	v.TimestampType = cfg.TimestampType
	v.Now, v.BeforeMaxMs, v.AfterMaxMs = now, cfg.TimestampBeforeMaxMs, cfg.TimestampAfterMaxMs
	checked, err := record.Validate(b, &v)
	if err != nil {
		info.RecordErrors = checked.RecordErrors
		return nil, info, err
	}
	if b, err = recompress(b, cfg); err != nil {
		return nil, info, err
	}
	if len(b) > cfg.MaxMessageBytes {
		return nil, info, kerr.MessageTooLarge.With(fmt.Sprintf("the batch has %d bytes after compression, max.message.bytes is %d", len(b), cfg.MaxMessageBytes))
	}
	if int64(len(b)) > cfg.segmentBytes() {
		return nil, info, kerr.RecordListTooLarge.With(fmt.Sprintf("the batch has %d bytes, segment.bytes is %d", len(b), cfg.segmentBytes()))
	}
	return b, info, nil
}

// recompress returns the batch in the codec that compression.type asks for; the same one if it has that already.
func recompress(b record.Batch, cfg *Config) (record.Batch, error) {
	codec, keep, err := cfg.codec()
	if err != nil {
		return nil, kerr.InvalidConfig.With(err.Error())
	}
	if keep || codec == b.Codec() || b.IsControl() {
		return b, nil
	}
	builder := record.NewBuilder(nil, math.MaxInt32)
	for rec, err := range b.Records(nil) {
		if err != nil {
			return nil, kerr.CorruptMessage.With(err.Error())
		}
		if !builder.Append(rec.Timestamp, rec.Key, rec.Value, rec.Headers) {
			return nil, kerr.MessageTooLarge.With(fmt.Sprintf("the batch has more than %d bytes when decompressed", math.MaxInt32))
		}
	}
	out, err := builder.Finish(codec, cfg.levelOf(codec), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional())
	if err != nil {
		return nil, fmt.Errorf("compress a batch with %s: %w", codec, err)
	}
	return out, nil
}

// appendPrepared numbers and writes a valid batch.
func (l *Log) appendPrepared(b record.Batch, epoch cluster.LeaderEpoch, cfg *Config, now time.Time, from producers.Origin, info AppendInfo) (AppendInfo, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("append"); err != nil {
		return info, err
	}
	if b.HasProducerID() {
		dup, isDup, err := l.checkProducer(b, from)
		if err != nil {
			return info, err
		}
		if isDup {
			return l.duplicateOf(dup, cfg, info), nil
		}
	}
	if cfg.TimestampType == record.LogAppendTime {
		now = l.now() // under the lock, so that the times in the log do not fall
		info.LogAppendTime = now.UnixMilli()
		b.SetLogAppendTime(info.LogAppendTime)
	}
	first := l.LogEndOffset()
	b.SetBaseOffset(int64(first))
	b.SetPartitionLeaderEpoch(int32(epoch))
	if err := l.appendRuns(b, cfg, now); err != nil {
		return info, err
	}
	info.FirstOffset, info.LastOffset = first, cluster.Offset(b.LastOffset())
	info.MaxTimestamp, info.LogStartOffset = b.MaxTimestamp(), l.LogStartOffset()
	return info, nil
}

// duplicateOf is the answer to a batch that is in the log already: the one that the producer should have got the first time.
func (l *Log) duplicateOf(dup producers.Duplicate, cfg *Config, info AppendInfo) AppendInfo {
	info.Duplicate = true
	info.FirstOffset, info.LastOffset = dup.FirstOffset, dup.LastOffset
	info.MaxTimestamp, info.LogStartOffset = dup.Timestamp, l.LogStartOffset()
	if cfg.TimestampType == record.LogAppendTime {
		info.LogAppendTime = dup.Timestamp
	}
	return info
}

// AppendAsFollower appends batches as the leader numbered them: one or more, back to back. Bytes of an incomplete batch at the
// end are left out. Size limits of the topic do not apply, because the leader has accepted the batches. The log keeps no
// reference to the bytes.
//
// Damaged batches, and such that do not come after what the log has, are CORRUPT_MESSAGE and OFFSET_OUT_OF_RANGE; then
// nothing is appended. Errors of the disk are as with AppendAsLeader.
func (l *Log) AppendAsFollower(batches []byte) (AppendInfo, error) {
	cfg := l.cfg.Load()
	whole, info, err := checkReplicated(batches)
	if err != nil {
		return info, err
	}
	slot := l.hooks.appends.enter()
	defer l.hooks.appends.leave(slot)
	if err := l.appendReplicated(whole, cfg, &info); err != nil {
		return info, err
	}
	l.wake()
	return info, l.flushAfterAppend(info.LastOffset + 1)
}

func (l *Log) appendReplicated(whole []byte, cfg *Config, info *AppendInfo) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.usable("append"); err != nil {
		return err
	}
	info.LogStartOffset = l.LogStartOffset()
	if leo := l.LogEndOffset(); len(whole) == 0 {
		info.FirstOffset, info.LastOffset = leo, leo-1
		return nil
	} else if info.FirstOffset < leo {
		return kerr.OffsetOutOfRange.With(fmt.Sprintf("append to %s: the first batch begins at %d, the log ends at %d", l.tp, info.FirstOffset, leo))
	}
	return l.appendRuns(whole, cfg, l.now())
}

// incomplete reports whether bytes are missing at the end.
func incomplete(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }

// checkReplicated checks batches from a leader: size, format, checksum, rising offsets. It returns those that are whole.
func checkReplicated(p []byte) ([]byte, AppendInfo, error) {
	info := AppendInfo{LogAppendTime: record.NoTimestamp, MaxTimestamp: record.NoTimestamp}
	var n int
	next := int64(-1)
	for rest := p; len(rest) > 0; {
		b, more, err := record.Split(rest)
		if incomplete(err) {
			break
		}
		if err != nil {
			return nil, info, kerr.CorruptMessage.With(fmt.Sprintf("replicated batch at byte %d: %v", n, err))
		}
		switch {
		case !b.CheckCRC():
			return nil, info, kerr.CorruptMessage.With(fmt.Sprintf("replicated batch %d at byte %d fails its checksum", b.BaseOffset(), n))
		case b.LastOffsetDelta() < 0 || b.BaseOffset() < 0 || b.BaseOffset() < next:
			return nil, info, kerr.CorruptMessage.With(fmt.Sprintf("replicated batch at byte %d has offsets %d..%d after %d", n, b.BaseOffset(), b.LastOffset(), next-1))
		}
		if next < 0 {
			info.FirstOffset = cluster.Offset(b.BaseOffset())
		}
		next = b.LastOffset() + 1
		info.LastOffset = cluster.Offset(next - 1)
		info.MaxTimestamp = max(info.MaxTimestamp, b.MaxTimestamp())
		rest = more
		n += len(b)
	}
	if n == 0 && len(p) > 0 {
		return nil, info, kerr.CorruptMessage.With(fmt.Sprintf("%d replicated bytes hold no whole batch", len(p)))
	}
	return p[:n], info, nil
}

// appendRuns writes numbered batches: as many with one write as fit into a segment. Each batch is placed as if it had come
// alone, so that leader and followers have the same segments.
func (l *Log) appendRuns(p []byte, cfg *Config, now time.Time) error {
	for len(p) > 0 {
		seg := l.active()
		n, err := l.takeRun(seg, p, cfg, now)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := l.rollFor(record.Batch(p), cfg, now); err != nil {
				return err
			}
			continue
		}
		if err := l.appendRun(seg, p[:n], cfg); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// takeRun returns how many bytes of batches go into the segment with one write; 0 when it must roll first. It notes the
// leader epochs of the batches that it takes.
func (l *Log) takeRun(seg *segment, p []byte, cfg *Config, now time.Time) (n int, err error) {
	room := min(seg.idx.max-seg.idx.count, seg.tidx.max-1-seg.tidx.count) // each batch adds at most one entry
	for taken := 1; n < len(p); taken++ {
		b, _, err := record.Split(p[n:])
		if err != nil {
			return 0, fmt.Errorf("append to %s: %w", l.tp, err) // the callers have split it before
		}
		facts := rollFacts{
			size: len(b), pending: int64(n), first: n == 0 && seg.size.Load() == 0,
			maxTimestamp: b.MaxTimestamp(), lastOffset: cluster.Offset(b.LastOffset()),
		}
		if seg.shouldRoll(facts, cfg, now) {
			break
		}
		l.noteEpoch(b)
		n += len(b)
		if taken >= room || !seg.hasFirst {
			break // where the next batch goes depends on what this one does to the segment
		}
	}
	return n, nil
}

// appendRun writes batches to a segment, enters them into the indexes and makes them readable.
func (l *Log) appendRun(seg *segment, run []byte, cfg *Config) error {
	pos, err := seg.write(run, cfg.segmentBytes())
	if errors.Is(err, errNoSpace) {
		return &StorageError{Dir: l.dir, Op: "append", Err: err}
	}
	if err != nil {
		return l.fail("append", err)
	}
	at, end := pos, int64(0)
	for rest := run; len(rest) > 0; {
		b, more, err := record.Split(rest)
		if err == nil {
			err = seg.index(b, at, cfg.IndexIntervalBytes)
		}
		if err == nil && b.HasProducerID() {
			err = l.noteProducer(seg, b)
		}
		if err != nil {
			return l.fail("append", err)
		}
		at, end, rest = at+int64(len(b)), b.LastOffset()+1, more
	}
	seg.publish(len(run))
	l.leo.Store(end)
	return nil
}

// noteEpoch enters a batch's leader epoch into the epoch cache, before the batch is written.
func (l *Log) noteEpoch(b record.Batch) {
	if epoch := cluster.LeaderEpoch(b.PartitionLeaderEpoch()); epoch >= 0 {
		l.epochs.assign(epoch, cluster.Offset(b.BaseOffset()))
	}
}
