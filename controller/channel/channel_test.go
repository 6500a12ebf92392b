package channel

import (
	"context"
	"fmt"
	"slices"
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

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a broker that notes what it is ordered to do.
type receiver struct {
	ottlapb.UnimplementedControlServiceServer
	server *grpc.Server

	mu   sync.Mutex
	got  []proto.Message
	fail int       // how many calls to refuse with a transport error
	code kerr.Code // the answer to all calls
}

func (r *receiver) note(m proto.Message) (kerr.Code, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		return 0, status.Error(codes.Unavailable, "injected")
	}
	r.got = append(r.got, proto.Clone(m))
	return r.code, nil
}

// set changes how calls are answered.
func (r *receiver) set(fail int, code kerr.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.code = fail, code
}

// messages returns what was received.
func (r *receiver) messages() []proto.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) LeaderAndIsr(_ context.Context, q *ottlapb.LeaderAndIsrRequest) (*ottlapb.LeaderAndIsrResponse, error) {
	code, err := r.note(q)
	out := &ottlapb.LeaderAndIsrResponse{ErrorCode: int32(code)}
	for _, t := range q.Topics {
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, &ottlapb.PartitionError{Topic: t.Name, Index: p.Index, ErrorCode: int32(kerr.KafkaStorageError)})
		}
	}
	return out, err
}

func (r *receiver) UpdateMetadata(_ context.Context, q *ottlapb.UpdateMetadataRequest) (*ottlapb.UpdateMetadataResponse, error) {
	code, err := r.note(q)
	return &ottlapb.UpdateMetadataResponse{ErrorCode: int32(code)}, err
}

func (r *receiver) StopReplica(_ context.Context, q *ottlapb.StopReplicaRequest) (*ottlapb.StopReplicaResponse, error) {
	code, err := r.note(q)
	out := &ottlapb.StopReplicaResponse{ErrorCode: int32(code)}
	for _, p := range q.Partitions {
		out.Partitions = append(out.Partitions, &ottlapb.PartitionError{Topic: p.Topic, Index: p.Index})
	}
	return out, err
}

// rig is a network with receivers and one set of senders.
type rig struct {
	t       *testing.T
	net     *memnet.Network
	senders *Senders

	mu      sync.Mutex
	answers []state.Event
	deposed int
}

func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New()}
		r.senders = New(Config{
			ControllerID: 9, Epoch: 5, Listener: "INTERNAL", Dial: r.net.Dialer("controller"),
			Answer: func(e state.Event) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.answers = append(r.answers, e)
			},
			Deposed: func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.deposed++
			},
		})
		defer r.senders.Close()
		test(r)
	})
}

// heard returns what came back.
func (r *rig) heard() ([]state.Event, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.answers), r.deposed
}

// listen starts a receiver.
func (r *rig) listen(addr string) *receiver {
	r.t.Helper()
	l, err := r.net.Listen(addr)
	if err != nil {
		r.t.Fatal(err)
	}
	rec := &receiver{server: grpc.NewServer(dial.ServerOptions{}.GRPC()...)}
	ottlapb.RegisterControlServiceServer(rec.server, rec)
	var serving sync.WaitGroup
	serving.Go(func() { _ = rec.server.Serve(l) })
	r.t.Cleanup(func() {
		rec.server.Stop()
		serving.Wait()
	})
	return rec
}

func broker(id cluster.BrokerID, host string) state.Broker {
	return state.Broker{ID: id, Epoch: 77, Endpoints: []cluster.Endpoint{
		{Listener: "CLIENTS", SecurityProtocol: "PLAINTEXT", Host: "elsewhere", Port: 1}, {Listener: "INTERNAL", SecurityProtocol: "PLAINTEXT", Host: host, Port: 9092},
	}}
}

// brokersOnly is an order that only tells which brokers there are: its number is their count.
func brokersOnly(n int) *state.MetadataRequest {
	m := &state.MetadataRequest{}
	for id := range n {
		m.Brokers = append(m.Brokers, broker(cluster.BrokerID(id), "h"))
	}
	return m
}

