package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/wire"
)

// Leader is the way from one follower goroutine to one leading broker: a connection, and a fetch session on it. It belongs to one
// goroutine.
type Leader struct {
	peers *Peers
	id    cluster.BrokerID
	link  *link // nil while there is none

	stream *wire.FetchStream // nil while no session is open
	cancel context.CancelFunc
	answer wire.FetchResponse // the last one
}

// Leader returns a way to a leader; nothing is connected yet. The caller closes it.
func (p *Peers) Leader(id cluster.BrokerID) *Leader { return &Leader{peers: p, id: id} }

// FetchRequest asks a leader for one answer and changes the session.
type FetchRequest struct {
	// BrokerEpoch is the follower's registration.
	BrokerEpoch cluster.BrokerEpoch
	// AsConsumer reads what a consumer may read, from a follower too, and reports nothing.
	AsConsumer bool
	// MaxWait is how long the leader may wait for MinBytes.
	MaxWait time.Duration
	// MinBytes is what the leader waits for.
	MinBytes int
	// MaxBytes bounds the answer, PartitionMaxBytes what it holds of one partition.
	MaxBytes, PartitionMaxBytes int
	// Set adds partitions to the session or places them anew.
	Set []FetchPosition
	// Forget removes partitions from the session.
	Forget []cluster.TopicPartition
}

// FetchPosition is where a follower stands in a partition.
type FetchPosition struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// TopicID is the topic's id; zero when unknown.
	TopicID cluster.TopicID
	// CurrentLeaderEpoch is the epoch in which the follower follows.
	CurrentLeaderEpoch cluster.LeaderEpoch
	// Offset is where the follower's log ends.
	Offset cluster.Offset
	// LastFetchedEpoch is the epoch of the follower's last record.
	LastFetchedEpoch cluster.LeaderEpoch
	// LogStart is where the follower's log begins.
	LogStart cluster.Offset
}

// Fetch sends a request and waits for its answer, opening a session if there is none. By sending a request a follower says that it has appended
// everything that it was sent before. After an error the session is gone. The answer, its records too, can be used until the next Fetch.
func (l *Leader) Fetch(ctx context.Context, req *FetchRequest) (*wire.FetchResponse, error) {
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("fetch from broker %d: %w", l.id, err)
	}
	expired := time.AfterFunc(req.MaxWait+l.peers.cfg.LeaderTimeout, l.cancel)
	defer expired.Stop()
	defer context.AfterFunc(ctx, l.cancel)()
	// io.EOF from Send means that the stream has ended; Recv tells why.
	_ = l.stream.Send(req.encode(l.peers.cfg.BrokerID))
	if err := l.stream.RecvInto(&l.answer); err != nil {
		l.Reset()
		return nil, fmt.Errorf("fetch from broker %d: %w", l.id, err)
	}
	return &l.answer, nil
}

// open makes sure that there is a session, on a connection to where the leader is now.
func (l *Leader) open(ctx context.Context) error {
	if l.stream != nil {
		return nil
	}
	if err := l.connect(); err != nil {
		return err
	}
	// The session outlives ctx, which is that of one request; Fetch ends it when ctx ends during a request.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	stream, err := wire.OpenFetch(own, l.link.conn)
	if err != nil {
		cancel()
		return err
	}
	l.stream, l.cancel = stream, cancel
	return nil
}

func (l *Leader) connect() error {
	addr, err := l.peers.address(l.id)
	if err != nil {
		return err
	}
	if l.link != nil && l.link.addr != addr {
		l.Close()
	}
	if l.link == nil {
		l.link, err = l.peers.connect(addr)
	}
	return err
}

// Reset ends the session; the next request opens another.
func (l *Leader) Reset() {
	if l.stream != nil {
		l.cancel()
		l.stream, l.cancel = nil, nil
	}
}

// Close ends the session and the connection.
func (l *Leader) Close() {
	l.Reset()
	if l.link != nil {
		l.link.close()
		l.link = nil
	}
}

