package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/partition"
	"github.com/ottla/ottla/proto/record"
)

func TestSendTellsWhereTheRecordIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 3)
		p := start(t, fc)
		at := time.UnixMilli(1234567890123)
		rec := producer.Record{Topic: "orders", Partition: producer.To(2), Key: []byte("k"), Value: []byte("v"), Timestamp: at,
			Headers: []record.Header{{Key: "h", Value: []byte("x")}, {Key: "h"}}}
		for i := range 3 {
			got, err := p.Send(t.Context(), rec)
			if err != nil {
				t.Fatal(err)
			}
			if want := (producer.Result{Topic: "orders", Partition: 2, Offset: cluster.Offset(i), Timestamp: at}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		for r, err := range fc.Log(cluster.TopicPartition{Topic: "orders", Partition: 2})[0].Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			want := record.Record{Timestamp: at.UnixMilli(), Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
			if diff := cmp.Diff(want, r); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		}
	})
}

func TestRecordsWithoutATimestampGetTheTimeTheyAreSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		p := start(t, fc, producer.Linger(time.Minute))
		y := newTally()
		begin := time.Now()
		for i := range 5 {
			y.send(t, p, i, i)
			if err := client.Sleep(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		for i := range 5 {
			if got := y.where[i].Timestamp.Sub(begin); got != time.Duration(i)*time.Second {
				t.Errorf("record %d has the time %v after the first", i, got)
			}
		}
		if n := len(fc.Log(orders)); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}
	})
}

func TestABatchLeavesAfterLingerOrWhenItIsFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		p := start(t, fc, producer.Linger(10*time.Second), producer.BatchSize(1024))
		if _, err := p.Partitions(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		y := newTally()
		y.send(t, p, 0, 9)
		if err := client.Sleep(t.Context(), 9*time.Second); err != nil {
			t.Fatal(err)
		}
		if n := len(fc.Log(orders)); n != 0 {
			t.Errorf("%d batches before the linger time is over", n)
		}
		if err := client.Sleep(t.Context(), 1100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if n := len(fc.Log(orders)); n != 1 {
			t.Errorf("%d batches after the linger time", n)
		}
		y.send(t, p, 10, 300) // some batches full
		synctest.Wait()
		if n := len(fc.Log(orders)); n < 3 {
			t.Errorf("full batches linger: there are %d", n)
		}
		flush(t, p)
		y.check(t, 0, 300, isNil)
	})
}

func TestEveryCodecArrives(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				p := start(t, fc, producer.Compression(codec), producer.Linger(time.Millisecond), producer.Idempotence(false))
				y := newTally()
				y.send(t, p, 0, 3000)
				flush(t, p)
				y.check(t, 0, 3000, isNil)
				if diff := cmp.Diff(numbers(0, 3000), fc.Values(orders)); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
				for _, b := range fc.Log(orders) {
					if b.Codec() != codec || b.ProducerID() != -1 || b.BaseSequence() != -1 {
						t.Fatalf("batch %v", b)
					}
				}
			})
		})
	}
}

func TestAcksNoneDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		p := start(t, fc, producer.WithAcks(producer.AcksNone), producer.BatchSize(512))
		y := newTally()
		y.send(t, p, 0, 500)
		flush(t, p)
		y.check(t, 0, 500, isNil)
		if r := y.where[7]; r.Offset != cluster.UnknownOffset || r.Partition != 0 {
			t.Errorf("result is %+v", r)
		}
		synctest.Wait()
		if diff := cmp.Diff(numbers(0, 500), fc.Values(orders)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		// A stream that the broker ends makes the producer look for the leader and open another one.
		before := fc.Count("metadata")
		fc.SetLeader(orders, cluster.NoBroker)
		y.send(t, p, 501, 501)
		synctest.Wait()
		if err := client.Sleep(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if fc.Count("metadata") == before {
			t.Error("no new metadata after the broker ended the stream")
		}
		fc.SetLeader(orders, 1)
		if err := client.Sleep(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		y.send(t, p, 502, 502)
		flush(t, p)
		synctest.Wait()
		if got := fc.Values(orders); got[len(got)-1] != "502" {
			t.Errorf("the last record is %s", got[len(got)-1])
		}
	})
}

