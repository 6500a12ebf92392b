package consumer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// largeAnswer is how many bytes of records an answer must hold for the next ones to be asked for ahead.
const largeAnswer = 32 << 10

// fetcher is the session with one broker. Its goroutine, run, opens streams one after another and writes to them; a reader per stream receives.
// The fields below the line are guarded by the consumer's lock.
//
// Every request of a stream gets one answer, in order. A partition notes the number of the request that declared its position
// (part.declared): an answer to an earlier request says nothing about that position and is dropped. So a seek that crosses answers on their way
// can never mistake old records for new ones.
type fetcher struct {
	consumer *Consumer
	broker   cluster.BrokerID
	wake     chan struct{} // capacity 1

	// ----
	session   map[cluster.TopicPartition]*part    // what is, or should be, in the session
	dirty     map[cluster.TopicPartition]*part    // of these, what has to be declared
	forgotten map[cluster.TopicPartition]struct{} // what has to be taken out
	sent      uint64                              // requests on the present stream
	answered  uint64                              // answers on the present stream
	held      int                                 // answers that the caller has not read to the end
	ahead     bool                                // the last answer was large: ask ahead
	failures  int                                 // streams that ended in a row without an answer
	overdue   *time.Timer                         // ends the stream when an answer is overdue
	doubt     *time.Timer                         // looks for other leaders when an answer is late; nil while there is no stream
}

// doubtAfter is how much longer than it may an answer can take until the consumer looks whether others lead by now, and how often it looks again. The
// broker may be frozen, or cut off, and then nobody says so on this stream.
const doubtAfter = 400 * time.Millisecond

// wonder asks for metadata. If it names other leaders, the manager takes their partitions to them.
func (f *fetcher) wonder() {
	f.consumer.mu.Lock()
	waits := f.doubt != nil && len(f.session) > 0
	if f.doubt != nil {
		f.doubt.Reset(doubtAfter)
	}
	f.consumer.mu.Unlock()
	if waits {
		f.consumer.cl.RequestRefresh()
	}
}

func newFetcher(c *Consumer, id cluster.BrokerID) *fetcher {
	return &fetcher{
		consumer: c, broker: id, wake: make(chan struct{}, 1),
		session: map[cluster.TopicPartition]*part{}, dirty: map[cluster.TopicPartition]*part{}, forgotten: map[cluster.TopicPartition]struct{}{},
	}
}

func (f *fetcher) notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// patience is how long an answer may take.
func (f *fetcher) patience() time.Duration {
	return f.consumer.cfg.maxWait + f.consumer.cl.RequestTimeout()
}

// run is the fetcher's goroutine. It ends with the consumer.
func (f *fetcher) run() {
	c := f.consumer
	for {
		c.mu.Lock()
		idle, failures := len(f.session) == 0, f.failures
		c.mu.Unlock()
		if idle {
			select {
			case <-f.wake:
				continue
			case <-c.ctx.Done():
				return
			}
		}
		if failures > 0 && client.Sleep(c.ctx, c.cfg.backoff.Wait(failures)) != nil {
			return
		}
		err := f.serve()
		if c.ctx.Err() != nil {
			return
		}
		f.ended(err)
	}
}

// ended prepares everything to be declared again on another stream, and passes on errors that retrying alone will not mend.
func (f *fetcher) ended(err error) {
	c := f.consumer
	c.cl.RequestRefresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.logger.Debug("fetch stream ended", "broker", f.broker, "partitions", len(f.session), "error", err)
	f.failures++
	f.ahead = false
	for tp, p := range f.session {
		switch {
		case p.replica == f.broker:
			c.leaveReplicaLocked(p, f.failures)
		case !client.Retriable(err):
			c.failLocked(p, err)
		default:
			f.dirty[tp] = p
		}
	}
	clear(f.forgotten)
	c.poke()
}

