package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/broker/vfs"
)

// onEach runs a test on the real file system and on the one in memory; dir is an empty directory.
func onEach(t *testing.T, test func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, vfs.OS, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) { test(t, newMem(t, "/disk"), "/disk") })
	t.Run("Inject", func(t *testing.T) { test(t, vfs.Inject(newMem(t, "/disk")), "/disk") })
}

func newMem(t *testing.T, dir string) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	must(t, m.MkdirAll(dir, 0o755))
	must(t, m.SyncDir("/"))
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	return f
}

func content(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "<none>"
	}
	must(t, err)
	return string(data)
}

func names(t *testing.T, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestFilesReadWhatWasWritten(t *testing.T) {
	onEach(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		_, err := f.WriteAt([]byte("world"), 10000)
		must(t, err)
		if size, err := f.Size(); err != nil || size != 10005 {
			t.Errorf("Size = %d, %v; want 10005", size, err)
		}
		want := append(append([]byte("hello"), make([]byte, 9995)...), "world"...)
		if got := content(t, fsys, name); got != string(want) {
			t.Errorf("content differs: %d bytes, want %d", len(got), len(want))
		}
		p := make([]byte, 10)
		if n, err := f.ReadAt(p, 10000); n != 5 || err != io.EOF {
			t.Errorf("ReadAt at the end = %d, %v; want 5, EOF", n, err)
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(6))
		if got := content(t, fsys, name); got != "hel\x00\x00\x00" {
			t.Errorf("after truncations content = %q", got)
		}
		must(t, f.Preallocate(1<<20))
		if size, err := f.Size(); err != nil || size != 6 {
			t.Errorf("Size after Preallocate = %d, %v; want 6", size, err)
		}
		stamp := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		must(t, f.Chtimes(stamp))
		if got, err := f.ModTime(); err != nil || !got.Equal(stamp) {
			t.Errorf("ModTime = %v, %v; want %v", got, err, stamp)
		}
		must(t, f.Sync())
		must(t, f.Close())
		if _, err := f.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("ReadAt after Close: %v, want ErrClosed", err)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Close: %v, want ErrClosed", err)
		}
		if f.Name() != name {
			t.Errorf("Name = %q, want %q", f.Name(), name)
		}
	})
}

func TestOpenFlags(t *testing.T) {
	onEach(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of nothing: %v, want ErrNotExist", err)
		}
		if _, err := fsys.OpenFile(filepath.Join(dir, "no", "f"), os.O_RDWR|os.O_CREATE, 0o644); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("create below nothing: %v, want ErrNotExist", err)
		}
		must(t, create(t, fsys, name, "old").Close())
		if _, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("exclusive create of what is there: %v, want ErrExist", err)
		}
		f, err := fsys.Open(name)
		must(t, err)
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("a file opened for reading took a write")
		}
		must(t, f.Close())
		f, err = fsys.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0)
		must(t, err)
		if size, err := f.Size(); err != nil || size != 0 {
			t.Errorf("Size after O_TRUNC = %d, %v; want 0", size, err)
		}
		must(t, f.Close())
	})
}