func TestKeysDecideThePartition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 12)
		p := start(t, fc)
		for _, key := range []string{"", "a", "21", "user-42", "kafka", "éè中"} {
			r, err := p.Send(t.Context(), producer.Record{Topic: "orders", Key: []byte(key)})
			if err != nil {
				t.Fatal(err)
			}
			if want := partition.ForKey([]byte(key), 12); r.Partition != want {
				t.Errorf("key %q went to partition %d, want %d", key, r.Partition, want)
			}
		}
	})
}

func TestRecordsWithoutAKeyChangeThePartitionAfterABatchsWorth(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 2)
			fc.CreateTopic("orders", 4)
			p := start(t, fc, producer.BatchSize(1000), producer.PartitionerIgnoreKeys(ignore))
			r := producer.Record{Topic: "orders", Value: make([]byte, 80)}
			if ignore {
				r.Key = []byte("k")
			}
			var runs []int
			last, seen := int32(-1), map[int32]bool{}
			for range 3000 { // so many that a partition is never left out by chance
				res, err := p.Send(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if res.Partition != last {
					runs = append(runs, 0)
				}
				last = res.Partition
				seen[last] = true
				runs[len(runs)-1]++
			}
			if len(seen) != 4 {
				t.Errorf("only partitions %v were used", seen)
			}
			for _, n := range runs[:len(runs)-1] {
				// 1000 bytes are 11 records of about 90; the switch comes at the boundary of a batch, at the latest after twice as many.
				if n < 10 || n > 24 {
					t.Errorf("%d records to one partition at a time: %v", n, runs)
					break
				}
			}
		})
	}
}

func TestAPartitionThatDoesNotExistIsWaitedForAndThenRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 2)
		p := start(t, fc, producer.MaxBlock(3*time.Second))
		from := time.Now()
		_, err := p.Send(t.Context(), producer.Record{Topic: "orders", Partition: producer.To(2)})
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "the topic has 2 partitions, there is no partition 2") || time.Since(from) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(from))
		}
		if _, err := p.Send(t.Context(), producer.Record{Topic: "orders", Partition: producer.To(-1)}); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("negative partition: %v", err)
		}
		timer := time.AfterFunc(time.Second, func() { fc.CreateTopic("orders", 3) })
		defer timer.Stop()
		if r, err := p.Send(t.Context(), producer.Record{Topic: "orders", Partition: producer.To(2)}); err != nil || r.Partition != 2 {
			t.Errorf("a partition that comes: %+v, %v", r, err)
		}
	})
}

func TestATopicThatDoesNotExistIsWaitedForAndThenRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		p := start(t, fc, producer.MaxBlock(2*time.Second))
		from := time.Now()
		err := p.SendAsync(t.Context(), producer.Record{Topic: "nowhere"}, func(producer.Result, error) { t.Error("called back") })
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "topic nowhere not present in metadata after 2000 ms") || time.Since(from) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(from))
		}
		if err := p.SendAsync(t.Context(), producer.Record{Topic: "no/where"}, nil); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("illegal name: %v", err)
		}
		fc.AutoCreate = 3
		if _, err := p.Send(t.Context(), producer.Record{Topic: "made-to-order"}); err != nil {
			t.Errorf("a topic that is created by asking: %v", err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 4)
		release := make(chan struct{})
		fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
			<-release
			return nil
		}
		p := start(t, fc, producer.BufferMemory(64<<10), producer.MaxBlock(time.Second), producer.BatchSize(4096), producer.AdaptiveBatching(false), producer.Linger(time.Hour), producer.DeliveryTimeout(2*time.Hour))
		rec := producer.Record{Topic: "orders", Value: make([]byte, 1000)}
		accepted := 0
		var err error
		var from time.Time
		for accepted < 1000 {
			from = time.Now()
			if err = p.SendAsync(t.Context(), rec, nil); err != nil {
				break
			}
			accepted++
		}
		if !errors.Is(err, kerr.RequestTimedOut) || !client.Retriable(err) || time.Since(from) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(from))
		}
		if accepted < 40 || accepted > 64 {
			t.Errorf("%d records of 1000 bytes fit into 64 KiB", accepted)
		}
		if n := p.BufferedBytes(); n > 64<<10 {
			t.Errorf("%d bytes are held", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := p.SendAsync(ctx, rec, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a wait whose context ends: %v", err)
		}
		// Whoever waits is served as soon as something is answered, although batches would linger for an hour.
		close(release)
		if err := p.SendAsync(t.Context(), rec, nil); err != nil {
			t.Errorf("after the broker has gone on: %v", err)
		}
	})
}

