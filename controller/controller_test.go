package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/controller/channel"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// party is a world with some brokers, each with a controller.
type party struct {
	t *testing.T
	*world
	*delivery
	controllers map[cluster.BrokerID]*Controller
	sessions    map[cluster.BrokerID]*fakeSession
}

// inBubble runs a test with brokers 1 to n, of which 1 is controller.
func inBubble(t *testing.T, n int, adjust func(*Config), test func(p *party)) {
	synctest.Test(t, func(t *testing.T) {
		p := &party{
			t: t, world: newWorld(), delivery: &delivery{caches: map[cluster.BrokerID]*metadata.Cache{}, mute: map[cluster.BrokerID]bool{}},
			controllers: map[cluster.BrokerID]*Controller{}, sessions: map[cluster.BrokerID]*fakeSession{},
		}
		defer func() {
			for _, c := range p.controllers {
				if err := c.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}()
		for id := cluster.BrokerID(1); id <= cluster.BrokerID(n); id++ {
			p.caches[id] = metadata.NewCache()
			cfg := Config{
				BrokerID: id, Metadata: p.caches[id], InterBrokerListener: "PLAINTEXT", DeleteTopics: true, Channels: p.channels,
				Random: func(int) int { return 0 }, NumPartitions: 2,
			}
			if adjust != nil {
				adjust(&cfg)
			}
			p.controllers[id] = New(cfg)
			p.start(id)
		}
		test(p)
	})
}

// start registers a broker and lets it join in a new session.
func (p *party) start(id cluster.BrokerID) {
	p.register(id)
	p.sessions[id] = p.session(id)
	p.controllers[id].Join(p.sessions[id])
	synctest.Wait()
}

// active returns the brokers that believe to be controller.
func (p *party) active() []cluster.BrokerID {
	var out []cluster.BrokerID
	for id, c := range p.controllers {
		if c.IsActive() {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// sentSince returns what was sent after the first n orders.
func (p *party) sentSince(n int) []sent {
	p.delivery.mu.Lock()
	defer p.delivery.mu.Unlock()
	return slices.Clone(p.log[n:])
}

func (p *party) equal(what string, got, want any) {
	p.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		p.t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// outcome is a result in one line.
func outcome(r TopicResult) string {
	var e *kerr.Error
	if errors.As(r.Err, &e) {
		return fmt.Sprintf("%s: %s: %s", r.Name, e.Code.Name(), e.Text())
	}
	if r.Err != nil {
		return fmt.Sprintf("%s: %v", r.Name, r.Err)
	}
	return fmt.Sprintf("%s: %d x %d id=%t", r.Name, r.NumPartitions, r.ReplicationFactor, !r.ID.IsZero())
}

func outcomes(rs []TopicResult) []string {
	var out []string
	for _, r := range rs {
		out = append(out, outcome(r))
	}
	return out
}

var ctx = context.Background()

// auto is a topic with everything left to the defaults.
func auto(name string) TopicSpec {
	return TopicSpec{Name: name, NumPartitions: -1, ReplicationFactor: -1}
}

func TestABrokerAloneElectsItselfAndCreatesATopic(t *testing.T) {
	inBubble(t, 1, nil, func(p *party) {
		c := p.controllers[1]
		p.equal("active", p.active(), []cluster.BrokerID{1})
		p.equal("active id", c.ActiveID(), cluster.BrokerID(1))
		got := c.CreateTopics(ctx, []TopicSpec{auto("orders")}, time.Minute, false)
		p.equal("result", outcomes(got), []string{"orders: 2 x 1 id=true"})
		tp := cluster.TopicPartition{Topic: "orders", Partition: 1}
		p.equal("state", p.snapshot()[tp], state.LeaderAndISR{Leader: 1, ISR: []cluster.BrokerID{1}, ControllerEpoch: 1})
		topic, ok := p.caches[1].Image().Topic("orders")
		p.equal("in metadata", ok, true)
		p.equal("id", topic.ID, got[0].ID)
		synctest.Wait() // the numbers come after the answer
		stats := c.Stats()
		p.equal("stats", stats, Stats{Active: true, Epoch: 1, Counts: state.Counts{Brokers: 1, Topics: 1, Partitions: 2}})
	})
}

func TestRefusals(t *testing.T) {
	adjust := func(c *Config) {
		c.ValidateTopicConfig = func(config map[string]string) error {
			if _, ok := config["bad"]; ok {
				return kerr.InvalidConfig.With("Unknown topic config name: bad")
			}
			return nil
		}
	}
	inBubble(t, 1, adjust, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{auto("there"), auto("a.b")}, time.Minute, false)
		tests := []struct {
			spec TopicSpec
			want string
		}{
			{auto("there"), "there: TOPIC_ALREADY_EXISTS: Topic 'there' already exists."},
			{TopicSpec{Name: "x", NumPartitions: 1, ReplicationFactor: 3}, "x: INVALID_REPLICATION_FACTOR: Replication factor: 3 larger than available brokers: 1."},
			{TopicSpec{Name: "x", NumPartitions: 0, ReplicationFactor: 1}, "x: INVALID_PARTITIONS: Number of partitions must be larger than 0."},
			{TopicSpec{Name: "x", NumPartitions: 1, ReplicationFactor: 0}, "x: INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0."},
			{TopicSpec{Name: "x", NumPartitions: 1 << 30, ReplicationFactor: 1}, "x: INVALID_PARTITIONS: Number of partitions must not be larger than 100000."},
			{auto("a b"), "a b: INVALID_TOPIC_EXCEPTION: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
			{auto("a_b"), "a_b: INVALID_TOPIC_EXCEPTION: Topic 'a_b' collides with existing topics: a.b"},
			{TopicSpec{Name: "x", NumPartitions: 1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {1}}},
				"x: INVALID_REQUEST: Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time."},
			{TopicSpec{Name: "x", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{1: {1}}},
				"x: INVALID_REPLICA_ASSIGNMENT: partitions should be a consecutive 0-based integer sequence"},
			{TopicSpec{Name: "x", NumPartitions: 1, ReplicationFactor: 1, Configs: map[string]string{"bad": ""}}, "x: INVALID_CONFIG: Unknown topic config name: bad"},
		}
		for _, tt := range tests {
			for _, validateOnly := range []bool{true, false} {
				p.equal("outcome", outcomes(c.CreateTopics(ctx, []TopicSpec{tt.spec}, time.Minute, validateOnly)), []string{tt.want})
			}
		}
		p.equal("twice in one request", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("y"), auto("z"), auto("y")}, time.Minute, false)), []string{
			"y: INVALID_REQUEST: Found multiple entries for this topic.", "z: 2 x 1 id=true", "y: INVALID_REQUEST: Found multiple entries for this topic.",
		})
		p.equal("validated only", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("w")}, 0, true)), []string{"w: 2 x 1 id=false"})
		synctest.Wait() // the numbers are those of the last event that was handled
		p.equal("not created", c.Stats().Counts.Topics, 3)
		p.equal("auto created", c.AutoCreateTopic(ctx, auto("v")), nil)
		p.equal("auto created twice", outcome(failed("v", c.AutoCreateTopic(ctx, auto("v")))), "v: TOPIC_ALREADY_EXISTS: Topic 'v' already exists.")
	})
}

