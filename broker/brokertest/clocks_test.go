package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/brokertest/history"
	"github.com/ottla/ottla/broker/clock"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk/znode"
)

// warnings is what brokers log about their clocks. It is safe for concurrent use.
type warnings struct {
	logger hclog.Logger
	mu     sync.Mutex
	text   bytes.Buffer
}

func newWarnings() *warnings {
	w := &warnings{}
	w.logger = hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Warn})
	return w
}

func (w *warnings) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !bytes.Contains(p, []byte(".clock")) {
		return io.Discard.Write(p)
	}
	return w.text.Write(p)
}

// of returns what a broker has warned of.
func (w *warnings) of(id int) (lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.text.String()) {
		if strings.Contains(line, host(id)+".clock") {
			lines = append(lines, line)
		}
	}
	return lines
}

const (
	day    = 24 * time.Hour
	future = 8 * day
)

// clocks are the two ways in which a clock is wrong.
var clocks = map[string]time.Duration{"eight days ahead": future, "a day behind": -day}

// roles are what the broker with the wrong clock may be, of three of which 1 leads and 0 is the controller.
var roles = map[string]int{"the leader": 1, "a follower": 2, "the controller, which follows": 0}

// timestamps are the ways in which a leader's clock matters to records.
var timestamps = map[string]map[string]string{
	"CreateTime":    {"message.timestamp.before.max.ms": "3600000", "message.timestamp.after.max.ms": "3600000"},
	"LogAppendTime": {"message.timestamp.type": "LogAppendTime"},
}

// TestTheClockOfOneBrokerJumps sets the clock of one broker under load, and back. Nothing may be deleted on any of the replicas because it looks old, nothing
// refused because it looks old or early, and whoever runs the cluster is warned within ten seconds.
func TestTheClockOfOneBrokerJumps(t *testing.T) {
	for which, ahead := range clocks {
		for role, id := range roles {
			for kind, configs := range timestamps {
				t.Run(fmt.Sprintf("%s is %s, %s", role, which, kind), func(t *testing.T) {
					if raceDetector && (role != "the leader" || kind != "CreateTime") {
						t.Skip("the race detector sees one row of each clock")
					}
					bubble(t, func(t *testing.T) { clockJumps(t, id, ahead, configs) })
				})
			}
		}
	}
}

func clockJumps(t *testing.T, id int, ahead time.Duration, configs map[string]string) {
	log := newWarnings()
	c := Start(t, Options{Brokers: 3, Logger: log.logger, Settings: map[string]string{"log.retention.check.interval.ms": "5000"}})
	cl := c.Client(t)
	topic := map[string]string{"min.insync.replicas": "2", "segment.bytes": "8192", "segment.ms": fmt.Sprint(day.Milliseconds())}
	for k, v := range configs {
		topic[k] = v
	}
	replicated(t, cl, topic, byThree...)
	o := observe(t, c)
	began := time.Now()
	w := load(t, cl, "r")
	<-time.After(3 * time.Second)
	before := o.state(events).LeaderEpoch
	segments := len(segmentFiles(t, c, events, 1))

	c.SetClock(id, ahead)
	<-time.After(10 * time.Second)
	if lines := log.of(id); len(lines) != 1 || !strings.Contains(lines[0], "jump="+ahead.String()) {
		t.Errorf("the warnings are %q", lines)
	}
	<-time.After(50 * time.Second) // the retention has looked by now
	c.SetClock(id, 0)
	<-time.After(20 * time.Second)
	o.unmoved(before)
	for other := range 3 {
		if lines := log.of(other); other != id && len(lines) > 0 {
			t.Errorf("broker %d, whose clock is right, says %q", other, lines)
		}
	}
	r := w.flawless(cl)
	within(t, r.Gap, 100*time.Millisecond)
	o.awaitISR(events, 0, 1, 2)
	settled(t, c, events, 0, 1, 2)
	// About 3.9 kB a second: segments roll by size, not by a time that has not passed.
	if now := len(segmentFiles(t, c, events, 1)); now > segments+83*20 {
		t.Errorf("there were %d segments after 3 s, and are %d", segments, now)
	}
	o.datedBetween(cl, began, time.Now())
}

// datedBetween wants all records of the partition to be dated between two times.
func (o *observer) datedBetween(cl *client.Client, from, to time.Time) {
	o.t.Helper()
	ends, err := cl.ListOffsets(o.t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{events: client.Latest})
	if err != nil || ends[events].Err != nil {
		o.t.Fatal(err, ends[events].Err)
	}
	r, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		o.t.Fatal(err)
	}
	defer r.Close(context.Background())
	if err := r.Assign(events); err != nil {
		o.t.Fatal(err)
	}
	for rec, err := range r.Records(o.t.Context()) {
		if err != nil {
			o.t.Fatal(err)
		}
		if rec.Timestamp.Before(from.Truncate(time.Millisecond)) || rec.Timestamp.After(to) {
			o.t.Fatalf("the record at offset %d is dated %v, and was written between %v and %v", rec.Offset, rec.Timestamp, from, to)
		}
		if rec.Offset+1 == ends[events].Offset {
			return
		}
	}
}