func TestBatchesGrowUnderPressureAndShrinkAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Delay: 10 * time.Millisecond} }
		p := start(t, fc, producer.BatchSize(1000), producer.BufferMemory(4<<20))
		y := newTally()
		y.send(t, p, 0, 50000)
		flush(t, p)
		largest := 0
		for _, b := range fc.Log(orders) {
			largest = max(largest, b.Length())
		}
		if largest < 10000 || largest > 1<<20 {
			t.Errorf("the largest batch has %d bytes", largest)
		}
		if n := fc.Count("produce"); n > 200 {
			t.Errorf("%d requests for 50000 records that piled up", n)
		}
		for i := range 20 {
			y.send(t, p, 50001+i, 50001+i)
			flush(t, p)
		}
		if n := p.BufferedBytes(); n != 0 {
			t.Errorf("%d bytes reserved", n)
		}
		y.check(t, 0, 50020, isNil)
	})
}

func TestBatchesDoNotGrowWhereTheBrokerRefusesThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.SetMaxMessageBytes(2000)
		fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Delay: 10 * time.Millisecond} }
		p := start(t, fc, producer.BatchSize(1000), producer.DeliveryTimeout(time.Hour))
		y := newTally()
		y.send(t, p, 0, 20000)
		flush(t, p)
		y.check(t, 0, 20000, isNil)
		if diff := cmp.Diff(numbers(0, 20000), fc.Values(orders)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		before := len(fc.Log(orders))
		y.send(t, p, 20001, 30000)
		flush(t, p)
		for _, b := range fc.Log(orders)[before:] {
			if b.Length() > 1000 {
				t.Fatalf("a batch of %d bytes although larger ones were refused", b.Length())
			}
		}
	})
}

func TestBatchesOfManyPartitionsShareRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 50)
		fc.CreateTopic("bills", 50)
		p := start(t, fc, producer.Linger(10*time.Millisecond))
		for i := range 1000 {
			topic := []string{"orders", "bills"}[i%2]
			if err := p.SendAsync(t.Context(), producer.Record{Topic: topic, Partition: producer.To(int32(i / 2 % 50)), Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		if n := fc.Count("produce"); n > 4 {
			t.Errorf("%d requests", n)
		}
		for _, topic := range []string{"orders", "bills"} {
			for i := range int32(50) {
				if n := len(fc.Values(cluster.TopicPartition{Topic: topic, Partition: i})); n != 10 {
					t.Fatalf("%s-%d has %d records", topic, i, n)
				}
			}
		}
	})
}

func TestFlushEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = once(1, &fakecluster.Act{Delay: 5 * time.Second})
		p := start(t, fc)
		y := newTally()
		y.send(t, p, 0, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		ctx2, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		if _, err := p.Send(ctx2, producer.Record{Topic: "orders"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send: got %v", err)
		}
		flush(t, p)
		y.check(t, 0, 10, isNil)
	})
}

func TestCloseDeliversWhatWasAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		p := start(t, fc, producer.Linger(time.Minute))
		y := newTally()
		y.send(t, p, 0, 1000)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		y.check(t, 0, 1000, isNil)
		if err := p.SendAsync(t.Context(), producer.Record{Topic: "orders"}, nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("sending after close: %v", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("closing again: %v", err)
		}
	})
}

func TestCloseThatMayNotWaitFailsTheRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Silent: true} }
		p := start(t, fc, producer.BatchSize(512))
		y := newTally()
		y.send(t, p, 0, 1000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		y.check(t, 0, 1000, func(err error) bool { return errors.Is(err, client.ErrClosed) })
	})
}

func TestReportsCoverEveryBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
			switch c.N {
			case 1:
				return &fakecluster.Act{Code: kerr.NotEnoughReplicas}
			case 3:
				return &fakecluster.Act{Code: kerr.InvalidTimestamp}
			}
			return nil
		}
		var reports []producer.BatchReport
		p := start(t, fc, producer.OnBatch(func(r producer.BatchReport) { reports = append(reports, r) }))
		for range 2 {
			_, _ = p.Send(t.Context(), producer.Record{Topic: "orders", Value: []byte("x")})
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(reports) != 2 {
			t.Fatalf("%d reports", len(reports))
		}
		if r := reports[0]; r.Err != nil || r.Attempts != 2 || r.Records != 1 || r.Bytes < record.HeaderSize || r.BaseOffset != 0 || r.TopicPartition != orders || !r.Done.After(r.Created) {
			t.Errorf("first report is %+v", r)
		}
		if r := reports[1]; !errors.Is(r.Err, kerr.InvalidTimestamp) || r.BaseOffset != cluster.UnknownOffset {
			t.Errorf("second report is %+v", r)
		}
	})
}

func TestOptionsThatContradictEachOtherAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		cl, err := client.Dial(t.Context(), fc.Bootstrap(), client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for want, o := range map[string]producer.Option{
			"delivery timeout is 1s, must be at least linger plus request timeout (30s)": producer.DeliveryTimeout(time.Second),
			"acks is 2, must be -1, 0 or 1":                                              producer.WithAcks(2),
			"batch size is -1 bytes":                                                     producer.BatchSize(-1),
			"max in flight is 0":                                                         producer.MaxInFlight(0),
			"Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer.":              and(producer.Idempotence(true), producer.MaxInFlight(6)),
			"Must set retries to non-zero when using the idempotent producer.":                                         and(producer.Idempotence(true), producer.Retries(0)),
			"Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.": and(producer.WithAcks(producer.AcksLeader), producer.Idempotence(true)),
			"linger is -1s":           producer.Linger(-time.Second),
			"gzip has levels -1 to 9": and(producer.Compression(record.Gzip), producer.CompressionLevel(99)),
			"there is no codec 9":     producer.Compression(9),
		} {
			if _, err := producer.New(cl, o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if p, err := producer.New(cl, producer.BatchSize(math.MaxInt), producer.BatchSize(0)); err != nil {
			t.Errorf("batch size 0 is legal: %v", err)
		} else if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// and is several options in one.
func and(opts ...producer.Option) producer.Option {
	return func(c *producer.ConfigForTest) {
		for _, o := range opts {
			o(c)
		}
	}
}

func TestARecordCostsNoAllocation(t *testing.T) {
	fc := fakecluster.New(t, 1)
	fc.CreateTopic("orders", 1)
	p := start(t, fc, producer.Linger(time.Minute), producer.BatchSize(1<<20))
	rec := producer.Record{Topic: "orders", Value: make([]byte, 100)}
	keyed := producer.Record{Topic: "orders", Key: []byte("some-key"), Value: make([]byte, 100)}
	for name, r := range map[string]producer.Record{"without a key": rec, "with a key": keyed} {
		if err := p.SendAsync(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() {
			if err := p.SendAsync(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
