package producer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

// epochs returns the producers and epochs of a log's batches, without repetitions, and checks that the sequence numbers of each follow each other.
func epochs(t *testing.T, fc *fakecluster.Cluster) (found []string) {
	t.Helper()
	next := map[string]int32{}
	for _, b := range fc.Log(orders) {
		who := fmt.Sprintf("%d/%d", b.ProducerID(), b.ProducerEpoch())
		if len(found) == 0 || found[len(found)-1] != who {
			found = append(found, who)
		}
		if b.BaseSequence() != next[who] {
			t.Errorf("%s has the sequence number %d, want %d", who, b.BaseSequence(), next[who])
		}
		next[who] = b.LastSequence() + 1
	}
	return found
}

// wantLog compares the log with the records from first to last, without those that are left out.
func wantLog(t *testing.T, fc *fakecluster.Cluster, first, last int, without func(int) bool) {
	t.Helper()
	var want []string
	for i := first; i <= last; i++ {
		if without == nil || !without(i) {
			want = append(want, fmt.Sprint(i))
		}
	}
	if diff := cmp.Diff(want, fc.Values(orders)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestUpToFiveBatchesOfAPartitionAreInFlight(t *testing.T) {
	for _, most := range []int{1, 5} {
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 1)
			fc.CreateTopic("orders", 1)
			p := start(t, fc, producer.BatchSize(512), producer.AdaptiveBatching(false), producer.MaxInFlight(most))
			y := newTally()
			y.send(t, p, 0, 0)
			flush(t, p)
			fc.Net.SetDelay(fakecluster.ClientHost, fakecluster.Host(1), 50*time.Millisecond)
			from := time.Now()
			sent := fc.Count("produce")
			y.send(t, p, 1, 1500)
			flush(t, p)
			n := fc.Count("produce") - sent
			want := time.Duration(n/most) * 50 * time.Millisecond
			if took := time.Since(from); n < 30 || took < want || took > want+150*time.Millisecond {
				t.Errorf("%d in flight: %d requests took %v, want about %v", most, n, took, want)
			}
			y.check(t, 0, 1500, isNil)
			wantLog(t, fc, 0, 1500, nil)
		})
	}
}

// TestTheFirstBatchGoesAlone refuses a batch when the leader does not know the producer, and would take any batch behind it: at first, and after
// it has forgotten the producer.
func TestTheFirstBatchGoesAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		refuse := 1
		fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
			if c.N == refuse {
				return &fakecluster.Act{Delay: time.Millisecond, Code: kerr.NotEnoughReplicas}
			}
			return nil
		}
		p := start(t, fc, producer.BatchSize(512), producer.AdaptiveBatching(false))
		y := newTally()
		y.send(t, p, 0, 500)
		flush(t, p)
		pause(t, 2*time.Minute)
		fc.ForgetProducers(orders)
		refuse = fc.Count("produce") + 1
		y.send(t, p, 501, 1000)
		flush(t, p)
		y.check(t, 0, 1000, isNil)
		wantLog(t, fc, 0, 1000, nil)
	})
}

