package record

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/klauspost/compress/s2"
	"github.com/ottla/ottla/proto/kerr"
)

// xerialHeader starts a stream of the Java library snappy-java (xerial), which is what Kafka means by snappy: a magic
// number, a version and the lowest version that can read it. After it come blocks: 4 bytes of length, big-endian, and a
// snappy block. On disk and on the wire: do not change.
const xerialHeader = "\x82SNAPPY\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01"

// xerialMagicSize is the part of xerialHeader that tells framed from plain snappy.
const xerialMagicSize = 8

// xerialBlock is how much a block holds, uncompressed: snappy-java's default.
const xerialBlock = 32 << 10

// snappyMaxRatio is more than a snappy block can expand: its densest element makes 64 bytes of 3.
const snappyMaxRatio = 22

// compressSnappy appends src, compressed and framed, to dst.
func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlock)]
		src = src[len(block):]
		lengthAt := len(dst)
		dst = grow(dst, 4+s2.MaxEncodedLen(len(block)))
		encoded := s2.EncodeSnappy(dst[lengthAt+4:cap(dst)], block)
		dst = dst[:lengthAt+4+len(encoded)]
		binary.BigEndian.PutUint32(dst[lengthAt:], uint32(len(encoded)))
	}
	return dst
}

// snappyDecoder reads the xerial framing, and a single snappy block without it.
type snappyDecoder struct {
	src    []byte // blocks still to come
	framed bool
	strict bool
	block  []byte // the current block, decompressed; its capacity is reused
	pos    int
	limit  int64
	total  int // bytes that come out in all
}

func (d *snappyDecoder) open(src []byte, limit int64, strict bool) error {
	d.src, d.block, d.pos, d.limit, d.total, d.strict = src, d.block[:0], 0, limit, 0, strict
	d.framed = len(src) >= xerialMagicSize && string(src[:xerialMagicSize]) == xerialHeader[:xerialMagicSize]
	if !d.framed {
		return d.addSize(src)
	}
	if len(src) < len(xerialHeader) {
		return corrupt(kerr.InvalidRecord, "snappy stream header has %d bytes instead of %d", len(src), len(xerialHeader))
	}
	if lowest := binary.BigEndian.Uint32(src[12:]); lowest != 1 {
		return corrupt(kerr.InvalidRecord, "snappy stream needs version %d, only 1 is supported", lowest)
	}
	d.src = src[len(xerialHeader):]
	for rest := d.src; len(rest) > 0; {
		block, after, err := nextXerialBlock(rest)
		if err != nil {
			return err
		}
		if err := d.addSize(block); err != nil {
			return err
		}
		rest = after
	}
	return nil
}

// addSize checks the size that a block states and adds it to the total.
func (d *snappyDecoder) addSize(block []byte) error {
	size, err := s2.DecodedLen(block)
	if err != nil {
		return err
	}
	if size > snappyMaxRatio*len(block) {
		return corrupt(kerr.InvalidRecord, "snappy block of %d bytes cannot hold the %d it claims", len(block), size)
	}
	if int64(d.total)+int64(size) > d.limit {
		return ErrTooLarge
	}
	d.total += size
	return nil
}

func nextXerialBlock(p []byte) (block, rest []byte, err error) {
	if len(p) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	size := binary.BigEndian.Uint32(p)
	if p = p[4:]; uint64(size) > uint64(len(p)) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return p[:size], p[size:], nil
}

func (d *snappyDecoder) Read(p []byte) (int, error) {
	for {
		if d.pos < len(d.block) {
			n := copy(p, d.block[d.pos:])
			d.pos += n
			return n, nil
		}
		if len(d.src) == 0 {
			return 0, io.EOF
		}
		block := d.src
		d.src = nil
		if d.framed {
			var err error
			if block, d.src, err = nextXerialBlock(block); err != nil {
				return 0, err
			}
		}
		// Straight to the reader if there is room, and otherwise into a buffer of its own.
		dst := d.block[:cap(d.block)]
		size, err := s2.DecodedLen(block)
		direct := err == nil && size <= len(p)
		if direct {
			dst = p[:len(p):len(p)]
		}
		if d.strict && usesS2(block) {
			return 0, corrupt(kerr.InvalidRecord, "snappy block uses the S2 extension")
		}
		if dst, err = s2.Decode(dst, block); err != nil {
			return 0, err
		}
		if direct {
			return len(dst), nil
		}
		d.block, d.pos = dst, 0
	}
}

// usesS2 looks through the elements of a block for a copy with the offset 0: nonsense in snappy, "the same offset as before"
// in S2, an extension that the library for this format understands and no other reader does. A batch that has it would be
// lost on them, so a leader does not take it. The search stops at anything malformed, which the decompressor then finds.
func usesS2(block []byte) bool {
	_, i := binary.Uvarint(block)
	for i > 0 && i < len(block) {
		tag := block[i]
		switch tag & 3 {
		case 0: // literal; lengths from 60 on are in the 1 to 4 bytes after the tag
			size := int(tag >> 2)
			if extra := size - 59; extra > 0 {
				if len(block)-i <= extra {
					return false
				}
				var long [4]byte
				copy(long[:], block[i+1:i+1+extra])
				size = int(binary.LittleEndian.Uint32(long[:]) & math.MaxInt32)
				i += extra
			}
			if size >= len(block)-i {
				return false
			}
			i += 2 + size
		case 1: // copy with an offset of 11 bits, 3 in the tag
			if i+1 < len(block) && tag>>5 == 0 && block[i+1] == 0 {
				return true
			}
			i += 2
		case 2:
			i += 3
		case 3:
			i += 5
		}
	}
	return false
}

// size is exact: open added it up.
func (d *snappyDecoder) size() int { return d.total }

func (d *snappyDecoder) close() {
	d.src = nil
	if cap(d.block) > maxPooled {
		d.block = nil
	}
}
