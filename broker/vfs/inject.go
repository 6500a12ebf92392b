package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrPowerCut is what every operation reports once [PowerCut] has struck.
var ErrPowerCut = errors.New("power cut")

// Call describes an operation that is about to happen.
type Call struct {
	// Op is the kind of operation.
	Op Op
	// Path is the file or directory; of a rename the old name.
	Path string
	// NewPath is the new name of a rename.
	NewPath string
	// Offset is where OpRead and OpWrite start, or the size given to OpTruncate and OpPreallocate.
	Offset int64
	// Len is the number of bytes of OpRead and OpWrite.
	Len int
}

// Fault is what happens to an operation. The zero value is no fault.
type Fault struct {
	// Delay passes before the operation, in virtual time within a testing/synctest bubble.
	Delay time.Duration
	// Err, if not nil, is returned and the operation does not happen, except for Partial.
	Err error
	// Partial is the number of bytes that OpWrite stores before it returns Err: a short write.
	Partial int
}

// Injector decides about operations. It is called before each of them, from many goroutines.
type Injector interface {
	// Inject returns the fault for this operation.
	Inject(c Call) Fault
}

// InjectorFunc is a function that is an [Injector].
type InjectorFunc func(c Call) Fault

// Inject calls the function.
func (f InjectorFunc) Inject(c Call) Fault { return f(c) }

// Inject returns fsys with faults. Every operation asks all injectors in order: delays add up and the first error counts.
func Inject(fsys FS, injectors ...Injector) FS { return &faultyFS{fs: fsys, injectors: injectors} }

// Fail makes every operation fail with err.
func Fail(err error) Injector {
	return InjectorFunc(func(Call) Fault { return Fault{Err: err} })
}

// Short makes every write store only its first n bytes and fail with err.
func Short(n int, err error) Injector {
	return InjectorFunc(func(c Call) Fault {
		if c.Op != OpWrite {
			return Fault{}
		}
		return Fault{Err: err, Partial: min(n, c.Len)}
	})
}

// Latency delays every operation.
func Latency(d time.Duration) Injector {
	return InjectorFunc(func(Call) Fault { return Fault{Delay: d} })
}

// When lets inner decide about the operations that match, and no others.
func When(match func(Call) bool, inner Injector) Injector {
	return InjectorFunc(func(c Call) Fault {
		if !match(c) {
			return Fault{}
		}
		return inner.Inject(c)
	})
}

// OnOps lets inner decide about operations of these kinds.
func OnOps(inner Injector, ops ...Op) Injector {
	var set [opCount]bool
	for _, op := range ops {
		set[op] = true
	}
	return When(func(c Call) bool { return set[c.Op] }, inner)
}

// OnBase lets inner decide about files whose last path element matches a pattern of path/filepath.Match.
func OnBase(pattern string, inner Injector) Injector {
	return When(func(c Call) bool {
		ok, err := filepath.Match(pattern, filepath.Base(c.Path))
		return err == nil && ok
	}, inner)
}

// OnIndex lets inner decide about the n-th operation that reaches it (from 0), and no other. Put it inside OnOps or When to
// count only the operations that match.
func OnIndex(n int, inner Injector) Injector {
	var count atomic.Int64
	return InjectorFunc(func(c Call) Fault {
		if count.Add(1)-1 != int64(n) {
			return Fault{}
		}
		return inner.Inject(c)
	})
}

// Toggle is a fault that can be switched on and off while the system runs. The zero value is off and needs Inner.
type Toggle struct {
	// Inner decides while the switch is on. It must be set before the first use.
	Inner Injector
	on    atomic.Bool
}

// Set turns the fault on or off.
func (t *Toggle) Set(on bool) { t.on.Store(on) }

// Inject implements [Injector].
func (t *Toggle) Inject(c Call) Fault {
	if !t.on.Load() {
		return Fault{}
	}
	return t.Inner.Inject(c)
}

// Counter counts operations without disturbing them. The zero value is ready.
type Counter struct{ ops [opCount]atomic.Int64 }

// Inject implements [Injector].
func (k *Counter) Inject(c Call) Fault {
	k.ops[c.Op].Add(1)
	return Fault{}
}

// Count returns how many operations of a kind there were.
func (k *Counter) Count(op Op) int { return int(k.ops[op].Load()) }

// Mutations returns how many operations there were that change the disk, see [Op.Mutates].
func (k *Counter) Mutations() int {
	n := 0
	for op := range opCount {
		if op.Mutates() {
			n += k.Count(op)
		}
	}
	return n
}

// PowerCut lets n operations that change the disk happen and then fails everything with [ErrPowerCut], so that the disk
// below stays as it was at that moment: examine it with [Mem.CrashClone]. A test that wants a cut after every single
// write counts them once with a [Counter] and then loops n from 0.
func PowerCut(n int) Injector {
	var count atomic.Int64
	var off atomic.Bool
	return InjectorFunc(func(c Call) Fault {
		if c.Op.Mutates() && count.Add(1) > int64(n) {
			off.Store(true)
		}
		if off.Load() {
			return Fault{Err: ErrPowerCut}
		}
		return Fault{}
	})
}

