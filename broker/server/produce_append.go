package server

import (
	"fmt"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// producing is a request that was appended, with its answer as far as it is known. It is used again and again, so that a request
// costs no more memory than its answer needs the first time. It has one owner at a time: the receiver, then the handler.
type producing struct {
	srv      *Server
	response ottlapb.ProduceResponse
	waits    []pendingBatch
	deadline time.Time
	failed   error // the end of the stream, for a request with acks=0 that failed

	topics  []*ottlapb.TopicProduceResult     // all that were ever made
	results []*ottlapb.PartitionProduceResult // all that were ever made
	used    struct{ topics, results int }
}

// pendingBatch is a batch that waits for acknowledgement.
type pendingBatch struct {
	tp     cluster.TopicPartition
	result *ottlapb.PartitionProduceResult
	wait   replica.Wait
}

func (item *producing) reset() {
	item.waits = item.waits[:0]
	item.failed = nil
	item.response.Topics = item.response.Topics[:0]
	item.used.topics, item.used.results = 0, 0
}

// topic adds a topic to the answer.
func (item *producing) topic(name string) *ottlapb.TopicProduceResult {
	if item.used.topics == len(item.topics) {
		item.topics = append(item.topics, new(ottlapb.TopicProduceResult))
	}
	t := item.topics[item.used.topics]
	item.used.topics++
	t.Name, t.Partitions = name, t.Partitions[:0]
	item.response.Topics = append(item.response.Topics, t)
	return t
}

// result adds a partition to the answer, as one that was not appended.
func (item *producing) result(t *ottlapb.TopicProduceResult, index int32) *ottlapb.PartitionProduceResult {
	if item.used.results == len(item.results) {
		item.results = append(item.results, new(ottlapb.PartitionProduceResult))
	}
	r := item.results[item.used.results]
	item.used.results++
	r.Index, r.RecordErrors = index, nil
	setFailed(r, kerr.None, "", nil)
	t.Partitions = append(t.Partitions, r)
	return r
}

func setFailed(r *ottlapb.PartitionProduceResult, code kerr.Code, message string, hint *ottlapb.LeaderHint) {
	r.ErrorCode, r.ErrorMessage, r.CurrentLeader = int32(code), message, hint
	r.BaseOffset, r.LogAppendTimeMs, r.LogStartOffset = -1, -1, -1
}

// settle takes over the outcomes that are known already and reports whether that is all of them.
func (item *producing) settle() bool {
	for i := range item.waits {
		w := &item.waits[i]
		code, known := w.wait.Outcome()
		if !known {
			return false
		}
		item.srv.settle(w, code)
	}
	item.waits = item.waits[:0]
	return true
}

// await waits for all outcomes. The error is the end of the stream.
func (item *producing) await(w *ackWait) error {
	if item.settle() {
		return nil
	}
	w.timer.Reset(time.Until(item.deadline))
	defer w.timer.Stop()
	late := false
	for i := range item.waits {
		b := &item.waits[i]
		if late { // the timer has delivered already
			code, known := b.wait.Outcome()
			if !known {
				code = kerr.RequestTimedOut
			}
			item.srv.settle(b, code)
			continue
		}
		code, err := w.await(b.wait)
		if err != nil {
			return err
		}
		late = code == kerr.RequestTimedOut
		item.srv.settle(b, code)
	}
	return nil
}

// settle enters the outcome of a wait into the answer.
func (s *Server) settle(b *pendingBatch, code kerr.Code) {
	if code != kerr.None && kerr.Code(b.result.ErrorCode) == kerr.None {
		setFailed(b.result, code, code.Message(), s.leaderHint(code, b.tp))
	}
}

// appendAll appends the batches of a request and fills the answer in.
func (p *produceStream) appendAll(req *wire.ProduceRequest, item *producing) {
	item.deadline = time.Now().Add(clampMs(req.TimeoutMs, p.srv.limits.MaxTimeout))
	a := appender{srv: p.srv, image: p.srv.deps.Metadata.Image(), acks: replica.Acks(int8(req.Acks)), transactionalID: req.TransactionalID, admin: p.admin}
	var refusal error
	switch {
	case req.Acks != int32(a.acks) || !a.acks.Valid():
		refusal = kerr.InvalidRequiredAcks
	case repeats(req):
		refusal = kerr.InvalidRequest.With("a partition comes twice in one request")
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		result := item.topic(t.Name)
		for j := range t.Partitions {
			part := &t.Partitions[j]
			tp := cluster.TopicPartition{Topic: t.Name, Partition: part.Index}
			appended, err := replica.Appended{}, refusal
			if err == nil {
				appended, err = a.append(tp, part.Records)
			}
			item.enter(item.result(result, part.Index), tp, a.acks, &appended, err)
		}
	}
}

// enter fills in the outcome of one batch.
func (item *producing) enter(r *ottlapb.PartitionProduceResult, tp cluster.TopicPartition, acks replica.Acks, appended *replica.Appended, err error) {
	if err != nil {
		code, message := item.srv.appendFailed(tp, err)
		setFailed(r, code, message, item.srv.leaderHint(code, tp))
		for _, e := range appended.Info.RecordErrors {
			r.RecordErrors = append(r.RecordErrors, &ottlapb.RecordError{BatchIndex: e.Index, Message: e.Message})
		}
		if acks == replica.AcksNone && item.failed == nil {
			item.failed = unacknowledged(code, tp)
		}
		return
	}
	r.BaseOffset = int64(appended.Info.FirstOffset)
	r.LogAppendTimeMs = appended.Info.LogAppendTime
	r.LogStartOffset = int64(appended.Info.LogStartOffset)
	if acks == replica.AcksAll {
		item.waits = append(item.waits, pendingBatch{tp, r, appended.Wait})
	}
}

// appendFailed returns the outcome of a failed append, and logs what the client is not told.
func (s *Server) appendFailed(tp cluster.TopicPartition, err error) (kerr.Code, string) {
	code, message := outcome(err)
	if code == kerr.UnknownServerError || code == kerr.KafkaStorageError {
		s.log.Error("append failed", "partition", tp.String(), "error", err)
	}
	return code, message
}

// appender appends the batches of one request.
type appender struct {
	srv             *Server
	image           *metadata.Image
	acks            replica.Acks
	transactionalID string
	// admin lets the request write to the coordinators' topics.
	admin bool
}

// append appends one batch. The order of the checks is Kafka's (F§3.6).
func (a *appender) append(tp cluster.TopicPartition, records []byte) (replica.Appended, error) {
	if _, ok := a.image.Partition(tp); !ok {
		return replica.Appended{}, unknownPartition(tp)
	}
	batch := record.Batch(records)
	if len(batch) >= record.HeaderSize && batch.IsTransactional() {
		if a.transactionalID == "" {
			return replica.Appended{}, kerr.InvalidRecord.With("the batch is transactional, but the request has no transactional id")
		}
		return replica.Appended{}, kerr.InvalidTxnState.With(fmt.Sprintf("partition %s is not part of a transaction of %q", tp, a.transactionalID))
	}
	if !a.admin && cluster.IsInternalTopic(tp.Topic) {
		return replica.Appended{}, kerr.InvalidTopicException.With("Cannot append to internal topic " + tp.Topic)
	}
	held, code := a.srv.deps.Replicas.Partition(tp)
	if code != kerr.None {
		return replica.Appended{}, code
	}
	return held.Append(batch, a.acks)
}

// unknownPartition is the error for a partition that is not in the metadata.
func unknownPartition(tp cluster.TopicPartition) error {
	if err := cluster.ValidateTopicName(tp.Topic); err != nil {
		return kerr.InvalidTopicException.With(err.Error())
	}
	return kerr.UnknownTopicOrPartition
}

// repeats reports whether a request names a partition twice. Appending both or one would leave the producer in the dark about the
// order.
func repeats(req *wire.ProduceRequest) bool {
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	if n <= 1 {
		return false
	}
	if n > 32 {
		return repeatsMany(req, n)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			for k := i; k < len(req.Topics); k++ {
				if req.Topics[k].Name != t.Name {
					continue
				}
				rest := req.Topics[k].Partitions
				if k == i {
					rest = rest[j+1:]
				}
				for l := range rest {
					if rest[l].Index == t.Partitions[j].Index {
						return true
					}
				}
			}
		}
	}
	return false
}

func repeatsMany(req *wire.ProduceRequest, n int) bool {
	seen := make(map[cluster.TopicPartition]struct{}, n)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			tp := cluster.TopicPartition{Topic: req.Topics[i].Name, Partition: req.Topics[i].Partitions[j].Index}
			if _, ok := seen[tp]; ok {
				return true
			}
			seen[tp] = struct{}{}
		}
	}
	return false
}