func TestARefusedBatchDoesNotStopThoseBehindIt(t *testing.T) {
	for _, code := range []kerr.Code{kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnknownServerError} {
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 1)
			fc.CreateTopic("orders", 1)
			fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
				if c.N == 5 {
					return &fakecluster.Act{Code: code}
				}
				return nil
			}
			p := start(t, fc, producer.BatchSize(512), producer.AdaptiveBatching(false))
			y := newTally()
			y.send(t, p, 0, 1000)
			flush(t, p)
			failed := map[int]bool{}
			y.check(t, 0, 1000, func(err error) bool { return err == nil || errors.Is(err, code) })
			for i, err := range y.errs {
				failed[i] = err != nil
			}
			wantLog(t, fc, 0, 1000, func(i int) bool { return failed[i] })
			if diff := cmp.Diff([]string{"4000/0", "4000/1"}, epochs(t, fc)); diff != "" {
				t.Errorf("epochs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestALeaderThatHasLostRecordsIsWrittenToInANewEpoch elects a leader that lacks acknowledged records: those are lost, later ones are not.
func TestALeaderThatHasLostRecordsIsWrittenToInANewEpoch(t *testing.T) {
	for name, code := range map[string]kerr.Code{"as it tells": kerr.None, "as old brokers told": kerr.UnknownProducerID} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 2)
				fc.CreateTopic("orders", 1)
				p := start(t, fc, producer.BatchSize(512), producer.AdaptiveBatching(false))
				y := newTally()
				y.send(t, p, 0, 1000)
				flush(t, p)
				fc.LoseBatches(orders, 3)
				left := len(fc.Values(orders))
				fc.SetLeader(orders, 2)
				if code != kerr.None {
					fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
						if c.Broker == 2 && c.Batch.ProducerEpoch() == 0 {
							return &fakecluster.Act{Code: code}
						}
						return nil
					}
				}
				y.send(t, p, 1001, 2000)
				flush(t, p)
				y.check(t, 0, 2000, isNil)
				wantLog(t, fc, 0, 2000, func(i int) bool { return i >= left && i <= 1000 })
				if diff := cmp.Diff([]string{"4000/0", "4000/1"}, epochs(t, fc)); diff != "" {
					t.Errorf("epochs (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestALeaderThatRemembersLittleHasNothingTwice loses the answers to five batches, and the leader comes back with a snapshot of the last one only.
func TestALeaderThatRemembersLittleHasNothingTwice(t *testing.T) {
	for lost := 1; lost <= 5; lost++ {
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 1)
			fc.CreateTopic("orders", 1)
			p := start(t, fc, producer.BatchSize(512), producer.AdaptiveBatching(false), producer.Linger(time.Second))
			y := newTally()
			y.send(t, p, 0, 0)
			flush(t, p)
			fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
				if c.N <= lost+1 {
					return &fakecluster.Act{Code: kerr.RequestTimedOut, Append: true}
				}
				if c.N == lost+2 {
					fc.RememberLastBatches(orders)
				}
				return nil
			}
			y.send(t, p, 1, 1000)
			flush(t, p)
			y.check(t, 0, 1000, isNil)
			wantLog(t, fc, 0, 1000, nil)
			for i, r := range y.where {
				if r.Offset != cluster.Offset(i) && r.Offset != cluster.UnknownOffset {
					t.Errorf("record %d is said to be at %d", i, r.Offset)
				}
			}
			if diff := cmp.Diff([]string{"4000/0"}, epochs(t, fc)); diff != "" {
				t.Errorf("epochs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProducerWhoseIDIsUsedByAnotherGetsANewOne(t *testing.T) {
	for _, code := range []kerr.Code{kerr.InvalidProducerEpoch, kerr.ProducerFenced} {
		bubble(t, func(t *testing.T) {
			fc := fakecluster.New(t, 1)
			fc.CreateTopic("orders", 1)
			p := start(t, fc, producer.BatchSize(512))
			y := newTally()
			y.send(t, p, 0, 0)
			flush(t, p)
			if code == kerr.InvalidProducerEpoch {
				fc.SetProducerEpoch(orders, 4000, 7)
			} else {
				fc.OnProduce = func(c fakecluster.Call) *fakecluster.Act {
					if c.Batch.ProducerID() == 4000 {
						return &fakecluster.Act{Code: code}
					}
					return nil
				}
			}
			y.send(t, p, 1, 1)
			flush(t, p)
			y.check(t, 1, 1, func(err error) bool { return errors.Is(err, code) })
			y.send(t, p, 2, 500)
			flush(t, p)
			y.check(t, 2, 500, isNil)
			wantLog(t, fc, 0, 500, func(i int) bool { return i == 1 })
			if diff := cmp.Diff([]string{"4000/0", "4001/0"}, epochs(t, fc)); diff != "" {
				t.Errorf("epochs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABatchThatIsThereAtAnUnknownPlaceCountsAsWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnProduce = once(1, &fakecluster.Act{Code: kerr.DuplicateSequenceNumber, Append: true})
		p := start(t, fc)
		res, err := p.Send(t.Context(), producer.Record{Topic: "orders", Value: []byte("0")})
		if err != nil || res.Offset != cluster.UnknownOffset || res.Timestamp.IsZero() {
			t.Errorf("got %+v, %v", res, err)
		}
		wantLog(t, fc, 0, 0, nil)
	})
}

func TestAProducerIDIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnInitProducerID = func(n int) error {
			switch {
			case n < 10:
				return kerr.CoordinatorLoadInProgress
			case n < 20:
				return status.Error(codes.Unavailable, "gone")
			}
			return nil
		}
		p := start(t, fc)
		y := newTally()
		y.send(t, p, 0, 100)
		flush(t, p)
		y.check(t, 0, 100, isNil)
		wantLog(t, fc, 0, 100, nil)
	})
}

// TestWithoutAProducerIDRecordsFail wants an explanation when waiting is of no use, and another attempt with the next record.
func TestWithoutAProducerIDRecordsFail(t *testing.T) {
	for name, final := range map[string]error{"an old broker": status.Error(codes.Unimplemented, "unknown service"), "a refusal": kerr.ClusterAuthorizationFailed} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				var willing atomic.Bool
				fc.OnInitProducerID = func(int) error {
					if willing.Load() {
						return nil
					}
					return final
				}
				p := start(t, fc)
				_, err := p.Send(t.Context(), producer.Record{Topic: "orders", Value: []byte("0")})
				want := kerr.ClusterAuthorizationFailed
				if name == "an old broker" {
					want = kerr.UnsupportedVersion
				}
				var e *client.Error
				if !errors.Is(err, want) || !errors.As(err, &e) || e.TopicPartition != orders {
					t.Errorf("got %v", err)
				}
				willing.Store(true)
				if _, err := p.Send(t.Context(), producer.Record{Topic: "orders", Value: []byte("1")}); err != nil {
					t.Error(err)
				}
				wantLog(t, fc, 1, 1, nil)
			})
		})
	}
}

