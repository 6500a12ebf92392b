package txlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/broker/vfs"
)

// tape is a Replayer whose state is the list of numbers that were appended. A transaction is 8 bytes: its zxid.
type tape struct{ got []int64 }

func (p *tape) Initial() []byte { return nil }

func (p *tape) Load(zxid int64, state []byte) error {
	if len(state)%8 != 0 {
		return errors.New("odd state")
	}
	p.got = nil
	for ; len(state) > 0; state = state[8:] {
		p.got = append(p.got, int64(binary.BigEndian.Uint64(state)))
	}
	if int64(len(p.got)) != zxid {
		return fmt.Errorf("%d numbers in the snapshot of %d", len(p.got), zxid)
	}
	return nil
}

func (p *tape) Replay(payload []byte) error {
	for ; len(payload) > 0; payload = payload[8:] {
		if len(payload) < 8 {
			return errors.New("odd payload")
		}
		p.got = append(p.got, int64(binary.BigEndian.Uint64(payload)))
	}
	return nil
}

func (p *tape) state() []byte {
	var out []byte
	for _, n := range p.got {
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	return out
}

// check fails unless the tape holds 1 to n.
func (p *tape) check(t *testing.T, n int64) {
	t.Helper()
	if int64(len(p.got)) != n {
		t.Fatalf("%d transactions recovered, %d wanted", len(p.got), n)
	}
	for i, got := range p.got {
		if got != int64(i+1) {
			t.Fatalf("transaction %d is %d", i+1, got)
		}
	}
}

const dir = "/data/embedded-1"

func openStore(t *testing.T, fs vfs.FS) (*Store, *tape, Report) {
	t.Helper()
	s, err := Open(Options{FS: fs, DataDir: "/data", Retain: 3})
	if err != nil {
		t.Fatal(err)
	}
	p := &tape{}
	rep, err := s.Recover(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, p, rep
}

func frame(first, last int64) []byte {
	buf := make([]byte, FrameHeaderSize)
	for z := first; z <= last; z++ {
		buf = binary.BigEndian.AppendUint64(buf, uint64(z))
	}
	return buf
}

func appendFrame(t *testing.T, s *Store, first, last int64) {
	t.Helper()
	if err := s.Append(frame(first, last), first, last); err != nil {
		t.Fatal(err)
	}
}

// written makes a disk with three segments: 1-4, 5-8 with a snapshot of 4, and 9-14 in frames of two with a snapshot
// of 8. It returns the disk and the places where the frames of the last segment begin.
func written(t *testing.T) (*vfs.Mem, []int64) {
	t.Helper()
	fs := vfs.NewMem()
	s, p, rep := openStore(t, fs)
	if !rep.Fresh {
		t.Fatal("a new directory is not fresh")
	}
	var starts []int64
	for z := int64(1); z <= 13; z += 2 {
		if z == 5 || z == 9 {
			if err := s.Roll(); err != nil {
				t.Fatal(err)
			}
			if err := s.WriteSnapshot(z-1, p.state()); err != nil {
				t.Fatal(err)
			}
			starts = nil
		}
		starts = append(starts, s.end)
		appendFrame(t, s, z, z+1)
		p.got = append(p.got, z, z+1)
	}
	starts = append(starts, s.end)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, starts
}

// edit changes a file of the disk.
func edit(t *testing.T, fs vfs.FS, name string, change func(p []byte) []byte) {
	t.Helper()
	p, err := vfs.ReadFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(fs, name, change(p), 0o644); err != nil {
		t.Fatal(err)
	}
}

func flip(at int64) func([]byte) []byte {
	return func(p []byte) []byte { p[at] ^= 0x10; return p }
}

func TestRecovery(t *testing.T) {
	lastSegment := segmentName(dir, 9)
	frameSize := int64(FrameHeaderSize + 16)
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, fs *vfs.Mem, starts []int64)
		want   int64 // transactions that must be there; 0 when recovery must refuse
	}{
		{"nothing", func(*testing.T, *vfs.Mem, []int64) {}, 14},
		{"the last frame cut in its payload", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return p[:st[3]-3] })
		}, 12},
		{"the last frame cut in its header", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return p[:st[2]+5] })
		}, 12},
		{"the last frame as zeros", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { clear(p[st[2]:]); return p })
		}, 12},
		{"zeros behind the last frame", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return append(p, make([]byte, 9000)...) })
		}, 14},
		{"rubbish behind the last frame", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return append(p, bytes.Repeat([]byte(frameMagic), 900)...) })
		}, 14},
		{"a copy of an old frame behind the last", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return append(append(p, "torn"...), p[st[0]:st[1]]...) })
		}, 14},
		{"a bit of the last frame's payload", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(st[3]-1)) }, 12},
		{"a bit of the last frame's length", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(st[2]+9)) }, 12},
		{"a bit of the frame before the last", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(st[1]+FrameHeaderSize)) }, 0},
		{"a bit of the first frame's header", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(st[0]+30)) }, 0},
		{"a frame missing in the middle", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte { return slices.Delete(p, int(st[1]), int(st[2])) })
		}, 0},
		{"the segment's header", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(20)) }, 0},
		{"a later version of the segment", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, lastSegment, flip(11)) }, 0},
		{"the last segment removed", func(t *testing.T, fs *vfs.Mem, st []int64) { _ = fs.Remove(lastSegment) }, 0},
		{"the first segments removed", func(t *testing.T, fs *vfs.Mem, st []int64) {
			_ = fs.Remove(segmentName(dir, 1))
			_ = fs.Remove(segmentName(dir, 5))
		}, 14},
		{"the newest snapshot", func(t *testing.T, fs *vfs.Mem, st []int64) { edit(t, fs, snapshotName(dir, 8), flip(60)) }, 14},
		{"the newest snapshot removed", func(t *testing.T, fs *vfs.Mem, st []int64) { _ = fs.Remove(snapshotName(dir, 8)) }, 14},
		{"all snapshots but the first", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, snapshotName(dir, 8), flip(60))
			edit(t, fs, snapshotName(dir, 4), func(p []byte) []byte { return p[:10] })
		}, 14},
		{"the newest snapshot, and the tail of the segment before it", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, snapshotName(dir, 8), flip(60))
			edit(t, fs, segmentName(dir, 5), func(p []byte) []byte { return p[:int64(len(p))-frameSize/2] })
		}, 0},
		{"the newest snapshot, and a segment behind the older one missing", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, snapshotName(dir, 8), flip(60))
			_ = fs.Remove(segmentName(dir, 5))
		}, 0},
		{"all snapshots removed", func(t *testing.T, fs *vfs.Mem, st []int64) {
			for _, z := range []int64{0, 4, 8} {
				_ = fs.Remove(snapshotName(dir, z))
			}
		}, 0},
		{"an unfinished snapshot", func(t *testing.T, fs *vfs.Mem, st []int64) {
			if err := vfs.WriteFileAtomic(fs, snapshotName(dir, 12)+".tmp", []byte("half"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, 14},
		{"a segment of another database", func(t *testing.T, fs *vfs.Mem, st []int64) {
			edit(t, fs, lastSegment, func(p []byte) []byte {
				var h segmentHeader
				if err := h.decode(p); err != nil {
					t.Fatal(err)
				}
				h.database++
				return append(h.encode(), p[segmentHeaderSize:]...)
			})
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs, starts := written(t)
			tt.damage(t, fs, starts)
			if tt.want == 0 {
				refuses(t, fs)
				return
			}
			s, p, _ := openStore(t, fs)
			p.check(t, tt.want)
			appendFrame(t, s, tt.want+1, tt.want+3)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, p, _ = openStore(t, fs.CrashClone(vfs.CrashOptions{}))
			p.check(t, tt.want+3)
		})
	}
}

// refuses checks that recovery fails with a place, and changes nothing on disk.
func refuses(t *testing.T, fs *vfs.Mem) {
	t.Helper()
	listing := func() map[string]string {
		out := map[string]string{}
		entries, err := fs.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p, err := vfs.ReadFile(fs, dir+"/"+e.Name())
			if err != nil {
				t.Fatal(err)
			}
			out[e.Name()] = string(p)
		}
		return out
	}
	before := listing()
	s, err := Open(Options{FS: fs, DataDir: "/data"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Recover(&tape{})
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.File == "" {
		t.Fatalf("recovery says %v", err)
	}
	after := listing()
	for name, p := range before {
		if after[name] != p {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestAnyTornTail cuts the last segment at every byte, and damages every byte of the last frame.
func TestAnyTornTail(t *testing.T) {
	fs, starts := written(t)
	whole, err := vfs.ReadFile(fs, segmentName(dir, 9))
	if err != nil {
		t.Fatal(err)
	}
	for n := starts[2]; n < starts[3]; n++ {
		for _, damage := range []func([]byte) []byte{
			func(p []byte) []byte { return p[:n] },
			func(p []byte) []byte { p[n] ^= 0x55; return p },
			func(p []byte) []byte { clear(p[n:]); return append(p, 1) },
		} {
			edit(t, fs, segmentName(dir, 9), func([]byte) []byte { return damage(bytes.Clone(whole)) })
			s, p, _ := openStore(t, fs)
			if got := int64(len(p.got)); got != 12 && got != 14 {
				t.Fatalf("damage at %d: %d transactions", n, got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPowerCuts cuts the power after every write of a history with rolls and snapshots.
func TestPowerCuts(t *testing.T) {
	run := func(fs vfs.FS) (acked int64) {
		s, err := Open(Options{FS: fs, DataDir: "/data", LogDir: "/log", Retain: 1})
		if err != nil {
			return 0
		}
		defer s.Close()
		p := &tape{}
		if _, err := s.Recover(p); err != nil {
			return 0
		}
		for z := int64(1); z <= 30; z += 3 {
			if s.Append(frame(z, z+2), z, z+2) != nil {
				return acked
			}
			acked = z + 2
			p.got = append(p.got, z, z+1, z+2)
			if z%2 == 0 && (s.Roll() != nil || s.WriteSnapshot(z+2, p.state()) != nil) {
				return acked
			}
		}
		_ = s.Seal()
		return acked
	}
	var counter vfs.Counter
	if got := run(vfs.Inject(vfs.NewMem(), &counter)); got != 30 {
		t.Fatalf("%d acknowledged without faults", got)
	}
	for n := range counter.Mutations() {
		mem := vfs.NewMem()
		acked := run(vfs.Inject(mem, vfs.PowerCut(n)))
		for seed, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll, vfs.KeepRandom, vfs.KeepRandom, vfs.KeepRandom} {
			clone := mem.CrashClone(vfs.CrashOptions{Seed: uint64(n*10 + seed), Data: keep, Names: keep})
			s, err := Open(Options{FS: clone, DataDir: "/data", LogDir: "/log"})
			if err != nil {
				t.Fatalf("cut %d, keep %d: %v", n, keep, err)
			}
			p := &tape{}
			if _, err := s.Recover(p); err != nil {
				t.Fatalf("cut %d, keep %d: %v", n, keep, err)
			}
			if got := int64(len(p.got)); got < acked || got > acked+3 {
				t.Fatalf("cut %d, keep %d: %d acknowledged, %d recovered", n, keep, acked, got)
			}
			p.check(t, int64(len(p.got)))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAFailedStoreStaysFailed(t *testing.T) {
	broken := errors.New("broken")
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		fault := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(broken), op)}
		s, _, _ := openStore(t, vfs.Inject(vfs.NewMem(), fault))
		appendFrame(t, s, 1, 1)
		fault.Set(true)
		if err := s.Append(frame(2, 2), 2, 2); !errors.Is(err, broken) {
			t.Fatalf("%v: %v", op, err)
		}
		fault.Set(false)
		if err := s.Append(frame(2, 2), 2, 2); !errors.Is(err, broken) {
			t.Errorf("%v: an append after a failed one: %v", op, err)
		}
		if err := s.Roll(); !errors.Is(err, broken) {
			t.Errorf("%v: a roll after a failed append: %v", op, err)
		}
	}
}

// FuzzSegment recovers from arbitrary bytes in the place of the last segment's frames: no panic, and whatever is
// accepted is consecutive.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(frameMagic))
	f.Add(frame(1, 3))
	f.Fuzz(func(t *testing.T, tail []byte) {
		fs := vfs.NewMem()
		s, _, _ := openStore(t, fs)
		appendFrame(t, s, 1, 2)
		end := s.end
		_ = s.Close()
		edit(t, fs, segmentName(dir, 1), func(p []byte) []byte { return append(p[:end:end], tail...) })
		s, err := Open(Options{FS: fs, DataDir: "/data"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		p := &tape{}
		if _, err := s.Recover(p); err == nil {
			p.check(t, int64(len(p.got)))
		}
	})
}

// FuzzSnapshot decodes arbitrary bytes as a snapshot.
func FuzzSnapshot(f *testing.F) {
	f.Add(encodeSnapshot(1, 2, []byte("state")))
	f.Fuzz(func(t *testing.T, p []byte) {
		database, state, err := decodeSnapshot(p, 2)
		if err == nil && !bytes.Equal(encodeSnapshot(database, 2, state), p) {
			t.Fatal("a snapshot that decodes is not what its content encodes to")
		}
	})
}
