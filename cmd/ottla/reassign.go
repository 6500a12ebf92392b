package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// reassignFlags are the options of kafka-reassign-partitions (F§7.6).
type reassignFlags struct {
	set *flags.Set

	generate, execute, verify, cancel, list *flags.Option
	bootstrap, zookeeper, commandConfig     *flags.Option
	moves, topics, brokers                  *flags.Option
	noRacks, additional, preserve           *flags.Option
	throttle, dirThrottle, timeout          *flags.Option
}

// newReassignFlags declares the options.
func newReassignFlags() *reassignFlags {
	s := flags.New("This tool helps to move topic partitions between replicas.")
	return &reassignFlags{
		set:           s,
		generate:      s.Flag("generate", "Propose an assignment of the topics of --topics-to-move-json-file to the brokers of --broker-list. Nothing is moved."),
		execute:       s.Flag("execute", "Begin to move partitions as --reassignment-json-file says."),
		verify:        s.Flag("verify", "Say how far the moves of --reassignment-json-file are, and take the throttles away when nothing moves any more."),
		cancel:        s.Flag("cancel", "Cancel the moves of --reassignment-json-file that are under way."),
		list:          s.Flag("list", "List all moves that are under way."),
		bootstrap:     s.Value("bootstrap-server", flags.String, "Server(s) to use for bootstrapping", "REQUIRED: the brokers to ask first."),
		commandConfig: s.Value("command-config", flags.String, "Admin client property file", "A properties file with settings for the admin client."),
		zookeeper:     s.Value("zookeeper", flags.String, "urls", "DEPRECATED, use --bootstrap-server. The ZooKeeper servers, as host1:port1,host2:port2/path. For --generate, --execute and --verify."),
		moves:         s.Value("reassignment-json-file", flags.String, "manual assignment json file path", `The moves, in the form {"version":1,"partitions":[{"topic":"foo","partition":1,"replicas":[1,2,3],"log_dirs":["any","any","any"]}]}. "log_dirs" may be left out.`),
		topics:        s.Value("topics-to-move-json-file", flags.String, "topics to reassign json file path", `The topics to move, in the form {"version":1,"topics":[{"topic":"foo"},{"topic":"foo1"}]}.`),
		brokers:       s.Value("broker-list", flags.String, "brokerlist", "The brokers to move to, as 0,1,2."),
		noRacks:       s.Flag("disable-rack-aware", "Place replicas without regard to racks."),
		throttle:      s.Value("throttle", flags.Long, "throttle", "How many bytes a second may be copied between brokers for the moves. To change it, give the same moves again with --additional.").Default("-1"),
		dirThrottle:   s.Value("replica-alter-log-dirs-throttle", flags.Long, "replicaAlterLogDirsThrottle", "How many bytes a second may be copied between log directories of a broker.").Default("-1"),
		timeout:       s.Value("timeout", flags.Long, "timeout", "How long to wait, in milliseconds, for moves between log directories to begin.").Default("10000"),
		additional:    s.Flag("additional", "Move in addition to what is moved already, or change the throttle of that."),
		preserve:      s.Flag("preserve-throttles", "Leave the throttles as they are."),
	}
}

// check judges the options together (ReassignPartitionsCommand.validateAndParseArgs).
func (f *reassignFlags) check() error {
	type rule struct {
		action             *flags.Option
		required, optional []*flags.Option
	}
	rules := []rule{
		{f.generate, []*flags.Option{f.topics, f.brokers}, []*flags.Option{f.noRacks}},
		{f.execute, []*flags.Option{f.moves}, []*flags.Option{f.additional, f.throttle, f.dirThrottle, f.timeout}},
		{f.verify, []*flags.Option{f.moves}, []*flags.Option{f.preserve}},
		{f.cancel, []*flags.Option{f.moves}, []*flags.Option{f.preserve, f.timeout}},
		{f.list, nil, nil},
	}
	given := slices.DeleteFunc(rules, func(r rule) bool { return !r.action.Given() })
	if len(given) != 1 {
		return kafkaError("Command must include exactly one action: --generate, --execute, --verify, --cancel, --list")
	}
	if !f.bootstrap.Given() && !f.zookeeper.Given() {
		return kafkaError("Please specify --bootstrap-server")
	}
	only := given[0]
	if err := f.set.CheckRequired(only.required...); err != nil {
		return err
	}
	allowed := slices.Concat(only.required, only.optional)
	if only.action != f.cancel && only.action != f.list {
		allowed = append(allowed, f.zookeeper)
	}
	for _, o := range []*flags.Option{f.zookeeper, f.moves, f.topics, f.brokers, f.noRacks, f.throttle, f.dirThrottle, f.timeout, f.additional, f.preserve} {
		if o.Given() && !slices.Contains(allowed, o) {
			return kafkaError("Option \"[%s]\" can't be used with action \"[%s]\"", o.Name(), only.action.Name())
		}
	}
	return nil
}

