package producer_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

func TestEveryRetriableCodeIsRetriedInOrderAndNoOther(t *testing.T) {
	for code := kerr.Code(-1); code < 130; code++ {
		if code == kerr.None {
			continue
		}
		t.Run(code.Name(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				fc.OnProduce = once(2, &fakecluster.Act{Code: code, Message: "scripted"})
				p := start(t, fc, producer.BatchSize(512), producer.Idempotence(false))
				y := newTally()
				y.send(t, p, 0, 0)
				// Many batches follow while the first one fails.
				y.send(t, p, 1, 500)
				flush(t, p)
				if code.Retriable() {
					y.check(t, 0, 500, isNil)
					if diff := cmp.Diff(numbers(0, 500), fc.Values(orders)); diff != "" {
						t.Errorf("log (-want +got):\n%s", diff)
					}
					return
				}
				failed := 0
				y.check(t, 0, 500, func(err error) bool {
					if err != nil {
						failed++
					}
					return err == nil || errors.Is(err, code) && !client.Retriable(err)
				})
				if want := append(numbers(failed, 500), []string{}...); code != kerr.MessageTooLarge && code != kerr.RecordListTooLarge && !slices.Equal(fc.Values(orders), want) {
					t.Errorf("the log should hold exactly what was not refused")
				}
				if failed == 0 && code != kerr.MessageTooLarge && code != kerr.RecordListTooLarge {
					t.Error("nothing failed")
				}
			})
		})
	}
}

func TestLostAnswersRepeatBatchesButNeverReorderThem(t *testing.T) {
	for name, act := range map[string]*fakecluster.Act{
		"stream reset after append":          {End: status.Error(codes.Unavailable, "gone"), Append: true},
		"stream reset before append":         {End: status.Error(codes.Unavailable, "gone")},
		"timed out after append":             {Code: kerr.RequestTimedOut, Append: true},
		"too few replicas after append":      {Code: kerr.NotEnoughReplicasAfterAppend, Append: true},
		"no answer after append":             {Silent: true, Append: true},
		"unknown status":                     {End: errors.New("boom")},
		"stream refused as over some budget": {End: status.Error(codes.ResourceExhausted, "too much")},
	} {
		for _, idempotent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, idempotent %v", name, idempotent), func(t *testing.T) {
				bubble(t, func(t *testing.T) { lostAnswers(t, act, idempotent) })
			})
		}
	}
}

func lostAnswers(t *testing.T, act *fakecluster.Act, idempotent bool) {
	fc := fakecluster.New(t, 1)
	fc.CreateTopic("orders", 1)
	fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
		if c.N%3 == 1 && c.N < 20 {
			return act
		}
		return nil
	}
	p := start(t, fc, producer.BatchSize(512), producer.DeliveryTimeout(time.Hour), producer.Idempotence(idempotent))
	y := newTally()
	y.send(t, p, 0, 2000)
	flush(t, p)
	y.check(t, 0, 2000, isNil)
	got := fc.Values(orders)
	if !idempotent {
		got = withoutRepeats(t, got)
	}
	if diff := cmp.Diff(numbers(0, 2000), got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for i := range 2001 {
		if r := y.where[i]; idempotent && r.Offset != cluster.Offset(i) {
			t.Fatalf("record %d is said to be at %d", i, r.Offset)
		}
	}
}

// withoutRepeats drops batches that came again: numbers that are not larger than all before. A record that comes late for the first time
// is an error.
func withoutRepeats(t *testing.T, values []string) []string {
	t.Helper()
	var out []string
	highest := -1
	for _, v := range values {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		if n > highest+1 {
			t.Fatalf("record %d comes after %d: something was overtaken", n, highest)
		}
		if n == highest+1 {
			highest = n
			out = append(out, v)
		}
	}
	return out
}

