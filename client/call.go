package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Target says which broker a call is for.
type Target struct {
	kind targetKind
	id   cluster.BrokerID
}

type targetKind int8

const (
	toAny targetKind = iota
	toController
	toBroker
)

// AnyBroker is a target that any broker will do for.
var AnyBroker = Target{kind: toAny}

// Controller is the broker that is the controller when the call is made.
var Controller = Target{kind: toController}

// OnBroker is one broker.
func OnBroker(id cluster.BrokerID) Target { return Target{kind: toBroker, id: id} }

// API is the unary services of one broker.
type API struct {
	// Broker is the broker's id.
	Broker cluster.BrokerID
	// Metadata is MetadataService.
	Metadata ottlapb.MetadataServiceClient
	// Topics is TopicService.
	Topics ottlapb.TopicServiceClient
	// Partitions is PartitionService.
	Partitions ottlapb.PartitionServiceClient
	// Fetch is FetchService, for its unary calls.
	Fetch ottlapb.FetchServiceClient
	// Transactions is TransactionService.
	Transactions ottlapb.TransactionServiceClient
}

// Do makes a call and repeats it while it fails with a retriable error: f gets the services of a broker that fits the target, and a context
// that ends after the request timeout. Before a retry Do waits (see [RetryBackoff]) and, if the error asks for it, fetches new metadata. It
// gives up when ctx ends or the API timeout has passed. f runs several times and must not collect anything before it has succeeded. Errors
// come back as [*Error] with the given operation.
func (c *Client) Do(ctx context.Context, to Target, op string, f func(ctx context.Context, api *API) error) error {
	limit, cancel := context.WithTimeout(ctx, c.cfg.apiTimeout)
	defer cancel()
	start := time.Now()
	var before error // of the last attempt that was not cut off
	for attempt := 1; ; attempt++ {
		broker, err := c.attempt(limit, to, f)
		if err == nil {
			return nil
		}
		if limit.Err() != nil && errors.Is(err, limit.Err()) {
			err = outOfTime(ctx, err, before, time.Since(start))
		}
		fail := func() error { return &Error{Op: op, Broker: broker, Err: err} }
		if limit.Err() != nil || !Retriable(err) {
			return fail()
		}
		c.cfg.logger.Debug("call failed, trying again", "operation", op, "broker", broker, "attempt", attempt, "error", err)
		if stale(err) {
			c.RequestRefresh()
		}
		if Sleep(limit, c.cfg.backoff.Wait(attempt)) != nil {
			err = fmt.Errorf("gave up after %v: %w", time.Since(start).Round(time.Millisecond), err)
			return fail()
		}
		before = err
	}
}

// outOfTime is the error of a call whose time was over during an attempt. That the last attempt got no answer must not hide why the one before it failed,
// which is what a user can do something about; before is nil if there was none. When ctx has ended, the error is still err.
func outOfTime(ctx context.Context, err, before error, took time.Duration) error {
	switch {
	case ctx.Err() != nil && before == nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w; the attempt before failed with: %v", err, before)
	}
	message := fmt.Sprintf("no answer within %v", took.Round(time.Millisecond))
	if before != nil {
		message += fmt.Sprintf("; the attempt before failed with: %v", before)
	}
	return kerr.RequestTimedOut.With(message)
}

// stale reports whether an error means that the metadata is out of date.
func stale(err error) bool {
	code := kerr.CodeOf(err)
	return code.InvalidMetadata() || code == kerr.NotController || code == kerr.RequestTimedOut
}

func (c *Client) attempt(ctx context.Context, to Target, f func(context.Context, *API) error) (cluster.BrokerID, error) {
	if c.ctx.Err() != nil {
		return cluster.NoBroker, ErrClosed
	}
	id, err := c.choose(to)
	if err != nil {
		return cluster.NoBroker, err
	}
	cc, addr, err := c.conn(id, LaneControl)
	if err != nil {
		return id, err
	}
	actx, cancel := context.WithTimeout(ctx, c.cfg.requestTimeout)
	defer cancel()
	err = f(actx, newAPI(id, cc))
	if err != nil && !hasCode(err) {
		err = Transport(ctx, addr, err)
	}
	if ctx.Err() == nil {
		c.meta.noteAnswer(addr, !unreachable(err))
	}
	return id, err
}

// unreachable reports whether an error means that nobody has answered.
func unreachable(err error) bool {
	var e *TransportError
	return errors.As(err, &e) && (e.Code == kerr.NetworkException || e.Code == kerr.RequestTimedOut)
}

// hasCode reports whether err carries a code of its own and is not gRPC's.
func hasCode(err error) bool {
	var e *kerr.Error
	var c kerr.Code
	return errors.As(err, &e) || errors.As(err, &c)
}

func newAPI(id cluster.BrokerID, cc grpc.ClientConnInterface) *API {
	return &API{
		Broker:       id,
		Metadata:     ottlapb.NewMetadataServiceClient(cc),
		Topics:       ottlapb.NewTopicServiceClient(cc),
		Partitions:   ottlapb.NewPartitionServiceClient(cc),
		Fetch:        ottlapb.NewFetchServiceClient(cc),
		Transactions: ottlapb.NewTransactionServiceClient(cc),
	}
}

// choose resolves a target. Any broker is one that has answered when it was last asked, if there is one.
func (c *Client) choose(to Target) (cluster.BrokerID, error) {
	v := c.meta.view.Load()
	switch to.kind {
	case toBroker:
		return to.id, nil
	case toController:
		if v.controller < 0 {
			c.RequestRefresh()
			return cluster.NoBroker, kerr.NotController.With("the brokers do not know who the controller is")
		}
		return v.controller, nil
	}
	if len(v.brokers) == 0 {
		c.RequestRefresh()
		return cluster.NoBroker, kerr.NetworkException.With("no broker is known")
	}
	first := c.meta.mutesLast(v.addrs())[0]
	i := slices.IndexFunc(v.brokers, func(b Broker) bool { return b.Addr() == first })
	return v.brokers[i].ID, nil
}
