package commitlog

import (
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// TestAClockThatIsSetBackHoldsNothingUp sets the clock back a day: flush.ms and file.delete.delay.ms are intervals, and do not care.
func TestAClockThatIsSetBackHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := withoutLimits()
		cfg.FlushMs, cfg.FileDeleteDelayMs = 1000, 5000
		mem := vfs.NewMem()
		mc := managerConfig(mem, cfg)
		var ahead atomic.Int64
		mc.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		m, err := OpenManager(t.Context(), mc)
		must(t, err)
		defer closeManager(t, m)
		l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
		must(t, err)
		other := cluster.TopicPartition{Topic: "other"}
		_, err = m.GetOrCreate(other, cluster.TopicID{}, true, cfg)
		must(t, err)
		m.Start()
		must(t, m.Delete(other))
		ahead.Store(int64(-24 * time.Hour))
		appendValues(t, l, 0, 1000, "v")
		<-time.After(10 * time.Second)
		synctest.Wait()
		if l.RecoveryPoint() != 1 {
			t.Error("flush.ms has passed, and nothing is flushed")
		}
		entries, err := mem.ReadDir("/logs")
		must(t, err)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "other") {
				t.Errorf("file.delete.delay.ms has passed, and %s is there", e.Name())
			}
		}
	})
}

// TestThingsGrowOldByExpiry lets Now be eight days ahead of Expiry: no record and no producer is old, in the running broker and at its start.
func TestThingsGrowOldByExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := withoutLimits()
		cfg.RetentionMs = (7 * 24 * time.Hour).Milliseconds()
		mem := vfs.NewMem()
		mc := managerConfig(mem, cfg)
		mc.ProducerIDExpiration = 24 * time.Hour
		var ahead atomic.Int64 // of Expiry; Now is eight days more
		mc.Expiry = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		mc.Now = func() time.Time { return mc.Expiry().Add(8 * 24 * time.Hour) }
		mc.HighWatermark = func(cluster.TopicPartition) cluster.Offset { return math.MaxInt64 }
		open := func() (*Manager, *Log) {
			m, err := OpenManager(t.Context(), mc)
			must(t, err)
			l, err := m.GetOrCreate(orders, cluster.TopicID{}, true, cfg)
			must(t, err)
			m.Start()
			return m, l
		}
		m, l := open()
		_, err := l.AppendAsLeader(numberedBatch(t, time.Now().UnixMilli(), 1, 0, 0, false, "v"), 0)
		must(t, err)
		<-time.After(time.Hour)
		must(t, m.Close(t.Context()))
		m, l = open()
		if n := len(l.Producers()); n != 1 || l.LogStartOffset() != 0 {
			t.Errorf("%d producers are known, and the log begins at %d", n, l.LogStartOffset())
		}
		ahead.Store(int64(8 * 24 * time.Hour))
		<-time.After(time.Hour)
		synctest.Wait()
		if n := len(l.Producers()); n != 0 || l.LogStartOffset() != 1 {
			t.Errorf("eight days later %d producers are known, and the log begins at %d", n, l.LogStartOffset())
		}
		closeManager(t, m)
	})
}
