package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/proto/cluster"
)

// Sizes of index entries in bytes. On disk: do not change (F§4.5).
//
//	.index      | relative offset i32 | position i32         |
//	.timeindex  | timestamp i64              | relative offset i32 |
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
)

// indexEntry is an entry of either index. In an offset index key is the last offset of a batch and val the position at
// which the batch starts. In a time index key is the largest timestamp so far and val the last offset of the batch that has it.
type indexEntry struct{ key, val int64 }

// index is an offset index or a time index of one segment: entries in rising order of key, sparse, a cache of what the
// segment says. The latest entries are in memory and reach the file in blocks; those that the file holds are read from it.
//
// One goroutine appends, truncates and seals (under the log's append lock). Any number of goroutines look up, without
// a lock; during a truncation they may read nonsense, which the log's readers notice and discard. persist may run beside
// all of them.
type index struct {
	*handle
	base cluster.Offset
	size int // bytes of an entry: offsetEntrySize or timeEntrySize
	max  int // entries that the preallocated file holds, while the segment is active

	// fileCount is the number of entries that lookups may read from the file while tail is nil.
	fileCount atomic.Int64
	// tail holds the newest entries. All entries before it are in the file. nil when the file holds everything.
	tail atomic.Pointer[indexTail]

	last  indexEntry // the newest entry, of the appending goroutine; meaningless while count is 0
	count int        // entries in all, of the appending goroutine

	held atomic.Bool // the file is kept open, see hold

	writing   turn // guards persisted and writes to the file; the indexes of a segment share it
	persisted int  // entries in the file, also those that tail has too
}

// tailEntries is how many entries are kept in memory before they are written out.
const tailEntries = 64

// indexTail is a run of entries. Entries below n are never changed again.
type indexTail struct {
	first   int // position of entries[0] in the index
	n       atomic.Int64
	entries [tailEntries]indexEntry
}

// scratch lends buffers for reading index files and batch headers.
var scratch = sync.Pool{New: func() any { return new([scratchSize]byte) }}

const scratchSize = 4096

func newIndex(h *handle, writing turn, base cluster.Offset, size int) *index {
	return &index{handle: h, writing: writing, base: base, size: size}
}

// hold keeps the file open once it is, because it is being written or is not yet on disk. It may be called again.
func (x *index) hold() {
	if !x.held.Swap(true) {
		x.keep()
	}
}

// rest ends what hold began.
func (x *index) rest() {
	if x.held.Swap(false) {
		x.free()
	}
}

// put encodes an entry.
func (x *index) put(p []byte, e indexEntry) {
	if x.size == offsetEntrySize {
		binary.BigEndian.PutUint32(p, uint32(e.key-int64(x.base)))
		binary.BigEndian.PutUint32(p[4:], uint32(e.val))
		return
	}
	binary.BigEndian.PutUint64(p, uint64(e.key))
	binary.BigEndian.PutUint32(p[8:], uint32(e.val-int64(x.base)))
}

// get decodes an entry.
func (x *index) entry(p []byte) indexEntry {
	if x.size == offsetEntrySize {
		return indexEntry{
			key: int64(x.base) + int64(int32(binary.BigEndian.Uint32(p))),
			val: int64(int32(binary.BigEndian.Uint32(p[4:]))),
		}
	}
	return indexEntry{
		key: int64(binary.BigEndian.Uint64(p)),
		val: int64(x.base) + int64(int32(binary.BigEndian.Uint32(p[8:]))),
	}
}

// capacity returns how many entries a file of so many bytes holds. A limit that is smaller than Kafka's smallest index
// still leaves room for the entry at a roll.
func (x *index) capacity(bytes int) int { return max(bytes/x.size, 2) }

// activate preallocates the file of a segment that is to be appended to.
func (x *index) activate(maxBytes int) error {
	x.hold()
	f, err := x.get()
	if err != nil {
		return err
	}
	x.max = max(x.capacity(maxBytes), x.count)
	return f.Truncate(int64(x.max) * int64(x.size))
}

// reset replaces all entries and preallocates the file. The old entries are cut off first, so that what is beyond the new
// ones reads as zeros.
func (x *index) reset(entries []indexEntry, maxBytes int) error {
	x.hold()
	f, err := x.get()
	if err != nil {
		return err
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if len(entries) > 0 {
		p := make([]byte, len(entries)*x.size)
		for i, e := range entries {
			x.put(p[i*x.size:], e)
		}
		if _, err := f.WriteAt(p, 0); err != nil {
			return err
		}
		x.last = entries[len(entries)-1]
	}
	x.count, x.persisted = len(entries), len(entries)
	x.fileCount.Store(int64(len(entries)))
	x.tail.Store(nil)
	x.max = max(x.capacity(maxBytes), x.count)
	return f.Truncate(int64(x.max) * int64(x.size))
}

// load takes over the file of a segment that was sealed or closed cleanly. The error is a *CorruptionError, or that the
// file does not exist, when it must be rebuilt. limit is the segment's size in bytes.
func (x *index) load(limit int64) error {
	f, err := x.get()
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return &CorruptionError{File: x.path, Position: size, Reason: fmt.Sprintf(format, args...)}
	}
	if size%int64(x.size) != 0 {
		return bad("size %d is no multiple of %d", size, x.size)
	}
	n := int(size / int64(x.size))
	x.count, x.persisted = n, n
	x.fileCount.Store(int64(n))
	x.tail.Store(nil)
	if n == 0 {
		return nil
	}
	first, err := x.readEntry(0)
	if err != nil {
		return err
	}
	if x.last, err = x.readEntry(n - 1); err != nil {
		return err
	}
	switch {
	case n > 1 && x.last.key <= first.key:
		return bad("last key %d is not above the first, %d", x.last.key, first.key)
	case x.size == offsetEntrySize && (x.last.key < int64(x.base) || x.last.val < 0 || x.last.val >= limit):
		return bad("last entry is offset %d at %d, in a segment from %d with %d bytes", x.last.key, x.last.val, x.base, limit)
	case x.size == timeEntrySize && x.last.val < int64(x.base):
		return bad("last entry has offset %d in a segment from %d", x.last.val, x.base)
	}
	return nil
}

