package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/record"
)

// fill appends batches of about size bytes to partition 0 of orders.
func fill(tb testing.TB, fc *fakecluster.Cluster, batches, size, value int, codec record.Codec) (records int) {
	tb.Helper()
	b := record.NewBuilder(nil, size)
	v := make([]byte, value)
	for b.Append(1, nil, v, nil) {
	}
	data, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		tb.Fatal(err)
	}
	for range batches {
		fc.Append(orders, data)
	}
	return batches * b.Count()
}

// BenchmarkRecords measures the way of a record from a broker in the same process, which copies it, to the loop. To compare with: 11 ns to
// iterate and 200 ns in franz-go.
func BenchmarkRecords(b *testing.B) {
	for _, value := range []int{100, 1024} {
		for _, batch := range []int{16 << 10, 256 << 10} {
			for _, codec := range []record.Codec{record.None, record.Snappy} {
				b.Run(fmt.Sprintf("value=%d/batch=%d/%s", value, batch, codec), func(b *testing.B) {
					fc := fakecluster.New(b, 1)
					fc.CreateTopic("orders", 1)
					fill(b, fc, 8<<20/batch, batch, value, codec)
					end := fc.End(orders)
					c := start(b, fc, consumer.FetchMaxWait(time.Millisecond)) // a seek at the end waits for the answer that is on its way
					if err := c.Assign(orders); err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(value))
					b.ReportAllocs()
					b.ResetTimer()
					left := b.N // a loop of our own: b.Loop cannot stand inside the consumer's
					for r, err := range c.Records(b.Context()) {
						if err != nil {
							b.Fatal(err)
						}
						if left--; left <= 0 {
							break
						}
						if r.Offset == end-1 {
							if err := c.Seek(orders, 0); err != nil {
								b.Fatal(err)
							}
						}
					}
				})
			}
		}
	}
}

func TestARecordCostsNoAllocation(t *testing.T) {
	fc := fakecluster.New(t, 1)
	fc.CreateTopic("orders", 1)
	records := fill(t, fc, 1, 900<<10, 100, record.None)
	cl, err := client.Dial(t.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := c.Assign(orders); err != nil {
		t.Fatal(err)
	}
	read(t, c, 1) // the answer is here
	const each = 800
	loop := func() {
		left := each
		for _, err := range c.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if left--; left == 0 {
				break
			}
		}
	}
	n := testing.AllocsPerRun(1, loop)
	for range records/each/2 - 2 { // the least of several: the consumer's other goroutines allocate now and then
		n = min(n, testing.AllocsPerRun(1, loop))
	}
	if n > 4 { // the loop itself, not its records
		t.Errorf("%v allocations for %d records", n, each)
	}
}