// TestAProducerIsNotForgottenByAJump keeps the answer to a record from its producer for half an hour, in which the leader's clock is eight days ahead. The
// producer sends it again all the time, and nothing else: a leader that forgets it takes the record for a new one.
func TestAProducerIsNotForgottenByAJump(t *testing.T) {
	if raceDetector {
		t.Skip("half an hour is long for the race detector")
	}
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t, client.Dialer(c.Network().Dialer("sender")))
		reading := c.Client(t)
		replicated(t, reading, map[string]string{"min.insync.replicas": "2"}, byThree...)
		p, err := producer.New(cl, producer.WithAcks(producer.AcksAll), producer.DeliveryTimeout(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		h := history.New(time.Now)
		send := func(value string) (done chan struct{}) {
			done = make(chan struct{})
			s := h.Send("p", events, value)
			if err := p.SendAsync(t.Context(), producer.Record{Topic: events.Topic, Partition: producer.To(0), Value: []byte(value)}, func(r producer.Result, err error) {
				defer close(done)
				if err != nil {
					s.Failed(err)
					t.Errorf("%s: %v", value, err)
					return
				}
				s.Acked(r.Offset)
			}); err != nil {
				t.Fatal(err)
			}
			return done
		}
		<-send("a")
		for id := range 3 {
			c.Network().CutOneWay(host(id), "sender")
		}
		done := send("b")
		<-time.After(10 * time.Second)
		c.SetClock(1, future)
		<-time.After(30 * time.Minute) // producers are looked at every ten minutes
		for id := range 3 {
			c.Network().Heal(host(id), "sender")
		}
		<-done
		<-send("c")
		last := h.Final(events)
		for i, v := range readAll(t, reading, events.Topic) {
			last.Got(events, cluster.Offset(i), v)
		}
		r, err := h.Check(history.Options{Idempotent: true})
		if err != nil || len(r.Anomalies) > 0 || r.Acked != 3 {
			t.Error(r, err)
		}
	})
}

// TestABrokerStartsWithAWrongClock starts a follower whose clock is ahead of ZooKeeper's, and lets it lead: nothing expires by it, in its files or in those
// of others, and the producer goes on with its numbers. When the clock is set right, things expire in time.
func TestABrokerStartsWithAWrongClock(t *testing.T) {
	if raceDetector {
		t.Skip("an hour is long for the race detector")
	}
	for which, ahead := range clocks {
		t.Run(which, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				log := newWarnings()
				c := Start(t, Options{Brokers: 3, Logger: log.logger, Settings: map[string]string{"log.retention.check.interval.ms": "5000"}})
				cl := c.Client(t)
				replicated(t, cl, map[string]string{"min.insync.replicas": "2", "segment.bytes": "8192"}, byThree...)
				o := observe(t, c)
				w := load(t, cl, "r")
				<-time.After(3 * time.Second)
				c.Stop(t, 2)
				c.SetClock(2, ahead)
				c.Restart(t, 2)
				if lines := log.of(2); len(lines) != 1 || !strings.Contains(lines[0], "difference="+ahead.String()) {
					t.Errorf("the warnings are %q", lines)
				}
				o.awaitISR(events, 0, 1, 2)
				c.Stop(t, 1) // 2 leads now
				if s := o.state(events); s.Leader != 2 {
					t.Fatalf("the partition is %+v", s)
				}
				<-time.After(time.Minute)
				c.Restart(t, 1)
				<-time.After(10 * time.Second)
				w.flawless(cl)
				o.awaitISR(events, 0, 1, 2)
				settled(t, c, events, 0, 1, 2)
				c.SetClock(2, 0)
				<-time.After(10 * time.Second)
				if n := len(segmentFiles(t, c, events, 2)); n < 5 {
					t.Errorf("%d segments are there", n)
				}
				mustAlter(t, cl, topicResource, events.Topic, "retention.ms=60000")
				<-time.After(clock.Grace + 2*time.Minute) // a clock that was set forward counts later
				if n := len(segmentFiles(t, c, events, 2)); n != 1 {
					t.Errorf("after retention.ms %d segments are there", n)
				}
			})
		})
	}
}

// TestChangesOfSettingsAreKeptForOthersWhateverTheClockSays changes settings at a broker whose clock is wrong, while another one does not hear of it: the
// notification has to be there when that one comes back.
func TestChangesOfSettingsAreKeptForOthersWhateverTheClockSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3})
		c.Stop(t, 0)
		c.SetClock(0, future) // what it believes from the start
		c.Restart(t, 0)
		cl := c.Client(t)
		replicated(t, cl, nil, byThree...)
		<-time.After(time.Second) // until all know the topic
		mustAlter(t, cl, topicResource, events.Topic, "max.message.bytes=5000")
		<-time.After(time.Second)
		names, _, err := look(t, c).Children(t.Context(), znode.ConfigChanges)
		if err != nil || len(names) != 1 {
			t.Errorf("the notifications are %v, %v", names, err)
		}
	})
}
