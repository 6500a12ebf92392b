package server

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// fakeController notes what it is asked.
type fakeController struct {
	altered state.AlterPartition
	reply   state.AlterReply

	leaving cluster.BrokerID
	epoch   cluster.BrokerEpoch
	left    []cluster.TopicPartition
	err     error
}

func (f *fakeController) AlterPartition(_ context.Context, req state.AlterPartition) state.AlterReply {
	f.altered = req
	return f.reply
}

func (f *fakeController) ControlledShutdown(_ context.Context, id cluster.BrokerID, epoch cluster.BrokerEpoch) ([]cluster.TopicPartition, error) {
	f.leaving, f.epoch = id, epoch
	return f.left, f.err
}

func controllerWorld(t *testing.T, f *fakeController) ottlapb.ControllerServiceClient {
	t.Helper()
	w := newWorld(t, func(d *Deps) { d.Controller = f })
	return ottlapb.NewControllerServiceClient(w.dial(""))
}

func TestAlterPartition(t *testing.T) {
	id := []byte("sixteen bytes!!!")
	f := &fakeController{reply: state.AlterReply{Partitions: []state.AlterResult{
		{Partition: at("orders", 3), State: state.LeaderAndISR{Leader: 1, LeaderEpoch: 4, ISR: []cluster.BrokerID{1, 2}, PartitionEpoch: 8}},
		{Partition: at("orders", 4), Code: kerr.FencedLeaderEpoch},
		{Partition: at("events", 0), State: state.LeaderAndISR{Leader: 1, LeaderEpoch: 5, ISR: []cluster.BrokerID{1}, Recovery: state.Recovering}},
	}}}
	c := controllerWorld(t, f)
	wish := func(index int32, recovery int32, isr ...*ottlapb.InSyncReplica) *ottlapb.AlterPartitionWish {
		return &ottlapb.AlterPartitionWish{Index: index, LeaderEpoch: 4, PartitionEpoch: 7, NewIsr: isr, LeaderRecoveryState: recovery, Fence: index == 4}
	}
	req := &ottlapb.AlterPartitionRequest{BrokerId: 1, BrokerEpoch: 31, Topics: []*ottlapb.AlterPartitionTopic{
		{Name: "orders", Partitions: []*ottlapb.AlterPartitionWish{wish(3, 0, &ottlapb.InSyncReplica{BrokerId: 1, BrokerEpoch: -1}, &ottlapb.InSyncReplica{BrokerId: 2, BrokerEpoch: 52}), wish(4, 0)}},
		{TopicId: id, Partitions: []*ottlapb.AlterPartitionWish{wish(0, 1, &ottlapb.InSyncReplica{BrokerId: 1})}},
	}}
	res, err := c.AlterPartition(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	asked := state.AlterPartition{Broker: 1, BrokerEpoch: 31, Partitions: []state.AlterRequest{
		{Partition: at("orders", 3), LeaderEpoch: 4, PartitionEpoch: 7, ISR: []cluster.BrokerID{1, 2}, ISREpochs: []cluster.BrokerEpoch{-1, 52}},
		{Partition: at("orders", 4), LeaderEpoch: 4, PartitionEpoch: 7, Fence: true},
		{Partition: at("", 0), TopicID: cluster.TopicID(id), LeaderEpoch: 4, PartitionEpoch: 7, ISR: []cluster.BrokerID{1}, ISREpochs: []cluster.BrokerEpoch{0}, Recovery: state.Recovering},
	}}
	if d := cmp.Diff(asked, f.altered); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	want := &ottlapb.AlterPartitionResponse{Partitions: []*ottlapb.AlterPartitionResult{
		{Topic: "orders", Index: 3, LeaderId: 1, LeaderEpoch: 4, Isr: []int32{1, 2}, PartitionEpoch: 8},
		{Topic: "orders", Index: 4, ErrorCode: int32(kerr.FencedLeaderEpoch)},
		{TopicId: id, LeaderId: 1, LeaderEpoch: 5, Isr: []int32{1}, LeaderRecoveryState: 1},
	}}
	if d := cmp.Diff(want, res, protocmp.Transform()); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	f.reply = state.AlterReply{Code: kerr.StaleBrokerEpoch}
	if res, err = c.AlterPartition(t.Context(), req); err != nil || kerr.Code(res.ErrorCode) != kerr.StaleBrokerEpoch || len(res.Partitions) != 0 {
		t.Errorf("%v, %v", res, err)
	}
	bad := &ottlapb.AlterPartitionRequest{Topics: []*ottlapb.AlterPartitionTopic{{TopicId: []byte("short")}}}
	if _, err := c.AlterPartition(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a topic id of 5 bytes: %v", err)
	}
}

func TestControlledShutdown(t *testing.T) {
	f := &fakeController{left: []cluster.TopicPartition{at("orders", 2), at("events", 0)}}
	c := controllerWorld(t, f)
	res, err := c.ControlledShutdown(t.Context(), &ottlapb.ControlledShutdownRequest{BrokerId: 2, BrokerEpoch: 17})
	if err != nil || f.leaving != 2 || f.epoch != 17 {
		t.Fatalf("%v; broker %d, epoch %d", err, f.leaving, f.epoch)
	}
	want := &ottlapb.ControlledShutdownResponse{Remaining: []*ottlapb.RemainingPartition{{Topic: "orders", Index: 2}, {Topic: "events"}}}
	if d := cmp.Diff(want, res, protocmp.Transform()); d != "" {
		t.Errorf("answered (-want +got):\n%s", d)
	}
	for _, code := range []kerr.Code{kerr.NotController, kerr.StaleBrokerEpoch, kerr.BrokerNotAvailable} {
		f.err = fmt.Errorf("prepare for the shutdown of broker 2: %w", code.Err())
		if res, err := c.ControlledShutdown(t.Context(), &ottlapb.ControlledShutdownRequest{BrokerId: 2, BrokerEpoch: 17}); err != nil || kerr.Code(res.ErrorCode) != code || len(res.Remaining) != 0 {
			t.Errorf("%v: %v, %v", code.Name(), res, err)
		}
	}
}

func TestWithoutAControllerNobodyIs(t *testing.T) {
	c := ottlapb.NewControllerServiceClient(newWorld(t).dial(""))
	if res, err := c.AlterPartition(t.Context(), &ottlapb.AlterPartitionRequest{}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
	if res, err := c.ControlledShutdown(t.Context(), &ottlapb.ControlledShutdownRequest{}); err != nil || kerr.Code(res.ErrorCode) != kerr.NotController {
		t.Errorf("%v, %v", res, err)
	}
}

// heard notes what it is told.
type heard struct {
	from   cluster.BrokerID
	report contact.Report
}

func (h *heard) Heard(from cluster.BrokerID, r contact.Report) { h.from, h.report = from, r }

func TestPing(t *testing.T) {
	h := &heard{}
	w := newWorld(t, func(d *Deps) { d.Contacts = h })
	res, err := ottlapb.NewPeerServiceClient(w.dial("")).Ping(t.Context(), &ottlapb.PingRequest{
		BrokerId: 5, Silent: []*ottlapb.SilentBroker{{BrokerId: 6, Refused: true}, {BrokerId: 7}}, DiskStalled: true,
	})
	if err != nil || res.GetBrokerId() != int32(self) {
		t.Errorf("broker %d answers, %v", res.GetBrokerId(), err)
	}
	if d := cmp.Diff(&heard{5, contact.Report{Lost: []contact.Lost{{Broker: 6, Loss: contact.Refused}, {Broker: 7, Loss: contact.Silent}}, Stalled: true}}, h, cmp.AllowUnexported(heard{})); d != "" {
		t.Error(d)
	}
	w = newWorld(t)
	if _, err := ottlapb.NewPeerServiceClient(w.dial("")).Ping(t.Context(), &ottlapb.PingRequest{}); err != nil {
		t.Errorf("without anybody to hear: %v", err)
	}
}