// numbers returns the counts of brokers that were received.
func (r *receiver) numbers() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []int
	for _, m := range r.got {
		if u, ok := m.(*ottlapb.UpdateMetadataRequest); ok {
			out = append(out, len(u.LiveBrokers))
		}
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func upTo(n int) []int {
	var out []int
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

// sleep lets virtual time pass.
func sleep(d time.Duration) { <-time.After(d) }

func TestEverythingArrivesAsSent(t *testing.T) {
	inBubble(t, func(r *rig) {
		rec := r.listen("one:9092")
		r.senders.Add(broker(1, "one"))
		id := cluster.TopicID{3: 3}
		s := state.LeaderAndISR{Leader: 2, LeaderEpoch: 4, ISR: []cluster.BrokerID{2, 1}, Recovery: state.Recovering, ControllerEpoch: 3, PartitionEpoch: 8}
		become := &state.BecomeRequest{Leaders: []state.Broker{broker(2, "two")}}
		for index := range int32(2) {
			become.Partitions = append(become.Partitions, state.BecomePartition{
				Partition: cluster.TopicPartition{Topic: "a", Partition: index}, TopicID: id, State: s, New: index == 1,
				Assignment: state.Assignment{Replicas: []cluster.BrokerID{1, 2}, Adding: []cluster.BrokerID{1}, Removing: []cluster.BrokerID{2}},
			})
		}
		become.Partitions = append(become.Partitions, state.BecomePartition{Partition: cluster.TopicPartition{Topic: "b"}, State: state.LeaderAndISR{Leader: -1}})
		meta := &state.MetadataRequest{Brokers: []state.Broker{broker(2, "two")}, Partitions: []state.MetadataPartition{{
			Partition: cluster.TopicPartition{Topic: "a"}, TopicID: id, State: s, Replicas: []cluster.BrokerID{1, 2}, Offline: []cluster.BrokerID{1},
		}}}
		stop := &state.StopRequest{Partitions: []state.StopPartition{{Partition: cluster.TopicPartition{Topic: "a", Partition: 1}, LeaderEpoch: -2, Delete: true}}}
		for _, body := range []state.Body{become, meta, stop} {
			r.senders.Send(state.Request{Broker: 1, BrokerEpoch: 77, Body: body})
		}
		synctest.Wait()
		partition := func(index int32, isNew bool) *ottlapb.LeaderAndIsrPartition {
			return &ottlapb.LeaderAndIsrPartition{
				Index: index, ControllerEpoch: 3, LeaderId: 2, LeaderEpoch: 4, Isr: []int32{2, 1}, PartitionEpoch: 8, Replicas: []int32{1, 2},
				AddingReplicas: []int32{1}, RemovingReplicas: []int32{2}, IsNew: isNew, LeaderRecoveryState: 1,
			}
		}
		want := []proto.Message{
			&ottlapb.LeaderAndIsrRequest{
				ControllerId: 9, ControllerEpoch: 5, BrokerEpoch: 77, Sequence: 1, LiveLeaders: []*ottlapb.Node{{Id: 2, Host: "two", Port: 9092}},
				Topics: []*ottlapb.LeaderAndIsrTopic{
					{Name: "a", TopicId: id[:], Partitions: []*ottlapb.LeaderAndIsrPartition{partition(0, false), partition(1, true)}},
					{Name: "b", Partitions: []*ottlapb.LeaderAndIsrPartition{{LeaderId: -1}}},
				},
			},
			&ottlapb.UpdateMetadataRequest{
				ControllerId: 9, ControllerEpoch: 5, BrokerEpoch: 77,
				Sequence: 2, LiveBrokers: []*ottlapb.UpdateMetadataBroker{{Id: 2, Endpoints: []*ottlapb.BrokerEndpoint{
					{Listener: "CLIENTS", SecurityProtocol: "PLAINTEXT", Host: "elsewhere", Port: 1}, {Listener: "INTERNAL", SecurityProtocol: "PLAINTEXT", Host: "two", Port: 9092},
				}}},
				Topics: []*ottlapb.UpdateMetadataTopic{{Name: "a", TopicId: id[:], Partitions: []*ottlapb.UpdateMetadataPartition{
					{ControllerEpoch: 3, LeaderId: 2, LeaderEpoch: 4, Isr: []int32{2, 1}, PartitionEpoch: 8, Replicas: []int32{1, 2}, OfflineReplicas: []int32{1}},
				}}},
			},
			&ottlapb.StopReplicaRequest{
				ControllerId: 9, ControllerEpoch: 5, BrokerEpoch: 77,
				Sequence: 3, Partitions: []*ottlapb.StopReplicaPartition{{Topic: "a", Index: 1, LeaderEpoch: -2, DeletePartition: true}},
			},
		}
		got := rec.messages()
		if len(got) != len(want) {
			t.Fatalf("%d calls", len(got))
		}
		for i := range want {
			if !proto.Equal(want[i], got[i]) {
				t.Errorf("call %d\nwant %v\ngot  %v", i, want[i], got[i])
			}
		}
		answers := []state.Event{
			state.BecomeResponse{Broker: 1, BrokerEpoch: 77, Partitions: []state.PartitionError{
				{Partition: cluster.TopicPartition{Topic: "a"}, Code: kerr.KafkaStorageError}, {Partition: cluster.TopicPartition{Topic: "a", Partition: 1}, Code: kerr.KafkaStorageError},
				{Partition: cluster.TopicPartition{Topic: "b"}, Code: kerr.KafkaStorageError},
			}},
			state.StopResponse{Request: stop, Broker: 1, BrokerEpoch: 77, Partitions: []state.PartitionError{{Partition: cluster.TopicPartition{Topic: "a", Partition: 1}}}},
		}
		heard, _ := r.heard()
		equal(t, "answers", heard, answers)
	})
}

func TestOrderIsKeptOverFailures(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.senders.Add(broker(1, "one"))
		for n := range 20 {
			r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(n + 1)})
		}
		sleep(5 * time.Second) // nobody listens yet
		rec := r.listen("one:9092")
		rec.set(7, kerr.None)
		sleep(10 * time.Second)
		equal(t, "received", rec.numbers(), upTo(20))
	})
}

