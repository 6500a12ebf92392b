package consumer_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

func TestEveryRetriableCodeIsSatOutAndEveryOtherIsTold(t *testing.T) {
	for code := kerr.Code(-1); code < 130; code++ {
		if code == kerr.None || code == kerr.OffsetOutOfRange {
			continue
		}
		t.Run(code.Name(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				fc.Fill(orders, 0, 3, 10, record.None)
				fc.OnFetch = func(c fakecluster.Call) *fakecluster.Act {
					if c.N <= 2 {
						return &fakecluster.Act{Code: code}
					}
					return nil
				}
				c := start(t, fc)
				assign(t, c, orders)
				if code.Retriable() && code != kerr.CorruptMessage {
					if diff := cmp.Diff(numbers(0, 29), read(t, c, 30)); diff != "" {
						t.Errorf("records (-want +got):\n%s", diff)
					}
					return
				}
				err := readError(t, c)
				var e *client.Error
				if !errors.Is(err, code) || !errors.As(err, &e) || e.TopicPartition != orders {
					t.Errorf("got %v", err)
				}
				silence(t, c) // until a seek
				for range 2 { // the second scripted error comes with the first seek
					if err := c.Seek(orders, 10); err != nil {
						t.Fatal(err)
					}
					if fc.Count("fetch orders-0") < 2 {
						if err := readError(t, c); !errors.Is(err, code) {
							t.Errorf("got %v", err)
						}
					}
				}
				if diff := cmp.Diff(numbers(10, 29), read(t, c, 20)); diff != "" {
					t.Errorf("after a seek (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestALeaderThatMovesIsFollowed(t *testing.T) {
	for name, hint := range map[string]*ottlapb.LeaderHint{"with a hint": {LeaderId: 2, LeaderEpoch: 1}, "without a hint": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 2)
				fc.CreateTopic("orders", 1)
				fc.Fill(orders, 0, 3, 10, record.None)
				fc.OnFetch = func(c fakecluster.Call) *fakecluster.Act {
					if c.Broker == 1 {
						return &fakecluster.Act{Leader: hint}
					}
					return nil
				}
				c := start(t, fc)
				assign(t, c, orders)
				if diff := cmp.Diff(numbers(0, 14), read(t, c, 15)); diff != "" {
					t.Fatal(diff)
				}
				fc.SetLeader(orders, 2)
				fc.Fill(orders, 30, 1, 10, record.None)
				from := time.Now()
				if diff := cmp.Diff(numbers(15, 39), read(t, c, 25)); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				if took := time.Since(from); hint != nil && took > 10*time.Millisecond || took > 500*time.Millisecond {
					t.Errorf("took %v to follow", took)
				}
			})
		})
	}
}

// TestALeaderThatFallsSilentIsLeftWhenAnotherOneLeads cuts the leader off without a word: while it is read from, while its offsets are looked up, and before
// it is connected to.
func TestALeaderThatFallsSilentIsLeftWhenAnotherOneLeads(t *testing.T) {
	for name, read0 := range map[string]int{"reading": 10, "looking up": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 3)
				fc.CreateTopic("orders", 2)
				other := cluster.TopicPartition{Topic: "orders", Partition: 1}
				fc.SetLeader(other, 2)
				fc.Fill(orders, 0, 1, 10, record.None)
				fc.Fill(other, 0, 1, 10, record.None)
				c := start(t, fc)
				if read0 > 0 {
					assign(t, c, orders)
					read(t, c, read0)
				}
				fc.Net.Cut(fakecluster.ClientHost, fakecluster.Host(1))
				assign(t, c, orders, other)
				if o := position(t, c, other); o != 0 {
					t.Errorf("position %d", o)
				}
				from := time.Now()
				read(t, c, 10) // of the other partition, which need not wait
				if took := time.Since(from); took > 100*time.Millisecond {
					t.Errorf("the other leader's partition waited for %v", took)
				}
				<-time.After(2 * time.Second) // as long as it leads, it may still answer
				fc.SetLeader(orders, 3)
				fc.Fill(orders, 10, 1, 10, record.None)
				from = time.Now()
				if diff := cmp.Diff(numbers(read0, 19), read(t, c, 20-read0)); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				if took := time.Since(from); took > time.Second {
					t.Errorf("left %v after another broker led", took)
				}
			})
		})
	}
}

func TestTheSameLeaderUnderANewEpochIsReadOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 1, 10, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		read(t, c, 10)
		for i := range 5 {
			fc.SetLeader(orders, 1)
			fc.Fill(orders, 10+i, 1, 1, record.None)
			if diff := cmp.Diff(numbers(10+i, 10+i), read(t, c, 1)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		}
	})
}

