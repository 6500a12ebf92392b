package wire

import (
	"bytes"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// FetchResponse is ottla.v1.FetchResponse.
type FetchResponse struct {
	// Topics holds the partitions that have something to say.
	Topics []FetchTopic
	// ThrottleTimeMs is how long the broker delayed the answer because of a quota, in milliseconds.
	ThrottleTimeMs int32

	pooled bool    // is received into a slab of Pool, see FetchStream.RecvInto
	slab   *[]byte // of Pool; nil when nothing was received into one
}

// Release gives the memory of an answer back that [FetchStream.RecvInto] has received: nothing in it may be used any more. It does nothing to other
// answers.
func (r *FetchResponse) Release() {
	if r.slab != nil {
		Pool.Put(r.slab)
	}
	*r = FetchResponse{}
}

// FetchTopic is ottla.v1.FetchableTopic.
type FetchTopic struct {
	// Name of the topic.
	Name string
	// Partitions holds the answers.
	Partitions []FetchPartition
}

// FetchPartition is ottla.v1.FetchablePartition.
type FetchPartition struct {
	// Index of the partition.
	Index int32
	// ErrorCode is the outcome.
	ErrorCode kerr.Code
	// FetchOffset is the position that the answer was read from.
	FetchOffset cluster.Offset
	// HighWatermark is -1 with an error.
	HighWatermark cluster.Offset
	// LastStableOffset is -1 with an error.
	LastStableOffset cluster.Offset
	// LogStartOffset is -1 when unknown.
	LogStartOffset cluster.Offset
	// Aborted lists the transactions that a read_committed consumer must skip.
	Aborted []Aborted
	// PreferredReadReplica is the broker to read from instead; [cluster.NoBroker] for none.
	PreferredReadReplica cluster.BrokerID
	// Diverging is set when a follower's log differs from the leader's.
	Diverging *EpochEnd
	// CurrentLeader is a hint that comes with some errors; nil when there is none.
	CurrentLeader *LeaderHint
	// Records is zero or more whole record batches. In a received answer it aliases memory that lives as long as anybody points to it.
	Records []byte
	// Owner keeps Records alive while gRPC sends them; the codec takes its own reference and the sender drops its own after SendMsg. It
	// must hold exactly the bytes of Records. nil means that nobody changes Records. Unused in a received answer.
	Owner mem.Buffer
}

// Aborted is ottla.v1.AbortedTransaction.
type Aborted struct {
	// ProducerID of the transaction.
	ProducerID cluster.ProducerID
	// FirstOffset of the transaction in the partition.
	FirstOffset cluster.Offset
}

// EpochEnd is ottla.v1.EpochEndOffset.
type EpochEnd struct {
	// Epoch is -1 when undefined.
	Epoch cluster.LeaderEpoch
	// EndOffset is -1 when undefined.
	EndOffset cluster.Offset
}

// LeaderHint is ottla.v1.LeaderHint.
type LeaderHint struct {
	// Leader is [cluster.NoBroker] for none.
	Leader cluster.BrokerID
	// Epoch is -1 when unknown.
	Epoch cluster.LeaderEpoch
}

func zig[T ~int16 | ~int32 | ~int64](v T) uint64 { return protowire.EncodeZigZag(int64(v)) }

func (a Aborted) size() int {
	return sizeVarint(1, zig(a.ProducerID)) + sizeVarint(2, zig(a.FirstOffset))
}

func (d *EpochEnd) size() int {
	return sizeVarint(1, zig(d.Epoch)) + sizeVarint(2, zig(d.EndOffset))
}

func (h *LeaderHint) size() int {
	return sizeVarint(1, zig(h.Leader)) + sizeVarint(2, zig(h.Epoch))
}

func (p *FetchPartition) size() int {
	n := sizeVarint(1, uint64(p.Index)) + sizeVarint(2, zig(p.ErrorCode)) + sizeVarint(3, zig(p.FetchOffset)) +
		sizeVarint(4, zig(p.HighWatermark)) + sizeVarint(5, zig(p.LastStableOffset)) + sizeVarint(6, zig(p.LogStartOffset)) +
		sizeVarint(8, zig(p.PreferredReadReplica)) + sizeBytes(11, len(p.Records))
	for _, a := range p.Aborted {
		n += sizeMessage(7, a.size())
	}
	if p.Diverging != nil {
		n += sizeMessage(9, p.Diverging.size())
	}
	if p.CurrentLeader != nil {
		n += sizeMessage(10, p.CurrentLeader.size())
	}
	return n
}

func (t *FetchTopic) size() int {
	n := sizeBytes(1, len(t.Name))
	for i := range t.Partitions {
		n += sizeMessage(2, t.Partitions[i].size())
	}
	return n
}

func (r *FetchResponse) marshalWire() mem.BufferSlice {
	size, payload := sizeVarint(2, uint64(r.ThrottleTimeMs)), 0
	for i := range r.Topics {
		size += sizeMessage(1, r.Topics[i].size())
		for j := range r.Topics[i].Partitions {
			payload += len(r.Topics[i].Partitions[j].Records)
		}
	}
	e := encoder{small: make([]byte, 0, size-payload)}
	for i := range r.Topics {
		t := &r.Topics[i]
		e.open(1, t.size())
		e.str(1, t.Name)
		for j := range t.Partitions {
			t.Partitions[j].encode(&e)
		}
	}
	e.varint(2, uint64(r.ThrottleTimeMs))
	e.cut()
	return e.pieces
}

func (p *FetchPartition) encode(e *encoder) {
	e.open(2, p.size())
	e.varint(1, uint64(p.Index))
	e.varint(2, zig(p.ErrorCode))
	e.varint(3, zig(p.FetchOffset))
	e.varint(4, zig(p.HighWatermark))
	e.varint(5, zig(p.LastStableOffset))
	e.varint(6, zig(p.LogStartOffset))
	for _, a := range p.Aborted {
		e.open(7, a.size())
		e.varint(1, zig(a.ProducerID))
		e.varint(2, zig(a.FirstOffset))
	}
	e.varint(8, zig(p.PreferredReadReplica))
	if d := p.Diverging; d != nil {
		e.open(9, d.size())
		e.varint(1, zig(d.Epoch))
		e.varint(2, zig(d.EndOffset))
	}
	if h := p.CurrentLeader; h != nil {
		e.open(10, h.size())
		e.varint(1, zig(h.Leader))
		e.varint(2, zig(h.Epoch))
	}
	if len(p.Records) > 0 {
		e.open(11, len(p.Records))
		e.payload(p.Records, p.Owner)
	}
}

func (r *FetchResponse) unmarshalWire(data mem.BufferSlice) error {
	slab := r.gather(data)
	total := 0
	return eachField(slab, "FetchResponse", fields(1), func(f field) error {
		switch f.num {
		case 1:
			name, partitions, err := decodeTopic(f.bytes, "FetchableTopic", &total, decodeFetchPartition)
			if err != nil {
				return err
			}
			r.Topics = append(r.Topics, FetchTopic{name, partitions})
		case 2:
			r.ThrottleTimeMs = f.int32()
		}
		return nil
	})
}

// gather empties the answer and copies what was received into one piece of memory.
func (r *FetchResponse) gather(data mem.BufferSlice) []byte {
	if r.pooled {
		slab := Pool.Get(data.Len())
		data.CopyTo(*slab)
		*r = FetchResponse{pooled: true, slab: slab}
		return *slab
	}
	pieces := make([][]byte, len(data))
	for i, b := range data {
		pieces[i] = b.ReadOnlyData()
	}
	*r = FetchResponse{}
	return bytes.Join(pieces, nil) // does not clear the memory before it fills it
}

func decodeFetchPartition(b []byte) (FetchPartition, error) {
	var p FetchPartition
	err := eachField(b, "FetchablePartition", fields(7, 9, 10, 11), func(f field) error {
		switch f.num {
		case 1:
			p.Index = f.int32()
		case 2:
			p.ErrorCode = kerr.Code(f.sint32())
		case 3:
			p.FetchOffset = cluster.Offset(f.sint64())
		case 4:
			p.HighWatermark = cluster.Offset(f.sint64())
		case 5:
			p.LastStableOffset = cluster.Offset(f.sint64())
		case 6:
			p.LogStartOffset = cluster.Offset(f.sint64())
		case 7:
			a, err := decodePair(f.bytes, "AbortedTransaction")
			p.Aborted = append(p.Aborted, Aborted{cluster.ProducerID(a[0]), cluster.Offset(a[1])})
			return err
		case 8:
			p.PreferredReadReplica = cluster.BrokerID(f.sint32())
		case 9:
			d, err := decodePair(f.bytes, "EpochEndOffset")
			p.Diverging = &EpochEnd{cluster.LeaderEpoch(d[0]), cluster.Offset(d[1])}
			return err
		case 10:
			h, err := decodePair(f.bytes, "LeaderHint")
			p.CurrentLeader = &LeaderHint{cluster.BrokerID(h[0]), cluster.LeaderEpoch(h[1])}
			return err
		case 11:
			p.Records = f.bytes[:len(f.bytes):len(f.bytes)]
		}
		return nil
	})
	return p, err
}

// decodePair decodes a message of two signed numbers.
func decodePair(b []byte, what string) ([2]int64, error) {
	var v [2]int64
	err := eachField(b, what, fields(), func(f field) error {
		if f.num == 1 || f.num == 2 {
			v[f.num-1] = f.sint64()
		}
		return nil
	})
	return v, err
}
