package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

func TestUncleanElectionIsSwitchedOnAndOffAgain(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		tp := cluster.TopicPartition{Topic: "a"}
		spec := TopicSpec{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 1}}}
		c.CreateTopics(ctx, []TopicSpec{spec}, time.Minute, false)
		c.AlterPartition(ctx, state.AlterPartition{Broker: 2, BrokerEpoch: 2, Partitions: []state.AlterRequest{{Partition: tp, ISR: []cluster.BrokerID{2}}}})
		c.UncleanElectionEnabled("")
		c.UncleanElectionDisabled()
		p.unregister(2)
		synctest.Wait()
		p.equal("leader while it is off", p.snapshot()[tp].Leader, cluster.NoBroker)
		c.UncleanElectionEnabled("")
		synctest.Wait()
		p.equal("leader once it is on", p.snapshot()[tp].Leader, cluster.BrokerID(1))
	})
}
