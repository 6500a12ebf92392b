package server

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// leadOrder orders broker 1 to lead partitions of orders.
func leadOrder(controllerEpoch, leaderEpoch int32, indexes ...int32) *ottlapb.LeaderAndIsrRequest {
	t := &ottlapb.LeaderAndIsrTopic{Name: "orders", TopicId: []byte("sixteen bytes!!!")}
	for _, i := range indexes {
		t.Partitions = append(t.Partitions, &ottlapb.LeaderAndIsrPartition{
			Index: i, ControllerEpoch: controllerEpoch, LeaderId: 1, LeaderEpoch: leaderEpoch, Isr: []int32{1}, Replicas: []int32{1, 2}, IsNew: leaderEpoch == 0,
		})
	}
	return &ottlapb.LeaderAndIsrRequest{ControllerId: 3, ControllerEpoch: controllerEpoch, BrokerEpoch: -1, Topics: []*ottlapb.LeaderAndIsrTopic{t}}
}

func TestTheControllersOrders(t *testing.T) {
	w := newWorld(t)
	ctx, c := context.Background(), ottlapb.NewControlServiceClient(w.dial(""))

	res, err := c.LeaderAndIsr(ctx, leadOrder(5, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	expect := &ottlapb.LeaderAndIsrResponse{Partitions: []*ottlapb.PartitionError{{Topic: "orders", Index: 0}, {Topic: "orders", Index: 1}}}
	if diff := cmp.Diff(expect, res, protocmp.Transform()); diff != "" {
		t.Errorf("LeaderAndIsr (-want +got):\n%s", diff)
	}
	update := &ottlapb.UpdateMetadataRequest{ControllerId: 3, ControllerEpoch: 5, BrokerEpoch: -1,
		LiveBrokers: []*ottlapb.UpdateMetadataBroker{{Id: 1, Rack: "r", Endpoints: []*ottlapb.BrokerEndpoint{{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "me", Port: 9092}}}},
		Topics: []*ottlapb.UpdateMetadataTopic{{Name: "orders", TopicId: []byte("sixteen bytes!!!"), Partitions: []*ottlapb.UpdateMetadataPartition{
			{Index: 0, ControllerEpoch: 5, LeaderId: 1, Isr: []int32{1}, Replicas: []int32{1, 2}, OfflineReplicas: []int32{2}},
			{Index: 1, ControllerEpoch: 5, LeaderId: 1, Isr: []int32{1}, Replicas: []int32{1, 2}, OfflineReplicas: []int32{2}},
		}}},
	}
	if u, err := c.UpdateMetadata(ctx, update); err != nil || u.ErrorCode != 0 {
		t.Fatalf("UpdateMetadata: %v, %v", u, err)
	}
	meta, err := w.metadata(&ottlapb.MetadataRequest{Topics: []string{"orders"}})
	if err != nil {
		t.Fatal(err)
	}
	part := func(i int32) *ottlapb.PartitionMetadata {
		return &ottlapb.PartitionMetadata{Index: i, LeaderId: 1, Replicas: []int32{1, 2}, Isr: []int32{1}, OfflineReplicas: []int32{2}}
	}
	seen := &ottlapb.MetadataResponse{
		Brokers: []*ottlapb.Node{{Id: 1, Host: "me", Port: 9092, Rack: "r"}}, ClusterId: "cluster-of-tests", ControllerId: 3,
		Topics: []*ottlapb.TopicMetadata{{Name: "orders", TopicId: []byte("sixteen bytes!!!"), Partitions: []*ottlapb.PartitionMetadata{part(0), part(1)}}},
	}
	if diff := cmp.Diff(seen, meta, protocmp.Transform()); diff != "" {
		t.Errorf("metadata afterwards (-want +got):\n%s", diff)
	}
	w.producer(w.dial("")).put(orders0, "works")

	// A deposed controller changes nothing.
	if res, err := c.LeaderAndIsr(ctx, leadOrder(4, 7, 0)); err != nil || kerr.Code(res.ErrorCode) != kerr.StaleControllerEpoch || len(res.Partitions) != 0 {
		t.Errorf("LeaderAndIsr of a deposed controller: %v, %v", res, err)
	}
	update.ControllerEpoch, update.LiveBrokers = 4, nil
	if res, err := c.UpdateMetadata(ctx, update); err != nil || kerr.Code(res.ErrorCode) != kerr.StaleControllerEpoch {
		t.Errorf("UpdateMetadata of a deposed controller: %v, %v", res, err)
	}
	stop := &ottlapb.StopReplicaRequest{ControllerId: 3, ControllerEpoch: 4, BrokerEpoch: -1, Partitions: []*ottlapb.StopReplicaPartition{{Topic: "orders", Index: 0, LeaderEpoch: -2, DeletePartition: true}}}
	if res, err := c.StopReplica(ctx, stop); err != nil || kerr.Code(res.ErrorCode) != kerr.StaleControllerEpoch || len(res.Partitions) != 0 {
		t.Errorf("StopReplica of a deposed controller: %v, %v", res, err)
	}
	if n := len(w.cache.Image().Brokers()); n != 1 || w.end(orders0) != 1 {
		t.Errorf("afterwards there are %d brokers and %d records", n, w.end(orders0))
	}

	// The deletion of the topic.
	stop.ControllerEpoch, stop.Sequence = 5, 1
	update.ControllerEpoch, update.Sequence = 5, 2
	if res, err := c.UpdateMetadata(ctx, update); err != nil || res.ErrorCode != 0 {
		t.Errorf("UpdateMetadata: %v, %v", res, err)
	}
	if res, err := c.StopReplica(ctx, stop); err != nil || kerr.Code(res.ErrorCode) != kerr.StaleControllerEpoch {
		t.Errorf("StopReplica that was given up: %v, %v", res, err)
	}
	stop.Sequence, update.Sequence = 3, 4
	if res, err := c.StopReplica(ctx, stop); err != nil || res.ErrorCode != 0 || res.Partitions[0].ErrorCode != 0 {
		t.Errorf("StopReplica: %v, %v", res, err)
	}
	if _, ok := w.logs.Get(orders0); ok {
		t.Error("the log is still there")
	}
	for _, p := range update.Topics[0].Partitions {
		p.LeaderId = int32(cluster.LeaderDeleting)
	}
	if _, err := c.UpdateMetadata(ctx, update); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.cache.Image().Topic("orders"); ok {
		t.Error("the topic is still known")
	}
}

func TestOrdersThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	ctx, c := context.Background(), ottlapb.NewControlServiceClient(w.dial(""))
	if _, err := c.LeaderAndIsr(ctx, leadOrder(5, 3, 0)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name string
		f    func(*ottlapb.LeaderAndIsrPartition)
		want kerr.Code
	}{
		{"the leader is no replica", func(p *ottlapb.LeaderAndIsrPartition) { p.LeaderId = 9 }, kerr.InvalidRequest},
		{"the leader is not in sync", func(p *ottlapb.LeaderAndIsrPartition) { p.Isr = []int32{2} }, kerr.InvalidRequest},
		{"no replicas", func(p *ottlapb.LeaderAndIsrPartition) { p.Replicas = nil }, kerr.InvalidRequest},
		{"this broker is no replica", func(p *ottlapb.LeaderAndIsrPartition) { p.Replicas, p.Isr, p.LeaderId = []int32{2}, []int32{2}, 2 }, kerr.UnknownTopicOrPartition},
		{"an old leader epoch", func(p *ottlapb.LeaderAndIsrPartition) { p.LeaderEpoch = 2 }, kerr.StaleControllerEpoch},
		{"the same leader epoch", func(p *ottlapb.LeaderAndIsrPartition) { p.LeaderEpoch = 3 }, kerr.StaleControllerEpoch},
	} {
		order := leadOrder(5, 4, 0)
		bad.f(order.Topics[0].Partitions[0])
		res, err := c.LeaderAndIsr(ctx, order)
		if err != nil || res.ErrorCode != 0 || kerr.Code(res.Partitions[0].ErrorCode) != bad.want {
			t.Errorf("%s: %v, %v; want %v", bad.name, res, err, bad.want)
		}
	}
	if p := w.held(orders0); !p.Leads() || p.LeaderEpoch() != 3 {
		t.Errorf("leads %v in epoch %d", p.Leads(), p.LeaderEpoch())
	}
	stop := &ottlapb.StopReplicaRequest{ControllerEpoch: 5, BrokerEpoch: -1, Partitions: []*ottlapb.StopReplicaPartition{{Topic: "orders", LeaderEpoch: 2, DeletePartition: true}}}
	if res, err := c.StopReplica(ctx, stop); err != nil || kerr.Code(res.Partitions[0].ErrorCode) != kerr.FencedLeaderEpoch {
		t.Errorf("StopReplica with an old epoch: %v, %v", res, err)
	}
	if _, ok := w.logs.Get(orders0); !ok {
		t.Error("the log is gone")
	}
	order := leadOrder(5, 4, 0)
	order.Topics[0].TopicId = []byte("short")
	_, err := c.LeaderAndIsr(ctx, order)
	wantStatus(t, err, codes.InvalidArgument)
}

func TestOrdersThatAreTooLarge(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.Limits.OrderEntries = 2; d.Controller = &fakeController{} })
	ctx, cc := context.Background(), w.dial("")
	c := ottlapb.NewControlServiceClient(cc)
	wide := leadOrder(5, 0, 0)
	wide.Topics[0].Partitions[0].Replicas = make([]int32, 64)
	for what, call := range map[string]func() error{
		"LeaderAndIsr":                        func() error { _, err := c.LeaderAndIsr(ctx, leadOrder(5, 0, 0, 1, 2)); return err },
		"LeaderAndIsr with too many replicas": func() error { _, err := c.LeaderAndIsr(ctx, wide); return err },
		"StopReplica": func() error {
			_, err := c.StopReplica(ctx, &ottlapb.StopReplicaRequest{ControllerEpoch: 5, BrokerEpoch: -1, Partitions: make([]*ottlapb.StopReplicaPartition, 3)})
			return err
		},
		"UpdateMetadata": func() error {
			_, err := c.UpdateMetadata(ctx, &ottlapb.UpdateMetadataRequest{ControllerEpoch: 5, BrokerEpoch: -1, LiveBrokers: make([]*ottlapb.UpdateMetadataBroker, 3)})
			return err
		},
		"AlterPartition": func() error {
			topic := &ottlapb.AlterPartitionTopic{Name: "orders", Partitions: make([]*ottlapb.AlterPartitionWish, 3)}
			_, err := ottlapb.NewControllerServiceClient(cc).AlterPartition(ctx, &ottlapb.AlterPartitionRequest{Topics: []*ottlapb.AlterPartitionTopic{topic}})
			return err
		},
	} {
		err := call()
		t.Log(what)
		wantStatus(t, err, codes.InvalidArgument)
	}
	if n := len(w.logs.Logs()); n != 0 {
		t.Errorf("%d logs", n)
	}
	if res, err := c.LeaderAndIsr(ctx, leadOrder(1, 0, 0)); err != nil || res.ErrorCode != 0 {
		t.Errorf("the controller epoch of a refused order is remembered: %v, %v", res, err)
	}
}
