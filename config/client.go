package config

import (
	"fmt"
	"strings"
	"time"
)

// Connection holds what every kind of client has.
type Connection struct {
	// Bootstrap is bootstrap.servers: host:port items.
	Bootstrap []string
	// ClientID is client.id.
	ClientID string
	// RequestTimeout is request.timeout.ms.
	RequestTimeout time.Duration
	// RetryBackoff is retry.backoff.ms.
	RetryBackoff time.Duration
	// RetryBackoffMax is retry.backoff.max.ms, never less than RetryBackoff.
	RetryBackoffMax time.Duration
	// ReconnectBackoff is reconnect.backoff.ms.
	ReconnectBackoff time.Duration
	// ReconnectBackoffMax is reconnect.backoff.max.ms, never less than ReconnectBackoff.
	ReconnectBackoffMax time.Duration
	// MetadataMaxAge is metadata.max.age.ms.
	MetadataMaxAge time.Duration
	// ConnectionsMaxIdle is connections.max.idle.ms.
	ConnectionsMaxIdle time.Duration
}

// Producer holds the settings of a producer.
type Producer struct {
	// Connection holds what every kind of client has.
	Connection
	// Acks is acks: -1 for all replicas in sync, 0 for none, 1 for the leader.
	Acks int16
	// Idempotence is enable.idempotence, after the rules of [LoadProducer].
	Idempotence bool
	// Retries is retries.
	Retries int
	// MaxInFlight is max.in.flight.requests.per.connection.
	MaxInFlight int
	// BatchSize is batch.size in bytes.
	BatchSize int
	// Linger is linger.ms.
	Linger time.Duration
	// BufferMemory is buffer.memory in bytes.
	BufferMemory int64
	// MaxBlock is max.block.ms.
	MaxBlock time.Duration
	// DeliveryTimeout is delivery.timeout.ms.
	DeliveryTimeout time.Duration
	// MaxRequestSize is max.request.size in bytes.
	MaxRequestSize int
	// Compression is compression.type and the level of that codec.
	Compression CompressionConfig
	// Partitioner is about choosing partitions.
	Partitioner PartitionerConfig
	// TransactionalID is transactional.id, "" for none.
	TransactionalID string
	// TransactionTimeout is transaction.timeout.ms.
	TransactionTimeout time.Duration
}

// PartitionerConfig is about choosing partitions.
type PartitionerConfig struct {
	// Class is partitioner.class: "" for the built-in one, "RoundRobinPartitioner" with or without its Java package.
	Class string
	// Adaptive is partitioner.adaptive.partitioning.enable.
	Adaptive bool
	// IgnoreKeys is partitioner.ignore.keys.
	IgnoreKeys bool
	// AvailabilityTimeout is partitioner.availability.timeout.ms; 0 for none.
	AvailabilityTimeout time.Duration
}

// Consumer holds the settings of a consumer.
type Consumer struct {
	// Connection holds what every kind of client has.
	Connection
	// GroupID is group.id, "" for none.
	GroupID string
	// GroupInstanceID is group.instance.id, "" for none.
	GroupInstanceID string
	// SessionTimeout is session.timeout.ms.
	SessionTimeout time.Duration
	// HeartbeatInterval is heartbeat.interval.ms.
	HeartbeatInterval time.Duration
	// MaxPollInterval is max.poll.interval.ms.
	MaxPollInterval time.Duration
	// MaxPollRecords is max.poll.records.
	MaxPollRecords int
	// AssignmentStrategy is partition.assignment.strategy.
	AssignmentStrategy []string
	// AutoOffsetReset is auto.offset.reset: latest, earliest or none.
	AutoOffsetReset string
	// AutoCommit is enable.auto.commit.
	AutoCommit bool
	// AutoCommitInterval is auto.commit.interval.ms.
	AutoCommitInterval time.Duration
	// Fetch is about the size and patience of fetches.
	Fetch FetchConfig
	// ReadCommitted is true for isolation.level=read_committed.
	ReadCommitted bool
	// AllowAutoCreateTopics is allow.auto.create.topics.
	AllowAutoCreateTopics bool
	// CheckCRCs is check.crcs.
	CheckCRCs bool
	// ClientRack is client.rack.
	ClientRack string
	// APITimeout is default.api.timeout.ms.
	APITimeout time.Duration
}

// FetchConfig is about the size and patience of fetches.
type FetchConfig struct {
	// MinBytes is fetch.min.bytes.
	MinBytes int
	// MaxWait is fetch.max.wait.ms.
	MaxWait time.Duration
	// MaxBytes is fetch.max.bytes.
	MaxBytes int
	// MaxPartitionBytes is max.partition.fetch.bytes.
	MaxPartitionBytes int
}

