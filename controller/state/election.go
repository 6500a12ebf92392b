package state

import (
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// Strategy is a way to choose a leader (F§2.5).
type Strategy uint8

// The election strategies.
const (
	// ElectOffline replaces a dead leader: the first assigned replica that is live and in sync.
	ElectOffline Strategy = iota + 1
	// ElectUnclean is ElectOffline that also takes a replica out of sync, whatever the topic's configuration says.
	ElectUnclean
	// ElectReassign leads into the target of a reassignment: its first replica that is live and in sync.
	ElectReassign
	// ElectPreferred gives leadership to the first assigned replica, if it is live and in sync.
	ElectPreferred
	// ElectShutdown moves leadership away from brokers that shut down and drops them from the ISR.
	ElectShutdown
)

// String returns the strategy's name.
func (s Strategy) String() string {
	return [...]string{"none", "offline", "unclean", "reassign", "preferred", "shutdown"}[s%6]
}

// Candidate is what an election knows of the partition and its brokers.
type Candidate struct {
	// Assignment holds the replicas.
	Assignment Assignment
	// State is the state before the election.
	State LeaderAndISR
	// Online reports whether a replica may serve: registered, not shutting down, its log directory not failed.
	Online func(cluster.BrokerID) bool
	// ShuttingDown reports whether a broker is registered and on its way out. Only ElectShutdown asks.
	ShuttingDown func(cluster.BrokerID) bool
	// Suspected reports whether a broker does not answer, or says that its disk stalls, although it is registered. Such a one is elected only if there is no other; nil means
	// that there is none.
	Suspected func(cluster.BrokerID) bool
	// Untold reports whether a broker that others reach does not answer to the controller, which could not tell it that it is elected. Such a one is
	// elected only if there are none but suspects besides; nil means that all can be told.
	Untold func(cluster.BrokerID) bool
	// Unclean allows ElectOffline to take a replica that is out of sync.
	Unclean bool
}

// Election is the outcome of an election.
type Election struct {
	// State is the new state, with the leader epoch one up even if the leader is the same. ControllerEpoch and PartitionEpoch
	// are those of before.
	State LeaderAndISR
	// Recipients holds the brokers that have to hear of it.
	Recipients []cluster.BrokerID
	// Unclean is true when records may be lost: the leader was out of sync.
	Unclean bool
}

// Elect chooses a leader. It returns false if there is none to be had; the state then stays as it is.
func Elect(s Strategy, c Candidate) (Election, bool) {
	switch s {
	case ElectOffline, ElectUnclean:
		return electOffline(c, s == ElectUnclean || c.Unclean)
	case ElectReassign:
		target := c.Assignment.Target()
		return electInSync(c, target, target)
	case ElectPreferred:
		return electInSync(c, c.Assignment.Replicas[:min(1, len(c.Assignment.Replicas))], c.Assignment.Replicas)
	case ElectShutdown:
		return electShutdown(c)
	}
	return Election{}, false
}

// electOffline takes the first assigned replica that is online and in sync; failing that, and if allowed, the first that is
// online, which then is the whole ISR.
func electOffline(c Candidate, unclean bool) (Election, bool) {
	var online []cluster.BrokerID
	for _, id := range c.Assignment.Replicas {
		if c.Online(id) {
			online = append(online, id)
		}
	}
	for _, id := range c.answeringFirst(online) {
		if slices.Contains(c.State.ISR, id) {
			isr := make([]cluster.BrokerID, 0, len(c.State.ISR))
			for _, member := range c.State.ISR {
				if slices.Contains(online, member) {
					isr = append(isr, member)
				}
			}
			return Election{State: c.next(id, isr, c.State.Recovery), Recipients: online}, true
		}
	}
	if !unclean || len(online) == 0 {
		return Election{}, false
	}
	leader := c.answeringFirst(online)[0]
	return Election{State: c.next(leader, []cluster.BrokerID{leader}, Recovering), Recipients: online, Unclean: true}, true
}

// answeringFirst returns ids with those at the end that do not answer, the suspects last.
func (c Candidate) answeringFirst(ids []cluster.BrokerID) []cluster.BrokerID {
	rank := func(id cluster.BrokerID) int {
		switch {
		case c.Suspected != nil && c.Suspected(id):
			return 2
		case c.Untold != nil && c.Untold(id):
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(ids), func(a, b cluster.BrokerID) int { return rank(a) - rank(b) })
}

// electInSync takes the first of candidates that is online and in sync; the ISR stays.
func electInSync(c Candidate, candidates, recipients []cluster.BrokerID) (Election, bool) {
	for _, id := range c.answeringFirst(candidates) {
		if c.Online(id) && slices.Contains(c.State.ISR, id) {
			return Election{State: c.next(id, c.State.ISR, c.State.Recovery), Recipients: slices.Clone(recipients)}, true
		}
	}
	return Election{}, false
}

// electShutdown takes the first assigned replica in sync that stays, and drops those that leave from the ISR.
func electShutdown(c Candidate) (Election, bool) {
	var recipients []cluster.BrokerID
	for _, id := range c.Assignment.Replicas {
		if c.Online(id) || c.ShuttingDown(id) {
			recipients = append(recipients, id)
		}
	}
	for _, id := range c.answeringFirst(c.Assignment.Replicas) {
		if !c.Online(id) || !slices.Contains(c.State.ISR, id) {
			continue
		}
		isr := make([]cluster.BrokerID, 0, len(c.State.ISR))
		for _, member := range c.State.ISR {
			if !c.ShuttingDown(member) {
				isr = append(isr, member)
			}
		}
		return Election{State: c.next(id, isr, c.State.Recovery), Recipients: recipients}, true
	}
	return Election{}, false
}

// next returns the state after an election.
func (c Candidate) next(leader cluster.BrokerID, isr []cluster.BrokerID, r RecoveryState) LeaderAndISR {
	s := c.State
	s.Leader, s.ISR, s.Recovery = leader, isr, r
	s.LeaderEpoch++
	return s
}
