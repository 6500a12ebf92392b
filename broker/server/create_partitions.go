package server

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/ottlapb"
)

// CreatePartitions is answered with UNIMPLEMENTED until the controller can do it.
func (s *Server) CreatePartitions(context.Context, *ottlapb.CreatePartitionsRequest) (*ottlapb.CreatePartitionsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "this broker cannot create partitions")
}
