package server

import (
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// fetchSession is what a Fetch stream remembers: the partitions, where each stands, and what its reader was told last. It belongs
// to the handler's goroutine; only signal and out are known elsewhere.
type fetchSession struct {
	srv      *Server
	out      *outlet
	rations  rationed // of out
	signal   *replica.Signal
	listener string       // that the reader has come to
	asBroker func() error // an error unless the reader has shown to be a broker
	reader   replica.Reader
	begun    bool // reader is known

	entries []*sessionPartition // in the session's order
	index   map[cluster.TopicPartition]*sessionPartition
	topics  map[string]*sessionTopic
	first   int  // where the next answer begins, so that all partitions get their turn
	trails  bool // the answer under construction tells a follower of a high watermark that has moved

	response wire.FetchResponse // the answer under construction, used again and again
	answered []*sessionPartition
	answer   uint64 // number of the answer under construction
}

// sessionTopic is a topic of a session and its place in the answer under construction.
type sessionTopic struct {
	name       string
	partitions int // in the session
	answer     uint64
	place      int
}

// sessionPartition is a partition of a session.
type sessionPartition struct {
	tp       cluster.TopicPartition
	topic    *sessionTopic
	id       cluster.TopicID // as the reader knows it; zero when it does not
	maxBytes int
	pos      replica.Position
	size     int                // of the records in the answer under construction
	next     cluster.Offset     // where pos goes when the answer under construction is sent
	held     *replica.Partition // the one that the session watches; nil when this broker does not hold it
	told     toldEnds
	ends     toldEnds // as they will have been told
	fresh    bool     // nothing was told yet
	hint     wire.LeaderHint
	diverged wire.EpochEnd
}

// toldEnds are the ends of a partition.
type toldEnds struct{ watermark, stable, start cluster.Offset }

func newFetchSession(s *Server, out *outlet, listener string, asBroker func() error) *fetchSession {
	return &fetchSession{
		srv: s, out: out, rations: rationed{outlet: out}, listener: listener, asBroker: asBroker, signal: replica.NewSignal(),
		index: make(map[cluster.TopicPartition]*sessionPartition), topics: make(map[string]*sessionTopic),
	}
}

// close lets go of everything.
func (f *fetchSession) close() {
	f.drop()
	for _, e := range f.entries {
		f.watch(e, nil)
	}
}

func (f *fetchSession) empty() bool { return len(f.entries) == 0 }

// apply changes the session as a request asks for. The error is the end of the stream.
func (f *fetchSession) apply(req *ottlapb.FetchRequest) error {
	reader, err := f.srv.decodeReader(req, f.listener)
	if err != nil {
		return err
	}
	if f.begun && reader.Replica != f.reader.Replica {
		return malformed("replica id %d in a session of replica id %d", reader.Replica, f.reader.Replica)
	}
	if !f.begun && reader.Replica != cluster.NoBroker {
		if err := f.asBroker(); err != nil {
			return err
		}
	}
	f.reader, f.begun = reader, true
	n := len(req.GetForgotten()) + len(req.GetTopics())
	for _, t := range req.GetForgotten() {
		n += len(t.GetPartitions())
	}
	for _, t := range req.GetTopics() {
		n += len(t.GetPartitions())
	}
	if n > f.srv.limits.Entries {
		return tooMany("topics and partitions", n, f.srv.limits.Entries)
	}
	f.forget(req.GetForgotten())
	for _, t := range req.GetTopics() {
		id, err := topicID(t.GetTopicId())
		if err != nil {
			return err
		}
		for _, p := range t.GetPartitions() {
			if err := f.set(t.GetName(), id, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// set adds a partition or changes its place.
func (f *fetchSession) set(name string, id cluster.TopicID, p *ottlapb.FetchPartition) error {
	tp := cluster.TopicPartition{Topic: name, Partition: p.GetIndex()}
	e := f.index[tp]
	if e == nil {
		limit := f.srv.limits.Entries
		if f.reader.Replica != cluster.NoBroker {
			limit = f.srv.limits.OrderEntries // it follows what the controller has ordered it to follow
		}
		if len(f.entries) >= limit {
			return tooMany("partitions in a fetch session", len(f.entries)+1, limit)
		}
		t := f.topics[name]
		if t == nil {
			t = &sessionTopic{name: name}
			f.topics[name] = t
		}
		t.partitions++
		e = &sessionPartition{tp: cluster.TopicPartition{Topic: t.name, Partition: tp.Partition}, topic: t}
		f.index[e.tp] = e
		f.entries = append(f.entries, e)
	}
	e.fresh, e.id = true, id
	e.maxBytes = int(p.GetPartitionMaxBytes())
	e.pos = replica.Position{
		Offset:             cluster.Offset(p.GetFetchOffset()),
		CurrentLeaderEpoch: cluster.LeaderEpoch(p.GetCurrentLeaderEpoch()),
		LastFetchedEpoch:   cluster.LeaderEpoch(p.GetLastFetchedEpoch()),
		LogStart:           cluster.Offset(p.GetLogStartOffset()),
	}
	return nil
}

// forget removes partitions.
func (f *fetchSession) forget(topics []*ottlapb.ForgottenTopic) {
	removed := false
	for _, t := range topics {
		for _, index := range t.GetPartitions() {
			e := f.index[cluster.TopicPartition{Topic: t.GetName(), Partition: index}]
			if e == nil {
				continue
			}
			f.watch(e, nil)
			delete(f.index, e.tp)
			if e.topic.partitions--; e.topic.partitions == 0 {
				delete(f.topics, e.topic.name)
			}
			e.topic = nil
			removed = true
		}
	}
	if !removed {
		return
	}
	kept := f.entries[:0]
	for _, e := range f.entries {
		if e.topic != nil {
			kept = append(kept, e)
		}
	}
	clear(f.entries[len(kept):])
	f.entries = kept
	f.first = 0
}

// watch makes the session watch held in e's place instead of what it watched before.
func (f *fetchSession) watch(e *sessionPartition, held *replica.Partition) {
	if e.held == held {
		return
	}
	if e.held != nil {
		e.held.Unwatch(f.signal)
	}
	if held != nil {
		news := replica.WatermarkMoved
		if f.reader.Replica != cluster.NoBroker {
			news = replica.EndMoved
			if f.srv.deps.NearestReplica {
				news |= replica.WatermarkMoved
			}
		}
		held.Watch(f.signal, news)
	}
	e.held = held
}

// collect builds an answer and reports whether it is worth giving at once: there are min_bytes, or as much as the budget has room for, or something is
// wrong. A follower's progress is reported with the first look at a request.
func (f *fetchSession) collect(req *ottlapb.FetchRequest, first bool) (ready bool) {
	f.answer++
	f.rations.refused = false
	f.answered, f.trails = f.answered[:0], false
	left := min(int(req.GetMaxBytes()), f.srv.limits.FetchMaxBytes)
	got := 0
	n := len(f.entries)
	start := f.first
	for i := range n {
		e := f.entries[(start+i)%n]
		size := replica.ReadSize{MaxBytes: min(e.maxBytes, left-got), MinOneBatch: got == 0, Report: first}
		if size.MaxBytes <= 0 && !size.MinOneBatch && !(first && f.reader.Replica != cluster.NoBroker) {
			break
		}
		bytes, urgent := f.visit(e, size)
		got += bytes
		ready = ready || urgent
		full := len(f.answered) >= maxAnswered
		if bytes > 0 || full {
			f.first = (start + i + 1) % n
		}
		if full {
			break
		}
	}
	return ready || got >= max(int(req.GetMinBytes()), 1) || got > 0 && f.rations.refused
}

// starved reports whether records were left out of the answer under construction, and none are in it, because the budget has no room for them.
func (f *fetchSession) starved() bool {
	return f.rations.refused && !slices.ContainsFunc(f.answered, func(e *sessionPartition) bool { return e.size > 0 })
}

// visit looks at one partition, adds it to the answer if there is anything to say, and returns the size of its records. urgent is true
// when the reader must hear of it at once.
func (f *fetchSession) visit(e *sessionPartition, size replica.ReadSize) (bytes int, urgent bool) {
	held, code := f.srv.deps.Replicas.Partition(e.tp)
	f.watch(e, held)
	if code == kerr.None && !held.IsOf(e.id) {
		code = kerr.InconsistentTopicID // the reader's is an earlier topic of this name, or a later one
	}
	res := replica.ReadResult{
		Code: code, HighWatermark: cluster.UnknownOffset, LastStable: cluster.UnknownOffset, LogStart: cluster.UnknownOffset,
		Preferred: cluster.NoBroker,
	}
	if code == kerr.None {
		res = held.Read(&f.reader, &e.pos, size, f.source())
	}
	e.ends = toldEnds{res.HighWatermark, res.LastStable, res.LogStart}
	e.next = e.pos.Offset
	urgent = res.Code != kerr.None || res.Diverging != nil || res.Preferred != cluster.NoBroker
	bytes = len(res.Fetched.Data)
	e.size = bytes
	if !urgent && bytes == 0 && !e.fresh && e.ends == e.told {
		return 0, false
	}
	f.trails = f.trails || e.ends.watermark > e.told.watermark && f.reader.Replica != cluster.NoBroker
	p := f.add(e)
	*p = wire.FetchPartition{
		Index: e.tp.Partition, ErrorCode: res.Code, FetchOffset: e.pos.Offset,
		HighWatermark: res.HighWatermark, LastStableOffset: res.LastStable, LogStartOffset: res.LogStart,
		PreferredReadReplica: res.Preferred,
	}
	if bytes > 0 {
		e.next = res.Fetched.NextOffset
		*res.Fetched.Buf = res.Fetched.Data
		p.Records, p.Owner = res.Fetched.Data, mem.NewBuffer(res.Fetched.Buf, f.out)
	}
	if res.Diverging != nil {
		e.diverged = wire.EpochEnd{Epoch: res.Diverging.Epoch, EndOffset: res.Diverging.End}
		p.Diverging = &e.diverged
	}
	if res.Code == kerr.NotLeaderOrFollower || res.Code == kerr.FencedLeaderEpoch {
		if leader, epoch, ok := f.srv.deps.Replicas.LeaderHint(e.tp); ok {
			e.hint = wire.LeaderHint{Leader: leader, Epoch: epoch}
			p.CurrentLeader = &e.hint
		}
	}
	return bytes, urgent
}

// source returns what lends buffers to the session's reader: consumers that do not read must not hold up replication.
func (f *fetchSession) source() commitlog.BufferSource {
	if f.reader.Replica == cluster.NoBroker {
		return &f.rations
	}
	return f.out
}

// add makes room for a partition in the answer under construction.
func (f *fetchSession) add(e *sessionPartition) *wire.FetchPartition {
	topics := f.response.Topics
	if e.topic.answer != f.answer {
		e.topic.answer, e.topic.place = f.answer, len(topics)
		if len(topics) < cap(topics) {
			topics = topics[:len(topics)+1]
			topics[len(topics)-1].Partitions = topics[len(topics)-1].Partitions[:0]
		} else {
			topics = append(topics, wire.FetchTopic{})
		}
		topics[e.topic.place].Name = e.topic.name
		f.response.Topics = topics
	}
	t := &topics[e.topic.place]
	t.Partitions = append(t.Partitions, wire.FetchPartition{})
	f.answered = append(f.answered, e)
	return &t.Partitions[len(t.Partitions)-1]
}

// drop gives up the answer under construction.
func (f *fetchSession) drop() {
	for i := range f.response.Topics {
		partitions := f.response.Topics[i].Partitions
		for j := range partitions {
			if owner := partitions[j].Owner; owner != nil {
				owner.Free()
			}
			partitions[j] = wire.FetchPartition{}
		}
	}
	f.response.Topics = f.response.Topics[:0]
}

// send sends the answer and moves the session on.
func (f *fetchSession) send(stream grpc.ServerStream) error {
	err := f.out.send(func() error { return stream.SendMsg(&f.response) })
	f.drop()
	if err != nil {
		return err
	}
	for _, e := range f.answered {
		e.told, e.fresh = e.ends, false
		if f.reader.Replica != cluster.NoBroker && e.held != nil {
			e.held.Sent(e.size)
		}
		if e.next != e.pos.Offset {
			e.pos.Offset = e.next
			// What a follower has from here on is this leader's in this epoch, or the epoch check fails: nothing to compare any more.
			e.pos.LastFetchedEpoch = cluster.NoLeaderEpoch
		}
	}
	return nil
}
