package fakecluster

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// session is one fetch stream.
type session struct {
	services *services
	order    []cluster.TopicPartition
	parts    map[cluster.TopicPartition]*ottlapb.FetchPartition
	requests chan *ottlapb.FetchRequest
	early    *ottlapb.FetchRequest // came while the one before was waiting
}

// next waits for the next request; nil when the stream has ended.
func (f *session) next() *ottlapb.FetchRequest {
	if req := f.early; req != nil {
		f.early = nil
		return req
	}
	return <-f.requests
}

func (s *services) Fetch(stream grpc.BidiStreamingServer[ottlapb.FetchRequest, ottlapb.FetchResponse]) error {
	f := &session{services: s, parts: map[cluster.TopicPartition]*ottlapb.FetchPartition{}, requests: make(chan *ottlapb.FetchRequest)}
	var ended error
	go func() { // ends with the stream
		defer close(f.requests)
		for {
			req, err := stream.Recv()
			if err != nil {
				ended = err
				return
			}
			select {
			case f.requests <- req:
			case <-stream.Context().Done():
				ended = stream.Context().Err()
				return
			}
		}
	}()
	for {
		req := f.next()
		if req == nil {
			if errors.Is(ended, io.EOF) {
				return nil
			}
			return ended
		}
		s.cluster.count("fetch")
		f.change(req)
		resp, err := f.answer(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(resp); err != nil {
			return err
		}
	}
}

func (f *session) change(req *ottlapb.FetchRequest) {
	for _, t := range req.GetForgotten() {
		for _, i := range t.GetPartitions() {
			f.forget(cluster.TopicPartition{Topic: t.GetName(), Partition: i})
		}
	}
	for _, t := range req.GetTopics() {
		for _, p := range t.GetPartitions() {
			tp := cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()}
			f.forget(tp)
			f.order = append(f.order, tp)
			f.parts[tp] = p
		}
	}
}

func (f *session) forget(tp cluster.TopicPartition) {
	delete(f.parts, tp)
	for i, o := range f.order {
		if o == tp {
			f.order = append(f.order[:i:i], f.order[i+1:]...)
			return
		}
	}
}

// answer waits until there is something to say, the request's time is over, or the next one changes the session.
func (f *session) answer(ctx context.Context, req *ottlapb.FetchRequest) (*wire.FetchResponse, error) {
	deadline := time.NewTimer(time.Duration(req.GetMaxWaitMs()) * time.Millisecond)
	defer deadline.Stop()
	asked := map[cluster.TopicPartition]Act{}
	for {
		resp, news, changed, err := f.gather(ctx, req, asked)
		if news || err != nil {
			return resp, err
		}
		requests := f.requests
		if f.early != nil {
			requests = nil
		}
		select {
		case <-changed:
		case req, ok := <-requests:
			f.early = req
			if !ok || len(req.GetTopics())+len(req.GetForgotten()) > 0 {
				return resp, nil
			}
		case <-deadline.C:
			return resp, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// gather reads what there is. changed is closed when one of the partitions changes.
func (f *session) gather(ctx context.Context, req *ottlapb.FetchRequest, asked map[cluster.TopicPartition]Act) (resp *wire.FetchResponse, news bool, changed <-chan struct{}, err error) {
	c := f.services.cluster
	resp = &wire.FetchResponse{}
	left := int(req.GetMaxBytes())
	for _, tp := range f.order {
		p := f.parts[tp]
		a, ok := asked[tp]
		if !ok {
			a = c.ask(ctx, c.OnFetch, "fetch", Call{Broker: f.services.id, TopicPartition: tp, Offset: cluster.Offset(p.GetFetchOffset()), Rack: req.GetRackId(), Epoch: cluster.LeaderEpoch(p.GetLastFetchedEpoch())})
			asked[tp] = a
		}
		if a.End != nil {
			return nil, false, nil, a.End
		}
		if a.Silent {
			<-ctx.Done()
			return nil, false, nil, ctx.Err()
		}
		out := wire.FetchPartition{Index: tp.Partition, FetchOffset: cluster.Offset(p.GetFetchOffset()), ErrorCode: a.Code,
			HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1}
		if h := a.Leader; h != nil {
			out.CurrentLeader = &wire.LeaderHint{Leader: cluster.BrokerID(h.GetLeaderId()), Epoch: cluster.LeaderEpoch(h.GetLeaderEpoch())}
		}
		c.mu.Lock()
		part, code := c.roleLocked(f.services.id, tp)
		if out.ErrorCode == kerr.None && !(a.Follower && code == kerr.NotLeaderOrFollower) {
			out.ErrorCode = code
		}
		if a.Diverging != nil && out.ErrorCode == kerr.None {
			out.Diverging = &wire.EpochEnd{Epoch: cluster.LeaderEpoch(a.Diverging.GetEpoch()), EndOffset: cluster.Offset(a.Diverging.GetEndOffset())}
			news = true
		} else if a.Preferred > 0 && out.ErrorCode == kerr.None {
			out.PreferredReadReplica = a.Preferred
			news = true
		} else if out.ErrorCode == kerr.None {
			changed = part.changed
			left -= part.readLocked(&out, p, left, req.GetIsolationLevel() == 1)
		}
		c.mu.Unlock()
		if out.ErrorCode != kerr.None || len(out.Records) > 0 {
			news = true
		}
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Name != tp.Topic {
			resp.Topics = append(resp.Topics, wire.FetchTopic{Name: tp.Topic})
		}
		t := &resp.Topics[len(resp.Topics)-1]
		t.Partitions = append(t.Partitions, out)
	}
	if len(f.order) != 1 {
		changed = c.poll()
	}
	return resp, news, changed, nil
}

// poll is a channel that closes soon, for sessions of several partitions.
func (c *Cluster) poll() <-chan struct{} {
	ch := make(chan struct{})
	time.AfterFunc(5*time.Millisecond, func() { close(ch) })
	return ch
}

// readLocked fills in the records from the position on and moves it.
func (p *partition) readLocked(out *wire.FetchPartition, pos *ottlapb.FetchPartition, left int, committed bool) int {
	from := cluster.Offset(pos.GetFetchOffset())
	if e := pos.GetCurrentLeaderEpoch(); e >= 0 && e != int32(p.epoch) {
		out.ErrorCode = kerr.FencedLeaderEpoch
		if e > int32(p.epoch) {
			out.ErrorCode = kerr.UnknownLeaderEpoch
		}
		return 0
	}
	if from < p.start || from > p.end {
		out.ErrorCode = kerr.OffsetOutOfRange
		return 0
	}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = p.end, p.end, p.start
	limit := min(left, int(pos.GetPartitionMaxBytes()))
	first, _ := slices.BinarySearchFunc(p.batches, from, func(b record.Batch, o cluster.Offset) int { return cmp.Compare(cluster.Offset(b.LastOffset()), o) })
	if first < len(p.batches) {
		out.Records = make([]byte, 0, max(limit, len(p.batches[first])))
	}
	for _, b := range p.batches[first:] {
		if len(out.Records) > 0 && len(out.Records)+len(b) > limit {
			break
		}
		out.Records = append(out.Records, b...)
		pos.FetchOffset = b.NextOffset()
	}
	if committed {
		for _, a := range p.aborted {
			out.Aborted = append(out.Aborted, wire.Aborted{ProducerID: cluster.ProducerID(a.GetProducerId()), FirstOffset: cluster.Offset(a.GetFirstOffset())})
		}
	}
	return len(out.Records)
}
