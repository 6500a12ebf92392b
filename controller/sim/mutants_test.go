package sim

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/epoch"
	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// mutants are rules with a mistake in them, most of them mistakes that Kafka has had. A simulation that does not notice them is worth nothing.
var mutants = []struct {
	name    string
	mistake func(r *Rules)
}{
	{"truncates to the high watermark when it begins to follow (KIP-101, KAFKA-1211)", func(r *Rules) {
		r.SettleTail = func(_ cluster.LeaderEpoch, watermark, logEnd cluster.Offset) (cluster.Offset, bool) {
			return watermark, watermark < logEnd
		}
	}},
	{"does not cut off what the leader does not have", func(r *Rules) {
		r.Diverging = func(cluster.LeaderEpoch, cluster.Offset, replica.EpochEnd) (replica.EpochEnd, bool, kerr.Code) {
			return replica.EpochEnd{}, false, kerr.None
		}
	}},
	{"answers with the epoch that was asked for, not with the largest it has (KIP-279)", func(r *Rules) {
		r.EpochEnd = func(entries []epoch.Entry, e cluster.LeaderEpoch, logEnd cluster.Offset) (cluster.LeaderEpoch, cluster.Offset, bool) {
			_, end, ok := epoch.End(entries, e, logEnd)
			return e, end, ok
		}
	}},
	{"cuts where the leader's log ends, whatever the epochs say", func(r *Rules) {
		r.TruncationPoint = func(leaders, _ replica.EpochEnd, _, logEnd cluster.Offset) cluster.Offset {
			return min(leaders.End+1, logEnd)
		}
	}},
	// The epoch of a fetch alone is not what keeps the high watermark right: the fetch also says which epoch its sender's last record is from, and who
	// its sender is. Without two of the three it is wrong.
	{"counts fetches of another epoch (KIP-320)", func(r *Rules) {
		r.AdmitFetch = func(own *replica.Standing, _ cluster.LeaderEpoch) kerr.Code { return own.Refusal() }
		r.Diverging = func(_ cluster.LeaderEpoch, offset cluster.Offset, own replica.EpochEnd) (replica.EpochEnd, bool, kerr.Code) {
			return replica.Diverging(own.Epoch, offset, own)
		}
	}},
	{"lets a replica join that has not reached the start of the epoch (KAFKA-7128)", func(r *Rules) {
		r.Lead = func(self cluster.BrokerID, s *replica.PartitionState, _ cluster.Offset, now time.Time) *replica.Leadership {
			return replica.Lead(self, s, 0, now)
		}
	}},
	{"lets a removal count before it is written (KIP-497)", func(r *Rules) {
		asked := map[*replica.Leadership]replica.ISRChange{}
		r.Propose = func(l *replica.Leadership, isr []cluster.BrokerID) {
			l.Propose(isr)
			c, _ := l.Change(cluster.TopicPartition{})
			asked[l] = c
			l.Answered(&c, &replica.ISRResult{LeaderEpoch: c.LeaderEpoch, PartitionEpoch: c.PartitionEpoch, ISR: isr}, time.Time{})
		}
		r.Change = func(l *replica.Leadership, tp cluster.TopicPartition) (replica.ISRChange, bool) {
			c, ok := asked[l]
			c.TopicPartition = tp
			return c, ok
		}
	}},
	{"lets the high watermark pass a replica in sync", func(r *Rules) {
		r.HighWatermark = func(_ *replica.Leadership, _, logEnd cluster.Offset, _ *replica.Surroundings) cluster.Offset {
			return logEnd
		}
	}},
	{"lets the high watermark fall", func(r *Rules) {
		r.HighWatermark = func(l *replica.Leadership, _, logEnd cluster.Offset, s *replica.Surroundings) cluster.Offset {
			return l.HighWatermark(0, logEnd, s)
		}
	}},
	{"does not ask who a replica is (KIP-903)", func(r *Rules) {
		r.Mark = func(m replica.Mark) replica.Mark {
			m.BrokerEpoch = cluster.NoBrokerEpoch
			return m
		}
	}},
	{"acknowledges what an interrupted leadership appended", func(r *Rules) {
		r.Outcome = func(_ *replica.Standing, _ uint64, watermark, required cluster.Offset, _ int) (kerr.Code, bool) {
			return kerr.None, watermark >= required
		}
	}},
	{"acknowledges when the leader has it", func(r *Rules) {
		r.Outcome = func(*replica.Standing, uint64, cluster.Offset, cluster.Offset, int) (kerr.Code, bool) {
			return kerr.None, true
		}
	}},
	{"waits for ever when it does not know whether a set was written (KAFKA-2729)", func(r *Rules) {
		r.Answered = func(l *replica.Leadership, c *replica.ISRChange, res *replica.ISRResult, now time.Time) bool {
			return l.Answered(c, res, now) && res.Code != kerr.InvalidUpdateVersion
		}
	}},
	{"obeys a deposed controller", func(r *Rules) {
		r.Admit = func(f *replica.Fence, s replica.Sender, own cluster.BrokerEpoch) kerr.Code {
			s.ControllerEpoch = max(s.ControllerEpoch, f.ControllerEpoch)
			return f.Admit(s, own)
		}
	}},
	{"obeys orders for an earlier registration (KIP-380)", func(r *Rules) {
		r.Admit = func(f *replica.Fence, s replica.Sender, _ cluster.BrokerEpoch) kerr.Code {
			return f.Admit(s, cluster.NoBrokerEpoch)
		}
	}},
	{"obeys what was given up and arrives after all", func(r *Rules) {
		r.Admit = func(f *replica.Fence, s replica.Sender, own cluster.BrokerEpoch) kerr.Code {
			s.Sequence = 0
			return f.Admit(s, own)
		}
	}},
	{"takes a role of an earlier epoch", func(r *Rules) {
		r.Judge = func(self cluster.BrokerID, own *replica.Standing, known cluster.TopicID, s *replica.PartitionState) (kerr.Code, error) {
			if own != nil && own.Epoch > s.LeaderEpoch {
				own = nil
			}
			return replica.Judge(self, own, known, s)
		}
	}},
	{"keeps epochs that begin at the end of a cut log (KAFKA-10706)", func(r *Rules) {
		r.EpochsBefore = func(entries []epoch.Entry, end cluster.Offset) []epoch.Entry { return epoch.Before(entries, end+1) }
	}},
	{"lets a deposed controller write (KAFKA-6082)", func(r *Rules) {
		r.MayWrite = func(cluster.ControllerEpoch, cluster.ControllerEpoch) bool { return true }
	}},
	{"shrinks the in-sync set on a stale partition epoch (KIP-497)", machines(func(m *mutant) {
		known := map[cluster.TopicPartition]cluster.PartitionEpoch{}
		var ops []state.Op
		m.op = func(op *state.Op) { ops = append(ops, *op) }
		m.result = func(r *state.Result) {
			if r.Outcome == state.Done && ops[0].Kind == state.SetState {
				known[ops[0].Partition] = r.Version
			}
			ops = ops[1:]
		}
		m.event = func(e state.Event) state.Event {
			if a, ok := e.(state.AlterPartition); ok {
				a.Partitions = slices.Clone(a.Partitions)
				for i := range a.Partitions {
					p := &a.Partitions[i]
					p.PartitionEpoch = max(p.PartitionEpoch, known[p.Partition])
				}
				return a
			}
			return e
		}
	})},
	{"elects from the assignment", machines(func(m *mutant) { m.opts.UncleanElection = true })},
	{"does not raise the leader epoch", machines(func(m *mutant) {
		m.op = func(op *state.Op) {
			if op.Kind == state.SetState && op.State.LeaderEpoch > 0 && op.State.Leader != cluster.NoBroker {
				op.State.LeaderEpoch--
			}
		}
	})},
	{"gives the ISR members that are dead", machines(func(m *mutant) {
		m.op = func(op *state.Op) {
			if op.Kind == state.SetState && op.State.Leader != cluster.NoBroker {
				op.State.ISR = op.State.ISR[:0:0]
			}
		}
	})},
	{"does not notice that a broker has restarted (KAFKA-1120)", machines(func(m *mutant) {
		known := map[cluster.BrokerID]cluster.BrokerEpoch{}
		m.event = func(e state.Event) state.Event {
			if change, ok := e.(state.BrokerChange); ok {
				change.Brokers = slices.Clone(change.Brokers)
				for i, b := range change.Brokers {
					if first, ok := known[b.ID]; ok {
						change.Brokers[i].Epoch = first
					}
					known[b.ID] = change.Brokers[i].Epoch
				}
				return change
			}
			return e
		}
	})},
	{"does not notice who has restarted while there was no controller", machines(func(m *mutant) {
		m.event = func(e state.Event) state.Event {
			if f, ok := e.(state.Failover); ok {
				f.Written = nil
				return f
			}
			return e
		}
	})},
	{"believes that a write without reply was made", machines(func(m *mutant) {
		m.result = func(r *state.Result) {
			if r.Outcome == state.Unknown {
				r.Outcome = state.Done
			}
		}
	})},
	{"lets the high watermark pass who is in sync and not assigned any more (F§2.8, B3)", func(r *Rules) {
		r.Lead = func(self cluster.BrokerID, s *replica.PartitionState, logEnd cluster.Offset, now time.Time) *replica.Leadership {
			copied := *s
			copied.ISR = slices.DeleteFunc(slices.Clone(s.ISR), func(id cluster.BrokerID) bool { return !slices.Contains(s.Replicas, id) })
			return replica.Lead(self, &copied, logEnd, now)
		}
	}},
	{"does not write down that a reassignment is under way", machines(func(m *mutant) {
		m.op = func(op *state.Op) {
			if op.Kind == state.SetTopic {
				op.Assignments = maps.Clone(op.Assignments)
				for index, a := range op.Assignments {
					op.Assignments[index] = state.Assignment{Replicas: a.Replicas}
				}
			}
		}
	})},
	{"takes the target of a reassignment for in sync", machines(func(m *mutant) {
		m.event = func(e state.Event) state.Event {
			f, ok := e.(state.Failover)
			if !ok {
				return e
			}
			f.States = maps.Clone(f.States)
			for tp, s := range f.States {
				i := slices.IndexFunc(f.Topics, func(t state.Topic) bool { return t.Name == tp.Topic })
				if a := f.Topics[i].Assignments[tp.Partition]; a.Reassigning() {
					s.ISR = a.Replicas
					f.States[tp] = s
				}
			}
			return f
		}
	})},
	{"deletes a replica before the others have what it has", machines(func(m *mutant) {
		var due []state.Request
		m.op = func(op *state.Op) {
			for index, a := range op.Assignments {
				tp := cluster.TopicPartition{Topic: op.Partition.Topic, Partition: index}
				for _, id := range a.Removing {
					due = append(due, state.Request{Broker: id, BrokerEpoch: cluster.NoBrokerEpoch, Body: &state.StopRequest{
						Partitions: []state.StopPartition{{Partition: tp, LeaderEpoch: cluster.NoLeaderEpoch, Delete: true}},
					}})
				}
			}
		}
		m.last = func(s *state.Step) {
			if s.Done {
				s.Requests, due = append(s.Requests, due...), nil
			}
		}
	})},
	{"does not ask what a log directory has taken along", machines(func(m *mutant) {
		m.event = func(e state.Event) state.Event {
			if _, ok := e.(state.LogDirFailure); ok {
				return state.LogDirFailure{}
			}
			return e
		}
	})},
	{"leaves leaderships on disks that have failed", machines(func(m *mutant) {
		m.event = func(e state.Event) state.Event {
			if r, ok := e.(state.BecomeResponse); ok {
				r.Partitions = slices.Clone(r.Partitions)
				for i := range r.Partitions {
					r.Partitions[i].Code = kerr.None
				}
				return r
			}
			return e
		}
	})},
	{"does not start over where the leader's log begins", func(r *Rules) {
		r.Reconcile = func(_, end, own cluster.Offset) (to cluster.Offset, cut, restart bool) {
			return min(end, own), end < own, false
		}
	}},
	{"lets anybody join under any registration (KAFKA-15221)", machines(func(m *mutant) {
		m.event = func(e state.Event) state.Event {
			if a, ok := e.(state.AlterPartition); ok {
				a.Partitions = slices.Clone(a.Partitions)
				for i := range a.Partitions {
					a.Partitions[i].ISREpochs = nil
				}
				return a
			}
			return e
		}
	})},
}

