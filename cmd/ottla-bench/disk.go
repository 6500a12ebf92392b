package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// logDir returns the log directory of a broker of a cluster in dir.
func logDir(dir string, id int) string { return filepath.Join(dir, fmt.Sprintf("logs-%d", id)) }

// diskBytes is the size of the file systems that mountDisks makes.
const diskBytes = 1 << 30

// mountDisks gives each broker of a cluster in dir a file system of its own, in a file, so that it can be frozen without the others. It takes root and a system
// that lets it mount. The caller calls unmount, also after an error.
func mountDisks(dir string) (unmount func(), err error) {
	var mounted []string
	unmount = func() {
		for _, at := range mounted {
			if err := command("umount", at); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	for id := range brokersInCluster {
		at, image := logDir(dir, id), filepath.Join(dir, fmt.Sprintf("disk-%d", id))
		f, err := os.Create(image)
		if err != nil {
			return unmount, err
		}
		if err := errors.Join(f.Truncate(diskBytes), f.Close(), os.Mkdir(at, 0o700)); err != nil {
			return unmount, err
		}
		if err := errors.Join(command("mkfs.ext4", "-q", image), command("mount", "-o", "loop", image, at)); err != nil {
			return unmount, err
		}
		mounted = append(mounted, at)
		if err := os.Remove(filepath.Join(at, "lost+found")); err != nil {
			return unmount, err
		}
	}
	return unmount, nil
}

// command runs a command; the error has what it printed.
func command(name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// frozenFor is how long a disk is frozen: longer than a follower may lag.
const frozenFor = 40 * time.Second

func (f *failover) freezeDiskOfLeader(ctx context.Context) (time.Duration, error) {
	id, err := f.leader(ctx)
	if err != nil {
		return 0, err
	}
	return 0, f.freezeDisk(ctx, id)
}

func (f *failover) freezeDiskOfController(ctx context.Context) (time.Duration, error) {
	id, err := f.controller(ctx)
	if err != nil {
		return 0, err
	}
	return 0, f.freezeDisk(ctx, id)
}

// freezeDisk lets no write to the log directory of a broker end for a while.
func (f *failover) freezeDisk(ctx context.Context, id int) error {
	at := logDir(f.dir, id)
	if err := command("fsfreeze", "--freeze", at); err != nil {
		return err
	}
	select {
	case <-time.After(frozenFor):
	case <-ctx.Done():
	}
	return command("fsfreeze", "--unfreeze", at)
}