// readEntry reads one entry from the file.
func (x *index) readEntry(i int) (indexEntry, error) {
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	p := buf[:x.size]
	if _, err := x.ReadAt(p, int64(i)*int64(x.size)); err != nil {
		return indexEntry{}, fmt.Errorf("read entry %d of %s: %w", i, x.path, err)
	}
	return x.entry(p), nil
}

// append adds an entry whose key is above all others. It writes to the file only when the tail is full. While the file cannot be opened because
// the process has no descriptors left, entries are left out: an index is sparse.
func (x *index) append(e indexEntry) error {
	t := x.tail.Load()
	if t != nil && t.n.Load() == tailEntries {
		if err := x.persist(); scarce(err) {
			return nil
		} else if err != nil {
			return err
		}
		x.fileCount.Store(int64(x.count))
		t = nil
	}
	if t == nil {
		t = &indexTail{first: x.count}
		t.entries[0] = e
		t.n.Store(1)
		x.tail.Store(t)
	} else {
		n := t.n.Load()
		t.entries[n] = e
		t.n.Store(n + 1)
	}
	x.last = e
	x.count++
	return nil
}

// persist writes the entries that are only in memory to the file.
func (x *index) persist() error {
	x.writing.Lock()
	defer x.writing.Unlock()
	t := x.tail.Load()
	if t == nil {
		return nil
	}
	n := int(t.n.Load())
	from := max(x.persisted-t.first, 0)
	if from >= n {
		return nil
	}
	x.hold()
	f, err := x.get()
	if err != nil {
		return err
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	p := buf[:(n-from)*x.size]
	for i, e := range t.entries[from:n] {
		x.put(p[i*x.size:], e)
	}
	if _, err := f.WriteAt(p, int64(t.first+from)*int64(x.size)); err != nil {
		return err
	}
	x.persisted = t.first + n
	return nil
}

// seal writes everything out and trims the file to its entries.
func (x *index) seal() error {
	if err := x.persist(); err != nil {
		return err
	}
	x.hold()
	f, err := x.get()
	if err != nil {
		return err
	}
	x.fileCount.Store(int64(x.count))
	x.tail.Store(nil)
	return f.Truncate(int64(x.count) * int64(x.size))
}

// lookup returns the entry with the greatest key that is not above key. ok is false when there is none.
func (x *index) lookup(key int64) (e indexEntry, ok bool, err error) {
	t := x.tail.Load()
	n := int(x.fileCount.Load())
	if t != nil {
		in := t.entries[:t.n.Load()]
		if len(in) > 0 && in[0].key <= key {
			lo, hi := 0, len(in) // in[lo].key <= key < in[hi].key
			for hi-lo > 1 {
				if mid := (lo + hi) / 2; in[mid].key <= key {
					lo = mid
				} else {
					hi = mid
				}
			}
			return in[lo], true, nil
		}
		n = t.first
	}
	return x.searchFile(key, n)
}

// searchFile is lookup within the first n entries of the file: by bisection until the rest fits into one read.
func (x *index) searchFile(key int64, n int) (e indexEntry, ok bool, err error) {
	if n == 0 {
		return e, false, nil
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	lo, hi := 0, n // the answer is in [lo, hi), or nothing
	for hi-lo > scratchSize/x.size {
		mid := (lo + hi) / 2
		p := buf[:x.size]
		if _, err := x.ReadAt(p, int64(mid)*int64(x.size)); err != nil {
			return e, false, fmt.Errorf("read entry %d of %s: %w", mid, x.path, err)
		}
		if x.entry(p).key <= key {
			lo = mid
		} else {
			hi = mid
		}
	}
	p := buf[:(hi-lo)*x.size]
	if _, err := x.ReadAt(p, int64(lo)*int64(x.size)); err != nil {
		return e, false, fmt.Errorf("read entries %d to %d of %s: %w", lo, hi, x.path, err)
	}
	for ; len(p) > 0; p = p[x.size:] {
		next := x.entry(p)
		if next.key > key {
			break
		}
		e, ok = next, true
	}
	return e, ok, nil
}

// all returns every entry, for truncation.
func (x *index) all() ([]indexEntry, error) {
	if err := x.persist(); err != nil {
		return nil, err
	}
	p := make([]byte, x.count*x.size)
	if len(p) > 0 {
		if _, err := x.ReadAt(p, 0); err != nil {
			return nil, fmt.Errorf("read %s: %w", x.path, err)
		}
	}
	entries := make([]indexEntry, x.count)
	for i := range entries {
		entries[i] = x.entry(p[i*x.size:])
	}
	return entries, nil
}

// rebuildable reports whether an error of load means that the index must be built again from the segment.
func rebuildable(err error) bool {
	var corrupt *CorruptionError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &corrupt)
}
