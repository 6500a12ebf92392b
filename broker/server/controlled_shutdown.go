package server

import (
	"context"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ControlledShutdown takes the announcement of a broker that it is about to stop (F§2.11).
func (s *Server) ControlledShutdown(ctx context.Context, req *ottlapb.ControlledShutdownRequest) (*ottlapb.ControlledShutdownResponse, error) {
	if s.deps.Controller == nil {
		return &ottlapb.ControlledShutdownResponse{ErrorCode: int32(kerr.NotController)}, nil
	}
	left, err := s.deps.Controller.ControlledShutdown(ctx, cluster.BrokerID(req.GetBrokerId()), cluster.BrokerEpoch(req.GetBrokerEpoch()))
	if err != nil {
		return &ottlapb.ControlledShutdownResponse{ErrorCode: int32(kerr.CodeOf(err))}, nil
	}
	res := &ottlapb.ControlledShutdownResponse{}
	for _, tp := range left {
		res.Remaining = append(res.Remaining, &ottlapb.RemainingPartition{Topic: tp.Topic, Index: tp.Partition})
	}
	return res, nil
}
