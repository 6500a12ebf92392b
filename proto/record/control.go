package record

import (
	"encoding/binary"
	"fmt"

	"github.com/ottla/ottla/proto/kerr"
)

// MarkerType says how a transaction ended. On disk and on the wire: do not change.
type MarkerType int16

const (
	// Abort says that the producer's records of the transaction do not count.
	Abort MarkerType = 0
	// Commit says that they count.
	Commit MarkerType = 1
)

// String returns ABORT or COMMIT.
func (t MarkerType) String() string {
	switch t {
	case Abort:
		return "ABORT"
	case Commit:
		return "COMMIT"
	}
	return fmt.Sprintf("control type %d", int16(t))
}

// Marker is the end of a transaction as a partition's log records it: a batch with the control bit and one record
// (KIP-98, Kafka classes ControlRecordType and EndTransactionMarker). It takes an offset; consumers never see it.
type Marker struct {
	// Type is [Commit] or [Abort].
	Type MarkerType
	// ProducerID is whose transaction ended.
	ProducerID int64
	// ProducerEpoch is the epoch of the transaction, or a higher one that fences its producer.
	ProducerEpoch int16
	// CoordinatorEpoch is the leader epoch of the coordinator's partition; markers from an older coordinator are refused.
	CoordinatorEpoch int32
	// Timestamp is when the marker was written, in milliseconds.
	Timestamp int64
}

// Sizes and versions of a marker's key (version, type) and value (version, coordinator epoch).
const (
	markerVersion   = 0
	markerKeySize   = 4
	markerValueSize = 6
)

// ControlBatch returns a new batch that holds the marker alone, with base offset 0 and leader epoch -1.
func ControlBatch(m Marker) Batch {
	var key [markerKeySize]byte
	binary.BigEndian.PutUint16(key[0:], markerVersion)
	binary.BigEndian.PutUint16(key[2:], uint16(m.Type))
	var value [markerValueSize]byte
	binary.BigEndian.PutUint16(value[0:], markerVersion)
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))

	var b Builder
	b.Reset(make([]byte, 0, HeaderSize+UncompressedSize(key[:], value[:], nil)))
	b.Append(m.Timestamp, key[:], value[:], nil)
	batch := Batch(b.buf)
	h := header{
		leaderEpoch:   unknownLeader,
		attributes:    transactionalBit | controlBit,
		baseTimestamp: m.Timestamp,
		maxTimestamp:  m.Timestamp,
		producerID:    m.ProducerID,
		producerEpoch: m.ProducerEpoch,
		baseSequence:  noSequence,
		count:         1,
	}
	h.put(batch)
	return batch
}

// ParseMarker is the inverse of [ControlBatch]. Later versions of key and value may be longer and are read as far as they
// are known; control types other than [Abort] and [Commit] exist in Kafka and are returned as they are. The error is a
// [*CorruptError].
func ParseMarker(b Batch) (Marker, error) {
	if !b.IsControl() || b.Count() != 1 {
		return Marker{}, corrupt(kerr.InvalidRecord, "batch with %d records and control bit %t is not a transaction marker", b.Count(), b.IsControl())
	}
	var it Iterator
	it.Reset(b, nil)
	if !it.Next() {
		return Marker{}, it.Err()
	}
	rec := *it.Record()
	if it.Next(); it.Err() != nil {
		return Marker{}, it.Err()
	}
	if len(rec.Key) < markerKeySize || int16(binary.BigEndian.Uint16(rec.Key)) < markerVersion {
		return Marker{}, corrupt(kerr.InvalidRecord, "control record key %x has no version and type", rec.Key)
	}
	m := Marker{
		Type:          MarkerType(binary.BigEndian.Uint16(rec.Key[2:])),
		ProducerID:    b.ProducerID(),
		ProducerEpoch: b.ProducerEpoch(),
		Timestamp:     rec.Timestamp,
	}
	if m.Type != Abort && m.Type != Commit {
		return m, nil
	}
	if len(rec.Value) < markerValueSize || int16(binary.BigEndian.Uint16(rec.Value)) < markerVersion {
		return Marker{}, corrupt(kerr.InvalidRecord, "%s marker's value %x has no version and coordinator epoch", m.Type, rec.Value)
	}
	m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(rec.Value[2:]))
	return m, nil
}
