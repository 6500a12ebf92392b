package producers

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/ottla/ottla/proto/cluster"
)

// A snapshot, big-endian. On disk: do not change (F§4.6, Kafka class ProducerStateManager).
//
//	+-------------+---------+-----------+  ┌ entry, 46 bytes ─────────────────────────────────────────────────────┐
//	| version i16 | crc u32 | count i32 |  │ id i64 | epoch i16 | last sequence i32 | last offset i64 | delta i32  │
//	| 1           | CRC-32C |           |  │ timestamp i64 | coordinator epoch i32 | transaction's first offset i64 │
//	+-------------+---------+-----------+  └──────────────────────────────────────────────────────────────────────┘
//	                        └──── the checksum covers everything from here to the end ────
const (
	snapshotVersion    = 1
	snapshotHeaderSize = 10
	snapshotEntrySize  = 46
	crcAt              = 2
	coveredAt          = 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeSnapshot returns the content of a .snapshot file.
func EncodeSnapshot(entries []Entry) []byte {
	p := make([]byte, snapshotHeaderSize, snapshotHeaderSize+len(entries)*snapshotEntrySize)
	binary.BigEndian.PutUint16(p, snapshotVersion)
	binary.BigEndian.PutUint32(p[coveredAt:], uint32(len(entries)))
	for i := range entries {
		e := &entries[i]
		p = binary.BigEndian.AppendUint64(p, uint64(e.ProducerID))
		p = binary.BigEndian.AppendUint16(p, uint16(e.Epoch))
		p = binary.BigEndian.AppendUint32(p, uint32(e.LastSequence))
		p = binary.BigEndian.AppendUint64(p, uint64(e.LastOffset))
		p = binary.BigEndian.AppendUint32(p, uint32(e.OffsetDelta))
		p = binary.BigEndian.AppendUint64(p, uint64(e.Timestamp))
		p = binary.BigEndian.AppendUint32(p, uint32(e.CoordinatorEpoch))
		p = binary.BigEndian.AppendUint64(p, uint64(e.TxnFirstOffset))
	}
	binary.BigEndian.PutUint32(p[crcAt:], crc32.Checksum(p[coveredAt:], castagnoli))
	return p
}

// DecodeSnapshot is the inverse of EncodeSnapshot. Any error means that the file is damaged, or of a version that does not
// exist. What the entries say is checked by [Restore].
func DecodeSnapshot(p []byte) ([]Entry, error) {
	if len(p) < snapshotHeaderSize {
		return nil, fmt.Errorf("producer snapshot: %d bytes, the header alone has %d", len(p), snapshotHeaderSize)
	}
	if v := int16(binary.BigEndian.Uint16(p)); v != snapshotVersion {
		return nil, fmt.Errorf("producer snapshot: version %d, want %d", v, snapshotVersion)
	}
	if got, want := crc32.Checksum(p[coveredAt:], castagnoli), binary.BigEndian.Uint32(p[crcAt:]); got != want {
		return nil, fmt.Errorf("producer snapshot: checksum is %#08x, the file says %#08x", got, want)
	}
	n := int32(binary.BigEndian.Uint32(p[coveredAt:]))
	p = p[snapshotHeaderSize:]
	if int64(n)*snapshotEntrySize != int64(len(p)) {
		return nil, fmt.Errorf("producer snapshot: %d entries in %d bytes", n, len(p))
	}
	entries := make([]Entry, n)
	for i := range entries {
		e := p[i*snapshotEntrySize:]
		entries[i] = Entry{
			ProducerID:       cluster.ProducerID(binary.BigEndian.Uint64(e)),
			Epoch:            int16(binary.BigEndian.Uint16(e[8:])),
			LastSequence:     int32(binary.BigEndian.Uint32(e[10:])),
			LastOffset:       cluster.Offset(binary.BigEndian.Uint64(e[14:])),
			OffsetDelta:      int32(binary.BigEndian.Uint32(e[22:])),
			Timestamp:        int64(binary.BigEndian.Uint64(e[26:])),
			CoordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
			TxnFirstOffset:   cluster.Offset(binary.BigEndian.Uint64(e[38:])),
		}
	}
	return entries, nil
}
