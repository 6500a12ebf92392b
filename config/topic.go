package config

import (
	"fmt"
	"slices"

	"github.com/ottla/ottla/proto/kerr"
)

// Unlimited is what a size, an age or an interval is when there is no limit: Kafka's Long.MaxValue.
const Unlimited int64 = 1<<63 - 1

// TopicConfig holds the effective settings of a topic as numbers, for the rooms that act on them. Times are milliseconds.
type TopicConfig struct {
	// Segment is about segment files and their indexes.
	Segment SegmentConfig
	// Retention is about the deletion of old segments.
	Retention RetentionConfig
	// Compaction is about keeping the last record of each key.
	Compaction CompactionConfig
	// Timestamp is about the times that records carry.
	Timestamp TimestampConfig
	// Compression is about the codec on disk.
	Compression CompressionConfig

	// FlushMessages is flush.messages: after how many records to force the log to disk; [Unlimited] leaves it to the system.
	FlushMessages int64
	// FlushMs is flush.ms: after how long to force the log to disk; [Unlimited] leaves it to the system.
	FlushMs int64
	// MaxMessageBytes is max.message.bytes: the largest record batch.
	MaxMessageBytes int
	// MinInsyncReplicas is min.insync.replicas.
	MinInsyncReplicas int
	// UncleanLeaderElection is unclean.leader.election.enable.
	UncleanLeaderElection bool
	// LeaderThrottledReplicas is leader.replication.throttled.replicas: "*" or partition:broker items.
	LeaderThrottledReplicas []string
	// FollowerThrottledReplicas is follower.replication.throttled.replicas: "*" or partition:broker items.
	FollowerThrottledReplicas []string
}

// SegmentConfig is about segment files and their indexes.
type SegmentConfig struct {
	// Bytes is segment.bytes.
	Bytes int
	// Ms is segment.ms.
	Ms int64
	// JitterMs is segment.jitter.ms.
	JitterMs int64
	// IndexBytes is segment.index.bytes: the size of a full index.
	IndexBytes int
	// IndexIntervalBytes is index.interval.bytes.
	IndexIntervalBytes int
	// Preallocate is preallocate.
	Preallocate bool
	// DeleteDelayMs is file.delete.delay.ms.
	DeleteDelayMs int64
}

// RetentionConfig is about the deletion of old segments.
type RetentionConfig struct {
	// Delete is true when cleanup.policy contains delete.
	Delete bool
	// Ms is retention.ms; -1 for ever.
	Ms int64
	// Bytes is retention.bytes for one partition; -1 for no limit.
	Bytes int64
}

// CompactionConfig is about keeping the last record of each key.
type CompactionConfig struct {
	// Compact is true when cleanup.policy contains compact.
	Compact bool
	// MinDirtyRatio is min.cleanable.dirty.ratio, from 0 to 1.
	MinDirtyRatio float64
	// MinLagMs is min.compaction.lag.ms.
	MinLagMs int64
	// MaxLagMs is max.compaction.lag.ms.
	MaxLagMs int64
	// DeleteRetentionMs is delete.retention.ms.
	DeleteRetentionMs int64
}

// TimestampConfig is about the times that records carry.
type TimestampConfig struct {
	// LogAppendTime is true when the broker stamps records, message.timestamp.type=LogAppendTime.
	LogAppendTime bool
	// BeforeMaxMs is how far a producer's time may be behind the broker's.
	BeforeMaxMs int64
	// AfterMaxMs is how far a producer's time may be ahead of the broker's.
	AfterMaxMs int64
}

// CompressionConfig is about the codec on disk.
type CompressionConfig struct {
	// Type is compression.type: producer, uncompressed, gzip, snappy, lz4 or zstd.
	Type string
	// Level is the level of Type's codec; -1 for gzip's own choice, 0 when the codec has no levels.
	Level int
}

// topicValues parses the overrides of a topic. The error's text is Kafka's.
func topicValues(overrides map[string]string) (map[string]value, error) {
	m := make(map[string]value, len(overrides))
	for _, name := range Properties(overrides).names() {
		k := topicKeys.byName[name]
		if k == nil {
			return nil, kerr.InvalidConfig.With("Unknown topic config name: " + name)
		}
		v, err := k.parse(overrides[name])
		if err != nil {
			return nil, kerr.InvalidConfig.With(err.Error())
		}
		m[name] = v
	}
	return m, nil
}

