package wire

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// chunks cuts b into pieces of n bytes, as gRPC delivers messages.
func chunks(b []byte, n int) mem.BufferSlice {
	var s mem.BufferSlice
	for len(b) > 0 {
		k := min(n, len(b))
		s = append(s, mem.SliceBuffer(b[:k]))
		b = b[k:]
	}
	return s
}

func produceForms() (*ProduceRequest, *ottlapb.ProduceRequest) {
	a, b := bytes.Repeat([]byte{1, 2, 3}, 1000), []byte{9}
	hand := &ProduceRequest{TransactionalID: "tx", Acks: -1, TimeoutMs: 30_000, Topics: []ProduceTopic{
		{Name: "orders", Partitions: []ProducePartition{{Index: 0, Records: a}, {Index: math.MaxInt32, Records: b}, {Index: -1}}},
		{Name: "other"},
	}}
	gen := &ottlapb.ProduceRequest{TransactionalId: "tx", Acks: -1, TimeoutMs: 30_000, Topics: []*ottlapb.TopicProduceData{
		{Name: "orders", Partitions: []*ottlapb.PartitionProduceData{{Index: 0, Records: a}, {Index: math.MaxInt32, Records: b}, {Index: -1}}},
		{Name: "other"},
	}}
	return hand, gen
}

func fetchForms() (*FetchResponse, *ottlapb.FetchResponse) {
	a := bytes.Repeat([]byte{7}, 4000)
	hand := &FetchResponse{ThrottleTimeMs: 5, Topics: []FetchTopic{{Name: "orders", Partitions: []FetchPartition{
		{
			Index: 3, FetchOffset: 10, HighWatermark: 20, LastStableOffset: 19, LogStartOffset: 1, PreferredReadReplica: -1, Records: a,
			Aborted: []Aborted{{ProducerID: 5, FirstOffset: 12}, {ProducerID: math.MaxInt64, FirstOffset: 0}},
		},
		{
			Index: 4, ErrorCode: kerr.NotLeaderOrFollower, FetchOffset: math.MinInt64, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1,
			Diverging: &EpochEnd{Epoch: -1, EndOffset: -1}, CurrentLeader: &LeaderHint{Leader: 2, Epoch: 7},
		},
		{ErrorCode: kerr.UnknownServerError},
	}}}}
	gen := &ottlapb.FetchResponse{ThrottleTimeMs: 5, Topics: []*ottlapb.FetchableTopic{{Name: "orders", Partitions: []*ottlapb.FetchablePartition{
		{
			Index: 3, FetchOffset: 10, HighWatermark: 20, LastStableOffset: 19, LogStartOffset: 1, PreferredReadReplica: -1, Records: a,
			AbortedTransactions: []*ottlapb.AbortedTransaction{{ProducerId: 5, FirstOffset: 12}, {ProducerId: math.MaxInt64, FirstOffset: 0}},
		},
		{
			Index: 4, ErrorCode: 6, FetchOffset: math.MinInt64, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1,
			DivergingEpoch: &ottlapb.EpochEndOffset{Epoch: -1, EndOffset: -1}, CurrentLeader: &ottlapb.LeaderHint{LeaderId: 2, LeaderEpoch: 7},
		},
		{ErrorCode: -1},
	}}}}
	return hand, gen
}

func TestHandWrittenFormsAreTheGeneratedOnesOnTheWire(t *testing.T) {
	c := NewCodec()
	t.Run("a produce request as it is sent", func(t *testing.T) {
		hand, gen := produceForms()
		got := new(ottlapb.ProduceRequest)
		marshalInto(t, c, hand, got)
		if d := cmp.Diff(gen, got, protocmp.Transform()); d != "" {
			t.Fatal(d)
		}
	})
	t.Run("a fetch answer as it is sent", func(t *testing.T) {
		hand, gen := fetchForms()
		got := new(ottlapb.FetchResponse)
		marshalInto(t, c, hand, got)
		if d := cmp.Diff(gen, got, protocmp.Transform()); d != "" {
			t.Fatal(d)
		}
	})
	for _, piece := range []int{1 << 30, 1000, 37} {
		hand, gen := produceForms()
		got := new(ProduceRequest)
		unmarshalFrom(t, c, gen, piece, got)
		if d := cmp.Diff(hand, got, cmpopts.IgnoreUnexported(ProduceRequest{}), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("produce request in pieces of %d: %s", piece, d)
		}
		got.Release()
		got.Release()
		handF, genF := fetchForms()
		gotF := new(FetchResponse)
		unmarshalFrom(t, c, genF, piece, gotF)
		if d := cmp.Diff(handF, gotF, cmpopts.IgnoreUnexported(FetchResponse{}), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("fetch answer in pieces of %d: %s", piece, d)
		}
	}
}

