package wire

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/ottlapb"
)

// ProduceStream is the client's side of ProduceService.Produce. One goroutine may send while another receives.
type ProduceStream struct{ s grpc.ClientStream }

// OpenProduce opens a stream on cc, whose codec must be [Codec]. The stream ends when ctx does.
func OpenProduce(ctx context.Context, cc grpc.ClientConnInterface, opts ...grpc.CallOption) (*ProduceStream, error) {
	s, err := cc.NewStream(ctx, &ottlapb.ProduceService_ServiceDesc.Streams[0], ottlapb.ProduceService_Produce_FullMethodName, opts...)
	if err != nil {
		return nil, fmt.Errorf("open produce stream: %w", err)
	}
	return &ProduceStream{s}, nil
}

// Send queues a request. It returns io.EOF when the stream has ended; Recv then tells why.
func (p *ProduceStream) Send(r *ProduceRequest) error { return p.s.SendMsg(r) }

// Recv waits for the answer to the earliest request that has acks other than 0 and is not answered yet.
func (p *ProduceStream) Recv() (*ottlapb.ProduceResponse, error) {
	r := new(ottlapb.ProduceResponse)
	if err := p.s.RecvMsg(r); err != nil {
		return nil, err
	}
	return r, nil
}

// CloseSend tells the broker that no more requests come.
func (p *ProduceStream) CloseSend() error { return p.s.CloseSend() }

// FetchStream is the client's side of FetchService.Fetch, a fetch session. One goroutine may send while another receives.
type FetchStream struct{ s grpc.ClientStream }

// OpenFetch opens a session on cc, whose codec must be [Codec]. The session ends when ctx does.
func OpenFetch(ctx context.Context, cc grpc.ClientConnInterface, opts ...grpc.CallOption) (*FetchStream, error) {
	s, err := cc.NewStream(ctx, &ottlapb.FetchService_ServiceDesc.Streams[0], ottlapb.FetchService_Fetch_FullMethodName, opts...)
	if err != nil {
		return nil, fmt.Errorf("open fetch stream: %w", err)
	}
	return &FetchStream{s}, nil
}

// Send queues a request. It returns io.EOF when the stream has ended; Recv then tells why.
func (f *FetchStream) Send(r *ottlapb.FetchRequest) error { return f.s.SendMsg(r) }

// Recv waits for the answer to the earliest request that is not answered yet.
func (f *FetchStream) Recv() (*FetchResponse, error) {
	r := new(FetchResponse)
	if err := f.s.RecvMsg(r); err != nil {
		return nil, err
	}
	return r, nil
}

// RecvInto is Recv for who keeps nothing: the answer replaces what r held, in memory that is used again. It can be used until r is handed to RecvInto
// again or released.
func (f *FetchStream) RecvInto(r *FetchResponse) error {
	r.Release()
	r.pooled = true
	return f.s.RecvMsg(r)
}

// CloseSend tells the broker that no more requests come.
func (f *FetchStream) CloseSend() error { return f.s.CloseSend() }
