package sim

import (
	"slices"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/proto/cluster"
)

// entry is a record: every batch has one. Values are unique in a run.
type entry struct {
	epoch cluster.LeaderEpoch
	value int
}

// log is a partition on a broker's disk. Offsets are dense; entries holds something for those before start as well, which nobody can read.
type log struct {
	id      cluster.TopicID
	entries []entry
	epochs  []epoch.Entry
	// start is where the log begins, saved what is on disk of that, and base where its first segment begins.
	start, saved, base cluster.Offset
	durable            cluster.Offset // what a power cut leaves
	dir                int            // the log directory that it is in

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
	if to < l.base {
		l.restart(to)
		return
	}
	l.drop(to, before)
	l.start = min(l.start, to)
	l.saved = min(l.saved, l.start)
}

// drop is cut, and leaves the start alone.
func (l *log) drop(to cluster.Offset, before func([]epoch.Entry, cluster.Offset) []epoch.Entry) {
	l.entries = l.entries[:to:to]
	l.epochs = before(l.live(), to)
	l.durable = min(l.durable, to)
	l.agreed = min(l.agreed, int(to))
}

// restart drops everything and makes the log begin at an offset.
func (l *log) restart(at cluster.Offset) {
	l.entries = slices.Clone(l.entries[:min(at, l.end())])
	for l.end() < at {
		l.entries = append(l.entries, entry{})
	}
	l.epochs, l.durable, l.agreed = nil, at, min(l.agreed, int(at))
	l.start, l.base, l.saved = at, at, min(l.saved, at)
}

// load is what becomes of the log when its broker ends and is started again.
func (l *log) load() {
	l.start = max(l.saved, l.base)
	if l.end() < l.start {
		l.restart(l.start)
	}
}

// save notes on disk where the log begins, and drops the segments before that if they are to go.
func (l *log) save(segments bool) {
	l.saved = l.start
	if segments && l.base < l.start {
		l.base, l.epochs = l.start, l.live()
	}
}

// live returns the epochs from the start on.
func (l *log) live() []epoch.Entry {
	if len(l.epochs) == 0 || l.epochs[0].StartOffset >= l.start {
		return l.epochs
	}
	return epoch.From(l.epochs, l.start)
}
