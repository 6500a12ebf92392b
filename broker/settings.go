package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// readTimeout bounds one attempt to read a topic's overrides from ZooKeeper.
const readTimeout = 5 * time.Second

// readAttempts is how often the overrides are read before a log that has none in memory is opened with the broker's own settings.
const readAttempts = 3

// settings are what is in force: the broker's file with the dynamic settings over it (/config/brokers), and the overrides of topics
// (/config/topics), as last read (F§1.6). Readers get immutable snapshots. It is safe for concurrent use.
type settings struct {
	id    string // of this broker
	store func() *store.Store
	log   hclog.Logger

	broker atomic.Pointer[config.Server]
	reads  atomic.Uint64 // numbers the reads of overrides, in the order in which they begin

	mu     sync.Mutex
	topics map[string]overrides // topics without any are left out; guarded by mu
	floor  uint64               // the latest read that found none, see keepLocked; guarded by mu
}

// overrides are what a topic sets itself.
type overrides struct {
	values map[string]string // never changed
	read   uint64            // the number of the read that found them
}

func newSettings(static *config.Server, id cluster.BrokerID, st func() *store.Store, log hclog.Logger) *settings {
	s := &settings{id: strconv.Itoa(int(id)), store: st, log: log, topics: map[string]overrides{}}
	s.broker.Store(static)
	return s
}

// current returns the broker's settings in force.
func (s *settings) current() *config.Server { return s.broker.Load() }

// ownEntity and sharedEntity hold the broker's dynamic settings.
func (s *settings) ownEntity() znode.Entity {
	return znode.Entity{Type: znode.BrokerEntity, Name: s.id}
}

var sharedEntity = znode.Entity{Type: znode.BrokerEntity, Name: znode.DefaultEntity}

func topicEntity(name string) znode.Entity { return znode.Entity{Type: znode.TopicEntity, Name: name} }

// load reads everything, for the rooms that are about to be opened.
func (s *settings) load(ctx context.Context) error {
	if _, _, err := s.readBroker(ctx, s.store()); err != nil {
		return err
	}
	return s.readTopics(ctx, s.store())
}

// readBroker reads the broker's dynamic settings and puts them in force. One goroutine at a time calls it.
func (s *settings) readBroker(ctx context.Context, st *store.Store) (before, after *config.Server, err error) {
	own, err := st.Config(ctx, s.ownEntity())
	if err != nil && !s.reportCorruption(err) {
		return nil, nil, fmt.Errorf("read the dynamic settings of this broker: %w", err)
	}
	shared, err := st.Config(ctx, sharedEntity)
	if err != nil && !s.reportCorruption(err) {
		return nil, nil, fmt.Errorf("read the dynamic settings of all brokers: %w", err)
	}
	before = s.current()
	after, warnings := before.WithDynamic(own, shared)
	for _, w := range warnings {
		if w.Severity == config.Warn {
			s.log.Warn(w.Text)
		} else {
			s.log.Info(w.Text)
		}
	}
	s.broker.Store(after)
	return before, after, nil
}

