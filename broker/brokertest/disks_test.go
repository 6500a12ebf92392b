package brokertest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// below lets in decide about a directory and everything in it.
func below(dir string, in vfs.Injector) vfs.Injector {
	return vfs.When(func(c vfs.Call) bool { return c.Path == dir || strings.HasPrefix(c.Path, dir+"/") }, in)
}

// dirOf returns the log directory that a broker has a partition in.
func dirOf(t *testing.T, c *Cluster, tp cluster.TopicPartition, id int) string {
	t.Helper()
	files := segmentFiles(t, c, tp, id)
	if len(files) == 0 {
		t.Fatalf("broker %d has nothing of %s", id, tp)
	}
	return strings.TrimSuffix(files[0][:strings.LastIndex(files[0], "/")], "/"+tp.String())
}

// other is a topic in the other one of two log directories.
var other = cluster.TopicPartition{Topic: "other"}

// TestALogDirectoryFails takes one of two directories from a broker under load. What it leads there gets another leader within a few seconds although
// ZooKeeper sees the broker alive, its replicas there leave the in-sync sets, and the other directory goes on. Started again with a disk that works, the
// broker copies everything.
func TestALogDirectoryFails(t *testing.T) {
	eio := vfs.Fail(syscall.EIO)
	for name, tc := range map[string]struct {
		broker int
		fault  vfs.Injector
		flush  string
	}{
		"leader, half a write":        {1, vfs.Short(50, syscall.EIO), "1000"},
		"leader, fsync":               {1, vfs.OnOps(eio, vfs.OpSync), "1"},
		"follower, everything":        {2, eio, "1"},
		"follower, controller, fsync": {0, vfs.OnOps(eio, vfs.OpSync), "1"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"log.dirs": "/a,/b"}})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "flush.messages": tc.flush}, byThree...)
				res, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{
					Name: other.Topic, Partitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {cluster.BrokerID(tc.broker)}},
				}}, admin.CreateOptions{Timeout: time.Minute})
				if err != nil || res[0].Err != nil {
					t.Fatal(err, res)
				}
				send(t, cl, other.Topic, "a", 10)
				o := observe(t, c)
				w := load(t, cl, "r")
				<-time.After(2 * time.Second)
				dir := dirOf(t, c, events, tc.broker)
				if dir == dirOf(t, c, other, tc.broker) {
					t.Fatalf("both topics are in %s", dir)
				}
				c.DiskFault(tc.broker, below(dir, tc.fault))
				o.awaitISR(events, without(byThree, tc.broker)...)
				if s := o.state(events); int(s.Leader) == tc.broker {
					t.Errorf("without the directory, the partition is %+v", s)
				}
				<-time.After(time.Second)
				send(t, cl, other.Topic, "b", 10)
				wantRecords(t, readAll(t, cl, other.Topic), append(numbered("a", 10), numbered("b", 10)...)...)
				if err := c.Broker(tc.broker).Err(); err != nil {
					t.Errorf("with one directory of two: %v", err)
				}
				c.Stop(t, tc.broker)
				c.DiskFault(tc.broker, nil)
				c.Restart(t, tc.broker)
				o.awaitISR(events, 0, 1, 2)
				<-time.After(time.Second)
				within(t, w.flawless(cl).Gap, 2500*time.Millisecond)
				settled(t, c, events, 0, 1, 2)
			})
		})
	}
}

// TestALogDirectoryFailsWithoutZooKeeper has nobody whom the broker could tell until ZooKeeper is back, in another session.
func TestALogDirectoryFailsWithoutZooKeeper(t *testing.T) {
	settings := map[string]string{"zookeeper.session.timeout.ms": "6000", "log.dirs": "/a,/b"}
	row{settings, func(t *testing.T, c *Cluster, o *observer) {
		c.StopZooKeeper(t)
		<-time.After(time.Second)
		c.DiskFault(1, below(dirOf(t, c, events, 1), vfs.OnOps(vfs.Fail(syscall.EIO), vfs.OpWrite)))
		<-time.After(10 * time.Second)
		c.StartZooKeeper(t)
		o.renew(c)
		o.awaitISR(events, 0, 2)
		c.Stop(t, 1)
		c.DiskFault(1, nil)
		again(t, c, 1)
	}, 20 * time.Second}.run(t)
}

// TestABrokerWithoutAnyDirectoryGivesUp fails the only directory, or fills its disk. The broker says so, and its process ends; the others go on. Its next
// process, on a new disk, copies everything.
func TestABrokerWithoutAnyDirectoryGivesUp(t *testing.T) {
	full := vfs.OnOps(vfs.Fail(syscall.ENOSPC), vfs.OpWrite, vfs.OpCreate, vfs.OpPreallocate)
	for name, tc := range map[string]struct {
		broker int
		fault  vfs.Injector
	}{
		"leader":                 {1, vfs.Fail(syscall.EIO)},
		"controller, disk full":  {0, full},
		"follower, half a batch": {2, vfs.DiskFull(1000)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				within(t, disturbed(t, byThree, map[string]string{"zookeeper.session.timeout.ms": "6000"}, func(c *Cluster, o *observer) {
					c.DiskFault(tc.broker, tc.fault)
					select {
					case <-c.Broker(tc.broker).Done():
					case <-time.After(time.Minute):
						t.Fatal("it goes on")
					}
					if err := c.Broker(tc.broker).Err(); err == nil || !strings.Contains(err.Error(), "all log.dirs failed") {
						t.Errorf("it has failed with %v", err)
					}
					c.Kill(t, tc.broker)
					o.awaitISR(events, without(byThree, tc.broker)...)
					c.DiskFault(tc.broker, nil)
					c.NewDisk(tc.broker)
					again(t, c, tc.broker) // nobody can end the session whose password was on the old disk
					o.awaitISR(events, 0, 1, 2)
				}), 2500*time.Millisecond)
			})
		})
	}
}

