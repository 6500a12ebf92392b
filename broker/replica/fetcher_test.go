package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// exchange is a request that a scripted leader has got and not answered yet.
type exchange struct {
	req    *peer.FetchRequest
	answer chan any // a *wire.FetchResponse or an error
	ctx    context.Context
}

// stage is a follower whose leader and controller are played by the test.
type stage struct {
	t     *testing.T
	b     *broker
	m     *Manager
	p     *Partition
	epoch cluster.LeaderEpoch

	requests   chan exchange
	ends       func() (start, end cluster.Offset, err error)
	alter      func(context.Context, []state.ISRChange) ([]state.ISRResult, error)
	resets     atomic.Int32
	brokerBorn cluster.BrokerEpoch
}

// Leader, AlterPartition, Fetch, Ends, Reset and Close play the others.
func (s *stage) Leader(cluster.BrokerID) Leader { return s }

func (s *stage) AlterPartition(ctx context.Context, _ cluster.BrokerEpoch, c []state.ISRChange) ([]state.ISRResult, error) {
	if s.alter == nil {
		return nil, errors.New("no controller is known")
	}
	return s.alter(ctx, c)
}

func (s *stage) Fetch(ctx context.Context, req *peer.FetchRequest) (*wire.FetchResponse, error) {
	x := exchange{req, make(chan any, 1), ctx}
	select {
	case s.requests <- x:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-x.answer:
		if err, bad := a.(error); bad {
			return nil, err
		}
		return a.(*wire.FetchResponse), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *stage) Ends(context.Context, cluster.TopicPartition, cluster.LeaderEpoch) (start, end cluster.Offset, err error) {
	return s.ends()
}

func (s *stage) Reset() { s.resets.Add(1) }
func (s *stage) Close() {}

// play makes broker 1 follow broker 2 in orders-0 in epoch 5, with a log that the function has prepared.
func play(t *testing.T, prepare func(b *broker), script func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, vfs.NewMem())
		b.alive(1, 2, 3)
		if prepare != nil {
			prepare(b)
		}
		if err := b.m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, b: b, epoch: 5, requests: make(chan exchange), brokerBorn: 100}
		s.m = New(Config{
			BrokerID: self, Logs: b.logs, Metadata: b.cache, BrokerEpoch: func() cluster.BrokerEpoch { return s.brokerBorn }, Peers: s,
			MaxLag: 4 * time.Second, Now: time.Now,
		})
		defer s.m.Close(context.Background())
		s.follow(5)
		script(s)
	})
}

// follow orders the broker to follow broker 2.
func (s *stage) follow(epoch cluster.LeaderEpoch) {
	s.t.Helper()
	s.order(s.b.state(2, epoch, 1, 2, 3))
}

func (s *stage) order(states ...PartitionState) {
	s.t.Helper()
	code, outcomes := s.m.ApplyLeaderAndISR(LeaderAndISR{s.b.sender, states})
	if code != kerr.None {
		s.t.Fatal(code)
	}
	for _, o := range outcomes {
		if o.Code != kerr.None {
			s.t.Fatalf("order for %s: %v", o.TopicPartition, o.Code)
		}
	}
	s.p, _ = s.m.Partition(orders0)
}

// next waits for the follower's next request.
func (s *stage) next() exchange {
	s.t.Helper()
	select {
	case x := <-s.requests:
		return x
	case <-time.After(time.Minute):
		s.t.Fatal("the follower has sent no request for a minute")
		return exchange{}
	}
}

// silent wants no request for a while.
func (s *stage) silent(d time.Duration) {
	s.t.Helper()
	select {
	case x := <-s.requests:
		s.t.Fatalf("the follower has sent %+v", x.req)
	case <-time.After(d):
	}
}

// say answers for orders-0.
func (x exchange) say(p wire.FetchPartition) {
	x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: orders0.Topic, Partitions: []wire.FetchPartition{p}}}}
}

func (x exchange) fail(code kerr.Code) {
	x.say(wire.FetchPartition{ErrorCode: code, HighWatermark: -1, LogStartOffset: -1})
}

// placed wants the request to set orders-0 to a place.
func (s *stage) placed(x exchange, offset cluster.Offset, last cluster.LeaderEpoch) {
	s.t.Helper()
	want := []peer.FetchPosition{{
		TopicPartition: orders0, TopicID: s.b.id, CurrentLeaderEpoch: s.epoch, Offset: offset, LastFetchedEpoch: last, LogStart: s.p.log.LogStartOffset(),
	}}
	if d := cmp.Diff(want, x.req.Set); d != "" {
		s.t.Fatalf("places set (-want +got):\n%s", d)
	}
}

