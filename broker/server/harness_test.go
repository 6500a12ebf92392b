package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self cluster.BrokerID = 1

// world is one broker behind an in-memory network: real gRPC, real replicas, real logs on a memory disk.
type world struct {
	t        testing.TB
	net      *memnet.Network
	listener *Listener
	srv      *Server
	grpc     *grpc.Server
	served   chan error
	logs     *commitlog.Manager
	replicas *replica.Manager
	cache    *metadata.Cache
	minISR   int
	conns    []*grpc.ClientConn
	epochs   map[cluster.TopicPartition]cluster.LeaderEpoch
	logger   hclog.Logger
}

// option changes what a world is made of.
type option func(*Deps)

func newWorld(t testing.TB, options ...option) *world {
	return newWorldOn(t, vfs.NewMem(), "/logs", options...)
}

func newWorldOn(t testing.TB, fs vfs.FS, dir string, options ...option) *world {
	t.Helper()
	w := &world{t: t, net: memnet.New(), cache: metadata.NewCache(), minISR: 1, epochs: map[cluster.TopicPartition]cluster.LeaderEpoch{}, served: make(chan error, 1)}
	w.logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Off})
	var err error
	w.logs, err = commitlog.OpenManager(context.Background(), commitlog.ManagerConfig{FS: fs, Dirs: []string{dir}, Defaults: commitlog.DefaultConfig(), BrokerID: self, ClusterID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	w.replicas = replica.New(replica.Config{
		BrokerID: self, Logs: w.logs, Metadata: w.cache, Logger: w.logger, MinISR: func(string) int { return w.minISR },
		TopicConfig: func(topic string) commitlog.Config {
			c := commitlog.DefaultConfig()
			if topic == "compacted" {
				c.CleanupPolicy = "compact"
			}
			return c
		},
	})
	d := Deps{BrokerID: self, Replicas: w.replicas, Metadata: w.cache, Listener: "PLAINTEXT", Logger: w.logger, BrokerToken: brokerToken}
	for _, o := range options {
		o(&d)
	}
	w.srv = New(d)
	w.cache.SetClusterID("cluster-of-tests")
	w.brokers(1, 2, 3)
	inner, err := w.net.Listen("broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	w.listener = Listen(inner, ListenerConfig{Name: "PLAINTEXT", Logger: w.logger})
	w.grpc = grpc.NewServer(append(dial.ServerOptions{}.GRPC(), w.srv.Options()...)...)
	w.srv.Register(w.grpc)
	w.srv.SetServing(true)
	go func() { w.served <- w.grpc.Serve(w.listener) }()
	t.Cleanup(w.stop)
	return w
}

// stop ends everything, in the order in which a broker does.
func (w *world) stop() {
	if w.served == nil {
		return
	}
	for _, cc := range w.conns {
		cc.Close()
	}
	w.srv.Close()
	w.grpc.Stop()
	<-w.served
	w.listener.Close()
	w.served = nil
	if used := w.srv.received.used.Load(); used != 0 {
		w.t.Errorf("%d received bytes were never given back", used)
	}
	_ = w.replicas.Close(context.Background())
	_ = w.logs.Close(context.Background())
}

// brokers makes brokers alive, each with an address on the listener PLAINTEXT.
func (w *world) brokers(ids ...cluster.BrokerID) {
	u := metadata.Update{ControllerID: 3}
	for _, id := range ids {
		u.Brokers = append(u.Brokers, metadata.Broker{ID: id, Rack: fmt.Sprintf("rack-%d", id), Endpoints: []cluster.Endpoint{
			{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: fmt.Sprintf("host-%d", id), Port: 9092},
			{Listener: "INTERNAL", SecurityProtocol: "PLAINTEXT", Host: fmt.Sprintf("internal-%d", id), Port: 9093},
		}})
	}
	w.cache.Apply(u)
}

func at(topic string, index int32) cluster.TopicPartition {
	return cluster.TopicPartition{Topic: topic, Partition: index}
}

// place elects a leader among replicas, all of them in sync, and tells the broker.
func (w *world) place(tp cluster.TopicPartition, leader cluster.BrokerID, replicas ...cluster.BrokerID) {
	w.t.Helper()
	epoch, known := w.epochs[tp]
	if known {
		epoch++
	}
	w.epochs[tp] = epoch
	for _, id := range replicas {
		if id != self {
			continue
		}
		code, outcomes := w.replicas.ApplyLeaderAndISR(replica.LeaderAndISR{
			Sender:     replica.Sender{ControllerID: 3, ControllerEpoch: 1, BrokerEpoch: -1},
			Partitions: []replica.PartitionState{{TopicPartition: tp, Leader: leader, LeaderEpoch: epoch, ISR: replicas, Replicas: replicas, IsNew: !known}},
		})
		if code != kerr.None || outcomes[0].Code != kerr.None {
			w.t.Fatalf("order for %s: %v, %v", tp, code, outcomes)
		}
	}
	w.cache.Apply(metadata.Update{ControllerID: 3, Brokers: w.cache.Image().Brokers(), Partitions: []metadata.PartitionUpdate{{
		TopicPartition: tp, TopicID: cluster.TopicID{15: 9}, Partition: metadata.Partition{Leader: leader, LeaderEpoch: epoch, ISR: replicas, Replicas: replicas},
	}}})
}

// topic makes this broker the only replica of a topic's partitions.
func (w *world) topic(name string, partitions int32) {
	w.t.Helper()
	for i := range partitions {
		w.place(at(name, i), self, self)
	}
}

// dial connects as a client.
func (w *world) dial(clientID string) *grpc.ClientConn {
	w.t.Helper()
	return w.dialAs(clientID, brokerToken)
}

// brokerToken is what brokers show in these tests.
func brokerToken() string { return "secret of tests" }

// dialAs connects somebody who shows that token; nil shows none.
func (w *world) dialAs(clientID string, token func() string) *grpc.ClientConn {
	w.t.Helper()
	cc, err := dial.Connect("broker:9092", dial.ClientOptions{Dial: w.net.Dialer("client"), ClientID: clientID, BrokerToken: token})
	if err != nil {
		w.t.Fatal(err)
	}
	w.conns = append(w.conns, cc)
	return cc
}

// held returns a partition of this broker.
func (w *world) held(tp cluster.TopicPartition) *replica.Partition {
	w.t.Helper()
	p, code := w.replicas.Partition(tp)
	if code != kerr.None {
		w.t.Fatalf("partition %s: %v", tp, code)
	}
	return p
}

// end returns a partition's log end offset.
func (w *world) end(tp cluster.TopicPartition) cluster.Offset {
	return w.held(tp).LogEndOffset()
}

// await waits until a condition holds that news of the partition can bring about.
func (w *world) await(tp cluster.TopicPartition, what string, condition func() bool) {
	w.t.Helper()
	p, s := w.held(tp), replica.NewSignal()
	p.Watch(s, replica.WatermarkMoved|replica.EndMoved)
	defer p.Unwatch(s)
	timeout := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-s.C():
		case <-timeout:
			w.t.Fatalf("%s: waited for 20 s in vain", what)
		}
	}
}

