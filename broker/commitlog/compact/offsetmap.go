package compact

import (
	"crypto/md5"
	"encoding/binary"
	"math"

	"github.com/ottla/ottla/proto/cluster"
)

// SlotSize is the size of an entry of an OffsetMap in bytes: the MD5 sum of a key, and an offset.
const SlotSize = 24

// OffsetMap knows the last offset of each key (Kafka class SkimpyOffsetMap). Of a key it holds only the MD5 sum; two keys with the
// same sum would count as one. It is open addressed: a slot is found by the sum, and the next free one after it is taken. The
// zero value has no room. It belongs to one goroutine.
type OffsetMap struct {
	slots []slot
	n     int
	most  int
}

// slot is empty when next is 0.
type slot struct {
	hi, lo uint64
	next   int64 // the offset and 1
}

// minSlots keeps the smallest map from filling up with a single batch of usual size.
const minSlots = 1 << 10

// Reset empties the map and gives it room for the given number of keys, but not more than bytes of memory, filled up to the load
// factor. Memory is kept from one use to the next if it suffices and is not needlessly large.
func (m *OffsetMap) Reset(keys int64, bytes int64, load float64) {
	limit := bytes / SlotSize
	want := int64(math.Ceil(float64(min(keys, limit))/load)) + 1
	size := min(max(want, minSlots), max(limit, 1))
	if have := int64(cap(m.slots)); have < size || have > min(4*size, max(limit, 1)) {
		m.slots = nil // so that both are never there at once
		m.slots = make([]slot, size)
	} else {
		m.slots = m.slots[:size]
		clear(m.slots)
	}
	m.n = 0
	m.most = min(int(float64(size)*load), int(size)-1)
}

// Len returns the number of keys.
func (m *OffsetMap) Len() int { return m.n }

// Room returns how many more keys fit.
func (m *OffsetMap) Room() int { return m.most - m.n }

// Bytes returns the memory that the map holds.
func (m *OffsetMap) Bytes() int64 { return int64(cap(m.slots)) * SlotSize }

// Utilization returns how full the map is, from 0 to 1.
func (m *OffsetMap) Utilization() float64 {
	if m.most == 0 {
		return 0
	}
	return float64(m.n) / float64(m.most)
}

// Put notes that a key has an offset; a later offset replaces an earlier one. There must be room.
func (m *OffsetMap) Put(key []byte, offset cluster.Offset) {
	s := m.find(key)
	if s.next == 0 {
		m.n++
	}
	s.next = max(s.next, int64(offset)+1)
}

// Last returns the last offset of a key; ok is false when the map does not know the key.
func (m *OffsetMap) Last(key []byte) (offset cluster.Offset, ok bool) {
	if m.n == 0 {
		return 0, false
	}
	s := m.find(key)
	return cluster.Offset(s.next - 1), s.next != 0
}

// find returns a key's slot, or the one that it would get.
func (m *OffsetMap) find(key []byte) *slot {
	sum := md5.Sum(key)
	hi, lo := binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:])
	for i := hi % uint64(len(m.slots)); ; i++ {
		if i == uint64(len(m.slots)) {
			i = 0
		}
		s := &m.slots[i]
		if s.next == 0 {
			s.hi, s.lo = hi, lo
			return s
		}
		if s.hi == hi && s.lo == lo {
			return s
		}
	}
}