// sent is a batch of n records as a leader has it.
func sent(t *testing.T, base cluster.Offset, n int, epoch cluster.LeaderEpoch) record.Batch {
	t.Helper()
	b := batchOf(t, n, int64(base))
	b.SetBaseOffset(int64(base))
	b.SetPartitionLeaderEpoch(int32(epoch))
	return b
}

func (s *stage) wantEnds(start, watermark, end cluster.Offset) {
	s.t.Helper()
	synctest.Wait()
	if p := s.p; p.log.LogStartOffset() != start || p.HighWatermark() != watermark || p.LogEndOffset() != end {
		s.t.Fatalf("the log reaches from %d to %d with the high watermark at %d; want %d, %d, %d",
			p.log.LogStartOffset(), p.LogEndOffset(), p.HighWatermark(), start, end, watermark)
	}
}

// led makes the log one of epochs: n records of each of them.
func led(epochs map[cluster.LeaderEpoch]int) func(b *broker) {
	return func(b *broker) {
		for e := cluster.LeaderEpoch(0); e < 10; e++ {
			if n, ok := epochs[e]; ok {
				p := b.lead(e, self)
				for range n {
					b.add(p, 1, AcksLeader)
				}
			}
		}
	}
}

func TestAFollowerAppendsWhatItIsSent(t *testing.T) {
	play(t, nil, func(s *stage) {
		x := s.next()
		s.placed(x, 0, cluster.NoLeaderEpoch)
		if r := x.req; r.BrokerEpoch != 100 || r.MaxWait != 500*time.Millisecond || r.MinBytes != 1 || r.MaxBytes != 10<<20 || r.PartitionMaxBytes != 1<<20 {
			t.Errorf("%+v", r)
		}
		x.say(wire.FetchPartition{FetchOffset: 0, HighWatermark: 0, Records: sent(t, 0, 5, 4)})
		s.wantEnds(0, 0, 5)
		x = s.next()
		if len(x.req.Set) != 0 || len(x.req.Forget) != 0 {
			t.Errorf("sets %v and forgets %v although nothing has changed", x.req.Set, x.req.Forget)
		}
		// The high watermark follows the leader's as far as the log reaches, and the log's start follows too.
		x.say(wire.FetchPartition{FetchOffset: 5, HighWatermark: 50, LogStartOffset: 3, Records: append(sent(t, 5, 2, 4), sent(t, 7, 3, 5)...)})
		s.wantEnds(3, 10, 10)
		x = s.next()
		s.placed(x, 10, 5) // because the log's start has changed, which the leader is to know
		x.say(wire.FetchPartition{FetchOffset: 10, HighWatermark: 4, LogStartOffset: 2})
		s.wantEnds(3, 10, 10)
		entries := s.p.log.EpochEntries()
		if len(entries) != 2 || entries[0].Epoch != 4 || entries[1].Epoch != 5 || entries[1].StartOffset != 7 {
			t.Errorf("epochs %v", entries)
		}
	})
}

func TestErrorsPutAPartitionOff(t *testing.T) {
	for _, code := range []kerr.Code{
		kerr.UnknownLeaderEpoch, kerr.NotLeaderOrFollower, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID, kerr.KafkaStorageError, kerr.UnknownServerError,
	} {
		t.Run(code.Name(), func(t *testing.T) {
			play(t, nil, func(s *stage) {
				start := time.Now()
				var at []time.Duration
				for range 7 {
					x := s.next()
					s.placed(x, 0, cluster.NoLeaderEpoch)
					at = append(at, time.Since(start))
					x.fail(code)
				}
				var want []time.Duration
				for _, ms := range []int{0, 50, 150, 350, 750, 1550, 2550} {
					want = append(want, time.Duration(ms)*time.Millisecond)
				}
				if !slices.Equal(at, want) {
					t.Errorf("asked after %v, want %v", at, want)
				}
				x := s.next()
				x.say(wire.FetchPartition{})
				x = s.next()
				x.fail(code)
				failed := time.Now()
				s.next()
				if d := time.Since(failed); d != state.FirstPause {
					t.Errorf("after a success the pauses do not begin anew: %v", d)
				}
			})
		})
	}
}

