package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// OS is the real file system of this machine. Sync is fdatasync and Preallocate is fallocate where the system has them.
var OS FS = osFS{}

// osFS implements FS with package os. It has no state.
type osFS struct{}

// Open implements [FS].
func (osFS) Open(name string) (File, error) { return osOpen(name, os.O_RDONLY, 0) }

// OpenFile implements [FS].
func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	return osOpen(name, flag, perm)
}

// osOpen avoids the typed nil that returning a *osFile directly would put into the interface.
func osOpen(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Remove implements [FS].
func (osFS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements [FS].
func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename implements [FS].
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// MkdirAll implements [FS].
func (osFS) MkdirAll(dir string, perm os.FileMode) error { return os.MkdirAll(dir, perm) }

// ReadDir implements [FS].
func (osFS) ReadDir(dir string) ([]os.DirEntry, error) { return os.ReadDir(dir) }

// Stat implements [FS].
func (osFS) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }

// SyncDir implements [FS].
func (osFS) SyncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// Lock implements [FS] with an advisory lock of the whole file.
func (osFS) Lock(name string) (io.Closer, error) {
	l := flock.New(name)
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if !ok {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	return l, nil
}

// osFile adds to *os.File what File has more.
type osFile struct{ *os.File }

// Size implements [File].
func (f *osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Sync implements [File].
func (f *osFile) Sync() error { return datasync(f.File) }

// Preallocate implements [File].
func (f *osFile) Preallocate(size int64) error { return preallocate(f.File, size) }

// Chtimes implements [File]. The time of the last access is left as it is.
func (f *osFile) Chtimes(mtime time.Time) error { return os.Chtimes(f.Name(), time.Time{}, mtime) }

// ModTime implements [File].
func (f *osFile) ModTime() (time.Time, error) {
	fi, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}
