package producer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fc := fakecluster.New(t, 3)
		fc.CreateTopic("orders", 3)
		ctx := t.Context()
		cl, err := client.Dial(ctx, fc.Bootstrap(), client.Dialer(fc.Dialer()))
		if err != nil {
			t.Fatal(err)
		}
		p, err := producer.New(cl)
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.Send(ctx, producer.Record{Topic: "orders", Value: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(res)
		for i := range 10000 {
			if err := p.SendAsync(ctx, producer.Record{Topic: "orders", Key: fmt.Append(nil, i), Value: []byte("hello")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AssignTopics(ctx, "orders"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for rec, err := range c.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			_ = rec
			if n++; n == 10001 {
				break
			}
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		total := 0
		for i := range 3 {
			total += len(fc.Values(cluster.TopicPartition{Topic: "orders", Partition: int32(i)}))
		}
		if total != 10001 {
			t.Fatal(total)
		}
		_ = slices.Sort[[]int]
		_ = context.Background
	})
}