func TestTheDeliveryTimeoutIsKeptWithoutAProducerID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnInitProducerID = func(int) error { return kerr.CoordinatorLoadInProgress }
		p := start(t, fc, producer.RequestTimeout(4*time.Second), producer.DeliveryTimeout(10*time.Second))
		from := time.Now()
		_, err := p.Send(t.Context(), producer.Record{Topic: "orders"})
		if took := time.Since(from); !client.Retriable(err) || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// TestNothingTwiceNothingLostNothingOutOfOrder is the simulation: three brokers do, from a seed, what brokers do in bad moments, while leaders move,
// brokers die and batches expire. Whatever comes: what was acknowledged is where the producer was told, everything is there at most once, and in
// the order in which it was sent.
//
// OTTLA_SEEDS is how many seeds to try, OTTLA_SEED a single one.
func TestNothingTwiceNothingLostNothingOutOfOrder(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	first := uint64(0)
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { simulate(t, rand.New(rand.NewPCG(seed, 11))) })
		})
	}
}

// evil returns what a broker does with a batch instead of the usual.
func evil(rnd *rand.Rand) *fakecluster.Act {
	switch rnd.IntN(12) {
	case 0:
		return &fakecluster.Act{Code: kerr.NotEnoughReplicas}
	case 1:
		return &fakecluster.Act{Code: kerr.NotEnoughReplicasAfterAppend, Append: true}
	case 2:
		return &fakecluster.Act{Code: kerr.RequestTimedOut, Append: rnd.IntN(2) == 0}
	case 3:
		return &fakecluster.Act{End: status.Error(codes.Unavailable, "gone"), Append: rnd.IntN(2) == 0}
	case 4:
		return &fakecluster.Act{Silent: true, Append: rnd.IntN(2) == 0}
	case 5:
		return &fakecluster.Act{Delay: time.Duration(rnd.IntN(3000)) * time.Millisecond}
	case 6:
		return &fakecluster.Act{Code: kerr.NotLeaderOrFollower, Append: rnd.IntN(2) == 0}
	case 7:
		return &fakecluster.Act{Code: kerr.InvalidRecord}
	case 8:
		return &fakecluster.Act{Code: kerr.KafkaStorageError, Append: rnd.IntN(2) == 0}
	case 9:
		return &fakecluster.Act{Code: kerr.MessageTooLarge}
	}
	return nil
}

