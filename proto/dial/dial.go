// Package dial says how any process of Ottla listens and connects: the codec, the sizes, the windows and the keepalive of gRPC, in
// one place, so that both ends always agree.
//
// The numbers come from measurements on loopback between two processes: write buffers of 256 KiB and read buffers of 128 KiB carry
// messages of up to a mebibyte in few system calls; fixed windows of twice the largest message keep a pipeline full and the memory of a
// reader that does not read bounded.
package dial

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/ottla/ottla/proto/wire"
)

// clientIDKey is the request metadata that carries a client's id.
const clientIDKey = "ottla-client-id"

// brokerTokenKey is the request metadata that carries a broker's proof that it belongs to the cluster.
const brokerTokenKey = "ottla-broker-token"

// maxClientIDLength bounds the ids that a server keeps, in bytes.
const maxClientIDLength = 249

// Sizes shared by both ends, in bytes.
const (
	// DefaultMaxRequestBytes bounds a request, as socket.request.max.bytes does.
	DefaultMaxRequestBytes = 104857600
	// maxResponseBytes bounds an answer: the largest fetch (fetch.max.bytes, 55 MiB, plus one batch that may exceed it).
	maxResponseBytes = 1<<30 - 1
	streamWindow     = 4 << 20
	connWindow       = 16 << 20
	writeBuffer      = 256 << 10
	readBuffer       = 128 << 10
	maxHeaderBytes   = 32 << 10
)

// Dialer opens a connection to host:port. nil stands for TCP.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// ClientOptions says how to connect.
type ClientOptions struct {
	// Dial opens connections; nil means TCP.
	Dial Dialer
	// ClientID names the caller in logs and quotas (client.id). Characters that cannot travel in HTTP/2 headers become '_'.
	ClientID string
	// BrokerToken returns what proves to brokers that the caller is one of their cluster, at each call; nil for callers that are not.
	BrokerToken func() string
	// ConnectTimeout is how long one attempt to connect may take, a second at least; 0 means [ConnectTimeout].
	ConnectTimeout time.Duration
	// MaxMessageBytes bounds an answer; 0 means a gibibyte.
	MaxMessageBytes int
}

// Connect returns a connection to the broker at addr (host:port). It does not wait: connecting starts with the first call, is repeated
// after failures with a back-off of 50 ms to 1 s, and calls fail at once while the broker cannot be reached. The caller closes it.
func Connect(addr string, o ClientOptions) (*grpc.ClientConn, error) {
	maxRecv := o.MaxMessageBytes
	if maxRecv == 0 {
		maxRecv = maxResponseBytes
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(wire.NewCodec()),
			grpc.MaxCallRecvMsgSize(maxRecv),
			grpc.MaxCallSendMsgSize(maxResponseBytes),
		),
		grpc.WithWriteBufferSize(writeBuffer),
		grpc.WithReadBufferSize(readBuffer),
		experimental.WithBufferPool(wire.Pool),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithConnectParams(connectParams(cmp.Or(o.ConnectTimeout, ConnectTimeout))),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
	}
	if o.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(o.Dial))
	}
	if o.ClientID != "" || o.BrokerToken != nil {
		headers := o.headers()
		opts = append(opts,
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				return invoke(headers(ctx), method, req, reply, cc, opts...)
			}),
			grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				return open(headers(ctx), desc, cc, method, opts...)
			}))
	}
	// passthrough leaves names to the dialer, which resolves them at every attempt.
	cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", addr, err)
	}
	return cc, nil
}

// headers returns what adds the caller's request metadata to a call.
func (o ClientOptions) headers() func(context.Context) context.Context {
	id := headerValue(o.ClientID)
	return func(ctx context.Context) context.Context {
		if id != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, clientIDKey, id)
		}
		if o.BrokerToken != nil {
			ctx = metadata.AppendToOutgoingContext(ctx, brokerTokenKey, o.BrokerToken())
		}
		return ctx
	}
}

// ServerOptions says how to listen.
type ServerOptions struct {
	// MaxRequestBytes bounds a request; larger ones fail with RESOURCE_EXHAUSTED and the connection stays. 0 means
	// [DefaultMaxRequestBytes].
	MaxRequestBytes int
	// MaxConcurrentStreams bounds the calls of one connection at one time; 0 means 256.
	MaxConcurrentStreams uint32
	// MaxConnectionIdle closes connections without calls (connections.max.idle.ms); 0 means 10 minutes.
	MaxConnectionIdle time.Duration
}

// GRPC returns the options of a gRPC server: codec, sizes, windows, keepalive.
func (o ServerOptions) GRPC() []grpc.ServerOption {
	if o.MaxRequestBytes == 0 {
		o.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if o.MaxConcurrentStreams == 0 {
		o.MaxConcurrentStreams = 256
	}
	if o.MaxConnectionIdle == 0 {
		o.MaxConnectionIdle = 10 * time.Minute
	}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.NewCodec()),
		grpc.MaxRecvMsgSize(o.MaxRequestBytes),
		grpc.MaxSendMsgSize(maxResponseBytes),
		grpc.MaxConcurrentStreams(o.MaxConcurrentStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.WriteBufferSize(writeBuffer),
		grpc.ReadBufferSize(readBuffer),
		experimental.BufferPool(wire.Pool),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: o.MaxConnectionIdle,
			Time:              20 * time.Second,
			Timeout:           10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

// BrokerToken returns what the caller of an incoming call gave as proof that it is a broker; "" if it gave none.
func BrokerToken(ctx context.Context) string {
	v := metadata.ValueFromIncomingContext(ctx, brokerTokenKey)
	if len(v) != 1 {
		return ""
	}
	return v[0]
}

// ClientID returns the id that the caller of an incoming call gave, cut to 249 bytes; "" if it gave none.
func ClientID(ctx context.Context) string {
	v := metadata.ValueFromIncomingContext(ctx, clientIDKey)
	if len(v) == 0 {
		return ""
	}
	if len(v[0]) > maxClientIDLength {
		return v[0][:maxClientIDLength]
	}
	return v[0]
}

// headerValue makes s fit for an HTTP/2 header: printable ASCII of bounded length.
func headerValue(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '_'
		}
		return r
	}, s)
	if len(s) > maxClientIDLength {
		return s[:maxClientIDLength]
	}
	return s
}
