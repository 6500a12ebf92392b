package commitlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// scaled returns a number of the environment.
func scaled(b *testing.B, name string, usual int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	must(b, err)
	return n
}

// BenchmarkCompaction compacts OTTLA_COMPACT_RECORDS records (a million) with OTTLA_COMPACT_KEYS keys (a hundred thousand) and 100 bytes each, on a
// real disk: time, peak of the heap over what it was before, and bytes written.
func BenchmarkCompaction(b *testing.B) {
	total, keys := scaled(b, "OTTLA_COMPACT_RECORDS", 1_000_000), scaled(b, "OTTLA_COMPACT_KEYS", 100_000)
	for _, codec := range []record.Codec{record.None, record.LZ4} {
		b.Run(fmt.Sprintf("records=%d/keys=%d/%s", total, keys, codec), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				compactOnce(b, codec, total, keys)
				b.StartTimer()
			}
		})
	}
}

func compactOnce(b *testing.B, codec record.Codec, total, keys int) {
	b.Helper()
	cfg := DefaultConfig()
	cfg.CleanupPolicy = "compact"
	cfg.SegmentBytes = 64 << 20
	cfg.FlushMs = math.MaxInt64
	mc := managerConfig(vfs.OS, cfg)
	mc.Dirs = []string{b.TempDir()}
	mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return math.MaxInt64 }
	mc.Cleaner.Threads = 1
	m, err := OpenManager(b.Context(), mc)
	must(b, err)
	defer func() { _ = m.Close(context.Background()) }()
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(b, err)
	rng := rand.New(rand.NewPCG(1, 1))
	var key [16]byte
	value := make([]byte, 84)
	for i := 0; i < total; {
		batch := record.NewBuilder(nil, math.MaxInt32)
		for range 200 {
			binary.BigEndian.PutUint64(key[:], uint64(rng.IntN(keys)))
			for j := range value[:42] {
				value[j] = byte(rng.Uint32())
			}
			batch.Append(int64(1000+i), key[:], value, nil)
			i++
		}
		p, err := batch.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
		must(b, err)
		_, err = l.AppendAsLeader(p, 0)
		must(b, err)
	}
	must(b, l.Roll())
	must(b, l.Flush())
	runtime.GC()
	peak := watchHeap()
	c := &cleaner{m: m}
	b.StartTimer()
	started := time.Now()
	for c.next(b.Context()) {
	}
	took := time.Since(started)
	b.StopTimer()
	s := m.Stats().Cleaner
	if s.Failed+s.Interrupted > 0 || s.RecordsBefore < int64(total) || s.RecordsAfter > int64(keys)*s.Rounds {
		b.Fatalf("stats %+v", s)
	}
	over := peak()
	if limit := m.clean.cfg.DedupeBufferBytes + 64<<20; over > limit {
		b.Errorf("the heap grew by %d bytes at most, want at most %d", over, limit)
	}
	b.ReportMetric(float64(over)/(1<<20), "peak-MiB")
	b.ReportMetric(float64(s.BytesBefore)/(1<<20), "MiB-before")
	b.ReportMetric(float64(s.BytesAfter)/(1<<20), "MiB-written")
	b.ReportMetric(float64(total)/took.Seconds(), "records/s")
	b.ReportMetric(float64(s.Rounds), "rounds")
}

// watchHeap looks at the memory that the process has from the system for its heap, over and over, until it is asked for the most that
// there was above the beginning.
func watchHeap() (peak func() int64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64() + sample[1].Value.Uint64())
	}
	first := read()
	var most atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), read()-first))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return most.Load()
	}
}
