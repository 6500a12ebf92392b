package commitlog

import (
	"math"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
)

// BenchmarkReadOfAGibibyte reads 64 KiB at random offsets of a segment of a gibibyte: from the page cache, and from the disk.
func BenchmarkReadOfAGibibyte(b *testing.B) {
	l, batch := benchLog(b, DefaultConfig()), benchBatch(b, 64<<10)
	for l.Size() < 1<<30-1<<20 {
		batch.SetBaseOffset(0)
		_, err := l.AppendAsLeader(batch, 0)
		must(b, err)
	}
	must(b, l.Flush())
	buf := make([]byte, 1<<20)
	src := &oneBuffer{buf: &buf}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, cold := range []bool{false, true} {
		b.Run(map[bool]string{false: "hot", true: "cold"}[cold], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(64 << 10)
			for b.Loop() {
				if cold {
					b.StopTimer()
					forget(b, (*l.segments.Load())[0].log.path)
					b.StartTimer()
				}
				if _, err := l.Read(cluster.Offset(rng.Int64N(int64(l.LogEndOffset()))), 64<<10, math.MaxInt64, true, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// forget makes the system drop what it has of a file in memory.
func forget(b *testing.B, path string) {
	f, err := os.Open(path)
	must(b, err)
	defer f.Close()
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, 4, 0, 0); errno != 0 { // POSIX_FADV_DONTNEED
		b.Skipf("the page cache cannot be dropped here: %v", errno)
	}
}
