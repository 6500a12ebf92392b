package server

import (
	"math"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// FuzzProduce carries out whatever decodes. Nothing may panic, every partition that is named is answered once, and nothing is kept.
func FuzzProduce(f *testing.F) {
	w := newWorld(f)
	w.topic("orders", 2)
	codec := wire.NewCodec()
	for _, r := range []*wire.ProduceRequest{
		request(-1, orders0, batch(f, "a", "b")),
		request(1, at("nowhere", -1), nil),
		request(0, orders0, batch(f, "a")[:60]),
		request(7, orders0, batch(f, "a")),
		{Acks: 1, TimeoutMs: math.MinInt32, Topics: []wire.ProduceTopic{{}, {Name: "orders", Partitions: make([]wire.ProducePartition, 40)}}},
	} {
		data, err := codec.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data.Materialize())
	}
	stream := &unread{}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r wire.ProduceRequest
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &r); err != nil {
			return
		}
		named := 0
		for _, topic := range r.Topics {
			named += len(topic.Partitions)
		}
		p := w.srv.newProduceStream(stream, 1)
		item := p.item()
		p.appendAll(&r, item)
		answered := 0
		for _, topic := range item.response.Topics {
			for _, result := range topic.Partitions {
				answered++
				if ok := kerr.Code(result.ErrorCode) == kerr.None; ok != (result.BaseOffset >= 0) {
					t.Errorf("result %v", result)
				}
			}
		}
		if answered != named {
			t.Errorf("%d partitions named, %d answered", named, answered)
		}
		r.Release()
	})
}

// FuzzFetch applies whatever decodes to a session and builds an answer. Nothing may panic, and closing the session gives everything back.
func FuzzFetch(f *testing.F) {
	w := newWorld(f)
	w.topic("orders", 2)
	w.producer(w.dial("")).put(orders0, "a", "b", "c")
	held := w.held(orders0)
	forgetful := want(0, 0, orders0, at("orders", 1))
	forgetful.Forgotten = []*ottlapb.ForgottenTopic{{Name: "orders", Partitions: []int32{0, 0, 5}}}
	odd := want(-1, math.MaxInt64, orders0)
	odd.MaxBytes, odd.MinBytes, odd.Topics[0].Partitions[0].PartitionMaxBytes = math.MinInt32, math.MaxInt32, math.MinInt32
	for _, r := range []*ottlapb.FetchRequest{want(0, 0, orders0), asReplica(2, want(0, 1, orders0)), forgetful, odd, {}} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(ottlapb.FetchRequest)
		if proto.Unmarshal(data, r) != nil {
			return
		}
		s := newFetchSession(w.srv, w.srv.newOutlet(t.Context()), "PLAINTEXT", func() error { return nil })
		for range 2 {
			if s.apply(r) != nil {
				break
			}
			s.collect(r, true)
			if err := s.send(&unread{}); err != nil {
				t.Fatal(err)
			}
			s.collect(r, false)
			s.drop()
		}
		s.close()
		if n := held.Watchers(); n != 0 {
			t.Errorf("%d signals are still registered", n)
		}
		if used := w.srv.underWay.used.Load(); used != 0 {
			t.Errorf("%d bytes were not given back", used)
		}
	})
}
