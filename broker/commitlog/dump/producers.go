package dump

//lint:file-ignore ST1005 the texts are those of Kafka's tool and are printed as they are

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/ottla/ottla/broker/commitlog/producers"
)

// The header of a snapshot of producers (F§4.6).
const (
	snapshotVersion   = 1
	snapshotCRCAt     = 2
	snapshotCoveredAt = 6
	snapshotHeader    = 10
)

// maxSnapshot bounds the size of a snapshot, which is read as a whole: over two million producers.
const maxSnapshot = 128 << 20

// snapshot dumps a .snapshot file. That it is damaged is a finding, not a failure.
func (d *dumper) snapshot(name string) error {
	s, err := d.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if s.size > maxSnapshot {
		return fmt.Errorf("%s has %d bytes; snapshots above %d bytes are not shown", absolute(name), s.size, maxSnapshot)
	}
	p := make([]byte, s.size)
	if err := s.read(p, 0); err != nil {
		return err
	}
	if len(p) >= snapshotHeader {
		if v := int16(binary.BigEndian.Uint16(p)); v != snapshotVersion {
			d.warn("Snapshot contained an unknown file version %d", v)
			return nil
		}
		stored, computed := binary.BigEndian.Uint32(p[snapshotCRCAt:]), crc32.Checksum(p[snapshotCoveredAt:], castagnoli)
		if stored != computed {
			d.warn("Snapshot is corrupt (CRC is no longer valid). Stored crc: %d. Computed crc: %d", stored, computed)
			return nil
		}
	}
	entries, err := producers.DecodeSnapshot(p)
	if err != nil {
		d.warn("Snapshot failed schema validation: %v", err)
		return nil
	}
	for i := range entries {
		e := &entries[i]
		first := "OptionalLong.empty"
		if e.TxnFirstOffset >= 0 {
			first = fmt.Sprintf("OptionalLong[%d]", e.TxnFirstOffset)
		}
		d.printf("producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d ",
			e.ProducerID, e.Epoch, e.CoordinatorEpoch, first, e.Timestamp)
		if e.LastOffset >= 0 {
			d.printf("firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
				firstSequence(e.LastSequence, e.OffsetDelta), e.LastSequence, e.LastOffset, e.OffsetDelta, e.Timestamp)
		}
		d.printf("\n")
	}
	return nil
}

// firstSequence counts back from the last sequence number of a batch; numbers wrap from 0 to 2147483647.
func firstSequence(last, delta int32) int32 {
	if last < delta {
		return int32(int64(1)<<31 - (int64(delta) - int64(last)))
	}
	return last - delta
}

// txnIndex dumps a .txnindex file. Entries that make no sense are shown all the same, and said to be so.
func (d *dumper) txnIndex(name string) error {
	if _, err := baseOffset(name); err != nil {
		return err
	}
	s, err := d.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	var p [producers.AbortedTxnSize]byte
	for at := int64(0); at < s.size; at += producers.AbortedTxnSize {
		if left := s.size - at; left < producers.AbortedTxnSize {
			return fmt.Errorf("%s ends with %d bytes that are no whole entry", absolute(name), left)
		}
		if err := s.read(p[:], at); err != nil {
			return err
		}
		version := int16(binary.BigEndian.Uint16(p[:]))
		if version > 0 {
			return fmt.Errorf("Unexpected aborted transaction version %d in transaction index %s, current version is 0", version, absolute(name)) //nolint:staticcheck,revive // Kafka's words
		}
		number := func(i int) int64 { return int64(binary.BigEndian.Uint64(p[2+8*i:])) }
		d.printf("version: %d producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n", version, number(0), number(1), number(2), number(3))
		if _, err := producers.DecodeAbortedTxn(p[:]); err != nil {
			d.warn("%s: %v", absolute(name), err)
		}
	}
	return nil
}
