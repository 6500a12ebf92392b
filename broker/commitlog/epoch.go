package commitlog

import (
	"path/filepath"
	"slices"
	"sync"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// epochCache keeps a list of broker/epoch: it says at which offset each leader epoch begins (F§3.5, KIP-101). Every change is on disk, in
// leader-epoch-checkpoint, before it is visible. It is safe for concurrent use; writers hold the log's append lock.
//
// Entries of epochs before the log start offset go only when the log start is on disk, too: until then a stop may bring the
// records back. Whoever asks is shown those from the log start on (live).
type epochCache struct {
	fs  vfs.FS
	dir string

	mu      sync.RWMutex
	entries []EpochEntry // epochs and offsets rise strictly; never changed in place
	// shown is what live has last returned, for the log start offset from; nil when that is to be found again.
	shown []EpochEntry
	from  cluster.Offset
}

// live returns the entries as of a log that begins at start. The caller must not change them.
func (c *epochCache) live(start cluster.Offset) []EpochEntry {
	c.mu.RLock()
	entries, shown, from := c.entries, c.shown, c.from
	c.mu.RUnlock()
	if len(entries) == 0 || entries[0].StartOffset >= start {
		return entries
	}
	if shown != nil && from == start {
		return shown
	}
	shown = epoch.From(entries, start)
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Equal(c.entries, entries) {
		c.shown, c.from = shown, start
	}
	return shown
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
	c.entries, c.shown = entries, nil
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
func (c *epochCache) assign(e cluster.LeaderEpoch, start cluster.Offset) error {
	return c.replace(epoch.Assign(c.list(), e, start))
}
