package commitlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

func tpOf(topic string, p int) cluster.TopicPartition {
	return cluster.TopicPartition{Topic: topic, Partition: int32(p)}
}

func twoDirs(fsys vfs.FS) ManagerConfig {
	mc := managerConfig(fsys, smallConfig())
	mc.Dirs = []string{"/a", "/b"}
	return mc
}

func TestLogsGoWhereTheFewestAre(t *testing.T) {
	m, err := OpenManager(t.Context(), twoDirs(vfs.NewMem()))
	must(t, err)
	defer closeManager(t, m)
	var got []string
	for i := range 5 {
		l, err := m.GetOrCreate(tpOf("t", i), cluster.TopicID{}, true, smallConfig())
		must(t, err)
		got = append(got, l.LogDir())
	}
	must(t, m.Delete(tpOf("t", 1)))
	must(t, m.Delete(tpOf("t", 3)))
	l, err := m.GetOrCreate(tpOf("u", 0), cluster.TopicID{}, true, smallConfig())
	must(t, err)
	got = append(got, l.LogDir())
	if diff := cmp.Diff([]string{"/a", "/b", "/a", "/b", "/a", "/b"}, got); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

func TestLogsThatAreCreatedTogetherAreSpreadEvenly(t *testing.T) {
	m, err := OpenManager(t.Context(), twoDirs(vfs.NewMem()))
	must(t, err)
	defer closeManager(t, m)
	const n = 200
	var creating sync.WaitGroup
	logs := make([]*Log, n)
	for i := range n {
		creating.Go(func() {
			var err error
			if logs[i], err = m.GetOrCreate(tpOf("t", i), cluster.TopicID{}, true, smallConfig()); err != nil {
				t.Error(err)
			}
		})
	}
	creating.Wait()
	count := map[string]int{}
	for _, l := range logs {
		count[l.LogDir()]++
	}
	if count["/a"] != n/2 || count["/b"] != n/2 {
		t.Errorf("logs by directory: %v", count)
	}
}

func TestLogsSurviveARestart(t *testing.T) {
	mem := vfs.NewMem()
	mc := twoDirs(mem)
	mc.RecoveryThreads = 3
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	id := cluster.NewTopicID()
	want := map[cluster.TopicPartition]cluster.Offset{}
	hws := map[*Log]cluster.Offset{}
	for i := range 20 {
		tp := tpOf("t", i)
		l, err := m.GetOrCreate(tp, id, true, smallConfig())
		must(t, err)
		if i == 3 || i == 4 {
			hws[l] = map[int]cluster.Offset{3: 2, 4: 4}[i]
		}
		for range i {
			appendValues(t, l, 0, 1, strings.Repeat("x", 40))
		}
		want[tp] = cluster.Offset(i)
	}
	must(t, m.WriteHWCheckpoint(hws))
	for _, kill := range []bool{false, true} {
		if kill {
			mem.Kill()
			_ = m.release()
		} else {
			closeManager(t, m)
		}
		m, err = OpenManager(t.Context(), mc)
		must(t, err)
		got := map[cluster.TopicPartition]cluster.Offset{}
		for _, l := range m.Logs() {
			got[l.TopicPartition()] = l.LogEndOffset()
			if l.TopicID() != id || l.Recovery().Unclean != kill {
				t.Errorf("%s has topic id %s, recovery %+v", l.TopicPartition(), l.TopicID(), l.Recovery())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log ends (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[cluster.TopicPartition]cluster.Offset{tpOf("t", 3): 2, tpOf("t", 4): 4}, m.HighWatermarks()); diff != "" {
			t.Errorf("high watermarks (-want +got):\n%s", diff)
		}
		if hw, ok := m.ReadHW(tpOf("t", 3)); hw != 2 || !ok {
			t.Errorf("high watermark %d, %v", hw, ok)
		}
	}
	closeManager(t, m)
	if n := mem.OpenFiles(); n != 0 {
		t.Errorf("%d files are still open", n)
	}
}

func TestDirectoriesOfOthersAreRefused(t *testing.T) {
	mem := vfs.NewMem()
	mc := twoDirs(mem)
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	if _, err := OpenManager(t.Context(), mc); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second manager: %v", err)
	}
	closeManager(t, m)
	for key, change := range map[string]func(*ManagerConfig){
		"cluster.id": func(c *ManagerConfig) { c.ClusterID = "another" },
		"broker.id":  func(c *ManagerConfig) { c.BrokerID = 2 },
	} {
		other := mc
		change(&other)
		_, err := OpenManager(t.Context(), other)
		var meta *InconsistentMetaError
		if !errors.As(err, &meta) || meta.Key != key || meta.Dir != "/a" {
			t.Errorf("another %s: %v", key, err)
		}
	}
	must(t, WriteMetaProperties(mem, "/b", MetaProperties{ClusterID: mc.ClusterID, BrokerID: 9}, time.Now()))
	unknown := mc
	unknown.BrokerID, unknown.ClusterID = cluster.NoBroker, ""
	if _, err := OpenManager(t.Context(), unknown); err == nil {
		t.Error("directories of two brokers were taken together")
	}
	must(t, mem.Remove("/b/"+metaFile))
	must(t, mem.MkdirAll("/b/not a partition", 0o755))
	if _, err := OpenManager(t.Context(), mc); err == nil || !strings.Contains(err.Error(), "not a partition") {
		t.Errorf("a foreign directory: %v", err)
	}
	must(t, mem.Remove("/b/not a partition"))
	for _, d := range mc.Dirs {
		must(t, mem.MkdirAll(d+"/t-0", 0o755))
	}
	if _, err := OpenManager(t.Context(), mc); err == nil || !strings.Contains(err.Error(), "is also in") {
		t.Errorf("a partition twice: %v", err)
	}
	if n := mem.OpenFiles(); n != 0 {
		t.Errorf("%d files are still open", n)
	}
}

func TestTopicIDs(t *testing.T) {
	m := openOn(t, vfs.NewMem(), smallConfig())
	defer closeManager(t, m)
	id := cluster.NewTopicID()
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, smallConfig())
	must(t, err)
	if !l.TopicID().IsZero() {
		t.Errorf("topic id %s", l.TopicID())
	}
	cfg := smallConfig()
	cfg.SegmentBytes = 12345
	again, err := m.GetOrCreate(orders, id, false, cfg)
	must(t, err)
	if again != l || l.TopicID() != id || l.Config().SegmentBytes != 12345 {
		t.Errorf("topic id %s, segment.bytes %d", l.TopicID(), l.Config().SegmentBytes)
	}
	if _, err := m.GetOrCreate(orders, cluster.NewTopicID(), false, cfg); kerr.CodeOf(err) != kerr.InconsistentTopicID {
		t.Errorf("another topic id: %v", err)
	}
	if _, err := m.GetOrCreate(tpOf("../x", 0), id, true, cfg); kerr.CodeOf(err) != kerr.InvalidTopicException {
		t.Errorf("a name that leads elsewhere: %v", err)
	}
}

// TestARecreatedPartitionInheritsNothing deletes a partition whose offsets are in all checkpoints, creates it again, and cuts the
// power before the next checkpoint (C26).
func TestARecreatedPartitionInheritsNothing(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig()
	m := openOn(t, mem, cfg)
	l, err := m.GetOrCreate(orders, cluster.NewTopicID(), true, cfg)
	must(t, err)
	for range 50 {
		appendValues(t, l, 0, 1, "old")
	}
	must(t, l.Flush())
	must(t, l.AdvanceLogStart(40))
	must(t, m.dirs[0].checkpoint())
	marks := map[*Log]cluster.Offset{l: 50}
	must(t, m.WriteHWCheckpoint(marks))
	must(t, m.Delete(orders))
	if _, err := l.AppendAsLeader(batchOf(t, 1, "late"), 0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("append to a deleted log: %v", err)
	}
	var p pool
	if _, err := l.Read(45, 100, 50, true, &p); err == nil {
		t.Error("a deleted log was read")
	}
	if off := m.OfflineDirs(); len(off) > 0 {
		t.Errorf("deleting took directories offline: %v", off)
	}
	if _, ok := m.Get(orders); ok {
		t.Error("the log is still there")
	}
	must(t, m.Delete(orders))
	id := cluster.NewTopicID()
	l, err = m.GetOrCreate(orders, id, true, cfg)
	must(t, err)
	must(t, m.WriteHWCheckpoint(marks)) // which were collected before the old one was deleted
	if hw, ok := m.ReadHW(orders); ok {
		t.Errorf("the new log has the high watermark %d of the old one", hw)
	}
	for range 20 {
		appendValues(t, l, 0, 1, "new")
	}
	must(t, l.Flush())
	m = openOn(t, mem.CrashClone(vfs.CrashOptions{Seed: 1, Data: vfs.KeepRandom, Names: vfs.KeepRandom}), cfg)
	defer closeManager(t, m)
	l, _ = m.Get(orders)
	got, err := checkAll(l)
	if err != nil || len(got) != 20 || got[0].Value != "new" || l.LogStartOffset() != 0 || l.TopicID() != id {
		t.Errorf("%d records from %d, id %s: %v", len(got), l.LogStartOffset(), l.TopicID(), err)
	}
}

func TestDeletionSurvivesAPowerCut(t *testing.T) {
	mem := vfs.NewMem()
	m := openOn(t, mem, smallConfig())
	_, err := m.GetOrCreate(orders, cluster.TopicID{}, true, smallConfig())
	must(t, err)
	must(t, m.Delete(orders))
	synctest.Test(t, func(t *testing.T) {
		disk := mem.CrashClone(vfs.CrashOptions{})
		m := openOn(t, disk, smallConfig())
		if n := len(m.Logs()); n != 0 {
			t.Errorf("%d logs are back", n)
		}
		m.Start()
		advance(2 * time.Minute)
		closeManager(t, m)
		entries, err := disk.ReadDir("/logs")
		must(t, err)
		for _, e := range entries {
			if e.IsDir() {
				t.Errorf("%s is still there", e.Name())
			}
		}
	})
}

func TestOneDirectoryFailsAlone(t *testing.T) {
	boom := errors.New("input/output error")
	bad := &vfs.Toggle{Inner: vfs.When(func(c vfs.Call) bool { return strings.HasPrefix(c.Path, "/b/") && c.Op.Mutates() }, vfs.Fail(boom))}
	mem := vfs.NewMem()
	failures := make(chan string, 10)
	mc := twoDirs(vfs.Inject(mem, bad))
	mc.OnDirFailure = func(dir string, err error) { failures <- fmt.Sprintf("%s: %v", dir, errors.Is(err, boom)) }
	m, err := OpenManager(t.Context(), mc)
	must(t, err)
	logs := make([]*Log, 4)
	for i := range logs {
		logs[i], err = m.GetOrCreate(tpOf("t", i), cluster.TopicID{}, true, smallConfig())
		must(t, err)
		appendValues(t, logs[i], 0, 1, "good")
	}
	bad.Set(true)
	if _, err := logs[1].AppendAsLeader(batchOf(t, 2, "bad"), 0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("append on the failing disk: %v", err)
	}
	if got := <-failures; got != "/b: true" {
		t.Errorf("failure reported as %q", got)
	}
	if _, err := logs[3].AppendAsLeader(batchOf(t, 2, "bad"), 0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("append to another log of the failed directory: %v", err)
	}
	appendValues(t, logs[0], 0, 2, "still good")
	if off := m.OfflineDirs(); len(off) != 1 || off["/b"] == nil {
		t.Errorf("offline: %v", off)
	}
	if _, err := m.GetOrCreate(tpOf("u", 0), cluster.TopicID{}, false, smallConfig()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("a replica that may be on the failed disk was created elsewhere: %v", err)
	}
	l, err := m.GetOrCreate(tpOf("u", 0), cluster.TopicID{}, true, smallConfig())
	if err != nil || l.LogDir() != "/a" {
		t.Errorf("a new replica: %v", err)
	}
	if err := m.Delete(tpOf("t", 1)); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("deletion on the failed disk: %v", err)
	}
	must(t, m.WriteHWCheckpoint(map[*Log]cluster.Offset{logs[0]: 1, logs[1]: 1}))
	must(t, m.Close(context.Background()))
	if len(failures) != 0 {
		t.Error("the failure was reported more than once")
	}
	for dir, want := range map[string]bool{"/a": true, "/b": false} {
		if _, err := mem.Stat(dir + "/" + cleanShutdownFile); (err == nil) != want {
			t.Errorf("marker in %s: %v", dir, err)
		}
	}
	bad.Set(false)
	m, err = OpenManager(t.Context(), mc)
	must(t, err)
	defer closeManager(t, m)
	for i := range logs {
		l, _ := m.Get(tpOf("t", i))
		if got, err := checkAll(l); err != nil || len(got) == 0 || l.Recovery().Unclean != (i%2 == 1) {
			t.Errorf("log %d after a restart: %v, %v, %+v", i, got, err, l.Recovery())
		}
	}
}

