package server

import (
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// What Subscribe reads and sends at a time.
const (
	subscribeReadBytes = 256 << 10
	subscribeRecords   = 500
	subscribeBytes     = 1 << 20 // keys and values, except that one record is always sent
)

// Subscribe streams structured records of partitions that this broker leads, from a position on. A caller that does not read gets
// nothing more, and is disconnected after [Limits].WriteTimeout.
func (s *Server) Subscribe(req *ottlapb.SubscribeRequest, stream grpc.ServerStreamingServer[ottlapb.SubscribeResponse]) error {
	if !s.enter(1) {
		return goingAway()
	}
	defer s.running.Done()
	if n := len(req.GetPartitions()); n > s.limits.Entries {
		return tooMany("partitions", n, s.limits.Entries)
	}
	if req.GetMaxRecords() < 0 {
		return malformed("max_records is %d", req.GetMaxRecords())
	}
	sub := &subscription{
		srv: s, req: req, stream: stream, out: s.newOutlet(stream.Context()), signal: replica.NewSignal(),
		reader: replica.Reader{Replica: cluster.NoBroker, BrokerEpoch: cluster.NoBrokerEpoch}, left: req.GetMaxRecords(),
	}
	defer sub.close()
	if err := sub.open(); err != nil {
		return err
	}
	for {
		sent, err := sub.round()
		if err != nil || sub.full() {
			return err
		}
		if sent {
			continue
		}
		select {
		case <-sub.signal.C():
		case <-s.closing.Done():
			return goingAway()
		case <-stream.Context().Done():
			return ended(stream.Context().Err())
		}
	}
}

// subscription is one Subscribe call.
type subscription struct {
	srv    *Server
	req    *ottlapb.SubscribeRequest
	stream grpc.ServerStreamingServer[ottlapb.SubscribeResponse]
	out    *outlet
	signal *replica.Signal
	reader replica.Reader
	places []*subscribed
	left   int64 // records that may still be sent, if there is a limit
}

// subscribed is a partition of a subscription.
type subscribed struct {
	tp   cluster.TopicPartition
	held *replica.Partition
	pos  replica.Position
}

func (s *subscription) full() bool { return s.req.GetMaxRecords() > 0 && s.left <= 0 }

// open finds the partitions and the positions to start at.
func (s *subscription) open() error {
	name := s.req.GetTopic()
	topic, ok := s.srv.deps.Metadata.Image().Topic(name)
	if !ok {
		code := kerr.CodeOf(unknownPartition(cluster.TopicPartition{Topic: name}))
		return refused(code, "topic %q", name)
	}
	indexes := s.req.GetPartitions()
	if len(indexes) == 0 {
		for i, p := range topic.Partitions {
			if p != nil && p.Leader == s.srv.deps.BrokerID {
				indexes = append(indexes, int32(i))
			}
		}
		if len(indexes) == 0 {
			return refused(kerr.NotLeaderOrFollower, "this broker leads no partition of topic %q", name)
		}
	}
	if twice := duplicates(len(indexes), func(i int) int32 { return indexes[i] }); len(twice) > 0 {
		return malformed("a partition comes twice")
	}
	for _, index := range indexes {
		if err := s.add(cluster.TopicPartition{Topic: topic.Name, Partition: index}); err != nil {
			return err
		}
	}
	return nil
}

// add finds the position in one partition and watches it.
func (s *subscription) add(tp cluster.TopicPartition) error {
	held, code := s.srv.deps.Replicas.Partition(tp)
	if code != kerr.None {
		return refused(code, "partition %s", tp)
	}
	start, err := s.start(held)
	if err != nil {
		code, message := outcome(err)
		return refused(code, "partition %s: %s", tp, message)
	}
	held.Watch(s.signal, replica.WatermarkMoved)
	s.places = append(s.places, &subscribed{tp: tp, held: held, pos: replica.Position{
		Offset: start, CurrentLeaderEpoch: cluster.NoLeaderEpoch, LastFetchedEpoch: cluster.NoLeaderEpoch, LogStart: cluster.UnknownOffset,
	}})
	return nil
}

// start returns the offset that the caller wants to start at.
func (s *subscription) start(held *replica.Partition) (cluster.Offset, error) {
	timestamp := int64(replica.LatestTimestamp)
	switch from := s.req.GetFrom().(type) {
	case *ottlapb.SubscribeRequest_Offset:
		if !held.Leads() {
			return 0, kerr.NotLeaderOrFollower
		}
		return cluster.Offset(from.Offset), nil
	case *ottlapb.SubscribeRequest_Earliest:
		timestamp = replica.EarliestTimestamp
	case *ottlapb.SubscribeRequest_TimestampMs:
		timestamp = max(from.TimestampMs, 0)
	}
	found, err := held.ListOffset(&s.reader, timestamp, cluster.NoLeaderEpoch)
	if err == nil && found.Offset == cluster.UnknownOffset { // nothing that young yet
		found, err = held.ListOffset(&s.reader, replica.LatestTimestamp, cluster.NoLeaderEpoch)
	}
	return found.Offset, err
}

func (s *subscription) close() {
	for _, p := range s.places {
		p.held.Unwatch(s.signal)
	}
}

// round reads each partition once and sends what it finds. sent is false when there was nothing.
func (s *subscription) round() (sent bool, err error) {
	for _, p := range s.places {
		res := p.held.Read(&s.reader, &p.pos, replica.ReadSize{MaxBytes: subscribeReadBytes, MinOneBatch: true}, wire.Pool)
		if res.Code != kerr.None {
			return sent, refused(res.Code, "partition %s, offset %d", p.tp, p.pos.Offset)
		}
		if res.Fetched.Buf == nil {
			continue
		}
		err := s.deliver(p, res.Fetched.Data)
		wire.Pool.Put(res.Fetched.Buf)
		if err != nil || s.full() {
			return true, err
		}
		p.pos.Offset = res.Fetched.NextOffset
		sent = true
	}
	return sent, nil
}

// deliver sends the records of whole batches, from the position on. The data is not needed any more when it returns.
func (s *subscription) deliver(p *subscribed, data []byte) error {
	response := &ottlapb.SubscribeResponse{}
	size := 0
	flush := func() error {
		size = 0
		if len(response.Records) == 0 {
			return nil
		}
		err := s.out.send(func() error { return s.stream.Send(response) })
		response.Records = response.Records[:0]
		return ended(err)
	}
	var it record.Iterator
	for len(data) > 0 {
		batch, rest, err := record.Split(data)
		if err != nil {
			return s.damaged(p, err)
		}
		data = rest
		if batch.IsControl() {
			continue
		}
		for it.Reset(batch, nil); it.Next(); {
			r := it.Record()
			if cluster.Offset(r.Offset) < p.pos.Offset {
				continue
			}
			if size += len(r.Key) + len(r.Value); size > subscribeBytes || len(response.Records) >= subscribeRecords {
				if err := flush(); err != nil {
					return err
				}
				size = len(r.Key) + len(r.Value)
			}
			response.Records = append(response.Records, s.encode(p.tp.Partition, r))
			s.left--
			if s.full() {
				return flush()
			}
		}
		if err := it.Err(); err != nil {
			return s.damaged(p, err)
		}
	}
	return flush()
}

func (s *subscription) damaged(p *subscribed, err error) error {
	s.srv.log.Error("batch cannot be read", "partition", p.tp.String(), "offset", int64(p.pos.Offset), "error", err)
	return refused(kerr.CorruptMessage, "partition %s after offset %d", p.tp, p.pos.Offset)
}

// encode turns a record into a message that shares its memory.
func (s *subscription) encode(index int32, r *record.Record) *ottlapb.SubscribedRecord {
	m := &ottlapb.SubscribedRecord{
		Partition: index, Offset: r.Offset, TimestampMs: r.Timestamp, Key: s.datum(r.Key), Value: s.datum(r.Value),
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &ottlapb.RecordHeader{Key: h.Key, Value: s.datum(h.Value)})
	}
	return m
}

// datum encodes a key or a value; nil, and so absent, for null.
func (s *subscription) datum(b []byte) *ottlapb.Datum {
	switch {
	case b == nil:
		return nil
	case s.req.GetUtf8() && utf8.Valid(b):
		return &ottlapb.Datum{Kind: &ottlapb.Datum_Utf8{Utf8: string(b)}}
	default:
		return &ottlapb.Datum{Kind: &ottlapb.Datum_Bytes{Bytes: b}}
	}
}
