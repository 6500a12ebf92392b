package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is the franz-go client against its fake broker with data on disk.
type franz struct{}

func (franz) serve(ctx context.Context, dir string, partitions int) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(partitions), "bench"), kfake.DataDir(dir), kfake.Ports(0))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.ListenAddrs()[0])
	<-ctx.Done()
	return nil
}

func (franz) produce(ctx context.Context, j job) (outcome, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.Addr), kgo.DefaultProduceTopic(j.Topic), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(int32(j.BatchBytes)), kgo.ProducerLinger(2*time.Millisecond),
		kgo.MaxBufferedRecords(1<<30), kgo.MaxBufferedBytes(64<<20), kgo.MaxProduceRequestsInflightPerBroker(inFlight))
	if err != nil {
		return outcome{}, err
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return outcome{}, err
	}
	value := make([]byte, j.Size)
	var failed atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
		}
	}
	w := startWatch()
	for range j.Records {
		cl.Produce(ctx, &kgo.Record{Value: value}, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return outcome{}, err
	}
	if n := failed.Load(); n > 0 {
		return outcome{}, fmt.Errorf("%d records failed", n)
	}
	return w.outcome(int64(j.Records), int64(j.Records)*int64(j.Size)), nil
}

func (franz) consume(ctx context.Context, j job) (outcome, error) {
	at := map[int32]kgo.Offset{}
	for p := range j.Partitions {
		at[int32(p)] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.Addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{j.Topic: at}), kgo.FetchMaxPartitionBytes(int32(j.BatchBytes)))
	if err != nil {
		return outcome{}, err
	}
	defer cl.Close()
	var n, size int64
	w := startWatch()
	for n < int64(j.Records) {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			return outcome{}, err
		}
		f.EachRecord(func(r *kgo.Record) { n++; size += int64(len(r.Value)) })
	}
	return w.outcome(n, size), nil
}
