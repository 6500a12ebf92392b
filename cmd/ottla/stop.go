package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// stopped names what kafka-server-stop.sh and zookeeper-server-stop.sh stop: the command of the processes, and what Kafka's scripts say when there are none.
var stopped = map[string]string{
	"broker":    "No kafka server to stop",
	"zookeeper": "No zookeeper server to stop",
}

// runStop signals every process of this machine that runs "ottla broker" or "ottla zookeeper" and may be signalled, and does not wait for them. The
// environment variable SIGNAL names the signal, TERM by default.
func runStop(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 || stopped[args[0]] == "" {
		fmt.Fprintln(std.err, "USAGE: ottla stop broker|zookeeper")
		return 1
	}
	name := os.Getenv("SIGNAL")
	if name == "" {
		name = "TERM"
	}
	sig, ok := signalByName(name)
	if !ok {
		fmt.Fprintf(std.err, "SIGNAL=%s is not a signal that stops a server; there are TERM, INT, HUP, QUIT and KILL\n", name)
		return 1
	}
	ids, err := processes(ctx, args[0])
	if err != nil {
		fmt.Fprintf(std.err, "look for processes: %v\n", err)
		return 1
	}
	count := 0
	for _, id := range ids {
		if err := syscall.Kill(id, sig); err == nil {
			count++
		} else if err != syscall.ESRCH {
			fmt.Fprintf(std.err, "signal process %d: %v\n", id, err)
		}
	}
	if count == 0 {
		fmt.Fprintln(std.out, stopped[args[0]])
		return 1
	}
	return 0
}

// signalByName returns a signal by its name, with or without SIG, or its number.
func signalByName(name string) (syscall.Signal, bool) {
	for _, s := range []struct {
		name string
		sig  syscall.Signal
	}{{"TERM", syscall.SIGTERM}, {"INT", syscall.SIGINT}, {"HUP", syscall.SIGHUP}, {"QUIT", syscall.SIGQUIT}, {"KILL", syscall.SIGKILL}} {
		if strings.EqualFold(strings.TrimPrefix(strings.ToUpper(name), "SIG"), s.name) || name == strconv.Itoa(int(s.sig)) {
			return s.sig, true
		}
	}
	return 0, false
}

// processes returns the ids of the processes whose program is called as "ottla <command>". A shell or an editor that merely has those words in its command
// line is not one.
func processes(ctx context.Context, command string) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(entries) == 0 {
		return processesByPS(ctx, command)
	}
	var ids []int
	for _, entry := range entries {
		line, err := os.ReadFile(entry)
		if err != nil {
			continue // it is gone, or not ours to look at
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if err == nil && id != os.Getpid() && isServer(strings.Split(string(line), "\x00"), command) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// isServer reports whether a command line is that of a server.
func isServer(args []string, command string) bool {
	return len(args) > 1 && filepath.Base(args[0]) == "ottla" && args[1] == command
}

// processesByPS asks ps, on systems without /proc. It takes words for arguments, so paths with blanks in them are not recognised.
func processesByPS(ctx context.Context, command string) ([]int, error) {
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,args=").Output()
	if err != nil {
		return nil, fmt.Errorf("run ps: %w", err)
	}
	var ids []int
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		if id, err := strconv.Atoi(fields[0]); err == nil && id != os.Getpid() && isServer(fields[1:], command) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
