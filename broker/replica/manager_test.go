package replica

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

const checkpointFile = "/logs/replication-offset-checkpoint"

func contentOf(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHighWatermarksAreNotedEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		b := startBroker(t, disk)
		p := b.lead(0, self)
		b.add(p, 7, AcksAll)
		noted := func() bool { return strings.Contains(contentOf(t, disk, checkpointFile), "orders 0 7\n") }
		<-time.After(4 * time.Second)
		if noted() {
			t.Error("noted after 4 s")
		}
		<-time.After(time.Second)
		synctest.Wait()
		if !noted() {
			t.Errorf("after 5 s the checkpoint is %q", contentOf(t, disk, checkpointFile))
		}
		b.stop()
	})
}

func TestHighWatermarksSurviveARestart(t *testing.T) {
	disk := vfs.NewMem()
	b := startBroker(t, disk)
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 5, AcksLeader)
	read(p, follower(2), from(5))
	b.add(p, 5, AcksLeader)
	b.stop()

	// A broker that is told nothing keeps what it has.
	b = startBroker(t, disk)
	b.stop()

	b = startBroker(t, disk)
	p = b.lead(1, self, 2)
	if p.HighWatermark() != 5 {
		t.Errorf("high watermark %d after a restart, want 5", p.HighWatermark())
	}
	// A follower that led before does not truncate to it: the end is still 10.
	if p.log.LogEndOffset() != 10 {
		t.Errorf("log end %d, want 10", p.log.LogEndOffset())
	}
}

func TestALogOfALaterEpochIsNotLedInAnEarlierOne(t *testing.T) {
	disk := vfs.NewMem()
	b := startBroker(t, disk)
	b.add(b.lead(7, self), 5, AcksLeader)
	b.stop()
	// ZooKeeper has been restored from a backup.
	b = startBroker(t, disk)
	for _, epoch := range []cluster.LeaderEpoch{3, 6} {
		if code := b.order(b.state(self, epoch, self)); code != kerr.FencedLeaderEpoch {
			t.Errorf("leader epoch %d: %v", epoch, code)
		}
		if p := b.held(); p.Leads() {
			t.Errorf("leads in epoch %d", p.LeaderEpoch())
		}
	}
	if at, end, ok := b.held().log.EndOffsetForEpoch(7); at != 7 || end != 5 || !ok {
		t.Errorf("epoch %d ends at %d, want 7 at 5", at, end)
	}
	p := b.lead(8, self)
	if a := b.add(p, 1, AcksLeader); a.Info.FirstOffset != 5 {
		t.Errorf("appended at %d, want 5", a.Info.FirstOffset)
	}
}

func TestAHighWatermarkBeyondTheLogIsBroughtBack(t *testing.T) {
	disk := vfs.NewMem()
	b := startBroker(t, disk)
	p := b.lead(0, self)
	b.add(p, 5, AcksAll)
	if err := b.m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.logs.WriteHWCheckpoint(map[*commitlog.Log]cluster.Offset{p.log: 4711}); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b = startBroker(t, disk)
	if p = b.lead(1, self, 2); p.HighWatermark() != 5 {
		t.Errorf("high watermark %d, want 5", p.HighWatermark())
	}
}

