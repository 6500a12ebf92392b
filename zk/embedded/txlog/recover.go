package txlog

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/ottla/ottla/broker/vfs"
)

// Replayer is what recovery feeds.
type Replayer interface {
	// Initial returns the state of an empty server, before the first transaction.
	Initial() []byte
	// Load replaces the state by a snapshot. After an error the next older snapshot is tried.
	Load(zxid int64, state []byte) error
	// Replay applies the transactions of one frame; those that the state has already must be passed over. The payload is
	// reused after the call.
	Replay(payload []byte) error
}

// Report is what recovery has to tell.
type Report struct {
	Fresh     bool     // the directory was empty
	Snapshot  int64    // zxid of the snapshot that was loaded
	Frames    int      // frames replayed
	Last      int64    // zxid of the last transaction
	Truncated int64    // bytes of a torn tail that were cut
	Notes     []string // damage that did no harm
}

// Recover brings the state back: the newest sound snapshot, then every frame behind it. Afterwards the store is ready
// for Append. Damage that could hide an acknowledged transaction is an error, a *CorruptError where it has a place, and
// nothing is changed on disk.
func (s *Store) Recover(r Replayer) (Report, error) {
	snaps, err := s.list(s.snapDir, "snapshot.")
	if err != nil {
		return Report{}, err
	}
	segs, err := s.list(s.logDir, "log.")
	if err != nil {
		return Report{}, err
	}
	if len(snaps) == 0 {
		if err := s.checkUnborn(segs); err != nil {
			return Report{}, err
		}
		return s.initialise(r)
	}
	var rep Report
	var firstErr error
	for _, zxid := range slices.Backward(snaps) {
		if err := s.loadSnapshot(zxid, r); err != nil {
			rep.Notes = append(rep.Notes, err.Error())
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		rep.Snapshot, rep.Last = zxid, zxid
		if err := s.replayFrom(segs, r, &rep); err != nil {
			return rep, errors.Join(err, firstErr)
		}
		return rep, nil
	}
	return rep, fmt.Errorf("no snapshot can be read: %w", firstErr)
}

// checkUnborn accepts what an initialisation that was cut short leaves: nothing, or the empty first segment.
func (s *Store) checkUnborn(segs []int64) error {
	if len(segs) == 0 {
		return nil
	}
	info, err := s.o.FS.Stat(segmentName(s.logDir, segs[0]))
	if err != nil {
		return fmt.Errorf("look at segment: %w", err)
	}
	if len(segs) == 1 && segs[0] == 1 && info.Size() == segmentHeaderSize {
		return nil
	}
	return &CorruptError{File: segmentName(s.logDir, segs[0]), Reason: "there are transactions but no snapshot for them to begin with"}
}

// initialise writes the first segment, then the first snapshot: a cut in between leaves what checkUnborn accepts.
func (s *Store) initialise(r Replayer) (Report, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return Report{}, fmt.Errorf("draw a database id: %w", err)
	}
	s.database = int64(binary.BigEndian.Uint64(id[:]))
	if err := s.createSegment(1); err != nil {
		return Report{}, err
	}
	state := r.Initial()
	if err := s.WriteSnapshot(0, state); err != nil {
		return Report{}, err
	}
	if err := r.Load(0, state); err != nil {
		return Report{}, fmt.Errorf("load the initial state: %w", err)
	}
	return Report{Fresh: true}, nil
}

func (s *Store) loadSnapshot(zxid int64, r Replayer) error {
	name := snapshotName(s.snapDir, zxid)
	data, err := vfs.ReadFile(s.o.FS, name)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	database, state, err := decodeSnapshot(data, zxid)
	if err != nil {
		return &CorruptError{File: name, Reason: err.Error()}
	}
	if err := r.Load(zxid, state); err != nil {
		return &CorruptError{File: name, Reason: err.Error()}
	}
	s.database = database
	return nil
}

