package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// adminClientID is the client.id whose requests may write to the coordinators' topics, as in Kafka.
const adminClientID = "__admin_client"

// Produce appends batches in the order in which they come and answers in that order (F§3.6).
//
// The stream's receiver appends each request and lets go of its batches. What needs no waiting, while nothing waits before it, it
// answers at once; everything else it hands to the handler, which waits for the high watermark. A request that was begun is carried
// out and answered even if the broker shuts down, and none is begun after that.
func (s *Server) Produce(stream grpc.BidiStreamingServer[ottlapb.ProduceRequest, ottlapb.ProduceResponse]) error {
	if !s.enter(2) {
		return goingAway()
	}
	defer s.running.Done()
	p := s.newProduceStream(stream, s.limits.InFlight)
	go p.receive()
	defer p.end()
	return p.answerAll()
}

// produceStream is one Produce stream.
type produceStream struct {
	srv    *Server
	stream grpc.ServerStream
	out    *outlet
	admin  bool

	slots   chan struct{}   // a token for each request that was received and not answered
	queue   chan *producing // requests to be answered, in order; has room for all tokens
	waiting atomic.Int32    // requests in queue or being answered by the handler
	free    sync.Pool       // *producing

	// work is a mutex that the receiver holds while it appends, queues or answers. Appends wait for a disk, so waiting for it is a channel operation.
	work chan struct{}
	over bool // guarded by work: the handler is leaving, nothing may be begun

	fate error // why the receiver stopped; set before queue is closed
}

func (s *Server) newProduceStream(stream grpc.ServerStream, inFlight int) *produceStream {
	return &produceStream{
		srv: s, stream: stream, out: s.newOutlet(stream.Context()),
		admin: dial.ClientID(stream.Context()) == adminClientID,
		slots: make(chan struct{}, inFlight),
		queue: make(chan *producing, inFlight),
		work:  make(chan struct{}, 1),
	}
}

// receive is the receiver's goroutine.
func (p *produceStream) receive() {
	defer p.srv.running.Done()
	defer close(p.queue)
	defer p.srv.rescue(ottlapb.ProduceService_Produce_FullMethodName, &p.fate)
	ctx := p.stream.Context()
	var req wire.ProduceRequest
	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			p.fate = ended(ctx.Err())
			return
		}
		if err := p.srv.received.room(ctx); err != nil {
			p.fate = ended(err)
			return
		}
		if err := p.stream.RecvMsg(&req); err != nil {
			if !errors.Is(err, io.EOF) {
				p.fate = ended(err)
			}
			return
		}
		goOn, err := p.take(&req)
		if !goOn {
			p.fate = err
			return
		}
	}
}

// take carries a request out: append, let go of the batches, then answer or queue. It returns false when the stream is to end.
func (p *produceStream) take(req *wire.ProduceRequest) (goOn bool, err error) {
	defer req.Release()
	p.work <- struct{}{}
	defer func() { <-p.work }()
	if p.over {
		return false, nil
	}
	size := int64(req.Size())
	p.srv.received.add(size)
	item := p.item()
	func() {
		defer p.srv.received.add(-size)
		p.appendAll(req, item)
		req.Release()
	}()
	switch {
	case req.Acks == int32(replica.AcksNone):
		defer p.recycle(item)
		return item.failed == nil, item.failed
	case p.waiting.Load() > 0 || !item.settle():
		p.waiting.Add(1)
		p.queue <- item // never blocks: the request holds a token
		return true, nil
	}
	defer p.recycle(item)
	if err := p.send(item); err != nil {
		return false, ended(err)
	}
	return true, nil
}

// end makes sure that nothing is begun any more: the handler is about to leave.
func (p *produceStream) end() {
	p.work <- struct{}{}
	p.over = true
	<-p.work
}

// answerAll is the handler's loop: it answers what is queued.
func (p *produceStream) answerAll() error {
	w := newAckWait(p.stream.Context(), p.srv.closing)
	defer w.stop()
	for {
		select {
		case item, ok := <-p.queue:
			if !ok {
				return p.fate
			}
			if err := p.answer(item, w); err != nil {
				return err
			}
		case <-p.srv.closing.Done():
			p.end()
			return p.answerRest(w)
		}
	}
}

// answerRest answers what was queued before the end.
func (p *produceStream) answerRest(w *ackWait) error {
	for {
		select {
		case item, ok := <-p.queue:
			if !ok {
				return p.fate
			}
			if err := p.answer(item, w); err != nil {
				return err
			}
		default:
			return goingAway()
		}
	}
}

func (p *produceStream) answer(item *producing, w *ackWait) error {
	defer p.recycle(item)
	if err := item.await(w); err != nil {
		return ended(err)
	}
	err := p.send(item)
	p.waiting.Add(-1)
	if err != nil {
		return ended(err)
	}
	return nil
}

func (p *produceStream) send(item *producing) error {
	return p.out.send(func() error { return p.stream.SendMsg(&item.response) })
}

// item returns an empty producing.
func (p *produceStream) item() *producing {
	if item, ok := p.free.Get().(*producing); ok {
		return item
	}
	return &producing{srv: p.srv}
}

// recycle ends a request: its answer was sent, or there is none.
func (p *produceStream) recycle(item *producing) {
	item.reset()
	p.free.Put(item)
	<-p.slots
}

// ackWait is what a handler waits with: one signal and one timer for all requests of a stream.
type ackWait struct {
	ctx     context.Context
	closing context.Context
	cancel  context.CancelFunc
	unhook  func() bool
	signal  *replica.Signal
	timer   *time.Timer
}

func newAckWait(ctx, closing context.Context) *ackWait {
	w := &ackWait{closing: closing, signal: replica.NewSignal()}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.unhook = context.AfterFunc(closing, w.cancel)
	w.timer = time.NewTimer(time.Hour)
	w.timer.Stop()
	return w
}

func (w *ackWait) stop() {
	w.unhook()
	w.cancel()
	w.timer.Stop()
}

// await waits for one batch. While the broker shuts down the leadership counts as lost: another leader will know.
func (w *ackWait) await(wait replica.Wait) (kerr.Code, error) {
	code, err := wait.Await(w.ctx, w.signal, w.timer.C)
	if err != nil && w.closing.Err() != nil {
		return kerr.NotLeaderOrFollower, nil
	}
	return code, err
}
