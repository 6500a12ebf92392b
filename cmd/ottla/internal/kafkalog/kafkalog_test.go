package kafkalog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// clock is a clock that a test moves by hand.
type clock struct{ at time.Time }

// now returns the present.
func (c *clock) now() time.Time { return c.at }

// start is when the tests begin.
var start = time.Date(2024, 10, 25, 10, 59, 58, 7_000_000, time.Local)

func TestLayout(t *testing.T) {
	var b bytes.Buffer
	l := New(Stream(&b), "kafka.server.KafkaServer", hclog.Info, (&clock{start}).now)
	l.Info("[KafkaServer id=1] started")
	l.Named("log").With("broker", 1).Warn("disk is slow", "dir", "/tmp/my logs", "took", 3*time.Second, "err", errors.New("a\nb"), "empty", "", "odd")
	l.ResetNamed("").Error("no name")
	l.Debug("not shown")
	l.SetLevel(hclog.Debug)
	l.Named("x").Debug("shown", "hex", hclog.Hex(255), "fmt", hclog.Fmt("%03d", 7))
	l.StandardLogger(nil).Print("from package log")
	want := strings.Join([]string{
		"[2024-10-25 10:59:58,007] INFO [KafkaServer id=1] started (kafka.server.KafkaServer)",
		`[2024-10-25 10:59:58,007] WARN disk is slow broker=1 dir="/tmp/my logs" took=3s err="a\nb" empty="" EXTRA_VALUE_AT_END=odd (kafka.server.KafkaServer.log)`,
		"[2024-10-25 10:59:58,007] ERROR no name",
		"[2024-10-25 10:59:58,007] DEBUG shown hex=0xff fmt=007 (kafka.server.KafkaServer.x)",
		"[2024-10-25 10:59:58,007] INFO from package log (kafka.server.KafkaServer)",
		"",
	}, "\n")
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFilesRollEachHour(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	old := start.Add(-5 * time.Hour)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.log"), []byte("earlier\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "server.log"), old, old); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	c := &clock{start}
	files, err := OpenFiles(dir, &console, c.at)
	if err != nil {
		t.Fatal(err)
	}
	l := NewServer(files, hclog.Info, c.now)
	l.Info("one")
	l.Named("controller").Info("elected")
	c.at = start.Add(time.Minute)
	l.Info("two")
	l.ResetNamed("state.change.logger").Info("order")
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"server.log":                             "two",
		"server.log." + start.Format(hourFormat): "one",
		"server.log." + old.Format(hourFormat):   "earlier",
		"controller.log":                         "elected",
		"state-change.log":                       "order",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Count(string(data), "\n") != 1 || !strings.Contains(string(data), want) {
			t.Errorf("%s: %q, %v; want one line with %q", name, data, err, want)
		}
	}
	if got := console.String(); strings.Count(got, "\n") != 2 || strings.Contains(got, "elected") {
		t.Errorf("console:\n%s", got)
	}
}

func TestOpenFilesNamesTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFiles(filepath.Join(file, "logs"), os.Stdout, start); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestServerCategory(t *testing.T) {
	for name, want := range map[string]string{
		"": "kafka.server.KafkaServer", "controller": "kafka.controller.KafkaController", "controller.channel": "kafka.controller.RequestSendThread",
		"controller.x": "kafka.controller.KafkaController.x", "other": "other",
	} {
		if got := ServerCategory(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestAboveAndTee(t *testing.T) {
	var all, loud bytes.Buffer
	l := New(Tee(Stream(&all), Above(hclog.Warn, Stream(&loud))), "x", hclog.Info, (&clock{start}).now)
	l.Info("quiet")
	l.Warn("loud")
	if strings.Count(all.String(), "\n") != 2 || !strings.Contains(loud.String(), "loud") || strings.Contains(loud.String(), "quiet") {
		t.Errorf("all %q, loud %q", all.String(), loud.String())
	}
}
