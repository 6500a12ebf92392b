package broker

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ottla/ottla/broker/clock"
	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/peer"
	"github.com/ottla/ottla/broker/replica"
	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/broker/txn"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/controller"
	"github.com/ottla/ottla/controller/state"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/zk/znode"
)

// openClock compares the machine's clock with ZooKeeper's, before anything is judged by its age, and goes on doing so when it is set.
func (b *Broker) openClock(ctx context.Context) error {
	b.clock = clock.New(clock.Config{
		Wall:   b.cfg.Now,
		Ask:    func(ctx context.Context) (time.Time, error) { return b.registrar.store().Time(ctx) },
		Logger: b.log.Named("clock"),
	})
	if err := b.clock.Check(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.clock.Run(running)
	}()
	b.onClose(func(context.Context) error {
		stop()
		<-done
		return nil
	})
	return nil
}

// openLogs loads and recovers the partitions that are on disk.
func (b *Broker) openLogs(ctx context.Context) error {
	b.settings = newSettings(b.cfg.Settings, b.id, b.registrar.store, b.log.Named("settings"))
	if err := b.settings.load(ctx); err != nil {
		return err
	}
	s := b.settings.current()
	var err error
	b.logs, err = commitlog.OpenManager(ctx, commitlog.ManagerConfig{
		FS:                      b.cfg.FS,
		Dirs:                    s.LogDirs(),
		Locks:                   b.dirs,
		BrokerID:                b.id,
		ClusterID:               b.clusterID,
		Defaults:                logConfig(s.EffectiveTopic(nil)),
		TopicConfig:             b.settings.logConfig,
		RecoveryThreads:         min(s.Int("num.recovery.threads.per.data.dir"), maxRecoveryThreads),
		CheckpointInterval:      s.Milliseconds("log.flush.offset.checkpoint.interval.ms"),
		StartCheckpointInterval: s.Milliseconds("log.flush.start.offset.checkpoint.interval.ms"),
		RetentionInterval:       s.Milliseconds("log.retention.check.interval.ms"),
		HighWatermark:           b.highWatermark,
		ProducerIDExpiration:    s.Milliseconds("producer.id.expiration.ms"),
		Cleaner:                 cleanerConfig(s),
		Logger:                  b.log.Named("log"),
		Now:                     b.clock.Now,
		Expiry:                  b.clock.Expiry,
		OnDirFailure:            b.dirFailed,
		OnDamage:                b.damaged,
	})
	if err != nil {
		return err
	}
	b.logs.Start()
	b.onClose(b.logs.Close)
	return b.lost.settle(b.logs)
}

// maxRecoveryThreads bounds num.recovery.threads.per.data.dir: no disk gets faster by more.
const maxRecoveryThreads = 1024

// cleanerConfig returns the settings of compaction.
func cleanerConfig(s *config.Server) commitlog.CleanerConfig {
	c := commitlog.CleanerConfig{
		DedupeBufferBytes: s.Long("log.cleaner.dedupe.buffer.size"),
		LoadFactor:        s.Double("log.cleaner.io.buffer.load.factor"),
		IOBufferBytes:     s.Int("log.cleaner.io.buffer.size"),
		MaxBytesPerSecond: s.Double("log.cleaner.io.max.bytes.per.second"),
		Backoff:           max(s.Milliseconds("log.cleaner.backoff.ms"), time.Millisecond),
	}
	if s.Bool("log.cleaner.enable") {
		c.Threads = s.Int("log.cleaner.threads")
	}
	return c
}

// highWatermark returns how far a partition is replicated, for retention and compaction; unknown as long as the controller has not said what
// the broker's part in it is.
func (b *Broker) highWatermark(tp cluster.TopicPartition) cluster.Offset {
	roles := b.roles.Load()
	if roles == nil {
		return cluster.UnknownOffset
	}
	p, code := roles.Partition(tp)
	if code != kerr.None {
		return cluster.UnknownOffset
	}
	return p.HighWatermark()
}

// openListeners binds the ports; nothing is answered yet.
func (b *Broker) openListeners(context.Context) error {
	l, err := bind(b.cfg.Settings, b.cfg.Listen, b.cfg.HostName, b.log.Named("network"))
	if err != nil {
		return err
	}
	b.listeners = l
	b.onClose(func(ctx context.Context) error { l.close(ctx); return nil })
	return nil
}

