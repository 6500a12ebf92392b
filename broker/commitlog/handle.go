package commitlog

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/ottla/ottla/broker/vfs"
)

// handle is a file that is opened at its first use, so that a broker with many old segments needs descriptors only for
// those that are read. It is safe for concurrent use. After close it stays closed.
type handle struct {
	fs   vfs.FS
	path string
	file atomic.Pointer[vfs.File]

	turn   turn // guards opening and closing; the files of a segment share it
	closed bool
}

func newHandle(fsys vfs.FS, path string, opening turn) *handle {
	return &handle{fs: fsys, path: path, turn: opening}
}

// get returns the open file. The error is fs.ErrClosed after close.
func (h *handle) get() (vfs.File, error) {
	if f := h.file.Load(); f != nil {
		return *f, nil
	}
	return h.open(os.O_RDWR)
}

// open opens the file with more flags unless it is open already.
func (h *handle) open(flag int) (vfs.File, error) {
	h.turn.Lock()
	defer h.turn.Unlock()
	if f := h.file.Load(); f != nil {
		return *f, nil
	}
	if h.closed {
		return nil, &fs.PathError{Op: "open", Path: h.path, Err: fs.ErrClosed}
	}
	f, err := h.fs.OpenFile(h.path, flag, filePerm)
	if err != nil {
		return nil, err
	}
	h.file.Store(&f)
	return f, nil
}

// forbid keeps the file from being opened, because its name is about to be another's. If it is open it stays so, until close.
func (h *handle) forbid() {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.closed = true
}

// release closes the descriptor; the next use opens it again.
func (h *handle) release() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	f := h.file.Swap(nil)
	if f == nil {
		return nil
	}
	return (*f).Close()
}

// close closes the file for good.
func (h *handle) close() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.closed = true
	f := h.file.Swap(nil)
	if f == nil {
		return nil
	}
	return (*f).Close()
}

// sync makes the content durable.
func (h *handle) sync() error {
	f, err := h.get()
	if err != nil {
		return err
	}
	return f.Sync()
}

// removeFile removes a file that may be gone already.
func removeFile(fsys vfs.FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
