package e2e

// What a broker has to refuse, and the tests that fail if it does not. The tests in this package send it to a real process over TCP; the rooms' own tests
// have each case in many more forms.
//
//	illegal topic names (empty, ".", "..", 250 characters, "/", unicode)  TestHostileTopics, TestHostileBatches; server.TestProduceRefuses, server.TestCreateTopics
//	names that collide in . and _                                         TestHostileTopics; controller.TestRefusals; cmd/ottla quickstart.txtar
//	unknown topic, partition out of range                                 TestHostileBatches, TestHostileReads; server.TestProduceRefuses, server.TestFetchErrors
//	partitions and replication factor                                     TestHostileTopics; controller.TestRefusals
//	batch too large                                                       TestHostileBatches; record.TestHostileBatches
//	wrong magic, wrong CRC                                                TestHostileBatches; record.TestHostileBatches, record.FuzzValidate
//	negative and huge lengths in batches and varints                      TestHostileBatches; record.TestHostileRecords, record.FuzzSplit, wire.FuzzProduceRequest
//	record counts that lie                                                TestHostileBatches; record.TestHostileBatches, record.TestHostileRecords
//	decompression bombs                                                   TestDecompressionBombs; record.FuzzDecompress and the tests of compress_test.go
//	offsets out of range                                                  TestHostileReads; server.TestFetchErrors, server.TestListOffsets
//	unknown acks                                                          TestHostileBatches; server.TestProduceRefuses
//	unknown settings and bad values of a topic                            TestHostileTopics; config.TestValidateTopicConfigHasKafkasWords
//	unknown settings and bad values of a broker                           cmd/ottla usage.txtar, servers.txtar, config.txtar; config.TestBadValuesHaveKafkasWords
//	a message larger than the gRPC limit                                  TestAMessageAboveTheLimit; server.TestARequestThatIsTooLarge, dial.TestAMessageAboveTheLimitIsRefusedAndTheConnectionStays
//	a client that never reads                                             TestClientsThatNeverRead; server.TestAReaderThatDoesNotReadIsDisconnected, server.TestASubscriberThatDoesNotReadIsDisconnected
//	a client that sends half a request and leaves                         TestClientsThatLeaveInMidRequest; server.TestClientsThatLeaveAtOnceDoNoHarm, server.TestASilentConnectionIsClosedAndKeepsNobodyWaiting

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// victim is a broker with the topic "events" of one partition, and a connection to it.
type victim struct {
	*server
	t         *testing.T
	zookeeper string
	cc        *grpc.ClientConn
}

func newVictim(t *testing.T, settings ...string) *victim {
	t.Helper()
	v := &victim{t: t, zookeeper: embeddedZooKeeper(t)}
	v.server = startBroker(t, v.zookeeper, settings...)
	mustTool(t, nil, "topics", "--create", "--topic", "events", "--bootstrap-server", v.addr)
	v.cc = v.connect()
	return v
}

// connect opens another connection.
func (v *victim) connect() *grpc.ClientConn {
	v.t.Helper()
	cc, err := dial.Connect(v.addr, dial.ClientOptions{ClientID: "hostile"})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { cc.Close() })
	return cc
}

// number returns a number that the system keeps about the broker, for example VmHWM, the most memory that it ever had, in KiB.
func (v *victim) number(name string) int {
	v.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	if err != nil {
		v.t.Skip("this system does not tell about processes: ", err)
	}
	m := regexp.MustCompile(name + `:\s+(\d+)`).FindSubmatch(text)
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}

// connections counts the files and connections that the broker has open.
func (v *victim) connections() int {
	v.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.cmd.Process.Pid))
	if err != nil {
		v.t.Skip("this system does not tell about processes: ", err)
	}
	return len(entries)
}

// line is a Produce stream.
type line struct {
	v *victim
	s *wire.ProduceStream
}

func (v *victim) line(cc *grpc.ClientConn) *line {
	v.t.Helper()
	s, err := wire.OpenProduce(v.t.Context(), cc)
	if err != nil {
		v.t.Fatal(err)
	}
	return &line{v, s}
}