func marshalInto(t *testing.T, c Codec, from any, to proto.Message) {
	t.Helper()
	s, err := c.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(s.Materialize(), to); err != nil {
		t.Fatal(err)
	}
}

func unmarshalFrom(t *testing.T, c Codec, from proto.Message, piece int, to any) {
	t.Helper()
	b, err := proto.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unmarshal(chunks(b, piece), to); err != nil {
		t.Fatal(err)
	}
}

// countingPool counts what comes back.
type countingPool struct{ put int }

func (p *countingPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p *countingPool) Put(*[]byte)       { p.put++ }

func TestABatchIsSentByReferenceAndFreedOnce(t *testing.T) {
	pool := new(countingPool)
	b := make([]byte, 100_000)
	owner := mem.NewBuffer(&b, pool)
	s, err := NewCodec().Marshal(&ProduceRequest{Topics: []ProduceTopic{{Name: "t", Partitions: []ProducePartition{{Records: b, Owner: owner}}}}})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range s {
		found = found || p.Len() == len(b) && &p.ReadOnlyData()[0] == &b[0]
	}
	if !found {
		t.Fatal("the batch was copied")
	}
	owner.Free()
	if pool.put != 0 {
		t.Fatal("the batch went back to its pool while gRPC still had to send it")
	}
	s.Free()
	if pool.put != 1 {
		t.Fatalf("the batch went back to its pool %d times, want once", pool.put)
	}
}

func TestAMessageOfTooManyPartitionsIsRefused(t *testing.T) {
	b := bytes.Repeat([]byte{0x22, 0x00}, MaxPartitionsPerRequest+1) // empty topics
	if err := NewCodec().Unmarshal(chunks(b, len(b)), new(ProduceRequest)); err == nil {
		t.Fatal("accepted")
	}
}

func TestDecodingAllocatesPerPartitionNotPerByte(t *testing.T) {
	_, gen := fetchForms()
	gen.Topics[0].Partitions[0].Records = make([]byte, 1<<20)
	b, err := proto.Marshal(gen)
	if err != nil {
		t.Fatal(err)
	}
	s, c := chunks(b, 16<<10), NewCodec()
	if n := testing.AllocsPerRun(20, func() {
		if err := c.Unmarshal(s, new(FetchResponse)); err != nil {
			t.Fatal(err)
		}
	}); n > 20 {
		t.Fatalf("%v allocations for three partitions", n)
	}
}

func FuzzProduceRequest(f *testing.F) {
	_, gen := produceForms()
	seed, _ := proto.Marshal(gen)
	f.Add(seed)
	f.Add([]byte{0x20, 0x00}) // topics as a number
	f.Add([]byte{0x22, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		hand, gen := new(ProduceRequest), new(ottlapb.ProduceRequest)
		errHand, errGen := NewCodec().Unmarshal(chunks(b, 7), hand), proto.Unmarshal(b, gen)
		if errGen != nil || errHand != nil {
			if errHand == nil {
				hand.Release()
			}
			return // the generated decoder also checks fields that this one passes over, and this one bounds counts
		}
		defer hand.Release()
		again := new(ottlapb.ProduceRequest)
		marshalInto(t, NewCodec(), hand, again)
		if len(again.Topics) != len(gen.Topics) || again.Acks != gen.Acks || again.TransactionalId != gen.TransactionalId {
			t.Fatalf("decoded %v, the generated code %v", again, gen)
		}
	})
}

func FuzzFetchResponse(f *testing.F) {
	_, gen := fetchForms()
	seed, _ := proto.Marshal(gen)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		hand := new(FetchResponse)
		if NewCodec().Unmarshal(chunks(b, 5), hand) != nil {
			return
		}
		marshalInto(t, NewCodec(), hand, new(ottlapb.FetchResponse))
	})
}
