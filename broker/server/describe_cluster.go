package server

import (
	"context"

	"github.com/ottla/ottla/proto/ottlapb"
)

// DescribeCluster lists the brokers, the controller and the cluster's id.
func (s *Server) DescribeCluster(ctx context.Context, _ *ottlapb.DescribeClusterRequest) (*ottlapb.DescribeClusterResponse, error) {
	image := s.deps.Metadata.Image()
	return &ottlapb.DescribeClusterResponse{
		ClusterId: image.ClusterID(), ControllerId: int32(image.ControllerID()), Brokers: nodes(image, s.listenerOf(ctx)),
	}, nil
}
