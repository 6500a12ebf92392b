package producer_test

import (
	"sync/atomic"
	"testing"

	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
)

// TestARequestHoldsOneBatchOfEachPartition sends faster than requests are collected: a partition whose batch is in the request already is
// filled again meanwhile. The broker refuses a request that names it twice.
func TestARequestHoldsOneBatchOfEachPartition(t *testing.T) {
	fc := fakecluster.New(t, 1)
	fc.CreateTopic("orders", 3)
	p := start(t, fc, producer.Retries(0), producer.BatchSize(200))
	var failed atomic.Value
	for i := range 60_000 {
		err := p.SendAsync(t.Context(), producer.Record{Topic: "orders", Partition: producer.To(int32(i % 3)), Value: []byte("some value")}, func(_ producer.Result, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := failed.Load(); err != nil {
		t.Fatal(err)
	}
}
