package state

import (
	"fmt"
	"testing"

	"github.com/ottla/ottla/proto/cluster"
)

// BenchmarkBrokerFailure takes one of ten brokers away from 100,000 partitions with three replicas each: a third of them lose a
// replica, a tenth their leader. Commits succeed at once.
func BenchmarkBrokerFailure(b *testing.B) { benchmarkChange(b, -1) }

// BenchmarkFailover starts a reign over 100,000 partitions.
func BenchmarkFailover(b *testing.B) { benchmarkChange(b, 0) }

func benchmarkChange(b *testing.B, change int) {
	const topics, partitions = 100, 1000
	var brokers []Broker
	for id := range cluster.BrokerID(10) {
		brokers = append(brokers, Broker{ID: id, Epoch: cluster.BrokerEpoch(id) + 1})
	}
	e := Failover{Brokers: brokers, States: map[cluster.TopicPartition]LeaderAndISR{}}
	for n := range topics {
		t := Topic{Name: fmt.Sprintf("topic-%03d", n), ID: cluster.TopicID{byte(n + 1)}, Assignments: map[int32]Assignment{}}
		for index := range int32(partitions) {
			first := cluster.BrokerID(index) % 10
			ids := []cluster.BrokerID{first, (first + 1) % 10, (first + 2) % 10}
			t.Assignments[index] = Assignment{Replicas: ids}
			e.States[cluster.TopicPartition{Topic: t.Name, Partition: index}] = LeaderAndISR{Leader: first, ISR: ids}
		}
		e.Topics = append(e.Topics, t)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m := New(Options{Epoch: 1})
		if change < 0 {
			drain(m, m.Handle(e))
			b.StartTimer()
			drain(m, m.Handle(BrokerChange{Brokers: brokers[1:]}))
			continue
		}
		b.StartTimer()
		drain(m, m.Handle(e))
	}
}

// drain lets everything be committed.
func drain(m *Machine, s Step) {
	for !s.Done {
		results := make([]Result, len(s.Ops))
		for i, op := range s.Ops {
			results[i] = Result{Outcome: Done, Version: op.Version + 1}
		}
		s = m.Apply(results)
	}
}
