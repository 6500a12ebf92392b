package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBrokersSayWhatTheOperationsPageExplains provokes each message of the table in docs/OPERATIONS.md: the broker has to end with exit code 1 and
// that text in its log.
func TestBrokersSayWhatTheOperationsPageExplains(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	zookeeper := embeddedZooKeeper(t)
	running := startBroker(t, zookeeper)
	stoppedDir := filepath.Join(t.TempDir(), "stopped")
	first := startBroker(t, zookeeper, "broker.id=5", "log.dirs="+stoppedDir)
	if code := first.signal(15); code != 0 {
		t.Fatalf("an orderly stop ended with %d", code)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	provoke := map[string][]string{
		"the port is taken by another process":                             {"listeners=PLAINTEXT://" + taken.Addr().String()},
		"is ZooKeeper running there?":                                      {"zookeeper.connect=127.0.0.1:1", "zookeeper.connection.timeout.ms=500"},
		"a process that runs holds its lock":                               {"log.dirs=" + running.dir},
		"no log directory can be used; check log.dirs and the permissions": {"log.dirs=" + filepath.Join(file, "below")},
		"the broker is trying to join the wrong cluster":                   {"broker.id=5", "log.dirs=" + stoppedDir, "zookeeper.connect=" + zookeeper + "/another"},
		"does not match the broker.id":                                     {"broker.id=6", "log.dirs=" + stoppedDir},
		"the broker id is registered by another session":                   {"broker.id=0"},
	}
	explained := 0
	for row := range strings.Lines(string(page)) {
		if !strings.HasPrefix(row, "| `") || strings.Contains(row, "flush.messages") {
			continue
		}
		explained++
		message, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		var phrases []string
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(message, -1) {
			phrases = append(phrases, m[1])
		}
		settings, ok := provoke[phrases[len(phrases)-1]]
		if !ok {
			t.Errorf("no test provokes %s", message)
			continue
		}
		given := []string{"broker.id=9", "listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + t.TempDir(), "zookeeper.connect=" + zookeeper}
		r := tool(t, nil, "broker", writeFile(t, "server.properties", append(given, settings...)...))
		for _, phrase := range phrases {
			if !strings.Contains(r.stdout, phrase) {
				t.Errorf("%v: exit code %d and not a word of %q:\n%s", settings, r.code, phrase, tail(r.stdout, 4))
			}
		}
		if r.code != 1 {
			t.Errorf("%v: exit code %d", settings, r.code)
		}
		if fatal := strings.Count(r.stdout, " ERROR "); fatal != 1 {
			t.Errorf("%v: %d lines of errors, want one", settings, fatal)
		}
	}
	if _, err := os.Stat(filepath.Join(stoppedDir, ".kafka_cleanshutdown")); err != nil {
		t.Errorf("the failed starts took the mark of an orderly stop away: %v", err)
	}
	if explained != len(provoke) {
		t.Error(fmt.Sprint("the page explains ", explained, " messages of ", len(provoke)))
	}
}
