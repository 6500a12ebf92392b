package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

func TestAFetchSessionMovesOnByItself(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	p.put(orders0, "a", "b")
	f := w.fetcher(w.dial(""))
	got := f.ask(want(0, 0, orders0))
	if !slices.Equal(values(t, got), []string{"a", "b"}) || got.FetchOffset != 0 || got.HighWatermark != 2 || got.LastStableOffset != 2 ||
		got.LogStartOffset != 0 || got.PreferredReadReplica != -1 || got.ErrorCode != 0 {
		t.Errorf("first answer %+v", got)
	}
	p.put(orders0, "c")
	got = f.ask(want(0, 0)) // names no partition
	if !slices.Equal(values(t, got), []string{"c"}) || got.FetchOffset != 2 {
		t.Errorf("second answer %+v", got)
	}
	if got := f.ask(want(0, 0)); got != nil {
		t.Errorf("there is nothing to say, but it says %+v", got)
	}
	if got := f.ask(want(0, 1, orders0)); !slices.Equal(values(t, got), []string{"a", "b", "c"}) || got.FetchOffset != 1 {
		t.Errorf("after a change of position: %+v", got)
	}
	if err := f.s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestForgottenPartitionsAreNotAnswered(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 3)
	p := w.producer(w.dial(""))
	f := w.fetcher(w.dial(""))
	f.send(want(0, 0, at("orders", 0), at("orders", 1), at("orders", 2)))
	f.answer()
	for i := range int32(3) {
		p.put(at("orders", i), "x")
	}
	r := want(0, 0)
	r.Forgotten = []*ottlapb.ForgottenTopic{{Name: "orders", Partitions: []int32{0, 2, 9}}, {Name: "nowhere", Partitions: []int32{0}}}
	f.send(r)
	if got := f.only(f.answer()); got.Index != 1 {
		t.Errorf("answer for partition %d", got.Index)
	}
	r.Forgotten = []*ottlapb.ForgottenTopic{{Name: "orders", Partitions: []int32{1}}}
	f.send(r)
	if got := f.answer(); len(got.Topics) != 0 {
		t.Errorf("an empty session answers %+v", got)
	}
	for i := range int32(3) {
		if n := w.watched(at("orders", i)); n != 0 {
			t.Errorf("partition %d is still watched", i)
		}
	}
}

// watched returns how many sessions watch a partition.
func (w *world) watched(tp cluster.TopicPartition) int { return w.held(tp).Watchers() }

func TestFetchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		p := w.producer(w.dial(""))
		f := w.fetcher(w.dial(""))
		ask := func(r *ottlapb.FetchRequest, event func()) (*wire.FetchPartition, time.Duration) {
			begin := time.Now()
			f.send(r)
			if event != nil {
				<-time.After(200 * time.Millisecond)
				event()
			}
			got := f.only(f.answer())
			return got, time.Since(begin)
		}
		if _, took := ask(want(500*time.Millisecond, 0, orders0), nil); took != 500*time.Millisecond {
			t.Errorf("without data it took %v", took)
		}
		if got, took := ask(want(500*time.Millisecond, 0), func() { p.put(orders0, "a") }); took != 200*time.Millisecond || len(values(t, got)) != 1 {
			t.Errorf("with data after 200 ms it took %v: %+v", took, got)
		}
		patient := want(time.Hour, 0)
		if _, took := ask(patient, nil); took != time.Minute {
			t.Errorf("an hour is capped to %v", took)
		}
		choosy := want(500*time.Millisecond, 0)
		choosy.MinBytes = 1000
		if got, took := ask(choosy, func() { p.put(orders0, "little") }); took != 500*time.Millisecond || !slices.Equal(values(t, got), []string{"little"}) {
			t.Errorf("with less than min_bytes it took %v: %+v", took, got)
		}
		if got, took := ask(choosy, func() { p.put(orders0, strings.Repeat("x", 2000)) }); took != 200*time.Millisecond || len(values(t, got)) != 1 {
			t.Errorf("with more than min_bytes it took %v", took)
		}
		if got, took := ask(want(500*time.Millisecond, 0), func() { w.place(orders0, 2, 2, self) }); took != 200*time.Millisecond ||
			got.ErrorCode != kerr.NotLeaderOrFollower || got.CurrentLeader == nil || *got.CurrentLeader != (wire.LeaderHint{Leader: 2, Epoch: 1}) {
			t.Errorf("when the leader steps down it took %v: %+v", took, got)
		}
		// A request that changes the session is not kept waiting by the one before it.
		w.topic("users", 1)
		w.topic("orders", 1)
		f.send(want(0, 0, orders0))
		f.answer()
		f.send(want(500*time.Millisecond, 7000, orders0))
		if got := f.only(f.answer()); got.ErrorCode != kerr.OffsetOutOfRange {
			t.Fatalf("out of range: %+v", got)
		}
		f.send(want(500*time.Millisecond, 3, orders0))
		begin := time.Now()
		<-time.After(100 * time.Millisecond)
		f.send(want(0, 0, at("users", 0)))
		f.answer()
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("with a change to come it took %v", took)
		}
		f.answer()
		w.stop()
	})
}

