package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options say what to simulate.
type Options struct {
	// Seed decides everything that is left to chance.
	Seed uint64
	// Steps is how many things happen before the faults stop.
	Steps int
	// Rules are the decisions to simulate; [Real] for those of brokers.
	Rules Rules

	shape func(*plan) // changes what the seed makes of a cluster; may be nil
}

// Failure is a simulated cluster that did what no cluster may do.
type Failure struct {
	// Options are those of the run.
	Options Options
	// Invariant names what was broken.
	Invariant string
	// Detail says how.
	Detail string

	schedule []decision
}

// Report is what a run has done.
type Report struct {
	// Failure is nil when all went well.
	Failure *Failure
	// Steps is how many things happened, those after the faults included.
	Steps int
	// Acked and Committed count records with acks=all that were acknowledged, and records that were committed.
	Acked, Committed int
	// Elections counts changes of a partition's leader epoch, Reigns the controllers.
	Elections, Reigns int
	// Moves counts reassignments that were completed or cancelled, Failures log directories that failed.
	Moves, Failures int
}

// Run simulates one cluster.
func Run(o Options) Report {
	p := o.plan()
	return play(o, p, p.draw(o), nil)
}

// Trace simulates one cluster and returns all that happened, one thing a line.
func Trace(o Options) (Report, string) {
	p := o.plan()
	var out strings.Builder
	r := play(o, p, p.draw(o), &out)
	return r, out.String()
}

// play makes the decisions that next returns, those that make sense at their moment, then lets the cluster recover.
func play(o Options, p plan, next func() (decision, bool), out *strings.Builder) Report {
	w := newWorld(o.Rules, p, out)
	var schedule []decision
	for w.failure == nil && len(schedule) < o.Steps {
		d, ok := next()
		if !ok {
			break
		}
		if w.do(d) {
			schedule = append(schedule, d)
			w.settle()
		}
	}
	if w.failure == nil {
		w.heal()
	}
	r := w.report
	r.Steps = w.step
	if w.failure != nil {
		w.failure.Options, w.failure.schedule = o, schedule
		r.Failure = w.failure
	}
	return r
}

// decision is one thing that happens. What exactly the operands mean depends on what there is at that moment, so that a schedule from which
// something is taken out still makes sense.
type decision struct {
	kind    kind
	a, b, c uint16
}

// kind is a kind of decision.
type kind uint8

const (
	doDeliver kind = iota
	doDrop
	doHold
	doFetch
	doControl
	doSend
	doAlter
	doLag
	doTick
	doProduce
	doFlush
	doForgetFetch
	doForgetAlter
	doCrash
	doRestart
	doExpire
	doNotice
	doElect
	doDethrone
	doCreate
	doDelete
	doGrow
	doShutdown
	doBallot
	doSuspect
	doCut
	doMend
	doUnclean
	doMove
	doCancel
	doFail
	doTell
	doTrim
	kinds
)

var kindNames = [kinds]string{
	"deliver", "drop", "hold", "fetch", "control", "send", "alter", "lag", "tick", "produce", "flush", "forget-fetch", "forget-alter", "crash", "restart",
	"expire", "notice", "elect", "dethrone", "create", "delete", "grow", "shutdown", "ballot", "suspect", "cut", "mend", "unclean", "move", "cancel", "fail", "tell", "trim",
}

// String returns the decision as transcripts show it.
func (d decision) String() string {
	return fmt.Sprintf("%s %d %d %d", kindNames[d.kind], d.a, d.b, d.c)
}

// plan is what a seed makes of a cluster: its size, its settings, and which faults there are how often.
type plan struct {
	seed       uint64
	brokers    int
	topics     int
	minISR     int
	unclean    bool // unclean elections are allowed at first
	powerCuts  bool // a crash may take what is not flushed
	lostReply  uint16
	duplicates uint16 // per mille of the deliveries that happen again
	weights    [kinds]int
}

// plan returns what becomes of a cluster.
func (o Options) plan() plan {
	p := planFor(o.Seed)
	if o.shape != nil {
		o.shape(&p)
	}
	return p
}

// planFor returns the plan of a seed. Each has some of the faults, so that rare combinations come about.
func planFor(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed: seed, brokers: 2 + r.IntN(3), topics: 1 + r.IntN(2), minISR: 1 + r.IntN(2), unclean: r.IntN(4) == 0, powerCuts: r.IntN(3) == 0,
	}
	if r.IntN(2) == 0 {
		p.lostReply = uint16(r.IntN(200))
	}
	if r.IntN(2) == 0 {
		p.duplicates = uint16(r.IntN(300))
	}
	p.weights = [kinds]int{
		doDeliver: 300, doFetch: 150, doControl: 150, doSend: 100, doAlter: 30, doLag: 10, doTick: 60, doProduce: 80, doFlush: 10,
		doForgetFetch: 10, doForgetAlter: 5, doRestart: 15, doNotice: 20, doElect: 20, doCreate: 4, doGrow: 2, doMend: 5,
	}
	for _, f := range []struct {
		kind kind
		most int
	}{
		{doDrop, 40}, {doHold, 60}, {doForgetAlter, 20}, {doCrash, 20}, {doExpire, 15}, {doDethrone, 10}, {doDelete, 5}, {doShutdown, 5}, {doBallot, 15}, {doSuspect, 20}, {doCut, 10}, {doLag, 40}, {doTick, 200},
	} {
		if r.IntN(2) == 0 {
			p.weights[f.kind] += 1 + r.IntN(f.most)
		}
	}
	if p.powerCuts { // who comes back soon may do so unnoticed
		p.weights[doCrash] += 10
		p.weights[doRestart] += 60
		p.weights[doFlush] = 3
	}
	if p.unclean || r.IntN(6) == 0 {
		p.weights[doUnclean] = 3
	}
	if r.IntN(2) == 0 {
		p.weights[doMove], p.weights[doCancel] = 3+r.IntN(15), r.IntN(4)
	}
	if r.IntN(2) == 0 {
		p.weights[doFail], p.weights[doTell] = 1+r.IntN(5), 20
	}
	if r.IntN(3) == 0 {
		p.weights[doTrim] = 1 + r.IntN(20)
	}
	return p
}

// draw returns a source of decisions without end.
func (p plan) draw(o Options) func() (decision, bool) {
	r := rand.New(rand.NewPCG(o.Seed, 2))
	total := 0
	for _, n := range p.weights {
		total += n
	}
	return func() (decision, bool) {
		n := r.IntN(total)
		k := kind(0)
		for n >= p.weights[k] {
			n -= p.weights[k]
			k++
		}
		x := r.Uint64()
		return decision{k, uint16(x), uint16(x >> 16), uint16(x >> 32)}, true
	}
}
