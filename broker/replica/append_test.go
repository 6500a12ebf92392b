package replica

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/wire"
)

func outcomeOf(t *testing.T, w Wait) string {
	t.Helper()
	code, known := w.Outcome()
	if !known {
		return "waiting"
	}
	return code.Name()
}

func TestASingleReplicaAcknowledgesAtOnce(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	p := b.lead(0, self)
	a := b.add(p, 10, AcksAll)
	if got := outcomeOf(t, a.Wait); got != "NONE" {
		t.Errorf("outcome %s", got)
	}
	if a.Info.FirstOffset != 0 || a.Info.LastOffset != 9 || p.HighWatermark() != 10 {
		t.Errorf("offsets %d to %d, high watermark %d", a.Info.FirstOffset, a.Info.LastOffset, p.HighWatermark())
	}
}

func TestAllInSyncReplicasMustHaveTheBatch(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2, 3)
	p := b.lead(0, self, 2, 3)
	a := b.add(p, 5, AcksAll)
	steps := []struct {
		name  string
		fetch func()
		want  string
		hw    cluster.Offset
	}{
		{"nobody has fetched", func() {}, "waiting", 0},
		{"replica 2 asks for the first record: it has nothing", func() { read(p, follower(2), from(0)) }, "waiting", 0},
		{"replica 2 has everything", func() { read(p, follower(2), from(5)) }, "waiting", 0},
		{"replica 3 has nothing", func() { read(p, follower(3), from(0)) }, "waiting", 0},
		{"a consumer reads", func() { read(p, consumer(), from(0)) }, "waiting", 0},
		{"a replica that is not assigned reads", func() { read(p, follower(4), from(5)) }, "waiting", 0},
		{"replica 3 claims more than there is", func() { read(p, follower(3), from(6)) }, "waiting", 0},
		{"replica 3 has everything", func() { read(p, follower(3), from(5)) }, "NONE", 5},
	}
	for _, s := range steps {
		s.fetch()
		if got := outcomeOf(t, a.Wait); got != s.want || p.HighWatermark() != s.hw {
			t.Errorf("%s: %s with high watermark %d, want %s with %d", s.name, got, p.HighWatermark(), s.want, s.hw)
		}
	}
}

func TestAppendIsRefused(t *testing.T) {
	type setup func(t *testing.T) *Partition
	for _, c := range []struct {
		name  string
		setup setup
		acks  Acks
		want  kerr.Code
	}{
		{"by a follower", func(t *testing.T) *Partition {
			b := startBroker(t, vfs.NewMem())
			b.order(b.state(2, 0, 2, self))
			return b.held()
		}, AcksLeader, kerr.NotLeaderOrFollower},
		{"by a former leader", func(t *testing.T) *Partition {
			b := startBroker(t, vfs.NewMem())
			p := b.lead(0, self, 2)
			b.order(b.state(2, 1, 2, self))
			return p
		}, AcksLeader, kerr.NotLeaderOrFollower},
		{"when too few replicas are in sync", func(t *testing.T) *Partition {
			b := startBroker(t, vfs.NewMem())
			b.minISR = 2
			s := b.state(self, 0, self, 2)
			s.ISR = ids(self)
			b.order(s)
			return b.held()
		}, AcksAll, kerr.NotEnoughReplicas},
		{"after the disk failed", func(t *testing.T) *Partition {
			b := startBroker(t, vfs.NewMem())
			p := b.lead(0, self)
			b.m.DirFailed("/logs/")
			return p
		}, AcksLeader, kerr.KafkaStorageError},
		{"by a stopped replica", func(t *testing.T) *Partition {
			b := startBroker(t, vfs.NewMem())
			p := b.lead(0, self)
			b.m.ApplyStopReplica(StopReplica{b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: 0, Delete: false}}})
			return p
		}, AcksLeader, kerr.NotLeaderOrFollower},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.setup(t)
			before := p.log.LogEndOffset()
			_, err := p.Append(batchOf(t, 1, 0), c.acks)
			if got := kerr.CodeOf(err); got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if after := p.log.LogEndOffset(); after != before {
				t.Errorf("the log grew from %d to %d", before, after)
			}
		})
	}
}

func TestTooFewReplicasMatterForAcksAllOnly(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.minISR = 2
	s := b.state(self, 0, self, 2)
	s.ISR = ids(self)
	b.order(s)
	p := b.held()
	for _, acks := range []Acks{AcksLeader, AcksNone} {
		if _, err := p.Append(batchOf(t, 1, 0), acks); err != nil {
			t.Errorf("acks=%d: %v", acks, err)
		}
	}
	if _, err := p.Append(batchOf(t, 1, 0), AcksAll); kerr.CodeOf(err) != kerr.NotEnoughReplicas ||
		!strings.Contains(err.Error(), "current ISR 1 is insufficient to satisfy the min.isr requirement of 2 for partition orders-0") {
		t.Errorf("acks=all: %v", err)
	}
}

// A partition cannot do better than all of its replicas: min.insync.replicas beyond their number asks for all of them, as since Kafka 3.7.
func TestMinISRBeyondTheNumberOfReplicasMeansAllOfThem(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	b.minISR = 3
	p := b.lead(0, self, 2)
	a := b.add(p, 5, AcksAll)
	read(p, follower(2), from(5))
	if got := outcomeOf(t, a.Wait); got != "NONE" {
		t.Errorf("with all replicas in sync: %s", got)
	}
	s := b.state(self, 1, self, 2)
	s.ISR = ids(self)
	b.order(s)
	if _, err := p.Append(batchOf(t, 1, 0), AcksAll); kerr.CodeOf(err) != kerr.NotEnoughReplicas || !strings.Contains(err.Error(), "requirement of 2 for") {
		t.Errorf("with one replica in sync: %v", err)
	}
}

