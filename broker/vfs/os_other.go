//go:build !linux

package vfs

import "os"

// datasync makes the file durable with the strongest call that the system has.
func datasync(f *os.File) error { return f.Sync() }

// preallocate does nothing: the system has no reservation that keeps the size.
func preallocate(*os.File, int64) error { return nil }
