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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

func (w *world) subscribe(ctx context.Context, req *ottlapb.SubscribeRequest) grpc.ServerStreamingClient[ottlapb.SubscribeResponse] {
	w.t.Helper()
	s, err := ottlapb.NewRecordServiceClient(w.dial("")).Subscribe(ctx, req)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// all reads a stream to its end and lists partition:offset=value.
func (w *world) all(s grpc.ServerStreamingClient[ottlapb.SubscribeResponse]) (list []string, err error) {
	for {
		res, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return list, err
		}
		for _, r := range res.Records {
			list = append(list, fmt.Sprintf("%d:%d=%s", r.Partition, r.Offset, r.Value.GetUtf8()))
		}
	}
}

func TestSubscribeFromEverywhere(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 2)
	p := w.producer(w.dial(""))
	p.put(at("orders", 0), "a", "b", "c") // timestamps 1000 to 1002
	p.put(at("orders", 0), "d")           // 1000
	p.put(at("orders", 1), "x")
	const utf8 = true
	for _, c := range []struct {
		name string
		req  *ottlapb.SubscribeRequest
		want []string
	}{
		{"earliest", &ottlapb.SubscribeRequest{From: &ottlapb.SubscribeRequest_Earliest{Earliest: true}, MaxRecords: 5}, []string{"0:0=a", "0:1=b", "0:2=c", "0:3=d", "1:0=x"}},
		{"one partition", &ottlapb.SubscribeRequest{Partitions: []int32{1}, From: &ottlapb.SubscribeRequest_Earliest{Earliest: true}, MaxRecords: 1}, []string{"1:0=x"}},
		{"an offset in the middle of a batch", &ottlapb.SubscribeRequest{Partitions: []int32{0}, From: &ottlapb.SubscribeRequest_Offset{Offset: 1}, MaxRecords: 2}, []string{"0:1=b", "0:2=c"}},
		{"a time", &ottlapb.SubscribeRequest{Partitions: []int32{0}, From: &ottlapb.SubscribeRequest_TimestampMs{TimestampMs: 1002}, MaxRecords: 2}, []string{"0:2=c", "0:3=d"}},
	} {
		c.req.Topic, c.req.Utf8 = "orders", utf8
		got, err := w.all(w.subscribe(context.Background(), c.req))
		slices.Sort(got)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestSubscribeFollowsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		p := w.producer(w.dial(""))
		p.put(orders0, "old")
		ctx, cancel := context.WithCancel(context.Background())
		for _, req := range []*ottlapb.SubscribeRequest{{Topic: "orders", Utf8: true}, {Topic: "orders", Utf8: true, From: &ottlapb.SubscribeRequest_TimestampMs{TimestampMs: 1 << 60}}} {
			s := w.subscribe(ctx, req)
			synctest.Wait()
			for i := range 3 {
				offset := p.put(orders0, fmt.Sprint("new ", i))
				res, err := s.Recv()
				if err != nil || len(res.Records) != 1 || res.Records[0].Offset != offset || res.Records[0].Value.GetUtf8() != fmt.Sprint("new ", i) {
					t.Fatalf("record %d: %v, %v", i, res, err)
				}
			}
		}
		cancel()
		synctest.Wait()
		if n := w.watched(orders0); n != 0 {
			t.Errorf("%d signals are still registered", n)
		}
		w.stop()
	})
}

