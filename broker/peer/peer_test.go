package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// other is another broker, played by the test.
type other struct {
	ottlapb.UnimplementedControllerServiceServer
	ottlapb.UnimplementedFetchServiceServer

	mu       sync.Mutex
	got      []proto.Message
	sessions int
	alter    *ottlapb.AlterPartitionResponse
	shutdown *ottlapb.ControlledShutdownResponse
	offsets  map[int64]int64 // by timestamp
	code     kerr.Code       // of ListOffsets
	fetch    func(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse], req *ottlapb.FetchRequest) error
}

func (o *other) note(m proto.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got = append(o.got, proto.Clone(m))
}

func (o *other) requests() []proto.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := o.got
	o.got = nil
	return got
}

func (o *other) AlterPartition(_ context.Context, r *ottlapb.AlterPartitionRequest) (*ottlapb.AlterPartitionResponse, error) {
	o.note(r)
	return o.alter, nil
}

func (o *other) ControlledShutdown(_ context.Context, r *ottlapb.ControlledShutdownRequest) (*ottlapb.ControlledShutdownResponse, error) {
	o.note(r)
	return o.shutdown, nil
}

func (o *other) ListOffsets(_ context.Context, r *ottlapb.ListOffsetsRequest) (*ottlapb.ListOffsetsResponse, error) {
	o.note(r)
	t := r.Topics[0]
	return &ottlapb.ListOffsetsResponse{Topics: []*ottlapb.ListOffsetsTopicResult{{Name: t.Name, Partitions: []*ottlapb.ListOffsetsPartitionResult{
		{Index: t.Partitions[0].Index, Offset: o.offsets[t.Partitions[0].Timestamp], ErrorCode: int32(o.code)},
	}}}}, nil
}

func (o *other) Fetch(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse]) error {
	o.mu.Lock()
	o.sessions++
	o.mu.Unlock()
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		o.note(req)
		if err := o.fetch(stream, req); err != nil {
			return err
		}
	}
}

// town is a network of brokers.
type town struct {
	t     *testing.T
	net   *memnet.Network
	cache *metadata.Cache
	peers *Peers
}

func inTown(t *testing.T, test func(w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, net: memnet.New(), cache: metadata.NewCache()}
		w.peers = New(Config{BrokerID: 1, Metadata: w.cache, Listener: "INTERNAL", Dial: w.net.Dialer("broker-1")})
		defer w.peers.Close()
		test(w)
	})
}

// know makes brokers known, each at host-<id>, and one of them the controller.
func (w *town) know(controller cluster.BrokerID, ids ...cluster.BrokerID) {
	u := metadata.Update{ControllerID: controller}
	for _, id := range ids {
		u.Brokers = append(u.Brokers, metadata.Broker{ID: id, Endpoints: []cluster.Endpoint{
			{Listener: "CLIENTS", Host: "elsewhere", Port: 1}, {Listener: "INTERNAL", Host: fmt.Sprint("host-", id), Port: 9092},
		}})
	}
	w.cache.Apply(u)
}

func (w *town) build(addr string) *other {
	w.t.Helper()
	l, err := w.net.Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	o := &other{}
	g := grpc.NewServer(dial.ServerOptions{}.GRPC()...)
	ottlapb.RegisterControllerServiceServer(g, o)
	ottlapb.RegisterFetchServiceServer(g, o)
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(l) })
	w.t.Cleanup(func() { g.Stop(); serving.Wait() })
	return o
}

var orders3 = cluster.TopicPartition{Topic: "orders", Partition: 3}

