// Package jute is the encoding of the ZooKeeper wire protocol: frames, headers, and the request and reply records of
// every operation. It is shared by the embedded server and by the conformance suite's raw client; it holds no state,
// does no IO of its own beyond reading and writing frames on a given stream, and knows nothing about what an operation
// means.
//
// Jute is big-endian, without tags or alignment: a record is its fields in declaration order (Z§1).
//
//	bool      1 byte, reader takes any non-zero as true
//	int       4 bytes, two's complement
//	long      8 bytes, two's complement
//	ustring   int length, then UTF-8; length -1 is null
//	buffer    int length, then bytes; length -1 is null, which is not the same as length 0
//	vector    int count, then the items; count -1 is null
//
// Decoding is safe on hostile input: every length and count is checked against the bytes that are really there before
// anything is allocated, and a decoder never panics. A null string decodes as "", a null vector as an empty one; only
// buffers keep the difference, because clients can see it. An encoder never writes a null string or vector, since
// common clients misread them.
package jute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrShort is the error of a record that ends before its last field, or whose lengths point outside of it.
var ErrShort = errors.New("jute: record too short")

// ErrFrameSize is the error of a frame whose length is negative or above the limit.
var ErrFrameSize = errors.New("jute: frame length out of range")

// DefaultMaxFrame is the default of jute.maxbuffer: the largest accepted request frame in bytes, without its length word.
const DefaultMaxFrame = 0xfffff

// Decoder reads jute values off a byte slice. The first error sticks and every later read returns a zero value, so a
// record can be decoded in one go and checked once. It is owned by one goroutine.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder returns a decoder of p. Buffers that it returns alias p.
func NewDecoder(p []byte) *Decoder { return &Decoder{buf: p} }

// Err returns the first error met, nil if there was none. It is ErrShort, possibly wrapped.
func (d *Decoder) Err() error { return d.err }

// Len returns the number of bytes not read yet.
func (d *Decoder) Len() int { return len(d.buf) - d.off }

// Rest returns the bytes not read yet; it aliases the input.
func (d *Decoder) Rest() []byte { return d.buf[d.off:] }

func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > d.Len() {
		d.err = fmt.Errorf("%w: %d bytes wanted at %d of %d", ErrShort, n, d.off, len(d.buf))
		return nil
	}
	p := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return p
}

// Fixed reads n bytes; it aliases the input and is nil after an error.
func (d *Decoder) Fixed(n int) []byte { return d.take(n) }

// Bool reads a bool; any non-zero byte is true.
func (d *Decoder) Bool() bool {
	p := d.take(1)
	return p != nil && p[0] != 0
}

// Int reads a 32-bit integer.
func (d *Decoder) Int() int32 {
	p := d.take(4)
	if p == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(p))
}

// Long reads a 64-bit integer.
func (d *Decoder) Long() int64 {
	p := d.take(8)
	if p == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(p))
}

// String reads a ustring; null reads as "". The bytes are not checked to be UTF-8.
func (d *Decoder) String() string { return string(d.Buffer()) }

// Buffer reads a buffer: nil for null, non-nil and empty for length 0. The result aliases the input.
func (d *Decoder) Buffer() []byte {
	n := d.Int()
	if d.err != nil || n == -1 {
		return nil
	}
	return d.take(int(n))
}

// Count reads the count of a vector whose items take at least minItem bytes each; null reads as 0. A count that the
// remaining bytes cannot hold is an error, so the result may be used to allocate.
func (d *Decoder) Count(minItem int) int {
	n := int(d.Int())
	if d.err != nil || n == -1 {
		return 0
	}
	if n < 0 || n > d.Len()/minItem {
		d.err = fmt.Errorf("%w: a vector of %d items in %d bytes", ErrShort, n, d.Len())
		return 0
	}
	return n
}

// Strings reads a vector of ustrings.
func (d *Decoder) Strings() []string {
	n := d.Count(4)
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = d.String()
	}
	return out
}

// Encoder appends jute values to a byte slice. The zero value is ready. It is owned by one goroutine.
type Encoder struct {
	buf []byte
}

// NewEncoder returns an encoder that appends to buf, which may be nil.
func NewEncoder(buf []byte) *Encoder { return &Encoder{buf: buf} }

// Bytes returns everything encoded so far. It is valid until the next call that encodes or resets.
func (e *Encoder) Bytes() []byte { return e.buf }

// Len returns the number of bytes encoded so far.
func (e *Encoder) Len() int { return len(e.buf) }

// Reset makes the encoder append to buf instead.
func (e *Encoder) Reset(buf []byte) { e.buf = buf }

// Bool appends a bool.
func (e *Encoder) Bool(v bool) {
	if v {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

// Int appends a 32-bit integer.
func (e *Encoder) Int(v int32) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }

// Long appends a 64-bit integer.
func (e *Encoder) Long(v int64) { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }

// String appends a ustring, never null.
func (e *Encoder) String(s string) {
	e.Int(int32(len(s)))
	e.buf = append(e.buf, s...)
}

// Buffer appends a buffer: null for nil.
func (e *Encoder) Buffer(p []byte) {
	if p == nil {
		e.Int(-1)
		return
	}
	e.Int(int32(len(p)))
	e.buf = append(e.buf, p...)
}

// Strings appends a vector of ustrings, never null.
func (e *Encoder) Strings(v []string) {
	e.Int(int32(len(v)))
	for _, s := range v {
		e.String(s)
	}
}

// Raw appends bytes as they are.
func (e *Encoder) Raw(p []byte) { e.buf = append(e.buf, p...) }

// BeginFrame appends a place for a frame's length word and returns its position, to be given to EndFrame.
func (e *Encoder) BeginFrame() int {
	at := len(e.buf)
	e.Int(0)
	return at
}

// EndFrame fills in the length word at the position that BeginFrame returned.
func (e *Encoder) EndFrame(at int) {
	binary.BigEndian.PutUint32(e.buf[at:], uint32(len(e.buf)-at-4))
}

// readStep bounds what is allocated ahead of the bytes that have really arrived.
const readStep = 64 << 10

// ReadBody reads the n bytes of a frame's body from r into a new slice. Memory grows with what has arrived, so a peer
// that announces much and sends little holds little. A body cut short is io.ErrUnexpectedEOF.
func ReadBody(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, min(n, readStep))
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, unexpected(err)
	}
	for len(buf) < n {
		have := len(buf)
		grown := make([]byte, min(n, 2*have))
		copy(grown, buf)
		buf = grown
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return nil, unexpected(err)
		}
	}
	return buf, nil
}

// ReadFrame reads one frame from r: its length word and its body, which is returned. io.EOF means that the stream
// ended before the frame; a length outside 0..maxLen is ErrFrameSize.
func ReadFrame(r io.Reader, maxLen int) ([]byte, error) {
	var word [4]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(word[:]))
	if n < 0 || int(n) > maxLen {
		return nil, fmt.Errorf("%w: %d, limit %d", ErrFrameSize, n, maxLen)
	}
	return ReadBody(r, int(n))
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
