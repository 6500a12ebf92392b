package config

// topicKey is a topic setting and the broker settings that it takes its value from when the topic does not override it.
type topicKey struct {
	Key
	// synonyms are broker settings, the first that has a value wins.
	synonyms []synonym
}

// synonym is a broker setting together with what its unit is worth in the topic setting's.
type synonym struct {
	name  string
	scale int64 // 1, or milliseconds in the broker setting's unit
}

// Milliseconds in the units of broker settings.
const (
	minute = 60 * 1000
	hour   = 60 * minute
)

// same makes the synonyms of a topic setting whose unit is the broker's.
func same(names ...string) []synonym {
	var list []synonym
	for _, name := range names {
		list = append(list, synonym{name, 1})
	}
	return list
}

// topicTable holds every topic setting, sorted by name.
var topicTable = []topicKey{
	{Key{Name: "cleanup.policy", Type: List, Default: "delete", check: oneOf("compact", "delete"), Doc: "What happens to old records: delete, compact, or both."}, same("log.cleanup.policy")},
	{Key{Name: "compression.gzip.level", Type: Int, Default: "-1", check: gzipLevel, Doc: "The gzip level, when compression.type is gzip."}, same("compression.gzip.level")},
	{Key{Name: "compression.lz4.level", Type: Int, Default: "9", check: between(1, 17), Doc: "The lz4 level, when compression.type is lz4."}, same("compression.lz4.level")},
	{Key{Name: "compression.type", Type: String, Default: "producer", check: oneOf(compressionTypes...), Doc: "How batches are compressed on disk; producer keeps what the producer chose."}, same("compression.type")},
	{Key{Name: "compression.zstd.level", Type: Int, Default: "3", check: between(-131072, 22), Doc: "The zstd level, when compression.type is zstd."}, same("compression.zstd.level")},
	{Key{Name: "delete.retention.ms", Type: Long, Default: "86400000", check: atLeast(0), Doc: "How long a tombstone stays after compaction."}, same("log.cleaner.delete.retention.ms")},
	{Key{Name: "file.delete.delay.ms", Type: Long, Default: "60000", check: atLeast(0), Doc: "How long a deleted file stays on disk."}, same("log.segment.delete.delay.ms")},
	{Key{Name: "flush.messages", Type: Long, Default: maxLong, check: atLeast(1), Doc: "After how many records the log is forced to disk."}, same("log.flush.interval.messages")},
	{Key{Name: "flush.ms", Type: Long, Default: maxLong, check: atLeast(0), Doc: "After how long the log is forced to disk."}, same("log.flush.interval.ms", "log.flush.scheduler.interval.ms")},
	{Key{Name: "follower.replication.throttled.replicas", Type: List, Default: "", check: throttledReplicas("follower.replication.throttled.replicas"), Doc: "The replicas whose fetching is throttled."}, nil},
	{Key{Name: "index.interval.bytes", Type: Int, Default: "4096", check: atLeast(0), Doc: "How many bytes of log lie between two entries of the index."}, same("log.index.interval.bytes")},
	{Key{Name: "leader.replication.throttled.replicas", Type: List, Default: "", check: throttledReplicas("leader.replication.throttled.replicas"), Doc: "The replicas that leaders throttle."}, nil},
	{Key{Name: "max.compaction.lag.ms", Type: Long, Default: maxLong, check: atLeast(1), Doc: "How long a record stays untouched by compaction at most."}, same("log.cleaner.max.compaction.lag.ms")},
	{Key{Name: "max.message.bytes", Type: Int, Default: "1048588", check: atLeast(0), Doc: "The largest record batch."}, same("message.max.bytes")},
	{Key{Name: "message.downconversion.enable", Type: Boolean, Default: "true", Doc: "Whether records are converted for clients that know only older formats."}, same("log.message.downconversion.enable")},
	{Key{Name: "message.format.version", Type: String, Default: "3.0-IV1", check: protocolVersion, Doc: "The Kafka version of the format of messages; only the present format exists."}, same("log.message.format.version")},
	{Key{Name: "message.timestamp.after.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Doc: "How far a producer's time may be ahead of the broker's."}, same("log.message.timestamp.after.max.ms")},
	{Key{Name: "message.timestamp.before.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Doc: "How far a producer's time may be behind the broker's."}, same("log.message.timestamp.before.max.ms")},
	{Key{Name: "message.timestamp.difference.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Doc: "How far a producer's time may be from the broker's; the two settings above are newer."}, same("log.message.timestamp.difference.max.ms")},
	{Key{Name: "message.timestamp.type", Type: String, Default: "CreateTime", check: oneOf("CreateTime", "LogAppendTime"), Doc: "Whether a record carries the producer's time or the broker's."}, same("log.message.timestamp.type")},
	{Key{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", check: between(0, 1), Doc: "Which part of the log has to be new before it is compacted."}, same("log.cleaner.min.cleanable.ratio")},
	{Key{Name: "min.compaction.lag.ms", Type: Long, Default: "0", check: atLeast(0), Doc: "How long a record stays untouched by compaction at least."}, same("log.cleaner.min.compaction.lag.ms")},
	{Key{Name: "min.insync.replicas", Type: Int, Default: "1", check: atLeast(1), Doc: "How many replicas have to be in sync for a write with acks=all."}, same("min.insync.replicas")},
	{Key{Name: "preallocate", Type: Boolean, Default: "false", Doc: "Whether disk space is reserved when a segment file is created."}, same("log.preallocate")},
	{Key{Name: "retention.bytes", Type: Long, Default: "-1", Doc: "How large a partition may grow until its oldest segments are deleted; -1 for no limit."}, same("log.retention.bytes")},
	{Key{Name: "retention.ms", Type: Long, Default: "604800000", check: atLeast(-1), Doc: "How long records are kept; -1 for ever."}, []synonym{{"log.retention.ms", 1}, {"log.retention.minutes", minute}, {"log.retention.hours", hour}}},
	{Key{Name: "segment.bytes", Type: Int, Default: "1073741824", check: atLeast(14), Doc: "The size at which the log starts a new segment file."}, same("log.segment.bytes")},
	{Key{Name: "segment.index.bytes", Type: Int, Default: "10485760", check: atLeast(4), Doc: "The largest index file."}, same("log.index.size.max.bytes")},
	{Key{Name: "segment.jitter.ms", Type: Long, Default: "0", check: atLeast(0), Doc: "How much earlier, at random, a segment file may be started."}, []synonym{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", hour}}},
	{Key{Name: "segment.ms", Type: Long, Default: "604800000", check: atLeast(1), Doc: "The age at which the log starts a new segment file."}, []synonym{{"log.roll.ms", 1}, {"log.roll.hours", hour}}},
	{Key{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Doc: "Whether a replica that is not in sync may become leader when no other is left, which loses records."}, same("unclean.leader.election.enable")},
}

// topicKeys indexes the topic settings, and topicSynonyms their synonyms.
var topicKeys, topicSynonyms = func() (*keySet, map[string][]synonym) {
	keys, synonyms := make([]Key, len(topicTable)), map[string][]synonym{}
	for i, row := range topicTable {
		keys[i], synonyms[row.Name] = row.Key, row.synonyms
	}
	return newKeySet(keys), synonyms
}()
