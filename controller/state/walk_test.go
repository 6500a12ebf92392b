package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// TestRandomWalk lets brokers and topics come and go, replies get lost and controllers move, in an order that a seed decides, and
// checks after every step what must always hold (appendix C). OTTLA_WALK_SEEDS sets the number of walks.
func TestRandomWalk(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	if n, err := strconv.ParseUint(os.Getenv("OTTLA_WALK_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for seed := range seeds {
		w := newWalker(t, seed)
		w.e.register(w.brokers...)
		w.e.failover()
		for range 60 {
			w.step()
		}
		w.end()
	}
}

// walker takes random steps.
type walker struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	e       *env
	brokers []cluster.BrokerID
	before  map[cluster.TopicPartition]LeaderAndISR // the states after the last step
	history []string
	faults  bool
}

func newWalker(t *testing.T, seed uint64) *walker {
	w := &walker{
		t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1)), e: newEnv(), brokers: []cluster.BrokerID{1, 2, 3, 4}, faults: true,
	}
	w.e.opts.UncleanElection = seed%5 == 4
	w.e.check = func(Step) {
		if v := w.e.violations(w.before); len(v) > 0 {
			t.Fatalf("seed %d: %s\nafter %s\n%s", seed, strings.Join(v, "\n"), strings.Join(w.history, ", "), w.e.log.String())
		}
		w.before = maps.Clone(w.e.states)
	}
	w.e.fault = func(op Op) string {
		if n := w.r.IntN(100); w.faults && n < 12 && op.Kind != ReadState && op.Kind != ReadTopicConfig {
			return [...]string{"lose", "drop", "lose", "drop", "lose", "fail"}[n%6]
		}
		return ""
	}
	return w
}

// steps are what can happen, with how often.
var steps = []struct {
	name   string
	weight int
	do     func(*walker)
}{
	{"stop", 3, func(w *walker) {
		delete(w.e.brokers, w.broker())
		delete(w.e.brokers, w.broker())
		w.e.brokerChange()
	}},
	{"start or bounce", 5, func(w *walker) {
		w.e.register(w.broker(), w.broker())
		w.e.brokerChange()
	}},
	{"create", 3, (*walker).create},
	{"delete", 2, func(w *walker) {
		if names := slices.Sorted(maps.Keys(w.e.topics)); len(names) > 0 {
			w.e.deletions[names[w.r.IntN(len(names))]] = true
			w.e.topicDeletion()
		}
	}},
	{"shrink", 2, (*walker).shrink},
	{"alter", 1, (*walker).alter},
	{"shutdown", 1, func(w *walker) {
		w.e.handle(ControlledShutdown{Broker: w.broker(), BrokerEpoch: cluster.NoBrokerEpoch})
	}},
	{"move", 3, (*walker).move},
	{"catch up", 2, (*walker).catchUp},
	{"grow", 1, func(w *walker) {
		if names := slices.Sorted(maps.Keys(w.e.topics)); len(names) > 0 {
			name := names[w.r.IntN(len(names))]
			w.e.handle(AddPartitions{Topics: []MorePartitions{{Topic: name, Count: int32(len(w.e.topics[name].Assignments) + w.r.IntN(2))}}})
		}
	}},
	{"elect", 1, func(w *walker) {
		if w.e.elections = (ElectionsRequested{Exists: true, Partitions: w.partitions()}); w.r.IntN(2) == 0 {
			w.e.handle(w.e.elections)
		} else {
			w.e.handle(ElectLeaders{All: true, Unclean: w.e.opts.UncleanElection})
		}
	}},
	{"rebalance", 1, func(w *walker) { w.e.handle(Rebalance{Percentage: 10}) }},
	{"failover", 1, func(w *walker) { w.e.failover() }},
	{"respond", 4, func(w *walker) {
		for range w.r.IntN(30) {
			w.e.respond(func(cluster.BrokerID, cluster.TopicPartition) kerr.Code {
				if w.r.IntN(20) == 0 {
					return kerr.KafkaStorageError
				}
				return kerr.None
			})
		}
	}},
}

// step does one of steps.
func (w *walker) step() {
	w.e.log.Reset()
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := w.r.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			w.history = append(w.history, s.name)
			s.do(w)
			return
		}
	}
}

// broker returns one of the brokers.
func (w *walker) broker() cluster.BrokerID { return w.brokers[w.r.IntN(len(w.brokers))] }

// some returns one to three brokers in random order.
func (w *walker) some() []cluster.BrokerID {
	var out []cluster.BrokerID
	for _, i := range w.r.Perm(len(w.brokers))[:1+w.r.IntN(3)] {
		out = append(out, w.brokers[i])
	}
	return out
}

// partitions returns the partitions that have a state, in order.
func (w *walker) partitions() []cluster.TopicPartition {
	return slices.SortedFunc(maps.Keys(w.e.states), cluster.TopicPartition.Compare)
}

