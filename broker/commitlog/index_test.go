package commitlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// TestIndexEntriesAreKafkas writes batches of known sizes and computes by hand, from F§4.5, what the index files must hold.
func TestIndexEntriesAreKafkas(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 500
	cfg.SegmentIndexBytes = 1000
	l, mem := newLog(t, cfg)
	times := []int64{100, 90, 300, 300, 200, 400, 350, 500, 120, 130}
	var index, timeIndex []byte
	var pos, since int
	maxTS, maxAt, lastTS := int64(-1), 0, int64(-1)
	next := 0
	for i, ts := range times {
		n := 1 + i%3
		values := make([]string, n)
		for j := range values {
			values[j] = strings.Repeat("v", 150)
		}
		b := record.NewBuilder(nil, 1<<20)
		for _, v := range values {
			b.Append(ts, nil, []byte(v), nil)
		}
		batch, err := b.Finish(record.None, 0, -1, -1, -1, false)
		must(t, err)
		_, err = l.AppendAsLeader(batch, 0)
		must(t, err)
		last := next + n - 1
		if ts > maxTS {
			maxTS, maxAt = ts, last
		}
		if since > cfg.IndexIntervalBytes {
			index = binary.BigEndian.AppendUint32(index, uint32(last))
			index = binary.BigEndian.AppendUint32(index, uint32(pos))
			if maxTS > lastTS {
				timeIndex = binary.BigEndian.AppendUint64(timeIndex, uint64(maxTS))
				timeIndex = binary.BigEndian.AppendUint32(timeIndex, uint32(maxAt))
				lastTS = maxTS
			}
			since = 0
		}
		since += len(batch)
		pos += len(batch)
		next += n
	}
	if maxTS > lastTS {
		timeIndex = binary.BigEndian.AppendUint64(timeIndex, uint64(maxTS))
		timeIndex = binary.BigEndian.AppendUint32(timeIndex, uint32(maxAt))
	}
	if len(index) < 24 || len(timeIndex) < 24 {
		t.Fatalf("the batches make only %d and %d bytes of index", len(index), len(timeIndex))
	}
	size := func(suffix string) int64 {
		fi, err := mem.Stat(segmentPath(0, suffix))
		must(t, err)
		return fi.Size()
	}
	if got := size(indexSuffix); got != 1000 {
		t.Errorf("the active .index has %d bytes, want 1000", got)
	}
	if got := size(timeIndexSuffix); got != 996 {
		t.Errorf("the active .timeindex has %d bytes, want 996: 1000 rounded down to entries", got)
	}
	must(t, l.Roll())
	for suffix, want := range map[string][]byte{indexSuffix: index, timeIndexSuffix: timeIndex} {
		got, err := vfs.ReadFile(mem, segmentPath(0, suffix))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", suffix, diff)
		}
	}
}

// TestIndexLookupsMatchASearch compares lookups with a plain search, through all phases of an index's life.
func TestIndexLookupsMatchASearch(t *testing.T) {
	mem := vfs.NewMem()
	for _, size := range []int{offsetEntrySize, timeEntrySize} {
		t.Run(fmt.Sprintf("entries of %d bytes", size), func(t *testing.T) {
			x := newIndex(newHandle(mem, nil, fmt.Sprintf("/x%d", size), newTurn()), newTurn(), 1000, size)
			seg := &segment{idx: x, tidx: newIndex(newHandle(mem, nil, "/other", newTurn()), newTurn(), 1000, timeEntrySize)}
			must(t, seg.startIndexes(&Config{SegmentIndexBytes: 1 << 20}))
			var all []indexEntry
			check := func(phase string) {
				t.Helper()
				var want indexEntry
				found, next := false, 0
				for key := int64(995); key < 1005+int64(len(all))*3; key++ {
					for ; next < len(all) && all[next].key <= key; next++ {
						want, found = all[next], true
					}
					got, ok, err := x.lookup(key)
					if err != nil || ok != found || got != want {
						t.Fatalf("%s, %d entries: lookup(%d) = %v, %v, %v; want %v, %v", phase, len(all), key, got, ok, err, want, found)
					}
				}
			}
			check("empty")
			for i := range 500 {
				e := indexEntry{key: 1000 + int64(i)*3, val: 1000 + int64(i)*7}
				must(t, x.append(e))
				all = append(all, e)
				if i%41 == 0 || i == tailEntries || i == tailEntries-1 {
					check("active")
				}
				if i%100 == 50 {
					must(t, x.persist())
					check("persisted")
				}
			}
			must(t, x.seal())
			check("sealed")
			again := newIndex(newHandle(mem, nil, x.path, newTurn()), newTurn(), 1000, size)
			must(t, again.load(math.MaxInt32))
			x = again
			check("loaded")
			must(t, x.activate(1<<20))
			must(t, x.append(indexEntry{key: 9000, val: 9001}))
			all = append(all, indexEntry{key: 9000, val: 9001})
			check("active again")
			entries, err := x.all()
			must(t, err)
			if diff := cmp.Diff(all, entries, cmp.AllowUnexported(indexEntry{})); diff != "" {
				t.Errorf("all (-want +got):\n%s", diff)
			}
			must(t, x.close())
			must(t, seg.tidx.close())
			must(t, seg.idx.close())
		})
	}
}

