package commitlog

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/ottla/ottla/proto/cluster"
)

// Names of files. On disk: do not change (F§4.1).
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"

	deletedSuffix = ".deleted"
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"
	tmpSuffix     = ".tmp"

	deleteDirSuffix = "-delete"
	futureDirSuffix = "-future"
	strayDirSuffix  = "-stray"

	leaderEpochFile = "leader-epoch-checkpoint"
	partitionFile   = "partition.metadata"

	lockFile            = ".lock"
	metaFile            = "meta.properties"
	cleanShutdownFile   = ".kafka_cleanshutdown"
	recoveryPointFile   = "recovery-point-offset-checkpoint"
	logStartFile        = "log-start-offset-checkpoint"
	highWatermarkFile   = "replication-offset-checkpoint"
	cleanerOffsetFile   = "cleaner-offset-checkpoint"
	cleanShutdownFormat = `{"version":0,"brokerEpoch":-1}`
)

// maxNameLength is the longest file name that file systems take.
const maxNameLength = 255

const (
	filePerm = 0o644
	dirPerm  = 0o755
)

// segmentName returns the name of a segment's file: its base offset in 20 digits and the suffix.
func segmentName(base cluster.Offset, suffix string) string {
	return fmt.Sprintf("%020d%s", base, suffix)
}

// parseSegmentName is the inverse of segmentName. ok is false for names of other kinds of files.
func parseSegmentName(name string) (base cluster.Offset, suffix string, ok bool) {
	i := strings.IndexByte(name, '.')
	if i < 0 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(name[:i], 10, 63)
	if err != nil || i != 20 {
		return 0, "", false
	}
	return cluster.Offset(n), name[i:], true
}

// dirKind is what a directory within a log directory is for.
type dirKind uint8

const (
	dirLog     dirKind = iota // a partition
	dirDelete                 // a partition that waits for removal
	dirFuture                 // the target of a move between log directories
	dirStray                  // set aside by a migration to KRaft
	dirUnknown                // nothing that belongs here
)

// parseDirName says what a directory is for, and for dirLog whose.
func parseDirName(name string) (dirKind, cluster.TopicPartition) {
	for suffix, kind := range map[string]dirKind{deleteDirSuffix: dirDelete, futureDirSuffix: dirFuture, strayDirSuffix: dirStray} {
		rest, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		i := strings.LastIndexByte(rest, '.')
		if i < 0 || len(rest)-i-1 != 32 {
			continue
		}
		if tp, err := cluster.ParseTopicPartition(rest[:i]); err == nil {
			return kind, tp
		}
	}
	tp, err := cluster.ParseTopicPartition(name)
	if err != nil || cluster.ValidateTopicName(tp.Topic) != nil || tp.String() != name {
		return dirUnknown, cluster.TopicPartition{}
	}
	return dirLog, tp
}

// deleteDirName returns a unique name for the directory of a partition that waits for removal. The topic is shortened
// where the name would become too long (KAFKA-6893).
func deleteDirName(tp cluster.TopicPartition) string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	suffix := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(id[:]), deleteDirSuffix)
	topic := tp.Topic
	if len(topic)+len(suffix) > maxNameLength {
		topic = topic[:maxNameLength-len(suffix)]
	}
	return topic + suffix
}
