package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// idsFunc is a source of producer ids.
type idsFunc func(ctx context.Context) (cluster.ProducerID, error)

func (f idsFunc) Next(ctx context.Context) (cluster.ProducerID, error) { return f(ctx) }

func TestInitProducerID(t *testing.T) {
	next := cluster.ProducerID(41)
	var fail error
	w := newWorld(t, func(d *Deps) {
		d.ProducerIDs = idsFunc(func(context.Context) (cluster.ProducerID, error) {
			next++
			return next, fail
		})
	})
	c := ottlapb.NewTransactionServiceClient(w.dial(""))
	for _, x := range []struct {
		name string
		req  *ottlapb.InitProducerIdRequest
		fail error
		code kerr.Code
		id   int64
	}{
		{"a new producer", &ottlapb.InitProducerIdRequest{}, nil, kerr.None, 42},
		{"with the numbers that mean none", &ottlapb.InitProducerIdRequest{ProducerId: proto.Int64(-1), ProducerEpoch: proto.Int32(-1)}, nil, kerr.None, 43},
		{"with an id already", &ottlapb.InitProducerIdRequest{ProducerId: proto.Int64(43), ProducerEpoch: proto.Int32(32767)}, nil, kerr.None, 44},
		{"an id without an epoch", &ottlapb.InitProducerIdRequest{ProducerId: proto.Int64(0)}, nil, kerr.InvalidRequest, -1},
		{"an epoch without an id", &ottlapb.InitProducerIdRequest{ProducerEpoch: proto.Int32(0)}, nil, kerr.InvalidRequest, -1},
		{"an empty transactional id", &ottlapb.InitProducerIdRequest{TransactionalId: proto.String("")}, nil, kerr.InvalidRequest, -1},
		{"a transactional id", &ottlapb.InitProducerIdRequest{TransactionalId: proto.String("t"), TransactionTimeoutMs: 60000}, nil, kerr.UnsupportedVersion, -1},
		{"no ids", &ottlapb.InitProducerIdRequest{}, kerr.CoordinatorLoadInProgress.With("wait"), kerr.CoordinatorLoadInProgress, -1},
	} {
		t.Run(x.name, func(t *testing.T) {
			fail = x.fail
			res, err := c.InitProducerId(t.Context(), x.req)
			if err != nil {
				t.Fatal(err)
			}
			epoch := int32(0)
			if x.code != kerr.None {
				epoch = -1
			}
			if res.ErrorCode != int32(x.code) || res.ProducerId != x.id || res.ProducerEpoch != epoch || (res.ErrorMessage != "") != (x.code != kerr.None) {
				t.Errorf("got %v", res)
			}
		})
	}
}

func TestInitProducerIDEndsWithTheBrokerAndTheCaller(t *testing.T) {
	asked := make(chan struct{})
	w := newWorld(t, func(d *Deps) {
		d.ProducerIDs = idsFunc(func(ctx context.Context) (cluster.ProducerID, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
	})
	c := ottlapb.NewTransactionServiceClient(w.dial(""))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	ask := func() { _, err := c.InitProducerId(ctx, &ottlapb.InitProducerIdRequest{}); result <- err }
	go ask()
	<-asked
	cancel()
	if err := <-result; status.Code(err) != codes.Canceled {
		t.Errorf("the caller went: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	go ask()
	<-asked
	w.srv.Close()
	if err := <-result; status.Code(err) != codes.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the broker went: %v", err)
	}
}
