package producers

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// BatchesKept is how many batches of a producer are remembered: as many as a producer may have in flight.
const BatchesKept = 5

const (
	noEpoch            int16 = -1
	noSequence         int32 = -1
	noCoordinatorEpoch int32 = -1
)

// State is what a partition remembers of its producers below some offset. The zero value is the state of an empty log. It is
// for one goroutine at a time; only reads may run side by side.
//
// Invariants: a producer has at most one open transaction; open holds exactly those, in rising order of their first offsets;
// done rises strictly in both of its offsets.
type State struct {
	producers map[cluster.ProducerID]*producer
	open      []openTxn
	done      []doneTxn
}

// producer is what is remembered of one producer id. There is none without an epoch.
type producer struct {
	epoch            int16
	coordinatorEpoch int32          // of the last marker; -1 before the first
	timestamp        int64          // of the last batch or marker
	txnFirst         cluster.Offset // of the open transaction; -1 when there is none
	active           bool           // a batch has come since the last ExpireSilent
	batches          []batch        // of this epoch, the last BatchesKept, oldest first
}

// batch is a data batch that was appended.
type batch struct {
	lastSequence int32
	delta        int32 // last offset minus first, and last sequence minus first
	lastOffset   cluster.Offset
	timestamp    int64
}

func (b *batch) firstOffset() cluster.Offset { return b.lastOffset - cluster.Offset(b.delta) }

// firstSequence counts back from the last one; numbers wrap from 0 to 2147483647.
func (b *batch) firstSequence() int32 {
	if b.lastSequence >= b.delta {
		return b.lastSequence - b.delta
	}
	return math.MaxInt32 - (b.delta - b.lastSequence) + 1
}

func (p *producer) lastSequence() int32 {
	if n := len(p.batches); n > 0 {
		return p.batches[n-1].lastSequence
	}
	return noSequence
}

// setEpoch forgets the batches of another epoch.
func (p *producer) setEpoch(epoch int16) {
	if p.epoch != epoch {
		p.epoch, p.batches = epoch, p.batches[:0]
	}
}

// push remembers a batch and forgets the oldest when there are too many.
func (p *producer) push(b batch) {
	if len(p.batches) == BatchesKept {
		copy(p.batches, p.batches[1:])
		p.batches[BatchesKept-1] = b
		return
	}
	p.batches = append(p.batches, b)
}

// Duplicate says where a batch was appended the first time.
type Duplicate struct {
	// FirstOffset and LastOffset are the offsets that the producer was answered with, or should have been.
	FirstOffset, LastOffset cluster.Offset
	// Timestamp is the largest timestamp of the batch that is in the log, in milliseconds.
	Timestamp int64
}

// Check decides what becomes of a batch before it is written (F§4.12, Kafka class ProducerAppendInfo). It changes nothing.
//
//	a client's data that is remembered exactly     → duplicate, to be answered with the first one's place and not appended
//	anything from replication                      → take it
//	epoch below the producer's                     → INVALID_PRODUCER_EPOCH
//	marker with a lower coordinator epoch          → TRANSACTION_COORDINATOR_FENCED
//	a client's data, producer unknown              → take it, whatever the sequence: its state may have expired
//	a client's data, higher epoch, sequence not 0  → OUT_OF_ORDER_SEQUENCE_NUMBER
//	a client's data, not the next sequence         → OUT_OF_ORDER_SEQUENCE_NUMBER, also for duplicates too old to be remembered
//	data outside the transaction that is open      → INVALID_TXN_STATE
//	everything else                                → take it
//
// Errors are [*kerr.Error]. The batch's offsets are used in their texts only.
func (s *State) Check(f *Facts, from Origin) (dup Duplicate, isDup bool, err error) {
	if f.irrelevant() || from == Replication {
		return dup, false, nil
	}
	p := s.producers[f.ProducerID]
	if p == nil {
		return dup, false, nil
	}
	if from == Client && f.Kind == Data {
		if dup, ok := p.find(f); ok {
			return dup, true, nil
		}
	}
	if f.Epoch < p.epoch {
		return dup, false, kerr.InvalidProducerEpoch.With(fmt.Sprintf("epoch %d of producer id %d at offset %d is smaller than the last seen epoch %d", f.Epoch, f.ProducerID, f.FirstOffset, p.epoch))
	}
	if f.Kind != Data {
		if f.CoordinatorEpoch < p.coordinatorEpoch {
			return dup, false, kerr.TransactionCoordinatorFenced.With(fmt.Sprintf("marker for producer id %d at offset %d has the coordinator epoch %d, the last seen is %d", f.ProducerID, f.FirstOffset, f.CoordinatorEpoch, p.coordinatorEpoch))
		}
		return dup, false, nil
	}
	if from == Client {
		if err := p.checkSequence(f); err != nil {
			return dup, false, err
		}
	}
	if p.txnFirst >= 0 && !f.Transactional {
		return dup, false, kerr.InvalidTxnState.With(fmt.Sprintf("batch of producer id %d at offset %d is not transactional, but a transaction is open since offset %d", f.ProducerID, f.FirstOffset, p.txnFirst))
	}
	return dup, false, nil
}

