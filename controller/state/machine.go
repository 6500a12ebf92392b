// Package state is the pure core of the controller: what the controller knows of the cluster and what it decides (F§2).
//
// The controller works through one event after the other. For each event the shell around this package does
//
//	step := machine.Handle(event)
//	for {
//		// change step.Senders, send step.Requests, log step.Notes
//		if step.Done { break }
//		results := … commit step.Ops to ZooKeeper, each fenced by /controller_epoch …
//		step = machine.Apply(results)
//	}
//
// so that plan, commit, apply and send alternate until the event is dealt with. Requests of a step follow from what is
// committed already: a broker never hears of a state that ZooKeeper does not hold.
//
// Two state machines, one for partitions and one for replicas, forbid everything that is not in their tables: a transition
// that is not allowed is noted and ignored (F§2.5). The event handlers in brokers.go, topics.go, deletion.go and failover.go
// are sequences of such transitions, in Kafka's order.
//
// Nothing here has a clock, goroutines, locks, IO, randomness or a log. The same events and results give the same steps,
// byte for byte, which is how the controller is simulated and replayed.
//
// When a commit is refused because this controller is no longer the controller, the machine is thrown away; it needs no
// goodbye. A new reign starts with a new Machine and a [Failover] event.
package state

import (
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
)

// maxAttempts bounds how often one write is computed anew after a version conflict within one event. Only this controller
// writes, so that one repetition is normal and sixteen mean that something else writes all the time.
const maxAttempts = 16

// Options are the settings of one reign.
type Options struct {
	// ControllerID is this broker.
	ControllerID cluster.BrokerID
	// Epoch is the controller epoch that was won.
	Epoch cluster.ControllerEpoch
	// UncleanElection is the broker's unclean.leader.election.enable, for topics that do not override it.
	UncleanElection bool
	// DeleteTopics is the broker's delete.topic.enable. When false, deletion markers are removed and nothing else happens.
	DeleteTopics bool
}

// Machine decides for one controller during one reign. It is owned by one goroutine.
type Machine struct {
	model
	opts Options

	queue     []action            // what remains of the event being handled, next first
	scheduled []action            // follow-ups of the action that runs; they go before the rest of queue
	waiting   *action             // the action whose ops are being committed
	ops       []Op                // the ops of waiting
	batch     batch               // requests that were not given out yet
	hold      int                 // how many transitions under way keep batch from being given out
	touched   []*partition        // partitions under reassignment whose state has changed in this event
	finished  map[*partition]bool // reassignments that were completed, or could not be, in this event
	out       Step                // output since the last step was returned
}

// action is a piece of work within an event: plan says what to commit, apply digests the outcome and may schedule more.
type action struct {
	plan  func() []Op
	apply func(ops []Op, results []Result)
}

// Step is what the machine wants done before it goes on.
type Step struct {
	// Senders lists the brokers to which sending starts or ends, to be done before anything else.
	Senders []SenderChange
	// Requests to send, in this order.
	Requests []Request
	// Notes to log.
	Notes []Note
	// Ops to commit, independent of each other; their results go to [Machine.Apply] in the same order. Empty when Done.
	Ops []Op
	// Reply answers the event, of the type that its comment names; nil for events without reply, and before Done.
	Reply any
	// Done is true when the event is dealt with and the machine is ready for the next.
	Done bool
}

// SenderChange starts, ends or redirects the sending of requests to one broker.
type SenderChange struct {
	// Kind says what to do.
	Kind SenderChangeKind
	// Broker is the broker; for RemoveSender only its id has a meaning.
	Broker Broker
}

// SenderChangeKind is a kind of [SenderChange].
type SenderChangeKind uint8

// The kinds of sender changes.
const (
	// AddSender starts sending to a broker.
	AddSender SenderChangeKind = iota + 1
	// RemoveSender drops what is queued for a broker and ends sending to it.
	RemoveSender
	// MoveSender goes on sending to a broker at other addresses.
	MoveSender
)

// Note is something that an operator may want to know, with key and value pairs as a structured log takes them.
type Note struct {
	// Level is how much it matters.
	Level NoteLevel
	// Text says what happened, lower-case.
	Text string
	// Pairs holds keys (strings) and values in turn.
	Pairs []any
}

