package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var orders = cluster.TopicPartition{Topic: "orders", Partition: 3}

// fataler is what helpers need of testing.TB and rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// batchOf builds a batch with a record for each value, with timestamps ts, ts+1, ….
func batchOf(t fataler, ts int64, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for i, v := range values {
		b.Append(ts+int64(i), []byte("key"), []byte(v), nil)
	}
	batch, err := b.Finish(record.None, record.DefaultLevel, -1, -1, -1, false)
	must(t, err)
	return batch
}

// pool is a BufferSource that knows what it lent.
type pool struct {
	mu   sync.Mutex
	lent map[*[]byte]bool
}

func (p *pool) Get(n int) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := make([]byte, n)
	if p.lent == nil {
		p.lent = map[*[]byte]bool{}
	}
	p.lent[&b] = true
	return &b
}

func (p *pool) Put(b *[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lent[b] {
		panic("a buffer came back that was not lent")
	}
	delete(p.lent, b)
}

func (p *pool) outstanding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lent)
}

// smallConfig makes segments and index intervals small enough for tests to cross them.
func smallConfig() Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 600
	cfg.IndexIntervalBytes = 100
	cfg.SegmentIndexBytes = 1024
	return cfg
}

func managerConfig(fsys vfs.FS, cfg Config) ManagerConfig {
	return ManagerConfig{
		FS: fsys, Dirs: []string{"/logs"}, Defaults: cfg, BrokerID: 1, ClusterID: "4Q1mTd1ZQ9mkB8mvYxNGlA",
		ProducerIDExpiration: 200 * 365 * 24 * time.Hour, // tests like small timestamps
	}
}

func tryOpen(fsys vfs.FS, cfg Config) (*Manager, error) {
	return OpenManager(context.Background(), managerConfig(fsys, cfg))
}

func openOn(t testing.TB, fsys vfs.FS, cfg Config) *Manager {
	t.Helper()
	m, err := tryOpen(fsys, cfg)
	must(t, err)
	if off := m.OfflineDirs(); len(off) > 0 {
		t.Fatalf("directories are offline: %v", off)
	}
	return m
}

func closeManager(t testing.TB, m *Manager) {
	t.Helper()
	must(t, m.Close(context.Background()))
}

// newLog creates the log of orders-3 on a new memory disk; the manager is closed at the end of the test.
func newLog(t testing.TB, cfg Config) (*Log, *vfs.Mem) {
	t.Helper()
	mem := vfs.NewMem()
	return newLogOn(t, mem, cfg), mem
}

func newLogOn(t testing.TB, fsys vfs.FS, cfg Config) *Log {
	t.Helper()
	m := openOn(t, fsys, cfg)
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	return l
}

// appendValues appends one batch and returns its first offset.
func appendValues(t testing.TB, l *Log, epoch cluster.LeaderEpoch, ts int64, values ...string) cluster.Offset {
	t.Helper()
	info, err := l.AppendAsLeader(batchOf(t, ts, values...), epoch)
	must(t, err)
	return info.FirstOffset
}

// rec is what tests compare.
type rec struct {
	Offset int64
	Value  string
	Time   int64
	Epoch  int32
}

// readAll reads the whole log through Read and checks that batches join and are undamaged.
func readAll(l *Log) ([]rec, error) {
	var p pool
	var got []rec
	next := l.LogStartOffset()
	for next < l.LogEndOffset() {
		f, err := l.Read(next, 300, l.LogEndOffset(), true, &p)
		if err != nil {
			return got, fmt.Errorf("read at %d: %w", next, err)
		}
		if f.Buf == nil {
			return got, fmt.Errorf("read at %d of %d found nothing", next, l.LogEndOffset())
		}
		rs, err := records(f.Data)
		if err != nil {
			return got, err
		}
		for _, r := range rs {
			if r.Offset >= int64(next) {
				got = append(got, r)
			}
		}
		if f.NextOffset <= next {
			return got, fmt.Errorf("read at %d goes on at %d", next, f.NextOffset)
		}
		next = f.NextOffset
		p.Put(f.Buf)
	}
	if n := p.outstanding(); n > 0 {
		return got, fmt.Errorf("%d buffers were not returned", n)
	}
	return got, nil
}

