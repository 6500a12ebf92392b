package producers

import (
	"fmt"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Origin says who hands a batch to the log, and with that how much of it is checked (Kafka class AppendOrigin).
type Origin uint8

const (
	// Client is a producer: epoch and sequence numbers are checked.
	Client Origin = iota
	// Coordinator is a group or transaction coordinator in this process: its batches have no sequence numbers, so only
	// epochs are checked.
	Coordinator
	// Replication is the leader's log, or this log itself on the way up: everything is taken as it comes.
	Replication
)

// String returns the name in lower case.
func (o Origin) String() string {
	switch o {
	case Client:
		return "client"
	case Coordinator:
		return "coordinator"
	case Replication:
		return "replication"
	}
	return fmt.Sprintf("Origin(%d)", uint8(o))
}

// Kind says what a batch means to the state.
type Kind uint8

const (
	// Data is a batch of records.
	Data Kind = iota
	// CommitMarker ends a transaction whose records count.
	CommitMarker
	// AbortMarker ends a transaction whose records do not count.
	AbortMarker
	// Opaque is a control batch that changes nothing: one that compaction emptied, or of a type that is not known.
	Opaque
)

// Facts is what the state must know about one batch.
type Facts struct {
	// ProducerID is the producer; NoProducerID when the batch comes from none that has an id.
	ProducerID cluster.ProducerID
	// Epoch is the producer's epoch, from 0.
	Epoch int16
	// Kind says whether the batch is data or a marker.
	Kind Kind
	// Transactional says that data belongs to a transaction.
	Transactional bool
	// FirstSequence and LastSequence number the records of data; -1 when a coordinator wrote it.
	FirstSequence, LastSequence int32
	// FirstOffset and LastOffset are where the batch is in the log, or is going to be.
	FirstOffset, LastOffset cluster.Offset
	// Timestamp is the batch's largest timestamp, in milliseconds; of a marker, when it was written.
	Timestamp int64
	// CoordinatorEpoch is the epoch of the coordinator that wrote a marker.
	CoordinatorEpoch int32
}

// irrelevant reports whether a batch means nothing to the state.
func (f *Facts) irrelevant() bool { return f.ProducerID < 0 || f.Epoch < 0 || f.Kind == Opaque }

// FactsOf reads the facts out of a batch. Of data the header is enough; a control batch must be there as a whole. The error is a
// [*record.CorruptError]: a control batch cannot be read; the facts then call it Opaque.
func FactsOf(b record.Batch) (Facts, error) {
	f := Facts{
		ProducerID:    cluster.ProducerID(b.ProducerID()),
		Epoch:         b.ProducerEpoch(),
		Transactional: b.IsTransactional(),
		FirstSequence: b.BaseSequence(),
		LastSequence:  b.LastSequence(),
		FirstOffset:   cluster.Offset(b.BaseOffset()),
		LastOffset:    cluster.Offset(b.LastOffset()),
		Timestamp:     b.MaxTimestamp(),
	}
	if !b.IsControl() {
		return f, nil
	}
	f.Kind = Opaque
	if b.Count() == 0 || !b.HasProducerID() {
		return f, nil
	}
	m, err := record.ParseMarker(b)
	if err != nil {
		return f, err
	}
	switch m.Type {
	case record.Commit:
		f.Kind = CommitMarker
	case record.Abort:
		f.Kind = AbortMarker
	}
	f.Timestamp, f.CoordinatorEpoch = m.Timestamp, m.CoordinatorEpoch
	return f, nil
}