// find returns the remembered batch that has exactly the same epoch and sequence numbers.
func (p *producer) find(f *Facts) (Duplicate, bool) {
	if f.Epoch != p.epoch {
		return Duplicate{}, false
	}
	for i := range p.batches {
		b := &p.batches[i]
		if b.lastSequence == f.LastSequence && b.firstSequence() == f.FirstSequence {
			return Duplicate{FirstOffset: b.firstOffset(), LastOffset: b.lastOffset, Timestamp: b.timestamp}, true
		}
	}
	return Duplicate{}, false
}

// checkSequence wants the sequence number after the last one; 0 in a new epoch.
func (p *producer) checkSequence(f *Facts) error {
	if f.Epoch != p.epoch {
		if f.FirstSequence == 0 {
			return nil
		}
		return kerr.OutOfOrderSequenceNumber.With(fmt.Sprintf("producer id %d at offset %d begins its epoch %d with the sequence number %d, its epoch was %d", f.ProducerID, f.FirstOffset, f.Epoch, f.FirstSequence, p.epoch))
	}
	last := p.lastSequence()
	if last == math.MaxInt32 && f.FirstSequence == 0 || last != math.MaxInt32 && f.FirstSequence == last+1 {
		return nil
	}
	return kerr.OutOfOrderSequenceNumber.With(fmt.Sprintf("producer id %d at offset %d has the sequence number %d, the last seen is %d", f.ProducerID, f.FirstOffset, f.FirstSequence, last))
}

// Applied says what a batch did to the state.
type Applied struct {
	// Stale says that the batch had a lower producer or coordinator epoch than the one before it. A leader's Check refuses such
	// batches, so one in a log that is replicated or replayed is worth a warning.
	Stale bool
	// Aborted says that the batch ended a transaction that had data in this partition and does not count: Entry belongs into
	// the transaction index of the segment that holds the batch.
	Aborted bool
	// Entry is the aborted transaction.
	Entry AbortedTxn
}

// Apply notes a batch that is in the log now. Batches come in the order of their offsets. It does not ask Check: what is in the
// log counts, whatever one thinks of it.
func (s *State) Apply(f *Facts) Applied {
	var done Applied
	if f.irrelevant() {
		return done
	}
	p := s.producers[f.ProducerID]
	if p == nil {
		if s.producers == nil {
			s.producers = map[cluster.ProducerID]*producer{}
		}
		p = &producer{epoch: noEpoch, coordinatorEpoch: noCoordinatorEpoch, txnFirst: cluster.UnknownOffset}
		s.producers[f.ProducerID] = p
	}
	done.Stale = f.Epoch < p.epoch || f.Kind != Data && f.CoordinatorEpoch < p.coordinatorEpoch
	p.setEpoch(f.Epoch)
	p.timestamp, p.active = f.Timestamp, true
	if f.Kind == Data {
		p.push(batch{lastSequence: f.LastSequence, delta: int32(f.LastOffset - f.FirstOffset), lastOffset: f.LastOffset, timestamp: f.Timestamp})
		if f.Transactional && p.txnFirst < 0 {
			p.txnFirst = f.FirstOffset
			s.begin(openTxn{first: f.FirstOffset, id: f.ProducerID})
		}
		return done
	}
	p.coordinatorEpoch = f.CoordinatorEpoch
	if p.txnFirst < 0 {
		return done // a marker for a transaction without data in this partition
	}
	stable := s.complete(p.txnFirst, f.LastOffset)
	if f.Kind == AbortMarker {
		done.Aborted = true
		done.Entry = AbortedTxn{ProducerID: f.ProducerID, FirstOffset: p.txnFirst, LastOffset: f.LastOffset, LastStableOffset: stable}
	}
	p.txnFirst = cluster.UnknownOffset
	return done
}

// Len returns the number of producers that are remembered.
func (s *State) Len() int { return len(s.producers) }

// Empty reports whether there is nothing to remember.
func (s *State) Empty() bool { return len(s.producers) == 0 && len(s.done) == 0 }

// OpenTransaction returns the first offset of the transaction that a producer has open in this partition under an epoch. It is
// how a leader knows that a transaction was verified with its coordinator before (KIP-890).
func (s *State) OpenTransaction(id cluster.ProducerID, epoch int16) (first cluster.Offset, ok bool) {
	if p := s.producers[id]; p != nil && p.epoch == epoch && p.txnFirst >= 0 {
		return p.txnFirst, true
	}
	return cluster.UnknownOffset, false
}

// Expire forgets the producers whose last batch or marker is at least as old as producer.id.expiration.ms, both in milliseconds,
// and returns how many. A producer with an open transaction is kept: it is needed to end it.
func (s *State) Expire(now, expirationMs int64) int {
	n := len(s.producers)
	maps.DeleteFunc(s.producers, func(_ cluster.ProducerID, p *producer) bool {
		return p.txnFirst < 0 && expired(p.timestamp, now, expirationMs)
	})
	return n - len(s.producers)
}