func TestTheControllerIsWhoeverItIsNow(t *testing.T) {
	inTown(t, func(w *town) {
		two, three := w.build("host-2:9092"), w.build("host-3:9092")
		two.shutdown = &ottlapb.ControlledShutdownResponse{Remaining: []*ottlapb.RemainingPartition{{Topic: "orders", Index: 3}}}
		three.shutdown = &ottlapb.ControlledShutdownResponse{ErrorCode: int32(kerr.NotController)}
		if _, err := w.peers.ControlledShutdown(w.t.Context(), 7); err == nil {
			t.Error("there is no controller, and no error")
		}
		w.know(5, 2, 3)
		if _, err := w.peers.ControlledShutdown(w.t.Context(), 7); err == nil {
			t.Error("the controller is not alive, and no error")
		}
		w.know(2, 2, 3)
		left, err := w.peers.ControlledShutdown(w.t.Context(), 7)
		if err != nil || !cmp.Equal(left, []cluster.TopicPartition{orders3}) {
			t.Errorf("%v, %v", left, err)
		}
		want := []proto.Message{&ottlapb.ControlledShutdownRequest{BrokerId: 1, BrokerEpoch: 7}}
		if d := cmp.Diff(want, two.requests(), protocmp.Transform()); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		w.know(3, 2, 3)
		if _, err := w.peers.ControlledShutdown(w.t.Context(), 7); !errors.Is(err, kerr.NotController) {
			t.Errorf("%v", err)
		}
	})
}

