package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ottla/ottla/proto/cluster"
)

// Source is the place that a value comes from. The numbers are those of Kafka's protocol.
type Source int8

// The sources of values.
const (
	// DynamicTopic is an override of the topic.
	DynamicTopic Source = 1
	// DynamicBroker is a dynamic setting of this broker.
	DynamicBroker Source = 2
	// DynamicDefaultBroker is a dynamic setting of all brokers.
	DynamicDefaultBroker Source = 3
	// StaticBroker is the broker's file, environment or command line.
	StaticBroker Source = 4
	// Default is the built-in default.
	Default Source = 5
)

// String returns Kafka's name of the source.
func (s Source) String() string {
	switch s {
	case DynamicTopic:
		return "DYNAMIC_TOPIC_CONFIG"
	case DynamicBroker:
		return "DYNAMIC_BROKER_CONFIG"
	case DynamicDefaultBroker:
		return "DYNAMIC_DEFAULT_BROKER_CONFIG"
	case StaticBroker:
		return "STATIC_BROKER_CONFIG"
	case Default:
		return "DEFAULT_CONFIG"
	}
	return fmt.Sprintf("Source(%d)", int8(s))
}

// Server is the configuration of a broker. It is immutable and safe for concurrent use: a dynamic change makes another one, see
// [Server.WithDynamic]. The accessors panic when the key is not in the table or has another type, because then the caller is wrong.
type Server struct {
	own      map[string]value // dynamic, this broker
	all      map[string]value // dynamic, all brokers
	static   map[string]value // file, environment, command line
	security map[string]string

	listeners  []cluster.Endpoint
	advertised []cluster.Endpoint
	inter      string
}

// lookup returns the effective value of a setting and where it comes from.
func (s *Server) lookup(name string, types ...Type) (value, Source) {
	k := brokerKeys.byName[name]
	if k == nil {
		panic("config: no broker setting " + name)
	}
	if len(types) > 0 && !slices.Contains(types, k.Type) {
		panic("config: the broker setting " + name + " is a " + k.Type.String())
	}
	if v, ok := s.own[name]; ok {
		return v, DynamicBroker
	}
	if v, ok := s.all[name]; ok {
		return v, DynamicDefaultBroker
	}
	if v, ok := s.static[name]; ok {
		return v, StaticBroker
	}
	return k.fallback(), Default
}

// Int returns an INT or SHORT setting; 0 when it is null.
func (s *Server) Int(name string) int {
	v, _ := s.lookup(name, Int, Short)
	return int(v.n)
}

// Long returns a LONG, INT or SHORT setting; 0 when it is null.
func (s *Server) Long(name string) int64 {
	v, _ := s.lookup(name, Long, Int, Short)
	return v.n
}

// Milliseconds returns an INT or LONG setting whose unit is the millisecond. Values beyond 292 years are cut to that; 0 when it is null.
func (s *Server) Milliseconds(name string) time.Duration {
	return milliseconds(s.Long(name))
}

// milliseconds converts without overflow.
func milliseconds(ms int64) time.Duration {
	const limit = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(max(ms, -limit), limit)) * time.Millisecond
}

// Double returns a DOUBLE setting.
func (s *Server) Double(name string) float64 {
	v, _ := s.lookup(name, Double)
	return v.f
}

// Bool returns a BOOLEAN setting.
func (s *Server) Bool(name string) bool {
	v, _ := s.lookup(name, Boolean)
	return v.n != 0
}

// String returns a STRING or CLASS setting; "" when it is null.
func (s *Server) String(name string) string {
	v, _ := s.lookup(name, String, Class)
	return v.s
}

// List returns the elements of a LIST setting. The caller must not change the slice.
func (s *Server) List(name string) []string {
	v, _ := s.lookup(name, List)
	return v.list
}

// Password returns a PASSWORD setting; "" when it is null. It must not be logged or shown.
func (s *Server) Password(name string) string {
	v, _ := s.lookup(name, Password)
	return v.s
}

// Text returns the canonical text of a setting of any type; "" when it is null, "[hidden]" for a password.
func (s *Server) Text(name string) string {
	v, _ := s.lookup(name)
	if v.typ == Password && !v.null {
		return "[hidden]"
	}
	return v.text()
}

// IsNull reports whether a setting has no value.
func (s *Server) IsNull(name string) bool {
	v, _ := s.lookup(name)
	return v.null
}

// Source returns where the effective value of a setting comes from.
func (s *Server) Source(name string) Source {
	_, source := s.lookup(name)
	return source
}

// BrokerID returns broker.id, [cluster.NoBroker] when ZooKeeper is to hand one out.
func (s *Server) BrokerID() cluster.BrokerID { return cluster.BrokerID(s.Int("broker.id")) }

