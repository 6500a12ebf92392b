package main

import (
	"context"
	"slices"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/proto/cluster"
)

// subscription gives a consumer the partitions that come while it reads, as a group does whose members subscribe to topics: partitions that its
// topics get, and topics that begin to match. The new ones start where auto.offset.reset says.
type subscription struct {
	client   *client.Client
	consumer *consumer.Consumer
	topics   []string
	match    func(string) bool // new topics to read too; nil for none
	// changed is called around each change, with the partitions of before and of after; nil means that nobody wants to know.
	changed func(before, after []cluster.TopicPartition)
}

// follow begins in a goroutine of its own. The function that it returns ends that and waits until it has ended.
func (s *subscription) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *subscription) run(ctx context.Context) {
	var listing <-chan time.Time
	if s.match != nil {
		ticker := time.NewTicker(max(s.client.MetadataMaxAge(), topicPoll))
		defer ticker.Stop()
		listing = ticker.C
	}
	for {
		news := s.client.MetadataChanged()
		if !s.extend() {
			return
		}
		select {
		case <-news:
		case <-listing:
			s.list(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// extend assigns the partitions that the metadata knows and the consumer has not. It returns false when the consumer is closed.
func (s *subscription) extend() bool {
	before := s.consumer.Assignment()
	after := slices.Clone(before)
	for _, name := range s.topics {
		t, ok := s.client.CachedTopic(name)
		if !ok {
			continue
		}
		for i := range t.Partitions {
			tp := cluster.TopicPartition{Topic: name, Partition: int32(i)}
			if _, known := slices.BinarySearchFunc(before, tp, cluster.TopicPartition.Compare); !known {
				after = append(after, tp)
			}
		}
	}
	if len(after) == len(before) {
		return true
	}
	slices.SortFunc(after, cluster.TopicPartition.Compare)
	if err := s.consumer.Assign(after...); err != nil {
		return false
	}
	if s.changed != nil {
		s.changed(before, after)
	}
	return true
}

// list looks for topics that have begun to match. What cannot be found out now is found out the next time.
func (s *subscription) list(ctx context.Context) {
	topics, err := admin.New(s.client).ListTopics(ctx)
	if err != nil {
		return
	}
	for _, t := range topics {
		if s.match(t.Name) && !cluster.IsInternalTopic(t.Name) && !slices.Contains(s.topics, t.Name) {
			s.topics = append(s.topics, t.Name)
			s.client.Track(t.Name, false)
		}
	}
}
