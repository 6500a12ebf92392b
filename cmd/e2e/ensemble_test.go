package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/zktest/apachezk"
	"github.com/ottla/ottla/zk/znode"
)

// ensembleSession is the brokers' session with the ensemble, as in docker-compose.yml.
const ensembleSession = 6 * time.Second

// TestEnsemble takes servers of an ensemble of three of Apache's ZooKeeper away from three brokers: kill -9 of a follower, kill -9 of the leader, SIGSTOP of the leader beyond the brokers'
// session, SIGSTOP of both followers for as long, kill -9 of all three and a new start. Producers and a consumer work as in [TestTorture] all the time, and settings and topics are changed. No record
// may fail, and where ZooKeeper has a leader again well within the session no broker may lose its session and no leader may move. How long nothing could be written to
// ZooKeeper is printed.
//
// It runs when OTTLA_E2E_ENSEMBLE is set, since three Java processes need some room.
func TestEnsemble(t *testing.T) {
	if os.Getenv("OTTLA_E2E_ENSEMBLE") == "" {
		t.Skip("OTTLA_E2E_ENSEMBLE is not set: no ensemble is started")
	}
	r := &ensembleRun{torture: &torture{t: t, history: history.New(time.Now), counts: map[evil]int{}}, refusals: map[string]int{}}
	r.ensemble = apachezk.StartEnsemble(t, 3)
	r.cluster = &tortured{t: t, dir: tortureDir(t), bin: ottla(t), zkAddr: r.ensemble.Connect()}
	t.Cleanup(r.keepOutput)
	r.start = time.Now()
	r.cluster.startBrokers(ensembleSession)
	r.prepare()
	r.work()
	r.administer()
	r.whole(r.counted())
	r.suffer("kill -9 of a follower", ensembleSession/3, func() func() {
		_, followers := r.roles()
		followers[0].Kill()
		return r.run
	})
	r.suffer("kill -9 of the leader", ensembleSession/2, func() func() {
		leader, _ := r.roles()
		leader.Kill()
		return r.run
	})
	r.suffer("SIGSTOP of the leader", ensembleSession+2*time.Second, func() func() {
		leader, _ := r.roles()
		return r.freeze(leader)
	})
	// Not of the leader and one follower: ZooKeeper 3.8.0's leader may then go on in its old epoch, with both followers again, and commit nothing any more until it is restarted.
	r.suffer("SIGSTOP of both followers", ensembleSession+3*time.Second, func() func() {
		_, followers := r.roles()
		thaw := r.freeze(followers...)
		within(t, time.Minute, "the leader steps down", func() bool { return !r.ensemble.Led() })
		return thaw
	})
	r.suffer("kill -9 of all, and a new start", 0, func() func() {
		for _, s := range r.ensemble.Servers {
			s.Kill()
		}
		return r.run
	})
	r.retire()
	if report := r.judge(); report.Failed > 0 {
		t.Errorf("%d records failed, the first with: %v", report.Failed, report.FirstError)
	}
	if r.deaths > 0 {
		t.Errorf("%d brokers have ended", r.deaths)
	}
}

// ensembleRun is a torture of the ensemble only, with somebody who changes settings and topics meanwhile.
type ensembleRun struct {
	*torture
	ensemble *apachezk.Ensemble

	settings [3]pace // changes of settings through each broker
	topics   pace    // creations and deletions of topics, by the controller
	retire   func()  // ends them

	mu       sync.Mutex
	refusals map[string]int // changes that were not made, by what
}

// keepOutput writes what the servers of the ensemble have printed beside the logs of the brokers.
func (r *ensembleRun) keepOutput() {
	for i, s := range r.ensemble.Servers {
		if err := os.WriteFile(filepath.Join(r.cluster.dir, fmt.Sprintf("zookeeper-%d.log", i+1)), []byte(s.Output()), 0o600); err != nil {
			r.t.Error(err)
		}
	}
}

// roles waits until the ensemble is whole and returns who leads it and who follows.
func (r *ensembleRun) roles() (leader *apachezk.Server, followers []*apachezk.Server) {
	r.t.Helper()
	within(r.t, time.Minute, "the ensemble is whole", func() bool {
		leader, followers = r.ensemble.Roles()
		return leader != nil && len(followers) == 2
	})
	return leader, followers
}