// needsBroker returns an error for an option that ZooKeeper alone cannot serve.
func (f *reassignFlags) needsBroker() error {
	for _, o := range []*flags.Option{f.additional, f.cancel, f.commandConfig, f.dirThrottle, f.list, f.timeout} {
		if !f.bootstrap.Given() && o.Given() {
			return kafkaError("You must specify --bootstrap-server when using \"[%s]\"", o.Name())
		}
	}
	return nil
}

// mover is where partitions are moved: at the brokers, or by way of ZooKeeper as the tool of Kafka 2.8 does.
type mover interface {
	// brokers lists the live brokers and their racks, by id.
	brokers(ctx context.Context) ([]state.BrokerRack, error)
	// assignments reads who has the partitions of topics. Topics that do not exist are left out.
	assignments(ctx context.Context, topics []string) (assignment, error)
	// moving lists the moves that are under way, in so far as they can be seen from here.
	moving(ctx context.Context) (map[cluster.TopicPartition]admin.Reassignment, error)
	// move begins to move partitions, or with nil replicas cancels that, and returns the outcome of each; nil means that it has begun.
	move(ctx context.Context, to assignment) (map[cluster.TopicPartition]error, error)
	// configure changes dynamic settings.
	configure(ctx context.Context, changes []settingsChange) error
	close()
}

// settingsChange is a change of dynamic settings of a topic or a broker.
type settingsChange struct {
	target configTarget
	set    map[string]string
	unset  []string
}

// runReassign is kafka-reassign-partitions.
func runReassign(ctx context.Context, args []string, std streams) int {
	f := newReassignFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if err := f.check(); err != nil {
		return usageError(f.set, err, std)
	}
	if err := f.needsBroker(); err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	err := f.act(ctx, std, toolLogger(std.err, "kafka.admin.ReassignPartitionsCommand$"))
	var terse terseError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return interrupted(ctx)
	case errors.As(err, &terse):
		fmt.Fprintln(std.out, terse)
	default:
		fmt.Fprintf(std.out, "Error: %s\n", text(err))
	}
	return 1
}

// terseError is a message that kafka-reassign-partitions prints as it is, without "Error: " before it.
type terseError string

// Error returns the message.
func (e terseError) Error() string { return string(e) }

// act does what the options ask for. An error that is a [terseError] is printed as it is, others as errors.
func (f *reassignFlags) act(ctx context.Context, std streams, log hclog.Logger) error {
	file, err := readIfGiven(f.moves, f.topics)
	if err != nil {
		return err
	}
	if f.bootstrap.Given() {
		if f.zookeeper.Given() {
			fmt.Fprintln(std.out, "Warning: ignoring deprecated --zookeeper option because --bootstrap-server was specified.  The --zookeeper option will be removed in a future version of Kafka.")
		}
		b, err := openBrokerMover(ctx, f, log)
		if err != nil {
			return err
		}
		defer b.close()
		tool := reassigner{f: f, mover: b, std: std}
		switch {
		case f.verify.Given():
			return tool.verify(ctx, file, b.dirMoves)
		case f.execute.Given():
			return tool.execute(ctx, file)
		case f.cancel.Given():
			return tool.cancel(ctx, file)
		case f.list.Given():
			return tool.list(ctx)
		default:
			return tool.generate(ctx, file)
		}
	}
	fmt.Fprintln(std.out, "Warning: --zookeeper is deprecated, and will be removed in a future version of Kafka.")
	z, err := openZooKeeperMover(ctx, f.zookeeper.Text(), log)
	if err != nil {
		return err
	}
	defer z.close()
	tool := reassigner{f: f, mover: z, std: std}
	switch {
	case f.verify.Given():
		return tool.verify(ctx, file, nil)
	case f.execute.Given():
		return tool.executeAtZooKeeper(ctx, file)
	default:
		return tool.generate(ctx, file)
	}
}

// readIfGiven reads the file that the first given of the options names.
func readIfGiven(options ...*flags.Option) ([]byte, error) {
	for _, o := range options {
		if o.Given() {
			return os.ReadFile(o.Text())
		}
	}
	return nil, nil
}

// reassigner carries out one command.
type reassigner struct {
	f     *reassignFlags
	mover mover
	std   streams
}

