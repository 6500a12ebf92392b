package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/store"
)

// sessionFile, in the first log directory, holds what proves that a ZooKeeper session was this broker's.
const sessionFile = ".zookeeper-session"

// savedSession is the content of sessionFile. The password is the key to the session: the file is readable by its owner only.
type savedSession struct {
	Connect  string `json:"connect"`
	ID       int64  `json:"id"`
	Password []byte `json:"password"`
}

func saveSession(fsys vfs.FS, dir, connect string, s *zk.Session) error {
	data, err := json.Marshal(savedSession{Connect: connect, ID: s.ID(), Password: s.Password()})
	if err != nil {
		return fmt.Errorf("encode the ZooKeeper session: %w", err)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, sessionFile), data, 0o600); err != nil {
		return fmt.Errorf("save the ZooKeeper session: %w", err)
	}
	return nil
}

// readSession returns nil when no session was saved, or what was saved cannot be read: starting then takes as long as the old session.
func readSession(fsys vfs.FS, dir string) (*savedSession, error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, sessionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the previous ZooKeeper session: %w", err)
	}
	s := new(savedSession)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read the previous ZooKeeper session from %s: %w", filepath.Join(dir, sessionFile), err)
	}
	return s, nil
}

// openIdentity locks the log directories, ends the previous process's session, connects to ZooKeeper, and finds out who this broker
// is and which cluster it belongs to.
func (b *Broker) openIdentity(ctx context.Context) error {
	s := b.cfg.Settings
	locks, err := commitlog.LockDirs(b.cfg.FS, s.LogDirs())
	if err != nil {
		return err
	}
	b.dirs = locks
	b.onClose(func(context.Context) error { return locks.Close() })
	meta, err := commonMeta(b.cfg.FS, locks.Dirs())
	if err != nil {
		return err
	}
	own, err := b.connectZooKeeper(ctx, locks.Dirs()[0])
	if err != nil {
		return err
	}
	st := store.New(b.zk.Session(), own)
	if err := st.CreatePersistentPaths(ctx); err != nil {
		return fmt.Errorf("create the persistent paths in ZooKeeper at %s: %w", s.String("zookeeper.connect"), err)
	}
	clusterID, err := st.EnsureClusterID(ctx, cluster.NewTopicID().String())
	if err != nil {
		return fmt.Errorf("agree on the cluster id in ZooKeeper: %w", err)
	}
	if err := b.openSecret(ctx, st); err != nil {
		return err
	}
	if meta.ClusterID != "" && meta.ClusterID != clusterID {
		return fmt.Errorf("the cluster id %s in ZooKeeper at %s is not the cluster id %s in meta.properties of %s: the broker is trying to join the wrong cluster. "+
			"Correct zookeeper.connect, or give the broker other log.dirs", clusterID, s.String("zookeeper.connect"), meta.ClusterID, strings.Join(locks.Dirs(), ","))
	}
	if b.id, err = brokerID(ctx, s.BrokerID(), meta.BrokerID, s.Bool("broker.id.generation.enable"), cluster.BrokerID(s.Int("reserved.broker.max.id")), st); err != nil {
		return err
	}
	if err := b.openLost(ctx, st); err != nil {
		return err
	}
	for _, dir := range locks.Dirs() {
		if err := commitlog.WriteMetaProperties(b.cfg.FS, dir, commitlog.MetaProperties{ClusterID: clusterID, BrokerID: b.id}, b.cfg.Now()); err != nil {
			return err
		}
	}
	b.clusterID = clusterID
	b.metadata.SetClusterID(clusterID)
	b.log.Info("cluster id = "+clusterID, "broker-id", b.id)
	return nil
}

