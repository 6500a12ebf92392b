package main

import (
	"context"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
)

// topicPoll is how often to look for topics while none matches.
const topicPoll = time.Second

// matchingTopics returns the topics that match, internal ones left out, and waits until there is one.
func matchingTopics(ctx context.Context, cl *client.Client, match func(string) bool) ([]string, error) {
	a := admin.New(cl)
	for {
		topics, err := a.ListTopics(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range topics {
			if match(t.Name) && !cluster.IsInternalTopic(t.Name) {
				names = append(names, t.Name)
			}
		}
		if len(names) > 0 {
			return names, nil
		}
		if err := client.Sleep(ctx, topicPoll); err != nil {
			return nil, err
		}
	}
}