// NoteLevel is the importance of a [Note].
type NoteLevel uint8

// The levels of notes.
const (
	// Info is ordinary news.
	Info NoteLevel = iota + 1
	// Warn is something unusual that was dealt with.
	Warn
	// Error is something that did not work.
	Error
)

// String returns the note as one line.
func (n Note) String() string {
	s := [...]string{"?", "info", "warn", "error"}[n.Level%4] + " " + n.Text
	for i := 0; i+1 < len(n.Pairs); i += 2 {
		s += fmt.Sprintf(" %v=%v", n.Pairs[i], n.Pairs[i+1])
	}
	return s
}

// New returns a machine that knows nothing. Its first event must be [Failover].
func New(opts Options) *Machine {
	return &Machine{model: newModel(), opts: opts}
}

// Handle starts with an event. It must not be called before the step of the previous event was Done; that is a broken
// invariant and panics.
func (m *Machine) Handle(e Event) Step {
	if m.waiting != nil || len(m.queue) > 0 {
		panic(fmt.Sprintf("controller state: event %T while another is being handled", e))
	}
	m.finished = make(map[*partition]bool)
	e.handle(m)
	m.then(m.saveTopics)
	m.endAction()
	return m.run()
}

// Apply goes on with the results of the ops of the last step, one for each. Another number of results is a broken
// invariant and panics.
func (m *Machine) Apply(results []Result) Step {
	if m.waiting == nil || len(results) != len(m.ops) {
		panic(fmt.Sprintf("controller state: %d results for %d ops", len(results), len(m.ops)))
	}
	a, ops := m.waiting, m.ops
	m.waiting, m.ops = nil, nil
	a.apply(ops, results)
	m.endAction()
	return m.run()
}

// run works through the queue until something has to be committed.
func (m *Machine) run() Step {
	for len(m.queue) > 0 || len(m.touched) > 0 {
		if len(m.queue) == 0 {
			m.finishTouched()
			m.endAction()
			continue
		}
		a := m.queue[0]
		m.queue = m.queue[1:]
		if a.plan == nil {
			a.apply(nil, nil)
			m.endAction()
			continue
		}
		if ops := a.plan(); len(ops) > 0 {
			m.batch.flush(m)
			m.waiting, m.ops = &a, ops
			m.out.Ops = ops
			return m.take()
		}
		m.endAction()
	}
	m.out.Done = true
	return m.take()
}

// endAction queues the follow-ups of the action that just ran before everything else and closes its requests.
func (m *Machine) endAction() {
	if len(m.scheduled) > 0 {
		m.queue = append(m.scheduled, m.queue...)
		m.scheduled = nil
	}
	m.batch.flush(m)
}

// take returns the output so far.
func (m *Machine) take() Step {
	s := m.out
	m.out = Step{}
	return s
}

// then schedules f after the actions that were scheduled before it. Follow-ups that f schedules come before those that are
// scheduled after it: a sequence of calls of then reads like a program.
func (m *Machine) then(f func()) {
	m.scheduled = append(m.scheduled, action{apply: func([]Op, []Result) { f() }})
}

// commit schedules writes or reads: plan is called when their turn has come, apply with their results. Nothing is committed,
// and apply is not called, when plan returns nothing.
func (m *Machine) commit(plan func() []Op, apply func(ops []Op, results []Result)) {
	m.scheduled = append(m.scheduled, action{plan: plan, apply: apply})
}

// batched schedules what f schedules, and gives out the requests only when all of it is done: each broker gets one request of each
// kind, with the last state (F§2.10).
func (m *Machine) batched(f func()) {
	m.then(func() {
		m.hold++
		f()
		m.then(func() { m.hold-- })
	})
}

// note adds a note.
func (m *Machine) note(level NoteLevel, text string, pairs ...any) {
	m.out.Notes = append(m.out.Notes, Note{Level: level, Text: text, Pairs: pairs})
}

// sender adds a sender change.
func (m *Machine) sender(kind SenderChangeKind, b Broker) {
	m.out.Senders = append(m.out.Senders, SenderChange{Kind: kind, Broker: b})
}