// batch returns a batch with a record for each value.
func batch(t testing.TB, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, 1<<20)
	for i, v := range values {
		if !b.Append(int64(1000+i), nil, []byte(v), nil) {
			t.Fatal("the batch is full")
		}
	}
	out, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantStatus fails unless err has this status.
func wantStatus(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("status %v (%v), want %v", got, err, want)
	}
}

// producer is a Produce stream with short words.
type producer struct {
	t testing.TB
	s *wire.ProduceStream
}

func (w *world) producer(cc *grpc.ClientConn) *producer {
	w.t.Helper()
	s, err := wire.OpenProduce(context.Background(), cc)
	if err != nil {
		w.t.Fatal(err)
	}
	return &producer{w.t, s}
}

func request(acks int32, tp cluster.TopicPartition, records []byte) *wire.ProduceRequest {
	return &wire.ProduceRequest{Acks: acks, TimeoutMs: 30_000, Topics: []wire.ProduceTopic{{Name: tp.Topic, Partitions: []wire.ProducePartition{{Index: tp.Partition, Records: records}}}}}
}

func (p *producer) send(r *wire.ProduceRequest) {
	p.t.Helper()
	if err := p.s.Send(r); err != nil {
		_, err := p.s.Recv()
		p.t.Fatalf("send: %v", err)
	}
}