// LogDirs returns the data directories: log.dirs, or else log.dir. There is at least one and none comes twice.
func (s *Server) LogDirs() []string {
	text := s.String("log.dirs")
	if s.IsNull("log.dirs") {
		text = s.String("log.dir")
	}
	var dirs []string
	for _, dir := range splitList(text) {
		if dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// ZooKeeperConnectionTimeout returns how long to wait for the first connection to ZooKeeper.
func (s *Server) ZooKeeperConnectionTimeout() time.Duration {
	if s.IsNull("zookeeper.connection.timeout.ms") {
		return s.Milliseconds("zookeeper.session.timeout.ms")
	}
	return s.Milliseconds("zookeeper.connection.timeout.ms")
}

// Listeners returns where to listen, in the order of the file. An empty host means every interface; a port of 0 lets the system choose.
// The caller must not change the slice.
func (s *Server) Listeners() []cluster.Endpoint { return s.listeners }

// AdvertisedListeners returns the addresses to tell clients and brokers. An empty host means the host's own name, which is for the
// caller to find out; a port of 0 that of the listener of the same name. The caller must not change the slice.
func (s *Server) AdvertisedListeners() []cluster.Endpoint { return s.advertised }

// The values of replica.selector.class, which say from which replica consumers read (KIP-392). Other Java classes cannot be loaded.
const (
	// LeaderSelector is the leader always, as when nothing is set.
	LeaderSelector = "org.apache.kafka.common.replica.LeaderSelector"
	// RackAwareSelector is an in-sync replica in the consumer's rack, if there is one.
	RackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
)

// ReadFromNearestReplica reports whether consumers are sent to a replica in their rack (replica.selector.class).
func (s *Server) ReadFromNearestReplica() bool {
	return s.String("replica.selector.class") == RackAwareSelector
}

// InterBrokerListener returns the name of the listener that brokers use among themselves.
func (s *Server) InterBrokerListener() string { return s.inter }

// SecurityProtocolMap returns the security protocol of each listener name: listener.security.protocol.map.
func (s *Server) SecurityProtocolMap() map[string]string {
	m := make(map[string]string, len(s.security))
	for name, protocol := range s.security {
		m[name] = protocol
	}
	return m
}

// WithDynamic returns a configuration with the dynamic settings of this broker (/config/brokers/<id>) and of all brokers
// (/config/brokers/<default>) in place of the present ones. What cannot be applied, because it is unknown, read only, or has a bad value, is left out
// and named in the warnings: a broker has to run with whatever it finds in ZooKeeper. For the same reason s itself comes back, with a warning, when the
// settings do not fit together. [Server.AlterBroker] is for those that come from clients.
func (s *Server) WithDynamic(thisBroker, allBrokers map[string]string) (*Server, []Warning) {
	changed, warnings := s.layers(thisBroker, allBrokers)
	if err := changed.crossCheck(); err != nil {
		return s, append(warnings, Warning{Warn, "", "the dynamic settings do not fit together, those before stay: " + err.Error()})
	}
	return changed, warnings
}

// layers is WithDynamic without a look at how the settings fit together.
func (s *Server) layers(thisBroker, allBrokers map[string]string) (*Server, []Warning) {
	changed := *s
	var warnings []Warning
	layer := func(given Properties, source Source) map[string]value {
		m := map[string]value{}
		for _, name := range given.names() {
			k := brokerKeys.byName[name]
			switch {
			case k == nil:
				warnings = append(warnings, unknown(brokerKeys, name, "dynamic broker setting"))
				continue
			case k.Update == ReadOnly, k.Update == PerBroker && source == DynamicDefaultBroker && !k.Dynamic:
				warnings = append(warnings, Warning{Warn, name, fmt.Sprintf("the setting %s is %s and cannot be set in %s; it is ignored", name, k.Update, source)})
				continue
			case !k.changeable():
				warnings = append(warnings, Warning{Warn, name, fmt.Sprintf("the setting %s in %s is ignored: it cannot change while a broker runs, this is not available yet", name, source)})
				continue
			}
			v, err := k.parse(given[name])
			if err != nil {
				warnings = append(warnings, Warning{Warn, name, err.Error() + "; it is ignored"})
				continue
			}
			m[name] = v
			if why := noEffect[name]; why != "" {
				warnings = append(warnings, Warning{Info, name, fmt.Sprintf("the setting %s has no effect: %s", name, why)})
			}
		}
		return m
	}
	changed.own = layer(thisBroker, DynamicBroker)
	changed.all = layer(allBrokers, DynamicDefaultBroker)
	return &changed, warnings
}

// zooKeeperHosts splits zookeeper.connect into host:port items and the path behind them ("" for none).
func (s *Server) zooKeeperHosts() (hosts []string, chroot string) {
	text := s.String("zookeeper.connect")
	if i := strings.IndexByte(text, '/'); i >= 0 {
		text, chroot = text[:i], text[i:]
	}
	return splitList(text), chroot
}
