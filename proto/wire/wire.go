// Package wire holds the hot messages of the protocol, those that carry record batches, in a hand-written form that is
// wire-compatible with ottla.v1, and the gRPC codec that knows both forms.
//
// The generated code copies every bytes field into memory of its own, which costs about as much as the transport itself. Here:
//
//   - sending, a batch is handed to gRPC by reference: the codec takes a reference of its own to the batch's owner and gRPC drops it
//     once the bytes are written to the connection;
//   - receiving a [ProduceRequest], all batches alias one pooled slab, which goes back to its pool with [ProduceRequest.Release];
//   - receiving a [FetchResponse], all batches alias one slab that belongs to the garbage collector, because the records that
//     applications keep point into it; a follower, which keeps none, receives into a pooled slab ([FetchStream.RecvInto]).
//
// The slab costs one copy out of the 16 KiB pieces in which gRPC delivers a message. It makes every batch contiguous, so that
// checksums, validation and the write to disk each touch it once.
//
// Values are not safe for concurrent use. The codec is.
package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// hot is a message that the codec leaves to its own hands.
type hot interface {
	marshalWire() mem.BufferSlice
	unmarshalWire(mem.BufferSlice) error
}

// Codec is the gRPC codec of Ottla: the standard protobuf codec, except for the messages of this package. Its name is that of the
// standard codec, so that any gRPC client can talk to a broker.
type Codec struct{ std encoding.CodecV2 }

// NewCodec returns the codec. It is safe for concurrent use.
func NewCodec() Codec { return Codec{std: encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if h, ok := v.(hot); ok {
		return h.marshalWire(), nil
	}
	return c.std.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if h, ok := v.(hot); ok {
		return h.unmarshalWire(data)
	}
	return c.std.Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (c Codec) Name() string { return proto.Name }

// encoder writes a message as pieces: small fields into one buffer whose size is known beforehand, batches by reference between them.
type encoder struct {
	small  []byte
	start  int
	pieces mem.BufferSlice
}

// payload appends the batch of a length-delimited field whose tag and length are written already.
func (e *encoder) payload(data []byte, owner mem.Buffer) {
	if len(data) == 0 {
		return
	}
	if owner == nil {
		e.cut()
		e.pieces = append(e.pieces, mem.SliceBuffer(data))
		return
	}
	e.cut()
	owner.Ref()
	e.pieces = append(e.pieces, owner)
}

// cut ends the current piece of small fields.
func (e *encoder) cut() {
	if len(e.small) > e.start {
		e.pieces = append(e.pieces, mem.SliceBuffer(e.small[e.start:len(e.small):len(e.small)]))
		e.start = len(e.small)
	}
}

func (e *encoder) tag(num protowire.Number, typ protowire.Type) {
	e.small = protowire.AppendTag(e.small, num, typ)
}

// varint appends a field of one of the varint types unless it is zero.
func (e *encoder) varint(num protowire.Number, v uint64) {
	if v != 0 {
		e.tag(num, protowire.VarintType)
		e.small = protowire.AppendVarint(e.small, v)
	}
}

// str appends a string field unless it is empty.
func (e *encoder) str(num protowire.Number, s string) {
	if s != "" {
		e.tag(num, protowire.BytesType)
		e.small = protowire.AppendString(e.small, s)
	}
}

// open appends the tag and the length of a nested message of the given size.
func (e *encoder) open(num protowire.Number, size int) {
	e.tag(num, protowire.BytesType)
	e.small = protowire.AppendVarint(e.small, uint64(size))
}

func sizeVarint(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sizeBytes(num protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return sizeMessage(num, n)
}

func sizeMessage(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}

// field is what a decoder is shown of one field.
type field struct {
	num   protowire.Number
	value uint64 // of varint fields
	bytes []byte // of length-delimited fields; aliases the message
}

func (f field) int32() int32   { return int32(f.value) }
func (f field) sint32() int32  { return int32(protowire.DecodeZigZag(f.value & 0xffffffff)) }
func (f field) sint64() int64  { return protowire.DecodeZigZag(f.value) }
func (f field) string() string { return string(f.bytes) }

// numbers is a set of field numbers below 64.
type numbers uint64

func fields(n ...protowire.Number) numbers {
	var set numbers
	for _, n := range n {
		set |= 1 << n
	}
	return set
}

func (s numbers) has(n protowire.Number) bool { return n < 64 && s>>n&1 == 1 }

// eachField calls f for every varint and length-delimited field of the message in b and passes over the others. Those in nested are
// length-delimited; a field of the other type than it should be is unknown, as to the generated code.
func eachField(b []byte, what string, nested numbers, f func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("decode %s: %w", what, protowire.ParseError(n))
		}
		b = b[n:]
		fl := field{num: num}
		switch typ {
		case protowire.VarintType:
			fl.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			fl.bytes, n = protowire.ConsumeBytes(b)
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return fmt.Errorf("decode %s, field %d: %w", what, num, protowire.ParseError(n))
		}
		b = b[n:]
		if (typ == protowire.BytesType) != nested.has(num) {
			continue
		}
		if err := f(fl); err != nil {
			return err
		}
	}
	return nil
}

// decodeTopic decodes a message that holds a topic's name (1) and messages for its partitions (2). total counts topics and partitions of the whole
// request, so that a few bytes cannot make a receiver hold much.
func decodeTopic[P any](b []byte, what string, total *int, decode func([]byte) (P, error)) (name string, partitions []P, err error) {
	if *total++; *total > MaxPartitionsPerRequest {
		return "", nil, errTooManyPartitions
	}
	err = eachField(b, what, fields(1, 2), func(f field) error {
		switch f.num {
		case 1:
			name = f.string()
			if !utf8.ValidString(name) {
				return errNotUTF8
			}
		case 2:
			if *total++; *total > MaxPartitionsPerRequest {
				return errTooManyPartitions
			}
			p, err := decode(f.bytes)
			if err != nil {
				return err
			}
			partitions = append(partitions, p)
		}
		return nil
	})
	return name, partitions, err
}