func TestNames(t *testing.T) {
	onEach(t, func(t *testing.T, fsys vfs.FS, dir string) {
		sub := filepath.Join(dir, "a", "b")
		must(t, fsys.MkdirAll(sub, 0o755))
		must(t, fsys.MkdirAll(sub, 0o755))
		must(t, create(t, fsys, filepath.Join(sub, "2"), "two").Close())
		must(t, create(t, fsys, filepath.Join(sub, "1"), "one").Close())
		if diff := cmp.Diff([]string{"1", "2"}, names(t, fsys, sub)); diff != "" {
			t.Errorf("ReadDir (-want +got):\n%s", diff)
		}
		must(t, fsys.Rename(filepath.Join(sub, "1"), filepath.Join(sub, "2")))
		if got := content(t, fsys, filepath.Join(sub, "2")); got != "one" {
			t.Errorf("after a rename over it the file holds %q", got)
		}
		if err := fsys.Rename(filepath.Join(sub, "1"), filepath.Join(sub, "3")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rename of nothing: %v, want ErrNotExist", err)
		}
		if err := fsys.Remove(sub); err == nil {
			t.Error("Remove took a directory with a file in it")
		}
		fi, err := fsys.Stat(sub)
		if err != nil || !fi.IsDir() || fi.Name() != "b" {
			t.Errorf("Stat of a directory: %v, %v", fi, err)
		}
		must(t, fsys.SyncDir(sub))
		must(t, fsys.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")))
		if got := content(t, fsys, filepath.Join(dir, "c", "b", "2")); got != "one" {
			t.Errorf("file in a renamed directory holds %q", got)
		}
		must(t, fsys.RemoveAll(filepath.Join(dir, "c")))
		must(t, fsys.RemoveAll(filepath.Join(dir, "c")))
		if _, err := fsys.Stat(filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat after RemoveAll: %v, want ErrNotExist", err)
		}
		if err := fsys.Remove(filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Remove of nothing: %v, want ErrNotExist", err)
		}
		must(t, vfs.WriteFileAtomic(fsys, filepath.Join(dir, "w"), []byte("first, longer"), 0o644))
		must(t, vfs.WriteFileAtomic(fsys, filepath.Join(dir, "w"), []byte("second"), 0o644))
		if got := content(t, fsys, filepath.Join(dir, "w")); got != "second" {
			t.Errorf("WriteFileAtomic left %q", got)
		}
		if diff := cmp.Diff([]string{"w"}, names(t, fsys, dir)); diff != "" {
			t.Errorf("names in the end (-want +got):\n%s", diff)
		}
	})
}

func TestLockIsExclusive(t *testing.T) {
	onEach(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, ".lock")
		l, err := fsys.Lock(name)
		must(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("second Lock: %v, want ErrLocked", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
	})
}

func TestAnOpenFileOutlivesItsName(t *testing.T) {
	onEach(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "still here")
		must(t, fsys.Remove(filepath.Join(dir, "f")))
		p := make([]byte, 10)
		if _, err := f.ReadAt(p, 0); err != nil || string(p) != "still here" {
			t.Errorf("read of a removed file: %q, %v", p, err)
		}
		must(t, f.Close())
	})
}

func TestPowerCutLosesWhatWasNotSynced(t *testing.T) {
	m := newMem(t, "/d")
	synced := create(t, m, "/d/synced", "old")
	must(t, synced.Sync())
	must(t, m.SyncDir("/d"))
	_, err := synced.WriteAt([]byte("NEW!"), 0)
	must(t, err)
	nameless := create(t, m, "/d/nameless", "synced, but its name is not")
	must(t, nameless.Sync())

	none := m.CrashClone(vfs.CrashOptions{})
	if diff := cmp.Diff([]string{"synced"}, names(t, none, "/d")); diff != "" {
		t.Errorf("names after losing everything unsynced (-want +got):\n%s", diff)
	}
	if got := content(t, none, "/d/synced"); got != "old" {
		t.Errorf("unsynced content survived as %q", got)
	}
	all := m.CrashClone(vfs.CrashOptions{Data: vfs.KeepAll, Names: vfs.KeepAll})
	if got := content(t, all, "/d/synced"); got != "NEW!" {
		t.Errorf("content written back is %q", got)
	}
	if got := content(t, all, "/d/nameless"); got != "synced, but its name is not" {
		t.Errorf("file whose name was written back holds %q", got)
	}
	// The original goes on, and what it does later is not on the clones.
	must(t, synced.Truncate(0))
	must(t, synced.Sync())
	if got := content(t, all, "/d/synced"); got != "NEW!" {
		t.Errorf("clone changed to %q with its original", got)
	}
	if got := content(t, m, "/d/synced"); got != "" {
		t.Errorf("original holds %q", got)
	}
}

