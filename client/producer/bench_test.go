package producer_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
)

// BenchmarkSendAsync measures the way of a record from the call to the answer, including a broker in the same process that does nothing but
// answer. The limits to compare with: 11 ns to encode a record of 100 bytes with its share of the checksum, 200 ns as the aim for the client.
func BenchmarkSendAsync(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, batch := range []int{16384, 256 << 10, 1 << 20} {
			for _, partitions := range []int32{1, 8} {
				for _, callback := range []bool{false, true} {
					for _, idempotent := range []bool{false, true} {
						b.Run(fmt.Sprintf("value=%d/batch=%d/partitions=%d/callback=%v/idempotent=%v", size, batch, partitions, callback, idempotent), func(b *testing.B) {
							benchmarkSendAsync(b, size, batch, partitions, callback, idempotent)
						})
					}
				}
			}
		}
	}
}

func benchmarkSendAsync(b *testing.B, size, batch int, partitions int32, callback, idempotent bool) {
	fc := fakecluster.New(b, 1)
	fc.Discard = true
	fc.CreateTopic("bench", partitions)
	cl, err := client.Dial(b.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	p, err := producer.New(cl, producer.BatchSize(batch), producer.Idempotence(idempotent))
	if err != nil {
		b.Fatal(err)
	}
	var delivered atomic.Int64
	var f func(producer.Result, error)
	if callback {
		f = func(_ producer.Result, err error) {
			if err == nil {
				delivered.Add(1)
			}
		}
	}
	rec := producer.Record{Topic: "bench", Value: make([]byte, size)}
	ctx := b.Context()
	if _, err := p.Send(ctx, rec); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := p.SendAsync(ctx, rec, f); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.StopTimer()
	if callback && delivered.Load() < int64(b.N) {
		b.Fatalf("delivered %d of %d", delivered.Load(), b.N)
	}
}

// cpu is the processor time that the process has used, broker and memory network included: unlike wall time it does not depend on the
// neighbours.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
