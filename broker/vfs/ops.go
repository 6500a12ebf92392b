package vfs

import "fmt"

// Op is a kind of operation on a file system or a file. It selects where a fault goes, see [Inject].
type Op uint8

// The kinds of operation, one for each method of [FS] and [File] that can fail.
const (
	// OpOpen is FS.Open, and FS.OpenFile without O_CREATE.
	OpOpen Op = iota
	// OpCreate is FS.OpenFile with O_CREATE, also of a file that exists.
	OpCreate
	// OpRemove is FS.Remove.
	OpRemove
	// OpRemoveAll is FS.RemoveAll.
	OpRemoveAll
	// OpRename is FS.Rename.
	OpRename
	// OpMkdir is FS.MkdirAll.
	OpMkdir
	// OpReadDir is FS.ReadDir.
	OpReadDir
	// OpStat is FS.Stat, File.Size and File.ModTime.
	OpStat
	// OpSyncDir is FS.SyncDir.
	OpSyncDir
	// OpLock is FS.Lock.
	OpLock
	// OpRead is File.ReadAt.
	OpRead
	// OpWrite is File.WriteAt.
	OpWrite
	// OpTruncate is File.Truncate.
	OpTruncate
	// OpSync is File.Sync.
	OpSync
	// OpPreallocate is File.Preallocate.
	OpPreallocate
	// OpChtimes is File.Chtimes.
	OpChtimes
	// OpClose is File.Close.
	OpClose

	opCount
)

// opNames are in the order of the constants.
var opNames = [opCount]string{
	"open", "create", "remove", "remove-all", "rename", "mkdir", "read-dir", "stat", "sync-dir", "lock", "read", "write",
	"truncate", "sync", "preallocate", "chtimes", "close",
}

// String returns a short lower-case name.
func (op Op) String() string {
	if op < opCount {
		return opNames[op]
	}
	return fmt.Sprintf("op(%d)", uint8(op))
}

// Mutates reports whether the operation can change what a power cut would leave on disk. Loops that cut the power "after
// every write" count these.
func (op Op) Mutates() bool {
	switch op {
	case OpCreate, OpRemove, OpRemoveAll, OpRename, OpMkdir, OpSyncDir, OpWrite, OpTruncate, OpSync, OpPreallocate, OpChtimes:
		return true
	default:
		return false
	}
}
