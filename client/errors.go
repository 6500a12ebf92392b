package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// ErrClosed is returned by operations on a client, producer or consumer that has been closed, and given to records that were still
// unsent when their producer was closed. It is not retriable.
var ErrClosed = errors.New("the client is closed")

// Error is a failed operation: what was being done, where, and why it failed.
type Error struct {
	// Op is what was being done, for example "produce" or "list offsets".
	Op string
	// Broker is the broker that it was asked of; [cluster.NoBroker] when it did not get that far.
	Broker cluster.BrokerID
	// TopicPartition is what it concerned; the zero value when it concerned no single partition.
	TopicPartition cluster.TopicPartition
	// Err is the reason, never nil. Mostly it carries a [kerr.Code].
	Err error
}

// Error returns the operation, the partition and broker if there are any, and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.TopicPartition.Topic != "" {
		b.WriteString(" " + e.TopicPartition.String())
	}
	if e.Broker != cluster.NoBroker {
		fmt.Fprintf(&b, ", broker %d", e.Broker)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Retriable reports whether the same operation can succeed when it is tried again; see [Retriable].
func (e *Error) Retriable() bool { return Retriable(e.Err) }

// Retriable reports whether the operation that failed with err can succeed when it is tried again. It is true for errors with a
// retriable code (F§8) and for lost connections, false for nil, for ended contexts and for [ErrClosed].
func Retriable(err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return kerr.CodeOf(err).Retriable()
}

// TransportError is a call that got no answer: the broker could not be reached, the connection broke, or gRPC refused the call. Its
// outcome is unknown unless the code says otherwise. errors.Is works against its code and against the cause.
type TransportError struct {
	// Addr is the address of the broker.
	Addr string
	// Code is the nearest code of the protocol: NETWORK_EXCEPTION for lost connections, REQUEST_TIMED_OUT for no answer in time,
	// SASL_AUTHENTICATION_FAILED and CLUSTER_AUTHORIZATION_FAILED for refusals, MESSAGE_TOO_LARGE for messages beyond a limit,
	// UNSUPPORTED_VERSION for calls that the broker does not know.
	Code kerr.Code
	// Cause is gRPC's error.
	Cause error
}

// Error returns the address and the reason in words.
func (e *TransportError) Error() string {
	reason := e.Cause.Error()
	if s, ok := status.FromError(e.Cause); ok {
		reason = s.Message()
	}
	// gRPC wraps the dialer's error twice: connection error: desc = "transport: Error while dialing: dial tcp …: connection refused"
	if _, inner, ok := strings.Cut(reason, "Error while dialing: "); ok {
		return strings.TrimSuffix(inner, `"`)
	}
	if errors.Is(e.Cause, io.EOF) {
		reason = "the broker ended the stream"
	}
	return e.Addr + ": " + reason
}

// Unwrap returns the code and the cause.
func (e *TransportError) Unwrap() []error { return []error{e.Code, e.Cause} }

// statusCodes maps what gRPC says about a call to the protocol's codes (F§8). Everything that is not listed means that the connection
// cannot be trusted and reads as NETWORK_EXCEPTION.
var statusCodes = map[codes.Code]kerr.Code{
	codes.DeadlineExceeded:  kerr.RequestTimedOut,
	codes.Unauthenticated:   kerr.SASLAuthenticationFailed,
	codes.PermissionDenied:  kerr.ClusterAuthorizationFailed,
	codes.Unimplemented:     kerr.UnsupportedVersion,
	codes.InvalidArgument:   kerr.InvalidRequest,
	codes.ResourceExhausted: kerr.ThrottlingQuotaExceeded,
}

// Transport turns an error of gRPC into a [*TransportError]. If ctx has ended, that is the reason and ctx's error is returned. A nil error
// stays nil. It is for the packages below client that hold streams.
func Transport(ctx context.Context, addr string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var known *TransportError
	if errors.As(err, &known) {
		return err
	}
	code := kerr.NetworkException
	if s, ok := status.FromError(err); ok {
		if c, ok := statusCodes[s.Code()]; ok {
			code = c
		}
		if s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max") {
			code = kerr.MessageTooLarge
		}
	}
	return &TransportError{Addr: addr, Code: code, Cause: err}
}
