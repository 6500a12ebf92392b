package replica

import (
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// sender is the part of every order of a controller that tells whether it is out of date.
type sender struct {
	// controllerEpoch of the controller that sends.
	controllerEpoch cluster.ControllerEpoch
	// brokerEpoch is the registration of the receiver that the controller has in mind; [cluster.NoBrokerEpoch] is not checked.
	brokerEpoch cluster.BrokerEpoch
}

// orderFence remembers the latest controller and refuses older ones (F§2.10 rules 1 and 2, Kafka's ReplicaManager). The zero value has seen no
// controller. Pure; the owner serialises calls.
type orderFence struct {
	controllerEpoch cluster.ControllerEpoch
}

// admit judges an order given that the broker is registered under own: [kerr.None] lets it pass and remembers the controller's epoch.
func (f *orderFence) admit(s sender, own cluster.BrokerEpoch) kerr.Code {
	if s.brokerEpoch != cluster.NoBrokerEpoch && s.brokerEpoch < own {
		return kerr.StaleBrokerEpoch
	}
	if s.controllerEpoch < f.controllerEpoch {
		return kerr.StaleControllerEpoch
	}
	f.controllerEpoch = s.controllerEpoch
	return kerr.None
}

// epochCheck compares the leader epoch that a client believes in with the broker's (KIP-320, F§3.5).
func epochCheck(asked, own cluster.LeaderEpoch) kerr.Code {
	switch {
	case asked == cluster.NoLeaderEpoch || asked == own:
		return kerr.None
	case asked < own:
		return kerr.FencedLeaderEpoch
	default:
		return kerr.UnknownLeaderEpoch
	}
}