// TestALyingIndexIsNotBelieved puts an index in place that passes the check of its ends but points anywhere (C6).
func TestALyingIndexIsNotBelieved(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 100
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	for i := range 60 {
		appendValues(t, l, 0, int64(i), "some value")
	}
	closeManager(t, m)
	edit(t, mem, segmentPath(0, indexSuffix), func(b []byte) []byte {
		for i := 8; i < len(b)-8; i += 8 {
			binary.BigEndian.PutUint32(b[i+4:], uint32(i*13))
		}
		return b
	})
	m = openOn(t, mem, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if _, err := checkAll(l); err != nil {
		t.Error(err)
	}
}

func TestRollRules(t *testing.T) {
	hour := int64(time.Hour / time.Millisecond)
	value := strings.Repeat("x", 100)
	size := len(batchOf(t, 0, value))
	tests := []struct {
		name string
		cfg  func(*Config)
		// ts and wall are the batches' times and the broker's clock, in milliseconds.
		ts, wall []int64
		want     []cluster.Offset
	}{
		{"by size: the segment never exceeds segment.bytes", func(c *Config) { c.SegmentBytes = 3 * size }, []int64{1, 1, 1, 1, 1, 1, 1}, nil, []cluster.Offset{0, 3, 6}},
		{"by time: counted in record time from the first batch", func(c *Config) { c.SegmentMs = hour }, []int64{0, hour, hour + 1, 2*hour + 1, 2*hour + 2}, nil, []cluster.Offset{0, 2, 4}},
		{"by time: the broker's clock does not matter", func(c *Config) { c.SegmentMs = hour }, []int64{5, 5, 5}, []int64{0, 10 * hour, 20 * hour}, []cluster.Offset{0}},
		{"by time: the broker's clock counts without timestamps", func(c *Config) { c.SegmentMs = hour }, []int64{-1, -1, -1}, []int64{0, hour, hour + 1}, []cluster.Offset{0, 2}},
		{"an empty segment does not roll by time", func(c *Config) { c.SegmentMs = 1 }, []int64{hour}, []int64{hour}, []cluster.Offset{0}},
		{"by a full offset index", func(c *Config) { c.IndexIntervalBytes = 1; c.SegmentIndexBytes = 36 }, []int64{9, 8, 7, 6, 5, 4, 3, 2}, nil, []cluster.Offset{0, 5}},
		{"by a full time index, which keeps one slot", func(c *Config) { c.IndexIntervalBytes = 1; c.SegmentIndexBytes = 40 }, []int64{1, 2, 3, 4, 5, 6, 7, 8}, nil, []cluster.Offset{0, 3, 6}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.cfg(&cfg)
			var wall int64
			mc := managerConfig(vfs.NewMem(), cfg)
			mc.Now = func() time.Time { return time.UnixMilli(wall) }
			m, err := OpenManager(t.Context(), mc)
			must(t, err)
			defer closeManager(t, m)
			l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
			must(t, err)
			for i, ts := range tt.ts {
				if tt.wall != nil {
					wall = tt.wall[i]
				}
				appendValues(t, l, 0, ts, value)
			}
			if diff := cmp.Diff(tt.want, l.Segments()); diff != "" {
				t.Errorf("bases (-want +got):\n%s", diff)
			}
			if _, err := readAll(l); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRollByOffsetSpan(t *testing.T) {
	l, _ := newLog(t, DefaultConfig())
	put := func(base int64) error {
		b := batchOf(t, 5, "far away")
		b.SetBaseOffset(base)
		_, err := l.AppendAsFollower(b)
		return err
	}
	must(t, put(7))
	must(t, put(math.MaxInt32))
	if diff := cmp.Diff([]cluster.Offset{0}, l.Segments()); diff != "" {
		t.Errorf("bases (-want +got):\n%s", diff)
	}
	must(t, put(math.MaxInt32+1)) // the span from 0 is too large, from the log end offset it is not
	must(t, put(5*math.MaxInt32)) // neither
	want := []cluster.Offset{0, math.MaxInt32 + 1, 5 * math.MaxInt32}
	if diff := cmp.Diff(want, l.Segments()); diff != "" {
		t.Errorf("bases (-want +got):\n%s", diff)
	}
	if rp := l.RecoveryPoint(); rp != 5*math.MaxInt32 {
		t.Errorf("recovery point %d is not behind the gap", rp)
	}
	var p pool
	for _, off := range []cluster.Offset{0, 7, 8, math.MaxInt32, math.MaxInt32 + 1, math.MaxInt32 + 2, 5 * math.MaxInt32} {
		f, err := l.Read(off, 1, math.MaxInt64, true, &p)
		if err != nil || f.NextOffset <= off {
			t.Errorf("read at %d goes on at %d: %v", off, f.NextOffset, err)
		}
	}
}

// TestRecoveryKeepsALegitimateGap is the same log after a power cut: the gap was bridged, so it is not a hole.
func TestRecoveryKeepsALegitimateGap(t *testing.T) {
	mem := vfs.NewMem()
	cfg := DefaultConfig()
	cfg.FlushMessages = 1
	l := newLogOn(t, mem, cfg)
	for _, base := range []int64{0, 5 * math.MaxInt32} {
		b := batchOf(t, 5, "value")
		b.SetBaseOffset(base)
		_, err := l.AppendAsFollower(b)
		must(t, err)
	}
	m := openOn(t, mem.CrashClone(vfs.CrashOptions{}), cfg)
	defer closeManager(t, m)
	again, _ := m.Get(orders)
	if again.LogEndOffset() != 5*math.MaxInt32+1 || again.Recovery().Cut {
		t.Errorf("log ends at %d, recovery %+v", again.LogEndOffset(), again.Recovery())
	}
}
