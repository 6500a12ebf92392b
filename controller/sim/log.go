package sim

import (
	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
)

// entry is a record: every batch has one. Values are unique in a run.
type entry struct {
	epoch cluster.LeaderEpoch
	value int
}

// log is a partition on a broker's disk. Offsets begin at 0 and are dense.
type log struct {
	id      cluster.TopicID
	entries []entry
	epochs  []epoch.Entry
	durable cluster.Offset // what a power cut leaves
	dir     int            // the log directory that it is in

	// What the checks know.
	agreed int                 // entries that are the same as in the history of what is committed
	lost   bool                // a power cut, or the loss of a disk, has taken entries away, and nobody may have noticed yet
	lostIn cluster.BrokerEpoch // the broker's registration at that time
}

func (l *log) end() cluster.Offset { return cluster.Offset(len(l.entries)) }

// latest returns the last epoch of the list.
func (l *log) latest() cluster.LeaderEpoch {
	if n := len(l.epochs); n > 0 {
		return l.epochs[n-1].Epoch
	}
	return cluster.NoLeaderEpoch
}

// append adds entries, as leader or follower.
func (l *log) append(es ...entry) {
	for _, e := range es {
		l.epochs = epoch.Assign(l.epochs, e.epoch, l.end())
		l.entries = append(l.entries, e)
	}
}

// cut drops entries from an offset on, and epochs as before says.
func (l *log) cut(to cluster.Offset, before func([]epoch.Entry, cluster.Offset) []epoch.Entry) {
	to = min(max(to, 0), l.end())
	l.entries = l.entries[:to:to]
	l.epochs = before(l.epochs, to)
	l.durable = min(l.durable, to)
	l.agreed = min(l.agreed, int(to))
}
