package state

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// Sender says who gives an order, and to which registration of this broker.
type Sender struct {
	// ControllerID is the broker that sends.
	ControllerID cluster.BrokerID
	// ControllerEpoch of the sender.
	ControllerEpoch cluster.ControllerEpoch
	// BrokerEpoch of the receiver as the sender knows it; [cluster.NoBrokerEpoch] is not checked.
	BrokerEpoch cluster.BrokerEpoch
	// Sequence numbers the attempts of a controller in one reign, all calls of all brokers, from 1; 0 is not checked.
	Sequence int64
}

// Fence remembers the latest controller and refuses older ones (F§2.10 rules 1 and 2, Kafka's ReplicaManager). It also refuses what a controller has
// given up: an attempt that arrives after a later one. Kafka leaves that to the connection, but a request may be read, or may wait for its turn, longer
// than its connection lasts; topics that were deleted since would come back or go again. The zero value has seen no controller. Pure; the owner
// serialises calls.
type Fence struct {
	// ControllerEpoch is the highest that was admitted.
	ControllerEpoch cluster.ControllerEpoch
	// Sequence is the highest that was admitted of that controller.
	Sequence int64
}

// Admit judges an order given that the broker is registered under own: [kerr.None] lets it pass and remembers the controller's epoch and the attempt.
func (f *Fence) Admit(s Sender, own cluster.BrokerEpoch) kerr.Code {
	if s.BrokerEpoch != cluster.NoBrokerEpoch && s.BrokerEpoch < own {
		return kerr.StaleBrokerEpoch
	}
	if s.ControllerEpoch < f.ControllerEpoch {
		return kerr.StaleControllerEpoch
	}
	if s.ControllerEpoch > f.ControllerEpoch {
		*f = Fence{ControllerEpoch: s.ControllerEpoch}
	}
	if s.Sequence != 0 && s.Sequence < f.Sequence {
		return kerr.StaleControllerEpoch
	}
	f.Sequence = max(f.Sequence, s.Sequence)
	return kerr.None
}

// EpochCheck compares the leader epoch that a client believes in with the broker's (KIP-320, F§3.5).
func EpochCheck(asked, own cluster.LeaderEpoch) kerr.Code {
	switch {
	case asked == cluster.NoLeaderEpoch || asked == own:
		return kerr.None
	case asked < own:
		return kerr.FencedLeaderEpoch
	default:
		return kerr.UnknownLeaderEpoch
	}
}
