package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// topicFlags are the options of kafka-topics (F§7.1).
type topicFlags struct {
	set *flags.Set

	bootstrap, zookeeper, commandConfig    *flags.Option
	create, list, describe, alter, delete  *flags.Option
	topic, topicID                         *flags.Option
	partitions, factor, assignment         *flags.Option
	config, deleteConfig                   *flags.Option
	ifExists, ifNotExists, excludeInternal *flags.Option
	noRacks                                *flags.Option
	filters                                topicFilters
}

// topicFilters are the options that restrict what is described.
type topicFilters struct {
	underReplicated, unavailable, underMinISR, atMinISR, withOverrides *flags.Option
}

// newTopicFlags declares the options.
func newTopicFlags() *topicFlags {
	s := flags.New("This tool helps to create, delete, describe, or change a topic.")
	f := &topicFlags{
		set:             s,
		bootstrap:       s.Value("bootstrap-server", flags.String, "server to connect to", "The brokers to ask first, as host1:port1,host2:port2."),
		zookeeper:       s.Value("zookeeper", flags.String, "hosts", "DEPRECATED, use --bootstrap-server. The ZooKeeper servers, as host1:port1,host2:port2/path."),
		commandConfig:   s.Value("command-config", flags.String, "command config property file", "A properties file with settings for the admin client. Only with --bootstrap-server."),
		create:          s.Flag("create", "Create a new topic."),
		list:            s.Flag("list", "List all available topics."),
		describe:        s.Flag("describe", "List details for the given topics."),
		alter:           s.Flag("alter", "Alter the number of partitions."),
		delete:          s.Flag("delete", "Delete a topic."),
		topic:           s.Value("topic", flags.String, "topic", "The topic to create, alter, describe or delete. It is a regular expression, except for --create."),
		topicID:         s.Value("topic-id", flags.String, "topic-id", "With --describe and --bootstrap-server: the id of the topic, which counts instead of --topic."),
		partitions:      s.Value("partitions", flags.Integer, "# of partitions", "The number of partitions of the topic that is created or altered. The broker's default if not given."),
		factor:          s.Value("replication-factor", flags.Integer, "replication factor", "The number of replicas of each partition of the topic that is created. The broker's default if not given."),
		assignment:      s.Value("replica-assignment", flags.String, "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : broker_id_for_part2_replica2 , ...", "Where the replicas of each partition go, by hand."),
		config:          s.Value("config", flags.String, "name=value", "A setting that overrides the broker's for the topic that is created. The settings are: "+strings.Join(topicSettingNames(), ", ")+".").Many(),
		deleteConfig:    s.Value("delete-config", flags.String, "name", "A setting of the topic to go back to the broker's.").Many(),
		ifExists:        s.Flag("if-exists", "With --alter, --delete and --describe: do nothing if the topic does not exist."),
		ifNotExists:     s.Flag("if-not-exists", "With --create: do nothing if the topic exists."),
		excludeInternal: s.Flag("exclude-internal", "With --list and --describe: leave internal topics out."),
		filters: topicFilters{
			underReplicated: s.Flag("under-replicated-partitions", "With --describe: only partitions with replicas out of sync."),
			unavailable:     s.Flag("unavailable-partitions", "With --describe: only partitions without an available leader."),
			underMinISR:     s.Flag("under-min-isr-partitions", "With --describe: only partitions with fewer replicas in sync than the minimum."),
			atMinISR:        s.Flag("at-min-isr-partitions", "With --describe: only partitions with just the minimum of replicas in sync."),
			withOverrides:   s.Flag("topics-with-overrides", "With --describe: only topics with settings of their own."),
		},
	}
	f.noRacks = s.Flag("disable-rack-aware", "With --zookeeper: place replicas without regard to racks.")
	s.Flag("force", "Suppress console prompts.")
	s.Value("partition-size-limit-per-response", flags.Integer, "maximum number of partitions in one response", "Without effect: answers are split as needed.")
	return f
}

