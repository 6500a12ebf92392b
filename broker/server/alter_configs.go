package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// Alterer changes dynamic settings. Of several changes to one resource all are made, or none. The errors carry a [kerr.Code].
type Alterer interface {
	// AlterTopic changes the settings of a topic, which exists.
	AlterTopic(ctx context.Context, name string, changes []ConfigChange, validateOnly bool) error
	// AlterBroker changes the settings of this broker.
	AlterBroker(ctx context.Context, changes []ConfigChange, validateOnly bool) error
	// AlterBrokerDefaults changes what all brokers share.
	AlterBrokerDefaults(ctx context.Context, changes []ConfigChange, validateOnly bool) error
}

// ConfigOperation is what happens to a setting.
type ConfigOperation = ottlapb.AlterConfigOperation

// ConfigChange is the change of one setting. The operation is one that exists, and no other change of the resource has the same name.
type ConfigChange struct {
	// Name of the setting.
	Name string
	// Operation is what happens to it.
	Operation ConfigOperation
	// Value to set, add or take out.
	Value string
}

// IncrementalAlterConfigs changes dynamic settings of topics, of this broker, and of all brokers (KIP-339, F§10.2). Each resource has an outcome of
// its own; one that comes twice fails in all its places.
func (s *Server) IncrementalAlterConfigs(ctx context.Context, req *ottlapb.IncrementalAlterConfigsRequest) (*ottlapb.IncrementalAlterConfigsResponse, error) {
	n := len(req.GetResources())
	for _, r := range req.GetResources() {
		n += len(r.GetConfigs())
	}
	if n > s.limits.Entries {
		return nil, tooMany("resources and settings", n, s.limits.Entries)
	}
	type resource struct {
		typ  ottlapb.ConfigResourceType
		name string
	}
	twice := duplicates(len(req.GetResources()), func(i int) resource { return resource{req.Resources[i].GetType(), req.Resources[i].GetName()} })
	res := &ottlapb.IncrementalAlterConfigsResponse{}
	for _, r := range req.GetResources() {
		var err error
		if twice[resource{r.GetType(), r.GetName()}] {
			err = kerr.InvalidRequest.With("Each resource must appear at most once.")
		} else {
			err = s.alter(ctx, r, req.GetValidateOnly())
		}
		code, message := outcome(err)
		res.Results = append(res.Results, &ottlapb.AlterConfigsResult{ErrorCode: int32(code), ErrorMessage: message, Type: r.GetType(), Name: r.GetName()})
	}
	return res, nil
}

// alter changes one resource.
func (s *Server) alter(ctx context.Context, r *ottlapb.AlterableConfigResource, validateOnly bool) error {
	if s.deps.Alterer == nil {
		return kerr.InvalidRequest.With("this broker does not change settings")
	}
	changes, err := configChanges(r.GetConfigs())
	if err != nil {
		return err
	}
	switch r.GetType() {
	case ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC:
		if r.GetName() == "" {
			return kerr.InvalidRequest.With("Default topic resources are not allowed.")
		}
		if _, ok := s.deps.Metadata.Image().Topic(r.GetName()); !ok {
			return kerr.UnknownTopicOrPartition.With("The topic '" + r.GetName() + "' does not exist.")
		}
		return s.deps.Alterer.AlterTopic(ctx, r.GetName(), changes, validateOnly)
	case ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER:
		if r.GetName() == "" {
			return s.deps.Alterer.AlterBrokerDefaults(ctx, changes, validateOnly)
		}
		if err := s.ownName(r.GetName()); err != nil {
			return err
		}
		return s.deps.Alterer.AlterBroker(ctx, changes, validateOnly)
	default:
		return kerr.InvalidRequest.With(fmt.Sprintf("Unknown resource type %d", r.GetType()))
	}
}

// configChanges decodes the changes of one resource.
func configChanges(in []*ottlapb.AlterableConfig) ([]ConfigChange, error) {
	if len(duplicates(len(in), func(i int) string { return in[i].GetName() })) > 0 {
		return nil, kerr.InvalidRequest.With("Error due to duplicate config keys")
	}
	var unknown []string
	changes := make([]ConfigChange, len(in))
	for i, c := range in {
		changes[i] = ConfigChange{Name: c.GetName(), Operation: c.GetOperation(), Value: c.GetValue()}
		switch c.GetOperation() {
		case ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SET, ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_DELETE,
			ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_APPEND, ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SUBTRACT:
		default:
			unknown = append(unknown, c.GetName())
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, kerr.InvalidRequest.With("Unknown operations on: " + strings.Join(unknown, ", "))
	}
	return changes, nil
}

// ownName checks that the name of a broker resource is this broker's id.
func (s *Server) ownName(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return kerr.InvalidRequest.With("Broker id must be an integer, but it is: " + name)
	}
	if cluster.BrokerID(id) != s.deps.BrokerID {
		return kerr.InvalidRequest.With(fmt.Sprintf("Unexpected broker id, expected %d, but received %s", s.deps.BrokerID, name))
	}
	return nil
}
