package record

import (
	"encoding/binary"

	"github.com/ottla/ottla/proto/kerr"
)

// Bytes of an LZ4 frame (LZ4 Frame Format Description 1.6).
const (
	lz4FrameMagic      = 0x184d2204
	lz4FlagsAt         = 4
	lz4DescriptorAt    = 5
	lz4HeaderSize      = 7 // without content size
	lz4VersionMask     = 0xc0
	lz4Version         = 0x40
	lz4Independent     = 0x20
	lz4BlockChecksum   = 0x10
	lz4ContentSize     = 0x08
	lz4ContentChecksum = 0x04
	lz4ReservedFlags   = 0x03 // a reserved bit and the dictionary id
	lz4BlockSizeMin    = 4
	lz4Uncompressed    = 1 << 31
)

// checkLZ4Frame checks that src is one LZ4 frame and nothing else, of the kind that Kafka's Java clients read (class
// Lz4BlockInputStream): version 1, independent blocks, no dictionary. A library reads more than that: concatenated,
// skippable and legacy frames, all of which would be lost on, or break, such a client. What is in the blocks is not looked at.
func checkLZ4Frame(src []byte) error {
	if len(src) < lz4HeaderSize || binary.LittleEndian.Uint32(src) != lz4FrameMagic {
		return corrupt(kerr.InvalidRecord, "%d bytes are not an LZ4 frame", len(src))
	}
	flags, descriptor := src[lz4FlagsAt], src[lz4DescriptorAt]
	switch {
	case flags&lz4VersionMask != lz4Version:
		return corrupt(kerr.InvalidRecord, "LZ4 frame version %d is not supported", flags>>6)
	case flags&lz4ReservedFlags != 0:
		return corrupt(kerr.InvalidRecord, "LZ4 frame flags %#x have reserved bits or a dictionary", flags)
	case flags&lz4Independent == 0:
		return corrupt(kerr.InvalidRecord, "LZ4 frame with blocks that depend on each other")
	case descriptor&0x8f != 0 || descriptor>>4 < lz4BlockSizeMin:
		return corrupt(kerr.InvalidRecord, "LZ4 frame descriptor %#x names no block size", descriptor)
	}
	i := lz4HeaderSize
	if flags&lz4ContentSize != 0 {
		i += 8
	}
	for {
		if len(src)-i < 4 {
			return corrupt(kerr.InvalidRecord, "LZ4 frame of %d bytes has no end mark", len(src))
		}
		size := binary.LittleEndian.Uint32(src[i:])
		i += 4
		if size == 0 {
			break
		}
		end := int64(i) + int64(size&^lz4Uncompressed)
		if flags&lz4BlockChecksum != 0 {
			end += 4
		}
		if end > int64(len(src)) {
			return corrupt(kerr.InvalidRecord, "LZ4 block of %d bytes ends after the frame's %d bytes", size&^lz4Uncompressed, len(src))
		}
		i = int(end)
	}
	if flags&lz4ContentChecksum != 0 {
		i += 4
	}
	if i != len(src) {
		return corrupt(kerr.InvalidRecord, "LZ4 frame ends at byte %d of %d", i, len(src))
	}
	return nil
}
