package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
)

func TestLeaderAppend(t *testing.T) {
	l, _ := newLog(t, DefaultConfig())
	info, err := l.AppendAsLeader(batchOf(t, 500, "a", "b"), 3)
	must(t, err)
	if want := (AppendInfo{FirstOffset: 0, LastOffset: 1, LogAppendTime: -1, MaxTimestamp: 501}); !cmp.Equal(want, info) {
		t.Errorf("first append: %+v, want %+v", info, want)
	}
	info, err = l.AppendAsLeader(batchOf(t, 100, "c"), 4)
	must(t, err)
	if want := (AppendInfo{FirstOffset: 2, LastOffset: 2, LogAppendTime: -1, MaxTimestamp: 100}); !cmp.Equal(want, info) {
		t.Errorf("second append: %+v, want %+v", info, want)
	}
	got, err := checkAll(l)
	must(t, err)
	want := []rec{{0, "a", 500, 3}, {1, "b", 501, 3}, {2, "c", 100, 4}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if e, end, ok := l.EndOffsetForEpoch(3); e != 3 || end != 2 || !ok {
		t.Errorf("epoch 3 ends at %d, %d, %v", e, end, ok)
	}
}

func TestLeaderRefusesWhatIsWrong(t *testing.T) {
	good := func() record.Batch { return batchOf(t, 1000, "value") }
	tests := []struct {
		name  string
		cfg   func(*Config)
		batch func() record.Batch
		want  kerr.Code
	}{
		{"too large", func(c *Config) { c.MaxMessageBytes = 70 }, good, kerr.MessageTooLarge},
		{"larger than a segment", func(c *Config) { c.SegmentBytes = 70 }, good, kerr.RecordListTooLarge},
		{"damaged", nil, func() record.Batch { b := good(); b[65] ^= 1; return b }, kerr.CorruptMessage},
		{"numbered by the client", nil, func() record.Batch { b := good(); b.SetBaseOffset(5); return b }, kerr.InvalidRecord},
		{"too old", func(c *Config) { c.TimestampBeforeMaxMs = 1 }, good, kerr.InvalidTimestamp},
		{"without key in a compacted topic", func(c *Config) { c.CleanupPolicy = "delete, compact" }, func() record.Batch {
			b := record.NewBuilder(nil, 1000)
			b.Append(1, nil, []byte("v"), nil)
			batch, err := b.Finish(record.None, 0, -1, -1, -1, false)
			must(t, err)
			return batch
		}, kerr.InvalidRecord},
		{"half a batch", nil, func() record.Batch { return good()[:40] }, kerr.CorruptMessage},
		{"nothing", nil, func() record.Batch { return nil }, kerr.CorruptMessage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			l, _ := newLog(t, cfg)
			_, err := l.AppendAsLeader(tt.batch(), 0)
			if kerr.CodeOf(err) != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if l.LogEndOffset() != 0 || l.Size() != 0 || l.Err() != nil {
				t.Errorf("log ends at %d with %d bytes, error %v", l.LogEndOffset(), l.Size(), l.Err())
			}
		})
	}
}

