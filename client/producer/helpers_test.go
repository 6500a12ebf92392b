package producer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time. A goroutine that is left behind fails it.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

var orders = cluster.TopicPartition{Topic: "orders"}

// start returns a producer on a fake cluster; both end with the test.
func start(t *testing.T, fc *fakecluster.Cluster, opts ...producer.Option) *producer.Producer {
	t.Helper()
	cl, err := client.Dial(t.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	p, err := producer.New(cl, opts...)
	if err != nil {
		t.Fatalf("new producer: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
		if n := p.BufferedBytes(); n != 0 {
			t.Errorf("%d bytes of buffer memory are still reserved", n)
		}
		if err := cl.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return p
}

// tally collects the outcomes of records by the number that is their value.
type tally struct {
	mu    sync.Mutex
	order []int
	errs  map[int]error
	times map[int]int
	where map[int]producer.Result
}

func newTally() *tally {
	return &tally{errs: map[int]error{}, times: map[int]int{}, where: map[int]producer.Result{}}
}

func (y *tally) callback(i int) func(producer.Result, error) {
	return func(r producer.Result, err error) {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.order = append(y.order, i)
		y.times[i]++
		y.errs[i] = err
		y.where[i] = r
	}
}

// send hands over records with the numbers from first to last, to partition 0 of orders.
func (y *tally) send(t *testing.T, p *producer.Producer, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		r := producer.Record{Topic: "orders", Partition: producer.To(0), Value: fmt.Append(nil, i)}
		if err := p.SendAsync(t.Context(), r, y.callback(i)); err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
	}
}

// check makes sure that records first to last have one outcome each, in order, which is wanted by want.
func (y *tally) check(t *testing.T, first, last int, want func(error) bool) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if !slices.IsSorted(y.order) {
		t.Errorf("callbacks came out of order")
	}
	for i := first; i <= last; i++ {
		if y.times[i] != 1 {
			t.Fatalf("record %d has %d outcomes", i, y.times[i])
		}
		if !want(y.errs[i]) {
			t.Fatalf("record %d: %v", i, y.errs[i])
		}
	}
}

func isNil(err error) bool { return err == nil }

func flush(t *testing.T, p *producer.Producer) {
	t.Helper()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// numbers returns the texts of first to last.
func numbers(first, last int) []string {
	var out []string
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// once makes a script that acts in the first n calls only.
func once(n int, a *fakecluster.Act) func(fakecluster.Call) *fakecluster.Act {
	return func(c fakecluster.Call) *fakecluster.Act {
		if c.N <= n {
			return a
		}
		return nil
	}
}