// anyRack names a rack that no broker stands in: a follower answers consumers that name one, and a leader sends them to nobody else.
const anyRack = "\x00"

func (r *FetchRequest) encode(self cluster.BrokerID) *ottlapb.FetchRequest {
	out := &ottlapb.FetchRequest{
		ReplicaId: int32(self), BrokerEpoch: int64(r.BrokerEpoch), MaxWaitMs: int32(r.MaxWait.Milliseconds()),
		MinBytes: int32(r.MinBytes), MaxBytes: int32(r.MaxBytes),
	}
	if r.AsConsumer {
		out.ReplicaId, out.BrokerEpoch, out.RackId = int32(cluster.NoBroker), int64(cluster.NoBrokerEpoch), anyRack
	}
	var topic *ottlapb.FetchTopic
	for i := range r.Set {
		p := &r.Set[i]
		if topic == nil || topic.Name != p.TopicPartition.Topic {
			topic = &ottlapb.FetchTopic{Name: p.TopicPartition.Topic, TopicId: encodeTopicID(p.TopicID)}
			out.Topics = append(out.Topics, topic)
		}
		topic.Partitions = append(topic.Partitions, &ottlapb.FetchPartition{
			Index: p.TopicPartition.Partition, CurrentLeaderEpoch: int32(p.CurrentLeaderEpoch), FetchOffset: int64(p.Offset),
			LastFetchedEpoch: int32(p.LastFetchedEpoch), LogStartOffset: int64(p.LogStart), PartitionMaxBytes: int32(r.PartitionMaxBytes),
		})
	}
	var forgotten *ottlapb.ForgottenTopic
	for _, tp := range r.Forget {
		if forgotten == nil || forgotten.Name != tp.Topic {
			forgotten = &ottlapb.ForgottenTopic{Name: tp.Topic}
			out.Forgotten = append(out.Forgotten, forgotten)
		}
		forgotten.Partitions = append(forgotten.Partitions, tp.Partition)
	}
	return out
}

func encodeTopicID(id cluster.TopicID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// The ends of a log, as ListOffsets names them (F§3.8).
const (
	latest   = -1
	earliest = -2
)

// Ends returns where the leader's log of a partition begins and ends. The error carries the code with which the leader refused.
func (l *Leader) Ends(ctx context.Context, tp cluster.TopicPartition, epoch cluster.LeaderEpoch) (start, end cluster.Offset, err error) {
	if end, err = l.listOffset(ctx, tp, epoch, latest); err != nil {
		return 0, 0, err
	}
	start, err = l.listOffset(ctx, tp, epoch, earliest)
	return start, end, err
}

func (l *Leader) listOffset(ctx context.Context, tp cluster.TopicPartition, epoch cluster.LeaderEpoch, timestamp int64) (cluster.Offset, error) {
	fail := func(err error) (cluster.Offset, error) {
		return cluster.UnknownOffset, fmt.Errorf("ask broker %d for an end of %s: %w", l.id, tp, err)
	}
	if err := l.connect(); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.peers.cfg.LeaderTimeout)
	defer cancel()
	res, err := ottlapb.NewFetchServiceClient(l.link.conn).ListOffsets(ctx, &ottlapb.ListOffsetsRequest{
		ReplicaId: int32(l.peers.cfg.BrokerID),
		Topics: []*ottlapb.ListOffsetsTopic{{Name: tp.Topic, Partitions: []*ottlapb.ListOffsetsPartition{
			{Index: tp.Partition, CurrentLeaderEpoch: int32(epoch), Timestamp: timestamp},
		}}},
	})
	if err != nil {
		return fail(err)
	}
	if len(res.GetTopics()) != 1 || len(res.GetTopics()[0].GetPartitions()) != 1 {
		return fail(errors.New("the answer is not about that partition"))
	}
	p := res.GetTopics()[0].GetPartitions()[0]
	if code := kerr.Code(p.GetErrorCode()); code != kerr.None {
		return fail(code.Err())
	}
	return cluster.Offset(p.GetOffset()), nil
}
