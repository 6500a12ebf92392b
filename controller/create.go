package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
)

// TopicSpec describes a topic to create.
type TopicSpec struct {
	// Name is the topic's name.
	Name string
	// NumPartitions is -1 for the default, and when there are assignments.
	NumPartitions int32
	// ReplicationFactor is -1 for the default, and when there are assignments.
	ReplicationFactor int32
	// Assignments places the partitions by hand; nil leaves that to the controller.
	Assignments map[int32][]cluster.BrokerID
	// Configs overrides the brokers' settings.
	Configs map[string]string
}

// TopicResult is what came of one topic.
type TopicResult struct {
	// Name is the topic's name.
	Name string
	// ID is the id of a topic that was created; zero with an error.
	ID cluster.TopicID
	// NumPartitions and ReplicationFactor are those of a topic that was created; -1 otherwise.
	NumPartitions, ReplicationFactor int32
	// Err is nil or a [*kerr.Error] with Kafka's text.
	Err error
}

// failed returns the result of a topic that was refused.
func failed(name string, err error) TopicResult {
	return TopicResult{Name: name, NumPartitions: -1, ReplicationFactor: -1, Err: err}
}

// CreateTopics creates topics and waits up to timeout until each of their partitions has a leader in this broker's metadata
// (F§2.7). The results are in the order of the specs; errors are per topic. REQUEST_TIMED_OUT means that a topic has no leaders
// yet: its creation goes on. With validateOnly everything is checked and nothing created. On a broker that is not the
// controller all results are NOT_CONTROLLER.
func (c *Controller) CreateTopics(ctx context.Context, specs []TopicSpec, timeout time.Duration, validateOnly bool) []TopicResult {
	results := make([]TopicResult, len(specs))
	count := make(map[string]int, len(specs))
	for i, spec := range specs {
		count[spec.Name]++
		results[i] = failed(spec.Name, kerr.NotController.Err())
	}
	s := c.current.Load()
	if s == nil || !c.IsActive() {
		return results
	}
	existing, err := (*s).Topics(ctx)
	var created []int
	for i, spec := range specs {
		switch {
		case count[spec.Name] > 1:
			results[i] = failed(spec.Name, kerr.InvalidRequest.With("Found multiple entries for this topic."))
		case err != nil:
			results[i] = failed(spec.Name, asCode(err))
		default:
			results[i] = c.create(ctx, *s, spec, existing, validateOnly)
			if results[i].Err == nil && !validateOnly {
				existing, created = append(existing, spec.Name), append(created, i)
			}
		}
	}
	c.await(ctx, results, created, timeout, hasLeaders)
	return results
}

// AutoCreateTopic creates a topic that a client asked for by using it. Any broker may, controller or not (F§10.1): it writes
// the nodes that the controller watches. It does not wait. The error is nil or a [*kerr.Error].
func (c *Controller) AutoCreateTopic(ctx context.Context, spec TopicSpec) error {
	s := c.current.Load()
	if s == nil {
		return kerr.LeaderNotAvailable.Err() // between two sessions; the client asks again
	}
	existing, err := (*s).Topics(ctx)
	if err != nil {
		return asCode(err)
	}
	return c.create(ctx, *s, spec, existing, false).Err
}

// create checks one topic in Kafka's order and writes its nodes.
func (c *Controller) create(ctx context.Context, s Session, spec TopicSpec, existing []string, validateOnly bool) TopicResult {
	refuse := func(err error) TopicResult { return failed(spec.Name, err) }
	if slices.Contains(existing, spec.Name) {
		return refuse(alreadyExists(spec.Name))
	}
	assignment, err := c.assign(spec)
	if err != nil {
		return refuse(err)
	}
	if err := cluster.ValidateTopicName(spec.Name); err != nil {
		return refuse(kerr.InvalidTopicException.With(err.Error()))
	}
	if strings.ContainsAny(spec.Name, "._") {
		for _, other := range existing {
			if cluster.TopicNamesCollide(spec.Name, other) {
				return refuse(kerr.InvalidTopicException.With(fmt.Sprintf("Topic '%s' collides with existing topics: %s", spec.Name, other)))
			}
		}
	}
	if err := state.CheckManual(assignment); err != nil {
		return refuse(err)
	}
	if err := c.cfg.ValidateTopicConfig(spec.Configs); err != nil {
		return refuse(asCode(err))
	}
	t := state.Topic{Name: spec.Name, Assignments: make(map[int32]state.Assignment, len(assignment))}
	for index, replicas := range assignment {
		t.Assignments[index] = state.Assignment{Replicas: replicas}
	}
	result := TopicResult{Name: spec.Name, NumPartitions: int32(len(assignment)), ReplicationFactor: int32(len(assignment[0]))}
	if validateOnly {
		return result
	}
	t.ID = cluster.NewTopicID()
	err = s.CreateTopic(ctx, t, spec.Configs)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return refuse(alreadyExists(spec.Name))
	case errors.Is(err, zk.ErrTooLarge):
		return refuse(kerr.InvalidPartitions.With(fmt.Sprintf("The assignment of topic '%s' with %d partitions does not fit into its ZooKeeper node.", spec.Name, len(assignment))))
	case err != nil:
		return refuse(asCode(err))
	}
	c.log.Info("a topic is being created", "topic", spec.Name, "id", t.ID, "partitions", result.NumPartitions, "replication-factor", result.ReplicationFactor)
	result.ID = t.ID
	return result
}

