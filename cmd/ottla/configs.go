package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
)

// Types of entities that have settings, as --entity-type names them.
const (
	topicsType        = "topics"
	clientsType       = "clients"
	usersType         = "users"
	brokersType       = "brokers"
	brokerLoggersType = "broker-loggers"
	ipsType           = "ips"
)

// configFlags are the options of kafka-configs (F§7.5).
type configFlags struct {
	set *flags.Set

	bootstrap, zookeeper, commandConfig, zkTLS *flags.Option
	alter, describe, all                       *flags.Option
	entityType, entityName, entityDefault      *flags.Option
	add, addFile, remove                       *flags.Option
	named, defaults                            []entityFlag
}

// entityFlag is a shortcut for --entity-type with --entity-name or --entity-default.
type entityFlag struct {
	option *flags.Option
	typ    string
}

// newConfigFlags declares the options.
func newConfigFlags() *configFlags {
	s := flags.New("This tool helps to manipulate and describe entity config for a topic, client, user, broker or ip")
	f := &configFlags{
		set:           s,
		bootstrap:     s.Value("bootstrap-server", flags.String, "server to connect to", "The brokers to ask first, as host1:port1,host2:port2."),
		zookeeper:     s.Value("zookeeper", flags.String, "urls", "DEPRECATED, use --bootstrap-server. The ZooKeeper servers, as host1:port1,host2:port2/path. For topics, and for brokers that are down."),
		commandConfig: s.Value("command-config", flags.String, "command config property file", "A properties file with settings for the admin client. Only with --bootstrap-server."),
		zkTLS:         s.Value("zk-tls-config-file", flags.String, "ZooKeeper TLS configuration", "A properties file with settings for TLS to ZooKeeper; not available yet."),
		alter:         s.Flag("alter", "Alter the configuration for the entity."),
		describe:      s.Flag("describe", "List configs for the given entity."),
		all:           s.Flag("all", "With --describe: list all settings, not only those that are dynamic."),
		entityType:    s.Value("entity-type", flags.String, "", "Type of entity (topics/clients/users/brokers/broker-loggers/ips).").Many(),
		entityName:    s.Value("entity-name", flags.String, "", "Name of entity (topic name/client id/user principal name/broker id/ip).").Many(),
		entityDefault: s.Flag("entity-default", "Default entity name for clients/users/brokers/ips."),
		add:           s.Value("add-config", flags.String, "", "Key value pairs of configs to add. Square brackets can be used to group values which contain commas: 'k1=v1,k2=[v1,v2,v2],k3=v3'."),
		addFile:       s.Value("add-config-file", flags.String, "", "A properties file with configs to add."),
		remove:        s.Value("delete-config", flags.String, "", "Config keys to remove: 'k1,k2'.").Many(),
	}
	shortcut := func(name, typ, doc string) {
		f.named = append(f.named, entityFlag{s.Value(name, flags.String, "", doc), typ})
	}
	shortcut("topic", topicsType, "The topic's name.")
	shortcut("client", clientsType, "The client's ID.")
	shortcut("user", usersType, "The user's principal name.")
	shortcut("broker", brokersType, "The broker's ID.")
	shortcut("broker-logger", brokerLoggersType, "The broker's ID for its logger config.")
	shortcut("ip", ipsType, "The IP address.")
	for _, d := range []struct{ name, typ string }{{"client-defaults", clientsType}, {"user-defaults", usersType}, {"broker-defaults", brokersType}, {"ip-defaults", ipsType}} {
		f.defaults = append(f.defaults, entityFlag{s.Flag(d.name, "The config defaults for all "+d.typ+"."), d.typ})
	}
	s.Flag("force", "Suppress console prompts.")
	return f
}

// configTarget is what the command works on.
type configTarget struct {
	typ string
	// name of the entity; "" with given stands for the default of all.
	name string
	// given is false when all entities of the type are meant.
	given bool
}

