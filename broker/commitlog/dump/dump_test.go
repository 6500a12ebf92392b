package dump_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/commitlog/dump"
	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// A new version of a compressor changes the sizes of batches: then the golden files are to be rewritten.
var update = flag.Bool("update", false, "rewrite the golden files")

// readOnly is a file system on which files can be opened for reading, and nothing else.
type readOnly struct {
	vfs.FS // nil
	disk   vfs.FS
}

func (r readOnly) Open(name string) (vfs.File, error) {
	f, err := r.disk.Open(name)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f: f}, nil
}

// readOnlyFile is a file that can be read, and nothing else.
type readOnlyFile struct {
	vfs.File // nil
	f        vfs.File
}

func (r readOnlyFile) ReadAt(p []byte, at int64) (int, error) { return r.f.ReadAt(p, at) }
func (r readOnlyFile) Size() (int64, error)                   { return r.f.Size() }
func (r readOnlyFile) Close() error                           { return r.f.Close() }

// run dumps files of a disk and returns everything that was printed, with the exit code's worth.
func run(t testing.TB, disk vfs.FS, o dump.Options, names ...string) (out, errs string, ok bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	o.FS, o.Out, o.Err = readOnly{disk: disk}, &stdout, &stderr
	ok = dump.Files(t.Context(), o, names)
	return stdout.String(), stderr.String(), ok
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file.
func put(t testing.TB, disk vfs.FS, name string, p []byte) {
	t.Helper()
	must(t, disk.MkdirAll(filepath.Dir(name), 0o755))
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	must(t, err)
	_, err = f.WriteAt(p, 0)
	must(t, err)
	must(t, f.Close())
}

// build makes a batch of records with keys k0, k1, … and values of some length.
func build(t testing.TB, codec record.Codec, at int64, n, size int, id int64, epoch int16, seq int32, txn bool) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for i := range n {
		var headers []record.Header
		if i == 1 {
			headers = []record.Header{{Key: "trace", Value: []byte{1}}, {Key: "ünit"}}
		}
		b.Append(at+int64(i), fmt.Appendf(nil, "k%d", i), []byte(strings.Repeat("v", size)), headers)
	}
	batch, err := b.Finish(codec, record.DefaultLevel, id, epoch, seq, txn)
	must(t, err)
	return batch
}

// realLog writes a log the way a broker does: two segments, all codecs, an idempotent and a transactional producer, an aborted transaction.
func realLog(t testing.TB) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	m, err := commitlog.OpenManager(t.Context(), commitlog.ManagerConfig{FS: disk, Dirs: []string{"/logs"}, Defaults: commitlog.DefaultConfig(), BrokerID: 1, ClusterID: "c"})
	must(t, err)
	cfg := commitlog.DefaultConfig()
	cfg.IndexIntervalBytes, cfg.SegmentBytes = 300, 2600
	l, err := m.GetOrCreate(cluster.TopicPartition{Topic: "t"}, cluster.TopicID{}, true, cfg)
	must(t, err)
	at := int64(1_700_000_000_000)
	add := func(b record.Batch, epoch cluster.LeaderEpoch) {
		t.Helper()
		_, err := l.AppendAsLeader(b, epoch)
		must(t, err)
		at += 1000
	}
	end := func(typ record.MarkerType, id int64, epoch int16) {
		t.Helper()
		_, err := l.AppendAsCoordinator(record.ControlBatch(record.Marker{Type: typ, ProducerID: id, ProducerEpoch: epoch, CoordinatorEpoch: 4, Timestamp: at}), 1)
		must(t, err)
		at += 1000
	}
	for c := record.None; c.Valid(); c++ {
		add(build(t, c, at, 3, 200, -1, -1, -1, false), 0)
	}
	add(build(t, record.None, at, 2, 5, 4000, 0, 0, false), 1)
	add(build(t, record.None, at, 2, 5, 4000, 0, 2, false), 1)
	add(build(t, record.None, at, 1, 5, 4001, 2, 0, true), 1)
	end(record.Commit, 4001, 2)
	add(build(t, record.None, at, 1, 500, 4001, 2, 1, true), 1)
	end(record.Abort, 4001, 2)
	add(build(t, record.None, at, 1, 900, 4002, 0, 0, true), 1)
	add(build(t, record.None, at, 1, 900, -1, -1, -1, false), 1)
	must(t, m.Close(t.Context()))
	return disk
}