func TestFetchErrors(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	w.place(orders0, self, self) // leader epoch 1
	w.place(at("elsewhere", 0), 2, 2, 3)
	w.producer(w.dial("")).put(orders0, "a", "b")
	for _, c := range []struct {
		name   string
		tp     cluster.TopicPartition
		offset int64
		epoch  int32
		want   kerr.Code
		hint   int32
	}{
		{"offset -5", orders0, -5, -1, kerr.OffsetOutOfRange, 0},
		{"the largest offset", orders0, 1<<63 - 1, -1, kerr.OffsetOutOfRange, 0},
		{"the offset after the end", orders0, 3, -1, kerr.OffsetOutOfRange, 0},
		{"an old leader epoch", orders0, 0, 0, kerr.FencedLeaderEpoch, 1},
		{"a future leader epoch", orders0, 0, 2, kerr.UnknownLeaderEpoch, 0},
		{"another broker's partition", at("elsewhere", 0), 0, -1, kerr.NotLeaderOrFollower, 2},
		{"partition -1", at("orders", -1), 0, -1, kerr.UnknownTopicOrPartition, 0},
		{"partition 2147483647", at("orders", 1<<31-1), 0, -1, kerr.UnknownTopicOrPartition, 0},
		{"an unknown topic", at("nowhere", 0), 0, -1, kerr.UnknownTopicOrPartition, 0},
		{"an impossible topic", at("../etc", 0), 0, -1, kerr.InvalidTopicException, 0},
	} {
		f := w.fetcher(w.dial(""))
		r := want(time.Hour, c.offset, c.tp) // an error does not wait
		r.Topics[0].Partitions[0].CurrentLeaderEpoch = c.epoch
		got := f.ask(r)
		if got.ErrorCode != c.want || got.Index != c.tp.Partition || len(got.Records) != 0 {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
		if c.hint != 0 && (got.CurrentLeader == nil || int32(got.CurrentLeader.Leader) != c.hint) || c.hint == 0 && got.CurrentLeader != nil {
			t.Errorf("%s: hint %v, want leader %d", c.name, got.CurrentLeader, c.hint)
		}
		if got.HighWatermark != -1 || got.LastStableOffset != -1 {
			t.Errorf("%s: ends %d, %d with an error", c.name, got.HighWatermark, got.LastStableOffset)
		}
	}
}

func TestAReaderOfAnotherTopicOfThatNameIsRefused(t *testing.T) {
	w := newWorld(t)
	id, other := cluster.TopicID{15: 1}, cluster.TopicID{15: 2}
	w.replicas.ApplyLeaderAndISR(replica.LeaderAndISR{Sender: replica.Sender{ControllerID: 3, ControllerEpoch: 1, BrokerEpoch: -1}, Partitions: []replica.PartitionState{
		{TopicPartition: orders0, TopicID: id, Leader: self, Replicas: []cluster.BrokerID{self, 2}, ISR: []cluster.BrokerID{self}, IsNew: true},
	}})
	for _, c := range []struct {
		name string
		id   []byte
		want kerr.Code
	}{{"the same id", id[:], kerr.None}, {"no id", nil, kerr.None}, {"another id", other[:], kerr.InconsistentTopicID}} {
		for _, r := range []*ottlapb.FetchRequest{want(0, 0, orders0), asReplica(2, want(0, 0, orders0))} {
			r.Topics[0].TopicId = c.id
			if got := w.fetcher(w.dial("")).ask(r); got.ErrorCode != c.want {
				t.Errorf("%s, replica %d: %v, want %v", c.name, r.ReplicaId, got.ErrorCode, c.want)
			}
		}
	}
}

func TestOneBadPartitionDoesNotSpoilAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 2)
	p := w.producer(w.dial(""))
	p.put(at("orders", 0), "zero")
	p.put(at("orders", 1), "one")
	f := w.fetcher(w.dial(""))
	f.send(want(0, 0, at("orders", 0), at("nowhere", 0), at("orders", 1)))
	r := f.answer()
	if len(r.Topics) != 2 || len(r.Topics[0].Partitions) != 2 || r.Topics[1].Name != "nowhere" {
		t.Fatalf("answer %+v", r)
	}
	if got := values(t, &r.Topics[0].Partitions[1]); !slices.Equal(got, []string{"one"}) {
		t.Errorf("partition 1 gives %q", got)
	}
	if got := r.Topics[1].Partitions[0].ErrorCode; got != kerr.UnknownTopicOrPartition {
		t.Errorf("the unknown one: %v", got)
	}
}