func TestLogAppendTime(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TimestampType = record.LogAppendTime
	mc := managerConfig(vfs.NewMem(), cfg)
	mc.Now = at(777_000)
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	defer closeManager(t, m)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	info, err := l.AppendAsLeader(batchOf(t, 5, "a", "b"), 0)
	must(t, err)
	if info.LogAppendTime != 777_000 || info.MaxTimestamp != 777_000 {
		t.Errorf("append time %d, max timestamp %d", info.LogAppendTime, info.MaxTimestamp)
	}
	got, err := readAll(l)
	must(t, err)
	if diff := cmp.Diff([]rec{{0, "a", 777_000, 0}, {1, "b", 777_000, 0}}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestCompressionTypeOfTheTopic(t *testing.T) {
	type combination struct {
		topic      string
		sent, want record.Codec
	}
	var all []combination
	codecs := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	for _, sent := range codecs {
		all = append(all, combination{"producer", sent, sent})
		for _, want := range codecs {
			topic := want.String()
			if want == record.None {
				topic = "uncompressed"
			}
			all = append(all, combination{topic, sent, want})
		}
	}
	for _, tt := range all {
		t.Run(fmt.Sprintf("%s sent to %s", tt.sent, tt.topic), func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.CompressionType = tt.topic
			l, _ := newLog(t, cfg)
			b := record.NewBuilder(nil, 1<<20)
			for i := range 20 {
				b.Append(int64(i), []byte("k"), []byte(strings.Repeat("v", 100)), []record.Header{{Key: "h", Value: []byte{byte(i)}}})
			}
			batch, err := b.Finish(tt.sent, record.DefaultLevel, 42, 3, 7, true)
			must(t, err)
			_, err = l.AppendAsLeader(batch, 5)
			must(t, err)
			var p pool
			f, err := l.Read(0, 1<<20, 99, true, &p)
			must(t, err)
			stored := record.Batch(f.Data)
			if stored.Codec() != tt.want || stored.Count() != 20 || stored.ProducerID() != 42 || stored.ProducerEpoch() != 3 || stored.BaseSequence() != 7 ||
				!stored.IsTransactional() || stored.PartitionLeaderEpoch() != 5 || !stored.CheckCRC() {
				t.Errorf("stored as %v", stored)
			}
			i := 0
			for r, err := range stored.Records(nil) {
				must(t, err)
				if r.Offset != int64(i) || r.Timestamp != int64(i) || len(r.Value) != 100 || len(r.Headers) != 1 || r.Headers[0].Value[0] != byte(i) {
					t.Errorf("record %d is %+v", i, r)
				}
				i++
			}
			p.Put(f.Buf)
		})
	}
}

func TestCompressionLevelOfTheTopic(t *testing.T) {
	lines := strings.Builder{}
	for i := range 2000 {
		fmt.Fprintf(&lines, `{"id":%d,"name":"customer %d","at":"%x"}`, i*7919%1000, i*104729%977, i*i)
	}
	for codec, levels := range map[string][2]int{"gzip": {1, 9}, "lz4": {1, 12}, "zstd": {1, 19}} {
		t.Run(codec, func(t *testing.T) {
			var size [2]int64
			for i, level := range levels {
				cfg := DefaultConfig()
				cfg.CompressionType, cfg.CompressionLevel = codec, level
				l, _ := newLog(t, cfg)
				appendValues(t, l, 0, 1, lines.String())
				size[i] = l.Size()
				got, err := checkAll(l)
				if err != nil || len(got) != 1 || got[0].Value != lines.String() {
					t.Errorf("level %d: %d records, %v", level, len(got), err)
				}
			}
			if size[1] >= size[0] {
				t.Errorf("level %d takes %d bytes, level %d takes %d", levels[0], size[0], levels[1], size[1])
			}
		})
	}
}

// numbered concatenates batches with a base offset and epoch each.
func numbered(t testing.TB, batches ...any) []byte {
	var all []byte
	for i := 0; i < len(batches); i += 3 {
		b := batchOf(t, 1000, strings.Split(batches[i+2].(string), " ")...)
		b.SetBaseOffset(int64(batches[i].(int)))
		b.SetPartitionLeaderEpoch(int32(batches[i+1].(int)))
		all = append(all, b...)
	}
	return all
}

func TestFollowerAppend(t *testing.T) {
	cfg := smallConfig()
	leader, leaderDisk := newLog(t, cfg)
	for i := range 40 {
		appendValues(t, leader, cluster.LeaderEpoch(i/15), int64(i), fmt.Sprintf("value %d", i))
	}
	follower, followerDisk := newLog(t, cfg)
	var p pool
	for follower.LogEndOffset() < leader.LogEndOffset() {
		f, err := leader.Read(follower.LogEndOffset(), 1000, math.MaxInt64, true, &p)
		must(t, err)
		info, err := follower.AppendAsFollower(f.Data)
		must(t, err)
		if info.FirstOffset != f.FirstOffset || info.LastOffset != f.NextOffset-1 {
			t.Errorf("appended %d..%d of %d..%d", info.FirstOffset, info.LastOffset, f.FirstOffset, f.NextOffset-1)
		}
		p.Put(f.Buf)
	}
	want, err := checkAll(leader)
	must(t, err)
	got, err := checkAll(follower)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-leader +follower):\n%s", diff)
	}
	must(t, leader.Close())
	must(t, follower.Close())
	entries, err := leaderDisk.ReadDir(logDirName)
	must(t, err)
	for _, e := range entries { // byte for byte the same files
		a, err := vfs.ReadFile(leaderDisk, logDirName+"/"+e.Name())
		must(t, err)
		b, err := vfs.ReadFile(followerDisk, logDirName+"/"+e.Name())
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v", e.Name(), err)
		}
	}
}