func TestCreationGoesOnAfterTheTimeout(t *testing.T) {
	inBubble(t, 1, nil, func(p *party) {
		c := p.controllers[1]
		p.equal("no time", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("a")}, 0, false)), []string{"a: REQUEST_TIMED_OUT: " + kerr.RequestTimedOut.Message()})
		synctest.Wait()
		if _, ok := p.caches[1].Image().Topic("a"); !ok {
			t.Fatal("the topic was not created")
		}
		p.delivery.mu.Lock()
		p.mute[1] = true
		p.delivery.mu.Unlock()
		start := time.Now()
		p.equal("nobody hears", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("b")}, 5*time.Second, false)), []string{"b: REQUEST_TIMED_OUT: " + kerr.RequestTimedOut.Message()})
		p.equal("waited", time.Since(start), 5*time.Second)
		p.equal("leader", p.snapshot()[cluster.TopicPartition{Topic: "b"}].Leader, cluster.BrokerID(1))
	})
}

func TestDeletion(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 2, ReplicationFactor: 2}}, time.Minute, false)
		p.equal("outcomes", outcomes(c.DeleteTopics(ctx, []string{"a", "b", "c", "c"}, time.Minute)), []string{
			"a: -1 x -1 id=false", "b: UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Message(),
			"c: INVALID_REQUEST: Found multiple entries for this topic.", "c: INVALID_REQUEST: Found multiple entries for this topic.",
		})
		synctest.Wait()
		p.equal("states", len(p.snapshot()), 0)
		p.equal("topics", len(p.topics), 0)
		p.equal("created again", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: 2 x 1 id=true"})
	})
}