// Admin holds the settings of an admin client.
type Admin struct {
	// Connection holds what every kind of client has.
	Connection
	// APITimeout is default.api.timeout.ms.
	APITimeout time.Duration
	// Retries is retries.
	Retries int
}

// bag holds the parsed settings of a client.
type bag struct {
	set    *keySet
	values map[string]value
}

// newBag parses settings. Unknown ones are warnings, as in Kafka; so are those that nothing acts on.
func newBag(set *keySet, what string, given Properties) (bag, []Warning, error) {
	b := bag{set, map[string]value{}}
	var warnings []Warning
	for _, name := range given.names() {
		k := set.byName[name]
		if k == nil {
			warnings = append(warnings, unknown(set, name, what+" setting"))
			continue
		}
		v, err := k.parse(given[name])
		if err != nil {
			return bag{}, nil, err
		}
		b.values[name] = v
		if why := noClientEffect[name]; why != "" && v.text() != k.fallback().text() {
			warnings = append(warnings, Warning{Warn, name, fmt.Sprintf("the %s setting %s has no effect: %s", what, name, why)})
		}
	}
	if protocol := b.get("security.protocol").s; !strings.EqualFold(protocol, "PLAINTEXT") {
		return bag{}, nil, set.byName["security.protocol"].invalid(protocol, "only PLAINTEXT is available")
	}
	return b, warnings, nil
}

// get returns the value of a setting, which is in the table.
func (b bag) get(name string) value {
	if v, ok := b.values[name]; ok {
		return v
	}
	return b.set.byName[name].fallback()
}

// has reports whether a setting was given.
func (b bag) has(name string) bool {
	_, ok := b.values[name]
	return ok
}

// ms returns a setting in milliseconds.
func (b bag) ms(name string) time.Duration { return milliseconds(b.get(name).n) }

// connection reads the common settings.
func (b bag) connection() Connection {
	c := Connection{
		Bootstrap: b.get("bootstrap.servers").list, ClientID: b.get("client.id").s, RequestTimeout: b.ms("request.timeout.ms"),
		RetryBackoff: b.ms("retry.backoff.ms"), RetryBackoffMax: b.ms("retry.backoff.max.ms"),
		ReconnectBackoff: b.ms("reconnect.backoff.ms"), ReconnectBackoffMax: b.ms("reconnect.backoff.max.ms"),
		MetadataMaxAge: b.ms("metadata.max.age.ms"), ConnectionsMaxIdle: b.ms("connections.max.idle.ms"),
	}
	c.RetryBackoffMax = max(c.RetryBackoffMax, c.RetryBackoff)
	c.ReconnectBackoffMax = max(c.ReconnectBackoffMax, c.ReconnectBackoff)
	return c
}

// LoadProducer reads the settings of a producer. Idempotence is on by default and is switched off without a word when acks, retries or the number of
// requests in flight are set to something that rules it out; when it was asked for, that is an error (ProducerConfig, KIP-679).
func LoadProducer(given Properties) (*Producer, []Warning, error) {
	b, warnings, err := newBag(producerKeys, "producer", given)
	if err != nil {
		return nil, nil, err
	}
	p := &Producer{
		Connection: b.connection(), Acks: parseAcks(b.get("acks").s), Idempotence: b.get("enable.idempotence").n != 0,
		Retries: int(b.get("retries").n), MaxInFlight: int(b.get("max.in.flight.requests.per.connection").n),
		BatchSize: int(b.get("batch.size").n), Linger: b.ms("linger.ms"), BufferMemory: b.get("buffer.memory").n,
		MaxBlock: b.ms("max.block.ms"), DeliveryTimeout: b.ms("delivery.timeout.ms"), MaxRequestSize: int(b.get("max.request.size").n),
		Compression: CompressionConfig{Type: b.get("compression.type").s},
		Partitioner: PartitionerConfig{
			Class: b.get("partitioner.class").s, Adaptive: b.get("partitioner.adaptive.partitioning.enable").n != 0,
			IgnoreKeys: b.get("partitioner.ignore.keys").n != 0, AvailabilityTimeout: b.ms("partitioner.availability.timeout.ms"),
		},
		TransactionalID: b.get("transactional.id").s, TransactionTimeout: b.ms("transaction.timeout.ms"),
	}
	switch p.Compression.Type {
	case "gzip", "lz4", "zstd":
		p.Compression.Level = int(b.get("compression." + p.Compression.Type + ".level").n)
	}
	if least := p.Linger + p.RequestTimeout; p.DeliveryTimeout < least {
		if b.has("delivery.timeout.ms") {
			return nil, nil, &Error{Key: "delivery.timeout.ms", Text: "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms"}
		}
		p.DeliveryTimeout = least
	}
	if err := p.settleIdempotence(b); err != nil {
		return nil, nil, err
	}
	return p, warnings, nil
}

