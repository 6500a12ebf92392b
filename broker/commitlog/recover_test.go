package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

const logDirName = "/logs/orders-3"

// filled returns a disk with a log of 30 records in batches of one, in several segments, that was left without a clean
// stop. Nothing was checkpointed.
func filled(t testing.TB, cfg Config) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, cfg)
	must(t, err)
	for i := range 30 {
		appendValues(t, l, cluster.LeaderEpoch(i/10), int64(1000+i), fmt.Sprintf("value %02d", i))
	}
	must(t, l.Flush())
	mem.Kill()
	return mem
}

func edit(t testing.TB, fsys vfs.FS, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	must(t, err)
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0o644)
	must(t, err)
	_, err = f.WriteAt(change(data), 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func segmentPath(base cluster.Offset, suffix string) string {
	return filepath.Join(logDirName, segmentName(base, suffix))
}

func TestRecoveryCutsAtTheFirstBadByte(t *testing.T) {
	cfg := smallConfig()
	clean := filled(t, cfg)
	probe := openOn(t, clean.CrashClone(vfs.CrashOptions{}), cfg)
	l, _ := probe.Get(orders)
	bases := l.Segments()
	size := int((*l.segments.Load())[1].size.Load()) / int(bases[2]-bases[1]) // bytes of a batch
	closeManager(t, probe)
	if len(bases) < 4 {
		t.Fatalf("the log has only the segments %v", bases)
	}
	second, third, last := bases[1], bases[2], bases[len(bases)-1]
	at := func(i int) func(func(p []byte)) func([]byte) []byte { // edits batch i of a segment in place
		return func(f func(p []byte)) func([]byte) []byte {
			return func(data []byte) []byte { f(data[i*size:]); return data }
		}
	}
	tests := []struct {
		name   string
		file   string
		change func([]byte) []byte
		want   cluster.Offset // log end offset after recovery
		reason string         // in RecoveryInfo
	}{
		{"nothing is wrong", segmentPath(last, logSuffix), func(b []byte) []byte { return b }, 30, ""},
		{"torn tail", segmentPath(last, logSuffix), func(b []byte) []byte { return b[:len(b)-3] }, 29, "bytes are left"},
		{"torn header", segmentPath(last, logSuffix), func(b []byte) []byte { return b[:len(b)-size+20] }, 29, "bytes are left"},
		{"tail of zeros", segmentPath(last, logSuffix), func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, 30, ""},
		{"tail of garbage", segmentPath(last, logSuffix), func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0xfe}, 300)...) }, 30, "batch of"},
		{"zeros, then a batch", segmentPath(last, logSuffix), func(b []byte) []byte { return append(append(b, make([]byte, 100)...), b[:size]...) }, 30, "a batch of 12 bytes"},
		{"flipped byte in a value", segmentPath(second, logSuffix), at(2)(func(p []byte) { p[size-3] ^= 1 }), second + 2, "checksum"},
		{"flipped byte in the checksum", segmentPath(second, logSuffix), at(1)(func(p []byte) { p[17] ^= 1 }), second + 1, "checksum"},
		{"flipped bit in the length", segmentPath(second, logSuffix), at(1)(func(p []byte) { p[9] ^= 1 }), second + 1, "bytes are left"},
		{"negative length", segmentPath(second, logSuffix), at(1)(func(p []byte) { p[8] = 0xff }), second + 1, "batch of"},
		{"wrong magic", segmentPath(second, logSuffix), at(1)(func(p []byte) { p[16] = 1 }), second + 1, "version 1"},
		{"offset that falls", segmentPath(second, logSuffix), at(2)(func(p []byte) { binary.BigEndian.PutUint64(p, uint64(second)) }), second + 2, "offsets"},
		{"negative offset", segmentPath(second, logSuffix), at(2)(func(p []byte) { p[0] = 0xff }), second + 2, "offsets"},
		{"leader epoch that falls", segmentPath(last, logSuffix), at(1)(func(p []byte) { binary.BigEndian.PutUint32(p[12:], 1) }), last + 1, "leader epoch"},
		{"segment that lost its tail at a batch boundary", segmentPath(second, logSuffix), func(b []byte) []byte { return b[:len(b)-size] }, third - 1, "does not continue"},
		{"segment that is empty", segmentPath(second, logSuffix), func([]byte) []byte { return nil }, second, "does not continue"},
		{"damaged index", segmentPath(second, indexSuffix), func([]byte) []byte { return []byte("0123456789") }, 30, ""},
		{"damaged time index", segmentPath(second, timeIndexSuffix), func([]byte) []byte { return bytes.Repeat([]byte{0xff}, 24) }, 30, ""},
		{"damaged epochs", logDirName + "/" + leaderEpochFile, func([]byte) []byte { return []byte("0\n7\nrubbish") }, 30, ""},
		{"epochs that are empty", logDirName + "/" + leaderEpochFile, func([]byte) []byte { return nil }, 30, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := clean.CrashClone(vfs.CrashOptions{})
			edit(t, disk, tt.file, tt.change)
			m := openOn(t, disk, cfg)
			defer closeManager(t, m)
			l, _ := m.Get(orders)
			got, err := checkAll(l)
			must(t, err)
			if l.LogEndOffset() != tt.want || len(got) != int(tt.want) {
				t.Errorf("log ends at %d with %d records, want %d", l.LogEndOffset(), len(got), tt.want)
			}
			info := l.Recovery()
			if !info.Unclean || !strings.Contains(info.Reason, tt.reason) || (tt.reason == "") != (info.Reason == "") {
				t.Errorf("recovery %+v, want the reason %q", info, tt.reason)
			}
			if tt.want < 30 && (!info.Cut || info.CutAt != tt.want) {
				t.Errorf("recovery %+v, want a cut at %d", info, tt.want)
			}
			if off := appendValues(t, l, 5, 5000, "next"); off != tt.want {
				t.Errorf("the next append got offset %d, want %d", off, tt.want)
			}
			if _, err := checkAll(l); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTrustedSegmentsAreNotCut sees that a segment below the recovery point is not shortened on the evidence of one replica,
// but that reading says what is wrong (C2).
func TestTrustedSegmentsAreNotCut(t *testing.T) {
	cfg := smallConfig()
	mem := filled(t, cfg)
	m := openOn(t, mem, cfg)
	l, _ := m.Get(orders)
	bases := l.Segments()
	closeManager(t, m)
	edit(t, mem, segmentPath(bases[1], logSuffix), func(b []byte) []byte { b[8], b[16] = 0x7f, 9; return b })
	edit(t, mem, segmentPath(bases[1], indexSuffix), func([]byte) []byte { return []byte{1} })
	m = openOn(t, mem, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if l.LogEndOffset() != 30 || l.Recovery().Cut {
		t.Errorf("log ends at %d, recovery %+v; want 30 and no cut", l.LogEndOffset(), l.Recovery())
	}
	var p pool
	_, err := l.Read(bases[1], 1000, 30, true, &p)
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) || corrupt.File != segmentPath(bases[1], logSuffix) || kerr.CodeOf(err) != kerr.CorruptMessage {
		t.Errorf("read of a damaged segment: %v", err)
	}
	f, err := l.Read(bases[2], 1000, 30, true, &p)
	if err != nil || f.FirstOffset != bases[2] {
		t.Errorf("read after the damaged segment: %d, %v", f.FirstOffset, err)
	}
	p.Put(f.Buf)
	if n := p.outstanding(); n != 0 {
		t.Errorf("%d buffers were not returned", n)
	}
}

// TestEpochsBeforeTheFirstKnownOne has a list of leader epochs that was written when the log began later than it does now.
func TestEpochsBeforeTheFirstKnownOne(t *testing.T) {
	for name, known := range map[string][]EpochEntry{
		"none": {}, "the last": {{Epoch: 2, StartOffset: 20}}, "a part of one": {{Epoch: 1, StartOffset: 15}, {Epoch: 2, StartOffset: 20}},
	} {
		t.Run(name, func(t *testing.T) {
			disk := filled(t, smallConfig())
			must(t, vfs.WriteFileAtomic(disk, filepath.Join(logDirName, leaderEpochFile), encodeEpochs(known), filePerm))
			for _, way := range []string{"after a crash", "after an orderly stop"} {
				m := openOn(t, disk, smallConfig())
				l, _ := m.Get(orders)
				got, err := checkAll(l)
				if err != nil || len(got) != 30 {
					t.Errorf("%s: %d records, %v", way, len(got), err)
				}
				want := []EpochEntry{{Epoch: 0, StartOffset: 0}, {Epoch: 1, StartOffset: 10}, {Epoch: 2, StartOffset: 20}}
				if diff := cmp.Diff(want, l.EpochEntries()); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", way, diff)
				}
				closeManager(t, m)
				must(t, vfs.WriteFileAtomic(disk, filepath.Join(logDirName, leaderEpochFile), encodeEpochs(known), filePerm))
			}
		})
	}
}

