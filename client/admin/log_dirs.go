package admin

import (
	"context"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/ottlapb"
)

// LogDir is a log directory of a broker.
type LogDir struct {
	// Path is absolute.
	Path string
	// Replicas in the directory, by topic and partition.
	Replicas []LogDirReplica
	// Err is KAFKA_STORAGE_ERROR when the directory is offline.
	Err error
}

// LogDirReplica is a replica in a log directory.
type LogDirReplica struct {
	// TopicPartition is the partition.
	TopicPartition cluster.TopicPartition
	// Size of its log segments in bytes.
	Size int64
	// OffsetLag is how many offsets it is behind.
	OffsetLag int64
	// Future is true for a replica that is being moved here from another directory.
	Future bool
}

// DescribeLogDirs shows the log directories of a broker and all replicas in them.
func (a *Admin) DescribeLogDirs(ctx context.Context, broker cluster.BrokerID) ([]LogDir, error) {
	var resp *ottlapb.DescribeLogDirsResponse
	err := a.cl.Do(ctx, client.OnBroker(broker), "describe log dirs", func(ctx context.Context, api *client.API) (err error) {
		resp, err = api.Topics.DescribeLogDirs(ctx, &ottlapb.DescribeLogDirsRequest{AllTopics: true})
		return err
	})
	if err != nil {
		return nil, err
	}
	dirs := make([]LogDir, 0, len(resp.GetResults()))
	for _, d := range resp.GetResults() {
		dir := LogDir{Path: d.GetLogDir(), Err: errorOf(d.GetErrorCode(), "")}
		for _, t := range d.GetTopics() {
			for _, p := range t.GetPartitions() {
				dir.Replicas = append(dir.Replicas, LogDirReplica{
					TopicPartition: cluster.TopicPartition{Topic: t.GetName(), Partition: p.GetIndex()},
					Size:           p.GetSize(), OffsetLag: p.GetOffsetLag(), Future: p.GetIsFuture(),
				})
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}