// openReplicas starts the room that plays the roles which the controller gives.
func (b *Broker) openReplicas(context.Context) error {
	s := b.settings.current()
	b.peers = peer.New(peer.Config{
		BrokerID:          b.id,
		Metadata:          b.metadata,
		Listener:          s.InterBrokerListener(),
		Dial:              b.cfg.Dial,
		Token:             b.secret.token,
		LeaderTimeout:     s.Milliseconds("replica.socket.timeout.ms"),
		ControllerTimeout: s.Milliseconds("controller.socket.timeout.ms"),
	})
	b.onClose(func(context.Context) error { b.peers.Close(); return nil })
	b.replicas = replica.New(replica.Config{
		BrokerID:             b.id,
		BrokerEpoch:          b.registrar.brokerEpoch,
		Logs:                 b.logs,
		Lost:                 b.lost,
		Metadata:             b.metadata,
		ReadTopic:            b.settings.prepareTopic,
		TopicConfig:          b.settings.logConfig,
		MinISR:               b.settings.minISR,
		Throttled:            b.settings.throttled,
		QuotaWindows:         s.Int("replication.quota.window.num"),
		QuotaWindow:          time.Duration(s.Int("replication.quota.window.size.seconds")) * time.Second,
		HWCheckpointInterval: s.Milliseconds("replica.high.watermark.checkpoint.interval.ms"),
		MaxLag:               s.Milliseconds("replica.lag.time.max.ms"),
		Peers:                peers{b.peers},
		Stalled:              b.stalls,
		NearestReplica:       s.ReadFromNearestReplica(),
		Fetch: replica.FetchSettings{
			Fetchers:          s.Int("num.replica.fetchers"),
			MaxWait:           max(s.Milliseconds("replica.fetch.wait.max.ms"), time.Millisecond),
			MinBytes:          s.Int("replica.fetch.min.bytes"),
			MaxBytes:          max(s.Int("replica.fetch.response.max.bytes"), 1),
			PartitionMaxBytes: max(s.Int("replica.fetch.max.bytes"), 1),
			Backoff:           max(s.Milliseconds("replica.fetch.backoff.ms"), time.Millisecond),
		},
		Logger: b.log.Named("replica"),
	})
	b.throttle(b.settings.current())
	b.roles.Store(b.replicas)
	b.onClose(b.replicas.Close)
	return nil
}

// openProducerIDs starts the source of producer ids.
func (b *Broker) openProducerIDs(context.Context) error {
	b.producerIDs = txn.NewProducerIDs(func(ctx context.Context) (znode.ProducerIDBlock, error) {
		return b.registrar.store().ClaimProducerIDs(ctx, b.id)
	}, b.log.Named("txn"))
	b.onClose(func(context.Context) error { b.producerIDs.Close(); return nil })
	return nil
}

// serve registers the broker and starts answering.
func (b *Broker) serve(ctx context.Context) error {
	s := b.cfg.Settings
	srv := server.New(server.Deps{
		BrokerID:    b.id,
		Replicas:    b.replicas,
		Metadata:    b.metadata,
		Topics:      topicAdmin{b.controller},
		Controller:  b.controller,
		Partitions:  partitionAdmin{b.controller},
		Configs:     describer{b.settings},
		Alterer:     newAlterer(b.settings, b.dynamics),
		LogDirs:     logDirs{b.logs},
		ProducerIDs: b.producerIDs,
		BrokerToken: b.secret.token,
		AutoCreate:  b.autoCreate(),
		Listener:    s.InterBrokerListener(),

		NearestReplica: s.ReadFromNearestReplica(),
		Contacts:       b.heard(),
		Limits: server.Limits{
			FetchMaxBytes: s.Int("fetch.max.bytes"),
			ReceivedBytes: s.Long("queued.max.request.bytes"),
		},
		Now:    b.clock.Now,
		Logger: b.log.Named("server"),
	})
	b.listeners.serve(srv, dial.ServerOptions{
		MaxRequestBytes:   s.Int("socket.request.max.bytes"),
		MaxConnectionIdle: maxIdle(s.Milliseconds("connections.max.idle.ms")),
	})
	b.onClose(func(context.Context) error { srv.Close(); return nil })
	if err := b.registrar.start(ctx); err != nil {
		return err
	}
	b.onClose(b.registrar.stop)
	if err := b.awaitController(ctx); err != nil {
		return err
	}
	srv.SetServing(true)
	b.onClose(b.handOver)
	return nil
}

// maxIdle turns connections.max.idle.ms into what gRPC takes: a negative value means that connections may be idle for ever, and 0 that they may not be at all.
func maxIdle(d time.Duration) time.Duration {
	if d < 0 {
		return math.MaxInt64
	}
	return max(d, time.Millisecond)
}

