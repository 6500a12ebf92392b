// Package txlog keeps the transactions and snapshots of an embedded ZooKeeper server on disk. It knows files, frames
// and checksums; what a transaction or a state means is the caller's.
//
// # Assumptions
//
// The disk is that of package vfs: what was not synced may be lost, or kept in any part and order; a rename is atomic
// and durable after a sync of its directory; after a failed write or sync nothing about the file can be trusted.
//
// # Files
//
// Both directories get a subdirectory "embedded-1". It holds
//
//	lock                      held while a server uses the directory
//	log.<16 hex digits>       a segment: transactions from that zxid on
//	snapshot.<16 hex digits>  the state after that zxid (in the data directory)
//	*.tmp                     an unfinished file, removed at start
//
// Segments and snapshots appear by rename, complete and synced. A segment begins with a header of 40 bytes:
//
//	magic "OTTLAZKL" 8 | version 4 = 1 | zero 4 | database id 8 | first zxid 8 | salt 4 | CRC-32C of the 36 before 4
//
// and continues with frames. A frame is what one group commit wrote: any number of consecutive transactions.
//
//	magic "OZFR" 4 | flags 4 | payload length 4 | first zxid 8 | last zxid 8 | payload CRC 4 | header CRC 4 | payload
//
// Both CRCs are CRC-32C that start from the segment's salt, so that no client can smuggle a valid frame into a node's
// data. Flag bit 0 says that everything before the frame was synced when the frame was written. Zxids leave no gap
// between frames or segments. A frame with an empty payload (last = first-1) is a seal: a clean stop.
//
//	magic "OTTLAZKS" 8 | version 4 = 1 | zero 4 | database id 8 | zxid 8 | length 8 | state | CRC-32C of all before 4
//
// is a snapshot. All numbers are big-endian.
//
// # Torn tail or corruption
//
// Since a frame is written only after the one before it was synced, a power cut can damage the last frame of the last
// segment and nothing else. Recovery therefore cuts the last segment at the first frame that is not whole, unless a
// valid frame with bit 0 stands behind it: then what is damaged had been acknowledged, and recovery refuses, as it does
// for any damage in an earlier segment.
package txlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
)

// On disk, do not change.
const (
	subdir        = "embedded-1"
	segmentMagic  = "OTTLAZKL"
	snapshotMagic = "OTTLAZKS"
	formatVersion = 1
	frameMagic    = "OZFR"

	segmentHeaderSize = 40
	// FrameHeaderSize is the room in bytes that the caller of Append leaves before the payload.
	FrameHeaderSize    = 36
	snapshotHeaderSize = 40

	flagSynced = 1 // everything before this frame was synced when it was written
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError is damage that recovery must not repair on its own: it could lose what was acknowledged.
type CorruptError struct {
	File   string // name of the damaged file
	Offset int64  // bytes from its start; 0 if the whole file is meant
	Reason string // what is wrong there
}

// Error says which file is damaged, where, and how.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %s", e.File, e.Offset, e.Reason)
}

type segmentHeader struct {
	database int64
	first    int64
	salt     uint32
}

