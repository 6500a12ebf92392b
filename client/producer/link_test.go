package producer

import (
	"testing"

	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// TestARequestKeepsItsBytes settles a batch between the moment at which its stream's reader may do that, because the stream has ended, and the moment at
// which the request is put into bytes.
func TestARequestKeepsItsBytes(t *testing.T) {
	s := &sender{producer: &Producer{cfg: config{codec: record.None, level: record.DefaultLevel}}}
	mem := newBudget(1 << 20)
	b := newBatch(&partition{topic: &topic{name: "orders"}}, 1000)
	b.append(&Record{Value: []byte("value")}, nil)
	if err := b.seal(&s.producer.cfg); err != nil {
		t.Fatal(err)
	}
	want := string(b.data)
	req := s.request([]*batch{b})
	b.free(mem)
	out, err := wire.NewCodec().Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	s.forget()
	got := new(wire.ProduceRequest)
	if err := wire.NewCodec().Unmarshal(out, got); err != nil {
		t.Fatal(err)
	}
	if string(got.Topics[0].Partitions[0].Records) != want {
		t.Error("the request holds other bytes than the batch")
	}
	if len(s.req.Topics) != 0 {
		t.Error("a request that was sent is remembered")
	}
}
