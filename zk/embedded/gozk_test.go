package embedded_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestGoZookeeperSuite runs the tests of the go-zookeeper library, unmodified, against this server (Z§17). The library's
// helper starts a script zkServer.sh and ends it with SIGKILL; here the script is this test binary. What needs an
// ensemble is left out.
func TestGoZookeeperSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 40 seconds")
	}
	t.Parallel() // it mostly waits
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec '%s' \"$@\"\n", serverEnv, self)
	if err := os.WriteFile(filepath.Join(bin, "zkServer.sh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-v", "-vet=off", "-count=1",
		"-skip", "BasicCluster|ClientClusterFailover|NoQuorum|RecurringReAuthHang|DNSHostProviderReconnect|Reconfig",
		"github.com/go-zookeeper/zk")
	cmd.Env = append(os.Environ(), "ZOOKEEPER_BIN_PATH="+bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if passed := len(regexp.MustCompile(`(?m)^--- PASS: `).FindAll(out, -1)); passed != 40 {
		t.Errorf("%d tests passed, 40 wanted\n%s", passed, out)
	}
}
