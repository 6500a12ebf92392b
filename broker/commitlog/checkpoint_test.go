package commitlog

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

func TestCheckpointBytes(t *testing.T) {
	offsets := offsetsByLog{
		{Topic: "orders", Partition: 10}: 99,
		{Topic: "orders", Partition: 2}:  4711,
		{Topic: "a-b.c_d", Partition: 0}: 0,
	}
	want := "0\n3\na-b.c_d 0 0\norders 2 4711\norders 10 99\n"
	if got := string(encodeOffsets(offsets)); got != want {
		t.Errorf("offsets: %q, want %q", got, want)
	}
	if got := string(encodeOffsets(nil)); got != "0\n0\n" {
		t.Errorf("no offsets: %q", got)
	}
	if got := string(encodeEpochs([]EpochEntry{{Epoch: 0, StartOffset: 0}, {Epoch: 7, StartOffset: 1234567890123}})); got != "0\n2\n0 0\n7 1234567890123\n" {
		t.Errorf("epochs: %q", got)
	}
	back, err := decodeOffsets([]byte(want))
	if diff := cmp.Diff(offsets, back); err != nil || diff != "" {
		t.Errorf("decoded: %v (-want +got):\n%s", err, diff)
	}
}

func TestCheckpointsThatAreNotOnes(t *testing.T) {
	for name, text := range map[string]string{
		"version":             "1\n0\n",
		"no version":          "\n0\n",
		"no count":            "0\n",
		"count is a word":     "0\nmany\n",
		"count is negative":   "0\n-1\n",
		"count is too large":  "0\n2\norders 0 1\n",
		"count is too small":  "0\n0\norders 0 1\n",
		"too few fields":      "0\n1\norders 1\n",
		"too many fields":     "0\n1\norders 1 2 3\n",
		"partition is a word": "0\n1\norders x 2\n",
		"partition negative":  "0\n1\norders -1 2\n",
		"offset is a word":    "0\n1\norders 1 x\n",
		"offset negative":     "0\n1\norders 1 -2\n",
		"twice the same":      "0\n2\norders 1 2\norders 1 3\n",
		"rubbish":             "\x00\x00\x00\x00",
		"cut in a number":     "0\n2\norders 0 4711\norders 1",
	} {
		if got, err := decodeOffsets([]byte(text)); err == nil {
			t.Errorf("%s: %q was read as %v", name, text, got)
		}
	}
	for name, text := range map[string]string{
		"epoch falls":  "0\n2\n5 0\n4 10\n",
		"offset falls": "0\n2\n5 10\n6 10\n",
		"negative":     "0\n1\n-1 0\n",
	} {
		if got, err := decodeEpochs([]byte(text)); err == nil {
			t.Errorf("%s: %q was read as %v", name, text, got)
		}
	}
	if got, err := decodeOffsets(nil); err != nil || len(got) != 0 {
		t.Errorf("an empty file: %v, %v; want no entries", got, err)
	}
}

func TestMetaProperties(t *testing.T) {
	now := time.Date(2024, 2, 9, 8, 7, 6, 0, time.UTC)
	m := MetaProperties{ClusterID: "4Q1mTd1ZQ9mkB8mvYxNGlA", BrokerID: 1}
	want := "#\n#Fri Feb 09 08:07:06 UTC 2024\nversion=0\nbroker.id=1\ncluster.id=4Q1mTd1ZQ9mkB8mvYxNGlA\n"
	if got := string(encodeMetaProperties(m, now)); got != want {
		t.Errorf("meta.properties is\n%s\nwant\n%s", got, want)
	}
	mem := vfs.NewMem()
	must(t, mem.MkdirAll("/d", 0o755))
	if _, ok, err := ReadMetaProperties(mem, "/d"); ok || err != nil {
		t.Errorf("no file: %v, %v", ok, err)
	}
	must(t, WriteMetaProperties(mem, "/d", m, now))
	if got, ok, err := ReadMetaProperties(mem, "/d"); got != m || !ok || err != nil {
		t.Errorf("read back: %+v, %v, %v", got, ok, err)
	}
	for text, want := range map[string]MetaProperties{
		"cluster.id=x\nversion=0\n":                    {ClusterID: "x", BrokerID: -1},
		"# c\nbroker.id = 7\ncluster.id: y\nversion=0": {ClusterID: "y", BrokerID: 7},
	} {
		if got, err := decodeMetaProperties([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "version=1\ncluster.id=x", "version=0\nbroker.id=one", "version=0\nbroker.id=-5"} {
		if got, err := decodeMetaProperties([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestPartitionMetadata(t *testing.T) {
	id := cluster.NewTopicID()
	if got, err := decodePartitionMetadata(encodePartitionMetadata(id)); err != nil || got != id {
		t.Errorf("read back: %v, %v; want %v", got, err, id)
	}
	for _, text := range []string{"", "version: 0\n", "version: 1\ntopic_id: " + id.String(), "version: 0\ntopic_id: short\n", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n"} {
		if got, err := decodePartitionMetadata([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestDirectoryNames(t *testing.T) {
	hex := strings.Repeat("0a", 16)
	for name, want := range map[string]struct {
		kind dirKind
		tp   cluster.TopicPartition
	}{
		"orders-3":                      {dirLog, orders},
		"a-b-0":                         {dirLog, cluster.TopicPartition{Topic: "a-b"}},
		"orders-3." + hex + "-delete":   {dirDelete, orders},
		"orders-3." + hex + "-future":   {dirFuture, orders},
		"orders-3." + hex + "-stray":    {dirStray, orders},
		"orders-3.abc-delete":           {dirUnknown, cluster.TopicPartition{}},
		"orders":                        {dirUnknown, cluster.TopicPartition{}},
		"orders-":                       {dirUnknown, cluster.TopicPartition{}},
		"orders-03":                     {dirUnknown, cluster.TopicPartition{}},
		"-3":                            {dirUnknown, cluster.TopicPartition{}},
		"lost+found":                    {dirUnknown, cluster.TopicPartition{}},
		"orders 1-3":                    {dirUnknown, cluster.TopicPartition{}},
		strings.Repeat("x", 250) + "-0": {dirUnknown, cluster.TopicPartition{}},
	} {
		kind, tp := parseDirName(name)
		if kind != want.kind || tp != want.tp {
			t.Errorf("parseDirName(%q) = %v, %v; want %v, %v", name, kind, tp, want.kind, want.tp)
		}
	}
	for _, n := range []int{1, 100, 249} {
		tp := cluster.TopicPartition{Topic: strings.Repeat("t", n), Partition: 1000}
		name := deleteDirName(tp)
		kind, back := parseDirName(name)
		if len(name) > 255 || kind != dirDelete || back.Partition != 1000 || n <= 200 && back != tp {
			t.Errorf("%d bytes: %q, of kind %v for %v", len(name), name, kind, back)
		}
	}
}
