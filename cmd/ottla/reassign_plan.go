package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// The settings that hold throttles (KIP-73): of brokers how fast, of topics which replicas.
const (
	leaderRate       = "leader.replication.throttled.rate"
	followerRate     = "follower.replication.throttled.rate"
	dirRate          = "replica.alter.log.dirs.io.max.bytes.per.second"
	leaderReplicas   = "leader.replication.throttled.replicas"
	followerReplicas = "follower.replication.throttled.replicas"
)

// assignment says who has partitions, the preferred leader of each first.
type assignment map[cluster.TopicPartition][]cluster.BrokerID

// topics lists the topics, each once, sorted.
func (a assignment) topics() []string {
	var names []string
	for _, tp := range sortedPartitions(a) {
		names = append(names, tp.Topic)
	}
	return slices.Compact(names)
}

// only returns the part about the partitions of other.
func (a assignment) only(other assignment) assignment {
	part := maps.Clone(a)
	maps.DeleteFunc(part, func(tp cluster.TopicPartition, _ []cluster.BrokerID) bool { _, ok := other[tp]; return !ok })
	return part
}

// without lists the partitions that other does not have, sorted.
func (a assignment) without(other assignment) []cluster.TopicPartition {
	return slices.DeleteFunc(sortedPartitions(a), func(tp cluster.TopicPartition) bool { _, ok := other[tp]; return ok })
}