func TestAFencedFollowerWaitsForTheController(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.next().fail(kerr.FencedLeaderEpoch)
		s.silent(time.Hour)
		s.epoch = 6
		s.follow(6)
		s.placed(s.next(), 0, cluster.NoLeaderEpoch)
	})
}

func TestABrokenConnectionIsTriedAgain(t *testing.T) {
	play(t, nil, func(s *stage) {
		start := time.Now()
		for _, after := range []time.Duration{0, 50, 150, 350} {
			x := s.next()
			s.placed(x, 0, cluster.NoLeaderEpoch)
			if d := time.Since(start); d != after*time.Millisecond {
				t.Errorf("tried after %v, want %v ms", d, after)
			}
			x.answer <- errors.New("connection reset")
		}
		if n := s.resets.Load(); n < 3 {
			t.Errorf("the session was ended %d times", n)
		}
	})
}

func TestDivergingLogsAreCutByEpoch(t *testing.T) {
	own := map[cluster.LeaderEpoch]int{1: 10, 3: 10, 4: 5} // epochs begin at 0, 10, 20; the log ends at 25
	t.Run("within an epoch that both know", func(t *testing.T) {
		play(t, led(own), func(s *stage) {
			x := s.next()
			s.placed(x, 25, 4)
			x.say(wire.FetchPartition{FetchOffset: 25, Diverging: &wire.EpochEnd{Epoch: 3, EndOffset: 13}})
			x = s.next()
			s.placed(x, 13, 3)
			s.wantEnds(0, 13, 13) // records below the high watermark went: an unclean election
		})
	})
	t.Run("over epochs that the follower does not know", func(t *testing.T) {
		play(t, led(own), func(s *stage) {
			s.next().say(wire.FetchPartition{FetchOffset: 25, Diverging: &wire.EpochEnd{Epoch: 2, EndOffset: 40}})
			x := s.next()
			s.placed(x, 10, 1)
			x.say(wire.FetchPartition{FetchOffset: 10, Diverging: &wire.EpochEnd{Epoch: 1, EndOffset: 6}})
			x = s.next()
			s.placed(x, 6, 1)
		})
	})
	t.Run("an epoch without records is forgotten, and the follower goes on (KAFKA-10706)", func(t *testing.T) {
		play(t, led(map[cluster.LeaderEpoch]int{1: 10, 4: 0}), func(s *stage) {
			x := s.next()
			s.placed(x, 10, 4)
			x.say(wire.FetchPartition{FetchOffset: 10, Diverging: &wire.EpochEnd{Epoch: 1, EndOffset: 10}})
			s.placed(s.next(), 10, 1)
		})
	})
	t.Run("a leader that makes no sense is asked again, but not at once", func(t *testing.T) {
		play(t, led(map[cluster.LeaderEpoch]int{1: 10}), func(s *stage) {
			s.next().say(wire.FetchPartition{FetchOffset: 10, Diverging: &wire.EpochEnd{Epoch: 1, EndOffset: 10}})
			start := time.Now()
			s.placed(s.next(), 10, 1)
			if time.Since(start) < state.FirstPause {
				t.Error("at once")
			}
		})
	})
}

func TestOutOfRange(t *testing.T) {
	for _, c := range []struct {
		name       string
		start, end cluster.Offset
		err        error
		want       [3]cluster.Offset // log start, high watermark, log end
	}{
		{"the leader's log is shorter", 0, 7, nil, [3]cluster.Offset{0, 7, 7}},
		{"the leader's log begins beyond", 30, 40, nil, [3]cluster.Offset{30, 30, 30}},
		{"the leader's log begins exactly there", 10, 40, nil, [3]cluster.Offset{0, 10, 10}},
		{"the position has come into range", 5, 40, nil, [3]cluster.Offset{0, 10, 10}},
		{"the leader does not say", 0, 0, kerr.NotLeaderOrFollower.Err(), [3]cluster.Offset{0, 10, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, led(map[cluster.LeaderEpoch]int{1: 10}), func(s *stage) {
				s.ends = func() (cluster.Offset, cluster.Offset, error) { return c.start, c.end, c.err }
				s.next().fail(kerr.OffsetOutOfRange)
				s.wantEnds(c.want[0], c.want[1], c.want[2])
				last := cluster.LeaderEpoch(1)
				if c.start == 30 {
					last = cluster.NoLeaderEpoch
				}
				s.placed(s.next(), c.want[2], last)
			})
		})
	}
}

