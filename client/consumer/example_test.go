package consumer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ottla/ottla/broker/brokertest"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/exampletb"
	"github.com/ottla/ottla/client/producer"
)

// write puts some records where the examples read them.
func write(cl *client.Client, topic string, values ...string) {
	ctx := context.Background()
	p, err := producer.New(cl)
	if err != nil {
		log.Panic(err)
	}
	for _, v := range values {
		if _, err := p.Send(ctx, producer.Record{Topic: topic, Value: []byte(v)}); err != nil {
			log.Panic(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		log.Panic(err)
	}
}

func ExampleConsumer_Records() {
	t := exampletb.New()
	defer t.Close()
	cl := brokertest.Start(t, brokertest.Options{}).Client(t)
	write(cl, "orders", "tea", "coffee", "done")

	ctx := context.Background()
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		log.Panic(err)
	}
	defer c.Close(ctx)
	if err := c.AssignTopics(ctx, "orders"); err != nil {
		log.Panic(err)
	}
	for rec, err := range c.Records(ctx) {
		if err != nil {
			log.Panic(err)
		}
		fmt.Printf("%s-%d@%d %s\n", rec.Topic, rec.Partition, rec.Offset, rec.Value)
		if string(rec.Value) == "done" {
			break
		}
	}
	// Output:
	// orders-0@0 tea
	// orders-0@1 coffee
	// orders-0@2 done
}

func ExampleConsumer_Poll() {
	t := exampletb.New()
	defer t.Close()
	cl := brokertest.Start(t, brokertest.Options{}).Client(t)
	write(cl, "orders", "tea", "coffee")

	ctx := context.Background()
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		log.Panic(err)
	}
	defer c.Close(ctx)
	if err := c.AssignTopics(ctx, "orders"); err != nil {
		log.Panic(err)
	}
	batches, err := c.Poll(ctx)
	if err != nil {
		log.Panic(err)
	}
	for _, b := range batches {
		for rec, err := range b.All() {
			if err != nil {
				log.Panic(err)
			}
			fmt.Printf("%s of %d: %s\n", b.TopicPartition, b.HighWatermark, rec.Value)
		}
	}
	// Output:
	// orders-0 of 2: tea
	// orders-0 of 2: coffee
}
