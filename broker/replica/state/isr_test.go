package state

import (
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

var orders0 = cluster.TopicPartition{Topic: "orders", Partition: 0}

// account is a leadership of broker 9 in epoch 4, partition epoch 7, whose log ended at 100 when it began.
func account(isr ...cluster.BrokerID) *Leadership {
	l := newLeadership(9, ids(9, 1, 2), isr, 100, at(0))
	l.epoch, l.partitionEpoch = 4, 7
	return l
}

func fetchAt(l *Leadership, id cluster.BrokerID, second int, offset, leaderEnd cluster.Offset) {
	r := l.remote(id)
	r.progress = r.fetched(Mark{Offset: offset, LeaderEnd: leaderEnd, At: at(second), BrokerEpoch: 50 + cluster.BrokerEpoch(id)})
}

func TestWhoMayJoinTheInSyncSet(t *testing.T) {
	for _, c := range []struct {
		name      string
		isr       []cluster.BrokerID
		offset    cluster.Offset
		watermark cluster.Offset
		dead      bool
		change    func(l *Leadership)
		want      []cluster.BrokerID
	}{
		{name: "who has everything up to the high watermark and to the epoch's start", isr: ids(9, 1), offset: 110, watermark: 110, want: ids(9, 1, 2)},
		{name: "though the leader has more", isr: ids(9), offset: 110, watermark: 105, want: ids(9, 2)},
		{name: "not who lacks what was acknowledged", isr: ids(9, 1), offset: 109, watermark: 110},
		{name: "not who has not reached the start of the epoch, even if the high watermark is lower", isr: ids(9, 1), offset: 99, watermark: 90},
		{name: "not who has not fetched", isr: ids(9, 1), offset: cluster.UnknownOffset, watermark: 0},
		{name: "not who is dead", isr: ids(9, 1), offset: 110, watermark: 110, dead: true},
		{name: "not who is in", isr: ids(9, 1, 2), offset: 110, watermark: 110},
		{name: "nobody while a change is in flight", isr: ids(9, 1), offset: 110, watermark: 110, change: func(l *Leadership) { l.proposed = ids(9) }},
		{name: "nobody right after a refusal", isr: ids(9, 1), offset: 110, watermark: 110, change: func(l *Leadership) { l.notBefore = at(2) }},
	} {
		l := account(c.isr...)
		if c.offset != cluster.UnknownOffset {
			fetchAt(l, 2, 1, c.offset, 200)
		}
		if c.change != nil {
			c.change(l)
		}
		s := quietly(at(1))
		s.Alive = func(cluster.BrokerID) bool { return !c.dead }
		if got := l.expanded(2, c.watermark, s); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if l := account(9); l.expanded(5, 0, quietly(at(1))) != nil {
		t.Error("a broker that is not assigned may join")
	}
}

func TestWhoMustLeaveTheInSyncSet(t *testing.T) {
	for _, c := range []struct {
		name    string
		fetches func(l *Leadership)
		second  int
		want    []cluster.BrokerID
	}{
		{"nobody who was level less than the lag ago", func(l *Leadership) { fetchAt(l, 1, 5, 200, 200); fetchAt(l, 2, 5, 200, 200) }, 35, nil},
		{"nobody who never fetched, as long as the epoch is young", func(*Leadership) {}, 30, nil},
		{"who never fetched", func(l *Leadership) { fetchAt(l, 1, 5, 200, 200) }, 31, ids(9, 1)},
		{"who was level too long ago", func(l *Leadership) {
			fetchAt(l, 1, 5, 150, 150)
			fetchAt(l, 1, 30, 150, 200)
			fetchAt(l, 2, 30, 200, 200)
		}, 36, ids(9, 2)},
		{"nobody who has the leader's end, however long ago that was", func(l *Leadership) { fetchAt(l, 1, 5, 200, 200); fetchAt(l, 2, 5, 200, 200) }, 10_000, nil},
		{"all followers", func(*Leadership) {}, 40, ids(9)},
		{"at once who has lost what every member must have", func(l *Leadership) { fetchAt(l, 1, 5, 200, 200); fetchAt(l, 2, 6, 119, 200) }, 6, ids(9, 1)},
	} {
		l := account(9, 1, 2)
		c.fetches(l)
		if got := l.Shrunk(120, 200, quietly(at(c.second))); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		l.proposed = ids(9, 1, 2)
		if got := l.Shrunk(120, 200, quietly(at(c.second))); got != nil {
			t.Errorf("%s: %v while a change is in flight", c.name, got)
		}
	}
}

func TestWhoIsNoReplicaAnyMoreLeavesTheInSyncSet(t *testing.T) {
	l := newLeadership(9, ids(9, 1), ids(9, 1, 2), 0, at(0))
	if got := l.Shrunk(0, 0, quietly(at(1))); !slices.Equal(got, ids(9, 1)) {
		t.Errorf("%v, want 9 and 1", got)
	}
}

func TestWhatTheControllerIsAsked(t *testing.T) {
	l := account(9, 1)
	fetchAt(l, 1, 1, 150, 200)
	fetchAt(l, 2, 1, 150, 200)
	if _, ok := l.Change(orders0); ok {
		t.Error("there is something to ask without a proposal")
	}
	l.Propose(ids(9, 1, 2))
	c, ok := l.Change(orders0)
	// Only who joins must be who it was when it fetched (KIP-903).
	if !ok || c.LeaderEpoch != 4 || c.PartitionEpoch != 7 || !slices.Equal(c.ISR, ids(9, 1, 2)) || !slices.Equal(c.Epochs, []cluster.BrokerEpoch{-1, -1, 52}) {
		t.Errorf("%+v, %v", c, ok)
	}
	l.stuck = true
	if _, ok := l.Change(orders0); ok {
		t.Error("a leader that waits for an order asks")
	}
}

func TestWhoJoinsDoesSoUnderTheRegistrationThatItCaughtUpIn(t *testing.T) {
	l := account(9, 1)
	fetchAt(l, 2, 1, 150, 200)
	l.Propose(ids(9, 1, 2))
	r := l.remote(2) // restarts, has lost its tail, and fetches again before the controller has answered
	r.progress = r.fetched(Mark{Offset: 90, LeaderEnd: 200, At: at(2), BrokerEpoch: 99})
	if c, ok := l.Change(orders0); !ok || !slices.Equal(c.Epochs, []cluster.BrokerEpoch{-1, -1, 52}) {
		t.Errorf("%+v, %v: the controller cannot tell that it is not the same broker any more", c, ok)
	}
}

// ok8 says that a member has joined.
var ok8 = ISRResult{LeaderEpoch: 4, PartitionEpoch: 8, ISR: ids(9, 1, 2)}

func TestTheControllersAnswers(t *testing.T) {
	for _, c := range []struct {
		name        string
		result      ISRResult
		again       bool
		isr         []cluster.BrokerID
		maximal     int
		epoch       cluster.PartitionEpoch
		asks, wants bool // whether it asks again later, and whether it may propose something else
	}{
		{"it was written", ok8, false, ids(9, 1, 2), 3, 8, false, true},
		{"it had been written already", ISRResult{LeaderEpoch: 4, PartitionEpoch: 7, ISR: ids(9, 1, 2)}, false, ids(9, 1, 2), 3, 7, false, true},
		{"it was written before something older was read", ISRResult{LeaderEpoch: 4, PartitionEpoch: 6, ISR: ids(9)}, false, ids(9, 1), 3, 7, false, false},
		{"there is another leadership", ISRResult{LeaderEpoch: 5, PartitionEpoch: 9, ISR: ids(1)}, false, ids(9, 1), 3, 7, false, false},
		{"the member may not join", ISRResult{Code: kerr.IneligibleReplica}, false, ids(9, 1), 2, 7, false, false},
		{"nothing was tried", ISRResult{Code: kerr.OperationNotAttempted}, false, ids(9, 1), 2, 7, false, false},
		{"the partition is unknown", ISRResult{Code: kerr.UnknownTopicOrPartition}, false, ids(9, 1), 3, 7, false, false},
		{"the topic is unknown", ISRResult{Code: kerr.UnknownTopicID}, false, ids(9, 1), 3, 7, false, false},
		{"the epoch is over", ISRResult{Code: kerr.FencedLeaderEpoch}, false, ids(9, 1), 3, 7, false, false},
		{"it makes no sense", ISRResult{Code: kerr.InvalidRequest}, false, ids(9, 1), 3, 7, false, false},
		{"a leader was elected", ISRResult{Code: kerr.NewLeaderElected}, false, ids(9, 1), 3, 7, false, false},
		{"the write's outcome is not known", ISRResult{Code: kerr.InvalidUpdateVersion}, true, ids(9, 1), 3, 7, true, false},
		{"an earlier request was written after all", ISRResult{Code: kerr.InvalidUpdateVersion, LeaderEpoch: 4, PartitionEpoch: 9, ISR: ids(9, 2)}, false, ids(9, 2), 2, 9, false, true},
		{"the version is an old one, of another leadership", ISRResult{Code: kerr.InvalidUpdateVersion, LeaderEpoch: 5, PartitionEpoch: 9, ISR: ids(2)}, true, ids(9, 1), 3, 7, true, false},
		{"the controller does not know that state yet", ISRResult{Code: kerr.NotController}, true, ids(9, 1), 3, 7, true, false},
		{"anything else", ISRResult{Code: kerr.UnknownServerError}, true, ids(9, 1), 3, 7, true, false},
	} {
		l := account(9, 1)
		fetchAt(l, 2, 1, 150, 200)
		l.Propose(ids(9, 1, 2))
		asked, _ := l.Change(orders0)
		if got := l.Answered(&asked, &c.result, at(1)); got != c.again {
			t.Errorf("%s: again %v", c.name, got)
		}
		if !slices.Equal(l.isr, c.isr) || l.MaximalSize() != c.maximal || l.partitionEpoch != c.epoch {
			t.Errorf("%s: in-sync %v, maximal %d, partition epoch %d", c.name, l.isr, l.MaximalSize(), l.partitionEpoch)
		}
		if _, asks := l.Change(orders0); asks != c.asks {
			t.Errorf("%s: asks %v", c.name, asks)
		}
		if got := l.idle(at(1)); got != c.wants {
			t.Errorf("%s: may propose %v", c.name, got)
		}
	}
	t.Run("a refused member may be proposed again after a while", func(t *testing.T) {
		l := account(9, 1)
		l.Propose(ids(9, 1, 2))
		asked, _ := l.Change(orders0)
		l.Answered(&asked, &ISRResult{Code: kerr.IneligibleReplica}, at(1))
		if !l.idle(at(1).Add(time.Second)) {
			t.Error("not even after a second")
		}
	})
	t.Run("a refused member counts until nothing that was asked before can be done any more", func(t *testing.T) {
		for name, unsure := range map[string]func(l *Leadership){
			"a request was given up": func(l *Leadership) { l.Change(orders0) },
			"an outcome was not known": func(l *Leadership) {
				c, _ := l.Change(orders0)
				l.Answered(&c, &ISRResult{Code: kerr.InvalidUpdateVersion}, at(1))
			},
			"something went wrong": func(l *Leadership) {
				c, _ := l.Change(orders0)
				l.Answered(&c, &ISRResult{Code: kerr.UnknownServerError}, at(1))
			},
		} {
			for _, late := range []bool{false, true} {
				l := account(9, 1)
				l.Propose(ids(9, 1, 2))
				unsure(l)
				asked, _ := l.Change(orders0)
				if !l.Answered(&asked, &ISRResult{Code: kerr.IneligibleReplica}, at(1)) || l.MaximalSize() != 3 || l.idle(at(3)) {
					t.Fatalf("%s: maximal %d, may propose %v", name, l.MaximalSize(), l.idle(at(3)))
				}
				fence, ok := l.Change(orders0)
				if !ok || !fence.Fence || !slices.Equal(fence.ISR, ids(9, 1)) || fence.PartitionEpoch != 7 {
					t.Fatalf("%s: asks for %+v, %v", name, fence, ok)
				}
				if l.Answered(&asked, &ok8, at(1)); l.MaximalSize() != 3 {
					t.Errorf("%s: an answer to the request before counts", name)
				}
				r, want := ISRResult{LeaderEpoch: 4, PartitionEpoch: 8, ISR: ids(9, 1)}, ids(9, 1)
				if late {
					r, want = ISRResult{Code: kerr.InvalidUpdateVersion, LeaderEpoch: 4, PartitionEpoch: 8, ISR: ids(9, 1, 2)}, ids(9, 1, 2)
				}
				if l.Answered(&fence, &r, at(1)) || !slices.Equal(l.isr, want) || l.MaximalSize() != len(want) || l.partitionEpoch != 8 || !l.idle(at(3)) {
					t.Errorf("%s, late %v: in-sync %v, maximal %d, partition epoch %d", name, late, l.isr, l.MaximalSize(), l.partitionEpoch)
				}
				if _, ok := l.Change(orders0); ok {
					t.Errorf("%s: it still asks", name)
				}
			}
		}
	})
	t.Run("answers to something else are ignored", func(t *testing.T) {
		for name, change := range map[string]func(*ISRChange){
			"another set":               func(c *ISRChange) { c.ISR = ids(9) },
			"an earlier epoch":          func(c *ISRChange) { c.LeaderEpoch-- },
			"an earlier state":          func(c *ISRChange) { c.PartitionEpoch-- },
			"nothing that is in flight": nil,
		} {
			l := account(9, 1)
			l.Propose(ids(9, 1, 2))
			asked, _ := l.Change(orders0)
			if change != nil {
				change(&asked)
			} else {
				l.proposed = nil
			}
			if l.Answered(&asked, &ok8, at(1)) || !slices.Equal(l.isr, ids(9, 1)) || l.partitionEpoch != 7 {
				t.Errorf("%s: in-sync %v, partition epoch %d", name, l.isr, l.partitionEpoch)
			}
		}
	})
}