func TestStreamsThatEndAreOpenedAgain(t *testing.T) {
	for name, act := range map[string]*fakecluster.Act{
		"unavailable": {End: status.Error(codes.Unavailable, "gone")},
		"unknown":     {End: errors.New("boom")},
		"no answer":   {Silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fc := fakecluster.New(t, 1)
				fc.CreateTopic("orders", 1)
				fc.Fill(orders, 0, 100, 10, record.None)
				fc.OnFetch = func(c fakecluster.Call) *fakecluster.Act {
					if c.N%2 == 1 && c.N < 8 {
						return act
					}
					return nil
				}
				c := start(t, fc, consumer.MaxPartitionFetchBytes(1000))
				assign(t, c, orders)
				var got []string
				for len(got) < 1000 { // each read has a minute
					got = append(got, read(t, c, 50)...)
				}
				if diff := cmp.Diff(numbers(0, 999), got); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestABrokerThatRestartsIsReadOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 2, 10, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		read(t, c, 5)
		fc.Kill(1)
		if diff := cmp.Diff(numbers(5, 19), read(t, c, 15)); diff != "" {
			t.Errorf("what was fetched before (-want +got):\n%s", diff)
		}
		timer := time.AfterFunc(20*time.Second, func() {
			fc.Start(1)
			fc.Fill(orders, 20, 1, 10, record.None)
		})
		defer timer.Stop()
		if diff := cmp.Diff(numbers(20, 29), read(t, c, 10)); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestARefusedStreamIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.OnFetch = func(fakecluster.Call) *fakecluster.Act {
			return &fakecluster.Act{End: status.Error(codes.PermissionDenied, "not you")}
		}
		c := start(t, fc)
		assign(t, c, orders)
		if err := readError(t, c); !errors.Is(err, kerr.ClusterAuthorizationFailed) || !strings.Contains(err.Error(), "not you") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAPositionThatIsGoneIsResetAfterWhatWasFetched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 10, 10, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		if err := c.Seek(orders, 95); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(95, 96), read(t, c, 2)); diff != "" {
			t.Fatal(diff)
		}
		fc.TrimTo(orders, 150) // 97 to 99 are fetched already; 100 is out of range now
		fc.Fill(orders, 150, 1, 5, record.None)
		if err := client.Sleep(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(numbers(97, 99), numbers(150, 154)...), read(t, c, 8)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if err := c.Seek(orders, 5000); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(150, 154), read(t, c, 5)); diff != "" {
			t.Errorf("after a seek beyond the end (-want +got):\n%s", diff)
		}
	})
}

func TestAPositionThatIsGoneIsAnErrorWithoutAResetPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 1, 10, record.None)
		c := start(t, fc, consumer.OffsetReset(consumer.ResetNone))
		assign(t, c, orders)
		readError(t, c)
		if err := c.Seek(orders, 77); err != nil {
			t.Fatal(err)
		}
		if err := readError(t, c); !errors.Is(err, kerr.OffsetOutOfRange) || !strings.Contains(err.Error(), "offset 77 is out of range") {
			t.Errorf("got %v", err)
		}
		if err := c.SeekToBeginning(orders); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Errorf("after a seek (-want +got):\n%s", diff)
		}
	})
}

func TestCorruptRecordsAreToldAndCanBePassed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Fill(orders, 0, 3, 10, record.None)
		bad := fc.Log(orders)[1] // the log itself
		bad[len(bad)-2] ^= 0x10
		c := start(t, fc)
		assign(t, c, orders)
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Fatal(diff)
		}
		err := readError(t, c)
		if !errors.Is(err, kerr.CorruptMessage) || !strings.Contains(err.Error(), "records at offset 10 cannot be read") {
			t.Errorf("got %v", err)
		}
		if o := position(t, c, orders); o != 10 {
			t.Errorf("position is %d", o)
		}
		silence(t, c)
		if err := c.Seek(orders, 20); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(20, 29), read(t, c, 10)); diff != "" {
			t.Errorf("after the bad batch (-want +got):\n%s", diff)
		}
		unchecked := start(t, fc, consumer.CheckCRCs(false))
		assign(t, unchecked, orders)
		if got := read(t, unchecked, 30); got[8] != "8" || got[29] != "29" {
			t.Errorf("without checks: %v", got)
		}
	})
}

