package server

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

var orders0 = at("orders", 0)

func TestProducePipelinesAndAnswersInOrder(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 2)
	p := w.producer(w.dial(""))
	for i := range 50 {
		p.send(request([]int32{1, -1}[i%2], orders0, batch(t, "a", "b")))
	}
	for i := range int64(50) {
		r := p.result()
		if r.ErrorCode != 0 || r.BaseOffset != 2*i || r.LogAppendTimeMs != -1 || r.LogStartOffset != 0 {
			t.Fatalf("answer %d: %v", i, r)
		}
	}
	if err := p.s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestARequestForSeveralPartitions(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 2)
	w.topic("users", 1)
	p := w.producer(w.dial(""))
	p.send(&wire.ProduceRequest{Acks: -1, TimeoutMs: 1000, Topics: []wire.ProduceTopic{
		{Name: "users", Partitions: []wire.ProducePartition{{Index: 0, Records: batch(t, "u")}}},
		{Name: "orders", Partitions: []wire.ProducePartition{{Index: 1, Records: batch(t, "x", "y")}, {Index: 7, Records: batch(t, "z")}, {Index: 0, Records: batch(t, "z")}}},
	}})
	r := p.answer()
	var got []string
	for _, topic := range r.Topics {
		for _, part := range topic.Partitions {
			got = append(got, at(topic.Name, part.Index).String()+" "+kerr.Code(part.ErrorCode).Name())
		}
	}
	want := []string{"users-0 NONE", "orders-1 NONE", "orders-7 UNKNOWN_TOPIC_OR_PARTITION", "orders-0 NONE"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if w.end(at("orders", 1)) != 2 || w.end(orders0) != 1 {
		t.Errorf("ends %d and %d", w.end(at("orders", 1)), w.end(orders0))
	}
}

