package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/contact"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

type losses = map[cluster.BrokerID]contact.Loss

// seen is what a broker of three sees: who does not answer to it, and who not to another one.
func (p *party) seen(self cluster.BrokerID, own losses, told map[cluster.BrokerID]losses) {
	v := &contact.View{Self: self, Brokers: []cluster.BrokerID{1, 2, 3}, Own: own, Told: told, Since: map[cluster.BrokerID]time.Time{}}
	for id := range own {
		v.Since[id] = time.Now()
	}
	p.controllers[self].Contact(v)
	synctest.Wait()
}

func TestTheControllerMovesLeadersAwayFromWhoDoesNotAnswer(t *testing.T) {
	minISR := func(c *Config) {
		c.MinISR = func() (int, map[string]int) { return 1, map[string]int{"a": 2} }
	}
	inBubble(t, 3, minISR, func(p *party) {
		p.controllers[1].CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 3, 1}}}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		p.seen(1, losses{2: contact.Silent}, nil) // on its own word alone nothing happens
		p.equal("state", p.snapshot()[tp].Leader, cluster.BrokerID(2))
		p.seen(1, losses{2: contact.Silent}, map[cluster.BrokerID]losses{3: {2: contact.Silent}})
		want := state.LeaderAndISR{Leader: 3, LeaderEpoch: 1, ISR: []cluster.BrokerID{3, 1}, ControllerEpoch: 1, PartitionEpoch: 1}
		p.equal("state", p.snapshot()[tp], want)
		// One more, and fewer than min.insync.replicas of the topic would be left.
		p.seen(1, losses{2: contact.Refused, 3: contact.Refused}, nil)
		p.equal("state", p.snapshot()[tp], want)
	})
}

func TestAControllerThatDoesNotAnswerIsReplaced(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		p.controllers[1].CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1, 2, 3}}}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		p.change(func() { p.sessions[1].hangs = make(chan struct{}) }) // the old one is frozen in a commit
		p.seen(2, losses{1: contact.Silent}, nil)
		p.equal("active", p.active(), []cluster.BrokerID{1})
		p.seen(2, losses{1: contact.Silent}, map[cluster.BrokerID]losses{3: {1: contact.Silent}})
		p.equal("epoch", p.controllers[2].Stats().Epoch, cluster.ControllerEpoch(2))
		// What was seen before the reign began counts in it.
		p.equal("state", p.snapshot()[tp], state.LeaderAndISR{Leader: 2, LeaderEpoch: 1, ISR: []cluster.BrokerID{2, 3}, ControllerEpoch: 2, PartitionEpoch: 1})
		// The next one to see it finds another controller, which answers.
		p.seen(3, losses{1: contact.Silent}, map[cluster.BrokerID]losses{2: {1: contact.Silent}})
		p.equal("active", p.active(), []cluster.BrokerID{2})
		p.equal("known", p.controllers[3].ActiveID(), cluster.BrokerID(2))
	})
}

// TestWhoAnswersAgainWhileTheSessionEndsIsNoSuspectInTheNextReign lets the news that a broker answers wait behind a write that ZooKeeper does not answer. The
// end of the session drops it, and it is not told again: nothing is lost any more.
func TestWhoAnswersAgainWhileTheSessionEndsIsNoSuspectInTheNextReign(t *testing.T) {
	minISR := func(c *Config) { c.MinISR = func() (int, map[string]int) { return 3, nil } } // so that nothing moves because of a suspect
	inBubble(t, 1, minISR, func(p *party) {
		p.register(2)
		p.register(3)
		synctest.Wait()
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {3, 2, 1}}}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		p.seen(1, losses{2: contact.Silent}, map[cluster.BrokerID]losses{3: {2: contact.Silent}})
		p.change(func() { p.sessions[1].hangs = make(chan struct{}) })
		go c.CreateTopics(ctx, []TopicSpec{{Name: "b", NumPartitions: 1, ReplicationFactor: 1}}, time.Minute, false)
		synctest.Wait() // the event loop hangs in a write now
		p.seen(1, nil, nil)
		p.sessions[1].expire()
		p.unregister(1)
		c.SessionExpired()
		p.start(1)
		p.equal("epoch", c.Stats().Epoch, cluster.ControllerEpoch(2))
		p.unregister(3)
		synctest.Wait()
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(2))
	})
}