func TestDeletionSwitchedOff(t *testing.T) {
	inBubble(t, 1, func(c *Config) { c.DeleteTopics = false }, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)
		p.equal("outcome", outcomes(c.DeleteTopics(ctx, []string{"a"}, time.Minute)), []string{"a: TOPIC_DELETION_DISABLED: " + kerr.TopicDeletionDisabled.Message()})
	})
}

func TestOthersAreNotControllerAndTakeOverWhenTheSessionEnds(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		p.equal("active", p.active(), []cluster.BrokerID{1})
		p.equal("active id at 3", p.controllers[3].ActiveID(), cluster.BrokerID(1))
		p.equal("outcome", outcomes(p.controllers[2].CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: NOT_CONTROLLER: " + kerr.NotController.Message()})
		p.equal("outcome", outcomes(p.controllers[2].DeleteTopics(ctx, []string{"a"}, time.Minute)), []string{"a: NOT_CONTROLLER: " + kerr.NotController.Message()})
		p.equal("auto creation works anywhere", p.controllers[2].AutoCreateTopic(ctx, TopicSpec{Name: "a", NumPartitions: 1, ReplicationFactor: 3}), nil)
		synctest.Wait()
		tp := cluster.TopicPartition{Topic: "a"}
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(1))

		// 1 loses its session: its registration goes, the others elect, the new controller elects leaders.
		before := len(p.sentSince(0))
		p.sessions[1].expire()
		p.unregister(1)
		p.controllers[1].SessionExpired()
		synctest.Wait()
		active := p.active()
		if len(active) != 1 || active[0] == 1 {
			t.Fatalf("active: %v", active)
		}
		s := p.snapshot()[tp]
		p.equal("controller epoch of the state", s.ControllerEpoch, cluster.ControllerEpoch(2))
		p.equal("leader", s.Leader, cluster.BrokerID(2))
		for _, r := range p.sentSince(before) {
			if r.epoch != 2 {
				t.Fatalf("broker %d sent with epoch %d after it was deposed", r.from, r.epoch)
			}
		}
		p.equal("active id at 1", p.controllers[1].ActiveID(), cluster.NoBroker)

		// 1 comes back and follows.
		p.start(1)
		p.equal("active id at 1", p.controllers[1].ActiveID(), active[0])
		p.equal("in metadata of 1", p.caches[1].Image().ControllerID(), active[0])
		p.equal("leader in metadata of 1", must(p.caches[1].Image().Partition(tp)).Leader, cluster.BrokerID(2))
	})
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

func TestAControllerThatWasDeposedWithoutKnowingChangesNothing(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}}, time.Minute, false)
		// Somebody else is elected, and 1 does not hear of it before its next write.
		p.change(func() { p.epoch, p.controller = p.epoch+1, p.sessions[2] })
		before, sentBefore := p.snapshot(), len(p.sentSince(0))
		p.unregister(2)
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID(nil))
		p.equal("active id", c.ActiveID(), cluster.BrokerID(2))
		p.equal("states", p.snapshot(), before)
		for _, r := range p.sentSince(sentBefore) {
			if _, ok := r.Body.(*state.BecomeRequest); ok {
				t.Fatalf("sent %s", r.Body)
			}
		}
	})
}

