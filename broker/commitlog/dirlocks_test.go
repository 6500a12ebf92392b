package commitlog

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

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

func TestADirectoryThatCannotBeReadIsPassedOver(t *testing.T) {
	disk := vfs.NewMem()
	first, err := LockDirs(disk, []string{"/a", "/b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range first.Dirs() {
		if err := WriteMetaProperties(disk, dir, MetaProperties{ClusterID: "c", BrokerID: 1}, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	bad := vfs.Inject(disk, vfs.OnOps(vfs.When(func(c vfs.Call) bool { return c.Path == "/a/meta.properties" }, vfs.Fail(syscall.EIO)), vfs.OpRead))
	locks, err := LockDirs(bad, []string{"/a", "/b"})
	if err != nil || !slices.Equal(locks.Dirs(), []string{"/b"}) {
		t.Fatalf("one that cannot be read: %v, %v", locks, err)
	}
	if other, err := LockDirs(disk, []string{"/a"}); err != nil {
		t.Errorf("its lock is held: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	m, err := OpenManager(t.Context(), ManagerConfig{FS: bad, Dirs: []string{"/a", "/b"}, Locks: locks, BrokerID: 1, ClusterID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
