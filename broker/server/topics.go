package server

import (
	"context"
	"sync"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Topics creates and deletes topics. Only the active controller does: others answer NOT_CONTROLLER for each topic.
type Topics interface {
	// CreateTopics creates topics and answers in the same order. It waits up to timeout until they are usable.
	CreateTopics(ctx context.Context, topics []TopicSpec, timeout time.Duration, validateOnly bool) []TopicResult
	// DeleteTopics deletes topics and answers in the same order. It waits up to timeout until they are gone.
	DeleteTopics(ctx context.Context, names []string, timeout time.Duration) []TopicResult
}

// TopicSpec describes a topic to create. Nothing about it has been checked, except that assignments name each partition once.
type TopicSpec struct {
	// Name of the topic.
	Name string
	// NumPartitions is -1 for the broker's default, and when there are assignments.
	NumPartitions int32
	// ReplicationFactor is -1 for the broker's default, and when there are assignments.
	ReplicationFactor int32
	// Assignments places the partitions by hand, the preferred leader first; empty lets the controller choose.
	Assignments map[int32][]cluster.BrokerID
	// Configs overrides the broker's settings for this topic.
	Configs map[string]string
}

// TopicResult is the outcome for one topic.
type TopicResult struct {
	// Name of the topic.
	Name string
	// ID of a topic that was created.
	ID cluster.TopicID
	// Err carries a [kerr.Code]; nil when all went well.
	Err error
	// NumPartitions and ReplicationFactor of a topic that was created.
	NumPartitions, ReplicationFactor int32
}

// topicSet is a set of names. The zero value is empty. It is safe for concurrent use.
type topicSet struct {
	mu    sync.Mutex
	names map[string]struct{}
}

// add puts a name in and returns false if it is there already.
func (s *topicSet) add(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.names[name]; ok {
		return false
	}
	if s.names == nil {
		s.names = make(map[string]struct{})
	}
	s.names[name] = struct{}{}
	return true
}

func (s *topicSet) remove(name string) {
	s.mu.Lock()
	delete(s.names, name)
	s.mu.Unlock()
}