func TestBrokersKnowALaterControllerEpoch(t *testing.T) {
	var out bytes.Buffer
	var latest channel.Config
	adjust := func(c *Config) {
		channels := c.Channels
		c.Channels = func(cfg channel.Config) Channels { latest = cfg; return channels(cfg) }
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Error})
	}
	inBubble(t, 2, adjust, func(p *party) {
		refused := latest.Deposed
		// Nobody else is controller: ZooKeeper has gone back in time.
		refused()
		refused()
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID{1})
		p.equal("complaints", strings.Count(out.String(), "write a larger number into /controller_epoch"), 1)
		// What an operator does about it.
		p.change(func() { p.epoch, p.controller = 100, nil }, Change{Kind: ControllerNodeChange})
		synctest.Wait()
		p.equal("active", len(p.active()), 1)
		p.equal("epoch", latest.Epoch, cluster.ControllerEpoch(101))
		// Somebody else is.
		refused = latest.Deposed
		p.change(func() { p.epoch, p.controller = p.epoch+1, p.sessions[3-p.active()[0]] })
		refused()
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID(nil))
		p.equal("complaints", strings.Count(out.String(), "write a larger number into /controller_epoch"), 1)
	})
}

func TestLostRepliesAreResolved(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		var losses atomic.Int32
		p.change(func() {
			p.commitFault = func(ops []state.Op) (bool, error) {
				if k := ops[0].Kind; k != state.SetState && k != state.CreateState {
					return false, nil
				}
				return losses.Add(1)%2 == 1, nil
			}
		})
		c := p.controllers[1]
		got := c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 3, ReplicationFactor: 3}}, time.Minute, false)
		p.equal("outcome", outcomes(got), []string{"a: 3 x 3 id=true"})
		p.unregister(2)
		synctest.Wait()
		p.register(2)
		synctest.Wait()
		for tp, s := range p.snapshot() {
			if s.Leader == 2 || s.LeaderEpoch > 2 || slices.Contains(s.ISR, 2) {
				t.Fatalf("%s: %s", tp, s)
			}
		}
		if losses.Load() < 2 {
			t.Fatal("nothing was lost")
		}
	})
}

func TestAControllerThatCannotGoOnResignsAndTriesAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newWorld(), &delivery{caches: map[cluster.BrokerID]*metadata.Cache{}}
		var failures atomic.Int32
		failures.Store(3)
		w.readFault = func(what string) error {
			if what == "brokers" && failures.Add(-1) >= 0 {
				return errors.New("injected")
			}
			return nil
		}
		w.register(1)
		c := New(Config{BrokerID: 1, Channels: d.channels})
		start := time.Now()
		c.Join(w.session(1))
		synctest.Wait()
		if c.IsActive() || c.ActiveID() != cluster.NoBroker {
			t.Fatal("active though it could not read the brokers")
		}
		<-time.After(electRetry * 10) // virtual time: lets all retries pass
		synctest.Wait()
		if !c.IsActive() || w.epoch != 4 {
			t.Fatalf("active %t, epoch %d after %s", c.IsActive(), w.epoch, time.Since(start))
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if c.IsActive() {
			t.Fatal("still active after Close")
		}
	})
}

func TestANewSessionNeedNotWaitForTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newWorld(), &delivery{caches: map[cluster.BrokerID]*metadata.Cache{}}
		failed := false
		w.readFault = func(what string) error {
			if what == "brokers" && !failed {
				failed = true
				return errors.New("injected")
			}
			return nil
		}
		w.register(1)
		c := New(Config{BrokerID: 1, Channels: d.channels})
		c.Join(w.session(1))
		synctest.Wait()
		if c.IsActive() {
			t.Fatal("active though it could not read the brokers")
		}
		c.SessionExpired()
		c.Join(w.session(1))
		synctest.Wait()
		if !c.IsActive() {
			t.Error("does not take part in the election in its next session")
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestExpiryOvertakesEverythingElse(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}}, time.Minute, false)
		p.change(func() { p.sessions[1].hangs = make(chan struct{}) })
		p.unregister(2)
		synctest.Wait() // the event loop hangs in a write now
		p.equal("active", p.active(), []cluster.BrokerID{1})
		p.register(2)
		synctest.Wait() // and an event waits behind it
		start := time.Now()
		c.SessionExpired()
		p.equal("took", time.Since(start), time.Duration(0))
		p.equal("active", p.active(), []cluster.BrokerID(nil))
		p.equal("outcome", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("b")}, time.Minute, false)), []string{"b: NOT_CONTROLLER: " + kerr.NotController.Message()})
	})
}