func TestAllDirectoriesFail(t *testing.T) {
	for _, pattern := range []string{highWatermarkFile, cleanShutdownFile, "t-0"} {
		mem := vfs.NewMem()
		m := openOn(t, mem, smallConfig())
		_, err := m.GetOrCreate(tpOf("t", 0), cluster.TopicID{}, true, smallConfig())
		must(t, err)
		must(t, m.WriteHWCheckpoint(nil))
		closeManager(t, m)
		_, err = tryOpen(vfs.Inject(mem, vfs.OnBase(pattern, vfs.Fail(errors.New("boom")))), smallConfig())
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s cannot be read: %v", pattern, err)
		}
		if n := mem.OpenFiles(); n != 0 {
			t.Errorf("%s cannot be read: %d files are still open", pattern, n)
		}
	}
}

func TestDamagedCheckpoints(t *testing.T) {
	for _, name := range []string{recoveryPointFile, logStartFile, cleanerOffsetFile, highWatermarkFile} {
		mem := filled(t, smallConfig())
		must(t, vfs.WriteFileAtomic(mem, "/logs/"+name, []byte("0\n3\norders"), 0o644))
		m, err := tryOpen(mem, smallConfig())
		if name == highWatermarkFile {
			if !errors.Is(err, kerr.KafkaStorageError) {
				t.Errorf("%s is damaged: %v", name, err)
			}
			continue
		}
		must(t, err)
		l, _ := m.Get(orders)
		if got, err := checkAll(l); err != nil || len(got) != 30 {
			t.Errorf("%s is damaged: %d records, %v", name, len(got), err)
		}
		closeManager(t, m)
	}
}

