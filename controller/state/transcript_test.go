package state

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts plays the conversations in testdata: a command, a line of dashes, what the machine did. Lines that start with
// # are prose. See env.run for the commands.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Fatalf("the conversation is another one (-want +got), run with -rewrite if it should be:\n%s", d)
			}
		})
	}
}

// replay returns the transcript with the outputs that the machine gives now.
func replay(t *testing.T, script string) string {
	e := newEnv()
	var out strings.Builder
	inOutput := false
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "":
			if inOutput {
				out.WriteString("\n")
			}
			inOutput = false
		case inOutput || line == "----":
			inOutput = true
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			before := maps.Clone(e.states)
			e.check = func(Step) {
				for _, v := range e.violations(before) {
					t.Errorf("after %q: %s", line, v)
				}
				before = maps.Clone(e.states)
			}
			e.log.Reset()
			e.run(strings.Fields(line))
			fmt.Fprintf(&out, "%s\n----\n%s", line, e.log.String())
			inOutput = true
		}
	}
	if inOutput {
		out.WriteString("\n")
	}
	return out.String()
}

// run does one command.
func (e *env) run(args []string) {
	cmd, args := args[0], args[1:]
	if !e.prepare(cmd, args) && !e.happen(cmd, args) && !e.request(cmd, args) {
		panic("unknown command " + cmd)
	}
}

// prepare does the commands that change ZooKeeper behind the machine's back, and the failover.
func (e *env) prepare(cmd string, args []string) bool {
	switch cmd {
	case "options": // unclean=true delete=false
		e.opts.UncleanElection = slices.Contains(args, "unclean=true")
		e.opts.DeleteTopics = !slices.Contains(args, "delete=false")
	case "topic": // a topic that exists before the failover: name 0:1,2 1:2,1
		e.addTopic(args[0], parseReplicas(args[1:]))
	case "register": // brokers before the failover: 1,2,3
		e.register(parseIDs(args[0])...)
	case "renew": // brokers that register again without having been started again: 1,2,3
		e.renew(parseIDs(args[0])...)
	case "state": // a state that exists before the failover: name-0 leader isr epoch
		tp, _ := cluster.ParseTopicPartition(args[0])
		s := LeaderAndISR{Leader: parseIDs(args[1])[0], ISR: parseIDs(args[2]), LeaderEpoch: cluster.LeaderEpoch(parseIDs(args[3])[0])}
		s.PartitionEpoch = cluster.PartitionEpoch(s.LeaderEpoch)
		e.write(tp, s)
	case "foreign-state": // the same with a state that contradicts itself
		e.prepare("state", args)
		tp, _ := cluster.ParseTopicPartition(args[0])
		e.foreign[tp] = e.states[tp].PartitionEpoch
	case "log-epoch": // a log that is of a later leader epoch than ZooKeeper knows: broker name-0 epoch
		tp, _ := cluster.ParseTopicPartition(args[1])
		e.logs[replicaName{parseIDs(args[0])[0], tp}] = cluster.LeaderEpoch(parseIDs(args[2])[0])
	case "marker": // a deletion marker before the failover
		e.deletions[args[0]] = true
	case "config": // topic key value
		e.configs[args[0]] = map[string]string{args[1]: args[2]}
	case "isr": // the state changes behind the machine's back: name-0 1,2
		tp, _ := cluster.ParseTopicPartition(args[0])
		s := e.states[tp]
		s.ISR = parseIDs(args[1])
		s.PartitionEpoch++
		e.states[tp] = s
	case "fault": // lose, drop, fail: what happens to the next n writes
		n := int(parseIDs(args[1])[0])
		e.fault = func(op Op) string {
			if n == 0 || op.Kind == ReadState || op.Kind == ReadTopicConfig {
				return ""
			}
			n--
			return args[0]
		}
	case "failover":
		e.failover()
	default:
		return false
	}
	return true
}