// filesOf lists the files of a log that can be dumped.
func filesOf(t testing.TB, disk vfs.FS, dir string) []string {
	t.Helper()
	entries, err := disk.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "0000") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func TestEveryFileOfARealLog(t *testing.T) {
	disk := realLog(t)
	names := filesOf(t, disk, "/logs/t-0")
	kinds := map[string]bool{}
	for _, n := range names {
		kinds[filepath.Ext(n)] = true
	}
	if len(kinds) != 5 || len(names) < 9 {
		t.Fatalf("not every kind of file is there: %v", names)
	}
	out, errs, ok := run(t, disk, dump.Options{}, names...)
	if errs != "" || !ok {
		t.Errorf("complaints: %s", errs)
	}
	golden(t, "shallow.golden", out)
	out, errs, ok = run(t, disk, dump.Options{Contents: true}, names...)
	if errs != "" || !ok {
		t.Errorf("complaints: %s", errs)
	}
	golden(t, "contents.golden", out)
	out, errs, ok = run(t, disk, dump.Options{Contents: true, SkipMetadata: true, VerifyIndexOnly: true}, names...)
	if errs != "" || !ok {
		t.Errorf("complaints: %s", errs)
	}
	golden(t, "skip.golden", out)
	out, errs, ok = run(t, disk, dump.Options{IndexSanityCheck: true}, names...)
	if strings.Count(out, " passed sanity check.\n") != 4 || errs != "" || !ok {
		t.Errorf("sanity of indexes: %s%s", out, errs)
	}
}

func TestWhatDoesNotFitIsReportedAtTheEnd(t *testing.T) {
	disk := realLog(t)
	const base = "/logs/t-0/00000000000000000000"
	spoil := func(suffix string, f func(p []byte) []byte) {
		p, err := vfs.ReadFile(disk, base+suffix)
		must(t, err)
		put(t, disk, base+suffix, f(p))
	}
	spoil(".index", func(p []byte) []byte { p[3]++; p[11]++; return p })               // offsets
	spoil(".timeindex", func(p []byte) []byte { p[7]++; p[23]++; return p })           // a timestamp; an offset
	spoil(".txnindex", func(p []byte) []byte { return append(p, 0, 0, 1) })            // a torn entry
	spoil(".log", func(p []byte) []byte { p[100] ^= 1; return append(p, 1, 2, 3, 4) }) // a record, and junk
	out, errs, ok := run(t, disk, dump.Options{VerifyIndexOnly: true}, base+".index", base+".timeindex", base+".log", base+".txnindex", "/logs/t-0/leader-epoch-checkpoint", "/logs/t-0/7.snapshot")
	if ok {
		t.Error("a file that is not there, and a torn one, are no failure")
	}
	golden(t, "mismatches.out.golden", out)
	golden(t, "mismatches.err.golden", errs)
}

