package replica

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/metadata"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self cluster.BrokerID = 1

var epochZero = time.UnixMilli(1_700_000_000_000)

func ids(n ...cluster.BrokerID) []cluster.BrokerID { return n }

var orders0 = cluster.TopicPartition{Topic: "orders", Partition: 0}

// broker is a replica manager with real logs on a memory disk.
type broker struct {
	t       testing.TB
	fs      vfs.FS
	logs    *commitlog.Manager
	cache   *metadata.Cache
	m       *Manager
	now     time.Time
	minISR  int
	id      cluster.TopicID
	epoch   cluster.BrokerEpoch
	sender  Sender
	stopped bool
}

// startBroker opens the logs on a disk; the disk may be one that an earlier broker left.
func startBroker(t testing.TB, fs vfs.FS) *broker { return startBrokerIn(t, fs, "/logs") }

func startBrokerIn(t testing.TB, fs vfs.FS, dir string) *broker {
	t.Helper()
	b := &broker{t: t, fs: fs, cache: metadata.NewCache(), now: epochZero, minISR: 1, id: cluster.TopicID{9: 7}, epoch: 100, sender: Sender{ControllerID: self, ControllerEpoch: 5, BrokerEpoch: 100}}
	logs, err := commitlog.OpenManager(t.Context(), commitlog.ManagerConfig{
		FS: fs, Dirs: []string{dir}, Defaults: commitlog.DefaultConfig(), BrokerID: self, ClusterID: "c", Now: func() time.Time { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.logs = logs
	b.m = New(Config{
		BrokerID: self, BrokerEpoch: func() cluster.BrokerEpoch { return b.epoch }, Logs: logs, Metadata: b.cache,
		MinISR: func(string) int { return b.minISR }, Now: func() time.Time { return b.now },
	})
	t.Cleanup(b.stop)
	return b
}

func (b *broker) stop() {
	if b.stopped {
		return
	}
	b.stopped = true
	if err := b.m.Close(b.t.Context()); err != nil && b.t.Context().Err() == nil {
		b.t.Errorf("close replica manager: %v", err)
	}
	_ = b.logs.Close(b.t.Context())
}

// alive makes brokers known to be alive.
func (b *broker) alive(ids ...cluster.BrokerID) {
	var u metadata.Update
	for _, id := range ids {
		u.Brokers = append(u.Brokers, metadata.Broker{ID: id})
	}
	b.cache.Apply(u)
}

// state is an order for orders-0 in which replicas are all in sync.
func (b *broker) state(leader cluster.BrokerID, epoch cluster.LeaderEpoch, replicas ...cluster.BrokerID) PartitionState {
	return PartitionState{TopicPartition: orders0, TopicID: b.id, Leader: leader, LeaderEpoch: epoch, ISR: replicas, Replicas: replicas, IsNew: epoch == 0}
}

// order gives one order and returns the outcome of its only partition.
func (b *broker) order(s PartitionState) kerr.Code {
	b.t.Helper()
	code, outcomes := b.m.ApplyLeaderAndISR(LeaderAndISR{b.sender, []PartitionState{s}})
	if code != kerr.None || len(outcomes) != 1 || outcomes[0].TopicPartition != s.TopicPartition {
		b.t.Fatalf("order answered with %v and %v", code, outcomes)
	}
	return outcomes[0].Code
}

// lead makes the broker the leader of orders-0.
func (b *broker) lead(epoch cluster.LeaderEpoch, replicas ...cluster.BrokerID) *Partition {
	b.t.Helper()
	if code := b.order(b.state(self, epoch, replicas...)); code != kerr.None {
		b.t.Fatalf("order to lead in epoch %d: %v", epoch, code)
	}
	return b.held()
}

func (b *broker) held() *Partition {
	b.t.Helper()
	p, code := b.m.Partition(orders0)
	if code != kerr.None {
		b.t.Fatalf("partition %s: %v", orders0, code)
	}
	return p
}

// batchOf returns a batch of n records with timestamps from, from+1, …
func batchOf(t testing.TB, n int, from int64) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, 1<<20)
	for i := range n {
		if !b.Append(from+int64(i), nil, fmt.Appendf(nil, "value %d", i), nil) {
			t.Fatal("batch is full")
		}
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// add appends n records.
func (b *broker) add(p *Partition, n int, acks Acks) Appended {
	b.t.Helper()
	a, err := p.Append(batchOf(b.t, n, b.now.UnixMilli()), acks)
	if err != nil {
		b.t.Fatalf("append: %v", err)
	}
	return a
}

func consumer() *Reader {
	return &Reader{Replica: cluster.NoBroker, BrokerEpoch: cluster.NoBrokerEpoch}
}

func follower(id cluster.BrokerID) *Reader {
	return &Reader{Replica: id, BrokerEpoch: cluster.NoBrokerEpoch}
}

func from(offset cluster.Offset) *Position {
	return &Position{Offset: offset, CurrentLeaderEpoch: cluster.NoLeaderEpoch, LastFetchedEpoch: cluster.NoLeaderEpoch}
}

// read reads and gives the buffer back; it returns the range of offsets found.
func read(p *Partition, r *Reader, pos *Position) (res ReadResult, next cluster.Offset) {
	res = p.Read(r, pos, ReadSize{MaxBytes: 1 << 20, MinOneBatch: true, Report: true}, wire.Pool)
	next = pos.Offset
	if res.Fetched.Buf != nil {
		next = res.Fetched.NextOffset
		wire.Pool.Put(res.Fetched.Buf)
	}
	return res, next
}
