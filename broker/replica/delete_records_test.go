package replica

import (
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// starting is a follower's position with the offset at which its log begins.
func starting(offset, logStart cluster.Offset) *Position {
	pos := from(offset)
	pos.LogStart = logStart
	return pos
}

func TestDeletedRecordsWaitForLiveFollowers(t *testing.T) {
	type outcome struct {
		low  cluster.Offset
		code kerr.Code
	}
	for _, row := range []struct {
		name string
		then func(b *broker, p *Partition, expire func()) // after the deletion of the records before 4
		want outcome
	}{
		{"both followers have followed", func(_ *broker, p *Partition, _ func()) {
			read(p, follower(2), starting(5, 4))
			read(p, follower(3), starting(5, 5))
		}, outcome{4, kerr.None}},
		{"one of them begins earlier when the time is over", func(_ *broker, p *Partition, expire func()) {
			read(p, follower(2), starting(5, 4))
			read(p, follower(3), starting(5, 3))
			expire()
		}, outcome{3, kerr.RequestTimedOut}},
		{"one of them is dead", func(b *broker, p *Partition, _ func()) {
			b.alive(1, 2)
			read(p, follower(2), starting(5, 4))
		}, outcome{4, kerr.None}},
		{"another broker leads", func(b *broker, _ *Partition, _ func()) {
			b.order(b.state(2, 1, self, 2, 3))
		}, outcome{cluster.UnknownOffset, kerr.NotLeaderOrFollower}},
		{"this broker leads again", func(b *broker, _ *Partition, _ func()) {
			b.order(b.state(2, 1, self, 2, 3))
			b.order(b.state(self, 2, self, 2, 3))
		}, outcome{cluster.UnknownOffset, kerr.NotLeaderOrFollower}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBroker(t, vfs.NewMem())
				b.alive(1, 2, 3)
				p := b.lead(0, self, 2, 3)
				b.add(p, 5, AcksAll)
				read(p, follower(2), from(5))
				read(p, follower(3), from(5))
				d, err := p.DeleteRecords(4)
				if err != nil {
					t.Fatal(err)
				}
				if start := p.log.LogStartOffset(); start != 4 {
					t.Errorf("the leader's log starts at %d", start)
				}
				expired := make(chan struct{})
				got := make(chan outcome)
				go func() {
					low, code, err := d.Await(t.Context(), NewSignal(), expired)
					if err != nil {
						t.Error(err)
					}
					got <- outcome{low, code}
				}()
				synctest.Wait()
				select {
				case o := <-got:
					t.Fatalf("%+v before a follower could know", o)
				default:
				}
				row.then(b, p, func() { close(expired) })
				if o := <-got; o != row.want {
					t.Errorf("got %+v, want %+v", o, row.want)
				}
			})
		})
	}
}

func TestOnlyLeadersDeleteRecordsAndOnlyWhatConsumersCanRead(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	b.alive(1, 2)
	p := b.lead(0, self, 2)
	b.add(p, 5, AcksAll)
	read(p, follower(2), from(3))
	if _, err := p.DeleteRecords(4); kerr.CodeOf(err) != kerr.OffsetOutOfRange {
		t.Errorf("beyond the high watermark 3: %v", err)
	}
	if _, err := p.DeleteRecords(BeforeWatermark); err != nil || p.log.LogStartOffset() != 3 {
		t.Errorf("up to the high watermark: %v, the log starts at %d", err, p.log.LogStartOffset())
	}
	b.order(b.state(2, 1, self, 2))
	if _, err := p.DeleteRecords(3); kerr.CodeOf(err) != kerr.NotLeaderOrFollower {
		t.Errorf("at a follower: %v", err)
	}
}

// TestSettingsThatChangeWhileALogIsOpened walks the race: an order looks settings up and opens the log with them, and between the two they change, when
// neither log nor partition can be found yet.
func TestSettingsThatChangeWhileALogIsOpened(t *testing.T) {
	b := startBroker(t, vfs.NewMem())
	bytes, changed := 1000, false
	b.m.cfg.TopicConfig = func(topic string) commitlog.Config {
		cfg := commitlog.DefaultConfig()
		cfg.SegmentBytes = bytes
		if !changed {
			changed, bytes, b.minISR = true, 2000, 2
			b.m.TopicConfigChanged(topic)
		}
		return cfg
	}
	p := b.lead(0, self)
	if got := p.log.Config().SegmentBytes; got != 2000 {
		t.Errorf("segment.bytes is %d", got)
	}
	if got := p.minISR.Load(); got != 2 {
		t.Errorf("min.insync.replicas is %d", got)
	}
}
