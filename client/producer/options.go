package producer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
)

// Acks says who must have a record before it counts as written (acks).
type Acks int32

// The values of acks.
const (
	// AcksAll waits until all in-sync replicas have the record.
	AcksAll Acks = -1
	// AcksNone does not wait: the record counts as written once it is on its way. Failures go unnoticed and offsets are unknown.
	AcksNone Acks = 0
	// AcksLeader waits until the leader has appended the record.
	AcksLeader Acks = 1
)

// minBatchSize leaves room for a batch's header and a small record.
const minBatchSize = 512

// Option changes a setting of [New].
type Option func(*config)

type config struct {
	acks            Acks
	idempotent      bool
	chosen          bool // idempotent was chosen
	linger          time.Duration
	batchSize       int
	maxRequestSize  int
	bufferMemory    int64
	maxBlock        time.Duration
	codec           record.Codec
	level           int
	retries         int
	backoff         client.Backoff
	maxInFlight     int
	requestTimeout  time.Duration
	deliveryTimeout time.Duration
	ignoreKeys      bool
	adaptivePick    bool
	adaptiveBatch   bool
	onBatch         func(BatchReport)
	logger          hclog.Logger
}

// WithAcks is acks. Default: [AcksAll].
func WithAcks(a Acks) Option { return func(c *config) { c.acks = a } }

// Idempotence makes brokers recognise what they have already, so that a retry writes nothing twice and puts nothing out of order
// (enable.idempotence, KIP-98). It needs AcksAll, retries and at most five requests in flight. Default: true if these allow it; with
// Idempotence(true) it is an error if they do not.
func Idempotence(on bool) Option { return func(c *config) { c.idempotent, c.chosen = on, true } }

// Linger is how long a batch that is not full waits for more records (linger.ms). Default: 0; batches still fill while earlier ones are on
// their way.
func Linger(d time.Duration) Option { return func(c *config) { c.linger = d } }

// BatchSize is the size in bytes, before compression, at which a batch is closed (batch.size), at least 512. Default: 16384.
func BatchSize(n int) Option { return func(c *config) { c.batchSize = n } }

// MaxRequestSize bounds a record, a batch and a request, in bytes (max.request.size). Default: 1048576.
func MaxRequestSize(n int) Option { return func(c *config) { c.maxRequestSize = n } }

// BufferMemory bounds what is held in batches that are not answered yet, in bytes (buffer.memory). Default: 33554432.
func BufferMemory(n int64) Option { return func(c *config) { c.bufferMemory = n } }

// MaxBlock bounds how long sending waits for memory or for a topic's metadata (max.block.ms). Default: 60 s.
func MaxBlock(d time.Duration) Option { return func(c *config) { c.maxBlock = d } }

// Compression compresses batches (compression.type). Default: [record.None].
func Compression(codec record.Codec) Option { return func(c *config) { c.codec = codec } }

// CompressionLevel is the codec's level (compression.<codec>.level, KIP-390). Default: [record.DefaultLevel].
func CompressionLevel(level int) Option { return func(c *config) { c.level = level } }

// Retries is how often a batch is sent again after retriable errors (retries). Default: 2147483647, that is until [DeliveryTimeout].
func Retries(n int) Option { return func(c *config) { c.retries = n } }

// RetryBackoff is the first and the longest wait before a batch is sent again (retry.backoff.ms, retry.backoff.max.ms). Default: 100 ms and 1 s.
func RetryBackoff(first, most time.Duration) Option {
	return func(c *config) { c.backoff = client.Backoff{First: first, Max: most} }
}

// MaxInFlight is how many requests to one broker may be unanswered (max.in.flight.requests.per.connection). Default: 5. See the package
// comment for what it means for one partition.
func MaxInFlight(n int) Option { return func(c *config) { c.maxInFlight = n } }

// RequestTimeout is how long the broker may wait for replicas (request.timeout.ms). The producer itself gives the answer a tenth longer, at
// most a second, and then drops the stream and sends again. Default: the client's.
func RequestTimeout(d time.Duration) Option { return func(c *config) { c.requestTimeout = d } }

// DeliveryTimeout bounds the time from the opening of a record's batch to its outcome, retries included (delivery.timeout.ms). It must be at
// least linger plus request timeout. Default: 120 s.
func DeliveryTimeout(d time.Duration) Option { return func(c *config) { c.deliveryTimeout = d } }

// PartitionerIgnoreKeys spreads records with a key as those without (partitioner.ignore.keys). Default: false.
func PartitionerIgnoreKeys(ignore bool) Option { return func(c *config) { c.ignoreKeys = ignore } }

// AdaptivePartitioning prefers partitions with short queues for records without a key (partitioner.adaptive.partitioning.enable, KIP-794).
// Default: true.
func AdaptivePartitioning(on bool) Option { return func(c *config) { c.adaptivePick = on } }

