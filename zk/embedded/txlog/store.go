package txlog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ottla/ottla/broker/vfs"
)

// Options say where and how a Store keeps its files.
type Options struct {
	FS      vfs.FS // the file system of both directories
	DataDir string // snapshots
	LogDir  string // segments; "" means DataDir
	NoSync  bool   // never sync frames: a power cut may lose acknowledged transactions
	Retain  int    // snapshots to keep when a new one is written; below 1 keeps all
}

// Store is the files of one server. Append, Roll and Seal belong to one goroutine; WriteSnapshot and Sizes may run
// beside them. After the first error of Append or Roll the store is dead and every later call returns that error.
type Store struct {
	o        Options
	snapDir  string
	logDir   string
	locks    []io.Closer
	database int64

	// The open segment; owned by the goroutine that appends.
	file   vfs.File
	header segmentHeader
	end    int64 // where the next frame goes
	next   int64 // zxid that the next frame must begin with
	synced bool  // everything before end was synced
	failed error

	purge sync.Mutex // one WriteSnapshot at a time
}

// ErrForeignData is returned by Open when the data directory holds files of Apache ZooKeeper, which are not read: a
// server that started empty beside them would look as if everything were lost.
var ErrForeignData = errors.New("the directory holds data of Apache ZooKeeper, which this server cannot read")

// Open makes and locks the directories. A directory that another server uses is an error that is vfs.ErrLocked. Recover
// must come next.
func Open(o Options) (*Store, error) {
	if o.LogDir == "" {
		o.LogDir = o.DataDir
	}
	s := &Store{o: o, snapDir: filepath.Join(o.DataDir, subdir), logDir: filepath.Join(o.LogDir, subdir)}
	for _, dir := range s.dirs() {
		if err := s.prepare(dir); err != nil {
			s.unlock()
			return nil, err
		}
	}
	return s, nil
}

// dirs returns the one or two directories in use.
func (s *Store) dirs() []string {
	if s.snapDir == s.logDir {
		return []string{s.snapDir}
	}
	return []string{s.snapDir, s.logDir}
}

func (s *Store) prepare(dir string) error {
	if err := refuseForeign(s.o.FS, dir); err != nil {
		return err
	}
	if err := makeDurableDir(s.o.FS, dir); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	lock, err := s.o.FS.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("lock directory %s: %w", dir, err)
	}
	s.locks = append(s.locks, lock)
	entries, err := s.o.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			if err := s.o.FS.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove unfinished file: %w", err)
			}
		}
	}
	return nil
}

// refuseForeign reports Apache's files beside a directory of ours that does not exist yet.
func refuseForeign(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil {
		return nil
	}
	theirs := filepath.Join(filepath.Dir(dir), "version-2")
	entries, err := fsys.ReadDir(theirs)
	if err != nil {
		return nil // there is no such directory
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "log.") || strings.HasPrefix(e.Name(), "snapshot.") {
			return fmt.Errorf("%s: %w", theirs, ErrForeignData)
		}
	}
	return nil
}

