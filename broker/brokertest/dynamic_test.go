package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

const (
	topicResource  = ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_TOPIC
	brokerResource = ottlapb.ConfigResourceType_CONFIG_RESOURCE_TYPE_BROKER
)

// alter makes changes "name=value", "name+=value", "name-=value" and "name!" to one resource.
func alter(t *testing.T, cl *client.Client, typ ottlapb.ConfigResourceType, name string, changes ...string) error {
	t.Helper()
	a := admin.ConfigAlteration{Type: typ, Name: name}
	for _, c := range changes {
		key, value, ok := strings.Cut(c, "=")
		change := admin.ConfigChange{Name: strings.TrimRight(key, "+-!"), Op: admin.SetConfig, Value: value}
		switch {
		case !ok:
			change.Op = admin.DeleteConfig
		case strings.HasSuffix(key, "+"):
			change.Op = admin.AppendConfig
		case strings.HasSuffix(key, "-"):
			change.Op = admin.SubtractConfig
		}
		a.Changes = append(a.Changes, change)
	}
	outcomes, err := admin.New(cl).AlterConfigs(t.Context(), []admin.ConfigAlteration{a}, false)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes[0]
}

func mustAlter(t *testing.T, cl *client.Client, typ ottlapb.ConfigResourceType, name string, changes ...string) {
	t.Helper()
	if err := alter(t, cl, typ, name, changes...); err != nil {
		t.Fatal(err)
	}
}

// setting returns the effective value of a setting and where it comes from.
func setting(t *testing.T, cl *client.Client, typ ottlapb.ConfigResourceType, resource, name string) string {
	t.Helper()
	r, err := admin.New(cl).DescribeConfigs(t.Context(), []admin.ConfigResource{{Type: typ, Name: resource, Names: []string{name}}}, false)
	if err != nil || r[0].Err != nil || len(r[0].Entries) != 1 {
		t.Fatal(err, r)
	}
	e := r[0].Entries[0]
	return e.Value + " " + strings.TrimPrefix(e.Source.String(), "CONFIG_SOURCE_")
}

// sendOne produces one record and returns what the leader says.
func sendOne(t *testing.T, cl *client.Client, topic string, size int) error {
	t.Helper()
	p, err := producer.New(cl, producer.Retries(0), producer.Linger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	_, err = p.Send(t.Context(), producer.Record{Topic: topic, Partition: producer.To(0), Value: bytes.Repeat([]byte("v"), size)})
	return err
}

// awaitTopic waits until a broker that was started leads partition 0 of a topic and has the topic in its picture of the cluster, which the
// controller sends later.
func awaitTopic(t *testing.T, cl *client.Client, topic string) {
	t.Helper()
	tp := cluster.TopicPartition{Topic: topic}
	r, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
	if err != nil || r[tp].Err != nil {
		t.Fatal(err, r[tp].Err)
	}
	for range 1000 {
		d, err := admin.New(cl).DescribeTopics(t.Context(), []string{topic})
		if err != nil {
			t.Fatal(err)
		}
		if d[0].Err == kerr.None {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("the broker does not learn of topic %s", topic)
}

// segments counts the segment files of partition 0.
func segments(t *testing.T, c *Cluster, topic string) int {
	t.Helper()
	files, err := c.Disk(0).ReadDir("/logs/" + topic + "-0")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".log") {
			n++
		}
	}
	return n
}

func TestTopicSettingsTakeEffectOnARunningLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		if err := sendOne(t, cl, "events", 5000); err != nil {
			t.Fatal(err)
		}
		mustAlter(t, cl, topicResource, "events", "max.message.bytes=1000", "segment.bytes=2000")
		if err := sendOne(t, cl, "events", 5000); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("a batch beyond max.message.bytes: %v", err)
		}
		before := segments(t, c, "events")
		for range 10 {
			if err := sendOne(t, cl, "events", 900); err != nil {
				t.Fatal(err)
			}
		}
		if after := segments(t, c, "events"); after < before+4 {
			t.Errorf("%d segments, then %d, with 10 records of 900 bytes and segment.bytes=2000", before, after)
		}
		mustAlter(t, cl, topicResource, "events", "max.message.bytes!", "message.timestamp.type=LogAppendTime")
		if err := sendOne(t, cl, "events", 1500); err != nil {
			t.Errorf("after the overrides were taken away: %v", err)
		}
		if got := setting(t, cl, topicResource, "events", "segment.bytes"); got != "2000 DYNAMIC_TOPIC_CONFIG" {
			t.Errorf("segment.bytes is %s", got)
		}

		// What ZooKeeper says outlives the process.
		mustAlter(t, cl, topicResource, "events", "max.message.bytes=1000")
		c.Kill(t, 0)
		c.Restart(t, 0)
		awaitTopic(t, cl, "events")
		if err := sendOne(t, cl, "events", 1500); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("a batch beyond max.message.bytes after a restart: %v", err)
		}
		mustAlter(t, cl, topicResource, "events", "max.message.bytes=3000", "segment.bytes=4000")
		if err := sendOne(t, cl, "events", 1500); err != nil {
			t.Errorf("after it was raised again: %v", err)
		}
	})
}