// serve opens a stream and keeps it until it ends, and returns why it did.
func (f *fetcher) serve() error {
	c := f.consumer
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	patience := f.patience()
	overdue := time.AfterFunc(patience, func() {
		cancel(kerr.RequestTimedOut.With(fmt.Sprintf("broker %d has not answered a fetch within %v", f.broker, patience)))
	})
	defer overdue.Stop()
	c.mu.Lock()
	f.doubt = time.AfterFunc(doubtAfter, f.wonder)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		f.doubt.Stop()
		f.doubt = nil
		c.mu.Unlock()
	}()
	stream, addr, err := c.cl.OpenFetch(ctx, f.broker)
	overdue.Stop()
	if err != nil {
		return err
	}
	c.mu.Lock()
	f.doubt.Stop()
	f.sent, f.answered, f.overdue = 0, 0, overdue
	c.mu.Unlock()
	ended := make(chan struct{})
	var reason error
	c.wait.Go(func() {
		defer close(ended)
		for {
			resp, err := stream.Recv()
			if err != nil {
				reason = client.Transport(ctx, addr, err)
				return
			}
			f.receive(resp)
			f.notify()
		}
	})
	var req ottlapb.FetchRequest
	for {
		for f.next(&req) {
			if err := stream.Send(&req); err != nil {
				cancel(client.Transport(ctx, addr, err))
				break
			}
		}
		select {
		case <-f.wake:
		case <-ended:
			return reason
		}
	}
}

// next fills in the next request, if one may be sent now.
func (f *fetcher) next(req *ottlapb.FetchRequest) bool {
	c := f.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(f.session) == 0 {
		return false // what is forgotten can wait
	}
	asked := int(f.sent - f.answered)
	changes := len(f.dirty)+len(f.forgotten) > 0
	switch {
	case changes && asked+f.held <= c.cfg.credits: // one more than usual, so that a seek need not wait for the caller
	case asked+f.held >= c.cfg.credits, asked > 0 && !f.ahead:
		return false
	}
	// What is asked ahead must not wait for records at the broker: a change of the session would wait behind it. So there is never more than one
	// request that waits, and the broker ends its wait when the next one changes the session.
	wait := c.cfg.maxWait
	if f.ahead {
		wait = 0
	}
	f.sent++
	f.overdue.Reset(f.patience())
	if asked == 0 {
		f.doubt.Reset(c.cfg.maxWait + doubtAfter)
	}
	*req = ottlapb.FetchRequest{
		ReplicaId:      -1,
		BrokerEpoch:    -1,
		MaxWaitMs:      int32(wait.Milliseconds()),
		MinBytes:       int32(c.cfg.minBytes),
		MaxBytes:       int32(max(1, c.cfg.maxBytes/c.cfg.credits)),
		IsolationLevel: int32(c.cfg.isolation),
		RackId:         c.rackLocked(time.Now()),
		Topics:         f.declareLocked(),
		Forgotten:      f.forgetLocked(),
	}
	return true
}

// declareLocked turns the dirty partitions into the topics of a request.
func (f *fetcher) declareLocked() []*ottlapb.FetchTopic {
	if len(f.dirty) == 0 {
		return nil
	}
	parts := make([]*part, 0, len(f.dirty))
	for _, p := range f.dirty {
		parts = append(parts, p)
	}
	clear(f.dirty)
	slices.SortFunc(parts, compareParts)
	var topics []*ottlapb.FetchTopic
	for _, p := range parts {
		var id []byte
		if !p.placed.IsZero() {
			id = p.placed[:]
		}
		if n := len(topics); n == 0 || topics[n-1].Name != p.tp.Topic || !bytes.Equal(topics[n-1].TopicId, id) {
			topics = append(topics, &ottlapb.FetchTopic{Name: p.tp.Topic, TopicId: bytes.Clone(id)})
		}
		p.declared = f.sent
		t := topics[len(topics)-1]
		t.Partitions = append(t.Partitions, &ottlapb.FetchPartition{
			Index:              p.tp.Partition,
			CurrentLeaderEpoch: int32(p.epoch),
			FetchOffset:        int64(p.fetch),
			LastFetchedEpoch:   int32(p.epochs.last()),
			LogStartOffset:     -1,
			PartitionMaxBytes:  int32(f.consumer.cfg.partitionMaxBytes),
		})
	}
	return topics
}

