package config

// Values that several tables use.
const (
	maxInt  = "2147483647"
	maxLong = "9223372036854775807"
)

// compressionTypes are the legal values of compression.type for brokers and topics, in Kafka's order.
var compressionTypes = []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}

// zooKeeperKeys are about the connection to ZooKeeper.
var zooKeeperKeys = []Key{
	{Name: "zookeeper.connect", Type: String, Required: true, Doc: "The ZooKeeper servers, host:port separated by commas, optionally followed by a path under which the cluster lives."},
	{Name: "zookeeper.session.timeout.ms", Type: Int, Default: "18000", Doc: "How long ZooKeeper waits for a sign of life before it declares the broker dead."},
	{Name: "zookeeper.connection.timeout.ms", Type: Int, Null: true, Doc: "How long to wait for the first connection to ZooKeeper; the session timeout when not set."},
	{Name: "zookeeper.max.in.flight.requests", Type: Int, Default: "10", check: atLeast(1), Doc: "How many requests to ZooKeeper may be unanswered at a time."},
	{Name: "zookeeper.set.acl", Type: Boolean, Default: "false", Doc: "Whether the nodes that the broker creates are protected by ACLs."},
}

// identityKeys say who a broker is and where it listens.
var identityKeys = []Key{
	{Name: "broker.id", Type: Int, Default: "-1", Doc: "The broker's id; -1 lets ZooKeeper hand one out."},
	{Name: "broker.id.generation.enable", Type: Boolean, Default: "true", Doc: "Whether a broker without an id may ask ZooKeeper for one."},
	{Name: "reserved.broker.max.id", Type: Int, Default: "1000", check: atLeast(0), Doc: "The largest id that is never handed out."},
	{Name: "broker.rack", Type: String, Null: true, Doc: "The rack or zone of the broker; replicas are spread over racks."},
	{Name: "listeners", Type: String, Default: "PLAINTEXT://:9092", Update: PerBroker, Doc: "Where to listen: NAME://host:port separated by commas; an empty host is every interface."},
	{Name: "advertised.listeners", Type: String, Null: true, Update: PerBroker, Doc: "The addresses that clients and brokers are told; the listeners when not set."},
	{Name: "listener.security.protocol.map", Type: String, Default: "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL", Update: PerBroker, Doc: "The security protocol of each listener name."},
	{Name: "inter.broker.listener.name", Type: String, Null: true, Doc: "The listener that brokers use among themselves."},
	{Name: "security.inter.broker.protocol", Type: String, Default: "PLAINTEXT", check: oneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), Doc: "The security protocol that brokers use among themselves, when no listener is named."},
	{Name: "control.plane.listener.name", Type: String, Null: true, Doc: "A listener for the controller's requests alone."},
	{Name: "early.start.listeners", Type: String, Null: true, Doc: "Listeners that serve before the broker is ready."},
	{Name: "inter.broker.protocol.version", Type: String, Default: "3.9-IV0", check: protocolVersion, Doc: "The Kafka version whose protocol brokers speak among themselves."},
}

