package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
)

// electionFlags are the options of kafka-leader-election (F§7.7).
type electionFlags struct {
	set                         *flags.Set
	bootstrap, adminConfig      *flags.Option
	typ                         *flags.Option
	all, file, topic, partition *flags.Option
}

// newElectionFlags declares the options.
func newElectionFlags() *electionFlags {
	s := flags.New("This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and unclean replicas.")
	return &electionFlags{
		set:         s,
		bootstrap:   s.Value("bootstrap-server", flags.String, "host:port", "The brokers to ask first, as host1:port1,host2:port2. REQUIRED."),
		adminConfig: s.Value("admin.config", flags.String, "config file", "A properties file with settings for the admin client."),
		typ: s.Value("election-type", flags.String, "election type", `"preferred" makes the first replica of the assignment leader where it is not and is in sync, `+
			`"unclean" the first live replica, in sync or not, where there is no leader. REQUIRED.`),
		all:       s.Flag("all-topic-partitions", "Elect for all partitions. Not allowed with --topic or --path-to-json-file."),
		file:      s.Value("path-to-json-file", flags.String, "Path to JSON file", `The partitions, in the form {"partitions":[{"topic":"foo","partition":1},{"topic":"foobar","partition":2}]}. Not allowed with --all-topic-partitions or --topic.`),
		topic:     s.Value("topic", flags.String, "topic name", "The topic of the partition. Not allowed with --path-to-json-file or --all-topic-partitions."),
		partition: s.Value("partition", flags.Integer, "partition id", "The number of the partition. REQUIRED with --topic."),
	}
}

// electionTypes are the values of --election-type, in any case.
var electionTypes = map[string]admin.ElectionType{"PREFERRED": admin.PreferredElection, "UNCLEAN": admin.UncleanElection}

// check judges the options together (LeaderElectionCommandOptions.validate).
func (f *electionFlags) check() error {
	names := func(given bool, options ...*flags.Option) []string {
		var list []string
		for _, o := range options {
			if o.Given() == given {
				list = append(list, o.Name())
			}
		}
		return list
	}
	if missing := names(false, f.bootstrap, f.typ); len(missing) > 0 {
		return kafkaError("Missing required option(s): %s", strings.Join(missing, ", "))
	}
	switch {
	case len(names(true, f.topic, f.all, f.file)) != 1:
		return kafkaError("One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file")
	case f.topic.Given() && !f.partition.Given():
		return kafkaError("Missing required option(s): partition")
	case !f.topic.Given() && f.partition.Given():
		return kafkaError("Option partition is only allowed if topic is used")
	}
	return nil
}

// partitions reads which partitions are meant; nil for all.
func (f *electionFlags) partitions() ([]cluster.TopicPartition, error) {
	switch {
	case f.all.Given():
		return nil, nil
	case f.topic.Given():
		return []cluster.TopicPartition{{Topic: f.topic.Text(), Partition: int32(f.partition.Int())}}, nil
	}
	data, err := os.ReadFile(f.file.Text())
	if err != nil {
		return nil, err
	}
	return parseElections(data, "Replica election data")
}