// forgetLocked turns the partitions that left into a request's list. Those that are declared in the same request have come back.
func (f *fetcher) forgetLocked() []*ottlapb.ForgottenTopic {
	if len(f.forgotten) == 0 {
		return nil
	}
	tps := make([]cluster.TopicPartition, 0, len(f.forgotten))
	for tp := range f.forgotten {
		if f.session[tp] == nil {
			tps = append(tps, tp)
		}
	}
	clear(f.forgotten)
	slices.SortFunc(tps, cluster.TopicPartition.Compare)
	var topics []*ottlapb.ForgottenTopic
	for _, tp := range tps {
		if n := len(topics); n == 0 || topics[n-1].Name != tp.Topic {
			topics = append(topics, &ottlapb.ForgottenTopic{Name: tp.Topic})
		}
		t := topics[len(topics)-1]
		t.Partitions = append(t.Partitions, tp.Partition)
	}
	return topics
}

// receive takes an answer apart.
func (f *fetcher) receive(resp *wire.FetchResponse) {
	c := f.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	f.answered++
	f.failures = 0
	if f.sent > f.answered {
		f.overdue.Reset(f.patience())
		f.doubt.Reset(c.cfg.maxWait + doubtAfter)
	} else {
		f.overdue.Stop()
		f.doubt.Stop()
	}
	var chunks []chunk
	bytes := 0
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			a := &t.Partitions[j]
			p := f.session[cluster.TopicPartition{Topic: t.Name, Partition: a.Index}]
			if p == nil || f.dirty[p.tp] != nil || f.answered < p.declared {
				continue // has left the session, or has been somewhere else since this was asked for
			}
			if ch, ok := f.acceptLocked(p, a); ok {
				chunks = append(chunks, ch)
				bytes += len(ch.data)
			}
		}
	}
	f.ahead = bytes >= largeAnswer
	if len(chunks) > 0 && !c.closed {
		f.held++
		chunks[len(chunks)-1].last = f
		for _, ch := range chunks {
			c.enqueueLocked(ch)
		}
	}
}

// acceptLocked takes what is said about one partition, and returns its records if there are any.
func (f *fetcher) acceptLocked(p *part, a *wire.FetchPartition) (chunk, bool) {
	c := f.consumer
	if a.ErrorCode != kerr.None {
		f.refusedLocked(p, a)
		return chunk{}, false
	}
	if a.FetchOffset != p.fetch {
		f.dirty[p.tp] = p // the broker is somewhere else: tell it again where we are
		return chunk{}, false
	}
	if a.Diverging != nil {
		c.divergedLocked(p, *a.Diverging)
		return chunk{}, false
	}
	p.topic = p.placed
	p.high.Store(int64(a.HighWatermark))
	if a.PreferredReadReplica >= 0 && a.PreferredReadReplica != f.broker {
		c.sentToLocked(p, a.PreferredReadReplica)
		return chunk{}, false
	}
	p.attempts = 0
	if len(a.Records) == 0 {
		return chunk{}, false
	}
	data, end, err := whole(a.Records, func(b record.Batch) {
		p.epochs = p.epochs.note(cluster.LeaderEpoch(b.PartitionLeaderEpoch()), max(cluster.Offset(b.BaseOffset()), p.fetch))
	})
	if err != nil && len(data) == 0 {
		c.failLocked(p, corruptAt(p.fetch, err))
		return chunk{}, false
	}
	if len(data) < len(a.Records) {
		f.dirty[p.tp] = p // the broker's idea of the next offset may differ
	}
	ch := chunk{part: p, generation: p.generation.Load(), data: data, from: p.fetch, end: end, aborted: a.Aborted, high: a.HighWatermark}
	p.fetch = max(p.fetch, end)
	return ch, true
}