func simulate(t *testing.T, rnd *rand.Rand) {
	fc := fakecluster.New(t, 3)
	fc.CreateTopic("orders", 1)
	misery := rnd.IntN(40) // in a hundred
	var over atomic.Bool
	var mu sync.Mutex
	brokers := rand.New(rand.NewPCG(rnd.Uint64(), 3)) // guarded by mu
	fc.OnProduce = func(fakecluster.Call) *fakecluster.Act {
		mu.Lock()
		defer mu.Unlock()
		if over.Load() || brokers.IntN(100) >= misery {
			return nil
		}
		return evil(brokers)
	}
	opts := []producer.Option{producer.BatchSize(512), producer.RequestTimeout(2 * time.Second), producer.DeliveryTimeout(time.Hour)}
	if rnd.IntN(2) == 0 {
		opts = append(opts, producer.DeliveryTimeout(time.Duration(2200+rnd.IntN(6000))*time.Millisecond))
	}
	if rnd.IntN(2) == 0 {
		opts = append(opts, producer.AdaptiveBatching(false))
	}
	if rnd.IntN(3) == 0 {
		opts = append(opts, producer.Compression(record.LZ4), producer.Linger(time.Duration(rnd.IntN(100))*time.Millisecond))
	}
	p := start(t, fc, opts...)
	const n = 1500
	y := newTally()
	for i := 0; i < n; {
		burst := min(n-i, 1+rnd.IntN(200))
		y.send(t, p, i, i+burst-1)
		i += burst
		if rnd.IntN(3) > 0 {
			pause(t, time.Duration(rnd.IntN(1500))*time.Millisecond)
		}
		switch rnd.IntN(8) {
		case 0:
			fc.SetLeader(orders, cluster.BrokerID(1+rnd.IntN(3)))
		case 1:
			if len(fc.Live()) == 3 {
				fc.Kill(cluster.BrokerID(1 + rnd.IntN(3)))
			}
		case 2:
			for id := range cluster.BrokerID(3) {
				if !slices.Contains(fc.Live(), id+1) {
					fc.Start(id + 1)
				}
			}
		case 3:
			fc.RememberLastBatches(orders)
		case 4:
			fc.SetLeader(orders, cluster.NoBroker)
			pause(t, time.Duration(rnd.IntN(2000))*time.Millisecond)
			fc.SetLeader(orders, fc.Live()[0])
		}
	}
	over.Store(true)
	fc.SetLeader(orders, fc.Live()[0])
	flush(t, p)
	y.send(t, p, n, n)
	flush(t, p)
	judge(t, fc, y, n)
}

// pause lets virtual time pass.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	if err := client.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// judge compares what the producer told with the log.
func judge(t *testing.T, fc *fakecluster.Cluster, y *tally, last int) {
	t.Helper()
	values := fc.Values(orders)
	at := map[int]cluster.Offset{}
	highest := -1
	for i, v := range values {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		if before, twice := at[n]; twice {
			t.Errorf("record %d is at %d and at %d", n, before, i)
		}
		if n < highest {
			t.Errorf("record %d at %d comes after record %d", n, i, highest)
		}
		highest = max(highest, n)
		at[n] = cluster.Offset(i)
	}
	y.check(t, 0, last, func(error) bool { return true })
	acked, unplaced := 0, 0
	for i := range last + 1 {
		offset, there := at[i]
		switch r := y.where[i]; {
		case y.errs[i] != nil:
		case !there:
			t.Errorf("record %d was acknowledged and is not there", i)
		case r.Offset == cluster.UnknownOffset:
			unplaced++
			fallthrough
		case r.Offset == offset:
			acked++
		default:
			t.Errorf("record %d is said to be at %d and is at %d", i, r.Offset, offset)
		}
	}
	if y.errs[last] != nil {
		t.Errorf("after all was well again: %v", y.errs[last])
	}
	t.Logf("%d acknowledged, %d of them at an unknown place, %d in the log", acked, unplaced, len(values))
}
