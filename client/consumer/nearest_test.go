package consumer_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/internal/fakecluster"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
)

// racks is a fake cluster in which broker 1 leads and sends consumers of rack r2 to broker 2. It notes who was asked with which rack.
type racks struct {
	*fakecluster.Cluster
	mu     sync.Mutex
	asked  []cluster.BrokerID // changes of the broker that is asked only
	act    *fakecluster.Act   // of broker 2
	online bool
}

func newRacks(t *testing.T) *racks {
	r := &racks{Cluster: fakecluster.New(t, 2), act: &fakecluster.Act{Follower: true}, online: true}
	r.CreateTopic("orders", 1)
	r.Fill(orders, 0, 1, 10, record.None)
	r.OnMetadata = func(_ cluster.BrokerID, m *ottlapb.MetadataResponse) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, topic := range m.GetTopics() {
			for _, p := range topic.GetPartitions() {
				p.Replicas = []int32{1, 2}
				if !r.online {
					p.OfflineReplicas = []int32{2}
				}
			}
		}
		return nil
	}
	r.OnFetch = func(c fakecluster.Call) *fakecluster.Act {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.asked); n == 0 || r.asked[n-1] != c.Broker {
			r.asked = append(r.asked, c.Broker)
		}
		if c.Broker == 2 {
			return r.act
		}
		if c.Rack == "r2" {
			return &fakecluster.Act{Preferred: 2}
		}
		return nil
	}
	return r
}

// set changes what broker 2 does and whether it is known to be online, and starts the list of who was asked afresh.
func (r *racks) set(act *fakecluster.Act, online bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.act, r.online, r.asked = act, online, nil
}

// wantSettled sees that in the long run only one broker is asked. Right after a change requests may be under way that were sent before it.
func (r *racks) wantSettled(t *testing.T, when string, on cluster.BrokerID) {
	t.Helper()
	<-time.After(2 * time.Second)
	r.forget()
	<-time.After(5 * time.Second)
	if diff := cmp.Diff([]cluster.BrokerID{on}, r.order()); diff != "" {
		t.Errorf("asked %s (-want +got):\n%s", when, diff)
	}
}

// forget starts the list of who was asked afresh.
func (r *racks) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = nil
}

func (r *racks) order() []cluster.BrokerID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *racks) start(t *testing.T) *consumer.Consumer {
	t.Helper()
	c := start(t, r.Cluster, consumer.Rack("r2"))
	assign(t, c, orders)
	if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
	r.wantSettled(t, "at the beginning", 2)
	return c
}

func TestTheNearestReplicaIsReadUntilTheMetadataIsOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRacks(t)
		c := r.start(t)
		r.set(&fakecluster.Act{Follower: true}, true)
		r.Fill(orders, 10, 1, 10, record.None)
		read(t, c, 10)
		<-time.After(5*time.Minute - 10*time.Second)
		if diff := cmp.Diff([]cluster.BrokerID{2}, r.order()); diff != "" {
			t.Errorf("asked before the metadata was old (-want +got):\n%s", diff)
		}
		<-time.After(15 * time.Second)
		if !slices.Contains(r.order(), 1) {
			t.Errorf("the leader was not asked again: %v", r.order())
		}
		r.wantSettled(t, "after that", 2)
		r.Fill(orders, 20, 1, 10, record.None)
		if diff := cmp.Diff(numbers(20, 29), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestErrorsOfTheNearestReplicaLeadBackToTheLeader(t *testing.T) {
	for _, code := range []kerr.Code{kerr.OffsetOutOfRange, kerr.NotLeaderOrFollower, kerr.UnknownLeaderEpoch, kerr.OffsetNotAvailable, kerr.KafkaStorageError} {
		t.Run(code.Name(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRacks(t)
				c := r.start(t)
				r.set(&fakecluster.Act{Code: code}, true)
				r.Fill(orders, 10, 1, 10, record.None)
				<-time.After(10 * time.Second)
				// The leader sends it there again and again, and the pauses grow.
				if n := len(r.order()); n < 4 || n > 60 || r.order()[1] != 1 {
					t.Errorf("asked %d times in 10 s: %v", n, r.order())
				}
				r.set(&fakecluster.Act{Follower: true}, true)
				if diff := cmp.Diff(numbers(10, 19), read(t, c, 10)); diff != "" {
					t.Errorf("the position was lost (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAReplicaThatIsOfflineIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRacks(t)
		c := r.start(t)
		r.OnFetch = nil
		r.set(nil, false)
		r.Kill(2)
		r.Fill(orders, 10, 1, 10, record.None)
		began := time.Now()
		if diff := cmp.Diff(numbers(10, 19), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestAReplicaThatOnlyTheLeaderCanReachIsAvoidedForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRacks(t)
		c := r.start(t)
		r.set(&fakecluster.Act{End: status.Error(codes.Unavailable, "no way")}, true)
		<-time.After(2 * time.Second) // until the request that waits there has been answered
		r.Fill(orders, 10, 1, 10, record.None)
		began := time.Now()
		if diff := cmp.Diff(numbers(10, 19), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("took %v until the leader served", d)
		}
		r.set(&fakecluster.Act{Follower: true}, true)
		<-time.After(20 * time.Second)
		if diff := cmp.Diff([]cluster.BrokerID{1}, r.order()); diff != "" {
			t.Errorf("asked in the next 20 s (-want +got):\n%s", diff)
		}
		<-time.After(15 * time.Second)
		r.wantSettled(t, "after 35 s", 2)
		r.Fill(orders, 20, 1, 10, record.None)
		if diff := cmp.Diff(numbers(20, 29), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestAReplicaThatTheMetadataDoesNotKnowYetIsReadSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRacks(t)
		r.set(&fakecluster.Act{Follower: true}, false)
		c := start(t, r.Cluster, consumer.Rack("r2"))
		assign(t, c, orders)
		<-time.After(50 * time.Millisecond)
		r.set(&fakecluster.Act{Follower: true}, true)
		began := time.Now()
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("took %v", d)
		}
		r.wantSettled(t, "then", 2)
	})
}

func TestAReplicaThatIsOfflineForTheMetadataOnlyIsAvoided(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRacks(t)
		r.set(&fakecluster.Act{Follower: true}, false)
		c := start(t, r.Cluster, consumer.Rack("r2"))
		assign(t, c, orders)
		if diff := cmp.Diff(numbers(0, 9), read(t, c, 10)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if !slices.Equal(r.order(), []cluster.BrokerID{1}) {
			t.Errorf("asked %v", r.order())
		}
	})
}