// A broker's death is dealt with although somebody asks for something all the time.
func TestWatchesNeedNotWaitForAnEmptyQueue(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		const dies, enough = 10, 1000
		rounds, noticed := 0, 0
		var ask func(context.Context)
		ask = func(context.Context) {
			rounds++
			if noticed == 0 && len(c.reign.machine.Brokers()) == 1 {
				noticed = rounds
			}
			if rounds == dies {
				p.unregister(2)
			}
			if rounds < enough && noticed == 0 {
				c.queue.put(event{name: "ask", run: ask})
			}
		}
		c.queue.put(event{name: "ask", run: ask})
		synctest.Wait()
		if noticed == 0 || noticed > dies+2 {
			t.Errorf("the death in round %d was noticed in round %d of %d", dies, noticed, rounds)
		}
	})
}

func TestAPauseEndsTheReignBeforeAnythingIsSent(t *testing.T) {
	inBubble(t, 1, nil, func(p *party) {
		before := len(p.sentSince(0))
		p.change(func() { p.sessions[1].over = true })
		p.controllers[1].queue.put(event{run: func(ctx context.Context) {
			c := p.controllers[1]
			c.inReign(ctx, c.reign, func(ctx context.Context) error { return c.drive(ctx, c.reign, state.BrokerChange{}) })
		}})
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID(nil))
		p.equal("sent", len(p.sentSince(before)), 0)
	})
}

func TestEverythingIsReadAgainAfterAReconnection(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}, auto("gone")}, time.Minute, false)
		// While the connection was away: 2 bounced, 3 left, partitions were added, a topic was created and another is to be deleted. No
		// watch has fired.
		p.change(func() {
			for _, f := range p.watches {
				f.armed = map[Change]bool{}
			}
			p.zxid++
			b := p.brokers[2]
			b.Epoch = cluster.BrokerEpoch(p.zxid)
			p.brokers[2] = b
			delete(p.brokers, 3)
			t := p.topics["a"]
			t.Assignments = map[int32]state.Assignment{0: t.Assignments[0], 1: {Replicas: []cluster.BrokerID{2}}}
			p.topics["a"] = t
			p.topics["new"] = state.Topic{Name: "new", ID: cluster.NewTopicID(), Assignments: map[int32]state.Assignment{0: {Replicas: []cluster.BrokerID{1}}}}
			p.deletions["gone"] = true
			for _, f := range p.watches {
				f.pushLocked(Change{Kind: EverythingChange})
			}
		})
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID{1})
		states := p.snapshot()
		p.equal("partition added", states[cluster.TopicPartition{Topic: "a", Partition: 1}].Leader, cluster.BrokerID(2))
		p.equal("topic added", states[cluster.TopicPartition{Topic: "new"}].Leader, cluster.BrokerID(1))
		_, there := states[cluster.TopicPartition{Topic: "gone"}]
		p.equal("topic deleted", there, false)
		p.equal("2 left the ISR when it bounced", states[cluster.TopicPartition{Topic: "a"}].ISR, []cluster.BrokerID{1})
		p.equal("brokers", p.controllers[1].Stats().Counts.Brokers, 2)

		// And the watches are set again.
		p.register(3)
		synctest.Wait()
		p.equal("brokers", p.controllers[1].Stats().Counts.Brokers, 3)
	})
}

func TestADeletionIsNotForgottenWhenItsTopicIsNews(t *testing.T) {
	inBubble(t, 1, nil, func(p *party) {
		// The marker is seen before the topic: only the deletions fire.
		p.change(func() {
			p.topics["a"] = state.Topic{Name: "a", ID: cluster.NewTopicID(), Assignments: map[int32]state.Assignment{0: {Replicas: []cluster.BrokerID{1}}}}
			p.deletions["a"] = true
		}, Change{Kind: DeletionsChange})
		synctest.Wait()
		p.equal("topics", len(p.topics), 0)
		p.equal("markers", len(p.deletions), 0)
	})
}