// without returns the brokers but one.
func without(ids []cluster.BrokerID, id int) []cluster.BrokerID {
	return slices.DeleteFunc(slices.Clone(ids), func(other cluster.BrokerID) bool { return int(other) == id })
}

// TestNoRoomForASegment lets nobody reserve room for records on the disk of the leader, or of a follower. It refuses them and goes on: reads are answered,
// and when there is room again everything goes on without a restart.
func TestNoRoomForASegment(t *testing.T) {
	for name, id := range map[string]int{"leader": 1, "follower": 2} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: map[string]string{"replica.lag.time.max.ms": "5000"}})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "8192"}, byThree...)
				o := observe(t, c)
				w := load(t, cl, "r", producer.DeliveryTimeout(5*time.Minute))
				<-time.After(2 * time.Second)
				c.DiskFault(id, vfs.OnBase("*.log", vfs.OnOps(vfs.Fail(syscall.ENOSPC), vfs.OpPreallocate)))
				if id == 2 {
					o.awaitISR(events, 0, 1)
				}
				<-time.After(10 * time.Second)
				before := w.Acknowledged("r")
				<-time.After(time.Second)
				if stands := w.Acknowledged("r") == before; stands != (id == 1) {
					t.Errorf("stands still: %t", stands)
				}
				if s := o.state(events); s.Leader != 1 {
					t.Errorf("led by %d", s.Leader)
				}
				if n := len(readAll(t, cl, events.Topic)); n < before {
					t.Errorf("%d records can be read, %d were acknowledged", n, before)
				}
				c.DiskFault(id, nil)
				o.awaitISR(events, 0, 1, 2)
				<-time.After(2 * time.Second)
				w.flawless(cl)
				settled(t, c, events, 0, 1, 2)
			})
		})
	}
}

// flip changes a byte in the middle of a file.
func flip(t *testing.T, disk *vfs.Mem, name string) {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, size/2); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, size/2); err != nil {
		t.Fatal(err)
	}
}

// TestABitFlips damages the active segment of the leader, or of a follower, that was killed: recovery finds it, and the broker copies what had to be cut off.
func TestABitFlips(t *testing.T) {
	rows := map[string]row{}
	for name, id := range map[string]int{"leader": 1, "follower": 2} {
		rows[name] = row{nil, func(t *testing.T, c *Cluster, o *observer) {
			c.Kill(t, id)
			<-time.After(time.Second)
			files := segmentFiles(t, c, events, id)
			flip(t, c.Disk(id), files[len(files)-1])
			c.Restart(t, id)
		}, time.Second}
	}
	runAll(t, rows)
}

// TestEveryPowerFails cuts the power of all brokers at once under flush.messages=1, where an acknowledged record is on disk at two of them at least.
func TestEveryPowerFails(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := Start(t, Options{Brokers: 3, Logger: testLogger(t), Settings: quick})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "flush.messages": "1", "segment.bytes": "16384"}, byThree...)
				o := observe(t, c)
				w := load(t, cl, "r")
				for range 2 {
					<-time.After(2*time.Second + time.Duration(seed)*1234567)
					for id := range 3 {
						c.Network().Kill(host(id))
					}
					for id := range 3 {
						c.PowerCut(t, id, vfs.CrashOptions{Seed: seed + uint64(id), Data: vfs.KeepRandom, Names: vfs.KeepRandom})
					}
					<-time.After(time.Second)
					for id := range 3 {
						again(t, c, id)
					}
					o.awaitISR(events, 0, 1, 2)
				}
				<-time.After(2 * time.Second)
				w.flawless(cl)
				settled(t, c, events, 0, 1, 2)
			})
		})
	}
}

// TestTheLastInSyncReplicaLosesItsPower leaves the leader alone in sync, which acknowledges under min.insync.replicas=1 and flush.messages=1, and takes its power
// away. The others are not elected, although they live.
func TestTheLastInSyncReplicaLosesItsPower(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 4, Logger: testLogger(t), Settings: kafkas})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "1", "flush.messages": "1"}, 1, 2, 3)
		o := observe(t, c)
		w := load(t, cl, "r", producer.DeliveryTimeout(5*time.Minute))
		<-time.After(2 * time.Second)
		cut(c, 1, 2, 3)
		o.awaitISR(events, 1)
		<-time.After(2 * time.Second)
		c.PowerCut(t, 1, vfs.CrashOptions{})
		heal(c, 1, 2, 3)
		<-time.After(20 * time.Second)
		if s := o.state(events); s.Leader != cluster.NoBroker || !slices.Equal(s.ISR, []cluster.BrokerID{1}) {
			t.Errorf("without the last one in sync: %+v", s)
		}
		again(t, c, 1)
		o.awaitISR(events, 1, 2, 3)
		<-time.After(2 * time.Second)
		w.flawless(cl)
		settled(t, c, events, 1, 2, 3)
	})
}

// TestANewDisk lets one broker after the other come back without anything it had: it copies, and is not elected before.
func TestANewDisk(t *testing.T) {
	row{quick, func(t *testing.T, c *Cluster, o *observer) {
		for _, id := range []int{2, 1, 0} {
			c.Kill(t, id)
			c.NewDisk(id)
			again(t, c, id)
			if s := o.state(events); slices.Contains(s.ISR, cluster.BrokerID(id)) && len(onDisk(t, c, events, id)) < 1000 {
				t.Errorf("with an empty disk it is in sync: %+v", s)
			}
			o.awaitISR(events, 0, 1, 2)
		}
	}, 2500 * time.Millisecond}.run(t)
}