// create creates a topic.
func (w *walker) create() {
	name := fmt.Sprint("t", w.r.IntN(4))
	if _, ok := w.e.topics[name]; ok {
		return
	}
	replicas := map[int32][]cluster.BrokerID{}
	for index := range int32(1 + w.r.IntN(3)) {
		replicas[index] = w.some()
	}
	w.e.addTopic(name, replicas)
	w.e.topicChange()
}

// move begins and cancels reassignments, through the API or through the node.
func (w *walker) move() {
	var moves []Move
	for _, tp := range w.partitions() {
		if w.r.IntN(2) == 0 {
			moves = append(moves, Move{Partition: tp, Replicas: w.some()})
		}
	}
	if w.r.IntN(2) == 0 {
		w.e.moves = ReassignmentsRequested{Exists: true, Moves: moves}
		w.e.handle(w.e.moves)
		return
	}
	for i := range moves {
		moves[i].Cancel = w.r.IntN(3) == 0
	}
	w.e.handle(AlterReassignments{Moves: moves})
}

// catchUp lets all live replicas of some partitions get in sync.
func (w *walker) catchUp() {
	for _, tp := range w.partitions() {
		if w.r.IntN(2) == 0 {
			w.allInSync(tp)
		}
	}
}

// allInSync lets the leader of a partition say that all live replicas are in sync.
func (w *walker) allInSync(tp cluster.TopicPartition) {
	s := w.e.states[tp]
	leader, ok := w.e.brokers[s.Leader]
	if !ok {
		return
	}
	isr := slices.DeleteFunc(slices.Clone(w.e.topics[tp.Topic].Assignments[tp.Partition].Replicas), func(id cluster.BrokerID) bool {
		_, ok := w.e.brokers[id]
		return !ok
	})
	w.e.handle(AlterPartition{Broker: s.Leader, BrokerEpoch: leader.Epoch, Partitions: []AlterRequest{
		{Partition: tp, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch, ISR: isr},
	}})
}

// shrink lets leaders shrink their ISR behind the controller's back.
func (w *walker) shrink() {
	for _, tp := range w.partitions() {
		if s := w.e.states[tp]; s.Leader >= 0 && len(s.ISR) > 1 && w.r.IntN(3) == 0 {
			s.ISR = []cluster.BrokerID{s.Leader}
			s.PartitionEpoch++
			w.e.states[tp] = s
		}
	}
	w.before = maps.Clone(w.e.states)
}

// alter lets leaders ask for other ISRs, some with old or impossible ideas.
func (w *walker) alter() {
	for _, tp := range w.partitions() {
		s := w.e.states[tp]
		if _, ok := w.e.brokers[s.Leader]; !ok {
			continue
		}
		q := AlterRequest{
			Partition: tp, LeaderEpoch: s.LeaderEpoch - cluster.LeaderEpoch(w.r.IntN(6)/5),
			PartitionEpoch: s.PartitionEpoch - cluster.PartitionEpoch(w.r.IntN(6)/5), ISR: w.some(),
		}
		if w.r.IntN(3) > 0 {
			q.ISR = w.e.topics[tp.Topic].Assignments[tp.Partition].Replicas
		}
		w.e.handle(AlterPartition{Broker: s.Leader, BrokerEpoch: w.e.brokers[s.Leader].Epoch, Partitions: []AlterRequest{q}})
	}
}

// end brings everybody back, and nothing is lost any longer: then all partitions must be led, and all reassignments and deletions end.
func (w *walker) end() {
	w.t.Helper()
	w.faults = false
	w.e.register(w.brokers...)
	w.e.failover()
	good := func(cluster.BrokerID, cluster.TopicPartition) kerr.Code { return kerr.None }
	for range 2 { // an entry of the node may begin when another reassignment has ended
		for w.e.respond(good) {
		}
		for _, tp := range w.partitions() {
			w.allInSync(tp)
		}
	}
	for w.e.respond(good) {
	}
	if w.e.moves.Exists || w.e.elections.Exists {
		w.t.Fatalf("seed %d: reassignments %+v, elections %+v are left\n%s", w.seed, w.e.moves, w.e.elections, w.e.log.String())
	}
	if len(w.e.deletions) > 0 {
		w.t.Fatalf("seed %d: topics are still to be deleted: %v\n%s", w.seed, w.e.deletions, w.e.log.String())
	}
	for _, p := range w.e.m.Partitions() {
		if p.State != OnlinePartition || !w.e.m.live(p.Leadership.Leader) {
			w.t.Fatalf("seed %d: %s is %s, %s", w.seed, p.Partition, p.State, p.Leadership)
		}
		if node := w.e.topics[p.Partition.Topic].Assignments[p.Partition.Partition]; p.Assignment.Reassigning() || !p.Assignment.equal(node) {
			w.t.Fatalf("seed %d: %s is assigned to %s, in the node to %s\n%s", w.seed, p.Partition, p.Assignment, node, w.e.log.String())
		}
		if d := cmp.Diff(w.e.states[p.Partition], p.Leadership); d != "" {
			w.t.Fatalf("seed %d: %s: the model and the node differ:\n%s", w.seed, p.Partition, d)
		}
	}
}
