package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// link is one produce stream. The sender's goroutine writes to it, its own goroutine, read, receives the answers, which come in the order
// of the requests. When the stream ends, for whatever reason, read fails everything that is unanswered, so that each request is
// settled exactly once and by one goroutine.
type link struct {
	sender *sender
	stream *wire.ProduceStream
	addr   string
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when read has ended

	mu       sync.Mutex
	unacked  []*inflight
	deadline *time.Timer // of the first unanswered request
	doubt    *time.Timer // runs while there is an unanswered request
	dead     bool
}

type inflight struct {
	batches []*batch
	sent    time.Time
	due     time.Time
}

// doubtAfter is how long an answer may take until the producer looks whether another broker leads by now. The leader may be frozen, or cut off,
// and then nobody says so on this stream.
const doubtAfter = 400 * time.Millisecond

// connect opens a stream to the broker, within the request timeout.
func (s *sender) connect() (*link, error) {
	ctx, cancel := context.WithCancelCause(s.producer.ctx)
	setup := time.AfterFunc(s.producer.cfg.requestTimeout, func() {
		cancel(kerr.NetworkException.With(fmt.Sprintf("no connection within %v", s.producer.cfg.requestTimeout)))
	})
	stream, addr, err := s.producer.cl.OpenProduce(ctx, s.broker)
	if !setup.Stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		return nil, s.reason(err)
	}
	l := &link{sender: s, stream: stream, addr: addr, ctx: ctx, cancel: cancel, done: make(chan struct{})}
	l.deadline = time.AfterFunc(time.Hour, l.expire)
	l.deadline.Stop()
	l.doubt = time.AfterFunc(time.Hour, l.wonder)
	l.doubt.Stop()
	s.producer.wait.Go(l.read)
	return l, nil
}

// reason turns the end of the producer into the error that its records get.
func (s *sender) reason(err error) error {
	if s.producer.ctx.Err() != nil {
		return client.ErrClosed
	}
	return err
}

// broken reports whether the stream has ended.
func (l *link) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// close ends the stream and waits until everything unanswered is settled.
func (l *link) close() {
	l.cancel(nil)
	<-l.done
}

// send queues a request. Errors are for read to find: gRPC tells why a stream ended only to the receiver.
func (l *link) send(batches []*batch) {
	s := l.sender
	answered := s.producer.cfg.acks != AcksNone
	req := s.request(batches)
	if answered && !l.enlist(batches) {
		s.forget()
		s.fail(batches, kerr.NetworkException.With("the produce stream ended"), true)
		return
	}
	err := l.stream.Send(req)
	s.forget()
	if err != nil {
		l.cancel(client.Transport(l.ctx, l.addr, err))
	}
	if answered {
		return
	}
	if err != nil {
		s.fail(batches, kerr.NetworkException.With("the produce stream ended"), false)
		return
	}
	for _, b := range batches {
		s.producer.settle(s, b, answer{base: cluster.UnknownOffset, appendTime: -1})
	}
}

// enlist expects an answer for the batches; it reports false when the stream has ended already.
func (l *link) enlist(batches []*batch) bool {
	patience := l.sender.producer.cfg.patience()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return false
	}
	l.sender.unacked.Add(1)
	now := time.Now()
	l.unacked = append(l.unacked, &inflight{batches: batches, sent: now, due: now.Add(patience)})
	if len(l.unacked) == 1 {
		l.deadline.Reset(patience)
		l.doubt.Reset(doubtAfter)
	}
	return true
}

// expire ends a stream whose answer is overdue.
func (l *link) expire() {
	l.mu.Lock()
	overdue := len(l.unacked) > 0 && !time.Now().Before(l.unacked[0].due)
	l.mu.Unlock()
	if overdue {
		l.cancel(kerr.RequestTimedOut.With(fmt.Sprintf("%s has not answered within %v", l.addr, l.sender.producer.cfg.patience())))
	}
}

