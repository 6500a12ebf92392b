package contact

import (
	"maps"
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Loss is why a broker counts as lost.
type Loss uint8

// The losses. The zero Loss is none.
const (
	// Silent brokers do not answer: frozen, cut off, or their machine is gone.
	Silent Loss = iota + 1
	// Refused brokers have no process: their address refuses connections.
	Refused
)

// String returns the loss's name.
func (l Loss) String() string {
	return [...]string{"none", "silent", "refused", "?"}[min(l, 3)]
}

// Lost says that a broker does not answer.
type Lost struct {
	// Broker does not answer.
	Broker cluster.BrokerID
	// Loss is how.
	Loss Loss
}

// Report is what a broker says in a ping. It replaces what it said before.
type Report struct {
	// Lost holds the brokers that do not answer to it, in order.
	Lost []Lost
	// Stalled says that its own disk holds it up. Nobody needs to confirm that.
	Stalled bool
}

// View is what a broker sees, and what the others have told it that they see. It is immutable.
type View struct {
	// Self is the broker that sees.
	Self cluster.BrokerID
	// Brokers holds all registered brokers, this one among them.
	Brokers []cluster.BrokerID
	// Own holds the brokers that do not answer to this one.
	Own map[cluster.BrokerID]Loss
	// Since tells since when.
	Since map[cluster.BrokerID]time.Time
	// Doubtful holds the brokers that are late with their answer to this one and not lost yet, and those that were lost only just now, in order. What others
	// say of the former had better wait: in a moment this broker will know for itself. What others do not say of the latter, they may not have noticed yet.
	Doubtful []cluster.BrokerID
	// Told holds what the others say. Those that do not answer to this one are left out: what they said is out of date.
	Told map[cluster.BrokerID]map[cluster.BrokerID]Loss
	// Stalled holds the brokers, maybe this one among them, that say that their own disk stalls, in order. They answer, and take orders, but cannot append.
	Stalled []cluster.BrokerID
}

// Suspects returns the brokers that are to be treated as dead although ZooKeeper still holds their registrations to be alive. Nobody is judged
// on this broker's word alone, since it may be the one that is cut off:
//
//   - A broker whose address refuses connections, and of which another broker says that it does not answer either. Where every other
//     broker is one of those, the word of this one has to do.
//   - A broker of which more than half of all brokers, this one included, say that it does not answer. At most one side of a cluster that is
//     cut in two can say so.
//   - A broker that has not answered to this one for as long as a ZooKeeper session lasts, whatever the others see, unless nobody answers.
func (v *View) Suspects(now time.Time, session time.Duration) []cluster.BrokerID {
	witnesses, answering := 0, 0
	for _, id := range v.Brokers {
		if id != v.Self && v.Own[id] != Refused {
			witnesses++
		}
		if id != v.Self && v.Own[id] == 0 {
			answering++
		}
	}
	var out []cluster.BrokerID
	for id, loss := range v.Own {
		agreed := 1
		for other, told := range v.Told {
			if other != id && told[id] != 0 {
				agreed++
			}
		}
		switch {
		case loss == Refused && (agreed > 1 || witnesses == 0):
		case loss == Silent && agreed > 1 && agreed > len(v.Brokers)/2:
		case now.Sub(v.Since[id]) >= session && (answering > 0 || len(v.Brokers) == 2):
		default:
			continue
		}
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Broken returns the pairs of brokers between which nothing passes: the first says so of the second. They are in order.
func (v *View) Broken() [][2]cluster.BrokerID {
	var out [][2]cluster.BrokerID
	add := func(from cluster.BrokerID, of map[cluster.BrokerID]Loss) {
		for _, id := range slices.Sorted(maps.Keys(of)) {
			out = append(out, [2]cluster.BrokerID{from, id})
		}
	}
	add(v.Self, v.Own)
	for _, from := range slices.Sorted(maps.Keys(v.Told)) {
		add(from, v.Told[from])
	}
	return out
}
