package server

import (
	"context"

	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
	"github.com/ottla/ottla/proto/ottlapb"
)

// LogDirs shows what lies on this broker's disks.
type LogDirs interface {
	// DescribeLogDirs lists the log directories in the order of log.dirs.
	DescribeLogDirs() []LogDir
}

// LogDir is one log directory.
type LogDir struct {
	// Path is absolute.
	Path string
	// Offline is true when the directory has failed; nothing is known of the replicas in it then.
	Offline bool
	// Replicas in the directory, sorted by topic and partition.
	Replicas []LogDirReplica
}

// LogDirReplica is a replica in a log directory.
type LogDirReplica struct {
	// TopicPartition is the partition.
	TopicPartition cluster.TopicPartition
	// Size of its segments in bytes.
	Size int64
	// OffsetLag is how many offsets its log end is below the high watermark.
	OffsetLag int64
}

// DescribeLogDirs shows the log directories of this broker (KIP-113).
func (s *Server) DescribeLogDirs(_ context.Context, req *ottlapb.DescribeLogDirsRequest) (*ottlapb.DescribeLogDirsResponse, error) {
	n := len(req.GetTopics())
	wanted := map[cluster.TopicPartition]bool{}
	for _, t := range req.GetTopics() {
		if n += len(t.GetPartitions()); n > s.limits.Entries {
			return nil, tooMany("topics and partitions", n, s.limits.Entries)
		}
		for _, p := range t.GetPartitions() {
			wanted[cluster.TopicPartition{Topic: t.GetName(), Partition: p}] = true
		}
	}
	res := &ottlapb.DescribeLogDirsResponse{}
	if s.deps.LogDirs == nil {
		return res, nil
	}
	for _, dir := range s.deps.LogDirs.DescribeLogDirs() {
		d := &ottlapb.LogDirDescription{LogDir: dir.Path}
		res.Results = append(res.Results, d)
		if dir.Offline {
			d.ErrorCode = int32(kerr.KafkaStorageError)
			continue
		}
		var topic *ottlapb.LogDirTopic
		for _, r := range dir.Replicas {
			tp := r.TopicPartition
			if !req.GetAllTopics() && !wanted[tp] {
				continue
			}
			if topic == nil || topic.Name != tp.Topic {
				topic = &ottlapb.LogDirTopic{Name: tp.Topic}
				d.Topics = append(d.Topics, topic)
			}
			topic.Partitions = append(topic.Partitions, &ottlapb.LogDirPartition{Index: tp.Partition, Size: r.Size, OffsetLag: r.OffsetLag})
		}
	}
	return res, nil
}
