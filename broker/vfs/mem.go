package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mem is a disk in memory that keeps apart what was written and what a power cut would leave, see [Mem.CrashClone].
// Files are sparse, so that preallocated ones cost nothing. It never blocks and starts no goroutine, so it may be made
// outside a testing/synctest bubble and used within one.
//
// Three ways to restart on it: close everything and open again; [Mem.Kill], when a process dies and the machine goes on;
// CrashClone, when the machine loses power.
type Mem struct {
	mu      sync.RWMutex // guards the names of all directories, pending, locks
	root    *memNode
	pending []nameOp // changes of names that no SyncDir has made durable, in order
	locks   map[string]*memLock
	life    *memLife
}

// memLife is one process's use of the disk: Kill ends it, and with it every handle.
type memLife struct {
	ended atomic.Bool
	open  atomic.Int64
}

// memNode is a file or directory apart from its name.
type memNode struct {
	dir bool

	// Of a directory, guarded by Mem.mu: the names as they are seen, and as a power cut would leave them.
	names, diskNames map[string]*memNode

	mu    sync.RWMutex // guards what follows, of a file; taken after Mem.mu
	cur   image        // content as it is read
	disk  image        // content that is durable
	owner uint64       // pages of cur with this mark belong to cur alone
	dirty map[int]bool // pages whose content in cur is not durable
	cut   int          // pages from here on were cut off since the last Sync; -1 none
	mtime time.Time
}

// nameOp is one atomic change of names: a name bound to a node, a name freed, or both.
type nameOp struct {
	node      *memNode
	bindDir   *memNode // nil when nothing is bound
	bind      string
	unbindDir *memNode // nil when nothing is freed
	unbind    string
}

// memLock is a lock that is held.
type memLock struct {
	m    *Mem
	path string
}

// NewMem returns an empty disk with a root directory.
func NewMem() *Mem {
	return &Mem{root: newMemDir(), locks: map[string]*memLock{}, life: &memLife{}}
}

func newMemDir() *memNode {
	return &memNode{dir: true, names: map[string]*memNode{}, diskNames: map[string]*memNode{}, mtime: time.Now()}
}

// Kill does what the end of a process does: every handle that is open becomes unusable (fs.ErrClosed) and every lock is
// released. What was written stays readable, synced or not, because the machine goes on.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life.ended.Store(true)
	m.life = &memLife{}
	clear(m.locks)
}

// OpenFiles returns how many files are open, for tests that look for leaks.
func (m *Mem) OpenFiles() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int(m.life.open.Load())
}

// cleanPath makes a path absolute within the disk.
func cleanPath(name string) string { return filepath.Clean(string(filepath.Separator) + name) }

func pathErr(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// lookupLocked finds the node with a name.
func (m *Mem) lookupLocked(name string) (*memNode, error) {
	n := m.root
	for part := range strings.SplitSeq(cleanPath(name), string(filepath.Separator)) {
		if part == "" {
			continue
		}
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		child, ok := n.names[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = child
	}
	return n, nil
}

// parentLocked finds the directory that holds name, and the last element of the path.
func (m *Mem) parentLocked(name string) (*memNode, string, error) {
	p := cleanPath(name)
	dir, err := m.lookupLocked(filepath.Dir(p))
	if err != nil {
		return nil, "", err
	}
	if !dir.dir {
		return nil, "", syscall.ENOTDIR
	}
	return dir, filepath.Base(p), nil
}

// doLocked applies a change of names to what is seen and remembers it until a SyncDir.
func (m *Mem) doLocked(op nameOp) {
	if op.unbindDir != nil {
		delete(op.unbindDir.names, op.unbind)
	}
	if op.bindDir != nil {
		op.bindDir.names[op.bind] = op.node
	}
	m.pending = append(m.pending, op)
}

// Open implements [FS].
func (m *Mem) Open(name string) (File, error) { return m.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile implements [FS].
func (m *Mem) OpenFile(name string, flag int, _ os.FileMode) (File, error) {
	if flag&os.O_APPEND != 0 {
		return nil, pathErr("open", name, fmt.Errorf("O_APPEND: %w", fs.ErrInvalid))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	n, ok := dir.names[base]
	writable := flag&(os.O_RDWR|os.O_WRONLY) != 0
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, pathErr("open", name, fs.ErrNotExist)
	case ok && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathErr("open", name, fs.ErrExist)
	case ok && n.dir:
		return nil, pathErr("open", name, syscall.EISDIR)
	case !ok:
		n = &memNode{owner: owners.Add(1), dirty: map[int]bool{}, cut: -1, mtime: time.Now()}
		m.doLocked(nameOp{node: n, bindDir: dir, bind: base})
	}
	if flag&os.O_TRUNC != 0 && writable {
		n.mu.Lock()
		n.truncateLocked(0)
		n.mu.Unlock()
	}
	m.life.open.Add(1)
	return &memFile{name: name, node: n, life: m.life, writable: writable}, nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return pathErr("remove", name, err)
	}
	n, ok := dir.names[base]
	if !ok {
		return pathErr("remove", name, fs.ErrNotExist)
	}
	if n.dir && len(n.names) > 0 {
		return pathErr("remove", name, syscall.ENOTEMPTY)
	}
	m.doLocked(nameOp{node: n, unbindDir: dir, unbind: base})
	return nil
}

// RemoveAll implements [FS]. Each name goes by an operation of its own, so that a power cut may leave a part.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err == fs.ErrNotExist {
		return nil
	}
	if err != nil {
		return pathErr("remove", name, err)
	}
	if n, ok := dir.names[base]; ok {
		m.removeTreeLocked(dir, base, n)
	}
	return nil
}