// topicSettingNames lists the settings of topics.
func topicSettingNames() []string {
	var names []string
	for _, k := range config.TopicKeys() {
		names = append(names, k.Name)
	}
	return names
}

// check judges the options together (TopicCommandOptions.checkArgs).
func (f *topicFlags) check() error {
	actions := 0
	for _, o := range []*flags.Option{f.create, f.list, f.describe, f.alter, f.delete} {
		if o.Given() {
			actions++
		}
	}
	if actions != 1 {
		return kafkaError("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
	}
	if f.bootstrap.Given() == f.zookeeper.Given() {
		if f.zookeeper.Given() {
			return kafkaError("Only one of --bootstrap-server or --zookeeper must be specified")
		}
		return kafkaError(`Missing required argument "[bootstrap-server]"`)
	}
	var errs []error
	if f.create.Given() || f.alter.Given() || f.delete.Given() || f.describe.Given() && f.ifExists.Given() {
		errs = append(errs, f.set.CheckRequired(f.topic))
	}
	if f.alter.Given() && !f.zookeeper.Given() {
		if f.config.Given() {
			errs = append(errs, kafkaError(`Option combination "[bootstrap-server],[config]" can't be used with option "[alter]" (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)`))
		}
		errs = append(errs, f.set.CheckRequired(f.partitions))
	}
	if f.create.Given() && f.zookeeper.Given() && !f.assignment.Given() {
		errs = append(errs, f.set.CheckRequired(f.partitions, f.factor))
	}
	create, alter, describe, list, remove := f.create, f.alter, f.describe, f.list, f.delete
	v := &f.filters
	invalid := flags.CheckInvalid
	errs = append(errs,
		invalid(f.config, describe, list, remove), invalid(f.deleteConfig, create, describe, list, remove, f.bootstrap),
		invalid(f.partitions, describe, list, remove), invalid(f.factor, alter, describe, list, remove),
		invalid(f.assignment, describe, list, remove))
	if create.Given() {
		errs = append(errs, invalid(f.assignment, f.partitions, f.factor))
	}
	errs = append(errs,
		invalid(v.underReplicated, create, alter, remove, list, v.unavailable, v.underMinISR, v.atMinISR, v.withOverrides),
		invalid(v.unavailable, create, alter, remove, list, v.underReplicated, v.underMinISR, v.atMinISR, v.withOverrides),
		invalid(v.underMinISR, create, alter, remove, list, v.underReplicated, v.unavailable, v.atMinISR, v.withOverrides, f.zookeeper),
		invalid(v.atMinISR, create, alter, remove, list, v.underReplicated, v.unavailable, v.underMinISR, v.withOverrides, f.zookeeper),
		invalid(v.withOverrides, create, alter, remove, list, v.underReplicated, v.unavailable, v.underMinISR, v.atMinISR),
		invalid(f.ifExists, create, list), invalid(f.ifNotExists, alter, describe, list, remove),
		invalid(f.excludeInternal, create, alter, remove), invalid(f.commandConfig, f.zookeeper),
		invalid(f.topicID, create, alter, list, remove, f.zookeeper))
	return firstError(errs...)
}

// topicStore is where topics are managed: at the brokers, or in ZooKeeper itself as the tool of Kafka 2.8 does.
type topicStore interface {
	create(ctx context.Context, t newTopic) error
	names(ctx context.Context) ([]topicName, error)
	// alter changes existing topics, all in the same way.
	alter(ctx context.Context, names []string, change topicChange) error
	// describe returns what it can with an error.
	describe(ctx context.Context, names []string) ([]topicView, error)
	remove(ctx context.Context, name string) error
	close()
}

// newTopic is a topic to create.
type newTopic struct {
	name               string
	partitions, factor int32 // -1 for the broker's default
	assignment         map[int32][]cluster.BrokerID
	config             map[string]string
	ifNotExists        bool
}

// topicChange is what --alter changes.
type topicChange struct {
	partitions int32                // how many there are to be in all; -1 for no change
	assignment [][]cluster.BrokerID // the replicas of all partitions by hand, those that are there already included; nil lets them be placed
	set        map[string]string
	unset      []string
}

// added returns the given replicas of the partitions that come on top of those that are there; nil lets them be placed.
func (c *topicChange) added(existing int) [][]cluster.BrokerID {
	return c.assignment[min(existing, len(c.assignment)):]
}

// topicName is a topic in a list.
type topicName struct {
	name     string
	id       cluster.TopicID // only brokers tell
	deleting bool            // only ZooKeeper tells
}

// runTopics is kafka-topics.
func runTopics(ctx context.Context, args []string, std streams) int {
	f := newTopicFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if err := f.check(); err != nil {
		return usageError(f.set, err, std)
	}
	log := toolLogger(std.err, "kafka.admin.TopicCommand$")
	if err := f.act(ctx, std, log); err != nil {
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		fmt.Fprintf(std.out, "Error while executing topic command : %s\n", text(err))
		log.Error(err.Error())
		return 1
	}
	return 0
}

// openTopicStore connects.
func (f *topicFlags) openTopicStore(ctx context.Context, std streams, log hclog.Logger) (topicStore, error) {
	if f.zookeeper.Given() {
		racks := state.RackEnforced
		if f.noRacks.Given() {
			racks = state.RackDisabled
		}
		return openZooKeeperTopics(ctx, f.zookeeper.Text(), racks, std, log)
	}
	return openBrokerTopics(ctx, f.bootstrap.Text(), f.commandConfig, log)
}

// act does what the options ask for.
func (f *topicFlags) act(ctx context.Context, std streams, log hclog.Logger) error {
	var topic newTopic
	var change topicChange
	var err error
	switch {
	case f.create.Given():
		topic, err = f.newTopic()
	case f.alter.Given():
		change, err = f.change()
	}
	if err != nil {
		return err
	}
	store, err := f.openTopicStore(ctx, std, log)
	if err != nil {
		return err
	}
	defer store.close()
	if f.create.Given() {
		if strings.ContainsAny(topic.name, "._") {
			fmt.Fprintln(std.out, "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.")
		}
		err := store.create(ctx, topic)
		if errors.Is(err, errNothingDone) {
			return nil
		}
		if err == nil {
			fmt.Fprintf(std.out, "Created topic %s.\n", topic.name)
		}
		return err
	}
	names, err := f.matching(ctx, store)
	if err != nil {
		return err
	}
	switch {
	case f.list.Given():
		lines := make([]string, len(names))
		for i, n := range names {
			if lines[i] = n.name; n.deleting {
				lines[i] += " - marked for deletion"
			}
		}
		fmt.Fprintln(std.out, strings.Join(lines, "\n"))
	case f.describe.Given():
		return f.print(ctx, store, names, std)
	case f.alter.Given():
		altered := make([]string, len(names))
		for i, n := range names {
			altered[i] = n.name
		}
		return store.alter(ctx, altered, change)
	case f.delete.Given():
		for _, n := range names {
			if err := store.remove(ctx, n.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// errNothingDone says that a topic exists and that this is fine.
var errNothingDone = errors.New("nothing to do")

// matching returns the existing topics that --topic and --exclude-internal let through, sorted.
func (f *topicFlags) matching(ctx context.Context, store topicStore) ([]topicName, error) {
	all, err := store.names(ctx)
	if err != nil {
		return nil, err
	}
	keep, absent, err := f.wanted()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n topicName) bool {
		return !keep(n) || f.excludeInternal.Given() && cluster.IsInternalTopic(n.name)
	})
	if len(all) == 0 && absent != nil && !f.ifExists.Given() && !f.list.Given() {
		return nil, absent
	}
	return all, nil
}

// wanted returns which topics --topic-id, or else --topic, means, and what to say if there is none; everything and nil when neither is given.
func (f *topicFlags) wanted() (keep func(topicName) bool, absent, err error) {
	if f.topicID.Given() {
		id, err := cluster.ParseTopicID(f.topicID.Text())
		if err != nil {
			return nil, nil, err
		}
		if !id.IsZero() {
			return func(n topicName) bool { return n.id == id }, kafkaError("TopicId '%s' does not exist as expected", id), nil
		}
	}
	if !f.topic.Given() {
		return func(topicName) bool { return true }, nil, nil
	}
	match, err := includeList(f.topic.Text())
	return func(n topicName) bool { return match(n.name) }, kafkaError("Topic '%s' does not exist as expected", f.topic.Text()), err
}

// includeList returns what matches a list of topics as Kafka's tools take it (TopicFilter.IncludeList): a regular expression for the
// whole name, in which a comma means "or" and blanks and surrounding quotes mean nothing.
func includeList(raw string) (func(string) bool, error) {
	pattern := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(raw), ",", "|"), " ", "")
	pattern = strings.Trim(pattern, `"'`)
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return nil, kafkaError("%s is an invalid regex.", raw)
	}
	return re.MatchString, nil
}

