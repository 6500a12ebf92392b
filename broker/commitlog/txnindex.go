package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/ottla/ottla/broker/commitlog/producers"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// txnIndex is the list of the aborted transactions whose markers are in one segment, in the file .txnindex (F§4.5). There is no
// file before the first one. Like the other indexes it is a cache of what the log says: it is trusted where the segment is,
// and otherwise built again by recovery.
//
// One goroutine appends and truncates (under the log's append lock). Any number of goroutines look up, without a lock; during a
// truncation they may read nonsense, which the log's readers notice and discard.
type txnIndex struct {
	*handle
	base cluster.Offset

	// count is the number of entries that lookups may read.
	count atomic.Int64
	// exists says that there is a file, possibly an empty one.
	exists atomic.Bool
}

func newTxnIndex(h *handle, base cluster.Offset) *txnIndex { return &txnIndex{handle: h, base: base} }

// append adds an entry whose marker comes after all others. created says that the file's name is new.
func (x *txnIndex) append(a producers.AbortedTxn) (created bool, err error) {
	created = !x.exists.Load()
	f, err := x.open(os.O_RDWR | os.O_CREATE)
	if err != nil {
		return false, err
	}
	x.exists.Store(true)
	var buf [producers.AbortedTxnSize]byte
	n := x.count.Load()
	if _, err := f.WriteAt(a.AppendTo(buf[:0]), n*producers.AbortedTxnSize); err != nil {
		return created, err
	}
	x.count.Store(n + 1)
	return created, nil
}

// load takes over the file, if there is one. The error is a *CorruptionError when it must be built again.
func (x *txnIndex) load() error {
	data, err := vfs.ReadFile(x.fs, x.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	x.exists.Store(true)
	n, _, err := producers.CheckTxnIndex(data, x.base)
	if err != nil {
		return &CorruptionError{File: x.path, Position: int64(n) * producers.AbortedTxnSize, Reason: err.Error()}
	}
	x.count.Store(int64(n))
	return nil
}

// reset removes all entries, also from a file that was not loaded.
func (x *txnIndex) reset() error { return x.cut(0) }

// truncate removes the entries whose markers are at or after an offset.
func (x *txnIndex) truncate(end cluster.Offset) error {
	n, err := x.firstFrom(end)
	if err != nil {
		return err
	}
	return x.cut(n)
}

// cut leaves the first n entries.
func (x *txnIndex) cut(n int64) error {
	x.count.Store(n)
	f, err := x.get()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	x.exists.Store(true)
	return f.Truncate(n * producers.AbortedTxnSize)
}

// syncIfExists makes the content durable.
func (x *txnIndex) syncIfExists() error {
	if !x.exists.Load() {
		return nil
	}
	return x.sync()
}

// firstFrom returns the position of the first entry whose marker is at or after an offset; the number of entries when there is none.
func (x *txnIndex) firstFrom(offset cluster.Offset) (int64, error) {
	lo, hi := int64(0), x.count.Load()
	if hi == 0 {
		return 0, nil
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	for lo < hi {
		mid := (lo + hi) / 2
		a, err := x.entry(buf[:], mid)
		if err != nil {
			return 0, err
		}
		if a.LastOffset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// entry reads one entry.
func (x *txnIndex) entry(buf []byte, i int64) (producers.AbortedTxn, error) {
	run, err := x.entries(buf[:producers.AbortedTxnSize], i)
	if err != nil {
		return producers.AbortedTxn{}, err
	}
	return x.decode(run, i)
}

// entries fills buf with entries from i on.
func (x *txnIndex) entries(buf []byte, i int64) ([]byte, error) {
	if _, err := x.ReadAt(buf, i*producers.AbortedTxnSize); err != nil {
		return nil, fmt.Errorf("read entry %d of %s: %w", i, x.path, err)
	}
	return buf, nil
}

func (x *txnIndex) decode(p []byte, i int64) (producers.AbortedTxn, error) {
	a, err := producers.DecodeAbortedTxn(p)
	if err != nil {
		return a, &CorruptionError{File: x.path, Position: i * producers.AbortedTxnSize, Reason: err.Error()}
	}
	return a, nil
}

// collect appends to list the transactions that overlap offsets from (included) to to (excluded). done is true when no later
// segment can have another one.
func (x *txnIndex) collect(list []producers.AbortedTxn, from, to cluster.Offset) (_ []producers.AbortedTxn, done bool, err error) {
	n := x.count.Load()
	if n == 0 {
		return list, false, nil
	}
	i, err := x.firstFrom(from)
	if err != nil || i >= n {
		return list, false, err
	}
	buf := scratch.Get().(*[scratchSize]byte)
	defer scratch.Put(buf)
	for i < n {
		run := min(n-i, scratchSize/producers.AbortedTxnSize)
		p, err := x.entries(buf[:run*producers.AbortedTxnSize], i)
		if err != nil {
			return list, false, err
		}
		for ; len(p) > 0; p = p[producers.AbortedTxnSize:] {
			a, err := x.decode(p, i)
			if err != nil {
				return list, false, err
			}
			if a.Overlaps(from, to) {
				list = append(list, a)
			}
			if a.EndsSearch(to) {
				return list, true, nil
			}
			i++
		}
	}
	return list, false, nil
}
