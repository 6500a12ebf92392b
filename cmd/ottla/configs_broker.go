package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// brokerConfigs changes settings at the brokers.
type brokerConfigs struct {
	client *client.Client
	admin  *admin.Admin
	std    streams
}

// openBrokerConfigs connects to the brokers.
func openBrokerConfigs(ctx context.Context, f *configFlags, std streams, log hclog.Logger) (configStore, error) {
	cl, _, err := dialAdmin(ctx, f.bootstrap.Text(), f.commandConfig, "adminclient-1", log)
	if err != nil {
		return nil, err
	}
	return &brokerConfigs{cl, admin.New(cl), std}, nil
}

// close ends the connection.
func (b *brokerConfigs) close() { _ = b.client.Close() }

// resourceType returns the type of an entity in the protocol, and where its dynamic settings come from.
func (t configTarget) resourceType() (ottlapb.ConfigResourceType, ottlapb.ConfigSource) {
	switch {
	case t.typ == topicsType:
		return ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC, ottlapb.ConfigSource_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG
	case t.name == "":
		return ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER, ottlapb.ConfigSource_CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER_CONFIG
	default:
		return ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER, ottlapb.ConfigSource_CONFIG_SOURCE_DYNAMIC_BROKER_CONFIG
	}
}

// entries asks for the settings of an entity: the dynamic ones, or all.
func (b *brokerConfigs) entries(ctx context.Context, t configTarget, synonyms, all bool) ([]admin.ConfigEntry, error) {
	typ, source := t.resourceType()
	var r admin.ConfigResult
	var err error
	if t.typ == brokersType && t.name == "" {
		r, err = b.admin.DescribeBrokerDefaults(ctx, synonyms)
	} else {
		var results []admin.ConfigResult
		if results, err = b.admin.DescribeConfigs(ctx, []admin.ConfigResource{{Type: typ, Name: t.name}}, synonyms); err == nil {
			r = results[0]
		}
	}
	if err := firstError(err, r.Err); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(r.Entries, func(e admin.ConfigEntry) bool { return !all && e.Source != source }), nil
}

// describe prints the settings of one or of all entities.
func (b *brokerConfigs) describe(ctx context.Context, t configTarget, all bool) error {
	names := []string{t.name}
	if !t.given || !all && t.name != "" {
		known, err := b.known(ctx, t.typ)
		switch {
		case err != nil:
			return err
		case !t.given:
			names = known
		case !slices.Contains(known, t.name):
			if t.typ == topicsType {
				if err := cluster.ValidateTopicName(t.name); err != nil {
					return err
				}
			}
			fmt.Fprintf(b.std.out, "The %s '%s' doesn't exist and doesn't have dynamic config.\n", t.singular(), t.name)
			return nil
		}
	}
	for _, name := range names {
		if err := b.print(ctx, configTarget{t.typ, name, true}, all); err != nil {
			return err
		}
	}
	return nil
}

// known lists the entities of a type; of brokers also the default of all, at the end.
func (b *brokerConfigs) known(ctx context.Context, typ string) ([]string, error) {
	var names []string
	if typ == topicsType {
		topics, err := b.admin.ListTopics(ctx)
		for _, t := range topics {
			names = append(names, t.Name)
		}
		return names, err
	}
	c, err := b.admin.DescribeCluster(ctx)
	for _, broker := range c.Brokers {
		names = append(names, strconv.Itoa(int(broker.ID)))
	}
	return append(names, ""), err
}

// print prints the settings of one entity.
func (b *brokerConfigs) print(ctx context.Context, t configTarget, all bool) error {
	switch {
	case t.name == "":
		fmt.Fprintf(b.std.out, "Default configs for %s in the cluster are:\n", t.typ)
	case all:
		fmt.Fprintf(b.std.out, "All configs for %s %s are:\n", t.singular(), t.name)
	default:
		fmt.Fprintf(b.std.out, "Dynamic configs for %s %s are:\n", t.singular(), t.name)
	}
	entries, err := b.entries(ctx, t, true, all)
	if err != nil {
		return err
	}
	nullable := nullableSettings(t.typ)
	for _, e := range entries {
		show := func(name, value string) string {
			if e.Sensitive || value == "" && nullable[name] {
				value = "null"
			}
			return name + "=" + value
		}
		var synonyms []string
		for _, s := range e.Synonyms {
			synonyms = append(synonyms, strings.TrimPrefix(s.Source.String(), "CONFIG_SOURCE_")+":"+show(s.Name, s.Value))
		}
		fmt.Fprintf(b.std.out, "  %s sensitive=%v synonyms={%s}\n", show(e.Name, e.Value), e.Sensitive, strings.Join(synonyms, ", "))
	}
	return nil
}

// nullableSettings returns the settings that may have no value, which Kafka shows as null.
func nullableSettings(typ string) map[string]bool {
	m := map[string]bool{}
	if typ == brokersType {
		for _, k := range config.BrokerKeys() {
			m[k.Name] = k.Null
		}
	}
	return m
}

// alter changes the settings of an entity.
func (b *brokerConfigs) alter(ctx context.Context, t configTarget, add config.Properties, remove []string) error {
	before, err := b.entries(ctx, t, false, false)
	if err != nil {
		return err
	}
	there := func(name string) bool {
		return slices.ContainsFunc(before, func(e admin.ConfigEntry) bool { return e.Name == name })
	}
	if err := missing(there, remove); err != nil {
		return err
	}
	typ, _ := t.resourceType()
	a := admin.ConfigAlteration{Type: typ, Name: t.name}
	for _, name := range sortedNames(add) {
		a.Changes = append(a.Changes, admin.ConfigChange{Name: name, Op: admin.SetConfig, Value: add[name]})
	}
	for _, name := range remove {
		a.Changes = append(a.Changes, admin.ConfigChange{Name: name, Op: admin.DeleteConfig})
	}
	outcomes, err := b.admin.AlterConfigs(ctx, []admin.ConfigAlteration{a}, false)
	if err != nil {
		return err
	}
	if outcomes[0] != nil {
		return outcomes[0]
	}
	if t.name == "" {
		fmt.Fprintf(b.std.out, "Completed updating default config for %s in the cluster.\n", t.typ)
	} else {
		fmt.Fprintf(b.std.out, "Completed updating config for %s %s.\n", t.singular(), t.name)
	}
	return nil
}
