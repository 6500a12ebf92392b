package broker

import (
	"path/filepath"

	"github.com/ottla/ottla/broker/commitlog"
	"github.com/ottla/ottla/broker/server"
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
