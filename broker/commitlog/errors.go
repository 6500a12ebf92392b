package commitlog

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ottla/ottla/proto/kerr"
)

// StorageError says that a log cannot be written or read because of its disk. It is KAFKA_STORAGE_ERROR for errors.Is and
// kerr.CodeOf.
type StorageError struct {
	// Dir is the directory: the log's, or the log directory's.
	Dir string
	// Op says what was being done.
	Op string
	// Err is the cause.
	Err error
}

// Error names operation, directory and cause.
func (e *StorageError) Error() string { return fmt.Sprintf("%s in %s: %v", e.Op, e.Dir, e.Err) }

// Unwrap returns the code and the cause.
func (e *StorageError) Unwrap() []error { return []error{kerr.KafkaStorageError, e.Err} }

// CorruptionError says that a file holds bytes that cannot be what was written. It is CORRUPT_MESSAGE for errors.Is and
// kerr.CodeOf.
type CorruptionError struct {
	// File is the path of the damaged file.
	File string
	// Position is the offset in bytes at which the damage was found.
	Position int64
	// Reason says what is wrong, with the numbers that disagree.
	Reason string
}

// Error names file, position and reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s: corrupt at byte %d: %s", e.File, e.Position, e.Reason)
}

// Unwrap returns the code.
func (e *CorruptionError) Unwrap() error { return kerr.CorruptMessage }

// ErrBusy says that something was not done because it would have had to wait for a disk.
var ErrBusy = errors.New("the log waits for its disk")

// errClosed is the cause of errors after Close or Delete.
var errClosed = errors.New("the log is closed")

// errNoSpace marks an append that was refused before anything was written, because the disk has no room for it.
var errNoSpace = errors.New("no space left for the append")

// scarce reports whether err says that the process has run out of file descriptors, which is no fault of a disk.
func scarce(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }
