package wire

import (
	"testing"

	"google.golang.org/grpc/mem"
)

func TestThePoolLendsBuffersOfTheRightSize(t *testing.T) {
	p := newPool(16, 64, 256)
	for _, c := range []struct{ length, capacity int }{{0, 16}, {1, 16}, {16, 16}, {17, 64}, {256, 256}, {257, 257}} {
		b := p.Get(c.length)
		if len(*b) != c.length || cap(*b) != c.capacity {
			t.Errorf("asked for %d: %d of %d", c.length, len(*b), cap(*b))
		}
		p.Put(b)
	}
	b := p.Get(64)
	*b = (*b)[10:] // no tier any more
	p.Put(b)
	for range 100 {
		if b := p.Get(60); cap(*b) != 64 {
			t.Fatalf("a buffer of %d", cap(*b))
		}
	}
}

// TestAReceivedAnswerCostsNoMemoryPerRecord receives answers with little and much in them into the same memory.
func TestAReceivedAnswerCostsNoMemoryPerRecord(t *testing.T) {
	small := encodedAnswer(1 << 10)
	large := encodedAnswer(1 << 20)
	r := FetchResponse{pooled: true}
	receive := func(data mem.BufferSlice) func() {
		return func() {
			r.Release()
			r.pooled = true
			if err := r.unmarshalWire(data); err != nil || len(r.Topics[0].Partitions[0].Records) == 0 {
				t.Fatal(err)
			}
		}
	}
	few, many := testing.AllocsPerRun(50, receive(small)), testing.AllocsPerRun(50, receive(large))
	if many > few+1 || few > 8 {
		t.Errorf("%v allocations for 1 KiB, %v for 1 MiB", few, many)
	}
}

func encodedAnswer(size int) mem.BufferSlice {
	r := FetchResponse{Topics: []FetchTopic{{Name: "orders", Partitions: []FetchPartition{{Records: make([]byte, size)}}}}}
	return r.marshalWire()
}