func TestGapsLeftByCompaction(t *testing.T) {
	disk := vfs.NewMem()
	var p []byte
	for i, offset := range []int64{5, 9, 10} {
		b := build(t, record.None, int64(i), 2, 1, -1, -1, -1, false)
		b.SetBaseOffset(offset + int64(i)*2)
		p = append(p, b...)
	}
	put(t, disk, "/t/00000000000000000005.log", p)
	_, errs, ok := run(t, disk, dump.Options{Deep: true}, "/t/00000000000000000005.log")
	want := "Non-consecutive offsets in /t/00000000000000000005.log\n  12 is followed by 14\n  6 is followed by 11\n"
	if diff := cmp.Diff(want, errs); diff != "" || !ok {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPreallocatedAndEmptyIndexes(t *testing.T) {
	disk := vfs.NewMem()
	b := build(t, record.None, 7, 1, 1, -1, -1, -1, false)
	put(t, disk, "/t/00000000000000000000.log", b)
	put(t, disk, "/t/00000000000000000000.index", nil)
	out, _, _ := run(t, disk, dump.Options{}, "/t/00000000000000000000.index")
	if want := "Dumping /t/00000000000000000000.index\n/t/00000000000000000000.index is empty.\n"; out != want {
		t.Error(out)
	}
	put(t, disk, "/t/00000000000000000000.index", make([]byte, 80_000))
	put(t, disk, "/t/00000000000000000000.timeindex", append(binary.BigEndian.AppendUint64(nil, 7), make([]byte, 120_004)...))
	out, errs, ok := run(t, disk, dump.Options{}, "/t/00000000000000000000.index", "/t/00000000000000000000.timeindex")
	want := "Dumping /t/00000000000000000000.index\noffset: 0 position: 0\nDumping /t/00000000000000000000.timeindex\ntimestamp: 7 offset: 0\n"
	if out != want || errs != "" || !ok {
		t.Errorf("%s%s", out, errs)
	}
	put(t, disk, "/t/00000000000000000000.log", build(t, record.None, 7, 3, 1, -1, -1, -1, false))
	put(t, disk, "/t/00000000000000000000.timeindex", make([]byte, 120_000))
	_, errs, ok = run(t, disk, dump.Options{}, "/t/00000000000000000000.index", "/t/00000000000000000000.timeindex")
	if errs != "" || !ok {
		t.Errorf("an index without entries is no mismatch: %s", errs)
	}
	put(t, disk, "/t/00000000000000000000.timeindex", append(binary.BigEndian.AppendUint64(nil, 7), make([]byte, 120_004)...))
	_, errs, ok = run(t, disk, dump.Options{IndexSanityCheck: true}, "/t/00000000000000000000.timeindex")
	if want := "Corrupt time index found, time index file (/t/00000000000000000000.timeindex) has non-zero size but the last timestamp is 0 which is less than the first timestamp 7\n"; errs != want || ok {
		t.Error(errs)
	}
}

func TestMaxBytes(t *testing.T) {
	disk := vfs.NewMem()
	b := build(t, record.None, 7, 1, 1, -1, -1, -1, false)
	put(t, disk, "/t/00000000000000000000.log", append(append(append([]byte{}, b...), b...), b...))
	out, _, ok := run(t, disk, dump.Options{MaxBytes: 2*len(b) + 20}, "/t/00000000000000000000.log")
	if n := strings.Count(out, "baseOffset"); n != 2 || strings.Contains(out, "invalid bytes") || !ok {
		t.Error(out)
	}
}

func TestForeignBatches(t *testing.T) {
	disk := vfs.NewMem()
	const name = "/t/00000000000000000100.log"
	write := func(b kmsg.RecordBatch, records ...kmsg.Record) []byte {
		var body []byte
		for i := range records {
			records[i].OffsetDelta = int32(i)
			records[i].Length = int32(len(records[i].AppendTo(nil)) - 1)
			body = append(body, records[i].AppendTo(nil)...)
		}
		b.Magic, b.Records, b.NumRecords, b.LastOffsetDelta = 2, body, int32(len(records)), int32(len(records))-1
		b.Length = int32(49 + len(body))
		p := b.AppendTo(nil)
		binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
		return p
	}
	none := kmsg.RecordBatch{ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
	appendTime, horizon, control := none, none, none
	appendTime.FirstOffset, appendTime.Attributes, appendTime.MaxTimestamp = 100, 8, 5000
	horizon.FirstOffset, horizon.Attributes, horizon.FirstTimestamp, horizon.MaxTimestamp = 102, 64, 777, 778
	control.FirstOffset, control.Attributes = 103, 32
	put(t, disk, name, bytes.Join([][]byte{
		write(appendTime, kmsg.Record{Key: []byte("k"), TimestampDelta64: 3}, kmsg.Record{Value: []byte("a\xffb")}),
		write(horizon, kmsg.Record{Key: []byte{}}),
		write(control, kmsg.Record{Key: []byte{0, 0, 0, 2}, Value: []byte{0, 0}}),
		write(control, kmsg.Record{Key: []byte{0, 0, 0x12, 0x34}}),
		write(control, kmsg.Record{Key: []byte{0}}),
		write(control, kmsg.Record{Key: []byte{0, 0, 0, 1}}),
		legacy(0, nil, []byte("old")), legacy(1, []byte("k"), []byte("old")),
	}, nil))
	out, errs, ok := run(t, disk, dump.Options{Contents: true}, name)
	golden(t, "foreign.out.golden", out)
	golden(t, "foreign.err.golden", errs)
	if ok {
		t.Error("records that cannot be shown are no failure")
	}
}

// legacy makes a message of version 0 or 1.
func legacy(magic int8, key, value []byte) []byte {
	m := kmsg.MessageV1{Offset: 7, Magic: magic, Timestamp: 99, Key: key, Value: value}
	p := m.AppendTo(nil)
	if magic == 0 {
		v0 := kmsg.MessageV0{Offset: 7, Magic: magic, Key: key, Value: value}
		p = v0.AppendTo(nil)
	}
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
	binary.BigEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p[16:]))
	return p
}

func TestDamagedProducerFiles(t *testing.T) {
	disk := vfs.NewMem()
	good := producers.EncodeSnapshot([]producers.Entry{
		{ProducerID: 1, Epoch: 2, LastSequence: 3, LastOffset: 90, OffsetDelta: 5, Timestamp: 44, CoordinatorEpoch: -1, TxnFirstOffset: 88},
		{ProducerID: 2, Epoch: 0, LastSequence: -1, LastOffset: -1, Timestamp: 45, CoordinatorEpoch: 6, TxnFirstOffset: -1},
	})
	flipped := bytes.Clone(good)
	flipped[20] ^= 1
	version := bytes.Clone(good)
	version[1] = 9
	for i, p := range [][]byte{good, flipped, version, good[:4]} {
		put(t, disk, fmt.Sprintf("/t/%020d.snapshot", i), p)
	}
	out, errs, ok := run(t, disk, dump.Options{}, filesOf(t, disk, "/t")...)
	golden(t, "snapshots.golden", out+"---\n"+errs)
	if !ok {
		t.Error("Kafka's tool goes on after a damaged snapshot")
	}
}

func TestDecoders(t *testing.T) {
	r := &record.Record{Offset: 4, Key: binary.BigEndian.AppendUint64(nil, 1<<40), Value: binary.BigEndian.AppendUint32(nil, 0xfffffffe)}
	for class, want := range map[string]dump.Text{
		"org.apache.kafka.tools.api.LongDecoder":    {Key: "1099511627776"},
		"kafka.serializer.IntegerDecoder":           {Key: "256"},
		"org.apache.kafka.tools.api.DefaultDecoder": {Key: "0000010000000000"},
		"org.apache.kafka.tools.api.StringDecoder":  {Key: "\x00\x00\x01\x00\x00\x00\x00\x00"},
	} {
		f, note, err := dump.FieldByClass(class)
		must(t, err)
		if strings.HasPrefix(class, "kafka") != (note == "kafka.serializer.IntegerDecoder is deprecated. Please use org.apache.kafka.tools.api.IntegerDecoder instead") {
			t.Errorf("%s: note %q", class, note)
		}
		got, err := dump.KeyValue(f, dump.Integers)(r)
		want.Payload, want.HasKey, want.HasPayload = "-2", true, true
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", class, err, diff)
		}
	}
	for _, class := range []string{"", "LongDecoder", "kafka.serializer.", "com.example.Decoder"} {
		if _, _, err := dump.FieldByClass(class); err == nil {
			t.Errorf("%q is a decoder", class)
		}
	}
	if got, err := dump.KeyValue(dump.Strings, dump.Longs)(r); err == nil || !got.HasKey || got.HasPayload {
		t.Errorf("four bytes as a long: %+v, %v", got, err)
	}
}

