package producer_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/broker/brokertest"
	"github.com/ottla/ottla/client/internal/exampletb"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/record"
)

func ExampleProducer_Send() {
	t := exampletb.New()
	defer t.Close()
	cl := brokertest.Start(t, brokertest.Options{}).Client(t)

	ctx := context.Background()
	p, err := producer.New(cl)
	if err != nil {
		log.Panic(err)
	}
	defer p.Close(ctx)
	for _, v := range []string{"one", "two"} {
		res, err := p.Send(ctx, producer.Record{Topic: "orders", Key: []byte("customer-7"), Value: []byte(v)})
		if err != nil {
			log.Panic(err)
		}
		fmt.Printf("%s-%d at offset %d\n", res.Topic, res.Partition, res.Offset)
	}
	// Output:
	// orders-0 at offset 0
	// orders-0 at offset 1
}

func ExampleProducer_SendAsync() {
	t := exampletb.New()
	defer t.Close()
	cl := brokertest.Start(t, brokertest.Options{}).Client(t)

	ctx := context.Background()
	p, err := producer.New(cl, producer.Linger(5*time.Millisecond), producer.Compression(record.Zstd))
	if err != nil {
		log.Panic(err)
	}
	var written atomic.Int64
	for i := range 1000 {
		err := p.SendAsync(ctx, producer.Record{Topic: "clicks", Value: fmt.Append(nil, "click ", i)}, func(_ producer.Result, err error) {
			if err == nil {
				written.Add(1)
			}
		})
		if err != nil {
			log.Panic(err) // not accepted: too large, closed, or no room within MaxBlock
		}
	}
	if err := p.Close(ctx); err != nil { // waits for the answers
		log.Panic(err)
	}
	fmt.Println(written.Load(), "records written")
	// Output: 1000 records written
}
