package compact

import (
	"cmp"
	"slices"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// txns follows the transactions of a log while its batches go by in order (Kafka class CleanedTransactionMetadata).
type txns struct {
	aborted   []producers.AbortedTxn // still to come, by first offset
	ongoing   map[cluster.ProducerID]*ongoing
	committed map[cluster.ProducerID]bool // has data since its last marker that counts
}

// ongoing is an aborted transaction whose marker is still to come.
type ongoing struct {
	entry producers.AbortedTxn
	seen  bool // a batch of it went by
}

func newTxns(aborted []producers.AbortedTxn) txns {
	list := slices.Clone(aborted)
	slices.SortStableFunc(list, func(a, b producers.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return txns{aborted: list, ongoing: map[cluster.ProducerID]*ongoing{}, committed: map[cluster.ProducerID]bool{}}
}

// advance begins the aborted transactions whose first offset is not beyond offset.
func (t *txns) advance(offset int64) {
	for len(t.aborted) > 0 && int64(t.aborted[0].FirstOffset) <= offset {
		a := t.aborted[0]
		t.aborted = t.aborted[1:]
		if t.ongoing[a.ProducerID] == nil {
			t.ongoing[a.ProducerID] = &ongoing{entry: a}
		}
	}
}

// data reports whether a batch of records belongs to an aborted transaction.
func (t *txns) data(b record.Batch) bool {
	t.advance(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	id := cluster.ProducerID(b.ProducerID())
	if o := t.ongoing[id]; o != nil {
		o.seen = true
		return true
	}
	t.committed[id] = true
	return false
}

// control reports whether a control batch is of no use any more: no batch of its transaction has gone by, so that none is in the log. For
// the marker of an aborted transaction that is still of use, entry is what the transaction index says of it.
func (t *txns) control(b record.Batch) (useless bool, entry *producers.AbortedTxn, err error) {
	t.advance(b.LastOffset())
	if b.Count() == 0 {
		return true, nil, nil
	}
	m, err := record.ParseMarker(b)
	if err != nil {
		return false, nil, err
	}
	id := cluster.ProducerID(m.ProducerID)
	switch m.Type {
	case record.Abort:
		o := t.ongoing[id]
		delete(t.ongoing, id)
		if o != nil && o.seen {
			return false, &o.entry, nil
		}
		return true, nil, nil
	case record.Commit:
		had := t.committed[id]
		delete(t.committed, id)
		return !had, nil, nil
	}
	return false, nil, nil
}
