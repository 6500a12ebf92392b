package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time. A goroutine that is left behind fails it.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

var orders = cluster.TopicPartition{Topic: "orders"}

// start returns a consumer on a fake cluster that starts at the beginning; both end with the test.
func start(tb testing.TB, fc *fakecluster.Cluster, opts ...consumer.Option) *consumer.Consumer {
	tb.Helper()
	cl, err := client.Dial(tb.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
	if err != nil {
		tb.Fatalf("dial: %v", err)
	}
	c, err := consumer.New(cl, append([]consumer.Option{consumer.OffsetReset(consumer.ResetEarliest)}, opts...)...)
	if err != nil {
		tb.Fatalf("new consumer: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			tb.Errorf("close consumer: %v", err)
		}
		if err := cl.Close(); err != nil {
			tb.Errorf("close client: %v", err)
		}
	})
	return c
}

func assign(t *testing.T, c *consumer.Consumer, tps ...cluster.TopicPartition) {
	t.Helper()
	if err := c.Assign(tps...); err != nil {
		t.Fatalf("assign: %v", err)
	}
}

// read returns the values of the next n records and fails on errors. It gives up after a minute of virtual time.
func read(t *testing.T, c *consumer.Consumer, n int) []string {
	t.Helper()
	var out []string
	if n == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for r, err := range c.Records(ctx) {
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(out), n, err)
		}
		out = append(out, string(r.Value))
		if len(out) == n {
			break
		}
	}
	return out
}

// readError returns what the consumer yields next, which has to be an error.
func readError(t *testing.T, c *consumer.Consumer) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for r, err := range c.Records(ctx) {
		if err == nil {
			t.Fatalf("got record %+v, want an error", r)
		}
		return err
	}
	return nil
}

// silence makes sure that nothing comes for a while.
func silence(t *testing.T, c *consumer.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for r, err := range c.Records(ctx) {
		if err == nil {
			t.Errorf("got record %+v, want none", r)
		}
		return
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

func position(t *testing.T, c *consumer.Consumer, tp cluster.TopicPartition) cluster.Offset {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o, err := c.Position(ctx, tp)
	if err != nil {
		t.Fatalf("position of %v: %v", tp, err)
	}
	return o
}