func TestFollowerRefusesWhatIsWrong(t *testing.T) {
	flip := func(p []byte, i int) []byte { p[i] ^= 0x40; return p }
	for _, tt := range []struct {
		name string
		data []byte
		want kerr.Code
	}{
		{"an offset that is there already", numbered(t, 1, 0, "x"), kerr.OffsetOutOfRange},
		{"offsets that fall", numbered(t, 9, 0, "x", 8, 0, "y"), kerr.CorruptMessage},
		{"offsets that overlap", numbered(t, 9, 0, "x y z", 10, 0, "y"), kerr.CorruptMessage},
		{"damage in the second batch", flip(numbered(t, 9, 0, "x", 10, 0, "y"), 80+60), kerr.CorruptMessage},
		{"no whole batch", numbered(t, 9, 0, "x")[:50], kerr.CorruptMessage},
		{"rubbish", bytes.Repeat([]byte{7}, 100), kerr.CorruptMessage},
		{"a negative offset", numbered(t, -5, 0, "x"), kerr.CorruptMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newLog(t, DefaultConfig())
			_, err := l.AppendAsFollower(numbered(t, 0, 0, "a b c"))
			must(t, err)
			_, err = l.AppendAsFollower(tt.data)
			if kerr.CodeOf(err) != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if l.LogEndOffset() != 3 || l.Err() != nil {
				t.Errorf("log ends at %d, error %v", l.LogEndOffset(), l.Err())
			}
		})
	}
	l, _ := newLog(t, DefaultConfig())
	info, err := l.AppendAsFollower(append(numbered(t, 0, 0, "a b", 5, 2, "c"), 1, 2, 3))
	if err != nil || info.FirstOffset != 0 || info.LastOffset != 5 || l.LogEndOffset() != 6 {
		t.Errorf("a gap and an incomplete end: %+v, %v", info, err)
	}
	info, err = l.AppendAsFollower(nil)
	if err != nil || info.FirstOffset != 6 || info.LastOffset != 5 {
		t.Errorf("nothing: %+v, %v", info, err)
	}
}