// replayFrom feeds the segments from the one behind the snapshot on, and opens the last one.
func (s *Store) replayFrom(segs []int64, r Replayer, rep *Report) error {
	at := slices.Index(segs, rep.Snapshot+1)
	if at < 0 {
		return &CorruptError{
			File: segmentName(s.logDir, rep.Snapshot+1), Reason: "the segment that follows the snapshot is missing",
		}
	}
	for i, first := range segs[at:] {
		name := segmentName(s.logDir, first)
		if first != rep.Last+1 {
			return &CorruptError{File: name, Reason: fmt.Sprintf("zxids 0x%x to 0x%x are missing before it", rep.Last+1, first-1)}
		}
		last := at+i == len(segs)-1
		if err := s.replaySegment(name, first, last, r, rep); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) replaySegment(name string, first int64, lastSegment bool, r Replayer, rep *Report) (err error) {
	f, err := s.o.FS.Open(name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("size of segment: %w", err)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 256<<10)
	var h segmentHeader
	head := make([]byte, min(size, segmentHeaderSize))
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("read segment %s: %w", name, err)
	}
	if err := h.decode(head); err != nil {
		return &CorruptError{File: name, Reason: err.Error()}
	}
	if h.first != first || h.database != s.database {
		return &CorruptError{File: name, Reason: fmt.Sprintf(
			"it begins with zxid 0x%x of database %x, wanted 0x%x of %x", h.first, h.database, first, s.database)}
	}
	end, err := replayFrames(in, &h, name, size, r, rep)
	if err != nil {
		return err
	}
	if end < size {
		if !lastSegment {
			return &CorruptError{File: name, Offset: end, Reason: "a frame is damaged, and this is not the last segment"}
		}
		if err := checkTail(f, &h, end, size, rep.Last+1); err != nil {
			return err
		}
	}
	if !lastSegment {
		return nil
	}
	if err := s.openSegment(name, h, end, rep.Last+1); err != nil {
		return err
	}
	return s.cutTail(size, rep)
}

// replayFrames feeds frames until the end of the segment or the first that is not whole, and returns its offset.
func replayFrames(in *bufio.Reader, h *segmentHeader, name string, size int64, r Replayer, rep *Report) (int64, error) {
	end := int64(segmentHeaderSize)
	var payload []byte
	for {
		head, err := in.Peek(FrameHeaderSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read segment %s: %w", name, err)
		}
		var fh frameHeader
		if !fh.decode(head, h.salt) || int64(fh.length) > size-end-FrameHeaderSize {
			return end, nil
		}
		if fh.first != rep.Last+1 || fh.last < fh.first-1 {
			return 0, &CorruptError{File: name, Offset: end, Reason: fmt.Sprintf(
				"a frame of zxids 0x%x to 0x%x follows 0x%x", fh.first, fh.last, rep.Last)}
		}
		if _, err := in.Discard(FrameHeaderSize); err != nil {
			return 0, fmt.Errorf("read segment %s: %w", name, err)
		}
		payload = slices.Grow(payload[:0], int(fh.length))[:fh.length]
		if _, err := io.ReadFull(in, payload); err != nil {
			return 0, fmt.Errorf("read segment %s: %w", name, err)
		}
		if crc32.Update(h.salt, castagnoli, payload) != fh.payloadCRC {
			return end, nil
		}
		if err := r.Replay(payload); err != nil {
			return 0, &CorruptError{File: name, Offset: end, Reason: err.Error()}
		}
		end += FrameHeaderSize + int64(fh.length)
		rep.Last = fh.last
		rep.Frames++
	}
}

// checkTail looks behind a damaged frame for a whole one that proves the damage to be older than a power cut could
// have made it: one that was written after the damaged one had been synced.
func checkTail(f vfs.File, h *segmentHeader, end, size, next int64) error {
	tail := make([]byte, size-end)
	if _, err := f.ReadAt(tail, end); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the tail of %s: %w", f.Name(), err)
	}
	for at := 1; ; at++ {
		i := bytes.Index(tail[min(at, len(tail)):], []byte(frameMagic))
		if i < 0 {
			return nil
		}
		at += i
		var fh frameHeader
		if !fh.decode(tail[at:], h.salt) || int(fh.length) > len(tail)-at-FrameHeaderSize || fh.first < next {
			continue
		}
		payload := tail[at+FrameHeaderSize:][:fh.length]
		if fh.flags&flagSynced != 0 && crc32.Update(h.salt, castagnoli, payload) == fh.payloadCRC {
			return &CorruptError{File: f.Name(), Offset: end, Reason: fmt.Sprintf(
				"a frame is damaged, but a later one at byte %d is whole", end+int64(at))}
		}
	}
}

// cutTail removes a torn frame from the open segment, and makes durable what was read from it: a frame may be whole and
// yet never have been synced, and nobody may be shown what a power cut can still take away.
func (s *Store) cutTail(size int64, rep *Report) error {
	if s.end != size {
		rep.Truncated = size - s.end
		if err := s.file.Truncate(s.end); err != nil {
			return s.fail("truncate", err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return s.fail("sync", err)
	}
	return nil
}
