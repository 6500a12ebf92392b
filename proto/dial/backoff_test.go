package dial

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
)

// TestAConnectionThatIsNotTakenUpIsTriedAgain lets nobody take up the first connection, as of a broker that was frozen or cut off at that moment.
func TestAConnectionThatIsNotTakenUpIsTriedAgain(t *testing.T) {
	for _, c := range []struct{ given, want time.Duration }{{0, ConnectTimeout}, {BrokerConnectTimeout, BrokerConnectTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New()
			l, err := n.Listen("broker:9092")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer(ServerOptions{}.GRPC()...)
			ottlapb.RegisterMetadataServiceServer(s, echo{})
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			first := true
			var mute net.Conn
			cc, err := Connect("broker:9092", ClientOptions{ConnectTimeout: c.given, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
				if first {
					first = false
					near, far := net.Pipe()
					go func() { _, _ = far.Read(make([]byte, 1<<20)) }()
					mute = far
					return near, nil
				}
				return n.Dialer("client")(ctx, addr)
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { cc.Close(); s.Stop(); <-done; mute.Close() }()
			start := time.Now()
			if _, err := ottlapb.NewMetadataServiceClient(cc).DescribeCluster(t.Context(), &ottlapb.DescribeClusterRequest{}, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d < c.want || d > c.want+time.Second {
				t.Errorf("connected after %v, want %v and a moment", d, c.want)
			}
		})
	}
}
