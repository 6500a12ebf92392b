package controller

import (
	"context"
	"slices"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/proto/kerr"
)

// DeleteTopics asks for the deletion of topics and waits up to timeout until they are gone from this broker's metadata (F§2.7).
// The results are in the order of the names. REQUEST_TIMED_OUT means that a topic is not gone yet: its deletion goes on, if need
// be when brokers come back. On a broker that is not the controller all results are NOT_CONTROLLER.
func (c *Controller) DeleteTopics(ctx context.Context, names []string, timeout time.Duration) []TopicResult {
	results := make([]TopicResult, len(names))
	count := make(map[string]int, len(names))
	for i, name := range names {
		count[name]++
		results[i] = failed(name, kerr.NotController.Err())
	}
	s := c.current.Load()
	if s == nil || !c.IsActive() {
		return results
	}
	if !c.cfg.DeleteTopics {
		for i, name := range names {
			results[i] = failed(name, kerr.TopicDeletionDisabled.Err())
		}
		return results
	}
	existing, err := (*s).Topics(ctx)
	image := c.cfg.Metadata.Image()
	var asked []int
	for i, name := range names {
		switch _, known := image.Topic(name); {
		case count[name] > 1:
			results[i] = failed(name, kerr.InvalidRequest.With("Found multiple entries for this topic."))
		case err != nil:
			results[i] = failed(name, asCode(err))
		case !known && !slices.Contains(existing, name):
			results[i] = failed(name, kerr.UnknownTopicOrPartition.Err())
		default:
			if err := (*s).RequestDeletion(ctx, name); err != nil {
				results[i] = failed(name, asCode(err))
				continue
			}
			c.log.Info("the deletion of a topic was asked for", "topic", name)
			results[i] = failed(name, nil)
			if t, ok := image.Topic(name); ok {
				results[i].ID = t.ID
			}
			asked = append(asked, i)
		}
	}
	c.await(ctx, results, asked, timeout, isGone)
	for _, i := range asked {
		results[i].ID = [16]byte{}
	}
	return results
}

// isGone reports whether a topic is not known any longer, or only another one of the same name.
func isGone(image *metadata.Image, r TopicResult) bool {
	t, ok := image.Topic(r.Name)
	return !ok || t.ID != r.ID
}
