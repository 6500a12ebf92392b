// Package vfs is the seam between Ottla and file systems. Everything that a broker keeps on disk goes through [FS], so
// that the same code runs on a real disk ([OS]), on a disk in memory that can lose power ([Mem]), and on either of them
// with faults woven in ([Inject]).
//
// # What a disk promises
//
// The contract is the weakest one that the usual Linux file systems give, and Mem enforces it:
//
//   - Bytes written to a file, and its new size, may be lost or arrive in part and in any order until [File.Sync] has
//     returned nil. After an error of Sync nobody knows what is on disk, and a second Sync that succeeds proves nothing.
//   - A name that was created, renamed or removed may be found in its old or its new place until [FS.SyncDir] of the
//     directory has returned nil. Syncing the file does not make its name durable.
//   - A rename is atomic: after a power cut the file is under one of the two names and never under neither.
//   - Reads see what was written before, whether it was synced or not, until the power goes.
//
// All implementations are safe for concurrent use by several goroutines, and so are the files they hand out.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrLocked is what [FS.Lock] reports when the lock is held by another process, or by another holder in this one.
var ErrLocked = errors.New("already locked")

// FS is a file system. Names are paths in the form of the operating system; errors satisfy errors.Is with fs.ErrNotExist,
// fs.ErrExist and so on.
type FS interface {
	// Open opens an existing file for reading only.
	Open(name string) (File, error)
	// OpenFile opens a file with the flags of package os: O_RDONLY or O_RDWR, and O_CREATE, O_EXCL, O_TRUNC. O_APPEND is
	// not supported because files are written at offsets. The created name is durable after SyncDir of its directory.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	// Remove removes a file or an empty directory; durable after SyncDir of its directory.
	Remove(name string) error
	// RemoveAll removes name and everything below it. It is not atomic. A name that does not exist is not an error.
	RemoveAll(name string) error
	// Rename moves a file or directory, replacing a file that has the new name. It is atomic, and durable after SyncDir of
	// the new directory (and of the old one, if they differ).
	Rename(oldname, newname string) error
	// MkdirAll creates a directory and the missing ones above it. A directory that exists is not an error. Each new name is
	// durable after SyncDir of the directory that contains it.
	MkdirAll(dir string, perm os.FileMode) error
	// ReadDir lists a directory sorted by name.
	ReadDir(dir string) ([]os.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (os.FileInfo, error)
	// SyncDir makes the creations, renames and removals in dir durable.
	SyncDir(dir string) error
	// Lock takes an exclusive advisory lock on a file, which it creates if needed, without waiting. A lock that is held
	// elsewhere is reported as an error that is ErrLocked. Closing the result releases it; so does the end of the process.
	Lock(name string) (io.Closer, error)
}

// File is an open file, read and written at offsets. It is safe for concurrent use; overlapping writes must be ordered by
// the caller.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Name returns the name that the file was opened by.
	Name() string
	// Size returns the current size in bytes.
	Size() (int64, error)
	// Truncate sets the size. Bytes gained read as zeros; blocks beyond the new size, also reserved ones, are released.
	Truncate(size int64) error
	// Sync makes content and size durable. It does not make the name durable, see FS.SyncDir. After an error the file must
	// not be trusted and Sync must not be tried again.
	Sync() error
	// Preallocate reserves blocks for the first size bytes without changing Size, where the system can, so that later writes
	// need no allocation and do not run out of space. Elsewhere it does nothing.
	Preallocate(size int64) error
	// Chtimes sets the time of the last modification.
	Chtimes(mtime time.Time) error
	// ModTime returns the time of the last modification.
	ModTime() (time.Time, error)
}

// ReadFile returns the whole content of a file.
func ReadFile(fsys FS, name string) (data []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	data = make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data[:n], nil
}

// WriteFileAtomic replaces the content of a file so that a power cut leaves either the old content or the new one, and
// the new one once it has returned nil: it writes <name>.tmp, syncs it, renames it to name and syncs the directory. After
// an error the .tmp file may remain; the next call overwrites it. Concurrent calls for one name must be ordered by the
// caller.
func WriteFileAtomic(fsys FS, name string, data []byte, perm os.FileMode) error {
	tmp := name + ".tmp"
	if err := writeSynced(fsys, tmp, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

// writeSynced writes a new file with durable content.
func writeSynced(fsys FS, name string, data []byte, perm os.FileMode) (err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}
