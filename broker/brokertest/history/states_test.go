package history

import (
	"testing"

	"github.com/ottla/ottla/proto/cluster"
)

func TestWhatZooKeeperMustNotSay(t *testing.T) {
	state := func(leader cluster.BrokerID, epoch cluster.LeaderEpoch, isr ...cluster.BrokerID) State {
		return State{Leader: leader, LeaderEpoch: epoch, ControllerEpoch: 4, ISR: isr}
	}
	for name, tc := range map[string]struct {
		say  func(c *Cluster)
		want string
	}{
		"nothing":                  {func(c *Cluster) {}, ""},
		"an election":              {func(c *Cluster) { c.Partition(p0, state(2, 6, 2, 3), 1, 2, 3) }, ""},
		"no leader":                {func(c *Cluster) { c.Partition(p0, state(cluster.NoBroker, 6, 2), 1, 2, 3) }, ""},
		"another controller":       {func(c *Cluster) { c.Controller(cluster.NoBroker, 4); c.Controller(2, 5) }, ""},
		"the same again":           {func(c *Cluster) { c.Controller(1, 4); c.Partition(p0, state(1, 5, 1, 3), 1, 2, 3) }, ""},
		"another partition":        {func(c *Cluster) { c.Partition(p1, state(2, 0, 2), 2) }, ""},
		"made again":               {func(c *Cluster) { c.Deleted("t"); c.Partition(p0, state(2, 0, 2), 2) }, ""},
		"two leaders in one epoch": {func(c *Cluster) { c.Partition(p0, state(2, 5, 1, 2, 3), 1, 2, 3) }, "two-leaders"},
		"an epoch that goes back":  {func(c *Cluster) { c.Partition(p0, state(1, 4, 1, 2, 3), 1, 2, 3) }, "epoch-back"},
		"a deposed controller":     {func(c *Cluster) { s := state(1, 6, 1); s.ControllerEpoch = 3; c.Partition(p0, s, 1, 2, 3) }, "epoch-back"},
		"a leader out of sync":     {func(c *Cluster) { c.Partition(p0, state(1, 6, 2, 3), 1, 2, 3) }, "bad-state"},
		"a stranger in sync":       {func(c *Cluster) { c.Partition(p0, state(1, 6, 1, 7), 1, 2, 3) }, "bad-state"},
		"two controllers":          {func(c *Cluster) { c.Controller(2, 4) }, "two-leaders"},
		"the controller's epoch":   {func(c *Cluster) { c.Controller(1, 3) }, "epoch-back"},
	} {
		var c Cluster
		c.Controller(1, 4)
		c.Partition(p0, state(1, 5, 1, 2, 3), 1, 2, 3)
		tc.say(&c)
		if found, _, _ := c.Check(); kinds(found) != tc.want {
			t.Errorf("%s: found %v, want %q", name, found, tc.want)
		}
	}
}