func TestCleanStartScansNothing(t *testing.T) {
	cfg := smallConfig()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	for i := range 30 {
		appendValues(t, l, 0, int64(i), strings.Repeat("x", 50))
	}
	closeManager(t, m)
	var bytesRead int
	reads := vfs.OnBase("*.log", vfs.OnOps(vfs.InjectorFunc(func(c vfs.Call) vfs.Fault { bytesRead += c.Len; return vfs.Fault{} }), vfs.OpRead))
	m = openOn(t, vfs.Inject(mem, reads), cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	if l.Recovery().Unclean || l.LogEndOffset() != 30 || l.RecoveryPoint() != 30 {
		t.Errorf("recovery %+v, log end %d, recovery point %d", l.Recovery(), l.LogEndOffset(), l.RecoveryPoint())
	}
	if bytesRead > cfg.SegmentBytes {
		t.Errorf("%d bytes of segments were read", bytesRead)
	}
}

// TestMarkerIsGoneBeforeLoading reproduces KAFKA-10471 (C3): a crash while loading must not leave the marker.
func TestMarkerIsGoneBeforeLoading(t *testing.T) {
	cfg := smallConfig()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	_, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
	must(t, err)
	closeManager(t, m)
	marker, err := vfs.ReadFile(mem, "/logs/"+cleanShutdownFile)
	if err != nil || string(marker) != `{"version":0,"brokerEpoch":-1}` {
		t.Fatalf("marker %q, %v", marker, err)
	}
	_, err = tryOpen(vfs.Inject(mem, vfs.OnBase("orders-3", vfs.OnOps(vfs.Fail(vfs.ErrPowerCut), vfs.OpReadDir))), cfg)
	if err == nil {
		t.Fatal("loading did not fail")
	}
	after := mem.CrashClone(vfs.CrashOptions{})
	if _, err := after.Stat("/logs/" + cleanShutdownFile); err == nil {
		t.Error("the marker is still there")
	}
	m = openOn(t, after, cfg)
	defer closeManager(t, m)
	if l, _ := m.Get(orders); !l.Recovery().Unclean {
		t.Error("the start after the crash skipped recovery")
	}
}

func TestLeftoverFiles(t *testing.T) {
	cfg := smallConfig()
	build := func(t *testing.T) (*vfs.Mem, []cluster.Offset) {
		mem := vfs.NewMem()
		m := openOn(t, mem, cfg)
		l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
		must(t, err)
		for i := range 30 {
			appendValues(t, l, 0, int64(i), fmt.Sprintf("value %02d", i))
		}
		bases := l.Segments()
		closeManager(t, m)
		return mem, bases
	}
	copyFile := func(t *testing.T, mem *vfs.Mem, from, to string, cut int) {
		t.Helper()
		data, err := vfs.ReadFile(mem, from)
		must(t, err)
		must(t, vfs.WriteFileAtomic(mem, to, data[:len(data)-cut], 0o644))
	}
	tests := []struct {
		name  string
		setup func(t *testing.T, mem *vfs.Mem, bases []cluster.Offset)
		want  func(bases []cluster.Offset) []cluster.Offset // bases afterwards; nil means the same
	}{
		{"deleted", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[1], logSuffix), segmentPath(999, logSuffix+deletedSuffix), 0)
		}, nil},
		{"cleaned", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[1], logSuffix), segmentPath(b[1], logSuffix+cleanedSuffix), 0)
			copyFile(t, mem, segmentPath(b[1], indexSuffix), segmentPath(b[1], indexSuffix+cleanedSuffix), 0)
		}, nil},
		{"orphan indexes", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[1], indexSuffix), segmentPath(777, indexSuffix), 0)
			copyFile(t, mem, segmentPath(b[1], timeIndexSuffix), segmentPath(777, timeIndexSuffix), 0)
		}, nil},
		{"temporary files", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[1], indexSuffix), logDirName+"/"+leaderEpochFile+tmpSuffix, 0)
		}, nil},
		{"swap whose originals are there", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[1], logSuffix), segmentPath(b[1], logSuffix+swapSuffix), 0)
			copyFile(t, mem, segmentPath(b[1], indexSuffix), segmentPath(b[1], indexSuffix+swapSuffix), 0)
		}, nil},
		{"swap whose originals are gone", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			must(t, mem.Rename(segmentPath(b[1], logSuffix), segmentPath(b[1], logSuffix+swapSuffix)))
		}, nil},
		{"swap with a smaller cleaned", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			copyFile(t, mem, segmentPath(b[2], logSuffix), segmentPath(b[2], logSuffix+swapSuffix), 10)
			copyFile(t, mem, segmentPath(b[1], logSuffix), segmentPath(b[1], logSuffix+cleanedSuffix), 0)
		}, nil},
		{"missing indexes", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			for _, base := range b {
				must(t, mem.Remove(segmentPath(base, indexSuffix)))
				must(t, mem.Remove(segmentPath(base, timeIndexSuffix)))
			}
		}, nil},
		{"swap that covers two segments", func(t *testing.T, mem *vfs.Mem, b []cluster.Offset) {
			one, err := vfs.ReadFile(mem, segmentPath(b[1], logSuffix))
			must(t, err)
			two, err := vfs.ReadFile(mem, segmentPath(b[2], logSuffix))
			must(t, err)
			must(t, vfs.WriteFileAtomic(mem, segmentPath(b[1], logSuffix+swapSuffix), append(one, two...), 0o644))
		}, func(b []cluster.Offset) []cluster.Offset { return append([]cluster.Offset{b[0], b[1]}, b[3:]...) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem, bases := build(t)
			tt.setup(t, mem, bases)
			want := bases
			if tt.want != nil {
				want = tt.want(bases)
			}
			m := openOn(t, mem, cfg)
			l, _ := m.Get(orders)
			if diff := cmp.Diff(want, l.Segments()); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
			if _, err := checkAll(l); err != nil || l.LogEndOffset() != 30 {
				t.Errorf("log ends at %d: %v", l.LogEndOffset(), err)
			}
			closeManager(t, m)
			entries, err := mem.ReadDir(logDirName)
			must(t, err)
			for _, e := range entries {
				if base, suffix, ok := parseSegmentName(e.Name()); ok && (len(suffix) > len(timeIndexSuffix) || base == 777) {
					t.Errorf("%s is still there", e.Name())
				}
			}
		})
	}
}

