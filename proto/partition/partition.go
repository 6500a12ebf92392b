// Package partition chooses the partition of a record that has a key. Every process that writes records must choose alike, or the
// records of one key lose their order: the client library, the broker's own Publish call, and Java's producers on the same topic.
//
// The rule is Kafka's (F§9.1, class BuiltInPartitioner): murmur2 of the serialized key, the sign bit masked off, modulo the number
// of all partitions of the topic, with and without leader. All functions are pure and safe for concurrent use.
package partition

import "encoding/binary"

// seed and the mixing constants of murmur2 as Kafka's class Utils has them. Records are placed by them: do not change.
const (
	seed  uint32 = 0x9747b28c
	mixer uint32 = 0x5bd1e995
	shift        = 24
)

// ForKey returns the partition, from 0 to n-1, of a record with this key. An empty key that is not null is a key like any
// other. It panics unless n is positive: a topic has at least one partition.
func ForKey(key []byte, n int32) int32 {
	if n <= 0 {
		panic("partition: number of partitions must be positive")
	}
	return (Murmur2(key) & 0x7fffffff) % n
}

// Murmur2 returns the 32 bit murmur2 hash of data, as the signed number that Java shows.
func Murmur2(data []byte) int32 {
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data) * mixer
		k ^= k >> shift
		h = h*mixer ^ k*mixer
		data = data[4:]
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * mixer
	}
	h ^= h >> 13
	h *= mixer
	h ^= h >> 15
	return int32(h)
}
