package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/proto/cluster"
)

// logDirs answers DescribeLogDirs.
type logDirs struct{ logs *commitlog.Manager }

// DescribeLogDirs implements server.LogDirs.
func (l logDirs) DescribeLogDirs() []server.LogDir {
	offline := l.logs.OfflineDirs()
	dirs := make([]server.LogDir, 0, len(l.logs.Dirs()))
	places := map[string]int{} // in dirs, of each directory
	for _, path := range l.logs.Dirs() {
		_, failed := offline[path]
		places[filepath.Clean(path)] = len(dirs)
		absolute, err := filepath.Abs(path)
		if err != nil { // the working directory is gone
			absolute = path
		}
		dirs = append(dirs, server.LogDir{Path: absolute, Offline: failed})
	}
	for _, log := range l.logs.Logs() {
		i, ok := places[filepath.Clean(log.LogDir())]
		if !ok || dirs[i].Offline {
			continue
		}
		dirs[i].Replicas = append(dirs[i].Replicas, server.LogDirReplica{TopicPartition: log.TopicPartition(), Size: log.Size()})
	}
	return dirs
}

// dirFailed is told that a log directory is offline. It must not block.
func (b *Broker) dirFailed(dir string, err error) {
	b.log.Error("stopping to serve replicas in a log directory that failed", "dir", dir, "error", err)
	if roles := b.roles.Load(); roles != nil {
		roles.DirFailed(dir)
	}
	if len(b.logs.OfflineDirs()) == len(b.logs.Dirs()) {
		b.fail(fmt.Errorf("all log.dirs failed, the last one is %s: %w", dir, err))
	}
	b.askForRoles()
}

// damaged is told of segments that are found to be damaged. It must not block.
func (b *Broker) damaged(tp cluster.TopicPartition, segment cluster.Offset) {
	if roles := b.roles.Load(); roles != nil {
		roles.Damaged(tp, segment)
	}
}

// askForRoles makes the controller send this broker its roles again, soon.
func (b *Broker) askForRoles() {
	select {
	case b.dirLost <- struct{}{}:
	default:
	}
}

// openDirNews starts to tell the controller of log directories that fail.
func (b *Broker) openDirNews(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	var told sync.WaitGroup
	told.Go(func() { b.tellOfFailedDirs(ctx) })
	b.onClose(func(context.Context) error {
		cancel()
		told.Wait()
		return nil
	})
	return nil
}

// dirNewsPause is how long to wait before the controller is told again, if telling it has failed.
const dirNewsPause = time.Second

// tellOfFailedDirs makes a node in /log_dir_event_notification whenever directories have failed, until it has succeeded (F§1.7). The controller then sends
// the broker its roles again, and learns from the answer which replicas are lost.
func (b *Broker) tellOfFailedDirs(ctx context.Context) {
	for {
		select {
		case <-b.dirLost:
		case <-ctx.Done():
			return
		}
		for {
			err := b.registrar.store().NotifyLogDirFailure(ctx, b.id)
			if err == nil {
				break
			}
			b.log.Warn("the controller does not know yet that log directories have changed; telling it again", "error", err)
			select {
			case <-time.After(dirNewsPause):
			case <-ctx.Done():
				return
			}
		}
	}
}
