package commitlog

import (
	"path/filepath"
	"slices"
	"sync"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// epochCache keeps a list of broker/epoch: it says at which offset each leader epoch begins (F§3.5, KIP-101). It is safe for concurrent
// use; writers hold the log's append lock.
//
// What is taken away is gone from leader-epoch-checkpoint before it is hidden. What is added is in memory at once and on disk with the next sync,
// which comes before the recovery point passes the epoch's first batch: until then recovery reads the batches, and finds the epoch in them. So a broker that
// becomes leader of thousands of partitions does not wait for a sync of each. An epoch without batches may be lost; nothing rests on it, and
// opening a log drops it anyway.
//
// Entries of epochs before the log start offset go only when the log start is on disk, too: until then a stop may bring the
// records back. Whoever asks is shown those from the log start on (live).
type epochCache struct {
	fs  vfs.FS
	dir string

	writing sync.Mutex   // held while the file is written
	written []EpochEntry // what the file holds; belongs to who holds writing

	mu      sync.RWMutex // inside writing
	entries []EpochEntry // epochs and offsets rise strictly; never changed in place
	// shown is what live has last returned, for the log start offset from; nil when that is to be found again.
	shown []EpochEntry
	from  cluster.Offset
}

// load takes over what was read from the file.
func (c *epochCache) load(entries []EpochEntry) {
	c.written, c.entries = entries, entries
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

// replace writes the entries to disk, unless they are there, and then shows them.
func (c *epochCache) replace(entries []EpochEntry) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.writeLocked(entries); err != nil {
		return err
	}
	c.show(entries)
	return nil
}

// sync writes to disk what was assigned.
func (c *epochCache) sync() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.writeLocked(c.list())
}

func (c *epochCache) writeLocked(entries []EpochEntry) error {
	if slices.Equal(entries, c.written) {
		return nil
	}
	if err := vfs.WriteFileAtomic(c.fs, filepath.Join(c.dir, leaderEpochFile), encodeEpochs(entries), filePerm); err != nil {
		return err
	}
	c.written = entries
	return nil
}

func (c *epochCache) show(entries []EpochEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.shown = entries, nil
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

// assign notes that an epoch begins at an offset. It does no IO.
func (c *epochCache) assign(e cluster.LeaderEpoch, start cluster.Offset) {
	if old := c.list(); len(old) == 0 || e != old[len(old)-1].Epoch {
		c.show(epoch.Assign(old, e, start))
	}
}
