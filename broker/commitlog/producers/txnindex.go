package producers

import (
	"encoding/binary"
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
)

// AbortedTxnSize is the size in bytes of an entry of a .txnindex file. On disk: do not change.
const AbortedTxnSize = 34

const abortedTxnVersion = 0

// AbortedTxn is a transaction whose records do not count, as the transaction index of the segment with its marker has it
// (F§4.5, Kafka class AbortedTxn). An index is nothing but entries, in rising order of LastOffset:
//
//	| version i16 = 0 | producer id i64 | first offset i64 | last offset i64 | last stable offset i64 |
type AbortedTxn struct {
	// ProducerID is whose transaction it was.
	ProducerID cluster.ProducerID
	// FirstOffset is the transaction's first offset in this partition.
	FirstOffset cluster.Offset
	// LastOffset is the offset of the ABORT marker.
	LastOffset cluster.Offset
	// LastStableOffset is the last stable offset once the marker is replicated. Every transaction that ends later begins there
	// or after it, which is what ends a search.
	LastStableOffset cluster.Offset
}

// AppendTo appends the entry's bytes to p.
func (a AbortedTxn) AppendTo(p []byte) []byte {
	p = binary.BigEndian.AppendUint16(p, abortedTxnVersion)
	p = binary.BigEndian.AppendUint64(p, uint64(a.ProducerID))
	p = binary.BigEndian.AppendUint64(p, uint64(a.FirstOffset))
	p = binary.BigEndian.AppendUint64(p, uint64(a.LastOffset))
	return binary.BigEndian.AppendUint64(p, uint64(a.LastStableOffset))
}

// DecodeAbortedTxn reads the entry at the beginning of p. An error means that the index is damaged.
func DecodeAbortedTxn(p []byte) (AbortedTxn, error) {
	if len(p) < AbortedTxnSize {
		return AbortedTxn{}, fmt.Errorf("transaction index: an entry of %d bytes, want %d", len(p), AbortedTxnSize)
	}
	if v := int16(binary.BigEndian.Uint16(p)); v != abortedTxnVersion {
		return AbortedTxn{}, fmt.Errorf("transaction index: version %d, want %d", v, abortedTxnVersion)
	}
	a := AbortedTxn{
		ProducerID:       cluster.ProducerID(binary.BigEndian.Uint64(p[2:])),
		FirstOffset:      cluster.Offset(binary.BigEndian.Uint64(p[10:])),
		LastOffset:       cluster.Offset(binary.BigEndian.Uint64(p[18:])),
		LastStableOffset: cluster.Offset(binary.BigEndian.Uint64(p[26:])),
	}
	if a.ProducerID < 0 || a.FirstOffset < 0 || a.LastOffset <= a.FirstOffset || a.LastStableOffset < 0 || a.LastStableOffset-1 > a.LastOffset {
		return AbortedTxn{}, fmt.Errorf("transaction index: producer id %d aborted offsets %d to %d, last stable offset %d: impossible", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStableOffset)
	}
	return a, nil
}

// CheckTxnIndex checks the whole content of the index of a segment with the given base: entries that are whole, possible,
// in order, and of this segment. It returns the number of entries and the last one. An error means that the index is
// damaged.
func CheckTxnIndex(p []byte, base cluster.Offset) (n int, last AbortedTxn, err error) {
	if len(p)%AbortedTxnSize != 0 {
		return 0, last, fmt.Errorf("transaction index: %d bytes are no multiple of %d", len(p), AbortedTxnSize)
	}
	before := base - 1
	for ; len(p) > 0; p = p[AbortedTxnSize:] {
		if last, err = DecodeAbortedTxn(p); err != nil {
			return 0, last, fmt.Errorf("entry %d: %w", n, err)
		}
		if last.LastOffset <= before {
			return 0, last, fmt.Errorf("transaction index: entry %d ends at offset %d, not after %d", n, last.LastOffset, before)
		}
		before = last.LastOffset
		n++
	}
	return n, last, nil
}

// Overlaps reports whether a consumer that reads offsets from (included) to to (excluded) must know of the transaction.
func (a AbortedTxn) Overlaps(from, to cluster.Offset) bool {
	return a.LastOffset >= from && a.FirstOffset < to
}

// EndsSearch reports whether no later entry, in this index or those of later segments, can begin before to.
func (a AbortedTxn) EndsSearch(to cluster.Offset) bool { return a.LastStableOffset >= to }
