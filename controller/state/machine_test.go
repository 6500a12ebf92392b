package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// The tables of the fact sheet, written once more by hand: target, then the states it may follow.
var legalPartitionMoves = map[PartitionState]string{
	NewPartition:         "NonExistentPartition",
	OnlinePartition:      "NewPartition OnlinePartition OfflinePartition",
	OfflinePartition:     "NewPartition OnlinePartition OfflinePartition",
	NonExistentPartition: "OfflinePartition",
}

var legalReplicaMoves = map[ReplicaState]string{
	NewReplica:                "NonExistentReplica",
	OnlineReplica:             "NewReplica OnlineReplica OfflineReplica ReplicaDeletionIneligible",
	OfflineReplica:            "NewReplica OnlineReplica OfflineReplica ReplicaDeletionIneligible",
	ReplicaDeletionStarted:    "OfflineReplica",
	ReplicaDeletionSuccessful: "ReplicaDeletionStarted",
	ReplicaDeletionIneligible: "OfflineReplica ReplicaDeletionStarted",
	NonExistentReplica:        "ReplicaDeletionSuccessful",
}

// prepared returns a machine that leads one partition a-0 on brokers 1 and 2, led by 1, after its failover.
func prepared() *env {
	e := newEnv()
	e.register(1, 2)
	e.addTopic("a", map[int32][]cluster.BrokerID{0: {1, 2}})
	e.states[cluster.TopicPartition{Topic: "a"}] = LeaderAndISR{Leader: 1, ISR: []cluster.BrokerID{1, 2}, LeaderEpoch: 5, PartitionEpoch: 9}
	e.failover()
	e.log.Reset()
	return e
}

// do runs f as an event.
type do func(m *Machine)

func (f do) handle(m *Machine) { f(m) }

func TestEveryTransitionOfPartitions(t *testing.T) {
	for _, from := range PartitionStates {
		for _, to := range PartitionStates {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				e := prepared()
				p, _ := e.m.partition(cluster.TopicPartition{Topic: "a"})
				p.state = from
				if from == NewPartition {
					p.leadership = nil
					delete(e.states, p.tp)
				}
				e.handle(do(func(m *Machine) { m.movePartitions([]*partition{p}, to, ElectOffline, nil) }))
				legal := slices.Contains(strings.Fields(legalPartitionMoves[to]), from.String())
				if legal != from.CanBecome(to) {
					t.Fatalf("CanBecome is %t, the table says %t", from.CanBecome(to), legal)
				}
				refused := strings.Contains(e.log.String(), "cannot make this transition")
				switch {
				case legal && (p.state != to || refused):
					t.Fatalf("the transition is legal, the state is %s:\n%s", p.state, e.log.String())
				case !legal && (p.state != from || !refused || strings.Contains(e.log.String(), "commit")):
					t.Fatalf("the transition is not legal, the state is %s:\n%s", p.state, e.log.String())
				}
				if legal && to == OnlinePartition {
					want := LeaderAndISR{Leader: 1, ISR: []cluster.BrokerID{1, 2}, LeaderEpoch: 6, PartitionEpoch: 10, ControllerEpoch: 1}
					if from == NewPartition {
						want.LeaderEpoch, want.PartitionEpoch = 0, 0
					}
					if d := cmp.Diff(want, *p.leadership); d != "" {
						t.Fatalf("the epoch grows even when the leader stays (-want +got):\n%s", d)
					}
				}
			})
		}
	}
}

func TestEveryTransitionOfReplicas(t *testing.T) {
	for _, from := range ReplicaStates {
		for _, to := range ReplicaStates {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				e := prepared()
				p, _ := e.m.partition(cluster.TopicPartition{Topic: "a"})
				r := replica{p, 2}
				r.set(from)
				e.handle(do(func(m *Machine) { m.moveReplicas([]replica{r}, to) }))
				legal := slices.Contains(strings.Fields(legalReplicaMoves[to]), from.String())
				if legal != from.CanBecome(to) {
					t.Fatalf("CanBecome is %t, the table says %t", from.CanBecome(to), legal)
				}
				refused := strings.Contains(e.log.String(), "cannot make this transition")
				switch {
				case legal && (r.state() != to || refused):
					t.Fatalf("the transition is legal, the state is %s:\n%s", r.state(), e.log.String())
				case !legal && (r.state() != from || !refused || strings.Contains(e.log.String(), "commit") || strings.Contains(e.log.String(), "send")):
					t.Fatalf("the transition is not legal, the state is %s:\n%s", r.state(), e.log.String())
				}
				if got, want := strings.Count(e.log.String(), "commit set-state a-0 leader=1 epoch=6 isr=1 ctl=1"), 0; legal && to == OfflineReplica && got != 1 || to != OfflineReplica && got != want {
					t.Fatalf("%d writes of the ISR:\n%s", got, e.log.String())
				}
			})
		}
	}
}

