package brokertest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestATopicIsDeletedEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2, 0)
		acked(t, cl, "a", 10)
		settled(t, c, events, 0, 1, 2)
		res, err := admin.New(cl).DeleteTopics(t.Context(), []string{"events"}, 30*time.Second)
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		<-time.After(2 * time.Minute) // file.delete.delay.ms
		for id := range 3 {
			list, err := c.Disk(id).ReadDir("/logs")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if strings.HasPrefix(e.Name(), "events") {
					t.Errorf("broker %d still has %s", id, e.Name())
				}
			}
		}
		replicated(t, cl, map[string]string{"min.insync.replicas": "3"}, 2, 1, 0)
		acked(t, cl, "b", 10)
		wantRecords(t, readAll(t, cl, "events"), numbered("b", 10)...)
		settled(t, c, events, 0, 1, 2)
	})
}

func TestTooFewReplicasInSync(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		c.Stop(t, 2)
		acked(t, cl, "b", 10)
		c.Stop(t, 0)
		o.awaitISR(events, 1)
		<-time.After(time.Second) // until the leader has heard of it too
		p, err := producer.New(cl, producer.Retries(0))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		for range 3 {
			if _, err := p.Send(t.Context(), producer.Record{Topic: "events", Partition: producer.To(0), Value: []byte("no")}); !errors.Is(err, kerr.NotEnoughReplicas) {
				t.Errorf("with one replica in sync: %v", err)
			}
		}
		c.Restart(t, 2)
		o.awaitISR(events, 1, 2)
		acked(t, cl, "c", 10)
		wantRecords(t, readAll(t, cl, "events"), slices.Concat(numbered("a", 10), numbered("b", 10), numbered("c", 10))...)
	})
}

// TestTheLastInSyncReplicaIsWaitedFor wants a partition without leader rather than one that has lost records.
func TestTheLastInSyncReplicaIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1"}, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		c.Kill(t, 2)
		o.awaitISR(events, 1)
		acked(t, cl, "b", 10)
		c.Kill(t, 1)
		for o.state(events).Leader != cluster.NoBroker {
			<-time.After(time.Second)
		}
		c.Restart(t, 2)
		<-time.After(30 * time.Second)
		if s := o.state(events); s.Leader != cluster.NoBroker || !slices.Equal(s.ISR, []cluster.BrokerID{1}) {
			t.Fatalf("without the only in-sync replica: %+v", s)
		}
		c.Restart(t, 1)
		o.awaitISR(events, 1, 2)
		wantRecords(t, readAll(t, cl, "events"), append(numbered("a", 10), numbered("b", 10)...)...)
		settled(t, c, events, 1, 2)
	})
}

// TestAnUncleanElectionLosesRecordsAndNotAgreement elects a replica that lacks records because the topic allows it.
func TestAnUncleanElectionLosesRecordsAndNotAgreement(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		<-time.After(time.Second)
		c.Kill(t, 2)
		o.awaitISR(events, 1)
		acked(t, cl, "b", 20)
		c.Kill(t, 1)
		for o.state(events).Leader != cluster.NoBroker {
			<-time.After(time.Second)
		}
		c.Restart(t, 2)
		for o.state(events).Leader != 2 {
			<-time.After(time.Second)
		}
		acked(t, cl, "c", 5)
		c.Restart(t, 1)
		o.awaitISR(events, 1, 2)
		acked(t, cl, "d", 5)
		wantRecords(t, readAll(t, cl, "events"), slices.Concat(numbered("a", 10), numbered("c", 5), numbered("d", 5))...)
		settled(t, c, events, 1, 2)
	})
}
