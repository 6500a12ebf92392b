package channel

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
)

// plainBroker is a broker in short: it carries out orders as F§2.10 says.
type plainBroker struct {
	Replicas map[cluster.TopicPartition]plainReplica
	Deleted  map[cluster.TopicPartition]bool // logs of an earlier life that are gone
	Leaders  map[cluster.TopicPartition]cluster.BrokerID
	Brokers  int
}

type plainReplica struct {
	Running bool
	Epoch   cluster.LeaderEpoch
}

func (b *plainBroker) do(body state.Body) {
	switch r := body.(type) {
	case *state.BecomeRequest:
		for _, p := range r.Partitions {
			if old, ok := b.Replicas[p.Partition]; !ok || p.State.LeaderEpoch > old.Epoch || !old.Running {
				b.Replicas[p.Partition] = plainReplica{true, p.State.LeaderEpoch}
			}
		}
	case *state.StopRequest:
		for _, p := range r.Partitions {
			if p.Delete {
				delete(b.Replicas, p.Partition)
				b.Deleted[p.Partition] = true
			} else if old, ok := b.Replicas[p.Partition]; ok {
				b.Replicas[p.Partition] = plainReplica{false, old.Epoch}
			}
		}
	case *state.MetadataRequest:
		b.Brokers = len(r.Brokers)
		for _, p := range r.Partitions {
			if b.Leaders[p.Partition] = p.State.Leader; p.State.Leader == cluster.LeaderDeleting {
				delete(b.Leaders, p.Partition)
			}
		}
	}
}

// TestFoldedOrdersDoWhatAllOfThemWould compares with doing one order after the other. Leader epochs grow, as a controller's do, and
// start anew after a deletion.
func TestFoldedOrdersDoWhatAllOfThemWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tp := rapid.Custom(func(t *rapid.T) cluster.TopicPartition {
			return cluster.TopicPartition{Topic: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"), Partition: rapid.Int32Range(0, 1).Draw(t, "partition")}
		})
		epochs := map[cluster.TopicPartition]cluster.LeaderEpoch{}
		var all []state.Body
		for range rapid.IntRange(0, 30).Draw(t, "orders") {
			on := rapid.SliceOfNDistinct(tp, 1, 3, rapid.ID).Draw(t, "partitions")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0, 1:
				r := &state.BecomeRequest{}
				for _, p := range on {
					epochs[p]++
					r.Partitions = append(r.Partitions, state.BecomePartition{Partition: p, State: state.LeaderAndISR{LeaderEpoch: epochs[p]}, New: rapid.Bool().Draw(t, "new")})
				}
				all = append(all, r)
			case 2:
				r := &state.StopRequest{}
				for _, p := range on {
					s := state.StopPartition{Partition: p, LeaderEpoch: epochs[p], Delete: rapid.Bool().Draw(t, "delete")}
					if s.Delete {
						s.LeaderEpoch, epochs[p] = cluster.LeaderEpochDeleting, 0
					}
					r.Partitions = append(r.Partitions, s)
				}
				all = append(all, r)
			case 3:
				r := &state.MetadataRequest{Brokers: make([]state.Broker, rapid.IntRange(0, 3).Draw(t, "brokers"))}
				for _, p := range on {
					leader := cluster.BrokerID(rapid.IntRange(-2, 3).Draw(t, "leader"))
					r.Partitions = append(r.Partitions, state.MetadataPartition{Partition: p, State: state.LeaderAndISR{Leader: leader}})
				}
				all = append(all, r)
			}
		}
		after := func(bodies []state.Body) plainBroker {
			b := plainBroker{
				Replicas: map[cluster.TopicPartition]plainReplica{}, Deleted: map[cluster.TopicPartition]bool{}, Leaders: map[cluster.TopicPartition]cluster.BrokerID{},
			}
			for _, body := range bodies {
				b.do(body)
			}
			return b
		}
		folded := Fold(all)
		if len(folded) > 4 {
			t.Fatalf("%d orders remain", len(folded))
		}
		// A replica that was stopped and started again has been running at the end either way; the rest is the same.
		if d := cmp.Diff(after(all), after(folded)); d != "" {
			t.Fatalf("(-all +folded):\n%s", d)
		}
		if d := cmp.Diff(after(folded), after(Fold(folded))); d != "" {
			t.Fatalf("folding twice (-once +twice):\n%s", d)
		}
	})
}

func TestAReplicaThatWasNewInAnOrderThatIsDroppedIsNewInTheOneThatRemains(t *testing.T) {
	order := func(epoch cluster.LeaderEpoch, isNew bool) state.Body {
		return &state.BecomeRequest{Partitions: []state.BecomePartition{
			{Partition: cluster.TopicPartition{Topic: "a"}, State: state.LeaderAndISR{LeaderEpoch: epoch}, New: isNew},
		}}
	}
	if d := cmp.Diff([]state.Body{order(2, true)}, Fold([]state.Body{order(0, true), order(1, false), order(2, false)})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestABrokerThatDoesNotAnswerGetsTheStateAndNotTheHistory(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.senders.Add(broker(1, "one"))
		const n = 10 * foldAt
		for i := range n {
			r.senders.Send(state.Request{Broker: 1, BrokerEpoch: 77, Body: &state.BecomeRequest{Partitions: []state.BecomePartition{
				{Partition: cluster.TopicPartition{Topic: "a", Partition: int32(i % 3)}, State: state.LeaderAndISR{LeaderEpoch: cluster.LeaderEpoch(i)}},
			}}})
			r.senders.Send(state.Request{Broker: 1, BrokerEpoch: 77, Body: brokersOnly(i + 1)})
		}
		snd := r.senders.senders[1]
		snd.mu.Lock()
		length := len(snd.queue)
		snd.mu.Unlock()
		if length > foldAt {
			t.Fatalf("%d orders are remembered", length)
		}
		rec := r.listen("one:9092")
		<-time.After(time.Minute)
		synctest.Wait()
		numbers := rec.numbers()
		if len(numbers) > foldAt || numbers[len(numbers)-1] != n {
			t.Fatalf("%v", numbers)
		}
	})
}
