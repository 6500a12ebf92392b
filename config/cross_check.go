package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// require is Scala's require: Kafka's checks of several settings fail with these words in front.
func require(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return &Error{Text: "requirement failed: " + fmt.Sprintf(format, args...)}
}

// crossCheck judges settings together, in the order of Kafka's KafkaConfig.validateValues, and fills the listeners in.
func (s *Server) crossCheck() error {
	for _, check := range []func() error{
		s.checkIdentity, s.checkRetention, s.checkDirectories, s.checkReplication, s.parseListeners, s.checkListeners,
		s.checkLimits, s.checkCompaction, s.refuseUnprotected,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentity judges broker.id and the address of ZooKeeper.
func (s *Server) checkIdentity() error {
	id, reserved := s.Int("broker.id"), s.Int("reserved.broker.max.id")
	if s.Bool("broker.id.generation.enable") {
		if err := require(id >= -1 && id <= reserved, "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id"); err != nil {
			return err
		}
	} else if err := require(id >= 0, "broker.id must be greater than or equal to 0"); err != nil {
		return err
	}
	hosts, _ := s.zooKeeperHosts()
	if len(hosts) == 0 {
		return &Error{Key: "zookeeper.connect", Text: `Missing required configuration "zookeeper.connect" which has no default value.`}
	}
	return nil
}

// checkRetention judges the ages of logs: 0 and numbers below -1 are no ages.
func (s *Server) checkRetention() error {
	for _, name := range []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"} {
		if s.IsNull(name) {
			continue
		}
		n := s.Long(name)
		return require(n < 0 || n >= 1, "log.retention.ms must be unlimited (-1) or, equal or greater than 1")
	}
	return nil
}

// checkDirectories judges log.dirs.
func (s *Server) checkDirectories() error {
	return require(len(s.LogDirs()) > 0, "At least one log directory must be defined via log.dirs or log.dir.")
}

// checkReplication judges the timeouts of followers.
func (s *Server) checkReplication() error {
	wait := s.Long("replica.fetch.wait.max.ms")
	if err := require(wait <= s.Long("replica.socket.timeout.ms"),
		"replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts"); err != nil {
		return err
	}
	if err := require(wait <= s.Long("replica.lag.time.max.ms"),
		"replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR"); err != nil {
		return err
	}
	codec := s.Int("offsets.topic.compression.codec")
	return require(codec >= 0 && codec <= 4, "offsets.topic.compression.codec must be 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)")
}

// checkLimits judges limits that depend on each other.
func (s *Server) checkLimits() error {
	queued, largest := s.Long("queued.max.request.bytes"), s.Long("socket.request.max.bytes")
	if err := require(queued <= 0 || queued >= largest, "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"); err != nil {
		return err
	}
	idle, delay := s.Long("connections.max.idle.ms"), s.Long("connection.failed.authentication.delay.ms")
	return require(idle <= 0 || delay < idle,
		"connection.failed.authentication.delay.ms=%d should always be less than connections.max.idle.ms=%d to prevent failed authentication responses from timing out", delay, idle)
}

// checkCompaction judges the memory of the cleaner and the bounds of the compaction lag.
func (s *Server) checkCompaction() error {
	if threads := s.Long("log.cleaner.threads"); s.Bool("log.cleaner.enable") && threads > 0 {
		if err := require(s.Long("log.cleaner.dedupe.buffer.size")/threads > 1024*1024, "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."); err != nil {
			return err
		}
	}
	low, high := s.Long("log.cleaner.min.compaction.lag.ms"), s.Long("log.cleaner.max.compaction.lag.ms")
	return require(low <= high, "log.cleaner.min.compaction.lag.ms (%d) must not be larger than log.cleaner.max.compaction.lag.ms (%d)", low, high)
}

// checkListeners judges the names of listeners against each other.
func (s *Server) checkListeners() error {
	names := func(endpoints []cluster.Endpoint) []string {
		var list []string
		for _, e := range endpoints {
			list = append(list, e.Listener)
		}
		slices.Sort(list)
		return list
	}
	bound, advertised := names(s.listeners), names(s.advertised)
	if !s.IsNull("inter.broker.listener.name") && s.Source("security.inter.broker.protocol") != Default {
		return &Error{Text: "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set."}
	}
	for _, name := range advertised {
		if err := require(slices.Contains(bound, name),
			"advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found %s. The valid options based on the current configuration are %s",
			strings.Join(advertised, ","), strings.Join(bound, ",")); err != nil {
			return err
		}
	}
	if err := require(slices.Contains(advertised, s.inter),
		"inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are %s",
		strings.Join(advertised, ",")); err != nil {
		return err
	}
	for _, e := range s.advertised {
		if err := require(e.Host != "0.0.0.0", "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."); err != nil {
			return err
		}
	}
	if control := s.String("control.plane.listener.name"); control != "" {
		if err := require(slices.Contains(advertised, control),
			"control.plane.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are %s",
			strings.Join(advertised, ",")); err != nil {
			return err
		}
		return require(control != s.inter,
			"control.plane.listener.name, when defined, should have a different value from the inter broker listener name. Currently they both have the value %s", control)
	}
	return nil
}