// serverKeys are about threads, sockets and limits.
var serverKeys = []Key{
	{Name: "num.network.threads", Type: Int, Default: "3", check: atLeast(1), Update: ClusterWide, Doc: "Network threads of each listener."},
	{Name: "num.io.threads", Type: Int, Default: "8", check: atLeast(1), Update: ClusterWide, Doc: "Threads that work on requests."},
	{Name: "background.threads", Type: Int, Default: "10", check: atLeast(1), Update: ClusterWide, Doc: "Threads for background work."},
	{Name: "num.replica.fetchers", Type: Int, Default: "1", Update: ClusterWide, Doc: "Fetchers for each broker that leads partitions this one follows."},
	{Name: "num.recovery.threads.per.data.dir", Type: Int, Default: "1", check: atLeast(1), Update: ClusterWide, Doc: "How many logs of one data directory are loaded or flushed at a time."},
	{Name: "num.replica.alter.log.dirs.threads", Type: Int, Null: true, Doc: "How many replicas are moved between data directories at a time; one for each directory when not set."},
	{Name: "queued.max.requests", Type: Int, Default: "500", check: atLeast(1), Doc: "How many requests may wait for a thread."},
	{Name: "queued.max.request.bytes", Type: Long, Default: "-1", Doc: "How many bytes of requests may wait for a thread; -1 for no limit."},
	{Name: "request.timeout.ms", Type: Int, Default: "30000", Doc: "How long to wait for the answer of another broker."},
	{Name: "socket.send.buffer.bytes", Type: Int, Default: "102400", Doc: "Socket send buffer; -1 leaves it to the system."},
	{Name: "socket.receive.buffer.bytes", Type: Int, Default: "102400", Doc: "Socket receive buffer; -1 leaves it to the system."},
	{Name: "socket.request.max.bytes", Type: Int, Default: "104857600", check: atLeast(1), Doc: "The largest request."},
	{Name: "socket.listen.backlog.size", Type: Int, Default: "50", check: atLeast(1), Doc: "How many connections may wait to be accepted."},
	{Name: "socket.connection.setup.timeout.ms", Type: Long, Default: "10000", Doc: "How long to wait for a connection to another broker at first."},
	{Name: "socket.connection.setup.timeout.max.ms", Type: Long, Default: "30000", Doc: "How long to wait for a connection to another broker at most."},
	{Name: "max.connections", Type: Int, Default: maxInt, check: atLeast(0), Update: ClusterWide, Doc: "How many connections the broker accepts."},
	{Name: "max.connections.per.ip", Type: Int, Default: maxInt, check: atLeast(0), Update: ClusterWide, Doc: "How many connections the broker accepts from one address."},
	{Name: "max.connections.per.ip.overrides", Type: String, Default: "", Update: ClusterWide, Doc: "Exceptions to max.connections.per.ip: host:count separated by commas."},
	{Name: "max.connection.creation.rate", Type: Int, Default: maxInt, check: atLeast(0), Update: ClusterWide, Doc: "How many connections a second the broker accepts."},
	{Name: "connections.max.idle.ms", Type: Long, Default: "600000", Doc: "When to close a connection that nobody uses."},
	{Name: "connection.failed.authentication.delay.ms", Type: Int, Default: "100", check: atLeast(0), Doc: "How long to wait before a connection is closed whose authentication failed."},
	{Name: "connections.max.reauth.ms", Type: Long, Default: "0", Doc: "How long a session may last until the client has to authenticate again; 0 for ever."},
	{Name: "message.max.bytes", Type: Int, Default: "1048588", check: atLeast(0), Update: ClusterWide, Doc: "The largest record batch."},
	{Name: "fetch.max.bytes", Type: Int, Default: "57671680", check: atLeast(1024), Doc: "How many bytes one answer to a fetch holds at most."},
	{Name: "max.incremental.fetch.session.cache.slots", Type: Int, Default: "1000", check: atLeast(0), Doc: "How many fetch sessions the broker remembers."},
}

// topicDefaultKeys are about topics that are made, and about who leads them.
var topicDefaultKeys = []Key{
	{Name: "num.partitions", Type: Int, Default: "1", check: atLeast(1), Doc: "Partitions of a topic that is created without a number."},
	{Name: "default.replication.factor", Type: Int, Default: "1", Doc: "Replicas of a topic that is created without a number."},
	{Name: "auto.create.topics.enable", Type: Boolean, Default: "true", Doc: "Whether a topic is created when a client asks for it."},
	{Name: "delete.topic.enable", Type: Boolean, Default: "true", Doc: "Whether topics can be deleted."},
	{Name: "min.insync.replicas", Type: Int, Default: "1", check: atLeast(1), Update: ClusterWide, Doc: "How many replicas have to be in sync for a write with acks=all."},
	{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Update: ClusterWide, Doc: "Whether a replica that is not in sync may become leader when no other is left, which loses records."},
	{Name: "auto.leader.rebalance.enable", Type: Boolean, Default: "true", Doc: "Whether leadership goes back to the preferred replicas by itself."},
	{Name: "leader.imbalance.per.broker.percentage", Type: Int, Default: "10", Doc: "How many percent of a broker's partitions may be led elsewhere before leadership goes back."},
	{Name: "leader.imbalance.check.interval.seconds", Type: Long, Default: "300", check: atLeast(1), Doc: "How often to look for misplaced leadership."},
	{Name: "controlled.shutdown.enable", Type: Boolean, Default: "true", Doc: "Whether a broker hands its leadership over before it stops."},
	{Name: "controlled.shutdown.max.retries", Type: Int, Default: "3", Doc: "How often to try to hand leadership over."},
	{Name: "controlled.shutdown.retry.backoff.ms", Type: Long, Default: "5000", Doc: "How long to wait between attempts to hand leadership over."},
	{Name: "controller.socket.timeout.ms", Type: Int, Default: "30000", Doc: "How long the controller waits for a broker."},
	{Name: "create.topic.policy.class.name", Type: Class, Null: true, Doc: "A Java class that judges topics before they are created."},
	{Name: "alter.config.policy.class.name", Type: Class, Null: true, Doc: "A Java class that judges settings before they change."},
}

