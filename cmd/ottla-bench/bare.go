package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// bare is the transport alone: a server that drops what it receives and sends the same batch over and over.
type bare struct {
	ottlapb.UnimplementedProduceServiceServer
	ottlapb.UnimplementedFetchServiceServer
}

func (b bare) serve(ctx context.Context, _ string, _ int) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(dial.ServerOptions{}.GRPC()...)
	ottlapb.RegisterProduceServiceServer(s, b)
	ottlapb.RegisterFetchServiceServer(s, b)
	fmt.Println(l.Addr())
	context.AfterFunc(ctx, s.Stop)
	return s.Serve(l)
}

func (bare) Produce(s grpc.BidiStreamingServer[ottlapb.ProduceRequest, ottlapb.ProduceResponse]) error {
	answer := &ottlapb.ProduceResponse{Topics: []*ottlapb.TopicProduceResult{{Name: "bench", Partitions: []*ottlapb.PartitionProduceResult{{}}}}}
	for {
		var r wire.ProduceRequest
		if err := s.RecvMsg(&r); err != nil {
			return err
		}
		r.Release()
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func (bare) Fetch(s grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse]) error {
	var batch []byte
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if batch == nil {
			batch = filled(int(r.MinBytes), int(r.MaxBytes))
		}
		if err := s.SendMsg(&wire.FetchResponse{Topics: []wire.FetchTopic{{Name: "bench", Partitions: []wire.FetchPartition{{Records: batch}}}}}); err != nil {
			return err
		}
	}
}

// filled returns a batch of about limit bytes with values of the given size.
func filled(size, limit int) record.Batch {
	b := record.NewBuilder(make([]byte, 0, limit+4096), limit)
	value := make([]byte, size)
	for b.Append(time.Now().UnixMilli(), nil, value, nil) {
	}
	batch, err := b.Finish(record.None, 0, -1, -1, -1, false)
	if err != nil {
		panic(err)
	}
	return batch
}

const inFlight = 5

func (bare) produce(ctx context.Context, j job) (outcome, error) {
	cc, err := dial.Connect(j.Addr, dial.ClientOptions{})
	if err != nil {
		return outcome{}, err
	}
	defer cc.Close()
	s, err := wire.OpenProduce(ctx, cc)
	if err != nil {
		return outcome{}, err
	}
	batch := []byte(filled(j.Size, j.BatchBytes))
	owner := mem.NewBuffer(&batch, nil)
	perBatch := int64(record.Batch(batch).Count())
	messages := int(int64(j.Records) / perBatch)
	req := &wire.ProduceRequest{Acks: 1, TimeoutMs: 30000, Topics: []wire.ProduceTopic{{Name: j.Topic, Partitions: []wire.ProducePartition{{Records: batch, Owner: owner}}}}}
	w := startWatch()
	for i := range messages + inFlight {
		if i >= inFlight {
			if _, err := s.Recv(); err != nil {
				return outcome{}, err
			}
		}
		if i < messages {
			if err := s.Send(req); err != nil {
				return outcome{}, err
			}
		}
	}
	n := perBatch * int64(messages)
	return w.outcome(n, n*int64(j.Size)), nil
}

func (bare) consume(ctx context.Context, j job) (outcome, error) {
	cc, err := dial.Connect(j.Addr, dial.ClientOptions{})
	if err != nil {
		return outcome{}, err
	}
	defer cc.Close()
	s, err := wire.OpenFetch(ctx, cc)
	if err != nil {
		return outcome{}, err
	}
	req := &ottlapb.FetchRequest{ReplicaId: -1, MinBytes: int32(j.Size), MaxBytes: int32(j.BatchBytes)}
	const credits = 3
	for range credits {
		if err := s.Send(req); err != nil {
			return outcome{}, err
		}
	}
	var n int64
	w := startWatch()
	for n < int64(j.Records) {
		r, err := s.Recv()
		if err != nil {
			return outcome{}, err
		}
		n += int64(record.Batch(r.Topics[0].Partitions[0].Records).Count())
		if err := s.Send(req); err != nil {
			return outcome{}, err
		}
	}
	return w.outcome(n, n*int64(j.Size)), nil
}