// awaitController waits until the broker knows a controller and itself as alive, so that the first client finds a cluster.
func (b *Broker) awaitController(ctx context.Context) error {
	for {
		changed := b.metadata.Changed()
		if _, ok := b.metadata.Image().Broker(b.id); ok {
			return nil
		}
		select {
		case <-changed:
		case <-b.done:
			return b.Err()
		case <-ctx.Done():
			return fmt.Errorf("broker %d is registered and waits for a controller: %w", b.id, ctx.Err())
		}
	}
}

// openController starts the room that can become the controller. It takes part in elections once the broker is registered.
func (b *Broker) openController(context.Context) error {
	s := b.cfg.Settings
	b.controller = controller.New(controller.Config{
		BrokerID:            b.id,
		Metadata:            b.metadata,
		Dial:                b.cfg.Dial,
		Token:               b.secret.token,
		InterBrokerListener: s.InterBrokerListener(),
		RequestTimeout:      s.Milliseconds("controller.socket.timeout.ms"),
		Logger:              b.log.Named("controller"),
		TimeOfDay:           b.clock.Now,
		NumPartitions:       s.Int("num.partitions"),
		ReplicationFactor:   s.Int("default.replication.factor"),
		DeleteTopics:        s.Bool("delete.topic.enable"),
		UncleanElection:     func() bool { return b.settings.current().Bool("unclean.leader.election.enable") },
		MinISR:              b.settings.minISRs,
		LearnTopics:         b.settings.learnTopics,
		RebalanceInterval:   rebalanceInterval(s),
		ImbalancePercentage: s.Int("leader.imbalance.per.broker.percentage"),
		SessionTimeout:      s.Milliseconds("zookeeper.session.timeout.ms"),
		ValidateTopicConfig: func(c map[string]string) error { return b.settings.current().ValidateTopic(c) },
	})
	b.onClose(b.controller.Close)
	return nil
}

// rebalanceInterval is how often the controller looks for misplaced leadership; 0 when auto.leader.rebalance.enable is off.
func rebalanceInterval(s *config.Server) time.Duration {
	if !s.Bool("auto.leader.rebalance.enable") {
		return 0
	}
	return time.Duration(s.Long("leader.imbalance.check.interval.seconds")) * time.Second
}

// autoCreate returns what creates topics that are asked for; nil when auto.create.topics.enable is off.
func (b *Broker) autoCreate() func(context.Context, string) error {
	s := b.cfg.Settings
	if !s.Bool("auto.create.topics.enable") {
		return nil
	}
	return func(ctx context.Context, topic string) error {
		spec := controller.TopicSpec{Name: topic, NumPartitions: -1, ReplicationFactor: -1}
		switch topic {
		case cluster.GroupMetadataTopic:
			spec.NumPartitions, spec.ReplicationFactor = int32(s.Int("offsets.topic.num.partitions")), int32(s.Int("offsets.topic.replication.factor"))
		case cluster.TransactionStateTopic:
			spec.NumPartitions, spec.ReplicationFactor = int32(s.Int("transaction.state.log.num.partitions")), int32(s.Int("transaction.state.log.replication.factor"))
		}
		return b.controller.AutoCreateTopic(ctx, spec)
	}
}

// topicAdmin lets clients create and delete topics at the controller.
type topicAdmin struct{ c *controller.Controller }

// CreateTopics implements server.Topics.
func (a topicAdmin) CreateTopics(ctx context.Context, topics []server.TopicSpec, timeout time.Duration, validateOnly bool) []server.TopicResult {
	specs := make([]controller.TopicSpec, len(topics))
	for i, t := range topics {
		specs[i] = controller.TopicSpec(t)
	}
	return topicResults(a.c.CreateTopics(ctx, specs, timeout, validateOnly))
}

// DeleteTopics implements server.Topics.
func (a topicAdmin) DeleteTopics(ctx context.Context, names []string, timeout time.Duration) []server.TopicResult {
	return topicResults(a.c.DeleteTopics(ctx, names, timeout))
}

// partitionAdmin lets clients change partitions at the controller.
type partitionAdmin struct{ *controller.Controller }

// CreatePartitions implements server.Partitions.
func (a partitionAdmin) CreatePartitions(ctx context.Context, topics []state.MorePartitions, timeout time.Duration, validateOnly bool) []server.TopicResult {
	return topicResults(a.Controller.CreatePartitions(ctx, topics, timeout, validateOnly))
}

func topicResults(in []controller.TopicResult) []server.TopicResult {
	out := make([]server.TopicResult, len(in))
	for i, r := range in {
		out[i] = server.TopicResult{Name: r.Name, ID: r.ID, Err: r.Err, NumPartitions: r.NumPartitions, ReplicationFactor: r.ReplicationFactor}
	}
	return out
}
