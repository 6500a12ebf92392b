package history

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// State is what ZooKeeper says about a partition at one moment.
type State struct {
	// Leader is [cluster.NoBroker] when there is none.
	Leader cluster.BrokerID
	// LeaderEpoch counts elections.
	LeaderEpoch cluster.LeaderEpoch
	// ControllerEpoch is that of the controller that wrote it.
	ControllerEpoch cluster.ControllerEpoch
	// ISR are the in-sync replicas.
	ISR []cluster.BrokerID
}

// Cluster is what ZooKeeper said in the course of a test. It is for one goroutine. The zero value is ready.
type Cluster struct {
	controllers map[cluster.ControllerEpoch]cluster.BrokerID
	epoch       cluster.ControllerEpoch
	partitions  map[cluster.TopicPartition]*states
	found       []Anomaly
	elections   int
}

// states is what is known of a partition.
type states struct {
	last    State
	leaders map[cluster.LeaderEpoch]cluster.BrokerID
}

func (c *Cluster) report(k Kind, tp cluster.TopicPartition, format string, args ...any) {
	c.found = append(c.found, Anomaly{k, tp, fmt.Sprintf(format, args...)})
}

// Controller records that a broker was the controller while /controller_epoch was epoch; [cluster.NoBroker] when there was none. Epoch and controller
// have to be from one moment: read the epoch before and after.
func (c *Cluster) Controller(id cluster.BrokerID, epoch cluster.ControllerEpoch) {
	if epoch < c.epoch {
		c.report(EpochBack, cluster.TopicPartition{}, "the controller's epoch is %d, and was %d", epoch, c.epoch)
	}
	c.epoch = max(c.epoch, epoch)
	if id == cluster.NoBroker {
		return
	}
	if c.controllers == nil {
		c.controllers = map[cluster.ControllerEpoch]cluster.BrokerID{}
	}
	if before, ok := c.controllers[epoch]; ok && before != id {
		c.report(TwoLeaders, cluster.TopicPartition{}, "in epoch %d broker %d is the controller, and broker %d was", epoch, id, before)
		return
	}
	c.controllers[epoch] = id
}

// Partition records the state of a partition with the given replicas.
func (c *Cluster) Partition(tp cluster.TopicPartition, s State, replicas ...cluster.BrokerID) {
	if c.partitions == nil {
		c.partitions = map[cluster.TopicPartition]*states{}
	}
	p := c.partitions[tp]
	if p == nil {
		p = &states{last: s, leaders: map[cluster.LeaderEpoch]cluster.BrokerID{}}
		c.partitions[tp] = p
	}
	if s.LeaderEpoch < p.last.LeaderEpoch {
		c.report(EpochBack, tp, "the leader's epoch is %d, and was %d", s.LeaderEpoch, p.last.LeaderEpoch)
	}
	if s.ControllerEpoch < p.last.ControllerEpoch {
		c.report(EpochBack, tp, "written by the controller of epoch %d after that of epoch %d", s.ControllerEpoch, p.last.ControllerEpoch)
	}
	if before, ok := p.leaders[s.LeaderEpoch]; !ok {
		p.leaders[s.LeaderEpoch] = s.Leader
		c.elections++
	} else if before != s.Leader {
		c.report(TwoLeaders, tp, "in epoch %d broker %d leads, and broker %d did", s.LeaderEpoch, s.Leader, before)
	}
	if s.Leader != cluster.NoBroker && !slices.Contains(s.ISR, s.Leader) {
		c.report(BadState, tp, "the leader %d is not one of the in-sync replicas %v", s.Leader, s.ISR)
	}
	for _, id := range s.ISR {
		if !slices.Contains(replicas, id) {
			c.report(BadState, tp, "the in-sync replica %d is not one of the replicas %v", id, replicas)
		}
	}
	p.last = s
}

// Deleted records that a topic is gone: what comes later under its name is another one.
func (c *Cluster) Deleted(topic string) {
	maps.DeleteFunc(c.partitions, func(tp cluster.TopicPartition, _ *states) bool { return tp.Topic == topic })
}

// Check returns what must not be, how many leader epochs were seen of all partitions together, and how many controllers' epochs.
func (c *Cluster) Check() (found []Anomaly, leaders, controllers int) {
	return c.found, c.elections, len(c.controllers)
}
