package compact

import (
	"math"

	"github.com/ottla/ottla/proto/cluster"
)

// Segment is what the cleaner must know of a segment before it reads it.
type Segment struct {
	// Base is the base offset; Next is the base of the segment after it, or the log end offset.
	Base, Next cluster.Offset
	// Size, IndexSize and TimeIndexSize are the sizes of the files in bytes.
	Size, IndexSize, TimeIndexSize int64
	// MaxTime is the largest timestamp, or the time of the file if its records have none, in milliseconds.
	MaxTime int64
	// FirstTime is the timestamp of the first batch, in milliseconds; 0 or less when it is not known.
	FirstTime int64
}

// Log is what the cleaner must know of a log to judge it.
type Log struct {
	// Segments are all of the log's, the active one last.
	Segments []Segment
	// Start and End are the log start and the log end offset.
	Start, End cluster.Offset
	// Cleaned is the checkpoint of the last round: everything below is clean; UnknownOffset when there is none.
	Cleaned cluster.Offset
	// Limit is the offset up to which records are decided, replicated and on disk: no segment that goes beyond is touched.
	Limit cluster.Offset
	// MinDirtyRatio, MinLagMs and MaxLagMs are min.cleanable.dirty.ratio, min.compaction.lag.ms and max.compaction.lag.ms.
	MinDirtyRatio      float64
	MinLagMs, MaxLagMs int64
}

// Work says what there is to compact in a log.
type Work struct {
	// FirstDirty and FirstUncleanable bound the part to be read into the offset map.
	FirstDirty, FirstUncleanable cluster.Offset
	// CleanBytes is the size of the segments before it, DirtyBytes that of the segments in it.
	CleanBytes, DirtyBytes int64
	// Overdue says that a dirty record is older than max.compaction.lag.ms.
	Overdue bool
	// Reset says that the checkpoint was outside the log, so that everything counts as dirty.
	Reset bool
}

// Ratio is the dirty part of all that can be cleaned, from 0 to 1.
func (w *Work) Ratio() float64 {
	if w.DirtyBytes == 0 {
		return 0
	}
	return float64(w.DirtyBytes) / float64(w.CleanBytes+w.DirtyBytes)
}

// Judge says what there is to compact in a log, and whether it is to be done now (Kafka class LogCleanerManager).
func Judge(l *Log, now int64) (w Work, due bool) {
	w.FirstDirty = l.Cleaned
	if w.FirstDirty < l.Start || w.FirstDirty > l.End {
		w.Reset = l.Cleaned > l.End
		w.FirstDirty = l.Start
	}
	active := len(l.Segments) - 1
	w.FirstUncleanable = l.Segments[active].Base
	for _, s := range l.Segments[:active] {
		young := l.MinLagMs > 0 && s.Next > w.FirstDirty && s.MaxTime > now-l.MinLagMs
		if s.Next > l.Limit || young {
			w.FirstUncleanable = s.Base
			break
		}
	}
	w.FirstUncleanable = max(w.FirstUncleanable, w.FirstDirty)
	earliest := int64(math.MaxInt64)
	for _, s := range l.Segments[:active] {
		switch {
		case s.Next > w.FirstUncleanable:
		case s.Next > w.FirstDirty:
			w.DirtyBytes += s.Size
			if s.FirstTime > 0 {
				earliest = min(earliest, s.FirstTime)
			}
		default:
			w.CleanBytes += s.Size
		}
	}
	w.Overdue = w.DirtyBytes > 0 && l.MaxLagMs < math.MaxInt64 && earliest < now-max(l.MaxLagMs, 0)
	return w, w.Overdue || w.DirtyBytes > 0 && w.Ratio() > l.MinDirtyRatio
}

// Dirtier reports whether a is to be cleaned before b: overdue logs come first, and then those with the larger ratio.
func Dirtier(a, b *Work) bool {
	if a.Overdue != b.Overdue {
		return a.Overdue
	}
	return a.Ratio() > b.Ratio()
}

// Group returns how many of the segments, from the first on, become one: no larger than segment.bytes, with indexes no larger than
// segment.index.bytes, and without an offset that is farther from the first base than an index can express. One is always
// returned. Segments without a byte do not count.
func Group(segments []Segment, segmentBytes, indexBytes int64) int {
	first := segments[0]
	size, index, times := first.Size, first.IndexSize, first.TimeIndexSize
	n := 1
	for ; n < len(segments); n++ {
		s := segments[n]
		size, index, times = size+s.Size, index+s.IndexSize, times+s.TimeIndexSize
		if size > segmentBytes || index > indexBytes || times > indexBytes {
			break
		}
		if s.Size > 0 && int64(s.Next-1-first.Base) > math.MaxInt32 {
			break
		}
	}
	return n
}