func TestALeaderCannotStartAsNewReplica(t *testing.T) {
	e := prepared()
	p, _ := e.m.partition(cluster.TopicPartition{Topic: "a"})
	r := replica{p, 1}
	r.set(NonExistentReplica)
	e.handle(do(func(m *Machine) { m.moveReplicas([]replica{r}, NewReplica) }))
	if r.state() != NonExistentReplica {
		t.Fatalf("the leader became %s", r.state())
	}
}

func TestStrategies(t *testing.T) {
	ids := func(s string) []cluster.BrokerID {
		if s == "" {
			return nil
		}
		return parseIDs(s)
	}
	tests := []struct {
		name                                     string
		s                                        Strategy
		replicas, removing, isr, online, leaving string
		unclean                                  bool
		leader                                   int // 0 = none
		newISR, recipients                       string
		recovering                               bool
	}{
		{name: "offline takes the first assigned in sync", s: ElectOffline, replicas: "1,2,3", isr: "3,2,1", online: "2,3", leader: 2, newISR: "3,2", recipients: "2,3"},
		{name: "offline skips those out of sync", s: ElectOffline, replicas: "1,2,3", isr: "3", online: "1,2,3", leader: 3, newISR: "3", recipients: "1,2,3"},
		{name: "offline fails without a live one in sync", s: ElectOffline, replicas: "1,2", isr: "1", online: "2"},
		{name: "offline is unclean when the topic allows it", s: ElectOffline, replicas: "1,2,3", isr: "1", online: "2,3", unclean: true, leader: 2, newISR: "2", recipients: "2,3", recovering: true},
		{name: "offline prefers clean even if unclean is allowed", s: ElectOffline, replicas: "1,2,3", isr: "3", online: "2,3", unclean: true, leader: 3, newISR: "3", recipients: "2,3"},
		{name: "offline fails with nobody alive", s: ElectOffline, replicas: "1,2", isr: "1", unclean: true},
		{name: "unclean does not ask the topic", s: ElectUnclean, replicas: "1,2", isr: "1", online: "2", leader: 2, newISR: "2", recipients: "2", recovering: true},
		{name: "reassign leads into the target", s: ElectReassign, replicas: "4,5,1,2", removing: "1,2", isr: "1,2,5", online: "1,2,4,5", leader: 5, newISR: "1,2,5", recipients: "4,5"},
		{name: "reassign fails while no target is in sync", s: ElectReassign, replicas: "4,5,1", removing: "1", isr: "1", online: "1,4,5"},
		{name: "preferred takes the first", s: ElectPreferred, replicas: "1,2", isr: "2,1", online: "1,2", leader: 1, newISR: "2,1", recipients: "1,2"},
		{name: "preferred takes nobody else", s: ElectPreferred, replicas: "1,2", isr: "2", online: "1,2"},
		{name: "preferred must be alive", s: ElectPreferred, replicas: "1,2", isr: "1,2", online: "2"},
		{name: "preferred without replicas", s: ElectPreferred, isr: "1", online: "1"},
		{name: "shutdown moves away and shrinks", s: ElectShutdown, replicas: "1,2,3", isr: "1,2,3", online: "2,3", leaving: "1", leader: 2, newISR: "2,3", recipients: "1,2,3"},
		{name: "shutdown of two", s: ElectShutdown, replicas: "1,2,3", isr: "1,2,3", online: "3", leaving: "1,2", leader: 3, newISR: "3", recipients: "1,2,3"},
		{name: "shutdown of the only one in sync fails", s: ElectShutdown, replicas: "1,2", isr: "1", online: "2", leaving: "1"},
		{name: "shutdown ignores the dead", s: ElectShutdown, replicas: "1,2,3", isr: "1,2,3", online: "3", leaving: "1", leader: 3, newISR: "2,3", recipients: "1,3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Candidate{
				Assignment:   Assignment{Replicas: ids(tt.replicas), Removing: ids(tt.removing)},
				State:        LeaderAndISR{Leader: 1, LeaderEpoch: 7, ISR: ids(tt.isr)},
				Online:       func(id cluster.BrokerID) bool { return slices.Contains(ids(tt.online), id) },
				ShuttingDown: func(id cluster.BrokerID) bool { return slices.Contains(ids(tt.leaving), id) },
				Unclean:      tt.unclean,
			}
			e, ok := Elect(tt.s, c)
			if ok != (tt.leader != 0) {
				t.Fatalf("elected %t: %s", ok, e.State)
			}
			if !ok {
				return
			}
			got := fmt.Sprintf("%d [%s] [%s] recovering=%t epoch=%d", e.State.Leader, joinIDs(e.State.ISR), joinIDs(e.Recipients), e.State.Recovery == Recovering, e.State.LeaderEpoch)
			want := fmt.Sprintf("%d [%s] [%s] recovering=%t epoch=8", tt.leader, tt.newISR, tt.recipients, tt.recovering)
			if got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTheMachineRefusesToBeDrivenWrongly(t *testing.T) {
	panics := func(f func()) (p bool) {
		defer func() { p = recover() != nil }()
		f()
		return false
	}
	e := prepared()
	delete(e.brokers, 1)
	step := e.m.Handle(BrokerChange{Brokers: slices.Collect(maps.Values(e.brokers))})
	if step.Done || len(step.Ops) != 1 {
		t.Fatalf("%+v", step)
	}
	if !panics(func() { e.m.Handle(TopicChange{}) }) {
		t.Fatal("a second event was taken while the first waits")
	}
	if !panics(func() { e.m.Apply(nil) }) {
		t.Fatal("too few results were taken")
	}
}

func TestAStateOfANewerControllerIsLeftAlone(t *testing.T) {
	e := prepared()
	tp := cluster.TopicPartition{Topic: "a"}
	s := e.states[tp]
	s.ControllerEpoch, s.PartitionEpoch = 99, s.PartitionEpoch+1
	e.states[tp] = s
	delete(e.brokers, 1)
	e.brokerChange()
	if d := cmp.Diff(s, e.states[tp]); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if !strings.Contains(e.log.String(), "written by a newer controller") {
		t.Fatal(e.log.String())
	}
}

func TestAnswersOfAnEarlierRegistrationAreIgnored(t *testing.T) {
	e := prepared()
	e.deletions["a"] = true
	e.topicDeletion()
	p, _ := e.m.partition(cluster.TopicPartition{Topic: "a"})
	request := &StopRequest{Partitions: []StopPartition{{Partition: p.tp, Delete: true}}}
	e.handle(StopResponse{Request: request, Broker: 2, BrokerEpoch: 1, Partitions: []PartitionError{{Partition: p.tp}}})
	if s := (replica{p, 2}).state(); s != ReplicaDeletionStarted {
		t.Fatalf("the replica is %s", s)
	}
	e.handle(StopResponse{Request: request, Broker: 2, BrokerEpoch: 2})
	if s := (replica{p, 2}).state(); s != ReplicaDeletionIneligible {
		t.Fatalf("an answer without the partition made the replica %s", s)
	}
}

func TestPartitionsThatVanishFromTheirTopicsNodeStay(t *testing.T) {
	e := prepared()
	e.addTopic("wide", map[int32][]cluster.BrokerID{0: {1, 2}, 1: {2, 1}, 2: {1, 2}})
	e.topicChange()
	before := e.m.Partitions()
	e.log.Reset()
	fewer := e.topics["wide"]
	for _, left := range []map[int32]Assignment{{0: {Replicas: []cluster.BrokerID{1, 2}}}, {}, {0: {Replicas: []cluster.BrokerID{2}}, 2: {}}} {
		fewer.Assignments = left
		e.handle(PartitionsModified{Topic: fewer})
	}
	if d := cmp.Diff(before, e.m.Partitions()); d != "" || e.log.Len() > 0 {
		t.Fatalf("(-want +got):\n%s\n%s", d, e.log.String())
	}
}

func TestATopicWithAGapGetsNoPartitions(t *testing.T) {
	e := prepared()
	e.addTopic("gap", map[int32][]cluster.BrokerID{0: {1, 2}, 2: {2, 1}})
	e.topicChange()
	e.log.Reset()
	e.handle(AddPartitions{Topics: []MorePartitions{{Topic: "gap", Count: 4}}})
	want := "reply gap before=2 UNKNOWN_SERVER_ERROR: Unexpected existing replica assignment for topic 'gap', the partitions are not numbered from 0 without gaps.\n"
	if e.log.String() != want {
		t.Fatalf("got %s", e.log.String())
	}
}

func TestATopicThatCouldNotBeUnderstoodGetsItsIDWithItsPartitions(t *testing.T) {
	e := prepared()
	e.topics["odd"] = Topic{Name: "odd"}
	e.topicChange()
	id := cluster.TopicID{3: 3}
	repaired := Topic{Name: "odd", ID: id, NewID: true, Assignments: map[int32]Assignment{0: {Replicas: []cluster.BrokerID{1, 2}}}}
	e.handle(PartitionsModified{Topic: repaired})
	if got := e.topics["odd"]; got.ID != id || len(got.Assignments) != 1 {
		t.Fatalf("the node holds %+v", got)
	}
	e.handle(AlterPartition{Broker: 1, BrokerEpoch: e.brokers[1].Epoch, Partitions: []AlterRequest{{TopicID: id, ISR: []cluster.BrokerID{1}}}})
	if s := e.states[cluster.TopicPartition{Topic: "odd"}]; len(s.ISR) != 1 {
		t.Fatalf("the leader cannot name the topic by its id: %s", s)
	}
}

func TestAnotherRegistrationIsNoChangeOfAddress(t *testing.T) {
	e := prepared()
	e.log.Reset()
	b := e.brokers[2]
	b.Epoch, b.Endpoints = b.Epoch+1, []cluster.Endpoint{{Listener: "PLAINTEXT", Host: "elsewhere", Port: 1}}
	e.handle(BrokerModified{Broker: b})
	if e.log.Len() > 0 {
		t.Fatal(e.log.String())
	}
	e.handle(BecomeResponse{Broker: 2, BrokerEpoch: b.Epoch, Partitions: []PartitionError{{Partition: cluster.TopicPartition{Topic: "a"}, Code: kerr.KafkaStorageError}}})
	if e.log.Len() > 0 {
		t.Fatalf("an answer of another registration: %s", e.log.String())
	}
}

func TestARefusedRoleIsNoted(t *testing.T) {
	e := prepared()
	tp := cluster.TopicPartition{Topic: "a"}
	e.log.Reset()
	for _, code := range []kerr.Code{kerr.None, kerr.StaleControllerEpoch, kerr.InconsistentTopicID} {
		e.handle(BecomeResponse{Broker: 2, BrokerEpoch: e.brokers[2].Epoch, Partitions: []PartitionError{{Partition: tp, Code: code}}})
	}
	if want := "note warn a broker refused its role in a partition partition=a-0 broker=2 error=INCONSISTENT_TOPIC_ID\n"; e.log.String() != want {
		t.Fatalf("got %q, want %q", e.log.String(), want)
	}
}

func TestATopicWithoutIDGetsOne(t *testing.T) {
	e := prepared()
	id := cluster.TopicID{7: 7}
	e.topics["old"] = Topic{Name: "old", Assignments: map[int32]Assignment{0: {Replicas: []cluster.BrokerID{1}}}}
	added := e.topics["old"]
	added.ID, added.NewID = id, true
	e.handle(TopicChange{Names: []string{"a", "old"}, Added: []Topic{added}})
	if e.topics["old"].ID != id || len(e.topics["old"].Assignments) != 1 {
		t.Fatalf("the node holds %+v", e.topics["old"])
	}
}

// A replica whose disk has failed does not become in sync, although its broker lives: what was acknowledged next would wait for it.
func TestAReplicaOnAFailedDiskDoesNotJoin(t *testing.T) {
	e := newEnv()
	for _, line := range []string{"register 1,2,3", "topic t 0:1,2,3", "failover", "respond", "alter 1 t-0 1,2", "logdir 3", "respond 3/t-0", "alter 1 t-0 1,2,3"} {
		e.run(strings.Fields(line))
	}
	if !strings.HasSuffix(strings.TrimSpace(e.log.String()), "t-0 INELIGIBLE_REPLICA leader=0 epoch=0 isr= ctl=0 pe=0") {
		t.Fatal(e.log.String())
	}
}

// A broker that has lost a replica says so after that was taken away from it. The topic's deletion has nothing to wait for.
func TestAReplicaThatWasTakenAwayHoldsUpNoDeletion(t *testing.T) {
	e := newEnv()
	for _, line := range []string{"register 1,2,3", "topic t 0:1,2,3", "failover", "respond", "alter 1 t-0 1,3", "logdir 2", "reassign t-0:1,3", "delete t", "brokers ~3", "respond 2/t-0"} {
		e.run(strings.Fields(line))
	}
	if _, left := e.topics["t"]; left {
		t.Fatal(e.log.String())
	}
}