func (m *Mem) removeTreeLocked(dir *memNode, base string, n *memNode) {
	for _, child := range sortedNames(n.names) {
		m.removeTreeLocked(n, child, n.names[child])
	}
	m.doLocked(nameOp{node: n, unbindDir: dir, unbind: base})
}

// Rename implements [FS].
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) error {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	oldDir, oldBase, err := m.parentLocked(oldname)
	if err != nil {
		return fail(err)
	}
	newDir, newBase, err := m.parentLocked(newname)
	if err != nil {
		return fail(err)
	}
	n, ok := oldDir.names[oldBase]
	if !ok {
		return fail(fs.ErrNotExist)
	}
	if from, to := cleanPath(oldname), cleanPath(newname); from == to {
		return nil
	} else if n.dir && strings.HasPrefix(to, from+string(filepath.Separator)) {
		return fail(fs.ErrInvalid)
	}
	if target, ok := newDir.names[newBase]; ok {
		switch {
		case target.dir && !n.dir:
			return fail(syscall.EISDIR)
		case n.dir && !target.dir:
			return fail(syscall.ENOTDIR)
		case target.dir && len(target.names) > 0:
			return fail(syscall.ENOTEMPTY)
		}
	}
	m.doLocked(nameOp{node: n, bindDir: newDir, bind: newBase, unbindDir: oldDir, unbind: oldBase})
	return nil
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(dir string, _ os.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for part := range strings.SplitSeq(cleanPath(dir), string(filepath.Separator)) {
		if part == "" {
			continue
		}
		child, ok := n.names[part]
		if !ok {
			child = newMemDir()
			m.doLocked(nameOp{node: child, bindDir: n, bind: part})
		}
		if !child.dir {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
		n = child
	}
	return nil
}

// ReadDir implements [FS].
func (m *Mem) ReadDir(dir string) ([]os.DirEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathErr("readdir", dir, err)
	}
	list := make([]os.DirEntry, 0, len(n.names))
	for _, name := range sortedNames(n.names) {
		list = append(list, fs.FileInfoToDirEntry(n.names[name].info(name)))
	}
	return list, nil
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (os.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(name)
	if err != nil {
		return nil, pathErr("stat", name, err)
	}
	return n.info(filepath.Base(cleanPath(name))), nil
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathErr("syncdir", dir, err)
	}
	rest := m.pending[:0]
	for _, op := range m.pending {
		if op.bindDir == n || op.unbindDir == n {
			op.settle()
		} else {
			rest = append(rest, op)
		}
	}
	clear(m.pending[len(rest):])
	m.pending = rest
	return nil
}

// settle makes the change durable.
func (op nameOp) settle() {
	if op.unbindDir != nil && op.unbindDir.diskNames[op.unbind] == op.node {
		delete(op.unbindDir.diskNames, op.unbind)
	}
	if op.bindDir != nil {
		op.bindDir.diskNames[op.bind] = op.node
	}
}

// Lock implements [FS].
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := cleanPath(name)
	if m.locks[p] != nil {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	l := &memLock{m: m, path: p}
	m.locks[p] = l
	return l, nil
}

// Close releases the lock.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.path] == l {
		delete(l.m.locks, l.path)
	}
	return nil
}

func sortedNames(names map[string]*memNode) []string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}