// change returns a copy of a batch with some bytes overwritten; the CRC is made right again if fix is set.
func change(b record.Batch, at int, fix bool, bytes ...byte) []byte {
	c := slices.Clone(b)
	copy(c[at:], bytes)
	if fix {
		binary.BigEndian.PutUint32(c[17:], crc32.Checksum(c[21:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return c
}

func TestProduceRefuses(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	w.topic("compacted", 1)
	w.topic(cluster.GroupMetadataTopic, 1)
	w.place(at("elsewhere", 0), 2, 2, 3)
	w.place(at("followed", 0), 2, 2, self)
	p := w.producer(w.dial("tester"))
	good := batch(t, "a", "b")
	all := func(b byte, n int) []byte { return slices.Repeat([]byte{b}, n) }
	for _, c := range []struct {
		name    string
		topic   string
		index   int32
		acks    int32
		records []byte
		want    kerr.Code
		hint    int32 // leader; 0 for none
	}{
		{"the empty name", "", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a dot", ".", 0, 1, good, kerr.InvalidTopicException, 0},
		{"two dots", "..", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a path", "../../etc/passwd", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a slash", "a/b", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a backslash", `a\b`, 0, 1, good, kerr.InvalidTopicException, 0},
		{"a zero byte", "a\x00b", 0, 1, good, kerr.InvalidTopicException, 0},
		{"250 characters", strings.Repeat("x", 250), 0, 1, good, kerr.InvalidTopicException, 0},
		{"249 characters", strings.Repeat("x", 249), 0, 1, good, kerr.UnknownTopicOrPartition, 0},
		{"a letter with an accent", "é", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a space", "a b", 0, 1, good, kerr.InvalidTopicException, 0},
		{"an emoji", "🦦", 0, 1, good, kerr.InvalidTopicException, 0},
		{"a right-to-left mark", "a\u200fb", 0, 1, good, kerr.InvalidTopicException, 0},
		{"the coordinators' topic", cluster.GroupMetadataTopic, 0, 1, good, kerr.InvalidTopicException, 0},
		{"partition -1", "orders", -1, 1, good, kerr.UnknownTopicOrPartition, 0},
		{"partition 2147483647", "orders", 1<<31 - 1, 1, good, kerr.UnknownTopicOrPartition, 0},
		{"a partition that does not exist", "orders", 1, 1, good, kerr.UnknownTopicOrPartition, 0},
		{"another broker's partition", "elsewhere", 0, 1, good, kerr.NotLeaderOrFollower, 2},
		{"a partition that this broker follows", "followed", 0, 1, good, kerr.NotLeaderOrFollower, 2},
		{"acks=2", "orders", 0, 2, good, kerr.InvalidRequiredAcks, 0},
		{"acks=-7", "orders", 0, -7, good, kerr.InvalidRequiredAcks, 0},
		{"acks=256", "orders", 0, 256, good, kerr.InvalidRequiredAcks, 0},
		{"no bytes", "orders", 0, 1, nil, kerr.CorruptMessage, 0},
		{"a piece of a header", "orders", 0, 1, good[:60], kerr.CorruptMessage, 0},
		{"a batch without its end", "orders", 0, 1, good[:len(good)-1], kerr.CorruptMessage, 0},
		{"a negative length", "orders", 0, 1, change(good, 8, false, 0xff, 0xff, 0xff, 0xff), kerr.CorruptMessage, 0},
		{"the largest length", "orders", 0, 1, change(good, 8, false, 0x7f, 0xff, 0xff, 0xff), kerr.CorruptMessage, 0},
		{"a wrong checksum", "orders", 0, 1, change(good, len(good)-1, false, 'x'), kerr.CorruptMessage, 0},
		{"magic 3", "orders", 0, 1, change(good, 16, false, 3), kerr.CorruptMessage, 0},
		{"magic 1", "orders", 0, 1, change(good, 16, false, 1), kerr.UnsupportedForMessageFormat, 0},
		{"two batches", "orders", 0, 1, slices.Concat(good, good), kerr.InvalidRecord, 0},
		{"a last offset delta that is too large", "orders", 0, 1, change(good, 23, true, 0, 0, 0, 9), kerr.InvalidRecord, 0},
		{"a negative last offset delta", "orders", 0, 1, change(good, 23, true, 0xff, 0xff, 0xff, 0xff), kerr.InvalidRecord, 0},
		{"no records", "orders", 0, 1, change(good, 57, true, 0, 0, 0, 0), kerr.InvalidRecord, 0},
		{"2147483647 records in a few bytes", "orders", 0, 1, change(good, 57, true, 0x7f, 0xff, 0xff, 0xff), kerr.InvalidRecord, 0},
		{"a record of negative length", "orders", 0, 1, change(good, 61, true, 1), kerr.InvalidRecord, 0},
		{"a varint without end", "orders", 0, 1, change(good, 61, true, all(0xff, 12)...), kerr.InvalidRecord, 0},
		{"a control batch", "orders", 0, 1, change(good, 21, true, 0, 0x20), kerr.InvalidRecord, 0},
		{"a transactional batch without transaction", "orders", 0, 1, change(good, 21, true, 0, 0x10), kerr.InvalidRecord, 0},
		{"a producer id without sequence", "orders", 0, 1, change(good, 43, true, 0, 0, 0, 0, 0, 0, 0, 5), kerr.InvalidRecord, 0},
		{"codec 6", "orders", 0, 1, change(good, 21, true, 0, 6), kerr.UnsupportedCompressionType, 0},
		{"gzip that is not gzip", "orders", 0, 1, change(good, 21, true, 0, 1), kerr.CorruptMessage, 0},
		{"the broker's kind of timestamp", "orders", 0, 1, change(good, 21, true, 0, 8), kerr.InvalidTimestamp, 0},
		{"null keys in a compacted topic", "compacted", 0, 1, good, kerr.InvalidRecord, 0},
		{"a batch that is too large", "orders", 0, 1, batch(t, strings.Repeat("x", 1048588-60)), kerr.MessageTooLarge, 0},
	} {
		tp := at(c.topic, c.index)
		var before cluster.Offset
		held, code := w.replicas.Partition(tp)
		if code == kerr.None {
			before = held.LogEndOffset()
		}
		p.send(request(c.acks, tp, c.records))
		r := p.result()
		if kerr.Code(r.ErrorCode) != c.want && !(c.want == kerr.CorruptMessage && kerr.Code(r.ErrorCode) == kerr.InvalidRecord && strings.Contains(c.name, "gzip")) {
			t.Errorf("%s: %v (%s), want %v", c.name, kerr.Code(r.ErrorCode), r.ErrorMessage, c.want)
		}
		if r.BaseOffset != -1 || r.LogAppendTimeMs != -1 {
			t.Errorf("%s: refused with offset %d and time %d", c.name, r.BaseOffset, r.LogAppendTimeMs)
		}
		if r.CurrentLeader.GetLeaderId() != c.hint {
			t.Errorf("%s: hint %v, want leader %d", c.name, r.CurrentLeader, c.hint)
		}
		if held != nil {
			if after := held.LogEndOffset(); after != before {
				t.Errorf("%s: the log grew from %d to %d", c.name, before, after)
			}
		}
		// The same stream still serves good requests.
		p.put(orders0, "good")
	}
}

func TestTheReasonIsNamedPerRecord(t *testing.T) {
	w := newWorld(t)
	w.topic("compacted", 1)
	p := w.producer(w.dial(""))
	p.send(request(1, at("compacted", 0), batch(t, "a", "b")))
	r := p.result()
	if len(r.RecordErrors) != 2 || r.RecordErrors[1].BatchIndex != 1 || r.RecordErrors[1].Message == "" {
		t.Errorf("record errors %v", r.RecordErrors)
	}
	// Answers are built in memory that is used again: nothing of the old one may show.
	w.topic("orders", 1)
	p.send(request(1, orders0, batch(t, "a")))
	if r := p.result(); len(r.RecordErrors) != 0 || r.ErrorMessage != "" || r.CurrentLeader != nil || r.ErrorCode != 0 {
		t.Errorf("the next answer is %v", r)
	}
}

func TestAPartitionThatComesTwiceFailsTheWholeRequest(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 50)
	p := w.producer(w.dial(""))
	part := func(i int32) wire.ProducePartition { return wire.ProducePartition{Index: i, Records: batch(t, "x")} }
	many := func(extra int32) (list []wire.ProducePartition) {
		for i := range int32(40) {
			list = append(list, part(i))
		}
		return append(list, part(extra))
	}
	for _, c := range []struct {
		name   string
		topics []wire.ProduceTopic
		want   kerr.Code
	}{
		{"in one topic", []wire.ProduceTopic{{Name: "orders", Partitions: []wire.ProducePartition{part(0), part(1), part(0)}}}, kerr.InvalidRequest},
		{"in two entries of a topic", []wire.ProduceTopic{{Name: "orders", Partitions: []wire.ProducePartition{part(0)}}, {Name: "orders", Partitions: []wire.ProducePartition{part(0)}}}, kerr.InvalidRequest},
		{"among many", []wire.ProduceTopic{{Name: "orders", Partitions: many(7)}}, kerr.InvalidRequest},
		{"not at all", []wire.ProduceTopic{{Name: "orders", Partitions: []wire.ProducePartition{part(0)}}, {Name: "orders", Partitions: []wire.ProducePartition{part(1)}}}, kerr.None},
		{"not at all among many", []wire.ProduceTopic{{Name: "orders", Partitions: many(41)}}, kerr.None},
	} {
		before := w.end(orders0)
		p.send(&wire.ProduceRequest{Acks: 1, Topics: c.topics})
		for _, topic := range p.answer().Topics {
			for _, r := range topic.Partitions {
				if kerr.Code(r.ErrorCode) != c.want {
					t.Errorf("%s: partition %d answered with %v, want %v", c.name, r.Index, kerr.Code(r.ErrorCode), c.want)
				}
			}
		}
		if grown := w.end(orders0) > before; grown != (c.want == kerr.None) {
			t.Errorf("%s: appended %v", c.name, grown)
		}
	}
}

func TestWithoutAcknowledgement(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	p.send(request(0, orders0, batch(t, "a")))
	p.send(request(0, orders0, batch(t, "b")))
	if offset := p.put(orders0, "c"); offset != 2 {
		t.Errorf("after two requests without answer the offset is %d", offset)
	}
	p.send(request(0, at("nowhere", 0), batch(t, "d")))
	_, err := p.s.Recv()
	wantStatus(t, err, codes.FailedPrecondition)
	if err != nil && !strings.Contains(err.Error(), "UNKNOWN_TOPIC_OR_PARTITION") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func TestTransactionsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	b := record.NewBuilder(nil, 1000)
	b.Append(1, nil, []byte("x"), nil)
	out, err := b.Finish(record.None, record.DefaultLevel, 5, 0, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	r := request(-1, orders0, out)
	r.TransactionalID = "mine"
	p.send(r)
	if got := kerr.Code(p.result().ErrorCode); got != kerr.InvalidTxnState {
		t.Errorf("got %v", got)
	}
}

func TestTheAdminClientMayWriteToTheCoordinatorsTopics(t *testing.T) {
	w := newWorld(t)
	w.topic(cluster.GroupMetadataTopic, 1)
	w.producer(w.dial("__admin_client")).put(at(cluster.GroupMetadataTopic, 0), "x")
}

func TestAcksAllWaitsForFollowersAndKeepsTheOrder(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	w.topic("alone", 1)
	p := w.producer(w.dial(""))
	p.put(at("alone", 0), "1", "2", "3", "4", "5")
	p.send(request(-1, orders0, batch(t, "first")))
	p.send(request(1, at("alone", 0), batch(t, "second"))) // needs no waiting, but comes after
	p.send(request(-1, orders0, batch(t, "third")))
	w.await(orders0, "both are in the log", func() bool { return w.end(orders0) == 2 })

	f := w.fetcher(w.dial(""))
	if got := values(t, f.ask(asReplica(2, want(0, 0, orders0)))); !slices.Equal(got, []string{"first", "third"}) {
		t.Errorf("the follower gets %q", got)
	}
	if hw := w.held(orders0).HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d before the follower said that it has anything", hw)
	}
	f.send(asReplica(2, want(0, 2))) // its next request says so
	f.answer()
	for i, base := range []int64{0, 5, 1} {
		if r := p.result(); r.ErrorCode != 0 || r.BaseOffset != base {
			t.Errorf("answer %d: %v", i, r)
		}
	}
}

func TestAcksAllTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(orders0, self, self, 2)
		w.place(at("orders", 1), self, self, 2)
		p := w.producer(w.dial(""))
		begin := time.Now()
		r := request(-1, orders0, batch(t, "x"))
		r.TimeoutMs = 1500
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, wire.ProducePartition{Index: 1, Records: batch(t, "y")})
		p.send(r)
		for _, result := range p.answer().Topics[0].Partitions {
			if kerr.Code(result.ErrorCode) != kerr.RequestTimedOut {
				t.Errorf("partition %d: %v", result.Index, kerr.Code(result.ErrorCode))
			}
		}
		if took := time.Since(begin); took != 1500*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
		if w.end(orders0) != 1 {
			t.Error("the record is not in the log any more")
		}
		for _, ms := range []int32{-1, -1 << 31} {
			r := request(-1, orders0, batch(t, "x"))
			r.TimeoutMs = ms
			p.send(r)
			if got := kerr.Code(p.result().ErrorCode); got != kerr.RequestTimedOut {
				t.Errorf("timeout of %d ms: %v", ms, got)
			}
		}
		w.stop()
	})
}

func TestALeaderThatStepsDownAnswersWithTheNewOne(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	p := w.producer(w.dial(""))
	p.send(request(-1, orders0, batch(t, "x")))
	w.await(orders0, "it is in the log", func() bool { return w.end(orders0) == 1 })
	w.place(orders0, 2, self, 2)
	r := p.result()
	if kerr.Code(r.ErrorCode) != kerr.NotLeaderOrFollower || r.CurrentLeader.GetLeaderId() != 2 || r.CurrentLeader.GetLeaderEpoch() != 1 {
		t.Errorf("answer %v", r)
	}
}

func TestTooFewInSyncReplicas(t *testing.T) {
	w := newWorld(t)
	w.minISR = 2
	w.topic("alone", 1)
	p := w.producer(w.dial(""))
	p.put(at("alone", 0), "a partition with one replica cannot have more in sync")
	w.place(orders0, self, self, 2)
	w.replicas.ApplyLeaderAndISR(replica.LeaderAndISR{Sender: replica.Sender{ControllerID: 3, ControllerEpoch: 1, BrokerEpoch: -1}, Partitions: []replica.PartitionState{
		{TopicPartition: orders0, Leader: self, LeaderEpoch: 1, Replicas: []cluster.BrokerID{self, 2}, ISR: []cluster.BrokerID{self}},
	}})
	p.send(request(-1, orders0, batch(t, "x")))
	if r := p.result(); kerr.Code(r.ErrorCode) != kerr.NotEnoughReplicas || w.end(orders0) != 0 {
		t.Errorf("answer %v, log end %d", r, w.end(orders0))
	}
	p.put(orders0, "with acks=1")
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(d *Deps) { d.Limits.InFlight = 8 })
		w.place(orders0, self, self, 2)
		p := w.producer(w.dial(""))
		for range 20 {
			p.send(request(-1, orders0, batch(t, "x")))
		}
		synctest.Wait()
		if got := w.end(orders0); got != 8 {
			t.Errorf("%d requests were taken, want 8", got)
		}
		f := w.fetcher(w.dial(""))
		f.ask(asReplica(2, want(0, 8, orders0)))
		synctest.Wait()
		if got := w.end(orders0); got != 16 {
			t.Errorf("%d requests were taken after the first 8 were acknowledged, want 16", got)
		}
		w.stop()
	})
}

func TestReceivedBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		w.srv.received.add(w.srv.limits.ReceivedBytes)
		p := w.producer(w.dial(""))
		p.send(request(1, orders0, batch(t, "x")))
		synctest.Wait()
		if got := w.end(orders0); got != 0 {
			t.Errorf("%d records were taken although there was no room", got)
		}
		w.srv.received.add(-w.srv.limits.ReceivedBytes)
		if r := p.result(); r.ErrorCode != 0 {
			t.Errorf("answer %v", r)
		}
		w.stop()
	})
}

func TestAShutdownAnswersWhatWasTakenAndTakesNothingMore(t *testing.T) {
	w := newWorld(t)
	w.place(orders0, self, self, 2)
	p := w.producer(w.dial(""))
	p.send(request(-1, orders0, batch(t, "waits")))
	w.await(orders0, "it is in the log", func() bool { return w.end(orders0) == 1 })
	w.srv.Close()
	if r := p.result(); kerr.Code(r.ErrorCode) != kerr.NotLeaderOrFollower {
		t.Errorf("the request that waited: %v", r)
	}
	_ = p.s.Send(request(1, orders0, batch(t, "late")))
	_, err := p.s.Recv()
	wantStatus(t, err, codes.Unavailable)
	if w.end(orders0) != 1 {
		t.Error("a request was taken after the shutdown")
	}
	_, err = w.producer(w.dial("")).s.Recv()
	wantStatus(t, err, codes.Unavailable)
}

