package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestReassignFlagsAreCheckedTogether(t *testing.T) {
	const oneAction = "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list"
	for _, c := range []struct{ line, want string }{
		{"--bootstrap-server b:1", oneAction},
		{"--bootstrap-server b:1 --execute --verify", oneAction},
		{"--list", "Please specify --bootstrap-server"},
		{"--execute --bootstrap-server b:1", `Missing required argument "[reassignment-json-file]"`},
		{"--verify --bootstrap-server b:1", `Missing required argument "[reassignment-json-file]"`},
		{"--cancel --bootstrap-server b:1", `Missing required argument "[reassignment-json-file]"`},
		{"--generate --bootstrap-server b:1", `Missing required argument "[topics-to-move-json-file]"`},
		{"--generate --bootstrap-server b:1 --topics-to-move-json-file f", `Missing required argument "[broker-list]"`},
		{"--verify --bootstrap-server b:1 --reassignment-json-file f --throttle 5", `Option "[throttle]" can't be used with action "[verify]"`},
		{"--list --bootstrap-server b:1 --preserve-throttles", `Option "[preserve-throttles]" can't be used with action "[list]"`},
		{"--list --zookeeper z:1", `Option "[zookeeper]" can't be used with action "[list]"`},
		{"--cancel --zookeeper z:1 --reassignment-json-file f", `Option "[zookeeper]" can't be used with action "[cancel]"`},
		{"--execute --bootstrap-server b:1 --reassignment-json-file f --disable-rack-aware", `Option "[disable-rack-aware]" can't be used with action "[execute]"`},
		{"--execute --zookeeper z:1 --reassignment-json-file f --additional", `You must specify --bootstrap-server when using "[additional]"`},
		{"--execute --zookeeper z:1 --reassignment-json-file f --timeout 1", `You must specify --bootstrap-server when using "[timeout]"`},
		{"--execute --zookeeper z:1 --reassignment-json-file f --throttle 1", ""},
		{"--execute --zookeeper z:1 --bootstrap-server b:1 --reassignment-json-file f --additional --throttle 1 --replica-alter-log-dirs-throttle 1 --timeout 1 --command-config c", ""},
		{"--verify --bootstrap-server b:1 --reassignment-json-file f --preserve-throttles", ""},
		{"--cancel --bootstrap-server b:1 --reassignment-json-file f --preserve-throttles --timeout 1", ""},
		{"--generate --bootstrap-server b:1 --topics-to-move-json-file f --broker-list 1,2 --disable-rack-aware", ""},
	} {
		f := newReassignFlags()
		if err := f.set.Parse(strings.Fields(c.line)); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		got := ""
		if err := firstError(f.check(), f.needsBroker()); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestFilesOfMovesAreJudged(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{`{"version":1,"partitions":[]}`, "Partition reassignment list cannot be empty"},
		{`{}`, "Partition reassignment list cannot be empty"},
		{`{"version":2,"partitions":[]}`, "Not supported version field value 2"},
		{`[`, "The input string is not a valid JSON: unexpected end of JSON input"},
		{`{"partitions":[{"topic":"t","partition":0}]}`, "each of the partitions needs the fields topic, partition and replicas"},
		{`{"partitions":[{"topic":"t","partition":0,"replicas":[]}]}`, "Partition replica list cannot be empty"},
		{`{"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any"]}]}`, "Size of replicas list [1, 2] is different from size of log dirs list [any] for partition t-0"},
		{`{"partitions":[{"topic":"t","partition":0,"replicas":[1]},{"topic":"u","partition":0,"replicas":[1]},{"topic":"t","partition":0,"replicas":[2]}]}`, "Partition reassignment contains duplicate topic partitions: t-0"},
		{`{"partitions":[{"topic":"t","partition":0,"replicas":[1,2,1]},{"topic":"u","partition":3,"replicas":[4,4]}]}`, "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1. u-3 contains multiple entries for 4"},
		{`{"version":1,"more":true,"partitions":[{"topic":"t","partition":0,"replicas":[2,1],"log_dirs":["any","/d"]},{"topic":"t","partition":1,"replicas":[3]}]}`, ""},
	} {
		moves, dirs, err := parseExecution([]byte(c.file))
		if got := errorText(err); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.file, got, c.want)
		}
		if c.want == "" {
			want := assignment{{Topic: "t"}: {2, 1}, {Topic: "t", Partition: 1}: {3}}
			if diff := cmp.Diff(want, moves); diff != "" || len(dirs) != 1 || dirs[replicaOf{cluster.TopicPartition{Topic: "t"}, 1}] != "/d" {
				t.Errorf("%s %v", diff, dirs)
			}
		}
	}
	for file, want := range map[string]string{
		`{"topics":[{"topic":"a"},{"topic":"b"},{"topic":"a"}],"version":1}`: "List of topics to reassign contains duplicate entries: [a]",
		`{"topics":[{}]}`: "each of the topics needs the field topic",
		`{"version":3}`:   "Not supported version field value 3",
		`x`:               "The input string is not a valid JSON: invalid character 'x' looking for beginning of value",
		`{"version":1}`:   "",
	} {
		if _, err := parseTopicsToMove([]byte(file)); errorText(err) != want {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	for list, want := range map[string]string{"1,2,1": "Broker list contains duplicate entries: [1]", "1,x": `For input string: "x"`, "3,1": ""} {
		if _, err := parseBrokerList(list); errorText(err) != want {
			t.Errorf("%s: %v, want %s", list, err, want)
		}
	}
}

// errorText is an error's text, "" for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAnAssignmentIsPrintedAsItIsRead(t *testing.T) {
	a := assignment{{Topic: "t", Partition: 10}: {1}, {Topic: "t", Partition: 2}: {3, 1}, {Topic: "s"}: {2}}
	const want = `{"version":1,"partitions":[{"topic":"s","partition":0,"replicas":[2],"log_dirs":["any"]},{"topic":"t","partition":2,"replicas":[3,1],"log_dirs":["any","any"]},{"topic":"t","partition":10,"replicas":[1],"log_dirs":["any"]}]}`
	if got := a.json(); got != want {
		t.Errorf("got %s", got)
	}
	again, _, err := parseExecution([]byte(a.json()))
	if diff := cmp.Diff(a, again); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestAProposalHasTheSamePartitionsWithAsManyReplicas(t *testing.T) {
	current := assignment{{Topic: "s"}: {1}, {Topic: "t"}: {1, 2}, {Topic: "t", Partition: 1}: {2, 1}, {Topic: "t", Partition: 2}: {1, 2}}
	got, err := propose(current, []state.BrokerRack{{ID: 4, Rack: "a"}, {ID: 5, Rack: "b"}, {ID: 6, Rack: "a"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	leaders := map[cluster.BrokerID]int{}
	for tp, before := range current {
		if len(got[tp]) != len(before) || len(duplicates(got[tp])) > 0 {
			t.Errorf("%s: %v, before %v", tp, got[tp], before)
		}
		if len(got[tp]) == 2 && !slices.Contains(got[tp], 5) {
			t.Errorf("%s on %v: both on one rack", tp, got[tp])
		}
		if tp.Topic == "t" {
			leaders[got[tp][0]]++
		}
	}
	if len(got) != len(current) || len(leaders) != 3 {
		t.Errorf("%v", got)
	}
	uneven := []state.BrokerRack{{ID: 1, Rack: "a"}, {ID: 2}}
	if _, err := propose(current, slices.Clone(uneven), false); errorText(err) != "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information." {
		t.Error(err)
	}
	if _, err := propose(current, uneven, true); err != nil {
		t.Error(err)
	}
	if _, err := propose(current, uneven[:1], true); err == nil || text(err) != "Replication factor: 2 larger than available brokers: 1." {
		t.Error(err)
	}
}

func TestThrottlesNameSourcesAndDestinations(t *testing.T) {
	tp := func(topic string, p int32) cluster.TopicPartition {
		return cluster.TopicPartition{Topic: topic, Partition: p}
	}
	moves := planMoves(
		map[cluster.TopicPartition]admin.Reassignment{
			tp("t", 0): {Replicas: []cluster.BrokerID{4, 1, 2}, Adding: []cluster.BrokerID{4}, Removing: []cluster.BrokerID{1}},
			tp("u", 7): {Replicas: []cluster.BrokerID{8, 9}, Adding: []cluster.BrokerID{9}},
		},
		assignment{tp("t", 0): {5, 2}, tp("t", 10): {2, 3}, tp("t", 2): {1}},
		assignment{tp("t", 0): {4, 1, 2}, tp("t", 10): {1, 2}, tp("t", 2): {1}})
	got := throttles(moves, 1000)
	topic := func(name, leaders, followers string) settingsChange {
		return settingsChange{configTarget{"topics", name, true}, map[string]string{
			"leader.replication.throttled.replicas": leaders, "follower.replication.throttled.replicas": followers,
		}, nil}
	}
	want := []settingsChange{topic("t", "0:1,0:2,10:1,10:2,2:1", "0:5,10:3"), topic("u", "7:8", "7:9")}
	for _, id := range []string{"1", "2", "3", "5", "8", "9"} {
		want = append(want, settingsChange{configTarget{"brokers", id, true}, map[string]string{"leader.replication.throttled.rate": "1000", "follower.replication.throttled.rate": "1000"}, nil})
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settingsChange{}, configTarget{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhereReplicasLieOnABroker(t *testing.T) {
	at := func(p int32, b cluster.BrokerID) replicaOf {
		return replicaOf{cluster.TopicPartition{Topic: "t", Partition: p}, b}
	}
	wanted := map[replicaOf]string{at(0, 1): "/a", at(1, 1): "/a", at(2, 1): "/a", at(3, 1): "/a", at(4, 1): "/a", at(0, 2): "/a"}
	lying := map[replicaOf]dirMove{at(0, 1): {"/a", ""}, at(1, 1): {"/b", ""}, at(2, 1): {"/b", "/a"}, at(3, 1): {"/b", "/c"}, at(4, 1): {"", "/a"}}
	got, done := dirStatus(wanted, lying)
	want := strings.Join([]string{
		"Reassignment of replica t-0-1 completed successfully.",
		"Partition t-1 on broker 1 is not being moved from log dir /b to /a.",
		"Reassignment of replica t-2-1 is still in progress.",
		"Partition t-3 on broker 1 is being moved to log dir /c instead of /a.",
		"Partition t-4 is not found in any live log dir on broker 1. There is likely an offline log directory on the broker.",
		"Partition t-0 cannot be found in any live log directory on broker 2.",
	}, "\n")
	if got != want || done {
		t.Errorf("%v\n%s", done, cmp.Diff(want, got))
	}
	if got, done := dirStatus(nil, nil); got != "" || !done {
		t.Errorf("%q %v", got, done)
	}
}

// fakeMover is a cluster whose moves never end by themselves.
type fakeMover struct {
	live     []cluster.BrokerID
	has      assignment
	under    map[cluster.TopicPartition]admin.Reassignment
	refused  map[cluster.TopicPartition]error
	settings map[string]string // by entity and name
	badBy    string            // the target that cannot be changed
}

func (m *fakeMover) brokers(context.Context) ([]state.BrokerRack, error) {
	var list []state.BrokerRack
	for _, id := range m.live {
		list = append(list, state.BrokerRack{ID: id})
	}
	return list, nil
}

func (m *fakeMover) assignments(_ context.Context, topics []string) (assignment, error) {
	found := maps.Clone(m.has)
	maps.DeleteFunc(found, func(tp cluster.TopicPartition, _ []cluster.BrokerID) bool { return !slices.Contains(topics, tp.Topic) })
	return found, nil
}

func (m *fakeMover) moving(context.Context) (map[cluster.TopicPartition]admin.Reassignment, error) {
	return m.under, nil
}

func (m *fakeMover) move(_ context.Context, to assignment) (map[cluster.TopicPartition]error, error) {
	outcomes := map[cluster.TopicPartition]error{}
	for tp, replicas := range to {
		outcomes[tp] = m.refused[tp]
		switch {
		case outcomes[tp] != nil:
		case replicas == nil:
			delete(m.under, tp)
		default:
			m.under[tp] = admin.Reassignment{Replicas: replicas}
		}
	}
	return outcomes, nil
}

func (m *fakeMover) configure(_ context.Context, changes []settingsChange) error {
	var err error
	for _, c := range changes {
		if c.target.name == m.badBy {
			err = errors.New("no")
			continue
		}
		for name, value := range c.set {
			m.settings[c.target.typ+"/"+c.target.name+"/"+name] = value
		}
		for _, name := range c.unset {
			delete(m.settings, c.target.typ+"/"+c.target.name+"/"+name)
		}
	}
	return err
}

func (m *fakeMover) close() {}

// run carries out one command line on a file.
func (m *fakeMover) run(t *testing.T, line, file string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newReassignFlags()
	if err := f.set.Parse(append(strings.Fields(line), "--reassignment-json-file", path)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := &reassigner{f, m, streams{out: &out}}
	var err error
	switch ctx := t.Context(); {
	case f.execute.Given() && f.zookeeper.Given():
		err = r.executeAtZooKeeper(ctx, []byte(file))
	case f.execute.Given():
		err = r.execute(ctx, []byte(file))
	case f.verify.Given():
		err = r.verify(ctx, []byte(file), func(context.Context, map[replicaOf]string) (map[replicaOf]dirMove, error) { return nil, nil })
	case f.cancel.Given():
		err = r.cancel(ctx, []byte(file))
	default:
		err = r.list(ctx)
	}
	if err != nil {
		fmt.Fprintf(&out, "! %s", text(err))
	}
	return out.String()
}

func TestAMoveFromItsBeginningToItsEnd(t *testing.T) {
	t0, t1 := cluster.TopicPartition{Topic: "t"}, cluster.TopicPartition{Topic: "t", Partition: 1}
	m := &fakeMover{
		live:     []cluster.BrokerID{1, 2, 3},
		has:      assignment{t0: {1, 2}, t1: {2, 1}, {Topic: "other"}: {1}},
		under:    map[cluster.TopicPartition]admin.Reassignment{},
		settings: map[string]string{"brokers/1/log.retention.ms": "5"},
	}
	const moves = `{"partitions":[{"topic":"t","partition":1,"replicas":[3,1]},{"topic":"t","partition":0,"replicas":[1,3]}]}`
	step := func(line, file, want string) {
		t.Helper()
		if diff := cmp.Diff(want, m.run(t, line, file)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", line, diff)
		}
	}
	const save = "Current partition replica assignment\n\n" +
		`{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]},{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["any","any"]}]}` +
		"\n\nSave this to use as the --reassignment-json-file option during rollback\n"
	step("--list", "", "No partition reassignments found.\n")
	step("--execute", `{"partitions":[{"topic":"t","partition":0,"replicas":[1,9]}]}`, "! Unknown broker id 9")
	step("--execute", `{"partitions":[{"topic":"x","partition":0,"replicas":[1]}]}`, "! org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Topic x not found.")
	step("--execute", `{"partitions":[{"topic":"t","partition":5,"replicas":[1]}]}`, "! org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Unable to find partition: t-5")
	step("--execute", `{"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["/d"]}]}`,
		"! replica t-0-1 is to be moved to the log directory /d: moving replicas between the directories of a broker is not there yet; write \"any\" in log_dirs, or leave log_dirs out")
	step("--execute --zookeeper z", `{"partitions":[{"topic":"t","partition":0,"replicas":[9]}]}`, "! The proposed assignment contains non-existent brokerIDs: 9")
	step("--execute --zookeeper z", `{"partitions":[{"topic":"t","partition":5,"replicas":[1]}]}`, "! The proposed assignment contains non-existent partitions: List(t-5)")
	step("--execute --throttle 1000", moves, save+
		"Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.\n"+
		"The inter-broker throttle limit was set to 1000 B/s\n"+
		"Successfully started partition reassignments for t-0,t-1\n")
	if got := m.settings["topics/t/follower.replication.throttled.replicas"]; got != "0:3,1:3" || m.settings["brokers/2/leader.replication.throttled.rate"] != "1000" {
		t.Errorf("settings %v", m.settings)
	}
	step("--execute", moves, "! Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new partition assignment "+
		"in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the current reassignment.")
	step("--execute --additional", `{"partitions":[{"topic":"t","partition":0,"replicas":[1,3]}]}`,
		"Current partition replica assignment\n\n"+`{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}]}`+
			"\n\nSave this to use as the --reassignment-json-file option during rollback\nSuccessfully started partition reassignment for t-0\n")
	step("--verify", moves, "Status of partition reassignment:\nReassignment of partition t-0 is still in progress.\nReassignment of partition t-1 is still in progress.\n\n")
	m.under[t1] = admin.Reassignment{Replicas: []cluster.BrokerID{3, 1, 2}, Adding: []cluster.BrokerID{3}, Removing: []cluster.BrokerID{2}}
	step("--list", "", "Current partition reassignments:\nt-0: replicas: 1,3.\nt-1: replicas: 3,1,2. adding: 3. removing: 2.\n")

	// One arrives, one is cancelled.
	delete(m.under, t0)
	m.has[t0] = []cluster.BrokerID{1, 3}
	step("--verify", moves, "Status of partition reassignment:\nReassignment of partition t-0 is completed.\nReassignment of partition t-1 is still in progress.\n\n")
	m.refused = map[cluster.TopicPartition]error{t1: kerr.NotController.With("moved")}
	step("--cancel", moves, "! Error cancelling partition reassignment for:\nt-1: moved")
	m.refused = nil
	step("--cancel --preserve-throttles", moves, "Successfully cancelled partition reassignment for: t-1\nNone of the specified partition moves are active.")
	step("--cancel --preserve-throttles", moves, "None of the specified partition reassignments are active.\nNone of the specified partition moves are active.")
	const status = "Status of partition reassignment:\nReassignment of partition t-0 is completed.\n" +
		"There is no active reassignment of partition t-1, but replica set is 2,1 rather than 3,1.\n\n"
	step("--verify --preserve-throttles", moves, status)
	if len(m.settings) != 9 {
		t.Errorf("settings %v", m.settings)
	}
	m.live, m.badBy = []cluster.BrokerID{1, 2}, "3"
	step("--verify", moves, status+"Clearing broker-level throttles on brokers 1,2,3\nClearing topic-level throttles on topic t\n! no")
	m.badBy = ""
	step("--verify", moves, status+"Clearing broker-level throttles on brokers 1,2,3\nClearing topic-level throttles on topic t\n")
	if diff := cmp.Diff(map[string]string{"brokers/1/log.retention.ms": "5"}, m.settings); diff != "" {
		t.Errorf("what is left of the settings (-want +got)\n%s", diff)
	}
	m.refused = map[cluster.TopicPartition]error{t0: kerr.InvalidReplicaAssignment.With("b"), t1: kerr.InvalidReplicaAssignment.With("a")}
	m.live = []cluster.BrokerID{1, 2, 3}
	if got := m.run(t, "--execute", moves); !strings.HasSuffix(got, "rollback\n! Error reassigning partition(s):\nt-0: b\nt-1: a") {
		t.Errorf("got %s", got)
	}
}
