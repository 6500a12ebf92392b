package commitlog

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/broker/vfs"
)

// handle is a file that is opened at its first use, so that a broker with many old segments needs descriptors only for
// those that are read. It is safe for concurrent use. After close it stays closed.
//
// While nobody has called keep, the file may be closed at any time to make room for others (idleFiles), and is opened again at
// the next use. ReadAt and ModTime do not notice; whoever uses the file that get or open returns must keep the handle.
type handle struct {
	fs   vfs.FS
	path string
	idle *idleFiles
	file atomic.Pointer[vfs.File]
	used atomic.Bool // since the hand of idle came by

	turn      turn // guards opening, closing and what follows; the files of a segment share it
	closed    bool
	forbidden bool
	renamed   string // what the file is called now, if not path

	// Of idle, under its lock.
	prev, next *handle
	kept       int
}

func newHandle(fsys vfs.FS, idle *idleFiles, path string, opening turn) *handle {
	return &handle{fs: fsys, idle: idle, path: path, turn: opening}
}

// get returns the open file. The error is fs.ErrClosed after close.
func (h *handle) get() (vfs.File, error) {
	f, err := h.current()
	if err != nil {
		return nil, err
	}
	return *f, nil
}

func (h *handle) current() (*vfs.File, error) {
	if !h.used.Load() {
		h.used.Store(true)
	}
	if f := h.file.Load(); f != nil {
		return f, nil
	}
	return h.openFile(os.O_RDWR)
}

// open opens the file with more flags unless it is open already.
func (h *handle) open(flag int) (vfs.File, error) {
	f, err := h.openFile(flag)
	if err != nil {
		return nil, err
	}
	return *f, nil
}

func (h *handle) openFile(flag int) (*vfs.File, error) {
	h.turn.Lock()
	defer h.turn.Unlock()
	if f := h.file.Load(); f != nil {
		return f, nil
	}
	if h.closed || h.forbidden {
		return nil, &fs.PathError{Op: "open", Path: h.path, Err: fs.ErrClosed}
	}
	path := cmp.Or(h.renamed, h.path)
	f, err := h.fs.OpenFile(path, flag, filePerm)
	if scarce(err) && h.idle.shed() > 0 {
		f, err = h.fs.OpenFile(path, flag, filePerm)
	}
	if err != nil {
		return nil, err
	}
	h.idle.admit(h, &f)
	return &f, nil
}

// ReadAt implements io.ReaderAt.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	for {
		f, err := h.current()
		if err != nil {
			return 0, err
		}
		n, err := (*f).ReadAt(p, off)
		if !h.evicted(f, err) {
			return n, err
		}
	}
}

// ModTime returns the time of the last modification.
func (h *handle) ModTime() (time.Time, error) {
	for {
		f, err := h.current()
		if err != nil {
			return time.Time{}, err
		}
		t, err := (*f).ModTime()
		if !h.evicted(f, err) {
			return t, err
		}
	}
}

// sync makes the content durable.
func (h *handle) sync() error {
	f, err := h.get()
	if err != nil {
		return err
	}
	return f.Sync()
}

// evicted reports whether an error only says that the file was closed to make room.
func (h *handle) evicted(f *vfs.File, err error) bool {
	return err != nil && errors.Is(err, fs.ErrClosed) && h.file.Load() != f
}

// keep keeps the file open once it is, until free is called as often.
func (h *handle) keep() { h.idle.keep(h) }

// free ends what keep began.
func (h *handle) free() { h.idle.free(h) }

// forbid keeps the file from being opened, because its name is about to be another's. If it is open it stays so, as long as there
// is room, until close.
func (h *handle) forbid() {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.forbidden = true
}

// moved says that the file was renamed, and may be opened under its new name.
func (h *handle) moved(path string) {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.renamed, h.forbidden = path, false
}

// release closes the descriptor; the next use opens it again.
func (h *handle) release() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	return h.closeLocked()
}

// close closes the file for good.
func (h *handle) close() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.closed = true
	return h.closeLocked()
}

func (h *handle) closeLocked() error {
	f := h.idle.take(h)
	if f == nil {
		return nil
	}
	return (*f).Close()
}

// removeFile removes a file that may be gone already.
func removeFile(fsys vfs.FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