// newTopic reads the options of --create.
func (f *topicFlags) newTopic() (newTopic, error) {
	t := newTopic{name: f.topic.Text(), partitions: -1, factor: -1, ifNotExists: f.ifNotExists.Given()}
	var err error
	if t.config, err = f.settings(); err != nil {
		return t, err
	}
	if f.partitions.Given() {
		t.partitions = int32(f.partitions.Int())
		if t.partitions < 1 {
			return t, kafkaError("The partitions must be greater than 0")
		}
	}
	if f.factor.Given() {
		if n := f.factor.Int(); n < 1 || n > 32767 {
			return t, kafkaError("The replication factor must be between 1 and 32767 inclusive")
		}
		t.factor = int32(f.factor.Int())
	}
	if f.assignment.Given() {
		lists, err := parseAssignment(f.assignment.Text())
		if err != nil {
			return t, err
		}
		t.assignment = map[int32][]cluster.BrokerID{}
		for i, list := range lists {
			t.assignment[int32(i)] = list
		}
	}
	return t, nil
}

// settings reads the values of --config.
func (f *topicFlags) settings() (map[string]string, error) {
	settings := map[string]string{}
	for _, c := range f.config.Texts() {
		key, value, ok := strings.Cut(c, "=")
		if !ok {
			return nil, kafkaError(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`)
		}
		settings[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return settings, config.ValidateTopicConfig(settings)
}

// change reads the options of --alter.
func (f *topicFlags) change() (topicChange, error) {
	c := topicChange{partitions: -1}
	var err error
	if c.set, err = f.settings(); err != nil {
		return c, err
	}
	known := topicSettingNames()
	for _, name := range f.deleteConfig.Texts() {
		if name = strings.TrimSpace(name); !slices.Contains(known, name) {
			return c, kafkaError("Unknown topic config name: %s", name)
		}
		c.unset = append(c.unset, name)
	}
	if f.partitions.Given() {
		c.partitions = int32(f.partitions.Int())
	}
	if f.assignment.Given() {
		c.assignment, err = parseAssignment(f.assignment.Text())
	}
	return c, err
}

// parseAssignment reads replicas by hand: partitions separated by commas, brokers by colons (TopicCommand.parseReplicaAssignment).
func parseAssignment(text string) ([][]cluster.BrokerID, error) {
	var lists [][]cluster.BrokerID
	for i, list := range strings.Split(text, ",") {
		var brokers []cluster.BrokerID
		for _, item := range strings.Split(list, ":") {
			id, err := strconv.ParseInt(strings.TrimSpace(item), 10, 32)
			if err != nil {
				return nil, kafkaError("For input string: %q", strings.TrimSpace(item))
			}
			brokers = append(brokers, cluster.BrokerID(id))
		}
		if again := duplicates(brokers); len(again) > 0 {
			return nil, kafkaError("Partition replica lists may not contain duplicate entries: %s", brokerList(again))
		}
		if i > 0 && len(brokers) != len(lists[0]) {
			return nil, kafkaError("Partition %d has different replication factor: [%s]", i, strings.ReplaceAll(brokerList(brokers), ",", ", "))
		}
		lists = append(lists, brokers)
	}
	return lists, nil
}
