package brokertest

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/proto/wire"
)

// TestMinISRTakesEffectOnARunningLog changes it for the topic, for one broker, and for all. Beyond the number of replicas it asks for all of them.
func TestMinISRTakesEffectOnARunningLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 2, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, nil, 1, 0)
		o := observe(t, c)
		check := func(when string, want error) {
			t.Helper()
			if err := sendOne(t, cl, events.Topic, 10); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		mustAlter(t, cl, topicResource, events.Topic, "min.insync.replicas=3")
		check("both in sync", nil)
		c.Stop(t, 0)
		o.awaitISR(events, 1)
		<-time.After(time.Second) // until the leader knows it too
		check("one in sync", kerr.NotEnoughReplicas)
		mustAlter(t, cl, topicResource, events.Topic, "min.insync.replicas!")
		check("without an override", nil)
		mustAlter(t, cl, brokerResource, "", "min.insync.replicas=2")
		check("2 for all brokers", kerr.NotEnoughReplicas)
		mustAlter(t, cl, brokerResource, "1", "min.insync.replicas=1")
		check("1 for the leader", nil)
		mustAlter(t, cl, brokerResource, "1", "min.insync.replicas!")
		check("again 2 for all brokers", kerr.NotEnoughReplicas)
		c.Restart(t, 0)
		o.awaitISR(events, 1, 0)
		<-time.After(time.Second)
		check("both in sync again", nil)
	})
}

// numberedRecord sends a record of a producer with that sequence number, in epoch 0, and returns the leader's code.
func numberedRecord(t *testing.T, cl *client.Client, leader cluster.BrokerID, id int64, sequence int32) kerr.Code {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, _, err := cl.OpenProduce(ctx, leader)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(nil, 1000)
	b.Append(time.Now().UnixMilli(), nil, []byte("x"), nil)
	batch, err := b.Finish(record.None, record.DefaultLevel, id, 0, sequence, false)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(&wire.ProduceRequest{Acks: 1, TimeoutMs: 30_000, Topics: []wire.ProduceTopic{
		{Name: events.Topic, Partitions: []wire.ProducePartition{{Index: events.Partition, Records: batch}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return kerr.Code(res.Topics[0].Partitions[0].ErrorCode)
}

// TestProducersAreForgottenAfterTheirTime tries a gap in the sequence numbers of a producer, which a leader accepts only when it does not remember it.
func TestProducersAreForgottenAfterTheirTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"producer.id.expiration.ms": "600000"}})
		cl := c.Client(t)
		replicated(t, cl, nil, 0)
		id := producerID(t, cl, 0)
		sequence := int32(0)
		next := func(silent time.Duration, jump int32, want kerr.Code) {
			t.Helper()
			<-time.After(silent)
			if got := numberedRecord(t, cl, 0, id, sequence+jump); got != want {
				t.Errorf("after %v of silence, %d numbers ahead: %v, want %v", silent, jump, got, want)
			} else if got == kerr.None {
				sequence += jump + 1
			}
		}
		next(0, 0, kerr.None)
		next(9*time.Minute, 7, kerr.OutOfOrderSequenceNumber)
		next(11*time.Minute, 7, kerr.None) // checks are ten minutes apart
		mustAlter(t, cl, brokerResource, "", "producer.id.expiration.ms=3600000")
		next(25*time.Minute, 7, kerr.OutOfOrderSequenceNumber)
		mustAlter(t, cl, brokerResource, "0", "producer.id.expiration.ms=60000")
		next(10*time.Minute, 7, kerr.None)
	})
}

// TestCheckpointsAreWrittenAtTheirIntervals gives each of the three checkpoints another one.
func TestCheckpointsAreWrittenAtTheirIntervals(t *testing.T) {
	const recoveryPoints, logStarts, highWatermarks = "recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"
	intervals := map[string]time.Duration{recoveryPoints: 20 * time.Second, logStarts: 2 * time.Minute, highWatermarks: 5 * time.Second}
	for _, swap := range []bool{false, true} {
		if swap {
			intervals = map[string]time.Duration{recoveryPoints: 2 * time.Minute, logStarts: 5 * time.Second, highWatermarks: 20 * time.Second}
		}
		bubble(t, func(t *testing.T) {
			c := Start(t, Options{Settings: map[string]string{
				"log.flush.offset.checkpoint.interval.ms":       strconv.Itoa(int(intervals[recoveryPoints].Milliseconds())),
				"log.flush.start.offset.checkpoint.interval.ms": strconv.Itoa(int(intervals[logStarts].Milliseconds())),
				"replica.high.watermark.checkpoint.interval.ms": strconv.Itoa(int(intervals[highWatermarks].Milliseconds())),
				"log.retention.check.interval.ms":               "36000000", "log.flush.interval.messages": "1",
			}})
			cl := c.Client(t)
			replicated(t, cl, nil, 0)
			send(t, cl, events.Topic, "n", 5)
			res, err := admin.New(cl).DeleteRecords(t.Context(), map[cluster.TopicPartition]cluster.Offset{events: 3}, time.Minute)
			if err != nil || res[events].Err != nil {
				t.Fatal(err, res)
			}
			lines := map[string]string{recoveryPoints: "events 0 5\n", logStarts: "events 0 3\n", highWatermarks: "events 0 5\n"}
			start, written := time.Now(), map[string]time.Duration{}
			for since := time.Duration(0); since < 3*time.Minute; since = time.Since(start) {
				for name, line := range lines {
					text, err := vfs.ReadFile(c.Disk(0), "/logs/"+name)
					if _, done := written[name]; err == nil && !done && strings.Contains(string(text), line) {
						written[name] = since
					}
				}
				<-time.After(time.Second)
			}
			for name, interval := range intervals {
				if at, done := written[name]; !done || at < interval/2 || at > interval+time.Second {
					t.Errorf("%s said so after %v (%v), with an interval of %v", name, at, done, interval)
				}
			}
		})
	}
}

// TestTheNumberOfFetchersChangesWhileRecordsAreWritten raises num.replica.fetchers and lowers it again.
func TestTheNumberOfFetchersChangesWhileRecordsAreWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var spread atomic.Int32
		logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
		logger.RegisterSink(noticing{"spreading partitions over another number of fetchers", &spread})
		c := Start(t, Options{Brokers: 3, Logger: logger})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "3"}, 1, 2, 0)
		w := load(t, cl, "w")
		for _, n := range []string{"2", "4", "3", "2", "1"} {
			<-time.After(time.Second)
			mustAlter(t, cl, brokerResource, "", "num.replica.fetchers="+n)
		}
		if err := alter(t, cl, brokerResource, "", "num.replica.fetchers=3"); err == nil {
			t.Error("three times as many are not refused")
		}
		<-time.After(time.Second)
		w.flawless(cl)
		settled(t, c, events, 1, 2, 0)
		if n := spread.Load(); n != 5*3 {
			t.Errorf("%d brokers have heard of a change, want 3 for each of 5", n)
		}
	})
}

// noticing counts messages in a log.
type noticing struct {
	text string
	n    *atomic.Int32
}

func (s noticing) Accept(_ string, _ hclog.Level, message string, _ ...any) {
	if strings.Contains(message, s.text) {
		s.n.Add(1)
	}
}
