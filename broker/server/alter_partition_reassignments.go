package server

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/ottlapb"
)

// AlterPartitionReassignments is answered with UNIMPLEMENTED until the controller can do it.
func (s *Server) AlterPartitionReassignments(context.Context, *ottlapb.AlterPartitionReassignmentsRequest) (*ottlapb.AlterPartitionReassignmentsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "this broker cannot move partitions")
}