// happen does the commands that are events.
func (e *env) happen(cmd string, args []string) bool {
	switch cmd {
	case "brokers": // brokers that start, bounce or stop in one look: +4 ~2 -3
		for _, a := range args {
			id := parseIDs(a[1:])[0]
			if a[0] == '-' {
				delete(e.brokers, id)
			} else {
				e.register(id)
			}
		}
		e.brokerChange()
	case "move": // a broker's new address
		b := e.brokers[parseIDs(args[0])[0]]
		b.Endpoints = []cluster.Endpoint{{Listener: "PLAINTEXT", Host: args[1], Port: 9092}}
		e.brokers[b.ID] = b
		e.handle(BrokerModified{Broker: b})
	case "create":
		e.addTopic(args[0], parseReplicas(args[1:]))
		e.topicChange()
	case "add-partitions":
		t := e.topics[args[0]]
		all := map[int32]Assignment{}
		for index, a := range t.Assignments {
			all[index] = a
		}
		for index, ids := range parseReplicas(args[1:]) {
			all[index] = Assignment{Replicas: ids}
		}
		t.Assignments = all
		e.topics[args[0]] = t
		e.handle(PartitionsModified{Topic: t})
	case "vanish": // a topic node removed by hand
		e.apply(Op{Kind: DeleteTopic, Partition: cluster.TopicPartition{Topic: args[0]}})
		e.topicChange()
	case "reassign-node": // what an old tool writes: t-0:4,5 t-1:none
		e.moves = ReassignmentsRequested{Exists: true, Moves: parseMoves(args)}
		if e.m != nil {
			e.handle(e.moves)
		}
	case "reassign-node-gone": // an operator has deleted it
		e.moves = ReassignmentsRequested{}
		e.handle(e.moves)
	case "elect-node":
		e.elections = ElectionsRequested{Exists: true}
		for _, a := range args {
			tp, _ := cluster.ParseTopicPartition(a)
			e.elections.Partitions = append(e.elections.Partitions, tp)
		}
		if e.m != nil {
			e.handle(e.elections)
		}
	case "delete":
		e.deletions[args[0]] = true
		e.topicDeletion()
	case "respond": // answer everything that was sent; replicas named as broker/topic-0 with KAFKA_STORAGE_ERROR
		for e.respond(func(id cluster.BrokerID, tp cluster.TopicPartition) kerr.Code {
			if slices.Contains(args, fmt.Sprintf("%d/%s", id, tp)) {
				return kerr.KafkaStorageError
			}
			return kerr.None
		}) {
		}
	case "logdir":
		e.handle(LogDirFailure{Brokers: parseIDs(args[0])})
	case "contact":
		e.handle(parseContact(args))
	case "unclean":
		ev := UncleanElectionEnabled{}
		if len(args) > 0 {
			ev.Topic = args[0]
		}
		e.handle(ev)
	default:
		return false
	}
	return true
}

// parseMoves reads t-0:4,5 t-1:cancel t-2:none.
func parseMoves(args []string) []Move {
	var out []Move
	for _, a := range args {
		name, ids, _ := strings.Cut(a, ":")
		tp, _ := cluster.ParseTopicPartition(name)
		move := Move{Partition: tp, Cancel: ids == "cancel"}
		if ids != "cancel" && ids != "none" {
			move.Replicas = parseIDs(ids)
		}
		out = append(out, move)
	}
	return out
}