func TestReadBounds(t *testing.T) {
	cfg := DefaultConfig()
	l, _ := newLog(t, cfg)
	for i := range 10 {
		appendValues(t, l, 0, int64(i), "a", "b") // offsets 2i and 2i+1
	}
	size := int(l.Size()) / 10
	var p pool
	for _, tt := range []struct {
		name     string
		from     cluster.Offset
		max      int
		upTo     cluster.Offset
		minOne   bool
		want     int // batches
		first    cluster.Offset
		wantCode kerr.Code
	}{
		{"everything", 0, 1 << 20, 20, false, 10, 0, 0},
		{"from the middle of a batch", 5, 1 << 20, 20, false, 8, 4, 0},
		{"exactly two batches", 0, 2 * size, 20, false, 2, 0, 0},
		{"a byte less than two", 0, 2*size - 1, 20, false, 1, 0, 0},
		{"a byte less than one", 0, size - 1, 20, false, 0, 0, 0},
		{"a byte less than one, at least one", 0, size - 1, 20, true, 1, 0, 0},
		{"nothing wanted, at least one", 6, 0, 20, true, 1, 6, 0},
		{"nothing wanted", 6, 0, 20, false, 0, 6, 0},
		{"up to the high watermark", 0, 1 << 20, 6, true, 3, 0, 0},
		{"a high watermark within a batch", 0, 1 << 20, 7, true, 4, 0, 0},
		{"at the high watermark", 6, 1 << 20, 6, true, 0, 6, 0},
		{"beyond the high watermark", 8, 1 << 20, 6, true, 0, 8, 0},
		{"at the end", 20, 1 << 20, 20, true, 0, 20, 0},
		{"a limit beyond the end", 18, 1 << 20, 1000, true, 1, 18, 0},
		{"beyond the end", 21, 1 << 20, 20, true, 0, 21, kerr.OffsetOutOfRange},
		{"before the start", -1, 1 << 20, 20, true, 0, -1, kerr.OffsetOutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := l.Read(tt.from, tt.max, tt.upTo, tt.minOne, &p)
			if kerr.CodeOf(err) != tt.wantCode {
				t.Fatalf("error %v, want %v", err, tt.wantCode)
			}
			next := tt.first + cluster.Offset(2*tt.want)
			if tt.want == 0 {
				next = tt.from
			}
			if len(f.Data) != tt.want*size || f.FirstOffset != tt.first || f.NextOffset != next || (f.Buf == nil) != (tt.want == 0) {
				t.Errorf("%d bytes from %d to %d, want %d from %d to %d", len(f.Data), f.FirstOffset, f.NextOffset, tt.want*size, tt.first, next)
			}
			if f.LogEndOffset != 20 || f.LogStartOffset != 0 {
				t.Errorf("log is from %d to %d", f.LogStartOffset, f.LogEndOffset)
			}
			if f.Buf != nil {
				p.Put(f.Buf)
			}
			if n := p.outstanding(); n > 0 {
				t.Errorf("%d buffers were not returned", n)
			}
		})
	}
}

func TestALogOfWhichNothingIsLeftHasNoEpochs(t *testing.T) {
	for _, to := range []cluster.Offset{10, 7, 4} { // where the log ends, where it begins, and before that
		l, _ := newLog(t, smallConfig())
		for i := range 10 {
			appendValues(t, l, 3, int64(i), "value")
		}
		start := cluster.Offset(7)
		if to == 10 {
			start = 10
		}
		must(t, l.AdvanceLogStart(start))
		must(t, l.Truncate(to))
		if l.LogStartOffset() != to || l.LogEndOffset() != to || l.LatestEpoch() != cluster.NoLeaderEpoch || len(l.EpochEntries()) != 0 {
			t.Errorf("truncated to %d: from %d to %d, latest epoch %d, %v", to, l.LogStartOffset(), l.LogEndOffset(), l.LatestEpoch(), l.EpochEntries())
		}
	}
}

