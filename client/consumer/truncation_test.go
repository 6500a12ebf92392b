package consumer_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

// truncated returns a consumer that has read 15 of 20 records and then meets a leader, under a new epoch, that says that epoch 0 ends at end, until it has been
// asked for records from there: those it gives are its own.
func truncated(t *testing.T, end int64, reset consumer.Reset) *consumer.Consumer {
	t.Helper()
	fc := fakecluster.New(t, 2)
	fc.CreateTopic("orders", 1)
	fc.Fill(orders, 0, 2, 10, record.None)
	var resumed atomic.Bool
	fc.OnFetch = func(c fakecluster.Call) *fakecluster.Act {
		switch {
		case c.Broker == 2 && c.Offset <= cluster.Offset(end):
			resumed.Store(true)
		case c.Broker == 2 && c.Epoch == 0 && !resumed.Load():
			return &fakecluster.Act{Diverging: &ottlapb.EpochEndOffset{Epoch: 0, EndOffset: end}}
		}
		return nil
	}
	c := start(t, fc, consumer.OffsetReset(reset))
	assign(t, c, orders)
	if err := c.SeekToBeginning(orders); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbers(0, 14), read(t, c, 15)); diff != "" {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
	fc.SetLeader(orders, 2)
	fc.Fill(orders, 20, 1, 10, record.None)
	<-time.After(time.Second) // until the new leader has answered
	return c
}

func TestATruncationIsToldWhereThereIsNoResetPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := truncated(t, 12, consumer.ResetNone)
		var err error
		for _, e := range c.Records(t.Context()) {
			if err = e; err != nil {
				break
			}
		}
		var cut *consumer.TruncationError
		if !errors.As(err, &cut) || cut.Divergent != 12 || cut.Epoch != 0 || cut.Position != 15 {
			t.Fatalf("got %v", err)
		}
		var e *client.Error
		if !errors.Is(err, kerr.OffsetOutOfRange) || !errors.As(err, &e) || e.TopicPartition != orders {
			t.Errorf("got %v", err)
		}
		if err := c.Seek(orders, cut.Divergent); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(12, 29), read(t, c, 18)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestATruncatedConsumerGoesOnWhereTheLogsPart(t *testing.T) {
	for _, reset := range []consumer.Reset{consumer.ResetEarliest, consumer.ResetLatest} {
		bubble(t, func(t *testing.T) {
			c := truncated(t, 12, reset)
			if diff := cmp.Diff(numbers(12, 29), read(t, c, 18)); diff != "" {
				t.Errorf("%s: records (-want +got):\n%s", reset, diff)
			}
		})
	}
}

func TestATruncationOfWhatWasNotReadYetGoesUnnoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := truncated(t, 17, consumer.ResetNone)
		if diff := cmp.Diff(numbers(15, 29), read(t, c, 15)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}