// unread is a stream that takes answers and has no requests.
type unread struct {
	grpc.ServerStream
	answers int
}

func (u *unread) SendMsg(any) error { u.answers++; return nil }

func (u *unread) Context() context.Context { return context.Background() }

// received returns a request as it comes from the network.
func received(t *testing.T, r *wire.ProduceRequest) *wire.ProduceRequest {
	t.Helper()
	codec := wire.NewCodec()
	data, err := codec.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got := new(wire.ProduceRequest)
	if err := codec.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBatchesAreLetGoOfAndNothingIsBegunAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	stream := &unread{}
	p := w.srv.newProduceStream(stream, 8)
	for i, acks := range []int32{-1, 1, 0, 2} {
		r := received(t, request(acks, orders0, batch(t, "x")))
		p.slots <- struct{}{}
		if goOn, err := p.take(r); !goOn || err != nil {
			t.Fatalf("request %d: %v, %v", i, goOn, err)
		}
		if r.Size() != 0 {
			t.Errorf("request %d keeps %d bytes", i, r.Size())
		}
	}
	if stream.answers != 3 || w.end(orders0) != 3 {
		t.Errorf("%d answers, %d records", stream.answers, w.end(orders0))
	}
	p.end()
	r := received(t, request(1, orders0, batch(t, "late")))
	p.slots <- struct{}{}
	if goOn, _ := p.take(r); goOn || r.Size() != 0 {
		t.Errorf("a late request: goes on %v, keeps %d bytes", goOn, r.Size())
	}
	if stream.answers != 3 || w.end(orders0) != 3 {
		t.Errorf("after a late request %d answers, %d records", stream.answers, w.end(orders0))
	}
}

