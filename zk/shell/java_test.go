package shell_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ottla/ottla/zk/shell"
	"github.com/ottla/ottla/zk/zktest/apachezk"
)

// outcome is what a run of a shell shows.
type outcome struct {
	code     int
	out, err []string
}

// unstable are the parts of the output that differ from run to run, or on purpose.
var unstable = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?m)^([cmp]time) = .*$`), "$1 = *"},
	{regexp.MustCompile(`0x[0-9a-f]+`), "0x*"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "server"},
	{regexp.MustCompile(`/[jo]\d`), "/cli"},
	{regexp.MustCompile(`(?m)^ZooKeeper CLI version: .*$`), "version"},
	{regexp.MustCompile(`(?m)^ZooKeeper -server .*$`), "usage"},
}

// lines masks and sorts the lines of a text: events come when they come.
func lines(text string) []string {
	for _, u := range unstable {
		text = u.pattern.ReplaceAllString(text, u.with)
	}
	out := strings.Split(text, "\n")
	slices.Sort(out)
	return out
}

// ours runs the shell of this package.
func ours(t *testing.T, addr, input string, command ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := shell.Run(t.Context(), shell.Config{
		Connect: addr, Command: command, Wait: true, In: strings.NewReader(input), Out: &out, Err: &errs, Location: time.UTC, ReadFile: os.ReadFile,
	})
	return outcome{code, lines(out.String()), lines(errs.String())}
}

// apaches runs ZooKeeper's own client.
func apaches(t *testing.T, addr, input string, command ...string) outcome {
	t.Helper()
	classpath := "/etc/zookeeper/conf_example"
	for _, name := range []string{
		"zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "log4j-1.2", "netty-all", "netty-handler", "netty-transport",
		"netty-common", "netty-buffer", "netty-codec", "netty-resolver", "snappy-java", "metrics-core", "commons-cli", "commons-io",
	} {
		classpath += ":/usr/share/java/" + name + ".jar"
	}
	args := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath, "org.apache.zookeeper.ZooKeeperMain", "-server", addr, "-waitforconnection"}
	cmd := exec.CommandContext(t.Context(), "java", append(args, command...)...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if exit := new(exec.ExitError); !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
	return outcome{cmd.ProcessState.ExitCode(), lines(out.String()), lines(errs.String())}
}

// TestItPrintsWhatApachesClientPrints carries out the same commands with both clients, on the same server, in trees of their own.
func TestItPrintsWhatApachesClientPrints(t *testing.T) {
	addr := apachezk.Start(t) // skips without Java and ZooKeeper
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) < 3 {
		t.Fatalf("scripts: %v, %v", scripts, err)
	}
	for i, name := range scripts {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			script := func(tree string) string {
				return strings.NewReplacer("/cli", tree, "SERVER", addr).Replace(string(text))
			}
			want := apaches(t, addr, script(fmt.Sprintf("/j%d", i)))
			got := ours(t, addr, script(fmt.Sprintf("/o%d", i)))
			compare(t, want, got)
			if n := len(want.out); n < 10 {
				t.Errorf("only %d lines", n)
			}
		})
	}
}

// TestSingleCommandsEndAsApachesDo compares exit codes, too.
func TestSingleCommandsEndAsApachesDo(t *testing.T) {
	if testing.Short() {
		t.Skip("a Java process for each command")
	}
	addr := apachezk.Start(t)
	for _, command := range [][]string{
		{"ls", "/zookeeper"}, {"get", "/nope"}, {"get", "-s", "/zookeeper/config"}, {"bogus", "x"}, {"create"}, {"ls", "-q", "/"}, {"quit"}, {"close"}, {"history"},
		{"redo", "0"}, {"create", "/with space", "a  b"}, {"create", "/with space", "a  b"}, {"get", "/with space"}, {"delete", "-v", "3", "/with space"}, {"printwatches"},
	} {
		if want, got := apaches(t, addr, "", command...), ours(t, addr, "", command...); true {
			t.Run(strings.Join(command, " "), func(t *testing.T) {
				if command[0] == "create" && len(command) > 1 {
					return // the second of the two to come finds the node there
				}
				if command[0] == "quit" || command[0] == "close" {
					want.out, got.out = nil, nil // Apache's may end before it has told that the session is closed
				}
				compare(t, want, got)
			})
		}
	}
}

func compare(t *testing.T, want, got outcome) {
	t.Helper()
	if want.code != got.code {
		t.Errorf("exit code %d, Apache's is %d", got.code, want.code)
	}
	if diff := cmp.Diff(want.out, got.out); diff != "" {
		t.Errorf("output (-Apache +ours):\n%s", diff)
	}
	if diff := cmp.Diff(want.err, got.err); diff != "" {
		t.Errorf("messages (-Apache +ours):\n%s", diff)
	}
}