func TestPowerCutKeepsRenamesAtomic(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		m := newMem(t, "/d")
		must(t, vfs.WriteFileAtomic(m, "/d/f", []byte("old"), 0o644))
		f := create(t, m, "/d/f.tmp", "new")
		must(t, f.Sync())
		must(t, m.Rename("/d/f.tmp", "/d/f"))
		c := m.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
		got := content(t, c, "/d/f")
		seen[got] = true
		if got != "old" && got != "new" {
			t.Fatalf("seed %d: a synced file renamed over another left %q", seed, got)
		}
	}
	if !seen["old"] || !seen["new"] {
		t.Errorf("outcomes %v, want old and new", seen)
	}
}

func TestPowerCutTearsWrites(t *testing.T) {
	outcomes := map[string]int{}
	const size = 3 * 4096
	for seed := range uint64(300) {
		m := newMem(t, "/d")
		f := create(t, m, "/d/f", string(bytes.Repeat([]byte{'a'}, size)))
		must(t, f.Sync())
		must(t, m.SyncDir("/d"))
		_, err := f.WriteAt(bytes.Repeat([]byte{'b'}, size), 0)
		must(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte{'c'}, 100), size)
		must(t, err)
		got := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom}), "/d/f")
		again := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom}), "/d/f")
		if got != again {
			t.Fatalf("seed %d gives two outcomes", seed)
		}
		for i := 0; i < size; i += 512 {
			if s := got[i : i+512]; s != string(bytes.Repeat([]byte{s[0]}, 512)) || s[0] != 'a' && s[0] != 'b' {
				t.Fatalf("seed %d: sector at %d is torn or foreign: %q", seed, i, s)
			}
		}
		switch {
		case len(got) == size:
			outcomes["old size"]++
		case len(got) == size+100:
			outcomes["new size"]++
		case len(got) > size && len(got) < size+100:
			outcomes["between"]++
		default:
			t.Fatalf("seed %d: size %d", seed, len(got))
		}
		if bytes.Contains([]byte(got), []byte{'a'}) && bytes.Contains([]byte(got), []byte{'b'}) {
			outcomes["mixed"]++
		}
		if len(got) > size && got[size] == 0 {
			outcomes["zeros"]++
		}
	}
	for _, want := range []string{"old size", "new size", "between", "mixed", "zeros"} {
		if outcomes[want] == 0 {
			t.Errorf("no seed gave the outcome %q: %v", want, outcomes)
		}
	}
}

func TestSyncedFilesSurviveAnyPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		m := newMem(t, "/d")
		f := create(t, m, "/d/f", string(bytes.Repeat([]byte("0123456789"), 2000)))
		must(t, f.Truncate(5000))
		_, err := f.WriteAt([]byte("end"), 9000)
		must(t, err)
		must(t, f.Sync())
		must(t, m.SyncDir("/d"))
		want := content(t, m, "/d/f")
		c := m.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom})
		if got := content(t, c, "/d/f"); got != want {
			t.Fatalf("seed %d: a synced file differs after the cut", seed)
		}
	}
}

func TestKillEndsTheProcessButNotTheMachine(t *testing.T) {
	m := newMem(t, "/d")
	f := create(t, m, "/d/f", "unsynced")
	_, err := m.Lock("/d/.lock")
	must(t, err)
	if n := m.OpenFiles(); n != 1 {
		t.Errorf("%d files are open, want 1", n)
	}
	m.Kill()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write by the dead process: %v, want ErrClosed", err)
	}
	l, err := m.Lock("/d/.lock")
	must(t, err)
	must(t, l.Close())
	if got := content(t, m, "/d/f"); got != "unsynced" {
		t.Errorf("after the process died the file holds %q", got)
	}
	if n := m.OpenFiles(); n != 0 {
		t.Errorf("%d files are open, want 0", n)
	}
}

