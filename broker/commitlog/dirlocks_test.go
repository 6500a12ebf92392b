package commitlog

import (
	"context"
	"errors"
	"testing"

	"github.com/ottla/ottla/broker/vfs"
)

func TestLocksAreHandedOverToTheManager(t *testing.T) {
	disk := vfs.NewMem()
	locks, err := LockDirs(disk, []string{"/a", "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDirs(disk, []string{"/b"}); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("a second holder: %v", err)
	}
	m, err := OpenManager(t.Context(), ManagerConfig{FS: disk, Dirs: []string{"/a", "/b"}, Locks: locks, BrokerID: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := locks.Close(); err != nil { // the manager has them
		t.Fatal(err)
	}
	if _, err := LockDirs(disk, []string{"/a"}); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("while the manager runs: %v", err)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, err := LockDirs(disk, []string{"/a", "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