func TestALeaderThatMovesIsFollowed(t *testing.T) {
	for name, hint := range map[string]*ottlapb.LeaderHint{"with a hint": {LeaderId: 2, LeaderEpoch: 1}, "without a hint": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 2)
				fc.CreateTopic("orders", 1)
				fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
					if c.Broker == 1 {
						return &fakecluster.Act{Leader: hint}
					}
					return nil
				}
				p := start(t, fc)
				y := newTally()
				y.send(t, p, 0, 0)
				flush(t, p)
				fc.SetLeader(orders, 2)
				from := time.Now()
				y.send(t, p, 1, 1000)
				flush(t, p)
				y.check(t, 0, 1000, isNil)
				if took := time.Since(from); hint != nil && took > 10*time.Millisecond || took > 500*time.Millisecond {
					t.Errorf("took %v to follow", took)
				}
				if diff := cmp.Diff(numbers(0, 1000), fc.Values(orders)); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestALeaderThatFallsSilentIsLeftWhenAnotherOneLeads cuts the leader off without a word: nobody will ever answer what is in flight.
func TestALeaderThatFallsSilentIsLeftWhenAnotherOneLeads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		fc.CreateTopic("orders", 1)
		p := start(t, fc)
		y := newTally()
		y.send(t, p, 0, 0)
		flush(t, p)
		fc.Net.Cut(fakecluster.ClientHost, fakecluster.Host(1))
		from := time.Now()
		y.send(t, p, 1, 1000)
		<-time.After(2 * time.Second) // as long as it leads, it may still answer
		fc.SetLeader(orders, 2)
		flush(t, p)
		y.check(t, 0, 1000, isNil)
		if took := time.Since(from) - 2*time.Second; took > time.Second {
			t.Errorf("left %v after another broker led", took)
		}
		if diff := cmp.Diff(numbers(0, 1000), fc.Values(orders)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// TestANewSenderTakesWhatTheOldOneCouldNotSend moves a partition from a sender that has sent a little to one that has never sent: each counts its
// requests for itself.
func TestANewSenderTakesWhatTheOldOneCouldNotSend(t *testing.T) {
	for i := range 40 {
		before := i % 4
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 2)
			fc.CreateTopic("orders", 1)
			p := start(t, fc)
			if _, err := p.Partitions(t.Context(), "orders"); err != nil {
				t.Fatal(err)
			}
			for range before {
				flush(t, p) // makes the sender look for something to send
				synctest.Wait()
			}
			fc.Kill(1)
			fc.SetLeader(orders, 2)
			from := time.Now()
			if _, err := p.Send(t.Context(), producer.Record{Topic: "orders"}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(from); took > time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestRecordsWaitForAPartitionWithoutALeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 2)
		fc.CreateTopic("orders", 1)
		p := start(t, fc)
		fc.SetLeader(orders, cluster.NoBroker)
		y := newTally()
		y.send(t, p, 0, 100)
		timer := time.AfterFunc(7*time.Second, func() { fc.SetLeader(orders, 2) })
		defer timer.Stop()
		from := time.Now()
		flush(t, p)
		y.check(t, 0, 100, isNil)
		if took := time.Since(from); took < 7*time.Second || took > 10*time.Second {
			t.Errorf("delivered after %v", took)
		}
	})
}

func TestABrokerThatRestartsGetsItsRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		p := start(t, fc)
		y := newTally()
		y.send(t, p, 0, 100)
		flush(t, p)
		fc.Kill(1)
		timer := time.AfterFunc(20*time.Second, func() { fc.Start(1) })
		defer timer.Stop()
		y.send(t, p, 101, 200)
		flush(t, p)
		y.check(t, 0, 200, isNil)
		if diff := cmp.Diff(numbers(0, 200), withoutRepeats(t, fc.Values(orders))); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestABrokerThatDoesNotAnswerIsGivenUpAfterTheRequestTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = once(1, &fakecluster.Act{Silent: true})
		p := start(t, fc, producer.RequestTimeout(5*time.Second))
		from := time.Now()
		if _, err := p.Send(t.Context(), producer.Record{Topic: "orders"}); err != nil {
			t.Fatal(err)
		}
		// A tenth of grace, and the back-off of the first retry.
		if took := time.Since(from); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestWithoutRetriesTheFirstErrorIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = once(1, &fakecluster.Act{Code: kerr.NotEnoughReplicas})
		p := start(t, fc, producer.Retries(0))
		_, err := p.Send(t.Context(), producer.Record{Topic: "orders"})
		var e *client.Error
		if !errors.As(err, &e) || !errors.Is(err, kerr.NotEnoughReplicas) || !e.Retriable() || e.Broker != 1 || e.TopicPartition != orders {
			t.Errorf("got %v", err)
		}
		if want := "produce to orders-0, broker 1: NOT_ENOUGH_REPLICAS: Messages are rejected since there are fewer in-sync replicas than required."; err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	})
}

func TestRetriesAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Code: kerr.NotEnoughReplicas} }
		p := start(t, fc, producer.Retries(3))
		if _, err := p.Send(t.Context(), producer.Record{Topic: "orders"}); !errors.Is(err, kerr.NotEnoughReplicas) {
			t.Errorf("got %v", err)
		}
		if n := fc.Count("produce"); n != 4 {
			t.Errorf("sent %d times, want 4", n)
		}
	})
}

func TestTheDeliveryTimeoutIsKept(t *testing.T) {
	for name, script := range map[string]func(fc *fakecluster.Cluster){
		"while the broker refuses": func(fc *fakecluster.Cluster) {
			fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Code: kerr.NotEnoughReplicas} }
		},
		"while the broker does not answer": func(fc *fakecluster.Cluster) {
			fc.OnProduce = func(fakecluster.Call) *fakecluster.Act { return &fakecluster.Act{Silent: true} }
		},
		"while there is no leader":    func(fc *fakecluster.Cluster) { fc.SetLeader(orders, cluster.NoBroker) },
		"while the broker is down":    func(fc *fakecluster.Cluster) { fc.Kill(1) },
		"while the broker is cut off": func(fc *fakecluster.Cluster) { fc.Net.Cut(fakecluster.ClientHost, fakecluster.Host(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 2)
				fc.CreateTopic("orders", 1)
				p := start(t, fc, producer.RequestTimeout(4*time.Second), producer.DeliveryTimeout(10*time.Second), producer.BatchSize(512))
				if _, err := p.Send(t.Context(), producer.Record{Topic: "orders"}); err != nil {
					t.Fatal(err)
				}
				script(fc)
				y := newTally()
				y.send(t, p, 0, 300)
				from := time.Now()
				flush(t, p)
				if took := time.Since(from); took < 9*time.Second || took > 10*time.Second+100*time.Millisecond {
					t.Errorf("the outcome came after %v", took)
				}
				y.check(t, 0, 300, func(err error) bool { return err != nil && client.Retriable(err) })
				fc.Net.Heal(fakecluster.ClientHost, fakecluster.Host(1))
				if len(fc.Live()) == 1 {
					fc.Start(1)
				}
			})
		})
	}
}

func TestABatchThatIsTooLargeIsSplit(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				fc.SetMaxMessageBytes(600)
				p := start(t, fc, producer.BatchSize(16384), producer.Linger(time.Second), producer.Compression(codec))
				y := newTally()
				y.send(t, p, 0, 1000)
				flush(t, p)
				y.check(t, 0, 1000, isNil)
				if diff := cmp.Diff(numbers(0, 1000), fc.Values(orders)); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
				for i := range 1001 {
					if r := y.where[i]; r.Offset != cluster.Offset(i) || r.Timestamp.IsZero() {
						t.Fatalf("record %d is said to be at %+v", i, r)
					}
				}
				if n := len(fc.Log(orders)); n < 5 && codec == record.None {
					t.Errorf("the log has %d batches", n)
				}
			})
		})
	}
}

func TestARecordThatIsTooLargeFailsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.SetMaxMessageBytes(2000)
		p := start(t, fc, producer.Linger(time.Second), producer.MaxRequestSize(10000))
		y := newTally()
		y.send(t, p, 0, 9)
		large := newTally()
		if err := p.SendAsync(t.Context(), producer.Record{Topic: "orders", Partition: producer.To(0), Value: make([]byte, 5000)}, large.callback(0)); err != nil {
			t.Fatal(err)
		}
		y.send(t, p, 10, 19)
		flush(t, p)
		large.check(t, 0, 0, func(err error) bool { return errors.Is(err, kerr.MessageTooLarge) })
		y.check(t, 0, 19, isNil)
		if diff := cmp.Diff(numbers(0, 19), fc.Values(orders)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		// Beyond the producer's own limit a record is not even accepted.
		err := p.SendAsync(t.Context(), producer.Record{Topic: "orders", Value: make([]byte, 10000)}, large.callback(1))
		if !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("got %v", err)
		}
	})
}

// TestOrderAndOutcomesSurviveATroubledCluster lets three brokers refuse, hang, die and move leaders while a producer writes to six partitions.
func TestOrderAndOutcomesSurviveATroubledCluster(t *testing.T) {
	for _, opts := range [][]producer.Option{
		{producer.BatchSize(512), producer.DeliveryTimeout(time.Hour)},
		{producer.BatchSize(512), producer.DeliveryTimeout(time.Hour), producer.Linger(20 * time.Millisecond), producer.Compression(record.LZ4)},
	} {
		bubble(t, func(t *testing.T) { troubled(t, true, opts) })
		bubble(t, func(t *testing.T) { troubled(t, false, append(opts, producer.Idempotence(false))) })
	}
}

func troubled(t *testing.T, idempotent bool, opts []producer.Option) {
	const partitions, each = 6, 600
	fc := fakecluster.New(t, 3)
	fc.CreateTopic("orders", partitions)
	fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
		switch c.N % 13 {
		case 3:
			return &fakecluster.Act{Code: kerr.NotEnoughReplicas}
		case 6:
			return &fakecluster.Act{End: status.Error(codes.Unavailable, "gone"), Append: true}
		case 9:
			return &fakecluster.Act{Delay: 700 * time.Millisecond}
		case 12:
			return &fakecluster.Act{Code: kerr.NotEnoughReplicasAfterAppend, Append: true}
		}
		return nil
	}
	p := start(t, fc, append(opts, producer.RequestTimeout(2*time.Second))...)
	tallies := make([]*tally, partitions)
	for i := range tallies {
		tallies[i] = newTally()
	}
	for i := range each {
		for j, y := range tallies {
			r := producer.Record{Topic: "orders", Partition: producer.To(int32(j)), Value: fmt.Append(nil, i)}
			if err := p.SendAsync(t.Context(), r, y.callback(i)); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 49 {
			if err := client.Sleep(t.Context(), 300*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		switch i {
		case 100, 400:
			fc.Kill(2)
		case 200, 500:
			fc.Start(2)
		case 150, 250, 350, 450:
			for j := range int32(partitions) {
				fc.SetLeader(cluster.TopicPartition{Topic: "orders", Partition: j}, cluster.BrokerID(1+(int(j)+i/50)%3))
			}
		}
	}
	flush(t, p)
	for j, y := range tallies {
		y.check(t, 0, each-1, isNil)
		got := fc.Values(cluster.TopicPartition{Topic: "orders", Partition: int32(j)})
		if !idempotent {
			got = withoutRepeats(t, got)
		}
		if diff := cmp.Diff(numbers(0, each-1), got); diff != "" {
			t.Errorf("partition %d (-want +got):\n%s", j, diff)
		}
	}
}
