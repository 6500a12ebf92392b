package server

import (
	"context"
	"runtime/debug"

	"google.golang.org/grpc"
)

// recoverUnary ends a call that panics with INTERNAL.
func (s *Server) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (_ any, err error) {
	defer s.rescue(info.FullMethod, &err)
	return handle(ctx, req)
}

// recoverStream ends a stream whose handler panics with INTERNAL.
func (s *Server) recoverStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer s.rescue(info.FullMethod, &err)
	return handle(srv, stream)
}

// rescue is deferred: it turns a panic into an error and logs the stack. The goroutines that streams start defer it as well.
func (s *Server) rescue(call string, err *error) {
	if v := recover(); v != nil {
		s.log.Error("call panicked", "call", call, "panic", v, "stack", string(debug.Stack()))
		*err = crashed()
	}
}
