package consumer

import (
	"testing"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// FuzzCursor reads whatever bytes a broker may send: no panic, no endless loop, offsets that only grow, nothing before the position.
func FuzzCursor(f *testing.F) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		b := record.NewBuilder(nil, 1<<16)
		for i := range 5 {
			b.Append(int64(i), []byte("key"), []byte("value"), []record.Header{{Key: "h"}})
		}
		data, err := b.Finish(codec, record.DefaultLevel, 7, 0, 0, true)
		if err != nil {
			f.Fatal(err)
		}
		next := append(record.Batch(nil), data...)
		next.SetBaseOffset(5)
		f.Add(append(append([]byte(nil), data...), next...), int64(2), true, true)
		f.Add([]byte(data[:len(data)-3]), int64(0), false, false)
		flipped := append([]byte(nil), data...)
		flipped[60] ^= 0xff
		f.Add(flipped, int64(0), false, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, from int64, committed, crc bool) {
		if from < 0 {
			from = 0
		}
		cfg := config{checkCRCs: crc}
		if committed {
			cfg.isolation = client.ReadCommitted
		}
		p := &part{tp: cluster.TopicPartition{Topic: "t"}}
		good, end, _ := whole(data, func(record.Batch) {})
		var k cursor
		k.start(chunk{part: p, data: good, from: cluster.Offset(from), end: end, aborted: []wire.Aborted{{ProducerID: 7, FirstOffset: 5}, {ProducerID: 7}}}, &cfg)
		last := cluster.Offset(from) - 1
		for range len(data) + 1 { // a record takes at least a byte, compressed ones are bounded by their count
			ok, err := k.advance()
			if !ok || err != nil {
				return
			}
			if k.rec.Offset <= last {
				t.Fatalf("offset %d follows %d", k.rec.Offset, last)
			}
			last = k.rec.Offset
		}
	})
}
