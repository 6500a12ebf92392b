package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Configs describes effective settings.
type Configs interface {
	// DescribeTopic describes a topic's settings. The topic exists.
	DescribeTopic(name string) ([]ConfigEntry, error)
	// DescribeBroker describes this broker's settings.
	DescribeBroker() ([]ConfigEntry, error)
	// DescribeBrokerDefaults describes the dynamic settings that all brokers share.
	DescribeBrokerDefaults() ([]ConfigEntry, error)
}

// ConfigSource is the place that a setting comes from. The numbers are Kafka's.
type ConfigSource = ottlapb.ConfigSource

// ConfigEntry is an effective setting.
type ConfigEntry struct {
	// Name and Value of the setting. The value of a sensitive one is not passed on.
	Name, Value string
	// Source is where the value comes from.
	Source ConfigSource
	// ReadOnly is true when the setting cannot be changed while the broker runs.
	ReadOnly bool
	// Sensitive is true for passwords.
	Sensitive bool
	// Synonyms are the values that the setting has in all places, the effective one first.
	Synonyms []ConfigSynonym
}

// ConfigSynonym is a value that a setting has in one place.
type ConfigSynonym struct {
	// Name and Value of the setting in that place.
	Name, Value string
	// Source is the place.
	Source ConfigSource
}

// DescribeConfigs shows settings of topics and of this broker.
func (s *Server) DescribeConfigs(_ context.Context, req *ottlapb.DescribeConfigsRequest) (*ottlapb.DescribeConfigsResponse, error) {
	n := len(req.GetResources())
	for _, r := range req.GetResources() {
		n += len(r.GetConfigNames())
	}
	if n > s.limits.Entries {
		return nil, tooMany("resources and settings", n, s.limits.Entries)
	}
	res := &ottlapb.DescribeConfigsResponse{}
	for _, r := range req.GetResources() {
		d := &ottlapb.ConfigDescription{Type: r.GetType(), Name: r.GetName()}
		entries, err := s.describe(r)
		if err != nil {
			code, message := outcome(err)
			d.ErrorCode, d.ErrorMessage = int32(code), message
		}
		d.Entries = configValues(entries, r.GetConfigNames(), req.GetIncludeSynonyms())
		res.Results = append(res.Results, d)
	}
	return res, nil
}

// describe finds the settings of one resource.
func (s *Server) describe(r *ottlapb.ConfigResource) ([]ConfigEntry, error) {
	if s.deps.Configs == nil {
		return nil, kerr.InvalidRequest.With("this broker does not describe settings")
	}
	switch r.GetType() {
	case ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC:
		if err := cluster.ValidateTopicName(r.GetName()); err != nil {
			return nil, kerr.InvalidTopicException.With(err.Error())
		}
		if _, ok := s.deps.Metadata.Image().Topic(r.GetName()); !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		return s.deps.Configs.DescribeTopic(r.GetName())
	case ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER:
		if r.GetName() == "" {
			return s.deps.Configs.DescribeBrokerDefaults()
		}
		if err := s.ownName(r.GetName()); err != nil {
			return nil, err
		}
		return s.deps.Configs.DescribeBroker()
	default:
		return nil, kerr.InvalidRequest.With(fmt.Sprintf("Unsupported resource type: %d", r.GetType()))
	}
}

// configValues encodes settings, by name. An empty list of names means all.
func configValues(entries []ConfigEntry, names []string, synonyms bool) []*ottlapb.ConfigValue {
	var list []*ottlapb.ConfigValue
	for _, e := range entries {
		if len(names) > 0 && !slices.Contains(names, e.Name) {
			continue
		}
		v := &ottlapb.ConfigValue{Name: e.Name, Value: e.Value, Source: e.Source, ReadOnly: e.ReadOnly, IsSensitive: e.Sensitive}
		if e.Sensitive {
			v.Value = ""
		}
		if synonyms {
			for _, y := range e.Synonyms {
				c := &ottlapb.ConfigSynonym{Name: y.Name, Value: y.Value, Source: y.Source}
				if e.Sensitive {
					c.Value = ""
				}
				v.Synonyms = append(v.Synonyms, c)
			}
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b *ottlapb.ConfigValue) int { return strings.Compare(a.Name, b.Name) })
	return list
}
