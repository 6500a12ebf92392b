package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// memFile is an open file of a Mem.
type memFile struct {
	name     string
	node     *memNode
	life     *memLife
	writable bool
	closed   atomic.Bool
}

// check reports why the handle cannot be used, if it cannot.
func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed.Load() || f.life.ended.Load():
		return pathErr(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathErr(op, f.name, fs.ErrPermission)
	}
	return nil
}

// Name implements [File].
func (f *memFile) Name() string { return f.name }

// ReadAt implements [File].
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("read", f.name, errors.New("negative offset"))
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	n := f.node.cur.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements [File].
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("write", f.name, errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cur.writeAt(p, off, n.owner, func(i int) { n.dirty[i] = true })
	n.mtime = time.Now()
	return len(p), nil
}

// Size implements [File].
func (f *memFile) Size() (int64, error) {
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return f.node.cur.size, nil
}

// Truncate implements [File].
func (f *memFile) Truncate(size int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathErr("truncate", f.name, fs.ErrInvalid)
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.truncateLocked(size)
	return nil
}

// truncateLocked sets the size of the cached content and notes what a Sync has to carry over.
func (n *memNode) truncateLocked(size int64) {
	shrinks := size < n.cur.size
	first := n.cur.truncate(size, n.owner)
	n.mtime = time.Now()
	if !shrinks {
		return
	}
	if size%pageSize != 0 {
		n.dirty[first] = true
	}
	keep := int((size + pageSize - 1) / pageSize)
	for i := range n.dirty {
		if i >= keep {
			delete(n.dirty, i)
		}
	}
	if n.cut < 0 || keep < n.cut {
		n.cut = keep
	}
}

// Sync implements [File].
func (f *memFile) Sync() error {
	if err := f.check("sync", false); err != nil {
		return err
	}
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut >= 0 && n.cut < len(n.disk.pages) {
		clear(n.disk.pages[n.cut:])
		n.disk.pages = n.disk.pages[:n.cut]
	}
	for i := range n.dirty {
		n.disk.set(i, n.cur.at(i))
	}
	n.disk.size = n.cur.size
	clear(n.dirty)
	n.cut = -1
	n.owner = owners.Add(1)
	return nil
}

// Preallocate implements [File]; space in memory needs no reservation.
func (f *memFile) Preallocate(int64) error { return f.check("preallocate", true) }

// Chtimes implements [File].
func (f *memFile) Chtimes(mtime time.Time) error {
	if err := f.check("chtimes", false); err != nil {
		return err
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.mtime = mtime
	return nil
}

// ModTime implements [File].
func (f *memFile) ModTime() (time.Time, error) {
	if err := f.check("stat", false); err != nil {
		return time.Time{}, err
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return f.node.mtime, nil
}

// Close implements [File].
func (f *memFile) Close() error {
	if err := f.check("close", false); err != nil {
		return err
	}
	if f.closed.Swap(true) {
		return pathErr("close", f.name, fs.ErrClosed)
	}
	f.life.open.Add(-1)
	return nil
}

// memInfo is what Stat returns.
type memInfo struct {
	name  string
	size  int64
	dir   bool
	mtime time.Time
}

func (n *memNode) info(name string) memInfo {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return memInfo{name: name, size: n.cur.size, dir: n.dir, mtime: n.mtime}
}

// Name implements fs.FileInfo.
func (i memInfo) Name() string { return i.name }

// Size implements fs.FileInfo.
func (i memInfo) Size() int64 { return i.size }

// Mode implements fs.FileInfo.
func (i memInfo) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o644
}

// ModTime implements fs.FileInfo.
func (i memInfo) ModTime() time.Time { return i.mtime }

// IsDir implements fs.FileInfo.
func (i memInfo) IsDir() bool { return i.dir }

// Sys implements fs.FileInfo.
func (memInfo) Sys() any { return nil }