func TestAFailedDiskTakesItsPartitionsOffline(t *testing.T) {
	broken := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(errors.New("input/output error")), vfs.OpWrite)}
	b := startBroker(t, vfs.Inject(vfs.NewMem(), broken))
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	waiting := b.add(p, 3, AcksAll).Wait
	broken.Set(true)
	if _, err := p.Append(batchOf(t, 1, 0), AcksLeader); kerr.CodeOf(err) != kerr.KafkaStorageError {
		t.Fatalf("append to a broken disk: %v", err)
	}
	broken.Set(false)
	if _, err := p.Append(batchOf(t, 1, 0), AcksLeader); kerr.CodeOf(err) != kerr.KafkaStorageError {
		t.Errorf("append after the disk was broken: %v", err)
	}
	if got := outcomeOf(t, waiting); got != "KAFKA_STORAGE_ERROR" {
		t.Errorf("a producer that waits: %s", got)
	}
	if res, _ := read(p, consumer(), from(0)); res.Code != kerr.KafkaStorageError {
		t.Errorf("read: %v", res.Code)
	}
	if _, err := p.ListOffset(consumer(), LatestTimestamp, -1); kerr.CodeOf(err) != kerr.KafkaStorageError {
		t.Errorf("list: %v", err)
	}
	if got := b.order(b.state(self, 1, self)); got != kerr.KafkaStorageError {
		t.Errorf("order to lead: %v", got)
	}
	_, outcomes := b.m.ApplyStopReplica(StopReplica{b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: 1, Delete: true}}})
	if outcomes[0].Code != kerr.KafkaStorageError {
		t.Errorf("order to stop: %v", outcomes[0].Code)
	}
}

func TestADiskThatFailsWhileThePartitionIsCreated(t *testing.T) {
	broken := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(errors.New("input/output error")), vfs.OpMkdir)}
	b := startBroker(t, vfs.Inject(vfs.NewMem(), broken))
	broken.Set(true)
	if got := b.order(b.state(self, 0, self)); got != kerr.KafkaStorageError {
		t.Errorf("order to lead: %v", got)
	}
	p := b.held()
	if _, err := p.Append(batchOf(t, 1, 0), AcksLeader); kerr.CodeOf(err) != kerr.KafkaStorageError {
		t.Errorf("append: %v", err)
	}
	if res, _ := read(p, consumer(), from(0)); res.Code != kerr.KafkaStorageError {
		t.Errorf("read: %v", res.Code)
	}
	if end := p.LogEndOffset(); end != cluster.UnknownOffset {
		t.Errorf("end %d", end)
	}
}

func TestOrdersAfterCloseAreRefused(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.lead(0, self)
	if err := b.m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _ := b.m.ApplyLeaderAndISR(LeaderAndISR{b.sender, []PartitionState{b.state(self, 1, self)}}); code != kerr.StaleBrokerEpoch {
		t.Errorf("answered with %v", code)
	}
	if err := b.m.Close(t.Context()); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestSignals(t *testing.T) {
	heard := func(s *Signal) bool {
		select {
		case <-s.C():
			return true
		default:
			return false
		}
	}
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	mark, end := NewSignal(), NewSignal()
	p.Watch(mark, WatermarkMoved)
	p.Watch(end, EndMoved)
	for _, c := range []struct {
		name      string
		event     func()
		mark, end bool
	}{
		{"an append that nobody else has", func() { b.add(p, 1, AcksLeader); b.add(p, 1, AcksLeader) }, false, true},
		{"a follower's fetch", func() { read(p, follower(2), from(2)) }, true, false},
		{"a fetch that says nothing new", func() { read(p, follower(2), from(2)) }, false, false},
		{"the leadership ends", func() { b.order(b.state(2, 1, 2, self)) }, true, true},
		{"it begins again", func() { b.lead(2, self, 2) }, true, true},
		{"the partition is stopped", func() {
			b.m.ApplyStopReplica(StopReplica{b.sender, []StopPartition{{TopicPartition: orders0, LeaderEpoch: -1, Delete: false}}})
		}, true, true},
		{"its disk fails", func() { b.m.DirFailed("/logs") }, true, true},
	} {
		c.event()
		if got := heard(mark); got != c.mark {
			t.Errorf("%s: who waits for the watermark hears %v, want %v", c.name, got, c.mark)
		}
		if got := heard(end); got != c.end {
			t.Errorf("%s: who waits for the end hears %v, want %v", c.name, got, c.end)
		}
	}
	p.Unwatch(mark)
	p.Unwatch(end)
	p.Unwatch(end)
	if n := p.watchers.count.Load(); n != 0 {
		t.Errorf("%d signals are still registered", n)
	}
}
