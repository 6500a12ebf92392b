package zktest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/zk/embedded"
	"github.com/ottla/ottla/zk/zktest"
)

const tick = 500 * time.Millisecond

func dialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

func startEmbedded(t *testing.T) zktest.Server {
	t.Helper()
	s, _ := startEmbeddedAt(t)
	return s
}

func startEmbeddedAt(t *testing.T) (zktest.Server, string) {
	t.Helper()
	s, err := embedded.Start(embedded.Config{
		DataDir: t.TempDir(), Addr: "127.0.0.1:0", TickTime: tick, Whitelist4lw: []string{"*"}, MaxClientCnxns: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return zktest.Server{Dial: dialer(s.Addr().String()), Tick: tick}, s.Addr().String()
}

// requireEnv turns a missing Apache ZooKeeper from a reason to skip into a failure.
const requireEnv = "OTTLA_REQUIRE_ZOOKEEPER"

// java returns the command that runs a class of Debian's package zookeeper, or skips the test.
func java(t *testing.T, class string, args ...string) *exec.Cmd {
	t.Helper()
	const jar = "/usr/share/java/zookeeper.jar"
	bin, err := exec.LookPath("java")
	if _, jarErr := os.Stat(jar); err != nil || jarErr != nil {
		if os.Getenv(requireEnv) != "" {
			t.Fatalf("Apache ZooKeeper is required (%s is set) but not installed: java: %v, %s: %v", requireEnv, err, jar, jarErr)
		}
		t.Skipf("Apache ZooKeeper is not installed (apt-get install zookeeper default-jre-headless); the comparison is skipped")
	}
	cp := []string{"/etc/zookeeper/conf_example"}
	for _, name := range []string{
		"zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "log4j-1.2", "netty-all", "netty-handler", "netty-transport",
		"netty-common", "netty-buffer", "netty-codec", "netty-resolver", "snappy-java", "metrics-core", "commons-cli", "commons-io",
	} {
		cp = append(cp, "/usr/share/java/"+name+".jar")
	}
	flags := []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", strings.Join(cp, ":"), class}
	return exec.CommandContext(t.Context(), bin, append(flags, args...)...)
}

// startApache runs the Apache ZooKeeper of Debian's package zookeeper.
func startApache(t *testing.T) zktest.Server {
	t.Helper()
	s, _ := startApacheAt(t)
	return s
}

func startApacheAt(t *testing.T) (zktest.Server, string) {
	t.Helper()
	port := freePort(t)
	dir := t.TempDir()
	cfg := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=%d\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"+
		"4lw.commands.whitelist=*\nmaxClientCnxns=0\nforceSync=no\npreAllocSize=64\n", tick.Milliseconds(), dir, port)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := java(t, "org.apache.zookeeper.server.quorum.QuorumPeerMain", cfg)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Apache ZooKeeper: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	s := zktest.Server{Dial: dialer(addr), Tick: tick, Apache: true}
	if err := s.AwaitReady(60*time.Second, ended); err != nil {
		t.Fatalf("Apache ZooKeeper does not start: %v\n%s", err, out.String())
	}
	return s, addr
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestEmbedded(t *testing.T) { zktest.Run(t, startEmbedded(t)) }

func TestApache(t *testing.T) { zktest.Run(t, startApache(t)) }