func TestALogMayBeginWithinABatchOfTheLeader(t *testing.T) {
	play(t, led(map[cluster.LeaderEpoch]int{1: 3}), func(s *stage) {
		s.ends = func() (cluster.Offset, cluster.Offset, error) { return 57, 100, nil }
		s.next().fail(kerr.OffsetOutOfRange)
		x := s.next()
		s.placed(x, 57, cluster.NoLeaderEpoch)
		x.say(wire.FetchPartition{FetchOffset: 57, HighWatermark: 70, LogStartOffset: 57, Records: sent(t, 50, 20, 5)})
		s.wantEnds(57, 70, 70)
		if got := s.p.log.Segments(); !slices.Equal(got, []cluster.Offset{50}) {
			t.Errorf("segments %v", got)
		}
	})
}

func TestDamagedAndMisplacedRecordsAreFetchedAgain(t *testing.T) {
	for name, damage := range map[string]func(p *wire.FetchPartition){
		"a flipped bit":                  func(p *wire.FetchPartition) { p.Records[70] ^= 1 },
		"an answer for another position": func(p *wire.FetchPartition) { p.FetchOffset = 4 },
		"records from before":            func(p *wire.FetchPartition) { record.Batch(p.Records).SetBaseOffset(1) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, led(map[cluster.LeaderEpoch]int{1: 3}), func(s *stage) {
				bad := wire.FetchPartition{FetchOffset: 3, HighWatermark: 9, Records: sent(t, 3, 5, 5)}
				damage(&bad)
				s.next().say(bad)
				s.wantEnds(0, 3, 3)
				x := s.next()
				s.placed(x, 3, 1)
				x.say(wire.FetchPartition{FetchOffset: 3, HighWatermark: 9, Records: sent(t, 3, 5, 5)})
				s.wantEnds(0, 8, 8)
			})
		})
	}
}

func TestAnAnswerOfAnEarlierEpochChangesNothing(t *testing.T) {
	play(t, nil, func(s *stage) {
		old := s.next()
		s.order(s.b.state(self, 6, 1, 2, 3)) // it leads now
		old.say(wire.FetchPartition{HighWatermark: 5, Records: sent(t, 0, 5, 5)})
		s.wantEnds(0, 0, 0)
		s.silent(time.Minute)
		s.epoch = 7
		s.follow(7)
		x := s.next()
		s.placed(x, 0, 6)
		code, _ := s.m.ApplyStopReplica(StopReplica{s.b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: 7}}})
		if code != kerr.None {
			t.Fatal(code)
		}
		x.say(wire.FetchPartition{HighWatermark: 5, Records: sent(t, 0, 5, 7)})
		s.wantEnds(0, 0, 0)
		s.silent(time.Minute)
	})
}

func TestANewPartitionNeedNotWaitForNewsOfTheOthers(t *testing.T) {
	play(t, nil, func(s *stage) {
		waiting := s.next()
		s.placed(waiting, 0, cluster.NoLeaderEpoch)
		another := s.b.state(2, 3, 1, 2, 3)
		another.TopicPartition.Partition = 1
		start := time.Now()
		s.order(another)
		x := s.next()
		if len(x.req.Set) != 2 || time.Since(start) != 0 || waiting.ctx.Err() == nil {
			t.Errorf("set %v after %v; the request before was given up: %v", x.req.Set, time.Since(start), waiting.ctx.Err())
		}
		// What goes wrong with one does not concern the other (KAFKA-5758).
		x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: "orders", Partitions: []wire.FetchPartition{
			{Index: 0, ErrorCode: kerr.NotLeaderOrFollower}, {Index: 1, HighWatermark: 2, Records: sent(t, 0, 2, 3)},
			{Index: 7, ErrorCode: kerr.NotLeaderOrFollower},
		}}}}
		x = s.next()
		if len(x.req.Set) != 0 || !slices.Equal(x.req.Forget, []cluster.TopicPartition{orders0}) || x.req.MaxWait != state.FirstPause {
			t.Errorf("%+v", x.req)
		}
		if p, _ := s.m.Partition(another.TopicPartition); p.LogEndOffset() != 2 {
			t.Errorf("the other ends at %d", p.LogEndOffset())
		}
		<-time.After(state.FirstPause)
		x.answer <- &wire.FetchResponse{}
		s.placed(s.next(), 0, cluster.NoLeaderEpoch)
	})
}