func TestBrokerSettingsTakeEffectOnRunningLogs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"message.max.bytes": "9000"}})
		cl := c.Client(t)
		createTopic(t, cl, "plain", 1, nil)
		createTopic(t, cl, "own", 1, map[string]string{"max.message.bytes": "7000"})
		limit := func(topic, want string, most int) {
			t.Helper()
			if got := setting(t, cl, topicResource, topic, "max.message.bytes"); got != want {
				t.Errorf("max.message.bytes of %s is %s, want %s", topic, got, want)
			}
			if err := sendOne(t, cl, topic, most-100); err != nil {
				t.Errorf("%s takes no record of %d bytes: %v", topic, most-100, err)
			}
			if err := sendOne(t, cl, topic, most); !errors.Is(err, kerr.MessageTooLarge) {
				t.Errorf("%s and a record of %d bytes: %v", topic, most, err)
			}
		}
		limit("plain", "9000 STATIC_BROKER_CONFIG", 9000)
		mustAlter(t, cl, brokerResource, "", "message.max.bytes=3000")
		limit("plain", "3000 DYNAMIC_DEFAULT_BROKER_CONFIG", 3000)
		limit("own", "7000 DYNAMIC_TOPIC_CONFIG", 7000)
		mustAlter(t, cl, brokerResource, "0", "message.max.bytes=2000")
		limit("plain", "2000 DYNAMIC_BROKER_CONFIG", 2000)
		defaults, err := admin.New(cl).DescribeBrokerDefaults(t.Context(), true)
		if err != nil || len(defaults.Entries) != 1 || defaults.Entries[0].Name != "message.max.bytes" || defaults.Entries[0].Value != "3000" {
			t.Errorf("what all brokers share: %+v, %v", defaults, err)
		}
		c.Stop(t, 0)
		c.Restart(t, 0)
		awaitTopic(t, cl, "plain")
		limit("plain", "2000 DYNAMIC_BROKER_CONFIG", 2000)
		mustAlter(t, cl, brokerResource, "0", "message.max.bytes!")
		limit("plain", "3000 DYNAMIC_DEFAULT_BROKER_CONFIG", 3000)
		mustAlter(t, cl, brokerResource, "", "message.max.bytes!")
		limit("plain", "9000 STATIC_BROKER_CONFIG", 9000)
	})
}

