package server

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// malformed is the end of a call whose request makes no sense as a whole.
func malformed(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, kerr.InvalidRequest.Name()+": "+fmt.Sprintf(format, args...))
}

// tooMany is the end of a call whose request lists more than it may.
func tooMany(what string, n, limit int) error {
	return malformed("%d %s in one request, the limit is %d", n, what, limit)
}

// forbidden is the end of a call that the caller must not make.
func forbidden(code kerr.Code, format string, args ...any) error {
	return status.Error(codes.PermissionDenied, code.Name()+": "+fmt.Sprintf(format, args...))
}

// unacknowledged is the end of a Produce stream after a request with acks=0 failed. The client has no other way to learn that its
// metadata is out of date.
func unacknowledged(code kerr.Code, tp cluster.TopicPartition) error {
	return status.Error(codes.FailedPrecondition, fmt.Sprintf("%s: a request without acknowledgement failed for %s", code.Name(), tp))
}

// refused is the end of a call that has no other place for a code.
func refused(code kerr.Code, format string, args ...any) error {
	c := codes.FailedPrecondition
	switch {
	case code == kerr.UnknownTopicOrPartition || code == kerr.UnknownTopicID:
		c = codes.NotFound
	case code == kerr.OffsetOutOfRange:
		c = codes.OutOfRange
	case code == kerr.InvalidTopicException || code == kerr.InvalidRequest:
		c = codes.InvalidArgument
	case code == kerr.UnknownServerError || code == kerr.KafkaStorageError:
		c = codes.Internal
	}
	return status.Error(c, code.Name()+": "+fmt.Sprintf(format, args...))
}

// goingAway is the end of a stream of a broker that shuts down.
func goingAway() error { return status.Error(codes.Unavailable, "the broker is shutting down") }

// crashed is the end of a call that panicked.
func crashed() error {
	return status.Error(codes.Internal, "internal error of the broker, see its log")
}

// ended turns the error of a context or stream into the end of a call.
func ended(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the caller's deadline has passed")
	}
	return status.Error(codes.Internal, err.Error())
}

// outcome returns the code of an error from an inner room and what to tell the client about it: what an error with a code of its own
// says, and nothing of others, which may name files of the broker.
func outcome(err error) (code kerr.Code, message string) {
	if err == nil {
		return kerr.None, ""
	}
	var e *kerr.Error
	if errors.As(err, &e) {
		return e.Code, e.Text()
	}
	code = kerr.CodeOf(err)
	return code, code.Message()
}

// leaderHint tells a client that asked the wrong broker, or is behind the times, what this broker knows; nil with any other code.
func (s *Server) leaderHint(code kerr.Code, tp cluster.TopicPartition) *ottlapb.LeaderHint {
	if code != kerr.NotLeaderOrFollower && code != kerr.FencedLeaderEpoch {
		return nil
	}
	leader, epoch, ok := s.deps.Replicas.LeaderHint(tp)
	if !ok {
		return nil
	}
	return &ottlapb.LeaderHint{LeaderId: int32(leader), LeaderEpoch: int32(epoch)}
}