func TestSubscribeShowsEveryField(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	b := record.NewBuilder(nil, 10_000)
	b.Append(77, []byte("key"), []byte("\xff\xfe"), []record.Header{{Key: "h", Value: []byte("v")}, {Key: "n"}})
	b.Append(78, nil, nil, nil)
	out, err := b.Finish(record.Zstd, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	p := w.producer(w.dial(""))
	p.send(request(1, orders0, out))
	p.result()
	s := w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders", Utf8: true, MaxRecords: 2, From: &ottlapb.SubscribeRequest_Earliest{Earliest: true}})
	res, err := s.Recv()
	if err != nil || len(res.Records) != 2 {
		t.Fatalf("%v, %v", res, err)
	}
	r := res.Records[0]
	if r.Key.GetUtf8() != "key" || string(r.Value.GetBytes()) != "\xff\xfe" || r.TimestampMs != 77 || len(r.Headers) != 2 || r.Headers[0].Value.GetUtf8() != "v" || r.Headers[1].Value != nil {
		t.Errorf("record 0: %v", r)
	}
	if r := res.Records[1]; r.Key != nil || r.Value != nil {
		t.Errorf("record 1: %v", r)
	}
}

func TestMessagesToSubscribersStaySmall(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	b := record.NewBuilder(nil, 20<<20)
	for range 10 {
		b.Append(1, nil, []byte(strings.Repeat("x", 900_000)), nil)
	}
	for range 2000 {
		b.Append(1, nil, nil, nil)
	}
	out, err := b.Finish(record.Zstd, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	p := w.producer(w.dial(""))
	p.send(request(1, orders0, out))
	if r := p.result(); r.ErrorCode != 0 {
		t.Fatal(r)
	}
	s := w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders", MaxRecords: 2010, From: &ottlapb.SubscribeRequest_Earliest{Earliest: true}})
	next := int64(0)
	for {
		res, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(res); size > 1<<20+100_000 || len(res.Records) > 500 {
			t.Errorf("a message of %d bytes with %d records", size, len(res.Records))
		}
		for _, r := range res.Records {
			if r.Offset != next {
				t.Fatalf("offset %d after %d", r.Offset, next-1)
			}
			next++
		}
	}
	if next != 2010 {
		t.Errorf("%d records came", next)
	}
}

func TestSubscribeErrors(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	w.place(at("elsewhere", 0), 2, 2)
	w.place(at("followed", 0), 2, 2, self)
	for _, c := range []struct {
		name string
		req  *ottlapb.SubscribeRequest
		want codes.Code
		code string
	}{
		{"an unknown topic", &ottlapb.SubscribeRequest{Topic: "nowhere"}, codes.NotFound, "UNKNOWN_TOPIC_OR_PARTITION"},
		{"an impossible topic", &ottlapb.SubscribeRequest{Topic: "a b"}, codes.InvalidArgument, "INVALID_TOPIC_EXCEPTION"},
		{"an unknown partition", &ottlapb.SubscribeRequest{Topic: "orders", Partitions: []int32{5}}, codes.NotFound, "UNKNOWN_TOPIC_OR_PARTITION"},
		{"another broker's topic", &ottlapb.SubscribeRequest{Topic: "elsewhere"}, codes.FailedPrecondition, "NOT_LEADER_OR_FOLLOWER"},
		{"another broker's partition", &ottlapb.SubscribeRequest{Topic: "elsewhere", Partitions: []int32{0}}, codes.FailedPrecondition, "NOT_LEADER_OR_FOLLOWER"},
		{"a partition that is followed", &ottlapb.SubscribeRequest{Topic: "followed", Partitions: []int32{0}, From: &ottlapb.SubscribeRequest_Offset{}}, codes.FailedPrecondition, "NOT_LEADER_OR_FOLLOWER"},
		{"an offset beyond the end", &ottlapb.SubscribeRequest{Topic: "orders", From: &ottlapb.SubscribeRequest_Offset{Offset: 5}}, codes.OutOfRange, "OFFSET_OUT_OF_RANGE"},
		{"a negative offset", &ottlapb.SubscribeRequest{Topic: "orders", From: &ottlapb.SubscribeRequest_Offset{Offset: -1}}, codes.OutOfRange, "OFFSET_OUT_OF_RANGE"},
		{"a partition twice", &ottlapb.SubscribeRequest{Topic: "orders", Partitions: []int32{0, 0}}, codes.InvalidArgument, "INVALID_REQUEST"},
		{"less than no records", &ottlapb.SubscribeRequest{Topic: "orders", MaxRecords: -1}, codes.InvalidArgument, "INVALID_REQUEST"},
	} {
		_, err := w.all(w.subscribe(context.Background(), c.req))
		wantStatus(t, err, c.want)
		if err != nil && !strings.Contains(err.Error(), c.code) {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

func TestSubscribeEndsWhenTheLeaderStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		s := w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders"})
		synctest.Wait()
		w.place(orders0, 2, self, 2)
		_, err := s.Recv()
		wantStatus(t, err, codes.FailedPrecondition)
		s = w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders"})
		_, err = s.Recv()
		wantStatus(t, err, codes.FailedPrecondition)
		w.place(orders0, self, self, 2)
		s = w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders"})
		synctest.Wait()
		go w.srv.Close()
		_, err = s.Recv()
		wantStatus(t, err, codes.Unavailable)
		w.stop()
	})
}

func TestASubscriberThatDoesNotReadIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		p := w.producer(w.dial(""))
		for range 30 {
			p.put(orders0, strings.Repeat("x", 1<<20-100))
		}
		s := w.subscribe(context.Background(), &ottlapb.SubscribeRequest{Topic: "orders", From: &ottlapb.SubscribeRequest_Earliest{Earliest: true}})
		synctest.Wait()
		<-time.After(31 * time.Second)
		got, err := w.all(s)
		wantStatus(t, err, codes.Unavailable)
		if len(got) >= 30 {
			t.Error("everything was sent to a subscriber that did not read")
		}
		w.stop()
	})
}
