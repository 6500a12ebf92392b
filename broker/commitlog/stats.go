package commitlog

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Stats says what the manager's background work has done since it was opened.
type Stats struct {
	// SegmentsDeleted and BytesDeleted count what retention has removed.
	SegmentsDeleted, BytesDeleted int64
	// Cleaner is about compaction.
	Cleaner CleanerStats
	// Files is about open files.
	Files FileStats
}

// CleanerStats says what compaction has done.
type CleanerStats struct {
	// Rounds counts compactions of a log that were finished; Interrupted those that something else came before; Failed those that
	// failed.
	Rounds, Interrupted, Failed int64
	// BytesRead counts bytes that were read, many of them twice.
	BytesRead int64
	// BytesBefore and BytesAfter count bytes of segments before and after they were rewritten.
	BytesBefore, BytesAfter int64
	// RecordsBefore and RecordsAfter count records likewise.
	RecordsBefore, RecordsAfter int64
	// Last is when the last round ended; LastTook is how long it took, and MaxTook how long the longest one did.
	Last              time.Time
	LastTook, MaxTook time.Duration
	// MaxBufferUtilization is how full the memory for keys was at most, from 0 to 1.
	MaxBufferUtilization float64
	// MaxDirtyRatio is the largest ratio, from 0 to 1, of dirty bytes to all in a log that is not being compacted.
	MaxDirtyRatio float64
	// Uncleanable is the number of logs that cannot be compacted, see Manager.Uncleanable.
	Uncleanable int
}

// add enters a round.
func (s *CleanerStats) add(r *round, err error) {
	s.BytesRead += r.bytesRead
	s.BytesBefore += r.bytesBefore
	s.BytesAfter += r.bytesAfter
	s.RecordsBefore += r.recordsBefore
	s.RecordsAfter += r.recordsAfter
	s.LastTook, s.MaxTook = r.took, max(s.MaxTook, r.took)
	s.Last = time.Now()
	s.MaxBufferUtilization = max(s.MaxBufferUtilization, r.utilization)
	switch {
	case err == nil:
		s.Rounds++
	case errors.Is(err, errInterrupted):
		s.Interrupted++
	default:
		s.Failed++
	}
}

// counters are the numbers of retention.
type counters struct{ segmentsDeleted, bytesDeleted atomic.Int64 }

func (c *counters) deleted(segments int, bytes int64) {
	c.segmentsDeleted.Add(int64(segments))
	c.bytesDeleted.Add(bytes)
}

// Stats returns what the background work has done so far.
func (m *Manager) Stats() Stats {
	s := Stats{SegmentsDeleted: m.stats.segmentsDeleted.Load(), BytesDeleted: m.stats.bytesDeleted.Load(), Files: m.idle.stats()}
	m.clean.mu.Lock()
	defer m.clean.mu.Unlock()
	s.Cleaner = m.clean.stats
	s.Cleaner.Uncleanable = len(m.clean.uncleanable)
	return s
}

// savedHW is the high watermark as the checkpoint has it; UnknownOffset when it does not.
func (m *Manager) savedHW(tp cluster.TopicPartition) cluster.Offset {
	if hw, ok := m.ReadHW(tp); ok {
		return hw
	}
	return cluster.UnknownOffset
}