// TestChangesByOthersReachARunningBroker writes to ZooKeeper as another broker or one of Kafka's own tools does.
func TestChangesByOthersReachARunningBroker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		st := store.New(look(t, c), nil)
		topic := znode.Entity{Type: znode.TopicEntity, Name: "events"}
		set := func(bytes string) {
			t.Helper()
			if err := st.SetConfig(t.Context(), topic, map[string]string{"max.message.bytes": bytes, "from.the.future": "1"}); err != nil {
				t.Fatal(err)
			}
		}
		set("1000")
		set("2000")
		synctest.Wait()
		if err := sendOne(t, cl, "events", 1500); err != nil {
			t.Errorf("within the later of two limits: %v", err)
		}
		if err := sendOne(t, cl, "events", 2500); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("beyond it: %v", err)
		}

		// A change while the broker is cut off, whose notification is gone before the broker is back.
		c.Network().Cut("broker-0", zookeeperHost)
		<-time.After(time.Minute)
		set("500")
		if err := st.PurgeConfigChanges(t.Context(), time.Now().Add(time.Hour).UnixMilli()); err != nil {
			t.Fatal(err)
		}
		if err := sendOne(t, cl, "events", 1500); err != nil {
			t.Errorf("a broker that is cut off goes by what it knows: %v", err)
		}
		c.Network().Heal("broker-0", zookeeperHost)
		<-time.After(time.Minute)
		if err := sendOne(t, cl, "events", 1500); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("after the next session: %v", err)
		}

		// And changes go on to be noticed, without being asked for.
		set("3000")
		synctest.Wait()
		if err := sendOne(t, cl, "events", 2500); err != nil {
			t.Errorf("after a change in the next session: %v", err)
		}
	})
}

func TestNotificationsAreRemovedAfterAQuarterOfAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		st := store.New(look(t, c), nil)
		left := func() (seqs []int64) {
			t.Helper()
			changes, err := st.ConfigChanges(t.Context(), nil, -1)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				seqs = append(seqs, c.Seq)
			}
			return seqs
		}
		mustAlter(t, cl, topicResource, "events", "retention.ms=1000")
		<-time.After(10 * time.Minute)
		mustAlter(t, cl, topicResource, "events", "retention.ms=2000")
		if got := left(); !slices.Equal(got, []int64{0, 1}) {
			t.Errorf("notifications %v after 10 minutes", got)
		}
		<-time.After(6 * time.Minute)
		mustAlter(t, cl, topicResource, "events", "retention.ms=3000")
		synctest.Wait()
		if got := left(); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("notifications %v after 16 minutes", got)
		}
	})
}

func TestAnInvalidChangeChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, map[string]string{"retention.ms": "5000"})
		st := store.New(look(t, c), nil)
		for _, row := range []struct {
			typ      ottlapb.ConfigResourceType
			resource string
			changes  []string
			want     string
		}{
			{topicResource, "events", []string{"retention.ms=1", "max.message.bytes=many"},
				"INVALID_CONFIG: Invalid config value for resource ConfigResource(type=TOPIC, name='events'): Invalid value many for configuration max.message.bytes: Not a number of type INT"},
			{topicResource, "events", []string{"retention.ms=1", "retention.sm=1"}, "INVALID_CONFIG: Unknown topic config name: retention.sm"},
			{topicResource, "events", []string{"retention.ms=1", "min.compaction.lag.ms=10", "max.compaction.lag.ms=5"},
				"INVALID_CONFIG: conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"},
			{topicResource, "events", []string{"retention.ms+=1"}, "INVALID_CONFIG: Config value append is not allowed for config key: retention.ms"},
			{topicResource, "events", []string{"retention.ms=1", "retention.ms=2"}, "INVALID_REQUEST: Error due to duplicate config keys"},
			{topicResource, "nowhere", []string{"retention.ms=1"}, "UNKNOWN_TOPIC_OR_PARTITION: The topic 'nowhere' does not exist."},
			{topicResource, "", []string{"retention.ms=1"}, "INVALID_REQUEST: Default topic resources are not allowed."},
			{brokerResource, "0", []string{"log.retention.ms=1", "zookeeper.connect=x:1", "broker.id=7"},
				"INVALID_REQUEST: Cannot update these configs dynamically: Set(broker.id, zookeeper.connect)"},
			{brokerResource, "", []string{"log.retention.ms=1", "advertised.listeners=PLAINTEXT://x:1"},
				"INVALID_REQUEST: Cannot update these configs at default cluster level, broker id must be specified: Set(advertised.listeners)"},
			{brokerResource, "0", []string{"ssl.keystore.location=/x"},
				"INVALID_REQUEST: These security configs can be dynamically updated only per-listener using the listener prefix: Set(ssl.keystore.location)"},
			{brokerResource, "0", []string{"log.retention.ms=0"}, "INVALID_REQUEST: requirement failed: log.retention.ms must be unlimited (-1) or, equal or greater than 1"},
			{brokerResource, "0", []string{"num.io.threads=17"},
				"INVALID_REQUEST: Dynamic thread count update validation failed for num.io.threads=17, value should not be greater than double the current value 8"},
			{brokerResource, "", []string{"message.max.bytes=-1"}, "INVALID_REQUEST: Invalid value -1 for configuration message.max.bytes: Value must be at least 0"},
		} {
			err := alter(t, cl, row.typ, row.resource, row.changes...)
			if got := fmt.Sprint(err); got != row.want {
				t.Errorf("%v %q:\n got %s\nwant %s", row.changes, row.resource, got, row.want)
			}
		}
		outcomes, err := admin.New(cl).AlterConfigs(t.Context(), []admin.ConfigAlteration{
			{Type: topicResource, Name: "events", Changes: []admin.ConfigChange{{Name: "retention.ms", Op: admin.SetConfig, Value: "7"}}},
			{Type: brokerResource, Name: "0", Changes: []admin.ConfigChange{{Name: "log.retention.ms", Op: admin.SetConfig, Value: "7"}}},
		}, true)
		if err := errors.Join(append(outcomes, err)...); err != nil {
			t.Errorf("validate only: %v", err)
		}
		for e, want := range map[znode.Entity]string{
			{Type: znode.TopicEntity, Name: "events"}:             "map[retention.ms:5000]",
			{Type: znode.BrokerEntity, Name: "0"}:                 "map[]",
			{Type: znode.BrokerEntity, Name: znode.DefaultEntity}: "map[]",
			{Type: znode.TopicEntity, Name: "nowhere"}:            "map[]",
		} {
			config, err := st.Config(t.Context(), e)
			if err != nil || fmt.Sprint(config) != want {
				t.Errorf("%s: %v, %v, want %s", e, config, err, want)
			}
		}
		if changes, err := st.ConfigChanges(t.Context(), nil, -1); err != nil || len(changes) != 0 {
			t.Errorf("notifications %v, %v", changes, err)
		}
		if got := setting(t, cl, brokerResource, "0", "log.retention.ms"); got != " DEFAULT_CONFIG" {
			t.Errorf("log.retention.ms is %q", got)
		}
	})
}

// TestSettingsWhileZooKeeperIsAway wants a broker without a session to say that nothing was changed, and that to be so.
func TestSettingsWhileZooKeeperIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		mustAlter(t, cl, topicResource, "events", "retention.ms=5000")
		c.StopZooKeeper(t)
		<-time.After(time.Minute) // virtual: the session is over
		const want = "REQUEST_TIMED_OUT: ZooKeeper cannot be reached at the moment; the settings have not changed."
		if err := alter(t, cl, topicResource, "events", "retention.ms=6000"); fmt.Sprint(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
		c.StartZooKeeper(t)
		<-time.After(time.Minute)
		if got := setting(t, cl, topicResource, "events", "retention.ms"); got != "5000 DYNAMIC_TOPIC_CONFIG" {
			t.Errorf("retention.ms is %q", got)
		}
		mustAlter(t, cl, topicResource, "events", "retention.ms=6000")
	})
}

func TestListsAreAddedToAndTakenFrom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		policy := func() string { return setting(t, cl, topicResource, "events", "cleanup.policy") }
		mustAlter(t, cl, topicResource, "events", "cleanup.policy+=compact")
		if got := policy(); got != "delete,compact DYNAMIC_TOPIC_CONFIG" {
			t.Errorf("after adding: %s", got)
		}
		mustAlter(t, cl, topicResource, "events", "cleanup.policy+=compact,delete")
		mustAlter(t, cl, topicResource, "events", "cleanup.policy-=delete")
		if got := policy(); got != "compact DYNAMIC_TOPIC_CONFIG" {
			t.Errorf("after taking out: %s", got)
		}
	})
}

// TestConcurrentChangesOfOneTopic makes them through one broker, where none of them may be lost.
func TestConcurrentChangesOfOneTopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		names := []string{"retention.ms", "retention.bytes", "segment.ms", "segment.bytes", "flush.ms", "max.message.bytes", "file.delete.delay.ms", "index.interval.bytes"}
		done := make(chan error)
		for _, name := range names {
			go func() { done <- alter(t, cl, topicResource, "events", name+"=100000") }()
		}
		for range names {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for _, name := range names {
			if got := setting(t, cl, topicResource, "events", name); got != "100000 DYNAMIC_TOPIC_CONFIG" {
				t.Errorf("%s is %s", name, got)
			}
		}
	})
}

func TestDeleteRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		a := admin.New(cl)
		createTopic(t, cl, "events", 1, map[string]string{"segment.bytes": "1000"})
		createTopic(t, cl, "compacted", 1, map[string]string{"cleanup.policy": "compact"})
		send(t, cl, "events", "n", 100)
		events, compacted, nowhere := cluster.TopicPartition{Topic: "events"}, cluster.TopicPartition{Topic: "compacted"}, cluster.TopicPartition{Topic: "events", Partition: 7}
		remove := func(tp cluster.TopicPartition, before cluster.Offset) string {
			t.Helper()
			r, err := a.DeleteRecords(t.Context(), map[cluster.TopicPartition]cluster.Offset{tp: before}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if r[tp].Err != nil {
				return r[tp].Err.Error()
			}
			return fmt.Sprint(r[tp].LowWatermark)
		}
		start := func() cluster.Offset {
			t.Helper()
			r, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{events: client.Earliest})
			if err != nil || r[events].Err != nil {
				t.Fatal(err, r[events].Err)
			}
			return r[events].Offset
		}
		for _, row := range []struct {
			tp     cluster.TopicPartition
			before cluster.Offset
			want   string
			start  cluster.Offset
		}{
			{events, 42, "42", 42},
			{events, 7, "42", 42},
			{events, 101, "OFFSET_OUT_OF_RANGE: Cannot increment the log start offset to 101 of partition events-0 since it is larger than the high watermark 100", 42},
			{events, -2, "OFFSET_OUT_OF_RANGE: The offset -2 for partition events-0 is not valid", 42},
			{compacted, 0, "POLICY_VIOLATION: Records of partition compacted-0 can not be deleted due to the configured policy", 42},
			{nowhere, 0, "UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.", 42},
		} {
			if got := remove(row.tp, row.before); got != row.want || start() != row.start {
				t.Errorf("delete the records of %s before %d: %s, want %s; the log starts at %d, want %d", row.tp, row.before, got, row.want, start(), row.start)
			}
		}
		c.Stop(t, 0)
		c.Restart(t, 0)
		if got := start(); got != 42 {
			t.Errorf("after a restart the log starts at %d", got)
		}
		<-time.After(2 * time.Minute) // log.flush.start.offset.checkpoint.interval.ms
		c.PowerCut(t, 0, vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
		c.Restart(t, 0)
		if got := start(); got != 42 {
			t.Errorf("after a power cut the log starts at %d", got)
		}
		if got := remove(events, admin.BeforeHighWatermark); got != "100" || start() != 100 {
			t.Errorf("delete everything: %s; the log starts at %d", got, start())
		}
		send(t, cl, "events", "m", 1)
	})
}

