// Package admin creates, deletes and describes topics, and looks at a cluster and its settings.
//
//	a := admin.New(cl)
//	results, err := a.CreateTopics(ctx, []admin.NewTopic{{Name: "orders", Partitions: 6, ReplicationFactor: 3}}, admin.CreateOptions{})
//
// Outcomes per topic or resource are in the results, as nil or as a [*kerr.Error]; the error of a call is for the call as a whole, when nobody
// has answered. Calls find their broker by themselves (F§10.2) and are repeated after retriable errors until the context ends or the client's
// API timeout has passed.
//
// An [Admin] has no goroutines and nothing to close; its methods are safe for concurrent use.
package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// DefaultTimeout is how long brokers wait for a topic to be created or deleted everywhere if the caller does not say (the
// default.api.timeout.ms of Kafka's admin client is 60 s, of which it gives brokers the request timeout).
const DefaultTimeout = 30 * time.Second

// Admin manages a cluster.
type Admin struct{ cl *client.Client }

// New returns an admin client on cl.
func New(cl *client.Client) *Admin { return &Admin{cl} }

// Cluster is the description of a cluster.
type Cluster struct {
	// ID is the content of /cluster/id.
	ID string
	// Controller is [cluster.NoBroker] when unknown.
	Controller cluster.BrokerID
	// Brokers that are alive, by id.
	Brokers []client.Broker
}

// DescribeCluster asks any broker for its picture of the cluster.
func (a *Admin) DescribeCluster(ctx context.Context) (Cluster, error) {
	var r *ottlapb.DescribeClusterResponse
	err := a.cl.Do(ctx, client.AnyBroker, "describe cluster", func(ctx context.Context, api *client.API) (err error) {
		r, err = api.Metadata.DescribeCluster(ctx, &ottlapb.DescribeClusterRequest{})
		return err
	})
	if err != nil {
		return Cluster{}, err
	}
	c := Cluster{ID: r.GetClusterId(), Controller: cluster.BrokerID(r.GetControllerId())}
	for _, n := range r.GetBrokers() {
		c.Brokers = append(c.Brokers, client.Broker{ID: cluster.BrokerID(n.GetId()), Host: n.GetHost(), Port: n.GetPort(), Rack: n.GetRack()})
	}
	slices.SortFunc(c.Brokers, func(x, y client.Broker) int { return int(x.ID) - int(y.ID) })
	return c, nil
}

// ListTopics describes all topics, by name, internal ones included.
func (a *Admin) ListTopics(ctx context.Context) ([]client.Topic, error) {
	return a.describe(ctx, "list topics", &ottlapb.DescribeTopicsRequest{AllTopics: true})
}

// DescribeTopics describes topics in the order of the names. Topics that do not exist have an Err; none are created.
func (a *Admin) DescribeTopics(ctx context.Context, names []string) ([]client.Topic, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return a.describe(ctx, "describe topics", &ottlapb.DescribeTopicsRequest{TopicNames: names})
}

