package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ottla/ottla/client"
)

var (
	buildOnce sync.Once
	built     string
	errBuild  error
)

// ottla returns the path of a binary built from this tree.
func ottla(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		dir, err := os.MkdirTemp("", "ottla-e2e-")
		if err != nil {
			errBuild = err
			return
		}
		built = filepath.Join(dir, "ottla")
		args := []string{"build", "-o", built, "github.com/ottla/ottla/cmd/ottla"}
		if os.Getenv("OTTLA_E2E_RACE") != "" {
			args = slices.Insert(args, 1, "-race")
		}
		out, err := exec.Command("go", args...).CombinedOutput()
		if err != nil {
			errBuild = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if errBuild != nil {
		t.Fatal(errBuild)
	}
	return built
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
	}
	os.Exit(code)
}

// process is a server that a test started.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
}

// start runs the binary with the given arguments until the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(ottla(t), args...), log: new(bytes.Buffer), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "LOG_DIR="+t.TempDir())
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(p.log.String(), 60))
		}
	})
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// signal sends a signal and waits for the end of the process; it returns the exit code.
func (p *process) signal(sig syscall.Signal) int {
	p.t.Helper()
	select {
	case <-p.done:
	default:
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Fatal(err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s does not end after %v", p.name, sig)
	}
	return p.cmd.ProcessState.ExitCode()
}

// lastPort is the port that freePort returned last. It begins somewhere else in each process, because packages are tested at the same time.
var lastPort atomic.Int32

func init() { lastPort.Store(rand.Int32N(12_000)) }

// freePort returns a port that nobody listens on, none twice. It is below those that systems take for outgoing connections, and that others are given who ask for any
// port: one of them had a port that was promised here.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + int(lastPort.Add(1))%12_000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// writeFile writes a file of key=value lines into a folder of the test.
func writeFile(t *testing.T, name string, lines ...string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// embeddedZooKeeper starts "ottla zookeeper" and returns its address.
func embeddedZooKeeper(t *testing.T) string {
	t.Helper()
	port := freePort(t)
	start(t, "zookeeper", "zookeeper", writeFile(t, "zookeeper.properties", "dataDir="+t.TempDir(), "clientPort="+strconv.Itoa(port), "maxClientCnxns=0", "admin.enableServer=false"))
	return "127.0.0.1:" + strconv.Itoa(port)
}

// server is a broker that can be killed and started again on the same data.
type server struct {
	*process
	addr, props, dir string
}

func startBroker(t *testing.T, zookeeper string, settings ...string) *server {
	t.Helper()
	addr := "127.0.0.1:" + strconv.Itoa(freePort(t))
	dir := t.TempDir()
	props := writeFile(t, "server.properties", append([]string{"broker.id=0", "listeners=PLAINTEXT://" + addr, "log.dirs=" + dir, "zookeeper.connect=" + zookeeper}, settings...)...)
	s := &server{addr: addr, props: props, dir: dir}
	s.restart(t)
	return s
}

// restart starts the broker and waits until it answers.
func (s *server) restart(t *testing.T) {
	t.Helper()
	s.process = start(t, "broker", "broker", s.props)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cl, err := client.Dial(ctx, s.addr, client.BootstrapTimeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	cl.Close()
}

// result is how a tool ended.
type result struct {
	stdout, stderr string
	code           int
}

// tool runs a command of the binary to its end.
func tool(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := toolTo(t, stdin, &out, &errs, args...)
	return result{out.String(), errs.String(), code}
}

func toolTo(t *testing.T, stdin io.Reader, stdout, stderr io.Writer, args ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, ottla(t), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("ottla %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode()
}

// mustTool runs a command that has to succeed.
func mustTool(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	r := tool(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("ottla %s: exit code %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, tail(r.stdout, 20), tail(r.stderr, 20))
	}
	return r.stdout
}

// within waits until something is so.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	end := time.After(limit)
	for !condition() {
		select {
		case <-end:
			t.Fatalf("%s: not within %v", what, limit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
