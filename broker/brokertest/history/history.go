// Package history records what clients saw of a cluster and judges it: whether everything that was acknowledged is there, once, in order, at the
// offset that was told. It is the one checker of all tests under faults, in one process and with real ones; its own tests plant each anomaly
// and want it found.
//
// A test records sends and their outcomes ([History.Send], [Send.Acked], [Send.Failed]), what consumers get while the faults go on ([History.Reader])
// and, when all is healed and quiet, each partition from its beginning to its end ([History.Final]). [History.Check] compares. [CompareLogs] compares
// the files of replicas, and [Cluster] what ZooKeeper said about leaders and controllers.
//
// A topic that is deleted and made again ([History.Deleting], [History.Created]) is another one, and judged on its own.
//
// The names of anomalies are those of jepsen.tests.kafka.
package history

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// History is what clients of one cluster did and saw. All methods are safe for concurrent use. Get one from [New].
type History struct {
	now func() time.Time

	mu      sync.Mutex
	sends   []*Send
	readers []*Reader
	finals  map[incarnation]*Reader
	phases  map[cluster.TopicPartition]int            // of partitions whose topic was deleted, see turn
	known   map[cluster.TopicPartition]cluster.Offset // the highest offset that anybody has been told, -1 for none
	ends    map[cluster.TopicPartition]end            // the last end that a partition said that it has
	acks    map[string]int                            // acknowledged records by producer
	seen    []Anomaly                                 // what was wrong when it was recorded
	lastAck time.Time
	gap     time.Duration
}

// New returns an empty history. now is asked for the time of acknowledgements, for the longest gap between two.
func New(now func() time.Time) *History {
	return &History{now: now, finals: map[incarnation]*Reader{}, phases: map[cluster.TopicPartition]int{}, known: map[cluster.TopicPartition]cluster.Offset{}, ends: map[cluster.TopicPartition]end{}, acks: map[string]int{}}
}

// outcome is what became of a send.
type outcome int8

// The outcomes. A send that has failed may have been written all the same, and so may one whose outcome never came.
const (
	unknown outcome = iota
	acked
	failed
)

// Send is one record that a producer was given.
type Send struct {
	h        *History
	producer string
	tp       cluster.TopicPartition
	value    string
	floor    cluster.Offset // the highest offset known when the send began
	outcome  outcome
	offset   cluster.Offset // when acked
	err      error          // when failed
	sentIn   int            // the partition's phase when it was sent
	ackedIn  int            // and when it was acknowledged
}

// Send records that a producer is about to be given a record; call it before the producer is, and in the order in which records are given.
// Values must be unique in the history: they are how records are told apart.
func (h *History) Send(producer string, tp cluster.TopicPartition, value string) *Send {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Send{h: h, producer: producer, tp: tp, value: value, floor: h.knownLocked(tp), sentIn: h.phases[tp]}
	h.sends = append(h.sends, s)
	return s
}

// Acked records that the record was acknowledged at an offset; -1 says that the producer was not told which.
func (s *Send) Acked(offset cluster.Offset) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.outcome, s.offset, s.ackedIn = acked, offset, s.h.phases[s.tp]
	s.h.acks[s.producer]++
	if offset <= s.floor && offset >= 0 && s.ackedIn == 0 { // offsets begin anew with a new topic, and news of the old one may be late
		s.h.seen = append(s.h.seen, Anomaly{StaleAck, s.tp, fmt.Sprintf("%s was acknowledged at offset %d, and offset %d was known before it was sent", s.value, offset, s.floor)})
	}
	s.h.learnLocked(s.tp, offset)
	now := s.h.now()
	if !s.h.lastAck.IsZero() {
		s.h.gap = max(s.h.gap, now.Sub(s.h.lastAck))
	}
	s.h.lastAck = now
}

// Failed records that the producer gave the record up, written or not.
func (s *Send) Failed(err error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.outcome, s.err = failed, err
}

func (h *History) knownLocked(tp cluster.TopicPartition) cluster.Offset {
	if o, ok := h.known[tp]; ok {
		return o
	}
	return -1
}

func (h *History) learnLocked(tp cluster.TopicPartition, o cluster.Offset) {
	h.known[tp] = max(h.knownLocked(tp), o)
}

// end is where a partition ended, by the leader of an epoch.
type end struct {
	offset cluster.Offset
	epoch  cluster.LeaderEpoch
}

// End records where a partition ends for consumers, by the leader of an epoch. Call it in the order in which one client asked: neither may go back.
func (h *History) End(tp cluster.TopicPartition, offset cluster.Offset, epoch cluster.LeaderEpoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phases[tp]%2 != 0 {
		return // of the one or the other
	}
	if last, ok := h.ends[tp]; ok && (offset < last.offset || epoch < last.epoch) {
		h.seen = append(h.seen, Anomaly{EndBack, tp, fmt.Sprintf("it ends at offset %d in epoch %d, and ended at %d in epoch %d", offset, epoch, last.offset, last.epoch)})
	}
	h.ends[tp] = end{offset, epoch}
}

// Acknowledged returns how many records of a producer have been acknowledged so far.
func (h *History) Acknowledged(producer string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acks[producer]
}

// poll is one record that a reader got.
type poll struct {
	tp     cluster.TopicPartition
	offset cluster.Offset
	value  string
}

