package state

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// env is a cluster for one machine: the znodes that matter, a log of everything that goes in and out of the machine, and ways
// to make commits fail. It plays the shell: plan, commit, apply, send.
type env struct {
	m   *Machine
	log strings.Builder

	// what ZooKeeper holds
	zxid      int64
	epoch     cluster.ControllerEpoch
	brokers   map[cluster.BrokerID]Broker
	topics    map[string]Topic
	states    map[cluster.TopicPartition]LeaderAndISR
	written   map[cluster.TopicPartition]cluster.BrokerEpoch // zxids of states
	deletions map[string]bool
	configs   map[string]map[string]string
	moves     ReassignmentsRequested // /admin/reassign_partitions
	elections ElectionsRequested     // /admin/preferred_replica_election

	logs    map[replicaName]cluster.LeaderEpoch               // leader epochs of logs, where they are later than those of states
	foreign map[cluster.TopicPartition]cluster.PartitionEpoch // states that contradict themselves until they are written again
	opts    Options
	senders map[cluster.BrokerID]bool // where requests can go
	sent    []Request                 // not answered yet
	fault   func(op Op) string        // "", "lose" (applied, reply lost), "drop" (not applied, reply lost), "fail"
	check   func(Step)                // called with each step
}

func newEnv() *env {
	return &env{
		brokers: map[cluster.BrokerID]Broker{}, topics: map[string]Topic{}, states: map[cluster.TopicPartition]LeaderAndISR{},
		written:   map[cluster.TopicPartition]cluster.BrokerEpoch{},
		deletions: map[string]bool{}, configs: map[string]map[string]string{}, senders: map[cluster.BrokerID]bool{},
		logs: map[replicaName]cluster.LeaderEpoch{}, foreign: map[cluster.TopicPartition]cluster.PartitionEpoch{},

		opts:  Options{ControllerID: 1, DeleteTopics: true},
		fault: func(Op) string { return "" },
		check: func(Step) {},
	}
}