// run starts what does not run of the ensemble.
func (r *ensembleRun) run() {
	r.t.Helper()
	if err := r.ensemble.Run(); err != nil {
		r.t.Fatal(err)
	}
}

// freeze stops servers where they are and returns what lets them go on.
func (r *ensembleRun) freeze(servers ...*apachezk.Server) (thaw func()) {
	r.t.Helper()
	for _, s := range servers {
		if err := s.Freeze(); err != nil {
			r.t.Fatal(err)
		}
	}
	return func() {
		for _, s := range servers {
			if err := s.Thaw(); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// administer begins to change a setting of each broker, and to create and delete topics, again and again.
func (r *ensembleRun) administer() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	r.retire = func() { cancel(); wg.Wait() }
	r.t.Cleanup(r.retire)
	keep := func(what string, p *pace, pause time.Duration, act func(a *admin.Admin, i int) error) {
		a := admin.New(r.dial(client.RequestTimeout(30 * time.Second))) // longer than anything is to take, else it would be asked for twice
		wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				switch err := act(a, i); {
				case err == nil:
					p.step()
				case ctx.Err() == nil:
					r.refused(what, err)
				}
				<-tick.C
			}
		})
	}
	for id := range r.settings {
		name := strconv.Itoa(id + 1)
		keep("a setting through broker "+name, &r.settings[id], 250*time.Millisecond, func(a *admin.Admin, i int) error {
			// What throttled replicas may take does not matter while there are none.
			change := admin.ConfigChange{Name: "leader.replication.throttled.rate", Op: ottlapb.AlterConfigOperation_ALTER_CONFIG_OPERATION_SET, Value: strconv.Itoa(1e9 + i)}
			outcomes, err := a.AlterConfigs(ctx, []admin.ConfigAlteration{{Type: ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER, Name: name, Changes: []admin.ConfigChange{change}}}, false)
			if err == nil {
				err = outcomes[0]
			}
			return err
		})
	}
	keep("a topic", &r.topics, 100*time.Millisecond, func(a *admin.Admin, i int) error {
		name := fmt.Sprint("made-", i)
		created, err := a.CreateTopics(ctx, []admin.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}}, admin.CreateOptions{})
		if err == nil {
			err = created[0].Err
		}
		if err != nil {
			return err
		}
		deleted, err := a.DeleteTopics(ctx, []string{name}, 0)
		if err == nil {
			err = deleted[0].Err
		}
		return err
	})
}

// refused counts a change that was not made, and logs the first of each fault.
func (r *ensembleRun) refused(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals[what]++; r.refusals[what] == 1 {
		r.logf("  %s: %v", what, err)
	}
}

// refusedSince returns how many changes were not made since the last call.
func (r *ensembleRun) refusedSince() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, count := range r.refusals {
		n += count
	}
	r.refusals = map[string]int{}
	return n
}

// paces returns who has to go on.
func (r *ensembleRun) paces() (all []*pace) {
	for i := range r.acked {
		all = append(all, &r.acked[i])
	}
	return append(all, r.administrative()...)
}

// administrative returns the paces of what is written to ZooKeeper.
func (r *ensembleRun) administrative() (all []*pace) {
	for i := range r.settings {
		all = append(all, &r.settings[i])
	}
	return append(all, &r.topics)
}

// counted returns the number of successes of each pace.
func (r *ensembleRun) counted() (counts []int) {
	for _, p := range r.paces() {
		counts = append(counts, p.count())
	}
	return counts
}

// whole waits until the ensemble is whole, all replicas are in sync, and everybody has had two more successes than counted: the first may have been on its way.
func (r *ensembleRun) whole(counted []int) {
	r.t.Helper()
	r.await("all replicas are in sync")
	within(r.t, toHeal, "everything can be done again", func() bool {
		for i, p := range r.paces() {
			if p.count() < counted[i]+2 {
				return false
			}
		}
		return true
	})
	within(r.t, time.Minute, "the ensemble is whole", r.ensemble.Whole)
}

