package config

import "fmt"

// Reasons why a setting has no effect.
const (
	runtimeDecides = "the Go runtime schedules and sizes this by itself"
	oneFormat      = "there is one message format and one protocol version"
	javaOnly       = "Java classes cannot be loaded"
	notYet         = "this is not available yet"
)

// noEffect holds the broker settings that are read, checked and shown, and that nothing acts on, with the reason. Whoever makes a
// room act on a setting takes its line out here.
var noEffect = func() map[string]string {
	m := map[string]string{}
	for reason, names := range map[string][]string{
		runtimeDecides: {
			"num.network.threads", "num.io.threads", "background.threads", "queued.max.requests",
			"socket.send.buffer.bytes", "socket.receive.buffer.bytes", "socket.listen.backlog.size", "replica.socket.receive.buffer.bytes",
			"fetch.purgatory.purge.interval.requests", "producer.purgatory.purge.interval.requests",
			"delete.records.purgatory.purge.interval.requests", "control.plane.listener.name", "early.start.listeners",
		},
		oneFormat: {"inter.broker.protocol.version", "log.message.format.version", "log.message.downconversion.enable"},
		javaOnly: {
			"create.topic.policy.class.name", "alter.config.policy.class.name", "client.quota.callback.class", "metric.reporters",
			"principal.builder.class", "zookeeper.clientCnxnSocket",
		},
		notYet: {
			"max.connections.per.ip.overrides", "max.connection.creation.rate",
			"connection.failed.authentication.delay.ms", "connections.max.reauth.ms",
			"log.dir.failure.timeout.ms",
			"max.connections", "max.connections.per.ip", "max.incremental.fetch.session.cache.slots", "num.replica.alter.log.dirs.threads",
			"replica.alter.log.dirs.io.max.bytes.per.second",
			"request.timeout.ms", "socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.max.ms",
		},
	} {
		for _, name := range names {
			m[name] = reason
		}
	}
	for _, table := range [][]Key{coordinatorKeys, quotaKeys, securityKeys, tlsKeys, saslKeys, zooKeeperTLSKeys} {
		for _, k := range table {
			if m[k.Name] == "" {
				m[k.Name] = notYet
			}
		}
	}
	for _, name := range []string{ // rows of those tables that do count
		"offsets.topic.num.partitions", "offsets.topic.replication.factor", "transaction.state.log.num.partitions", "transaction.state.log.replication.factor",
		"replication.quota.window.num", "replication.quota.window.size.seconds", "producer.id.expiration.ms",
		"authorizer.class.name", "zookeeper.ssl.client.enable", // refused below
	} {
		delete(m, name)
	}
	return m
}()

// noClientEffect holds the settings of clients that are checked and that nothing acts on, with the reason. Those that count in a consumer group only are not
// here: who names a group is told that there are none yet. Neither are (de)serializers, because the tools bring their own.
var noClientEffect = func() map[string]string {
	m := map[string]string{}
	for reason, names := range map[string][]string{
		"gRPC manages connections by itself": {
			"client.dns.lookup", "connections.max.idle.ms", "reconnect.backoff.ms", "reconnect.backoff.max.ms", "send.buffer.bytes", "receive.buffer.bytes",
			"socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.max.ms",
		},
		javaOnly: {"interceptor.classes", "metric.reporters"},
		notYet: {
			"enable.metrics.push", "exclude.internal.topics", "metadata.max.idle.ms", "metrics.num.samples", "metrics.recording.level",
			"metrics.sample.window.ms", "partitioner.availability.timeout.ms", "transaction.timeout.ms", "transactional.id",
		},
	} {
		for _, name := range names {
			m[name] = reason
		}
	}
	for _, k := range clientSecurityKeys {
		m[k.Name] = notYet
	}
	return m
}()

// refuseUnprotected stops a broker that would start with less protection than its configuration asks for.
func (s *Server) refuseUnprotected() error {
	refuse := func(key, why string) error {
		return &Error{Key: key, Text: fmt.Sprintf("Invalid value %s for configuration %s: %s", s.Text(key), key, why)}
	}
	switch {
	case s.String("authorizer.class.name") != "":
		return refuse("authorizer.class.name", "authorization is not available yet, and without it everybody could do everything; remove the setting to start anyway")
	case s.Bool("zookeeper.set.acl"):
		return refuse("zookeeper.set.acl", "ACLs on znodes are not available yet; remove the setting to start without them")
	case s.Bool("zookeeper.ssl.client.enable"):
		return refuse("zookeeper.ssl.client.enable", "TLS to ZooKeeper is not available yet; remove the setting to connect without it")
	}
	for _, e := range s.listeners {
		if e.SecurityProtocol != "PLAINTEXT" {
			return refuse("listeners", fmt.Sprintf("the security protocol %s of listener %s is not available yet; use PLAINTEXT", e.SecurityProtocol, e.Listener))
		}
	}
	return nil
}