func TestFetchSizes(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 3)
	p := w.producer(w.dial(""))
	for i := range int32(3) {
		for range 4 {
			p.put(at("orders", i), strings.Repeat("x", 1000)) // 1072 bytes in a batch of its own
		}
	}
	batches := func(r *wire.FetchResponse) (list []string) {
		for _, topic := range r.Topics {
			for _, part := range topic.Partitions {
				if n := len(values(t, &part)); n > 0 {
					list = append(list, fmt.Sprintf("%d:%d", part.Index, n))
				}
			}
		}
		return list
	}
	for _, c := range []struct {
		name                string
		maxBytes, partition int32
		want                [][]string // of one answer after another
	}{
		{"everything", 1 << 30, 1 << 30, [][]string{{"0:4", "1:4", "2:4"}, nil}},
		{"the largest number", 1<<31 - 1, 1<<31 - 1, [][]string{{"0:4", "1:4", "2:4"}}},
		{"little of each partition", 1 << 30, 2500, [][]string{{"0:2", "1:2", "2:2"}, {"0:2", "1:2", "2:2"}, nil}},
		{"one batch in any case", 1 << 30, 10, [][]string{{"0:1"}, {"1:1"}, {"2:1"}, {"0:1"}}},
		{"one batch in any case, of the answer", 10, 1 << 30, [][]string{{"0:1"}, {"1:1"}, {"2:1"}, {"0:1"}}},
		{"no bytes at all", 0, 0, [][]string{{"0:1"}, {"1:1"}}},
		{"negative bytes", -1, -1, [][]string{{"0:1"}, {"1:1"}}},
		{"little in all", 3300, 1 << 30, [][]string{{"0:3"}, {"1:3"}, {"2:3"}, {"0:1", "1:1", "2:1"}}},
	} {
		f := w.fetcher(w.dial(""))
		for i, expect := range c.want {
			r := want(0, 0)
			if i == 0 {
				r = want(0, 0, at("orders", 0), at("orders", 1), at("orders", 2))
			}
			r.MaxBytes = c.maxBytes
			for _, topic := range r.Topics {
				topic.Partitions[0].PartitionMaxBytes = c.partition
			}
			f.send(r)
			got := batches(f.answer())
			slices.Sort(got)
			if !slices.Equal(got, expect) {
				t.Errorf("%s, answer %d: %v, want %v", c.name, i, got, expect)
			}
		}
	}
}

func TestTheServerCapsAnswers(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.Limits.FetchMaxBytes = 2500 })
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	for range 4 {
		p.put(orders0, strings.Repeat("x", 1000))
	}
	r := want(0, 0, orders0)
	r.MaxBytes = 1<<31 - 1
	if got := values(t, w.fetcher(w.dial("")).ask(r)); len(got) != 2 {
		t.Errorf("%d batches of 1072 bytes, although an answer may have 2500", len(got))
	}
}

