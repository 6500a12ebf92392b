package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// TestOnZooKeeperGarbageInAnyNode writes what nobody should into every node that a controller reads. Whoever is controller goes on, and so
// does the next one: it creates topics, elects and moves partitions. What cannot be understood is left as it is, except for requests and
// notifications, which are done with.
func TestOnZooKeeperGarbageInAnyNode(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "half an object": []byte(`{"version":1,"partitions":`), "null": []byte("null"), "a list": []byte("[1,2]"), "text": []byte("\xff\x00 hello"),
		"other types": []byte(`{"version":"x","partitions":"p","brokerid":[],"endpoints":7,"leader":"a","isr":3,"config":[],"event":{},"broker":"b"}`),
		"strange values": []byte(`{"version":99,"partitions":[{"topic":"","partition":-1,"replicas":[-5]}],"broker":-1,"endpoints":["x"],"leader":-7,"leader_epoch":-2,"isr":[-1],` +
			`"controller_epoch":-1,"host":"","port":-9,"status":7,"features":null,"config":{"unclean.leader.election.enable":"perhaps"}}`),
	} {
		t.Run(name, func(t *testing.T) { withZooKeeper(t, 3, func(r *real) { r.litter(data) }) })
	}
}

// litter writes data everywhere and looks whether the cluster still works.
func (r *real) litter(data []byte) {
	r.t.Helper()
	s := r.members[3].client.Session()
	spec := func(name string) TopicSpec {
		return TopicSpec{Name: name, NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 3}, 1: {3, 2}}}
	}
	r.equal("outcome", outcomes(r.members[1].controller.CreateTopics(ctx, []TopicSpec{spec("good"), spec("a"), spec("b")}, time.Minute, false)),
		[]string{"good: 2 x 2 id=true", "a: 2 x 2 id=true", "b: 2 x 2 id=true"})
	kept := map[string]bool{} // what is not done with
	for _, path := range []string{
		"/brokers/ids/7", "/brokers/ids/x", "/brokers/topics/garbage", "/brokers/topics/a", "/brokers/topics/b/partitions/0/state",
		"/brokers/topics/b/partitions/1/state", "/config/topics/b", "/config/topics/garbage", "/admin/reassign_partitions", "/feature",
	} {
		kept[path] = true
	}
	settled := []string{
		"/admin/delete_topics/unknown", "/admin/preferred_replica_election", "/isr_change_notification/isr_change_0000000007",
		"/log_dir_event_notification/log_dir_event_0000000007", "/log_dir_event_notification/x",
	}
	for path := range kept {
		r.overwrite(s, path, data)
	}
	for _, path := range settled {
		r.overwrite(s, path, data)
	}
	r.settle()
	for round, id := range []cluster.BrokerID{1, 3} {
		r.equal("controllers", r.controllers(), []cluster.BrokerID{id})
		c := r.members[id].controller
		name := fmt.Sprint("new", round)
		r.equal("outcome", outcomes(c.CreateTopics(ctx, []TopicSpec{spec(name)}, time.Minute, false)), []string{name + ": 2 x 2 id=true"})
		results, err := c.AlterReassignments(ctx, []state.Move{{Partition: cluster.TopicPartition{Topic: name}, Replicas: []cluster.BrokerID{3, 2}}}, time.Minute)
		r.must(err)
		r.equal("moved", len(results) == 1 && results[0].Err == nil, true)
		if round == 0 {
			r.stop(2) // it leads
			r.settle()
			r.equal("leaders", r.states(3, "good", 2), []string{"3/1/[3]/1", "3/1/[3]/1"})
			r.stop(1) // it is controller
			r.settle()
		}
	}
	for path := range kept {
		got, _, err := s.Get(ctx, path)
		r.must(err)
		r.equal(path, string(got), string(data))
	}
	for _, path := range settled {
		_, there, err := s.Exists(ctx, path)
		r.must(err)
		r.equal(path+" is left", there, false)
	}
	// Deleted, a topic that nobody understands is gone.
	r.equal("outcome", outcomes(r.members[3].controller.DeleteTopics(ctx, []string{"garbage"}, time.Minute)), []string{"garbage: -1 x -1 id=false"})
	r.settle()
	for _, path := range []string{"/brokers/topics/garbage", "/config/topics/garbage", "/admin/delete_topics/garbage"} {
		_, there, err := s.Exists(ctx, path)
		r.must(err)
		r.equal(path+" is left", there, false)
	}
	// Repaired by hand, the topic is there again.
	r.must(s.Delete(ctx, "/brokers/ids/7", zk.AnyVersion))
	r.overwrite(s, "/brokers/topics/a", []byte(`{"version":1,"partitions":{"0":[3]}}`))
	r.settle()
	r.equal("leaders", r.states(3, "a", 1), []string{"3/2/[3]/2"})
	// A partition's state that was repaired is seen with the next broker.
	r.overwrite(s, "/brokers/topics/b/partitions/0/state", []byte(`{"version":1,"controller_epoch":1,"leader":2,"leader_epoch":4,"isr":[2,3]}`))
	r.start(4)
	r.settle()
	r.equal("leaders", r.states(3, "b", 1), []string{"3/5/[3]/2"})
}