func TestAttemptsAreNumbered(t *testing.T) {
	inBubble(t, func(r *rig) {
		one := r.listen("one:9092")
		r.senders.Add(broker(1, "one"))
		r.senders.Add(broker(2, "two"))
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(1)})
		sleep(time.Second)
		r.senders.Send(state.Request{Broker: 2, Body: brokersOnly(1)}) // many attempts, as nobody listens
		sleep(time.Second)
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(2)})
		sleep(time.Second)
		r.senders.Add(broker(1, "one")) // another registration
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(3)})
		sleep(time.Second)
		var last int64
		for i, m := range one.messages() {
			n := m.(*ottlapb.UpdateMetadataRequest).Sequence
			if i == 0 && n != 1 || i == 1 && n < 5 || n <= last {
				t.Errorf("call %d has number %d, the one before %d", i, n, last)
			}
			last = n
		}
		equal(t, "received", one.numbers(), upTo(3))
	})
}

func TestAMuteBrokerIsTriedAgainAndDoesNotDelayOthers(t *testing.T) {
	inBubble(t, func(r *rig) {
		one, two := r.listen("one:9092"), r.listen("two:9092")
		r.senders.Add(broker(1, "one"))
		r.senders.Add(broker(2, "two"))
		r.net.Cut("controller", "one")
		body := brokersOnly(3)
		r.senders.Send(state.Request{Broker: 1, Body: body})
		r.senders.Send(state.Request{Broker: 2, Body: body})
		sleep(time.Minute)
		equal(t, "received by 1", one.numbers(), []int(nil))
		equal(t, "received by 2", two.numbers(), []int{3})
		r.net.Heal("controller", "one")
		sleep(time.Minute)
		equal(t, "received by 1", one.numbers(), []int{3})
	})
}

func TestRemovedBrokersGetNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.senders.Add(broker(1, "one"))
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(1)})
		r.senders.Remove(1)
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(2)})
		rec := r.listen("one:9092")
		sleep(10 * time.Second)
		equal(t, "received", rec.numbers(), []int(nil))
		r.senders.Add(broker(1, "one"))
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(3)})
		sleep(10 * time.Second)
		equal(t, "received", rec.numbers(), []int{3})
	})
}

func TestABrokerThatMovesIsFound(t *testing.T) {
	inBubble(t, func(r *rig) {
		one, two := r.listen("one:9092"), r.listen("two:9092")
		r.senders.Add(broker(1, "one"))
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(1)})
		synctest.Wait()
		r.senders.Move(state.Broker{ID: 1}) // no address on the listener at all
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(2)})
		sleep(time.Second)
		r.senders.Move(broker(1, "two"))
		sleep(time.Second)
		equal(t, "received at the old place", one.numbers(), []int{1})
		equal(t, "received at the new place", two.numbers(), []int{2})
	})
}

func TestABrokerThatKnowsANewerControllerIsHeard(t *testing.T) {
	inBubble(t, func(r *rig) {
		rec := r.listen("one:9092")
		rec.set(0, kerr.StaleControllerEpoch)
		r.senders.Add(broker(1, "one"))
		r.senders.Send(state.Request{Broker: 1, Body: brokersOnly(1)})
		sleep(time.Second)
		_, deposed := r.heard()
		equal(t, "heard", deposed, 1)
		equal(t, "not repeated", rec.numbers(), []int{1})
	})
}

func TestLargeOrdersAreSplit(t *testing.T) {
	inBubble(t, func(r *rig) {
		rec := r.listen("one:9092")
		r.senders.Add(broker(1, "one"))
		body := brokersOnly(1)
		const n = 2*maxPartitions + 1
		for index := range int32(n) {
			body.Partitions = append(body.Partitions, state.MetadataPartition{Partition: cluster.TopicPartition{Topic: fmt.Sprint("t", index/30_000), Partition: index}})
		}
		r.senders.Send(state.Request{Broker: 1, Body: body})
		sleep(time.Minute)
		seen := map[int32]bool{}
		for _, m := range rec.messages() {
			u := m.(*ottlapb.UpdateMetadataRequest)
			equal(t, "brokers", len(u.LiveBrokers), 1)
			for _, topic := range u.Topics {
				for _, p := range topic.Partitions {
					if topic.Name != fmt.Sprint("t", p.Index/30_000) || seen[p.Index] {
						t.Fatalf("%s %d", topic.Name, p.Index)
					}
					seen[p.Index] = true
				}
			}
		}
		equal(t, "calls", len(rec.messages()), 3)
		equal(t, "partitions", len(seen), n)
	})
}

func TestOneBodyForManyBrokersIsTurnedIntoMessagesOnce(t *testing.T) {
	s := New(Config{Listener: "INTERNAL"})
	defer s.Close()
	body := brokersOnly(2)
	var orders []*order
	for id := range cluster.BrokerID(3) {
		s.Add(broker(id, "nowhere"))
		s.Send(state.Request{Broker: id, Body: body})
		orders = append(orders, s.lastOrder)
	}
	if len(slices.Compact(orders)) != 1 {
		t.Fatal("made more than once")
	}
}
