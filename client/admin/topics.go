package admin

import (
	"context"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// NewTopic is a topic to create.
type NewTopic struct {
	// Name of the topic.
	Name string
	// Partitions is the number of partitions; -1 or 0 for the broker's default, ignored with Assignments.
	Partitions int32
	// ReplicationFactor is the number of replicas; -1 or 0 for the broker's default, ignored with Assignments.
	ReplicationFactor int32
	// Assignments places the replicas by hand, the preferred leader first: partitions 0 to n-1 without gaps.
	Assignments map[int32][]cluster.BrokerID
	// Configs overrides settings for this topic.
	Configs map[string]string
}

// CreateOptions changes how topics are created.
type CreateOptions struct {
	// Timeout is how long the controller waits until every partition has a leader; 0 means [DefaultTimeout]. When it passes, the outcome is
	// REQUEST_TIMED_OUT and the creation goes on.
	Timeout time.Duration
	// ValidateOnly checks everything and creates nothing.
	ValidateOnly bool
}

// CreateResult is the outcome for one topic.
type CreateResult struct {
	// Name of the topic.
	Name string
	// ID is the new topic's id.
	ID cluster.TopicID
	// Partitions is how many it has; -1 with an error.
	Partitions int32
	// ReplicationFactor is how many replicas each has; -1 with an error.
	ReplicationFactor int32
	// Err is nil if the topic was created.
	Err error
}

// CreateTopics creates topics and returns the outcomes in the order of the topics. It asks the controller, also when that moves meanwhile
// (NOT_CONTROLLER). When an answer is lost, asking again can find what the first request has created: that is TOPIC_ALREADY_EXISTS.
func (a *Admin) CreateTopics(ctx context.Context, topics []NewTopic, o CreateOptions) ([]CreateResult, error) {
	req := &ottlapb.CreateTopicsRequest{TimeoutMs: a.timeoutMs(o.Timeout), ValidateOnly: o.ValidateOnly}
	for i := range topics {
		req.Topics = append(req.Topics, creatable(&topics[i]))
	}
	var resp *ottlapb.CreateTopicsResponse
	err := a.onController(ctx, "create topics", func(ctx context.Context, api *client.API) (bool, error) {
		r, err := api.Topics.CreateTopics(ctx, req)
		if err != nil {
			return false, err
		}
		resp = r
		return allNotController(r.GetTopics()), nil
	})
	if err != nil {
		return nil, err
	}
	byName := map[string]*ottlapb.CreatableTopicResult{}
	for _, t := range resp.GetTopics() {
		byName[t.GetName()] = t
	}
	results := make([]CreateResult, len(topics))
	for i := range topics {
		results[i] = CreateResult{Name: topics[i].Name, Partitions: -1, ReplicationFactor: -1}
		t := byName[topics[i].Name]
		if t == nil {
			results[i].Err = kerr.UnknownServerError.With("the controller's answer leaves the topic out")
			continue
		}
		copy(results[i].ID[:], t.GetTopicId())
		results[i].Partitions, results[i].ReplicationFactor = t.GetNumPartitions(), t.GetReplicationFactor()
		results[i].Err = errorOf(t.GetErrorCode(), t.GetErrorMessage())
	}
	return results, nil
}

func creatable(t *NewTopic) *ottlapb.CreatableTopic {
	out := &ottlapb.CreatableTopic{Name: t.Name, NumPartitions: orDefault(t.Partitions), ReplicationFactor: orDefault(t.ReplicationFactor)}
	if len(t.Assignments) > 0 {
		out.NumPartitions, out.ReplicationFactor = -1, -1
	}
	for _, p := range sortedKeys(t.Assignments) {
		out.Assignments = append(out.Assignments, &ottlapb.ReplicaAssignment{PartitionIndex: p, BrokerIds: numbers(t.Assignments[p])})
	}
	for _, k := range sortedKeys(t.Configs) {
		out.Configs = append(out.Configs, &ottlapb.ConfigEntry{Name: k, Value: t.Configs[k]})
	}
	return out
}

func orDefault(n int32) int32 {
	if n == 0 {
		return -1
	}
	return n
}

// TopicResult is the outcome for one topic.
type TopicResult struct {
	// Name of the topic.
	Name string
	// Err is nil on success.
	Err error
}

// DeleteTopics deletes topics and returns the outcomes in the order of the names. timeout is how long the controller waits until they are gone;
// 0 means [DefaultTimeout]. When it passes, the outcome is REQUEST_TIMED_OUT and the deletion goes on.
func (a *Admin) DeleteTopics(ctx context.Context, names []string, timeout time.Duration) ([]TopicResult, error) {
	req := &ottlapb.DeleteTopicsRequest{TopicNames: names, TimeoutMs: a.timeoutMs(timeout)}
	var resp *ottlapb.DeleteTopicsResponse
	err := a.onController(ctx, "delete topics", func(ctx context.Context, api *client.API) (bool, error) {
		r, err := api.Topics.DeleteTopics(ctx, req)
		if err != nil {
			return false, err
		}
		resp = r
		return allNotController(r.GetTopics()), nil
	})
	if err != nil {
		return nil, err
	}
	return topicResults(names, resp.GetTopics()), nil
}

// topicResults puts an answer per topic into the order of the names.
func topicResults[T interface {
	GetName() string
	GetErrorCode() int32
	GetErrorMessage() string
}](names []string, answer []T) []TopicResult {
	byName := map[string]error{}
	for _, t := range answer {
		byName[t.GetName()] = errorOf(t.GetErrorCode(), t.GetErrorMessage())
	}
	results := make([]TopicResult, len(names))
	for i, name := range names {
		err, ok := byName[name]
		if !ok {
			err = kerr.UnknownServerError.With("the controller's answer leaves the topic out")
		}
		results[i] = TopicResult{name, err}
	}
	return results
}

// onController makes a call to the controller, and makes it again elsewhere when the answer is that it was not the controller.
func (a *Admin) onController(ctx context.Context, op string, f func(context.Context, *client.API) (elsewhere bool, err error)) error {
	return a.cl.Do(ctx, client.Controller, op, func(ctx context.Context, api *client.API) error {
		elsewhere, err := f(ctx, api)
		if err == nil && elsewhere {
			return kerr.NotController.Err()
		}
		return err
	})
}

// allNotController reports whether an answer says nothing but NOT_CONTROLLER, which brokers say for each topic.
func allNotController[T interface{ GetErrorCode() int32 }](results []T) bool {
	for _, r := range results {
		if kerr.Code(r.GetErrorCode()) != kerr.NotController {
			return false
		}
	}
	return len(results) > 0
}

// timeoutMs is the wait that the controller is asked for: a little less than the client's own, so that its answer comes in time.
func (a *Admin) timeoutMs(d time.Duration) int32 {
	if d <= 0 {
		d = DefaultTimeout
	}
	d = min(d, a.cl.RequestTimeout()*9/10)
	return int32(min(d.Milliseconds(), 1<<31-1))
}