// suffer lets one thing happen for a while, waits until all is well again, and prints what that has cost. Where the ensemble had a leader again well within the session, nothing may have
// changed.
func (r *ensembleRun) suffer(what string, hold time.Duration, begin func() (undo func())) {
	r.t.Helper()
	before := r.standing()
	for _, p := range r.paces() {
		p.lap()
	}
	r.refusedSince()
	r.logf("%s", what)
	start := time.Now()
	undo := begin()
	led := make(chan time.Duration, 1)
	go func() { led <- r.untilLed(start) }()
	<-time.After(hold)
	r.goesOn()
	undo()
	healed := time.Now()
	r.whole(r.counted())
	again := time.Since(healed)
	longest := func(paces ...*pace) (gap time.Duration) {
		for _, p := range paces {
			gap = max(gap, p.lap())
		}
		return gap.Round(time.Millisecond)
	}
	acked, administered := longest(r.paces()[:torturePartitions]...), longest(r.administrative()...)
	away, after := <-led, r.standing()
	r.logf("%s: ZooKeeper led again after %v; longest time without an acknowledgement of a partition %v, without a change by a broker or the controller %v (%d refused); all well %v after the end; %d leaders and %d sessions are new",
		what, away.Round(time.Millisecond), acked, administered, r.refusedSince(), again.Round(time.Millisecond), differences(before.leaders, after.leaders), differences(before.sessions, after.sessions))
	if diff := cmp.Diff(before, after, cmp.AllowUnexported(standing{})); away < ensembleSession*2/3 && diff != "" {
		r.t.Errorf("%s has changed what it need not (- before, + after):\n%s", what, diff)
	}
}

// untilLed waits until the ensemble has a leader that serves, and returns how long after start that was.
func (r *ensembleRun) untilLed(start time.Time) time.Duration {
	for !r.ensemble.Led() && r.t.Context().Err() == nil {
		<-time.After(20 * time.Millisecond)
	}
	return time.Since(start)
}

// goesOn waits until every partition has taken two more records than now, in the middle of what happens.
func (r *ensembleRun) goesOn() {
	r.t.Helper()
	counted := r.counted()
	within(r.t, toHeal, "records are acknowledged meanwhile", func() bool {
		for p := range torturePartitions {
			if r.acked[p].count() < counted[p]+2 {
				return false
			}
		}
		return true
	})
}

// standing is who has which part in the cluster.
type standing struct {
	controller cluster.ControllerEpoch
	leaders    map[cluster.TopicPartition]string
	sessions   map[cluster.BrokerID]cluster.BrokerEpoch // by the registration, which ends with the session
}

// standing reads it from ZooKeeper.
func (r *ensembleRun) standing() (now standing) {
	r.t.Helper()
	z, err := zk.Open(r.t.Context(), zk.Config{Connect: r.cluster.zkAddr, SessionTimeout: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = z.Close(context.WithoutCancel(r.t.Context())) }()
	now = standing{leaders: map[cluster.TopicPartition]string{}, sessions: map[cluster.BrokerID]cluster.BrokerEpoch{}}
	s := z.Session()
	st := store.New(s, store.NewOwnSessions())
	if err := s.Sync(r.t.Context(), "/"); err != nil {
		r.t.Fatal(err)
	}
	data, _, err := s.Get(r.t.Context(), znode.ControllerEpochPath)
	if err != nil {
		r.t.Fatal(err)
	}
	if now.controller, err = znode.DecodeControllerEpoch(znode.ControllerEpochPath, data); err != nil {
		r.t.Fatal(err)
	}
	brokers, err := st.Brokers(r.t.Context(), s)
	if err != nil {
		r.t.Fatal(err)
	}
	for id, b := range brokers {
		now.sessions[id] = b.Epoch
	}
	var all []cluster.TopicPartition
	for p := range torturePartitions {
		all = append(all, tortureTopic(p))
	}
	states, err := st.PartitionStates(r.t.Context(), all)
	if err != nil {
		r.t.Fatal(err)
	}
	for tp, s := range states {
		now.leaders[tp] = fmt.Sprintf("%d in epoch %d", s.Leader, s.LeaderEpoch)
	}
	return now
}

// differences counts the keys whose values differ.
func differences[K, V comparable](a, b map[K]V) (n int) {
	for k, v := range a {
		if b[k] != v {
			n++
		}
	}
	return n
}