func TestALogDirectoryFails(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}}, time.Minute, false)
		before := len(p.sentSince(0))
		p.change(func() { p.logDirs = []cluster.BrokerID{2} }, Change{Kind: LogDirsChange})
		synctest.Wait()
		asked := slices.ContainsFunc(p.sentSince(before), func(r sent) bool {
			_, ok := r.Body.(*state.BecomeRequest)
			return ok && r.Broker == 2
		})
		p.equal("2 was asked", asked, true)
		p.equal("notification removed", len(p.logDirs), 0)
	})
}

func TestALeaderAsksForAnotherISR(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		req := state.AlterPartition{Broker: 1, BrokerEpoch: 1, Partitions: []state.AlterRequest{{Partition: tp, ISR: []cluster.BrokerID{1}}}}
		want := state.LeaderAndISR{Leader: 1, ISR: []cluster.BrokerID{1}, ControllerEpoch: 1, PartitionEpoch: 1}
		p.equal("reply", c.AlterPartition(ctx, req), state.AlterReply{Partitions: []state.AlterResult{{Partition: tp, State: want}}})
		p.equal("state", p.snapshot()[tp], want)
		p.equal("in metadata of 2", must(p.caches[2].Image().Partition(tp)).ISR, []cluster.BrokerID{1})
		p.equal("elsewhere", p.controllers[2].AlterPartition(ctx, req), state.AlterReply{Code: kerr.NotController})

		// The leader was told by a controller that this one has not heard of.
		p.change(func() { p.epoch, p.controller = p.epoch+1, p.sessions[2] })
		req.Partitions[0].PartitionEpoch = 7
		p.equal("code", c.AlterPartition(ctx, req).Partitions[0].Code, kerr.NotController)
		synctest.Wait()
		p.equal("active", p.active(), []cluster.BrokerID(nil))
	})
}

// What a leader has asked for and given up, while ZooKeeper did not answer, is not done when it does: it has asked for something else since.
func TestARequestThatWasGivenUpIsLeftUndone(t *testing.T) {
	inBubble(t, 3, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 3}}, time.Minute, false)
		tp := cluster.TopicPartition{Topic: "a"}
		s := p.snapshot()[tp]
		hangs := make(chan struct{})
		p.change(func() { p.sessions[1].hangs = hangs })
		p.unregister(3)
		synctest.Wait() // the event loop hangs in a write now
		brief, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		reply := c.AlterPartition(brief, state.AlterPartition{Broker: s.Leader, BrokerEpoch: p.brokers[s.Leader].Epoch, Partitions: []state.AlterRequest{
			{Partition: tp, LeaderEpoch: s.LeaderEpoch + 1, PartitionEpoch: s.PartitionEpoch + 1, ISR: []cluster.BrokerID{s.Leader}},
		}})
		p.equal("code", reply.Code, kerr.RequestTimedOut)
		p.change(func() { p.sessions[1].hangs = nil })
		close(hangs)
		synctest.Wait()
		p.equal("in sync", len(p.snapshot()[tp].ISR), 2)
	})
}

func TestABrokerShutsDownInOrder(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 2, ReplicationFactor: 2}}, time.Minute, false)
		remaining, err := c.ControlledShutdown(ctx, 2, 2)
		p.equal("error", err, nil)
		p.equal("remaining", len(remaining), 0)
		for tp, s := range p.snapshot() {
			p.equal(tp.String(), fmt.Sprint(s.Leader, s.ISR), "1 [1]")
		}
		_, err = c.ControlledShutdown(ctx, 2, 1)
		p.equal("an earlier registration", kerr.CodeOf(err), kerr.StaleBrokerEpoch)
		_, err = c.ControlledShutdown(ctx, 7, 1)
		p.equal("nobody", kerr.CodeOf(err), kerr.BrokerNotAvailable)
		_, err = p.controllers[2].ControlledShutdown(ctx, 2, 2)
		p.equal("elsewhere", kerr.CodeOf(err), kerr.NotController)
	})
}

