package record

import "math/bits"

// Longest encodings. A varint is a zig-zag number of 32 bits in groups of 7, least significant first; a varlong one of 64.
const (
	maxVarintLen  = 5
	maxVarlongLen = 10
)

// Results of a decoder in place of the next position.
const (
	truncated = -1 // the bytes end inside the number
	overlong  = -2 // the number goes on after its longest encoding, or does not fit
)

// varint decodes the number at p[i] and returns it with the position after it, or with truncated or overlong. i may be
// len(p), not more. Nearly all numbers of a record take one or two bytes.
func varint(p []byte, i int) (int32, int) {
	if i+1 < len(p) {
		c := uint32(p[i])
		if c < 0x80 {
			return int32(c>>1) ^ -int32(c&1), i + 1
		}
		if d := uint32(p[i+1]); d < 0x80 {
			c = c&0x7f | d<<7
			return int32(c>>1) ^ -int32(c&1), i + 2
		}
	}
	v, next := uvarint(p, i, maxVarintLen, 0x0f)
	return int32(uint32(v)>>1) ^ -int32(v&1), next
}

// varlong is varint for 64 bits.
func varlong(p []byte, i int) (int64, int) {
	if i+1 < len(p) {
		c := uint32(p[i])
		if c < 0x80 {
			return int64(c>>1) ^ -int64(c&1), i + 1
		}
		if d := uint32(p[i+1]); d < 0x80 {
			c = c&0x7f | d<<7
			return int64(c>>1) ^ -int64(c&1), i + 2
		}
	}
	v, next := uvarint(p, i, maxVarlongLen, 0x01)
	return int64(v>>1) ^ -int64(v&1), next
}

// uvarint decodes at most size groups; the last of them may be at most last, because more does not fit the number.
func uvarint(p []byte, i, size int, last byte) (uint64, int) {
	var v uint64
	for n := range size {
		if i >= len(p) {
			return 0, truncated
		}
		c := p[i]
		i++
		v |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			if n == size-1 && c > last {
				return 0, overlong
			}
			return v, i
		}
	}
	return 0, overlong
}

// zigzag32 and zigzag64 map numbers near zero to small ones.
func zigzag32(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }

func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// uvarintLen is the number of bytes that putUvarint writes.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// putUvarint writes v at p[i] and returns the position after it. There must be room.
func putUvarint(p []byte, i int, v uint64) int {
	for v >= 0x80 {
		p[i] = byte(v) | 0x80
		v >>= 7
		i++
	}
	p[i] = byte(v)
	return i + 1
}