// parseAcks turns the text of acks into the number of the protocol.
func parseAcks(text string) int16 {
	switch text {
	case "0":
		return 0
	case "1":
		return 1
	}
	return -1
}

// settleIdempotence applies the rules of [LoadProducer].
func (p *Producer) settleIdempotence(b bag) error {
	conflict, key := "", ""
	switch {
	case p.Retries == 0:
		key, conflict = "retries", "Must set retries to non-zero when using the idempotent producer."
	case p.Acks != -1:
		key, conflict = "acks", "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
	case p.MaxInFlight > 5:
		key, conflict = "max.in.flight.requests.per.connection", "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer."
	}
	if conflict == "" || !p.Idempotence {
		if p.TransactionalID != "" && !p.Idempotence {
			return &Error{Key: "transactional.id", Text: "Cannot set a transactional.id without also enabling idempotence."}
		}
		return nil
	}
	if b.has("enable.idempotence") || p.TransactionalID != "" {
		return &Error{Key: key, Text: conflict}
	}
	p.Idempotence = false
	return nil
}

// LoadConsumer reads the settings of a consumer.
func LoadConsumer(given Properties) (*Consumer, []Warning, error) {
	b, warnings, err := newBag(consumerKeys, "consumer", given)
	if err != nil {
		return nil, nil, err
	}
	c := &Consumer{
		Connection: b.connection(), GroupID: b.get("group.id").s, GroupInstanceID: b.get("group.instance.id").s,
		SessionTimeout: b.ms("session.timeout.ms"), HeartbeatInterval: b.ms("heartbeat.interval.ms"),
		MaxPollInterval: b.ms("max.poll.interval.ms"), MaxPollRecords: int(b.get("max.poll.records").n),
		AssignmentStrategy: b.get("partition.assignment.strategy").list, AutoOffsetReset: b.get("auto.offset.reset").s,
		AutoCommit: b.get("enable.auto.commit").n != 0, AutoCommitInterval: b.ms("auto.commit.interval.ms"),
		Fetch: FetchConfig{
			MinBytes: int(b.get("fetch.min.bytes").n), MaxWait: b.ms("fetch.max.wait.ms"),
			MaxBytes: int(b.get("fetch.max.bytes").n), MaxPartitionBytes: int(b.get("max.partition.fetch.bytes").n),
		},
		ReadCommitted: b.get("isolation.level").s == "read_committed", AllowAutoCreateTopics: b.get("allow.auto.create.topics").n != 0,
		CheckCRCs: b.get("check.crcs").n != 0, ClientRack: b.get("client.rack").s, APITimeout: b.ms("default.api.timeout.ms"),
	}
	if c.GroupID == "" {
		if b.has("enable.auto.commit") && c.AutoCommit {
			return nil, nil, &Error{Key: "enable.auto.commit", Text: "enable.auto.commit cannot be set to true when default group id (null) is used."}
		}
		c.AutoCommit = false
	}
	return c, warnings, nil
}

// LoadAdmin reads the settings of an admin client.
func LoadAdmin(given Properties) (*Admin, []Warning, error) {
	b, warnings, err := newBag(adminKeys, "admin client", given)
	if err != nil {
		return nil, nil, err
	}
	a := &Admin{Connection: b.connection(), APITimeout: b.ms("default.api.timeout.ms"), Retries: int(b.get("retries").n)}
	if a.APITimeout < a.RequestTimeout {
		if b.has("request.timeout.ms") {
			return nil, nil, &Error{Key: "default.api.timeout.ms", Text: fmt.Sprintf(
				"The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms. (%d < %d)", a.APITimeout.Milliseconds(), a.RequestTimeout.Milliseconds())}
		}
		a.RequestTimeout = a.APITimeout
	}
	return a, warnings, nil
}

// ProducerKeys returns the table of producer settings, sorted by name.
func ProducerKeys() []Key { return producerKeys.all() }

// ConsumerKeys returns the table of consumer settings, sorted by name.
func ConsumerKeys() []Key { return consumerKeys.all() }

// AdminKeys returns the table of settings of admin clients, sorted by name.
func AdminKeys() []Key { return adminKeys.all() }
