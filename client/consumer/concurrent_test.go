package consumer_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// TestPausesOfAnotherGoroutineLoseAndRepeatNothing pauses, resumes and asks from one goroutine what another one reads.
func TestPausesOfAnotherGoroutineLoseAndRepeatNothing(t *testing.T) {
	fc := fakecluster.New(t, 2)
	fc.CreateTopic("orders", 2)
	other := cluster.TopicPartition{Topic: "orders", Partition: 1}
	const each = 30000
	for _, tp := range []cluster.TopicPartition{orders, other} {
		fc.Fill(tp, 0, each/100, 100, record.None)
	}
	c := start(t, fc)
	assign(t, c, orders, other)
	progress := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			if _, more := <-progress; !more {
				return
			}
			tp := []cluster.TopicPartition{orders, other}[i%2]
			if err := c.Pause(tp); err != nil {
				t.Error(err)
			}
			c.Paused()
			c.Assignment()
			c.HighWatermark(tp)
			if err := c.Resume(); err != nil {
				t.Error(err)
			}
			if _, err := c.Position(t.Context(), tp); err != nil {
				t.Error(err)
			}
		}
	})
	next := map[int32]int{}
	for r, err := range c.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if int(r.Offset) != next[r.Partition] || string(r.Value) != fmt.Sprint(next[r.Partition]) {
			t.Errorf("partition %d: got offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
			break
		}
		next[r.Partition]++
		if r.Offset%200 == 0 {
			select {
			case progress <- struct{}{}:
			default:
			}
		}
		if next[0]+next[1] == 2*each {
			break
		}
	}
	close(progress)
	wg.Wait()
}
