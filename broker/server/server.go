package server

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Replicas are the partitions that this broker holds. *replica.Manager is what a broker uses.
type Replicas interface {
	// Partition returns a partition, or the code for those who ask for it.
	Partition(tp cluster.TopicPartition) (*replica.Partition, kerr.Code)
	// LeaderHint returns the leader of a partition as far as it is known.
	LeaderHint(tp cluster.TopicPartition) (cluster.BrokerID, cluster.LeaderEpoch, bool)
	// ApplyLeaderAndISR, ApplyUpdateMetadata and ApplyStopReplica carry out orders of the controller.
	ApplyLeaderAndISR(order replica.LeaderAndISR) (kerr.Code, []replica.PartitionOutcome)
	ApplyUpdateMetadata(order replica.UpdateMetadata) kerr.Code
	ApplyStopReplica(order replica.StopReplica) (kerr.Code, []replica.PartitionOutcome)
}

// Metadata is the broker's picture of the cluster. *metadata.Cache is what a broker uses.
type Metadata interface {
	// Image returns the current picture.
	Image() *metadata.Image
}

// Deps is what a [Server] works with. BrokerID, Replicas and Metadata are required.
type Deps struct {
	// BrokerID is this broker.
	BrokerID cluster.BrokerID
	// Replicas are the partitions that this broker holds.
	Replicas Replicas
	// Metadata is the broker's picture of the cluster.
	Metadata Metadata
	// Topics creates and deletes topics; nil answers NOT_CONTROLLER.
	Topics Topics
	// Configs describes settings; nil answers INVALID_REQUEST.
	Configs Configs
	// Alterer changes settings; nil answers INVALID_REQUEST.
	Alterer Alterer
	// LogDirs shows what lies on disk; nil shows nothing.
	LogDirs LogDirs
	// Controller takes what other brokers ask of the controller; nil answers NOT_CONTROLLER.
	Controller Controller
	// Partitions moves leaders and replicas, and adds partitions; nil answers NOT_CONTROLLER.
	Partitions Partitions
	// ProducerIDs are for producers that want one; nil answers COORDINATOR_NOT_AVAILABLE.
	ProducerIDs ProducerIDs
	// Contacts hears what other brokers say in their pings; nil means that nobody does.
	Contacts Contacts
	// BrokerToken returns what brokers of the cluster show when they call; nil and "" refuse everybody who calls as a broker.
	BrokerToken func() string
	// AutoCreate starts the creation of a topic that a client asked for (auto.create.topics.enable); nil means that this is off. The
	// error carries a [kerr.Code]. It must not wait until the topic is usable.
	AutoCreate func(ctx context.Context, topic string) error
	// NearestReplica is whether consumers may be sent to followers: those then hear of the high watermark soon, and not only with the next records.
	NearestReplica bool
	// Listener is the listener whose addresses Metadata tells callers that did not come through [Listen].
	Listener string
	// Limits bound what clients can ask for.
	Limits Limits
	// Now is the time of day, for records that are sent without one (Publish); nil means time.Now. Intervals do not go by it.
	Now func() time.Time
	// Logger is where the server reports; nil means nowhere.
	Logger hclog.Logger
}

// Server implements the services of ottla.v1. It is safe for concurrent use.
type Server struct {
	ottlapb.UnsafeProduceServiceServer
	ottlapb.UnsafeFetchServiceServer
	ottlapb.UnsafeMetadataServiceServer
	ottlapb.UnsafeTopicServiceServer
	ottlapb.UnsafePartitionServiceServer
	ottlapb.UnsafeControlServiceServer
	ottlapb.UnsafeControllerServiceServer
	ottlapb.UnsafeRecordServiceServer
	ottlapb.UnsafeTransactionServiceServer
	ottlapb.UnsafePeerServiceServer

	deps   Deps
	limits Limits
	log    hclog.Logger
	health *health.Server

	received *budget // batches that were received and not appended yet
	underWay *budget // answers that were not written to a connection yet

	refusal rarely // when a call was reported that only brokers may make

	creating topicSet // topics that this broker is creating because a client asked for them

	// closing is done once Close was called.
	closing context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	running sync.WaitGroup // goroutines of streams; added to under mu while not closing
}

// New returns a server that reports itself as not serving until [Server.SetServing].
func New(d Deps) *Server {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	s := &Server{deps: d, limits: d.Limits.withDefaults(), log: d.Logger, health: health.NewServer()}
	s.received = newBudget(s.limits.ReceivedBytes)
	s.underWay = newBudget(s.limits.AnswerBytes)
	s.closing, s.close = context.WithCancel(context.Background())
	s.SetServing(false)
	return s
}

// Options returns the interceptors that a gRPC server needs: a call that panics ends with INTERNAL, and the process lives on; calls that are for
// brokers only are refused to others.
func (s *Server) Options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.recoverUnary, s.brokersOnly), grpc.ChainStreamInterceptor(s.recoverStream)}
}

// Register adds all services to g, server reflection and the standard health service among them.
func (s *Server) Register(g *grpc.Server) {
	ottlapb.RegisterProduceServiceServer(g, s)
	ottlapb.RegisterFetchServiceServer(g, s)
	ottlapb.RegisterMetadataServiceServer(g, s)
	ottlapb.RegisterTopicServiceServer(g, s)
	ottlapb.RegisterPartitionServiceServer(g, s)
	ottlapb.RegisterControlServiceServer(g, s)
	ottlapb.RegisterControllerServiceServer(g, s)
	ottlapb.RegisterRecordServiceServer(g, s)
	ottlapb.RegisterTransactionServiceServer(g, s)
	ottlapb.RegisterPeerServiceServer(g, s)
	grpc_health_v1.RegisterHealthServer(g, s.health)
	reflection.Register(g)
}

// SetServing sets what the health service answers, for the server as a whole ("").
func (s *Server) SetServing(ready bool) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if ready {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
}

// Close ends all streams with UNAVAILABLE, after requests that were begun have been carried out and answered: those that wait for other
// replicas with NOT_LEADER_OR_FOLLOWER. It waits for the streams' goroutines. The gRPC server can then be stopped gracefully.
func (s *Server) Close() {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	s.health.Shutdown()
	s.running.Wait()
}

// enter counts n goroutines of a stream that begins, and returns false if the server is closing. Each of them calls s.running.Done.
func (s *Server) enter(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	s.running.Add(n)
	return true
}