// readTopics reads the overrides of all topics. Those that are corrupt count as none.
func (s *settings) readTopics(ctx context.Context, st *store.Store) error {
	n := s.reads.Add(1)
	all, err := st.Configs(ctx, znode.TopicEntity)
	if err != nil && !s.reportCorruption(err) {
		return fmt.Errorf("read the settings of all topics from ZooKeeper: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for e, values := range all {
		s.keepLocked(e.Name, n, values)
	}
	for name, o := range s.topics {
		if o.read < n {
			s.keepLocked(name, n, nil)
		}
	}
	return nil
}

// reportCorruption reports whether an error is about nothing but nodes that cannot be read, and logs it then.
func (s *settings) reportCorruption(err error) bool {
	var corrupt *znode.CorruptError
	if !errors.As(err, &corrupt) {
		return false
	}
	s.log.Error("settings in ZooKeeper that cannot be read are left out", "error", err)
	return true
}

// readTopic reads a topic's overrides.
func (s *settings) readTopic(ctx context.Context, st *store.Store, topic string) (map[string]string, error) {
	for {
		n := s.reads.Add(1)
		values, err := st.Config(ctx, topicEntity(topic))
		if err != nil && !s.reportCorruption(err) {
			return nil, fmt.Errorf("read the settings of topic %s from ZooKeeper: %w", topic, err)
		}
		s.mu.Lock()
		kept, ok := s.keepLocked(topic, n, values)
		s.mu.Unlock()
		if ok {
			return kept, nil
		}
	}
}

// keepLocked notes what a read found unless a read that began later has found something else, and returns what counts. The first read that begins
// after the notification of a change sees that change, and so do all that begin after it: so the last change is always kept. ok is false if there is
// no saying: nothing is noted of the topic, and a later read found that some topic has no overrides.
func (s *settings) keepLocked(topic string, n uint64, values map[string]string) (kept map[string]string, ok bool) {
	known, found := s.topics[topic]
	switch {
	case found && known.read > n:
		return known.values, true
	case !found && n < s.floor:
		return nil, false
	case len(values) == 0:
		delete(s.topics, topic)
		s.floor = max(s.floor, n)
		return nil, true
	}
	s.topics[topic] = overrides{values, n}
	return values, true
}

// prepareTopic reads a topic's overrides because one of its logs is about to be opened. What was read last stands in while ZooKeeper does not
// answer; the next session reads everything again.
func (s *settings) prepareTopic(topic string) {
	var err error
	for range readAttempts {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		_, err = s.readTopic(ctx, s.store(), topic)
		cancel()
		if err == nil {
			return
		}
	}
	s.log.Warn("cannot read a topic's settings; going on with those known before, or the broker's own", "topic", topic, "error", err)
}

func (s *settings) overrides(topic string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[topic].values
}

// overriding lists the topics that override a setting.
func (s *settings) overriding(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var topics []string
	for topic, o := range s.topics {
		if _, ok := o.values[name]; ok {
			topics = append(topics, topic)
		}
	}
	return topics
}

// logConfig returns the effective settings of a topic's logs, as last read.
func (s *settings) logConfig(topic string) commitlog.Config {
	return logConfig(s.current().EffectiveTopic(s.overrides(topic)))
}

// minISR returns min.insync.replicas of a topic, as last read.
func (s *settings) minISR(topic string) int {
	return s.current().EffectiveTopic(s.overrides(topic)).MinInsyncReplicas
}

// throttled returns a topic's throttled replicas, as last read.
func (s *settings) throttled(topic string) replica.ThrottledReplicas {
	c := s.current().EffectiveTopic(s.overrides(topic))
	return replica.ThrottledReplicas{Leader: c.LeaderThrottledReplicas, Follower: c.FollowerThrottledReplicas}
}

// logConfig turns settings into what the log takes.
func logConfig(c config.TopicConfig) commitlog.Config {
	out := commitlog.DefaultConfig()
	out.SegmentBytes = c.Segment.Bytes
	out.SegmentMs = c.Segment.Ms
	out.SegmentJitterMs = c.Segment.JitterMs
	out.SegmentIndexBytes = c.Segment.IndexBytes
	out.IndexIntervalBytes = c.Segment.IndexIntervalBytes
	out.Preallocate = c.Segment.Preallocate
	out.FileDeleteDelayMs = c.Segment.DeleteDelayMs
	out.FlushMessages = c.FlushMessages
	out.FlushMs = c.FlushMs
	out.MaxMessageBytes = c.MaxMessageBytes
	out.RetentionMs = c.Retention.Ms
	out.RetentionBytes = c.Retention.Bytes
	out.CleanupPolicy = cleanupPolicy(c)
	out.MinCleanableDirtyRatio = c.Compaction.MinDirtyRatio
	out.MinCompactionLagMs = c.Compaction.MinLagMs
	out.MaxCompactionLagMs = c.Compaction.MaxLagMs
	out.DeleteRetentionMs = c.Compaction.DeleteRetentionMs
	if c.Timestamp.LogAppendTime {
		out.TimestampType = record.LogAppendTime
	}
	out.TimestampBeforeMaxMs = c.Timestamp.BeforeMaxMs
	out.TimestampAfterMaxMs = c.Timestamp.AfterMaxMs
	out.CompressionType = c.Compression.Type
	out.CompressionLevel = c.Compression.Level
	return out
}

func cleanupPolicy(c config.TopicConfig) string {
	var p []string
	if c.Retention.Delete {
		p = append(p, "delete")
	}
	if c.Compaction.Compact {
		p = append(p, "compact")
	}
	return strings.Join(p, ",")
}

// describer answers DescribeConfigs.
type describer struct{ settings *settings }

// DescribeTopic implements server.Configs.
func (d describer) DescribeTopic(name string) ([]server.ConfigEntry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	values, err := d.settings.readTopic(ctx, d.settings.store(), name)
	if err != nil {
		return nil, err
	}
	return entries(d.settings.current().DescribeTopic(values)), nil
}

// DescribeBroker implements server.Configs.
func (d describer) DescribeBroker() ([]server.ConfigEntry, error) {
	return entries(d.settings.current().DescribeBroker()), nil
}

// DescribeBrokerDefaults implements server.Configs.
func (d describer) DescribeBrokerDefaults() ([]server.ConfigEntry, error) {
	return entries(d.settings.current().DescribeBrokerDefaults()), nil
}

func entries(in []config.Entry) []server.ConfigEntry {
	out := make([]server.ConfigEntry, len(in))
	for i, e := range in {
		out[i] = server.ConfigEntry{Name: e.Name, Value: e.Value, Source: server.ConfigSource(e.Source), ReadOnly: e.ReadOnly, Sensitive: e.Sensitive}
		for _, s := range e.Synonyms {
			out[i].Synonyms = append(out[i].Synonyms, server.ConfigSynonym{Name: s.Name, Value: s.Value, Source: server.ConfigSource(s.Source)})
		}
	}
	return out
}
