package server

import (
	"context"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ProducerIDs hands out producer ids. *txn.ProducerIDs is what a broker uses.
type ProducerIDs interface {
	// Next returns an id that nobody has. Its errors have a [kerr.Code], except that of ctx.
	Next(ctx context.Context) (cluster.ProducerID, error)
}

// InitProducerId gives a producer a new id with the epoch 0 (F§5.9, KIP-98). Without a transactional id it does so blindly, as Kafka does: such a
// producer raises its epoch by itself.
func (s *Server) InitProducerId(ctx context.Context, req *ottlapb.InitProducerIdRequest) (*ottlapb.InitProducerIdResponse, error) {
	id, err := s.initProducerID(ctx, req)
	switch {
	case err == nil:
		return &ottlapb.InitProducerIdResponse{ProducerId: int64(id)}, nil
	case s.closing.Err() != nil:
		return nil, goingAway()
	case ctx.Err() != nil:
		return nil, ended(ctx.Err())
	}
	code, message := outcome(err)
	return &ottlapb.InitProducerIdResponse{ErrorCode: int32(code), ErrorMessage: message, ProducerId: -1, ProducerEpoch: -1}, nil
}

func (s *Server) initProducerID(ctx context.Context, req *ottlapb.InitProducerIdRequest) (cluster.ProducerID, error) {
	hasID := req.ProducerId != nil && req.GetProducerId() != int64(cluster.NoProducerID)
	hasEpoch := req.ProducerEpoch != nil && req.GetProducerEpoch() != -1
	switch {
	case hasID != hasEpoch:
		return 0, kerr.InvalidRequest.With("producer_id and producer_epoch go together: one is given, the other is not")
	case req.TransactionalId == nil:
	case req.GetTransactionalId() == "":
		return 0, kerr.InvalidRequest.With("the transactional id is empty")
	default:
		return 0, kerr.UnsupportedVersion.With("transactions are not available yet: this broker has no transaction coordinator")
	}
	if s.deps.ProducerIDs == nil {
		return 0, kerr.CoordinatorNotAvailable
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	return s.deps.ProducerIDs.Next(ctx)
}
