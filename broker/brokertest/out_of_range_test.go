package brokertest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// TestConsumersOutOfRangeDoAsTheirPolicySays deletes what consumers were to read next, and has them seek beyond the end (auto.offset.reset).
func TestConsumersOutOfRangeDoAsTheirPolicySays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 2, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 0)
		acked(t, cl, "a", 30)
		readers := map[consumer.Reset]*consumer.Consumer{}
		take := func(reset consumer.Reset, n int) (got []string, err error) {
			for rec, err := range readers[reset].Records(t.Context()) {
				if err != nil {
					return got, err
				}
				if got = append(got, string(rec.Value)); len(got) == n {
					break
				}
			}
			return got, nil
		}
		want := func(reset consumer.Reset, values ...string) {
			t.Helper()
			got, err := take(reset, len(values))
			if err != nil || !slices.Equal(got, values) {
				t.Errorf("%s: read %v, %v; want %v", reset, got, err, values)
			}
		}
		outOfRange := func(position cluster.Offset) {
			t.Helper()
			if got, err := take(consumer.ResetNone, 1); !errors.Is(err, kerr.OffsetOutOfRange) {
				t.Errorf("none: read %v, %v at %d", got, err, position)
			}
			if at, err := readers[consumer.ResetNone].Position(t.Context(), events); err != nil || at != position {
				t.Errorf("none: the position is %d, %v, want %d", at, err, position)
			}
		}
		for _, reset := range []consumer.Reset{consumer.ResetEarliest, consumer.ResetLatest, consumer.ResetNone} {
			r, err := consumer.New(cl, consumer.OffsetReset(reset))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close(t.Context())
			readers[reset] = r
			_ = r.Assign(events)
			if err := r.Seek(events, 5); err != nil {
				t.Fatal(err)
			}
			want(reset, "a5", "a6")
			if err := r.Pause(); err != nil { // what it has fetched is dropped
				t.Fatal(err)
			}
		}
		res, err := admin.New(cl).DeleteRecords(t.Context(), map[cluster.TopicPartition]cluster.Offset{events: 25}, time.Minute)
		if err != nil || res[events].Err != nil {
			t.Fatal(err, res)
		}
		for _, r := range readers {
			if err := r.Resume(); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Second) // until they have noticed; errors and resets wait for the reader
		want(consumer.ResetEarliest, "a25", "a26", "a27", "a28", "a29")
		outOfRange(7)
		later := func(prefix string, n int) (done func()) {
			var sending sync.WaitGroup
			sending.Go(func() {
				<-time.After(time.Second)
				acked(t, cl, prefix, n)
			})
			return sending.Wait
		}
		done := later("b", 3)
		want(consumer.ResetLatest, "b0", "b1", "b2")
		want(consumer.ResetEarliest, "b0", "b1", "b2")
		done()
		for _, r := range readers {
			if err := r.Seek(events, 1000); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Second)
		want(consumer.ResetEarliest, "a25", "a26", "a27", "a28", "a29", "b0")
		outOfRange(1000)
		done = later("c", 2)
		want(consumer.ResetLatest, "c0", "c1")
		if err := readers[consumer.ResetNone].Seek(events, 33); err != nil {
			t.Fatal(err)
		}
		want(consumer.ResetNone, "c0", "c1")
		done() // a consumer may read a record before its producer is told that it is there
	})
}