func TestLogStart(t *testing.T) {
	cfg := smallConfig()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	for i := range 20 {
		appendValues(t, l, cluster.LeaderEpoch(i/5), int64(i), "value")
	}
	must(t, l.AdvanceLogStart(12))
	must(t, l.AdvanceLogStart(3))
	if err := l.AdvanceLogStart(21); kerr.CodeOf(err) != kerr.OffsetOutOfRange {
		t.Errorf("log start beyond the end: %v", err)
	}
	var p pool
	if _, err := l.Read(11, 100, 20, true, &p); kerr.CodeOf(err) != kerr.OffsetOutOfRange {
		t.Errorf("read below the log start: %v", err)
	}
	if diff := cmp.Diff([]EpochEntry{{Epoch: 2, StartOffset: 12}, {Epoch: 3, StartOffset: 15}}, l.EpochEntries()); diff != "" {
		t.Errorf("epochs (-want +got):\n%s", diff)
	}
	if at, found, err := l.OffsetForTimestamp(0, 20); err != nil || !found || at.Offset != 12 {
		t.Errorf("first record by time is %+v, %v, %v", at, found, err)
	}
	closeManager(t, m)
	if got, err := vfs.ReadFile(mem, "/logs/"+logStartFile); err != nil || string(got) != "0\n1\norders 3 12\n" {
		t.Errorf("checkpoint %q, %v", got, err)
	}
	m = openOn(t, mem, cfg)
	l, _ = m.Get(orders)
	if l.LogStartOffset() != 12 || l.LogEndOffset() != 20 {
		t.Errorf("after a restart the log is from %d to %d", l.LogStartOffset(), l.LogEndOffset())
	}
	must(t, l.TruncateFullyAndStartAt(50))
	if l.LogStartOffset() != 50 || l.LogEndOffset() != 50 || l.Size() != 0 || len(l.EpochEntries()) != 0 || l.RecoveryPoint() != 50 {
		t.Errorf("log is from %d to %d with %d bytes, epochs %v", l.LogStartOffset(), l.LogEndOffset(), l.Size(), l.EpochEntries())
	}
	if off := appendValues(t, l, 7, 1, "x"); off != 50 {
		t.Errorf("first offset %d", off)
	}
	closeManager(t, m)
	m = openOn(t, mem, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if l.LogStartOffset() != 50 || l.LogEndOffset() != 51 {
		t.Errorf("after a restart the log is from %d to %d", l.LogStartOffset(), l.LogEndOffset())
	}
}

func TestTimestampLookups(t *testing.T) {
	cfg := smallConfig()
	l, _ := newLog(t, cfg)
	if _, found, err := l.OffsetOfMaxTimestamp(); found || err != nil {
		t.Errorf("an empty log has a largest timestamp: %v, %v", found, err)
	}
	times := []int64{50, 60, 40, 90, 90, 10, 95, 80, 95, 20, 70, 30}
	for i, ts := range times {
		appendValues(t, l, cluster.LeaderEpoch(i/4), ts, strings.Repeat("x", 60))
	}
	if len(l.Segments()) < 2 {
		t.Fatal("the log has one segment only")
	}
	for ts := int64(0); ts < 100; ts++ {
		for upTo := range cluster.Offset(13) {
			want := cluster.UnknownOffset
			for i, have := range times {
				if have >= ts {
					if cluster.Offset(i) < upTo {
						want = cluster.Offset(i)
					}
					break
				}
			}
			at, found, err := l.OffsetForTimestamp(ts, upTo)
			if err != nil || found != (want >= 0) || at.Offset != want {
				t.Fatalf("time %d up to %d: %+v, %v, %v; want %d", ts, upTo, at, found, err, want)
			}
			if found && (at.Timestamp != times[want] || at.LeaderEpoch != cluster.LeaderEpoch(want/4)) {
				t.Errorf("time %d: %+v", ts, at)
			}
		}
	}
	if at, found, err := l.OffsetOfMaxTimestamp(); err != nil || !found || at.Offset != 6 || at.Timestamp != 95 || at.LeaderEpoch != 1 {
		t.Errorf("largest timestamp: %+v, %v, %v", at, found, err)
	}
}

// TestDamageInFrontOfAReaderIsReported changes a byte of a header that a reader is just in front of, where an earlier read has ended. Nothing is no answer: the
// reader would wait for ever.
func TestDamageInFrontOfAReaderIsReported(t *testing.T) {
	for name, at := range map[string]int64{"offset": 0, "length": 8, "low byte of the length": 11, "format": 16} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMem()
			l := newLogOn(t, fsys, DefaultConfig())
			for i := range 10 {
				appendValues(t, l, 0, int64(i), "a")
			}
			var p pool
			f, err := l.Read(0, int(l.Size())/2, 10, true, &p)
			must(t, err)
			size := int64(len(f.Data))
			p.Put(f.Buf)
			file, err := fsys.OpenFile(l.active().log.path, os.O_RDWR, 0)
			must(t, err)
			defer file.Close()
			b := make([]byte, 1)
			_, err = file.ReadAt(b, size+at)
			must(t, err)
			b[0] ^= 0x40
			_, err = file.WriteAt(b, size+at)
			must(t, err)
			var corrupt *CorruptionError
			if f, err := l.Read(f.NextOffset, 1<<20, 10, true, &p); name != "low byte of the length" && !errors.As(err, &corrupt) || len(f.Data) > 0 && err == nil && record.Batch(f.Data).CheckCRC() {
				t.Errorf("%d bytes, %v", len(f.Data), err)
			}
		})
	}
}

