package brokertest

import (
	"errors"
	"testing"
	"time"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestATopicGetsMorePartitions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		a := admin.New(cl)
		replicated(t, cl, nil, 1, 2)
		o := observe(t, c)
		res, err := a.CreatePartitions(t.Context(), []admin.MorePartitions{{Topic: "events", Count: 4}}, admin.CreateOptions{})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		for index := range int32(4) {
			if s := o.state(cluster.TopicPartition{Topic: "events", Partition: index}); s.Leader < 0 || len(s.ISR) != 2 {
				t.Errorf("partition %d: %+v", index, s)
			}
		}
		send(t, cl, "events", "x", 40)
		if got := len(readAll(t, cl, "events")); got != 40 {
			t.Errorf("%d records in four partitions, want 40", got)
		}
		refusals := []struct {
			more admin.MorePartitions
			want kerr.Code
		}{
			{admin.MorePartitions{Topic: "events", Count: 4}, kerr.InvalidPartitions},
			{admin.MorePartitions{Topic: "events", Count: 3}, kerr.InvalidPartitions},
			{admin.MorePartitions{Topic: "none", Count: 4}, kerr.UnknownTopicOrPartition},
			{admin.MorePartitions{Topic: "events", Count: 5, Assignments: [][]cluster.BrokerID{{0, 9}}}, kerr.InvalidReplicaAssignment},
		}
		for _, r := range refusals {
			res, err := a.CreatePartitions(t.Context(), []admin.MorePartitions{r.more}, admin.CreateOptions{})
			if err != nil || !errors.Is(res[0].Err, r.want) {
				t.Errorf("%+v: %v, %v", r.more, err, res)
			}
		}
	})
}

func TestLeadershipReturnsWhenItIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"auto.leader.rebalance.enable": "false"}})
		cl := c.Client(t)
		a := admin.New(cl)
		replicated(t, cl, nil, 2, 1)
		o := observe(t, c)
		c.Stop(t, 2)
		o.awaitISR(events, 1)
		c.Restart(t, 2)
		o.awaitISR(events, 1, 2)
		if s := o.state(events); s.Leader != 1 {
			t.Fatalf("leadership returned by itself: %+v", s)
		}
		got, err := a.ElectLeaders(t.Context(), admin.PreferredElection, nil, time.Minute)
		if err != nil || len(got) != 1 || got[events] != nil {
			t.Fatalf("%v, %v", got, err)
		}
		if s := o.state(events); s.Leader != 2 {
			t.Fatalf("after the election: %+v", s)
		}
		got, err = a.ElectLeaders(t.Context(), admin.PreferredElection, []cluster.TopicPartition{events, {Topic: "none"}}, time.Minute)
		if err != nil || !errors.Is(got[events], kerr.ElectionNotNeeded) || !errors.Is(got[cluster.TopicPartition{Topic: "none"}], kerr.UnknownTopicOrPartition) {
			t.Fatalf("%v, %v", got, err)
		}
		got, err = a.ElectLeaders(t.Context(), admin.UncleanElection, []cluster.TopicPartition{events}, time.Minute)
		if err != nil || !errors.Is(got[events], kerr.ElectionNotNeeded) {
			t.Fatalf("%v, %v", got, err)
		}
		acked(t, cl, "a", 10)
		wantRecords(t, readAll(t, cl, "events"), numbered("a", 10)...)
	})
}

// TestLeadershipGoesBackByItself kills a leader and waits until it has been back for some time: auto.leader.rebalance.enable is on by default.
func TestLeadershipGoesBackByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"leader.imbalance.check.interval.seconds": "30"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		o := observe(t, c)
		c.Kill(t, 1)
		o.awaitISR(events, 2)
		c.Restart(t, 1)
		o.awaitISR(events, 1, 2)
		if s := o.state(events); s.Leader != 2 {
			t.Fatalf("led by %d", s.Leader)
		}
		<-time.After(31 * time.Second)
		if s := o.state(events); s.Leader != 1 {
			t.Errorf("the partition is %+v", s)
		}
	})
}