// records decodes batches.
func records(data []byte) ([]rec, error) {
	var got []rec
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return got, err
		}
		if !b.CheckCRC() {
			return got, fmt.Errorf("batch %d fails its checksum", b.BaseOffset())
		}
		for r, err := range b.Records(nil) {
			if err != nil {
				return got, err
			}
			got = append(got, rec{r.Offset, string(r.Value), r.Timestamp, b.PartitionLeaderEpoch()})
		}
		data = rest
	}
	return got, nil
}

// checkDense reports records whose offsets do not follow each other, or do not fill the log.
func checkDense(l *Log, got []rec) error {
	next := int64(l.LogStartOffset())
	for _, r := range got {
		if r.Offset != next {
			return fmt.Errorf("offset %d follows %d", r.Offset, next-1)
		}
		next++
	}
	if next != int64(l.LogEndOffset()) {
		return fmt.Errorf("records end at %d, the log at %d", next, l.LogEndOffset())
	}
	return nil
}

// checkLookups compares lookups by offset and time with the records.
func checkLookups(l *Log, got []rec) error {
	var p pool
	for _, r := range got {
		f, err := l.Read(cluster.Offset(r.Offset), 1, l.LogEndOffset(), true, &p)
		if err != nil {
			return fmt.Errorf("read at %d: %w", r.Offset, err)
		}
		if f.Buf == nil || f.FirstOffset > cluster.Offset(r.Offset) || f.NextOffset <= cluster.Offset(r.Offset) {
			return fmt.Errorf("read at %d found %d..%d", r.Offset, f.FirstOffset, f.NextOffset)
		}
		p.Put(f.Buf)
		at, found, err := l.OffsetForTimestamp(r.Time, l.LogEndOffset())
		want := firstAt(got, r.Time)
		if err != nil || !found || int64(at.Offset) != want.Offset || at.Timestamp != want.Time {
			return fmt.Errorf("offset for time %d is %+v (%v, %v), want %+v", r.Time, at, found, err, want)
		}
	}
	return nil
}

func firstAt(rs []rec, ts int64) rec {
	for _, r := range rs {
		if r.Time >= ts {
			return r
		}
	}
	return rec{Offset: -1, Time: -1, Epoch: -1}
}

// checkEpochs compares the epoch cache with the records.
func checkEpochs(l *Log, got []rec) error {
	entries := l.EpochEntries()
	for i := 1; i < len(entries); i++ {
		if entries[i].Epoch <= entries[i-1].Epoch || entries[i].StartOffset <= entries[i-1].StartOffset {
			return fmt.Errorf("epochs do not rise: %v", entries)
		}
	}
	for _, r := range got {
		if e := epoch.At(entries, cluster.Offset(r.Offset)); int32(e) != r.Epoch {
			return fmt.Errorf("offset %d has epoch %d, the cache says %d: %v", r.Offset, r.Epoch, e, entries)
		}
	}
	return nil
}

// checkAll runs all checks and returns the records.
func checkAll(l *Log) ([]rec, error) {
	got, err := readAll(l)
	return got, errors.Join(err, checkDense(l, got), checkLookups(l, got), checkEpochs(l, got), checkProducers(l))
}

// checkTrimmed is checkAll for logs that may have lost their first segments.
func checkTrimmed(l *Log) ([]rec, error) {
	if l.Segments()[0] == 0 {
		return checkAll(l)
	}
	got, err := readAll(l)
	return got, errors.Join(err, checkDense(l, got), checkLookups(l, got), checkEpochs(l, got), checkProducersOf(l))
}

func at(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }
