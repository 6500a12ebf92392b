package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ottla/ottla/broker/vfs"
)

// DirLocks holds the locks of log directories before there is a [Manager], for a broker that must know that it is alone with its
// directories before it does anything else. Give it to [OpenManager], which takes the locks over. It is owned by one goroutine.
type DirLocks struct {
	held   map[string]io.Closer
	failed map[string]lockFailure
	order  []string
}

// lockFailure is why a directory could not be locked, for a reason that is its disk's.
type lockFailure struct {
	op  string
	err error
}

// LockDirs creates and locks log directories. A directory that another process holds fails it (vfs.ErrLocked). One whose disk fails, or does not give out what
// is in meta.properties, is passed over, it will be offline; only if all fail, LockDirs does.
func LockDirs(fsys vfs.FS, dirs []string) (*DirLocks, error) {
	l := &DirLocks{held: map[string]io.Closer{}, failed: map[string]lockFailure{}}
	var errs []error
	for _, dir := range dirs {
		op, err := l.lock(fsys, dir)
		if errors.Is(err, vfs.ErrLocked) {
			return nil, errors.Join(fmt.Errorf("log directory %s is in use: a process that runs holds its lock %s; stop that process, or give this broker other log.dirs: %w",
				dir, filepath.Join(dir, lockFile), err), l.Close())
		}
		if err != nil {
			l.failed[dir] = lockFailure{op, err}
			errs = append(errs, fmt.Errorf("%s %s: %w", op, dir, err))
		}
	}
	if len(l.held) == 0 {
		return nil, fmt.Errorf("no log directory can be used; check log.dirs and the permissions: %w", errors.Join(errs...))
	}
	return l, nil
}

func (l *DirLocks) lock(fsys vfs.FS, dir string) (op string, err error) {
	if err := makeDir(fsys, dir); err != nil {
		return "create the log directory", err
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFile))
	if err != nil {
		return "lock the log directory", err
	}
	if _, err := vfs.ReadFile(fsys, filepath.Join(dir, metaFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "read meta.properties", errors.Join(err, lock.Close())
	}
	l.held[dir] = lock
	l.order = append(l.order, dir)
	return "", nil
}

// makeDir creates a directory, and the missing ones above it, with durable names.
func makeDir(fsys vfs.FS, path string) error {
	var made []string
	for p := path; ; p = filepath.Dir(p) {
		_, err := fsys.Stat(p)
		if err == nil || p == filepath.Dir(p) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, p)
	}
	if err := fsys.MkdirAll(path, dirPerm); err != nil {
		return err
	}
	for _, p := range made {
		if err := fsys.SyncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// Dirs returns the directories that are locked, in the order given.
func (l *DirLocks) Dirs() []string { return slices.Clone(l.order) }

// take hands the lock of a directory over.
func (l *DirLocks) take(dir string) (io.Closer, lockFailure, bool) {
	if lock, ok := l.held[dir]; ok {
		delete(l.held, dir)
		return lock, lockFailure{}, true
	}
	f, ok := l.failed[dir]
	if !ok {
		return nil, lockFailure{"lock the log directory", fmt.Errorf("%s was not locked", dir)}, false
	}
	return nil, f, false
}

// Close releases the locks that no Manager has taken over.
func (l *DirLocks) Close() error {
	var errs []error
	for dir, lock := range l.held {
		errs = append(errs, lock.Close())
		delete(l.held, dir)
	}
	return errors.Join(errs...)
}
