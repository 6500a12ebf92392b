package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
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

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/consumer"
	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/proto/cluster"
)

// realLines returns lines of the Go distribution's sources, as many as OTTLA_E2E_LINES says, each with its newline.
func realLines(t *testing.T) []byte {
	t.Helper()
	want := 100_000
	if s := os.Getenv("OTTLA_E2E_LINES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		want = n
	}
	var buf bytes.Buffer
	lines := 0
	err := filepath.WalkDir(filepath.Join(goroot(t), "src"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || lines >= want {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for l := range bytes.Lines(b) {
			if lines == want {
				break
			}
			buf.Write(bytes.TrimSuffix(l, []byte("\n")))
			buf.WriteByte('\n')
			lines++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines < want {
		t.Fatalf("the Go distribution here has only %d lines", lines)
	}
	return buf.Bytes()
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// stacks are the ZooKeepers that the slice runs on.
func stacks(t *testing.T, test func(t *testing.T, zookeeper string)) {
	t.Run("on the embedded ZooKeeper", func(t *testing.T) { test(t, embeddedZooKeeper(t)) })
	t.Run("on Apache ZooKeeper below a chroot", func(t *testing.T) { test(t, apacheZooKeeper(t)+"/ottla/e2e") })
}

func TestRealLinesComeBackByteIdentical(t *testing.T) {
	input := realLines(t)
	stacks(t, func(t *testing.T, zookeeper string) {
		b := startBroker(t, zookeeper)
		if out := mustTool(t, nil, "topics", "--create", "--topic", "lines", "--bootstrap-server", b.addr); out != "Created topic lines.\n" {
			t.Fatalf("create printed %q", out)
		}
		mustTool(t, bytes.NewReader(input), "console-producer", "--topic", "lines", "--bootstrap-server", b.addr)
		got := consumeLines(t, b.addr, bytes.Count(input, []byte("\n")))
		if !bytes.Equal(got, input) {
			t.Fatalf("%d bytes went in, %d other ones came out; first difference: %s", len(input), len(got), difference(input, got))
		}
	})
}

// consumeLines reads n lines from the start of the topic with the console consumer.
func consumeLines(t *testing.T, addr string, n int) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	code := toolTo(t, nil, &out, &errs, "console-consumer", "--topic", "lines", "--bootstrap-server", addr, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", "20000")
	if code != 0 || !strings.Contains(errs.String(), fmt.Sprintf("Processed a total of %d messages", n)) {
		t.Fatalf("console consumer: exit code %d, %s", code, tail(errs.String(), 10))
	}
	return out.Bytes()
}

func difference(want, got []byte) string {
	w, g := bufio.NewScanner(bytes.NewReader(want)), bufio.NewScanner(bytes.NewReader(got))
	for line := 1; ; line++ {
		wok, gok := w.Scan(), g.Scan()
		if !wok && !gok {
			return "none by line"
		}
		if wok != gok || w.Text() != g.Text() {
			return fmt.Sprintf("line %d: want %q (%v), got %q (%v)", line, w.Text(), wok, g.Text(), gok)
		}
	}
}

// acked remembers what the producer was told.
type acked struct {
	mu      sync.Mutex
	offsets []cluster.Offset // by line; -1 = not acknowledged
}

// TestNothingAckedIsLostByKillNine loads a topic, kills the broker with SIGKILL in mid-load, starts it again, and checks the whole log: every
// acknowledged line at its offset, all lines in order, offsets dense, no line twice. Then the load goes on where the log ends, and
// everything comes back byte-identical.
func TestNothingAckedIsLostByKillNine(t *testing.T) {
	input := realLines(t)
	stacks(t, func(t *testing.T, zookeeper string) {
		b := startBroker(t, zookeeper)
		mustTool(t, nil, "topics", "--create", "--topic", "lines", "--bootstrap-server", b.addr)
		lines := slices.Collect(bytes.Lines(input))
		a := &acked{offsets: slices.Repeat([]cluster.Offset{-1}, len(lines))}
		loadUntilKilled(t, b, lines, a)
		b.restart(t)
		kept := checkLog(t, b.addr, lines, a)
		rest := bytes.Join(lines[kept:], nil)
		mustTool(t, bytes.NewReader(rest), "console-producer", "--topic", "lines", "--bootstrap-server", b.addr)
		if got := consumeLines(t, b.addr, len(lines)); !bytes.Equal(got, input) {
			t.Fatalf("after the restart: %s", difference(input, got))
		}
		if out := mustTool(t, nil, "get-offsets", "--topic", "lines", "--bootstrap-server", b.addr); out != fmt.Sprintf("lines:0:%d\n", len(lines)) {
			t.Fatalf("end offset: %q, want %d", out, len(lines))
		}
	})
}

// loadUntilKilled sends lines until the broker is killed, which happens once a third of them is acknowledged. It does not retry, so
// that no line can be in the log twice.
func loadUntilKilled(t *testing.T, b *server, lines [][]byte, a *acked) {
	t.Helper()
	cl, err := client.Dial(t.Context(), b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	p, err := producer.New(cl, producer.Retries(0), producer.Linger(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	kill, n := make(chan struct{}), 0
	go func() { <-kill; b.cmd.Process.Signal(syscall.SIGKILL) }()
	failed := make(chan struct{})
	var once sync.Once
	var first error
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, l := range lines {
		err := p.SendAsync(ctx, producer.Record{Topic: "lines", Value: bytes.TrimSuffix(l, []byte("\n"))}, func(r producer.Result, err error) {
			if err != nil {
				once.Do(func() { first = err; close(failed) })
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.offsets[i] = r.Offset
			if n++; n == len(lines)/3 {
				close(kill)
			}
		})
		if err != nil {
			once.Do(func() { first = err; close(failed) })
		}
		select {
		case <-failed:
		default:
			continue
		}
		break // what comes after a failed batch must not be sent, or lines would be missing in the middle
	}
	p.Close(ctx)
	select {
	case <-kill:
	default:
		t.Fatalf("the load ended before the broker was killed: %v", first)
	}
	<-b.done
}

// checkLog reads the whole log and returns how many lines it holds.
func checkLog(t *testing.T, addr string, lines [][]byte, a *acked) int {
	t.Helper()
	cl, err := client.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	tp := cluster.TopicPartition{Topic: "lines"}
	ends, err := cl.ListOffsets(t.Context(), client.ReadUncommitted, map[cluster.TopicPartition]int64{tp: client.Latest})
	if err != nil || ends[tp].Err != nil {
		t.Fatal(err, ends[tp].Err)
	}
	end := int(ends[tp].Offset)
	c, err := consumer.New(cl, consumer.OffsetReset(consumer.ResetNone))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.Assign(tp); err != nil {
		t.Fatal(err)
	}
	if err := c.SeekToBeginning(); err != nil {
		t.Fatal(err)
	}
	next := 0
	if end > 0 {
		for r, err := range c.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if int(r.Offset) != next {
				t.Fatalf("offset %d comes after %d records", r.Offset, next)
			}
			if want := bytes.TrimSuffix(lines[next], []byte("\n")); !bytes.Equal(r.Value, want) {
				t.Fatalf("offset %d holds %q, want line %q", next, r.Value, want)
			}
			if next++; next == end {
				break
			}
		}
	}
	got := 0
	for i, o := range a.offsets {
		if o < 0 {
			continue
		}
		got++
		if int(o) != i {
			t.Fatalf("line %d was acknowledged at offset %d", i, o)
		}
		if i >= end {
			t.Fatalf("line %d was acknowledged, and the log ends at %d", i, end)
		}
	}
	t.Logf("%d of %d lines were acknowledged before the kill, the log holds %d", got, len(lines), end)
	return end
}
