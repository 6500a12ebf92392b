package commitlog

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// openFiles returns how many descriptors this process has; -1 where the system does not tell.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// BenchmarkOpenManyPartitions opens 2,000 partitions of 5 segments on a real disk after a clean stop, and reports how many descriptors that takes.
func BenchmarkOpenManyPartitions(b *testing.B) {
	const partitions, segments = 2000, 5
	cfg := DefaultConfig()
	mc := managerConfig(vfs.OS, cfg)
	mc.Dirs = []string{b.TempDir()}
	m, err := OpenManager(b.Context(), mc)
	must(b, err)
	for p := range partitions {
		if p%500 == 499 { // segments that are being written keep their files open
			must(b, m.Close(context.Background()))
			m, err = OpenManager(b.Context(), mc)
			must(b, err)
		}
		l, err := m.GetOrCreate(cluster.TopicPartition{Topic: "many", Partition: int32(p)}, cluster.TopicID{}, true, cfg)
		must(b, err)
		for range segments {
			appendValues(b, l, 0, 1, "some value", "another")
			if len(l.Segments()) < segments {
				must(b, l.Roll())
			}
		}
	}
	must(b, m.Close(context.Background()))
	var files int
	for b.Loop() {
		before := openFiles()
		m, err := OpenManager(b.Context(), mc)
		must(b, err)
		files = openFiles() - before
		b.StopTimer()
		must(b, m.Close(context.Background()))
		b.StartTimer()
	}
	b.ReportMetric(float64(files), "files")
}

// TestTopicsComeAndGoWithoutALeak creates, uses and deletes logs, and wants files and goroutines to be as few as before. OTTLA_LONG_TESTS=1 does
// so 10,000 times.
func TestTopicsComeAndGoWithoutALeak(t *testing.T) {
	cycles := 250
	if longTests() {
		cycles = 10_000
	}
	disk := vfs.NewMem()
	cfg := smallConfig()
	cfg.FileDeleteDelayMs = 0
	cfg.FlushMessages = math.MaxInt64
	mc := managerConfig(disk, cfg)
	mc.FlushCheckInterval = time.Millisecond // also how often deleted partitions are removed
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	defer closeManager(t, m)
	m.Start()
	cycle := func(i int) {
		tp := cluster.TopicPartition{Topic: fmt.Sprint("topic-", i%7), Partition: int32(i % 3)}
		l, err := m.GetOrCreate(tp, cluster.NewTopicID(), true, cfg)
		must(t, err)
		appendValues(t, l, 0, 1, "a", "b")
		must(t, l.Roll())
		appendValues(t, l, 0, 1, "c")
		must(t, m.Delete(tp))
	}
	cycle(0)
	files, goroutines := disk.OpenFiles(), runtime.NumGoroutine()
	for i := range cycles {
		cycle(i)
	}
	if n := disk.OpenFiles(); n > files {
		t.Errorf("%d files are open after %d topics, %d before", n, cycles, files)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 {
		t.Errorf("%d goroutines after %d topics, %d before", n, cycles, goroutines)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		entries, err := disk.ReadDir("/logs")
		must(t, err)
		left := 0
		for _, e := range entries {
			if e.IsDir() {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d directories of deleted topics are left", left)
		}
		runtime.Gosched()
	}
}
