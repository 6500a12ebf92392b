package metadata

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/proto/cluster"
)

// MaxPartition is the highest partition number that [Cache.Apply] takes; an update beyond it is ignored. Partitions are kept
// in slices, so that a made-up number must not be able to ask for gigabytes.
const MaxPartition = 1<<20 - 1

// Update is the content of one UpdateMetadata request (F§2.10).
type Update struct {
	// ControllerID is the sender.
	ControllerID cluster.BrokerID
	// Brokers replaces the list of live brokers.
	Brokers []Broker
	// Partitions holds the partitions that changed; all others stay as they are.
	Partitions []PartitionUpdate
}

// PartitionUpdate is the new state of one partition.
type PartitionUpdate struct {
	// TopicPartition names the partition.
	TopicPartition cluster.TopicPartition
	// TopicID is the topic's id, zero when unknown.
	TopicID cluster.TopicID
	// Partition is the new state. The leader [cluster.LeaderDeleting] removes the partition. The cache keeps the slices: they
	// must not be changed afterwards.
	Partition Partition
}

// Cache holds the current [Image]. Readers never wait; updates are applied one after the other. It is safe for concurrent use.
type Cache struct {
	state atomic.Pointer[version]

	mu sync.Mutex // serialises writers
}

// version is an image together with the channel that its replacement closes.
type version struct {
	image   *Image
	changed chan struct{}
}

// NewCache returns a cache with an empty image: no brokers, no topics, no controller.
func NewCache() *Cache {
	c := &Cache{}
	c.state.Store(&version{image: &Image{controllerID: cluster.NoBroker}, changed: make(chan struct{})})
	return c
}

// Image returns the current picture. It never blocks.
func (c *Cache) Image() *Image { return c.state.Load().image }

// Changed returns a channel that is closed when the picture is replaced. To wait for a condition take the channel first,
// then the image:
//
//	for {
//		changed := cache.Changed()
//		if ready(cache.Image()) { … }
//		select { case <-changed: … }
//	}
func (c *Cache) Changed() <-chan struct{} { return c.state.Load().changed }

// SetClusterID tells the cache the id of the cluster, which UpdateMetadata requests do not carry.
func (c *Cache) SetClusterID(id string) {
	c.replace(func(old *Image) *Image {
		next := *old
		next.clusterID = id
		return &next
	})
}

// Apply replaces the picture: the brokers wholesale, the partitions one by one (F§10.1). A partition whose leader is
// [cluster.LeaderDeleting] is removed, a topic without partitions vanishes. An update that carries another topic id than the
// one known belongs to a new topic of the same name: what was known of the old one goes.
func (c *Cache) Apply(u Update) {
	c.replace(func(old *Image) *Image { return old.apply(u) })
}

// replace swaps the image and wakes those who wait for a change.
func (c *Cache) replace(f func(old *Image) *Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	c.state.Store(&version{image: f(old.image), changed: make(chan struct{})})
	close(old.changed)
}

// apply returns the image that follows i.
func (i *Image) apply(u Update) *Image {
	next := *i
	next.controllerID = u.ControllerID
	next.brokers, next.brokerIndex = withBrokers(u.Brokers)
	if len(u.Partitions) == 0 {
		return &next
	}
	next.topics = maps.Clone(i.topics)
	if next.topics == nil {
		next.topics = make(map[string]*Topic)
	}
	touched := make(map[string]*Topic) // copies that this update may write to
	for n := range u.Partitions {
		p := &u.Partitions[n]
		if p.TopicPartition.Partition < 0 || p.TopicPartition.Partition > MaxPartition {
			continue
		}
		name := p.TopicPartition.Topic
		t, ok := touched[name]
		if !ok {
			t = &Topic{Name: name}
			if known, ok := next.topics[name]; ok {
				t.ID, t.Partitions = known.ID, slices.Clone(known.Partitions)
			}
			touched[name] = t
		}
		t.set(p)
	}
	for name, t := range touched {
		if t.known() == 0 {
			delete(next.topics, name)
			continue
		}
		t.Partitions = slices.Clip(t.Partitions)
		next.topics[name] = t
	}
	next.index()
	return &next
}

// set writes one partition into a topic that is still private to the update.
func (t *Topic) set(p *PartitionUpdate) {
	if p.Partition.Leader == cluster.LeaderDeleting {
		if !t.ID.IsZero() && !p.TopicID.IsZero() && t.ID != p.TopicID {
			return // the end of an earlier topic of this name
		}
		if n := p.TopicPartition.Partition; int(n) < len(t.Partitions) {
			t.Partitions[n] = nil
		}
		for n := len(t.Partitions); n > 0 && t.Partitions[n-1] == nil; n-- {
			t.Partitions = t.Partitions[:n-1]
		}
		return
	}
	if !p.TopicID.IsZero() {
		if !t.ID.IsZero() && t.ID != p.TopicID {
			t.Partitions = nil
		}
		t.ID = p.TopicID
	}
	for len(t.Partitions) <= int(p.TopicPartition.Partition) {
		t.Partitions = append(t.Partitions, nil)
	}
	state := p.Partition
	t.Partitions[p.TopicPartition.Partition] = &state
}

// known counts the partitions that something is known of.
func (t *Topic) known() int {
	n := 0
	for _, p := range t.Partitions {
		if p != nil {
			n++
		}
	}
	return n
}

// index recomputes what derives from the topics.
func (i *Image) index() {
	i.names = slices.Sorted(maps.Keys(i.topics))
	i.ids = make(map[cluster.TopicID]*Topic, len(i.topics))
	i.partitions = 0
	for _, t := range i.topics {
		i.partitions += t.known()
		if !t.ID.IsZero() {
			i.ids[t.ID] = t
		}
	}
}
