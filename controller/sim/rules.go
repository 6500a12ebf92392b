package sim

import (
	"time"

	"github.com/ottla/ottla/broker/epoch"
	replica "github.com/ottla/ottla/broker/replica/state"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Machine is what a simulation needs of the controller: [state.Machine].
type Machine interface {
	// Handle starts with an event.
	Handle(state.Event) state.Step
	// Apply goes on with the results of the ops of the last step.
	Apply([]state.Result) state.Step
	// HasTopic reports whether the topic is known.
	HasTopic(name string) bool
}

// Rules are the decisions that a simulated cluster is made of. [Real] returns those that brokers work by; a test replaces some of them to see
// that the simulation notices.
type Rules struct {
	// NewMachine makes a controller at the beginning of a reign.
	NewMachine func(state.Options) Machine
	// MayWrite tells ZooKeeper whether to accept a fenced write of a controller of epoch own while /controller_epoch is current.
	MayWrite func(own, current cluster.ControllerEpoch) bool
	// Matches tells ZooKeeper whether a conditional write may replace a node.
	Matches func(want, have cluster.PartitionEpoch) bool

	// Admit judges an order as a whole.
	Admit func(f *replica.Fence, s replica.Sender, own cluster.BrokerEpoch) kerr.Code
	// Judge judges the state of one partition in an order.
	Judge func(self cluster.BrokerID, own *replica.Standing, known cluster.TopicID, s *replica.PartitionState) (kerr.Code, error)
	// JudgeStop judges an order to stop a replica.
	JudgeStop func(own *replica.Standing, s *replica.StopPartition) (kerr.Code, error)

	// AdmitFetch judges a follower's request by its leader epoch.
	AdmitFetch func(own *replica.Standing, epoch cluster.LeaderEpoch) kerr.Code
	// EpochEnd looks up where an epoch ended in a leader's list.
	EpochEnd func(entries []epoch.Entry, e cluster.LeaderEpoch, logEnd cluster.Offset) (cluster.LeaderEpoch, cluster.Offset, bool)
	// Diverging compares a follower's position with the leader's log.
	Diverging func(last cluster.LeaderEpoch, offset cluster.Offset, own replica.EpochEnd) (replica.EpochEnd, bool, kerr.Code)

	// Lead begins a leadership.
	Lead func(self cluster.BrokerID, s *replica.PartitionState, logEnd cluster.Offset, now time.Time) *replica.Leadership
	// Mark is what a leader enters of a fetch.
	Mark func(replica.Mark) replica.Mark
	// HighWatermark says where the high watermark may stand.
	HighWatermark func(l *replica.Leadership, current, logEnd cluster.Offset, s *replica.Surroundings) cluster.Offset
	// Propose makes a leader ask for another in-sync set.
	Propose func(l *replica.Leadership, isr []cluster.BrokerID)
	// Change is what the controller is asked.
	Change func(l *replica.Leadership, tp cluster.TopicPartition) (replica.ISRChange, bool)
	// Answered enters the controller's answer.
	Answered func(l *replica.Leadership, c *replica.ISRChange, r *replica.ISRResult, now time.Time) bool
	// Outcome says whether a produce request is acknowledged.
	Outcome func(s *replica.Standing, term uint64, watermark, required cluster.Offset, minISR int) (kerr.Code, bool)

	// Follows tells whether an answer that was asked for in an epoch may still be carried out.
	Follows func(own *replica.Standing, epoch cluster.LeaderEpoch) bool
	// SettleTail says where a log is cut when its broker begins to follow.
	SettleTail func(latest cluster.LeaderEpoch, watermark, logEnd cluster.Offset) (cluster.Offset, bool)
	// TruncationPoint says where a follower's log is cut.
	TruncationPoint func(leaders, own replica.EpochEnd, watermark, logEnd cluster.Offset) cluster.Offset
	// Reconcile says what becomes of a log that is out of the leader's range.
	Reconcile func(start, end, own cluster.Offset) (to cluster.Offset, cut, restart bool)
	// RaisedStart says where a follower's log begins when it has heard where the leader's does.
	RaisedStart func(current, leaders, watermark cluster.Offset) (cluster.Offset, bool)
	// EpochsBefore cuts a log's list of epochs.
	EpochsBefore func(entries []epoch.Entry, end cluster.Offset) []epoch.Entry
}

// Real returns the decisions that brokers work by.
func Real() Rules {
	return Rules{
		NewMachine:      func(o state.Options) Machine { return state.New(o) },
		MayWrite:        func(own, current cluster.ControllerEpoch) bool { return own == current },
		Matches:         func(want, have cluster.PartitionEpoch) bool { return want == have },
		Admit:           (*replica.Fence).Admit,
		Judge:           replica.Judge,
		JudgeStop:       replica.JudgeStop,
		AdmitFetch:      func(own *replica.Standing, e cluster.LeaderEpoch) kerr.Code { return own.Admit(e, false) },
		EpochEnd:        epoch.End,
		Diverging:       replica.Diverging,
		Lead:            replica.Lead,
		Mark:            func(m replica.Mark) replica.Mark { return m },
		HighWatermark:   (*replica.Leadership).HighWatermark,
		Propose:         (*replica.Leadership).Propose,
		Change:          (*replica.Leadership).Change,
		Answered:        (*replica.Leadership).Answered,
		Outcome:         replica.Outcome,
		Follows:         (*replica.Standing).Follows,
		SettleTail:      replica.SettleTail,
		TruncationPoint: replica.TruncationPoint,
		Reconcile:       replica.Reconcile,
		RaisedStart:     replica.RaisedStart,
		EpochsBefore:    epoch.Before,
	}
}
