package brokertest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// topicID returns the id of the topic events; zero when there is none.
func (o *observer) topicID() cluster.TopicID {
	o.t.Helper()
	data, _, err := o.s.Get(o.t.Context(), znode.TopicPath(events.Topic))
	if errors.Is(err, zk.ErrNoNode) {
		return cluster.TopicID{}
	}
	if err != nil {
		o.t.Fatal(err)
	}
	topic, err := znode.DecodeTopic(znode.TopicPath(events.Topic), data)
	if err != nil {
		o.t.Fatal(err)
	}
	return topic.ID
}

// remake deletes the topic events and creates it again, however often it takes while brokers come and go.
func (o *observer) remake(cl *client.Client, configs map[string]string, replicas ...cluster.BrokerID) {
	o.t.Helper()
	old := o.topicID()
	a := admin.New(cl)
	var err error
	for range 200 {
		var res []admin.TopicResult
		if o.topicID() == old {
			if res, err = a.DeleteTopics(o.t.Context(), []string{events.Topic}, 10*time.Second); err == nil {
				err = res[0].Err
			}
		}
		if id := o.topicID(); id.IsZero() {
			var res []admin.CreateResult
			res, err = a.CreateTopics(o.t.Context(), []admin.NewTopic{{
				Name: events.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: replicas}, Configs: configs,
			}}, admin.CreateOptions{Timeout: 10 * time.Second})
			if err == nil {
				err = res[0].Err
			}
		}
		if id := o.topicID(); !id.IsZero() && id != old && (err == nil || errors.Is(err, kerr.TopicAlreadyExists)) {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	o.t.Fatalf("the topic was not made again: %v", err)
}

// TestATopicIsRemadeUnderLoad deletes a topic and creates it again, over and over, while producers write, a consumer reads and clients ask for metadata;
// meanwhile a broker is killed and comes back with what it has of the old topic. Each topic of the name is judged on its own.
func TestATopicIsRemadeUnderLoad(t *testing.T) {
	rounds := 8
	if raceDetector {
		rounds = 2
	}
	for name, tc := range map[string]struct {
		victim   int  // -1 for nobody
		dead     bool // it is killed two seconds before the deletion, and not while that goes on
		power    bool // its power is cut
		replicas [2][]cluster.BrokerID
	}{
		"all is well":                                {-1, false, false, [2][]cluster.BrokerID{{1, 2, 0}, {1, 2, 0}}},
		"on other brokers":                           {-1, false, false, [2][]cluster.BrokerID{{1, 2, 0}, {0, 1, 2}}},
		"and the leader is killed":                   {1, false, false, [2][]cluster.BrokerID{{1, 2, 0}, {1, 2, 0}}},
		"and a follower is killed":                   {2, false, false, [2][]cluster.BrokerID{{1, 2, 0}, {1, 0, 2}}},
		"and the controller is killed":               {0, false, false, [2][]cluster.BrokerID{{1, 2, 0}, {1, 2, 0}}},
		"and the controller, which leads, is killed": {0, false, false, [2][]cluster.BrokerID{{0, 2, 1}, {0, 1, 2}}},
		"and the power of a follower fails":          {2, false, true, [2][]cluster.BrokerID{{1, 2, 0}, {2, 1, 0}}},
		"while a follower is dead, which is to lead": {2, true, false, [2][]cluster.BrokerID{{1, 2, 0}, {2, 1, 0}}},
		"while a leader is dead, which is to follow": {1, true, true, [2][]cluster.BrokerID{{1, 2, 0}, {2, 1, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				settings := map[string]string{"zookeeper.session.timeout.ms": "6000", "auto.create.topics.enable": "false"}
				configs := map[string]string{"min.insync.replicas": "2", "segment.bytes": "16384"}
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: settings})
				hosts := []string{host(0), host(1), host(2), zookeeperHost, clientHost}
				for i, from := range hosts { // so that there is a middle to be killed in
					for _, to := range hosts[i+1:] {
						c.Network().SetDelay(from, to, time.Millisecond)
						c.Network().SetDelay(to, from, time.Millisecond)
					}
				}
				cl, asking := c.Client(t), c.Client(t)
				replicated(t, cl, configs, tc.replicas[0]...)
				o := observe(t, c)
				w := bursts(t, cl, "a", 3)
				w.produce(cl, "b", 1)
				ctx, stop := context.WithCancel(t.Context())
				var others sync.WaitGroup
				defer others.Wait()
				defer stop()
				others.Go(func() {
					for ctx.Err() == nil {
						_, _ = admin.New(asking).DescribeTopics(ctx, []string{events.Topic})
						<-time.After(7 * time.Millisecond)
					}
				})
				for round := range rounds {
					<-time.After(2 * time.Second)
					last := w.Final(events)
					for i, v := range readAll(t, asking, events.Topic) {
						last.Got(events, cluster.Offset(i), v)
					}
					kill := func() {
						if tc.power {
							c.PowerCut(t, tc.victim, vfs.CrashOptions{Seed: uint64(round), Data: vfs.KeepRandom, Names: vfs.KeepRandom})
						} else {
							c.Kill(t, tc.victim)
						}
					}
					if tc.dead {
						kill()
						<-time.After(2 * time.Second)
					}
					var repair sync.WaitGroup
					if tc.victim >= 0 {
						repair.Go(func() {
							if !tc.dead {
								<-time.After(time.Duration(round) * 7 * time.Millisecond)
								kill()
							}
							<-time.After(8 * time.Second)
							c.Restart(t, tc.victim)
						})
					}
					w.Deleting(events)
					o.remake(asking, configs, tc.replicas[(round+1)%2]...)
					w.Created(events)
					repair.Wait()
					o.awaitISR(events, 0, 1, 2)
				}
				<-time.After(5 * time.Second)
				r := w.judge(cl)
				if r.Failed > 0 {
					t.Logf("%d records failed, the first with %v", r.Failed, r.FirstError)
				}
				o.awaitISR(events, 0, 1, 2)
				settled(t, c, events, 0, 1, 2)
			})
		})
	}
}

