// Package fakecluster is a cluster in one process for the tests of the client: brokers that speak the real protocol over an in-memory network,
// keep their logs in slices, and do what a test's script says, in particular what real brokers do only in bad moments. It decides nothing
// about replication or elections; leaders change when the test says so. It works inside a testing/synctest bubble.
package fakecluster

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

// ClientHost is the name of the client's side in the network, for cutting it off.
const ClientHost = "client"

// Call is a request that a script looks at.
type Call struct {
	// Broker that got it.
	Broker cluster.BrokerID
	// TopicPartition it concerns, for produce, fetch and list offsets.
	TopicPartition cluster.TopicPartition
	// Batch is the batch to append, for produce.
	Batch record.Batch
	// Offset is the position, for fetch.
	Offset cluster.Offset
	// Epoch is that of the last record read, for fetch.
	Epoch cluster.LeaderEpoch
	// Rack is the consumer's, for fetch.
	Rack string
	// N counts the calls of this kind for this partition, from 1.
	N int
}

// Act says what to do instead of the usual.
type Act struct {
	// Code is answered. For produce nothing is appended then, unless Append is set.
	Code kerr.Code
	// Message goes with the code.
	Message string
	// Append appends although Code is an error.
	Append bool
	// Silent never answers, and nothing after it on the same stream.
	Silent bool
	// End ends the stream with this error, after appending if Append is set.
	End error
	// Delay passes before anything else.
	Delay time.Duration
	// Leader is the hint that goes with Code.
	Leader *ottlapb.LeaderHint
	// Preferred sends a consumer to another broker, if it is above 0 (fetch).
	Preferred cluster.BrokerID
	// Diverging is answered to a consumer that says what it has read last (fetch).
	Diverging *ottlapb.EpochEndOffset
	// Follower makes a broker that does not lead the partition serve it (fetch).
	Follower bool
}

// Cluster is a fake cluster. Script fields are set before the calls that they are for; everything else is safe for concurrent use.
type Cluster struct {
	// Net is the network that the brokers listen in, as b1:9092, b2:9092, ….
	Net *memnet.Network
	// OnProduce, OnFetch and OnListOffsets are asked about every partition of every such request; nil, or a nil answer, means the usual.
	OnProduce, OnFetch, OnListOffsets func(Call) *Act
	// OnMetadata may change an answer, or fail the call.
	OnMetadata func(broker cluster.BrokerID, r *ottlapb.MetadataResponse) error
	// OnAdmin may fail the topics of create and delete requests with a code.
	OnAdmin func(broker cluster.BrokerID, topic string) kerr.Code
	// OnInitProducerID may fail the n-th request for a producer id, with a code or, with an error without one, as a call.
	OnInitProducerID func(n int) error
	// AutoCreate is how many partitions topics get that are created by asking for them; 0 means none are created.
	AutoCreate int32
	// Discard makes produce count offsets only, without a look at the batches, for benchmarks.
	Discard bool

	tb      testing.TB
	mu      sync.Mutex
	nodes   map[cluster.BrokerID]*node
	topics  map[string]*topic
	control cluster.BrokerID
	counts  map[string]int
	maxSize int
	lastID  int64
}

type topic struct {
	id    cluster.TopicID
	parts []*partition
}

type partition struct {
	leader  cluster.BrokerID
	epoch   cluster.LeaderEpoch
	batches []record.Batch
	start   cluster.Offset
	end     cluster.Offset
	aborted []*ottlapb.AbortedTransaction
	changed chan struct{}

	producers map[int64]*numbered
}

type node struct {
	id     cluster.BrokerID
	server *grpc.Server
	done   chan struct{}
}

// New starts a cluster of brokers 1 to n, which stops when the test ends. Broker 1 is the controller.
func New(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := &Cluster{
		Net: memnet.New(), tb: tb, control: 1,
		nodes: map[cluster.BrokerID]*node{}, topics: map[string]*topic{}, counts: map[string]int{}, maxSize: 1048588,
	}
	for id := range n {
		c.Start(cluster.BrokerID(id + 1))
	}
	tb.Cleanup(func() {
		for _, id := range c.Live() {
			c.Kill(id)
		}
	})
	return c
}

// Host is a broker's name in the network.
func Host(id cluster.BrokerID) string { return fmt.Sprintf("b%d", id) }

// Bootstrap lists the addresses of all brokers.
func (c *Cluster) Bootstrap() string {
	var addrs []string
	for _, id := range c.Live() {
		addrs = append(addrs, net.JoinHostPort(Host(id), "9092"))
	}
	return strings.Join(addrs, ",")
}

// Dialer connects the client's host to the brokers.
func (c *Cluster) Dialer() dial.Dialer { return c.Net.Dialer(ClientHost) }

// Live lists the running brokers.
func (c *Cluster) Live() []cluster.BrokerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.nodes))
}

// Start starts a broker.
func (c *Cluster) Start(id cluster.BrokerID) {
	c.tb.Helper()
	l, err := c.Net.Listen(net.JoinHostPort(Host(id), "9092"))
	if err != nil {
		c.tb.Fatalf("start fake broker %d: %v", id, err)
	}
	n := &node{id: id, server: grpc.NewServer(dial.ServerOptions{}.GRPC()...), done: make(chan struct{})}
	s := &services{cluster: c, id: id}
	ottlapb.RegisterMetadataServiceServer(n.server, s)
	ottlapb.RegisterProduceServiceServer(n.server, s)
	ottlapb.RegisterFetchServiceServer(n.server, s)
	ottlapb.RegisterTopicServiceServer(n.server, s)
	ottlapb.RegisterTransactionServiceServer(n.server, s)
	go func() {
		defer close(n.done)
		_ = n.server.Serve(l) // ends when the listener is killed
	}()
	c.mu.Lock()
	c.nodes[id] = n
	c.mu.Unlock()
}

