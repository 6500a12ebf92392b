package config

// connectionKeys are common to all clients.
var connectionKeys = []Key{
	{Name: "bootstrap.servers", Type: List, Default: "", Doc: "Brokers to ask first: host:port separated by commas."},
	{Name: "client.id", Type: String, Default: "", Doc: "The name of the client in the logs and limits of brokers."},
	{Name: "client.dns.lookup", Type: String, Default: "use_all_dns_ips", check: oneOf("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"), Doc: "Which addresses of a name are tried."},
	{Name: "client.rack", Type: String, Default: "", Doc: "The rack of the client."},
	{Name: "request.timeout.ms", Type: Int, Default: "30000", check: atLeast(0), Doc: "How long to wait for an answer."},
	{Name: "retry.backoff.ms", Type: Long, Default: "100", check: atLeast(0), Doc: "How long to wait before the first repetition."},
	{Name: "retry.backoff.max.ms", Type: Long, Default: "1000", check: atLeast(0), Doc: "How long to wait before a repetition at most."},
	{Name: "reconnect.backoff.ms", Type: Long, Default: "50", check: atLeast(0), Doc: "How long to wait before the first new connection."},
	{Name: "reconnect.backoff.max.ms", Type: Long, Default: "1000", check: atLeast(0), Doc: "How long to wait before a new connection at most."},
	{Name: "metadata.max.age.ms", Type: Long, Default: "300000", check: atLeast(0), Doc: "When to ask for metadata again although nothing failed."},
	{Name: "connections.max.idle.ms", Type: Long, Default: "540000", Doc: "When to close a connection that is not used."},
	{Name: "send.buffer.bytes", Type: Int, Default: "131072", check: atLeast(-1), Doc: "Socket send buffer."},
	{Name: "receive.buffer.bytes", Type: Int, Default: "65536", check: atLeast(-1), Doc: "Socket receive buffer."},
	{Name: "socket.connection.setup.timeout.ms", Type: Long, Default: "10000", Doc: "How long to wait for a connection at first."},
	{Name: "socket.connection.setup.timeout.max.ms", Type: Long, Default: "30000", Doc: "How long to wait for a connection at most."},
	{Name: "security.protocol", Type: String, Default: "PLAINTEXT", check: oneOfAnyCase("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), Doc: "The security protocol."},
	{Name: "interceptor.classes", Type: List, Default: "", Doc: "Java classes that see every record."},
	{Name: "metric.reporters", Type: List, Default: "", Doc: "Java classes that report metrics."},
	{Name: "metrics.num.samples", Type: Int, Default: "2", check: atLeast(1), Doc: "How many samples metrics are computed from."},
	{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", check: atLeast(0), Doc: "How long a sample of a metric is."},
	{Name: "metrics.recording.level", Type: String, Default: "INFO", check: oneOf("INFO", "DEBUG", "TRACE"), Doc: "Which metrics are recorded."},
	{Name: "enable.metrics.push", Type: Boolean, Default: "true", Doc: "Whether metrics are sent to the brokers."},
}

// producerOnlyKeys are settings of producers.
var producerOnlyKeys = []Key{
	{Name: "acks", Type: String, Default: "all", check: oneOf("all", "-1", "0", "1"), Doc: "What a write has to wait for: nothing, the leader, or all replicas in sync."},
	{Name: "enable.idempotence", Type: Boolean, Default: "true", Doc: "Whether repetitions are recognised, so that no record is written twice."},
	{Name: "retries", Type: Int, Default: maxInt, check: between(0, 2147483647), Doc: "How often to repeat a failed write."},
	{Name: "max.in.flight.requests.per.connection", Type: Int, Default: "5", check: atLeast(1), Doc: "How many requests may be unanswered."},
	{Name: "batch.size", Type: Int, Default: "16384", check: atLeast(0), Doc: "The size of a batch, in bytes."},
	{Name: "linger.ms", Type: Long, Default: "0", check: atLeast(0), Doc: "How long to wait for more records for a batch."},
	{Name: "buffer.memory", Type: Long, Default: "33554432", check: atLeast(0), Doc: "How many bytes may wait to be sent."},
	{Name: "max.block.ms", Type: Long, Default: "60000", check: atLeast(0), Doc: "How long sending may block."},
	{Name: "delivery.timeout.ms", Type: Int, Default: "120000", check: atLeast(0), Doc: "When to give a record up."},
	{Name: "max.request.size", Type: Int, Default: "1048576", check: atLeast(0), Doc: "The largest request."},
	{Name: "compression.type", Type: String, Default: "none", check: oneOf("none", "gzip", "snappy", "lz4", "zstd"), Doc: "How batches are compressed."},
	{Name: "compression.gzip.level", Type: Int, Default: "-1", check: gzipLevel, Doc: "The gzip level."},
	{Name: "compression.lz4.level", Type: Int, Default: "9", check: between(1, 17), Doc: "The lz4 level."},
	{Name: "compression.zstd.level", Type: Int, Default: "3", check: between(-131072, 22), Doc: "The zstd level."},
	{Name: "partitioner.class", Type: Class, Null: true, Doc: "The class that chooses partitions."},
	{Name: "partitioner.adaptive.partitioning.enable", Type: Boolean, Default: "true", Doc: "Whether quick brokers get more of the records without key."},
	{Name: "partitioner.availability.timeout.ms", Type: Long, Default: "0", check: atLeast(0), Doc: "When a broker that takes no records is left out."},
	{Name: "partitioner.ignore.keys", Type: Boolean, Default: "false", Doc: "Whether keys do not determine partitions."},
	{Name: "metadata.max.idle.ms", Type: Long, Default: "300000", check: atLeast(5000), Doc: "When to forget a topic that is not used."},
	{Name: "transaction.timeout.ms", Type: Int, Default: "60000", Doc: "How long a transaction may take."},
	{Name: "transactional.id", Type: String, Null: true, Doc: "The transactional id."},
	{Name: "key.serializer", Type: Class, Null: true, Doc: "The Java class that turns keys into bytes."},
	{Name: "value.serializer", Type: Class, Null: true, Doc: "The Java class that turns values into bytes."},
}

// consumerOnlyKeys are settings of consumers.
var consumerOnlyKeys = []Key{
	{Name: "group.id", Type: String, Null: true, Doc: "The consumer group."},
	{Name: "group.instance.id", Type: String, Null: true, Doc: "The name of a static member."},
	{Name: "group.protocol", Type: String, Default: "classic", check: oneOfAnyCase("CLASSIC", "CONSUMER"), Doc: "The group protocol."},
	{Name: "session.timeout.ms", Type: Int, Default: "45000", Doc: "When a silent member leaves the group."},
	{Name: "heartbeat.interval.ms", Type: Int, Default: "3000", Doc: "How often a member gives a sign of life."},
	{Name: "max.poll.interval.ms", Type: Int, Default: "300000", check: atLeast(1), Doc: "How long a member may work on what it got."},
	{Name: "max.poll.records", Type: Int, Default: "500", check: atLeast(1), Doc: "How many records a poll returns."},
	{Name: "partition.assignment.strategy", Type: List, Default: "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor", Doc: "How partitions are shared in a group."},
	{Name: "auto.offset.reset", Type: String, Default: "latest", check: oneOf("latest", "earliest", "none"), Doc: "Where to start when there is no offset, or none that exists."},
	{Name: "enable.auto.commit", Type: Boolean, Default: "true", Doc: "Whether offsets are committed by themselves."},
	{Name: "auto.commit.interval.ms", Type: Int, Default: "5000", check: atLeast(0), Doc: "How often offsets are committed."},
	{Name: "fetch.min.bytes", Type: Int, Default: "1", check: atLeast(0), Doc: "How many bytes have to be there before a broker answers."},
	{Name: "fetch.max.wait.ms", Type: Int, Default: "500", check: atLeast(0), Doc: "How long a broker may wait for that."},
	{Name: "fetch.max.bytes", Type: Int, Default: "52428800", check: atLeast(0), Doc: "How many bytes an answer holds."},
	{Name: "max.partition.fetch.bytes", Type: Int, Default: "1048576", check: atLeast(0), Doc: "How many bytes of one partition an answer holds."},
	{Name: "isolation.level", Type: String, Default: "read_uncommitted", check: oneOf("read_committed", "read_uncommitted"), Doc: "Whether records of open and aborted transactions are seen."},
	{Name: "allow.auto.create.topics", Type: Boolean, Default: "true", Doc: "Whether asking for a topic may create it."},
	{Name: "exclude.internal.topics", Type: Boolean, Default: "true", Doc: "Whether patterns leave internal topics out."},
	{Name: "check.crcs", Type: Boolean, Default: "true", Doc: "Whether checksums are verified."},
	{Name: "default.api.timeout.ms", Type: Int, Default: "60000", check: atLeast(0), Doc: "How long a call may take."},
	{Name: "key.deserializer", Type: Class, Null: true, Doc: "The Java class that reads keys."},
	{Name: "value.deserializer", Type: Class, Null: true, Doc: "The Java class that reads values."},
}

// adminOnlyKeys are settings of admin clients.
var adminOnlyKeys = []Key{
	{Name: "default.api.timeout.ms", Type: Int, Default: "60000", check: atLeast(0), Doc: "How long a call may take."},
	{Name: "retries", Type: Int, Default: maxInt, check: between(0, 2147483647), Doc: "How often to repeat a failed call."},
}

// clientSecurityKeys names the TLS and SASL settings of clients: those of brokers that make sense in a client.
var clientSecurityKeys = append(append([]Key{}, tlsKeys...), saslKeys...)

// withDefaults copies a table with other defaults for some settings.
func withDefaults(table []Key, defaults map[string]string) []Key {
	list := append([]Key{}, table...)
	for i := range list {
		if d, ok := defaults[list[i].Name]; ok {
			list[i].Default = d
		}
	}
	return list
}

// The settings of the three kinds of client.
var (
	producerKeys = newKeySet(withDefaults(connectionKeys, map[string]string{"receive.buffer.bytes": "32768"}), producerOnlyKeys, clientSecurityKeys)
	consumerKeys = newKeySet(withDefaults(connectionKeys, nil), consumerOnlyKeys, append([]Key{}, clientSecurityKeys...))
	adminKeys    = newKeySet(withDefaults(connectionKeys, map[string]string{"connections.max.idle.ms": "300000"}), adminOnlyKeys, append([]Key{}, clientSecurityKeys...))
)