// zeros is a disk with one huge batch: a header, then zeros.
type zeros struct {
	vfs.FS
	header []byte
	size   int64
}

func (z zeros) Open(string) (vfs.File, error) { return zerosFile{z: z}, nil }

type zerosFile struct {
	vfs.File
	z zeros
}

func (f zerosFile) Size() (int64, error) { return f.z.size, nil }
func (f zerosFile) Close() error         { return nil }
func (f zerosFile) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(f.z.header)) {
		copy(p, f.z.header[at:])
	}
	return len(p), nil
}

func TestMemoryIsBounded(t *testing.T) {
	b := build(t, record.None, 7, 1, 1, -1, -1, -1, false)
	const size = 400 << 20
	binary.BigEndian.PutUint32(b[8:], size-12)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var out, errs bytes.Buffer
	ok := dump.Files(context.Background(), dump.Options{FS: zeros{header: b[:61], size: size}, Out: &out, Err: &errs, Contents: true}, []string{"/0.log"})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
	if want := "/0.log: the batch at 0 has 419430400 bytes; records of batches above 134217728 bytes are not shown\n"; errs.String() != want || ok {
		t.Errorf("%s", errs.String())
	}
	if !strings.Contains(out.String(), "size: 419430400 magic: 2") {
		t.Error(out.String())
	}
}

func FuzzFiles(f *testing.F) {
	disk := realLog(f)
	for _, name := range filesOf(f, disk, "/logs/t-0") {
		p, err := vfs.ReadFile(disk, name)
		must(f, err)
		kind := map[string]uint8{".log": 0, ".index": 1, ".timeindex": 2, ".txnindex": 3, ".snapshot": 4}[filepath.Ext(name)]
		f.Add(kind, p[:min(len(p), 4000)], []byte{})
		if kind == 0 {
			f.Add(uint8(1), []byte{0, 0, 0, 2, 0, 0, 0, 0}, p[:min(len(p), 2000)])
		}
	}
	f.Add(uint8(0), bytes.Join([][]byte{legacy(0, nil, nil), legacy(1, nil, nil)}, nil), []byte{})
	f.Fuzz(func(t *testing.T, kind uint8, p, log []byte) {
		suffix := []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"}[kind%5]
		disk := vfs.NewMem()
		put(t, disk, "/t/00000000000000000000.log", log)
		put(t, disk, "/t/00000000000000000000.index", log)
		put(t, disk, "/t/00000000000000000000"+suffix, p)
		for _, d := range []dump.Decoder{nil, dump.Offsets, dump.Transactions, dump.KeyValue(dump.Integers, dump.Longs)} {
			out, _, _ := run(t, disk, dump.Options{Contents: true, Decoder: d}, "/t/00000000000000000000"+suffix)
			if !strings.HasPrefix(out, "Dumping /t/00000000000000000000"+suffix+"\n") {
				t.Error(out)
			}
		}
		run(t, disk, dump.Options{IndexSanityCheck: true}, "/t/00000000000000000000"+suffix)
	})
}
