package server

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/partition"
	"github.com/ottla/ottla/proto/record"
)

// publishTimeout is how long Publish waits for in-sync replicas unless the caller says otherwise.
const publishTimeout = 30 * time.Second

// Publish appends structured records to partitions that this broker leads, and answers when they are acknowledged. It is for callers
// without a client library: it builds the batches that such a library would have built.
func (s *Server) Publish(ctx context.Context, req *ottlapb.PublishRequest) (*ottlapb.PublishResponse, error) {
	if !s.enter(1) {
		return nil, goingAway()
	}
	defer s.running.Done()
	n := len(req.GetRecords())
	for _, r := range req.GetRecords() {
		n += len(r.GetHeaders())
	}
	if n > s.limits.Entries {
		return nil, tooMany("records and headers", n, s.limits.Entries)
	}
	if err := s.received.room(ctx); err != nil {
		return nil, ended(err)
	}
	size := int64(proto.Size(req))
	s.received.add(size)
	defer s.received.add(-size)
	acks, err := parseAcks(req.GetAcks())
	if err != nil {
		return nil, err
	}
	timeout := clampMs(req.GetTimeoutMs(), s.limits.MaxTimeout)
	if timeout == 0 {
		timeout = publishTimeout
	}
	p := &publication{srv: s, req: req, acks: acks, image: s.deps.Metadata.Image(), results: make([]*ottlapb.PublishResult, len(req.GetRecords()))}
	p.appendAll(ctx)
	if err := p.await(ctx, timeout); err != nil {
		return nil, ended(err)
	}
	return &ottlapb.PublishResponse{Results: p.results}, nil
}

func parseAcks(text string) (replica.Acks, error) {
	switch text {
	case "", "all", "-1":
		return replica.AcksAll, nil
	case "1":
		return replica.AcksLeader, nil
	case "0":
		return replica.AcksNone, nil
	}
	return 0, malformed(`acks is "all", "1" or "0", not %q`, text)
}

// publication is one Publish call.
type publication struct {
	srv     *Server
	req     *ottlapb.PublishRequest
	acks    replica.Acks
	image   *metadata.Image
	results []*ottlapb.PublishResult // by record
	waits   []publishedBatch
}

// publishedBatch is a batch that waits for acknowledgement, and the records in it.
type publishedBatch struct {
	tp      cluster.TopicPartition
	records []int
	wait    replica.Wait
}

// appendAll chooses a partition for each record and appends what each partition gets, in order.
func (p *publication) appendAll(ctx context.Context) {
	topic, ok := p.image.Topic(p.req.GetTopic())
	if !ok {
		tp := cluster.TopicPartition{Topic: p.req.GetTopic()}
		err := unknownPartition(tp)
		if code := kerr.CodeOf(err); code == kerr.UnknownTopicOrPartition {
			err = p.srv.autoCreate(ctx, tp.Topic)
		}
		for i := range p.results {
			p.fail([]int{i}, -1, err)
		}
		return
	}
	keyless := p.anyPartition(topic)
	var order []int32
	byPartition := make(map[int32][]int)
	for i, r := range p.req.GetRecords() {
		index := keyless
		if r.Partition != nil {
			index = r.GetPartition()
		} else if key := datum(r.GetKey()); key != nil {
			index = partition.ForKey(key, int32(len(topic.Partitions)))
		}
		if byPartition[index] == nil {
			order = append(order, index)
		}
		byPartition[index] = append(byPartition[index], i)
	}
	for _, index := range order {
		p.appendTo(cluster.TopicPartition{Topic: topic.Name, Partition: index}, byPartition[index])
	}
}

// anyPartition chooses the partition for the records of this call that have no key: one that this broker leads if there is any.
func (p *publication) anyPartition(t *metadata.Topic) int32 {
	var mine []int32
	for index, state := range t.Partitions {
		if state != nil && state.Leader == p.srv.deps.BrokerID {
			mine = append(mine, int32(index))
		}
	}
	if len(mine) > 0 {
		return mine[rand.IntN(len(mine))]
	}
	return rand.Int32N(int32(len(t.Partitions)))
}

// appendTo appends records to one partition, in as many batches as it takes. After a batch that fails the rest fails with it: they
// must not overtake it.
func (p *publication) appendTo(tp cluster.TopicPartition, records []int) {
	builder := record.NewBuilder(nil, p.srv.limits.PublishBytes)
	for len(records) > 0 {
		builder.Reset(nil)
		n := 0
		for n < len(records) && p.add(builder, p.req.Records[records[n]]) {
			n++
		}
		if n == 0 {
			p.fail(records, tp.Partition, kerr.RecordListTooLarge)
			return
		}
		if err := p.appendBatch(tp, builder, records[:n]); err != nil {
			p.fail(records, tp.Partition, err)
			return
		}
		records = records[n:]
	}
}

// add puts a record into a batch and returns false when there is no room.
func (p *publication) add(b *record.Builder, r *ottlapb.PublishRecord) bool {
	at := p.srv.deps.Now().UnixMilli()
	if r.TimestampMs != nil {
		at = r.GetTimestampMs()
	}
	var headers []record.Header
	for _, h := range r.GetHeaders() {
		headers = append(headers, record.Header{Key: h.GetKey(), Value: datum(h.GetValue())})
	}
	return b.Append(at, datum(r.GetKey()), datum(r.GetValue()), headers)
}

func (p *publication) appendBatch(tp cluster.TopicPartition, b *record.Builder, records []int) error {
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		return err
	}
	a := appender{srv: p.srv, image: p.image, acks: p.acks}
	appended, err := a.append(tp, batch)
	if err != nil {
		return err
	}
	for i, r := range records {
		p.results[r] = &ottlapb.PublishResult{Partition: tp.Partition, Offset: int64(appended.Info.FirstOffset) + int64(i)}
	}
	if p.acks == replica.AcksAll {
		p.waits = append(p.waits, publishedBatch{tp, records, appended.Wait})
	}
	return nil
}

// fail sets the outcome of records that were not appended or not acknowledged.
func (p *publication) fail(records []int, index int32, err error) {
	code, message := p.srv.appendFailed(cluster.TopicPartition{Topic: p.req.GetTopic(), Partition: index}, err)
	text := code.Name()
	if message != "" {
		text += ": " + message
	}
	for _, r := range records {
		p.results[r] = &ottlapb.PublishResult{Partition: index, Offset: -1, ErrorCode: int32(code), Error: text}
	}
}

// await waits until all batches are acknowledged.
func (p *publication) await(ctx context.Context, timeout time.Duration) error {
	w := newAckWait(ctx, p.srv.closing)
	defer w.stop()
	w.timer.Reset(timeout)
	late := false
	for _, b := range p.waits {
		code, known := b.wait.Outcome()
		switch {
		case known:
		case late:
			code = kerr.RequestTimedOut
		default:
			var err error
			if code, err = w.await(b.wait); err != nil {
				return err
			}
			late = code == kerr.RequestTimedOut
		}
		if code != kerr.None {
			p.fail(b.records, b.tp.Partition, code)
		}
	}
	return nil
}

// datum returns the content of a key or value; nil for null.
func datum(d *ottlapb.Datum) []byte {
	switch k := d.GetKind().(type) {
	case *ottlapb.Datum_Bytes:
		if k.Bytes == nil {
			return []byte{}
		}
		return k.Bytes
	case *ottlapb.Datum_Utf8:
		return []byte(k.Utf8)
	}
	return nil
}
