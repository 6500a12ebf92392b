package contact

import (
	"maps"
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// ledger is a broker's account of who answers. Pure: times come from outside, and its owner serialises calls.
//
//	               no answer for patience, or two refusals
//	answering ───────────────────────────────────────────────▶ lost
//	    ▲                                                         │
//	    └───────────────────── an answer ─────────────────────────┘ and for holdDown only refusals count
//
// A broker that was frozen or starved itself cannot tell who was late: after a gap between two looks everybody gets its patience anew.
type ledger struct {
	self     cluster.BrokerID
	patience time.Duration // from the first ping without answer until its receiver is lost
	holdDown time.Duration // how long after it has answered again a broker cannot become silent
	hearsay  time.Duration // after a loss, until when others may not have noticed or said what they see
	gap      time.Duration // between two looks, above which this broker was not itself

	looked time.Time
	disk   disk // this broker's
	peers  map[cluster.BrokerID]*entry
	told   map[cluster.BrokerID]map[cluster.BrokerID]Loss
	// stalled holds the brokers that say that their disk stalls.
	stalled map[cluster.BrokerID]bool
}

// entry is the account of one broker.
type entry struct {
	asked    time.Time // when the first ping was sent that has no answer yet; zero if there is none
	refusals int       // in a row
	loss     Loss
	since    time.Time // when asked was, for what is lost
	noticed  time.Time // when it was lost
	spared   time.Time // until when it cannot become silent
}

func newLedger(self cluster.BrokerID, patience, holdDown, hearsay, gap time.Duration) *ledger {
	return &ledger{
		self: self, patience: patience, holdDown: holdDown, hearsay: hearsay, gap: gap,
		peers: make(map[cluster.BrokerID]*entry), told: make(map[cluster.BrokerID]map[cluster.BrokerID]Loss), stalled: make(map[cluster.BrokerID]bool),
	}
}

// watch makes the account be about the brokers with these ids and no others, and reports whether that is a change.
func (l *ledger) watch(ids []cluster.BrokerID) (changed bool) {
	for id := range l.peers {
		if !slices.Contains(ids, id) {
			delete(l.peers, id)
			delete(l.told, id)
			delete(l.stalled, id)
			changed = true
		}
	}
	for _, id := range ids {
		if id != l.self && l.peers[id] == nil {
			l.peers[id] = &entry{}
			changed = true
		}
	}
	return changed
}

// asked notes that a ping was sent.
func (l *ledger) asked(id cluster.BrokerID, now time.Time) {
	if e := l.peers[id]; e != nil && e.asked.IsZero() {
		e.asked = now
	}
}

// answered notes an answer and reports whether that changes what is seen.
func (l *ledger) answered(id cluster.BrokerID, now time.Time) bool {
	e := l.peers[id]
	if e == nil {
		return false
	}
	e.asked, e.refusals = time.Time{}, 0
	if e.loss == 0 {
		return false
	}
	if e.loss == Silent {
		e.spared = now.Add(l.holdDown)
	}
	e.loss, e.since = 0, time.Time{}
	return true
}

// refused notes that a connection was refused and reports whether that changes what is seen.
func (l *ledger) refused(id cluster.BrokerID, now time.Time) bool {
	e := l.peers[id]
	if e == nil {
		return false
	}
	if e.refusals++; e.refusals < 2 || e.loss == Refused {
		return false
	}
	if e.loss == 0 {
		e.since, e.noticed = e.asked, now
	}
	e.loss = Refused
	return true
}

// look judges who is silent and reports whether that changes what is seen. It is called much more often than every gap.
func (l *ledger) look(now time.Time) (changed bool) {
	slept := !l.looked.IsZero() && now.Sub(l.looked) > l.gap
	l.looked = now
	for _, e := range l.peers {
		switch {
		case e.asked.IsZero() || e.loss != 0:
		case slept:
			e.asked = now
		case now.Sub(e.asked) >= l.patience && !now.Before(e.spared):
			e.loss, e.since, e.noticed, changed = Silent, e.asked, now, true
		}
	}
	return changed
}

// hear notes what another broker says and reports whether that is news.
func (l *ledger) hear(from cluster.BrokerID, r Report) bool {
	if l.peers[from] == nil {
		return false
	}
	of := make(map[cluster.BrokerID]Loss, len(r.Lost))
	for _, s := range r.Lost {
		of[s.Broker] = s.Loss
	}
	if maps.Equal(of, l.told[from]) && l.stalled[from] == r.Stalled {
		return false
	}
	l.told[from] = of
	l.stalled[from] = r.Stalled
	return true
}

// own returns what this broker tells the others.
func (l *ledger) own() Report {
	r := Report{Stalled: l.disk.stalled}
	for _, id := range slices.Sorted(maps.Keys(l.peers)) {
		if loss := l.peers[id].loss; loss != 0 {
			r.Lost = append(r.Lost, Lost{id, loss})
		}
	}
	return r
}

// late is how long an answer may take until its broker is in doubt.
const late = 100 * time.Millisecond

// doubtful reports whether an answer is late, or something went wrong already, or the loss is so new that nobody else may have spoken of it yet.
func (l *ledger) doubtful(e *entry, now time.Time) bool {
	if e.loss != 0 {
		return now.Sub(e.noticed) < l.hearsay
	}
	return !e.asked.IsZero() && (e.refusals > 0 || now.Sub(e.asked) >= late)
}

// view returns everything that is seen.
func (l *ledger) view(now time.Time) *View {
	v := &View{
		Self: l.self, Brokers: append(slices.Collect(maps.Keys(l.peers)), l.self),
		Own: make(map[cluster.BrokerID]Loss), Since: make(map[cluster.BrokerID]time.Time),
		Told: make(map[cluster.BrokerID]map[cluster.BrokerID]Loss),
	}
	slices.Sort(v.Brokers)
	if l.disk.stalled {
		v.Stalled = append(v.Stalled, l.self)
	}
	for id, e := range l.peers {
		if l.doubtful(e, now) {
			v.Doubtful = append(v.Doubtful, id)
		}
		if e.loss != 0 {
			v.Own[id], v.Since[id] = e.loss, e.since
			continue
		}
		if told := l.told[id]; len(told) > 0 {
			v.Told[id] = told // immutable: hear replaces it
		}
		if l.stalled[id] {
			v.Stalled = append(v.Stalled, id)
		}
	}
	slices.Sort(v.Doubtful)
	slices.Sort(v.Stalled)
	return v
}
