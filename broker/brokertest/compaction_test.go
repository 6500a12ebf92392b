package brokertest

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// put produces records with keys to partition 0, each in a batch of its own; an empty value is a tombstone.
func put(t *testing.T, cl *client.Client, topic string, kvs ...[2]string) {
	t.Helper()
	p, err := producer.New(cl)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	for _, kv := range kvs {
		r := producer.Record{Topic: topic, Partition: producer.To(0), Key: []byte(kv[0])}
		if kv[1] != "" {
			r.Value = []byte(kv[1])
		}
		if _, err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// latest reads partition 0 from the start to its end and returns how many records there are, and the last value of each key.
func latest(t *testing.T, cl *client.Client, topic string) (records int, values map[string]string) {
	t.Helper()
	tp := cluster.TopicPartition{Topic: topic}
	ends, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
	if err != nil || ends[tp].Err != nil {
		t.Fatal(err, ends[tp].Err)
	}
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.Assign(tp); err != nil {
		t.Fatal(err)
	}
	values = map[string]string{}
	before := cluster.UnknownOffset
	for r, err := range c.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Offset <= before {
			t.Fatalf("offset %d after %d", r.Offset, before)
		}
		before = r.Offset
		records++
		if values[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(values, string(r.Key))
		}
		if r.Offset+1 == ends[tp].Offset {
			break
		}
	}
	return records, values
}

func TestACompactedTopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"log.cleaner.backoff.ms": "5000"}})
		cl := c.Client(t)
		createTopic(t, cl, "table", 1, map[string]string{
			"cleanup.policy": "compact", "segment.bytes": "1000", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "600000", "file.delete.delay.ms": "1000",
		})
		tp := cluster.TopicPartition{Topic: "table"}
		slow, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetEarliest))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close(context.Background())
		want := map[string]string{}
		round := func(n int) {
			for i := range 60 {
				key, value := fmt.Sprint("k", i%12), fmt.Sprint("v", n, "-", i)
				put(t, cl, "table", [2]string{key, value})
				want[key] = value
			}
			gone := fmt.Sprint("k", n)
			put(t, cl, "table", [2]string{gone, ""})
			delete(want, gone)
			put(t, cl, "table", [2]string{"filler", fmt.Sprint(n)}, [2]string{"filler", fmt.Sprint(n)})
			want["filler"] = fmt.Sprint(n)
			<-time.After(2 * time.Minute)
			synctest.Wait()
		}
		round(0)
		if err := slow.Assign(tp); err != nil {
			t.Fatal(err)
		}
		if err := slow.Seek(tp, 7); err != nil { // within what is compacted away
			t.Fatal(err)
		}
		for n := 1; n < 5; n++ {
			round(n)
		}
		records, got := latest(t, cl, "table")
		if !maps.Equal(got, want) {
			t.Errorf("the table holds %v, want %v", got, want)
		}
		if records > 80 {
			t.Errorf("%d records of 13 keys are left of %d", records, 5*63)
		}
		// A consumer whose place was compacted away goes on with what comes after it.
		end, seen := cluster.Offset(5*63), map[string]string{}
		for r, err := range slow.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset < 7 {
				t.Fatalf("offset %d, the consumer was at 7", r.Offset)
			}
			if seen[string(r.Key)] = string(r.Value); r.Value == nil {
				delete(seen, string(r.Key))
			}
			if r.Offset+1 == end {
				break
			}
		}
		if !maps.Equal(seen, want) {
			t.Errorf("the slow consumer holds %v, want %v", seen, want)
		}
		c.Kill(t, 0)
		c.Restart(t, 0)
		cl = c.Client(t)
		if _, again := latest(t, cl, "table"); !maps.Equal(again, want) {
			t.Errorf("after a crash the table holds %v, want %v", again, want)
		}
	})
}

func TestATopicWithRetention(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"log.retention.check.interval.ms": "60000"}})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, map[string]string{"retention.ms": "300000", "segment.bytes": "1000"})
		put(t, cl, "events", [2]string{"old", "1"})
		<-time.After(4 * time.Minute)
		put(t, cl, "events", [2]string{"new", "2"})
		tp := cluster.TopicPartition{Topic: "events"}
		first := func() cluster.Offset {
			t.Helper()
			got, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Earliest})
			if err != nil || got[tp].Err != nil {
				t.Fatal(err, got[tp].Err)
			}
			return got[tp].Offset
		}
		<-time.After(3 * time.Minute)
		synctest.Wait()
		if first() != 0 {
			t.Error("a segment with a record that is young enough was deleted")
		}
		<-time.After(4 * time.Minute)
		synctest.Wait()
		if first() != 2 {
			t.Errorf("the log begins at %d, all of its two records are too old", first())
		}
	})
}