// put sends a batch and returns what became of it.
func (l *line) put(topic string, partition, acks int32, records []byte) *ottlapb.PartitionProduceResult {
	l.v.t.Helper()
	if err := l.s.Send(&wire.ProduceRequest{Acks: acks, TimeoutMs: 30_000, Topics: []wire.ProduceTopic{{Name: topic, Partitions: []wire.ProducePartition{{Index: partition, Records: records}}}}}); err != nil {
		_, err = l.s.Recv()
		l.v.t.Fatalf("send: %v", err)
	}
	r, err := l.s.Recv()
	if err != nil {
		l.v.t.Fatalf("the stream ended: %v", err)
	}
	return r.GetTopics()[0].GetPartitions()[0]
}

// good sends a batch of one record, which has to get the given offset.
func (l *line) good(offset int64) {
	l.v.t.Helper()
	if r := l.put("events", 0, 1, batchOf(l.v.t, record.None, []byte("good"))); r.ErrorCode != 0 || r.BaseOffset != offset {
		l.v.t.Fatalf("a good batch: %v %s at offset %d, want offset %d", kerr.Code(r.ErrorCode), r.ErrorMessage, r.BaseOffset, offset)
	}
}

// batchOf returns a batch with a record for each value.
func batchOf(t *testing.T, codec record.Codec, values ...[]byte) record.Batch {
	t.Helper()
	b := record.NewBuilder(nil, math.MaxInt32)
	for _, v := range values {
		if !b.Append(1_700_000_000_000, nil, v, nil) {
			t.Fatal("the batch is full")
		}
	}
	out, err := b.Finish(codec, record.DefaultLevel, -1, -1, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(out)
}

// changed returns a batch with other bytes at a place, and with the checksum for them.
func changed(b record.Batch, at int, with ...byte) []byte {
	p := slices.Concat(b[:at], with, b[min(len(b), at+len(with)):])
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// damaged is changed with the checksum as it was.
func damaged(b record.Batch, at int, with ...byte) []byte {
	return slices.Concat(b[:at], with, b[at+len(with):])
}

func TestHostileBatches(t *testing.T) {
	v := newVictim(t)
	l := v.line(v.cc)
	b := batchOf(t, record.None, []byte("a"), []byte("b"))
	for n, c := range []struct {
		name      string
		topic     string
		partition int32
		acks      int32
		records   []byte
		want      kerr.Code
	}{
		{"the empty name", "", 0, 1, b, kerr.InvalidTopicException},
		{"a dot", ".", 0, 1, b, kerr.InvalidTopicException},
		{"two dots", "..", 0, 1, b, kerr.InvalidTopicException},
		{"a path", "../../etc/passwd", 0, 1, b, kerr.InvalidTopicException},
		{"250 characters", strings.Repeat("x", 250), 0, 1, b, kerr.InvalidTopicException},
		{"unicode", "événements", 0, 1, b, kerr.InvalidTopicException},
		{"an unknown topic", "nowhere", 0, 1, b, kerr.UnknownTopicOrPartition},
		{"partition 1 of one", "events", 1, 1, b, kerr.UnknownTopicOrPartition},
		{"partition -1", "events", -1, 1, b, kerr.UnknownTopicOrPartition},
		{"the largest partition", "events", math.MaxInt32, 1, b, kerr.UnknownTopicOrPartition},
		{"acks=2", "events", 0, 2, b, kerr.InvalidRequiredAcks},
		{"acks=-2", "events", 0, -2, b, kerr.InvalidRequiredAcks},
		{"nothing", "events", 0, 1, nil, kerr.CorruptMessage},
		{"a piece of a header", "events", 0, 1, b[:60], kerr.CorruptMessage},
		{"a batch without its end", "events", 0, 1, b[:len(b)-1], kerr.CorruptMessage},
		{"two batches", "events", 0, 1, slices.Concat(b, b), kerr.InvalidRecord},
		{"a negative batch length", "events", 0, 1, damaged(b, 8, 0xff, 0xff, 0xff, 0xff), kerr.CorruptMessage},
		{"a huge batch length", "events", 0, 1, damaged(b, 8, 0x7f, 0xff, 0xff, 0xff), kerr.CorruptMessage},
		{"magic 0", "events", 0, 1, damaged(b, 16, 0), kerr.UnsupportedForMessageFormat},
		{"magic 3", "events", 0, 1, damaged(b, 16, 3), kerr.CorruptMessage},
		{"a wrong checksum", "events", 0, 1, damaged(b, 17, 1, 2, 3, 4), kerr.CorruptMessage},
		{"a changed byte", "events", 0, 1, damaged(b, len(b)-2, 'x'), kerr.CorruptMessage},
		{"codec 7", "events", 0, 1, changed(b, 21, 0, 7), kerr.UnsupportedCompressionType},
		{"a control batch", "events", 0, 1, changed(b, 21, 0, 0x20), kerr.InvalidRecord},
		{"a count of 0", "events", 0, 1, changed(b, 57, 0, 0, 0, 0), kerr.InvalidRecord},
		{"a count of -1", "events", 0, 1, changed(b, 57, 0xff, 0xff, 0xff, 0xff), kerr.InvalidRecord},
		{"a count of 2147483647", "events", 0, 1, changed(b, 57, 0x7f, 0xff, 0xff, 0xff), kerr.InvalidRecord},
		{"a count and a last offset of 2147483647", "events", 0, 1, changed(changed(b, 57, 0x7f, 0xff, 0xff, 0xff), 23, 0x7f, 0xff, 0xff, 0xfe), kerr.InvalidRecord},
		{"a count of 3 for two records", "events", 0, 1, changed(changed(b, 57, 0, 0, 0, 3), 23, 0, 0, 0, 2), kerr.InvalidRecord},
		{"a record length of -1", "events", 0, 1, changed(b, 61, 1), kerr.InvalidRecord},
		{"a huge record length", "events", 0, 1, changed(b, 61, 0xfe, 0xff, 0xff, 0xff, 0x0f), kerr.InvalidRecord},
		{"a varint that does not end", "events", 0, 1, changed(b, 61, bytes.Repeat([]byte{0xff}, 10)...), kerr.InvalidRecord},
		{"a key length of -2", "events", 0, 1, changed(b, 65, 3), kerr.InvalidRecord},
		{"a value that is longer than the record", "events", 0, 1, changed(b, 66, 0x7e), kerr.InvalidRecord},
		{"a batch above max.message.bytes", "events", 0, 1, batchOf(t, record.None, make([]byte, 1048588)), kerr.MessageTooLarge},
	} {
		if r := l.put(c.topic, c.partition, c.acks, c.records); kerr.Code(r.ErrorCode) != c.want || r.BaseOffset != -1 {
			t.Errorf("%s: %v %q at offset %d, want %v", c.name, kerr.Code(r.ErrorCode), r.ErrorMessage, r.BaseOffset, c.want)
		}
		l.good(int64(n)) // the same stream goes on, and nothing was stored
	}
	if out := mustTool(t, nil, "topics", "--list", "--bootstrap-server", v.addr); out != "events\n" {
		t.Errorf("the topics are now %q", out)
	}
}

func TestDecompressionBombs(t *testing.T) {
	v := newVictim(t)
	l := v.line(v.cc)
	l.good(0)
	before := v.number("VmHWM")
	zeros := make([]byte, 200<<20)
	bombs := map[string][]byte{
		// A block of snappy says first how long it is when decompressed.
		"snappy": changed(changed(batchOf(t, record.None, []byte("a block of snappy")), 61, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 'x'), 21, 0, 2),
	}
	for _, codec := range []record.Codec{record.Gzip, record.LZ4, record.Zstd} {
		bombs[codec.String()] = batchOf(t, codec, zeros)
	}
	for name, bomb := range bombs {
		if len(bomb) > 1<<20 {
			t.Fatalf("the bomb of %s has %d bytes", name, len(bomb))
		}
		if r := l.put("events", 0, 1, bomb); kerr.Code(r.ErrorCode) != kerr.InvalidRecord {
			t.Errorf("%s: %v %q", name, kerr.Code(r.ErrorCode), r.ErrorMessage)
		}
	}
	l.good(1)
	grown := v.number("VmHWM") - before
	t.Logf("%d KiB more", grown)
	if grown > 64<<10 {
		t.Errorf("the broker needed %d KiB more for bombs", grown)
	}
}

func TestHostileTopics(t *testing.T) {
	v := newVictim(t)
	mustTool(t, nil, "topics", "--create", "--topic", "a.b", "--bootstrap-server", v.addr)
	auto := func(name string) *ottlapb.CreatableTopic {
		return &ottlapb.CreatableTopic{Name: name, NumPartitions: 1, ReplicationFactor: 1}
	}
	sized := func(partitions, factor int32) *ottlapb.CreatableTopic {
		return &ottlapb.CreatableTopic{Name: "x", NumPartitions: partitions, ReplicationFactor: factor}
	}
	placed := func(brokers ...[]int32) *ottlapb.CreatableTopic {
		c := &ottlapb.CreatableTopic{Name: "x", NumPartitions: -1, ReplicationFactor: -1}
		for i, ids := range brokers {
			c.Assignments = append(c.Assignments, &ottlapb.ReplicaAssignment{PartitionIndex: int32(i), BrokerIds: ids})
		}
		return c
	}
	set := func(name, value string) *ottlapb.CreatableTopic {
		c := auto("x")
		c.Configs = []*ottlapb.ConfigEntry{{Name: name, Value: value}}
		return c
	}
	for _, c := range []struct {
		name  string
		topic *ottlapb.CreatableTopic
		want  kerr.Code
	}{
		{"the empty name", auto(""), kerr.InvalidTopicException},
		{"a dot", auto("."), kerr.InvalidTopicException},
		{"two dots", auto(".."), kerr.InvalidTopicException},
		{"a slash", auto("a/b"), kerr.InvalidTopicException},
		{"a path", auto("../../../tmp/x"), kerr.InvalidTopicException},
		{"a zero byte", auto("a\x00b"), kerr.InvalidTopicException},
		{"a blank", auto("a b"), kerr.InvalidTopicException},
		{"unicode", auto("événements"), kerr.InvalidTopicException},
		{"250 characters", auto(strings.Repeat("x", 250)), kerr.InvalidTopicException},
		{"a name that collides", auto("a_b"), kerr.InvalidTopicException},
		{"a name that exists", auto("events"), kerr.TopicAlreadyExists},
		{"no partitions", sized(0, 1), kerr.InvalidPartitions},
		{"-5 partitions", sized(-5, 1), kerr.InvalidPartitions},
		{"2147483647 partitions", sized(math.MaxInt32, 1), kerr.InvalidPartitions},
		{"no replicas", sized(1, 0), kerr.InvalidReplicationFactor},
		{"-2 replicas", sized(1, -2), kerr.InvalidReplicationFactor},
		{"more replicas than brokers", sized(1, 2), kerr.InvalidReplicationFactor},
		{"a broker twice", placed([]int32{0, 0}), kerr.InvalidReplicaAssignment},
		{"different replication factors", placed([]int32{0}, []int32{0, 1}), kerr.InvalidReplicaAssignment},
		{"a negative broker", placed([]int32{-1}), kerr.InvalidReplicaAssignment},
		{"no brokers", placed([]int32{}), kerr.InvalidReplicaAssignment},
		{"an unknown setting", set("retention.msec", "1"), kerr.InvalidConfig},
		{"a number that is none", set("retention.ms", "abc"), kerr.InvalidConfig},
		{"a number that is too small", set("min.insync.replicas", "0"), kerr.InvalidConfig},
		{"a word that is none of those allowed", set("cleanup.policy", "burn"), kerr.InvalidConfig},
		{"a setting of brokers", set("log.dirs", "/tmp"), kerr.InvalidConfig},
	} {
		res, err := ottlapb.NewTopicServiceClient(v.cc).CreateTopics(t.Context(), &ottlapb.CreateTopicsRequest{TimeoutMs: 10_000, Topics: []*ottlapb.CreatableTopic{c.topic}})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r := res.GetTopics()[0]; kerr.Code(r.ErrorCode) != c.want || r.ErrorMessage == "" {
			t.Errorf("%s: %v %q, want %v", c.name, kerr.Code(r.ErrorCode), r.ErrorMessage, c.want)
		}
	}
	// Nothing of all that is anywhere.
	for _, where := range [][]string{{"--bootstrap-server", v.addr}, {"--zookeeper", v.zookeeper}} {
		if out := mustTool(t, nil, append([]string{"topics", "--list"}, where...)...); out != "a.b\nevents\n" {
			t.Errorf("the topics are now %q", out)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(v.dir, "*-*", "partition.metadata"))
	if err != nil || len(dirs) != 2 {
		t.Errorf("on disk there are %q, %v", dirs, err)
	}
}

func TestHostileReads(t *testing.T) {
	v := newVictim(t)
	v.line(v.cc).good(0)
	for _, c := range []struct {
		name      string
		topic     string
		partition int32
		offset    int64
		want      kerr.Code
	}{
		{"offset -5", "events", 0, -5, kerr.OffsetOutOfRange},
		{"an offset after the end", "events", 0, 2, kerr.OffsetOutOfRange},
		{"the largest offset", "events", 0, math.MaxInt64, kerr.OffsetOutOfRange},
		{"an unknown topic", "nowhere", 0, 0, kerr.UnknownTopicOrPartition},
		{"partition 1 of one", "events", 1, 0, kerr.UnknownTopicOrPartition},
		{"partition -1", "events", -1, 0, kerr.UnknownTopicOrPartition},
		{"a path", "../events", 0, 0, kerr.InvalidTopicException},
		{"the end", "events", 0, 1, kerr.None},
	} {
		s, err := wire.OpenFetch(t.Context(), v.cc)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(fetchOf(c.topic, c.partition, c.offset)); err != nil {
			t.Fatal(err)
		}
		res, err := s.Recv()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.want == kerr.None && len(res.Topics) == 0 {
			continue // nothing to say
		}
		if p := res.Topics[0].Partitions[0]; p.ErrorCode != c.want || len(p.Records) > 0 {
			t.Errorf("%s: %v and %d bytes, want %v", c.name, p.ErrorCode, len(p.Records), c.want)
		}
	}
}

// fetchOf asks for as much of a partition as there may be, and does not wait for it.
func fetchOf(topic string, partition int32, offset int64) *ottlapb.FetchRequest {
	return &ottlapb.FetchRequest{ReplicaId: -1, BrokerEpoch: -1, MaxBytes: math.MaxInt32, Topics: []*ottlapb.FetchTopic{{Name: topic, Partitions: []*ottlapb.FetchPartition{{
		Index: partition, CurrentLeaderEpoch: -1, FetchOffset: offset, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: math.MaxInt32,
	}}}}}
}

func TestAMessageAboveTheLimit(t *testing.T) {
	v := newVictim(t, "socket.request.max.bytes=1048576", "message.max.bytes=10485760")
	bystander := v.line(v.cc)
	bystander.good(0)
	l := v.line(v.cc)
	_ = l.s.Send(&wire.ProduceRequest{Acks: 1, Topics: []wire.ProduceTopic{{Name: "events", Partitions: []wire.ProducePartition{{Records: batchOf(t, record.None, make([]byte, 2<<20))}}}}})
	if _, err := l.s.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the stream ended with %v", err)
	}
	bystander.good(1) // another stream of the same connection
	v.line(v.cc).good(2)
}

// TestClientsThatNeverRead has clients ask for far more than the broker may hold for them, and read nothing of it.
func TestClientsThatNeverRead(t *testing.T) {
	v := newVictim(t)
	l := v.line(v.cc)
	const batches = 60
	for i := range batches {
		if r := l.put("events", 0, 1, batchOf(t, record.None, make([]byte, 1_000_000))); r.ErrorCode != 0 || r.BaseOffset != int64(i) {
			t.Fatalf("batch %d: %v at %d", i, kerr.Code(r.ErrorCode), r.BaseOffset)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 6 {
		cc := v.connect()
		for range 8 {
			s, err := wire.OpenFetch(ctx, cc)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(fetchOf("events", 0, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// 48 sessions want 55 MiB each. Everybody else is served meanwhile.
	for i := range 20 {
		l.good(int64(batches + i))
	}
	if out := mustTool(t, nil, "get-offsets", "--topic", "events", "--bootstrap-server", v.addr); out != fmt.Sprintf("events:0:%d\n", batches+20) {
		t.Errorf("offsets %q", out)
	}
	peak := v.number("VmHWM")
	t.Logf("the broker took at most %d MiB", peak>>10)
	if peak > 450<<10 {
		t.Errorf("the broker took %d KiB of memory", peak)
	}
	// A consumer gets its records as soon as the others are gone, if not before.
	cancel()
	r := tool(t, nil, "console-consumer", "--topic", "events", "--partition", "0", "--offset", strconv.Itoa(batches), "--max-messages", "20", "--timeout-ms", "20000", "--bootstrap-server", v.addr)
	if r.code != 0 || strings.Count(r.stdout, "good\n") != 20 {
		t.Errorf("exit code %d, %d records: %s", r.code, strings.Count(r.stdout, "good\n"), tail(r.stderr, 5))
	}
}

// eventually waits until a condition holds that nobody announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, condition)
}