func TestAlterPartition(t *testing.T) {
	inTown(t, func(w *town) {
		two := w.build("host-2:9092")
		w.know(2, 2)
		changes := []state.ISRChange{
			{TopicPartition: orders3, LeaderEpoch: 4, PartitionEpoch: 7, ISR: []cluster.BrokerID{1, 2}, Epochs: []cluster.BrokerEpoch{-1, 52}},
			{TopicPartition: cluster.TopicPartition{Topic: "orders", Partition: 4}, LeaderEpoch: 5, ISR: []cluster.BrokerID{1}, Epochs: []cluster.BrokerEpoch{-1}, Fence: true},
			{TopicPartition: cluster.TopicPartition{Topic: "events"}, LeaderEpoch: 6, ISR: []cluster.BrokerID{1}, Epochs: []cluster.BrokerEpoch{-1}},
		}
		answer := func() *ottlapb.AlterPartitionResponse {
			return &ottlapb.AlterPartitionResponse{Partitions: []*ottlapb.AlterPartitionResult{
				{Topic: "orders", Index: 3, LeaderEpoch: 4, PartitionEpoch: 8, Isr: []int32{1, 2}},
				{Topic: "orders", Index: 4, ErrorCode: int32(kerr.FencedLeaderEpoch)},
				{Topic: "events", LeaderEpoch: 6, PartitionEpoch: 1, Isr: []int32{1}},
			}}
		}
		two.alter = answer()
		got, err := w.peers.AlterPartition(w.t.Context(), 31, changes)
		if err != nil {
			t.Fatal(err)
		}
		want := []state.ISRResult{
			{LeaderEpoch: 4, PartitionEpoch: 8, ISR: []cluster.BrokerID{1, 2}}, {Code: kerr.FencedLeaderEpoch}, {LeaderEpoch: 6, PartitionEpoch: 1, ISR: []cluster.BrokerID{1}},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("answers (-want +got):\n%s", d)
		}
		asked := []proto.Message{&ottlapb.AlterPartitionRequest{BrokerId: 1, BrokerEpoch: 31, Topics: []*ottlapb.AlterPartitionTopic{
			{Name: "orders", Partitions: []*ottlapb.AlterPartitionWish{
				{Index: 3, LeaderEpoch: 4, PartitionEpoch: 7, NewIsr: []*ottlapb.InSyncReplica{{BrokerId: 1, BrokerEpoch: -1}, {BrokerId: 2, BrokerEpoch: 52}}},
				{Index: 4, LeaderEpoch: 5, Fence: true, NewIsr: []*ottlapb.InSyncReplica{{BrokerId: 1, BrokerEpoch: -1}}},
			}},
			{Name: "events", Partitions: []*ottlapb.AlterPartitionWish{{LeaderEpoch: 6, NewIsr: []*ottlapb.InSyncReplica{{BrokerId: 1, BrokerEpoch: -1}}}}},
		}}}
		if d := cmp.Diff(asked, two.requests(), protocmp.Transform()); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		for name, spoil := range map[string]func(*ottlapb.AlterPartitionResponse){
			"too few answers":      func(r *ottlapb.AlterPartitionResponse) { r.Partitions = r.Partitions[:2] },
			"another partition":    func(r *ottlapb.AlterPartitionResponse) { r.Partitions[1].Index = 9 },
			"a refusal as a whole": func(r *ottlapb.AlterPartitionResponse) { r.ErrorCode = int32(kerr.StaleBrokerEpoch) },
		} {
			two.alter = answer()
			spoil(two.alter)
			if _, err := w.peers.AlterPartition(w.t.Context(), 31, changes); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		w.net.Cut("broker-1", "host-2")
		start := time.Now()
		if _, err := w.peers.AlterPartition(w.t.Context(), 31, changes); err == nil || time.Since(start) != DefaultTimeout {
			t.Errorf("a controller that is cut off: %v after %v", err, time.Since(start))
		}
	})
}

func TestACallOfAControllerEndsWhenAnotherOneIs(t *testing.T) {
	inTown(t, func(w *town) {
		w.build("host-2:9092")
		w.know(2, 2, 3)
		if _, err := w.peers.ControlledShutdown(w.t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		w.net.Cut("broker-1", "host-2")
		for _, call := range []func() error{
			func() error {
				_, err := w.peers.AlterPartition(w.t.Context(), 31, []state.ISRChange{{TopicPartition: orders3}})
				return err
			},
			func() error {
				_, err := w.peers.ControlledShutdown(w.t.Context(), 7)
				return err
			},
		} {
			w.know(2, 2, 3)
			start := time.Now()
			time.AfterFunc(time.Second, func() { w.know(2, 2) }) // other news
			time.AfterFunc(2*time.Second, func() { w.know(3, 2, 3) })
			if err := call(); err == nil || time.Since(start) != 2*time.Second {
				t.Errorf("%v after %v, want an error after 2 s", err, time.Since(start))
			}
		}
	})
}

func TestASessionLastsUntilSomethingIsWrong(t *testing.T) {
	inTown(t, func(w *town) {
		two := w.build("host-2:9092")
		two.fetch = func(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse], req *ottlapb.FetchRequest) error {
			return stream.Send(&ottlapb.FetchResponse{ThrottleTimeMs: int32(req.GetMaxBytes())})
		}
		l := w.peers.Leader(2)
		defer l.Close()
		if _, err := l.Fetch(w.t.Context(), &FetchRequest{}); err == nil {
			t.Error("the leader is not known, and no error")
		}
		w.know(2, 2)
		req := &FetchRequest{
			BrokerEpoch: 7, MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 100, PartitionMaxBytes: 50,
			Set: []FetchPosition{
				{TopicPartition: orders3, TopicID: cluster.TopicID{1, 2}, CurrentLeaderEpoch: 4, Offset: 17, LastFetchedEpoch: 3, LogStart: 5},
				{TopicPartition: cluster.TopicPartition{Topic: "orders", Partition: 4}, LastFetchedEpoch: -1},
				{TopicPartition: cluster.TopicPartition{Topic: "events"}, CurrentLeaderEpoch: 1},
			},
			Forget: []cluster.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "b", Partition: 0}},
		}
		for n := range 3 {
			res, err := l.Fetch(w.t.Context(), req)
			if err != nil || res.ThrottleTimeMs != 100 {
				t.Fatalf("request %d: %v, %v", n, res, err)
			}
		}
		id := make([]byte, 16)
		id[0], id[1] = 1, 2
		want := &ottlapb.FetchRequest{
			ReplicaId: 1, BrokerEpoch: 7, MaxWaitMs: 500, MinBytes: 1, MaxBytes: 100,
			Topics: []*ottlapb.FetchTopic{
				{Name: "orders", TopicId: id, Partitions: []*ottlapb.FetchPartition{{Index: 3, CurrentLeaderEpoch: 4, FetchOffset: 17, LastFetchedEpoch: 3, LogStartOffset: 5, PartitionMaxBytes: 50}, {Index: 4, LastFetchedEpoch: -1, PartitionMaxBytes: 50}}},
				{Name: "events", Partitions: []*ottlapb.FetchPartition{{CurrentLeaderEpoch: 1, PartitionMaxBytes: 50}}},
			},
			Forgotten: []*ottlapb.ForgottenTopic{{Name: "a", Partitions: []int32{1, 2}}, {Name: "b", Partitions: []int32{0}}},
		}
		if d := cmp.Diff([]proto.Message{want, want, want}, two.requests(), protocmp.Transform()); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		if two.sessions != 1 || l.stream == nil {
			t.Errorf("%d sessions", two.sessions)
		}
		two.fetch = func(grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse], *ottlapb.FetchRequest) error {
			return status.Error(codes.PermissionDenied, "who are you?")
		}
		if _, err := l.Fetch(w.t.Context(), req); status.Code(errors.Unwrap(err)) != codes.PermissionDenied || (l.stream != nil) {
			t.Errorf("%v, open %v", err, (l.stream != nil))
		}
		// A leader that is silent is given up when the time for its answer is over, or when the caller wants.
		two.fetch = func(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse], _ *ottlapb.FetchRequest) error {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		start := time.Now()
		if _, err := l.Fetch(w.t.Context(), req); err == nil || time.Since(start) != DefaultTimeout+req.MaxWait {
			t.Errorf("a silent leader: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := l.Fetch(ctx, req); err == nil || time.Since(start) != time.Second || (l.stream != nil) {
			t.Errorf("a caller that has had enough: %v after %v, open %v", err, time.Since(start), (l.stream != nil))
		}
	})
}