func TestCloseThatRunsOutOfTimeLeavesNoMarker(t *testing.T) {
	mem := vfs.NewMem()
	m := openOn(t, mem, smallConfig())
	l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, smallConfig())
	must(t, err)
	appendValues(t, l, 0, 1, "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if _, err := mem.Stat("/logs/" + cleanShutdownFile); err == nil {
		t.Error("there is a marker")
	}
	if err := m.Close(context.Background()); err != nil {
		t.Errorf("second Close: %v", err)
	}
	m = openOn(t, mem, smallConfig())
	defer closeManager(t, m)
	if l, _ := m.Get(orders); l.LogEndOffset() != 1 {
		t.Errorf("log ends at %d", l.LogEndOffset())
	}
}

func TestConcurrentCreationMakesOneLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := vfs.Inject(vfs.NewMem(), vfs.OnOps(vfs.Latency(time.Millisecond), vfs.OpMkdir, vfs.OpRename))
		m := openOn(t, slow, smallConfig())
		defer closeManager(t, m)
		logs := make(chan *Log, 10)
		for range cap(logs) {
			go func() {
				l, err := m.GetOrCreate(orders, cluster.TopicID{5}, true, smallConfig())
				if err != nil {
					t.Error(err)
				}
				logs <- l
			}()
		}
		first := <-logs
		for range cap(logs) - 1 {
			if l := <-logs; l != first {
				t.Error("two logs for one partition")
			}
		}
	})
}

