package commitlog

import (
	"fmt"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// TimestampOffset is an answer to a question by time (F§3.8).
type TimestampOffset struct {
	// Offset is the record's offset.
	Offset cluster.Offset
	// Timestamp is the record's time in milliseconds.
	Timestamp int64
	// LeaderEpoch is the epoch in which the record was appended; NoLeaderEpoch when it is not known.
	LeaderEpoch cluster.LeaderEpoch
}

// noTimestampOffset is the answer when there is no such record.
var noTimestampOffset = TimestampOffset{Offset: cluster.UnknownOffset, Timestamp: record.NoTimestamp, LeaderEpoch: cluster.NoLeaderEpoch}

// OffsetForTimestamp returns the first record, in the order of offsets and below upTo, whose timestamp is at least ts. found is
// false, and offset and timestamp -1, when there is none. It waits for no writer, except during a truncation.
func (l *Log) OffsetForTimestamp(ts int64, upTo cluster.Offset) (at TimestampOffset, found bool, err error) {
	return l.lookAt(func(list []*segment) (TimestampOffset, bool, error) {
		start := l.LogStartOffset()
		for _, seg := range list[segmentFor(list, start):] {
			if seg.base >= upTo {
				break
			}
			if seg.maxTime().ts < ts {
				continue
			}
			at, found, err := seg.firstAtOrAfter(ts, start)
			if err != nil || found {
				return at, found && at.Offset < upTo, err
			}
		}
		return noTimestampOffset, false, nil
	})
}

// OffsetOfMaxTimestamp returns the first of the records with the largest timestamp in the log: the question -3 of ListOffsets
// (KIP-734). found is false when no record has a timestamp. It waits for no writer, except during a truncation.
func (l *Log) OffsetOfMaxTimestamp() (at TimestampOffset, found bool, err error) {
	return l.lookAt(func(list []*segment) (TimestampOffset, bool, error) {
		start := l.LogStartOffset()
		for {
			var best *segment
			for _, seg := range list {
				if p := seg.maxTime(); p.ts >= 0 && p.offset >= start && (best == nil || p.ts > best.maxTime().ts) {
					best = seg
				}
			}
			if best == nil {
				return noTimestampOffset, false, nil
			}
			p := best.maxTime()
			at, found, err := best.firstAtOrAfter(p.ts, start)
			if err != nil || found && at.Timestamp == p.ts {
				return at, found, err
			}
			// An append came in between and raised the maximum: look again.
			if best.maxTime() == p {
				return noTimestampOffset, false, nil
			}
		}
	})
}

// lookAt runs a question on the segments, again when a truncation came in between.
func (l *Log) lookAt(ask func([]*segment) (TimestampOffset, bool, error)) (TimestampOffset, bool, error) {
	for {
		cuts := l.cuts.Load()
		if cuts%2 != 0 {
			l.awaitCut()
			continue
		}
		list := *l.segments.Load()
		at, found, err := ask(list)
		if l.cuts.Load() == cuts && !(gone(err) && l.moved(list)) {
			if err != nil || !found {
				return noTimestampOffset, false, l.readError(err)
			}
			if at.LeaderEpoch < 0 {
				at.LeaderEpoch = epoch.At(l.EpochEntries(), at.Offset)
			}
			return at, true, nil
		}
	}
}

// firstAtOrAfter returns the segment's first record from an offset on with at least the timestamp.
func (s *segment) firstAtOrAfter(ts int64, from cluster.Offset) (TimestampOffset, bool, error) {
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	// Everything up to the time index entry has a smaller timestamp, or it is in the batch of that entry.
	begin := from
	if e, ok, err := s.tidx.lookup(ts); err != nil {
		return noTimestampOffset, false, err
	} else if ok {
		at, there, err := s.locate(cluster.Offset(e.val))
		if err != nil {
			return noTimestampOffset, false, err
		}
		if there && at.maxTS == e.key { // else the entry is damaged
			begin = max(begin, cluster.Offset(e.val))
		}
	}
	pos, err := s.hint(begin, buf[:])
	if err != nil {
		return noTimestampOffset, false, err
	}
	for {
		at, ok, err := s.scan(pos, buf[:], func(f found) bool { return f.maxTS >= ts && f.last >= from })
		if err != nil || !ok {
			return noTimestampOffset, false, err
		}
		if hit, ok, err := s.firstRecord(at, ts, from); err != nil || ok {
			return hit, ok, err
		}
		pos = at.pos + int64(at.size) // a batch that says more than its records hold, or whose records are before from
	}
}

// firstRecord looks into a batch.
func (s *segment) firstRecord(at found, ts int64, from cluster.Offset) (TimestampOffset, bool, error) {
	p := make([]byte, at.size)
	if _, err := s.log.ReadAt(p, at.pos); err != nil {
		return noTimestampOffset, false, fmt.Errorf("read a batch of %d bytes at %d of %s: %w", at.size, at.pos, s.log.path, err)
	}
	b, _, err := record.Split(p)
	if err != nil {
		return noTimestampOffset, false, &CorruptionError{File: s.log.path, Position: at.pos, Reason: err.Error()}
	}
	for rec, err := range b.Records(nil) {
		if err != nil {
			return noTimestampOffset, false, &CorruptionError{File: s.log.path, Position: at.pos, Reason: err.Error()}
		}
		if rec.Timestamp >= ts && rec.Offset >= int64(from) {
			return TimestampOffset{Offset: cluster.Offset(rec.Offset), Timestamp: rec.Timestamp, LeaderEpoch: at.leaderEpoch}, true, nil
		}
	}
	return noTimestampOffset, false, nil
}