func TestClientsThatLeaveAtOnceDoNoHarm(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	cc := w.dial("")
	for range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		s, err := wire.OpenProduce(ctx, cc)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Send(request(1, orders0, batch(t, "one", "two")))
		runtime.Gosched()
		cancel()
	}
	offset := w.producer(cc).put(orders0, "last", "of all")
	if offset%2 != 0 {
		t.Errorf("offset %d: half a batch is in the log", offset)
	}
	f := w.fetcher(cc)
	got := values(t, f.ask(want(0, 0, orders0)))
	for i := 0; i < len(got); i += 2 { // requests of cancelled streams may still come after the last one
		if pair := got[i] + " " + got[i+1]; pair != "one two" && pair != "last of all" {
			t.Fatalf("at offset %d there is %q", i, pair)
		}
	}
}

func TestProduceCostsNoMemoryPerRecord(t *testing.T) {
	w := newWorldOn(t, vfs.OS, t.TempDir()) // a memory disk has to allocate what is written
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	cost := func(records int) float64 {
		list := make([]string, records)
		for i := range list {
			list[i] = "a value of some length"
		}
		b := batch(t, list...)
		return testing.AllocsPerRun(100, func() {
			p.send(request(-1, orders0, b))
			if r := p.result(); r.ErrorCode != 0 {
				t.Fatal(r)
			}
		})
	}
	few, many := cost(10), cost(1000)
	if many > few+25 { // gRPC's frames of 16 KiB cost a little each
		t.Errorf("%v allocations for a request of 10 records, %v for one of 1000 (client, transport and broker together)", few, many)
	}
}

func BenchmarkProduce(b *testing.B) {
	w := newWorldOn(b, vfs.OS, b.TempDir())
	w.topic("orders", 1)
	p := w.producer(w.dial(""))
	list := make([]string, 1000)
	for i := range list {
		list[i] = strings.Repeat("x", 100)
	}
	one := batch(b, list...)
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	const window = 16
	sent := 0
	for b.Loop() {
		if sent++; sent > window {
			p.answer()
		}
		p.send(request(-1, orders0, one))
	}
	for range min(sent, window) {
		p.answer()
	}
}
