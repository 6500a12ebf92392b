package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

func TestRecordsComeInOrderWithEverythingInThem(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				fc.SetLeader(orders, 1) // leader epoch 1
				b := record.NewBuilder(nil, 1<<20)
				b.Append(1000, []byte("k"), []byte("v"), []record.Header{{Key: "h", Value: []byte("x")}, {Key: "n"}})
				b.Append(999, nil, nil, nil)
				b.Append(1001, []byte{}, []byte{}, nil)
				data, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
				if err != nil {
					t.Fatal(err)
				}
				fc.Append(orders, data)
				fc.Append(orders, data)
				c := start(t, fc)
				assign(t, c, orders)
				want := consumer.Record{Topic: "orders", LeaderEpoch: 1}
				i := 0
				for got, err := range c.Records(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					want.Offset = cluster.Offset(i)
					switch i % 3 {
					case 0:
						want.Timestamp, want.Key, want.Value, want.Headers = time.UnixMilli(1000), []byte("k"), []byte("v"), []record.Header{{Key: "h", Value: []byte("x")}, {Key: "n"}}
					case 1:
						want.Timestamp, want.Key, want.Value, want.Headers = time.UnixMilli(999), nil, nil, nil
					case 2:
						want.Timestamp, want.Key, want.Value, want.Headers = time.UnixMilli(1001), []byte{}, []byte{}, nil
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("record %d (-want +got):\n%s", i, diff)
					}
					if i++; i == 6 {
						break
					}
				}
			})
		})
	}
}

func TestTheAppendTimeOfTheBrokerIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		b := record.NewBuilder(nil, 1<<20)
		b.Append(1000, nil, nil, nil)
		data, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
		if err != nil {
			t.Fatal(err)
		}
		data.SetLogAppendTime(5000)
		fc.Append(orders, data)
		c := start(t, fc)
		assign(t, c, orders)
		for r, err := range c.Records(t.Context()) {
			if err != nil || r.Timestamp.UnixMilli() != 5000 || r.TimestampType != record.LogAppendTime {
				t.Errorf("got %+v, %v", r, err)
			}
			break
		}
	})
}

func TestManyPartitionsOnManyBrokersAreAllRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		fc.CreateTopic("orders", 7)
		for i := range int32(7) {
			fc.Fill(cluster.TopicPartition{Topic: "orders", Partition: i}, 0, 20, 50, record.None)
		}
		c := start(t, fc, consumer.MaxPartitionFetchBytes(1000))
		if err := c.AssignTopics(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		if n := len(c.Assignment()); n != 7 {
			t.Fatalf("%d partitions are assigned", n)
		}
		next, total := map[int32]cluster.Offset{}, 0
		for r, err := range c.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset != next[r.Partition] || string(r.Value) != fmt.Sprint(int(r.Offset)) {
				t.Fatalf("partition %d: got offset %d, value %s, want %d", r.Partition, r.Offset, r.Value, next[r.Partition])
			}
			next[r.Partition]++
			if total++; total == 7*1000 {
				break
			}
		}
		for i := range int32(7) {
			tp := cluster.TopicPartition{Topic: "orders", Partition: i}
			if o := position(t, c, tp); o != 1000 {
				t.Errorf("position of %v is %d", tp, o)
			}
			if h, ok := c.HighWatermark(tp); !ok || h != 1000 {
				t.Errorf("high watermark of %v is %d, %v", tp, h, ok)
			}
		}
	})
}

func TestOffsetResetDecidesWhereToStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 2, 5, record.None)
		fc.TrimTo(orders, 5)
		earliest := start(t, fc, consumer.OffsetReset(consumer.ResetEarliest))
		latest := start(t, fc, consumer.OffsetReset(consumer.ResetLatest))
		none := start(t, fc, consumer.OffsetReset(consumer.ResetNone))
		for _, c := range []*consumer.Consumer{earliest, latest, none} {
			assign(t, c, orders)
		}
		if o := position(t, earliest, orders); o != 5 {
			t.Errorf("earliest starts at %d", o)
		}
		if o := position(t, latest, orders); o != 10 {
			t.Errorf("latest starts at %d", o)
		}
		if err := readError(t, none); !errors.Is(err, kerr.OffsetOutOfRange) || !strings.Contains(err.Error(), "no offset reset policy") {
			t.Errorf("none: %v", err)
		}
		fc.Fill(orders, 10, 1, 5, record.None)
		if diff := cmp.Diff(numbers(5, 14), read(t, earliest, 10)); diff != "" {
			t.Errorf("earliest (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(numbers(10, 14), read(t, latest, 5)); diff != "" {
			t.Errorf("latest (-want +got):\n%s", diff)
		}
		if err := none.Seek(orders, 7); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(7, 14), read(t, none, 8)); diff != "" {
			t.Errorf("none after a seek (-want +got):\n%s", diff)
		}
	})
}

func TestSeeksGoEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 10, 10, record.None) // the value is also the timestamp
		c := start(t, fc)
		assign(t, c, orders)
		for _, step := range []struct {
			name string
			seek func() error
			want int
		}{
			{"into a batch", func() error { return c.Seek(orders, 37) }, 37},
			{"back", func() error { return c.Seek(orders, 3) }, 3},
			{"to where it is", func() error { return c.Seek(orders, 7) }, 7},
			{"to a time", func() error { return c.SeekToTimestamp(time.UnixMilli(55)) }, 55},
			{"to the beginning", func() error { return c.SeekToBeginning() }, 0},
			{"twice", func() error { return errors.Join(c.Seek(orders, 90), c.Seek(orders, 20)) }, 20},
			{"to a time before all", func() error { return c.SeekToTimestamp(time.UnixMilli(-5), orders) }, 0},
		} {
			if err := step.seek(); err != nil {
				t.Fatalf("seek %s: %v", step.name, err)
			}
			if o := position(t, c, orders); o != cluster.Offset(step.want) {
				t.Errorf("seek %s: position %d", step.name, o)
			}
			if diff := cmp.Diff(numbers(step.want, step.want+4), read(t, c, 5)); diff != "" {
				t.Errorf("seek %s (-want +got):\n%s", step.name, diff)
			}
			if o := position(t, c, orders); o != cluster.Offset(step.want+5) {
				t.Errorf("seek %s: position %d after five records", step.name, o)
			}
		}
		for name, seek := range map[string]func() error{
			"to the end":           func() error { return c.SeekToEnd(orders) },
			"to a time in future":  func() error { return c.SeekToTimestamp(time.Now()) },
			"to the offset at end": func() error { return c.Seek(orders, 100) },
		} {
			if err := seek(); err != nil {
				t.Fatalf("seek %s: %v", name, err)
			}
			if o := position(t, c, orders); o != 100 {
				t.Errorf("seek %s: position %d", name, o)
			}
		}
		silence(t, c)
		if err := c.Seek(orders, -1); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("seek to -1: %v", err)
		}
		if err := c.Seek(cluster.TopicPartition{Topic: "other"}, 1); !errors.Is(err, consumer.ErrNotAssigned) {
			t.Errorf("seek in another partition: %v", err)
		}
	})
}

// TestSeeksWhileAnswersAreOnTheirWayNeverGiveOldRecords seeks again and again while answers of all sizes are under way, over a link that is slow.
func TestSeeksWhileAnswersAreOnTheirWayNeverGiveOldRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 2)
		other := cluster.TopicPartition{Topic: "orders", Partition: 1}
		for _, tp := range []cluster.TopicPartition{orders, other} {
			fc.Fill(tp, 0, 1000, 100, record.None)
		}
		fc.Net.SetDelay(fakecluster.Host(1), fakecluster.ClientHost, 7*time.Millisecond)
		c := start(t, fc, consumer.MaxPartitionFetchBytes(60<<10))
		assign(t, c, orders, other)
		next := map[cluster.TopicPartition]int{}
		seed, steps := 1, 0
		for r, err := range c.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			tp := cluster.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			if int(r.Offset) != next[tp] || string(r.Value) != fmt.Sprint(next[tp]) {
				t.Fatalf("step %d: %v gives offset %d, want %d", steps, tp, r.Offset, next[tp])
			}
			next[tp]++
			if seed = seed * 1103515245 % (1 << 31); seed>>8%97 == 0 || next[tp] > 99000 {
				to := seed >> 4 % 90000
				if to < 0 {
					to = -to
				}
				switch seed >> 16 % 3 {
				case 0: // the same offset again, so that it is in the answers on their way, too
					to = next[tp]
				case 1:
					if err := c.Pause(tp); err != nil {
						t.Fatal(err)
					}
					if err := c.Resume(tp); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.Seek(tp, cluster.Offset(to)); err != nil {
					t.Fatal(err)
				}
				next[tp] = to
				if steps++; steps == 500 {
					break
				}
			}
		}
	})
}

func TestPausedPartitionsRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 2)
		other := cluster.TopicPartition{Topic: "orders", Partition: 1}
		fc.Fill(orders, 0, 5, 20, record.None)
		c := start(t, fc)
		assign(t, c, orders, other)
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Fatal(diff)
		}
		if err := c.Pause(orders); err != nil {
			t.Fatal(err)
		}
		if got := c.Paused(); !slices.Equal(got, []cluster.TopicPartition{orders}) {
			t.Errorf("paused are %v", got)
		}
		silence(t, c)
		fc.Fill(other, 1000, 1, 3, record.None)
		if diff := cmp.Diff(numbers(1000, 1002), read(t, c, 3)); diff != "" {
			t.Errorf("the other partition (-want +got):\n%s", diff)
		}
		if err := c.Resume(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(10, 99), read(t, c, 90)); diff != "" {
			t.Errorf("after resume (-want +got):\n%s", diff)
		}
		if err := c.Pause(cluster.TopicPartition{Topic: "x"}); !errors.Is(err, consumer.ErrNotAssigned) {
			t.Errorf("pausing what is not assigned: %v", err)
		}
	})
}

func TestAnAssignmentIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 3)
		tp := func(i int32) cluster.TopicPartition { return cluster.TopicPartition{Topic: "orders", Partition: i} }
		for i := range int32(3) {
			fc.Fill(tp(i), int(i)*1000, 2, 10, record.None)
		}
		c := start(t, fc)
		assign(t, c, tp(0))
		if diff := cmp.Diff(numbers(0, 4), read(t, c, 5)); diff != "" {
			t.Fatal(diff)
		}
		assign(t, c, tp(0), tp(1), tp(1))
		got := read(t, c, 35)
		slices.SortFunc(got, func(a, b string) int { return len(a)*10000 - len(b)*10000 + strings.Compare(a, b) })
		if diff := cmp.Diff(append(numbers(5, 19), numbers(1000, 1019)...), got); diff != "" {
			t.Errorf("a partition is added (-want +got):\n%s", diff)
		}
		assign(t, c, tp(2))
		if diff := cmp.Diff(numbers(2000, 2019), read(t, c, 20)); diff != "" {
			t.Errorf("all others are dropped (-want +got):\n%s", diff)
		}
		fc.Fill(tp(0), 20, 1, 10, record.None)
		silence(t, c)
		assign(t, c)
		silence(t, c)
		if err := c.Assign(cluster.TopicPartition{Topic: "a/b"}); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("illegal topic: %v", err)
		}
		if err := c.Assign(cluster.TopicPartition{Topic: "a", Partition: -1}); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("negative partition: %v", err)
		}
	})
}

func TestATopicMayBeAssignedBeforeItExists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		c := start(t, fc, consumer.AllowAutoCreateTopics(false))
		assign(t, c, orders)
		timer := time.AfterFunc(10*time.Second, func() {
			fc.CreateTopic("orders", 1)
			fc.Fill(orders, 0, 1, 3, record.None)
		})
		defer timer.Stop()
		if diff := cmp.Diff(numbers(0, 2), read(t, c, 3)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestTheLoopMayBeLeftAndTakenUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 20, 10, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		var got []string
		for i := 0; len(got) < 100; i++ {
			got = append(got, read(t, c, 1+i%7)...)
		}
		// Poll goes on where the loop stopped, and the loop where Poll stopped.
		batches, err := c.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			for r, err := range b.All() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(r.Value))
			}
		}
		if o := position(t, c, orders); int(o) != len(got) {
			t.Errorf("position is %d after %d records", o, len(got))
		}
		fc.Fill(orders, 200, 1, 10, record.None)
		got = append(got, read(t, c, 210-len(got))...)
		if diff := cmp.Diff(numbers(0, 209), got); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestPollGivesWhatIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 3)
		for i := range int32(3) {
			fc.Fill(cluster.TopicPartition{Topic: "orders", Partition: i}, 0, 3, 10, record.Snappy)
		}
		c := start(t, fc)
		if err := c.AssignTopics(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		records := map[cluster.TopicPartition]int{}
		for total := 0; total < 90; {
			batches, err := c.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				if b.Bytes() <= 0 || b.HighWatermark != 30 {
					t.Errorf("batch %+v", b)
				}
				n := 0
				for r, err := range b.All() {
					if err != nil || r.Partition != b.TopicPartition.Partition {
						t.Fatalf("got %+v, %v", r, err)
					}
					n++
				}
				again := 0
				for range b.All() {
					again++
				}
				if again != n {
					t.Errorf("%d records at first, %d the second time", n, again)
				}
				records[b.TopicPartition] += n
				total += n
			}
		}
		for tp, n := range records {
			if n != 30 {
				t.Errorf("%d records of %v", n, tp)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, err := c.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing there: %v, %v", b, err)
		}
	})
}