// TestAReplicaComesBackWithTheLogOfTheOldTopic gives a broker the disk back that it had before the topic was deleted and made again, as from a backup of its
// machine. Nothing of the old topic may get into the new one: the broker has no part in it until somebody takes the old log away.
func TestAReplicaComesBackWithTheLogOfTheOldTopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		settings := map[string]string{"zookeeper.session.timeout.ms": "6000", "auto.create.topics.enable": "false"}
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: settings})
		cl := c.Client(t)
		configs := map[string]string{"min.insync.replicas": "2"}
		replicated(t, cl, configs, 1, 2, 0)
		o := observe(t, c)
		w := load(t, cl, "r")
		<-time.After(3 * time.Second)
		c.Stop(t, 2)
		backup := c.Disk(2).CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
		c.Restart(t, 2)
		o.awaitISR(events, 0, 1, 2)
		w.Deleting(events)
		o.remake(cl, configs, 2, 1, 0)
		w.Created(events)
		<-time.After(3 * time.Second)
		c.Kill(t, 2)
		<-time.After(10 * time.Second) // its session is over: what the backup has of sessions is older
		c.nodes[2].disk = backup
		c.Restart(t, 2)
		<-time.After(10 * time.Second)
		o.awaitISR(events, 0, 1)
		before := onDisk(t, c, events, 2)
		c.Stop(t, 2)
		if after := onDisk(t, c, events, 2); len(before) == 0 || !bytes.Equal(before, after) {
			t.Errorf("the old log had %d bytes, and has %d", len(before), len(after))
		}
		if err := c.Disk(2).RemoveAll("/logs/" + events.String()); err != nil {
			t.Fatal(err)
		}
		c.Restart(t, 2)
		o.awaitISR(events, 0, 1, 2)
		<-time.After(3 * time.Second)
		w.flawless(cl)
		settled(t, c, events, 0, 1, 2)
	})
}