// brokersWithout lists the brokers that are not among the given, sorted.
func (a assignment) brokersWithout(given []state.BrokerRack) []cluster.BrokerID {
	var ids []cluster.BrokerID
	for _, list := range a {
		for _, id := range list {
			if !slices.ContainsFunc(given, func(b state.BrokerRack) bool { return b.ID == id }) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// anyDir stands for the log directory that a broker chooses.
const anyDir = "any"

// json is the form in which the tool prints and reads assignments.
func (a assignment) json() string {
	type partition struct {
		Topic     string             `json:"topic"`
		Partition int32              `json:"partition"`
		Replicas  []cluster.BrokerID `json:"replicas"`
		LogDirs   []string           `json:"log_dirs"`
	}
	file := struct {
		Version    int         `json:"version"`
		Partitions []partition `json:"partitions"`
	}{1, []partition{}}
	for _, tp := range sortedPartitions(a) {
		file.Partitions = append(file.Partitions, partition{tp.Topic, tp.Partition, append([]cluster.BrokerID{}, a[tp]...), slices.Repeat([]string{anyDir}, len(a[tp]))})
	}
	data, err := json.Marshal(file)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(data)
}

// replicaOf is the replica of a partition on a broker.
type replicaOf struct {
	partition cluster.TopicPartition
	broker    cluster.BrokerID
}

// String is topic-partition-broker, as Kafka prints it.
func (r replicaOf) String() string { return fmt.Sprintf("%s-%d", r.partition, r.broker) }

// sortedReplicas returns the keys by broker, topic and partition.
func sortedReplicas[V any](m map[replicaOf]V) []replicaOf {
	return slices.SortedFunc(maps.Keys(m), func(a, b replicaOf) int {
		if a.broker != b.broker {
			return int(a.broker) - int(b.broker)
		}
		return a.partition.Compare(b.partition)
	})
}

// wantedMove is one entry of a file of moves.
type wantedMove struct {
	partition cluster.TopicPartition
	replicas  []cluster.BrokerID
}

// parseMoves reads a file of moves, and the log directories in it that are not "any" (ReassignPartitionsCommand.parsePartitionReassignmentData). Entries
// stay as they are in the file, so that duplicates can be found. Unknown members do not count, and a missing version is 1.
func parseMoves(data []byte) ([]wantedMove, map[replicaOf]string, error) {
	var file struct {
		Version    *int `json:"version"`
		Partitions []struct {
			Topic     *string             `json:"topic"`
			Partition *int32              `json:"partition"`
			Replicas  *[]cluster.BrokerID `json:"replicas"`
			LogDirs   *[]string           `json:"log_dirs"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, nil, invalidJSON(err)
	}
	if file.Version != nil && *file.Version != 1 {
		return nil, nil, unsupportedVersion(*file.Version)
	}
	var moves []wantedMove
	dirs := map[replicaOf]string{}
	for _, p := range file.Partitions {
		if p.Topic == nil || p.Partition == nil || p.Replicas == nil {
			return nil, nil, errors.New("each of the partitions needs the fields topic, partition and replicas")
		}
		m := wantedMove{cluster.TopicPartition{Topic: *p.Topic, Partition: *p.Partition}, *p.Replicas}
		moves = append(moves, m)
		if p.LogDirs == nil {
			continue
		}
		if len(*p.LogDirs) != len(m.replicas) {
			return nil, nil, kafkaError("Size of replicas list [%s] is different from size of log dirs list [%s] for partition %s",
				strings.ReplaceAll(brokerList(m.replicas), ",", ", "), strings.Join(*p.LogDirs, ", "), m.partition)
		}
		for i, dir := range *p.LogDirs {
			if dir != anyDir {
				dirs[replicaOf{m.partition, m.replicas[i]}] = dir
			}
		}
	}
	return moves, dirs, nil
}

// wantedAssignment is what a list of moves leads to; of several entries for a partition the last counts.
func wantedAssignment(moves []wantedMove) assignment {
	wanted := assignment{}
	for _, m := range moves {
		wanted[m.partition] = m.replicas
	}
	return wanted
}

// invalidJSON and unsupportedVersion are what is wrong with a file, in Kafka's words.
func invalidJSON(err error) error { return kafkaError("The input string is not a valid JSON: %v", err) }

func unsupportedVersion(version int) error {
	return kafkaError("Not supported version field value %d", version)
}

// parseExecution reads and judges the moves of --execute (ReassignPartitionsCommand.parseExecuteAssignmentArgs).
func parseExecution(data []byte) (assignment, map[replicaOf]string, error) {
	moves, dirs, err := parseMoves(data)
	if err != nil {
		return nil, nil, err
	}
	if len(moves) == 0 {
		return nil, nil, userError("Partition reassignment list cannot be empty")
	}
	proposed := assignment{}
	var twice []cluster.TopicPartition
	var repeats []string
	for _, m := range moves {
		if len(m.replicas) == 0 {
			return nil, nil, userError("Partition replica list cannot be empty")
		}
		if _, ok := proposed[m.partition]; ok && !slices.Contains(twice, m.partition) {
			twice = append(twice, m.partition)
		}
		proposed[m.partition] = m.replicas
		if again := duplicates(m.replicas); len(again) > 0 {
			repeats = append(repeats, fmt.Sprintf("%s contains multiple entries for %s", m.partition, brokerList(again)))
		}
	}
	if len(twice) > 0 {
		return nil, nil, kafkaError("Partition reassignment contains duplicate topic partitions: %s", joinPartitions(twice, ","))
	}
	if len(repeats) > 0 {
		return nil, nil, kafkaError("Partition replica lists may not contain duplicate entries: %s", strings.Join(repeats, ". "))
	}
	return proposed, dirs, nil
}

// duplicates returns what is in a list more than once, each once.
func duplicates[T comparable](list []T) []T {
	var again []T
	for i, item := range list {
		if slices.Contains(list[:i], item) && !slices.Contains(again, item) {
			again = append(again, item)
		}
	}
	return again
}

// parseTopicsToMove reads the file of topics of --generate.
func parseTopicsToMove(data []byte) ([]string, error) {
	var file struct {
		Version *int `json:"version"`
		Topics  []struct {
			Topic *string `json:"topic"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, invalidJSON(err)
	}
	if file.Version != nil && *file.Version != 1 {
		return nil, unsupportedVersion(*file.Version)
	}
	var topics []string
	for _, t := range file.Topics {
		if t.Topic == nil {
			return nil, errors.New("each of the topics needs the field topic")
		}
		topics = append(topics, *t.Topic)
	}
	if again := duplicates(topics); len(again) > 0 {
		return nil, kafkaError("List of topics to reassign contains duplicate entries: [%s]", strings.Join(again, ", "))
	}
	return topics, nil
}

// parseBrokerList reads the value of --broker-list.
func parseBrokerList(list string) ([]cluster.BrokerID, error) {
	var ids []cluster.BrokerID
	for item := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseInt(item, 10, 32)
		if err != nil {
			return nil, kafkaError("For input string: %q", item)
		}
		ids = append(ids, cluster.BrokerID(id))
	}
	if again := duplicates(ids); len(again) > 0 {
		return nil, kafkaError("Broker list contains duplicate entries: [%s]", strings.ReplaceAll(brokerList(again), ",", ", "))
	}
	return ids, nil
}

// propose places the partitions of each topic on brokers anew, with as many replicas as the topic's first partition has.
func propose(current assignment, brokers []state.BrokerRack, noRacks bool) (assignment, error) {
	for i := range brokers {
		if noRacks {
			brokers[i].Rack = ""
		}
	}
	if err := allRacksOrNone(brokers); err != nil {
		return nil, err
	}
	proposed := assignment{}
	for _, topic := range current.topics() {
		var partitions []cluster.TopicPartition
		for _, tp := range sortedPartitions(current) {
			if tp.Topic == topic {
				partitions = append(partitions, tp)
			}
		}
		p := state.Placement{Brokers: brokers, Partitions: len(partitions), ReplicationFactor: len(current[partitions[0]])}
		if len(brokers) > 0 {
			p.Start, p.Shift = rand.IntN(len(brokers)), rand.IntN(len(brokers))
		}
		lists, err := state.Place(p)
		if err != nil {
			return nil, err
		}
		for i, list := range lists {
			proposed[cluster.TopicPartition{Topic: topic, Partition: int32(i)}] = list
		}
	}
	return proposed, nil
}

// allRacksOrNone refuses to place replicas by racks that some brokers do not have.
func allRacksOrNone(brokers []state.BrokerRack) error {
	none := func(b state.BrokerRack) bool { return b.Rack == "" }
	some := func(b state.BrokerRack) bool { return b.Rack != "" }
	if slices.ContainsFunc(brokers, none) && slices.ContainsFunc(brokers, some) {
		return userError("Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.")
	}
	return nil
}

// partitionMove is who sends a partition and who receives it.
type partitionMove struct{ from, to []cluster.BrokerID }

// planMoves returns what moves when the proposal is carried out on top of what moves already (ReassignPartitionsCommand.calculateProposedMoveMap).
func planMoves(moving map[cluster.TopicPartition]admin.Reassignment, proposed, current assignment) map[cluster.TopicPartition]partitionMove {
	minus := func(list, without []cluster.BrokerID) []cluster.BrokerID {
		return slices.DeleteFunc(slices.Clone(list), func(id cluster.BrokerID) bool { return slices.Contains(without, id) })
	}
	moves := map[cluster.TopicPartition]partitionMove{}
	for tp, m := range moving {
		moves[tp] = partitionMove{minus(m.Replicas, m.Adding), m.Adding}
	}
	for tp, replicas := range proposed {
		from := current[tp]
		if m, ok := moves[tp]; ok {
			from = m.from
		}
		moves[tp] = partitionMove{from, minus(replicas, from)}
	}
	return moves
}

// throttles returns the settings that hold moves down to a rate in bytes a second: which replicas of each topic, and how fast on each broker involved.
func throttles(moves map[cluster.TopicPartition]partitionMove, rate int64) []settingsChange {
	type replicas struct{ leaders, followers []string }
	byTopic := map[string]*replicas{}
	var brokers []cluster.BrokerID
	for tp, m := range moves {
		t := byTopic[tp.Topic]
		if t == nil {
			t = &replicas{}
			byTopic[tp.Topic] = t
		}
		for _, id := range m.from {
			t.leaders = append(t.leaders, fmt.Sprintf("%d:%d", tp.Partition, id))
		}
		for _, id := range m.to {
			t.followers = append(t.followers, fmt.Sprintf("%d:%d", tp.Partition, id))
		}
		brokers = append(append(brokers, m.from...), m.to...)
	}
	var changes []settingsChange
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		t := byTopic[topic]
		slices.Sort(t.leaders) // as text, like Kafka
		slices.Sort(t.followers)
		changes = append(changes, settingsChange{configTarget{topicsType, topic, true}, map[string]string{
			leaderReplicas: strings.Join(t.leaders, ","), followerReplicas: strings.Join(t.followers, ","),
		}, nil})
	}
	slices.Sort(brokers)
	text := strconv.FormatInt(rate, 10)
	for _, id := range slices.Compact(brokers) {
		changes = append(changes, settingsChange{brokerTarget(id), map[string]string{leaderRate: text, followerRate: text}, nil})
	}
	return changes
}

// brokerTarget names a broker.
func brokerTarget(id cluster.BrokerID) configTarget {
	return configTarget{brokersType, strconv.Itoa(int(id)), true}
}

// brokerThrottlesGone returns what takes the throttles of brokers away.
func brokerThrottlesGone(ids []cluster.BrokerID) []settingsChange {
	var changes []settingsChange
	for _, id := range ids {
		changes = append(changes, settingsChange{brokerTarget(id), nil, []string{leaderRate, followerRate, dirRate}})
	}
	return changes
}

// topicThrottlesGone returns what takes the throttles of topics away.
func topicThrottlesGone(topics []string) []settingsChange {
	var changes []settingsChange
	for _, topic := range topics {
		changes = append(changes, settingsChange{configTarget{topicsType, topic, true}, nil, []string{leaderReplicas, followerReplicas}})
	}
	return changes
}

// statusOf says of each wanted partition whether it is there, under way, or neither.
func statusOf(wanted, current assignment, moving map[cluster.TopicPartition]admin.Reassignment) string {
	lines := []string{"Status of partition reassignment:"}
	for _, tp := range sortedPartitions(wanted) {
		_, active := moving[tp]
		switch {
		case active:
			lines = append(lines, fmt.Sprintf("Reassignment of partition %s is still in progress.", tp))
		case slices.Equal(current[tp], wanted[tp]):
			lines = append(lines, fmt.Sprintf("Reassignment of partition %s is completed.", tp))
		default:
			lines = append(lines, fmt.Sprintf("There is no active reassignment of partition %s, but replica set is %s rather than %s.", tp, brokerList(current[tp]), brokerList(wanted[tp])))
		}
	}
	return strings.Join(lines, "\n")
}

// dirMove is where a replica lies, and where it is being moved to; "" for nowhere.
type dirMove struct{ current, future string }

// dirStatus says of each replica with a wanted log directory whether it lies there, and reports whether nothing is left to do or to wait for.
func dirStatus(wanted map[replicaOf]string, lying map[replicaOf]dirMove) (report string, done bool) {
	var lines []string
	done = true
	for _, r := range sortedReplicas(wanted) {
		dir := wanted[r]
		at, found := lying[r]
		switch {
		case !found:
			lines = append(lines, fmt.Sprintf("Partition %s cannot be found in any live log directory on broker %d.", r.partition, r.broker))
			done = false
		case at.current == "":
			lines = append(lines, fmt.Sprintf("Partition %s is not found in any live log dir on broker %d. There is likely an offline log directory on the broker.", r.partition, r.broker))
			done = false
		case at.future == dir:
			lines = append(lines, fmt.Sprintf("Reassignment of replica %s is still in progress.", r))
			done = false
		case at.future != "":
			lines = append(lines, fmt.Sprintf("Partition %s on broker %d is being moved to log dir %s instead of %s.", r.partition, r.broker, at.future, dir))
			done = false
		case at.current == dir:
			lines = append(lines, fmt.Sprintf("Reassignment of replica %s completed successfully.", r))
		default:
			lines = append(lines, fmt.Sprintf("Partition %s on broker %d is not being moved from log dir %s to %s.", r.partition, r.broker, at.current, dir))
		}
	}
	return strings.Join(lines, "\n"), done
}

// movesText lists moves.
func movesText(moving map[cluster.TopicPartition]admin.Reassignment) string {
	if len(moving) == 0 {
		return "No partition reassignments found."
	}
	lines := []string{"Current partition reassignments:"}
	for _, tp := range sortedPartitions(moving) {
		m := moving[tp]
		line := fmt.Sprintf("%s: replicas: %s.", tp, brokerList(m.Replicas))
		if len(m.Adding) > 0 {
			line += fmt.Sprintf(" adding: %s.", brokerList(m.Adding))
		}
		if len(m.Removing) > 0 {
			line += fmt.Sprintf(" removing: %s.", brokerList(m.Removing))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// failures lists the partitions that failed, and why.
func failures(outcomes map[cluster.TopicPartition]error) []string {
	var lines []string
	for _, tp := range sortedPartitions(outcomes) {
		if err := outcomes[tp]; err != nil {
			lines = append(lines, fmt.Sprintf("%s: %s", tp, text(err)))
		}
	}
	return lines
}

// joinPartitions lists partitions with a separator.
func joinPartitions(tps []cluster.TopicPartition, separator string) string {
	texts := make([]string, len(tps))
	for i, tp := range tps {
		texts[i] = tp.String()
	}
	return strings.Join(texts, separator)
}

// plural is the ending of a word for n things.
func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