// TestOnZooKeeperARegistrationBecomesGarbage writes nonsense over the registration of a broker that lives. It goes on to live and lead, until the node is
// another one.
func TestOnZooKeeperARegistrationBecomesGarbage(t *testing.T) {
	withZooKeeper(t, 2, func(r *real) {
		spec := TopicSpec{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 1}}}
		r.equal("outcome", outcomes(r.members[1].controller.CreateTopics(ctx, []TopicSpec{spec}, time.Minute, false)), []string{"a: 1 x 2 id=true"})
		s := r.members[1].client.Session()
		good, _, err := s.Get(ctx, znode.BrokerPath(2))
		r.must(err)
		r.overwrite(s, znode.BrokerPath(2), []byte("{"))
		r.settle()
		r.equal("leaders", r.states(1, "a", 1), []string{"2/0/[2 1]/1"})
		r.equal("brokers", r.members[1].controller.Stats().Counts.Brokers, 2)
		r.overwrite(s, znode.BrokerPath(2), good)
		r.settle()
		r.equal("leaders", r.states(1, "a", 1), []string{"2/0/[2 1]/1"})
		// One that is somebody else's says nothing of the broker.
		_, err = s.Multi(ctx, zk.DeleteOp(znode.BrokerPath(2), zk.AnyVersion), zk.CreateOp(znode.BrokerPath(2), []byte("{"), zk.Persistent))
		r.must(err)
		r.settle()
		r.equal("brokers", r.members[1].controller.Stats().Counts.Brokers, 1)
		r.settle()
		r.equal("leaders", r.states(1, "a", 1), []string{"1/1/[1]/1"})
	})
}

// overwrite writes a node, made if it is not there.
func (r *real) overwrite(s *zk.Session, path string, data []byte) {
	r.t.Helper()
	_, there, err := s.Exists(ctx, path)
	r.must(err)
	if !there {
		r.must(s.CreateAll(ctx, path, data))
		return
	}
	_, err = s.Set(ctx, path, data, zk.AnyVersion)
	r.must(err)
}

// TestOnZooKeeperTheControllersOwnNodesAreGarbage writes nonsense over /controller and /controller_epoch. Nobody can be elected with the second:
// nobody could say which epoch comes next. Once it is a number again, somebody is.
func TestOnZooKeeperTheControllersOwnNodesAreGarbage(t *testing.T) {
	withZooKeeper(t, 2, func(r *real) {
		s := r.members[2].client.Session()
		r.overwrite(s, znode.ControllerPath, []byte("{"))
		r.settle()
		r.equal("controllers", r.controllers(), []cluster.BrokerID{1})
		r.equal("outcome", outcomes(r.members[1].controller.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: 1 x 1 id=true"})
		r.overwrite(s, znode.ControllerEpochPath, []byte("seven"))
		r.settle()
		r.equal("answer", outcomes(r.members[1].controller.CreateTopics(ctx, []TopicSpec{auto("b")}, time.Minute, false)), []string{"b: REQUEST_TIMED_OUT: The request timed out."})
		<-time.After(time.Minute)
		r.equal("controllers", r.controllers(), []cluster.BrokerID(nil))
		r.overwrite(s, znode.ControllerEpochPath, []byte("7"))
		r.settle()
		r.equal("controllers", len(r.controllers()), 1)
		r.equal("leaders", r.states(1, "b", 1), []string{"1/0/[1]/8"})
	})
}