// parseElections reads a file of partitions. what is how messages name its content.
func parseElections(data []byte, what string) ([]cluster.TopicPartition, error) {
	var file struct {
		Partitions *[]struct {
			Topic     *string `json:"topic"`
			Partition *int32  `json:"partition"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, kafkaError("%s is empty: %v", what, err)
	}
	if file.Partitions == nil {
		return nil, kafkaError("%s is missing \"partitions\" field", what)
	}
	tps := []cluster.TopicPartition{}
	for _, p := range *file.Partitions {
		if p.Topic == nil || p.Partition == nil {
			return nil, kafkaError("%s: each of the partitions needs the fields topic and partition", what)
		}
		tps = append(tps, cluster.TopicPartition{Topic: *p.Topic, Partition: *p.Partition})
	}
	if again := duplicates(tps); len(again) > 0 {
		return nil, kafkaError("%s contains duplicate partitions: [%s]", what, joinPartitions(again, ", "))
	}
	return tps, nil
}

// runLeaderElection is kafka-leader-election.
func runLeaderElection(ctx context.Context, args []string, std streams) int {
	f := newElectionFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	typ, known := electionTypes[strings.ToUpper(f.typ.Text())]
	if f.typ.Given() && !known {
		return usageError(f.set, kafkaError("Cannot parse argument '%s' of option election-type", f.typ.Text()), std)
	}
	words := electionWords{
		done: "Successfully completed leader election (%[1]s) for partitions %[2]s", needless: "Valid replica already elected for partitions %s",
		failed: "Error completing leader election (%[1]s) for partition: %[2]s: %[3]s", sum: "%d replica(s) could not be elected",
	}
	err := func() error {
		if err := f.check(); err != nil {
			return err
		}
		partitions, err := f.partitions()
		if err != nil {
			return err
		}
		return elect(ctx, f.bootstrap, f.adminConfig, config.Properties{"default.api.timeout.ms": "30000", "request.timeout.ms": "15000"}, typ, partitions, words, std)
	}()
	return electionCode(ctx, err, std)
}

// electionCode prints what went wrong, and returns the exit code.
func electionCode(ctx context.Context, err error, std streams) int {
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return interrupted(ctx)
	}
	fmt.Fprintln(std.err, text(err))
	return 1
}

// electionWords are the lines of one of the two tools: for the type and the partitions that have a new leader, for the partitions that needed none, for the type,
// a partition that could have none and why, and for how many those are.
type electionWords struct{ done, needless, failed, sum string }

// elect asks for elections and prints their outcomes. nil partitions are all.
func elect(ctx context.Context, bootstrap, file *flags.Option, defaults config.Properties, typ admin.ElectionType, partitions []cluster.TopicPartition, words electionWords, std streams) error {
	properties, err := fileProperties(file)
	if err != nil {
		return err
	}
	for key, value := range defaults {
		if _, set := properties[key]; !set {
			properties[key] = value
		}
	}
	cl, timeout, err := dialWith(ctx, bootstrap.Text(), properties, "adminclient-1", toolLogger(std.err, "kafka.admin.LeaderElectionCommand$"))
	if err != nil {
		return err
	}
	defer cl.Close()
	outcomes, err := admin.New(cl).ElectLeaders(ctx, typ, partitions, timeout)
	switch {
	case errors.Is(err, kerr.RequestTimedOut) || errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintln(std.out, "Timeout waiting for election results")
		return userError("Timeout waiting for election results")
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		fmt.Fprintln(std.out, "Not authorized to perform leader election")
		return userError("Not authorized to perform leader election")
	case err != nil:
		return err
	}
	return printElections(typ, outcomes, words, std)
}

// printElections prints outcomes. The result is an error when there are partitions that could have no leader.
func printElections(typ admin.ElectionType, outcomes map[cluster.TopicPartition]error, words electionWords, std streams) error {
	name := strings.TrimPrefix(typ.String(), "ELECTION_TYPE_")
	var elected, needless, failed []cluster.TopicPartition
	for _, tp := range sortedPartitions(outcomes) {
		switch err := outcomes[tp]; {
		case err == nil:
			elected = append(elected, tp)
		case errors.Is(err, kerr.ElectionNotNeeded):
			needless = append(needless, tp)
		default:
			failed = append(failed, tp)
		}
	}
	if len(elected) > 0 {
		fmt.Fprintf(std.out, words.done+"\n", name, joinPartitions(elected, ", "))
	}
	if len(needless) > 0 {
		fmt.Fprintf(std.out, words.needless+"\n", joinPartitions(needless, ", "))
	}
	for _, tp := range failed {
		fmt.Fprintf(std.out, words.failed+"\n", name, tp, exception(outcomes[tp]))
	}
	if len(failed) > 0 {
		return kafkaError(words.sum, len(failed))
	}
	return nil
}

// preferredFlags are the options of kafka-preferred-replica-election, a tool of Kafka 2.8 (F§7.7).
type preferredFlags struct {
	set                                     *flags.Set
	file, zookeeper, bootstrap, adminConfig *flags.Option
}

// newPreferredFlags declares the options.
func newPreferredFlags() *preferredFlags {
	s := flags.New("This tool helps to causes leadership for each partition to be transferred back to the 'preferred replica', it can be used to balance leadership among the servers.")
	return &preferredFlags{
		set:         s,
		file:        s.Value("path-to-json-file", flags.String, "list of partitions for which preferred replica leader election needs to be triggered", `The partitions, in the form {"partitions":[{"topic":"foo","partition":1},{"topic":"foobar","partition":2}]}. All existing ones if not given.`),
		zookeeper:   s.Value("zookeeper", flags.String, "urls", "DEPRECATED. The ZooKeeper servers, as host1:port1,host2:port2/path. REQUIRED unless --bootstrap-server is given."),
		bootstrap:   s.Value("bootstrap-server", flags.String, "host:port", "The brokers to ask first, as host1:port1,host2:port2. REQUIRED unless --zookeeper is given."),
		adminConfig: s.Value("admin.config", flags.String, "config file", "A properties file with settings for the admin client, with --bootstrap-server."),
	}
}

// runPreferredElection is kafka-preferred-replica-election.
func runPreferredElection(ctx context.Context, args []string, std streams) int {
	fmt.Fprintln(std.out, "This tool is deprecated. Please use kafka-leader-election tool. Tracking issue: KAFKA-8405")
	f := newPreferredFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if f.bootstrap.Given() == f.zookeeper.Given() {
		return usageError(f.set, kafkaError("Exactly one of '[bootstrap-server]' or '[zookeeper]' must be provided"), std)
	}
	err := func() error {
		var partitions []cluster.TopicPartition
		if f.file.Given() {
			data, err := os.ReadFile(f.file.Text())
			if err != nil {
				return err
			}
			if partitions, err = parseElections(data, "Preferred replica election data"); err != nil {
				return err
			}
		}
		if f.zookeeper.Given() {
			return requestElections(ctx, f.zookeeper.Text(), partitions, std)
		}
		words := electionWords{
			done: "Successfully completed preferred leader election for partitions %[2]s", needless: "Preferred replica already elected for partitions %s",
			failed: "Error completing preferred leader election for partition: %[2]s: %[3]s", sum: "%d preferred replica(s) could not be elected",
		}
		return elect(ctx, f.bootstrap, f.adminConfig, config.Properties{"default.api.timeout.ms": "60000", "request.timeout.ms": "30000"}, admin.PreferredElection, partitions, words, std)
	}()
	return electionCode(ctx, err, std)
}

// requestElections asks the controller for elections by way of ZooKeeper. nil partitions are all.
func requestElections(ctx context.Context, connect string, asked []cluster.TopicPartition, std streams) error {
	fmt.Fprint(std.out, zooKeeperIsOld)
	c, err := openZooKeeper(ctx, connect, toolLogger(std.err, "kafka.admin.PreferredReplicaLeaderElectionCommand$"))
	if err != nil {
		return err
	}
	defer closeZooKeeper(c)
	st := store.New(c.Session(), nil)
	topics, err := st.Topics(ctx, nil)
	if err != nil {
		return err
	}
	read, err := st.ReadTopics(ctx, nil, topics)
	if err != nil {
		return err
	}
	existing := assignment{}
	for name, t := range read {
		for index, replicas := range t.Replicas {
			existing[cluster.TopicPartition{Topic: name, Partition: index}] = replicas
		}
	}
	valid, unknown := sortedPartitions(existing), []cluster.TopicPartition(nil)
	if asked != nil {
		missing := func(tp cluster.TopicPartition) bool { _, ok := existing[tp]; return !ok }
		there := func(tp cluster.TopicPartition) bool { return !missing(tp) }
		valid, unknown = slices.DeleteFunc(slices.Clone(asked), missing), slices.DeleteFunc(slices.Clone(asked), there)
	}
	err = st.RequestPreferredElections(ctx, valid)
	if errors.Is(err, zk.ErrNodeExists) {
		pending, err := st.PreferredElections(ctx, nil)
		if err != nil {
			return err
		}
		return kafkaError("Preferred replica leader election currently in progress for %s. Aborting operation", joinPartitions(pending, ","))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "Created preferred replica election path with %s\n", joinPartitions(valid, ","))
	fmt.Fprintf(std.out, "Successfully started preferred replica election for partitions Set(%s)\n", joinPartitions(valid, ", "))
	for _, tp := range unknown {
		fmt.Fprintf(std.out, "Skipping preferred replica leader election for partition %s since it doesn't exist.\n", tp)
	}
	return nil
}