func TestLeadershipReturnsByHandAndByItself(t *testing.T) {
	adjust := func(c *Config) { c.RebalanceInterval, c.ImbalancePercentage = time.Minute, 10 }
	inBubble(t, 2, adjust, func(p *party) {
		c := p.controllers[1]
		tp := cluster.TopicPartition{Topic: "a"}
		spec := TopicSpec{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 1}}}
		c.CreateTopics(ctx, []TopicSpec{spec}, time.Minute, false)
		bounce := func() {
			p.register(2)
			synctest.Wait()
			s := p.snapshot()[tp]
			p.equal("leader", s.Leader, cluster.BrokerID(1))
			c.AlterPartition(ctx, state.AlterPartition{Broker: 1, BrokerEpoch: 1, Partitions: []state.AlterRequest{
				{Partition: tp, ISR: []cluster.BrokerID{1, 2}, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch},
			}})
		}
		bounce()
		results, err := c.ElectLeaders(ctx, state.ElectLeaders{All: true}, time.Minute)
		p.equal("error", err, nil)
		p.equal("results", results, []state.ElectResult{{Partition: tp, Leader: 2}})
		p.equal("in metadata", must(p.caches[1].Image().Partition(tp)).Leader, cluster.BrokerID(2))
		bounce()
		<-time.After(2 * time.Minute)
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(2))

		// The elected leader does not get into the metadata of the controller: it times out.
		bounce()
		p.delivery.mu.Lock()
		p.mute[1] = true
		p.delivery.mu.Unlock()
		results, err = c.ElectLeaders(ctx, state.ElectLeaders{Partitions: []cluster.TopicPartition{tp}}, time.Second)
		p.equal("error", err, nil)
		p.equal("results", results, []state.ElectResult{{Partition: tp, Code: kerr.RequestTimedOut, Leader: cluster.NoBroker}})
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(2))
	})
}

func TestUncleanElectionIsSwitchedOn(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		tp := cluster.TopicPartition{Topic: "a"}
		spec := TopicSpec{Name: "a", NumPartitions: -1, ReplicationFactor: -1, Assignments: map[int32][]cluster.BrokerID{0: {2, 1}}}
		c.CreateTopics(ctx, []TopicSpec{spec}, time.Minute, false)
		c.AlterPartition(ctx, state.AlterPartition{Broker: 2, BrokerEpoch: 2, Partitions: []state.AlterRequest{{Partition: tp, ISR: []cluster.BrokerID{2}}}})
		p.unregister(2)
		synctest.Wait()
		p.equal("leader", p.snapshot()[tp].Leader, cluster.NoBroker)
		c.UncleanElectionEnabled("")
		synctest.Wait()
		p.equal("leader", p.snapshot()[tp].Leader, cluster.BrokerID(1))
	})
}

func TestRequestsThatWaitAreAnsweredWhenTheReignEnds(t *testing.T) {
	inBubble(t, 2, nil, func(p *party) {
		c := p.controllers[1]
		c.CreateTopics(ctx, []TopicSpec{{Name: "a", NumPartitions: 1, ReplicationFactor: 2}}, time.Minute, false)
		p.change(func() { p.sessions[1].hangs = make(chan struct{}) })
		codes := make(chan kerr.Code, 2)
		for range 2 { // one hangs in its write, one waits behind it
			go func() {
				_, err := c.ControlledShutdown(ctx, 2, 2)
				codes <- kerr.CodeOf(err)
			}()
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.ControlledShutdown(short, 2, 2)
		p.equal("impatient", kerr.CodeOf(err), kerr.RequestTimedOut)
		c.SessionExpired()
		p.equal("answer", <-codes, kerr.NotController)
		p.equal("answer", <-codes, kerr.NotController)
	})
}

func TestClosingTwiceAndUsingAClosedController(t *testing.T) {
	inBubble(t, 1, nil, func(p *party) {
		c := p.controllers[1]
		for range 2 {
			if err := c.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		c.SessionExpired()
		c.Join(p.session(1))
		p.equal("outcome", outcomes(c.CreateTopics(ctx, []TopicSpec{auto("a")}, time.Minute, false)), []string{"a: NOT_CONTROLLER: " + kerr.NotController.Message()})
	})
}