// Kill ends a broker as kill -9 does. Its partitions keep it as their leader.
func (c *Cluster) Kill(id cluster.BrokerID) {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	if n == nil {
		return
	}
	c.Net.Kill(Host(id))
	n.server.Stop()
	<-n.done
}

// SetController moves the controller.
func (c *Cluster) SetController(id cluster.BrokerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control = id
}

// SetMaxMessageBytes is max.message.bytes of all topics.
func (c *Cluster) SetMaxMessageBytes(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maxSize = n
}

// CreateTopic makes a topic whose leaders are spread over the brokers.
func (c *Cluster) CreateTopic(name string, partitions int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.createLocked(name, partitions)
}

func (c *Cluster) createLocked(name string, partitions int32) *topic {
	ids := slices.Sorted(maps.Keys(c.nodes))
	t := &topic{id: cluster.NewTopicID()}
	for i := range partitions {
		t.parts = append(t.parts, &partition{leader: ids[int(i)%len(ids)], changed: make(chan struct{})})
	}
	c.topics[name] = t
	return t
}

// SetLeader elects a leader, under a new epoch. [cluster.NoBroker] leaves the partition without one.
func (c *Cluster) SetLeader(tp cluster.TopicPartition, id cluster.BrokerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partLocked(tp)
	p.leader = id
	p.epoch++
	p.wakeLocked()
}

// TrimTo drops the records before offset.
func (c *Cluster) TrimTo(tp cluster.TopicPartition, offset cluster.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partLocked(tp)
	p.start = offset
	p.batches = slices.DeleteFunc(p.batches, func(b record.Batch) bool { return cluster.Offset(b.LastOffset()) < offset })
	p.end = max(p.end, offset)
}

// Append puts a batch into a log as if it had been produced.
func (c *Cluster) Append(tp cluster.TopicPartition, b record.Batch) cluster.Offset {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partLocked(tp).appendLocked(b)
}

// Abort lists an aborted transaction in fetch answers.
func (c *Cluster) Abort(tp cluster.TopicPartition, producer cluster.ProducerID, first cluster.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partLocked(tp)
	p.aborted = append(p.aborted, &ottlapb.AbortedTransaction{ProducerId: int64(producer), FirstOffset: int64(first)})
}

// Fill appends batches of records whose values are the numbers from first on.
func (c *Cluster) Fill(tp cluster.TopicPartition, first, batches, perBatch int, codec record.Codec) {
	c.tb.Helper()
	for range batches {
		b := record.NewBuilder(nil, 1<<30)
		for range perBatch {
			b.Append(int64(first), nil, fmt.Appendf(nil, "%d", first), nil)
			first++
		}
		data, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
		if err != nil {
			c.tb.Fatalf("fill %v: %v", tp, err)
		}
		c.Append(tp, data)
	}
}

// Log returns the batches of a partition.
func (c *Cluster) Log(tp cluster.TopicPartition) []record.Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.partLocked(tp).batches)
}

// Values returns the values of all records of a partition, in order.
func (c *Cluster) Values(tp cluster.TopicPartition) []string {
	c.tb.Helper()
	var values []string
	for _, b := range c.Log(tp) {
		for r, err := range b.Records(nil) {
			if err != nil {
				c.tb.Fatalf("read %v: %v", tp, err)
			}
			values = append(values, string(r.Value))
		}
	}
	return values
}

// Count returns how often a kind of call was made: produce, fetch, list-offsets, metadata, create-topics, delete-topics.
func (c *Cluster) Count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[kind]
}

func (c *Cluster) count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[kind]++
	return c.counts[kind]
}

func (c *Cluster) partLocked(tp cluster.TopicPartition) *partition {
	t := c.topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.parts) {
		return nil
	}
	return t.parts[tp.Partition]
}

func (p *partition) appendLocked(b record.Batch) cluster.Offset {
	b = slices.Clone(b)
	at := p.end
	b.SetBaseOffset(int64(at))
	b.SetPartitionLeaderEpoch(int32(p.epoch))
	p.batches = append(p.batches, b)
	p.end = cluster.Offset(b.NextOffset())
	p.wakeLocked()
	return at
}

func (p *partition) wakeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// roleLocked returns the code for a broker that is asked about a partition.
func (c *Cluster) roleLocked(id cluster.BrokerID, tp cluster.TopicPartition) (*partition, kerr.Code) {
	p := c.partLocked(tp)
	switch {
	case p == nil:
		return nil, kerr.UnknownTopicOrPartition
	case p.leader != id:
		return p, kerr.NotLeaderOrFollower
	}
	return p, kerr.None
}

func sortedNames(m map[string]*topic) []string {
	return slices.SortedFunc(maps.Keys(m), cmp.Compare)
}

// End returns the offset after a partition's last record.
func (c *Cluster) End(tp cluster.TopicPartition) cluster.Offset {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partLocked(tp).end
}