// Reader is one consumer that was assigned its partitions by hand and never sought: what it gets of a partition has to be the partition, from some
// offset on.
type Reader struct {
	h     *History
	name  string
	polls []poll
}

// Reader adds a consumer.
func (h *History) Reader(name string) *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Reader{h: h, name: name}
	h.readers = append(h.readers, r)
	return r
}

// Final adds the reader that reads a partition from its beginning to its end, when nothing is sent any more. The end is where the partition said
// that it ends, so that what is beyond it counts as lost. Before [History.Deleting] it may be read while something is sent.
func (h *History) Final(tp cluster.TopicPartition) *Reader {
	r := h.Reader("the last reader of " + tp.String())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finals[h.lives(tp)] = r
	return r
}

// Got records what the consumer was given, in that order.
func (r *Reader) Got(tp cluster.TopicPartition, offset cluster.Offset, value string) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.polls = append(r.polls, poll{tp, offset, value})
	r.h.learnLocked(tp, offset)
}

// Kind is a class of anomalies.
type Kind string

// The kinds of anomalies.
const (
	// InconsistentOffsets is one offset of a partition seen with two values.
	InconsistentOffsets Kind = "inconsistent-offsets"
	// Duplicate is one value at two offsets. Only a producer with idempotence promises that there is none.
	Duplicate Kind = "duplicate"
	// LostWrite is an acknowledged record that is not in the partition, although something behind it is.
	LostWrite Kind = "lost-write"
	// Unseen is an acknowledged record behind the end of the partition.
	Unseen Kind = "unseen"
	// Phantom is a record that nobody sent, or that was sent to another partition.
	Phantom Kind = "phantom"
	// NonmonotonicSend is an acknowledged record in front of one that its producer sent to the partition earlier.
	NonmonotonicSend Kind = "nonmonotonic-send"
	// NonmonotonicPoll is a reader that got an offset after a higher one, or again.
	NonmonotonicPoll Kind = "nonmonotonic-poll"
	// PollSkip is a reader that was not given an offset that exists.
	PollSkip Kind = "poll-skip"
	// Hole is an offset in the middle of a partition with nothing there.
	Hole Kind = "hole"
	// OldRecord is a record of a topic that was deleted, in a topic of the same name that was made later, or behind its records for a reader.
	OldRecord Kind = "old-record"
	// StaleAck is an acknowledged offset that had been used before the record was sent.
	StaleAck Kind = "stale-ack"
	// EndBack is a partition whose end, as far as consumers may read, went back: within an epoch its high watermark.
	EndBack Kind = "end-back"
	// DifferentReplicas are two replicas that hold different bytes below the high watermark, or too few.
	DifferentReplicas Kind = "different-replicas"
	// BrokenLog is a replica whose own file makes no sense: a checksum, a gap, a step back.
	BrokenLog Kind = "broken-log"
	// EpochBack is an epoch of a leader or of the controller that went back.
	EpochBack Kind = "epoch-back"
	// TwoLeaders are two leaders of a partition, or two controllers, in one epoch.
	TwoLeaders Kind = "two-leaders"
	// BadState is a leader outside the in-sync replicas, or in-sync replicas outside the replicas.
	BadState Kind = "bad-state"
)

// Anomaly is one thing that must not be.
type Anomaly struct {
	// Kind is its class.
	Kind Kind
	// TopicPartition is where; the zero value for an anomaly of controllers.
	TopicPartition cluster.TopicPartition
	// Text says what was seen.
	Text string
}

// String returns one line.
func (a Anomaly) String() string {
	if a.TopicPartition == (cluster.TopicPartition{}) {
		return fmt.Sprintf("%s: %s", a.Kind, a.Text)
	}
	return fmt.Sprintf("%s: %s: %s", a.Kind, a.TopicPartition, a.Text)
}

// Report is the verdict on a history.
type Report struct {
	// Anomalies that must not be, in the order of the checks.
	Anomalies []Anomaly
	// Sent, Acked, Failed are numbers of records given to producers, acknowledged, and given up. The rest has no outcome.
	Sent, Acked, Failed int
	// FirstError is why the first of those that failed did, in the order of sending; nil when none did.
	FirstError error
	// Read is the number of records that readers got before the last reading, Logged that of records in the partitions at the end.
	Read, Logged int
	// Lost is the number of acknowledged records that are not where they were acknowledged.
	Lost int
	// Duplicated is the number of records in the partitions beyond the first of each value, tolerated or not.
	Duplicated int
	// Gap is the longest time between two acknowledgements.
	Gap time.Duration
}

// String returns the numbers, and the first anomalies of each kind.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d acknowledged, %d failed, %d read, %d in the log; %d lost, %d duplicated; longest gap between acknowledgements %v",
		r.Sent, r.Acked, r.Failed, r.Read, r.Logged, r.Lost, r.Duplicated, r.Gap.Round(time.Millisecond))
	shown := map[Kind]int{}
	for _, a := range r.Anomalies {
		if shown[a.Kind]++; shown[a.Kind] <= 5 {
			fmt.Fprintf(&b, "\n%s", a)
		}
	}
	for k, n := range shown {
		if n > 5 {
			fmt.Fprintf(&b, "\n%s: %d more", k, n-5)
		}
	}
	return b.String()
}