// earlyFailoverKeys are Ottla's own: about brokers that notice by themselves, before ZooKeeper does, that another one does not answer.
var earlyFailoverKeys = []Key{
	{Name: "ottla.early.failover.enable", Type: Boolean, Default: "true", Doc: "Whether leaderships move away from a broker that does not answer before its ZooKeeper session has expired, and whether such a controller is replaced."},
	{Name: "ottla.early.failover.ping.interval.ms", Type: Int, Default: "200", check: between(10, 60000), Doc: "How long after an answer a broker pings another one again."},
	{Name: "ottla.early.failover.timeout.ms", Type: Int, Default: "1600", check: between(100, 600000), Doc: "How long a ping may stay without answer until its receiver counts as silent; shorter pauses go unnoticed."},
	{Name: "ottla.early.failover.hold.down.ms", Type: Int, Default: "30000", check: atLeast(0), Doc: "How long a broker that was silent and answers again cannot count as silent once more, and how long at most one whose disk stalled counts as stalled after that."},
	{Name: "ottla.early.failover.disk.stall.ms", Type: Int, Default: "2000", check: between(0, 600000), Doc: "How long an append may wait for the broker's disk until its leaderships move to others; 0 for ever."},
}

// logKeys are about data directories and logs; most are defaults of topic settings.
var logKeys = []Key{
	{Name: "log.dir", Type: String, Default: "/tmp/kafka-logs", Doc: "The data directory, when log.dirs is not set."},
	{Name: "log.dirs", Type: String, Null: true, Doc: "The data directories, separated by commas."},
	{Name: "log.dir.failure.timeout.ms", Type: Long, Default: "30000", check: atLeast(1), Doc: "How long a broker may fail to report a broken data directory until it stops."},
	{Name: "log.message.format.version", Type: String, Default: "3.0-IV1", check: protocolVersion, Doc: "The Kafka version of the format of messages; only the present format exists."},
	{Name: "log.segment.bytes", Type: Int, Default: "1073741824", check: atLeast(14), Update: ClusterWide, Doc: "The size at which a log starts a new segment file."},
	{Name: "log.roll.ms", Type: Long, Null: true, check: atLeast(1), Update: ClusterWide, Doc: "The age at which a log starts a new segment file; log.roll.hours when not set."},
	{Name: "log.roll.hours", Type: Int, Default: "168", check: atLeast(1), Doc: "The age at which a log starts a new segment file, in hours."},
	{Name: "log.roll.jitter.ms", Type: Long, Null: true, check: atLeast(0), Update: ClusterWide, Doc: "How much earlier, at random, a segment file may be started."},
	{Name: "log.roll.jitter.hours", Type: Int, Default: "0", check: atLeast(0), Doc: "How much earlier, at random, a segment file may be started, in hours."},
	{Name: "log.retention.ms", Type: Long, Null: true, Update: ClusterWide, Doc: "How long records are kept; log.retention.minutes when not set, -1 for ever."},
	{Name: "log.retention.minutes", Type: Int, Null: true, Doc: "How long records are kept, in minutes; log.retention.hours when not set."},
	{Name: "log.retention.hours", Type: Int, Default: "168", Doc: "How long records are kept, in hours."},
	{Name: "log.retention.bytes", Type: Long, Default: "-1", Update: ClusterWide, Doc: "How large a partition may grow until its oldest segments are deleted; -1 for no limit."},
	{Name: "log.retention.check.interval.ms", Type: Long, Default: "300000", check: atLeast(1), Doc: "How often to look for segments to delete."},
	{Name: "log.cleanup.policy", Type: List, Default: "delete", check: oneOf("compact", "delete"), Update: ClusterWide, Doc: "What happens to old records: delete, compact, or both."},
	{Name: "log.index.size.max.bytes", Type: Int, Default: "10485760", check: atLeast(4), Update: ClusterWide, Doc: "The largest index file."},
	{Name: "log.index.interval.bytes", Type: Int, Default: "4096", check: atLeast(0), Update: ClusterWide, Doc: "How many bytes of log lie between two entries of the index."},
	{Name: "log.flush.interval.messages", Type: Long, Default: maxLong, check: atLeast(1), Update: ClusterWide, Doc: "After how many records a log is forced to disk."},
	{Name: "log.flush.interval.ms", Type: Long, Null: true, Update: ClusterWide, Doc: "After how long a log is forced to disk; log.flush.scheduler.interval.ms when not set."},
	{Name: "log.flush.scheduler.interval.ms", Type: Long, Default: maxLong, Doc: "How often to look for logs that have to be forced to disk."},
	{Name: "log.flush.offset.checkpoint.interval.ms", Type: Int, Default: "60000", check: atLeast(0), Doc: "How often to note up to where logs are on disk."},
	{Name: "log.flush.start.offset.checkpoint.interval.ms", Type: Int, Default: "60000", check: atLeast(0), Doc: "How often to note where logs start."},
	{Name: "log.segment.delete.delay.ms", Type: Long, Default: "60000", check: atLeast(0), Update: ClusterWide, Doc: "How long a deleted file stays on disk."},
	{Name: "log.preallocate", Type: Boolean, Default: "false", Update: ClusterWide, Doc: "Whether disk space is reserved when a segment file is created."},
	{Name: "log.message.timestamp.type", Type: String, Default: "CreateTime", check: oneOf("CreateTime", "LogAppendTime"), Update: ClusterWide, Doc: "Whether a record carries the producer's time or the broker's."},
	{Name: "log.message.timestamp.difference.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Update: ClusterWide, Doc: "How far a producer's time may be from the broker's; the two settings below are newer."},
	{Name: "log.message.timestamp.before.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Update: ClusterWide, Doc: "How far a producer's time may be behind the broker's."},
	{Name: "log.message.timestamp.after.max.ms", Type: Long, Default: maxLong, check: atLeast(0), Update: ClusterWide, Doc: "How far a producer's time may be ahead of the broker's."},
	{Name: "log.message.downconversion.enable", Type: Boolean, Default: "true", Update: ClusterWide, Doc: "Whether records are converted for clients that know only older formats."},
	{Name: "compression.type", Type: String, Default: "producer", check: oneOf(compressionTypes...), Update: ClusterWide, Doc: "How batches are compressed on disk; producer keeps what the producer chose."},
	{Name: "compression.gzip.level", Type: Int, Default: "-1", check: gzipLevel, Update: ClusterWide, Doc: "The gzip level, when the broker compresses."},
	{Name: "compression.lz4.level", Type: Int, Default: "9", check: between(1, 17), Update: ClusterWide, Doc: "The lz4 level, when the broker compresses."},
	{Name: "compression.zstd.level", Type: Int, Default: "3", check: between(-131072, 22), Update: ClusterWide, Doc: "The zstd level, when the broker compresses."},
}

// cleanerKeys are about compaction.
var cleanerKeys = []Key{
	{Name: "log.cleaner.enable", Type: Boolean, Default: "true", Doc: "Whether topics are compacted at all."},
	{Name: "log.cleaner.threads", Type: Int, Default: "1", check: atLeast(0), Update: ClusterWide, Doc: "How many logs are compacted at a time."},
	{Name: "log.cleaner.dedupe.buffer.size", Type: Long, Default: "134217728", Update: ClusterWide, Doc: "Memory for the keys of logs that are being compacted."},
	{Name: "log.cleaner.io.buffer.size", Type: Int, Default: "524288", check: atLeast(0), Update: ClusterWide, Doc: "Memory for reading and writing while compacting."},
	{Name: "log.cleaner.io.buffer.load.factor", Type: Double, Default: "0.9", Update: ClusterWide, Doc: "How full the memory for keys may get."},
	{Name: "log.cleaner.io.max.bytes.per.second", Type: Double, Default: "1.7976931348623157E308", Update: ClusterWide, Doc: "How fast compaction may read and write."},
	{Name: "log.cleaner.backoff.ms", Type: Long, Default: "15000", check: atLeast(0), Update: ClusterWide, Doc: "How long to sleep when there is nothing to compact."},
	{Name: "log.cleaner.min.cleanable.ratio", Type: Double, Default: "0.5", check: between(0, 1), Update: ClusterWide, Doc: "Which part of a log has to be new before it is compacted."},
	{Name: "log.cleaner.delete.retention.ms", Type: Long, Default: "86400000", check: atLeast(0), Update: ClusterWide, Doc: "How long a tombstone stays after compaction."},
	{Name: "log.cleaner.min.compaction.lag.ms", Type: Long, Default: "0", check: atLeast(0), Update: ClusterWide, Doc: "How long a record stays untouched by compaction at least."},
	{Name: "log.cleaner.max.compaction.lag.ms", Type: Long, Default: maxLong, check: atLeast(1), Update: ClusterWide, Doc: "How long a record stays untouched by compaction at most."},
}

// replicationKeys are about followers.
var replicationKeys = []Key{
	{Name: "replica.lag.time.max.ms", Type: Long, Default: "30000", Doc: "How long a follower may be behind until it leaves the in-sync set."},
	{Name: "replica.fetch.max.bytes", Type: Int, Default: "1048576", check: atLeast(0), Doc: "How many bytes of one partition a follower fetches at a time."},
	{Name: "replica.fetch.wait.max.ms", Type: Int, Default: "500", Doc: "How long the leader may hold a follower's fetch back."},
	{Name: "replica.fetch.min.bytes", Type: Int, Default: "1", Doc: "How many bytes have to be there before the leader answers a follower."},
	{Name: "replica.fetch.response.max.bytes", Type: Int, Default: "10485760", check: atLeast(0), Doc: "How many bytes one answer to a follower holds at most."},
	{Name: "replica.fetch.backoff.ms", Type: Int, Default: "1000", check: atLeast(0), Doc: "How long a follower waits after a failure."},
	{Name: "replica.socket.timeout.ms", Type: Int, Default: "30000", Doc: "How long a follower waits for the leader."},
	{Name: "replica.socket.receive.buffer.bytes", Type: Int, Default: "65536", Doc: "Socket receive buffer of a follower."},
	{Name: "replica.high.watermark.checkpoint.interval.ms", Type: Long, Default: "5000", Doc: "How often high watermarks are written to disk."},
	{Name: "replica.selector.class", Type: String, Null: true, check: oneOf(LeaderSelector, RackAwareSelector), Doc: "How to choose the replica that a consumer reads from; the leader when not set."},
	{Name: "fetch.purgatory.purge.interval.requests", Type: Int, Default: "1000", Doc: "After how many finished fetches the waiting list is tidied."},
	{Name: "producer.purgatory.purge.interval.requests", Type: Int, Default: "1000", Doc: "After how many finished writes the waiting list is tidied."},
	{Name: "delete.records.purgatory.purge.interval.requests", Type: Int, Default: "1", Doc: "After how many finished deletions of records the waiting list is tidied."},
	{Name: "leader.replication.throttled.rate", Type: Long, Default: maxLong, check: atLeast(0), Update: PerBroker, Dynamic: true, Doc: "How many bytes a second throttled replicas may take from this broker."},
	{Name: "follower.replication.throttled.rate", Type: Long, Default: maxLong, check: atLeast(0), Update: PerBroker, Dynamic: true, Doc: "How many bytes a second throttled replicas of this broker may take."},
	{Name: "replica.alter.log.dirs.io.max.bytes.per.second", Type: Long, Default: maxLong, check: atLeast(0), Update: PerBroker, Dynamic: true, Doc: "How fast replicas move between data directories."},
}

// coordinatorKeys are about consumer groups and transactions.
var coordinatorKeys = []Key{
	{Name: "group.min.session.timeout.ms", Type: Int, Default: "6000", Doc: "The shortest session timeout that a member of a group may ask for."},
	{Name: "group.max.session.timeout.ms", Type: Int, Default: "1800000", Doc: "The longest session timeout that a member of a group may ask for."},
	{Name: "group.initial.rebalance.delay.ms", Type: Int, Default: "3000", Doc: "How long a new group waits for more members."},
	{Name: "group.max.size", Type: Int, Default: maxInt, check: atLeast(1), Doc: "How many members a group may have."},
	{Name: "offset.metadata.max.bytes", Type: Int, Default: "4096", Doc: "How long the text beside a committed offset may be."},
	{Name: "offsets.load.buffer.size", Type: Int, Default: "5242880", check: atLeast(1), Doc: "How many bytes of offsets are read at a time when a coordinator starts."},
	{Name: "offsets.topic.num.partitions", Type: Int, Default: "50", check: atLeast(1), Doc: "Partitions of the topic that holds committed offsets."},
	{Name: "offsets.topic.replication.factor", Type: Short, Default: "3", check: atLeast(1), Doc: "Replicas of the topic that holds committed offsets."},
	{Name: "offsets.topic.segment.bytes", Type: Int, Default: "104857600", check: atLeast(1), Doc: "Segment size of the topic that holds committed offsets."},
	{Name: "offsets.topic.compression.codec", Type: Int, Default: "0", Doc: "Compression of the topic that holds committed offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."},
	{Name: "offsets.retention.minutes", Type: Int, Default: "10080", check: atLeast(1), Doc: "How long the offsets of a group without members are kept."},
	{Name: "offsets.retention.check.interval.ms", Type: Long, Default: "600000", check: atLeast(1), Doc: "How often to look for old offsets."},
	{Name: "offsets.commit.timeout.ms", Type: Int, Default: "5000", check: atLeast(1), Doc: "How long a commit may wait for replicas."},
	{Name: "offsets.commit.required.acks", Type: Short, Default: "-1", Doc: "The acks that a commit needs."},
	{Name: "transaction.state.log.num.partitions", Type: Int, Default: "50", check: atLeast(1), Doc: "Partitions of the topic that holds transactions."},
	{Name: "transaction.state.log.replication.factor", Type: Short, Default: "3", check: atLeast(1), Doc: "Replicas of the topic that holds transactions."},
	{Name: "transaction.state.log.min.isr", Type: Int, Default: "2", check: atLeast(1), Doc: "min.insync.replicas of the topic that holds transactions."},
	{Name: "transaction.state.log.segment.bytes", Type: Int, Default: "104857600", check: atLeast(1), Doc: "Segment size of the topic that holds transactions."},
	{Name: "transaction.state.log.load.buffer.size", Type: Int, Default: "5242880", check: atLeast(1), Doc: "How many bytes of transactions are read at a time when a coordinator starts."},
	{Name: "transactional.id.expiration.ms", Type: Int, Default: "604800000", check: atLeast(1), Doc: "How long a transactional id that nobody uses is remembered."},
	{Name: "transaction.max.timeout.ms", Type: Int, Default: "900000", check: atLeast(1), Doc: "The longest transaction timeout that a producer may ask for."},
	{Name: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Type: Int, Default: "10000", check: atLeast(1), Doc: "How often to look for transactions that took too long."},
	{Name: "transaction.remove.expired.transaction.cleanup.interval.ms", Type: Int, Default: "3600000", check: atLeast(1), Doc: "How often to look for transactional ids that nobody uses."},
	{Name: "transaction.partition.verification.enable", Type: Boolean, Default: "true", Update: ClusterWide, Doc: "Whether a leader asks the coordinator before it accepts the first record of a transaction."},
	{Name: "producer.id.expiration.ms", Type: Int, Default: "86400000", check: atLeast(1), Update: ClusterWide, Doc: "How long the sequence numbers of a producer that is silent are remembered."},
}

// quotaKeys are about quotas and metrics.
var quotaKeys = []Key{
	{Name: "quota.window.num", Type: Int, Default: "11", check: atLeast(1), Doc: "How many samples client quotas are measured over."},
	{Name: "quota.window.size.seconds", Type: Int, Default: "1", check: atLeast(1), Doc: "How long a sample of a client quota is."},
	{Name: "replication.quota.window.num", Type: Int, Default: "11", check: atLeast(1), Doc: "How many samples replication quotas are measured over."},
	{Name: "replication.quota.window.size.seconds", Type: Int, Default: "1", check: atLeast(1), Doc: "How long a sample of a replication quota is."},
	{Name: "controller.quota.window.num", Type: Int, Default: "11", check: atLeast(1), Doc: "How many samples controller quotas are measured over."},
	{Name: "controller.quota.window.size.seconds", Type: Int, Default: "1", check: atLeast(1), Doc: "How long a sample of a controller quota is."},
	{Name: "alter.log.dirs.replication.quota.window.num", Type: Int, Default: "11", check: atLeast(1), Doc: "How many samples quotas of moves between directories are measured over."},
	{Name: "alter.log.dirs.replication.quota.window.size.seconds", Type: Int, Default: "1", check: atLeast(1), Doc: "How long a sample of a quota of moves between directories is."},
	{Name: "client.quota.callback.class", Type: Class, Null: true, Doc: "A Java class that computes client quotas."},
	{Name: "metric.reporters", Type: List, Default: "", Update: ClusterWide, Doc: "Java classes that report metrics."},
	{Name: "metrics.num.samples", Type: Int, Default: "2", check: atLeast(1), Doc: "How many samples metrics are computed from."},
	{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", check: atLeast(1), Doc: "How long a sample of a metric is."},
	{Name: "metrics.recording.level", Type: String, Default: "INFO", check: oneOfAnyCase("INFO", "DEBUG", "TRACE"), Doc: "Which metrics are recorded."},
}
