package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/record"
)

// foreignBatch is a batch as franz-go's messages, which are generated from Kafka's schema, see it, and where it is.
type foreignBatch struct {
	kmsg.RecordBatch
	pos     int
	records []kmsg.Record
}

// readForeign decodes a .log file without any code of this project.
func readForeign(t *testing.T, data []byte) (list []foreignBatch) {
	t.Helper()
	for pos := 0; pos < len(data); {
		size := 12 + int(int32(binary.BigEndian.Uint32(data[pos+8:])))
		b := foreignBatch{pos: pos}
		must(t, b.ReadFrom(data[pos:pos+size]))
		if sum := crc32.Checksum(data[pos+21:pos+size], crc32.MakeTable(crc32.Castagnoli)); sum != uint32(b.CRC) {
			t.Fatalf("batch %d: crc %#x, want %#x", b.FirstOffset, uint32(b.CRC), sum)
		}
		raw := b.Records
		if codec := b.Attributes & 7; codec != 0 {
			var err error
			raw, err = kgo.DefaultDecompressor().Decompress(raw, kgo.CompressionCodecType(codec))
			must(t, err)
		}
		for len(raw) > 0 {
			length, n := binary.Varint(raw)
			var r kmsg.Record
			must(t, r.ReadFrom(raw[:n+int(length)]))
			raw = raw[n+int(length):]
			b.records = append(b.records, r)
		}
		if len(b.records) != int(b.NumRecords) {
			t.Fatalf("batch %d has %d records and says %d", b.FirstOffset, len(b.records), b.NumRecords)
		}
		list = append(list, b)
		pos += size
	}
	return list
}

// TestForeignReadersUnderstandCompactedLogs decodes what compaction leaves: rewritten, compressed, with delete horizons, emptied, and control
// batches, and compares the indexes with it.
func TestForeignReadersUnderstandCompactedLogs(t *testing.T) {
	cfg := compactConfig()
	cfg.SegmentBytes = 4000
	s := newTxnLog(t, cfg)
	defer closeManager(t, s.m)
	for i := range 150 {
		codec := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}[i%5]
		kvs := []kv{{fmt.Sprint("u", i), "unique"}, {fmt.Sprint("k", i%7), fmt.Sprint("value ", i)}, {fmt.Sprint("gone", i%3), ""}}
		_, err := s.l.AppendAsLeader(keyed(t, codec, s.now.UnixMilli(), kvs...), 0)
		must(t, err)
		if i%10 == 0 {
			s.write(t, int64(i%20), kv{"k0", "transactional"})
			s.end(t, int64(i%20), record.MarkerType(i/10%2))
		}
	}
	s.compact(t)
	s.now = s.now.Add(time.Second)
	s.append(t, record.None, kv{"x", "more"})
	s.compact(t)
	want, err := rows(s.l, 0)
	must(t, err)
	kinds := map[string]int{}
	var got []row
	for _, seg := range *s.l.segments.Load() {
		data, err := vfs.ReadFile(s.mem, seg.log.path)
		must(t, err)
		at := map[int64]int64{}
		for _, b := range readForeign(t, data[:seg.size.Load()]) {
			last := b.FirstOffset + int64(b.LastOffsetDelta)
			at[int64(b.pos)] = last
			switch {
			case b.Attributes&0x20 != 0:
				kinds["control"]++
				continue
			case b.NumRecords == 0:
				kinds["emptied"]++
			case b.Attributes&7 != 0:
				kinds["compressed"]++
			}
			if b.Attributes&0x40 != 0 {
				kinds["horizon"]++
				if b.FirstTimestamp != s.now.Add(-time.Second).UnixMilli()+cfg.DeleteRetentionMs && b.FirstTimestamp != s.now.UnixMilli()+cfg.DeleteRetentionMs {
					t.Errorf("batch %d has the delete horizon %d", b.FirstOffset, b.FirstTimestamp)
				}
			}
			for _, r := range b.records {
				got = append(got, row{b.FirstOffset + int64(r.OffsetDelta), string(r.Key), string(r.Value), b.FirstTimestamp + r.TimestampDelta64})
			}
		}
		if seg == s.l.active() {
			continue
		}
		index, err := vfs.ReadFile(s.mem, filepath.Join(s.l.dir, segmentName(seg.base, indexSuffix)))
		must(t, err)
		if len(index)%offsetEntrySize != 0 {
			t.Errorf("index has %d bytes", len(index))
		}
		for ; len(index) > 0; index = index[offsetEntrySize:] {
			offset, pos := int64(seg.base)+int64(binary.BigEndian.Uint32(index)), int64(binary.BigEndian.Uint32(index[4:]))
			if last, ok := at[pos]; !ok || last != offset {
				t.Errorf("the index says that offset %d ends the batch at %d, that is %d (%v)", offset, pos, last, ok)
			}
			kinds["index entry"]++
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("record %+v, want %+v", got[i], want[i])
		}
	}
	for _, kind := range strings.Split("control,emptied,compressed,horizon,index entry", ",") {
		if kinds[kind] == 0 {
			t.Errorf("there was no %s among %v", kind, kinds)
		}
	}
}
