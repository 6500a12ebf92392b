package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/proto/kerr"
)

func TestValidateTopicConfigHasKafkasWords(t *testing.T) {
	for _, c := range []struct {
		overrides map[string]string
		want      string
	}{
		{nil, ""},
		{map[string]string{"retention.ms": "-1", "cleanup.policy": "compact,delete", "leader.replication.throttled.replicas": "0:1,1:2"}, ""},
		{map[string]string{"nope": "1"}, "Unknown topic config name: nope"},
		{map[string]string{"retention.ms": "abc"}, "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
		{map[string]string{"retention.ms": "-2"}, "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{map[string]string{"min.insync.replicas": "0"}, "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1"},
		{map[string]string{"compression.gzip.level": "0"}, "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{map[string]string{"compression.gzip.level": "10"}, "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{map[string]string{"compression.lz4.level": "0"}, "Invalid value 0 for configuration compression.lz4.level: Value must be at least 1"},
		{map[string]string{"compression.lz4.level": "18"}, "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17"},
		{map[string]string{"compression.zstd.level": "23"}, "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22"},
		{map[string]string{"compression.zstd.level": "-131073"}, "Invalid value -131073 for configuration compression.zstd.level: Value must be at least -131072"},
		{map[string]string{"cleanup.policy": "keep"}, "Invalid value keep for configuration cleanup.policy: String must be one of: compact, delete"},
		{map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"},
		{map[string]string{"follower.replication.throttled.replicas": "1"}, "Invalid value 1 for configuration follower.replication.throttled.replicas: follower.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
	} {
		err := ValidateTopicConfig(c.overrides)
		if c.want == "" {
			if err != nil {
				t.Errorf("%v: %v", c.overrides, err)
			}
			continue
		}
		typed, ok := err.(*kerr.Error)
		if !ok || typed.Code != kerr.InvalidConfig || typed.Text() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.overrides, err, c.want)
		}
	}
	if err := mustServer(t, "log.cleaner.max.compaction.lag.ms", "5").ValidateTopic(map[string]string{"min.compaction.lag.ms": "6"}); err == nil {
		t.Error("the override was not judged together with the broker's setting")
	}
}

func TestEffectiveTopicDefaults(t *testing.T) {
	want := TopicConfig{
		Segment:       SegmentConfig{Bytes: 1 << 30, Ms: 604800000, IndexBytes: 10485760, IndexIntervalBytes: 4096, DeleteDelayMs: 60000},
		Retention:     RetentionConfig{Delete: true, Ms: 604800000, Bytes: -1},
		Compaction:    CompactionConfig{MinDirtyRatio: 0.5, MaxLagMs: Unlimited, DeleteRetentionMs: 86400000},
		Timestamp:     TimestampConfig{BeforeMaxMs: Unlimited, AfterMaxMs: Unlimited},
		Compression:   CompressionConfig{Type: "producer"},
		FlushMessages: Unlimited, FlushMs: Unlimited, MaxMessageBytes: 1048588, MinInsyncReplicas: 1,
	}
	if diff := cmp.Diff(want, mustServer(t).EffectiveTopic(nil)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEffectiveTopicTakesSynonymsInOrder(t *testing.T) {
	s := mustServer(t, "log.retention.hours", "1", "log.retention.minutes", "30", "log.roll.hours", "2", "log.roll.jitter.hours", "1",
		"log.flush.scheduler.interval.ms", "500", "compression.type", "zstd", "compression.zstd.level", "7", "log.message.timestamp.difference.max.ms", "9")
	got := s.EffectiveTopic(map[string]string{"segment.ms": "99", "flush.messages": "bad", "gone": "1", "message.timestamp.after.max.ms": "3"})
	if got.Retention.Ms != 30*60*1000 || got.Segment.Ms != 99 || got.Segment.JitterMs != 3600000 || got.FlushMs != 500 || got.FlushMessages != Unlimited {
		t.Errorf("%+v", got)
	}
	if got.Compression != (CompressionConfig{"zstd", 7}) || got.Timestamp != (TimestampConfig{false, 9, 3}) {
		t.Errorf("%+v %+v", got.Compression, got.Timestamp)
	}
	if ms := mustServer(t, "log.retention.ms", "5", "log.retention.minutes", "30").EffectiveTopic(nil).Retention.Ms; ms != 5 {
		t.Errorf("retention.ms %d, want log.retention.ms to win", ms)
	}
	if ms := mustServer(t, "log.retention.hours", "-7").EffectiveTopic(nil).Retention.Ms; ms != -1 {
		t.Errorf("retention.ms %d, want every negative age to mean for ever", ms)
	}
}

// find returns the entry with this name.
func find(t *testing.T, entries []Entry, name string) Entry {
	t.Helper()
	for _, e := range entries {
		if e.Name == name {
			e.Doc = ""
			return e
		}
	}
	t.Fatalf("no entry %s", name)
	return Entry{}
}

func TestDescribeTopic(t *testing.T) {
	// The sample server.properties sets log.segment.bytes and log.retention.hours; Kafka shows the first as an override of every topic, and not the second.
	s := mustServer(t, "log.segment.bytes", "1073741824", "log.retention.hours", "168")
	entries := s.DescribeTopic(map[string]string{"retention.bytes": "1000"})
	for _, want := range []Entry{
		{Name: "segment.bytes", Value: "1073741824", Source: StaticBroker, Type: Int, Synonyms: []Synonym{{"log.segment.bytes", "1073741824", StaticBroker}, {"log.segment.bytes", "1073741824", Default}}},
		{Name: "retention.bytes", Value: "1000", Source: DynamicTopic, Type: Long, Synonyms: []Synonym{{"retention.bytes", "1000", DynamicTopic}, {"log.retention.bytes", "-1", Default}}},
		{Name: "retention.ms", Value: "604800000", Source: Default, Type: Long},
		{Name: "min.cleanable.dirty.ratio", Value: "0.5", Source: Default, Type: Double, Synonyms: []Synonym{{"log.cleaner.min.cleanable.ratio", "0.5", Default}}},
		{Name: "leader.replication.throttled.replicas", Source: Default, Type: List},
	} {
		if diff := cmp.Diff(want, find(t, entries, want.Name)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if len(entries) != len(TopicKeys()) {
		t.Errorf("%d entries for %d settings", len(entries), len(TopicKeys()))
	}
}

func TestDescribeBroker(t *testing.T) {
	s := mustServer(t, "password.encoder.secret", "hunter2", "log.retention.hours", "5")
	s, _ = s.WithDynamic(map[string]string{"message.max.bytes": "7"}, map[string]string{"message.max.bytes": "8"})
	entries := s.DescribeBroker()
	for _, want := range []Entry{
		{Name: "message.max.bytes", Value: "7", Source: DynamicBroker, Type: Int, Synonyms: []Synonym{
			{"message.max.bytes", "7", DynamicBroker}, {"message.max.bytes", "8", DynamicDefaultBroker}, {"message.max.bytes", "1048588", Default}}},
		{Name: "password.encoder.secret", Source: StaticBroker, ReadOnly: true, Sensitive: true, Type: Password, Synonyms: []Synonym{{"password.encoder.secret", "", StaticBroker}}},
		{Name: "broker.rack", Source: Default, ReadOnly: true, Type: String},
		{Name: "log.cleaner.io.max.bytes.per.second", Value: "1.7976931348623157E308", Source: Default, Type: Double,
			Synonyms: []Synonym{{"log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308", Default}}},
	} {
		if diff := cmp.Diff(want, find(t, entries, want.Name)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
