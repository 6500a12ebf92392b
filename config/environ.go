package config

import (
	"regexp"
	"strings"
)

// EnvPrefix starts the names of environment variables that are broker settings.
const EnvPrefix = "KAFKA_"

// scriptVariables start with [EnvPrefix] and belong to Kafka's scripts and container images. They are not settings.
var scriptVariables = map[string]bool{
	"KAFKA_BASE_DIR":              true,
	"KAFKA_CLASSPATH":             true,
	"KAFKA_DEBUG":                 true,
	"KAFKA_GC_LOG_OPTS":           true,
	"KAFKA_HEAP_OPTS":             true,
	"KAFKA_HOME":                  true,
	"KAFKA_JMX_HOSTNAME":          true,
	"KAFKA_JMX_OPTS":              true,
	"KAFKA_JMX_PORT":              true,
	"KAFKA_JVM_PERFORMANCE_OPTS":  true,
	"KAFKA_LOG4J_CMD_OPTS":        true,
	"KAFKA_LOG4J_LOGGERS":         true,
	"KAFKA_LOG4J_OPTS":            true,
	"KAFKA_LOG4J_ROOT_LOGLEVEL":   true,
	"KAFKA_MODE":                  true,
	"KAFKA_OPTS":                  true,
	"KAFKA_TOOLS_LOG4J_LOGLEVEL":  true,
	"KAFKA_VERSION":               true,
	"KAFKA_ZOOKEEPER_CONFIG_FILE": true,
}

// serviceLink is the form of the variables that Docker links and Kubernetes services named kafka or kafka-… put in every container.
var serviceLink = regexp.MustCompile(`^KAFKA_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// FromEnviron picks the broker settings out of an environment in the form of os.Environ, by the rule of Kafka's container
// image: KAFKA_LOG_DIRS is log.dirs; after the prefix "_" is a dot, "__" an underscore and "___" a dash. Variables of Kafka's own
// scripts (KAFKA_HEAP_OPTS, …) and of Kubernetes services (KAFKA_SERVICE_HOST, KAFKA_PORT=tcp://…) are left out.
func FromEnviron(environ []string) Properties {
	p := Properties{}
	for _, entry := range environ {
		name, text, ok := strings.Cut(entry, "=")
		if !ok || len(name) <= len(EnvPrefix) || !strings.HasPrefix(name, EnvPrefix) || scriptVariables[name] || serviceLink.MatchString(name) {
			continue
		}
		p[keyOfVariable(name)] = text
	}
	return p
}

// keyOfVariable turns the name of an environment variable into that of a setting. Runs of underscores are read from the left, the longest first.
func keyOfVariable(name string) string {
	key := strings.ToLower(strings.TrimPrefix(name, EnvPrefix))
	return strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(key)
}

// VariableOfKey returns the name of the environment variable that sets a setting.
func VariableOfKey(key string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer("-", "___", "_", "__", ".", "_").Replace(key))
}
