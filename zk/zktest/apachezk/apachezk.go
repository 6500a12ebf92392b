// Package apachezk starts real Apache ZooKeeper servers, one or an ensemble, for tests: what the code does must hold against the
// real thing, not only against the embedded server.
package apachezk

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RequireEnv is the environment variable that turns a missing Java or ZooKeeper from a reason to skip into a failure.
const RequireEnv = "OTTLA_REQUIRE_ZOOKEEPER"

// jarDir is where Debian's package "zookeeper" puts the server and what it needs.
const jarDir = "/usr/share/java"

// TickTime of the servers: the shortest session timeout is twice as long. The longest is a minute.
const TickTime = 100 * time.Millisecond

// Server is one running server.
type Server struct {
	addr   string
	dir    string
	inside []string

	mu  sync.Mutex
	cmd *exec.Cmd
	out *lockedBuffer
}

// Start starts a server on a free port of the loopback interface and returns its address. It is stopped when the test ends.
// Without Java or ZooKeeper the test is skipped, or fails if RequireEnv is set.
func Start(tb testing.TB) string {
	tb.Helper()
	return StartServer(tb).Addr()
}

// StartServer is Start for tests that also freeze or restart the server.
func StartServer(tb testing.TB) *Server {
	tb.Helper()
	return StartServerAt(tb, "127.0.0.1")
}

// StartServerAt is StartServer at another address, which the process has to have: inside is the beginning of its command line, for example
// ip netns exec NAME.
func StartServerAt(tb testing.TB, host string, inside ...string) *Server {
	tb.Helper()
	require(tb)
	s := newServer(tb, host, freePorts(tb, 1)[0], TickTime)
	s.inside = inside
	if err := s.Run(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// require skips the test, or fails it, where there is no Java or no ZooKeeper.
func require(tb testing.TB) {
	tb.Helper()
	why := missing()
	switch {
	case why == "":
	case os.Getenv(RequireEnv) != "":
		tb.Fatalf("%s is set, but %s", RequireEnv, why)
	default:
		tb.Skipf("no Apache ZooKeeper here: %s (set %s to make this a failure)", why, RequireEnv)
	}
}

// newServer makes a server that does not run yet, with more lines for its configuration. It is stopped when the test ends.
func newServer(tb testing.TB, host string, port int, tick time.Duration, more ...string) *Server {
	tb.Helper()
	s := &Server{dir: tb.TempDir(), addr: net.JoinHostPort(host, strconv.Itoa(port)), out: new(lockedBuffer)}
	lines := append([]string{
		"dataDir=" + s.dir, fmt.Sprint("clientPort=", port), "clientPortAddress=" + host, fmt.Sprint("tickTime=", tick.Milliseconds()), "maxSessionTimeout=60000", "maxClientCnxns=0",
		"admin.enableServer=false", "4lw.commands.whitelist=*", "forceSync=no",
	}, more...)
	if err := s.write("zoo.cfg", strings.Join(lines, "\n")+"\n"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// write writes a file into the server's directory.
func (s *Server) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600)
}

// missing says what is not installed, or nothing.
func missing() string {
	if _, err := exec.LookPath("java"); err != nil {
		return "java is not installed"
	}
	if _, err := os.Stat(filepath.Join(jarDir, "zookeeper.jar")); err != nil {
		return jarDir + "/zookeeper.jar is not installed"
	}
	return ""
}

// freePorts returns ports nobody listens on at the moment.
func freePorts(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = l.Close() }() // after the last, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Output returns what the server has printed so far, over all its runs.
func (s *Server) Output() string { return s.out.String() }

// Addr returns host:port.
func (s *Server) Addr() string { return s.addr }

// Run starts the server, again after Kill, with the same data, and waits until it serves; one that runs is left alone. One of an ensemble serves once most of them run.
func (s *Server) Run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	command := append(slices.Clone(s.inside), "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", // of all loggers that Debian has, this one writes to standard error
		"-cp", jarDir+"/slf4j-simple.jar:/etc/zookeeper/conf:"+jarDir+"/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.dir, "zoo.cfg"))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = s.out, s.out, s.dir
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start zookeeper: %w", err)
	}
	s.cmd = cmd
	// The port accepts connections before the server serves, so it is asked for its mode.
	deadline, tick := time.Now().Add(60*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if s.Mode() != "" {
			return nil
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			s.cmd = nil
			return fmt.Errorf("zookeeper does not serve at %s:\n%s", s.addr, s.out)
		}
	}
	return nil
}

// Mode returns what the server says that it is, standalone, leader or follower; nothing if it does not serve.
func (s *Server) Mode() string {
	_, rest, _ := strings.Cut(ask(s.addr, "srvr"), "Mode: ")
	mode, _, _ := strings.Cut(rest, "\n")
	return mode
}

// ask sends a four-letter word and returns the answer, or nothing.
func ask(addr, word string) string {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, word); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// Kill ends the server without warning.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Freeze stops the process where it is: connections stay open and nothing answers. Thaw lets it go on.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

// signal sends a signal to the process.
func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return fmt.Errorf("zookeeper is not running")
	}
	return s.cmd.Process.Signal(sig)
}

// lockedBuffer collects the output of the process.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns everything written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
