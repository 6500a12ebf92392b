package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/record"
	"github.com/ottla/ottla/zk/store"
	"github.com/ottla/ottla/zk/znode"
)

// readTimeout bounds one attempt to read a topic's overrides from ZooKeeper.
const readTimeout = 5 * time.Second

// readAttempts is how often the overrides are read before a log that has none in memory is opened with the broker's own settings.
const readAttempts = 3

// topicSettings knows the effective settings of topics: the broker's, with the overrides that are kept in /config/topics (F§1.6). It is safe
// for concurrent use.
type topicSettings struct {
	broker *config.Server
	store  func() *store.Store
	log    hclog.Logger

	mu        sync.Mutex
	overrides map[string]map[string]string // as last read; guarded by mu
}

func newTopicSettings(s *config.Server, st func() *store.Store, log hclog.Logger) *topicSettings {
	return &topicSettings{broker: s, store: st, log: log, overrides: map[string]map[string]string{}}
}

// loadAll reads the overrides of all topics, for the logs that are about to be opened.
func (t *topicSettings) loadAll(ctx context.Context) error {
	all, err := t.store().Configs(ctx, znode.TopicEntity)
	if err != nil {
		return fmt.Errorf("read the settings of all topics from ZooKeeper: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e, c := range all {
		t.overrides[e.Name] = c
	}
	return nil
}

// read fetches a topic's overrides now.
func (t *topicSettings) read(ctx context.Context, topic string) (map[string]string, error) {
	c, err := t.store().Config(ctx, znode.Entity{Type: znode.TopicEntity, Name: topic})
	if err != nil {
		return nil, fmt.Errorf("read the settings of topic %s from ZooKeeper: %w", topic, err)
	}
	t.mu.Lock()
	t.overrides[topic] = c
	t.mu.Unlock()
	return c, nil
}

// fresh returns a topic's overrides for a log that is being opened. They are read each time, because a topic of the same name may have been
// deleted and created again; what was read last stands in while ZooKeeper does not answer.
func (t *topicSettings) fresh(topic string) map[string]string {
	var err error
	for range readAttempts {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		var c map[string]string
		c, err = t.read(ctx, topic)
		cancel()
		if err == nil {
			return c
		}
	}
	c, known := t.cached(topic)
	t.log.Warn("cannot read a topic's settings; going on with those known before, or the broker's own", "topic", topic, "known-before", known, "error", err)
	return c
}

func (t *topicSettings) cached(topic string) (map[string]string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.overrides[topic]
	return c, ok
}

// logConfig returns the effective settings of a log that is being opened or becomes leader or follower.
func (t *topicSettings) logConfig(topic string) commitlog.Config {
	return logConfig(t.broker.EffectiveTopic(t.fresh(topic)))
}

// cachedLogConfig returns the effective settings as last read, for the logs that are loaded when the broker starts.
func (t *topicSettings) cachedLogConfig(topic string) commitlog.Config {
	c, _ := t.cached(topic)
	return logConfig(t.broker.EffectiveTopic(c))
}

// minISR returns min.insync.replicas of a topic as last read.
func (t *topicSettings) minISR(topic string) int {
	c, _ := t.cached(topic)
	return t.broker.EffectiveTopic(c).MinInsyncReplicas
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
type describer struct {
	settings *config.Server
	topics   *topicSettings
}

// DescribeTopic implements server.Configs.
func (d describer) DescribeTopic(name string) ([]server.ConfigEntry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	overrides, err := d.topics.read(ctx, name)
	if err != nil {
		return nil, err
	}
	return entries(d.settings.DescribeTopic(overrides)), nil
}

// DescribeBrokerDefaults implements server.Configs.
func (d describer) DescribeBrokerDefaults() ([]server.ConfigEntry, error) {
	return entries(d.settings.DescribeBrokerDefaults()), nil
}

// DescribeBroker implements server.Configs.
func (d describer) DescribeBroker() ([]server.ConfigEntry, error) {
	return entries(d.settings.DescribeBroker()), nil
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