// register adds or renews registrations, without telling the machine.
func (e *env) register(ids ...cluster.BrokerID) {
	for _, id := range ids {
		e.zxid++
		e.brokers[id] = Broker{ID: id, Epoch: cluster.BrokerEpoch(e.zxid), Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", Host: fmt.Sprint("h", id), Port: 9092}}}
	}
}

// renew lets brokers that go on register again, without telling the machine.
func (e *env) renew(ids ...cluster.BrokerID) {
	for _, id := range ids {
		began := e.brokers[id].began()
		e.register(id)
		b := e.brokers[id]
		b.Since = began
		e.brokers[id] = b
	}
}

// addTopic writes a topic node, without telling the machine.
func (e *env) addTopic(name string, replicas map[int32][]cluster.BrokerID) {
	t := Topic{Name: name, ID: cluster.TopicID{1: byte(len(e.topics) + 1), 2: byte(e.zxid)}, Assignments: map[int32]Assignment{}}
	for index, ids := range replicas {
		t.Assignments[index] = Assignment{Replicas: ids}
	}
	e.topics[name] = t
}

// failover begins a reign.
func (e *env) failover() {
	e.epoch++
	e.opts.Epoch = e.epoch
	e.m = New(e.opts)
	e.sent, e.senders = nil, map[cluster.BrokerID]bool{}
	e.handle(Failover{
		Brokers: slices.Collect(maps.Values(e.brokers)), Topics: slices.Collect(maps.Values(e.topics)),
		States: maps.Clone(e.states), Written: maps.Clone(e.written), Deletions: slices.Collect(maps.Keys(e.deletions)),
		Reassignments: e.moves, Elections: e.elections,
	})
}

func (e *env) brokerChange() { e.handle(BrokerChange{Brokers: slices.Collect(maps.Values(e.brokers))}) }

func (e *env) topicChange() {
	ev := TopicChange{Names: slices.Collect(maps.Keys(e.topics))}
	for _, name := range slices.Sorted(maps.Keys(e.topics)) {
		if !e.m.HasTopic(name) {
			ev.Added = append(ev.Added, e.topics[name])
		}
	}
	e.handle(ev)
}

func (e *env) topicDeletion() { e.handle(TopicDeletion{Names: slices.Collect(maps.Keys(e.deletions))}) }

// handle drives the machine through one event.
func (e *env) handle(ev Event) {
	step := e.m.Handle(ev)
	for {
		for _, s := range step.Senders {
			e.senders[s.Broker.ID] = s.Kind != RemoveSender
			if s.Kind == RemoveSender {
				e.sent = slices.DeleteFunc(e.sent, func(r Request) bool { return r.Broker == s.Broker.ID })
			}
			e.logf("%s sender %d", [...]string{"", "add", "remove", "move"}[s.Kind], s.Broker.ID)
		}
		for _, n := range step.Notes {
			e.logf("note %s", n)
		}
		for _, r := range step.Requests {
			e.logf("send %d %s", r.Broker, r.Body)
			if !e.senders[r.Broker] {
				panic(fmt.Sprintf("a request for broker %d, which has no sender", r.Broker))
			}
			if r.BrokerEpoch != e.m.brokers[r.Broker].Epoch {
				panic("a request with the wrong broker epoch")
			}
			e.sent = append(e.sent, r)
		}
		e.check(step)
		switch r := step.Reply.(type) {
		case AlterReply:
			e.logf("reply %s", r.Code.Name())
			for _, p := range r.Partitions {
				e.logf("  %s %s %s pe=%d", p.Partition, p.Code.Name(), p.State, p.State.PartitionEpoch)
			}
		case ElectReply:
			for _, p := range r.Partitions {
				e.logf("reply %s %s leader=%d", p.Partition, p.Code.Name(), p.Leader)
			}
		case AddReply:
			for _, t := range r.Topics {
				e.logf("reply %s before=%d %v", t.Topic, t.Before, t.Err)
			}
		case MoveReply:
			for _, p := range r.Partitions {
				e.logf("reply %s %v", p.Partition, p.Err)
			}
		case ListReply:
			for _, p := range r.Partitions {
				e.logf("reply %s %s", p.Partition, p.Assignment)
			}
		case ShutdownReply:
			e.logf("reply %s remaining=%v", r.Code.Name(), r.Remaining)
		}
		if step.Done {
			return
		}
		results := make([]Result, len(step.Ops))
		for i, op := range step.Ops {
			results[i] = e.commit(op)
			e.logf("commit %s -> %s", op, results[i])
		}
		step = e.m.Apply(results)
	}
}

// commit does what ZooKeeper would, with faults.
func (e *env) commit(op Op) Result {
	switch e.fault(op) {
	case "fail":
		return Result{Outcome: Failed, Reason: "injected"}
	case "drop":
		return Result{Outcome: Unknown}
	case "lose":
		if r := e.apply(op); r.Outcome == Done {
			return Result{Outcome: Unknown}
		}
	}
	return e.apply(op)
}

func (e *env) apply(op Op) Result {
	name := op.Partition.Topic
	_, exists := e.topics[name]
	current, has := e.states[op.Partition]
	switch op.Kind {
	case CreateState:
		if !exists {
			return Result{Outcome: NoNode}
		}
		if has {
			return Result{Outcome: NodeExists}
		}
		s := op.State
		s.PartitionEpoch = 0
		e.write(op.Partition, s)
		return Result{Outcome: Done}
	case SetState:
		if !has {
			return Result{Outcome: NoNode}
		}
		if current.PartitionEpoch != op.Version {
			return Result{Outcome: BadVersion}
		}
		s := op.State
		s.PartitionEpoch = op.Version + 1
		e.write(op.Partition, s)
		return Result{Outcome: Done, Version: s.PartitionEpoch}
	case ReadState:
		if !has {
			return Result{Outcome: NoNode}
		}
		return Result{Outcome: Done, State: current}
	case ReadTopicConfig:
		return Result{Outcome: Done, Config: e.configs[name]}
	case SetTopic:
		if !exists {
			return Result{Outcome: NoNode}
		}
		e.topics[name] = Topic{Name: name, ID: op.TopicID, Assignments: op.Assignments}
		return Result{Outcome: Done}
	case DeleteTopic:
		delete(e.topics, name)
		delete(e.configs, name)
		delete(e.deletions, name)
		maps.DeleteFunc(e.states, func(tp cluster.TopicPartition, _ LeaderAndISR) bool { return tp.Topic == name })
		return Result{Outcome: Done}
	case DeleteMarker:
		if !e.deletions[name] {
			return Result{Outcome: NoNode}
		}
		delete(e.deletions, name)
		return Result{Outcome: Done}
	case SetReassignments:
		e.moves = ReassignmentsRequested{Exists: len(op.Moves) > 0, Moves: slices.Clone(op.Moves)}
		return Result{Outcome: Done}
	case DeletePreferredElection:
		e.elections = ElectionsRequested{}
		return Result{Outcome: Done}
	}
	panic(op.String())
}

// write sets a state.
func (e *env) write(tp cluster.TopicPartition, s LeaderAndISR) {
	e.states[tp], e.written[tp] = s, cluster.BrokerEpoch(e.zxid)
}

// respond answers the oldest request that is not answered yet and whose kind has an answer that matters.
func (e *env) respond(code func(cluster.BrokerID, cluster.TopicPartition) kerr.Code) bool {
	if len(e.sent) == 0 {
		return false
	}
	r := e.sent[0]
	e.sent = e.sent[1:]
	switch body := r.Body.(type) {
	case *StopRequest:
		ev := StopResponse{Request: body, Broker: r.Broker, BrokerEpoch: r.BrokerEpoch}
		for _, p := range body.Partitions {
			ev.Partitions = append(ev.Partitions, PartitionError{p.Partition, code(r.Broker, p.Partition)})
		}
		e.handle(ev)
	case *BecomeRequest:
		ev := BecomeResponse{Broker: r.Broker, BrokerEpoch: r.BrokerEpoch}
		for _, p := range body.Partitions {
			c := code(r.Broker, p.Partition)
			if p.State.Leader == r.Broker && p.State.LeaderEpoch < e.logs[replicaName{r.Broker, p.Partition}] {
				c = kerr.FencedLeaderEpoch
			}
			ev.Partitions = append(ev.Partitions, PartitionError{p.Partition, c})
		}
		e.handle(ev)
	}
	return true
}

func (e *env) logf(format string, args ...any) {
	fmt.Fprintf(&e.log, format+"\n", args...)
}

// parseIDs reads 1,2,3.
func parseIDs(s string) []cluster.BrokerID {
	var out []cluster.BrokerID
	for _, f := range strings.Split(s, ",") {
		n, err := strconv.Atoi(f)
		if err != nil {
			panic(err)
		}
		out = append(out, cluster.BrokerID(n))
	}
	return out
}

// parseReplicas reads 0:1,2 1:2,1.
func parseReplicas(fields []string) map[int32][]cluster.BrokerID {
	out := map[int32][]cluster.BrokerID{}
	for _, f := range fields {
		index, ids, _ := strings.Cut(f, ":")
		n, err := strconv.Atoi(index)
		if err != nil {
			panic(err)
		}
		out[int32(n)] = parseIDs(ids)
	}
	return out
}

// violations returns what contradicts appendix C, given the states of before.
func (e *env) violations(before map[cluster.TopicPartition]LeaderAndISR) []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, tp := range slices.SortedFunc(maps.Keys(e.states), cluster.TopicPartition.Compare) {
		s, replicas := e.states[tp], e.topics[tp.Topic].Assignments[tp.Partition].Replicas
		if at, ok := e.foreign[tp]; ok && s.PartitionEpoch == at {
			continue
		}
		if s.Leader != cluster.NoBroker && !slices.Contains(s.ISR, s.Leader) {
			bad("%s: the leader is not in sync: %s", tp, s)
		}
		if len(s.ISR) == 0 {
			bad("%s: no replica is in sync", tp)
		}
		for _, id := range s.ISR {
			if !slices.Contains(replicas, id) {
				bad("%s: %d is in sync and not assigned: %s", tp, id, s)
			}
		}
		if s.ControllerEpoch > e.epoch {
			bad("%s: controller epoch %d is in the future", tp, s.ControllerEpoch)
		}
		old, ok := before[tp]
		if !ok || s.PartitionEpoch == old.PartitionEpoch {
			continue
		}
		if s.LeaderEpoch < old.LeaderEpoch {
			bad("%s: the leader epoch fell from %d to %d", tp, old.LeaderEpoch, s.LeaderEpoch)
		}
		if s.Leader != old.Leader && s.Leader != cluster.NoBroker && s.LeaderEpoch == old.LeaderEpoch {
			bad("%s: two leaders in epoch %d", tp, s.LeaderEpoch)
		}
		if s.PartitionEpoch < old.PartitionEpoch {
			bad("%s: the version fell", tp)
		}
		if s.Leader != cluster.NoBroker && !slices.Contains(old.ISR, s.Leader) && s.Recovery != Recovering {
			bad("%s: %d was elected though it was not in sync: %s after %s", tp, s.Leader, s, old)
		}
	}
	return out
}