func TestALeaderThatMovesIsFound(t *testing.T) {
	inTown(t, func(w *town) {
		answer := func(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse], _ *ottlapb.FetchRequest) error {
			return stream.Send(&ottlapb.FetchResponse{})
		}
		old, moved := w.build("host-2:9092"), w.build("new-place:9999")
		old.fetch, moved.fetch = answer, answer
		w.know(2, 2)
		l := w.peers.Leader(2)
		defer l.Close()
		if _, err := l.Fetch(w.t.Context(), &FetchRequest{}); err != nil {
			t.Fatal(err)
		}
		w.cache.Apply(metadata.Update{ControllerID: 2, Brokers: []metadata.Broker{{ID: 2, Endpoints: []cluster.Endpoint{{Listener: "INTERNAL", Host: "new-place", Port: 9999}}}}})
		l.Reset()
		if _, err := l.Fetch(w.t.Context(), &FetchRequest{}); err != nil || moved.sessions != 1 {
			t.Errorf("%v; %d sessions at the new place", err, moved.sessions)
		}
	})
}

func TestTheEndsOfALog(t *testing.T) {
	inTown(t, func(w *town) {
		two := w.build("host-2:9092")
		two.offsets = map[int64]int64{latest: 40, earliest: 7}
		w.know(2, 2)
		l := w.peers.Leader(2)
		defer l.Close()
		start, end, err := l.Ends(w.t.Context(), orders3, 4)
		if start != 7 || end != 40 || err != nil {
			t.Errorf("from %d to %d, %v", start, end, err)
		}
		for _, m := range two.requests() {
			if r := m.(*ottlapb.ListOffsetsRequest); r.ReplicaId != 1 || r.Topics[0].Partitions[0].CurrentLeaderEpoch != 4 {
				t.Errorf("asked %v", r)
			}
		}
		two.code = kerr.FencedLeaderEpoch
		if _, _, err := l.Ends(w.t.Context(), orders3, 4); !errors.Is(err, kerr.FencedLeaderEpoch) {
			t.Error(err)
		}
	})
}