func TestGapsOfCompactionArePassed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		b := record.NewBuilder(nil, 1<<20)
		b.Append(0, nil, []byte("0"), nil)
		data, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
		if err != nil {
			t.Fatal(err)
		}
		sparse := setLastOffsetDelta(data, 9) // records 1 to 9 were compacted away
		fc.Append(orders, sparse)
		fc.Fill(orders, 10, 1, 1, record.None)
		c := start(t, fc)
		assign(t, c, orders)
		if diff := cmp.Diff([]string{"0", "10"}, read(t, c, 2)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if err := c.Seek(orders, 5); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"10"}, read(t, c, 1)); diff != "" {
			t.Errorf("from within the gap (-want +got):\n%s", diff)
		}
		if o := position(t, c, orders); o != 11 {
			t.Errorf("position is %d", o)
		}
	})
}

// setLastOffsetDelta returns the batch as compaction leaves it: bytes 23 to 26 (F§4.4), under a new checksum.
func setLastOffsetDelta(b record.Batch, delta uint32) record.Batch {
	binary.BigEndian.PutUint32(b[23:], delta)
	return checksum(b)
}

// checksum sets the checksum: bytes 17 to 20, over all that follows.
func checksum(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// transactional returns a batch of a transaction, or its marker.
func transactional(t *testing.T, producer int64, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, 1<<20)
	for _, v := range values {
		b.Append(0, nil, []byte(v), nil)
	}
	data, err := b.Finish(record.None, record.DefaultLevel, producer, 0, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// marker returns a control batch: attribute bit 5, one record whose key is version and type (F§4.4).
func marker(t *testing.T, producer int64, commit bool) record.Batch {
	t.Helper()
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	b := record.NewBuilder(nil, 1<<20)
	b.Append(0, key, []byte{0, 0, 0, 0, 0, 0}, nil)
	data, err := b.Finish(record.None, record.DefaultLevel, producer, 0, -1, true)
	if err != nil {
		t.Fatal(err)
	}
	data[22] |= 1 << 5
	return checksum(data)
}

func TestTransactionsAreReadAccordingToTheIsolationLevel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Append(orders, transactional(t, 7, "committed 1")) // 0
		at := fc.Append(orders, transactional(t, 8, "aborted 1", "aborted 2"))
		fc.Abort(orders, 8, at)
		fc.Append(orders, transactional(t, 7, "committed 2"))
		fc.Append(orders, marker(t, 8, false))
		fc.Append(orders, marker(t, 7, true))
		fc.Append(orders, transactional(t, 8, "committed 3")) // the same producer, after its abort
		fc.Append(orders, marker(t, 8, true))
		fc.Fill(orders, 100, 1, 1, record.None)
		committed := start(t, fc, consumer.Isolation(client.ReadCommitted))
		assign(t, committed, orders)
		if diff := cmp.Diff([]string{"committed 1", "committed 2", "committed 3", "100"}, read(t, committed, 4)); diff != "" {
			t.Errorf("read_committed (-want +got):\n%s", diff)
		}
		all := start(t, fc)
		assign(t, all, orders)
		if diff := cmp.Diff([]string{"committed 1", "aborted 1", "aborted 2", "committed 2", "committed 3", "100"}, read(t, all, 6)); diff != "" {
			t.Errorf("read_uncommitted (-want +got):\n%s", diff)
		}
		if a, b := position(t, committed, orders), position(t, all, orders); a != b || a != cluster.Offset(9) {
			t.Errorf("positions are %d and %d", a, b)
		}
	})
}

func TestAMarkerAtTheEndMovesThePosition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 1)
		fc.Append(orders, transactional(t, 7, "x"))
		fc.Append(orders, marker(t, 7, true))
		c := start(t, fc)
		assign(t, c, orders)
		read(t, c, 1)
		silence(t, c)
		if o := position(t, c, orders); o != 2 {
			t.Errorf("position is %d", o)
		}
	})
}

func TestAPartitionWithoutALeaderDoesNotKeepTheOthersFromBeingRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fc := fakecluster.New(t, 1)
		fc.CreateTopic("orders", 2)
		other := cluster.TopicPartition{Topic: "orders", Partition: 1}
		fc.Fill(other, 0, 1, 10, record.None)
		fc.Fill(orders, 100, 1, 10, record.None)
		fc.SetLeader(orders, cluster.NoBroker)
		c := start(t, fc)
		assign(t, c, orders, other)
		from := time.Now()
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if took := time.Since(from); took > time.Second {
			t.Errorf("took %v", took)
		}
		fc.SetLeader(orders, 1)
		if diff := cmp.Diff(numbers(100, 109), read(t, c, 10)); diff != "" {
			t.Errorf("the partition with a leader again (-want +got):\n%s", diff)
		}
	})
}
