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
}

// Fence remembers the latest controller and refuses older ones (F§2.10 rules 1 and 2, Kafka's ReplicaManager). The zero value has seen no
// controller. Pure; the owner serialises calls.
type Fence struct {
	// ControllerEpoch is the highest that was admitted.
	ControllerEpoch cluster.ControllerEpoch
}

// Admit judges an order given that the broker is registered under own: [kerr.None] lets it pass and remembers the controller's epoch.
func (f *Fence) Admit(s Sender, own cluster.BrokerEpoch) kerr.Code {
	if s.BrokerEpoch != cluster.NoBrokerEpoch && s.BrokerEpoch < own {
		return kerr.StaleBrokerEpoch
	}
	if s.ControllerEpoch < f.ControllerEpoch {
		return kerr.StaleControllerEpoch
	}
	f.ControllerEpoch = s.ControllerEpoch
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