// assign returns the replicas of each partition, as asked for or placed on the brokers that are alive.
func (c *Controller) assign(spec TopicSpec) (map[int32][]cluster.BrokerID, error) {
	if len(spec.Assignments) > 0 {
		if spec.NumPartitions != -1 || spec.ReplicationFactor != -1 {
			return nil, kerr.InvalidRequest.With("Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.")
		}
		return spec.Assignments, nil
	}
	partitions, factor := int(spec.NumPartitions), int(spec.ReplicationFactor)
	if partitions == -1 {
		partitions = c.cfg.NumPartitions
	}
	if factor == -1 {
		factor = c.cfg.ReplicationFactor
	}
	if partitions > state.MaxPartitions {
		return nil, kerr.InvalidPartitions.With(fmt.Sprintf("Number of partitions must not be larger than %d.", state.MaxPartitions))
	}
	var brokers []state.BrokerRack
	for _, b := range c.cfg.Metadata.Image().Brokers() {
		brokers = append(brokers, state.BrokerRack{ID: b.ID, Rack: b.Rack})
	}
	p := state.Placement{Brokers: brokers, Partitions: partitions, ReplicationFactor: factor}
	if n := len(brokers); n > 0 {
		p.Start, p.Shift = c.cfg.Random(n), c.cfg.Random(n)
	}
	placed, err := state.Place(p)
	if err != nil {
		return nil, err
	}
	out := make(map[int32][]cluster.BrokerID, len(placed))
	for index, replicas := range placed {
		out[int32(index)] = replicas
	}
	return out, nil
}

// alreadyExists is Kafka's refusal of a topic that exists.
func alreadyExists(name string) error {
	return kerr.TopicAlreadyExists.With(fmt.Sprintf("Topic '%s' already exists.", name))
}

// asCode returns an error that carries a code: a session that is over means that this broker is not the controller any more.
func asCode(err error) error {
	var e *kerr.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrOver), errors.Is(err, ErrMoved):
		return kerr.NotController.Err()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kerr.RequestTimedOut.Err()
	}
	return kerr.UnknownServerError.With(err.Error())
}

// hasLeaders reports whether each partition of a topic that was created has a leader.
func hasLeaders(image *metadata.Image, r TopicResult) bool {
	t, ok := image.Topic(r.Name)
	return ok && t.ID == r.ID && areLed(t, 0, r.NumPartitions)
}

// areLed reports whether the partitions from first to end, which is not one of them, have leaders.
func areLed(t *metadata.Topic, first, end int32) bool {
	for index := first; index < end; index++ {
		if p, ok := t.Partition(index); !ok || p.Leader < 0 {
			return false
		}
	}
	return true
}

// await waits until ready says so of each result at the given places, and puts REQUEST_TIMED_OUT into those of which it does not
// before timeout has passed or ctx is done.
func (c *Controller) await(ctx context.Context, results []TopicResult, places []int, timeout time.Duration, ready func(*metadata.Image, TopicResult) bool) {
	places = slices.Clone(places)
	timer := time.NewTimer(max(timeout, 0))
	defer timer.Stop()
	for {
		changed := c.cfg.Metadata.Changed()
		image := c.cfg.Metadata.Image()
		places = slices.DeleteFunc(places, func(i int) bool { return ready(image, results[i]) })
		if len(places) == 0 {
			return
		}
		if timeout > 0 {
			select {
			case <-changed:
				continue
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		for _, i := range places {
			results[i] = failed(results[i].Name, kerr.RequestTimedOut.Err())
		}
		return
	}
}