// makeDurableDir creates dir and the missing directories above it, and syncs each directory that got a new name.
func makeDurableDir(fsys vfs.FS, dir string) error {
	var changed []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := fsys.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(d) == d {
			break
		}
		changed = append(changed, filepath.Dir(d))
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range changed {
		if err := fsys.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// Append writes one frame and syncs it. buf is FrameHeaderSize bytes of room, which are overwritten, and the encoded
// transactions first to last. When Append returns nil they are durable (unless NoSync).
func (s *Store) Append(buf []byte, first, last int64) error {
	if s.failed != nil {
		return s.failed
	}
	if first != s.next || last < first-1 {
		panic(fmt.Sprintf("txlog: frame 0x%x..0x%x, the next zxid is 0x%x", first, last, s.next))
	}
	payload := buf[FrameHeaderSize:]
	if len(payload) > math.MaxInt32 {
		panic(fmt.Sprintf("txlog: frame of %d bytes", len(payload)))
	}
	h := frameHeader{
		length: uint32(len(payload)), first: first, last: last,
		payloadCRC: crc32.Update(s.header.salt, castagnoli, payload),
	}
	if s.synced {
		h.flags |= flagSynced
	}
	h.encode(buf, s.header.salt)
	if _, err := s.file.WriteAt(buf, s.end); err != nil {
		return s.fail("write", err)
	}
	if s.synced = !s.o.NoSync; s.synced {
		if err := s.file.Sync(); err != nil {
			return s.fail("sync", err)
		}
	}
	s.end += int64(len(buf))
	s.next = last + 1
	return nil
}

func (s *Store) fail(what string, err error) error {
	s.failed = fmt.Errorf("%s %s at byte %d: %w", what, s.file.Name(), s.end, err)
	return s.failed
}

// Seal writes the mark of a clean stop.
func (s *Store) Seal() error {
	return s.Append(make([]byte, FrameHeaderSize), s.next, s.next-1)
}

// Roll ends the open segment and begins a new one, which a snapshot of the state at this point needs.
func (s *Store) Roll() error {
	if s.failed != nil {
		return s.failed
	}
	if s.header.first == s.next {
		return nil // nothing in it yet
	}
	if err := s.file.Sync(); err != nil {
		return s.fail("sync", err)
	}
	if err := s.file.Close(); err != nil {
		return s.fail("close", err)
	}
	if err := s.createSegment(s.next); err != nil {
		s.failed = err
	}
	return s.failed
}

// createSegment makes the segment that begins with zxid first and opens it.
func (s *Store) createSegment(first int64) error {
	var salt [4]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return fmt.Errorf("draw a salt: %w", err)
	}
	h := segmentHeader{database: s.database, first: first, salt: binary.BigEndian.Uint32(salt[:])}
	name := segmentName(s.logDir, first)
	if err := vfs.WriteFileAtomic(s.o.FS, name, h.encode(), 0o644); err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	return s.openSegment(name, h, segmentHeaderSize, first)
}

func (s *Store) openSegment(name string, h segmentHeader, end, next int64) error {
	f, err := s.o.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s.file, s.header, s.end, s.next, s.synced = f, h, end, next, true
	return nil
}

// WriteSnapshot writes the state after zxid, for which the segment zxid+1 must exist already (see Roll), and removes
// what it makes superfluous. It may run beside Append.
func (s *Store) WriteSnapshot(zxid int64, state []byte) error {
	s.purge.Lock() // held over IO: it keeps two snapshots from being written at a time
	defer s.purge.Unlock()
	if err := vfs.WriteFileAtomic(s.o.FS, snapshotName(s.snapDir, zxid), encodeSnapshot(s.database, zxid, state), 0o644); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return s.removeOld()
}

// removeOld keeps the newest snapshots, and the segments that begin with the oldest of them.
func (s *Store) removeOld() error {
	if s.o.Retain < 1 {
		return nil
	}
	snaps, err := s.list(s.snapDir, "snapshot.")
	if err != nil {
		return err
	}
	if len(snaps) <= s.o.Retain {
		return nil
	}
	oldest := snaps[len(snaps)-s.o.Retain]
	for _, z := range snaps[:len(snaps)-s.o.Retain] {
		if err := s.o.FS.Remove(snapshotName(s.snapDir, z)); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	segs, err := s.list(s.logDir, "log.")
	if err != nil {
		return err
	}
	for _, first := range segs {
		if first > oldest {
			break
		}
		if err := s.o.FS.Remove(segmentName(s.logDir, first)); err != nil {
			return fmt.Errorf("remove old segment: %w", err)
		}
	}
	for _, dir := range s.dirs() {
		if err := s.o.FS.SyncDir(dir); err != nil {
			return fmt.Errorf("sync directory %s: %w", dir, err)
		}
	}
	return nil
}

// list returns the zxids of the files with a prefix, ascending.
func (s *Store) list(dir, prefix string) ([]int64, error) {
	entries, err := s.o.FS.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var out []int64
	for _, e := range entries { // sorted by name, hence by zxid
		if z, ok := parseName(e.Name(), prefix); ok {
			out = append(out, z)
		}
	}
	return out, nil
}

// Sizes returns the bytes of all snapshots and of all segments.
func (s *Store) Sizes() (snapshots, segments int64) {
	sum := func(dir, prefix string) (n int64) {
		entries, err := s.o.FS.ReadDir(dir)
		if err != nil {
			return 0
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) {
				n += info.Size()
			}
		}
		return n
	}
	return sum(s.snapDir, "snapshot."), sum(s.logDir, "log.")
}

// Close releases the files and the locks. It does not sync.
func (s *Store) Close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	if s.failed == nil {
		s.failed = errors.New("the log is closed")
	}
	return errors.Join(err, s.unlock())
}

func (s *Store) unlock() error {
	var errs []error
	for _, l := range s.locks {
		errs = append(errs, l.Close())
	}
	s.locks = nil
	return errors.Join(errs...)
}
