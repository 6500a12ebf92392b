package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// ConfigOp is what happens to a setting.
type ConfigOp = ottlapb.AlterConfigOperation

// The operations on settings (KIP-339).
const (
	// SetConfig sets the value.
	SetConfig = ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SET
	// DeleteConfig takes the setting away, so that the next source counts.
	DeleteConfig = ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_DELETE
	// AppendConfig adds elements to a list.
	AppendConfig = ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_APPEND
	// SubtractConfig takes elements out of a list.
	SubtractConfig = ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SUBTRACT
)

// ConfigChange is the change of one setting.
type ConfigChange struct {
	// Name of the setting.
	Name string
	// Op is what happens to it.
	Op ConfigOp
	// Value to set, or the elements to add or take out with commas between.
	Value string
}

// ConfigAlteration is what to change of a topic or a broker. All of the changes are made, or, when one is invalid, none.
type ConfigAlteration struct {
	// Type is a topic or a broker.
	Type ottlapb.ConfigResourceType
	// Name is the topic's name or the broker's id; empty for what all brokers share.
	Name string
	// Changes of settings, each of another one.
	Changes []ConfigChange
}

// AlterConfigs changes dynamic settings of topics and brokers and returns for each, in order, nil or why nothing was changed. Brokers are asked
// themselves, any broker is asked for the rest. With validateOnly everything is checked and nothing changed.
func (a *Admin) AlterConfigs(ctx context.Context, alterations []ConfigAlteration, validateOnly bool) ([]error, error) {
	outcomes := make([]error, len(alterations))
	byTarget := map[client.Target][]int{}
	for i, r := range alterations {
		target := client.AnyBroker
		if r.Type == ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER && r.Name != "" {
			id, err := strconv.ParseInt(r.Name, 10, 32)
			if err != nil || id < 0 {
				outcomes[i] = kerr.InvalidRequest.With(fmt.Sprintf("broker id %q is not a number from 0 up", r.Name))
				continue
			}
			target = client.OnBroker(cluster.BrokerID(id))
		}
		byTarget[target] = append(byTarget[target], i)
	}
	for target, indexes := range byTarget {
		if err := a.alterConfigs(ctx, target, alterations, indexes, validateOnly, outcomes); err != nil {
			if len(byTarget) == 1 {
				return nil, err
			}
			for _, i := range indexes {
				outcomes[i] = err
			}
		}
	}
	return outcomes, nil
}

// alterConfigs asks one broker for the alterations with the given indexes.
func (a *Admin) alterConfigs(ctx context.Context, target client.Target, alterations []ConfigAlteration, indexes []int, validateOnly bool, outcomes []error) error {
	req := &ottlapb.IncrementalAlterConfigsRequest{ValidateOnly: validateOnly}
	for _, i := range indexes {
		r := &ottlapb.AlterableConfigResource{Type: alterations[i].Type, Name: alterations[i].Name}
		for _, c := range alterations[i].Changes {
			r.Configs = append(r.Configs, &ottlapb.AlterableConfig{Name: c.Name, Operation: c.Op, Value: c.Value})
		}
		req.Resources = append(req.Resources, r)
	}
	var resp *ottlapb.IncrementalAlterConfigsResponse
	err := a.cl.Do(ctx, target, "alter configs", func(ctx context.Context, api *client.API) (err error) {
		resp, err = api.Topics.IncrementalAlterConfigs(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	for n, i := range indexes {
		if n >= len(resp.GetResults()) {
			outcomes[i] = kerr.UnknownServerError.With("the broker's answer leaves the resource out")
			continue
		}
		outcomes[i] = errorOf(resp.Results[n].GetErrorCode(), resp.Results[n].GetErrorMessage())
	}
	return nil
}

// DescribeBrokerDefaults shows the dynamic settings that all brokers share, as any broker knows them.
func (a *Admin) DescribeBrokerDefaults(ctx context.Context, synonyms bool) (ConfigResult, error) {
	const broker = ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER
	results := []ConfigResult{{Type: broker}}
	err := a.describeConfigs(ctx, client.AnyBroker, []ConfigResource{{Type: broker}}, []int{0}, synonyms, results)
	return results[0], err
}