func TestAnAnswerHoldsNoMorePartitionsThanAReceiverTakes(t *testing.T) {
	w := newWorld(t)
	r := want(0, 0, at("nowhere", 0))
	for i := range int32(8_999) {
		p := want(0, 0, at("nowhere", i+1)).Topics[0].Partitions[0]
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
	f := w.fetcher(w.dial(""))
	seen := map[int32]bool{}
	for range 2 {
		f.send(r)
		got := f.answer()
		if n := len(got.Topics[0].Partitions); n > wire.MaxPartitionsPerRequest/2 {
			t.Errorf("an answer for %d partitions", n)
		}
		for _, p := range got.Topics[0].Partitions {
			seen[p.Index] = true
		}
		r.Topics = nil
	}
	if len(seen) != 9_000 {
		t.Errorf("two answers tell of %d partitions, want all 9000", len(seen))
	}
}

func TestAnAnswerThatWaitsForRoomEndsWithTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		w.srv.underWay.add(w.srv.limits.AnswerBytes)
		f := w.fetcher(w.dial(""))
		f.send(want(0, 0, orders0))
		synctest.Wait()
		w.srv.Close()
		_, err := f.s.Recv()
		wantStatus(t, err, codes.Unavailable)
		w.stop()
	})
}

func TestFetchStreamsThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	w.brokers(1, 2)
	isolated := want(0, 0, orders0)
	isolated.IsolationLevel = 7
	many := want(0, 0)
	for i := range int32(10_000) {
		many.Topics = append(many.Topics, want(0, 0, at("orders", i)).Topics...)
	}
	for _, c := range []struct {
		name     string
		requests []*ottlapb.FetchRequest
		want     codes.Code
	}{
		{"isolation level 7", []*ottlapb.FetchRequest{isolated}, codes.InvalidArgument},
		{"replica -2", []*ottlapb.FetchRequest{asReplica(-2, want(0, 0, orders0))}, codes.InvalidArgument},
		{"a replica that is no broker", []*ottlapb.FetchRequest{asReplica(7, want(0, 0, orders0))}, codes.PermissionDenied},
		{"the broker itself", []*ottlapb.FetchRequest{asReplica(1, want(0, 0, orders0))}, codes.PermissionDenied},
		{"a consumer that becomes a replica", []*ottlapb.FetchRequest{want(0, 0, orders0), asReplica(2, want(0, 0))}, codes.InvalidArgument},
		{"20000 topics and partitions", []*ottlapb.FetchRequest{many}, codes.InvalidArgument},
	} {
		f := w.fetcher(w.dial(""))
		var err error
		for _, r := range c.requests {
			f.send(r)
			_, err = f.s.Recv()
		}
		if got := codeOfStatus(err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestForgedFetchesDoNotMoveTheHighWatermark(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	w.brokers(1, 2, 3)
	w.producer(w.dial("")).put(orders0, "a", "b")
	for _, c := range []struct {
		name    string
		replica int32
		offset  int64
		want    kerr.Code
	}{
		{"a broker that is no replica", 3, 2, kerr.UnknownTopicOrPartition},
		{"a follower that has more than the leader", 2, 3, kerr.OffsetOutOfRange},
	} {
		if got := w.fetcher(w.dial("")).ask(asReplica(c.replica, want(0, c.offset, orders0))); got.ErrorCode != c.want {
			t.Errorf("%s: %v, want %v", c.name, got.ErrorCode, c.want)
		}
	}
	f := w.fetcher(w.dial(""))
	f.send(asReplica(9, want(0, 2, orders0)))
	_, err := f.s.Recv()
	wantStatus(t, err, codes.PermissionDenied)
	if hw := w.held(orders0).HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d", hw)
	}
}

func TestAFollowerMustNotSendAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(orders0, self, self, 2)
		f := w.fetcher(w.dial(""))
		f.send(asReplica(2, want(500*time.Millisecond, 0, orders0)))
		f.send(asReplica(2, want(500*time.Millisecond, 0)))
		_, err := f.s.Recv()
		wantStatus(t, err, codes.InvalidArgument)
		w.stop()
	})
}