func (a *Admin) describe(ctx context.Context, op string, req *ottlapb.DescribeTopicsRequest) ([]client.Topic, error) {
	var r *ottlapb.DescribeTopicsResponse
	err := a.cl.Do(ctx, client.AnyBroker, op, func(ctx context.Context, api *client.API) (err error) {
		r, err = api.Topics.DescribeTopics(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	topics := make([]client.Topic, 0, len(r.GetTopics()))
	for _, t := range r.GetTopics() {
		topics = append(topics, client.TopicOf(t))
	}
	if req.GetAllTopics() {
		slices.SortFunc(topics, func(x, y client.Topic) int { return strings.Compare(x.Name, y.Name) })
	}
	return topics, nil
}

// ListOffsets looks up offsets; see [client.Client.ListOffsets].
func (a *Admin) ListOffsets(ctx context.Context, isolation client.Isolation, at map[cluster.TopicPartition]int64) (map[cluster.TopicPartition]client.OffsetResult, error) {
	return a.cl.ListOffsets(ctx, isolation, at)
}

// ConfigResource names something that has settings.
type ConfigResource struct {
	// Type is a topic or a broker.
	Type ottlapb.ConfigResourceType
	// Name is the topic's name or the broker's id.
	Name string
	// Names restricts the answer to these settings; empty means all.
	Names []string
}

// ConfigEntry is a setting that is in effect.
type ConfigEntry struct {
	// Name of the setting.
	Name string
	// Value in text form; empty for sensitive settings.
	Value string
	// Source is where the value comes from.
	Source ottlapb.ConfigSource
	// ReadOnly is true when it cannot be changed while the broker runs.
	ReadOnly bool
	// Sensitive is true for passwords.
	Sensitive bool
	// Synonyms holds the values from all sources, the effective one first, if asked for.
	Synonyms []ConfigSynonym
}

// ConfigSynonym is a value that a setting has in one place.
type ConfigSynonym struct {
	// Name of the setting in that place.
	Name string
	// Value in text form.
	Value string
	// Source is the place.
	Source ottlapb.ConfigSource
}

// ConfigResult describes one resource.
type ConfigResult struct {
	// Type of the resource.
	Type ottlapb.ConfigResourceType
	// Name of the resource.
	Name string
	// Entries by name.
	Entries []ConfigEntry
	// Err is why there are none.
	Err error
}

// DescribeConfigs shows the effective settings of topics and brokers, in the order of the resources. Brokers are asked themselves, any broker
// is asked for topics.
func (a *Admin) DescribeConfigs(ctx context.Context, resources []ConfigResource, synonyms bool) ([]ConfigResult, error) {
	results := make([]ConfigResult, len(resources))
	byTarget := map[client.Target][]int{}
	for i, r := range resources {
		results[i] = ConfigResult{Type: r.Type, Name: r.Name}
		target := client.AnyBroker
		if r.Type == ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER {
			id, err := strconv.ParseInt(r.Name, 10, 32)
			if err != nil || id < 0 {
				results[i].Err = kerr.InvalidRequest.With(fmt.Sprintf("broker id %q is not a number from 0 up", r.Name))
				continue
			}
			target = client.OnBroker(cluster.BrokerID(id))
		}
		byTarget[target] = append(byTarget[target], i)
	}
	for target, indexes := range byTarget {
		if err := a.describeConfigs(ctx, target, resources, indexes, synonyms, results); err != nil {
			if len(byTarget) == 1 {
				return nil, err
			}
			for _, i := range indexes {
				results[i].Err = err
			}
		}
	}
	return results, nil
}

// describeConfigs asks one broker about the resources with the given indexes.
func (a *Admin) describeConfigs(ctx context.Context, target client.Target, resources []ConfigResource, indexes []int, synonyms bool, results []ConfigResult) error {
	req := &ottlapb.DescribeConfigsRequest{IncludeSynonyms: synonyms}
	for _, i := range indexes {
		r := resources[i]
		req.Resources = append(req.Resources, &ottlapb.ConfigResource{Type: r.Type, Name: r.Name, ConfigNames: r.Names})
	}
	var resp *ottlapb.DescribeConfigsResponse
	err := a.cl.Do(ctx, target, "describe configs", func(ctx context.Context, api *client.API) (err error) {
		resp, err = api.Topics.DescribeConfigs(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	type key struct {
		typ  ottlapb.ConfigResourceType
		name string
	}
	answers := map[key]*ottlapb.ConfigDescription{}
	for _, d := range resp.GetResults() {
		answers[key{d.GetType(), d.GetName()}] = d
	}
	for _, i := range indexes {
		d := answers[key{resources[i].Type, resources[i].Name}]
		if d == nil {
			results[i].Err = kerr.UnknownServerError.With("the broker's answer leaves the resource out")
			continue
		}
		results[i].Err = errorOf(d.GetErrorCode(), d.GetErrorMessage())
		for _, v := range d.GetEntries() {
			results[i].Entries = append(results[i].Entries, entryOf(v))
		}
	}
	return nil
}

func entryOf(v *ottlapb.ConfigValue) ConfigEntry {
	e := ConfigEntry{Name: v.GetName(), Value: v.GetValue(), Source: v.GetSource(), ReadOnly: v.GetReadOnly(), Sensitive: v.GetIsSensitive()}
	for _, s := range v.GetSynonyms() {
		e.Synonyms = append(e.Synonyms, ConfigSynonym{Name: s.GetName(), Value: s.GetValue(), Source: s.GetSource()})
	}
	return e
}

// errorOf turns a code and a text from an answer into an error, or nil.
func errorOf(code int32, message string) error {
	if c := kerr.Code(code); c != kerr.None {
		return c.With(message)
	}
	return nil
}

// sortedKeys returns a map's keys in order.
func sortedKeys[K ~int32 | ~string, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
