//go:build !linux

package vfs

import "os"

// datasync makes the file durable with the strongest call that the system has.
func datasync(f *os.File) error { return f.Sync() }

// preallocate does nothing: the system has no reservation that keeps the size.
func preallocate(*os.File, int64) error { return nil }

// FileLimit returns how many files this process may have open; 0 when the system does not tell.
func FileLimit() int { return 0 }