func TestFollowersReplicateOverAFetchStream(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	p := w.producer(w.dial(""))
	f := w.fetcher(w.dial(""))
	f.send(asReplica(2, want(10*time.Second, 0, orders0)))
	for i := range 20 {
		p.send(request(-1, orders0, batch(t, fmt.Sprint(i))))
		if got := values(t, f.only(f.answer())); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Fatalf("the follower gets %q in round %d", got, i)
		}
		f.send(asReplica(2, want(10*time.Second, 0))) // has appended
		if r := p.result(); r.ErrorCode != 0 || r.BaseOffset != int64(i) {
			t.Fatalf("the producer gets %v in round %d", r, i)
		}
	}
}

func TestConsumersDoNotSeeWhatIsNotAcknowledged(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	w.producer(w.dial("")).put(orders0, "secret")
	got := w.fetcher(w.dial("")).ask(want(0, 0, orders0))
	if len(got.Records) != 0 || got.HighWatermark != 0 || got.ErrorCode != 0 {
		t.Errorf("answer %+v", got)
	}
	got = w.fetcher(w.dial("")).ask(want(0, 1, orders0))
	if len(got.Records) != 0 || got.ErrorCode != 0 {
		t.Errorf("between high watermark and end: %+v", got)
	}
}

func TestAReaderThatDoesNotReadIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		p := w.producer(w.dial(""))
		for range 40 {
			p.put(orders0, strings.Repeat("x", 1<<20-100))
		}
		f := w.fetcher(w.dial(""))
		for i := range 4 {
			r := want(0, 0, orders0)
			if i > 0 {
				r.Topics = nil
			}
			r.MaxBytes = 10 << 20
			for _, topic := range r.Topics {
				topic.Partitions[0].PartitionMaxBytes = 10 << 20
			}
			f.send(r)
		}
		synctest.Wait()
		if used := w.srv.underWay.used.Load(); used == 0 || used > 40<<20 {
			t.Errorf("%d bytes are under way", used)
		}
		<-time.After(29 * time.Second)
		synctest.Wait()
		if w.srv.underWay.used.Load() == 0 {
			t.Error("given up too early")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if used := w.srv.underWay.used.Load(); used != 0 {
			t.Errorf("%d bytes are under way after the deadline", used)
		}
		for {
			if _, err := f.s.Recv(); err != nil {
				wantStatus(t, err, codes.Unavailable)
				break
			}
		}
		w.stop()
	})
}

func TestAnswersUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		w.producer(w.dial("")).put(orders0, "x")
		w.srv.underWay.add(w.srv.limits.AnswerBytes)
		f := w.fetcher(w.dial(""))
		f.send(want(0, 0, orders0))
		answered := make(chan *wire.FetchResponse, 1)
		go func() {
			r, _ := f.s.Recv()
			answered <- r
		}()
		synctest.Wait()
		select {
		case r := <-answered:
			t.Errorf("answered although there is no room: %+v", r)
		default:
		}
		w.srv.underWay.add(-w.srv.limits.AnswerBytes)
		if r := <-answered; len(r.Topics) != 1 {
			t.Errorf("answer %+v", r)
		}
		w.stop()
	})
}

// Consumers whose reads of a slow disk begin at the same time, when there is room for three of them, hold no more than that; each gets its records.
func TestAnswersThatAreBegunTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, consumers = 1 << 20, 12
		slow := &vfs.Toggle{Inner: vfs.OnOps(vfs.Latency(time.Second), vfs.OpRead)}
		w := newWorldOn(t, vfs.Inject(vfs.NewMem(), slow), "/logs", func(d *Deps) { d.Limits.AnswerBytes = 3*size - 1 })
		w.topic("orders", 1)
		w.producer(w.dial("")).put(orders0, strings.Repeat("x", size-100))
		slow.Set(true)
		answered := make(chan int, consumers)
		for range consumers {
			f := w.fetcher(w.dial(""))
			f.send(want(time.Hour, 0, orders0))
			go func() {
				r, err := f.s.Recv()
				if err != nil {
					t.Error(err)
				}
				n := 0
				for _, topic := range r.Topics {
					n += len(topic.Partitions[0].Records)
				}
				answered <- n
			}()
		}
		most := int64(0)
		for got := 0; got < consumers; {
			synctest.Wait()
			most = max(most, w.srv.underWay.used.Load())
			select {
			case n := <-answered:
				if got++; n < size-100 {
					t.Errorf("a consumer got %d bytes", n)
				}
			case <-time.After(100 * time.Millisecond):
			}
		}
		// A buffer may be larger than what is read into it.
		if most < 2*size || most > 3*(size+64<<10) {
			t.Errorf("%d bytes were held at once", most)
		}
		w.stop()
	})
}

