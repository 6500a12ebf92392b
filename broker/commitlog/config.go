package commitlog

import (
	"math"
	"strings"

	"github.com/ottla/ottla/proto/record"
)

// Config holds the effective settings of one topic, that is the topic's own over the broker's defaults (F§6.2). Start from
// [DefaultConfig]. It is a value; a Log keeps its own copy.
type Config struct {
	// SegmentBytes is segment.bytes: the size in bytes that a segment does not exceed, 14 to 2147483647.
	SegmentBytes int
	// SegmentMs is segment.ms: the time in milliseconds, by record timestamps, after which a segment is closed. From 1.
	SegmentMs int64
	// SegmentJitterMs is segment.jitter.ms: up to this many milliseconds are taken off SegmentMs, chosen at random for each
	// segment, so that segments do not all roll at once.
	SegmentJitterMs int64
	// SegmentIndexBytes is segment.index.bytes: the size in bytes that index files are preallocated to.
	SegmentIndexBytes int
	// IndexIntervalBytes is index.interval.bytes: more than this many bytes lie between two index entries.
	IndexIntervalBytes int
	// FlushMessages is flush.messages: the number of records after which an append waits for an fsync. 1 makes every
	// acknowledged append durable; math.MaxInt64 leaves it to replication.
	FlushMessages int64
	// FlushMs is flush.ms: the time in milliseconds after which the background loop flushes. math.MaxInt64 means never.
	FlushMs int64
	// MaxMessageBytes is max.message.bytes: the largest batch in bytes that a leader takes.
	MaxMessageBytes int
	// RetentionMs is retention.ms: the age in milliseconds beyond which segments are deleted; -1 means without limit.
	RetentionMs int64
	// RetentionBytes is retention.bytes: the size in bytes that the log is brought down to, by whole segments; -1 means without
	// limit.
	RetentionBytes int64
	// CleanupPolicy is cleanup.policy: delete, compact, or both with a comma.
	CleanupPolicy string
	// MinCleanableDirtyRatio is min.cleanable.dirty.ratio: the part of the log, from 0 to 1, that must be beyond the cleaner's
	// last position before the log is compacted.
	MinCleanableDirtyRatio float64
	// MinCompactionLagMs is min.compaction.lag.ms: segments with records younger than this, in milliseconds, are not compacted.
	MinCompactionLagMs int64
	// MaxCompactionLagMs is max.compaction.lag.ms: a log whose oldest record that was not cleaned is older than this, in
	// milliseconds, is compacted whatever its ratio. math.MaxInt64 means never.
	MaxCompactionLagMs int64
	// DeleteRetentionMs is delete.retention.ms: how long tombstones and transaction markers stay after the first cleaning that
	// might have removed them, in milliseconds.
	DeleteRetentionMs int64
	// TimestampType is message.timestamp.type.
	TimestampType record.TimestampType
	// TimestampBeforeMaxMs is message.timestamp.before.max.ms; math.MaxInt64 means without limit.
	TimestampBeforeMaxMs int64
	// TimestampAfterMaxMs is message.timestamp.after.max.ms; math.MaxInt64 means without limit.
	TimestampAfterMaxMs int64
	// CompressionType is compression.type: producer, uncompressed, gzip, snappy, lz4 or zstd.
	CompressionType string
	// CompressionLevel is the level of CompressionType's codec: compression.gzip.level, compression.lz4.level or
	// compression.zstd.level (KIP-390); record.DefaultLevel when it has none. It counts where the log compresses: for batches that
	// come in another codec, and in compaction.
	CompressionLevel int
	// Preallocate is preallocate: new segment files get their full size at once.
	Preallocate bool
	// FileDeleteDelayMs is file.delete.delay.ms: how long removed files stay on disk under another name.
	FileDeleteDelayMs int64
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:       1 << 30,
		SegmentMs:          7 * 24 * 3600 * 1000,
		SegmentIndexBytes:  10 << 20,
		IndexIntervalBytes: 4096,
		FlushMessages:      math.MaxInt64,
		FlushMs:            math.MaxInt64,
		MaxMessageBytes:    1048588,
		RetentionMs:        7 * 24 * 3600 * 1000,
		RetentionBytes:     -1,
		CleanupPolicy:      "delete",

		MinCleanableDirtyRatio: 0.5,
		MaxCompactionLagMs:     math.MaxInt64,
		DeleteRetentionMs:      24 * 3600 * 1000,

		TimestampType:        record.CreateTime,
		TimestampBeforeMaxMs: math.MaxInt64,
		TimestampAfterMaxMs:  math.MaxInt64,
		CompressionType:      compressionProducer,
		FileDeleteDelayMs:    60_000,
	}
}

// Values of compression.type that are not the name of a codec.
const (
	compressionProducer     = "producer"
	compressionUncompressed = "uncompressed"
)

// Compacts reports whether cleanup.policy contains compact.
func (c *Config) Compacts() bool { return hasPolicy(c.CleanupPolicy, "compact") }

// Deletes reports whether cleanup.policy contains delete.
func (c *Config) Deletes() bool { return hasPolicy(c.CleanupPolicy, "delete") }

func hasPolicy(list, name string) bool {
	for p := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(p) == name {
			return true
		}
	}
	return false
}

// codec returns the codec that batches must have on disk; keep is true when the producer's is kept.
func (c *Config) codec() (codec record.Codec, keep bool, err error) {
	switch c.CompressionType {
	case compressionProducer, "":
		return record.None, true, nil
	case compressionUncompressed:
		return record.None, false, nil
	}
	codec, err = record.ParseCodec(c.CompressionType)
	return codec, false, err
}

// levelOf returns at which level batches of a codec are compressed again: the topic's for the topic's codec.
func (c *Config) levelOf(codec record.Codec) int {
	if own, keep, err := c.codec(); err == nil && !keep && own == codec {
		return c.CompressionLevel
	}
	return record.DefaultLevel
}

// segmentMs is SegmentMs, and MaxCompactionLagMs if that is less: only closed segments are compacted.
func (c *Config) segmentMs() int64 {
	if c.Compacts() && c.MaxCompactionLagMs > 0 {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}

// segmentBytes is SegmentBytes within what a position in an index can express.
func (c *Config) segmentBytes() int64 { return min(max(int64(c.SegmentBytes), 14), math.MaxInt32) }
