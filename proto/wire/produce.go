package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// MaxPartitionsPerRequest bounds the partitions that one produce request or fetch answer may hold, so that a small hostile message
// cannot make the receiver build a large structure.
const MaxPartitionsPerRequest = 10_000

var errTooManyPartitions = errors.New("more than 10000 partitions in one message")

var errNotUTF8 = errors.New("a topic name or transactional id is not valid UTF-8")

// ProduceRequest is ottla.v1.ProduceRequest.
type ProduceRequest struct {
	// TransactionalID is set by transactional producers only.
	TransactionalID string
	// Acks is 0, 1 or -1; anything else is for the broker to refuse.
	Acks int32
	// TimeoutMs bounds the wait for in-sync replicas, in milliseconds.
	TimeoutMs int32
	// Topics holds the batches.
	Topics []ProduceTopic

	slab mem.Buffer
}

// ProduceTopic is ottla.v1.TopicProduceData.
type ProduceTopic struct {
	// Name of the topic.
	Name string
	// Partitions holds a batch each.
	Partitions []ProducePartition
}

// ProducePartition is ottla.v1.PartitionProduceData.
type ProducePartition struct {
	// Index of the partition.
	Index int32
	// Records is one record batch. In a received request it aliases the request's slab and may be modified in place.
	Records []byte
	// Owner keeps Records alive while gRPC sends them; the codec takes its own reference. It must hold exactly the bytes of Records.
	// nil means that Records is left alone by everybody until the request is answered. Unused in a received request.
	Owner mem.Buffer
}

// Release gives the slab of a received request back to its pool; no slice of its Records may be used afterwards. Calling it
// again, or on a request that was not received, does nothing.
func (r *ProduceRequest) Release() {
	if r.slab != nil {
		r.slab.Free()
		r.slab = nil
		r.Topics = nil
	}
}

// Size returns the number of bytes that a received request holds in memory.
func (r *ProduceRequest) Size() int {
	if r.slab == nil {
		return 0
	}
	return r.slab.Len()
}

func (p *ProducePartition) size() int {
	return sizeVarint(1, uint64(p.Index)) + sizeBytes(2, len(p.Records))
}

func (t *ProduceTopic) size() int {
	n := sizeBytes(1, len(t.Name))
	for i := range t.Partitions {
		n += sizeMessage(2, t.Partitions[i].size())
	}
	return n
}

func (r *ProduceRequest) marshalWire() mem.BufferSlice {
	size, payload := sizeBytes(1, len(r.TransactionalID))+2*(1+protowire.SizeVarint(1<<34)), 0
	for i := range r.Topics {
		size += sizeMessage(4, r.Topics[i].size())
		for j := range r.Topics[i].Partitions {
			payload += len(r.Topics[i].Partitions[j].Records)
		}
	}
	e := encoder{small: make([]byte, 0, size-payload)}
	e.str(1, r.TransactionalID)
	e.varint(2, protowire.EncodeZigZag(int64(r.Acks)))
	e.varint(3, uint64(r.TimeoutMs))
	for i := range r.Topics {
		t := &r.Topics[i]
		e.open(4, t.size())
		e.str(1, t.Name)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			e.open(2, p.size())
			e.varint(1, uint64(p.Index))
			if len(p.Records) > 0 {
				e.open(2, len(p.Records))
				e.payload(p.Records, p.Owner)
			}
		}
	}
	e.cut()
	return e.pieces
}

func (r *ProduceRequest) unmarshalWire(data mem.BufferSlice) error {
	// gRPC may share a message of one piece with other readers, and batches are patched in place: always a slab of our own.
	slab := Pool.Get(data.Len())
	data.CopyTo(*slab)
	owner := mem.NewBuffer(slab, Pool)
	*r = ProduceRequest{slab: owner}
	total := 0
	err := eachField(*slab, "ProduceRequest", fields(1, 4), func(f field) error {
		switch f.num {
		case 1:
			r.TransactionalID = f.string()
			if !utf8.ValidString(r.TransactionalID) {
				return errNotUTF8
			}
		case 2:
			r.Acks = f.sint32()
		case 3:
			r.TimeoutMs = f.int32()
		case 4:
			name, partitions, err := decodeTopic(f.bytes, "TopicProduceData", &total, decodeProducePartition)
			if err != nil {
				return err
			}
			r.Topics = append(r.Topics, ProduceTopic{name, partitions})
		}
		return nil
	})
	if err != nil {
		r.Release()
		return err
	}
	return nil
}

func decodeProducePartition(b []byte) (ProducePartition, error) {
	var p ProducePartition
	err := eachField(b, "PartitionProduceData", fields(2), func(f field) error {
		switch f.num {
		case 1:
			p.Index = f.int32()
		case 2:
			p.Records = f.bytes[:len(f.bytes):len(f.bytes)]
		}
		return nil
	})
	return p, err
}
