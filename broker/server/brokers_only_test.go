package server

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/ottlapb"
)

// TestForgedCalls makes every call that only brokers may make, as somebody who is none: without a token, with another one, with an empty one, and
// where the broker itself has none.
func TestForgedCalls(t *testing.T) {
	token := func(s string) func() string { return func() string { return s } }
	for name, tt := range map[string]struct{ shown, known func() string }{
		"none": {nil, brokerToken}, "another": {token("guessed"), brokerToken}, "empty": {token(""), brokerToken}, "empty and none known": {token(""), nil},
		"longer": {token(brokerToken() + "x"), brokerToken}, "nothing read yet": {token(""), token("")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(d *Deps) { d.BrokerToken = tt.known; d.Controller = &fakeController{} })
			w.topic("orders", 1)
			cc := w.dialAs("forger", tt.shown)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			control, controller := ottlapb.NewControlServiceClient(cc), ottlapb.NewControllerServiceClient(cc)
			fetch := ottlapb.NewFetchServiceClient(cc)
			for call, f := range map[string]func() error{
				"LeaderAndIsr":   func() error { _, err := control.LeaderAndIsr(ctx, &ottlapb.LeaderAndIsrRequest{}); return err },
				"UpdateMetadata": func() error { _, err := control.UpdateMetadata(ctx, &ottlapb.UpdateMetadataRequest{}); return err },
				"StopReplica":    func() error { _, err := control.StopReplica(ctx, &ottlapb.StopReplicaRequest{}); return err },
				"AlterPartition": func() error { _, err := controller.AlterPartition(ctx, &ottlapb.AlterPartitionRequest{}); return err },
				"ControlledShutdown": func() error {
					_, err := controller.ControlledShutdown(ctx, &ottlapb.ControlledShutdownRequest{})
					return err
				},
				"Ping":        func() error { _, err := ottlapb.NewPeerServiceClient(cc).Ping(ctx, &ottlapb.PingRequest{}); return err },
				"ListOffsets": func() error { _, err := fetch.ListOffsets(ctx, &ottlapb.ListOffsetsRequest{ReplicaId: 2}); return err },
				"OffsetForLeaderEpoch": func() error {
					_, err := fetch.OffsetForLeaderEpoch(ctx, &ottlapb.OffsetForLeaderEpochRequest{ReplicaId: 2})
					return err
				},
				"Fetch": func() error {
					s, err := fetch.Fetch(ctx)
					if err != nil {
						return err
					}
					if err := s.Send(&ottlapb.FetchRequest{ReplicaId: 2, BrokerEpoch: -1, MaxBytes: 1 << 20}); err != nil {
						return err
					}
					_, err = s.Recv()
					return err
				},
			} {
				if err := f(); status.Code(err) != codes.PermissionDenied {
					t.Errorf("%s: %v", call, err)
				}
			}
			// What everybody may do goes on.
			if _, err := fetch.ListOffsets(ctx, &ottlapb.ListOffsetsRequest{ReplicaId: -1}); err != nil {
				t.Errorf("a consumer: %v", err)
			}
		})
	}
}

// TestEveryServiceIsForSomebody wants a decision about each service: whether everybody may call it.
func TestEveryServiceIsForSomebody(t *testing.T) {
	forEverybody := map[string]bool{
		"ottla.v1.FetchService": true, "ottla.v1.MetadataService": true, "ottla.v1.PartitionService": true, "ottla.v1.ProduceService": true,
		"ottla.v1.RecordService": true, "ottla.v1.TopicService": true, "ottla.v1.TransactionService": true, "grpc.health.v1.Health": true,
		"grpc.reflection.v1.ServerReflection": true, "grpc.reflection.v1alpha.ServerReflection": true,
	}
	for name := range newWorld(t).grpc.GetServiceInfo() {
		if forBrokers[name] == forEverybody[name] {
			t.Errorf("%s: for brokers only %t, for everybody %t", name, forBrokers[name], forEverybody[name])
		}
	}
}