func TestReadingEndsWithItsContextAndWithTheConsumer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 1, 100, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var last error
		for _, err := range c.Records(ctx) {
			if last = err; err == nil {
				if n++; n == 10 {
					cancel() // in the middle of what was fetched
				}
			}
		}
		if n != 10 || !errors.Is(last, context.Canceled) {
			t.Errorf("%d records, then %v", n, last)
		}
		if diff := cmp.Diff(numbers(10, 99), read(t, c, 90)); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
		done := make(chan error)
		go func() {
			var last error
			for _, err := range c.Records(context.Background()) {
				last = err
			}
			done <- last
		}()
		synctest.Wait()
		if _, err := c.Poll(t.Context()); !errors.Is(err, consumer.ErrBusy) {
			t.Errorf("a second reader: %v", err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, client.ErrClosed) {
			t.Errorf("the loop ended with %v", err)
		}
		if err := c.Assign(orders); !errors.Is(err, client.ErrClosed) {
			t.Errorf("assign after close: %v", err)
		}
		if _, err := c.Position(t.Context(), orders); !errors.Is(err, client.ErrClosed) {
			t.Errorf("position after close: %v", err)
		}
	})
}

func TestPositionEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnListOffsets = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Code: kerr.OffsetNotAvailable} }
		c := start(t, fc)
		assign(t, c, orders)
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		if _, err := c.Position(ctx, orders); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Position(t.Context(), cluster.TopicPartition{Topic: "x"}); !errors.Is(err, consumer.ErrNotAssigned) {
			t.Errorf("got %v", err)
		}
	})
}

func TestACallerWhoDoesNotReadIsSentNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 2000, 1000, record.None) // about 20 MB
		c := start(t, fc, consumer.Credits(3), consumer.MaxPartitionFetchBytes(100<<10))
		assign(t, c, orders)
		if err := client.Sleep(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if n := fc.Count("fetch"); n > 4 {
			t.Errorf("%d answers were asked for although none was read", n)
		}
		read(t, c, 100000)
		if n := fc.Count("fetch"); n < 5 {
			t.Errorf("only %d answers were asked for", n)
		}
	})
}

func TestAConsumerThatHasCaughtUpAsksForOneAnswerAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		c := start(t, fc)
		assign(t, c, orders)
		silence(t, c)
		before := fc.Count("fetch")
		if err := client.Sleep(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if n := fc.Count("fetch") - before; n < 19 || n > 21 {
			t.Errorf("%d requests in 10 s of waiting for 500 ms each", n)
		}
	})
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for want, o := range map[string]consumer.Option{
		"fetch min bytes is -1":         consumer.FetchMinBytes(-1),
		"fetch max bytes is 0":          consumer.FetchMaxBytes(0),
		"max partition fetch bytes is ": consumer.MaxPartitionFetchBytes(0),
		"fetch max wait is -1s":         consumer.FetchMaxWait(-time.Second),
		"credits is 0":                  consumer.Credits(0),
		"isolation level 7":             consumer.Isolation(7),
		"offset reset 9":                consumer.OffsetReset(9),
		"retry back-off is 1s to 1ms":   consumer.RetryBackoff(time.Second, time.Millisecond),
	} {
		if _, err := consumer.New(nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestASeekDoesNotWaitForTheAnswersThatAreOnTheirWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 100, 1000, record.None) // large answers, then the end
		c := start(t, fc)
		assign(t, c, orders)
		read(t, c, 100000)
		from := time.Now()
		for i := range 20 {
			if err := c.Seek(orders, cluster.Offset(i)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(numbers(i, i), read(t, c, 1)); diff != "" {
				t.Fatal(diff)
			}
		}
		if took := time.Since(from); took > 100*time.Millisecond {
			t.Errorf("20 seeks took %v", took)
		}
	})
}
