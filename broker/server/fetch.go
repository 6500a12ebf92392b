package server

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// readAhead is how many requests of a stream are received before the earlier ones are answered; more stay with gRPC, whose windows
// bound them.
const readAhead = 4

// watermarkDelay is how long a follower that consumers may read from waits at most for news of nothing but the high watermark: long enough
// for many moves to make one answer.
const watermarkDelay = 10 * time.Millisecond

// Fetch is a fetch session (F§3.7): it answers every request once, with records from where the session stands.
//
// An answer waits for min_bytes until max_wait_ms have passed, something is wrong with a partition, or the client's next request
// changes the session. A follower must not send a request before it has appended what it was sent last, because its request says so: one that
// is found to is refused.
func (s *Server) Fetch(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse]) error {
	if !s.enter(2) {
		return goingAway()
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	f := &fetchStream{
		srv: s, stream: stream, requests: make(chan *ottlapb.FetchRequest, readAhead),
		timer: time.NewTimer(time.Hour),
	}
	f.timer.Stop()
	f.session = newFetchSession(s, s.newOutlet(ctx), s.listenerOf(ctx), func() error { return s.fromBroker(ctx, readingAsReplica) })
	go f.receive()
	defer f.session.close()
	defer f.timer.Stop()
	for {
		req, err := f.next()
		if req == nil {
			return err
		}
		if err := f.session.apply(req); err != nil {
			return err
		}
		if err := f.answer(ctx, req); err != nil {
			return err
		}
	}
}

// fetchStream is one Fetch stream.
type fetchStream struct {
	srv     *Server
	stream  grpc.ServerStream
	session *fetchSession
	timer   *time.Timer

	requests chan *ottlapb.FetchRequest
	early    *ottlapb.FetchRequest // taken from requests before its turn
	fate     error                 // why the receiver stopped; set before requests is closed
}

// receive is the receiver's goroutine.
func (f *fetchStream) receive() {
	defer f.srv.running.Done()
	defer close(f.requests)
	defer f.srv.rescue(ottlapb.FetchService_Fetch_FullMethodName, &f.fate)
	for {
		req := new(ottlapb.FetchRequest)
		if err := f.stream.RecvMsg(req); err != nil {
			if !errors.Is(err, io.EOF) {
				f.fate = ended(err)
			}
			return
		}
		select {
		case f.requests <- req:
		case <-f.stream.Context().Done():
			f.fate = ended(f.stream.Context().Err())
			return
		}
	}
}

// next returns the next request; nil and the end of the call when there is none.
func (f *fetchStream) next() (*ottlapb.FetchRequest, error) {
	if req := f.early; req != nil {
		f.early = nil
		return req, nil
	}
	select {
	case req, ok := <-f.requests:
		if !ok {
			return nil, f.fate
		}
		return req, nil
	case <-f.srv.closing.Done():
		return nil, goingAway()
	}
}

// answer waits for something to say and says it. ctx ends with the stream and with the broker.
func (f *fetchStream) answer(ctx context.Context, req *ottlapb.FetchRequest) error {
	wait := clampMs(req.GetMaxWaitMs(), f.srv.limits.FetchMaxWait)
	soon := wait > watermarkDelay && f.srv.deps.NearestReplica
	f.timer.Reset(wait)
	now := wait == 0
	for first := true; ; first = false {
		if f.session.reader.Replica == cluster.NoBroker {
			if err := f.srv.underWay.room(ctx); err != nil {
				return f.left(err)
			}
		}
		ready := f.session.collect(req, first)
		if !ready && f.session.starved() {
			f.session.drop()
			continue // others were faster: wait for room again
		}
		if ready || now || f.session.empty() {
			break
		}
		if soon && f.session.trails {
			f.timer.Reset(watermarkDelay)
			soon = false
		}
		f.session.drop()
		var err error
		if now, err = f.wait(ctx); err != nil {
			return err
		}
	}
	f.timer.Stop()
	if f.session.reader.Replica != cluster.NoBroker && f.ahead() {
		f.session.drop()
		return malformed("a follower sent a request before it was answered")
	}
	return ended(f.session.send(f.stream))
}

// ahead reports whether a request is here already although the current one is not answered.
func (f *fetchStream) ahead() bool { return f.early != nil || len(f.requests) > 0 }

// wait waits for news of the session's partitions. last is true when the answer must be given now.
func (f *fetchStream) wait(ctx context.Context) (last bool, err error) {
	requests := f.requests
	if f.early != nil {
		requests = nil
	}
	select {
	case <-f.session.signal.C():
		return false, nil
	case <-f.timer.C:
		return true, nil
	case req, ok := <-requests:
		if !ok {
			return true, nil // no more will come: answer what is owed
		}
		f.early = req
		return changes(req), nil
	case <-ctx.Done():
		return false, f.left(ctx.Err())
	}
}

// left returns the end of a call whose context is over: the broker is shutting down, or the caller has gone.
func (f *fetchStream) left(err error) error {
	if f.srv.closing.Err() != nil {
		return goingAway()
	}
	return ended(err)
}

// changes reports whether a request changes its session.
func changes(req *ottlapb.FetchRequest) bool {
	return len(req.GetTopics()) > 0 || len(req.GetForgotten()) > 0
}

// decodeReader decides who a session's reader is, who has come to that listener.
func (s *Server) decodeReader(req *ottlapb.FetchRequest, listener string) (replica.Reader, error) {
	r, err := s.claimed(req.GetReplicaId(), cluster.BrokerEpoch(req.GetBrokerEpoch()))
	if err != nil {
		return r, err
	}
	r.Isolation = replica.Isolation(int8(req.GetIsolationLevel()))
	if int32(r.Isolation) != req.GetIsolationLevel() || !r.Isolation.Valid() {
		return r, malformed("isolation level %d does not exist", req.GetIsolationLevel())
	}
	if r.Replica == cluster.NoBroker {
		r.Rack, r.Listener = req.GetRackId(), listener
	}
	return r, nil
}

// maxAnswered bounds the partitions of one answer, so that together with their topics they stay below what a receiver takes.
const maxAnswered = wire.MaxPartitionsPerRequest / 2
