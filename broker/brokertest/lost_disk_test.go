package brokertest

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// elect asks for an unclean election.
func elect(t *testing.T, cl *client.Client, tp cluster.TopicPartition) error {
	t.Helper()
	res, err := admin.New(cl).ElectLeaders(t.Context(), admin.UncleanElection, []cluster.TopicPartition{tp}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return res[tp]
}

// TestTheLastReplicaInSyncLosesItsDisk has a broker alone in sync when its disk is replaced (KAFKA-15495). Empty as it is, it must not lead: the replica
// that has most of the records would be emptied too. It stays so over a restart; an unclean election accepts the loss of what only that disk had.
func TestTheLastReplicaInSyncLosesItsDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		c.Stop(t, 2)
		o.awaitISR(events, 1)
		acked(t, cl, "b", 5)
		c.Kill(t, 1)
		c.NewDisk(1)
		for range 2 {
			again(t, c, 1)
			<-time.After(5 * time.Second)
			if s := o.state(events); s.Leader != cluster.NoBroker || !slices.Equal(s.ISR, []cluster.BrokerID{1}) {
				t.Fatalf("with an empty disk: %+v", s)
			}
			c.Kill(t, 1)
		}
		again(t, c, 1)
		c.Restart(t, 2)
		<-time.After(5 * time.Second)
		if s := o.state(events); s.Leader != cluster.NoBroker {
			t.Fatalf("without an unclean election: %+v", s)
		}
		if err := elect(t, cl, events); err != nil {
			t.Fatal(err)
		}
		wantRecords(t, readAll(t, cl, events.Topic), numbered("a", 10)...)
		o.awaitISR(events, 2, 1)
		if _, err := vfs.ReadFile(c.Disk(1), "/logs/.lost-replicas"); err == nil {
			t.Error("what was lost is still noted after it was copied")
		}
		c.Stop(t, 2) // and the other may lead again
		wantRecords(t, readAll(t, cl, events.Topic), numbered("a", 10)...)
	})
}

// TestALostDiskThatMattersToNobody replaces disks of which others have a copy in sync, or nobody has one.
func TestALostDiskThatMattersToNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{
			{Name: other.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1}}},
		}, admin.CreateOptions{Timeout: time.Minute})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		o := observe(t, c)
		acked(t, cl, "a", 10)
		send(t, cl, other.Topic, "gone", 3)
		c.Kill(t, 1)
		c.NewDisk(1)
		again(t, c, 1)
		o.awaitISR(events, 1, 2)
		wantRecords(t, readAll(t, cl, events.Topic), numbered("a", 10)...)
		send(t, cl, other.Topic, "new", 3)
		wantRecords(t, readAll(t, cl, other.Topic), numbered("new", 3)...)
		settled(t, c, events, 1, 2)
	})
}

// TestOneOfTwoDisksIsNotMounted leaves a broker the logs of the other one: those it leads as before. Mounted again, the disk has what was missing.
func TestOneOfTwoDisksIsNotMounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000", "log.dirs": "/a,/b"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{
			{Name: other.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1, 2}}},
		}, admin.CreateOptions{Timeout: time.Minute})
		if err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		o := observe(t, c)
		acked(t, cl, "a", 10)
		send(t, cl, other.Topic, "b", 10)
		c.Stop(t, 2)
		o.awaitISR(events, 1)
		o.awaitISR(other, 1)
		dir := dirOf(t, c, other, 1)
		if dir != "/b" || dirOf(t, c, events, 1) != "/a" {
			t.Fatalf("the topics are in %s and %s", dirOf(t, c, events, 1), dir)
		}
		c.Stop(t, 1)
		if err := c.Disk(1).Rename(dir, "/unmounted"); err != nil {
			t.Fatal(err)
		}
		again(t, c, 1)
		<-time.After(5 * time.Second)
		if s := o.state(other); s.Leader != cluster.NoBroker {
			t.Errorf("what was on the disk: %+v", s)
		}
		if s := o.state(events); s.Leader != 1 {
			t.Errorf("what was on the other disk: %+v", s)
		}
		wantRecords(t, readAll(t, cl, events.Topic), numbered("a", 10)...)
		text, err := vfs.ReadFile(c.Disk(1), "/a/.lost-replicas")
		if err != nil || !strings.Contains(string(text), `"other"`) || strings.Contains(string(text), `"events"`) {
			t.Errorf("noted: %s, %v", text, err)
		}
		if err := elect(t, cl, other); kerr.CodeOf(err) != kerr.EligibleLeadersNotAvailable {
			t.Errorf("an unclean election without another replica: %v", err)
		}

		c.Stop(t, 1)
		if err := c.Disk(1).RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := c.Disk(1).Rename("/unmounted", dir); err != nil {
			t.Fatal(err)
		}
		again(t, c, 1)
		wantRecords(t, readAll(t, cl, other.Topic), numbered("b", 10)...)
		c.Restart(t, 2)
		o.awaitISR(other, 1, 2)
		settled(t, c, other, 1, 2)
	})
}

// TestALostReplicaOfADeletedTopicIsForgotten deletes a topic that is without a leader because its last disk in sync is gone.
func TestALostReplicaOfADeletedTopicIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		c.Stop(t, 2)
		o.awaitISR(events, 1)
		c.Kill(t, 1)
		c.NewDisk(1)
		again(t, c, 1)
		c.Restart(t, 2)
		<-time.After(5 * time.Second)
		if _, err := vfs.ReadFile(c.Disk(1), "/logs/.lost-replicas"); err != nil {
			t.Fatal(err)
		}
		recreate(t, cl, 1, 2)
		acked(t, cl, "b", 10)
		wantRecords(t, readAll(t, cl, events.Topic), numbered("b", 10)...)
		if text, err := vfs.ReadFile(c.Disk(1), "/logs/.lost-replicas"); err == nil {
			t.Errorf("still noted: %s", text)
		}
	})
}

// TestADeletionWaitsForALogDirectoryThatFailed deletes a topic of which a replica is on a disk that does not work: it is gone when the disk is back.
func TestADeletionWaitsForALogDirectoryThatFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"log.dirs": "/a,/b"}})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"flush.messages": "1", "file.delete.delay.ms": "1000"}, 1, 2)
		o := observe(t, c)
		acked(t, cl, "a", 10)
		c.DiskFault(2, below(dirOf(t, c, events, 2), vfs.OnOps(vfs.Fail(syscall.EIO), vfs.OpSync)))
		acked(t, cl, "b", 1)
		o.awaitISR(events, 1)
		res, err := admin.New(cl).DeleteTopics(t.Context(), []string{events.Topic}, time.Second)
		if err != nil {
			t.Fatal(err, res)
		}
		<-time.After(time.Minute)
		if s := o.state(events); len(s.ISR) == 0 {
			t.Errorf("%+v", s)
		}
		if len(segmentFiles(t, c, events, 2)) == 0 {
			t.Error("the log on the disk that failed is gone")
		}
		c.Stop(t, 2)
		c.DiskFault(2, nil)
		c.Restart(t, 2)
		for range 300 {
			if len(segmentFiles(t, c, events, 1))+len(segmentFiles(t, c, events, 2)) == 0 {
				return
			}
			<-time.After(time.Second)
		}
		t.Error("the topic's logs are still there")
	})
}