// singular returns the type without its plural s.
func (t configTarget) singular() string { return strings.TrimSuffix(t.typ, "s") }

// types lists the types of entities that were named.
func (f *configFlags) types() []string {
	types := slices.Clone(f.entityType.Texts())
	for _, e := range append(slices.Clone(f.named), f.defaults...) {
		if e.option.Given() {
			types = append(types, e.typ)
		}
	}
	return types
}

// names lists the names of entities, "" for a default.
func (f *configFlags) names() []string {
	names := slices.Clone(f.entityName.Texts())
	if f.entityDefault.Given() {
		names = append(names, "")
	}
	for _, e := range f.named {
		if e.option.Given() {
			names = append(names, e.option.Text())
		}
	}
	for _, e := range f.defaults {
		if e.option.Given() {
			names = append(names, "")
		}
	}
	return names
}

// check judges the options together, in the order of ConfigCommandOptions.checkArgs, and returns what to work on.
func (f *configFlags) check() (configTarget, error) {
	var t configTarget
	types, names := f.types(), f.names()
	if err := f.checkEntities(types); err != nil {
		return t, err
	}
	t.typ = types[0]
	switch {
	case f.bootstrap.Given() && f.zookeeper.Given():
		return t, kafkaError("Only one of --bootstrap-server or --zookeeper must be specified")
	case f.all.Given() && f.zookeeper.Given():
		return t, kafkaError("--bootstrap-server must be specified for --all")
	case f.zkTLS.Given() && f.bootstrap.Given():
		return t, kafkaError("--bootstrap-server doesn't support --zk-tls-config-file option. If you intend the command to communicate directly with ZooKeeper, please use the option --zookeeper instead of --bootstrap-server. Otherwise, remove the --zk-tls-config-file option.")
	case f.zkTLS.Given():
		return t, kafkaError("TLS to ZooKeeper is not available yet.")
	case t.typ != topicsType && t.typ != brokersType:
		return t, kafkaError("Configs of %s are not available yet: only those of topics and brokers are.", t.typ)
	}
	if len(names) > 1 {
		return t, kafkaError("Only one entity name may be specified with --entity-type %s", t.typ)
	}
	if len(names) == 1 {
		t.name, t.given = names[0], true
	}
	if t.typ == brokersType && t.name != "" {
		if _, err := strconv.ParseInt(t.name, 10, 32); err != nil {
			return t, kafkaError("The entity name for brokers must be a valid integer broker id, but it is: %s", t.name)
		}
	}
	if f.alter.Given() {
		return t, f.checkAlter(t)
	}
	return t, nil
}