// answer returns the next answer.
func (p *producer) answer() *ottlapb.ProduceResponse {
	p.t.Helper()
	r, err := p.s.Recv()
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return r
}

// result returns the only outcome of the next answer.
func (p *producer) result() *ottlapb.PartitionProduceResult {
	p.t.Helper()
	r := p.answer()
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		p.t.Fatalf("answer %v, want one partition", r)
	}
	return r.Topics[0].Partitions[0]
}

// put appends values with acks=1 and returns the first offset.
func (p *producer) put(tp cluster.TopicPartition, values ...string) int64 {
	p.t.Helper()
	p.send(request(1, tp, batch(p.t, values...)))
	r := p.result()
	if r.ErrorCode != 0 {
		p.t.Fatalf("produce to %s: %v", tp, r)
	}
	return r.BaseOffset
}

// fetcher is a Fetch stream with short words.
type fetcher struct {
	t testing.TB
	s *wire.FetchStream
}

func (w *world) fetcher(cc *grpc.ClientConn) *fetcher {
	w.t.Helper()
	s, err := wire.OpenFetch(context.Background(), cc)
	if err != nil {
		w.t.Fatal(err)
	}
	return &fetcher{w.t, s}
}

// want is a fetch request of a consumer for partitions, from offset on.
func want(wait time.Duration, offset int64, tps ...cluster.TopicPartition) *ottlapb.FetchRequest {
	r := &ottlapb.FetchRequest{ReplicaId: -1, BrokerEpoch: -1, MaxWaitMs: int32(wait / time.Millisecond), MinBytes: 1, MaxBytes: 50 << 20}
	for _, tp := range tps {
		r.Topics = append(r.Topics, &ottlapb.FetchTopic{Name: tp.Topic, Partitions: []*ottlapb.FetchPartition{{
			Index: tp.Partition, CurrentLeaderEpoch: -1, FetchOffset: offset, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 1 << 20,
		}}})
	}
	return r
}

// asReplica makes a request one of a follower.
func asReplica(id int32, r *ottlapb.FetchRequest) *ottlapb.FetchRequest {
	r.ReplicaId = id
	return r
}

func (f *fetcher) send(r *ottlapb.FetchRequest) {
	f.t.Helper()
	if err := f.s.Send(r); err != nil {
		_, err := f.s.Recv()
		f.t.Fatalf("send: %v", err)
	}
}

func (f *fetcher) answer() *wire.FetchResponse {
	f.t.Helper()
	r, err := f.s.Recv()
	if err != nil {
		f.t.Fatalf("receive: %v", err)
	}
	return r
}

// ask sends a request and returns its answer's only partition; nil for an answer without any.
func (f *fetcher) ask(r *ottlapb.FetchRequest) *wire.FetchPartition {
	f.t.Helper()
	f.send(r)
	return f.only(f.answer())
}

func (f *fetcher) only(r *wire.FetchResponse) *wire.FetchPartition {
	f.t.Helper()
	if len(r.Topics) == 0 {
		return nil
	}
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		f.t.Fatalf("answer %+v, want one partition", r)
	}
	return &r.Topics[0].Partitions[0]
}

// values returns the values in an answer's records.
func values(t testing.TB, p *wire.FetchPartition) []string {
	t.Helper()
	var list []string
	if p == nil {
		return nil
	}
	for rest := p.Records; len(rest) > 0; {
		b, more, err := record.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range b.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(r.Value))
		}
		rest = more
	}
	return list
}

func codeOfStatus(err error) codes.Code { return status.Code(err) }