// TestOnARealDisk takes a log through its life on the file system of this machine.
func TestOnARealDisk(t *testing.T) {
	dir := t.TempDir()
	cfg := smallConfig()
	cfg.SegmentBytes = 100_000
	cfg.FlushMessages = 50
	mc := ManagerConfig{Dirs: []string{dir}, Defaults: cfg, BrokerID: 1, ClusterID: "4Q1mTd1ZQ9mkB8mvYxNGlA"}
	open := func() (*Manager, *Log) {
		m, err := OpenManager(t.Context(), mc)
		must(t, err)
		m.Start()
		l, err := m.GetOrCreate(orders, cluster.TopicID{1}, true, cfg)
		must(t, err)
		return m, l
	}
	m, l := open()
	for i := range 300 {
		appendValues(t, l, cluster.LeaderEpoch(i/100), int64(i), strings.Repeat("x", 1000))
	}
	if _, err := OpenManager(t.Context(), mc); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second manager: %v", err)
	}
	must(t, l.Truncate(250))
	appendValues(t, l, 5, 1000, "y")
	closeManager(t, m)
	m, l = open()
	if l.Recovery().Unclean || l.LogEndOffset() != 251 {
		t.Errorf("after a clean stop: %+v, log ends at %d", l.Recovery(), l.LogEndOffset())
	}
	if _, err := checkAll(l); err != nil {
		t.Error(err)
	}
	m.stop()
	m.loops.Wait()
	must(t, m.release()) // as if the process had died; nothing else is written
	m, l = open()
	if got, err := checkAll(l); err != nil || len(got) != 251 || !l.Recovery().Unclean {
		t.Errorf("after an unclean stop: %d records, %+v, %v", len(got), l.Recovery(), err)
	}
	must(t, m.Delete(orders))
	closeManager(t, m)
}
