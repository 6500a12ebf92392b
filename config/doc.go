// Package config knows every setting of a broker, a topic and a client: its name, type, default, legal values, whether it
// can change while the broker runs, and what it does.
//
// Names, defaults and the wording of errors are Kafka's, because operators bring their server.properties, their
// environment variables and their habits with them. The tables are in broker_keys.go, broker_security_keys.go, topic_keys.go and client_keys.go;
// everything else in the package is a reader of those tables.
//
// A broker's value comes from the first place that has it:
//
//	dynamic, this broker      /config/brokers/<id> in ZooKeeper         [Server.WithDynamic]
//	dynamic, all brokers      /config/brokers/<default>
//	--override key=value      the command line                          [Load]
//	KAFKA_KEY=value           the environment, see [FromEnviron]
//	key=value                 the file
//	built-in default          the table
//
// and a topic's value from its own override first, then from the broker's setting of the corresponding name, see
// [Server.EffectiveTopic].
//
// The package reads files and nothing else: it does not log, look at the environment by itself, or resolve names. A setting that
// Ottla accepts without acting on it is reported as a [Warning] when a file names it, see support.go; a setting that
// would leave a broker less protected than its file says is refused.
//
// All exported values are immutable once made and safe for concurrent use.
package config
