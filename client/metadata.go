package client

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Broker is a live broker at its advertised address.
type Broker struct {
	// ID of the broker.
	ID cluster.BrokerID
	// Host to connect to.
	Host string
	// Port to connect to.
	Port int32
	// Rack of the broker; empty when it has none.
	Rack string
}

// Addr returns host:port.
func (b Broker) Addr() string { return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) }

// Partition is who serves a partition.
type Partition struct {
	// Index counts from 0.
	Index int32
	// Err is [kerr.None], or LEADER_NOT_AVAILABLE or LISTENER_NOT_FOUND when the partition cannot be used now.
	Err kerr.Code
	// Leader is [cluster.NoBroker] when there is none.
	Leader cluster.BrokerID
	// LeaderEpoch is -1 when unknown.
	LeaderEpoch cluster.LeaderEpoch
	// Replicas holds the assigned brokers, the preferred leader first.
	Replicas []cluster.BrokerID
	// ISR holds the in-sync ones.
	ISR []cluster.BrokerID
	// Offline holds the assigned brokers that are dead or whose disk failed.
	Offline []cluster.BrokerID
}

// Topic is a topic as the brokers describe it. It is shared and must not be modified.
type Topic struct {
	// Name of the topic.
	Name string
	// ID tells the topic from an earlier one of the same name; zero when unknown.
	ID cluster.TopicID
	// Internal is true for the coordinators' topics.
	Internal bool
	// Err is [kerr.None], or why there is no description.
	Err kerr.Code
	// Partitions by index, without gaps.
	Partitions []Partition
}

// view is an immutable picture of the cluster.
type view struct {
	clusterID  string
	controller cluster.BrokerID
	brokers    []Broker // by id
	topics     map[string]*Topic
}

func (v *view) broker(id cluster.BrokerID) (Broker, bool) {
	i, ok := slices.BinarySearchFunc(v.brokers, id, func(b Broker, id cluster.BrokerID) int { return cmp.Compare(b.ID, id) })
	if !ok {
		return Broker{}, false
	}
	return v.brokers[i], true
}

