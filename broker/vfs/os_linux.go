package vfs

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes content and size durable, and leaves times to the system's own pace.
func datasync(f *os.File) error {
	return control(f, "fdatasync", func(fd int) error { return unix.Fdatasync(fd) })
}

// preallocate reserves blocks beyond the end of the file. A file system that cannot is no error.
func preallocate(f *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	err := control(f, "fallocate", func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// control runs a system call on the file's descriptor, which cannot be closed meanwhile, again when a signal interrupts it.
func control(f *os.File, op string, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	var callErr error
	err = c.Control(func(fd uintptr) {
		for {
			if callErr = call(int(fd)); !errors.Is(callErr, unix.EINTR) {
				return
			}
		}
	})
	if err == nil {
		err = callErr
	}
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

// FileLimit returns how many files this process may have open, as the system has it now: on most systems the Go runtime raises
// it to what the administrator allows (ulimit -Hn). 0 when the system does not tell.
func FileLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}
