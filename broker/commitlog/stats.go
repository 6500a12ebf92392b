package commitlog

import (
	"sync/atomic"

	"github.com/ottla/ottla/proto/cluster"
)

// Stats says what the manager's background work has done since it was opened.
type Stats struct {
	// SegmentsDeleted and BytesDeleted count what retention has removed.
	SegmentsDeleted, BytesDeleted int64
}

// counters are the numbers behind Stats.
type counters struct{ segmentsDeleted, bytesDeleted atomic.Int64 }

func (c *counters) deleted(segments int, bytes int64) {
	c.segmentsDeleted.Add(int64(segments))
	c.bytesDeleted.Add(bytes)
}

// Stats returns what the background work has done so far.
func (m *Manager) Stats() Stats {
	return Stats{SegmentsDeleted: m.stats.segmentsDeleted.Load(), BytesDeleted: m.stats.bytesDeleted.Load()}
}

// savedHW is the high watermark as the checkpoint has it; UnknownOffset when it does not.
func (m *Manager) savedHW(tp cluster.TopicPartition) cluster.Offset {
	if hw, ok := m.ReadHW(tp); ok {
		return hw
	}
	return cluster.UnknownOffset
}
