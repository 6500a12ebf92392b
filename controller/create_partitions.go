package controller

import (
	"context"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/controller/state"
)

// CreatePartitions gives topics more partitions and waits up to timeout until each of the new ones has a leader in this broker's
// metadata (F§2.7, KIP-195). The results are in the order of the topics; errors are per topic. REQUEST_TIMED_OUT means that a new
// partition has no leader yet: its creation goes on. With validateOnly everything is checked and nothing changed. On a broker that is
// not the controller all results are NOT_CONTROLLER.
//
// Unlike new topics, which any broker may write, more partitions are an event of the loop: nothing else can change the topic's node
// meanwhile.
func (c *Controller) CreatePartitions(ctx context.Context, topics []state.MorePartitions, timeout time.Duration, validateOnly bool) []TopicResult {
	results := make([]TopicResult, len(topics))
	reply, err := c.ask(ctx, "create partitions", state.AddPartitions{Topics: topics, ValidateOnly: validateOnly})
	if err != nil {
		for i, t := range topics {
			results[i] = failed(t.Topic, err)
		}
		return results
	}
	var created []int
	first := make(map[string]int32, len(topics)) // the first new partition of each topic
	for i, r := range reply.(state.AddReply).Topics {
		results[i] = failed(r.Topic, r.Err)
		if r.Err == nil {
			results[i].NumPartitions = topics[i].Count
			first[r.Topic] = r.Before
			created = append(created, i)
		}
	}
	if !validateOnly {
		c.await(ctx, results, created, timeout, func(image *metadata.Image, r TopicResult) bool {
			t, ok := image.Topic(r.Name)
			return ok && areLed(t, first[r.Name], r.NumPartitions)
		})
	}
	return results
}