// TestAFullDiskRefusesAndGoesOn sees that an append that could not even reserve its space harms nothing (C15).
func TestAFullDiskRefusesAndGoesOn(t *testing.T) {
	full := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(syscall.ENOSPC), vfs.OpPreallocate)}
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), full), DefaultConfig())
	full.Set(true)
	_, err := l.AppendAsLeader(batchOf(t, 1, "x"), 0)
	if !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, errNoSpace) || l.Err() != nil {
		t.Errorf("append to a full disk: %v; log: %v", err, l.Err())
	}
	full.Set(false)
	if off := appendValues(t, l, 0, 2, "y"); off != 0 {
		t.Errorf("the next append got offset %d", off)
	}
}

// TestBeingOutOfDescriptorsIsNoDiskFailure covers a roll that cannot open the new segment (C16).
func TestBeingOutOfDescriptorsIsNoDiskFailure(t *testing.T) {
	for _, pattern := range []string{"*.log", "*.index", "*.timeindex"} {
		t.Run(pattern, func(t *testing.T) {
			out := &vfs.Toggle{Inner: vfs.OnBase(pattern, vfs.OnOps(vfs.Fail(syscall.EMFILE), vfs.OpCreate, vfs.OpOpen))}
			l := newLogOn(t, vfs.Inject(vfs.NewMem(), out), DefaultConfig())
			appendValues(t, l, 0, 2, "a")
			out.Set(true)
			if err := l.Roll(); !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, syscall.EMFILE) || l.Err() != nil {
				t.Errorf("roll without descriptors: %v; log: %v", err, l.Err())
			}
			out.Set(false)
			must(t, l.Roll())
			appendValues(t, l, 0, 2, "b")
			if got, err := checkAll(l); err != nil || len(got) != 2 || len(l.Segments()) != 2 {
				t.Errorf("afterwards: %v, %v", got, err)
			}
		})
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	cfg := DefaultConfig()
	dir := t.TempDir()
	m, err := OpenManager(t.Context(), ManagerConfig{Dirs: []string{dir}, Defaults: cfg, BrokerID: -1})
	must(t, err)
	defer closeManager(t, m)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	batch := batchOf(t, 1, strings.Repeat("x", 20000))
	// A few allocations come from indexes, once in many appends; none may depend on the batch.
	if n := testing.AllocsPerRun(200, func() {
		batch.SetBaseOffset(0)
		if _, err := l.AppendAsLeader(batch, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("an append allocates %v times", n)
	}
	buf := make([]byte, 1<<20)
	src := &oneBuffer{buf: &buf}
	next := cluster.Offset(0)
	if n := testing.AllocsPerRun(100, func() {
		f, err := l.Read(next, 64<<10, math.MaxInt64, true, src)
		if err != nil || f.Buf == nil {
			t.Fatal(err)
		}
		if next = f.NextOffset; next == l.LogEndOffset() {
			next = 0
		}
	}); n > 0 {
		t.Errorf("a read allocates %v times", n)
	}
}

// oneBuffer is a BufferSource with one buffer, for measuring.
type oneBuffer struct {
	buf  *[]byte
	lent []byte
}

func (o *oneBuffer) Get(n int) *[]byte { o.lent = (*o.buf)[:n]; return &o.lent }
func (o *oneBuffer) Put(*[]byte)       {}

func TestSequentialReadsTakeOneReadEach(t *testing.T) {
	var count vfs.Counter
	l := newLogOn(t, vfs.Inject(vfs.NewMem(), &count), DefaultConfig())
	for range 100 {
		appendValues(t, l, 0, 1, strings.Repeat("x", 1000))
	}
	var p pool
	next, reads, before := cluster.Offset(0), 0, count.Count(vfs.OpRead)
	for next < l.LogEndOffset() {
		f, err := l.Read(next, 5000, math.MaxInt64, true, &p)
		must(t, err)
		next = f.NextOffset
		reads++
	}
	if got := count.Count(vfs.OpRead) - before; got > reads+3 {
		t.Errorf("%d reads of the log took %d reads of files", reads, got)
	}
}
