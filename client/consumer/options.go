package consumer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client"
)

// Reset says where to start in a partition without a position, or whose position does not exist (auto.offset.reset): it was deleted, or it belongs
// to an earlier topic of the same name.
type Reset int8

// The values of auto.offset.reset.
const (
	// ResetLatest starts at the end: only what is written from now on.
	ResetLatest Reset = iota
	// ResetEarliest starts at the first record there is.
	ResetEarliest
	// ResetNone makes it an error, OFFSET_OUT_OF_RANGE.
	ResetNone
)

// String returns the value as auto.offset.reset spells it.
func (r Reset) String() string { return [...]string{"latest", "earliest", "none"}[r] }

// Option changes a setting of [New].
type Option func(*config)

type config struct {
	isolation         client.Isolation
	reset             Reset
	minBytes          int
	maxBytes          int
	partitionMaxBytes int
	maxWait           time.Duration
	checkCRCs         bool
	rack              string
	autoCreate        bool
	credits           int
	backoff           client.Backoff
	logger            hclog.Logger
}

// Isolation is isolation.level. Default: [client.ReadUncommitted].
func Isolation(i client.Isolation) Option { return func(c *config) { c.isolation = i } }

// OffsetReset is auto.offset.reset. Default: [ResetLatest].
func OffsetReset(r Reset) Option { return func(c *config) { c.reset = r } }

// FetchMinBytes is how much a broker waits for before it answers (fetch.min.bytes). Default: 1.
func FetchMinBytes(n int) Option { return func(c *config) { c.minBytes = n } }

// FetchMaxBytes bounds the records held per broker, in bytes (fetch.max.bytes). The answers that are asked for ahead share it. A batch that is
// larger is still fetched. Default: 52428800.
func FetchMaxBytes(n int) Option { return func(c *config) { c.maxBytes = n } }

// MaxPartitionFetchBytes bounds the records of one partition in one answer, in bytes (max.partition.fetch.bytes); a batch that is larger is
// still fetched. Default: 1048576.
func MaxPartitionFetchBytes(n int) Option { return func(c *config) { c.partitionMaxBytes = n } }

// FetchMaxWait bounds how long a broker waits for [FetchMinBytes] (fetch.max.wait.ms). Default: 500 ms.
func FetchMaxWait(d time.Duration) Option { return func(c *config) { c.maxWait = d } }

// CheckCRCs verifies the checksum of every batch before its records are given out (check.crcs). Default: true.
func CheckCRCs(check bool) Option { return func(c *config) { c.checkCRCs = check } }

// Rack lets the consumer read from a replica in its own rack, if the brokers agree (client.rack, KIP-392). Default: "".
func Rack(rack string) Option { return func(c *config) { c.rack = rack } }

// AllowAutoCreateTopics lets brokers create topics that are assigned and do not exist, if they are configured to
// (allow.auto.create.topics). Default: true.
func AllowAutoCreateTopics(allow bool) Option { return func(c *config) { c.autoCreate = allow } }

// Credits is how many answers per broker are asked for before the first of them has been read, at least 1. It takes effect while answers are
// large; a consumer that has caught up asks for one at a time. Default: 3.
func Credits(n int) Option { return func(c *config) { c.credits = n } }

// RetryBackoff is the first and the longest wait before something that failed is tried again (retry.backoff.ms, retry.backoff.max.ms).
// Default: 100 ms and 1 s.
func RetryBackoff(first, most time.Duration) Option {
	return func(c *config) { c.backoff = client.Backoff{First: first, Max: most} }
}

// Logger receives the consumer's log. Default: nothing is logged.
func Logger(l hclog.Logger) Option { return func(c *config) { c.logger = l } }

func newConfig(opts []Option) (config, error) {
	c := config{
		minBytes:          1,
		maxBytes:          50 << 20,
		partitionMaxBytes: 1 << 20,
		maxWait:           500 * time.Millisecond,
		checkCRCs:         true,
		autoCreate:        true,
		credits:           3,
		backoff:           client.DefaultBackoff,
		logger:            hclog.NewNullLogger(),
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
			errs = append(errs, fmt.Errorf("consumer options: "+format, args...))
		}
	}
	check(c.isolation == client.ReadUncommitted || c.isolation == client.ReadCommitted, "isolation level %d does not exist", c.isolation)
	check(c.reset >= ResetLatest && c.reset <= ResetNone, "offset reset %d does not exist", int8(c.reset))
	check(c.minBytes >= 0 && c.minBytes <= math.MaxInt32, "fetch min bytes is %d, must be 0 to %d", c.minBytes, math.MaxInt32)
	check(c.maxBytes >= 1 && c.maxBytes <= math.MaxInt32, "fetch max bytes is %d, must be 1 to %d", c.maxBytes, math.MaxInt32)
	check(c.partitionMaxBytes >= 1 && c.partitionMaxBytes <= math.MaxInt32, "max partition fetch bytes is %d, must be 1 to %d", c.partitionMaxBytes, math.MaxInt32)
	check(c.maxWait >= 0 && c.maxWait <= 24*time.Hour, "fetch max wait is %v, must be 0 to 24h", c.maxWait)
	check(c.credits >= 1, "credits is %d, must be at least 1", c.credits)
	check(c.backoff.First >= 0 && c.backoff.Max >= c.backoff.First, "retry back-off is %v to %v, must not be negative nor shrink", c.backoff.First, c.backoff.Max)
	return c, errors.Join(errs...)
}