func (h *segmentHeader) encode() []byte {
	p := make([]byte, 0, segmentHeaderSize)
	p = append(p, segmentMagic...)
	p = binary.BigEndian.AppendUint32(p, formatVersion)
	p = binary.BigEndian.AppendUint32(p, 0)
	p = binary.BigEndian.AppendUint64(p, uint64(h.database))
	p = binary.BigEndian.AppendUint64(p, uint64(h.first))
	p = binary.BigEndian.AppendUint32(p, h.salt)
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func (h *segmentHeader) decode(p []byte) error {
	if len(p) < segmentHeaderSize {
		return fmt.Errorf("a segment header of %d bytes, %d wanted", len(p), segmentHeaderSize)
	}
	if string(p[:8]) != segmentMagic {
		return fmt.Errorf("magic %q, %q wanted", p[:8], segmentMagic)
	}
	if v := binary.BigEndian.Uint32(p[8:]); v != formatVersion {
		return fmt.Errorf("format version %d is not supported", v)
	}
	if got, want := crc32.Checksum(p[:36], castagnoli), binary.BigEndian.Uint32(p[36:]); got != want {
		return fmt.Errorf("header checksum %08x, %08x wanted", got, want)
	}
	h.database = int64(binary.BigEndian.Uint64(p[16:]))
	h.first = int64(binary.BigEndian.Uint64(p[24:]))
	h.salt = binary.BigEndian.Uint32(p[32:])
	return nil
}

type frameHeader struct {
	flags       uint32
	length      uint32
	first, last int64
	payloadCRC  uint32
}

func (h *frameHeader) encode(p []byte, salt uint32) {
	copy(p, frameMagic)
	binary.BigEndian.PutUint32(p[4:], h.flags)
	binary.BigEndian.PutUint32(p[8:], h.length)
	binary.BigEndian.PutUint64(p[12:], uint64(h.first))
	binary.BigEndian.PutUint64(p[20:], uint64(h.last))
	binary.BigEndian.PutUint32(p[28:], h.payloadCRC)
	binary.BigEndian.PutUint32(p[32:], crc32.Update(salt, castagnoli, p[:32]))
}

// decode reads a frame header and reports whether it is one.
func (h *frameHeader) decode(p []byte, salt uint32) bool {
	if len(p) < FrameHeaderSize || string(p[:4]) != frameMagic ||
		crc32.Update(salt, castagnoli, p[:32]) != binary.BigEndian.Uint32(p[32:]) {
		return false
	}
	h.flags = binary.BigEndian.Uint32(p[4:])
	h.length = binary.BigEndian.Uint32(p[8:])
	h.first = int64(binary.BigEndian.Uint64(p[12:]))
	h.last = int64(binary.BigEndian.Uint64(p[20:]))
	h.payloadCRC = binary.BigEndian.Uint32(p[28:])
	return true
}

// encodeSnapshot builds the content of a snapshot file.
func encodeSnapshot(database, zxid int64, state []byte) []byte {
	p := make([]byte, 0, snapshotHeaderSize+len(state)+4)
	p = append(p, snapshotMagic...)
	p = binary.BigEndian.AppendUint32(p, formatVersion)
	p = binary.BigEndian.AppendUint32(p, 0)
	p = binary.BigEndian.AppendUint64(p, uint64(database))
	p = binary.BigEndian.AppendUint64(p, uint64(zxid))
	p = binary.BigEndian.AppendUint64(p, uint64(len(state)))
	p = append(p, state...)
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func decodeSnapshot(p []byte, zxid int64) (database int64, state []byte, err error) {
	if len(p) < snapshotHeaderSize+4 {
		return 0, nil, fmt.Errorf("a snapshot of %d bytes", len(p))
	}
	if string(p[:8]) != snapshotMagic {
		return 0, nil, fmt.Errorf("magic %q, %q wanted", p[:8], snapshotMagic)
	}
	if v := binary.BigEndian.Uint32(p[8:]); v != formatVersion {
		return 0, nil, fmt.Errorf("format version %d is not supported", v)
	}
	body := p[:len(p)-4]
	if got, want := crc32.Checksum(body, castagnoli), binary.BigEndian.Uint32(p[len(p)-4:]); got != want {
		return 0, nil, fmt.Errorf("checksum %08x, %08x wanted", got, want)
	}
	if z := int64(binary.BigEndian.Uint64(p[24:])); z != zxid {
		return 0, nil, fmt.Errorf("zxid 0x%x inside, 0x%x in the name", z, zxid)
	}
	if n := binary.BigEndian.Uint64(p[32:]); n != uint64(len(body)-snapshotHeaderSize) {
		return 0, nil, fmt.Errorf("length %d, %d bytes present", n, len(body)-snapshotHeaderSize)
	}
	return int64(binary.BigEndian.Uint64(p[16:])), body[snapshotHeaderSize:], nil
}

func segmentName(dir string, first int64) string {
	return filepath.Join(dir, fmt.Sprintf("log.%016x", uint64(first)))
}

func snapshotName(dir string, zxid int64) string {
	return filepath.Join(dir, fmt.Sprintf("snapshot.%016x", uint64(zxid)))
}

// parseName takes the zxid out of a file name with the given prefix.
func parseName(name, prefix string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, 16, 63)
	return int64(v), err == nil
}