// ExpireSilent is [State.Expire] for producers of which no batch or marker has come since the last call: one that writes is not forgotten, however old
// its records say that they are.
func (s *State) ExpireSilent(now, expirationMs int64) int {
	n := len(s.producers)
	maps.DeleteFunc(s.producers, func(_ cluster.ProducerID, p *producer) bool {
		active := p.active
		p.active = false
		return !active && p.txnFirst < 0 && expired(p.timestamp, now, expirationMs)
	})
	return n - len(s.producers)
}

func expired(timestamp, now, expirationMs int64) bool { return timestamp <= now-expirationMs }

// Entry describes one producer, as a snapshot holds it and as DescribeProducers answers (KIP-664).
type Entry struct {
	// ProducerID is the producer.
	ProducerID cluster.ProducerID
	// Epoch is its last epoch.
	Epoch int16
	// LastSequence is the sequence number of the last record of its last batch; -1 when none of this epoch is remembered.
	LastSequence int32
	// LastOffset is where that record is; -1 when no batch of this epoch is remembered.
	LastOffset cluster.Offset
	// OffsetDelta is LastOffset minus the first offset of that batch.
	OffsetDelta int32
	// Timestamp is the largest timestamp of the last batch, or the last marker's, in milliseconds.
	Timestamp int64
	// CoordinatorEpoch is the epoch of the coordinator that wrote the last marker; -1 when there was none.
	CoordinatorEpoch int32
	// TxnFirstOffset is the first offset of the open transaction; -1 when none is open.
	TxnFirstOffset cluster.Offset
}

// Entries describes all producers, in the order of their ids.
func (s *State) Entries() []Entry {
	entries := make([]Entry, 0, len(s.producers))
	for id, p := range s.producers {
		e := Entry{
			ProducerID: id, Epoch: p.epoch, LastSequence: noSequence, LastOffset: cluster.UnknownOffset,
			Timestamp: p.timestamp, CoordinatorEpoch: p.coordinatorEpoch, TxnFirstOffset: p.txnFirst,
		}
		if n := len(p.batches); n > 0 {
			last := p.batches[n-1]
			e.LastSequence, e.LastOffset, e.OffsetDelta = last.lastSequence, last.lastOffset, last.delta
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return entries
}

// Restore returns the state below an offset that a snapshot of that offset describes, without the producers that have expired
// since. A snapshot has one timestamp for a producer, so a last batch that a marker followed comes back with the marker's. Entries that cannot be the state below the offset are an error: the snapshot is not to be used.
func Restore(entries []Entry, end cluster.Offset, now, expirationMs int64) (*State, error) {
	s := &State{producers: make(map[cluster.ProducerID]*producer, len(entries))}
	for i := range entries {
		e := &entries[i]
		if err := e.check(end); err != nil {
			return nil, err
		}
		if _, ok := s.producers[e.ProducerID]; ok {
			return nil, fmt.Errorf("producer snapshot of offset %d: producer id %d occurs twice", end, e.ProducerID)
		}
		p := &producer{epoch: e.Epoch, coordinatorEpoch: e.CoordinatorEpoch, timestamp: e.Timestamp, txnFirst: e.TxnFirstOffset}
		if e.LastOffset >= 0 {
			p.batches = []batch{{lastSequence: e.LastSequence, delta: e.OffsetDelta, lastOffset: e.LastOffset, timestamp: e.Timestamp}}
		}
		s.producers[e.ProducerID] = p
		if p.txnFirst >= 0 {
			s.open = append(s.open, openTxn{first: p.txnFirst, id: e.ProducerID})
		}
	}
	slices.SortFunc(s.open, openTxn.compare)
	for i := 1; i < len(s.open); i++ {
		if a, b := s.open[i-1], s.open[i]; a.first == b.first {
			return nil, fmt.Errorf("producer snapshot of offset %d: producer ids %d and %d both have a transaction open since offset %d", end, a.id, b.id, a.first)
		}
	}
	s.Expire(now, expirationMs)
	return s, nil
}

// check reports what of an entry cannot be in a snapshot of an offset. Numbers that no other number depends on may be anything:
// what a replicated batch says is taken as it comes.
func (e *Entry) check(end cluster.Offset) error {
	var bad string
	switch {
	case e.ProducerID < 0:
		bad = "the id is negative"
	case e.Epoch < 0:
		bad = fmt.Sprintf("the epoch is %d", e.Epoch)
	case e.LastOffset < cluster.UnknownOffset || e.LastOffset >= end || e.OffsetDelta < 0 || e.LastOffset >= 0 && int64(e.OffsetDelta) > int64(e.LastOffset):
		bad = fmt.Sprintf("the last batch ends at offset %d and has %d more", e.LastOffset, e.OffsetDelta)
	case e.TxnFirstOffset < cluster.UnknownOffset || e.TxnFirstOffset >= end:
		bad = fmt.Sprintf("a transaction is open since offset %d", e.TxnFirstOffset)
	default:
		return nil
	}
	return fmt.Errorf("producer snapshot of offset %d: producer id %d: %s", end, e.ProducerID, bad)
}
