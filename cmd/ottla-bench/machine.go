package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownCPU returns the user and system seconds of this process.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// cpuOf returns the user and system seconds of another process.
func cpuOf(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100 // clock ticks of 10 ms
}

// peakMemory returns the largest resident set of another process so far, in MB.
func peakMemory(pid int) float64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

// warm makes the page cache of the guest resident by writing a file and cutting it off again.
func warm(dir string, mib int) error {
	if mib == 0 {
		return nil
	}
	path := filepath.Join(dir, "warm")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	b := make([]byte, 1<<20)
	for range mib {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return f.Truncate(0)
}

// fill fills the page cache by writing a file that has no name any more: pages are then reclaimed, which costs a fraction of a page that the
// host has to find first. Closing the file frees the space.
func fill(dir string, gib int) (*os.File, error) {
	path := filepath.Join(dir, "fill")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return f, err
	}
	b := make([]byte, 1<<20)
	for range gib << 10 {
		if _, err := f.Write(b); err != nil {
			return f, err
		}
	}
	return f, f.Sync()
}

// watch measures a part of a run by wall clock and by CPU of this process.
type watch struct {
	start time.Time
	cpu   float64
}

func startWatch() watch { return watch{time.Now(), ownCPU()} }

func (w watch) outcome(records, bytes int64) outcome {
	return outcome{Records: records, Bytes: bytes, Seconds: time.Since(w.start).Seconds(), CPU: ownCPU() - w.cpu}
}