func TestAcknowledgementEndsWithTheLeadership(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	lost := b.add(p, 5, AcksAll)
	b.order(b.state(2, 1, 2, self))
	if got := outcomeOf(t, lost.Wait); got != "NOT_LEADER_OR_FOLLOWER" {
		t.Errorf("after the leadership was lost: %s", got)
	}
	p = b.lead(2, self, 2)
	read(p, follower(2), from(5))
	if p.HighWatermark() != 5 {
		t.Fatalf("high watermark %d, want 5", p.HighWatermark())
	}
	if got := outcomeOf(t, lost.Wait); got != "NOT_LEADER_OR_FOLLOWER" {
		t.Errorf("after the leadership came back: %s; what is at these offsets now may be another leader's", got)
	}
}

func TestAcknowledgementSurvivesAReelection(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	a := b.add(p, 5, AcksAll)
	b.lead(1, self, 2)
	if got := outcomeOf(t, a.Wait); got != "waiting" {
		t.Errorf("after the same leader was elected again: %s", got)
	}
	read(p, follower(2), from(5))
	if got := outcomeOf(t, a.Wait); got != "NONE" {
		t.Errorf("after the follower has it: %s", got)
	}
}

func TestTooFewReplicasAfterTheAppend(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	s := b.state(self, 0, self, 2, 3)
	s.ISR = ids(self, 2)
	b.order(s)
	p := b.held()
	a := b.add(p, 5, AcksAll)
	read(p, follower(2), from(5))
	b.minISR = 3
	b.m.TopicConfigChanged("orders")
	if got := outcomeOf(t, a.Wait); got != "NOT_ENOUGH_REPLICAS_AFTER_APPEND" {
		t.Errorf("outcome %s", got)
	}
}

func TestAwait(t *testing.T) {
	setup := func(t *testing.T) (*broker, *Partition, Wait) {
		b := startBroker(t, vfs.NewMem())
		b.alive(1, 2)
		p := b.lead(0, self, 2)
		return b, p, b.add(p, 5, AcksAll).Wait
	}
	type result struct {
		code kerr.Code
		err  error
	}
	await := func(ctx context.Context, w Wait, expired <-chan time.Time) chan result {
		done := make(chan result, 1)
		go func() {
			code, err := w.Await(ctx, nil, expired)
			done <- result{code, err}
		}()
		return done
	}
	t.Run("ends when the watermark gets there", func(t *testing.T) {
		_, p, w := setup(t)
		done := await(t.Context(), w, nil)
		read(p, follower(2), from(5))
		if r := <-done; r.code != kerr.None || r.err != nil {
			t.Errorf("got %v, %v", r.code, r.err)
		}
	})
	t.Run("ends when the time is over", func(t *testing.T) {
		_, p, w := setup(t)
		expired := make(chan time.Time)
		close(expired)
		if r := <-await(t.Context(), w, expired); r.code != kerr.RequestTimedOut {
			t.Errorf("got %v, %v", r.code, r.err)
		}
		if p.log.LogEndOffset() != 5 {
			t.Error("the records are gone")
		}
	})
	t.Run("ends when the leadership does", func(t *testing.T) {
		b, _, w := setup(t)
		done := await(t.Context(), w, nil)
		b.order(b.state(2, 1, 2, self))
		if r := <-done; r.code != kerr.NotLeaderOrFollower {
			t.Errorf("got %v, %v", r.code, r.err)
		}
	})
	t.Run("ends when the manager is closed", func(t *testing.T) {
		b, _, w := setup(t)
		done := await(t.Context(), w, nil)
		b.stop()
		if r := <-done; r.code != kerr.NotLeaderOrFollower {
			t.Errorf("got %v, %v", r.code, r.err)
		}
	})
	t.Run("ends when nobody wants to know any more", func(t *testing.T) {
		_, _, w := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := await(ctx, w, nil)
		cancel()
		if r := <-done; !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %v, %v", r.code, r.err)
		}
	})
	t.Run("leaves no registration behind", func(t *testing.T) {
		_, p, w := setup(t)
		expired := make(chan time.Time)
		close(expired)
		<-await(t.Context(), w, expired)
		if n := p.watchers.count.Load(); n != 0 {
			t.Errorf("%d signals are still registered", n)
		}
	})
}

func TestAnAppendCostsNoMemoryPerRecord(t *testing.T) {
	b := startBrokerIn(t, vfs.OS, t.TempDir()) // a memory disk has to allocate what is written
	p := b.lead(0, self)
	cost := func(records int) float64 {
		batch := batchOf(t, records, 0)
		return testing.AllocsPerRun(50, func() {
			batch.SetBaseOffset(0)
			if _, err := p.Append(batch, AcksAll); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := cost(10), cost(1000)
	if few > 2 || many > 2 {
		t.Errorf("%v allocations for 10 records, %v for 1000", few, many)
	}
}

func TestACopyCostsNoMemoryPerRecord(t *testing.T) {
	b := startBrokerIn(t, vfs.OS, t.TempDir())
	b.order(b.state(2, 0, 2, self))
	p := b.held()
	cost := func(records int) float64 {
		batch := batchOf(t, records, 0)
		batch.SetPartitionLeaderEpoch(0)
		return testing.AllocsPerRun(50, func() {
			end := p.LogEndOffset()
			batch.SetBaseOffset(int64(end))
			if err := p.replicate(0, &wire.FetchPartition{FetchOffset: end, HighWatermark: end, Records: batch}); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := cost(10), cost(1000)
	if few > 4 || many > 4 {
		t.Errorf("%v allocations for 10 records, %v for 1000", few, many)
	}
	if got := p.LogEndOffset(); got != 51*10+51*1000 {
		t.Errorf("the log ends at %d", got)
	}
}