func TestTheNumberOfFetchersChanges(t *testing.T) {
	play(t, nil, func(s *stage) {
		another := s.b.state(2, 5, 1, 2, 3)
		another.TopicPartition.Partition = 1
		s.order(another)
		both := s.next()
		if len(both.req.Set) == 1 { // of before the order
			both = s.next()
		}
		if len(both.req.Set) != 2 {
			t.Fatalf("one fetcher sets %v", both.req.Set)
		}
		s.m.SetFetchers(2)
		if both.ctx.Err() == nil {
			t.Error("the only fetcher goes on beside the new ones")
		}
		a, b := s.next(), s.next()
		if len(a.req.Set) != 1 || len(b.req.Set) != 1 || a.req.Set[0].TopicPartition == b.req.Set[0].TopicPartition {
			t.Fatalf("two fetchers set %v and %v", a.req.Set, b.req.Set)
		}
		s.m.SetFetchers(2)
		s.silent(time.Minute)
		if a.ctx.Err() != nil || b.ctx.Err() != nil {
			t.Error("the same number disturbs the fetchers")
		}
		for _, x := range []exchange{a, b} {
			x.answer <- &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: "orders", Partitions: []wire.FetchPartition{
				{Index: x.req.Set[0].TopicPartition.Partition, HighWatermark: 2, Records: sent(t, 0, 2, 5)},
			}}}}
		}
		s.next()
		s.next()
		s.m.SetFetchers(1)
		x := s.next()
		if len(x.req.Set) != 2 || x.req.Set[0].Offset != 2 || x.req.Set[1].Offset != 2 {
			t.Errorf("one fetcher again sets %v", x.req.Set)
		}
		s.order(s.b.state(self, 6, 1, 2, 3))
		x.answer <- &wire.FetchResponse{}
		if x = s.next(); !slices.Equal(x.req.Forget, []cluster.TopicPartition{orders0}) {
			t.Errorf("after a partition has left: %+v", x.req)
		}
	})
}

// A request says that all was appended that the leader has sent, except for the partitions that it places anew or forgets. So none may be left over for the
// next request, however many have failed or have got another role.
func TestNothingIsClaimedOfPartitionsThatDoNotFitIntoARequest(t *testing.T) {
	const n = maxPlaced + 300
	for name, spoil := range map[string]func(s *stage, all []PartitionState) cluster.Offset{
		"their records cannot be appended": func(*stage, []PartitionState) cluster.Offset { return 7 },
		"they have lost their leader": func(s *stage, all []PartitionState) cluster.Offset {
			for i := range all {
				all[i].Leader, all[i].LeaderEpoch = cluster.NoBroker, 6
			}
			s.order(all...)
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				all := make([]PartitionState, n)
				for i := range all {
					all[i] = s.b.state(2, 5, 1, 2, 3)
					all[i].TopicPartition.Partition = int32(i + 1)
				}
				s.next().answer <- &wire.FetchResponse{}
				s.next()
				s.order(all...)
				session := map[cluster.TopicPartition]cluster.Offset{} // where the leader takes the follower to be
				resets := s.resets.Load()
				next := func() exchange {
					x := s.next()
					if r := s.resets.Load(); r != resets {
						resets = r
						clear(session)
					}
					for _, tp := range x.req.Forget {
						delete(session, tp)
					}
					for _, set := range x.req.Set {
						session[set.TopicPartition] = set.Offset
					}
					for tp, offset := range session {
						if p, _ := s.m.Partition(tp); offset > p.LogEndOffset() {
							t.Fatalf("the follower says that it has %s up to %d, and it ends at %d", tp, offset, p.LogEndOffset())
						}
					}
					return x
				}
				x := next()
				for len(session) < n+1 {
					x.answer <- &wire.FetchResponse{}
					x = next()
				}
				offset := spoil(s, all)
				answer := &wire.FetchResponse{Topics: []wire.FetchTopic{{Name: orders0.Topic}}}
				batch := sent(t, 0, 1, 5)
				for tp := range session {
					session[tp] = 1
					a := wire.FetchPartition{Index: tp.Partition, HighWatermark: 1, Records: batch}
					if tp != orders0 {
						a.FetchOffset = offset
					}
					answer.Topics[0].Partitions = append(answer.Topics[0].Partitions, a)
				}
				x.answer <- answer
				for range 5 {
					next().answer <- &wire.FetchResponse{}
				}
			})
		})
	}
}