// generate proposes an assignment.
func (r *reassigner) generate(ctx context.Context, file []byte) error {
	ids, err := parseBrokerList(r.f.brokers.Text())
	if err != nil {
		return err
	}
	topics, err := parseTopicsToMove(file)
	if err != nil {
		return err
	}
	current, err := r.mover.assignments(ctx, topics)
	if err != nil {
		return err
	}
	if err := allFound(topics, current); err != nil {
		return err
	}
	brokers, err := r.mover.brokers(ctx)
	if err != nil {
		return err
	}
	brokers = slices.DeleteFunc(brokers, func(b state.BrokerRack) bool { return !slices.Contains(ids, b.ID) })
	proposed, err := propose(current, brokers, r.f.noRacks.Given())
	if err != nil {
		return err
	}
	fmt.Fprintf(r.std.out, "Current partition replica assignment\n%s\n\n", current.json())
	fmt.Fprintf(r.std.out, "Proposed partition reassignment configuration\n%s\n", proposed.json())
	return nil
}

// allFound returns an error for a topic without partitions.
func allFound(topics []string, found assignment) error {
	for _, topic := range topics {
		if _, ok := found[cluster.TopicPartition{Topic: topic}]; !ok {
			return kafkaError("%sTopic %s not found.", unknownTopicException, topic)
		}
	}
	return nil
}

// unknownTopicException is how Kafka's tools print that a topic is not there, when it reaches them as the cause of something else.
const unknownTopicException = "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: "

// existingMoves is what --execute says when something moves already.
const existingMoves = terseError("Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new partition assignment " +
	"in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the current reassignment.")

// runVerify is what --execute says when it sets a throttle.
const runVerify = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."

// execute begins to move partitions.
func (r *reassigner) execute(ctx context.Context, file []byte) error {
	proposed, dirs, err := parseExecution(file)
	if err != nil {
		return err
	}
	if len(dirs) > 0 {
		return noDirMoves(dirs)
	}
	moving, err := r.mover.moving(ctx)
	if err != nil {
		return err
	}
	if len(moving) > 0 && !r.f.additional.Given() {
		return existingMoves
	}
	brokers, err := r.mover.brokers(ctx)
	if err != nil {
		return err
	}
	if unknown := proposed.brokersWithout(brokers); len(unknown) > 0 {
		return kafkaError("Unknown broker id %d", unknown[0])
	}
	current, err := r.mover.assignments(ctx, proposed.topics())
	if err != nil {
		return err
	}
	if err := allFound(proposed.topics(), current); err != nil {
		return err
	}
	if missing := proposed.without(current); len(missing) > 0 {
		return kafkaError("%sUnable to find partition: %s", unknownTopicException, joinPartitions(missing, ", "))
	}
	return r.start(ctx, proposed, current.only(proposed), moving)
}

// start prints what is there, sets the throttles, and begins.
func (r *reassigner) start(ctx context.Context, proposed, current assignment, moving map[cluster.TopicPartition]admin.Reassignment) error {
	out := r.std.out
	fmt.Fprintf(out, "Current partition replica assignment\n\n%s\n\nSave this to use as the --reassignment-json-file option during rollback\n", current.json())
	between, within := r.f.throttle.Int(), r.f.dirThrottle.Int()
	if between >= 0 || within >= 0 {
		fmt.Fprintln(out, runVerify)
	}
	if between >= 0 {
		if err := r.mover.configure(ctx, throttles(planMoves(moving, proposed, current), between)); err != nil {
			return err
		}
		fmt.Fprintf(out, "The inter-broker throttle limit was set to %d B/s\n", between)
	}
	if within >= 0 { // of the brokers that move replicas between their directories, which are none
		fmt.Fprintf(out, "The replica-alter-dir throttle limit was set to %d B/s\n", within)
	}
	outcomes, err := r.mover.move(ctx, proposed)
	if err != nil {
		return err
	}
	if failed := failures(outcomes); len(failed) > 0 {
		return terseError("Error reassigning partition(s):\n" + strings.Join(failed, "\n"))
	}
	tps := sortedPartitions(proposed)
	fmt.Fprintf(out, "Successfully started partition reassignment%s for %s\n", plural(len(tps)), joinPartitions(tps, ","))
	return nil
}

// executeAtZooKeeper begins to move partitions by leaving a request in ZooKeeper.
func (r *reassigner) executeAtZooKeeper(ctx context.Context, file []byte) error {
	proposed, dirs, err := parseExecution(file)
	if err != nil {
		return err
	}
	if len(dirs) > 0 {
		return errDirsNeedBroker
	}
	current, err := r.mover.assignments(ctx, proposed.topics())
	if err != nil {
		return err
	}
	if missing := proposed.without(current); len(missing) > 0 {
		return kafkaError("The proposed assignment contains non-existent partitions: List(%s)", joinPartitions(missing, ", "))
	}
	brokers, err := r.mover.brokers(ctx)
	if err != nil {
		return err
	}
	if unknown := proposed.brokersWithout(brokers); len(unknown) > 0 {
		return kafkaError("The proposed assignment contains non-existent brokerIDs: %s", brokerList(unknown))
	}
	moving, err := r.mover.moving(ctx)
	if err != nil {
		return err
	}
	if len(moving) > 0 {
		return existingMoves
	}
	return r.start(ctx, proposed, current.only(proposed), nil)
}

