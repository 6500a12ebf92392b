package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/partition"
	"github.com/ottla/ottla/proto/record"
)

func text(s string) *ottlapb.Datum { return &ottlapb.Datum{Kind: &ottlapb.Datum_Utf8{Utf8: s}} }

func raw(b ...byte) *ottlapb.Datum { return &ottlapb.Datum{Kind: &ottlapb.Datum_Bytes{Bytes: b}} }

func (w *world) publish(req *ottlapb.PublishRequest) ([]*ottlapb.PublishResult, error) {
	w.t.Helper()
	res, err := ottlapb.NewRecordServiceClient(w.dial("")).Publish(context.Background(), req)
	return res.GetResults(), err
}

// records reads everything below the high watermark of a partition.
func (w *world) records(topic string, index int32) (list []record.Record) {
	w.t.Helper()
	got := w.fetcher(w.dial("")).ask(want(0, 0, at(topic, index)))
	for rest := got.Records; len(rest) > 0; {
		b, more, err := record.Split(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		for r, err := range b.Records(nil) {
			if err != nil {
				w.t.Fatal(err)
			}
			list = append(list, r)
		}
		rest = more
	}
	return list
}

func TestPublishKeepsEveryField(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	got, err := w.publish(&ottlapb.PublishRequest{Topic: "orders", Records: []*ottlapb.PublishRecord{
		{Key: text("k"), Value: raw(0xff, 0), TimestampMs: proto.Int64(1234), Headers: []*ottlapb.RecordHeader{{Key: "h", Value: text("v")}, {Key: "null"}}},
		{Key: &ottlapb.Datum{}, Value: raw()},
		{Value: text("")},
		{Key: raw()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.ErrorCode != 0 || r.Offset != int64(i) || r.Partition != 0 || r.Error != "" {
			t.Errorf("result %d: %v", i, r)
		}
	}
	list := w.records("orders", 0)
	if len(list) != 4 {
		t.Fatalf("%d records", len(list))
	}
	r := list[0]
	if string(r.Key) != "k" || string(r.Value) != "\xff\x00" || r.Timestamp != 1234 || len(r.Headers) != 2 || r.Headers[0].Key != "h" || string(r.Headers[0].Value) != "v" || r.Headers[1].Value != nil {
		t.Errorf("record 0: %+v", r)
	}
	if list[1].Key != nil || list[1].Value == nil || list[2].Key != nil || list[2].Value == nil || list[3].Key == nil || list[3].Value != nil {
		t.Errorf("null and empty are mixed up: %+v", list[1:])
	}
	if list[1].Timestamp < 1_700_000_000_000 {
		t.Errorf("a record without timestamp has %d", list[1].Timestamp)
	}
}

func TestPublishPlacesRecordsAsProducersDo(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 6)
	var req ottlapb.PublishRequest
	req.Topic = "orders"
	for i := range 200 {
		req.Records = append(req.Records, &ottlapb.PublishRecord{Key: text(fmt.Sprint("key-", i%20)), Value: text(fmt.Sprint(i))})
	}
	req.Records = append(req.Records, &ottlapb.PublishRecord{Value: text("free")}, &ottlapb.PublishRecord{Value: text("too")}, &ottlapb.PublishRecord{Key: text("ignored"), Partition: proto.Int32(4)})
	got, err := w.publish(&req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if expect := partition.ForKey([]byte(fmt.Sprint("key-", i%20)), 6); got[i].Partition != expect {
			t.Errorf("record %d went to partition %d, want %d", i, got[i].Partition, expect)
		}
	}
	if got[200].Partition != got[201].Partition || got[202].Partition != 4 {
		t.Errorf("records without key went to %d and %d, the placed one to %d", got[200].Partition, got[201].Partition, got[202].Partition)
	}
	for i := range int32(6) {
		last := -1
		for _, r := range w.records("orders", i) {
			var n int
			if _, err := fmt.Sscan(string(r.Value), &n); err == nil {
				if n <= last {
					t.Errorf("partition %d has %d after %d", i, n, last)
				}
				last = n
				if got[n].Offset != r.Offset {
					t.Errorf("record %d is at offset %d, answered %d", n, r.Offset, got[n].Offset)
				}
			}
		}
	}
}

func TestPublishErrors(t *testing.T) {
	created := ""
	w := newWorld(t, func(d *Deps) {
		d.AutoCreate = func(_ context.Context, topic string) error { created = topic; return nil }
	})
	w.topic("orders", 1)
	w.topic("compacted", 1)
	w.place(at("split", 0), self, self)
	w.place(at("split", 1), 2, 2)
	one := []*ottlapb.PublishRecord{{Value: text("x")}}
	for _, c := range []struct {
		name string
		req  *ottlapb.PublishRequest
		want []kerr.Code
	}{
		{"an impossible topic", &ottlapb.PublishRequest{Topic: "..", Records: one}, []kerr.Code{kerr.InvalidTopicException}},
		{"a topic that is now being created", &ottlapb.PublishRequest{Topic: "fresh", Records: one}, []kerr.Code{kerr.LeaderNotAvailable}},
		{"the coordinators' topic", &ottlapb.PublishRequest{Topic: "compacted", Records: one}, []kerr.Code{kerr.InvalidRecord}},
		{"a partition that does not exist", &ottlapb.PublishRequest{Topic: "orders", Records: []*ottlapb.PublishRecord{{Partition: proto.Int32(9)}, {Partition: proto.Int32(-1)}, {Partition: proto.Int32(0)}}}, []kerr.Code{kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, kerr.None}},
		{"another broker's partition", &ottlapb.PublishRequest{Topic: "split", Records: []*ottlapb.PublishRecord{{Partition: proto.Int32(1)}, {Partition: proto.Int32(0)}, {Value: text("anywhere")}}}, []kerr.Code{kerr.NotLeaderOrFollower, kerr.None, kerr.None}},
		{"a record that is too large", &ottlapb.PublishRequest{Topic: "orders", Records: []*ottlapb.PublishRecord{{Value: text(strings.Repeat("x", 1<<20+1))}, {Value: text("behind it")}}}, []kerr.Code{kerr.MessageTooLarge, kerr.MessageTooLarge}},
		{"acks=0", &ottlapb.PublishRequest{Topic: "orders", Records: one, Acks: "0"}, []kerr.Code{kerr.None}},
		{"acks=1", &ottlapb.PublishRequest{Topic: "orders", Records: one, Acks: "1"}, []kerr.Code{kerr.None}},
		{"no records", &ottlapb.PublishRequest{Topic: "orders"}, nil},
	} {
		got, err := w.publish(c.req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var codes []kerr.Code
		for _, r := range got {
			codes = append(codes, kerr.Code(r.ErrorCode))
			if (r.ErrorCode != 0) != strings.HasPrefix(r.Error, kerr.Code(r.ErrorCode).Name()) || (r.ErrorCode != 0) != (r.Offset == -1) {
				t.Errorf("%s: %v", c.name, r)
			}
		}
		if !slices.Equal(codes, c.want) {
			t.Errorf("%s: %v, want %v", c.name, codes, c.want)
		}
	}
	if created != "fresh" {
		t.Errorf("created %q", created)
	}
	_, err := w.publish(&ottlapb.PublishRequest{Topic: "orders", Records: one, Acks: "2"})
	wantStatus(t, err, codes.InvalidArgument)
}

func TestPublishSplitsWhatIsTooMuchForABatch(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.Limits.PublishBytes = 2000 })
	w.topic("orders", 1)
	var req ottlapb.PublishRequest
	req.Topic = "orders"
	for range 20 {
		req.Records = append(req.Records, &ottlapb.PublishRecord{Value: text(strings.Repeat("x", 500))})
	}
	got, err := w.publish(&req)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.Offset != int64(i) || r.ErrorCode != 0 {
			t.Fatalf("result %d: %v", i, r)
		}
	}
	if n := len(w.records("orders", 0)); n != 20 {
		t.Errorf("%d records", n)
	}
}

func TestPublishWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(orders0, self, self, 2)
		w.place(at("orders", 1), self, self, 2)
		got, err := w.publish(&ottlapb.PublishRequest{Topic: "orders", TimeoutMs: 100, Records: []*ottlapb.PublishRecord{{Partition: proto.Int32(0)}, {Partition: proto.Int32(1)}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range got {
			if kerr.Code(r.ErrorCode) != kerr.RequestTimedOut {
				t.Errorf("record %d: %v", i, r)
			}
		}
		done := make(chan []*ottlapb.PublishResult)
		go func() {
			got, err := w.publish(&ottlapb.PublishRequest{Topic: "orders", Records: []*ottlapb.PublishRecord{{Partition: proto.Int32(0), Value: text("x")}}})
			if err != nil {
				t.Error(err)
			}
			done <- got
		}()
		synctest.Wait()
		w.fetcher(w.dial("")).ask(asReplica(2, want(0, 2, orders0)))
		if got := <-done; got[0].ErrorCode != 0 || got[0].Offset != 1 {
			t.Errorf("after the follower has it: %v", got)
		}
		w.stop()
	})
}

func TestPublishedBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.topic("orders", 1)
		w.srv.received.add(w.srv.limits.ReceivedBytes)
		done := make(chan error, 1)
		go func() {
			_, err := w.publish(&ottlapb.PublishRequest{Topic: "orders", Records: []*ottlapb.PublishRecord{{Value: text("x")}}})
			done <- err
		}()
		synctest.Wait()
		if w.end(orders0) != 0 {
			t.Error("appended although there was no room")
		}
		w.srv.received.add(-w.srv.limits.ReceivedBytes)
		if err := <-done; err != nil || w.end(orders0) != 1 {
			t.Errorf("with room: %v, log end %d", err, w.end(orders0))
		}
		w.stop()
	})
}

func TestPublishTakesWhatGrpcurlSends(t *testing.T) {
	w := newWorld(t)
	w.topic("orders", 1)
	var req ottlapb.PublishRequest
	if err := protojson.Unmarshal([]byte(`{"topic": "orders", "records": [{"key": {"utf8": "k"}, "value": {"utf8": "hello"}, "headers": [{"key": "a", "value": {"bytes": "AAE="}}]}]}`), &req); err != nil {
		t.Fatal(err)
	}
	if got, err := w.publish(&req); err != nil || got[0].ErrorCode != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	if r := w.records("orders", 0)[0]; string(r.Value) != "hello" || string(r.Headers[0].Value) != "\x00\x01" {
		t.Errorf("record %+v", r)
	}
}