func TestDescribeLogDirs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"log.dirs": "/logs,/more"}})
		cl := c.Client(t)
		createTopic(t, cl, "events", 3, nil)
		send(t, cl, "events", "n", 10)
		dirs, err := admin.New(cl).DescribeLogDirs(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		sizes, count := int64(0), map[string]int{}
		for _, d := range dirs {
			for _, r := range d.Replicas {
				got = append(got, r.TopicPartition.String())
				count[d.Path]++
				sizes += r.Size
				if r.OffsetLag != 0 || r.Future || d.Err != nil {
					t.Errorf("%+v", d)
				}
			}
		}
		slices.Sort(got)
		if want := "[events-0 events-1 events-2] map[/logs:2 /more:1]"; fmt.Sprint(got, count) != want || sizes == 0 {
			t.Errorf("%v %v with %d bytes, want %s", got, count, sizes, want)
		}
	})
}

func TestEveryBrokerLearnsOfChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3})
		cl := c.Client(t)
		results, err := admin.New(cl).CreateTopics(t.Context(), []admin.NewTopic{{Name: "events", Assignments: map[int32][]cluster.BrokerID{0: {0}, 1: {1}, 2: {2}}}}, admin.CreateOptions{})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		p, err := producer.New(cl, producer.Retries(0))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		// limits says for each partition whether it takes a record of 2000 bytes.
		limits := func() string {
			t.Helper()
			synctest.Wait()
			got := ""
			for i := range int32(3) {
				_, err := p.Send(t.Context(), producer.Record{Topic: "events", Partition: producer.To(i), Value: make([]byte, 2000)})
				switch {
				case err == nil:
					got += "+"
				case errors.Is(err, kerr.MessageTooLarge):
					got += "-"
				default:
					t.Fatal(err)
				}
			}
			return got
		}
		for _, step := range []struct {
			typ          ottlapb.ConfigResourceType
			name, change string
			want         string
		}{
			{brokerResource, "", "message.max.bytes=1000", "---"},
			{brokerResource, "1", "message.max.bytes=3000", "-+-"},
			{brokerResource, "", "message.max.bytes!", "+++"},
			{brokerResource, "2", "message.max.bytes=1000", "++-"},
			{topicResource, "events", "max.message.bytes=4000", "+++"},
			{topicResource, "events", "max.message.bytes=1000", "---"},
			{topicResource, "events", "max.message.bytes!", "++-"},
		} {
			mustAlter(t, cl, step.typ, step.name, step.change)
			if got := limits(); got != step.want {
				t.Errorf("after %s of %q: %s, want %s", step.change, step.name, got, step.want)
			}
		}
		if err := alter(t, cl, brokerResource, "2", "message.max.bytes=many"); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("an invalid value: %v", err)
		}
	})
}

// TestTopicsThatAreMadeAgainForgetTheirSettings deletes a topic, whose settings go without a notification, and makes it again.
func TestTopicsThatAreMadeAgainForgetTheirSettings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{})
		cl := c.Client(t)
		for i := range 5 {
			createTopic(t, cl, "events", 1, nil)
			if err := sendOne(t, cl, "events", 2000); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			mustAlter(t, cl, topicResource, "events", "max.message.bytes=1000")
			if err := sendOne(t, cl, "events", 2000); !errors.Is(err, kerr.MessageTooLarge) {
				t.Fatalf("round %d: %v", i, err)
			}
			r, err := admin.New(cl).DeleteTopics(t.Context(), []string{"events"}, 0)
			if err != nil || r[0].Err != nil {
				t.Fatal(err, r)
			}
			synctest.Wait() // the name is free once everything is gone
		}
	})
}