func TestPowerCutAtEveryOperationLeavesOldOrNew(t *testing.T) {
	work := func(fsys vfs.FS) error {
		return vfs.WriteFileAtomic(fsys, "/d/f", []byte("new"), 0o644)
	}
	var count vfs.Counter
	m := newMem(t, "/d")
	must(t, work(vfs.Inject(m, &count)))
	if count.Mutations() != 5 { // create, write, sync, rename, sync-dir
		t.Errorf("%d operations change the disk, want 5", count.Mutations())
	}
	for n := range count.Mutations() + 1 {
		for seed := range uint64(20) {
			m := newMem(t, "/d")
			must(t, vfs.WriteFileAtomic(m, "/d/f", []byte("old"), 0o644))
			err := work(vfs.Inject(m, vfs.PowerCut(n)))
			got := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, Data: vfs.KeepRandom, Names: vfs.KeepRandom}), "/d/f")
			if got != "old" && got != "new" || err == nil && got != "new" {
				t.Fatalf("cut after %d operations, seed %d: error %v, content %q", n, seed, err, got)
			}
			if err != nil && !errors.Is(err, vfs.ErrPowerCut) {
				t.Fatalf("cut after %d operations: %v", n, err)
			}
		}
	}
}

func TestInjectors(t *testing.T) {
	boom := errors.New("boom")
	t.Run("only the n-th write of matching files fails", func(t *testing.T) {
		fsys := vfs.Inject(newMem(t, "/d"), vfs.OnBase("*.log", vfs.OnOps(vfs.OnIndex(1, vfs.Fail(boom)), vfs.OpWrite)))
		a, b := create(t, fsys, "/d/a.log", "1"), create(t, fsys, "/d/b.txt", "1")
		_, err := b.WriteAt([]byte("2"), 1)
		must(t, err)
		if _, err := a.WriteAt([]byte("2"), 1); !errors.Is(err, boom) {
			t.Errorf("second write of a.log: %v, want boom", err)
		}
		_, err = a.WriteAt([]byte("3"), 1)
		must(t, err)
		if got := content(t, fsys, "/d/a.log"); got != "13" {
			t.Errorf("a.log holds %q", got)
		}
	})
	t.Run("a short write stores a part", func(t *testing.T) {
		m := newMem(t, "/d")
		f := create(t, m, "/d/f", "")
		must(t, f.Close())
		f, err := vfs.Inject(m, vfs.Short(3, boom)).OpenFile("/d/f", os.O_RDWR, 0)
		must(t, err)
		if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, boom) {
			t.Errorf("short write = %d, %v", n, err)
		}
		if got := content(t, m, "/d/f"); got != "abc" {
			t.Errorf("file holds %q", got)
		}
	})
	t.Run("a full disk takes what fits", func(t *testing.T) {
		fsys := vfs.Inject(newMem(t, "/d"), vfs.DiskFull(5))
		f := create(t, fsys, "/d/f", "abc")
		if n, err := f.WriteAt([]byte("defg"), 3); n != 2 || err == nil {
			t.Errorf("write beyond the budget = %d, %v; want 2 and an error", n, err)
		}
		if n, err := f.WriteAt([]byte("h"), 5); n != 0 || err == nil {
			t.Errorf("write to the full disk = %d, %v", n, err)
		}
	})
	t.Run("a toggle switches", func(t *testing.T) {
		sw := &vfs.Toggle{Inner: vfs.OnOps(vfs.Fail(boom), vfs.OpSync)}
		fsys := vfs.Inject(newMem(t, "/d"), sw)
		f := create(t, fsys, "/d/f", "abc")
		must(t, f.Sync())
		sw.Set(true)
		if err := f.Sync(); !errors.Is(err, boom) {
			t.Errorf("Sync while on: %v", err)
		}
		sw.Set(false)
		must(t, f.Sync())
	})
	t.Run("latency passes in virtual time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fsys := vfs.Inject(newMem(t, "/d"), vfs.OnOps(vfs.Latency(time.Hour), vfs.OpSync))
			f := create(t, fsys, "/d/f", "abc")
			before := time.Now()
			must(t, f.Sync())
			if took := time.Since(before); took != time.Hour {
				t.Errorf("Sync took %v, want an hour", took)
			}
		})
	})
}