// ValidateTopicConfig judges the overrides of a topic for a broker whose own settings are the built-in defaults. The error is a [*kerr.Error] with
// INVALID_CONFIG and Kafka's text.
func ValidateTopicConfig(overrides map[string]string) error {
	return new(Server).ValidateTopic(overrides)
}

// ValidateTopic judges the overrides of a topic together with the broker's settings. The error is a [*kerr.Error] with INVALID_CONFIG and Kafka's text.
func (s *Server) ValidateTopic(overrides map[string]string) error {
	values, err := topicValues(overrides)
	if err != nil {
		return err
	}
	low, high := s.topicValue(values, "min.compaction.lag.ms").n, s.topicValue(values, "max.compaction.lag.ms").n
	if low > high {
		return kerr.InvalidConfig.With(fmt.Sprintf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", low, high))
	}
	return nil
}

// topicValue returns the effective value of a topic setting: the override, or else the broker's.
func (s *Server) topicValue(overrides map[string]value, name string) value {
	if v, ok := overrides[name]; ok {
		return v
	}
	for _, syn := range topicSynonyms[name] {
		v, _ := s.lookup(syn.name)
		if v.null {
			continue
		}
		switch {
		case name == "retention.ms" && v.n < 0:
			v.n = -1 // every negative age is "for ever"
		case syn.scale > 1:
			v.n *= syn.scale // INT times milliseconds in an hour fits
		}
		v.typ = topicKeys.byName[name].Type
		return v
	}
	return topicKeys.byName[name].fallback()
}

// EffectiveTopic returns the settings of a topic with these overrides. Overrides that are unknown or bad are left out, because a broker
// has to work with whatever it finds in ZooKeeper; [Server.ValidateTopic] is for those that come from clients.
func (s *Server) EffectiveTopic(overrides map[string]string) TopicConfig {
	values := map[string]value{}
	for name, text := range overrides {
		if k := topicKeys.byName[name]; k != nil {
			if v, err := k.parse(text); err == nil {
				values[name] = v
			}
		}
	}
	get := func(name string) value { return s.topicValue(values, name) }
	policy := get("cleanup.policy").list
	codec := get("compression.type").s
	level := 0
	switch codec {
	case "gzip", "lz4", "zstd":
		level = int(get("compression." + codec + ".level").n)
	}
	before, after := s.timestampLimits(values)
	return TopicConfig{
		Segment: SegmentConfig{
			Bytes: int(get("segment.bytes").n), Ms: get("segment.ms").n, JitterMs: get("segment.jitter.ms").n,
			IndexBytes: int(get("segment.index.bytes").n), IndexIntervalBytes: int(get("index.interval.bytes").n),
			Preallocate: get("preallocate").n != 0, DeleteDelayMs: get("file.delete.delay.ms").n,
		},
		Retention: RetentionConfig{Delete: slices.Contains(policy, "delete"), Ms: get("retention.ms").n, Bytes: get("retention.bytes").n},
		Compaction: CompactionConfig{
			Compact: slices.Contains(policy, "compact"), MinDirtyRatio: get("min.cleanable.dirty.ratio").f,
			MinLagMs: get("min.compaction.lag.ms").n, MaxLagMs: get("max.compaction.lag.ms").n, DeleteRetentionMs: get("delete.retention.ms").n,
		},
		Timestamp:                 TimestampConfig{LogAppendTime: get("message.timestamp.type").s == "LogAppendTime", BeforeMaxMs: before, AfterMaxMs: after},
		Compression:               CompressionConfig{Type: codec, Level: level},
		FlushMessages:             get("flush.messages").n,
		FlushMs:                   get("flush.ms").n,
		MaxMessageBytes:           int(get("max.message.bytes").n),
		MinInsyncReplicas:         int(get("min.insync.replicas").n),
		UncleanLeaderElection:     get("unclean.leader.election.enable").n != 0,
		LeaderThrottledReplicas:   get("leader.replication.throttled.replicas").list,
		FollowerThrottledReplicas: get("follower.replication.throttled.replicas").list,
	}
}

// timestampLimits returns how far a producer's time may be off. The older setting, the same both ways, counts where the newer ones are not set
// (LogConfig.getMessageTimestampBeforeMaxMs, KIP-937).
func (s *Server) timestampLimits(overrides map[string]value) (before, after int64) {
	both := s.topicValue(overrides, "message.timestamp.difference.max.ms").n
	limit := func(name string) int64 {
		if n := s.topicValue(overrides, name).n; n != Unlimited {
			return n
		}
		return both
	}
	return limit("message.timestamp.before.max.ms"), limit("message.timestamp.after.max.ms")
}