// request does the commands that have a reply.
func (e *env) request(cmd string, args []string) bool {
	switch cmd {
	case "alter":
		e.alter(args)
	case "shutdown":
		id := parseIDs(args[0])[0]
		ev := ControlledShutdown{Broker: id, BrokerEpoch: e.brokers[id].Epoch}
		if len(args) > 1 {
			ev.BrokerEpoch = cluster.BrokerEpoch(parseIDs(args[1])[0])
		}
		e.handle(ev)
	case "elect": // preferred or unclean, then all or partitions
		ev := ElectLeaders{Unclean: args[0] == "unclean", All: slices.Contains(args, "all")}
		for _, a := range args[1:] {
			if tp, err := cluster.ParseTopicPartition(a); err == nil {
				ev.Partitions = append(ev.Partitions, tp)
			}
		}
		e.handle(ev)
	case "grow": // a topic, how many partitions in all, then those placed by hand as 1,2 (or none), and validate
		more := MorePartitions{Topic: args[0], Count: int32(parseIDs(args[1])[0])}
		for _, a := range args[2:] {
			switch a {
			case "validate":
			case "none":
				more.Assignments = append(more.Assignments, nil)
			default:
				more.Assignments = append(more.Assignments, parseIDs(a))
			}
		}
		e.handle(AddPartitions{Topics: []MorePartitions{more}, ValidateOnly: slices.Contains(args, "validate")})
	case "reassign": // t-0:4,5 t-1:cancel t-2:none
		e.handle(AlterReassignments{Moves: parseMoves(args)})
	case "list": // all or partitions
		ev := ListReassignments{All: args[0] == "all"}
		for _, a := range args {
			if tp, err := cluster.ParseTopicPartition(a); err == nil {
				ev.Partitions = append(ev.Partitions, tp)
			}
		}
		e.handle(ev)
	case "rebalance":
		e.handle(Rebalance{Percentage: int(parseIDs(args[0])[0])})
	case "show":
		for _, p := range e.m.Partitions() {
			e.logf("%s %s %s pe=%d", p.Partition, p.State, p.Leadership, p.Leadership.PartitionEpoch)
			for _, id := range p.Assignment.Replicas {
				e.logf("  %d %s", id, replicaStateOf(p, id))
			}
		}
		e.logf("%+v", e.m.Counts())
	default:
		return false
	}
	return true
}

// alter asks for another ISR: broker name-0 isr leader-epoch partition-epoch, then what differs from what the node holds
func (e *env) alter(args []string) {
	ev := AlterPartition{Broker: parseIDs(args[0])[0]}
	ev.BrokerEpoch = e.brokers[ev.Broker].Epoch
	tp, _ := cluster.ParseTopicPartition(args[1])
	r := AlterRequest{Partition: tp, ISR: parseIDs(args[2]), LeaderEpoch: e.states[tp].LeaderEpoch, PartitionEpoch: e.states[tp].PartitionEpoch}
	for _, a := range args[3:] {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "leader-epoch":
			r.LeaderEpoch += cluster.LeaderEpoch(parseIDs(value)[0])
		case "partition-epoch":
			r.PartitionEpoch += cluster.PartitionEpoch(parseIDs(value)[0])
		case "broker-epoch":
			ev.BrokerEpoch += cluster.BrokerEpoch(parseIDs(value)[0])
		case "isr-epoch": // of the last replica
			r.ISREpochs = make([]cluster.BrokerEpoch, len(r.ISR))
			for i := range r.ISREpochs {
				r.ISREpochs[i] = e.brokers[r.ISR[i]].Epoch
			}
			r.ISREpochs[len(r.ISR)-1] += cluster.BrokerEpoch(parseIDs(value)[0])
		case "recovering":
			r.Recovery = Recovering
		case "fence":
			r.Fence = true
		case "by-id":
			r.Partition.Topic, r.TopicID = "", e.topics[tp.Topic].ID
		case "unknown-id":
			r.Partition.Topic, r.TopicID = "", cluster.TopicID{9, 9}
		}
	}
	ev.Partitions = []AlterRequest{r}
	e.handle(ev)
}

// parseContact reads who does not answer: suspects=1,2 unreached=1 late=1 broken=1-2,1-3 min=2 topic-min=a:1
func parseContact(args []string) Contact {
	var ev Contact
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "suspects":
			ev.Suspects = parseIDs(value)
		case "stalled":
			ev.Stalled = parseIDs(value)
		case "unreached":
			ev.Unreached = parseIDs(value)
		case "late":
			ev.Late = parseIDs(value)
		case "broken":
			for _, pair := range strings.Split(value, ",") {
				from, to, _ := strings.Cut(pair, "-")
				ev.Broken = append(ev.Broken, Link{parseIDs(from)[0], parseIDs(to)[0]})
			}
		case "min":
			ev.MinISR = int(parseIDs(value)[0])
		case "topic-min":
			topic, n, _ := strings.Cut(value, ":")
			ev.TopicMinISR = map[string]int{topic: int(parseIDs(n)[0])}
		}
	}
	return ev
}

func replicaStateOf(p PartitionInfo, id cluster.BrokerID) ReplicaState {
	if s, ok := p.Replicas[id]; ok {
		return s
	}
	return NonExistentReplica
}
