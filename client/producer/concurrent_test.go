package producer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/kerr"
)

// TestEveryRecordHasOneOutcomeWhateverHappensAtOnce lets many goroutines send, flush and describe while brokers refuse records, memory is short
// and the producer is closed in the middle.
func TestEveryRecordHasOneOutcomeWhateverHappensAtOnce(t *testing.T) {
	fc := fakecluster.New(t, 2)
	fc.CreateTopic("orders", 5)
	fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
		switch c.N % 7 {
		case 3:
			return &fakecluster.Act{Code: kerr.NotEnoughReplicas}
		case 5:
			return &fakecluster.Act{Code: kerr.InvalidRecord}
		}
		return nil
	}
	p := start(t, fc, producer.BatchSize(1000), producer.BufferMemory(50_000), producer.Linger(time.Millisecond), producer.RetryBackoff(time.Millisecond, 2*time.Millisecond))
	var accepted, delivered, failed, refused atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				r := producer.Record{Topic: "orders", Value: fmt.Append(nil, g, i)}
				if g%2 == 0 {
					r.Key = r.Value
				}
				err := p.SendAsync(t.Context(), r, func(_ producer.Result, err error) {
					if err == nil {
						delivered.Add(1)
					} else {
						failed.Add(1)
					}
				})
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, client.ErrClosed):
					refused.Add(1)
				default:
					t.Errorf("send: %v", err)
				}
				if i%500 == 0 {
					if err := p.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if g == 7 && i == 1500 {
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					_ = p.Close(ctx) // the others go on sending
				}
			}
		})
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if accepted.Load() != delivered.Load()+failed.Load() || delivered.Load() == 0 || failed.Load() == 0 {
		t.Errorf("accepted %d, delivered %d, failed %d, refused %d", accepted.Load(), delivered.Load(), failed.Load(), refused.Load())
	}
}
