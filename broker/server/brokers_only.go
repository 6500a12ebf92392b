package server

import (
	"context"
	"crypto/subtle"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// forBrokers holds the services that only brokers of the cluster may call: whoever can give orders in the controller's name, or in the name of a
// leader, can destroy data.
var forBrokers = map[string]bool{
	ottlapb.ControlService_ServiceDesc.ServiceName:    true,
	ottlapb.ControllerService_ServiceDesc.ServiceName: true,
	ottlapb.PeerService_ServiceDesc.ServiceName:       true,
}

// readingAsReplica is what followers do.
const readingAsReplica = "reading as a replica"

// brokersOnly refuses calls of those services to everybody else.
func (s *Server) brokersOnly(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	service, _, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	if forBrokers[service] {
		if err := s.fromBroker(ctx, info.FullMethod); err != nil {
			return nil, err
		}
	}
	return handle(ctx, req)
}

// fromBroker returns an error unless the caller has shown to be a broker of the cluster: it knows the secret that brokers keep in ZooKeeper.
func (s *Server) fromBroker(ctx context.Context, what string) error {
	var want string
	if s.deps.BrokerToken != nil {
		want = s.deps.BrokerToken()
	}
	got := dial.BrokerToken(ctx)
	if want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 {
		return nil
	}
	if s.refusal.due(time.Now()) {
		s.log.Warn("refused what only brokers of the cluster may do", "call", what, "client-id", dial.ClientID(ctx), "token-given", got != "")
	}
	return forbidden(kerr.ClusterAuthorizationFailed, "%s is for brokers of this cluster, and the caller has not shown to be one", what)
}

// rarely lets one in a minute through. It is safe for concurrent use.
type rarely struct{ last atomic.Pointer[time.Time] }

// due reports whether a minute has passed since it last said so.
func (r *rarely) due(now time.Time) bool {
	last := r.last.Load()
	return (last == nil || now.Sub(*last) >= time.Minute) && r.last.CompareAndSwap(last, &now)
}