func TestAFailedDiskEndsFollowing(t *testing.T) {
	play(t, nil, func(s *stage) {
		x := s.next()
		s.m.DirFailed("/logs")
		x.say(wire.FetchPartition{HighWatermark: 5, Records: sent(t, 0, 5, 5)})
		s.silent(time.Minute)
		if _, err := s.p.Append(batchOf(t, 1, 0), AcksLeader); kerr.CodeOf(err) != kerr.KafkaStorageError {
			t.Error(err)
		}
	})
}

func TestInSyncSetsAreAskedForOneRequestAtATime(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.next()
		var mu sync.Mutex // over asked and answer
		var asked [][]state.ISRChange
		answer := func([]state.ISRChange) ([]state.ISRResult, error) { return nil, errors.New("nobody there") }
		under := 0
		s.alter = func(_ context.Context, c []state.ISRChange) ([]state.ISRResult, error) {
			if under++; under > 1 {
				t.Error("two requests at a time")
			}
			defer func() { under-- }()
			<-time.After(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, c)
			return answer(c)
		}
		heard := func() [][]state.ISRChange {
			mu.Lock()
			defer mu.Unlock()
			h := asked
			asked = nil
			return h
		}
		led := s.b.state(self, 6, 1, 2, 3)
		led.ISR = ids(1)
		s.order(led)
		b := *s.b
		b.m = s.m
		b.add(s.p, 3, AcksAll)
		if s.p.HighWatermark() != 3 {
			t.Fatalf("high watermark %d", s.p.HighWatermark())
		}
		joining := func(id cluster.BrokerID, offset cluster.Offset) {
			r := follower(id)
			r.BrokerEpoch = 40 + cluster.BrokerEpoch(id)
			if res, _ := read(s.p, r, from(offset)); res.Code != kerr.None {
				t.Fatal(res.Code)
			}
		}
		joining(2, 2) // not yet
		joining(2, 3)
		a := b.add(s.p, 1, AcksAll)
		if _, done := a.Wait.Outcome(); done {
			t.Error("acknowledged without the replica that is about to join")
		}
		<-time.After(3 * time.Second)
		got := heard()
		if len(got) < 4 || len(got) > 8 {
			t.Fatalf("asked %d times in 3 s", len(got))
		}
		want := []state.ISRChange{{TopicPartition: orders0, LeaderEpoch: 6, PartitionEpoch: 0, ISR: ids(1, 2), Epochs: []cluster.BrokerEpoch{-1, 42}}}
		if d := cmp.Diff(want, got[len(got)-1]); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		mu.Lock()
		answer = func(c []state.ISRChange) ([]state.ISRResult, error) {
			return []state.ISRResult{{LeaderEpoch: 6, PartitionEpoch: c[0].PartitionEpoch + 1, ISR: c[0].ISR}}, nil
		}
		mu.Unlock()
		<-time.After(time.Second)
		heard()
		joining(2, 4)
		if code, done := a.Wait.Outcome(); !done || code != kerr.None {
			t.Errorf("%v, %v", code, done)
		}
		joining(3, 4)
		<-time.After(time.Second)
		if asked := heard(); len(asked) != 1 || !slices.Equal(asked[0][0].ISR, ids(1, 2, 3)) || asked[0][0].PartitionEpoch != 1 {
			t.Errorf("asked %v", asked)
		}
		b.add(s.p, 1, AcksLeader)
		for range 14 {
			<-time.After(500 * time.Millisecond)
			joining(2, 5)
		}
		if asked := heard(); len(asked) != 1 || !slices.Equal(asked[0][0].ISR, ids(1, 2)) {
			t.Errorf("asked %v", asked)
		}
		if s.p.HighWatermark() != 5 {
			t.Errorf("high watermark %d", s.p.HighWatermark())
		}
		restarted := follower(2)
		restarted.BrokerEpoch = 77
		read(s.p, restarted, from(1)) // its disk has lost what every member must have
		<-time.After(10 * time.Millisecond)
		if asked := heard(); len(asked) != 1 || !slices.Equal(asked[0][0].ISR, ids(1)) {
			t.Errorf("asked %v", asked)
		}
	})
}
