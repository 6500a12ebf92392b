package producer

import (
	"math"
	"slices"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// maxNumberedInFlight is how many batches of a partition may be unanswered with idempotence: as many as a leader remembers (F§4.12).
const maxNumberedInFlight = 5

// provenFor is how long a leader's knowledge of this producer is taken for granted while nothing is sent. It must be well below
// producer.id.expiration.ms.
const provenFor = time.Minute

// numbering is how the records of one partition are numbered with idempotence, so that its leader takes every batch once and in order (KIP-98). It
// is guarded by the partition's lock.
//
// A leader takes a batch of an epoch that it knows only with the next sequence number, and recognises the last five. It takes any batch of a
// producer that it does not know. From that follow the rules here:
//
//   - Until the leader has acknowledged a batch, and again after every failure, one batch is in flight at a time. So the leader knows the
//     producer whenever several are, and can tell whether one of them is missing.
//   - A batch keeps its numbers when it is sent again. OUT_OF_ORDER_SEQUENCE_NUMBER says that it is not the next one, and not among the last
//     five either. While an earlier batch is still to be sent again that is no news. Otherwise the batch is refused.
//   - A refused batch that no earlier attempt can have brought into the log is not there, and nothing behind it either. One that may be in the
//     log may also have been forgotten there, by a replica that came back with a snapshot of its last batch only. Then the batches behind it are
//     asked for: a single one that is acknowledged proves that all before it are in the log. If one of those cannot be asked for, because it has
//     failed for good, nobody can tell, and the refused batch fails too: nothing is written twice.
//   - What is known not to be in the log gets new numbers: from 0, in the next epoch (KIP-360). So does whatever comes behind a batch that has
//     failed for good, unless the numbers turn out not to be missing. A new epoch begins only with nothing in flight, and shuts out whatever of the
//     old one is still on its way.
type numbering struct {
	id     cluster.ProducerID // NoProducerID while there is none
	spent  cluster.ProducerID // an id that is not to be used here any more; NoProducerID at first
	fenced bool               // somebody else has used the id: the next numbers need another one
	epoch  int16
	next   int32     // sequence number of the next record that has none yet
	proven bool      // the leader has acknowledged a batch of this epoch since the last failure
	acked  uint64    // position of the last batch of this epoch that is known to be in the log
	at     time.Time // when that became known
	gap    uint64    // position of the last batch of this epoch that has failed for good
	blind  uint64    // of the last one of these that may be in the log
}

// advance adds to a sequence number; they wrap from 2147483647 to 0.
func advance(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// number gives a batch its numbers.
func (n *numbering) number(b *batch) {
	b.numbered, b.id, b.epoch, b.sequence = true, n.id, n.epoch, n.next
	n.next = advance(n.next, b.count)
}

// limitLocked returns how many batches may be in flight now.
func (p *partition) limitLocked() int {
	cfg := &p.topic.producer.cfg
	switch {
	case !cfg.idempotent:
		return cfg.perPartition()
	case !p.numbers.proven:
		return 1
	}
	return min(cfg.maxInFlight, maxNumberedInFlight)
}

// chooseLocked returns the place in the queue of the batch that is to be sent next, the queue's length for the open batch. ok is false when
// nothing may be sent before something lands or there is a producer id; then the partition is offered again. It may conclude batches.
func (p *partition) chooseLocked(now time.Time) (place int, ok bool) {
	n := &p.numbers
	for place < len(p.queue) && p.queue[place].refused {
		place++
	}
	fresh := place == len(p.queue) || !p.queue[place].numbered
	lost := place > 0 && (fresh || !p.queue[0].doubt) // the refused batches are not in the log
	missing := place == 0 && fresh && n.gap > n.acked
	if n.id >= 0 && !lost && !missing {
		if fresh && now.Sub(n.at) > provenFor {
			n.proven = false
		}
		return place, n.proven || len(p.flying) == 0
	}
	if len(p.flying) > 0 {
		return 0, false
	}
	for lost && p.queue[0].doubt && p.queue[0].first < n.blind {
		p.failLocked(p.queue[0], kerr.OutOfOrderSequenceNumber.With("the broker does not know this batch, which may be in the log all the same"))
		p.queue = p.queue[1:]
		p.backlog.Add(-1)
		if len(p.queue) == 0 || !p.queue[0].refused {
			return p.chooseLocked(now)
		}
	}
	if n.id >= 0 && n.epoch < math.MaxInt16 && !n.fenced {
		p.renumberLocked(n.id, n.epoch+1)
		return 0, true
	}
	if n.id >= 0 {
		n.id, n.spent = cluster.NoProducerID, n.id
	}
	id, ok := p.topic.producer.identity(n.spent)
	if ok {
		p.renumberLocked(id, 0)
	}
	return 0, ok
}

// renumberLocked begins an epoch. What has numbers already, and waits in the queue, gets others. Nothing is in flight.
func (p *partition) renumberLocked(id cluster.ProducerID, epoch int16) {
	p.numbers = numbering{id: id, spent: p.numbers.spent, epoch: epoch}
	for _, b := range p.queue {
		if b.numbered {
			p.numbers.number(b)
			b.doubt, b.refused, b.stale = false, false, b.data != nil
		}
	}
}

// moveLocked notes that another broker is the leader, which has to prove that it knows the producer, and may know what the last one did not.
func (p *partition) moveLocked() {
	p.numbers.proven = false
	for _, b := range p.queue {
		b.refused = false
	}
}

// acknowledgedLocked notes that a batch is in the log. It returns the refused batches that are there too, now that this is known; they are taken
// off the queue.
func (p *partition) acknowledgedLocked(b *batch, now time.Time) []*batch {
	n := &p.numbers
	if !b.numbered || b.id != n.id || b.epoch != n.epoch {
		return nil
	}
	n.proven = true
	n.acked, n.at = max(n.acked, b.first), now
	var found []*batch
	for len(p.queue) > 0 && p.queue[0].refused && p.queue[0].doubt && p.queue[0].first < n.acked {
		found = append(found, p.queue[0])
		p.queue = p.queue[1:]
	}
	p.backlog.Add(-int32(len(found)))
	return found
}

// missedLocked notes that a batch has failed for good: its numbers may be missing in the log.
func (p *partition) missedLocked(b *batch) {
	n := &p.numbers
	if b.numbered && b.id == n.id && b.epoch == n.epoch {
		n.gap = max(n.gap, b.first)
		if b.doubt {
			n.blind = max(n.blind, b.first)
		}
	}
}

// verdict is what a failed attempt means for a batch.
type verdict int8

const (
	byTheCode verdict = iota // the code alone decides
	sendAgain
	inTheLog // at an offset that nobody knows any more
)

// judgeLocked notes that an attempt to send a batch has failed, with this code. absent says that this attempt did not bring it into the log.
func (p *partition) judgeLocked(b *batch, code kerr.Code, absent bool) verdict {
	n := &p.numbers
	n.proven = false
	b.doubt = b.doubt || !absent
	if b.reported {
		return byTheCode
	}
	switch code {
	case kerr.DuplicateSequenceNumber:
		return inTheLog
	case kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID:
		if b.doubt && b.first < n.acked {
			return inTheLog
		}
		// An earlier batch is to be sent again: no wonder. If that one turns out to be in the log, this one is asked for again.
		b.refused = !slices.ContainsFunc(p.queue, func(q *batch) bool { return q.numbered && !q.refused && q.first < b.first })
		return sendAgain
	case kerr.InvalidProducerEpoch, kerr.ProducerFenced:
		n.fenced = n.fenced || b.id == n.id
	}
	return byTheCode
}

// refusal reports whether an answer with this code says that the batch was not appended. All other codes leave it open: they are also those of
// a leader that has appended a batch and then did not hear of enough replicas.
func refusal(code kerr.Code) bool {
	switch code {
	case kerr.NotEnoughReplicas, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.ProducerFenced,
		kerr.CorruptMessage, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.InvalidTopicException,
		kerr.InvalidRequiredAcks, kerr.InvalidRequest, kerr.UnsupportedForMessageFormat, kerr.UnsupportedCompressionType,
		kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.InvalidTxnState:
		return true
	}
	return false
}
