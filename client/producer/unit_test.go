package producer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/kerr"
)

func TestWeightedFollowsKIP794(t *testing.T) {
	// Queues 0, 3, 1 become the weights 4, 1, 3 and the table 4, 5, 8.
	want := []int{0, 0, 0, 0, 1, 2, 2, 2}
	for r, w := range want {
		got := weighted([]int32{0, 3, 1}, func(sum int32) int32 {
			if sum != 8 {
				t.Fatalf("the weights add up to %d", sum)
			}
			return int32(r)
		})
		if got != w {
			t.Errorf("random %d: got %d, want %d", r, got, w)
		}
	}
	if got := weighted([]int32{7}, func(int32) int32 { return 0 }); got != 0 {
		t.Errorf("a single partition: %d", got)
	}
}

func TestBudgetServesThoseWhoWaitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		take := func(n int64) error {
			return b.take(t.Context(), nil, n, time.Minute, func() {})
		}
		if err := take(80); err != nil {
			t.Fatal(err)
		}
		if err := take(101); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("more than there is: %v", err)
		}
		done := make(chan int64)
		for _, n := range []int64{50, 10, 30} { // 10 would fit at once, but 50 came first
			go func() {
				if err := take(n); err != nil {
					t.Error(err)
				}
				done <- n
			}()
			synctest.Wait()
		}
		if b.waiting.Load() != 3 {
			t.Errorf("%d wait", b.waiting.Load())
		}
		b.give(30) // 50
		first := <-done
		b.give(50) // 10, 30
		<-done
		<-done
		if first != 50 || b.used() != 90 || b.waiting.Load() != 0 {
			t.Errorf("first %d, used %d, waiting %d", first, b.used(), b.waiting.Load())
		}
	})
}

func TestBudgetForgetsThoseWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		if err := b.take(t.Context(), nil, 90, time.Minute, func() {}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		closed := make(chan struct{})
		errs := make(chan error)
		go func() { errs <- b.take(ctx, nil, 50, time.Minute, func() {}) }()
		synctest.Wait()
		go func() { errs <- b.take(t.Context(), nil, 10, time.Minute, func() {}) }()
		synctest.Wait()
		cancel() // lets the second one through
		for range 2 {
			if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		go func() { errs <- b.take(t.Context(), closed, 50, time.Minute, func() {}) }()
		synctest.Wait()
		close(closed)
		if err := <-errs; !errors.Is(err, client.ErrClosed) {
			t.Error(err)
		}
		if err := b.take(t.Context(), nil, 50, time.Second, func() {}); !errors.Is(err, kerr.RequestTimedOut) {
			t.Error(err)
		}
		if b.used() != 100 || b.waiting.Load() != 0 {
			t.Errorf("used %d, waiting %d", b.used(), b.waiting.Load())
		}
	})
}