// wonder looks, while the first unanswered request is late, whether one of its partitions has another leader by now: then the stream ends, and
// everything unanswered is sent again. It asks for metadata until there is an answer.
func (l *link) wonder() {
	l.mu.Lock()
	if len(l.unacked) == 0 || l.dead {
		l.mu.Unlock()
		return
	}
	first := l.unacked[0]
	late := time.Since(first.sent)
	if late < doubtAfter {
		l.doubt.Reset(doubtAfter - late)
		l.mu.Unlock()
		return
	}
	l.doubt.Reset(doubtAfter / 4)
	l.mu.Unlock()
	for _, b := range first.batches {
		b.part.mu.Lock()
		moved := b.part.moved
		b.part.mu.Unlock()
		if moved {
			l.cancel(kerr.NotLeaderOrFollower.With(fmt.Sprintf("%s has not answered for %v, and %s has another leader by now", l.addr, late.Round(time.Millisecond), b.part.id())))
			return
		}
	}
	l.sender.producer.cl.RequestRefresh()
}

// next takes the request that an answer is for.
func (l *link) next() *inflight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unacked) == 0 {
		return nil
	}
	r := l.unacked[0]
	l.unacked[0] = nil
	l.unacked = l.unacked[1:]
	if len(l.unacked) > 0 {
		l.deadline.Reset(time.Until(l.unacked[0].due))
	} else {
		l.unacked = nil
		l.deadline.Stop()
		l.doubt.Stop()
	}
	return r
}

// read receives answers until the stream ends.
func (l *link) read() {
	defer close(l.done)
	for {
		resp, err := l.stream.Recv()
		if err == nil {
			err = l.take(resp)
		} else {
			err = client.Transport(l.ctx, l.addr, err)
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

// errAnswer says that a broker does not keep to the protocol.
var errAnswer = errors.New("the answer does not fit the request")

// take hands out one answer. An answer that does not fit leaves its request unsettled for end.
func (l *link) take(resp *ottlapb.ProduceResponse) error {
	l.mu.Lock()
	var batches []*batch
	if len(l.unacked) > 0 {
		batches = l.unacked[0].batches
	}
	l.mu.Unlock()
	answers, ok := match(batches, resp)
	if !ok {
		return &client.TransportError{Addr: l.addr, Code: kerr.NetworkException, Cause: errAnswer}
	}
	l.next()
	s := l.sender
	s.unacked.Add(-1)
	for i, b := range batches {
		s.producer.settle(s, b, answers[i])
	}
	s.notify()
	return nil
}

// match puts the answers in the order of the batches.
func match(batches []*batch, resp *ottlapb.ProduceResponse) ([]answer, bool) {
	if batches == nil {
		return nil, false
	}
	answers := make([]answer, 0, len(batches))
	for _, t := range resp.GetTopics() {
		for _, p := range t.GetPartitions() {
			if len(answers) == len(batches) {
				return nil, false
			}
			b := batches[len(answers)]
			if b.part.topic.name != t.GetName() || b.part.index != p.GetIndex() {
				return nil, false
			}
			answers = append(answers, answerOf(p))
		}
	}
	return answers, len(answers) == len(batches)
}

// end settles what is unanswered when the stream has ended.
func (l *link) end(err error) {
	l.cancel(err)
	l.deadline.Stop()
	l.doubt.Stop()
	l.mu.Lock()
	l.dead = true
	left := l.unacked
	l.unacked = nil
	l.mu.Unlock()
	s := l.sender
	err = s.reason(err)
	if !errors.Is(err, client.ErrClosed) {
		s.producer.cfg.logger.Debug("produce stream ended", "broker", s.broker, "address", l.addr, "unanswered", len(left), "error", err)
		s.producer.cl.RequestRefresh()
	}
	for _, r := range left {
		s.unacked.Add(-1)
		s.fail(r.batches, err, false)
	}
	s.notify()
}
