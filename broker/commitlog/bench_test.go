package commitlog

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

func benchLog(b *testing.B, cfg Config) *Log {
	m, err := OpenManager(b.Context(), ManagerConfig{Dirs: []string{b.TempDir()}, Defaults: cfg, BrokerID: -1})
	must(b, err)
	m.Start()
	b.Cleanup(func() { _ = m.Close(b.Context()) })
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(b, err)
	return l
}

// benchBatch is a batch of about n bytes, of records of 1 KiB.
func benchBatch(b *testing.B, n int) record.Batch {
	builder := record.NewBuilder(nil, n)
	value := []byte(strings.Repeat("x", 1000))
	for builder.Append(1, nil, value, nil) {
		continue
	}
	batch, err := builder.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	must(b, err)
	return batch
}

// maxBenchFile keeps benchmarks within the page cache: logs and files start over after so many bytes.
const maxBenchFile = 256 << 20

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("leader/%dKiB", size>>10), func(b *testing.B) {
			l, batch := benchLog(b, DefaultConfig()), benchBatch(b, size)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				batch.SetBaseOffset(0)
				if _, err := l.AppendAsLeader(batch, 0); err != nil {
					b.Fatal(err)
				}
				if l.Size() > maxBenchFile {
					b.StopTimer()
					must(b, l.TruncateFullyAndStartAt(0))
					b.StartTimer()
				}
			}
		})
		b.Run(fmt.Sprintf("bare/%dKiB", size>>10), func(b *testing.B) { benchBare(b, benchBatch(b, size)) })
	}
}

// benchBare does what cannot be left out: the checksum, and one write into a file whose blocks are reserved.
func benchBare(b *testing.B, batch record.Batch) {
	f, err := vfs.OS.OpenFile(filepath.Join(b.TempDir(), "bare"), os.O_RDWR|os.O_CREATE, 0o644)
	must(b, err)
	defer func() { must(b, f.Close()) }()
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	pos, reserved := int64(0), int64(0)
	for b.Loop() {
		if !batch.CheckCRC() {
			b.Fatal("checksum")
		}
		if pos+int64(len(batch)) > reserved {
			reserved += maxReserve
			must(b, f.Preallocate(reserved))
		}
		if _, err := f.WriteAt(batch, pos); err != nil {
			b.Fatal(err)
		}
		if pos += int64(len(batch)); pos > maxBenchFile {
			b.StopTimer()
			must(b, f.Truncate(0))
			pos, reserved = 0, 0
			b.StartTimer()
		}
	}
}

func BenchmarkAppendFsync(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.FlushMessages = 1
			l := benchLog(b, cfg)
			b.SetBytes(int64(len(benchBatch(b, 64<<10))))
			b.SetParallelism(max(writers/2, 1))
			b.RunParallel(func(pb *testing.PB) {
				batch := benchBatch(b, 64<<10)
				for pb.Next() {
					batch.SetBaseOffset(0)
					if _, err := l.AppendAsLeader(batch, 0); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l, batch := benchLog(b, DefaultConfig()), benchBatch(b, 64<<10)
	for l.Size() < 128<<20 {
		batch.SetBaseOffset(0)
		_, err := l.AppendAsLeader(batch, 0)
		must(b, err)
	}
	buf := make([]byte, 2<<20)
	src := &oneBuffer{buf: &buf}
	for _, size := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("sequential/%dKiB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			next, total := cluster.Offset(0), 0
			for b.Loop() {
				f, err := l.Read(next, size, math.MaxInt64, true, src)
				if err != nil {
					b.Fatal(err)
				}
				total += len(f.Data)
				if next = f.NextOffset; next == l.LogEndOffset() {
					next = 0
				}
			}
			b.SetBytes(int64(total / b.N))
		})
	}
	b.Run("random/64KiB", func(b *testing.B) {
		b.ReportAllocs()
		next := uint64(1)
		for b.Loop() {
			next = next*6364136223846793005 + 1442695040888963407
			if _, err := l.Read(cluster.Offset(next%uint64(l.LogEndOffset())), 64<<10, math.MaxInt64, true, src); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(64 << 10)
	})
}