// AdaptiveBatching lets batches grow under pressure, see the package comment. Default: true.
func AdaptiveBatching(on bool) Option { return func(c *config) { c.adaptiveBatch = on } }

// OnBatch is called with every batch that has its outcome, after the callbacks of its records, from the producer's own goroutines; it must
// not block.
func OnBatch(f func(BatchReport)) Option { return func(c *config) { c.onBatch = f } }

// Logger receives the producer's log. Default: nothing is logged.
func Logger(l hclog.Logger) Option { return func(c *config) { c.logger = l } }

// BatchReport is the outcome of one batch.
type BatchReport struct {
	// TopicPartition it was for.
	TopicPartition cluster.TopicPartition
	// Records is the number of records.
	Records int
	// Bytes is its size on the wire; before compression when it was never sent.
	Bytes int
	// Attempts is how often it was sent.
	Attempts int
	// BaseOffset is the first record's offset; -1 with an error and with [AcksNone].
	BaseOffset cluster.Offset
	// Created is when its first record came.
	Created time.Time
	// Done is when it had its outcome.
	Done time.Time
	// Err is nil if it was written.
	Err error
}

func newConfig(cl *client.Client, opts []Option) (config, error) {
	c := config{
		acks:            AcksAll,
		idempotent:      true,
		batchSize:       16384,
		maxRequestSize:  1 << 20,
		bufferMemory:    32 << 20,
		maxBlock:        time.Minute,
		retries:         math.MaxInt32,
		backoff:         client.DefaultBackoff,
		maxInFlight:     5,
		requestTimeout:  cl.RequestTimeout(),
		deliveryTimeout: 2 * time.Minute,
		adaptivePick:    true,
		adaptiveBatch:   true,
		logger:          hclog.NewNullLogger(),
	}
	for _, o := range opts {
		o(&c)
	}
	if c.logger == nil {
		c.logger = hclog.NewNullLogger()
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("producer options: "+format, args...))
		}
	}
	check(c.acks >= -1 && c.acks <= 1, "acks is %d, must be -1, 0 or 1", c.acks)
	check(c.batchSize >= 0, "batch size is %d bytes, must not be negative", c.batchSize)
	check(c.maxRequestSize >= minBatchSize, "max request size is %d bytes, must be at least %d", c.maxRequestSize, minBatchSize)
	check(c.bufferMemory >= int64(minBatchSize), "buffer memory is %d bytes, must be at least %d", c.bufferMemory, minBatchSize)
	check(c.linger >= 0, "linger is %v, must not be negative", c.linger)
	check(c.maxBlock >= 0, "max block is %v, must not be negative", c.maxBlock)
	check(c.retries >= 0, "retries is %d, must not be negative", c.retries)
	check(c.maxInFlight >= 1, "max in flight is %d, must be at least 1", c.maxInFlight)
	check(c.requestTimeout > 0, "request timeout is %v, must be positive", c.requestTimeout)
	check(c.backoff.First >= 0 && c.backoff.Max >= c.backoff.First, "retry back-off is %v to %v, must not be negative nor shrink", c.backoff.First, c.backoff.Max)
	check(c.deliveryTimeout >= c.linger+c.requestTimeout,
		"delivery timeout is %v, must be at least linger plus request timeout (%v)", c.deliveryTimeout, c.linger+c.requestTimeout)
	if conflict := c.conflict(); c.idempotent && conflict != "" {
		check(!c.chosen, "%s", conflict)
		c.idempotent = false
	}
	if err := c.codec.CheckLevel(c.level); err != nil {
		check(false, "%w", err)
	}
	c.batchSize = max(c.batchSize, minBatchSize)
	c.batchSize = min(c.batchSize, c.maxRequestSize, int(min(c.bufferMemory, math.MaxInt32)))
	return c, errors.Join(errs...)
}

// conflict returns what rules idempotence out, in Kafka's words (ProducerConfig, F§6.4); "" if nothing does.
func (c *config) conflict() string {
	switch {
	case c.retries == 0:
		return "Must set retries to non-zero when using the idempotent producer."
	case c.acks != AcksAll:
		return "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
	case c.maxInFlight > maxNumberedInFlight:
		return "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer."
	}
	return ""
}

// perPartition is how many unanswered batches a partition may have without idempotence. With retries it is one, because only a batch whose predecessors
// are answered can be sent again without getting behind a later one.
func (c *config) perPartition() int {
	if c.retries > 0 && c.acks != AcksNone {
		return 1
	}
	return c.maxInFlight
}

// patience is how long the producer waits for an answer.
func (c *config) patience() time.Duration {
	return c.requestTimeout + min(c.requestTimeout/10, time.Second)
}