// mutant is a controller with a mistake.
type mutant struct {
	Machine
	opts   state.Options
	event  func(state.Event) state.Event
	op     func(*state.Op)
	result func(*state.Result)
	last   func(*state.Step)
}

// machines returns a mistake of controllers.
func machines(mistake func(*mutant)) func(*Rules) {
	return func(r *Rules) {
		r.NewMachine = func(o state.Options) Machine {
			m := &mutant{opts: o}
			mistake(m)
			m.Machine = state.New(m.opts)
			return m
		}
	}
}

func (m *mutant) Handle(e state.Event) state.Step {
	if m.event != nil {
		e = m.event(e)
	}
	return m.step(m.Machine.Handle(e))
}

func (m *mutant) Apply(results []state.Result) state.Step {
	for i := range results {
		if m.result != nil {
			m.result(&results[i])
		}
	}
	return m.step(m.Machine.Apply(results))
}

func (m *mutant) step(s state.Step) state.Step {
	if m.op != nil {
		s.Ops = slices.Clone(s.Ops)
		for i := range s.Ops {
			m.op(&s.Ops[i])
		}
	}
	if m.last != nil {
		m.last(&s)
	}
	return s
}

// shapes make clusters in which there is more of what it takes to notice a mistake that few clusters notice.
var shapes = map[string]func(*plan){
	"waits for ever when it does not know whether a set was written (KAFKA-2729)": func(p *plan) { p.lostReply = 300 },
}

// known says near which seeds mistakes are noticed that only few clusters notice, as things are. The search begins there, and takes longer when plans
// have changed.
var known = map[string]uint64{
	"takes a role of an earlier epoch":                             2780,
	"does not ask what a log directory has taken along":            700,
	"shrinks the in-sync set on a stale partition epoch (KIP-497)": 800,
}

func TestEveryMistakeIsNoticed(t *testing.T) {
	for _, mutant := range mutants {
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			for seed := known[mutant.name]; seed < known[mutant.name]+20_000; seed++ {
				rules := Real()
				mutant.mistake(&rules)
				o := Options{Seed: seed, Steps: steps * (1 + int(seed%2)), Rules: rules, shape: shapes[mutant.name]}
				r := Run(o)
				if r.Failure == nil {
					continue
				}
				t.Logf("seed %d: %s: %s", seed, r.Failure.Invariant, r.Failure.Detail)
				if o.Rules = Real(); Run(o).Failure != nil {
					t.Error("and without the mistake too")
				}
				return
			}
			t.Error("nothing was noticed")
		})
	}
}