// Consumers that do not read what they asked for hold up each other, and no follower: acks=all would wait with it.
func TestFollowersNeedNotWaitForReadersThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(orders0, self, self, 2)
		w.srv.underWay.add(w.srv.limits.AnswerBytes)
		p, f := w.producer(w.dial("")), w.fetcher(w.dial(""))
		f.send(asReplica(2, want(500*time.Millisecond, 0, orders0)))
		p.send(request(-1, orders0, batch(t, "x")))
		if got := values(t, f.only(f.answer())); !slices.Equal(got, []string{"x"}) {
			t.Errorf("the follower gets %q", got)
		}
		f.send(asReplica(2, want(500*time.Millisecond, 0)))
		if r := p.result(); r.ErrorCode != 0 {
			t.Errorf("the producer gets %v", r)
		}
		w.srv.underWay.add(-w.srv.limits.AnswerBytes)
		w.stop()
	})
}

func TestFetchBuffersComeBack(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	for range 20 {
		p.put(orders0, strings.Repeat("x", 100_000))
	}
	for range 10 {
		ctx, cancel := context.WithCancel(context.Background())
		s, err := wire.OpenFetch(ctx, w.dial(""))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			r := want(0, 0, orders0)
			r.Topics[0].Partitions[0].FetchOffset = int64(i)
			if err := s.Send(r); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
	}
	w.stop()
	if used := w.srv.underWay.used.Load(); used != 0 {
		t.Errorf("%d bytes were never given back", used)
	}
}

func TestFetchEndsWithTheBroker(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	f := w.fetcher(w.dial(""))
	f.send(want(time.Hour, 0, orders0))
	w.await(orders0, "the session watches", func() bool {
		w.producer(w.dial("")).put(orders0, "x")
		return true
	})
	f.answer()
	f.send(want(time.Hour, 0))
	w.srv.Close()
	_, err := f.s.Recv()
	wantStatus(t, err, codes.Unavailable)
	if n := w.watched(orders0); n != 0 {
		t.Errorf("%d signals are still registered", n)
	}
}

func TestFetchCostsNoMemoryPerRecord(t *testing.T) {
	w := newWorld(t)
	cost := func(topic string, records int) float64 {
		w.topic(topic, 1)
		list := make([]string, records)
		for i := range list {
			list[i] = "a value of some length"
		}
		w.producer(w.dial("")).put(at(topic, 0), list...)
		f := w.fetcher(w.dial(""))
		r := want(0, 0, at(topic, 0))
		return testing.AllocsPerRun(100, func() {
			if got := f.ask(r); len(got.Records) == 0 {
				t.Fatal("no records")
			}
		})
	}
	few, many := cost("few", 10), cost("many", 1000)
	if many > few+25 { // gRPC's frames of 16 KiB cost a little each
		t.Errorf("%v allocations for an answer of 10 records, %v for one of 1000 (client, transport and broker together)", few, many)
	}
}

func BenchmarkFetch(b *testing.B) {
	w := newWorldOn(b, vfs.OS, b.TempDir())
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	list := make([]string, 2000)
	for i := range list {
		list[i] = strings.Repeat("x", 100)
	}
	p.put(orders0, list...)
	f := w.fetcher(w.dial(""))
	r := want(0, 0, orders0)
	b.ReportAllocs()
	const window = 4
	sent := 0
	for b.Loop() {
		if sent++; sent > window {
			b.SetBytes(int64(len(f.only(f.answer()).Records)))
		}
		f.send(r)
	}
	for range min(sent, window) {
		f.answer()
	}
}