// Leaders send a consumer to a replica that they can reach themselves. If the consumer cannot, after unreachable failures in a row, it does not tell
// its rack for leadersOnly: leaders then serve it.
const (
	unreachable = 2
	leadersOnly = 30 * time.Second
)

// sentToLocked goes to the replica that the leader has named, unless the metadata says that it is offline: then newer metadata is needed first.
func (c *Consumer) sentToLocked(p *part, id cluster.BrokerID) {
	now := time.Now()
	m := client.Partition{}
	if t, ok := c.cl.CachedTopic(p.tp.Topic); ok && int(p.tp.Partition) < len(t.Partitions) {
		m = t.Partitions[p.tp.Partition]
	}
	p.replica, p.replicaT = id, now.Add(c.cl.MetadataMaxAge())
	if p.mayReadFrom(id, &m, now) {
		c.cfg.logger.Debug("reading from the nearest replica", "topic-partition", p.tp, "broker", id, "leader", m.Leader)
		c.poke()
		return
	}
	c.leaveReplicaLocked(p, p.attempts)
	c.retryLocked(p, now)
}

// leaveReplicaLocked goes back to the leader because the replica that it has named cannot be read from, after so many failures in a row.
func (c *Consumer) leaveReplicaLocked(p *part, failures int) {
	if failures >= unreachable {
		c.rackless = time.Now().Add(leadersOnly)
		c.cfg.logger.Warn("the nearest replica cannot be reached, reading from leaders for a while", "broker", p.replica, "for", leadersOnly)
	}
	p.replica = cluster.NoBroker
	c.detachLocked(p)
}

// rackLocked returns the rack to tell brokers now.
func (c *Consumer) rackLocked(now time.Time) string {
	if now.Before(c.rackless) {
		return ""
	}
	return c.cfg.rack
}

// refusedLocked deals with an error code of one partition (F§3.7, F§8).
func (f *fetcher) refusedLocked(p *part, a *wire.FetchPartition) {
	c := f.consumer
	now := time.Now()
	code := a.ErrorCode
	follower := p.replica == f.broker
	p.replica = cluster.NoBroker
	switch {
	case code == kerr.OffsetOutOfRange && follower:
		// The follower may be behind: ask the leader, but not in a tight circle, because it may send us there again.
		c.detachLocked(p)
		c.retryLocked(p, now)
	case code == kerr.OffsetOutOfRange && a.FetchOffset >= 0 && a.FetchOffset != p.fetch:
		f.dirty[p.tp] = p
	case code == kerr.OffsetOutOfRange:
		c.outOfRangeLocked(p, kerr.OffsetOutOfRange.With(fmt.Sprintf("offset %d is out of range", p.fetch)))
	case code == kerr.CorruptMessage, !code.Retriable():
		c.failLocked(p, code.Err())
	default:
		c.cfg.logger.Debug("fetch refused, trying again", "topic-partition", p.tp, "broker", f.broker, "error", code.Name())
		c.detachLocked(p)
		if h := a.CurrentLeader; h != nil && c.cl.NoteLeader(p.tp, h.Leader, h.Epoch) {
			p.notBefore = time.Time{}
			c.poke()
			return
		}
		c.retryLocked(p, now)
	}
}

// outOfRangeLocked deals with a position that does not exist any more, or not yet, as lost says. What was fetched before and not given out still
// is; the reset waits in the queue behind it.
func (c *Consumer) outOfRangeLocked(p *part, lost error) {
	c.detachLocked(p)
	if c.cfg.reset == ResetNone {
		c.failLocked(p, lost)
		return
	}
	c.cfg.logger.Warn("the position is out of range, resetting it", "topic-partition", p.tp, "offset", int64(p.fetch), "to", c.cfg.reset.String(), "reason", lost)
	p.stage = stuck
	c.enqueueLocked(chunk{part: p, generation: p.generation.Load(), reset: true})
}
