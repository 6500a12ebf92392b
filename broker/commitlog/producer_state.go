package commitlog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// producerMemory is what a log remembers of its producers (F§4.12, F§4.13), with the files that it is kept in. The state is that of
// everything below the log end offset whenever nobody has the append lock.
type producerMemory struct {
	// expirationMs is producer.id.expiration.ms; all logs share it.
	expirationMs *atomic.Int64
	// lastSnapshot is the offset of the newest snapshot file, -1 when there is none. Of whoever has the append lock.
	lastSnapshot cluster.Offset

	mu       sync.Mutex // never held over IO; changes of state also need the append lock, except expiry
	state    *producers.State
	unsynced []cluster.Offset // snapshot files that are not known to be on disk
}

// replace puts another state in the place of this one.
func (m *producerMemory) replace(state *producers.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = state
}

// checkProducer decides what becomes of a batch before it is written. Errors are those that the producer gets.
func (l *Log) checkProducer(b record.Batch, from producers.Origin) (dup producers.Duplicate, isDup bool, err error) {
	facts, err := producers.FactsOf(b)
	if err != nil {
		return dup, false, kerr.InvalidRecord.With(err.Error())
	}
	facts.FirstOffset = l.LogEndOffset() // for the message
	l.producers.mu.Lock()
	defer l.producers.mu.Unlock()
	return l.producers.state.Check(&facts, from)
}

// noteProducer enters a batch that was written to a segment into the state and, if it ends a transaction that does not count, into
// the segment's transaction index.
func (l *Log) noteProducer(seg *segment, b record.Batch) error {
	facts, err := producers.FactsOf(b)
	if err != nil {
		l.log.Warn("control batch cannot be read and changes nothing", "partition", l.tp.String(), "offset", b.BaseOffset(), "error", err)
	}
	l.producers.mu.Lock()
	done := l.producers.state.Apply(&facts)
	l.producers.mu.Unlock()
	if done.Stale {
		l.log.Warn("batch from a fenced producer or coordinator is in the log", "partition", l.tp.String(), "offset", b.BaseOffset(),
			"producer-id", b.ProducerID(), "producer-epoch", b.ProducerEpoch())
	}
	if !done.Aborted {
		return nil
	}
	created, err := seg.txn.append(done.Entry)
	if created {
		l.flush.names.Store(true)
	}
	return err
}

// LastStableOffset returns the offset below which everything is decided and replicated, given the high watermark: where
// read_committed consumers stop (F§4.13). It lies between the log start offset and hw, or is hw if that is lower. The log takes
// the occasion to forget completed transactions below hw, so whoever moves the high watermark calls it, with values that do not
// fall except after a truncation. It waits for no disk.
func (l *Log) LastStableOffset(hw cluster.Offset) cluster.Offset {
	start := l.LogStartOffset()
	m := &l.producers
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Replicated(hw)
	return m.state.LastStable(hw, start)
}

// AbortedTransactions returns the aborted transactions that a read_committed consumer must know of to read offsets from (included)
// to to (excluded), in the order of their markers; nil when there are none. Pass the offset asked for and the offset after
// what was read, which must not be beyond the last stable offset. It waits for no writer, except during a truncation. Errors are as with Read.
func (l *Log) AbortedTransactions(from, to cluster.Offset) ([]producers.AbortedTxn, error) {
	for {
		cuts := l.cuts.Load()
		if cuts%2 != 0 {
			l.awaitCut()
			continue
		}
		segments := *l.segments.Load()
		list, err := abortedIn(segments[segmentFor(segments, from):], from, to)
		if l.cuts.Load() == cuts && !(gone(err) && l.moved(segments)) {
			if err != nil {
				return nil, l.readError(err)
			}
			return list, nil
		}
	}
}

func abortedIn(segments []*segment, from, to cluster.Offset) (list []producers.AbortedTxn, err error) {
	for _, seg := range segments {
		var done bool
		if list, done, err = seg.txn.collect(list, from, to); err != nil || done {
			return list, err
		}
	}
	return list, nil
}

// OpenTransaction returns the first offset of the transaction that a producer has open in this partition under an epoch; ok is
// false when it has none.
func (l *Log) OpenTransaction(id cluster.ProducerID, epoch int16) (first cluster.Offset, ok bool) {
	l.producers.mu.Lock()
	defer l.producers.mu.Unlock()
	return l.producers.state.OpenTransaction(id, epoch)
}

// Producers describes the producers that the log remembers, in the order of their ids (KIP-664).
func (l *Log) Producers() []producers.Entry {
	l.producers.mu.Lock()
	defer l.producers.mu.Unlock()
	return l.producers.state.Entries()
}

// ExpireProducers forgets the producers that have not been heard of for producer.id.expiration.ms, by their timestamps and since the last call, and
// have no open transaction. It returns how many. The manager's loops call it.
func (l *Log) ExpireProducers(now time.Time) int {
	l.producers.mu.Lock()
	defer l.producers.mu.Unlock()
	return l.producers.state.ExpireSilent(now.UnixMilli(), l.producers.expirationMs.Load())
}

// expireProducers lets all logs of the directory forget producers.
func (d *logDir) expireProducers(now time.Time) {
	for _, l := range d.list() {
		if n := l.ExpireProducers(now); n > 0 {
			d.log.Debug("producers have expired", "partition", l.tp.String(), "producers", n)
		}
	}
}
