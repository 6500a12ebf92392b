package dial

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// echo answers a produce request with the sizes of its batches, and a cluster description with the caller's id.
type echo struct {
	ottlapb.UnimplementedProduceServiceServer
	ottlapb.UnimplementedMetadataServiceServer
}

func (echo) Produce(s grpc.BidiStreamingServer[ottlapb.ProduceRequest, ottlapb.ProduceResponse]) error {
	for {
		var r wire.ProduceRequest
		if err := s.RecvMsg(&r); err != nil {
			return err
		}
		size := int64(len(r.Topics[0].Partitions[0].Records))
		r.Release()
		if err := s.Send(&ottlapb.ProduceResponse{Topics: []*ottlapb.TopicProduceResult{{Partitions: []*ottlapb.PartitionProduceResult{{BaseOffset: size}}}}}); err != nil {
			return err
		}
	}
}

func (echo) DescribeCluster(ctx context.Context, _ *ottlapb.DescribeClusterRequest) (*ottlapb.DescribeClusterResponse, error) {
	return &ottlapb.DescribeClusterResponse{ClusterId: ClientID(ctx)}, nil
}

func start(t *testing.T, o ServerOptions, c ClientOptions) *grpc.ClientConn {
	t.Helper()
	n := memnet.New()
	l, err := n.Listen("broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o.GRPC()...)
	ottlapb.RegisterProduceServiceServer(s, echo{})
	ottlapb.RegisterMetadataServiceServer(s, echo{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c.Dial = n.Dialer("client")
	cc, err := Connect("broker:9092", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close(); s.Stop(); <-done })
	return cc
}

func produce(t *testing.T, cc *grpc.ClientConn, n int) (int64, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := wire.OpenProduce(ctx, cc)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Send(&wire.ProduceRequest{Topics: []wire.ProduceTopic{{Name: "t", Partitions: []wire.ProducePartition{{Records: make([]byte, n)}}}}}); err != nil {
		t.Fatal(err)
	}
	r, err := p.Recv()
	if err != nil {
		return 0, err
	}
	return r.Topics[0].Partitions[0].BaseOffset, nil
}

func TestAMessageOfManyMegabytesCrosses(t *testing.T) {
	cc := start(t, ServerOptions{}, ClientOptions{})
	if n, err := produce(t, cc, 20<<20); n != 20<<20 || err != nil {
		t.Fatal(n, err)
	}
}

func TestAMessageAboveTheLimitIsRefusedAndTheConnectionStays(t *testing.T) {
	cc := start(t, ServerOptions{MaxRequestBytes: 1 << 20}, ClientOptions{})
	if _, err := produce(t, cc, 1<<20+1); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("got %v", err)
	}
	if n, err := produce(t, cc, 1000); n != 1000 || err != nil {
		t.Fatal(n, err)
	}
}

func TestTheClientIDTravels(t *testing.T) {
	for given, want := range map[string]string{
		"console-producer":       "console-producer",
		"bell\a and ünïcode":     "bell_ and _n_code",
		strings.Repeat("x", 300): strings.Repeat("x", 249),
		"":                       "",
	} {
		cc := start(t, ServerOptions{}, ClientOptions{ClientID: given})
		r, err := ottlapb.NewMetadataServiceClient(cc).DescribeCluster(t.Context(), &ottlapb.DescribeClusterRequest{})
		if err != nil || r.ClusterId != want {
			t.Fatalf("client id %q arrived as %q, %v", given, r.GetClusterId(), err)
		}
	}
}

func TestAnUnreachableBrokerFailsAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cc, err := Connect(addr, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	_, err = ottlapb.NewMetadataServiceClient(cc).DescribeCluster(t.Context(), &ottlapb.DescribeClusterRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("got %v", err)
	}
}
