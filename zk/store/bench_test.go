package store

import (
	"testing"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/zktest/apachezk"
)

// BenchmarkFailover measures what a new controller does with ten thousand partitions: read all states, and elect leaders
// for all of them.
func BenchmarkFailover(b *testing.B) {
	for _, server := range []string{"embedded", "apache"} {
		b.Run(server, func(b *testing.B) {
			e := &env{}
			if server == "apache" {
				e.addr = apachezk.Start(b)
			} else {
				e.addr = startEmbedded(b)
			}
			const n = 10_000
			ctx := b.Context()
			st := e.store(b, e.chroot())
			tx := elect(b, st, 1)
			must(b, st.CreateTopic(ctx, "t", topicOf(n), nil))
			writes := make([]StateWrite, n)
			for i, tp := range tps("t", n) {
				writes[i] = StateWrite{Partition: tp, State: state(1, 0)}
			}
			_, err := tx.CreateStates(ctx, writes)
			must(b, err)
			b.Run("read", func(b *testing.B) {
				for b.Loop() {
					got, err := st.PartitionStates(ctx, tps("t", n))
					if must(b, err); len(got) != n {
						b.Fatal(len(got))
					}
				}
			})
			expected := cluster.PartitionEpoch(0)
			b.Run("write", func(b *testing.B) {
				for b.Loop() {
					for i := range writes {
						writes[i].Expected = expected
					}
					results, err := tx.SetStates(ctx, writes)
					must(b, err)
					expected = results[0].Epoch
				}
			})
		})
	}
}