// checkEntities judges the types of entities.
func (f *configFlags) checkEntities(types []string) error {
	for i, typ := range types {
		if slices.Contains(types[:i], typ) {
			return kafkaError("Duplicate entity type(s) specified: %s", typ)
		}
	}
	allowed, with := []string{topicsType, clientsType, usersType, brokersType, ipsType}, "--zookeeper"
	if f.bootstrap.Given() {
		allowed, with = append(allowed, brokerLoggersType), "--bootstrap-server"
	}
	if !f.bootstrap.Given() && !f.zookeeper.Given() {
		return kafkaError("One of the required --bootstrap-server or --zookeeper arguments must be specified")
	}
	for _, typ := range types {
		if !slices.Contains(allowed, typ) {
			return kafkaError("Invalid entity type %s, the entity type must be one of %s with the %s argument", typ, strings.Join(allowed, ", "), with)
		}
	}
	switch {
	case len(types) == 0:
		return kafkaError("At least one entity type must be specified")
	case len(types) > 1 && !(len(types) == 2 && slices.Contains(types, usersType) && slices.Contains(types, clientsType)):
		return kafkaError("Only 'users' and 'clients' entity types may be specified together")
	}
	if f.entityName.Given() || f.entityDefault.Given() {
		for _, e := range append(slices.Clone(f.named), f.defaults...) {
			if e.option.Given() {
				return kafkaError("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
			}
		}
	}
	return nil
}

// checkAlter judges the options of --alter.
func (f *configFlags) checkAlter(t configTarget) error {
	switch {
	case t.typ == topicsType && t.name == "":
		return kafkaError("an entity name must be specified with --alter of %s", t.typ)
	case !t.given:
		return kafkaError("an entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
	case f.add.Given() && f.addFile.Given():
		return kafkaError("Only one of --add-config or --add-config-file must be specified")
	case !f.add.Given() && !f.addFile.Given() && !f.remove.Given():
		return kafkaError("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
	}
	return nil
}

// configStore is where settings are changed: at the brokers, or in ZooKeeper itself as the tool of Kafka 2.8 does.
type configStore interface {
	// describe prints the settings of one or of all entities.
	describe(ctx context.Context, t configTarget, all bool) error
	// alter changes the settings of an entity, and prints that it has.
	alter(ctx context.Context, t configTarget, add config.Properties, remove []string) error
	close()
}

// runConfigs is kafka-configs.
func runConfigs(ctx context.Context, args []string, std streams) int {
	f := newConfigFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if f.alter.Given() == f.describe.Given() {
		return usageError(f.set, kafkaError("Command must include exactly one action: --describe, --alter"), std)
	}
	if err := flags.CheckInvalid(f.describe, f.add, f.addFile, f.remove); err != nil {
		return usageError(f.set, err, std)
	}
	err := f.act(ctx, std, toolLogger(std.err, "kafka.admin.ConfigCommand$"))
	var user userError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return interrupted(ctx)
	case errors.As(err, &user):
		fmt.Fprintln(std.err, user)
	default:
		fmt.Fprintf(std.err, "Error while executing config command with args '%s'\n%s\n", strings.Join(args, " "), err)
	}
	return 1
}

// act does what the options ask for.
func (f *configFlags) act(ctx context.Context, std streams, log hclog.Logger) error {
	target, err := f.check()
	if err != nil {
		return err
	}
	var add config.Properties
	var remove []string
	if f.alter.Given() {
		if add, remove, err = f.changes(std); err != nil {
			return err
		}
	}
	var store configStore
	if f.zookeeper.Given() {
		fmt.Fprint(std.out, zooKeeperIsOld)
		store, err = openZooKeeperConfigs(ctx, f.zookeeper.Text(), std, log)
	} else {
		store, err = openBrokerConfigs(ctx, f, std, log)
	}
	if err != nil {
		return err
	}
	defer store.close()
	if f.alter.Given() {
		return store.alter(ctx, target, add, remove)
	}
	return store.describe(ctx, target, f.all.Given())
}

// changes reads what to add and what to remove.
func (f *configFlags) changes(std streams) (add config.Properties, remove []string, err error) {
	add = config.Properties{}
	switch {
	case f.addFile.Given():
		if add, err = fileProperties(f.addFile); err == nil {
			err = checkKeys(add)
		}
	case f.add.Given():
		add, err = parseAddConfig(f.add.Text())
	}
	if err != nil {
		return nil, nil, err
	}
	if version, ok := add["message.format.version"]; ok {
		fmt.Fprintf(std.out, "WARNING: The configuration message.format.version=%s is specified. This configuration will be ignored if the version is newer than the inter.broker.protocol.version specified in the broker.\n", version)
	}
	if f.remove.Given() {
		remove, err = parseDeleteConfig(f.remove.Texts())
	}
	return add, remove, err
}

// missing returns an error if settings are to be removed that are not there.
func missing(there func(name string) bool, remove []string) error {
	absent := slices.DeleteFunc(slices.Clone(remove), there)
	if len(absent) > 0 {
		return kafkaError("Invalid config(s): %s", strings.Join(absent, ","))
	}
	return nil
}