// DiskFull makes writes fail with ENOSPC once budget bytes have been written; the write that exceeds it is short. Removing
// files gives nothing back.
func DiskFull(budget int64) Injector {
	var used atomic.Int64
	return InjectorFunc(func(c Call) Fault {
		if c.Op != OpWrite {
			return Fault{}
		}
		after := used.Add(int64(c.Len))
		if after <= budget {
			return Fault{}
		}
		return Fault{Err: syscall.ENOSPC, Partial: int(max(0, budget-(after-int64(c.Len))))}
	})
}

// faultyFS is an FS that asks injectors first.
type faultyFS struct {
	fs        FS
	injectors []Injector
}

// ask collects the faults for an operation and sits out the delay.
func (f *faultyFS) ask(c Call) (partial int, err error) {
	var delay time.Duration
	for _, in := range f.injectors {
		fault := in.Inject(c)
		delay += fault.Delay
		if err == nil && fault.Err != nil {
			partial, err = fault.Partial, &os.PathError{Op: c.Op.String(), Path: c.Path, Err: fault.Err}
		}
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	return partial, err
}

// Open implements [FS].
func (f *faultyFS) Open(name string) (File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile implements [FS].
func (f *faultyFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	op := OpOpen
	if flag&os.O_CREATE != 0 {
		op = OpCreate
	}
	if _, err := f.ask(Call{Op: op, Path: name}); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f}, nil
}

// Remove implements [FS].
func (f *faultyFS) Remove(name string) error {
	if _, err := f.ask(Call{Op: OpRemove, Path: name}); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

// RemoveAll implements [FS].
func (f *faultyFS) RemoveAll(name string) error {
	if _, err := f.ask(Call{Op: OpRemoveAll, Path: name}); err != nil {
		return err
	}
	return f.fs.RemoveAll(name)
}

// Rename implements [FS].
func (f *faultyFS) Rename(oldname, newname string) error {
	if _, err := f.ask(Call{Op: OpRename, Path: oldname, NewPath: newname}); err != nil {
		return err
	}
	return f.fs.Rename(oldname, newname)
}

// MkdirAll implements [FS].
func (f *faultyFS) MkdirAll(dir string, perm os.FileMode) error {
	if _, err := f.ask(Call{Op: OpMkdir, Path: dir}); err != nil {
		return err
	}
	return f.fs.MkdirAll(dir, perm)
}

// ReadDir implements [FS].
func (f *faultyFS) ReadDir(dir string) ([]os.DirEntry, error) {
	if _, err := f.ask(Call{Op: OpReadDir, Path: dir}); err != nil {
		return nil, err
	}
	return f.fs.ReadDir(dir)
}

// Stat implements [FS].
func (f *faultyFS) Stat(name string) (os.FileInfo, error) {
	if _, err := f.ask(Call{Op: OpStat, Path: name}); err != nil {
		return nil, err
	}
	return f.fs.Stat(name)
}

// SyncDir implements [FS].
func (f *faultyFS) SyncDir(dir string) error {
	if _, err := f.ask(Call{Op: OpSyncDir, Path: dir}); err != nil {
		return err
	}
	return f.fs.SyncDir(dir)
}

// Lock implements [FS].
func (f *faultyFS) Lock(name string) (io.Closer, error) {
	if _, err := f.ask(Call{Op: OpLock, Path: name}); err != nil {
		return nil, err
	}
	return f.fs.Lock(name)
}

// faultyFile is a File that asks injectors first. Name comes from the file within.
type faultyFile struct {
	File
	fs *faultyFS
}

// ReadAt implements [File].
func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.ask(Call{Op: OpRead, Path: f.Name(), Offset: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// WriteAt implements [File].
func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	partial, err := f.fs.ask(Call{Op: OpWrite, Path: f.Name(), Offset: off, Len: len(p)})
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	if partial <= 0 {
		return 0, err
	}
	n, werr := f.File.WriteAt(p[:min(partial, len(p))], off)
	return n, errors.Join(err, werr)
}

// Size implements [File].
func (f *faultyFile) Size() (int64, error) {
	if _, err := f.fs.ask(Call{Op: OpStat, Path: f.Name()}); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// Truncate implements [File].
func (f *faultyFile) Truncate(size int64) error {
	if _, err := f.fs.ask(Call{Op: OpTruncate, Path: f.Name(), Offset: size}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Sync implements [File].
func (f *faultyFile) Sync() error {
	if _, err := f.fs.ask(Call{Op: OpSync, Path: f.Name()}); err != nil {
		return err
	}
	return f.File.Sync()
}

// Preallocate implements [File].
func (f *faultyFile) Preallocate(size int64) error {
	if _, err := f.fs.ask(Call{Op: OpPreallocate, Path: f.Name(), Offset: size}); err != nil {
		return err
	}
	return f.File.Preallocate(size)
}

// Chtimes implements [File].
func (f *faultyFile) Chtimes(mtime time.Time) error {
	if _, err := f.fs.ask(Call{Op: OpChtimes, Path: f.Name()}); err != nil {
		return err
	}
	return f.File.Chtimes(mtime)
}

// ModTime implements [File].
func (f *faultyFile) ModTime() (time.Time, error) {
	if _, err := f.fs.ask(Call{Op: OpStat, Path: f.Name()}); err != nil {
		return time.Time{}, err
	}
	return f.File.ModTime()
}

// Close implements [File]. The file is closed even when a fault makes Close report an error.
func (f *faultyFile) Close() error {
	_, err := f.fs.ask(Call{Op: OpClose, Path: f.Name()})
	return errors.Join(err, f.File.Close())
}