// errDirsNeedBroker is what the tool of Kafka 2.8 says to log directories with --zookeeper.
const errDirsNeedBroker = userError("bootstrap-server needs to be provided when replica reassignments are present.")

// noDirMoves refuses to move replicas between log directories.
func noDirMoves(dirs map[replicaOf]string) error {
	replica := sortedReplicas(dirs)[0]
	return fmt.Errorf("replica %s is to be moved to the log directory %s: moving replicas between the directories of a broker is not there yet; "+
		"write \"any\" in log_dirs, or leave log_dirs out", replica, dirs[replica])
}

// verify says how far moves are, and takes the throttles away when nothing moves any more. dirMoves says where replicas lie; nil if that cannot be seen.
func (r *reassigner) verify(ctx context.Context, file []byte, dirMoves func(context.Context, map[replicaOf]string) (map[replicaOf]dirMove, error)) error {
	targets, dirs, err := parseMoves(file)
	if err != nil {
		return err
	}
	if dirMoves == nil {
		if len(dirs) > 0 {
			return errDirsNeedBroker
		}
		fmt.Fprintln(r.std.out, "Warning: because you are using the deprecated --zookeeper option, the results may be incomplete.  Use --bootstrap-server instead for more accurate results.")
	}
	wanted := wantedAssignment(targets)
	moving, err := r.mover.moving(ctx)
	if err != nil {
		return err
	}
	current, err := r.mover.assignments(ctx, wanted.topics())
	if err != nil {
		return err
	}
	fmt.Fprintln(r.std.out, statusOf(wanted, current, moving))
	busy := len(moving) > 0
	if dirMoves != nil {
		lying, err := dirMoves(ctx, dirs)
		if err != nil {
			return err
		}
		report, done := dirStatus(dirs, lying)
		fmt.Fprintln(r.std.out, report)
		busy = busy || !done
	}
	if busy || r.f.preserve.Given() {
		return nil
	}
	return r.clearThrottles(ctx, wanted)
}

// clearThrottles takes all throttles away that moves of these partitions may have left: from every broker, because nobody knows which were involved.
func (r *reassigner) clearThrottles(ctx context.Context, wanted assignment) error {
	live, err := r.mover.brokers(ctx)
	if err != nil {
		return err
	}
	unknown := wanted.brokersWithout(live)
	ids := slices.Clone(unknown)
	for _, b := range live {
		ids = append(ids, b.ID)
	}
	slices.Sort(ids)
	fmt.Fprintf(r.std.out, "Clearing broker-level throttles on broker%s %s\n", plural(len(ids)), brokerList(ids))
	err = r.mover.configure(ctx, brokerThrottlesGone(ids))
	topics := wanted.topics()
	fmt.Fprintf(r.std.out, "Clearing topic-level throttles on topic%s %s\n", plural(len(topics)), strings.Join(topics, ","))
	return firstError(err, r.mover.configure(ctx, topicThrottlesGone(topics)))
}

// cancel stops moves that are under way.
func (r *reassigner) cancel(ctx context.Context, file []byte) error {
	targets, _, err := parseMoves(file)
	if err != nil {
		return err
	}
	wanted := wantedAssignment(targets)
	moving, err := r.mover.moving(ctx)
	if err != nil {
		return err
	}
	var active []cluster.TopicPartition
	for _, tp := range sortedPartitions(wanted) {
		if _, ok := moving[tp]; ok {
			active = append(active, tp)
		}
	}
	if len(active) == 0 {
		fmt.Fprintln(r.std.out, "None of the specified partition reassignments are active.")
	} else {
		nowhere := assignment{}
		for _, tp := range active {
			nowhere[tp] = nil
		}
		outcomes, err := r.mover.move(ctx, nowhere)
		if err != nil {
			return err
		}
		if failed := failures(outcomes); len(failed) > 0 {
			return terseError(fmt.Sprintf("Error cancelling partition reassignment%s for:\n%s", plural(len(failed)), strings.Join(failed, "\n")))
		}
		fmt.Fprintf(r.std.out, "Successfully cancelled partition reassignment%s for: %s\n", plural(len(active)), joinPartitions(active, ","))
	}
	fmt.Fprint(r.std.out, "None of the specified partition moves are active.") // between log directories; Kafka ends no line here
	if r.f.preserve.Given() {
		return nil
	}
	return r.clearThrottles(ctx, wanted)
}

// list prints the moves that are under way.
func (r *reassigner) list(ctx context.Context) error {
	moving, err := r.mover.moving(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.std.out, movesText(moving))
	return nil
}