// commonMeta reads meta.properties of every directory and checks that they agree.
func commonMeta(fsys vfs.FS, dirs []string) (commitlog.MetaProperties, error) {
	common := commitlog.MetaProperties{BrokerID: cluster.NoBroker}
	for _, dir := range dirs {
		m, ok, err := commitlog.ReadMetaProperties(fsys, dir)
		if err != nil {
			return common, err
		}
		if !ok {
			continue
		}
		if common.ClusterID != "" && m.ClusterID != "" && common.ClusterID != m.ClusterID {
			return common, fmt.Errorf("log.dirs belong to different clusters: meta.properties of %s says cluster.id=%s, another says %s", dir, m.ClusterID, common.ClusterID)
		}
		if common.BrokerID != cluster.NoBroker && m.BrokerID != cluster.NoBroker && common.BrokerID != m.BrokerID {
			return common, fmt.Errorf("log.dirs belong to different brokers: meta.properties of %s says broker.id=%d, another says %d. Give each broker log.dirs of its own", dir, m.BrokerID, common.BrokerID)
		}
		if m.ClusterID != "" {
			common.ClusterID = m.ClusterID
		}
		if m.BrokerID != cluster.NoBroker {
			common.BrokerID = m.BrokerID
		}
	}
	return common, nil
}

// brokerID decides which id the broker has: the configured one, the stored one, or a new one from ZooKeeper (F§4.1).
func brokerID(ctx context.Context, configured, stored cluster.BrokerID, generate bool, reservedMax cluster.BrokerID, st *store.Store) (cluster.BrokerID, error) {
	switch {
	case configured >= 0 && stored >= 0 && configured != stored:
		return 0, fmt.Errorf("configured broker.id %d does not match the broker.id %d in meta.properties of log.dirs. "+
			"If you moved your data, make sure your configured broker.id matches. If you intend to create a new broker, you should remove all data in your data directories (log.dirs)", configured, stored)
	case configured >= 0:
		return configured, nil
	case stored >= 0:
		return stored, nil
	case !generate:
		return 0, errors.New("broker.id is not set and broker.id.generation.enable=false: set broker.id")
	}
	id, err := st.NextBrokerID(ctx, reservedMax)
	if err != nil {
		return 0, fmt.Errorf("get a broker id from ZooKeeper: %w", err)
	}
	return id, nil
}

// connectZooKeeper ends the previous process's session, if there was one, and opens the first of this process.
func (b *Broker) connectZooKeeper(ctx context.Context, dir string) (*store.OwnSessions, error) {
	s := b.cfg.Settings
	cfg := zk.Config{
		Connect:        s.String("zookeeper.connect"),
		SessionTimeout: s.Milliseconds("zookeeper.session.timeout.ms"),
		ConnectTimeout: s.ZooKeeperConnectionTimeout(),
		MaxInFlight:    s.Int("zookeeper.max.in.flight.requests"),
		Dial:           b.cfg.DialZooKeeper,
		CreateChroot:   true,
		Logger:         b.log.Named("zookeeper"),
	}
	own := store.NewOwnSessions()
	previous, err := readSession(b.cfg.FS, dir)
	if err != nil {
		b.log.Warn("the previous ZooKeeper session cannot be ended; it will expire by itself", "error", err)
	}
	if previous != nil {
		ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
		err := zk.CloseSession(ctx, cfg, previous.ID, previous.Password)
		cancel()
		if err != nil {
			b.log.Warn("the previous ZooKeeper session could not be ended", "session", fmt.Sprintf("0x%x", previous.ID), "error", err)
			own = store.NewOwnSessions(previous.ID)
		}
	}
	b.zk, err = zk.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to ZooKeeper at %s within %v: %w; is ZooKeeper running there? (zookeeper.connect, zookeeper.connection.timeout.ms)", cfg.Connect, cfg.ConnectTimeout, err)
	}
	// The file stays: nobody knows for sure that ZooKeeper has heard the farewell, and to end a session that is over costs the next start a round trip.
	b.onClose(b.zk.Close)
	b.registrar = newRegistrar(b, own, dir)
	return own, nil
}
