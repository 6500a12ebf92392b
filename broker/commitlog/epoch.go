package commitlog

import (
	"path/filepath"
	"slices"
	"sync"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// epochCache says at which offset each leader epoch begins (F§3.5, KIP-101). Every change is on disk, in
// leader-epoch-checkpoint, before it is visible. It is safe for concurrent use; writers hold the log's append lock.
type epochCache struct {
	fs  vfs.FS
	dir string

	mu      sync.RWMutex
	entries []EpochEntry // epochs and offsets rise strictly; never changed in place
}

// list returns the entries. The caller must not change them.
func (c *epochCache) list() []EpochEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries
}

// replace writes the entries to disk and then shows them, unless they are the same.
func (c *epochCache) replace(entries []EpochEntry) error {
	if slices.Equal(entries, c.list()) {
		return nil
	}
	if err := vfs.WriteFileAtomic(c.fs, filepath.Join(c.dir, leaderEpochFile), encodeEpochs(entries), filePerm); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = entries
	return nil
}

// latest returns the last epoch; NoLeaderEpoch when there is none.
func (c *epochCache) latest() cluster.LeaderEpoch {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := len(c.entries); n > 0 {
		return c.entries[n-1].Epoch
	}
	return cluster.NoLeaderEpoch
}

// assign notes that an epoch begins at an offset.
func (c *epochCache) assign(epoch cluster.LeaderEpoch, start cluster.Offset) error {
	return c.replace(assignEpoch(c.list(), epoch, start))
}

// assignEpoch returns entries with one more: nothing changes if it is the last one's epoch; otherwise entries at the end with a
// higher or equal epoch or offset make way.
func assignEpoch(entries []EpochEntry, epoch cluster.LeaderEpoch, start cluster.Offset) []EpochEntry {
	n := len(entries)
	if epoch < 0 || n > 0 && entries[n-1].Epoch == epoch {
		return entries
	}
	for n > 0 && (entries[n-1].Epoch >= epoch || entries[n-1].StartOffset >= start) {
		n--
	}
	return append(slices.Clone(entries[:n]), EpochEntry{Epoch: epoch, StartOffset: start})
}

// epochsBefore returns the entries that begin before an offset.
func epochsBefore(entries []EpochEntry, end cluster.Offset) []EpochEntry {
	n := len(entries)
	for n > 0 && entries[n-1].StartOffset >= end {
		n--
	}
	return entries[:n:n]
}

// epochsFrom drops the entries that end at or before an offset; the one that covers it then begins there.
func epochsFrom(entries []EpochEntry, start cluster.Offset) []EpochEntry {
	i := 0
	for i < len(entries) && entries[i].StartOffset <= start {
		i++
	}
	if i == 0 {
		return entries
	}
	kept := slices.Clone(entries[i-1:])
	kept[0].StartOffset = start
	return kept
}

// endOffset answers what OffsetsForLeaderEpoch asks: the largest epoch that is not above the one requested, and where
// it ends. ok is false when the question has no answer (the "undefined" of F§3.5).
func endOffset(entries []EpochEntry, epoch cluster.LeaderEpoch, leo cluster.Offset) (cluster.LeaderEpoch, cluster.Offset, bool) {
	n := len(entries)
	if epoch < 0 || n == 0 {
		return cluster.NoLeaderEpoch, cluster.UnknownOffset, false
	}
	if entries[n-1].Epoch == epoch {
		return epoch, leo, true
	}
	higher := slices.IndexFunc(entries, func(e EpochEntry) bool { return e.Epoch > epoch })
	switch higher {
	case -1:
		return cluster.NoLeaderEpoch, cluster.UnknownOffset, false
	case 0:
		return epoch, entries[0].StartOffset, true
	default:
		return entries[higher-1].Epoch, entries[higher].StartOffset, true
	}
}

// epochAt returns the epoch of the record at an offset; NoLeaderEpoch when it is before all entries.
func epochAt(entries []EpochEntry, offset cluster.Offset) cluster.LeaderEpoch {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].StartOffset <= offset {
			return entries[i].Epoch
		}
	}
	return cluster.NoLeaderEpoch
}