// TestGapsOfTheCleanerAreKept opens a log without a clean stop whose second segment lost its last batch to the cleaner.
func TestGapsOfTheCleanerAreKept(t *testing.T) {
	cfg := smallConfig()
	mem := filled(t, cfg)
	m := openOn(t, mem, cfg)
	l, _ := m.Get(orders)
	bases := l.Segments()
	closeManager(t, m)
	must(t, mem.Remove("/logs/"+cleanShutdownFile))
	must(t, mem.Remove("/logs/"+recoveryPointFile))
	must(t, vfs.WriteFileAtomic(mem, "/logs/"+cleanerOffsetFile, encodeOffsets(offsetsByLog{orders: bases[2]}), 0o644))
	edit(t, mem, segmentPath(bases[1], logSuffix), func(b []byte) []byte { return b[:len(b)-len(b)/int(bases[2]-bases[1])] })
	m = openOn(t, mem, cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	got, err := readAll(l)
	must(t, err)
	if l.LogEndOffset() != 30 || len(got) != 29 {
		t.Errorf("log ends at %d with %d records, want 30 with 29", l.LogEndOffset(), len(got))
	}
	var p pool
	f, err := l.Read(bases[2]-1, 10, 30, true, &p)
	if err != nil || f.FirstOffset != bases[2] {
		t.Errorf("read within the gap goes on at %d (%v), want %d", f.FirstOffset, err, bases[2])
	}
}

// TestFilesAreKafkas decodes the files with a decoder that is not ours.
func TestFilesAreKafkas(t *testing.T) {
	cfg := DefaultConfig()
	mem := vfs.NewMem()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.TopicID{0: 0xe1, 15: 2}, true, cfg)
	must(t, err)
	appendValues(t, l, 4, 1000, "a", "b")
	appendValues(t, l, 6, 2000, "c")
	closeManager(t, m)
	data, err := vfs.ReadFile(mem, segmentPath(0, logSuffix))
	must(t, err)
	type batch struct {
		First  int64
		Epoch  int32
		Delta  int32
		Max    int64
		Values []string
	}
	var got []batch
	for len(data) > 0 {
		var rb kmsg.RecordBatch
		must(t, rb.ReadFrom(data))
		b := batch{First: rb.FirstOffset, Epoch: rb.PartitionLeaderEpoch, Delta: rb.LastOffsetDelta, Max: rb.MaxTimestamp}
		raw := rb.Records
		for range rb.NumRecords {
			var r kmsg.Record
			must(t, r.ReadFrom(raw))
			b.Values = append(b.Values, string(r.Value))
			n, used := binary.Varint(raw)
			raw = raw[used+int(n):]
		}
		got = append(got, b)
		data = data[12+rb.Length:]
	}
	want := []batch{{0, 4, 1, 1001, []string{"a", "b"}}, {2, 6, 0, 2000, []string{"c"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		logDirName + "/" + leaderEpochFile: "0\n2\n4 0\n6 2\n",
		logDirName + "/" + partitionFile:   "version: 0\ntopic_id: 4QAAAAAAAAAAAAAAAAAAAg\n",
		segmentPath(0, indexSuffix):        "",
		segmentPath(0, timeIndexSuffix):    "\x00\x00\x00\x00\x00\x00\x07\xd0\x00\x00\x00\x02",
		"/logs/" + recoveryPointFile:       "0\n1\norders 3 3\n",
		"/logs/" + logStartFile:            "0\n0\n",
	} {
		if got, err := vfs.ReadFile(mem, name); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
		}
	}
}