// addrs returns the brokers' addresses in random order, each once.
func (v *view) addrs() []string {
	addrs := make([]string, 0, len(v.brokers))
	for _, i := range rand.Perm(len(v.brokers)) {
		if a := v.brokers[i].Addr(); !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// metadata is the cache: readers load the view, the refresher and leader hints replace it.
type metadata struct {
	view atomic.Pointer[view]
	wake chan struct{} // capacity 1: a refresh is wanted

	mu      sync.Mutex
	tracked map[string]bool      // topics to keep known; true: may be created by asking for it
	changed chan struct{}        // closed after every attempt to refresh, and replaced
	round   uint64               // attempts so far
	lastErr error                // of the last attempt
	mute    map[string]time.Time // addresses that did not answer when they were last asked, and since when
}

func newMetadata() *metadata {
	m := &metadata{wake: make(chan struct{}, 1), tracked: map[string]bool{}, mute: map[string]time.Time{}, changed: make(chan struct{})}
	m.view.Store(&view{controller: cluster.NoBroker, topics: map[string]*Topic{}})
	return m
}

// finish records an attempt to refresh and wakes everybody who waits for one.
func (m *metadata) finish(err error) {
	m.mu.Lock()
	m.round++
	m.lastErr = err
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
}

// apply puts an answer into the view. Partitions whose leader epoch is older than what is known keep what is known: the answering broker is
// behind (KIP-320). A topic with another id starts afresh.
func (m *metadata) apply(r *ottlapb.MetadataResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.view.Load()
	v := &view{clusterID: r.GetClusterId(), controller: cluster.BrokerID(r.GetControllerId()), topics: maps.Clone(old.topics)}
	for _, n := range r.GetBrokers() {
		v.brokers = append(v.brokers, nodeOf(n))
	}
	slices.SortFunc(v.brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range r.GetTopics() {
		if fresh := TopicOf(t); fresh.Name != "" {
			v.topics[fresh.Name] = merge(old.topics[fresh.Name], &fresh)
		}
	}
	m.view.Store(v)
}

// merge returns what to believe of a topic: the new description, except for partitions about which the old one is newer.
func merge(old, fresh *Topic) *Topic {
	if old == nil || old.ID != fresh.ID || fresh.Err != kerr.None {
		return fresh
	}
	for i := range fresh.Partitions {
		if i < len(old.Partitions) && fresh.Partitions[i].LeaderEpoch < old.Partitions[i].LeaderEpoch {
			fresh.Partitions[i] = old.Partitions[i]
		}
	}
	return fresh
}

// noteLeader takes a hint of a broker about the leader of a partition (KIP-951) and reports whether it was news.
func (m *metadata) noteLeader(tp cluster.TopicPartition, leader cluster.BrokerID, epoch cluster.LeaderEpoch) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.view.Load()
	t, ok := old.topics[tp.Topic]
	if !ok || int(tp.Partition) >= len(t.Partitions) || tp.Partition < 0 || t.Partitions[tp.Partition].LeaderEpoch >= epoch {
		return false
	}
	if _, known := old.broker(leader); !known {
		return false
	}
	fresh := *t
	fresh.Partitions = slices.Clone(t.Partitions)
	p := &fresh.Partitions[tp.Partition]
	p.Leader, p.LeaderEpoch, p.Err = leader, epoch, kerr.None
	v := *old
	v.topics = maps.Clone(old.topics)
	v.topics[tp.Topic] = &fresh
	m.view.Store(&v)
	close(m.changed)
	m.changed = make(chan struct{})
	return true
}

func nodeOf(n *ottlapb.Node) Broker {
	return Broker{ID: cluster.BrokerID(n.GetId()), Host: n.GetHost(), Port: n.GetPort(), Rack: n.GetRack()}
}

// TopicOf returns the description of a topic that a broker sent. Partitions are put in their places; ones that are missing in the answer have
// no leader, ones that are impossible are left out.
func TopicOf(t *ottlapb.TopicMetadata) Topic {
	out := Topic{Name: t.GetName(), Internal: t.GetIsInternal(), Err: kerr.Code(t.GetErrorCode())}
	copy(out.ID[:], t.GetTopicId())
	n := len(t.GetPartitions())
	out.Partitions = make([]Partition, n)
	for i := range out.Partitions {
		out.Partitions[i] = Partition{Index: int32(i), Err: kerr.LeaderNotAvailable, Leader: cluster.NoBroker, LeaderEpoch: cluster.NoLeaderEpoch}
	}
	for _, p := range t.GetPartitions() {
		if i := p.GetIndex(); i >= 0 && int(i) < n {
			out.Partitions[i] = Partition{
				Index:       i,
				Err:         kerr.Code(p.GetErrorCode()),
				Leader:      cluster.BrokerID(p.GetLeaderId()),
				LeaderEpoch: cluster.LeaderEpoch(p.GetLeaderEpoch()),
				Replicas:    brokerIDs(p.GetReplicas()),
				ISR:         brokerIDs(p.GetIsr()),
				Offline:     brokerIDs(p.GetOfflineReplicas()),
			}
		}
	}
	return out
}

func brokerIDs(ids []int32) []cluster.BrokerID {
	out := make([]cluster.BrokerID, len(ids))
	for i, id := range ids {
		out[i] = cluster.BrokerID(id)
	}
	return out
}

// muteFor is how long an address that did not answer is asked after all others. By then metadata does not name a broker that is gone, and one that is
// back takes its part again.
const muteFor = 10 * time.Second

// noteAnswer remembers whether an address has answered when it was last asked.
func (m *metadata) noteAnswer(addr string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		delete(m.mute, addr)
	} else {
		m.mute[addr] = time.Now()
	}
}

// mutesLast returns the addresses in their order, with those at the end that did not answer when they were last asked, unless that is long ago.
func (m *metadata) mutesLast(addrs []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a, since := range m.mute {
		if time.Since(since) >= muteFor {
			delete(m.mute, a)
		}
	}
	out := make([]string, 0, len(addrs))
	for _, mute := range []bool{false, true} {
		for _, a := range addrs {
			if _, is := m.mute[a]; is == mute {
				out = append(out, a)
			}
		}
	}
	return out
}
