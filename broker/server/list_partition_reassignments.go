package server

import (
	"context"

	"github.com/ottla/ottla/proto/ottlapb"
)

// ListPartitionReassignments shows no moves until the controller can make any.
func (s *Server) ListPartitionReassignments(context.Context, *ottlapb.ListPartitionReassignmentsRequest) (*ottlapb.ListPartitionReassignmentsResponse, error) {
	return &ottlapb.ListPartitionReassignmentsResponse{}, nil
}
